//! The last minutes and the latest trades: when they are asked for, and what of an answer counts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "books are another file's business")]
mod support;

use market_data_core::{BARS_ASKED, Effect, Input, MarketData, Request};
use portcullis_domain::{Symbol, Timestamp};
use portcullis_venue::bybit::reply::{Bars, read, read_public};
use portcullis_wire::Text;
use portcullis_wire::messages::Closes;
use support::{START_MS, SYMBOL, answer, at, latest_trades};

/// The minute that begins at the start.
const MINUTE: u64 = START_MS / 60_000;

fn symbol() -> Symbol {
    Symbol::new(SYMBOL).unwrap()
}

/// An answer given so many milliseconds after the start: bars of these minutes, counted from the one
/// that begins at the start, in this order. A bar closes at its minute from 100 minutes before.
fn minutes(millis: u64, minutes: impl IntoIterator<Item = i64>) -> Input {
    let list: Vec<_> = minutes
        .into_iter()
        .map(|minute| {
            let begins = i64::try_from(START_MS).unwrap() + minute * 60_000;
            let price = 100 + minute;
            format!(r#"["{begins}","{price}","{price}","{price}","{price}","1","1"]"#)
        })
        .collect();
    bars(SYMBOL, millis, &list.join(","))
}

fn bars(about: &str, millis: u64, list: &str) -> Input {
    let result = format!(r#"{{"symbol":"{about}","list":[{list}]}}"#);
    let reply = read::<Bars>(answer(&result, millis).as_bytes()).unwrap();
    Input::Minutes {
        symbol: symbol(),
        answered_at: reply.time.unwrap(),
        bars: reply.outcome.unwrap(),
    }
}

/// What the venue lists within minute `newest`: that one, which is not over, and those before.
fn full(millis: u64, newest: i64) -> Input {
    let oldest = newest - i64::try_from(BARS_ASKED).unwrap();
    minutes(millis, (oldest + 1..=newest).rev())
}

fn unanswered(request: Request) -> Input {
    let detail = Text::lossy("connection refused");
    Input::Unanswered { request, detail }
}

fn asks(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Ask(Request::Minutes(symbol())))
}

fn closes(effects: &[Effect]) -> Option<&Closes> {
    let all: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Closes(closes) => Some(closes),
            _ => None,
        })
        .collect();
    assert!(all.len() < 2, "{effects:?}");
    all.first().copied()
}

