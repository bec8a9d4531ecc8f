//! A real bus server with identities of its own, for one test.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portcullis_domain::PrincipalName;
use portcullis_runtime::identity::make;
use portcullis_runtime::nats_config::{
    NatsSettings, PROVISIONER, Roster, development_roster, nats_config,
};
use portcullis_runtime::provision;

/// How long anything here may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// A server on a port of the system's choice. It dies with this value, by SIGKILL.
#[derive(Debug)]
pub struct BusServer {
    folder: tempfile::TempDir,
    roster: Roster,
    nkeys: BTreeMap<PrincipalName, String>,
    port: u16,
    process: Option<Child>,
}

impl BusServer {
    /// Starts a server for the development roster, with the stream of facts.
    pub async fn start() -> Self {
        let server = Self::start_bare(development_roster());
        server.provision().await;
        server
    }

    /// Starts a server that has no stream yet.
    #[must_use]
    pub fn start_bare(roster: Roster) -> Self {
        let folder = tempfile::tempdir().expect("make a folder for the bus");
        let made = make::make(&folder.path().join("identity"), &roster).expect("make identities");
        let mut server = Self {
            folder,
            roster,
            nkeys: made.nkeys,
            port: 0,
            process: None,
        };
        server.restart();
        server
    }

    /// Creates the stream and its consumer.
    pub async fn provision(&self) {
        let identity = self.identity(PROVISIONER);
        let outcome = provision::provision(&identity, &self.url(), &self.roster).await;
        outcome.expect("provision the stream of facts");
    }

    /// The address for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("tls://127.0.0.1:{}", self.port)
    }

    /// The port for clients.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whom it serves.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The identity folder of a principal.
    #[must_use]
    pub fn identity(&self, name: &str) -> PathBuf {
        self.folder.path().join("identity").join(name)
    }

    /// The public NKey of a principal.
    #[must_use]
    pub fn nkey(&self, name: &str) -> &str {
        let name = PrincipalName::new(name).expect("a name");
        self.nkeys.get(&name).expect("a principal of the roster")
    }

    /// A folder that vanishes with the server, for state and the like.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything the server has logged since the first start.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Waits until the server's log has a text.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in the log of the bus server"), || {
            self.log().contains(text)
        });
    }

    /// Kills the server, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kill the bus server");
            process.wait().expect("see the bus server end");
        }
    }

    /// Starts the server again on the same port, with what it had on disk.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let configuration = self.folder.path().join("nats.conf");
        let text = nats_config(&self.roster, &self.nkeys, &self.settings());
        fs::write(&configuration, text.expect("generate the configuration"))
            .expect("write the configuration");
        let starts_before = self.log().matches(READY).count();
        let process = Command::new(binary())
            .arg("--config")
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start nats-server");
        self.process = Some(process);
        let deadline = Instant::now() + PATIENCE;
        while self.log().matches(READY).count() == starts_before {
            let process = self.process.as_mut().expect("a process");
            if let Some(status) = process.try_wait().expect("look after the bus server") {
                panic!("nats-server ended with {status}: {}", self.log());
            }
            assert!(
                Instant::now() < deadline,
                "nats-server is not ready: {}",
                self.log()
            );
            std::thread::sleep(PAUSE);
        }
        if self.port == 0 {
            self.port = listening_port(&self.log());
        }
    }

    fn settings(&self) -> NatsSettings {
        let tls = self.folder.path().join("identity/nats");
        NatsSettings {
            listen: SocketAddr::from(([127, 0, 0, 1], self.port)),
            http: None,
            store_dir: self.folder.path().join("data"),
            tls_certificate: tls.join("server.pem"),
            tls_key: tls.join("server.key"),
            tls_ca: tls.join("ca.pem"),
            pid_file: None,
            log_file: Some(self.log_file()),
        }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("nats.log")
    }
}

impl Drop for BusServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // A server that ended by itself has made its test fail already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

const READY: &str = "Server is ready";

fn listening_port(log: &str) -> u16 {
    let line = "Listening for client connections on 127.0.0.1:";
    let port = log.split(line).nth(1).and_then(|rest| rest.lines().next());
    port.and_then(|port| port.trim().parse().ok())
        .expect("a port in the log of the bus server")
}

fn binary() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let binary = std::env::var_os("PORTCULLIS_NATS_SERVER")
        .map_or_else(|| workspace.join(".tools/bin/nats-server"), PathBuf::from);
    assert!(
        binary.exists(),
        "there is no {}: run ./scripts/tools test",
        binary.display()
    );
    binary
}

/// Asks until something is so.
///
/// # Panics
/// When it does not become so in time.
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(PAUSE);
    }
}
