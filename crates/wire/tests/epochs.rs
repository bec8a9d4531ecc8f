//! Keys change while messages are on their way: what still counts, and what does not any more. And
//! messages that only their addressees can read.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use portcullis_domain::{EnvelopeId, Hash, KillState, PrincipalName, Span, Timestamp, Usd};
use portcullis_wire::messages::{ExecutionStatus, Heartbeat, Notice};
use portcullis_wire::subjects::{BRAIN_NOTICE, EXECUTION_STATUS, HEARTBEAT};
use portcullis_wire::{
    ContentKey, Context, Epoch, EpochRoot, KeyRing, Link, Realm, Refusal, SealError, Sealed,
    Sealer, Signer, Text, Verifier, inspect,
};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
/// When epoch 2 begins to seal.
const SWITCH: Timestamp = NOW.plus(Span::from_secs(60));
/// When epoch 1 is over.
const RETIRED: Timestamp = SWITCH.plus(Span::from_secs(600));

fn name(text: &str) -> PrincipalName {
    PrincipalName::new(text).unwrap()
}

fn realm() -> Realm {
    Realm::new("dev").unwrap()
}

const FIRST: Epoch = Epoch {
    number: 1,
    seals_from: NOW,
    retires_at: Some(RETIRED),
};
const SECOND: Epoch = Epoch {
    number: 2,
    seals_from: SWITCH,
    retires_at: None,
};

fn ring(source: &str, epochs: &[Epoch]) -> KeyRing {
    let mut ring = KeyRing::new();
    for audience in [
        "audit",
        "operator-dev",
        "operator-other",
        "brain",
        "risk-guard",
    ] {
        let link = Link {
            source: name(source),
            audience: name(audience),
        };
        for epoch in epochs {
            let root = EpochRoot([u8::try_from(epoch.number).unwrap(); 32]);
            ring.insert(link, *epoch, &root.link_key(realm(), epoch.number, link));
        }
    }
    ring
}

fn warning() -> Notice {
    Notice::Warning {
        detail: Text::lossy("a fact"),
    }
}

fn brain(epochs: &[Epoch]) -> Sealer {
    Sealer::new(realm(), name("brain"), 1, ring("brain", epochs))
}

fn seal(sealer: &mut Sealer, number: u8, at: Timestamp) -> Sealed {
    let context = Context::first(at, EnvelopeId([number; 16]));
    sealer
        .seal(&BRAIN_NOTICE, None, &warning(), context)
        .unwrap()
}

fn operator(epochs: &[Epoch]) -> Verifier {
    Verifier::new(realm(), name("operator-dev"), NOW, ring("brain", epochs))
}

fn open(verifier: &mut Verifier, sealed: &Sealed, now: Timestamp) -> Result<(u32, bool), Refusal> {
    let opened = verifier.open(&BRAIN_NOTICE, &sealed.subject, &sealed.frame, now)?;
    let opened = opened.either();
    Ok((opened.epoch(), opened.is_outdated()))
}

#[test]
fn both_ends_change_over_without_losing_a_message() {
    let both = [FIRST, SECOND];
    let mut old_sealer = brain(&[FIRST]);
    let mut sealer = brain(&both);
    // A reader that has not yet heard of the second epoch goes on until it is used.
    let before = seal(&mut old_sealer, 1, NOW);
    assert_eq!(open(&mut operator(&[FIRST]), &before, NOW), Ok((1, false)));
    assert_eq!(open(&mut operator(&both), &before, NOW), Ok((1, false)));
    let at_the_switch = seal(&mut sealer, 2, SWITCH);
    assert_eq!(
        open(&mut operator(&both), &at_the_switch, SWITCH),
        Ok((2, false))
    );
    let refused = open(&mut operator(&[FIRST]), &at_the_switch, SWITCH);
    assert_eq!(refused, Err(Refusal::UnknownKey));
}

#[test]
fn an_old_epoch_is_noticed_after_some_seconds_and_refused_when_it_is_over() {
    let both = [FIRST, SECOND];
    let mut late = brain(&[FIRST]);
    let cases = [
        (1, SWITCH, Ok((1, false))),
        (2, SWITCH.plus(Span::from_secs(4)), Ok((1, false))),
        (3, SWITCH.plus(Span::from_secs(5)), Ok((1, true))),
        (4, RETIRED.minus(Span(1)), Ok((1, true))),
    ];
    for (number, at, expected) in cases {
        let sealed = seal(&mut late, number, at);
        assert_eq!(
            open(&mut operator(&both), &sealed, at),
            expected,
            "{number}"
        );
    }
    // Sealed in time, opened too late; and sealed too late by somebody who kept the old key.
    let in_time = seal(&mut late, 5, RETIRED.minus(Span(1)));
    let refused = open(&mut operator(&both), &in_time, RETIRED);
    assert_eq!(refused, Err(Refusal::RetiredKey));
    let kept = Epoch {
        retires_at: None,
        ..FIRST
    };
    let too_late = seal(&mut brain(&[kept]), 6, RETIRED);
    let refused = open(&mut operator(&both), &too_late, RETIRED);
    assert_eq!(refused, Err(Refusal::RetiredKey));
    let dropped = open(&mut operator(&[SECOND]), &too_late, RETIRED);
    assert_eq!(dropped, Err(Refusal::UnknownKey));
}