fn warnings(effects: &[Effect]) -> Vec<&str> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Warning(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

/// A machine that was answered half a minute after the start, and whose next request is due 3 s after
/// the minute's end.
fn answered() -> MarketData {
    let mut market = MarketData::new([symbol()]);
    assert!(asks(&market.step(at(30_000), Input::Tick)));
    let effects = market.step(at(30_010), full(30_005, 0));
    assert!(closes(&effects).is_some());
    market
}

#[test]
fn closes_are_asked_for_at_once_and_published_without_the_unfinished_minute() {
    let mut market = MarketData::new([symbol()]);
    let asked = market.step(at(30_000), Input::Tick);
    assert_eq!(asked, [Effect::Ask(Request::Minutes(symbol()))]);
    assert_eq!(market.step(at(30_010), Input::Tick), [], "asked already");
    let waits: Vec<_> = market.without_closes(at(30_010)).collect();
    assert_eq!(waits, [(symbol(), "none came yet".to_owned())]);
    let effects = market.step(at(30_020), full(30_015, 0));
    let published = closes(&effects).unwrap();
    assert_eq!((published.symbol, published.minute), (symbol(), MINUTE - 1));
    let expected: Vec<_> = (69..=99)
        .map(|price: i64| price.to_string().parse().unwrap())
        .collect();
    assert_eq!(published.closes, expected, "oldest first");
    assert_eq!(published.closes.len(), Closes::MINUTES);
    assert_eq!(market.without_closes(at(30_020)).count(), 0);
    assert_eq!(market.counts().closes, 1);
}

#[test]
fn closes_are_repeated_once_a_second_for_readers_that_come_late() {
    let mut market = answered();
    let mut published = 0;
    for tick in 1..=1_000 {
        let effects = market.step(at(30_010 + tick * 10), Input::Tick);
        published += usize::from(closes(&effects).is_some());
        assert!(!asks(&effects));
    }
    assert_eq!(published, 10);
}

#[test]
fn each_minute_the_list_is_asked_for_again_and_the_new_one_is_published_at_once() {
    let mut market = answered();
    assert!(!asks(&market.step(at(62_990), Input::Tick)));
    assert!(asks(&market.step(at(63_000), Input::Tick)));
    let effects = market.step(at(63_050), full(63_030, 1));
    assert_eq!(closes(&effects).unwrap().minute, MINUTE);
    assert!(!asks(&market.step(at(122_990), Input::Tick)));
    assert!(asks(&market.step(at(123_000), Input::Tick)));
}

#[test]
fn a_new_connection_asks_again() {
    let mut market = answered();
    let both = [Request::Trades(symbol()), Request::Minutes(symbol())].map(Effect::Ask);
    assert_eq!(market.step(at(31_000), Input::Connected), both);
    let _ = market.step(at(31_010), full(31_005, 0));
    let lost = Input::Disconnected {
        detail: Text::lossy("reset"),
    };
    let _ = market.step(at(31_020), lost);
    let _ = market.step(at(31_030), latest_trades(&[]));
    assert_eq!(market.step(at(31_040), Input::Connected), both);
}

#[test]
fn a_minute_counts_once_the_venue_is_a_second_past_it() {
    for (answered, last) in [(60_000, 1), (60_999, 1), (61_000, 0), (63_000, 0)] {
        let mut market = answered_late();
        let effects = market.step(at(63_010), full(answered, 1));
        assert_eq!(
            closes(&effects).unwrap().minute,
            MINUTE - last,
            "answered at {answered}"
        );
    }
}

/// A machine that asked 3 s after the first minute's end, and knows nothing.
fn answered_late() -> MarketData {
    let mut market = MarketData::new([symbol()]);
    assert!(asks(&market.step(at(63_000), Input::Tick)));
    market
}

#[test]
fn a_list_that_lacks_the_last_minute_is_published_for_a_while_and_then_not() {
    let mut market = answered();
    for (millis, is_published) in [
        (59_000, true),
        (62_000, true),
        (74_990, true),
        (75_000, false),
    ] {
        let effects = market.step(at(millis), Input::Tick);
        assert_eq!(closes(&effects).is_some(), is_published, "at {millis}");
    }
    let said = format!(
        "they end with minute {} where {MINUTE} is the last",
        MINUTE - 1
    );
    let problems: Vec<_> = market.without_closes(at(75_000)).collect();
    assert_eq!(problems, [(symbol(), said)]);
    assert_eq!(closes(&market.step(at(119_000), Input::Tick)), None);
    let effects = market.step(at(119_010), full(119_005, 1));
    assert_eq!(closes(&effects).unwrap().minute, MINUTE);
    assert_eq!(market.without_closes(at(119_010)).count(), 0);
}

#[test]
fn a_list_that_is_too_old_or_too_new_is_not_published() {
    // Answered at our 63 s; the venue's clock and its newest bar are as wrong as each other.
    for (newest, is_published) in [
        (-30, false),
        (-2, false),
        (0, true),
        (1, true),
        (2, false),
        (9_000, false),
    ] {
        let mut market = answered_late();
        let answered = 3_000 + u64::try_from(newest.max(0)).unwrap() * 60_000;
        let effects = market.step(at(63_010), full(answered, newest));
        assert_eq!(closes(&effects).is_some(), is_published, "{newest}");
        assert_eq!(market.without_closes(at(63_010)).count() == 0, is_published);
    }
}

#[test]
fn a_list_that_ends_too_early_is_asked_for_again_soon_and_does_not_take_the_place_of_a_better_one()
{
    let mut market = answered_late();
    let _ = market.step(at(63_010), full(59_500, 0));
    assert!(!asks(&market.step(at(64_000), Input::Tick)));
    assert!(asks(&market.step(at(64_010), Input::Tick)));
    let effects = market.step(at(64_020), full(64_015, 1));
    assert_eq!(closes(&effects).unwrap().minute, MINUTE);
    let _ = market.step(at(64_030), Input::Connected);
    let _ = market.step(at(64_040), full(59_500, 0));
    let effects = market.step(at(65_040), Input::Tick);
    assert_eq!(closes(&effects).unwrap().minute, MINUTE);
}

#[test]
fn an_answer_that_makes_no_sense_is_refused_and_asked_for_again() {
    let bar = |millis: u64| format!(r#"["{millis}","1","1","1","1","1","1"]"#);
    let cases = [
        (
            minutes(63_000, [1, 0, -1, -3, -4]),
            format!("minute {} came where {} was due", MINUTE - 3, MINUTE - 2),
        ),
        (
            minutes(63_000, [1, 0, 0, -1]),
            format!("minute {MINUTE} came where {} was due", MINUTE - 1),
        ),
        (
            minutes(63_000, [-2, -1, 0, 1]),
            format!("minute {} came where {} was due", MINUTE - 1, MINUTE - 3),
        ),
        (
            // Even where no close would be taken from.
            minutes(63_000, (-40..=1).rev().filter(|minute| *minute != -38)),
            format!("minute {} came where {} was due", MINUTE - 39, MINUTE - 38),
        ),
        (minutes(63_000, [1]), "no minute is over".to_owned()),
        (minutes(63_000, []), "no minute is over".to_owned()),
        (
            bars(SYMBOL, 63_000, &bar(START_MS + 1)),
            format!("a bar begins within a minute, at {}", START_MS + 1),
        ),
        (
            bars(SYMBOL, 63_000, &bar(u64::MAX)),
            format!("a bar begins within a minute, at {}", u64::MAX / 1_000),
        ),
        (
            bars("BTCUSDT", 63_000, &bar(START_MS)),
            "the answer is about BTCUSDT".to_owned(),
        ),
    ];
    for (input, why) in cases {
        let mut market = answered_late();
        let effects = market.step(at(63_010), input);
        assert_eq!(
            warnings(&effects),
            [format!("no closes of XRPUSDT: {why}")],
            "{why}"
        );
        assert_eq!(closes(&effects), None);
        assert_eq!(market.counts().unanswered, 1);
        assert!(asks(&market.step(at(64_010), Input::Tick)));
    }
}

#[test]
fn a_short_history_is_published_as_it_is() {
    let mut market = answered_late();
    let effects = market.step(at(63_010), minutes(63_000, [1, 0, -1]));
    let published = closes(&effects).unwrap();
    assert_eq!((published.minute, published.closes.len()), (MINUTE, 2));
}

#[test]
fn a_venue_that_does_not_answer_is_asked_ever_more_slowly_and_said_once() {
    let mut market = answered_late();
    let mut asked_at = Vec::new();
    let mut said = 0;
    for tick in 0..7_000_u64 {
        let now = at(63_000 + tick * 10);
        let mut effects = market.step(now, Input::Tick);
        if tick == 0 || asks(&effects) {
            asked_at.push(tick / 100);
            effects.extend(market.step(now, unanswered(Request::Minutes(symbol()))));
        }
        said += warnings(&effects).len();
    }
    assert_eq!(asked_at, [0, 1, 3, 7, 15, 31, 47, 63]);
    assert_eq!(said, 1);
    let effects = market.step(at(140_000), full(139_900, 2));
    assert!(closes(&effects).is_some());
}

#[test]
fn an_answer_about_what_nobody_asked_for_is_nothing() {
    let other = Symbol::new("BTCUSDT").unwrap();
    let mut market = answered();
    let Input::Minutes {
        answered_at, bars, ..
    } = full(30_005, 0)
    else {
        panic!("minutes were made")
    };
    let foreign = Input::Minutes {
        symbol: other,
        answered_at,
        bars,
    };
    assert_eq!(market.step(at(30_020), foreign), []);
    for request in [Request::Minutes(other), Request::Trades(other)] {
        assert_eq!(market.step(at(30_020), unanswered(request)), []);
    }
}

fn live(millis: u64, id: &str) -> Input {
    let text = format!(
        concat!(
            r#"{{"topic":"publicTrade.XRPUSDT","type":"snapshot","ts":1,"data":[{{"T":{},"#,
            r#""s":"XRPUSDT","S":"Buy","v":"5","p":"2","i":"{}"}}]}}"#
        ),
        START_MS + millis,
        id
    );
    Input::Message(read_public(text.as_bytes()).unwrap())
}

/// The times of the trades, in milliseconds from the start.
fn times(effects: &[Effect]) -> Vec<u64> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Trade(trade) => Some(trade.venue_time.as_millis() - START_MS),
            _ => None,
        })
        .collect()
}

