//! The way to the venue, without the venue's keys.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portcullis_domain::Order;
use portcullis_venue::bybit::{Action, RECV_WINDOW_MS, request_of};
use serde_json::Value;

use crate::stolen::now;

/// The body of the request that places an order.
#[must_use]
pub fn body_of(order: &Order) -> String {
    request_of(&Action::Place(order)).payload
}

/// The venue's time, which here is ours.
#[must_use]
pub fn now_ms() -> u64 {
    now().0 / 1_000
}

/// Sends a request to place an order; gives back the venue's answer.
///
/// # Errors
/// When nobody answers.
pub fn post_order(
    port: u16,
    body: &str,
    api_key: &str,
    signature: &str,
    timestamp_ms: u64,
) -> Result<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("reach the venue")?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "POST /v5/order/create HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         X-BAPI-API-KEY: {api_key}\r\nX-BAPI-SIGN: {signature}\r\nX-BAPI-TIMESTAMP: {timestamp_ms}\r\n\
         X-BAPI-RECV-WINDOW: {RECV_WINDOW_MS}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    serde_json::from_str(body).context("read the venue's answer")
}

/// The code of a refusal.
///
/// # Errors
/// When it was none.
pub fn refusal(answer: &Value, way: &str) -> Result<String> {
    let code = answer.get("retCode").and_then(Value::as_i64);
    let code = code.context("a code of the venue")?;
    ensure!(code != 0, "{way}: the venue took it: {answer}");
    Ok(code.to_string())
}
