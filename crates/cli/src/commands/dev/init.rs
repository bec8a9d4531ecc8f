//! `portcullis dev init`: everything that a local stack needs to know who is who.
//!
//! ```text
//!  .portcullis/  identity/…   a realm, as `portcullis keys init` makes it: a sealed bundle for everybody
//!                identity/signer/venue.sealed   the exchange's API keys; the signer's bundle opens it
//!                state/…/latch.toml             ARMED, for risk-guard, execution and signer
//!                exchange/…                     the same API keys, as the simulated exchange has them
//! ```
//!
//! The identities get their name last: until then nothing counts as made, and a run that was
//! interrupted is simply repeated.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use portcullis_domain::{Span, StrategyId, Symbol};
use portcullis_runtime::identity::Bundle;
use portcullis_runtime::identity::make::SERVER_NAMES;
use portcullis_runtime::identity::store::{Facts, Options};
use portcullis_runtime::latch::Latch;
use portcullis_runtime::nats_config::{NatsSettings, OperatorId, PROVISIONER, Roster};
use portcullis_runtime::{policy, provision as runtime_provision};
use portcullis_wire::Realm;
use serde_json::json;
use signer::custody::{ApiKey, Custody, KeySource, VENUE_SECRET, seal_file};
use zeroize::Zeroizing;

use super::stack::{Parts, SERVICES, find_config};
use super::up::folder;
use crate::commands::keys::{make_realm, write_server_config};
use crate::exit::{End, Failure, OrFail as _, Outcome};
use crate::folder::{Folder, Ports, private_file, private_folder};
use crate::output::Output;

const EXAMPLES: &str = "\
EXAMPLES
  portcullis dev init                make .portcullis beside the settings
  portcullis dev init --dir /tmp/p   make another, for a second stack

Everything is for this machine only: the realm is `dev`, and nothing of it opens anything of another
deployment. The folder has mode 0700 and its files 0600. An existing set is never changed.";

/// Make the identities of a local stack: certificates, keys and armed latches
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Init {
    /// Folder with the settings [default: the nearest config from here upwards]
    #[arg(long, value_name = "FOLDER")]
    config: Option<PathBuf>,
}

/// The deployment's name.
const REALM: &str = "dev";
/// The strategies: the one that trades by itself, and the one that a person trades as.
pub const STRATEGIES: [&str; 2] = ["sample", "trader"];
/// The person, and a second one to approve what the first one asks for.
pub const OPERATORS: [&str; 2] = ["dev", "second"];
/// How old the keys of a local stack may become: 30 days.
const EPOCH_LIFE: Span = Span::from_secs(30 * 86_400);
/// The account at the simulated exchange, and what it begins with, in USDT.
const ACCOUNT: &str = "dev";
const BALANCE: &str = "100000";
/// The services that hold a latch of the kill switch.
const LATCHED: [&str; 3] = ["risk-guard", "execution", "signer"];

/// Makes the identities.
///
/// # Errors
/// When there are some already, or they cannot be written.
pub fn run(init: &Init, dir: Option<&Path>, output: &Output) -> Outcome {
    let config = find_config(init.config.as_deref())?;
    let folder = folder(dir, &config);
    if folder.is_made() {
        return Err(Failure::new(
            End::Usage,
            format!(
                "{} holds development identities already",
                folder.path().display()
            ),
            "use them; or, to begin anew with an empty record, move the whole folder away first",
        ));
    }
    make_in(&folder, &config)?;
    let path = folder.path().display();
    output.line(&format!(
        "made development identities in {path} (mode 0700)"
    ));
    output.line("next step: start the stack with ./scripts/up");
    output.object(
        "portcullis.dev-init/1",
        json!({ "folder": path.to_string(), "realm": REALM }),
    );
    Ok(End::Done)
}

/// Makes the identities of a stack that is about to start.
///
/// # Errors
/// When they cannot be written.
pub fn make(parts: &Parts) -> Result<(), Failure> {
    make_in(&parts.folder, &parts.config)
}

/// Makes identities in a folder, for the instruments of these settings.
///
/// # Errors
/// When the settings cannot be read or the identities cannot be written.
pub fn make_in(folder: &Folder, config: &Path) -> Result<(), Failure> {
    let roster = roster_of(config)?;
    fill(folder, &roster).map_err(|cause| Failure {
        end: End::Failed,
        problem: cause.context("make development identities"),
        next_step: format!(
            "make {} writable, or name another: --dir",
            folder.path().display()
        ),
    })
}

