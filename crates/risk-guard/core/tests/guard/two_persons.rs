//! Operators' commands: what one person may do alone, and what takes a second one.

use portcullis_domain::{Reason, Scope, Span, Timestamp};
use portcullis_testkit::seals::principal;
use portcullis_wire::messages::{CommandOutcome, Notice, RiskAction, RiskCommand};
use portcullis_wire::subjects::RISK_COMMAND;
use portcullis_wire::{Realm, Text, command};
use risk_guard_core::Input;

use crate::scene::{ME, Scene};

const LIFT: RiskAction = RiskAction::LiftHalt { scope: Scope::All };

/// A command of this person, signed then; gives back its digest and what the guard says of it.
fn commands(
    scene: &mut Scene,
    operator: &str,
    action: RiskAction,
    at: Timestamp,
) -> (portcullis_domain::Hash, Vec<CommandOutcome>) {
    let wanted = RiskCommand {
        realm: Realm::new("dev").unwrap(),
        operator: principal(operator),
        action,
        reason: Text::lossy("drill"),
        at,
    };
    let signed = scene.world.signed(operator, &wanted);
    let operators = scene.world.operators();
    let sealed = scene
        .world
        .seal_as(operator, scene.now, &RISK_COMMAND, None, &signed, None);
    let opened = scene.world.open(ME, scene.now, &RISK_COMMAND, &sealed);
    let opened = opened.unwrap().either();
    let authorised = command::authorise(&opened, wanted.realm, &operators).unwrap();
    let digest = authorised.digest();
    let effects = scene.step(Input::Command(authorised));
    let outcomes = effects.notices.iter().filter_map(|notice| match notice {
        Notice::Commanded { outcome, .. } => Some(*outcome),
        _ => None,
    });
    (digest, outcomes.collect())
}

fn halted() -> Scene {
    let mut scene = Scene::ready();
    let halt = RiskAction::Halt {
        scope: Scope::All,
        until: None,
    };
    let now = scene.now;
    let (_, said) = commands(&mut scene, "operator-alice", halt, now);
    assert_eq!(said, [CommandOutcome::Done], "the safe direction takes one");
    scene
}

fn refusal(scene: &mut Scene) -> Option<Reason> {
    let order = scene.order();
    scene.refusal(&order)
}

#[test]
fn nobody_approves_their_own_command_and_a_second_person_does() {
    let mut scene = halted();
    assert_eq!(refusal(&mut scene), Some(Reason::Halted));
    let now = scene.now;
    let (digest, said) = commands(&mut scene, "operator-alice", LIFT, now);
    assert_eq!(said, [CommandOutcome::AwaitsApproval]);
    let approve = RiskAction::Approve { digest };
    let (_, said) = commands(&mut scene, "operator-alice", approve, now);
    assert_eq!(said, [CommandOutcome::Refused]);
    assert_eq!(refusal(&mut scene), Some(Reason::Halted), "still halted");
    let (_, said) = commands(&mut scene, "operator-bob", approve, now);
    // The command itself is done, and so is its approval.
    assert_eq!(said, [CommandOutcome::Done, CommandOutcome::Done]);
    assert_eq!(refusal(&mut scene), None);
}

#[test]
fn a_command_that_was_signed_too_long_ago_or_ahead_of_time_is_refused() {
    let halt = RiskAction::Halt {
        scope: Scope::All,
        until: None,
    };
    let cases = [
        (-120_000, CommandOutcome::Done),
        (-120_001, CommandOutcome::Refused),
        (2_000, CommandOutcome::Done),
        (2_001, CommandOutcome::Refused),
    ];
    for (millis, expected) in cases {
        let mut scene = Scene::ready();
        // Later than the command, so that its time is not before the guard's.
        scene.wait(200_000);
        let away = Span::from_millis(i64::unsigned_abs(millis));
        let at = if millis < 0 {
            scene.now.minus(away)
        } else {
            scene.now.plus(away)
        };
        let (_, said) = commands(&mut scene, "operator-alice", halt, at);
        assert_eq!(said, [expected], "{millis} ms");
    }
}
