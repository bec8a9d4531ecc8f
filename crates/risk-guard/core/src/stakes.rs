//! What an order puts at stake: positions, losses, and what it would cost at once.

use portcullis_domain::{
    Book, Bps, BreakerKey, Figure, Order, Price, Reason, RiskProfile, Rule, Scope, Side,
    TimeInForce, Timestamp, Usd, Walk, WalkEnd, Worst, worst_acceptable,
};
use portcullis_wire::messages::InstrumentPolicy;

use crate::breakers::Gate;
use crate::guard::{Account, RiskGuard};
use crate::market::Market;
use crate::portfolio::With;
use crate::rules;
use crate::trail::Trail;

/// How many times its profile's slippage an order may have that only reduces a position: closing
/// risk is judged more leniently than opening it, and never skipped.
const CLOSING_LENIENCE: u32 = 2;

/// Whose position an order can only make smaller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reduces {
    /// The account's in that instrument: what counts for the limits of the account.
    pub account: bool,
    /// Its strategy's too: what counts for the limits of that strategy. Otherwise one strategy could
    /// grow without any by closing another's position.
    pub both: bool,
}

/// What the rules need to know of the place that an order would go to.
pub(crate) struct Place<'a> {
    pub limits: &'a InstrumentPolicy,
    pub market: &'a Market,
    pub mid: Price,
    /// What the order may be worth.
    pub notional: Usd,
    pub worst: Worst,
    pub reduces: Reduces,
}

impl RiskGuard {
    /// The positions that could come of it; what everything is worth then.
    pub(crate) fn exposure(
        &self,
        order: &Order,
        now: Timestamp,
        account: &Account,
        place: &Place<'_>,
        trail: &mut Trail,
    ) -> Result<With, Reason> {
        let Place {
            limits,
            mid,
            worst,
            reduces: Reduces {
                account: reduces, ..
            },
            ..
        } = *place;
        let policy = self.limits.policy();
        // Closing risk is not kept from leaving by what rests of our own.
        let own = self.exposures.own_best_for(order.symbol, order.side);
        let own = own.filter(|_| !reduces);
        let meets = rules::self_trade::check(order.side, order.limit_price, own);
        trail.note(Rule::SelfTrade, meets)?;
        trail.note(Rule::ReduceOnly, rules::reduce_only::check(order, worst))?;
        let scope = Scope::Instrument(order.symbol);
        let most = limits.position_notional_max;
        let most = self.limits.in_force(Rule::PositionNotional, scope, most);
        let position = rules::position_notional::check(order, worst, mid, most);
        trail.note(Rule::PositionNotional, position)?;
        let of_strategy = self.exposures.of_strategy(order.strategy, order.symbol);
        let of_strategy = of_strategy.map_err(|_| Reason::Overflow)?;
        let scope = Scope::Strategy(order.strategy);
        let most = policy.strategy.position_notional_max;
        let most = self.limits.in_force(Rule::StrategyPosition, scope, most);
        let position = rules::position_notional::check(order, of_strategy, mid, most);
        trail.note(Rule::StrategyPosition, position)?;
        if !reduces {
            self.held_are_priced(now)?;
        }
        let after = worst.with(order.side, order.quantity);
        let with = after.and_then(|after| self.portfolio.with(order.symbol, after, mid));
        let with = with.map_err(|_| Reason::Overflow)?;

        let (gross, net) = (with.total.gross, with.total.net());
        let most = policy.gross_exposure_max;
        let most = self.limits.in_force(Rule::GrossExposure, Scope::All, most);
        let total = rules::exposure::check(gross, most, reduces, Reason::GrossExposure);
        trail.note(Rule::GrossExposure, total)?;
        let most = policy.net_exposure_max;
        let most = self.limits.in_force(Rule::NetExposure, Scope::All, most);
        let total = rules::exposure::check(net, most, reduces, Reason::NetExposure);
        trail.note(Rule::NetExposure, total)?;
        if let Some((at, used)) = with.group {
            let group = policy.groups.get(at).ok_or(Reason::GroupExposure)?;
            let most = group.exposure_max.into();
            let total = rules::exposure::check(used, most, reduces, Reason::GroupExposure);
            trail.note(Rule::GroupExposure, total)?;
        }
        let equity = account
            .profit
            .and_then(|profit| policy.capital.plus(profit).ok());
        let shares = [
            (Rule::Leverage, gross, policy.leverage_max, Reason::Leverage),
            (
                Rule::Concentration,
                with.value.gross,
                policy.concentration_max,
                Reason::Concentration,
            ),
        ];
        for (rule, used, most, reason) in shares {
            let most = self.limits.in_force(rule, Scope::All, most).into();
            let share = rules::equity_share::check(used, equity, most, reduces, reason);
            trail.note(rule, share)?;
        }
        Ok(with)
    }

    /// Whether everything that is held has a price that is young enough: otherwise nobody knows what
    /// it is worth together. There are as many instruments as the policy lists.
    fn held_are_priced(&self, now: Timestamp) -> Result<(), Reason> {
        let oldest = Figure::count(self.limits.policy().book_age_ms_max);
        let oldest = self.limits.in_force(Rule::BookAge, Scope::All, oldest);
        for symbol in self.exposures.symbols() {
            let worst = self.exposures.of_symbol(symbol);
            if worst.is_ok_and(|worst| worst == Worst::FLAT) {
                continue;
            }
            let quote = self.markets.get(&symbol).and_then(Market::quote);
            rules::market_data::check(now, quote, oldest).answer?;
        }
        Ok(())
    }

