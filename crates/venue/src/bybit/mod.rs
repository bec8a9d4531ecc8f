//! Bybit v5, linear perpetuals settled in USDT.
//!
//! ```text
//!  Order ──▶ Action ──▶ Request ──▶ text_to_sign ──▶ HMAC-SHA256, 64 lower-case hex digits
//!                          │
//!                          ╰──▶ venue ──▶ reply::read ──▶ typed answer or VenueError
//! ```
//!
//! Source: the venue's API reference, v5 (`order/create-order`, `guide#authentication`, `ws/connect`).

mod error;
pub mod reply;
mod request;

pub use error::VenueError;
pub use request::{
    Action, Authority, CANCEL_ON_DISCONNECT_S, DISCONNECT_TOPIC, Method, RECV_WINDOW_MS, Request,
    cancel, cancel_all, cancel_foreign, cancel_on_disconnect, place, query_executions,
    query_minutes, query_movements, query_open_orders, query_order, query_positions, query_trades,
    query_wallet, request_of, signed_text, stream_login_text, text_to_sign,
};
