#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows panics, and so fails"
)]

extern crate std;

use alloc::vec::Vec;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::{Level, Symbol, Timestamp};

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn levels(of: &[(&str, &str)]) -> Vec<Level> {
    of.iter()
        .map(|(p, q)| Level {
            price: price(p),
            quantity: quantity(q),
        })
        .collect()
}

fn book(bids: &[(&str, &str)], asks: &[(&str, &str)]) -> Book {
    let symbol = Symbol::new("XRPUSDT").unwrap();
    Book::new(symbol, levels(bids), levels(asks), 1, Timestamp(1)).unwrap()
}

/// The book of cases 5 and 6, and its mirror image below.
fn two_levels() -> Book {
    book(
        &[("1.990", "1"), ("1.980", "2")],
        &[("2.000", "1"), ("2.010", "2")],
    )
}

/// What is found, its average and its last price, as text.
type Found<'a> = Option<(&'a str, &'a str, &'a str)>;

#[test]
fn takes_the_best_levels_first_and_nothing_that_is_not_there() {
    use Side::{Buy, Sell};
    use WalkEnd::{BookEnded, Filled, LimitPrice};
    #[rustfmt::skip]
    let cases: [(Side, &str, &str, Found<'_>, WalkEnd); 13] = [
        // Case 5: 3.005 / 1.5 = 2.00333…, rounded against the buyer.
        (Buy, "1.5", "9", Some(("1.5", "2.003333333334", "2.010")), Filled),
        // Case 6: 0.0001 more than there is.
        (Buy, "3.0001", "9", Some(("3", "2.006666666667", "2.010")), BookEnded),
        (Buy, "3", "9", Some(("3", "2.006666666667", "2.010")), Filled),
        (Buy, "1", "9", Some(("1", "2", "2.000")), Filled),
        (Buy, "1.5", "2.010", Some(("1.5", "2.003333333334", "2.010")), Filled),
        (Buy, "1.5", "2.009", Some(("1", "2", "2.000")), LimitPrice),
        (Buy, "1.5", "1.999999999999", None, LimitPrice),
        // Nothing unknown can rest at or before a limit that the last level has reached.
        (Buy, "3.0001", "2.010", Some(("3", "2.006666666667", "2.010")), LimitPrice),
        (Buy, "3.0001", "2.010000000001", Some(("3", "2.006666666667", "2.010")), BookEnded),
        // 2.98 / 1.5 = 1.98666…, rounded against the seller.
        (Sell, "1.5", "0.1", Some(("1.5", "1.986666666666", "1.980")), Filled),
        (Sell, "3.0001", "0.1", Some(("3", "1.983333333333", "1.980")), BookEnded),
        (Sell, "3.0001", "1.985", Some(("1", "1.99", "1.990")), LimitPrice),
        (Sell, "0.5", "1.991", None, LimitPrice),
    ];
    for (side, wanted, limit, found, ends) in cases {
        let walk = two_levels()
            .walk(side, quantity(wanted), price(limit))
            .unwrap();
        let expected = Walk {
            filled: found.map(|(filled, ..)| quantity(filled)),
            vwap: found.map(|(_, vwap, _)| price(vwap)),
            worst: found.map(|(.., worst)| price(worst)),
            ends,
        };
        assert_eq!(walk, expected, "{side} {wanted} at {limit}");
    }
}

#[test]
fn amounts_at_the_end_of_their_range_are_walked_exactly() {
    let most = "1000000000000000";
    let asks = [("999999999999999.999999999999", most), (most, most)];
    let walk = book(&[("0.000000000001", "1")], &asks)
        .walk(Side::Buy, quantity(most), price(most))
        .unwrap();
    assert_eq!(walk.vwap, Some(price(asks[0].0)));
    let walk = book(&[("0.000000000001", most)], &asks)
        .walk(Side::Sell, quantity(most), price("0.000000000001"))
        .unwrap();
    assert_eq!(walk.vwap, Some(price("0.000000000001")));
}

#[test]
fn slippage_counts_against_the_trader_and_is_rounded_up() {
    let cases = [
        (Side::Buy, "100.5", "100", "50"),
        (Side::Buy, "100", "100", "0"),
        (Side::Buy, "99.5", "100", "-50"),
        (Side::Sell, "99.5", "100", "50"),
        (Side::Sell, "100.5", "100", "-50"),
        (Side::Sell, "100", "100", "0"),
        // A third of a basis point, and one of a gain.
        (Side::Buy, "30001", "30000", "0.333334"),
        (Side::Sell, "30001", "30000", "-0.333333"),
        (Side::Buy, "100.000000000001", "100", "0.000001"),
        (Side::Sell, "100.000000000001", "100", "0"),
        // Case 5 against its mid of 1.995.
        (Side::Buy, "2.003333333334", "1.995", "41.771095"),
    ];
    for (side, vwap, reference, expected) in cases {
        let found = slippage(side, price(vwap), price(reference)).unwrap();
        assert_eq!(
            found,
            expected.parse().unwrap(),
            "{side} {vwap}/{reference}"
        );
        assert_ne!(std::format!("{found}"), "-0");
    }
}

#[test]
fn slippage_beyond_the_range_is_an_error() {
    let (least, most) = (price("0.000000000001"), price("1000000000000000"));
    assert_eq!(slippage(Side::Buy, most, least), Err(AmountError::TooLarge));
    assert!(slippage(Side::Sell, least, most).is_ok());
}

#[test]
fn the_worst_acceptable_price_is_exactly_the_limit_away() {
    let cases = [
        (Side::Buy, "2", 50, Ok("2.01")),
        (Side::Sell, "2", 50, Ok("1.99")),
        (Side::Buy, "2", 0, Ok("2")),
        (Side::Sell, "2", 0, Ok("2")),
        // Where it cannot be exact it is within.
        (Side::Buy, "0.000000000333", 100, Ok("0.000000000336")),
        (Side::Sell, "0.000000000333", 100, Ok("0.00000000033")),
        (Side::Sell, "2", 9_999, Ok("0.0002")),
        (Side::Sell, "2", 10_000, Err(AmountError::NotPositive)),
        (Side::Sell, "2", 10_001, Err(AmountError::NotPositive)),
        (Side::Buy, "1000000000000000", 1, Err(AmountError::TooLarge)),
    ];
    for (side, reference, limit, expected) in cases {
        let found = worst_acceptable(side, price(reference), Bps::new(limit).unwrap());
        assert_eq!(found, expected.map(price), "{side} {reference} {limit}");
    }
}

fn sides() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

fn amounts() -> impl Strategy<Value = Decimal> {
    (1..1_000_000_000_i64, 0..=12_u32).prop_map(|(mantissa, scale)| Decimal::new(mantissa, scale))
}

fn prices() -> impl Strategy<Value = Price> {
    amounts().prop_map(|amount| Price::new(amount).unwrap())
}

fn quantities() -> impl Strategy<Value = Quantity> {
    amounts().prop_map(|amount| Quantity::new(amount).unwrap())
}

/// A book of 1 to 50 levels a side around 1,000.
fn books() -> impl Strategy<Value = Book> {
    let side = || prop::collection::vec((1..1_000_i64, quantities()), 1..=50);
    (side(), side()).prop_map(|(bids, asks)| {
        let build = |steps: Vec<(i64, Quantity)>, sign: i64| {
            let mut at = 100_000_000 + sign;
            steps
                .into_iter()
                .map(|(step, quantity)| {
                    at += sign * step;
                    let price = Price::new(Decimal::new(at, 5)).unwrap();
                    Level { price, quantity }
                })
                .collect::<Vec<_>>()
        };
        let symbol = Symbol::new("XRPUSDT").unwrap();
        Book::new(symbol, build(bids, -1), build(asks, 1), 1, Timestamp(1)).unwrap()
    })
}

/// A limit that every level of [`books`] is within.
fn no_limit(side: Side) -> Price {
    price(match side {
        Side::Buy => "1000000",
        Side::Sell => "0.000001",
    })
}

/// Whether `a` is at least as good for the trader.
fn no_worse(side: Side, a: Price, b: Price) -> bool {
    match side {
        Side::Buy => a <= b,
        Side::Sell => a >= b,
    }
}

/// The notional of a walk by the levels themselves, in decimals, and what is left to take.
fn expected_notional(levels: &[Level], quantity: Quantity) -> (Decimal, Decimal) {
    let mut rest = quantity.get();
    let mut notional = Decimal::ZERO;
    for level in levels {
        let taken = rest.min(level.quantity.get());
        notional += taken * level.price.get();
        rest -= taken;
    }
    (notional, rest)
}

proptest! {
    #[test]
    fn the_average_lies_between_best_and_worst(
        book in books(), side in sides(), wanted in quantities(), limit in 99_000..101_000_i64,
    ) {
        let limit = Price::new(Decimal::new(limit, 2)).unwrap();
        let walk = book.walk(side, wanted, limit).unwrap();
        match (walk.vwap, walk.worst, walk.filled) {
            (Some(vwap), Some(worst), Some(filled)) => {
                prop_assert!(no_worse(side, book.best_for(side).unwrap(), vwap));
                prop_assert!(no_worse(side, vwap, worst));
                prop_assert!(no_worse(side, worst, limit));
                prop_assert!(filled <= wanted);
                prop_assert_eq!(walk.ends == WalkEnd::Filled, filled == wanted);
            }
            (None, None, None) => {
                prop_assert_eq!(walk.ends, WalkEnd::LimitPrice);
                prop_assert!(!no_worse(side, book.best_for(side).unwrap(), limit));
            }
            _ => prop_assert!(false, "half an answer: {walk:?}"),
        }
    }

    #[test]
    fn the_parts_of_a_walk_add_up(book in books(), side in sides(), wanted in quantities()) {
        let walk = book.walk(side, wanted, no_limit(side)).unwrap();
        let levels = match side { Side::Buy => book.asks(), Side::Sell => book.bids() };
        let (notional, rest) = expected_notional(levels, wanted);
        let filled = walk.filled.unwrap().get();
        prop_assert_eq!(wanted.get() - filled, rest);
        prop_assert_eq!(walk.ends == WalkEnd::BookEnded, rest > Decimal::ZERO);
        // Rounded against the trader by less than 10^-12 a unit.
        let off = walk.vwap.unwrap().get() * filled - notional;
        let off = match side { Side::Buy => off, Side::Sell => -off };
        let slack = Decimal::new(1, 15);
        prop_assert!(off >= -slack, "{off}");
        prop_assert!(off <= filled * Decimal::new(1, 12) + slack, "{off}");
    }

    #[test]
    fn more_never_has_a_better_average(
        book in books(), side in sides(), a in quantities(), b in quantities(),
    ) {
        let vwap = |wanted| book.walk(side, wanted, no_limit(side)).unwrap().vwap.unwrap();
        prop_assert!(no_worse(side, vwap(a.min(b)), vwap(a.max(b))));
    }

    #[test]
    fn what_a_limit_cuts_off_was_beyond_it(
        book in books(), side in sides(), wanted in quantities(), at in 0..50_usize,
    ) {
        let levels = match side { Side::Buy => book.asks(), Side::Sell => book.bids() };
        let limit = levels[at % levels.len()].price;
        let walk = book.walk(side, wanted, limit).unwrap();
        prop_assert_ne!(walk.ends, WalkEnd::BookEnded);
        let within: Vec<Level> = levels
            .iter()
            .copied()
            .filter(|level| no_worse(side, level.price, limit))
            .collect();
        let (_, rest) = expected_notional(&within, wanted);
        prop_assert_eq!(wanted.get() - walk.filled.unwrap().get(), rest);
    }

    #[test]
    fn the_worst_acceptable_price_is_within_its_limit_and_one_step_further_is_not(
        side in sides(), reference in prices(), limit in 0..9_999_u32,
    ) {
        let bps = Bps::new(limit).unwrap();
        if let Ok(worst) = worst_acceptable(side, reference, bps) {
            let limit = Figure::new(Decimal::from(limit)).unwrap();
            prop_assert!(slippage(side, worst, reference).unwrap() <= limit);
            let step = Decimal::new(1, 12);
            let beyond = match side {
                Side::Buy => worst.get() + step,
                Side::Sell => worst.get() - step,
            };
            if let Ok(beyond) = Price::new(beyond) {
                prop_assert!(slippage(side, beyond, reference).unwrap() > limit);
            }
        }
    }

    #[test]
    fn a_gain_for_one_side_is_no_more_than_the_loss_of_the_other(a in prices(), b in prices()) {
        if let (Ok(buy), Ok(sell)) = (slippage(Side::Buy, a, b), slippage(Side::Sell, a, b)) {
            let sum = buy.get() + sell.get();
            prop_assert!(sum >= Decimal::ZERO && sum <= Decimal::new(1, 6), "{sum}");
        }
    }
}
