//! A view as a screen, as one line and as a JSON object.

use std::collections::BTreeMap;

use portcullis_domain::{KillState, Span, Timestamp, Usd};
use portcullis_wire::messages::{ExecutionStatus, Position};
use portcullis_wire::principal::Role;
use serde_json::{Value, json};

use super::{Totals, View, bar, cause_words, percent};
use crate::output::{Output, Tone, clock_time, rfc3339};

/// The services that hold a latch of the kill switch.
pub const LATCHES: [Role; 3] = [Role::RiskGuard, Role::Execution, Role::Signer];
/// How many of the latest events a screen shows.
const EVENTS_SHOWN: usize = 8;
/// The width of the bar of the day's loss.
const BAR_WIDTH: u64 = 20;

/// How a process of the local stack is; empty for a view of a stack that somebody else runs.
pub type Processes = BTreeMap<String, String>;

/// Whether trading is possible right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Orders pass.
    Trading,
    /// A kill switch is pulled.
    Stopped(String),
    /// Nothing passes, for a reason that may go by itself.
    Waiting(String),
    /// Execution does not say.
    Silent,
}

impl View {
    /// Whether it may trade, from what the services themselves say.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        let stopped = self.stopped();
        if !stopped.is_empty() {
            let by: Vec<_> = stopped
                .iter()
                .map(|(role, state)| format!("{role} {state}"))
                .collect();
            let why = self.pulled.as_ref().map_or_else(String::new, |pulled| {
                let colon = if pulled.detail.is_empty() { "" } else { ": " };
                format!(" ({}{colon}{})", cause_words(pulled.cause), pulled.detail)
            });
            return Standing::Stopped(format!("{}{why}", by.join(", ")));
        }
        let Some((_, status)) = &self.execution else {
            return Standing::Silent;
        };
        if !self.is_heard(Role::Execution, now) {
            return Standing::Silent;
        }
        if !status.may_trade {
            let why = status
                .reason
                .map_or("no reason given", |reason| reason.code());
            return Standing::Waiting(format!("execution: {why}"));
        }
        let others = [
            Role::Brain,
            Role::RiskGuard,
            Role::Signer,
            Role::Audit,
            Role::MarketData,
        ];
        if let Some(role) = others.into_iter().find(|role| !self.is_heard(*role, now)) {
            return Standing::Waiting(format!("{role} is silent"));
        }
        // Market-data without the book of one instrument stops only that instrument.
        let waiting = others
            .into_iter()
            .filter(|role| *role != Role::MarketData)
            .find_map(|role| {
                let seen = self.services.get(&role).filter(|seen| !seen.ready)?;
                Some(format!("{role}: {}", seen.detail))
            });
        waiting.map_or(Standing::Trading, Standing::Waiting)
    }

    /// The whole of it on some lines.
    #[must_use]
    pub fn screen(&self, now: Timestamp, processes: &Processes, output: &Output) -> Vec<String> {
        let head = |text: &str| output.paint(Tone::Head, &format!("{text:<11}"));
        let totals = self.totals();
        let mut lines = vec![self.standing_line(now, output)];
        if let Some((at, status)) = &self.execution {
            lines.push(format!("{}{}", head("day"), day_line(status, output)));
            let unknown = count("UNKNOWN", status.orders_unknown);
            let tone = if status.orders_unknown > 0 {
                Tone::Attention
            } else {
                Tone::Quiet
            };
            lines.push(format!(
                "{}proposals {} · permits {} · orders {} · fills {} · open {} · {}",
                head("orders"),
                totals.proposals,
                totals.permits,
                totals.orders,
                totals.fills,
                status.orders_open,
                output.paint(tone, &unknown),
            ));
            let age = now.since(*at);
            let stale = if age >= super::SILENT_AFTER {
                output.paint(Tone::Bad, &format!("  STALE: {} old", seconds(age)))
            } else {
                String::new()
            };
            lines.push(format!(
                "{}{}{stale}",
                head("position"),
                positions_line(&status.positions)
            ));
            for halt in &status.halts {
                let text = super::halt_words(halt.symbol, halt.reason, false, &halt.evidence);
                lines.push(format!(
                    "{}{}",
                    head("halted"),
                    output.paint(Tone::Bad, &text)
                ));
            }
        } else {
            lines.push(format!("{}execution has not spoken yet", head("day")));
        }
        if let Some(risk) = self.risk_line(now, output) {
            lines.push(format!("{}{risk}", head("risk")));
        }
        lines.push(format!("{}{}", head("refusals"), refusals_line(&totals)));
        lines.push(format!("{}{}", head("audit"), self.audit_line(now, output)));
        lines.push(format!(
            "{}{}",
            head("services"),
            self.services_line(now, processes, output)
        ));
        if self.violations > 0 {
            let text = format!("{} messages refused as violations", self.violations);
            lines.push(format!(
                "{}{}",
                head("security"),
                output.paint(Tone::Bad, &text)
            ));
        }
        for event in self.latest(EVENTS_SHOWN) {
            let time = output.paint(Tone::Quiet, &clock_time(event.at));
            let tone = if event.attention {
                Tone::Attention
            } else {
                Tone::Quiet
            };
            let text = output.paint(tone, &event.text);
            lines.push(format!("  {time} {:<11} {text}", event.source));
        }
        lines
    }

    /// The most important of it on one line.
    #[must_use]
    pub fn line(&self, now: Timestamp, processes: &Processes) -> String {
        let plain = Output::of(false, false, false);
        let standing = match self.standing(now) {
            Standing::Trading => "TRADING".to_owned(),
            Standing::Stopped(why) => format!("STOPPED {why}"),
            Standing::Waiting(why) => format!("WAITING {why}"),
            Standing::Silent => "WAITING execution is silent".to_owned(),
        };
        let totals = self.totals();
        let mut parts = vec![
            format!("{} {standing}", clock_time(now)),
            count("proposals", totals.proposals),
            count("permits", totals.permits),
            count("orders", totals.orders),
            count("fills", totals.fills),
            format!("refusals {}", refusals_line(&totals)),
        ];
        if let Some((_, status)) = &self.execution {
            parts.push(format!("position {}", positions_line(&status.positions)));
            let sums = format!("{} of {}", money(status.loss), money(status.loss_max));
            parts.push(format!("loss {sums}"));
        }
        if let Some(risk) = self.risk_line(now, &plain) {
            parts.push(format!("risk {risk}"));
        }
        parts.push(format!("audit {}", self.audit_line(now, &plain)));
        let down: Vec<_> = processes
            .iter()
            .filter(|(_, state)| *state != "up")
            .map(|(name, state)| format!("{name} {state}"))
            .collect();
        parts.push(if down.is_empty() {
            "all up".to_owned()
        } else {
            down.join(", ")
        });
        parts.join(" · ")
    }

    /// All of it, for scripts: amounts are strings, times RFC 3339.
    #[must_use]
    pub fn json(&self, now: Timestamp, processes: &Processes) -> Value {
        let (standing, why) = match self.standing(now) {
            Standing::Trading => ("trading", None),
            Standing::Stopped(why) => ("stopped", Some(why)),
            Standing::Waiting(why) => ("waiting", Some(why)),
            Standing::Silent => ("silent", Some("execution is silent".to_owned())),
        };
        let totals = self.totals();
        let status = self.execution.as_ref().map(|(_, status)| status);
        let checkpoint = self.checkpoint.as_ref().map(
            |(_, last)| json!({ "size": last.size, "head": last.head, "at": rfc3339(last.at) }),
        );
        let pulled = self.pulled.as_ref().map(|pulled| {
            let by = pulled.service.name();
            json!({ "service": by, "cause": pulled.cause, "detail": pulled.detail })
        });
        json!({
            "at": rfc3339(now),
            "standing": standing,
            "why": why,
            "pulled": pulled,
            "day": status.map(|status| json!({
                "utc_day": status.day,
                "loss": status.loss,
                "loss_rolling": status.loss_rolling,
                "loss_max": status.loss_max,
                "hard_limits": status.hard_limits,
            })),
            "risk": self.risk_json(),
            "proposals": totals.proposals,
            "permits": totals.permits,
            "orders": totals.orders,
            "fills": totals.fills,
            "refusals": totals.refusals,
            "violations": self.violations,
            "orders_open": status.map(|status| status.orders_open),
            "orders_unknown": status.map(|status| status.orders_unknown),
            "orders_unconfirmed": status.map(|status| status.orders_unconfirmed),
            "halts": status.map(|status| &status.halts),
            "kill_confirmed_ms": status.and_then(|status| status.kill_confirmed_ms),
            "positions": status.map(|status| &status.positions),
            "audit": {
                "entries": self.audit_entries(),
                "checkpoint": checkpoint,
                "verified": self.checkpoint.is_some() && self.checkpoint_problem.is_none(),
                "problem": self.checkpoint_problem,
            },
            "services": self.services_json(now),
            "processes": processes,
        })
    }

    fn standing_line(&self, now: Timestamp, output: &Output) -> String {
        let (tone, text) = match self.standing(now) {
            Standing::Trading => (Tone::Good, "● TRADING    kill switch ARMED".to_owned()),
            Standing::Stopped(why) => (Tone::Bad, format!("■ STOPPED    kill switch: {why}")),
            Standing::Waiting(why) => (Tone::Attention, format!("○ WAITING    {why}")),
            Standing::Silent => (Tone::Bad, "○ WAITING    execution is silent".to_owned()),
        };
        output.paint(tone, &text)
    }

    fn audit_line(&self, now: Timestamp, output: &Output) -> String {
        if let Some(problem) = &self.checkpoint_problem {
            return output.paint(Tone::Bad, &format!("PROBLEM: {problem}"));
        }
        let entries = self.audit_entries().unwrap_or(0);
        let Some((at, last)) = &self.checkpoint else {
            // Audit signs one when its log has grown.
            return format!("{entries} entries, no new checkpoint while watching");
        };
        let head: String = last.head.to_string().chars().take(12).collect();
        let age = seconds(now.since(*at));
        format!(
            "{entries} entries, checkpoint over {} verified {age} ago, head {head}…",
            last.size
        )
    }

    fn services_line(&self, now: Timestamp, processes: &Processes, output: &Output) -> String {
        let mut parts = Vec::new();
        for role in Role::SERVICES {
            let process = processes.get(role.name()).map_or("up", String::as_str);
            let (tone, text) = match self.services.get(role) {
                _ if process != "up" => (Tone::Bad, process.to_owned()),
                Some(seen) if !self.is_heard(*role, now) => (
                    Tone::Bad,
                    format!("silent for {}", seconds(now.since(seen.at))),
                ),
                Some(seen) if seen.ready => (Tone::Good, "up".to_owned()),
                Some(seen) if seen.detail.is_empty() => (Tone::Attention, "not ready".to_owned()),
                Some(seen) => (Tone::Attention, format!("not ready: {}", seen.detail)),
                None => (Tone::Attention, "not heard".to_owned()),
            };
            parts.push(format!("{role} {}", output.paint(tone, &text)));
        }
        let known: Vec<_> = Role::SERVICES.iter().map(|role| role.name()).collect();
        for (name, state) in processes
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()))
        {
            let tone = if state == "up" {
                Tone::Good
            } else {
                Tone::Attention
            };
            parts.push(format!("{name} {}", output.paint(tone, state)));
        }
        parts.join(" · ")
    }

    fn services_json(&self, now: Timestamp) -> Value {
        let one = |role: &Role| {
            let seen = self.services.get(role);
            let value = json!({
                "heard": self.is_heard(*role, now),
                "ready": seen.is_some_and(|seen| seen.ready),
                "detail": seen.map(|seen| &seen.detail),
                "age_ms": seen.map(|seen| now.since(seen.at).as_millis()),
                "kill": seen.and_then(|seen| seen.kill),
                "policy": seen.and_then(|seen| seen.policy),
                "counts": seen.map(|seen| &seen.counts),
            });
            (role.name().to_owned(), value)
        };
        Value::Object(Role::SERVICES.iter().map(one).collect())
    }

    /// The state of each latch, by what its service said last.
    #[must_use]
    pub fn latches(&self) -> Vec<(Role, Option<KillState>)> {
        let state = |role: &Role| self.services.get(role).and_then(|seen| seen.kill);
        LATCHES.iter().map(|role| (*role, state(role))).collect()
    }
}

