//! Keeps the processes of a local stack running, and stops them in order.
//!
//! Everything waits in [`Supervisor::turn`], so that a signal, a crash and a fact from the bus are
//! noticed whatever else is going on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use portcullis_domain::Span;
use portcullis_runtime::Raw;
use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

use super::probe;
use super::process::{Exit, Process, Ready, Spec};
use super::progress::Step;
use super::restart::{Action, Failures};
use crate::exit::{End, Failure};
use crate::feed::{Watcher, now};
use crate::folder::{Folder, Ports};
use crate::output::Output;
use crate::view::Processes;

/// How often a process that is not ready is asked again.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long a process may take until it does its work.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// How long a killed process may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How long an order that does not rest may still be under way after the last proposal.
const SETTLED_AFTER: Span = Span::from_millis(300);
/// How long execution's word is waited for before it is stopped.
const SETTLE_PATIENCE: Duration = Duration::from_millis(1_500);

/// What one turn brought.
#[derive(Debug)]
pub enum Turn {
    /// The time is up.
    Quiet,
    /// Something changed.
    Changed,
    /// Ctrl-C, or SIGTERM.
    Stop,
    /// It cannot go on.
    Fatal(Failure),
}

/// Why a wait ended early.
#[derive(Debug)]
pub enum Interrupted {
    /// Ctrl-C, or SIGTERM.
    Stop,
    /// It cannot go on.
    Fatal(Failure),
}

impl From<Failure> for Interrupted {
    fn from(failure: Failure) -> Self {
        Self::Fatal(failure)
    }
}

/// One process, running or not.
struct Slot {
    spec: Spec,
    process: Option<Process>,
    failures: Failures,
    was_ready: bool,
    restart_at: Option<Instant>,
    /// It is meant to end, or did what it was for.
    over: bool,
}

/// The processes of a stack.
pub struct Supervisor<'a> {
    /// What is seen on the bus, once it is there.
    pub watcher: Option<Watcher>,
    /// The ports.
    pub ports: Ports,
    output: &'a Output,
    folder: Folder,
    slots: BTreeMap<&'static str, Slot>,
    exits: mpsc::Receiver<Exit>,
    exits_to: mpsc::Sender<Exit>,
    interrupt: unix::Signal,
    terminate: unix::Signal,
    stopping: bool,
    restart_wait_max: Option<Duration>,
}

impl<'a> Supervisor<'a> {
    /// With no processes yet. From here on Ctrl-C and SIGTERM are noticed and no longer end this
    /// process.
    ///
    /// # Errors
    /// When the signals cannot be listened for.
    pub fn new(output: &'a Output, folder: Folder, ports: Ports) -> std::io::Result<Self> {
        let (exits_to, exits) = mpsc::channel(64);
        Ok(Self {
            watcher: None,
            ports,
            output,
            folder,
            slots: BTreeMap::new(),
            exits,
            exits_to,
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            stopping: false,
            restart_wait_max: None,
        })
    }

    /// From here on no process that ended waits longer than this until it is started again.
    pub const fn restart_within(&mut self, wait_max: Duration) {
        self.restart_wait_max = Some(wait_max);
    }

