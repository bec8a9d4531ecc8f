//! Keeps one connection to the venue's public stream.
//!
//! It reads and writes and decides nothing: what came is handed on, a lost connection is made anew,
//! and when to subscribe again is for the core to say. When nobody takes the messages, it stops
//! reading; the venue then cuts the connection, which starts the books afresh.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use market_data_core::Input;
use portcullis_domain::Symbol;
use portcullis_runtime::{Backoff, tracing, venue_link};
use portcullis_venue::bybit::reply::read_public;
use portcullis_wire::Text;
use rustls::ClientConfig;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{Connector as Tls, MaybeTlsStream, WebSocketStream};

use crate::config::{Depth, StreamAddress};

/// The longest message, in bytes; a snapshot of 500 levels a side has about 20,000.
const MESSAGE_LENGTH_MAX: usize = 1 << 20;
/// The venue takes so many topics in one request.
const TOPICS_PER_REQUEST: usize = 10;
/// How many messages may wait for the core.
const EVENTS_MAX: usize = 1_024;
/// How many commands may wait for the connection.
const COMMANDS_MAX: usize = 256;
const PING: &str = r#"{"op":"ping"}"#;

/// How the connection is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the stream is.
    pub address: StreamAddress,
    /// What is subscribed to.
    pub symbols: Vec<Symbol>,
    /// How deep the books are.
    pub depth: Depth,
    /// For connecting, and for each message that is sent.
    pub step_timeout: Duration,
    /// How often the venue is pinged; its advice is 20 s.
    pub ping_interval: Duration,
    /// The first wait before connecting again.
    pub backoff_first: Duration,
    /// The longest wait before connecting again.
    pub backoff_longest: Duration,
}

impl Settings {
    /// The venue's advice, and waits that stay far below its 500 connections in five minutes.
    #[must_use]
    pub const fn new(address: StreamAddress, symbols: Vec<Symbol>, depth: Depth) -> Self {
        Self {
            address,
            symbols,
            depth,
            step_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(20),
            backoff_first: Duration::from_millis(500),
            backoff_longest: Duration::from_secs(15),
        }
    }
}

/// What came, and on which connection.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number of the connection, from 1.
    pub connection: u64,
    /// What came.
    pub input: Input,
}

/// What the core wants of a connection. A command for a connection that is gone is forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// The number of the connection.
    pub connection: u64,
    /// What.
    pub order: Order,
}

/// See [`Command`].
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Unsubscribe from a book and subscribe to it again.
    Resubscribe(Symbol),
    /// Cut the connection; the next one is made after a wait.
    Reconnect,
}

/// Both ends of the connector's queues.
#[derive(Debug)]
pub struct Connector {
    /// What the venue says.
    pub events: mpsc::Receiver<Event>,
    commands: mpsc::Sender<Command>,
}

impl Connector {
    /// Starts the task that keeps the connection; it ends when this value is dropped. A venue that
    /// cannot be reached is said in the log and as [`Input::Disconnected`], and tried again for ever.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn start(settings: Settings) -> Result<Self, rustls::Error> {
        let tls = Arc::new(venue_link::tls()?);
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let (sender, mut commands) = mpsc::channel(COMMANDS_MAX);
        tokio::spawn(async move {
            let gone = events.clone();
            tokio::select! {
                () = keep(&settings, &tls, &events, &mut commands) => {}
                () = gone.closed() => {}
            }
        });
        Ok(Self {
            events: receiver,
            commands: sender,
        })
    }

    /// Hands a command to the connection. `false` when too many wait; the core asks again by itself.
    pub fn command(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }
}

