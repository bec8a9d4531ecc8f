//! `portcullis order`: a proposal as the trader of the development folder, and its way.
//!
//! It takes the way of every order: brain sizes it, risk-guard permits it, execution performs it.
//! What is printed is what those services say themselves.

pub mod way;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Subcommand;
use portcullis_domain::{Price, Quantity, Side, StrategyId, Symbol, TimeInForce, Usd};
use portcullis_runtime::{Client, Raw};
use portcullis_wire::messages::{Proposal, Size};
use portcullis_wire::order_id;
use portcullis_wire::principal::{Role, Strategy};
use portcullis_wire::subjects::{DECISION, FILL, PROPOSAL, REPORT, VERDICT};
use serde_json::{Value, json};

use self::way::{Standing, Step, Way};
use crate::advice;
use crate::exit::{End, Failure, OrFail as _, Outcome};
use crate::feed::{Where, fresh, now};
use crate::output::{Output, Tone, clock_time, rfc3339};

const EXAMPLES: &str = "\
EXAMPLES
  portcullis order buy XRPUSDT --notional 50                 for 50 USD, at the market
  portcullis order sell XRPUSDT --quantity 100 --price 2.00  not below 2.00
  portcullis order sell XRPUSDT --quantity 100 --reduce-only only to shrink the position
  portcullis order buy XRPUSDT --notional 50 --tif gtc --price 1.95 --wait --timeout 60

Without --price the brain takes the widest price that the strategy's risk profile allows. Without
--tif what does not fill at once is cancelled. An order that rests (gtc, post-only) ends when it
fills, when the stack stops or by `portcullis kill`.

EXIT CODES
  0 at the venue (with --wait: over)   3 refused   7 outcome unknown   1 the bus does not answer
  8 still open at the venue when the time to wait was over";

/// The strategy of a person with a terminal.
const STRATEGY: &str = "trader";
/// How long the services may take to answer a proposal.
const PATIENCE_SECONDS: u64 = 5;
/// How long `--wait` waits for an order to be over.
const WAIT_SECONDS: u64 = 30;
/// The form of the JSON.
const SCHEMA: &str = "portcullis.order/1";

/// Which way.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Order {
    /// Propose to buy
    #[command(after_help = EXAMPLES)]
    Buy(Ticket),
    /// Propose to sell
    #[command(after_help = EXAMPLES)]
    Sell(Ticket),
}

/// What to trade.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("size").required(true))]
pub struct Ticket {
    /// The instrument, such as XRPUSDT
    symbol: Symbol,
    /// How much, in units of the base
    #[arg(long, group = "size", allow_negative_numbers = true)]
    quantity: Option<Quantity>,
    /// How much, by value
    #[arg(long, value_name = "USD", group = "size", value_parser = notional, allow_negative_numbers = true)]
    notional: Option<Usd>,
    /// The worst price [default: the widest that the risk profile allows]
    #[arg(long, allow_negative_numbers = true)]
    price: Option<Price>,
    /// How long it may rest
    #[arg(long, value_enum, value_name = "TIF", default_value = "ioc")]
    tif: Tif,
    /// Only shrink a position, never open or turn one
    #[arg(long)]
    reduce_only: bool,
    /// Wait until the order is over
    #[arg(long)]
    wait: bool,
    /// How long to wait, in seconds [default: 5, with --wait 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: Option<u64>,
}

/// How long an order may rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Tif {
    /// What does not fill at once is cancelled
    Ioc,
    /// Fills wholly at once or not at all
    Fok,
    /// Rests until it fills
    Gtc,
    /// Rests, and is cancelled rather than take from the book
    PostOnly,
}

impl From<Tif> for TimeInForce {
    fn from(tif: Tif) -> Self {
        match tif {
            Tif::Ioc => Self::ImmediateOrCancel,
            Tif::Fok => Self::FillOrKill,
            Tif::Gtc => Self::GoodTillCancel,
            Tif::PostOnly => Self::PostOnly,
        }
    }
}

fn notional(text: &str) -> Result<Usd, String> {
    let usd: Usd = text.parse().map_err(|problem| format!("{problem}"))?;
    if usd <= Usd::ZERO {
        Err("is not above zero".to_owned())
    } else {
        Ok(usd)
    }
}

