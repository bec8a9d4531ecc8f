//! Cases, one rule each.

use rust_decimal::Decimal;

use super::super::order::{Ending, Side, Status, TimeInForce};
use super::super::refusal::Refusal;
use super::super::{Amend, CancelAll, OrderRef, PlaceFaults, PlaceRequest};
use super::{SYMBOL, Venue, dec, limit, market, pairs};

#[test]
fn each_time_in_force_ends_as_the_venue_says() {
    use TimeInForce::{FillOrKill, GoodTillCancel, ImmediateOrCancel, PostOnly};
    let all = &[("2.0001", "100"), ("2.0002", "50")][..];
    type Case<'a> = (
        TimeInForce,
        &'a str,
        &'a str,
        Status,
        Ending,
        &'a [(&'a str, &'a str)],
    );
    let cases: [Case<'_>; 9] = [
        (
            GoodTillCancel,
            "150",
            "2.0002",
            Status::Filled,
            Ending::None,
            all,
        ),
        (
            GoodTillCancel,
            "150",
            "2.0001",
            Status::PartiallyFilled,
            Ending::None,
            &[("2.0001", "100")],
        ),
        (GoodTillCancel, "150", "2", Status::New, Ending::None, &[]),
        (
            ImmediateOrCancel,
            "150",
            "2.0001",
            Status::Cancelled,
            Ending::NoImmediateQuantity,
            &[("2.0001", "100")],
        ),
        (
            ImmediateOrCancel,
            "150",
            "2",
            Status::Cancelled,
            Ending::NoImmediateQuantity,
            &[],
        ),
        (
            FillOrKill,
            "150",
            "2.0002",
            Status::Filled,
            Ending::None,
            all,
        ),
        (
            FillOrKill,
            "150",
            "2.0001",
            Status::Cancelled,
            Ending::NoFullFill,
            &[],
        ),
        (
            PostOnly,
            "150",
            "2.0001",
            Status::Cancelled,
            Ending::PostOnlyWouldTake,
            &[],
        ),
        (PostOnly, "150", "2", Status::New, Ending::None, &[]),
    ];
    for (time_in_force, qty, price, status, ending, fills) in cases {
        let mut venue = Venue::new();
        let request = PlaceRequest {
            time_in_force,
            ..limit(Side::Buy, qty, price)
        };
        let order = venue.place("a", request).unwrap();
        let what = format!("{time_in_force:?} {qty} at {price}");
        assert_eq!((order.status, order.ending), (status, ending), "{what}");
        assert_eq!(venue.fills(&order), pairs(fills), "{what}");
    }
}

#[test]
fn a_market_order_stops_at_its_cap_and_cancels_the_rest() {
    let mut venue = Venue::new();
    venue.book(false, &[], &[("2.1", "100"), ("2.2", "1000")]);
    let order = venue.place("a", market(Side::Buy, "600")).unwrap();
    assert_eq!(
        venue.fills(&order),
        pairs(&[("2.0001", "100"), ("2.0002", "300"), ("2.1", "100")])
    );
    assert_eq!(
        (order.status, order.ending),
        (Status::Cancelled, Ending::NoImmediateQuantity)
    );
    assert_eq!(order.price, dec("2.1"), "5 % above the mark of 2");
}

#[test]
fn a_resting_order_gets_no_more_than_the_book_has_since_its_last_update() {
    let mut venue = Venue::new();
    let order = venue.place("a", limit(Side::Buy, "500", "2")).unwrap();
    venue.book(false, &[], &[("1.9999", "0"), ("2", "120")]);
    assert_eq!(venue.fills(&order), pairs(&[("2", "120")]));
    venue.book(false, &[("1.9998", "10")], &[]);
    assert_eq!(
        venue.fills(&order).len(),
        1,
        "the level at 2 was not named again"
    );
    venue.book(false, &[], &[("1.9997", "400")]);
    assert_eq!(
        venue.fills(&order),
        pairs(&[("2", "120"), ("2", "380")]),
        "at its own price"
    );
    let order = venue.again(&order);
    assert_eq!(order.status, Status::Filled);
    assert_eq!(order.fee, dec("1000") * dec("0.0002"), "maker fee");
    assert_eq!(
        venue
            .engine
            .market(SYMBOL)
            .unwrap()
            .book
            .best_market(Side::Sell),
        Some((dec("1.9997"), dec("20")))
    );
}

