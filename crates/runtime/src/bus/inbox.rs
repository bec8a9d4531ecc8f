//! What arrives on several subjects: a bounded lane for each, and a reader that takes turns.
//!
//! ```text
//!  cmd.brain.propose.a ──▶ lane ──▶ ┐
//!  cmd.brain.propose.b ──▶ lane ──▶ ┘ recv: one of each in turn
//! ```
//!
//! A flood on one subject fills its own lane. What comes then is dropped, the newest first, and
//! counted; where a command is lost, somebody is told.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{SelectAll, select_all};
use portcullis_domain::{PrincipalName, Timestamp};
use portcullis_wire::Text;
use portcullis_wire::messages::Notice;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{Row, Subject};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::{Bus, BusError};
use crate::Clock;
use crate::nats_config::heard_as;

/// The most bytes that wait in a lane, however few messages they are.
const LANE_BYTES_MAX: usize = 8 << 20;
/// How often the loss of commands is reported.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// Puts on record that commands were lost.
pub(crate) type Warn = Box<dyn Fn(Notice) + Send>;

/// A message as it came: nothing about it is verified.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The line of the table that it was listened to for.
    pub row: &'static Row,
    /// The subject it came on.
    pub subject: String,
    /// The bytes.
    pub bytes: Bytes,
    /// When it came.
    pub received_at: Timestamp,
}

impl Raw {
    /// Whether it came on a subject of this line of the table.
    #[must_use]
    pub fn is<P, M>(&self, subject: &Subject<P, M>) -> bool {
        self.row.pattern == subject.row.pattern
    }
}

/// Receives from several subjects in turn. The order is kept within a subject. Dropping it ends the
/// subscriptions.
#[derive(Debug)]
pub struct Inbox {
    lanes: VecDeque<Lane>,
    sorter: JoinHandle<()>,
}

#[derive(Debug)]
struct Lane {
    queue: mpsc::Receiver<Raw>,
    bytes: Arc<AtomicUsize>,
}

impl Lane {
    fn taken(&self, raw: &Raw) {
        self.bytes.fetch_sub(raw.bytes.len(), Ordering::Relaxed);
    }
}

impl Inbox {
    /// The next message; `None` when the connection has ended for good.
    pub async fn recv(&mut self) -> Option<Raw> {
        poll_fn(|context| {
            let mut open = false;
            for index in 0..self.lanes.len() {
                let Some(lane) = self.lanes.get_mut(index) else {
                    break;
                };
                match lane.queue.poll_recv(context) {
                    Poll::Ready(Some(raw)) => {
                        lane.taken(&raw);
                        self.lanes.rotate_left(index.saturating_add(1));
                        return Poll::Ready(Some(raw));
                    }
                    Poll::Ready(None) => {}
                    Poll::Pending => open = true,
                }
            }
            if open {
                Poll::Pending
            } else {
                Poll::Ready(None)
            }
        })
        .await
    }

    /// The next message if one is waiting.
    pub fn try_recv(&mut self) -> Option<Raw> {
        for index in 0..self.lanes.len() {
            let lane = self.lanes.get_mut(index)?;
            if let Ok(raw) = lane.queue.try_recv() {
                lane.taken(&raw);
                self.lanes.rotate_left(index.saturating_add(1));
                return Some(raw);
            }
        }
        None
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.sorter.abort();
    }
}

/// The way into a lane.
struct Entrance {
    row: &'static Row,
    /// The subject of the table.
    subject: String,
    /// What is subscribed to: the same, or with its publisher's name after it.
    heard: String,
    queue: mpsc::Sender<Raw>,
    bytes: Arc<AtomicUsize>,
    /// Lost since it was last said.
    lost: u64,
    warned_at: Option<Instant>,
}

