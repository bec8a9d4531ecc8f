//! Equity, drawdown and the strategies' losses: what the status says, and what a restart keeps of it.
use crate::bench::{Bench, fill, settings, xrp};
use execution_core::{Execution, Input, Record, Requests};
use portcullis_domain::{KillState, OrderId, Side, Span, StrategyId, Usd};
use portcullis_testkit::seals::{NOW, order};
use portcullis_wire::messages::{ExecutionStatus, Tally};

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

/// A second later, everything is on record.
fn recorded(bench: &mut Bench) -> ExecutionStatus {
    bench.later(Span::from_secs(1));
    bench.beat();
    bench.step(Input::Tick);
    bench.status()
}

/// Equity, drawdown, and the loss of each strategy.
fn money(status: &ExecutionStatus) -> (Option<Usd>, Usd, Vec<Usd>) {
    let losses = status.losses.iter().map(|row| row.loss).collect();
    (status.equity, status.drawdown, losses)
}

/// The same journal in a new process.
fn restarted(bench: Bench) -> Bench {
    let mut execution = Execution::new(settings(), KillState::Armed, bench.now);
    for record in &bench.journal {
        execution.replay(record).unwrap();
    }
    Bench { execution, ..bench }
}

#[test]
fn the_days_peak_and_the_strategies_losses_survive_a_restart() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::VenueFill(fill(1, "e1", "10", "0.5")));
    assert_eq!(recorded(&mut bench).equity, Some(usd("0")));
    bench.quote("0.69", "0.71");
    bench.step(Input::VenueFill(fill(1, "e2", "0.000001", "0.7")));
    let peak = recorded(&mut bench);
    assert_eq!(peak.drawdown, usd("0"));
    bench.quote("0.39", "0.41");
    let fallen = recorded(&mut bench);
    let (equity, drawdown, losses) = money(&fallen);
    assert!(equity.unwrap() < usd("-0.99"), "{equity:?}");
    assert!(drawdown > usd("2.99"), "{drawdown}");
    assert_eq!(losses, [equity.unwrap().negated()], "the day began at 0");

    let mut bench = restarted(bench);
    assert_eq!(
        money(&bench.status()),
        (None, drawdown, losses.clone()),
        "without a book by the record"
    );
    bench.quote("0.39", "0.41");
    let again = bench.status();
    // The last price is that of the last fill now, not of a trade: the mid is the worse one.
    assert_eq!(money(&again), (equity, drawdown, losses));
}

#[test]
fn a_restart_between_two_prices_puts_no_stale_equity_on_record() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::VenueFill(fill(1, "e1", "10", "0.5")));
    bench.quote("0.29", "0.31");
    recorded(&mut bench);
    let mut bench = restarted(bench);
    let before = bench.journal.len();
    let status = recorded(&mut bench);
    assert_eq!(status.equity, None);
    assert_eq!(status.drawdown, usd("2"), "as on record");
    assert!(
        !bench.journal[before..]
            .iter()
            .any(|record| matches!(record, Record::Equity { .. })),
        "the fill at 0.5 would be a peak of 0"
    );
}

#[test]
fn drawdown_and_the_strategies_losses_begin_anew_with_the_day() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::VenueFill(fill(1, "e1", "10", "0.5")));
    bench.quote("0.39", "0.41");
    let status = recorded(&mut bench);
    assert_eq!(money(&status), (Some(usd("-1")), usd("1"), vec![usd("1")]));
    bench.later(Span::from_secs(86_400));
    bench.beat();
    bench.step(Input::Tick);
    let status = bench.status();
    // Who neither lost nor won is not named.
    assert_eq!(money(&status), (Some(usd("-1")), usd("0"), vec![]));
}

#[test]
fn more_strategies_than_a_record_holds_take_several() {
    let mut bench = Bench::ready();
    let count = Record::STRATEGIES_MAX + 2;
    for number in 1..=count {
        let mut order = order(u64::try_from(number).unwrap(), NOW);
        order.strategy = StrategyId::new(&format!("strategy-{number:02}")).unwrap();
        bench.permit(&order);
        bench.finish(&order);
        let fill = fill(
            u64::try_from(number).unwrap(),
            &format!("e{number}"),
            "10",
            "0.6",
        );
        bench.step(Input::VenueFill(fill));
    }
    let before = bench.journal.len();
    let status = recorded(&mut bench);
    assert_eq!(status.losses.len(), count);
    assert!(status.losses.iter().all(|row| row.loss == usd("1")));
    let parts: Vec<usize> = bench.journal[before..]
        .iter()
        .filter_map(|record| match record {
            Record::Equity { strategies, .. } => Some(strategies.len()),
            _ => None,
        })
        .collect();
    assert_eq!(parts, [Record::STRATEGIES_MAX, 2]);
    let losses = status.losses;
    let bench = restarted(bench);
    assert_eq!(bench.status().losses, losses);
}

#[test]
fn a_row_tells_how_many_orders_are_open_and_their_nearest_prices() {
    let mut bench = Bench::ready();
    for (number, side, limit) in [
        (1, Side::Buy, "0.48"),
        (2, Side::Buy, "0.49"),
        (3, Side::Sell, "0.52"),
    ] {
        let mut order = order(number, NOW);
        order.side = side;
        order.limit_price = limit.parse().unwrap();
        bench.permit(&order);
        bench.finish(&order);
    }
    // The fourth leaves at a worst price, and that is the one that counts.
    let mut sell = order(4, NOW);
    sell.side = Side::Sell;
    sell.limit_price = "0.47".parse().unwrap();
    let sealed = bench
        .world
        .permit_at(bench.now, &sell, "0.51".parse().unwrap());
    bench.permitted(&sealed.frame);
    let row = |bench: &Bench| {
        let row = bench.status().exposures.pop().unwrap();
        assert_eq!(row.symbol, xrp());
        (row.orders_open, row.highest_buy, row.lowest_sell)
    };
    let price = |text: &str| Some(text.parse().unwrap());
    assert_eq!(row(&bench), (4, price("0.49"), price("0.51")));
    let second = OrderId(2_u128.to_be_bytes());
    let whole = fill(2, "e1", "10", "0.49");
    assert_eq!(whole.order, second);
    bench.step(Input::VenueFill(whole));
    assert_eq!(row(&bench), (3, price("0.48"), price("0.51")));
    let bench = restarted(bench);
    assert_eq!(row(&bench), (3, price("0.48"), price("0.51")));
}

#[test]
fn the_status_says_how_the_shells_requests_went() {
    let bench = Bench::ready();
    let requests = Requests {
        network: Tally {
            passed: 3,
            failed: 1,
        },
        signer: Tally {
            passed: 2,
            failed: 4,
        },
    };
    let status = bench.execution.status(bench.now, requests).unwrap();
    assert_eq!(
        (status.network, status.signer),
        (requests.network, requests.signer)
    );
}
