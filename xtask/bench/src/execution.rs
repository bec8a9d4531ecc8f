//! Steps of execution with 1, 100 and 10,000 orders open: an order on its way from the permit to the
//! request, a fill, and a tick; with what they allocate.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use execution_core::{Effect, Effects, Execution, Input, PlaceOutcome, Settings, Ticket};
use portcullis_domain::{
    Book, Fill, Hash, KillState, Level, OrderId, Posture, Span, Symbol, Timestamp,
    VenueExecutionId, VenueOrderId,
};
use portcullis_testkit::World;
use portcullis_testkit::seals::{self, NOW};
use portcullis_wire::Text;
use portcullis_wire::messages::{Heartbeat, Receipt};
use portcullis_wire::subjects::{BOOK, HEARTBEAT};

use crate::figure::{Aim, Figure, percentile};

const ME: &str = "execution";
const POLICY: Hash = Hash([7; 32]);
const FACT: Hash = Hash([9; 32]);
/// Each is measured alone, so that its median is not an average.
const ORDERS: u64 = 2_000;
/// Orders between two heartbeats, a millisecond each: a heartbeat counts for a second.
const HEARTBEAT_EVERY: u64 = 200;

/// What one kind of step takes, in microseconds and in allocations.
#[derive(Default)]
struct Measured {
    times: Vec<f64>,
    allocations: u64,
}

/// The steps that are measured, in order.
const KINDS: [&str; 3] = ["permit to request", "fill", "tick"];

pub fn run() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut bare = [0.0; KINDS.len()];
    for open in [1, 100, 10_000] {
        let measured = measure(open)?;
        for ((kind, mut measured), bare) in KINDS.iter().zip(measured).zip(&mut bare) {
            let p50 = percentile(&mut measured.times, 50);
            if open == 1 {
                *bare = p50;
            }
            let same = Some(("the same with 1 order open", *bare));
            figures.push(Figure::new(
                format!("execution, {kind}, p50, {open} orders open"),
                p50,
                "us",
                same,
                Aim::RatioAtMost(1.25),
            ));
            figures.push(Figure::new(
                "  p99",
                percentile(&mut measured.times, 99),
                "us",
                None,
                Aim::ValueAtMost(50.0),
            ));
            figures.push(Figure::new(
                "  allocations",
                measured.allocations as f64 / ORDERS as f64,
                "",
                None,
                Aim::ValueAtMost(32.0),
            ));
        }
    }
    Ok(figures)
}

/// Each kind of step with so many orders open all the time.
fn measure(open: u64) -> Result<[Measured; KINDS.len()]> {
    let mut desk = Desk::ready()?;
    for _ in 0..open {
        desk.place(&mut Measured::default())?;
    }
    let [mut placed, mut filled, mut ticked] = std::array::from_fn(|_| Measured::default());
    for _ in 0..ORDERS {
        desk.place(&mut placed)?;
        desk.fill_oldest(&mut filled)?;
        desk.step(&mut ticked, vec![Input::Tick])?;
    }
    ensure!(
        desk.open.len() as u64 == open,
        "{} orders are open",
        desk.open.len()
    );
    Ok([placed, filled, ticked])
}

/// An execution that may trade, with the orders that are open.
struct Desk {
    world: World,
    core: Execution,
    now: Timestamp,
    number: u64,
    open: VecDeque<u64>,
}

impl Desk {
    fn ready() -> Result<Self> {
        let settings = Settings {
            policy_hash: POLICY,
            daily_loss_max: "2000".parse()?,
            book_age_max: Span::from_secs(2),
        };
        let mut desk = Self {
            world: World::new(NOW),
            core: Execution::new(settings, KillState::Armed, NOW),
            now: NOW,
            number: 0,
            open: VecDeque::new(),
        };
        let account = Input::Account {
            asked_at: NOW,
            open: Vec::new(),
            fills: Vec::new(),
            positions: Vec::new(),
        };
        for input in [Input::Tick, Input::StreamUp, account] {
            desk.core.step(NOW, input)?;
        }
        desk.license()?;
        Ok(desk)
    }

