//! A flood of one identity is its own: others' messages still arrive, and their facts are still
//! acknowledged and read in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::{fill, http_get, recv, service};
use crate::raw::RawConnection;
use portcullis_domain::{StrategyId, Symbol};
use portcullis_runtime::nats_config::{OperatorId, Roster};
use portcullis_runtime::{FactsConsumer, Inbox, Service};
use portcullis_testkit::bus::BusServer;
use portcullis_wire::Realm;
use portcullis_wire::principal::{Audit, Brain, Execution, RiskGuard};
use portcullis_wire::subjects::{BRAIN_NOTICE, FILL, KILL, PROPOSAL};

/// Publishes on one subject as fast as the server takes it, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(server: &BusServer, name: &str, subject: &str, length: usize) -> Self {
        let mut raw = RawConnection::connect(server, name);
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let payload = "x".repeat(length);
        let hundred = format!("PUB {subject} {length}\r\n{payload}\r\n").repeat(100);
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let answer = raw.say(&hundred);
                assert_eq!(answer.errors, Vec::<String>::new());
                count.fetch_add(100, Ordering::Relaxed);
            }
        });
        Self {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))), "the flood broke off");
    }
}

/// How many messages of a subject were dropped.
async fn dropped(address: std::net::SocketAddr, subject: &str) -> u64 {
    let text = http_get(address, "/metrics").await.1;
    let line = format!("portcullis_bus_dropped_total{{subject=\"{subject}\"}} ");
    let value = text.lines().find_map(|text| text.strip_prefix(&line));
    value.map_or(0, |value| value.parse().unwrap())
}

async fn until_dropped(address: std::net::SocketAddr, subject: &str, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while dropped(address, subject).await < count {
        assert!(
            Instant::now() < deadline,
            "nothing of {subject} was dropped"
        );
    }
}

