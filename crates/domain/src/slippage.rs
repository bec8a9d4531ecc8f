//! What an order would cost if it took what rests in the book now.
//!
//! ```text
//!  levels of the other side, best first ──▶ Book::walk ──▶ average price ──▶ slippage, in bps
//!                                                     ╰──▶ the book ended: unknown, so denied
//! ```
//!
//! An estimate only says which orders are not worth sending. What bounds the price is the limit
//! that is sent with them, [`worst_acceptable`].

use crate::wide::{MILLIONTHS, Rounding, Wide};
use crate::{AmountError, Book, Bps, Figure, Price, Quantity, Side};

#[cfg(test)]
mod tests;

/// Basis points of a whole.
const WHOLE: u128 = 10_000;

/// Why a walk went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkEnd {
    /// The whole quantity was found.
    Filled,
    /// Everything at or before the limit price was taken, and more would be beyond it.
    LimitPrice,
    /// The known levels ended first: what the rest would cost cannot be said, and must not be
    /// guessed.
    BookEnded,
}

/// What an order would take from a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// How much was found; `None` for nothing.
    pub filled: Option<Quantity>,
    /// The average price of that, by quantity: at most 10^-12 off, against the order.
    pub vwap: Option<Price>,
    /// The price of its last part.
    pub worst: Option<Price>,
    /// Why it is not more.
    pub ends: WalkEnd,
}

impl Book {
    /// What an order of this side would take: the best levels first, none beyond `limit_price`, and
    /// nothing that the book does not show. Reads the book from its best level and allocates nothing.
    ///
    /// # Errors
    /// [`AmountError`] when a sum leaves the range of amounts.
    pub fn walk(
        &self,
        side: Side,
        quantity: Quantity,
        limit_price: Price,
    ) -> Result<Walk, AmountError> {
        let levels = match side {
            Side::Buy => self.asks(),
            Side::Sell => self.bids(),
        };
        let wanted = quantity.atoms()?;
        let limit = limit_price.atoms()?;

        let mut missing = wanted;
        let mut notional = Wide::ZERO;
        let mut worst = None;
        let mut ends = WalkEnd::BookEnded;
        for level in levels {
            let price = level.price.atoms()?;
            let is_beyond = match side {
                Side::Buy => price > limit,
                Side::Sell => price < limit,
            };
            if is_beyond {
                ends = WalkEnd::LimitPrice;
                break;
            }
            let taken = level.quantity.atoms()?.min(missing);
            notional = Wide::product(price, taken)
                .and_then(|part| notional.plus(part))
                .ok_or(AmountError::TooLarge)?;
            missing = missing.checked_sub(taken).ok_or(AmountError::TooLarge)?;
            worst = Some(level.price);
            if missing == 0 {
                ends = WalkEnd::Filled;
                break;
            }
            // A level shows all that rests at its price, so nothing unknown is within the limit.
            if price == limit {
                ends = WalkEnd::LimitPrice;
                break;
            }
        }

        let filled = wanted.checked_sub(missing).ok_or(AmountError::TooLarge)?;
        if filled == 0 {
            return Ok(Walk {
                filled: None,
                vwap: None,
                worst: None,
                ends,
            });
        }
        let vwap = notional
            .quotient(Wide::of(filled), against(side))
            .ok_or(AmountError::TooLarge)?;
        Ok(Walk {
            filled: Some(match ends {
                WalkEnd::Filled => quantity,
                WalkEnd::LimitPrice | WalkEnd::BookEnded => Quantity::from_atoms(filled)?,
            }),
            vwap: Some(Price::from_atoms(vwap)?),
            worst,
            ends,
        })
    }
}

/// Which way a price is rounded so that it looks no better than it is.
const fn against(side: Side) -> Rounding {
    match side {
        Side::Buy => Rounding::Up,
        Side::Sell => Rounding::Down,
    }
}

/// How much worse than the reference an average price is, in basis points: side × (vwap / reference
/// − 1) × 10,000. Above zero is against the trader, below in his favour. Rounded up to a millionth of
/// a basis point, so that it never looks better than it is; what is exactly at a limit stays there.
///
/// # Errors
/// [`AmountError::TooLarge`] beyond 10^15 basis points.
pub fn slippage(side: Side, vwap: Price, reference: Price) -> Result<Figure, AmountError> {
    let (price, reference) = (vwap.atoms()?, reference.atoms()?);
    let is_favourable = match side {
        Side::Buy => price < reference,
        Side::Sell => price > reference,
    };
    // Up is away from zero for a loss and towards it for a gain.
    let rounding = if is_favourable {
        Rounding::Down
    } else {
        Rounding::Up
    };
    let size = Wide::of(price.abs_diff(reference))
        .times(WHOLE.saturating_mul(MILLIONTHS))
        .and_then(|product| product.quotient(Wide::of(reference), rounding))
        .ok_or(AmountError::TooLarge)?;
    Figure::from_millionths(size, is_favourable)
}

/// The worst price that is within a limit of the reference: reference × (1 ± limit), rounded to
/// 10^-12 so that it is never beyond the limit.
///
/// # Errors
/// [`AmountError::TooLarge`] when no amount can be so large; [`AmountError::NotPositive`] when a sale
/// may slip by all of its value, which is no limit.
pub fn worst_acceptable(side: Side, reference: Price, limit: Bps) -> Result<Price, AmountError> {
    let limit = u128::from(limit.get());
    let (share, rounding) = match side {
        Side::Buy => (WHOLE.checked_add(limit), Rounding::Down),
        Side::Sell => (WHOLE.checked_sub(limit), Rounding::Up),
    };
    let share = share.ok_or(AmountError::NotPositive)?;
    let price = Wide::product(reference.atoms()?, share)
        .and_then(|product| product.quotient(Wide::of(WHOLE), rounding))
        .ok_or(AmountError::TooLarge)?;
    Price::from_atoms(price)
}
