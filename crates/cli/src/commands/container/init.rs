//! `portcullis container init`: the identities of a deployment, each in its own volume.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use portcullis_runtime::identity::make::public_nkeys;
use portcullis_runtime::nats_config::{NatsSettings, Roster, nats_config};

use super::place;
use crate::commands::dev;
use crate::exit::{End, Failure, Outcome};
use crate::folder::{Folder, private_file, private_folder};
use crate::output::Output;

const EXAMPLES: &str = "\
EXAMPLES
  portcullis container init --config /etc/portcullis --volumes /portcullis
                                       as the init job of docker compose
  portcullis container init --config config --volumes deployment
                                       for Kubernetes: scripts/kubernetes-secrets deployment

Made once: a second run changes nothing. To begin anew, with an empty record, empty every volume.";

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

/// Where the bus's configuration finds its own files, in every deployment.
const BUS: &str = "/portcullis/bus";
/// Where the bus keeps the stream of facts.
const BUS_DATA: &str = "/portcullis/bus-data";
/// Where clients connect; which networks lead there, the deployment says.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4222);
/// The bus's own monitoring has no authentication: only its own container reaches it.
const MONITORING: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8222);
/// Written last. Until then nothing counts as made.
const COMPLETE: &str = "complete";

/// Makes everything, or finds it made.
///
/// # Errors
/// When something is missing that was made once, or nothing can be written.
pub fn run(init: &Init, output: &Output) -> Outcome {
    let Init { config, volumes } = init;
    let roster = dev::init::roster_of(config)?;
    if volumes.join("authority").join(COMPLETE).exists() {
        return check(volumes, &roster, output);
    }
    make(volumes, config, &roster).map_err(|cause| Failure {
        end: End::Failed,
        problem: cause.context("make the identities of the deployment"),
        next_step: format!("make everything below {} writable", volumes.display()),
    })?;
    output.line(&format!(
        "made the identities of the deployment in {}",
        volumes.display()
    ));
    Ok(End::Done)
}

/// Identities that were lost cannot be made again one by one: the others would not know them.
fn check(volumes: &Path, roster: &Roster, output: &Output) -> Outcome {
    let principals = portcullis_runtime::nats_config::principals(roster);
    let mut needed: Vec<PathBuf> = principals
        .iter()
        .map(|name| {
            Path::new("identity")
                .join(name.as_str())
                .join("identity.toml")
        })
        .collect();
    needed.push("bus/nats.conf".into());
    needed.retain(|path| !volumes.join(path).is_file());
    if needed.is_empty() {
        output.line("the identities of the deployment are there already: nothing was changed");
        return Ok(End::Done);
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

fn make(volumes: &Path, config: &Path, roster: &Roster) -> anyhow::Result<()> {
    let authority = volumes.join("authority");
    place::close(&authority).context("open the volume of the authority")?;
    // Made beside the authority's keys, which no other container sees, then handed out.
    let new = Folder::at(&authority.join("new"));
    remove(new.path())?;
    dev::init::make_in(&new, config).map_err(|failure| failure.problem)?;

    for entry in fs::read_dir(new.identities())? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let name = entry.file_name();
        let to = match name.to_str() {
            Some("nats") => volumes.join("bus"),
            _ => volumes.join("identity").join(&name),
        };
        place::copy(&entry.path(), &to).with_context(|| format!("fill {}", to.display()))?;
    }
    place::copy(&new.identities(), &authority).context("keep the authority's keys")?;
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

    let bus = Path::new(BUS);
    let settings = NatsSettings {
        listen: LISTEN,
        http: Some(MONITORING),
        store_dir: BUS_DATA.into(),
        tls_certificate: bus.join("server.pem"),
        tls_key: bus.join("server.key"),
        tls_ca: bus.join("ca.pem"),
        pid_file: None,
        log_file: None,
    };
    let text = nats_config(roster, &public_nkeys(&authority)?, &settings)?;
    private_file(&volumes.join("bus/nats.conf"), text.as_bytes())?;
    place::close(&volumes.join("bus-data"))?;

    remove(new.path())?;
    private_file(&authority.join(COMPLETE), b"")?;
    fs::File::open(&authority)?.sync_all()?;
    Ok(())
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
            for secret in ["ca.key", "epoch-1.root"] {
                assert!(!folder.join(secret).exists(), "{name} holds {secret}");
            }
        }
        let authority = names(&root.path().join("authority"));
        assert!(
            authority.contains("ca.key") && !authority.contains("new"),
            "{authority:?}"
        );
        let bus = names(&root.path().join("bus"));
        assert_eq!(
            bus.into_iter().collect::<Vec<_>>(),
            ["ca.pem", "nats.conf", "server.key", "server.pem"]
        );
        let armed = root.path().join("state/execution/latch.toml");
        assert!(fs::read_to_string(armed).unwrap().contains("ARMED"));
    }

    #[test]
    fn a_second_run_changes_nothing_and_arms_nothing() {
        let root = tempfile::tempdir().unwrap();
        init(root.path()).unwrap();
        let latch = root.path().join("state/signer/latch.toml");
        let seed = root.path().join("identity/brain/nkey.seed");
        let before = fs::read(&seed).unwrap();
        fs::remove_file(&latch).unwrap();
        assert_eq!(init(root.path()).unwrap(), End::Done);
        assert_eq!(fs::read(&seed).unwrap(), before);
        assert!(!latch.exists(), "a lost latch is a triggered one");
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
                .contains("identity/signer/identity.toml"),
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
