//! `portcullis keys init`: a realm, from nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use portcullis_domain::{Span, StrategyId};
use portcullis_runtime::identity::make::SERVER_NAMES;
use portcullis_runtime::identity::store::{Options, Store, StoreError};
use portcullis_runtime::nats_config::{NatsSettings, OperatorId, Roster};
use portcullis_wire::Realm;
use serde_json::json;

use super::server;
use crate::commands::dev;
use crate::exit::{End, Failure, OrFail as _, Outcome};
use crate::folder::{Folder, private_folder};
use crate::output::Output;

const EXAMPLES: &str = "\
EXAMPLES
  portcullis keys init --realm staging --dir staging
                                       a realm whose keys lie beside what they open
  portcullis keys init --realm prod --dir /srv/portcullis --operator alice --operator bob \\
      --strategy carry --bundle-keys /media/bundle-keys --realm-key /media/realm-key/roots.key
                                       a production realm: no key may lie beside what it opens

The instruments come from risk-policy.toml. An existing realm is never changed: `portcullis keys rotate`
gives it new keys. docs/keys.md says what lies where and who gets what.";

/// Make a realm: an authority, an epoch and the bundle of every principal
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Init {
    /// Name of the deployment; `prod` and `prod-…` are production realms, with stricter rules
    #[arg(long, value_name = "NAME", value_parser = realm)]
    realm: Realm,
    /// Folder with the settings [default: the nearest config from here upwards]
    #[arg(long, value_name = "FOLDER")]
    config: Option<PathBuf>,
    /// New folder for the bundle keys, one `<principal>.key` each [default: beside the bundles]
    #[arg(long, value_name = "FOLDER")]
    bundle_keys: Option<PathBuf>,
    /// New file for the realm key, which every later change needs [default: beside the roots]
    #[arg(long, value_name = "FILE")]
    realm_key: Option<PathBuf>,
    /// How old an epoch may become, in hours
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=87_600))]
    epoch_hours: u64,
    /// A strategy; may be given several times [default: sample and trader]
    #[arg(long = "strategy", value_name = "NAME", value_parser = strategy)]
    strategies: Vec<StrategyId>,
    /// An operator; may be given several times [default: dev and second]
    #[arg(long = "operator", value_name = "NAME", value_parser = operator)]
    operators: Vec<OperatorId>,
    /// What the bus's host is called, by name or address; may be given several times
    /// [default: localhost, 127.0.0.1, ::1 and nats]
    #[arg(long = "server-name", value_name = "NAME")]
    server_names: Vec<String>,
    /// Where the bus listens, for its configuration
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:4222")]
    listen: SocketAddr,
    /// Where the bus finds its certificate on its host [default: where it is made]
    #[arg(long, value_name = "FOLDER")]
    server_files: Option<PathBuf>,
    /// Where the bus keeps the stream of facts on its host [default: in this folder]
    #[arg(long, value_name = "FOLDER")]
    server_data: Option<PathBuf>,
}

fn realm(text: &str) -> Result<Realm, String> {
    Realm::new(text).map_err(|problem| problem.to_string())
}

fn strategy(text: &str) -> Result<StrategyId, String> {
    StrategyId::new(text).map_err(|problem| problem.to_string())
}

fn operator(text: &str) -> Result<OperatorId, String> {
    OperatorId::new(text).map_err(|problem| problem.to_string())
}

