//! What must never happen, checked where it would.
//!
//! The oracle sees what each side really did, and works the rest out by itself: it opens the seals
//! with keys of its own verifier, looks into audit's disk, computes signatures again, and keeps its
//! own account of the money.

use std::collections::{BTreeMap, BTreeSet};

use audit_core::{Alert, fact_digest};
use execution_core::{Execution, Input, Kept, MovementKind, Record, Ticket};
use portcullis_domain::{
    Book, KillState, Order, OrderId, Posture, Side, Span, StrategyId, Symbol, Timestamp,
    VenueExecutionId,
};
use portcullis_venue::bybit::{Action, request_of, text_to_sign};
use portcullis_wire::messages::{ExecutionStatus, Heartbeat, PermitTaken, Receipt, Trade};
use portcullis_wire::subjects::PERMIT_TAKEN;
use portcullis_wire::{Refusal, Text, Verified, Verifier};
use rust_decimal::Decimal;

use crate::cast::Who;
use crate::journal::{Entry, in_force};
use crate::log::entry;
use crate::planted::Bug;
use crate::settings::{POLICY, TRADING_SECRET, execution_settings, trading_key};
use crate::steps::Watch;
use crate::venue::sign;
use crate::world::{CHAOS_UNTIL, MS, World};

/// What the oracle remembers.
#[derive(Debug, Default)]
pub struct Oracle {
    pub guard_killed: bool,
    pub execution_killed: bool,
    pub signer_killed: bool,
    /// The last heartbeat that reached execution: content, sealed at, received at.
    pub heartbeat: Option<(Heartbeat, Timestamp, Timestamp)>,
    /// Every receipt that audit ever gave.
    pub receipts: Vec<Receipt>,
    /// How often each order left execution.
    pub placed: BTreeMap<OrderId, u64>,
    cash: Decimal,
    baseline: Decimal,
    /// The highest equity that execution recorded since the day began.
    peak: Decimal,
    held: BTreeMap<Symbol, Decimal>,
    mids: BTreeMap<Symbol, Decimal>,
    /// The last book of each instrument that this life of execution got.
    books: BTreeMap<Symbol, Verified<Book>>,
    /// The last trade, unless execution filled after it.
    trades: BTreeMap<Symbol, Verified<Trade>>,
    booked: BTreeSet<VenueExecutionId>,
    accepted: BTreeMap<OrderId, StrategyId>,
    strategies: BTreeMap<StrategyId, Strategy>,
    twice: Option<VenueExecutionId>,
    /// The movements that execution booked.
    pub moved: BTreeSet<Text>,
    pub moved_twice: bool,
    /// How often a day began while a position was held.
    pub days_held: u64,
    /// How many facts audit refused as sealed in the future, where a clock jumped.
    pub refused_by_audit: u64,
    pub watch: Watch,
}

/// The money of one strategy, by execution's own record.
#[derive(Debug, Default)]
struct Strategy {
    cash: Decimal,
    held: BTreeMap<Symbol, Decimal>,
    recorded: Decimal,
    baseline: Decimal,
}

impl Oracle {
    /// Execution starts again: what its journal lost, it does not know.
    pub fn restart(&mut self, now: u64) {
        self.watch.restart(now);
        self.cash = Decimal::ZERO;
        self.baseline = Decimal::ZERO;
        self.peak = Decimal::ZERO;
        self.books.clear();
        self.trades.clear();
        self.held.clear();
        self.booked.clear();
        self.moved.clear();
        self.accepted.clear();
        self.strategies.clear();
    }

