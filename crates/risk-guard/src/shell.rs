//! Verifies what comes, steps the core, sends what it says.

use std::time::{Duration, Instant};

use portcullis_domain::{KillCause, KillState, Order, Reason};
use portcullis_runtime::telemetry::Span;
use portcullis_runtime::{
    BusError, ConfigError, CountNames, Counts, Fault, Inbox, Latch, Raw, Service, StartError,
    metrics, policy, tracing,
};
use portcullis_wire::messages::{Kill, Notice, Outcome, ServiceStatus};
use portcullis_wire::principal::RiskGuard;
use portcullis_wire::subjects::{
    BOOK, EXECUTION_STATUS, HEARTBEAT, KILL, ORDER, PERMIT, REPORT, Row, VERDICT,
};
use portcullis_wire::{Received, Text, Verified, command};
use risk_guard_core::{Effects, Input, Judgement, RiskGuard as Core};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::config::{Arguments, Config};

/// Execution's licence is one second old at most; three heartbeats may get lost.
const TICK: Duration = Duration::from_millis(250);
/// One status a second.
const TICKS_A_STATUS: u64 = 4;
/// Kill commands that wait: one is enough.
const KILLS_WAITING_MAX: usize = 64;
/// Accounts of execution that wait: four come in a second.
const ACCOUNTS_WAITING_MAX: usize = 64;
/// Books and reports that wait. One that is lost makes this service know less, so it denies more.
const NEWS_WAITING_MAX: usize = 4_096;
/// Orders that wait; they live two seconds.
const ORDERS_WAITING_MAX: usize = 2_048;

