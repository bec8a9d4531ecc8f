//! Which proposals become orders, which orders, and why the others do not.

use brain_core::{Brain, Fault, Ignored, Input};
use portcullis_domain::{Hash, KillState, Order, Reason, RiskProfile, Side, Span, Symbol, Venue};
use portcullis_testkit::seals::NOW;
use portcullis_wire::messages::{ExecutionStatus, Notice, Outcome, Proposal, Size};
use portcullis_wire::order_id;
use portcullis_wire::subjects::{BOOK, ORDER};

use crate::scene::{ME, POLICY, Scene, book, of, proposal, sample, settings, status, symbol};

#[test]
fn a_proposal_becomes_an_order_with_the_id_that_its_author_can_compute() {
    let mut scene = Scene::ready();
    let sealed = scene.sealed("strategy-sample", &proposal());
    let (id, frame) = (order_id(sample(), sealed.id()), sealed.frame().to_vec());
    let decided = scene.step(Input::Proposal(sealed)).decided.unwrap();
    assert_eq!(decided.strategy, sample());
    assert_eq!(decided.decision.outcome, Outcome::Passed);
    assert_eq!(
        (decided.decision.order, decided.decision.proposal),
        (id, frame)
    );
    let expected = Order {
        id,
        strategy: sample(),
        venue: Venue::Bybit,
        symbol: symbol(),
        side: Side::Buy,
        quantity: "100".parse().unwrap(),
        limit_price: "0.5".parse().unwrap(),
        time_in_force: proposal().time_in_force,
        reduce_only: false,
        profile: RiskProfile::Conservative,
        policy: POLICY,
        created_at: scene.now,
    };
    assert_eq!(decided.order, Some(expected.clone()));
    // Risk-guard opens what the shell makes of it.
    let verified = scene
        .world
        .verified("risk-guard", scene.now, &ORDER, None, &expected);
    assert_eq!(verified.message(), &expected);
}

#[test]
fn sizes_by_value_and_without_a_price_at_the_widest_that_the_profile_allows() {
    let mut scene = Scene::ready();
    let by_value = Proposal {
        size: Size::Notional("100".parse().unwrap()),
        limit_price: None,
        ..proposal()
    };
    let order = scene.order(&by_value).unwrap();
    // Half a percent above 0.5; 100 buys 199.00497… of it.
    assert_eq!(order.limit_price, "0.5025".parse().unwrap());
    assert_eq!(order.quantity, "199".parse().unwrap());
}

#[test]
fn every_single_thing_missing_or_wrong_is_its_own_refusal() {
    type Breaks = fn(&mut Scene, &mut Proposal);
    let cases: [(&str, Breaks, Reason); 20] = [
        (
            "the guard is killed",
            |s, _| drop(s.heartbeat(KillState::Triggered, POLICY)),
            Reason::KillSwitch,
        ),
        (
            "the guard runs another policy",
            |s, _| drop(s.heartbeat(KillState::Armed, Hash([8; 32]))),
            Reason::PolicyMismatch,
        ),
        (
            "the guard is silent",
            |s, _| {
                s.wait(1_001);
                s.book("0.4999", "0.5001");
                s.status(status(None));
            },
            Reason::GuardSilent,
        ),
        (
            "execution is killed",
            |s, _| {
                let kill = KillState::Triggered;
                s.status(ExecutionStatus {
                    kill,
                    ..status(None)
                });
            },
            Reason::KillSwitch,
        ),
        (
            "execution runs another policy",
            |s, _| {
                let policy = Hash([8; 32]);
                s.status(ExecutionStatus {
                    policy,
                    ..status(None)
                });
            },
            Reason::PolicyMismatch,
        ),
        (
            "execution is silent",
            |s, _| {
                s.wait(1_001);
                s.heartbeat(KillState::Armed, POLICY);
                s.book("0.4999", "0.5001");
            },
            Reason::PositionUnknown,
        ),
        (
            "an old book",
            |s, _| {
                s.wait(1_001);
                s.heartbeat(KillState::Armed, POLICY);
                s.status(status(None));
            },
            Reason::StaleMarketData,
        ),
        (
            "an instrument that nobody may trade",
            |_, p| p.symbol = Symbol::new("DOGEUSDT").unwrap(),
            Reason::InstrumentNotAllowed,
        ),
        (
            "an instrument that this strategy may not trade",
            |_, p| p.symbol = Symbol::new("BTCUSDT").unwrap(),
            Reason::InstrumentNotAllowed,
        ),
        (
            "too dear for the profile",
            |_, p| p.limit_price = Some("0.5026".parse().unwrap()),
            Reason::PriceCollar,
        ),
        (
            "too cheap for the profile",
            |_, p| {
                p.side = Side::Sell;
                p.limit_price = Some("0.4974".parse().unwrap());
            },
            Reason::PriceCollar,
        ),
        (
            "too small",
            |_, p| p.size = Size::Quantity("9.9".parse().unwrap()),
            Reason::OrderTooSmall,
        ),
        (
            "too large for the venue",
            |_, p| p.size = Size::Quantity("100000.1".parse().unwrap()),
            Reason::OrderTooLarge,
        ),
        (
            "a price below the tick",
            |_, p| p.limit_price = Some("0.00001".parse().unwrap()),
            Reason::VenueFilters,
        ),
        (
            "more than the budget of an order",
            |_, p| p.size = Size::Quantity("400.1".parse().unwrap()),
            Reason::BudgetExceeded,
        ),
        (
            "more than the budget of an order at the middle",
            |_, p| {
                p.limit_price = Some("0.4".parse().unwrap());
                p.size = Size::Quantity("400.1".parse().unwrap());
            },
            Reason::BudgetExceeded,
        ),
        (
            "more than the budget of a position",
            |s, _| drop(s.status(status(Some(("500", Some("400.1"), None))))),
            Reason::BudgetExceeded,
        ),
        (
            "reduces nothing",
            |_, p| p.reduce_only = true,
            Reason::NotReducing,
        ),
        (
            "turns the position around",
            |s, p| {
                s.status(status(Some(("99.9", None, None))));
                p.side = Side::Sell;
                p.reduce_only = true;
            },
            Reason::NotReducing,
        ),
        (
            "sums beyond the range",
            |s, _| drop(s.status(status(Some(("999999999999999.9", None, None))))),
            Reason::Overflow,
        ),
    ];
    for (name, breaks, expected) in cases {
        let mut scene = Scene::ready();
        scene.wait(1);
        let mut proposal = proposal();
        breaks(&mut scene, &mut proposal);
        assert_eq!(scene.order(&proposal), Err(expected), "{name}");
    }
    assert!(Scene::ready().order(&proposal()).is_ok(), "nothing broken");
}

