//! Operators' commands: the safe direction at once, the risky one with a second person.
//!
//! Nobody approves their own, an approval is for exactly one signed command, and a command that
//! nobody approves in time lapses: non-response is a refusal. What waits is forgotten at a restart.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use portcullis_domain::{Figure, Hash, PrincipalName, Recent, Scope, Span, Timestamp};
use portcullis_wire::Text;
use portcullis_wire::command::Authorised;
use portcullis_wire::messages::{
    CommandOutcome, HaltStatus, Notice, PendingCommand, RiskAction, RiskCommand,
};

use crate::guard::RiskGuard;
use crate::record::Record;
use crate::{Effects, posture};

/// How long ago a command may have been signed.
const AGE_MAX: Span = Span::from_secs(120);
/// How far a person's clock may be ahead.
const SKEW_MAX: Span = Span::from_secs(2);
/// How long a command waits for a second person.
const WAITS_FOR: Span = Span::from_secs(600);
/// The most commands that wait at once.
const PENDING_MAX: usize = 32;
const STILL_RECOVERING: &str = "it is not open, or its recovery is not over";
/// The most commands that are remembered, so that none is done twice.
const ANSWERED_MAX: usize = 4_096;

/// Commands that wait, and those that were answered.
#[derive(Clone, Debug)]
pub struct Desk {
    pending: BTreeMap<Hash, PendingCommand>,
    answered: Recent<Hash>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            pending: BTreeMap::new(),
            answered: Recent::new(AGE_MAX.plus(SKEW_MAX), ANSWERED_MAX),
        }
    }
}

impl Desk {
    /// Those that nobody approved in time.
    pub fn lapsed(&mut self, now: Timestamp) -> Vec<Notice> {
        let over = |pending: &PendingCommand| now >= pending.expires_at;
        let digests: Vec<Hash> = self
            .pending
            .values()
            .filter(|pending| over(pending))
            .map(|pending| pending.digest)
            .collect();
        digests
            .into_iter()
            .filter_map(|digest| self.pending.remove(&digest))
            .map(|pending| {
                let words = words(&pending.command.action);
                let outcome = CommandOutcome::Lapsed;
                commanded(pending.command.operator, pending.digest, outcome, &words)
            })
            .collect()
    }

    /// Those that wait.
    pub fn pending(&self) -> impl Iterator<Item = &PendingCommand> {
        self.pending.values()
    }
}

/// What an action needs.
enum Need {
    OnePerson,
    TwoPersons,
}

impl RiskGuard {
    /// Takes a command whose operator and signature hold.
    pub(crate) fn command(
        &mut self,
        now: Timestamp,
        command: &Authorised<RiskCommand>,
        effects: &mut Effects,
    ) {
        let digest = command.digest();
        let command = command.command();
        if self.desk.answered.contains(&digest) {
            return;
        }
        let answer = self.answer(now, digest, command, effects);
        let (outcome, detail) = match answer {
            Ok((outcome, detail)) => (outcome, detail),
            Err(why) => (
                CommandOutcome::Refused,
                format!("{}: {why}", words(&command.action)),
            ),
        };
        effects.is_sync |= outcome == CommandOutcome::Done;
        effects
            .notices
            .push(commanded(command.operator, digest, outcome, &detail));
    }

    fn answer(
        &mut self,
        now: Timestamp,
        digest: Hash,
        command: &RiskCommand,
        effects: &mut Effects,
    ) -> Result<(CommandOutcome, String), String> {
        if now.since(command.at) > AGE_MAX || command.at.since(now) > SKEW_MAX {
            return Err("it was signed too long ago, or a clock is wrong; sign it anew".into());
        }
        let because = format!("{} ({})", words(&command.action), command.reason);
        if let RiskAction::Approve {
            digest: approved, ..
        } = command.action
        {
            self.count_once(now, digest, command)?;
            return self.approve(now, approved, command, effects);
        }
        let need = self.need(now, &command.action)?;
        // The safe direction is safe however often it is said, and no memory keeps it waiting.
        if matches!(need, Need::TwoPersons) || matches!(command.action, RiskAction::Release { .. })
        {
            self.count_once(now, digest, command)?;
        }
        match need {
            Need::OnePerson => {
                self.perform(now, command, effects)?;
                Ok((CommandOutcome::Done, because))
            }
            Need::TwoPersons if self.desk.pending.len() >= PENDING_MAX => {
                Err("too many commands wait for a second person".into())
            }
            Need::TwoPersons => {
                let pending = PendingCommand {
                    digest,
                    command: command.clone(),
                    expires_at: now.plus(WAITS_FOR),
                };
                self.desk.pending.insert(digest, pending);
                Ok((CommandOutcome::AwaitsApproval, because))
            }
        }
    }

    /// The risky direction counts once: what was signed before this start may have counted then.
    fn count_once(
        &mut self,
        now: Timestamp,
        digest: Hash,
        command: &RiskCommand,
    ) -> Result<(), String> {
        if command.at < self.started_at {
            return Err("it was signed before risk-guard started; sign it anew".into());
        }
        let remembered = self.desk.answered.remember(digest, now);
        remembered.map_err(|_| "too many commands at once; wait two minutes".to_string())
    }

