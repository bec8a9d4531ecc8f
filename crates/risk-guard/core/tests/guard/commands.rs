//! Operators' commands: one person for the safe direction, two for the risky one.

use portcullis_domain::{
    BreakerState, Figure, KillState, Order, Posture, Reason, Rule, Scope, Span,
};
use portcullis_testkit::seals::principal;
use portcullis_wire::command;
use portcullis_wire::messages::{CommandOutcome, ExecutionStatus, Notice, RiskAction, RiskCommand};
use portcullis_wire::subjects::RISK_COMMAND;
use portcullis_wire::{Signed, Text};
use risk_guard_core::{Effects, Input, RiskGuard};

use crate::scene::{ME, Scene, settings, status};

const ALICE: &str = "operator-alice";
const BOB: &str = "operator-bob";

fn signed(scene: &Scene, operator: &str, action: RiskAction) -> Signed<RiskCommand> {
    let command = RiskCommand {
        realm: scene.world.realm(),
        operator: principal(operator),
        action,
        reason: Text::lossy("drill"),
        at: scene.now,
    };
    scene.world.signed(operator, &command)
}

fn send(scene: &mut Scene, operator: &str, signed: &Signed<RiskCommand>) -> Effects {
    let now = scene.now;
    let sealed = scene
        .world
        .seal_as(operator, now, &RISK_COMMAND, None, signed, None);
    let opened = scene.world.open(ME, now, &RISK_COMMAND, &sealed).unwrap();
    let (realm, keys) = (scene.world.realm(), scene.world.operators());
    let authorised = command::authorise(&opened.either(), realm, &keys).unwrap();
    scene.step(Input::Command(authorised))
}

/// What became of a command, and what was said.
fn outcome(effects: &Effects) -> (CommandOutcome, String) {
    let told = effects
        .notices
        .iter()
        .rev()
        .find_map(|notice| match notice {
            Notice::Commanded {
                outcome, detail, ..
            } => Some((*outcome, detail.as_str().to_owned())),
            _ => None,
        });
    told.unwrap()
}

fn command(scene: &mut Scene, operator: &str, action: RiskAction) -> (CommandOutcome, String) {
    let signed = signed(scene, operator, action);
    let effects = send(scene, operator, &signed);
    let outcome = outcome(&effects);
    assert_eq!(
        effects.is_sync,
        outcome.0 == CommandOutcome::Done,
        "what is told as done is on disk first"
    );
    outcome
}

/// The first person asks, the second approves; what became of it.
fn two(scene: &mut Scene, action: RiskAction) -> (CommandOutcome, String) {
    let asked = signed(scene, ALICE, action);
    let effects = send(scene, ALICE, &asked);
    assert_eq!(
        outcome(&effects).0,
        CommandOutcome::AwaitsApproval,
        "{action:?}"
    );
    let digest = asked.digest();
    command(scene, BOB, RiskAction::Approve { digest })
}

fn refuses(scene: &mut Scene) -> Option<Reason> {
    let order = scene.order();
    scene.refusal(&order)
}

fn everything() -> Scope {
    Scope::All
}

#[test]
fn one_person_halts_and_two_lift_it() {
    let mut scene = Scene::ready();
    let scope = everything();
    let halt = RiskAction::Halt { scope, until: None };
    let (outcome, detail) = command(&mut scene, ALICE, halt);
    assert_eq!(outcome, CommandOutcome::Done, "{detail}");
    assert!(detail.contains("halt all"), "{detail}");
    assert_eq!(refuses(&mut scene), Some(Reason::Halted));
    let lift = RiskAction::LiftHalt { scope };
    let (outcome, _) = command(&mut scene, ALICE, lift);
    assert_eq!(outcome, CommandOutcome::AwaitsApproval);
    assert_eq!(refuses(&mut scene), Some(Reason::Halted), "not yet");
    let waiting = scene.guard.risk_status(scene.now).pending;
    assert_eq!(waiting.len(), 1);
    let digest = waiting[0].digest;
    let approve = RiskAction::Approve { digest };
    let (outcome, detail) = command(&mut scene, ALICE, approve);
    assert_eq!(outcome, CommandOutcome::Refused);
    assert!(detail.contains("nobody approves their own"), "{detail}");
    assert_eq!(refuses(&mut scene), Some(Reason::Halted));
    let (outcome, _) = command(&mut scene, BOB, approve);
    assert_eq!(outcome, CommandOutcome::Done);
    assert_eq!(refuses(&mut scene), None);
    scene.wait(1);
    let (outcome, detail) = command(&mut scene, BOB, approve);
    assert_eq!(outcome, CommandOutcome::Refused, "once");
    assert!(detail.contains("nothing waits"), "{detail}");
}

