//! Listens to what becomes of the account's orders.
//!
//! ```text
//!  connect ──▶ log in ──▶ subscribe ──▶ Connected ──▶ Order, Execution … ──▶ Disconnected ─╮
//!     ╰───────────────────────────── after a wait ◀────────────────────────────────────────╯
//! ```
//!
//! The venue does not repeat what a client missed, so a loss is never hidden: after each `Connected`,
//! and after each `Malformed`, the listener must reconcile. When it does not take the events as fast
//! as they come, the connection is given up rather than one of them left out.
//!
//! Where the venue offers to cancel everything once the stream is gone, the stream subscribes the
//! topic that makes it count for that. It does so apart from the others, and a refusal ends nothing:
//! only few accounts have it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use portcullis_runtime::{Backoff, jitter, venue_link};
use portcullis_venue::bybit::VenueError;
use portcullis_venue::bybit::reply::{
    Execution, OrderInfo, PrivateMessage, StreamOperation, read_private,
};
use portcullis_venue::retry::{Kind, Pace};
use portcullis_wire::Text;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use super::endpoint::Endpoint;

/// The longest message, in bytes.
const MESSAGE_LENGTH_MAX: usize = 1 << 20;
/// So many unreadable messages on one connection, and it is not the venue's stream.
const MALFORMED_MAX: u32 = 8;
/// Where it is, below the address of the streams.
const PATH: &str = "/v5/private";
/// What is listened to.
const SUBSCRIBE: &str = r#"{"op":"subscribe","args":["order.linear","execution.linear"]}"#;
/// What makes the venue cancel everything once the connection is gone.
const WATCH: &str = r#"{"op":"subscribe","args":["dcp.future"]}"#;
const PING: &str = r#"{"op":"ping"}"#;

/// How the stream is kept.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// Where the venue's streams are.
    pub endpoint: Endpoint,
    /// For each step towards a working stream: connecting, login, each message that is sent.
    pub step_timeout: Duration,
    /// How often the venue is asked whether it is there; its advice is 20 s.
    pub ping_interval: Duration,
    /// After so long without a word the connection is given up; longer than the interval of pings.
    pub silence_max: Duration,
    /// The first wait after a connection that worked, and after a login for which there was no
    /// signature; it doubles while connections do not last.
    pub backoff_first: Duration,
    /// The longest of these.
    pub backoff_longest: Duration,
    /// The waits while the venue cannot be reached or lets nobody in.
    pub pace: Pace,
    /// How many events may wait for the listener.
    pub capacity: usize,
    /// Whether the connection asks to count for the venue's cancelling once it is gone.
    pub watches: bool,
}

impl StreamSettings {
    /// The venue's advice, and waits that stay far below its 500 connections in five minutes.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            step_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(20),
            silence_max: Duration::from_secs(30),
            backoff_first: Duration::from_millis(500),
            backoff_longest: Duration::from_secs(30),
            pace: Pace::VENUE,
            capacity: 4_096,
            watches: false,
        }
    }
}

/// A signed permission to listen.
#[derive(Clone)]
pub struct Login {
    /// The public name of the venue key.
    pub api_key: String,
    /// Until when the permission is valid, in milliseconds since the epoch by the venue's clock.
    pub expires_ms: u64,
    /// The signature over it.
    pub signature: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// From now on every event will come. Whatever happened before is for a reconciliation to find.
    Connected,
    /// Events are missing from here on.
    Disconnected {
        /// Why, in words.
        detail: Text,
    },
    /// Once this connection is gone for too long, the venue cancels everything; or it refused to, and
    /// why.
    Watched(Result<(), Text>),
    /// An order changed.
    Order(Box<OrderInfo>),
    /// Something was executed.
    Execution(Box<Execution>),
    /// Something was said that cannot be read; it may have been an event.
    Malformed {
        /// What is wrong with it, in words.
        detail: Text,
    },
}

/// The private stream; a task that runs until the listener is gone.
#[derive(Debug)]
pub struct PrivateStream;

impl PrivateStream {
    /// Starts listening. `login` obtains a signed permission; it is called for each connection, and
    /// its error, in words, is said in [`StreamEvent::Disconnected`].
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn start<F, L>(
        settings: StreamSettings,
        login: F,
    ) -> Result<mpsc::Receiver<StreamEvent>, rustls::Error>
    where
        F: Fn() -> L + Send + Sync + 'static,
        L: Future<Output = Result<Login, String>> + Send,
    {
        let tls = Arc::new(venue_link::tls()?);
        let (events, listener) = mpsc::channel(settings.capacity.max(1));
        tokio::spawn(async move {
            let gone = events.clone();
            let keep = keep(&settings, &tls, &login, &events);
            tokio::select! {
                () = keep => {}
                () = gone.closed() => {}
            }
        });
        Ok(listener)
    }
}

