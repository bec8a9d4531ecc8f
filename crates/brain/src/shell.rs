//! Verifies what comes, steps the core, sends what it says.

use std::time::{Duration, Instant};

use brain_core::{Brain as Core, Decided, Effects, Ignored, Input};
use portcullis_domain::Reason;
use portcullis_runtime::{
    BusError, ConfigError, CountNames, Counts, Fault, Inbox, Raw, Service, StartError, metrics,
    policy, tracing,
};
use portcullis_wire::messages::{Notice, Outcome, Proposal, ServiceStatus};
use portcullis_wire::principal::{Brain, Role};
use portcullis_wire::subjects::{
    BOOK, DECISION, EXECUTION_STATUS, HEARTBEAT, ORDER, PROPOSAL, REPORT, Row, VERDICT,
};
use portcullis_wire::{Received, Text, Verified};
use tokio::time::MissedTickBehavior;

use crate::config::{Arguments, Config};

/// One status a second.
const TICK: Duration = Duration::from_secs(1);
/// Heartbeats and accounts of execution that wait: eight come in a second.
const CONTROL_WAITING_MAX: usize = 128;
/// Books, reports and verdicts that wait. One that is lost makes this service know less, so it
/// passes less on.
const NEWS_WAITING_MAX: usize = 4_096;
/// Proposals that wait; they live two seconds.
const PROPOSALS_WAITING_MAX: usize = 2_048;

