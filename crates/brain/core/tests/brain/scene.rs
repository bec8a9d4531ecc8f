//! A brain with everything it needs to pass an order on, in a world of real seals.

use std::collections::{BTreeMap, BTreeSet};

use brain_core::{Brain, Decided, Effects, Input, Settings, Strategy};
use portcullis_domain::{
    Book, Exposure, Hash, KillState, Level, Order, OrderStatus, Quantity, Reason, RiskProfile,
    Side, Span, StrategyId, Symbol, TimeInForce, Timestamp,
};
use portcullis_testkit::seals::NOW;
use portcullis_testkit::{World, policies};
use portcullis_wire::messages::{
    ExecutionReport, ExecutionStatus, Heartbeat, InstrumentPolicy, Outcome, Proposal, RiskPolicy,
    Size, StrategyExposure, Verdict,
};
use portcullis_wire::subjects::{BOOK, EXECUTION_STATUS, HEARTBEAT, PROPOSAL, REPORT, VERDICT};
use portcullis_wire::{Text, Verified};

pub const ME: &str = "brain";
pub const POLICY: Hash = Hash([7; 32]);

pub fn symbol() -> Symbol {
    Symbol::new("XRPUSDT").unwrap()
}

pub fn sample() -> StrategyId {
    StrategyId::new("sample").unwrap()
}

/// The strategy `sample` may trade XRPUSDT: 200 an order, 500 a position. The policy also lists
/// BTCUSDT. The strategy `other` has a key and is not registered.
pub fn settings() -> Settings {
    let listed = |symbol: &str| InstrumentPolicy {
        order_notional_max: "1000".parse().unwrap(),
        position_notional_max: "5000".parse().unwrap(),
        ..policies::wide(policies::like_xrp(symbol))
    };
    let strategy = Strategy {
        instruments: BTreeSet::from([symbol()]),
        order_notional_max: "200".parse().unwrap(),
        position_notional_max: "500".parse().unwrap(),
        proposals_per_second_max: 10,
        profile: RiskProfile::Conservative,
    };
    Settings {
        policy: RiskPolicy {
            orders_open_max: 50,
            daily_loss_max: "100".parse().unwrap(),
            ..policies::policy(vec![listed("XRPUSDT"), listed("BTCUSDT")])
        },
        policy_hash: POLICY,
        strategies: BTreeMap::from([(sample(), strategy)]),
        orders_pending_max: 8,
        started_at: NOW,
    }
}

pub struct Scene {
    pub world: World,
    pub brain: Brain,
    pub now: Timestamp,
}

impl Scene {
    /// Started three seconds ago, and told nothing.
    pub fn new(settings: Settings) -> Self {
        let now = NOW.plus(Span::from_secs(3));
        Self {
            world: World::new(NOW),
            brain: Brain::new(settings),
            now,
        }
    }

    /// The same with a book, a heartbeat and an account in which nothing is held.
    pub fn ready() -> Self {
        let mut scene = Self::new(settings());
        scene.refresh();
        scene
    }

    pub fn refresh(&mut self) {
        self.heartbeat(KillState::Armed, POLICY);
        self.book("0.4999", "0.5001");
        self.status(status(None));
    }

    pub fn wait(&mut self, millis: u64) {
        self.now = self.now.plus(Span::from_millis(millis));
    }

    pub fn step(&mut self, input: Input) -> Effects {
        self.brain.step(self.now, input).unwrap()
    }

    pub fn book(&mut self, bid: &str, ask: &str) {
        let book = book(bid, ask, self.now);
        let book = self
            .world
            .verified(ME, self.now, &BOOK, Some("XRPUSDT"), &book);
        self.step(Input::Book(book));
    }

    pub fn heartbeat(&mut self, kill: KillState, policy: Hash) -> Effects {
        let beat = Heartbeat {
            kill,
            policy,
            posture: portcullis_domain::Posture::Normal,
        };
        let beat = self.world.verified(ME, self.now, &HEARTBEAT, None, &beat);
        self.step(Input::Heartbeat(beat))
    }

    pub fn status(&mut self, status: ExecutionStatus) -> Effects {
        let status = self
            .world
            .verified(ME, self.now, &EXECUTION_STATUS, None, &status);
        self.step(Input::Status(status))
    }

    pub fn report(&mut self, order: &Order) {
        let report = ExecutionReport {
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
        };
        let report = self
            .world
            .verified(ME, self.now, &REPORT, Some("sample"), &report);
        self.step(Input::Report(report));
    }

    pub fn verdict(&mut self, order: &Order, outcome: Outcome) {
        let verdict = Verdict {
            order_frame: vec![],
            order: order.id,
            outcome,
            checks: vec![],
        };
        let verdict = self
            .world
            .verified(ME, self.now, &VERDICT, Some("sample"), &verdict);
        self.step(Input::Verdict(verdict));
    }

    pub fn sealed(&mut self, source: &str, proposal: &Proposal) -> Verified<Proposal> {
        let name = source.strip_prefix("strategy-");
        let sealed = self
            .world
            .seal_as(source, self.now, &PROPOSAL, name, proposal, None);
        self.world
            .open(ME, self.now, &PROPOSAL, &sealed)
            .unwrap()
            .fresh()
            .unwrap()
    }

    pub fn decide(&mut self, proposal: &Proposal) -> Decided {
        let proposal = self.sealed("strategy-sample", proposal);
        self.step(Input::Proposal(proposal)).decided.unwrap()
    }

    /// The order, or why there is none. An order comes with a decision of yes and never without.
    pub fn order(&mut self, proposal: &Proposal) -> Result<Order, Reason> {
        let decided = self.decide(proposal);
        match decided.decision.outcome {
            Outcome::Passed => Ok(decided.order.unwrap()),
            Outcome::Refused(reason) => {
                assert!(decided.order.is_none());
                Err(reason)
            }
        }
    }
}

/// Buy 100 at 0.5.
pub fn proposal() -> Proposal {
    Proposal {
        symbol: symbol(),
        side: Side::Buy,
        size: Size::Quantity("100".parse().unwrap()),
        limit_price: Some("0.5".parse().unwrap()),
        time_in_force: TimeInForce::GoodTillCancel,
        reduce_only: false,
    }
}

/// Buy or sell so much at 0.5.
pub fn of(side: Side, quantity: &str) -> Proposal {
    Proposal {
        side,
        size: Size::Quantity(quantity.parse().unwrap()),
        ..proposal()
    }
}

pub fn book(bid: &str, ask: &str, now: Timestamp) -> Book {
    let level = |price: &str| Level {
        price: price.parse().unwrap(),
        quantity: "1000".parse().unwrap(),
    };
    Book::new(symbol(), vec![level(bid)], vec![level(ask)], 1, now).unwrap()
}

/// What `sample` holds, and its open buys and sells.
pub fn status(row: Option<(&str, Option<&str>, Option<&str>)>) -> ExecutionStatus {
    let quantity = |text: &str| text.parse::<Quantity>().unwrap();
    let row = row.map(|(position, buy, sell)| StrategyExposure {
        strategy: sample(),
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
        exposures: row.into_iter().collect(),
        ..portcullis_testkit::accounts::status()
    }
}
