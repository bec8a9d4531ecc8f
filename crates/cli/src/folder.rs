//! The development folder `.portcullis`: identities, state, logs and what is running.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use portcullis_runtime::identity::BUNDLE_FILE;
use portcullis_wire::principal::Role;
use serde::{Deserialize, Serialize};

use crate::exit::{End, Failure};

/// Its usual name.
pub const NAME: &str = ".portcullis";

/// Whether the system does not let this user look at a path.
fn is_barred(path: &Path) -> bool {
    path.metadata()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// A development folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder that was asked for, or the nearest [`NAME`] from here upwards.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(asked: Option<&Path>) -> Result<Self, Failure> {
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Self::find_from(&here, asked).ok_or_else(|| match asked {
            // Whoever is told to make identities where there are some may well overwrite them.
            Some(asked) if is_barred(&here.join(asked).join("identity")) => Failure::new(
                End::Usage,
                format!("{} may not be looked into by you", asked.display()),
                "do it as the user who owns the folder",
            ),
            Some(asked) => Failure::new(
                End::Usage,
                format!("{} holds no development identities", asked.display()),
                format!("make them: portcullis dev init --dir {}", asked.display()),
            ),
            None => Failure::new(
                End::Usage,
                format!("no {NAME} folder here or above {}", here.display()),
                "start the stack with ./scripts/up, or name the folder: --dir FOLDER",
            ),
        })
    }

    fn find_from(here: &Path, asked: Option<&Path>) -> Option<Self> {
        let made = |path: PathBuf| path.join("identity").is_dir().then_some(Self(path));
        match asked {
            Some(asked) => made(here.join(asked)),
            None => here.ancestors().find_map(|above| made(above.join(NAME))),
        }
    }

    /// A folder that need not exist yet, by an absolute path.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether it holds identities.
    #[must_use]
    pub fn is_made(&self) -> bool {
        self.identities().is_dir()
    }

    /// The identities of everybody.
    #[must_use]
    pub fn identities(&self) -> PathBuf {
        self.0.join("identity")
    }

    /// The identity of one principal.
    #[must_use]
    pub fn identity(&self, principal: &str) -> PathBuf {
        self.identities().join(principal)
    }

    /// The strategies that have an identity here, in order.
    #[must_use]
    pub fn strategies(&self) -> Vec<String> {
        let entries = fs::read_dir(self.identities())
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        let strategy = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix(Role::Strategy.name()).map(str::to_owned)
        };
        let mut strategies: Vec<_> = entries.filter_map(strategy).collect();
        strategies.sort();
        strategies
    }

    /// The operators who have an identity here, in order. Of one who was revoked only the folder is
    /// left.
    #[must_use]
    pub fn operators(&self) -> Vec<String> {
        let entries = fs::read_dir(self.identities())
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        let operator = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let held = entry.path().join(BUNDLE_FILE).is_file();
            (held && name.starts_with(Role::Operator.name())).then_some(name)
        };
        let mut operators: Vec<_> = entries.filter_map(operator).collect();
        operators.sort();
        operators
    }

    /// The state of one service.
    #[must_use]
    pub fn state(&self, service: &str) -> PathBuf {
        self.0.join("state").join(service)
    }

    /// The bus: its configuration and its data.
    #[must_use]
    pub fn nats(&self) -> PathBuf {
        self.0.join("nats")
    }

    /// The simulated exchange: its accounts and its state.
    #[must_use]
    pub fn exchange(&self) -> PathBuf {
        self.0.join("exchange")
    }

    /// What is running: process ids and ports.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The process id of a service that runs.
    #[must_use]
    pub fn pid_file(&self, service: &str) -> PathBuf {
        self.run().join(format!("{service}.pid"))
    }

    /// Where a service says which port its health server has.
    #[must_use]
    pub fn health_port_file(&self, service: &str) -> PathBuf {
        self.run().join(format!("{service}.health"))
    }

    /// The log of a service.
    #[must_use]
    pub fn log_file(&self, service: &str) -> PathBuf {
        self.0.join("log").join(format!("{service}.log"))
    }

    /// The ports of what is running.
    #[must_use]
    pub fn ports_file(&self) -> PathBuf {
        self.run().join("ports.toml")
    }
}

/// Makes a folder, and those above it, that only its owner may open.
///
/// # Errors
/// What the file system says.
pub fn private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// What the file system says.
pub fn private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// The ports of a stack on the loopback interface, chosen once and kept for the next start where
/// they are still free.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    /// The bus.
    pub nats: u16,
    /// The bus's own health.
    pub nats_monitor: u16,
    /// The simulated exchange.
    pub exchange: u16,
    /// The health server of each service that runs.
    #[serde(default)]
    pub health: BTreeMap<String, u16>,
}

impl Ports {
    /// What was recorded; `None` when nothing was, or not in this form.
    #[must_use]
    pub fn read(folder: &Folder) -> Option<Self> {
        let text = fs::read_to_string(folder.ports_file()).ok()?;
        toml::from_str(&text).ok()
    }

    /// Records them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Folder) -> anyhow::Result<()> {
        let head = "# Written by `portcullis dev up`: the ports on 127.0.0.1 of what is running.\n";
        let text = format!("{head}{}", toml::to_string(self)?);
        private_file(&folder.ports_file(), text.as_bytes())?;
        Ok(())
    }

    /// Where the bus listens.
    #[must_use]
    pub fn bus_url(&self) -> String {
        format!("tls://127.0.0.1:{}", self.nats)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_folder_is_found_from_below_and_not_without_identities() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::create_dir_all(root.path().join("a").join(NAME)).unwrap();
        assert_eq!(
            Folder::find_from(&below, None),
            None,
            "an empty folder is none"
        );
        fs::create_dir_all(root.path().join(NAME).join("identity")).unwrap();
        let found = Folder::find_from(&below, None).unwrap();
        assert_eq!(found.path(), root.path().join(NAME));
        assert_eq!(Folder::find_from(&below, Some(Path::new("other"))), None);
    }

    #[test]
    fn ports_survive_their_file_and_a_damaged_file_is_none() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path());
        private_folder(&folder.run()).unwrap();
        assert_eq!(Ports::read(&folder), None);
        let health = BTreeMap::from([("brain".to_owned(), 4)]);
        let ports = Ports {
            nats: 1,
            nats_monitor: 2,
            exchange: 3,
            health,
        };
        ports.write(&folder).unwrap();
        assert_eq!(Ports::read(&folder), Some(ports.clone()));
        assert_eq!(ports.bus_url(), "tls://127.0.0.1:1");
        fs::write(folder.ports_file(), "nats = 'x'").unwrap();
        assert_eq!(Ports::read(&folder), None);
    }

    #[test]
    fn private_files_are_for_their_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        private_folder(&folder).unwrap();
        private_file(&folder.join("c"), b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&root.path().join("a")), 0o700);
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("c")), 0o600);
    }
}
