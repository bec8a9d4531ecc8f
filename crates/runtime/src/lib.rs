//! The only crate that sees the bus, the clock, the disk and the environment.
//!
//! ```text
//!  main ─▶ exit::run ─▶ Service::start ─▶ listen ─▶ Inbox ─▶ open ─▶ Verified<message> ─▶ core
//!                           │                                                             │
//!          identity, state, latch, journal,                     venue ◀─ shell ◀─ effects ┘
//!          clock, health, telemetry                                        │
//!                           bus ◀─ publish (core), fact (outbox, until the stream has it) ┘
//! ```
//!
//! Deliberately absent: requests and replies between services. Nobody answers a reply subject, so
//! nobody can be made to answer one.

mod alive;
pub mod args;
mod backoff;
mod bus;
pub mod client;
pub mod clock;
pub mod config;
mod counts;
pub mod exit;
mod facts;
mod file;
mod health;
pub mod identity;
pub mod journal;
pub mod latch;
pub mod nats_config;
mod outbox;
pub mod policy;
pub mod provision;
mod random;
pub mod sealed_file;
pub mod secret;
pub mod service;
mod shutdown;
pub mod state;
pub mod telemetry;
pub mod venue_link;

pub use args::ServiceArgs;
pub use backoff::{Backoff, jitter};
pub use bus::{BusError, ConnectError, Inbox, Raw};
pub use bytes::Bytes;
pub use client::Client;
pub use clock::{Clock, Standing};
pub use config::ConfigError;
pub use counts::{CountNames, Counts};
pub use facts::{Acknowledger, FactsConsumer};
pub use identity::Identity;
pub use journal::{Durable, Journal, JournalError};
pub use latch::Latch;
pub use metrics;
pub use random::envelope_id;
pub use service::{Service, ServiceRole, StartError};
pub use shutdown::{Ending, Fault, Shutdown};
pub use state::StateDir;
pub use telemetry::Telemetry;
pub use tracing;
