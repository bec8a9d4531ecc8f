//! The way of an order through the rules.

use alloc::format;
use alloc::vec::Vec;

use portcullis_domain::{
    Book, Bps, BreakerKey, Figure, Order, Price, Reason, ReserveError, RiskProfile, Rule, Scope,
    Side, StrategyId, TimeInForce, Timestamp, Walk, WalkEnd, Worst, worst_acceptable,
};
use portcullis_wire::Verified;
use portcullis_wire::messages::{InstrumentPolicy, Outcome, Permit, Verdict};
use portcullis_wire::principal::Role;

use crate::breakers::Gate;
use crate::guard::{Account, RiskGuard};
use crate::market::Market;
use crate::trail::Trail;
use crate::{Effects, Judgement, rules};

/// How many times its profile's slippage an order may have that only reduces a position: closing
/// risk is judged more leniently than opening it, and never skipped.
const CLOSING_LENIENCE: u32 = 2;

/// What an order that every rule agrees to is permitted with.
struct Leave {
    worst_price: Option<Price>,
    probes: Vec<BreakerKey>,
}

/// What the rules need to know of the place that an order would go to.
struct Place<'a> {
    limits: &'a InstrumentPolicy,
    market: &'a Market,
    mid: Price,
    worst: Worst,
    /// Whether it can only make the position smaller.
    reduces: bool,
}

impl RiskGuard {
    /// The verdict goes out on the strategy's own subject: for a strategy that is not configured
    /// there may be none, and whoever waits for it does not exist.
    pub(crate) fn order(&mut self, now: Timestamp, order: Verified<Order>) -> Effects {
        let mut effects = Effects::default();
        let strategy = order.message().strategy;
        // The brain says what it runs with every order, and only so.
        let policy = order.message().policy;
        let brain = self.agreement.heard(now, Role::Brain, policy);
        effects.notices.extend(brain);
        if let Err(reason) = rules::strategy::check(&self.strategies, strategy) {
            let id = order.message().id;
            let detail = format!("order {id} of {strategy}, which is not one");
            self.complain(now, reason, &detail, &mut effects);
            effects.unanswered = Some(reason);
            return effects;
        }
        effects.judgement = Some(self.judge(now, order));
        effects
    }

    fn judge(&mut self, now: Timestamp, order: Verified<Order>) -> Judgement {
        let mut trail = Trail::new();
        let answer = self.pass(now, &order, &mut trail);
        let (outcome, permit) = match answer {
            Ok(leave) => {
                let generation = self.breakers.generation();
                self.flights
                    .begin(order.message(), generation, leave.probes, now);
                let permit = Permit {
                    order: order.frame().into(),
                    policy: self.policy_hash,
                    worst_price: leave.worst_price,
                    generation,
                };
                (Outcome::Passed, Some(permit))
            }
            Err(reason) => (Outcome::Refused(reason), None),
        };
        let verdict = Verdict {
            order_frame: order.frame().into(),
            order: order.message().id,
            outcome,
            checks: trail.into_checks(),
        };
        Judgement {
            order,
            verdict,
            permit,
        }
    }

    /// Every rule in turn, the cheapest and most telling first. Only when all agree does anything
    /// change, except that what came counts as having come.
    fn pass(
        &mut self,
        now: Timestamp,
        verified: &Verified<Order>,
        trail: &mut Trail,
    ) -> Result<Leave, Reason> {
        let order = verified.message();
        let known = rules::duplicate::check(&mut self.seen, order.id, now);
        let messages = self.count_message(order.strategy, now);
        self.licence(now, verified, trail)?;
        trail.note(Rule::DuplicateId, known)?;
        trail.note(Rule::Halt, rules::halt::check(&self.halts, order, now))?;
        let reduces = self.reduces(order, now);
        self.conduct(order, now, messages, reduces, trail)?;

        let policy = self.limits.policy();
        trail.note(
            Rule::Venue,
            rules::venue::check(&policy.venues, order.venue),
        )?;
        let listed = rules::instrument::check(self.limits.instruments(), order.symbol);
        trail.note(Rule::Instrument, listed.map(|_| ()))?;
        let limits = listed?;
        let market = self.markets.get(&order.symbol);
        let market = market.ok_or(Reason::NoMarketData)?;
        self.size(order, limits, trail)?;
        let mid = self.prices(order, now, limits, market, reduces, trail)?;

        let account = self.account(now, trail)?;
        self.crowd(order, &account, limits, trail)?;
        let worst = self.exposures.of_symbol(order.symbol);
        let worst = worst.map_err(|_| Reason::Overflow)?;
        let place = Place {
            limits,
            market,
            mid,
            worst,
            reduces,
        };
        self.exposure(order, now, &account, &place, trail)?;
        self.losses(order, &account, &place, trail)?;
        let gate = self.gate(order, &place);
        trail.note(Rule::Breakers, rules::breakers::check(&gate))?;
        let cost = self.cost(order, now, &place, trail);
        self.tell_slippage(order, now, cost);
        let leave = Leave {
            worst_price: cost?,
            probes: gate.into_probes(),
        };

        self.reserve(order, verified.header().expires_at)?;
        self.remember(order, &leave.probes, now);
        Ok(leave)
    }

