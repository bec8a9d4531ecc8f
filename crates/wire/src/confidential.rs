//! Bodies that only their addressees can read.
//!
//! ```text
//! body       = [ [ [audience, wrapped: bin(48)], … ], ciphertext: bin ]
//! wrapped    = AES-256-GCM(link's body key, nonce = id[0..12], content key, associated)
//! ciphertext = AES-256-GCM(content key,     nonce = 0,         message,     associated)
//! associated = "portcullis/body/v1\0" ‖ header
//! ```
//!
//! The content key is random and used once, so its nonce may be fixed; the envelope's id is random
//! and different for every message under a link's key. The seals then cover header and body as they
//! cover every other: the MAC is checked before anything is decrypted.

use alloc::vec::Vec;

use aes_gcm::aead::{AeadInOut, Buffer};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use portcullis_domain::{EnvelopeId, PrincipalName};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::frame::SEALS_MAX;
use crate::keys::Keyed;
use crate::pack::{self, Malformed, Reader};

/// Separates what is encrypted here from every other use.
const DOMAIN: &[u8] = b"portcullis/body/v1\0";
/// The tag of AES-GCM.
const TAG_LENGTH: usize = 16;
/// A content key with its tag.
const WRAPPED_LENGTH: usize = 48;

/// The random key of one message.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ContentKey([u8; 32]);

impl core::fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ContentKey(…)")
    }
}

impl ContentKey {
    /// From random bytes, never used before and never again.
    #[must_use]
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Encrypts a message for every addressee.
pub(crate) fn close(
    message: &[u8],
    content_key: &ContentKey,
    header: &[u8],
    id: EnvelopeId,
    addressees: &[(PrincipalName, &Keyed)],
) -> Result<Vec<u8>, Malformed> {
    let associated = associated(header);
    let mut ciphertext = message.to_vec();
    encrypt(&content_key.0, &[0; 12], &associated, &mut ciphertext)?;
    let mut out = Vec::with_capacity(ciphertext.len().saturating_add(512));
    pack::put_array(&mut out, 2)?;
    pack::put_array(&mut out, addressees.len())?;
    for (audience, keyed) in addressees {
        let mut wrapped = content_key.0.to_vec();
        encrypt(&keyed.body_key, &nonce(id), &associated, &mut wrapped)?;
        pack::put_array(&mut out, 2)?;
        pack::put_str(&mut out, audience.as_str())?;
        pack::put_bin(&mut out, &wrapped)?;
    }
    pack::put_bin(&mut out, &ciphertext)?;
    Ok(out)
}

/// Decrypts the message for one addressee.
pub(crate) fn open(
    body: &[u8],
    header: &[u8],
    id: EnvelopeId,
    me: &PrincipalName,
    keyed: &Keyed,
) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    let mut reader = Reader(body);
    if reader.array()? != 2 {
        return Err(Malformed);
    }
    let count = reader.array()?;
    if count > SEALS_MAX {
        return Err(Malformed);
    }
    let mut mine: Option<[u8; WRAPPED_LENGTH]> = None;
    for _ in 0..count {
        if reader.array()? != 2 {
            return Err(Malformed);
        }
        let audience = reader.str()?;
        let wrapped = reader.bin_exact()?;
        if audience == me.as_str() && mine.replace(wrapped).is_some() {
            return Err(Malformed);
        }
    }
    let ciphertext = reader.bin()?;
    reader.end()?;
    let associated = associated(header);
    let mut content_key = Zeroizing::new(mine.ok_or(Malformed)?.to_vec());
    decrypt(&keyed.body_key, &nonce(id), &associated, &mut *content_key)?;
    let content_key: &[u8; 32] = content_key.first_chunk().ok_or(Malformed)?;
    let mut message = Zeroizing::new(ciphertext.to_vec());
    decrypt(content_key, &[0; 12], &associated, &mut *message)?;
    Ok(message)
}

/// How much longer a body becomes by being closed for so many.
pub(crate) fn overhead(addressees: usize) -> usize {
    // A name has at most 32 bytes; the rest are lengths.
    addressees
        .saturating_mul(WRAPPED_LENGTH.saturating_add(40))
        .saturating_add(TAG_LENGTH)
        .saturating_add(16)
}

fn nonce(id: EnvelopeId) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = id.0;
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

fn associated(header: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(DOMAIN.len().saturating_add(header.len()));
    data.extend(DOMAIN);
    data.extend(header);
    data
}

fn encrypt(
    key: &[u8; 32],
    nonce: &[u8; 12],
    associated: &[u8],
    buffer: &mut dyn Buffer,
) -> Result<(), Malformed> {
    Aes256Gcm::new(key.into())
        .encrypt_in_place(&Nonce::from(*nonce), associated, buffer)
        .map_err(|_| Malformed)
}

fn decrypt(
    key: &[u8; 32],
    nonce: &[u8; 12],
    associated: &[u8],
    buffer: &mut dyn Buffer,
) -> Result<(), Malformed> {
    Aes256Gcm::new(key.into())
        .decrypt_in_place(&Nonce::from(*nonce), associated, buffer)
        .map_err(|_| Malformed)
}
