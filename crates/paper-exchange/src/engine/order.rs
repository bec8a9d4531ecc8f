//! Orders, fills and the words the venue has for their states.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::clock::TimeMs;

/// Who gives and who takes the base coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    Buy,
    Sell,
}

impl Side {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Buy => "Buy",
            Self::Sell => "Sell",
        }
    }

    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// `quantity` as it changes a position: positive for a buy.
    pub(crate) fn signed(self, quantity: Decimal) -> Decimal {
        match self {
            Self::Buy => quantity,
            Self::Sell => -quantity,
        }
    }
}

/// Limit, or market with a price cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OrderType {
    Limit,
    Market,
}

impl OrderType {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Limit => "Limit",
            Self::Market => "Market",
        }
    }
}

/// How long an order may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TimeInForce {
    #[serde(rename = "GTC")]
    GoodTillCancel,
    #[serde(rename = "IOC")]
    ImmediateOrCancel,
    #[serde(rename = "FOK")]
    FillOrKill,
    PostOnly,
}

impl TimeInForce {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::GoodTillCancel => "GTC",
            Self::ImmediateOrCancel => "IOC",
            Self::FillOrKill => "FOK",
            Self::PostOnly => "PostOnly",
        }
    }
}

/// States of an order of a derivative. `PartiallyFilledCanceled` is for spot alone; here a
/// cancelled order may have an executed quantity (enum page of the venue's documentation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    New,
    PartiallyFilled,
    Filled,
    Cancelled,
    Rejected,
}

impl Status {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::PartiallyFilled => "PartiallyFilled",
            Self::Filled => "Filled",
            Self::Cancelled => "Cancelled",
            Self::Rejected => "Rejected",
        }
    }

    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled)
    }
}

/// Why an order stopped waiting, in the venue's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// Still open, or filled.
    None,
    /// The client asked.
    ByUser,
    /// A reduce-only order with nothing left to reduce.
    ByReduceOnly,
    /// The account's last watching socket was gone for too long.
    ByDisconnection,
    /// IOC or market: nobody on the other side within the price.
    NoImmediateQuantity,
    /// FOK: not enough on the other side within the price.
    NoFullFill,
    /// Post-only: it would have taken.
    PostOnlyWouldTake,
    /// Refused after acceptance, on request of a fault.
    Rejected,
}

impl Ending {
    /// `cancelType` of the venue.
    pub(crate) fn cancel_type(self) -> &'static str {
        match self {
            Self::ByUser => "CancelByUser",
            Self::ByReduceOnly => "CancelByReduceOnly",
            Self::ByDisconnection => "CancelByDCP",
            Self::None
            | Self::NoImmediateQuantity
            | Self::NoFullFill
            | Self::PostOnlyWouldTake
            | Self::Rejected => "UNKNOWN",
        }
    }

    /// `rejectReason` of the venue.
    pub(crate) fn reject_reason(self) -> &'static str {
        match self {
            Self::None => "EC_NoError",
            Self::ByUser | Self::ByReduceOnly | Self::ByDisconnection => "EC_PerCancelRequest",
            Self::NoImmediateQuantity => "EC_NoImmediateQtyToFill",
            Self::NoFullFill => "EC_CancelForNoFullFill",
            Self::PostOnlyWouldTake => "EC_PostOnlyWillTakeLiquidity",
            Self::Rejected => "EC_Others",
        }
    }
}

