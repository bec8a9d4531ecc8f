//! The program itself on a real bus: it judges, is killed, and stays killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use portcullis_domain::{Book, Hash, KillState, Level, Order, Reason, Side, Symbol};
use portcullis_runtime::{Client, Inbox, Latch, policy};
use portcullis_testkit::bus::{BusServer, PATIENCE};
use portcullis_testkit::seals;
use portcullis_wire::messages::{
    Closes, ExecutionStatus, Heartbeat, Kill, Outcome, Trade, Verdict,
};
use portcullis_wire::principal::{Brain, Execution, MarketData, Operator};
use portcullis_wire::subjects::{
    BOOK, CLOSES, EXECUTION_STATUS, HEARTBEAT, KILL, ORDER, PERMIT, TRADE, VERDICT,
};
use portcullis_wire::{Received, Text};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn settings(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../config")
        .join(name)
}

/// The program, killed by its own process id when the test ends.
struct Program(Child);

impl Program {
    fn start(server: &BusServer) -> Self {
        let state = server.folder().join("state/risk-guard");
        let child = Command::new(env!("CARGO_BIN_EXE_risk-guard"))
            .args(["--bus", &server.url()])
            .arg("--config")
            .arg(settings("risk-guard.toml"))
            .arg("--policy")
            .arg(settings("risk-policy.toml"))
            .arg("--identity")
            .arg(server.identity("risk-guard"))
            .arg("--state")
            .arg(state)
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everybody whom risk-guard talks with.
struct Others {
    policy: Hash,
    brain: Client<Brain>,
    execution: Client<Execution>,
    market_data: Client<MarketData>,
    verdicts: Inbox,
    permits: Inbox,
    heartbeats: Inbox,
    orders: u64,
}

impl Others {
    async fn connect(server: &BusServer) -> Self {
        let (_, policy) = policy::load(&settings("risk-policy.toml")).unwrap();
        let brain = Client::connect(&server.identity("brain"), &server.url())
            .await
            .unwrap();
        let execution: Client<Execution> =
            Client::connect(&server.identity("execution"), &server.url())
                .await
                .unwrap();
        Self {
            policy,
            verdicts: brain
                .listen(&[(VERDICT.row, Some("sample"))], 64)
                .await
                .unwrap(),
            permits: execution.listen(&[(PERMIT.row, None)], 64).await.unwrap(),
            heartbeats: execution
                .listen(&[(HEARTBEAT.row, None)], 64)
                .await
                .unwrap(),
            brain,
            execution,
            market_data: Client::connect(&server.identity("market-data"), &server.url())
                .await
                .unwrap(),
            orders: 0,
        }
    }

    /// Publishes a market and an account, then an order of 10 XRPUSDT at 0.5.
    fn ask(&mut self) -> Order {
        let symbol = Symbol::new("XRPUSDT").unwrap();
        let level = |price: &str| Level {
            price: price.parse().unwrap(),
            quantity: "1000".parse().unwrap(),
        };
        let now = self.brain.now();
        let book = Book::new(symbol, vec![level("0.4999")], vec![level("0.5001")], 1, now);
        let book = book.unwrap();
        self.market_data
            .publish(&BOOK, Some("XRPUSDT"), &book, None, None)
            .unwrap();
        let mid = book.mid().unwrap();
        let trade = Trade {
            symbol,
            side: Side::Buy,
            price: mid,
            quantity: "10".parse().unwrap(),
            venue_time: now,
        };
        self.market_data
            .publish(&TRADE, Some("XRPUSDT"), &trade, None, None)
            .unwrap();
        let closes = Closes {
            symbol,
            minute: now.0 / 60_000_000 - 1,
            closes: vec![mid; Closes::MINUTES],
        };
        self.market_data
            .publish(&CLOSES, Some("XRPUSDT"), &closes, None, None)
            .unwrap();
        let status = ExecutionStatus {
            policy: self.policy,
            day: 0,
            loss_max: "100".parse().unwrap(),
            ..portcullis_testkit::accounts::status()
        };
        self.execution
            .publish(&EXECUTION_STATUS, None, &status, None, None)
            .unwrap();
        self.orders += 1;
        let order = Order {
            policy: self.policy,
            ..seals::order(self.orders, now)
        };
        let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        self.brain
            .publish(&ORDER, None, &order, None, Some(traceparent))
            .unwrap();
        order
    }

    /// Asks again and again until an order gets this answer; the verdict.
    async fn ask_until(&mut self, outcome: Outcome) -> Verdict {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut last = None;
        while tokio::time::Instant::now() < deadline {
            let id = self.ask().id;
            while let Some(verdict) = self.verdict().await {
                assert_eq!(verdict.header().kind, "verdict");
                let verdict = verdict.message().clone();
                if verdict.order == id && verdict.outcome == outcome {
                    return verdict;
                }
                last = Some(verdict.outcome);
            }
        }
        unreachable!("no verdict {outcome:?}, the last was {last:?}")
    }

    async fn verdict(&mut self) -> Option<portcullis_wire::Verified<Verdict>> {
        let raw = tokio::time::timeout(Duration::from_millis(100), self.verdicts.recv()).await;
        self.brain.open(&VERDICT, &raw.ok()??).map(Received::either)
    }

    async fn heartbeat(&mut self, kill: KillState) -> Heartbeat {
        let beat = async {
            loop {
                let raw = self.heartbeats.recv().await.unwrap();
                let beat = self.execution.open(&HEARTBEAT, &raw).map(Received::either);
                if let Some(beat) = beat.filter(|beat| beat.message().kill == kill) {
                    return *beat.message();
                }
            }
        };
        tokio::time::timeout(PATIENCE, beat).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn judges_orders_until_it_is_killed_and_stays_killed_over_a_restart() {
    let server = BusServer::start().await;
    let state = server.folder().join("state/risk-guard");
    Latch::arm_new(&state).unwrap();
    let mut others = Others::connect(&server).await;
    let program = Program::start(&server);
    let beat = others.heartbeat(KillState::Armed).await;
    assert_eq!(beat.policy, others.policy);

    others.ask_until(Outcome::Refused(Reason::WarmingUp)).await;
    let verdict = others.ask_until(Outcome::Passed).await;
    // On a slow machine an earlier order may have got its permit after it was given up.
    let (permit, order) = loop {
        let raw = tokio::time::timeout(PATIENCE, others.permits.recv())
            .await
            .unwrap()
            .unwrap();
        let opened = others.execution.open_permit(&raw.bytes, &raw.subject);
        let (permit, order) = opened.unwrap();
        let (permit, order) = (permit.either(), order.either());
        if order.message().id == verdict.order {
            break (permit, order);
        }
    };
    assert_eq!(permit.message().order, verdict.order_frame);
    assert_eq!(permit.header().causation, Some(order.id()));
    assert_eq!(permit.header().correlation, order.header().correlation);
    assert!(
        permit.header().traceparent.contains(TRACE),
        "the trace goes on"
    );
    assert_ne!(
        permit.header().traceparent,
        order.header().traceparent,
        "with a span of its own"
    );

    let operator: Client<Operator> =
        Client::connect(&server.identity("operator-dev"), &server.url())
            .await
            .unwrap();
    let kill = |realm: &str| Kill {
        realm: realm.parse().unwrap(),
        operator: operator.identity().name,
        reason: Text::lossy("drill"),
        at: operator.now(),
    };
    let identity = operator.identity();
    let signer = identity.signing.as_ref().unwrap();
    let foreign = signer.sign(&kill("prod")).unwrap();
    operator.publish(&KILL, None, &foreign, None, None).unwrap();
    others.ask_until(Outcome::Passed).await;
    let signed = signer.sign(&kill("dev")).unwrap();
    operator.publish(&KILL, None, &signed, None, None).unwrap();
    others.heartbeat(KillState::Triggered).await;
    others.ask_until(Outcome::Refused(Reason::KillSwitch)).await;

    let latch = state.join("latch.toml");
    portcullis_testkit::bus::wait_until("the latch on disk", || {
        std::fs::read_to_string(&latch).is_ok_and(|text| text.contains("TRIGGERED"))
    });
    drop(program);
    let _program = Program::start(&server);
    others.ask_until(Outcome::Refused(Reason::KillSwitch)).await;
}

#[test]
fn bad_settings_end_it_at_once_with_the_place_and_the_next_step() {
    let folder = std::env::temp_dir().join(format!("risk-guard-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = folder.join("risk-guard.toml");
    std::fs::write(
        &config,
        "strategies = [\"sample\"]\norders_per_minute_max = 1\n",
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_risk-guard"))
        .arg("--config")
        .arg(&config)
        .arg("--policy")
        .arg(settings("risk-policy.toml"))
        .args(["--identity", "/nonexistent", "--state", "/nonexistent"])
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("risk-guard.toml:2") && said.contains("orders_per_minute_max"),
        "{said}"
    );
    assert!(said.contains("next step: correct"), "{said}");
}
