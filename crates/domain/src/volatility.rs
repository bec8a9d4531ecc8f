//! How much a market moved in its last half hour, annualised.
//!
//! In whole numbers throughout: a logarithm is a series that is cut off where its terms vanish at 18
//! places, and everything after it is exact up to the last root. No price makes it panic.

use core::fmt;

use crate::wide::{Rounding, Wide, root_up};
use crate::{AmountError, Figure, Price};

/// How many closes a volatility is worked out from: those of 30 one-minute returns.
pub const CLOSES: usize = 31;

/// Minutes of a year of 365 days.
const MINUTES_OF_YEAR: u128 = 525_600;
/// Basis points of a whole, squared as a variance has them.
const WHOLE_SQUARED: u128 = 100_000_000;
/// One, in the fixed point of the logarithms.
const ONE: u128 = 1_000_000_000_000_000_000;
/// The natural logarithm of two, in the same.
const LN_2: u128 = 693_147_180_559_945_309;

/// Why there is no volatility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolatilityError {
    /// Not exactly [`CLOSES`] closes: a minute is missing, or there is one too many.
    WrongCount,
    /// A result leaves the range of amounts.
    Amount(AmountError),
}

impl fmt::Display for VolatilityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongCount => write!(f, "a volatility takes exactly {CLOSES} closes"),
            Self::Amount(error) => write!(f, "the volatility {error}"),
        }
    }
}

impl core::error::Error for VolatilityError {}

impl From<AmountError> for VolatilityError {
    fn from(error: AmountError) -> Self {
        Self::Amount(error)
    }
}

/// The sample standard deviation of the logarithmic returns between one-minute closes, oldest first,
/// times √525,600, in basis points: 10,000 are 100 % a year. Rounded up to a whole one, and less than
/// one too many.
///
/// # Errors
/// [`VolatilityError::WrongCount`] unless there are [`CLOSES`] closes.
pub fn annualised(closes: &[Price]) -> Result<Figure, VolatilityError> {
    if closes.len() != CLOSES {
        return Err(VolatilityError::WrongCount);
    }
    let mut gains: u128 = 0;
    let mut losses: u128 = 0;
    let mut squares = Wide::ZERO;
    let mut count: u128 = 0;
    for (before, after) in closes.iter().zip(closes.iter().skip(1)) {
        let (before, after) = (before.atoms()?, after.atoms()?);
        let size = log_ratio(before.max(after), before.min(after)).ok_or(AmountError::TooLarge)?;
        let sum = if after > before {
            &mut gains
        } else {
            &mut losses
        };
        *sum = sum.checked_add(size).ok_or(AmountError::TooLarge)?;
        squares = Wide::product(size, size)
            .and_then(|square| squares.plus(square))
            .ok_or(AmountError::TooLarge)?;
        count = count.saturating_add(1);
    }
    // Σ(r − mean)² / (n − 1) = (n·Σr² − (Σr)²) / (n·(n − 1)), which never rounds the mean.
    let sum = gains.abs_diff(losses);
    let sigma = || {
        let spread = squares.times(count)?.minus(Wide::product(sum, sum)?)?;
        let degrees = count.checked_mul(count.checked_sub(1)?)?;
        let variance = spread.times(MINUTES_OF_YEAR)?.times(WHOLE_SQUARED)?;
        root_up(variance.quotient(Wide::product(ONE, ONE)?.times(degrees)?, Rounding::Up)?)
    };
    let sigma = sigma().ok_or(AmountError::TooLarge)?;
    Ok(Figure::from_millionths(
        sigma
            .checked_mul(crate::wide::MILLIONTHS)
            .ok_or(AmountError::TooLarge)?,
        false,
    )?)
}

