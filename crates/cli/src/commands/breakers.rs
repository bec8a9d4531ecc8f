//! `portcullis breakers`: what stands in the way of orders, and how to change that.

use std::path::Path;

use clap::Subcommand;
use portcullis_domain::{BreakerKey, BreakerState, Hash, Posture, Timestamp};
use portcullis_wire::messages::{
    BreakerStatus, HaltStatus, PendingCommand, RiskAction, RiskStatus,
};
use serde_json::{Value, json};

use super::risk::{self, ENDS, Post, Why};
use crate::exit::{End, Outcome};
use crate::feed::{AsOperator, now};
use crate::output::{Output, Table, Tone, rfc3339, span_words};
use crate::view::{action_words, posture_words};

const EXAMPLES: &str = "\
EXAMPLES
  portcullis breakers
  portcullis breakers --json | jq -r '.pending[].digest'
  portcullis breakers open network:bybit --reason \"maintenance at the venue\"
  portcullis breakers close hsm_failure --reason \"the signer answers again\"

An OPEN breaker lets through only what reduces a position (hsm_failure and system_error: nothing). When
its time is over it is HALF_OPEN and lets small probes through, one after the other, which close it if
they go well; hsm_failure waits for two persons first, and market_volatility needs ten calm minutes
instead of probes. A FORCED_OPEN one was opened by hand and stays so. Three kinds open at once pull the
kill switch.

EXIT CODES
  0 shown   7 risk-guard says nothing   1 the bus does not answer";

const OPEN_EXAMPLES: &str = "\
EXAMPLES
  portcullis breakers open network:bybit --reason \"maintenance at the venue\"
  portcullis breakers open slippage:bybit/sample --reason \"thin book\"

One person opens a breaker, at once. It does not recover by itself then.
";

const CLOSE_EXAMPLES: &str = "\
EXAMPLES
  portcullis breakers close hsm_failure --reason \"the signer answers again\"

Only for hsm_failure and for a breaker that was opened by hand, once its recovery is over: any other
lets probes through by itself then, and before that the command is refused. The breaker becomes HALF_OPEN, once a second person approves it: only probes that go well close it.
";

/// Show the circuit breakers, halts and commands that await approval, or open or close a breaker
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Breakers {
    #[command(flatten)]
    by: AsOperator,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Open a breaker by hand; it stays open until somebody closes it
    #[command(after_help = format!("{OPEN_EXAMPLES}\n{ENDS}"))]
    Open(Change),
    /// Let a breaker's probes through; takes a second person
    #[command(after_help = format!("{CLOSE_EXAMPLES}\n{ENDS}"))]
    Close(Change),
}

/// Which breaker, and why.
#[derive(Debug, clap::Args)]
struct Change {
    /// The breaker, such as network:bybit, slippage:bybit/sample or hsm_failure
    breaker: BreakerKey,
    #[command(flatten)]
    why: Why,
}

/// How many digits of a digest a table shows: enough to approve it by.
const DIGEST_SHOWN: usize = 16;
/// The form of the JSON.
const SCHEMA: &str = "portcullis.breakers/1";

/// Shows the breakers, or changes one.
///
/// # Errors
/// When risk-guard says nothing, or the bus does not answer.
pub async fn run(
    breakers: &Breakers,
    dir: Option<&Path>,
    bus: Option<&str>,
    output: &Output,
) -> Outcome {
    if let Some(verb) = &breakers.verb {
        let (action, why) = verb.action();
        return risk::command(action, why, dir, bus, output).await;
    }
    let mut post = Post::open(&breakers.by, dir, bus).await?;
    let status = post.status().await?;
    output.object(SCHEMA, to_json(status));
    for line in lines(status, now(), output) {
        output.line(&line);
    }
    Ok(End::Done)
}

impl Verb {
    fn action(&self) -> (RiskAction, &Why) {
        match self {
            Self::Open(Change { breaker, why }) => {
                (RiskAction::OpenBreaker { breaker: *breaker }, why)
            }
            Self::Close(Change { breaker, why }) => {
                (RiskAction::CloseBreaker { breaker: *breaker }, why)
            }
        }
    }
}

fn to_json(status: &RiskStatus) -> Value {
    let breaker = |one: &BreakerStatus| {
        json!({
            "breaker": one.breaker.to_string(),
            "state": one.state,
            "failures": one.failures,
            "outcomes": one.outcomes,
            "consecutive": one.consecutive,
            "recovers_at": one.recovers_at.map(rfc3339),
            "probes_passed": one.probes_passed,
        })
    };
    let halt = |one: &HaltStatus| {
        json!({
            "scope": one.scope.to_string(),
            "until": one.until.map(rfc3339),
            "operator": one.operator,
            "reason": one.reason.as_str(),
        })
    };
    let pending = |one: &PendingCommand| {
        json!({
            "digest": one.digest,
            "operator": one.command.operator,
            "action": action_words(&one.command.action),
            "reason": one.command.reason.as_str(),
            "at": rfc3339(one.command.at),
            "expires_at": rfc3339(one.expires_at),
        })
    };
    json!({
        "at": rfc3339(now()),
        "posture": status.posture,
        "generation": status.generation,
        "breakers": status.breakers.iter().map(breaker).collect::<Vec<_>>(),
        "halts": status.halts.iter().map(halt).collect::<Vec<_>>(),
        "suspended": status.suspended,
        "pending": status.pending.iter().map(pending).collect::<Vec<_>>(),
        "left_out": status.left_out,
    })
}

