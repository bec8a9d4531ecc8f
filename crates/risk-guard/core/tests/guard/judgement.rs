//! Whole judgements: sealed inputs in, verdicts, permits and heartbeats out.

use portcullis_domain::{Exposure, Hash, KillState, Order, Reason, Span, Symbol, Timestamp};
use portcullis_testkit::seals::{self, NOW};
use portcullis_wire::messages::{Heartbeat, Notice, Outcome, StrategyExposure};
use portcullis_wire::subjects::{EXECUTION_STATUS, PERMIT};
use risk_guard_core::{Fault, Input, RiskGuard, Settings};

use crate::scene::{ME, POLICY, Scene, sell, settings, status};

#[test]
fn a_permit_encloses_the_brains_order_byte_for_byte() {
    let mut scene = Scene::ready();
    let order = scene.order();
    let sealed = scene.sealed(&order);
    let frame = sealed.frame().to_vec();
    let judgement = scene.step(Input::Order(sealed)).judgement.unwrap();
    assert_eq!(judgement.verdict.outcome, Outcome::Passed);
    assert_eq!(
        (judgement.verdict.order, &judgement.verdict.order_frame),
        (order.id, &frame)
    );
    let permit = judgement.permit.unwrap();
    assert_eq!((&permit.order, permit.policy), (&frame, POLICY));
    // Execution opens both seals of it.
    let now = scene.now;
    let permit = scene.world.seal(now, &PERMIT, None, &permit);
    let (_, inside) = scene
        .world
        .open_permit("execution", now, &permit.frame)
        .unwrap();
    assert_eq!(inside.either().message(), &order);
}

#[test]
fn every_single_thing_missing_or_wrong_is_its_own_refusal() {
    type Breaks = fn(&mut Scene, &mut Order);
    let cases: [(&str, Breaks, Reason); 16] = [
        (
            "killed",
            |s, _| drop(s.step(Input::Kill(KillState::Triggered))),
            Reason::KillSwitch,
        ),
        (
            "another policy",
            |_, o| o.policy = Hash([8; 32]),
            Reason::PolicyMismatch,
        ),
        (
            "execution runs another policy",
            |s, _| {
                s.wait(1);
                let policy = Hash([8; 32]);
                s.status(portcullis_wire::messages::ExecutionStatus {
                    policy,
                    ..status(&[])
                });
            },
            Reason::PolicyMismatch,
        ),
        (
            "made long ago",
            |s, o| o.created_at = s.now.minus(Span::from_secs(2)),
            Reason::Expired,
        ),
        (
            "an instrument that is not listed",
            |_, o| o.symbol = Symbol::new("BTCUSDT").unwrap(),
            Reason::InstrumentNotAllowed,
        ),
        (
            "off the step",
            |_, o| o.quantity = "100.05".parse().unwrap(),
            Reason::VenueFilters,
        ),
        (
            "too small",
            |_, o| o.quantity = "1".parse().unwrap(),
            Reason::OrderTooSmall,
        ),
        (
            "too large",
            |_, o| o.quantity = "100000.1".parse().unwrap(),
            Reason::OrderTooLarge,
        ),
        (
            "too dear",
            |_, o| o.limit_price = "0.5051".parse().unwrap(),
            Reason::PriceCollar,
        ),
        (
            "too far away",
            |_, o| o.limit_price = "0.4499".parse().unwrap(),
            Reason::PriceCollar,
        ),
        (
            "too much",
            |_, o| o.quantity = "400.1".parse().unwrap(),
            Reason::OrderNotional,
        ),
        (
            "reduces nothing",
            |_, o| o.reduce_only = true,
            Reason::NotReducing,
        ),
        (
            "an old book",
            |s, o| {
                s.wait(1_001);
                s.status(status(&[]));
                o.created_at = s.now;
            },
            Reason::StaleMarketData,
        ),
        (
            "an old account",
            |s, o| {
                s.wait(1_001);
                s.book("0.4999", "0.5001");
                o.created_at = s.now;
            },
            Reason::PositionUnknown,
        ),
        (
            "a full position",
            |s, _| {
                s.wait(1);
                s.status(status(&[
                    ("500", Some("200"), None),
                    ("100", Some("100.1"), None),
                ]));
            },
            Reason::PositionNotional,
        ),
        (
            "as many open orders as may be",
            |s, _| {
                s.wait(1);
                let open = portcullis_wire::messages::ExecutionStatus {
                    orders_open: 50,
                    ..status(&[])
                };
                s.status(open);
            },
            Reason::TooManyOrders,
        ),
    ];
    for (name, breaks, expected) in cases {
        let mut scene = Scene::ready();
        let mut order = scene.order();
        breaks(&mut scene, &mut order);
        assert_eq!(scene.refusal(&order), Some(expected), "{name}");
    }
    let mut scene = Scene::ready();
    let order = scene.order();
    assert_eq!(scene.refusal(&order), None, "nothing broken");
}

