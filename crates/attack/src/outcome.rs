//! What came of an attack.

use serde::Serialize;

/// One way that was tried and refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// What was tried.
    pub way: String,
    /// Where it ended.
    pub at: String,
    /// The code of the refusal.
    pub code: String,
    /// The subject of the entry in audit's log; empty where it ended outside of what audit sees.
    pub entry: String,
    /// The number of that entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Who else saw it.
    pub seen_by: Vec<String>,
    /// From the attempt to the refusal, in milliseconds.
    pub refused_ms: u64,
    /// From the attempt to the entry in audit's log, in milliseconds.
    pub recorded_ms: Option<u64>,
}

/// What came of all that one attacker tried for one goal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It reached nothing, and audit's log says so.
    Blocked {
        /// Every way.
        refused: Vec<Refused>,
    },
    /// It reached something, which is written down.
    Allowed {
        /// What, plainly.
        what: String,
        /// What was seen of it.
        evidence: String,
        /// The ways that were refused.
        refused: Vec<Refused>,
    },
    /// There is no position to even try it from.
    NotApplicable {
        /// Why.
        why: String,
    },
    /// It reached something that it must not, or nobody saw it: red.
    Broken {
        /// What was seen.
        evidence: String,
    },
}

impl Outcome {
    /// Refused everywhere. Red, unless audit's log shows at least one of the attempts, and every
    /// attempt on the bus.
    #[must_use]
    pub fn blocked(refused: Vec<Refused>) -> Self {
        if refused.iter().any(Refused::is_recorded) {
            Self::Blocked { refused }
        } else {
            Self::Broken {
                evidence: "audit's log shows nothing of it".into(),
            }
        }
    }

    /// What it could do, beside what was refused.
    #[must_use]
    pub fn allowed(what: &str, evidence: impl Into<String>, refused: Vec<Refused>) -> Self {
        Self::Allowed {
            what: what.into(),
            evidence: evidence.into(),
            refused,
        }
    }

    /// The word in the matrix.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Blocked { .. } => "blocked",
            Self::Allowed { .. } => "ALLOWED",
            Self::NotApplicable { .. } => "–",
            Self::Broken { .. } => "RED",
        }
    }

    /// Whether it counts as shown.
    #[must_use]
    pub const fn is_shown(&self) -> bool {
        matches!(self, Self::Blocked { .. } | Self::Allowed { .. })
    }

    /// Whether it is red.
    #[must_use]
    pub const fn is_red(&self) -> bool {
        matches!(self, Self::Broken { .. })
    }

    /// The ways that were refused.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        match self {
            Self::Blocked { refused } | Self::Allowed { refused, .. } => refused,
            Self::NotApplicable { .. } | Self::Broken { .. } => &[],
        }
    }
}

impl Refused {
    /// Whether audit's log shows it.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.recorded_ms.is_some()
    }

    /// Adds a witness.
    #[must_use]
    pub fn and_seen_by(mut self, who: &str) -> Self {
        self.seen_by.push(who.into());
        self
    }
}
