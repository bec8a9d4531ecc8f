//! Messages as the venue writes them, and what comes of them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use market_data_core::{Effect, Input, MarketData, Request};
use portcullis_domain::{Book, Level, Symbol, Timestamp};
use portcullis_venue::bybit::reply::{Page, RecentTrade, read, read_public};

pub const SYMBOL: &str = "XRPUSDT";
pub const START_MS: u64 = 1_733_011_200_000;

pub type Side<'a> = &'a [(&'a str, &'a str)];

pub fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START_MS + millis)
}

fn side(levels: Side<'_>) -> String {
    let levels: Vec<_> = levels
        .iter()
        .map(|(p, q)| format!(r#"["{p}","{q}"]"#))
        .collect();
    levels.join(",")
}

pub fn depth(kind: &str, symbol: &str, update: u64, bids: &str, asks: &str) -> Input {
    let text = format!(
        concat!(
            r#"{{"topic":"orderbook.500.{symbol}","type":"{kind}","ts":{ts},"cts":{ts},"#,
            r#""data":{{"s":"{symbol}","b":[{bids}],"a":[{asks}],"u":{update},"seq":{update}}}}}"#
        ),
        symbol = symbol,
        kind = kind,
        ts = START_MS.saturating_add(update),
        bids = bids,
        asks = asks,
        update = update,
    );
    Input::Message(read_public(text.as_bytes()).unwrap())
}

pub fn snapshot(update: u64, bids: Side<'_>, asks: Side<'_>) -> Input {
    depth("snapshot", SYMBOL, update, &side(bids), &side(asks))
}

pub fn delta(update: u64, bids: Side<'_>, asks: Side<'_>) -> Input {
    depth("delta", SYMBOL, update, &side(bids), &side(asks))
}

pub fn connected() -> MarketData {
    let symbol = Symbol::new(SYMBOL).unwrap();
    let mut market = MarketData::new([symbol]);
    assert_eq!(
        market.step(at(0), Input::Connected),
        [Request::Trades(symbol), Request::Minutes(symbol)].map(Effect::Ask)
    );
    assert_eq!(market.step(at(0), latest_trades(&[])), []);
    market
}

/// The answer with the latest trades: time in milliseconds from the start, and id; newest first.
pub fn latest_trades(trades: &[(u64, &str)]) -> Input {
    let list: Vec<_> = trades
        .iter()
        .map(|(time, id)| {
            format!(
                r#"{{"execId":"{id}","symbol":"{SYMBOL}","price":"1.9","size":"3","side":"Sell","time":"{}"}}"#,
                START_MS + time
            )
        })
        .collect();
    let text = answer(&format!(r#"{{"list":[{}]}}"#, list.join(",")), 0);
    let page = read::<Page<RecentTrade>>(text.as_bytes()).unwrap();
    Input::Trades {
        symbol: Symbol::new(SYMBOL).unwrap(),
        trades: page.outcome.unwrap().list,
    }
}

/// An answer to a REST request, given so many milliseconds from the start.
pub fn answer(result: &str, millis: u64) -> String {
    let time = START_MS + millis;
    format!(r#"{{"retCode":0,"retMsg":"OK","result":{result},"time":{time}}}"#)
}

pub fn book_of(effects: &[Effect]) -> &Book {
    match effects {
        [Effect::Book(book)] => book,
        other => panic!("no book in {other:?}"),
    }
}

pub fn levels(levels: &[Level]) -> Vec<(String, String)> {
    levels
        .iter()
        .map(|level| (level.price.to_string(), level.quantity.to_string()))
        .collect()
}
