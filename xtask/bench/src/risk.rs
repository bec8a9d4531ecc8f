//! Judgements of risk-guard with every rule passing, from 1 to 10,000 open orders and from 1 to 1,000
//! strategies, with what they allocate; and the walk through twenty levels of a book.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use portcullis_domain::{
    Book, Exposure, Hash, KillState, Level, Order, OrderId, Price, Quantity, Side, Span,
    StrategyId, Symbol, Timestamp,
};
use portcullis_testkit::seals::{self, NOW};
use portcullis_testkit::{World, policies};
use portcullis_wire::Verified;
use portcullis_wire::messages::{
    Closes, ExecutionStatus, InstrumentPolicy, Outcome, StrategyExposure, Trade,
};
use portcullis_wire::subjects::{BOOK, CLOSES, EXECUTION_STATUS, ORDER, TRADE};
use risk_guard_core::{Input, RiskGuard, Settings};

use crate::figure::{Aim, Figure, percentile};

const ME: &str = "risk-guard";
/// A judgement is measured alone, so that its median is not an average.
const JUDGEMENTS: u64 = 2_000;
/// Levels of the book that is walked.
const LEVELS: u32 = 20;

/// What one kind of load measured, in microseconds and in allocations of one judgement.
struct Measured {
    p50: f64,
    p99: f64,
    allocations: f64,
}

pub fn run() -> Result<Vec<Figure>> {
    let one = judge_with(1, 1)?;
    let mut figures = vec![
        value("risk-guard step, p50, 1 order open", one.p50, 2.0),
        value("  p99", one.p99, 10.0),
        count("  allocations of one judgement", one.allocations),
    ];
    for (open, strategies) in [(100, 1), (10_000, 1), (10_000, 1_000)] {
        let many = judge_with(open, strategies)?;
        let name = format!("risk-guard step, p50, {open} open, {strategies} strategies");
        let same = Some(("the same with 1 and 1", one.p50));
        figures.push(Figure::new(
            name,
            many.p50,
            "us",
            same,
            Aim::RatioAtMost(1.25),
        ));
        figures.push(value("  p99", many.p99, 10.0));
        figures.push(count("  allocations of one judgement", many.allocations));
    }
    figures.push(value("walk through 20 levels, p50", walk()?, 0.5));
    Ok(figures)
}

fn value(name: &str, value: f64, most: f64) -> Figure {
    Figure::new(name, value, "us", None, Aim::ValueAtMost(most))
}

fn count(name: &str, value: f64) -> Figure {
    Figure::new(name, value, "", None, Aim::ValueAtMost(16.0))
}

/// Judgements with so many orders permitted before, spread over so many strategies.
fn judge_with(open: u64, strategies: u64) -> Result<Measured> {
    let mut world = World::new(NOW);
    let mut guard = RiskGuard::new(settings(strategies)?);
    let mut now = NOW.plus(Span::from_secs(3));
    feed(&mut world, &mut guard, now, strategies)?;
    // Orders that are permitted and that execution has not accounted for are counted one by one.
    for number in 1..=open {
        let order = order(&mut world, number, strategies, now)?;
        judge(&mut guard, now, order)?;
    }
    // So that none of them is the same order again.
    now = now.plus(Span::from_millis(10));
    let (mut times, mut allocations) = (Vec::new(), 0_u64);
    for number in 0..JUDGEMENTS {
        now = now.plus(Span(50));
        let order = order(
            &mut world,
            1_000_000_u64.saturating_add(number),
            strategies,
            now,
        )?;
        let mut judged = Ok(0.0);
        let made = allocation_counter::measure(|| judged = judge(&mut guard, now, order));
        times.push(judged?);
        allocations = allocations.saturating_add(made.count_total);
    }
    Ok(Measured {
        p50: percentile(&mut times, 50),
        p99: percentile(&mut times, 99),
        allocations: allocations as f64 / JUDGEMENTS as f64,
    })
}

/// One judgement, in microseconds; it must be a permit.
fn judge(guard: &mut RiskGuard, now: Timestamp, order: Verified<Order>) -> Result<f64> {
    let begun = Instant::now();
    let effects = guard.step(now, Input::Order(order))?;
    let took = begun.elapsed().as_secs_f64() * 1e6;
    let judged = effects.judgement.context("a judgement")?;
    ensure!(
        judged.verdict.outcome == Outcome::Passed,
        "{:?} by {:?}",
        judged.verdict.outcome,
        judged.verdict.checks.last()
    );
    Ok(took)
}

