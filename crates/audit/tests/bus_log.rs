//! The real server denies, and the real audit has it on its record.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

#[expect(dead_code, reason = "shared with the tests of the bus itself")]
#[path = "../../runtime/tests/bus/raw.rs"]
mod raw;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use audit::verify::{Options, entries, verify};
use audit_core::{BusClient, BusDenial, BusEvent, BusFollowing, BusPlace, Own};
use portcullis_runtime::identity::Bundle;
use portcullis_testkit::bus::{BusServer, PATIENCE, wait_until};
use portcullis_wire::Text;

use raw::{RawConnection, handshake};

/// Audit as a process of its own. It dies with this value, by SIGKILL.
struct Audit {
    process: Child,
    log: PathBuf,
}

impl Audit {
    fn start(server: &BusServer) -> Self {
        let process = command(server)
            .arg("--bus-log")
            .arg(server.folder().join("nats.log"))
            .spawn()
            .unwrap();
        let log = server.folder().join("state/log");
        Self { process, log }
    }

    /// What audit itself said so far.
    fn own(&self) -> Vec<Own> {
        own(&self.log)
    }

    /// How many denials are recorded, one by one or in a count.
    fn denied(&self) -> u64 {
        self.own().iter().map(Own::bus_denied).sum()
    }

    fn wait_for(&self, what: &str, so: impl Fn(&Own) -> bool) -> Own {
        let mut found = None;
        wait_until(what, || {
            found = self.own().into_iter().find(&so);
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until audit follows the server's log.
    fn wait_until_it_follows(&self) {
        self.wait_for("audit to follow the log", |own| {
            matches!(own, Own::BusLog { .. })
        });
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        // One that ended by itself has made its test fail already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Audit's command line.
fn command(server: &BusServer) -> Command {
    let identity = server.identity("audit");
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/audit.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_audit"));
    command
        .arg("--config")
        .arg(settings)
        .arg("--identity")
        .arg(identity)
        .arg("--state")
        .arg(server.folder().join("state"))
        .args(["--bus", &server.url()])
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn own(log: &Path) -> Vec<Own> {
    match entries(log) {
        Ok(entries) => entries.filter_map(|entry| entry.ok()?.own()).collect(),
        // Audit has not made it yet.
        Err(_) => Vec::new(),
    }
}

/// The places that the entries name, in the log's order.
fn places(own: &[Own]) -> Vec<BusPlace> {
    own.iter().filter_map(Own::bus_place).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_denies_is_on_the_record_within_a_second() {
    let server = BusServer::start().await;
    let audit = Audit::start(&server);
    audit.wait_until_it_follows();
    let mut brain = RawConnection::connect(&server, "brain");
    let me = BusClient::Principal {
        name: "brain".parse().unwrap(),
        nkey: Text::lossy(server.nkey("brain")),
    };

    let asked = Instant::now();
    let answer = brain.publish("cmd.execution.execute", "", "forged");
    assert!(
        answer.errors[0].contains("Permissions Violation"),
        "{answer:?}"
    );
    let is_it = |own: &Own| matches!(own, Own::BusDenied { subject, .. } if subject.as_str() == "cmd.execution.execute");
    let found = audit.wait_for("the denial on the record", is_it);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(1), "took {took:?}");
    let Own::BusDenied { who, what, .. } = found else {
        panic!("{found:?}");
    };
    assert_eq!((who, what), (me.clone(), BusDenial::Publish));

    // What else a client can be denied, and what it can make of its words.
    brain.say("SUB cmd.risk-guard.evaluate risk-guard 9\u{1b}[2K\r\n");
    brain.publish("a\u{1b}[31m\"\\\u{7f}b", "", "x");
    let no_certificate = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_protocol_versions(&[&rustls::version::TLS13])
    .unwrap()
    .with_root_certificates(roots(&server))
    .with_no_client_auth();
    let refused = handshake(&server, no_certificate).map(|mut tls| tls.read(&mut [0; 1]));
    assert!(matches!(refused, Err(_) | Ok(Err(_))), "{refused:?}");
    let expected = [
        (
            me.clone(),
            BusDenial::Subscribe,
            "cmd.risk-guard.evaluate risk-guard",
        ),
        (me, BusDenial::Publish, r#"a\x1b[31m\"\\\x7fb"#),
        (
            BusClient::Stranger,
            BusDenial::Handshake,
            "tls: client didn't provide a certificate",
        ),
    ];
    for expected in expected {
        audit.wait_for(&format!("{expected:?}"), |own| match own {
            Own::BusDenied {
                who, what, subject, ..
            } => (who, *what, subject.as_str()) == (&expected.0, expected.1, expected.2),
            _ => false,
        });
    }
}

fn roots(server: &BusServer) -> rustls::RootCertStore {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let bundle = Bundle::open(&server.identity("brain")).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(bundle.ca_pem()).unwrap())
        .unwrap();
    roots
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_and_an_end_of_the_server_are_on_the_record() {
    let mut server = BusServer::start().await;
    let audit = Audit::start(&server);
    audit.wait_until_it_follows();
    server.restart();
    let started = audit.wait_for("the start of the server", |own| {
        matches!(
            own,
            Own::BusServer {
                event: BusEvent::Started,
                ..
            }
        )
    });
    let Own::BusServer { config, .. } = started else {
        panic!("{started:?}");
    };
    assert!(
        config.is_some(),
        "the server says which configuration it has"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_and_nothing_double_when_audit_is_killed_in_a_burst() {
    let server = BusServer::start().await;
    let mut audit = Audit::start(&server);
    audit.wait_until_it_follows();
    let mut total = 0;
    for _ in 0..3 {
        let is_killed = AtomicBool::new(false);
        let sent = std::thread::scope(|scope| {
            let burst = scope.spawn(|| burst(&server, &is_killed));
            let before = total;
            wait_until("denials on the record", || audit.denied() > before);
            audit.kill();
            is_killed.store(true, Ordering::Release);
            burst.join().unwrap()
        });
        total += sent;
        audit = Audit::start(&server);
        wait_until("every denial on the record", || audit.denied() >= total);
    }
    let log = audit.log.clone();
    audit.kill();

    let report = verify(&log, &Options::default()).unwrap();
    assert_eq!(report.bus_denied, total, "neither missing nor double");
    let own = own(&log);
    let mut ends: Vec<_> = places(&own).iter().map(|place| place.end).collect();
    let in_order = ends.clone();
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(ends, in_order, "each line is behind the one before it");
    let mut seen = BTreeSet::new();
    for own in &own {
        assert!(!matches!(
            own,
            Own::BusLog {
                following: BusFollowing::Lost,
                ..
            }
        ));
        if let Own::BusDenied { at, subject, .. } = own {
            assert!(
                seen.insert((*at, subject.clone())),
                "{subject} is there twice"
            );
        }
    }
    assert!(seen.len() > 300, "{} one by one", seen.len());
    let lines = server.log().matches("Publish Violation").count();
    assert_eq!(
        u64::try_from(lines).unwrap(),
        total,
        "all that the server logged"
    );
}

/// Publishes what is denied, until some time after audit was killed; says how often.
fn burst(server: &BusServer, is_killed: &AtomicBool) -> u64 {
    const AFTER: u64 = 500;
    let mut brain = RawConnection::connect(server, "brain");
    let (mut sent, mut killed_at) = (0, None);
    while killed_at.is_none_or(|at| sent < at + AFTER) {
        let lines: String = (0..20)
            .map(|number| format!("PUB cmd.execution.x{} 0\r\n\r\n", sent + number))
            .collect();
        assert_eq!(brain.say(&lines).errors.len(), 20);
        sent += 20;
        if killed_at.is_none() && is_killed.load(Ordering::Acquire) {
            killed_at = Some(sent);
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_the_server_rotates_is_followed_without_a_loss() {
    let server = BusServer::start().await;
    let audit = Audit::start(&server);
    audit.wait_until_it_follows();
    let mut brain = RawConnection::connect(&server, "brain");
    // Each byte takes four in the server's log.
    let wide = "\u{7f}".repeat(3_900);
    let mut total = 0;
    let deadline = Instant::now() + PATIENCE * 2;
    while rotated(&server) == 0 || total % 1_000 != 0 {
        assert!(Instant::now() < deadline, "{total} denials and no rotation");
        let lines: String = (0..10)
            .map(|number| format!("PUB cmd.x{}.{wide} 0\r\n\r\n", total + number))
            .collect();
        assert_eq!(brain.say(&lines).errors.len(), 10);
        total += 10;
    }
    wait_until("every denial on the record", || audit.denied() >= total);
    let own = audit.own();
    let denied: u64 = own.iter().map(Own::bus_denied).sum();
    assert_eq!(denied, total, "neither missing nor double");
    let followed: Vec<_> = own
        .iter()
        .filter_map(|own| match own {
            Own::BusLog { following, .. } => Some(*following),
            _ => None,
        })
        .collect();
    assert_eq!(followed, [BusFollowing::Begins, BusFollowing::NextFile]);
    let files: BTreeSet<_> = places(&own).iter().map(|place| place.file).collect();
    assert_eq!(files.len(), 2);
}

/// How many files of its log the server has put aside.
fn rotated(server: &BusServer) -> usize {
    let files = fs::read_dir(server.folder()).unwrap();
    let names = files.map(|file| file.unwrap().file_name());
    names
        .filter(|name| name.to_str().unwrap().starts_with("nats.log."))
        .count()
}
