//! The key store of a deployment: makes identities, exchanges their keys, revokes them.
//!
//! ```text
//!  <folder>/            0700
//!    realm.toml         what may be known: epochs, public keys, ends of lives, who is revoked
//!    roots.sealed       authority's key, epoch roots, bundle keys   ┐ needed only here;
//!    roots.key          its key; elsewhere in production            ┘ no service may ever hold it
//!    ca.pem             public
//!    nats/              server.pem  server.key  ca.pem
//!    <principal>/       see the module above; `provisioner` and `monitor` have no links
//! ```
//!
//! A change is first written down in `roots.sealed`, whole, and then carried out: one bundle after
//! the other, each replaced whole. Whoever is interrupted runs it again, and it is carried on.

mod change;
mod facts;
mod init;
mod inventory;
mod renew;
mod state;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use portcullis_domain::{PrincipalName, Span, Timestamp};
use portcullis_wire::Realm;
use zeroize::Zeroizing;

pub use facts::{CertificateFacts, EpochFacts, Facts, KeyFacts, PrincipalFacts};
pub use inventory::{EpochState, Finding, Inventory};
use state::State;

use super::key_file::{is_inside, looks_like_key};
use super::{IdentityError, is_production};
use crate::config::ConfigError;
use crate::nats_config::Credentials;
use crate::sealed_file::SealedFileError;
use crate::secret::{self, SecretError};
use crate::{Clock, file};

/// How long an epoch should last unless the deployment says otherwise: 90 days.
pub const EPOCH_LIFE: Span = Span::from_secs(90 * 86_400);
/// How long before its first seal an epoch is handed out.
pub const LEAD: Span = Span::from_secs(30);
/// How long the earlier keys count after the later ones are used.
pub const OVERLAP: Span = Span::from_secs(600);

const REALM_KEY_FILE: &str = "roots.key";
const LOCK_FILE: &str = "store.lock";

