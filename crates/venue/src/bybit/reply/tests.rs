//! Answers as the venue documents them, with values of our own, and answers that are none.

extern crate std;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use portcullis_domain::{Exposure, OrderId, OrderStatus, Side, Timestamp, Usd};
use proptest::prelude::*;

use super::*;

const OURS: &str = "00112233445566778899aabbccddeeff";

fn order_json(status: &str, link: &str, filled: &str) -> String {
    format!(
        r#"{{"category":"linear","orderId":"5f0c1b2e-1111-4222-8333-0123456789ab",
        "orderLinkId":"{link}","symbol":"XRPUSDT","price":"0.5000","qty":"10.0","side":"Sell",
        "orderStatus":"{status}","avgPrice":"0.50012345678901234567","cumExecQty":"{filled}",
        "leavesQty":"","cumExecFee":"-0.00125","rejectReason":"EC_NoError","reduceOnly":true,
        "createdTime":"1790000000001","updatedTime":"1790000000002","somethingNew":[1]}}"#
    )
}

fn reply(result: &str) -> String {
    format!(
        r#"{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":1790000000003}}"#
    )
}

fn order_of(json: &str) -> Result<OrderInfo, Malformed> {
    let text = reply(&format!(
        r#"{{"list":[{json}],"category":"linear","nextPageCursor":""}}"#
    ));
    let reply = read::<Page<OrderInfo>>(text.as_bytes())?;
    Ok(reply.outcome.unwrap().list[0].clone())
}

#[test]
fn an_order_is_read_with_nothing_made_of_empty_numbers() {
    let order = order_of(&order_json("PartiallyFilled", OURS, "2.50")).unwrap();
    assert_eq!(order.order, Some(OrderId::from_hex(OURS).unwrap()));
    assert_eq!(order.side, Side::Sell);
    assert_eq!(order.status, OrderStatus::Open);
    assert_eq!(order.filled, Some("2.5".parse().unwrap()));
    assert_eq!(order.leaves, None);
    assert_eq!(order.price, Some("0.5".parse().unwrap()));
    assert_eq!(order.average_price, Some("0.500123456789".parse().unwrap()));
    assert_eq!(order.fee, "-0.00125".parse().unwrap());
    assert!(order.reduce_only);
    assert_eq!(order.updated_at, Timestamp::from_millis(1_790_000_000_002));
    let untouched = order_of(&order_json("New", OURS, "0.000")).unwrap();
    assert_eq!(untouched.filled, None);
}

#[test]
fn every_status_is_mapped_and_a_new_one_is_unknown() {
    let cases = [
        ("New", OrderStatus::Open),
        ("PartiallyFilled", OrderStatus::Open),
        ("Untriggered", OrderStatus::Open),
        ("Triggered", OrderStatus::Open),
        ("Filled", OrderStatus::Filled),
        ("Cancelled", OrderStatus::Cancelled),
        ("PartiallyFilledCanceled", OrderStatus::Cancelled),
        ("Deactivated", OrderStatus::Cancelled),
        ("Rejected", OrderStatus::Rejected),
        ("filled", OrderStatus::Unknown),
        ("Vanished", OrderStatus::Unknown),
        ("", OrderStatus::Unknown),
    ];
    for (word, status) in cases {
        assert_eq!(
            order_of(&order_json(word, OURS, "0")).unwrap().status,
            status,
            "{word:?}"
        );
    }
}

#[test]
fn an_order_of_somebody_else_is_not_taken_for_ours() {
    for link in ["", "my-order-1", "00112233445566778899AABBCCDDEEFF"] {
        assert_eq!(
            order_of(&order_json("New", link, "0")).unwrap().order,
            None,
            "{link:?}"
        );
    }
}

