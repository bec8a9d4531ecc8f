//! What every command to risk-guard shares: it is signed, sent, and waited for.
//!
//! ```text
//!  action ──▶ Signed<RiskCommand> ──▶ risk-guard ──▶ done | awaits approval | refused
//!                   └── the same bytes again, until it says one of them about their digest
//! ```
//!
//! Risk-guard decides what an operator may do alone; nothing of that is decided here.

use std::path::Path;
use std::time::Duration;

use portcullis_domain::{Hash, PrincipalName};
use portcullis_wire::Text;
use portcullis_wire::messages::{CommandOutcome, RiskAction, RiskCommand, RiskStatus};
use portcullis_wire::subjects::RISK_COMMAND;
use serde_json::json;

use crate::command::{Sent, reason};
use crate::exit::{End, Failure, Outcome};
use crate::feed::{AsOperator, Watcher, Where, now};
use crate::folder::Folder;
use crate::output::{Output, Tone};
use crate::view::{Answer, View, action_words, outcome_words};

/// How each of these commands ends; for their help.
pub const ENDS: &str = "\
EXIT CODES
  0 done   3 refused   8 it awaits the approval of a second person   7 nobody answered
  1 it could not be sent";

/// How long risk-guard may take to answer a command.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Risk-guard says once a second what it limits and stops.
const STATUS_PATIENCE: Duration = Duration::from_millis(2_500);
/// What to do when the bus does not take a command.
const UNREACHABLE: &str = "look whether the stack runs: portcullis status. To stop everything in \
                           any case: portcullis kill";

/// Who commands, and why.
#[derive(Debug, clap::Args)]
pub struct Why {
    /// Why, for the record: at most 200 bytes on one line
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Text,
    /// As whom.
    #[command(flatten)]
    pub by: AsOperator,
}

/// An operator who is logged in.
pub struct Post {
    /// Where the identities are.
    pub folder: Folder,
    /// What is seen from there.
    pub watcher: Watcher,
}

impl Post {
    /// Logs in.
    ///
    /// # Errors
    /// When there is no such operator, or the bus does not answer.
    pub async fn open(
        by: &AsOperator,
        dir: Option<&Path>,
        bus: Option<&str>,
    ) -> Result<Self, Failure> {
        let place = Where::find(dir, bus)?;
        let operator = by.among(&place.folder)?;
        let watcher = Watcher::open(&place, &operator).await?;
        let folder = place.folder;
        Ok(Self { folder, watcher })
    }

    /// Waits for risk-guard's account of itself.
    ///
    /// # Errors
    /// When none comes.
    pub async fn status(&mut self) -> Result<&RiskStatus, Failure> {
        self.watcher
            .watch_until(STATUS_PATIENCE, |view| view.risk.is_some())
            .await;
        let silent = || {
            Failure::new(
                End::Unknown,
                format!(
                    "risk-guard said nothing for {} s",
                    STATUS_PATIENCE.as_secs_f32()
                ),
                "look at it: portcullis status",
            )
        };
        let status = self.watcher.view.risk.as_ref();
        status.map(|(_, status)| status).ok_or_else(silent)
    }

    /// Commands something and waits for the answer.
    ///
    /// # Errors
    /// When it cannot be sent, or nobody answers.
    pub async fn command(&mut self, action: RiskAction, reason: &Text, output: &Output) -> Outcome {
        let sent = Sent::send(&self.watcher, &RISK_COMMAND, UNREACHABLE, |identity| {
            RiskCommand {
                realm: identity.realm,
                operator: identity.name,
                action,
                reason: reason.clone(),
                at: now(),
            }
        })?;
        let answered = |view: &View| answer(view, sent.digest, &action).is_some();
        let silent = |view: &View| !answered(view);
        sent.until(&mut self.watcher, ANSWER_PATIENCE, silent, answered, output)
            .await;
        let operator = self.watcher.client().identity().name;
        let given = Given {
            action,
            digest: sent.digest,
            operator,
            second: second(&self.folder, operator),
        };
        match answer(&self.watcher.view, sent.digest, &action) {
            Some(answer) => Ok(given.report(answer, reason, output)),
            None => Err(Failure::new(
                End::Unknown,
                format!(
                    "risk-guard did not answer within {} s; it may still obey for a minute: {}",
                    ANSWER_PATIENCE.as_secs(),
                    action_words(&action),
                ),
                "see what is in force before you command it again: portcullis breakers, \
                 portcullis limits. To stop everything in any case: portcullis kill",
            )),
        }
    }
}

