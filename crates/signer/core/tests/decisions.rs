//! Every rule of the signer, broken once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod desk;

use desk::{Desk, POLICY, config, decision, refusal};
use portcullis_domain::{
    Hash, KillState, Order, OrderId, Posture, Reason, Side, Span, Symbol, Timestamp, VenueOrderId,
};
use portcullis_testkit::seals::{self, NOW};
use portcullis_venue::bybit::{self, Action, Authority};
use portcullis_wire::Text;
use portcullis_wire::messages::{Outcome, SignAction, SignRequest};
use proptest::prelude::*;
use signer_core::{Decision, Engine, Input};

#[test]
fn a_permitted_order_is_reserved_and_signed_as_what_it_says() {
    let mut desk = Desk::open();
    let order = desk.order(1);
    let effects = desk.place(&order);
    let expected = format!(
        "{}TRADE5000{}",
        NOW.as_millis(),
        bybit::place(&order).payload
    );
    assert_eq!(
        decision(&effects),
        &Decision::Sign {
            authority: Authority::Trading,
            text: expected,
            places: true
        }
    );
    assert_eq!(
        effects.records.len(),
        1,
        "the reservation has to be on disk first"
    );
    let fact = &effects.answer.as_ref().unwrap().fact;
    assert_eq!(
        (fact.order, fact.outcome),
        (Some(order.id), Outcome::Passed)
    );
    assert_eq!(fact.action.as_str(), "place");
    assert_eq!(desk.engine.counts().placed, 1);
}

#[test]
fn each_broken_rule_is_refused_with_its_own_reason() {
    type Break = fn(&mut Desk) -> SignRequest;
    fn ask(desk: &mut Desk) -> SignRequest {
        let order = desk.order(1);
        desk.ask(&order)
    }
    let cases: [(&str, Reason, Break); 13] = [
        (
            "the guard is silent for more than 1 s",
            Reason::GuardSilent,
            |desk| {
                desk.wait(Span(1_000_001));
                ask(desk)
            },
        ),
        ("the guard's switch is pulled", Reason::KillSwitch, |desk| {
            desk.beat(KillState::Triggered, POLICY);
            ask(desk)
        }),
        (
            "the guard runs another policy",
            Reason::PolicyMismatch,
            |desk| {
                desk.beat(KillState::Armed, Hash([8; 32]));
                ask(desk)
            },
        ),
        (
            "the permit is for another policy",
            Reason::PolicyMismatch,
            |desk| {
                let order = desk.order(1);
                let permit = desk
                    .world
                    .permit_with_policy(desk.now, &order, Hash([8; 32]));
                let mut request = ask(desk);
                request.action = SignAction::Place {
                    permit: permit.frame,
                };
                request
            },
        ),
        (
            "the brain runs another policy",
            Reason::PolicyMismatch,
            |desk| {
                let mut order = desk.order(1);
                order.policy = Hash([8; 32]);
                let permit = desk.world.permit_with_policy(desk.now, &order, POLICY);
                let mut request = desk.ask(&order);
                request.action = SignAction::Place {
                    permit: permit.frame,
                };
                request
            },
        ),
        ("the permit is no permit", Reason::OrderSeal, |desk| {
            let mut request = ask(desk);
            request.action = SignAction::Place {
                permit: vec![1, 2, 3],
            };
            request
        }),
        ("a bit of the permit is turned", Reason::OrderSeal, |desk| {
            let mut request = ask(desk);
            if let SignAction::Place { permit } = &mut request.action {
                let middle = permit.len() / 2;
                permit[middle] ^= 1;
            }
            request
        }),
        ("the permit is too old", Reason::OrderSeal, |desk| {
            let request = ask(desk);
            desk.wait(Span::from_secs(2));
            desk.beat(KillState::Armed, POLICY);
            SignRequest {
                timestamp_ms: desk.now.as_millis(),
                ..request
            }
        }),
        ("the time is too far ahead", Reason::ClockSkew, |desk| {
            let mut request = ask(desk);
            request.timestamp_ms += 5_001;
            request
        }),
        ("the time is too far behind", Reason::ClockSkew, |desk| {
            let mut request = ask(desk);
            request.timestamp_ms -= 5_001;
            request
        }),
        (
            "the bytes say ten times as much",
            Reason::BytesDiffer,
            |desk| {
                let mut order = desk.order(1);
                let mut request = desk.ask(&order);
                order.quantity = "100".parse().unwrap();
                request.payload = bybit::place(&order).payload.into_bytes();
                request
            },
        ),
        ("the bytes cancel instead", Reason::BytesDiffer, |desk| {
            let order = desk.order(1);
            let mut request = desk.ask(&order);
            request.payload = bybit::cancel(order.symbol, order.id).payload.into_bytes();
            request
        }),
        (
            "the order was signed at another time",
            Reason::DuplicateOrder,
            |desk| {
                let order = desk.order(1);
                assert_eq!(refusal(&desk.place(&order)), None);
                desk.wait(Span::from_millis(1));
                desk.ask(&order)
            },
        ),
    ];
    for (rule, reason, broken) in cases {
        let mut desk = Desk::open();
        let request = broken(&mut desk);
        let effects = desk.send(&request);
        assert_eq!(refusal(&effects), Some(reason), "{rule}");
        assert!(effects.records.is_empty(), "{rule}");
        let fact = &effects.answer.as_ref().unwrap().fact;
        assert_eq!(fact.outcome, Outcome::Refused(reason), "{rule}");
        assert_eq!(
            desk.engine.counts().refused.get(&reason),
            Some(&1),
            "{rule}"
        );
    }
}

