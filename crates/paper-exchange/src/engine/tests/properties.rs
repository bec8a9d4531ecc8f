//! What holds whatever anybody does.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::super::book::BookUpdate;
use super::super::order::{Fill, Order, OrderType, Side, Status, TimeInForce};
use super::super::{Amend, CancelAll, Event, OrderRef, PlaceRequest};
use super::{SYMBOL, Venue, dec, empty, limit};

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
