//! The venue's API secrets: at rest in an AES-256-GCM file, in memory only in the signer.
//!
//! ```text
//!  file = "PORTCULLIS-VENUE" ‖ version ‖ key source ‖ salt (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
//!  associated data = everything before the ciphertext ‖ realm
//!  plaintext = u16be length ‖ bytes, four times: trading key, its secret, reading key, its secret
//! ```
//!
//! There are two API keys. The one that may trade signs orders and cancels only; every query and the
//! login to the private stream use one that may only read, because a login with the other would
//! open the venue's order-entry socket, where orders need no signature of their own.

mod envelope;
mod error;

use std::fmt;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use portcullis_venue::bybit::Authority;
use portcullis_wire::{Realm, Text};
use sha2::Sha256;
use zeroize::Zeroizing;

pub use error::CustodyError;

/// The longest public name of an API key.
const NAME_LENGTH_MAX: usize = 64;
/// The shortest secret; the venue's have 36 characters.
const SECRET_LENGTH_MIN: usize = 16;
/// The longest secret.
const SECRET_LENGTH_MAX: usize = 256;

/// Where the key of the file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The secret `venue` of the signer's own identity.
    Identity(IdentityKey),
    /// A file with 64 hexadecimal digits.
    KeyFile(PathBuf),
    /// A file with a passphrase, stretched by Argon2id with 64 MiB, 3 passes and 4 lanes (RFC 9106,
    /// section 4, second recommendation).
    Passphrase(PathBuf),
}

/// A key that the signer's sealed identity holds.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey(…)")
    }
}

/// What the signer's identity calls the key of the venue's secrets.
pub const VENUE_SECRET: &str = "venue";

impl KeySource {
    /// The secret `venue` of an identity.
    ///
    /// # Errors
    /// [`CustodyError::NoIdentityKey`] when there is none.
    pub fn identity(secret: Option<&[u8; 32]>) -> Result<Self, CustodyError> {
        let key = secret.map(|key| IdentityKey(Zeroizing::new(*key)));
        key.map(Self::Identity).ok_or(CustodyError::NoIdentityKey)
    }
}

/// An API key of the venue with its secret.
#[derive(Clone)]
pub struct ApiKey {
    name: Text,
    secret: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({:?}, …)", self.name)
    }
}

impl ApiKey {
    /// Checks a key: a name of 1 to 64 and a secret of 16 to 256 printable ASCII characters.
    ///
    /// # Errors
    /// [`CustodyError::ApiKey`]; it never holds anything of the secret.
    pub fn new(name: &str, secret: Zeroizing<Vec<u8>>) -> Result<Self, CustodyError> {
        let graphic = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_graphic);
        if !(1..=NAME_LENGTH_MAX).contains(&name.len()) || !graphic(name.as_bytes()) {
            return Err(CustodyError::ApiKey(
                "its name must have 1 to 64 printable characters",
            ));
        }
        if !(SECRET_LENGTH_MIN..=SECRET_LENGTH_MAX).contains(&secret.len()) || !graphic(&secret) {
            return Err(CustodyError::ApiKey(
                "its secret must have 16 to 256 printable characters and nothing around them",
            ));
        }
        Ok(Self {
            name: Text::lossy(name),
            secret,
        })
    }

    /// The public name, as the venue gave it.
    #[must_use]
    pub const fn name(&self) -> &Text {
        &self.name
    }

    fn mac(&self, text: &str) -> Result<Hmac<Sha256>, CustodyError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret)
            .map_err(|_| CustodyError::SignatureDiffers)?;
        mac.update(text.as_bytes());
        Ok(mac)
    }
}

/// The two API keys of an account.
#[derive(Clone, Debug)]
pub struct Custody {
    trading: ApiKey,
    reading: ApiKey,
}

impl Custody {
    /// Takes the key that may trade and the one that may only read.
    ///
    /// # Errors
    /// [`CustodyError::OneKeyForBoth`] when they are the same.
    pub fn new(trading: ApiKey, reading: ApiKey) -> Result<Self, CustodyError> {
        if trading.name == reading.name || *trading.secret == *reading.secret {
            return Err(CustodyError::OneKeyForBoth);
        }
        Ok(Self { trading, reading })
    }

    /// Opens a sealed file.
    ///
    /// # Errors
    /// [`CustodyError`] when file or key are missing, open to others, damaged, or do not belong
    /// together or to this realm.
    pub fn open(path: &Path, source: &KeySource, realm: Realm) -> Result<Self, CustodyError> {
        envelope::open(path, source, realm)
    }

    /// The public name of a key.
    #[must_use]
    pub const fn name(&self, authority: Authority) -> &Text {
        self.key(authority).name()
    }

    /// Signs a text: HMAC-SHA256 as 64 lower-case hexadecimal digits. It is computed a second time
    /// and compared before it is given out, so that a fault of memory or processor never leaves.
    ///
    /// # Errors
    /// [`CustodyError::SignatureDiffers`]; the signer must stop then.
    pub fn sign(&self, authority: Authority, text: &str) -> Result<Text, CustodyError> {
        let key = self.key(authority);
        let signature: [u8; 32] = key.mac(text)?.finalize().into_bytes().into();
        key.mac(text)?
            .verify_slice(&signature)
            .map_err(|_| CustodyError::SignatureDiffers)?;
        Ok(Text::lossy(&portcullis_domain::Hash(signature).to_string()))
    }

    const fn key(&self, authority: Authority) -> &ApiKey {
        match authority {
            Authority::Trading => &self.trading,
            Authority::Reading => &self.reading,
        }
    }
}

/// Seals the API keys of an account into a new file of mode 0600.
///
/// # Errors
/// [`CustodyError`] when there is such a file already, the key cannot be read, or the disk does not
/// take it.
pub fn seal_file(
    path: &Path,
    source: &KeySource,
    realm: Realm,
    custody: &Custody,
) -> Result<(), CustodyError> {
    envelope::seal(path, source, realm, custody)
}

#[cfg(test)]
mod tests;
