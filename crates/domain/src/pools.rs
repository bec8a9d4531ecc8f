//! What a swap against constant-product pools gives and costs, to the smallest unit.
//!
//! ```text
//!  exact input:  send ──▶ pool ──▶ … ──▶ pool ──▶ receive ──▶ the least to accept
//!  exact output: the most to send ◀── send ◀── pool ◀── … ◀── pool ◀── receive
//! ```
//!
//! Amounts are whole numbers of each asset's smallest unit. Every rounding is in the pool's favour,
//! as the pools themselves do it, so that what is worked out here is what they would give.

use core::fmt;

use crate::wide::{MILLIONTHS, Rounding, Wide};
use crate::{AmountError, Bps, Figure, Usd};

mod impact;
#[cfg(test)]
mod tests;

pub use impact::{DailyStatistics, ImpactError, square_root_impact};

/// Basis points of a whole.
const WHOLE: u128 = 10_000;

/// Why a swap has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// A reserve is zero: there is no price.
    EmptyPool,
    /// A fee that leaves nothing, or more than everything.
    BadFee,
    /// Zero was to be swapped.
    NoAmount,
    /// The swap would give nothing at all.
    NothingOut,
    /// The pool does not hold that much.
    NotEnough,
    /// An amount or a reserve would be larger than the pool's integers.
    TooLarge,
    /// A path without a pool, or with more than [`PATH_MAX`] of them.
    BadPath,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyPool => "the pool is empty",
            Self::BadFee => "the fee is not between nothing and everything",
            Self::NoAmount => "nothing is to be swapped",
            Self::NothingOut => "the swap would give nothing",
            Self::NotEnough => "the pool does not hold that much",
            Self::TooLarge => "an amount is larger than the pool can count",
            Self::BadPath => "the path has no pool, or too many",
        })
    }
}

impl core::error::Error for PoolError {}

/// The part of an input that is left after a pool's fee, as a fraction: 997 of 1,000 for 0.3 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    part: u32,
    whole: u32,
}

impl Kept {
    /// Everything: no fee.
    pub const ALL: Self = Self { part: 1, whole: 1 };
    /// 0.3 %, as Uniswap's second version and many that follow it take it.
    pub const UNISWAP_V2: Self = Self {
        part: 997,
        whole: 1_000,
    };
    /// 0.3 %, as CAP-38 fixes it.
    const STELLAR: Self = Self {
        part: 9_970,
        whole: 10_000,
    };

    /// Checks and builds a fraction.
    ///
    /// # Errors
    /// [`PoolError::BadFee`] unless the part is above zero and no more than the whole.
    pub const fn new(part: u32, whole: u32) -> Result<Self, PoolError> {
        if part == 0 || part > whole {
            Err(PoolError::BadFee)
        } else {
            Ok(Self { part, whole })
        }
    }

    fn part(self) -> u128 {
        self.part.into()
    }

    fn whole(self) -> u128 {
        self.whole.into()
    }
}

/// Whose contract it is: they differ in the last unit and in how far they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contract {
    /// Adds one unit to the input it asks for, even where the division leaves no rest.
    UniswapV2,
    /// Rounds the input up, and counts in 63 bits.
    Stellar,
}

/// A constant-product pool as a swap in one direction sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    contract: Contract,
    reserve_in: u128,
    reserve_out: u128,
    kept: Kept,
}

impl Pool {
    /// A pool of Uniswap's second version, or one that follows it with another fee.
    ///
    /// # Errors
    /// [`PoolError::EmptyPool`] when a reserve is zero.
    pub const fn uniswap_v2(
        reserve_in: u128,
        reserve_out: u128,
        kept: Kept,
    ) -> Result<Self, PoolError> {
        if reserve_in == 0 || reserve_out == 0 {
            return Err(PoolError::EmptyPool);
        }
        Ok(Self {
            contract: Contract::UniswapV2,
            reserve_in,
            reserve_out,
            kept,
        })
    }

    /// A liquidity pool of the Stellar network (CAP-38), with its fee of 0.3 %.
    ///
    /// # Errors
    /// [`PoolError::EmptyPool`] when a reserve is zero; [`PoolError::TooLarge`] beyond 63 bits.
    pub fn stellar(reserve_in: u128, reserve_out: u128) -> Result<Self, PoolError> {
        let pool = Self {
            contract: Contract::Stellar,
            ..Self::uniswap_v2(reserve_in, reserve_out, Kept::STELLAR)?
        };
        if reserve_in.max(reserve_out) > pool.amount_max() {
            return Err(PoolError::TooLarge);
        }
        Ok(pool)
    }

    const fn amount_max(&self) -> u128 {
        match self.contract {
            Contract::UniswapV2 => u128::MAX,
            Contract::Stellar => i64::MAX as u128,
        }
    }

