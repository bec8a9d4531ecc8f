//! signer-core
