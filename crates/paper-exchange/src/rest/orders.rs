//! Placing, cancelling and amending orders, and setting the leverage.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::Outcome;
use super::params::Params;
use crate::accounts::Credential;
use crate::clock::Clock;
use crate::engine::order::{OrderType, Side, TimeInForce};
use crate::engine::refusal::Refusal;
use crate::engine::{Amend, CancelAll, OrderRef, PlaceFaults, PlaceRequest};
use crate::exchange::State;
use crate::faults::Kind;
use crate::server::App;

/// What an order may carry at the venue and is refused here, so that nobody relies on it.
const NOT_SIMULATED: [&str; 8] = [
    "triggerPrice",
    "takeProfit",
    "stopLoss",
    "slippageToleranceType",
    "slippageTolerance",
    "orderIv",
    "marketUnit",
    "bboSideType",
];

/// Answers an endpoint that changes orders or positions.
pub(super) async fn answer(
    app: &App,
    path: &'static str,
    credential: &Credential,
    params: Params,
) -> Outcome {
    let account = credential.account.clone();
    let arrived_at_us = Clock::machine_now_us();
    app.exchange
        .run(move |state| match path {
            "/v5/order/create" => create(state, &account, &params, arrived_at_us),
            "/v5/order/cancel" => cancel(state, &account, &params),
            "/v5/order/amend" => amend(state, &account, &params),
            "/v5/order/cancel-all" => cancel_all(state, &account, &params),
            "/v5/order/disconnected-cancel-all" => protect(state, &account, &params),
            _ => set_leverage(state, &account, &params),
        })
        .await
        .into()
}

fn create(
    state: &mut State,
    account: &str,
    params: &Params,
    arrived_at_us: u64,
) -> Result<Value, Refusal> {
    let link_id = params.text("orderLinkId")?.unwrap_or_default().to_owned();
    if !link_id.is_empty() {
        state.requests.note(&link_id, arrived_at_us);
    }
    let request = place_request(params, link_id)?;
    let scopes = ["/v5/order/create"];
    let faults = state.faults.with(|faults| PlaceFaults {
        fill_at_most: faults.take(&scopes, partial_share),
        reject: faults.take(&scopes, rejects).is_some(),
    });
    let now = state.clock.now_ms();
    let order_id = state
        .engine
        .place(now, account, &request, faults, &mut state.effects)?;
    Ok(json!({ "orderId": order_id, "orderLinkId": request.link_id }))
}

fn partial_share(kind: &Kind) -> Option<Decimal> {
    match kind {
        Kind::PartialFill { share } => Some(*share),
        _ => None,
    }
}

fn rejects(kind: &Kind) -> Option<()> {
    matches!(kind, Kind::RejectOrder {}).then_some(())
}

pub(crate) fn place_request(params: &Params, link_id: String) -> Result<PlaceRequest, Refusal> {
    params.linear()?;
    for name in NOT_SIMULATED {
        if params.text(name).map_or(true, |value| value.is_some()) {
            return Err(Refusal::NotSimulated(name));
        }
    }
    if params.integer("positionIdx")?.unwrap_or(0) != 0 {
        return Err(Refusal::NotSimulated("hedge mode; positionIdx must be 0"));
    }
    if params.truth("closeOnTrigger")? {
        return Err(Refusal::NotSimulated("closeOnTrigger"));
    }
    let order_type = match params.text("orderType")? {
        Some("Limit") => OrderType::Limit,
        Some("Market") => OrderType::Market,
        Some(_) | None => return Err(Refusal::Parameter("orderType")),
    };
    Ok(PlaceRequest {
        symbol: symbol(params)?,
        side: match params.text("side")? {
            Some("Buy") => Side::Buy,
            Some("Sell") => Side::Sell,
            Some(_) | None => return Err(Refusal::Parameter("side")),
        },
        order_type,
        time_in_force: match params.text("timeInForce")? {
            None | Some("GTC") => TimeInForce::GoodTillCancel,
            Some("IOC") => TimeInForce::ImmediateOrCancel,
            Some("FOK") => TimeInForce::FillOrKill,
            Some("PostOnly") => TimeInForce::PostOnly,
            Some(_) => return Err(Refusal::Parameter("timeInForce")),
        },
        qty: params.decimal("qty")?.ok_or(Refusal::Parameter("qty"))?,
        price: match order_type {
            OrderType::Limit => Some(
                params
                    .decimal("price")?
                    .ok_or(Refusal::Parameter("price"))?,
            ),
            OrderType::Market => None,
        },
        link_id,
        reduce_only: params.truth("reduceOnly")?,
    })
}

