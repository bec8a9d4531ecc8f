//! What the tests of this crate share.

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis_domain::{
    Fill, OrderId, Price, Quantity, Side, Symbol, Timestamp, Usd, VenueExecutionId,
};
use portcullis_runtime::{Inbox, Raw, Service, ServiceArgs, ServiceRole};
use portcullis_testkit::bus::{BusServer, PATIENCE};

use crate::raw::{Message, RawConnection};

/// Arguments of a service with a state folder beside the server's.
pub fn service_args(server: &BusServer, name: &str) -> ServiceArgs {
    ServiceArgs {
        config: "unused".into(),
        identity: server.identity(name),
        identity_key: None,
        state: server.folder().join("state").join(name),
        bus: server.url(),
        health: ([127, 0, 0, 1], 0).into(),
        health_port_file: None,
        otlp: None,
    }
}

pub async fn service<P: ServiceRole>(server: &BusServer, name: &str) -> Service<P> {
    Service::start(&service_args(server, name)).await.unwrap().0
}

pub async fn recv(inbox: &mut Inbox) -> Raw {
    tokio::time::timeout(Duration::from_secs(10), inbox.recv())
        .await
        .unwrap()
        .unwrap()
}

/// A fill that differs from every other by its number.
pub fn fill(number: u64) -> Fill {
    Fill {
        execution: VenueExecutionId::new(&format!("fill-{number}")).unwrap(),
        order: OrderId([7; 16]),
        venue_order: "venue-order".parse().unwrap(),
        symbol: Symbol::new("BTCUSDT").unwrap(),
        side: Side::Buy,
        price: "65000.5".parse::<Price>().unwrap(),
        quantity: "0.001".parse::<Quantity>().unwrap(),
        fee: "0.0357".parse::<Usd>().unwrap(),
        venue_time: Timestamp(1_700_000_000_000_000 + number),
    }
}

/// The next message that comes.
pub fn until_message(connection: &mut RawConnection) -> Message {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let answer = connection.say("");
        assert_eq!(answer.errors, Vec::<String>::new());
        if let Some(message) = answer.messages.into_iter().next() {
            return message;
        }
        assert!(std::time::Instant::now() < deadline, "no message came");
    }
}

/// The subjects of which one half was denied: `Publish` or `Subscription`.
pub fn denied(errors: &[String], half: &str) -> BTreeSet<String> {
    let denials = errors.iter().filter(|error| {
        error.contains("Permissions Violation") && error.contains(&format!("for {half}"))
    });
    denials
        .map(|error| error.split('"').nth(1).unwrap().to_owned())
        .collect()
}

/// A number in what the server answers; 0 where there is none.
pub fn number_of(answer: &serde_json::Value, path: &str) -> u64 {
    answer
        .pointer(path)
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(0)
}

/// Status code and body of a plain HTTP request.
pub async fn http_get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

/// The value of a metric, over all of its labels.
pub fn metric(text: &str, name: &str) -> Option<u64> {
    let of_name = |line: &&str| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '{']))
    };
    let values = text.lines().filter(of_name);
    let values = values.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    values.reduce(|sum, value| sum + value)
}

/// What a service counted under a name.
pub async fn count<P: ServiceRole>(service: &Service<P>, name: &str) -> u64 {
    let text = http_get(service.health_address(), "/metrics").await.1;
    metric(&text, name).unwrap_or_default()
}

/// Waits until a service has counted so much.
pub async fn until_count<P: ServiceRole>(service: &Service<P>, name: &str, at_least: u64) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while count(service, name).await < at_least {
        assert!(
            std::time::Instant::now() < deadline,
            "{name} stays below {at_least}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
