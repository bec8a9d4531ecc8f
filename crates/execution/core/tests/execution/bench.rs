//! An execution with its journal, driven by hand.
use std::collections::BTreeSet;

use execution_core::{
    Effect, Effects, Execution, ForeignOrders, Input, Movement, Record, Requests, Settings, Ticket,
    VenueOrder, VenueState,
};
use portcullis_domain::{
    Book, Exposure, Fill, Hash, KillState, Level, Order, OrderId, OrderStatus, Posture, Reason,
    Side, Span, Symbol, Timestamp, Usd, VenueExecutionId, VenueOrderId,
};
use portcullis_testkit::World;
use portcullis_testkit::seals::{NOW, order};
use portcullis_wire::Text;
use portcullis_wire::messages::{ExecutionStatus, Heartbeat, Receipt};
use portcullis_wire::subjects::{BOOK, HEARTBEAT};

pub const POLICY: Hash = Hash([7; 32]);
pub const FACT: Hash = Hash([9; 32]);

/// An execution with its journal, driven by hand.
pub struct Bench {
    pub world: World,
    pub execution: Execution,
    pub journal: Vec<Record>,
    pub now: Timestamp,
    /// The venue's cash, from the fills that this side was told of.
    pub cash: Usd,
    pub booked: BTreeSet<VenueExecutionId>,
}

pub fn settings() -> Settings {
    Settings {
        policy_hash: POLICY,
        daily_loss_max: "500".parse().unwrap(),
        book_age_max: Span::from_secs(2),
        foreign_orders: ForeignOrders::Report,
    }
}

pub fn xrp() -> Symbol {
    Symbol::new("XRPUSDT").unwrap()
}

pub fn id(number: u64) -> OrderId {
    order(number, NOW).id
}

pub fn fill(number: u64, execution: &str, quantity: &str, price: &str) -> Fill {
    Fill {
        execution: VenueExecutionId::new(execution).unwrap(),
        order: id(number),
        venue_order: VenueOrderId::new("venue-1").unwrap(),
        symbol: xrp(),
        side: order(number, NOW).side,
        price: price.parse().unwrap(),
        quantity: quantity.parse().unwrap(),
        fee: "0".parse().unwrap(),
        venue_time: NOW,
    }
}

pub fn venue(number: u64, state: VenueState, filled: Option<&str>) -> VenueOrder {
    VenueOrder {
        order: Some(id(number)),
        venue_order: VenueOrderId::new("venue-1").unwrap(),
        symbol: xrp(),
        side: order(number, NOW).side,
        quantity: order(number, NOW).quantity,
        limit_price: Some(order(number, NOW).limit_price),
        state,
        filled: filled.map(|text| text.parse().unwrap()),
        detail: Text::lossy(""),
    }
}

pub fn ticket() -> Ticket {
    Ticket {
        timestamp_ms: NOW.as_millis(),
        api_key: Text::lossy("key"),
        signature: Text::lossy("signature"),
    }
}

