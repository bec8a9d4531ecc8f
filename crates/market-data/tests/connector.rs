//! The connector and the core together, against a real WebSocket server.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use market_data::config::{Depth, StreamAddress};
use market_data::connector::{Command, Connector, Event, Order, Settings};
use market_data_core::{Effect, Input, MarketData};
use portcullis_domain::{Span, Symbol, Timestamp};
use portcullis_runtime::venue_link::PlainText;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

type Socket = WebSocketStream<TcpStream>;

const SYMBOL: &str = "XRPUSDT";
const BOOKS: &str = r#"{"op":"subscribe","args":["orderbook.50.XRPUSDT","publicTrade.XRPUSDT"]}"#;
const UNSUBSCRIBE: &str = r#"{"op":"unsubscribe","args":["orderbook.50.XRPUSDT"]}"#;
const SUBSCRIBE: &str = r#"{"op":"subscribe","args":["orderbook.50.XRPUSDT"]}"#;
/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// The handshake of the venue, which has this stream at one path alone.
#[expect(clippy::result_large_err, reason = "the library's own type")]
async fn accept(socket: TcpStream) -> Socket {
    let check = |request: &Request, response: Response| {
        assert_eq!(request.uri().path(), "/v5/public/linear");
        Ok(response)
    };
    tokio_tungstenite::accept_hdr_async(socket, check)
        .await
        .unwrap()
}

/// Accepts connections and lets `script` play the venue on each, with its number from 0.
async fn venue<S: Future<Output = ()> + Send>(
    script: impl Fn(u32, Socket) -> S + Send + Sync + 'static,
) -> StreamAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = address(listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        for number in 0.. {
            let (socket, _) = listener.accept().await.unwrap();
            script(number, accept(socket).await).await;
        }
    });
    address
}

fn address(port: u16) -> StreamAddress {
    StreamAddress::new(&format!("ws://127.0.0.1:{port}"), PlainText::Loopback).unwrap()
}

fn quick(address: StreamAddress, symbols: Vec<Symbol>) -> Settings {
    Settings {
        step_timeout: Duration::from_secs(2),
        backoff_first: Duration::from_millis(10),
        backoff_longest: Duration::from_millis(50),
        ..Settings::new(address, symbols, Depth::Fifty)
    }
}

async fn read(socket: &mut Socket) -> String {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return text.to_string(),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return String::new(),
        }
    }
}

async fn write(socket: &mut Socket, text: impl Into<String>) {
    // A client that has gone away is what some scripts are about.
    let _ = socket.send(Message::text(text.into())).await;
}

fn depth(kind: &str, update: u64, bid: &str) -> String {
    format!(
        concat!(
            r#"{{"topic":"orderbook.50.XRPUSDT","type":"{kind}","ts":1,"cts":1,"data":"#,
            r#"{{"s":"XRPUSDT","b":[["{bid}","5"]],"a":[["9","5"]],"u":{update},"seq":1}}}}"#
        ),
        kind = kind,
        bid = bid,
        update = update,
    )
}

/// Connector and core as the shell runs them, twenty times as fast: three seconds of silence take
/// 150 ms.
struct Market {
    connector: Connector,
    core: MarketData,
    connection: u64,
    began: Instant,
}

impl Market {
    fn start(address: StreamAddress) -> Self {
        let symbol = Symbol::new(SYMBOL).unwrap();
        let connector = Connector::start(quick(address, vec![symbol])).unwrap();
        let core = MarketData::new([symbol]);
        Self {
            connector,
            core,
            connection: 0,
            began: Instant::now(),
        }
    }

    /// Runs until `wanted` happens; answers with everything before it, and it.
    async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut seen = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        loop {
            assert!(self.began.elapsed() < DEADLINE, "only {seen:?}");
            let input = tokio::select! {
                _ = ticks.tick() => Input::Tick,
                event = self.connector.events.recv() => {
                    let Event { connection, input } = event.unwrap();
                    self.connection = connection;
                    input
                }
            };
            let elapsed = u64::try_from(self.began.elapsed().as_micros()).unwrap() * 20;
            let now = Timestamp(1_000_000_000).plus(Span(elapsed));
            for effect in self.core.step(now, input) {
                // Nobody answers here: the stream gets along without.
                if matches!(effect, Effect::Ask(_)) {
                    continue;
                }
                let said = self.perform(effect);
                let is_wanted = wanted(&said);
                seen.push(said);
                if is_wanted {
                    return seen;
                }
            }
        }
    }

    fn perform(&self, effect: Effect) -> String {
        let command = |order| {
            assert!(self.connector.command(Command {
                connection: self.connection,
                order
            }));
        };
        match effect {
            Effect::Book(book) => format!("book {}", book.sequence()),
            Effect::Trade(trade) => format!("trade {}", trade.price),
            Effect::Resubscribe(symbol) => {
                command(Order::Resubscribe(symbol));
                "resubscribe".to_owned()
            }
            Effect::Reconnect => {
                command(Order::Reconnect);
                "reconnect".to_owned()
            }
            Effect::Closes(closes) => format!("closes {}", closes.minute),
            Effect::Ask(request) => format!("ask {request:?}"),
            Effect::Warning(text) => format!("warning {text}"),
        }
    }
}