fn fill(folder: &Folder, roster: &Roster) -> anyhow::Result<()> {
    private_folder(folder.path())?;
    let new = folder.path().join("identity.new");
    match fs::remove_dir_all(&new) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            return Err(cause).context("remove what an interrupted run left");
        }
        Ok(()) | Err(_) => {}
    }
    let options = Options {
        epoch_life: EPOCH_LIFE,
        ..Options::default()
    };
    make_realm(&new, roster, SERVER_NAMES, &options).map_err(|failure| failure.problem)?;

    let exchange = folder.exchange();
    private_folder(&exchange.join("state"))?;
    let trading = api_key(&exchange, "trading")?;
    let reading = api_key(&exchange, "reading")?;
    private_file(
        &exchange.join("accounts.toml"),
        accounts(&trading, &reading).as_bytes(),
    )?;
    let custody = Custody::new(trading.into_api_key()?, reading.into_api_key()?)?;
    let signer = Bundle::open(&new.join("signer"))?;
    let key = KeySource::identity(signer.secret(VENUE_SECRET))?;
    let sealed = new.join("signer/venue.sealed");
    seal_file(&sealed, &key, roster.realm(), &custody)?;

    for place in [
        folder.run(),
        folder.path().join("log"),
        folder.nats().join("data"),
    ] {
        private_folder(&place)?;
    }
    for service in SERVICES {
        private_folder(&folder.state(service))?;
    }
    for service in LATCHED {
        match Latch::arm_new(&folder.state(service)) {
            // A latch that is there keeps its state: making keys anew is no way to resume.
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            armed => armed.with_context(|| format!("arm the latch of {service}"))?,
        }
    }
    fs::rename(&new, folder.identities()).context("name the identities")?;
    Ok(())
}

/// An API key of the simulated exchange, still in the clear.
struct Plain {
    name: String,
    secret_file: String,
    secret: Zeroizing<String>,
}

impl Plain {
    fn into_api_key(self) -> anyhow::Result<ApiKey> {
        let secret = Zeroizing::new(self.secret.as_bytes().to_vec());
        Ok(ApiKey::new(&self.name, secret)?)
    }
}

fn api_key(exchange: &Path, what: &str) -> anyhow::Result<Plain> {
    let name = format!("dev-{what}-{}", random_hex::<6>()?.as_str());
    let secret = random_hex::<24>()?;
    let secret_file = format!("{what}.secret");
    private_file(&exchange.join(&secret_file), secret.as_bytes())?;
    Ok(Plain {
        name,
        secret_file,
        secret,
    })
}

/// The exchange's accounts: one account with two keys, of which execution has neither.
fn accounts(trading: &Plain, reading: &Plain) -> String {
    let account = |key: &Plain| {
        format!(
            "[[account]]\nid = \"{ACCOUNT}\"\napi_key = \"{}\"\nsecret_file = \"{}\"\n\
             balance = \"{BALANCE}\"\n",
            key.name, key.secret_file
        )
    };
    let head = "# The account of the local stack at the simulated exchange, and its two API keys: \
                one\n# that orders are signed with, and one that only reads. The signer holds both.\n";
    format!("{head}\n{}\n{}", account(trading), account(reading))
}

fn random_hex<const N: usize>() -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).context("ask the system for randomness")?;
    let mut text = Zeroizing::new(String::with_capacity(2 * N));
    for byte in bytes.iter() {
        text.push_str(&format!("{byte:02x}"));
    }
    Ok(text)
}

/// The instruments that the risk policy lists.
///
/// # Errors
/// When the policy cannot be read.
pub fn symbols(config: &Path) -> Result<Vec<Symbol>, Failure> {
    let path = config.join("risk-policy.toml");
    let (policy, _) = policy::load(&path).map_err(|cause| {
        let next_step = cause.next_step();
        Failure::caused(End::Usage, "read the risk policy", cause, next_step)
    })?;
    Ok(policy
        .instruments
        .iter()
        .map(|entry| entry.instrument.symbol)
        .collect())
}

/// Everybody in a local deployment with these settings.
///
/// # Errors
/// When the settings cannot be read.
pub fn roster_of(config: &Path) -> Result<Roster, Failure> {
    local_roster(symbols(config)?)
}

fn local_roster(symbols: Vec<Symbol>) -> Result<Roster, Failure> {
    let realm = Realm::new(REALM).map_err(anyhow::Error::msg);
    let realm = realm.or_fail("name the realm", "report this as a defect")?;
    let texts =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    roster_for(realm, &texts(&STRATEGIES), &texts(&OPERATORS), symbols)
}

/// A roster of these strategies and operators.
///
/// # Errors
/// When a name cannot be one, or is there twice.
pub fn roster_for(
    realm: Realm,
    strategies: &[String],
    operators: &[String],
    symbols: Vec<Symbol>,
) -> Result<Roster, Failure> {
    let named = || -> anyhow::Result<Roster> {
        let strategies = strategies.iter().map(|name| StrategyId::new(name));
        let strategies = strategies
            .collect::<Result<Vec<_>, _>>()
            .map_err(anyhow::Error::msg)?;
        let operators = operators.iter().map(|name| OperatorId::new(name));
        let operators = operators
            .collect::<Result<Vec<_>, _>>()
            .map_err(anyhow::Error::msg)?;
        Ok(Roster::new(realm, strategies, operators, symbols)?)
    };
    let next_step = "correct the names, or the instruments in risk-policy.toml";
    named().map_err(|cause| Failure::caused(End::Usage, "list who is on the bus", cause, next_step))
}