/// Why identities could not be made or changed. While they are made, what was made until then is in
/// a folder beside, named `.partial`, and can be deleted.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There are identities, or keys of them, already.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// There are no identities.
    #[error("there are no identities in {0}")]
    Missing(PathBuf),
    /// A file could not be written.
    #[error("write identities to {path}")]
    Write {
        /// Which folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Somebody else changes the keys at this moment.
    #[error("{0} is being changed by another command")]
    InUse(PathBuf),
    /// In production no key may lie beside what it opens.
    #[error("realm {0} is a production realm, and {1} would lie beside what it opens")]
    KeyBeside(Realm, &'static str),
    /// The realm's key is not there or not a key.
    #[error("read the realm's key")]
    RealmKey(#[source] SecretError),
    /// The roots do not open.
    #[error("open {path}")]
    Roots {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: SealedFileError,
    },
    /// The public facts are not readable.
    #[error("read the facts of the realm")]
    Facts(#[from] ConfigError),
    /// A bundle could not be opened or written.
    #[error("change the bundle of {name}")]
    Bundle {
        /// Whose.
        name: PrincipalName,
        /// Why not.
        #[source]
        cause: IdentityError,
    },
    /// Bundles do not open, and nothing was changed.
    #[error("nothing was changed: {}", all_words(.0))]
    Bundles(Vec<NotRenewed>),
    /// The new key of a bundle has no place to go.
    #[error("the new key of the bundle of {0} has no place: it does not lie beside the bundle")]
    BundleKeysNeeded(PrincipalName),
    /// A key was given where the path of its file belongs.
    #[error("a key was given where the path of its file belongs")]
    KeyInsteadOfPath,
    /// Nobody of that name is on the roster.
    #[error("there is no {0} in this realm")]
    Unknown(PrincipalName),
    /// It was revoked before.
    #[error("{0} is revoked")]
    Revoked(PrincipalName),
    /// Nobody could stop the realm by command any more.
    #[error("{0} is the last operator, and somebody must be able to stop the realm")]
    LastOperator(PrincipalName),
    /// A certificate could not be made.
    #[error("make certificates")]
    Certificate(#[from] rcgen::Error),
    /// An NKey could not be made.
    #[error("make NKeys: {0}")]
    NKey(String),
    /// The operating system has no randomness to give.
    #[error("make keys")]
    Random(#[source] getrandom::Error),
    /// A file's content could not be written as TOML.
    #[error("write TOML")]
    Toml(#[from] toml::ser::Error),
}

impl StoreError {
    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Exists(path) => format!(
                "use the identities in {}, or move them away first: services with old and new ones \
                 do not understand each other",
                path.display()
            ),
            Self::Missing(path) => format!(
                "make identities in {}, or name the folder that has them",
                path.display()
            ),
            Self::Write { path, .. } => format!("make {} writable", path.display()),
            Self::InUse(_) => "wait for the other command to end".into(),
            Self::KeyBeside(..) => {
                "name a folder for the bundles' keys and a file for the realm's key, both outside \
                 of the identities"
                    .into()
            }
            Self::RealmKey(error) => error.next_step(),
            Self::Roots { path, .. } => format!(
                "give the key that {} was sealed with; if it is, restore that file from a copy",
                path.display()
            ),
            Self::Facts(error) => error.next_step(),
            Self::Bundle { .. } => {
                format!("{}, then run the same command again", self.own_step())
            }
            Self::Bundles(left) => format!(
                "bring these bundles back from a copy, or revoke whose they are; then run the same \
                 command again ({})",
                left.first().map_or("", |first| first.next_step.as_str())
            ),
            Self::BundleKeysNeeded(_) => {
                "name the folder that gets it: --bundle-keys FOLDER".into()
            }
            Self::KeyInsteadOfPath => {
                "write the key to a file of mode 0600 and give its path; take the key itself out of \
                 there, and treat it as known to others"
                    .into()
            }
            Self::Unknown(_) => "see who is there: portcullis keys show".into(),
            Self::Revoked(_) => {
                "whoever was revoked stays so: put another name on the roster".into()
            }
            Self::LastOperator(name) => format!(
                "give the operator new keys at once: portcullis keys rotate {name} --emergency"
            ),
            Self::Certificate(_) | Self::NKey(_) | Self::Random(_) | Self::Toml(_) => {
                "try again".into()
            }
        }
    }

    /// What can be done about it in its place, whatever was to follow.
    fn own_step(&self) -> String {
        match self {
            Self::Bundle { cause, .. } => cause.next_step(),
            other => other.next_step(),
        }
    }
}

/// How a set of identities is made.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// How long an epoch should last.
    pub epoch_life: Span,
    /// The folder that gets the bundles' keys, one `<principal>.key` each; beside the bundles if
    /// none is given.
    pub bundle_keys: Option<&'a Path>,
    /// The file that gets the realm's key; beside the roots if none is given.
    pub realm_key: Option<&'a Path>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            epoch_life: EPOCH_LIFE,
            bundle_keys: None,
            realm_key: None,
        }
    }
}

/// How keys are exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Whether the earlier keys are dropped at once, because somebody else may have them.
    pub emergency: bool,
    /// How long the later keys are held before they are used.
    pub lead: Span,
    /// How long the earlier keys count after that.
    pub overlap: Span,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            emergency: false,
            lead: LEAD,
            overlap: OVERLAP,
        }
    }
}

impl Rotation {
    /// The earlier keys are dropped at once.
    #[must_use]
    pub const fn emergency() -> Self {
        Self {
            emergency: true,
            lead: Span(0),
            overlap: Span(0),
        }
    }
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// What admits every principal, the provisioner and the monitor.
    pub nkeys: Credentials,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The number of the new epoch, if there is one.
    pub epoch: Option<u32>,
    /// From when on the new keys are used.
    pub used_from: Timestamp,
    /// Until when the earlier keys count.
    pub earlier_until: Timestamp,
    /// Whether the server's configuration has to be rendered again, now and when the earlier keys
    /// do not count any more.
    pub server: bool,
    /// Whether this was what an interrupted command had begun.
    pub carried_on: bool,
    /// Whether what an interrupted command had begun was carried on before this.
    pub after_another: bool,
    /// Who does not have it yet, and why. The same command again carries it on.
    pub left: Vec<NotRenewed>,
}

