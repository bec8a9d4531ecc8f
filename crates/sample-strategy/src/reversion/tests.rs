//! What is proposed when.

use portcullis_domain::{Bps, Level, Symbol, VenueExecutionId, VenueOrderId};
use portcullis_wire::Text;

use super::*;

const START: Timestamp = Timestamp::from_millis(1_000_000);

fn settings() -> Settings {
    Settings {
        quantity: "10".parse().unwrap(),
        position_max: "30".parse().unwrap(),
        threshold: Bps::new(10).unwrap(),
        skew: Bps::new(20).unwrap(),
        average_books: 4,
        in_flight_max: 10,
    }
}

/// A book whose middle is this price, with a spread of 0.02.
fn book(mid: &str) -> Book {
    let mid: Decimal = mid.parse().unwrap();
    let half: Decimal = "0.01".parse().unwrap();
    let level = |price: Decimal| Level {
        price: Price::new(price).unwrap(),
        quantity: "1000".parse().unwrap(),
    };
    let symbol = Symbol::new("XRPUSDT").unwrap();
    Book::new(
        symbol,
        vec![level(mid - half)],
        vec![level(mid + half)],
        1,
        START,
    )
    .unwrap()
}

/// One that has seen enough books at 100 to have an opinion.
fn settled(settings: Settings) -> Reversion {
    let mut reversion = Reversion::new(settings);
    for _ in 0..settings.average_books {
        assert_eq!(reversion.book(START, &book("100")), None);
    }
    reversion
}

fn order(number: u8) -> OrderId {
    OrderId([number; 16])
}

fn fill(number: u8, side: Side, quantity: &str) -> Fill {
    Fill {
        execution: VenueExecutionId::new("e").unwrap(),
        order: order(number),
        venue_order: VenueOrderId::new("v").unwrap(),
        symbol: Symbol::new("XRPUSDT").unwrap(),
        side,
        price: "100".parse().unwrap(),
        quantity: quantity.parse().unwrap(),
        fee: "0".parse().unwrap(),
        venue_time: START,
    }
}

fn report(number: u8, status: OrderStatus, filled: Option<&str>) -> ExecutionReport {
    ExecutionReport {
        order: order(number),
        strategy: "sample".parse().unwrap(),
        symbol: Symbol::new("XRPUSDT").unwrap(),
        side: Side::Buy,
        quantity: "10".parse().unwrap(),
        filled: filled.map(|filled| filled.parse().unwrap()),
        status,
        venue_order: None,
        reason: None,
        detail: Text::lossy(""),
    }
}

fn side_at(reversion: &mut Reversion, now: Timestamp, mid: &str) -> Option<Side> {
    reversion.book(now, &book(mid)).map(|intent| intent.side)
}

#[test]
fn buys_below_the_average_and_sells_above_it_at_the_price_on_offer() {
    let cases = [
        ("99.5", Some((Side::Buy, "99.51"))),
        ("100.5", Some((Side::Sell, "100.49"))),
        ("100.05", None),
        ("99.95", None),
    ];
    for (mid, expected) in cases {
        let intent = settled(settings()).book(START, &book(mid));
        let got = intent.map(|intent| (intent.side, intent.limit_price.to_string()));
        assert_eq!(
            got,
            expected.map(|(side, price)| (side, price.to_owned())),
            "{mid}"
        );
    }
}

#[test]
fn has_no_opinion_before_it_has_seen_enough() {
    let mut reversion = Reversion::new(settings());
    for mid in ["100", "90", "110"] {
        assert_eq!(reversion.book(START, &book(mid)), None);
    }
    assert!(reversion.book(START, &book("150")).is_some());
}

#[test]
fn the_average_follows_the_price() {
    let mut reversion = settled(settings());
    assert_eq!(side_at(&mut reversion, START, "101"), Some(Side::Sell));
    for _ in 0..50 {
        reversion.book(START, &book("101"));
    }
    assert_eq!(
        side_at(&mut reversion, START, "101"),
        None,
        "101 is the average by now"
    );
    assert_eq!(side_at(&mut reversion, START, "100"), Some(Side::Buy));
}

