//! The rules that an order meets, and what each of them measured: one vocabulary for the policy, the
//! record and the people who read it.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Figure, IdError, StrategyId, Symbol, Venue};

macro_rules! rules {
    ($($name:ident = $code:literal, $words:literal;)*) => {
        /// One pre-trade rule of risk-guard, in the order in which an order meets them.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Rule {
            $(#[doc = $words] #[serde(rename = $code)] $name,)*
        }

        impl Rule {
            /// Every rule there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable name that records and scripts use.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it asks, in words that a trader understands.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }
        }
    };
}

rules! {
    KillSwitch = "kill_switch", "the kill switch is armed";
    WarmingUp = "warming_up", "the guard has been up for one order lifetime";
    Policy = "policy", "everybody runs the same risk policy";
    OrderLifetime = "order_lifetime", "the order is younger than its lifetime";
    DuplicateId = "duplicate_id", "the order was not seen before";
    Halt = "halt", "nothing that it touches is halted";
    Suspension = "suspension", "its strategy is not suspended for repeating itself";
    MessageRate = "message_rate", "its strategy's orders of this second, refused ones too";
    Venue = "venue", "the venue is on the list";
    Instrument = "instrument", "the instrument is on the list";
    VenueFilters = "venue_filters", "quantity and price are on the venue's steps";
    OrderQuantity = "order_quantity", "the size of one order";
    OrderRate = "order_rate", "permits of this second, all strategies together";
    StrategyOrderRate = "strategy_order_rate", "its strategy's permits of this second";
    CancelRate = "cancel_rate", "its strategy's cancelled orders of this minute";
    DuplicateOrder = "duplicate_order", "its strategy did not just send the same order";
    RepeatedExecution = "repeated_execution", "its strategy's fills one way within the window";
    BookAge = "book_age", "the age of the order book";
    ClockError = "clock_error", "how far the venue's clock and ours are apart";
    PriceCollar = "price_collar", "how far the limit price lies from the middle of the book";
    LastPriceCollar = "last_price_collar", "how far the limit price lies from the last trade";
    FatFinger = "fat_finger", "the order against the average of recent trades";
    OrderNotionalMin = "order_notional_min", "the value of one order, at least";
    OrderNotional = "order_notional", "the value of one order, at most";
    PositionKnown = "position_known", "the age of execution's account of positions";
    OpenOrders = "open_orders", "orders that are open or in doubt, all together";
    StrategyOpenOrders = "strategy_open_orders", "open orders of its strategy";
    InstrumentOpenOrders = "instrument_open_orders", "open orders of the instrument";
    SelfTrade = "self_trade", "it does not meet an order of our own";
    ReduceOnly = "reduce_only", "a reduce-only order only reduces";
    PositionNotional = "position_notional", "the position with every open order filled";
    StrategyPosition = "strategy_position", "its strategy's position with every open order filled";
    GrossExposure = "gross_exposure", "all positions together, whichever way";
    NetExposure = "net_exposure", "all positions together, long against short";
    GroupExposure = "group_exposure", "positions of instruments that move together";
    Leverage = "leverage", "gross exposure against equity";
    Concentration = "concentration", "the instrument's share of equity";
    DailyLoss = "daily_loss", "the day's loss, all strategies together";
    StrategyLoss = "strategy_loss", "the day's loss of its strategy";
    Drawdown = "drawdown", "the fall of equity from the day's peak";
    Posture = "posture", "what the drawdown still allows";
    Breakers = "breakers", "no circuit breaker in its way is open";
    Liquidity = "liquidity", "the book is deep enough for it";
    Volatility = "volatility", "the annualised volatility of the instrument";
    Slippage = "slippage", "how far it would fill from the middle of the book";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// No rule has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRule;

impl fmt::Display for NoRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not the name of a rule")
    }
}

impl core::error::Error for NoRule {}

impl FromStr for Rule {
    type Err = NoRule;

    fn from_str(text: &str) -> Result<Self, NoRule> {
        let rule = Self::ALL.iter().find(|rule| rule.code() == text);
        rule.copied().ok_or(NoRule)
    }
}

/// What the figures of a rule count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// US dollars.
    Usd,
    /// Units of the base.
    Units,
    /// A number of things.
    Count,
    /// Hundredths of a percent.
    Bps,
    /// Milliseconds.
    Millis,
    /// A multiple.
    Times,
}

/// What a rule measured against its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Of what the figures are.
    pub unit: Unit,
    /// The limit in force.
    pub limit: Figure,
    /// What it would be with the order.
    pub used: Figure,
}

impl Measure {
    /// What is left of the limit; below zero when it is passed.
    #[must_use]
    pub fn left(&self) -> Option<Figure> {
        let left = self.limit.get().checked_sub(self.used.get())?;
        Figure::new(left).ok()
    }
}

/// One rule that an order met. It travels as `[rule, [unit, limit, used]]`: an order meets dozens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Spelled", into = "Spelled")]
pub struct Check {
    /// Which.
    pub rule: Rule,
    /// Its figures, where it has any.
    pub measure: Option<Measure>,
}

#[derive(Serialize, Deserialize)]
struct Spelled(Rule, Option<(Unit, Figure, Figure)>);

impl From<Spelled> for Check {
    fn from(Spelled(rule, measure): Spelled) -> Self {
        let measure = measure.map(|(unit, limit, used)| Measure { unit, limit, used });
        Self { rule, measure }
    }
}

impl From<Check> for Spelled {
    fn from(Check { rule, measure }: Check) -> Self {
        Self(
            rule,
            measure.map(|measure| (measure.unit, measure.limit, measure.used)),
        )
    }
}

/// What a halt or a limit is about. Written as `all`, `venue:bybit`, `instrument:BTCUSDT` or
/// `strategy:sample`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything: the whole account.
    All,
    /// One venue.
    Venue(Venue),
    /// One instrument.
    Instrument(Symbol),
    /// One strategy.
    Strategy(StrategyId),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Venue(venue) => write!(f, "venue:{venue}"),
            Self::Instrument(symbol) => write!(f, "instrument:{symbol}"),
            Self::Strategy(strategy) => write!(f, "strategy:{strategy}"),
        }
    }
}

/// A text is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoScope;

impl fmt::Display for NoScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "is no scope: give all, venue:VENUE, instrument:INSTRUMENT or strategy:STRATEGY",
        )
    }
}

impl core::error::Error for NoScope {}

impl From<IdError> for NoScope {
    fn from(_: IdError) -> Self {
        Self
    }
}

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            Some(("venue", name)) => name.parse().map(Self::Venue).map_err(|_| NoScope),
            Some(("instrument", name)) => Ok(Self::Instrument(Symbol::new(name)?)),
            Some(("strategy", name)) => Ok(Self::Strategy(StrategyId::new(name)?)),
            Some(_) | None => Err(NoScope),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;
    use std::string::ToString;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_that_reads_back() {
        let names: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.code()).collect();
        assert_eq!(names.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            assert_eq!(rule.code().parse(), Ok(*rule));
        }
        assert_eq!("slip".parse::<Rule>(), Err(NoRule));
    }

    #[test]
    fn a_scope_is_written_and_read_the_same() {
        for text in [
            "all",
            "venue:bybit",
            "instrument:BTCUSDT",
            "strategy:sample",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "All",
            "venue:",
            "venue:x",
            "instrument:",
            "strategy:a b",
        ] {
            assert_eq!(text.parse::<Scope>(), Err(NoScope), "{text:?}");
        }
    }
}
