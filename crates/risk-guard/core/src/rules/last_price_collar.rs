//! The limit price lies near the last trade, whichever way: a second opinion beside the book.

use portcullis_domain::{Bps, Figure, Price, Reason, Unit, distance};

use crate::trail::Finding;

/// Without a recent trade only what reduces a position passes: a quiet market must not keep it open.
pub fn check(limit_price: Price, last: Option<Price>, limit: Bps, reduces: bool) -> Finding {
    let Some(last) = last else {
        return if reduces {
            Ok(()).into()
        } else {
            Finding::unknown(Reason::NoRecentTrades)
        };
    };
    match distance(limit_price, last) {
        Ok(away) => Finding::at_most(Unit::Bps, away, Figure::from(limit), Reason::PriceCollar),
        Err(_) => Finding::unknown(Reason::Overflow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_trade_bounds_the_price_both_ways() {
        let cases = [
            ("100", Some("100"), Ok(())),
            ("105", Some("100"), Ok(())),
            ("105.01", Some("100"), Err(Reason::PriceCollar)),
            ("95", Some("100"), Ok(())),
            ("94.99", Some("100"), Err(Reason::PriceCollar)),
            ("100", None, Err(Reason::NoRecentTrades)),
        ];
        let none = check("100".parse().unwrap(), None, Bps::new(500).unwrap(), true);
        assert_eq!(none.answer, Ok(()), "what reduces");
        for (limit_price, last, expected) in cases {
            let got = check(
                limit_price.parse().unwrap(),
                last.map(|last| last.parse().unwrap()),
                Bps::new(500).unwrap(),
                false,
            );
            assert_eq!(got.answer, expected, "{limit_price} {last:?}");
        }
    }
}