#[test]
fn an_order_that_makes_no_sense_is_refused() {
    let good = order_json("New", OURS, "1");
    let cases = [
        (r#""qty":"10.0""#, r#""qty":"0""#),
        (r#""qty":"10.0""#, r#""qty":"-1""#),
        (r#""qty":"10.0""#, r#""qty":"1e3""#),
        (r#""qty":"10.0""#, r#""qty":10.0"#),
        (r#""qty":"10.0""#, r#""qty":"0.0000000000001""#),
        (r#""side":"Sell""#, r#""side":"Both""#),
        (r#""symbol":"XRPUSDT""#, r#""symbol":"XRP USDT""#),
        (r#""cumExecQty":"1""#, r#""cumExecQty":"-1""#),
        (
            r#""cumExecFee":"-0.00125""#,
            r#""cumExecFee":"0.1234567890123x""#,
        ),
        (
            r#""createdTime":"1790000000001""#,
            r#""createdTime":"+1790000000001""#,
        ),
        (r#""createdTime":"1790000000001""#, r#""createdTime":-1"#),
        (r#""orderStatus":"New","#, ""),
    ];
    assert!(order_of(&good).is_ok());
    for (from, to) in cases {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from} is not there to be replaced");
        assert!(matches!(order_of(&bad), Err(Malformed::Form(_))), "{to}");
    }
}

#[test]
fn a_refusal_carries_its_class_and_safe_words() {
    let text = r#"{"retCode":110007,"retMsg":"ab not enough\nfor new order","result":{},
        "retExtInfo":{},"time":1790000000003}"#;
    let reply = read::<OrderAcknowledgement>(text.as_bytes()).unwrap();
    let refused = reply.outcome.unwrap_err();
    assert_eq!(
        (refused.code, refused.class),
        (110_007, VenueError::InsufficientFunds)
    );
    assert_eq!(refused.message.as_str(), "ab not enough for new order");
    let long = format!(
        r#"{{"retCode":1,"retMsg":"{}","result":{{}},"time":1}}"#,
        "x".repeat(999)
    );
    let refused = read::<OrderAcknowledgement>(long.as_bytes())
        .unwrap()
        .outcome
        .unwrap_err();
    assert_eq!(refused.class, VenueError::Unknown);
    assert_eq!(refused.message.as_str().len(), 200);
}

#[test]
fn what_has_no_result_answers_without_one() {
    for text in [
        r#"{"retCode":0,"retMsg":"success"}"#,
        r#"{"retCode":0,"retMsg":"OK","result":{},"retExtInfo":{},"time":1790000000003}"#,
    ] {
        let done = read::<Done>(text.as_bytes()).unwrap();
        assert!(done.outcome.is_ok(), "{text}");
    }
    let refused = read::<Done>(br#"{"retCode":10005,"retMsg":"Permission denied"}"#).unwrap();
    let class = refused.outcome.map_err(|refused| refused.class);
    assert_eq!(class, Err(VenueError::Authentication));
}

#[test]
fn success_without_its_result_is_malformed() {
    let empty = read::<OrderAcknowledgement>(reply("{}").as_bytes());
    assert!(matches!(empty, Err(Malformed::Form(_))));
    let result = format!(r#"{{"orderId":"5f0c","orderLinkId":"{OURS}"}}"#);
    let acknowledged = read::<OrderAcknowledgement>(reply(&result).as_bytes()).unwrap();
    assert_eq!(
        acknowledged.outcome.unwrap().order,
        Some(OrderId::from_hex(OURS).unwrap())
    );
    let time = Timestamp::from_millis(1_790_000_000_003);
    assert_eq!(acknowledged.time, Some(time));
}

fn execution_json(kind: &str, quantity: &str) -> String {
    format!(
        r#"{{"category":"linear","symbol":"XRPUSDT","orderId":"5f0c","orderLinkId":"{OURS}",
        "side":"Buy","execId":"e-1","execType":"{kind}","execPrice":"0.5","execQty":"{quantity}",
        "execFee":"0.0000001234567891","execTime":"1790000000005","isMaker":false}}"#
    )
}

fn execution_of(json: &str) -> Result<Execution, Malformed> {
    let text = reply(&format!(r#"{{"list":[{json}],"nextPageCursor":"a%3A1"}}"#));
    let page = read::<Page<Execution>>(text.as_bytes())?.outcome.unwrap();
    assert_eq!(page.next, "a%3A1");
    Ok(page.list[0].clone())
}

#[test]
fn a_trade_becomes_a_fill_of_its_order_only() {
    let id = OrderId::from_hex(OURS).unwrap();
    let trade = execution_of(&execution_json("Trade", "10")).unwrap();
    let fill = trade.fill(id).unwrap();
    assert_eq!(fill.quantity, "10".parse().unwrap());
    assert_eq!(fill.fee, "0.000000123456".parse().unwrap());
    assert_eq!(fill.execution.as_str(), "e-1");
    assert_eq!(trade.fill(OrderId([1; 16])), None);
    assert_eq!(
        execution_of(&execution_json("Funding", "10"))
            .unwrap()
            .fill(id),
        None
    );
    let liquidated = execution_of(&execution_json("BustTrade", "10")).unwrap();
    assert_eq!(
        (liquidated.kind, liquidated.fill(id)),
        (ExecutionKind::Other, None)
    );
}

#[test]
fn a_trade_of_nothing_is_refused() {
    for quantity in ["0", "", "-1"] {
        let refused = execution_of(&execution_json("Trade", quantity));
        assert!(matches!(refused, Err(Malformed::Form(_))), "{quantity:?}");
    }
}

fn position_of(side: &str, size: &str, index: u8, price: &str) -> Result<Position, Malformed> {
    let text = reply(&format!(
        r#"{{"list":[{{"positionIdx":{index},"symbol":"XRPUSDT","side":"{side}","size":"{size}",
        "{price}":"0.5","markPrice":"0.51","unrealisedPnl":"0.1","updatedTime":"1790000000005"}}],
        "category":"linear"}}"#
    ));
    Ok(read::<Page<Position>>(text.as_bytes())?
        .outcome
        .unwrap()
        .list[0]
        .clone())
}

#[test]
fn a_position_has_the_sign_of_its_side() {
    let cases = [
        ("Buy", "10", "10".parse().unwrap()),
        ("Sell", "10", "-10".parse().unwrap()),
        ("", "0", Exposure::FLAT),
        ("None", "0.00", Exposure::FLAT),
    ];
    for (side, size, exposure) in cases {
        let position = position_of(side, size, 0, "avgPrice").unwrap();
        assert_eq!(position.exposure, exposure, "{side} {size}");
    }
    let streamed = position_of("Buy", "1", 0, "entryPrice").unwrap();
    assert_eq!(streamed.average_price, Some("0.5".parse().unwrap()));
}

#[test]
fn a_position_of_no_side_or_in_hedge_mode_is_refused() {
    for (side, size, index) in [("", "10", 0), ("Buy", "10", 1)] {
        assert!(
            position_of(side, size, index, "avgPrice").is_err(),
            "{side} {size} {index}"
        );
    }
}

#[test]
fn the_rest_of_the_rest_answers_are_read() {
    let wallet = reply(
        r#"{"list":[{"accountType":"UNIFIED","totalEquity":"1000.123456789012345",
        "totalWalletBalance":"999","totalAvailableBalance":"","coin":[{"coin":"USDT",
        "equity":"1000.1","walletBalance":"999","usdValue":"1"}]}]}"#,
    );
    let wallet = read::<Page<Wallet>>(wallet.as_bytes())
        .unwrap()
        .outcome
        .unwrap();
    assert_eq!(wallet.list[0].equity, "1000.123456789012".parse().unwrap());
    assert_eq!(wallet.list[0].available, Usd::ZERO);
    assert_eq!(wallet.list[0].coins[0].balance, "999".parse().unwrap());

    let time = reply(r#"{"timeSecond":"1790000000","timeNano":"1790000000123456789"}"#);
    let time = read::<ServerTime>(time.as_bytes())
        .unwrap()
        .outcome
        .unwrap();
    assert_eq!(time.now, Timestamp(1_790_000_000_123_456));

    let instruments = reply(
        r#"{"category":"linear","list":[{"symbol":"XRPUSDT","status":"Trading","priceFilter":
        {"minPrice":"0.0001","maxPrice":"1999","tickSize":"0.0001"},"lotSizeFilter":
        {"maxOrderQty":"4000000.0","minOrderQty":"0.1","qtyStep":"0.1","minNotionalValue":"5"}}],
        "nextPageCursor":""}"#,
    );
    let page = read::<Page<InstrumentInfo>>(instruments.as_bytes())
        .unwrap()
        .outcome
        .unwrap();
    assert!(page.list[0].trading);
    assert_eq!(page.list[0].instrument.tick_size, "0.0001".parse().unwrap());
    assert_eq!(
        page.list[0].instrument.quantity_max,
        "4000000".parse().unwrap()
    );

    let cancelled = reply(r#"{"list":[{"orderId":"5f0c","orderLinkId":""}],"success":"1"}"#);
    assert!(
        read::<CancelAllAcknowledgement>(cancelled.as_bytes())
            .unwrap()
            .outcome
            .is_ok()
    );
}

#[test]
fn private_messages_are_told_apart() {
    let answered = |text: &str| {
        let message = read_private(text.as_bytes()).unwrap();
        let PrivateMessage::Answered {
            operation, success, ..
        } = message
        else {
            panic!("{message:?}")
        };
        (operation, success)
    };
    let login = r#"{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}"#;
    assert_eq!(answered(login), (StreamOperation::Login, true));
    let denied = r#"{"success":false,"ret_msg":"no","op":"subscribe","conn_id":"c"}"#;
    assert_eq!(answered(denied), (StreamOperation::Subscribe, false));
    let silent = r#"{"op":"auth","conn_id":"c"}"#;
    assert_eq!(answered(silent), (StreamOperation::Login, false));
    let pong = r#"{"req_id":"1","op":"pong","args":["1790000000000"],"conn_id":"c"}"#;
    assert_eq!(answered(pong), (StreamOperation::Ping, true));

    let push = |topic: &str, item: &str| {
        format!(r#"{{"id":"1","topic":"{topic}","creationTime":1790000000009,"data":[{item}]}}"#)
    };
    let orders = push("order", &order_json("Filled", OURS, "10"));
    let Ok(PrivateMessage::Orders(orders)) = read_private(orders.as_bytes()) else {
        panic!("no orders")
    };
    assert_eq!(orders.data[0].status, OrderStatus::Filled);
    assert_eq!(orders.time, Timestamp::from_millis(1_790_000_000_009));
    let fills = push("execution.linear", &execution_json("Trade", "1"));
    assert!(matches!(
        read_private(fills.as_bytes()),
        Ok(PrivateMessage::Executions(_))
    ));
    let foreign = push("greeks", "");
    assert!(matches!(
        read_private(foreign.as_bytes()),
        Err(Malformed::Topic(_))
    ));
    assert!(matches!(read_private(b"{}"), Err(Malformed::Topic(_))));
}

#[test]
fn public_messages_are_told_apart() {
    let depth = |form: &str, update: u64, size: &str| {
        let text = format!(
            r#"{{"topic":"orderbook.50.XRPUSDT","type":"{form}","ts":1790000000010,
            "cts":1790000000009,"data":{{"s":"XRPUSDT","b":[["0.5","{size}"]],"a":[],
            "u":{update},"seq":77}}}}"#
        );
        read_public(text.as_bytes()).map(|message| {
            let PublicMessage::Depth(depth) = message else {
                panic!("{message:?}")
            };
            depth
        })
    };
    let snapshot = depth("snapshot", 5, "10").unwrap();
    assert!(snapshot.snapshot);
    assert_eq!((snapshot.update, snapshot.sequence), (5, 77));
    assert_eq!(
        snapshot.venue_time,
        Timestamp::from_millis(1_790_000_000_009)
    );
    let delta = depth("delta", 6, "0").unwrap();
    assert!(!delta.snapshot);
    assert_eq!(
        delta.bids[0].1, None,
        "a size of nothing takes the level away"
    );
    assert!(
        depth("delta", 1, "1").unwrap().snapshot,
        "the venue restarted"
    );
    assert!(depth("guess", 7, "1").is_err());
    assert!(depth("delta", 7, "-1").is_err());

    let trades = br#"{"topic":"publicTrade.XRPUSDT","type":"snapshot","ts":1790000000010,"data":
        [{"T":1790000000009,"s":"XRPUSDT","S":"Buy","v":"3","p":"0.5","L":"PlusTick","i":"t-1",
        "BT":false}]}"#;
    let Ok(PublicMessage::Trades(trades)) = read_public(trades) else {
        panic!("no trades")
    };
    assert_eq!(trades[0].quantity, "3".parse().unwrap());

    let pong = br#"{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}"#;
    let pong = read_public(pong).unwrap();
    assert!(matches!(
        pong,
        PublicMessage::Answered {
            operation: StreamOperation::Ping,
            success: true,
            ..
        }
    ));
}

