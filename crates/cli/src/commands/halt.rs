//! `portcullis halt`: one person lets nothing new of a part through; two end it.

use std::path::Path;

use clap::Subcommand;
use portcullis_domain::{Scope, Span};
use portcullis_wire::Text;
use portcullis_wire::messages::RiskAction;

use super::risk::{ENDS, Post, Why, command};
use crate::command::reason;
use crate::exit::{End, Failure, Outcome};
use crate::feed::{AsOperator, now};
use crate::output::Output;

const EXAMPLES: &str = "\
EXAMPLES
  portcullis halt strategy:sample --reason \"it buys what it just sold\"
  portcullis halt instrument:XRPUSDT --for 10m --reason \"news\"
  portcullis halt all --reason \"I want to look first\"
  portcullis halt lift strategy:sample --reason \"corrected and tested\"

Risk-guard permits nothing new of that part from then on; what is open stays open. It is done at once
and takes one person; ending it before its time takes two. To cancel what is open, too, and to stop
every service for good: portcullis kill.
";

const LIFT_EXAMPLES: &str = "\
EXAMPLES
  portcullis halt lift strategy:sample --reason \"corrected and tested\"

It waits until another operator approves it; the answer says how.
";

/// The longest halt that ends by itself.
const HALT_SECONDS_MAX: u64 = 30 * 86_400;

/// Let nothing new of a part through, or end that
#[derive(Debug, clap::Args)]
#[command(
    after_help = format!("{EXAMPLES}\n{ENDS}"),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Halt {
    /// Of what: all, venue:VENUE, instrument:INSTRUMENT or strategy:STRATEGY
    #[arg(required = true)]
    scope: Option<Scope>,
    /// Why, for the record: at most 200 bytes on one line
    #[arg(long, value_name = "TEXT", value_parser = reason, required = true)]
    reason: Option<Text>,
    /// For how long, such as 30s, 10m or 2h [default: until it is lifted]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasting: Option<Span>,
    #[command(flatten)]
    by: AsOperator,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// End a halt; takes a second person
    #[command(after_help = format!("{LIFT_EXAMPLES}\n{ENDS}"))]
    Lift(Lift),
}

/// Which halt, and why it may end.
#[derive(Debug, clap::Args)]
struct Lift {
    /// Of what, as `portcullis breakers` shows it
    scope: Scope,
    #[command(flatten)]
    why: Why,
}

fn duration(text: &str) -> Result<Span, String> {
    let wrong = || "is no duration: give 30s, 10m or 2h".to_owned();
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(wrong()),
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(seconds) {
        Some(0) => Err("is no time at all".to_owned()),
        Some(seconds) if seconds <= HALT_SECONDS_MAX => Ok(Span::from_secs(seconds)),
        Some(_) | None => Err("is longer than 30 days: leave it out, and lift it later".to_owned()),
    }
}

/// Halts something, or asks for the end of a halt.
///
/// # Errors
/// When it cannot be sent, or nobody answers.
pub async fn run(halt: &Halt, dir: Option<&Path>, bus: Option<&str>, output: &Output) -> Outcome {
    match (&halt.verb, halt.scope, &halt.reason) {
        (Some(Verb::Lift(Lift { scope, why })), ..) => {
            let action = RiskAction::LiftHalt { scope: *scope };
            command(action, why, dir, bus, output).await
        }
        (None, Some(scope), Some(reason)) => {
            let until = halt.lasting.map(|lasting| now().plus(lasting));
            let action = RiskAction::Halt { scope, until };
            let mut post = Post::open(&halt.by, dir, bus).await?;
            post.command(action, reason, output).await
        }
        (None, ..) => Err(Failure::new(
            End::Usage,
            "say what to halt, and why",
            "see portcullis halt --help",
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        halt: Halt,
    }

    fn parse(line: &str) -> Result<Halt, String> {
        let words = std::iter::once("halt").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|problem| problem.to_string())?;
        Ok(line.halt)
    }

    #[test]
    fn a_duration_is_a_number_and_its_unit() {
        for (text, seconds) in [
            ("30s", 30),
            ("10m", 600),
            ("2h", 7_200),
            ("720h", 2_592_000),
        ] {
            assert_eq!(duration(text), Ok(Span::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "s",
            "10",
            "1d",
            "-1s",
            "+1s",
            "1.5h",
            "0s",
            "721h",
            "1 h",
            "1ü",
            "99999999999999999999h",
            "9999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_to_halt_and_why_are_given() {
        let halt = parse("strategy:sample --reason x --for 10m").unwrap();
        assert_eq!(halt.scope.unwrap().to_string(), "strategy:sample");
        assert_eq!(halt.lasting, Some(Span::from_secs(600)));
        let lift = parse("lift all --reason x --operator second").unwrap();
        let Some(Verb::Lift(lift)) = lift.verb else {
            panic!("no lift");
        };
        assert_eq!(lift.scope, Scope::All);
        for (line, expected) in [
            ("", "SCOPE"),
            ("all", "--reason"),
            ("--reason x", "SCOPE"),
            ("sample --reason x", "strategy:STRATEGY"),
            ("all --reason x --for tomorrow", "is no duration"),
            ("lift all", "--reason"),
            ("lift --reason x", "SCOPE"),
        ] {
            let problem = parse(line).unwrap_err();
            assert!(problem.contains(expected), "{line}: {problem}");
        }
    }
}
