//! Traces reach a collector in the standard form, and one that is away delays nothing.

use std::time::{Duration, Instant};

use portcullis_runtime::Telemetry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_arrive_at_the_collector_with_their_names_and_parents() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", collector.local_addr().unwrap());
    let telemetry = Telemetry::exporting("brain", &url).unwrap();
    let root = telemetry.span("propose", "");
    let parent = root.traceparent();
    let mut child = telemetry.span("evaluate", &parent);
    child.set("order", "0a1b");
    drop(child);
    drop(root);

    let received = async {
        let (mut socket, _) = collector.accept().await.unwrap();
        let mut request = Vec::new();
        while !contains(&request, b"evaluate") || !contains(&request, b"propose") {
            let mut buffer = [0; 4_096];
            let read = socket.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&request));
            request.extend(&buffer[..read]);
        }
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        request
    };
    let request = tokio::time::timeout(Duration::from_secs(20), received)
        .await
        .unwrap();
    let head = String::from_utf8_lossy(&request);
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(
        head.to_lowercase()
            .contains("content-type: application/x-protobuf"),
        "{head}"
    );
    for part in ["portcullis-brain", "order", "0a1b"] {
        assert!(contains(&request, part.as_bytes()), "{part}");
    }
    let trace: Vec<u8> = (3..35)
        .step_by(2)
        .map(|at| u8::from_str_radix(&parent[at..at + 2], 16).unwrap())
        .collect();
    let occurrences = request
        .windows(16)
        .filter(|window| *window == trace)
        .count();
    assert_eq!(occurrences, 2, "both spans are of one trace");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_delays_nothing() {
    // It accepts connections and never answers.
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", collector.local_addr().unwrap());
    let telemetry = Telemetry::exporting("brain", &url).unwrap();
    let began = Instant::now();
    for _ in 0..50_000 {
        telemetry.span("propose", "").set("a", "b");
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}
