//! A strategy that has run away: ten thousand proposals as fast as the bus takes them, sound ones and
//! absurd ones, on the real stack with the breakers that it is shipped with. It loses and holds no more
//! than it may, others are not stopped for it, and the record accounts for each of its proposals.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use audit::verify;
use portcullis_domain::{
    BreakerScope, Exposure, OrderId, OrderStatus, Price, Reason, Rule, Side, StrategyId, Symbol,
    TimeInForce, Usd,
};
use portcullis_runtime::{Client, policy};
use portcullis_wire::messages::{
    Decision, ExecutionReport, ExecutionStatus, Notice, Outcome, PermitTaken, Proposal, RiskPolicy,
    Size, Verdict,
};
use portcullis_wire::principal::{Operator, Strategy};
use portcullis_wire::subjects::{BOOK, EXECUTION_STATUS, PROPOSAL};
use serde_json::Value;
use support::{Stack, wait_for};
use tempfile::TempDir;

const PROPOSALS: u64 = 10_000;
const SYMBOL: &str = "XRPUSDT";
const RUNAWAY: &str = "sample";
/// What brain.toml allows the runaway strategy, in USDT: a position, and an order.
const POSITION_MAX: &str = "5000";
const ORDER_MAX: &str = "1000";
/// An order and a position are limited at the price of their moment, in percent of which the market
/// may move until they are looked at.
const MOVED_MAX: u32 = 2;

/// Proposes without a thought: flipping sides, and among ten proposals two that are far too large, two
/// at prices far from any, one that reduces what is not there, and two that rest.
fn thoughtless(number: u64, bid: Price, ask: Price) -> Proposal {
    let side = if number.is_multiple_of(2) {
        Side::Buy
    } else {
        Side::Sell
    };
    let units = (5 + number % 7).to_string();
    let sound = Proposal {
        symbol: SYMBOL.parse().expect("a symbol"),
        side,
        size: Size::Quantity(units.parse().expect("a quantity")),
        limit_price: None,
        time_in_force: TimeInForce::ImmediateOrCancel,
        reduce_only: false,
    };
    let percent = |price: Price, percent: u32| {
        let bps = portcullis_domain::Bps::new(percent * 100).expect("a share");
        price.raised(bps).expect("a price")
    };
    let large = |text: &str| Size::Notional(text.parse().expect("an amount"));
    let (size, limit_price, time_in_force, reduce_only) = match number % 10 {
        2 => (large("2500000"), None, sound.time_in_force, false),
        5 => (large("1001"), None, sound.time_in_force, false),
        3 => (
            sound.size,
            Some(percent(ask, 400)),
            sound.time_in_force,
            false,
        ),
        4 => (
            sound.size,
            Some("0.0001".parse().expect("a price")),
            TimeInForce::GoodTillCancel,
            false,
        ),
        6 => (large("950"), None, sound.time_in_force, true),
        7 => (large("950"), None, sound.time_in_force, false),
        8 => (sound.size, Some(bid), TimeInForce::GoodTillCancel, false),
        9 => (sound.size, Some(ask), TimeInForce::GoodTillCancel, false),
        _ => (sound.size, None, sound.time_in_force, false),
    };
    Proposal {
        size,
        limit_price,
        time_in_force,
        reduce_only,
        ..sound
    }
}

/// How many proposals go out at once, a hundred times a second.
type AtOnce = u64;

/// Sends all proposals; gives back how long it took.
async fn run_away(identity: &Path, bus: &str, at_once: AtOnce) -> Duration {
    let client = Client::<Strategy>::connect(identity, bus)
        .await
        .expect("join the bus");
    let mut books = client
        .listen(&[(BOOK.row, Some(SYMBOL))], 64)
        .await
        .expect("listen");
    let (ask, bid) = loop {
        let raw = books.recv().await.expect("a book");
        let opened = client.open(&BOOK, &raw);
        if let Some(book) = opened.and_then(|received| received.fresh()) {
            let book = book.message();
            let best = book.best_for(Side::Buy).zip(book.best_for(Side::Sell));
            break best.expect("both sides of the book");
        }
    };
    let begun = Instant::now();
    let mut turns = tokio::time::interval(Duration::from_millis(10));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sent = 0;
    while sent < PROPOSALS {
        let proposal = thoughtless(sent, bid, ask);
        let published = client.publish(&PROPOSAL, Some(RUNAWAY), &proposal, None, None);
        // What the connection cannot take yet was not sent, and is not counted.
        if published.is_ok() {
            sent += 1;
        } else {
            client.flush().await.expect("the bus takes it");
        }
        if sent % at_once == 0 {
            turns.tick().await;
        }
    }
    client.flush().await.expect("the bus takes it");
    let took = begun.elapsed();
    client.close().await;
    took
}

