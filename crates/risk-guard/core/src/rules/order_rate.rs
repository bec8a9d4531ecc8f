//! At most so many permits in any second.

use portcullis_domain::{RateLimit, Reason, Timestamp};

pub fn check(rate: &RateLimit, now: Timestamp) -> Result<(), Reason> {
    if rate.has_room(now) {
        Ok(())
    } else {
        Err(Reason::RateLimit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_its_number() {
        let mut rate = RateLimit::new(2);
        let cases = [
            (0, Ok(())),
            (500_000, Ok(())),
            (999_999, Err(Reason::RateLimit)),
            (1_000_000, Ok(())),
            (1_499_999, Err(Reason::RateLimit)),
            (1_500_000, Ok(())),
        ];
        for (now, expected) in cases {
            assert_eq!(check(&rate, Timestamp(now)), expected, "at {now} µs");
            rate.take(Timestamp(now));
        }
    }
}
