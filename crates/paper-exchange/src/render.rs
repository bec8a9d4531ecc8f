//! Orders, fills, positions and wallets as the venue writes them, with every documented field.
//! REST and the private streams share these.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::clock::TimeMs;
use crate::decimal::text;
use crate::engine::Engine;
use crate::engine::account::Account;
use crate::engine::market::Market;
use crate::engine::movement::{Entry, MovementKind, Source};
use crate::engine::order::{Fill, Order, OrderType};
use crate::engine::position::Position;
use crate::instrument::Instrument;

/// The coin everything settles in.
pub(crate) const COIN: &str = "USDT";

/// The category everything belongs to.
pub(crate) const CATEGORY: &str = "linear";

/// Decimals of amounts that a division or a rate made.
const AMOUNT_SCALE: u32 = 8;

fn rounded(value: Decimal) -> String {
    text(value.round_dp(AMOUNT_SCALE))
}

/// An order, as in `/v5/order/realtime`, `/v5/order/history` and the `order` topic.
pub(crate) fn order(engine: &Engine, order: &Order) -> Value {
    let fallback;
    let instrument = match engine.market(&order.symbol) {
        Some(market) => &market.instrument,
        None => {
            fallback = Instrument::built_in(&order.symbol);
            &fallback
        }
    };
    let leaves = order.leaves();
    let last_price = if order.last_price_on_created.is_zero() {
        String::new()
    } else {
        instrument.price_text(order.last_price_on_created)
    };
    json!({
        "category": CATEGORY,
        "orderId": order.order_id,
        "orderLinkId": order.link_id,
        "blockTradeId": "",
        "symbol": order.symbol,
        "price": instrument.price_text(order.price),
        "qty": instrument.qty_text(order.qty),
        "side": order.side.text(),
        "isLeverage": "",
        "positionIdx": 0,
        "orderStatus": order.status.text(),
        "createType": "CreateByUser",
        "cancelType": order.ending.cancel_type(),
        "rejectReason": order.ending.reject_reason(),
        "avgPrice": order.average_price().map(text).unwrap_or_default(),
        "leavesQty": instrument.qty_text(leaves),
        "leavesValue": text(leaves * order.price),
        "cumExecQty": instrument.qty_text(order.filled_qty),
        "cumExecValue": text(order.filled_value),
        "cumExecFee": text(order.fee),
        "cumFeeDetail": { COIN: text(order.fee) },
        "closedPnl": "0",
        "feeCurrency": "",
        "timeInForce": order.time_in_force.text(),
        "orderType": order.order_type.text(),
        "stopOrderType": "",
        "ocoTriggerBy": "",
        "orderIv": "",
        "marketUnit": "",
        "slippageToleranceType": "UNKNOWN",
        "slippageTolerance": "",
        "triggerPrice": "",
        "takeProfit": "",
        "stopLoss": "",
        "tpslMode": "",
        "tpLimitPrice": "",
        "slLimitPrice": "",
        "tpTriggerBy": "",
        "slTriggerBy": "",
        "triggerDirection": 0,
        "triggerBy": "",
        "lastPriceOnCreated": last_price,
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": false,
        "placeType": "",
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "createdTime": order.created_ms.to_string(),
        "updatedTime": order.updated_ms.to_string(),
    })
}

/// A fill, as in `/v5/execution/list` and the `execution` topic.
pub(crate) fn fill(engine: &Engine, fill: &Fill) -> Value {
    let fallback;
    let instrument = match engine.market(&fill.symbol) {
        Some(market) => &market.instrument,
        None => {
            fallback = Instrument::built_in(&fill.symbol);
            &fallback
        }
    };
    let order_price = match fill.order_type {
        OrderType::Limit | OrderType::Market => instrument.price_text(fill.order_price),
    };
    json!({
        "category": CATEGORY,
        "symbol": fill.symbol,
        "orderId": fill.order_id,
        "orderLinkId": fill.link_id,
        "side": fill.side.text(),
        "orderPrice": order_price,
        "orderQty": instrument.qty_text(fill.order_qty),
        "leavesQty": instrument.qty_text(fill.leaves_qty),
        "createType": "CreateByUser",
        "orderType": fill.order_type.text(),
        "stopOrderType": "UNKNOWN",
        "execFee": text(fill.fee),
        "execFeeV2": "",
        "feeCurrency": COIN,
        "execId": fill.exec_id,
        "execPrice": instrument.price_text(fill.price),
        "execQty": instrument.qty_text(fill.qty),
        "execPnl": "",
        "execType": "Trade",
        "execValue": text(fill.value()),
        "execTime": fill.time_ms.to_string(),
        "isMaker": fill.maker,
        "isLeverage": "0",
        "feeRate": text(fill.fee_rate),
        "tradeIv": "",
        "markIv": "",
        "markPrice": instrument.price_text(fill.mark_price),
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": instrument.qty_text(fill.closed_qty),
        "extraFees": "",
        "seq": fill.cross_seq,
    })
}