/// Reads until so many of a payload came; how many others came in the meantime.
async fn others_before(inbox: &mut Inbox, payload: &[u8], count: usize) -> usize {
    let (mut own, mut others) = (0, 0);
    while own < count {
        if recv(inbox).await.bytes == payload {
            own += 1;
        } else {
            others += 1;
        }
    }
    others
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_strategys_flood_costs_another_no_proposal() {
    const PROPOSALS: usize = 200;
    let server = BusServer::start().await;
    let brain: Service<Brain> = service(&server, "brain").await;
    let audit: Service<Audit> = service(&server, "audit").await;
    let mut facts = audit.facts_consumer().await.unwrap();
    let both = [
        (PROPOSAL.row, Some("sample")),
        (PROPOSAL.row, Some("trader")),
    ];
    let mut inbox = brain.listen(&both, 256).await.unwrap();
    let flood = Flood::start(&server, "strategy-sample", "cmd.brain.propose.sample", 600);
    let address = brain.health_address();
    // Nobody reads yet: the flood's own lane is full, and only that one.
    until_dropped(address, "cmd.brain.propose.sample", 1_000).await;
    let mut trader = RawConnection::connect(&server, "strategy-trader");
    for number in 0..PROPOSALS {
        let answer = trader.publish("cmd.brain.propose.trader", "", &format!("{number:04}"));
        assert_eq!(answer.errors, Vec::<String>::new());
    }
    let mut came = Vec::new();
    while came.len() < PROPOSALS {
        let raw = recv(&mut inbox).await;
        if raw.subject == "cmd.brain.propose.trader" {
            came.push(String::from_utf8(raw.bytes.to_vec()).unwrap());
        }
    }
    let expected: Vec<_> = (0..PROPOSALS)
        .map(|number| format!("{number:04}"))
        .collect();
    assert_eq!(came, expected, "in order, and none is missing");
    assert_eq!(dropped(address, "cmd.brain.propose.trader").await, 0);

    // With both lanes full, the reader takes one of each in turn.
    for _ in 0..257 {
        trader.publish("cmd.brain.propose.trader", "", "more");
    }
    until_dropped(address, "cmd.brain.propose.trader", 1).await;
    let mut of_trader = 0;
    for _ in 0..100 {
        of_trader += usize::from(recv(&mut inbox).await.subject == "cmd.brain.propose.trader");
    }
    assert_eq!(of_trader, 50, "of a hundred that were read");

    // Commands were lost, and that is on record, though not a million times.
    let (raw, _) = tokio::time::timeout(Duration::from_secs(10), facts.recv())
        .await
        .unwrap();
    let notice = audit.open_fact(&BRAIN_NOTICE, &raw).unwrap();
    let said = format!("{:?}", notice.message());
    assert!(said.contains("lost on cmd.brain.propose.sample"), "{said}");
    println!("{} sent by the flood", flood.sent());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_operators_flood_does_not_keep_anothers_kill_away() {
    let roster = Roster::new(
        Realm::new("dev").unwrap(),
        vec![StrategyId::new("sample").unwrap()],
        ["alice", "bob"]
            .map(|name| OperatorId::new(name).unwrap())
            .into(),
        vec![Symbol::new("BTCUSDT").unwrap()],
    )
    .unwrap();
    let server = BusServer::start_bare(roster);
    let guard: Service<RiskGuard> = service(&server, "risk-guard").await;
    let mut inbox = guard.listen(&[(KILL.row, None)], 64).await.unwrap();
    let flood = Flood::start(&server, "operator-alice", "ops.kill", 600);
    until_dropped(guard.health_address(), "ops.kill.operator-alice", 1_000).await;
    let mut bob = RawConnection::connect(&server, "operator-bob");
    let begun = Instant::now();
    assert!(bob.publish("ops.kill", "", "kill").errors.is_empty());
    let others = others_before(&mut inbox, b"kill", 1).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(
        dropped(guard.health_address(), "ops.kill.operator-bob").await,
        0
    );
    println!(
        "{} kills in the flood; bob's after {took:?} and {others} others",
        flood.sent()
    );
}

/// Half and almost all of the measured times.
fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Says one fact after the other, and how long each took to be acknowledged by the stream and to
/// reach audit by the stream and by the bus.
async fn fact_times(
    execution: &Service<Execution>,
    (facts, live): (&mut FactsConsumer, &mut Inbox),
    numbers: std::ops::Range<u64>,
) -> [(Duration, Duration); 3] {
    let mut acknowledged = execution.facts_acknowledged();
    let (mut acks, mut reads, mut heard) = (Vec::new(), Vec::new(), Vec::new());
    for number in numbers {
        let begun = Instant::now();
        let sealed = execution
            .fact(&FILL, Some("sample"), &fill(number), None, None)
            .unwrap();
        let patience = Duration::from_secs(10);
        let both = async {
            loop {
                let raw = recv(live).await;
                if raw.bytes == sealed.frame {
                    heard.push(begun.elapsed());
                    break;
                }
            }
            loop {
                let (raw, acknowledger) = facts.recv().await;
                acknowledger.acknowledge().await.unwrap();
                if raw.bytes == sealed.frame {
                    reads.push(begun.elapsed());
                    break;
                }
            }
        };
        let acking = async {
            acknowledged
                .wait_for(|place| *place >= sealed.seq)
                .await
                .unwrap();
            acks.push(begun.elapsed());
        };
        let done = tokio::time::timeout(patience, async { tokio::join!(both, acking) });
        done.await.unwrap();
    }
    [percentiles(acks), percentiles(reads), percentiles(heard)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_brains_notices_does_not_stop_executions_facts() {
    const FACTS: u64 = 150;
    let server = BusServer::start().await;
    let execution: Service<Execution> = service(&server, "execution").await;
    let audit: Service<Audit> = service(&server, "audit").await;
    let mut facts = audit.facts_consumer().await.unwrap();
    let lines = [(FILL.row, Some("sample")), (BRAIN_NOTICE.row, None)];
    let mut live = audit.listen(&lines, 8_192).await.unwrap();
    let before = fact_times(&execution, (&mut facts, &mut live), 0..FACTS).await;
    let flood = Flood::start(&server, "brain", "evt.brain.notice", 600);
    let during = fact_times(&execution, (&mut facts, &mut live), FACTS..2 * FACTS).await;
    println!("acknowledged, read from the stream, heard on the bus (p50, p99)");
    println!(
        "before {before:?}\nduring {during:?}; {} notices",
        flood.sent()
    );
    let sent = flood.sent();
    assert!(sent > 1_000, "{sent} is no flood");
    for (quiet, flooded) in before.iter().zip(&during) {
        assert!(
            flooded.1 < Duration::from_secs(2),
            "{quiet:?} became {flooded:?}"
        );
    }
}
