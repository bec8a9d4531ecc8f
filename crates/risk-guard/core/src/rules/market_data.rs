//! There is a book, and it is young enough to go by.

use portcullis_domain::{Figure, Reason, Timestamp, Unit};

use crate::market::Quote;
use crate::trail::Finding;

/// The age is in milliseconds, as the limit is.
pub fn check(now: Timestamp, quote: Option<&Quote>, limit: Figure) -> Finding {
    match quote {
        Some(quote) => age(now, quote.known_at, limit),
        None => Finding::unknown(Reason::NoMarketData),
    }
}

/// Whether what was known then still is, rounded up to whole milliseconds.
fn age(now: Timestamp, known_at: Timestamp, limit: Figure) -> Finding {
    let age_ms = now.since(known_at).0.div_ceil(1_000);
    Finding::at_most(Unit::Millis, age_ms, limit, Reason::StaleMarketData)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_young_book_passes() {
        let now = Timestamp(10_000_000);
        let limit = Figure::count(1_000);
        let cases = [
            (10_000_000, Ok(())),
            (9_000_000, Ok(())),
            (8_999_999, Err(Reason::StaleMarketData)),
        ];
        for (known_at, expected) in cases {
            let got = age(now, Timestamp(known_at), limit);
            assert_eq!(got.answer, expected, "{known_at}");
        }
        let none = check(now, None, limit);
        assert_eq!(none.answer, Err(Reason::NoMarketData));
    }
}
