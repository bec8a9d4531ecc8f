//! The signer's real program on a real bus, and the services around it as clients.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use portcullis_domain::{Hash, KillState, Order};
use portcullis_runtime::{Client, Clock, Inbox, Latch};
use portcullis_testkit::bus::{BusServer, PATIENCE};
use portcullis_testkit::seals;
use portcullis_venue::bybit;
use portcullis_wire::messages::{
    Heartbeat, Permit, ServiceStatus, SignAction, SignRequest, SignResponse,
};
use portcullis_wire::principal::{Brain, Execution, Operator, RiskGuard};
use portcullis_wire::subjects::{HEARTBEAT, ORDER, PERMIT, SIGN, SIGNATURE, SIGNER_STATUS};
use signer::custody::{ApiKey, Custody, KeySource, seal_file};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub const SECRETS: [&str; 2] = [
    "the-secret-of-the-trading-key-01",
    "the-secret-of-the-reading-key-02",
];
const SETTINGS: &str = "[custody]\nfile = \"venue.sealed\"\nkey_file = \"venue.key\"\n\
                        [limits]\norders_per_second_max = 100\norders_max = 1000\n";
const POLICY: Hash = Hash([7; 32]);

pub struct Stage {
    pub server: BusServer,
    pub operator: Client<Operator>,
    brain: Client<Brain>,
    guard: Client<RiskGuard>,
    execution: Client<Execution>,
    signatures: Inbox,
    statuses: Inbox,
    heartbeats: JoinHandle<()>,
    program: Option<Child>,
}

pub fn custody() -> Custody {
    let key = |name: &str, secret: &str| ApiKey::new(name, secret.as_bytes().to_vec().into());
    Custody::new(
        key("TRADE", SECRETS[0]).unwrap(),
        key("READ", SECRETS[1]).unwrap(),
    )
    .unwrap()
}

pub fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// Puts the signer's settings, secrets and latch where its program looks for them.
pub fn furnish(server: &BusServer) {
    fs::write(settings(server), SETTINGS).unwrap();
    let identity = server.identity("signer");
    let key = identity.join("venue.key");
    write_secret(&key, &"5a".repeat(32));
    let source = KeySource::KeyFile(key);
    let realm = server.roster().realm();
    seal_file(&identity.join("venue.sealed"), &source, realm, &custody()).unwrap();
    Latch::arm_new(&state(server)).unwrap();
}

fn settings(server: &BusServer) -> PathBuf {
    server.folder().join("signer.toml")
}

fn state(server: &BusServer) -> PathBuf {
    server.folder().join("state").join("signer")
}

pub fn log(server: &BusServer) -> String {
    fs::read_to_string(server.folder().join("signer.log")).unwrap_or_default()
}

pub fn start_program(server: &BusServer) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(server.folder().join("signer.log"));
    Command::new(env!("CARGO_BIN_EXE_signer"))
        .args(["--config".as_ref(), settings(server).as_os_str()])
        .args(["--identity".as_ref(), server.identity("signer").as_os_str()])
        .args(["--state".as_ref(), state(server).as_os_str()])
        .args(["--bus", &server.url()])
        .env("RUST_LOG", "debug")
        .stderr(log.unwrap())
        .spawn()
        .unwrap()
}

impl Stage {
    pub async fn open() -> Self {
        let server = BusServer::start().await;
        furnish(&server);
        let url = server.url();
        let brain = Client::connect(&server.identity("brain"), &url)
            .await
            .unwrap();
        let guard: Client<RiskGuard> = Client::connect(&server.identity("risk-guard"), &url)
            .await
            .unwrap();
        let execution: Client<Execution> = Client::connect(&server.identity("execution"), &url)
            .await
            .unwrap();
        let operator: Client<Operator> = Client::connect(&server.identity("operator-dev"), &url)
            .await
            .unwrap();
        let signatures = execution
            .listen(&[(SIGNATURE.row, None)], 64)
            .await
            .unwrap();
        let statuses = operator
            .listen(&[(SIGNER_STATUS.row, None)], 64)
            .await
            .unwrap();
        let heartbeats = tokio::spawn(beat(guard.clone()));
        let program = None;
        let mut stage = Self {
            server,
            operator,
            brain,
            guard,
            execution,
            signatures,
            statuses,
            heartbeats,
            program,
        };
        stage.start().await;
        stage
    }

    /// Starts the signer and waits until it is ready and has heard from risk-guard.
    pub async fn start(&mut self) {
        self.program = Some(start_program(&self.server));
        while self.statuses.try_recv().is_some() {}
        self.status(|status| status.ready && !status.detail.as_str().contains("GUARD_SILENT"))
            .await;
    }

    /// Kills the signer as a power cut would.
    pub fn kill_program(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill().unwrap();
            program.wait().unwrap();
        }
    }

    /// Waits for such a status of the signer.
    pub async fn status(&mut self, such: impl Fn(&ServiceStatus) -> bool) -> ServiceStatus {
        let waiting = async {
            loop {
                let raw = self.statuses.recv().await.expect("a connection");
                if let Some(status) = self.operator.open(&SIGNER_STATUS, &raw)
                    && let status = status.either().message().clone()
                    && such(&status)
                {
                    return status;
                }
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("no such status; {}", log(&self.server)))
    }

    /// The time in milliseconds that a request carries.
    pub fn now_ms(&self) -> u64 {
        Clock::system().now().as_millis()
    }

    /// An order that brain and risk-guard have just sealed, as a request to place it.
    pub fn permitted(&self, number: u64) -> (Order, SignRequest) {
        let order = seals::order(number, Clock::system().now());
        let sealed = self.brain.seal(&ORDER, None, &order, None, None).unwrap();
        let permit = Permit {
            order: sealed.frame,
            policy: POLICY,
            worst_price: None,
            generation: 0,
        };
        let permit = self
            .guard
            .seal(&PERMIT, None, &permit, None, None)
            .unwrap()
            .frame;
        let payload = bybit::place(&order).payload.into_bytes();
        let timestamp_ms = self.now_ms();
        (
            order,
            SignRequest {
                action: SignAction::Place { permit },
                timestamp_ms,
                payload,
            },
        )
    }

    /// Asks the signer and waits for its answer.
    pub async fn ask(&mut self, request: &SignRequest) -> SignResponse {
        let asked = self
            .execution
            .publish(&SIGN, None, request, None, None)
            .unwrap();
        let waiting = async {
            loop {
                let raw = self.signatures.recv().await.expect("a connection");
                let Some(answer) = self.execution.open(&SIGNATURE, &raw) else {
                    continue;
                };
                let answer = answer.either();
                if answer.header().causation == Some(asked.id) {
                    return answer.message().clone();
                }
            }
        };
        let waited = timeout(Duration::from_secs(10), waiting).await;
        waited.unwrap_or_else(|_| panic!("no answer; {}", log(&self.server)))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.heartbeats.abort();
        if let Some(mut program) = self.program.take() {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// Risk-guard's heartbeat, for as long as the test runs.
async fn beat(guard: Client<RiskGuard>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        let beat = Heartbeat {
            kill: KillState::Armed,
            policy: POLICY,
            posture: portcullis_domain::Posture::Normal,
        };
        // A bus that is away for a moment is the next beat's business.
        let _ = guard.publish(&HEARTBEAT, None, &beat, None, None);
    }
}
