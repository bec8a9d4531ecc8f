//! The risk policy: what it says, and what it must be before anybody runs it.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use portcullis_domain::{Bps, Hash, Instrument, Label, Quantity, Symbol, Usd, Venue};
use serde::{Deserialize, Serialize};

/// The oldest book that a policy may still count, in milliseconds.
const BOOK_AGE_MS_MAX: u64 = 5_000;
/// The furthest that the venue's clock and ours may be apart, in milliseconds.
const CLOCK_ERROR_MS_MAX: u64 = 5_000;
/// The widest collar that still is one, in basis points: ten times it, the widest distance of a
/// passive price, stays below 100 %.
const COLLAR_BPS_MAX: u32 = 999;
/// The widest collar around the last trade, in basis points.
const LAST_COLLAR_BPS_MAX: u32 = 9_999;
/// The most permits in any second that a policy may ask for: more than any venue takes from an account.
const PER_SECOND_MAX: u32 = 2_000;
/// The most cancelled orders of a minute that a policy may allow a strategy.
const CANCELS_PER_MINUTE_MAX: u32 = 10_000;
/// The most fills one way that are counted, and the longest window over which they are.
const REPEATED_FILLS_MAX: u32 = 10_000;
const REPEATED_WINDOW_MS_MAX: u64 = 3_600_000;
/// The longest time over which the same order again counts as a mistake.
const SAME_ORDER_MS_MAX: u64 = 60_000;
/// The most times the average trade that an order may be.
const FAT_FINGER_MAX: u32 = 1_000_000;

/// The most failures that a breaker may wait for: so many times are kept of each.
const BREAKER_FAILURES_MAX: u64 = 1_000;
/// The longest window and the longest recovery of a breaker, in seconds: a day.
const BREAKER_SECONDS_MAX: u64 = 86_400;

/// The limits that brain, risk-guard and execution must agree on; its digest is the policy hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskPolicy {
    /// SHA-256 of the limits that are compiled into execution: the binary that this policy is for, and
    /// no other, starts with it.
    pub hard_limits: Hash,
    /// The venues that may be traded on.
    pub venues: Vec<Venue>,
    /// The oldest book that still counts, in milliseconds.
    pub book_age_ms_max: u64,
    /// The furthest that the venue's clock in a book may be from ours, in milliseconds.
    pub clock_error_ms_max: u64,
    /// The most orders that may be open or in doubt at once.
    pub orders_open_max: u64,
    /// The most that a day may lose before execution stops; it cannot exceed the compiled-in limit.
    pub daily_loss_max: Usd,
    /// How far equity may fall from the day's peak: at 50 % of it orders are halved, at 75 % they may
    /// only reduce, at all of it everything stops.
    pub drawdown_max: Usd,
    /// What the account was given when the journal began; with what was won since it is the equity.
    pub capital: Usd,
    /// The most that all positions together may be worth, with every open order filled.
    pub gross_exposure_max: Usd,
    /// The most that long positions may be worth more than short ones, or the other way round.
    pub net_exposure_max: Usd,
    /// The most that gross exposure may be of the equity, in basis points: 10,000 are one time.
    pub leverage_max: Bps,
    /// The most that one instrument may be of the equity, in basis points.
    pub concentration_max: Bps,
    /// The largest order that tries whether a circuit breaker can close again.
    pub probe_notional_max: Usd,
    /// What every strategy is held to.
    pub strategy: StrategyPolicy,
    /// What trips each circuit breaker, and for how long.
    pub breakers: BreakersPolicy,
    /// Instruments that move together.
    pub groups: Vec<GroupPolicy>,
    /// The instruments that may be traded, by symbol.
    pub instruments: Vec<InstrumentPolicy>,
}

/// The limits of each strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrategyPolicy {
    /// The most orders that may be open or in doubt at once.
    pub orders_open_max: u64,
    /// The most permits in any second.
    pub orders_per_second_max: u32,
    /// The most orders in any second, those that are refused too.
    pub messages_per_second_max: u32,
    /// The most orders that may have been cancelled within a minute for another one to be permitted.
    pub cancels_per_minute_max: u32,
    /// The largest position in one instrument with all open orders filled.
    pub position_notional_max: Usd,
    /// The most that it may lose in a day.
    pub daily_loss_max: Usd,
    /// The most fills of one instrument one way within the window; beyond it the strategy is
    /// suspended until a person lets it go on.
    pub repeated_fills_max: u32,
    /// That window, in milliseconds.
    pub repeated_window_ms: u64,
    /// For so long the same order again (instrument, side, quantity, price) is a mistake, in
    /// milliseconds.
    pub same_order_ms: u64,
}

/// What trips the circuit breakers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakersPolicy {
    /// The signer does not sign orders in time.
    pub hsm_failure: BreakerPolicy,
    /// Our own parts fail.
    pub system_error: BreakerPolicy,
    /// The venue cannot be reached.
    pub network: BreakerPolicy,
    /// The venue does not confirm orders in time.
    pub confirmation_timeout: BreakerPolicy,
    /// The venue refuses orders.
    pub trade_failure: BreakerPolicy,
    /// The market moves more than its limit; one outcome a minute and instrument.
    pub market_volatility: BreakerPolicy,
    /// Orders would slip more than their profile allows.
    pub slippage: BreakerPolicy,
}

