//! Puts everything together: state, exchange, feeds, listeners, and the end.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{RawQuery, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::accounts::Accounts;
use crate::admin;
use crate::clock::Clock;
use crate::config::{Config, Feed};
use crate::connection::{Doorway, Peer};
use crate::engine::order::Side;
use crate::engine::protection::Watch;
use crate::engine::{Effects, Engine};
use crate::exchange::{self, CreateCounts, Exchange, SharedFaults, State};
use crate::feed::generator::Generator;
use crate::feed::{play_generator, play_replay};
use crate::journal::Journal;
use crate::limits::Limits;
use crate::rest;
use crate::ws::hub::Hub;
use crate::ws::socket::{self, IDLE_DEFAULT, Kind, MESSAGE_MAX};

/// How long open requests may take to end after a signal.
const GRACE: Duration = Duration::from_secs(2);

/// Why the exchange could not start or go on. Private causes stay behind the message.
#[derive(Debug, Error)]
pub enum RunError {
    /// The journal failed, at start or later.
    #[error("keep the state on disk")]
    State(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A listener could not be opened.
    #[error(
        "listen on {address}; if the port is taken, stop what uses it or choose another (port 0 \
         lets the system choose)"
    )]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A port file could not be written.
    #[error("write the port file {}", path.display())]
    PortFile {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A recording could not be read to its end.
    #[error("replay market data")]
    Feed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system refused something else.
    #[error("run the servers")]
    System(#[source] io::Error),
}

/// What every request needs.
#[derive(Clone)]
pub(crate) struct App {
    pub exchange: Exchange,
    pub accounts: Arc<Accounts>,
    pub clock: Arc<Clock>,
    pub faults: SharedFaults,
    limits: Arc<Mutex<Limits>>,
    symbols: Arc<BTreeSet<String>>,
}

impl App {
    /// Runs `work` with the counters. A panic elsewhere cannot leave half a change in them.
    pub(crate) fn limit<T>(&self, work: impl FnOnce(&mut Limits) -> T) -> T {
        work(&mut self.limits.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a symbol is traded here.
    pub(crate) fn lists(&self, symbol: Option<&str>) -> bool {
        symbol.is_some_and(|symbol| self.symbols.contains(symbol))
    }
}

/// Runs the exchange until a signal or a failure.
///
/// # Errors
/// When the state cannot be kept, an address is taken, or a recording is damaged.
pub async fn run(config: Config) -> Result<(), RunError> {
    let clock = Arc::new(Clock::default());
    let faults = SharedFaults::default();
    let (state, journal) = recover(&config, &clock, &faults)?;
    let listener = open(config.listen, config.port_file.as_deref()).await?;
    let admin_listener = match config.admin {
        Some(address) => Some(open(address, config.admin_port_file.as_deref()).await?),
        None => None,
    };
    let (exchange, ended) = exchange::start(state, journal).map_err(RunError::System)?;
    let symbols = config
        .instruments
        .iter()
        .map(|instrument| instrument.symbol.clone())
        .collect();
    let app = App {
        exchange: exchange.clone(),
        accounts: Arc::new(config.accounts),
        clock,
        faults,
        limits: Arc::new(Mutex::new(Limits::new(config.allowances))),
        symbols: Arc::new(symbols),
    };
    let mut feeds = JoinSet::new();
    for feed in config.feeds {
        let exchange = exchange.clone();
        match feed {
            Feed::Generate(instrument) => {
                let symbol = instrument.symbol.clone();
                let generator = Generator::new(instrument, config.seed, config.interval);
                feeds.spawn(async move {
                    play_generator(exchange, symbol, config.seed, generator).await;
                    Ok(())
                });
            }
            Feed::Replay(replay) => {
                feeds.spawn(play_replay(exchange, config.seed, replay));
            }
        }
    }
    let (stop, stopped) = watch::channel(false);
    let mut servers = JoinSet::new();
    servers.spawn(serve(listener, router(app.clone()), stopped.clone()));
    if let Some(listener) = admin_listener {
        servers.spawn(serve(listener, admin::router(app), stopped));
    }
    let signal = shutdown_signal().map_err(RunError::System)?;
    let result = tokio::select! {
        () = signal => Ok(()),
        end = ended => match end {
            Ok(Err(error)) => Err(RunError::State(Box::new(error))),
            Ok(Ok(())) | Err(_) => {
                Err(RunError::System(io::Error::other("the exchange's thread ended")))
            }
        },
        error = first_failure(&mut feeds) => Err(error),
        served = servers.join_next() => Err(RunError::System(match served {
            Some(Ok(Err(error))) => error,
            _ => io::Error::other("a listener ended"),
        })),
    };
    feeds.abort_all();
    // Sockets would otherwise keep the servers open for ever.
    exchange.tell(|state| state.hub.cut_all());
    // Receivers that are gone have stopped already.
    let _ = stop.send(true);
    let _ = tokio::time::timeout(GRACE, async {
        while servers.join_next().await.is_some() {}
    })
    .await;
    if result.is_ok() {
        tracing::info!("stopped");
    }
    result
}

/// Resolves when a recording fails; a recording that merely ends does not stop the exchange.
async fn first_failure(
    feeds: &mut JoinSet<Result<(), crate::feed::replay::ReplayError>>,
) -> RunError {
    loop {
        match feeds.join_next().await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => return RunError::Feed(Box::new(error)),
            Some(Err(error)) => return RunError::Feed(Box::new(error)),
            None => std::future::pending().await,
        }
    }
}

/// The engine as the journal left it, with every configured account open.
fn recover(
    config: &Config,
    clock: &Arc<Clock>,
    faults: &SharedFaults,
) -> Result<(State, Option<Journal>), RunError> {
    let mut engine = Engine::new(config.rules.clone(), config.instruments.clone());
    let mut journal = None;
    let (mut recovered_events, mut torn_bytes) = (0, 0);
    if let Some(directory) = &config.state {
        let (opened, recovered) =
            Journal::open(directory).map_err(|error| RunError::State(Box::new(error)))?;
        (recovered_events, torn_bytes) = (recovered.events.len(), recovered.torn_bytes);
        engine.replay(recovered.events);
        journal = Some(opened);
    }
    let mut effects = Effects::default();
    for (_, credential) in config.accounts.iter() {
        engine.open_account(&credential.account, credential.balance, &mut effects);
    }
    if let Some(journal) = journal.as_mut().filter(|_| !effects.events.is_empty()) {
        journal
            .commit(&effects.events)
            .map_err(|error| RunError::State(Box::new(error)))?;
    }
    tracing::info!(
        listen = %config.listen,
        admin = config.admin.map(|admin| admin.to_string()),
        symbols = ?config.instruments.iter().map(|known| known.symbol.as_str()).collect::<Vec<_>>(),
        accounts = config.accounts.iter().count(),
        state = config.state.as_ref().map(|path| path.display().to_string()),
        recovered_events,
        torn_bytes,
        "paper exchange starts"
    );
    let watch = Watch::after_start(&engine, Instant::now());
    let state = State {
        engine,
        watch,
        hub: Hub::default(),
        clock: Arc::clone(clock),
        faults: faults.clone(),
        effects: Effects::default(),
        requests: CreateCounts::default(),
    };
    Ok((state, journal))
}

async fn open(address: SocketAddr, port_file: Option<&Path>) -> Result<TcpListener, RunError> {
    let fail = |cause| RunError::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let port = listener.local_addr().map_err(fail)?.port();
    if let Some(path) = port_file {
        let fail = |cause| RunError::PortFile {
            path: path.to_owned(),
            cause,
        };
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let fresh = PathBuf::from(name);
        std::fs::write(&fresh, format!("{port}\n")).map_err(fail)?;
        // Renaming shows readers all of it or nothing.
        std::fs::rename(&fresh, path).map_err(fail)?;
    }
    if address.port() == 0 {
        tracing::info!(port, "the system chose a port");
    }
    Ok(listener)
}

async fn serve(
    listener: TcpListener,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(Doorway::new(listener)?, service)
        .with_graceful_shutdown(async move {
            // A sender that is gone means the same.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        })
        .await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/v5/public/linear", get(public_socket))
        .route("/v5/private", get(private_socket))
        .fallback(rest::handle)
        .with_state(app)
}

/// Healthy once every market has a bid and an ask.
async fn health(Extract(app): Extract<App>) -> Response {
    let ready = app
        .exchange
        .run(|state| {
            state.engine.markets().all(|market| {
                market.book.touch(Side::Buy).is_some() && market.book.touch(Side::Sell).is_some()
            })
        })
        .await;
    match ready {
        Ok(true) => Json(json!({ "status": "ok" })).into_response(),
        Ok(false) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "status": "waiting for market data" })),
        )
            .into_response(),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "status": "stopped" })),
        )
            .into_response(),
    }
}

async fn public_socket(
    Extract(app): Extract<App>,
    RawQuery(query): RawQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgraded(app, Kind::Public, query, upgrade)
}

async fn private_socket(
    Extract(app): Extract<App>,
    RawQuery(query): RawQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgraded(app, Kind::Private, query, upgrade)
}

fn upgraded(app: App, kind: Kind, query: Option<String>, upgrade: WebSocketUpgrade) -> Response {
    let idle = query
        .as_deref()
        .and_then(socket::idle_of)
        .unwrap_or(IDLE_DEFAULT);
    upgrade
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        .on_upgrade(move |socket| socket::serve(app, kind, idle, socket))
}

fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
