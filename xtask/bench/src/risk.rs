//! One judgement of risk-guard with every rule passing, from 1 to 10,000 open orders.

use anyhow::{Context as _, Result};
use portcullis_domain::{
    Book, Exposure, Hash, KillState, Level, Order, OrderId, Span, Symbol, Timestamp, Usd,
};
use portcullis_testkit::seals::{self, NOW};
use portcullis_testkit::{World, policies};
use portcullis_wire::messages::{ExecutionStatus, InstrumentPolicy, Outcome, StrategyExposure};
use portcullis_wire::subjects::{BOOK, EXECUTION_STATUS, ORDER};
use risk_guard_core::{Input, RiskGuard, Settings};

use crate::figure::{Aim, Figure, percentile};

const ME: &str = "risk-guard";
/// A judgement is measured alone, so that its median is not an average.
const JUDGEMENTS: u64 = 2_000;

pub fn run() -> Result<Vec<Figure>> {
    let one = judge_with(1)?;
    let many = judge_with(10_000)?;
    Ok(vec![
        Figure::new(
            "risk-guard step, p50, 1 order open",
            one,
            "us",
            None,
            Aim::ValueAtMost(2.0),
        ),
        Figure::new(
            "risk-guard step, p50, 10,000 orders open",
            many,
            "us",
            Some(("the same with 1 order open", one)),
            Aim::RatioAtMost(1.25),
        ),
    ])
}

/// The median of a judgement in microseconds, with so many orders permitted and open before.
fn judge_with(open: u64) -> Result<f64> {
    let mut world = World::new(NOW);
    let mut guard = RiskGuard::new(settings()?);
    let mut now = NOW.plus(Span::from_secs(3));
    let symbol = Symbol::new("XRPUSDT")?;
    let level = |price: &str| {
        Ok::<_, anyhow::Error>(Level {
            price: price.parse()?,
            quantity: "1".parse()?,
        })
    };
    let feed = |world: &mut World, guard: &mut RiskGuard, now: Timestamp| -> Result<()> {
        let book = Book::new(
            symbol,
            vec![level("0.4999")?],
            vec![level("0.5001")?],
            1,
            now,
        )?;
        let book = world.verified(ME, now, &BOOK, Some("XRPUSDT"), &book);
        guard.step(now, Input::Book(book))?;
        let status = world.verified(ME, now, &EXECUTION_STATUS, None, &status(symbol)?);
        guard.step(now, Input::Status(status))?;
        Ok(())
    };
    feed(&mut world, &mut guard, now)?;
    // Orders that are permitted and that execution has not accounted for are counted one by one.
    for number in 1..=open {
        let order = order(number, now)?;
        let order = world.verified(ME, now, &ORDER, None, &order);
        let judged = guard
            .step(now, Input::Order(order))?
            .judgement
            .context("a judgement")?;
        anyhow::ensure!(
            judged.verdict.outcome == Outcome::Passed,
            "{:?}",
            judged.verdict.outcome
        );
    }
    let mut times = Vec::new();
    for number in 0..JUDGEMENTS {
        now = now.plus(Span(50));
        let order = order(1_000_000_u64.saturating_add(number), now)?;
        let order = world.verified(ME, now, &ORDER, None, &order);
        let begun = std::time::Instant::now();
        let effects = guard.step(now, Input::Order(order))?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        let judged = effects.judgement.context("a judgement")?;
        anyhow::ensure!(
            judged.verdict.outcome == Outcome::Passed,
            "{:?}",
            judged.verdict.outcome
        );
    }
    Ok(percentile(&mut times, 50))
}

fn order(number: u64, now: Timestamp) -> Result<Order> {
    let id = OrderId(u128::from(number).to_be_bytes());
    Ok(Order {
        id,
        quantity: "20".parse()?,
        policy: Hash([7; 32]),
        ..seals::order(number, now)
    })
}

fn settings() -> Result<Settings> {
    Ok(Settings {
        policy: policies::policy(vec![InstrumentPolicy {
            order_notional_max: "200".parse()?,
            position_notional_max: "100000000".parse()?,
            ..policies::wide(policies::xrp())
        }]),
        policy_hash: Hash([7; 32]),
        strategies: ["sample".parse()?].into(),
        orders_per_second_max: 1_000_000,
        orders_pending_max: 100_000,
        orders_remembered_max: 100_000,
        kill: KillState::Armed,
        started_at: NOW,
    })
}

fn status(symbol: Symbol) -> Result<ExecutionStatus> {
    Ok(ExecutionStatus {
        kill: KillState::Armed,
        may_trade: true,
        reason: None,
        policy: Hash([7; 32]),
        day: 1,
        loss: Usd::ZERO,
        loss_max: "100".parse()?,
        exposures: vec![StrategyExposure {
            strategy: "sample".parse()?,
            symbol,
            position: Exposure::FLAT,
            open_buy: None,
            open_sell: None,
            orders_open: 0,
            highest_buy: None,
            lowest_sell: None,
        }],
        positions: Vec::new(),
        orders: Vec::new(),
        orders_open: 0,
        orders_unknown: 0,
        fills: 0,
        equity: Some(portcullis_domain::Usd::ZERO),
        drawdown: portcullis_domain::Usd::ZERO,
        losses: vec![],
        network: Default::default(),
        signer: Default::default(),
    })
}
