//! Market data: where books and trades come from, and how they are paced.
//!
//! With its first book every market gets a past of an hour, which ends at the middle of that book. A
//! recording has books alone, so a small trade is printed at the touch with its books, about once a
//! second: the last price, the bars and the latest trades move with it.

pub(crate) mod generator;
mod past;
pub(crate) mod replay;

use std::time::Duration;

use rust_decimal::Decimal;
use tokio::time::Instant;

use crate::clock::TimeMs;
use crate::engine::Engine;
use crate::engine::book::{Book, BookUpdate};
use crate::engine::market::Past;
use crate::engine::order::Side;
use crate::exchange::Exchange;
use generator::Generator;
use replay::{Replay, ReplayError};

/// One moment of market data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// How long after the step before.
    pub wait: Duration,
    pub update: BookUpdate,
    /// Taker's side, price, quantity.
    pub trades: Vec<(Side, Decimal, Decimal)>,
}

/// The shortest time between two trades that are printed for a recording.
const PRINT_INTERVAL: Duration = Duration::from_secs(1);

/// Plays a generator for ever.
pub(crate) async fn play_generator(
    exchange: Exchange,
    symbol: String,
    seed: u64,
    generator: Generator,
) {
    let mut due = Instant::now();
    for step in generator {
        due += step.wait;
        tokio::time::sleep_until(due).await;
        if !apply(&exchange, &symbol, seed, step, None).await {
            return;
        }
    }
}

/// Plays a recording to its end, or for ever when it loops.
pub(crate) async fn play_replay(
    exchange: Exchange,
    seed: u64,
    replay: Replay,
) -> Result<(), ReplayError> {
    let symbol = replay.symbol().to_owned();
    let mut steps = replay.start();
    let mut due = Instant::now();
    let mut print_at = due + PRINT_INTERVAL;
    let mut taker = Side::Buy;
    while let Some(step) = steps.recv().await {
        let step = step?;
        due += step.wait;
        tokio::time::sleep_until(due).await;
        let print = (due >= print_at).then_some(taker);
        if print.is_some() {
            print_at = due + PRINT_INTERVAL;
            taker = taker.opposite();
        }
        if !apply(&exchange, &symbol, seed, step, print).await {
            return Ok(());
        }
    }
    tracing::info!(symbol, "the recording has ended; its last book stays");
    Ok(())
}

/// Hands a step to the exchange, and prints a trade of this side at the touch if one is wanted;
/// `false` when the exchange has stopped.
async fn apply(
    exchange: &Exchange,
    symbol: &str,
    seed: u64,
    step: Step,
    print: Option<Side>,
) -> bool {
    let symbol = symbol.to_owned();
    let applied = exchange.run(move |state| {
        let now = state.clock.now_ms();
        if let Some(past) = past_of(&state.engine, &symbol, seed, now, &step.update) {
            state.engine.remember(&symbol, past);
        }
        for (side, price, qty) in step.trades {
            state
                .engine
                .market_trade(now, &symbol, side, price, qty, &mut state.effects);
        }
        state
            .engine
            .update_book(now, &symbol, &step.update, &mut state.effects);
        let Some(market) = state.engine.market(&symbol) else {
            return;
        };
        let touch = print.and_then(|side| {
            let (price, _) = market.book.best_market(side.opposite())?;
            Some((side, price, market.instrument.min_qty))
        });
        if let Some((side, price, qty)) = touch {
            state
                .engine
                .market_trade(now, &symbol, side, price, qty, &mut state.effects);
        }
    });
    applied.await.is_ok()
}

/// The past of a market that has none, up to the middle of its first book.
fn past_of(
    engine: &Engine,
    symbol: &str,
    seed: u64,
    now: TimeMs,
    first: &BookUpdate,
) -> Option<Past> {
    let market = engine
        .market(symbol)
        .filter(|market| market.has_no_past())?;
    let mut book = Book::default();
    book.update(first);
    Some(past::past(&market.instrument, seed, now, book.mid()?))
}
