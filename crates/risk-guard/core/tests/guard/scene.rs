//! A guard with everything it needs to permit, in a world of real seals.

use portcullis_domain::{
    Book, Exposure, Hash, KillState, Level, Order, OrderId, OrderStatus, Price, Quantity, Reason,
    Side, Span, Symbol, Timestamp, VenueOrderId,
};
use portcullis_testkit::seals::{self, NOW};
use portcullis_testkit::{World, policies};
use portcullis_wire::messages::{
    Closes, ExecutionReport, ExecutionStatus, InstrumentPolicy, Outcome, RiskPolicy,
    StrategyExposure, Trade,
};
use portcullis_wire::subjects::{BOOK, CLOSES, EXECUTION_STATUS, ORDER, REPORT, TRADE};
use portcullis_wire::{Text, Verified};
use risk_guard_core::{Effects, Input, Judgement, RiskGuard, Settings};

pub const ME: &str = "risk-guard";
pub const POLICY: Hash = Hash([7; 32]);

pub fn symbol() -> Symbol {
    Symbol::new("XRPUSDT").unwrap()
}

/// The middle of the book is 0.5: 400 units are an order's limit, 1,000 a position's.
pub fn settings() -> Settings {
    Settings {
        policy: RiskPolicy {
            orders_open_max: 50,
            daily_loss_max: "100".parse().unwrap(),
            ..policies::policy(vec![InstrumentPolicy {
                order_notional_max: "200".parse().unwrap(),
                position_notional_max: "500".parse().unwrap(),
                ..policies::wide(policies::xrp())
            }])
        },
        policy_hash: POLICY,
        strategies: ["sample".parse().unwrap()].into(),
        orders_per_second_max: 20,
        orders_pending_max: 40,
        orders_remembered_max: 1_000,
        kill: KillState::Armed,
        started_at: NOW,
    }
}

pub struct Scene {
    pub world: World,
    pub guard: RiskGuard,
    pub now: Timestamp,
    pub number: u64,
}

impl Scene {
    /// Started three seconds ago, and told nothing.
    pub fn new(settings: Settings) -> Self {
        let now = NOW.plus(Span::from_secs(3));
        Self {
            world: World::new(NOW),
            guard: RiskGuard::new(settings),
            now,
            number: 0,
        }
    }

    /// The same with a book and an account in which nothing is held.
    pub fn ready() -> Self {
        let mut scene = Self::new(settings());
        scene.book("0.4999", "0.5001");
        scene.status(status(&[]));
        scene
    }

    pub fn wait(&mut self, millis: u64) {
        self.now = self.now.plus(Span::from_millis(millis));
    }

    pub fn step(&mut self, input: Input) -> Effects {
        self.guard.step(self.now, input).unwrap()
    }

    /// A book, a trade in its middle, and half an hour in which nothing moved.
    pub fn book(&mut self, bid: &str, ask: &str) {
        let book = book(bid, ask, self.now);
        let mid = book.mid().unwrap();
        self.book_alone(&book);
        self.trade(mid, "100");
        self.closes(&vec![mid; Closes::MINUTES]);
    }

    pub fn book_alone(&mut self, book: &Book) {
        let book = self
            .world
            .verified(ME, self.now, &BOOK, Some("XRPUSDT"), book);
        self.step(Input::Book(book));
    }

    pub fn trade(&mut self, price: Price, quantity: &str) {
        let trade = Trade {
            symbol: symbol(),
            side: Side::Buy,
            price,
            quantity: quantity.parse().unwrap(),
            venue_time: self.now,
        };
        let trade = self
            .world
            .verified(ME, self.now, &TRADE, Some("XRPUSDT"), &trade);
        self.step(Input::Trade(trade));
    }

    /// The closes up to the last minute that is over.
    pub fn closes(&mut self, closes: &[Price]) -> Effects {
        let closes = Closes {
            symbol: symbol(),
            minute: self.now.0 / 60_000_000 - 1,
            closes: closes.to_vec(),
        };
        let closes = self
            .world
            .verified(ME, self.now, &CLOSES, Some("XRPUSDT"), &closes);
        self.step(Input::Closes(closes))
    }

    pub fn status(&mut self, status: ExecutionStatus) -> Effects {
        let status = self
            .world
            .verified(ME, self.now, &EXECUTION_STATUS, None, &status);
        self.step(Input::Status(status))
    }

    pub fn report(&mut self, order: &Order) {
        let report = report(order);
        let report = self
            .world
            .verified(ME, self.now, &REPORT, Some("sample"), &report);
        self.step(Input::Report(report));
    }

