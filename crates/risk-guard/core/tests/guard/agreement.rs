//! Another risk policy at execution or at the brain: nothing is permitted, it is said once, and it
//! ends by itself.

use portcullis_domain::{Hash, Order, Reason};
use portcullis_wire::Text;
use portcullis_wire::messages::{ExecutionStatus, Notice, Outcome};
use risk_guard_core::Input;

use crate::scene::{POLICY, Scene, status};

const OTHER: Hash = Hash([8; 32]);

fn said(service: &str, runs: Hash) -> Vec<Notice> {
    vec![Notice::Policy {
        service: Text::lossy(service),
        runs,
        own: POLICY,
    }]
}

fn execution_runs(scene: &mut Scene, policy: Hash) -> Vec<Notice> {
    let status = ExecutionStatus {
        policy,
        ..status(&[])
    };
    scene.status(status).notices
}

#[test]
fn another_policy_at_execution_stops_every_permit_is_told_once_and_is_over_when_they_agree() {
    let mut scene = Scene::ready();
    assert_eq!(execution_runs(&mut scene, OTHER), said("execution", OTHER));
    assert_eq!(execution_runs(&mut scene, OTHER), [], "once");
    let order = scene.order();
    assert_eq!(scene.refusal(&order), Some(Reason::PolicyMismatch));
    assert_eq!(
        scene.guard.readiness(scene.now),
        Err(Reason::PolicyMismatch)
    );
    assert_eq!(
        scene.guard.agreement().mismatch().as_deref(),
        Some("execution runs policy 080808080808, risk-guard 070707070707")
    );

    assert_eq!(
        execution_runs(&mut scene, POLICY),
        said("execution", POLICY)
    );
    assert_eq!(scene.guard.agreement().mismatch(), None);
    assert_eq!(scene.guard.readiness(scene.now), Ok(()));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), None);
}

#[test]
fn an_order_of_another_policy_is_refused_and_told_once() {
    let mut scene = Scene::ready();
    let mut judge = |policy| {
        let order = Order {
            policy,
            ..scene.order()
        };
        let sealed = scene.sealed(&order);
        let effects = scene.step(Input::Order(sealed));
        let judgement = effects.judgement.unwrap();
        (
            judgement.verdict.outcome,
            judgement.permit.is_some(),
            effects.notices,
        )
    };
    let refused = Outcome::Refused(Reason::PolicyMismatch);
    assert_eq!(judge(POLICY), (Outcome::Passed, true, vec![]));
    assert_eq!(judge(OTHER), (refused, false, said("brain", OTHER)));
    assert_eq!(judge(OTHER), (refused, false, vec![]));
    assert_eq!(
        judge(POLICY),
        (Outcome::Passed, true, said("brain", POLICY))
    );
}
