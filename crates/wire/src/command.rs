//! What an operator commands: an envelope around the operator's own signature.
//!
//! ```text
//!  Verified<Signed<Kill>> ──▶ operator trusted? signature? same operator? this realm? ──▶ Kill
//! ```
//!
//! Everybody who obeys an operator asks here: three services that disagreed on whose command counts
//! would stop one without the others.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use portcullis_domain::{Hash, PrincipalName};

use crate::messages::{Kill, Signable};
use crate::{Realm, Signed, SignedError, Verified, Verifying};

/// The public keys of each operator that count: one, or two while it is exchanged.
pub type OperatorKeys = BTreeMap<PrincipalName, Vec<Verifying>>;

/// Something that an operator signs for one deployment.
pub trait Command: Signable {
    /// Who says so.
    fn operator(&self) -> PrincipalName;
    /// The deployment that it is meant for.
    fn realm(&self) -> Realm;
}

impl Command for Kill {
    fn operator(&self) -> PrincipalName {
        self.operator
    }

    fn realm(&self) -> Realm {
        self.realm
    }
}

/// A command that its operator signed for this deployment. Only [`authorise`] makes one, so that what
/// nobody signed does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorised<C> {
    command: C,
    digest: Hash,
}

impl<C> Authorised<C> {
    /// What is commanded.
    #[must_use]
    pub const fn command(&self) -> &C {
        &self.command
    }

    /// SHA-256 of what was signed: the name under which others approve it.
    #[must_use]
    pub const fn digest(&self) -> Hash {
        self.digest
    }
}

/// As [`verify`], with the digest of what was signed.
///
/// # Errors
/// [`CommandRefusal`] when the command does not count.
pub fn authorise<C: Command>(
    message: &Verified<Signed<C>>,
    realm: Realm,
    operators: &OperatorKeys,
) -> Result<Authorised<C>, CommandRefusal> {
    let command = verify(message, realm, operators)?;
    let digest = message.message().digest();
    Ok(Authorised { command, digest })
}

/// Why a command was not obeyed.
#[derive(Debug, thiserror::Error)]
pub enum CommandRefusal {
    /// Nobody whose public key is held.
    #[error("{0} is not an operator that is trusted here")]
    Untrusted(PrincipalName),
    /// Signed by somebody else, or nobody.
    #[error("verify the operator's signature")]
    Signature(#[source] SignedError),
    /// The signature is somebody else's than the envelope.
    #[error("signed as {signed}, sent by {sent}")]
    Operator {
        /// Who the signed content names.
        signed: PrincipalName,
        /// Who sealed the envelope.
        sent: PrincipalName,
    },
    /// Signed for another deployment.
    #[error("signed for realm {0}")]
    Realm(Realm),
}

impl CommandRefusal {
    /// The code for the record.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Untrusted(_) => "UNKNOWN_OPERATOR",
            Self::Signature(_) => "BAD_SIGNATURE",
            Self::Operator { .. } => "WRONG_OPERATOR",
            Self::Realm(_) => "WRONG_REALM",
        }
    }
}

/// The command inside an envelope, if its sender signed it for this deployment. Its age does not
/// count beyond the envelope's: whoever obeys decides whether it does. Each key of the sender
/// counts: a command must not fall between the key that a person still holds and the one that is the
/// newest.
///
/// # Errors
/// [`CommandRefusal`] when the command does not count.
pub fn verify<C: Command>(
    message: &Verified<Signed<C>>,
    realm: Realm,
    operators: &OperatorKeys,
) -> Result<C, CommandRefusal> {
    let sent = message.source();
    let keys = operators.get(&sent).map(Vec::as_slice).unwrap_or_default();
    let mut signed = Err(CommandRefusal::Untrusted(sent));
    for key in keys {
        signed = message
            .message()
            .verify(key)
            .map_err(CommandRefusal::Signature);
        if signed.is_ok() {
            break;
        }
    }
    let command = signed?;
    if command.operator() != sent {
        return Err(CommandRefusal::Operator {
            signed: command.operator(),
            sent,
        });
    }
    if command.realm() != realm {
        return Err(CommandRefusal::Realm(command.realm()));
    }
    Ok(command)
}
