//! What risk-guard may still change of an order, and what it stops by its heartbeat.
use crate::bench::{Bench, places, refused, reports, ticket, xrp};
use execution_core::{Effect, Input, Record};
use portcullis_domain::{KillState, Order, Posture, Price, Reason, Side, Span};
use portcullis_testkit::seals::{NOW, order};

fn permit_at(bench: &mut Bench, order: &Order, worst: &str) -> Vec<Effect> {
    let worst: Price = worst.parse().unwrap();
    let sealed = bench.world.permit_at(bench.now, order, worst);
    bench.permitted(&sealed.frame)
}

#[test]
fn a_worst_price_is_the_limit_in_journal_request_and_report() {
    let mut bench = Bench::ready();
    let sealed = order(1, NOW);
    let expected = Order {
        limit_price: "0.49".parse().unwrap(),
        ..sealed.clone()
    };
    let prepared = permit_at(&mut bench, &sealed, "0.49");
    assert!(
        matches!(prepared.as_slice(), [Effect::Prepare { order, .. }] if *order == expected),
        "{prepared:?}"
    );
    assert!(
        bench
            .journal
            .iter()
            .any(|record| matches!(record, Record::Accepted { order, .. } if *order == expected))
    );
    let sent = bench.finish(&expected);
    assert!(
        matches!(sent.as_slice(), [Effect::Place { order, .. }] if *order == expected),
        "{sent:?}"
    );
    let status = bench.status();
    assert_eq!(
        status.orders.first().unwrap().limit_price,
        expected.limit_price
    );
}

#[test]
fn a_worst_price_beyond_the_orders_own_limit_is_refused() {
    let mut bench = Bench::ready();
    let buy = order(1, NOW);
    let refusal = permit_at(&mut bench, &buy, "0.5001");
    assert_eq!(reports(&refusal), refused(Reason::OrderSeal));

    let mut sell = order(2, NOW);
    sell.side = Side::Sell;
    let refusal = permit_at(&mut bench, &sell, "0.4999");
    assert_eq!(reports(&refusal), refused(Reason::OrderSeal));
    assert_eq!(bench.status().orders_open, 0);
}

#[test]
fn the_hard_limit_counts_a_seller_at_the_worst_price() {
    let mut bench = Bench::ready();
    let mut sell = order(1, NOW);
    sell.side = Side::Sell;
    sell.quantity = "50000".parse().unwrap();
    // 50,000 at 0.5 are 25,000; at 1.01 they are more than the 50,000 allowed.
    let refusal = permit_at(&mut bench, &sell, "1.01");
    assert_eq!(reports(&refusal), refused(Reason::HardLimit));
}

#[test]
fn an_emergency_or_a_guard_that_is_not_armed_refuses_the_new_and_cancels_the_open() {
    let cases = [
        (
            KillState::Armed,
            Posture::Emergency,
            Reason::PostureRestricts,
        ),
        (KillState::Triggered, Posture::Normal, Reason::KillSwitch),
        (KillState::Maintenance, Posture::Normal, Reason::KillSwitch),
    ];
    let cancel = Effect::CancelAll { symbol: xrp() };
    for (kill, posture, reason) in cases {
        let mut bench = Bench::ready();
        bench.send(1);
        let waiting = order(2, bench.now);
        bench.permit(&waiting);
        bench.beat_with(kill, posture);
        assert!(bench.step(Input::Tick).contains(&cancel), "{reason}");
        assert_eq!(
            reports(&bench.permit(&order(3, NOW))),
            refused(reason),
            "new"
        );
        let late = bench.finish(&waiting);
        assert_eq!(places(&late), 0, "what waited");
        assert_eq!(reports(&late), refused(reason), "what waited");
        bench.later(Span::from_secs(1));
        bench.beat_with(kill, posture);
        assert!(bench.step(Input::Tick).contains(&cancel), "again");
    }
}

#[test]
fn cautious_and_defensive_are_for_risk_guard_to_keep() {
    for posture in [Posture::Normal, Posture::Cautious, Posture::Defensive] {
        let mut bench = Bench::ready();
        bench.beat_with(KillState::Armed, posture);
        assert_eq!(places(&bench.send(1)), 1, "{posture}");
        let effects = bench.step(Input::Tick);
        assert!(!effects.contains(&Effect::CancelAll { symbol: xrp() }));
    }
}

#[test]
fn trading_goes_on_when_the_emergency_is_over() {
    let mut bench = Bench::ready();
    bench.beat_with(KillState::Armed, Posture::Emergency);
    assert_eq!(bench.status().reason, Some(Reason::PostureRestricts));
    bench.beat();
    let sent = bench.permit(&order(1, bench.now));
    assert!(matches!(sent.as_slice(), [Effect::Prepare { .. }]));
    let signed = bench.step(Input::Signed {
        order: order(1, NOW).id,
        answer: Ok(ticket()),
    });
    assert_eq!(signed, [], "it still waits for journal and receipt");
}
