//! Creates the streams of facts and the one consumer of each. Run once for a deployment, and as often as one
//! likes: what exists is compared, never changed and never deleted.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, ReplayPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, ErrorCode};

use crate::Identity;
use crate::bus::{self, Bus, BusError, ConnectError, RightsError, TIMEOUT};
use crate::identity::IdentityError;
use crate::nats_config::{FACTS_CONSUMER, FactsStream, Roster, facts_streams};
use crate::shutdown::Faults;

/// A fact that audit has not taken in this time is beyond help.
const AGE_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Retries of a publisher come sooner.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);

/// Audit acknowledges after one sync of its disk. What it had in hand when it was killed comes again
/// this long afterwards.
const ACK_WAIT: Duration = Duration::from_secs(5);

/// Why a stream of facts is not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The provisioner's identity is not usable.
    #[error("load the provisioner's identity")]
    Identity(#[from] IdentityError),
    /// The bus is not there, or does not admit the provisioner.
    #[error("join the bus")]
    Connect(#[from] ConnectError),
    /// What the bus lets the provisioner do is not what it must.
    #[error("check what the bus lets one do")]
    Rights(#[from] RightsError),
    /// The bus did not answer, or refused.
    #[error("{action}: {problem}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// What was said.
        problem: String,
    },
    /// Something of that name exists and is different.
    #[error("{what} exists with another {difference}")]
    Differs {
        /// The stream, or its consumer.
        what: String,
        /// In what it differs.
        difference: String,
    },
}

impl ProvisionError {
    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Identity(error) => error.next_step(),
            Self::Connect(error) => error.next_step(),
            Self::Rights(error) => error.next_step(),
            Self::Refused { .. } => "look into the log of the bus server".into(),
            Self::Differs { .. } => {
                "keep a copy of the streams' folder, then start with an empty one: the roster or \
                 the version changed what is recorded"
                    .into()
            }
        }
    }
}

impl From<BusError> for ProvisionError {
    fn from(error: BusError) -> Self {
        Self::Refused {
            action: "use the bus",
            problem: error.to_string(),
        }
    }
}

/// Creates the streams of facts and their consumers with the provisioner's identity, or makes sure that
/// they are what they must be.
///
/// # Errors
/// [`ProvisionError`]; nothing that exists was changed.
pub async fn provision(
    identity_folder: &Path,
    bus_url: &str,
    roster: &Roster,
) -> Result<(), ProvisionError> {
    let identity = Identity::load(identity_folder)?;
    let bus = Bus::connect(&identity, bus_url, &Faults::new()).await?;
    let outcome = match bus::check_against(&bus, roster).await {
        Ok(()) => create(&bus, roster).await,
        Err(error) => Err(error.into()),
    };
    bus.close().await;
    outcome
}

async fn create(bus: &Bus, roster: &Roster) -> Result<(), ProvisionError> {
    let mut context = jetstream::new(bus.client().clone());
    context.set_timeout(TIMEOUT);
    for stream in facts_streams(roster) {
        create_one(&context, &stream).await?;
    }
    Ok(())
}

async fn create_one(
    context: &jetstream::Context,
    facts: &FactsStream,
) -> Result<(), ProvisionError> {
    let wanted = stream_config(facts);
    let stream = match timed("read a stream", context.get_stream(&facts.name)).await? {
        Ok(stream) => stream,
        Err(error) if is_missing(&error) => {
            match timed("create a stream", context.create_stream(wanted.clone())).await? {
                Ok(stream) => stream,
                Err(error) => return Err(refused("create a stream", &error)),
            }
        }
        Err(error) => return Err(refused("read a stream", &error)),
    };
    compare_streams(&facts.name, &wanted, &stream.cached_info().config)?;

    let wanted = consumer_config();
    let found: Result<PullConsumer, _> =
        timed("read a consumer", stream.get_consumer(FACTS_CONSUMER)).await?;
    let consumer = match found {
        Ok(consumer) => consumer,
        // The server says 404, and the library passes it on as text only.
        Err(_) => match timed("create a consumer", stream.create_consumer(wanted.clone())).await? {
            Ok(consumer) => consumer,
            Err(error) => return Err(refused("create a consumer", &error)),
        },
    };
    compare_consumers(&facts.name, &wanted, &consumer.cached_info().config)
}

