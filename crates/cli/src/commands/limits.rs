//! `portcullis limits`: what risk-guard allows, what is used of it, and how to change a limit.

use std::path::Path;

use clap::Subcommand;
use portcullis_domain::{Figure, Rule, Scope};
use portcullis_wire::messages::{LimitStatus, RiskAction, RiskStatus};
use serde_json::{Value, json};

use super::risk::{self, ENDS, Post, Why};
use crate::exit::{End, Outcome};
use crate::feed::{AsOperator, now};
use crate::output::{Output, Table, rfc3339};
use crate::view::{amount, bar, left_of, posture_words, used_of};

const EXAMPLES: &str = "\
EXAMPLES
  portcullis limits
  portcullis limits --json | jq '.limits[] | select(.percent_used > 80)'
  portcullis limits set order_notional instrument:XRPUSDT 50 --reason \"smaller while I am away\"

A limit whose use depends on the order has none here: `portcullis explain ORDER` says what an order
measured. A ceiling is what config/risk-policy.toml says, where a command has set the limit lower.

EXIT CODES
  0 shown   7 risk-guard says nothing   1 the bus does not answer";

const SET_EXAMPLES: &str = "\
EXAMPLES
  portcullis limits set order_notional instrument:XRPUSDT 50 --reason \"smaller while I am away\"
  portcullis limits set strategy_position strategy:sample 500 --reason \"watching it\"
  portcullis limits set daily_loss all 200 --reason \"thin market\" --operator operator-second

The names of the rules, the scopes and the units are those that `portcullis limits` shows. To tighten
takes one person and is done at once. To loosen takes two, and no command goes above the ceiling that
config/risk-policy.toml sets (for order_rate: config/risk-guard.toml).
";

/// How many places the bar of a limit has.
const BAR_WIDTH: u64 = 10;
/// The form of the JSON.
const SCHEMA: &str = "portcullis.limits/1";

/// Show every limit and what is used of it, or set one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Limits {
    #[command(flatten)]
    by: AsOperator,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Set a limit: tightening is done at once, loosening takes a second person
    #[command(after_help = format!("{SET_EXAMPLES}\n{ENDS}"))]
    Set(Set),
}

/// Which limit, and how high.
#[derive(Debug, clap::Args)]
struct Set {
    /// The rule whose limit it is, such as order_notional
    #[arg(value_parser = rule)]
    rule: Rule,
    /// For what: all, venue:VENUE, instrument:INSTRUMENT or strategy:STRATEGY
    scope: Scope,
    /// The new limit, in the unit that `portcullis limits` shows
    #[arg(value_parser = value, allow_negative_numbers = true)]
    value: Figure,
    #[command(flatten)]
    why: Why,
}

fn rule(text: &str) -> Result<Rule, String> {
    text.parse().map_err(|problem| {
        let near = Rule::ALL.iter().map(|rule| rule.code());
        let near: Vec<_> = near.filter(|code| code.contains(text)).collect();
        let hint = if near.is_empty() {
            "portcullis limits lists them".to_owned()
        } else {
            format!("did you mean {}?", near.join(" or "))
        };
        format!("{problem}; {hint}")
    })
}

fn value(text: &str) -> Result<Figure, String> {
    let value: Figure = text.parse().map_err(|problem| format!("{problem}"))?;
    if value.get().is_sign_negative() {
        return Err("is below zero; to let nothing through: portcullis halt".to_owned());
    }
    Ok(value)
}

/// Shows the limits, or sets one.
///
/// # Errors
/// When risk-guard says nothing, or the bus does not answer.
pub async fn run(
    limits: &Limits,
    dir: Option<&Path>,
    bus: Option<&str>,
    output: &Output,
) -> Outcome {
    if let Some(Verb::Set(set)) = &limits.verb {
        let Set {
            rule,
            scope,
            value,
            why,
        } = set;
        let (rule, scope, value) = (*rule, *scope, *value);
        let action = RiskAction::SetLimit { rule, scope, value };
        return risk::command(action, why, dir, bus, output).await;
    }
    let mut post = Post::open(&limits.by, dir, bus).await?;
    let status = post.status().await?;
    output.object(SCHEMA, to_json(status));
    for line in lines(status, output) {
        output.line(&line);
    }
    Ok(End::Done)
}

fn left(limit: &LimitStatus) -> Option<Figure> {
    let used = limit.used?;
    left_of(limit.rule, limit.limit, used)
}

fn percent_used(limit: &LimitStatus) -> Option<u64> {
    let used = limit.used?;
    used_of(limit.rule, limit.limit, used)
}

fn to_json(status: &RiskStatus) -> Value {
    let one = |limit: &LimitStatus| {
        json!({
            "rule": limit.rule,
            "words": limit.rule.words(),
            "scope": limit.scope.to_string(),
            "unit": limit.unit,
            "limit": limit.limit,
            "ceiling": limit.ceiling,
            "used": limit.used,
            "left": left(limit),
            "percent_used": percent_used(limit),
        })
    };
    let limits: Vec<_> = status.limits.iter().map(one).collect();
    json!({
        "at": rfc3339(now()),
        "posture": status.posture,
        "limits": limits,
        "left_out": status.left_out,
    })
}

