//! The public stream: order books and trades.

use portcullis_domain::{Price, Quantity, Side, Symbol, Timestamp};
use serde::Deserialize;

use super::field::{self, List, Words};
use super::private::{StreamHead, StreamOperation};
use super::{Malformed, json};

/// One message of the public stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicMessage {
    /// The venue answered an operation.
    Answered {
        /// Which.
        operation: StreamOperation,
        /// Whether it did as asked.
        success: bool,
        /// Its words.
        message: Words,
    },
    /// A whole order book, or what changed in one.
    Depth(DepthUpdate),
    /// Trades.
    Trades(List<PublicTrade>),
}

/// A whole order book, or what changed in one since the update before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepthUpdate {
    /// Of what.
    pub symbol: Symbol,
    /// Whether it is the whole book, which replaces all that was known.
    pub snapshot: bool,
    /// The buyers' levels.
    pub bids: List<LevelUpdate>,
    /// The sellers' levels.
    pub asks: List<LevelUpdate>,
    /// The number of the update: one more than that of the delta before; 1 after a restart of the
    /// venue, and then it is a snapshot whatever it is called.
    pub update: u64,
    /// The number of the trade engine, comparable between depths.
    pub sequence: u64,
    /// When the stream made the message, by the venue's clock.
    pub pushed_at: Timestamp,
    /// When the matching engine made the book, by the venue's clock.
    pub venue_time: Timestamp,
}

/// A price and what rests there now: `None` when nothing does any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct LevelUpdate(
    /// The price.
    #[serde(deserialize_with = "field::amount")]
    pub Price,
    /// What rests there.
    #[serde(deserialize_with = "field::amount_or_none")]
    pub Option<Quantity>,
);

/// A trade between anybody.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PublicTrade {
    /// Of what.
    #[serde(rename = "s")]
    pub symbol: Symbol,
    /// Which way the one went who took.
    #[serde(rename = "S", deserialize_with = "field::side")]
    pub side: Side,
    /// At what price.
    #[serde(rename = "p", deserialize_with = "field::amount")]
    pub price: Price,
    /// How much.
    #[serde(rename = "v", deserialize_with = "field::amount")]
    pub quantity: Quantity,
    /// The venue's id of it.
    #[serde(rename = "i")]
    pub id: Words,
    /// When, by the venue's clock.
    #[serde(rename = "T", deserialize_with = "field::millis")]
    pub venue_time: Timestamp,
}

#[derive(Deserialize)]
struct RawDepth {
    #[serde(rename = "type")]
    form: Words,
    #[serde(deserialize_with = "field::millis")]
    ts: Timestamp,
    #[serde(deserialize_with = "field::millis")]
    cts: Timestamp,
    data: RawLevels,
}

#[derive(Deserialize)]
struct RawLevels {
    s: Symbol,
    b: List<LevelUpdate>,
    a: List<LevelUpdate>,
    u: u64,
    seq: u64,
}

#[derive(Deserialize)]
struct RawTrades {
    data: List<PublicTrade>,
}

/// Reads a message of the public stream.
///
/// # Errors
/// [`Malformed`] when it is not such a message, or of a topic that nobody subscribed to.
pub fn read_public(bytes: &[u8]) -> Result<PublicMessage, Malformed> {
    let head: StreamHead = json(bytes)?;
    let Some(topic) = &head.topic else {
        return match head.answered() {
            Some((operation, success)) => Ok(PublicMessage::Answered {
                operation,
                success,
                message: head.ret_msg,
            }),
            None => Err(head.unknown()),
        };
    };
    match topic.as_str().split('.').next().unwrap_or_default() {
        "orderbook" => {
            let raw: RawDepth = json(bytes)?;
            let snapshot = match raw.form.as_str() {
                "snapshot" => true,
                // The venue restarted: its first update is the whole book, whatever it is called.
                "delta" => raw.data.u == 1,
                _ => return Err(Malformed::Topic(raw.form)),
            };
            Ok(PublicMessage::Depth(DepthUpdate {
                symbol: raw.data.s,
                snapshot,
                bids: raw.data.b,
                asks: raw.data.a,
                update: raw.data.u,
                sequence: raw.data.seq,
                pushed_at: raw.ts,
                venue_time: raw.cts,
            }))
        }
        "publicTrade" => json::<RawTrades>(bytes).map(|raw| PublicMessage::Trades(raw.data)),
        _ => Err(head.unknown()),
    }
}