#[test]
fn what_is_too_long_is_refused() {
    let levels: Vec<_> = (1..=1_001).map(|n| format!(r#"["{n}","1"]"#)).collect();
    let depth = |levels: &[String]| {
        let text = format!(
            r#"{{"topic":"orderbook.1000.XRPUSDT","type":"snapshot","ts":1,"cts":1,"data":
            {{"s":"XRPUSDT","b":[{}],"a":[],"u":5,"seq":7}}}}"#,
            levels.join(",")
        );
        read_public(text.as_bytes())
    };
    assert!(depth(&levels[..1_000]).is_ok());
    assert!(matches!(depth(&levels), Err(Malformed::Form(_))));

    let huge = alloc::vec![b' '; MESSAGE_LENGTH_MAX + 1];
    assert!(matches!(read_private(&huge), Err(Malformed::TooLong(_))));
    let cursor = reply(&format!(
        r#"{{"list":[],"nextPageCursor":"{}"}}"#,
        "x".repeat(513)
    ));
    assert!(matches!(
        read::<Page<OrderInfo>>(cursor.as_bytes()),
        Err(Malformed::Form(_))
    ));
    let nested = "[".repeat(100_000);
    assert!(matches!(
        read_private(nested.as_bytes()),
        Err(Malformed::Form(_))
    ));
}

