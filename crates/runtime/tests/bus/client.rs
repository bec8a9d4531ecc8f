//! What the client library leaves to its user: nothing waits for ever, a dead server is noticed,
//! and what the connection does not take is said at once.

use std::time::{Duration, Instant};

use crate::common::{fill, service};
use portcullis_domain::{Hash, KillState};
use portcullis_runtime::{BusError, Client, Service};
use portcullis_testkit::bus::{BusServer, wait_until};
use portcullis_wire::messages::Heartbeat;
use portcullis_wire::principal::{Audit, Execution, Operator, RiskGuard};
use portcullis_wire::subjects::{FILL, HEARTBEAT, RISK_GUARD_STATUS};

/// What every call may take, with something for a busy machine.
const TIMEOUT: Duration = Duration::from_millis(5_500);

fn heartbeat() -> Heartbeat {
    Heartbeat {
        kill: KillState::Armed,
        posture: portcullis_domain::Posture::Normal,
        policy: Hash([7; 32]),
    }
}

/// A stopped process keeps its sockets: only what it does not answer tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_noticed_within_seconds_and_everybody_comes_back() {
    let server = BusServer::start().await;
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    assert!(guard.is_connected());
    server.signal("STOP");
    let begun = Instant::now();
    while guard.is_connected() {
        let took = begun.elapsed();
        assert!(
            took < Duration::from_secs(9),
            "still connected after {took:?}"
        );
        tokio::task::yield_now().await;
    }
    println!("a server that hangs is noticed after {:?}", begun.elapsed());
    let refused = guard.publish(&HEARTBEAT, None, &heartbeat(), None, None);
    assert!(
        matches!(refused, Err(BusError::Disconnected)),
        "{refused:?}"
    );
    server.signal("CONT");
    wait_until("the connection", || guard.is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_ends_in_time_while_the_server_hangs() {
    let server = BusServer::start().await;
    let execution: Service<Execution> = service(&server, "execution").await;
    let audit: Service<Audit> = service(&server, "audit").await;
    let operator: Client<Operator> =
        Client::connect(&server.identity("operator-dev"), &server.url())
            .await
            .unwrap();
    let mut consumer = audit.facts_consumer().await.unwrap();
    execution
        .fact(&FILL, Some("sample"), &fill(1), None, None)
        .unwrap();
    let (_, acknowledger) = tokio::time::timeout(TIMEOUT, consumer.recv())
        .await
        .unwrap();
    server.signal("STOP");

    let listening = async {
        let begun = Instant::now();
        let rows = [(RISK_GUARD_STATUS.row, None)];
        let outcome = operator.listen(&rows, 8).await.map(|_| ());
        ("listen", outcome.is_err(), begun.elapsed())
    };
    let consuming = async {
        let begun = Instant::now();
        let outcome = audit.facts_consumer().await.map(|_| ());
        ("consume", outcome.is_err(), begun.elapsed())
    };
    let confirming = async {
        let begun = Instant::now();
        let outcome = acknowledger.confirm().await;
        ("confirm", outcome.is_err(), begun.elapsed())
    };
    // It takes what the system's buffers take, and says so when they are full.
    let sending = async {
        let begun = Instant::now();
        let mut slowest = Duration::ZERO;
        let mut outcome = Ok(());
        while outcome.is_ok() {
            let one = Instant::now();
            let sealed = execution.seal(&FILL, Some("sample"), &fill(2), None, None);
            outcome = execution.send(sealed.unwrap());
            slowest = slowest.max(one.elapsed());
            tokio::task::yield_now().await;
            assert!(
                begun.elapsed() < Duration::from_secs(12),
                "it sends for ever"
            );
        }
        let refused = matches!(outcome, Err(BusError::Congested | BusError::Disconnected));
        assert!(
            slowest < Duration::from_secs(1),
            "a send waited {slowest:?}"
        );
        ("send", refused, Duration::ZERO)
    };
    let (a, b, c, d) = tokio::join!(listening, consuming, confirming, sending);
    for (what, refused, took) in [a, b, c, d] {
        println!("{what}: {took:?}");
        assert!(refused, "{what} claims to have worked");
        assert!(took < TIMEOUT, "{what} took {took:?}");
    }
    let begun = Instant::now();
    // Whether the library takes it or not, it does not wait for it.
    let _ = operator.flush().await;
    assert!(
        begun.elapsed() < TIMEOUT,
        "flush took {:?}",
        begun.elapsed()
    );
    server.signal("CONT");
}