    /// Whether anything may be permitted at all, and this order be judged.
    fn licence(
        &self,
        now: Timestamp,
        verified: &Verified<Order>,
        trail: &mut Trail,
    ) -> Result<(), Reason> {
        let order = verified.message();
        trail.note(Rule::KillSwitch, rules::kill_switch::check(self.kill))?;
        let account = self.account.as_ref();
        let warm = rules::warming_up::check(now, self.started_at, account);
        trail.note(Rule::WarmingUp, warm)?;
        let same = rules::policy::check(self.policy_hash, order.policy);
        trail.note(Rule::Policy, same)?;
        let expires_at = verified.header().expires_at;
        let lives = rules::expiry::check(now, order.created_at, expires_at);
        trail.note(Rule::OrderLifetime, lives)
    }

    /// Whether the order can only make the position of its instrument smaller. What is not known does
    /// not reduce.
    fn reduces(&self, order: &Order, now: Timestamp) -> bool {
        rules::position_known::check(now, self.account.as_ref()).is_ok()
            && self
                .exposures
                .of_symbol(order.symbol)
                .is_ok_and(|worst| worst.reduces(order.side, order.quantity))
    }

    fn count_message(&mut self, id: StrategyId, now: Timestamp) -> u64 {
        let Some(strategy) = self.strategies.get_mut(id) else {
            return u64::MAX;
        };
        strategy.messages.note(now);
        strategy.messages.count(now)
    }

    /// What the strategy did lately.
    fn conduct(
        &mut self,
        order: &Order,
        now: Timestamp,
        messages: u64,
        reduces: bool,
        trail: &mut Trail,
    ) -> Result<(), Reason> {
        let limits = self.limits.policy().strategy.clone();
        let scope = Scope::Strategy(order.strategy);
        let limit = |rule, most: u32| {
            let most = Figure::count(most.into());
            self.limits.in_force(rule, scope, most)
        };
        let message_limit = limit(Rule::MessageRate, limits.messages_per_second_max);
        let order_limit = limit(Rule::StrategyOrderRate, limits.orders_per_second_max);
        let cancel_limit = limit(Rule::CancelRate, limits.cancels_per_minute_max);
        let fill_limit = self.repeated_limit(order.strategy);
        let all = Figure::count(self.limits.orders_per_second_max().into());
        let all = self.limits.in_force(Rule::OrderRate, Scope::All, all);
        let permits = self.permits.count(now).saturating_add(1);
        let strategy = self.strategies.get_mut(order.strategy);
        let strategy = strategy.ok_or(Reason::UnknownStrategy)?;

        let suspended = rules::suspension::check(strategy.is_suspended, reduces);
        trail.note(Rule::Suspension, suspended)?;
        let rate = rules::rate::check(messages, message_limit, Reason::RateLimit);
        trail.note(Rule::MessageRate, rate)?;
        let rate = rules::rate::check(permits, all, Reason::RateLimit);
        trail.note(Rule::OrderRate, rate)?;
        let own = strategy.permits.count(now).saturating_add(1);
        let rate = rules::rate::check(own, order_limit, Reason::RateLimit);
        trail.note(Rule::StrategyOrderRate, rate)?;
        if !reduces {
            let cancels = strategy.cancels.count(now);
            let rate = rules::rate::check(cancels, cancel_limit, Reason::CancelRate);
            trail.note(Rule::CancelRate, rate)?;
        }
        let again = rules::duplicate_order::check(strategy, order, now);
        trail.note(Rule::DuplicateOrder, again)?;
        let fills = strategy.fills(order.symbol, order.side, now);
        let repeated = rules::repeated_execution::check(fills, fill_limit, reduces);
        trail.note(Rule::RepeatedExecution, repeated)
    }

