//! What comes of orders, as the circuit breakers hear of it, and what they then let through.

use portcullis_domain::{
    Bps, BreakerKey, BreakerState, KillCause, Order, OrderStatus, Reason, Venue,
};
use portcullis_testkit::policies;
use portcullis_wire::messages::{BreakerStatus, ExecutionReport, ExecutionStatus, Notice, Tally};
use risk_guard_core::{Effects, Input, Record, RiskGuard};

use crate::scene::{Scene, price, sell, settings, status};

const MINUTE: u64 = 60_000;

/// A scene with the breakers of the policy that comes with the product.
fn ready() -> Scene {
    let mut settings = settings();
    settings.policy.breakers = policies::breakers();
    settings.policy.probe_notional_max = "20".parse().unwrap();
    settings.policy.instruments[0].volatility_max = Bps::new(15_000).unwrap();
    let mut scene = Scene::new(settings);
    refresh(&mut scene);
    scene
}

/// Book and account as of now.
fn refresh(scene: &mut Scene) {
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
}

fn sample() -> portcullis_domain::StrategyId {
    "sample".parse().unwrap()
}

fn trade() -> BreakerKey {
    BreakerKey::trade(Venue::Bybit, sample())
}

fn statuses(scene: &mut Scene) -> Vec<BreakerStatus> {
    scene.guard.risk_status(scene.now).breakers
}

fn state(scene: &mut Scene, key: BreakerKey) -> BreakerState {
    let listed = statuses(scene);
    let found = listed.iter().find(|status| status.breaker == key);
    found.map_or(BreakerState::Closed, |status| status.state)
}

/// Permits an order and reports what became of it.
fn ordered(
    scene: &mut Scene,
    status: OrderStatus,
    change: impl FnOnce(&mut ExecutionReport),
) -> Effects {
    let order = scene.order();
    assert_eq!(scene.refusal(&order), None);
    scene.reported(&order, status, change)
}

fn rejected(report: &mut ExecutionReport) {
    report.reason = Some(Reason::VenueRejected);
}

fn filled(report: &mut ExecutionReport) {
    report.filled = Some(report.quantity);
}

#[test]
fn orders_that_the_venue_refuses_open_their_strategys_breaker_and_its_probes_close_it() {
    let mut scene = ready();
    for _ in 0..2 {
        ordered(&mut scene, OrderStatus::Rejected, rejected);
    }
    let effects = ordered(&mut scene, OrderStatus::Rejected, rejected);
    let [
        Notice::Breaker {
            breaker,
            from: BreakerState::Closed,
            to: BreakerState::Open,
            generation: 1,
            ..
        },
    ] = &effects.notices[..]
    else {
        panic!("{:?}", effects.notices)
    };
    assert_eq!(*breaker, trade());
    assert!(
        matches!(effects.records[..], [Record::Breaker { .. }]),
        "{:?}",
        effects.records
    );
    assert!(!effects.is_sync, "it only makes the guard stricter");
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::CircuitBreakerActive));

    scene.wait(30 * MINUTE);
    let effects = scene.step(Input::Tick);
    assert!(effects.is_sync, "it lets more through: on disk first");
    assert_eq!(state(&mut scene, trade()), BreakerState::HalfOpen);
    refresh(&mut scene);
    let order = scene.order();
    assert_eq!(
        scene.refusal(&order),
        Some(Reason::CircuitBreakerActive),
        "50 USD are too much for a probe"
    );
    let small = |scene: &mut Scene| Order {
        quantity: "20".parse().unwrap(),
        ..scene.order()
    };
    for number in 0..3 {
        let probe = small(&mut scene);
        assert_eq!(scene.refusal(&probe), None, "probe {number}");
        let second = small(&mut scene);
        assert_eq!(
            scene.refusal(&second),
            Some(Reason::CircuitBreakerActive),
            "one probe at a time"
        );
        // It rests first: that says nothing yet.
        scene.reported(&probe, OrderStatus::Open, |_| {});
        assert_eq!(state(&mut scene, trade()), BreakerState::HalfOpen);
        scene.reported(&probe, OrderStatus::Filled, filled);
    }
    assert_eq!(state(&mut scene, trade()), BreakerState::Closed);
    let order = scene.order();
    assert_eq!(scene.refusal(&order), None);
}

#[test]
fn what_is_no_failure_of_the_venue_counts_for_nothing() {
    let mut scene = ready();
    for _ in 0..6 {
        // Refused by our own limits; cancelled unfilled; never arrived.
        ordered(&mut scene, OrderStatus::Refused, |report| {
            report.reason = Some(Reason::KillSwitch);
        });
        ordered(&mut scene, OrderStatus::Cancelled, |_| {});
        scene.wait(2_000);
        refresh(&mut scene);
    }
    assert_eq!(statuses(&mut scene), vec![]);
}

