//! The connection to the bus: sends, listens, and says what went wrong.
//!
//! The client library answers `Ok` for a message that was denied and keeps what is sent while
//! disconnected until it can deliver it late. So nothing is sent unless the connection stands,
//! nothing here waits without a time-out, and what the server reports is logged and counted.

mod admission;
mod connect;
mod inbox;
mod operators;
mod rights;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use portcullis_domain::PrincipalName;
use portcullis_wire::SealError;
use tokio::sync::watch;

pub use connect::ConnectError;
pub(crate) use inbox::listen;
pub use inbox::{Inbox, Raw};
pub(crate) use operators::Operators;
pub use rights::RightsError;
pub(crate) use rights::{check, check_against};

use crate::Identity;
use crate::nats_config::ECHO;
use crate::shutdown::{Fault, Faults};

/// How long the bus may take for anything.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// Why something could not be sent or listened to.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The connection does not stand. Nothing was kept for later.
    #[error("not connected to the bus")]
    Disconnected,
    /// The connection does not take any more at the moment. Nothing was kept for later.
    #[error("connection to the bus is congested")]
    Congested,
    /// The message could not be sealed.
    #[error("seal a message")]
    Seal(#[from] SealError),
    /// The operating system gave no random id.
    #[error("make a message id")]
    Random(#[source] getrandom::Error),
    /// The client library refused the message.
    #[error("send on {subject}")]
    Send {
        /// Where it was going.
        subject: String,
        /// What the library said.
        #[source]
        cause: async_nats::PublishError,
    },
    /// Too many facts wait for the stream: no new work may be taken.
    #[error("outbox is full: {0} facts wait for the stream")]
    OutboxFull(usize),
    /// The name does not fit the subject.
    #[error("subject {0} needs exactly one name")]
    Name(&'static str),
    /// The identity trusts nobody who could publish there.
    #[error("nobody is trusted to publish on {0}")]
    NoPublisher(&'static str),
    /// What the server lets this principal do is not what the table says.
    #[error("check what the bus lets one do")]
    Rights(#[from] RightsError),
    /// The subscription was not taken.
    #[error("listen on {subject}")]
    Listen {
        /// To what.
        subject: String,
        /// What the library said.
        #[source]
        cause: async_nats::SubscribeError,
    },
    /// The bus denied something that nothing can go on without.
    #[error("use the bus")]
    Denied(#[source] Fault),
    /// The bus did not answer in time.
    #[error("the bus did not answer in {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// The stream of facts or its consumer is not as it must be.
    #[error("reach the stream of facts: {0}")]
    Stream(String),
}

impl BusError {
    /// Whether starting again without a change could not help.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Rights(error) => error.is_permanent(),
            Self::NoPublisher(_) => true,
            Self::Disconnected
            | Self::Congested
            | Self::Seal(_)
            | Self::Random(_)
            | Self::Send { .. }
            | Self::OutboxFull(_)
            | Self::Name(_)
            | Self::Listen { .. }
            | Self::Denied(_)
            | Self::TimedOut
            | Self::Stream(_) => false,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Rights(error) => error.next_step(),
            Self::NoPublisher(_) => {
                "make the identity anew with a roster that has an operator".into()
            }
            Self::Stream(_) => {
                "provision the streams of facts, then start the service again".into()
            }
            Self::Disconnected
            | Self::Congested
            | Self::Seal(_)
            | Self::Random(_)
            | Self::Send { .. }
            | Self::OutboxFull(_)
            | Self::Name(_)
            | Self::Listen { .. }
            | Self::Denied(_)
            | Self::TimedOut => "start the service again".into(),
        }
    }
}

/// A connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Bus(Arc<Inner>);

struct Inner {
    client: async_nats::Client,
    principal: PrincipalName,
    /// Whose commands are listened to, each on a subject of its own.
    operators: Operators,
    /// How often the connection was made; changes with each reconnect.
    connections: watch::Receiver<u64>,
}

impl Bus {
    /// Connects, trying again for as long as the server may need to start.
    pub(crate) async fn connect(
        identity: &Identity,
        url: &str,
        faults: &Faults,
    ) -> Result<Self, ConnectError> {
        let operators = Operators::new(identity.trust.operators.keys().copied());
        let (client, connections) = connect::connect(identity, url, faults, &operators).await?;
        Ok(Self(Arc::new(Inner {
            client,
            principal: identity.name,
            operators,
            connections,
        })))
    }

    pub(crate) fn principal(&self) -> PrincipalName {
        self.0.principal
    }

    pub(crate) fn operators(&self) -> &Operators {
        &self.0.operators
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.0.client.connection_state(), State::Connected)
    }

    /// How often the connection was made: changes before [`Self::is_connected`] is true again, and
    /// so tells whoever asks that one first that what was on its way is lost.
    pub(crate) fn connection(&self) -> u64 {
        self.0.client.statistics().connects.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> watch::Receiver<u64> {
        self.0.connections.clone()
    }

    pub(crate) fn client(&self) -> &async_nats::Client {
        &self.0.client
    }

    /// A subject for answers that nobody else may read.
    pub(crate) fn inbox(&self) -> String {
        self.0.client.new_inbox()
    }

    /// Hands the bytes to the connection, now or not at all.
    pub(crate) fn send(&self, subject: String, bytes: Bytes) -> Result<(), BusError> {
        if !self.is_connected() {
            return Err(BusError::Disconnected);
        }
        let name = async_nats::Subject::from(subject);
        // The only thing it waits for is room in a queue. The scheduler's budget must not look like
        // a lack of room.
        let sending = tokio::task::unconstrained(self.0.client.publish(name.clone(), bytes));
        match sending.now_or_never() {
            Some(Ok(())) => Ok(()),
            Some(Err(cause)) => Err(BusError::Send {
                subject: name.to_string(),
                cause,
            }),
            None => Err(BusError::Congested),
        }
    }

    /// As [`Self::send`], with an id for the stream and a subject for its answer.
    pub(crate) fn send_fact(
        &self,
        subject: &str,
        message_id: &str,
        reply: String,
        bytes: Bytes,
    ) -> Result<(), BusError> {
        if !self.is_connected() {
            return Err(BusError::Disconnected);
        }
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
        let sending =
            self.0
                .client
                .publish_with_reply_and_headers(subject.to_owned(), reply, headers, bytes);
        match tokio::task::unconstrained(sending).now_or_never() {
            Some(Ok(())) => Ok(()),
            Some(Err(cause)) => Err(BusError::Send {
                subject: subject.into(),
                cause,
            }),
            None => Err(BusError::Congested),
        }
    }

    pub(crate) async fn subscribe(
        &self,
        subject: String,
    ) -> Result<async_nats::Subscriber, BusError> {
        let subscribing = self.0.client.subscribe(subject.clone());
        match tokio::time::timeout(TIMEOUT, subscribing).await {
            Ok(Ok(subscriber)) => Ok(subscriber),
            Ok(Err(cause)) => Err(BusError::Listen { subject, cause }),
            Err(_) => Err(BusError::TimedOut),
        }
    }

    /// Waits until what was handed over so far has left this process.
    pub(crate) async fn flush(&self) -> Result<(), BusError> {
        match tokio::time::timeout(TIMEOUT, self.0.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(BusError::Disconnected),
            Err(_) => Err(BusError::TimedOut),
        }
    }

    /// Waits until the server has seen everything that was handed over so far. Flushing is not
    /// enough: a message of somebody else could overtake a subscription that is still on its way.
    pub(crate) async fn confirm(&self) -> Result<(), BusError> {
        let subject = format!("{ECHO}.{}", self.0.principal);
        let mut mark = [0; 16];
        getrandom::fill(&mut mark).map_err(BusError::Random)?;
        let round_trip = async {
            let mut echoes = self.subscribe(subject.clone()).await?;
            self.send(subject, Bytes::copy_from_slice(&mark))?;
            while let Some(echo) = echoes.next().await {
                if echo.payload == mark.as_slice() {
                    return Ok(());
                }
            }
            Err(BusError::Disconnected)
        };
        tokio::time::timeout(TIMEOUT, round_trip)
            .await
            .map_err(|_| BusError::TimedOut)?
    }

    /// Makes the connection anew, with the keys of the present. What is on its way is lost, as it is
    /// whenever a connection ends.
    pub(crate) async fn reconnect(&self) -> Result<(), BusError> {
        match tokio::time::timeout(TIMEOUT, self.0.client.force_reconnect()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(BusError::Disconnected),
            Err(_) => Err(BusError::TimedOut),
        }
    }

    /// Ends the subscriptions and the connection, in that order.
    pub(crate) async fn close(&self) {
        // A connection that cannot end in order ends with the process.
        let _ = tokio::time::timeout(TIMEOUT, self.0.client.drain()).await;
    }
}
