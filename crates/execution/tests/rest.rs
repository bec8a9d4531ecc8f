//! Requests against a real server, and what is known about them afterwards.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use execution::bybit::{
    ClockSettings, Endpoint, NotSent, RestClient, SendError, Timeouts, Unknown, VenueClock,
};
use portcullis_domain::{OrderId, Span, Symbol, Timestamp};
use portcullis_runtime::venue_link::PlainText;
use portcullis_venue::bybit::{Method, Request, query_order};
use support::{Act, Server, client, ok, request, signed};
use tokio::net::TcpListener;

#[tokio::test]
async fn sends_exactly_what_was_signed() {
    let server = Server::start(|_| Act::Answer(ok("{}"))).await;
    let reply = server.client().send(&request(7), &signed()).await.unwrap();
    assert_eq!(
        (reply.http_status, reply.body.as_slice()),
        (200, b"{}".as_slice())
    );
    let received = &server.received()[0];
    assert_eq!(received.body, request(7).payload);
    assert!(
        received
            .head
            .starts_with("POST /v5/order/cancel HTTP/1.1\r\n"),
        "{}",
        received.head
    );
    let head = received.head.to_lowercase();
    for line in [
        "x-bapi-api-key: key-of-a-test",
        "x-bapi-timestamp: 1700000000123",
        "x-bapi-recv-window: 5000",
        "content-type: application/json",
        &format!("x-bapi-sign: {}", "ab".repeat(32)),
    ] {
        assert!(
            head.lines().any(|found| found == line),
            "{line:?} not in {head}"
        );
    }
}

