//! The worst that can come of what is open: the arithmetic that brain and risk-guard share.
//!
//! ```text
//!  execution's snapshot: positions, open orders ─┐
//!  reservations: orders passed on since then ────┼──▶ running totals ──▶ Worst
//!  reports: execution has that order now ────────┘
//! ```
//!
//! An order counts from the moment it is passed on, in full, until a snapshot is certain to include
//! what became of it. In between it may count twice, never not at all.

use alloc::collections::BTreeMap;
use core::fmt;

use crate::{AmountError, Exposure, Order, OrderId, Price, Quantity, Side, Span, StrategyId};
use crate::{Symbol, Timestamp, Usd};

#[cfg(test)]
mod tests;

/// How long after an order's lifetime a snapshot must have been issued to be certain to include it:
/// time for execution to take what it opened in the order's last moment.
const SETTLE: Span = Span::from_secs(1);

/// What execution says one strategy holds and has open in one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExposureRow {
    /// Whose.
    pub strategy: StrategyId,
    /// Of what.
    pub symbol: Symbol,
    /// The position from its fills.
    pub position: Exposure,
    /// What its open and doubtful buy orders may still add.
    pub open_buy: Option<Quantity>,
    /// What its open and doubtful sell orders may still take away.
    pub open_sell: Option<Quantity>,
    /// How many orders are open or in doubt.
    pub orders_open: u64,
    /// The highest price of an open or doubtful buy order.
    pub highest_buy: Option<Price>,
    /// The lowest price of an open or doubtful sell order.
    pub lowest_sell: Option<Price>,
}

/// Between which positions the truth lies, whatever becomes of the open orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worst {
    /// The position without any of them.
    pub position: Exposure,
    /// The position if all buys fill and no sell does.
    pub long_most: Exposure,
    /// The position if all sells fill and no buy does.
    pub short_most: Exposure,
}

impl Worst {
    /// No position and no orders.
    pub const FLAT: Self = Self {
        position: Exposure::FLAT,
        long_most: Exposure::FLAT,
        short_most: Exposure::FLAT,
    };

    /// The same with one more order.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn with(self, side: Side, quantity: Quantity) -> Result<Self, AmountError> {
        Ok(match side {
            Side::Buy => Self {
                long_most: self.long_most.bought(quantity)?,
                ..self
            },
            Side::Sell => Self {
                short_most: self.short_most.sold(quantity)?,
                ..self
            },
        })
    }

    /// The value of the larger of the two extremes, without its sign.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn value_max(self, price: Price) -> Result<Usd, AmountError> {
        let long = price.value(self.long_most)?.abs();
        let short = price.value(self.short_most)?.abs();
        Ok(long.max(short))
    }

    /// Whether an order can only make the position smaller: even if every other order on its side
    /// fills first, it never turns the position around. (A buy that leaves the long-most position
    /// at or below zero meets a short one, because no quantity is zero.)
    #[must_use]
    pub fn reduces(self, side: Side, quantity: Quantity) -> bool {
        let Ok(after) = self.with(side, quantity) else {
            return false;
        };
        match side {
            Side::Buy => !after.long_most.is_long(),
            Side::Sell => !after.short_most.is_short(),
        }
    }

    /// Whether one more order keeps both extremes within a limit by value, or only closes risk:
    /// what reduces passes even above the limit, so that a position that a price move carried
    /// beyond it can be brought down.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn admits(
        self,
        side: Side,
        quantity: Quantity,
        price: Price,
        limit: Usd,
    ) -> Result<bool, AmountError> {
        let after = self.with(side, quantity)?.value_max(price)?;
        Ok(after <= limit || self.reduces(side, quantity))
    }
}

/// Why a snapshot was not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// An older one than the last.
    OutOfOrder,
    /// Two rows for the same strategy and instrument.
    Twice,
    /// Its sums leave the range of amounts.
    Overflow,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfOrder => "is older than the last snapshot",
            Self::Twice => "has two rows for the same strategy and instrument",
            Self::Overflow => "has sums beyond 10^15",
        })
    }
}

impl core::error::Error for SnapshotError {}

