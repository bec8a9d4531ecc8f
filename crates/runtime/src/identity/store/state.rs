//! What only the key store knows: `roots.sealed`.

use std::collections::BTreeMap;
use std::path::Path;

use portcullis_domain::PrincipalName;
use portcullis_wire::{EpochRoot, Realm};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::facts::{FACTS_FILE, Facts};
use super::{StoreError, write_error};
use crate::identity::bundle::{SecretText, SigningContent, TransportContent};
use crate::sealed_file::{SealedFile, SealedFileError};
use crate::{file, secret};

pub(super) const ROOTS_FILE: &str = "roots.sealed";
const LENGTH_MAX: usize = 4 << 20;
const KIND: SealedFile = SealedFile {
    magic: b"PORTCULLIS-ROOTS",
    version: 1,
};

/// The facts, and the secrets behind them. The facts in the clear are a copy of these.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub authority_key: SecretText,
    pub facts: Facts,
    /// By the number of the epoch.
    pub roots: BTreeMap<String, SecretText>,
    pub bundle_keys: BTreeMap<PrincipalName, SecretText>,
    /// What is made and not in its owner's bundle yet. It outlives the change that it was made in:
    /// another one may have to be carried out before the bundle can be written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub next: BTreeMap<PrincipalName, NewKeys>,
    /// What was begun and not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
}

/// A change whose facts are written down and that is not carried out everywhere yet.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    pub change: Change,
    pub changed: ChangedContent,
    /// The server's new certificate and key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<(SecretText, SecretText)>,
}

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind")]
pub(super) enum Change {
    Epoch {
        emergency: bool,
    },
    Principal {
        name: PrincipalName,
        emergency: bool,
    },
    Server,
    Revocation {
        name: PrincipalName,
    },
}

/// The answer to whoever asked for it.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedContent {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    pub begun_at: portcullis_domain::Timestamp,
    pub used_from: portcullis_domain::Timestamp,
    pub earlier_until: portcullis_domain::Timestamp,
}

/// What a principal gets in place of what it has.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKeys {
    pub transport: TransportContent,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing: Option<SigningContent>,
    pub bundle_key: SecretText,
}

impl State {
    pub(super) fn read(folder: &Path, realm: Realm, key: &[u8; 32]) -> Result<Self, StoreError> {
        let path = folder.join(ROOTS_FILE);
        let roots = |cause| StoreError::Roots {
            path: path.clone(),
            cause,
        };
        let bytes = secret::read_secret(&path, LENGTH_MAX).map_err(StoreError::RealmKey)?;
        let plaintext = KIND
            .open(key, 0, realm.as_str().as_bytes(), &bytes)
            .map_err(roots)?;
        // What the parser says about a value may repeat it, so it is not passed on.
        std::str::from_utf8(&plaintext)
            .ok()
            .and_then(|text| toml::from_str(text).ok())
            .ok_or_else(|| roots(SealedFileError::Format))
    }

    pub(super) fn write(&self, folder: &Path, key: &[u8; 32]) -> Result<(), StoreError> {
        let path = folder.join(ROOTS_FILE);
        let text = Zeroizing::new(toml::to_string(self)?);
        let mut plaintext = Zeroizing::new(Vec::with_capacity(text.len().saturating_add(64)));
        plaintext.extend_from_slice(text.as_bytes());
        let realm = self.facts.realm;
        let bytes = KIND
            .seal(key, &[], realm.as_str().as_bytes(), plaintext)
            .map_err(|cause| StoreError::Roots {
                path: path.clone(),
                cause,
            })?;
        file::replace(&path, &bytes).map_err(write_error(&path))
    }

    pub(super) fn write_facts(&self, folder: &Path) -> Result<(), StoreError> {
        let path = folder.join(FACTS_FILE);
        let text = toml::to_string(&self.facts)?;
        file::replace(&path, text.as_bytes()).map_err(write_error(&path))
    }

    pub(super) fn root(&self, epoch: u32) -> Option<EpochRoot> {
        let root = self.roots.get(&epoch.to_string())?;
        Some(EpochRoot(*root.bytes()?))
    }
}
