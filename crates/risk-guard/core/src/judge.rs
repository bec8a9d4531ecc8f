//! The way of an order through the rules.

use alloc::format;
use alloc::vec::Vec;

use portcullis_domain::{
    BreakerKey, Figure, Order, Price, Reason, ReserveError, Rule, Scope, StrategyId, Timestamp,
    Usd, Worst,
};
use portcullis_wire::Verified;
use portcullis_wire::messages::{InstrumentPolicy, Outcome, Permit, Verdict};
use portcullis_wire::principal::Role;

use crate::guard::{Account, RiskGuard};
use crate::market::Market;
use crate::stakes::{Place, Reduces};
use crate::trail::{Finding, Trail};
use crate::{Effects, Judgement, rules};

/// What an order that every rule agrees to is permitted with.
struct Leave {
    worst_price: Option<Price>,
    probes: Vec<BreakerKey>,
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
        self.conduct(order, now, messages, reduces.both, trail)?;

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
        let (mid, notional) = self.prices(order, now, limits, market, reduces.account, trail)?;

        let account = self.account(now, trail)?;
        self.crowd(order, &account, limits, trail)?;
        let worst = self.exposures.of_symbol(order.symbol);
        let worst = worst.map_err(|_| Reason::Overflow)?;
        let place = Place {
            limits,
            market,
            mid,
            notional,
            worst,
            reduces,
        };
        let with = self.exposure(order, now, &account, &place, trail)?;
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
        self.portfolio.take(order.symbol, with);
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

    /// Whose position the order can only make smaller. What is not known does not reduce.
    fn reduces(&self, order: &Order, now: Timestamp) -> Reduces {
        let is_known = rules::position_known::check(now, self.account.as_ref()).is_ok();
        let smaller =
            |worst: Result<Worst, _>| worst.is_ok_and(|w| w.reduces(order.side, order.quantity));
        let account = is_known && smaller(self.exposures.of_symbol(order.symbol));
        let of_strategy = self.exposures.of_strategy(order.strategy, order.symbol);
        Reduces {
            account,
            both: account && smaller(of_strategy),
        }
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

    /// The price of the order and its value; the middle of the book, and what the order may be worth.
    fn prices(
        &self,
        order: &Order,
        now: Timestamp,
        limits: &InstrumentPolicy,
        market: &Market,
        reduces: bool,
        trail: &mut Trail,
    ) -> Result<(Price, Usd), Reason> {
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
        let notional = rules::order_notional::value(order, mid);
        let value = notional.map(|notional| rules::order_notional::check(notional, most));
        let value = value.unwrap_or_else(Finding::unknown);
        trail.note(Rule::OrderNotional, value)?;
        let notional = notional?;
        let widest = of(Rule::LastPriceCollar, limits.last_collar.into()).into();
        let last = market.last(now);
        let near = rules::last_price_collar::check(order.limit_price, last, widest, reduces);
        trail.note(Rule::LastPriceCollar, near)?;
        let times = Figure::count(limits.fat_finger_max.into());
        let times = of(Rule::FatFinger, times);
        let usual = market.average_trade(now);
        let fat = rules::fat_finger::check(order.quantity, usual, times, reduces);
        trail.note(Rule::FatFinger, fat)?;
        Ok((mid, notional))
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
        if self.flights.is_full() {
            // What came of one more could not be followed.
            trail.note(Rule::OpenOrders, Err(Reason::TooManyOrders))?;
        }
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

    fn reserve(&mut self, order: &Order, expires_at: Timestamp) -> Result<(), Reason> {
        self.exposures
            .reserve(order, expires_at)
            .map_err(|error| match error {
                ReserveError::TooMany => Reason::TooManyOrders,
                ReserveError::Twice => Reason::DuplicateOrder,
                ReserveError::Overflow => Reason::Overflow,
            })
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