/// Commands one thing as one operator.
///
/// # Errors
/// As [`Post::open`] and [`Post::command`].
pub async fn command(
    action: RiskAction,
    why: &Why,
    dir: Option<&Path>,
    bus: Option<&str>,
    output: &Output,
) -> Outcome {
    let mut post = Post::open(&why.by, dir, bus).await?;
    post.command(action, &why.reason, output).await
}

/// What risk-guard said to a command. Of an approval it may speak by what was approved, once that is
/// done.
fn answer<'a>(view: &'a View, digest: Hash, action: &RiskAction) -> Option<&'a Answer> {
    let own = view.answer(digest);
    let approved = match action {
        RiskAction::Approve { digest } => view.answer(*digest),
        RiskAction::Halt { .. }
        | RiskAction::LiftHalt { .. }
        | RiskAction::OpenBreaker { .. }
        | RiskAction::CloseBreaker { .. }
        | RiskAction::SetLimit { .. }
        | RiskAction::RaisePosture
        | RiskAction::Release { .. } => None,
    };
    own.or(approved.filter(|answer| answer.outcome == CommandOutcome::Done))
}

/// Somebody else in the folder who could approve.
fn second(folder: &Folder, first: PrincipalName) -> Option<String> {
    let mut operators = folder.operators().into_iter();
    operators.find(|name| name != first.as_str())
}

/// A command that was answered.
struct Given {
    action: RiskAction,
    digest: Hash,
    operator: PrincipalName,
    second: Option<String>,
}

impl Given {
    fn report(&self, answer: &Answer, reason: &Text, output: &Output) -> End {
        let end = end(answer.outcome);
        output.object(
            "portcullis.command/1",
            json!({
                "operator": self.operator,
                "action": action_words(&self.action),
                "reason": reason.as_str(),
                "digest": self.digest,
                "outcome": answer.outcome,
                "detail": answer.detail,
                "next_step": self.next_step(answer.outcome),
            }),
        );
        for line in self.lines(answer, output) {
            output.line(&line);
        }
        end
    }

    fn lines(&self, answer: &Answer, output: &Output) -> Vec<String> {
        let (tone, mut lines) = match answer.outcome {
            CommandOutcome::Done => (Tone::Good, vec![]),
            CommandOutcome::AwaitsApproval => {
                (Tone::Attention, vec![format!("digest: {}", self.digest)])
            }
            CommandOutcome::Refused | CommandOutcome::Lapsed => (Tone::Bad, vec![]),
        };
        let said = match answer.outcome {
            CommandOutcome::Done => format!("done: {}", answer.detail),
            CommandOutcome::Refused => format!("refused by risk-guard: {}", answer.detail),
            CommandOutcome::AwaitsApproval | CommandOutcome::Lapsed => {
                let words = outcome_words(answer.outcome);
                format!("{}: {words}", action_words(&self.action))
            }
        };
        lines.insert(0, output.paint(tone, &said));
        if let Some(next_step) = self.next_step(answer.outcome) {
            lines.push(format!("next step: {next_step}"));
        }
        lines
    }

    fn next_step(&self, outcome: CommandOutcome) -> Option<String> {
        match outcome {
            CommandOutcome::Done => None,
            CommandOutcome::AwaitsApproval => Some(format!(
                "another operator approves it: portcullis approve {} --reason TEXT --operator {}",
                self.digest,
                self.second.as_deref().unwrap_or("NAME"),
            )),
            CommandOutcome::Lapsed => Some("command it again, with somebody at hand".to_owned()),
            CommandOutcome::Refused => Some(look(&self.action).to_owned()),
        }
    }
}

/// Where to look when risk-guard refused.
const fn look(action: &RiskAction) -> &'static str {
    match action {
        RiskAction::Halt { .. } | RiskAction::LiftHalt { .. } => {
            "look at what is halted: portcullis breakers"
        }
        RiskAction::OpenBreaker { .. } | RiskAction::CloseBreaker { .. } => {
            "look at the state of the breakers: portcullis breakers"
        }
        RiskAction::SetLimit { .. } => {
            "look at the limits, their units and their ceilings: portcullis limits"
        }
        RiskAction::RaisePosture => "look at how far the drawdown is: portcullis limits",
        RiskAction::Release { .. } => "look at which strategies are suspended: portcullis breakers",
        RiskAction::Approve { .. } => "look at what still awaits approval: portcullis breakers",
    }
}

