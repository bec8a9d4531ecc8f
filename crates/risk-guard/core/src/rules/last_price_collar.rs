//! The limit price lies near the last trade, whichever way: a second opinion beside the book.

use portcullis_domain::{Bps, Figure, Price, Reason, Unit, distance};

use crate::trail::Finding;

pub fn check(limit_price: Price, last: Option<Price>, limit: Bps) -> Finding {
    let Some(last) = last else {
        return Finding::unknown(Reason::NoRecentTrades);
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
        for (limit_price, last, expected) in cases {
            let got = check(
                limit_price.parse().unwrap(),
                last.map(|last| last.parse().unwrap()),
                Bps::new(500).unwrap(),
            );
            assert_eq!(got.answer, expected, "{limit_price} {last:?}");
        }
    }
}