/// Everything that a guard needs to permit, as of now.
fn feed(world: &mut World, guard: &mut RiskGuard, now: Timestamp, strategies: u64) -> Result<()> {
    let (symbol, name) = (Symbol::new("XRPUSDT")?, Some("XRPUSDT"));
    let book = Book::new(symbol, side(4_999, -1)?, side(5_001, 1)?, 1, now)?;
    let book = world.verified(ME, now, &BOOK, name, &book);
    guard.step(now, Input::Book(book))?;
    let trade = Trade {
        symbol,
        side: Side::Buy,
        price: "0.5".parse()?,
        quantity: "20".parse()?,
        venue_time: now,
    };
    let trade = world.verified(ME, now, &TRADE, name, &trade);
    guard.step(now, Input::Trade(trade))?;
    let closes = Closes {
        symbol,
        minute: now.0.div_euclid(60_000_000).saturating_sub(1),
        closes: vec!["0.5".parse()?; Closes::MINUTES],
    };
    let closes = world.verified(ME, now, &CLOSES, name, &closes);
    guard.step(now, Input::Closes(closes))?;
    let status = world.verified(
        ME,
        now,
        &EXECUTION_STATUS,
        None,
        &status(symbol, strategies)?,
    );
    guard.step(now, Input::Status(status))?;
    Ok(())
}

fn side(best: i64, direction: i64) -> Result<Vec<Level>> {
    (0..i64::from(LEVELS))
        .map(|depth| {
            let ticks = best.saturating_add(depth.saturating_mul(direction));
            Ok(Level {
                price: format!("0.{ticks:04}").parse()?,
                quantity: "100".parse()?,
            })
        })
        .collect()
}

fn strategy(number: u64) -> Result<StrategyId> {
    Ok(StrategyId::new(&format!("s{number}"))?)
}

fn order(
    world: &mut World,
    number: u64,
    strategies: u64,
    now: Timestamp,
) -> Result<Verified<Order>> {
    let id = OrderId(u128::from(number).to_be_bytes());
    // The same order again within a millisecond would be a mistake, so each has another size.
    let tenths = number.checked_rem(50_000).unwrap_or(0).saturating_add(200);
    let order = Order {
        id,
        strategy: strategy(number.checked_rem(strategies).unwrap_or(0))?,
        quantity: format!("{}.{}", tenths / 10, tenths % 10).parse()?,
        policy: Hash([7; 32]),
        limit_price: "0.5002".parse()?,
        ..seals::order(number, now)
    };
    Ok(world.verified(ME, now, &ORDER, None, &order))
}

fn settings(strategies: u64) -> Result<Settings> {
    let mut policy = policies::policy(vec![InstrumentPolicy {
        order_notional_max: "10000".parse()?,
        position_notional_max: "100000000".parse()?,
        ..policies::wide(policies::xrp())
    }]);
    policy.breakers = policies::breakers();
    // So many come within one moment here as within a minute otherwise.
    policy.strategy.messages_per_second_max = 1_000_000;
    policy.strategy.orders_per_second_max = 1_000_000;
    Ok(Settings {
        policy,
        policy_hash: Hash([7; 32]),
        strategies: (0..strategies).map(strategy).collect::<Result<_>>()?,
        orders_per_second_max: 1_000_000,
        orders_pending_max: 100_000,
        orders_remembered_max: 100_000,
        kill: KillState::Armed,
        started_at: NOW,
    })
}

fn status(symbol: Symbol, strategies: u64) -> Result<ExecutionStatus> {
    // As many rows as fit a frame; the others hold nothing.
    let rows = (0..strategies.min(100)).map(|number| {
        Ok(StrategyExposure {
            strategy: strategy(number)?,
            symbol,
            position: Exposure::FLAT,
            open_buy: None,
            open_sell: None,
            orders_open: 0,
            highest_buy: None,
            lowest_sell: None,
        })
    });
    Ok(ExecutionStatus {
        loss_max: "100".parse()?,
        exposures: rows.collect::<Result<_>>()?,
        ..portcullis_testkit::accounts::status()
    })
}

/// The median of a walk through every level of a book, in microseconds.
fn walk() -> Result<f64> {
    let symbol = Symbol::new("XRPUSDT")?;
    let book = Book::new(symbol, side(4_999, -1)?, side(5_001, 1)?, 1, NOW)?;
    let quantity: Quantity = "1990.5".parse()?;
    let limit: Price = "0.6".parse()?;
    let mut times = Vec::new();
    for _ in 0..JUDGEMENTS {
        let begun = Instant::now();
        let walk = std::hint::black_box(&book).walk(Side::Buy, quantity, limit)?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        ensure!(walk.filled == Some(quantity), "the book is deep enough");
    }
    Ok(percentile(&mut times, 50))
}
