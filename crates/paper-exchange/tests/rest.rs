//! REST over real sockets: who may ask, how often, and what is answered.

mod support;

use serde_json::json;
use support::{Home, KEY, OTHER_KEY, OTHER_SECRET, SECRET, now_ms, order, signed};

#[test]
fn refuses_requests_whose_signature_time_or_key_is_wrong() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let query = "accountType=UNIFIED";
    let ask = |headers: &[(String, String)]| {
        let target = format!("/v5/account/wallet-balance?{query}");
        exchange
            .http("GET", exchange.port, &target, headers, "")
            .unwrap()
    };
    assert_eq!(ask(&signed(KEY, SECRET, now_ms(), query)).code(), 0);
    let cases = [
        (signed("NOBODY", SECRET, now_ms(), query), 10003),
        (vec![], 10003),
        (signed(KEY, OTHER_SECRET, now_ms(), query), 10004),
        (signed(KEY, SECRET, now_ms(), "accountType=CONTRACT"), 10004),
        (signed(KEY, SECRET, now_ms() - 5_100, query), 10002),
        (signed(KEY, SECRET, now_ms() + 1_500, query), 10002),
    ];
    for (headers, code) in cases {
        let reply = ask(&headers);
        assert_eq!((reply.status, reply.code()), (200, code), "{headers:?}");
    }
    let mut upper = signed(KEY, SECRET, now_ms(), query);
    upper[3].1 = upper[3].1.to_uppercase();
    assert_eq!(ask(&upper).code(), 10004, "the venue signs in lower case");
}

#[test]
fn signs_the_body_byte_for_byte_spaces_included() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let body = r#"{ "category":"linear" , "settleCoin":"USDT" }"#;
    let post = |signed_over: &str| {
        let headers = signed(KEY, SECRET, now_ms(), signed_over);
        exchange
            .http(
                "POST",
                exchange.port,
                "/v5/order/cancel-all",
                &headers,
                body,
            )
            .unwrap()
    };
    assert_eq!(post(body).code(), 0);
    assert_eq!(post(&body.replace(' ', "")).code(), 10004);
}

#[test]
fn counts_requests_and_says_so_in_the_headers() {
    let home = Home::new();
    let exchange = home.start_still(&["--order-rate-per-second", "3"]);
    let body = json!({"category": "linear", "settleCoin": "USDT"});
    let replies: Vec<_> = (0..5)
        .map(|_| exchange.post("/v5/order/cancel-all", &body))
        .collect();
    let remaining: Vec<_> = replies
        .iter()
        .map(|reply| reply.header("X-Bapi-Limit-Status").unwrap())
        .collect();
    let codes: Vec<_> = replies.iter().map(support::Reply::code).collect();
    assert_eq!(codes, [0, 0, 0, 10006, 10006]);
    assert_eq!(remaining, ["2", "1", "0", "0", "0"]);
    assert_eq!(replies[0].header("X-Bapi-Limit"), Some("3"));
    let reset: i64 = replies[4]
        .header("X-Bapi-Limit-Reset-Timestamp")
        .unwrap()
        .parse()
        .unwrap();
    assert!((now_ms()..=now_ms() + 1_000).contains(&reset), "{reset}");
}

#[test]
fn an_address_over_its_limit_gets_403() {
    let home = Home::new();
    let exchange = home.start_still(&["--address-rate-per-5s", "3"]);
    let statuses: Vec<_> = (0..5)
        .map(|_| exchange.public("/v5/market/time").status)
        .collect();
    assert_eq!(statuses, [200, 200, 200, 403, 403]);
}

#[test]
fn unknown_paths_methods_and_oversized_bodies_are_refused() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let reply = exchange.public("/v5/market/nothing");
    assert_eq!((reply.status, reply.code()), (404, 10017));
    let reply = exchange.public("/v5/order/create");
    assert_eq!(
        (reply.status, reply.code()),
        (404, 10017),
        "GET of a POST endpoint"
    );
    let big = "x".repeat(70_000);
    let headers = signed(KEY, SECRET, now_ms(), &big);
    let reply = exchange
        .http("POST", exchange.port, "/v5/order/create", &headers, &big)
        .unwrap();
    assert_eq!(reply.status, 413);
}