fn count(name: &str, number: u64) -> String {
    format!("{name} {number}")
}

fn refusals_line(totals: &Totals) -> String {
    let mut by_count: Vec<_> = totals.refusals.iter().collect();
    if by_count.is_empty() {
        return "none".to_owned();
    }
    by_count.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let sum = by_count
        .iter()
        .fold(0_u64, |sum, (_, n)| sum.saturating_add(**n));
    let parts: Vec<_> = by_count
        .iter()
        .map(|(reason, n)| format!("{reason} {n}"))
        .collect();
    format!("{sum}: {}", parts.join(" · "))
}

/// An amount to the cent, for reading only.
fn money(amount: Usd) -> String {
    format!("{:.2}", amount.get().round_dp(2))
}

fn day_line(status: &ExecutionStatus, output: &Output) -> String {
    let (word, amount) = if status.loss.is_negative() {
        ("gain", status.loss.negated())
    } else {
        ("loss", status.loss)
    };
    // The limit holds for any 24 hours as well; they are shown when they are nearer to it.
    let rolling = status.loss_rolling;
    let rolling_is_nearer = rolling > status.loss.max(Usd::ZERO);
    let (nearest, before) = if rolling_is_nearer {
        (rolling, format!(", loss in 24 h {}", money(rolling)))
    } else {
        (status.loss, String::new())
    };
    let text = format!(
        "{word} {} USD{before}, hard limit {}",
        money(amount),
        money(status.loss_max)
    );
    let Some(percent) = percent(nearest.get(), status.loss_max.get()) else {
        return text;
    };
    format!("{text}  {}", bar(percent, BAR_WIDTH, output))
}

fn positions_line(positions: &[Position]) -> String {
    let held: Vec<_> = positions
        .iter()
        .filter(|held| held.position.size().is_some())
        .map(|held| {
            let average = held.average_price.map_or_else(String::new, |price| {
                format!(" at {}", price.get().round_dp(6).normalize())
            });
            format!("{} {}{average}", held.symbol, held.position)
        })
        .collect();
    if held.is_empty() {
        "flat".to_owned()
    } else {
        held.join(" · ")
    }
}

/// A length of time for people: `0.3 s`, `42 s`.
pub(super) fn seconds(span: Span) -> String {
    let millis = span.as_millis();
    if millis < 10_000 {
        format!("{}.{} s", millis / 1_000, millis / 100 % 10)
    } else {
        format!("{} s", millis / 1_000)
    }
}

#[cfg(test)]
mod tests;
