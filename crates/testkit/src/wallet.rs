//! The wallet of a linear account as a venue keeps it: realised profit by average cost, less fees, plus
//! what is paid in or out. Reckoned position by position with entry values, as the venue does and not as
//! execution does, so that one can be held against the other.

use std::collections::BTreeMap;

use portcullis_domain::{Fill, Side, Symbol, Usd};
use rust_decimal::Decimal;

/// A wallet and the positions behind it.
#[derive(Clone, Debug, Default)]
pub struct Wallet {
    balance: Decimal,
    /// Size, negative when short, and what it cost, never negative.
    held: BTreeMap<Symbol, (Decimal, Decimal)>,
}

impl Wallet {
    /// Books a fill.
    pub fn fill(&mut self, fill: &Fill) {
        let (size, entry) = self.held.entry(fill.symbol).or_default();
        let quantity = fill.quantity.get();
        let signed = match fill.side {
            Side::Buy => quantity,
            Side::Sell => -quantity,
        };
        let closes = if size.is_sign_negative() == signed.is_sign_negative() {
            Decimal::ZERO
        } else {
            quantity.min(size.abs())
        };
        if !closes.is_zero() {
            let share = (*entry / size.abs() * closes).round_dp(12);
            let proceeds = fill.price.get() * closes;
            self.balance += match fill.side {
                Side::Sell => proceeds - share,
                Side::Buy => share - proceeds,
            };
            *entry -= share;
        }
        *entry += fill.price.get() * (quantity - closes);
        *size += signed;
        self.balance -= fill.fee.get();
    }

    /// Adds a payment, or takes one below zero.
    pub fn add(&mut self, amount: Usd) {
        self.balance += amount.get();
    }

    /// What it holds.
    #[must_use]
    pub fn balance(&self) -> Usd {
        Usd::new(self.balance.round_dp(8).normalize()).unwrap_or(Usd::ZERO)
    }
}