fn symbol(params: &Params) -> Result<String, Refusal> {
    Ok(params
        .text("symbol")?
        .ok_or(Refusal::Parameter("symbol"))?
        .to_owned())
}

/// The venue's id goes first when both are given.
pub(super) fn reference(params: &Params) -> Result<Option<OrderRef>, Refusal> {
    if let Some(id) = params.text("orderId")? {
        return Ok(Some(OrderRef::OrderId(id.to_owned())));
    }
    Ok(params
        .text("orderLinkId")?
        .map(|id| OrderRef::LinkId(id.to_owned())))
}

fn cancel(state: &mut State, account: &str, params: &Params) -> Result<Value, Refusal> {
    params.linear()?;
    let symbol = symbol(params)?;
    let reference = reference(params)?.ok_or(Refusal::Parameter("orderId or orderLinkId"))?;
    let now = state.clock.now_ms();
    let (order_id, link_id) =
        state
            .engine
            .cancel(now, account, &symbol, &reference, &mut state.effects)?;
    Ok(json!({ "orderId": order_id, "orderLinkId": link_id }))
}

fn amend(state: &mut State, account: &str, params: &Params) -> Result<Value, Refusal> {
    params.linear()?;
    for name in ["triggerPrice", "takeProfit", "stopLoss", "orderIv"] {
        if params.text(name).map_or(true, |value| value.is_some()) {
            return Err(Refusal::NotSimulated(name));
        }
    }
    let amend = Amend {
        symbol: symbol(params)?,
        reference: reference(params)?.ok_or(Refusal::Parameter("orderId or orderLinkId"))?,
        price: params.decimal("price")?,
        qty: params.decimal("qty")?,
    };
    let now = state.clock.now_ms();
    let (order_id, link_id) = state
        .engine
        .amend(now, account, &amend, &mut state.effects)?;
    Ok(json!({ "orderId": order_id, "orderLinkId": link_id }))
}

fn cancel_all(state: &mut State, account: &str, params: &Params) -> Result<Value, Refusal> {
    params.linear()?;
    let which = match (
        params.text("symbol")?,
        params.text("baseCoin")?,
        params.text("settleCoin")?,
    ) {
        (Some(symbol), _, _) => CancelAll::Symbol(symbol.to_owned()),
        (None, Some(coin), _) => CancelAll::BaseCoin(coin.to_owned()),
        (None, None, Some("USDT")) => CancelAll::SettleCoin,
        (None, None, Some(_)) => return Err(Refusal::Parameter("settleCoin")),
        (None, None, None) => {
            return Err(Refusal::Parameter(
                "symbol, baseCoin or settleCoin is required",
            ));
        }
    };
    let now = state.clock.now_ms();
    let ids = state
        .engine
        .cancel_all(now, account, &which, &mut state.effects);
    let list: Vec<Value> = ids
        .into_iter()
        .map(|(order_id, link_id)| json!({ "orderId": order_id, "orderLinkId": link_id }))
        .collect();
    Ok(json!({ "list": list, "success": "1" }))
}

/// Cancels an account's orders once its last private socket with the topic `dcp.future` is gone for
/// so long.
fn protect(state: &mut State, account: &str, params: &Params) -> Result<Value, Refusal> {
    if params.text("product")? != Some("DERIVATIVES") {
        return Err(Refusal::NotSimulated("products other than DERIVATIVES"));
    }
    let window_s = params
        .integer("timeWindow")?
        .ok_or(Refusal::Parameter("timeWindow"))?;
    state
        .engine
        .protect(account, window_s, &mut state.effects)?;
    Ok(json!({}))
}

fn set_leverage(state: &mut State, account: &str, params: &Params) -> Result<Value, Refusal> {
    params.linear()?;
    let symbol = symbol(params)?;
    let buy = params
        .decimal("buyLeverage")?
        .ok_or(Refusal::Parameter("buyLeverage"))?;
    let sell = params
        .decimal("sellLeverage")?
        .ok_or(Refusal::Parameter("sellLeverage"))?;
    if buy != sell {
        return Err(Refusal::Parameter(
            "buyLeverage must equal sellLeverage in one-way mode",
        ));
    }
    state
        .engine
        .set_leverage(account, &symbol, buy, &mut state.effects)?;
    Ok(json!({}))
}
