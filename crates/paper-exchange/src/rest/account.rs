//! Private reads: orders, executions, positions, balances.

use serde_json::{Value, json};

use super::Outcome;
use super::orders::reference;
use super::params::Params;
use crate::accounts::Credential;
use crate::clock::TimeMs;
use crate::decimal::text;
use crate::engine::Engine;
use crate::engine::account::Account;
use crate::engine::order::{Fill, Order};
use crate::engine::refusal::Refusal;
use crate::render::{self, CATEGORY, COIN};
use crate::server::App;

/// Closed orders that `realtime` still knows.
const RECENT_CLOSED_MAX: usize = 500;

const WEEK_MS: i64 = 7 * 86_400_000;

/// Answers an endpoint that reads an account.
pub(super) async fn answer(
    app: &App,
    path: &'static str,
    credential: &Credential,
    params: Params,
) -> Outcome {
    let now = app.clock.now_ms();
    let name = credential.account.clone();
    let uid = credential.uid;
    let key = app
        .accounts
        .iter()
        .find(|(_, known)| known.account == name)
        .map(|(key, _)| key.clone())
        .unwrap_or_default();
    app.exchange
        .run(move |state| {
            let engine = &state.engine;
            let account = engine.account(&name).ok_or(Refusal::ApiKey)?;
            match path {
                "/v5/order/realtime" => realtime(engine, &name, account, &params),
                "/v5/order/history" => history(engine, &name, account, &params, now),
                "/v5/execution/list" => executions(engine, &name, account, &params, now),
                "/v5/position/list" => positions(engine, account, &params),
                "/v5/account/wallet-balance" => wallet(engine, account, &params),
                "/v5/account/transaction-log" => transactions(engine, account, &params, now),
                "/v5/account/info" => Ok(info(account)),
                "/v5/account/query-dcp-info" => Ok(protection(account)),
                "/v5/account/fee-rate" => fee_rates(engine, &params),
                "/v5/user/query-api" => Ok(api_key(&key, uid)),
                "/v5/asset/coin/query-info" => Ok(coins()),
                _ => coin_balances(account, &params, uid),
            }
        })
        .await
        .into()
}

/// A page of a list that runs from newest to oldest; the cursor is the number of its last item.
fn page<'a, T>(
    params: &Params,
    limit: usize,
    items: impl Iterator<Item = &'a T>,
    number: impl Fn(&T) -> u64,
) -> Result<(Vec<&'a T>, String), Refusal> {
    let before = match params.text("cursor")? {
        None => u64::MAX,
        Some(cursor) => cursor.parse().map_err(|_| Refusal::Parameter("cursor"))?,
    };
    let mut rest = items.filter(|item| number(item) < before);
    let page: Vec<&T> = rest.by_ref().take(limit).collect();
    let cursor = match (page.last(), rest.next()) {
        (Some(last), Some(_)) => number(last).to_string(),
        _ => String::new(),
    };
    Ok((page, cursor))
}

/// Whether a symbol passes `symbol`, else `baseCoin`, else `settleCoin`.
fn symbol_filter(params: &Params) -> Result<impl Fn(&str) -> bool, Refusal> {
    let symbol = params.text("symbol")?.map(str::to_owned);
    let base = params.text("baseCoin")?.map(str::to_owned);
    let settle = params.text("settleCoin")?.map(str::to_owned);
    Ok(move |candidate: &str| match (&symbol, &base, &settle) {
        (Some(symbol), _, _) => candidate == symbol,
        (None, Some(base), _) => candidate.strip_suffix(COIN) == Some(base.as_str()),
        (None, None, Some(settle)) => settle == COIN,
        (None, None, None) => true,
    })
}

fn order_page(
    engine: &Engine,
    params: &Params,
    list: &[&Order],
    cursor: String,
) -> Result<Value, Refusal> {
    params.linear()?;
    let list: Vec<Value> = list
        .iter()
        .map(|order| render::order(engine, order))
        .collect();
    Ok(json!({ "category": CATEGORY, "list": list, "nextPageCursor": cursor }))
}

