//! What facts add up to.

use portcullis_domain::Symbol;
use portcullis_wire::Text;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn order(number: u8) -> OrderId {
    OrderId([number; 16])
}

fn decision(number: u8, outcome: Outcome) -> Decision {
    Decision {
        proposal: vec![],
        order: order(number),
        outcome,
    }
}

fn report(number: u8, status: OrderStatus, reason: Option<Reason>) -> ExecutionReport {
    ExecutionReport {
        order: order(number),
        strategy: "sample".parse().unwrap(),
        symbol: Symbol::new("XRPUSDT").unwrap(),
        side: portcullis_domain::Side::Buy,
        quantity: "10".parse().unwrap(),
        filled: None,
        status,
        venue_order: None,
        reason,
        detail: Text::lossy("too far"),
    }
}

pub fn execution_status(kill: KillState, loss: &str) -> ExecutionStatus {
    ExecutionStatus {
        kill,
        may_trade: kill.may_trade(),
        policy: Hash([1; 32]),
        day: 20_000,
        loss: loss.parse().unwrap(),
        loss_max: "500".parse().unwrap(),
        ..portcullis_testkit::accounts::status()
    }
}

#[test]
fn counts_each_order_once_however_often_it_is_reported() {
    let mut view = View::default();
    for status in [OrderStatus::Accepted, OrderStatus::Sent, OrderStatus::Open] {
        view.report(NOW, &report(1, status, None));
    }
    view.report(
        NOW,
        &report(2, OrderStatus::Refused, Some(Reason::GuardSilent)),
    );
    assert_eq!(view.orders, 1, "an order that was refused here never left");
}

#[test]
fn counts_one_refusal_an_order_by_its_reason() {
    let mut view = View::default();
    view.decision(NOW, "sample", &decision(1, Outcome::Passed));
    view.decision(
        NOW,
        "sample",
        &decision(2, Outcome::Refused(Reason::RateLimit)),
    );
    view.report(
        NOW,
        &report(3, OrderStatus::Rejected, Some(Reason::VenueRejected)),
    );
    view.report(
        NOW,
        &report(3, OrderStatus::Rejected, Some(Reason::VenueRejected)),
    );
    assert_eq!(view.proposals, 2);
    let expected = BTreeMap::from([(Reason::RateLimit, 1), (Reason::VenueRejected, 1)]);
    assert_eq!(view.refusals, expected);
    let last = view.latest(1).next().unwrap();
    assert_eq!(
        last.text,
        "refused 03030303 of sample: VENUE_REJECTED: too far"
    );
}

#[test]
fn a_log_that_shrinks_or_changes_is_a_problem_and_not_the_new_truth() {
    let checkpoint = |size, head| Checkpoint {
        size,
        head: Hash([head; 32]),
        at: NOW,
    };
    for bad in [checkpoint(4, 1), checkpoint(5, 2)] {
        let mut view = View::default();
        view.checkpoint(NOW, checkpoint(5, 1));
        view.checkpoint(NOW, checkpoint(5, 1));
        assert_eq!(view.checkpoint_problem, None, "the same again is fine");
        view.checkpoint(NOW, bad);
        assert!(view.checkpoint_problem.is_some(), "{bad:?}");
        assert_eq!(view.checkpoint.unwrap().1, checkpoint(5, 1));
    }
}

#[test]
fn a_kill_switch_notice_names_who_and_why() {
    let mut view = View::default();
    view.execution(NOW, execution_status(KillState::Armed, "0"));
    assert_eq!(view.stopped(), []);
    let notice = Notice::KillSwitch {
        state: KillState::Triggered,
        cause: KillCause::Operator,
        detail: Text::lossy("drill"),
    };
    view.notice(NOW, Role::Execution, &notice);
    assert_eq!(view.stopped(), [(Role::Execution, KillState::Triggered)]);
    assert_eq!(view.pulled.unwrap().detail, "drill");
}

#[test]
fn an_order_that_is_over_leaves_the_list_at_once() {
    let mut view = View::default();
    let mut status = execution_status(KillState::Armed, "0");
    status.orders_open = 1;
    status.orders = vec![portcullis_wire::messages::OpenOrder {
        order: order(1),
        strategy: "sample".parse().unwrap(),
        symbol: Symbol::new("XRPUSDT").unwrap(),
        side: portcullis_domain::Side::Buy,
        quantity: "10".parse().unwrap(),
        filled: None,
        limit_price: "1".parse().unwrap(),
        status: OrderStatus::Open,
        since: NOW,
    }];
    view.execution(NOW, status);
    view.report(NOW, &report(1, OrderStatus::Cancelled, None));
    view.report(NOW, &report(1, OrderStatus::Cancelled, None));
    let (_, status) = view.execution.unwrap();
    assert_eq!((status.orders.len(), status.orders_open), (0, 0));
}

#[test]
fn a_service_that_falls_silent_is_no_longer_heard() {
    let mut view = View::default();
    view.execution(NOW, execution_status(KillState::Armed, "0"));
    assert!(view.is_heard(Role::Execution, NOW.plus(Span::from_millis(2_999))));
    assert!(!view.is_heard(Role::Execution, NOW.plus(SILENT_AFTER)));
    assert!(!view.is_heard(Role::Brain, NOW));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut remembered = Remembered::default();
    for number in 0..(ORDERS_REMEMBERED_MAX as u128 + 5) {
        assert!(remembered.insert(OrderId(number.to_be_bytes())));
    }
    assert_eq!(remembered.known.len(), ORDERS_REMEMBERED_MAX);
    assert!(!remembered.insert(OrderId((ORDERS_REMEMBERED_MAX as u128).to_be_bytes())));
}

#[test]
fn somebody_who_has_only_begun_to_watch_sees_what_the_services_counted() {
    let count = |name: &str, value| portcullis_wire::messages::Count {
        name: Text::lossy(name),
        value,
    };
    let status = |counts| ServiceStatus {
        ready: true,
        detail: Text::lossy(""),
        kill: None,
        policy: None,
        counts,
    };
    let mut view = View {
        from_counts: true,
        ..View::default()
    };
    let brain = status(vec![
        count("orders", 7),
        count("refused", 3),
        count("refused.RATE_LIMIT", 3),
    ]);
    view.status(NOW, Role::Brain, &brain);
    let guard = status(vec![count("permits", 5), count("refused.RATE_LIMIT", 2)]);
    view.status(NOW, Role::RiskGuard, &guard);
    view.status(NOW, Role::Signer, &status(vec![count("signed.place", 4)]));
    view.status(NOW, Role::Audit, &status(vec![count("durable", 99)]));
    let totals = view.totals();
    assert_eq!(
        (totals.proposals, totals.permits, totals.orders),
        (10, 5, 4)
    );
    assert_eq!(
        totals.refusals,
        BTreeMap::from([("RATE_LIMIT".to_owned(), 5)])
    );
    assert_eq!(view.audit_entries(), Some(99));
}
