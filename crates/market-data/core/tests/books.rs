//! Sequences of messages, and what comes of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use market_data_core::{Effect, Input, LEVELS_MAX, LEVELS_PUBLISHED, MarketData, Request};
use portcullis_domain::{Symbol, Timestamp};
use portcullis_venue::bybit::reply::read_public;
use portcullis_wire::Text;
use support::{START_MS, SYMBOL, at, book_of, connected, delta, depth, levels, snapshot};

fn trades(count: usize) -> Input {
    let one = r#"{"T":1733011200000,"s":"XRPUSDT","S":"Buy","v":"5","p":"1.95","i":"x"}"#;
    let all = vec![one; count].join(",");
    let text =
        format!(r#"{{"topic":"publicTrade.XRPUSDT","type":"snapshot","ts":1,"data":[{all}]}}"#);
    Input::Message(read_public(text.as_bytes()).unwrap())
}

/// The machine with a book at update 10, published at 2,000 ms.
fn with_book() -> MarketData {
    let mut market = connected();
    let effects = market.step(
        at(2_000),
        snapshot(10, &[("1", "5"), ("0.9", "6")], &[("1.1", "7")]),
    );
    assert_eq!(shapes(&effects), ["book 10"]);
    market
}

fn shapes(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .map(|effect| match effect {
            Effect::Book(book) => format!("book {}", book.sequence()),
            Effect::Trade(_) => "trade".to_owned(),
            Effect::Closes(closes) => format!("closes {}", closes.minute),
            Effect::Ask(request) => format!("ask {request:?}"),
            Effect::Resubscribe(symbol) => format!("resubscribe {symbol}"),
            Effect::Reconnect => "reconnect".to_owned(),
            Effect::Warning(text) => format!("warning {text}"),
        })
        .collect()
}

#[test]
fn a_delta_adds_changes_and_removes_levels() {
    let mut market = with_book();
    let changes = delta(
        11,
        &[("0.9", "0"), ("0.95", "8")],
        &[("1.1", "9"), ("1.2", "1")],
    );
    let effects = market.step(at(2_050), changes);
    let book = book_of(&effects);
    let pair = |p: &str, q: &str| (p.to_owned(), q.to_owned());
    assert_eq!(levels(book.bids()), [pair("1", "5"), pair("0.95", "8")]);
    assert_eq!(levels(book.asks()), [pair("1.1", "9"), pair("1.2", "1")]);
    assert_eq!(book.sequence(), 11);
    assert_eq!(book.venue_time(), Timestamp::from_millis(START_MS + 11));
}

#[test]
fn whatever_does_not_follow_drops_the_book_until_the_next_snapshot() {
    for update in [12, 10, 9, 2, 0, u64::MAX] {
        let mut market = with_book();
        let effects = market.step(at(2_100), delta(update, &[("1", "1")], &[]));
        let warning =
            format!("warning order book of XRPUSDT dropped: update {update} came where 11 was due");
        assert_eq!(
            shapes(&effects),
            [warning, "resubscribe XRPUSDT".to_owned()],
            "{update}"
        );
        // Even the one that was missing comes too late.
        assert_eq!(market.step(at(2_200), delta(11, &[("1", "1")], &[])), []);
        assert_eq!(
            market.step(at(2_300), Input::Tick),
            [],
            "no book, and it was asked for"
        );
        let effects = market.step(at(2_400), snapshot(40, &[("2", "5")], &[("2.1", "7")]));
        assert_eq!(shapes(&effects), ["book 40"]);
        assert_eq!(market.counts().flaws, 1);
    }
}

#[test]
fn a_snapshot_replaces_everything_even_with_a_smaller_number() {
    let mut market = with_book();
    let effects = market.step(at(2_100), snapshot(3, &[("5", "1")], &[("6", "1")]));
    assert_eq!(
        levels(book_of(&effects).bids()),
        [("5".to_owned(), "1".to_owned())]
    );
    assert_eq!(
        shapes(&market.step(at(2_200), delta(4, &[("5", "2")], &[]))),
        ["book 4"]
    );
}

#[test]
fn update_one_is_a_snapshot_whatever_it_is_called() {
    let mut market = with_book();
    let effects = market.step(at(2_100), delta(1, &[("5", "1")], &[("6", "1")]));
    let book = book_of(&effects);
    assert_eq!(
        (book.bids().len(), book.asks().len(), book.sequence()),
        (1, 1, 1)
    );
}

#[test]
fn a_crossed_or_bottomless_book_is_dropped() {
    let too_many: Vec<_> = (1..=LEVELS_MAX + 1)
        .map(|n| format!(r#"["0.{n:04}","1"]"#))
        .collect();
    let cases = [
        (delta(11, &[("1.1", "1")], &[]), "the book is crossed"),
        (delta(11, &[], &[("0.9", "1")]), "the book is crossed"),
        (
            snapshot(11, &[("2", "1")], &[("1", "1")]),
            "the book is crossed",
        ),
        (
            depth("snapshot", SYMBOL, 11, &too_many.join(","), ""),
            "the book has more than 500 levels a side",
        ),
    ];
    for (input, why) in cases {
        let mut market = with_book();
        let effects = market.step(at(2_100), input);
        let warning = format!("warning order book of XRPUSDT dropped: {why}");
        assert_eq!(
            shapes(&effects),
            [warning, "resubscribe XRPUSDT".to_owned()]
        );
    }
}

#[test]
fn a_venue_that_keeps_sending_nonsense_is_asked_once_a_second() {
    let mut market = with_book();
    let mut asked = 0;
    for n in 0..500 {
        let now = at(2_100 + n * 10);
        let effects = [
            market.step(now, snapshot(11 + n, &[("2", "1")], &[("1", "1")])),
            market.step(now, Input::Tick),
        ];
        let all = effects.concat();
        asked += all
            .iter()
            .filter(|effect| matches!(effect, Effect::Resubscribe(_)))
            .count();
        assert!(!all.iter().any(|effect| matches!(effect, Effect::Book(_))));
    }
    assert_eq!(asked, 5, "in five seconds");
}

#[test]
fn an_empty_side_is_not_published_and_the_book_goes_on() {
    let mut market = with_book();
    assert_eq!(market.step(at(2_100), delta(11, &[], &[("1.1", "0")])), []);
    assert_eq!(
        shapes(&market.step(at(2_200), delta(12, &[], &[("1.3", "1")]))),
        ["book 12"]
    );
}

#[test]
fn at_most_one_book_in_fifty_milliseconds_and_the_latest_wins() {
    let mut market = with_book();
    for n in 1..=4 {
        let quantity = n.to_string();
        let input = delta(10 + n, &[("1", &quantity)], &[]);
        assert_eq!(market.step(at(2_000 + n * 10), input), []);
    }
    assert_eq!(market.step(at(2_049), Input::Tick), []);
    let effects = market.step(at(2_050), Input::Tick);
    assert_eq!(
        levels(book_of(&effects).bids())[0],
        ("1".to_owned(), "4".to_owned())
    );
    assert_eq!(
        market.step(at(2_200), Input::Tick),
        [],
        "nothing changed since"
    );
}

#[test]
fn a_silent_book_is_asked_for_again_and_a_silent_connection_is_given_up() {
    let mut market = with_book();
    assert_eq!(market.step(at(4_999), Input::Tick), []);
    assert_eq!(
        shapes(&market.step(at(5_000), Input::Tick)),
        ["resubscribe XRPUSDT"]
    );
    assert_eq!(
        market.step(at(5_010), delta(11, &[("1", "1")], &[])),
        [],
        "of the old one"
    );
    assert_eq!(market.missing(at(5_010)).count(), 0, "it takes a moment");
    assert_eq!(market.step(at(7_999), Input::Tick), []);
    assert_eq!(
        shapes(&market.step(at(8_000), Input::Tick)),
        ["resubscribe XRPUSDT"]
    );
    assert_eq!(market.missing(at(8_000)).count(), 1);
    assert_eq!(
        shapes(&market.step(at(11_000), Input::Tick)),
        ["resubscribe XRPUSDT"]
    );
    assert_eq!(
        shapes(&market.step(at(12_000), Input::Tick)),
        [
            "reconnect",
            "warning market data stream lost: no book was heard of for 10000 ms"
        ]
    );
    assert!(!market.is_connected());
    assert_eq!(
        market.step(at(30_000), Input::Tick),
        [],
        "nothing to do without a connection"
    );
}

#[test]
fn a_snapshot_that_confirms_a_quiet_market_is_published_again() {
    let mut market = with_book();
    assert_eq!(
        shapes(&market.step(at(5_000), Input::Tick)),
        ["resubscribe XRPUSDT"]
    );
    let confirmed = snapshot(3_100, &[("1", "5"), ("0.9", "6")], &[("1.1", "7")]);
    let effects = market.step(at(5_100), confirmed);
    assert_eq!(book_of(&effects).venue_time(), at(3_100));
    assert_eq!(market.step(at(8_099), Input::Tick), []);
}

#[test]
fn one_dead_topic_does_not_cost_the_others_their_connection() {
    let mut market = MarketData::new([SYMBOL, "DEAD"].map(|name| Symbol::new(name).unwrap()));
    let _ = market.step(at(0), Input::Connected);
    let mut resubscribed = 0;
    for n in 0..60_u64 {
        let now = at(n * 1_000);
        let effects = market.step(now, snapshot(n + 1, &[("1", "1")], &[("2", "1")]));
        assert_eq!(shapes(&effects), [format!("book {}", n + 1)]);
        for effect in market.step(now, Input::Tick) {
            assert_eq!(effect, Effect::Resubscribe(Symbol::new("DEAD").unwrap()));
            resubscribed += 1;
        }
    }
    assert_eq!(resubscribed, 19, "every three seconds");
    assert!(
        market
            .missing(at(60_000))
            .eq([Symbol::new("DEAD").unwrap()])
    );
}

#[test]
fn a_lost_connection_drops_the_books_and_what_still_arrives_from_it() {
    let mut market = with_book();
    let lost = Input::Disconnected {
        detail: Text::lossy("reset by peer"),
    };
    let effects = market.step(at(2_100), lost.clone());
    assert_eq!(
        shapes(&effects),
        ["warning market data stream lost: reset by peer"]
    );
    assert_eq!(market.step(at(2_100), lost), [], "said once");
    assert_eq!(market.step(at(2_200), delta(11, &[("1", "1")], &[])), []);
    let latest = Effect::Ask(Request::Trades(Symbol::new(SYMBOL).unwrap()));
    assert_eq!(market.step(at(2_300), Input::Connected), [latest]);
    assert_eq!(
        market.step(at(2_400), delta(11, &[("1", "1")], &[])),
        [],
        "no snapshot yet"
    );
    let effects = market.step(at(2_500), snapshot(80, &[("1", "1")], &[("2", "1")]));
    assert_eq!(shapes(&effects), ["book 80"]);
}

#[test]
fn trades_are_passed_on_up_to_a_bound_in_each_tick() {
    let mut market = connected();
    let effects = market.step(at(0), trades(150));
    assert_eq!(effects.len(), 100);
    assert_eq!(
        (market.counts().trades, market.counts().trades_dropped),
        (100, 50)
    );
    assert_eq!(market.step(at(5), trades(1)), []);
    assert_eq!(market.step(at(10), Input::Tick), []);
    assert_eq!(shapes(&market.step(at(11), trades(1))), ["trade"]);
}

#[test]
fn a_stream_of_garbage_is_given_up() {
    let mut market = connected();
    let garbage = || Input::Unreadable {
        detail: Text::lossy("not JSON"),
    };
    for n in 0..19 {
        assert_eq!(market.step(at(n), garbage()), []);
    }
    let _ = market.step(at(19), snapshot(1, &[("1", "1")], &[("2", "1")]));
    for n in 20..39 {
        assert_eq!(
            market.step(at(n), garbage()),
            [],
            "counted from the last readable one"
        );
    }
    assert_eq!(
        shapes(&market.step(at(39), garbage())),
        [
            "reconnect",
            "warning market data stream lost: 20 unreadable messages in a row, the last: not JSON",
        ]
    );
    assert_eq!(market.counts().unreadable, 39);
}

#[test]
fn a_refused_subscription_is_said() {
    let mut market = connected();
    let text = br#"{"success":false,"ret_msg":"Invalid symbol","op":"subscribe","conn_id":"x"}"#;
    let effects = market.step(at(0), Input::Message(read_public(text).unwrap()));
    assert_eq!(
        shapes(&effects),
        ["warning the venue refused to Subscribe: Invalid symbol"]
    );
}

#[test]
fn a_feed_in_the_recorded_format_is_replayed_without_a_flaw() {
    // Synthetic, in the form of the venue's public history: one snapshot of 500 levels a side, then
    // deltas that move both sides, a line each.
    let price = |ticks: u64| format!("{}.{:04}", ticks / 10_000, ticks % 10_000);
    let line = |kind: &str, update: u64, bids: &[(u64, u64)], asks: &[(u64, u64)]| {
        let text = |levels: &[(u64, u64)]| {
            let one = |(p, q): &(u64, u64)| format!(r#"["{}","{q}"]"#, price(*p));
            levels.iter().map(one).collect::<Vec<_>>().join(",")
        };
        depth(kind, SYMBOL, update, &text(bids), &text(asks))
    };
    let middle = 19_532_u64;
    let bids: Vec<_> = (0..500).map(|n| (middle - 1 - n, 100 + n)).collect();
    let asks: Vec<_> = (0..500).map(|n| (middle + n, 100 + n)).collect();
    let mut market = connected();
    let _ = market.step(at(0), line("snapshot", 20_254_869, &bids, &asks));
    for n in 1..=200_u64 {
        // The best bid is eaten and comes back, the window's last level goes and comes back.
        let gone = if n % 2 == 1 { 0 } else { 100 + n };
        let bids = [(middle - 1, gone), (middle - 500, gone)];
        let asks = [(middle, 100 + n), (middle + 499, gone)];
        let effects = market.step(at(n * 100), line("delta", 20_254_869 + n, &bids, &asks));
        let book = book_of(&effects);
        let best = if n % 2 == 1 { middle - 2 } else { middle - 1 };
        assert_eq!(book.bids()[0].price, price(best).parse().unwrap());
        assert_eq!(
            book.asks()[0].quantity,
            (100 + n).to_string().parse().unwrap()
        );
        assert_eq!(book.bids().len(), LEVELS_PUBLISHED);
    }
    let counts = market.counts();
    assert_eq!((counts.updates, counts.books, counts.flaws), (201, 201, 0));
}