#[test]
fn an_order_in_doubt_counts_once_for_confirmation_and_not_for_the_trade() {
    let mut scene = ready();
    let confirmation = BreakerKey::confirmation(Venue::Bybit, sample());
    for expected in [1, 2] {
        let order = scene.order();
        assert_eq!(scene.refusal(&order), None);
        for _ in 0..3 {
            scene.reported(&order, OrderStatus::Unknown, |_| {});
        }
        scene.reported(&order, OrderStatus::Filled, filled);
        let listed = statuses(&mut scene);
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(
            (listed[0].breaker, listed[0].failures),
            (confirmation, expected)
        );
    }
}

#[test]
fn an_order_that_is_not_confirmed_often_enough_is_a_failure_though_it_is_open() {
    let mut scene = ready();
    let confirmation = BreakerKey::confirmation(Venue::Bybit, sample());
    for expected in [1, 2] {
        let order = scene.order();
        assert_eq!(scene.refusal(&order), None);
        scene.reported(&order, OrderStatus::Open, |_| {});
        scene.reported(&order, OrderStatus::Open, |report| {
            report.reason = Some(Reason::Unconfirmed);
        });
        let listed = statuses(&mut scene);
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(
            (listed[0].breaker, listed[0].failures),
            (confirmation, expected)
        );
    }
}

#[test]
fn an_order_that_nobody_confirms_is_a_failure_after_ten_seconds() {
    let mut scene = ready();
    let confirmation = BreakerKey::confirmation(Venue::Bybit, sample());
    for _ in 0..3 {
        let order = scene.order();
        assert_eq!(scene.refusal(&order), None);
        scene.reported(&order, OrderStatus::Sent, |_| {});
    }
    scene.wait(10_000);
    scene.step(Input::Tick);
    assert_eq!(state(&mut scene, confirmation), BreakerState::Closed);
    scene.wait(1);
    scene.step(Input::Tick);
    assert_eq!(state(&mut scene, confirmation), BreakerState::Open);
}

#[test]
fn a_permit_that_execution_never_spoke_of_is_a_failure_of_our_own_parts() {
    let mut scene = ready();
    for _ in 0..5 {
        let order = scene.order();
        assert_eq!(scene.refusal(&order), None);
    }
    scene.wait(10_001);
    scene.step(Input::Tick);
    let system = BreakerKey::system();
    assert_eq!(state(&mut scene, system), BreakerState::Open);
    assert_eq!(statuses(&mut scene).len(), 1, "and of nothing else");
}

#[test]
fn our_own_failures_open_the_breaker_that_stops_everything() {
    let mut scene = ready();
    for _ in 0..5 {
        ordered(&mut scene, OrderStatus::Refused, |report| {
            report.reason = Some(Reason::NoReceipt);
        });
        scene.wait(2_000);
        refresh(&mut scene);
    }
    assert_eq!(state(&mut scene, BreakerKey::system()), BreakerState::Open);
    scene.wait(3_001);
    scene.book("0.4999", "0.5001");
    scene.status(status(&[("500", None, None)]));
    let order = sell(scene.order(), "100");
    assert_eq!(
        scene.refusal(&order),
        Some(Reason::CircuitBreakerActive),
        "not even what reduces: our own parts fail"
    );
}

#[test]
fn requests_that_went_unanswered_open_the_breaker_over_the_venue_and_over_the_hsm() {
    let account = |network: (u64, u64), signer: (u64, u64)| {
        let tally = |(passed, failed)| Tally { passed, failed };
        ExecutionStatus {
            network: tally(network),
            signer: tally(signer),
            ..status(&[])
        }
    };
    let network = BreakerKey::network(Venue::Bybit);
    let mut scene = ready();
    // What was counted before this guard heard of it is none of its business.
    scene.wait(1);
    scene.status(account((10, 50), (5, 5)));
    assert_eq!(state(&mut scene, network), BreakerState::Open, "from zero");
    let mut scene = Scene::new({
        let mut settings = settings();
        settings.policy.breakers = policies::breakers();
        settings
    });
    scene.status(account((10, 50), (5, 5)));
    assert_eq!(statuses(&mut scene), vec![], "the first account");
    scene.wait(250);
    scene.status(account((11, 51), (5, 6)));
    assert_eq!(state(&mut scene, network), BreakerState::Closed);
    scene.wait(250);
    scene.status(account((11, 52), (5, 7)));
    assert_eq!(state(&mut scene, network), BreakerState::Open);
    assert_eq!(state(&mut scene, BreakerKey::hsm()), BreakerState::Open);
}

