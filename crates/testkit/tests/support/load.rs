//! A strategy that proposes without pause, as the principal `strategy-sample`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use portcullis_domain::{Bps, Price, Side, Symbol, TimeInForce};
use portcullis_runtime::Client;
use portcullis_wire::messages::{Proposal, Size};
use portcullis_wire::principal::Strategy;
use portcullis_wire::subjects::{BOOK, PROPOSAL};

/// Proposals under way on a thread of their own.
pub struct Load {
    thread: JoinHandle<u64>,
    sent: Arc<AtomicU64>,
}

impl Load {
    /// Proposes `count` orders, `per_second` at most: sixteen to buy, sixteen to sell, so that the
    /// position stays small and orders under way seldom meet. Two of 128 rest in the book, one on each
    /// side, so far from the market that no other order of the load meets them, and so few that they
    /// leave room in the budget.
    pub fn start(identity: &Path, bus: &str, count: u64, per_second: u64) -> Self {
        let (identity, bus) = (identity.to_owned(), bus.to_owned());
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(propose(&identity, &bus, count, per_second, &counter))
        });
        Self { thread, sent }
    }

    /// How many proposals left so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until all are sent.
    pub fn finish(self) -> u64 {
        self.thread.join().expect("the load ran through")
    }
}

async fn propose(
    identity: &Path,
    bus: &str,
    count: u64,
    per_second: u64,
    counter: &AtomicU64,
) -> u64 {
    let client = Client::<Strategy>::connect(identity, bus)
        .await
        .expect("join the bus");
    let symbol = Symbol::new("XRPUSDT").expect("a symbol");
    let mut books = client
        .listen(&[(BOOK.row, Some("XRPUSDT"))], 64)
        .await
        .expect("listen");
    let mut turns = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut best = None;
    while counter.load(Ordering::Relaxed) < count {
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
                let strategy = Some("sample");
                // While the bus is away nothing is sent, and nothing is counted.
                if client.publish(&PROPOSAL, strategy, &proposal, None, None).is_ok() {
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
