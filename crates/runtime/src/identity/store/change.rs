//! Exchanges keys and revokes principals.

use std::fs;

use nkeys::KeyPair as NKey;
use portcullis_domain::{Hash, PrincipalName, Timestamp};
use portcullis_wire::Signer;

use super::facts::{AUDIT_KEEPS, EpochFacts};
use super::init::{certificate_facts, key_facts, new_transport, random32, signing_facts};
use super::state::{Change, ChangedContent, NewKeys, Pending, State};
use super::{Changed, Rotation, Store, StoreError, remove, write_error};
use crate::identity::IdentityError;
use crate::identity::bundle::{
    BUNDLE_FILE, BUNDLE_KEY_FILE, Bundle, BundleLink, SecretText, SigningContent, SigningSeed,
    Transport,
};
use crate::identity::certificates::Authority;
use crate::{Clock, file};

impl Store {
    /// Begins a new epoch of every link, from a new root.
    ///
    /// # Errors
    /// [`StoreError`]. Called again it carries on what was interrupted.
    pub fn rotate(&mut self, rotation: Rotation) -> Result<Changed, StoreError> {
        let change = Change::Epoch {
            emergency: rotation.emergency,
        };
        self.begin(change, rotation, |state, now| {
            state.add_epoch(rotation, None, now).map(Some)
        })
    }

    /// Gives a principal a new NKey, a new certificate, a new key to sign with if it signs, and a new
    /// epoch of its links, as [`Rotation::default`] says. `nats` stands for the server and its
    /// certificate.
    ///
    /// # Errors
    /// As [`Self::rotate`].
    pub fn rotate_principal(&mut self, name: PrincipalName) -> Result<Changed, StoreError> {
        self.rotate_principal_as(name, Rotation::default())
    }

    /// As [`Self::rotate_principal`], in another rhythm or at once.
    ///
    /// # Errors
    /// As [`Self::rotate`].
    pub fn rotate_principal_as(
        &mut self,
        name: PrincipalName,
        rotation: Rotation,
    ) -> Result<Changed, StoreError> {
        if name.as_str() == "nats" {
            return self.begin(Change::Server, rotation, |state, now| {
                state.add_server_certificate(now).map(|()| None)
            });
        }
        self.check_known(name)?;
        let change = Change::Principal {
            name,
            emergency: rotation.emergency,
        };
        self.begin(change, rotation, |state, now| {
            state.add_keys(name, rotation, now)?;
            state.add_epoch(rotation, Some(name), now).map(Some)
        })
    }

    /// Takes everything from a principal: its keys leave every other bundle and the server's
    /// configuration, its own bundle is deleted.
    ///
    /// # Errors
    /// As [`Self::rotate`].
    pub fn revoke(&mut self, name: PrincipalName) -> Result<Changed, StoreError> {
        let unfinished = self.state.pending.as_ref().map(|pending| pending.change);
        let change = Change::Revocation { name };
        if unfinished != Some(change) {
            self.check_known(name)?;
            if self.state.facts.operators_left(Some(name)).is_empty() {
                return Err(StoreError::LastOperator(name));
            }
        }
        self.begin(change, Rotation::emergency(), |state, now| {
            for held in &mut state.facts.principal {
                if held.name == name {
                    held.revoked_at = Some(now);
                }
            }
            Ok(None)
        })
    }

    fn check_known(&self, name: PrincipalName) -> Result<(), StoreError> {
        match self.state.facts.principal(name) {
            None => Err(StoreError::Unknown(name)),
            Some(held) if held.revoked_at.is_some() => Err(StoreError::Revoked(name)),
            Some(_) => Ok(()),
        }
    }

    /// Writes a change down, whole, and carries it out. One that was interrupted comes first; if it
    /// is the same, it is all.
    fn begin(
        &mut self,
        change: Change,
        rotation: Rotation,
        plan: impl FnOnce(&mut State, Timestamp) -> Result<Option<u32>, StoreError>,
    ) -> Result<Changed, StoreError> {
        if let Some(pending) = &self.state.pending {
            let same = pending.change == change;
            let changed = self.carry_out(true)?;
            if same {
                return Ok(changed);
            }
        }
        let now = Clock::system().now();
        let mut planned = self.state.clone();
        planned.pending = Some(Pending {
            change,
            changed: ChangedContent {
                epoch: None,
                used_from: now.plus(rotation.lead),
                earlier_until: now.plus(rotation.lead).plus(rotation.overlap),
            },
            keys: None,
            server: None,
        });
        planned.facts.unfinished = true;
        let epoch = plan(&mut planned, now)?;
        if let Some(pending) = &mut planned.pending {
            pending.changed.epoch = epoch;
        }
        planned.write(&self.folder, &self.key)?;
        self.state = planned;
        self.carry_out(false)
    }

