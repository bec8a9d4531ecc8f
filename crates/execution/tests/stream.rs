//! The private stream against a real server.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use execution::bybit::{Endpoint, Login, PrivateStream, StreamEvent, StreamSettings};
use futures_util::{SinkExt as _, StreamExt as _};
use portcullis_domain::{OrderId, OrderStatus, Span};
use portcullis_runtime::venue_link::PlainText;
use portcullis_venue::retry::Pace;
use portcullis_wire::Text;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

type Socket = WebSocketStream<TcpStream>;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// Accepts connections and lets `script` play the venue on each, with its number from 0.
async fn venue<S: Future<Output = ()> + Send>(
    script: impl Fn(u32, Socket) -> S + Send + Sync + 'static,
) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        for number in 0.. {
            let (socket, _) = listener.accept().await.unwrap();
            script(number, accept(socket).await).await;
        }
    });
    endpoint
}

/// The handshake of the venue, which has its private stream at one path alone.
#[expect(clippy::result_large_err, reason = "the library's own type")]
async fn accept(socket: TcpStream) -> Socket {
    let check = |request: &Request, response: Response| {
        assert_eq!(request.uri().path(), "/v5/private");
        Ok(response)
    };
    tokio_tungstenite::accept_hdr_async(socket, check)
        .await
        .unwrap()
}

fn endpoint(port: u16) -> Endpoint {
    let address = format!("ws://127.0.0.1:{port}");
    Endpoint::stream(&address, PlainText::Loopback).unwrap()
}

fn quick(endpoint: Endpoint) -> StreamSettings {
    StreamSettings {
        step_timeout: Duration::from_secs(2),
        backoff_first: Duration::from_millis(10),
        backoff_longest: Duration::from_millis(50),
        pace: Pace {
            network: Span::from_millis(10),
            network_max: Span::from_millis(50),
            ..Pace::VENUE
        },
        ..StreamSettings::new(endpoint)
    }
}