fn realtime(
    engine: &Engine,
    name: &str,
    account: &Account,
    params: &Params,
) -> Result<Value, Refusal> {
    params.linear()?;
    let limit = params.limit(20, 50)?;
    let oldest_closed = account.closed.len().saturating_sub(RECENT_CLOSED_MAX);
    let recent = account.closed.get(oldest_closed..).unwrap_or_default();
    if let Some(reference) = reference(params)? {
        let found = engine
            .find(name, &reference)
            .filter(|order| order.status.is_open() || recent.contains(&order.seq));
        return order_page(
            engine,
            params,
            &found.into_iter().collect::<Vec<_>>(),
            String::new(),
        );
    }
    let given = [
        params.text("symbol")?,
        params.text("baseCoin")?,
        params.text("settleCoin")?,
    ];
    if given.iter().all(Option::is_none) {
        return Err(Refusal::Parameter(
            "symbol, baseCoin or settleCoin is required",
        ));
    }
    let passes = symbol_filter(params)?;
    let open_only = match params.integer("openOnly")? {
        None | Some(0) => true,
        Some(1 | 2) => false,
        Some(_) => return Err(Refusal::Parameter("openOnly")),
    };
    let chosen: Vec<u64> = if open_only {
        account.open.iter().copied().collect()
    } else {
        let mut recent = recent.to_vec();
        recent.sort_unstable();
        recent
    };
    let orders = chosen
        .iter()
        .rev()
        .filter_map(|seq| engine.order(*seq))
        .filter(|order| passes(&order.symbol));
    let (list, cursor) = page(params, limit, orders, |order| order.seq)?;
    order_page(engine, params, &list, cursor)
}

/// `startTime` and `endTime`, by the venue's rule: a week unless both are given, a week at most.
fn window(params: &Params, now: TimeMs) -> Result<(TimeMs, TimeMs), Refusal> {
    let (start, end) = match (params.integer("startTime")?, params.integer("endTime")?) {
        (None, None) => (now.saturating_sub(WEEK_MS), TimeMs::MAX),
        (Some(start), None) => (start, start.saturating_add(WEEK_MS)),
        (None, Some(end)) => (end.saturating_sub(WEEK_MS), end),
        (Some(start), Some(end)) => (start, end),
    };
    let both = params.text("startTime").is_ok() && end != TimeMs::MAX;
    if start > end || (both && end.saturating_sub(start) > WEEK_MS) {
        return Err(Refusal::Parameter(
            "startTime and endTime span at most 7 days",
        ));
    }
    Ok((start, end))
}

fn history(
    engine: &Engine,
    name: &str,
    account: &Account,
    params: &Params,
    now: TimeMs,
) -> Result<Value, Refusal> {
    params.linear()?;
    let limit = params.limit(20, 50)?;
    if let Some(reference) = reference(params)? {
        let found = engine
            .find(name, &reference)
            .filter(|order| !order.status.is_open());
        return order_page(
            engine,
            params,
            &found.into_iter().collect::<Vec<_>>(),
            String::new(),
        );
    }
    let passes = symbol_filter(params)?;
    let status = params.text("orderStatus")?.map(str::to_owned);
    let (start, end) = window(params, now)?;
    let orders = account
        .orders
        .iter()
        .rev()
        .filter_map(|seq| engine.order(*seq))
        .filter(|order| !order.status.is_open() && passes(&order.symbol))
        .filter(|order| (start..=end).contains(&order.created_ms))
        .filter(|order| {
            status
                .as_deref()
                .is_none_or(|status| status == order.status.text())
        });
    let (list, cursor) = page(params, limit, orders, |order| order.seq)?;
    order_page(engine, params, &list, cursor)
}

