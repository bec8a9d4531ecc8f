//! `portcullis explain`: why an order passed or did not, rule by rule, from the audit log alone.
//!
//! No service and no bus has to run. What an entry says is believed because the chain of the log
//! holds; whether audit wrote it, `portcullis audit verify` proves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use audit::verify::{OwnedEntry, entries, read_unsealed};
use portcullis_domain::{Check, Order, OrderId, Reason, TimeInForce, Timestamp};
use portcullis_wire::messages::{Message, Outcome as Answer, Verdict};
use portcullis_wire::subjects::{DECISION, FILL, REPORT, Subject, VERDICT};
use serde_json::{Value, json};

use super::audit::log_of;
use super::order::way::{Standing, Step, Way};
use crate::advice;
use crate::exit::{End, Failure, OrFail as _, Outcome};
use crate::folder::Folder;
use crate::output::{Output, Table, Tone, clock_time, rfc3339};
use crate::view::{amount, left_of, used_of};

const EXAMPLES: &str = "\
EXAMPLES
  portcullis explain b5aefe413ee4c7a8df502f92598f60de
  portcullis explain b5aefe41                         its first digits, 8 at least
  portcullis explain b5aefe41 --json | jq '.checks[] | select(.percent_used > 80)'

It reads the audit log, and needs no service: what every rule measured when risk-guard judged the
order, the order's part included. That the log is whole: portcullis audit verify.

EXIT CODES
  0 shown, whether it passed or not   1 it is not in the log, or the log cannot be read
  2 several orders begin with these digits";

/// The fewest digits that name an order.
const DIGITS_MIN: usize = 8;
/// The digits of a whole id.
const DIGITS: usize = 32;
/// The most orders that are collected for one prefix; more digits are asked for anyway.
const ORDERS_MAX: usize = 5;
/// The form of the JSON.
const SCHEMA: &str = "portcullis.explain/1";

/// Say why an order passed or did not, rule by rule, from the audit log
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    /// The order's id, or its first digits: 8 at least
    #[arg(value_parser = digits)]
    order: String,
    /// Folder of the log [default: that of the development folder]
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,
}

fn digits(text: &str) -> Result<String, String> {
    let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hexadecimal || !(DIGITS_MIN..=DIGITS).contains(&text.len()) {
        return Err(format!(
            "is no order: give {DIGITS_MIN} to {DIGITS} hexadecimal digits of its id"
        ));
    }
    Ok(text.to_ascii_lowercase())
}

/// Explains an order.
///
/// # Errors
/// When the log cannot be read, or the order is not in it.
pub fn run(explain: &Explain, dir: Option<&Path>, output: &Output) -> Outcome {
    let log = match &explain.log {
        Some(log) => log.clone(),
        None => log_of(&Folder::find(dir)?),
    };
    let next_step = "verify it: portcullis audit verify";
    let action = || format!("read {}", log.display());
    let mut found = Found::of(&explain.order);
    for entry in entries(&log).or_fail(action(), next_step)? {
        found.take(&entry.or_fail(action(), next_step)?);
    }
    let story = found.only()?;
    output.object(SCHEMA, story.to_json());
    for line in story.lines(output) {
        output.line(&line);
    }
    Ok(End::Done)
}

/// The orders whose ids begin with some digits.
struct Found {
    digits: String,
    stories: BTreeMap<OrderId, Story>,
}

impl Found {
    fn of(digits: &str) -> Self {
        Self {
            digits: digits.to_owned(),
            stories: BTreeMap::new(),
        }
    }

    fn take(&mut self, entry: &OwnedEntry) {
        let at = entry.received_at;
        if let Some(decision) = read(entry, &DECISION) {
            self.tell(decision.order, at, |story| story.way.decision(&decision));
        } else if let Some(verdict) = read(entry, &VERDICT) {
            self.tell(verdict.order, at, |story| story.verdict(&verdict));
        } else if let Some(report) = read(entry, &REPORT) {
            self.tell(report.order, at, |story| story.way.report(&report));
        } else if let Some(fill) = read(entry, &FILL) {
            self.tell(fill.order, at, |story| story.way.fill(&fill));
        }
    }

