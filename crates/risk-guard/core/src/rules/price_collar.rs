//! The limit price lies near the middle of the book: the collar bounds what an order may pay, ten
//! times the collar how far away it may rest.

use portcullis_domain::{AmountError, Bps, Price, Reason, Side};

/// How many collars away from the middle an order may rest.
const PASSIVE_COLLARS: u32 = 10;

pub fn check(side: Side, limit_price: Price, mid: Price, collar: Bps) -> Result<(), Reason> {
    let (lowest, highest) = bounds(side, mid, collar).map_err(|_| Reason::Overflow)?;
    if limit_price < lowest || limit_price > highest {
        Err(Reason::PriceCollar)
    } else {
        Ok(())
    }
}

fn bounds(side: Side, mid: Price, collar: Bps) -> Result<(Price, Price), AmountError> {
    let passive = Bps::new(collar.get().saturating_mul(PASSIVE_COLLARS))?;
    Ok(match side {
        Side::Buy => (mid.lowered(passive)?, mid.raised(collar)?),
        Side::Sell => (mid.lowered(collar)?, mid.raised(passive)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_what_an_order_pays_and_how_far_away_it_rests() {
        const REFUSED: Result<(), Reason> = Err(Reason::PriceCollar);
        // 50 basis points around 100: one unit is 0.5, ten of them are 5.
        let cases = [
            (Side::Buy, "100.5", Ok(())),
            (Side::Buy, "100.51", REFUSED),
            (Side::Buy, "95", Ok(())),
            (Side::Buy, "94.99", REFUSED),
            (Side::Sell, "99.5", Ok(())),
            (Side::Sell, "99.49", REFUSED),
            (Side::Sell, "105", Ok(())),
            (Side::Sell, "105.01", REFUSED),
        ];
        let (mid, collar) = ("100".parse().unwrap(), Bps::new(50).unwrap());
        for (side, limit_price, expected) in cases {
            let got = check(side, limit_price.parse().unwrap(), mid, collar);
            assert_eq!(got, expected, "{side} at {limit_price}");
        }
    }

    #[test]
    fn bounds_that_cannot_be_computed_refuse() {
        let collar = Bps::new(50).unwrap();
        let most: Price = "1000000000000000".parse().unwrap();
        assert_eq!(check(Side::Buy, most, most, collar), Err(Reason::Overflow));
        let wide = Bps::new(1_000).unwrap();
        let mid = "100".parse().unwrap();
        assert_eq!(
            check(Side::Buy, mid, mid, wide),
            Err(Reason::Overflow),
            "down to zero"
        );
    }
}
