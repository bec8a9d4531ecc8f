//! Money that the venue moves without a fill: funding, deposits and withdrawals.

use execution_core::{Kept, Movement, MovementKind, Record};
use portcullis_domain::{Exposure, Symbol, Timestamp, Usd};
use portcullis_wire::Text;
use rust_decimal::Decimal;

use crate::cast::Who;
use crate::sure;
use crate::venue::Venue;
use crate::world::{CHAOS_UNTIL, Event, MS, World};

impl Venue {
    fn move_money(
        &mut self,
        now: Timestamp,
        kind: MovementKind,
        symbol: Option<Symbol>,
        amount: Decimal,
    ) {
        self.cash += amount;
        self.movements.push(Movement {
            id: Text::lossy(&format!("m{}", self.movements.len())),
            kind,
            symbol,
            amount: sure(Usd::new(amount), "an amount"),
            // The venue's times are whole milliseconds.
            at: Timestamp::from_millis(now.as_millis()),
        });
    }
}

impl World {
    /// The venue moves money, and nobody is told: it stands in its log.
    pub(crate) fn move_money(&mut self) {
        let next = self.now + self.random.between(300, 6_000) * MS;
        if next < CHAOS_UNTIL {
            self.schedule(next - self.now, Event::Money);
        }
        let now = self.venue_clock();
        let held: Vec<(Symbol, Exposure)> = self.venue.positions().into_iter().collect();
        let cents = self.random.around(300);
        let (kind, symbol, amount) = if !held.is_empty() && self.random.chance(600) {
            let (symbol, _) = self.random.pick(&held);
            let kind = if self.random.chance(200) {
                MovementKind::Other
            } else {
                MovementKind::Funding
            };
            (kind, Some(symbol), Decimal::new(cents * 7, 3))
        } else {
            (MovementKind::Transfer, None, Decimal::new(cents, 0))
        };
        if amount.is_zero() {
            return;
        }
        self.trace.count(match kind {
            MovementKind::Funding if amount.is_sign_negative() => "fault: funding paid",
            MovementKind::Funding => "fault: funding received",
            MovementKind::Other => "fault: money moved without a reason",
            MovementKind::Transfer if amount.is_sign_negative() => "fault: withdrawal",
            MovementKind::Transfer => "fault: deposit",
        });
        if self.execution.is_none() {
            self.trace
                .count("fault: money moved while execution is down");
        }
        self.say(format_args!("the venue moves {amount} USD, {kind:?}"));
        self.venue.move_money(now, kind, symbol, amount);
    }

    /// Execution books a movement: one that the venue made, and not a second time.
    pub(crate) fn check_movement(&mut self, movement: &Movement) {
        self.trace.count(match movement.kind {
            MovementKind::Funding => "funding booked",
            MovementKind::Other => "unexplained movement booked",
            MovementKind::Transfer => "transfer booked",
        });
        if !self.venue.movements.contains(movement) {
            self.violated(format!(
                "execution books movement {}, which the venue never made",
                movement.id.as_str()
            ));
        }
        if self.oracle.moved_twice {
            self.violated(format!(
                "execution books movement {} twice",
                movement.id.as_str()
            ));
        }
    }

    /// Whether execution's record has each movement of the venue.
    pub(crate) fn all_movements_booked(&self) -> bool {
        let mut movements = self.venue.movements.iter();
        movements.all(|movement| self.oracle.moved.contains(&movement.id))
    }

    /// At rest: what was won or lost is in execution's cash, what was paid in or taken out is in what
    /// the venue's cash is measured from, and both together are the venue's cash.
    pub(crate) fn check_cash(&mut self) {
        let Some(life) = &self.execution else { return };
        let kept = life.core.snapshot().into_iter();
        let mut ledger = kept.filter_map(|record| match record {
            Record::Kept(Kept::Ledger {
                cash, cash_base, ..
            }) => Some((cash.get(), cash_base.map(Usd::get))),
            _ => None,
        });
        let Some((cash, base)) = ledger.next_back() else {
            return;
        };
        let transfers: Decimal = self.venue.movements.iter().map(transferred).sum();
        let (venue, made) = (self.venue.cash, self.oracle.cash());
        if cash != made || base != Some(transfers) || cash + transfers != venue {
            let who = Who::Execution;
            self.violated(format!(
                "{who:?} has cash of {cash} on a base of {base:?}, where fills and funding make \
                 {made}, {transfers} was paid in, and the venue has {venue}"
            ));
        }
    }
}

fn transferred(movement: &Movement) -> Decimal {
    match movement.kind {
        MovementKind::Funding | MovementKind::Other => Decimal::ZERO,
        MovementKind::Transfer => movement.amount.get(),
    }
}
