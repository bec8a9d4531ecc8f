//! A view as people and scripts see it.

use portcullis_domain::Reason;
use portcullis_wire::Text;
use portcullis_wire::messages::ServiceStatus;

use super::*;
use crate::view::tests::execution_status;

const NOW: Timestamp = Timestamp::from_millis(1_709_251_199_999);

fn healthy() -> View {
    let mut view = View::default();
    view.execution(NOW, execution_status(KillState::Armed, "125.5"));
    let status = ServiceStatus {
        ready: true,
        detail: Text::lossy(""),
        kill: None,
        policy: None,
        counts: vec![],
    };
    for role in Role::SERVICES
        .iter()
        .filter(|role| **role != Role::Execution)
    {
        view.status(NOW, *role, &status);
    }
    view
}

#[test]
fn trading_only_when_everybody_says_so() {
    let mut view = healthy();
    assert_eq!(view.standing(NOW), Standing::Trading);
    let warming = ServiceStatus {
        ready: false,
        detail: Text::lossy("WARMING_UP"),
        kill: Some(KillState::Armed),
        policy: None,
        counts: vec![],
    };
    view.status(NOW, Role::RiskGuard, &warming);
    assert_eq!(
        view.standing(NOW),
        Standing::Waiting("risk-guard: WARMING_UP".into())
    );
    view = healthy();
    view.services.remove(&Role::Audit);
    assert_eq!(
        view.standing(NOW),
        Standing::Waiting("audit is silent".into())
    );
    view = healthy();
    let later = NOW.plus(Span::from_secs(4));
    assert_eq!(view.standing(later), Standing::Silent);
    let mut status = execution_status(KillState::Armed, "0");
    (status.may_trade, status.reason) = (false, Some(Reason::GuardSilent));
    view.execution(NOW, status);
    assert_eq!(
        view.standing(NOW),
        Standing::Waiting("execution: GUARD_SILENT".into())
    );
    view.execution(NOW, execution_status(KillState::Triggered, "0"));
    assert_eq!(
        view.standing(NOW),
        Standing::Stopped("execution TRIGGERED".into())
    );
}

#[test]
fn the_days_loss_stands_against_the_hard_limit() {
    let output = Output::of(false, false, false);
    let cases = [
        (
            "125.5",
            "loss 125.50 USD, hard limit 500.00  [#####...............] 25 %",
        ),
        (
            "-3.214",
            "gain 3.21 USD, hard limit 500.00  [....................] 0 %",
        ),
        (
            "700",
            "loss 700.00 USD, hard limit 500.00  [####################] 140 %",
        ),
    ];
    for (loss, expected) in cases {
        let status = execution_status(KillState::Armed, loss);
        assert_eq!(day_line(&status, &output), expected);
    }
    // Yesterday's loss is a loss of the last 24 hours, and is what is near the limit.
    let mut status = execution_status(KillState::Armed, "25");
    status.loss_rolling = "400".parse().unwrap();
    assert_eq!(
        day_line(&status, &output),
        "loss 25.00 USD, loss in 24 h 400.00, hard limit 500.00  [################....] 80 %"
    );
}

#[test]
fn where_the_venue_contradicts_us_is_shown_with_what_both_say() {
    let mut status = execution_status(KillState::Armed, "0");
    status.halts = vec![portcullis_wire::messages::VenueHalt {
        symbol: Some("XRPUSDT".parse().unwrap()),
        reason: Reason::VenueDiffers,
        evidence: portcullis_wire::Text::lossy("position of XRPUSDT: 1 at the venue, 0 here"),
    }];
    let mut view = healthy();
    view.execution(NOW, status);
    let screen = view.screen(NOW, &Processes::new(), &Output::of(false, false, false));
    let line = screen.iter().find(|line| line.starts_with("halted"));
    assert_eq!(
        line.map(String::as_str),
        Some(
            "halted     nothing new in XRPUSDT, VENUE_DIFFERS: position of XRPUSDT: 1 at the venue, 0 here"
        )
    );
}

#[test]
fn amounts_in_json_are_strings() {
    let value = healthy().json(NOW, &Processes::new());
    assert_eq!(value["day"]["loss"], json!("125.5"));
    assert_eq!(value["day"]["loss_max"], json!("500"));
    assert_eq!(value["standing"], json!("trading"));
    assert_eq!(value["at"], json!("2024-02-29T23:59:59.999Z"));
    assert_eq!(value["services"]["brain"]["ready"], json!(true));
}

#[test]
fn a_process_that_is_down_shows_on_both_forms() {
    let view = healthy();
    let processes = Processes::from([
        ("brain".to_owned(), "restarting".to_owned()),
        ("nats-server".to_owned(), "up".to_owned()),
    ]);
    assert!(view.line(NOW, &processes).ends_with("brain restarting"));
    let output = Output::of(false, false, false);
    let screen = view.screen(NOW, &processes, &output).join("\n");
    assert!(
        screen.contains("brain restarting · risk-guard up"),
        "{screen}"
    );
    assert!(screen.contains("nats-server up"), "{screen}");
}
