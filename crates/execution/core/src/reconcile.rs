//! Compares our record with the venue's whole account. The venue is right about what happened; where
//! it contradicts us, nothing new is sent until both agree again: in that instrument, or everywhere
//! when it is the cash that differs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use portcullis_domain::{
    AmountError, Exposure, Fill, OrderId, Quantity, Reason, Side, Span, Symbol, Timestamp, Usd,
    Venue, VenueExecutionId,
};
use portcullis_wire::Text;
use portcullis_wire::messages::Notice;
use rust_decimal::Decimal;

use crate::confirm::Way;
use crate::engine::{Execution, Fault, ForeignOrders};
use crate::input::{Effect, Effects, Movement, MovementKind, VenueOrder};
use crate::orders::{Entry, State};
use crate::record::Record;
use crate::upkeep::RECONCILE_ROUTINE;

/// One cent: both sides round fees.
const CENT: Decimal = Decimal::from_parts(1, 0, 0, false, 2);
/// The last place of the average price of a position, to which the venue rounds it.
const PRICE_ROUNDING: Decimal = Decimal::from_parts(1, 0, 0, false, 8);
/// The most orders of others that are cancelled one by one after a comparison.
const FOREIGN_CANCELS_MAX: usize = 50;
/// How long an order that ended may still be listed as open: the venue's lists lag behind its stream.
const LISTED_AFTER: Span = Span::from_secs(5);
/// How often it is put on record that both agree: from there on movements are fetched after a restart.
const AGREED_EVERY: Span = Span::from_secs(60);
/// How long a movement that was booked is remembered: longer than what is fetched again reaches back,
/// which is the time since both last agreed on record, and a minute.
const MOVEMENTS_KEPT: Span = Span::from_secs(60 * 60);

/// The most fills that may come while the account is read, for both to be compared.
const FRESH_MAX: usize = 4_096;

/// A fill that came while the account was read, perhaps too late to be in it.
#[derive(Clone, Copy, Debug)]
pub struct FreshFill {
    /// When it came.
    at: Timestamp,
    execution: VenueExecutionId,
    symbol: Symbol,
    side: Side,
    quantity: Quantity,
    /// What it added to the cash.
    paid: Usd,
}

/// Where nothing new is sent: `None` is everywhere.
pub type Halts = BTreeMap<Option<Symbol>, Text>;

/// The venue's account.
#[derive(Clone, Debug)]
pub struct Theirs {
    pub asked_at: Timestamp,
    pub open: Vec<VenueOrder>,
    pub fills: Vec<Fill>,
    pub positions: Vec<(Symbol, Exposure)>,
    pub cash: Usd,
    pub movements: Vec<Movement>,
}

impl Execution {
    pub(crate) fn account(
        &mut self,
        out: &mut Effects,
        theirs: Theirs,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let records_before = out.records.len();
        let fills_before = self.ledger.fills();
        let asked_at = theirs.asked_at;
        let mut fresh = core::mem::take(&mut self.fresh);
        if fresh.len() >= FRESH_MAX {
            // Too much happened to say what the account should be: it is read again, and until then
            // nothing is known to agree.
            self.reconciled = false;
            self.reconcile_at = now;
            return Ok(());
        }
        let known: BTreeSet<VenueExecutionId> =
            theirs.fills.iter().map(|fill| fill.execution).collect();
        fresh.retain(|fill| fill.at >= asked_at && !known.contains(&fill.execution));
        for fill in theirs.fills {
            self.fill(out, fill)?;
        }
        for movement in theirs.movements {
            self.moved(out, movement)?;
        }
        for update in &theirs.open {
            self.venue(out, update, Way::Account, now)?;
        }
        self.ask_about_missing(out, asked_at, &theirs.open);

        // What was told since the account was asked for may be missing in it.
        self.alterations.retain(|_, (told, _)| *told >= asked_at);
        let told = self.alterations.iter();
        let mut halts: Halts = told
            .map(|(symbol, (_, evidence))| (Some(*symbol), evidence.clone()))
            .collect();
        self.compare_orders(out, asked_at, &theirs.open, &mut halts);
        self.compare_positions(&theirs.positions, &fresh, &mut halts)?;
        // What happened between the queries and a later start of the stream nobody would tell.
        let covered = self.streaming_since.is_some_and(|since| asked_at >= since);
        self.compare_cash(out, covered, theirs.cash, &fresh, &mut halts)?;

        let was_reconciled = self.reconciled && self.halts.is_empty();
        self.reconciled = covered;
        self.reconciled_at = asked_at;
        self.confirm_ended(out, asked_at, &halts);
        self.change_halts(out, halts);
        self.confirm_kill(out, asked_at, &theirs.open, now);
        if self.reconciled && self.halts.is_empty() {
            self.agreed(out, asked_at)?;
            self.reconcile_at = self.reconcile_asked_at.plus(RECONCILE_ROUTINE);
            let changed = out.records.len().saturating_sub(records_before);
            let fills = self.ledger.fills().saturating_sub(fills_before);
            if !was_reconciled || changed > 0 {
                out.effects.push(Effect::Notice(Notice::Reconciled {
                    open: u64::try_from(theirs.open.len()).unwrap_or(u64::MAX),
                    changed: u64::try_from(changed).unwrap_or(u64::MAX),
                    fills,
                }));
            }
        }
        Ok(())
    }