#[test]
fn a_tightened_order_is_signed_at_the_worst_price_and_at_no_other() {
    for (side, worst) in [(Side::Buy, "0.49"), (Side::Sell, "0.51")] {
        let mut desk = Desk::open();
        let order = Order {
            side,
            ..desk.order(1)
        };
        let tightened = Order {
            limit_price: worst.parse().unwrap(),
            ..order.clone()
        };
        let original = desk.ask_at(&order, worst, &order);
        assert_eq!(
            refusal(&desk.send(&original)),
            Some(Reason::BytesDiffer),
            "{side}: the order's own limit"
        );
        let request = desk.ask_at(&order, worst, &tightened);
        let effects = desk.send(&request);
        let payload = bybit::place(&tightened).payload;
        assert!(
            matches!(decision(&effects), Decision::Sign { text, .. } if text.ends_with(&payload)),
            "{side}: {effects:?}"
        );
    }
}

#[test]
fn a_worst_price_beyond_the_orders_own_limit_is_not_signed() {
    for (side, worst) in [(Side::Buy, "0.51"), (Side::Sell, "0.49")] {
        let mut desk = Desk::open();
        let order = Order {
            side,
            ..desk.order(1)
        };
        let loosened = Order {
            limit_price: worst.parse().unwrap(),
            ..order.clone()
        };
        for bytes_of in [&order, &loosened] {
            let request = desk.ask_at(&order, worst, bytes_of);
            let effects = desk.send(&request);
            assert_eq!(refusal(&effects), Some(Reason::OrderSeal), "{side}");
            assert!(effects.records.is_empty(), "{side}");
        }
    }
}

#[test]
fn an_emergency_signs_no_order_and_everything_else() {
    let mut desk = Desk::open();
    desk.beat_in(Posture::Emergency, KillState::Armed, POLICY);
    assert_eq!(
        desk.engine.standstill(desk.now),
        Some(Reason::PostureRestricts)
    );
    let order = desk.order(1);
    assert_eq!(refusal(&desk.place(&order)), Some(Reason::PostureRestricts));
    for request in others(&desk) {
        assert_eq!(refusal(&desk.send(&request)), None, "{:?}", request.action);
    }
    desk.beat_in(Posture::Defensive, KillState::Armed, POLICY);
    assert_eq!(refusal(&desk.place(&order)), None);
}