    /// Follows execution's own record, with an account of money of its own.
    pub fn record(&mut self, record: &Record) {
        self.watch.record(record);
        match record {
            Record::Filled(fill) => {
                if !self.booked.insert(fill.execution) {
                    self.twice = Some(fill.execution);
                }
                let (price, quantity) = (fill.price.get(), fill.quantity.get());
                let sign = match fill.side {
                    Side::Buy => Decimal::ONE,
                    Side::Sell => Decimal::NEGATIVE_ONE,
                };
                let spent = sign * price * quantity + fill.fee.get();
                self.cash -= spent;
                if let Some(strategy) = self.accepted.get(&fill.order) {
                    let strategy = self.strategies.entry(*strategy).or_default();
                    strategy.cash -= spent;
                    *strategy.held.entry(fill.symbol).or_default() += sign * quantity;
                }
                *self.held.entry(fill.symbol).or_default() += sign * quantity;
                self.mids.entry(fill.symbol).or_insert(price);
                self.trades.remove(&fill.symbol);
            }
            Record::DayBegan { baseline, .. } => {
                self.days_held += u64::from(self.held.values().any(|held| !held.is_zero()));
                self.baseline = baseline.get();
                self.peak = self.baseline;
                for strategy in self.strategies.values_mut() {
                    strategy.baseline = strategy.recorded;
                }
            }
            Record::Equity { equity, strategies } => {
                self.peak = self.peak.max(equity.get());
                for (strategy, equity) in strategies {
                    self.strategies.entry(*strategy).or_default().recorded = equity.get();
                }
            }
            Record::Accepted { order, .. } => {
                self.accepted.insert(order.id, order.strategy);
            }
            Record::Moved(movement) => {
                self.moved_twice |= !self.moved.insert(movement.id.clone());
                if movement.kind != MovementKind::Transfer {
                    self.cash += movement.amount.get();
                }
            }
            Record::Sent { .. }
            | Record::InDoubt { .. }
            | Record::Opened { .. }
            | Record::Ended { .. }
            | Record::LimitSeen(_)
            | Record::Sampled { .. }
            | Record::CashBegan(_)
            | Record::Agreed { .. }
            | Record::Kept(_) => {}
        }
    }

    pub fn book(&mut self, book: &Verified<Book>) {
        let message = book.message();
        if let Some(mid) = message.mid() {
            self.mids.insert(message.symbol(), mid.get());
            self.books.insert(message.symbol(), book.clone());
        }
    }

    pub fn trade(&mut self, trade: &Verified<Trade>) {
        self.trades.insert(trade.message().symbol, trade.clone());
    }

    /// Everything with positions at the middle of the last book that execution got: at least what
    /// execution may reckon, which marks against itself.
    fn equity(&self) -> Decimal {
        self.cash + self.value(&self.held)
    }

    fn value(&self, held: &BTreeMap<Symbol, Decimal>) -> Decimal {
        let mid = |symbol| self.mids.get(symbol).copied().unwrap_or_default();
        held.iter().map(|(symbol, held)| mid(symbol) * held).sum()
    }

    fn loss(&self) -> Decimal {
        self.baseline - self.equity()
    }

    /// What is wrong with the money in a status, if anything is.
    pub fn money_differs(&self, status: &ExecutionStatus) -> Option<String> {
        let equity = status.equity?.get();
        let (most, peak) = (self.equity(), self.peak);
        let flat = self.held.values().all(Decimal::is_zero);
        if equity > most || (flat && equity != most) {
            return Some(format!("an equity of {equity}, where {most} is the most"));
        }
        let drawdown = status.drawdown.get();
        let expected = (peak - equity).max(Decimal::ZERO);
        if drawdown != expected {
            return Some(format!("a drawdown of {drawdown}, not {expected}"));
        }
        status.losses.iter().find_map(|row| {
            let nothing = Strategy::default();
            let strategy = self.strategies.get(&row.strategy).unwrap_or(&nothing);
            let least = strategy.baseline - strategy.cash - self.value(&strategy.held);
            let flat = strategy.held.values().all(Decimal::is_zero);
            let (name, loss) = (row.strategy, row.loss.get());
            let wrong = loss < least || (flat && loss != least);
            wrong.then(|| format!("a loss of {loss} of {name}, where {least} is the least"))
        })
    }

    /// What fills, fees and funding made.
    pub const fn cash(&self) -> Decimal {
        self.cash
    }

    pub fn held(&self) -> BTreeMap<Symbol, Decimal> {
        let held = self.held.iter().filter(|(_, held)| !held.is_zero());
        held.map(|(symbol, held)| (*symbol, held.normalize()))
            .collect()
    }