    /// Does what is written down, wherever it is not done yet.
    fn carry_out(&mut self, carried_on: bool) -> Result<Changed, StoreError> {
        let now = Clock::system().now();
        self.state.write_facts(&self.folder)?;
        if let Some((certificate, key)) = self.state.server() {
            let nats = self.folder.join("nats");
            for (name, text) in [("server.key", key), ("server.pem", certificate)] {
                let path = nats.join(name);
                file::replace(&path, text.0.as_bytes()).map_err(write_error(&path))?;
            }
        }
        for held in &self.state.facts.principal {
            if held.revoked_at.is_none() {
                self.renew(held.name, now)
                    .map_err(|cause| StoreError::Bundle {
                        name: held.name,
                        cause,
                    })?;
            }
        }
        let pending = self.state.pending.clone();
        let change = pending.as_ref().map(|pending| pending.change);
        if let Some(Change::Revocation { name }) = change {
            self.delete(name)?;
        }
        let mut done = self.state.clone();
        if let Some(Change::Revocation { name }) = change {
            done.bundle_keys.remove(&name);
        }
        done.pending = None;
        done.facts.unfinished = false;
        done.forget(now);
        done.write(&self.folder, &self.key)?;
        self.state = done;
        self.state.write_facts(&self.folder)?;
        let changed = pending.map_or(
            ChangedContent {
                epoch: None,
                used_from: now,
                earlier_until: now,
            },
            |pending| pending.changed,
        );
        Ok(Changed {
            epoch: changed.epoch,
            used_from: changed.used_from,
            earlier_until: changed.earlier_until,
            server: !matches!(change, Some(Change::Epoch { .. }) | None),
            carried_on,
        })
    }

    /// Brings a bundle to what the state says; one that says it already is left alone.
    fn renew(&self, name: PrincipalName, now: Timestamp) -> Result<(), IdentityError> {
        let folder = self.bundle_folder(name);
        let key = self
            .state
            .bundle_keys
            .get(&name)
            .and_then(SecretText::bytes);
        let key = key.ok_or_else(|| IdentityError::Value {
            path: folder.join(BUNDLE_FILE),
            problem: "has no key in the roots".into(),
        })?;
        let mut bundle = Bundle::open_with_key(&folder, &key)?;
        let links = self.state.links_of(name, now);
        let trust = self.state.trust(now);
        let mut changed = bundle.links != links || bundle.trust != trust;
        bundle.links = links;
        bundle.trust = trust;
        changed |= self.renew_keys(&mut bundle, now);
        if changed {
            bundle.made_at = now;
            bundle.seal(&folder, &key)?;
        }
        Ok(())
    }

