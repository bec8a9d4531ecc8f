//! The one thread that owns the state: takes work from a queue, syncs the journal once for all
//! that waited together, then answers and publishes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::engine::protection::Watch;
use crate::engine::{Effects, Engine, Event, Notice};
use crate::faults::Faults;
use crate::journal::{Journal, JournalError};
use crate::ws::hub::Hub;

/// Work that may wait; callers wait for a place.
const QUEUE_MAX: usize = 4_096;

/// Work that one sync covers.
const BATCH_MAX: usize = 512;

/// How often streams with a push interval are looked after.
const TICK: Duration = Duration::from_millis(10);

/// Everything the thread owns, lent to each piece of work.
pub(crate) struct State {
    pub engine: Engine,
    pub hub: Hub,
    pub clock: Arc<Clock>,
    pub faults: SharedFaults,
    pub effects: Effects,
    pub watch: Watch,
    /// Fills found in the journal at start, for the log.
    pub requests: CreateCounts,
}

/// How often each client order id was asked to be created, refused or not.
#[derive(Debug, Default)]
pub(crate) struct CreateCounts {
    counts: std::collections::BTreeMap<String, Creates>,
}

/// The requests to create one order.
#[derive(Debug)]
pub(crate) struct Creates {
    pub count: u64,
    /// When the first one was read, in microseconds since the Unix epoch.
    pub first_at_us: u64,
}

/// Most client order ids that are counted.
const COUNTED_MAX: usize = 2_000_000;

impl CreateCounts {
    pub(crate) fn note(&mut self, link_id: &str, arrived_at_us: u64) {
        if let Some(creates) = self.counts.get_mut(link_id) {
            creates.count = creates.count.saturating_add(1);
        } else if self.counts.len() < COUNTED_MAX {
            let first = Creates {
                count: 1,
                first_at_us: arrived_at_us,
            };
            self.counts.insert(link_id.to_owned(), first);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Creates)> {
        self.counts.iter()
    }
}

/// The table of faults, shared with the HTTP side.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedFaults(Arc<Mutex<Faults>>);

impl SharedFaults {
    /// Runs `work` with the table. A panic elsewhere cannot leave half a change in it.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Faults) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The thread has stopped; whether the work was done is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the exchange has stopped")]
pub(crate) struct Stopped;

/// What remains to be done with an answer once the journal is synced.
type Completion = Box<dyn FnOnce() + Send>;
type Work = Box<dyn FnOnce(&mut State) -> Completion + Send>;

/// A handle to the thread.
#[derive(Clone)]
pub(crate) struct Exchange {
    work: mpsc::Sender<Work>,
}

impl Exchange {
    /// Runs `work` on the exchange's thread; its answer comes after the sync that covers it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        let boxed: Work = Box::new(move |state| {
            let value = work(state);
            // A caller that has gone away needs no answer.
            Box::new(move || drop(answer.send(value)))
        });
        self.work.send(boxed).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Hands over work without waiting for its answer; `false` when the thread is gone or busy.
    pub(crate) fn tell(&self, work: impl FnOnce(&mut State) + Send + 'static) -> bool {
        let boxed: Work = Box::new(move |state| {
            work(state);
            Box::new(|| ())
        });
        self.work.try_send(boxed).is_ok()
    }
}

/// Starts the thread. The receiver gives its end: an error when the journal failed.
pub(crate) fn start(
    state: State,
    journal: Option<Journal>,
) -> std::io::Result<(Exchange, oneshot::Receiver<Result<(), JournalError>>)> {
    let (work, queue) = mpsc::channel(QUEUE_MAX);
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name("exchange".to_owned())
        .spawn(move || {
            let result = runtime.block_on(serve(state, journal, queue));
            // Nobody listens any more when the process is ending anyway.
            let _ = end.send(result);
        })?;
    Ok((Exchange { work }, ended))
}

async fn serve(
    mut state: State,
    mut journal: Option<Journal>,
    mut queue: mpsc::Receiver<Work>,
) -> Result<(), JournalError> {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            work = queue.recv() => {
                let Some(work) = work else { break };
                batch(&mut state, journal.as_mut(), work, &mut queue)?;
            }
            _ = tick.tick() => {
                strike(&mut state);
                settle(&mut state, journal.as_mut(), Vec::new())?;
            }
        }
        state
            .hub
            .tick(&state.engine, state.clock.now_ms(), &state.faults);
    }
    Ok(())
}

/// Does one piece of work and whatever else waits, commits, answers, publishes.
fn batch(
    state: &mut State,
    journal: Option<&mut Journal>,
    first: Work,
    queue: &mut mpsc::Receiver<Work>,
) -> Result<(), JournalError> {
    let mut completions = vec![first(state)];
    while completions.len() < BATCH_MAX {
        let Ok(work) = queue.try_recv() else { break };
        completions.push(work(state));
    }
    settle(state, journal, completions)
}

/// Cancels what belongs to accounts whose last watching socket has been gone for too long.
fn strike(state: &mut State) {
    let State {
        engine,
        hub,
        clock,
        effects,
        watch,
        ..
    } = state;
    for account in watch.look(engine, |account| hub.watches(account), Instant::now()) {
        let cancelled = engine.cancel_unwatched(clock.now_ms(), &account, effects);
        tracing::info!(
            account,
            cancelled,
            "the account is gone: its orders are cancelled"
        );
    }
}

/// Commits what was done, then answers and publishes.
fn settle(
    state: &mut State,
    journal: Option<&mut Journal>,
    completions: Vec<Completion>,
) -> Result<(), JournalError> {
    let effects = std::mem::take(&mut state.effects);
    commit(journal, &effects.events)?;
    for completion in completions {
        completion();
    }
    publish(state, &effects.notices);
    Ok(())
}

fn commit(journal: Option<&mut Journal>, events: &[Event]) -> Result<(), JournalError> {
    match journal {
        Some(journal) if !events.is_empty() => journal.commit(events),
        Some(_) | None => Ok(()),
    }
}

fn publish(state: &mut State, notices: &[Notice]) {
    let now = state.clock.now_ms();
    state
        .hub
        .publish(&state.engine, now, notices, &state.faults);
}
