//! Makes the connection: mutual TLS 1.3 from the first byte, an NKey, and nothing by default.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use async_nats::{ConnectErrorKind, ConnectOptions, Event, ServerError};
use portcullis_domain::PrincipalName;
use tokio::sync::watch;

use super::TIMEOUT;
use super::admission::Admitting;
use super::operators::Operators;
use crate::Identity;
use crate::exit::Unusable;
use crate::shutdown::Faults;

/// How long the first connection may take, with all its attempts.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many connections in a row that the server closes without a word are a refusal: one that goes
/// down does it once or twice.
const HANG_UPS_MAX: u32 = 5;
/// Two of them unanswered, and the connection counts as dead.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How many commands may wait for the connection; what waits there may be sent late.
const CLIENT_CAPACITY: usize = 512;
/// How many messages of one subscription may wait for the task that sorts them.
const SUBSCRIPTION_CAPACITY: usize = 16_384;

/// Why there is no connection to the bus.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Certificates and key do not make a TLS identity.
    #[error("use the certificates of {principal}")]
    Certificates {
        /// Whose.
        principal: PrincipalName,
        /// What the library said.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The address is not `tls://host:port`.
    #[error("{0:?} is not the address of a bus")]
    Address(String),
    /// The server does not accept this identity, or this identity not the server.
    #[error("{principal} is not admitted to the bus at {url}")]
    Refused {
        /// Who asked.
        principal: PrincipalName,
        /// Where.
        url: String,
        /// What was said.
        #[source]
        cause: async_nats::ConnectError,
    },
    /// Nobody answered for as long as the server may need to start.
    #[error("no bus at {url} after {} s", PATIENCE.as_secs())]
    Absent {
        /// Where.
        url: String,
        /// What the last attempt said.
        #[source]
        cause: async_nats::ConnectError,
    },
}

impl ConnectError {
    /// Whether trying again could not help.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Certificates { .. } | Self::Address(_) | Self::Refused { .. } => true,
            Self::Absent { .. } => false,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Certificates { .. } => {
                "make the identity anew, or check which folder --identity names".into()
            }
            Self::Address(_) => "give --bus as tls://host:port".into(),
            Self::Refused { .. } => {
                "check that identity and server belong to the same deployment, and that the \
                 server's configuration was generated with this identity in its roster"
                    .into()
            }
            Self::Absent { url, .. } => format!("start the bus, or correct --bus (now {url})"),
        }
    }
}

pub(super) async fn connect(
    identity: &Identity,
    url: &str,
    faults: &Faults,
    operators: &Operators,
) -> Result<(async_nats::Client, watch::Receiver<u64>), ConnectError> {
    if !url.starts_with("tls://") || url.parse::<async_nats::ServerAddr>().is_err() {
        return Err(ConnectError::Address(url.into()));
    }
    let admitting = Admitting::new(identity.transport().clone());
    let tls = admitting
        .tls_config()
        .map_err(|cause| ConnectError::Certificates {
            principal: identity.name,
            cause,
        })?;
    let (counter, connections) = watch::channel(0);
    let began = Instant::now();
    let mut pause = Duration::from_millis(50);
    let (mut refusals, mut hung_up) = (0_usize, 0_u32);
    loop {
        let options = options(
            identity.name,
            admitting.clone(),
            tls.clone(),
            counter.clone(),
            faults.clone(),
            operators.clone(),
        );
        let cause = match options.connect(url).await {
            Ok(client) => return Ok((client, connections)),
            Err(cause) => cause,
        };
        refusals = refusals.saturating_add(usize::from(is_refusal(&cause)));
        hung_up = if was_hung_up(&cause) {
            hung_up.saturating_add(1)
        } else {
            0
        };
        // While keys are exchanged, those of before or after may be the ones that it knows.
        let refused = is_refusal(&cause) && refusals >= admitting.kinds();
        if refused || hung_up >= HANG_UPS_MAX {
            let (principal, url) = (identity.name, url.into());
            return Err(ConnectError::Refused {
                principal,
                url,
                cause,
            });
        }
        if began.elapsed() >= PATIENCE {
            return Err(ConnectError::Absent {
                url: url.into(),
                cause,
            });
        }
        tracing::info!(url, cause = %cause, "waiting for the bus");
        tokio::time::sleep(jittered(pause)).await;
        pause = pause.saturating_mul(2).min(Duration::from_secs(2));
    }
}