#[test]
fn better_prices_and_then_earlier_orders_go_first() {
    let mut venue = Venue::new();
    venue.book(true, &[("1.9", "1")], &[("2.1", "1")]);
    let second = venue.place("a", limit(Side::Sell, "10", "2.01")).unwrap();
    let third = venue.place("b", limit(Side::Sell, "10", "2.01")).unwrap();
    let first = venue.place("a", limit(Side::Sell, "10", "2")).unwrap();
    let taker = venue.place("b", limit(Side::Buy, "25", "2.05")).unwrap();
    assert_eq!(taker.status, Status::Filled);
    assert_eq!(venue.again(&first).filled_qty, dec("10"));
    assert_eq!(venue.again(&second).filled_qty, dec("10"));
    assert_eq!(venue.again(&third).filled_qty, dec("5"));
    assert_eq!(
        venue.fills(&taker),
        pairs(&[("2", "10"), ("2.01", "10"), ("2.01", "5")])
    );
}

#[test]
fn an_amendment_keeps_its_place_only_with_less_quantity_at_the_same_price() {
    for (price, qty, keeps) in [
        (None, Some("8"), true),
        (None, Some("12"), false),
        (Some("2.0100"), Some("12"), false),
    ] {
        let mut venue = Venue::new();
        venue.book(true, &[("1.9", "1")], &[("2.1", "1")]);
        let earlier = venue.place("a", limit(Side::Sell, "10", "2.01")).unwrap();
        venue.place("b", limit(Side::Sell, "10", "2.01")).unwrap();
        let amend = Amend {
            symbol: SYMBOL.to_owned(),
            reference: OrderRef::OrderId(earlier.order_id.clone()),
            price: price.map(dec),
            qty: qty.map(dec),
        };
        venue
            .engine
            .amend(venue.now, "a", &amend, &mut venue.effects)
            .unwrap();
        venue.place("b", limit(Side::Buy, "5", "2.01")).unwrap();
        let filled = venue.again(&earlier).filled_qty;
        assert_eq!(filled == dec("5"), keeps, "{price:?} {qty:?}: {filled}");
    }
}

#[test]
fn an_amendment_into_the_other_side_takes_at_once() {
    let mut venue = Venue::new();
    let order = venue.place("a", limit(Side::Buy, "50", "1.99")).unwrap();
    let amend = Amend {
        symbol: SYMBOL.to_owned(),
        reference: OrderRef::OrderId(order.order_id.clone()),
        price: Some(dec("2.0001")),
        qty: None,
    };
    venue
        .engine
        .amend(venue.now, "a", &amend, &mut venue.effects)
        .unwrap();
    assert_eq!(venue.fills(&order), pairs(&[("2.0001", "50")]));
    assert_eq!(
        venue
            .engine
            .amend(venue.now, "a", &amend, &mut venue.effects),
        Err(Refusal::OrderNotFound)
    );
}

#[test]
fn refuses_what_the_venue_refuses_and_changes_nothing() {
    let link = |text: &str| PlaceRequest {
        link_id: text.to_owned(),
        ..limit(Side::Buy, "10", "2")
    };
    let reduce = PlaceRequest {
        reduce_only: true,
        ..limit(Side::Sell, "10", "2.1")
    };
    let cases = [
        (
            PlaceRequest {
                symbol: "NOUSDT".to_owned(),
                ..limit(Side::Buy, "10", "2")
            },
            Refusal::Parameter("symbol invalid"),
        ),
        (
            link("with space"),
            Refusal::Parameter("orderLinkId invalid"),
        ),
        (
            link(&"x".repeat(37)),
            Refusal::Parameter("orderLinkId invalid"),
        ),
        (
            limit(Side::Buy, "0", "2"),
            Refusal::Parameter("Qty invalid"),
        ),
        (
            limit(Side::Buy, "1.5", "2"),
            Refusal::Parameter("Qty invalid"),
        ),
        (
            limit(Side::Buy, "3000001", "2"),
            Refusal::Parameter("The number of contracts exceeds maximum limit allowed: too large"),
        ),
        (
            limit(Side::Buy, "10", "2.00005"),
            Refusal::Parameter("Price invalid"),
        ),
        (
            limit(Side::Buy, "10", "0"),
            Refusal::Parameter("Price invalid"),
        ),
        (limit(Side::Buy, "10", "2.2001"), Refusal::PriceRange),
        (limit(Side::Sell, "10", "1.7999"), Refusal::PriceRange),
        (
            limit(Side::Buy, "2", "2"),
            Refusal::BelowMinimumValue("5".to_owned()),
        ),
        (reduce, Refusal::ReduceOnly),
        (limit(Side::Buy, "60000", "2"), Refusal::InsufficientBalance),
    ];
    let mut venue = Venue::new();
    let before = venue.effects.clone();
    for (request, refusal) in cases {
        assert_eq!(
            venue.place("a", request.clone()),
            Err(refusal),
            "{request:?}"
        );
    }
    assert_eq!(venue.effects, before);
}

