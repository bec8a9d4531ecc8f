//! An instrument and the venue's filters for it, applied so that rounding never adds exposure.

use core::fmt;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::{Price, Quantity, Side, Symbol, Usd};

/// What a venue accepts as an order for one instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instrument {
    /// The venue's name of it.
    pub symbol: Symbol,
    /// The smallest difference of two prices.
    pub tick_size: Price,
    /// The smallest difference of two quantities.
    pub quantity_step: Quantity,
    /// The smallest order.
    pub quantity_min: Quantity,
    /// The largest order.
    pub quantity_max: Quantity,
    /// The smallest order by value.
    pub notional_min: Usd,
}

/// Why an order does not fit an instrument's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstrumentError {
    /// Nothing is left after rounding to the step, or less than the venue's smallest.
    TooSmall,
    /// More than the venue's largest.
    TooLarge,
    /// The price rounds to nothing.
    Price,
}

impl fmt::Display for InstrumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSmall => "is smaller than the venue's smallest order",
            Self::TooLarge => "is larger than the venue's largest order",
            Self::Price => "has a price below the venue's tick",
        })
    }
}

impl core::error::Error for InstrumentError {}

impl Instrument {
    /// Rounds a quantity down to the venue's step: less exposure, never more.
    ///
    /// # Errors
    /// [`InstrumentError`] when the rounded quantity is outside what the venue accepts.
    pub fn round_quantity(&self, quantity: Quantity) -> Result<Quantity, InstrumentError> {
        let rounded = multiple(
            quantity.get(),
            self.quantity_step.get(),
            RoundingStrategy::ToZero,
        );
        let rounded = rounded
            .and_then(|value| Quantity::new(value).ok())
            .filter(|value| *value >= self.quantity_min)
            .ok_or(InstrumentError::TooSmall)?;
        if rounded > self.quantity_max {
            Err(InstrumentError::TooLarge)
        } else {
            Ok(rounded)
        }
    }

    /// Rounds a limit price to the venue's tick: a buyer pays no more, a seller takes no less.
    ///
    /// # Errors
    /// [`InstrumentError::Price`] when a buyer's price rounds to nothing.
    pub fn round_price(&self, side: Side, price: Price) -> Result<Price, InstrumentError> {
        let strategy = match side {
            Side::Buy => RoundingStrategy::ToZero,
            Side::Sell => RoundingStrategy::AwayFromZero,
        };
        multiple(price.get(), self.tick_size.get(), strategy)
            .and_then(|value| Price::new(value).ok())
            .ok_or(InstrumentError::Price)
    }

    /// Whether quantity and price already are what the venue accepts.
    #[must_use]
    pub fn accepts(&self, side: Side, quantity: Quantity, price: Price) -> bool {
        self.round_quantity(quantity) == Ok(quantity)
            && self.round_price(side, price) == Ok(price)
            && price
                .notional(quantity)
                .is_ok_and(|notional| notional >= self.notional_min)
    }
}

fn multiple(value: Decimal, step: Decimal, strategy: RoundingStrategy) -> Option<Decimal> {
    let steps = value.checked_div(step)?.round_dp_with_strategy(0, strategy);
    steps.checked_mul(step).map(|rounded| rounded.normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xrp() -> Instrument {
        Instrument {
            symbol: Symbol::new("XRPUSDT").unwrap(),
            tick_size: "0.0001".parse().unwrap(),
            quantity_step: "0.1".parse().unwrap(),
            quantity_min: "0.1".parse().unwrap(),
            quantity_max: "1000".parse().unwrap(),
            notional_min: "5".parse().unwrap(),
        }
    }

    #[test]
    fn quantities_round_towards_less() {
        let cases = [
            ("10.19", Ok("10.1")),
            ("10.1", Ok("10.1")),
            ("0.09", Err(InstrumentError::TooSmall)),
            ("1000.1", Err(InstrumentError::TooLarge)),
        ];
        for (quantity, expected) in cases {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(
                xrp().round_quantity(quantity.parse().unwrap()),
                expected,
                "{quantity}"
            );
        }
    }

    #[test]
    fn prices_round_in_the_orders_favour() {
        let price: Price = "1.23456".parse().unwrap();
        assert_eq!(
            xrp().round_price(Side::Buy, price),
            Ok("1.2345".parse().unwrap())
        );
        assert_eq!(
            xrp().round_price(Side::Sell, price),
            Ok("1.2346".parse().unwrap())
        );
        let dust: Price = "0.00001".parse().unwrap();
        assert_eq!(
            xrp().round_price(Side::Buy, dust),
            Err(InstrumentError::Price)
        );
    }

    #[test]
    fn accepts_only_what_needs_no_rounding() {
        let accepts = |quantity: &str, price: &str| {
            xrp().accepts(Side::Buy, quantity.parse().unwrap(), price.parse().unwrap())
        };
        assert!(accepts("10", "1.5"));
        assert!(!accepts("10.05", "1.5"));
        assert!(!accepts("10", "1.50001"));
        assert!(!accepts("1", "1.5"), "a notional of 1.5 is below 5");
    }
}
