//! Sends signed requests, each at most once.
//!
//! Whether a request could have had an effect is the one thing that must never be guessed, so there
//! are two errors: [`SendError::NotSent`] only when no connection came about, and
//! [`SendError::Unknown`] for everything after that. Nothing here is ever sent twice: there is no
//! retry policy, no redirect is followed, no proxy stands between. The HTTP library itself picks
//! another connection in one case alone: when an idle connection turns out to be closed before the
//! first byte of the request was written to it. That it cannot be told not to; it is the same as
//! having connected afresh at once, and the tests count what arrives.

use std::time::Duration;

use portcullis_runtime::venue_link;
use portcullis_venue::bybit::{Method, RECV_WINDOW_MS, Request};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

use super::endpoint::Endpoint;

/// The longest answer that is read, in bytes.
const BODY_LENGTH_MAX: usize = 1 << 20;

/// How long an unused connection is kept; venues close them after about a minute.
const IDLE: Duration = Duration::from_secs(30);

const API_KEY: HeaderName = HeaderName::from_static("x-bapi-api-key");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-bapi-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-bapi-sign");
const RECV_WINDOW: HeaderName = HeaderName::from_static("x-bapi-recv-window");

/// How long to wait for the venue.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the whole request, until the last byte of the answer.
    pub total: Duration,
}

/// What makes a request one of ours.
#[derive(Clone)]
pub struct SignedHeaders {
    /// The public name of the venue key.
    pub api_key: String,
    /// The time stamp that was signed, in milliseconds since the epoch.
    pub timestamp_ms: u64,
    /// The signature over it.
    pub signature: String,
}

// A signature is good for one request within seconds, and still nobody needs it in a log.
impl std::fmt::Debug for SignedHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedHeaders")
            .field("timestamp_ms", &self.timestamp_ms)
            .finish_non_exhaustive()
    }
}

/// What the venue answered, whatever it was: judging the status is the caller's business.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status; never a redirect.
    pub http_status: u16,
    /// The body, at most 1 MiB.
    pub body: Vec<u8>,
    /// What it says about the request budget.
    pub headers: LimitHeaders,
}

