//! Positions, cash and the day's loss, as running totals.
//!
//! Equity is cash flow plus positions at their marks: buying takes price times quantity from cash,
//! selling adds it, fees are taken, funding is taken or added. Deposits and withdrawals are no part of
//! it: they move the venue's wallet, not what was won or lost. Realised and unrealised results need no telling apart for a loss
//! limit: their sum is the change of equity, whatever the cost method (reference: any two cost
//! methods give the same sum). The same goes for each strategy, with its own cash and its own
//! positions; two that hold against one another are each marked against themselves, so that all
//! strategies together have at most the equity of the whole.

mod account;
mod day;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use portcullis_domain::{
    AmountError, Book, Exposure, Fill, Hash, Order, Price, Quantity, Side, Span, StrategyId,
    Symbol, Timestamp, Usd,
};
use portcullis_wire::messages::{Position, StrategyExposure, StrategyLoss};
use rust_decimal::Decimal;

use account::Account;
use day::Day;

use crate::snapshot::Kept;

/// What is known of an instrument's price.
#[derive(Clone, Copy, Debug)]
struct Quote {
    bid: Price,
    ask: Price,
    mid: Price,
    at: Timestamp,
}

#[derive(Clone, Debug, Default)]
struct Holding {
    position: Exposure,
    /// What the position cost, signed like it; only for the average price that people see.
    cost: Usd,
    quote: Option<Quote>,
    last: Option<Price>,
}

/// All totals.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    holdings: BTreeMap<Symbol, Holding>,
    accounts: BTreeMap<StrategyId, Account>,
    cash: Usd,
    pub(crate) day: Day,
    /// The venue's cash before anything of this journal, deposits and withdrawals since included; `None`
    /// until both accounts were compared for the first time.
    pub(crate) cash_base: Option<Usd>,
    /// The last equity on record, for a day that begins without prices.
    equity_recorded: Usd,
    fills: u64,
}

impl Ledger {
    /// Books a fill: cash and position, of the whole and of the strategy.
    pub fn book(&mut self, strategy: StrategyId, fill: &Fill) -> Result<(), AmountError> {
        let notional = fill.price.notional(fill.quantity)?;
        let flow = match fill.side {
            Side::Buy => notional.negated(),
            Side::Sell => notional,
        };
        let cash = self.cash.plus(flow)?.minus(fill.fee)?;
        let holding = self.holdings.entry(fill.symbol).or_default();
        let position = fill.side.applied(holding.position, fill.quantity)?;
        let cost = cost_after(holding.position, holding.cost, position, fill, flow)?;
        let account = self.accounts.entry(strategy).or_default();
        let booked = account.booked(fill, flow)?;

        // Everything is worked out; from here on nothing fails.
        holding.position = position;
        holding.cost = cost;
        holding.last = Some(fill.price);
        account.take(fill.symbol, booked);
        self.cash = cash;
        self.fills = self.fills.saturating_add(1);
        Ok(())
    }

    /// Books what the venue paid or took for holding positions.
    pub fn fund(&mut self, amount: Usd) -> Result<(), AmountError> {
        self.cash = self.cash.plus(amount)?;
        Ok(())
    }

    /// Books a deposit, or below zero a withdrawal.
    pub fn transfer(&mut self, amount: Usd) -> Result<(), AmountError> {
        if let Some(base) = self.cash_base {
            self.cash_base = Some(base.plus(amount)?);
        }
        Ok(())
    }

    /// Cash flow of all fills, fees and funding.
    pub const fn cash(&self) -> Usd {
        self.cash
    }

    /// Counts an order as open, at the limit price that it leaves with.
    pub fn open(&mut self, order: &Order) -> Result<(), AmountError> {
        self.accounts.entry(order.strategy).or_default().open(order)
    }

    /// No longer counts so much of an order as open.
    pub fn release(&mut self, order: &Order, quantity: Quantity) -> Result<(), AmountError> {
        let account = self.accounts.entry(order.strategy).or_default();
        account.release(order, quantity)
    }

    /// No longer counts an order, of which nothing is left open.
    pub fn end(&mut self, order: &Order) {
        self.accounts.entry(order.strategy).or_default().end(order);
    }

    /// Takes the top of a book as the price.
    pub fn quote(&mut self, book: &Book, now: Timestamp) {
        let (Some(bid), Some(ask), Some(mid)) = (
            book.best_for(Side::Sell),
            book.best_for(Side::Buy),
            book.mid(),
        ) else {
            return;
        };
        self.holdings.entry(book.symbol()).or_default().quote = Some(Quote {
            bid,
            ask,
            mid,
            at: now,
        });
    }

