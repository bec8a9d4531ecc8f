//! The program itself on a real bus: proposals become orders, or refusals with a reason.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use portcullis_domain::{
    Book, EnvelopeId, Hash, KillState, Level, Reason, Side, StrategyId, Symbol, TimeInForce,
};
use portcullis_runtime::{Client, Inbox, policy};
use portcullis_testkit::bus::{BusServer, PATIENCE};
use portcullis_wire::messages::{Decision, ExecutionStatus, Heartbeat, Outcome, Proposal, Size};
use portcullis_wire::principal::{Execution, MarketData, RiskGuard, Strategy};
use portcullis_wire::subjects::{BOOK, DECISION, EXECUTION_STATUS, HEARTBEAT, ORDER, PROPOSAL};
use portcullis_wire::{Received, order_id};

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
        let child = Command::new(env!("CARGO_BIN_EXE_brain"))
            .args(["--bus", &server.url()])
            .arg("--config")
            .arg(settings("brain.toml"))
            .arg("--policy")
            .arg(settings("risk-policy.toml"))
            .arg("--identity")
            .arg(server.identity("brain"))
            .arg("--state")
            .arg(server.folder().join("state/brain"))
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

/// Everybody whom the brain talks with.
struct Others {
    policy: Hash,
    strategy: Client<Strategy>,
    guard: Client<RiskGuard>,
    execution: Client<Execution>,
    market_data: Client<MarketData>,
    decisions: Inbox,
    orders: Inbox,
}

impl Others {
    async fn connect(server: &BusServer) -> Self {
        let (_, policy) = policy::load(&settings("risk-policy.toml")).unwrap();
        let url = server.url();
        let strategy: Client<Strategy> = Client::connect(&server.identity("strategy-sample"), &url)
            .await
            .unwrap();
        let guard: Client<RiskGuard> = Client::connect(&server.identity("risk-guard"), &url)
            .await
            .unwrap();
        Self {
            policy,
            decisions: strategy
                .listen(&[(DECISION.row, Some("sample"))], 64)
                .await
                .unwrap(),
            orders: guard.listen(&[(ORDER.row, None)], 64).await.unwrap(),
            strategy,
            guard,
            execution: Client::connect(&server.identity("execution"), &url)
                .await
                .unwrap(),
            market_data: Client::connect(&server.identity("market-data"), &url)
                .await
                .unwrap(),
        }
    }

    /// Publishes a heartbeat, a book and an account, then a proposal; its id.
    fn propose(&self, limit_price: &str) -> EnvelopeId {
        let symbol = Symbol::new("XRPUSDT").unwrap();
        let beat = Heartbeat {
            kill: KillState::Armed,
            policy: self.policy,
            posture: portcullis_domain::Posture::Normal,
        };
        self.guard
            .publish(&HEARTBEAT, None, &beat, None, None)
            .unwrap();
        let level = |price: &str| Level {
            price: price.parse().unwrap(),
            quantity: "1000".parse().unwrap(),
        };
        let now = self.strategy.now();
        let book = Book::new(symbol, vec![level("0.4999")], vec![level("0.5001")], 1, now);
        let book = book.unwrap();
        self.market_data
            .publish(&BOOK, Some("XRPUSDT"), &book, None, None)
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
        let proposal = Proposal {
            symbol,
            side: Side::Buy,
            size: Size::Notional("50".parse().unwrap()),
            limit_price: Some(limit_price.parse().unwrap()),
            time_in_force: TimeInForce::ImmediateOrCancel,
            reduce_only: false,
        };
        let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let sent = self.strategy.publish(
            &PROPOSAL,
            Some("sample"),
            &proposal,
            None,
            Some(traceparent),
        );
        sent.unwrap().id
    }

    /// Proposes again and again until a proposal gets this answer; its id and the decision.
    async fn propose_until(
        &mut self,
        limit_price: &str,
        outcome: Outcome,
    ) -> (EnvelopeId, Decision) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut last = None;
        while tokio::time::Instant::now() < deadline {
            let id = self.propose(limit_price);
            while let Some(decision) = self.decision().await {
                let own = decision.header().causation == Some(id);
                if own && decision.message().outcome == outcome {
                    return (id, decision.message().clone());
                }
                last = Some(decision.message().outcome);
            }
        }
        unreachable!("no decision {outcome:?}, the last was {last:?}")
    }

    async fn decision(&mut self) -> Option<portcullis_wire::Verified<Decision>> {
        let raw = tokio::time::timeout(Duration::from_millis(100), self.decisions.recv()).await;
        self.strategy
            .open(&DECISION, &raw.ok()??)
            .map(Received::either)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_become_orders_or_refusals_with_a_reason() {
    let server = BusServer::start().await;
    let mut others = Others::connect(&server).await;
    let _program = Program::start(&server);
    others
        .propose_until("0.5", Outcome::Refused(Reason::WarmingUp))
        .await;
    let (proposal, decision) = others.propose_until("0.5", Outcome::Passed).await;
    let sample = StrategyId::new("sample").unwrap();
    assert_eq!(decision.order, order_id(sample, proposal));

    let raw = tokio::time::timeout(PATIENCE, others.orders.recv())
        .await
        .unwrap()
        .unwrap();
    let order = others.guard.open(&ORDER, &raw).unwrap().either();
    assert_eq!(order.message().id, decision.order);
    assert_eq!(order.message().quantity, "100".parse().unwrap());
    assert_eq!(order.header().causation, Some(proposal));
    assert!(
        order.header().traceparent.contains(TRACE),
        "the trace goes on"
    );
    assert_ne!(
        order.header().traceparent,
        format!("00-{TRACE}-00f067aa0ba902b7-01")
    );

    others
        .propose_until("0.51", Outcome::Refused(Reason::PriceCollar))
        .await;
    assert!(
        others.orders.try_recv().is_none(),
        "a refused proposal becomes no order"
    );
}