/// A bundle, or `nats` for the server's files, that could not be brought to what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRenewed {
    /// Whose.
    pub name: PrincipalName,
    /// Why not.
    pub problem: String,
    /// What a person can do about it.
    pub next_step: String,
}

impl NotRenewed {
    fn of(name: PrincipalName, error: &dyn std::error::Error, next_step: String) -> Self {
        let mut problem = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            problem.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self {
            name,
            problem,
            next_step,
        }
    }
}

fn all_words(left: &[NotRenewed]) -> String {
    let each = left.iter();
    let each =
        each.map(|one| format!("the bundle of {} does not open ({})", one.name, one.problem));
    each.collect::<Vec<_>>().join(", ")
}

/// The identities of a deployment, opened with the realm's key. Nobody else changes them meanwhile.
pub struct Store {
    folder: PathBuf,
    key: Zeroizing<[u8; 32]>,
    bundle_keys: Option<PathBuf>,
    state: State,
    _lock: File,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store of a folder. The realm's key is in the given file, else, outside production,
    /// beside the roots.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(folder: &Path, realm_key: Option<&Path>) -> Result<Self, StoreError> {
        if realm_key.is_some_and(looks_like_key) {
            // It would be printed in every message about that file.
            return Err(StoreError::KeyInsteadOfPath);
        }
        if !folder.join(state::ROOTS_FILE).exists() {
            return Err(StoreError::Missing(folder.into()));
        }
        let lock = lock(folder)?;
        let facts = Facts::read(folder)?;
        let beside = folder.join(REALM_KEY_FILE);
        let lies_beside = realm_key.is_none_or(|key| is_inside(key, folder));
        if lies_beside && is_production(facts.realm) {
            return Err(StoreError::KeyBeside(facts.realm, "the realm's key"));
        }
        let key = secret::read_hex_key(realm_key.unwrap_or(&beside));
        let key = key.map_err(StoreError::RealmKey)?;
        let state = State::read(folder, facts.realm, &key)?;
        Ok(Self {
            folder: folder.into(),
            key,
            bundle_keys: None,
            state,
            _lock: lock,
        })
    }

    /// Puts the new key of a bundle into this folder, as `<principal>.key`. One that lies beside its
    /// bundle is exchanged there too.
    ///
    /// # Errors
    /// [`StoreError`] when there is no such folder, or in production when it is inside of the
    /// identities.
    pub fn with_bundle_keys(mut self, folder: &Path) -> Result<Self, StoreError> {
        if looks_like_key(folder) {
            return Err(StoreError::KeyInsteadOfPath);
        }
        let realm = self.state.facts.realm;
        if is_production(realm) && is_inside(folder, &self.folder) {
            return Err(StoreError::KeyBeside(realm, "the key of each bundle"));
        }
        fs::read_dir(folder).map_err(write_error(folder))?;
        self.bundle_keys = Some(folder.into());
        Ok(self)
    }

    /// What is there, how old it is, and what is wrong with it. No secrets.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        Inventory::of(&self.state.facts, Clock::system().now())
    }

    /// What may be known.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.state.facts
    }

    fn bundle_folder(&self, name: PrincipalName) -> PathBuf {
        self.folder.join(name.as_str())
    }
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK_FILE);
    let write_error = |cause| StoreError::Write {
        path: path.clone(),
        cause,
    };
    let file = file::open_lock(&path).map_err(write_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(folder.into())),
        Err(TryLockError::Error(cause)) => Err(write_error(cause)),
    }
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<'_> {
    |cause| StoreError::Write {
        path: path.into(),
        cause,
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(write_error(path)(cause)),
        Ok(()) | Err(_) => Ok(()),
    }
}
