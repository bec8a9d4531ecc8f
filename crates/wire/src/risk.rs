//! What risk-guard tells operators, and what operators tell risk-guard.
//!
//! ```text
//!  operator ── Signed<RiskCommand> ──▶ risk-guard       the safe direction: done at once
//!  operator ── Signed<RiskCommand> ──▶ risk-guard       the risky one: waits,
//!  another  ── Signed<Approve digest> ──▶ risk-guard    until a second person approves its digest
//!  operator ◀── RiskStatus ── risk-guard                limits and what is used of them
//! ```

use alloc::vec::Vec;

use portcullis_domain::{
    BreakerKey, BreakerState, Figure, Hash, Posture, PrincipalName, Rule, Scope, StrategyId,
    Timestamp, Unit,
};
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::{Realm, Text};

/// What an operator wants of risk-guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RiskAction {
    /// Let nothing new of a scope through. Safe.
    Halt {
        /// Of what.
        scope: Scope,
        /// Until when; without it, until it is lifted.
        until: Option<Timestamp>,
    },
    /// End a halt. Takes two persons.
    LiftHalt {
        /// Of what.
        scope: Scope,
    },
    /// Open a breaker; it does not recover by itself then. Safe.
    OpenBreaker {
        /// Which.
        breaker: BreakerKey,
    },
    /// Let a breaker's probes through; only they can close it. Takes two persons.
    CloseBreaker {
        /// Which.
        breaker: BreakerKey,
    },
    /// Set a limit. Tightening is safe; loosening takes two persons and ends at what the policy says.
    SetLimit {
        /// Which.
        rule: Rule,
        /// For what.
        scope: Scope,
        /// To what, in the unit of the rule.
        value: Figure,
    },
    /// Go back to the posture that the present drawdown allows. Takes two persons.
    RaisePosture,
    /// Let a strategy go on that was suspended for repeating itself. One designated person
    /// (Commission Delegated Regulation (EU) 2017/589, article 15(3)).
    Release {
        /// Which.
        strategy: StrategyId,
    },
    /// Approve another person's command.
    Approve {
        /// SHA-256 of what that person signed.
        digest: Hash,
    },
}

/// An operator's command to risk-guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskCommand {
    /// The deployment it is meant for.
    pub realm: Realm,
    /// Who says so.
    pub operator: PrincipalName,
    /// What.
    pub action: RiskAction,
    /// Why, for the record.
    pub reason: Text,
    /// When it was signed.
    pub at: Timestamp,
}

impl Command for RiskCommand {
    fn operator(&self) -> PrincipalName {
        self.operator
    }

    fn realm(&self) -> Realm {
        self.realm
    }
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandOutcome {
    /// It is done, and on disk.
    Done,
    /// It waits for a second person.
    AwaitsApproval,
    /// It was refused; the detail says why.
    Refused,
    /// It waited too long for a second person.
    Lapsed,
}

/// The closes of an instrument's last minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closes {
    /// Of what.
    pub symbol: portcullis_domain::Symbol,
    /// The last minute that is over, counted from the epoch by the venue's clock.
    pub minute: u64,
    /// The last price of each minute, up to that one, oldest first and without a gap; at most
    /// [`Closes::MINUTES`].
    pub closes: Vec<portcullis_domain::Price>,
}

impl Closes {
    /// Thirty returns need one price more.
    pub const MINUTES: usize = 31;
}

/// A limit, and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitStatus {
    /// Which rule's.
    pub rule: Rule,
    /// For what.
    pub scope: Scope,
    /// In what.
    pub unit: Unit,
    /// The limit in force.
    pub limit: Figure,
    /// What the policy says: no command sets it higher.
    pub ceiling: Figure,
    /// What is used now; `None` where that depends on the order, or is not known.
    pub used: Option<Figure>,
}

/// A breaker that is not simply closed and quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerStatus {
    /// Which.
    pub breaker: BreakerKey,
    /// Its state.
    pub state: BreakerState,
    /// Failures within its window.
    pub failures: u32,
    /// Outcomes within its window.
    pub outcomes: u32,
    /// Failures since the last success.
    pub consecutive: u32,
    /// When it lets probes through, where it does so by itself.
    pub recovers_at: Option<Timestamp>,
    /// Probes that went well.
    pub probes_passed: u32,
}

/// A halt that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaltStatus {
    /// Of what.
    pub scope: Scope,
    /// Until when; without it, until it is lifted.
    pub until: Option<Timestamp>,
    /// Who halted it.
    pub operator: PrincipalName,
    /// Why.
    pub reason: Text,
}

/// A command that waits for a second person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingCommand {
    /// SHA-256 of what the first person signed: what the second one approves.
    pub digest: Hash,
    /// What the first person signed.
    pub command: RiskCommand,
    /// When it lapses.
    pub expires_at: Timestamp,
}

/// Risk-guard's account of itself, for operators. Lists that would not fit end early, and say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskStatus {
    /// What the day's drawdown still allows.
    pub posture: Posture,
    /// Counts every change of a breaker; permits carry it.
    pub generation: u64,
    /// Every breaker that is not closed, then those with failures in their window.
    pub breakers: Vec<BreakerStatus>,
    /// Halts in force.
    pub halts: Vec<HaltStatus>,
    /// Strategies that a person has to let go on.
    pub suspended: Vec<StrategyId>,
    /// Commands that wait for a second person.
    pub pending: Vec<PendingCommand>,
    /// Limits and what is used of them, the account's first.
    pub limits: Vec<LimitStatus>,
    /// How many lines of all lists were left out.
    pub left_out: u64,
}

impl RiskStatus {
    /// The most lines of each list.
    pub const LINES_MAX: usize = 100;
}