/// Why a connection ended.
#[derive(Debug, Error)]
enum Lost {
    #[error("connect")]
    Connect(#[source] tungstenite::Error),
    #[error("{0} took too long")]
    TimedOut(&'static str),
    #[error("obtain a signature for the login: {0}")]
    Signature(String),
    #[error("the venue refused the {0}: {1}")]
    Refused(&'static str, String),
    #[error("send")]
    Send(#[source] tungstenite::Error),
    #[error("receive")]
    Receive(#[source] tungstenite::Error),
    #[error("the venue closed the stream")]
    Closed,
    #[error("nothing was heard for {} ms", .0.as_millis())]
    Silent(Duration),
    #[error("the listener did not take the events in time")]
    Overflow,
    #[error("{0} unreadable messages")]
    Garbage(u32),
}

impl Lost {
    fn detail(&self) -> Text {
        use std::error::Error as _;
        match self.source() {
            Some(cause) => Text::lossy(&format!("{self}: {cause}")),
            None => Text::lossy(&self.to_string()),
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn keep<F, L>(
    settings: &StreamSettings,
    tls: &Arc<rustls::ClientConfig>,
    login: &F,
    events: &mpsc::Sender<StreamEvent>,
) where
    F: Fn() -> L,
    L: Future<Output = Result<Login, String>>,
{
    let mut backoff = Backoff::new(settings.backoff_first, settings.backoff_longest);
    let mut failed = 0_u32;
    loop {
        let started = Instant::now();
        let mut stage = Stage::LoggingIn;
        let lost = match open(settings, tls, login).await {
            Ok(socket) => listen(settings, socket, &mut stage, events).await,
            Err(lost) => lost,
        };
        let worked = matches!(stage, Stage::Watching | Stage::Listening);
        // A connection that lasted was a good one; one that keeps breaking at once is not retried
        // ever faster.
        if started.elapsed() > settings.silence_max {
            backoff.reset();
        }
        let wait = if worked || matches!(lost, Lost::Signature(_)) {
            failed = 0;
            backoff.wait()
        } else {
            failed = failed.saturating_add(1);
            wait_for_venue(settings.pace, failed)
        };
        // Waits for room: this must not get lost.
        if events
            .send(StreamEvent::Disconnected {
                detail: lost.detail(),
            })
            .await
            .is_err()
        {
            return;
        }
        tokio::time::sleep(wait).await;
    }
}

/// How long to wait after the venue could not be reached, or let nobody in, so many times.
fn wait_for_venue(pace: Pace, failed: u32) -> Duration {
    let wait = pace.again(Kind::Login, VenueError::Network, failed, None, jitter());
    let wait = wait.unwrap_or(pace.network_max);
    Duration::from_micros(wait.0)
}

/// Connects and logs in.
async fn open<F, L>(
    settings: &StreamSettings,
    tls: &Arc<rustls::ClientConfig>,
    login: &F,
) -> Result<Socket, Lost>
where
    F: Fn() -> L,
    L: Future<Output = Result<Login, String>>,
{
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_LENGTH_MAX))
        .max_frame_size(Some(MESSAGE_LENGTH_MAX));
    let connector = if settings.endpoint.is_encrypted() {
        Connector::Rustls(Arc::clone(tls))
    } else {
        Connector::Plain
    };
    let address = format!("{}{PATH}", settings.endpoint.as_str().trim_end_matches('/'));
    let connect = connect_async_tls_with_config(address, Some(limits), true, Some(connector));
    let (mut socket, _) = timeout(settings.step_timeout, connect)
        .await
        .map_err(|_| Lost::TimedOut("connecting"))?
        .map_err(Lost::Connect)?;
    let permission = timeout(settings.step_timeout, login())
        .await
        .map_err(|_| Lost::Signature("it took too long".to_owned()))?
        .map_err(Lost::Signature)?;
    send(settings, &mut socket, login_text(&permission)).await?;
    Ok(socket)
}

fn login_text(login: &Login) -> String {
    serde_json::json!({
        "op": "auth",
        "args": [login.api_key, login.expires_ms, login.signature],
    })
    .to_string()
}

async fn send(settings: &StreamSettings, socket: &mut Socket, text: String) -> Result<(), Lost> {
    timeout(settings.step_timeout, socket.send(Message::text(text)))
        .await
        .map_err(|_| Lost::TimedOut("sending"))?
        .map_err(Lost::Send)
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    LoggingIn,
    Subscribing,
    /// Events come already, and the venue has not said yet whether the connection counts.
    Watching,
    Listening,
}

/// Listens until the connection is lost.
async fn listen(
    settings: &StreamSettings,
    mut socket: Socket,
    stage: &mut Stage,
    events: &mpsc::Sender<StreamEvent>,
) -> Lost {
    match serve(settings, &mut socket, stage, events).await {
        Ok(never) => match never {},
        Err(lost) => {
            // The connection is given up either way; the venue hears of it when it still listens.
            let _ = timeout(settings.step_timeout, socket.close(None)).await;
            lost
        }
    }
}

async fn serve(
    settings: &StreamSettings,
    socket: &mut Socket,
    stage: &mut Stage,
    events: &mpsc::Sender<StreamEvent>,
) -> Result<std::convert::Infallible, Lost> {
    let mut stage_began = Instant::now();
    let mut heard_at = Instant::now();
    let mut malformed = 0_u32;
    let mut pings = tokio::time::interval(settings.ping_interval);
    pings.reset();
    loop {
        let deadline = match *stage {
            Stage::LoggingIn | Stage::Subscribing => stage_began + settings.step_timeout,
            Stage::Watching | Stage::Listening => heard_at + settings.silence_max,
        };
        let message = tokio::select! {
            message = socket.next() => message.ok_or(Lost::Closed)?.map_err(Lost::Receive)?,
            _ = pings.tick() => {
                send(settings, socket, PING.to_owned()).await?;
                continue;
            }
            () = tokio::time::sleep_until(deadline) => {
                return Err(match *stage {
                    Stage::LoggingIn => Lost::TimedOut("the login"),
                    Stage::Subscribing => Lost::TimedOut("the subscription"),
                    Stage::Watching | Stage::Listening => Lost::Silent(settings.silence_max),
                });
            }
        };
        heard_at = Instant::now();
        let bytes = match &message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            // The library answers pings itself.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            Message::Close(_) => return Err(Lost::Closed),
        };
        let before = *stage;
        match read_private(bytes) {
            Ok(message) => take(message, stage, settings.watches, events)?,
            Err(error) => {
                malformed = malformed.saturating_add(1);
                offer(
                    events,
                    StreamEvent::Malformed {
                        detail: Text::lossy(&error.to_string()),
                    },
                )?;
                if malformed >= MALFORMED_MAX {
                    return Err(Lost::Garbage(malformed));
                }
            }
        }
        if before != *stage {
            stage_began = Instant::now();
            match *stage {
                Stage::Subscribing => send(settings, socket, SUBSCRIBE.to_owned()).await?,
                Stage::Watching => send(settings, socket, WATCH.to_owned()).await?,
                Stage::LoggingIn | Stage::Listening => {}
            }
        }
    }
}

/// Acts on a message of the venue.
fn take(
    message: PrivateMessage,
    stage: &mut Stage,
    watches: bool,
    events: &mpsc::Sender<StreamEvent>,
) -> Result<(), Lost> {
    match message {
        PrivateMessage::Answered {
            operation,
            success,
            message,
        } => match (operation, *stage) {
            (StreamOperation::Login, Stage::LoggingIn) => {
                *stage = Stage::Subscribing;
                granted("login", success, message.as_str())
            }
            (StreamOperation::Subscribe, Stage::Subscribing) => {
                granted("subscription", success, message.as_str())?;
                *stage = if watches {
                    Stage::Watching
                } else {
                    Stage::Listening
                };
                offer(events, StreamEvent::Connected)
            }
            (StreamOperation::Subscribe, Stage::Watching) => {
                *stage = Stage::Listening;
                let watched = if success {
                    Ok(())
                } else {
                    Err(Text::lossy(message.as_str()))
                };
                offer(events, StreamEvent::Watched(watched))
            }
            (
                StreamOperation::Login
                | StreamOperation::Subscribe
                | StreamOperation::Unsubscribe
                | StreamOperation::Ping,
                _,
            ) => granted("request", success, message.as_str()),
        },
        PrivateMessage::Orders(pushed) => pushed
            .data
            .into_iter()
            .try_for_each(|order| offer(events, StreamEvent::Order(Box::new(order)))),
        PrivateMessage::Executions(pushed) => pushed
            .data
            .into_iter()
            .try_for_each(|execution| offer(events, StreamEvent::Execution(Box::new(execution)))),
        // Nobody subscribed to these; positions and balances are read in a reconciliation.
        PrivateMessage::Positions(_)
        | PrivateMessage::Wallets(_)
        | PrivateMessage::CancelOnDisconnect => Ok(()),
    }
}

fn granted(what: &'static str, success: bool, message: &str) -> Result<(), Lost> {
    if success {
        Ok(())
    } else {
        Err(Lost::Refused(what, message.to_owned()))
    }
}

/// Hands an event to the listener, or gives the connection up: a reconciliation finds what is left
/// out, a silent loss nobody does.
fn offer(events: &mpsc::Sender<StreamEvent>, event: StreamEvent) -> Result<(), Lost> {
    events.try_send(event).map_err(|_| Lost::Overflow)
}
