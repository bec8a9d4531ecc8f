//! A linear position: what is held, what it cost, what it made.

use rust_decimal::Decimal;

use super::order::{Fill, Side};
use crate::clock::TimeMs;

/// Leverage of a symbol until the account sets another.
pub(crate) const LEVERAGE_DEFAULT: Decimal = Decimal::TEN;

/// Maintenance margin as a ratio of the position's value, the lowest tier of the venue.
const MAINTENANCE_RATE: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

/// What one account holds of one symbol, and what its open orders would need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// In base coin; negative when short.
    pub size: Decimal,
    /// What the open size cost, in USDT, never negative. Kept instead of the average price so
    /// that realised profit adds up to the last decimal.
    pub entry_value: Decimal,
    /// Profit of everything closed, fees apart, in USDT.
    pub realised: Decimal,
    /// Profit of what the current holding closed, minus its fees, in USDT.
    pub realised_current: Decimal,
    /// Fees paid, in USDT.
    pub fees: Decimal,
    pub leverage: Decimal,
    /// Open orders: leaves and their value, by side. Running totals, not sums over orders.
    pub open_buys: Exposure,
    pub open_sells: Exposure,
    pub created_ms: TimeMs,
    pub updated_ms: TimeMs,
    /// Cross sequence of the last change; `None` before the first trade.
    pub cross_seq: Option<u64>,
}

/// Quantity and value of open orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exposure {
    pub qty: Decimal,
    pub value: Decimal,
}

impl Exposure {
    pub(crate) fn add(&mut self, qty: Decimal, price: Decimal) {
        self.qty += qty;
        self.value += qty * price;
    }
}

impl Default for Position {
    fn default() -> Self {
        Self {
            size: Decimal::ZERO,
            entry_value: Decimal::ZERO,
            realised: Decimal::ZERO,
            realised_current: Decimal::ZERO,
            fees: Decimal::ZERO,
            leverage: LEVERAGE_DEFAULT,
            open_buys: Exposure::default(),
            open_sells: Exposure::default(),
            created_ms: 0,
            updated_ms: 0,
            cross_seq: None,
        }
    }
}

impl Position {
    /// Open orders of a side.
    pub(crate) fn open_mut(&mut self, side: Side) -> &mut Exposure {
        match side {
            Side::Buy => &mut self.open_buys,
            Side::Sell => &mut self.open_sells,
        }
    }

    /// How much an order of this side could close.
    pub(crate) fn closable(&self, side: Side) -> Decimal {
        match side {
            Side::Buy => (-self.size).max(Decimal::ZERO),
            Side::Sell => self.size.max(Decimal::ZERO),
        }
    }

    /// Takes a fill; answers the profit it realised, fees apart.
    pub(crate) fn fill(&mut self, fill: &Fill) -> Decimal {
        if self.size.is_zero() {
            self.realised_current = Decimal::ZERO;
        }
        let held = self.size.abs();
        let closed = fill.qty.min(self.closable(fill.side));
        let realised = if closed.is_zero() {
            Decimal::ZERO
        } else {
            let share = self.entry_share(closed, held);
            self.entry_value -= share;
            let proceeds = closed * fill.price;
            match fill.side {
                Side::Sell => proceeds - share,
                Side::Buy => share - proceeds,
            }
        };
        self.entry_value += (fill.qty - closed) * fill.price;
        self.size += fill.side.signed(fill.qty);
        self.realised += realised;
        self.realised_current += realised - fill.fee;
        self.fees += fill.fee;
        if self.created_ms == 0 {
            self.created_ms = fill.time_ms;
        }
        self.updated_ms = fill.time_ms;
        self.cross_seq = Some(fill.cross_seq);
        realised
    }

    /// The part of the entry value that `closed` of `held` cost; all of it when all is closed.
    fn entry_share(&self, closed: Decimal, held: Decimal) -> Decimal {
        if closed == held {
            return self.entry_value;
        }
        (self.entry_value / held * closed).round_dp(12)
    }

    /// Average entry price, rounded to 8 decimals; zero when flat.
    pub(crate) fn average_price(&self) -> Decimal {
        self.entry_value
            .checked_div(self.size.abs())
            .map_or(Decimal::ZERO, |price| price.round_dp(8))
    }

    /// Profit if closed at `mark`, in USDT.
    pub(crate) fn unrealised(&self, mark: Decimal) -> Decimal {
        if self.size.is_zero() {
            return Decimal::ZERO;
        }
        let value = self.size.abs() * mark;
        if self.size > Decimal::ZERO {
            value - self.entry_value
        } else {
            self.entry_value - value
        }
    }

    /// Margin bound by what is held, in USDT.
    pub(crate) fn initial_margin(&self) -> Decimal {
        self.entry_value / self.leverage
    }

    /// Margin below which the venue would liquidate, in USDT (not enforced here).
    pub(crate) fn maintenance_margin(&self) -> Decimal {
        self.entry_value * MAINTENANCE_RATE
    }

    /// Margin bound by open orders: the dearer side, without what only closes.
    pub(crate) fn order_margin(&self) -> Decimal {
        let buys = opening_value(self.open_buys, self.closable(Side::Buy));
        let sells = opening_value(self.open_sells, self.closable(Side::Sell));
        buys.max(sells) / self.leverage
    }
}

/// Value of the part of open orders that would open, at their average price.
fn opening_value(open: Exposure, closable: Decimal) -> Decimal {
    let opening = (open.qty - closable).max(Decimal::ZERO);
    if opening == open.qty {
        return open.value;
    }
    open.value
        .checked_div(open.qty)
        .map_or(Decimal::ZERO, |price| price * opening)
}