    /// Takes a trade of anybody as the last price.
    pub fn last(&mut self, symbol: Symbol, price: Price) {
        self.holdings.entry(symbol).or_default().last = Some(price);
    }

    /// Whether every position has a price that is young enough, and the instrument too.
    pub fn is_priced(&self, symbol: Option<Symbol>, now: Timestamp, age_max: Span) -> bool {
        let fresh = |holding: &Holding| {
            holding
                .quote
                .is_some_and(|quote| now.since(quote.at) <= age_max)
        };
        let wanted = symbol.is_none_or(|symbol| self.holdings.get(&symbol).is_some_and(fresh));
        wanted
            && self
                .holdings
                .values()
                .filter(|holding| holding.position != Exposure::FLAT)
                .all(fresh)
    }

    /// The lowest price that somebody asks.
    pub fn ask(&self, symbol: Symbol) -> Option<Price> {
        self.holdings.get(&symbol)?.quote.map(|quote| quote.ask)
    }

    /// Cash plus positions at their marks; `None` while a position has no price at all.
    fn estimate(&self) -> Option<Usd> {
        self.held().try_fold(self.cash, |sum, holding| {
            let value = holding.mark(holding.position)?.value(holding.position);
            sum.plus(value.ok()?).ok()
        })
    }

    /// Cash plus positions at their marks; `None` while a position has no book. After a restart that
    /// takes a moment, in which the price of the last fill may be hours old: good enough to stop by,
    /// but a peak or a baseline that came of it would stay.
    pub fn equity(&self) -> Option<Usd> {
        let quoted = self.held().all(|holding| holding.quote.is_some());
        self.estimate().filter(|_| quoted)
    }

    fn held(&self) -> impl Iterator<Item = &Holding> {
        let holdings = self.holdings.values();
        holdings.filter(|holding| holding.position != Exposure::FLAT)
    }

    /// The day's loss: above zero is a loss. Falls back to the last recorded equity while a
    /// position has no price.
    pub fn loss(&self) -> Result<Usd, AmountError> {
        self.day.loss(self.equity_known())
    }

    /// The loss of the last 24 hours, by the same reckoning.
    pub fn loss_rolling(&self) -> Result<Usd, AmountError> {
        self.day.loss_rolling(self.equity_known())
    }

    fn equity_known(&self) -> Usd {
        self.estimate().unwrap_or(self.equity_recorded)
    }

    /// How far the equity, or else the last one on record, is below the highest of the day.
    pub fn drawdown(&self) -> Result<Usd, AmountError> {
        let equity = self.equity().unwrap_or(self.equity_recorded);
        Ok(self.day.peak.minus(equity)?.max(Usd::ZERO))
    }

    /// The day's loss of each strategy, as [`Ledger::loss`] but never by the price of a fill.
    pub fn losses(&self) -> Result<Vec<StrategyLoss>, AmountError> {
        let loss = |(strategy, account): (&StrategyId, &Account)| {
            Ok(StrategyLoss {
                strategy: *strategy,
                loss: account.loss(self.equity_of(account))?,
            })
        };
        self.accounts.iter().map(loss).collect()
    }

    fn equity_of(&self, account: &Account) -> Option<Usd> {
        account.equity(|symbol, position| {
            let holding = self.holdings.get(&symbol)?;
            holding.quote?;
            holding.mark(position)
        })
    }

    /// The strategies whose equity is another one than on record.
    pub fn equities_changed(&self) -> Vec<(StrategyId, Usd)> {
        self.accounts
            .iter()
            .filter_map(|(strategy, account)| {
                let equity = self.equity_of(account)?;
                (equity != account.recorded()).then_some((*strategy, equity))
            })
            .collect()
    }

    /// The baseline of a day that begins now: the last equity on record, never the present one.
    pub const fn next_baseline(&self) -> Usd {
        self.equity_recorded
    }

    pub fn begin_day(&mut self, day: u64, baseline: Usd, chain: Hash) {
        self.day.begin(day, baseline, chain);
        self.accounts.values_mut().for_each(Account::begin_day);
    }

    /// Takes an equity on record, and those of the strategies of which it changed.
    pub fn record_equity(&mut self, equity: Usd, strategies: &[(StrategyId, Usd)]) {
        self.equity_recorded = equity;
        self.day.peak = self.day.peak.max(equity);
        for (strategy, equity) in strategies {
            self.accounts.entry(*strategy).or_default().record(*equity);
        }
    }

    pub const fn equity_recorded(&self) -> Usd {
        self.equity_recorded
    }

    pub const fn day(&self) -> u64 {
        self.day.number
    }

    pub const fn fills(&self) -> u64 {
        self.fills
    }