/// What trips one kind of circuit breaker: any one of count, run and share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerPolicy {
    /// So many failures within the window.
    pub failures: u32,
    /// That window, in seconds.
    pub window_s: u64,
    /// So many failures in a row; without it a run trips nothing.
    pub consecutive: Option<u32>,
    /// So many failures of a hundred outcomes, once there are `failures` outcomes (a larger smallest
    /// sample would never be reached before the count trips it); without it a share trips nothing.
    pub percent: Option<u32>,
    /// How long it stays open the first time, in seconds; up to four times as long after probes that
    /// failed.
    pub recovery_s: u64,
}

/// The limit of instruments that move together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupPolicy {
    /// What it is called.
    pub name: Label<31>,
    /// Its instruments; each is in one group at most.
    pub instruments: Vec<Symbol>,
    /// The most that their positions together may be worth, with every open order filled.
    pub exposure_max: Usd,
}

/// The limits of one instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentPolicy {
    /// The instrument and the venue's filters for it.
    pub instrument: Instrument,
    /// The largest order, in units of the base.
    pub order_quantity_max: Quantity,
    /// The smallest order, by value at its limit price.
    pub order_notional_min: Usd,
    /// The largest order, by value at its limit price.
    pub order_notional_max: Usd,
    /// The largest position with all open orders filled, by value at the middle of the book.
    pub position_notional_max: Usd,
    /// The most orders that may be open or in doubt at once.
    pub orders_open_max: u64,
    /// How far the limit price may lie beyond the middle of the book.
    pub collar: Bps,
    /// How far the limit price may lie from the last trade, whichever way.
    pub last_collar: Bps,
    /// The largest order, as so many times the average of recent trades.
    pub fat_finger_max: u32,
    /// The most that the last half hour may move, annualised, in basis points: 5,000 are 50 %.
    pub volatility_max: Bps,
}

impl RiskPolicy {
    /// Everything that is wrong with this policy, in words; empty when it may be run.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.instruments.is_empty() {
            problems.push("instruments: there must be at least one".into());
        }
        if self.venues.is_empty() {
            problems.push("venues: there must be at least one".into());
        }
        let ranges = [
            ("book_age_ms_max", self.book_age_ms_max, BOOK_AGE_MS_MAX),
            (
                "clock_error_ms_max",
                self.clock_error_ms_max,
                CLOCK_ERROR_MS_MAX,
            ),
            ("orders_open_max", self.orders_open_max, u64::MAX),
            (
                "leverage_max",
                self.leverage_max.get().into(),
                u64::from(u32::MAX),
            ),
            (
                "concentration_max",
                self.concentration_max.get().into(),
                u64::from(u32::MAX),
            ),
        ];
        problems.extend(out_of_range(&ranges));
        let amounts = [
            ("daily_loss_max", self.daily_loss_max),
            ("drawdown_max", self.drawdown_max),
            ("capital", self.capital),
            ("gross_exposure_max", self.gross_exposure_max),
            ("net_exposure_max", self.net_exposure_max),
            ("probe_notional_max", self.probe_notional_max),
        ];
        problems.extend(not_above_zero(&amounts));
        let of_strategy = self.strategy.problems();
        problems.extend(
            of_strategy
                .iter()
                .map(|problem| format!("strategy: {problem}")),
        );
        problems.extend(self.breakers.problems());
        let mut seen = BTreeSet::new();
        for instrument in &self.instruments {
            let symbol = instrument.instrument.symbol;
            if !seen.insert(symbol) {
                problems.push(format!("{symbol}: is listed twice"));
            }
            let of_instrument = instrument.problems();
            problems.extend(
                of_instrument
                    .iter()
                    .map(|problem| format!("{symbol}: {problem}")),
            );
            if self.probe_notional_max < instrument.order_notional_min {
                problems.push(format!(
                    "{symbol}: order_notional_min is above probe_notional_max, so no circuit breaker \
                     could be tried with it"
                ));
            }
        }
        problems.extend(self.problems_of_groups(&seen));
        problems
    }

    fn problems_of_groups(&self, listed: &BTreeSet<Symbol>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut grouped = BTreeSet::new();
        for group in &self.groups {
            let name = &group.name;
            if group.instruments.is_empty() {
                problems.push(format!("group {name}: has no instrument"));
            }
            if group.exposure_max <= Usd::ZERO {
                problems.push(format!("group {name}: exposure_max must be above zero"));
            }
            for symbol in &group.instruments {
                if !listed.contains(symbol) {
                    problems.push(format!("group {name}: {symbol} is not in instruments"));
                }
                if !grouped.insert(*symbol) {
                    problems.push(format!("group {name}: {symbol} is in a group already"));
                }
            }
        }
        problems
    }
}

