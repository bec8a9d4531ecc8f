//! One module a verb.

pub mod audit;
pub mod container;
pub mod dev;
pub mod healthcheck;
pub mod keys;
pub mod kill;
pub mod order;
pub mod orders;
pub mod status;
