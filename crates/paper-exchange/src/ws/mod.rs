//! The WebSocket side: sockets, topics, and the hub that feeds them.

pub(crate) mod depth;
pub(crate) mod hub;
mod publish;
pub(crate) mod socket;
pub(crate) mod topic;