fn options(
    name: PrincipalName,
    admitting: Admitting,
    tls: rustls::ClientConfig,
    connections: watch::Sender<u64>,
    faults: Faults,
    operators: Operators,
) -> ConnectOptions {
    let signing = admitting.clone();
    ConnectOptions::with_auth_callback(move |nonce| {
        let signed = signing.sign(&nonce);
        async move { signed }
    })
    .name(name.as_str())
    .require_tls(true)
    .tls_first()
    .tls_client_config(tls)
    .custom_inbox_prefix(format!("_INBOX.{name}"))
    .connection_timeout(TIMEOUT)
    .request_timeout(Some(TIMEOUT))
    .ping_interval(PING_INTERVAL)
    .client_capacity(CLIENT_CAPACITY)
    .subscription_capacity(SUBSCRIPTION_CAPACITY)
    // Only the address we were given: servers that a server names were not configured by us.
    .ignore_discovered_servers()
    .reconnect_delay_callback(|attempts| {
        let doublings = u32::try_from(attempts.min(6)).unwrap_or(6);
        let pause = Duration::from_millis(25).saturating_mul(1 << doublings);
        jittered(pause.min(Duration::from_secs(1)))
    })
    .event_callback(move |event| {
        if matches!(event, Event::Connected) {
            admitting.admitted();
            operators.connected();
        }
        let (connections, faults) = (connections.clone(), faults.clone());
        let operators = operators.clone();
        async move { report(&event, &connections, &faults, &operators) }
    })
}

fn report(event: &Event, connections: &watch::Sender<u64>, faults: &Faults, operators: &Operators) {
    match event {
        Event::Connected => {
            tracing::info!("connected to the bus");
            connections.send_modify(|count| *count = count.saturating_add(1));
            metrics::gauge!("portcullis_bus_connected").set(1.0);
        }
        Event::Disconnected => {
            tracing::warn!("disconnected from the bus");
            metrics::gauge!("portcullis_bus_connected").set(0.0);
            metrics::counter!("portcullis_bus_disconnects_total").increment(1);
        }
        Event::SlowConsumer(subscription) => {
            tracing::error!(subscription, "message dropped: this process is too slow");
            metrics::counter!("portcullis_bus_dropped_total", "subject" => "").increment(1);
        }
        Event::ServerError(ServerError::Other(text)) if text.contains("Permissions Violation") => {
            tracing::error!(denied = text.as_str(), "the bus denied a permission");
            metrics::counter!("portcullis_bus_permission_denied_total").increment(1);
            if text.contains("for Subscription") {
                let subject = text.split('"').nth(1).unwrap_or_default();
                match operators.denied(subject) {
                    Some(operator) => unheard(operator),
                    None => deaf(text, faults),
                }
            }
        }
        Event::ServerError(ServerError::Other(text)) if text.contains("maximum subscriptions") => {
            tracing::error!(
                denied = text.as_str(),
                "the bus takes no more subscriptions"
            );
            metrics::counter!("portcullis_bus_permission_denied_total").increment(1);
            deaf(text, faults);
        }
        Event::ServerError(error) => {
            tracing::error!(%error, "the bus reported an error");
            metrics::counter!("portcullis_bus_errors_total").increment(1);
        }
        Event::ClientError(error) => {
            tracing::error!(%error, "the bus client reported an error");
            metrics::counter!("portcullis_bus_errors_total").increment(1);
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            tracing::info!(%event, "bus");
        }
    }
}

/// One operator who is not heard is most often one who was revoked, and the server heard of it first.
/// While others can stop the service it goes on, and says so.
fn unheard(operator: PrincipalName) {
    tracing::error!(%operator, "the bus lets nobody hear this operator any more");
    metrics::counter!("portcullis_bus_operators_denied_total").increment(1);
}

/// A service that is deaf on one subject must not look healthy.
fn deaf(said: &str, faults: &Faults) {
    let next_step = "check that --identity and --config are those of the deployment that the \
                     server's configuration was generated for";
    let denied = SubscriptionDenied(said.to_owned());
    faults.fail(Unusable::at_present(denied, next_step.into()));
}

#[derive(Debug, thiserror::Error)]
#[error("the bus denied a subscription: {0}")]
struct SubscriptionDenied(String);

/// Whether the server shook hands and then closed without a word: what it does to a certificate that
/// is not on its list, and also when it is just going down.
fn was_hung_up(error: &async_nats::ConnectError) -> bool {
    let closed = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .is_some_and(|cause| cause.to_string().contains("got nothing"));
    closed && error.kind() == ConnectErrorKind::Io
}

/// Whether one side turned the other down, so that trying again cannot help.
fn is_refusal(error: &async_nats::ConnectError) -> bool {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => true,
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Tls
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => {
            let mut link: Option<&(dyn Error + 'static)> = error.source();
            while let Some(cause) = link {
                if is_tls_refusal(cause) {
                    return true;
                }
                link = cause.source();
            }
            false
        }
    }
}

fn is_tls_refusal(cause: &(dyn Error + 'static)) -> bool {
    // An `io::Error` hides what it carries from its own chain.
    let inside = cause
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let tls = cause
        .downcast_ref::<rustls::Error>()
        .or_else(|| inside.and_then(|inside| inside.downcast_ref::<rustls::Error>()));
    matches!(
        tls,
        Some(
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::AlertReceived(_)
                | rustls::Error::PeerIncompatible(_)
        )
    )
}

/// Between half and all of it, so that services that lost the same server do not return at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness everybody waits the whole pause.
    let share = getrandom::fill(&mut byte).map_or(255, |()| u32::from(byte[0]));
    let half = pause / 2;
    half.saturating_add(half.saturating_mul(share) / 255)
}
