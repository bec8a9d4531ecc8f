//! Files that are encrypted at rest, one layout for all of them.
//!
//! ```text
//!  magic (16) ‖ version (1) ‖ lead ‖ nonce (12) ‖ AES-256-GCM ciphertext and tag
//!  └────────── associated data, with the context ────┘
//! ```
//!
//! The lead is whatever a kind of file says in the clear, such as how its key is found. The context
//! is in no file: whoever opens one must know it. A nonce is drawn for every writing.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

const MAGIC_LENGTH: usize = 16;
const NONCE_LENGTH: usize = 12;
const TAG_LENGTH: usize = 16;

/// A kind of sealed file.
#[derive(Clone, Copy, Debug)]
pub struct SealedFile {
    /// What it begins with.
    pub magic: &'static [u8; MAGIC_LENGTH],
    /// The version of what is inside.
    pub version: u8,
}

/// Why a sealed file was not written or not opened. Nothing of what is in it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedFileError {
    /// It is no such file, or of another version.
    #[error("not a sealed file of this kind and version")]
    Format,
    /// Another key, another context, or changed bytes; which of them cannot be told.
    #[error("does not open with this key, or was changed")]
    Closed,
    /// The operating system gave no randomness, or there was more to seal than the cipher takes.
    #[error("could not be sealed")]
    Seal,
}

impl SealedFile {
    /// Encrypts. The plaintext's buffer becomes the ciphertext's: with 16 bytes of room to spare no
    /// copy of it is left behind.
    ///
    /// # Errors
    /// [`SealedFileError::Seal`].
    pub fn seal(
        &self,
        key: &[u8; 32],
        lead: &[u8],
        context: &[u8],
        mut plaintext: Zeroizing<Vec<u8>>,
    ) -> Result<Vec<u8>, SealedFileError> {
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|_| SealedFileError::Seal)?;
        let mut file = Vec::with_capacity(plaintext.len().saturating_add(256));
        file.extend(self.magic);
        file.push(self.version);
        file.extend(lead);
        file.extend(nonce);
        let associated = [file.as_slice(), context].concat();
        Aes256Gcm::new(key.into())
            .encrypt_in_place((&nonce).into(), &associated, &mut *plaintext)
            .map_err(|_| SealedFileError::Seal)?;
        file.extend(plaintext.iter());
        Ok(file)
    }

    /// What comes after magic and version: the lead first. Nothing of it is authenticated yet.
    ///
    /// # Errors
    /// [`SealedFileError::Format`].
    pub fn after_version<'a>(&self, file: &'a [u8]) -> Result<&'a [u8], SealedFileError> {
        let found = file
            .split_first_chunk::<MAGIC_LENGTH>()
            .and_then(|(magic, rest)| Some((magic, rest.split_first()?)));
        match found {
            Some((magic, (&version, rest))) if magic == self.magic && version == self.version => {
                Ok(rest)
            }
            Some(_) | None => Err(SealedFileError::Format),
        }
    }

    /// Decrypts a file whose lead has this many bytes.
    ///
    /// # Errors
    /// [`SealedFileError`].
    pub fn open(
        &self,
        key: &[u8; 32],
        lead_length: usize,
        context: &[u8],
        file: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealedFileError> {
        self.after_version(file)?;
        let nonce_at = (MAGIC_LENGTH + 1).saturating_add(lead_length);
        let (head, ciphertext) = file
            .split_at_checked(nonce_at.saturating_add(NONCE_LENGTH))
            .filter(|(_, ciphertext)| ciphertext.len() >= TAG_LENGTH)
            .ok_or(SealedFileError::Format)?;
        let nonce: &[u8; NONCE_LENGTH] = head.last_chunk().ok_or(SealedFileError::Format)?;
        let associated = [head, context].concat();
        let mut opened = Zeroizing::new(ciphertext.to_vec());
        Aes256Gcm::new(key.into())
            .decrypt_in_place(nonce.into(), &associated, &mut *opened)
            .map_err(|_| SealedFileError::Closed)?;
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: SealedFile = SealedFile {
        magic: b"PORTCULLIS-TESTS",
        version: 3,
    };
    const KEY: [u8; 32] = [7; 32];

    fn sealed() -> Vec<u8> {
        let secret = Zeroizing::new(b"the secret".to_vec());
        KIND.seal(&KEY, b"lead", b"context", secret).unwrap()
    }

    fn open(file: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealedFileError> {
        KIND.open(&KEY, 4, b"context", file)
    }

    #[test]
    fn what_was_sealed_opens_and_is_not_in_the_file() {
        let file = sealed();
        assert_eq!(open(&file).unwrap().as_slice(), b"the secret");
        assert_eq!(&KIND.after_version(&file).unwrap()[..4], b"lead");
        assert!(!file.windows(10).any(|part| part == b"the secret"));
        assert_ne!(file, sealed(), "a nonce was used twice");
    }

    #[test]
    fn any_flipped_bit_any_cut_and_any_addition_is_refused() {
        let file = sealed();
        for place in 0..file.len() {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[place] ^= 1 << bit;
                let expected = if place < 17 {
                    SealedFileError::Format
                } else {
                    SealedFileError::Closed
                };
                assert_eq!(open(&changed).unwrap_err(), expected, "byte {place}");
            }
            assert!(open(&file[..place]).is_err(), "cut at {place}");
        }
        assert!(open(&[file.as_slice(), b"x"].concat()).is_err());
    }

    #[test]
    fn another_key_context_lead_or_kind_is_refused() {
        let file = sealed();
        let other = |key: u8, lead, context| KIND.open(&[key; 32], lead, context, &file);
        assert_eq!(
            other(8, 4, b"context").unwrap_err(),
            SealedFileError::Closed
        );
        assert_eq!(
            other(7, 4, b"contexT").unwrap_err(),
            SealedFileError::Closed
        );
        assert_eq!(
            other(7, 3, b"context").unwrap_err(),
            SealedFileError::Closed
        );
        let kind = SealedFile { version: 4, ..KIND };
        let opened = kind.open(&KEY, 4, b"context", &file);
        assert_eq!(opened.unwrap_err(), SealedFileError::Format);
    }
}