#[test]
fn a_client_order_id_is_used_up_for_ever_but_only_by_an_accepted_order() {
    let mut venue = Venue::new();
    let named = |qty: &str| PlaceRequest {
        link_id: "once".to_owned(),
        ..limit(Side::Buy, qty, "2")
    };
    assert_eq!(
        venue.place("a", named("0")),
        Err(Refusal::Parameter("Qty invalid"))
    );
    let order = venue.place("a", named("10")).unwrap();
    let reference = OrderRef::LinkId("once".to_owned());
    venue
        .engine
        .cancel(venue.now, "a", SYMBOL, &reference, &mut venue.effects)
        .unwrap();
    assert_eq!(venue.again(&order).status, Status::Cancelled);
    assert_eq!(venue.place("a", named("10")), Err(Refusal::DuplicateLinkId));
    assert!(
        venue.place("b", named("10")).is_ok(),
        "ids belong to an account"
    );
}

#[test]
fn nobody_reads_or_cancels_the_order_of_another_account() {
    let mut venue = Venue::new();
    let order = venue.place("a", limit(Side::Buy, "10", "1.9")).unwrap();
    let reference = OrderRef::OrderId(order.order_id.clone());
    assert_eq!(venue.engine.find("b", &reference), None);
    let refused = venue
        .engine
        .cancel(venue.now, "b", SYMBOL, &reference, &mut venue.effects);
    assert_eq!(refused, Err(Refusal::OrderNotFound));
    assert!(
        venue
            .engine
            .cancel_all(venue.now, "b", &CancelAll::SettleCoin, &mut venue.effects)
            .is_empty()
    );
    assert_eq!(venue.again(&order).status, Status::New);
}

#[test]
fn a_round_trip_adds_up_to_the_last_decimal() {
    let mut venue = Venue::new();
    venue.place("a", market(Side::Buy, "150")).unwrap();
    let position = venue.engine.account("a").unwrap().positions[SYMBOL].clone();
    assert_eq!(
        position.entry_value,
        dec("2.0001") * dec("100") + dec("2.0002") * dec("50")
    );
    assert_eq!(position.average_price(), dec("2.00013333"));
    venue.book(true, &[("2.1", "40"), ("2.05", "1000")], &[("2.2", "100")]);
    venue.place("a", market(Side::Sell, "150")).unwrap();
    let account = venue.engine.account("a").unwrap();
    let bought = dec("2.0001") * dec("100") + dec("2.0002") * dec("50");
    let sold = dec("2.1") * dec("40") + dec("2.05") * dec("110");
    let fees = (bought + sold) * dec("0.00055");
    assert_eq!(account.realised(), sold - bought);
    assert_eq!(account.fees(), fees);
    assert_eq!(account.wallet, dec("10000") + sold - bought - fees);
    assert_eq!(account.positions[SYMBOL].entry_value, Decimal::ZERO);
}

#[test]
fn selling_through_zero_turns_the_position_at_the_new_price() {
    let mut venue = Venue::new();
    venue.place("a", limit(Side::Buy, "100", "2.0001")).unwrap();
    venue
        .place("a", limit(Side::Sell, "250", "1.9998"))
        .unwrap();
    let position = venue.engine.account("a").unwrap().positions[SYMBOL].clone();
    assert_eq!(position.size, dec("-150"));
    assert_eq!(position.entry_value, dec("150") * dec("1.9998"));
    assert_eq!(
        position.realised,
        dec("100") * (dec("1.9999") - dec("2.0001"))
    );
}

