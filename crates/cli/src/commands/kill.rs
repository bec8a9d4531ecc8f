//! `portcullis kill`: one person, one signature, everything stops.
//!
//! The command is a message signed with the operator's key. Risk-guard, execution and the signer
//! each check it themselves and pull their own latch; any one of them stops trading. It is sent
//! again, byte for byte, until all three have said so.

use std::path::Path;
use std::time::Duration;

use portcullis_domain::Venue;
use portcullis_wire::Text;
use portcullis_wire::messages::Kill as Command;
use portcullis_wire::subjects::KILL;
use serde_json::{Map, Value, json};

use crate::command::{Sent, reason};
use crate::exit::{End, Failure, Outcome};
use crate::feed::{AsOperator, Watcher, Where, now};
use crate::output::{Output, Tone};
use crate::view::{LATCHES, View};

const EXAMPLES: &str = "\
EXAMPLES
  portcullis kill --reason \"fills that nobody ordered\"
  portcullis kill --reason drill --json
  portcullis kill --reason drill --operator operator-alice

Nothing new is sent from then on, and execution cancels what is open. Positions stay as they are.
It works while brain, audit and market-data are down. It stays over restarts, and no command resumes
yet: to trade again in development, stop the stack and move its folder (.portcullis) away.

EXIT CODES
  0 all three latched, and the venue confirmed that nothing is open
  8 some did not answer, orders are still open, or the venue has not confirmed it
  7 nobody answered   1 it could not be sent";

/// Stop everything: nothing new is sent, and what is open is cancelled
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Kill {
    /// Why, for the record: at most 200 bytes on one line
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Text,
    #[command(flatten)]
    by: AsOperator,
}

/// How long the services may take, and execution to cancel what is open.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of a kill command.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answers {
    /// The services that are latched.
    latched: Vec<&'static str>,
    /// The services that are not, or did not say.
    missing: Vec<&'static str>,
    /// How many orders are open or in doubt; `None` when execution does not say.
    open: Option<u64>,
    /// How long after the kill the venue confirmed that nothing is open, in milliseconds.
    confirmed_ms: Option<u64>,
}

/// Stops everything.
///
/// # Errors
/// When the command could not be sent, or it is unknown what became of it.
pub async fn run(kill: &Kill, dir: Option<&Path>, bus: Option<&str>, output: &Output) -> Outcome {
    let unreachable = "stop the processes: Ctrl-C where the stack runs. Execution also stops by \
                       itself: 1 s without risk-guard's heartbeat and it sends nothing new, 5 s \
                       and it cancels what is open";
    let place = Where::find(dir, bus)?;
    let operator = kill.by.among(&place.folder)?;
    let mut watcher = Watcher::open(&place, &operator)
        .await
        .map_err(|failure| Failure {
            next_step: unreachable.to_owned(),
            ..failure
        })?;
    let sent = Sent::send(&watcher, &KILL, unreachable, |identity| Command {
        realm: identity.realm,
        operator: identity.name,
        reason: kill.reason.clone(),
        at: now(),
    })?;
    let again = |view: &View| !result(view).missing.is_empty();
    let done = |view: &View| result(view).is_complete();
    sent.until(&mut watcher, PATIENCE, again, done, output)
        .await;
    let result = result(&watcher.view);
    report(&result, &kill.reason, output);
    match result.end() {
        End::Unknown => Err(Failure::new(
            End::Unknown,
            format!(
                "nobody answered within {} s: it is unknown what stopped",
                PATIENCE.as_secs()
            ),
            unreachable,
        )),
        end => Ok(end),
    }
}

fn result(view: &View) -> Answers {
    let mut result = Answers {
        latched: vec![],
        missing: vec![],
        open: None,
        confirmed_ms: None,
    };
    for (role, state) in view.latches() {
        let latched = state.is_some_and(|state| !state.may_trade());
        if latched {
            &mut result.latched
        } else {
            &mut result.missing
        }
        .push(role.name());
    }
    // What it said before it was latched is not what is open now.
    let execution = view.execution.as_ref();
    if let Some((_, status)) = execution.filter(|(_, status)| !status.kill.may_trade()) {
        result.open = Some(status.orders_open.max(status.orders_unknown));
        result.confirmed_ms = status.kill_confirmed_ms;
    }
    result
}

impl Answers {
    fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.open == Some(0) && self.confirmed_ms.is_some()
    }

    fn end(&self) -> End {
        match (self.latched.is_empty(), self.is_complete()) {
            (true, _) => End::Unknown,
            (false, true) => End::Done,
            (false, false) => End::Partial,
        }
    }
}

