//! Every way in which an envelope can be wrong, and the refusal that names it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use portcullis_domain::{
    EnvelopeId, Hash, KillState, PrincipalName, Side, Span, Symbol, TimeInForce, Timestamp,
};
use portcullis_wire::messages::{Heartbeat, Kill, Proposal, Size};
use portcullis_wire::subjects::{HEARTBEAT, KILL, PROPOSAL, TABLE};
use portcullis_wire::{
    Context, Epoch, EpochRoot, FRAME_LENGTH_MAX, FrameError, KeyRing, Link, Realm, Received,
    Refusal, SealError, Sealed, Sealer, Signer, Text, Verifier, codec,
};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
const NAMES: [&str; 4] = ["strategy-sample", "brain", "risk-guard", "execution"];

fn name(text: &str) -> PrincipalName {
    PrincipalName::new(text).unwrap()
}

/// Where the strategy of these tests proposes.
const ON: &str = "cmd.brain.propose.sample";

fn ring(realm: &str, root: u8) -> KeyRing {
    let mut ring = KeyRing::new();
    for source in NAMES {
        for audience in NAMES {
            let link = Link {
                source: name(source),
                audience: name(audience),
            };
            let realm = Realm::new(realm).unwrap();
            ring.insert(
                link,
                Epoch::lasting(1),
                &EpochRoot([root; 32]).link_key(realm, 1, link),
            );
        }
    }
    ring.sign_with(Signer::from_seed(&[1; 32]));
    ring.trust(name("risk-guard"), Signer::from_seed(&[1; 32]).verifying());
    ring
}

fn sealer_in(realm: &str, keys: KeyRing) -> Sealer {
    Sealer::new(Realm::new(realm).unwrap(), name("strategy-sample"), 1, keys)
}

fn verifier(me: &str, started_at: Timestamp) -> Verifier {
    Verifier::new(
        Realm::new("dev").unwrap(),
        name(me),
        started_at,
        ring("dev", 1),
    )
}

fn proposal() -> Proposal {
    Proposal {
        symbol: Symbol::new("XRPUSDT").unwrap(),
        side: Side::Buy,
        size: Size::Quantity("10".parse().unwrap()),
        limit_price: Some("0.5".parse().unwrap()),
        time_in_force: TimeInForce::ImmediateOrCancel,
        reduce_only: false,
    }
}

fn seal_with(sealer: &mut Sealer, number: u8, now: Timestamp) -> Sealed {
    let context = Context::first(now, EnvelopeId([number; 16]));
    sealer
        .seal(&PROPOSAL, Some("sample"), &proposal(), context)
        .unwrap()
}

fn seal() -> Sealed {
    seal_with(&mut sealer_in("dev", ring("dev", 1)), 1, NOW)
}

fn open_at(sealed: &Sealed, now: Timestamp) -> Result<Received<Proposal>, Refusal> {
    verifier("brain", NOW).open(&PROPOSAL, &sealed.subject, &sealed.frame, now)
}

#[test]
fn an_honest_message_opens() {
    let opened = open_at(&seal(), NOW).unwrap().fresh().unwrap();
    assert_eq!(opened.message(), &proposal());
    assert_eq!(opened.source(), name("strategy-sample"));
}

#[test]
fn each_fault_has_its_own_refusal() {
    let refusal = |verifier: &mut Verifier, subject: &str, frame: &[u8]| {
        verifier.open(&PROPOSAL, subject, frame, NOW).err()
    };
    let brain = || verifier("brain", NOW);
    let on = ON;
    let frame = seal().frame;

    let oversized = vec![0; FRAME_LENGTH_MAX + 1];
    let too_long = Some(Refusal::Frame(FrameError::TooLong));
    assert_eq!(refusal(&mut brain(), on, &oversized), too_long);
    let malformed = Some(Refusal::Frame(FrameError::Malformed));
    for bytes in [
        &b""[..],
        b"\x94",
        b"hello",
        &frame[1..],
        &[&frame[..], b"\0"].concat(),
    ] {
        assert_eq!(refusal(&mut brain(), on, bytes), malformed);
    }
    let mut version = frame.clone();
    version[1] = 2;
    assert_eq!(
        refusal(&mut brain(), on, &version),
        Some(Refusal::Frame(FrameError::Version(2)))
    );

    let mut guard = verifier("risk-guard", NOW);
    assert_eq!(refusal(&mut guard, on, &frame), Some(Refusal::NoSeal));
    let mut keyless = Verifier::new(
        Realm::new("dev").unwrap(),
        name("brain"),
        NOW,
        KeyRing::new(),
    );
    assert_eq!(refusal(&mut keyless, on, &frame), Some(Refusal::UnknownKey));
    let forged = seal_with(&mut sealer_in("dev", ring("dev", 2)), 1, NOW);
    assert_eq!(
        refusal(&mut brain(), on, &forged.frame),
        Some(Refusal::BadSeal)
    );
    let elsewhere = seal_with(&mut sealer_in("prod", ring("prod", 1)), 1, NOW);
    assert_eq!(
        refusal(&mut brain(), on, &elsewhere.frame),
        Some(Refusal::BadSeal)
    );
    let relabelled = seal_with(&mut sealer_in("prod", ring("dev", 1)), 1, NOW);
    assert_eq!(
        refusal(&mut brain(), on, &relabelled.frame),
        Some(Refusal::Realm)
    );
    assert_eq!(
        refusal(&mut brain(), "cmd.brain.other", &frame),
        Some(Refusal::Subject)
    );
}

