//! No interleaving of permits, reports and accounts lets the position pass its limit.
//!
//! A small execution is simulated beside the guard: it takes permits late or never, fills and
//! cancels orders, and its reports and accounts travel with delays or get lost. What counts is its
//! true worst case: the position, everything open, and every permit that it may still take.

use std::cell::Cell;
use std::collections::BTreeMap;

use portcullis_domain::{Exposure, Order, OrderId, Price, Quantity, Side, Span, Timestamp, Worst};
use portcullis_testkit::seals::NOW;
use portcullis_wire::Sealed;
use portcullis_wire::messages::{ExecutionStatus, Outcome, StrategyExposure};
use portcullis_wire::subjects::{EXECUTION_STATUS, ORDER_LIFETIME, REPORT};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use risk_guard_core::{Input, Settings};
use rust_decimal::Decimal;

use crate::scene::{ME, Scene, opposite, settings, status, symbol};

#[derive(Clone, Debug)]
enum Step {
    /// The brain wants something; the permit reaches execution after so long, or never.
    Order {
        buy: bool,
        tenths: u32,
        reduce_only: bool,
        permit_delay: u64,
        lost: bool,
    },
    /// Execution publishes its account, which arrives after so long.
    Account { delay: u64 },
    /// A part of an order fills.
    Fill { which: usize, tenths: u32 },
    /// An order is cancelled.
    Cancel { which: usize },
    /// Time passes.
    Wait { millis: u64 },
}

#[derive(Clone, Debug)]
struct Script {
    steps: Vec<Step>,
    /// How far execution's clock is off, in milliseconds, plus 400.
    skew: u64,
    report_delays: Vec<Option<u64>>,
}

fn script() -> impl Strategy<Value = Script> {
    let step = prop_oneof![
        5 => (any::<bool>(), 100..4_000_u32, any::<bool>(), 0..2_500_u64, prop::bool::weighted(0.1))
            .prop_map(|(buy, tenths, reduce_only, permit_delay, lost)| Step::Order {
                buy, tenths, reduce_only, permit_delay, lost
            }),
        5 => (0..400_u64).prop_map(|delay| Step::Account { delay }),
        3 => (0..16_usize, 1..4_000_u32).prop_map(|(which, tenths)| Step::Fill { which, tenths }),
        1 => (0..16_usize).prop_map(|which| Step::Cancel { which }),
        3 => (0..700_u64).prop_map(|millis| Step::Wait { millis }),
    ];
    let delays = prop::collection::vec(prop::option::weighted(0.8, 0..3_000_u64), 8);
    (prop::collection::vec(step, 1..60), 0..800_u64, delays).prop_map(
        |(steps, skew, report_delays)| Script {
            steps,
            skew,
            report_delays,
        },
    )
}

enum Event {
    Permit(Order, Timestamp),
    Report(Sealed),
    Account(Sealed),
}

struct Simulation {
    scene: Scene,
    skew: u64,
    report_delays: Vec<Option<u64>>,
    taken: usize,
    // Execution's truth.
    position: Exposure,
    open: BTreeMap<OrderId, (Side, Quantity)>,
    events: BTreeMap<(Timestamp, usize), Event>,
    scheduled: usize,
}

impl Simulation {
    fn new(script: &Script) -> Self {
        let generous = Settings {
            orders_per_second_max: 1_000,
            ..settings()
        };
        Self {
            scene: Scene::new(generous),
            skew: script.skew,
            report_delays: script.report_delays.clone(),
            taken: 0,
            position: Exposure::FLAT,
            open: BTreeMap::new(),
            events: BTreeMap::new(),
            scheduled: 0,
        }
    }

    fn executions_now(&self) -> Timestamp {
        self.scene
            .now
            .plus(Span::from_millis(self.skew))
            .minus(Span::from_millis(400))
    }

    fn schedule(&mut self, delay: u64, event: Event) {
        self.scheduled += 1;
        let at = self.scene.now.plus(Span::from_millis(delay));
        self.events.insert((at, self.scheduled), event);
    }

    /// Lets time pass, and what was on its way arrive.
    fn pass(&mut self, millis: u64) {
        let until = self.scene.now.plus(Span::from_millis(millis)).plus(Span(1));
        while let Some(entry) = self
            .events
            .first_entry()
            .filter(|entry| entry.key().0 <= until)
        {
            let ((at, _), event) = entry.remove_entry();
            self.scene.now = self.scene.now.max(at);
            match event {
                Event::Permit(order, expires_at) => self.take(&order, expires_at),
                Event::Report(sealed) => self.arrive(&sealed, true),
                Event::Account(sealed) => self.arrive(&sealed, false),
            }
        }
        self.scene.now = until;
    }

    fn take(&mut self, order: &Order, expires_at: Timestamp) {
        if self.executions_now() >= expires_at {
            return;
        }
        self.open.insert(order.id, (order.side, order.quantity));
        let report = crate::scene::report(order);
        let now = self.executions_now();
        let sealed = self.scene.world.seal(now, &REPORT, Some("sample"), &report);
        let delay = self.report_delays[self.taken % self.report_delays.len()];
        self.taken += 1;
        if let Some(delay) = delay {
            self.schedule(delay, Event::Report(sealed));
        }
    }