impl Entrance {
    /// Whether there is room; a lane that is empty takes whatever the server does.
    fn admit(&mut self, raw: Raw) -> Result<(), Full> {
        let length = raw.bytes.len();
        let waiting = self.bytes.fetch_add(length, Ordering::Relaxed);
        let fits = waiting == 0 || waiting.saturating_add(length) <= LANE_BYTES_MAX;
        let outcome = if fits {
            self.queue.try_send(raw).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Full::Now,
                mpsc::error::TrySendError::Closed(_) => Full::Forever,
            })
        } else {
            Err(Full::Now)
        };
        if outcome.is_err() {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
        }
        outcome
    }

    /// Counts a loss; where it is a command, says so loudly, but not so often that saying it
    /// becomes a flood of its own.
    fn lose(&mut self, warn: &Warn) {
        let subject = self.heard.clone();
        metrics::counter!("portcullis_bus_dropped_total", "subject" => subject).increment(1);
        self.lost = self.lost.saturating_add(1);
        self.tell(warn);
    }

    /// Says how many commands were lost since it was last said, if that is long enough ago.
    fn tell(&mut self, warn: &Warn) {
        if self.lost == 0 || !is_command(&self.subject) {
            return;
        }
        let recently = |at: Instant| at.elapsed() < WARNING_INTERVAL;
        if self.warned_at.is_some_and(recently) {
            return;
        }
        self.warned_at = Some(Instant::now());
        let lost = std::mem::take(&mut self.lost);
        tracing::error!(
            subject = self.heard,
            lost,
            "commands lost: their lane is full"
        );
        let detail = format!("{lost} lost on {}: the lane is full", self.heard);
        warn(Notice::Warning {
            detail: Text::lossy(&detail),
        });
    }
}

enum Full {
    Now,
    Forever,
}

fn is_command(subject: &str) -> bool {
    subject.starts_with("cmd.") || subject.starts_with("ops.")
}

