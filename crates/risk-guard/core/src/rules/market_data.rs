//! There is a book, and it is young enough to go by.

use portcullis_domain::{Price, Reason, Span, Timestamp};

use crate::guard::Quote;

pub fn check(now: Timestamp, quote: Option<&Quote>, age_max: Span) -> Result<Price, Reason> {
    let quote = quote.ok_or(Reason::NoMarketData)?;
    if now.since(quote.known_at) > age_max {
        Err(Reason::StaleMarketData)
    } else {
        Ok(quote.mid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_young_book_passes() {
        let now = Timestamp(10_000_000);
        let mid: Price = "0.5".parse().unwrap();
        let cases = [
            (None, Err(Reason::NoMarketData)),
            (Some(10_000_000), Ok(mid)),
            (Some(9_000_000), Ok(mid)),
            (Some(8_999_999), Err(Reason::StaleMarketData)),
        ];
        for (known_at, expected) in cases {
            let quote = known_at.map(|at| Quote::new(mid, Timestamp(at), now));
            assert_eq!(
                check(now, quote.as_ref(), Span::from_secs(1)),
                expected,
                "{known_at:?}"
            );
        }
    }
}