#[test]
fn refuses_malformed_and_unsimulated_orders_by_name() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let with = |name: &str, value: serde_json::Value| {
        let mut body = order("", "Buy", "10", "1.9");
        body[name] = value;
        body
    };
    let cases = [
        (
            with("category", json!("spot")),
            10001,
            "categories other than linear",
        ),
        (with("symbol", json!("BTCUSDT")), 10001, "symbol"),
        (with("side", json!("buy")), 10001, "side"),
        (with("orderType", json!("Stop")), 10001, "orderType"),
        (with("timeInForce", json!("GTD")), 10001, "timeInForce"),
        (with("qty", json!(10)), 10001, "qty"),
        (with("qty", json!("1e1")), 10001, "qty"),
        (with("price", json!("-1")), 10001, "price"),
        (
            with("price", json!("79228162514264337593543950335")),
            10001,
            "price",
        ),
        (with("triggerPrice", json!("2")), 10001, "triggerPrice"),
        (with("takeProfit", json!("3")), 10001, "takeProfit"),
        (with("positionIdx", json!(1)), 10001, "hedge mode"),
        (with("orderLinkId", json!("ä")), 10001, "orderLinkId"),
        (with("price", json!("2.5")), 110003, "permissible range"),
        (with("qty", json!("1")), 110094, "minimum order value 5USDT"),
        (with("qty", json!("2000000")), 110007, "not enough"),
        (with("reduceOnly", json!(true)), 110017, "reduce-only"),
    ];
    for (body, code, words) in cases {
        let reply = exchange.post("/v5/order/create", &body);
        assert_eq!(reply.code(), code, "{body} {}", reply.body);
        assert!(
            reply.json()["retMsg"].as_str().unwrap().contains(words),
            "{}",
            reply.body
        );
    }
    let list = exchange
        .get("/v5/order/realtime", "category=linear&settleCoin=USDT")
        .result();
    assert_eq!(list["list"], json!([]));
}

#[test]
fn a_client_order_id_works_once_and_every_request_is_counted() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let first = exchange.create("only-once", "Buy", "10", "1.9").result();
    assert_eq!(first["orderLinkId"], "only-once");
    assert_eq!(
        exchange.create("only-once", "Buy", "10", "1.9").code(),
        110072
    );
    let query = "category=linear&orderLinkId=only-once";
    let found = exchange.get("/v5/order/realtime", query).result();
    assert_eq!(found["list"][0]["orderId"], first["orderId"]);
    assert_eq!(
        exchange.admin("/admin/requests")["createRequests"]["only-once"],
        2
    );
}

