//! The sealed file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use argon2::{Algorithm, Argon2, Params, Version};
use portcullis_runtime::secret::{read_hex_key, read_secret};
use portcullis_wire::Realm;
use zeroize::Zeroizing;

use super::{ApiKey, Custody, CustodyError, KeySource};

const MAGIC: &[u8; 16] = b"PORTCULLIS-VENUE";
const VERSION: u8 = 1;
const SALT_LENGTH: usize = 16;
const NONCE_LENGTH: usize = 12;
const TAG_LENGTH: usize = 16;
const HEAD_LENGTH: usize = MAGIC.len() + 2 + SALT_LENGTH + NONCE_LENGTH;
const FILE_LENGTH_MAX: usize = 4_096;

const PASSPHRASE_LENGTH_MIN: usize = 12;
const PASSPHRASE_LENGTH_MAX: usize = 1_024;
const ARGON2_MEMORY_KIB: u32 = 64 * 1_024;
const ARGON2_PASSES: u32 = 3;
const ARGON2_LANES: u32 = 4;

impl KeySource {
    /// Its mark in the file.
    const fn mark(&self) -> u8 {
        match self {
            Self::KeyFile(_) => 1,
            Self::Passphrase(_) => 2,
        }
    }

    fn key(&self, salt: &[u8; SALT_LENGTH]) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        match self {
            Self::KeyFile(path) => Ok(read_hex_key(path)?),
            Self::Passphrase(path) => {
                let passphrase = read_secret(path, PASSPHRASE_LENGTH_MAX)?;
                let passphrase = passphrase.trim_ascii_end();
                if passphrase.len() < PASSPHRASE_LENGTH_MIN {
                    return Err(CustodyError::PassphraseTooShort);
                }
                let mut key = Zeroizing::new([0; 32]);
                Params::new(
                    ARGON2_MEMORY_KIB,
                    ARGON2_PASSES,
                    ARGON2_LANES,
                    Some(key.len()),
                )
                .and_then(|parameters| {
                    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters).hash_password_into(
                        passphrase,
                        salt,
                        key.as_mut_slice(),
                    )
                })
                .map_err(|_| CustodyError::Derive)?;
                Ok(key)
            }
        }
    }
}

fn source_name(mark: u8) -> Option<&'static str> {
    match mark {
        1 => Some("key file"),
        2 => Some("passphrase"),
        _ => None,
    }
}

/// What stands before the ciphertext; all of it is authenticated.
struct Head {
    mark: u8,
    salt: [u8; SALT_LENGTH],
    nonce: [u8; NONCE_LENGTH],
}

impl Head {
    fn fresh(mark: u8) -> Result<Self, CustodyError> {
        let mut head = Self {
            mark,
            salt: [0; SALT_LENGTH],
            nonce: [0; NONCE_LENGTH],
        };
        getrandom::fill(&mut head.salt).map_err(|_| CustodyError::Derive)?;
        getrandom::fill(&mut head.nonce).map_err(|_| CustodyError::Derive)?;
        Ok(head)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_LENGTH);
        bytes.extend(MAGIC);
        bytes.extend([VERSION, self.mark]);
        bytes.extend(self.salt);
        bytes.extend(self.nonce);
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (magic, rest) = bytes.split_first_chunk::<16>()?;
        let (&[version, mark], rest) = rest.split_first_chunk::<2>()?;
        let (&salt, rest) = rest.split_first_chunk()?;
        let (&nonce, ciphertext) = rest.split_first_chunk()?;
        let known = magic == MAGIC && version == VERSION && ciphertext.len() >= TAG_LENGTH;
        known.then_some((Self { mark, salt, nonce }, ciphertext))
    }

    fn associated(&self, realm: Realm) -> Vec<u8> {
        let mut data = self.bytes();
        data.extend(realm.as_str().as_bytes());
        data
    }
}

pub(super) fn seal(
    path: &Path,
    source: &KeySource,
    realm: Realm,
    custody: &Custody,
) -> Result<(), CustodyError> {
    let head = Head::fresh(source.mark())?;
    let cipher = Aes256Gcm::new((&*source.key(&head.salt)?).into());
    let mut sealed = plaintext(custody);
    cipher
        .encrypt_in_place((&head.nonce).into(), &head.associated(realm), &mut *sealed)
        .map_err(|_| CustodyError::Derive)?;
    let mut bytes = head.bytes();
    bytes.extend(sealed.iter());
    write_new(path, &bytes).map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => CustodyError::Exists(path.into()),
        _ => CustodyError::Write {
            path: path.into(),
            cause,
        },
    })
}

pub(super) fn open(path: &Path, source: &KeySource, realm: Realm) -> Result<Custody, CustodyError> {
    let bytes = read_secret(path, FILE_LENGTH_MAX)?;
    let format = || CustodyError::Format(path.into());
    let (head, ciphertext) = Head::parse(&bytes).ok_or_else(format)?;
    let sealed = source_name(head.mark).ok_or_else(format)?;
    if head.mark != source.mark() {
        let configured = source_name(source.mark()).unwrap_or_default();
        return Err(CustodyError::KeySource {
            path: path.into(),
            sealed,
            configured,
        });
    }
    let cipher = Aes256Gcm::new((&*source.key(&head.salt)?).into());
    let mut opened = Zeroizing::new(ciphertext.to_vec());
    cipher
        .decrypt_in_place((&head.nonce).into(), &head.associated(realm), &mut *opened)
        .map_err(|_| CustodyError::Closed {
            path: path.into(),
            realm,
        })?;
    parse(&opened).ok_or_else(format)?
}

fn plaintext(custody: &Custody) -> Zeroizing<Vec<u8>> {
    // Room for everything and the tag, so that no copy of a secret is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LENGTH_MAX));
    for key in [&custody.trading, &custody.reading] {
        for field in [key.name.as_str().as_bytes(), key.secret.as_slice()] {
            // Both are at most 256 bytes long.
            bytes.extend(u16::try_from(field.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(field);
        }
    }
    bytes
}

fn parse(mut bytes: &[u8]) -> Option<Result<Custody, CustodyError>> {
    let mut field = || {
        let (&length, rest) = bytes.split_first_chunk::<2>()?;
        let (field, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(length)))?;
        bytes = rest;
        Some(field)
    };
    let [name, secret, reading_name, reading_secret] = [field()?, field()?, field()?, field()?];
    if !bytes.is_empty() {
        return None;
    }
    let key = |name, secret: &[u8]| {
        let name = std::str::from_utf8(name).ok()?;
        Some(ApiKey::new(name, Zeroizing::new(secret.to_vec())))
    };
    let (trading, reading) = (key(name, secret)?, key(reading_name, reading_secret)?);
    Some(trading.and_then(|trading| Custody::new(trading, reading?)))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
