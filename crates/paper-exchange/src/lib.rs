//! A simulated exchange that speaks Bybit v5 REST and WebSocket, as the public documentation has
//! them, for the category `linear` (USDT perpetuals).
//!
//! ```text
//!  feed (generator, replay) ──▶ ┌──────────┐ ──▶ journal, synced first
//!  REST  ──────────────────────▶│ exchange │ ──▶ answers
//!  admin (faults, reads) ──────▶└──────────┘ ──▶ WebSocket streams
//! ```
//!
//! One thread owns the state and takes its work from one queue; the [`engine`] it calls is pure.
//! Work that waited together is journalled with one sync, and only then answered and published,
//! so that nothing a client has seen can be lost. It shares no code with the connector that is
//! tested against it: a mistake about the protocol shows up as a disagreement.
//!
//! A market has a past from its first moment on: an hour of bars, and a minute of trades, that end at
//! the middle of its first book. A recording has books alone, so a small trade is printed at its touch
//! about once a second while it plays.
//!
//! Deliberately absent: funding, liquidation, conditional and TP/SL orders, hedge mode, spot,
//! inverse and options. A request for one of them is refused, never half done.

#![recursion_limit = "256"]

mod accounts;
mod admin;
mod auth;
mod clock;
pub mod config;
mod connection;
mod decimal;
mod engine;
mod exchange;
mod faults;
mod feed;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod instrument;
mod journal;
mod limits;
mod render;
mod rest;
mod server;
mod ws;

pub use server::{RunError, run};
