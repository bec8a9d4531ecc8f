//! Orders count against their strategy's budget from the moment they are passed on until execution
//! has accounted for them.

use portcullis_domain::{Reason, Side};
use portcullis_wire::messages::{Outcome, Proposal};

use crate::scene::{Scene, of, status};

/// Passes two orders on that use up the budget of a position of 1,000 units together with 300 more.
fn with_two_orders_out() -> (Scene, Vec<portcullis_domain::Order>) {
    let mut scene = Scene::ready();
    let orders = (0..2)
        .map(|_| scene.order(&of(Side::Buy, "350")).unwrap())
        .collect();
    (scene, orders)
}

#[test]
fn orders_count_at_once_and_only_on_their_side() {
    let (mut scene, _) = with_two_orders_out();
    assert_eq!(
        scene.order(&of(Side::Buy, "300.1")),
        Err(Reason::BudgetExceeded)
    );
    assert!(scene.order(&of(Side::Buy, "300")).is_ok());
    assert!(scene.order(&of(Side::Sell, "400")).is_ok());
}

#[test]
fn a_refused_verdict_frees_the_budget_at_once_except_of_a_duplicate() {
    let (mut scene, orders) = with_two_orders_out();
    scene.verdict(&orders[0], Outcome::Refused(Reason::DuplicateOrder));
    scene.verdict(&orders[1], Outcome::Passed);
    assert_eq!(
        scene.order(&of(Side::Buy, "300.1")),
        Err(Reason::BudgetExceeded)
    );
    scene.verdict(&orders[0], Outcome::Refused(Reason::PriceCollar));
    assert!(scene.order(&of(Side::Buy, "300.1")).is_ok());
    scene.verdict(&orders[0], Outcome::Refused(Reason::PriceCollar));
    assert_eq!(
        scene.order(&of(Side::Buy, "350")),
        Err(Reason::BudgetExceeded),
        "freed once"
    );
}

#[test]
fn an_account_frees_only_what_it_is_certain_to_include() {
    let (mut scene, orders) = with_two_orders_out();
    scene.wait(10);
    scene.status(status(None));
    assert_eq!(
        scene.order(&of(Side::Buy, "300.1")),
        Err(Reason::BudgetExceeded)
    );
    scene.report(&orders[0]);
    scene.wait(10);
    scene.status(status(Some(("100", None, None))));
    // 100 held, 350 still out.
    assert_eq!(scene.order(&of(Side::Buy, "400")).map(|_| ()), Ok(()));
    assert_eq!(
        scene.order(&of(Side::Buy, "150.1")),
        Err(Reason::BudgetExceeded)
    );
    assert!(scene.order(&of(Side::Buy, "150")).is_ok());
}

#[test]
fn an_order_that_never_arrived_is_forgotten_after_its_lifetime() {
    let (mut scene, _) = with_two_orders_out();
    scene.wait(3_000);
    scene.refresh();
    assert_eq!(
        scene.order(&of(Side::Buy, "300.1")),
        Err(Reason::BudgetExceeded)
    );
    scene.wait(1);
    scene.refresh();
    assert!(scene.order(&of(Side::Buy, "300.1")).is_ok());
}

#[test]
fn orders_that_wait_for_an_account_are_bounded() {
    let mut scene = Scene::ready();
    for number in 0..8 {
        assert!(scene.order(&of(Side::Buy, "10")).is_ok(), "order {number}");
    }
    assert_eq!(
        scene.order(&of(Side::Buy, "10")),
        Err(Reason::TooManyOrders)
    );
}

#[test]
fn risk_beyond_the_budget_can_be_closed_and_not_opened() {
    let mut scene = Scene::ready();
    scene.wait(1);
    scene.status(status(Some(("1500", None, None))));
    assert_eq!(
        scene.order(&of(Side::Buy, "10")),
        Err(Reason::BudgetExceeded)
    );
    let reduce = Proposal {
        reduce_only: true,
        ..of(Side::Sell, "400")
    };
    assert!(scene.order(&reduce).is_ok());
    assert!(scene.order(&of(Side::Sell, "400")).is_ok());
}
