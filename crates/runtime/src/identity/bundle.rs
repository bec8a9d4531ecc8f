//! A principal's material, and the sealed file that it is kept in.

mod content;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use portcullis_domain::{PrincipalName, Span, Timestamp};
use portcullis_wire::principal::Role;
use portcullis_wire::{Epoch, KeyRing, Link, LinkKey, Realm, Signer, Verifying};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use content::Content;
pub(crate) use content::{SecretText, SigningContent, TransportContent};

use super::{IdentityError, key_file};
use crate::sealed_file::{SealedFile, SealedFileError};
use crate::{Clock, file, secret};

/// The sealed file's name in its folder.
pub const BUNDLE_FILE: &str = "bundle.sealed";
/// The name of its key, where that lies beside it.
pub const BUNDLE_KEY_FILE: &str = "bundle.key";

const KIND: SealedFile = SealedFile {
    magic: b"PORTCULLIS-IDENT",
    version: 1,
};
const FILE_LENGTH_MAX: usize = 1 << 20;

/// Everything that one principal may know. Nothing of it is ever printed.
pub struct Bundle {
    /// The deployment.
    pub realm: Realm,
    /// Whose it is.
    pub name: PrincipalName,
    /// When it was written.
    pub made_at: Timestamp,
    /// How long an epoch should last.
    pub epoch_life: Span,
    pub(crate) ca: Vec<u8>,
    pub(crate) transports: Vec<Transport>,
    pub(crate) signing: Vec<SigningSeed>,
    pub(crate) links: Vec<BundleLink>,
    pub(crate) trust: Vec<Trusted>,
    pub(crate) secrets: BTreeMap<String, Zeroizing<[u8; 32]>>,
}

/// What admits it to the bus, and from when on.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Transport {
    #[zeroize(skip)]
    pub from: Timestamp,
    /// When the certificate began and ends.
    #[zeroize(skip)]
    pub certificate_from: Timestamp,
    #[zeroize(skip)]
    pub certificate_until: Timestamp,
    pub certificate: String,
    pub key: String,
    pub nkey_seed: String,
}

/// What it signs with, and from when on.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(crate) struct SigningSeed {
    #[zeroize(skip)]
    pub from: Timestamp,
    pub seed: [u8; 32],
}

/// A public key of somebody who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trusted {
    pub name: PrincipalName,
    pub key: Verifying,
    /// From when on its author uses it; it is believed as soon as it is held.
    pub from: Timestamp,
    pub until: Option<Timestamp>,
}

/// The key of a link in one epoch.
#[derive(Clone, Debug)]
pub struct BundleLink {
    /// Who seals for whom.
    pub link: Link,
    /// The epoch.
    pub epoch: Epoch,
    /// When the epoch was made.
    pub made_at: Timestamp,
    /// The key.
    pub key: LinkKey,
}

impl PartialEq for BundleLink {
    fn eq(&self, other: &Self) -> bool {
        let facts = |of: &Self| (of.link, of.epoch, of.made_at);
        facts(self) == facts(other) && self.key.expose() == other.key.expose()
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("realm", &self.realm)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Bundle {
    /// Opens the bundle of a folder with the key that the environment provides; see
    /// [`super::Identity::load`].
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn open(folder: &Path) -> Result<Self, IdentityError> {
        Self::open_with(folder, None)
    }

    /// As [`Self::open`], with the key in this file if one is given.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn open_with(folder: &Path, key: Option<&Path>) -> Result<Self, IdentityError> {
        let sealed = Sealed::read(folder)?;
        let key = key_file::find(folder, sealed.realm, key)?;
        sealed.open(folder, &key)
    }

    pub(crate) fn open_with_key(folder: &Path, key: &[u8; 32]) -> Result<Self, IdentityError> {
        Sealed::read(folder)?.open(folder, key)
    }

    /// Writes the bundle into a folder, in place of the one that is there, whole or not at all.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn seal(&self, folder: &Path, key: &[u8; 32]) -> Result<(), IdentityError> {
        let path = folder.join(BUNDLE_FILE);
        let unsealed = |cause| IdentityError::Sealed {
            path: path.clone(),
            cause,
        };
        let text = Zeroizing::new(
            toml::to_string(&Content::of(self)).map_err(|_| unsealed(SealedFileError::Seal))?,
        );
        // Room for the tag, so that growing leaves no copy behind.
        let mut plaintext = Zeroizing::new(Vec::with_capacity(text.len().saturating_add(64)));
        plaintext.extend_from_slice(text.as_bytes());
        let bytes = KIND
            .seal(key, &lead(self.realm, self.name), &[], plaintext)
            .map_err(unsealed)?;
        file::replace(&path, &bytes).map_err(|cause| IdentityError::Write { path, cause })
    }