    pub const fn booked(&self) -> &BTreeSet<VenueExecutionId> {
        &self.booked
    }
}

impl World {
    /// A placement is about to leave: everything that must be there, must be there.
    pub(crate) fn check_placement(&mut self, order: &Order, ticket: &Ticket) {
        let id = order.id;
        if self.oracle.execution_killed {
            self.violated(format!(
                "order {id} leaves after execution acknowledged the kill"
            ));
        }
        let times = self.oracle.placed.entry(id).or_default();
        *times += 1;
        if *times > 1 {
            self.violated(format!("order {id} leaves a second time"));
        }
        if !self.oracle.accepted.contains_key(&id) {
            self.violated(format!(
                "order {id} leaves without a record of its acceptance"
            ));
        }
        if !self.is_accepted_on_disk(id) {
            self.violated(format!(
                "order {id} leaves before its acceptance is on disk"
            ));
        }
        if let Err(what) = self.licence() {
            self.violated(format!("order {id} leaves under {what}"));
        }
        if let Err(lacks) = self.is_permitted(order) {
            self.violated(format!("order {id} leaves without {lacks}"));
        }
        let payload = request_of(&Action::Place(order)).payload;
        let text = text_to_sign(ticket.timestamp_ms, trading_key().as_str(), &payload);
        if sign(TRADING_SECRET, &text) != ticket.signature {
            self.violated(format!(
                "order {id} leaves with a signature for something else"
            ));
        }
        if self.differs(&order.symbol) {
            let symbol = order.symbol;
            self.violated(format!(
                "order {id} leaves though the venue's account differs in {symbol}"
            ));
        }
        if let Some(altered) = self.altered_in(order.symbol) {
            self.violated(format!(
                "order {id} leaves though somebody altered {altered} at the venue"
            ));
        }
        let limit = execution_settings(self.plan.daily_loss_max)
            .daily_loss_max
            .get();
        let loss = self.oracle.loss();
        if loss >= limit {
            self.violated(format!(
                "order {id} leaves with a loss of {loss} beyond {limit}"
            ));
        }
    }

    /// Risk-guard's last heartbeat lets orders leave.
    fn licence(&mut self) -> Result<(), String> {
        let now = self.clock(Who::Execution);
        let (beat, sealed, received) = self
            .oracle
            .heartbeat
            .ok_or("no heartbeat of risk-guard at all")?;
        let age = now.since(sealed.min(received));
        if age > Span::from_secs(1) {
            let age = age.as_millis();
            return Err(format!("a heartbeat of risk-guard that is {age} ms old"));
        }
        if beat.policy != POLICY {
            return Err("another policy of risk-guard than execution's".to_owned());
        }
        if beat.kill != KillState::Armed || beat.posture == Posture::Emergency {
            return Err(format!("a heartbeat of risk-guard that says {beat:?}"));
        }
        Ok(())
    }

    fn is_accepted_on_disk(&self, id: OrderId) -> bool {
        let disk = &self.execution_disk;
        let synced = disk.entries.get(..disk.synced).unwrap_or_default();
        // The newest first: it was a moment ago.
        in_force(synced).iter().rev().any(|entry| {
            entry.records().any(|record| match record {
                Record::Accepted { order, .. } | Record::Kept(Kept::Order { order, .. }) => {
                    order.id == id
                }
                _ => false,
            })
        })
    }

