//! Quantity and price already are what the venue accepts: nothing is rounded after the permit.

use portcullis_domain::{Instrument, InstrumentError, Order, Reason};

pub fn check(instrument: &Instrument, order: &Order) -> Result<(), Reason> {
    let rounded = instrument
        .round_quantity(order.quantity)
        .map_err(|error| match error {
            InstrumentError::TooSmall => Reason::OrderTooSmall,
            InstrumentError::TooLarge => Reason::OrderTooLarge,
            InstrumentError::Price => Reason::VenueFilters,
        })?;
    let price = instrument.round_price(order.side, order.limit_price);
    if rounded != order.quantity || price != Ok(order.limit_price) {
        return Err(Reason::VenueFilters);
    }
    let notional = order
        .limit_price
        .notional(order.quantity)
        .map_err(|_| Reason::Overflow)?;
    if notional < instrument.notional_min {
        Err(Reason::OrderTooSmall)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::{Side, Symbol, Timestamp};
    use portcullis_testkit::seals;

    use super::*;

    #[test]
    fn only_what_needs_no_rounding_passes() {
        let instrument = Instrument {
            symbol: Symbol::new("XRPUSDT").unwrap(),
            tick_size: "0.0001".parse().unwrap(),
            quantity_step: "0.1".parse().unwrap(),
            quantity_min: "0.2".parse().unwrap(),
            quantity_max: "1000".parse().unwrap(),
            notional_min: "5".parse().unwrap(),
        };
        let cases = [
            ("10", "0.5", Ok(())),
            ("1000", "0.5", Ok(())),
            ("10.05", "0.5", Err(Reason::VenueFilters)),
            ("10", "0.50005", Err(Reason::VenueFilters)),
            ("10", "0.00005", Err(Reason::VenueFilters)),
            ("0.1", "100", Err(Reason::OrderTooSmall)),
            ("9.9", "0.5", Err(Reason::OrderTooSmall)),
            ("1000.1", "0.5", Err(Reason::OrderTooLarge)),
            ("1000", "1000000000000000", Err(Reason::Overflow)),
        ];
        for side in [Side::Buy, Side::Sell] {
            for (quantity, price, expected) in cases {
                let order = Order {
                    side,
                    quantity: quantity.parse().unwrap(),
                    limit_price: price.parse().unwrap(),
                    ..seals::order(1, Timestamp(0))
                };
                assert_eq!(
                    check(&instrument, &order),
                    expected,
                    "{side} {quantity} @ {price}"
                );
            }
        }
    }
}
