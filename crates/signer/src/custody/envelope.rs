//! The sealed file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use portcullis_runtime::sealed_file::{SealedFile, SealedFileError};
use portcullis_runtime::secret::{read_hex_key, read_secret};
use portcullis_wire::Realm;
use zeroize::Zeroizing;

use super::{ApiKey, Custody, CustodyError, KeySource};

const KIND: SealedFile = SealedFile {
    magic: b"PORTCULLIS-VENUE",
    version: 1,
};
const SALT_LENGTH: usize = 16;
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
            Self::Identity(_) => 3,
        }
    }

    fn key(&self, salt: &[u8; SALT_LENGTH]) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        match self {
            Self::Identity(key) => Ok(key.0.clone()),
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
        3 => Some("identity"),
        _ => None,
    }
}

/// How the key is found: what the file says in the clear. The realm is in no file, and has to be
/// known.
struct Lead {
    mark: u8,
    salt: [u8; SALT_LENGTH],
}

impl Lead {
    const LENGTH: usize = 1 + SALT_LENGTH;

    fn fresh(mark: u8) -> Result<Self, CustodyError> {
        let mut lead = Self {
            mark,
            salt: [0; SALT_LENGTH],
        };
        getrandom::fill(&mut lead.salt).map_err(|_| CustodyError::Derive)?;
        Ok(lead)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LENGTH);
        bytes.push(self.mark);
        bytes.extend(self.salt);
        bytes
    }

    fn parse(file: &[u8]) -> Option<Self> {
        let (&mark, rest) = KIND.after_version(file).ok()?.split_first()?;
        let (&salt, _) = rest.split_first_chunk()?;
        Some(Self { mark, salt })
    }
}

pub(super) fn seal(
    path: &Path,
    source: &KeySource,
    realm: Realm,
    custody: &Custody,
) -> Result<(), CustodyError> {
    let lead = Lead::fresh(source.mark())?;
    let key = source.key(&lead.salt)?;
    let context = realm.as_str().as_bytes();
    let bytes = KIND
        .seal(&key, &lead.bytes(), context, plaintext(custody))
        .map_err(|_| CustodyError::Derive)?;
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
    let lead = Lead::parse(&bytes).ok_or_else(format)?;
    let sealed = source_name(lead.mark).ok_or_else(format)?;
    if lead.mark != source.mark() {
        let configured = source_name(source.mark()).unwrap_or_default();
        return Err(CustodyError::KeySource {
            path: path.into(),
            sealed,
            configured,
        });
    }
    let key = source.key(&lead.salt)?;
    let opened = KIND
        .open(&key, Lead::LENGTH, realm.as_str().as_bytes(), &bytes)
        .map_err(|error| match error {
            SealedFileError::Format => format(),
            SealedFileError::Closed | SealedFileError::Seal => CustodyError::Closed {
                path: path.into(),
                realm,
            },
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
