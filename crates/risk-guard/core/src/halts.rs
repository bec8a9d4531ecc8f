//! What operators halted.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use portcullis_domain::{Order, Scope, Timestamp};
use portcullis_wire::messages::HaltStatus;

/// The most halts at once.
pub const HALTS_MAX: usize = 256;

/// Halts in force, one a scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Halts(BTreeMap<Scope, HaltStatus>);

impl Halts {
    /// Whether nothing new of an order's scopes may pass.
    pub fn stops(&self, order: &Order, now: Timestamp) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let scopes = [
            Scope::All,
            Scope::Venue(order.venue),
            Scope::Instrument(order.symbol),
            Scope::Strategy(order.strategy),
        ];
        scopes
            .iter()
            .filter_map(|scope| self.0.get(scope))
            .any(|halt| halt.until.is_none_or(|until| now < until))
    }

    /// Whether that scope is halted.
    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains_key(&scope)
    }

    /// Until when a scope is halted; `None` when it is not.
    pub fn until(&self, scope: Scope) -> Option<Option<Timestamp>> {
        self.0.get(&scope).map(|halt| halt.until)
    }

    /// Whether one more would be too many.
    pub fn is_full(&self) -> bool {
        self.0.len() >= HALTS_MAX
    }

    /// Halts a scope, or changes its halt.
    pub fn begin(&mut self, halt: HaltStatus) {
        self.0.insert(halt.scope, halt);
    }

    /// Ends the halt of a scope.
    pub fn end(&mut self, scope: Scope) {
        self.0.remove(&scope);
    }

    /// Those whose time is over.
    pub fn over(&self, now: Timestamp) -> Vec<Scope> {
        let over = |halt: &&HaltStatus| halt.until.is_some_and(|until| now >= until);
        self.0
            .values()
            .filter(over)
            .map(|halt| halt.scope)
            .collect()
    }

    /// After a start with a clock that may have jumped, no halt ends by itself.
    pub fn hold(&mut self) {
        for halt in self.0.values_mut() {
            halt.until = None;
        }
    }

    /// All of them.
    pub fn listed(&self) -> impl Iterator<Item = &HaltStatus> {
        self.0.values()
    }
}
