//! A server that answers as badly as it is told to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use execution::bybit::{Endpoint, RestClient, SignedHeaders, Timeouts};
use portcullis_domain::{OrderId, Symbol};
use portcullis_runtime::venue_link::PlainText;
use portcullis_venue::bybit::{Request, cancel};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of a request once it was read to its end.
#[derive(Clone, Debug)]
pub enum Act {
    /// This is written, byte for byte, and the connection stays.
    Answer(String),
    /// This is written, and the connection closes.
    AnswerAndClose(String),
    /// Nothing is written, and the connection closes.
    Close,
    /// Nothing is written, and the connection stays.
    Hang,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// On which connection, from 0.
    pub connection: usize,
    /// Request line and headers.
    pub head: String,
    /// The body.
    pub body: String,
}

/// A listener on a port that the system chose; it ends with this value.
pub struct Server {
    pub port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(act: impl Fn(&Received) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (log, act) = (Arc::clone(&received), Arc::new(act));
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(
                    socket,
                    connection,
                    Arc::clone(&log),
                    Arc::clone(&act),
                ));
            }
        });
        Self {
            port,
            received,
            task,
        }
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub fn client(&self) -> RestClient {
        client(&format!("http://127.0.0.1:{}", self.port))
    }
}

async fn serve(
    mut socket: TcpStream,
    connection: usize,
    log: Arc<Mutex<Vec<Received>>>,
    act: Arc<impl Fn(&Received) -> Act>,
) {
    let mut pending = Vec::new();
    while let Some(request) = read(&mut socket, &mut pending, connection).await {
        log.lock().unwrap().push(request.clone());
        match act(&request) {
            Act::Answer(text) => {
                // A client that has gone away needs no answer.
                let _ = socket.write_all(text.as_bytes()).await;
            }
            Act::AnswerAndClose(text) => {
                let _ = socket.write_all(text.as_bytes()).await;
                return;
            }
            Act::Close => return,
            Act::Hang => std::future::pending().await,
        }
    }
}

/// Reads one whole request; `None` at the end of the connection.
async fn read(
    socket: &mut TcpStream,
    pending: &mut Vec<u8>,
    connection: usize,
) -> Option<Received> {
    loop {
        let text = String::from_utf8_lossy(pending).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if rest.len() >= length {
                let body = rest[..length].to_owned();
                pending.drain(..head.len() + 4 + length);
                return Some(Received {
                    connection,
                    head: head.to_owned(),
                    body,
                });
            }
        }
        if socket.read_buf(pending).await.ok()? == 0 {
            return None;
        }
    }
}

/// An answer with status 200.
pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn client(address: &str) -> RestClient {
    let timeouts = Timeouts {
        connect: Duration::from_secs(2),
        total: Duration::from_millis(2_500),
    };
    RestClient::new(
        Endpoint::rest(address, PlainText::Anywhere).unwrap(),
        timeouts,
    )
    .unwrap()
}

/// A request that must not happen twice; each with its own id.
pub fn request(id: u8) -> Request {
    cancel(Symbol::new("BTCUSDT").unwrap(), OrderId([id; 16]))
}

pub fn signed() -> SignedHeaders {
    SignedHeaders {
        api_key: "key-of-a-test".to_owned(),
        timestamp_ms: 1_700_000_000_123,
        signature: "ab".repeat(32),
    }
}