#[test]
fn an_approval_is_for_exactly_one_command() {
    let mut scene = Scene::ready();
    let scope = everything();
    command(&mut scene, ALICE, RiskAction::Halt { scope, until: None });
    let lift = RiskAction::LiftHalt { scope };
    let one = signed(&scene, ALICE, lift);
    // The same words a moment later are another command.
    scene.wait(1);
    let other = signed(&scene, ALICE, lift);
    assert_ne!(one.digest(), other.digest());
    send(&mut scene, ALICE, &one);
    let digest = other.digest();
    let (outcome, _) = command(&mut scene, BOB, RiskAction::Approve { digest });
    assert_eq!(outcome, CommandOutcome::Refused);
    assert_eq!(refuses(&mut scene), Some(Reason::Halted));
}

#[test]
fn nobody_answering_is_a_refusal() {
    let mut scene = Scene::ready();
    let scope = everything();
    command(&mut scene, ALICE, RiskAction::Halt { scope, until: None });
    let asked = signed(&scene, ALICE, RiskAction::LiftHalt { scope });
    send(&mut scene, ALICE, &asked);
    scene.wait(600_000);
    let effects = scene.step(Input::Tick);
    assert_eq!(outcome(&effects).0, CommandOutcome::Lapsed);
    let digest = asked.digest();
    let (outcome, _) = command(&mut scene, BOB, RiskAction::Approve { digest });
    assert_eq!(outcome, CommandOutcome::Refused);
}

#[test]
fn a_command_counts_once_and_not_long_after_it_was_signed() {
    let mut scene = Scene::ready();
    let scope = everything();
    let halt = signed(&scene, ALICE, RiskAction::Halt { scope, until: None });
    scene.wait(119_000);
    let effects = send(&mut scene, ALICE, &halt);
    assert_eq!(outcome(&effects).0, CommandOutcome::Done);
    let lift = signed(&scene, ALICE, RiskAction::LiftHalt { scope });
    let effects = send(&mut scene, ALICE, &lift);
    assert_eq!(outcome(&effects).0, CommandOutcome::AwaitsApproval);
    let effects = send(&mut scene, ALICE, &lift);
    assert_eq!(effects.notices, [], "in another envelope it is the same");
    scene.wait(1);
    let late = signed(&scene, ALICE, RiskAction::LiftHalt { scope });
    scene.wait(120_001);
    let effects = send(&mut scene, ALICE, &late);
    let (outcome, detail) = outcome(&effects);
    assert_eq!(outcome, CommandOutcome::Refused);
    assert!(detail.contains("signed too long ago"), "{detail}");
}

#[test]
fn what_waits_is_void_once_somebody_makes_the_same_thing_stricter() {
    let mut scene = Scene::ready();
    let scope = everything();
    let halt = RiskAction::Halt { scope, until: None };
    command(&mut scene, ALICE, halt);
    let asked = signed(&scene, ALICE, RiskAction::LiftHalt { scope });
    send(&mut scene, ALICE, &asked);
    scene.wait(1_000);
    // Somebody halts it again, for another reason.
    command(&mut scene, BOB, halt);
    assert_eq!(scene.guard.risk_status(scene.now).pending, []);
    let digest = asked.digest();
    let (outcome, detail) = command(&mut scene, BOB, RiskAction::Approve { digest });
    assert_eq!(outcome, CommandOutcome::Refused);
    assert!(detail.contains("nothing waits"), "{detail}");
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    assert_eq!(refuses(&mut scene), Some(Reason::Halted));
}