    fn renew_keys(&self, bundle: &mut Bundle, now: Timestamp) -> bool {
        let Some(facts) = self.state.facts.principal(bundle.name) else {
            return false;
        };
        let before = (bundle.transports.clone(), bundle.signing.clone());
        if let Some((transport, signing)) = self.state.new_keys(bundle.name) {
            if !bundle.transports.contains(&transport) {
                bundle.transports.push(transport);
            }
            if let Some(signing) = signing
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

    fn delete(&self, name: PrincipalName) -> Result<(), StoreError> {
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

impl State {
    /// What a principal holds of the link keys.
    pub(super) fn links_of(&self, name: PrincipalName, now: Timestamp) -> Vec<BundleLink> {
        let mut held = Vec::new();
        let own = self.facts.links().into_iter();
        for link in own.filter(|link| link.source == name || link.audience == name) {
            for (epoch, made_at) in self.facts.epochs_of(link, now) {
                let Some(root) = self.root(epoch.number) else {
                    continue;
                };
                held.push(BundleLink {
                    link,
                    epoch,
                    made_at,
                    key: root.link_key(self.facts.realm, epoch.number, link),
                });
            }
        }
        held
    }

    fn add_epoch(
        &mut self,
        rotation: Rotation,
        only: Option<PrincipalName>,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let numbers = self.facts.epoch.iter().map(|epoch| epoch.number);
        let number = numbers.max().unwrap_or_default().saturating_add(1);
        let seals_from = now.plus(rotation.lead);
        self.facts.epoch.push(EpochFacts {
            number,
            made_at: now,
            seals_from,
            earlier_until: seals_from.plus(rotation.overlap),
            emergency: rotation.emergency,
            only,
        });
        let root = SecretText::hex(&*random32()?);
        self.roots.insert(number.to_string(), root);
        Ok(number)
    }

    fn add_server_certificate(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let authority = Authority::from_key(self.facts.realm, &self.authority_key.0)?;
        let leaf = authority.server(&self.facts.server_names, now)?;
        self.facts.server = certificate_facts(&leaf);
        if let Some(pending) = &mut self.pending {
            let key = SecretText((*leaf.key_pem).clone());
            pending.server = Some((SecretText(leaf.pem), key));
        }
        Ok(())
    }

    fn add_keys(
        &mut self,
        name: PrincipalName,
        rotation: Rotation,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let from = now.plus(rotation.lead);
        let until = from.plus(rotation.overlap);
        let authority = Authority::from_key(self.facts.realm, &self.authority_key.0)?;
        let leaf = authority.client(name.as_str(), now)?;
        let (transport, nkey) = new_transport(&leaf, from)?;
        let facts = self.facts.principal.iter_mut();
        let Some(facts) = facts.into_iter().find(|held| held.name == name) else {
            return Err(StoreError::Unknown(name));
        };
        let signing = match facts.signing.is_empty() {
            true => None,
            false => Some(SigningSeed {
                from,
                seed: *random32()?,
            }),
        };
        // What was to end earlier still does.
        for held in &mut facts.nkey {
            held.until = Some(held.until.map_or(until, |earlier| earlier.min(until)));
        }
        for held in &mut facts.signing {
            held.until = Some(held.until.map_or(until, |earlier| earlier.min(until)));
        }
        for held in &mut facts.certificate {
            let earlier = held.replaced_at;
            held.replaced_at = Some(earlier.map_or(until, |earlier| earlier.min(until)));
        }
        facts.nkey.push(key_facts(nkey, from));
        facts.signing.extend(signing.iter().map(signing_facts));
        facts.certificate.push(certificate_facts(&leaf));
        if let Some(pending) = &mut self.pending {
            pending.keys = Some(NewKeys {
                transport: (&transport).into(),
                signing: signing.as_ref().map(Into::into),
            });
        }
        Ok(())
    }

    fn server(&self) -> Option<&(SecretText, SecretText)> {
        self.pending.as_ref()?.server.as_ref()
    }

    fn new_keys(&self, name: PrincipalName) -> Option<(Transport, Option<SigningSeed>)> {
        let pending = self.pending.as_ref()?;
        let keys = match pending.change {
            Change::Principal { name: whose, .. } if whose == name => pending.keys.as_ref()?,
            Change::Principal { .. }
            | Change::Epoch { .. }
            | Change::Server
            | Change::Revocation { .. } => return None,
        };
        let signing = keys.signing.as_ref();
        let signing = signing.and_then(SigningContent::seed);
        Some(((&keys.transport).into(), signing))
    }

    /// Lets go of what nobody has to hold any more.
    fn forget(&mut self, now: Timestamp) {
        let links = self.facts.links();
        let mut held: Vec<_> = links
            .iter()
            .flat_map(|link| self.facts.epochs_of(*link, now))
            .map(|(epoch, _)| epoch.number)
            .collect();
        held.sort_unstable();
        let is_held = |number: u32| held.binary_search(&number).is_ok();
        // The newest stays even where nobody has links: its number must not be given again.
        let newest = self.facts.epoch.iter().map(|epoch| epoch.number).max();
        self.facts
            .epoch
            .retain(|epoch| is_held(epoch.number) || Some(epoch.number) == newest);
        self.roots
            .retain(|number, _| number.parse().is_ok_and(is_held));
        for facts in &mut self.facts.principal {
            facts.nkey.retain(|key| key.counts_at(now));
            let kept = |until: Timestamp| now < until.plus(AUDIT_KEEPS);
            facts.signing.retain(|key| key.until.is_none_or(kept));
            facts
                .certificate
                .retain(|held| held.replaced_at.is_none_or(|until| now < until));
        }
    }
}