    /// Books a fill that the stream tells.
    pub(crate) fn fresh_fill(
        &mut self,
        out: &mut Effects,
        fill: Fill,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let before = self.ledger.cash();
        let fills_before = self.ledger.fills();
        let (execution, symbol) = (fill.execution, fill.symbol);
        let (side, quantity) = (fill.side, fill.quantity);
        self.fill(out, fill)?;
        if self.ledger.fills() > fills_before && self.fresh.len() < FRESH_MAX {
            let after = self.ledger.cash();
            self.fresh.push(FreshFill {
                at: now,
                execution,
                symbol,
                side,
                quantity,
                paid: after.minus(before).map_err(|_| Fault::Overflow)?,
            });
        }
        Ok(())
    }

    /// Books what the venue moved without a fill, once.
    fn moved(&mut self, out: &mut Effects, movement: Movement) -> Result<(), Fault> {
        if self.movements.contains(&(movement.at, movement.id.clone())) {
            return Ok(());
        }
        let kind = match movement.kind {
            MovementKind::Funding => "funding",
            MovementKind::Transfer => "transfer",
            MovementKind::Other => "unexplained movement",
        };
        let detail = format!(
            "{kind} of {} USD{} by the venue ({})",
            movement.amount,
            movement
                .symbol
                .map_or_else(String::new, |symbol| format!(" for {symbol}")),
            movement.id.as_str()
        );
        self.emit(out, Record::Moved(movement))?;
        out.effects.push(Effect::Notice(Notice::Warning {
            detail: Text::lossy(&detail),
        }));
        self.check_loss(out);
        Ok(())
    }

    /// Whatever rests in our book and was there before the venue was asked, but is not open there, has
    /// ended: its own query tells how.
    fn ask_about_missing(&mut self, out: &mut Effects, asked_at: Timestamp, open: &[VenueOrder]) {
        let at_venue: BTreeSet<OrderId> = open.iter().filter_map(|update| update.order).collect();
        let missing: Vec<Effect> = self
            .orders
            .live()
            .take_while(|entry| entry.accepted_at < asked_at)
            .filter(|entry| {
                matches!(entry.state, State::Open) && !at_venue.contains(&entry.order.id)
            })
            .map(|entry| Effect::Query {
                order: entry.order.id,
                symbol: entry.order.symbol,
            })
            .collect();
        // A query may fail: the next reconciliation asks again about what is still missing.
        self.missing = !missing.is_empty();
        out.effects.extend(missing);
    }

