//! Who a process is: the folder of one principal, whose sealed bundle holds its keys.
//!
//! ```text
//!  bundle.sealed   AES-256-GCM, this principal's material only:
//!                    certificate and NKey       admission to the bus
//!                    link keys by epoch         seal and verify envelopes
//!                    public keys it trusts      audit's, the operators', risk-guard's
//!                    signing seed, named keys   where it has any
//!  bundle.key      its key; beside it only outside production
//! ```
//!
//! The folder has mode 0700, every file 0600; anything wider is refused.

mod bundle;
mod certificates;
mod key_file;
pub mod make;
pub mod store;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use portcullis_domain::{PrincipalName, Span, Timestamp};
use portcullis_wire::command::OperatorKeys;
use portcullis_wire::messages::Signable;
use portcullis_wire::principal::Role;
use portcullis_wire::{KeyRing, Realm, Signed, SignedError, Signer, Verifying};
use zeroize::Zeroizing;

pub(crate) use bundle::Transport;
pub use bundle::{BUNDLE_FILE, BUNDLE_KEY_FILE, Bundle, BundleLink};
pub use key_file::{KEY_PATH_VARIABLE, REALM_KEY_PATH_VARIABLE, is_production};

use crate::Clock;
use crate::sealed_file::SealedFileError;
use crate::secret::SecretError;

/// From this share of its life on, in per cent, a key is warned of.
pub const AGE_WARNING_PERCENT: u64 = 80;
/// Beyond this share nothing starts with it in production.
pub const AGE_LIMIT_PERCENT: u64 = 100;

/// Why an identity folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The folder is missing or unreadable.
    #[error("open identity folder {path}")]
    Open {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// Others may look into the folder.
    #[error("identity folder {0} is open to others")]
    OpenToOthers(PathBuf),
    /// One of its files cannot be accepted.
    #[error("read a secret of the identity")]
    Secret(#[from] SecretError),
    /// The bundle does not open.
    #[error("open {path}")]
    Sealed {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: SealedFileError,
    },
    /// The bundle could not be written.
    #[error("write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// A value in one of its files makes no sense.
    #[error("{path} {problem}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// In production the key may not lie where the bundle lies: one copy would take both.
    #[error("in production the key of a bundle may not lie beside it, as {0} would")]
    KeyBeside(PathBuf),
    /// A key was given where the path of its file belongs.
    #[error("a key was given where the path of its file belongs")]
    KeyInsteadOfPath,
    /// In production no secret may be in the environment.
    #[error("environment variable {0} holds a secret, which production does not allow")]
    Environment(String),
    /// In production nothing starts with keys beyond their age.
    #[error(
        "{what} of {name} is at {percent} % of its life, and production takes no more than {AGE_LIMIT_PERCENT} %"
    )]
    TooOld {
        /// Whose.
        name: PrincipalName,
        /// Which key.
        what: &'static str,
        /// How old it is.
        percent: u64,
    },
    /// It is the identity of somebody else.
    #[error("{folder} is the identity of {name}, and {role} needs its own")]
    Role {
        /// Which folder.
        folder: PathBuf,
        /// Whose it is.
        name: PrincipalName,
        /// Who needs one.
        role: Role,
    },
}

impl IdentityError {
    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Open { path, .. } => {
                format!(
                    "make identities, or correct --identity (now {})",
                    path.display()
                )
            }
            Self::OpenToOthers(path) => format!("chmod 700 {}", path.display()),
            Self::Secret(error) => error.next_step(),
            Self::Sealed { .. } => {
                "check that the key is that of this bundle; if it is, the file was changed: \
                 bring it back from a copy, or revoke its principal"
                    .into()
            }
            Self::Write { path, .. } => format!("make {} writable", path.display()),
            Self::Value { path, .. } => {
                format!("make the identity that holds {} anew", path.display())
            }
            Self::KeyBeside(_) => format!(
                "hand the key over as a systemd credential, or name its file with --identity-key or \
                 {KEY_PATH_VARIABLE}, outside the identity's folder"
            ),
            Self::KeyInsteadOfPath => format!(
                "write the key to a file of mode 0600 and give its path to --identity-key or \
                 {KEY_PATH_VARIABLE}; take the key itself out of there, and rotate it"
            ),
            Self::Environment(variable) => format!(
                "put it into a file of mode 0600 and take {variable} out of the environment"
            ),
            Self::TooOld { name, what, .. } => {
                let command = if *what == CERTIFICATE {
                    format!("portcullis keys rotate {name}")
                } else {
                    "portcullis keys rotate".into()
                };
                format!("make new keys: {command}")
            }
            Self::Role { .. } => "give --identity the folder that is named like the service".into(),
        }
    }
}

