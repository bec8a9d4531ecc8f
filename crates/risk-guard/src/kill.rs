//! The kill command: an operator's envelope around the operator's own signature.

use std::collections::BTreeMap;

use portcullis_domain::PrincipalName;
use portcullis_wire::messages::Kill;
use portcullis_wire::{Realm, Signed, SignedError, Verified, Verifying};

/// Why a kill command was not obeyed.
#[derive(Debug, thiserror::Error)]
pub enum KillRefusal {
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

/// The command inside an envelope, if its sender signed it for this deployment. Its age does not
/// count beyond the envelope's: stopping is the safe direction.
pub fn verify(
    command: &Verified<Signed<Kill>>,
    realm: Realm,
    operators: &BTreeMap<PrincipalName, Verifying>,
) -> Result<Kill, KillRefusal> {
    let sent = command.source();
    let key = operators.get(&sent).ok_or(KillRefusal::Untrusted(sent))?;
    let kill = command
        .message()
        .verify(key)
        .map_err(KillRefusal::Signature)?;
    if kill.operator != sent {
        return Err(KillRefusal::Operator {
            signed: kill.operator,
            sent,
        });
    }
    if kill.realm != realm {
        return Err(KillRefusal::Realm(kill.realm));
    }
    Ok(kill)
}

#[cfg(test)]
mod tests {
    use portcullis_testkit::World;
    use portcullis_testkit::seals::{NOW, principal};
    use portcullis_wire::Text;
    use portcullis_wire::subjects::KILL;

    use super::*;

    /// What becomes of a command that `names` somebody, is signed by `signer` and sent by
    /// `operator-alice`.
    fn outcome(names: &str, signer: &str, realm: &str, trusted: bool) -> String {
        let mut world = World::new(NOW);
        let kill = Kill {
            realm: Realm::new(realm).unwrap(),
            operator: principal(names),
            reason: Text::lossy("drill"),
            at: NOW,
        };
        let signed = world.signed(signer, &kill);
        let command = world.verified("risk-guard", NOW, &KILL, None, &signed);
        let mut operators = world.operators();
        if !trusted {
            operators.remove(&principal("operator-alice"));
        }
        match verify(&command, world.realm(), &operators) {
            Ok(kill) => format!("obeyed: {}", kill.reason),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn only_the_senders_own_command_for_this_deployment_is_obeyed() {
        let (alice, bob) = ("operator-alice", "operator-bob");
        let cases = [
            (alice, alice, "dev", true, "obeyed: drill"),
            (alice, bob, "dev", true, "verify the operator's signature"),
            (bob, bob, "dev", true, "verify the operator's signature"),
            (
                bob,
                alice,
                "dev",
                true,
                "signed as operator-bob, sent by operator-alice",
            ),
            (alice, alice, "prod", true, "signed for realm prod"),
            (
                alice,
                alice,
                "dev",
                false,
                "operator-alice is not an operator that is trusted here",
            ),
        ];
        for (names, signer, realm, trusted, expected) in cases {
            let got = outcome(names, signer, realm, trusted);
            assert_eq!(got, expected, "{names} {signer} {realm} {trusted}");
        }
    }
}