/// Execution's account of itself as an operator hears it, four times a second.
struct Watch {
    thread: JoinHandle<Vec<ExecutionStatus>>,
    done: Arc<AtomicBool>,
}

impl Watch {
    fn start(identity: PathBuf, bus: String) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            let runtime = runtime();
            runtime.block_on(async {
                let client = Client::<Operator>::connect(&identity, &bus);
                let client = client.await.expect("join the bus");
                let subjects = [(EXECUTION_STATUS.row, None)];
                let mut inbox = client.listen(&subjects, 64).await.expect("listen");
                let mut heard = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let wait = tokio::time::timeout(Duration::from_secs(5), inbox.recv());
                    let raw = wait.await.expect("execution speaks").expect("a message");
                    let opened = client.open(&EXECUTION_STATUS, &raw);
                    if let Some(status) = opened.and_then(|received| received.fresh()) {
                        heard.push(status.message().clone());
                    }
                }
                heard
            })
        });
        Self { thread, done }
    }

    fn finish(self) -> Vec<ExecutionStatus> {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watch ran through")
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(1).enable_all();
    builder.build().expect("a runtime")
}

/// What audit's log says of the runaway strategy.
#[derive(Default)]
struct Record {
    decisions: BTreeMap<OrderId, Outcome>,
    /// Proposals that brain's notices count instead.
    counted: u64,
    /// What brain refused unread, by its codes: only a part of these is told one by one.
    violations: BTreeMap<String, u64>,
    verdicts: BTreeMap<OrderId, Verdict>,
    taken: BTreeSet<OrderId>,
    reports: BTreeMap<OrderId, ExecutionReport>,
    breakers: Vec<Notice>,
}

impl Record {
    fn read(stack: &Stack) -> Self {
        let mut record = Self::default();
        for entry in verify::entries(&stack.audit_log()).unwrap() {
            let entry = entry.unwrap();
            let content = &entry.content;
            match entry.subject.as_str() {
                "evt.brain.decision.sample" => {
                    let (_, decision) = verify::read_unsealed::<Decision>(content).unwrap();
                    let before = record.decisions.insert(decision.order, decision.outcome);
                    assert_eq!(before, None, "a proposal is decided once");
                }
                "evt.risk-guard.verdict.sample" => {
                    let (_, verdict) = verify::read_unsealed::<Verdict>(content).unwrap();
                    let before = record.verdicts.insert(verdict.order, verdict);
                    assert_eq!(before, None, "an order is judged once");
                }
                "evt.execution.permit" => {
                    let (_, taken) = verify::read_unsealed::<PermitTaken>(content).unwrap();
                    let is_new = record.taken.insert(taken.order);
                    assert!(is_new, "a permit is taken once");
                }
                "evt.execution.report.sample" => {
                    let (_, report) = verify::read_unsealed::<ExecutionReport>(content).unwrap();
                    record.reports.insert(report.order, report);
                }
                "evt.brain.notice" => {
                    record.notice(verify::read_unsealed(content).unwrap().1);
                }
                "evt.risk-guard.notice" => {
                    let (_, notice) = verify::read_unsealed::<Notice>(content).unwrap();
                    if matches!(notice, Notice::Breaker { .. }) {
                        record.breakers.push(notice);
                    }
                }
                _ => {}
            }
        }
        record
    }

    /// Brain counts what it does not answer one by one, and what its queue had no room for.
    fn notice(&mut self, notice: Notice) {
        let number = |text: &str| text.split(' ').next()?.parse::<u64>().ok();
        match notice {
            Notice::Refused {
                reason: Reason::RateLimit,
                detail,
            } if detail.as_str().contains(" more proposals of sample ") => {
                self.counted += number(detail.as_str()).expect("a number");
            }
            Notice::Warning { detail }
                if detail
                    .as_str()
                    .contains(" lost on cmd.brain.propose.sample") =>
            {
                self.counted += number(detail.as_str()).expect("a number");
            }
            Notice::Violation { code, .. } => {
                *self.violations.entry(code.as_str().to_owned()).or_default() += 1;
            }
            _ => {}
        }
    }

