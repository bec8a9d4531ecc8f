//! The private stream: what became of orders, and what it did to the account.

use portcullis_domain::Timestamp;
use serde::Deserialize;

use super::account::{Execution, Position, Wallet};
use super::field::{self, List, Words};
use super::order::OrderInfo;
use super::{Malformed, json};

/// What a client asks of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOperation {
    /// To log in.
    Login,
    /// To receive topics.
    Subscribe,
    /// To receive topics no more.
    Unsubscribe,
    /// To answer, so that both know the socket lives.
    Ping,
}

/// One message of the private stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivateMessage {
    /// The venue answered an operation.
    Answered {
        /// Which.
        operation: StreamOperation,
        /// Whether it did as asked.
        success: bool,
        /// Its words.
        message: Words,
    },
    /// Orders changed.
    Orders(Pushed<OrderInfo>),
    /// Orders filled.
    Executions(Pushed<Execution>),
    /// Positions changed.
    Positions(Pushed<Position>),
    /// Balances changed.
    Wallets(Pushed<Wallet>),
    /// Word of what the venue does once the stream is gone; nothing of it matters while it is there.
    CancelOnDisconnect,
}

/// What a topic pushed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub struct Pushed<T> {
    /// When the venue made the message, by its clock.
    #[serde(rename = "creationTime", deserialize_with = "field::millis")]
    pub time: Timestamp,
    /// What changed.
    pub data: List<T>,
}

#[derive(Deserialize)]
pub(super) struct StreamHead {
    #[serde(default)]
    pub topic: Option<Words>,
    #[serde(default)]
    pub op: Option<Words>,
    #[serde(default)]
    pub success: Option<bool>,
    #[serde(default)]
    pub ret_msg: Words,
}

impl StreamHead {
    /// The answer to an operation. A pong has no `success` on the private stream, and is called
    /// `ping` with the words `pong` on the public one.
    pub(super) fn answered(&self) -> Option<(StreamOperation, bool)> {
        let operation = match self.op.as_ref()?.as_str() {
            "auth" => StreamOperation::Login,
            "subscribe" => StreamOperation::Subscribe,
            "unsubscribe" => StreamOperation::Unsubscribe,
            "ping" | "pong" => StreamOperation::Ping,
            _ => return None,
        };
        Some((
            operation,
            self.success.unwrap_or(operation == StreamOperation::Ping),
        ))
    }

    pub(super) fn unknown(self) -> Malformed {
        Malformed::Topic(self.topic.or(self.op).unwrap_or_default())
    }
}

/// Reads a message of the private stream.
///
/// # Errors
/// [`Malformed`] when it is not such a message, or of a topic that nobody subscribed to.
pub fn read_private(bytes: &[u8]) -> Result<PrivateMessage, Malformed> {
    let head: StreamHead = json(bytes)?;
    let Some(topic) = &head.topic else {
        return match head.answered() {
            Some((operation, success)) => Ok(PrivateMessage::Answered {
                operation,
                success,
                message: head.ret_msg,
            }),
            None => Err(head.unknown()),
        };
    };
    // `order.linear` is the part of `order` that is about one category.
    match topic.as_str().split('.').next().unwrap_or_default() {
        "order" => json(bytes).map(PrivateMessage::Orders),
        "execution" => json(bytes).map(PrivateMessage::Executions),
        "position" => json(bytes).map(PrivateMessage::Positions),
        "wallet" => json(bytes).map(PrivateMessage::Wallets),
        "dcp" => Ok(PrivateMessage::CancelOnDisconnect),
        _ => Err(head.unknown()),
    }
}
