//! Exchanges keys and revokes principals.

use portcullis_domain::{PrincipalName, Timestamp};

use super::facts::{AUDIT_KEEPS, EpochFacts};
use super::init::{
    certificate_facts, fixed_name, key_facts, new_transport, random32, signing_facts,
};
use super::state::{Change, ChangedContent, NewKeys, Pending, State};
use super::{Changed, NotRenewed, Rotation, Store, StoreError};
use crate::Clock;
use crate::identity::bundle::{BundleLink, SecretText, SigningSeed};
use crate::identity::certificates::Authority;

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

    /// Gives a principal a new NKey, a new certificate, a new key to sign with if it signs, a new
    /// epoch of its links, and a new key of its bundle, as [`Rotation::default`] says. `nats` stands
    /// for the server and its certificate.
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
        self.bundle_key_files(name)?;
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
    /// is the same in every respect, and as good as made now, it is all.
    fn begin(
        &mut self,
        change: Change,
        rotation: Rotation,
        plan: impl FnOnce(&mut State, Timestamp) -> Result<Option<u32>, StoreError>,
    ) -> Result<Changed, StoreError> {
        let mut earlier = None;
        if let Some(pending) = self.state.pending.clone() {
            let carried_on = self.carry_out(true)?;
            if pending.answers(change, rotation, Clock::system().now()) {
                return Ok(carried_on);
            }
            earlier = Some(carried_on);
        }
        if !change.is_urgent() {
            let unopened = self.unopened();
            if !unopened.is_empty() {
                return Err(StoreError::Bundles(unopened));
            }
        }
        let now = Clock::system().now();
        let mut planned = self.state.clone();
        planned.pending = Some(Pending {
            change,
            changed: ChangedContent {
                epoch: None,
                begun_at: now,
                used_from: now.plus(rotation.lead),
                earlier_until: now.plus(rotation.lead).plus(rotation.overlap),
            },
            // One that could not be written yet still has to be.
            server: self
                .state
                .pending
                .as_ref()
                .and_then(|earlier| earlier.server.clone()),
        });
        planned.facts.unfinished = true;
        let epoch = plan(&mut planned, now)?;
        if let Some(pending) = &mut planned.pending {
            pending.changed.epoch = epoch;
        }
        planned.write(&self.folder, &self.key)?;
        self.state = planned;
        let changed = self.carry_out(false)?;
        Ok(Changed {
            server: changed.server || earlier.as_ref().is_some_and(|earlier| earlier.server),
            after_another: earlier.is_some(),
            ..changed
        })
    }

    /// Does what is written down, wherever it is not done yet. What cannot be done in one place keeps
    /// it from being done in no other: a damaged file must not hold up a revocation. As long as
    /// something is left, the change stays written down.
    fn carry_out(&mut self, carried_on: bool) -> Result<Changed, StoreError> {
        let now = Clock::system().now();
        self.state.write_facts(&self.folder)?;
        let mut done = self.state.clone();
        let mut left = Vec::new();
        if let Err(error) = self.write_server() {
            left.push(NotRenewed::of(fixed_name("nats"), &error, error.own_step()));
        }
        for held in &self.state.facts.principal {
            if held.revoked_at.is_some() {
                done.bundle_keys.remove(&held.name);
                done.next.remove(&held.name);
                if let Err(error) = self.delete(held.name) {
                    left.push(NotRenewed::of(held.name, &error, error.own_step()));
                }
                continue;
            }
            match self.renew(held.name, now) {
                Ok(()) => {
                    if let Some(next) = done.next.remove(&held.name) {
                        done.bundle_keys.insert(held.name, next.bundle_key.clone());
                    }
                }
                Err(error) => left.push(NotRenewed::of(held.name, &error, error.own_step())),
            }
        }
        let pending = self.state.pending.clone();
        let change = pending.as_ref().map(|pending| pending.change);
        if left.is_empty() {
            done.pending = None;
            done.facts.unfinished = false;
            done.forget(now);
        }
        done.write(&self.folder, &self.key)?;
        self.state = done;
        self.state.write_facts(&self.folder)?;
        let changed = pending.map_or(
            ChangedContent {
                epoch: None,
                begun_at: now,
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
            after_another: false,
            left,
        })
    }
}

impl Change {
    /// Whether somebody may have keys who should not. It is then better done in part than not at all.
    const fn is_urgent(self) -> bool {
        match self {
            Self::Epoch { emergency } | Self::Principal { emergency, .. } => emergency,
            Self::Server => false,
            Self::Revocation { .. } => true,
        }
    }
}

impl Pending {
    /// Whether carrying it on is all that was asked for. What a thief may have had time to read
    /// meanwhile is not: in an emergency, and after the moment from which the keys of this plan are
    /// used, new ones are made.
    fn answers(&self, change: Change, rotation: Rotation, now: Timestamp) -> bool {
        let ChangedContent {
            begun_at,
            used_from,
            earlier_until,
            ..
        } = self.changed;
        match change {
            _ if self.change != change => false,
            Change::Revocation { .. } => true,
            Change::Epoch { .. } | Change::Principal { .. } | Change::Server => {
                !change.is_urgent()
                    && begun_at.plus(rotation.lead) == used_from
                    && used_from.plus(rotation.overlap) == earlier_until
                    && now <= used_from
            }
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
        // One that was not carried out to its end may be in the key's file or in use already.
        let bundle_key = match self.next.remove(&name) {
            Some(unused) => unused.bundle_key.clone(),
            None => SecretText::hex(&*random32()?),
        };
        let keys = NewKeys {
            transport: (&transport).into(),
            signing: signing.as_ref().map(Into::into),
            bundle_key,
        };
        self.next.insert(name, keys);
        Ok(())
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