fn report(result: &Answers, reason: &Text, output: &Output) {
    let services: Map<String, Value> = LATCHES
        .iter()
        .map(|role| {
            (
                role.name().to_owned(),
                json!(result.latched.contains(&role.name())),
            )
        })
        .collect();
    output.object(
        "portcullis.kill/1",
        json!({
            "reason": reason.as_str(),
            "latched": services,
            "complete": result.is_complete(),
            "orders_open": result.open,
            "kill_confirmed_ms": result.confirmed_ms,
        }),
    );
    for line in lines(result, output) {
        output.line(&line);
    }
}

fn lines(result: &Answers, output: &Output) -> Vec<String> {
    let count = format!("{}/{} latched", result.latched.len(), LATCHES.len());
    let mut first = if result.missing.is_empty() {
        output.paint(Tone::Good, &format!("■ STOPPED  {count}"))
    } else {
        output.paint(Tone::Bad, &count)
    };
    for name in &result.missing {
        first.push_str(&format!(", {name}: no answer"));
    }
    let open = match (result.open, result.confirmed_ms) {
        (Some(0), Some(ms)) => format!(
            "{}: no open orders, confirmed by the venue after {ms} ms; positions stay as they are",
            Venue::Bybit
        ),
        (Some(0), None) => {
            let text = format!(
                "{} has not confirmed yet that nothing is open: look again with `portcullis status`, \
                 or at the venue",
                Venue::Bybit
            );
            output.paint(Tone::Attention, &text)
        }
        (Some(open), _) => {
            let text = format!("{open} orders are still open or in doubt: portcullis orders");
            output.paint(Tone::Bad, &text)
        }
        (None, _) => output.paint(Tone::Attention, "execution does not say what is open: look again with `portcullis status`, or at the venue"),
    };
    vec![first, open]
}

#[cfg(test)]
mod tests {
    use portcullis_domain::{Hash, KillCause, KillState};
    use portcullis_wire::messages::{ExecutionStatus, Notice, ServiceStatus};
    use portcullis_wire::principal::Role;

    use super::*;

    fn execution(kill: KillState, orders_open: u64) -> ExecutionStatus {
        ExecutionStatus {
            kill,
            may_trade: false,
            policy: Hash([1; 32]),
            loss_max: "500".parse().unwrap(),
            orders_open,
            ..portcullis_testkit::accounts::status()
        }
    }

    fn service(kill: KillState) -> ServiceStatus {
        ServiceStatus {
            ready: true,
            detail: Text::lossy(""),
            kill: Some(kill),
            policy: None,
            counts: vec![],
        }
    }

    #[test]
    fn success_takes_three_latches_and_no_open_order() {
        let mut view = View::default();
        assert_eq!(result(&view).end(), End::Unknown);
        view.execution(now(), execution(KillState::Armed, 0));
        assert_eq!(result(&view).end(), End::Unknown);
        assert_eq!(result(&view).open, None, "said before the latch fell");
        view.execution(now(), execution(KillState::Triggered, 2));
        view.status(now(), Role::RiskGuard, &service(KillState::Triggered));
        view.status(now(), Role::Signer, &service(KillState::Armed));
        assert_eq!(result(&view).end(), End::Partial);
        assert_eq!(result(&view).missing, ["signer"]);
        let notice = Notice::KillSwitch {
            state: KillState::Triggered,
            cause: KillCause::Operator,
            detail: Text::lossy("drill"),
        };
        view.notice(now(), Role::Signer, &notice);
        assert_eq!(
            result(&view).end(),
            End::Partial,
            "two orders are still open"
        );
        view.execution(now(), execution(KillState::Triggered, 0));
        assert_eq!(
            result(&view).end(),
            End::Partial,
            "nothing open here is not yet nothing open there"
        );
        let mut proven = execution(KillState::Triggered, 0);
        proven.kill_confirmed_ms = Some(412);
        view.execution(now(), proven);
        assert_eq!(result(&view).end(), End::Done);
    }

    #[test]
    fn a_part_is_never_printed_as_success() {
        let output = Output::of(false, false, false);
        let part = Answers {
            latched: vec!["risk-guard", "execution"],
            missing: vec!["signer"],
            open: Some(2),
            confirmed_ms: None,
        };
        assert_eq!(
            lines(&part, &output),
            [
                "2/3 latched, signer: no answer",
                "2 orders are still open or in doubt: portcullis orders"
            ]
        );
        let whole = Answers {
            missing: vec![],
            latched: vec!["a", "b", "c"],
            open: Some(0),
            confirmed_ms: Some(412),
        };
        assert_eq!(
            lines(&whole, &output),
            [
                "■ STOPPED  3/3 latched",
                "bybit: no open orders, confirmed by the venue after 412 ms; positions stay as they are"
            ]
        );
    }
}