/// Why a connection ended.
#[derive(Debug, Error)]
enum Lost {
    #[error("connect to {address}")]
    Connect {
        address: String,
        #[source]
        cause: tungstenite::Error,
    },
    #[error("{0} took too long")]
    TimedOut(&'static str),
    #[error("send")]
    Send(#[source] tungstenite::Error),
    #[error("receive")]
    Receive(#[source] tungstenite::Error),
    #[error("the venue closed the stream")]
    Closed,
    #[error("given up")]
    GivenUp,
    #[error("nobody listens any more")]
    NobodyListens,
}

impl Lost {
    fn detail(&self) -> Text {
        match self.source() {
            Some(cause) => Text::lossy(&format!("{self}: {cause}")),
            None => Text::lossy(&self.to_string()),
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn keep(
    settings: &Settings,
    tls: &Arc<ClientConfig>,
    events: &mpsc::Sender<Event>,
    commands: &mut mpsc::Receiver<Command>,
) {
    let mut backoff = Backoff::new(settings.backoff_first, settings.backoff_longest);
    let mut connection = 0_u64;
    loop {
        connection = connection.saturating_add(1);
        let started = Instant::now();
        let lost = match open(settings, tls).await {
            Ok(mut socket) => {
                let lost = serve(settings, &mut socket, connection, events, commands).await;
                // It is given up either way; the venue hears of it when it still listens.
                let _ = timeout(settings.step_timeout, socket.close(None)).await;
                lost
            }
            Err(lost) => lost,
        };
        if started.elapsed() > settings.backoff_longest {
            backoff.reset();
        }
        let detail = lost.detail();
        let wait = backoff.wait();
        let retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            detail = detail.as_str(),
            retry_in_ms,
            "no market data stream"
        );
        let event = Event {
            connection,
            input: Input::Disconnected { detail },
        };
        if events.send(event).await.is_err() {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

async fn open(settings: &Settings, tls: &Arc<ClientConfig>) -> Result<Socket, Lost> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_LENGTH_MAX))
        .max_frame_size(Some(MESSAGE_LENGTH_MAX));
    let connector = if settings.address.is_encrypted() {
        Tls::Rustls(Arc::clone(tls))
    } else {
        Tls::Plain
    };
    let address = settings.address.as_str();
    let connect = tokio_tungstenite::connect_async_tls_with_config(
        address,
        Some(limits),
        true,
        Some(connector),
    );
    let (socket, _) = timeout(settings.step_timeout, connect)
        .await
        .map_err(|_| Lost::TimedOut("connecting"))?
        .map_err(|cause| Lost::Connect {
            address: address.to_owned(),
            cause,
        })?;
    Ok(socket)
}

async fn send(settings: &Settings, socket: &mut Socket, text: String) -> Result<(), Lost> {
    timeout(settings.step_timeout, socket.send(Message::text(text)))
        .await
        .map_err(|_| Lost::TimedOut("sending"))?
        .map_err(Lost::Send)
}

/// Subscribes to everything and hands on what comes, until the connection is lost.
async fn serve(
    settings: &Settings,
    socket: &mut Socket,
    connection: u64,
    events: &mpsc::Sender<Event>,
    commands: &mut mpsc::Receiver<Command>,
) -> Lost {
    match try_serve(settings, socket, connection, events, commands).await {
        Ok(never) => match never {},
        Err(lost) => lost,
    }
}

async fn try_serve(
    settings: &Settings,
    socket: &mut Socket,
    connection: u64,
    events: &mpsc::Sender<Event>,
    commands: &mut mpsc::Receiver<Command>,
) -> Result<std::convert::Infallible, Lost> {
    let books = settings
        .symbols
        .iter()
        .map(|symbol| book_topic(settings.depth, *symbol));
    let trades = settings
        .symbols
        .iter()
        .map(|symbol| format!("publicTrade.{symbol}"));
    let topics: Vec<_> = books.chain(trades).collect();
    for topics in topics.chunks(TOPICS_PER_REQUEST) {
        send(settings, socket, request("subscribe", topics)).await?;
    }
    hand_on(events, connection, Input::Connected).await?;
    tracing::info!(
        connection,
        address = settings.address.as_str(),
        "market data stream connected"
    );
    let mut pings = tokio::time::interval(settings.ping_interval);
    pings.reset();
    loop {
        tokio::select! {
            message = socket.next() => {
                let message = message.ok_or(Lost::Closed)?.map_err(Lost::Receive)?;
                if let Some(input) = input_of(&message)? {
                    hand_on(events, connection, input).await?;
                }
            }
            command = commands.recv() => {
                let Some(command) = command else { return Err(Lost::NobodyListens) };
                if command.connection == connection {
                    obey(settings, socket, command.order).await?;
                }
            }
            _ = pings.tick() => send(settings, socket, PING.to_owned()).await?,
        }
    }
}

async fn hand_on(events: &mpsc::Sender<Event>, connection: u64, input: Input) -> Result<(), Lost> {
    events
        .send(Event { connection, input })
        .await
        .map_err(|_| Lost::NobodyListens)
}

fn input_of(message: &Message) -> Result<Option<Input>, Lost> {
    let bytes: &[u8] = match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        // The library answers pings itself.
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(None),
        Message::Close(_) => return Err(Lost::Closed),
    };
    Ok(Some(match read_public(bytes) {
        Ok(message) => Input::Message(message),
        Err(error) => Input::Unreadable {
            detail: Text::lossy(&error.to_string()),
        },
    }))
}

async fn obey(settings: &Settings, socket: &mut Socket, order: Order) -> Result<(), Lost> {
    match order {
        Order::Resubscribe(symbol) => {
            let topic = [book_topic(settings.depth, symbol)];
            send(settings, socket, request("unsubscribe", &topic)).await?;
            send(settings, socket, request("subscribe", &topic)).await
        }
        Order::Reconnect => Err(Lost::GivenUp),
    }
}

fn book_topic(depth: Depth, symbol: Symbol) -> String {
    format!("orderbook.{}.{symbol}", depth.levels())
}

/// Topics consist of characters that JSON needs no escapes for.
fn request(operation: &str, topics: &[String]) -> String {
    format!(
        r#"{{"op":"{operation}","args":["{}"]}}"#,
        topics.join(r#"",""#)
    )
}