/// Proposes an order and follows it.
///
/// # Errors
/// When the bus does not answer, or it is unknown what became of the proposal.
pub async fn run(order: &Order, dir: Option<&Path>, bus: Option<&str>, output: &Output) -> Outcome {
    let (side, ticket) = match order {
        Order::Buy(ticket) => (Side::Buy, ticket),
        Order::Sell(ticket) => (Side::Sell, ticket),
    };
    let proposal = proposal(side, ticket)?;
    let place = Where::find(dir, bus)?;
    let client: Client<Strategy> = place.connect(&format!("strategy-{STRATEGY}")).await?;
    let strategy = StrategyId::new(STRATEGY)
        .map_err(anyhow::Error::msg)
        .or_fail("name the strategy", "report this as a defect")?;
    let rows = [DECISION.row, VERDICT.row, REPORT.row, FILL.row].map(|row| (row, Some(STRATEGY)));
    let mut inbox = client
        .listen(&rows, 1_024)
        .await
        .or_fail("listen for the answers", "look at the log of nats-server")?;
    let span = client.telemetry().span("propose", "");
    let sealed = client
        .publish(
            &PROPOSAL,
            Some(STRATEGY),
            &proposal,
            None,
            Some(span.traceparent()),
        )
        .or_fail(
            "send the proposal",
            "look whether the stack runs: portcullis status",
        )?;

    // What does not rest is over at once: "open" is then only a step on the way.
    let until_over = ticket.wait || matches!(ticket.tif, Tif::Ioc | Tif::Fok);
    let mut way = Way::new(order_id(strategy, sealed.id));
    let usual = if ticket.wait {
        WAIT_SECONDS
    } else {
        PATIENCE_SECONDS
    };
    let seconds = ticket.timeout.unwrap_or(usual);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    output.line(&describe(&proposal));
    while !way.is_enough(until_over) {
        let next = tokio::time::timeout_at(deadline.into(), inbox.recv()).await;
        let Ok(Some(raw)) = next else { break };
        if let Some(step) = apply(&client, &mut way, &raw) {
            let time = output.paint(Tone::Quiet, &clock_time(raw.received_at));
            output.line(&format!("  {time} {:<11} {}", step.source, step.text));
        }
    }
    finish(&way, until_over, seconds, output)
}

fn proposal(side: Side, ticket: &Ticket) -> Result<Proposal, Failure> {
    let size = match (ticket.quantity, ticket.notional) {
        (Some(quantity), None) => Size::Quantity(quantity),
        (None, Some(usd)) => Size::Notional(usd),
        (Some(_), Some(_)) | (None, None) => {
            let problem = "give either --quantity or --notional";
            return Err(Failure::new(
                End::Usage,
                problem,
                "see portcullis order --help",
            ));
        }
    };
    Ok(Proposal {
        symbol: ticket.symbol,
        side,
        size,
        limit_price: ticket.price,
        time_in_force: ticket.tif.into(),
        reduce_only: ticket.reduce_only,
    })
}

fn describe(proposal: &Proposal) -> String {
    let Proposal {
        symbol,
        side,
        size,
        limit_price,
        time_in_force,
        reduce_only,
    } = proposal;
    let size = match size {
        Size::Quantity(quantity) => format!("{quantity} {symbol}"),
        Size::Notional(usd) => format!("{symbol} for {usd} USD"),
    };
    let bound = if *side == Side::Buy {
        "at most"
    } else {
        "at least"
    };
    let price = limit_price.map_or_else(String::new, |price| format!(", {bound} {price}"));
    let rests = match time_in_force {
        TimeInForce::ImmediateOrCancel => "immediate or cancel",
        TimeInForce::FillOrKill => "fill or kill",
        TimeInForce::GoodTillCancel => "rests until it fills",
        TimeInForce::PostOnly => "post only",
    };
    let reduce = if *reduce_only { ", reduce only" } else { "" };
    format!("{STRATEGY} proposes: {side} {size}{price}, {rests}{reduce}")
}

fn apply(client: &Client<Strategy>, way: &mut Way, raw: &Raw) -> Option<Step> {
    if raw.is(&DECISION) {
        return way.decision(&fresh(client, &DECISION, raw)?);
    }
    if raw.is(&VERDICT) {
        return way.verdict(&fresh(client, &VERDICT, raw)?);
    }
    if raw.is(&REPORT) {
        return way.report(&fresh(client, &REPORT, raw)?);
    }
    if raw.is(&FILL) {
        return way.fill(&fresh(client, &FILL, raw)?);
    }
    None
}