    fn arrive(&mut self, sealed: &Sealed, report: bool) {
        let (world, now) = (&mut self.scene.world, self.scene.now);
        let input = if report {
            world
                .open(ME, now, &REPORT, sealed)
                .map(|opened| Input::Report(opened.either()))
        } else {
            world
                .open(ME, now, &EXECUTION_STATUS, sealed)
                .map(|opened| Input::Status(opened.either()))
        };
        self.scene.step(input.unwrap());
    }

    fn account(&self) -> ExecutionStatus {
        let sum = |side| {
            let sizes = self.open.values().filter(|(of, _)| *of == side);
            sizes
                .map(|(_, size)| *size)
                .reduce(|a, b| a.plus(b).unwrap())
        };
        let row = StrategyExposure {
            strategy: "sample".parse().unwrap(),
            symbol: symbol(),
            position: self.position,
            open_buy: sum(Side::Buy),
            open_sell: sum(Side::Sell),
            orders_open: 0,
            highest_buy: None,
            lowest_sell: None,
        };
        let orders_open = self.open.len() as u64;
        ExecutionStatus {
            exposures: vec![row],
            orders_open,
            ..status(&[])
        }
    }

    /// What may become true, whatever happens from here on without another permit.
    fn truth(&self) -> Worst {
        let position = self.position;
        let mut worst = Worst {
            position,
            long_most: position,
            short_most: position,
        };
        for (side, quantity) in self.open.values() {
            worst = worst.with(*side, *quantity).unwrap();
        }
        for event in self.events.values() {
            if let Event::Permit(order, _) = event {
                worst = worst.with(order.side, order.quantity).unwrap();
            }
        }
        worst
    }

    fn run(&mut self, step: &Step) -> Option<Outcome> {
        match step {
            Step::Order {
                buy,
                tenths,
                reduce_only,
                permit_delay,
                lost,
            } => {
                self.scene.book("0.4999", "0.5001");
                let order = Order {
                    quantity: Quantity::new(Decimal::new(i64::from(*tenths), 1)).unwrap(),
                    reduce_only: *reduce_only,
                    ..self.scene.order()
                };
                let order = if *buy { order } else { opposite(order) };
                let judgement = self.scene.judge(&order);
                if judgement.permit.is_some() && !lost {
                    let expires_at = judgement.order.header().expires_at;
                    assert_eq!(expires_at, self.scene.now.plus(ORDER_LIFETIME));
                    self.schedule(*permit_delay, Event::Permit(order, expires_at));
                }
                return Some(judgement.verdict.outcome);
            }
            Step::Account { delay } => {
                let (now, account) = (self.executions_now(), self.account());
                let sealed = self
                    .scene
                    .world
                    .seal(now, &EXECUTION_STATUS, None, &account);
                self.schedule(*delay, Event::Account(sealed));
            }
            Step::Fill { which, tenths } => {
                let (id, (side, size)) = self.nth(*which)?;
                let wanted = Quantity::new(Decimal::new(i64::from(*tenths), 1)).unwrap();
                let filled = wanted.min(size);
                self.position = side.applied(self.position, filled).unwrap();
                match size.minus(filled) {
                    Some(rest) => self.open.insert(id, (side, rest)),
                    None => self.open.remove(&id),
                };
            }
            Step::Cancel { which } => {
                if let Some((id, _)) = self.nth(*which) {
                    self.open.remove(&id);
                }
            }
            Step::Wait { millis } => self.pass(*millis),
        }
        None
    }

    fn nth(&self, which: usize) -> Option<(OrderId, (Side, Quantity))> {
        let which = which % self.open.len().max(1);
        self.open.iter().nth(which).map(|(id, order)| (*id, *order))
    }
}

#[test]
fn no_permit_lets_the_worst_case_pass_its_limit() {
    let (permits, refusals, taken) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mid: Price = "0.5".parse().unwrap();
    let limit = settings().policy.instruments[0].position_notional_max;
    let mut runner = TestRunner::new(Config {
        cases: 800,
        ..Config::default()
    });
    let result = runner.run(&script(), |script| {
        let mut simulation = Simulation::new(&script);
        for step in &script.steps {
            match simulation.run(step) {
                Some(Outcome::Passed) => permits.set(permits.get() + 1),
                Some(Outcome::Refused(_)) => refusals.set(refusals.get() + 1),
                None => {}
            }
            simulation.pass(1);
            let worst = simulation.truth();
            prop_assert!(
                worst.value_max(mid).unwrap() <= limit,
                "{worst:?} after {step:?}"
            );
        }
        taken.set(taken.get() + simulation.taken);
        Ok(())
    });
    result.unwrap();
    let counts = (permits.get(), refusals.get(), taken.get());
    assert!(
        counts.0 > 500 && counts.1 > 500 && counts.2 > 300,
        "too tame: {counts:?}"
    );
}

#[test]
fn the_simulation_notices_a_guard_that_forgets_its_permits() {
    // The same orders to a guard that is told, each time, that nothing is held or open: its own
    // memory of what it permitted is all that stands between them and the limit.
    let mut scene = Scene::ready();
    let mut permitted = Exposure::FLAT;
    for _ in 0..30 {
        scene.wait(50);
        scene.book("0.4999", "0.5001");
        scene.status(status(&[]));
        let order = scene.order();
        if scene.refusal(&order).is_none() {
            permitted = permitted.bought(order.quantity).unwrap();
        }
    }
    assert_eq!(permitted, "1000".parse().unwrap());
    assert!(scene.now < NOW.plus(Span::from_secs(5)));
}
