//! At most so many within a span: messages, permits, cancelled orders.

use portcullis_domain::{Figure, Reason, Unit};

use crate::trail::Finding;

/// `used` is what it would be with this one.
pub fn check(used: u64, limit: Figure, reason: Reason) -> Finding {
    Finding::at_most(Unit::Count, used, limit, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_may_be_reached_and_not_passed() {
        let cases = [
            (0, 0, Ok(())),
            (1, 0, Err(Reason::RateLimit)),
            (5, 5, Ok(())),
            (6, 5, Err(Reason::RateLimit)),
        ];
        for (used, limit, expected) in cases {
            let got = check(used, Figure::count(limit), Reason::RateLimit);
            assert_eq!(got.answer, expected, "{used} of {limit}");
        }
    }
}
