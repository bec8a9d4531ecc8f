use alloc::vec;

use portcullis_domain::{
    Hash, Level, OrderId, RiskProfile, TimeInForce, Venue, VenueExecutionId, VenueOrderId,
};

use super::*;

fn xrp() -> Symbol {
    Symbol::new("XRPUSDT").unwrap()
}

fn alice() -> StrategyId {
    StrategyId::new("alice").unwrap()
}

fn fill(side: Side, quantity: &str, price: &str, fee: &str) -> Fill {
    Fill {
        execution: VenueExecutionId::new("e").unwrap(),
        order: OrderId([1; 16]),
        venue_order: VenueOrderId::new("v").unwrap(),
        symbol: xrp(),
        side,
        price: price.parse().unwrap(),
        quantity: quantity.parse().unwrap(),
        fee: fee.parse().unwrap(),
        venue_time: Timestamp(0),
    }
}

fn book(bid: &str, ask: &str) -> Book {
    let level = |price: &str| Level {
        price: price.parse().unwrap(),
        quantity: "1".parse().unwrap(),
    };
    Book::new(xrp(), vec![level(bid)], vec![level(ask)], 1, Timestamp(0)).unwrap()
}

#[test]
fn loss_is_the_fall_of_equity_with_fees() {
    let mut ledger = Ledger::default();
    ledger.begin_day(1, Usd::ZERO, Hash([0; 32]));
    ledger
        .book(alice(), &fill(Side::Buy, "10", "100", "1"))
        .unwrap();
    ledger.quote(&book("89", "91"), Timestamp(1));
    // Bought at 100, marked at the mid of 90 (the last price is 100): lost 100 and 1 of fees.
    assert_eq!(ledger.loss().unwrap(), "101".parse().unwrap());
    ledger.last(xrp(), "80".parse().unwrap());
    assert_eq!(
        ledger.loss().unwrap(),
        "201".parse().unwrap(),
        "the worse of mid and last"
    );
    ledger
        .book(alice(), &fill(Side::Sell, "10", "95", "1"))
        .unwrap();
    assert_eq!(
        ledger.loss().unwrap(),
        "52".parse().unwrap(),
        "flat: only cash counts"
    );
}

#[test]
fn a_short_is_marked_against_itself() {
    let mut ledger = Ledger::default();
    ledger
        .book(alice(), &fill(Side::Sell, "10", "100", "0"))
        .unwrap();
    ledger.quote(&book("109", "111"), Timestamp(1));
    assert_eq!(ledger.loss().unwrap(), "100".parse().unwrap());
    ledger.last(xrp(), "120".parse().unwrap());
    assert_eq!(ledger.loss().unwrap(), "200".parse().unwrap());
}

#[test]
fn the_average_price_follows_adding_reducing_and_turning() {
    let mut ledger = Ledger::default();
    let average = |ledger: &Ledger| ledger.positions().first().and_then(|p| p.average_price);
    ledger
        .book(alice(), &fill(Side::Buy, "1", "100", "0"))
        .unwrap();
    ledger
        .book(alice(), &fill(Side::Buy, "1", "120", "0"))
        .unwrap();
    assert_eq!(average(&ledger), Some("110".parse().unwrap()));
    ledger
        .book(alice(), &fill(Side::Sell, "1", "130", "0"))
        .unwrap();
    assert_eq!(average(&ledger), Some("110".parse().unwrap()));
    ledger
        .book(alice(), &fill(Side::Sell, "3", "140", "0"))
        .unwrap();
    assert_eq!(
        ledger.positions_held().next(),
        Some((xrp(), "-2".parse().unwrap()))
    );
    assert_eq!(average(&ledger), Some("140".parse().unwrap()));
}

#[test]
fn a_position_without_a_young_price_is_not_priced() {
    let mut ledger = Ledger::default();
    let age_max = Span::from_secs(1);
    assert!(ledger.is_priced(None, Timestamp(0), age_max));
    assert!(!ledger.is_priced(Some(xrp()), Timestamp(0), age_max));
    ledger
        .book(alice(), &fill(Side::Buy, "1", "100", "0"))
        .unwrap();
    assert!(!ledger.is_priced(None, Timestamp(0), age_max));
    ledger.quote(&book("99", "101"), Timestamp(0));
    assert!(ledger.is_priced(Some(xrp()), Timestamp(1_000_000), age_max));
    assert!(!ledger.is_priced(None, Timestamp(1_000_001), age_max));
}

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn order(side: Side, limit_price: &str) -> Order {
    Order {
        id: OrderId([1; 16]),
        strategy: alice(),
        venue: Venue::Bybit,
        symbol: xrp(),
        side,
        quantity: "5".parse().unwrap(),
        limit_price: limit_price.parse().unwrap(),
        time_in_force: TimeInForce::GoodTillCancel,
        reduce_only: false,
        profile: RiskProfile::Moderate,
        policy: Hash([7; 32]),
        created_at: Timestamp(0),
    }
}

/// Orders open, highest buy and lowest sell.
fn open(ledger: &Ledger) -> (u64, Option<Price>, Option<Price>) {
    let row = ledger.exposures().pop().unwrap();
    (row.orders_open, row.highest_buy, row.lowest_sell)
}

#[test]
fn open_quantities_come_back_to_nothing() {
    let mut ledger = Ledger::default();
    let sell = order(Side::Sell, "100");
    ledger.open(&sell).unwrap();
    let exposure = ledger.exposures().pop().unwrap();
    assert_eq!(
        (exposure.open_buy, exposure.open_sell),
        (None, Some(sell.quantity))
    );
    ledger.release(&sell, sell.quantity).unwrap();
    ledger.end(&sell);
    assert_eq!(ledger.exposures().pop().unwrap().open_sell, None);
    assert_eq!(open(&ledger), (0, None, None));
}

