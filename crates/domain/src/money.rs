//! Amounts: one type for each meaning, and only the products that mean something.
//!
//! All of them are decimals of at most 12 places and at most 10^15 in size, so that no product of
//! two of them overflows unseen; arithmetic that still would is an [`AmountError`].

use core::fmt;
use core::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest text that is read as an amount, in characters.
const TEXT_LENGTH_MAX: usize = 32;
/// The most decimal places of an amount.
pub(crate) const PLACES_MAX: u32 = 12;
/// The largest size of an amount.
const SIZE_MAX: Decimal = Decimal::from_parts(2_764_472_320, 232_830, 0, false, 0);

/// Why a number is not such an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountError {
    /// Not a plain decimal number such as `-12.50`.
    NotANumber,
    /// Above 10^15, or the result of a calculation that would be.
    TooLarge,
    /// More than 12 decimal places.
    TooFine,
    /// Zero or less where only more than zero has a meaning.
    NotPositive,
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "is not a plain decimal number",
            Self::TooLarge => "is larger than 10^15",
            Self::TooFine => "has more than 12 decimal places",
            Self::NotPositive => "is not above zero",
        })
    }
}

impl core::error::Error for AmountError {}

/// [`SIZE_MAX`] in units of each number of places, so that no comparison has to bring two decimals to
/// the same scale: every amount that is made passes here.
const SIZES_MAX: [u128; 13] = [
    1_000_000_000_000_000,
    10_000_000_000_000_000,
    100_000_000_000_000_000,
    1_000_000_000_000_000_000,
    10_000_000_000_000_000_000,
    100_000_000_000_000_000_000,
    1_000_000_000_000_000_000_000,
    10_000_000_000_000_000_000_000,
    100_000_000_000_000_000_000_000,
    1_000_000_000_000_000_000_000_000,
    10_000_000_000_000_000_000_000_000,
    100_000_000_000_000_000_000_000_000,
    1_000_000_000_000_000_000_000_000_000,
];

fn bounded(value: Decimal) -> Result<Decimal, AmountError> {
    let places = usize::try_from(value.scale()).unwrap_or(usize::MAX);
    match SIZES_MAX.get(places) {
        Some(most) if value.mantissa().unsigned_abs() <= *most => Ok(value),
        Some(_) => Err(AmountError::TooLarge),
        None if value.abs() > SIZE_MAX => Err(AmountError::TooLarge),
        None => Err(AmountError::TooFine),
    }
}

fn positive(value: Decimal) -> Result<Decimal, AmountError> {
    if value.is_zero() || value.is_sign_negative() {
        return Err(AmountError::NotPositive);
    }
    bounded(value)
}

fn parse(text: &str) -> Result<Decimal, AmountError> {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'.');
    if text.len() > TEXT_LENGTH_MAX || !text.bytes().all(plain) {
        return Err(AmountError::NotANumber);
    }
    Decimal::from_str_exact(text).map_err(|_| AmountError::NotANumber)
}

