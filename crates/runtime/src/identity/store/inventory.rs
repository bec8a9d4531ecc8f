//! What is there, how old it is and what is wrong with it, for people.

use std::path::Path;

use portcullis_domain::{PrincipalName, Timestamp};

use super::facts::{CertificateFacts, EpochFacts, Facts, PrincipalFacts};
use crate::Clock;
use crate::config::ConfigError;
use crate::identity::{AGE_LIMIT_PERCENT, AGE_WARNING_PERCENT, Age, is_production};

/// The keys of a realm at one moment. No secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// What is written down.
    pub facts: Facts,
    /// When it was looked at.
    pub taken_at: Timestamp,
    /// What an operator should do something about, the most urgent first.
    pub findings: Vec<Finding>,
}

/// Where an epoch is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochState {
    /// It is held and does not seal yet.
    Planned,
    /// It seals.
    Sealing,
    /// A later one seals, and what it sealed still counts.
    Overlapping,
    /// Nothing that it sealed counts any more; audit keeps it for what was sealed in its time.
    Retired,
}

/// What an operator should do something about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether something is refused because of it, now or at the next start.
    pub refused: bool,
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub next_step: String,
}

impl Inventory {
    /// Looks at the facts of a folder. The realm's key is not needed.
    ///
    /// # Errors
    /// [`ConfigError`] when there are none.
    pub fn read(folder: &Path) -> Result<Self, ConfigError> {
        Ok(Self::of(&Facts::read(folder)?, Clock::system().now()))
    }

    pub(super) fn of(facts: &Facts, now: Timestamp) -> Self {
        let mut inventory = Self {
            facts: facts.clone(),
            taken_at: now,
            findings: Vec::new(),
        };
        inventory.look();
        inventory
    }

    /// How much of an epoch's life is over, in per cent.
    #[must_use]
    pub fn epoch_percent(&self, epoch: &EpochFacts) -> u64 {
        let age = Age {
            what: "epoch",
            from: epoch.made_at,
            until: epoch.made_at.plus(self.facts.epoch_life),
        };
        age.percent(self.taken_at)
    }

    /// How much of a certificate's life is over, in per cent.
    #[must_use]
    pub fn certificate_percent(&self, certificate: &CertificateFacts) -> u64 {
        let age = Age {
            what: "certificate",
            from: certificate.from,
            until: certificate.until,
        };
        age.percent(self.taken_at)
    }

    /// Where an epoch is in its life.
    #[must_use]
    pub fn epoch_state(&self, epoch: &EpochFacts) -> EpochState {
        let now = self.taken_at;
        let later = self.facts.epoch.iter();
        let later: Vec<_> = later
            .filter(|later| {
                later.number > epoch.number && (later.only.is_none() || later.only == epoch.only)
            })
            .collect();
        if later.iter().any(|later| now >= later.earlier_until) {
            EpochState::Retired
        } else if now < epoch.seals_from {
            EpochState::Planned
        } else if later.iter().any(|later| now >= later.seals_from) {
            EpochState::Overlapping
        } else {
            EpochState::Sealing
        }
    }

    fn look(&mut self) {
        let facts = self.facts.clone();
        if facts.unfinished {
            self.find(
                true,
                "a change of keys was interrupted: some bundles have it, others do not".into(),
                "portcullis keys doctor names what does not open; then run the same command again: it \
                 carries on"
                    .into(),
            );
        }
        for epoch in &facts.epoch {
            if matches!(self.epoch_state(epoch), EpochState::Sealing) && epoch.only.is_none() {
                let percent = self.epoch_percent(epoch);
                let what = format!("epoch {} is at {percent} % of its life", epoch.number);
                self.find_age(percent, what, "portcullis keys rotate".into());
            }
        }
        for principal in &facts.principal {
            self.look_at(principal);
        }
        let percent = self.certificate_percent(&facts.server);
        let what = format!("the certificate of the server is at {percent} % of its life");
        self.find_age(percent, what, "portcullis keys rotate nats".into());
        let authority = Age {
            what: "authority",
            from: facts.made_at,
            until: facts.authority_until,
        };
        let percent = authority.percent(self.taken_at);
        let what = format!("the certificate authority is at {percent} % of its life");
        self.find_age(
            percent,
            what,
            "make a new realm: portcullis keys init".into(),
        );
        self.findings.sort_by_key(|finding| !finding.refused);
    }

    fn look_at(&mut self, principal: &PrincipalFacts) {
        let PrincipalFacts { name, .. } = principal;
        if principal.revoked_at.is_some() {
            return;
        }
        if let Some(newest) = principal.certificate.last() {
            let percent = self.certificate_percent(newest);
            let what = format!("the certificate of {name} is at {percent} % of its life");
            self.find_age(percent, what, rotate(*name));
        }
        let over = principal.nkey.iter();
        if over.filter(|key| !key.counts_at(self.taken_at)).count() > 0 {
            self.find(
                false,
                format!("an NKey of {name} does not count any more"),
                "render the server's configuration again and reload it".into(),
            );
        }
    }

    fn find_age(&mut self, percent: u64, what: String, next_step: String) {
        if percent >= AGE_WARNING_PERCENT {
            let refused = percent > AGE_LIMIT_PERCENT && is_production(self.facts.realm);
            self.find(refused, what, next_step);
        }
    }

    fn find(&mut self, refused: bool, what: String, next_step: String) {
        self.findings.push(Finding {
            refused,
            what,
            next_step,
        });
    }
}

fn rotate(name: PrincipalName) -> String {
    format!("portcullis keys rotate {name}")
}
