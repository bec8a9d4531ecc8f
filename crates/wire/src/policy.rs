//! What a risk policy must be before anybody runs it.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use portcullis_domain::Usd;

use crate::messages::{InstrumentPolicy, RiskPolicy};

/// The oldest book that a policy may still count, in milliseconds.
const BOOK_AGE_MS_MAX: u64 = 5_000;
/// The widest collar that still is one, in basis points: ten times it, the widest distance of a
/// passive price, stays below 100 %.
const COLLAR_BPS_MAX: u32 = 999;

impl RiskPolicy {
    /// Everything that is wrong with this policy, in words; empty when it may be run.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.instruments.is_empty() {
            problems.push("instruments: there must be at least one".into());
        }
        if self.book_age_ms_max == 0 || self.book_age_ms_max > BOOK_AGE_MS_MAX {
            problems.push(format!(
                "book_age_ms_max: must be from 1 to {BOOK_AGE_MS_MAX}"
            ));
        }
        if self.orders_open_max == 0 {
            problems.push("orders_open_max: must be at least 1".into());
        }
        if self.daily_loss_max <= Usd::ZERO {
            problems.push("daily_loss_max: must be above zero".into());
        }
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
        for (name, limit) in limits {
            if limit <= Usd::ZERO {
                problems.push(format!("{name} must be above zero"));
            }
        }
        if filters.notional_min.is_negative() {
            problems.push("notional_min must not be negative".into());
        }
        if self.order_notional_max < filters.notional_min {
            problems.push("order_notional_max is below the venue's notional_min".into());
        }
        if filters.quantity_min > filters.quantity_max {
            problems.push("quantity_min is above quantity_max".into());
        }
        if self.collar.get() == 0 || self.collar.get() > COLLAR_BPS_MAX {
            problems.push(format!(
                "collar must be from 1 to {COLLAR_BPS_MAX} basis points"
            ));
        }
        // Names travel in subjects, where a dot would add a place.
        if filters.symbol.as_str().contains('.') {
            problems.push("the symbol must not have a dot".into());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;

    use portcullis_domain::{Bps, Instrument, Symbol};

    use super::*;

    fn sound() -> RiskPolicy {
        RiskPolicy {
            instruments: vec![InstrumentPolicy {
                instrument: Instrument {
                    symbol: Symbol::new("XRPUSDT").unwrap(),
                    tick_size: "0.0001".parse().unwrap(),
                    quantity_step: "0.1".parse().unwrap(),
                    quantity_min: "0.1".parse().unwrap(),
                    quantity_max: "1000".parse().unwrap(),
                    notional_min: "5".parse().unwrap(),
                },
                order_notional_max: "100".parse().unwrap(),
                position_notional_max: "200".parse().unwrap(),
                collar: Bps::new(50).unwrap(),
            }],
            book_age_ms_max: 1_000,
            orders_open_max: 10,
            daily_loss_max: "50".parse().unwrap(),
        }
    }

    #[test]
    fn a_sound_policy_has_no_problems() {
        assert_eq!(sound().problems(), Vec::<String>::new());
    }

    #[test]
    fn names_what_is_wrong_with_a_policy() {
        type Breaks = fn(&mut RiskPolicy);
        let cases: [(Breaks, &str); 14] = [
            (|p| p.instruments.clear(), "at least one"),
            (|p| p.book_age_ms_max = 0, "book_age_ms_max"),
            (|p| p.book_age_ms_max = 5_001, "book_age_ms_max"),
            (|p| p.orders_open_max = 0, "orders_open_max"),
            (|p| p.daily_loss_max = Usd::ZERO, "daily_loss_max"),
            (
                |p| p.instruments.push(p.instruments[0].clone()),
                "XRPUSDT: is listed twice",
            ),
            (
                |p| p.instruments[0].order_notional_max = Usd::ZERO,
                "order_notional_max must be",
            ),
            (
                |p| p.instruments[0].position_notional_max = Usd::ZERO,
                "position_notional_max must",
            ),
            (
                |p| p.instruments[0].order_notional_max = "4".parse().unwrap(),
                "below the venue's",
            ),
            (|p| p.instruments[0].collar = Bps::new(0).unwrap(), "collar"),
            (
                |p| p.instruments[0].collar = Bps::new(1_000).unwrap(),
                "collar",
            ),
            (
                |p| p.instruments[0].instrument.quantity_max = "0.01".parse().unwrap(),
                "quantity_min",
            ),
            (
                |p| p.instruments[0].instrument.notional_min = "-1".parse().unwrap(),
                "notional_min",
            ),
            (
                |p| p.instruments[0].instrument.symbol = Symbol::new("A.B").unwrap(),
                "dot",
            ),
        ];
        for (index, (breaks, part)) in cases.into_iter().enumerate() {
            let mut policy = sound();
            breaks(&mut policy);
            let problems = policy.problems();
            let named = problems.iter().any(|problem| problem.contains(part));
            assert!(
                named,
                "case {index}: {problems:?} does not mention {part:?}"
            );
        }
    }
}