/// Why an order was not reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveError {
    /// There are as many reservations as there may be.
    TooMany,
    /// There is one for that order.
    Twice,
    /// A sum leaves the range of amounts.
    Overflow,
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "would be one reservation too many",
            Self::Twice => "is reserved already",
            Self::Overflow => "would carry a sum beyond 10^15",
        })
    }
}

impl core::error::Error for ReserveError {}

/// Sums of one strategy in one instrument, or of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Totals {
    position: Exposure,
    // Never negative.
    buys: Exposure,
    sells: Exposure,
    orders: u64,
}

impl Totals {
    const NONE: Self = Self {
        position: Exposure::FLAT,
        buys: Exposure::FLAT,
        sells: Exposure::FLAT,
        orders: 0,
    };

    fn with_row(self, row: &ExposureRow) -> Result<Self, AmountError> {
        let position = match (row.position.is_long(), row.position.size()) {
            (_, None) => self.position,
            (true, Some(size)) => self.position.bought(size)?,
            (false, Some(size)) => self.position.sold(size)?,
        };
        let mut totals = Self { position, ..self };
        for (side, open) in [(Side::Buy, row.open_buy), (Side::Sell, row.open_sell)] {
            if let Some(open) = open {
                totals = totals.with_open(side, open)?;
            }
        }
        totals.orders = totals.orders.saturating_add(row.orders_open);
        totals.worst()?;
        Ok(totals)
    }

    fn with_order(self, side: Side, quantity: Quantity) -> Result<Self, AmountError> {
        let orders = self.orders.saturating_add(1);
        Ok(Self {
            orders,
            ..self.with_open(side, quantity)?
        })
    }

    fn with_open(self, side: Side, quantity: Quantity) -> Result<Self, AmountError> {
        Ok(match side {
            Side::Buy => Self {
                buys: self.buys.bought(quantity)?,
                ..self
            },
            Side::Sell => Self {
                sells: self.sells.bought(quantity)?,
                ..self
            },
        })
    }

    fn without_order(self, side: Side, quantity: Quantity) -> Result<Self, AmountError> {
        let orders = self.orders.saturating_sub(1);
        Ok(match side {
            Side::Buy => Self {
                buys: self.buys.sold(quantity)?,
                orders,
                ..self
            },
            Side::Sell => Self {
                sells: self.sells.sold(quantity)?,
                orders,
                ..self
            },
        })
    }