    /// What was lost already, and what that still allows.
    pub(crate) fn losses(
        &self,
        order: &Order,
        account: &Account,
        place: &Place<'_>,
        trail: &mut Trail,
    ) -> Result<(), Reason> {
        let policy = self.limits.policy();
        let Reduces {
            account: reduces,
            both,
        } = place.reduces;
        let strategy = self.strategies.get(order.strategy);
        let own_loss = strategy.and_then(|strategy| strategy.loss);
        let losses = [
            (
                Rule::DailyLoss,
                Scope::All,
                Some(account.loss),
                policy.daily_loss_max,
                Reason::DailyLoss,
                reduces,
            ),
            (
                Rule::StrategyLoss,
                Scope::Strategy(order.strategy),
                own_loss,
                policy.strategy.daily_loss_max,
                Reason::StrategyLoss,
                both,
            ),
            (
                Rule::Drawdown,
                Scope::All,
                account.drawdown,
                policy.drawdown_max,
                Reason::Drawdown,
                reduces,
            ),
        ];
        for (rule, scope, loss, most, reason, reduces) in losses {
            let most = self.limits.in_force(rule, scope, most);
            trail.note(rule, rules::loss::check(loss, most, reduces, reason))?;
        }
        let scope = Scope::Instrument(order.symbol);
        let most = place.limits.order_notional_max;
        let most = self.limits.in_force(Rule::OrderNotional, scope, most);
        let posture = rules::posture::check(self.posture, place.notional, most, reduces);
        trail.note(Rule::Posture, posture)
    }

    /// What the limit of the drawdown is now.
    pub(crate) fn drawdown_limit(&self) -> Figure {
        let most = self.limits.policy().drawdown_max;
        self.limits.in_force(Rule::Drawdown, Scope::All, most)
    }

    /// What stands in the order's way. The breakers come before what the order would cost: that is the
    /// order in which the codes count.
    pub(crate) fn gate(&self, order: &Order, place: &Place<'_>) -> Gate {
        let most = self.limits.policy().probe_notional_max;
        let most = self.limits.in_force(Rule::Breakers, Scope::All, most);
        let small = Figure::from(place.notional) <= most;
        self.breakers.gate(order, place.reduces, small)
    }

    /// Tells the slippage breaker what an order would have cost.
    pub(crate) fn tell_slippage(
        &mut self,
        order: &Order,
        now: Timestamp,
        cost: Result<Option<Price>, Reason>,
    ) {
        let passed = match cost {
            Ok(_) => true,
            Err(Reason::ExceededLimit | Reason::HighVolatility | Reason::InsufficientLiquidity) => {
                false
            }
            // What is not known, or cannot be computed, is no slip of the order's.
            Err(_) => return,
        };
        let key = BreakerKey::slippage(order.venue, order.strategy);
        let generation = Some(self.breakers.generation());
        self.breakers.outcome(key, passed, now, now, generation);
    }

    /// The worst price that the permit allows, where it is nearer than the order's own.
    pub(crate) fn cost(
        &self,
        order: &Order,
        now: Timestamp,
        place: &Place<'_>,
        trail: &mut Trail,
    ) -> Result<Option<Price>, Reason> {
        let Place {
            limits,
            market,
            mid,
            reduces: Reduces {
                account: reduces, ..
            },
            ..
        } = *place;
        let quote = market.quote().ok_or(Reason::NoMarketData)?;
        let walk = walk(quote.book.message(), order)?;
        trail.note(Rule::Liquidity, rules::liquidity::check(order, &walk))?;
        let scope = Scope::Instrument(order.symbol);
        let most = limits.volatility_max;
        let most = self.limits.in_force(Rule::Volatility, scope, most);
        let volatility = rules::volatility::check(market.volatility(now), most, reduces);
        trail.note(Rule::Volatility, volatility)?;
        let limit = slippage_limit(order.profile, reduces)?;
        let slips = rules::slippage::check(order.side, walk.vwap, mid, limit);
        trail.note(Rule::Slippage, slips)?;

        let worst = worst_acceptable(order.side, mid, limit).map_err(|_| Reason::Overflow)?;
        let worst = limits.instrument.round_price(order.side, worst);
        let worst = worst.map_err(|_| Reason::VenueFilters)?;
        let is_nearer = match order.side {
            Side::Buy => worst < order.limit_price,
            Side::Sell => worst > order.limit_price,
        };
        if !is_nearer {
            return Ok(None);
        }
        // At the nearer price a buyer's order is worth less: the venue must still take it.
        let least = worst.notional(order.quantity);
        if least.map_err(|_| Reason::Overflow)? < limits.instrument.notional_min {
            return Err(Reason::OrderTooSmall);
        }
        Ok(Some(worst))
    }
}

/// What would fill at once. An order that never takes from the book costs nothing at once.
fn walk(book: &Book, order: &Order) -> Result<Walk, Reason> {
    if order.time_in_force == TimeInForce::PostOnly {
        return Ok(Walk {
            filled: None,
            vwap: None,
            worst: None,
            ends: WalkEnd::LimitPrice,
        });
    }
    book.walk(order.side, order.quantity, order.limit_price)
        .map_err(|_| Reason::Overflow)
}

fn slippage_limit(profile: RiskProfile, reduces: bool) -> Result<Bps, Reason> {
    let times = if reduces { CLOSING_LENIENCE } else { 1 };
    let most = profile.slippage_bps_max().saturating_mul(times);
    Bps::new(most).map_err(|_| Reason::Overflow)
}