    /// Every instrument with a position that is not flat.
    pub fn positions_held(&self) -> impl Iterator<Item = (Symbol, Exposure)> {
        self.holdings
            .iter()
            .map(|(symbol, holding)| (*symbol, holding.position))
            .filter(|(_, position)| *position != Exposure::FLAT)
    }

    /// Writes the whole of it down.
    pub fn keep(&self, kept: &mut Vec<Kept>, agreed_at: Option<Timestamp>) {
        kept.push(Kept::Ledger {
            cash: self.cash,
            fills: self.fills,
            equity: self.equity_recorded,
            cash_base: self.cash_base,
            agreed_at,
        });
        kept.push(Kept::Day {
            number: self.day.number,
            baseline: self.day.baseline,
            peak: self.day.peak,
            limit: self.day.limit,
            chain: self.day.chain,
        });
        let holdings = self.holdings.iter();
        kept.extend(holdings.map(|(symbol, holding)| Kept::Holding {
            symbol: *symbol,
            position: holding.position,
            cost: holding.cost,
            last: holding.last,
        }));
        for (strategy, account) in &self.accounts {
            account.keep(kept, *strategy);
        }
    }

    /// Takes a part of what [`Ledger::keep`] wrote.
    pub fn restore(&mut self, kept: &Kept) {
        match kept {
            Kept::Ledger {
                cash,
                fills,
                equity,
                cash_base,
                ..
            } => {
                self.cash = *cash;
                self.fills = *fills;
                self.equity_recorded = *equity;
                self.cash_base = *cash_base;
            }
            Kept::Day {
                number,
                baseline,
                peak,
                limit,
                chain,
            } => {
                self.day.begin(*number, *baseline, *chain);
                self.day.peak = *peak;
                self.day.limit = *limit;
            }
            Kept::Holding {
                symbol,
                position,
                cost,
                last,
            } => {
                let holding = self.holdings.entry(*symbol).or_default();
                holding.position = *position;
                holding.cost = *cost;
                holding.last = *last;
            }
            Kept::Strategy {
                strategy,
                cash,
                recorded,
                baseline,
            } => {
                let account = self.accounts.entry(*strategy).or_default();
                account.restore(*cash, *recorded, *baseline);
            }
            Kept::Share {
                strategy,
                symbol,
                position,
            } => {
                let account = self.accounts.entry(*strategy).or_default();
                account.hold(*symbol, *position);
            }
            Kept::Order { .. } | Kept::Executions(_) | Kept::Movement { .. } => {}
        }
    }

    /// For people to look at.
    pub fn positions(&self) -> Vec<Position> {
        self.holdings
            .iter()
            .filter(|(_, holding)| holding.position != Exposure::FLAT)
            .map(|(symbol, holding)| Position {
                symbol: *symbol,
                position: holding.position,
                average_price: average(holding),
                mark: holding.mark(holding.position),
            })
            .collect()
    }

    /// What each strategy holds and has open.
    pub fn exposures(&self) -> Vec<StrategyExposure> {
        self.accounts
            .iter()
            .flat_map(|(strategy, account)| account.exposures(*strategy))
            .collect()
    }
}

impl Holding {
    /// The worse of mid and last for whoever holds such a position; without a last trade the worse
    /// side of the book.
    fn mark(&self, position: Exposure) -> Option<Price> {
        let long = position.is_long();
        let Some(quote) = self.quote else {
            return self.last;
        };
        let other = self
            .last
            .unwrap_or(if long { quote.bid } else { quote.ask });
        Some(if long {
            quote.mid.min(other)
        } else {
            quote.mid.max(other)
        })
    }
}

fn average(holding: &Holding) -> Option<Price> {
    let size = holding.position.size()?;
    let average = holding.cost.abs().get().checked_div(size.get())?;
    Price::new(average.round_dp(8)).ok()
}

/// What the position costs after a fill: grows with what is added, shrinks in proportion to what is
/// taken away, begins anew when the position turns over.
fn cost_after(
    before: Exposure,
    cost: Usd,
    after: Exposure,
    fill: &Fill,
    flow: Usd,
) -> Result<Usd, AmountError> {
    let grows = after.get().abs() > before.get().abs();
    let turns = before.get().is_sign_negative() != after.get().is_sign_negative();
    if before == Exposure::FLAT || (grows && !turns) {
        return cost.minus(flow);
    }
    if after == Exposure::FLAT {
        return Ok(Usd::ZERO);
    }
    if turns {
        return fill.price.value(after);
    }
    let share = after
        .get()
        .checked_div(before.get())
        .ok_or(AmountError::TooLarge)?;
    let rest: Decimal = cost.get().checked_mul(share).ok_or(AmountError::TooLarge)?;
    Usd::new(rest.round_dp(12))
}

#[cfg(test)]
mod tests;