/// Rounds away the places beyond the twelfth, towards zero.
fn trimmed(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(PLACES_MAX, RoundingStrategy::ToZero)
}

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Decimal);

        impl $name {
            /// Checks and wraps a decimal.
            ///
            /// # Errors
            /// [`AmountError`] when it is out of range for this kind of amount.
            pub fn new(value: Decimal) -> Result<Self, AmountError> {
                $check(value).map(Self)
            }

            /// The number itself.
            #[must_use]
            pub const fn get(self) -> Decimal {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = AmountError;

            fn from_str(text: &str) -> Result<Self, AmountError> {
                parse(text).and_then(Self::new)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        // A string, never a binary float, so that every language reads the same number.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a decimal number as a string")
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

amount! {
    /// An amount of the quote currency (USDT is booked as USD, one to one); may be negative.
    Usd, bounded
}
amount! {
    /// A price in quote currency for one unit of the base; above zero.
    Price, positive
}
amount! {
    /// A number of units of the base; above zero, so that an order for nothing cannot be written.
    Quantity, positive
}
amount! {
    /// A position in units of the base: above zero is long, below is short, zero is flat.
    Exposure, bounded
}

amount! {
    /// A number whose unit stands beside it, for limits and what is used of them.
    Figure, bounded
}

/// Hundredths of a percent; 0 to 1,000,000 (a hundredfold).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Bps(u32);

impl Bps {
    /// Checks and wraps a number of basis points.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] above 1,000,000.
    pub const fn new(value: u32) -> Result<Self, AmountError> {
        if value > 1_000_000 {
            Err(AmountError::TooLarge)
        } else {
            Ok(Self(value))
        }
    }

    /// The number of basis points.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    fn ratio(self) -> Decimal {
        Decimal::new(i64::from(self.0), 4)
    }
}

impl Figure {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// A number of things; beyond 10^15 that many.
    #[must_use]
    pub fn count(count: u64) -> Self {
        Self(Decimal::from(count).min(SIZE_MAX))
    }
}

/// The number of a figure whose unit is US dollars.
impl From<Figure> for Usd {
    fn from(figure: Figure) -> Self {
        Self(figure.0)
    }
}

/// The number of a figure whose unit is basis points, rounded down; nothing for one below zero.
impl From<Figure> for Bps {
    fn from(figure: Figure) -> Self {
        let whole = figure.0.trunc().max(Decimal::ZERO);
        let most = Decimal::from(1_000_000_u32);
        Self(u32::try_from(whole.min(most)).unwrap_or(0))
    }
}

impl From<Usd> for Figure {
    fn from(usd: Usd) -> Self {
        Self(usd.0)
    }
}

impl From<Quantity> for Figure {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.0)
    }
}

impl From<Bps> for Figure {
    fn from(bps: Bps) -> Self {
        Self(Decimal::from(bps.0))
    }
}

impl TryFrom<u32> for Bps {
    type Error = AmountError;

    fn try_from(value: u32) -> Result<Self, AmountError> {
        Self::new(value)
    }
}

impl From<Bps> for u32 {
    fn from(bps: Bps) -> Self {
        bps.0
    }
}

impl Default for Usd {
    /// Nothing.
    fn default() -> Self {
        Self::ZERO
    }
}

impl Default for Exposure {
    /// No position.
    fn default() -> Self {
        Self::FLAT
    }
}

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// The sum.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn plus(self, other: Self) -> Result<Self, AmountError> {
        self.0
            .checked_add(other.0)
            .ok_or(AmountError::TooLarge)
            .and_then(Self::new)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn minus(self, other: Self) -> Result<Self, AmountError> {
        self.0
            .checked_sub(other.0)
            .ok_or(AmountError::TooLarge)
            .and_then(Self::new)
    }

    /// The same size with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        let mut value = self.0;
        value.set_sign_positive(!value.is_sign_positive() || value.is_zero());
        Self(value)
    }

    /// So many percent of it.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn percent(self, percent: u32) -> Result<Self, AmountError> {
        Bps::new(percent.saturating_mul(100)).and_then(|share| self.share(share))
    }

    /// So many basis points of it.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn share(self, share: Bps) -> Result<Self, AmountError> {
        let product = self.0.checked_mul(share.ratio());
        Self::new(trimmed(product.ok_or(AmountError::TooLarge)?))
    }

    /// Its size without the sign.
    #[must_use]
    pub fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        !self.0.is_zero() && self.0.is_sign_negative()
    }

    /// How many units this buys at a price, before any rounding to the venue's step.
    ///
    /// # Errors
    /// [`AmountError`] when that is nothing, or too much.
    pub fn quantity_at(self, price: Price) -> Result<Quantity, AmountError> {
        let units = self.0.checked_div(price.0).ok_or(AmountError::TooLarge)?;
        Quantity::new(trimmed(units))
    }
}

