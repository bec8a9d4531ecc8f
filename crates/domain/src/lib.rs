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
mod breaker;
mod exposure;
mod ids;
mod instrument;
mod kill;
mod money;
mod order;
mod pools;
mod posture;
mod rate;
mod reason;
mod recent;
mod rule;
mod slippage;
mod time;
mod volatility;
mod wide;

pub use book::{Book, BookError, Level};
pub use breaker::{BreakerKey, BreakerKind, BreakerScope, BreakerState, NoBreaker};
pub use exposure::{ExposureRow, Exposures, ReserveError, SnapshotError, Worst};
pub use ids::{
    EnvelopeId, Hash, IdError, Label, OrderId, PrincipalName, StrategyId, Symbol, VenueExecutionId,
    VenueOrderId,
};
pub use instrument::{Instrument, InstrumentError};
pub use kill::{KillCause, KillState};
pub use money::{AmountError, Bps, Exposure, Figure, Price, Quantity, Usd, distance, multiple_of};
pub use order::{Fill, NoVenue, Order, OrderStatus, RiskProfile, Side, TimeInForce, Venue};
pub use pools::{
    DailyStatistics, ImpactError, Kept, PATH_MAX, Pool, PoolError, StrictReceive, StrictSend,
    least_out, most_in, square_root_impact, strict_receive, strict_send, value_lost,
};
pub use posture::Posture;
pub use rate::RateLimit;
pub use reason::Reason;
pub use recent::{Recent, RecentFull};
pub use rule::{Check, Measure, NoRule, NoScope, Rule, Scope, Unit};
pub use slippage::{Walk, WalkEnd, slippage, worst_acceptable};
pub use time::{Span, TIME_REVERSAL_MAX, Timestamp};
pub use volatility::{CLOSES, VolatilityError, annualised};
