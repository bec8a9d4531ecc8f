//! Orders, as the venue reports them by REST and by stream.

use portcullis_domain::{OrderId, OrderStatus, Price, Quantity, Side, Symbol, Timestamp};
use portcullis_domain::{Usd, VenueOrderId};
use serde::{Deserialize, Deserializer};

use super::field::{self, Words};

/// The venue took a request to place or to cancel an order. It is an acknowledgement and nothing
/// more: only the order stream or a query tells what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OrderAcknowledgement {
    /// The venue's id of the order.
    #[serde(rename = "orderId")]
    pub venue_order: VenueOrderId,
    /// Our id of the order.
    #[serde(rename = "orderLinkId", deserialize_with = "field::client_order")]
    pub order: Option<OrderId>,
}

/// Where an order stands at the venue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderInfo {
    /// `linear`, where the venue says it: the order stream carries every category.
    #[serde(default)]
    pub category: Words,
    /// The venue's id of the order.
    #[serde(rename = "orderId")]
    pub venue_order: VenueOrderId,
    /// Our id; `None` for an order that this system did not place.
    #[serde(rename = "orderLinkId", deserialize_with = "field::client_order")]
    pub order: Option<OrderId>,
    /// What it trades.
    pub symbol: Symbol,
    /// Which way.
    #[serde(deserialize_with = "field::side")]
    pub side: Side,
    /// How much in all.
    #[serde(rename = "qty", deserialize_with = "field::amount")]
    pub quantity: Quantity,
    /// The limit price; `None` for an order without one.
    #[serde(deserialize_with = "field::amount_or_none")]
    pub price: Option<Price>,
    /// How it stands. A word that is not known is [`OrderStatus::Unknown`], never a guess.
    #[serde(rename = "orderStatus", deserialize_with = "status")]
    pub status: OrderStatus,
    /// How much filled so far; `None` for nothing.
    #[serde(rename = "cumExecQty", deserialize_with = "field::amount_or_none")]
    pub filled: Option<Quantity>,
    /// How much may still fill; `None` for nothing.
    #[serde(
        rename = "leavesQty",
        default,
        deserialize_with = "field::amount_or_none"
    )]
    pub leaves: Option<Quantity>,
    /// What it filled at on average.
    #[serde(
        rename = "avgPrice",
        default,
        deserialize_with = "field::average_or_none"
    )]
    pub average_price: Option<Price>,
    /// The fees of its fills.
    #[serde(
        rename = "cumExecFee",
        default = "zero",
        deserialize_with = "field::usd"
    )]
    pub fee: Usd,
    /// Why it ended, as the venue says it; see [`super::VenueError::of_reject_reason`].
    #[serde(default)]
    pub reject_reason: Words,
    /// Whether it may only shrink a position.
    #[serde(default)]
    pub reduce_only: bool,
    /// When the venue took it.
    #[serde(rename = "createdTime", deserialize_with = "field::millis")]
    pub created_at: Timestamp,
    /// When the venue last changed it.
    #[serde(rename = "updatedTime", deserialize_with = "field::millis")]
    pub updated_at: Timestamp,
}

const fn zero() -> Usd {
    Usd::ZERO
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OrderStatus, D::Error> {
    field::with_text(deserializer, "an order status", |text| {
        Ok::<_, &str>(match text {
            "New" | "PartiallyFilled" | "Untriggered" | "Triggered" => OrderStatus::Open,
            "Filled" => OrderStatus::Filled,
            "Cancelled" | "PartiallyFilledCanceled" | "Deactivated" => OrderStatus::Cancelled,
            "Rejected" => OrderStatus::Rejected,
            _ => OrderStatus::Unknown,
        })
    })
}