#[test]
fn says_beforehand_why_no_order_would_be_signed() {
    let mut desk = Desk::open();
    assert_eq!(desk.engine.standstill(desk.now), None);
    desk.wait(Span(1_000_001));
    assert_eq!(desk.engine.standstill(desk.now), Some(Reason::GuardSilent));
    desk.beat(KillState::Maintenance, POLICY);
    assert_eq!(desk.engine.standstill(desk.now), Some(Reason::KillSwitch));
}

#[test]
fn no_heartbeat_at_all_is_a_silent_guard() {
    let mut desk = Desk::open();
    desk.engine = Engine::new(config(&desk.world), KillState::Armed, &[]).unwrap();
    let order = desk.order(1);
    assert_eq!(refusal(&desk.place(&order)), Some(Reason::GuardSilent));
}

#[test]
fn a_heartbeat_that_was_late_prolongs_nothing() {
    use portcullis_wire::messages::Heartbeat;
    use portcullis_wire::subjects::HEARTBEAT;
    let mut desk = Desk::open();
    desk.engine = Engine::new(config(&desk.world), KillState::Armed, &[]).unwrap();
    let beat = Heartbeat {
        kill: KillState::Armed,
        policy: POLICY,
        posture: portcullis_domain::Posture::Normal,
    };
    let sealed = desk.world.seal(desk.now, &HEARTBEAT, None, &beat);
    desk.wait(Span(1_000_001));
    let late = desk
        .world
        .open("signer", desk.now, &HEARTBEAT, &sealed)
        .unwrap()
        .either();
    desk.engine.step(desk.now, Input::Heartbeat(late)).unwrap();
    let order = desk.order(1);
    assert_eq!(refusal(&desk.place(&order)), Some(Reason::GuardSilent));
}

#[test]
fn a_heartbeat_that_was_overtaken_does_not_arm_again() {
    use portcullis_wire::messages::Heartbeat;
    use portcullis_wire::subjects::HEARTBEAT;
    let mut desk = Desk::open();
    let armed = Heartbeat {
        kill: KillState::Armed,
        policy: POLICY,
        posture: portcullis_domain::Posture::Normal,
    };
    let overtaken = desk.world.seal(desk.now, &HEARTBEAT, None, &armed);
    desk.beat(KillState::Triggered, POLICY);
    let overtaken = desk
        .world
        .open("signer", desk.now, &HEARTBEAT, &overtaken)
        .unwrap()
        .either();
    desk.engine
        .step(desk.now, Input::Heartbeat(overtaken))
        .unwrap();
    let order = desk.order(1);
    assert_eq!(refusal(&desk.place(&order)), Some(Reason::KillSwitch));
}

#[test]
fn a_permit_that_expires_while_it_waits_is_refused() {
    use portcullis_wire::subjects::SIGN;
    use signer_core::EnclosedPermit;
    let mut desk = Desk::open();
    let order = desk.order(1);
    let request = desk.ask(&order);
    let sealed = desk.seal(&request);
    let received = desk.world.open("signer", desk.now, &SIGN, &sealed).unwrap();
    let SignAction::Place { permit } = request.action else {
        panic!("not a request to place")
    };
    let (permit, order) = desk.world.open_permit("signer", desk.now, &permit).unwrap();
    let permit = Some(Box::new(EnclosedPermit {
        permit: permit.either(),
        order: order.either(),
    }));
    desk.wait(Span::from_secs(2));
    desk.beat(KillState::Armed, POLICY);
    let input = Input::Request {
        request: received,
        permit,
    };
    assert_eq!(
        refusal(&desk.engine.step(desk.now, input).unwrap()),
        Some(Reason::Expired)
    );
}

