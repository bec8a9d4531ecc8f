//! What a service that answers yes or no counted since its start, for its status. The metrics count
//! the same.

use std::collections::BTreeMap;

use portcullis_domain::Reason;
use portcullis_wire::Text;
use portcullis_wire::messages::{Count, Outcome};

/// The most numbers in a status.
const LISTED_MAX: usize = 64;

/// What the numbers of one service are called.
#[derive(Clone, Copy, Debug)]
pub struct CountNames {
    /// In the status: what a yes produces.
    pub passed: &'static str,
    /// The metric of yes.
    pub passed_total: &'static str,
    /// The metric of no, with the reason.
    pub refusals_total: &'static str,
    /// The metric of everything else, with the event.
    pub events_total: &'static str,
}

/// The numbers.
#[derive(Debug)]
pub struct Counts {
    names: CountNames,
    passed: u64,
    refused: BTreeMap<Reason, u64>,
    others: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Nothing counted yet.
    #[must_use]
    pub const fn new(names: CountNames) -> Self {
        Self {
            names,
            passed: 0,
            refused: BTreeMap::new(),
            others: BTreeMap::new(),
        }
    }

    /// Counts an answer.
    pub fn answered(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => {
                metrics::counter!(self.names.passed_total).increment(1);
                self.passed = self.passed.saturating_add(1);
            }
            Outcome::Refused(reason) => self.refused(reason),
        }
    }

    /// Counts a refusal.
    pub fn refused(&mut self, reason: Reason) {
        metrics::counter!(self.names.refusals_total, "reason" => reason.code()).increment(1);
        let count = self.refused.entry(reason).or_default();
        *count = count.saturating_add(1);
    }

    /// Counts something else, under a name of the code.
    pub fn other(&mut self, name: &'static str) {
        metrics::counter!(self.names.events_total, "event" => name).increment(1);
        let count = self.others.entry(name).or_default();
        *count = count.saturating_add(1);
    }

    /// All numbers, the two totals first, as the status has them.
    #[must_use]
    pub fn listed(&self) -> Vec<Count> {
        let refused = self
            .refused
            .values()
            .fold(0_u64, |sum, count| sum.saturating_add(*count));
        let totals = [
            (self.names.passed.to_owned(), self.passed),
            ("refused".to_owned(), refused),
        ];
        let others = self
            .others
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value));
        let reasons = self
            .refused
            .iter()
            .map(|(reason, value)| (format!("refused.{reason}"), *value));
        let counts = totals
            .into_iter()
            .chain(others)
            .chain(reasons)
            .take(LISTED_MAX);
        counts
            .map(|(name, value)| Count {
                name: Text::lossy(&name),
                value,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_totals_and_each_reason() {
        let mut counts = Counts::new(CountNames {
            passed: "orders",
            passed_total: "portcullis_test_orders_total",
            refusals_total: "portcullis_test_refusals_total",
            events_total: "portcullis_test_events_total",
        });
        counts.answered(Outcome::Passed);
        counts.answered(Outcome::Refused(Reason::PriceCollar));
        counts.answered(Outcome::Refused(Reason::PriceCollar));
        counts.refused(Reason::UnknownStrategy);
        counts.other("duplicates");
        let listed = counts.listed();
        let listed: Vec<_> = listed
            .iter()
            .map(|count| (count.name.as_str(), count.value))
            .collect();
        assert_eq!(
            listed,
            [
                ("orders", 1),
                ("refused", 3),
                ("duplicates", 1),
                ("refused.UNKNOWN_STRATEGY", 1),
                ("refused.PRICE_COLLAR", 2),
            ]
        );
    }
}
