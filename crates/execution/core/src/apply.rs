//! How a record changes the state: the only way in which it changes, live and in replay.

use portcullis_domain::{Fill, Order, OrderId, Quantity, Timestamp};

use crate::confirm::never_at_venue;
use crate::engine::{Execution, Fault};
use crate::hard_limits::ARRIVAL_MAX;
use crate::input::Effects;
use crate::orders::{Doubt, Entry, State};
use crate::record::Record;

impl Execution {
    pub(crate) fn emit(&mut self, out: &mut Effects, record: Record) -> Result<(), Fault> {
        self.apply(&record)?;
        out.records.push(record);
        Ok(())
    }

    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), Fault> {
        // A snapshot is the head of a journal: in the middle it would undo what came before.
        match record {
            Record::Kept(_) if self.begun => return Err(Fault::Snapshot),
            Record::Kept(_) | Record::Sampled { .. } => {}
            Record::Accepted { .. }
            | Record::Sent { .. }
            | Record::InDoubt { .. }
            | Record::Opened { .. }
            | Record::Filled(_)
            | Record::Ended { .. }
            | Record::DayBegan { .. }
            | Record::LimitSeen(_)
            | Record::Moved(_)
            | Record::CashBegan(_)
            | Record::Agreed { .. }
            | Record::Equity { .. } => self.begun = true,
        }
        match record {
            Record::Accepted {
                order,
                expires_at,
                at,
            } => {
                self.ledger.open(order).map_err(|_| Fault::Overflow)?;
                self.orders
                    .insert(Entry::new(order.clone(), *expires_at, *at));
                Ok(())
            }
            Record::Sent {
                order,
                timestamp_ms,
            } => {
                let state = State::Sent {
                    timestamp_ms: *timestamp_ms,
                };
                self.change(order, |entry| {
                    entry.state = state;
                    entry.begin_watch();
                })
            }
            Record::InDoubt { order, at } => self.change(order, |entry| {
                let stamped = match entry.state {
                    State::Sent { timestamp_ms } => Timestamp::from_millis(timestamp_ms),
                    // Without a record of the sending it may have carried any time up to its end.
                    State::Accepted(_) | State::InDoubt(_) | State::Open | State::Ended(_) => {
                        entry.expires_at
                    }
                };
                let settled_at = stamped.max(entry.expires_at).plus(ARRIVAL_MAX);
                entry.state = State::InDoubt(Doubt {
                    settled_at,
                    asked: 0,
                    ask_at: *at,
                    not_found_at: None,
                });
                entry.begin_watch();
            }),
            Record::Opened { order, venue_order } => self.change(order, |entry| {
                entry.venue_order = Some(*venue_order);
                entry.state = State::Open;
            }),
            Record::Filled(fill) => self.apply_fill(fill),
            Record::Ended { order, status } => {
                let entry = self.orders.get(order).ok_or(Fault::UnknownOrder(*order))?;
                if entry.is_live() {
                    let (order, released) = (entry.order.clone(), entry.remaining());
                    self.release(&order, released)?;
                    self.ledger.end(&order);
                }
                self.change(order, |entry| {
                    entry.closing = None;
                    entry.state = State::Ended(*status);
                    if never_at_venue(*status) {
                        entry.watch = None;
                    }
                })
            }
            Record::DayBegan {
                day,
                baseline,
                chain,
            } => {
                let expected = self.ledger.day.next_chain(*day, *baseline);
                if *day <= self.ledger.day() || *chain != expected {
                    return Err(Fault::Day(*day));
                }
                self.ledger.begin_day(*day, *baseline, *chain);
                Ok(())
            }
            Record::LimitSeen(limit) => {
                self.ledger.day.tighten(*limit);
                Ok(())
            }
            Record::Sampled { at, equity } => {
                self.ledger.day.sample(*at, *equity);
                Ok(())
            }
            Record::Moved(movement) => self.apply_moved(movement),
            Record::CashBegan(base) => {
                self.ledger.cash_base = Some(*base);
                Ok(())
            }
            Record::Agreed { at } => {
                self.apply_agreed(*at);
                Ok(())
            }
            Record::Kept(kept) => self.restore(kept),
            Record::Equity { equity, strategies } => {
                self.ledger.record_equity(*equity, strategies);
                Ok(())
            }
        }
    }

    pub(crate) fn apply_fill(&mut self, fill: &Fill) -> Result<(), Fault> {
        let entry = self
            .orders
            .get(&fill.order)
            .ok_or(Fault::UnknownOrder(fill.order))?;
        let (order, live) = (entry.order.clone(), entry.is_live());
        let released = entry
            .remaining()
            .map(|remaining| remaining.min(fill.quantity));
        let filled = entry
            .filled
            .bought(fill.quantity)
            .map_err(|_| Fault::Overflow)?;
        self.ledger
            .book(order.strategy, fill)
            .map_err(|_| Fault::Overflow)?;
        if live {
            self.release(&order, released)?;
        }
        self.change(&fill.order, |entry| entry.add(fill.execution, filled))
    }

    pub(crate) fn release(
        &mut self,
        order: &Order,
        quantity: Option<Quantity>,
    ) -> Result<(), Fault> {
        let Some(quantity) = quantity else {
            return Ok(());
        };
        self.ledger
            .release(order, quantity)
            .map_err(|_| Fault::Overflow)
    }

    pub(crate) fn change(
        &mut self,
        order: &OrderId,
        change: impl FnOnce(&mut Entry),
    ) -> Result<(), Fault> {
        self.orders
            .update(order, change)
            .ok_or(Fault::UnknownOrder(*order))
    }
}