/// ln(larger / smaller) in 18 places, at most 10^-16 too small. `larger` must not be below `smaller`.
///
/// Halvings bring the quotient between 1 and 2, and 2·artanh((a − b) / (a + b)) gives its logarithm: z
/// is below a third there, so each term has less than a ninth of the one before.
fn log_ratio(larger: u128, smaller: u128) -> Option<u128> {
    let mut scaled = smaller;
    let mut log: u128 = 0;
    while larger.checked_sub(scaled)? >= scaled {
        scaled = scaled.checked_mul(2)?;
        log = log.checked_add(LN_2)?;
    }
    let z = Wide::product(larger.checked_sub(scaled)?, ONE)?
        .quotient(Wide::of(larger.checked_add(scaled)?), Rounding::Down)?;
    // Below a third of ONE, so that the products fit 128 bits by far.
    let square = z.checked_mul(z)?.checked_div(ONE)?;
    let mut power = z;
    let mut divisor: u128 = 1;
    let mut artanh: u128 = 0;
    while power > 0 {
        artanh = artanh.checked_add(power.checked_div(divisor)?)?;
        power = power.checked_mul(square)?.checked_div(ONE)?;
        divisor = divisor.checked_add(2)?;
    }
    log.checked_add(artanh.checked_mul(2)?)
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, and so fails"
)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    fn prices(of: impl IntoIterator<Item = i64>, places: u32) -> Vec<Price> {
        of.into_iter()
            .map(|mantissa| Price::new(Decimal::new(mantissa, places)).unwrap())
            .collect()
    }

    fn bps(closes: &[Price]) -> u32 {
        annualised(closes).unwrap().get().try_into().unwrap()
    }

    #[test]
    fn agrees_with_figures_worked_out_elsewhere() {
        for (closes, expected) in ELSEWHERE {
            let found = bps(&prices(closes, 1));
            assert_eq!(found, expected, "{closes:?}");
        }
    }

    #[test]
    fn constant_prices_do_not_move() {
        assert_eq!(bps(&prices([463_190; 31], 1)), 0);
    }

    #[test]
    fn a_steady_trend_is_no_volatility() {
        // Each close is twice the one before, so every return is the same.
        assert_eq!(bps(&prices((0..31).map(|i| 1 << i), 0)), 0);
    }

    #[test]
    fn another_number_of_closes_is_an_error() {
        for count in [0, 1, 30, 32] {
            let closes = prices((1..=31).cycle().take(count), 0);
            assert_eq!(annualised(&closes), Err(VolatilityError::WrongCount));
        }
    }

    #[test]
    fn the_wildest_prices_have_a_volatility() {
        let (least, most) = ("0.000000000001", "1000000000000000");
        let closes: Vec<Price> = [least, most]
            .into_iter()
            .cycle()
            .take(CLOSES)
            .map(|text| text.parse().unwrap())
            .collect();
        // ln(10^27) = 62.1698…, thirty times with changing sign: × √(30/29) × √525,600 × 10,000.
        assert_eq!(bps(&closes), WILDEST);
    }

    #[test]
    fn logarithms_are_exact_to_sixteen_places() {
        for (larger, smaller, expected) in LOGARITHMS {
            let found = log_ratio(larger, smaller).unwrap();
            assert!(
                found <= expected && expected - found <= 100,
                "{larger} {found}"
            );
        }
    }

    /// Closes in tenths, and their volatility by 60-digit decimals.
    const ELSEWHERE: [([i64; 31], u32); 7] = [
        // 618.3982817505
        (
            [
                463190, 463178, 463202, 463191, 463177, 463134, 463124, 463175, 463195, 463243,
                463255, 463273, 463281, 463204, 463244, 463267, 463290, 463212, 463131, 463090,
                463068, 463083, 463080, 463105, 463075, 463089, 463107, 463077, 463156, 463182,
                463237,
            ],
            619,
        ),
        // 4450.576335139
        (
            [
                463190, 462950, 462839, 462804, 463009, 463090, 462945, 462634, 462466, 462861,
                462599, 462679, 462817, 462334, 462350, 462773, 462120, 462016, 461982, 461717,
                461878, 461858, 461384, 461652, 461868, 462174, 462640, 462757, 462796, 462375,
                462574,
            ],
            4451,
        ),
        // 11955.37487623
        (
            [
                463190, 462896, 462077, 461451, 461108, 461940, 460626, 459686, 459840, 460769,
                461142, 459915, 458294, 458523, 458051, 457333, 457958, 458665, 458766, 458924,
                459203, 460227, 460626, 460961, 461314, 460301, 461127, 461744, 462086, 460809,
                460401,
            ],
            11956,
        ),
        // 48886.19754164
        (
            [
                463190, 457317, 456728, 459988, 455766, 460903, 462684, 462197, 463248, 465356,
                465748, 469483, 467309, 465952, 469350, 469438, 466545, 469636, 474453, 472976,
                468407, 467965, 467477, 466502, 471089, 467703, 471830, 467641, 465064, 467120,
                470811,
            ],
            48887,
        ),
        // 329527.2057404
        (
            [
                463190, 471185, 474539, 478157, 491911, 487577, 494341, 508497, 508518, 527943,
                542881, 597457, 607164, 594183, 583115, 582733, 609649, 599390, 610953, 667078,
                581536, 548856, 555549, 566614, 573373, 561013, 579390, 587563, 572226, 641753,
                653148,
            ],
            329528,
        ),
        // 159.1935413557
        (
            [
                463190, 463200, 463190, 463200, 463190, 463200, 463190, 463200, 463190, 463200,
                463190, 463200, 463190, 463200, 463190, 463200, 463190, 463200, 463190, 463200,
                463190, 463200, 463190, 463200, 463190, 463200, 463190, 463200, 463190, 463200,
                463190,
            ],
            160,
        ),
        // 28.57611521439
        (
            [
                463190, 463190, 463190, 463190, 463190, 463190, 463190, 463190, 463190, 463190,
                463190, 463190, 463190, 463190, 463190, 463190, 463190, 463190, 463190, 463190,
                463190, 463190, 463190, 463190, 463190, 463190, 463190, 463190, 463190, 463190,
                463200,
            ],
            29,
        ),
    ];
    const WILDEST: u32 = 458425492;
    /// Quotients, and their logarithms in 18 places.
    const LOGARITHMS: [(u128, u128, u128); 6] = [
        (1, 1, 0),
        (3, 2, 405465108108164381),
        (2, 1, 693147180559945309),
        (46320, 46319, 21589179504071),
        (1000000000000000000000000000, 1, 62169797510839233468),
        (1000000000000000000000000000, 999999999999999999999999999, 0),
    ];

    proptest! {
        #[test]
        fn the_unit_of_the_price_makes_no_difference(
            closes in prop::collection::vec(1..1_000_000_000_i64, CLOSES),
            places in 0..=12_u32, factor in 1..=1_000_i64,
        ) {
            let scaled = closes.iter().map(|close| close * factor);
            prop_assert_eq!(
                annualised(&prices(scaled, places)),
                annualised(&prices(closes, 0))
            );
        }

        #[test]
        fn turning_time_around_makes_no_difference(
            mut closes in prop::collection::vec(1..1_000_000_000_i64, CLOSES),
        ) {
            let forwards = annualised(&prices(closes.clone(), 2));
            closes.reverse();
            prop_assert_eq!(forwards, annualised(&prices(closes, 2)));
        }

        #[test]
        fn any_prices_give_an_answer(
            closes in prop::collection::vec((1..=i64::MAX, 4..=12_u32), CLOSES),
        ) {
            let closes: Vec<Price> = closes
                .into_iter()
                .map(|(mantissa, places)| Price::new(Decimal::new(mantissa, places)).unwrap())
                .collect();
            prop_assert!(annualised(&closes).is_ok());
        }
    }
}
