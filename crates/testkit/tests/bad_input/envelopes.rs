//! Envelopes that are not right, sent byte for byte as a strategy may send them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use audit::verify;
use portcullis_domain::{PrincipalName, Reason, Side, Span, Symbol, TimeInForce, Timestamp};
use portcullis_runtime::identity::Bundle;
use portcullis_runtime::{Client, envelope_id};
use portcullis_wire::messages::{Decision, Notice, Outcome, Proposal, Size};
use portcullis_wire::principal::Strategy;
use portcullis_wire::subjects::PROPOSAL;
use portcullis_wire::{
    Context, Epoch, FRAME_LENGTH_MAX, KeyRing, Link, LinkKey, Realm, Sealed, Sealer,
};

use crate::support::{Stack, wait_for};

/// Would be traded at once, if it were accepted.
fn proposal() -> Proposal {
    Proposal {
        symbol: Symbol::new("XRPUSDT").unwrap(),
        side: Side::Buy,
        size: Size::Quantity("10".parse().unwrap()),
        limit_price: None,
        time_in_force: TimeInForce::ImmediateOrCancel,
        reduce_only: false,
    }
}

/// Sealed in order, and refused by the brain for its size.
fn too_large() -> Proposal {
    Proposal {
        size: Size::Quantity("1000000".parse().unwrap()),
        ..proposal()
    }
}

/// What differs from an envelope that is right.
struct Forger<'a> {
    client: &'a Client<Strategy>,
    realm: Realm,
    source: PrincipalName,
    boot: u64,
    ring: KeyRing,
    sealed_at: Timestamp,
}

impl<'a> Forger<'a> {
    fn honest(client: &'a Client<Strategy>) -> Self {
        let identity = client.identity();
        Self {
            client,
            realm: identity.realm,
            source: identity.name,
            boot: client.boot(),
            ring: identity.ring.clone(),
            sealed_at: client.now(),
        }
    }

    fn seal(self, proposal: &Proposal) -> Sealed {
        let mut sealer = Sealer::new(self.realm, self.source, self.boot, self.ring);
        let context = Context::first(self.sealed_at, envelope_id().unwrap());
        sealer
            .seal(&PROPOSAL, Some("sample"), proposal, context)
            .unwrap()
    }

    fn send(self) {
        let client = self.client;
        let sealed = self.seal(&proposal());
        client.send(sealed).unwrap();
    }
}

fn ring_of(source: PrincipalName) -> KeyRing {
    let audience = PrincipalName::new("brain").unwrap();
    let mut ring = KeyRing::new();
    ring.insert(
        Link { source, audience },
        Epoch::lasting(1),
        &LinkKey::from_bytes([7; 32]),
    );
    ring
}

/// The keys of an identity as if they had been there before they were made.
fn keys_of_any_time(identity: &Path) -> KeyRing {
    let mut ring = KeyRing::new();
    for held in Bundle::open(identity).unwrap().links() {
        ring.insert(held.link, Epoch::lasting(held.epoch.number), &held.key);
    }
    ring
}

/// Every refusal that the brain put on record.
fn violations(stack: &Stack) -> BTreeSet<String> {
    notices(stack)
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::Violation { subject, code, .. }
                if subject.as_str() == "cmd.brain.propose.sample" =>
            {
                Some(code.as_str().to_owned())
            }
            _ => None,
        })
        .collect()
}

fn notices(stack: &Stack) -> Vec<Notice> {
    let entries = verify::entries(&stack.audit_log()).unwrap();
    let of_brain = entries
        .map(Result::unwrap)
        .filter(|entry| entry.subject == "evt.brain.notice");
    of_brain
        .map(|entry| verify::read_unsealed(&entry.content).unwrap().1)
        .collect()
}

/// Every decision of the brain that audit has.
fn decisions(stack: &Stack) -> Vec<Decision> {
    let entries = verify::entries(&stack.audit_log()).unwrap();
    let of_brain = entries
        .map(Result::unwrap)
        .filter(|entry| entry.subject == "evt.brain.decision.sample");
    of_brain
        .map(|entry| verify::read_unsealed(&entry.content).unwrap().1)
        .collect()
}

