//! How a command ends: one exit code for each kind of end, and an error that says what to do next.

use std::fmt;
use std::process::ExitCode;

/// What the exit code of the process says. Scripts rely on these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Done, and everybody who had to acknowledge it did.
    Done,
    /// It failed; nothing was done, or the error says what was.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// Somebody who may say no said no.
    Denied,
    /// It may or may not have been done.
    Unknown,
    /// A part of it was done, or it waits for a second person.
    Partial,
}

impl End {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Denied => 3,
            Self::Unknown => 7,
            Self::Partial => 8,
        }
    }
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(end.code())
    }
}

/// Why a command did not do what was asked, and what the person can do about it.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub end: End,
    /// What failed, with the chain of its causes.
    pub problem: anyhow::Error,
    /// What to do now, as a sentence or a command line.
    pub next_step: String,
}

impl Failure {
    /// A failure with its next step.
    pub fn new(end: End, problem: impl fmt::Display, next_step: impl Into<String>) -> Self {
        Self {
            end,
            problem: anyhow::anyhow!("{problem}"),
            next_step: next_step.into(),
        }
    }

    /// A failure that has a cause.
    pub fn caused(
        end: End,
        action: impl fmt::Display,
        cause: impl Into<anyhow::Error>,
        next_step: impl Into<String>,
    ) -> Self {
        Self {
            end,
            problem: cause.into().context(action.to_string()),
            next_step: next_step.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.problem)
    }
}

/// What a command gives back.
pub type Outcome = Result<End, Failure>;

/// Adds what was being done and the next step to an error of something else.
pub trait OrFail<T> {
    /// The value, or a [`Failure`] with [`End::Failed`].
    ///
    /// # Errors
    /// The error, with what was being done and what to do next.
    fn or_fail(self, action: impl fmt::Display, next_step: &str) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrFail<T> for Result<T, E> {
    fn or_fail(self, action: impl fmt::Display, next_step: &str) -> Result<T, Failure> {
        self.map_err(|cause| Failure::caused(End::Failed, action, cause, next_step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_own_number() {
        let ends = [
            (End::Done, 0),
            (End::Failed, 1),
            (End::Usage, 2),
            (End::Denied, 3),
            (End::Unknown, 7),
            (End::Partial, 8),
        ];
        for (end, code) in ends {
            assert_eq!(end.code(), code, "{end:?}");
        }
    }

    #[test]
    fn a_failure_prints_its_whole_chain_once() {
        let cause = std::io::Error::other("no space");
        let failure = Failure::caused(End::Failed, "write the file", cause, "free some space");
        assert_eq!(failure.to_string(), "write the file: no space");
    }
}