const CERTIFICATE: &str = "the certificate";
const EPOCH: &str = "the epoch of the link keys";

/// Whose signatures count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Audit's, on receipts and checkpoints.
    pub audit: Option<Verifying>,
    /// Each operator's of the present, on commands; while it is exchanged another one counts too,
    /// see [`Self::operator_keys`].
    pub operators: BTreeMap<PrincipalName, Verifying>,
    /// Risk-guard's.
    pub risk_guard: Option<Verifying>,
    /// While a key is exchanged, the one that is not the author's at present.
    others: Vec<(PrincipalName, Verifying)>,
}

impl Trust {
    /// Every key of an author that counts: one, or two while it is exchanged; the present one first.
    pub fn keys_of(&self, author: &PrincipalName) -> impl Iterator<Item = Verifying> {
        let present = match Role::of(author) {
            Some(Role::Audit) => self.audit,
            Some(Role::RiskGuard) => self.risk_guard,
            Some(_) | None => self.operators.get(author).copied(),
        };
        let others = self.others.iter().filter(move |(name, _)| name == author);
        let others: Vec<_> = others.map(|(_, key)| *key).collect();
        present.into_iter().chain(others)
    }

    /// Every key of every operator that counts, as [`Self::keys_of`].
    #[must_use]
    pub fn operator_keys(&self) -> OperatorKeys {
        let keys = |name: &PrincipalName| (*name, self.keys_of(name).collect());
        self.operators.keys().map(keys).collect()
    }

    /// The content, if one of the author's keys signed it.
    ///
    /// # Errors
    /// [`SignedError`] when none did.
    pub fn verify<T: Signable>(
        &self,
        author: &PrincipalName,
        signed: &Signed<T>,
    ) -> Result<T, SignedError> {
        let mut outcome = Err(SignedError::Signature);
        for key in self.keys_of(author) {
            outcome = signed.verify(&key);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn of(bundle: &Bundle, now: Timestamp) -> Self {
        let mut trust = Self::default();
        let mut counting: Vec<_> = bundle.trusted_at(now).collect();
        // The key that its author uses at present last, so that it takes the place of the others.
        counting.sort_by_key(|trusted| (trusted.from <= now, trusted.from));
        for trusted in counting {
            let replaced = match Role::of(&trusted.name) {
                Some(Role::Audit) => trust.audit.replace(trusted.key),
                Some(Role::RiskGuard) => trust.risk_guard.replace(trusted.key),
                Some(_) | None => trust.operators.insert(trusted.name, trusted.key),
            };
            trust.others.extend(replaced.map(|key| (trusted.name, key)));
        }
        trust
    }
}

/// How far something is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// What it is, for people.
    pub what: &'static str,
    /// When its life began.
    pub from: Timestamp,
    /// When it ends, or should.
    pub until: Timestamp,
}

impl Age {
    /// How much of it is over, in per cent, rounded down.
    #[must_use]
    pub const fn percent(&self, now: Timestamp) -> u64 {
        self.part(now, 100)
    }