    /// What an input gives: floor(x·k·Y / (w·X + x·k)) with k of w kept after the fee.
    ///
    /// # Errors
    /// [`PoolError`] when the pool would not make that swap.
    pub fn amount_out(&self, amount_in: u128) -> Result<u128, PoolError> {
        if amount_in == 0 {
            return Err(PoolError::NoAmount);
        }
        self.room_for(amount_in)?;
        let out = || {
            let after_fee = Wide::product(amount_in, self.kept.part())?;
            let divisor = Wide::product(self.reserve_in, self.kept.whole())?.plus(after_fee)?;
            after_fee
                .times(self.reserve_out)?
                .quotient(divisor, Rounding::Down)
        };
        match out().ok_or(PoolError::TooLarge)? {
            0 => Err(PoolError::NothingOut),
            out => Ok(out),
        }
    }

    /// What an output costs: X·y·w / ((Y − y)·k), and then one more unit (Uniswap) or rounded up
    /// (Stellar).
    ///
    /// # Errors
    /// [`PoolError`] when the pool would not make that swap.
    pub fn amount_in(&self, amount_out: u128) -> Result<u128, PoolError> {
        if amount_out == 0 {
            return Err(PoolError::NoAmount);
        }
        let left = match self.reserve_out.checked_sub(amount_out) {
            None | Some(0) => return Err(PoolError::NotEnough),
            Some(left) => left,
        };
        let cost = || {
            let dividend = Wide::product(self.reserve_in, amount_out)?.times(self.kept.whole())?;
            let divisor = Wide::product(left, self.kept.part())?;
            match self.contract {
                Contract::UniswapV2 => dividend.quotient(divisor, Rounding::Down)?.checked_add(1),
                Contract::Stellar => dividend.quotient(divisor, Rounding::Up),
            }
        };
        let cost = cost().ok_or(PoolError::TooLarge)?;
        self.room_for(cost)?;
        Ok(cost)
    }

    /// Whether the pool can count what it holds after an input.
    fn room_for(&self, amount_in: u128) -> Result<(), PoolError> {
        match self.reserve_in.checked_add(amount_in) {
            Some(reserve) if reserve <= self.amount_max() => Ok(()),
            Some(_) | None => Err(PoolError::TooLarge),
        }
    }

    /// How much less a swap gives than its input is worth at the pool's middle price, in basis
    /// points, with the fee: (1 − y·X / (x·Y)) × 10,000, rounded up to a millionth. Below zero when it
    /// gives more.
    ///
    /// # Errors
    /// [`PoolError::NoAmount`] for an input of zero; [`PoolError::TooLarge`] beyond 10^15.
    pub fn impact(&self, amount_in: u128, amount_out: u128) -> Result<Figure, PoolError> {
        self.impact_after(Kept::ALL, amount_in, amount_out)
    }

    /// The same against what is left of the input after the fee: what the size of the swap alone costs.
    ///
    /// # Errors
    /// As [`Self::impact`].
    pub fn impact_without_fee(
        &self,
        amount_in: u128,
        amount_out: u128,
    ) -> Result<Figure, PoolError> {
        self.impact_after(self.kept, amount_in, amount_out)
    }

    fn impact_after(
        &self,
        kept: Kept,
        amount_in: u128,
        amount_out: u128,
    ) -> Result<Figure, PoolError> {
        if amount_in == 0 {
            return Err(PoolError::NoAmount);
        }
        let worth = || Wide::product(amount_in, self.reserve_out)?.times(kept.part());
        let given = || Wide::product(amount_out, self.reserve_in)?.times(kept.whole());
        loss(
            worth().ok_or(PoolError::TooLarge)?,
            given().ok_or(PoolError::TooLarge)?,
        )
        .map_err(|_| PoolError::TooLarge)
    }

    /// How far a swap moves the pool's middle price against the next one, in basis points:
    /// (1 − (Y − y)·X / (Y·(X + x))) × 10,000, rounded up to a millionth.
    ///
    /// # Errors
    /// [`PoolError::NotEnough`] when the pool does not hold the output; [`PoolError::TooLarge`] beyond
    /// its integers.
    pub fn middle_moved(&self, amount_in: u128, amount_out: u128) -> Result<Figure, PoolError> {
        let left = self
            .reserve_out
            .checked_sub(amount_out)
            .ok_or(PoolError::NotEnough)?;
        self.room_for(amount_in)?;
        let before = || Wide::product(self.reserve_out, self.reserve_in.checked_add(amount_in)?);
        let after = || Wide::product(left, self.reserve_in);
        loss(
            before().ok_or(PoolError::TooLarge)?,
            after().ok_or(PoolError::TooLarge)?,
        )
        .map_err(|_| PoolError::TooLarge)
    }