fn waiting() -> MarketData {
    let mut market = MarketData::new([symbol()]);
    let effects = market.step(at(10_000), Input::Connected);
    assert!(effects.contains(&Effect::Ask(Request::Trades(symbol()))));
    market
}

#[test]
fn the_latest_trades_come_first_and_in_order_then_those_of_the_stream() {
    let mut market = waiting();
    assert_eq!(market.step(at(10_010), live(9_990, "c")), []);
    assert_eq!(market.step(at(10_020), live(10_015, "d")), []);
    let latest = latest_trades(&[(9_990, "c"), (5_000, "b"), (5_000, "a"), (1_000, "z")]);
    let effects = market.step(at(10_030), latest);
    assert_eq!(times(&effects), [1_000, 5_000, 5_000, 9_990, 10_015]);
    assert_eq!(times(&market.step(at(10_040), live(10_035, "e"))), [10_035]);
    assert_eq!(market.counts().trades, 6);
}

#[test]
fn the_streams_trades_do_not_wait_for_a_venue_that_does_not_answer() {
    let mut market = waiting();
    assert_eq!(market.step(at(10_010), live(10_005, "a")), []);
    assert_eq!(market.step(at(11_990), Input::Tick).len(), 0);
    assert_eq!(times(&market.step(at(12_000), Input::Tick)), [10_005]);
    let late = latest_trades(&[(10_006, "b"), (10_005, "a"), (9_000, "z")]);
    assert_eq!(
        times(&market.step(at(12_010), late)),
        [10_006],
        "nothing old"
    );

    let mut market = waiting();
    assert_eq!(market.step(at(10_010), live(10_005, "a")), []);
    let effects = market.step(at(10_020), unanswered(Request::Trades(symbol())));
    assert_eq!(
        warnings(&effects),
        ["no latest trades of XRPUSDT: connection refused"]
    );
    assert_eq!(times(&market.step(at(10_030), Input::Tick)), [10_005]);
    let effects = market.step(at(11_020), Input::Tick);
    assert!(effects.contains(&Effect::Ask(Request::Trades(symbol()))));
}

