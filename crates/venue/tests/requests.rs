//! The requests that are signed: what they say, that nothing is lost in them, and that no two
//! orders share one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hmac::{Hmac, KeyInit, Mac};
use portcullis_domain::{
    Hash, Order, OrderId, Price, Quantity, RiskProfile, Side, StrategyId, Symbol, TimeInForce,
    Timestamp, Venue, VenueOrderId,
};
use portcullis_venue::bybit::{
    self, Action, Authority, Method, Request, request_of, signed_text, text_to_sign,
};
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::Sha256;

/// A secret of no account; the signatures below were computed with Python's `hmac`.
const SECRET: &[u8] = b"s3cr3t-of-a-test-account-000001";
const API_KEY: &str = "TESTKEY1";
const TIMESTAMP_MS: u64 = 1_790_000_000_000;

fn order() -> Order {
    Order {
        id: OrderId(0xff_u128.to_be_bytes()),
        strategy: StrategyId::new("sample").unwrap(),
        venue: Venue::Bybit,
        symbol: Symbol::new("XRPUSDT").unwrap(),
        side: Side::Buy,
        quantity: "10.00".parse().unwrap(),
        limit_price: "0.50".parse().unwrap(),
        time_in_force: TimeInForce::GoodTillCancel,
        reduce_only: false,
        profile: RiskProfile::Conservative,
        policy: Hash([7; 32]),
        created_at: Timestamp(1),
    }
}

