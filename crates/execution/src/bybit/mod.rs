//! The half of the Bybit connector that touches the network: it sends bytes that others signed and
//! hands on what comes back. It holds no secret and decides nothing.
//!
//! ```text
//!  request + signature ──▶ Budget ──▶ RestClient ══▶ venue     at most once, never again
//!                                         ╰──▶ VenueClock       what time it is there
//!  typed events ◀── PrivateStream ◀══ venue                     a loss is said, never hidden
//! ```

mod budget;
mod clock;
mod endpoint;
mod rest;
mod stream;

pub use budget::{Budget, BudgetSettings, EndpointClass};
pub use clock::{ClockSettings, MeasureError, VenueClock};
pub use endpoint::{Endpoint, EndpointError};
pub use rest::{LimitHeaders, NotSent, Reply, RestClient, SendError, SetupError, SignedHeaders};
pub use rest::{Timeouts, Unknown};
pub use stream::{Login, PrivateStream, StreamEvent, StreamSettings};