async fn send_all(client: &Client<Strategy>, identity: &Path) {
    // The boot of this client is the newest that the brain knows; the same bytes come twice.
    let once = client.publish(&PROPOSAL, Some("sample"), &too_large(), None, None);
    client.send(once.unwrap()).unwrap();

    let honest = || Forger::honest(client);
    let now = client.now();
    let seconds = |count| Span::from_secs(count);
    Forger {
        realm: Realm::new("prod").unwrap(),
        ..honest()
    }
    .send();
    Forger {
        sealed_at: Timestamp(now.0 - 10_000_000),
        ring: keys_of_any_time(identity),
        ..honest()
    }
    .send();
    Forger {
        sealed_at: now.plus(seconds(60)),
        ..honest()
    }
    .send();
    Forger {
        boot: client.boot() - 1,
        ..honest()
    }
    .send();
    // Another instrument than the one that was sealed.
    let mut tampered = honest().seal(&proposal());
    let symbol = tampered
        .frame
        .windows(7)
        .position(|part| part == b"XRPUSDT");
    tampered.frame[symbol.unwrap()] = b'Y';
    client.send(tampered).unwrap();
    // A strategy that nobody knows, with a key that it made itself.
    let ghost = PrincipalName::new("strategy-ghost").unwrap();
    Forger {
        source: ghost,
        ring: ring_of(ghost),
        ..honest()
    }
    .send();
    let nonsense = vec![0xc1; FRAME_LENGTH_MAX];
    let mut sealed = honest().seal(&proposal());
    sealed.frame = nonsense;
    client.send(sealed.clone()).unwrap();
    // One byte more is not even taken by the bus.
    sealed.frame.push(0);
    let error = client.send(sealed).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("payload"), "{error}: {cause}");
    client.flush().await.unwrap();
}

/// A key that is not the one of the link.
async fn send_forged(client: &Client<Strategy>) {
    let name = client.identity().name;
    Forger {
        ring: ring_of(name),
        ..Forger::honest(client)
    }
    .send();
    client.flush().await.unwrap();
}

pub fn are_refused_and_put_on_record(stack: &Stack) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let identity = stack.folder().join("identity/strategy-sample");
    let expected = [
        "BAD_SEAL",
        "EXPIRED",
        "MALFORMED_FRAME",
        "REPLAY",
        "SEALED_IN_FUTURE",
        "UNKNOWN_KEY",
        "WRONG_REALM",
    ];
    let expected = BTreeSet::from(expected.map(str::to_owned));
    let client = runtime
        .block_on(Client::<Strategy>::connect(&identity, &stack.bus()))
        .unwrap();
    runtime.block_on(send_all(&client, &identity));
    wait_for(
        "every refusal is on record",
        Duration::from_secs(10),
        || (violations(stack) == expected).then_some(()),
    );
    let bad_seals = || {
        let bad = |notice: &&Notice| matches!(notice, Notice::Violation { code, .. } if code.as_str() == "BAD_SEAL");
        notices(stack).iter().filter(bad).count()
    };
    assert_eq!(bad_seals(), 1, "the one that was tampered with");
    runtime.block_on(send_forged(&client));
    wait_for(
        "the forged one is on record",
        Duration::from_secs(10),
        || (bad_seals() == 2).then_some(()),
    );
    // What came in order was decided, and once, although it came twice.
    let decided = decisions(stack);
    let outcomes: Vec<_> = decided.iter().map(|decision| decision.outcome).collect();
    assert_eq!(outcomes, [Outcome::Refused(Reason::BudgetExceeded)]);
    runtime.block_on(client.close());
}

/// Sends a proposal that is right, at a time when nothing is traded, and gives back why it is not.
pub fn is_refused_although_right(stack: &Stack) -> Reason {
    let before = decisions(stack).len();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let identity = stack.folder().join("identity/strategy-sample");
    runtime.block_on(async {
        let client = Client::<Strategy>::connect(&identity, &stack.bus()).await;
        let client = client.unwrap();
        let sent = client.publish(&PROPOSAL, Some("sample"), &proposal(), None, None);
        sent.unwrap();
        client.flush().await.unwrap();
        client.close().await;
    });
    wait_for("a decision is on record", Duration::from_secs(10), || {
        let decided = decisions(stack);
        match decided.get(before)?.outcome {
            Outcome::Refused(reason) => Some(reason),
            Outcome::Passed => panic!("passed: {decided:?}"),
        }
    })
}

pub fn of_an_unknown_strategy_are_refused(stack: &Stack) {
    let buy = [
        "order",
        "buy",
        "XRPUSDT",
        "--quantity",
        "10",
        "--timeout",
        "1",
    ];
    let (exit, order) = stack.portcullis(&buy);
    assert_eq!(
        (exit, order["standing"].as_str()),
        (7, Some("unanswered")),
        "{order}"
    );
    let refused = notices(stack).into_iter().find_map(|notice| match notice {
        Notice::Refused {
            reason: Reason::UnknownStrategy,
            detail,
        } => Some(detail.as_str().to_owned()),
        _ => None,
    });
    let detail = "strategy-trader has a key but is not in the registry";
    assert_eq!(refused.as_deref(), Some(detail));
}
