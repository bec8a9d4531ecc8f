//! Runs a program: logging, the runtime, and one clear word about why it ended.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::identity::IdentityError;
use crate::journal::JournalError;
use crate::secret::SecretError;
use crate::service::StartError;
use crate::state::StateError;
use crate::telemetry;

/// A fault at run time: a supervisor may start the program again.
const FAULT: u8 = 1;
/// Wrong use, settings, identity or secrets: starting again without a change cannot help.
const USAGE: u8 = 2;

/// Something that a service cannot go on with until a person changes it, and what to change: for
/// the errors that only the service itself knows.
#[derive(Debug)]
pub struct Unusable {
    cause: Box<dyn Error + Send + Sync>,
    next_step: String,
    code: u8,
}

impl Unusable {
    /// Wraps an error with its next step. The exit code is that of a usage problem: starting again
    /// without a change cannot help.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>, next_step: String) -> Self {
        Self {
            cause: cause.into(),
            next_step,
            code: USAGE,
        }
    }

    /// As [`Self::new`], for what may pass while the service is started again, such as a full disk:
    /// the exit code is that of a fault at run time.
    pub fn at_present(cause: impl Into<Box<dyn Error + Send + Sync>>, next_step: String) -> Self {
        Self {
            code: FAULT,
            ..Self::new(cause, next_step)
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.cause, f)
    }
}

impl Error for Unusable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// Runs a program on two threads with JSON logs on standard error (filtered by `RUST_LOG`). The
/// exit code is 0 when it ended as asked, 1 for a fault at run time, 2 for a problem with
/// arguments, settings, identity or secrets. The whole chain of the error is said once, as a log
/// line for machines, and as `error: …` with `next step: …` for people.
pub fn run<F, Fut, E>(name: &'static str, main: F) -> ExitCode
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    telemetry::log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(name)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(cause) => return report(name, &cause),
    };
    let outcome = runtime.block_on(main());
    // Whatever still runs must not keep a program alive that has ended.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: Box<dyn Error + Send + Sync> = error.into();
            report(name, error.as_ref())
        }
    }
}

fn report(name: &str, error: &(dyn Error + 'static)) -> ExitCode {
    let Verdict {
        chain,
        code,
        next_step,
    } = judge(error);
    tracing::error!(program = name, exit_code = code, next_step, "{chain}");
    let mut lines = format!("error: {chain}\n");
    if let Some(step) = next_step {
        lines.push_str(&format!("next step: {step}\n"));
    }
    // With no standard error there is nobody left to tell.
    let _ = std::io::stderr().write_all(lines.as_bytes());
    ExitCode::from(code)
}

struct Verdict {
    chain: String,
    code: u8,
    next_step: Option<String>,
}

fn judge(error: &(dyn Error + 'static)) -> Verdict {
    let mut verdict = Verdict {
        chain: error.to_string(),
        code: FAULT,
        next_step: None,
    };
    let mut link = Some(error);
    while let Some(cause) = link {
        if verdict.next_step.is_none()
            && let Some((code, next_step)) = classify(cause)
        {
            verdict.code = code;
            verdict.next_step = Some(next_step);
        }
        link = cause.source();
        if let Some(cause) = link {
            verdict.chain.push_str(": ");
            verdict.chain.push_str(&cause.to_string());
        }
    }
    verdict
}

/// Exit code and next step of an error that this crate knows.
fn classify(error: &(dyn Error + 'static)) -> Option<(u8, String)> {
    if let Some(error) = error.downcast_ref::<StartError>() {
        let code = if error.is_permanent() { USAGE } else { FAULT };
        return Some((code, error.next_step()));
    }
    if let Some(error) = error.downcast_ref::<Unusable>() {
        return Some((error.code, error.next_step.clone()));
    }
    if let Some(error) = error.downcast_ref::<ConfigError>() {
        return Some((USAGE, error.next_step()));
    }
    if let Some(error) = error.downcast_ref::<SecretError>() {
        return Some((USAGE, error.next_step()));
    }
    if let Some(error) = error.downcast_ref::<IdentityError>() {
        return Some((USAGE, error.next_step()));
    }
    if let Some(error) = error.downcast_ref::<StateError>() {
        return Some((FAULT, error.next_step()));
    }
    if let Some(error) = error.downcast_ref::<JournalError>() {
        let code = match error {
            JournalError::Damaged { .. } => USAGE,
            JournalError::Open { .. }
            | JournalError::InUse(_)
            | JournalError::Lost { .. }
            | JournalError::Write { .. }
            | JournalError::Length(_)
            | JournalError::Behind
            | JournalError::Closed => FAULT,
        };
        return Some((code, error.next_step()));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_chain_is_said_once_with_the_next_step_and_the_code_of_its_kind() {
        let secret = SecretError::OpenToOthers {
            path: PathBuf::from("/a/key"),
            mode: 0o644,
        };
        let verdict = judge(&StartError::Identity(IdentityError::Secret(secret)));
        assert_eq!(
            verdict.chain,
            "load identity: read a secret of the identity: secret /a/key is open to others (mode \
             0644)"
        );
        assert_eq!(verdict.code, USAGE);
        assert_eq!(verdict.next_step.as_deref(), Some("chmod 600 /a/key"));
    }

    #[test]
    fn what_may_pass_is_a_fault_at_run_time_and_what_cannot_is_not() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        for (error, code) in [
            (Unusable::at_present(full(), "free it".into()), FAULT),
            (Unusable::new(full(), "free it".into()), USAGE),
        ] {
            let verdict = judge(&error);
            assert_eq!(verdict.code, code);
            assert_eq!(verdict.next_step.as_deref(), Some("free it"));
        }
    }

    #[test]
    fn an_error_nobody_knows_is_a_fault_at_run_time() {
        let verdict = judge(&std::io::Error::other("disk on fire"));
        assert_eq!((verdict.code, verdict.next_step), (FAULT, None));
        assert_eq!(verdict.chain, "disk on fire");
    }
}
