//! Tables and properties of the engine.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::book::{BookUpdate, Level};
use super::order::{Ending, Fill, Order, OrderType, Side, Status, TimeInForce};
use super::refusal::Refusal;
use super::{Amend, CancelAll, Effects, Engine, Event, OrderRef, PlaceFaults, PlaceRequest, Rules};
use crate::instrument::Instrument;

const SYMBOL: &str = "XRPUSDT";

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn levels(raw: &[(&str, &str)]) -> Vec<Level> {
    raw.iter()
        .map(|(price, qty)| (dec(price), dec(qty)))
        .collect()
}

fn rules() -> Rules {
    Rules {
        maker_fee: dec("0.0002"),
        taker_fee: dec("0.00055"),
        market_cap_ratio: dec("0.05"),
        open_orders_max: 500,
    }
}

fn empty() -> Engine {
    Engine::new(rules(), vec![Instrument::built_in(SYMBOL)])
}

/// An engine with a book, its accounts `a` and `b`, and everything it ever emitted.
struct Venue {
    engine: Engine,
    effects: Effects,
    now: i64,
}

impl Venue {
    fn new() -> Self {
        let mut venue = Self {
            engine: empty(),
            effects: Effects::default(),
            now: 1_000,
        };
        for account in ["a", "b"] {
            venue
                .engine
                .open_account(account, dec("10000"), &mut venue.effects);
        }
        venue.book(
            true,
            &[("1.9999", "100"), ("1.9998", "200")],
            &[("2.0001", "100"), ("2.0002", "300")],
        );
        venue
    }

    fn book(&mut self, snapshot: bool, bids: &[(&str, &str)], asks: &[(&str, &str)]) {
        let update = BookUpdate {
            snapshot,
            bids: levels(bids),
            asks: levels(asks),
        };
        self.now += 1;
        self.engine
            .update_book(self.now, SYMBOL, &update, &mut self.effects);
    }

    fn place(&mut self, account: &str, request: PlaceRequest) -> Result<Order, Refusal> {
        self.place_with(account, request, PlaceFaults::default())
    }

    fn place_with(
        &mut self,
        account: &str,
        request: PlaceRequest,
        faults: PlaceFaults,
    ) -> Result<Order, Refusal> {
        self.now += 1;
        let id = self
            .engine
            .place(self.now, account, &request, faults, &mut self.effects)?;
        Ok(self
            .engine
            .find(account, &OrderRef::OrderId(id))
            .unwrap()
            .clone())
    }

    fn again(&self, order: &Order) -> Order {
        self.engine.order(order.seq).unwrap().clone()
    }

    fn fills(&self, order: &Order) -> Vec<(String, String)> {
        self.engine
            .fills()
            .filter(|fill| fill.order_seq == order.seq)
            .map(|fill| {
                (
                    fill.price.normalize().to_string(),
                    fill.qty.normalize().to_string(),
                )
            })
            .collect()
    }

    fn size(&self, account: &str) -> Decimal {
        let account = self.engine.account(account).unwrap();
        account
            .positions
            .get(SYMBOL)
            .map_or(Decimal::ZERO, |position| position.size)
    }
}

fn limit(side: Side, qty: &str, price: &str) -> PlaceRequest {
    PlaceRequest {
        symbol: SYMBOL.to_owned(),
        side,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::GoodTillCancel,
        qty: dec(qty),
        price: Some(dec(price)),
        link_id: String::new(),
        reduce_only: false,
    }
}

fn market(side: Side, qty: &str) -> PlaceRequest {
    PlaceRequest {
        order_type: OrderType::Market,
        price: None,
        ..limit(side, qty, "1")
    }
}

fn pairs(raw: &[(&str, &str)]) -> Vec<(String, String)> {
    raw.iter()
        .map(|(price, qty)| ((*price).to_owned(), (*qty).to_owned()))
        .collect()
}

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

#[derive(Clone, Debug)]
enum Action {
    Place {
        account: bool,
        buy: bool,
        kind: u8,
        reduce: bool,
        qty: u32,
        ticks: u32,
    },
    Cancel {
        account: bool,
        pick: usize,
    },
    Amend {
        account: bool,
        pick: usize,
        qty: u32,
        ticks: u32,
    },
    CancelAll {
        account: bool,
    },
    Book {
        snapshot: bool,
        bid: u32,
        spread: u32,
        qtys: [u32; 4],
    },
}

