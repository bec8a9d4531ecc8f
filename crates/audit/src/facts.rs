//! Which facts there are, and how each is opened.

use audit_core::Fact;
use portcullis_domain::StrategyId;
use portcullis_runtime::{Raw, Service};
use portcullis_wire::Refusal;
use portcullis_wire::principal::Audit;
use portcullis_wire::subjects::{
    BRAIN_NOTICE, DECISION, Delivery, EXECUTION_NOTICE, FILL, MARKET_DATA_NOTICE, PERMIT_TAKEN,
    REPORT, RISK_GUARD_NOTICE, Row, SIGNED, SIGNER_NOTICE, TABLE, VERDICT, Variable,
};

macro_rules! facts {
    ($($subject:ident: $make:path;)*) => {
        /// Every subject that [`open`] knows.
        #[cfg(test)]
        const OPENED: &[&Row] = &[$($subject.row),*];

        /// Opens a fact, as what its subject says it is.
        pub fn open(service: &Service<Audit>, raw: &Raw) -> Result<Fact, Refusal> {
            $(
                if raw.is(&$subject) {
                    return service.open_fact(&$subject, raw).map($make);
                }
            )*
            Err(Refusal::Subject)
        }
    };
}

facts! {
    PERMIT_TAKEN: Fact::permit_taken;
    DECISION: Fact::new;
    VERDICT: Fact::new;
    REPORT: Fact::new;
    FILL: Fact::new;
    SIGNED: Fact::new;
    BRAIN_NOTICE: Fact::notice;
    RISK_GUARD_NOTICE: Fact::notice;
    EXECUTION_NOTICE: Fact::notice;
    SIGNER_NOTICE: Fact::notice;
    MARKET_DATA_NOTICE: Fact::notice;
}

/// What is listened to on the bus: every fact, of these strategies where a fact is about one.
pub fn subjects<'a>(
    strategies: impl IntoIterator<Item = &'a StrategyId>,
) -> Vec<(&'static Row, Option<&'a str>)> {
    let names: Vec<&str> = strategies.into_iter().map(StrategyId::as_str).collect();
    let mut subjects = Vec::new();
    for row in TABLE.iter().filter(|row| row.delivery == Delivery::Stream) {
        match row.variable {
            Variable::None => subjects.push((*row, None)),
            Variable::Strategy => subjects.extend(names.iter().map(|name| (*row, Some(*name)))),
            // No fact is about an instrument alone; the stream would bring it.
            Variable::Symbol => {}
        }
    }
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_of_the_table_can_be_opened_and_is_listened_to() {
        let strategies = [StrategyId::new("a").unwrap(), StrategyId::new("b").unwrap()];
        let listened = subjects(&strategies);
        for row in TABLE.iter().filter(|row| row.delivery == Delivery::Stream) {
            let opened = OPENED
                .iter()
                .filter(|opened| opened.pattern == row.pattern)
                .count();
            assert_eq!(opened, 1, "{}", row.pattern);
            let times = listened
                .iter()
                .filter(|(one, _)| one.pattern == row.pattern)
                .count();
            let due = if row.variable == Variable::Strategy {
                2
            } else {
                1
            };
            assert_eq!(times, due, "{}", row.pattern);
        }
        assert!(OPENED.iter().all(|row| row.delivery == Delivery::Stream));
    }
}
