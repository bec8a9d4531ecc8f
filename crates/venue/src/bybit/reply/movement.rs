//! What changed the balance, as the venue's transaction log tells it.

use portcullis_domain::{Label, Symbol, Timestamp, Usd};
use serde::{Deserialize, Deserializer};

use super::field::{self, Words};

/// The venue's id of an entry (Bybit writes account, instrument and a number; a UUID at times).
pub type TransactionId = Label<80>;

/// What an entry of the log is about.
///
/// Source: the venue's API reference, v5, `enum#typeuta-translog`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionKind {
    /// An order filled: the fills tell the same.
    Trade,
    /// Funding of a perpetual, paid or received.
    Funding,
    /// Money came in or went out.
    Transfer,
    /// Anything else, in the venue's word: a liquidation, interest, a bonus, a correction.
    Other(Words),
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// The venue's id of it.
    pub id: TransactionId,
    /// What it is about.
    #[serde(rename = "type", deserialize_with = "kind")]
    pub kind: TransactionKind,
    /// The instrument, where it is about one.
    #[serde(default, deserialize_with = "symbol")]
    pub symbol: Option<Symbol>,
    /// Of which coin's balance, such as `USDT`.
    pub currency: Words,
    /// By how much the balance changed: cash flow plus funding minus fee.
    #[serde(deserialize_with = "field::usd")]
    pub change: Usd,
    /// When, by the venue's clock.
    #[serde(rename = "transactionTime", deserialize_with = "field::millis")]
    pub time: Timestamp,
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TransactionKind, D::Error> {
    field::with_text(deserializer, "a type of transaction", |text| {
        Ok::<_, &str>(match text {
            "TRADE" => TransactionKind::Trade,
            "SETTLEMENT" => TransactionKind::Funding,
            "TRANSFER_IN" | "TRANSFER_OUT" => TransactionKind::Transfer,
            _ => TransactionKind::Other(Words::new(text)),
        })
    })
}

fn symbol<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Symbol>, D::Error> {
    field::with_text(deserializer, "an instrument or nothing", |text| {
        if text.is_empty() {
            Ok(None)
        } else {
            Symbol::new(text).map(Some)
        }
    })
}
