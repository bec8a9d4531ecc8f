//! Permits count from the moment they are given, until execution has accounted for them.

use portcullis_domain::{Order, Reason};
use risk_guard_core::Settings;

use crate::scene::{Scene, order_id, sell, settings, status};

#[test]
fn permits_count_from_the_moment_they_are_given() {
    let mut scene = Scene::ready();
    let four_hundred = |scene: &mut Scene| {
        let order = scene.order();
        Order {
            quantity: "400".parse().unwrap(),
            ..order
        }
    };
    for expected in [None, None, Some(Reason::PositionNotional)] {
        let order = four_hundred(&mut scene);
        assert_eq!(scene.refusal(&order), expected);
    }
    // The other side has its own room, wholly.
    for expected in [None, None, Some(Reason::PositionNotional)] {
        let order = sell(four_hundred(&mut scene), "380");
        assert_eq!(scene.refusal(&order), expected);
    }
}

#[test]
fn an_account_that_may_lack_a_permit_frees_nothing() {
    let mut scene = Scene::ready();
    let order = Order {
        quantity: "400".parse().unwrap(),
        ..scene.order()
    };
    assert_eq!(scene.refusal(&order), None);
    let second = Order {
        id: order_id(99),
        limit_price: "0.499".parse().unwrap(),
        ..order.clone()
    };
    assert_eq!(scene.refusal(&second), None);
    let full = |scene: &mut Scene| {
        scene.book("0.4999", "0.5001");
        let order = scene.order();
        let order = Order {
            quantity: "400".parse().unwrap(),
            ..order
        };
        scene.refusal(&order) == Some(Reason::PositionNotional)
    };
    scene.wait(10);
    scene.status(status(&[]));
    assert!(full(&mut scene), "execution did not have them yet");
    scene.wait(10);
    scene.report(&order);
    assert!(full(&mut scene), "a report is no account");
    scene.wait(10);
    scene.status(status(&[]));
    assert!(!full(&mut scene), "one of them came to nothing");
    scene.wait(10);
    scene.status(status(&[]));
    assert!(full(&mut scene), "the other and the new one are still out");
}

#[test]
fn a_lost_permit_is_forgotten_after_its_lifetime() {
    let mut scene = Scene::ready();
    for _ in 0..2 {
        let order = Order {
            quantity: "400".parse().unwrap(),
            ..scene.order()
        };
        assert_eq!(scene.refusal(&order), None);
    }
    scene.wait(3_000);
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    let order = Order {
        quantity: "400".parse().unwrap(),
        ..scene.order()
    };
    assert_eq!(scene.refusal(&order), Some(Reason::PositionNotional));
    scene.wait(1);
    scene.status(status(&[]));
    let order = Order {
        quantity: "400".parse().unwrap(),
        ..scene.order()
    };
    assert_eq!(scene.refusal(&order), None);
}

#[test]
fn permits_that_wait_for_an_account_are_bounded() {
    let bounded = Settings {
        orders_pending_max: 2,
        ..settings()
    };
    let mut scene = Scene::new(bounded);
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    for expected in [None, None, Some(Reason::TooManyOrders)] {
        let order = scene.order();
        assert_eq!(scene.refusal(&order), expected);
    }
}

#[test]
fn permits_in_one_second_are_bounded_and_refusals_use_none_of_them() {
    let slow = Settings {
        orders_per_second_max: 2,
        ..settings()
    };
    let mut scene = Scene::new(slow);
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    for _ in 0..5 {
        let order = Order {
            limit_price: "1".parse().unwrap(),
            ..scene.order()
        };
        assert_eq!(scene.refusal(&order), Some(Reason::PriceCollar));
    }
    for expected in [None, None, Some(Reason::RateLimit)] {
        let order = scene.order();
        assert_eq!(scene.refusal(&order), expected);
    }
    scene.wait(1_000);
    let order = scene.order();
    assert_eq!(scene.refusal(&order), None);
}

#[test]
fn risk_beyond_the_limit_can_be_closed_and_not_opened() {
    let mut scene = Scene::ready();
    scene.wait(1);
    scene.status(status(&[("1500", None, None)]));
    let order = scene.order();
    assert_eq!(
        scene.refusal(&order),
        Some(Reason::PositionNotional),
        "buying more"
    );
    let order = sell(scene.order(), "380");
    assert_eq!(scene.refusal(&order), None, "selling some");
    let order = Order {
        reduce_only: true,
        ..sell(scene.order(), "380")
    };
    assert_eq!(scene.refusal(&order), None, "reducing some");
}