#[test]
fn never_proposes_beyond_the_largest_position_whatever_is_under_way() {
    let mut reversion = settled(settings());
    for number in 0..3 {
        let intent = reversion.book(START, &book("90")).unwrap();
        assert_eq!(intent.side, Side::Buy);
        reversion.proposed(START, order(number), intent);
    }
    assert_eq!(
        side_at(&mut reversion, START, "80"),
        None,
        "30 are under way"
    );
    reversion.fill(&fill(0, Side::Buy, "10"));
    assert_eq!(
        side_at(&mut reversion, START, "70"),
        None,
        "10 held, 20 under way"
    );
    reversion.refused(START, order(1));
    let later = START.plus(REST);
    assert_eq!(side_at(&mut reversion, later, "60"), Some(Side::Buy));
    assert_eq!(
        side_at(&mut reversion, later, "200"),
        Some(Side::Sell),
        "less is always possible"
    );
}

#[test]
fn a_side_that_was_refused_rests_and_the_other_does_not() {
    let mut reversion = settled(settings());
    let intent = reversion.book(START, &book("99")).unwrap();
    reversion.proposed(START, order(1), intent);
    reversion.refused(START, order(1));
    assert_eq!(side_at(&mut reversion, START, "98"), None);
    assert_eq!(side_at(&mut reversion, START, "105"), Some(Side::Sell));
    assert_eq!(
        side_at(&mut reversion, START.plus(REST), "90"),
        Some(Side::Buy)
    );
}

#[test]
fn what_is_held_is_traded_away_sooner() {
    let mut reversion = settled(settings());
    // 20 of 30 held: fair is 20 bps * 2/3 lower, about 99.867, and 10 bps above that is 99.967.
    reversion.fill(&fill(1, Side::Buy, "20"));
    assert_eq!(side_at(&mut reversion, START, "99.98"), Some(Side::Sell));
    assert_eq!(side_at(&mut settled(settings()), START, "99.98"), None);
}

#[test]
fn an_order_counts_until_its_last_fill_is_told_of() {
    let limit = Settings {
        in_flight_max: 1,
        ..settings()
    };
    let mut reversion = settled(limit);
    let intent = reversion.book(START, &book("99")).unwrap();
    reversion.proposed(START, order(1), intent);
    reversion.report(START, &report(1, OrderStatus::Cancelled, Some("4")));
    assert_eq!(
        side_at(&mut reversion, START, "90"),
        None,
        "4 are still to be told of"
    );
    reversion.fill(&fill(1, Side::Buy, "4"));
    assert_eq!(reversion.position(), "4".parse().unwrap());
    assert_eq!(side_at(&mut reversion, START, "80"), Some(Side::Buy));
}

#[test]
fn an_order_that_nobody_answers_is_given_up_and_one_that_was_answered_is_not() {
    let limit = Settings {
        in_flight_max: 1,
        ..settings()
    };
    let (later, much_later) = (START.plus(UNANSWERED), START.plus(Span::from_secs(600)));
    let mut reversion = settled(limit);
    let intent = reversion.book(START, &book("99")).unwrap();
    reversion.proposed(START, order(1), intent);
    assert_eq!(side_at(&mut reversion, START, "98"), None);
    assert_eq!(side_at(&mut reversion, later, "90"), Some(Side::Buy));

    let mut reversion = settled(limit);
    reversion.proposed(START, order(1), intent);
    reversion.report(START, &report(1, OrderStatus::Unknown, None));
    assert_eq!(
        side_at(&mut reversion, much_later, "90"),
        None,
        "it may be at the venue"
    );
    reversion.report(much_later, &report(1, OrderStatus::Cancelled, None));
    assert_eq!(side_at(&mut reversion, much_later, "80"), Some(Side::Buy));
}
