//! The log of the bus server: the only witness of what the server denied.
//!
//! ```text
//!  nats.log ──▶ thread: follow, read lines ──▶ queue ──▶ shell ──▶ core: entries with their places
//! ```
//!
//! The file is the buffer: when the queue is full, the thread waits and the file keeps the rest. It is
//! only read, never written.

mod follow;
mod line;

use std::io;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use audit_core::{Alert, BusClient, BusPlace, BusSaid};
use portcullis_runtime::{metrics, tracing};
use tokio::sync::{mpsc, watch};

pub use line::Accounts;

use follow::{Follower, Look};

/// How often the file is looked at.
const PAUSE: Duration = Duration::from_millis(50);
/// So many lines wait for the shell.
const WAITING_MAX: usize = 1_024;
/// So long a log may be missing: the server may still start, or be between two files.
const PATIENCE: Duration = Duration::from_secs(5);

/// The log of the bus server, if there is one to follow.
#[derive(Debug)]
pub struct BusLog {
    lines: Option<mpsc::Receiver<(BusSaid, BusPlace)>>,
    problem: watch::Receiver<Option<String>>,
    thread: Option<JoinHandle<()>>,
}

/// The thread that follows the log has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread that follows the log of the bus server has ended")]
pub struct FollowerGone;

impl BusLog {
    /// Follows a log from behind `place`, or from its end when it never was followed; without a path
    /// there is nothing to follow.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        path: Option<PathBuf>,
        accounts: Accounts,
        place: Option<BusPlace>,
    ) -> io::Result<Self> {
        let (say, problem) = watch::channel(None);
        let Some(path) = path else {
            tracing::warn!(
                "no log of the bus server is followed: what the server denies is not recorded"
            );
            return Ok(Self {
                lines: None,
                problem,
                thread: None,
            });
        };
        let (send, lines) = mpsc::channel(WAITING_MAX);
        let watched = Watched {
            path: path.clone(),
            say,
            bad_since: None,
        };
        let follower = Follower::new(&path, accounts, place);
        let thread = thread::Builder::new()
            .name("bus-log".to_owned())
            .spawn(move || follow(follower, watched, &send))?;
        Ok(Self {
            lines: Some(lines),
            problem,
            thread: Some(thread),
        })
    }

    /// The next line; never, when there is nothing to follow.
    ///
    /// # Errors
    /// [`FollowerGone`].
    pub async fn recv(&mut self) -> Result<(BusSaid, BusPlace), FollowerGone> {
        match &mut self.lines {
            Some(lines) => lines.recv().await.ok_or(FollowerGone),
            None => std::future::pending().await,
        }
    }

    /// The next line, if it is there already.
    pub fn try_recv(&mut self) -> Option<(BusSaid, BusPlace)> {
        self.lines.as_mut()?.try_recv().ok()
    }

    /// Why the log has not been readable for a while.
    pub fn problem(&self) -> Option<String> {
        self.problem.borrow().clone()
    }
}

impl Drop for BusLog {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only panics together with the process.
            let _ = thread.join();
        }
    }
}

/// Tells the operator what the core recorded.
pub fn alert(alert: &Alert) {
    match alert {
        Alert::BusDenied {
            who,
            what,
            subject,
            from,
        } => {
            let what = what.name();
            match who {
                BusClient::Principal { name, .. } => {
                    tracing::warn!(%name, what, %subject, %from, "the bus server denied a principal");
                }
                BusClient::Claimed { nkey } => {
                    tracing::warn!(%nkey, what, %subject, %from, "the bus server denied who named a key");
                }
                BusClient::Stranger => {
                    tracing::warn!(what, %subject, %from, "the bus server denied a stranger");
                }
            }
        }
        Alert::BusSuppressed { count } => {
            tracing::warn!(
                count,
                "denials of the bus server recorded by their number only"
            );
        }
        Alert::BusServer { event } => tracing::info!(?event, "the bus server says"),
        Alert::BusLogLost => {
            tracing::error!("lines of the bus server's log are gone; the log says where");
        }
        Alert::Gap { .. }
        | Alert::Silence { .. }
        | Alert::Late { .. }
        | Alert::Violation { .. }
        | Alert::Suppressed { .. } => {}
    }
}

fn follow(mut follower: Follower, mut watched: Watched, send: &mpsc::Sender<(BusSaid, BusPlace)>) {
    let mut said = Vec::new();
    while !send.is_closed() {
        let look = follower.look(&mut said);
        watched.note(&look);
        for line in said.drain(..) {
            if let BusSaid::Denied { what, .. } = &line.0 {
                metrics::counter!("portcullis_bus_denied_total", "what" => what.name())
                    .increment(1);
            }
            if send.blocking_send(line).is_err() {
                return;
            }
        }
        if !matches!(look, Ok(Look::More)) {
            thread::park_timeout(PAUSE);
        }
    }
}

/// Says when the log cannot be read, and when it can again.
struct Watched {
    path: PathBuf,
    say: watch::Sender<Option<String>>,
    bad_since: Option<Instant>,
}

impl Watched {
    fn note(&mut self, look: &io::Result<Look>) {
        let path = self.path.display();
        let problem = match look {
            Ok(Look::More | Look::UpToDate) => None,
            Ok(Look::Missing) => Some(format!("there is no log of the bus server at {path}")),
            Ok(Look::Foreign) => Some(format!("{path} is not a log of the bus server")),
            Err(cause) => Some(format!(
                "cannot read the log of the bus server, {path}: {cause}"
            )),
        };
        let Some(problem) = problem else {
            self.bad_since = None;
            if self.say.send_replace(None).is_some() {
                tracing::info!(path = %self.path.display(), "the log of the bus server is followed again");
            }
            metrics::gauge!("portcullis_bus_log_followed").set(1.0);
            return;
        };
        let since = *self.bad_since.get_or_insert_with(Instant::now);
        if since.elapsed() < PATIENCE || self.say.borrow().as_ref() == Some(&problem) {
            return;
        }
        tracing::warn!(
            %problem,
            next_step = "name the file that nats-server logs to, and let audit read it",
            "what the bus server denies is not recorded until its log can be read"
        );
        metrics::gauge!("portcullis_bus_log_followed").set(0.0);
        self.say.send_replace(Some(problem));
    }
}
