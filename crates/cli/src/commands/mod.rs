//! One module a verb, and what the commands to risk-guard share.

pub mod approve;
pub mod audit;
pub mod breakers;
pub mod container;
pub mod dev;
pub mod explain;
pub mod halt;
pub mod healthcheck;
pub mod keys;
pub mod kill;
pub mod limits;
pub mod order;
pub mod orders;
pub mod posture;
pub mod release;
pub mod risk;
pub mod status;
