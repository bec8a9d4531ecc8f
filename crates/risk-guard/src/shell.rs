//! Verifies what comes, steps the core, sends what it says.

use std::time::{Duration, Instant};

use portcullis_domain::{KillCause, KillState, Order, PrincipalName, Reason};
use portcullis_runtime::telemetry::Span;
use portcullis_runtime::{
    BusError, ConfigError, CountNames, Counts, Fault, Inbox, JournalError, Latch, Raw, Service,
    StartError, metrics, policy, tracing,
};
use portcullis_wire::command::CommandRefusal;
use portcullis_wire::messages::{Notice, Outcome, ServiceStatus};
use portcullis_wire::principal::RiskGuard;
use portcullis_wire::subjects::{
    BOOK, CLOSES, EXECUTION_STATUS, HEARTBEAT, KILL, ORDER, PERMIT, REPORT, RISK_COMMAND,
    RISK_STATUS, Row, TRADE, VERDICT,
};
use portcullis_wire::{Received, Text, Verified, command};
use risk_guard_core::{Effects, Input, Judgement, RiskGuard as Core};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::config::{Arguments, Config};
use crate::history::{History, HistoryError};

/// Execution's licence is one second old at most; three heartbeats may get lost.
const TICK: Duration = Duration::from_millis(250);
/// One status a second.
const TICKS_A_STATUS: u64 = 4;
/// Kill commands that wait: one is enough.
const KILLS_WAITING_MAX: usize = 64;
/// Operators' other commands that wait.
const COMMANDS_WAITING_MAX: usize = 64;
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
    /// What was halted and opened before cannot be known.
    #[error("read what was halted and opened before")]
    History(#[from] HistoryError),
    /// The start was cut short.
    #[error("start risk-guard")]
    Interrupted(#[source] tokio::task::JoinError),
    /// The core cannot trust its own state.
    #[error("start risk-guard")]
    Fault(#[source] risk_guard_core::Fault),
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
    commands: Inbox,
    accounts: Inbox,
    news: Inbox,
    orders: Inbox,
}

/// Runs the service until it is asked to end.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = Config::load(&arguments)?;
    let (service, state) = Service::start(&arguments.service).await?;
    let latch = Latch::open(&state);
    let now = service.now();
    let clock = *service.clock();
    let opened = tokio::task::spawn_blocking({
        let (state, latch, settings) = (
            state.clone(),
            latch.clone(),
            config.settings(latch.state(), now),
        );
        move || {
            let mut core = Core::new(settings);
            let history = History::open(&state, &latch, clock, now, &mut core)?;
            Ok::<_, HistoryError>((history, core))
        }
    });
    let (history, mut core) = opened.await.map_err(Failure::Interrupted)??;
    // A journal that is gone has pulled the switch.
    if !latch.state().may_trade() && core.kill().may_trade() {
        let killed = core.step(now, Input::Kill(latch.state()));
        killed.map_err(Failure::Fault)?;
    }
    let inboxes = Inboxes::listen(&service, &config)
        .await
        .map_err(Failure::Listen)?;
    service.notice(Notice::Started {
        version: Text::lossy(env!("CARGO_PKG_VERSION")),
        policy: Some(config.policy_hash),
        kill: Some(latch.state()),
    });
    let mut shell = Shell {
        service,
        config,
        latch,
        history,
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
        let symbols: Vec<_> = symbols.collect();
        let markets = symbols.iter().flat_map(|symbol| {
            let rows = [BOOK.row, TRADE.row, CLOSES.row];
            rows.map(|row| (row, Some(symbol.as_str())))
        });
        let reports = config
            .strategies
            .iter()
            .map(|id| (REPORT.row, Some(id.as_str())));
        let news: Vec<(&'static Row, Option<&str>)> = markets.chain(reports).collect();
        Ok(Self {
            kills: service
                .listen(&[(KILL.row, None)], KILLS_WAITING_MAX)
                .await?,
            commands: service
                .listen(&[(RISK_COMMAND.row, None)], COMMANDS_WAITING_MAX)
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
    history: History,
    core: Core,
    counts: Counts,
    ticks: u64,
    // Writes of the latch that are under way.
    latching: JoinSet<()>,
}

/// Something to do.
enum Work {
    Kill(Raw),
    Command(Raw),
    Tick,
    Account(Raw),
    News(Raw),
    Order(Raw),
}

impl Shell {
    async fn serve(&mut self, mut inboxes: Inboxes) {
        let mut shutdown = self.service.shutdown();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let work = tokio::select! {
                biased;
                _ = shutdown.wait() => return,
                raw = inboxes.kills.recv() => raw.map(Work::Kill),
                _ = ticks.tick() => Some(Work::Tick),
                raw = inboxes.commands.recv() => raw.map(Work::Command),
                raw = inboxes.accounts.recv() => raw.map(Work::Account),
                raw = inboxes.news.recv() => raw.map(Work::News),
                raw = inboxes.orders.recv() => raw.map(Work::Order),
            };
            match work {
                Some(Work::Kill(raw)) => self.kill(&raw).await,
                Some(Work::Command(raw)) => self.command(&raw).await,
                Some(Work::Tick) => self.tick().await,
                Some(Work::Account(raw)) => self.account(&raw).await,
                Some(Work::News(raw)) => self.news(&raw).await,
                Some(Work::Order(raw)) => self.order(&raw).await,
                None => {
                    self.service.fail("the connection to the bus has ended");
                    return;
                }
            }
        }
    }

    /// Steps the core, writes down what it says and tells it. A fault ends the service: a stopped
    /// guard permits nothing.
    async fn step(&mut self, input: Input) -> Effects {
        let mut effects = self
            .core
            .step(self.service.now(), input)
            .unwrap_or_else(|fault| {
                self.service.fail(fault);
                Effects::default()
            });
        if let Err(error) = self.keep(&effects).await {
            // Nothing is permitted that could be forgotten.
            self.service.fail(error);
            return Effects::default();
        }
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
        if let Some((cause, detail)) = effects.kill.take() {
            self.pull(cause, detail);
        }
        effects
    }

    /// What only makes the guard stricter need not wait for the disk: a crash forgets it together
    /// with what came of it. What lets more through, or is told to a person as done, waits.
    async fn keep(&self, effects: &Effects) -> Result<(), JournalError> {
        if effects.records.is_empty() {
            return Ok(());
        }
        let durable = self.history.append(&effects.records)?;
        if effects.is_sync {
            durable.await?;
        }
        Ok(())
    }

    async fn tick(&mut self) {
        self.step(Input::Tick).await;
        while self.latching.try_join_next().is_some() {}
        if self.ticks.is_multiple_of(TICKS_A_STATUS) {
            self.publish_status();
            self.publish_risk();
        }
        self.ticks = self.ticks.wrapping_add(1);
    }

    fn publish_risk(&mut self) {
        let status = self.core.risk_status(self.service.now());
        let open = u32::try_from(self.core.breakers_open()).unwrap_or(u32::MAX);
        metrics::gauge!("portcullis_risk_guard_breakers_open").set(open);
        metrics::gauge!("portcullis_risk_guard_posture").set(self.core.posture() as u8);
        if let Err(error) = self
            .service
            .publish(&RISK_STATUS, None, &status, None, None)
        {
            tracing::debug!(%error, "risk status not sent");
        }
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

    async fn account(&mut self, raw: &Raw) {
        if let Some(Received::Fresh(status)) = self.service.open(&EXECUTION_STATUS, raw) {
            self.step(Input::Status(status)).await;
        }
    }

    async fn news(&mut self, raw: &Raw) {
        let input = if raw.is(&BOOK) {
            fresh(self.service.open(&BOOK, raw)).map(Input::Book)
        } else if raw.is(&TRADE) {
            fresh(self.service.open(&TRADE, raw)).map(Input::Trade)
        } else if raw.is(&CLOSES) {
            fresh(self.service.open(&CLOSES, raw)).map(Input::Closes)
        } else {
            fresh(self.service.open(&REPORT, raw)).map(Input::Report)
        };
        if let Some(input) = input {
            self.step(input).await;
        }
    }

    async fn order(&mut self, raw: &Raw) {
        match self.service.open(&ORDER, raw) {
            Some(Received::Fresh(order)) => self.judge(order).await,
            Some(Received::Duplicate(_)) => self.counts.other("duplicates"),
            None => self.counts.other("unreadable"),
        }
    }

    async fn judge(&mut self, order: Verified<Order>) {
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
        let effects = self.step(Input::Order(order)).await;
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

    async fn kill(&mut self, raw: &Raw) {
        // Again is as good as once: stopping is the safe direction.
        let Some(command) = self.service.open(&KILL, raw).map(Received::either) else {
            return;
        };
        let identity = self.service.identity();
        match command::verify(&command, identity.realm, &identity.trust.operator_keys()) {
            Ok(kill) => {
                self.counts.other("kills");
                let detail = format!("{}: {}", kill.operator, kill.reason);
                self.step(Input::Kill(KillState::Triggered)).await;
                self.latch(KillCause::Operator, Text::lossy(&detail));
            }
            Err(refusal) => {
                self.counts.other("kills_refused");
                self.refuse_command("kill command", &command.source(), &refusal);
            }
        }
    }

    async fn command(&mut self, raw: &Raw) {
        let Some(Received::Fresh(command)) = self.service.open(&RISK_COMMAND, raw) else {
            return;
        };
        // What cannot be recorded is not done.
        if !self.service.has_room_for_facts() {
            self.counts.other("unrecorded");
            return;
        }
        let identity = self.service.identity();
        let keys = identity.trust.operator_keys();
        match command::authorise(&command, identity.realm, &keys) {
            Ok(authorised) => {
                self.counts.other("commands");
                self.step(Input::Command(authorised)).await;
            }
            Err(refusal) => {
                self.counts.other("commands_refused");
                self.refuse_command("command", &command.source(), &refusal);
            }
        }
    }

    fn refuse_command(&self, what: &str, sender: &PrincipalName, refusal: &CommandRefusal) {
        tracing::error!(%sender, error = %refusal, "{what} refused");
        let detail = format!("{what} of {sender} refused: {refusal}");
        self.service.notice(Notice::Warning {
            detail: Text::lossy(&detail),
        });
    }

    /// The guard pulls its own switch: nothing is permitted from the first line on.
    fn pull(&mut self, cause: KillCause, detail: Text) {
        let killed = Input::Kill(KillState::Triggered);
        match self.core.step(self.service.now(), killed) {
            Ok(effects) => {
                if let Some(heartbeat) = &effects.heartbeat
                    && let Err(error) = self
                        .service
                        .publish(&HEARTBEAT, None, heartbeat, None, None)
                {
                    tracing::debug!(%error, "heartbeat not sent");
                }
            }
            Err(fault) => self.service.fail(fault),
        }
        self.latch(cause, detail);
    }

    /// The disk and the record follow.
    fn latch(&mut self, cause: KillCause, detail: Text) {
        tracing::warn!(?cause, detail = detail.as_str(), "killed");
        let (latch, service) = (self.latch.clone(), self.service.clone());
        // The heartbeat must not wait for the disk: it is what tells the others.
        self.latching.spawn_blocking(move || {
            if let Err(error) = latch.trigger(cause, detail.as_str()) {
                tracing::error!(%error, "kill switch is triggered, but the disk does not keep it");
                let warning = format!("kill switch would be armed after a restart: {error}");
                service.notice(Notice::Warning {
                    detail: Text::lossy(&warning),
                });
            }
            service.notice(Notice::KillSwitch {
                state: KillState::Triggered,
                cause,
                detail,
            });
        });
    }
}

fn fresh<M>(received: Option<Received<M>>) -> Option<Verified<M>> {
    match received {
        Some(Received::Fresh(message)) => Some(message),
        Some(Received::Duplicate(_)) | None => None,
    }
}

fn mark_refused(span: &mut Span, reason: Reason) {
    span.set("outcome", reason.code());
    span.fail(reason.code());
}
