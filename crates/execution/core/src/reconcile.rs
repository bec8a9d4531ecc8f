//! Compares our record with the venue's whole account. The venue is right about what happened; where
//! it contradicts us, trading waits until both agree again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use portcullis_domain::{Exposure, Fill, OrderId, Symbol, Timestamp};
use portcullis_wire::Text;
use portcullis_wire::messages::Notice;

use crate::engine::{Execution, Fault};
use crate::input::{Effect, Effects, VenueOrder};
use crate::orders::State;
use crate::upkeep::RECONCILE_ROUTINE;

impl Execution {
    pub(crate) fn account(
        &mut self,
        out: &mut Effects,
        asked_at: Timestamp,
        open: &[VenueOrder],
        fills: Vec<Fill>,
        positions: &[(Symbol, Exposure)],
        now: Timestamp,
    ) -> Result<(), Fault> {
        let records_before = out.records.len();
        let fills_before = self.ledger.fills();
        for fill in fills {
            self.fill(out, fill)?;
        }
        for update in open {
            self.venue(out, update, now)?;
        }
        let foreign = open
            .iter()
            .filter(|update| {
                update
                    .order
                    .is_none_or(|order| self.orders.get(&order).is_none())
            })
            .count();

        // Whatever rests in our book and was there before the venue was asked, but is not open
        // there, has ended: its own query tells how.
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

        let theirs: BTreeMap<Symbol, Exposure> = positions
            .iter()
            .filter(|(_, position)| *position != Exposure::FLAT)
            .copied()
            .collect();
        let ours: BTreeMap<Symbol, Exposure> = self.ledger.positions_held().collect();
        let was_reconciled = self.reconciled;
        // What happened between the queries and a later start of the stream nobody would tell.
        let covered = self.streaming_since.is_some_and(|since| asked_at >= since);
        self.reconciled = covered && foreign == 0 && theirs == ours;
        self.reconciled_at = asked_at;
        if self.reconciled {
            self.reconcile_at = self.reconcile_asked_at.plus(RECONCILE_ROUTINE);
            let changed = out.records.len().saturating_sub(records_before);
            let fills = self.ledger.fills().saturating_sub(fills_before);
            if !was_reconciled || changed > 0 {
                out.effects.push(Effect::Notice(Notice::Reconciled {
                    open: u64::try_from(open.len()).unwrap_or(u64::MAX),
                    changed: u64::try_from(changed).unwrap_or(u64::MAX),
                    fills,
                }));
            }
            return Ok(());
        }
        if was_reconciled && covered {
            let detail = if foreign > 0 {
                format!("{foreign} open orders at the venue are not ours: no new orders")
            } else {
                format!("positions differ, venue {theirs:?}, here {ours:?}: no new orders")
            };
            out.effects.push(Effect::Notice(Notice::Warning {
                detail: Text::lossy(&detail),
            }));
        }
        Ok(())
    }
}
