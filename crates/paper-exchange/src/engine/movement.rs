//! What changes a wallet besides fills: transfers and funding. Both come by the admin endpoint alone.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use super::{Effects, Engine, Event, Notice, uuid};
use crate::clock::TimeMs;

/// Largest amount of one movement, in USDT.
const AMOUNT_MAX: Decimal = Decimal::from_parts(0xd4a5_1000, 0xe8, 0, false, 0);

/// What kind of movement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MovementKind {
    /// Money paid in, or taken out.
    Transfer,
    /// Funding of a position, received or paid.
    Funding,
}

/// A change of a wallet that no fill explains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Movement {
    /// Place among all movements.
    pub seq: u64,
    pub id: String,
    pub account: String,
    pub kind: MovementKind,
    /// The instrument of funding; empty for a transfer.
    pub symbol: String,
    /// In USDT; above zero it adds to the wallet.
    #[serde(with = "rust_decimal::serde::str")]
    pub amount: Decimal,
    pub time_ms: TimeMs,
}

/// Where an entry of an account's log comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A fill, by its place among all fills.
    Fill(u64),
    Movement(Box<Movement>),
}

/// One entry of an account's log: everything that changed its wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its place in the log.
    pub number: u64,
    pub source: Source,
    /// By how much the wallet changed, in USDT.
    pub change: Decimal,
    /// The wallet after it, in USDT.
    pub balance: Decimal,
}

/// What the admin endpoint may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MovementRequest {
    pub account: String,
    pub kind: MovementKind,
    /// For funding alone.
    #[serde(default)]
    pub symbol: Option<String>,
    #[serde(with = "rust_decimal::serde::str")]
    pub amount: Decimal,
}

impl Engine {
    /// Moves money in or out of a wallet; answers the movement's id.
    pub(crate) fn move_money(
        &mut self,
        now: TimeMs,
        request: MovementRequest,
        effects: &mut Effects,
    ) -> Result<String, Refusal> {
        let MovementRequest {
            account,
            kind,
            symbol,
            amount,
        } = request;
        if !self.accounts.contains_key(&account) {
            return Err(Refusal::Parameter("account"));
        }
        if amount.is_zero() || amount.abs() > AMOUNT_MAX || amount.normalize().scale() > 8 {
            return Err(Refusal::Parameter("amount"));
        }
        let symbol = match (kind, symbol) {
            (MovementKind::Funding, Some(symbol)) if self.markets.contains_key(&symbol) => symbol,
            (MovementKind::Transfer, None) => String::new(),
            (MovementKind::Funding | MovementKind::Transfer, _) => {
                return Err(Refusal::Parameter("symbol"));
            }
        };
        let seq = self.movement_seq.saturating_add(1);
        let id = uuid(4, seq);
        let movement = Movement {
            seq,
            id: id.clone(),
            account: account.clone(),
            kind,
            symbol,
            amount,
            time_ms: now,
        };
        self.emit(
            Event::Moved {
                movement: Box::new(movement),
            },
            effects,
        );
        effects.notices.push(Notice::Wallet { account });
        Ok(id)
    }
}
