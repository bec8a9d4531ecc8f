//! The number of orders that are open or in doubt is limited; those permitted since execution's
//! last account count too.

use portcullis_domain::{Figure, Reason, Unit};

use crate::trail::Finding;

/// `open` are those that may be open without this one.
pub fn check(open: u64, limit: Figure) -> Finding {
    let used = open.saturating_add(1);
    Finding::at_most(Unit::Count, used, limit, Reason::TooManyOrders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_must_fit() {
        let cases = [
            (0, 1, Ok(())),
            (1, 1, Err(Reason::TooManyOrders)),
            (9, 10, Ok(())),
            (10, 10, Err(Reason::TooManyOrders)),
            (u64::MAX, 10, Err(Reason::TooManyOrders)),
        ];
        for (open, limit, expected) in cases {
            let got = check(open, Figure::count(limit));
            assert_eq!(got.answer, expected, "{open} of {limit}");
        }
    }
}