#[test]
fn whatever_inputs_are_missing_nothing_is_permitted() {
    for missing in 1_u8..128 {
        let lacks = |bit: u8| missing & (1 << bit) != 0;
        let mut scene = Scene::new(settings());
        if lacks(0) {
            scene.now = NOW.plus(Span::from_millis(1_999));
        }
        let mid = "0.5".parse().unwrap();
        if !lacks(1) {
            scene.book_alone(&crate::scene::book("0.4999", "0.5001", scene.now));
        }
        if !lacks(5) {
            scene.trade(mid, "100");
        }
        if !lacks(6) {
            scene.closes(&[mid; 31]);
        }
        if !lacks(2) {
            scene.status(status(&[]));
        }
        if lacks(3) {
            scene.step(Input::Kill(KillState::Triggered));
        }
        let mut order = scene.order();
        if lacks(4) {
            order.policy = Hash([0; 32]);
        }
        assert!(scene.refusal(&order).is_some(), "lacking {missing:07b}");
    }
}

#[test]
fn a_guard_that_knows_nothing_says_so() {
    let mut scene = Scene::new(settings());
    let (now, order) = (scene.now, scene.order());
    let mid = "0.5".parse().unwrap();
    assert_eq!(scene.refusal(&order), Some(Reason::NoMarketData));
    scene.book_alone(&crate::scene::book("0.4999", "0.5001", now));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::NoRecentTrades));
    scene.trade(mid, "100");
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::PositionUnknown));
    assert_eq!(scene.guard.readiness(now), Err(Reason::PositionUnknown));
    scene.status(status(&[]));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::VolatilityUnknown));
    scene.closes(&[mid; 31]);
    let order = scene.order();
    assert_eq!(scene.refusal(&order), None);
    assert_eq!(scene.guard.readiness(now), Ok(()));
}

#[test]
fn what_an_earlier_run_permitted_is_waited_for() {
    let mut scene = Scene::new(settings());
    scene.now = NOW.plus(Span::from_millis(1_500));
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::WarmingUp));
    scene.wait(500);
    let order = scene.order();
    assert_eq!(
        scene.refusal(&order),
        Some(Reason::WarmingUp),
        "the account may lack an order"
    );
    scene.status(status(&[]));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), None);
}

#[test]
fn an_order_id_is_judged_once_even_in_a_new_envelope() {
    let mut scene = Scene::ready();
    let order = scene.order();
    assert_eq!(scene.refusal(&order), None);
    assert_eq!(scene.refusal(&order), Some(Reason::DuplicateOrder));
    let refused = Order {
        limit_price: "1".parse().unwrap(),
        ..scene.order()
    };
    assert_eq!(scene.refusal(&refused), Some(Reason::PriceCollar));
    let mended = Order {
        limit_price: "0.5".parse().unwrap(),
        ..refused
    };
    assert_eq!(scene.refusal(&mended), Some(Reason::DuplicateOrder));
}

#[test]
fn an_order_that_waited_too_long_in_its_envelope_is_expired() {
    let mut scene = Scene::ready();
    let order = scene.order();
    let sealed = scene.sealed(&order);
    scene.wait(2_000);
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    let judgement = scene.step(Input::Order(sealed)).judgement.unwrap();
    assert_eq!(judgement.verdict.outcome, Outcome::Refused(Reason::Expired));
}

#[test]
fn the_heartbeat_carries_the_switch_and_the_policy_and_comes_at_once_on_a_kill() {
    let mut scene = Scene::new(settings());
    let beat = |kill| {
        Some(Heartbeat {
            kill,
            policy: POLICY,
            posture: portcullis_domain::Posture::Normal,
        })
    };
    assert_eq!(scene.step(Input::Tick).heartbeat, beat(KillState::Armed));
    let killed = scene.step(Input::Kill(KillState::Triggered));
    assert_eq!(killed.heartbeat, beat(KillState::Triggered));
    assert_eq!(
        scene.step(Input::Tick).heartbeat,
        beat(KillState::Triggered)
    );
    assert_eq!(scene.guard.kill(), KillState::Triggered);
}

#[test]
fn a_guard_that_starts_killed_stays_killed() {
    let killed = Settings {
        kill: KillState::Triggered,
        ..settings()
    };
    let mut scene = Scene::new(killed);
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::KillSwitch));
}

