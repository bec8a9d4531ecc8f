//! The limits in force: what the policy says, or what operators tightened it to.
//!
//! The policy is the ceiling. A limit that was set lies at or below it, whatever was written down, so
//! that neither a command nor a damaged record loosens anything.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use portcullis_domain::{Figure, Rule, Scope, StrategyId, Symbol, Unit};
use portcullis_wire::messages::{InstrumentPolicy, RiskPolicy};

/// A limit that a command may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    pub unit: Unit,
    pub most: Figure,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Limits {
    policy: RiskPolicy,
    orders_per_second_max: u32,
    instruments: BTreeMap<Symbol, InstrumentPolicy>,
    /// What a command may set of the account and of instruments, and for each strategy.
    ceilings: BTreeMap<(Rule, Scope), Ceiling>,
    of_strategies: BTreeMap<Rule, Ceiling>,
    set: BTreeMap<(Rule, Scope), Figure>,
}

impl Limits {
    /// What the policy says, and nothing tighter.
    pub fn new(policy: RiskPolicy, orders_per_second_max: u32) -> Self {
        let by_symbol = |limits: &InstrumentPolicy| (limits.instrument.symbol, limits.clone());
        let instruments = policy.instruments.iter().map(by_symbol).collect();
        let mut ceilings: BTreeMap<(Rule, Scope), Ceiling> = of_account(&policy)
            .into_iter()
            .chain([(Rule::OrderRate, count(orders_per_second_max.into()))])
            .map(|(rule, ceiling)| ((rule, Scope::All), ceiling))
            .collect();
        for limits in &policy.instruments {
            let scope = Scope::Instrument(limits.instrument.symbol);
            let of_instrument = of_instrument(limits);
            ceilings.extend(
                of_instrument
                    .into_iter()
                    .map(|(rule, ceiling)| ((rule, scope), ceiling)),
            );
        }
        Self {
            instruments,
            ceilings,
            of_strategies: of_strategies(&policy).into_iter().collect(),
            policy,
            orders_per_second_max,
            set: BTreeMap::new(),
        }
    }

    /// The most permits in any second.
    pub const fn orders_per_second_max(&self) -> u32 {
        self.orders_per_second_max
    }

    /// The policy itself.
    pub const fn policy(&self) -> &RiskPolicy {
        &self.policy
    }

    /// The instruments that may be traded.
    pub const fn instruments(&self) -> &BTreeMap<Symbol, InstrumentPolicy> {
        &self.instruments
    }

    /// The limit in force, where the policy says `ceiling`.
    pub fn in_force(&self, rule: Rule, scope: Scope, ceiling: impl Into<Figure>) -> Figure {
        let ceiling = ceiling.into();
        if self.set.is_empty() {
            return ceiling;
        }
        let set = self.set.get(&(rule, scope));
        set.map_or(ceiling, |set| ceiling.min(*set))
    }

    /// What the policy says of a limit that a command may set; `None` for any other.
    pub fn ceiling(&self, rule: Rule, scope: Scope) -> Option<Ceiling> {
        match scope {
            Scope::Strategy(_) => self.of_strategies.get(&rule).copied(),
            Scope::All | Scope::Instrument(_) | Scope::Venue(_) => {
                self.ceilings.get(&(rule, scope)).copied()
            }
        }
    }

    /// Sets a limit; what lies above the ceiling changes nothing.
    pub fn set(&mut self, rule: Rule, scope: Scope, value: Figure) {
        self.set.insert((rule, scope), value);
    }

    /// Every limit of the account, of instruments and of these strategies, in that order.
    pub fn listed(
        &self,
        strategies: impl Iterator<Item = StrategyId>,
    ) -> Vec<(Rule, Scope, Ceiling)> {
        let general = self
            .ceilings
            .iter()
            .map(|((rule, scope), ceiling)| (*rule, *scope, *ceiling));
        let of_strategies = strategies.flat_map(|id| {
            let ceilings = self.of_strategies.iter();
            ceilings.map(move |(rule, ceiling)| (*rule, Scope::Strategy(id), *ceiling))
        });
        let mut listed: Vec<_> = general.chain(of_strategies).collect();
        listed.sort_by_key(|(rule, scope, _)| (*scope, *rule));
        listed
    }
}

fn count(most: u64) -> Ceiling {
    Ceiling {
        unit: Unit::Count,
        most: Figure::count(most),
    }
}

fn usd(most: impl Into<Figure>) -> Ceiling {
    Ceiling {
        unit: Unit::Usd,
        most: most.into(),
    }
}

