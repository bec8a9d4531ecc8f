//! `portcullis container`: what a deployment in containers does once, before its services start.
//!
//! ```text
//!  <volumes>/  authority/…             the whole realm, and what changes it: the init job only
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
use std::time::Duration;

use clap::Subcommand;
use portcullis_runtime::latch::Latch;
use portcullis_runtime::provision;
use tokio::signal::unix::{SignalKind, signal};

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

/// How the stream is made. As everywhere, `PORTCULLIS_IDENTITY_KEY` may name the file with the key of
/// the identity.
#[derive(Debug, clap::Args)]
pub struct Provision {
    /// Folder with the settings
    #[arg(long, value_name = "FOLDER")]
    config: PathBuf,
    /// Identity of the provisioner
    #[arg(long, value_name = "FOLDER")]
    identity: PathBuf,
}

const TAKE_EXAMPLES: &str = "\
EXAMPLES
  portcullis container take-identity /secret/bundle /portcullis/identity/brain \\
      --key /secret/key/bundle.key --key-to /portcullis/identity/brain.key
                                       once, before the service starts
  … --follow                           beside the service, for as long as it runs: what is rotated in the
                                       mounted Secret reaches the service within two seconds

A service refuses files that a group may read, and those of a mounted Secret are such files.";

/// How often a mounted Secret is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is copied where.
#[derive(Debug, clap::Args)]
#[command(after_help = TAKE_EXAMPLES)]
pub struct TakeIdentity {
    /// Where it is mounted
    from: PathBuf,
    /// A folder that is made for it
    to: PathBuf,
    /// Where the key of the bundle is mounted
    #[arg(long, value_name = "FILE", requires = "key_to")]
    key: Option<PathBuf>,
    /// The file that the key is copied to
    #[arg(long, value_name = "FILE", requires = "key")]
    key_to: Option<PathBuf>,
    /// Stay, and copy again whatever changes
    #[arg(long)]
    follow: bool,
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
        Container::TakeIdentity(take) if take.follow => follow(take, output).await,
        Container::TakeIdentity(take) => {
            let count = take_identity(take)?;
            let (to, files) = (take.to.display(), count.files);
            output.line(&format!("took {files} files to {to}"));
            Ok(End::Done)
        }
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

fn take_identity(take: &TakeIdentity) -> Result<place::Copied, Failure> {
    let TakeIdentity { from, to, .. } = take;
    let next_step = "mount the identity there, readable for this user, and a folder to write to";
    // The key first: a bundle that was sealed with a new one is of no use without it.
    let key = match (&take.key, &take.key_to) {
        (Some(from), Some(to)) => place::copy_file(from, to).or_fail("take the key", next_step)?,
        (None | Some(_), None) | (None, Some(_)) => place::Copied::default(),
    };
    let bundle = place::copy(from, to).or_fail("take the identity", next_step)?;
    if bundle.files == 0 {
        return Err(Failure::new(
            End::Usage,
            format!("{} is empty", from.display()),
            next_step,
        ));
    }
    Ok(bundle.and(key))
}

/// Copies what changes, until it is told to end. What cannot be read for a moment, because a mount is
/// just being exchanged, is tried again; the service keeps what it has meanwhile.
async fn follow(take: &TakeIdentity, output: &Output) -> Outcome {
    let next_step = "try again";
    let mut stop = signal(SignalKind::terminate()).or_fail("listen for SIGTERM", next_step)?;
    let mut failing = false;
    loop {
        match take_identity(take) {
            Ok(copied) if copied.changed > 0 => {
                let (to, files) = (take.to.display(), copied.changed);
                output.line(&format!("took {files} changed files to {to}"));
                failing = false;
            }
            Ok(_) => failing = false,
            Err(failure) if !failing => {
                output.failure(&failure);
                failing = true;
            }
            Err(_) => {}
        }
        if tokio::time::timeout(LOOK_EVERY, stop.recv()).await.is_ok() {
            return Ok(End::Done);
        }
    }
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
        let failure = take_identity(&take(&from, &to)).unwrap_err();
        assert_eq!(failure.end, End::Usage);
        assert!(failure.to_string().ends_with("from is empty"), "{failure}");
    }

    fn take(from: &Path, to: &Path) -> TakeIdentity {
        TakeIdentity {
            from: from.to_owned(),
            to: to.to_owned(),
            key: None,
            key_to: None,
            follow: false,
        }
    }

    #[test]
    fn a_bundle_and_its_key_are_taken_and_only_what_changed_is_written_again() {
        let root = tempfile::tempdir().unwrap();
        let (bundle, key) = (root.path().join("bundle"), root.path().join("key"));
        fs::create_dir(&bundle).unwrap();
        fs::write(bundle.join("bundle.sealed"), "sealed").unwrap();
        fs::write(&key, "key").unwrap();
        let to = root.path().join("identity/brain");
        let mut take = take(&bundle, &to);
        take.key = Some(key.clone());
        take.key_to = Some(root.path().join("identity/brain.key"));
        let copied = |take: &TakeIdentity| {
            let copied = take_identity(take).unwrap();
            (copied.files, copied.changed)
        };
        assert_eq!(copied(&take), (2, 2));
        let written = fs::metadata(to.join("bundle.sealed")).unwrap();
        assert_eq!(copied(&take), (2, 0));
        let again = fs::metadata(to.join("bundle.sealed")).unwrap();
        assert_eq!(
            std::os::unix::fs::MetadataExt::ino(&again),
            std::os::unix::fs::MetadataExt::ino(&written),
            "nothing changed, so nobody has to read it again"
        );
        fs::write(bundle.join("bundle.sealed"), "rotated").unwrap();
        assert_eq!(copied(&take), (2, 1));
        assert_eq!(fs::read(to.join("bundle.sealed")).unwrap(), b"rotated");
        assert_eq!(
            fs::read(root.path().join("identity/brain.key")).unwrap(),
            b"key"
        );
    }
}
