//! The rules, one a file. Each is a function of just what it judges, and each refuses what it
//! cannot establish.

pub mod duplicate;
pub mod expiry;
pub mod instrument;
pub mod kill_switch;
pub mod market_data;
pub mod open_orders;
pub mod order_notional;
pub mod order_rate;
pub mod policy;
pub mod position_known;
pub mod position_notional;
pub mod price_collar;
pub mod reduce_only;
pub mod strategy;
pub mod venue_filters;
pub mod warming_up;
