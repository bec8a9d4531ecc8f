//! Who a process is: the folder of keys and certificates that one principal has.
//!
//! ```text
//!  identity.toml   realm and name
//!  ca.pem  client.pem  client.key     admission to the network (mutual TLS)
//!  nkey.seed                          who one is on the bus
//!  links.toml                         keys that seal and verify envelopes, this principal's only
//!  trust.toml                         public keys of audit and of operators
//!  signing.seed                       Ed25519; audit and operators only
//! ```
//!
//! The folder has mode 0700, every file 0600; anything wider is refused.

pub mod make;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis_domain::{Hash, PrincipalName};
use portcullis_wire::messages::Kill;
use portcullis_wire::principal::Role;
use portcullis_wire::{KeyRing, Link, LinkKey, Realm, Signed, Signer, Verified, Verifying};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::config::ConfigError;
use crate::secret::{self, SecretError};
use crate::{config, file};

const FILE_LENGTH_MAX: usize = 256 << 10;

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
    /// One of its files does not say what it should.
    #[error("read the identity")]
    Content(#[from] ConfigError),
    /// A value in one of its files makes no sense.
    #[error("{path} {problem}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
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
            Self::Content(error) => error.next_step(),
            Self::Value { path, .. } => {
                format!("make the identity that holds {} anew", path.display())
            }
            Self::Role { .. } => "give --identity the folder that is named like the service".into(),
        }
    }
}

/// Whose signatures count.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Audit's, on receipts and checkpoints.
    pub audit: Option<Verifying>,
    /// Each operator's, on commands.
    pub operators: BTreeMap<PrincipalName, Verifying>,
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
    /// What it signs with, if it signs.
    pub signing: Option<Signer>,
    transport: Transport,
}

impl Identity {
    /// The kill command in an envelope, if the operator who sealed it also signed it, for this
    /// deployment.
    ///
    /// # Errors
    /// Why it does not count, in words.
    pub fn kill_command(&self, verified: &Verified<Signed<Kill>>) -> Result<Kill, &'static str> {
        let operator = verified.source();
        let key = self
            .trust
            .operators
            .get(&operator)
            .ok_or("its operator is not trusted")?;
        let kill = verified
            .message()
            .verify(key)
            .map_err(|_| "its signature does not hold")?;
        if kill.operator != operator {
            return Err("it was signed in the name of another operator");
        }
        if kill.realm != self.realm {
            return Err("it was signed for another realm");
        }
        Ok(kill)
    }
}

/// What admits it to the bus.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Transport {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
    nkey_seed: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("realm", &self.realm)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityToml {
    realm: Realm,
    name: PrincipalName,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinksToml {
    #[serde(default)]
    link: Vec<LinkToml>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkToml {
    source: PrincipalName,
    audience: PrincipalName,
    epoch: u32,
    key: String,
}

impl Drop for LinkToml {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustToml {
    #[serde(default)]
    key: Vec<TrustKeyToml>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustKeyToml {
    name: PrincipalName,
    ed25519: Hash,
}

impl Identity {
    /// Reads an identity folder.
    ///
    /// # Errors
    /// [`IdentityError`] when anything in it is missing, open to others, or not this principal's.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let open_error = |cause| IdentityError::Open {
            path: folder.into(),
            cause,
        };
        let metadata = fs::metadata(folder).map_err(open_error)?;
        if file::is_open_to_others(&metadata) {
            return Err(IdentityError::OpenToOthers(folder.into()));
        }
        let read = |name: &str| secret::read_secret(&folder.join(name), FILE_LENGTH_MAX);
        let IdentityToml { realm, name } = toml_of(folder, "identity.toml")?;
        Ok(Self {
            realm,
            name,
            ring: ring(folder, name)?,
            trust: trust(folder)?,
            signing: signing(folder)?,
            transport: Transport {
                ca: read("ca.pem")?.to_vec(),
                certificate: read("client.pem")?.to_vec(),
                key: read("client.key")?.to_vec(),
                nkey_seed: nkey_seed(folder)?,
            },
        })
    }

    pub(crate) fn ca_pem(&self) -> &[u8] {
        &self.transport.ca
    }

    pub(crate) fn certificate_pem(&self) -> &[u8] {
        &self.transport.certificate
    }

    pub(crate) fn key_pem(&self) -> &[u8] {
        &self.transport.key
    }

    pub(crate) fn nkey_seed(&self) -> &str {
        &self.transport.nkey_seed
    }
}

fn toml_of<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Result<T, IdentityError> {
    let path = folder.join(name);
    let bytes = secret::read_secret(&path, FILE_LENGTH_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::Malformed {
        path: path.clone(),
        expected: "text",
    })?;
    Ok(config::parse(&path, text)?)
}

/// A folder that holds keys of links it is not on would let its owner forge them.
fn ring(folder: &Path, name: PrincipalName) -> Result<KeyRing, IdentityError> {
    let links: LinksToml = toml_of(folder, "links.toml")?;
    let value = |problem| IdentityError::Value {
        path: folder.join("links.toml"),
        problem,
    };
    let mut ring = KeyRing::new();
    for link in &links.link {
        let (source, audience) = (link.source, link.audience);
        if source != name && audience != name {
            return Err(value(format!(
                "holds a key of {source} for {audience}, which is neither"
            )));
        }
        let key = secret::parse_hex_key(&link.key).ok_or_else(|| {
            value(format!(
                "has a key of {source} for {audience} that is not 64 hexadecimal digits"
            ))
        })?;
        ring.insert(
            Link { source, audience },
            link.epoch,
            &LinkKey::from_bytes(*key),
        );
    }
    Ok(ring)
}

fn trust(folder: &Path) -> Result<Trust, IdentityError> {
    let file: TrustToml = toml_of(folder, "trust.toml")?;
    let value = |problem| IdentityError::Value {
        path: folder.join("trust.toml"),
        problem,
    };
    let mut trust = Trust::default();
    for TrustKeyToml { name, ed25519 } in file.key {
        let key = Verifying::from_bytes(&ed25519.0)
            .map_err(|_| value(format!("has a key of {name} that is no Ed25519 public key")))?;
        match Role::of(&name) {
            Some(Role::Audit) => trust.audit = Some(key),
            Some(Role::Operator) => {
                trust.operators.insert(name, key);
            }
            Some(_) | None => return Err(value(format!("names {name}, who signs nothing"))),
        }
    }
    Ok(trust)
}

fn signing(folder: &Path) -> Result<Option<Signer>, IdentityError> {
    match secret::read_hex_key(&folder.join("signing.seed")) {
        Ok(seed) => Ok(Some(Signer::from_seed(&seed))),
        Err(SecretError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn nkey_seed(folder: &Path) -> Result<String, IdentityError> {
    let path = folder.join("nkey.seed");
    let bytes = secret::read_secret(&path, 128)?;
    let text = std::str::from_utf8(&bytes)
        .unwrap_or_default()
        .trim_ascii_end();
    let seed = Zeroizing::new(text.to_owned());
    match nkeys::KeyPair::from_seed(&seed) {
        Ok(_) => Ok((*seed).clone()),
        Err(_) => Err(SecretError::Malformed {
            path,
            expected: "an NKey seed",
        }
        .into()),
    }
}
