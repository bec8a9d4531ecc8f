//! Execution's account of itself: positions, open orders, losses.

use alloc::vec::Vec;

use portcullis_domain::{
    Exposure, ExposureRow, Hash, KillState, OrderId, OrderStatus, Price, Quantity, Reason, Side,
    Span, StrategyId, Symbol, Timestamp, Usd,
};
use serde::{Deserialize, Serialize};

use crate::Text;

/// How much of one instrument a strategy holds and has open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrategyExposure {
    /// Whose.
    pub strategy: StrategyId,
    /// Of what.
    pub symbol: Symbol,
    /// The position from its fills.
    pub position: Exposure,
    /// What its open and doubtful buy orders may still add.
    pub open_buy: Option<Quantity>,
    /// What its open and doubtful sell orders may still take away.
    pub open_sell: Option<Quantity>,
    /// How many orders are open or in doubt.
    pub orders_open: u64,
    /// The highest price of an open or doubtful buy order.
    pub highest_buy: Option<Price>,
    /// The lowest price of an open or doubtful sell order.
    pub lowest_sell: Option<Price>,
}

impl From<&StrategyExposure> for ExposureRow {
    fn from(row: &StrategyExposure) -> Self {
        Self {
            strategy: row.strategy,
            symbol: row.symbol,
            position: row.position,
            open_buy: row.open_buy,
            open_sell: row.open_sell,
            orders_open: row.orders_open,
            highest_buy: row.highest_buy,
            lowest_sell: row.lowest_sell,
        }
    }
}

/// The day's loss of one strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrategyLoss {
    /// Whose.
    pub strategy: StrategyId,
    /// Realised, unrealised and fees; negative is a gain.
    pub loss: Usd,
}

/// How often something went well and how often it did not, since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// How often it went well.
    pub passed: u64,
    /// How often it failed.
    pub failed: u64,
}

/// A position, for people to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Of what.
    pub symbol: Symbol,
    /// How much.
    pub position: Exposure,
    /// What it cost on average; `None` when flat.
    pub average_price: Option<Price>,
    /// What it is worth, marked against the worse of mid and last; `None` without a price.
    pub mark: Option<Price>,
}

/// An order that is not over, for people to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenOrder {
    /// Which.
    pub order: OrderId,
    /// Whose.
    pub strategy: StrategyId,
    /// Of what.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// How much in all.
    pub quantity: Quantity,
    /// How much of it filled so far.
    pub filled: Option<Quantity>,
    /// At what price.
    pub limit_price: Price,
    /// Its state.
    pub status: OrderStatus,
    /// Since when it is known.
    pub since: Timestamp,
}

/// Where nothing new is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VenueHalt {
    /// In which instrument; `None` in all of them.
    pub symbol: Option<Symbol>,
    /// Why: the venue's account contradicts ours, or an order was not confirmed in time.
    pub reason: Reason,
    /// What both say, or which order it is.
    pub evidence: Text,
}

/// Execution's own account of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionStatus {
    /// Its kill switch.
    pub kill: KillState,
    /// Whether new orders would be sent right now.
    pub may_trade: bool,
    /// Why not, if not.
    pub reason: Option<Reason>,
    /// The digest of the risk policy that it runs.
    pub policy: Hash,
    /// The UTC day it counts, in days since the epoch.
    pub day: u64,
    /// The day's loss: realised, unrealised, fees and funding; negative is a gain.
    pub loss: Usd,
    /// The loss since 24 hours ago, by the same reckoning; since a quarter of an hour earlier at most,
    /// or after a pause since the last sample before it.
    pub loss_rolling: Usd,
    /// The limit of both: the tightest that was in force today.
    pub loss_max: Usd,
    /// SHA-256 of the limits that are compiled in.
    pub hard_limits: Hash,
    /// What was won since the journal began: cash flow and positions at their worse marks; `None`
    /// while a position has no price.
    pub equity: Option<Usd>,
    /// How far that is below its highest of the day.
    pub drawdown: Usd,
    /// The day's loss of every strategy that ever traded.
    pub losses: Vec<StrategyLoss>,
    /// Requests to the venue: answered, or not (connection, time-out, server error, lost stream).
    pub network: Tally,
    /// Signatures asked for orders: answered, or not in time.
    pub signer: Tally,
    /// What each strategy holds and has open: complete, or this message is not sent.
    pub exposures: Vec<StrategyExposure>,
    /// The positions.
    pub positions: Vec<Position>,
    /// The oldest open orders, at most 100.
    pub orders: Vec<OpenOrder>,
    /// How many orders are open, in all.
    pub orders_open: u64,
    /// How many orders are in doubt.
    pub orders_unknown: u64,
    /// How many orders wait for more confirmations of the venue.
    pub orders_unconfirmed: u64,
    /// Where nothing new is sent, and why; at most 16.
    pub halts: Vec<VenueHalt>,
    /// How long after the last kill, or after a start with the latch pulled, the venue confirmed that no
    /// order is open, in milliseconds; `None` while it did not, or while nothing was killed.
    pub kill_confirmed_ms: Option<u64>,
    /// How many fills were booked since the journal began.
    pub fills: u64,
}

impl ExecutionStatus {
    /// The oldest one that still counts; it comes four times a second.
    pub const AGE_MAX: Span = Span::from_secs(1);
    /// The most open orders that are listed.
    pub const ORDERS_LISTED_MAX: usize = 100;
    /// The most halts that are listed.
    pub const HALTS_LISTED_MAX: usize = 16;
}
