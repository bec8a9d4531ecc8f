//! What may be known about the keys of a realm: `realm.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use portcullis_domain::{Hash, PrincipalName, Span, StrategyId, Symbol, Timestamp};
use portcullis_wire::principal::Role;
use portcullis_wire::{Epoch, Link, Realm};
use serde::{Deserialize, Serialize};

use crate::config::{self, ConfigError};
use crate::nats_config::{Credentials, OperatorId, PublicIdentity, Roster, RosterError, links};

/// The file's name.
pub(super) const FACTS_FILE: &str = "realm.toml";
/// How long audit keeps the keys of a retired epoch: what was sealed in its time may come late.
pub(super) const AUDIT_KEEPS: Span = Span::from_secs(30 * 86_400);

/// What may be known about the keys of a realm. Moments are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The deployment's name.
    pub realm: Realm,
    /// When its identities were made.
    pub made_at: Timestamp,
    /// How long an epoch should last.
    pub epoch_life: Span,
    /// Whether a change was begun and not ended.
    pub unfinished: bool,
    /// What the server may be called.
    pub server_names: Vec<String>,
    /// The strategies.
    pub strategies: Vec<StrategyId>,
    /// The operators.
    pub operators: Vec<OperatorId>,
    /// The instruments.
    pub symbols: Vec<Symbol>,
    /// When the certificate authority ends.
    pub authority_until: Timestamp,
    /// The server's certificate.
    pub server: CertificateFacts,
    /// The epochs whose keys are still held by somebody, the newest last.
    pub epoch: Vec<EpochFacts>,
    /// Everybody, and the provisioner and the monitor.
    pub principal: Vec<PrincipalFacts>,
}

/// An epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochFacts {
    /// Its number.
    pub number: u32,
    /// When it was made.
    pub made_at: Timestamp,
    /// From when on it seals.
    pub seals_from: Timestamp,
    /// When the earlier epochs of its links retire.
    pub earlier_until: Timestamp,
    /// Whether the earlier epochs of its links are dropped, even by audit.
    pub emergency: bool,
    /// Whose links it covers; everybody's if nobody is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<PrincipalName>,
}

/// A principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalFacts {
    /// Its name.
    pub name: PrincipalName,
    /// When it was revoked, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Its public NKeys, the newest last. Each belongs to the certificate at the same place.
    pub nkey: Vec<KeyFacts<String>>,
    /// The public keys that it signs with, the newest last; most sign nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing: Vec<KeyFacts<Hash>>,
    /// Its certificates, the newest last.
    pub certificate: Vec<CertificateFacts>,
}

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFacts<T> {
    /// The key.
    pub public: T,
    /// From when on its owner uses it.
    pub from: Timestamp,
    /// Until when it counts, if another one takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFacts {
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of its public key (DER SubjectPublicKeyInfo).
    pub pin: Hash,
    /// When it was made.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// Until when it counts, if another one takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_at: Option<Timestamp>,
}

impl Facts {
    /// Reads the facts of a folder of identities.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(folder: &Path) -> Result<Self, ConfigError> {
        config::load(&folder.join(FACTS_FILE))
    }

    /// Who is on the roster. Operators who were revoked are not: nobody listens to them any more.
    /// Strategies and services stay, with no key, because the record of what they did stays.
    ///
    /// # Errors
    /// [`RosterError`], which only facts give that were changed by hand.
    pub fn roster(&self) -> Result<Roster, RosterError> {
        Roster::new(
            self.realm,
            self.strategies.clone(),
            self.operators_left(None),
            self.symbols.clone(),
        )
    }

    /// What admits each principal at a moment; nothing for who is revoked.
    #[must_use]
    pub fn credentials(&self, now: Timestamp) -> Credentials {
        let of = |principal: &PrincipalFacts| {
            let pairs = principal.nkey.iter().zip(&principal.certificate);
            let counting = pairs
                .filter(|(nkey, _)| principal.revoked_at.is_none() && nkey.counts_at(now))
                .map(|(nkey, certificate)| PublicIdentity {
                    nkey: nkey.public.clone(),
                    certificate_pin: certificate.pin,
                });
            (principal.name, counting.collect())
        };
        self.principal.iter().map(of).collect()
    }

    /// The public NKeys of that.
    #[must_use]
    pub fn nkeys(&self, now: Timestamp) -> BTreeMap<PrincipalName, Vec<String>> {
        let nkeys = |admitted: Vec<PublicIdentity>| {
            let nkeys = admitted.into_iter().map(|identity| identity.nkey);
            nkeys.collect()
        };
        let credentials = self.credentials(now).into_iter();
        credentials
            .map(|(name, admitted)| (name, nkeys(admitted)))
            .collect()
    }

    /// A principal.
    #[must_use]
    pub fn principal(&self, name: PrincipalName) -> Option<&PrincipalFacts> {
        self.principal.iter().find(|held| held.name == name)
    }

    /// The operators who are not revoked, without one more.
    pub(super) fn operators_left(&self, without: Option<PrincipalName>) -> Vec<OperatorId> {
        let mut left = self.operators.clone();
        left.retain(|id| {
            let name = PrincipalName::new(&format!("{}{id}", Role::Operator));
            name.is_ok_and(|name| Some(name) != without && !self.is_revoked(name))
        });
        left
    }

    pub(super) fn is_revoked(&self, name: PrincipalName) -> bool {
        self.principal(name)
            .is_none_or(|held| held.revoked_at.is_some())
    }

    /// The epochs of a link that somebody has to hold at a moment, with when they were made.
    pub(super) fn epochs_of(&self, link: Link, now: Timestamp) -> Vec<(Epoch, Timestamp)> {
        let covers = |epoch: &&EpochFacts| {
            epoch
                .only
                .is_none_or(|only| only == link.source || only == link.audience)
        };
        let covering: Vec<_> = self.epoch.iter().filter(covers).collect();
        let first = covering.iter().rposition(|epoch| epoch.emergency);
        let held = covering.get(first.unwrap_or(0)..).unwrap_or_default();
        let keeps = if link.audience.as_str() == "audit" {
            AUDIT_KEEPS
        } else {
            Span(0)
        };
        held.iter()
            .enumerate()
            .map(|(at, epoch)| {
                // A later epoch may let the earlier ones count for less long than the next one did.
                let later = held.iter().skip(at.saturating_add(1));
                let retires_at = later.map(|later| later.earlier_until).min();
                let of_link = Epoch {
                    number: epoch.number,
                    seals_from: epoch.seals_from,
                    retires_at,
                };
                (of_link, epoch.made_at)
            })
            .filter(|(epoch, _)| epoch.retires_at.is_none_or(|at| now < at.plus(keeps)))
            .collect()
    }

    /// The links between those who are not revoked.
    pub(super) fn links(&self) -> Vec<Link> {
        let all = self.roster().map(|roster| links(&roster));
        let mut all = all.unwrap_or_default();
        all.retain(|link| !self.is_revoked(link.source) && !self.is_revoked(link.audience));
        all
    }
}

impl<T> KeyFacts<T> {
    /// Whether it counts at a moment.
    #[must_use]
    pub fn counts_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}