    fn proposals(&self) -> u64 {
        self.counted + u64::try_from(self.decisions.len()).unwrap()
    }

    /// The orders that brain made of proposals.
    fn ordered(&self) -> BTreeSet<OrderId> {
        let passed = self.decisions.iter();
        let passed = passed.filter(|(_, outcome)| **outcome == Outcome::Passed);
        passed.map(|(id, _)| *id).collect()
    }

    fn permitted(&self) -> BTreeSet<OrderId> {
        let passed = self.verdicts.values();
        let passed = passed.filter(|verdict| verdict.outcome == Outcome::Passed);
        passed.map(|verdict| verdict.order).collect()
    }

    /// Whether everything that began is over, but for what rests.
    fn is_settled(&self, sent: u64) -> bool {
        let rests = |report: &ExecutionReport| report.status == OrderStatus::Open;
        self.proposals() == sent
            && self
                .ordered()
                .iter()
                .all(|id| self.verdicts.contains_key(id))
            && self.permitted().iter().all(|id| {
                let report = self.reports.get(id);
                report.is_some_and(|report| report.status.is_terminal() || rests(report))
            })
    }
}

fn refusals<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> BTreeMap<&'static str, u64> {
    let mut refusals = BTreeMap::new();
    for outcome in outcomes {
        if let Outcome::Refused(reason) = outcome {
            *refusals.entry(reason.code()).or_default() += 1;
        }
    }
    refusals
}

/// The rules that refuse for a reason that sound settings and a running stack leave possible.
fn rules_of(reason: Reason) -> &'static [Rule] {
    match reason {
        Reason::RateLimit => &[Rule::MessageRate, Rule::OrderRate, Rule::StrategyOrderRate],
        Reason::CancelRate => &[Rule::CancelRate],
        Reason::DuplicateOrder => &[Rule::DuplicateOrder],
        Reason::StrategySuspended => &[Rule::Suspension, Rule::RepeatedExecution],
        Reason::PriceCollar => &[Rule::PriceCollar, Rule::LastPriceCollar],
        Reason::NoRecentTrades => &[Rule::LastPriceCollar, Rule::FatFinger],
        Reason::FatFinger => &[Rule::FatFinger],
        Reason::OrderTooSmall => &[Rule::OrderNotionalMin, Rule::VenueFilters],
        Reason::StaleMarketData => &[Rule::BookAge],
        Reason::PositionUnknown => &[Rule::PositionKnown],
        Reason::TooManyOrders => &[
            Rule::OpenOrders,
            Rule::StrategyOpenOrders,
            Rule::InstrumentOpenOrders,
        ],
        Reason::SelfTrade => &[Rule::SelfTrade],
        Reason::NotReducing => &[Rule::ReduceOnly],
        Reason::PositionNotional => &[Rule::PositionNotional, Rule::StrategyPosition],
        Reason::Expired => &[Rule::OrderLifetime],
        Reason::StrategyLoss => &[Rule::StrategyLoss],
        Reason::CircuitBreakerActive => &[Rule::Breakers],
        Reason::InsufficientLiquidity => &[Rule::Liquidity],
        Reason::HighVolatility | Reason::VolatilityUnknown => &[Rule::Volatility],
        Reason::ExceededLimit => &[Rule::Slippage],
        Reason::KillSwitch => &[Rule::KillSwitch],
        other => panic!("{other} is no reason that was expected"),
    }
}

/// Every verdict ends with the rule that refused the order, or has met all of them.
fn verdicts_say_why(record: &Record) {
    for verdict in record.verdicts.values() {
        let last = verdict.checks.last().expect("it met a rule").rule;
        match verdict.outcome {
            Outcome::Passed => assert_eq!(last, Rule::Slippage, "{verdict:?}"),
            Outcome::Refused(reason) => {
                assert!(rules_of(reason).contains(&last), "{reason} by {last}");
            }
        }
        let rules: Vec<Rule> = verdict.checks.iter().map(|check| check.rule).collect();
        let once: BTreeSet<Rule> = rules.iter().copied().collect();
        assert_eq!(once.len(), rules.len(), "no rule is met twice: {rules:?}");
    }
}

