//! What the service counted since its start, for its status. The metrics count the same.

use std::collections::BTreeMap;

use portcullis_domain::Reason;
use portcullis_runtime::metrics;
use portcullis_wire::Text;
use portcullis_wire::messages::{Count, Outcome};

/// The most numbers in a status.
const LISTED_MAX: usize = 64;

#[derive(Debug, Default)]
pub struct Counts {
    passed: u64,
    refused: BTreeMap<Reason, u64>,
    others: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Counts an answer.
    pub fn answered(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => {
                metrics::counter!("portcullis_brain_orders_total").increment(1);
                self.passed = self.passed.saturating_add(1);
            }
            Outcome::Refused(reason) => self.refused(reason),
        }
    }

    /// Counts a refusal.
    pub fn refused(&mut self, reason: Reason) {
        metrics::counter!("portcullis_brain_refusals_total", "reason" => reason.code())
            .increment(1);
        let count = self.refused.entry(reason).or_default();
        *count = count.saturating_add(1);
    }

    /// Counts something else, under a name of the code.
    pub fn other(&mut self, name: &'static str) {
        metrics::counter!("portcullis_brain_events_total", "event" => name).increment(1);
        let count = self.others.entry(name).or_default();
        *count = count.saturating_add(1);
    }

    /// All numbers above zero, as the status has them.
    pub fn listed(&self) -> Vec<Count> {
        let refused = self
            .refused
            .values()
            .fold(0_u64, |sum, count| sum.saturating_add(*count));
        let totals = [
            ("orders".to_owned(), self.passed),
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
        let mut counts = Counts::default();
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