#[test]
fn whatever_inputs_are_missing_nothing_passes() {
    let cases = [
        (0b000, Err(Reason::GuardSilent)),
        (0b001, Err(Reason::NoMarketData)),
        (0b010, Err(Reason::GuardSilent)),
        (0b011, Err(Reason::PositionUnknown)),
        (0b100, Err(Reason::GuardSilent)),
        (0b101, Err(Reason::NoMarketData)),
        (0b110, Err(Reason::GuardSilent)),
        (0b111, Ok(())),
    ];
    for (given, expected) in cases {
        let mut scene = Scene::new(settings());
        if given & 0b001 != 0 {
            scene.heartbeat(KillState::Armed, POLICY);
        }
        if given & 0b010 != 0 {
            scene.book("0.4999", "0.5001");
        }
        if given & 0b100 != 0 {
            scene.status(status(None));
        }
        assert_eq!(
            scene.order(&proposal()).map(|_| ()),
            expected,
            "given {given:03b}"
        );
        let ready = scene.brain.readiness(scene.now);
        assert_eq!(ready.is_ok(), given & 0b101 == 0b101, "given {given:03b}");
    }
}

#[test]
fn what_an_earlier_run_passed_on_is_waited_for() {
    let mut scene = Scene::new(settings());
    scene.now = NOW.plus(Span::from_millis(1_999));
    scene.refresh();
    assert_eq!(scene.order(&proposal()), Err(Reason::WarmingUp));
    scene.wait(1);
    assert_eq!(
        scene.order(&proposal()),
        Err(Reason::WarmingUp),
        "the account may lack an order"
    );
    scene.refresh();
    assert!(scene.order(&proposal()).is_ok());
}

#[test]
fn a_strategy_with_a_key_but_no_place_in_the_registry_is_refused_and_told_of() {
    let mut scene = Scene::ready();
    let sealed = scene.sealed("strategy-other", &proposal());
    let effects = scene.step(Input::Proposal(sealed));
    assert!(effects.decided.is_none());
    assert_eq!(effects.ignored, Some(Ignored::UnknownStrategy));
    let [
        Notice::Refused {
            reason: Reason::UnknownStrategy,
            detail,
        },
    ] = &effects.notices[..]
    else {
        panic!("{:?}", effects.notices)
    };
    assert!(detail.as_str().contains("strategy-other"), "{detail}");
    // Telling of it is bounded, refusing is not.
    let mut told = 0;
    for _ in 0..20 {
        let sealed = scene.sealed("strategy-other", &proposal());
        let effects = scene.step(Input::Proposal(sealed));
        assert_eq!(effects.ignored, Some(Ignored::UnknownStrategy));
        told += effects.notices.len();
    }
    assert_eq!(told, 1);
}