    /// Execution reports where an order stands.
    pub fn reported(
        &mut self,
        order: &Order,
        status: OrderStatus,
        change: impl FnOnce(&mut ExecutionReport),
    ) -> Effects {
        let mut report = ExecutionReport {
            status,
            venue_order: Some(VenueOrderId::new("v").unwrap()),
            ..report(order)
        };
        change(&mut report);
        let report = self
            .world
            .verified(ME, self.now, &REPORT, Some("sample"), &report);
        self.step(Input::Report(report))
    }

    /// A fresh order: buy 100 a little below 0.499, each at another price.
    pub fn order(&mut self) -> Order {
        self.number += 1;
        Order {
            quantity: "100".parse().unwrap(),
            limit_price: price(4_990 - i64::try_from(self.number % 40).unwrap()),
            policy: POLICY,
            ..seals::order(self.number, self.now)
        }
    }

    pub fn sealed(&mut self, order: &Order) -> Verified<Order> {
        self.world.verified(ME, self.now, &ORDER, None, order)
    }

    pub fn judge(&mut self, order: &Order) -> Judgement {
        let order = self.sealed(order);
        self.step(Input::Order(order)).judgement.unwrap()
    }

    /// `None` for a permit, else why not. A permit comes with a verdict of yes and never without.
    pub fn refusal(&mut self, order: &Order) -> Option<Reason> {
        let judgement = self.judge(order);
        match judgement.verdict.outcome {
            Outcome::Passed => {
                assert!(judgement.permit.is_some());
                None
            }
            Outcome::Refused(reason) => {
                assert!(judgement.permit.is_none());
                Some(reason)
            }
        }
    }
}

pub fn book(bid: &str, ask: &str, now: Timestamp) -> Book {
    let level = |price: &str| Level {
        price: price.parse().unwrap(),
        quantity: "1000".parse().unwrap(),
    };
    Book::new(symbol(), vec![level(bid)], vec![level(ask)], 1, now).unwrap()
}

/// A book of these levels, best first.
pub fn deep(bids: &[(&str, &str)], asks: &[(&str, &str)], now: Timestamp) -> Book {
    let levels = |levels: &[(&str, &str)]| {
        let level = |(price, quantity): &(&str, &str)| Level {
            price: price.parse().unwrap(),
            quantity: quantity.parse().unwrap(),
        };
        levels.iter().map(level).collect()
    };
    Book::new(symbol(), levels(bids), levels(asks), 1, now).unwrap()
}

pub fn report(order: &Order) -> ExecutionReport {
    ExecutionReport {
        order: order.id,
        strategy: order.strategy,
        symbol: order.symbol,
        side: order.side,
        quantity: order.quantity,
        filled: None,
        status: OrderStatus::Accepted,
        venue_order: None,
        reason: None,
        detail: Text::lossy(""),
    }
}

/// Positions, open buys and open sells in units; the first row is of the strategy `sample`, the
/// second of `other`.
pub fn status(rows: &[(&str, Option<&str>, Option<&str>)]) -> ExecutionStatus {
    let quantity = |text: &str| text.parse::<Quantity>().unwrap();
    let rows = ["sample", "other"]
        .iter()
        .zip(rows)
        .map(|(strategy, (position, buy, sell))| StrategyExposure {
            strategy: strategy.parse().unwrap(),
            symbol: symbol(),
            position: position.parse::<Exposure>().unwrap(),
            open_buy: buy.map(quantity),
            open_sell: sell.map(quantity),
            orders_open: 0,
            highest_buy: None,
            lowest_sell: None,
        });
    ExecutionStatus {
        policy: POLICY,
        day: 0,
        loss_max: "100".parse().unwrap(),
        exposures: rows.collect(),
        ..portcullis_testkit::accounts::status()
    }
}

/// So many ticks of 0.0001.
pub fn price(ticks: i64) -> Price {
    Price::new(rust_decimal::Decimal::new(ticks, 4)).unwrap()
}

/// The same as a sell as far above the middle as the buy is below.
pub fn opposite(order: Order) -> Order {
    let one = rust_decimal::Decimal::ONE;
    Order {
        side: Side::Sell,
        limit_price: Price::new(one - order.limit_price.get()).unwrap(),
        ..order
    }
}

pub fn sell(order: Order, quantity: &str) -> Order {
    Order {
        quantity: quantity.parse().unwrap(),
        ..opposite(order)
    }
}

pub fn order_id(number: u64) -> OrderId {
    OrderId(u128::from(number).to_be_bytes())
}
