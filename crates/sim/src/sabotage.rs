//! The planted bugs that change what passes between a core and its shell.

use execution_core::{Input, Movement, MovementKind, VenueOrder, VenueState};
use portcullis_domain::{
    Exposure, Fill, Order, OrderId, OrderStatus, Quantity, Side, Span, Symbol, VenueOrderId,
};
use portcullis_wire::messages::{ExecutionStatus, Heartbeat, Permit};
use portcullis_wire::subjects::{HEARTBEAT, ORDER, PERMIT};
use portcullis_wire::{Text, Verified};

use crate::cast::Who;
use crate::planted::Bug;
use crate::settings::POLICY;
use crate::sure;
use crate::world::{MS, World};

/// By so much a permit seems to be younger than it is.
const REJUVENATED: Span = Span::from_millis(1_500);
/// From then on risk-guard is silent, for a shell that ignores it.
const SILENT: u64 = 4_000 * MS;
/// Each fill whose number this divides is forgotten.
const FORGOTTEN: u64 = 7;

impl World {
    /// Whether a fill never reaches the core.
    pub(crate) fn hides(&self, fill: &Fill) -> bool {
        let number = || {
            let digits = fill.execution.as_str().trim_start_matches('x');
            digits.parse::<u64>().unwrap_or(1)
        };
        match self.options.bug {
            Some(Bug::ForgetsFills) => number().is_multiple_of(FORGOTTEN),
            Some(Bug::ForgetsLateFills) => self.oracle.watch.is_over(&fill.order),
            _ => false,
        }
    }

    /// The account as a shell tells it that believes its own record.
    pub(crate) fn agree(
        &self,
        open: &mut Vec<VenueOrder>,
        fills: &[Fill],
        positions: &mut Vec<(Symbol, Exposure)>,
    ) {
        if !self.has(Bug::IgnoresDifference) {
            return;
        }
        open.retain(|order| order.order.is_some());
        let mut held = self.oracle.held();
        for fill in fills {
            if !self.oracle.booked().contains(&fill.execution) {
                let quantity = fill.quantity.get();
                *held.entry(fill.symbol).or_default() += match fill.side {
                    Side::Buy => quantity,
                    Side::Sell => -quantity,
                };
            }
        }
        let exposure = |held| sure(Exposure::new(held), "a position");
        *positions = held
            .into_iter()
            .map(|(symbol, held)| (symbol, exposure(held)))
            .collect();
    }

    /// The venue's movements as a bug would have them.
    pub(crate) fn sabotage_movements(&self, movements: &mut Vec<Movement>) {
        match self.options.bug {
            Some(Bug::ForgetsMovements) => movements.clear(),
            Some(Bug::TakesDepositForGain) => {
                for movement in movements {
                    movement.kind = MovementKind::Funding;
                }
            }
            _ => {}
        }
    }

    /// The venue tells execution of an order: the oracle hears it as it is, and execution so too,
    /// but for a bug.
    pub(crate) fn hear(&mut self, told: &mut VenueOrder) {
        self.told_of(told);
        if self.has(Bug::IgnoresAlteration)
            && let Some((quantity, price)) = self.venue.ordered(told)
        {
            told.quantity = quantity;
            told.limit_price = Some(price);
        }
    }

    /// What a shell does that takes "not found" for "refused".
    pub(crate) fn take_for_refused(&mut self, order: OrderId, symbol: Symbol) {
        let Some((side, left)) = self.oracle.watch.left(&order) else {
            return;
        };
        let Ok(quantity) = Quantity::new(left) else {
            return;
        };
        self.execution_step(Input::Venue(VenueOrder {
            order: Some(order),
            venue_order: sure(VenueOrderId::new("none"), "an id"),
            symbol,
            side,
            quantity,
            limit_price: None,
            state: VenueState::Rejected,
            filled: None,
            detail: Text::lossy("not found"),
        }));
    }

    /// A permit whose lifetime begins now, or that names the right policy, as a bug would have it.
    pub(crate) fn resealed_permit(
        &mut self,
        permit: Verified<Permit>,
        order: Verified<Order>,
    ) -> (Verified<Permit>, Verified<Order>) {
        let now = self.clock(Who::Execution);
        let at = match self.options.bug {
            Some(Bug::AcceptsExpiredPermit) => now.plus(REJUVENATED),
            Some(Bug::IgnoresPolicyHash) => now,
            _ => return (permit, order),
        };
        let mut order = order.message().clone();
        order.policy = POLICY;
        let sealed = self.deployment.seal(at, &ORDER, None, &order);
        let permit = Permit {
            order: sealed.frame,
            policy: POLICY,
            ..permit.message().clone()
        };
        let sealed = self.deployment.seal(at, &PERMIT, None, &permit);
        let opened = self
            .deployment
            .open_permit(Who::Execution.text(), now, &sealed.frame);
        let (permit, order) = sure(opened, "a permit");
        (permit.either(), order.either())
    }

    /// A heartbeat as if it had just come.
    pub(crate) fn resealed_heartbeat(&mut self, beat: Heartbeat) -> Verified<Heartbeat> {
        let now = self.clock(Who::Execution);
        let reader = Who::Execution.text();
        let beat = Heartbeat {
            policy: POLICY,
            ..beat
        };
        self.deployment
            .verified(reader, now, &HEARTBEAT, None, &beat)
    }

    /// A status as a bug would have it.
    pub(crate) fn sabotage_status(&self, status: &mut ExecutionStatus) {
        if self.has(Bug::IgnoresPolicyHash)
            && let Some((beat, ..)) = self.oracle.heartbeat
        {
            status.policy = beat.policy;
        }
        if !self.has(Bug::DropsDoubtfulExposure) {
            return;
        }
        let doubtful = status.orders.iter();
        for order in doubtful.filter(|order| order.status == OrderStatus::Unknown) {
            let left = order
                .filled
                .map_or(Some(order.quantity), |filled| order.quantity.minus(filled));
            let row = status
                .exposures
                .iter_mut()
                .find(|row| (row.strategy, row.symbol) == (order.strategy, order.symbol));
            if let (Some(row), Some(left)) = (row, left) {
                let open = match order.side {
                    Side::Buy => &mut row.open_buy,
                    Side::Sell => &mut row.open_sell,
                };
                *open = open.and_then(|open| open.minus(left));
            }
        }
    }

    /// Whether a bug keeps execution from cancelling.
    pub(crate) fn does_not_cancel(&self, symbol: Symbol) -> bool {
        match self.options.bug {
            Some(Bug::IgnoresSilence) => {
                let watch = &self.oracle.watch;
                watch.killed_at.is_none() && self.now - watch.heard_at > SILENT
            }
            Some(Bug::CancelsOnce) => self.oracle.watch.has_cancelled(symbol),
            _ => false,
        }
    }
}