impl Bench {
    /// Armed, reconciled with an empty account, priced, and licensed by a heartbeat.
    pub fn ready() -> Self {
        let mut bench = Self {
            world: World::new(NOW),
            execution: Execution::new(settings(), KillState::Armed, NOW),
            journal: Vec::new(),
            now: NOW,
            cash: Usd::ZERO,
            booked: BTreeSet::new(),
        };
        bench.step(Input::Tick);
        bench.step(Input::StreamUp);
        bench.account(&[], &[], &[]);
        bench.quote("0.49", "0.51");
        bench.beat();
        bench
    }

    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        if let Input::VenueFill(fill) = &input {
            self.pay(fill);
        }
        let Effects { records, effects } = self.execution.step(self.now, input).unwrap();
        self.journal.extend(records);
        effects
    }

    pub fn later(&mut self, span: Span) {
        self.now = self.now.plus(span);
    }

    pub fn beat(&mut self) {
        self.beat_with(KillState::Armed, Posture::Normal);
    }

    pub fn beat_with(&mut self, kill: KillState, posture: Posture) {
        let beat = Heartbeat {
            kill,
            posture,
            policy: POLICY,
        };
        let beat = self
            .world
            .verified("execution", self.now, &HEARTBEAT, None, &beat);
        self.step(Input::Heartbeat(beat));
    }

    pub fn quote(&mut self, bid: &str, ask: &str) -> Vec<Effect> {
        let level = |price: &str| Level {
            price: price.parse().unwrap(),
            quantity: "100".parse().unwrap(),
        };
        let book = Book::new(xrp(), vec![level(bid)], vec![level(ask)], 1, self.now).unwrap();
        let book = self
            .world
            .verified("execution", self.now, &BOOK, Some("XRPUSDT"), &book);
        self.step(Input::Book(book))
    }

    fn pay(&mut self, fill: &Fill) {
        if self.booked.insert(fill.execution) {
            let notional = fill.price.notional(fill.quantity).unwrap();
            let flow = match fill.side {
                Side::Buy => notional.negated(),
                Side::Sell => notional,
            };
            self.cash = self.cash.plus(flow).unwrap().minus(fill.fee).unwrap();
        }
    }

    pub fn account(
        &mut self,
        open: &[VenueOrder],
        fills: &[Fill],
        positions: &[(Symbol, Exposure)],
    ) -> Vec<Effect> {
        self.account_moved(open, fills, positions, &[])
    }

    pub fn account_moved(
        &mut self,
        open: &[VenueOrder],
        fills: &[Fill],
        positions: &[(Symbol, Exposure)],
        movements: &[Movement],
    ) -> Vec<Effect> {
        for fill in fills {
            self.pay(fill);
        }
        for movement in movements {
            self.cash = self.cash.plus(movement.amount).unwrap();
        }
        self.step(Input::Account {
            asked_at: self.now,
            open: open.to_vec(),
            fills: fills.to_vec(),
            positions: positions.to_vec(),
            cash: self.cash,
            movements: movements.to_vec(),
        })
    }

    pub fn permit(&mut self, order: &Order) -> Vec<Effect> {
        let sealed = self.world.permit(self.now, order);
        self.permitted(&sealed.frame)
    }

    /// A sealed permit comes.
    pub fn permitted(&mut self, frame: &[u8]) -> Vec<Effect> {
        let (permit, order) = self
            .world
            .open_permit("execution", self.now, frame)
            .unwrap();
        self.step(Input::Permit {
            permit: permit.either(),
            order: order.either(),
        })
    }

    pub fn receipt(&mut self, number: u64, fact: Hash) -> Vec<Effect> {
        let receipt = Receipt {
            fact,
            order: id(number),
            index: 0,
            entry: Hash([1; 32]),
        };
        self.step(Input::Receipt(receipt))
    }

    /// Permit, journal, receipt and signature: the order leaves.
    pub fn send(&mut self, number: u64) -> Vec<Effect> {
        let order = order(number, self.now);
        self.permit(&order);
        self.finish(&order)
    }

    /// Journal, receipt and signature for an order that was permitted.
    pub fn finish(&mut self, order: &Order) -> Vec<Effect> {
        self.step(Input::FactSealed {
            order: order.id,
            fact: FACT,
        });
        self.step(Input::Durable(order.id));
        self.step(Input::Receipt(Receipt {
            fact: FACT,
            order: order.id,
            index: 0,
            entry: Hash([1; 32]),
        }));
        self.step(Input::Signed {
            order: order.id,
            answer: Ok(ticket()),
        })
    }

    pub fn status(&self) -> ExecutionStatus {
        self.execution
            .status(self.now, Requests::default())
            .unwrap()
    }

    pub fn status_of(&self, number: u64) -> Option<OrderStatus> {
        self.status()
            .orders
            .iter()
            .find(|order| order.order == id(number))
            .map(|order| order.status)
    }
}

pub fn reports(effects: &[Effect]) -> Vec<(OrderStatus, Option<Reason>)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Report(report) => Some((report.status, report.reason)),
            _ => None,
        })
        .collect()
}

pub fn places(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Place { .. }))
        .count()
}

pub fn refused(reason: Reason) -> Vec<(OrderStatus, Option<Reason>)> {
    vec![(OrderStatus::Refused, Some(reason))]
}
