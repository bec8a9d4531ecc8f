//! The signer's custody of the venue's API secrets, for the service itself and for the tool that
//! makes its file.

pub mod custody;
