//! What the venue answers and pushes, as types: whatever does not fit one is an error, never a
//! guess and never a panic.
//!
//! Fields that the venue adds are ignored; the ones that matter must be there and make sense.

mod account;
mod field;
mod market;
mod movement;
mod order;
mod private;
mod public;

use alloc::string::String;

use portcullis_domain::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

pub use account::{Coin, Execution, ExecutionKind, Position, Wallet};
pub use field::{LIST_LENGTH_MAX, List, Words};
pub use market::{Bar, Bars, InstrumentInfo, RecentTrade, ServerTime};
pub use movement::{Transaction, TransactionId, TransactionKind};
pub use order::{OrderAcknowledgement, OrderInfo};
pub use private::{PrivateMessage, Pushed, StreamOperation, read_private};
pub use public::{DepthUpdate, LevelUpdate, PublicMessage, PublicTrade, read_public};

use super::VenueError;

/// The longest message that is read, in bytes; the longest expected is a page of 1,000 instruments.
pub const MESSAGE_LENGTH_MAX: usize = 2 * 1_024 * 1_024;

/// Why bytes are not such a message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// More than [`MESSAGE_LENGTH_MAX`].
    #[error("message has {0} bytes, more than {MESSAGE_LENGTH_MAX}")]
    TooLong(usize),
    /// Not JSON, or not of the expected form. The cause never repeats more than a field's value.
    #[error("message is not of the expected form")]
    Form(#[source] serde_json::Error),
    /// A stream message of a topic or an operation that nobody subscribed to.
    #[error("message belongs to no known topic or operation: {0}")]
    Topic(Words),
}

/// A REST answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<T> {
    /// When the venue answered, by its clock, where it says so.
    pub time: Option<Timestamp>,
    /// What it answered.
    pub outcome: Result<T, Refused>,
}

/// The venue refused a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the venue answered {code}: {message}")]
pub struct Refused {
    /// Its code, `retCode`.
    pub code: i64,
    /// What the code means.
    pub class: VenueError,
    /// Its words, cut to what is safe to print.
    pub message: Words,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub struct Page<T> {
    /// What it lists.
    pub list: List<T>,
    /// What to ask for the next page with; empty on the last one.
    #[serde(rename = "nextPageCursor", default, deserialize_with = "field::cursor")]
    pub next: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    ret_code: i64,
    #[serde(default)]
    ret_msg: Words,
    #[serde(default)]
    time: Option<u64>,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Body<T> {
    result: T,
}

/// Reads a REST answer. Its result is read only where the venue reports success: a refusal comes
/// with an empty one.
///
/// # Errors
/// [`Malformed`] when it is not such an answer.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<Reply<T>, Malformed> {
    let head: Head = json(bytes)?;
    let time = head.time.map(Timestamp::from_millis);
    let outcome = match VenueError::of_code(head.ret_code) {
        None => Ok(json::<Body<T>>(bytes)?.result),
        Some(class) => Err(Refused {
            code: head.ret_code,
            class,
            message: head.ret_msg,
        }),
    };
    Ok(Reply { time, outcome })
}

/// What a cancel-all answers with is a list of orders that says nothing about their end, so it is
/// not read: only the order stream or a query is the truth.
pub type CancelAllAcknowledgement = IgnoredAny;

/// What a request answers with that has no result: the venue leaves it out then.
pub type Done = Option<IgnoredAny>;

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    if bytes.len() > MESSAGE_LENGTH_MAX {
        return Err(Malformed::TooLong(bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(Malformed::Form)
}

#[cfg(test)]
mod tests;
