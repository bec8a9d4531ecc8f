//! Every request that is ever signed, written in one fixed spelling.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Write;
use core::ops::RangeInclusive;

use portcullis_domain::{Order, OrderId, Side, Symbol, TimeInForce, Timestamp, VenueOrderId};

/// How long after its time stamp the venue still accepts a request, in milliseconds.
pub const RECV_WINDOW_MS: u64 = 5_000;

/// After how many seconds without its private stream the venue may be asked to cancel everything.
pub const CANCEL_ON_DISCONNECT_S: RangeInclusive<u16> = 3..=300;

/// The topic that makes a private stream count for that.
pub const DISCONNECT_TOPIC: &str = "dcp.future";

/// How a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// With the payload as query string.
    Get,
    /// With the payload as JSON body.
    Post,
}

/// A request to the venue, without its time stamp and signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How it is sent.
    pub method: Method,
    /// Where to, below the venue's address.
    pub path: &'static str,
    /// The JSON body, or the query string without its `?`. These exact bytes are signed and sent.
    pub payload: String,
}

/// What may be asked of the venue. There is no action for anything else, least of all for a
/// withdrawal, a transfer or a change of leverage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Place an order.
    Place(&'a Order),
    /// Cancel one order.
    Cancel {
        /// What it trades.
        symbol: Symbol,
        /// Which order.
        order: OrderId,
    },
    /// Cancel every order of an instrument.
    CancelAll {
        /// Which instrument.
        symbol: Symbol,
    },
    /// Cancel one order by the venue's own id of it: an order that is not ours has no other.
    CancelForeign {
        /// What it trades.
        symbol: Symbol,
        /// The venue's id of it.
        venue_order: VenueOrderId,
    },
    /// Have the venue itself cancel everything, once the private stream has been gone for so long.
    CancelOnDisconnect {
        /// For how long, in seconds; within [`CANCEL_ON_DISCONNECT_S`].
        after_s: u16,
    },
    /// Read one order by its client order id.
    QueryOrder {
        /// What it trades.
        symbol: Symbol,
        /// Which order.
        order: OrderId,
    },
    /// Read all open orders.
    QueryOpenOrders {
        /// Where the last page ended, or empty.
        cursor: &'a str,
    },
    /// Read the positions.
    QueryPositions {
        /// Where the last page ended, or empty.
        cursor: &'a str,
    },
    /// Read the fills since a moment.
    QueryExecutions {
        /// The first moment, by the venue's clock.
        since: Timestamp,
        /// Where the last page ended, or empty.
        cursor: &'a str,
    },
    /// Read the balance.
    QueryWallet,
    /// Read what changed the balance since a moment.
    QueryMovements {
        /// The first moment, by the venue's clock.
        since: Timestamp,
        /// Where the last page ended, or empty.
        cursor: &'a str,
    },
    /// Log in to the private stream.
    StreamLogin {
        /// Until when the login is valid, in milliseconds since the epoch.
        expires_ms: u64,
    },
}

/// Which of the account's API keys an action needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authority {
    /// The key that may trade.
    Trading,
    /// The key that may only read. A login to a stream is not bound to what is done with it: with a
    /// key that may trade, the same signature opens the venue's order-entry socket, where orders
    /// need no signature of their own.
    Reading,
}

impl Action<'_> {
    /// A short word for logs, metrics and the audit log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Place(_) => "place",
            Self::Cancel { .. } => "cancel",
            Self::CancelAll { .. } => "cancel-all",
            Self::CancelForeign { .. } => "cancel-foreign",
            Self::CancelOnDisconnect { .. } => "cancel-on-disconnect",
            Self::QueryOrder { .. } => "query-order",
            Self::QueryOpenOrders { .. } => "query-open-orders",
            Self::QueryPositions { .. } => "query-positions",
            Self::QueryExecutions { .. } => "query-executions",
            Self::QueryWallet => "query-wallet",
            Self::QueryMovements { .. } => "query-movements",
            Self::StreamLogin { .. } => "stream-login",
        }
    }

    /// Which API key it needs: the least that will do.
    #[must_use]
    pub const fn authority(&self) -> Authority {
        match self {
            Self::Place(_)
            | Self::Cancel { .. }
            | Self::CancelAll { .. }
            | Self::CancelForeign { .. }
            | Self::CancelOnDisconnect { .. } => Authority::Trading,
            Self::QueryOrder { .. }
            | Self::QueryOpenOrders { .. }
            | Self::QueryPositions { .. }
            | Self::QueryExecutions { .. }
            | Self::QueryWallet
            | Self::QueryMovements { .. }
            | Self::StreamLogin { .. } => Authority::Reading,
        }
    }
}

