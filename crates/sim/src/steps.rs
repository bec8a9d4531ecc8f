//! What the oracle looks at after every step: each record as it is made, each status as it is told,
//! and after each event what must hold at any moment.

use std::collections::{BTreeMap, BTreeSet};

use execution_core::{Kept, Record, VenueOrder};
use portcullis_domain::{Exposure, Fill, OrderId, Side, StrategyId, Symbol, Usd};
use portcullis_wire::messages::ExecutionStatus;
use rust_decimal::Decimal;

use crate::cast::Who;
use crate::journal::{Entry, Torn};
use crate::settings::execution_settings;
use crate::venue::Reply;
use crate::world::{Flight, MS, World};

/// Risk-guard is silent for five seconds, by clocks that may differ by 0.8 s; then within a second.
const SILENCE_MAX: u64 = 6_900 * MS;
/// Everything is cancelled again each second, by a clock that may be set back by 0.8 s.
const CANCEL_AGAIN: u64 = 2_000 * MS;

/// What the oracle follows of execution, by its records and by what reached it.
#[derive(Debug, Default)]
pub struct Watch {
    open: BTreeMap<OrderId, Left>,
    over: BTreeSet<OrderId>,
    day: Option<u64>,
    day_again: Option<u64>,
    /// The last equity on record.
    pub recorded: Usd,
    /// So many entries of the journal were on disk once.
    pub synced: usize,
    /// When this life began, or the last heartbeat came.
    pub heard_at: u64,
    cancelled_at: BTreeMap<Symbol, u64>,
    /// Since when execution acts on its kill switch in this life.
    pub killed_at: Option<u64>,
    /// Where the venue's account was another one when it was last read.
    differs: BTreeSet<Symbol>,
    /// Orders of which execution was told that somebody altered them.
    altered: BTreeMap<OrderId, Symbol>,
    /// Where fills were booked since the venue's account is being read: they may be in it or not.
    pub fresh: BTreeSet<Symbol>,
}

/// What an order may still fill.
#[derive(Debug)]
struct Left {
    strategy: StrategyId,
    symbol: Symbol,
    side: Side,
    quantity: Decimal,
}

type Exposures = BTreeMap<(StrategyId, Symbol, Side), Decimal>;

impl Watch {
    /// Execution starts again and reads its journal.
    pub fn restart(&mut self, now: u64) {
        *self = Self {
            synced: self.synced,
            heard_at: now,
            ..Self::default()
        };
    }

    pub fn record(&mut self, record: &Record) {
        match record {
            Record::Accepted { order, .. } => {
                let left = Left {
                    strategy: order.strategy,
                    symbol: order.symbol,
                    side: order.side,
                    quantity: order.quantity.get(),
                };
                self.open.insert(order.id, left);
            }
            Record::Filled(fill) => {
                self.fresh.insert(fill.symbol);
                if let Some(left) = self.open.get_mut(&fill.order) {
                    left.quantity -= fill.quantity.get();
                }
            }
            Record::Ended { order, .. } => {
                self.open.remove(order);
                self.over.insert(*order);
            }
            Record::DayBegan { day, .. } => {
                if self.day.is_some_and(|last| *day <= last) {
                    self.day_again = Some(*day);
                }
                self.day = Some(*day);
            }
            Record::Equity { equity, .. } => self.recorded = *equity,
            Record::Kept(Kept::Day { number, .. }) => {
                self.day_again = self.day.filter(|day| day == number);
            }
            Record::Sent { .. }
            | Record::InDoubt { .. }
            | Record::Opened { .. }
            | Record::LimitSeen(_)
            | Record::Sampled { .. }
            | Record::Moved(_)
            | Record::CashBegan(_)
            | Record::Agreed { .. }
            | Record::Kept(_) => {}
        }
    }

    /// Whether nothing more can come of this order, by execution's record.
    pub fn is_over(&self, order: &OrderId) -> bool {
        self.over.contains(order)
    }

    pub fn has_cancelled(&self, symbol: Symbol) -> bool {
        self.cancelled_at.contains_key(&symbol)
    }

    /// What `order` trades and how much of it may still fill.
    pub fn left(&self, order: &OrderId) -> Option<(Side, Decimal)> {
        self.open.get(order).map(|left| (left.side, left.quantity))
    }

    pub fn cancelled(&mut self, symbol: Symbol, now: u64) {
        self.cancelled_at.insert(symbol, now);
    }

    /// What all orders that are not over may still fill.
    fn exposures(&self) -> Exposures {
        let mut sums = Exposures::new();
        for left in self.open.values() {
            *sums
                .entry((left.strategy, left.symbol, left.side))
                .or_default() += left.quantity;
        }
        sums.retain(|_, quantity| !quantity.is_zero());
        sums
    }

    /// What is open, must be cancelled, and is not being cancelled; and why it must.
    fn left_open(&self, now: u64) -> Option<(Symbol, String)> {
        let killed = self.killed_at.is_some_and(|at| now - at > CANCEL_AGAIN);
        let silent = now - self.heard_at;
        if !killed && silent <= SILENCE_MAX {
            return None;
        }
        let mut symbols = self.open.values().map(|left| left.symbol);
        let left = symbols.find(|symbol| {
            let last = self.cancelled_at.get(symbol);
            last.is_none_or(|last| now - last > CANCEL_AGAIN)
        })?;
        let why = if killed {
            "it is killed".to_owned()
        } else {
            format!("risk-guard is silent for {} ms", silent / MS)
        };
        Some((left, why))
    }
}