/// The headers about the request budget. What is missing or unreadable is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitHeaders {
    /// `X-Bapi-Limit`: how many requests to that endpoint a second are allowed.
    pub limit: Option<u32>,
    /// `X-Bapi-Limit-Status`: how many of them are left.
    pub remaining: Option<u32>,
    /// `X-Bapi-Limit-Reset-Timestamp`: when there will be more, in milliseconds by the venue's clock.
    pub reset_ms: Option<u64>,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum SendError {
    /// Nothing of the request can have reached the venue.
    #[error("nothing left this machine")]
    NotSent(#[source] NotSent),
    /// The venue may have the request, or may not. Only a query tells.
    #[error("the outcome is unknown")]
    Unknown(#[source] Unknown),
}

/// Why nothing left.
#[derive(Debug, Error)]
pub enum NotSent {
    /// The request cannot be written as it was signed.
    #[error("write the request as it was signed")]
    Unwritable,
    /// No connection came about: name, refusal, time, TLS.
    #[error("connect to the venue")]
    Connect(#[source] reqwest::Error),
}

/// Why it is not known what happened.
#[derive(Debug, Error)]
pub enum Unknown {
    /// The answer did not come in time.
    #[error("wait for the venue's answer")]
    TimedOut(#[source] reqwest::Error),
    /// The connection broke before the answer was complete.
    #[error("read the venue's answer")]
    Broken(#[source] reqwest::Error),
    /// The answer is longer than anything the venue has to say.
    #[error("the venue's answer has more than {BODY_LENGTH_MAX} bytes")]
    TooLong,
    /// Whoever answered wants the request sent elsewhere.
    #[error("the venue's answer is a redirect (HTTP {0}), which is never followed")]
    Redirected(u16),
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum SetupError {
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// The HTTP client cannot be set up.
    #[error("set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// The venue's REST interface.
#[derive(Clone, Debug)]
pub struct RestClient {
    client: reqwest::Client,
    base: Endpoint,
}

impl RestClient {
    /// Sets up a client; connects to nothing yet.
    ///
    /// # Errors
    /// [`SetupError`] when the libraries cannot be set up.
    pub fn new(base: Endpoint, timeouts: Timeouts) -> Result<Self, SetupError> {
        let tls = venue_link::tls().map_err(SetupError::Tls)?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(base.is_encrypted())
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            // The environment must not be able to put somebody in between.
            .no_proxy()
            .referer(false)
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE)
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.total)
            .user_agent("portcullis")
            .build()
            .map_err(SetupError::Client)?;
        Ok(Self { client, base })
    }

    /// Sends a signed request, once.
    ///
    /// # Errors
    /// [`SendError`] when there is no complete answer; any status but a redirect is an answer.
    pub async fn send(
        &self,
        request: &Request,
        signed: &SignedHeaders,
    ) -> Result<Reply, SendError> {
        let headers = headers_of(signed).ok_or(SendError::NotSent(NotSent::Unwritable))?;
        let (query, body) = match request.method {
            Method::Get => (Some(request.payload.as_str()), None),
            Method::Post => (None, Some(request.payload.clone())),
        };
        self.exchange(request.path, query, body, headers).await
    }

    /// Reads something public.
    ///
    /// # Errors
    /// [`SendError`] as for [`RestClient::send`].
    pub async fn read(&self, path: &str, query: Option<&str>) -> Result<Reply, SendError> {
        self.exchange(path, query, None, HeaderMap::new()).await
    }

    async fn exchange(
        &self,
        path: &str,
        query: Option<&str>,
        body: Option<String>,
        mut headers: HeaderMap,
    ) -> Result<Reply, SendError> {
        let url = self
            .base
            .request(path, query)
            .ok_or(SendError::NotSent(NotSent::Unwritable))?;
        let request = match body {
            Some(body) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                self.client.post(url).body(body)
            }
            None => self.client.get(url),
        };
        let response = request.headers(headers).send().await.map_err(classify)?;
        read_reply(response).await.map_err(SendError::Unknown)
    }
}

fn headers_of(signed: &SignedHeaders) -> Option<HeaderMap> {
    let mut signature = HeaderValue::from_str(&signed.signature).ok()?;
    signature.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(API_KEY, HeaderValue::from_str(&signed.api_key).ok()?);
    headers.insert(TIMESTAMP, HeaderValue::from(signed.timestamp_ms));
    headers.insert(SIGNATURE, signature);
    headers.insert(RECV_WINDOW, HeaderValue::from(RECV_WINDOW_MS));
    Some(headers)
}

/// A failed connection is the only error of the library that proves that nothing was sent.
fn classify(error: reqwest::Error) -> SendError {
    let error = error.without_url();
    if error.is_connect() {
        SendError::NotSent(NotSent::Connect(error))
    } else if error.is_timeout() {
        SendError::Unknown(Unknown::TimedOut(error))
    } else {
        SendError::Unknown(Unknown::Broken(error))
    }
}

async fn read_reply(mut response: reqwest::Response) -> Result<Reply, Unknown> {
    let status = response.status();
    if status.is_redirection() {
        return Err(Unknown::Redirected(status.as_u16()));
    }
    let headers = LimitHeaders::read(response.headers());
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| {
            let error = error.without_url();
            if error.is_timeout() {
                Unknown::TimedOut(error)
            } else {
                Unknown::Broken(error)
            }
        })?;
        let Some(chunk) = chunk else { break };
        if body.len().saturating_add(chunk.len()) > BODY_LENGTH_MAX {
            return Err(Unknown::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply {
        http_status: status.as_u16(),
        body,
        headers,
    })
}

impl LimitHeaders {
    fn read(headers: &HeaderMap) -> Self {
        Self {
            limit: number(headers, "x-bapi-limit"),
            remaining: number(headers, "x-bapi-limit-status"),
            reset_ms: number(headers, "x-bapi-limit-reset-timestamp"),
            retry_after_s: number(headers, "retry-after"),
        }
    }
}

fn number<N: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<N> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}