fn lines(status: &RiskStatus, output: &Output) -> Vec<String> {
    let mut lines = vec![format!("posture {}", posture_words(status.posture, output))];
    if status.limits.is_empty() {
        lines.push("risk-guard names no limits".to_owned());
        return lines;
    }
    let lowered = |limit: &LimitStatus| limit.ceiling != limit.limit;
    let any_lowered = status.limits.iter().any(lowered);
    let mut heads = vec!["rule", "scope", ">limit", ">used", ">left"];
    if any_lowered {
        heads.push(">ceiling");
    }
    heads.extend(["share used", "what it limits"]);
    let mut table = Table::new(&heads);
    for limit in &status.limits {
        let figure = |figure: Option<Figure>| {
            figure.map_or_else(|| "-".to_owned(), |figure| amount(limit.unit, figure))
        };
        let mut row = vec![
            limit.rule.to_string(),
            limit.scope.to_string(),
            figure(Some(limit.limit)),
            figure(limit.used),
            figure(left(limit)),
        ];
        if any_lowered {
            row.push(match lowered(limit) {
                true => amount(limit.unit, limit.ceiling),
                false => String::new(),
            });
        }
        let share = percent_used(limit).map(|percent| bar(percent, BAR_WIDTH, output));
        row.push(share.unwrap_or_default());
        row.push(limit.rule.words().to_owned());
        table.row(row);
    }
    lines.extend(table.lines(output));
    if status.left_out > 0 {
        lines.push(format!(
            "and {} lines that risk-guard left out",
            status.left_out
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use portcullis_domain::{Posture, Unit};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        limits: Limits,
    }

    fn parse(words: &[&str]) -> Result<Limits, String> {
        let words = std::iter::once("limits").chain(words.iter().copied());
        let line = Line::try_parse_from(words).map_err(|problem| problem.to_string())?;
        Ok(line.limits)
    }

    fn limit(
        rule: Rule,
        unit: Unit,
        limit: &str,
        ceiling: &str,
        used: Option<&str>,
    ) -> LimitStatus {
        LimitStatus {
            rule,
            scope: "strategy:sample".parse().unwrap(),
            unit,
            limit: limit.parse().unwrap(),
            ceiling: ceiling.parse().unwrap(),
            used: used.map(|used| used.parse().unwrap()),
        }
    }

    fn status() -> RiskStatus {
        RiskStatus {
            posture: Posture::Cautious,
            generation: 3,
            breakers: vec![],
            halts: vec![],
            suspended: vec![],
            pending: vec![],
            limits: vec![
                limit(Rule::DailyLoss, Unit::Usd, "100", "200", Some("65.5")),
                limit(Rule::OpenOrders, Unit::Count, "20", "20", Some("25")),
                limit(Rule::OrderNotional, Unit::Usd, "50", "50", None),
            ],
            left_out: 2,
        }
    }

    #[test]
    fn shows_what_is_used_and_left_and_a_ceiling_only_where_it_differs() {
        let output = Output::of(false, false, false);
        let said = lines(&status(), &output);
        assert_eq!(
            said,
            [
                "posture CAUTIOUS: orders of half the size",
                "rule            scope                 limit       used       left     ceiling  share used          what it limits",
                "daily_loss      strategy:sample  100.00 USD  65.50 USD  34.50 USD  200.00 USD  [#######...] 65 %   the day's loss, all strategies together",
                "open_orders     strategy:sample          20         25         -5              [##########] 125 %  orders that are open or in doubt, all together",
                "order_notional  strategy:sample   50.00 USD          -          -                                  the value of one order, at most",
                "and 2 lines that risk-guard left out",
            ]
        );
        let mut same = status();
        same.limits.remove(0);
        let said = lines(&same, &output).join("\n");
        assert!(!said.contains("ceiling"), "{said}");
    }

    #[test]
    fn a_figure_in_json_is_a_string() {
        let value = to_json(&status());
        assert_eq!(value["posture"], json!("CAUTIOUS"));
        let first = &value["limits"][0];
        assert_eq!(first["rule"], json!("daily_loss"));
        assert_eq!(first["scope"], json!("strategy:sample"));
        assert_eq!(first["unit"], json!("usd"));
        assert_eq!(first["limit"], json!("100"));
        assert_eq!(first["left"], json!("34.5"));
        assert_eq!(first["percent_used"], json!(65));
        assert_eq!(value["limits"][2]["used"], Value::Null);
        assert_eq!(value["left_out"], json!(2));
    }

    #[test]
    fn a_limit_is_set_by_rule_scope_and_value() {
        let limits = parse(&[
            "set",
            "order_notional",
            "strategy:sample",
            "50",
            "--reason",
            "x",
        ]);
        let Some(Verb::Set(set)) = limits.unwrap().verb else {
            panic!("no verb");
        };
        assert_eq!(set.rule, Rule::OrderNotional);
        assert_eq!(set.scope.to_string(), "strategy:sample");
        assert_eq!(set.value.to_string(), "50");
        assert!(parse(&[]).unwrap().verb.is_none());
    }

    #[test]
    fn what_is_no_limit_is_refused_with_what_would_be_one() {
        let cases: [(&[&str], &str); 6] = [
            (
                &["set", "notional", "all", "5", "--reason", "x"],
                "did you mean order_notional",
            ),
            (
                &["set", "zzz", "all", "5", "--reason", "x"],
                "portcullis limits lists them",
            ),
            (
                &["set", "leverage", "sample", "5", "--reason", "x"],
                "strategy:STRATEGY",
            ),
            (
                &["set", "leverage", "all", "-5", "--reason", "x"],
                "is below zero",
            ),
            (
                &["set", "leverage", "all", "1e3", "--reason", "x"],
                "not a plain decimal",
            ),
            (&["set", "leverage", "all", "5"], "--reason"),
        ];
        for (words, expected) in cases {
            let problem = parse(words).unwrap_err();
            assert!(problem.contains(expected), "{words:?}: {problem}");
        }
    }
}