#[test]
fn the_nearest_prices_are_those_of_the_orders_that_are_still_open() {
    let price = |text: &str| Some(text.parse::<Price>().unwrap());
    let mut ledger = Ledger::default();
    let orders = [
        order(Side::Buy, "99"),
        order(Side::Buy, "98"),
        // The same price in another spelling.
        order(Side::Buy, "99.0"),
        order(Side::Sell, "101"),
        order(Side::Sell, "102"),
    ];
    for order in &orders {
        ledger.open(order).unwrap();
    }
    let [first, second, same, near, far] = &orders;
    assert_eq!(open(&ledger), (5, price("99"), price("101")));
    ledger.end(first);
    ledger.end(near);
    assert_eq!(
        open(&ledger),
        (3, price("99"), price("102")),
        "one more buys at 99"
    );
    ledger.end(same);
    assert_eq!(open(&ledger), (2, price("98"), price("102")));
    ledger.end(second);
    ledger.end(far);
    assert_eq!(open(&ledger), (0, None, None));
}

fn losses(ledger: &Ledger) -> Vec<(StrategyId, Usd)> {
    let losses = ledger.losses().unwrap().into_iter();
    losses.map(|row| (row.strategy, row.loss)).collect()
}

#[test]
fn each_strategy_is_marked_against_itself_and_pays_its_own_fees() {
    let bob = StrategyId::new("bob").unwrap();
    let mut ledger = Ledger::default();
    ledger.begin_day(1, Usd::ZERO, Hash([0; 32]));
    ledger
        .book(alice(), &fill(Side::Buy, "10", "100", "1"))
        .unwrap();
    ledger
        .book(bob, &fill(Side::Sell, "10", "100", "2"))
        .unwrap();
    ledger.quote(&book("99", "101"), Timestamp(1));
    ledger.last(xrp(), "90".parse().unwrap());
    // The one is long and marked at the last price of 90, the other is short and marked at 100.
    assert_eq!(losses(&ledger), [(alice(), usd("101")), (bob, usd("2"))]);
    assert_eq!(ledger.loss().unwrap(), usd("3"), "together they are flat");
    ledger
        .book(alice(), &fill(Side::Sell, "10", "95", "1"))
        .unwrap();
    assert_eq!(
        losses(&ledger),
        [(alice(), usd("52")), (bob, usd("2"))],
        "realised, whatever the price does"
    );
}

/// Alice buys 10 at 100; nothing is quoted yet.
fn bought() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.begin_day(1, Usd::ZERO, Hash([0; 32]));
    ledger
        .book(alice(), &fill(Side::Buy, "10", "100", "0"))
        .unwrap();
    ledger
}

fn record(ledger: &mut Ledger) {
    let (equity, changed) = (ledger.equity().unwrap(), ledger.equities_changed());
    ledger.record_equity(equity, &changed);
}

#[test]
fn a_day_measures_each_strategy_from_its_last_recorded_equity() {
    let mut ledger = bought();
    ledger.quote(&book("89", "91"), Timestamp(1));
    record(&mut ledger);
    assert_eq!(ledger.equities_changed(), [], "all of it is on record");
    ledger.last(xrp(), "80".parse().unwrap());
    ledger.begin_day(2, ledger.next_baseline(), Hash([0; 32]));
    assert_eq!(
        losses(&ledger),
        [(alice(), usd("100"))],
        "from the 90 on record to 80, whatever the present is"
    );
    assert_eq!(ledger.loss().unwrap(), usd("100"));
}

#[test]
fn drawdown_is_measured_from_the_highest_record_of_the_day() {
    let mut ledger = bought();
    let at = |price: &str, ledger: &mut Ledger| {
        ledger.last(xrp(), price.parse().unwrap());
        record(ledger);
        ledger.drawdown().unwrap()
    };
    ledger.quote(&book("200", "202"), Timestamp(1));
    assert_eq!(at("90", &mut ledger), usd("100"), "the day began at 0");
    assert_eq!(at("130", &mut ledger), usd("0"), "a new peak: 300");
    assert_eq!(at("110", &mut ledger), usd("200"));
    assert_eq!(at("140", &mut ledger), usd("0"), "never negative");
    ledger.last(xrp(), "120".parse().unwrap());
    assert_eq!(
        ledger.drawdown().unwrap(),
        usd("200"),
        "from the peak to the present, on record or not"
    );
    ledger.begin_day(2, ledger.next_baseline(), Hash([0; 32]));
    assert_eq!(
        ledger.drawdown().unwrap(),
        usd("200"),
        "a new day begins at the last record"
    );
    record(&mut ledger);
    ledger.begin_day(3, ledger.next_baseline(), Hash([0; 32]));
    assert_eq!(ledger.drawdown().unwrap(), usd("0"));
}

#[test]
fn without_a_book_the_record_stands_in_and_the_price_of_a_fill_does_not() {
    let mut ledger = bought();
    ledger.record_equity(usd("300"), &[(alice(), usd("300"))]);
    // As after a restart: only the fill at 100 says anything about the price.
    assert_eq!(ledger.equity(), None);
    assert_eq!(ledger.drawdown().unwrap(), usd("0"));
    assert_eq!(losses(&ledger), [(alice(), usd("-300"))]);
    assert_eq!(ledger.equities_changed(), [], "nothing to put on record");
    ledger.quote(&book("109", "111"), Timestamp(1));
    ledger.last(xrp(), "110".parse().unwrap());
    assert_eq!(ledger.equity(), Some(usd("100")));
    assert_eq!(ledger.drawdown().unwrap(), usd("200"));
}