fn with_room(limit: &str) -> Usd {
    let limit: Usd = limit.parse().unwrap();
    limit.percent(100 + MOVED_MAX).unwrap()
}

/// The most that the strategy could have held, by execution's accounts, and the most that it lost.
fn held_and_lost(policy: &RiskPolicy, heard: &[ExecutionStatus]) -> (Usd, Usd) {
    let runaway: StrategyId = RUNAWAY.parse().unwrap();
    let symbol: Symbol = SYMBOL.parse().unwrap();
    let (mut held_max, mut lost_max) = (Usd::ZERO, Usd::ZERO);
    for status in heard {
        let mut positions = status.positions.iter();
        let position = positions.find(|position| position.symbol == symbol);
        let rows = status.exposures.iter();
        let rows = rows.filter(|row| (row.strategy, row.symbol) == (runaway, symbol));
        if let Some(mark) = position.and_then(|position| position.mark) {
            for row in rows {
                let up = row
                    .open_buy
                    .map_or(Ok(row.position), |open| row.position.bought(open));
                let down = row
                    .open_sell
                    .map_or(Ok(row.position), |open| row.position.sold(open));
                for worst in [up.unwrap(), down.unwrap()] {
                    held_max = held_max.max(mark.value(worst).unwrap().abs());
                }
            }
        }
        let own = status.losses.iter().find(|loss| loss.strategy == runaway);
        let own = own.map_or(Usd::ZERO, |own| own.loss);
        assert!(own <= policy.strategy.daily_loss_max, "it lost {own}");
        assert!(status.loss <= policy.daily_loss_max, "{}", status.loss);
        lost_max = lost_max.max(own);
    }
    assert!(held_max <= with_room(POSITION_MAX), "it held {held_max}");
    (held_max, lost_max)
}

/// The exchange's own account: no order and no position was ever larger than the budget, and what was
/// lost, with all fees and the rest at its last price, is within the limit. Gives back the fills and the
/// loss.
fn at_the_exchange(stack: &Stack, policy: &RiskPolicy, own: &BTreeSet<OrderId>) -> (usize, Usd) {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let orders = stack.exchange("/admin/orders");
    for order in orders["orders"].as_array().unwrap() {
        let id = OrderId::from_hex(&text(order, "orderLinkId")).unwrap();
        assert!(own.contains(&id), "an order that nobody permitted: {order}");
        let price: Price = text(order, "price").parse().unwrap();
        let worth = price.notional(text(order, "qty").parse().unwrap()).unwrap();
        assert!(worth <= with_room(ORDER_MAX), "{order}");
    }
    let executions = stack.exchange("/admin/executions");
    let executions = executions["executions"].as_array().unwrap();
    let (mut position, mut cash) = (Exposure::FLAT, Usd::ZERO);
    let mut last = None;
    for fill in executions {
        let price: Price = text(fill, "price").parse().unwrap();
        let quantity = text(fill, "qty").parse().unwrap();
        let worth = price.notional(quantity).unwrap();
        let fee: Usd = text(fill, "fee").parse().unwrap();
        cash = cash.minus(fee).unwrap();
        if text(fill, "side") == "Buy" {
            position = position.bought(quantity).unwrap();
            cash = cash.minus(worth).unwrap();
        } else {
            position = position.sold(quantity).unwrap();
            cash = cash.plus(worth).unwrap();
        }
        let held = price.value(position).unwrap();
        let most = with_room(POSITION_MAX);
        assert!(held.abs() <= most, "a position worth {held}");
        last = Some(price);
    }
    let rest = last.map_or(Usd::ZERO, |price| price.value(position).unwrap());
    let loss = Usd::ZERO.minus(cash.plus(rest).unwrap()).unwrap();
    assert!(loss <= policy.strategy.daily_loss_max, "it lost {loss}");
    (executions.len(), loss)
}