impl World {
    /// Execution makes a record.
    pub(crate) fn recorded(&mut self, record: &Record) {
        self.oracle.record(record);
        match record {
            Record::Filled(fill) => self.check_fill(fill),
            Record::Moved(movement) => self.check_movement(movement),
            Record::Ended { order, .. } if self.venue.rests(order) => {
                self.violated(format!(
                    "order {order} was given up while it rests at the venue"
                ));
            }
            Record::Accepted { .. }
            | Record::Sent { .. }
            | Record::InDoubt { .. }
            | Record::Opened { .. }
            | Record::Ended { .. }
            | Record::DayBegan { .. }
            | Record::Equity { .. }
            | Record::LimitSeen(_)
            | Record::Sampled { .. }
            | Record::CashBegan(_)
            | Record::Agreed { .. }
            | Record::Kept(_) => {}
        }
    }

    fn check_fill(&mut self, fill: &Fill) {
        let mut fills = self.venue.fills.iter().rev();
        if !fills.any(|made| made == fill) {
            self.violated(format!(
                "execution books fill {}, which the venue never made",
                fill.execution
            ));
        }
    }

    /// What must hold at any moment.
    pub(crate) fn after_step(&mut self) {
        let latches = [
            (
                Who::Execution,
                self.oracle.execution_killed,
                self.execution_latch,
            ),
            (Who::Guard, self.oracle.guard_killed, self.guard_latch),
            (Who::Signer, self.oracle.signer_killed, self.signer_latch),
        ];
        for (who, acknowledged, latch) in latches {
            if acknowledged && latch.may_trade() {
                self.violated(format!(
                    "{who:?} acknowledged the kill, and it is not latched on disk"
                ));
            }
        }
        if let Some(day) = self.oracle.watch.day_again {
            self.violated(format!("day {day} began a second time"));
        }
        if self.execution.is_some()
            && let Some((symbol, why)) = self.oracle.watch.left_open(self.now)
        {
            self.violated(format!(
                "execution does not cancel what is open in {symbol} though {why}"
            ));
        }
    }

    /// What execution tells of itself.
    pub(crate) fn check_status(&mut self, status: &ExecutionStatus) {
        let limit = execution_settings(self.plan.daily_loss_max).daily_loss_max;
        if status.loss_max > limit {
            let told = status.loss_max;
            self.violated(format!(
                "a limit of {told} for the day's loss is looser than {limit}"
            ));
        }
        let mut told = Exposures::new();
        for row in &status.exposures {
            for (side, open) in [(Side::Buy, row.open_buy), (Side::Sell, row.open_sell)] {
                if let Some(open) = open {
                    told.insert((row.strategy, row.symbol, side), open.get());
                }
            }
        }
        let open = self.oracle.watch.exposures();
        if told != open {
            self.violated(format!(
                "execution's status does not count what is open: it tells {told:?}, open is {open:?}"
            ));
        }
        let positions = status.positions.iter();
        let held: BTreeMap<Symbol, Decimal> = positions
            .map(|held| (held.symbol, held.position.get().normalize()))
            .collect();
        if held != self.oracle.held() {
            self.violated("execution's status tells of positions that its fills do not make");
        }
    }

    /// Execution read the venue's account, and knows now where it is another one.
    pub(crate) fn account_known(&mut self, positions: &[(Symbol, Exposure)], foreign: &[Symbol]) {
        let theirs: BTreeMap<Symbol, Decimal> = positions
            .iter()
            .filter(|(_, held)| *held != Exposure::FLAT)
            .map(|(symbol, held)| (*symbol, held.get().normalize()))
            .collect();
        let ours = self.oracle.held();
        let fresh = &self.oracle.watch.fresh;
        let differs =
            |symbol: &&Symbol| ours.get(*symbol) != theirs.get(*symbol) && !fresh.contains(*symbol);
        let symbols = ours.keys().chain(theirs.keys()).filter(differs);
        let differs: BTreeSet<Symbol> = symbols.chain(foreign).copied().collect();
        self.oracle.watch.differs = differs;
        if !self.oracle.watch.differs.is_empty() {
            self.trace.count("the venue's account differs");
        }
    }

    pub(crate) fn differs(&self, symbol: &Symbol) -> bool {
        self.oracle.watch.differs.contains(symbol)
    }

    /// The venue tells execution of an order.
    pub(crate) fn told_of(&mut self, told: &VenueOrder) {
        if let Some(order) = told.order
            && self.venue.tells_of_alteration(told)
        {
            self.trace.count("execution told of an altered order");
            self.oracle.watch.altered.insert(order, told.symbol);
        }
    }

    /// An order in this instrument that is not what it was, rests still, and is known to execution.
    pub(crate) fn altered_in(&self, symbol: Symbol) -> Option<OrderId> {
        let altered = self.oracle.watch.altered.iter();
        let mut rest = altered.filter(|(order, at)| **at == symbol && self.venue.rests(order));
        rest.next().map(|(order, _)| *order)
    }

    /// A request that arrives is not one of which execution said that nothing more can come of it.
    pub(crate) fn check_arrival(&mut self, flight: &Flight, reply: &Reply) {
        if let (Some(order), Reply::Acknowledged(_)) = (flight.order, reply)
            && self.oracle.watch.is_over(&order)
        {
            self.violated(format!(
                "order {order} was given up and reached the venue afterwards"
            ));
        }
    }

    /// Execution reads its journal after a crash: what was synced is there, and nothing is there that
    /// was not written.
    pub(crate) fn check_journal(&mut self, torn: Option<(&Torn, Option<&Entry>)>) {
        let (kept, synced) = (self.execution_disk.entries.len(), self.oracle.watch.synced);
        if kept < synced {
            self.violated(format!(
                "the journal lacks what was synced: {kept} entries of {synced}"
            ));
        }
        if let Some((torn, Some(taken))) = torn
            && taken.encoded() != torn.whole
        {
            self.violated("execution's journal took a torn entry for a whole one");
        }
    }
}