#[test]
fn slips_are_counted_and_refusals_of_the_open_breaker_are_not() {
    let mut scene = ready();
    let slippage = BreakerKey::slippage(Venue::Bybit, sample());
    let thin = crate::scene::deep(&[("0.4999", "1")], &[("0.5001", "1")], scene.now);
    scene.book_alone(&thin);
    let slips = |scene: &mut Scene| {
        let order = Order {
            limit_price: price(5_010),
            ..scene.order()
        };
        scene.refusal(&order)
    };
    for _ in 0..4 {
        assert_eq!(slips(&mut scene), Some(Reason::InsufficientLiquidity));
    }
    assert_eq!(state(&mut scene, slippage), BreakerState::Open);
    let before = statuses(&mut scene);
    for _ in 0..20 {
        assert_eq!(slips(&mut scene), Some(Reason::CircuitBreakerActive));
    }
    assert_eq!(statuses(&mut scene), before, "it does not feed itself");
}

#[test]
fn ten_wild_minutes_open_the_instruments_breaker_and_so_does_silence() {
    for wild in [true, false] {
        let mut scene = ready();
        let volatility = BreakerKey::volatility(crate::scene::symbol());
        let closes: Vec<_> = (0..31).map(|n| price(5_000 + (n % 2) * 500)).collect();
        scene.step(Input::Tick);
        for minute in 0..10 {
            assert_eq!(
                state(&mut scene, volatility),
                BreakerState::Closed,
                "{minute}"
            );
            scene.wait(MINUTE);
            if wild {
                scene.closes(&closes);
            }
            // Only now and then, as ticks come; one sample a minute all the same.
            for _ in 0..3 {
                scene.step(Input::Tick);
            }
        }
        // The first closes were young for two more minutes.
        for _ in 0..2 {
            scene.wait(MINUTE);
            if wild {
                scene.closes(&closes);
            }
            scene.step(Input::Tick);
        }
        assert_eq!(state(&mut scene, volatility), BreakerState::Open, "{wild}");
    }
}

#[test]
fn three_open_breakers_pull_the_switch_once() {
    let mut scene = ready();
    let tally = |failed| Tally { passed: 0, failed };
    scene.wait(1);
    let two = ExecutionStatus {
        network: tally(2),
        signer: tally(2),
        ..status(&[])
    };
    let mut records = Vec::new();
    let effects = scene.status(two);
    assert!(effects.kill.is_none(), "two are open");
    records.extend(effects.records);
    // One strategy's breakers are its own affair, however many of them are open.
    for number in 700..703 {
        let effects = scene.reported(&lost(number), OrderStatus::Rejected, rejected);
        assert!(effects.kill.is_none(), "{number}");
        let effects = scene.reported(&lost(number + 10), OrderStatus::Unknown, |_| {});
        assert!(effects.kill.is_none(), "{number}");
        records.extend(effects.records);
    }
    assert_eq!(scene.guard.breakers_open(), 4);
    let mut killed = Vec::new();
    for number in 720..727 {
        let effects = scene.reported(&lost(number), OrderStatus::Refused, |report| {
            report.reason = Some(Reason::NoReceipt);
        });
        records.extend(effects.records);
        killed.extend(effects.kill);
    }
    let [(cause, detail)] = &killed[..] else {
        panic!("{killed:?}")
    };
    assert_eq!(*cause, KillCause::Cascade);
    assert!(detail.as_str().contains("3 kinds"), "{detail}");
    // A crash between the record and the latch: the next start asks for it again.
    let mut settings = settings();
    settings.policy.breakers = policies::breakers();
    let mut again = RiskGuard::new(settings);
    for record in &records {
        again.restore(record);
    }
    let _ = again.restored(scene.now, true);
    let effects = again.step(scene.now, Input::Tick).unwrap();
    assert!(effects.kill.is_some());
}

/// An order of an earlier run of the guard.
fn lost(number: u64) -> Order {
    portcullis_testkit::seals::order(number, portcullis_testkit::seals::NOW)
}

#[test]
fn a_restart_from_the_records_is_as_strict_as_before() {
    let mut scene = ready();
    let mut records = Vec::new();
    let mut keep = |effects: Effects| records.extend(effects.records);
    for _ in 0..3 {
        keep(ordered(&mut scene, OrderStatus::Rejected, rejected));
    }
    scene.wait(1);
    keep(scene.status(ExecutionStatus {
        drawdown: "600000".parse().unwrap(),
        ..status(&[])
    }));
    let before = scene.guard.risk_status(scene.now);
    let mut settings = settings();
    settings.policy.breakers = policies::breakers();
    let mut again = RiskGuard::new(settings);
    for record in &records {
        again.restore(record);
    }
    let _ = again.restored(scene.now, true);
    let after = again.risk_status(scene.now);
    assert_eq!(after.breakers, before.breakers);
    assert_eq!(after.posture, before.posture);
    assert_eq!(after.generation, before.generation);
    assert_ne!(after.posture, portcullis_domain::Posture::Normal);
}