#[test]
fn finds_open_and_closed_orders_as_the_venue_does() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    for index in 0..5 {
        exchange
            .create(&format!("o-{index}"), "Buy", "10", "1.9")
            .result();
    }
    let body = json!({"category": "linear", "symbol": "XRPUSDT", "orderLinkId": "o-1"});
    exchange.post("/v5/order/cancel", &body).result();
    assert_eq!(exchange.post("/v5/order/cancel", &body).code(), 110001);
    let links = |query: &str| -> Vec<String> {
        let result = exchange.get("/v5/order/realtime", query).result();
        let list = result["list"].as_array().unwrap().clone();
        list.iter()
            .map(|order| order["orderLinkId"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        links("category=linear&symbol=XRPUSDT"),
        ["o-4", "o-3", "o-2", "o-0"]
    );
    assert_eq!(links("category=linear&settleCoin=USDT&openOnly=1"), ["o-1"]);
    assert_eq!(
        links("category=linear&baseCoin=XRP&limit=2"),
        ["o-4", "o-3"]
    );
    assert_eq!(
        links("category=linear&orderLinkId=o-1"),
        ["o-1"],
        "closed, by id"
    );
    let page = exchange
        .get(
            "/v5/order/realtime",
            "category=linear&symbol=XRPUSDT&limit=3",
        )
        .result();
    let cursor = page["nextPageCursor"].as_str().unwrap();
    let rest = format!("category=linear&cursor={cursor}&limit=3&symbol=XRPUSDT");
    assert_eq!(links(&rest), ["o-0"]);
    assert_eq!(
        exchange.get("/v5/order/realtime", "category=linear").code(),
        10001
    );
    let other = exchange.get_as(
        (OTHER_KEY, OTHER_SECRET),
        "/v5/order/realtime",
        "category=linear&settleCoin=USDT",
    );
    assert_eq!(
        other.result()["list"],
        json!([]),
        "another account sees none of them"
    );
}

#[test]
fn reads_executions_by_time_and_in_pages_without_loss() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let begin = now_ms();
    for index in 0..6 {
        exchange
            .create(&format!("e-{index}"), "Buy", "10", "2.0001")
            .result();
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let query = format!("category=linear&cursor={cursor}&limit=4&startTime={begin}");
        let page = exchange.get("/v5/execution/list", &query).result();
        for fill in page["list"].as_array().unwrap() {
            seen.push(fill["orderLinkId"].as_str().unwrap().to_owned());
        }
        cursor = page["nextPageCursor"].as_str().unwrap().to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["e-5", "e-4", "e-3", "e-2", "e-1", "e-0"]);
    let later = format!("category=linear&startTime={}", now_ms() + 60_000);
    assert_eq!(
        exchange.get("/v5/execution/list", &later).result()["list"],
        json!([])
    );
    let funding = "category=linear&execType=Funding";
    assert_eq!(
        exchange.get("/v5/execution/list", funding).result()["list"],
        json!([])
    );
    let long = format!(
        "category=linear&endTime={}&startTime={}",
        begin,
        begin - 8 * 86_400_000
    );
    assert_eq!(exchange.get("/v5/execution/list", &long).code(), 10001);
}