    /// Every open order there is one of ours that is not over, once, and is what it was when it left.
    fn compare_orders(
        &self,
        out: &mut Effects,
        asked_at: Timestamp,
        open: &[VenueOrder],
        halts: &mut Halts,
    ) {
        let (mut cancelled, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut foreign = 0_usize;
        for update in open {
            // While everything is being cancelled nothing open means nothing open, whoever placed it.
            if self.is_cancelling() && cancelled.insert(update.symbol) {
                out.effects.push(Effect::CancelAll {
                    symbol: update.symbol,
                });
            }
            let entry = update.order.and_then(|order| self.orders.get(&order));
            let known = entry.filter(|entry| seen.insert(entry.order.id));
            let evidence = match known {
                None => format!("order {} at the venue is not ours", update.venue_order),
                Some(entry) if is_long_over(entry, asked_at) => {
                    format!(
                        "order {} is over here and open at the venue",
                        entry.order.id
                    )
                }
                Some(entry) => match altered(entry, update) {
                    Some(evidence) => evidence,
                    None => continue,
                },
            };
            halts
                .entry(Some(update.symbol))
                .or_insert(Text::lossy(&evidence));
            // What is more than that is cancelled after the next comparison.
            foreign = foreign.saturating_add(1);
            if !self.is_cancelling()
                && foreign <= FOREIGN_CANCELS_MAX
                && self.settings.foreign_orders == ForeignOrders::Cancel
            {
                out.effects.push(Effect::CancelForeign {
                    symbol: update.symbol,
                    venue_order: update.venue_order,
                });
            }
        }
    }

    fn compare_positions(
        &self,
        positions: &[(Symbol, Exposure)],
        fresh: &[FreshFill],
        halts: &mut Halts,
    ) -> Result<(), Fault> {
        let flat = |position: &Exposure| *position == Exposure::FLAT;
        let theirs: BTreeMap<Symbol, Exposure> = positions
            .iter()
            .filter(|(_, position)| !flat(position))
            .copied()
            .collect();
        let mut ours: BTreeMap<Symbol, Exposure> = self.ledger.positions_held().collect();
        for fill in fresh {
            let held = ours.entry(fill.symbol).or_insert(Exposure::FLAT);
            let before = fill.side.opposite().applied(*held, fill.quantity);
            *held = before.map_err(|_| Fault::Overflow)?;
        }
        ours.retain(|_, position| !flat(position));
        for symbol in theirs.keys().chain(ours.keys()) {
            let (venue, here) = (theirs.get(symbol), ours.get(symbol));
            if venue != here {
                let shown = |side: Option<&Exposure>| side.copied().unwrap_or(Exposure::FLAT);
                let evidence = format!(
                    "position of {symbol}: {} at the venue, {} here",
                    shown(venue),
                    shown(here)
                );
                halts.entry(Some(*symbol)).or_insert(Text::lossy(&evidence));
            }
        }
        Ok(())
    }

    /// The venue's cash is what our fills, fees and the known movements make of it.
    fn compare_cash(
        &mut self,
        out: &mut Effects,
        covered: bool,
        cash: Usd,
        fresh: &[FreshFill],
        halts: &mut Halts,
    ) -> Result<(), Fault> {
        let change = self.cash_without(fresh).map_err(|_| Fault::Overflow)?;
        let Some(base) = self.ledger.cash_base else {
            if !covered || !halts.is_empty() {
                return Ok(());
            }
            let base = cash.minus(change).map_err(|_| Fault::Overflow)?;
            return self.emit(out, Record::CashBegan(base));
        };
        let expected = base.plus(change).map_err(|_| Fault::Overflow)?;
        let differs = cash.minus(expected).map_err(|_| Fault::Overflow)?;
        let differs = differs.abs().get() > self.rounding();
        let differed = core::mem::replace(&mut self.cash_differs, differs);
        // A fill that is not here yet, or one of somebody else, makes a position differ too: then it is
        // only when it stays so that the money is missed.
        if differs && (differed || halts.is_empty()) {
            let evidence = format!("cash: {cash} USD at the venue, {expected} here");
            halts.insert(None, Text::lossy(&evidence));
        }
        Ok(())
    }

    /// What our fills and the known movements made of the cash before these last fills.
    fn cash_without(&self, fresh: &[FreshFill]) -> Result<Usd, AmountError> {
        let paid = fresh.iter();
        paid.map(|fill| fill.paid)
            .try_fold(self.ledger.cash(), Usd::minus)
    }

    /// By how much the cash may differ, in USD: a cent, and the rounding of the average prices.
    fn rounding(&self) -> Decimal {
        let held = self.ledger.positions_held();
        held.map(|(_, position)| position.get().abs())
            .filter_map(|size| size.checked_mul(PRICE_ROUNDING))
            .try_fold(CENT, Decimal::checked_add)
            .unwrap_or(CENT)
    }

    /// An order that is over, of an instrument in which both agree, is confirmed by that, however often it
    /// should have been: its fills are in the position, and it is not open.
    fn confirm_ended(&mut self, out: &mut Effects, asked_at: Timestamp, halts: &Halts) {
        let confirmed: Vec<OrderId> = self
            .orders
            .watched()
            .filter(|entry| !entry.is_live() && entry.accepted_at < asked_at)
            .filter(|entry| !halts.contains_key(&Some(entry.order.symbol)))
            .map(|entry| entry.order.id)
            .collect();
        for order in confirmed {
            self.unwatch(out, order);
        }
    }

    /// Says what is new, and keeps it.
    fn change_halts(&mut self, out: &mut Effects, halts: Halts) {
        for (symbol, evidence) in &halts {
            if !self.halts.contains_key(symbol) {
                out.effects.push(halt(*symbol, false, evidence.clone()));
            }
        }
        for symbol in self.halts.keys() {
            if !halts.contains_key(symbol) {
                let evidence = Text::lossy("the venue's account and ours agree again");
                out.effects.push(halt(*symbol, true, evidence));
            }
        }
        self.halts = halts;
    }

    /// A kill is over only when the venue says that nothing is open, and nothing can become so.
    fn confirm_kill(
        &mut self,
        out: &mut Effects,
        asked_at: Timestamp,
        open: &[VenueOrder],
        now: Timestamp,
    ) {
        let Some(kill) = &mut self.killing else {
            return;
        };
        let proven = open.is_empty() && self.orders.live_count() == 0 && asked_at >= kill.since;
        if !proven {
            // Somebody has placed another since.
            kill.confirmed_after = None;
            return;
        }
        if kill.confirmed_after.is_some() {
            return;
        }
        let after = now.since(kill.since);
        kill.confirmed_after = Some(after);
        out.effects.push(Effect::Notice(Notice::KillConfirmed {
            venue: Venue::Bybit,
            orders: kill.orders,
            after_ms: after.as_millis(),
        }));
    }

    /// Both agree; now and then that is put on record.
    fn agreed(&mut self, out: &mut Effects, asked_at: Timestamp) -> Result<(), Fault> {
        let due = self
            .agreed_at
            .is_none_or(|at| asked_at.since(at) >= AGREED_EVERY);
        if due {
            self.emit(out, Record::Agreed { at: asked_at })?;
        }
        Ok(())
    }

    pub(crate) fn apply_agreed(&mut self, at: Timestamp) {
        self.agreed_at = Some(at);
        let kept = at.minus(MOVEMENTS_KEPT);
        while self
            .movements
            .first()
            .is_some_and(|(moved, _)| *moved < kept)
        {
            self.movements.pop_first();
        }
    }

    pub(crate) fn apply_moved(&mut self, movement: &Movement) -> Result<(), Fault> {
        let booked = match movement.kind {
            MovementKind::Funding | MovementKind::Other => self.ledger.fund(movement.amount),
            MovementKind::Transfer => self.ledger.transfer(movement.amount),
        };
        booked.map_err(|_| Fault::Overflow)?;
        self.movements.insert((movement.at, movement.id.clone()));
        Ok(())
    }

    /// The venue tells of an order of ours that it is not what it was when it left.
    pub(crate) fn notice_alteration(
        &mut self,
        out: &mut Effects,
        evidence: &str,
        symbol: Symbol,
        now: Timestamp,
    ) {
        let evidence = Text::lossy(evidence);
        self.reconcile_at = now;
        self.alterations.insert(symbol, (now, evidence.clone()));
        if self.halts.insert(Some(symbol), evidence.clone()).is_none() {
            out.effects.push(halt(Some(symbol), false, evidence));
        }
    }
}

/// Whether an order was over before the venue was asked, by more than its lists lag.
fn is_long_over(entry: &Entry, asked_at: Timestamp) -> bool {
    let before = |ended_at: Timestamp| ended_at.plus(LISTED_AFTER) < asked_at;
    !entry.is_live() && entry.ended_at.is_none_or(before)
}

fn halt(symbol: Option<Symbol>, is_over: bool, evidence: Text) -> Effect {
    Effect::Notice(Notice::VenueHalt {
        symbol,
        reason: Reason::VenueDiffers,
        is_over,
        evidence,
    })
}

/// What is another than it was, if anything.
pub fn altered(entry: &Entry, update: &VenueOrder) -> Option<String> {
    let order = &entry.order;
    let same = update.symbol == order.symbol
        && update.side == order.side
        && update.quantity == order.quantity
        && update.limit_price == Some(order.limit_price);
    (!same).then(|| {
        let price = update
            .limit_price
            .map_or_else(String::new, |price| format!(" at {price}"));
        format!(
            "order {}: {} {} {}{price} at the venue, {} {} {} at {} here",
            order.id,
            update.side,
            update.quantity,
            update.symbol,
            order.side,
            order.quantity,
            order.symbol,
            order.limit_price
        )
    })
}