#[tokio::test]
async fn a_query_is_sent_as_it_was_signed_or_not_at_all() {
    let server = Server::start(|_| Act::Answer(ok("{}"))).await;
    let query = query_order(Symbol::new("BTCUSDT").unwrap(), OrderId([1; 16]));
    server.client().send(&query, &signed()).await.unwrap();
    let line = format!("GET /v5/order/realtime?{} HTTP/1.1", query.payload);
    assert_eq!(
        server.received()[0].head.lines().next(),
        Some(line.as_str())
    );

    let payload = "cursor=a b".to_owned();
    let rewritten = Request {
        method: Method::Get,
        path: "/v5/order/realtime",
        payload,
    };
    let refused = server
        .client()
        .send(&rewritten, &signed())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, SendError::NotSent(NotSent::Unwritable)),
        "{refused:?}"
    );
    let mut forged = signed();
    forged.api_key = "key\r\nX-Other: 1".to_owned();
    let refused = server.client().send(&query, &forged).await.unwrap_err();
    assert!(
        matches!(refused, SendError::NotSent(NotSent::Unwritable)),
        "{refused:?}"
    );
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_refused_connection_proves_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = client(&format!("http://127.0.0.1:{port}"))
        .send(&request(1), &signed())
        .await;
    assert!(
        matches!(error, Err(SendError::NotSent(NotSent::Connect(_)))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_name_without_an_address_proves_that_nothing_was_sent() {
    let error = client("http://venue.invalid")
        .send(&request(1), &signed())
        .await;
    assert!(
        matches!(error, Err(SendError::NotSent(NotSent::Connect(_)))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_failed_handshake_proves_that_nothing_was_sent() {
    // It takes TLS's first words for a request without an end, and closes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 4_096];
        let length = tokio::io::AsyncReadExt::read(&mut socket, &mut heard)
            .await
            .unwrap();
        heard.truncate(length);
        heard
    });
    let error = client(&format!("https://127.0.0.1:{port}"))
        .send(&request(1), &signed())
        .await;
    assert!(
        matches!(error, Err(SendError::NotSent(NotSent::Connect(_)))),
        "{error:?}"
    );
    let heard = String::from_utf8_lossy(&heard.await.unwrap()).into_owned();
    assert!(!heard.is_empty());
    assert!(
        !heard.contains("v5") && !heard.contains("key-of-a-test"),
        "{heard}"
    );
}

#[tokio::test]
async fn a_connection_that_closes_after_the_request_was_read_leaves_the_outcome_unknown() {
    let server = Server::start(|_| Act::Close).await;
    let error = server.client().send(&request(1), &signed()).await;
    assert!(
        matches!(error, Err(SendError::Unknown(Unknown::Broken(_)))),
        "{error:?}"
    );
    assert_eq!(server.received().len(), 1, "and it was sent once");
}

#[tokio::test]
async fn half_an_answer_leaves_the_outcome_unknown() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"retCode\":0";
    let server = Server::start(move |_| Act::AnswerAndClose(half.to_owned())).await;
    let error = server.client().send(&request(1), &signed()).await;
    assert!(
        matches!(error, Err(SendError::Unknown(Unknown::Broken(_)))),
        "{error:?}"
    );
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_slow_answer_leaves_the_outcome_unknown() {
    let server = Server::start(|_| Act::Hang).await;
    let base = format!("http://127.0.0.1:{}", server.port);
    let base = Endpoint::rest(&base, PlainText::Loopback).unwrap();
    let brief = Duration::from_millis(200);
    let client = RestClient::new(
        base,
        Timeouts {
            connect: brief,
            total: brief,
        },
    )
    .unwrap();
    let error = client.send(&request(1), &signed()).await;
    assert!(
        matches!(error, Err(SendError::Unknown(Unknown::TimedOut(_)))),
        "{error:?}"
    );
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn an_endless_answer_is_given_up_at_its_bound() {
    let long = "x".repeat((1 << 20) + 1);
    let whole = ok(&long);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    for answer in [whole, chunked] {
        let server = Server::start(move |_| Act::Answer(answer.clone())).await;
        let error = server.client().send(&request(1), &signed()).await;
        assert!(
            matches!(error, Err(SendError::Unknown(Unknown::TooLong))),
            "{error:?}"
        );
    }
    let longest = ok(&"x".repeat(1 << 20));
    let server = Server::start(move |_| Act::Answer(longest.clone())).await;
    assert_eq!(
        server
            .client()
            .send(&request(1), &signed())
            .await
            .unwrap()
            .body
            .len(),
        1 << 20
    );
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let elsewhere = Server::start(|_| Act::Answer(ok("{}"))).await;
    let port = elsewhere.port;
    for status in [301, 302, 307, 308] {
        let server = Server::start(move |_| {
            Act::Answer(format!(
                "HTTP/1.1 {status} x\r\nlocation: http://127.0.0.1:{port}/\r\ncontent-length: 0\r\n\r\n"
            ))
        })
        .await;
        match server.client().send(&request(1), &signed()).await {
            Err(SendError::Unknown(Unknown::Redirected(found))) => assert_eq!(found, status),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(elsewhere.received().len(), 0);
}

#[tokio::test]
async fn an_error_status_is_an_answer_and_is_not_tried_again() {
    for status in [400, 403, 408, 425, 429, 500, 502, 503, 504] {
        let server = Server::start(move |_| {
            Act::Answer(format!(
                "HTTP/1.1 {status} x\r\nretry-after: 3\r\nx-bapi-limit: 10\r\n\
                 x-bapi-limit-status: 0\r\nx-bapi-limit-reset-timestamp: 1700000000999\r\n\
                 content-length: 2\r\n\r\nno"
            ))
        })
        .await;
        let reply = server.client().send(&request(1), &signed()).await.unwrap();
        assert_eq!(
            (reply.http_status, reply.body.as_slice()),
            (status, b"no".as_slice())
        );
        assert_eq!(reply.headers.limit, Some(10));
        assert_eq!(reply.headers.remaining, Some(0));
        assert_eq!(reply.headers.reset_ms, Some(1_700_000_000_999));
        assert_eq!(reply.headers.retry_after_s, Some(3));
        assert_eq!(server.received().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::start(|_| Act::Answer(ok("{}"))).await;
    let client = server.client();
    for id in 0..5 {
        client.send(&request(id), &signed()).await.unwrap();
    }
    let connections: BTreeSet<_> = server.received().iter().map(|one| one.connection).collect();
    assert_eq!(connections.len(), 1);
}

#[tokio::test]
async fn idle_connections_that_close_never_make_a_request_arrive_twice() {
    // It promises to keep the connection and closes it after every answer, so that the client finds
    // it closed at every moment of the next request; now and then it closes without an answer.
    let server = Server::start(|received| {
        if received.body.contains("3") {
            Act::Close
        } else {
            Act::AnswerAndClose(ok("{}"))
        }
    })
    .await;
    let client = server.client();
    let (mut answered, mut unknown) = (0, 0);
    for id in 0..=255_u8 {
        match client.send(&request(id), &signed()).await {
            Ok(_) => answered += 1,
            Err(SendError::Unknown(_)) => unknown += 1,
            Err(error @ SendError::NotSent(_)) => panic!("the server listens: {error:?}"),
        }
    }
    assert!(
        answered > 0 && unknown > 0,
        "{answered} answered, {unknown} unknown"
    );
    let bodies: Vec<_> = server.received().into_iter().map(|one| one.body).collect();
    let distinct: BTreeSet<_> = bodies.iter().collect();
    assert_eq!(bodies.len(), distinct.len(), "a request arrived twice");
}

#[test]
fn the_environment_cannot_put_a_proxy_in_between() {
    // The variables are read at set-up, so another process has to have them.
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sends_exactly_what_was_signed"])
        .envs(
            ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"]
                .map(|name| (name, "http://127.0.0.1:1")),
        )
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stdout)
    );
}

#[tokio::test]
async fn errors_carry_neither_signature_nor_key() {
    let server = Server::start(|_| Act::Close).await;
    let error = server
        .client()
        .send(&request(1), &signed())
        .await
        .unwrap_err();
    let said = format!("{error} {error:?} {:?}", signed());
    assert!(
        !said.contains("abab") && !said.contains("key-of-a-test"),
        "{said}"
    );
}

#[tokio::test]
async fn measures_the_venues_clock() {
    let body = r#"{"retCode":0,"retMsg":"OK","result":{"timeSecond":"1700000001",
        "timeNano":"1700000001000000000"},"retExtInfo":{},"time":1700000001000}"#;
    let server = Server::start(move |_| Act::Answer(ok(body))).await;
    let clock = VenueClock::new(ClockSettings::default());
    let here = Timestamp::from_millis(1_700_000_000_000);
    clock.measure(&server.client(), || here).await.unwrap();
    assert_eq!(clock.offset_us(), Some(1_000_000));
    let later = here.plus(Span::from_millis(250));
    assert_eq!(clock.venue_now_ms(later), Some(1_700_000_001_250));
    assert!(
        server.received()[0]
            .head
            .starts_with("GET /v5/market/time HTTP/1.1\r\n")
    );
}

#[tokio::test]
async fn a_clock_that_answers_nonsense_leaves_the_time_unknown() {
    let answers = [
        ok("{}"),
        ok(r#"{"retCode":10016,"retMsg":"x","result":{},"time":1700000001000}"#),
        "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ];
    for answer in answers {
        let server = Server::start(move |_| Act::Answer(answer.clone())).await;
        let clock = VenueClock::new(ClockSettings::default());
        let measured = clock.measure(&server.client(), || Timestamp(1)).await;
        assert!(measured.is_err(), "{measured:?}");
        assert_eq!(clock.venue_now_ms(Timestamp(1)), None);
    }
}
