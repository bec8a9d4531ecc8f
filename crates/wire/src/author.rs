//! Bodies that their author signed, where many rely on one author.
//!
//! ```text
//! body      = [ message: bin, signature: bin(64) ]
//! signature = Ed25519(author's key, "portcullis/author/v1\0" ‖ u64be(len header) ‖ header ‖ message)
//! ```
//!
//! The header names realm, author, place and time, so a signed message says all of it to anybody who
//! has the author's public key.

use alloc::vec::Vec;

use crate::pack::{self, Malformed, Reader};
use crate::signed::{Signer, Verifying};

/// Separates these signatures from those of every other protocol.
const DOMAIN: &[u8] = b"portcullis/author/v1\0";

/// How much longer a body becomes by being signed: the signature and two lengths.
pub(crate) const OVERHEAD: usize = 80;

/// Signs a message under its header.
pub(crate) fn close(message: &[u8], header: &[u8], author: &Signer) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(message.len().saturating_add(OVERHEAD));
    pack::put_array(&mut out, 2)?;
    pack::put_bin(&mut out, message)?;
    pack::put_bin(&mut out, &author.sign_bytes(&covered(message, header)))?;
    Ok(out)
}

/// The message, if one of its author's keys signed it under this header.
pub(crate) fn open<'a>(
    body: &'a [u8],
    header: &[u8],
    keys: &[Verifying],
) -> Result<&'a [u8], Malformed> {
    let mut reader = Reader(body);
    if reader.array()? != 2 {
        return Err(Malformed);
    }
    let message = reader.bin()?;
    let signature: [u8; 64] = reader.bin_exact()?;
    reader.end()?;
    let covered = covered(message, header);
    let holds = keys.iter().any(|key| key.verifies(&covered, &signature));
    holds.then_some(message).ok_or(Malformed)
}

fn covered(message: &[u8], header: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(
        DOMAIN
            .len()
            .saturating_add(8)
            .saturating_add(header.len())
            .saturating_add(message.len()),
    );
    bytes.extend(DOMAIN);
    bytes.extend(
        u64::try_from(header.len())
            .unwrap_or(u64::MAX)
            .to_be_bytes(),
    );
    bytes.extend(header);
    bytes.extend(message);
    bytes
}