#[test]
fn a_seal_of_another_role_does_not_count() {
    // The brain's verifier holds this key, but a heartbeat is risk-guard's to publish.
    let mut sealer = Sealer::new(
        Realm::new("dev").unwrap(),
        name("risk-guard"),
        1,
        ring("dev", 1),
    );
    let beat = Heartbeat {
        kill: KillState::Armed,
        policy: Hash([0; 32]),
        posture: portcullis_domain::Posture::Normal,
    };
    let context = Context::first(NOW, EnvelopeId([1; 16]));
    let sealed = sealer.seal(&HEARTBEAT, None, &beat, context).unwrap();
    let mut brain = verifier("brain", NOW);
    let as_proposal = brain.open(&PROPOSAL, ON, &sealed.frame, NOW);
    assert_eq!(as_proposal.err(), Some(Refusal::NoSeal));
    assert!(
        brain
            .open(&HEARTBEAT, &sealed.subject, &sealed.frame, NOW)
            .is_ok()
    );
}

#[test]
fn times_are_held_to() {
    let sealed = seal();
    let refused = |now: Timestamp| open_at(&sealed, now).err();
    assert_eq!(refused(NOW.plus(Span::from_millis(1_999))), None);
    assert_eq!(
        refused(NOW.plus(Span::from_secs(2))),
        Some(Refusal::Expired)
    );
    assert_eq!(refused(NOW.minus(Span::from_secs(2))), None);
    assert_eq!(refused(NOW.minus(Span(2_000_001))), Some(Refusal::Future));
    let mut late = verifier("brain", NOW.plus(Span(1)));
    let refusal = late
        .open(&PROPOSAL, &sealed.subject, &sealed.frame, NOW.plus(Span(2)))
        .err();
    assert_eq!(refusal, Some(Refusal::BeforeBoot));
}

#[test]
fn a_duplicate_is_told_from_a_replay() {
    let mut brain = verifier("brain", NOW);
    let mut open = |sealed: &Sealed| brain.open(&PROPOSAL, &sealed.subject, &sealed.frame, NOW);
    let mut sealer = sealer_in("dev", ring("dev", 1));
    let first = seal_with(&mut sealer, 1, NOW);
    assert!(matches!(open(&first), Ok(Received::Fresh(_))));
    assert!(matches!(open(&first), Ok(Received::Duplicate(_))));
    // The same place with other bytes, from a second sealer that counts from 1 again.
    let other = seal_with(&mut sealer_in("dev", ring("dev", 1)), 9, NOW);
    assert_eq!(open(&other).err(), Some(Refusal::Replay));
    // The same id at another place.
    let again = seal_with(&mut sealer, 1, NOW);
    assert_eq!(open(&again).err(), Some(Refusal::Replay));
    assert!(matches!(
        open(&seal_with(&mut sealer, 3, NOW)),
        Ok(Received::Fresh(_))
    ));
}

#[test]
fn an_earlier_boot_is_refused_once_a_later_one_was_seen() {
    let mut brain = verifier("brain", NOW);
    let boot = |boot: u64| {
        Sealer::new(
            Realm::new("dev").unwrap(),
            name("strategy-sample"),
            boot,
            ring("dev", 1),
        )
    };
    let (mut old, mut new) = (boot(5), boot(6));
    let mut open = |sealed: Sealed| {
        brain
            .open(&PROPOSAL, &sealed.subject, &sealed.frame, NOW)
            .err()
    };
    assert_eq!(open(seal_with(&mut old, 1, NOW)), None);
    assert_eq!(open(seal_with(&mut new, 2, NOW)), None);
    assert_eq!(open(seal_with(&mut old, 3, NOW)), Some(Refusal::Replay));
}

/// A thief's boot number must not outlive the thief's keys.
#[test]
fn a_start_in_the_future_is_refused_and_shuts_nobody_out() {
    let of = |boot: u64, number: u8| {
        let realm = Realm::new("dev").unwrap();
        let mut sealer = Sealer::new(realm, name("strategy-sample"), boot, ring("dev", 1));
        seal_with(&mut sealer, number, NOW)
    };
    let mut brain = verifier("brain", NOW);
    let mut open = |sealed: &Sealed| {
        brain
            .open(&PROPOSAL, &sealed.subject, &sealed.frame, NOW)
            .err()
    };
    // Two seconds ahead are a clock that was set back, and no more.
    for (number, boot) in [(1, u64::MAX), (2, NOW.0 + 2_000_001)] {
        let refusal = open(&of(boot, number)).unwrap();
        assert_eq!((refusal, refusal.code()), (Refusal::Boot, "BOOT_IN_FUTURE"));
        assert!(refusal.is_violation());
    }
    assert_eq!(open(&of(NOW.0, 3)), None, "the original goes on");
    assert_eq!(open(&of(NOW.0 + 2_000_000, 4)), None);
}

