//! Whose kill command counts, and the refusal that names why another does not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use portcullis_domain::{EnvelopeId, PrincipalName, Timestamp};
use portcullis_wire::messages::Kill;
use portcullis_wire::subjects::KILL;
use portcullis_wire::{
    Context, Epoch, EpochRoot, KeyRing, Link, Realm, Sealer, Signed, Signer, Text, Verified,
    Verifier, command,
};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
const ALICE: &str = "operator-alice";
const BOB: &str = "operator-bob";

fn name(text: &str) -> PrincipalName {
    PrincipalName::new(text).unwrap()
}

fn signer(operator: &str) -> Signer {
    Signer::from_seed(&[u8::try_from(operator.len()).unwrap(); 32])
}

/// What an honest `operator-alice` seals, as execution opens it.
fn sent_by_alice(signed: &Signed<Kill>) -> Verified<Signed<Kill>> {
    let realm = Realm::new("dev").unwrap();
    let link = Link {
        source: name(ALICE),
        audience: name("execution"),
    };
    let mut keys = KeyRing::new();
    keys.insert(
        link,
        Epoch::lasting(1),
        &EpochRoot([1; 32]).link_key(realm, 1, link),
    );
    let mut sealer = Sealer::new(realm, link.source, 1, keys.clone());
    let context = Context::first(NOW, EnvelopeId([1; 16]));
    let sealed = sealer.seal(&KILL, None, signed, context).unwrap();
    Verifier::new(realm, link.audience, NOW, keys)
        .open(&KILL, &sealed.subject, &sealed.frame, NOW)
        .unwrap()
        .either()
}

/// What becomes of a command that `names` somebody, is signed by `by` and sent by `operator-alice`.
fn outcome(names: &str, by: &str, realm: &str, trusted: &[&str]) -> String {
    let command = Kill {
        realm: Realm::new(realm).unwrap(),
        operator: name(names),
        reason: Text::lossy("drill"),
        at: NOW,
    };
    let command = sent_by_alice(&signer(by).sign(&command).unwrap());
    let operators: BTreeMap<_, _> = trusted
        .iter()
        .map(|operator| (name(operator), vec![signer(operator).verifying()]))
        .collect();
    match command::verify(&command, Realm::new("dev").unwrap(), &operators) {
        Ok(kill) => format!("obeyed: {}", kill.reason),
        Err(refusal) => format!("{}: {refusal}", refusal.code()),
    }
}

#[test]
fn only_the_senders_own_command_for_this_deployment_is_obeyed() {
    let both = [ALICE, BOB].as_slice();
    let signature = "BAD_SIGNATURE: verify the operator's signature";
    let cases = [
        (ALICE, ALICE, "dev", both, "obeyed: drill"),
        (ALICE, BOB, "dev", both, signature),
        (BOB, BOB, "dev", both, signature),
        (
            BOB,
            ALICE,
            "dev",
            both,
            "WRONG_OPERATOR: signed as operator-bob, sent by operator-alice",
        ),
        (
            ALICE,
            ALICE,
            "prod",
            both,
            "WRONG_REALM: signed for realm prod",
        ),
        (
            ALICE,
            ALICE,
            "dev",
            &[BOB],
            "UNKNOWN_OPERATOR: operator-alice is not an operator that is trusted here",
        ),
    ];
    for (names, by, realm, trusted, expected) in cases {
        let got = outcome(names, by, realm, trusted);
        assert_eq!(got, expected, "{names} {by} {realm} {trusted:?}");
    }
}

#[test]
fn while_a_key_is_exchanged_both_count_and_afterwards_the_earlier_one_does_not() {
    let realm = Realm::new("dev").unwrap();
    let (earlier, newest) = (Signer::from_seed(&[1; 32]), Signer::from_seed(&[2; 32]));
    let command = Kill {
        realm,
        operator: name(ALICE),
        reason: Text::lossy("drill"),
        at: NOW,
    };
    let outcome = |by: &Signer, counting: &[&Signer]| {
        let keys = counting.iter().map(|key| key.verifying()).collect();
        let operators = BTreeMap::from([(name(ALICE), keys)]);
        let command = sent_by_alice(&by.sign(&command).unwrap());
        match command::verify(&command, realm, &operators) {
            Ok(_) => "obeyed",
            Err(refusal) => refusal.code(),
        }
    };
    for counting in [[&newest, &earlier], [&earlier, &newest]] {
        assert_eq!(outcome(&newest, &counting), "obeyed");
        assert_eq!(outcome(&earlier, &counting), "obeyed");
    }
    assert_eq!(outcome(&newest, &[&newest]), "obeyed");
    assert_eq!(outcome(&earlier, &[&newest]), "BAD_SIGNATURE");
    assert_eq!(outcome(&newest, &[]), "UNKNOWN_OPERATOR");
}