#[test]
fn after_a_new_connection_only_what_was_missed_is_published() {
    let mut market = waiting();
    let effects = market.step(at(10_030), latest_trades(&[(9_000, "b"), (8_000, "a")]));
    assert_eq!(times(&effects), [8_000, 9_000]);
    let lost = Input::Disconnected {
        detail: Text::lossy("reset"),
    };
    let _ = market.step(at(11_000), lost);
    let _ = market.step(at(12_000), Input::Connected);
    let latest = latest_trades(&[(11_500, "c"), (9_000, "b"), (8_000, "a")]);
    assert_eq!(times(&market.step(at(12_010), latest)), [11_500]);
}

#[test]
fn the_latest_trades_count_towards_the_bound_of_a_tick_and_the_rest_follows_in_the_next() {
    let other = Symbol::new("BTCUSDT").unwrap();
    let mut market = MarketData::new([symbol(), other]);
    let _ = market.step(at(10_000), Input::Connected);
    let ids: Vec<_> = (0..80).map(|id| id.to_string()).collect();
    let many: Vec<_> = ids.iter().map(|id| (9_000, id.as_str())).collect();
    let effects = market.step(at(10_010), latest_trades(&many));
    assert_eq!(times(&effects).len(), 60, "no more than were asked for");
    for n in 0..60 {
        let effects = market.step(at(10_020), live(10_000 + n, "live"));
        assert_eq!(effects.len(), usize::from(n < 40));
    }
    assert_eq!(market.counts().trades_dropped, 20);
    assert_eq!(times(&market.step(at(10_030), Input::Tick)).len(), 0);
}

#[test]
fn trades_that_wait_are_bounded() {
    let mut market = waiting();
    for n in 0..700 {
        assert_eq!(
            market.step(at(10_010), live(10_000 + n, &n.to_string())),
            []
        );
    }
    assert_eq!(market.counts().trades_dropped, 200);
    let effects = market.step(at(10_020), latest_trades(&[]));
    assert_eq!(times(&effects).len(), 100);
    assert_eq!(times(&market.step(at(10_030), Input::Tick)).len(), 100);
}

#[test]
fn the_end_of_time_is_no_reason_to_panic() {
    let mut market = answered_late();
    let _ = market.step(Timestamp(u64::MAX), Input::Tick);
    let _ = market.step(Timestamp(u64::MAX), full(63_000, 1));
    let _ = market.step(Timestamp(0), unanswered(Request::Minutes(symbol())));
    let _ = market.step(Timestamp(u64::MAX), Input::Connected);
}
