//! Receives facts from the stream, for audit.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Stream;
use async_nats::jetstream::{self, Message};
use futures_util::StreamExt;
use portcullis_wire::subjects::{Delivery, TABLE};

use crate::bus::{Bus, BusError, Raw, TIMEOUT};
use crate::clock::Clock;
use crate::nats_config::{FACTS_CONSUMER, FACTS_STREAM, STORE_API};

/// How many facts are asked for at once; what the server allows.
const BATCH: usize = 256;
/// The pause before the consumer is asked again after an error.
const PAUSE: Duration = Duration::from_millis(250);

/// Facts in the order of the stream. One that is not acknowledged comes again after 5 s, or after
/// a restart, so the recorder must know what it has.
pub struct FactsConsumer {
    bus: Bus,
    clock: Clock,
    facts: Stream,
}

impl std::fmt::Debug for FactsConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FactsConsumer")
    }
}

/// Tells the stream that a fact is on record.
pub struct Acknowledger {
    message: Message,
    sequence: u64,
}

impl std::fmt::Debug for Acknowledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acknowledger")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Acknowledger {
    /// The fact's number in the stream, from 1.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Acknowledges without waiting; a lost acknowledgement means that the fact comes again.
    ///
    /// # Errors
    /// [`BusError`] when the connection does not take it.
    pub async fn acknowledge(&self) -> Result<(), BusError> {
        finish(self.message.ack()).await
    }

    /// Acknowledges, and waits until the stream has taken note.
    ///
    /// # Errors
    /// [`BusError`] when it did not in time; the fact comes again then.
    pub async fn confirm(&self) -> Result<(), BusError> {
        finish(self.message.double_ack()).await
    }

    /// Asks for the fact again after a while, because it could not be recorded now.
    ///
    /// # Errors
    /// [`BusError`] when the connection does not take it.
    pub async fn later(&self, pause: Duration) -> Result<(), BusError> {
        finish(self.message.ack_with(AckKind::Nak(Some(pause)))).await
    }
}

async fn finish(
    acknowledging: impl Future<Output = Result<(), async_nats::Error>>,
) -> Result<(), BusError> {
    match tokio::time::timeout(TIMEOUT, acknowledging).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(BusError::Stream(error.to_string())),
        Err(_) => Err(BusError::TimedOut),
    }
}

impl FactsConsumer {
    /// The next fact, with what acknowledges it. Errors of the bus are logged and waited out; this
    /// never ends.
    pub async fn recv(&mut self) -> (Raw, Acknowledger) {
        loop {
            match self.facts.next().await {
                Some(Ok(message)) => match self.sort(message) {
                    Some(fact) => return fact,
                    None => metrics::counter!("portcullis_facts_unknown_total").increment(1),
                },
                Some(Err(error)) => {
                    tracing::warn!(%error, "facts are interrupted");
                    self.restart().await;
                }
                None => self.restart().await,
            }
        }
    }

    fn sort(&self, message: Message) -> Option<(Raw, Acknowledger)> {
        let subject = message.subject.to_string();
        let facts = TABLE.iter().filter(|row| row.delivery == Delivery::Stream);
        let row = facts.copied().find(|row| row.matches(&subject))?;
        let sequence = message.info().ok()?.stream_sequence;
        let bytes = message.payload.clone();
        let raw = Raw {
            row,
            subject,
            bytes,
            received_at: self.clock.now(),
        };
        Some((raw, Acknowledger { message, sequence }))
    }

    async fn restart(&mut self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            if !self.bus.is_connected() {
                continue;
            }
            match open(&self.bus).await {
                Ok(facts) => {
                    self.facts = facts;
                    return;
                }
                Err(error) => tracing::warn!(%error, "facts are still interrupted"),
            }
        }
    }
}

pub(crate) async fn consume(bus: &Bus, clock: Clock) -> Result<FactsConsumer, BusError> {
    let facts = open(bus).await?;
    Ok(FactsConsumer {
        bus: bus.clone(),
        clock,
        facts,
    })
}

async fn open(bus: &Bus) -> Result<Stream, BusError> {
    let opening = async {
        let mut context = jetstream::with_prefix(bus.client().clone(), STORE_API);
        context.set_timeout(TIMEOUT);
        let consumer: PullConsumer = context
            .get_consumer_from_stream(FACTS_CONSUMER, FACTS_STREAM)
            .await
            .map_err(|error| BusError::Stream(error.to_string()))?;
        consumer
            .stream()
            .max_messages_per_batch(BATCH)
            .heartbeat(Duration::from_secs(5))
            .expires(Duration::from_secs(15))
            .messages()
            .await
            .map_err(|error| BusError::Stream(error.to_string()))
    };
    tokio::time::timeout(TIMEOUT, opening)
        .await
        .map_err(|_| BusError::TimedOut)?
}