/// Writes the configuration of the bus for these ports.
///
/// # Errors
/// When the identities cannot be read or the file cannot be written.
pub fn write_nats_config(parts: &Parts, ports: &Ports) -> Result<(), Failure> {
    let folder = &parts.folder;
    let roster = roster_in(folder, parts.symbols.clone())?;
    let keys = folder.identities().join("nats");
    let settings = NatsSettings {
        listen: loopback(ports.nats),
        http: Some(loopback(ports.nats_monitor)),
        store_dir: folder.nats().join("data"),
        tls_certificate: keys.join("server.pem"),
        tls_key: keys.join("server.key"),
        tls_ca: keys.join("ca.pem"),
        pid_file: None,
        log_file: None,
    };
    let next_step = "move the development folder away to make a new one";
    write_server_config(folder, &roster, &settings)
        .or_fail("write the configuration of the bus", next_step)
}

/// Everybody in the realm of a folder, with the instruments of the present settings.
fn roster_in(folder: &Folder, symbols: Vec<Symbol>) -> Result<Roster, Failure> {
    let next_step = "move the development folder away to make a new one";
    let roster = Facts::read(&folder.identities()).map_err(anyhow::Error::from);
    let roster = roster.and_then(|facts| Ok(facts.roster()?));
    let of_realm = roster.or_fail("read the realm of the folder", next_step)?;
    let (strategies, operators) = (of_realm.strategies(), of_realm.operators());
    let roster = Roster::new(
        of_realm.realm(),
        strategies.to_vec(),
        operators.to_vec(),
        symbols,
    );
    roster.or_fail("list who is on the bus", "correct risk-policy.toml")
}

/// Creates the stream of facts, or makes sure that it is what it must be.
///
/// # Errors
/// When it is not.
pub async fn provision(parts: &Parts, ports: &Ports) -> Result<(), Failure> {
    let roster = roster_in(&parts.folder, parts.symbols.clone())?;
    let identity = parts.folder.identity(PROVISIONER);
    let provisioned = runtime_provision::provision(&identity, &ports.bus_url(), &roster).await;
    provisioned.map_err(|cause| {
        let next_step = cause.next_step();
        Failure::caused(End::Failed, "prepare the stream of facts", cause, next_step)
    })
}

/// A port of the loopback interface.
#[must_use]
pub const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use portcullis_runtime::nats_config::development_roster;

    use super::*;

    fn walk(path: &Path, found: &mut Vec<(PathBuf, u32)>) {
        let metadata = fs::symlink_metadata(path).unwrap();
        found.push((path.to_owned(), metadata.permissions().mode() & 0o7777));
        if metadata.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                walk(&entry.unwrap().path(), found);
            }
        }
    }

    #[test]
    fn everything_that_is_made_is_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(&root.path().join("p"));
        fill(&folder, &development_roster()).unwrap();
        let mut found = Vec::new();
        walk(folder.path(), &mut found);
        assert!(found.len() > 40, "{} files", found.len());
        for (path, mode) in found {
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "{}", path.display());
        }
    }

    #[test]
    fn the_signer_can_open_what_the_exchange_expects() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path());
        let roster = development_roster();
        fill(&folder, &roster).unwrap();
        let signer = folder.identity("signer");
        let bundle = Bundle::open(&signer).unwrap();
        let source = KeySource::identity(bundle.secret(VENUE_SECRET)).unwrap();
        Custody::open(&signer.join("venue.sealed"), &source, roster.realm()).unwrap();
        let accounts = fs::read_to_string(folder.exchange().join("accounts.toml")).unwrap();
        assert_eq!(
            accounts.matches("id = \"dev\"").count(),
            2,
            "one account, two keys"
        );
        let secret = fs::read_to_string(folder.exchange().join("trading.secret")).unwrap();
        assert!(!accounts.contains(&secret) && secret.len() == 48);
    }

    #[test]
    fn making_keys_anew_never_arms_a_latch_that_fell() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path());
        fill(&folder, &development_roster()).unwrap();
        let latch = folder.state("execution").join("latch.toml");
        fs::write(&latch, "fallen").unwrap();
        fs::rename(folder.identities(), root.path().join("old")).unwrap();
        fill(&folder, &development_roster()).unwrap();
        assert_eq!(fs::read_to_string(latch).unwrap(), "fallen");
    }

    #[test]
    fn an_interrupted_run_is_simply_repeated() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path());
        private_folder(&root.path().join("identity.new/brain")).unwrap();
        assert!(!folder.is_made());
        fill(&folder, &development_roster()).unwrap();
        assert!(folder.is_made());
        assert!(!root.path().join("identity.new").exists());
    }
}
