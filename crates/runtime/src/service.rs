//! A service on the bus: a [`Client`] with a state folder, an outbox for its facts, health and an
//! orderly end.

use std::error::Error;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_wire::messages::{Message, Notice, ServiceStatus};
use portcullis_wire::principal::{
    Audit, Brain, Execution, MarketData, Principal, RiskGuard, Signer,
};
use portcullis_wire::subjects::{
    AUDIT_STATUS, BRAIN_NOTICE, BRAIN_STATUS, EXECUTION_NOTICE, MARKET_DATA_NOTICE,
    MARKET_DATA_STATUS, RISK_GUARD_NOTICE, RISK_GUARD_STATUS, SIGNER_NOTICE, SIGNER_STATUS,
    Subject,
};
use portcullis_wire::{Header, Sealed};
use tokio::sync::watch;

use crate::bus::{BusError, ConnectError};
use crate::client::{self, Client};
use crate::config::ConfigError;
use crate::health::{self, Health};
use crate::identity::IdentityError;
use crate::outbox::Outbox;
use crate::shutdown::{self, Ending, Fault, Faults, Shutdown};
use crate::state::{StateDir, StateError};
use crate::{FactsConsumer, ServiceArgs, Telemetry, clock, facts};

/// How long facts may still reach the stream when the service stops.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// The role of a service, with the subjects that the runtime itself publishes on.
pub trait ServiceRole: Principal + Sized {
    /// Where its notices go; audit has none, it writes its own entries.
    const NOTICE: Option<Subject<Self, Notice>>;
    /// Where its status goes; execution has its own kind of status.
    const STATUS: Option<Subject<Self, ServiceStatus>>;
}

macro_rules! service_roles {
    ($($role:ident: $notice:expr, $status:expr;)*) => {$(
        impl ServiceRole for $role {
            const NOTICE: Option<Subject<Self, Notice>> = $notice;
            const STATUS: Option<Subject<Self, ServiceStatus>> = $status;
        }
    )*};
}