fn action() -> impl Strategy<Value = Action> {
    let ticks = 19_900_u32..20_100;
    prop_oneof![
        6 => (any::<bool>(), any::<bool>(), 0_u8..5, prop::bool::weighted(0.2), 5_u32..400, ticks.clone())
            .prop_map(|(account, buy, kind, reduce, qty, ticks)| Action::Place { account, buy, kind, reduce, qty, ticks }),
        1 => (any::<bool>(), any::<usize>()).prop_map(|(account, pick)| Action::Cancel { account, pick }),
        1 => (any::<bool>(), any::<usize>(), 5_u32..400, ticks.clone())
            .prop_map(|(account, pick, qty, ticks)| Action::Amend { account, pick, qty, ticks }),
        1 => any::<bool>().prop_map(|account| Action::CancelAll { account }),
        4 => (prop::bool::weighted(0.2), ticks, 1_u32..20, prop::array::uniform4(0_u32..500))
            .prop_map(|(snapshot, bid, spread, qtys)| Action::Book { snapshot, bid, spread, qtys }),
    ]
}

fn name(account: bool) -> &'static str {
    if account { "a" } else { "b" }
}

fn price(ticks: u32) -> Decimal {
    Decimal::new(i64::from(ticks), 4)
}

fn picked(venue: &Venue, account: bool, pick: usize) -> Option<OrderRef> {
    let orders = &venue.engine.account(name(account)).unwrap().orders;
    let seq = orders.get(pick.checked_rem(orders.len())?)?;
    Some(OrderRef::OrderId(
        venue.engine.order(*seq).unwrap().order_id.clone(),
    ))
}

fn act(venue: &mut Venue, action: &Action) {
    venue.now += 1;
    match action {
        Action::Place {
            account,
            buy,
            kind,
            reduce,
            qty,
            ticks,
        } => {
            let side = if *buy { Side::Buy } else { Side::Sell };
            let request = PlaceRequest {
                order_type: if *kind == 4 {
                    OrderType::Market
                } else {
                    OrderType::Limit
                },
                time_in_force: [
                    TimeInForce::GoodTillCancel,
                    TimeInForce::ImmediateOrCancel,
                    TimeInForce::FillOrKill,
                    TimeInForce::PostOnly,
                ][usize::from(*kind % 4)],
                qty: Decimal::from(*qty),
                price: Some(price(*ticks)),
                reduce_only: *reduce,
                ..limit(side, "1", "1")
            };
            let _ = venue.place(name(*account), request);
        }
        Action::Cancel { account, pick } => {
            if let Some(reference) = picked(venue, *account, *pick) {
                let _ = venue.engine.cancel(
                    venue.now,
                    name(*account),
                    SYMBOL,
                    &reference,
                    &mut venue.effects,
                );
            }
        }
        Action::Amend {
            account,
            pick,
            qty,
            ticks,
        } => {
            if let Some(reference) = picked(venue, *account, *pick) {
                let amend = Amend {
                    symbol: SYMBOL.to_owned(),
                    reference,
                    price: Some(price(*ticks)),
                    qty: Some(Decimal::from(*qty)),
                };
                let _ = venue
                    .engine
                    .amend(venue.now, name(*account), &amend, &mut venue.effects);
            }
        }
        Action::CancelAll { account } => {
            venue.engine.cancel_all(
                venue.now,
                name(*account),
                &CancelAll::SettleCoin,
                &mut venue.effects,
            );
        }
        Action::Book {
            snapshot,
            bid,
            spread,
            qtys,
        } => {
            let update = BookUpdate {
                snapshot: *snapshot,
                bids: vec![
                    (price(*bid), Decimal::from(qtys[0])),
                    (price(bid - 1), Decimal::from(qtys[1])),
                ],
                asks: vec![
                    (price(bid + spread), Decimal::from(qtys[2])),
                    (price(bid + spread + 1), Decimal::from(qtys[3])),
                ],
            };
            venue
                .engine
                .update_book(venue.now, SYMBOL, &update, &mut venue.effects);
        }
    }
}

