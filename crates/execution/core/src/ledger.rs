//! Positions, cash and the day's loss, as running totals.
//!
//! Equity is cash flow plus positions at their marks: buying takes price times quantity from cash,
//! selling adds it, fees are taken. Realised and unrealised results need no telling apart for a loss
//! limit: their sum is the change of equity, whatever the cost method (reference: any two cost
//! methods give the same sum).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use portcullis_domain::{
    AmountError, Book, Exposure, Fill, Price, Quantity, Side, Span, StrategyId, Symbol, Timestamp,
    Usd,
};
use portcullis_wire::messages::{Position, StrategyExposure};
use rust_decimal::Decimal;

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

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    position: Exposure,
    open_buy: Exposure,
    open_sell: Exposure,
}

/// All totals.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    holdings: BTreeMap<Symbol, Holding>,
    shares: BTreeMap<(StrategyId, Symbol), Share>,
    cash: Usd,
    day: u64,
    baseline: Usd,
    /// The last equity on record, for a day that begins without prices.
    equity_recorded: Usd,
    fills: u64,
}

impl Ledger {
    /// Books a fill: cash, position, and the strategy's share of it.
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
        let share = self.shares.entry((strategy, fill.symbol)).or_default();
        let share_position = fill.side.applied(share.position, fill.quantity)?;

