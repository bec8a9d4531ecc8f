//! Ed25519 where many must verify one author: whoever can check an HMAC can forge it.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use portcullis_domain::Hash;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::codec;
use crate::messages::Signable;

/// Separates these signatures from those of every other protocol and kind.
const DOMAIN: &[u8] = b"portcullis/sign/v1\0";

/// Why a signed content was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    /// The signature does not fit the content and the key.
    #[error("signature does not fit")]
    Signature,
    /// The content is not of that kind.
    #[error("signed content is not of that kind")]
    Content(#[source] codec::CodecError),
}

/// Bytes of one kind of content with their author's signature; they verify outside of any envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed<T> {
    #[serde(with = "serde_bytes")]
    content: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: Vec<u8>,
    #[serde(skip)]
    kind: PhantomData<T>,
}

/// A private key.
pub struct Signer(SigningKey);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verifying(VerifyingKey);

fn signed_bytes<T: Signable>(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len().saturating_add(64));
    bytes.extend(DOMAIN);
    bytes.extend(T::KIND.as_bytes());
    bytes.push(0);
    bytes.extend(content);
    bytes
}

impl Signer {
    /// From a 32-byte seed (RFC 8032).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn verifying(&self) -> Verifying {
        Verifying(self.0.verifying_key())
    }

    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }

    /// Signs a content.
    ///
    /// # Errors
    /// [`codec::CodecError`] when the content does not encode.
    pub fn sign<T: Signable>(&self, content: &T) -> Result<Signed<T>, codec::CodecError> {
        let content = codec::encode(content)?;
        let signature = self
            .0
            .sign(&signed_bytes::<T>(&content))
            .to_bytes()
            .to_vec();
        Ok(Signed {
            content,
            signature,
            kind: PhantomData,
        })
    }
}

impl Verifying {
    /// From the 32 bytes of a public key.
    ///
    /// # Errors
    /// [`SignedError::Signature`] when they are no point of the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SignedError> {
        VerifyingKey::from_bytes(bytes)
            .map(Self)
            .map_err(|_| SignedError::Signature)
    }

    /// Strict verification: no malleable forms.
    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.0.verify_strict(bytes, &signature).is_ok()
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }
}

impl<T: Signable> Signed<T> {
    /// SHA-256 of what the signature is over: kind and content, so that two persons can speak of
    /// exactly the same.
    #[must_use]
    pub fn digest(&self) -> Hash {
        Hash(Sha256::digest(signed_bytes::<T>(&self.content)).into())
    }

    /// The content without a look at the signature: for reading a record without its author's key,
    /// trusted for nothing.
    ///
    /// # Errors
    /// [`SignedError::Content`] when the content is of another kind.
    pub fn read_unverified(&self) -> Result<T, SignedError> {
        codec::decode(&self.content, crate::FRAME_LENGTH_MAX).map_err(SignedError::Content)
    }

    /// The content, if this key signed it. Strict verification: no malleable forms.
    ///
    /// # Errors
    /// [`SignedError`] when the signature does not fit or the content is of another kind.
    pub fn verify(&self, key: &Verifying) -> Result<T, SignedError> {
        let signature =
            Signature::from_slice(&self.signature).map_err(|_| SignedError::Signature)?;
        key.0
            .verify_strict(&signed_bytes::<T>(&self.content), &signature)
            .map_err(|_| SignedError::Signature)?;
        codec::decode(&self.content, crate::FRAME_LENGTH_MAX).map_err(SignedError::Content)
    }
}