async fn login() -> Result<Login, String> {
    Ok(Login {
        api_key: "key-of-a-test".to_owned(),
        expires_ms: 1_700_000_010_000,
        signature: "cd".repeat(32),
    })
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

/// Plays a venue that grants the login and the subscription.
async fn grant(socket: &mut Socket) {
    let auth = read(socket).await;
    let expected = format!(
        r#"{{"args":["key-of-a-test",1700000010000,"{}"],"op":"auth"}}"#,
        "cd".repeat(32)
    );
    assert_eq!(auth, expected);
    write(
        socket,
        r#"{"success":true,"ret_msg":"","op":"auth","conn_id":"x"}"#,
    )
    .await;
    let subscribe = read(socket).await;
    assert_eq!(
        subscribe,
        r#"{"op":"subscribe","args":["order.linear","execution.linear"]}"#
    );
    write(
        socket,
        r#"{"success":true,"ret_msg":"","op":"subscribe","conn_id":"x"}"#,
    )
    .await;
}

fn order_push(id: u8) -> String {
    format!(
        concat!(
            r#"{{"id":"1","topic":"order.linear","creationTime":1700000000000,"data":[{{"#,
            r#""category":"linear","orderId":"v-{id}","orderLinkId":"{link}","symbol":"BTCUSDT","#,
            r#""side":"Buy","qty":"1","price":"100","orderStatus":"New","cumExecQty":"0","#,
            r#""createdTime":"1700000000000","updatedTime":"1700000000000"}}]}}"#
        ),
        id = id,
        link = OrderId([id; 16]),
    )
}

fn execution_push() -> String {
    concat!(
        r#"{"id":"2","topic":"execution.linear","creationTime":1700000000001,"data":[{"#,
        r#""category":"linear","execId":"e-1","execType":"Trade","orderId":"v-1","#,
        r#""orderLinkId":"01010101010101010101010101010101","symbol":"BTCUSDT","side":"Buy","#,
        r#""execPrice":"100","execQty":"1","execFee":"0.05","isMaker":true,"#,
        r#""execTime":"1700000000001"}]}"#
    )
    .to_owned()
}

async fn next(events: &mut Receiver<StreamEvent>) -> StreamEvent {
    timeout(DEADLINE, events.recv())
        .await
        .expect("an event in time")
        .expect("a living stream")
}

async fn detail(events: &mut Receiver<StreamEvent>) -> String {
    match next(events).await {
        StreamEvent::Disconnected { detail } => detail.to_string(),
        other => panic!("{other:?} instead of a lost connection"),
    }
}

#[tokio::test]
async fn logs_in_subscribes_and_delivers_orders_and_executions() {
    let endpoint = venue(|_, mut socket| async move {
        grant(&mut socket).await;
        write(&mut socket, order_push(1)).await;
        write(&mut socket, execution_push()).await;
        read(&mut socket).await;
    })
    .await;
    let mut events = PrivateStream::start(quick(endpoint), login).unwrap();
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
    match next(&mut events).await {
        StreamEvent::Order(order) => {
            assert_eq!(order.order, Some(OrderId([1; 16])));
            assert_eq!(order.status, OrderStatus::Open);
        }
        other => panic!("{other:?}"),
    }
    match next(&mut events).await {
        StreamEvent::Execution(execution) => {
            assert_eq!(execution.execution.as_str(), "e-1");
            assert_eq!(execution.fee, "0.05".parse().unwrap());
        }
        other => panic!("{other:?}"),
    }
}

/// Plays a venue that grants everything but answers the last subscription as told.
async fn grant_and_answer_the_watch(socket: &mut Socket, answer: &str) {
    grant(socket).await;
    // Events come while it is not answered.
    write(socket, order_push(1)).await;
    let watch = read(socket).await;
    assert_eq!(watch, r#"{"op":"subscribe","args":["dcp.future"]}"#);
    write(socket, answer).await;
    // Whatever is said on that topic is no event.
    write(
        socket,
        r#"{"id":"3","topic":"dcp.future","creationTime":1700000000001,"data":[]}"#,
    )
    .await;
    write(socket, order_push(2)).await;
    read(socket).await;
}

#[tokio::test]
async fn a_watching_connection_says_whether_the_venue_counts_it_and_goes_on_either_way() {
    let cases = [
        (r#"{"success":true,"ret_msg":"","op":"subscribe"}"#, Ok(())),
        (
            r#"{"success":false,"ret_msg":"not yours","op":"subscribe"}"#,
            Err(Text::lossy("not yours")),
        ),
    ];
    for (answer, watched) in cases {
        let endpoint = venue(move |_, mut socket| async move {
            grant_and_answer_the_watch(&mut socket, answer).await;
        })
        .await;
        let settings = StreamSettings {
            watches: true,
            ..quick(endpoint)
        };
        let mut events = PrivateStream::start(settings, login).unwrap();
        assert_eq!(next(&mut events).await, StreamEvent::Connected);
        assert!(matches!(next(&mut events).await, StreamEvent::Order(_)));
        assert_eq!(next(&mut events).await, StreamEvent::Watched(watched));
        assert!(matches!(next(&mut events).await, StreamEvent::Order(_)));
    }
}

#[tokio::test]
async fn a_cut_is_said_and_a_new_connection_made_with_a_new_login() {
    let logins = Arc::new(AtomicU32::new(0));
    let endpoint = venue(|number, mut socket| async move {
        grant(&mut socket).await;
        if number == 0 {
            write(&mut socket, order_push(1)).await;
            return;
        }
        read(&mut socket).await;
    })
    .await;
    let counted = Arc::clone(&logins);
    let mut events = PrivateStream::start(quick(endpoint), move || {
        counted.fetch_add(1, Ordering::SeqCst);
        login()
    })
    .unwrap();
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
    assert!(matches!(next(&mut events).await, StreamEvent::Order(_)));
    let why = detail(&mut events).await;
    assert!(
        why.starts_with("receive") || why == "the venue closed the stream",
        "{why}"
    );
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
    assert_eq!(logins.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_refused_login_is_said_and_tried_again() {
    let endpoint = venue(|number, mut socket| async move {
        if number > 0 {
            grant(&mut socket).await;
            read(&mut socket).await;
            return;
        }
        read(&mut socket).await;
        write(
            &mut socket,
            r#"{"success":false,"ret_msg":"Params Error","op":"auth"}"#,
        )
        .await;
        read(&mut socket).await;
    })
    .await;
    let mut events = PrivateStream::start(quick(endpoint), login).unwrap();
    assert_eq!(
        detail(&mut events).await,
        "the venue refused the login: Params Error"
    );
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
}

#[tokio::test]
async fn a_refused_subscription_is_no_connection() {
    let endpoint = venue(|_, mut socket| async move {
        read(&mut socket).await;
        write(&mut socket, r#"{"success":true,"ret_msg":"","op":"auth"}"#).await;
        read(&mut socket).await;
        write(
            &mut socket,
            r#"{"success":false,"ret_msg":"no","op":"subscribe"}"#,
        )
        .await;
        read(&mut socket).await;
    })
    .await;
    let mut events = PrivateStream::start(quick(endpoint), login).unwrap();
    assert_eq!(
        detail(&mut events).await,
        "the venue refused the subscription: no"
    );
}

#[tokio::test]
async fn without_a_signature_there_is_no_login() {
    let endpoint = venue(|_, mut socket| async move {
        assert_eq!(read(&mut socket).await, "", "nothing is sent");
    })
    .await;
    let refusal = || async { Err("the signer refused: KILL_SWITCH".to_owned()) };
    let mut events = PrivateStream::start(quick(endpoint), refusal).unwrap();
    let why = detail(&mut events).await;
    assert_eq!(
        why,
        "obtain a signature for the login: the signer refused: KILL_SWITCH"
    );
}

#[tokio::test]
async fn a_venue_that_never_answers_the_login_is_given_up() {
    let endpoint = venue(|_, mut socket| async move {
        read(&mut socket).await;
        read(&mut socket).await;
    })
    .await;
    let settings = StreamSettings {
        step_timeout: Duration::from_millis(200),
        ..quick(endpoint)
    };
    let mut events = PrivateStream::start(settings, login).unwrap();
    assert_eq!(detail(&mut events).await, "the login took too long");
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let endpoint = venue(|_, mut socket| async move {
        grant(&mut socket).await;
        // Whatever it is asked, it says nothing.
        while !read(&mut socket).await.is_empty() {}
    })
    .await;
    let settings = StreamSettings {
        ping_interval: Duration::from_millis(100),
        silence_max: Duration::from_millis(300),
        ..quick(endpoint)
    };
    let mut events = PrivateStream::start(settings, login).unwrap();
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
    assert_eq!(detail(&mut events).await, "nothing was heard for 300 ms");
}

#[tokio::test]
async fn pongs_keep_a_quiet_connection() {
    let (pings, mut pinged) = tokio::sync::mpsc::unbounded_channel();
    let endpoint = venue(move |_, mut socket| {
        let pings = pings.clone();
        async move {
            grant(&mut socket).await;
            while read(&mut socket).await == r#"{"op":"ping"}"# {
                pings.send(()).unwrap();
                let pong = r#"{"req_id":"","op":"pong","args":["1700000000000"],"conn_id":"x"}"#;
                write(&mut socket, pong).await;
            }
        }
    })
    .await;
    let settings = StreamSettings {
        ping_interval: Duration::from_millis(100),
        silence_max: Duration::from_millis(1_000),
        ..quick(endpoint)
    };
    let mut events = PrivateStream::start(settings, login).unwrap();
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
    // Twenty pings take two seconds: twice the silence that would end it.
    for _ in 0..20 {
        timeout(DEADLINE, pinged.recv()).await.unwrap().unwrap();
    }
    assert!(events.try_recv().is_err(), "nothing happened");
}

#[tokio::test]
async fn garbage_is_said_and_too_much_of_it_ends_the_connection() {
    let endpoint = venue(|_, mut socket| async move {
        grant(&mut socket).await;
        for _ in 0..8 {
            write(&mut socket, "not JSON").await;
        }
        while !read(&mut socket).await.is_empty() {}
    })
    .await;
    let mut events = PrivateStream::start(quick(endpoint), login).unwrap();
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
    for _ in 0..8 {
        assert!(matches!(
            next(&mut events).await,
            StreamEvent::Malformed { .. }
        ));
    }
    assert_eq!(detail(&mut events).await, "8 unreadable messages");
}

#[tokio::test]
async fn an_order_that_makes_no_sense_is_malformed_and_not_left_out() {
    let endpoint = venue(|_, mut socket| async move {
        grant(&mut socket).await;
        write(
            &mut socket,
            order_push(1).replace(r#""qty":"1""#, r#""qty":"NaN""#),
        )
        .await;
        read(&mut socket).await;
    })
    .await;
    let mut events = PrivateStream::start(quick(endpoint), login).unwrap();
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
    assert!(matches!(
        next(&mut events).await,
        StreamEvent::Malformed { .. }
    ));
}

#[tokio::test]
async fn an_oversized_message_ends_the_connection() {
    let endpoint = venue(|_, mut socket| async move {
        grant(&mut socket).await;
        write(&mut socket, " ".repeat((1 << 20) + 1)).await;
        while !read(&mut socket).await.is_empty() {}
    })
    .await;
    let mut events = PrivateStream::start(quick(endpoint), login).unwrap();
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
    let why = detail(&mut events).await;
    assert!(why.starts_with("receive: Space limit exceeded"), "{why}");
}

#[tokio::test]
async fn a_listener_that_lags_loses_the_connection_and_never_an_event_unsaid() {
    let (closed, mut was_closed) = tokio::sync::mpsc::unbounded_channel();
    let endpoint = venue(move |number, mut socket| {
        let closed = closed.clone();
        async move {
            grant(&mut socket).await;
            if number > 0 {
                read(&mut socket).await;
                return;
            }
            for id in 0..100 {
                write(&mut socket, order_push(id)).await;
            }
            while !read(&mut socket).await.is_empty() {}
            closed.send(()).unwrap();
        }
    })
    .await;
    let settings = StreamSettings {
        capacity: 4,
        ..quick(endpoint)
    };
    let mut events = PrivateStream::start(settings, login).unwrap();
    // Nobody listens until the connection was given up.
    timeout(DEADLINE, was_closed.recv()).await.unwrap().unwrap();
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
    for expected in 0..3 {
        match next(&mut events).await {
            StreamEvent::Order(order) => assert_eq!(order.order, Some(OrderId([expected; 16]))),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        detail(&mut events).await,
        "the listener did not take the events in time"
    );
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
}

#[tokio::test]
async fn a_venue_that_is_not_there_is_tried_until_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut events = PrivateStream::start(quick(endpoint(address.port())), login).unwrap();
    for _ in 0..3 {
        let why = detail(&mut events).await;
        assert!(why.starts_with("connect: "), "{why}");
    }
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = accept(socket).await;
        grant(&mut socket).await;
        read(&mut socket).await;
    });
    loop {
        if next(&mut events).await == StreamEvent::Connected {
            break;
        }
    }
}

#[tokio::test]
async fn it_ends_with_its_listener() {
    let (closed, mut was_closed) = tokio::sync::mpsc::unbounded_channel();
    let endpoint = venue(move |_, mut socket| {
        let closed = closed.clone();
        async move {
            grant(&mut socket).await;
            while !read(&mut socket).await.is_empty() {}
            closed.send(()).unwrap();
        }
    })
    .await;
    let mut events = PrivateStream::start(quick(endpoint), login).unwrap();
    assert_eq!(next(&mut events).await, StreamEvent::Connected);
    drop(events);
    timeout(DEADLINE, was_closed.recv()).await.unwrap().unwrap();
}