    /// Both seals live, and the fact of the permit in audit's log, on disk, as its receipt says.
    fn is_permitted(&mut self, order: &Order) -> Result<(), &'static str> {
        let now = self.clock(Who::Execution);
        let (realm, name) = (self.deployment.realm(), Who::Execution.name());
        let receipts = self.oracle.receipts.iter();
        let receipt = receipts.rev().find(|receipt| receipt.order == order.id);
        let receipt = receipt.ok_or("audit's receipt")?;
        let index = usize::try_from(receipt.index).map_err(|_| "a sane receipt")?;
        if index >= self.audit_disk.synced {
            return Err("its fact on audit's disk");
        }
        let payload = self
            .audit_disk
            .entries
            .get(index)
            .ok_or("an entry in the log")?;
        let (found, hash) = entry(payload).ok_or("a readable entry in the log")?;
        if hash != receipt.entry || fact_digest(found.content) != receipt.fact {
            return Err("the entry that its receipt names");
        }
        let ring = self.deployment.ring(Who::Audit.name());
        let audit = Verifier::new(realm, Who::Audit.name(), Timestamp(0), ring);
        let fact: PermitTaken = audit
            .open_fact(&PERMIT_TAKEN, PERMIT_TAKEN.row.pattern, found.content)
            .map_err(|_| "a sealed fact in the log")?
            .message()
            .clone();
        let ring = self.deployment.ring(name);
        let mut verifier = Verifier::new(realm, name, Timestamp(0), ring);
        let (permit, sealed) = verifier
            .open_permit(&fact.permit, now)
            .map_err(|_| "a live permit and a live seal of the brain")?;
        // Worked out here by itself: the price that execution and the signer agreed on may be wrong.
        let (permit, mut sealed) = (permit.either(), sealed.either().message().clone());
        if let Some(worst) = permit.message().worst_price {
            sealed.limit_price = match sealed.side {
                Side::Buy => worst.min(sealed.limit_price),
                Side::Sell => worst.max(sealed.limit_price),
            };
        }
        if sealed == *order {
            Ok(())
        } else {
            Err("a permit for this very order")
        }
    }

    /// The venue saw nothing that an honest system sends.
    pub(crate) fn check_venue(&mut self) {
        if let Some(payload) = self.venue.unsigned.pop() {
            self.violated(format!(
                "the venue got a request whose signature does not fit: {payload}"
            ));
        }
        let twice = self.venue.taken.iter().find(|(_, times)| **times > 1);
        if let Some((id, times)) = twice.map(|(id, times)| (*id, *times)) {
            self.violated(format!("the venue took order {id} {times} times"));
        }
        if let Some(execution) = self.oracle.twice {
            self.violated(format!("execution booked fill {execution} twice"));
        }
    }

    /// A receipt is for an entry that the log really has, on disk.
    pub(crate) fn check_receipt(&mut self, receipt: &Receipt) {
        if let Err(what) = self.receipt_holds(receipt) {
            self.violated(format!(
                "a receipt for order {} names {what}",
                receipt.order
            ));
        }
    }

    /// And keeps.
    pub(crate) fn check_receipts(&mut self) {
        for receipt in self.oracle.receipts.clone() {
            self.check_receipt(&receipt);
        }
    }

    fn receipt_holds(&self, receipt: &Receipt) -> Result<(), &'static str> {
        let index = usize::try_from(receipt.index).map_err(|_| "no entry")?;
        if index >= self.audit_disk.synced {
            return Err("an entry that is not on disk");
        }
        let payload = self
            .audit_disk
            .entries
            .get(index)
            .ok_or("an entry that is gone")?;
        let (found, hash) = entry(payload).ok_or("an entry that cannot be read")?;
        if hash == receipt.entry && fact_digest(found.content) == receipt.fact {
            Ok(())
        } else {
            Err("another entry")
        }
    }

    /// Replaying the journal gives the state that wrote it.
    pub(crate) fn compare_with_replay(&mut self) {
        let now = self.clock(Who::Execution);
        let Some(life) = &self.execution else { return };
        let settings = execution_settings(self.plan.daily_loss_max);
        let mut replayed_core = Execution::new(settings, self.execution_latch, now);
        let mut fault = None;
        let entries = in_force(&self.execution_disk.entries);
        for record in entries.iter().flat_map(Entry::records) {
            if let Err(error) = replayed_core.replay(&record) {
                fault = Some(error);
                break;
            }
        }
        // With the same prices the money must be the same.
        let books = self.oracle.books.values().cloned().map(Input::Book);
        let trades = self.oracle.trades.values().cloned().map(Input::Trade);
        for price in books.chain(trades) {
            fault = fault.or(replayed_core.step(now, price).err());
        }
        let live = life.core.status(now, life.requests);
        let differ = match (fault, live, replayed_core.status(now, life.requests)) {
            (None, Ok(live), Ok(replayed)) => {
                let (live, replayed) = (recorded(live), recorded(replayed));
                let told = || format!("live {live:?}\nreplayed {replayed:?}");
                let kept = || kept_differs(&life.core, &replayed_core);
                (live != replayed).then(told).or_else(kept)
            }
            (fault, ..) => Some(format!("replay ends with {fault:?}")),
        };
        self.trace.count("replay compared");
        if let Some(differ) = differ
            && !self.has(Bug::ForgetsKill)
        {
            self.violated(format!(
                "the journal does not give the state that wrote it: {differ}"
            ));
        }
    }

    /// What audit noticed.
    pub(crate) fn alerted(&mut self, alert: &Alert) {
        match alert {
            Alert::Gap {
                source,
                boot,
                from,
                to,
            } => {
                self.trace.count("audit recorded a gap");
                let (source, boot, from, to) = (*source, *boot, *from, *to);
                // What a process sealed and took with it when it died is a gap, rightly.
                let dead = Who::CORES
                    .into_iter()
                    .find(|who| who.name() == source)
                    .is_some_and(|who| self.seat(who).boot != boot || !self.seat(who).up);
                // So is a hole that both paths left open for too long because somebody was cut off;
                // then the stream fills it late.
                // And a clock that jumps ahead lets no time to fill it.
                if !dead && !self.plan.partitions && !self.plan.jumps {
                    self.violated(format!(
                        "audit misses facts {from} to {to} of {source}, which lives"
                    ));
                }
            }
            Alert::Silence { source, since, .. } => {
                self.trace.count("audit recorded a silence");
                let up = Who::CORES
                    .into_iter()
                    .find(|who| who.name() == *source)
                    .is_some_and(|who| self.seat(who).up);
                // While the faults last, and until all have risen and are heard again, anybody may
                // rightly be silent for a while.
                let calm = !self.options.faults || self.now >= CHAOS_UNTIL + 10_000 * MS;
                if up && calm {
                    self.violated(format!(
                        "audit hears nothing of {source}, which lives, since {since:?}"
                    ));
                }
            }
            Alert::Late { .. } => self.trace.count("audit recorded a late fact"),
            Alert::Violation { subject, code } => {
                let jumped = self.plan.jumps && code.as_str() == Refusal::Future.code();
                self.oracle.refused_by_audit += u64::from(jumped);
                // What was late on the bus when its source started again: the stream brings it too.
                let earlier = code.as_str() == "BOOT_BACKWARDS";
                if earlier {
                    self.trace
                        .count("audit took a late fact of an earlier start for an attack");
                }
                if self.options.bug.is_none() && !jumped && !earlier {
                    let (subject, code) = (subject.clone(), code.clone());
                    self.violated(format!(
                        "audit takes an honest {subject} for an attack: {code}"
                    ));
                }
            }
            Alert::Suppressed { .. } => {}
            // The simulated bus denies nothing and writes no log.
            Alert::BusDenied { .. }
            | Alert::BusSuppressed { .. }
            | Alert::BusServer { .. }
            | Alert::BusLogLost => {
                self.violated(format!(
                    "audit speaks of a bus that is not there: {alert:?}"
                ));
            }
        }
    }
}

/// Where what a journal begun anew would hold is not the same, if anywhere.
fn kept_differs(live: &Execution, replayed: &Execution) -> Option<String> {
    let (live, replayed) = (live.snapshot(), replayed.snapshot());
    let missing = live.iter().find(|record| !replayed.contains(record));
    let added = replayed.iter().find(|record| !live.contains(record));
    (live != replayed).then(|| format!("live {missing:?}\nreplayed {added:?}"))
}

/// What of a status journal and prices must bring back: all but the licence to trade, and what the
/// venue confirmed.
fn recorded(mut status: ExecutionStatus) -> ExecutionStatus {
    status.may_trade = false;
    status.reason = None;
    status.orders_unconfirmed = 0;
    status.halts = Vec::new();
    status.kill_confirmed_ms = None;
    status
}
