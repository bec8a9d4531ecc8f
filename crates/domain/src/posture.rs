//! How much trading the day's drawdown still allows.

use core::fmt;

use serde::{Deserialize, Serialize};

/// What risk-guard lets through, by how much of the allowed drawdown is used up. It goes down by
/// itself and up only by operators; the order is from the freest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Posture {
    /// Below half of the limit: everything within the limits.
    Normal,
    /// From 50 %: orders of half the size.
    Cautious,
    /// From 75 %: only what reduces a position.
    Defensive,
    /// From 100 %: nothing; execution cancels what is open.
    Emergency,
}

impl Posture {
    /// Every posture, from the freest to the strictest.
    pub const ALL: &[Self] = &[
        Self::Normal,
        Self::Cautious,
        Self::Defensive,
        Self::Emergency,
    ];

    /// The one in words that scripts and people use.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Cautious => "CAUTIOUS",
            Self::Defensive => "DEFENSIVE",
            Self::Emergency => "EMERGENCY",
        }
    }
}

impl fmt::Display for Posture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}