async fn timed<T>(
    action: &'static str,
    call: impl Future<Output = T>,
) -> Result<T, ProvisionError> {
    tokio::time::timeout(TIMEOUT, call)
        .await
        .map_err(|_| ProvisionError::Refused {
            action,
            problem: "no answer in time".into(),
        })
}

fn refused(action: &'static str, error: &dyn std::error::Error) -> ProvisionError {
    ProvisionError::Refused {
        action,
        problem: error.to_string(),
    }
}

fn is_missing(error: &jetstream::context::GetStreamError) -> bool {
    matches!(
        error.kind(),
        jetstream::context::GetStreamErrorKind::JetStream(cause)
            if cause.error_code() == ErrorCode::STREAM_NOT_FOUND
    )
}

/// Nothing can be taken out of it, and when it is full it takes no more: then no order goes out.
fn stream_config(facts: &FactsStream) -> Config {
    Config {
        name: facts.name.clone(),
        subjects: facts.subjects.clone(),
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        max_bytes: facts.bytes_max,
        max_consumers: 1,
        max_age: AGE_MAX,
        duplicate_window: DUPLICATE_WINDOW,
        deny_delete: true,
        deny_purge: true,
        num_replicas: 1,
        ..Config::default()
    }
}

fn consumer_config() -> pull::Config {
    pull::Config {
        durable_name: Some(FACTS_CONSUMER.into()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        replay_policy: ReplayPolicy::Instant,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: 1_000,
        max_batch: 256,
        ..pull::Config::default()
    }
}

fn compare_streams(name: &str, wanted: &Config, found: &Config) -> Result<(), ProvisionError> {
    let mut subjects = found.subjects.clone();
    subjects.sort();
    let same = [
        ("subjects", wanted.subjects == subjects),
        ("storage", wanted.storage == found.storage),
        ("retention", wanted.retention == found.retention),
        ("discard policy", wanted.discard == found.discard),
        ("max_bytes", wanted.max_bytes == found.max_bytes),
        ("max_age", wanted.max_age == found.max_age),
        ("max_messages", found.max_messages <= 0),
        ("max_consumers", wanted.max_consumers == found.max_consumers),
        (
            "duplicate_window",
            wanted.duplicate_window == found.duplicate_window,
        ),
        ("deny_delete", found.deny_delete),
        ("deny_purge", found.deny_purge),
        ("sealed", !found.sealed),
        ("republish", found.republish.is_none()),
    ];
    differing(format!("stream {name}"), &same)
}

/// Whether a consumer is as it was made. Its reader asks too: a filter that somebody added with the
/// provisioner's identity would hide facts.
pub(crate) fn check_consumer(
    stream: &str,
    found: &jetstream::consumer::Config,
) -> Result<(), ProvisionError> {
    compare_consumers(stream, &consumer_config(), found)
}

fn compare_consumers(
    name: &str,
    wanted: &pull::Config,
    found: &jetstream::consumer::Config,
) -> Result<(), ProvisionError> {
    let same = [
        ("durable name", wanted.durable_name == found.durable_name),
        (
            "deliver policy",
            wanted.deliver_policy == found.deliver_policy,
        ),
        ("ack policy", wanted.ack_policy == found.ack_policy),
        ("deliver subject", found.deliver_subject.is_none()),
        (
            "filter",
            found.filter_subject.is_empty() && found.filter_subjects.is_empty(),
        ),
        ("max_deliver", found.max_deliver <= 0),
        ("ack_wait", wanted.ack_wait == found.ack_wait),
    ];
    differing(format!("the consumer of {name}"), &same)
}

fn differing(what: String, same: &[(&str, bool)]) -> Result<(), ProvisionError> {
    let differences: Vec<_> = same
        .iter()
        .filter(|(_, same)| !same)
        .map(|(name, _)| *name)
        .collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(ProvisionError::Differs {
        what,
        difference: differences.join(", "),
    })
}
