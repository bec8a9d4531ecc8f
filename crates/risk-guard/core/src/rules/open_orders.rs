//! The number of orders that are open or in doubt is limited; those permitted since execution's
//! last account count too.

use portcullis_domain::Reason;

pub fn check(open: u64, pending: usize, limit: u64) -> Result<(), Reason> {
    let pending = u64::try_from(pending).unwrap_or(u64::MAX);
    if open.saturating_add(pending) >= limit {
        Err(Reason::TooManyOrders)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_must_fit() {
        let cases = [
            (0, 0, 1, Ok(())),
            (1, 0, 1, Err(Reason::TooManyOrders)),
            (0, 1, 1, Err(Reason::TooManyOrders)),
            (7, 2, 10, Ok(())),
            (8, 2, 10, Err(Reason::TooManyOrders)),
            (u64::MAX, 1, u64::MAX, Err(Reason::TooManyOrders)),
        ];
        for (open, pending, limit, expected) in cases {
            assert_eq!(
                check(open, pending, limit),
                expected,
                "{open} + {pending} of {limit}"
            );
        }
    }
}
