//! Facts on their way to the stream: in order, bounded, each sent until the stream says it has it.
//!
//! ```text
//!  fact ──▶ queue ──▶ bus ──▶ subscribers (now)
//!             ▲         └───▶ own stream ──▶ PubAck to our own inbox ────┐
//!             └──────────────── forgotten only then ◀───────────────────┘
//! ```
//!
//! After a reconnect everything unacknowledged is sent again from the oldest on; the stream knows
//! what it has by the message id. Facts reach the stream in the order of their places, except that
//! a few which the client library held when a connection broke may come before older ones. A duplicate on the *first* attempt means that somebody else used
//! our unguessable id before us, and is an alarm.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt;
use portcullis_wire::Sealed;
use portcullis_wire::principal::Role;
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use crate::bus::{Bus, BusError};
use crate::nats_config::facts_stream_of;

/// The most facts that may wait: beyond that the service must refuse new work.
pub(crate) const WAITING_MAX: usize = 8_192;
/// The most facts that are sent without an answer.
const IN_FLIGHT_MAX: u64 = 256;
/// An answer takes a disk's sync; one that takes this long is lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after the stream refused a fact or the connection took none.
const PAUSE: Duration = Duration::from_millis(20);
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

/// The queue of one service. Clones are the same queue.
#[derive(Clone)]
pub(crate) struct Outbox(Arc<Shared>);

struct Shared {
    bus: Bus,
    /// The stream that captures what this principal says.
    stream: String,
    inbox: String,
    state: Mutex<State>,
    wake: Notify,
    acknowledged: watch::Sender<u64>,
}

struct State {
    waiting: VecDeque<Entry>,
    /// The place, among this start's facts, of the next one that may join the queue: facts leave in
    /// the order of their places, so that the stream never passes one by.
    due_seq: u64,
    /// Facts whose turn has not come, by their places.
    ahead: BTreeMap<u64, Entry>,
    /// How many of the facts that wait are of earlier starts: those are on disk already, and refusing
    /// them would keep a service down that has more to say than it may add.
    earlier: usize,
    /// The number of the first entry; each fact has one, from 0.
    first: u64,
    /// The number of the next entry to send; set back to the first to send everything again.
    next: u64,
    /// The connection that was sent on last.
    connection: u64,
    /// Nothing is sent before, after the stream refused something.
    pause_until: Option<Instant>,
    /// When the last fact was taken, or was last asked for because none had been.
    taken_at: Instant,
}

impl Default for State {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            due_seq: 1,
            ahead: BTreeMap::new(),
            earlier: 0,
            first: 0,
            next: 0,
            connection: 0,
            pause_until: None,
            taken_at: Instant::now(),
        }
    }
}

impl State {
    fn length(&self) -> usize {
        self.waiting.len().saturating_add(self.ahead.len())
    }
}

struct Entry {
    /// Its place among this start's facts; none for a fact of an earlier start.
    seq: Option<u64>,
    subject: String,
    message_id: String,
    bytes: Bytes,
    sent_at: Option<Instant>,
    /// Whether an earlier attempt, in this process or an earlier one, may have reached the stream.
    repeated: bool,
    acknowledged: bool,
}

