//! Fills, positions and the balance.

use portcullis_domain::{
    Exposure, Fill, OrderId, Price, Quantity, Side, Symbol, Timestamp, Usd, VenueExecutionId,
    VenueOrderId,
};
use serde::{Deserialize, Deserializer};

use super::field::{self, List, Words};

/// What kind of execution changed the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionKind {
    /// An order filled.
    Trade,
    /// Funding was paid or received; the position did not change.
    Funding,
    /// Something else, such as a liquidation: the position may have changed without an order.
    Other,
}

/// One execution.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawExecution")]
pub struct Execution {
    /// The venue's id of it.
    pub execution: VenueExecutionId,
    /// What kind it is.
    pub kind: ExecutionKind,
    /// `linear`, where the venue says it.
    pub category: Words,
    /// Our id of the order; `None` where it is not ours or the venue does not say.
    pub order: Option<OrderId>,
    /// The venue's id of the order.
    pub venue_order: VenueOrderId,
    /// What was traded.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// At what price; there for every trade.
    pub price: Option<Price>,
    /// How much; there for every trade.
    pub quantity: Option<Quantity>,
    /// What the venue charged; negative for a rebate.
    pub fee: Usd,
    /// Whether the order rested.
    pub is_maker: bool,
    /// When, by the venue's clock.
    pub venue_time: Timestamp,
}

impl Execution {
    /// The fill that it is, when it is a trade of the order `order`; the venue leaves the client
    /// order id out at times, so the caller may know it better, by the venue's id.
    #[must_use]
    pub fn fill(&self, order: OrderId) -> Option<Fill> {
        if self.kind != ExecutionKind::Trade || self.order.is_some_and(|own| own != order) {
            return None;
        }
        Some(Fill {
            execution: self.execution,
            order,
            venue_order: self.venue_order,
            symbol: self.symbol,
            side: self.side,
            price: self.price?,
            quantity: self.quantity?,
            fee: self.fee,
            venue_time: self.venue_time,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawExecution {
    #[serde(default)]
    category: Words,
    exec_id: VenueExecutionId,
    exec_type: Words,
    order_id: VenueOrderId,
    #[serde(deserialize_with = "field::client_order")]
    order_link_id: Option<OrderId>,
    symbol: Symbol,
    #[serde(deserialize_with = "field::side")]
    side: Side,
    #[serde(deserialize_with = "field::amount_or_none")]
    exec_price: Option<Price>,
    #[serde(deserialize_with = "field::amount_or_none")]
    exec_qty: Option<Quantity>,
    #[serde(deserialize_with = "field::usd")]
    exec_fee: Usd,
    #[serde(default)]
    is_maker: bool,
    #[serde(deserialize_with = "field::millis")]
    exec_time: Timestamp,
}

impl TryFrom<RawExecution> for Execution {
    type Error = &'static str;

    fn try_from(raw: RawExecution) -> Result<Self, &'static str> {
        let kind = match raw.exec_type.as_str() {
            "Trade" => ExecutionKind::Trade,
            "Funding" => ExecutionKind::Funding,
            _ => ExecutionKind::Other,
        };
        if kind == ExecutionKind::Trade && (raw.exec_price.is_none() || raw.exec_qty.is_none()) {
            return Err("a trade needs a price and a quantity above zero");
        }
        Ok(Self {
            execution: raw.exec_id,
            kind,
            category: raw.category,
            order: raw.order_link_id,
            venue_order: raw.order_id,
            symbol: raw.symbol,
            side: raw.side,
            price: raw.exec_price,
            quantity: raw.exec_qty,
            fee: raw.exec_fee,
            is_maker: raw.is_maker,
            venue_time: raw.exec_time,
        })
    }
}

/// A position in one instrument.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawPosition")]
pub struct Position {
    /// `linear`, where the venue says it.
    pub category: Words,
    /// In what.
    pub symbol: Symbol,
    /// How much, with its sign.
    pub exposure: Exposure,
    /// What it cost on average; `None` when flat.
    pub average_price: Option<Price>,
    /// The venue's mark price.
    pub mark_price: Option<Price>,
    /// The unrealised gain at that mark.
    pub unrealised: Usd,
    /// When it last changed, by the venue's clock.
    pub updated_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPosition {
    #[serde(default)]
    category: Words,
    position_idx: u8,
    symbol: Symbol,
    #[serde(deserialize_with = "holding")]
    side: Option<Side>,
    #[serde(deserialize_with = "field::amount_or_none")]
    size: Option<Quantity>,
    // By REST it is called one way, by stream the other.
    #[serde(default, deserialize_with = "field::average_or_none")]
    avg_price: Option<Price>,
    #[serde(default, deserialize_with = "field::average_or_none")]
    entry_price: Option<Price>,
    #[serde(default, deserialize_with = "field::average_or_none")]
    mark_price: Option<Price>,
    #[serde(
        rename = "unrealisedPnl",
        default = "zero",
        deserialize_with = "field::usd"
    )]
    unrealised: Usd,
    #[serde(deserialize_with = "field::millis")]
    updated_time: Timestamp,
}

const fn zero() -> Usd {
    Usd::ZERO
}

fn holding<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Side>, D::Error> {
    field::with_text(deserializer, "Buy, Sell or nothing", |text| match text {
        "Buy" => Ok(Some(Side::Buy)),
        "Sell" => Ok(Some(Side::Sell)),
        "" | "None" => Ok(None),
        _ => Err("is neither Buy nor Sell nor nothing"),
    })
}

impl TryFrom<RawPosition> for Position {
    type Error = &'static str;

    fn try_from(raw: RawPosition) -> Result<Self, &'static str> {
        if raw.position_idx != 0 {
            return Err("the account must be in one-way position mode");
        }
        let exposure = match (raw.side, raw.size) {
            (_, None) => Exposure::FLAT,
            (Some(side), Some(size)) => side
                .applied(Exposure::FLAT, size)
                .map_err(|_| "the position is too large to be computed with")?,
            (None, Some(_)) => return Err("a position needs a side"),
        };
        Ok(Self {
            category: raw.category,
            symbol: raw.symbol,
            exposure,
            average_price: raw.avg_price.or(raw.entry_price),
            mark_price: raw.mark_price,
            unrealised: raw.unrealised,
            updated_at: raw.updated_time,
        })
    }
}

/// The balance of an account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wallet {
    /// `UNIFIED`.
    pub account_type: Words,
    /// Everything, marked to market, in USD.
    #[serde(rename = "totalEquity", deserialize_with = "field::usd")]
    pub equity: Usd,
    /// What was paid in and realised, in USD.
    #[serde(rename = "totalWalletBalance", deserialize_with = "field::usd")]
    pub balance: Usd,
    /// What new orders may use, in USD.
    #[serde(rename = "totalAvailableBalance", deserialize_with = "field::usd")]
    pub available: Usd,
    /// By coin.
    #[serde(rename = "coin")]
    pub coins: List<Coin>,
}

/// The balance in one coin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coin {
    /// Which, such as `USDT`.
    pub coin: Words,
    /// Everything, in units of the coin.
    #[serde(deserialize_with = "field::usd")]
    pub equity: Usd,
    /// Without unrealised gains, in units of the coin.
    #[serde(rename = "walletBalance", deserialize_with = "field::usd")]
    pub balance: Usd,
}