/// A position, as in `/v5/position/list` and the `position` topic (which calls the average price
/// `entryPrice`; both names are there).
pub(crate) fn position(engine: &Engine, symbol: &str, position: &Position) -> Value {
    let market = engine.market(symbol);
    let mark = market.and_then(Market::mark).unwrap_or_default();
    let qty = |value: Decimal| {
        market.map_or_else(|| text(value), |market| market.instrument.qty_text(value))
    };
    let side = if position.size.is_zero() {
        ""
    } else if position.size > Decimal::ZERO {
        "Buy"
    } else {
        "Sell"
    };
    let average = text(position.average_price());
    json!({
        "category": CATEGORY,
        "positionIdx": 0,
        "riskId": 1,
        "riskLimitValue": "2000000",
        "symbol": symbol,
        "side": side,
        "size": qty(position.size.abs()),
        "avgPrice": average,
        "entryPrice": average,
        "positionValue": rounded(position.entry_value),
        "tradeMode": 0,
        "autoAddMargin": 0,
        "positionStatus": "Normal",
        "leverage": text(position.leverage),
        "markPrice": text(mark),
        "breakEvenPrice": "",
        "liqPrice": "",
        "bustPrice": "",
        "positionIM": rounded(position.initial_margin()),
        "positionIMByMp": rounded(position.initial_margin()),
        "positionMM": rounded(position.maintenance_margin()),
        "positionMMByMp": rounded(position.maintenance_margin()),
        "positionBalance": rounded(position.initial_margin()),
        "tpslMode": "Full",
        "takeProfit": "",
        "stopLoss": "",
        "trailingStop": "0",
        "sessionAvgPrice": "",
        "delta": "",
        "gamma": "",
        "vega": "",
        "theta": "",
        "unrealisedPnl": rounded(position.unrealised(mark)),
        "curRealisedPnl": text(position.realised_current),
        "cumRealisedPnl": text(position.realised - position.fees),
        "adlRankIndicator": 0,
        "createdTime": position.created_ms.to_string(),
        "updatedTime": position.updated_ms.to_string(),
        "seq": position.cross_seq.map_or_else(|| json!(-1), |seq| json!(seq)),
        "isReduceOnly": false,
        "mmrSysUpdatedTime": "",
        "mmrSysUpdateTime": "",
        "leverageSysUpdatedTime": "",
    })
}

/// An entry of the transaction log, and what it is filtered by.
pub(crate) struct Transaction {
    pub kind: &'static str,
    pub category: &'static str,
    pub time_ms: TimeMs,
    pub value: Value,
}

/// What changed a wallet, as in `/v5/account/transaction-log`.
pub(crate) fn transaction(engine: &Engine, entry: &Entry) -> Option<Transaction> {
    let (kind, category, time_ms, own) = match &entry.source {
        Source::Fill(seq) => {
            let fill = engine.fill(*seq)?;
            let own = json!({
                "id": format!("{}_{}", fill.exec_id, fill.symbol),
                "symbol": fill.symbol,
                "side": fill.side.text(),
                "qty": text(fill.qty),
                "tradePrice": text(fill.price),
                "funding": "",
                "fee": text(fill.fee),
                "cashFlow": text(entry.change + fill.fee),
                "feeRate": text(fill.fee_rate),
                "tradeId": fill.exec_id,
                "orderId": fill.order_id,
                "orderLinkId": fill.link_id,
            });
            ("TRADE", CATEGORY, fill.time_ms, own)
        }
        Source::Movement(movement) => {
            let amount = text(movement.amount);
            let (kind, category, funding, cash_flow) = match movement.kind {
                MovementKind::Funding => ("SETTLEMENT", CATEGORY, amount, "0".to_owned()),
                MovementKind::Transfer if movement.amount > Decimal::ZERO => {
                    ("TRANSFER_IN", "", "0".to_owned(), amount)
                }
                MovementKind::Transfer => ("TRANSFER_OUT", "", "0".to_owned(), amount),
            };
            let own = json!({
                "id": movement.id,
                "symbol": movement.symbol,
                "side": "None",
                "qty": "0",
                "tradePrice": "0",
                "funding": funding,
                "fee": "0",
                "cashFlow": cash_flow,
                "feeRate": "0",
                "tradeId": "",
                "orderId": "",
                "orderLinkId": "",
            });
            (kind, category, movement.time_ms, own)
        }
    };
    let mut value = json!({
        "category": category,
        "transactionTime": time_ms.to_string(),
        "type": kind,
        "transSubType": "",
        "size": "0",
        "currency": COIN,
        "change": text(entry.change),
        "cashBalance": rounded(entry.balance),
        "bonusChange": "",
        "extraFees": "",
    });
    if let (Some(value), Value::Object(own)) = (value.as_object_mut(), own) {
        value.extend(own);
    }
    Some(Transaction {
        kind,
        category,
        time_ms,
        value,
    })
}