proptest! {
    #[test]
    fn damaged_messages_never_panic(at in 0_usize..600, byte in any::<u8>(), cut in 0_usize..700) {
        let texts = [
            reply(&format!(r#"{{"list":[{}]}}"#, order_json("New", OURS, "1"))),
            format!(
                r#"{{"topic":"execution","creationTime":1,"data":[{}]}}"#,
                execution_json("Trade", "1")
            ),
        ];
        for text in texts {
            let mut bytes = text.to_string().into_bytes();
            if let Some(there) = bytes.get_mut(at) {
                *there = byte;
            }
            bytes.truncate(cut);
            let _ = read::<Page<OrderInfo>>(&bytes);
            let _ = read_private(&bytes);
            let _ = read_public(&bytes);
        }
    }

    #[test]
    fn a_quantity_keeps_every_digit(digits in 1_u64..1_000_000_000_000_000, places in 0_u32..=12) {
        let text = rust_decimal::Decimal::from_i128_with_scale(i128::from(digits), places);
        let text = text.to_string();
        let order = order_json("New", OURS, &text);
        prop_assert_eq!(order_of(&order).unwrap().filled, Some(text.parse().unwrap()));
    }
}

fn bars(list: &str) -> Result<Bars, Malformed> {
    let text = reply(&format!(
        r#"{{"category":"linear","symbol":"XRPUSDT","list":[{list}]}}"#
    ));
    Ok(read::<Bars>(text.as_bytes())?.outcome.unwrap())
}

#[test]
fn bars_are_read_in_the_order_they_came() {
    let read = bars(
        r#"["1790000040000","2.00","2.10","1.90","2.05","12.5","25.1234567890123456"],
        ["1789999980000","2","2","2","2","0","0"]"#,
    )
    .unwrap();
    assert_eq!(read.symbol.as_str(), "XRPUSDT");
    let list: Vec<_> = read
        .list
        .iter()
        .map(|bar| (bar.begins_at.as_millis(), bar.close.to_string()))
        .collect();
    assert_eq!(
        list,
        [
            (1_790_000_040_000, "2.05".to_string()),
            (1_789_999_980_000, "2".to_string())
        ]
    );
    assert_eq!(bars("").unwrap().list.len(), 0);
}

#[test]
fn a_bar_that_makes_no_sense_is_refused() {
    for bad in [
        r#"["1790000040000","2","2","2","2","1"]"#,
        r#"["1790000040000","2","2","2","2","1","1","1"]"#,
        r#"["1790000040000","2","2","2","2.1","1","1"]"#,
        r#"["1790000040000","1.9","2","2","2","1","1"]"#,
        r#"["1790000040000","2","1","3","2","1","1"]"#,
        r#"["1790000040000","2","2","2","0","1","1"]"#,
        r#"["1790000040000","2","2","-2","2","1","1"]"#,
        r#"["1790000040000","2","2","2","NaN","1","1"]"#,
        r#"["1790000040000","2","2","2",2,"1","1"]"#,
        r#"["1790000040000","2","2","2","2","many","1"]"#,
        r#"["-60000","2","2","2","2","1","1"]"#,
        r#"[null,"2","2","2","2","1","1"]"#,
        r#"{"start":"1790000040000"}"#,
        r"[]",
    ] {
        assert!(matches!(bars(bad), Err(Malformed::Form(_))), "{bad}");
    }
    let one = r#"["1790000040000","2","2","2","2","1","1"]"#;
    let many = |count| alloc::vec![one; count].join(",");
    assert_eq!(bars(&many(LIST_LENGTH_MAX)).unwrap().list.len(), 1_000);
    assert!(matches!(
        bars(&many(LIST_LENGTH_MAX + 1)),
        Err(Malformed::Form(_))
    ));
    let nameless = reply(r#"{"category":"linear","list":[]}"#);
    assert!(read::<Bars>(nameless.as_bytes()).is_err());
}

#[test]
fn recent_trades_are_those_of_the_stream_in_another_spelling() {
    let good = r#"{"execId":"t-1","symbol":"XRPUSDT","price":"0.5000","size":"3","side":"Buy",
        "time":"1790000000009","isBlockTrade":false,"isRPITrade":false,"seq":"7"}"#;
    let page = |item: &str| {
        let text = reply(&format!(r#"{{"category":"linear","list":[{item}]}}"#));
        read::<Page<RecentTrade>>(text.as_bytes())
    };
    let streamed = br#"{"topic":"publicTrade.XRPUSDT","type":"snapshot","ts":1790000000010,
        "data":[{"T":1790000000009,"s":"XRPUSDT","S":"Buy","v":"3","p":"0.5","i":"t-1"}]}"#;
    let PublicMessage::Trades(streamed) = read_public(streamed).unwrap() else {
        unreachable!("a trade was written")
    };
    let read = page(good).unwrap().outcome.unwrap();
    assert_eq!(read.list[0].0, streamed[0]);
    for (from, to) in [
        (r#""side":"Buy""#, r#""side":"None""#),
        (r#""size":"3""#, r#""size":"0""#),
        (r#""price":"0.5000""#, r#""price":"-0.5""#),
        (r#""time":"1790000000009""#, r#""time":"now""#),
        (r#""symbol":"XRPUSDT""#, r#""symbol":"XRP.USDT*""#),
        (r#""execId":"t-1","#, ""),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from} is not there to be replaced");
        assert!(page(&bad).is_err(), "{to}");
    }
}