#[test]
fn an_account_that_contradicts_itself_is_complained_about_and_not_taken() {
    let mut scene = Scene::ready();
    scene.wait(900);
    let mut twice = status(&[("900", None, None)]);
    twice.exposures.push(twice.exposures[0].clone());
    let notices = scene.status(twice.clone()).notices;
    let [Notice::Refused { reason, detail }] = &notices[..] else {
        panic!("{notices:?}")
    };
    assert_eq!(*reason, Reason::PositionUnknown);
    assert!(detail.as_str().contains("two rows"), "{detail}");
    assert_eq!(scene.status(twice.clone()).notices.len(), 1);
    assert_eq!(scene.status(twice).notices, [], "at most twice a second");
    scene.wait(200);
    scene.book("0.4999", "0.5001");
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::PositionUnknown));
}

#[test]
fn late_news_does_not_replace_newer_news() {
    let mut scene = Scene::ready();
    let now = scene.now;
    let mut old = status(&[]);
    old.exposures.push(StrategyExposure {
        strategy: "sample".parse().unwrap(),
        symbol: crate::scene::symbol(),
        position: Exposure::FLAT,
        open_buy: None,
        open_sell: None,
        orders_open: 0,
        highest_buy: None,
        lowest_sell: None,
    });
    let old = scene.world.verified(ME, now, &EXECUTION_STATUS, None, &old);
    let old_book = crate::scene::book("0.9999", "1.0001", now);
    let old_book = scene.world.verified(
        ME,
        now,
        &portcullis_wire::subjects::BOOK,
        Some("XRPUSDT"),
        &old_book,
    );
    scene.wait(100);
    scene.status(status(&[("1000", None, None)]));
    scene.book("0.4999", "0.5001");
    scene.step(Input::Status(old));
    scene.step(Input::Book(old_book));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::PositionNotional));
    let order = sell(scene.order(), "100");
    assert_eq!(scene.refusal(&order), None, "0.5 is near the newer book");
}

#[test]
fn a_sender_whose_clock_is_ahead_does_not_stay_young_for_longer() {
    let mut scene = Scene::new(settings());
    let ahead = scene.now.plus(Span::from_secs(2));
    let book = crate::scene::book("0.4999", "0.5001", ahead);
    let subject = &portcullis_wire::subjects::BOOK;
    let sealed = scene.world.seal(ahead, subject, Some("XRPUSDT"), &book);
    let book = scene
        .world
        .open(ME, scene.now, subject, &sealed)
        .unwrap()
        .either();
    scene.step(Input::Book(book));
    scene.wait(1_001);
    scene.status(status(&[]));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::StaleMarketData));
}

#[test]
fn time_that_runs_backwards_stops_the_guard_or_stands_still() {
    let mut guard = RiskGuard::new(settings());
    let later = NOW.plus(Span::from_secs(10));
    guard.step(later, Input::Tick).unwrap();
    guard
        .step(later.minus(Span::from_secs(2)), Input::Tick)
        .unwrap();
    let fault = guard
        .step(later.minus(Span(2_000_001)), Input::Tick)
        .unwrap_err();
    assert_eq!(fault, Fault::TimeReversed(Span(2_000_001)));
}

#[test]
fn a_clock_that_is_set_back_a_little_makes_nothing_younger() {
    let mut scene = Scene::ready();
    scene.wait(1_500);
    scene.status(status(&[]));
    scene.now = Timestamp(scene.now.0 - 1_000_000);
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::StaleMarketData));
}

#[test]
fn amounts_beyond_the_range_are_refused() {
    let mut scene = Scene::ready();
    scene.wait(1);
    scene.status(status(&[("999999999999999.9", None, None)]));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::Overflow));
    let order = Order {
        quantity: "1".parse().unwrap(),
        ..seals::order(7, scene.now)
    };
    assert_eq!(scene.refusal(&order), Some(Reason::OrderTooSmall));
}

#[test]
fn an_order_of_a_strategy_that_is_not_configured_gets_no_verdict_and_raises_an_alarm() {
    let mut scene = Scene::ready();
    let order = Order {
        strategy: "other".parse().unwrap(),
        ..scene.order()
    };
    let order = scene.sealed(&order);
    let effects = scene.step(Input::Order(order));
    assert!(effects.judgement.is_none());
    assert_eq!(effects.unanswered, Some(Reason::UnknownStrategy));
    let [
        Notice::Refused {
            reason: Reason::UnknownStrategy,
            detail,
        },
    ] = &effects.notices[..]
    else {
        panic!("{:?}", effects.notices)
    };
    assert!(detail.as_str().contains("of other"), "{detail}");
}
