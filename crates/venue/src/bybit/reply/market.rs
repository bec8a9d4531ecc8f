//! What anybody may read by REST: the venue's clock, its filters, and what traded lately.

use portcullis_domain::{Instrument, Price, Quantity, Side, Symbol, Timestamp, Usd};
use serde::{Deserialize, Deserializer};

use super::PublicTrade;
use super::field::{self, List, Words};

/// The venue's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ServerTime {
    /// What it shows.
    #[serde(rename = "timeNano", deserialize_with = "nanos")]
    pub now: Timestamp,
}

fn nanos<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    field::with_text(deserializer, "nanoseconds since the epoch", |text| {
        let nanos = field::digits(text).ok_or("is not a number of digits")?;
        Ok::<_, &str>(Timestamp(nanos / 1_000))
    })
}

/// An instrument with its filters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawInstrument")]
pub struct InstrumentInfo {
    /// The instrument and its filters.
    pub instrument: Instrument,
    /// Whether it trades now.
    pub trading: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawInstrument {
    symbol: Symbol,
    status: Words,
    price_filter: PriceFilter,
    lot_size_filter: LotSizeFilter,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceFilter {
    #[serde(deserialize_with = "field::amount")]
    tick_size: Price,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LotSizeFilter {
    #[serde(deserialize_with = "field::amount")]
    min_order_qty: Quantity,
    #[serde(deserialize_with = "field::amount")]
    max_order_qty: Quantity,
    #[serde(deserialize_with = "field::amount")]
    qty_step: Quantity,
    #[serde(deserialize_with = "field::usd")]
    min_notional_value: Usd,
}

impl From<RawInstrument> for InstrumentInfo {
    fn from(raw: RawInstrument) -> Self {
        let lots = raw.lot_size_filter;
        Self {
            instrument: Instrument {
                symbol: raw.symbol,
                tick_size: raw.price_filter.tick_size,
                quantity_step: lots.qty_step,
                quantity_min: lots.min_order_qty,
                quantity_max: lots.max_order_qty,
                notional_min: lots.min_notional_value,
            },
            trading: raw.status.as_str() == "Trading",
        }
    }
}

/// The bars of an instrument.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Bars {
    /// Of what.
    pub symbol: Symbol,
    /// The bars as they came: the venue writes the newest first, and that one may be unfinished.
    pub list: List<Bar>,
}

/// One bar. Its volume is checked for being there and not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawBar")]
pub struct Bar {
    /// When it began, by the venue's clock.
    pub begins_at: Timestamp,
    /// The last price of it; never outside its lowest and its highest.
    pub close: Price,
}

/// Begin, open, high, low, close, volume in base coin, turnover in quote coin.
#[derive(Deserialize)]
struct RawBar(
    #[serde(deserialize_with = "field::millis")] Timestamp,
    #[serde(deserialize_with = "field::amount")] Price,
    #[serde(deserialize_with = "field::amount")] Price,
    #[serde(deserialize_with = "field::amount")] Price,
    #[serde(deserialize_with = "field::amount")] Price,
    #[serde(deserialize_with = "field::usd")]
    #[expect(dead_code, reason = "only its form is checked")]
    Usd,
    #[serde(deserialize_with = "field::usd")]
    #[expect(dead_code, reason = "only its form is checked")]
    Usd,
);

impl TryFrom<RawBar> for Bar {
    type Error = &'static str;

    fn try_from(raw: RawBar) -> Result<Self, Self::Error> {
        let RawBar(begins_at, open, high, low, close, _, _) = raw;
        if [open, close]
            .iter()
            .all(|price| (low..=high).contains(price))
        {
            Ok(Self { begins_at, close })
        } else {
            Err("a bar opens and closes within its lowest and highest price")
        }
    }
}

/// A trade as the list of recent ones spells it; the venue writes the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawTrade")]
pub struct RecentTrade(pub PublicTrade);

#[derive(Deserialize)]
struct RawTrade {
    symbol: Symbol,
    #[serde(deserialize_with = "field::side")]
    side: Side,
    #[serde(deserialize_with = "field::amount")]
    price: Price,
    #[serde(deserialize_with = "field::amount")]
    size: Quantity,
    #[serde(rename = "execId")]
    id: Words,
    #[serde(deserialize_with = "field::millis")]
    time: Timestamp,
}

impl From<RawTrade> for RecentTrade {
    fn from(raw: RawTrade) -> Self {
        Self(PublicTrade {
            symbol: raw.symbol,
            side: raw.side,
            price: raw.price,
            quantity: raw.size,
            id: raw.id,
            venue_time: raw.time,
        })
    }
}