#[test]
fn the_risky_direction_does_not_count_when_it_was_signed_before_the_start() {
    let mut scene = Scene::ready();
    let scope = everything();
    command(&mut scene, ALICE, RiskAction::Halt { scope, until: None });
    let early = RiskCommand {
        realm: scene.world.realm(),
        operator: principal(ALICE),
        action: RiskAction::LiftHalt { scope },
        reason: Text::lossy("drill"),
        at: portcullis_testkit::seals::NOW.minus(Span(1)),
    };
    let early = scene.world.signed(ALICE, &early);
    let effects = send(&mut scene, ALICE, &early);
    let (outcome, detail) = outcome(&effects);
    assert_eq!(outcome, CommandOutcome::Refused);
    assert!(detail.contains("before risk-guard started"), "{detail}");
}

#[test]
fn a_halt_for_a_time_ends_by_itself_and_is_not_cut_short_by_one_person() {
    let mut scene = Scene::ready();
    let scope: Scope = "instrument:XRPUSDT".parse().unwrap();
    let until = |scene: &Scene, seconds| Some(scene.now.plus(Span::from_secs(seconds)));
    let minute = RiskAction::Halt {
        scope,
        until: until(&scene, 60),
    };
    assert_eq!(command(&mut scene, ALICE, minute).0, CommandOutcome::Done);
    let shorter = RiskAction::Halt {
        scope,
        until: until(&scene, 5),
    };
    let (outcome, _) = command(&mut scene, BOB, shorter);
    assert_eq!(outcome, CommandOutcome::AwaitsApproval);
    scene.wait(59_999);
    scene.step(Input::Tick);
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    assert_eq!(refuses(&mut scene), Some(Reason::Halted));
    scene.wait(1);
    let effects = scene.step(Input::Tick);
    assert!(effects.is_sync && !effects.records.is_empty());
    assert_eq!(refuses(&mut scene), None);
}

#[test]
fn a_limit_is_tightened_by_one_loosened_by_two_and_never_above_the_policy() {
    let mut scene = Scene::ready();
    let scope: Scope = "instrument:XRPUSDT".parse().unwrap();
    let set = |value: &str| RiskAction::SetLimit {
        rule: Rule::OrderNotional,
        scope,
        value: value.parse().unwrap(),
    };
    // The policy allows 200, and the order is worth 50.
    let (outcome, _) = command(&mut scene, ALICE, set("49.99"));
    assert_eq!(outcome, CommandOutcome::Done);
    assert_eq!(refuses(&mut scene), Some(Reason::OrderNotional));
    let limits = scene.guard.risk_status(scene.now).limits;
    let shown = limits
        .iter()
        .find(|limit| limit.rule == Rule::OrderNotional && limit.scope == scope)
        .unwrap();
    let figure = |text: &str| text.parse::<Figure>().unwrap();
    assert_eq!(
        (shown.limit, shown.ceiling),
        (figure("49.99"), figure("200"))
    );
    assert_eq!(two(&mut scene, set("50")).0, CommandOutcome::Done);
    assert_eq!(refuses(&mut scene), None);
    let (outcome, detail) = command(&mut scene, ALICE, set("200.01"));
    assert_eq!(outcome, CommandOutcome::Refused);
    assert!(detail.contains("200 at most"), "{detail}");
    let nonsense = RiskAction::SetLimit {
        rule: Rule::KillSwitch,
        scope,
        value: Figure::ZERO,
    };
    assert_eq!(
        command(&mut scene, ALICE, nonsense).0,
        CommandOutcome::Refused
    );
}