#[tokio::test]
async fn subscribes_and_delivers_books_and_trades() {
    let address = venue(|_, mut socket| async move {
        assert_eq!(read(&mut socket).await, BOOKS);
        write(
            &mut socket,
            r#"{"success":true,"ret_msg":"","op":"subscribe"}"#,
        )
        .await;
        write(&mut socket, depth("snapshot", 7, "1")).await;
        let trade = concat!(
            r#"{"topic":"publicTrade.XRPUSDT","type":"snapshot","ts":1,"data":[{"T":1,"#,
            r#""s":"XRPUSDT","S":"Buy","v":"5","p":"1.95","i":"x"}]}"#
        );
        write(&mut socket, trade).await;
        read(&mut socket).await;
    })
    .await;
    let mut market = Market::start(address);
    assert_eq!(
        market.until(|said| said == "trade 1.95").await,
        ["book 7", "trade 1.95"]
    );
}

#[tokio::test]
async fn asks_for_at_most_ten_topics_in_one_request() {
    let (requests, mut requested) = mpsc::unbounded_channel();
    let address = venue(move |_, mut socket| {
        let requests = requests.clone();
        async move {
            loop {
                requests.send(read(&mut socket).await).unwrap();
            }
        }
    })
    .await;
    let symbols: Vec<_> = (0..12)
        .map(|n| Symbol::new(&format!("COIN{n}")).unwrap())
        .collect();
    let _connector = Connector::start(quick(address, symbols)).unwrap();
    let mut topics = 0;
    for expected in [10, 10, 4] {
        let request = timeout(DEADLINE, requested.recv()).await.unwrap().unwrap();
        let in_it = request.matches("COIN").count();
        assert_eq!(in_it, expected, "{request}");
        topics += in_it;
    }
    assert_eq!(topics, 24, "a book and the trades of each");
}

#[tokio::test]
async fn a_gap_is_answered_with_a_new_subscription_and_a_fresh_snapshot() {
    let address = venue(|_, mut socket| async move {
        assert_eq!(read(&mut socket).await, BOOKS);
        write(&mut socket, depth("snapshot", 7, "1")).await;
        write(&mut socket, depth("delta", 9, "2")).await;
        // What was under way still arrives.
        write(&mut socket, depth("delta", 10, "2")).await;
        assert_eq!(read(&mut socket).await, UNSUBSCRIBE);
        write(
            &mut socket,
            r#"{"success":true,"ret_msg":"","op":"unsubscribe"}"#,
        )
        .await;
        assert_eq!(read(&mut socket).await, SUBSCRIBE);
        write(
            &mut socket,
            r#"{"success":true,"ret_msg":"","op":"subscribe"}"#,
        )
        .await;
        write(&mut socket, depth("snapshot", 30, "3")).await;
        read(&mut socket).await;
    })
    .await;
    let mut market = Market::start(address);
    assert_eq!(
        market.until(|said| said == "book 30").await,
        [
            "book 7",
            "warning order book of XRPUSDT dropped: update 9 came where 8 was due",
            "resubscribe",
            "book 30",
        ]
    );
    assert_eq!(market.core.counts().unreadable, 0);
}

#[tokio::test]
async fn silence_is_answered_with_a_new_subscription_and_then_a_new_connection() {
    let address = venue(|number, mut socket| async move {
        assert_eq!(read(&mut socket).await, BOOKS);
        if number == 1 {
            write(&mut socket, depth("snapshot", 50, "1")).await;
        } else {
            write(&mut socket, depth("snapshot", 7, "1")).await;
            for _ in 0..3 {
                assert_eq!(read(&mut socket).await, UNSUBSCRIBE);
                assert_eq!(read(&mut socket).await, SUBSCRIBE);
            }
        }
        while !read(&mut socket).await.is_empty() {}
    })
    .await;
    let mut market = Market::start(address);
    assert_eq!(
        market.until(|said| said == "book 50").await,
        [
            "book 7",
            "resubscribe",
            "resubscribe",
            "resubscribe",
            "reconnect",
            "warning market data stream lost: no book was heard of for 10000 ms",
            "book 50",
        ]
    );
}

