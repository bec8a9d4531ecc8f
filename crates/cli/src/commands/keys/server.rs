//! The bus's configuration in a realm's folder: written once with what its host needs, and again
//! whenever the keys in it change.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use portcullis_domain::Symbol;
use portcullis_runtime::Clock;
use portcullis_runtime::identity::make::public_nkeys;
use portcullis_runtime::identity::store::Facts;
use portcullis_runtime::nats_config::{NatsSettings, Roster, nats_config};
use portcullis_wire::subjects::BOOK;
use rustix::process::{Pid, Signal};

use crate::commands::dev::{NATS, left_over};
use crate::exit::{End, Failure, OrFail as _};
use crate::folder::{Folder, private_file, private_folder};

/// Where the configuration is.
pub fn file(folder: &Folder) -> PathBuf {
    folder.nats().join("nats.conf")
}

/// What the configuration says now; nothing where there is none.
pub fn read(folder: &Folder) -> Option<String> {
    fs::read_to_string(file(folder)).ok()
}

/// Writes the configuration for the principals of the realm.
///
/// # Errors
/// When the realm cannot be read or the file cannot be written.
pub fn write(folder: &Folder, settings: &NatsSettings) -> Result<(), Failure> {
    let write = || -> anyhow::Result<()> {
        let roster = Facts::read(&folder.identities())?.roster()?;
        write_for(folder, &roster, settings)
    };
    write().map_err(|cause| failure(cause, folder))
}

/// The same for a roster that has other instruments.
///
/// # Errors
/// When the realm cannot be read or the file cannot be written.
pub fn write_for(folder: &Folder, roster: &Roster, settings: &NatsSettings) -> anyhow::Result<()> {
    let credentials = public_nkeys(&folder.identities())?;
    let text = nats_config(roster, &credentials, settings)?;
    private_folder(&folder.nats())?;
    private_file(&file(folder), text.as_bytes()).context("write it")
}

/// Writes it again with the keys that count now, and with everything else as it is. Whether there is
/// one at all.
///
/// # Errors
/// When it is not one that this program wrote, or cannot be written.
pub fn write_again(folder: &Folder) -> Result<bool, Failure> {
    let Some(text) = read(folder) else {
        return Ok(false);
    };
    let write = || -> anyhow::Result<()> {
        let settings = settings_in(&text).context("it is not of this program's making")?;
        let facts = Facts::read(&folder.identities())?;
        let of_realm = facts.roster()?;
        // Settings that changed since the realm was made are in the file only.
        let mut symbols = symbols_in(&text);
        if symbols.is_empty() {
            symbols = of_realm.symbols().to_vec();
        }
        let roster = Roster::new(
            of_realm.realm(),
            of_realm.strategies().to_vec(),
            of_realm.operators().to_vec(),
            symbols,
        )?;
        write_for(folder, &roster, &settings)
    };
    write().map_err(|cause| failure(cause, folder))?;
    Ok(true)
}

fn failure(cause: anyhow::Error, folder: &Folder) -> Failure {
    Failure {
        end: End::Failed,
        problem: cause.context(format!(
            "write the configuration of the bus, {}",
            file(folder).display()
        )),
        next_step: "make the folder writable; a configuration that was changed by hand is written \
                    anew once it is moved away: portcullis keys apply"
            .to_owned(),
    }
}

/// Whether a configuration admits exactly the keys that count now.
pub fn is_current(folder: &Folder, text: &str) -> Option<bool> {
    let facts = Facts::read(&folder.identities()).ok()?;
    let counting: BTreeSet<String> = nkeys(&facts).collect();
    let admitted: BTreeSet<String> = admitted(text).map(str::to_owned).collect();
    Some(counting == admitted)
}

/// The public NKeys that count now.
pub fn nkeys(facts: &Facts) -> impl Iterator<Item = String> + use<> {
    let keys = facts.nkeys(Clock::system().now());
    keys.into_values().flatten()
}

/// Every public NKey that a configuration admits.
pub fn admitted(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nkey: "))
        .map(|rest| rest.split([' ', ',', '}']).next().unwrap_or(rest))
}