/// The request that an action stands for: the one function that execution and signer share.
#[must_use]
pub fn request_of(action: &Action<'_>) -> Request {
    match *action {
        Action::Place(order) => place(order),
        Action::Cancel { symbol, order } => cancel(symbol, order),
        Action::CancelAll { symbol } => cancel_all(symbol),
        Action::CancelForeign {
            symbol,
            venue_order,
        } => cancel_foreign(symbol, venue_order),
        Action::CancelOnDisconnect { after_s } => cancel_on_disconnect(after_s),
        Action::QueryOrder { symbol, order } => query_order(symbol, order),
        Action::QueryOpenOrders { cursor } => query_open_orders(cursor),
        Action::QueryPositions { cursor } => query_positions(cursor),
        Action::QueryExecutions { since, cursor } => query_executions(since, cursor),
        Action::QueryWallet => query_wallet(),
        Action::QueryMovements { since, cursor } => query_movements(since, cursor),
        Action::StreamLogin { expires_ms } => {
            let payload = stream_login_text(expires_ms);
            Request {
                method: Method::Get,
                path: "/v5/private",
                payload,
            }
        }
    }
}

/// Places an order: always a limit order, in one-way position mode.
#[must_use]
pub fn place(order: &Order) -> Request {
    let side = match order.side {
        Side::Buy => "Buy",
        Side::Sell => "Sell",
    };
    let time_in_force = match order.time_in_force {
        TimeInForce::GoodTillCancel => "GTC",
        TimeInForce::ImmediateOrCancel => "IOC",
        TimeInForce::FillOrKill => "FOK",
        TimeInForce::PostOnly => "PostOnly",
    };
    // Symbols, ids and decimals consist of characters that JSON needs no escapes for.
    let payload = format!(
        concat!(
            r#"{{"category":"linear","symbol":"{symbol}","side":"{side}","orderType":"Limit","#,
            r#""qty":"{quantity}","price":"{price}","timeInForce":"{time_in_force}","#,
            r#""positionIdx":0,"orderLinkId":"{id}","reduceOnly":{reduce_only}}}"#
        ),
        symbol = order.symbol,
        side = side,
        quantity = order.quantity.get().normalize(),
        price = order.limit_price.get().normalize(),
        time_in_force = time_in_force,
        id = order.id,
        reduce_only = order.reduce_only,
    );
    Request {
        method: Method::Post,
        path: "/v5/order/create",
        payload,
    }
}