impl Price {
    /// The lowest that can be written.
    pub const LOWEST: Self = Self(Decimal::from_parts(1, 0, 0, false, 12));
    /// The highest that can be written.
    pub const HIGHEST: Self = Self(SIZE_MAX);

    /// Price times quantity: the one product these types have.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn notional(self, quantity: Quantity) -> Result<Usd, AmountError> {
        let product = self
            .0
            .checked_mul(quantity.0)
            .ok_or(AmountError::TooLarge)?;
        Usd::new(trimmed(product))
    }

    /// The value of a position at this price; negative for a short one.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn value(self, exposure: Exposure) -> Result<Usd, AmountError> {
        let product = self
            .0
            .checked_mul(exposure.0)
            .ok_or(AmountError::TooLarge)?;
        Usd::new(trimmed(product))
    }

    /// This price raised by so many basis points.
    ///
    /// # Errors
    /// [`AmountError`] when the result is out of range.
    pub fn raised(self, by: Bps) -> Result<Self, AmountError> {
        let step = self
            .0
            .checked_mul(by.ratio())
            .ok_or(AmountError::TooLarge)?;
        let sum = self.0.checked_add(step).ok_or(AmountError::TooLarge)?;
        Self::new(trimmed(sum))
    }

    /// This price lowered by so many basis points.
    ///
    /// # Errors
    /// [`AmountError`] when the result is out of range.
    pub fn lowered(self, by: Bps) -> Result<Self, AmountError> {
        let step = self
            .0
            .checked_mul(by.ratio())
            .ok_or(AmountError::TooLarge)?;
        let difference = self.0.checked_sub(step).ok_or(AmountError::TooLarge)?;
        Self::new(trimmed(difference))
    }

    /// Halfway between two prices.
    ///
    /// # Errors
    /// [`AmountError`] when the result is out of range.
    pub fn middle(self, other: Self) -> Result<Self, AmountError> {
        let sum = self.0.checked_add(other.0).ok_or(AmountError::TooLarge)?;
        let half = sum.checked_div(Decimal::TWO).ok_or(AmountError::TooLarge)?;
        Self::new(trimmed(half))
    }
}

impl Quantity {
    /// The sum.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn plus(self, other: Self) -> Result<Self, AmountError> {
        self.0
            .checked_add(other.0)
            .ok_or(AmountError::TooLarge)
            .and_then(Self::new)
    }

    /// One of so many equal parts; `None` for no parts, or when a part would be nothing.
    #[must_use]
    pub fn divided(self, parts: u32) -> Option<Self> {
        let part = self.0.checked_div(Decimal::from(parts))?;
        Self::new(trimmed(part)).ok()
    }

    /// So many times as much.
    ///
    /// # Errors
    /// [`AmountError`] beyond 10^15, or for no times.
    pub fn times(self, times: u32) -> Result<Self, AmountError> {
        let product = self.0.checked_mul(Decimal::from(times));
        product.ok_or(AmountError::TooLarge).and_then(Self::new)
    }

    /// What is left after taking `other` away; `None` when nothing is.
    #[must_use]
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0
            .checked_sub(other.0)
            .and_then(|rest| Self::new(rest).ok())
    }
}

impl Exposure {
    /// No position.
    pub const FLAT: Self = Self(Decimal::ZERO);

    /// The position after buying so much.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn bought(self, quantity: Quantity) -> Result<Self, AmountError> {
        self.0
            .checked_add(quantity.0)
            .ok_or(AmountError::TooLarge)
            .and_then(Self::new)
    }

    /// The position after selling so much.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn sold(self, quantity: Quantity) -> Result<Self, AmountError> {
        self.0
            .checked_sub(quantity.0)
            .ok_or(AmountError::TooLarge)
            .and_then(Self::new)
    }

    /// Its size as a quantity; `None` when flat.
    #[must_use]
    pub fn size(self) -> Option<Quantity> {
        Quantity::new(self.0.abs()).ok()
    }

    /// Whether it is long.
    #[must_use]
    pub fn is_long(self) -> bool {
        !self.0.is_zero() && self.0.is_sign_positive()
    }

    /// Whether it is short.
    #[must_use]
    pub fn is_short(self) -> bool {
        !self.0.is_zero() && self.0.is_sign_negative()
    }
}

