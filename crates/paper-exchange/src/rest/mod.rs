//! The REST side: one door for every request, in which faults, limits and signatures come before
//! the endpoint.

mod account;
mod market;
pub(crate) mod orders;
pub(crate) mod params;

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::auth::{self, Signed};
use crate::connection::Peer;
use crate::engine::refusal::Refusal;
use crate::exchange::Stopped;
use crate::faults::Kind;
use crate::limits::{Budget, Class};
use crate::server::App;
use params::Params;

/// Largest body a client may send, in bytes.
const BODY_MAX: usize = 64 * 1_024;

/// How a request ended.
enum Outcome {
    /// `retCode` 0 with this result.
    Done(Value),
    Refused(Refusal),
    /// The exchange has stopped: whether it was done is unknown.
    Lost,
}

impl From<Result<Value, Refusal>> for Outcome {
    fn from(result: Result<Value, Refusal>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

impl From<Result<Result<Value, Refusal>, Stopped>> for Outcome {
    fn from(result: Result<Result<Value, Refusal>, Stopped>) -> Self {
        match result {
            Ok(result) => result.into(),
            Err(Stopped) => Self::Lost,
        }
    }
}

/// An endpoint: its path and what it costs. Public ones have no class.
struct Endpoint {
    method: Method,
    path: &'static str,
    class: Option<Class>,
}

const fn public(path: &'static str) -> Endpoint {
    Endpoint {
        method: Method::GET,
        path,
        class: None,
    }
}

const fn query(path: &'static str) -> Endpoint {
    Endpoint {
        method: Method::GET,
        path,
        class: Some(Class::Query),
    }
}

const fn order(path: &'static str) -> Endpoint {
    Endpoint {
        method: Method::POST,
        path,
        class: Some(Class::Order),
    }
}

static ENDPOINTS: [Endpoint; 24] = [
    public("/v5/market/time"),
    public("/v5/market/instruments-info"),
    public("/v5/market/orderbook"),
    public("/v5/market/tickers"),
    public("/v5/market/recent-trade"),
    public("/v5/market/kline"),
    order("/v5/order/create"),
    order("/v5/order/cancel"),
    order("/v5/order/amend"),
    order("/v5/order/cancel-all"),
    order("/v5/order/disconnected-cancel-all"),
    order("/v5/position/set-leverage"),
    query("/v5/order/realtime"),
    query("/v5/order/history"),
    query("/v5/execution/list"),
    query("/v5/position/list"),
    query("/v5/account/wallet-balance"),
    query("/v5/account/transaction-log"),
    query("/v5/account/info"),
    query("/v5/account/query-dcp-info"),
    query("/v5/account/fee-rate"),
    query("/v5/user/query-api"),
    query("/v5/asset/coin/query-info"),
    query("/v5/asset/transfer/query-account-coins-balance"),
];

/// Answers every REST request.
pub(crate) async fn handle(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    let scopes = [path.as_str()];
    if let Some(status) = app.faults.with(|faults| faults.take(&scopes, refuses)) {
        return plain(status);
    }
    let now = app.clock.now_ms();
    if !app.limit(|limits| limits.address(now, peer.address)) {
        return plain(StatusCode::FORBIDDEN);
    }
    let response = answer(&app, request).await;
    if let Some(delay_ms) = app.faults.with(|faults| faults.take(&scopes, delays)) {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
    if app
        .faults
        .with(|faults| faults.take(&scopes, drops))
        .is_some()
    {
        peer.cut();
    }
    match app.faults.with(|faults| faults.take(&scopes, fails_after)) {
        Some(status) => plain(status),
        None => response,
    }
}

fn refuses(kind: &Kind) -> Option<StatusCode> {
    match kind {
        Kind::ErrorBefore { status } => StatusCode::from_u16(*status).ok(),
        Kind::Forbidden {} => Some(StatusCode::FORBIDDEN),
        Kind::TooManyRequests {} => Some(StatusCode::TOO_MANY_REQUESTS),
        _ => None,
    }
}

fn delays(kind: &Kind) -> Option<u64> {
    match kind {
        Kind::Delay { delay_ms } => Some(*delay_ms),
        _ => None,
    }
}

fn drops(kind: &Kind) -> Option<()> {
    matches!(kind, Kind::DropResponse {}).then_some(())
}

fn fails_after(kind: &Kind) -> Option<StatusCode> {
    match kind {
        Kind::ErrorAfter { status } => StatusCode::from_u16(*status).ok(),
        _ => None,
    }
}

/// An answer without a body of the venue's shape, as its outer servers give it.
fn plain(status: StatusCode) -> Response {
    let text = match status {
        StatusCode::FORBIDDEN => "403, access too frequent. Try again in 10 minutes.",
        StatusCode::TOO_MANY_REQUESTS => "429, too many requests.",
        _ => "",
    };
    (status, text).into_response()
}

async fn answer(app: &App, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.path == path) else {
        return unknown(app);
    };
    if endpoint.method != parts.method {
        return unknown(app);
    }
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let query = parts.uri.query().unwrap_or_default();
    let params = match endpoint.method {
        Method::POST => Params::json(&body),
        _ => Params::query(query),
    };
    let Some(class) = endpoint.class else {
        let outcome = match params {
            Ok(params) => market::answer(app, endpoint.path, params).await,
            Err(refusal) => Outcome::Refused(refusal),
        };
        return reply(app, outcome, None);
    };
    let now = app.clock.now_ms();
    let payload = if endpoint.method == Method::POST {
        body.as_ref()
    } else {
        query.as_bytes()
    };
    let signed = signed(&parts.headers);
    let credential = match auth::check_request(&app.accounts, now, signed, payload) {
        Ok(credential) => credential,
        Err(refusal) => return reply(app, Outcome::Refused(refusal), None),
    };
    let budget = app.limit(|limits| limits.account(now, &credential.account, endpoint.path, class));
    if budget.exceeded {
        return reply(app, Outcome::Refused(Refusal::RateLimit), Some(budget));
    }
    let outcome = match (params, class) {
        (Err(refusal), _) => Outcome::Refused(refusal),
        (Ok(params), Class::Order) => orders::answer(app, endpoint.path, credential, params).await,
        (Ok(params), Class::Query) => account::answer(app, endpoint.path, credential, params).await,
    };
    reply(app, outcome, Some(budget))
}

fn signed(headers: &HeaderMap) -> Signed<'_> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Signed {
        key: text("x-bapi-api-key"),
        timestamp: text("x-bapi-timestamp"),
        signature: text("x-bapi-sign"),
        recv_window: text("x-bapi-recv-window"),
    }
}

fn unknown(app: &App) -> Response {
    let body = envelope(app, 10017, "Route not found.", json!({}));
    json_response(StatusCode::NOT_FOUND, &body)
}

fn reply(app: &App, outcome: Outcome, budget: Option<Budget>) -> Response {
    let body = match outcome {
        Outcome::Done(result) => envelope(app, 0, "OK", result),
        Outcome::Refused(refusal) => envelope(app, refusal.code(), &refusal.to_string(), json!({})),
        Outcome::Lost => return plain(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let mut response = json_response(StatusCode::OK, &body);
    if let Some(budget) = budget {
        let headers = response.headers_mut();
        headers.insert("x-bapi-limit", HeaderValue::from(budget.limit));
        headers.insert("x-bapi-limit-status", HeaderValue::from(budget.remaining));
        headers.insert(
            "x-bapi-limit-reset-timestamp",
            HeaderValue::from(budget.reset_ms),
        );
    }
    response
}

fn envelope(app: &App, code: u32, message: &str, result: Value) -> Value {
    json!({
        "retCode": code,
        "retMsg": message,
        "result": result,
        "retExtInfo": {},
        "time": app.clock.now_ms(),
    })
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