/// Cancels an order by its client order id.
#[must_use]
pub fn cancel(symbol: Symbol, order: OrderId) -> Request {
    let payload = format!(r#"{{"category":"linear","symbol":"{symbol}","orderLinkId":"{order}"}}"#);
    Request {
        method: Method::Post,
        path: "/v5/order/cancel",
        payload,
    }
}

/// Cancels every open order of an instrument.
#[must_use]
pub fn cancel_all(symbol: Symbol) -> Request {
    let payload = format!(r#"{{"category":"linear","symbol":"{symbol}"}}"#);
    Request {
        method: Method::Post,
        path: "/v5/order/cancel-all",
        payload,
    }
}

/// Cancels an order by the venue's id of it.
#[must_use]
pub fn cancel_foreign(symbol: Symbol, venue_order: VenueOrderId) -> Request {
    // An id consists of characters that JSON needs no escapes for.
    let payload =
        format!(r#"{{"category":"linear","symbol":"{symbol}","orderId":"{venue_order}"}}"#);
    Request {
        method: Method::Post,
        path: "/v5/order/cancel",
        payload,
    }
}

/// Has the venue cancel every order of the account, once its last private stream that subscribed to
/// [`DISCONNECT_TOPIC`] has been gone for so many seconds.
///
/// Source: the venue's API reference, v5, `order/dcp`.
#[must_use]
pub fn cancel_on_disconnect(after_s: u16) -> Request {
    let payload = format!(r#"{{"product":"DERIVATIVES","timeWindow":{after_s}}}"#);
    Request {
        method: Method::Post,
        path: "/v5/order/disconnected-cancel-all",
        payload,
    }
}

/// Reads one order by its client order id; the venue still knows the last 500 closed ones.
#[must_use]
pub fn query_order(symbol: Symbol, order: OrderId) -> Request {
    let payload = format!("category=linear&symbol={symbol}&orderLinkId={order}");
    Request {
        method: Method::Get,
        path: "/v5/order/realtime",
        payload,
    }
}

/// Reads a page of the open orders of all instruments.
#[must_use]
pub fn query_open_orders(cursor: &str) -> Request {
    let payload = with_cursor(
        "category=linear&settleCoin=USDT&openOnly=0&limit=50",
        cursor,
    );
    Request {
        method: Method::Get,
        path: "/v5/order/realtime",
        payload,
    }
}

/// Reads a page of the positions of all instruments.
#[must_use]
pub fn query_positions(cursor: &str) -> Request {
    let payload = with_cursor("category=linear&settleCoin=USDT&limit=200", cursor);
    Request {
        method: Method::Get,
        path: "/v5/position/list",
        payload,
    }
}

/// Reads a page of the fills since a moment; the venue answers for at most seven days from it.
#[must_use]
pub fn query_executions(since: Timestamp, cursor: &str) -> Request {
    let from = format!("category=linear&startTime={}&limit=100", since.as_millis());
    Request {
        method: Method::Get,
        path: "/v5/execution/list",
        payload: with_cursor(&from, cursor),
    }
}

/// Reads the balance of the unified account.
#[must_use]
pub fn query_wallet() -> Request {
    let payload = "accountType=UNIFIED".to_string();
    Request {
        method: Method::Get,
        path: "/v5/account/wallet-balance",
        payload,
    }
}

/// Reads a page of what changed the balance in USDT since a moment; the venue answers for at most
/// seven days from it. No category is named: transfers belong to none, and would be left out.
#[must_use]
pub fn query_movements(since: Timestamp, cursor: &str) -> Request {
    let from = format!(
        "accountType=UNIFIED&currency=USDT&startTime={}&limit=50",
        since.as_millis()
    );
    Request {
        method: Method::Get,
        path: "/v5/account/transaction-log",
        payload: with_cursor(&from, cursor),
    }
}

/// Reads the latest one-minute bars of an instrument, the unfinished one among them. Public: nobody
/// signs it.
#[must_use]
pub fn query_minutes(symbol: Symbol, limit: usize) -> Request {
    let payload = format!("category=linear&symbol={symbol}&interval=1&limit={limit}");
    Request {
        method: Method::Get,
        path: "/v5/market/kline",
        payload,
    }
}

/// Reads the latest trades of an instrument. Public: nobody signs it.
#[must_use]
pub fn query_trades(symbol: Symbol, limit: usize) -> Request {
    let payload = format!("category=linear&symbol={symbol}&limit={limit}");
    Request {
        method: Method::Get,
        path: "/v5/market/recent-trade",
        payload,
    }
}

/// The text that a request's signature covers; neither path nor method is in it.
#[must_use]
pub fn text_to_sign(timestamp_ms: u64, api_key: &str, payload: &str) -> String {
    format!("{timestamp_ms}{api_key}{RECV_WINDOW_MS}{payload}")
}

/// The text that the signature of a login to the private stream covers.
#[must_use]
pub fn stream_login_text(expires_ms: u64) -> String {
    format!("GET/realtime{expires_ms}")
}

/// The text that the signature of an action covers, given its payload.
#[must_use]
pub fn signed_text(action: &Action<'_>, timestamp_ms: u64, api_key: &str, payload: &str) -> String {
    match action {
        Action::StreamLogin { .. } => payload.to_string(),
        Action::Place(_)
        | Action::Cancel { .. }
        | Action::CancelAll { .. }
        | Action::CancelForeign { .. }
        | Action::CancelOnDisconnect { .. }
        | Action::QueryOrder { .. }
        | Action::QueryOpenOrders { .. }
        | Action::QueryPositions { .. }
        | Action::QueryExecutions { .. }
        | Action::QueryWallet
        | Action::QueryMovements { .. } => text_to_sign(timestamp_ms, api_key, payload),
    }
}

/// Appends the cursor as the venue gave it. It comes percent-encoded already; what is not, and is
/// not plain either, is encoded here, so that a cursor can never add a parameter.
fn with_cursor(query: &str, cursor: &str) -> String {
    let mut text = query.to_string();
    if cursor.is_empty() {
        return text;
    }
    text.push_str("&cursor=");
    let bytes = cursor.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        let encoded = *byte == b'%'
            && [1, 2].iter().all(|ahead| {
                bytes
                    .get(at.saturating_add(*ahead))
                    .is_some_and(u8::is_ascii_hexdigit)
            });
        if plain || encoded {
            text.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