#[test]
fn reduce_only_never_turns_a_position_and_ends_when_it_is_flat() {
    let mut venue = Venue::new();
    venue.place("a", market(Side::Buy, "100")).unwrap();
    let resting = PlaceRequest {
        reduce_only: true,
        ..limit(Side::Sell, "100", "2.1")
    };
    let resting = venue.place("a", resting).unwrap();
    let closing = PlaceRequest {
        reduce_only: true,
        ..market(Side::Sell, "250")
    };
    let closing = venue.place("a", closing).unwrap();
    assert_eq!(venue.size("a"), Decimal::ZERO);
    assert_eq!(closing.filled_qty, dec("100"));
    assert_eq!(
        (closing.status, closing.ending),
        (Status::Cancelled, Ending::ByReduceOnly)
    );
    let resting = venue.again(&resting);
    assert_eq!(
        (resting.status, resting.ending),
        (Status::Cancelled, Ending::ByReduceOnly)
    );
}

#[test]
fn reduce_only_that_meets_an_order_of_its_own_account_still_closes_all() {
    let mut venue = Venue::new();
    venue.place("a", limit(Side::Sell, "328", "1.99")).unwrap();
    assert_eq!(venue.size("a"), dec("-300"), "28 rest at 1.99");
    let closing = PlaceRequest {
        reduce_only: true,
        ..limit(Side::Buy, "400", "2.0049")
    };
    let closing = venue.place("a", closing).unwrap();
    assert_eq!(venue.size("a"), Decimal::ZERO);
    assert_eq!(closing.filled_qty, dec("328"));
    assert_eq!(closing.ending, Ending::ByReduceOnly);
}

#[test]
fn closing_needs_no_margin_and_open_orders_bind_it() {
    let mut venue = Venue::new();
    venue.book(false, &[("1.9999", "100000")], &[("2.0001", "100000")]);
    venue.place("a", market(Side::Buy, "46000")).unwrap();
    assert_eq!(
        venue.place("a", limit(Side::Buy, "10000", "1.9")),
        Err(Refusal::InsufficientBalance)
    );
    let closing = venue.place("a", limit(Side::Sell, "46000", "2.1")).unwrap();
    assert_eq!(closing.status, Status::New);
    let free = |venue: &Venue| venue.engine.available(venue.engine.account("b").unwrap());
    let before = free(&venue);
    let order = venue.place("b", limit(Side::Buy, "1000", "1.9")).unwrap();
    assert_eq!(
        before - free(&venue),
        dec("190"),
        "1900 USDT at leverage 10"
    );
    let reference = OrderRef::OrderId(order.order_id);
    venue
        .engine
        .cancel(venue.now, "b", SYMBOL, &reference, &mut venue.effects)
        .unwrap();
    assert_eq!(free(&venue), before);
}

#[test]
fn leverage_is_bounded_and_changes_the_margin() {
    let mut venue = Venue::new();
    let mut set = |leverage: &str| {
        venue
            .engine
            .set_leverage("a", SYMBOL, dec(leverage), &mut venue.effects)
    };
    assert_eq!(set("10"), Err(Refusal::LeverageUnchanged));
    assert_eq!(set("76"), Err(Refusal::LeverageTooHigh));
    assert_eq!(set("0.5"), Err(Refusal::Parameter("leverage invalid")));
    assert_eq!(set("50"), Ok(()));
    venue.book(false, &[], &[("2.0001", "200000")]);
    assert!(
        venue.place("a", market(Side::Buy, "200000")).is_ok(),
        "400000 USDT at leverage 50"
    );
    let lower = venue
        .engine
        .set_leverage("a", SYMBOL, dec("2"), &mut venue.effects);
    assert_eq!(lower, Err(Refusal::InsufficientBalance));
}

#[test]
fn the_faults_of_an_order_do_what_they_say() {
    let mut venue = Venue::new();
    let half = PlaceFaults {
        fill_at_most: Some(dec("0.5")),
        reject: false,
    };
    let order = venue
        .place_with("a", limit(Side::Buy, "81", "2.0001"), half)
        .unwrap();
    assert_eq!(
        (order.status, order.filled_qty),
        (Status::PartiallyFilled, dec("40"))
    );
    venue.book(false, &[], &[("2.0001", "100")]);
    assert_eq!(
        venue.again(&order).status,
        Status::Filled,
        "the rest at the next update"
    );
    let rejected = PlaceFaults {
        fill_at_most: None,
        reject: true,
    };
    let order = venue
        .place_with("a", limit(Side::Buy, "10", "2.0001"), rejected)
        .unwrap();
    assert_eq!(
        (order.status, order.filled_qty),
        (Status::Rejected, Decimal::ZERO)
    );
}
