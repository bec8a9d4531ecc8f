//! What each strategy did lately.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};

use portcullis_domain::{
    Order, Price, Quantity, Recent, Side, Span, StrategyId, Symbol, Timestamp, Usd,
};
use portcullis_wire::messages::StrategyPolicy;

use crate::window::Window;

/// The most orders that are remembered to tell the same one again.
const SAME_MAX: usize = 10_000;
const SECOND: Span = Span::from_secs(1);
const MINUTE: Span = Span::from_secs(60);

/// What makes two orders the same.
type Likeness = (Symbol, Side, Quantity, Price);

/// One strategy.
#[derive(Clone, Debug)]
pub struct Strategy {
    /// Orders that came, whatever became of them.
    pub messages: Window,
    /// Permits.
    pub permits: Window,
    /// Orders that were cancelled.
    pub cancels: Window,
    same: Recent<Likeness>,
    fills: BTreeMap<(Symbol, Side), Window>,
    fills_most: u64,
    fills_span: Span,
    /// Whether a person has to let it go on.
    pub is_suspended: bool,
    /// The day's loss, as execution says.
    pub loss: Option<Usd>,
}

impl Strategy {
    fn new(policy: &StrategyPolicy) -> Self {
        // One more than the limit tells that it was passed.
        let most = |limit: u32| u64::from(limit).saturating_add(1);
        Self {
            messages: Window::new(SECOND, most(policy.messages_per_second_max)),
            permits: Window::new(SECOND, most(policy.orders_per_second_max)),
            cancels: Window::new(MINUTE, most(policy.cancels_per_minute_max)),
            same: Recent::new(Span::from_millis(policy.same_order_ms), SAME_MAX),
            fills: BTreeMap::new(),
            fills_most: most(policy.repeated_fills_max),
            fills_span: Span::from_millis(policy.repeated_window_ms),
            is_suspended: false,
            loss: None,
        }
    }

    /// Whether it sent the same order a moment ago, or that could not be told of the next one.
    pub fn repeats(&mut self, order: &Order, now: Timestamp) -> bool {
        self.same.forget(now);
        !self.same.has_room() || self.same.contains(&likeness(order))
    }

    /// It sent this order, of which [`Strategy::repeats`] said no.
    pub fn remember(&mut self, order: &Order, now: Timestamp) {
        // There is room: nothing came in between.
        let _ = self.same.remember(likeness(order), now);
    }

    /// How many fills of an instrument one way it had within the window.
    pub fn fills(&mut self, symbol: Symbol, side: Side, now: Timestamp) -> u64 {
        let fills = self.fills.get_mut(&(symbol, side));
        fills.map_or(0, |fills| fills.count(now))
    }

    /// It had another fill.
    pub fn filled(&mut self, symbol: Symbol, side: Side, now: Timestamp) {
        let (span, most) = (self.fills_span, self.fills_most);
        let fills = self.fills.entry((symbol, side));
        fills.or_insert_with(|| Window::new(span, most)).note(now);
    }

    /// A person lets it go on: what it did before no longer counts.
    pub fn release(&mut self) {
        self.is_suspended = false;
        for fills in self.fills.values_mut() {
            fills.clear();
        }
    }
}

fn likeness(order: &Order) -> Likeness {
    (order.symbol, order.side, order.quantity, order.limit_price)
}

/// All strategies that are judged; boxed, so that looking one up reads names and nothing else.
#[derive(Clone, Debug)]
pub struct Strategies(BTreeMap<StrategyId, Box<Strategy>>);

impl Strategies {
    /// These, and nobody did anything yet.
    pub fn new(ids: &BTreeSet<StrategyId>, policy: &StrategyPolicy) -> Self {
        Self(
            ids.iter()
                .map(|id| (*id, Box::new(Strategy::new(policy))))
                .collect(),
        )
    }

    /// Whether there is one of that name.
    pub fn has(&self, id: StrategyId) -> bool {
        self.0.contains_key(&id)
    }

    /// The one of that name.
    pub fn get_mut(&mut self, id: StrategyId) -> Option<&mut Strategy> {
        self.0.get_mut(&id).map(Box::as_mut)
    }

    /// The one of that name.
    pub fn get(&self, id: StrategyId) -> Option<&Strategy> {
        self.0.get(&id).map(Box::as_ref)
    }

    /// Who they are.
    pub fn ids(&self) -> impl Iterator<Item = StrategyId> {
        self.0.keys().copied()
    }

    /// Those that a person has to let go on.
    pub fn suspended(&self) -> impl Iterator<Item = StrategyId> {
        let suspended = self.0.iter().filter(|(_, strategy)| strategy.is_suspended);
        suspended.map(|(id, _)| *id)
    }

    /// Takes execution's word on the day's losses; a strategy that it does not name has none.
    pub fn losses<'a>(&mut self, losses: impl Iterator<Item = (&'a StrategyId, Usd)>) {
        for strategy in self.0.values_mut() {
            strategy.loss = Some(Usd::ZERO);
        }
        for (id, loss) in losses {
            if let Some(strategy) = self.0.get_mut(id) {
                strategy.loss = Some(loss);
            }
        }
    }
}
