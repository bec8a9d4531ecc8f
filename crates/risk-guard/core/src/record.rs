//! What risk-guard writes down, so that a restart loosens nothing.

use portcullis_domain::{BreakerKey, Figure, Posture, Rule, Scope, StrategyId};
use portcullis_wire::Text;
use portcullis_wire::messages::HaltStatus;
use serde::{Deserialize, Serialize};

use crate::breakers::Saved;

/// One change of what survives a restart. The last one about a thing counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A start, and how the wall clock stands to one that no one can set: at the next start it tells
    /// whether the clock ran on.
    Started {
        /// Which run of the machine: the second clock begins anew with each.
        machine: Text,
        /// Wall clock less the other, in microseconds.
        offset_us: i64,
    },
    /// A breaker as it is now.
    Breaker {
        /// Which.
        breaker: BreakerKey,
        /// Everything about it.
        saved: Saved,
    },
    /// A scope is halted.
    Halted(HaltStatus),
    /// A halt is over.
    HaltEnded {
        /// Of what.
        scope: Scope,
    },
    /// A strategy has to wait for a person.
    Suspended {
        /// Which.
        strategy: StrategyId,
    },
    /// A person let it go on.
    Released {
        /// Which.
        strategy: StrategyId,
    },
    /// An operator set a limit.
    Limit {
        /// Which.
        rule: Rule,
        /// For what.
        scope: Scope,
        /// To what.
        value: Figure,
    },
    /// What the drawdown allows changed.
    Posture {
        /// To what.
        posture: Posture,
    },
}
