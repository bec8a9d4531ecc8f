//! Opens what comes, steps the core, writes what it says, and sends what may be sent then.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit_core::{
    Alert, ChainError, ChainKey, Core, Effects, Fault as CoreFault, Input, Path, ReceiptDue,
    RecoveryError,
};
use portcullis_domain::Hash;
use portcullis_runtime::exit::Unusable;
use portcullis_runtime::identity::is_production;
use portcullis_runtime::{
    Acknowledger, BusError, ConfigError, FactsConsumer, Fault, Inbox, Raw, Service, StartError,
    StateDir, metrics, tracing,
};
use portcullis_wire::codec::{self, CodecError};
use portcullis_wire::messages::{Checkpoint, Count, ServiceStatus, Signable};
use portcullis_wire::principal::Audit;
use portcullis_wire::subjects::{CHECKPOINT, RECEIPT};
use portcullis_wire::{Realm, Signed, Signer, Text};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::bus_log::{self, Accounts, BusLog, FollowerGone};
use crate::config::{Arguments, Config};
use crate::facts;
use crate::log::{Log, LogError, Opened, Progress, Writer, WriterGone};
use crate::silence;

/// What audit's identity calls the key that continues the log.
const CHAIN_SECRET: &str = "chain";
/// How often the core is told that time passes.
const TICK: Duration = Duration::from_millis(100);
/// One status a second.
const TICKS_A_STATUS: u64 = 10;
/// Facts from the bus that wait; what is lost here comes by the stream.
const LIVE_WAITING_MAX: usize = 8_192;
/// Facts that are taken together, so that they are one piece of a group.
const BATCH_MAX: usize = 256;
/// How long the last group may take at the end.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its settings are not usable.
    #[error("load settings")]
    Config(#[from] ConfigError),
    /// It could not start.
    #[error("start audit")]
    Start(#[from] StartError),
    /// Its identity has no chain key.
    #[error("find the chain key")]
    ChainKey(#[source] Unusable),
    /// The chain key is no key.
    #[error("use the chain key")]
    Key(#[source] ChainError),
    /// The log, or its place, is not as it must be.
    #[error("open the audit log")]
    Log(#[source] Unusable),
    /// The writer's thread could not be started.
    #[error("start the writer of the log")]
    Thread(#[source] std::io::Error),
    /// In production the log of the bus server must be followed.
    #[error("follow the log of the bus server")]
    BusLog(#[source] Unusable),
    /// It could not listen.
    #[error("listen on the bus")]
    Listen(#[source] BusError),
    /// It could not go on.
    #[error("run audit")]
    Run(#[from] Fault),
}

/// Something that must not go wrong did.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("decide what to record")]
    Core(#[source] CoreFault),
    #[error("keep the log")]
    Log(#[source] Arc<LogError>),
    #[error("keep the log")]
    Writer(#[source] WriterGone),
    #[error("sign")]
    Sign(#[source] CodecError),
    #[error("audit's identity holds no secret `chain`, which continues the log")]
    NoChainKey,
    #[error("audit's identity has no signing key")]
    NoSigningKey,
    #[error("no log of the bus server is named, and the realm {0} is in production")]
    NoBusLog(Realm),
    #[error("follow the log of the bus server")]
    BusLog(#[source] FollowerGone),
    #[error("the connection to the bus has ended")]
    Disconnected,
}

/// Runs the service until it is asked to end.
///
/// # Errors
/// [`Failure`].
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.service.config)?;
    let (service, state) = Service::<Audit>::start(&arguments.service).await?;
    let identity = service.identity();
    let key = identity.secret(CHAIN_SECRET).ok_or_else(|| {
        let next_step = "make the identities anew with `portcullis keys init`".to_owned();
        Failure::ChainKey(Unusable::new(Stop::NoChainKey, next_step))
    })?;
    let key = ChainKey::from_bytes(key).map_err(Failure::Key)?;
    service.set_ready(false, "following the log from its first entry");
    // Nothing else has to be done while the log is followed.
    let opened = tokio::task::block_in_place(|| open_log(&service, &state, &config, &key))?;
    let (log, core, cut) = opened;
    let bus_log = follow_bus_log(&service, &core, &config, arguments.bus_log)?;
    let writer = Writer::start(log).map_err(Failure::Thread)?;
    let live = service
        .listen(&facts::subjects(&config.strategies), LIVE_WAITING_MAX)
        .await;
    let live = live.map_err(Failure::Listen)?;
    let stream = service.facts_consumer().await.map_err(Failure::Listen)?;
    let mut shell = Shell {
        progress: writer.progress(),
        service,
        core,
        writer,
        bus_log,
        records: Vec::new(),
        waiting: BTreeMap::new(),
        checkpoint: None,
        token: 0,
        ticks: 0,
    };
    if let Err(stop) = shell.serve(cut, live, stream).await {
        shell.service.set_ready(false, &stop.to_string());
        match stop {
            Stop::Log(error) => {
                let next_step = error.next_step();
                shell
                    .service
                    .fail(Unusable::at_present(Stop::Log(error), next_step));
            }
            other => shell.service.fail(other),
        }
    }
    let Shell {
        service, writer, ..
    } = shell;
    // Waits until all that was handed over is on disk.
    tokio::task::block_in_place(|| drop(writer));
    service.stop().await?;
    Ok(())
}

/// Follows the log to its end and builds the core that continues it.
fn open_log(
    service: &Service<Audit>,
    state: &StateDir,
    config: &Config,
    key: &ChainKey,
) -> Result<(Log, Core, u64), Failure> {
    let identity = service.identity();
    let Some(signing) = &identity.signing else {
        let next_step = "make audit's identity anew: it needs a signing seed".to_owned();
        return Err(Failure::Log(Unusable::new(Stop::NoSigningKey, next_step)));
    };
    let public = signing.verifying();
    let opened = Log::open(&state.join("log"), config.segment_bytes, key, Some(&public));
    let Opened {
        log,
        chain,
        recovery,
        cut,
    } = opened.map_err(|error| {
        let next_step = error.next_step();
        Failure::Log(match &error {
            // A disk may be freed, and then the log goes on.
            LogError::Io { .. } => Unusable::at_present(error, next_step),
            _ => Unusable::new(error, next_step),
        })
    })?;
    if cut > 0 {
        tracing::warn!(
            bytes = cut,
            "cut off a write that was never finished nor receipted"
        );
    }
    tracing::info!(entries = chain.size(), head = %chain.head(), "the log holds");
    let core = Core::new(config.core, identity.name, service.boot(), chain, recovery);
    let core = core.map_err(|error: RecoveryError| {
        let next_step = "restore the file `boot` in the state folder: it is older than the log";
        Failure::Log(Unusable::new(error, next_step.to_owned()))
    })?;
    Ok((log, core, cut))
}

/// Follows the log of the bus server from behind what audit's own log has of it.
fn follow_bus_log(
    service: &Service<Audit>,
    core: &Core,
    config: &Config,
    named: Option<PathBuf>,
) -> Result<BusLog, Failure> {
    let path = named.or_else(|| config.bus_log.clone());
    let realm = service.identity().realm;
    if path.is_none() && is_production(realm) {
        let next_step = "let nats-server log to a file that audit can read, and name it: `bus_log` \
                         in audit.toml, or --bus-log";
        let cause = Unusable::new(Stop::NoBusLog(realm), next_step.to_owned());
        return Err(Failure::BusLog(cause));
    }
    let accounts = Accounts::new(&config.strategies);
    BusLog::start(path, accounts, core.bus_place()).map_err(Failure::Thread)
}

struct Shell {
    service: Service<Audit>,
    core: Core,
    writer: Writer,
    bus_log: BusLog,
    progress: watch::Receiver<Progress>,
    /// Records that the writer has not got yet.
    records: Vec<u8>,
    /// Facts of the stream that are not acknowledged yet; the consumer allows only so many.
    waiting: BTreeMap<u64, Acknowledger>,
    /// The last one, said again each second for whoever came later.
    checkpoint: Option<Signed<Checkpoint>>,
    token: u64,
    ticks: u64,
}

impl Shell {
    async fn serve(
        &mut self,
        cut: u64,
        mut live: Inbox,
        mut stream: FactsConsumer,
    ) -> Result<(), Stop> {
        let mut shutdown = self.service.shutdown();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let version = Text::lossy(env!("CARGO_PKG_VERSION"));
        self.step(Input::Started { version, cut }).await?;
        loop {
            self.hand_over().await?;
            // In no fixed order: neither path may starve the other.
            tokio::select! {
                _ = shutdown.wait() => break,
                changed = self.progress.changed() => match changed {
                    Ok(()) => self.advance().await?,
                    Err(_) => return Err(Stop::Writer(WriterGone)),
                },
                _ = ticks.tick() => self.tick().await?,
                raw = live.recv() => {
                    let mut next = Some(raw.ok_or(Stop::Disconnected)?);
                    for _ in 0..BATCH_MAX {
                        let Some(raw) = next.take() else { break };
                        self.fact(&raw, Path::Live).await?;
                        next = live.try_recv();
                    }
                    if let Some(raw) = next {
                        self.fact(&raw, Path::Live).await?;
                    }
                }
                line = self.bus_log.recv() => {
                    let mut next = Some(line.map_err(Stop::BusLog)?);
                    for _ in 0..BATCH_MAX {
                        let Some((said, place)) = next.take() else { break };
                        self.step(Input::Bus { said, place }).await?;
                        next = self.bus_log.try_recv();
                    }
                    if let Some((said, place)) = next {
                        self.step(Input::Bus { said, place }).await?;
                    }
                }
                (raw, acknowledger) = stream.recv() => {
                    self.token = self.token.wrapping_add(1);
                    self.waiting.insert(self.token, acknowledger);
                    self.fact(&raw, Path::Stream { token: self.token }).await?;
                }
            }
        }
        self.finish().await
    }

    /// Gives everything that was recorded to the disk, and says so to those who wait for it.
    async fn finish(&mut self) -> Result<(), Stop> {
        self.hand_over().await?;
        let finished = tokio::time::timeout(END_PATIENCE, async {
            while self.core.counts().durable < self.core.counts().entries {
                self.progress
                    .changed()
                    .await
                    .map_err(|_| Stop::Writer(WriterGone))?;
                self.advance().await?;
            }
            Ok(())
        });
        finished.await.unwrap_or_else(|_| {
            tracing::warn!("the disk did not finish in time; the stream brings the facts again");
            Ok(())
        })?;
        // The writer finishes what it has got before the process ends.
        self.step(Input::Ending).await
    }

    async fn hand_over(&mut self) -> Result<(), Stop> {
        if self.records.is_empty() {
            return Ok(());
        }
        let records = std::mem::replace(&mut self.records, self.writer.buffer());
        self.writer.append(records).await.map_err(Stop::Writer)
    }

    async fn advance(&mut self) -> Result<(), Stop> {
        let progress = self.progress.borrow_and_update().clone();
        match progress {
            Progress::Durable(size) => self.step(Input::Durable { size }).await,
            Progress::Failed(error) => Err(Stop::Log(error)),
        }
    }

    async fn fact(&mut self, raw: &Raw, path: Path) -> Result<(), Stop> {
        match facts::open(&self.service, raw) {
            Ok(fact) => self.step(Input::Fact { fact, path }).await,
            Err(refusal) => {
                self.service.refuse(refusal, &raw.subject, &raw.bytes);
                let (subject, bytes) = (raw.subject.clone(), raw.bytes.to_vec());
                let code = refusal.code();
                self.step(Input::Refused {
                    subject,
                    code,
                    bytes,
                    path,
                })
                .await
            }
        }
    }

    async fn step(&mut self, input: Input) -> Result<(), Stop> {
        let effects = self
            .core
            .step(self.service.now(), input)
            .map_err(Stop::Core)?;
        let Effects {
            records,
            receipts,
            acknowledge,
            checkpoint,
            alerts,
        } = effects;
        self.records.extend_from_slice(&records);
        for due in receipts {
            self.send_receipt(&due)?;
        }
        for token in acknowledge {
            if let Some(acknowledger) = self.waiting.remove(&token)
                && let Err(error) = acknowledger.acknowledge().await
            {
                tracing::debug!(%error, "fact not acknowledged; it comes again");
            }
        }
        if let Some(checkpoint) = checkpoint {
            self.keep_checkpoint(&checkpoint).await?;
        }
        alerts.iter().for_each(alert);
        Ok(())
    }

    fn send_receipt(&self, due: &ReceiptDue) -> Result<(), Stop> {
        let mut span = self
            .service
            .telemetry()
            .span("audit.receipt", &due.cause.traceparent);
        span.set("order", due.receipt.order.to_string());
        let signed = self.sign(&due.receipt)?;
        let traceparent = Some(span.traceparent());
        let sent = self
            .service
            .publish(&RECEIPT, None, &signed, Some(&due.cause), traceparent);
        if let Err(error) = sent {
            // Without it execution lets the order expire: the safe direction.
            tracing::warn!(order = %due.receipt.order, %error, "receipt not sent");
            metrics::counter!("portcullis_audit_receipts_unsent_total").increment(1);
        }
        Ok(())
    }

    /// Has the key that signs at present on record before it signs a checkpoint: an exchange brings
    /// another while audit runs.
    async fn note_key(&mut self) -> Result<(), Stop> {
        let identity = self.service.identity();
        let signing = identity.signing.as_ref().ok_or(Stop::NoSigningKey)?;
        let key = key_of(signing);
        self.step(Input::Key { key }).await
    }

    async fn keep_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Stop> {
        let identity = self.service.identity();
        let signing = identity.signing.as_ref().ok_or(Stop::NoSigningKey)?;
        if self.core.key() != Some(key_of(signing)) {
            // Exchanged this moment: the next one covers the entry that names the new key.
            return Ok(());
        }
        let signed = signing.sign(checkpoint).map_err(Stop::Sign)?;
        let bytes = codec::encode(&signed).map_err(Stop::Sign)?;
        self.writer
            .append_checkpoint(bytes)
            .await
            .map_err(Stop::Writer)?;
        self.checkpoint = Some(signed);
        self.publish_checkpoint();
        Ok(())
    }

    fn publish_checkpoint(&self) {
        let Some(signed) = &self.checkpoint else {
            return;
        };
        if let Err(error) = self.service.publish(&CHECKPOINT, None, signed, None, None) {
            tracing::debug!(%error, "checkpoint not sent");
        }
    }

    fn sign<T: Signable>(&self, content: &T) -> Result<Signed<T>, Stop> {
        let identity = self.service.identity();
        let signing = identity.signing.as_ref().ok_or(Stop::NoSigningKey)?;
        signing.sign(content).map_err(Stop::Sign)
    }

    async fn tick(&mut self) -> Result<(), Stop> {
        self.note_key().await?;
        self.step(Input::Tick).await?;
        if self.ticks.is_multiple_of(TICKS_A_STATUS) {
            self.publish_status();
            self.publish_checkpoint();
        }
        self.ticks = self.ticks.wrapping_add(1);
        Ok(())
    }

    fn publish_status(&self) {
        let counts = self.core.counts();
        let listed = [
            ("entries", counts.entries),
            ("durable", counts.durable),
            ("facts", counts.facts),
            ("duplicates", counts.duplicates),
            ("gaps", counts.gaps),
            ("late", counts.late),
            ("violations", counts.violations),
            ("bus_denied", counts.bus_denied),
            ("silent", counts.silent),
            ("held", counts.held),
            ("left_to_stream", counts.left_to_stream),
            ("receipts", counts.receipts),
        ];
        metrics::counter!("portcullis_audit_entries_total").absolute(counts.entries);
        metrics::counter!("portcullis_audit_durable_entries_total").absolute(counts.durable);
        metrics::counter!("portcullis_audit_duplicates_total").absolute(counts.duplicates);
        metrics::counter!("portcullis_audit_gaps_total").absolute(counts.gaps);
        metrics::counter!("portcullis_audit_late_facts_total").absolute(counts.late);
        metrics::counter!("portcullis_audit_violations_total").absolute(counts.violations);
        metrics::counter!("portcullis_audit_receipts_total").absolute(counts.receipts);
        let held = u32::try_from(counts.held).unwrap_or(u32::MAX);
        metrics::gauge!("portcullis_audit_held_facts").set(f64::from(held));
        let unread = self.bus_log.problem();
        let ready = self.service.is_connected() && unread.is_none();
        // A source that is silent does not keep audit from its work.
        let recording = silence::show(&self.core);
        let detail = match &unread {
            _ if !self.service.is_connected() => "not connected to the bus",
            Some(problem) => problem,
            None => &recording,
        };
        self.service.set_ready(ready, detail);
        self.service.status(&ServiceStatus {
            ready,
            detail: Text::lossy(detail),
            kill: None,
            policy: None,
            counts: listed
                .into_iter()
                .map(|(name, value)| Count {
                    name: Text::lossy(name),
                    value,
                })
                .collect(),
        });
    }
}

fn key_of(signing: &Signer) -> Hash {
    Hash(signing.verifying().to_bytes())
}

fn alert(alert: &Alert) {
    match alert {
        Alert::Gap {
            source,
            boot,
            from,
            to,
        } => {
            tracing::error!(%source, boot, from, to, "facts are missing; the log names the gap");
        }
        Alert::Silence {
            source,
            boot,
            since,
        } => silence::alert(source, *boot, *since),
        Alert::Late { source, boot, seq } => {
            tracing::warn!(%source, boot, seq, "a fact came late that the log names as missing");
        }
        Alert::Violation { subject, code } => {
            tracing::error!(%subject, %code, "violation recorded");
        }
        Alert::Suppressed { count } => {
            tracing::error!(count, "violations recorded by their number only");
        }
        Alert::BusDenied { .. }
        | Alert::BusSuppressed { .. }
        | Alert::BusServer { .. }
        | Alert::BusLogLost => bus_log::alert(alert),
    }
}