#[test]
fn a_breaker_is_opened_by_one_and_let_try_by_two() {
    let mut scene = Scene::ready();
    let breaker = "network:bybit".parse().unwrap();
    let open = RiskAction::OpenBreaker { breaker };
    assert_eq!(command(&mut scene, ALICE, open).0, CommandOutcome::Done);
    assert_eq!(refuses(&mut scene), Some(Reason::CircuitBreakerActive));
    let close = RiskAction::CloseBreaker { breaker };
    assert_eq!(two(&mut scene, close).0, CommandOutcome::Done);
    let listed = scene.guard.risk_status(scene.now).breakers;
    assert_eq!(listed[0].state, BreakerState::HalfOpen, "never closed");
    assert_eq!(refuses(&mut scene), Some(Reason::CircuitBreakerActive));
    let small = Order {
        quantity: "20".parse().unwrap(),
        ..scene.order()
    };
    assert_eq!(scene.refusal(&small), None, "a probe");
    let unknown = RiskAction::OpenBreaker {
        breaker: "slippage:bybit/nobody".parse().unwrap(),
    };
    assert_eq!(
        command(&mut scene, ALICE, unknown).0,
        CommandOutcome::Refused
    );
}

#[test]
fn two_raise_the_posture_as_far_as_the_drawdown_allows() {
    let mut settings = settings();
    settings.policy.drawdown_max = "100".parse().unwrap();
    let mut scene = Scene::new(settings);
    let fall = |scene: &mut Scene, drawdown: &str| {
        scene.wait(10);
        scene.status(ExecutionStatus {
            drawdown: drawdown.parse().unwrap(),
            ..status(&[])
        });
    };
    fall(&mut scene, "80");
    let raise = RiskAction::RaisePosture;
    let (outcome, detail) = command(&mut scene, ALICE, raise);
    assert_eq!(outcome, CommandOutcome::Refused, "{detail}");
    fall(&mut scene, "60");
    scene.wait(1);
    assert_eq!(two(&mut scene, raise).0, CommandOutcome::Done);
    assert_eq!(scene.guard.posture(), Posture::Cautious);
}

#[test]
fn one_designated_person_lets_a_strategy_go_on() {
    let mut settings = settings();
    settings.policy.strategy.repeated_fills_max = 1;
    let mut scene = Scene::new(settings);
    scene.book("0.4999", "0.5001");
    scene.status(status(&[]));
    let order = scene.order();
    assert_eq!(scene.refusal(&order), None);
    scene.reported(&order, portcullis_domain::OrderStatus::Filled, |report| {
        report.filled = Some(report.quantity);
    });
    assert_eq!(refuses(&mut scene), Some(Reason::StrategySuspended));
    let strategy = "sample".parse().unwrap();
    let release = RiskAction::Release { strategy };
    assert_eq!(command(&mut scene, ALICE, release).0, CommandOutcome::Done);
    assert_eq!(refuses(&mut scene), None);
    let again = command(&mut scene, BOB, release);
    assert_eq!(again.0, CommandOutcome::Refused);
}

#[test]
fn what_was_halted_and_set_is_so_after_a_restart_and_longer_where_the_clock_may_have_jumped() {
    let mut scene = Scene::ready();
    let scope = everything();
    let until = Some(scene.now.plus(Span::from_secs(60)));
    let rule = Rule::DailyLoss;
    let value = "10".parse().unwrap();
    let mut records = Vec::new();
    for action in [
        RiskAction::Halt { scope, until },
        RiskAction::SetLimit { rule, scope, value },
    ] {
        let signed = signed(&scene, ALICE, action);
        records.extend(send(&mut scene, ALICE, &signed).records);
    }
    for proven in [true, false] {
        let mut again = RiskGuard::new(settings());
        for record in &records {
            again.restore(record);
        }
        let anew = again.restored(scene.now, proven);
        let mut once_more = RiskGuard::new(settings());
        for record in records.iter().chain(&anew) {
            once_more.restore(record);
        }
        let _ = once_more.restored(scene.now, true);
        assert_eq!(
            once_more.risk_status(scene.now),
            again.risk_status(scene.now),
            "the next start does not undo it"
        );
        let status = again.risk_status(scene.now);
        assert_eq!(status.halts.len(), 1);
        let expected = if proven { until } else { None };
        assert_eq!(status.halts[0].until, expected, "proven: {proven}");
        let limit = status.limits.iter().find(|limit| limit.rule == rule);
        assert_eq!(limit.unwrap().limit, value);
    }
    assert_eq!(scene.guard.kill(), KillState::Armed);
}