/// One order, from acceptance to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Place in the order of acceptance, over all accounts.
    pub seq: u64,
    /// Place in the queue of its price; renewed by an amendment that loses priority.
    pub priority: u64,
    pub account: String,
    pub order_id: String,
    /// The client's id; empty when the client gave none.
    pub link_id: String,
    pub symbol: String,
    pub side: Side,
    pub order_type: OrderType,
    pub time_in_force: TimeInForce,
    /// Limit, or the cap of a market order, in USDT.
    #[serde(with = "rust_decimal::serde::str")]
    pub price: Decimal,
    /// In base coin.
    #[serde(with = "rust_decimal::serde::str")]
    pub qty: Decimal,
    pub reduce_only: bool,
    pub status: Status,
    pub ending: Ending,
    /// Executed so far, in base coin.
    #[serde(with = "rust_decimal::serde::str")]
    pub filled_qty: Decimal,
    /// Executed so far, in USDT.
    #[serde(with = "rust_decimal::serde::str")]
    pub filled_value: Decimal,
    /// Fees so far, in USDT.
    #[serde(with = "rust_decimal::serde::str")]
    pub fee: Decimal,
    /// Last price when it was accepted, in USDT; zero when there was none.
    #[serde(with = "rust_decimal::serde::str")]
    pub last_price_on_created: Decimal,
    pub created_ms: TimeMs,
    pub updated_ms: TimeMs,
}

impl Order {
    /// What is still to be executed; zero once the order is closed.
    pub(crate) fn leaves(&self) -> Decimal {
        if self.status.is_open() {
            self.qty - self.filled_qty
        } else {
            Decimal::ZERO
        }
    }

    /// Average price of its fills, rounded to 8 decimals; `None` before the first.
    pub(crate) fn average_price(&self) -> Option<Decimal> {
        self.filled_value
            .checked_div(self.filled_qty)
            .map(|price| price.round_dp(8))
    }
}

/// One execution of one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fill {
    /// Place among all fills.
    pub seq: u64,
    /// The order's place among all orders.
    pub order_seq: u64,
    pub exec_id: String,
    pub account: String,
    pub order_id: String,
    pub link_id: String,
    pub symbol: String,
    pub side: Side,
    pub order_type: OrderType,
    #[serde(with = "rust_decimal::serde::str")]
    pub order_price: Decimal,
    #[serde(with = "rust_decimal::serde::str")]
    pub order_qty: Decimal,
    #[serde(with = "rust_decimal::serde::str")]
    pub leaves_qty: Decimal,
    #[serde(with = "rust_decimal::serde::str")]
    pub price: Decimal,
    #[serde(with = "rust_decimal::serde::str")]
    pub qty: Decimal,
    /// In USDT; negative would be a rebate.
    #[serde(with = "rust_decimal::serde::str")]
    pub fee: Decimal,
    #[serde(with = "rust_decimal::serde::str")]
    pub fee_rate: Decimal,
    pub maker: bool,
    /// How much of it closed a position, in base coin.
    #[serde(with = "rust_decimal::serde::str")]
    pub closed_qty: Decimal,
    #[serde(with = "rust_decimal::serde::str")]
    pub mark_price: Decimal,
    pub time_ms: TimeMs,
    /// Cross sequence of the exchange when it happened.
    pub cross_seq: u64,
}

impl Fill {
    /// In USDT.
    pub(crate) fn value(&self) -> Decimal {
        self.price * self.qty
    }
}

/// One trade as everybody sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicTrade {
    pub symbol: String,
    pub trade_id: String,
    /// Side of the taker.
    pub side: Side,
    pub price: Decimal,
    pub qty: Decimal,
    pub time_ms: TimeMs,
    pub direction: TickDirection,
    pub cross_seq: u64,
}

/// How the price of a trade compares with the trades before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TickDirection {
    Plus,
    ZeroPlus,
    Minus,
    ZeroMinus,
}

impl TickDirection {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Plus => "PlusTick",
            Self::ZeroPlus => "ZeroPlusTick",
            Self::Minus => "MinusTick",
            Self::ZeroMinus => "ZeroMinusTick",
        }
    }

    /// The direction of a trade at `price` after one at `last` that had this direction.
    pub(crate) fn next(self, last: Decimal, price: Decimal) -> Self {
        if price > last {
            Self::Plus
        } else if price < last {
            Self::Minus
        } else {
            match self {
                Self::Plus | Self::ZeroPlus => Self::ZeroPlus,
                Self::Minus | Self::ZeroMinus => Self::ZeroMinus,
            }
        }
    }
}
