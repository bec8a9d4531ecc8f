//! Lets the core decide and does what it says: journal first, then the bus and the venue.
//!
//! ```text
//!  bus, venue, clock ──▶ Input ──▶ step ──▶ records + facts ──▶ journal ──▶ facts to the stream
//!                                    │                            ╰──▶ Input::Durable
//!                                    ╰──▶ sign, place, cancel, query, reconcile
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use execution_core::{Effect, Effects, Execution, Fault, Input, Settings};
use portcullis_domain::{KillCause, KillState, OrderId, Reason, Span, Timestamp};
use portcullis_runtime::exit::Unusable;
use portcullis_runtime::journal::{self, Kept};
use portcullis_runtime::{
    BusError, Durable, Ending, Inbox, Journal, JournalError, Latch, Raw, Service, StateDir,
    metrics, policy, tracing,
};
use portcullis_wire::codec::CodecError;
use portcullis_wire::messages::Notice;
use portcullis_wire::principal;
use portcullis_wire::subjects::{
    BOOK, EXECUTION_STATUS, HEARTBEAT, KILL, PERMIT, RECEIPT, Row, SIGNATURE, TRADE,
};
use portcullis_wire::{Header, Received, Refusal, Sealed, Text, command};
use tokio::sync::mpsc;

use crate::bybit::{PrivateStream, RestClient, SetupError, StreamEvent, StreamSettings};
use crate::config::{Arguments, Config};
use crate::history::{Acknowledgements, History, encode_beginning};
use crate::venue::{Event, Signed, Venue};

/// How often time passes for the core.
const TICK: Duration = Duration::from_millis(25);
/// How often the status is published, in ticks.
const STATUS_EVERY: u64 = 10;
/// How often the venue's clock is looked after, in ticks.
const CLOCK_EVERY: u64 = 20;
/// How long cancelling what is open may take when the process is asked to end.
const STOP_MAX: Duration = Duration::from_secs(10);
/// The most messages that wait for the loop, for each inbox.
const INBOX: usize = 4_096;
/// The most orders whose context is remembered for traces and correlation.
const CONTEXTS_MAX: usize = 30_000;

