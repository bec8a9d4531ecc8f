//! The admin endpoint: faults, money that moves without a trade, and reads that tests compare with
//! what others believe.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::decimal::text;
use crate::engine::Engine;
use crate::engine::movement::MovementRequest;
use crate::exchange::Stopped;
use crate::faults::Fault;
use crate::render;
use crate::server::App;

/// The routes of the admin endpoint.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route(
            "/admin/faults",
            get(list_faults).post(add_fault).delete(clear_faults),
        )
        .route("/admin/faults/{id}", delete(clear_fault))
        .route("/admin/movements", post(move_money))
        .route("/admin/executions", get(executions))
        .route("/admin/orders", get(orders))
        .route("/admin/state", get(accounts))
        .route("/admin/requests", get(requests))
        .with_state(app)
}

fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

fn answered(result: Result<Value, Stopped>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(stopped) => problem(StatusCode::SERVICE_UNAVAILABLE, &stopped.to_string()),
    }
}

async fn list_faults(State(app): State<App>) -> Response {
    Json(app.faults.with(|faults| json!({ "faults": faults.list() }))).into_response()
}

async fn add_fault(State(app): State<App>, body: Bytes) -> Response {
    let fault: Fault = match serde_json::from_slice(&body) {
        Ok(fault) => fault,
        Err(cause) => return problem(StatusCode::BAD_REQUEST, &cause.to_string()),
    };
    match app.faults.with(|faults| faults.add(fault)) {
        Err(reason) => problem(StatusCode::BAD_REQUEST, reason),
        Ok(id) => {
            app.clock.skew(app.faults.with(|faults| faults.skew_ms()));
            let applied = app.exchange.run(move |state| {
                let faults = state.faults.clone();
                state.hub.apply_socket_faults(&faults);
                json!({ "id": id })
            });
            answered(applied.await)
        }
    }
}

async fn clear_faults(State(app): State<App>) -> Response {
    clear(&app, None).await
}

async fn clear_fault(State(app): State<App>, Path(id): Path<u64>) -> Response {
    clear(&app, Some(id)).await
}

/// Clears one fault or all; clearing all also lets silent sockets speak again.
async fn clear(app: &App, id: Option<u64>) -> Response {
    let cleared = app.faults.with(|faults| faults.clear(id));
    app.clock.skew(app.faults.with(|faults| faults.skew_ms()));
    let applied = app.exchange.run(move |state| {
        if id.is_none() {
            state.hub.unsilence();
        }
        json!({ "cleared": cleared })
    });
    answered(applied.await)
}

/// Pays in, takes out, or settles funding: a change of the wallet that no fill explains.
async fn move_money(State(app): State<App>, body: Bytes) -> Response {
    let request: MovementRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(cause) => return problem(StatusCode::BAD_REQUEST, &cause.to_string()),
    };
    let moved = app
        .exchange
        .run(move |state| {
            let now = state.clock.now_ms();
            state.engine.move_money(now, request, &mut state.effects)
        })
        .await;
    match moved {
        Ok(Ok(id)) => Json(json!({ "id": id })).into_response(),
        Ok(Err(refusal)) => problem(StatusCode::BAD_REQUEST, &refusal.to_string()),
        Err(stopped) => problem(StatusCode::SERVICE_UNAVAILABLE, &stopped.to_string()),
    }
}

async fn executions(State(app): State<App>) -> Response {
    answered(
        app.exchange
            .run(|state| all_executions(&state.engine))
            .await,
    )
}

fn all_executions(engine: &Engine) -> Value {
    let list: Vec<Value> = engine
        .fills()
        .map(|fill| {
            json!({
                "account": fill.account,
                "symbol": fill.symbol,
                "orderId": fill.order_id,
                "orderLinkId": fill.link_id,
                "execId": fill.exec_id,
                "side": fill.side.text(),
                "price": text(fill.price),
                "qty": text(fill.qty),
                "fee": text(fill.fee),
                "isMaker": fill.maker,
                "time": fill.time_ms.to_string(),
            })
        })
        .collect();
    json!({ "executions": list })
}

async fn orders(State(app): State<App>) -> Response {
    let read = app.exchange.run(|state| {
        let engine = &state.engine;
        let list: Vec<Value> = engine
            .orders()
            .map(|order| {
                let mut value = render::order(engine, order);
                if let Some(value) = value.as_object_mut() {
                    value.insert("account".to_owned(), json!(order.account));
                }
                value
            })
            .collect();
        json!({ "orders": list })
    });
    answered(read.await)
}

async fn accounts(State(app): State<App>) -> Response {
    let read = app.exchange.run(|state| {
        let engine = &state.engine;
        let list: Vec<Value> = engine
            .accounts()
            .map(|(name, account)| {
                let positions: Vec<Value> = account
                    .positions
                    .iter()
                    .map(|(symbol, position)| {
                        json!({
                            "symbol": symbol,
                            "size": text(position.size),
                            "entryValue": text(position.entry_value),
                            "avgPrice": text(position.average_price()),
                            "realisedPnl": text(position.realised),
                            "fees": text(position.fees),
                            "leverage": text(position.leverage),
                        })
                    })
                    .collect();
                json!({
                    "account": name,
                    "startingBalance": text(account.starting_balance),
                    "walletBalance": text(account.wallet),
                    "realisedPnl": text(account.realised()),
                    "fees": text(account.fees()),
                    "moved": text(account.moved()),
                    "openOrders": account.open.len(),
                    "positions": positions,
                })
            })
            .collect();
        json!({ "accounts": list, "sockets": state.hub.connected() })
    });
    answered(read.await)
}

async fn requests(State(app): State<App>) -> Response {
    let read = app.exchange.run(|state| {
        let counts: serde_json::Map<String, Value> = state
            .requests
            .iter()
            .map(|(link_id, creates)| (link_id.clone(), json!(creates.count)))
            .collect();
        let first_at_us: serde_json::Map<String, Value> = state
            .requests
            .iter()
            .map(|(link_id, creates)| (link_id.clone(), json!(creates.first_at_us)))
            .collect();
        json!({ "createRequests": counts, "firstAtMicros": first_at_us })
    });
    answered(read.await)
}