    fn tell(
        &mut self,
        order: OrderId,
        at: Timestamp,
        tell: impl FnOnce(&mut Story) -> Option<Step>,
    ) {
        if !order.to_string().starts_with(&self.digits) {
            return;
        }
        if self.stories.len() == ORDERS_MAX && !self.stories.contains_key(&order) {
            return;
        }
        let story = self
            .stories
            .entry(order)
            .or_insert_with(|| Story::of(order));
        if let Some(step) = tell(story) {
            story.steps.push((at, step));
        }
    }

    /// The one order.
    fn only(mut self) -> Result<Story, Failure> {
        if self.stories.len() > 1 {
            let ids: Vec<_> = self.stories.keys().map(ToString::to_string).collect();
            return Err(Failure::new(
                End::Usage,
                format!(
                    "several orders begin with {}: {}",
                    self.digits,
                    ids.join(", ")
                ),
                "give more digits",
            ));
        }
        self.stories
            .pop_first()
            .map(|(_, story)| story)
            .ok_or_else(|| {
                Failure::new(
                    End::Failed,
                    format!("no order in the log begins with {}", self.digits),
                    "look for it: portcullis audit tail -n 1000",
                )
            })
    }
}

/// The message of an entry that came on a subject. Read without its seal: audit checked that, and
/// the chain vouches for the bytes since.
fn read<P, M: Message>(entry: &OwnedEntry, subject: &Subject<P, M>) -> Option<M> {
    if !subject.row.matches(&entry.subject) {
        return None;
    }
    let message = read_unsealed(&entry.content).ok();
    message.map(|(_, message)| message)
}

/// What the log tells of one order.
struct Story {
    order: OrderId,
    way: Way,
    steps: Vec<(Timestamp, Step)>,
    asked: Option<Order>,
    verdict: Option<(Answer, Vec<Check>)>,
}

impl Story {
    fn of(order: OrderId) -> Self {
        Self {
            order,
            way: Way::new(order),
            steps: Vec::new(),
            asked: None,
            verdict: None,
        }
    }

    fn verdict(&mut self, verdict: &Verdict) -> Option<Step> {
        if self.verdict.is_some() {
            // A duplicate is refused as one, and changes nothing of what was answered first.
            return None;
        }
        self.asked = read_unsealed(&verdict.order_frame)
            .ok()
            .map(|(_, order)| order);
        self.verdict = Some((verdict.outcome, verdict.checks.clone()));
        self.way.verdict(verdict)
    }

    /// The rule that refused it; the last one that it met, where risk-guard refused it.
    fn refused_at(&self) -> Option<usize> {
        match &self.verdict {
            Some((Answer::Refused(_), checks)) => checks.len().checked_sub(1),
            Some((Answer::Passed, _)) | None => None,
        }
    }

    fn checks(&self) -> &[Check] {
        self.verdict
            .as_ref()
            .map(|(_, checks)| checks.as_slice())
            .unwrap_or_default()
    }

    fn refusal(&self) -> Option<(&'static str, Reason, String)> {
        match self.way.standing() {
            Standing::Refused { by, reason, detail } => Some((by, reason, detail)),
            Standing::Unanswered
            | Standing::OnItsWay
            | Standing::InDoubt
            | Standing::Resting
            | Standing::Over => None,
        }
    }

    fn ending(&self) -> (Tone, String) {
        match self.way.standing() {
            Standing::Refused { by, reason, detail } => {
                let colon = if detail.is_empty() { "" } else { ": " };
                (
                    Tone::Bad,
                    format!("refused by {by}: {reason}{colon}{detail}"),
                )
            }
            Standing::Unanswered => (Tone::Attention, "the log has no answer to it".to_owned()),
            Standing::OnItsWay => {
                let text = "the log does not say that it reached the venue";
                (Tone::Attention, text.to_owned())
            }
            Standing::InDoubt => {
                let text = "in doubt: the venue has not said whether it has the order";
                (Tone::Attention, text.to_owned())
            }
            Standing::Resting => (Tone::Good, "it rests at the venue".to_owned()),
            Standing::Over => (Tone::Good, self.way.result()),
        }
    }