    fn worst(self) -> Result<Worst, AmountError> {
        let long_most = match self.buys.size() {
            Some(buys) => self.position.bought(buys)?,
            None => self.position,
        };
        let short_most = match self.sells.size() {
            Some(sells) => self.position.sold(sells)?,
            None => self.position,
        };
        Ok(Worst {
            position: self.position,
            long_most,
            short_most,
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Reservation {
    strategy: StrategyId,
    symbol: Symbol,
    side: Side,
    quantity: Quantity,
    price: Price,
    /// Whether it may still meet another order.
    is_live: bool,
    expires_at: Timestamp,
    reported_at: Option<Timestamp>,
}

impl Reservation {
    /// Whether a snapshot issued then is certain to include what became of the order: execution
    /// had reported it before, or can no longer take it.
    fn is_settled_by(&self, issued_at: Timestamp) -> bool {
        self.reported_at
            .is_some_and(|reported_at| issued_at > reported_at)
            || issued_at > self.expires_at.plus(SETTLE)
    }
}

#[derive(Clone, Debug, Default)]
struct Sums {
    of_strategies: BTreeMap<(Symbol, StrategyId), Totals>,
    of_symbols: BTreeMap<Symbol, Totals>,
    /// How many orders each strategy has open, in all instruments.
    orders: BTreeMap<StrategyId, u64>,
    /// The prices of our own orders: what execution says, and each reservation.
    prices: BTreeMap<(Symbol, Side, Price), u32>,
}

impl Sums {
    fn of_strategy(&self, strategy: StrategyId, symbol: Symbol) -> Totals {
        self.of_strategies
            .get(&(symbol, strategy))
            .copied()
            .unwrap_or(Totals::NONE)
    }

    fn of_symbol(&self, symbol: Symbol) -> Totals {
        self.of_symbols
            .get(&symbol)
            .copied()
            .unwrap_or(Totals::NONE)
    }

    /// Both sums change or, on an error, neither.
    fn change(
        &mut self,
        strategy: StrategyId,
        symbol: Symbol,
        change: impl Fn(Totals) -> Result<Totals, AmountError>,
    ) -> Result<(), AmountError> {
        let own = self.of_strategies.entry((symbol, strategy));
        let own = own.or_insert(Totals::NONE);
        let all = self.of_symbols.entry(symbol).or_insert(Totals::NONE);
        let before = *own;
        let of_strategy = change(before)?;
        *all = change(*all)?;
        *own = of_strategy;
        let orders = self.orders.entry(strategy).or_default();
        *orders = orders
            .saturating_sub(before.orders)
            .saturating_add(of_strategy.orders);
        Ok(())
    }

    fn add_price(&mut self, symbol: Symbol, side: Side, price: Price) {
        let count = self.prices.entry((symbol, side, price)).or_default();
        *count = count.saturating_add(1);
    }

    fn remove_price(&mut self, symbol: Symbol, side: Side, price: Price) {
        let key = (symbol, side, price);
        if let Some(count) = self.prices.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.prices.remove(&key);
            }
        }
    }
}

/// Execution's last snapshot and the orders passed on since, as running totals: asking costs the
/// same whether one order is open or ten thousand.
#[derive(Clone, Debug)]
pub struct Exposures {
    sums: Sums,
    reservations: BTreeMap<OrderId, Reservation>,
    reservations_max: usize,
    issued_at: Option<Timestamp>,
}

impl Exposures {
    /// Nothing known yet; at most so many reservations at once.
    #[must_use]
    pub fn new(reservations_max: usize) -> Self {
        Self {
            sums: Sums::default(),
            reservations: BTreeMap::new(),
            reservations_max,
            issued_at: None,
        }
    }

    /// When the last snapshot was issued, by execution's clock; `None` before the first one.
    #[must_use]
    pub const fn issued_at(&self) -> Option<Timestamp> {
        self.issued_at
    }

    /// How many orders are reserved.
    #[must_use]
    pub fn reservations(&self) -> usize {
        self.reservations.len()
    }

    /// Takes over execution's own account of everything, and drops the reservations whose outcome
    /// it is certain to include.
    ///
    /// # Errors
    /// [`SnapshotError`]; nothing changes then.
    pub fn snapshot(
        &mut self,
        rows: impl IntoIterator<Item = ExposureRow>,
        issued_at: Timestamp,
    ) -> Result<(), SnapshotError> {
        if self.issued_at.is_some_and(|last| issued_at < last) {
            return Err(SnapshotError::OutOfOrder);
        }
        let mut sums = Sums::default();
        for row in rows {
            if sums.of_strategies.contains_key(&(row.symbol, row.strategy)) {
                return Err(SnapshotError::Twice);
            }
            sums.change(row.strategy, row.symbol, |totals| totals.with_row(&row))
                .map_err(|_| SnapshotError::Overflow)?;
            for (side, price) in [(Side::Buy, row.highest_buy), (Side::Sell, row.lowest_sell)] {
                if let Some(price) = price {
                    sums.add_price(row.symbol, side, price);
                }
            }
        }
        let kept = |reservation: &Reservation| !reservation.is_settled_by(issued_at);
        for reservation in self
            .reservations
            .values()
            .filter(|reservation| kept(reservation))
        {
            let Reservation {
                strategy,
                symbol,
                side,
                quantity,
                price,
                is_live,
                ..
            } = *reservation;
            sums.change(strategy, symbol, |totals| totals.with_order(side, quantity))
                .map_err(|_| SnapshotError::Overflow)?;
            if is_live {
                sums.add_price(symbol, side, price);
            }
        }
        self.reservations.retain(|_, reservation| kept(reservation));
        self.sums = sums;
        self.issued_at = Some(issued_at);
        Ok(())
    }

    /// Counts an order that is about to be passed on. `expires_at` is when nobody takes it any more.
    ///
    /// # Errors
    /// [`ReserveError`]; nothing changes then, and the order must not be passed on.
    pub fn reserve(&mut self, order: &Order, expires_at: Timestamp) -> Result<(), ReserveError> {
        let Order {
            id,
            strategy,
            symbol,
            side,
            quantity,
            limit_price: price,
            ..
        } = *order;
        if self.reservations.contains_key(&id) {
            return Err(ReserveError::Twice);
        }
        if self.reservations.len() >= self.reservations_max {
            return Err(ReserveError::TooMany);
        }
        self.sums
            .change(strategy, symbol, |totals| {
                let totals = totals.with_order(side, quantity)?;
                totals.worst()?;
                Ok(totals)
            })
            .map_err(|_| ReserveError::Overflow)?;
        self.sums.add_price(symbol, side, price);
        let reservation = Reservation {
            strategy,
            symbol,
            side,
            quantity,
            price,
            is_live: true,
            expires_at,
            reported_at: None,
        };
        self.reservations.insert(id, reservation);
        Ok(())
    }

    /// Notes that an order is over: it still counts until a snapshot includes it, but it meets no
    /// other order any more.
    pub fn ended(&mut self, order: OrderId) {
        if let Some(reservation) = self.reservations.get_mut(&order)
            && reservation.is_live
        {
            reservation.is_live = false;
            let (symbol, side, price) = (reservation.symbol, reservation.side, reservation.price);
            self.sums.remove_price(symbol, side, price);
        }
    }

    /// Notes that execution has an order: the next snapshot that it issues later includes it.
    pub fn reported(&mut self, order: OrderId, issued_at: Timestamp) {
        if let Some(reservation) = self.reservations.get_mut(&order) {
            let first = reservation
                .reported_at
                .map_or(issued_at, |first| first.min(issued_at));
            reservation.reported_at = Some(first);
        }
    }

    /// Drops the reservation of an order that is known never to reach execution.
    ///
    /// # Errors
    /// [`AmountError`] when the sums do not contain it: they can no longer be trusted.
    pub fn release(&mut self, order: OrderId) -> Result<(), AmountError> {
        let Some(reservation) = self.reservations.get(&order) else {
            return Ok(());
        };
        let Reservation {
            strategy,
            symbol,
            side,
            quantity,
            price,
            is_live,
            ..
        } = *reservation;
        self.sums.change(strategy, symbol, |totals| {
            totals.without_order(side, quantity)
        })?;
        if is_live {
            self.sums.remove_price(symbol, side, price);
        }
        self.reservations.remove(&order);
        Ok(())
    }

    /// The worst case of one instrument, all strategies together.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn of_symbol(&self, symbol: Symbol) -> Result<Worst, AmountError> {
        self.sums.of_symbol(symbol).worst()
    }

    /// How many orders of an instrument may be open.
    #[must_use]
    pub fn orders_of_symbol(&self, symbol: Symbol) -> u64 {
        self.sums.of_symbol(symbol).orders
    }

    /// How many orders of a strategy may be open, in all instruments.
    #[must_use]
    pub fn orders_of_strategy(&self, strategy: StrategyId) -> u64 {
        self.sums.orders.get(&strategy).copied().unwrap_or(0)
    }

    /// The best price that our own orders offer to an order of this side: our lowest sell for a
    /// buyer, our highest buy for a seller.
    #[must_use]
    pub fn own_best_for(&self, symbol: Symbol, side: Side) -> Option<Price> {
        let other = side.opposite();
        let range = (symbol, other, Price::LOWEST)..=(symbol, other, Price::HIGHEST);
        let mut prices = self
            .sums
            .prices
            .range(range)
            .map(|((_, _, price), _)| *price);
        match side {
            Side::Buy => prices.next(),
            Side::Sell => prices.next_back(),
        }
    }

    /// Every instrument in which something is held or open.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.sums.of_symbols.keys().copied()
    }

    /// The worst case of one strategy in one instrument.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] beyond 10^15.
    pub fn of_strategy(&self, strategy: StrategyId, symbol: Symbol) -> Result<Worst, AmountError> {
        self.sums.of_strategy(strategy, symbol).worst()
    }
}