#[test]
fn two_accounts_trade_with_each_other_and_the_books_agree() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    exchange.create("rest", "Sell", "50", "2.0000").result();
    let body = order("take", "Buy", "50", "2.0000");
    exchange
        .try_post((OTHER_KEY, OTHER_SECRET), "/v5/order/create", &body)
        .unwrap()
        .result();
    let position = |key| {
        let reply = exchange.get_as(key, "/v5/position/list", "category=linear&symbol=XRPUSDT");
        let position = reply.result()["list"][0].clone();
        (position["side"].clone(), position["size"].clone())
    };
    assert_eq!(position((KEY, SECRET)), (json!("Sell"), json!("50")));
    assert_eq!(
        position((OTHER_KEY, OTHER_SECRET)),
        (json!("Buy"), json!("50"))
    );
    let all = exchange.admin("/admin/executions");
    let all = all["executions"].as_array().unwrap();
    let shown: Vec<_> = all
        .iter()
        .map(|fill| {
            (
                fill["orderLinkId"].clone(),
                fill["price"].clone(),
                fill["fee"].clone(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (json!("take"), json!("2"), json!("0.055")),
            (json!("rest"), json!("2"), json!("0.02"))
        ]
    );
    let trades = exchange
        .public("/v5/market/recent-trade?category=linear&symbol=XRPUSDT")
        .result();
    assert_eq!(trades["list"][0]["side"], "Buy");
    assert_eq!(trades["list"][0]["size"], "50");
}

#[test]
fn public_data_has_the_documented_shape() {
    let home = Home::new();
    let exchange = home.start_still(&[]);
    let book = exchange
        .public("/v5/market/orderbook?category=linear&symbol=XRPUSDT&limit=2")
        .result();
    assert_eq!(book["b"], json!([["1.9999", "1000"], ["1.9998", "1000"]]));
    assert_eq!(book["a"], json!([["2.0001", "1000"], ["2.0002", "1000"]]));
    let info = exchange
        .public("/v5/market/instruments-info?category=linear")
        .result();
    assert_eq!(info["list"][0]["priceFilter"]["tickSize"], "0.0001");
    assert_eq!(info["list"][0]["lotSizeFilter"]["minNotionalValue"], "5");
    let spot = exchange
        .public("/v5/market/instruments-info?category=spot")
        .result();
    assert_eq!(spot["list"], json!([]));
    let ticker = exchange
        .public("/v5/market/tickers?category=linear&symbol=XRPUSDT")
        .result();
    assert_eq!(ticker["list"][0]["markPrice"], "2.0000");
    let refused = exchange.public("/v5/market/orderbook?category=linear&symbol=NOPE");
    assert_eq!(refused.code(), 10001);
}

#[test]
fn every_market_has_a_past_from_its_first_moment_on() {
    let home = Home::new();
    let replayed = home.start_still(&[]);
    let other = Home::new();
    let generated = other.start(&["--generate", "BTCUSDT", "--interval-ms", "60000"]);
    for (exchange, symbol, price) in [
        (&replayed, "XRPUSDT", "2.0000"),
        (&generated, "BTCUSDT", "60000"),
    ] {
        let asked_at = now_ms();
        let target =
            format!("/v5/market/kline?category=linear&symbol={symbol}&interval=1&limit=33");
        let result = exchange.public(&target).result();
        assert_eq!(result["symbol"], symbol);
        let bars = result["list"].as_array().unwrap();
        assert_eq!(bars.len(), 33);
        let begins: Vec<i64> = bars
            .iter()
            .map(|bar| bar[0].as_str().unwrap().parse().unwrap())
            .collect();
        assert!(
            begins.windows(2).all(|two| two[0] - two[1] == 60_000),
            "{begins:?}"
        );
        // The newest bar is the minute that is not over.
        assert!(begins[0] <= now_ms() && now_ms() < begins[0] + 120_000);
        assert!(begins[0] % 60_000 == 0 && begins[0] + 60_000 > asked_at);
        let near = price.get(..3).unwrap();
        for bar in &bars[..2] {
            let close = bar[4].as_str().unwrap();
            assert!(close.starts_with(near), "{close} is not near {price}");
        }
        let target = format!("/v5/market/recent-trade?category=linear&symbol={symbol}&limit=60");
        let trades = exchange.public(&target).result()["list"].clone();
        let trades = trades.as_array().unwrap();
        assert_eq!(trades.len(), 60);
        let times: Vec<i64> = trades
            .iter()
            .map(|trade| trade["time"].as_str().unwrap().parse().unwrap())
            .collect();
        assert!(
            times.is_sorted_by(|newer, older| newer >= older),
            "{times:?}"
        );
    }
}

#[test]
fn a_recording_trades_at_the_touch_about_once_a_second() {
    let home = Home::new();
    let path = home.still_book();
    let mut lines = std::fs::read_to_string(&path).unwrap();
    for index in 1_u64..=25 {
        let line = json!({
            "topic": "orderbook.500.XRPUSDT", "type": "delta",
            "ts": 1_733_011_200_691_u64 + index * 100,
            "data": {"s": "XRPUSDT", "b": [["1.9000", index.to_string()]], "a": [], "u": 1 + index, "seq": index},
            "cts": 1,
        });
        lines.push_str(&format!("{line}\n"));
    }
    std::fs::write(&path, lines).unwrap();
    let mut exchange = home.start(&["--replay", path.to_str().unwrap()]);
    let latest = |exchange: &support::Exchange| {
        let target = "/v5/market/recent-trade?category=linear&symbol=XRPUSDT";
        exchange.public(target).result()["list"].clone()
    };
    exchange.until("two printed trades", |exchange| {
        latest(exchange).as_array().unwrap().len() >= 62
    });
    let list = latest(&exchange);
    let shown: Vec<_> = list.as_array().unwrap()[..2]
        .iter()
        .map(|trade| (trade["side"].clone(), trade["price"].clone()))
        .collect();
    assert_eq!(
        shown,
        [
            (json!("Sell"), json!("1.9999")),
            (json!("Buy"), json!("2.0001"))
        ]
    );
    let time = |index: usize| {
        list[index]["time"]
            .as_str()
            .unwrap()
            .parse::<i64>()
            .unwrap()
    };
    assert!((900..=1_500).contains(&(time(0) - time(1))), "{list}");
    let bars = exchange
        .public("/v5/market/kline?category=linear&symbol=XRPUSDT&interval=1")
        .result();
    assert_eq!(bars["list"][0][4], "1.9999", "the bars move with it");
}