/// An account's balances, as in `/v5/account/wallet-balance` and the `wallet` topic.
pub(crate) fn wallet(engine: &Engine, account: &Account) -> Value {
    let margins = account.margins(|symbol| engine.market(symbol).and_then(Market::mark));
    let equity = account.wallet + margins.unrealised;
    let initial = margins.position_margin + margins.order_margin;
    let available = engine.available(account).max(Decimal::ZERO);
    let rate = |margin: Decimal| {
        margin
            .checked_div(equity)
            .map_or_else(|| "0".to_owned(), |rate| text(rate.round_dp(4)))
    };
    json!({
        "accountType": "UNIFIED",
        "accountLTV": "",
        "accountIMRate": rate(initial),
        "accountIMRateByMp": rate(initial),
        "accountMMRate": rate(margins.maintenance_margin),
        "accountMMRateByMp": rate(margins.maintenance_margin),
        "totalEquity": rounded(equity),
        "totalWalletBalance": text(account.wallet),
        "totalMarginBalance": rounded(equity),
        "totalAvailableBalance": rounded(available),
        "totalPerpUPL": rounded(margins.unrealised),
        "totalInitialMargin": rounded(initial),
        "totalInitialMarginByMp": rounded(initial),
        "totalMaintenanceMargin": rounded(margins.maintenance_margin),
        "totalMaintenanceMarginByMp": rounded(margins.maintenance_margin),
        "coin": [{
            "coin": COIN,
            "equity": rounded(equity),
            "usdValue": rounded(equity),
            "walletBalance": text(account.wallet),
            "free": "",
            "locked": "0",
            "spotHedgingQty": "0",
            "borrowAmount": "0",
            "spotBorrow": "0",
            "availableToBorrow": "",
            "availableToWithdraw": rounded(available),
            "accruedInterest": "0",
            "totalOrderIM": rounded(margins.order_margin),
            "totalPositionIM": rounded(margins.position_margin),
            "totalPositionMM": rounded(margins.maintenance_margin),
            "unrealisedPnl": rounded(margins.unrealised),
            "cumRealisedPnl": text(account.realised() - account.fees()),
            "bonus": "0",
            "marginCollateral": true,
            "collateralSwitch": true,
        }],
    })
}

/// A ticker, as in `/v5/market/tickers` and the `tickers` topic.
pub(crate) fn ticker(market: &Market, now: TimeMs) -> Value {
    use crate::engine::order::Side;
    let price = |value: Option<Decimal>| {
        value.map_or_else(String::new, |value| market.instrument.price_text(value))
    };
    let (bid, ask) = (market.book.touch(Side::Buy), market.book.touch(Side::Sell));
    let size = |level: Option<(Decimal, Decimal)>| {
        level.map_or_else(
            || "0".to_owned(),
            |(_, qty)| market.instrument.qty_text(qty),
        )
    };
    let day = market.day(now);
    let change = day.and_then(|day| (day.close - day.open).checked_div(day.open));
    const FUNDING_MS: i64 = 8 * 3_600_000;
    let funding = now
        .div_euclid(FUNDING_MS)
        .saturating_add(1)
        .saturating_mul(FUNDING_MS);
    json!({
        "symbol": market.instrument.symbol,
        "tickDirection": market.direction().text(),
        "lastPrice": price(market.last()),
        "indexPrice": price(market.mark()),
        "markPrice": price(market.mark()),
        "prevPrice24h": price(day.map(|day| day.open)),
        "price24hPcnt": change.map_or_else(|| "0".to_owned(), |change| text(change.round_dp(6))),
        "highPrice24h": price(day.map(|day| day.high)),
        "lowPrice24h": price(day.map(|day| day.low)),
        "prevPrice1h": price(day.map(|day| day.open)),
        "openInterest": "0",
        "openInterestValue": "0",
        "turnover24h": day.map_or_else(|| "0".to_owned(), |day| text(day.turnover)),
        "volume24h": day.map_or_else(|| "0".to_owned(), |day| text(day.volume)),
        "fundingRate": "0.0001",
        "nextFundingTime": funding.to_string(),
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "basis": "",
        "deliveryFeeRate": "",
        "deliveryTime": "0",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
        "bid1Price": price(bid.map(|(price, _)| price)),
        "bid1Size": size(bid),
        "ask1Price": price(ask.map(|(price, _)| price)),
        "ask1Size": size(ask),
    })
}