    /// A book and a heartbeat of this moment.
    fn license(&mut self) -> Result<()> {
        let level = |price: &str| -> Result<Vec<Level>> {
            Ok(vec![Level {
                price: price.parse()?,
                quantity: "100".parse()?,
            }])
        };
        let symbol = Symbol::new("XRPUSDT")?;
        let book = Book::new(symbol, level("0.4999")?, level("0.5001")?, 1, self.now)?;
        let name = Some("XRPUSDT");
        let book = self.world.verified(ME, self.now, &BOOK, name, &book);
        self.core.step(self.now, Input::Book(book))?;
        let beat = Heartbeat {
            kill: KillState::Armed,
            posture: Posture::Normal,
            policy: POLICY,
        };
        let beat = self.world.verified(ME, self.now, &HEARTBEAT, None, &beat);
        self.core.step(self.now, Input::Heartbeat(beat))?;
        Ok(())
    }

    /// Takes the inputs of one measurement, in order.
    fn step(&mut self, measured: &mut Measured, inputs: Vec<Input>) -> Result<Effects> {
        let mut all = Ok(Effects::default());
        let (core, now) = (&mut self.core, self.now);
        let mut took = 0.0;
        let made = allocation_counter::measure(|| {
            let begun = Instant::now();
            for input in inputs {
                all = core.step(now, input);
                if all.is_err() {
                    return;
                }
            }
            took = begun.elapsed().as_secs_f64() * 1e6;
        });
        measured.times.push(took);
        measured.allocations = measured.allocations.saturating_add(made.count_total);
        Ok(all?)
    }

    /// One order, from its permit to the request, and then to the venue's word that it rests.
    fn place(&mut self, measured: &mut Measured) -> Result<()> {
        self.number = self.number.saturating_add(1);
        self.now = self.now.plus(Span::from_millis(1));
        if self.number.is_multiple_of(HEARTBEAT_EVERY) {
            self.license()?;
        }
        let order = seals::order(self.number, self.now);
        let id = order.id;
        let sealed = self.world.permit(self.now, &order);
        let (permit, order) = self.world.open_permit(ME, self.now, &sealed.frame)?;
        let receipt = Receipt {
            fact: FACT,
            order: id,
            index: 0,
            entry: Hash([1; 32]),
        };
        let ticket = Ticket {
            timestamp_ms: self.now.as_millis(),
            api_key: Text::lossy("key"),
            signature: Text::lossy(
                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            ),
        };
        let way = vec![
            Input::Permit {
                permit: permit.either(),
                order: order.either(),
            },
            Input::FactSealed {
                order: id,
                fact: FACT,
            },
            Input::Durable(id),
            Input::Receipt(receipt),
            Input::Signed {
                order: id,
                answer: Ok(ticket),
            },
        ];
        let last = self.step(measured, way)?;
        let is_placed = matches!(last.effects.as_slice(), [Effect::Place { .. }]);
        ensure!(
            is_placed,
            "order {} is not sent: {:?}",
            self.number,
            last.effects
        );
        let outcome = PlaceOutcome::Acknowledged(venue_order(self.number)?);
        self.core
            .step(self.now, Input::Placed { order: id, outcome })?;
        self.open.push_back(self.number);
        Ok(())
    }

    /// Fills the order that is open for the longest time, wholly.
    fn fill_oldest(&mut self, measured: &mut Measured) -> Result<()> {
        let number = self.open.pop_front().context("an open order")?;
        let order = seals::order(number, self.now);
        let fill = Fill {
            execution: VenueExecutionId::new(&format!("execution-{number}"))?,
            order: OrderId(u128::from(number).to_be_bytes()),
            venue_order: venue_order(number)?,
            symbol: order.symbol,
            side: order.side,
            price: order.limit_price,
            quantity: order.quantity,
            fee: "0.001".parse()?,
            venue_time: self.now,
        };
        let effects = self.step(measured, vec![Input::VenueFill(fill)])?;
        let is_booked = matches!(
            effects.effects.as_slice(),
            [Effect::Fill(..), Effect::Report(_)]
        );
        ensure!(
            is_booked,
            "order {number} is not filled: {:?}",
            effects.effects
        );
        Ok(())
    }
}

fn venue_order(number: u64) -> Result<VenueOrderId> {
    Ok(VenueOrderId::new(&format!("venue-{number}"))?)
}
