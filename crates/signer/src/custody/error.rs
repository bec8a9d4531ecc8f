//! What can be wrong with the custody of a secret.

use std::io;
use std::path::PathBuf;

use portcullis_runtime::secret::SecretError;
use portcullis_wire::Realm;

/// Why secrets could not be sealed, opened or used. No variant holds any of them.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// The sealed file, its key or its passphrase was refused.
    #[error("read the venue's secrets")]
    Secret(#[source] SecretError),
    /// The file is not one of this format, or of a later version of it.
    #[error("{0} is not a sealed file of version 1")]
    Format(PathBuf),
    /// The file was sealed under the other kind of key.
    #[error("{path} was sealed under a {sealed}, and the settings name a {configured}")]
    KeySource {
        /// Which file.
        path: PathBuf,
        /// What it was sealed under.
        sealed: &'static str,
        /// What the settings name.
        configured: &'static str,
    },
    /// The signer's identity does not hold the key.
    #[error("the signer's identity holds no secret `venue`, which opens the venue's secrets")]
    NoIdentityKey,
    /// Key, file and realm do not belong together; which of them is wrong cannot be told.
    #[error(
        "{path} does not open: it was sealed with another key, for another realm than {realm}, \
         or it was changed"
    )]
    Closed {
        /// Which file.
        path: PathBuf,
        /// The realm of this signer.
        realm: Realm,
    },
    /// The passphrase is too short to protect anything.
    #[error("the passphrase must have at least 12 characters")]
    PassphraseTooShort,
    /// An API key is not one.
    #[error("the API key is not accepted: {0}")]
    ApiKey(&'static str),
    /// The same key was given for trading and for reading.
    #[error("trading and reading need two different API keys")]
    OneKeyForBoth,
    /// There is such a file already.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The disk did not take the file.
    #[error("write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The system gave no random bytes, or not the memory that Argon2id needs.
    #[error("derive the key of the sealed file")]
    Derive,
    /// The same signature was computed twice and came out differently.
    #[error("the same signature was computed twice and differs: memory or processor is faulty")]
    SignatureDiffers,
}

impl CustodyError {
    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Secret(cause) => cause.next_step(),
            Self::Format(path) => format!("seal the venue's secrets into {} anew", path.display()),
            Self::KeySource { sealed, .. } => match *sealed {
                "identity" => "name neither key_file nor passphrase_file in [custody]".into(),
                file => format!("name the {file} in [custody]"),
            },
            Self::NoIdentityKey => {
                "make the identities anew with `portcullis keys init`; or name a key_file in \
                 [custody]"
                    .into()
            }
            Self::Closed { path, .. } => format!(
                "restore {} and its key from one backup, or seal the venue's secrets anew",
                path.display()
            ),
            Self::PassphraseTooShort => "choose a longer passphrase".into(),
            Self::ApiKey(_) => "copy key and secret from the venue again".into(),
            Self::OneKeyForBoth => {
                "make a second, read-only API key for the same account at the venue".into()
            }
            Self::Exists(path) => format!("move {} away first", path.display()),
            Self::Write { path, .. } => format!("check the disk that holds {}", path.display()),
            Self::Derive => "give the process at least 128 MiB of memory".into(),
            Self::SignatureDiffers => "move the signer to another machine".into(),
        }
    }
}

impl From<SecretError> for CustodyError {
    fn from(cause: SecretError) -> Self {
        Self::Secret(cause)
    }
}
