//! The service around the core: verified messages in; records, latch, answers and notices out, in
//! that order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_domain::{KillCause, KillState};
use portcullis_runtime::exit::Unusable;
use portcullis_runtime::identity::Trust;
use portcullis_runtime::{
    BusError, ConfigError, Fault, Identity, Inbox, Journal, JournalError, Latch, Raw, Service,
    ServiceArgs, StartError, StateDir, tracing,
};
use portcullis_venue::bybit::Authority;
use portcullis_wire::messages::{Count, Notice, ServiceStatus, SignAction};
use portcullis_wire::principal::Signer;
use portcullis_wire::subjects::{HEARTBEAT, KILL, SIGN};
use portcullis_wire::{Received, Text};
use signer::custody::{Custody, CustodyError, KeySource, VENUE_SECRET};
use signer_core::{EnclosedPermit, Engine, Input};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::Config;
use crate::release::{Pending, Release};

/// The journal, in the state folder.
const JOURNAL: &str = "signatures.journal";
/// The most requests that wait to be decided.
const REQUESTS_WAITING_MAX: usize = 256;
/// The most heartbeats and kills that wait.
const CONTROL_WAITING_MAX: usize = 256;
/// The most answers that wait for the disk.
const ANSWERS_WAITING_MAX: usize = 1_024;
/// How long answers may still leave when the service stops.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Why the signer stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("load the signer's settings")]
    Config(#[source] ConfigError),
    #[error("start the signer")]
    Start(#[source] StartError),
    #[error("open the venue's secrets")]
    Custody(#[source] Unusable),
    #[error("open the signer's journal")]
    Journal(#[source] JournalError),
    #[error("remember what was signed")]
    Core(#[source] signer_core::Fault),
    #[error("listen to the bus")]
    Bus(#[source] BusError),
    #[error("run the signer")]
    Fault(#[source] Fault),
}

/// Runs the signer until it is asked to end.
///
/// # Errors
/// [`SignerError`] when it cannot start, or ended because of a fault.
pub async fn run(arguments: &ServiceArgs) -> Result<(), SignerError> {
    let config =
        Config::load(&arguments.config, &arguments.identity).map_err(SignerError::Config)?;
    let (service, state) = Service::<Signer>::start(arguments)
        .await
        .map_err(SignerError::Start)?;
    let custody = open_custody(&config, &service.identity()).map_err(unusable)?;
    let mut shell = Shell::open(service, &state, &config, &custody)?;
    let outcome = shell.serve(Arc::new(custody)).await;
    if let Err(error) = outcome {
        shell.service.fail(error);
    }
    shell.service.stop().await.map_err(SignerError::Fault)
}

fn open_custody(config: &Config, identity: &Identity) -> Result<Custody, CustodyError> {
    let of_identity = || KeySource::identity(identity.secret(VENUE_SECRET));
    let key = config.key.clone().map_or_else(of_identity, Ok)?;
    Custody::open(&config.custody, &key, identity.realm)
}

fn unusable(error: CustodyError) -> SignerError {
    let next_step = error.next_step();
    SignerError::Custody(Unusable::new(error, next_step))
}

struct Shell {
    service: Service<Signer>,
    engine: Engine,
    latch: Latch,
    journal: Journal,
    trust: watch::Receiver<Trust>,
}

impl Shell {
    fn open(
        service: Service<Signer>,
        state: &StateDir,
        config: &Config,
        custody: &Custody,
    ) -> Result<Self, SignerError> {
        let latch = Latch::open(state);
        let kept = Journal::keep(state, JOURNAL, &latch).map_err(SignerError::Journal)?;
        // Watched before it is read, so that no change falls in between.
        let trust = service.trust();
        let identity = service.identity();
        let core = signer_core::Config {
            realm: identity.realm,
            operators: identity.trust.operator_keys(),
            trading_key: custody.name(Authority::Trading).clone(),
            reading_key: custody.name(Authority::Reading).clone(),
            orders_per_second_max: config.orders_per_second_max,
            orders_max: config.orders_max,
        };
        let engine = Engine::new(core, latch.state(), &kept.records).map_err(SignerError::Core)?;
        Ok(Self {
            service,
            engine,
            latch,
            journal: kept.journal,
            trust,
        })
    }

    async fn serve(&mut self, custody: Arc<Custody>) -> Result<(), SignerError> {
        let listen = |rows: [_; 1], capacity| {
            let service = self.service.clone();
            async move {
                service
                    .listen(&rows, capacity)
                    .await
                    .map_err(SignerError::Bus)
            }
        };
        let mut kills = listen([(KILL.row, None)], CONTROL_WAITING_MAX).await?;
        let mut heartbeats = listen([(HEARTBEAT.row, None)], CONTROL_WAITING_MAX).await?;
        let mut requests = listen([(SIGN.row, None)], REQUESTS_WAITING_MAX).await?;
        self.introduce();

        let (answers, pending) = mpsc::channel(ANSWERS_WAITING_MAX);
        let release = Release::new(self.service.clone(), custody, self.latch.clone());
        let releasing = tokio::spawn(release.run(pending));
        let mut shutdown = self.service.shutdown();
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let outcome = loop {
            let step = tokio::select! {
                biased;
                _ = shutdown.wait() => break Ok(()),
                Some(raw) = kills.recv() => self.kill(&raw),
                Some(raw) = heartbeats.recv() => self.heartbeat(&raw),
                _ = second.tick() => {
                    self.report();
                    Ok(())
                }
                Some((slot, raw)) = next(&answers, &mut requests) => self.request(slot, &raw),
                else => break Ok(()),
            };
            if let Err(fault) = step {
                break Err(SignerError::Core(fault));
            }
        };
        drop(answers);
        if timeout(LAST_ANSWERS, releasing).await.is_err() {
            tracing::warn!("answers were still waiting for the disk at the end");
        }
        outcome
    }

    fn introduce(&self) {
        let kill = self.engine.kill();
        self.service.notice(Notice::Started {
            version: Text::lossy(env!("CARGO_PKG_VERSION")),
            policy: None,
            kill: Some(kill),
        });
        if kill != KillState::Armed {
            self.service.notice(Notice::KillSwitch {
                state: kill,
                cause: self.latch.cause().unwrap_or(KillCause::LatchUnreadable),
                detail: self.latch.detail(),
            });
        }
        if self.service.identity().trust.operators.is_empty() {
            let detail = Text::lossy("no operator is known: nobody can stop the signer by command");
            self.service.notice(Notice::Warning { detail });
        }
        let orders = self.engine.orders();
        tracing::info!(kill = %kill, orders, "signer is ready");
    }

    fn kill(&mut self, raw: &Raw) -> Result<(), signer_core::Fault> {
        let Some(kill) = self.service.open(&KILL, raw) else {
            return Ok(());
        };
        if self.trust.has_changed().unwrap_or(false) {
            let operators = self.trust.borrow_and_update().operator_keys();
            self.engine.set_operators(operators);
        }
        let effects = self
            .engine
            .step(self.service.now(), Input::Kill(kill.either()))?;
        if let Some(detail) = &effects.trigger {
            tracing::warn!(%detail, "kill switch pulled");
            // The latch holds from this call on; only its disk takes a moment.
            let kept = tokio::task::block_in_place(|| {
                self.latch.trigger(KillCause::Operator, detail.as_str())
            });
            if let Err(error) = kept {
                tracing::error!(%error, "the latch is not on disk: a restart may find it armed");
                let detail = Text::lossy("kill switch pulled, but its latch is not on disk");
                self.service.notice(Notice::Warning { detail });
            }
        }
        for notice in effects.notices {
            self.service.notice(notice);
        }
        Ok(())
    }

    fn heartbeat(&mut self, raw: &Raw) -> Result<(), signer_core::Fault> {
        let Some(heartbeat) = self.service.open(&HEARTBEAT, raw).and_then(Received::fresh) else {
            return Ok(());
        };
        self.engine
            .step(self.service.now(), Input::Heartbeat(heartbeat))
            .map(drop)
    }

    fn request(
        &mut self,
        slot: mpsc::Permit<'_, Pending>,
        raw: &Raw,
    ) -> Result<(), signer_core::Fault> {
        let since = Instant::now();
        let Some(request) = self.service.open(&SIGN, raw) else {
            return Ok(());
        };
        let (Received::Fresh(verified) | Received::Duplicate(verified)) = &request;
        let span = self
            .service
            .telemetry()
            .span("sign", &verified.header().traceparent);
        let permit = match &verified.message().action {
            SignAction::Place { permit } => self
                .service
                .open_permit(permit, &raw.subject)
                .map(|(permit, order)| (permit.either(), order.either()))
                .map(|(permit, order)| Box::new(EnclosedPermit { permit, order })),
            SignAction::Cancel { .. }
            | SignAction::CancelAll { .. }
            | SignAction::CancelForeign { .. }
            | SignAction::CancelOnDisconnect { .. }
            | SignAction::QueryOrder { .. }
            | SignAction::QueryOpenOrders { .. }
            | SignAction::QueryPositions { .. }
            | SignAction::QueryExecutions { .. }
            | SignAction::QueryWallet
            | SignAction::QueryMovements { .. }
            | SignAction::StreamLogin { .. } => None,
        };
        let effects = self
            .engine
            .step(self.service.now(), Input::Request { request, permit })?;
        let Some(answer) = effects.answer else {
            return Ok(());
        };
        let records = effects.records;
        let durable = (!records.is_empty()).then(|| self.journal.append(records));
        slot.send(Pending {
            answer,
            durable,
            since,
            span,
        });
        Ok(())
    }

    fn report(&self) {
        let recorded = self.service.has_room_for_facts();
        let detail = if recorded {
            ""
        } else {
            "facts are not being recorded: no order is signed"
        };
        self.service.set_ready(recorded, detail);
        // The signer does its work while it signs no order: cancels and queries go on.
        let detail = match self.engine.standstill(self.service.now()) {
            Some(reason) if recorded => format!("no order is signed: {reason}"),
            Some(_) | None => detail.to_owned(),
        };
        let counts = self.engine.counts();
        let count = |name: &str, value| Count {
            name: Text::lossy(name),
            value,
        };
        let orders = u64::try_from(self.engine.orders()).unwrap_or(u64::MAX);
        let mut numbers = vec![
            count("signed.place", counts.placed),
            count("signed.other", counts.other),
            count("orders", orders),
        ];
        let refused = counts.refused.iter();
        numbers.extend(
            refused.map(|(reason, value)| count(&format!("refused.{}", reason.code()), *value)),
        );
        self.service.status(&ServiceStatus {
            ready: recorded,
            detail: Text::lossy(&detail),
            kill: Some(self.engine.kill()),
            policy: None,
            counts: numbers,
        });
    }
}

/// The next request, once there is room for its answer.
async fn next<'a>(
    answers: &'a mpsc::Sender<Pending>,
    requests: &mut Inbox,
) -> Option<(mpsc::Permit<'a, Pending>, Raw)> {
    let slot = answers.reserve().await.ok()?;
    let raw = requests.recv().await?;
    Some((slot, raw))
}