#[test]
fn nobody_seals_with_a_retired_key() {
    let mut late = brain(&[FIRST]);
    let context = Context::first(RETIRED, EnvelopeId([1; 16]));
    let refused = late.seal(&BRAIN_NOTICE, None, &warning(), context);
    assert!(matches!(refused, Err(SealError::NoAddressee(_))));
}

/// The record takes facts late: what an epoch sealed in its time stays a fact afterwards.
#[test]
fn a_fact_counts_by_the_time_of_its_seal() {
    let kept = Epoch {
        retires_at: None,
        ..FIRST
    };
    let mut sealer = brain(&[kept]);
    let in_time = seal(&mut sealer, 1, RETIRED.minus(Span(1)));
    let too_late = seal(&mut sealer, 2, RETIRED);
    let audit = Verifier::new(realm(), name("audit"), NOW, ring("brain", &[FIRST, SECOND]));
    let open = |sealed: &Sealed| audit.open_fact(&BRAIN_NOTICE, &sealed.subject, &sealed.frame);
    assert_eq!(open(&in_time).unwrap().epoch(), 1);
    assert_eq!(open(&too_late).err(), Some(Refusal::RetiredKey));
}

/// The record goes on with the newest start of a source too.
#[test]
fn a_fact_of_a_start_that_comes_after_it_is_refused() {
    let audit = Verifier::new(realm(), name("audit"), NOW, ring("brain", &[FIRST]));
    let open = |boot: u64| {
        let mut sealer = Sealer::new(realm(), name("brain"), boot, ring("brain", &[FIRST]));
        let sealed = seal(&mut sealer, 1, NOW);
        let opened = audit.open_fact(&BRAIN_NOTICE, &sealed.subject, &sealed.frame);
        opened.map(|fact| fact.header().boot)
    };
    assert_eq!(open(NOW.0 + 2_000_000), Ok(NOW.0 + 2_000_000));
    assert_eq!(open(NOW.0 + 2_000_001).err(), Some(Refusal::Boot));
    assert_eq!(open(u64::MAX).err(), Some(Refusal::Boot));
}

#[test]
fn other_keys_change_neither_places_nor_memory() {
    let mut sealer = brain(&[FIRST]);
    let mut reader = operator(&[FIRST]);
    let first = seal(&mut sealer, 1, NOW);
    assert!(open(&mut reader, &first, NOW).is_ok());
    sealer.set_ring(ring("brain", &[FIRST, SECOND]));
    reader.set_ring(ring("brain", &[FIRST, SECOND]));
    let second = seal(&mut sealer, 2, SWITCH);
    assert_eq!((first.seq, second.seq), (1, 2));
    assert_eq!(open(&mut reader, &second, SWITCH), Ok((2, false)));
    // The same place in the channel with other bytes is still a replay.
    let again = seal(&mut brain(&[FIRST, SECOND]), 3, SWITCH);
    assert_eq!(open(&mut reader, &again, SWITCH), Err(Refusal::Replay));
}

fn status() -> ExecutionStatus {
    ExecutionStatus {
        loss_rolling: "0".parse().unwrap(),
        hard_limits: Hash([1; 32]),
        orders_unconfirmed: 0,
        halts: vec![],
        kill_confirmed_ms: None,
        kill: KillState::Armed,
        may_trade: true,
        reason: None,
        policy: Hash([7; 32]),
        day: 20_000,
        loss: Usd::ZERO,
        loss_max: "123456.789".parse().unwrap(),
        exposures: Vec::new(),
        positions: Vec::new(),
        orders: Vec::new(),
        orders_open: 0,
        orders_unknown: 0,
        fills: 0,
        equity: Some(portcullis_domain::Usd::ZERO),
        drawdown: portcullis_domain::Usd::ZERO,
        losses: vec![],
        network: Default::default(),
        signer: Default::default(),
    }
}

fn execution() -> Sealer {
    Sealer::new(realm(), name("execution"), 1, ring("execution", &[FIRST]))
}

fn sealed_status(content_key: u8) -> Sealed {
    let mut context = Context::first(NOW, EnvelopeId([9; 16]));
    context.content_key = Some(ContentKey::from_random([content_key; 32]));
    execution()
        .seal(&EXECUTION_STATUS, None, &status(), context)
        .unwrap()
}

fn read_as(reader: &str, keys: KeyRing, sealed: &Sealed) -> Result<ExecutionStatus, Refusal> {
    let mut verifier = Verifier::new(realm(), name(reader), NOW, keys);
    let opened = verifier.open(&EXECUTION_STATUS, &sealed.subject, &sealed.frame, NOW)?;
    Ok(opened.either().message().clone())
}

