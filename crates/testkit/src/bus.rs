//! A real bus server with identities of its own, for one test.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portcullis_domain::PrincipalName;
use portcullis_runtime::identity::make;
use portcullis_runtime::nats_config::{
    Credentials, NatsSettings, PROVISIONER, Roster, development_roster, nats_config,
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
    credentials: Credentials,
    port: u16,
    process: Option<Child>,
}

impl BusServer {
    /// Starts a server for the development roster, with the streams of facts.
    pub async fn start() -> Self {
        let server = Self::start_bare(development_roster());
        server.provision().await;
        server
    }

    /// Starts a server that has no streams yet.
    #[must_use]
    pub fn start_bare(roster: Roster) -> Self {
        let folder = tempfile::tempdir().expect("make a folder for the bus");
        let made = make::make(&folder.path().join("identity"), &roster).expect("make identities");
        let mut server = Self {
            folder,
            roster,
            credentials: made.nkeys,
            port: 0,
            process: None,
        };
        server.restart();
        server
    }

    /// Creates the streams and their consumers.
    pub async fn provision(&self) {
        let identity = self.identity(PROVISIONER);
        let outcome = provision::provision(&identity, &self.url(), &self.roster).await;
        outcome.expect("provision the streams of facts");
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
        let identities = self.credentials.get(&name);
        let identities = identities.expect("a principal of the roster");
        &identities.last().expect("an NKey").nkey
    }

    /// The pin of a principal's certificate, as it stands in the server's configuration.
    #[must_use]
    pub fn pin(&self, name: &str) -> String {
        let name = PrincipalName::new(name).expect("a name");
        let identities = self.credentials.get(&name);
        let identities = identities.expect("a principal of the roster");
        identities
            .last()
            .expect("a certificate")
            .certificate_pin
            .to_string()
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

    /// The file that the server was configured with.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join("nats.conf")
    }

    /// Has the server read another configuration, as an operator would: on SIGHUP.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn reload(&self, configuration: &str) {
        fs::write(self.configuration(), configuration).expect("write the configuration");
        let reloads_before = self.log().matches(RELOADED).count();
        self.signal("HUP");
        wait_until("the server to take another configuration", || {
            self.log().matches(RELOADED).count() > reloads_before
        });
    }

    /// Has the server admit whoever the identities say now, as an operator would after keys were
    /// exchanged or revoked.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn reload_identities(&mut self) {
        let identities = self.folder.path().join("identity");
        self.credentials = make::public_nkeys(&identities).expect("read the identities");
        let text = nats_config(&self.roster, &self.credentials, &self.settings());
        self.reload(&text.expect("generate the configuration"));
    }

    /// The same for another roster, as after an operator was revoked.
    pub fn reload_for(&mut self, roster: Roster) {
        self.roster = roster;
        self.reload_identities();
    }

    /// Sends a signal to the server: `HUP`, `STOP`, `CONT`.
    ///
    /// # Panics
    /// When there is no server.
    pub fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().expect("a process").id();
        let status = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(pid.to_string())
            .status();
        assert!(status.expect("send a signal").success());
        if signal == "STOP" {
            // It runs on for a moment.
            wait_until("the server to stand still", || {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
                stat.is_ok_and(|stat| stat.contains(") T "))
            });
        }
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
        let configuration = self.configuration();
        let text = nats_config(&self.roster, &self.credentials, &self.settings());
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
const RELOADED: &str = "Reloaded server configuration";

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
