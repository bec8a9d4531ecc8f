extern crate std;
use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::{Hash, RiskProfile, TimeInForce, Venue};

const LIFETIME: Span = Span::from_secs(2);

fn symbol() -> Symbol {
    Symbol::new("XRPUSDT").unwrap()
}

fn strategy() -> StrategyId {
    StrategyId::new("sample").unwrap()
}

fn id(number: u8) -> OrderId {
    OrderId([number; 16])
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn exposure(text: &str) -> Exposure {
    text.parse().unwrap()
}

fn row(position: &str, open_buy: Option<&str>, open_sell: Option<&str>) -> ExposureRow {
    ExposureRow {
        strategy: strategy(),
        symbol: symbol(),
        position: exposure(position),
        open_buy: open_buy.map(quantity),
        open_sell: open_sell.map(quantity),
        orders_open: [open_buy, open_sell].iter().flatten().count() as u64,
        highest_buy: None,
        lowest_sell: None,
    }
}

fn order_of(
    id: OrderId,
    strategy: StrategyId,
    symbol: Symbol,
    side: Side,
    quantity: Quantity,
) -> Order {
    Order {
        id,
        strategy,
        venue: Venue::Bybit,
        symbol,
        side,
        quantity,
        limit_price: "2".parse().unwrap(),
        time_in_force: TimeInForce::GoodTillCancel,
        reduce_only: false,
        profile: RiskProfile::Moderate,
        policy: Hash([0; 32]),
        created_at: START,
    }
}

#[test]
fn our_own_best_price_is_told_until_the_order_is_over() {
    let price = |text: &str| Some(text.parse::<Price>().unwrap());
    let mut exposures = Exposures::new(8);
    let quoted = ExposureRow {
        highest_buy: price("1.5"),
        lowest_sell: price("2.5"),
        ..row("0", Some("1"), Some("1"))
    };
    exposures.snapshot([quoted], START).unwrap();
    let best = |exposures: &Exposures, side| exposures.own_best_for(symbol(), side);
    assert_eq!(best(&exposures, Side::Buy), price("2.5"));
    assert_eq!(best(&exposures, Side::Sell), price("1.5"));
    reserve(&mut exposures, 1, Side::Sell, "1", START);
    reserve(&mut exposures, 2, Side::Buy, "1", START);
    assert_eq!(best(&exposures, Side::Buy), price("2"));
    assert_eq!(best(&exposures, Side::Sell), price("2"));
    exposures.ended(id(1));
    exposures.ended(id(1));
    assert_eq!(best(&exposures, Side::Buy), price("2.5"));
    exposures.release(id(2)).unwrap();
    assert_eq!(best(&exposures, Side::Sell), price("1.5"));
    let other = Symbol::new("BTCUSDT").unwrap();
    assert_eq!(exposures.own_best_for(other, Side::Buy), None);
    // A snapshot keeps what it is not certain to include, unless that is over.
    reserve(&mut exposures, 3, Side::Sell, "1", START);
    reserve(&mut exposures, 4, Side::Buy, "1", START);
    exposures.ended(id(4));
    exposures
        .snapshot([row("0", None, None)], after(1))
        .unwrap();
    assert_eq!(best(&exposures, Side::Buy), price("2"));
    assert_eq!(best(&exposures, Side::Sell), None);
}

#[test]
fn orders_are_counted_by_instrument_and_by_strategy() {
    let mut exposures = Exposures::new(8);
    let more = ExposureRow {
        symbol: Symbol::new("BTCUSDT").unwrap(),
        orders_open: 5,
        ..row("0", Some("1"), None)
    };
    exposures
        .snapshot([row("0", Some("1"), Some("1")), more], START)
        .unwrap();
    reserve(&mut exposures, 1, Side::Buy, "1", START);
    assert_eq!(exposures.orders_of_symbol(symbol()), 3);
    assert_eq!(exposures.orders_of_strategy(strategy()), 8);
    assert_eq!(exposures.orders_of_strategy("x".parse().unwrap()), 0);
    exposures.release(id(1)).unwrap();
    assert_eq!(exposures.orders_of_symbol(symbol()), 2);
    assert_eq!(exposures.orders_of_strategy(strategy()), 7);
}

fn reserve(exposures: &mut Exposures, number: u8, side: Side, size: &str, at: Timestamp) {
    exposures
        .reserve(
            &order_of(id(number), strategy(), symbol(), side, quantity(size)),
            at.plus(LIFETIME),
        )
        .unwrap();
}

fn worst(exposures: &Exposures) -> (Exposure, Exposure) {
    let worst = exposures.of_symbol(symbol()).unwrap();
    assert_eq!(exposures.of_strategy(strategy(), symbol()), Ok(worst));
    (worst.long_most, worst.short_most)
}

const START: Timestamp = Timestamp(1_000_000_000);

fn after(millis: u64) -> Timestamp {
    START.plus(Span::from_millis(millis))
}

#[test]
fn the_worst_case_adds_up_positions_open_orders_and_reservations() {
    let mut exposures = Exposures::new(8);
    exposures
        .snapshot([row("5", Some("3"), Some("20"))], START)
        .unwrap();
    reserve(&mut exposures, 1, Side::Buy, "2", START);
    reserve(&mut exposures, 2, Side::Sell, "1", START);
    assert_eq!(worst(&exposures), (exposure("10"), exposure("-16")));
    assert_eq!(
        exposures.of_symbol(Symbol::new("BTCUSDT").unwrap()),
        Ok(Worst::FLAT)
    );
}

#[test]
fn strategies_are_counted_apart_and_an_instrument_as_their_sum() {
    let other = StrategyId::new("other").unwrap();
    let mut exposures = Exposures::new(8);
    let rows = [
        row("5", None, None),
        ExposureRow {
            strategy: other,
            ..row("-7", None, None)
        },
    ];
    exposures.snapshot(rows, START).unwrap();
    exposures
        .reserve(
            &order_of(id(1), other, symbol(), Side::Buy, quantity("1")),
            after(2_000),
        )
        .unwrap();
    let long_most = |worst: Result<Worst, _>| worst.unwrap().long_most;
    assert_eq!(
        long_most(exposures.of_strategy(strategy(), symbol())),
        exposure("5")
    );
    assert_eq!(
        long_most(exposures.of_strategy(other, symbol())),
        exposure("-6")
    );
    assert_eq!(long_most(exposures.of_symbol(symbol())), exposure("-1"));
}

#[test]
fn a_reservation_survives_a_snapshot_that_may_lack_the_order() {
    let mut exposures = Exposures::new(8);
    reserve(&mut exposures, 1, Side::Buy, "2", START);
    for millis in [0, 250, 2_999, 3_000] {
        exposures.snapshot([], after(millis)).unwrap();
        assert_eq!(worst(&exposures).0, exposure("2"), "{millis} ms");
    }
    exposures.snapshot([], after(3_001)).unwrap();
    assert_eq!(worst(&exposures).0, Exposure::FLAT);
    assert_eq!(exposures.reservations(), 0);
}

#[test]
fn a_report_lets_the_next_later_snapshot_take_over() {
    let mut exposures = Exposures::new(8);
    reserve(&mut exposures, 1, Side::Buy, "2", START);
    exposures.reported(id(1), after(100));
    assert_eq!(
        worst(&exposures).0,
        exposure("2"),
        "the report alone changes nothing"
    );
    exposures.snapshot([], after(90)).unwrap();
    assert_eq!(
        worst(&exposures).0,
        exposure("2"),
        "issued before the report"
    );
    exposures.snapshot([], after(100)).unwrap();
    assert_eq!(
        worst(&exposures).0,
        exposure("2"),
        "perhaps issued before the report"
    );
    exposures
        .snapshot([row("0", Some("2"), None)], after(101))
        .unwrap();
    assert_eq!(
        worst(&exposures).0,
        exposure("2"),
        "counted once, by the snapshot"
    );
    assert_eq!(exposures.reservations(), 0);
}

#[test]
fn the_first_report_of_an_order_counts() {
    let mut exposures = Exposures::new(8);
    reserve(&mut exposures, 1, Side::Buy, "2", START);
    exposures.reported(id(1), after(100));
    exposures.reported(id(1), after(500));
    exposures.snapshot([], after(200)).unwrap();
    assert_eq!(exposures.reservations(), 0);
}

#[test]
fn a_released_order_counts_no_more_and_only_once() {
    let mut exposures = Exposures::new(8);
    reserve(&mut exposures, 1, Side::Sell, "2", START);
    reserve(&mut exposures, 2, Side::Sell, "3", START);
    exposures.release(id(1)).unwrap();
    exposures.release(id(1)).unwrap();
    assert_eq!(worst(&exposures).1, exposure("-3"));
}

#[test]
fn refuses_one_reservation_too_many_and_a_second_one_for_an_order() {
    let mut exposures = Exposures::new(1);
    let mut again = |number: u8, size: &str| {
        let until = after(2_000);
        exposures.reserve(
            &order_of(id(number), strategy(), symbol(), Side::Buy, quantity(size)),
            until,
        )
    };
    assert_eq!(again(1, "2"), Ok(()));
    assert_eq!(again(1, "2"), Err(ReserveError::Twice));
    assert_eq!(again(2, "2"), Err(ReserveError::TooMany));
    assert_eq!(worst(&exposures).0, exposure("2"));
}

#[test]
fn sums_beyond_the_range_are_refused_and_change_nothing() {
    let most = "1000000000000000";
    let mut exposures = Exposures::new(8);
    exposures.snapshot([row(most, None, None)], START).unwrap();
    let refused = exposures.reserve(
        &order_of(id(1), strategy(), symbol(), Side::Buy, quantity("1")),
        after(2_000),
    );
    assert_eq!(refused, Err(ReserveError::Overflow));
    let beyond = exposures.snapshot([row(most, Some("1"), None)], after(1));
    assert_eq!(beyond, Err(SnapshotError::Overflow));
    assert_eq!(worst(&exposures), (exposure(most), exposure(most)));
    assert_eq!(
        (exposures.reservations(), exposures.issued_at()),
        (0, Some(START))
    );
}

#[test]
fn a_snapshot_that_is_late_or_says_two_things_is_not_taken_over() {
    let mut exposures = Exposures::new(8);
    exposures
        .snapshot([row("1", None, None)], after(10))
        .unwrap();
    assert_eq!(
        exposures.snapshot([], after(9)),
        Err(SnapshotError::OutOfOrder)
    );
    let twice = [row("2", None, None), row("2", None, None)];
    assert_eq!(
        exposures.snapshot(twice, after(11)),
        Err(SnapshotError::Twice)
    );
    assert_eq!(worst(&exposures).0, exposure("1"));
}

#[test]
fn tells_what_reduces_and_what_a_limit_admits() {
    let price: Price = "2".parse().unwrap();
    let limit: Usd = "100".parse().unwrap();
    // position, open buy, open sell, side, quantity, reduces, admitted
    let cases = [
        ("0", None, None, Side::Buy, "50", false, true),
        ("0", None, None, Side::Buy, "50.1", false, false),
        ("0", None, None, Side::Sell, "50.1", false, false),
        ("40", Some("9"), None, Side::Buy, "1", false, true),
        ("40", Some("9"), None, Side::Buy, "1.1", false, false),
        ("10", None, None, Side::Sell, "10", true, true),
        ("10", None, None, Side::Sell, "10.1", false, true),
        ("10", None, Some("5"), Side::Sell, "5", true, true),
        ("10", None, Some("5"), Side::Sell, "5.1", false, true),
        ("-10", None, None, Side::Buy, "10", true, true),
        ("-10", Some("5"), None, Side::Buy, "5.1", false, true),
        ("10", None, None, Side::Buy, "1", false, true),
        // A price move carried the position beyond its limit.
        ("80", None, None, Side::Sell, "10", true, true),
        ("80", None, None, Side::Sell, "80", true, true),
        ("80", None, None, Side::Sell, "81", false, false),
        ("80", None, None, Side::Buy, "1", false, false),
        ("80", None, Some("80"), Side::Sell, "1", false, false),
        ("-80", None, None, Side::Buy, "10", true, true),
        ("-80", Some("80"), None, Side::Buy, "1", false, false),
    ];
    for (position, open_buy, open_sell, side, size, reduces, admitted) in cases {
        let mut exposures = Exposures::new(8);
        exposures
            .snapshot([row(position, open_buy, open_sell)], START)
            .unwrap();
        let worst = exposures.of_symbol(symbol()).unwrap();
        let case = (position, open_buy, open_sell, side, size);
        assert_eq!(worst.reduces(side, quantity(size)), reduces, "{case:?}");
        assert_eq!(
            worst.admits(side, quantity(size), price, limit),
            Ok(admitted),
            "{case:?}"
        );
    }
}

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        order: u8,
        strategy: u8,
        symbol: u8,
        buy: bool,
        quantity: u32,
    },
    Report {
        order: u8,
    },
    Release {
        order: u8,
    },
    Snapshot {
        rows: Vec<(u8, u8, i32, u32, u32)>,
    },
    Wait {
        millis: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..24_u8, 0..3_u8, 0..2_u8, any::<bool>(), 1..1_000_u32).prop_map(
            |(order, strategy, symbol, buy, quantity)| Step::Reserve {
                order, strategy, symbol, buy, quantity
            }
        ),
        2 => (0..24_u8).prop_map(|order| Step::Report { order }),
        1 => (0..24_u8).prop_map(|order| Step::Release { order }),
        2 => proptest::collection::vec(
            (0..3_u8, 0..2_u8, -500..500_i32, 0..300_u32, 0..300_u32),
            0..4,
        )
        .prop_map(|rows| Step::Snapshot { rows }),
        2 => (0..2_000_u64).prop_map(|millis| Step::Wait { millis }),
    ];
    proptest::collection::vec(step, 1..80)
}

