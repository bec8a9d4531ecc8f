//! `portcullis container`: what a deployment in containers does once, before its services start.
//!
//! ```text
//!  <volumes>/  authority/…             what more identities could be made with: the init job only
//!              identity/<principal>/…  one volume each
//!              state/<service>/…       one volume each, with an ARMED latch where one belongs
//!              bus/…                   the bus's configuration and its certificate
//!              exchange/…              the simulated exchange's accounts
//! ```
//!
//! Every part is a volume of its own, so that a service is given its own and no other.

mod init;
mod place;

use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use portcullis_runtime::latch::Latch;
use portcullis_runtime::provision;

use crate::commands::dev;
use crate::exit::{End, Failure, OrFail as _, Outcome};
use crate::output::Output;

/// What is done once in a deployment.
#[derive(Debug, Subcommand)]
pub enum Container {
    /// Make the identities of a whole deployment, each in a folder of its own
    Init(init::Init),
    /// Create the stream of facts, or make sure that it is what it must be
    Provision(Provision),
    /// Copy an identity from where it was mounted to where only this container's user may read it
    TakeIdentity(TakeIdentity),
    /// Make the armed latch of a service that has none yet
    Arm(Arm),
}

/// How the stream is made.
#[derive(Debug, clap::Args)]
pub struct Provision {
    /// Folder with the settings
    #[arg(long, value_name = "FOLDER")]
    config: PathBuf,
    /// Identity of the provisioner
    #[arg(long, value_name = "FOLDER")]
    identity: PathBuf,
}

/// What is copied where.
#[derive(Debug, clap::Args)]
pub struct TakeIdentity {
    /// Where it is mounted
    from: PathBuf,
    /// A folder that is made for it
    to: PathBuf,
}

/// Whose latch it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A latch that is there is never changed: whoever wants to trade again after a halt resumes it.")]
pub struct Arm {
    /// State folder of the service
    state: PathBuf,
}

/// Runs one of them.
///
/// # Errors
/// What stood in the way, with the next step.
pub async fn run(container: &Container, bus: Option<&str>, output: &Output) -> Outcome {
    match container {
        Container::Init(init) => init::run(init, output),
        Container::Provision(provision) => run_provision(provision, bus, output).await,
        Container::TakeIdentity(TakeIdentity { from, to }) => take_identity(from, to, output),
        Container::Arm(Arm { state }) => arm(state, output),
    }
}

async fn run_provision(asked: &Provision, bus: Option<&str>, output: &Output) -> Outcome {
    let bus = bus.ok_or_else(|| {
        Failure::new(
            End::Usage,
            "no bus is named",
            "name it: --bus tls://nats:4222",
        )
    })?;
    let roster = dev::init::roster_of(&asked.config)?;
    provision::provision(&asked.identity, bus, &roster)
        .await
        .map_err(|cause| {
            let next_step = cause.next_step();
            Failure::caused(End::Failed, "prepare the stream of facts", cause, next_step)
        })?;
    output.line("the stream of facts is as it must be");
    Ok(End::Done)
}

fn take_identity(from: &Path, to: &Path, output: &Output) -> Outcome {
    let next_step = "mount the identity there, readable for this user, and a folder to write to";
    let count = place::copy(from, to).or_fail("take the identity", next_step)?;
    if count == 0 {
        return Err(Failure::new(
            End::Usage,
            format!("{} is empty", from.display()),
            next_step,
        ));
    }
    output.line(&format!("took {count} files to {}", to.display()));
    Ok(End::Done)
}

fn arm(state: &Path, output: &Output) -> Outcome {
    match Latch::arm_new(state) {
        Ok(()) => {
            output.line(&format!("armed a new latch in {}", state.display()));
            Ok(End::Done)
        }
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            output.line(&format!(
                "{} has a latch already: left as it is",
                state.display()
            ));
            Ok(End::Done)
        }
        Err(cause) => {
            let next_step = "make the state folder writable for this user";
            Err(Failure::caused(
                End::Failed,
                format!("arm {}", state.display()),
                cause,
                next_step,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_latch_that_is_there_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("execution");
        let quiet = Output::of(true, false, false);
        assert_eq!(arm(&state, &quiet).unwrap(), End::Done);
        let latch = state.join("latch.toml");
        assert!(fs::read_to_string(&latch).unwrap().contains("ARMED"));
        fs::write(&latch, "fallen").unwrap();
        assert_eq!(arm(&state, &quiet).unwrap(), End::Done);
        assert_eq!(fs::read_to_string(&latch).unwrap(), "fallen");
    }

    #[test]
    fn an_empty_mount_is_no_identity() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir(&from).unwrap();
        let failure = take_identity(&from, &to, &Output::of(true, false, false)).unwrap_err();
        assert_eq!(failure.end, End::Usage);
        assert!(failure.to_string().ends_with("from is empty"), "{failure}");
    }
}
