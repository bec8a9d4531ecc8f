//! What an operator halted gets nothing new.

use portcullis_domain::{Order, Reason, Timestamp};

use crate::halts::Halts;

pub fn check(halts: &Halts, order: &Order, now: Timestamp) -> Result<(), Reason> {
    if halts.stops(order, now) {
        Err(Reason::Halted)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::Scope;
    use portcullis_testkit::seals::{self, principal};
    use portcullis_wire::Text;
    use portcullis_wire::messages::HaltStatus;

    use super::*;

    #[test]
    fn a_halt_stops_its_scope_until_its_time_is_over() {
        const STOPPED: Result<(), Reason> = Err(Reason::Halted);
        // scope, until, answer at 10
        let cases = [
            ("all", None, STOPPED),
            ("venue:bybit", None, STOPPED),
            ("instrument:XRPUSDT", None, STOPPED),
            ("instrument:BTCUSDT", None, Ok(())),
            ("strategy:sample", None, STOPPED),
            ("strategy:other", None, Ok(())),
            ("all", Some(11), STOPPED),
            ("all", Some(10), Ok(())),
        ];
        let order = seals::order(1, Timestamp(0));
        for (scope, until, expected) in cases {
            let mut halts = Halts::default();
            assert_eq!(check(&halts, &order, Timestamp(10)), Ok(()));
            let scope: Scope = scope.parse().unwrap();
            halts.begin(HaltStatus {
                scope,
                until: until.map(Timestamp),
                operator: principal("operator-alice"),
                reason: Text::lossy("drill"),
            });
            let got = check(&halts, &order, Timestamp(10));
            assert_eq!(got, expected, "{scope} until {until:?}");
        }
    }
}