fn finish(way: &Way, until_over: bool, seconds: u64, output: &Output) -> Outcome {
    let standing = way.standing();
    let next_step = match &standing {
        Standing::Refused { reason, .. } => Some(advice::next_step(*reason)),
        Standing::Unanswered | Standing::OnItsWay | Standing::InDoubt => {
            Some("see what became of it: portcullis orders, portcullis status")
        }
        Standing::Resting if until_over => Some("see whether it is still open: portcullis orders"),
        Standing::Resting | Standing::Over => None,
    };
    output.object(SCHEMA, to_json(way, next_step));
    match standing {
        Standing::Refused { by, reason, detail } => {
            let colon = if detail.is_empty() { "" } else { ": " };
            let text = format!("refused by {by}: {reason}{colon}{detail}");
            output.line(&output.paint(Tone::Bad, &text));
            output.line(&format!("next step: {}", advice::next_step(reason)));
            if by == Role::RiskGuard.name() {
                output.line(&format!("rule by rule: portcullis explain {}", way.order()));
            }
            // The JSON object says it all; nothing failed.
            Ok(End::Denied)
        }
        Standing::Resting if until_over => {
            let text = format!("still open at the venue after {seconds} s");
            output.line(&output.paint(Tone::Attention, &text));
            output.line(&format!("next step: {}", next_step.unwrap_or_default()));
            Ok(End::Partial)
        }
        Standing::Resting => {
            output.line(&output.paint(Tone::Good, "it rests at the venue"));
            Ok(End::Done)
        }
        Standing::Over => {
            output.line(&output.paint(Tone::Good, &way.result()));
            Ok(End::Done)
        }
        Standing::Unanswered | Standing::OnItsWay | Standing::InDoubt => {
            let text = match standing {
                Standing::Unanswered => {
                    format!("nobody answered the proposal within {seconds} s; it has expired")
                }
                Standing::InDoubt => {
                    "the venue has not said whether it has the order; execution asks until it \
                     knows, and never sends it again"
                        .to_owned()
                }
                _ => format!("the order is still on its way after {seconds} s"),
            };
            output.line(&output.paint(Tone::Attention, &format!("outcome unknown: {text}")));
            output.line(&format!("next step: {}", next_step.unwrap_or_default()));
            Ok(End::Unknown)
        }
    }
}

fn to_json(way: &Way, next_step: Option<&str>) -> Value {
    let standing = way.standing();
    let (word, reason, by, detail) = match &standing {
        Standing::Refused { by, reason, detail } => (
            "refused",
            Some(reason.code()),
            Some(*by),
            Some(detail.as_str()),
        ),
        Standing::Unanswered => ("unanswered", None, None, None),
        Standing::OnItsWay => ("on_its_way", None, None, None),
        Standing::InDoubt => ("in_doubt", None, None, None),
        Standing::Resting => ("resting", None, None, None),
        Standing::Over => ("over", None, None, None),
    };
    let fills: Vec<_> = way
        .fills()
        .iter()
        .map(|fill| {
            json!({
                "execution": fill.execution,
                "price": fill.price,
                "quantity": fill.quantity,
                "fee": fill.fee,
                "at": rfc3339(fill.venue_time),
            })
        })
        .collect();
    json!({
        "at": rfc3339(now()),
        "order": way.order(),
        "standing": word,
        "status": way.status(),
        "filled": way.filled(),
        "fills": fills,
        "refused_by": by,
        "reason": reason,
        "detail": detail,
        "next_step": next_step,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        order: Order,
    }

    fn parse(line: &str) -> Result<Proposal, String> {
        let words = std::iter::once("order").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|problem| problem.to_string())?;
        let (side, ticket) = match &line.order {
            Order::Buy(ticket) => (Side::Buy, ticket),
            Order::Sell(ticket) => (Side::Sell, ticket),
        };
        proposal(side, ticket).map_err(|failure| failure.to_string())
    }

    #[test]
    fn reads_a_ticket() {
        let proposal = parse("sell XRPUSDT --quantity 100 --price 0.52 --tif gtc --reduce-only");
        let proposal = proposal.unwrap();
        assert_eq!(
            describe(&proposal),
            "trader proposes: sell 100 XRPUSDT, at least 0.52, rests until it fills, reduce only"
        );
        let proposal = parse("buy XRPUSDT --notional 50").unwrap();
        assert_eq!(
            describe(&proposal),
            "trader proposes: buy XRPUSDT for 50 USD, immediate or cancel"
        );
    }

    #[test]
    fn refuses_a_ticket_that_means_nothing() {
        let cases = [
            ("buy XRPUSDT", "required"),
            (
                "buy XRPUSDT --quantity 1 --notional 5",
                "cannot be used with",
            ),
            ("buy XRPUSDT --quantity 0", "is not above zero"),
            ("buy XRPUSDT --quantity=-1", "is not above zero"),
            ("buy XRPUSDT --quantity -1", "is not above zero"),
            ("buy XRPUSDT --notional 0", "is not above zero"),
            ("buy XRPUSDT --quantity 1e3", "not a plain decimal"),
            ("buy XRP/USDT --quantity 1", "character outside"),
            ("buy XRPUSDT --quantity 1 --tif day", "possible values"),
            ("hold XRPUSDT --quantity 1", "unrecognized subcommand"),
        ];
        for (line, expected) in cases {
            let problem = parse(line).unwrap_err();
            assert!(problem.contains(expected), "{line}: {problem}");
        }
    }
}
