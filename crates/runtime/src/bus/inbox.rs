//! What arrives on several subjects, in one bounded queue.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{SelectAll, select_all};
use portcullis_domain::Timestamp;
use portcullis_wire::subjects::{Row, Subject};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Bus, BusError};
use crate::Clock;

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

/// Receives from several subjects. The order is kept within a subject. Dropping it ends the
/// subscriptions.
#[derive(Debug)]
pub struct Inbox {
    queue: mpsc::Receiver<Raw>,
    sorter: JoinHandle<()>,
}

impl Inbox {
    /// The next message; `None` when the connection has ended for good.
    pub async fn recv(&mut self) -> Option<Raw> {
        self.queue.recv().await
    }

    /// The next message if one is waiting.
    pub fn try_recv(&mut self) -> Option<Raw> {
        self.queue.try_recv().ok()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.sorter.abort();
    }
}

type Line = (&'static Row, async_nats::Message);

pub(crate) async fn listen(
    bus: &Bus,
    clock: Clock,
    subjects: &[(&'static Row, Option<&str>)],
    capacity: usize,
) -> Result<Inbox, BusError> {
    let mut streams = Vec::with_capacity(subjects.len());
    for (row, name) in subjects {
        let row: &'static Row = row;
        let subject = row.concrete(*name).ok_or(BusError::Name(row.pattern))?;
        let subscriber = bus.subscribe(subject).await?;
        streams.push(subscriber.map(move |message| (row, message)).boxed());
    }
    bus.confirm().await?;
    let (sender, queue) = mpsc::channel(capacity.max(1));
    let sorter = tokio::spawn(sort(select_all(streams), clock, sender));
    Ok(Inbox { queue, sorter })
}

/// Moves messages into the queue as they come, so that a slow reader loses the newest ones here,
/// counted one by one, and not somewhere in the client library.
async fn sort<S>(mut streams: SelectAll<S>, clock: Clock, queue: mpsc::Sender<Raw>)
where
    S: futures_util::Stream<Item = Line> + Unpin,
{
    while let Some((row, message)) = streams.next().await {
        let raw = Raw {
            row,
            subject: message.subject.to_string(),
            bytes: message.payload,
            received_at: clock.now(),
        };
        match queue.try_send(raw) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                metrics::counter!("portcullis_bus_dropped_total", "subject" => row.pattern)
                    .increment(1);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}
