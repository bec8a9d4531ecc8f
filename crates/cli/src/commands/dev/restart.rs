//! What follows when a process of the stack ends: again after a while, or the end of all of it.

use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            // A process that ended did one or the other.
            (None, None) => Self::Code(1),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start it again after this wait.
    Restart(Duration),
    /// Its configuration or a secret is wrong, or it never came up: stop everything and show why.
    StopAll,
    /// It did what it was for.
    Finished,
}

/// The first wait before a restart; it doubles with every failure in a row.
const WAIT_MIN: Duration = Duration::from_millis(200);
/// The longest wait before a restart.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Whoever ran for so long starts with the shortest wait again.
const STEADY_AFTER: Duration = Duration::from_secs(30);
/// How often a process that was never ready may fail in a row.
const ATTEMPTS_MAX: u32 = 4;
/// The exit code of a service whose configuration or secrets are wrong: trying again cannot help.
const BAD_CONFIGURATION: i32 = 2;

/// How often one process failed in a row.
#[derive(Clone, Copy, Debug)]
pub struct Failures {
    in_a_row: u32,
    wait_max: Duration,
}

impl Default for Failures {
    fn default() -> Self {
        Self::waiting_at_most(WAIT_MAX)
    }
}

impl Failures {
    /// With another longest wait before a restart.
    #[must_use]
    pub const fn waiting_at_most(wait_max: Duration) -> Self {
        Self {
            in_a_row: 0,
            wait_max,
        }
    }

    /// Decides what follows. `ran_for` is how long the process ran, `was_ready` whether it ever did
    /// its work since the stack started, `may_finish` whether it may end by itself.
    pub fn ended(
        &mut self,
        ended: Ended,
        ran_for: Duration,
        was_ready: bool,
        may_finish: bool,
    ) -> Action {
        if ended == Ended::Code(BAD_CONFIGURATION) {
            return Action::StopAll;
        }
        if may_finish && ended == Ended::Code(0) {
            return Action::Finished;
        }
        if ran_for >= STEADY_AFTER {
            self.in_a_row = 0;
        }
        let doublings = self.in_a_row.min(16);
        self.in_a_row = self.in_a_row.saturating_add(1);
        if !was_ready && self.in_a_row >= ATTEMPTS_MAX {
            return Action::StopAll;
        }
        let wait = WAIT_MIN.saturating_mul(1 << doublings);
        Action::Restart(wait.min(WAIT_MAX).min(self.wait_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    #[test]
    fn a_crash_is_followed_by_restarts_that_come_slower_and_slower() {
        let mut failures = Failures::default();
        let waits: Vec<_> = (0..8)
            .map(
                |_| match failures.ended(Ended::Signal(9), SHORT, true, false) {
                    Action::Restart(wait) => wait.as_millis(),
                    other => panic!("{other:?}"),
                },
            )
            .collect();
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        let steady = failures.ended(Ended::Code(1), STEADY_AFTER, true, false);
        assert_eq!(steady, Action::Restart(WAIT_MIN));
    }

    #[test]
    fn a_test_that_kills_all_the_time_waits_for_no_restart() {
        let mut failures = Failures::waiting_at_most(SHORT);
        for _ in 0..8 {
            let action = failures.ended(Ended::Signal(9), SHORT, true, false);
            assert_eq!(action, Action::Restart(SHORT));
        }
    }

    #[test]
    fn bad_configuration_is_never_tried_again() {
        for was_ready in [true, false] {
            let action = Failures::default().ended(Ended::Code(2), SHORT, was_ready, true);
            assert_eq!(action, Action::StopAll);
        }
    }

    #[test]
    fn what_never_comes_up_is_given_up() {
        let mut failures = Failures::default();
        let actions: Vec<_> = (0..4)
            .map(|_| failures.ended(Ended::Code(1), SHORT, false, false))
            .collect();
        assert!(
            actions[..3]
                .iter()
                .all(|action| matches!(action, Action::Restart(_)))
        );
        assert_eq!(actions[3], Action::StopAll);
    }

    #[test]
    fn only_what_may_finish_finishes() {
        let end = |may| Failures::default().ended(Ended::Code(0), SHORT, true, may);
        assert_eq!(end(true), Action::Finished);
        assert_eq!(
            end(false),
            Action::Restart(WAIT_MIN),
            "a service has no reason to end"
        );
    }
}