const fn end(outcome: CommandOutcome) -> End {
    match outcome {
        CommandOutcome::Done => End::Done,
        CommandOutcome::AwaitsApproval => End::Partial,
        CommandOutcome::Refused | CommandOutcome::Lapsed => End::Denied,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_wire::messages::Notice;
    use portcullis_wire::principal::Role;

    use super::*;

    const OWN: Hash = Hash([1; 32]);
    const APPROVED: Hash = Hash([2; 32]);

    fn given(action: RiskAction) -> Given {
        Given {
            action,
            digest: OWN,
            operator: "operator-dev".parse().unwrap(),
            second: Some("operator-second".to_owned()),
        }
    }

    fn said(outcome: CommandOutcome) -> Answer {
        Answer {
            digest: OWN,
            outcome,
            detail: "the limit is above its ceiling".to_owned(),
        }
    }

    fn commanded(digest: Hash, outcome: CommandOutcome) -> Notice {
        Notice::Commanded {
            operator: "operator-dev".parse().unwrap(),
            digest,
            outcome,
            detail: Text::lossy(""),
        }
    }

    #[test]
    fn each_outcome_ends_with_its_own_code() {
        let cases = [
            (CommandOutcome::Done, 0),
            (CommandOutcome::Refused, 3),
            (CommandOutcome::Lapsed, 3),
            (CommandOutcome::AwaitsApproval, 8),
        ];
        for (outcome, code) in cases {
            assert_eq!(end(outcome).code(), code, "{outcome:?}");
        }
    }

    #[test]
    fn what_awaits_approval_says_what_the_second_person_types() {
        let output = Output::of(false, false, false);
        let lines = given(RiskAction::RaisePosture);
        let lines = lines.lines(&said(CommandOutcome::AwaitsApproval), &output);
        let line = format!("portcullis approve {OWN} --reason TEXT --operator operator-second");
        assert_eq!(
            lines,
            [
                "raise the posture to what the drawdown allows: waits for a second person".into(),
                format!("digest: {OWN}"),
                format!("next step: another operator approves it: {line}"),
            ]
        );
    }

    #[test]
    fn a_refusal_says_why_and_where_to_look() {
        let output = Output::of(false, false, false);
        let action = RiskAction::SetLimit {
            rule: portcullis_domain::Rule::OrderNotional,
            scope: portcullis_domain::Scope::All,
            value: "5".parse().unwrap(),
        };
        let lines = given(action).lines(&said(CommandOutcome::Refused), &output);
        assert_eq!(
            lines,
            [
                "refused by risk-guard: the limit is above its ceiling",
                "next step: look at the limits, their units and their ceilings: portcullis limits",
            ]
        );
    }

    #[test]
    fn only_risk_guard_answers_and_only_about_these_bytes() {
        let mut view = View::default();
        let lift = RiskAction::LiftHalt {
            scope: portcullis_domain::Scope::All,
        };
        let done = commanded(OWN, CommandOutcome::Done);
        view.notice(now(), Role::Brain, &done);
        view.notice(
            now(),
            Role::RiskGuard,
            &commanded(APPROVED, CommandOutcome::Done),
        );
        assert_eq!(answer(&view, OWN, &lift), None);
        view.notice(now(), Role::RiskGuard, &done);
        let outcome = answer(&view, OWN, &lift).unwrap().outcome;
        assert_eq!(outcome, CommandOutcome::Done);
    }

    #[test]
    fn an_approval_is_answered_by_what_it_approved_once_that_is_done() {
        let mut view = View::default();
        let approve = RiskAction::Approve { digest: APPROVED };
        let waits = commanded(APPROVED, CommandOutcome::AwaitsApproval);
        view.notice(now(), Role::RiskGuard, &waits);
        assert_eq!(answer(&view, OWN, &approve), None, "it waited before");
        view.notice(
            now(),
            Role::RiskGuard,
            &commanded(APPROVED, CommandOutcome::Done),
        );
        assert!(answer(&view, OWN, &approve).is_some());
    }
}
