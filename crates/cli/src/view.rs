//! What the facts on the bus add up to, for a person who watches.
//!
//! ```text
//!  facts ──▶ ┌──────┐ ──▶ a screen, a line, a JSON object
//!  time  ──▶ │ View │
//!            └──────┘
//! ```

mod render;
pub(crate) mod risk;
mod words;

pub use render::{LATCHES, Processes, Standing};
pub use risk::{action_words, amount, bar, left_of, percent, posture_words, used_of};
pub use words::{cause_words, halt_words, kill_words, outcome_words};

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use portcullis_domain::{
    BreakerState, Fill, Hash, KillCause, KillState, OrderId, OrderStatus, Reason, Span, Timestamp,
};
use portcullis_wire::messages::{
    Checkpoint, CommandOutcome, Decision, ExecutionReport, ExecutionStatus, Notice, Outcome,
    RiskStatus, ServiceStatus, Verdict,
};
use portcullis_wire::principal::Role;

/// A service that said nothing for so long is shown as silent.
pub const SILENT_AFTER: Span = Span::from_secs(3);
/// The most order ids that are remembered for counting each order once.
const ORDERS_REMEMBERED_MAX: usize = 10_000;
/// The most events that are remembered for the list of the latest.
const EVENTS_MAX: usize = 200;
/// The most answers to commands that are remembered.
const ANSWERS_MAX: usize = 100;

/// What a service last said about itself.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// Whether it does its work.
    pub ready: bool,
    /// If not, why.
    pub detail: String,
    /// Its kill switch, where it has one.
    pub kill: Option<KillState>,
    /// The risk policy that it runs, where it runs one.
    pub policy: Option<Hash>,
    /// What it counted since its start.
    pub counts: BTreeMap<String, u64>,
}

/// A kill switch that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Whose.
    pub service: Role,
    /// What did it.
    pub cause: KillCause,
    /// The reason given.
    pub detail: String,
}

/// What risk-guard answered to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// SHA-256 of what the operator signed.
    pub digest: Hash,
    /// What became of it.
    pub outcome: CommandOutcome,
    /// What was commanded, or why it was refused, in words.
    pub detail: String,
}

/// Something that happened, for the list of the latest.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was sealed.
    pub at: Timestamp,
    /// Who said so.
    pub source: String,
    /// Whether a person should look at it.
    pub attention: bool,
    /// In words.
    pub text: String,
}

/// The sum of the facts since the view was opened.
#[derive(Debug, Default)]
pub struct View {
    /// Proposals that reached the brain.
    pub proposals: u64,
    /// Orders that risk-guard permitted.
    pub permits: u64,
    /// Orders that left for the venue.
    pub orders: u64,
    /// Fills.
    pub fills: u64,
    /// Refusals by reason, whoever refused.
    pub refusals: BTreeMap<Reason, u64>,
    /// What each service last said.
    pub services: BTreeMap<Role, Seen>,
    /// What execution last said, and when.
    pub execution: Option<(Timestamp, ExecutionStatus)>,
    /// What risk-guard last said about limits, breakers and halts, and when.
    pub risk: Option<(Timestamp, RiskStatus)>,
    /// The last checkpoint whose signature held, and when it came.
    pub checkpoint: Option<(Timestamp, Checkpoint)>,
    /// What is wrong with audit's checkpoints, if anything.
    pub checkpoint_problem: Option<String>,
    /// Messages that a service refused as violations.
    pub violations: u64,
    /// The first kill switch that was seen to change.
    pub pulled: Option<Pulled>,
    /// Whether totals come from what the services counted since their start, for somebody who has
    /// only just begun to watch, and not from the facts seen.
    pub from_counts: bool,
    answers: VecDeque<Answer>,
    events: VecDeque<Event>,
    orders_sent: Remembered,
    refused: Remembered,
}

/// What there was in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Proposals that reached the brain.
    pub proposals: u64,
    /// Orders that risk-guard permitted.
    pub permits: u64,
    /// Orders that left for the venue or, by the services' counts, were signed for it.
    pub orders: u64,
    /// Fills; by the services' counts, those since execution's journal began.
    pub fills: u64,
    /// Refusals by the code of their reason.
    pub refusals: BTreeMap<String, u64>,
}