/// What its numbers are called.
const COUNTS: CountNames = CountNames {
    passed: "permits",
    passed_total: "portcullis_risk_guard_permits_total",
    refusals_total: "portcullis_risk_guard_refusals_total",
    events_total: "portcullis_risk_guard_events_total",
};

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its settings are not usable.
    #[error("load settings")]
    Config(#[from] ConfigError),
    /// It could not start.
    #[error("start risk-guard")]
    Start(#[from] StartError),
    /// It could not listen.
    #[error("listen on the bus")]
    Listen(#[source] BusError),
    /// It could not go on.
    #[error("run risk-guard")]
    Run(#[from] Fault),
}

/// Everything that is listened to, most urgent first.
struct Inboxes {
    kills: Inbox,
    accounts: Inbox,
    news: Inbox,
    orders: Inbox,
}

/// Runs the service until it is asked to end.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = Config::load(&arguments)?;
    let (service, state) = Service::start(&arguments.service).await?;
    let latch = Latch::open(&state);
    let inboxes = Inboxes::listen(&service, &config)
        .await
        .map_err(Failure::Listen)?;
    let core = Core::new(config.settings(latch.state(), service.now()));
    service.notice(Notice::Started {
        version: Text::lossy(env!("CARGO_PKG_VERSION")),
        policy: Some(config.policy_hash),
        kill: Some(latch.state()),
    });
    let mut shell = Shell {
        service,
        config,
        latch,
        core,
        counts: Counts::new(COUNTS),
        ticks: 0,
        latching: JoinSet::new(),
    };
    shell.serve(inboxes).await;
    // A kill that came just before the end is on disk before the process is gone.
    while shell.latching.join_next().await.is_some() {}
    shell.service.stop().await?;
    Ok(())
}

impl Inboxes {
    async fn listen(service: &Service<RiskGuard>, config: &Config) -> Result<Self, BusError> {
        let symbols = config
            .policy
            .instruments
            .iter()
            .map(|limits| limits.instrument.symbol);
        let books: Vec<_> = symbols.collect();
        let books = books.iter().map(|symbol| (BOOK.row, Some(symbol.as_str())));
        let reports = config
            .strategies
            .iter()
            .map(|id| (REPORT.row, Some(id.as_str())));
        let news: Vec<(&'static Row, Option<&str>)> = books.chain(reports).collect();
        Ok(Self {
            kills: service
                .listen(&[(KILL.row, None)], KILLS_WAITING_MAX)
                .await?,
            accounts: service
                .listen(&[(EXECUTION_STATUS.row, None)], ACCOUNTS_WAITING_MAX)
                .await?,
            news: service.listen(&news, NEWS_WAITING_MAX).await?,
            orders: service
                .listen(&[(ORDER.row, None)], ORDERS_WAITING_MAX)
                .await?,
        })
    }
}

struct Shell {
    service: Service<RiskGuard>,
    config: Config,
    latch: Latch,
    core: Core,
    counts: Counts,
    ticks: u64,
    // Writes of the latch that are under way.
    latching: JoinSet<()>,
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
                raw = inboxes.kills.recv() => raw.map(|raw| self.kill(&raw)),
                _ = ticks.tick() => {
                    self.tick();
                    Some(())
                }
                raw = inboxes.accounts.recv() => raw.map(|raw| self.account(&raw)),
                raw = inboxes.news.recv() => raw.map(|raw| self.news(&raw)),
                raw = inboxes.orders.recv() => raw.map(|raw| self.order(&raw)),
            };
            if arrived.is_none() {
                self.service.fail("the connection to the bus has ended");
                return;
            }
        }
    }

    /// Steps the core. A fault ends the service: a stopped guard permits nothing.
    fn step(&mut self, input: Input) -> Effects {
        let effects = self
            .core
            .step(self.service.now(), input)
            .unwrap_or_else(|fault| {
                self.service.fail(fault);
                Effects::default()
            });
        if let Some(heartbeat) = &effects.heartbeat
            && let Err(error) = self
                .service
                .publish(&HEARTBEAT, None, heartbeat, None, None)
        {
            tracing::debug!(%error, "heartbeat not sent");
        }
        for notice in &effects.notices {
            self.service.notice(notice.clone());
        }
        effects
    }

    fn tick(&mut self) {
        self.step(Input::Tick);
        while self.latching.try_join_next().is_some() {}
        if self.ticks.is_multiple_of(TICKS_A_STATUS) {
            self.publish_status();
        }
        self.ticks = self.ticks.wrapping_add(1);
    }

    fn publish_status(&self) {
        policy::show(self.core.agreement());
        let kill = self.core.kill();
        let (ready, detail) = if !self.service.has_room_for_facts() {
            (
                false,
                "facts are not being recorded: nothing is judged".to_owned(),
            )
        } else if let Err(reason) = self.core.readiness(self.service.now()) {
            let mismatch = self.core.agreement().mismatch();
            let who_runs_what = mismatch.filter(|_| reason == Reason::PolicyMismatch);
            (
                false,
                who_runs_what.unwrap_or_else(|| reason.code().to_owned()),
            )
        } else if kill.may_trade() {
            (true, "judging orders".to_owned())
        } else {
            (true, format!("kill switch {kill}: every order is refused"))
        };
        self.service.set_ready(ready, &detail);
        self.service.status(&ServiceStatus {
            ready,
            detail: Text::lossy(&detail),
            kill: Some(kill),
            policy: Some(self.config.policy_hash),
            counts: self.counts.listed(),
        });
    }

    fn account(&mut self, raw: &Raw) {
        if let Some(Received::Fresh(status)) = self.service.open(&EXECUTION_STATUS, raw) {
            self.step(Input::Status(status));
        }
    }

    fn news(&mut self, raw: &Raw) {
        if raw.is(&BOOK) {
            if let Some(Received::Fresh(book)) = self.service.open(&BOOK, raw) {
                self.step(Input::Book(book));
            }
        } else if let Some(Received::Fresh(report)) = self.service.open(&REPORT, raw) {
            self.step(Input::Report(report));
        }
    }

    fn order(&mut self, raw: &Raw) {
        match self.service.open(&ORDER, raw) {
            Some(Received::Fresh(order)) => self.judge(order),
            Some(Received::Duplicate(_)) => self.counts.other("duplicates"),
            None => self.counts.other("unreadable"),
        }
    }

    fn judge(&mut self, order: Verified<Order>) {
        // What cannot be recorded is not done.
        if !self.service.has_room_for_facts() {
            self.counts.other("unrecorded");
            return;
        }
        let mut span = self
            .service
            .telemetry()
            .span("risk-guard.judge", &order.header().traceparent);
        span.set("order", order.message().id.to_string());
        let began = Instant::now();
        let effects = self.step(Input::Order(order));
        metrics::histogram!("portcullis_risk_guard_step_seconds").record(began.elapsed());
        if let Some(reason) = effects.unanswered {
            mark_refused(&mut span, reason);
            self.counts.refused(reason);
        }
        let Some(Judgement {
            order,
            verdict,
            permit,
        }) = effects.judgement
        else {
            return;
        };
        let traceparent = span.traceparent();
        let cause = Some(order.header());
        if let Some(permit) = permit {
            let sent =
                self.service
                    .publish(&PERMIT, None, &permit, cause, Some(traceparent.clone()));
            if let Err(error) = sent {
                tracing::warn!(order = %verdict.order, %error, "permit not sent");
                self.counts.other("unsent");
            }
        }
        if let Outcome::Refused(reason) = verdict.outcome {
            mark_refused(&mut span, reason);
        }
        self.counts.answered(verdict.outcome);
        let strategy = order.message().strategy;
        let recorded = self.service.fact(
            &VERDICT,
            Some(strategy.as_str()),
            &verdict,
            cause,
            Some(traceparent),
        );
        if let Err(error) = recorded {
            tracing::error!(order = %verdict.order, %error, "verdict not recorded");
            self.counts.other("unrecorded");
        }
    }

    fn kill(&mut self, raw: &Raw) {
        // Again is as good as once: stopping is the safe direction.
        let Some(command) = self.service.open(&KILL, raw).map(Received::either) else {
            return;
        };
        let identity = self.service.identity();
        match command::verify(&command, identity.realm, &identity.trust.operator_keys()) {
            Ok(kill) => self.obey(&kill),
            Err(refusal) => {
                tracing::error!(sender = %command.source(), error = %refusal, "kill refused");
                self.counts.other("kills_refused");
                let detail = format!("kill command of {} refused: {refusal}", command.source());
                self.service.notice(Notice::Warning {
                    detail: Text::lossy(&detail),
                });
            }
        }
    }

    /// Nothing is permitted from the first line on; the disk and the record follow.
    fn obey(&mut self, kill: &Kill) {
        self.step(Input::Kill(KillState::Triggered));
        let detail = format!("{}: {}", kill.operator, kill.reason);
        tracing::warn!(operator = %kill.operator, reason = kill.reason.as_str(), "killed");
        self.counts.other("kills");
        let (latch, service) = (self.latch.clone(), self.service.clone());
        // The heartbeat must not wait for the disk: it is what tells the others.
        self.latching.spawn_blocking(move || {
            if let Err(error) = latch.trigger(KillCause::Operator, &detail) {
                tracing::error!(%error, "kill switch is triggered, but the disk does not keep it");
                let warning = format!("kill switch would be armed after a restart: {error}");
                service.notice(Notice::Warning {
                    detail: Text::lossy(&warning),
                });
            }
            service.notice(Notice::KillSwitch {
                state: KillState::Triggered,
                cause: KillCause::Operator,
                detail: Text::lossy(&detail),
            });
        });
    }
}

fn mark_refused(span: &mut Span, reason: Reason) {
    span.set("outcome", reason.code());
    span.fail(reason.code());
}
