//! `portcullis container init`: the identities of a deployment, each in its own volume.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use portcullis_runtime::identity::store::Facts;
use portcullis_runtime::nats_config::NatsSettings;

use super::place;
use crate::commands::dev;
use crate::commands::keys::write_server_config;
use crate::exit::{End, Failure, OrFail as _, Outcome};
use crate::folder::{Folder, private_file, private_folder};
use crate::output::Output;

const EXAMPLES: &str = "\
EXAMPLES
  portcullis container init --config /etc/portcullis --volumes /portcullis
                                       as the init job of docker compose
  portcullis container init --config config --volumes deployment
                                       for Kubernetes: scripts/kubernetes-secrets deployment

Made once: a second run hands out what `portcullis keys` has changed in the volume of the authority,
and nothing else. To begin anew, with an empty record, empty every volume.";

/// Make the identities of a whole deployment, each in a folder of its own
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Init {
    /// Folder with the settings: the risk policy names the instruments
    #[arg(long, value_name = "FOLDER")]
    config: PathBuf,
    /// Folder that all volumes are mounted below
    #[arg(long, value_name = "FOLDER")]
    volumes: PathBuf,
}

/// Files of an identity that are copied to its volume.
const BUNDLE: &str = "bundle.sealed";
/// Where the bus's configuration finds its own files, in every deployment.
const BUS: &str = "/portcullis/bus";
/// Where the bus keeps the stream of facts.
const BUS_DATA: &str = "/portcullis/bus-data";
/// What the bus logs, which audit follows.
const BUS_LOG: &str = "/portcullis/bus-log/nats.log";
/// Where clients connect; which networks lead there, the deployment says.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4222);
/// The bus's own monitoring has no authentication: only its own container reaches it.
const MONITORING: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8222);
/// Written last. Until then nothing counts as made.
const COMPLETE: &str = "complete";

/// Makes everything, or finds it made and hands out what has changed.
///
/// # Errors
/// When something is missing that was made once, or nothing can be written.
pub fn run(init: &Init, output: &Output) -> Outcome {
    let Init { config, volumes } = init;
    let failure = |cause: anyhow::Error| Failure {
        end: End::Failed,
        problem: cause.context("make the identities of the deployment"),
        next_step: format!("make everything below {} writable", volumes.display()),
    };
    if volumes.join("authority").join(COMPLETE).exists() {
        check(volumes)?;
        let changed = hand_out(volumes).map_err(failure)?;
        output.line(&match changed {
            0 => "the identities of the deployment are there already: nothing was changed".into(),
            files => format!("handed out {files} files that were changed since the last time"),
        });
        return Ok(End::Done);
    }
    make(volumes, config).map_err(failure)?;
    output.line(&format!(
        "made the identities of the deployment in {}",
        volumes.display()
    ));
    Ok(End::Done)
}

/// The realm of the deployment, complete: it is changed here, and handed out from here.
fn authority(volumes: &Path) -> Folder {
    Folder::at(&volumes.join("authority"))
}

/// An identity that is gone from its volume may have been stolen with it: nobody puts it back
/// without being asked.
fn check(volumes: &Path) -> Result<(), Failure> {
    let facts = Facts::read(&authority(volumes).identities());
    let facts = facts.or_fail("read the realm", "bring the volumes back from a backup")?;
    let present = facts
        .principal
        .iter()
        .filter(|held| held.revoked_at.is_none());
    let mut needed: Vec<PathBuf> = present
        .map(|held| Path::new("identity").join(held.name.as_str()).join(BUNDLE))
        .collect();
    needed.push("bus/nats.conf".into());
    needed.retain(|path| !volumes.join(path).is_file());
    if needed.is_empty() {
        return Ok(());
    }
    let missing: Vec<_> = needed
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Err(Failure::new(
        End::Usage,
        format!(
            "identities were made, and these are missing: {}",
            missing.join(", ")
        ),
        "bring the volumes back from a backup; or empty all of them, to begin anew with an empty \
         record",
    ))
}