#[test]
fn every_addressee_reads_a_confidential_message_and_nobody_else_does() {
    let sealed = sealed_status(1);
    for reader in ["risk-guard", "brain", "operator-dev"] {
        let read = read_as(reader, ring("execution", &[FIRST]), &sealed);
        assert_eq!(read, Ok(status()), "{reader}");
    }
    let bystander = read_as("audit", ring("execution", &[FIRST]), &sealed);
    assert_eq!(bystander.err(), Some(Refusal::NoSeal));
    // Whoever runs the bus sees the bytes, and in them nothing that the message says.
    let clear = "123456.789".as_bytes();
    let seen = |frame: &[u8]| frame.windows(clear.len()).any(|part| part == clear);
    assert!(!seen(&sealed.frame));
    let (header, _) = inspect(&sealed.frame).unwrap();
    assert_eq!(
        header.kind, "execution-status",
        "the envelope stays readable"
    );
    assert_ne!(sealed.frame, sealed_status(2).frame);
}

#[test]
fn a_confidential_message_needs_a_fresh_key() {
    let context = Context::first(NOW, EnvelopeId([9; 16]));
    let refused = execution().seal(&EXECUTION_STATUS, None, &status(), context);
    assert!(matches!(refused, Err(SealError::NoContentKey(_))));
}

/// Every byte of a confidential frame stands under a seal, except the other addressees' seals.
#[test]
fn a_changed_confidential_message_is_refused() {
    let sealed = sealed_status(1);
    let honest = status();
    for position in 0..sealed.frame.len() {
        let mut bent = sealed.clone();
        bent.frame[position] ^= 1;
        if let Ok(read) = read_as("operator-dev", ring("execution", &[FIRST]), &bent) {
            assert_eq!(read, honest, "byte {position}");
        }
    }
}

fn heartbeat(keys: KeyRing) -> Result<Sealed, SealError> {
    let beat = Heartbeat {
        kill: KillState::Armed,
        policy: Hash([7; 32]),
        posture: portcullis_domain::Posture::Normal,
    };
    let mut sealer = Sealer::new(realm(), name("risk-guard"), 1, keys);
    sealer.seal(
        &HEARTBEAT,
        None,
        &beat,
        Context::first(NOW, EnvelopeId([9; 16])),
    )
}

/// Whoever has an epoch's root has every link key. The licence to trade is not among them.
#[test]
fn link_keys_alone_make_no_heartbeat() {
    let (guard, thief) = (Signer::from_seed(&[1; 32]), Signer::from_seed(&[2; 32]));
    let links = || ring("risk-guard", &[FIRST]);
    let signing = |seed: u8| {
        let mut keys = links();
        keys.sign_with(Signer::from_seed(&[seed; 32]));
        keys
    };
    let trusting = |keys: &[&Signer]| {
        let mut trusting = links();
        for key in keys {
            trusting.trust(name("risk-guard"), key.verifying());
        }
        trusting
    };
    let open = |sealed: &Sealed, keys: KeyRing| {
        Verifier::new(realm(), name("brain"), NOW, keys)
            .open(&HEARTBEAT, &sealed.subject, &sealed.frame, NOW)
            .map(|received| received.either().message().kill)
    };
    assert!(matches!(
        heartbeat(links()),
        Err(SealError::NoSigningKey(_))
    ));
    let (honest, forged) = (
        heartbeat(signing(1)).unwrap(),
        heartbeat(signing(2)).unwrap(),
    );
    assert_eq!(open(&honest, trusting(&[&guard])), Ok(KillState::Armed));
    assert_eq!(open(&forged, trusting(&[&guard])), Err(Refusal::Author));
    assert_eq!(open(&honest, trusting(&[])), Err(Refusal::Author));
    // While a key is exchanged, both count.
    for sealed in [&honest, &forged] {
        assert_eq!(
            open(sealed, trusting(&[&thief, &guard])),
            Ok(KillState::Armed)
        );
    }
}

/// The key of a link is not enough to shut its author out by naming a start that never was.
#[test]
fn a_heartbeat_that_its_author_did_not_sign_takes_no_place() {
    let link = |boot: u64, seed: u8| {
        let mut keys = ring("risk-guard", &[FIRST]);
        keys.sign_with(Signer::from_seed(&[seed; 32]));
        Sealer::new(realm(), name("risk-guard"), boot, keys)
    };
    let beat = Heartbeat {
        kill: KillState::Armed,
        policy: Hash([7; 32]),
        posture: portcullis_domain::Posture::Normal,
    };
    let seal = |mut sealer: Sealer, number: u8| {
        let context = Context::first(NOW, EnvelopeId([number; 16]));
        sealer.seal(&HEARTBEAT, None, &beat, context).unwrap()
    };
    let mut keys = ring("risk-guard", &[FIRST]);
    keys.trust(name("risk-guard"), Signer::from_seed(&[1; 32]).verifying());
    let mut brain = Verifier::new(realm(), name("brain"), NOW, keys);
    let mut open = |sealed: &Sealed| {
        let opened = brain.open(&HEARTBEAT, &sealed.subject, &sealed.frame, NOW);
        opened.map(drop)
    };
    assert_eq!(open(&seal(link(NOW.0, 2), 1)), Err(Refusal::Author));
    assert_eq!(open(&seal(link(7, 1), 2)), Ok(()));
}
