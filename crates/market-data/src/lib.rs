//! Publishes the venue's order books and trades, with no access to anything but public data.
//!
//! ```text
//!  venue ══▶ Connector ──▶ market-data-core ──▶ shell ──▶ bus: books, trades, status, notices
//!               ╰◀─────── subscribe again ◀───────╯
//! ```
//!
//! Deliberately absent: any key of the venue. Whoever takes this service over can lie about prices,
//! which risk-guard's collar bounds, and nothing else.

pub mod config;
pub mod connector;
pub mod shell;
