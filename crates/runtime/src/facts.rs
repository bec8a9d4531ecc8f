//! Receives facts from the streams, for audit.
//!
//! ```text
//!  FACTS_EXECUTION ──▶ task ──▶ lane ──▶ ┐
//!  FACTS_RISK_GUARD ─▶ task ──▶ lane ──▶ │ recv: in turn, execution's every other time
//!  …                                     ┘
//! ```
//!
//! Each source has a stream and a lane of its own, so that a flood of one delays no other's facts.
//! Between sources there is no order, and nobody needs one: audit counts each source by itself.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Stream;
use async_nats::jetstream::{self, Message};
use futures_util::StreamExt;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{Delivery, TABLE};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::bus::{Bus, BusError, Raw, TIMEOUT};
use crate::clock::Clock;
use crate::nats_config::{FACTS_CONSUMER, STORE_API, facts_sources, facts_stream_of};
use crate::provision::check_consumer;

/// How many facts of a source are asked for at once; what the server allows.
const BATCH: usize = 256;
/// How many facts of a source wait here. Those that wait in its stream cost no memory.
const LANE: usize = 64;
/// The pause before a consumer is asked again after an error.
const PAUSE: Duration = Duration::from_millis(250);

/// Facts of every source, of each in the order of its stream. One that is not acknowledged comes
/// again after 5 s, or after a restart, so the recorder must know what it has. Dropping it ends the
/// reading.
pub struct FactsConsumer {
    lanes: Turns<mpsc::Receiver<(Raw, Acknowledger)>>,
    readers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for FactsConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FactsConsumer")
    }
}

impl Drop for FactsConsumer {
    fn drop(&mut self) {
        self.readers.iter().for_each(JoinHandle::abort);
    }
}

/// Tells a stream that a fact is on record.
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
    /// The fact's number in the stream of its source, from 1.
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
        poll_fn(|context| {
            let next = self.lanes.next(|lane| match lane.poll_recv(context) {
                Poll::Ready(fact) => fact,
                Poll::Pending => None,
            });
            next.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Lanes that are asked in turn. The first lane, which receipts wait for, is asked every other time
/// before all others, so that it gets half when it has enough and the others share the rest.
struct Turns<T> {
    first: Option<T>,
    first_is_due: bool,
    others: VecDeque<T>,
}

impl<T> Turns<T> {
    fn new(lanes: impl IntoIterator<Item = T>) -> Self {
        let mut lanes = lanes.into_iter();
        Self {
            first: lanes.next(),
            first_is_due: true,
            others: lanes.collect(),
        }
    }

    /// What the lane whose turn it is has, or the next one that has anything.
    fn next<R>(&mut self, mut ask: impl FnMut(&mut T) -> Option<R>) -> Option<R> {
        if self.first_is_due
            && let Some(found) = self.first.as_mut().and_then(&mut ask)
        {
            self.first_is_due = false;
            return Some(found);
        }
        for index in 0..self.others.len() {
            if let Some(found) = self.others.get_mut(index).and_then(&mut ask) {
                self.others.rotate_left(index.saturating_add(1));
                self.first_is_due = true;
                return Some(found);
            }
        }
        if self.first_is_due {
            return None;
        }
        self.first.as_mut().and_then(ask)
    }
}

/// Reads one stream into its lane; waits where the lane is full, as the stream keeps the rest.
async fn read(
    bus: Bus,
    clock: Clock,
    source: Role,
    mut facts: Stream,
    lane: mpsc::Sender<(Raw, Acknowledger)>,
) {
    loop {
        match facts.next().await {
            Some(Ok(message)) => match sort(message, clock) {
                Some(fact) => {
                    if lane.send(fact).await.is_err() {
                        return;
                    }
                }
                None => metrics::counter!("portcullis_facts_unknown_total").increment(1),
            },
            Some(Err(error)) => {
                tracing::warn!(%source, %error, "facts are interrupted");
                facts = reopen(&bus, source).await;
            }
            None => facts = reopen(&bus, source).await,
        }
    }
}

fn sort(message: Message, clock: Clock) -> Option<(Raw, Acknowledger)> {
    let subject = message.subject.to_string();
    let facts = TABLE.iter().filter(|row| row.delivery == Delivery::Stream);
    let row = facts.copied().find(|row| row.matches(&subject))?;
    let sequence = message.info().ok()?.stream_sequence;
    let bytes = message.payload.clone();
    let raw = Raw {
        row,
        subject,
        bytes,
        received_at: clock.now(),
    };
    Some((raw, Acknowledger { message, sequence }))
}

async fn reopen(bus: &Bus, source: Role) -> Stream {
    loop {
        tokio::time::sleep(PAUSE).await;
        if !bus.is_connected() {
            continue;
        }
        match open(bus, source).await {
            Ok(facts) => return facts,
            Err(error) => tracing::warn!(%source, %error, "facts are still interrupted"),
        }
    }
}

pub(crate) async fn consume(bus: &Bus, clock: Clock) -> Result<FactsConsumer, BusError> {
    let mut opened = Vec::new();
    for source in facts_sources() {
        opened.push((source, open(bus, source).await?));
    }
    let (mut lanes, mut readers) = (Vec::new(), Vec::new());
    for (source, facts) in opened {
        let (sender, lane) = mpsc::channel(LANE);
        readers.push(tokio::spawn(read(
            bus.clone(),
            clock,
            source,
            facts,
            sender,
        )));
        lanes.push(lane);
    }
    Ok(FactsConsumer {
        lanes: Turns::new(lanes),
        readers,
    })
}

async fn open(bus: &Bus, source: Role) -> Result<Stream, BusError> {
    let opening = async {
        let mut context = jetstream::with_prefix(bus.client().clone(), STORE_API);
        context.set_timeout(TIMEOUT);
        let name = facts_stream_of(source);
        let consumer: PullConsumer = context
            .get_consumer_from_stream(FACTS_CONSUMER, &name)
            .await
            .map_err(|error| BusError::Stream(error.to_string()))?;
        check_consumer(&name, &consumer.cached_info().config)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many from lanes that hold so many each; the answer is how many came from each.
    fn taken(lanes: &[usize], times: usize) -> Vec<usize> {
        let mut taken = vec![0; lanes.len()];
        let mut turns = Turns::new(lanes.iter().copied().enumerate());
        for _ in 0..times {
            let from = turns.next(|(lane, left)| {
                *left = left.checked_sub(1)?;
                Some(*lane)
            });
            if let Some(count) = from.and_then(|lane| taken.get_mut(lane)) {
                *count += 1;
            }
        }
        taken
    }

    #[test]
    fn the_first_lane_gets_half_and_the_others_share_the_rest() {
        assert_eq!(taken(&[1_000; 5], 800), [400, 100, 100, 100, 100]);
    }

    #[test]
    fn a_flood_of_one_lane_delays_no_other_by_more_than_a_turn() {
        assert_eq!(taken(&[3, 0, 1_000, 2, 0], 12), [3, 0, 7, 2, 0]);
        assert_eq!(taken(&[1_000, 2, 2, 2, 2], 16), [8, 2, 2, 2, 2]);
    }

    #[test]
    fn nothing_is_passed_by_while_only_some_lanes_have_anything() {
        assert_eq!(taken(&[0, 0, 5, 0, 0], 9), [0, 0, 5, 0, 0]);
        assert_eq!(taken(&[5, 0, 0, 0, 0], 9), [5, 0, 0, 0, 0]);
        assert_eq!(taken(&[1, 2, 3, 4, 5], 99), [1, 2, 3, 4, 5]);
    }
}