    /// How much of it is over, in parts of `whole`, rounded down.
    pub(crate) const fn part(&self, now: Timestamp, whole: u64) -> u64 {
        let life = self.until.since(self.from).0;
        // A life of nothing is over.
        let life = if life == 0 { 1 } else { life };
        now.since(self.from).0.saturating_mul(whole) / life
    }
}

/// One principal, with everything it may know.
pub struct Identity {
    /// The deployment.
    pub realm: Realm,
    /// The principal.
    pub name: PrincipalName,
    /// Its link keys.
    pub ring: KeyRing,
    /// Whose signatures it accepts.
    pub trust: Trust,
    /// What it signs with at present, if it signs.
    pub signing: Option<Signer>,
    pub(crate) certificate_age: Age,
    pub(crate) epoch_age: Option<Age>,
    /// When the same bundle will say something else.
    pub(crate) next_change: Option<Timestamp>,
    /// Where it came from.
    pub(crate) source: Source,
    secrets: BTreeMap<String, Zeroizing<[u8; 32]>>,
    transport: CurrentTransport,
}

/// Where an identity is read, and read again.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub folder: PathBuf,
    pub key: Option<PathBuf>,
    /// The bundle's file as it was when it was read.
    pub stamp: Option<Stamp>,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// What admits a principal to the bus; the connection asks for it each time that it is made.
#[derive(Clone)]
pub(crate) struct CurrentTransport(Arc<RwLock<Arc<Admission>>>);

/// One state of it.
pub(crate) struct Admission {
    pub ca: Vec<u8>,
    pub present: Transport,
    /// Its predecessor or successor, while one is exchanged for the other.
    pub other: Option<Transport>,
}

impl CurrentTransport {
    fn new(admission: Admission) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(admission))))
    }

    pub(crate) fn get(&self) -> Arc<Admission> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says whether anything is different now.
    fn replace(&self, admission: Arc<Admission>) -> bool {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = current.present != admission.present;
        *current = admission;
        changed
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("realm", &self.realm)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads an identity folder, with the key of its bundle from the file that
    /// [`KEY_PATH_VARIABLE`] names, else from the unit's systemd credential `identity.key`, else,
    /// outside production, from beside the bundle. The first of them that is there counts.
    ///
    /// # Errors
    /// [`IdentityError`] when anything in it is missing, open to others, or not this principal's;
    /// in a production realm also for keys beyond their age and for secrets in the environment.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        Self::load_with(folder, None)
    }

    /// As [`Self::load`], with the key in this file if one is given.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(folder: &Path, key: Option<&Path>) -> Result<Self, IdentityError> {
        let identity = Self::read(folder, key)?;
        let now = Clock::system().now();
        for age in identity.ages() {
            let percent = age.percent(now);
            if percent >= AGE_WARNING_PERCENT {
                tracing::warn!(
                    what = age.what,
                    percent,
                    "keys are near the end of their life"
                );
            }
        }
        identity.check_age(now)?;
        Ok(identity)
    }

    /// As [`Self::load_with`], whatever the age of the keys: that counts for a start, and a process
    /// that runs must go on with the bundle that it is given.
    pub(crate) fn read(folder: &Path, key: Option<&Path>) -> Result<Self, IdentityError> {
        // Before it is read: what changes meanwhile has another stamp.
        let stamp = Stamp::of(&folder.join(BUNDLE_FILE));
        let bundle = Bundle::open_with(folder, key)?;
        key_file::check_environment(bundle.realm)?;
        let source = Source {
            folder: folder.into(),
            key: key.map(Path::to_owned),
            stamp,
        };
        Self::of(source, &bundle, Clock::system().now())
    }

    /// In production no key may be beyond its age at a start.
    pub(crate) fn check_age(&self, now: Timestamp) -> Result<(), IdentityError> {
        let old = |age: &Age| age.percent(now) > AGE_LIMIT_PERCENT;
        match self.ages().find(old) {
            Some(age) if is_production(self.realm) => Err(IdentityError::TooOld {
                name: self.name,
                what: age.what,
                percent: age.percent(now),
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn of(source: Source, bundle: &Bundle, now: Timestamp) -> Result<Self, IdentityError> {
        let present = bundle.transport_at(now).ok_or(IdentityError::Value {
            path: source.folder.join(BUNDLE_FILE),
            problem: "has nothing to log in with".into(),
        })?;
        let others = bundle.transports.iter();
        let other = others.filter(|other| *other != present);
        let other = other.max_by_key(|other| other.from).cloned();
        let signing = bundle.signing_at(now);
        Ok(Self {
            realm: bundle.realm,
            name: bundle.name,
            ring: bundle.ring_at(now),
            trust: Trust::of(bundle, now),
            signing: signing.map(|signing| Signer::from_seed(&signing.seed)),
            certificate_age: Age {
                what: CERTIFICATE,
                from: present.certificate_from,
                until: present.certificate_until,
            },
            epoch_age: epoch_age(bundle),
            next_change: bundle.next_change(now),
            source,
            secrets: bundle.secrets.clone(),
            transport: CurrentTransport::new(Admission {
                ca: bundle.ca.clone(),
                present: present.clone(),
                other,
            }),
        })
    }

    /// A key that this principal alone uses: audit's `chain`, the signer's `venue`.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&[u8; 32]> {
        self.secrets.get(name).map(|secret| &**secret)
    }

    /// How far its certificate and its link keys are in their lives.
    pub fn ages(&self) -> impl Iterator<Item = Age> {
        [Some(self.certificate_age), self.epoch_age]
            .into_iter()
            .flatten()
    }

    pub(crate) fn transport(&self) -> &CurrentTransport {
        &self.transport
    }

    /// Goes on with the connection of an earlier state of the same principal; says whether it has to
    /// be made anew.
    pub(crate) fn take_over(&mut self, earlier: &Self) -> bool {
        let changed = earlier.transport.replace(self.transport.get());
        self.transport = earlier.transport.clone();
        changed
    }
}

/// Of each link's newest epoch the oldest counts.
fn epoch_age(bundle: &Bundle) -> Option<Age> {
    let mut newest = BTreeMap::new();
    for held in &bundle.links {
        let made_at: &mut Timestamp = newest.entry(held.link).or_default();
        *made_at = (*made_at).max(held.made_at);
    }
    let from = newest.into_values().min()?;
    let until = from.plus(Span(bundle.epoch_life.0));
    Some(Age {
        what: EPOCH,
        from,
        until,
    })
}