/// Why execution does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    #[error("read settings")]
    Config(#[from] portcullis_runtime::ConfigError),
    #[error("start")]
    Start(#[from] portcullis_runtime::StartError),
    #[error("keep the journal")]
    Journal(#[from] JournalError),
    #[error("read the journal")]
    History(#[source] Unusable),
    #[error("trust the journal")]
    Replay(#[source] Unusable),
    #[error("encode for the journal")]
    Encode(#[source] CodecError),
    #[error("trust the state")]
    Core(#[from] Fault),
    #[error("use the bus")]
    Bus(#[from] BusError),
    #[error("set up the venue connection")]
    Setup(#[from] SetupError),
    #[error("set up TLS for the venue's stream")]
    Tls(#[from] rustls::Error),
    #[error("keep the kill switch latched on disk")]
    Latch(#[source] std::io::Error),
    #[error("stop")]
    Stopped(#[from] portcullis_runtime::Fault),
}

pub(crate) type Role = principal::Execution;

/// Runs until it has to end.
///
/// # Errors
/// [`ShellError`], for `main` to report.
pub async fn run(arguments: Arguments) -> Result<(), ShellError> {
    let config = Config::load(&arguments)?;
    let (service, state) = Service::<Role>::start(&arguments.service).await?;
    let ended = Shell::start(config, service.clone(), &state)
        .await?
        .work()
        .await;
    if let Err(error) = ended {
        service.fail(error);
    }
    Ok(service.stop().await?)
}

/// What an order's messages have in common.
pub(crate) struct Story {
    pub(crate) cause: Header,
    pub(crate) traceparent: String,
}

/// Something that waits for the disk.
pub(crate) struct Written {
    pub(crate) durable: Durable,
    pub(crate) facts: Vec<Sealed>,
    pub(crate) prepared: Vec<OrderId>,
}

pub(crate) struct Shell {
    pub(crate) service: Service<Role>,
    pub(crate) core: Execution,
    pub(crate) latch: Latch,
    pub(crate) journal: Journal,
    pub(crate) facts: u64,
    /// How many bytes the journal's entries take, and of these the state that it began with.
    pub(crate) journal_length: u64,
    pub(crate) state_length: u64,
    pub(crate) acknowledgements: Acknowledgements,
    pub(crate) written: mpsc::Sender<Written>,
    pub(crate) venue: Venue,
    pub(crate) stories: BTreeMap<OrderId, Story>,
    pub(crate) control: Inbox,
    pub(crate) market: Inbox,
    pub(crate) orders: Inbox,
    pub(crate) stream: mpsc::Receiver<StreamEvent>,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) reading_account: bool,
    /// Whether the venue's stream tells every event.
    pub(crate) streaming: bool,
    /// After how many seconds without the stream the venue is to cancel everything.
    pub(crate) disconnect_cancel_s: Option<u16>,
    /// Whether it last refused to; said once.
    pub(crate) protection_refused: bool,
    pub(crate) kill_refused_at: Timestamp,
}

impl Shell {
    async fn start(
        config: Config,
        service: Service<Role>,
        state: &StateDir,
    ) -> Result<Self, ShellError> {
        let latch = Latch::open(state);
        let Kept {
            journal,
            records,
            lost,
            // What was cut off was never acknowledged; the venue's account tells the rest.
            torn: _,
        } = Journal::keep(state, "journal", &latch)?;
        let path = state.join("journal");
        let history = History::read(&records).map_err(|error| {
            let step = error.next_step(&path);
            ShellError::History(Unusable::new(error, step))
        })?;
        // One that ran before began its journal: an empty one was emptied.
        let lost = lost || (records.is_empty() && state.has_run_before());
        if records.is_empty() {
            if lost {
                latch
                    .trigger(KillCause::Inconsistent, journal::LOST)
                    .map_err(ShellError::Latch)?;
            }
            let beginning = encode_beginning().map_err(ShellError::Encode)?;
            journal.append(vec![beginning]).await?;
        }
        drop(records);
        let now = service.now();
        let settings = Settings {
            policy_hash: config.policy_hash,
            daily_loss_max: config.policy.daily_loss_max,
            book_age_max: Span::from_millis(config.policy.book_age_ms_max),
            foreign_orders: config.foreign_orders,
        };
        let mut core = Execution::new(settings, latch.state(), now);
        for record in &history.records {
            core.replay(record).map_err(|fault| {
                let step = format!(
                    "restore {} from a backup, after finding out what changed it: audit's log has \
                     every fill and every beginning of a day",
                    path.display()
                );
                ShellError::Replay(Unusable::new(fault, step))
            })?;
        }
        tracing::info!(
            records = history.records.len(), facts_to_repeat = history.unacknowledged.len(),
            kill = %latch.state(), "journal replayed"
        );

        // First of all what an earlier process recorded and may not have said.
        for (_, sealed) in history.unacknowledged {
            service.fact_again(sealed)?;
        }

        let (events_in, events) = mpsc::channel(16_384);
        let (written, queue) = mpsc::channel(16_384);
        tokio::spawn(announce(queue, service.clone(), events_in.clone()));
        let rest = RestClient::new(config.rest.clone(), config.timeouts)?;
        let venue = Venue::new(service.clone(), rest, &config, events_in);
        let control = service
            .listen(&[(KILL.row, None), (HEARTBEAT.row, None)], INBOX)
            .await?;
        let orders = service
            .listen(
                &[
                    (PERMIT.row, None),
                    (SIGNATURE.row, None),
                    (RECEIPT.row, None),
                ],
                INBOX,
            )
            .await?;
        let names: Vec<_> = config.symbols().map(|symbol| symbol.to_string()).collect();
        let rows: Vec<(&'static Row, Option<&str>)> = names
            .iter()
            .flat_map(|name| {
                [
                    (BOOK.row, Some(name.as_str())),
                    (TRADE.row, Some(name.as_str())),
                ]
            })
            .collect();
        let market = service.listen(&rows, INBOX).await?;
        // Only now, as the signer's answers are listened to.
        // Without the venue's time nothing can be signed; the first measurement is worth the wait.
        venue.keep_time().await;
        let stream = {
            let venue = venue.clone();
            let login = move || {
                let venue = venue.clone();
                async move { venue.login().await }
            };
            let settings = StreamSettings {
                watches: config.disconnect_cancel_s.is_some(),
                ..StreamSettings::new(config.stream.clone())
            };
            PrivateStream::start(settings, login)?
        };
        if service.identity().trust.audit.is_none() {
            tracing::error!("no key of audit is trusted: no receipt will count, nothing is traded");
        }

        let mut shell = Self {
            service,
            core,
            latch,
            journal,
            facts: history.facts,
            journal_length: history.length,
            // Unknown after a start: the journal is begun anew once, if it is long.
            state_length: 0,
            acknowledgements: Acknowledgements::default(),
            written,
            venue,
            stories: BTreeMap::new(),
            control,
            market,
            orders,
            stream,
            events,
            reading_account: false,
            streaming: false,
            disconnect_cancel_s: config.disconnect_cancel_s,
            protection_refused: false,
            kill_refused_at: Timestamp(0),
        };
        shell.announce_start(&config).await?;
        if lost {
            // Latched already; this puts it on record.
            shell
                .pull(KillCause::Inconsistent, Text::lossy(journal::LOST))
                .await?;
        }
        let resumed = shell.core.resume(now)?;
        shell.perform(resumed, now).await?;
        Ok(shell)
    }

    async fn announce_start(&mut self, config: &Config) -> Result<(), ShellError> {
        let started = Notice::Started {
            version: Text::lossy(env!("CARGO_PKG_VERSION")),
            policy: Some(config.policy_hash),
            kill: Some(self.latch.state()),
        };
        let effects = Effects {
            records: Vec::new(),
            effects: vec![Effect::Notice(started)],
        };
        self.perform(effects, self.service.now()).await?;
        if self.latch.cause() == Some(KillCause::LatchUnreadable) {
            let detail = self.latch.detail();
            self.pull(KillCause::LatchUnreadable, detail).await?;
        }
        Ok(())
    }

    async fn work(mut self) -> Result<(), ShellError> {
        let mut shutdown = self.service.shutdown();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut tick: u64 = 0;
        let mut stop_by: Option<Instant> = None;
        loop {
            if let Some(stop_by) = stop_by
                && (self.core.is_idle() || Instant::now() >= stop_by)
            {
                return Ok(());
            }
            tokio::select! {
                biased;
                ending = shutdown.wait(), if stop_by.is_none() => {
                    if matches!(ending, Ending::Fault(_)) {
                        return Ok(());
                    }
                    self.step(Input::Stop).await?;
                    stop_by = Some(Instant::now() + STOP_MAX);
                }
                Some(raw) = self.control.recv() => self.control(&raw).await?,
                _ = ticks.tick() => {
                    tick = tick.wrapping_add(1);
                    self.tick(tick).await?;
                }
                Some(event) = self.events.recv() => self.event(event).await?,
                Some(event) = self.stream.recv() => self.streamed(event).await?,
                Some(raw) = self.market.recv() => self.market(&raw).await?,
                Some(raw) = self.orders.recv() => self.order(&raw).await?,
            }
        }
    }

    pub(crate) async fn step(&mut self, input: Input) -> Result<(), ShellError> {
        let now = self.service.now();
        let effects = self.core.step(now, input)?;
        self.perform(effects, now).await
    }

    async fn tick(&mut self, tick: u64) -> Result<(), ShellError> {
        self.step(Input::Tick).await?;
        if tick.is_multiple_of(CLOCK_EVERY) {
            let venue = self.venue.clone();
            tokio::spawn(async move { venue.keep_time().await });
            self.note_acknowledged()?;
            self.compact()?;
            self.show_life().await?;
        }
        if tick.is_multiple_of(STATUS_EVERY) {
            let requests = self.venue.requests();
            let status = self.core.status(self.service.now(), requests)?;
            self.show_readiness(status.reason);
            metrics::gauge!("portcullis_execution_orders_open").set(status.orders_open as f64);
            metrics::gauge!("portcullis_execution_orders_unknown")
                .set(status.orders_unknown as f64);
            metrics::gauge!("portcullis_execution_may_trade").set(f64::from(status.may_trade));
            if let Err(error) = self
                .service
                .publish(&EXECUTION_STATUS, None, &status, None, None)
            {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "publish the status"
                );
            }
        }
        Ok(())
    }

    fn show_readiness(&self, reason: Option<Reason>) {
        let agreement = self.core.agreement();
        policy::show(agreement);
        match (reason, agreement.mismatch()) {
            (None, _) => self.service.set_ready(true, "trading"),
            // A guard that is silent now may come back with the right policy.
            (Some(reason), Some(who_runs_what)) if reason != Reason::GuardSilent => {
                self.service.set_ready(false, &who_runs_what);
            }
            // Until the venue's account is known it cannot do its work; whatever else stops
            // trading, it can still cancel and keep the books.
            (Some(reason), _) => {
                let ready = reason != Reason::NotReconciled;
                self.service.set_ready(ready, reason.code());
            }
        }
    }

    async fn control(&mut self, raw: &Raw) -> Result<(), ShellError> {
        if raw.is(&KILL) {
            let Some(received) = self.service.open(&KILL, raw) else {
                return Ok(());
            };
            let verified = received.either();
            let identity = self.service.identity();
            match command::verify(&verified, identity.realm, &identity.trust.operator_keys()) {
                Ok(kill) => {
                    let detail = format!("{}: {}", kill.operator, kill.reason);
                    self.pull(KillCause::Operator, Text::lossy(&detail)).await?;
                }
                Err(refusal) => {
                    // One a second is put on record: the rest would only fill it.
                    let now = self.service.now();
                    if now.since(self.kill_refused_at) < Span::from_secs(1) {
                        return Ok(());
                    }
                    self.kill_refused_at = now;
                    let sender = verified.source();
                    tracing::error!(%sender, error = %refusal, "kill refused");
                    let detail = format!("kill command of {sender} refused: {refusal}");
                    let detail = Text::lossy(&detail);
                    self.notice(Notice::Warning { detail }).await?;
                }
            }
        } else if let Some(received) = self.service.open(&HEARTBEAT, raw)
            && let Some(heartbeat) = received.fresh()
        {
            self.step(Input::Heartbeat(heartbeat)).await?;
        }
        Ok(())
    }

    /// Latches the kill switch on disk, then lets the core act on it.
    pub(crate) async fn pull(&mut self, cause: KillCause, detail: Text) -> Result<(), ShellError> {
        let already =
            self.latch.state() == KillState::Triggered && cause != KillCause::LatchUnreadable;
        let kept = self.latch.trigger(cause, detail.as_str());
        if !already || cause == KillCause::Operator {
            tracing::error!(?cause, detail = detail.as_str(), "kill switch pulled");
            metrics::counter!("portcullis_kill_total").increment(1);
        }
        self.venue.killed();
        // It acts in any case; a disk that does not keep it stops the process afterwards.
        Box::pin(self.step(Input::Killed { cause, detail })).await?;
        kept.map_err(ShellError::Latch)
    }

    pub(crate) async fn notice(&mut self, notice: Notice) -> Result<(), ShellError> {
        let effects = Effects {
            records: Vec::new(),
            effects: vec![Effect::Notice(notice)],
        };
        self.perform(effects, self.service.now()).await
    }

    async fn market(&mut self, raw: &Raw) -> Result<(), ShellError> {
        if raw.is(&BOOK) {
            if let Some(book) = self
                .service
                .open(&BOOK, raw)
                .and_then(|received| received.fresh())
            {
                self.step(Input::Book(book)).await?;
            }
        } else if let Some(trade) = self
            .service
            .open(&TRADE, raw)
            .and_then(|received| received.fresh())
        {
            self.step(Input::Trade(trade)).await?;
        }
        Ok(())
    }

    async fn order(&mut self, raw: &Raw) -> Result<(), ShellError> {
        if raw.is(&PERMIT) {
            self.permit(raw).await
        } else if raw.is(&SIGNATURE) {
            let Some(received) = self.service.open(&SIGNATURE, raw) else {
                return Ok(());
            };
            let Some(verified) = received.fresh() else {
                return Ok(());
            };
            let Some(request) = verified.header().causation else {
                return Ok(());
            };
            match self.venue.signed(request, verified.message().clone()) {
                Signed::Order { order, answer } => self.step(Input::Signed { order, answer }).await,
                Signed::Other => Ok(()),
            }
        } else {
            let Some(received) = self.service.open(&RECEIPT, raw) else {
                return Ok(());
            };
            let Some(verified) = received.fresh() else {
                return Ok(());
            };
            let identity = self.service.identity();
            let receipt = identity
                .trust
                .verify(&verified.source(), verified.message());
            match receipt {
                Ok(receipt) => self.step(Input::Receipt(receipt)).await,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "refused a receipt"
                    );
                    let detail = Text::lossy("a receipt whose signature is not audit's");
                    self.notice(Notice::Warning { detail }).await
                }
            }
        }
    }

    async fn permit(&mut self, raw: &Raw) -> Result<(), ShellError> {
        let Some((permit, order)) = self.service.open_permit(&raw.bytes, &raw.subject) else {
            return Ok(());
        };
        // Either one seen before means that it was acted on before.
        let (permit, order) = match (permit, order) {
            (Received::Fresh(permit), Received::Fresh(order)) => (permit, order),
            (Received::Fresh(_), Received::Duplicate(_)) => {
                // An honest guard permits an order once.
                let refused = Refusal::Replay;
                self.service.refuse(refused, &raw.subject, &raw.bytes);
                return Ok(());
            }
            (Received::Duplicate(_), _) => return Ok(()),
        };
        metrics::counter!("portcullis_execution_permits_total").increment(1);
        let id = order.message().id;
        let mut span = self
            .service
            .telemetry()
            .span("execution.take", &permit.header().traceparent);
        span.set("order", id.to_string());
        if self.stories.len() < CONTEXTS_MAX {
            let story = Story {
                cause: permit.header().clone(),
                traceparent: span.traceparent(),
            };
            self.stories.entry(id).or_insert(story);
        }
        if !self.service.has_room_for_facts() {
            // What cannot be recorded is not done. The permit expires.
            tracing::error!(order = %id, "no room for facts: permit dropped");
            return Ok(());
        }
        self.step(Input::Permit { permit, order }).await
    }
}

/// Waits for the disk, in order, and then announces what it keeps.
async fn announce(
    mut queue: mpsc::Receiver<Written>,
    service: Service<Role>,
    events: mpsc::Sender<Event>,
) {
    while let Some(Written {
        durable,
        facts,
        prepared,
    }) = queue.recv().await
    {
        // Never tried again when it fails: what the disk holds is unknown, and the journal takes no
        // more. A full outbox means that nothing is recorded any more.
        let kept = durable.await.map_err(ShellError::Journal);
        let said = kept.and_then(|()| {
            facts
                .into_iter()
                .try_for_each(|sealed| service.fact_sealed(sealed))
                .map_err(Into::into)
        });
        if let Err(error) = said {
            service.fail(error);
            return;
        }
        if !prepared.is_empty() && events.send(Event::Durable(prepared)).await.is_err() {
            return;
        }
    }
}
