//! Another risk policy at risk-guard or at execution: nothing passes, it is said once, and it ends by
//! itself.

use brain_core::Input;
use portcullis_domain::{Hash, KillState, Reason};
use portcullis_wire::Text;
use portcullis_wire::messages::{ExecutionStatus, Heartbeat, Notice};
use portcullis_wire::subjects::HEARTBEAT;

use crate::scene::{ME, POLICY, Scene, proposal, status};

const OTHER: Hash = Hash([8; 32]);

fn said(service: &str, runs: Hash) -> Vec<Notice> {
    vec![Notice::Policy {
        service: Text::lossy(service),
        runs,
        own: POLICY,
    }]
}

#[test]
fn another_policy_elsewhere_stops_every_order_is_told_once_and_is_over_when_they_agree() {
    type Say = fn(&mut Scene, Hash) -> Vec<Notice>;
    let cases: [(&str, Say); 2] = [
        ("risk-guard", |scene, policy| {
            scene.heartbeat(KillState::Armed, policy).notices
        }),
        ("execution", |scene, policy| {
            let status = ExecutionStatus {
                policy,
                ..status(None)
            };
            scene.status(status).notices
        }),
    ];
    for (service, say) in cases {
        let mut scene = Scene::ready();
        assert_eq!(scene.brain.agreement().mismatch(), None);
        assert_eq!(say(&mut scene, OTHER), said(service, OTHER));
        assert_eq!(say(&mut scene, OTHER), [], "{service}: once");
        assert_eq!(scene.order(&proposal()), Err(Reason::PolicyMismatch));
        let now = scene.now;
        assert_eq!(scene.brain.readiness(now), Err(Reason::PolicyMismatch));
        assert_eq!(
            scene.brain.agreement().mismatch(),
            Some(format!(
                "{service} runs policy 080808080808, brain 070707070707"
            ))
        );

        assert_eq!(say(&mut scene, POLICY), said(service, POLICY));
        assert_eq!(say(&mut scene, POLICY), [], "{service}: once");
        assert_eq!(scene.brain.agreement().mismatch(), None);
        assert!(scene.order(&proposal()).is_ok(), "{service}");
    }
}

#[test]
fn a_policy_that_was_said_too_long_ago_counts_for_nothing() {
    let mut scene = Scene::ready();
    scene.wait(1_001);
    scene.book("0.4999", "0.5001");
    assert_eq!(scene.order(&proposal()), Err(Reason::GuardSilent));
    scene.heartbeat(KillState::Armed, POLICY);
    assert_eq!(scene.order(&proposal()), Err(Reason::PositionUnknown));
    scene.status(status(None));
    assert!(scene.order(&proposal()).is_ok());
}

#[test]
fn a_heartbeat_that_was_overtaken_says_nothing_of_the_policy() {
    let mut scene = Scene::ready();
    let late = Heartbeat {
        kill: KillState::Armed,
        policy: OTHER,
        posture: portcullis_domain::Posture::Normal,
    };
    let late = scene.world.verified(ME, scene.now, &HEARTBEAT, None, &late);
    scene.wait(10);
    scene.heartbeat(KillState::Armed, POLICY);
    assert_eq!(scene.step(Input::Heartbeat(late)).notices, []);
    assert!(scene.order(&proposal()).is_ok());
}