    /// How many fills one way suspend a strategy.
    pub(crate) fn repeated_limit(&self, strategy: StrategyId) -> Figure {
        let most = self.limits.policy().strategy.repeated_fills_max;
        let scope = Scope::Strategy(strategy);
        let most = Figure::count(most.into());
        self.limits.in_force(Rule::RepeatedExecution, scope, most)
    }

    fn size(
        &self,
        order: &Order,
        limits: &InstrumentPolicy,
        trail: &mut Trail,
    ) -> Result<(), Reason> {
        let filters = rules::venue_filters::check(&limits.instrument, order);
        trail.note(Rule::VenueFilters, filters)?;
        let scope = Scope::Instrument(order.symbol);
        let most = self
            .limits
            .in_force(Rule::OrderQuantity, scope, limits.order_quantity_max);
        let size = rules::order_quantity::check(order.quantity, most);
        trail.note(Rule::OrderQuantity, size)
    }

    /// The price of the order and its value at it; the middle of the book.
    fn prices(
        &self,
        order: &Order,
        now: Timestamp,
        limits: &InstrumentPolicy,
        market: &Market,
        reduces: bool,
        trail: &mut Trail,
    ) -> Result<Price, Reason> {
        let policy = self.limits.policy();
        let scope = Scope::Instrument(order.symbol);
        let of = |rule, most| self.limits.in_force(rule, scope, most);
        let all = |rule, most| self.limits.in_force(rule, Scope::All, Figure::count(most));

        let oldest = all(Rule::BookAge, policy.book_age_ms_max);
        let quote = market.quote();
        let young = rules::market_data::check(now, quote, oldest);
        trail.note(Rule::BookAge, young)?;
        let quote = quote.ok_or(Reason::NoMarketData)?;
        let apart = all(Rule::ClockError, policy.clock_error_ms_max);
        let (sealed_at, venue_time) = (
            quote.book.header().issued_at,
            quote.book.message().venue_time(),
        );
        let clocks = rules::clock_error::check(sealed_at, venue_time, apart);
        trail.note(Rule::ClockError, clocks)?;
        let mid = quote.mid;
        let collar = of(Rule::PriceCollar, limits.collar.into()).into();
        let near = rules::price_collar::check(order.side, order.limit_price, mid, collar);
        trail.note(Rule::PriceCollar, near)?;
        let least = limits.order_notional_min;
        let enough =
            rules::order_notional_min::check(order.quantity, order.limit_price, least, reduces);
        trail.note(Rule::OrderNotionalMin, enough)?;
        let most = of(Rule::OrderNotional, limits.order_notional_max.into());
        let value = rules::order_notional::check(order.quantity, order.limit_price, mid, most);
        trail.note(Rule::OrderNotional, value)?;
        let widest = of(Rule::LastPriceCollar, limits.last_collar.into()).into();
        let near = rules::last_price_collar::check(order.limit_price, market.last(now), widest);
        trail.note(Rule::LastPriceCollar, near)?;
        let times = Figure::count(limits.fat_finger_max.into());
        let times = of(Rule::FatFinger, times);
        let usual = market.average_trade(now);
        let fat = rules::fat_finger::check(order.quantity, usual, times, reduces);
        trail.note(Rule::FatFinger, fat)?;
        Ok(mid)
    }

    /// Execution's account, if it is known.
    fn account(&self, now: Timestamp, trail: &mut Trail) -> Result<Account, Reason> {
        let account = rules::position_known::check(now, self.account.as_ref());
        trail.note(Rule::PositionKnown, account.map(|_| ()))?;
        let account = *account?;
        rules::policy::check(self.policy_hash, account.policy)?;
        Ok(account)
    }

    /// How many orders are open.
    fn crowd(
        &self,
        order: &Order,
        account: &Account,
        limits: &InstrumentPolicy,
        trail: &mut Trail,
    ) -> Result<(), Reason> {
        let policy = self.limits.policy();
        let pending = u64::try_from(self.exposures.reservations()).unwrap_or(u64::MAX);
        let counts = [
            (
                Rule::OpenOrders,
                Scope::All,
                account.orders_open.saturating_add(pending),
                policy.orders_open_max,
            ),
            (
                Rule::StrategyOpenOrders,
                Scope::Strategy(order.strategy),
                self.exposures.orders_of_strategy(order.strategy),
                policy.strategy.orders_open_max,
            ),
            (
                Rule::InstrumentOpenOrders,
                Scope::Instrument(order.symbol),
                self.exposures.orders_of_symbol(order.symbol),
                limits.orders_open_max,
            ),
        ];
        for (rule, scope, open, most) in counts {
            let most = self.limits.in_force(rule, scope, Figure::count(most));
            trail.note(rule, rules::open_orders::check(open, most))?;
        }
        Ok(())
    }