fn lines(status: &RiskStatus, present: Timestamp, output: &Output) -> Vec<String> {
    let mut lines = vec![format!("posture {}", posture_words(status.posture, output))];
    lines.extend(breaker_lines(&status.breakers, present, output));
    if !status.halts.is_empty() {
        lines.push(String::new());
        lines.extend(halt_lines(&status.halts, output));
    }
    if !status.suspended.is_empty() {
        let names: Vec<_> = status.suspended.iter().map(ToString::to_string).collect();
        lines.push(String::new());
        let text = format!("suspended for repeating themselves: {}", names.join(", "));
        lines.push(output.paint(Tone::Attention, &text));
    }
    if !status.pending.is_empty() {
        lines.push(String::new());
        lines.extend(pending_lines(&status.pending, present, output));
    }
    if status.left_out > 0 {
        lines.push(format!(
            "and {} lines that risk-guard left out",
            status.left_out
        ));
    }
    lines.push(String::new());
    lines.extend(how_to_act(status));
    lines
}

fn breaker_lines(breakers: &[BreakerStatus], present: Timestamp, output: &Output) -> Vec<String> {
    if breakers.is_empty() {
        return vec!["every circuit breaker is closed, and none counts a failure".to_owned()];
    }
    let heads = [
        "breaker",
        "state",
        ">failures",
        ">of",
        ">in a row",
        "recovers",
        ">probes passed",
    ];
    let mut table = Table::new(&heads);
    for one in breakers {
        let tone = match one.state {
            BreakerState::Closed => Tone::Quiet,
            BreakerState::HalfOpen => Tone::Attention,
            BreakerState::Open | BreakerState::ForcedOpen => Tone::Bad,
        };
        let recovers = match (one.state, one.recovers_at) {
            (_, Some(at)) => format!("in {}", span_words(at.since(present))),
            (BreakerState::ForcedOpen, None) => "by hand only".to_owned(),
            (BreakerState::HalfOpen, None) => "by probes".to_owned(),
            (BreakerState::Closed | BreakerState::Open, None) => "-".to_owned(),
        };
        table.row(vec![
            one.breaker.to_string(),
            output.paint(tone, one.state.code()),
            one.failures.to_string(),
            one.outcomes.to_string(),
            one.consecutive.to_string(),
            recovers,
            one.probes_passed.to_string(),
        ]);
    }
    table.lines(output)
}

fn halt_lines(halts: &[HaltStatus], output: &Output) -> Vec<String> {
    let mut table = Table::new(&["halted", "until", "by", "why"]);
    for halt in halts {
        table.row(vec![
            halt.scope.to_string(),
            halt.until
                .map_or_else(|| "it is lifted".to_owned(), rfc3339),
            halt.operator.to_string(),
            halt.reason.to_string(),
        ]);
    }
    table.lines(output)
}

fn pending_lines(pending: &[PendingCommand], present: Timestamp, output: &Output) -> Vec<String> {
    let heads = ["awaits approval", "lapses", "asked by", "what", "why"];
    let mut table = Table::new(&heads);
    for one in pending {
        table.row(vec![
            shown(one.digest),
            format!("in {}", span_words(one.expires_at.since(present))),
            one.command.operator.to_string(),
            action_words(&one.command.action),
            one.command.reason.to_string(),
        ]);
    }
    table.lines(output)
}

/// The first digits of a digest.
fn shown(digest: Hash) -> String {
    digest.to_string().chars().take(DIGEST_SHOWN).collect()
}