fn hmac_hex(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(text.as_bytes());
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn every_action_has_its_one_spelling() {
    let order = order();
    let symbol = order.symbol;
    let id = "000000000000000000000000000000ff";
    let placed = format!(
        r#"{{"category":"linear","symbol":"XRPUSDT","side":"Buy","orderType":"Limit","qty":"10","price":"0.5","timeInForce":"GTC","positionIdx":0,"orderLinkId":"{id}","reduceOnly":false}}"#
    );
    let since = Timestamp::from_millis(1_790_000_000_123);
    let (get, post) = (Method::Get, Method::Post);
    let cases = [
        (
            Action::Place(&order),
            post,
            "/v5/order/create",
            placed.as_str(),
        ),
        (
            Action::Cancel {
                symbol,
                order: order.id,
            },
            post,
            "/v5/order/cancel",
            &format!(r#"{{"category":"linear","symbol":"XRPUSDT","orderLinkId":"{id}"}}"#),
        ),
        (
            Action::CancelAll { symbol },
            post,
            "/v5/order/cancel-all",
            r#"{"category":"linear","symbol":"XRPUSDT"}"#,
        ),
        (
            Action::CancelForeign {
                symbol,
                venue_order: VenueOrderId::new("5f0c1b2e-1111-4222-8333-0123456789ab").unwrap(),
            },
            post,
            "/v5/order/cancel",
            r#"{"category":"linear","symbol":"XRPUSDT","orderId":"5f0c1b2e-1111-4222-8333-0123456789ab"}"#,
        ),
        (
            Action::CancelOnDisconnect { after_s: 10 },
            post,
            "/v5/order/disconnected-cancel-all",
            r#"{"product":"DERIVATIVES","timeWindow":10}"#,
        ),
        (
            Action::QueryOrder {
                symbol,
                order: order.id,
            },
            get,
            "/v5/order/realtime",
            &format!("category=linear&symbol=XRPUSDT&orderLinkId={id}"),
        ),
        (
            Action::QueryOpenOrders { cursor: "" },
            get,
            "/v5/order/realtime",
            "category=linear&settleCoin=USDT&openOnly=0&limit=50",
        ),
        (
            Action::QueryPositions { cursor: "" },
            get,
            "/v5/position/list",
            "category=linear&settleCoin=USDT&limit=200",
        ),
        (
            Action::QueryExecutions {
                since,
                cursor: "17%3A2",
            },
            get,
            "/v5/execution/list",
            "category=linear&startTime=1790000000123&limit=100&cursor=17%3A2",
        ),
        (
            Action::QueryWallet,
            get,
            "/v5/account/wallet-balance",
            "accountType=UNIFIED",
        ),
        (
            Action::QueryMovements {
                since,
                cursor: "17%3A2",
            },
            get,
            "/v5/account/transaction-log",
            "accountType=UNIFIED&currency=USDT&startTime=1790000000123&limit=50&cursor=17%3A2",
        ),
        (
            Action::StreamLogin {
                expires_ms: 1_790_000_010_000,
            },
            get,
            "/v5/private",
            "GET/realtime1790000010000",
        ),
    ];
    for (action, method, path, payload) in cases {
        let expected = Request {
            method,
            path,
            payload: payload.into(),
        };
        assert_eq!(request_of(&action), expected, "{}", action.name());
    }
}

#[test]
fn signatures_are_what_an_independent_implementation_computes() {
    let order = order();
    let cases = [
        (
            Action::Place(&order),
            "67cdf2a8392abe9931e6897e68edd69fe46546ca77de7eaac5d1a40c92dce03d",
        ),
        (
            Action::QueryOrder {
                symbol: order.symbol,
                order: order.id,
            },
            "8ad8593aca6b91c632cb76027004e91516a1f8509294b4f7b45c13b634659925",
        ),
        (
            Action::StreamLogin {
                expires_ms: 1_790_000_010_000,
            },
            "4c9f97388221d1eeab10aa320dd31c4c8f24fdc01f1f0ba1e2363f6cfd08a49e",
        ),
    ];
    for (action, signature) in cases {
        let payload = request_of(&action).payload;
        let text = signed_text(&action, TIMESTAMP_MS, API_KEY, &payload);
        assert_eq!(hmac_hex(&text), signature, "{}", action.name());
    }
}

#[test]
fn only_orders_and_cancels_use_the_key_that_may_trade() {
    let order = order();
    let (symbol, id) = (order.symbol, order.id);
    let trading = [
        Action::Place(&order),
        Action::Cancel { symbol, order: id },
        Action::CancelAll { symbol },
        Action::CancelForeign {
            symbol,
            venue_order: VenueOrderId::new("v-1").unwrap(),
        },
        Action::CancelOnDisconnect { after_s: 3 },
    ];
    let reading = [
        Action::QueryOrder { symbol, order: id },
        Action::QueryOpenOrders { cursor: "" },
        Action::QueryPositions { cursor: "" },
        Action::QueryExecutions {
            since: Timestamp(0),
            cursor: "",
        },
        Action::QueryWallet,
        Action::QueryMovements {
            since: Timestamp(0),
            cursor: "",
        },
        Action::StreamLogin { expires_ms: 1 },
    ];
    for action in trading {
        assert_eq!(action.authority(), Authority::Trading, "{}", action.name());
    }
    for action in reading {
        assert_eq!(action.authority(), Authority::Reading, "{}", action.name());
    }
}

#[test]
fn a_cursor_adds_no_parameter_and_is_not_encoded_twice() {
    let cases = [
        ("a%3A2%2Cb", "a%3A2%2Cb"),
        ("a:2,b", "a%3A2%2Cb"),
        ("x&symbol=BTCUSDT", "x%26symbol%3DBTCUSDT"),
        ("100%", "100%25"),
        ("%zz", "%25zz"),
        ("a b\r\n", "a%20b%0D%0A"),
        ("ü", "%C3%BC"),
    ];
    for (cursor, expected) in cases {
        let payload = request_of(&Action::QueryPositions { cursor }).payload;
        let expected = format!("category=linear&settleCoin=USDT&limit=200&cursor={expected}");
        assert_eq!(payload, expected, "{cursor:?}");
    }
}

fn decimals() -> impl Strategy<Value = Decimal> {
    (1..=1_000_000_000_000_000_i64, 0..=12_u32)
        .prop_map(|(digits, places)| Decimal::new(digits, places))
}

fn orders() -> impl Strategy<Value = Order> {
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    let time_in_force = prop_oneof![
        Just(TimeInForce::GoodTillCancel),
        Just(TimeInForce::ImmediateOrCancel),
        Just(TimeInForce::FillOrKill),
        Just(TimeInForce::PostOnly),
    ];
    let parts = (
        any::<[u8; 16]>(),
        "[A-Z0-9._-]{1,20}",
        side,
        decimals(),
        decimals(),
        time_in_force,
        any::<bool>(),
    );
    parts.prop_map(
        |(id, symbol, side, quantity, price, time_in_force, reduce_only)| Order {
            id: OrderId(id),
            symbol: Symbol::new(&symbol).unwrap(),
            side,
            quantity: Quantity::new(quantity).unwrap(),
            limit_price: Price::new(price).unwrap(),
            time_in_force,
            reduce_only,
            ..order()
        },
    )
}

/// Two orders that differ in one thing or in many.
fn pairs() -> impl Strategy<Value = (Order, Order)> {
    (orders(), orders(), any::<[bool; 7]>()).prop_map(|(first, other, take)| {
        let mut second = first.clone();
        let [
            id,
            symbol,
            side,
            quantity,
            price,
            time_in_force,
            reduce_only,
        ] = take;
        if id {
            second.id = other.id;
        }
        if symbol {
            second.symbol = other.symbol;
        }
        if side {
            second.side = other.side;
        }
        if quantity {
            second.quantity = other.quantity;
        }
        if price {
            second.limit_price = other.limit_price;
        }
        if time_in_force {
            second.time_in_force = other.time_in_force;
        }
        if reduce_only {
            second.reduce_only = other.reduce_only;
        }
        (first, second)
    })
}

proptest! {
    #[test]
    fn a_placed_order_reads_back_as_it_was(order in orders()) {
        let body: Value = serde_json::from_str(&bybit::place(&order).payload).unwrap();
        let side = match order.side { Side::Buy => "Buy", Side::Sell => "Sell" };
        let time_in_force = match order.time_in_force {
            TimeInForce::GoodTillCancel => "GTC",
            TimeInForce::ImmediateOrCancel => "IOC",
            TimeInForce::FillOrKill => "FOK",
            TimeInForce::PostOnly => "PostOnly",
        };
        let quantity: Quantity = body["qty"].as_str().unwrap().parse().unwrap();
        let price: Price = body["price"].as_str().unwrap().parse().unwrap();
        prop_assert_eq!(quantity, order.quantity);
        prop_assert_eq!(price, order.limit_price);
        prop_assert_eq!(
            body,
            json!({
                "category": "linear",
                "symbol": order.symbol.as_str(),
                "side": side,
                "orderType": "Limit",
                "qty": quantity.get().normalize().to_string(),
                "price": price.get().normalize().to_string(),
                "timeInForce": time_in_force,
                "positionIdx": 0,
                "orderLinkId": order.id.to_string(),
                "reduceOnly": order.reduce_only,
            })
        );
    }

    #[test]
    fn different_orders_never_share_their_bytes((first, second) in pairs()) {
        prop_assert_eq!(
            first == second,
            bybit::place(&first).payload == bybit::place(&second).payload
        );
    }

    #[test]
    fn no_cursor_leaves_its_parameter(cursor in ".{0,40}") {
        let payload = request_of(&Action::QueryOpenOrders { cursor: &cursor }).payload;
        let parameters = payload.split('&').count();
        prop_assert_eq!(parameters, if cursor.is_empty() { 4 } else { 5 });
        prop_assert!(payload.bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn the_signed_text_ends_with_the_payload(
        timestamp in any::<u64>(), key in "[A-Za-z0-9]{1,40}", payload in "[ -~]{0,80}",
    ) {
        let text = text_to_sign(timestamp, &key, &payload);
        prop_assert_eq!(text, format!("{timestamp}{key}5000{payload}"));
    }
}
