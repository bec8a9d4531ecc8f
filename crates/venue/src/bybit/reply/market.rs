//! The venue's clock and its filters.

use portcullis_domain::{Instrument, Price, Quantity, Symbol, Timestamp, Usd};
use serde::{Deserialize, Deserializer};

use super::field::{self, Words};

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
