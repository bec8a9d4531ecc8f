//! What travels on the bus: envelopes, seals, subjects, messages and their codec.
//!
//! ```text
//!  message ──▶ Sealer ──▶ frame ══ bus ══▶ frame ──▶ Verifier ──▶ Verified<message> ──▶ core
//! ```
//!
//! Only this crate can build a [`Verified`]; cores take nothing else, so an unverified message does
//! not compile.
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::float_arithmetic
)]

extern crate alloc;

mod account;
pub mod agreement;
mod author;
pub mod codec;
pub mod command;
mod confidential;
mod frame;
mod keys;
pub mod messages;
mod order_id;
mod pack;
mod permit;
mod policy;
pub mod principal;
pub mod risk;
mod seal;
mod signed;
pub mod subjects;
mod text;
mod verify;
mod window;

pub use confidential::ContentKey;
pub use frame::{FRAME_LENGTH_MAX, Frame, FrameError, Header, Placed, SEALS_MAX, VERSION, inspect};
pub use keys::{Epoch, EpochRoot, KeyId, KeyRing, Link, LinkKey, Realm};
pub use order_id::order_id;
pub use seal::{Context, SealError, Sealed, Sealer};
pub use signed::{Signed, SignedError, Signer, Verifying};
pub use text::Text;
pub use verify::{Received, Refusal, SKEW_MAX, Verified, Verifier};