fn make(volumes: &Path, config: &Path) -> anyhow::Result<()> {
    let authority = authority(volumes);
    place::close(authority.path()).context("open the volume of the authority")?;
    // Made beside the place that it gets when it is whole.
    let new = Folder::at(&authority.path().join("new"));
    remove(new.path())?;
    dev::init::make_in(&new, config).map_err(|failure| failure.problem)?;
    let bus = Path::new(BUS);
    let settings = NatsSettings {
        listen: LISTEN,
        http: Some(MONITORING),
        store_dir: BUS_DATA.into(),
        tls_certificate: bus.join("server.pem"),
        tls_key: bus.join("server.key"),
        tls_ca: bus.join("ca.pem"),
        pid_file: None,
        log_file: Some(BUS_LOG.into()),
    };
    let roster = Facts::read(&new.identities())?.roster()?;
    write_server_config(&new, &roster, &settings)?;

    place::copy(&new.exchange(), &volumes.join("exchange")).context("fill the exchange's")?;
    private_folder(&volumes.join("exchange/state"))?;
    for service in fs::read_dir(new.path().join("state"))? {
        let service = service?;
        let to = volumes.join("state").join(service.file_name());
        place::close(&to).with_context(|| format!("open {}", to.display()))?;
        // A latch that is there keeps its state: making keys anew is no way to resume.
        if !to.join("latch.toml").exists() {
            place::copy(&service.path(), &to).with_context(|| format!("arm {}", to.display()))?;
        }
    }
    for (from, to) in [
        (new.identities(), authority.identities()),
        (new.nats(), authority.nats()),
    ] {
        remove(&to)?;
        fs::rename(&from, &to).with_context(|| format!("keep {}", to.display()))?;
    }
    hand_out(volumes)?;
    place::close(&volumes.join("bus-data"))?;
    place::close(&volumes.join("bus-log"))?;

    remove(new.path())?;
    private_file(&authority.path().join(COMPLETE), b"")?;
    fs::File::open(authority.path())?.sync_all()?;
    Ok(())
}

/// Brings every identity to its own volume, and the bus's configuration to the bus's. Gives back how
/// many files were not there yet, or were different.
fn hand_out(volumes: &Path) -> anyhow::Result<usize> {
    let authority = authority(volumes);
    let mut copied = place::Copied::default();
    for held in Facts::read(&authority.identities())?.principal {
        let name = held.name.as_str();
        let (from, to) = (
            authority.identity(name),
            volumes.join("identity").join(name),
        );
        if held.revoked_at.is_some() {
            copied.changed = copied.changed.saturating_add(withdraw(&to)?);
            continue;
        }
        let one = place::copy(&from, &to).with_context(|| format!("fill {}", to.display()))?;
        copied = copied.and(one);
    }
    let bus = volumes.join("bus");
    for from in [authority.identity("nats"), authority.nats()] {
        let one = place::copy(&from, &bus).with_context(|| format!("fill {}", bus.display()))?;
        copied = copied.and(one);
    }
    Ok(copied.changed)
}

