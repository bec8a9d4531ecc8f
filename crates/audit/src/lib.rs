//! Records every fact in a log that anybody can verify, and gives receipts for what is on disk.
//!
//! ```text
//!  bus, at once ─────────┐                      ┌─▶ receipts, checkpoints ─▶ bus
//!                        ├─▶ open ─▶ core::step ─┤
//!  stream, completely ───┤              │       └─▶ acknowledgements ─▶ stream
//!  log of the server ────┘              │
//!                                       ▼                 ▲
//!                                 writer thread ──────────┘
//!                             one write, one fdatasync a group
//! ```
//!
//! [`verify`] needs no service and no bus: it reads a folder.

mod bus_log;
pub mod config;
mod facts;
pub mod log;
pub mod shell;
mod silence;
pub mod verify;

#[cfg(test)]
mod tests;