    /// The positions that could come of it.
    fn exposure(
        &self,
        order: &Order,
        now: Timestamp,
        account: &Account,
        place: &Place<'_>,
        trail: &mut Trail,
    ) -> Result<(), Reason> {
        let Place {
            limits,
            mid,
            worst,
            reduces,
            ..
        } = *place;
        let policy = self.limits.policy();
        let own = self.exposures.own_best_for(order.symbol, order.side);
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
        let mut position = rules::position_notional::check(order, of_strategy, mid, most);
        if reduces {
            // What closes the account's risk passes, whosever it is on paper.
            position.answer = Ok(());
        }
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
        Ok(())
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
    fn losses(
        &self,
        order: &Order,
        account: &Account,
        place: &Place<'_>,
        trail: &mut Trail,
    ) -> Result<(), Reason> {
        let policy = self.limits.policy();
        let reduces = place.reduces;
        let strategy = self.strategies.get(order.strategy);
        let own_loss = strategy.and_then(|strategy| strategy.loss);
        let losses = [
            (
                Rule::DailyLoss,
                Scope::All,
                Some(account.loss),
                policy.daily_loss_max,
                Reason::DailyLoss,
            ),
            (
                Rule::StrategyLoss,
                Scope::Strategy(order.strategy),
                own_loss,
                policy.strategy.daily_loss_max,
                Reason::StrategyLoss,
            ),
            (
                Rule::Drawdown,
                Scope::All,
                account.drawdown,
                policy.drawdown_max,
                Reason::Drawdown,
            ),
        ];
        for (rule, scope, loss, most, reason) in losses {
            let most = self.limits.in_force(rule, scope, most);
            trail.note(rule, rules::loss::check(loss, most, reduces, reason))?;
        }
        let notional = order.limit_price.max(place.mid).notional(order.quantity);
        let notional = notional.map_err(|_| Reason::Overflow)?;
        let scope = Scope::Instrument(order.symbol);
        let most = place.limits.order_notional_max;
        let most = self.limits.in_force(Rule::OrderNotional, scope, most);
        let posture = rules::posture::check(self.posture, notional, most, reduces);
        trail.note(Rule::Posture, posture)
    }

    /// What the limit of the drawdown is now.
    pub(crate) fn drawdown_limit(&self) -> Figure {
        let most = self.limits.policy().drawdown_max;
        self.limits.in_force(Rule::Drawdown, Scope::All, most)
    }

    /// What stands in the order's way. The breakers come before what the order would cost: that is the
    /// order in which the codes count.
    fn gate(&self, order: &Order, place: &Place<'_>) -> Gate {
        let small = self.is_small(order, place.mid);
        self.breakers.gate(order, place.reduces, small)
    }

    /// Tells the slippage breaker what an order would have cost.
    fn tell_slippage(
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

    /// Whether an order is small enough to try a breaker with.
    fn is_small(&self, order: &Order, mid: Price) -> bool {
        let most = self.limits.policy().probe_notional_max;
        let most = self.limits.in_force(Rule::Breakers, Scope::All, most);
        let notional = order.limit_price.max(mid).notional(order.quantity);
        notional.is_ok_and(|notional| Figure::from(notional) <= most)
    }

    /// The worst price that the permit allows, where it is nearer than the order's own.
    fn cost(
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
            reduces,
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
        Ok(is_nearer.then_some(worst))
    }

    fn reserve(&mut self, order: &Order, expires_at: Timestamp) -> Result<(), Reason> {
        self.exposures
            .reserve(order, expires_at)
            .map_err(|error| match error {
                ReserveError::TooMany => Reason::TooManyOrders,
                ReserveError::Twice => Reason::DuplicateOrder,
                ReserveError::Overflow => Reason::Overflow,
            })?;
        self.value(order.symbol);
        Ok(())
    }

    /// There is room everywhere: the rules said so, and nothing came in between.
    fn remember(&mut self, order: &Order, probes: &[BreakerKey], now: Timestamp) {
        self.permits.note(now);
        if let Some(strategy) = self.strategies.get_mut(order.strategy) {
            strategy.permits.note(now);
            strategy.remember(order, now);
        }
        self.breakers.begin_probe(probes, order.id, now);
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