#[test]
fn a_proposal_is_decided_once() {
    let mut scene = Scene::ready();
    let sealed = scene.sealed("strategy-sample", &proposal());
    let first = scene.step(Input::Proposal(sealed.clone())).decided.unwrap();
    assert!(first.order.is_some());
    for _ in 0..3 {
        let again = scene.step(Input::Proposal(sealed.clone()));
        assert!(again.decided.is_none());
        assert_eq!(again.ignored, Some(Ignored::Duplicate));
    }
    // A refused one stays refused, although it would pass now.
    let mut scene = Scene::new(settings());
    let sealed = scene.sealed("strategy-sample", &proposal());
    let first = scene.step(Input::Proposal(sealed.clone())).decided.unwrap();
    assert_eq!(
        first.decision.outcome,
        Outcome::Refused(Reason::GuardSilent)
    );
    scene.refresh();
    let again = scene.step(Input::Proposal(sealed));
    assert_eq!(again.ignored, Some(Ignored::Duplicate));
}

#[test]
fn proposals_beyond_the_rate_are_refused_then_only_counted_and_told_of() {
    let mut scene = Scene::ready();
    for number in 0..10 {
        let order = scene.order(&of(Side::Sell, "10"));
        let full = number >= 8;
        assert_eq!(order.is_err(), full, "proposal {number}");
    }
    for _ in 0..10 {
        assert_eq!(scene.order(&proposal()), Err(Reason::RateLimit));
    }
    for _ in 0..5 {
        let sealed = scene.sealed("strategy-sample", &proposal());
        assert_eq!(
            scene.step(Input::Proposal(sealed)).ignored,
            Some(Ignored::Flood)
        );
    }
    let notices = scene.step(Input::Tick).notices;
    let [
        Notice::Refused {
            reason: Reason::RateLimit,
            detail,
        },
    ] = &notices[..]
    else {
        panic!("{notices:?}")
    };
    assert_eq!(
        detail.as_str(),
        "5 more proposals of sample beyond its rate"
    );
    assert_eq!(scene.step(Input::Tick).notices, []);
}

#[test]
fn late_news_does_not_replace_newer_news() {
    let mut scene = Scene::ready();
    let now = scene.now;
    let old = scene
        .world
        .verified(ME, now, &BOOK, Some("XRPUSDT"), &book("0.8", "0.9", now));
    let armed = portcullis_wire::messages::Heartbeat {
        kill: KillState::Armed,
        posture: portcullis_domain::Posture::Normal,
        policy: POLICY,
    };
    let subject = &portcullis_wire::subjects::HEARTBEAT;
    let armed = scene.world.verified(ME, now, subject, None, &armed);
    scene.wait(10);
    scene.book("0.4999", "0.5001");
    scene.step(Input::Book(old));
    let order = scene
        .order(&Proposal {
            limit_price: None,
            ..proposal()
        })
        .unwrap();
    assert_eq!(order.limit_price, "0.5025".parse().unwrap());
    scene.heartbeat(KillState::Triggered, POLICY);
    scene.step(Input::Heartbeat(armed));
    assert_eq!(scene.order(&proposal()), Err(Reason::KillSwitch));
}

#[test]
fn an_account_that_contradicts_itself_is_not_taken() {
    let mut scene = Scene::ready();
    scene.wait(900);
    let mut twice = status(Some(("1", None, None)));
    twice.exposures.push(twice.exposures[0].clone());
    let notices = scene.status(twice).notices;
    let [
        Notice::Refused {
            reason: Reason::PositionUnknown,
            ..
        },
    ] = &notices[..]
    else {
        panic!("{notices:?}")
    };
    scene.wait(200);
    scene.heartbeat(KillState::Armed, POLICY);
    scene.book("0.4999", "0.5001");
    assert_eq!(scene.order(&proposal()), Err(Reason::PositionUnknown));
}

#[test]
fn time_that_runs_backwards_stops_the_brain_or_stands_still() {
    let mut brain = Brain::new(settings());
    let later = NOW.plus(Span::from_secs(10));
    brain.step(later, Input::Tick).unwrap();
    brain
        .step(later.minus(Span::from_secs(2)), Input::Tick)
        .unwrap();
    let fault = brain
        .step(later.minus(Span(2_000_001)), Input::Tick)
        .unwrap_err();
    assert_eq!(fault, Fault::TimeReversed(Span(2_000_001)));
}