    /// The largest input whose [impact](Self::impact), the fee included, is within a limit before its
    /// output is rounded to whole units: X·(k/w − q) / (k/w·q) with q = 1 − limit, rounded down.
    /// `None` when the fee alone is as much as the limit, or when nothing is too much.
    ///
    /// An input of so few units that the rounding of its output weighs must still be asked for its
    /// impact.
    #[must_use]
    pub fn largest_input(&self, limit: Bps) -> Option<u128> {
        let left = WHOLE.checked_sub(limit.get().into())?;
        let fee_leaves = self.kept.part().checked_mul(WHOLE)?;
        let limit_leaves = self.kept.whole().checked_mul(left)?;
        let spare = fee_leaves.checked_sub(limit_leaves)?;
        let divisor = Wide::product(self.kept.part(), left)?;
        match Wide::product(self.reserve_in, spare)?.quotient(divisor, Rounding::Down)? {
            0 => None,
            largest => Some(largest),
        }
    }
}

/// (1 − given / worth) × 10,000, rounded up to a millionth; `worth` is above zero.
fn loss(worth: Wide, given: Wide) -> Result<Figure, AmountError> {
    let size = |difference: Option<Wide>, rounding| {
        difference?
            .times(WHOLE.saturating_mul(MILLIONTHS))?
            .quotient(worth, rounding)
    };
    let (is_gain, size) = if given > worth {
        (true, size(given.minus(worth), Rounding::Down))
    } else {
        (false, size(worth.minus(given), Rounding::Up))
    };
    Figure::from_millionths(size.ok_or(AmountError::TooLarge)?, is_gain)
}

/// How much less comes out than goes in, both valued in USD, in basis points: for an aggregator's
/// quote, whose own figure of the impact is a percentage in one field and a ratio in another.
///
/// # Errors
/// [`AmountError::NotPositive`] when a value is not above zero; [`AmountError::TooLarge`] beyond 10^15.
pub fn value_lost(value_in: Usd, value_out: Usd) -> Result<Figure, AmountError> {
    let atoms = |value: Usd| crate::Price::new(value.get())?.atoms();
    loss(Wide::of(atoms(value_in)?), Wide::of(atoms(value_out)?))
}

/// The least output to accept for a quoted one: quoted × (1 − limit), rounded up.
///
/// # Errors
/// [`PoolError::NoAmount`] when that is nothing, which is no limit.
pub fn least_out(quoted: u128, limit: Bps) -> Result<u128, PoolError> {
    WHOLE
        .checked_sub(limit.get().into())
        .and_then(|left| Wide::product(quoted, left)?.quotient(Wide::of(WHOLE), Rounding::Up))
        .filter(|least| *least > 0)
        .ok_or(PoolError::NoAmount)
}

/// The most input to spend for a quoted one: quoted × (1 + limit), rounded down.
///
/// # Errors
/// [`PoolError::NoAmount`] for a quote of nothing; [`PoolError::TooLarge`] beyond 128 bits.
pub fn most_in(quoted: u128, limit: Bps) -> Result<u128, PoolError> {
    if quoted == 0 {
        return Err(PoolError::NoAmount);
    }
    WHOLE
        .checked_add(limit.get().into())
        .and_then(|share| Wide::product(quoted, share)?.quotient(Wide::of(WHOLE), Rounding::Down))
        .ok_or(PoolError::TooLarge)
}

/// The most pools that a path payment goes through: Stellar allows five assets between its two ends.
pub const PATH_MAX: usize = 6;

/// A payment of an exact input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrictSend {
    /// What goes in.
    pub send: u128,
    /// What the pools would give now.
    pub expected: u128,
    /// The least to accept (`destMin`): the network refuses the payment below it.
    pub destination_min: u128,
}

/// A payment of an exact output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrictReceive {
    /// What comes out.
    pub receive: u128,
    /// What the pools would take now.
    pub expected: u128,
    /// The most to spend (`sendMax`): the network refuses the payment above it.
    pub send_max: u128,
}

/// Sends an exact amount through pools, each of which takes what the one before gives. A pool must not
/// stand in a path twice: its reserves would no longer be those that are written here.
///
/// # Errors
/// [`PoolError`] when a pool would not make its swap, or the limit leaves nothing to insist on.
pub fn strict_send(path: &[Pool], send: u128, limit: Bps) -> Result<StrictSend, PoolError> {
    check_length(path)?;
    let expected = path
        .iter()
        .try_fold(send, |amount, pool| pool.amount_out(amount))?;
    Ok(StrictSend {
        send,
        expected,
        destination_min: least_out(expected, limit)?,
    })
}

/// Receives an exact amount through pools, in the order in which the payment passes them; see
/// [`strict_send`].
///
/// # Errors
/// [`PoolError`] when a pool would not make its swap.
pub fn strict_receive(
    path: &[Pool],
    receive: u128,
    limit: Bps,
) -> Result<StrictReceive, PoolError> {
    check_length(path)?;
    let expected = path
        .iter()
        .rev()
        .try_fold(receive, |amount, pool| pool.amount_in(amount))?;
    Ok(StrictReceive {
        receive,
        expected,
        send_max: most_in(expected, limit)?,
    })
}

fn check_length(path: &[Pool]) -> Result<(), PoolError> {
    if path.is_empty() || path.len() > PATH_MAX {
        Err(PoolError::BadPath)
    } else {
        Ok(())
    }
}
