//! The kill switch: what state it is in and what pulled it.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The state of one service's latch. Only [`KillState::Armed`] lets an order pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KillState {
    /// Ready to trigger; trading is allowed.
    Armed,
    /// Triggered; nothing but cancels leaves.
    Triggered,
    /// Triggered, and persons have begun to agree on resuming.
    RecoveryPending,
    /// Held for maintenance; nothing but cancels leaves.
    Maintenance,
}

impl KillState {
    /// Whether orders may pass.
    #[must_use]
    pub const fn may_trade(self) -> bool {
        matches!(self, Self::Armed)
    }
}

impl fmt::Display for KillState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Armed => "ARMED",
            Self::Triggered => "TRIGGERED",
            Self::RecoveryPending => "RECOVERY_PENDING",
            Self::Maintenance => "MAINTENANCE",
        })
    }
}

/// What pulled the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillCause {
    /// A signed operator command.
    Operator,
    /// Execution's compiled-in daily loss.
    HardLoss,
    /// So many circuit breakers open at once that something greater is wrong.
    Cascade,
    /// The service's record is gone, or the venue's account contradicts it.
    Inconsistent,
    /// The latch file was missing or damaged.
    LatchUnreadable,
    /// The latch on disk already said so at the start.
    AlreadyLatched,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_armed_may_trade() {
        let states = [
            (KillState::Armed, true),
            (KillState::Triggered, false),
            (KillState::RecoveryPending, false),
            (KillState::Maintenance, false),
        ];
        for (state, may_trade) in states {
            assert_eq!(state.may_trade(), may_trade, "{state}");
        }
    }
}
