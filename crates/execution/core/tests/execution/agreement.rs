//! Another risk policy at risk-guard: nothing is sent, it is said once, and it ends by itself.

use execution_core::{Effect, Input, Record};
use portcullis_domain::{Hash, KillState, Order, Reason, Span};
use portcullis_testkit::seals::order;
use portcullis_wire::Text;
use portcullis_wire::messages::{Heartbeat, Notice};
use portcullis_wire::subjects::HEARTBEAT;

use crate::bench::{Bench, POLICY, refused, reports};

const OTHER: Hash = Hash([8; 32]);

fn said(runs: Hash) -> Vec<Effect> {
    vec![Effect::Notice(Notice::Policy {
        service: Text::lossy("risk-guard"),
        runs,
        own: POLICY,
    })]
}

fn guard_runs(bench: &mut Bench, policy: Hash) -> Vec<Effect> {
    let beat = Heartbeat {
        kill: KillState::Armed,
        policy,
        posture: portcullis_domain::Posture::Normal,
    };
    let beat = bench
        .world
        .verified("execution", bench.now, &HEARTBEAT, None, &beat);
    bench.step(Input::Heartbeat(beat))
}

#[test]
fn another_policy_at_the_guard_stops_every_order_is_told_once_and_is_over_when_they_agree() {
    let mut bench = Bench::ready();
    let reason = |bench: &Bench| bench.status().reason;
    assert_eq!(guard_runs(&mut bench, OTHER), said(OTHER));
    assert_eq!(guard_runs(&mut bench, OTHER), [], "once");
    assert_eq!(reason(&bench), Some(Reason::PolicyMismatch));
    let effects = bench.permit(&order(1, bench.now));
    assert_eq!(reports(&effects), refused(Reason::PolicyMismatch));
    assert_eq!(
        bench.execution.agreement().mismatch().as_deref(),
        Some("risk-guard runs policy 080808080808, execution 070707070707")
    );

    assert_eq!(guard_runs(&mut bench, POLICY), said(POLICY));
    assert_eq!(bench.execution.agreement().mismatch(), None);
    assert_eq!(reason(&bench), None);
    let effects = bench.permit(&order(2, bench.now));
    assert!(
        matches!(effects[..], [Effect::Prepare { .. }]),
        "{effects:?}"
    );
}

#[test]
fn an_order_that_waits_does_not_leave_once_the_guard_runs_another_policy() {
    let mut bench = Bench::ready();
    let waiting = order(1, bench.now);
    bench.permit(&waiting);
    guard_runs(&mut bench, OTHER);
    let sent = bench.send(1);
    assert_eq!(crate::bench::places(&sent), 0, "{sent:?}");
}

#[test]
fn a_permit_or_an_order_of_another_policy_is_refused_whatever_the_heartbeat_says() {
    for (of_permit, of_order) in [(OTHER, POLICY), (POLICY, OTHER)] {
        let mut bench = Bench::ready();
        let order = Order {
            policy: of_order,
            ..order(1, bench.now)
        };
        let sealed = bench.world.permit_with_policy(bench.now, &order, of_permit);
        let (permit, order) = bench
            .world
            .open_permit("execution", bench.now, &sealed.frame)
            .unwrap();
        let effects = bench.step(Input::Permit {
            permit: permit.either(),
            order: order.either(),
        });
        assert_eq!(
            reports(&effects),
            refused(Reason::PolicyMismatch),
            "{of_permit} {of_order}"
        );
        let accepted = |record: &Record| matches!(record, Record::Accepted { .. });
        assert!(!bench.journal.iter().any(accepted));
    }
}

#[test]
fn a_heartbeat_that_was_overtaken_licenses_nothing() {
    let mut bench = Bench::ready();
    let armed = Heartbeat {
        kill: KillState::Armed,
        policy: POLICY,
        posture: portcullis_domain::Posture::Normal,
    };
    let armed = bench
        .world
        .verified("execution", bench.now, &HEARTBEAT, None, &armed);
    bench.later(Span::from_millis(10));
    guard_runs(&mut bench, OTHER);
    assert_eq!(bench.step(Input::Heartbeat(armed)), []);
    let effects = bench.permit(&order(1, bench.now));
    assert_eq!(reports(&effects), refused(Reason::PolicyMismatch));
}
