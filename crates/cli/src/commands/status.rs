//! `portcullis status`: may it trade, how close is the stop, is anything in doubt?

use std::path::Path;
use std::time::Duration;

use portcullis_wire::principal::Role;

use crate::exit::{End, Outcome};
use crate::feed::{AsOperator, Watcher, Where, now};
use crate::output::Output;
use crate::view::{Processes, View};

const EXAMPLES: &str = "\
EXAMPLES
  portcullis status                    how it is now
  portcullis status --watch            again each second, until Ctrl-C
  portcullis status --json | jq .standing

Proposals, permits, orders and refusals are what brain, risk-guard and signer counted since they
started; fills are those since the record of execution began.

EXIT CODES
  0 every service answered   8 some did not   7 none did   1 the bus does not answer";

/// Show whether it may trade, how close the stop is, and how every service is
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    /// Show it again each second
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    by: AsOperator,
}

/// Every service speaks once a second.
const PATIENCE: Duration = Duration::from_millis(2_500);
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(1);
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// The form of the JSON.
const SCHEMA: &str = "portcullis.status/1";

/// Shows the status.
///
/// # Errors
/// When nothing can be seen at all.
pub async fn run(
    status: &Status,
    dir: Option<&Path>,
    bus: Option<&str>,
    output: &Output,
) -> Outcome {
    let place = Where::find(dir, bus)?;
    let operator = status.by.among(&place.folder)?;
    let mut watcher = Watcher::open(&place, &operator).await?;
    watcher.view.from_counts = true;
    let spoke = |view: &View| {
        Role::SERVICES
            .iter()
            .all(|role| view.services.contains_key(role))
    };
    watcher.watch_until(PATIENCE, spoke).await;
    // Audit signs a checkpoint when its log has grown, at most once a second.
    watcher
        .watch_until(CHECKPOINT_PATIENCE, |view| view.checkpoint.is_some())
        .await;
    let mut painted = 0;
    loop {
        painted = show(&watcher.view, painted, output);
        if !status.watch || output.is_closed() {
            return Ok(end(&watcher.view));
        }
        watcher.watch_until(SHOW_EVERY, |_| false).await;
    }
}

fn show(view: &View, painted: usize, output: &Output) -> usize {
    let none = Processes::new();
    output.object(SCHEMA, view.json(now(), &none));
    let lines = view.screen(now(), &none, output);
    if painted > 0 && output.is_terminal() {
        output.raw(&format!("\x1b[{painted}A\r\x1b[J"));
    }
    for line in &lines {
        output.line(line);
    }
    lines.len()
}

fn end(view: &View) -> End {
    let present = now();
    let heard = Role::SERVICES
        .iter()
        .filter(|role| view.is_heard(**role, present))
        .count();
    match heard {
        0 => End::Unknown,
        all if all == Role::SERVICES.len() => End::Done,
        _ => End::Partial,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_wire::Text;
    use portcullis_wire::messages::ServiceStatus;

    use super::*;

    #[test]
    fn the_exit_code_says_how_many_services_answered() {
        let mut view = View::default();
        assert_eq!(end(&view), End::Unknown);
        let status = ServiceStatus {
            ready: true,
            detail: Text::lossy(""),
            kill: None,
            policy: None,
            counts: vec![],
        };
        view.status(now(), Role::Brain, &status);
        assert_eq!(end(&view), End::Partial);
        for role in Role::SERVICES {
            view.status(now(), *role, &status);
        }
        assert_eq!(end(&view), End::Done);
    }
}
