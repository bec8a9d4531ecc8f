//! The whole configuration of the bus, generated from the table of subjects.
//!
//! Every principal has an account of its own, and accounts share nothing but what is exported and
//! imported here: subject by subject, for named accounts. That is the point: within one account the
//! server checks where a client publishes, but not where it asks to be *answered*, so a service
//! could have stream data delivered into another's command subject. Across accounts there is
//! nothing to deliver it to.
//!
//! ```text
//!  EXECUTION ── stream export evt.execution.fill.sample ──▶ AUDIT, RISK_GUARD, BRAIN, … (imports)
//!      │
//!      └─ service import evt.execution.fill.sample ──▶ STORE: stream FACTS ── PubAck ──▶ inbox
//!
//!  AUDIT ── service import JS.STORE.API.CONSUMER.… ──▶ STORE: consumer `audit` of FACTS
//! ```
//!
//! One publish on a fact's subject does both; the tests prove it against the real server. Commands
//! and data travel by stream exports alone, one way. No service answers a reply subject.

mod render;
mod roster;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use portcullis_domain::PrincipalName;
use portcullis_wire::Link;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{Delivery, Row, TABLE, Variable};

pub use roster::{OperatorId, Roster, RosterError, development_roster};

/// The stream that captures every fact.
pub const FACTS_STREAM: &str = "FACTS";
/// Its one consumer.
pub const FACTS_CONSUMER: &str = "audit";
/// Who creates the stream and its consumer, once, and does nothing else.
pub const PROVISIONER: &str = "provisioner";
/// Who may ask the server how it is, and does nothing else.
pub const MONITOR: &str = "monitor";
/// With its own name after it, a subject that a principal sends to itself: what comes back shows
/// that the server has seen everything before it, such as a new subscription.
pub(crate) const ECHO: &str = "echo";
/// Under this name the consumer's interface is imported: an import under its own name would be
/// answered by the importing account, which has no streams.
pub(crate) const STORE_API: &str = "JS.STORE.API";
/// The most bytes of facts the stream holds; then it refuses more, and no order goes out.
pub const FACTS_BYTES_MAX: i64 = 4 << 30;

/// What the configuration says beside accounts.
#[derive(Clone, Debug)]
pub struct NatsSettings {
    /// Where clients connect; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where the server's own monitoring listens. It has no authentication: loopback only.
    pub http: Option<SocketAddr>,
    /// The folder of the stream.
    pub store_dir: PathBuf,
    /// The server's certificate (PEM).
    pub tls_certificate: PathBuf,
    /// Its private key (PEM).
    pub tls_key: PathBuf,
    /// The authority of every certificate (PEM).
    pub tls_ca: PathBuf,
    /// Where the server writes its process id.
    pub pid_file: Option<PathBuf>,
    /// Where the server logs; standard error if nowhere.
    pub log_file: Option<PathBuf>,
}

/// Why no configuration was written.
#[derive(Debug, thiserror::Error)]
pub enum NatsConfigError {
    /// Somebody has no NKey.
    #[error("no NKey for {0}")]
    NoKey(PrincipalName),
    /// A key is not a public user key.
    #[error("NKey of {0} is not a public user key")]
    Key(PrincipalName),
    /// A path cannot be written into the configuration.
    #[error("path {0} has characters that cannot stand in a configuration")]
    Path(PathBuf),
}

/// Everybody on the bus, in order: services, strategies, operators. Neither provisioner nor monitor:
/// they have accounts, and no part in the table.
#[must_use]
pub fn principals(roster: &Roster) -> Vec<PrincipalName> {
    let services = Role::SERVICES
        .iter()
        .filter_map(|role| PrincipalName::new(role.name()).ok());
    services
        .chain(roster.strategy_principals())
        .chain(roster.operator_principals())
        .collect()
}

/// Every link that needs a key: for each subject, from each publisher to each reader, including
/// those that it reaches enclosed in another message.
#[must_use]
pub fn links(roster: &Roster) -> Vec<Link> {
    let everybody = principals(roster);
    let mut links = Vec::new();
    for row in TABLE {
        for subject in subjects_of(row, roster) {
            for source in everybody
                .iter()
                .filter(|name| row.may_publish(name, &subject))
            {
                for audience in everybody.iter().filter(|name| row.may_read(name, &subject)) {
                    links.push(Link {
                        source: *source,
                        audience: *audience,
                    });
                }
            }
        }
    }
    links.sort();
    links.dedup();
    links
}

/// Every subject that the stream of facts captures, in order.
#[must_use]
pub fn fact_subjects(roster: &Roster) -> Vec<String> {
    let facts = TABLE.iter().filter(|row| row.delivery == Delivery::Stream);
    let mut subjects: Vec<_> = facts.flat_map(|row| subjects_of(row, roster)).collect();
    subjects.sort();
    subjects
}

/// The server's configuration. The same arguments give the same text.
///
/// # Errors
/// [`NatsConfigError`] when a key is missing or a path cannot be written.
pub fn nats_config(
    roster: &Roster,
    nkeys: &BTreeMap<PrincipalName, String>,
    settings: &NatsSettings,
) -> Result<String, NatsConfigError> {
    render::config(roster, nkeys, settings)
}

/// The concrete subjects of a line of the table.
pub fn subjects_of(row: &Row, roster: &Roster) -> Vec<String> {
    match row.variable {
        Variable::None => row.concrete(None).into_iter().collect(),
        Variable::Strategy => roster
            .strategies()
            .iter()
            .filter_map(|id| row.concrete(Some(id.as_str())))
            .collect(),
        Variable::Symbol => roster
            .symbols()
            .iter()
            .filter_map(|id| row.concrete(Some(id.as_str())))
            .collect(),
    }
}

/// Whether a principal receives a subject as such, not only enclosed in something else.
#[must_use]
pub fn receives(row: &Row, principal: &PrincipalName, subject: &str) -> bool {
    let direct = Role::of(principal).is_some_and(|role| row.subscribers.contains(&role));
    direct && row.may_read(principal, subject)
}

/// The account of a principal: its name in the spelling that configurations use.
#[must_use]
pub fn account(principal: &PrincipalName) -> String {
    principal.as_str().to_ascii_uppercase().replace('-', "_")
}
