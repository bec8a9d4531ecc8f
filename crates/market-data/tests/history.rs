//! The client of the REST interface and the core together, against a real HTTP server.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use market_data::config::RestAddress;
use market_data::history::{History, Settings};
use market_data_core::{Effect, Input, MarketData, Request};
use portcullis_domain::{Symbol, Timestamp};
use portcullis_runtime::venue_link::PlainText;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);
const MINUTES: &str = "/v5/market/kline?category=linear&symbol=XRPUSDT&interval=1&limit=33";
const TRADES: &str = "/v5/market/recent-trade?category=linear&symbol=XRPUSDT&limit=60";

fn symbol() -> Symbol {
    Symbol::new("XRPUSDT").unwrap()
}

/// What the venue does with a request.
enum Answer {
    /// Writes these bytes and closes the connection.
    Bytes(Vec<u8>),
    /// Keeps the connection and says nothing.
    Silence,
}

fn ok(body: &str) -> Answer {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    Answer::Bytes([head.as_bytes(), body.as_bytes()].concat())
}

fn raw(head: &str) -> Answer {
    Answer::Bytes(head.replace('\n', "\r\n").into_bytes())
}

/// Answers every request as `script` says, by its target and its number from 0, and passes the
/// targets on.
async fn venue(
    script: impl Fn(&str, usize) -> Answer + Send + 'static,
) -> (RestAddress, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = address(listener.local_addr().unwrap().port());
    let (targets, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        for number in 0.. {
            let (socket, _) = listener.accept().await.unwrap();
            let (target, mut socket) = request_of(socket).await;
            let answer = script(&target, number);
            let _ = targets.send(target);
            match answer {
                Answer::Bytes(bytes) => {
                    // A client that has had enough is what some scripts are about.
                    let _ = socket.write_all(&bytes).await;
                }
                Answer::Silence => silent.push(socket),
            }
        }
    });
    (address, asked)
}

/// Reads a request to its end; its method and its target.
async fn request_of(socket: TcpStream) -> (String, TcpStream) {
    let mut lines = BufReader::new(socket).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    while !lines.next_line().await.unwrap().unwrap().is_empty() {}
    let target = first.strip_prefix("GET ").unwrap();
    let target = target.strip_suffix(" HTTP/1.1").unwrap().to_owned();
    (target, lines.into_inner().into_inner())
}

fn address(port: u16) -> RestAddress {
    RestAddress::new(&format!("http://127.0.0.1:{port}"), PlainText::Loopback).unwrap()
}

fn quick(address: RestAddress) -> History {
    let settings = Settings {
        connect_timeout: Duration::from_millis(500),
        timeout: Duration::from_millis(500),
        ..Settings::new(address)
    };
    History::start(&settings).unwrap()
}

async fn answer_to(history: &mut History, request: Request) -> Input {
    assert!(history.ask(request));
    timeout(DEADLINE, history.answers.recv())
        .await
        .unwrap()
        .unwrap()
}

fn reply(time_ms: u64, result: &str) -> String {
    format!(r#"{{"retCode":0,"retMsg":"OK","result":{result},"time":{time_ms}}}"#)
}

/// As the venue lists them within the minute of this moment, the newest first.
fn bars(now_ms: u64) -> String {
    let list: Vec<_> = (0..33)
        .map(|ago| {
            let begins = (now_ms / 60_000 - ago) * 60_000;
            format!(r#"["{begins}","2.0000","2.1","1.9","2.05","10","20.5"]"#)
        })
        .collect();
    let result = format!(
        r#"{{"category":"linear","symbol":"XRPUSDT","list":[{}]}}"#,
        list.join(",")
    );
    reply(now_ms, &result)
}

fn trades(now_ms: u64) -> String {
    let result = format!(
        r#"{{"category":"linear","list":[{{"execId":"b","symbol":"XRPUSDT","price":"2.1","size":"3",
        "side":"Buy","time":"{now_ms}","isBlockTrade":false}},{{"execId":"a","symbol":"XRPUSDT",
        "price":"2.0","size":"4","side":"Sell","time":"{}"}}]}}"#,
        now_ms - 1
    );
    reply(now_ms, &result)
}

const NOW_MS: u64 = 1_790_000_010_000;

/// Runs client and core until `wanted` effects happened, each second of the core in 20 ms.
async fn run(history: &mut History, wanted: usize) -> Vec<String> {
    let mut core = MarketData::new([symbol()]);
    let began = Instant::now();
    let mut seen = Vec::new();
    let mut inputs = vec![Input::Connected];
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while seen.len() < wanted {
        assert!(began.elapsed() < DEADLINE, "only {seen:?}");
        let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap() * 50;
        // No later than what the venue answers, which is always the same minute.
        let now = Timestamp::from_millis(NOW_MS + elapsed.min(20_000));
        for effect in inputs.drain(..).flat_map(|input| core.step(now, input)) {
            match effect {
                Effect::Ask(request) => assert!(history.ask(request)),
                Effect::Closes(closes) => {
                    seen.push(format!(
                        "{} closes to {}",
                        closes.closes.len(),
                        closes.minute
                    ));
                }
                Effect::Trade(trade) => seen.push(format!("trade {}", trade.price)),
                Effect::Warning(text) => seen.push(format!("warning {text}")),
                Effect::Book(_) | Effect::Resubscribe(_) | Effect::Reconnect => {}
            }
        }
        inputs.push(tokio::select! {
            _ = ticks.tick() => Input::Tick,
            input = history.answers.recv() => input.unwrap(),
        });
    }
    seen
}