    /// The deployment's certificate authority.
    #[must_use]
    pub fn ca_pem(&self) -> &[u8] {
        &self.ca
    }

    /// The certificate that counts at present.
    #[must_use]
    pub fn certificate_pem(&self) -> &[u8] {
        self.present().map_or(&[], |now| now.certificate.as_bytes())
    }

    /// Its private key.
    #[must_use]
    pub fn key_pem(&self) -> &[u8] {
        self.present().map_or(&[], |now| now.key.as_bytes())
    }

    /// The seed of the NKey that counts at present.
    #[must_use]
    pub fn nkey_seed(&self) -> &str {
        self.present().map_or("", |now| now.nkey_seed.as_str())
    }

    /// The seed that it signs with at present, if it signs.
    #[must_use]
    pub fn signing_seed(&self) -> Option<&[u8; 32]> {
        let seed = self.signing_at(Clock::system().now());
        seed.map(|signing| &signing.seed)
    }

    /// A key that this principal alone uses: audit's `chain`, the signer's `venue`.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&[u8; 32]> {
        self.secrets.get(name).map(|secret| &**secret)
    }

    /// Its link keys.
    #[must_use]
    pub fn links(&self) -> &[BundleLink] {
        &self.links
    }

    /// Its link keys, its signing key and the public keys that it trusts at present, ready to seal and
    /// verify with.
    #[must_use]
    pub fn ring(&self) -> KeyRing {
        self.ring_at(Clock::system().now())
    }

    pub(crate) fn ring_at(&self, now: Timestamp) -> KeyRing {
        let mut ring = KeyRing::new();
        for held in &self.links {
            ring.insert(held.link, held.epoch, &held.key);
        }
        if let Some(signing) = self.signing_at(now) {
            ring.sign_with(Signer::from_seed(&signing.seed));
        }
        for trusted in self.trusted_at(now) {
            ring.trust(trusted.name, trusted.key);
        }
        ring
    }

    /// The keys that are believed: also those that their author does not use yet.
    pub(crate) fn trusted_at(&self, now: Timestamp) -> impl Iterator<Item = &Trusted> {
        let trust = self.trust.iter();
        trust.filter(move |trusted| trusted.until.is_none_or(|until| now < until))
    }

    fn present(&self) -> Option<&Transport> {
        self.transport_at(Clock::system().now())
    }

    pub(crate) fn transport_at(&self, now: Timestamp) -> Option<&Transport> {
        newest(&self.transports, now, |transport| transport.from)
    }

    pub(crate) fn signing_at(&self, now: Timestamp) -> Option<&SigningSeed> {
        newest(&self.signing, now, |signing| signing.from)
    }

    /// The next moment at which another key of the same bundle counts.
    pub(crate) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let transports = self.transports.iter().map(|transport| transport.from);
        let signing = self.signing.iter().map(|signing| signing.from);
        let trust = self.trust.iter();
        let trust = trust.flat_map(|trusted| [Some(trusted.from), trusted.until]);
        transports
            .chain(signing)
            .chain(trust.flatten())
            .filter(|moment| *moment > now)
            .min()
    }

    /// What was made from a file must be able to do what its principal does, and no more.
    fn check(&self) -> Result<(), String> {
        if self.transports.is_empty() {
            return Err("has nothing to log in with".into());
        }
        for transport in &self.transports {
            if nkeys::KeyPair::from_seed(&transport.nkey_seed).is_err() {
                return Err("has an NKey that is none".into());
            }
        }
        for Link { source, audience } in self.links.iter().map(|held| held.link) {
            if source != self.name && audience != self.name {
                return Err(format!(
                    "holds a key of {source} for {audience}, which is neither"
                ));
            }
        }
        for Trusted { name, .. } in &self.trust {
            match Role::of(name) {
                Some(Role::Audit | Role::Operator | Role::RiskGuard) => {}
                Some(_) | None => return Err(format!("trusts {name}, who signs nothing")),
            }
        }
        Ok(())
    }
}