/// Makes a realm.
///
/// # Errors
/// When there is one already, or it cannot be written.
pub fn run(init: &Init, dir: Option<&Path>, output: &Output) -> Outcome {
    let config = dev::find_config(init.config.as_deref())?;
    let folder = dev::folder(dir, &config);
    if folder.is_made() {
        return Err(Failure::new(
            End::Usage,
            format!("{} holds a realm already", folder.path().display()),
            "give it new keys: portcullis keys rotate; or name another folder: --dir",
        ));
    }
    let roster = roster(init, &config)?;
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let (bundle_keys, realm_key) = (
        init.bundle_keys.as_ref().map(absolute),
        init.realm_key.as_ref().map(absolute),
    );
    let options = Options {
        epoch_life: Span::from_secs(init.epoch_hours.saturating_mul(3_600)),
        bundle_keys: bundle_keys.as_deref(),
        realm_key: realm_key.as_deref(),
    };
    let writable = "make the folder writable, or name another: --dir";
    private_folder(folder.path()).or_fail("make the folder of the realm", writable)?;
    let given: Vec<_> = init.server_names.iter().map(String::as_str).collect();
    let names = if given.is_empty() {
        SERVER_NAMES
    } else {
        &given
    };
    make_realm(&folder.identities(), &roster, names, &options)?;
    server::write(&folder, &settings(init, &folder))?;
    report(&folder, &roster, init, output);
    Ok(End::Done)
}

/// Makes the identities of a realm in a folder that is not there yet.
///
/// # Errors
/// When it is there, or cannot be written.
pub fn make_realm(
    identities: &Path,
    roster: &Roster,
    server_names: &[&str],
    options: &Options<'_>,
) -> Result<(), Failure> {
    Store::init(identities, roster, server_names, options)
        .map(drop)
        .map_err(|cause| {
            let end = match &cause {
                StoreError::Exists(_)
                | StoreError::KeyBeside(..)
                | StoreError::KeyInsteadOfPath => End::Usage,
                _ => End::Failed,
            };
            let next_step = match &cause {
                StoreError::KeyBeside(..) => {
                    "name places outside: --bundle-keys FOLDER and --realm-key FILE".to_owned()
                }
                other => other.next_step(),
            };
            Failure::caused(end, "make the keys of the realm", cause, next_step)
        })
}

fn roster(init: &Init, config: &Path) -> Result<Roster, Failure> {
    let or_default = |given: &[String], default: &[&str]| -> Vec<String> {
        if given.is_empty() {
            default.iter().map(|name| (*name).to_owned()).collect()
        } else {
            given.to_vec()
        }
    };
    let texts = |names: &[String]| names.to_vec();
    let strategies: Vec<String> = init.strategies.iter().map(ToString::to_string).collect();
    let operators: Vec<String> = init.operators.iter().map(ToString::to_string).collect();
    dev::init::roster_for(
        init.realm,
        &or_default(&texts(&strategies), &dev::init::STRATEGIES),
        &or_default(&texts(&operators), &dev::init::OPERATORS),
        dev::init::symbols(config)?,
    )
}

fn settings(init: &Init, folder: &Folder) -> NatsSettings {
    let files = init.server_files.clone();
    let files = files.unwrap_or_else(|| folder.identities().join("nats"));
    let data = init.server_data.clone();
    NatsSettings {
        listen: init.listen,
        http: Some(dev::init::loopback(8222)),
        store_dir: data.unwrap_or_else(|| folder.nats().join("data")),
        tls_certificate: files.join("server.pem"),
        tls_key: files.join("server.key"),
        tls_ca: files.join("ca.pem"),
        pid_file: None,
        log_file: None,
    }
}

fn report(folder: &Folder, roster: &Roster, init: &Init, output: &Output) {
    let (realm, path) = (roster.realm(), folder.path().display());
    let principals = portcullis_runtime::nats_config::principals(roster);
    output.line(&format!(
        "made realm {realm} in {path}: {} principals, epoch 1",
        principals.len()
    ));
    let place = |given: &Option<PathBuf>, beside: &str| {
        let given = given.as_ref();
        given.map_or_else(|| beside.to_owned(), |path| path.display().to_string())
    };
    let keys = place(&init.bundle_keys, "beside the bundles");
    let realm_key = place(&init.realm_key, "beside the roots");
    output.line(&format!("bundle keys: {keys}   realm key: {realm_key}"));
    let next = format!("portcullis keys doctor --dir {path}");
    output.line(&format!("next step: look whether all is well: {next}"));
    output.object(
        "portcullis.keys-init/1",
        json!({
            "folder": folder.path(),
            "realm": realm.to_string(),
            "principals": principals.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "server_config": server::file(folder),
            "next_step": next,
        }),
    );
}
