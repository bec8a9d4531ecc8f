//! Audit's keys are exchanged in a real store, under a real audit on the real bus, and its log goes on.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use audit::log::{LogError, Problem};
use audit::verify::{Options, Report, VerifyError, entries, verify};
use audit_core::{ChainKey, Own};
use portcullis_domain::{Hash, PrincipalName, Span};
use portcullis_runtime::Identity;
use portcullis_runtime::identity::store::{Rotation, Store};
use portcullis_testkit::bus::{BusServer, wait_until};
use portcullis_wire::Verifying;

/// Audit as a process of its own.
struct Audit(Child);

impl Audit {
    fn start(server: &BusServer) -> Self {
        let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/audit.toml");
        let process = Command::new(env!("CARGO_BIN_EXE_audit"))
            .arg("--config")
            .arg(settings)
            .arg("--identity")
            .arg(server.identity("audit"))
            .arg("--state")
            .arg(server.folder().join("audit"))
            .args(["--health", "127.0.0.1:0"])
            .args(["--bus", &server.url()])
            .env("RUST_LOG", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Self(process.unwrap())
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        // One that ended by itself has made its test fail already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log(server: &BusServer) -> PathBuf {
    server.folder().join("audit/log")
}

fn identity(server: &BusServer) -> Identity {
    Identity::load(&server.identity("audit")).unwrap()
}

fn present(server: &BusServer) -> Verifying {
    identity(server).signing.unwrap().verifying()
}

/// What somebody finds who has audit's chain key and these public keys.
fn found(server: &BusServer, keys: &[Verifying]) -> Result<Report, VerifyError> {
    let identity = identity(server);
    let options = Options {
        chain_key: Some(ChainKey::from_bytes(identity.secret("chain").unwrap()).unwrap()),
        audit_keys: keys.to_vec(),
        ..Options::default()
    };
    verify(&log(server), &options)
}

/// Waits until a checkpoint that is signed with the present key covers the log.
fn wait_for_checkpoint(server: &BusServer) -> Report {
    let key = present(server);
    let mut last = None;
    wait_until("a checkpoint with the present key", || {
        last = found(server, &[key]).ok();
        last.as_ref().is_some_and(|report| report.checkpoints > 0)
    });
    last.unwrap()
}

/// Exchanges audit's keys, and returns when the new one signs.
fn rotate(server: &mut BusServer) {
    let old = present(server);
    let rhythm = Rotation {
        emergency: false,
        lead: Span::from_millis(500),
        overlap: Span::from_millis(30_000),
    };
    let mut store = Store::open(&server.folder().join("identity"), None).unwrap();
    let audit = PrincipalName::new("audit").unwrap();
    store.rotate_principal_as(audit, rhythm).unwrap();
    server.reload_identities();
    wait_until("the new key to sign", || present(server) != old);
}

fn keys_on_record(server: &BusServer) -> Vec<Hash> {
    let own = entries(&log(server))
        .unwrap()
        .filter_map(|entry| entry.unwrap().own());
    let keys = own.filter_map(|own| match own {
        Own::Key { key } => Some(key),
        _ => None,
    });
    keys.collect()
}

fn is_of_unknown_key(result: &Result<Report, VerifyError>) -> bool {
    matches!(
        result,
        Err(LogError::Damaged {
            problem: Problem::CheckpointKey,
            ..
        })
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_on_and_verifies_across_an_exchange_of_audits_keys() {
    let mut server = BusServer::start().await;
    let first = present(&server);
    let audit = Audit::start(&server);
    let before = wait_for_checkpoint(&server).checkpoints;

    // Audit does not run while its key is exchanged: the last checkpoint is the earlier key's.
    drop(audit);
    rotate(&mut server);
    let second = present(&server);
    let earlier = found(&server, &[second]);
    assert!(is_of_unknown_key(&earlier), "{earlier:?}");
    found(&server, &[second, first]).unwrap();
    let audit = Audit::start(&server);
    let report = wait_for_checkpoint(&server);
    assert!(report.checkpoints > before, "{report:?}");

    // And once more, while it runs.
    rotate(&mut server);
    let third = present(&server);
    wait_for_checkpoint(&server);
    let expected = [first, second, third].map(|key| Hash(key.to_bytes()));
    assert_eq!(keys_on_record(&server), expected);
    let stale = found(&server, &[first]);
    assert!(is_of_unknown_key(&stale), "{stale:?}");
    drop(audit);
}