        // Everything is worked out; from here on nothing fails.
        holding.position = position;
        holding.cost = cost;
        holding.last = Some(fill.price);
        share.position = share_position;
        self.cash = cash;
        self.fills = self.fills.saturating_add(1);
        Ok(())
    }

    /// Counts a quantity as open.
    pub fn open(
        &mut self,
        strategy: StrategyId,
        symbol: Symbol,
        side: Side,
        quantity: Quantity,
    ) -> Result<(), AmountError> {
        let share = self.shares.entry((strategy, symbol)).or_default();
        let total = share.open_mut(side);
        *total = total.bought(quantity)?;
        Ok(())
    }

    /// No longer counts a quantity as open.
    pub fn close(
        &mut self,
        strategy: StrategyId,
        symbol: Symbol,
        side: Side,
        quantity: Quantity,
    ) -> Result<(), AmountError> {
        let share = self.shares.entry((strategy, symbol)).or_default();
        let total = share.open_mut(side);
        *total = total.sold(quantity)?;
        Ok(())
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
    pub fn equity(&self) -> Option<Usd> {
        self.holdings.values().try_fold(self.cash, |sum, holding| {
            if holding.position == Exposure::FLAT {
                return Some(sum);
            }
            sum.plus(mark(holding)?.value(holding.position).ok()?).ok()
        })
    }

    /// The day's loss: above zero is a loss. Falls back to the last recorded equity while a
    /// position has no price.
    pub fn loss(&self) -> Result<Usd, AmountError> {
        self.baseline
            .minus(self.equity().unwrap_or(self.equity_recorded))
    }

    /// The baseline of a day that begins now: the last equity on record, never the present one.
    pub const fn next_baseline(&self) -> Usd {
        self.equity_recorded
    }

    pub fn begin_day(&mut self, day: u64, baseline: Usd) {
        self.day = day;
        self.baseline = baseline;
    }

    pub fn record_equity(&mut self, equity: Usd) {
        self.equity_recorded = equity;
    }

    pub const fn equity_recorded(&self) -> Usd {
        self.equity_recorded
    }

    pub const fn day(&self) -> u64 {
        self.day
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

    /// For people to look at.
    pub fn positions(&self) -> Vec<Position> {
        self.holdings
            .iter()
            .filter(|(_, holding)| holding.position != Exposure::FLAT)
            .map(|(symbol, holding)| Position {
                symbol: *symbol,
                position: holding.position,
                average_price: average(holding),
                mark: mark(holding),
            })
            .collect()
    }

    /// What each strategy holds and has open.
    pub fn exposures(&self) -> Vec<StrategyExposure> {
        self.shares
            .iter()
            .map(|((strategy, symbol), share)| StrategyExposure {
                strategy: *strategy,
                symbol: *symbol,
                position: share.position,
                open_buy: share.open_buy.size(),
                open_sell: share.open_sell.size(),
                orders_open: 0,
                highest_buy: None,
                lowest_sell: None,
            })
            .collect()
    }
}

impl Share {
    const fn open_mut(&mut self, side: Side) -> &mut Exposure {
        match side {
            Side::Buy => &mut self.open_buy,
            Side::Sell => &mut self.open_sell,
        }
    }
}

/// The worse of mid and last for whoever holds the position; without a last trade the worse side of
/// the book.
fn mark(holding: &Holding) -> Option<Price> {
    let long = holding.position.is_long();
    let Some(quote) = holding.quote else {
        return holding.last;
    };
    let other = holding
        .last
        .unwrap_or(if long { quote.bid } else { quote.ask });
    Some(if long {
        quote.mid.min(other)
    } else {
        quote.mid.max(other)
    })
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
mod tests {
    use alloc::vec;

    use portcullis_domain::{Level, OrderId, VenueExecutionId, VenueOrderId};

    use super::*;

    fn xrp() -> Symbol {
        Symbol::new("XRPUSDT").unwrap()
    }

    fn alice() -> StrategyId {
        StrategyId::new("alice").unwrap()
    }

    fn fill(side: Side, quantity: &str, price: &str, fee: &str) -> Fill {
        Fill {
            execution: VenueExecutionId::new("e").unwrap(),
            order: OrderId([1; 16]),
            venue_order: VenueOrderId::new("v").unwrap(),
            symbol: xrp(),
            side,
            price: price.parse().unwrap(),
            quantity: quantity.parse().unwrap(),
            fee: fee.parse().unwrap(),
            venue_time: Timestamp(0),
        }
    }

    fn book(bid: &str, ask: &str) -> Book {
        let level = |price: &str| Level {
            price: price.parse().unwrap(),
            quantity: "1".parse().unwrap(),
        };
        Book::new(xrp(), vec![level(bid)], vec![level(ask)], 1, Timestamp(0)).unwrap()
    }

    #[test]
    fn loss_is_the_fall_of_equity_with_fees() {
        let mut ledger = Ledger::default();
        ledger.begin_day(1, Usd::ZERO);
        ledger
            .book(alice(), &fill(Side::Buy, "10", "100", "1"))
            .unwrap();
        ledger.quote(&book("89", "91"), Timestamp(1));
        // Bought at 100, marked at the mid of 90 (the last price is 100): lost 100 and 1 of fees.
        assert_eq!(ledger.loss().unwrap(), "101".parse().unwrap());
        ledger.last(xrp(), "80".parse().unwrap());
        assert_eq!(
            ledger.loss().unwrap(),
            "201".parse().unwrap(),
            "the worse of mid and last"
        );
        ledger
            .book(alice(), &fill(Side::Sell, "10", "95", "1"))
            .unwrap();
        assert_eq!(
            ledger.loss().unwrap(),
            "52".parse().unwrap(),
            "flat: only cash counts"
        );
    }

    #[test]
    fn a_short_is_marked_against_itself() {
        let mut ledger = Ledger::default();
        ledger
            .book(alice(), &fill(Side::Sell, "10", "100", "0"))
            .unwrap();
        ledger.quote(&book("109", "111"), Timestamp(1));
        assert_eq!(ledger.loss().unwrap(), "100".parse().unwrap());
        ledger.last(xrp(), "120".parse().unwrap());
        assert_eq!(ledger.loss().unwrap(), "200".parse().unwrap());
    }

    #[test]
    fn the_average_price_follows_adding_reducing_and_turning() {
        let mut ledger = Ledger::default();
        let average = |ledger: &Ledger| ledger.positions().first().and_then(|p| p.average_price);
        ledger
            .book(alice(), &fill(Side::Buy, "1", "100", "0"))
            .unwrap();
        ledger
            .book(alice(), &fill(Side::Buy, "1", "120", "0"))
            .unwrap();
        assert_eq!(average(&ledger), Some("110".parse().unwrap()));
        ledger
            .book(alice(), &fill(Side::Sell, "1", "130", "0"))
            .unwrap();
        assert_eq!(average(&ledger), Some("110".parse().unwrap()));
        ledger
            .book(alice(), &fill(Side::Sell, "3", "140", "0"))
            .unwrap();
        assert_eq!(
            ledger.positions_held().next(),
            Some((xrp(), "-2".parse().unwrap()))
        );
        assert_eq!(average(&ledger), Some("140".parse().unwrap()));
    }

    #[test]
    fn a_position_without_a_young_price_is_not_priced() {
        let mut ledger = Ledger::default();
        let age_max = Span::from_secs(1);
        assert!(ledger.is_priced(None, Timestamp(0), age_max));
        assert!(!ledger.is_priced(Some(xrp()), Timestamp(0), age_max));
        ledger
            .book(alice(), &fill(Side::Buy, "1", "100", "0"))
            .unwrap();
        assert!(!ledger.is_priced(None, Timestamp(0), age_max));
        ledger.quote(&book("99", "101"), Timestamp(0));
        assert!(ledger.is_priced(Some(xrp()), Timestamp(1_000_000), age_max));
        assert!(!ledger.is_priced(None, Timestamp(1_000_001), age_max));
    }

    #[test]
    fn open_quantities_come_back_to_nothing() {
        let mut ledger = Ledger::default();
        let quantity: Quantity = "5".parse().unwrap();
        ledger.open(alice(), xrp(), Side::Sell, quantity).unwrap();
        let exposure = ledger.exposures().pop().unwrap();
        assert_eq!(
            (exposure.open_buy, exposure.open_sell),
            (None, Some(quantity))
        );
        ledger.close(alice(), xrp(), Side::Sell, quantity).unwrap();
        assert_eq!(ledger.exposures().pop().unwrap().open_sell, None);
    }
}