/// How far a price lies from another, whichever way, in basis points of the other, rounded up.
///
/// # Errors
/// [`AmountError::TooLarge`] beyond 10^15.
pub fn distance(price: Price, reference: Price) -> Result<Figure, AmountError> {
    let apart = price.0.checked_sub(reference.0).map(|apart| apart.abs());
    let scaled = apart.and_then(|apart| apart.checked_mul(Decimal::from(10_000_u32)));
    let ratio = scaled.and_then(|scaled| scaled.checked_div(reference.0));
    rounded_up(ratio)
}

/// How many times a quantity is another one, rounded up.
///
/// # Errors
/// [`AmountError::TooLarge`] beyond 10^15.
pub fn multiple_of(quantity: Quantity, other: Quantity) -> Result<Figure, AmountError> {
    rounded_up(quantity.0.checked_div(other.0))
}

fn rounded_up(value: Option<Decimal>) -> Result<Figure, AmountError> {
    let value = value.ok_or(AmountError::TooLarge)?;
    Figure::new(value.round_dp_with_strategy(PLACES_MAX, RoundingStrategy::AwayFromZero))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn amounts_refuse_what_they_cannot_mean() {
        let cases: [(&str, AmountError); 8] = [
            ("0", AmountError::NotPositive),
            ("-1", AmountError::NotPositive),
            ("1e3", AmountError::NotANumber),
            ("+1", AmountError::NotANumber),
            ("1_000", AmountError::NotANumber),
            ("", AmountError::NotANumber),
            ("1000000000000001", AmountError::TooLarge),
            ("0.0000000000001", AmountError::TooFine),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Quantity>(), Err(expected), "{text:?}");
        }
        assert!("1000000000000000".parse::<Quantity>().is_ok());
        assert_eq!("1".repeat(33).parse::<Usd>(), Err(AmountError::NotANumber));
    }

    #[test]
    fn the_largest_size_is_the_same_in_every_number_of_places() {
        for places in 0..=PLACES_MAX {
            let mut most = SIZE_MAX;
            most.rescale(places);
            assert!(Usd::new(most).is_ok(), "{most}");
            assert!(Usd::new(-most).is_ok(), "-{most}");
            let step = Decimal::new(1, places);
            assert_eq!(Usd::new(most + step), Err(AmountError::TooLarge));
            assert_eq!(Usd::new(-most - step), Err(AmountError::TooLarge));
        }
    }

    #[test]
    fn a_notional_is_price_times_quantity() {
        let price: Price = "0.4321".parse().unwrap();
        let quantity: Quantity = "100".parse().unwrap();
        assert_eq!(price.notional(quantity).unwrap().to_string(), "43.2100");
    }

    #[test]
    fn a_product_beyond_the_range_is_an_error() {
        let price: Price = "1000000000000000".parse().unwrap();
        let quantity: Quantity = "2".parse().unwrap();
        assert_eq!(price.notional(quantity), Err(AmountError::TooLarge));
    }

    #[test]
    fn a_collar_widens_both_ways() {
        let price: Price = "200".parse().unwrap();
        let width = Bps::new(50).unwrap();
        assert_eq!(price.raised(width).unwrap(), "201".parse().unwrap());
        assert_eq!(price.lowered(width).unwrap(), "199".parse().unwrap());
    }

    #[test]
    fn negation_turns_the_sign_and_leaves_zero() {
        assert_eq!("5".parse::<Usd>().unwrap().negated(), "-5".parse().unwrap());
        assert_eq!("-5".parse::<Usd>().unwrap().negated(), "5".parse().unwrap());
        assert!(!Usd::ZERO.negated().is_negative());
    }
}