fn bps(most: portcullis_domain::Bps) -> Ceiling {
    Ceiling {
        unit: Unit::Bps,
        most: most.into(),
    }
}

fn millis(most: u64) -> Ceiling {
    Ceiling {
        unit: Unit::Millis,
        most: Figure::count(most),
    }
}

fn of_account(policy: &RiskPolicy) -> [(Rule, Ceiling); 10] {
    [
        (Rule::BookAge, millis(policy.book_age_ms_max)),
        (Rule::ClockError, millis(policy.clock_error_ms_max)),
        (Rule::OpenOrders, count(policy.orders_open_max)),
        (Rule::GrossExposure, usd(policy.gross_exposure_max)),
        (Rule::NetExposure, usd(policy.net_exposure_max)),
        (Rule::Leverage, bps(policy.leverage_max)),
        (Rule::Concentration, bps(policy.concentration_max)),
        (Rule::DailyLoss, usd(policy.daily_loss_max)),
        (Rule::Drawdown, usd(policy.drawdown_max)),
        (Rule::Breakers, usd(policy.probe_notional_max)),
    ]
}

fn of_strategies(policy: &RiskPolicy) -> [(Rule, Ceiling); 7] {
    let limits = &policy.strategy;
    [
        (
            Rule::MessageRate,
            count(limits.messages_per_second_max.into()),
        ),
        (
            Rule::StrategyOrderRate,
            count(limits.orders_per_second_max.into()),
        ),
        (
            Rule::CancelRate,
            count(limits.cancels_per_minute_max.into()),
        ),
        (
            Rule::RepeatedExecution,
            count(limits.repeated_fills_max.into()),
        ),
        (Rule::StrategyOpenOrders, count(limits.orders_open_max)),
        (Rule::StrategyPosition, usd(limits.position_notional_max)),
        (Rule::StrategyLoss, usd(limits.daily_loss_max)),
    ]
}

fn of_instrument(limits: &InstrumentPolicy) -> [(Rule, Ceiling); 8] {
    let units = Ceiling {
        unit: Unit::Units,
        most: limits.order_quantity_max.into(),
    };
    let times = Ceiling {
        unit: Unit::Times,
        most: Figure::count(limits.fat_finger_max.into()),
    };
    [
        (Rule::OrderQuantity, units),
        (Rule::PriceCollar, bps(limits.collar)),
        (Rule::LastPriceCollar, bps(limits.last_collar)),
        (Rule::FatFinger, times),
        (Rule::OrderNotional, usd(limits.order_notional_max)),
        (Rule::InstrumentOpenOrders, count(limits.orders_open_max)),
        (Rule::PositionNotional, usd(limits.position_notional_max)),
        (Rule::Volatility, bps(limits.volatility_max)),
    ]
}

#[cfg(test)]
mod tests {
    use portcullis_domain::Usd;
    use portcullis_testkit::policies;

    use super::*;

    fn limits() -> Limits {
        Limits::new(
            policies::policy(alloc::vec![policies::wide(policies::xrp())]),
            100,
        )
    }

    #[test]
    fn a_limit_that_was_set_only_tightens() {
        let ceiling: Usd = "100".parse().unwrap();
        let mut limits = limits();
        let in_force = |limits: &Limits| limits.in_force(Rule::DailyLoss, Scope::All, ceiling);
        assert_eq!(in_force(&limits), "100".parse().unwrap());
        // set, in force
        for (set, expected) in [("40", "40"), ("90", "90"), ("101", "100")] {
            limits.set(Rule::DailyLoss, Scope::All, set.parse().unwrap());
            assert_eq!(in_force(&limits), expected.parse().unwrap(), "{set}");
        }
    }

    #[test]
    fn only_limits_that_there_are_have_a_ceiling() {
        let limits = limits();
        let xrp = Scope::Instrument("XRPUSDT".parse().unwrap());
        let other = Scope::Instrument("BTCUSDT".parse().unwrap());
        let sample = Scope::Strategy("sample".parse().unwrap());
        let cases = [
            (Rule::DailyLoss, Scope::All, true),
            (Rule::OrderRate, Scope::All, true),
            (Rule::DailyLoss, xrp, false),
            (Rule::OrderNotional, xrp, true),
            (Rule::OrderNotional, other, false),
            (Rule::OrderNotional, Scope::All, false),
            (Rule::StrategyLoss, sample, true),
            (Rule::StrategyLoss, Scope::All, false),
            (Rule::KillSwitch, Scope::All, false),
        ];
        for (rule, scope, expected) in cases {
            let ceiling = limits.ceiling(rule, scope);
            assert_eq!(ceiling.is_some(), expected, "{rule} {scope}");
        }
    }
}
