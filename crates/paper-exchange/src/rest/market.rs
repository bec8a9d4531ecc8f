//! Public market data.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::Outcome;
use super::params::Params;
use crate::clock::TimeMs;
use crate::decimal::text;
use crate::engine::Engine;
use crate::engine::market::Market;
use crate::engine::order::Side;
use crate::engine::refusal::Refusal;
use crate::instrument::Instrument;
use crate::render::{self, CATEGORY};
use crate::server::App;

/// Answers a public endpoint.
pub(super) async fn answer(app: &App, path: &'static str, params: Params) -> Outcome {
    let now = app.clock.now_ms();
    app.exchange
        .run(move |state| {
            let engine = &state.engine;
            match path {
                "/v5/market/time" => Ok(time(now)),
                "/v5/market/instruments-info" => instruments(engine, &params),
                "/v5/market/orderbook" => book(engine, &params, now),
                "/v5/market/tickers" => tickers(engine, &params, now),
                "/v5/market/recent-trade" => trades(engine, &params),
                _ => bars(engine, &params, now),
            }
        })
        .await
        .into()
}

fn time(now: TimeMs) -> Value {
    json!({
        "timeSecond": now.div_euclid(1_000).to_string(),
        "timeNano": format!("{now}000000"),
    })
}

/// Another category has no instruments here; that is an empty list, so that clients that load all
/// categories at start still work.
fn other_category(params: &Params) -> Result<Option<Value>, Refusal> {
    match params.text("category")? {
        Some(CATEGORY) => Ok(None),
        Some(other @ ("spot" | "inverse" | "option")) => Ok(Some(
            json!({ "category": other, "list": [], "nextPageCursor": "" }),
        )),
        Some(_) | None => Err(Refusal::Parameter("category")),
    }
}

fn one<'a>(engine: &'a Engine, params: &Params) -> Result<&'a Market, Refusal> {
    params.linear()?;
    let symbol = params.text("symbol")?.ok_or(Refusal::Parameter("symbol"))?;
    engine
        .market(symbol)
        .ok_or(Refusal::Parameter("symbol invalid"))
}

fn instruments(engine: &Engine, params: &Params) -> Result<Value, Refusal> {
    if let Some(empty) = other_category(params)? {
        return Ok(empty);
    }
    let symbol = params.text("symbol")?;
    if symbol.is_some_and(|symbol| engine.market(symbol).is_none()) {
        return Err(Refusal::Parameter("symbol invalid"));
    }
    let base = params.text("baseCoin")?;
    let status = params.text("status")?.unwrap_or("Trading");
    let limit = params.limit(500, 1_000)?;
    let after = params.text("cursor")?;
    let mut found = engine
        .markets()
        .map(|market| &market.instrument)
        .filter(|_| status == "Trading")
        .filter(|instrument| symbol.is_none_or(|symbol| symbol == instrument.symbol))
        .filter(|instrument| base.is_none_or(|base| base == instrument.base_coin()))
        .filter(|instrument| after.is_none_or(|after| instrument.symbol.as_str() > after));
    let page: Vec<&Instrument> = found.by_ref().take(limit).collect();
    let cursor = match (page.last(), found.next()) {
        (Some(last), Some(_)) => last.symbol.clone(),
        _ => String::new(),
    };
    let list: Vec<Value> = page.into_iter().map(instrument).collect();
    Ok(json!({ "category": CATEGORY, "list": list, "nextPageCursor": cursor }))
}

fn instrument(instrument: &Instrument) -> Value {
    let price_max = instrument.price_floor(Decimal::from(1_000_000_000_u64));
    json!({
        "symbol": instrument.symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": instrument.base_coin(),
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "symbolType": "",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": instrument.price_scale().to_string(),
        "leverageFilter": {
            "minLeverage": "1",
            "maxLeverage": text(instrument.max_leverage),
            "leverageStep": "0.01",
        },
        "priceFilter": {
            "minPrice": instrument.price_text(instrument.tick_size),
            "maxPrice": instrument.price_text(price_max),
            "tickSize": instrument.price_text(instrument.tick_size),
        },
        "lotSizeFilter": {
            "maxOrderQty": instrument.qty_text(instrument.max_qty),
            "minOrderQty": instrument.qty_text(instrument.min_qty),
            "qtyStep": instrument.qty_text(instrument.qty_step),
            "postOnlyMaxOrderQty": instrument.qty_text(instrument.max_qty),
            "maxMktOrderQty": instrument.qty_text(instrument.max_market_qty),
            "minNotionalValue": text(instrument.min_notional),
        },
        "unifiedMarginTrade": true,
        "fundingInterval": 480,
        "copyTrading": "none",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "displayName": "",
        "forbidUplWithdrawal": false,
        "isPreListing": false,
        "preListingInfo": null,
        "riskParameters": {
            "priceLimitRatioX": text(instrument.price_limit_ratio),
            "priceLimitRatioY": text(instrument.price_limit_ratio),
        },
    })
}