/// A bounded set: the oldest is forgotten first.
#[derive(Debug, Default)]
struct Remembered {
    known: BTreeSet<OrderId>,
    order: VecDeque<OrderId>,
}

impl Remembered {
    /// Whether it is new.
    fn insert(&mut self, id: OrderId) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > ORDERS_REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl View {
    /// The brain answered a proposal.
    pub fn decision(&mut self, at: Timestamp, strategy: &str, decision: &Decision) {
        self.proposals = self.proposals.saturating_add(1);
        if let Outcome::Refused(reason) = decision.outcome {
            self.refuse(at, "brain", decision.order, strategy, reason, "");
        }
    }

    /// Risk-guard answered an order.
    pub fn verdict(&mut self, at: Timestamp, strategy: &str, verdict: &Verdict) {
        match verdict.outcome {
            Outcome::Passed => self.permits = self.permits.saturating_add(1),
            Outcome::Refused(reason) => {
                self.refuse(at, "risk-guard", verdict.order, strategy, reason, "");
            }
        }
    }

    /// Execution said where an order stands.
    pub fn report(&mut self, at: Timestamp, report: &ExecutionReport) {
        let left = match report.status {
            OrderStatus::Accepted | OrderStatus::Refused => false,
            OrderStatus::Sent
            | OrderStatus::Unknown
            | OrderStatus::Open
            | OrderStatus::Filled
            | OrderStatus::Cancelled
            | OrderStatus::Rejected => true,
        };
        if left && self.orders_sent.insert(report.order) {
            self.orders = self.orders.saturating_add(1);
        }
        let refused = matches!(report.status, OrderStatus::Refused | OrderStatus::Rejected);
        if let (true, Some(reason)) = (refused, report.reason) {
            let strategy = report.strategy;
            let detail = report.detail.as_str();
            self.refuse(
                at,
                "execution",
                report.order,
                strategy.as_str(),
                reason,
                detail,
            );
        }
        if report.status == OrderStatus::Unknown {
            let text = format!(
                "order {} of {} is in doubt",
                short(report.order),
                report.strategy
            );
            self.happened(at, "execution", true, text);
        }
        // What execution says in full comes four times a second; until then a list of open orders
        // must not show one that is over.
        if let Some((_, status)) = &mut self.execution
            && report.status.is_terminal()
        {
            let before = status.orders.len();
            status.orders.retain(|open| open.order != report.order);
            let gone = u64::from(status.orders.len() < before);
            status.orders_open = status.orders_open.saturating_sub(gone);
        }
    }

    /// An order filled.
    pub fn fill(&mut self, at: Timestamp, strategy: &str, fill: &Fill) {
        self.fills = self.fills.saturating_add(1);
        let Fill {
            side,
            quantity,
            symbol,
            price,
            ..
        } = fill;
        let text = format!("{strategy}: {side} {quantity} {symbol} at {price}");
        self.happened(at, "fill", false, text);
    }

    /// Execution said how it is.
    pub fn execution(&mut self, at: Timestamp, status: ExecutionStatus) {
        let detail = match (status.may_trade, status.reason) {
            (false, Some(reason)) => reason.code().to_owned(),
            (true, _) | (false, None) => String::new(),
        };
        let seen = Seen {
            at,
            ready: status.may_trade,
            detail,
            kill: Some(status.kill),
            policy: Some(status.policy),
            counts: BTreeMap::new(),
        };
        self.services.insert(Role::Execution, seen);
        self.execution = Some((at, status));
    }

    /// Risk-guard said what it limits and stops.
    pub fn risk(&mut self, at: Timestamp, status: RiskStatus) {
        self.risk = Some((at, status));
    }

    /// A service said how it is.
    pub fn status(&mut self, at: Timestamp, service: Role, status: &ServiceStatus) {
        let seen = Seen {
            at,
            ready: status.ready,
            detail: status.detail.as_str().to_owned(),
            kill: status.kill,
            policy: status.policy,
            counts: status
                .counts
                .iter()
                .map(|count| (count.name.as_str().to_owned(), count.value))
                .collect(),
        };
        self.services.insert(service, seen);
    }

    /// A service gave notice.
    pub fn notice(&mut self, at: Timestamp, service: Role, notice: &Notice) {
        let source = service.name();
        match notice {
            Notice::Started { version, .. } => {
                self.happened(at, source, false, format!("started, version {version}"));
            }
            Notice::Stopped => self.happened(at, source, false, "stopped".to_owned()),
            // It comes three times a minute and says nothing that a status does not.
            Notice::Alive => {}
            Notice::KillSwitch {
                state,
                cause,
                detail,
            } => {
                if !state.may_trade() && self.pulled.is_none() {
                    let detail = detail.as_str().to_owned();
                    self.pulled = Some(Pulled {
                        service,
                        cause: *cause,
                        detail,
                    });
                }
                // A latch is told of at once, perhaps before the service first says how it is.
                let unknown = Seen {
                    at,
                    ready: false,
                    detail: String::new(),
                    kill: None,
                    policy: None,
                    counts: BTreeMap::new(),
                };
                self.services.entry(service).or_insert(unknown).kill = Some(*state);
                let text = format!("kill switch {state} ({}): {detail}", cause_words(*cause));
                self.happened(at, source, true, text);
            }
            Notice::Violation { subject, code, .. } => {
                self.violations = self.violations.saturating_add(1);
                self.happened(
                    at,
                    source,
                    true,
                    format!("refused a message: {code} on {subject}"),
                );
            }
            Notice::Refused { reason, detail } => {
                self.happened(at, source, true, format!("{reason}: {detail}"));
            }
            Notice::Reconciled {
                open,
                changed,
                fills,
            } => {
                let text = format!(
                    "compared itself with the venue: {open} open orders, {changed} changed, \
                     {fills} new fills"
                );
                self.happened(at, source, false, text);
            }
            Notice::VenueHalt {
                symbol,
                reason,
                is_over,
                evidence,
            } => {
                let text = halt_words(*symbol, *reason, *is_over, evidence);
                self.happened(at, source, !is_over, text);
            }
            Notice::KillConfirmed {
                venue,
                orders,
                after_ms,
            } => {
                let text = kill_words(*venue, *orders, *after_ms);
                self.happened(at, source, false, text);
            }
            Notice::DayBegan { day, baseline, .. } => {
                let text = format!("day {day} began with an equity of {baseline} USD");
                self.happened(at, source, false, text);
            }
            Notice::Policy { service, runs, own } => {
                let agrees = if runs == own { "the same" } else { "another" };
                let text = format!("{service} runs {agrees} risk policy: {runs}");
                self.happened(at, source, runs != own, text);
            }
            Notice::Breaker {
                breaker,
                from,
                to,
                detail,
                ..
            } => {
                let bad = *to != BreakerState::Closed;
                let text = format!("circuit breaker {breaker} {from} to {to}: {detail}");
                self.happened(at, source, bad, text);
            }
            Notice::Posture { from, to, detail } => {
                let text = format!("posture {from} to {to}: {detail}");
                self.happened(at, source, to > from, text);
            }
            Notice::Commanded {
                operator,
                digest,
                outcome,
                detail,
            } => {
                self.answered(service, *digest, *outcome, detail.as_str());
                let bad = matches!(outcome, CommandOutcome::Refused | CommandOutcome::Lapsed);
                let text = format!("{operator}: {detail}: {}", outcome_words(*outcome));
                self.happened(at, source, bad, text);
            }
            Notice::Warning { detail } => self.happened(at, source, true, detail.to_string()),
        }
    }

    /// Audit published a checkpoint whose signature held. The log only grows: one that is shorter
    /// than an earlier one, or differs at the same length, is no continuation of it.
    pub fn checkpoint(&mut self, at: Timestamp, checkpoint: Checkpoint) {
        if let Some((_, last)) = &self.checkpoint {
            let shorter = checkpoint.size < last.size;
            let other = checkpoint.size == last.size && checkpoint.head != last.head;
            if shorter || other {
                let text = format!(
                    "audit's log went from {} entries to {} with another head: it was rewritten",
                    last.size, checkpoint.size
                );
                self.happened(at, "audit", true, text.clone());
                self.checkpoint_problem = Some(text);
                return;
            }
        }
        self.checkpoint = Some((at, checkpoint));
    }

    /// Audit published a checkpoint that its key did not sign.
    pub fn checkpoint_unsigned(&mut self, at: Timestamp) {
        let text = "a checkpoint came whose signature does not hold".to_owned();
        self.happened(at, "audit", true, text.clone());
        self.checkpoint_problem = Some(text);
    }

    /// What risk-guard last answered to a command.
    #[must_use]
    pub fn answer(&self, digest: Hash) -> Option<&Answer> {
        let mut newest_first = self.answers.iter().rev();
        newest_first.find(|answer| answer.digest == digest)
    }

    /// Others give notices too, but only risk-guard can answer for itself.
    fn answered(&mut self, by: Role, digest: Hash, outcome: CommandOutcome, detail: &str) {
        if by != Role::RiskGuard {
            return;
        }
        self.answers.push_back(Answer {
            digest,
            outcome,
            detail: detail.to_owned(),
        });
        if self.answers.len() > ANSWERS_MAX {
            self.answers.pop_front();
        }
    }

    /// Whether a service spoke lately.
    #[must_use]
    pub fn is_heard(&self, service: Role, now: Timestamp) -> bool {
        self.services
            .get(&service)
            .is_some_and(|seen| now.since(seen.at) < SILENT_AFTER)
    }

    /// The services whose latch is not armed.
    #[must_use]
    pub fn stopped(&self) -> Vec<(Role, KillState)> {
        let latched = |(role, seen): (&Role, &Seen)| {
            seen.kill
                .filter(|state| !state.may_trade())
                .map(|state| (*role, state))
        };
        self.services.iter().filter_map(latched).collect()
    }

    /// The latest events, the oldest first.
    pub fn latest(&self, count: usize) -> impl Iterator<Item = &Event> {
        self.events
            .iter()
            .skip(self.events.len().saturating_sub(count))
    }

    /// What there was in all.
    #[must_use]
    pub fn totals(&self) -> Totals {
        if !self.from_counts {
            let refusals = self
                .refusals
                .iter()
                .map(|(reason, n)| (reason.code().to_owned(), *n));
            return Totals {
                proposals: self.proposals,
                permits: self.permits,
                orders: self.orders,
                fills: self.fills,
                refusals: refusals.collect(),
            };
        }
        let count = |role: Role, name: &str| {
            self.services
                .get(&role)
                .and_then(|seen| seen.counts.get(name))
                .copied()
                .unwrap_or(0)
        };
        let mut refusals = BTreeMap::<String, u64>::new();
        for (name, n) in self.services.values().flat_map(|seen| &seen.counts) {
            if let Some(reason) = name.strip_prefix("refused.") {
                let sum = refusals.entry(reason.to_owned()).or_default();
                *sum = sum.saturating_add(*n);
            }
        }
        Totals {
            proposals: count(Role::Brain, "orders").saturating_add(count(Role::Brain, "refused")),
            permits: count(Role::RiskGuard, "permits"),
            orders: count(Role::Signer, "signed.place"),
            fills: self
                .execution
                .as_ref()
                .map_or(0, |(_, status)| status.fills),
            refusals,
        }
    }

    /// How many entries the audit log has, by audit's own word.
    #[must_use]
    pub fn audit_entries(&self) -> Option<u64> {
        let counted = self
            .services
            .get(&Role::Audit)
            .and_then(|seen| seen.counts.get("durable"));
        let stated = self.checkpoint.as_ref().map(|(_, last)| last.size);
        counted.copied().max(stated)
    }

    fn refuse(
        &mut self,
        at: Timestamp,
        by: &str,
        order: OrderId,
        strategy: &str,
        reason: Reason,
        detail: &str,
    ) {
        // One order is refused once, whoever says so again.
        if !self.refused.insert(order) {
            return;
        }
        let count = self.refusals.entry(reason).or_default();
        *count = count.saturating_add(1);
        let colon = if detail.is_empty() { "" } else { ": " };
        let text = format!(
            "refused {} of {strategy}: {reason}{colon}{detail}",
            short(order)
        );
        self.happened(at, by, false, text);
    }

    /// Adds to the list of the latest events.
    pub fn happened(&mut self, at: Timestamp, source: &str, attention: bool, text: String) {
        self.events.push_back(Event {
            at,
            source: source.to_owned(),
            attention,
            text,
        });
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }
}

/// The first eight digits of an order's id, enough to tell orders apart on a screen.
#[must_use]
pub fn short(order: OrderId) -> String {
    order.to_string().chars().take(8).collect()
}

#[cfg(test)]
mod tests;
