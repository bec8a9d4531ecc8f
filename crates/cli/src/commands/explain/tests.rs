//! What the log of one order says.

use portcullis_domain::{Measure, OrderStatus, Rule, Side, Unit};
use portcullis_wire::Text;
use portcullis_wire::messages::{Decision, ExecutionReport};

use super::*;

const ORDER: OrderId = OrderId([0xab; 16]);
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn check(rule: Rule, figures: Option<(Unit, &str, &str)>) -> Check {
    let measure = figures.map(|(unit, limit, used)| Measure {
        unit,
        limit: limit.parse().unwrap(),
        used: used.parse().unwrap(),
    });
    Check { rule, measure }
}

fn verdict(order: OrderId, outcome: Answer, checks: Vec<Check>) -> Verdict {
    Verdict {
        order_frame: vec![],
        order,
        outcome,
        checks,
    }
}

fn decision(outcome: Answer) -> Decision {
    Decision {
        proposal: vec![],
        order: ORDER,
        outcome,
    }
}

fn report(status: OrderStatus) -> ExecutionReport {
    ExecutionReport {
        order: ORDER,
        strategy: "sample".parse().unwrap(),
        symbol: "XRPUSDT".parse().unwrap(),
        side: Side::Buy,
        quantity: "10".parse().unwrap(),
        filled: None,
        status,
        venue_order: None,
        reason: None,
        detail: Text::lossy(""),
    }
}

fn told(verdicts: &[Verdict], digits: &str) -> Found {
    let mut found = Found::of(digits);
    found.tell(ORDER, NOW, |story| {
        story.way.decision(&decision(Answer::Passed))
    });
    for verdict in verdicts {
        found.tell(verdict.order, NOW, |story| story.verdict(verdict));
    }
    found
}

fn refused() -> Verdict {
    let checks = vec![
        check(Rule::KillSwitch, None),
        check(Rule::BookAge, Some((Unit::Millis, "1000", "35"))),
        check(Rule::OrderNotional, Some((Unit::Usd, "50", "61.25"))),
    ];
    verdict(ORDER, Answer::Refused(Reason::OrderNotional), checks)
}

#[test]
fn a_refusal_shows_every_rule_and_which_of_them_refused() {
    let story = told(&[refused()], "abababab").only().unwrap();
    let said = story.lines(&Output::of(false, false, false));
    assert_eq!(
        said,
        [
            "order abababababababababababababababab",
            "  00:16:40 brain       made order abababababababababababababababab",
            "  00:16:40 risk-guard  refused it: ORDER_NOTIONAL",
            "             rule                limit       used        left  what it asks",
            "    ok       kill_switch             -          -           -  the kill switch is armed",
            "    ok       book_age          1000 ms      35 ms      965 ms  the age of the order book",
            "    REFUSED  order_notional  50.00 USD  61.25 USD  -11.25 USD  the value of one order, at most",
            "refused by risk-guard: ORDER_NOTIONAL",
            "next step: order less: `portcullis limits` shows the limit in force (order_notional_max in the policy)",
        ]
    );
    let value = story.to_json();
    assert_eq!(value["reason"], json!("ORDER_NOTIONAL"));
    assert_eq!(value["refused_by"], json!("risk-guard"));
    assert_eq!(value["checks"][0]["limit"], Value::Null);
    assert_eq!(value["checks"][1]["passed"], json!(true));
    let last = &value["checks"][2];
    assert_eq!(last["passed"], json!(false));
    assert_eq!(last["used"], json!("61.25"));
    assert_eq!(last["left"], json!("-11.25"));
    assert_eq!(last["percent_used"], json!(122));
}

#[test]
fn what_passed_has_no_rule_that_refused_it_and_goes_on() {
    let checks = vec![check(Rule::KillSwitch, None)];
    let mut found = told(&[verdict(ORDER, Answer::Passed, checks)], "abababab");
    found.tell(ORDER, NOW, |story| {
        story.way.report(&report(OrderStatus::Open))
    });
    let story = found.only().unwrap();
    let said = story.lines(&Output::of(false, false, false)).join("\n");
    assert!(!said.contains("REFUSED"), "{said}");
    assert!(said.ends_with("it rests at the venue"), "{said}");
    assert_eq!(story.to_json()["next_step"], Value::Null);
}

#[test]
fn a_duplicate_does_not_change_the_first_answer() {
    let passed = verdict(ORDER, Answer::Passed, vec![]);
    let again = verdict(ORDER, Answer::Refused(Reason::DuplicateOrder), vec![]);
    let story = told(&[passed, again], "abababab").only().unwrap();
    assert_eq!(story.refusal(), None);
}

#[test]
fn what_the_brain_refused_met_no_rule() {
    let mut found = Found::of("abababab");
    let refused = decision(Answer::Refused(Reason::BudgetExceeded));
    found.tell(ORDER, NOW, |story| story.way.decision(&refused));
    let story = found.only().unwrap();
    let said = story.lines(&Output::of(false, false, false)).join("\n");
    assert!(said.contains("risk-guard never judged it"), "{said}");
    assert!(said.contains("refused by brain: BUDGET_EXCEEDED"), "{said}");
}

#[test]
fn digits_name_one_order_or_none() {
    let mut other = ORDER;
    other.0[8] = 0;
    let two = || {
        told(
            &[refused(), verdict(other, Answer::Passed, vec![])],
            "abababab",
        )
    };
    let several = two().only().err().unwrap();
    assert_eq!(several.end, End::Usage);
    assert!(
        several.to_string().contains(&other.to_string()),
        "{several}"
    );
    let none = told(&[refused()], "cdcdcdcd").only().err().unwrap();
    assert_eq!(none.end, End::Failed);
    for (text, fits) in [
        ("abababab", true),
        ("ABABABAB", true),
        ("ababab", false),
        ("abababag", false),
    ] {
        assert_eq!(digits(text).is_ok(), fits, "{text}");
    }
    assert!(digits(&"a".repeat(33)).is_err());
}