/// What its numbers are called.
const COUNTS: CountNames = CountNames {
    passed: "orders",
    passed_total: "portcullis_brain_orders_total",
    refusals_total: "portcullis_brain_refusals_total",
    events_total: "portcullis_brain_events_total",
};

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its settings are not usable.
    #[error("load settings")]
    Config(#[from] ConfigError),
    /// It could not start.
    #[error("start brain")]
    Start(#[from] StartError),
    /// It could not listen.
    #[error("listen on the bus")]
    Listen(#[source] BusError),
    /// It could not go on.
    #[error("run brain")]
    Run(#[from] Fault),
}

/// Everything that is listened to, most urgent first.
struct Inboxes {
    control: Inbox,
    news: Inbox,
    proposals: Inbox,
}

/// Runs the service until it is asked to end.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = Config::load(&arguments)?;
    // The state folder holds the boot number, and its lock keeps a second brain away.
    let (service, _state) = Service::start(&arguments.service).await?;
    let inboxes = Inboxes::listen(&service, &config)
        .await
        .map_err(Failure::Listen)?;
    let core = Core::new(config.settings(service.now()));
    service.notice(Notice::Started {
        version: Text::lossy(env!("CARGO_PKG_VERSION")),
        policy: Some(config.policy_hash),
        kill: None,
    });
    let mut shell = Shell {
        service,
        config,
        core,
        counts: Counts::new(COUNTS),
    };
    shell.serve(inboxes).await;
    shell.service.stop().await?;
    Ok(())
}

impl Inboxes {
    async fn listen(service: &Service<Brain>, config: &Config) -> Result<Self, BusError> {
        let control = [(HEARTBEAT.row, None), (EXECUTION_STATUS.row, None)];
        let mut news: Vec<(&'static Row, Option<&str>)> = Vec::new();
        for limits in &config.policy.instruments {
            news.push((BOOK.row, Some(limits.instrument.symbol.as_str())));
        }
        // Whoever can seal for the brain is heard, so that a strategy that the settings do not know is
        // told so.
        let links: Vec<_> = service.identity().ring.links().copied().collect();
        let sealing = links
            .iter()
            .filter_map(|link| link.source.as_str().strip_prefix(Role::Strategy.name()));
        let proposals: Vec<(&'static Row, Option<&str>)> =
            sealing.map(|id| (PROPOSAL.row, Some(id))).collect();
        for id in config.strategies.keys() {
            news.push((REPORT.row, Some(id.as_str())));
            news.push((VERDICT.row, Some(id.as_str())));
        }
        Ok(Self {
            control: service.listen(&control, CONTROL_WAITING_MAX).await?,
            news: service.listen(&news, NEWS_WAITING_MAX).await?,
            proposals: service.listen(&proposals, PROPOSALS_WAITING_MAX).await?,
        })
    }
}

struct Shell {
    service: Service<Brain>,
    config: Config,
    core: Core,
    counts: Counts,
}

impl Shell {
    async fn serve(&mut self, mut inboxes: Inboxes) {
        let mut shutdown = self.service.shutdown();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let arrived = tokio::select! {
                biased;
                _ = shutdown.wait() => return,
                raw = inboxes.control.recv() => raw.map(|raw| self.control(&raw)),
                _ = ticks.tick() => {
                    self.tick();
                    Some(())
                }
                raw = inboxes.news.recv() => raw.map(|raw| self.news(&raw)),
                raw = inboxes.proposals.recv() => raw.map(|raw| self.proposal(&raw)),
            };
            if arrived.is_none() {
                self.service.fail("the connection to the bus has ended");
                return;
            }
        }
    }

    /// Steps the core. A fault ends the service.
    fn step(&mut self, input: Input) -> Effects {
        let effects = self
            .core
            .step(self.service.now(), input)
            .unwrap_or_else(|fault| {
                self.service.fail(fault);
                Effects::default()
            });
        for notice in &effects.notices {
            self.service.notice(notice.clone());
        }
        effects
    }

    fn tick(&mut self) {
        self.step(Input::Tick);
        policy::show(self.core.agreement());
        let (ready, detail) = self.standing();
        self.service.set_ready(ready, &detail);
        self.service.status(&ServiceStatus {
            ready,
            detail: Text::lossy(&detail),
            kill: None,
            policy: Some(self.config.policy_hash),
            counts: self.counts.listed(),
        });
    }

    /// Whether it does its work, and what it is at.
    fn standing(&self) -> (bool, String) {
        if !self.service.has_room_for_facts() {
            let detail = "facts are not being recorded: nothing is decided";
            return (false, detail.to_owned());
        }
        let readiness = self.core.readiness(self.service.now());
        match (readiness, self.core.agreement().mismatch()) {
            (Ok(()), _) => (true, "deciding on proposals".to_owned()),
            (Err(Reason::PolicyMismatch | Reason::KillSwitch), Some(who_runs_what)) => {
                (false, who_runs_what)
            }
            // A halted system is one that works: the brain refuses, and says why.
            (Err(Reason::KillSwitch), None) => {
                (true, "kill switch: every proposal is refused".to_owned())
            }
            (Err(reason), _) => (false, reason.code().to_owned()),
        }
    }

    fn control(&mut self, raw: &Raw) {
        if raw.is(&HEARTBEAT) {
            if let Some(Received::Fresh(beat)) = self.service.open(&HEARTBEAT, raw) {
                self.step(Input::Heartbeat(beat));
            }
        } else if let Some(Received::Fresh(status)) = self.service.open(&EXECUTION_STATUS, raw) {
            self.step(Input::Status(status));
        }
    }

    fn news(&mut self, raw: &Raw) {
        if raw.is(&BOOK) {
            if let Some(Received::Fresh(book)) = self.service.open(&BOOK, raw) {
                self.step(Input::Book(book));
            }
        } else if raw.is(&REPORT) {
            if let Some(Received::Fresh(report)) = self.service.open(&REPORT, raw) {
                self.step(Input::Report(report));
            }
        } else if let Some(Received::Fresh(verdict)) = self.service.open(&VERDICT, raw) {
            self.step(Input::Verdict(verdict));
        }
    }

    fn proposal(&mut self, raw: &Raw) {
        match self.service.open(&PROPOSAL, raw) {
            Some(Received::Fresh(proposal)) => self.decide(proposal),
            Some(Received::Duplicate(_)) => self.counts.other("duplicates"),
            None => self.counts.other("unreadable"),
        }
    }

    fn decide(&mut self, proposal: Verified<Proposal>) {
        // What cannot be recorded is not done.
        if !self.service.has_room_for_facts() {
            self.counts.other("unrecorded");
            return;
        }
        let mut span = self
            .service
            .telemetry()
            .span("brain.decide", &proposal.header().traceparent);
        span.set("proposal", proposal.id().to_string());
        let began = Instant::now();
        let effects = self.step(Input::Proposal(proposal));
        metrics::histogram!("portcullis_brain_step_seconds").record(began.elapsed());
        match effects.ignored {
            Some(Ignored::Duplicate) => self.counts.other("duplicates"),
            Some(Ignored::Flood) => self.counts.other("flood"),
            Some(Ignored::UnknownStrategy) => self.counts.refused(Reason::UnknownStrategy),
            None => {}
        }
        let Some(Decided {
            proposal,
            strategy,
            decision,
            order,
        }) = effects.decided
        else {
            return;
        };
        span.set("order", decision.order.to_string());
        let traceparent = span.traceparent();
        let cause = Some(proposal.header());
        if let Some(order) = order {
            let sent = self
                .service
                .publish(&ORDER, None, &order, cause, Some(traceparent.clone()));
            if let Err(error) = sent {
                tracing::warn!(order = %order.id, %error, "order not sent");
                self.counts.other("unsent");
            }
        }
        if let Outcome::Refused(reason) = decision.outcome {
            span.set("outcome", reason.code());
            span.fail(reason.code());
        }
        self.counts.answered(decision.outcome);
        let recorded = self.service.fact(
            &DECISION,
            Some(strategy.as_str()),
            &decision,
            cause,
            Some(traceparent),
        );
        if let Err(error) = recorded {
            tracing::error!(order = %decision.order, %error, "decision not recorded");
            self.counts.other("unrecorded");
        }
    }
}