/// What the stream answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    duplicate: bool,
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Outbox {
    pub(crate) async fn start(bus: Bus, source: Role) -> Result<Self, BusError> {
        let inbox = bus.inbox();
        let answers = bus.subscribe(format!("{inbox}.*")).await?;
        bus.flush().await?;
        let connections = bus.connections();
        let outbox = Self(Arc::new(Shared {
            bus,
            stream: facts_stream_of(source),
            inbox,
            state: Mutex::default(),
            wake: Notify::new(),
            acknowledged: watch::Sender::new(0),
        }));
        tokio::spawn(run(outbox.clone(), answers, connections));
        Ok(outbox)
    }

    /// Takes a sealed fact. `repeated` says that an earlier process may have sent it already; such a
    /// one is always taken.
    pub(crate) fn push(&self, sealed: Sealed, repeated: bool) -> Result<(), BusError> {
        let mut state = self.lock();
        state.taken_at = Instant::now();
        if repeated {
            state.earlier = state.earlier.saturating_add(1);
        } else if state.length().saturating_sub(state.earlier) >= WAITING_MAX {
            return Err(BusError::OutboxFull(state.length()));
        }
        let seq = (!repeated).then_some(sealed.seq);
        let entry = Entry {
            seq,
            subject: sealed.subject,
            message_id: sealed.id.to_string(),
            bytes: Bytes::from(sealed.frame),
            sent_at: None,
            repeated,
            acknowledged: false,
        };
        match seq {
            Some(seq) if seq > state.due_seq => {
                state.ahead.insert(seq, entry);
            }
            Some(_) | None => state.waiting.push_back(entry),
        }
        if seq == Some(state.due_seq) {
            state.due_seq = state.due_seq.saturating_add(1);
            loop {
                let due = state.due_seq;
                let Some(entry) = state.ahead.remove(&due) else {
                    break;
                };
                state.waiting.push_back(entry);
                state.due_seq = due.saturating_add(1);
            }
        }
        // Straight to the connection: a hop to the task below would delay every receipt.
        let sent = self.pump(&mut state);
        drop(state);
        if !sent {
            self.0.wake.notify_one();
        }
        Ok(())
    }

    /// Whether another fact would be taken.
    pub(crate) fn has_room(&self) -> Result<(), BusError> {
        let waiting = self.lock().length();
        if waiting < WAITING_MAX {
            Ok(())
        } else {
            Err(BusError::OutboxFull(waiting))
        }
    }

    /// Whether a fact is due, because none was taken for `most` and none waits: one that waits says
    /// enough when it arrives. Says so once each time.
    pub(crate) fn is_silent_for(&self, most: Duration) -> bool {
        let mut state = self.lock();
        let silent = state.length() == 0 && state.taken_at.elapsed() >= most;
        if silent {
            state.taken_at = Instant::now();
        }
        silent
    }

    pub(crate) fn acknowledged(&self) -> watch::Receiver<u64> {
        self.0.acknowledged.subscribe()
    }

    /// Waits until the stream has everything, for at most `patience`. How many it has not.
    pub(crate) async fn flush(&self, patience: Duration) -> usize {
        let mut acknowledged = self.acknowledged();
        let done = acknowledged.wait_for(|_| self.lock().length() == 0);
        // What is left is said by the count below.
        let _ = tokio::time::timeout(patience, done).await;
        self.lock().length()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what may be sent; `false` when the connection took less than that.
    fn pump(&self, state: &mut State) -> bool {
        let now = Instant::now();
        if state.pause_until.is_some_and(|until| now < until) {
            return false;
        }
        state.pause_until = None;
        if !self.0.bus.is_connected() {
            return false;
        }
        // What was unanswered on the connection before may be lost: all of it goes first.
        let connection = self.0.bus.connection();
        if connection != state.connection {
            state.connection = connection;
            state.next = state.first;
        }
        let (first, mut next) = (state.first, state.next);
        while next.saturating_sub(first) < IN_FLIGHT_MAX {
            let index = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX);
            let Some(entry) = state.waiting.get_mut(index) else {
                break;
            };
            if !entry.acknowledged {
                let reply = format!("{}.{next}", self.0.inbox);
                let bytes = entry.bytes.clone();
                let sent = self
                    .0
                    .bus
                    .send_fact(&entry.subject, &entry.message_id, reply, bytes);
                if let Err(error) = sent {
                    state.next = next;
                    if !matches!(error, BusError::Disconnected | BusError::Congested) {
                        tracing::error!(%error, "fact not sent");
                    }
                    return false;
                }
                if entry.sent_at.replace(now).is_some() {
                    entry.repeated = true;
                    metrics::counter!("portcullis_facts_resent_total").increment(1);
                }
            }
            next = next.saturating_add(1);
        }
        state.next = next;
        true
    }

    fn answered(&self, subject: &str, payload: &[u8]) {
        let number = subject
            .rsplit_once('.')
            .and_then(|(_, number)| number.parse::<u64>().ok());
        let Some(number) = number else { return };
        let answer = serde_json::from_slice::<Answer>(payload).unwrap_or_else(|error| Answer {
            stream: String::new(),
            duplicate: false,
            error: Some(AnswerError {
                err_code: 0,
                description: error.to_string(),
            }),
        });
        let mut state = self.lock();
        let Some(index) = number.checked_sub(state.first) else {
            return;
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(entry) = state.waiting.get_mut(index) else {
            return;
        };
        if let Some(AnswerError {
            err_code,
            description,
        }) = answer.error
        {
            tracing::error!(
                err_code,
                description,
                subject = entry.subject,
                "stream refused a fact"
            );
            metrics::counter!("portcullis_facts_refused_total").increment(1);
            state.next = state.first;
            state.pause_until = Instant::now().checked_add(REFUSED_PAUSE);
            return;
        }
        if answer.stream != self.0.stream {
            return;
        }
        if answer.duplicate && !entry.repeated {
            tracing::error!(
                subject = entry.subject,
                message_id = entry.message_id,
                "the stream already had this message id: somebody else used it"
            );
            metrics::counter!("portcullis_facts_duplicate_alarm_total").increment(1);
        }
        entry.acknowledged = true;
        let mut count = 0_u64;
        let mut through = None;
        while let Some(entry) = state.waiting.pop_front_if(|entry| entry.acknowledged) {
            count = count.saturating_add(1);
            if entry.seq.is_none() {
                state.earlier = state.earlier.saturating_sub(1);
            }
            through = entry.seq.or(through);
        }
        if count > 0 {
            state.first = state.first.saturating_add(count);
            state.next = state.next.max(state.first);
            metrics::counter!("portcullis_facts_acknowledged_total").increment(count);
        }
        self.pump(&mut state);
        // Those who wait ask for the state while they hold this value: it is changed last, with
        // nothing locked.
        drop(state);
        if count > 0 {
            self.0
                .acknowledged
                .send_modify(|place| *place = through.unwrap_or(*place));
        }
    }

    /// Sends again what was not answered in time, and reports how much waits.
    fn tick(&self) -> bool {
        let mut state = self.lock();
        let oldest = state.waiting.front().and_then(|entry| entry.sent_at);
        let lost = oldest.is_some_and(|sent_at| sent_at.elapsed() > ANSWER_TIMEOUT);
        if lost && state.next > state.first && self.0.bus.is_connected() {
            tracing::warn!(waiting = state.waiting.len(), "the stream does not answer");
            state.next = state.first;
        }
        let waiting = u32::try_from(state.length()).unwrap_or(u32::MAX);
        metrics::gauge!("portcullis_outbox_waiting").set(f64::from(waiting));
        self.pump(&mut state)
    }
}

async fn run(outbox: Outbox, mut answers: Subscriber, mut connections: watch::Receiver<u64>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    connections.mark_unchanged();
    loop {
        let complete = tokio::select! {
            answer = answers.next() => {
                let Some(answer) = answer else { return };
                outbox.answered(&answer.subject, &answer.payload);
                true
            }
            changed = connections.changed() => {
                if changed.is_err() {
                    return;
                }
                outbox.pump(&mut outbox.lock())
            }
            () = outbox.0.wake.notified() => false,
            _ = ticks.tick() => outbox.tick(),
        };
        if !complete {
            tokio::time::sleep(PAUSE).await;
            let mut state = outbox.lock();
            outbox.pump(&mut state);
        }
    }
}
