//! Reads the risk policy that brain, risk-guard and execution must agree on.

use std::path::Path;

use portcullis_domain::Hash;
use portcullis_wire::codec;
use portcullis_wire::messages::RiskPolicy;
use sha2::{Digest, Sha256};

use crate::config::{self, ConfigError, Problems};

/// Reads the policy and its hash: SHA-256 of its canonical encoding, so that the order of keys and
/// comments in the file do not count, and every value does.
///
/// # Errors
/// [`ConfigError`] when the file is not a policy, or one that can permit nothing.
pub fn load(path: &Path) -> Result<(RiskPolicy, Hash), ConfigError> {
    let policy: RiskPolicy = config::load(path)?;
    let mut problems = Problems::new();
    for problem in policy.problems() {
        problems.add("policy", problem);
    }
    let hash = problems.take("(file)", hash(&policy));
    problems.into_result(path, hash.map(|hash| (policy, hash)))
}

/// The hash of a policy.
///
/// # Errors
/// [`codec::CodecError`] for a policy that does not encode.
pub fn hash(policy: &RiskPolicy) -> Result<Hash, codec::CodecError> {
    Ok(Hash(Sha256::digest(codec::encode(policy)?).into()))
}
