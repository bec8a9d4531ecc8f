//! A strategy that proposes without pause, as the principal `strategy-sample`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use portcullis_domain::{Bps, Price, Side, StrategyId, Symbol, TimeInForce, Timestamp};
use portcullis_runtime::Client;
use portcullis_wire::messages::{Proposal, Size};
use portcullis_wire::order_id;
use portcullis_wire::principal::Strategy;
use portcullis_wire::subjects::{BOOK, PROPOSAL};

/// Proposals under way on a thread of their own.
pub struct Load {
    thread: JoinHandle<u64>,
    shared: Arc<Shared>,
}

/// What a load proposed.
pub struct Proposals(Arc<Shared>);

impl Proposals {
    /// When an order was proposed, if it was by this load.
    pub fn at(&self, order: &str) -> Option<Timestamp> {
        let proposed = self.0.proposed.lock().expect("the proposals");
        proposed.get(order).copied()
    }
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    stopped: AtomicBool,
    /// When each order was proposed.
    proposed: Mutex<BTreeMap<String, Timestamp>>,
}

impl Load {
    /// Proposes `count` orders, `per_second` at most: sixteen to buy, sixteen to sell, so that the
    /// position stays small and orders under way seldom meet. Two of 128 rest in the book, one on each
    /// side, so far from the market that no other order of the load meets them, and so few that they
    /// leave room in the budget.
    pub fn start(identity: &Path, bus: &str, count: u64, per_second: u64) -> Self {
        let (identity, bus) = (identity.to_owned(), bus.to_owned());
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(propose(&identity, &bus, count, per_second, &own))
        });
        Self { thread, shared }
    }

    /// How many proposals left so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// When each order was proposed, also once the load is over.
    pub fn proposals(&self) -> Proposals {
        Proposals(Arc::clone(&self.shared))
    }

    /// Proposes nothing more; gives back how many were sent.
    pub fn stop(self) -> u64 {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until all are sent.
    pub fn finish(self) -> u64 {
        self.thread.join().expect("the load ran through")
    }
}

async fn propose(identity: &Path, bus: &str, count: u64, per_second: u64, shared: &Shared) -> u64 {
    let client = Client::<Strategy>::connect(identity, bus)
        .await
        .expect("join the bus");
    let symbol = Symbol::new("XRPUSDT").expect("a symbol");
    let name = StrategyId::new("sample").expect("a strategy");
    let mut books = client
        .listen(&[(BOOK.row, Some("XRPUSDT"))], 64)
        .await
        .expect("listen");
    let mut turns = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut best = None;
    let counter = &shared.sent;
    while counter.load(Ordering::Relaxed) < count && !shared.stopped.load(Ordering::Relaxed) {
        tokio::select! {
            Some(raw) = books.recv() => {
                if let Some(book) = client.open(&BOOK, &raw).and_then(|received| received.fresh()) {
                    let book = book.message();
                    best = book.best_for(Side::Buy).zip(book.best_for(Side::Sell));
                }
            }
            _ = turns.tick() => {
                let Some((ask, bid)) = best else { continue };
                let number = counter.load(Ordering::Relaxed);
                let side = if (number / 16).is_multiple_of(2) { Side::Buy } else { Side::Sell };
                let rests = matches!(number % 128, 15 | 127);
                let proposal = Proposal {
                    symbol,
                    side,
                    size: Size::Quantity((5 + number % 7).to_string().parse().expect("a number")),
                    limit_price: rests.then(|| resting_price(side, bid, ask)),
                    time_in_force: if rests {
                        TimeInForce::GoodTillCancel
                    } else {
                        TimeInForce::ImmediateOrCancel
                    },
                    reduce_only: false,
                };
                let strategy = Some(name.as_str());
                // While the bus is away nothing is sent, and nothing is counted.
                let now = client.now();
                if let Ok(sealed) = client.publish(&PROPOSAL, strategy, &proposal, None, None) {
                    let order = order_id(name, sealed.id).to_string();
                    shared.proposed.lock().expect("the proposals").insert(order, now);
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    let _ = client.flush().await;
    client.close().await;
    counter.load(Ordering::Relaxed)
}

/// 1.5 % away from the market: the others go 1 % at most beyond it.
fn resting_price(side: Side, bid: Price, ask: Price) -> Price {
    let away = Bps::new(150).expect("a share");
    let price = match side {
        Side::Buy => bid.lowered(away),
        Side::Sell => ask.raised(away),
    };
    price.expect("a price")
}
