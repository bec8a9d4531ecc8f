//! Risk-guard's account of itself, for people.

use alloc::vec::Vec;

use portcullis_domain::{Figure, Rule, Scope, Timestamp, Unit};
use portcullis_wire::messages::{LimitStatus, RiskStatus};

use crate::guard::RiskGuard;

/// The most lines of the longer kinds: everything together must fit one frame of 64 KiB.
const BREAKERS_MAX: usize = 60;
const HALTS_MAX: usize = 40;

impl RiskGuard {
    /// Limits and what is used of them, breakers, halts, and what waits for a second person.
    pub fn risk_status(&mut self, now: Timestamp) -> RiskStatus {
        let mut left_out = 0;
        let mut limits = self.limit_statuses(now);
        let mut breakers = self.breakers.statuses(now);
        let mut halts: Vec<_> = self.halts.listed().cloned().collect();
        let mut suspended: Vec<_> = self.strategies.suspended().collect();
        let mut pending: Vec<_> = self.desk.pending().cloned().collect();
        cut(&mut limits, RiskStatus::LINES_MAX, &mut left_out);
        cut(&mut breakers, BREAKERS_MAX, &mut left_out);
        cut(&mut halts, HALTS_MAX, &mut left_out);
        cut(&mut suspended, RiskStatus::LINES_MAX, &mut left_out);
        cut(&mut pending, RiskStatus::LINES_MAX, &mut left_out);
        RiskStatus {
            posture: self.posture,
            generation: self.breakers.generation(),
            breakers,
            halts,
            suspended,
            pending,
            limits,
            left_out,
        }
    }

    fn limit_statuses(&mut self, now: Timestamp) -> Vec<LimitStatus> {
        let listed = self.limits.listed(self.strategies.ids());
        let statuses = listed
            .into_iter()
            .map(|(rule, scope, ceiling)| LimitStatus {
                rule,
                scope,
                unit: ceiling.unit,
                limit: self.limits.in_force(rule, scope, ceiling.most),
                ceiling: ceiling.most,
                used: self.used(now, rule, scope, ceiling.unit),
            });
        statuses.collect()
    }

    /// What is used of a limit now, where that does not depend on an order.
    fn used(&self, now: Timestamp, rule: Rule, scope: Scope, unit: Unit) -> Option<Figure> {
        let account = self.account.as_ref();
        let exposures = &self.exposures;
        let usd = Figure::from;
        let used = match scope {
            Scope::All if rule == Rule::OpenOrders => {
                let pending = u64::try_from(exposures.reservations()).unwrap_or(u64::MAX);
                Figure::count(account?.orders_open.saturating_add(pending))
            }
            Scope::All if rule == Rule::DailyLoss => usd(account?.loss),
            Scope::All if rule == Rule::Drawdown => usd(account?.drawdown?),
            Scope::All if rule == Rule::GrossExposure => usd(self.portfolio.total()?.gross),
            Scope::All if rule == Rule::NetExposure => usd(self.portfolio.total()?.net()),
            Scope::Instrument(symbol) if rule == Rule::InstrumentOpenOrders => {
                Figure::count(exposures.orders_of_symbol(symbol))
            }
            Scope::Instrument(symbol) if rule == Rule::PositionNotional => {
                usd(self.portfolio.of(symbol).gross)
            }
            Scope::Instrument(symbol) if rule == Rule::Volatility => {
                self.markets.get(&symbol)?.volatility(now)?
            }
            Scope::Strategy(id) if rule == Rule::StrategyOpenOrders => {
                Figure::count(exposures.orders_of_strategy(id))
            }
            Scope::Strategy(id) if rule == Rule::StrategyLoss => {
                usd(self.strategies.get(id)?.loss?)
            }
            Scope::All | Scope::Venue(_) | Scope::Instrument(_) | Scope::Strategy(_) => {
                return None;
            }
        };
        // A share is of the equity, which the figures of an order show in dollars.
        (unit != Unit::Bps || rule == Rule::Volatility).then_some(used)
    }
}

fn cut<T>(lines: &mut Vec<T>, most: usize, left_out: &mut u64) {
    let over = lines.len().saturating_sub(most);
    *left_out = left_out.saturating_add(u64::try_from(over).unwrap_or(u64::MAX));
    lines.truncate(most);
}