fn book(engine: &Engine, params: &Params, now: TimeMs) -> Result<Value, Refusal> {
    let market = one(engine, params)?;
    let limit = params.limit(25, 1_000)?;
    let side = |side| -> Vec<[String; 2]> {
        let instrument = &market.instrument;
        market
            .book
            .top(side, limit)
            .into_iter()
            .map(|(price, qty)| [instrument.price_text(price), instrument.qty_text(qty)])
            .collect()
    };
    Ok(json!({
        "s": market.instrument.symbol,
        "b": side(Side::Buy),
        "a": side(Side::Sell),
        "ts": now,
        "u": market.update_id,
        "seq": engine.cross_seq(),
        "cts": market.updated_ms,
    }))
}

fn tickers(engine: &Engine, params: &Params, now: TimeMs) -> Result<Value, Refusal> {
    if let Some(empty) = other_category(params)? {
        return Ok(empty);
    }
    let symbol = params.text("symbol")?;
    if symbol.is_some_and(|symbol| engine.market(symbol).is_none()) {
        return Err(Refusal::Parameter("symbol invalid"));
    }
    let list: Vec<Value> = engine
        .markets()
        .filter(|market| symbol.is_none_or(|symbol| symbol == market.instrument.symbol))
        .map(|market| render::ticker(market, now))
        .collect();
    Ok(json!({ "category": CATEGORY, "list": list }))
}

fn trades(engine: &Engine, params: &Params) -> Result<Value, Refusal> {
    let market = one(engine, params)?;
    let limit = params.limit(500, 1_000)?;
    let list: Vec<Value> = market
        .recent_trades(limit)
        .map(|trade| {
            json!({
                "execId": trade.trade_id,
                "symbol": trade.symbol,
                "price": market.instrument.price_text(trade.price),
                "size": market.instrument.qty_text(trade.qty),
                "side": trade.side.text(),
                "time": trade.time_ms.to_string(),
                "isBlockTrade": false,
                "isRPITrade": false,
                "seq": trade.cross_seq.to_string(),
            })
        })
        .collect();
    Ok(json!({ "category": CATEGORY, "list": list }))
}

fn bars(engine: &Engine, params: &Params, now: TimeMs) -> Result<Value, Refusal> {
    let market = one(engine, params)?;
    let interval = params
        .text("interval")?
        .ok_or(Refusal::Parameter("interval"))?;
    let minutes: i64 = match interval {
        "D" => 1_440,
        "W" => 10_080,
        "M" => 43_200,
        "1" | "3" | "5" | "15" | "30" | "60" | "120" | "240" | "360" | "720" => interval
            .parse()
            .map_err(|_| Refusal::Parameter("interval"))?,
        _ => return Err(Refusal::Parameter("interval")),
    };
    let limit = params.limit(200, 1_000)?;
    let start = params.integer("start")?.unwrap_or(0);
    let end = params.integer("end")?.unwrap_or(now);
    let price = |value| market.instrument.price_text(value);
    let list: Vec<[String; 7]> = market
        .bars(now, minutes.saturating_mul(60_000), start, end, limit)
        .into_iter()
        .map(|(at, bar)| {
            [
                at.to_string(),
                price(bar.open),
                price(bar.high),
                price(bar.low),
                price(bar.close),
                text(bar.volume),
                text(bar.turnover),
            ]
        })
        .collect();
    Ok(json!({ "category": CATEGORY, "symbol": market.instrument.symbol, "list": list }))
}