/// Takes an identity out of its volume.
fn withdraw(folder: &Path) -> anyhow::Result<usize> {
    let mut removed: usize = 0;
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry?.path();
        if path.is_file() {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            removed = removed.saturating_add(1);
        }
    }
    Ok(removed)
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(cause).with_context(|| format!("remove {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt as _;

    use portcullis_runtime::Identity;
    use portcullis_runtime::identity::store::{Rotation, Store};

    use super::*;

    const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");

    fn init(volumes: &Path) -> Outcome {
        let init = Init {
            config: CONFIG.into(),
            volumes: volumes.to_owned(),
        };
        run(&init, &Output::of(true, false, false))
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn each_identity_is_alone_in_its_volume_and_the_authority_in_its_own() {
        let root = tempfile::tempdir().unwrap();
        // As a new volume is: there, and open.
        let brain = root.path().join("identity/brain");
        fs::create_dir_all(&brain).unwrap();
        fs::set_permissions(&brain, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(init(root.path()).unwrap(), End::Done);

        for name in [
            "brain",
            "risk-guard",
            "execution",
            "signer",
            "audit",
            "market-data",
        ] {
            let folder = root.path().join("identity").join(name);
            let identity = Identity::load(&folder).unwrap();
            assert_eq!(identity.name.as_str(), name);
            for secret in ["roots.sealed", "roots.key"] {
                assert!(!folder.join(secret).exists(), "{name} holds {secret}");
            }
        }
        let authority = names(&root.path().join("authority"));
        assert_eq!(
            authority.into_iter().collect::<Vec<_>>(),
            ["complete", "identity", "nats"]
        );
        let bus = names(&root.path().join("bus"));
        assert_eq!(
            bus.into_iter().collect::<Vec<_>>(),
            ["ca.pem", "nats.conf", "server.key", "server.pem"]
        );
        let conf = fs::read_to_string(root.path().join("bus/nats.conf")).unwrap();
        let log = "log_file: \"/portcullis/bus-log/nats.log\"";
        assert!(conf.contains(log), "audit follows it");
        assert!(root.path().join("bus-log").is_dir());
        let armed = root.path().join("state/execution/latch.toml");
        assert!(fs::read_to_string(armed).unwrap().contains("ARMED"));
    }

    #[test]
    fn a_second_run_changes_nothing_and_arms_nothing() {
        let root = tempfile::tempdir().unwrap();
        init(root.path()).unwrap();
        let latch = root.path().join("state/signer/latch.toml");
        let bundle = root.path().join("identity/brain/bundle.sealed");
        let before = fs::read(&bundle).unwrap();
        fs::remove_file(&latch).unwrap();
        assert_eq!(init(root.path()).unwrap(), End::Done);
        assert_eq!(fs::read(&bundle).unwrap(), before);
        assert!(!latch.exists(), "a lost latch is a triggered one");
    }

    #[test]
    fn what_was_rotated_or_revoked_in_the_authority_is_handed_out_by_the_next_run() {
        let root = tempfile::tempdir().unwrap();
        init(root.path()).unwrap();
        let authority = authority(root.path());
        let name = |name: &str| portcullis_domain::PrincipalName::new(name).unwrap();
        let mut store = Store::open(&authority.identities(), None).unwrap();
        store.rotate(Rotation::default()).unwrap();
        store.revoke(name("strategy-trader")).unwrap();
        drop(store);
        let handed = root.path().join("identity/brain/bundle.sealed");
        let before = fs::read(&handed).unwrap();
        assert_eq!(init(root.path()).unwrap(), End::Done);
        assert_ne!(fs::read(&handed).unwrap(), before);
        let epochs = |folder: &str| {
            let identity = Identity::load(&root.path().join("identity").join(folder)).unwrap();
            let numbers: BTreeSet<u32> = identity.ring.epochs().map(|(_, e)| e.number).collect();
            numbers
        };
        assert_eq!(epochs("brain"), BTreeSet::from([1, 2]));
        assert_eq!(
            names(&root.path().join("identity/strategy-trader")).len(),
            0
        );
        // The third time nothing is left to hand out, and nobody misses who was revoked.
        assert_eq!(init(root.path()).unwrap(), End::Done);
    }

    #[test]
    fn an_identity_that_was_lost_is_not_made_anew() {
        let root = tempfile::tempdir().unwrap();
        init(root.path()).unwrap();
        fs::remove_dir_all(root.path().join("identity/signer")).unwrap();
        let failure = init(root.path()).unwrap_err();
        assert_eq!(failure.end, End::Usage);
        assert!(
            failure
                .to_string()
                .contains("identity/signer/bundle.sealed"),
            "{failure}"
        );
        assert!(!root.path().join("identity/signer").exists());
    }

    #[test]
    fn a_run_that_was_interrupted_is_repeated_and_leaves_a_fallen_latch() {
        let root = tempfile::tempdir().unwrap();
        init(root.path()).unwrap();
        fs::remove_file(root.path().join("authority").join(COMPLETE)).unwrap();
        fs::create_dir_all(root.path().join("authority/new/identity.new")).unwrap();
        let latch = root.path().join("state/execution/latch.toml");
        fs::write(&latch, "fallen").unwrap();
        assert_eq!(init(root.path()).unwrap(), End::Done);
        assert_eq!(fs::read_to_string(latch).unwrap(), "fallen");
        let identity = Identity::load(&root.path().join("identity/execution")).unwrap();
        assert_eq!(identity.realm.as_str(), "dev");
    }
}