#[tokio::test]
async fn asks_for_minutes_and_trades_and_the_core_publishes_them() {
    let (address, mut asked) = venue(|target, _| match target {
        MINUTES => ok(&bars(NOW_MS)),
        TRADES => ok(&trades(NOW_MS)),
        _ => raw("HTTP/1.1 404 Not Found\n\n"),
    })
    .await;
    let mut seen = run(&mut quick(address), 3).await;
    seen.sort();
    let closes = format!("31 closes to {}", NOW_MS / 60_000 - 1);
    assert_eq!(seen, [closes.as_str(), "trade 2", "trade 2.1"]);
    let mut targets = [asked.recv().await.unwrap(), asked.recv().await.unwrap()];
    targets.sort();
    assert_eq!(targets, [MINUTES, TRADES]);
}

#[tokio::test]
async fn a_venue_that_fails_is_asked_again_until_it_answers() {
    let (address, _asked) = venue(|target, number| match (target, number) {
        (TRADES, _) => ok(&reply(NOW_MS, r#"{"list":[]}"#)),
        (_, 0..4) => raw("HTTP/1.1 503 Service Unavailable\nContent-Length: 0\n\n"),
        (_, _) => ok(&bars(NOW_MS)),
    })
    .await;
    let seen = run(&mut quick(address), 2).await;
    assert_eq!(
        seen,
        [
            "warning no closes of XRPUSDT: the venue answered with HTTP 503".to_owned(),
            format!("31 closes to {}", NOW_MS / 60_000 - 1),
        ]
    );
}

#[tokio::test]
async fn whatever_is_no_answer_ends_with_a_reason() {
    let cases = [
        (ok(""), "the venue's answer is not usable"),
        (ok("{}"), "the venue's answer is not usable"),
        (
            ok(&bars(NOW_MS).replace("2.05", "-2")),
            "the venue's answer is not usable",
        ),
        (ok(&trades(NOW_MS)), "the venue's answer is not usable"),
        (
            ok(r#"{"retCode":10001,"retMsg":"symbol\u001b[31m invalid","result":{},"time":1}"#),
            "the venue answered 10001: symbol [31m invalid",
        ),
        (
            ok(&" ".repeat(300_000)),
            "the venue's answer has more than 262144 bytes",
        ),
        (
            raw("HTTP/1.1 200 OK\nContent-Length: 10\n\n{"),
            "read the venue's answer",
        ),
        (
            raw("HTTP/1.1 302 Found\nLocation: http://127.0.0.1:1/\nContent-Length: 0\n\n"),
            "the venue answered with HTTP 302",
        ),
        (
            raw("HTTP/1.1 403 Forbidden\nContent-Length: 0\n\n"),
            "the venue answered with HTTP 403",
        ),
        (raw("SSH-2.0-OpenSSH\n"), "ask the venue"),
        (raw(""), "ask the venue"),
        (Answer::Silence, "ask the venue"),
    ];
    for (answer, why) in cases {
        let answer = std::sync::Mutex::new(Some(answer));
        let (address, mut asked) = venue(move |_, _| answer.lock().unwrap().take().unwrap()).await;
        let mut history = quick(address);
        let request = Request::Minutes(symbol());
        match answer_to(&mut history, request).await {
            Input::Unanswered {
                request: of,
                detail,
            } => {
                assert_eq!(of, request);
                assert!(
                    detail.as_str().starts_with(why),
                    "{detail:?} is not {why:?}"
                );
                assert!(!detail.as_str().contains("127.0.0.1:1/"), "{detail}");
            }
            other => panic!("{why}: {other:?}"),
        }
        assert_eq!(asked.recv().await.unwrap(), MINUTES);
        assert!(asked.try_recv().is_err(), "asked once: {why}");
    }
}

#[tokio::test]
async fn a_venue_that_is_not_there_costs_nobody_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut history = quick(address(port));
    for request in [Request::Trades(symbol()), Request::Minutes(symbol())] {
        let Input::Unanswered {
            request: of,
            detail,
        } = answer_to(&mut history, request).await
        else {
            panic!("nobody is there")
        };
        assert_eq!(of, request);
        assert!(detail.as_str().starts_with("ask the venue: "), "{detail}");
    }
}

#[tokio::test]
async fn requests_wait_in_a_bounded_queue_and_never_behind_a_silent_one() {
    let (address, _asked) = venue(|_, number| match number {
        0 => Answer::Silence,
        _ => ok(&bars(NOW_MS)),
    })
    .await;
    let mut history = quick(address);
    assert!(history.ask(Request::Minutes(symbol())));
    let input = answer_to(&mut history, Request::Minutes(symbol())).await;
    assert!(matches!(input, Input::Minutes { .. }), "{input:?}");
    let taken = (0..1_000)
        .filter(|_| history.ask(Request::Minutes(symbol())))
        .count();
    assert!((256..300).contains(&taken), "{taken}");
}