fn check(venue: &Venue) {
    let engine = &venue.engine;
    let mut by_order: BTreeMap<u64, Vec<&Fill>> = BTreeMap::new();
    for fill in engine.fills() {
        by_order.entry(fill.order_seq).or_default().push(fill);
    }
    for order in engine.orders() {
        let fills = by_order.remove(&order.seq).unwrap_or_default();
        let filled: Decimal = fills.iter().map(|fill| fill.qty).sum();
        assert_eq!(filled, order.filled_qty, "an order is the sum of its fills");
        assert_eq!(
            fills.iter().map(|fill| fill.fee).sum::<Decimal>(),
            order.fee
        );
        assert!(filled <= order.qty, "never more than asked for");
        assert_eq!(order.status == Status::Filled, filled == order.qty);
        for fill in fills {
            let within = match order.side {
                Side::Buy => fill.price <= fill.order_price,
                Side::Sell => fill.price >= fill.order_price,
            };
            assert!(
                within && fill.qty > Decimal::ZERO,
                "never outside its limit: {fill:?}"
            );
        }
    }
    for (name, account) in engine.accounts() {
        let signed: Decimal = engine
            .fills()
            .filter(|fill| fill.account == *name)
            .map(|fill| fill.side.signed(fill.qty))
            .sum();
        assert_eq!(
            venue.size(name),
            signed,
            "a position is the sum of its fills"
        );
        let cash: Decimal = engine
            .fills()
            .filter(|fill| fill.account == *name)
            .map(|fill| -fill.side.signed(fill.value()))
            .sum();
        let (realised, fees) = (account.realised(), account.fees());
        assert_eq!(account.wallet, account.starting_balance + realised - fees);
        let held = account
            .positions
            .get(SYMBOL)
            .map_or(Decimal::ZERO, |position| {
                if position.size < Decimal::ZERO {
                    -position.entry_value
                } else {
                    position.entry_value
                }
            });
        assert_eq!(cash, realised - held, "no money appears or vanishes");
        for (side, exposure) in account
            .positions
            .get(SYMBOL)
            .map_or(Vec::new(), |position| {
                vec![
                    (Side::Buy, position.open_buys),
                    (Side::Sell, position.open_sells),
                ]
            })
        {
            let open = account.open.iter().map(|seq| engine.order(*seq).unwrap());
            let open = open.filter(|order| order.side == side && !order.reduce_only);
            let (qty, value) = open.fold((Decimal::ZERO, Decimal::ZERO), |(qty, value), order| {
                (qty + order.leaves(), value + order.leaves() * order.price)
            });
            assert_eq!(
                (exposure.qty, exposure.value),
                (qty, value),
                "running totals stay true"
            );
        }
    }
    let book = &engine.market(SYMBOL).unwrap().book;
    if let (Some((bid, _)), Some((ask, _))) =
        (book.best_resting(Side::Buy), book.best_market(Side::Sell))
    {
        assert!(bid < ask, "a crossed resting order was left unfilled");
    }
    let resting: Decimal = [Side::Buy, Side::Sell]
        .map(|side| {
            book.top(side, 10_000)
                .iter()
                .map(|(_, qty)| *qty)
                .sum::<Decimal>()
        })
        .iter()
        .sum();
    assert!(
        resting >= engine.orders().map(Order::leaves).sum(),
        "every open order is in the book"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_the_journal_rebuilds_it_all(actions in prop::collection::vec(action(), 1..80)) {
        let mut venue = Venue::new();
        for action in &actions {
            act(&mut venue, action);
            check(&venue);
        }
        let text = serde_json::to_vec(&venue.effects.events).unwrap();
        let events: Vec<Event> = serde_json::from_slice(&text).unwrap();
        let mut rebuilt = empty();
        rebuilt.replay(events);
        prop_assert_eq!(&rebuilt.accounts, &venue.engine.accounts);
        prop_assert_eq!(&rebuilt.orders, &venue.engine.orders);
        prop_assert_eq!(&rebuilt.fills, &venue.engine.fills);
        prop_assert_eq!(rebuilt.order_seq, venue.engine.order_seq);
    }

    #[test]
    fn market_data_is_never_traded_twice(actions in prop::collection::vec(action(), 1..80)) {
        // Whatever was named since the start is the most that can have been traded with the market.
        let mut venue = Venue::new();
        let mut named = dec("700");
        for action in &actions {
            if let Action::Book { qtys, .. } = action {
                named += qtys.iter().map(|qty| Decimal::from(*qty)).sum::<Decimal>();
            }
            act(&mut venue, action);
        }
        let traded: Decimal = venue.engine.fills().map(|fill| fill.side.signed(fill.qty)).sum();
        prop_assert!(traded.abs() <= named);
    }
}
