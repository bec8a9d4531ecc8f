//! What the signer remembers: what it signed, that it was stopped, and what it refuses to forget.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod desk;

use desk::{Desk, POLICY, config, decision, refusal, text};
use portcullis_domain::{Hash, KillCause, KillState, OrderId, Reason, Span, Timestamp};
use portcullis_testkit::World;
use portcullis_testkit::seals::{self, NOW};
use portcullis_wire::Text;
use portcullis_wire::messages::Notice;
use proptest::prelude::*;
use signer_core::{Decision, Engine, Fault, Input, Record};

#[test]
fn the_same_request_again_gets_the_same_text_and_no_second_record() {
    let mut desk = Desk::open();
    let order = desk.order(1);
    let request = desk.ask(&order);
    let sealed = desk.seal(&request);
    let first = desk.bring(&sealed);
    let duplicate = desk.bring(&sealed);
    let resealed = desk.send(&request);
    for again in [&duplicate, &resealed] {
        assert_eq!(text(again), text(&first));
        assert!(again.records.is_empty());
    }
}

#[test]
fn a_duplicate_of_a_refused_request_is_not_acted_on() {
    let mut desk = Desk::open();
    desk.beat(KillState::Triggered, POLICY);
    let order = desk.order(1);
    let request = desk.ask(&order);
    let sealed = desk.seal(&request);
    assert_eq!(refusal(&desk.bring(&sealed)), Some(Reason::KillSwitch));
    desk.beat(KillState::Armed, POLICY);
    let effects = desk.bring(&sealed);
    assert!(effects.answer.is_none() && effects.records.is_empty());
}

#[test]
fn the_rate_and_the_journal_have_their_limits() {
    let mut desk = Desk::open();
    for number in 1..=3 {
        let order = desk.order(number);
        assert_eq!(refusal(&desk.place(&order)), None, "order {number}");
    }
    let fourth = desk.order(4);
    assert_eq!(refusal(&desk.place(&fourth)), Some(Reason::RateLimit));
    desk.wait(Span::from_secs(1));
    desk.beat(KillState::Armed, POLICY);
    for number in 4..=5 {
        let order = desk.order(number);
        assert_eq!(refusal(&desk.place(&order)), None, "order {number}");
    }
    assert_eq!(
        desk.engine.standstill(desk.now),
        Some(Reason::TooManyOrders)
    );
    let sixth = desk.order(6);
    assert_eq!(refusal(&desk.place(&sixth)), Some(Reason::TooManyOrders));
}

#[test]
fn an_operators_kill_stops_placing_at_once_and_says_so() {
    let mut desk = Desk::open();
    let effects = desk.kill("operator-alice", "operator-alice", "dev");
    assert_eq!(
        effects.trigger.as_ref().map(Text::as_str),
        Some("operator-alice: fire in the server room")
    );
    assert!(matches!(
        effects.notices.as_slice(),
        [Notice::KillSwitch {
            state: KillState::Triggered,
            cause: KillCause::Operator,
            ..
        }]
    ));
    let order = desk.order(1);
    assert_eq!(refusal(&desk.place(&order)), Some(Reason::KillSwitch));
    let again = desk.kill("operator-alice", "operator-alice", "dev");
    assert!(again.trigger.is_some() && again.notices.is_empty());
}

#[test]
fn a_kill_that_no_operator_signed_for_this_realm_is_a_violation() {
    let cases = [
        ("operator-alice", "operator-bob", "dev", "BAD_SIGNATURE"),
        ("operator-bob", "operator-alice", "dev", "WRONG_OPERATOR"),
        ("operator-alice", "operator-alice", "prod", "WRONG_REALM"),
    ];
    for (claimed, signer, realm, expected) in cases {
        let mut desk = Desk::open();
        let effects = desk.kill(claimed, signer, realm);
        assert!(effects.trigger.is_none(), "{expected}");
        let [Notice::Violation { code, .. }] = effects.notices.as_slice() else {
            panic!("{:?}", effects.notices)
        };
        assert_eq!(code.as_str(), expected);
        assert_eq!(desk.engine.kill(), KillState::Armed, "{expected}");
    }
    let mut desk = Desk::open();
    let mut strangers = config(&desk.world);
    strangers.operators.clear();
    desk.engine = Engine::new(strangers, KillState::Armed, &[]).unwrap();
    let effects = desk.kill("operator-alice", "operator-alice", "dev");
    assert!(matches!(
        effects.notices.as_slice(),
        [Notice::Violation { code, .. }] if code.as_str() == "UNKNOWN_OPERATOR"
    ));
}

