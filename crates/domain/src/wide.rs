//! Whole numbers of 320 bits, for products of amounts that must not be rounded before they are
//! divided.
//!
//! The largest product that the formulas here make, of two 128-bit amounts and a fee's 32 bits, has
//! 288 bits. Everything is checked all the same: what does not fit is `None`, never a wrap.

use ruint::Uint;
use rust_decimal::Decimal;

use crate::money::PLACES_MAX;
use crate::{AmountError, Figure, Price, Quantity};

/// Which way a quotient is rounded to a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    Down,
    Up,
}

/// A whole number of at most 320 bits; zero or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wide(Uint<320, 5>);

impl Wide {
    pub(crate) const ZERO: Self = Self(Uint::ZERO);

    pub(crate) const fn of(value: u128) -> Self {
        const LOW: u128 = u64::MAX as u128;
        // Each half fits: the first is masked, the second shifted.
        let low = (value & LOW) as u64;
        let high = (value >> 64) as u64;
        Self(Uint::from_limbs([low, high, 0, 0, 0]))
    }

    /// The product of two. Most of them fit 128 bits, which is many times as fast.
    pub(crate) fn product(a: u128, b: u128) -> Option<Self> {
        match a.checked_mul(b) {
            Some(product) => Some(Self::of(product)),
            None => Self::of(a).times(b),
        }
    }

    pub(crate) fn times(self, factor: u128) -> Option<Self> {
        self.0.checked_mul(Self::of(factor).0).map(Self)
    }

    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    pub(crate) fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The whole quotient; `None` when that does not fit 128 bits, or the divisor is zero.
    pub(crate) fn quotient(self, divisor: Self, rounding: Rounding) -> Option<u128> {
        if divisor == Self::ZERO {
            return None;
        }
        let (quotient, rest) = self.0.div_rem(divisor.0);
        let quotient = u128::try_from(quotient).ok()?;
        match rounding {
            Rounding::Up if !rest.is_zero() => quotient.checked_add(1),
            Rounding::Up | Rounding::Down => Some(quotient),
        }
    }
}

/// The smallest whole number whose square is not below `value`.
pub(crate) fn root_up(value: u128) -> Option<u128> {
    let root = value.isqrt();
    // The square of a root never exceeds the number, so it fits.
    if root.checked_mul(root)? < value {
        root.checked_add(1)
    } else {
        Some(root)
    }
}

/// Powers of ten up to the places of an amount.
const POWERS: [u128; 13] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
];

/// An amount above zero as a whole number of its smallest unit, 10^-12; at most 10^27.
fn atoms(value: Decimal) -> Result<u128, AmountError> {
    let missing = PLACES_MAX
        .checked_sub(value.scale())
        .ok_or(AmountError::TooFine)?;
    let power = usize::try_from(missing)
        .ok()
        .and_then(|missing| POWERS.get(missing))
        .ok_or(AmountError::TooFine)?;
    value
        .mantissa()
        .unsigned_abs()
        .checked_mul(*power)
        .ok_or(AmountError::TooLarge)
}

fn decimal(value: u128, places: u32) -> Result<Decimal, AmountError> {
    let value = i128::try_from(value).map_err(|_| AmountError::TooLarge)?;
    Decimal::try_from_i128_with_scale(value, places).map_err(|_| AmountError::TooLarge)
}

impl Price {
    /// As a whole number of 10^-12; at most 10^27.
    pub(crate) fn atoms(self) -> Result<u128, AmountError> {
        atoms(self.get())
    }

    pub(crate) fn from_atoms(atoms: u128) -> Result<Self, AmountError> {
        Self::new(decimal(atoms, PLACES_MAX)?.normalize())
    }
}

impl Quantity {
    /// As a whole number of 10^-12; at most 10^27.
    pub(crate) fn atoms(self) -> Result<u128, AmountError> {
        atoms(self.get())
    }

    pub(crate) fn from_atoms(atoms: u128) -> Result<Self, AmountError> {
        Self::new(decimal(atoms, PLACES_MAX)?.normalize())
    }
}

/// How many of the millionths that a [`Figure`] in basis points is rounded to make one.
pub(crate) const MILLIONTHS: u128 = 1_000_000;

impl Figure {
    /// A number of millionths, without its sign and with it.
    pub(crate) fn from_millionths(size: u128, is_negative: bool) -> Result<Self, AmountError> {
        let mut value = decimal(size, 6)?.normalize();
        value.set_sign_negative(is_negative && size != 0);
        Self::new(value)
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, and so fails"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_fit_is_none() {
        let max = u128::MAX;
        let square = Wide::product(max, max).unwrap();
        assert_eq!(square.quotient(Wide::of(max), Rounding::Up), Some(max));
        assert_eq!(square.quotient(Wide::of(max - 1), Rounding::Up), None);
        assert_eq!(square.quotient(Wide::ZERO, Rounding::Down), None);
        assert_eq!(square.times(max), None);
        assert_eq!(Wide::of(1).minus(Wide::of(2)), None);
        assert!(square.times(1 << 63).is_some());
        let half = square.times(1 << 63).unwrap();
        assert!(half.plus(half).unwrap().plus(half).is_none());
    }

    proptest! {
        #[test]
        fn a_quotient_lies_beside_its_fraction(a: u128, b: u128, c in 1..=u128::MAX) {
            let product = Wide::product(a, b).unwrap();
            if let Some(down) = product.quotient(Wide::of(c), Rounding::Down) {
                let below = Wide::product(down, c).unwrap();
                prop_assert!(below <= product);
                prop_assert!(product.minus(below).unwrap() < Wide::of(c));
                let up = product.quotient(Wide::of(c), Rounding::Up).unwrap();
                prop_assert_eq!(up, if below == product { down } else { down + 1 });
            }
        }

        #[test]
        fn a_root_is_the_smallest_that_reaches(value: u128) {
            let root = root_up(value).unwrap();
            prop_assert!(Wide::product(root, root).unwrap() >= Wide::of(value));
            prop_assert!(root == 0 || (root - 1) * (root - 1) < value);
        }
    }
}
