//! Publishes the venue's order books, trades and closes, with no access to anything but public data.
//!
//! ```text
//!  venue ══▶ Connector ──▶ market-data-core ──▶ shell ──▶ bus: books, trades, closes, status, notices
//!    ║          ╰◀─────── subscribe again ◀───────┤
//!    ╚═════▶ History ──▶ minutes, latest trades   │
//!               ╰◀─────────── ask ◀───────────────╯
//! ```
//!
//! Deliberately absent: any key of the venue. Whoever takes this service over can lie about prices,
//! which risk-guard's collar bounds, and about how calm the market is, which every other limit of
//! risk-guard bounds; and about nothing else.

pub mod config;
pub mod connector;
pub mod history;
pub mod shell;
