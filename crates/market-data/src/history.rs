//! Asks the venue's REST interface for what its stream does not say: the last minutes and the latest
//! trades.
//!
//! It decides nothing: what to ask for, what of an answer counts and when to ask again is for the core
//! to say. Every request ends, with an answer or with a reason.

use std::error::Error as _;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use market_data_core::{BARS_ASKED, Input, Request, TRADES_ASKED};
use portcullis_domain::Timestamp;
use portcullis_runtime::{tracing, venue_link};
use portcullis_venue::bybit::reply::{Bars, Malformed, Page, RecentTrade, Refused, Reply, read};
use portcullis_venue::bybit::{self, query_minutes, query_trades};
use portcullis_wire::Text;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::config::RestAddress;

/// The longest answer that is read, in bytes; sixty trades have about 15,000.
const BODY_LENGTH_MAX: usize = 256 * 1_024;
/// How many requests are under way at once.
const AT_ONCE_MAX: usize = 8;
/// How many requests may wait: more than two for each instrument.
const REQUESTS_MAX: usize = 256;
/// How many answers may wait for the core.
const ANSWERS_MAX: usize = 64;
/// How long an unused connection is kept: long enough for the request of the next minute.
const IDLE: Duration = Duration::from_secs(90);

/// How the venue is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its REST interface is.
    pub address: RestAddress,
    /// For a connection, TLS included.
    pub connect_timeout: Duration,
    /// For a whole request, until the last byte of its answer.
    pub timeout: Duration,
}

impl Settings {
    /// Times that leave room for a second attempt before a list of minutes is too old.
    #[must_use]
    pub const fn new(address: RestAddress) -> Self {
        Self {
            address,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(4),
        }
    }
}

/// Why nobody can be asked.
#[derive(Debug, Error)]
pub enum SetupError {
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be set up.
    #[error("set up the HTTP client")]
    Client(#[from] reqwest::Error),
}

/// Why a request has no answer.
#[derive(Debug, Error)]
enum Unanswered {
    #[error("ask the venue")]
    Ask(#[source] reqwest::Error),
    #[error("read the venue's answer")]
    Read(#[source] reqwest::Error),
    #[error("the venue's answer has more than {BODY_LENGTH_MAX} bytes")]
    TooLong,
    #[error("the venue answered with HTTP {0}")]
    Status(u16),
    #[error("the venue's answer is not usable")]
    Malformed(#[source] Malformed),
    #[error("the venue's answer does not say when it was given")]
    Timeless,
    #[error(transparent)]
    Refused(Refused),
}

impl Unanswered {
    fn detail(&self) -> Text {
        let mut said = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            said = format!("{said}: {error}");
            cause = error.source();
        }
        Text::lossy(&said)
    }
}

/// Both ends of the queues.
#[derive(Debug)]
pub struct History {
    /// What the venue answers, and what it does not.
    pub answers: mpsc::Receiver<Input>,
    requests: mpsc::Sender<Request>,
}

impl History {
    /// Starts the task that asks; it ends when this value is dropped.
    ///
    /// # Errors
    /// [`SetupError`] when the libraries cannot be set up.
    pub fn start(settings: &Settings) -> Result<Self, SetupError> {
        let venue = Venue::new(settings)?;
        let (requests, waiting) = mpsc::channel(REQUESTS_MAX);
        let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(async move {
            let waiting = stream::unfold(waiting, async |mut waiting: mpsc::Receiver<Request>| {
                let request = waiting.recv().await?;
                Some((request, waiting))
            });
            let answered = waiting
                .map(|request| venue.ask(request))
                .buffer_unordered(AT_ONCE_MAX);
            let mut answered = std::pin::pin!(answered);
            while let Some(input) = answered.next().await {
                if answers.send(input).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            answers: receiver,
            requests,
        })
    }

    /// Hands a request on. `false` when too many wait: there will be no answer to it.
    pub fn ask(&self, request: Request) -> bool {
        self.requests.try_send(request).is_ok()
    }
}

struct Venue {
    client: reqwest::Client,
    address: RestAddress,
}

impl Venue {
    fn new(settings: &Settings) -> Result<Self, SetupError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(venue_link::tls()?)
            .https_only(settings.address.is_encrypted())
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            // When to ask again is for the core to say.
            .retry(reqwest::retry::never())
            // The environment must not be able to put somebody in between.
            .no_proxy()
            .referer(false)
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE)
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .user_agent("portcullis")
            .build()?;
        Ok(Self {
            client,
            address: settings.address.clone(),
        })
    }

    async fn ask(&self, request: Request) -> Input {
        self.try_ask(request).await.unwrap_or_else(|unanswered| {
            let detail = unanswered.detail();
            tracing::warn!(?request, detail = detail.as_str(), "no answer of the venue");
            Input::Unanswered { request, detail }
        })
    }

    async fn try_ask(&self, request: Request) -> Result<Input, Unanswered> {
        match request {
            Request::Minutes(symbol) => {
                let query = query_minutes(symbol, BARS_ASKED);
                let (answered_at, bars) = self.read::<Bars>(&query).await?;
                Ok(Input::Minutes {
                    symbol,
                    answered_at,
                    bars,
                })
            }
            Request::Trades(symbol) => {
                let query = query_trades(symbol, TRADES_ASKED);
                let (_, page) = self.read::<Page<RecentTrade>>(&query).await?;
                Ok(Input::Trades {
                    symbol,
                    trades: page.list,
                })
            }
        }
    }

    /// The result of an answer, and when it was given by the venue's clock.
    async fn read<T: DeserializeOwned>(
        &self,
        query: &bybit::Request,
    ) -> Result<(Timestamp, T), Unanswered> {
        let url = self.address.request(query.path, &query.payload);
        let response = self.client.get(url).send().await;
        let response = response.map_err(|error| Unanswered::Ask(error.without_url()))?;
        let status = response.status();
        if status != reqwest::StatusCode::OK {
            return Err(Unanswered::Status(status.as_u16()));
        }
        let body = body_of(response).await?;
        let Reply { time, outcome } = read::<T>(&body).map_err(Unanswered::Malformed)?;
        let result = outcome.map_err(Unanswered::Refused)?;
        Ok((time.ok_or(Unanswered::Timeless)?, result))
    }
}

async fn body_of(mut response: reqwest::Response) -> Result<Vec<u8>, Unanswered> {
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| Unanswered::Read(error.without_url()))?;
        let Some(chunk) = chunk else { return Ok(body) };
        if body.len().saturating_add(chunk.len()) > BODY_LENGTH_MAX {
            return Err(Unanswered::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
}
