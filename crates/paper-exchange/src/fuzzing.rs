//! The readers of foreign bytes, for the fuzz targets alone: this is compiled with `--cfg fuzzing`
//! only, because from outside there is no way to a reader but through a whole server.

use rust_decimal::Decimal;

use crate::engine::order::{OrderType, Side};
use crate::journal;
use crate::rest::orders::place_request;
use crate::rest::params::Params;
use crate::ws::topic::Topic;

/// An order as a client asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The instrument.
    pub symbol: String,
    /// Whether it buys.
    pub buys: bool,
    /// In base coin.
    pub qty: Decimal,
    /// In USDT; `None` for a market order.
    pub price: Option<Decimal>,
    /// The client's id, or nothing.
    pub link_id: String,
    /// Whether it may only shrink a position.
    pub reduce_only: bool,
}

/// The order in the body of a request; `None` when it is refused.
#[must_use]
pub fn order_of_body(body: &[u8]) -> Option<Asked> {
    asked(&Params::json(body).ok()?)
}

/// The order in a query string; `None` when it is refused.
#[must_use]
pub fn order_of_query(query: &str) -> Option<Asked> {
    asked(&Params::query(query).ok()?)
}

fn asked(params: &Params) -> Option<Asked> {
    let link_id = params.text("orderLinkId").ok()?.unwrap_or_default();
    let request = place_request(params, link_id.to_owned()).ok()?;
    Some(Asked {
        symbol: request.symbol,
        buys: request.side == Side::Buy,
        qty: request.qty,
        price: request
            .price
            .filter(|_| request.order_type == OrderType::Limit),
        link_id: request.link_id,
        reduce_only: request.reduce_only,
    })
}

/// A topic of the public or the private socket, as the exchange spells it.
#[must_use]
pub fn topic(text: &str, private: bool) -> Option<String> {
    let topic = if private {
        Topic::private(text)
    } else {
        Topic::public(text)
    };
    topic.map(|topic| topic.text())
}

/// What a journal holds, as one commit, and how many bytes of it are sound; the line of the damage
/// where there is some.
///
/// # Errors
/// The number of the first damaged line that has a sound one after it.
pub fn journal(bytes: &[u8]) -> Result<(Vec<u8>, usize), usize> {
    let (events, sound) = journal::decode(bytes)?;
    Ok((journal::encode(&events).unwrap_or_default(), sound))
}