fn executions(
    engine: &Engine,
    name: &str,
    account: &Account,
    params: &Params,
    now: TimeMs,
) -> Result<Value, Refusal> {
    params.linear()?;
    let limit = params.limit(50, 100)?;
    let all = || {
        account
            .fills
            .iter()
            .rev()
            .filter_map(|seq| engine.fill(*seq))
    };
    let (list, cursor) = if let Some(reference) = reference(params)? {
        let seq = engine.find(name, &reference).map(|order| order.seq);
        let fills = all().filter(|fill| Some(fill.order_seq) == seq);
        page(params, limit, fills, |fill: &Fill| fill.seq)?
    } else {
        let passes = symbol_filter(params)?;
        let (start, end) = window(params, now)?;
        let trades = params.text("execType")?.is_none_or(|kind| kind == "Trade");
        let fills = all()
            .filter(|_| trades)
            .filter(|fill| passes(&fill.symbol))
            .filter(|fill| (start..=end).contains(&fill.time_ms));
        page(params, limit, fills, |fill: &Fill| fill.seq)?
    };
    let list: Vec<Value> = list
        .into_iter()
        .map(|fill| render::fill(engine, fill))
        .collect();
    Ok(json!({ "category": CATEGORY, "list": list, "nextPageCursor": cursor }))
}

fn positions(engine: &Engine, account: &Account, params: &Params) -> Result<Value, Refusal> {
    params.linear()?;
    let list: Vec<Value> = match (params.text("symbol")?, params.text("settleCoin")?) {
        (Some(symbol), _) => {
            if engine.market(symbol).is_none() {
                return Err(Refusal::Parameter("symbol invalid"));
            }
            let position = account.positions.get(symbol).cloned().unwrap_or_default();
            vec![render::position(engine, symbol, &position)]
        }
        (None, Some(COIN)) => account
            .positions
            .iter()
            .filter(|(_, position)| !position.size.is_zero())
            .take(params.limit(20, 200)?)
            .map(|(symbol, position)| render::position(engine, symbol, position))
            .collect(),
        (None, Some(_)) => Vec::new(),
        (None, None) => return Err(Refusal::Parameter("symbol or settleCoin is required")),
    };
    Ok(json!({ "category": CATEGORY, "list": list, "nextPageCursor": "" }))
}

fn wallet(engine: &Engine, account: &Account, params: &Params) -> Result<Value, Refusal> {
    if params.text("accountType")? != Some("UNIFIED") {
        return Err(Refusal::Parameter("accountType must be UNIFIED"));
    }
    let mut wallet = render::wallet(engine, account);
    let wanted = params.text("coin")?.unwrap_or(COIN);
    if !wanted.split(',').any(|coin| coin == COIN)
        && let Some(wallet) = wallet.as_object_mut()
    {
        wallet.insert("coin".to_owned(), json!([]));
    }
    Ok(json!({ "list": [wallet] }))
}

/// Everything that changed the wallet. Where a category is named, transfers are left out: they belong
/// to none.
fn transactions(
    engine: &Engine,
    account: &Account,
    params: &Params,
    now: TimeMs,
) -> Result<Value, Refusal> {
    if params
        .text("accountType")?
        .is_some_and(|kind| kind != "UNIFIED")
    {
        return Err(Refusal::Parameter("accountType must be UNIFIED"));
    }
    let categorised = params.text("category")?.is_some();
    if categorised {
        params.linear()?;
    }
    let limit = params.limit(20, 50)?;
    let (start, end) = window(params, now)?;
    let ours = params.text("currency")?.is_none_or(|coin| coin == COIN);
    let kind = params.text("type")?;
    let entries = account
        .log
        .iter()
        .rev()
        .filter(|_| ours)
        .filter_map(|entry| Some((entry, render::transaction(engine, entry)?)))
        .filter(|(_, shown)| kind.is_none_or(|kind| shown.kind == kind))
        .filter(|(_, shown)| !categorised || shown.category == CATEGORY)
        .filter(|(_, shown)| (start..=end).contains(&shown.time_ms));
    let entries: Vec<_> = entries.collect();
    let (list, cursor) = page(params, limit, entries.iter(), |(entry, _)| entry.number)?;
    let list: Vec<&Value> = list.into_iter().map(|(_, shown)| &shown.value).collect();
    Ok(json!({ "list": list, "nextPageCursor": cursor }))
}