service_roles! {
    Brain: Some(BRAIN_NOTICE), Some(BRAIN_STATUS);
    RiskGuard: Some(RISK_GUARD_NOTICE), Some(RISK_GUARD_STATUS);
    Execution: Some(EXECUTION_NOTICE), None;
    Signer: Some(SIGNER_NOTICE), Some(SIGNER_STATUS);
    MarketData: Some(MARKET_DATA_NOTICE), Some(MARKET_DATA_STATUS);
    Audit: None, Some(AUDIT_STATUS);
}

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its settings are not usable.
    #[error("load settings")]
    Config(#[from] ConfigError),
    /// Its identity is not usable.
    #[error("load identity")]
    Identity(#[from] IdentityError),
    /// Its state folder is not usable.
    #[error("open state")]
    State(#[from] StateError),
    /// The bus is not there, or does not admit it.
    #[error("join the bus")]
    Connect(#[from] ConnectError),
    /// The bus did not do what it must.
    #[error("use the bus")]
    Bus(#[from] BusError),
    /// The address for health is not usable.
    #[error("listen for health checks on {address}")]
    Health {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The chosen port could not be written down.
    #[error("write the health port to {path}")]
    HealthPort {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// Traces cannot be exported as asked.
    #[error("export traces to {url}")]
    Telemetry {
        /// Where to.
        url: String,
        /// What the library said.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// Signals cannot be watched.
    #[error("watch signals")]
    Signals(#[source] std::io::Error),
}

impl StartError {
    /// Whether starting again without a change could not help.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::Identity(_)
            | Self::Health { .. }
            | Self::HealthPort { .. }
            | Self::Telemetry { .. } => true,
            Self::State(error) => match error {
                // The other instance may be on its way out, and the clock passes a number by itself.
                StateError::InUse(_) | StateError::Boot { .. } | StateError::BootAhead { .. } => {
                    false
                }
                StateError::Open { .. }
                | StateError::OpenToOthers(_)
                | StateError::BootDamaged(_) => true,
            },
            Self::Connect(error) => error.is_permanent(),
            Self::Bus(error) => error.is_permanent(),
            Self::Signals(_) => false,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Config(error) => error.next_step(),
            Self::Identity(error) => error.next_step(),
            Self::State(error) => error.next_step(),
            Self::Connect(error) => error.next_step(),
            Self::Bus(error) => error.next_step(),
            Self::Signals(_) => "start the service again".into(),
            Self::Health { address, .. } => {
                format!(
                    "free {address}, or give --health another address (port 0 lets the system choose)"
                )
            }
            Self::HealthPort { path, .. } => format!("make {} writable", path.display()),
            Self::Telemetry { .. } => "give --otlp as http://host:port, or leave it out".into(),
        }
    }
}

/// A service on the bus. It does everything a [`Client`] does, and more. Clones are the same
/// service.
pub struct Service<P> {
    pub(crate) client: Client<P>,
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) outbox: Outbox,
    health: Health,
    health_address: SocketAddr,
    /// Locked for as long as anything of the service runs.
    _state: StateDir,
}

impl<P> Clone for Service<P> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<P> std::fmt::Debug for Service<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl<P> Deref for Service<P> {
    type Target = Client<P>;

    fn deref(&self) -> &Client<P> {
        &self.client
    }
}

impl<P: ServiceRole> Service<P> {
    /// Loads the identity, opens the state folder, keeps a new boot number, starts the health
    /// server, and joins the bus, waiting up to 30 s for it.
    ///
    /// # Errors
    /// [`StartError`], which says what to do.
    pub async fn start(args: &ServiceArgs) -> Result<(Self, StateDir), StartError> {
        let identity = client::load_identity::<P>(&args.identity, args.identity_key.as_deref())?;
        let state = StateDir::open(&args.state)?;
        let boot = state.boot_number()?;
        let telemetry = match &args.otlp {
            Some(url) => Telemetry::exporting(identity.name.as_str(), url).map_err(|cause| {
                StartError::Telemetry {
                    url: url.clone(),
                    cause,
                }
            })?,
            None => Telemetry::without_export(),
        };
        let health = Health::new();
        let health_address =
            health::serve(&health, args.health, args.health_port_file.as_deref()).await?;
        let faults = Faults::new();
        shutdown::watch_signals(faults.clone()).map_err(StartError::Signals)?;
        let client = Client::start(identity, &args.bus, boot, telemetry, faults.clone()).await?;
        tokio::spawn(clock::watch(*client.clock(), faults));
        let outbox = Outbox::start(client.bus().clone(), P::ROLE).await?;
        health.watch(client.bus().clone());
        let shared = Shared {
            outbox,
            health,
            health_address,
            _state: state.clone(),
        };
        let service = Self {
            client,
            shared: Arc::new(shared),
        };
        let (client, shared) = (service.client.downgrade(), Arc::downgrade(&service.shared));
        service.client.report_refusals_to(Box::new(move |notice| {
            if let (Some(client), Some(shared)) = (client.upgrade(), shared.upgrade()) {
                Self { client, shared }.notice(notice);
            }
        }));
        service.show_life();
        tracing::info!(
            service = P::ROLE.name(),
            boot,
            version = env!("CARGO_PKG_VERSION"),
            "started"
        );
        Ok((service, state))
    }

    /// Seals a fact and hands it to the outbox, which sends it until the stream has it.
    ///
    /// # Errors
    /// [`BusError::OutboxFull`]: the service must refuse new work; nothing was counted.
    /// [`BusError::Seal`] as in [`Client::seal`].
    pub fn fact<M: Message>(
        &self,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
        cause: Option<&Header>,
        traceparent: Option<String>,
    ) -> Result<Sealed, BusError> {
        // One fact at a time, so that they reach the stream in the order of their places.
        let mut sealing = self.client.sealing();
        self.shared.outbox.has_room()?;
        let sealed = sealing.seal(self.now(), subject, name, message, cause, traceparent)?;
        self.shared.outbox.push(sealed.clone(), false)?;
        Ok(sealed)
    }

    /// Hands a fact that was sealed before to the outbox.
    ///
    /// # Errors
    /// [`BusError::OutboxFull`].
    pub fn fact_sealed(&self, sealed: Sealed) -> Result<(), BusError> {
        self.shared.outbox.push(sealed, false)
    }

    /// As [`Self::fact_sealed`], for a fact that an earlier process may have sent already: the
    /// stream answering that it has it is then no alarm.
    ///
    /// # Errors
    /// [`BusError::OutboxFull`].
    pub fn fact_again(&self, sealed: Sealed) -> Result<(), BusError> {
        self.shared.outbox.push(sealed, true)
    }

    /// Whether the outbox takes another fact.
    #[must_use]
    pub fn has_room_for_facts(&self) -> bool {
        self.shared.outbox.has_room().is_ok()
    }

    /// The place through which the stream has all facts that this start sealed, and before them all
    /// that were handed over with [`Self::fact_again`]; 0 before the first.
    #[must_use]
    pub fn facts_acknowledged(&self) -> watch::Receiver<u64> {
        self.shared.outbox.acknowledged()
    }

    /// Puts a notice on record. Never blocks; where it cannot be recorded, it is logged.
    pub fn notice(&self, notice: Notice) {
        let Some(subject) = P::NOTICE else { return };
        if let Err(error) = self.fact(&subject, None, &notice, None, None) {
            tracing::error!(%error, ?notice, "notice not recorded");
            metrics::counter!("portcullis_notices_lost_total").increment(1);
        }
    }

    /// Publishes the service's status. Never blocks; the next one follows soon.
    pub fn status(&self, status: &ServiceStatus) {
        let Some(subject) = P::STATUS else { return };
        if let Err(error) = self.publish(&subject, None, status, None, None) {
            tracing::debug!(%error, "status not sent");
        }
    }

    /// Where /healthz, /readyz and /metrics answer.
    #[must_use]
    pub fn health_address(&self) -> SocketAddr {
        self.shared.health_address
    }

    /// Says whether the service does its work, and if not, why; logged when it changes.
    pub fn set_ready(&self, ready: bool, detail: &str) {
        self.shared.health.set(ready, detail);
    }

    /// Reports a fault that nothing can go on after: the service ends with exit code 1.
    pub fn fail(&self, error: impl Into<Box<dyn Error + Send + Sync>>) {
        self.client.faults().fail(error);
    }

    /// Resolves on SIGTERM, SIGINT or a fatal fault.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.client.faults().shutdown()
    }

    /// Ends in order: the last notice, up to 2 s for facts on their way, then the connection.
    ///
    /// # Errors
    /// [`Fault`] if the service ends because of one, for `main` to return.
    pub async fn stop(self) -> Result<(), Fault> {
        self.set_ready(false, "stopping");
        let faults = self.client.faults();
        faults.ask();
        self.notice(Notice::Stopped);
        let left = self.shared.outbox.flush(FLUSH_PATIENCE).await;
        if left > 0 {
            tracing::warn!(
                facts = left,
                "facts did not reach the stream before the end"
            );
        }
        self.close().await;
        self.telemetry().shutdown().await;
        match faults.shutdown().ending() {
            Some(Ending::Fault(fault)) => Err(fault),
            Some(Ending::Asked) | None => Ok(()),
        }
    }
}

impl Service<Audit> {
    /// Receives every fact from the stream, from the first that was not yet acknowledged on.
    ///
    /// # Errors
    /// [`BusError::Stream`] when the stream or its consumer was not provisioned.
    pub async fn facts_consumer(&self) -> Result<FactsConsumer, BusError> {
        facts::consume(self.client.bus(), *self.clock()).await
    }
}