/// The same thing without any running total: every order still reserved, and the last snapshot.
#[derive(Default)]
struct Naive {
    rows: Vec<(u8, u8, i32, u32, u32)>,
    reserved: BTreeMap<u8, Kept>,
}

struct Kept {
    strategy: u8,
    symbol: u8,
    buy: bool,
    quantity: u32,
    expires_at: Timestamp,
    reported_at: Option<Timestamp>,
}

impl Naive {
    fn worst(&self, of: impl Fn(u8, u8) -> bool) -> (i64, i64) {
        let rows = self.rows.iter().filter(|row| of(row.0, row.1));
        let positions = rows.map(|(.., position, buy, sell)| {
            let (buy, sell) = (i64::from(*buy), i64::from(*sell));
            [i64::from(*position), buy, sell]
        });
        let reserved = self
            .reserved
            .values()
            .filter(|kept| of(kept.strategy, kept.symbol));
        let reserved = reserved.map(|kept| match (kept.buy, i64::from(kept.quantity)) {
            (true, quantity) => [0, quantity, 0],
            (false, quantity) => [0, 0, quantity],
        });
        let all: Vec<[i64; 3]> = positions.chain(reserved).collect();
        let sum = |part: usize| all.iter().map(|parts| parts[part]).sum::<i64>();
        let long = [sum(0), sum(1)].iter().sum();
        (long, sum(0).saturating_sub(sum(2)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn running_totals_equal_a_naive_recount(steps in steps()) {
        let symbols = ["A", "B"].map(|name| Symbol::new(name).unwrap());
        let strategies = ["x", "y", "z"].map(|name| StrategyId::new(name).unwrap());
        let size = |units: u32| Quantity::new(Decimal::new(i64::from(units), 1)).ok();
        let mut exposures = Exposures::new(16);
        let mut naive = Naive::default();
        let mut now = START;
        for step in steps {
            now = now.plus(Span(1));
            match step {
                Step::Reserve { order, strategy, symbol, buy, quantity } => {
                    let expected = if naive.reserved.contains_key(&order) {
                        Err(ReserveError::Twice)
                    } else if naive.reserved.len() >= 16 {
                        Err(ReserveError::TooMany)
                    } else {
                        let kept = Kept {
                            strategy,
                            symbol,
                            buy,
                            quantity,
                            expires_at: now.plus(LIFETIME),
                            reported_at: None,
                        };
                        naive.reserved.insert(order, kept);
                        Ok(())
                    };
                    let side = if buy { Side::Buy } else { Side::Sell };
                    let got = exposures.reserve(&order_of(id(order), strategies[usize::from(strategy)], symbols[usize::from(symbol)], side, size(quantity).unwrap()), now.plus(LIFETIME));
                    prop_assert_eq!(got, expected);
                }
                Step::Report { order } => {
                    exposures.reported(id(order), now);
                    if let Some(kept) = naive.reserved.get_mut(&order) {
                        kept.reported_at = kept.reported_at.or(Some(now));
                    }
                }
                Step::Release { order } => {
                    exposures.release(id(order)).unwrap();
                    naive.reserved.remove(&order);
                }
                Step::Snapshot { mut rows } => {
                    rows.sort_unstable();
                    rows.dedup_by_key(|row| (row.0, row.1));
                    let taken = exposures.snapshot(
                        rows.iter().map(|(strategy, symbol, position, buy, sell)| ExposureRow {
                            strategy: strategies[usize::from(*strategy)],
                            symbol: symbols[usize::from(*symbol)],
                            position: Exposure::new(Decimal::new(i64::from(*position), 1)).unwrap(),
                            open_buy: size(*buy),
                            open_sell: size(*sell),
                            orders_open: 0,
                            highest_buy: None,
                            lowest_sell: None,
                        }),
                        now,
                    );
                    prop_assert_eq!(taken, Ok(()));
                    naive.rows = rows;
                    naive.reserved.retain(|_, kept| {
                        let included = kept.reported_at.is_some_and(|reported| reported < now);
                        !included && now <= kept.expires_at.plus(Span::from_secs(1))
                    });
                }
                Step::Wait { millis } => now = now.plus(Span::from_millis(millis)),
            }
            let tenths = |(long, short): (i64, i64)| {
                let tenths = |units| Exposure::new(Decimal::new(units, 1)).unwrap();
                (tenths(long), tenths(short))
            };
            prop_assert_eq!(exposures.reservations(), naive.reserved.len());
            for (symbol_index, symbol) in (0_u8..).zip(symbols) {
                let worst = exposures.of_symbol(symbol).unwrap();
                let expected = tenths(naive.worst(|_, symbol| symbol == symbol_index));
                prop_assert_eq!((worst.long_most, worst.short_most), expected);
                for (strategy_index, strategy) in (0_u8..).zip(strategies) {
                    let worst = exposures.of_strategy(strategy, symbol).unwrap();
                    let expected = tenths(naive.worst(|strategy, symbol| {
                        strategy == strategy_index && symbol == symbol_index
                    }));
                    prop_assert_eq!((worst.long_most, worst.short_most), expected);
                }
            }
        }
    }
}
