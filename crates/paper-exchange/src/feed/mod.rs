//! Market data: where books and trades come from, and how they are paced.

pub(crate) mod generator;
pub(crate) mod replay;

use std::time::Duration;

use rust_decimal::Decimal;
use tokio::time::Instant;

use crate::engine::book::BookUpdate;
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

/// Plays a generator for ever.
pub(crate) async fn play_generator(exchange: Exchange, symbol: String, generator: Generator) {
    let mut due = Instant::now();
    for step in generator {
        due += step.wait;
        tokio::time::sleep_until(due).await;
        if !apply(&exchange, &symbol, step).await {
            return;
        }
    }
}

/// Plays a recording to its end, or for ever when it loops.
pub(crate) async fn play_replay(exchange: Exchange, replay: Replay) -> Result<(), ReplayError> {
    let symbol = replay.symbol().to_owned();
    let mut steps = replay.start();
    let mut due = Instant::now();
    while let Some(step) = steps.recv().await {
        let step = step?;
        due += step.wait;
        tokio::time::sleep_until(due).await;
        if !apply(&exchange, &symbol, step).await {
            return Ok(());
        }
    }
    tracing::info!(symbol, "the recording has ended; its last book stays");
    Ok(())
}

/// Hands a step to the exchange; `false` when it has stopped.
async fn apply(exchange: &Exchange, symbol: &str, step: Step) -> bool {
    let symbol = symbol.to_owned();
    let applied = exchange.run(move |state| {
        let now = state.clock.now_ms();
        for (side, price, qty) in step.trades {
            state
                .engine
                .market_trade(now, &symbol, side, price, qty, &mut state.effects);
        }
        state
            .engine
            .update_book(now, &symbol, &step.update, &mut state.effects);
    });
    applied.await.is_ok()
}
