//! Tables and properties of the engine, and the venue they share.

mod properties;
mod tables;

use rust_decimal::Decimal;

use super::book::{BookUpdate, Level};
use super::order::{Order, OrderType, Side, TimeInForce};
use super::refusal::Refusal;
use super::{Effects, Engine, OrderRef, PlaceFaults, PlaceRequest, Rules};
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
