//! An operator's signed command on its way: signed once, and sent again, byte for byte, until those
//! who must obey it have said so.

use std::time::{Duration, Instant};

use portcullis_domain::Hash;
use portcullis_runtime::{Client, Identity};
use portcullis_wire::messages::{Message, Signable};
use portcullis_wire::principal::Operator;
use portcullis_wire::subjects::Subject;
use portcullis_wire::{Sealed, Signed, Signer, Text};

use crate::exit::{End, Failure, OrFail as _};
use crate::feed::Watcher;
use crate::output::Output;
use crate::view::View;

/// How often a command is sent again to those who have not answered.
const AGAIN_EVERY: Duration = Duration::from_millis(500);

/// Reads the reason that every command carries, for the record.
///
/// # Errors
/// When it says nothing, or is no short text on one line.
pub fn reason(text: &str) -> Result<Text, String> {
    if text.trim().is_empty() {
        return Err("give a reason; it goes on record".to_owned());
    }
    Text::new(text).map_err(str::to_owned)
}

/// An operator's key.
///
/// # Errors
/// When the identity has none.
pub fn key_of(identity: &Identity) -> Result<&Signer, Failure> {
    identity.signing.as_ref().ok_or_else(|| {
        Failure::new(
            End::Usage,
            format!("{} has no key to sign with", identity.name),
            "make the development identities anew: portcullis dev init",
        )
    })
}

/// A command that was sent.
pub struct Sent {
    client: Client<Operator>,
    sealed: Sealed,
    /// SHA-256 of what was signed; answers name it.
    pub digest: Hash,
}

impl Sent {
    /// Signs and sends a command. `unreachable` says what to do when the bus does not take it.
    ///
    /// # Errors
    /// When there is no key, or the bus does not take it.
    pub fn send<C: Signable>(
        watcher: &Watcher,
        subject: &Subject<Operator, Signed<C>>,
        unreachable: &str,
        command: impl FnOnce(&Identity) -> C,
    ) -> Result<Self, Failure>
    where
        Signed<C>: Message,
    {
        let client = watcher.client().clone();
        let identity = client.identity();
        let signed = key_of(&identity)?
            .sign(&command(&identity))
            .or_fail("sign the command", "report this as a defect")?;
        let sealed = client
            .publish(subject, None, &signed, None, None)
            .or_fail("send the command", unreachable)?;
        Ok(Self {
            client,
            sealed,
            digest: signed.digest(),
        })
    }

    /// Watches until `done`, or the patience is over; sends it again while `again` says that
    /// somebody has not answered.
    pub async fn until(
        &self,
        watcher: &mut Watcher,
        patience: Duration,
        again: impl Fn(&View) -> bool,
        done: impl Fn(&View) -> bool,
        output: &Output,
    ) {
        let deadline = Instant::now() + patience;
        while !watcher.watch_until(AGAIN_EVERY, &done).await && Instant::now() < deadline {
            if !again(&watcher.view) {
                continue;
            }
            // The same bytes: to those who have it already it is a duplicate.
            if let Err(cause) = self.client.send(self.sealed.clone()) {
                output.talk(&format!("send it again: {cause}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_given_and_fits() {
        assert!(reason("  ").is_err());
        assert!(reason("a\nb").is_err());
        assert!(reason(&"x".repeat(201)).is_err());
        assert_eq!(reason("drill").unwrap().as_str(), "drill");
    }
}
