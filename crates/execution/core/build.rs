//! Hashes the compiled-in limits, prints the digest and embeds it in the binary.

use sha2::{Digest, Sha256};

const LIMITS: &str = "src/hard_limits.rs";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = std::fs::read_to_string(LIMITS)?;
    let mut hash = Sha256::new();
    for line in source.lines().filter(|line| line.starts_with("pub const ")) {
        if !line.ends_with(';') {
            return Err(format!("{LIMITS}: write this constant on one line: {line}").into());
        }
        hash.update(line);
        hash.update("\n");
    }
    let digest = portcullis_domain::Hash(hash.finalize().into());
    println!("cargo::rerun-if-changed={LIMITS}");
    println!("cargo::rustc-env=HARD_LIMITS_SHA256={digest}");
    println!("cargo::warning=hard limits {digest}");
    Ok(())
}