#[test]
fn after_a_restart_the_same_text_is_signed_again_and_no_other() {
    let mut desk = Desk::open();
    let order = desk.order(1);
    let request = desk.ask(&order);
    let first = desk.send(&request);
    let mut engine = Engine::new(config(&desk.world), KillState::Armed, &first.records).unwrap();
    std::mem::swap(&mut engine, &mut desk.engine);
    desk.beat(KillState::Armed, POLICY);
    let again = desk.send(&request);
    assert_eq!(text(&again), text(&first));
    assert!(again.records.is_empty());
    desk.wait(Span::from_millis(1));
    let other = desk.ask(&order);
    assert_eq!(refusal(&desk.send(&other)), Some(Reason::DuplicateOrder));
    assert_eq!(desk.engine.orders(), 1);
}

#[test]
fn a_journal_that_cannot_be_trusted_stops_the_signer() {
    let world = World::new(NOW);
    let record = |text: u8| {
        let (order, at) = (OrderId([1; 16]), NOW);
        let record = Record::Reserved {
            order,
            text: Hash([text; 32]),
            at,
        };
        portcullis_wire::codec::encode(&record).unwrap()
    };
    let open = |records: &[Vec<u8>]| Engine::new(config(&world), KillState::Armed, records).err();
    assert!(open(&[record(1), record(1)]).is_none());
    assert!(matches!(
        open(&[record(1), record(2)]),
        Some(Fault::SignedTwice(_))
    ));
    let mut longer = record(2);
    longer.push(0);
    assert!(matches!(
        open(&[record(1), longer]),
        Some(Fault::Record { index: 1, .. })
    ));
}

#[test]
fn a_clock_that_goes_back_stops_the_signer() {
    let mut desk = Desk::open();
    let beat = |desk: &mut Desk, now| {
        use portcullis_wire::messages::Heartbeat;
        use portcullis_wire::subjects::HEARTBEAT;
        let beat = Heartbeat {
            kill: KillState::Armed,
            policy: POLICY,
            posture: portcullis_domain::Posture::Normal,
        };
        let beat = desk
            .world
            .verified("signer", desk.now, &HEARTBEAT, None, &beat);
        desk.engine.step(now, Input::Heartbeat(beat))
    };
    assert!(beat(&mut desk, Timestamp(NOW.0 - 2_000_000)).is_ok());
    desk.beat(KillState::Armed, POLICY);
    let back = beat(&mut desk, Timestamp(NOW.0 - 2_000_001));
    assert!(matches!(back, Err(Fault::TimeReversed(_))));
}

proptest! {
    #[test]
    fn one_order_is_never_signed_as_two_texts(
        asks in prop::collection::vec((1_u64..4, 0_u64..3, any::<bool>()), 1..30),
    ) {
        let mut desk = Desk::open();
        let mut signed = std::collections::BTreeMap::new();
        let mut records = Vec::new();
        for (number, later, restart) in asks {
            if restart {
                desk.engine =
                    Engine::new(config(&desk.world), KillState::Armed, &records).unwrap();
            }
            desk.wait(Span::from_millis(later));
            desk.beat(KillState::Armed, POLICY);
            let order = seals::order(number, NOW);
            let effects = desk.place(&order);
            records.extend(effects.records.iter().cloned());
            match decision(&effects) {
                Decision::Sign { text, .. } => {
                    let before = signed.insert(order.id, text.clone());
                    prop_assert!(before.is_none_or(|before| before == *text));
                }
                Decision::Refuse(reason) => prop_assert_eq!(*reason, Reason::DuplicateOrder),
            }
        }
    }
}