impl StrategyPolicy {
    fn problems(&self) -> Vec<String> {
        let ranges = [
            ("orders_open_max", self.orders_open_max, u64::MAX),
            (
                "orders_per_second_max",
                self.orders_per_second_max.into(),
                PER_SECOND_MAX.into(),
            ),
            (
                "messages_per_second_max",
                self.messages_per_second_max.into(),
                PER_SECOND_MAX.into(),
            ),
            (
                "cancels_per_minute_max",
                self.cancels_per_minute_max.into(),
                CANCELS_PER_MINUTE_MAX.into(),
            ),
            (
                "repeated_fills_max",
                self.repeated_fills_max.into(),
                REPEATED_FILLS_MAX.into(),
            ),
            (
                "repeated_window_ms",
                self.repeated_window_ms,
                REPEATED_WINDOW_MS_MAX,
            ),
            ("same_order_ms", self.same_order_ms, SAME_ORDER_MS_MAX),
        ];
        let amounts = [
            ("position_notional_max", self.position_notional_max),
            ("daily_loss_max", self.daily_loss_max),
        ];
        let mut problems: Vec<String> = out_of_range(&ranges).collect();
        problems.extend(not_above_zero(&amounts));
        problems
    }
}

impl BreakersPolicy {
    fn problems(&self) -> Vec<String> {
        let kinds = [
            ("hsm_failure", &self.hsm_failure),
            ("system_error", &self.system_error),
            ("network", &self.network),
            ("confirmation_timeout", &self.confirmation_timeout),
            ("trade_failure", &self.trade_failure),
            ("market_volatility", &self.market_volatility),
            ("slippage", &self.slippage),
        ];
        let mut problems = Vec::new();
        for (kind, policy) in kinds {
            let ranges = [
                ("failures", policy.failures.into(), BREAKER_FAILURES_MAX),
                ("window_s", policy.window_s, BREAKER_SECONDS_MAX),
                (
                    "consecutive",
                    policy.consecutive.unwrap_or(1).into(),
                    BREAKER_FAILURES_MAX,
                ),
                ("percent", policy.percent.unwrap_or(1).into(), 100),
                ("recovery_s", policy.recovery_s, BREAKER_SECONDS_MAX),
            ];
            let wrong = out_of_range(&ranges);
            problems.extend(wrong.map(|problem| format!("breakers: {kind}: {problem}")));
        }
        problems
    }
}

impl InstrumentPolicy {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let filters = &self.instrument;
        let limits = [
            ("order_notional_max", self.order_notional_max),
            ("position_notional_max", self.position_notional_max),
        ];
        problems.extend(not_above_zero(&limits));
        if filters.notional_min.is_negative() {
            problems.push("notional_min must not be negative".into());
        }
        if self.order_notional_min < filters.notional_min {
            problems.push("order_notional_min is below the venue's notional_min".into());
        }
        if self.order_notional_max < self.order_notional_min {
            problems.push("order_notional_max is below order_notional_min".into());
        }
        if filters.quantity_min > filters.quantity_max {
            problems.push("quantity_min is above quantity_max".into());
        }
        if self.order_quantity_max < filters.quantity_min {
            problems.push("order_quantity_max is below the venue's quantity_min".into());
        }
        let ranges = [
            ("orders_open_max", self.orders_open_max, u64::MAX),
            (
                "fat_finger_max",
                self.fat_finger_max.into(),
                FAT_FINGER_MAX.into(),
            ),
            (
                "volatility_max",
                self.volatility_max.get().into(),
                u64::from(u32::MAX),
            ),
        ];
        problems.extend(out_of_range(&ranges));
        let collars = [
            ("collar", self.collar, COLLAR_BPS_MAX),
            ("last_collar", self.last_collar, LAST_COLLAR_BPS_MAX),
        ];
        for (name, collar, most) in collars {
            if collar.get() == 0 || collar.get() > most {
                problems.push(format!("{name} must be from 1 to {most} basis points"));
            }
        }
        // Names travel in subjects, where a dot would add a place.
        if filters.symbol.as_str().contains('.') {
            problems.push("the symbol must not have a dot".into());
        }
        problems
    }
}

/// What is zero or above its most.
fn out_of_range(ranges: &[(&str, u64, u64)]) -> impl Iterator<Item = String> {
    ranges.iter().filter_map(|(name, value, most)| {
        if *value == 0 && *most >= u64::from(u32::MAX) {
            Some(format!("{name}: must be at least 1"))
        } else if *value == 0 || value > most {
            Some(format!("{name}: must be from 1 to {most}"))
        } else {
            None
        }
    })
}

fn not_above_zero(amounts: &[(&str, Usd)]) -> impl Iterator<Item = String> {
    let wrong = amounts.iter().filter(|(_, amount)| *amount <= Usd::ZERO);
    wrong.map(|(name, _)| format!("{name}: must be above zero"))
}

#[cfg(test)]
mod tests;