/// Of those that count already the newest; before any does, the first.
fn newest<T>(all: &[T], now: Timestamp, from: impl Fn(&T) -> Timestamp) -> Option<&T> {
    all.iter()
        .filter(|one| from(one) <= now)
        .max_by_key(|one| from(one))
        .or_else(|| all.iter().min_by_key(|one| from(one)))
}

/// A file as it was read. What it says about itself in the clear is authenticated when it is opened.
struct Sealed {
    realm: Realm,
    name: PrincipalName,
    bytes: Zeroizing<Vec<u8>>,
}

impl Sealed {
    fn read(folder: &Path) -> Result<Self, IdentityError> {
        let metadata = fs::metadata(folder).map_err(|cause| IdentityError::Open {
            path: folder.into(),
            cause,
        })?;
        if file::is_open_to_others(&metadata) {
            return Err(IdentityError::OpenToOthers(folder.into()));
        }
        let path = folder.join(BUNDLE_FILE);
        let bytes = secret::read_secret(&path, FILE_LENGTH_MAX)?;
        let read = KIND.after_version(&bytes).ok().and_then(read_lead);
        let (realm, name) = read.ok_or(IdentityError::Sealed {
            path,
            cause: SealedFileError::Format,
        })?;
        Ok(Self { realm, name, bytes })
    }

    fn open(&self, folder: &Path, key: &[u8; 32]) -> Result<Bundle, IdentityError> {
        let path = folder.join(BUNDLE_FILE);
        let lead_length = lead(self.realm, self.name).len();
        let plaintext = KIND
            .open(key, lead_length, &[], &self.bytes)
            .map_err(|cause| IdentityError::Sealed {
                path: path.clone(),
                cause,
            })?;
        // What serde says about a value may repeat it, so it is not passed on.
        let content = std::str::from_utf8(&plaintext)
            .ok()
            .and_then(|text| toml::from_str::<Content>(text).ok());
        let bundle = content.and_then(Content::bundle);
        let problem = match bundle {
            Some(bundle) if (bundle.realm, bundle.name) != (self.realm, self.name) => {
                "is of another realm or principal than it says".into()
            }
            Some(bundle) => match bundle.check() {
                Ok(()) => return Ok(bundle),
                Err(problem) => problem,
            },
            None => "does not hold an identity of this version".into(),
        };
        Err(IdentityError::Value { path, problem })
    }
}

/// Realm and name, each with its length before it.
fn lead(realm: Realm, name: PrincipalName) -> Vec<u8> {
    let mut lead = Vec::with_capacity(64);
    for part in [realm.as_str(), name.as_str()] {
        lead.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        lead.extend(part.as_bytes());
    }
    lead
}

fn read_lead(bytes: &[u8]) -> Option<(Realm, PrincipalName)> {
    let (realm, rest) = lengthed(bytes)?;
    let (name, _) = lengthed(rest)?;
    Some((Realm::new(realm).ok()?, PrincipalName::new(name).ok()?))
}

fn lengthed(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (part, rest) = rest.split_at_checked(usize::from(length))?;
    Some((std::str::from_utf8(part).ok()?, rest))
}
