//! Who plays: every principal with its keys, its clock and its connection.

use std::collections::VecDeque;

use portcullis_domain::{PrincipalName, Timestamp};
use portcullis_testkit::World as Deployment;
use portcullis_testkit::seals::principal;
use portcullis_wire::{Sealed, Sealer, Verifier};

/// Somebody on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Brain,
    Guard,
    Execution,
    Signer,
    Audit,
    MarketData,
    Sample,
    Other,
    Alice,
}

impl Who {
    pub const ALL: [Self; 9] = [
        Self::Brain,
        Self::Guard,
        Self::Execution,
        Self::Signer,
        Self::Audit,
        Self::MarketData,
        Self::Sample,
        Self::Other,
        Self::Alice,
    ];
    /// Those with a core.
    pub const CORES: [Self; 5] = [
        Self::Brain,
        Self::Guard,
        Self::Execution,
        Self::Signer,
        Self::Audit,
    ];

    pub const fn text(self) -> &'static str {
        match self {
            Self::Brain => "brain",
            Self::Guard => "risk-guard",
            Self::Execution => "execution",
            Self::Signer => "signer",
            Self::Audit => "audit",
            Self::MarketData => "market-data",
            Self::Sample => "strategy-sample",
            Self::Other => "strategy-other",
            Self::Alice => "operator-alice",
        }
    }

    pub fn name(self) -> PrincipalName {
        principal(self.text())
    }
}

/// A fact that waits for the stream, with its number in execution's journal.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub number: Option<u64>,
    pub sealed: Sealed,
}

/// One principal.
pub struct Seat {
    pub sealer: Sealer,
    pub verifier: Verifier,
    /// Rises with every start; what belongs to an earlier life is void.
    pub boot: u64,
    pub up: bool,
    /// Its clock is so many microseconds ahead.
    pub offset: i64,
    /// Nothing comes or goes before.
    pub isolated_until: u64,
    /// Facts that the stream has not acknowledged; worth nothing after a crash.
    pub outbox: VecDeque<Outgoing>,
    /// When it handed its last fact over.
    pub spoke_at: u64,
}

impl Seat {
    pub fn new(deployment: &Deployment, who: Who, boot: u64, started_at: Timestamp) -> Self {
        let (realm, name) = (deployment.realm(), who.name());
        let ring = deployment.ring(name);
        Self {
            sealer: Sealer::new(realm, name, boot, ring.clone()),
            verifier: Verifier::new(realm, name, started_at, ring),
            boot,
            up: true,
            offset: 0,
            isolated_until: 0,
            outbox: VecDeque::new(),
            spoke_at: 0,
        }
    }

    /// A new life with the same clock and the same cable.
    pub fn restart(&mut self, deployment: &Deployment, who: Who, started_at: Timestamp) {
        let fresh = Self::new(deployment, who, self.boot + 1, started_at);
        *self = Self {
            offset: self.offset,
            isolated_until: self.isolated_until,
            ..fresh
        };
    }
}