/// One command line for each kind of thing that somebody may want to do now.
fn how_to_act(status: &RiskStatus) -> Vec<String> {
    let mut lines = Vec::new();
    let mut way = |what: &str, line: String| {
        lines.push(format!("{what:<26} portcullis {line} --reason TEXT"));
    };
    for one in &status.pending {
        let who = format!("not {}", one.command.operator);
        way(
            &format!("approve ({who})"),
            format!("approve {}", shown(one.digest)),
        );
    }
    for halt in &status.halts {
        way("end a halt", format!("halt lift {}", halt.scope));
    }
    for strategy in &status.suspended {
        way("let a strategy go on", format!("release {strategy}"));
    }
    // Any other open one lets probes through by itself when its time is over.
    let stuck = |one: &&BreakerStatus| {
        one.state == BreakerState::ForcedOpen
            || (one.state == BreakerState::Open && one.recovers_at.is_none())
    };
    for one in status.breakers.iter().filter(stuck) {
        way(
            "let probes through",
            format!("breakers close {}", one.breaker),
        );
    }
    if status.posture > Posture::Normal {
        way("raise the posture", "posture raise".to_owned());
    }
    way("let nothing new through", "halt SCOPE".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use portcullis_wire::Text;
    use portcullis_wire::messages::RiskCommand;

    use super::*;
    use crate::view::risk::tests::quiet;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        breakers: Breakers,
    }

    fn parse(line: &str) -> Result<Breakers, String> {
        let words = std::iter::once("breakers").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|problem| problem.to_string())?;
        Ok(line.breakers)
    }

    fn busy() -> RiskStatus {
        let lift = RiskCommand {
            realm: "dev".parse().unwrap(),
            operator: "operator-dev".parse().unwrap(),
            action: RiskAction::LiftHalt {
                scope: "all".parse().unwrap(),
            },
            reason: Text::lossy("calm again"),
            at: NOW,
        };
        RiskStatus {
            posture: Posture::Defensive,
            breakers: vec![BreakerStatus {
                breaker: "network:bybit".parse().unwrap(),
                state: BreakerState::Open,
                failures: 6,
                outcomes: 10,
                consecutive: 5,
                recovers_at: Some(Timestamp::from_millis(1_030_000)),
                probes_passed: 0,
            }],
            halts: vec![HaltStatus {
                scope: "all".parse().unwrap(),
                until: None,
                operator: "operator-dev".parse().unwrap(),
                reason: Text::lossy("drill"),
            }],
            suspended: vec!["sample".parse().unwrap()],
            pending: vec![PendingCommand {
                digest: Hash([0xab; 32]),
                command: lift,
                expires_at: Timestamp::from_millis(1_600_000),
            }],
            ..quiet()
        }
    }

    #[test]
    fn says_what_stands_in_the_way_and_how_to_act() {
        let said = lines(&busy(), NOW, &Output::of(false, false, false));
        assert_eq!(
            said,
            [
                "posture DEFENSIVE: only what reduces a position",
                "breaker        state  failures  of  in a row  recovers  probes passed",
                "network:bybit  OPEN          6  10         5  in 30 s               0",
                "",
                "halted  until         by            why",
                "all     it is lifted  operator-dev  drill",
                "",
                "suspended for repeating themselves: sample",
                "",
                "awaits approval   lapses     asked by      what                  why",
                "abababababababab  in 10 min  operator-dev  lift the halt of all  calm again",
                "",
                "approve (not operator-dev) portcullis approve abababababababab --reason TEXT",
                "end a halt                 portcullis halt lift all --reason TEXT",
                "let a strategy go on       portcullis release sample --reason TEXT",
                "raise the posture          portcullis posture raise --reason TEXT",
                "let nothing new through    portcullis halt SCOPE --reason TEXT",
            ]
        );
    }

    #[test]
    fn says_so_when_nothing_stands_in_the_way() {
        let said = lines(&quiet(), NOW, &Output::of(false, false, false));
        assert_eq!(
            said,
            [
                "posture NORMAL: everything within the limits",
                "every circuit breaker is closed, and none counts a failure",
                "",
                "let nothing new through    portcullis halt SCOPE --reason TEXT",
            ]
        );
    }

    #[test]
    fn a_script_gets_the_whole_digest() {
        let value = to_json(&busy());
        assert_eq!(value["pending"][0]["digest"], json!("ab".repeat(32)));
        assert_eq!(value["breakers"][0]["breaker"], json!("network:bybit"));
        assert_eq!(value["breakers"][0]["state"], json!("OPEN"));
        assert_eq!(value["halts"][0]["until"], Value::Null);
        assert_eq!(value["suspended"], json!(["sample"]));
    }

    #[test]
    fn a_breaker_is_named_with_its_scope() {
        let verb = parse("close slippage:bybit/sample --reason x")
            .unwrap()
            .verb;
        let (action, _) = verb.as_ref().unwrap().action();
        let breaker = "slippage:bybit/sample".parse().unwrap();
        assert_eq!(action, RiskAction::CloseBreaker { breaker });
        let verb = parse("open hsm_failure --reason x").unwrap().verb;
        let (action, _) = verb.as_ref().unwrap().action();
        let breaker = BreakerKey::hsm();
        assert_eq!(action, RiskAction::OpenBreaker { breaker });
        for (line, expected) in [
            ("open slippage:bybit --reason x", "is no circuit breaker"),
            ("open hsm_failure", "--reason"),
            ("reset hsm_failure --reason x", "unrecognized subcommand"),
        ] {
            let problem = parse(line).unwrap_err();
            assert!(problem.contains(expected), "{line}: {problem}");
        }
    }
}
