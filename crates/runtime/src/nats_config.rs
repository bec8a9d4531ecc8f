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
//!      └─ service import evt.execution.fill.sample ──▶ STORE: stream FACTS_EXECUTION ── PubAck ──▶ inbox
//!
//!  AUDIT ── service import JS.STORE.API.CONSUMER.… ──▶ STORE: consumer `audit` of FACTS_EXECUTION
//! ```
//!
//! One publish on a fact's subject does both; the tests prove it against the real server. Commands
//! and data travel by stream exports alone, one way. No service answers a reply subject.
//!
//! Each source has a stream of facts of its own: what one fills, or what message ids it uses up, is
//! no other's loss.

mod account;
mod render;
mod roster;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use portcullis_domain::{Hash, PrincipalName};
use portcullis_wire::Link;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{Delivery, Row, TABLE, Variable};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ParsedCertificate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use account::Account;
pub use roster::{OperatorId, Roster, RosterError, development_roster};

/// What the name of each stream of facts begins with; its source's account follows.
pub const FACTS_PREFIX: &str = "FACTS_";
/// The one consumer of each of them.
pub const FACTS_CONSUMER: &str = "audit";
/// Who creates the streams and their consumers, once, and does nothing else.
pub const PROVISIONER: &str = "provisioner";
/// Who may ask the server how it is, and does nothing else.
pub const MONITOR: &str = "monitor";
/// With its own name after it, a subject that a principal sends to itself: what comes back shows
/// that the server has seen everything before it, such as a new subscription.
pub(crate) const ECHO: &str = "echo";
/// Under this name the consumer's interface is imported: an import under its own name would be
/// answered by the importing account, which has no streams.
pub(crate) const STORE_API: &str = "JS.STORE.API";
/// Whoever asks here is told which permissions the server gave it.
pub(crate) const USER_INFO: &str = "$SYS.REQ.USER.INFO";
/// What the server's disk gives to facts: the sum of all shares.
pub const FACTS_BYTES_MAX: i64 = 4 << 30;
/// The most bytes of facts of each source; then its stream refuses more. Execution says the most,
/// and what it says matters the most.
const FACTS_SHARES: [(Role, i64); 5] = [
    (Role::Execution, 2_048 << 20),
    (Role::RiskGuard, 768 << 20),
    (Role::Signer, 512 << 20),
    (Role::Brain, 512 << 20),
    (Role::MarketData, 256 << 20),
];

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

/// What admits a principal: neither half is enough without the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicIdentity {
    /// Its public NKey.
    pub nkey: String,
    /// The pin of its certificate, as [`certificate_pin`] makes it.
    pub certificate_pin: Hash,
}

/// Who is admitted, by name: two identities while one replaces the other, none for whoever is
/// revoked.
pub type Credentials = BTreeMap<PrincipalName, Vec<PublicIdentity>>;

/// The pin of a certificate (PEM): the SHA-256 of its public key as it stands in the certificate
/// (DER of `SubjectPublicKeyInfo`), which is what the server compares. `None` when it is no
/// certificate.
#[must_use]
pub fn certificate_pin(certificate_pem: &[u8]) -> Option<Hash> {
    let certificate = CertificateDer::from_pem_slice(certificate_pem).ok()?;
    let parsed = ParsedCertificate::try_from(&certificate).ok()?;
    let key = parsed.subject_public_key_info();
    Some(Hash(Sha256::digest(key.as_ref()).into()))
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
    /// The server's monitoring has no authentication.
    #[error("monitoring on {0} can be read by others: it must listen on loopback")]
    Monitoring(SocketAddr),
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

/// A stream that captures the facts of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactsStream {
    /// Whose facts.
    pub source: Role,
    /// Its name.
    pub name: String,
    /// Every subject that it captures, in order.
    pub subjects: Vec<String>,
    /// The most bytes that it holds.
    pub bytes_max: i64,
}

/// The name of the stream of a source's facts.
#[must_use]
pub fn facts_stream_of(source: Role) -> String {
    let account = source.name().to_ascii_uppercase().replace('-', "_");
    format!("{FACTS_PREFIX}{account}")
}

/// The sources of facts, execution first: its facts are what receipts are given for.
pub fn facts_sources() -> impl Iterator<Item = Role> {
    FACTS_SHARES.iter().map(|(source, _)| *source)
}

/// Every stream of facts, in the order of [`facts_sources`].
#[must_use]
pub fn facts_streams(roster: &Roster) -> Vec<FactsStream> {
    let stream = |(source, bytes_max): (Role, i64)| {
        let own = |row: &&&Row| row.delivery == Delivery::Stream && row.publisher == source;
        let rows = TABLE.iter().filter(own);
        let mut subjects: Vec<_> = rows.flat_map(|row| subjects_of(row, roster)).collect();
        subjects.sort();
        FactsStream {
            source,
            name: facts_stream_of(source),
            subjects,
            bytes_max,
        }
    };
    FACTS_SHARES.into_iter().map(stream).collect()
}

/// What a reader subscribes to for a publisher's subject. Where several principals publish on one
/// subject, each comes under its own name, which the server writes: one's flood fills the queue of
/// that one, and who it was cannot be disputed.
#[must_use]
pub fn heard_as(row: &Row, subject: &str, publisher: &PrincipalName) -> String {
    if row.publisher.is_plural() && row.variable == Variable::None {
        format!("{subject}.{publisher}")
    } else {
        subject.into()
    }
}

/// The server's configuration. The same arguments give the same text. A principal may have several
/// NKeys, while one is exchanged for another; one that has none, because it was revoked, may not log
/// in.
///
/// # Errors
/// [`NatsConfigError`] when a key is missing or a path cannot be written.
pub fn nats_config(
    roster: &Roster,
    credentials: &Credentials,
    settings: &NatsSettings,
) -> Result<String, NatsConfigError> {
    render::config(roster, credentials, settings)
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