    fn approve(
        &mut self,
        now: Timestamp,
        digest: Hash,
        approval: &RiskCommand,
        effects: &mut Effects,
    ) -> Result<(CommandOutcome, String), String> {
        let pending = self.desk.pending.get(&digest);
        let pending = pending.ok_or("nothing waits under that digest")?;
        if now >= pending.expires_at {
            return Err("it waited too long; let the first person sign it anew".into());
        }
        if pending.command.operator == approval.operator {
            return Err("nobody approves their own command".into());
        }
        let command = pending.command.clone();
        self.desk.pending.remove(&digest);
        let words = words(&command.action);
        let by = format!("{words}, approved by {}", approval.operator);
        // It may no longer make sense since the first person signed it.
        let done = self
            .need(now, &command.action)
            .and_then(|_| self.perform(now, &command, effects));
        let (outcome, detail) = match &done {
            Ok(()) => (CommandOutcome::Done, by),
            Err(why) => (CommandOutcome::Refused, format!("{by}: {why}")),
        };
        effects
            .notices
            .push(commanded(command.operator, digest, outcome, &detail));
        done?;
        let because = format!(
            "approved {words} of {} ({})",
            command.operator, approval.reason
        );
        Ok((CommandOutcome::Done, because))
    }

    /// Whether an action makes sense now, and how many persons it takes.
    fn need(&self, now: Timestamp, action: &RiskAction) -> Result<Need, String> {
        match action {
            RiskAction::Halt { scope, until } => {
                self.check_scope(*scope)?;
                if until.is_some_and(|until| until <= now) {
                    return Err("its end lies in the past".into());
                }
                let is_new = !self.halts.has(*scope) && *scope != Scope::All;
                if is_new && self.halts.is_full() {
                    return Err("there are as many halts as there may be".into());
                }
                let held = self.halts.until(*scope);
                Ok(if is_longer(held, *until) {
                    Need::OnePerson
                } else {
                    Need::TwoPersons
                })
            }
            RiskAction::LiftHalt { scope } if self.halts.has(*scope) => Ok(Need::TwoPersons),
            RiskAction::LiftHalt { .. } => Err("that is not halted".into()),
            RiskAction::OpenBreaker { breaker } if self.knows(*breaker) => Ok(Need::OnePerson),
            // Refused before anybody has to wait for a second person.
            RiskAction::CloseBreaker { breaker } if self.knows(*breaker) => {
                if self.breakers.may_half_open(*breaker, now) {
                    Ok(Need::TwoPersons)
                } else {
                    Err(STILL_RECOVERING.into())
                }
            }
            RiskAction::OpenBreaker { .. } | RiskAction::CloseBreaker { .. } => {
                Err("there is no such strategy or instrument".into())
            }
            RiskAction::SetLimit { rule, scope, value } => {
                self.check_scope(*scope)?;
                let ceiling = self.limits.ceiling(*rule, *scope);
                let ceiling = ceiling.ok_or("that is no limit that can be set for it")?;
                if *value < Figure::ZERO {
                    return Err("a limit is not below zero".into());
                }
                if *value > ceiling.most {
                    let most = ceiling.most;
                    return Err(format!("the policy allows {most} at most"));
                }
                let now = self.limits.in_force(*rule, *scope, ceiling.most);
                Ok(if *value <= now {
                    Need::OnePerson
                } else {
                    Need::TwoPersons
                })
            }
            RiskAction::RaisePosture => {
                let allowed = self.posture_allowed();
                let allowed = allowed.ok_or("the drawdown is not known")?;
                if allowed < self.posture {
                    Ok(Need::TwoPersons)
                } else {
                    Err("the day's drawdown allows no more than now".into())
                }
            }
            RiskAction::Release { strategy } => {
                let strategy = self.strategies.get(*strategy);
                if strategy.is_some_and(|strategy| strategy.is_suspended) {
                    Ok(Need::OnePerson)
                } else {
                    Err("no strategy of that name is suspended".into())
                }
            }
            RiskAction::Approve { .. } => Err("an approval is not approved".into()),
        }
    }

    fn check_scope(&self, scope: Scope) -> Result<(), String> {
        let is_known = match scope {
            Scope::All => true,
            Scope::Venue(venue) => self.limits.policy().venues.contains(&venue),
            Scope::Instrument(symbol) => self.markets.contains_key(&symbol),
            Scope::Strategy(id) => self.strategies.has(id),
        };
        if is_known {
            Ok(())
        } else {
            Err(format!("there is no {scope}"))
        }
    }

    fn posture_allowed(&self) -> Option<portcullis_domain::Posture> {
        let drawdown = self.account.and_then(|account| account.drawdown)?;
        Some(posture::allowed(drawdown, self.drawdown_limit()))
    }