    /// Starts a process.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub fn start(&mut self, spec: Spec) -> Result<(), Failure> {
        let process = self.launch(&spec)?;
        let slot = Slot {
            spec,
            process: Some(process),
            failures: self
                .restart_wait_max
                .map_or_else(Failures::default, Failures::waiting_at_most),
            was_ready: false,
            restart_at: None,
            over: false,
        };
        self.slots.insert(slot.spec.name, slot);
        Ok(())
    }

    /// Waits until a process does its work.
    ///
    /// # Errors
    /// [`Interrupted`] when somebody wants to stop, or it does not come up.
    pub async fn ready(&mut self, name: &'static str, step: &Step<'_>) -> Result<(), Interrupted> {
        let deadline = Instant::now() + READY_PATIENCE;
        let mut last = String::new();
        loop {
            match self.ask(name).await {
                Ok(port) => {
                    if let Some(slot) = self.slots.get_mut(name) {
                        slot.was_ready = true;
                    }
                    if let Some(port) = port {
                        self.ports.health.insert(name.to_owned(), port);
                    }
                    return Ok(());
                }
                Err(why) => {
                    if why != last {
                        step.pending(&why);
                        last = why;
                    }
                }
            }
            if Instant::now() >= deadline {
                let patience = READY_PATIENCE.as_secs();
                let problem = format!("{name} is not ready after {patience} s: {last}");
                let log = self.folder.log_file(name);
                let next_step = format!("read its log: {}", log.display());
                return Err(Failure::new(End::Failed, problem, next_step).into());
            }
            self.pause(ASK_EVERY).await?;
        }
    }

    /// Lets so much time pass; everything else goes on.
    ///
    /// # Errors
    /// [`Interrupted`] when somebody wants to stop, or it cannot go on.
    pub async fn pause(&mut self, time: Duration) -> Result<(), Interrupted> {
        let until = Instant::now() + time;
        loop {
            match self.turn(until).await {
                Turn::Quiet => return Ok(()),
                Turn::Changed => {}
                Turn::Stop => return Err(Interrupted::Stop),
                Turn::Fatal(failure) => return Err(Interrupted::Fatal(failure)),
            }
        }
    }

    /// Waits for whatever comes first, at the latest until a moment.
    pub async fn turn(&mut self, until: Instant) -> Turn {
        let restart = self.slots.values().filter_map(|slot| slot.restart_at).min();
        let wake = restart.map_or(until, |restart| restart.min(until));
        tokio::select! {
            _ = self.interrupt.recv() => Turn::Stop,
            _ = self.terminate.recv() => Turn::Stop,
            Some(exit) = self.exits.recv() => self.ended(&exit),
            Some(raw) = next(self.watcher.as_mut()) => {
                if let Some(watcher) = &mut self.watcher {
                    watcher.apply(&raw);
                }
                Turn::Changed
            }
            () = tokio::time::sleep_until(wake.into()) => {
                match self.restart_due() {
                    Err(failure) => Turn::Fatal(failure),
                    Ok(()) if Instant::now() >= until => Turn::Quiet,
                    Ok(()) => Turn::Changed,
                }
            }
        }
    }

    /// The folder that everything lives in.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// How every process is.
    #[must_use]
    pub fn processes(&self) -> Processes {
        let state = |slot: &Slot| match (&slot.process, slot.over) {
            (Some(_), _) => "up",
            (None, true) => "ended",
            (None, false) => "restarting",
        };
        self.slots
            .iter()
            .map(|(name, slot)| ((*name).to_owned(), state(slot).to_owned()))
            .collect()
    }

    /// Whether a process runs.
    #[must_use]
    pub fn runs(&self, name: &str) -> bool {
        self.slots
            .get(name)
            .is_some_and(|slot| slot.process.is_some())
    }

    /// Waits until execution has said how it stands some time after now, so that what was under way
    /// is settled; not for long, and not after another Ctrl-C.
    pub async fn settle(&mut self) {
        let wanted = now().plus(SETTLED_AFTER);
        let deadline = Instant::now() + SETTLE_PATIENCE;
        loop {
            let execution = self
                .watcher
                .as_ref()
                .and_then(|watcher| watcher.view.execution.as_ref());
            if execution.is_some_and(|(at, _)| *at >= wanted) {
                return;
            }
            match self.turn(deadline).await {
                Turn::Changed => {}
                Turn::Quiet | Turn::Stop | Turn::Fatal(_) => return,
            }
        }
    }

    /// Stops a process in order and waits until it is gone; one that does not go is killed. Gives
    /// back whether it went by itself. A second Ctrl-C shortens the wait.
    pub async fn stop(&mut self, name: &'static str) -> bool {
        self.stopping = true;
        let Some(slot) = self.slots.get_mut(name) else {
            return true;
        };
        (slot.over, slot.restart_at) = (true, None);
        let grace = slot.spec.grace;
        for (signal, patience) in [(Signal::TERM, grace), (Signal::KILL, KILL_PATIENCE)] {
            match self.slots.get(name).and_then(|slot| slot.process.as_ref()) {
                Some(process) => process.signal(signal),
                None => return signal == Signal::TERM,
            }
            let deadline = Instant::now() + patience;
            while self.runs(name) {
                match self.turn(deadline).await {
                    Turn::Changed => {}
                    Turn::Quiet | Turn::Stop => break,
                    Turn::Fatal(_) => {}
                }
            }
            if !self.runs(name) {
                return signal == Signal::TERM;
            }
        }
        false
    }

    /// Whether the process of that name answers, and the port of its health server if it has one.
    async fn ask(&self, name: &str) -> Result<Option<u16>, String> {
        let Some(slot) = self.slots.get(name) else {
            return Err("not started".to_owned());
        };
        if slot.process.is_none() {
            return Err("restarting".to_owned());
        }
        let (port, path) = match &slot.spec.ready {
            Ready::Running => return Ok(None),
            Ready::Http(port, path) => (*port, *path),
            Ready::PortFile(file) => match probe::port_in(file) {
                Some(port) => (port, "/readyz"),
                None => return Err("starting".to_owned()),
            },
        };
        match probe::ask(port, path).await {
            Ok(answer) if answer.is_good() => Ok(Some(port)),
            Ok(answer) if answer.body.is_empty() => Err(format!("answers {}", answer.status)),
            Ok(answer) => Err(answer.body),
            Err(_) => Err("starting".to_owned()),
        }
    }

    fn launch(&self, spec: &Spec) -> Result<Process, Failure> {
        Process::start(spec, &self.folder, self.exits_to.clone()).map_err(|cause| {
            let action = format!("start {}", spec.name);
            let next_step = "build everything and try again: ./scripts/up";
            Failure {
                end: End::Failed,
                problem: cause.context(action),
                next_step: next_step.into(),
            }
        })
    }

    fn ended(&mut self, exit: &Exit) -> Turn {
        let Some(slot) = self.slots.get_mut(exit.name) else {
            return Turn::Changed;
        };
        let Some(process) = slot.process.take() else {
            return Turn::Changed;
        };
        if slot.over || self.stopping {
            return Turn::Changed;
        }
        let ran_for = process.since.elapsed();
        let may_finish = slot.spec.may_finish;
        match slot
            .failures
            .ended(exit.ended, ran_for, slot.was_ready, may_finish)
        {
            Action::Finished => {
                slot.over = true;
                self.say(&format!("{} has done what it was for", exit.name));
                Turn::Changed
            }
            Action::Restart(wait) => {
                slot.restart_at = Some(Instant::now() + wait);
                let wait = wait.as_millis();
                self.say(&format!(
                    "{} ended ({}); again in {wait} ms",
                    exit.name, exit.ended
                ));
                Turn::Changed
            }
            Action::StopAll => {
                slot.over = true;
                let words = process.last_words();
                let said = if words.is_empty() {
                    " without a word".to_owned()
                } else {
                    format!(":\n  {}", words.join("\n  "))
                };
                let problem = format!("{} ended ({}){said}", exit.name, exit.ended);
                let log = process.log().display().to_string();
                let next_step = format!("mend what it says above, or read its whole log: {log}");
                Turn::Fatal(Failure::new(End::Failed, problem, next_step))
            }
        }
    }

    fn restart_due(&mut self) -> Result<(), Failure> {
        let present = Instant::now();
        let due = |slot: &&Slot| slot.restart_at.is_some_and(|at| at <= present);
        let specs: Vec<_> = self
            .slots
            .values()
            .filter(due)
            .map(|slot| slot.spec.clone())
            .collect();
        for spec in specs {
            let process = self.launch(&spec)?;
            if let Some(slot) = self.slots.get_mut(spec.name) {
                (slot.process, slot.restart_at) = (Some(process), None);
            }
        }
        Ok(())
    }

    /// Something a person should know, among the facts where they are shown.
    fn say(&mut self, text: &str) {
        match &mut self.watcher {
            Some(watcher) if self.output.is_terminal() => {
                watcher
                    .view
                    .happened(now(), "supervisor", true, text.to_owned());
            }
            Some(_) | None => self.output.talk(&format!("  {text}")),
        }
        let value = serde_json::json!({ "event": "process", "text": text });
        self.output.object(super::progress::SCHEMA, value);
    }
}

async fn next(watcher: Option<&mut Watcher>) -> Option<Raw> {
    match watcher {
        Some(watcher) => match watcher.next().await {
            Some(raw) => Some(raw),
            // The bus is gone for good: nothing more will come.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
