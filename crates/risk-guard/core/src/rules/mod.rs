//! The rules, one a file. Each is a function of just what it judges, and each refuses what it
//! cannot establish. [`crate::judge`] is where an order meets them, in the order of
//! [`portcullis_domain::Rule`].

pub mod breakers;
pub mod clock_error;
pub mod duplicate;
pub mod duplicate_order;
pub mod equity_share;
pub mod expiry;
pub mod exposure;
pub mod fat_finger;
pub mod halt;
pub mod instrument;
pub mod kill_switch;
pub mod last_price_collar;
pub mod liquidity;
pub mod loss;
pub mod market_data;
pub mod open_orders;
pub mod order_notional;
pub mod order_notional_min;
pub mod order_quantity;
pub mod policy;
pub mod position_known;
pub mod position_notional;
pub mod posture;
pub mod price_collar;
pub mod rate;
pub mod reduce_only;
pub mod repeated_execution;
pub mod self_trade;
pub mod slippage;
pub mod strategy;
pub mod suspension;
pub mod venue;
pub mod venue_filters;
pub mod volatility;
pub mod warming_up;