    /// What waits about the same thing no longer counts: whoever approved it did not know of this.
    fn void(&mut self, action: &RiskAction, effects: &mut Effects) {
        let same = |pending: &&PendingCommand| is_about_the_same(&pending.command.action, action);
        let voided: Vec<Hash> = self
            .desk
            .pending
            .values()
            .filter(same)
            .map(|p| p.digest)
            .collect();
        for digest in voided {
            if let Some(pending) = self.desk.pending.remove(&digest) {
                let words = words(&pending.command.action);
                let detail = format!("{words}: void, because of another command about the same");
                let operator = pending.command.operator;
                let outcome = CommandOutcome::Refused;
                effects
                    .notices
                    .push(commanded(operator, digest, outcome, &detail));
            }
        }
    }

    fn perform(
        &mut self,
        now: Timestamp,
        command: &RiskCommand,
        effects: &mut Effects,
    ) -> Result<(), String> {
        self.void(&command.action, effects);
        match command.action {
            RiskAction::Halt { scope, until } => {
                let halt = HaltStatus {
                    scope,
                    until,
                    operator: command.operator,
                    reason: command.reason.clone(),
                };
                self.keep(Record::Halted(halt), effects);
            }
            RiskAction::LiftHalt { scope } => self.keep(Record::HaltEnded { scope }, effects),
            RiskAction::OpenBreaker { breaker } => self.breakers.force_open(breaker),
            RiskAction::CloseBreaker { breaker } => {
                if !self.breakers.half_open(breaker, now) {
                    return Err(STILL_RECOVERING.into());
                }
            }
            RiskAction::SetLimit { rule, scope, value } => {
                self.keep(Record::Limit { rule, scope, value }, effects);
                self.follow_drawdown(effects);
            }
            RiskAction::RaisePosture => {
                let allowed = self.posture_allowed();
                let to = allowed.ok_or("the drawdown is not known")?;
                let by = format!("{}: {}", command.operator, command.reason);
                self.set_posture(to, &by, effects);
            }
            RiskAction::Release { strategy } => {
                self.keep(Record::Released { strategy }, effects);
            }
            RiskAction::Approve { .. } => return Err("an approval is not approved".into()),
        }
        Ok(())
    }
}

/// Whether two actions change the same halt, limit, breaker, strategy or posture.
fn is_about_the_same(one: &RiskAction, other: &RiskAction) -> bool {
    use RiskAction::{CloseBreaker, Halt, LiftHalt, OpenBreaker, RaisePosture, Release, SetLimit};
    match (one, other) {
        (
            Halt { scope: one, .. } | LiftHalt { scope: one },
            Halt { scope: other, .. } | LiftHalt { scope: other },
        ) => one == other,
        (
            OpenBreaker { breaker: one } | CloseBreaker { breaker: one },
            OpenBreaker { breaker: other } | CloseBreaker { breaker: other },
        ) => one == other,
        (
            SetLimit {
                rule: one,
                scope: of_one,
                ..
            },
            SetLimit {
                rule: other,
                scope: of_other,
                ..
            },
        ) => one == other && of_one == of_other,
        (RaisePosture, RaisePosture) => true,
        (Release { strategy: one }, Release { strategy: other }) => one == other,
        (
            Halt { .. }
            | LiftHalt { .. }
            | OpenBreaker { .. }
            | CloseBreaker { .. }
            | SetLimit { .. }
            | RaisePosture
            | Release { .. }
            | RiskAction::Approve { .. },
            _,
        ) => false,
    }
}

/// Whether a halt until then only makes a scope stay halted longer than it is. To shorten one is to
/// lift a part of it.
fn is_longer(held: Option<Option<Timestamp>>, until: Option<Timestamp>) -> bool {
    match (held, until) {
        (None, _) | (Some(_), None) => true,
        (Some(None), Some(_)) => false,
        (Some(Some(held)), Some(until)) => until >= held,
    }
}

fn commanded(
    operator: PrincipalName,
    digest: Hash,
    outcome: CommandOutcome,
    detail: &str,
) -> Notice {
    Notice::Commanded {
        operator,
        digest,
        outcome,
        detail: Text::lossy(detail),
    }
}

/// An action in words.
fn words(action: &RiskAction) -> String {
    match action {
        RiskAction::Halt { scope, until: None } => format!("halt {scope} until it is lifted"),
        RiskAction::Halt { scope, .. } => format!("halt {scope} for a time"),
        RiskAction::LiftHalt { scope } => format!("lift the halt of {scope}"),
        RiskAction::OpenBreaker { breaker } => format!("open circuit breaker {breaker}"),
        RiskAction::CloseBreaker { breaker } => {
            format!("let probes through circuit breaker {breaker}")
        }
        RiskAction::SetLimit { rule, scope, value } => {
            format!("set limit {rule} of {scope} to {value}")
        }
        RiskAction::RaisePosture => "raise the posture".into(),
        RiskAction::Release { strategy } => format!("let strategy {strategy} go on"),
        RiskAction::Approve { digest } => format!("approve {digest}"),
    }
}
