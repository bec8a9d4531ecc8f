//! The words of the trade: money, ids, instruments, orders, reasons, the kill switch and time.
//!
//! Every type here refuses nonsense when it is built, so that nothing behind it checks again.
//! No clock, no I/O, no randomness: a value is the same in the live system, in simulation and in
//! replay.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]

extern crate alloc;

mod book;
mod exposure;
mod ids;
mod instrument;
mod kill;
mod money;
mod order;
mod rate;
mod reason;
mod recent;
mod time;

pub use book::{Book, BookError, Level};
pub use exposure::{ExposureRow, Exposures, ReserveError, SnapshotError, Worst};
pub use ids::{
    EnvelopeId, Hash, IdError, Label, OrderId, PrincipalName, StrategyId, Symbol, VenueExecutionId,
    VenueOrderId,
};
pub use instrument::{Instrument, InstrumentError};
pub use kill::{KillCause, KillState};
pub use money::{AmountError, Bps, Exposure, Price, Quantity, Usd};
pub use order::{Fill, Order, OrderStatus, RiskProfile, Side, TimeInForce, Venue};
pub use rate::RateLimit;
pub use reason::Reason;
pub use recent::{Recent, RecentFull};
pub use time::{Span, TIME_REVERSAL_MAX, Timestamp};