#[test]
fn a_permit_for_another_order_than_the_request_encloses_is_refused() {
    use portcullis_wire::subjects::SIGN;
    use signer_core::EnclosedPermit;
    let mut desk = Desk::open();
    let (first, second) = (desk.order(1), desk.order(2));
    let request = desk.ask(&first);
    let sealed = desk.seal(&request);
    let SignAction::Place { permit: own } = &request.action else {
        panic!("not a request to place")
    };
    let foreign = desk.world.permit(desk.now, &second).frame;
    let mut open = |frame: &[u8]| {
        let (permit, order) = desk.world.open_permit("signer", desk.now, frame).unwrap();
        EnclosedPermit {
            permit: permit.either(),
            order: order.either(),
        }
    };
    let (one, other) = (open(own), open(&foreign));
    let mixed = EnclosedPermit {
        permit: one.permit.clone(),
        order: other.order.clone(),
    };
    for enclosed in [other, mixed] {
        let received = desk
            .world
            .open("signer", desk.now, &SIGN, &sealed)
            .unwrap()
            .either();
        let received = portcullis_wire::Received::Fresh(received);
        let input = Input::Request {
            request: received,
            permit: Some(Box::new(enclosed)),
        };
        assert_eq!(
            refusal(&desk.engine.step(desk.now, input).unwrap()),
            Some(Reason::OrderSeal)
        );
    }
}

/// Everything but placing, each as an honest execution asks for it.
fn others(desk: &Desk) -> Vec<SignRequest> {
    let symbol = Symbol::new("XRPUSDT").unwrap();
    let order = OrderId([9; 16]);
    let venue_order = VenueOrderId::new("5f0c1b2e-1111").unwrap();
    let since = Timestamp::from_millis(1_790_000_000_000);
    let cursor = Text::new("a%3A1").unwrap();
    let expires_ms = desk.now.as_millis() + 10_000;
    let page = || cursor.clone();
    vec![
        desk.ask_other(
            SignAction::Cancel { symbol, order },
            &Action::Cancel { symbol, order },
        ),
        desk.ask_other(
            SignAction::CancelAll { symbol },
            &Action::CancelAll { symbol },
        ),
        desk.ask_other(
            SignAction::QueryOrder { symbol, order },
            &Action::QueryOrder { symbol, order },
        ),
        desk.ask_other(
            SignAction::QueryOpenOrders { cursor: page() },
            &Action::QueryOpenOrders { cursor: "a%3A1" },
        ),
        desk.ask_other(
            SignAction::QueryPositions { cursor: page() },
            &Action::QueryPositions { cursor: "a%3A1" },
        ),
        desk.ask_other(
            SignAction::QueryExecutions {
                since,
                cursor: page(),
            },
            &Action::QueryExecutions {
                since,
                cursor: "a%3A1",
            },
        ),
        desk.ask_other(
            SignAction::CancelForeign {
                symbol,
                venue_order,
            },
            &Action::CancelForeign {
                symbol,
                venue_order,
            },
        ),
        desk.ask_other(
            SignAction::CancelOnDisconnect { after_s: 10 },
            &Action::CancelOnDisconnect { after_s: 10 },
        ),
        desk.ask_other(SignAction::QueryWallet, &Action::QueryWallet),
        desk.ask_other(
            SignAction::QueryMovements {
                since,
                cursor: page(),
            },
            &Action::QueryMovements {
                since,
                cursor: "a%3A1",
            },
        ),
        desk.ask_other(
            SignAction::StreamLogin { expires_ms },
            &Action::StreamLogin { expires_ms },
        ),
    ]
}