/// Another strategy is not stopped for it: an order that takes from the book meets at most one that the
/// runaway left there, and an order that rests below the market meets none.
fn the_trader_goes_on(stack: &Stack, mark: Price) {
    let takes = ["order", "buy", SYMBOL, "--quantity", "20"];
    let (exit, order) = stack.portcullis(&takes);
    eprintln!("the trader's order that takes: {order}");
    let reason = order["reason"].as_str();
    assert!(
        exit == 0 || reason == Some(Reason::SelfTrade.code()),
        "{order}"
    );

    let below = portcullis_domain::Bps::new(150).unwrap();
    let price = mark.lowered(below).unwrap().to_string();
    let (whole, fraction) = price.split_once('.').unwrap_or((&price, ""));
    let price = format!("{whole}.{:.4}", format!("{fraction:0<4}"));
    let mut rests = takes.to_vec();
    rests.extend(["--tif", "gtc", "--price", &price]);
    let (exit, order) = stack.portcullis(&rests);
    let standing = order["standing"].as_str();
    assert_eq!((exit, standing), (0, Some("resting")), "{order}");
}

fn runs_away(settings: &[(&str, &str, &str)], arguments: &[&str], at_once: AtOnce, what: &str) {
    let folder = TempDir::new().unwrap();
    let config = support::settings(folder.path(), settings);
    let (policy, _) = policy::load(&config.join("risk-policy.toml")).unwrap();
    let mut stack = Stack::start(&config, arguments);
    let identities = stack.folder().join("identity");
    let watch = Watch::start(identities.join("operator-dev"), stack.bus());

    let identity = identities.join("strategy-sample");
    let took = runtime().block_on(run_away(&identity, &stack.bus(), at_once));
    let record = wait_for(
        "every proposal is on record, and every order is over or rests",
        Duration::from_secs(60),
        || {
            let record = Record::read(&stack);
            record.is_settled(PROPOSALS).then_some(record)
        },
    );
    let heard = watch.finish();
    let (held, lost) = held_and_lost(&policy, &heard);
    let permitted = record.permitted();
    let (fills, loss) = at_the_exchange(&stack, &policy, &permitted);
    eprintln!(
        "{what}: {PROPOSALS} proposals in {took:?}: {} decided, {} counted; refused by brain {:?}; \
         {} orders judged, refused by risk-guard {:?}; {} permitted, {} taken, {fills} fills at the \
         exchange; at most {held} USD held or open and {lost} lost by execution's accounts, {loss} lost \
         by the exchange's",
        record.decisions.len(),
        record.counted,
        refusals(record.decisions.values()),
        record.verdicts.len(),
        refusals(record.verdicts.values().map(|verdict| &verdict.outcome)),
        permitted.len(),
        record.taken.len(),
    );
    eprintln!("breakers: {:#?}", record.breakers);
    assert_eq!(record.violations, BTreeMap::new(), "everything was read");
    assert_eq!(
        record.verdicts.keys().copied().collect::<BTreeSet<_>>(),
        record.ordered(),
        "what brain ordered was judged, and nothing else"
    );
    assert_eq!(record.taken, permitted, "what was permitted was taken");
    assert!(fills > 0, "something was traded");
    verdicts_say_why(&record);

    let runaway: StrategyId = RUNAWAY.parse().unwrap();
    for notice in &record.breakers {
        if let Notice::Breaker { breaker, .. } = notice
            && let BreakerScope::Strategy(_, id) = breaker.scope()
        {
            assert_eq!(id, runaway, "{notice:?}");
        }
    }
    let last = heard.last().and_then(|status| status.positions.first());
    let mark = last.and_then(|position| position.mark);
    the_trader_goes_on(&stack, mark.expect("a price of what is held"));
    stack.stop();
    verify::verify(&stack.audit_log(), &verify::Options::default()).unwrap();
}

#[test]
fn a_runaway_strategy_is_held_to_its_budget_and_to_its_rate() {
    runs_away(&[], &[], PROPOSALS, "as shipped, all at once");
}

/// For five seconds, with ten times the rate at brain, so that risk-guard has most of the work, and with
/// a venue that takes it.
#[test]
fn what_brain_lets_through_of_a_runaway_strategy_risk_guard_stops() {
    let name = "proposals_per_second_max = ";
    let (from, to) = (format!("{name}50"), format!("{name}500"));
    let arguments = [
        "--exchange-argument=--order-rate-per-second=1000",
        "--exchange-argument=--query-rate-per-second=1000",
        "--exchange-argument=--address-rate-per-5s=100000",
    ];
    runs_away(
        &[("brain.toml", &from, &to)],
        &arguments,
        20,
        "for five seconds, with ten times the rate at brain",
    );
}