/// The instruments that a configuration serves.
fn symbols_in(text: &str) -> Vec<Symbol> {
    let quoted = text.split('"').skip(1).step_by(2);
    let named = quoted.filter_map(|subject| BOOK.row.name_in(subject));
    let symbols: BTreeSet<_> = named.filter_map(|name| Symbol::new(name).ok()).collect();
    symbols.into_iter().collect()
}

/// What a configuration that this program wrote says beside accounts; `None` when it is another's.
fn settings_in(text: &str) -> Option<NatsSettings> {
    let value = |key: &str| {
        let mut lines = text.lines().map(str::trim);
        let line = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": \""))?;
        line.strip_suffix('"')
    };
    let path = |key: &str| value(key).map(PathBuf::from);
    Some(NatsSettings {
        listen: address(value("listen")?)?,
        http: match value("http") {
            Some(text) => Some(address(text)?),
            None => None,
        },
        store_dir: path("store_dir")?,
        tls_certificate: path("cert_file")?,
        tls_key: path("key_file")?,
        tls_ca: path("ca_file")?,
        pid_file: path("pid_file"),
        log_file: path("log_file"),
    })
}

/// Port -1 is the server's word for a port of the system's choice.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_suffix(":-1") {
        Some(host) => format!("{host}:0").parse().ok(),
        None => text.parse().ok(),
    }
}

/// The bus of the local stack that was started from this folder, if it runs.
pub fn running(folder: &Folder) -> Option<Pid> {
    left_over(&folder.pid_file(NATS), folder)
}

/// Tells a server to read its configuration again. Connections whose keys are gone from it end.
pub fn reload(pid: Pid) -> io::Result<()> {
    rustix::process::kill_process(pid, Signal::HUP).map_err(Into::into)
}

/// Keeps the bus of a running local stack in step with the keys: writes the configuration again and
/// reloads the bus, if it does not admit exactly the keys that count now. Whether it did.
///
/// # Errors
/// When it cannot be written, or the bus is gone.
pub fn keep(folder: &Folder) -> Result<bool, Failure> {
    let Some(text) = read(folder) else {
        return Ok(false);
    };
    if is_current(folder, &text) != Some(false) {
        return Ok(false);
    }
    write_again(folder)?;
    if let Some(bus) = running(folder) {
        reload(bus).or_fail("reload the bus", "look at the log of nats-server")?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use portcullis_runtime::identity::make;
    use portcullis_runtime::nats_config::development_roster;

    use super::*;

    fn settings() -> NatsSettings {
        NatsSettings {
            listen: "0.0.0.0:4222".parse().unwrap(),
            http: Some("127.0.0.1:0".parse().unwrap()),
            store_dir: "/data".into(),
            tls_certificate: "/tls/server.pem".into(),
            tls_key: "/tls/server.key".into(),
            tls_ca: "/tls/ca.pem".into(),
            pid_file: Some("/run/nats.pid".into()),
            log_file: None,
        }
    }

    #[test]
    fn what_was_written_is_read_back_and_written_again_the_same() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path());
        make::make(&folder.identities(), &development_roster()).unwrap();
        assert!(!write_again(&folder).unwrap(), "there is none yet");
        write(&folder, &settings()).unwrap();
        let text = read(&folder).unwrap();
        let found = settings_in(&text).unwrap();
        assert_eq!(format!("{found:?}"), format!("{:?}", settings()));
        assert_eq!(symbols_in(&text), development_roster().symbols());
        assert_eq!(is_current(&folder, &text), Some(true));
        // Everybody of the roster, the provisioner and the monitor, each once.
        assert_eq!(admitted(&text).count(), 12);
        assert!(write_again(&folder).unwrap());
        assert_eq!(read(&folder).unwrap(), text);
    }

    #[test]
    fn a_configuration_of_somebody_else_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path());
        make::make(&folder.identities(), &development_roster()).unwrap();
        private_folder(&folder.nats()).unwrap();
        fs::write(file(&folder), "port: 4222\n").unwrap();
        let failure = write_again(&folder).unwrap_err();
        assert!(
            failure.to_string().contains("not of this program"),
            "{failure}"
        );
        assert_eq!(read(&folder).unwrap(), "port: 4222\n");
    }
}