#[test]
fn the_venues_own_switch_is_set_within_its_bounds_only() {
    let mut desk = Desk::open();
    for (after_s, refused) in [
        (0, Some(Reason::HardLimit)),
        (2, Some(Reason::HardLimit)),
        (3, None),
        (300, None),
        (301, Some(Reason::HardLimit)),
        (u16::MAX, Some(Reason::HardLimit)),
    ] {
        let request = desk.ask_other(
            SignAction::CancelOnDisconnect { after_s },
            &Action::CancelOnDisconnect { after_s },
        );
        assert_eq!(refusal(&desk.send(&request)), refused, "{after_s}");
    }
}

#[test]
fn whatever_adds_no_risk_goes_on_when_the_switch_is_pulled_and_the_guard_is_silent() {
    let mut desk = Desk::with_records(KillState::Triggered, &[]);
    desk.wait(Span::from_secs(3_600));
    for request in others(&desk) {
        assert_eq!(refusal(&desk.send(&request)), None, "{:?}", request.action);
    }
    desk.beat(KillState::Armed, POLICY);
    let order = desk.order(1);
    assert_eq!(refusal(&desk.place(&order)), Some(Reason::KillSwitch));
}

#[test]
fn other_bytes_and_other_times_are_refused_for_every_action() {
    let mut desk = Desk::open();
    for request in others(&desk) {
        let mut longer = request.clone();
        longer.payload.push(b' ');
        assert_eq!(
            refusal(&desk.send(&longer)),
            Some(Reason::BytesDiffer),
            "{:?}",
            request.action
        );
        let early = SignRequest {
            timestamp_ms: request.timestamp_ms + 5_001,
            ..request.clone()
        };
        assert_eq!(
            refusal(&desk.send(&early)),
            Some(Reason::ClockSkew),
            "{:?}",
            request.action
        );
    }
}

#[test]
fn only_the_key_that_reads_logs_in_and_only_for_a_minute() {
    let mut desk = Desk::open();
    let now_ms = desk.now.as_millis();
    let cases = [
        (now_ms, Some(Reason::ClockSkew)),
        (now_ms + 60_001, Some(Reason::ClockSkew)),
        (now_ms + 60_000, None),
    ];
    for (expires_ms, expected) in cases {
        let request = desk.ask_other(
            SignAction::StreamLogin { expires_ms },
            &Action::StreamLogin { expires_ms },
        );
        let effects = desk.send(&request);
        assert_eq!(refusal(&effects), expected, "{expires_ms}");
        if expected.is_none() {
            let text = format!("GET/realtime{expires_ms}");
            let sign = Decision::Sign {
                authority: Authority::Reading,
                text,
                places: false,
            };
            assert_eq!(decision(&effects), &sign);
        }
    }
}

proptest! {
    #[test]
    fn any_other_bytes_are_refused(at in 0_usize..300, byte in any::<u8>(), cut in 0_usize..300) {
        let mut desk = Desk::open();
        let order = seals::order(1, desk.now);
        let honest = desk.ask(&order);
        let mut request = honest.clone();
        let length = request.payload.len();
        request.payload[at % length] = byte;
        request.payload.truncate(cut.max(1));
        let expected = (request.payload != honest.payload).then_some(Reason::BytesDiffer);
        prop_assert_eq!(refusal(&desk.send(&request)), expected);
    }
}

/// An operator whose key was taken away stops nobody any more, and one who was given a key does.
#[test]
fn only_the_operators_of_the_present_stop_it() {
    let mut desk = Desk::open();
    desk.engine.set_operators(std::collections::BTreeMap::new());
    let _ = desk.kill("operator-alice", "operator-alice", "dev");
    assert_eq!(desk.engine.kill(), KillState::Armed);
    let mut operators = desk.world.operators();
    // While a key is exchanged there is another one beside it.
    let other = desk.world.verifying("operator-bob");
    let alice = operators.values_mut().next().unwrap();
    alice.insert(0, other);
    desk.engine.set_operators(operators);
    let _ = desk.kill("operator-alice", "operator-alice", "dev");
    assert_eq!(desk.engine.kill(), KillState::Triggered);
}
