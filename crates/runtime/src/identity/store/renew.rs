//! Brings what lies on the disk to what the state says, one bundle after the other.

use std::fs;
use std::path::PathBuf;

use nkeys::KeyPair as NKey;
use portcullis_domain::{Hash, PrincipalName, Timestamp};
use portcullis_wire::Signer;
use zeroize::Zeroizing;

use super::init::hex_line;
use super::state::NewKeys;
use super::{NotRenewed, Store, StoreError, remove, write_error};
use crate::file;
use crate::identity::bundle::{BUNDLE_FILE, BUNDLE_KEY_FILE, Bundle, SecretText, SigningContent};
use crate::identity::{IdentityError, is_production};

impl Store {
    /// Everybody whose bundle does not open, and why.
    pub(super) fn unopened(&self) -> Vec<NotRenewed> {
        let valid = self.state.facts.principal.iter();
        let valid = valid.filter(|held| held.revoked_at.is_none());
        valid
            .filter_map(|held| {
                let error = self.opened(held.name).err()?;
                Some(NotRenewed::of(held.name, &error, error.next_step()))
            })
            .collect()
    }

    /// The files that the key of a bundle is in.
    pub(super) fn bundle_key_files(&self, name: PrincipalName) -> Result<Vec<PathBuf>, StoreError> {
        let in_folder = self.bundle_keys.as_ref();
        let mut files: Vec<_> = in_folder
            .map(|keys| keys.join(format!("{name}.key")))
            .into_iter()
            .collect();
        let beside = self.bundle_folder(name).join(BUNDLE_KEY_FILE);
        if !is_production(self.state.facts.realm) && beside.exists() {
            files.push(beside);
        }
        if files.is_empty() {
            Err(StoreError::BundleKeysNeeded(name))
        } else {
            Ok(files)
        }
    }

    /// The server's new certificate, if it gets one.
    pub(super) fn write_server(&self) -> Result<(), StoreError> {
        let pending = self.state.pending.as_ref();
        let Some((certificate, key)) = pending.and_then(|pending| pending.server.as_ref()) else {
            return Ok(());
        };
        let nats = self.folder.join("nats");
        for (name, text) in [("server.key", key), ("server.pem", certificate)] {
            let path = nats.join(name);
            file::replace(&path, text.0.as_bytes()).map_err(write_error(&path))?;
        }
        Ok(())
    }

    /// Brings a bundle to what the state says; one that says it already is left alone.
    pub(super) fn renew(&self, name: PrincipalName, now: Timestamp) -> Result<(), StoreError> {
        let folder = self.bundle_folder(name);
        let failed = |cause| StoreError::Bundle { name, cause };
        let (mut bundle, present_key) = self.opened(name).map_err(failed)?;
        let links = self.state.links_of(name, now);
        let trust = self.state.trust(now);
        let mut changed = bundle.links != links || bundle.trust != trust;
        bundle.links = links;
        bundle.trust = trust;
        changed |= self.renew_keys(&mut bundle, now);
        let next = self.next_key(name);
        if let Some(next) = &next {
            // The key first: who reads the bundle again does so because the bundle has changed, and
            // then finds the key. Whoever is interrupted in between has both keys in the roots.
            for path in self.bundle_key_files(name)? {
                let line = hex_line(next);
                file::replace(&path, line.as_bytes()).map_err(write_error(&path))?;
            }
        }
        let key = next.unwrap_or_else(|| present_key.clone());
        if changed || *key != *present_key {
            bundle.made_at = now;
            bundle.seal(&folder, &key).map_err(failed)?;
        }
        Ok(())
    }

    /// A bundle and the key that it opens with: the one in use, or the one that is to follow, when it
    /// does already.
    fn opened(&self, name: PrincipalName) -> Result<(Bundle, Zeroizing<[u8; 32]>), IdentityError> {
        let folder = self.bundle_folder(name);
        let key = self.state.bundle_keys.get(&name);
        let key = key.and_then(SecretText::bytes);
        let key = key.ok_or_else(|| IdentityError::Value {
            path: folder.join(BUNDLE_FILE),
            problem: "has no key in the roots".into(),
        })?;
        match (Bundle::open_with_key(&folder, &key), self.next_key(name)) {
            (Ok(bundle), _) => Ok((bundle, key)),
            (Err(error), None) => Err(error),
            (Err(error), Some(next)) => match Bundle::open_with_key(&folder, &next) {
                Ok(bundle) => Ok((bundle, next)),
                Err(_) => Err(error),
            },
        }
    }

    fn next_key(&self, name: PrincipalName) -> Option<Zeroizing<[u8; 32]>> {
        self.state.next.get(&name)?.bundle_key.bytes()
    }

    fn renew_keys(&self, bundle: &mut Bundle, now: Timestamp) -> bool {
        let Some(facts) = self.state.facts.principal(bundle.name) else {
            return false;
        };
        let before = (bundle.transports.clone(), bundle.signing.clone());
        if let Some(NewKeys {
            transport, signing, ..
        }) = self.state.next.get(&bundle.name)
        {
            let transport = transport.into();
            if !bundle.transports.contains(&transport) {
                bundle.transports.push(transport);
            }
            if let Some(signing) = signing.as_ref().and_then(SigningContent::seed)
                && !bundle.signing.contains(&signing)
            {
                bundle.signing.push(signing);
            }
        }
        let nkeys: Vec<_> = facts.nkey.iter().filter(|key| key.counts_at(now)).collect();
        bundle.transports.retain(|transport| {
            let public = NKey::from_seed(&transport.nkey_seed).map(|key| key.public_key());
            public.is_ok_and(|public| nkeys.iter().any(|key| key.public == public))
        });
        let seeds: Vec<_> = facts
            .signing
            .iter()
            .filter(|key| key.counts_at(now))
            .collect();
        bundle.signing.retain(|signing| {
            let public = Hash(Signer::from_seed(&signing.seed).verifying().to_bytes());
            seeds.iter().any(|key| key.public == public)
        });
        before != (bundle.transports.clone(), bundle.signing.clone())
    }

    pub(super) fn delete(&self, name: PrincipalName) -> Result<(), StoreError> {
        let folder = self.bundle_folder(name);
        for file in [BUNDLE_FILE, BUNDLE_KEY_FILE] {
            remove(&folder.join(file))?;
        }
        match fs::exists(&folder) {
            Ok(true) => file::sync_directory(&folder).map_err(write_error(&folder)),
            Ok(false) | Err(_) => Ok(()),
        }
    }
}