#[tokio::test]
async fn a_cut_connection_is_made_anew_and_every_book_with_it() {
    let address = venue(|number, mut socket| async move {
        assert_eq!(read(&mut socket).await, BOOKS);
        if number == 0 {
            write(&mut socket, depth("snapshot", 7, "1")).await;
            return;
        }
        // A delta that would follow on the old book is none of the new connection's.
        write(&mut socket, depth("delta", 8, "2")).await;
        write(&mut socket, depth("snapshot", 40, "2")).await;
        read(&mut socket).await;
    })
    .await;
    let mut market = Market::start(address);
    let seen = market.until(|said| said == "book 40").await;
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(
        seen[1].starts_with("warning market data stream lost: "),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_stream_of_garbage_is_given_up() {
    let address = venue(|number, mut socket| async move {
        assert_eq!(read(&mut socket).await, BOOKS);
        if number == 0 {
            for _ in 0..20 {
                write(&mut socket, r#"{"topic":"orderbook.50.XRPUSDT","data":[]}"#).await;
            }
        } else {
            write(&mut socket, depth("snapshot", 40, "2")).await;
        }
        while !read(&mut socket).await.is_empty() {}
    })
    .await;
    let mut market = Market::start(address);
    let seen = market.until(|said| said == "book 40").await;
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[0], "reconnect");
    assert!(
        seen[1].contains("20 unreadable messages in a row"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn an_oversized_message_ends_the_connection() {
    let address = venue(|number, mut socket| async move {
        assert_eq!(read(&mut socket).await, BOOKS);
        if number == 0 {
            write(&mut socket, " ".repeat((1 << 20) + 1)).await;
        } else {
            write(&mut socket, depth("snapshot", 40, "2")).await;
        }
        while !read(&mut socket).await.is_empty() {}
    })
    .await;
    let mut market = Market::start(address);
    let seen = market.until(|said| said == "book 40").await;
    let lost = "warning market data stream lost: receive: Space limit exceeded";
    assert!(seen[0].starts_with(lost), "{seen:?}");
}

#[tokio::test]
async fn a_venue_that_is_not_there_is_tried_until_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let settings = quick(address(at.port()), vec![Symbol::new(SYMBOL).unwrap()]);
    let mut connector = Connector::start(settings).unwrap();
    for number in 1..=3 {
        let event = timeout(DEADLINE, connector.events.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(event.connection, number);
        let Input::Disconnected { detail } = event.input else {
            panic!("{:?}", event.input)
        };
        let expected = format!("connect to ws://{at}/v5/public/linear: ");
        assert!(detail.as_str().starts_with(&expected), "{detail}");
    }
    let listener = TcpListener::bind(at).await.unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        read(&mut accept(socket).await).await;
    });
    loop {
        let event = timeout(DEADLINE, connector.events.recv())
            .await
            .unwrap()
            .unwrap();
        if matches!(event.input, Input::Connected) {
            break;
        }
    }
}

#[tokio::test]
async fn a_command_for_a_connection_that_is_gone_is_forgotten() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let address = venue(move |_, mut socket| {
        let heard = heard.clone();
        async move {
            loop {
                let text = read(&mut socket).await;
                if text.is_empty() || heard.send(text).is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let symbol = Symbol::new(SYMBOL).unwrap();
    let mut connector = Connector::start(quick(address, vec![symbol])).unwrap();
    let event = timeout(DEADLINE, connector.events.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(event.input, Input::Connected));
    for (connection, order) in [
        (event.connection + 1, Order::Reconnect),
        (event.connection - 1, Order::Reconnect),
        (event.connection, Order::Resubscribe(symbol)),
    ] {
        assert!(connector.command(Command { connection, order }));
    }
    for expected in [BOOKS, UNSUBSCRIBE, SUBSCRIBE] {
        assert_eq!(
            timeout(DEADLINE, hears.recv()).await.unwrap().unwrap(),
            expected
        );
    }
}

#[tokio::test]
async fn the_venue_is_pinged() {
    let (pings, mut pinged) = mpsc::unbounded_channel();
    let address = venue(move |_, mut socket| {
        let pings = pings.clone();
        async move {
            assert_eq!(read(&mut socket).await, BOOKS);
            while read(&mut socket).await == r#"{"op":"ping"}"# {
                write(
                    &mut socket,
                    r#"{"success":true,"ret_msg":"pong","op":"ping"}"#,
                )
                .await;
                pings.send(()).unwrap();
            }
        }
    })
    .await;
    let settings = quick(address, vec![Symbol::new(SYMBOL).unwrap()]);
    let settings = Settings {
        ping_interval: Duration::from_millis(20),
        ..settings
    };
    let _connector = Connector::start(settings).unwrap();
    for _ in 0..3 {
        timeout(DEADLINE, pinged.recv()).await.unwrap().unwrap();
    }
}