    fn lines(&self, output: &Output) -> Vec<String> {
        let mut lines = vec![output.paint(Tone::Head, &format!("order {}", self.order))];
        if let Some(order) = &self.asked {
            lines.push(describe(order));
        }
        let checks = self.checks();
        for (at, step) in &self.steps {
            let time = output.paint(Tone::Quiet, &clock_time(*at));
            lines.push(format!("  {time} {:<11} {}", step.source, step.text));
            if step.source == "risk-guard" && !checks.is_empty() {
                lines.extend(self.table(output).iter().map(|line| format!("    {line}")));
            }
        }
        if self.verdict.is_none() {
            lines.push("risk-guard never judged it: no rule was met".to_owned());
        } else if checks.is_empty() {
            lines.push("risk-guard did not record which rules it met".to_owned());
        }
        let (tone, ending) = self.ending();
        lines.push(output.paint(tone, &ending));
        if let Some((_, reason, _)) = self.refusal() {
            lines.push(format!("next step: {}", advice::next_step(reason)));
        }
        lines
    }

    fn table(&self, output: &Output) -> Vec<String> {
        let refused_at = self.refused_at();
        let mut table = Table::new(&["", "rule", ">limit", ">used", ">left", "what it asks"]);
        for (index, Check { rule, measure }) in self.checks().iter().enumerate() {
            let answer = if refused_at == Some(index) {
                output.paint(Tone::Bad, "REFUSED")
            } else {
                output.paint(Tone::Good, "ok")
            };
            let figures = measure.map_or_else(
                || ["-", "-", "-"].map(str::to_owned),
                |measure| {
                    let left = left_of(*rule, measure.limit, measure.used);
                    [Some(measure.limit), Some(measure.used), left].map(|figure| {
                        figure.map_or_else(|| "-".to_owned(), |it| amount(measure.unit, it))
                    })
                },
            );
            let mut row = vec![answer, rule.to_string()];
            row.extend(figures);
            row.push(rule.words().to_owned());
            table.row(row);
        }
        table.lines(output)
    }

    fn to_json(&self) -> Value {
        let refused_at = self.refused_at();
        let check = |(index, Check { rule, measure }): (usize, &Check)| {
            let share = measure.map(|it| used_of(*rule, it.limit, it.used));
            let left = measure.map(|it| left_of(*rule, it.limit, it.used));
            json!({
                "rule": rule,
                "words": rule.words(),
                "passed": refused_at != Some(index),
                "unit": measure.map(|it| it.unit),
                "limit": measure.map(|it| it.limit),
                "used": measure.map(|it| it.used),
                "left": left,
                "percent_used": share,
            })
        };
        let steps = self.steps.iter().map(
            |(at, step)| json!({ "at": rfc3339(*at), "source": step.source, "text": step.text }),
        );
        let asked = self.asked.as_ref().map(|order| {
            json!({
                "strategy": order.strategy,
                "venue": order.venue.to_string(),
                "symbol": order.symbol,
                "side": order.side,
                "quantity": order.quantity,
                "limit_price": order.limit_price,
                "reduce_only": order.reduce_only,
            })
        });
        let refusal = self.refusal();
        json!({
            "order": self.order,
            "asked": asked,
            "steps": steps.collect::<Vec<_>>(),
            "checks": self.checks().iter().enumerate().map(check).collect::<Vec<_>>(),
            "refused_by": refusal.as_ref().map(|(by, ..)| by),
            "reason": refusal.as_ref().map(|(_, reason, _)| reason.code()),
            "result": self.ending().1,
            "next_step": refusal.as_ref().map(|(_, reason, _)| advice::next_step(*reason)),
        })
    }
}

fn describe(order: &Order) -> String {
    let Order {
        strategy,
        venue,
        symbol,
        side,
        quantity,
        limit_price,
        time_in_force,
        reduce_only,
        ..
    } = order;
    let rests = match time_in_force {
        TimeInForce::ImmediateOrCancel => "immediate or cancel",
        TimeInForce::FillOrKill => "fill or kill",
        TimeInForce::GoodTillCancel => "rests until it fills",
        TimeInForce::PostOnly => "post only",
    };
    let reduce = if *reduce_only { ", reduce only" } else { "" };
    format!(
        "{strategy}: {side} {quantity} {symbol} at {venue}, limit {limit_price}, {rests}{reduce}"
    )
}

#[cfg(test)]
mod tests;