/// What happens when the account's sockets are gone.
fn protection(account: &Account) -> Value {
    let infos: Vec<Value> = account
        .window_s
        .iter()
        .map(|window_s| {
            json!({
                "product": "DERIVATIVES",
                "dcpStatus": "ON",
                "timeWindow": window_s.to_string(),
            })
        })
        .collect();
    json!({ "dcpInfos": infos })
}

fn info(account: &Account) -> Value {
    json!({
        "marginMode": "REGULAR_MARGIN",
        "updatedTime": "1697078946000",
        "unifiedMarginStatus": 5,
        "dcpStatus": if account.window_s.is_some() { "ON" } else { "OFF" },
        "timeWindow": account.window_s.unwrap_or(0),
        "smpGroup": 0,
        "isMasterTrader": false,
        "spotHedgingStatus": "OFF",
    })
}

fn fee_rates(engine: &Engine, params: &Params) -> Result<Value, Refusal> {
    params.linear()?;
    let rules = engine.rules();
    let symbol = params.text("symbol")?;
    let list: Vec<Value> = engine
        .markets()
        .map(|market| &market.instrument.symbol)
        .filter(|known| symbol.is_none_or(|symbol| symbol == *known))
        .map(|symbol| {
            json!({
                "symbol": symbol,
                "baseCoin": "",
                "takerFeeRate": text(rules.taker_fee),
                "makerFeeRate": text(rules.maker_fee),
            })
        })
        .collect();
    Ok(json!({ "category": CATEGORY, "list": list }))
}

fn api_key(key: &str, uid: u64) -> Value {
    json!({
        "id": uid.to_string(),
        "note": "paper exchange",
        "apiKey": key,
        "readOnly": 0,
        "secret": "",
        "permissions": {
            "ContractTrade": ["Order", "Position"],
            "Spot": [],
            "Wallet": [],
            "Options": [],
            "Derivatives": ["DerivativesTrade"],
            "CopyTrading": [],
            "BlockTrade": [],
            "Exchange": [],
            "NFT": [],
            "Affiliate": [],
            "Earn": [],
        },
        "ips": ["*"],
        "type": 1,
        "deadlineDay": 90,
        "expiredAt": "2099-01-01T00:00:00Z",
        "createdAt": "2020-01-01T00:00:00Z",
        "unified": 0,
        "uta": 1,
        "userID": uid,
        "inviterID": 0,
        "vipLevel": "No VIP",
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "rsaPublicKey": "",
        "isMaster": true,
        "parentUid": "0",
        "kycLevel": "LEVEL_DEFAULT",
        "kycRegion": "",
    })
}

/// The one coin there is; clients ask for it when they load their markets.
fn coins() -> Value {
    json!({
        "rows": [{
            "name": COIN,
            "coin": COIN,
            "remainAmount": "0",
            "chains": [],
        }],
    })
}

fn coin_balances(account: &Account, params: &Params, uid: u64) -> Result<Value, Refusal> {
    let kind = params
        .text("accountType")?
        .ok_or(Refusal::Parameter("accountType"))?;
    let balance = if kind == "UNIFIED" {
        text(account.wallet)
    } else {
        "0".to_owned()
    };
    Ok(json!({
        "memberId": uid.to_string(),
        "accountType": kind,
        "balance": [{
            "coin": COIN,
            "walletBalance": balance,
            "transferBalance": balance,
            "bonus": "0",
        }],
    }))
}
