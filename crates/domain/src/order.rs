//! Orders and fills.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Exposure, Hash, OrderId, Price, Quantity, StrategyId, Symbol, Timestamp, Usd, VenueExecutionId,
    VenueOrderId,
};

/// Which way an order goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Adds to the position.
    Buy,
    /// Takes from the position.
    Sell,
}

impl Side {
    /// The other way.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// The position after trading so much this way.
    ///
    /// # Errors
    /// [`crate::AmountError::TooLarge`] beyond 10^15.
    pub fn applied(
        self,
        position: Exposure,
        quantity: Quantity,
    ) -> Result<Exposure, crate::AmountError> {
        match self {
            Self::Buy => position.bought(quantity),
            Self::Sell => position.sold(quantity),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        })
    }
}

/// How long an order may rest at the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeInForce {
    /// Rests until cancelled.
    GoodTillCancel,
    /// What does not fill at once is cancelled.
    ImmediateOrCancel,
    /// Fills wholly at once or not at all.
    FillOrKill,
    /// Rests, and is cancelled rather than take from the book.
    PostOnly,
}

/// A venue with a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Venue {
    /// Bybit v5, linear perpetuals.
    Bybit,
}

/// No venue of that name has a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoVenue;

impl fmt::Display for NoVenue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is no venue that there is a connector for")
    }
}

impl core::error::Error for NoVenue {}

impl core::str::FromStr for Venue {
    type Err = NoVenue;

    fn from_str(text: &str) -> Result<Self, NoVenue> {
        match text {
            "bybit" => Ok(Self::Bybit),
            _ => Err(NoVenue),
        }
    }
}

impl fmt::Display for Venue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bybit => "bybit",
        })
    }
}

/// How much slippage a strategy tolerates; the limits belong to the risk policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RiskProfile {
    /// At most 0.5 % from the reference price.
    Conservative,
    /// At most 1.0 %.
    Moderate,
    /// At most 2.0 %.
    Aggressive,
}

impl RiskProfile {
    /// The widest distance of an order from the middle of the book, in basis points.
    #[must_use]
    pub const fn slippage_bps_max(self) -> u32 {
        match self {
            Self::Conservative => 50,
            Self::Moderate => 100,
            Self::Aggressive => 200,
        }
    }
}

/// One order, as the brain sealed it. Every order carries a limit price: an order without one has
/// no worst case, and what has no worst case cannot be permitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Its id here, and as 32 hexadecimal digits at the venue.
    pub id: OrderId,
    /// Who proposed it.
    pub strategy: StrategyId,
    /// Where it goes.
    pub venue: Venue,
    /// What it trades.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// How much, in units of the base, on the venue's step.
    pub quantity: Quantity,
    /// The worst price, on the venue's tick.
    pub limit_price: Price,
    /// How long it may rest.
    pub time_in_force: TimeInForce,
    /// Whether it may only shrink a position.
    pub reduce_only: bool,
    /// How much slippage its strategy tolerates.
    pub profile: RiskProfile,
    /// The digest of the risk policy that the brain runs.
    pub policy: Hash,
    /// When the brain made it.
    pub created_at: Timestamp,
}

/// Where an order stands, as execution reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Permitted and recorded; nothing has left yet.
    Accepted,
    /// The request left; the venue has not answered.
    Sent,
    /// The venue may or may not have it. Counted as wholly filled and wholly open until the venue
    /// says otherwise; queried, never sent again.
    Unknown,
    /// The venue has it and it rests.
    Open,
    /// Nothing more can come of it: wholly filled.
    Filled,
    /// Cancelled, perhaps after a part of it filled.
    Cancelled,
    /// The venue refused it.
    Rejected,
    /// It was stopped here before anything left.
    Refused,
}

impl OrderStatus {
    /// Whether nothing more can come of the order.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Accepted | Self::Sent | Self::Unknown | Self::Open => false,
            Self::Filled | Self::Cancelled | Self::Rejected | Self::Refused => true,
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Unknown => "UNKNOWN",
            Self::Open => "open",
            Self::Filled => "filled",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
        })
    }
}

/// One fill at a venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// The venue's id of the fill: a fill counts once for each of them.
    pub execution: VenueExecutionId,
    /// The order it belongs to.
    pub order: OrderId,
    /// The venue's id of that order.
    pub venue_order: VenueOrderId,
    /// What was traded.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// At what price.
    pub price: Price,
    /// How much.
    pub quantity: Quantity,
    /// What the venue charged; negative for a rebate.
    pub fee: Usd,
    /// When, by the venue's clock.
    pub venue_time: Timestamp,
}