/// A copy of an operator's keys must not be enough to take the stop from that operator.
#[test]
fn a_kill_command_counts_whatever_boot_was_seen_before() {
    let realm = Realm::new("dev").unwrap();
    let (operator, execution) = (name("operator-dev"), name("execution"));
    let link = Link {
        source: operator,
        audience: execution,
    };
    let mut keys = KeyRing::new();
    keys.insert(
        link,
        Epoch::lasting(1),
        &EpochRoot([1; 32]).link_key(realm, 1, link),
    );
    let mut verifier = Verifier::new(realm, execution, NOW, keys.clone());
    let command = Kill {
        realm,
        operator,
        reason: Text::lossy("stop"),
        at: NOW,
    };
    let signed = Signer::from_seed(&[1; 32]).sign(&command).unwrap();
    for (number, boot) in [(1, u64::MAX), (2, 7)] {
        let mut sealer = Sealer::new(realm, operator, boot, keys.clone());
        let context = Context::first(NOW, EnvelopeId([number; 16]));
        let sealed = sealer.seal(&KILL, None, &signed, context).unwrap();
        let opened = verifier.open(&KILL, &sealed.subject, &sealed.frame, NOW);
        assert_eq!(opened.unwrap().either().message(), &signed, "boot {boot}");
    }
}

#[test]
fn nobody_seals_what_no_key_can_be_read_with() {
    let mut sealer = sealer_in("dev", KeyRing::new());
    let context = Context::first(NOW, EnvelopeId([1; 16]));
    let refused = sealer.seal(&PROPOSAL, Some("sample"), &proposal(), context.clone());
    assert!(matches!(refused, Err(SealError::NoAddressee(_))));
    let mut sealer = sealer_in("dev", ring("dev", 1));
    let refused = sealer.seal(&PROPOSAL, None, &proposal(), context);
    assert!(matches!(refused, Err(SealError::Name(_))));
    assert_eq!(
        seal_with(&mut sealer, 1, NOW).seq,
        1,
        "a refusal does not use up a place"
    );
}

#[test]
fn bodies_have_one_spelling() {
    let canonical = codec::encode(&proposal()).unwrap();
    assert_eq!(
        codec::decode::<Proposal>(&canonical, 1_000).unwrap(),
        proposal()
    );
    assert!(
        codec::decode::<Proposal>(&canonical, canonical.len() - 1).is_err(),
        "too long"
    );
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let replaced = |from: &str, to: &str| {
        let at = text(&canonical).find(from).unwrap();
        [
            &canonical[..at],
            to.as_bytes(),
            &canonical[at + from.len()..],
        ]
        .concat()
    };
    let cases: [(&str, Vec<u8>); 6] = [
        ("trailing byte", [&canonical[..], &[0xc0]].concat()),
        ("unknown field", replaced("symbol", "symbal")),
        ("missing field", [&[0x85], &canonical[1..]].concat()),
        (
            "duplicate field",
            [&[0x87], &canonical[1..], b"\xa4side\xa3buy"].concat(),
        ),
        (
            "positional array",
            codec::encode(&("XRPUSDT", "buy")).unwrap(),
        ),
        (
            "wide integer for a length",
            [&[0xde, 0, 6], &canonical[1..]].concat(),
        ),
    ];
    for (case, bytes) in cases {
        assert!(codec::decode::<Proposal>(&bytes, 1_000).is_err(), "{case}");
    }
}

#[test]
fn a_deep_or_boastful_body_is_refused_cheaply() {
    let bomb = vec![0x91; 57_000];
    assert!(codec::decode::<Proposal>(&bomb, 60_000).is_err());
    let boast = [0xdd, 0xff, 0xff, 0xff, 0xff];
    assert!(codec::decode::<Vec<Proposal>>(&boast, 1_000).is_err());
}

#[test]
fn the_table_gives_every_message_a_reader_and_a_life() {
    for row in TABLE {
        assert!(!row.subscribers.is_empty(), "{}", row.pattern);
        assert!(row.lifetime > Span(0), "{}", row.pattern);
        assert!(row.kind.len() <= 31, "{}", row.kind);
    }
}

proptest! {
    #[test]
    fn any_change_of_any_byte_is_refused(position in 0_usize..10_000, change in 1_u8..=255) {
        let mut sealed = seal();
        let position = position % sealed.frame.len();
        sealed.frame[position] ^= change;
        prop_assert!(open_at(&sealed, NOW).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let sealed = Sealed {
            subject: ON.into(),
            id: EnvelopeId([0; 16]),
            seq: 1,
            frame: bytes,
        };
        prop_assert!(open_at(&sealed, NOW).is_err());
    }

    #[test]
    fn a_truncated_frame_is_refused(keep in 0_usize..10_000) {
        let mut sealed = seal();
        let keep = keep % sealed.frame.len();
        sealed.frame.truncate(keep);
        prop_assert_eq!(open_at(&sealed, NOW).err(), Some(Refusal::Frame(FrameError::Malformed)));
    }
}