/// Listens with a lane for each subject, of `capacity` messages each.
pub(crate) async fn listen(
    bus: &Bus,
    clock: Clock,
    subjects: &[(&'static Row, Option<&str>)],
    capacity: usize,
    warn: Warn,
) -> Result<Inbox, BusError> {
    let (mut streams, mut entrances, mut lanes) = (Vec::new(), Vec::new(), VecDeque::new());
    for (row, name) in subjects {
        let row: &'static Row = row;
        let subject = row.concrete(*name).ok_or(BusError::Name(row.pattern))?;
        for (heard, operator) in heard(bus, row, &subject)? {
            let place = entrances.len();
            let subscriber = bus.subscribe(heard.clone()).await?;
            let operators = bus.operators().clone();
            // Who is revoked is listened to no more, whether the server says so too or not.
            let revoked = async move {
                match operator {
                    Some(operator) => operators.revoked(operator).await,
                    None => std::future::pending().await,
                }
            };
            let messages = subscriber.map(move |message| (place, message));
            streams.push(messages.take_until(revoked).boxed());
            let (sender, queue) = mpsc::channel(capacity.max(1));
            let bytes = Arc::new(AtomicUsize::new(0));
            lanes.push_back(Lane {
                queue,
                bytes: Arc::clone(&bytes),
            });
            entrances.push(Entrance {
                row,
                subject: subject.clone(),
                heard,
                queue: sender,
                bytes,
                lost: 0,
                warned_at: None,
            });
        }
    }
    bus.confirm().await?;
    let sorter = tokio::spawn(sort(select_all(streams), clock, entrances, warn));
    Ok(Inbox { lanes, sorter })
}

/// A subject that is subscribed to, and the operator whose it alone is.
type Heard = (String, Option<PrincipalName>);

/// Under which subjects a subject of the table is heard.
fn heard(bus: &Bus, row: &Row, subject: &str) -> Result<Vec<Heard>, BusError> {
    let mut heard = Vec::new();
    if row.publisher == Role::Operator {
        let operators = bus.operators().trusted().into_iter();
        heard.extend(operators.map(|name| (heard_as(row, subject, &name), Some(name))));
        if heard.is_empty() {
            // Nobody could be heard, and that must not look like silence.
            return Err(BusError::NoPublisher(row.pattern));
        }
    } else {
        heard.push((subject.to_owned(), None));
    }
    Ok(heard)
}

/// Moves messages into their lanes as they come, so that a slow reader loses the newest ones here,
/// counted one by one, and not somewhere in the client library.
async fn sort<S>(mut streams: SelectAll<S>, clock: Clock, mut entrances: Vec<Entrance>, warn: Warn)
where
    S: futures_util::Stream<Item = (usize, async_nats::Message)> + Unpin,
{
    // What is lost within a second of a warning is told after it, although nothing more may be lost.
    let mut untold = tokio::time::interval(WARNING_INTERVAL);
    untold.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let arrived = tokio::select! {
            arrived = streams.next() => arrived,
            _ = untold.tick() => {
                entrances.iter_mut().for_each(|entrance| entrance.tell(&warn));
                continue;
            }
        };
        let Some((place, message)) = arrived else {
            return;
        };
        let Some(entrance) = entrances.get_mut(place) else {
            return;
        };
        let raw = Raw {
            row: entrance.row,
            subject: entrance.subject.clone(),
            bytes: message.payload,
            received_at: clock.now(),
        };
        match entrance.admit(raw) {
            Ok(()) => {}
            Err(Full::Now) => entrance.lose(&warn),
            Err(Full::Forever) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_wire::subjects::PROPOSAL;

    use super::*;

    #[test]
    fn a_lane_is_full_by_its_bytes_before_it_is_by_its_messages() {
        let (sender, queue) = mpsc::channel(1_024);
        let bytes = Arc::new(AtomicUsize::new(0));
        let mut lane = Lane {
            queue,
            bytes: Arc::clone(&bytes),
        };
        let mut entrance = Entrance {
            row: PROPOSAL.row,
            subject: "cmd.brain.propose.a".into(),
            heard: "cmd.brain.propose.a".into(),
            queue: sender,
            bytes,
            lost: 0,
            warned_at: None,
        };
        let raw = || Raw {
            row: PROPOSAL.row,
            subject: "cmd.brain.propose.a".into(),
            bytes: Bytes::from(vec![0; 64 << 10]),
            received_at: Timestamp(1),
        };
        let taken = (0..1_000).filter(|_| entrance.admit(raw()).is_ok()).count();
        assert_eq!(taken, LANE_BYTES_MAX / (64 << 10));
        // What is read makes room again, for exactly as much.
        let read = lane.queue.try_recv().ok();
        assert!(read.is_some_and(|raw| {
            lane.taken(&raw);
            true
        }));
        assert!(entrance.admit(raw()).is_ok());
        assert!(entrance.admit(raw()).is_err());
    }

    #[test]
    fn every_lost_command_is_counted_in_some_warning() {
        let (queue, _lane) = mpsc::channel(1);
        let mut entrance = Entrance {
            row: PROPOSAL.row,
            subject: "cmd.brain.propose.a".into(),
            heard: "cmd.brain.propose.a".into(),
            queue,
            bytes: Arc::new(AtomicUsize::new(0)),
            lost: 0,
            warned_at: None,
        };
        let (sender, said) = std::sync::mpsc::channel();
        let warn: Warn = Box::new(move |notice| {
            let Notice::Warning { detail } = notice else {
                return;
            };
            let _ = sender.send(detail.as_str().to_owned());
        });
        (0..1_000).for_each(|_| entrance.lose(&warn));
        entrance.tell(&warn);
        entrance.warned_at = None;
        entrance.tell(&warn);
        entrance.tell(&warn);
        let said: Vec<String> = said.try_iter().collect();
        let numbers: Vec<&str> = said
            .iter()
            .filter_map(|text| text.split(' ').next())
            .collect();
        assert_eq!(numbers, ["1", "999"]);
    }

    #[test]
    fn the_loss_of_commands_is_said_once_a_second_and_of_news_never() {
        use std::sync::atomic::AtomicU64;
        let said = Arc::new(AtomicU64::new(0));
        for (subject, expected) in [
            ("cmd.brain.propose.a", 1),
            ("ops.kill", 1),
            ("evt.execution.fill.a", 0),
        ] {
            let (queue, _lane) = mpsc::channel(1);
            let mut entrance = Entrance {
                row: PROPOSAL.row,
                subject: subject.into(),
                heard: subject.into(),
                queue,
                bytes: Arc::new(AtomicUsize::new(0)),
                lost: 0,
                warned_at: None,
            };
            said.store(0, Ordering::Relaxed);
            let count = Arc::clone(&said);
            let warn: Warn = Box::new(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            for _ in 0..1_000 {
                entrance.lose(&warn);
            }
            assert_eq!(said.load(Ordering::Relaxed), expected, "{subject}");
        }
    }
}
