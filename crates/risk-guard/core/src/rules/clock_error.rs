//! The venue's clock and ours agree: otherwise nobody knows how old a price is.

use portcullis_domain::{Figure, Reason, Timestamp, Unit};

use crate::trail::Finding;

/// `venue_time` is what the venue wrote into the book that was sealed at `sealed_at`.
pub fn check(sealed_at: Timestamp, venue_time: Timestamp, limit: Figure) -> Finding {
    let apart = sealed_at.since(venue_time).max(venue_time.since(sealed_at));
    let apart_ms = apart.0.div_ceil(1_000);
    Finding::at_most(Unit::Millis, apart_ms, limit, Reason::ClockSkew)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_clock_may_be_far_ahead() {
        let cases = [
            (5_000_000, 5_000_000, Ok(())),
            (5_000_000, 3_000_000, Ok(())),
            (5_000_000, 2_999_999, Err(Reason::ClockSkew)),
            (5_000_000, 7_000_000, Ok(())),
            (5_000_000, 7_000_001, Err(Reason::ClockSkew)),
        ];
        for (sealed_at, venue_time, expected) in cases {
            let limit = Figure::count(2_000);
            let got = check(Timestamp(sealed_at), Timestamp(venue_time), limit);
            assert_eq!(got.answer, expected, "{sealed_at} {venue_time}");
        }
    }
}
