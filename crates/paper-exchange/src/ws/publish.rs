//! What the hub says: the messages of every stream, from what happened and from the clock.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::hub::Hub;
use super::topic::{DEPTHS, Topic};
use crate::clock::TimeMs;
use crate::engine::order::PublicTrade;
use crate::engine::{Engine, Notice};
use crate::exchange::SharedFaults;
use crate::faults::Kind;
use crate::render;

/// How long a reordered event is held back when none follows, in milliseconds.
const HOLD_MS: i64 = 200;

/// Ticker push frequency, in milliseconds.
const TICKER_MS: i64 = 100;

impl Hub {
    /// Tells the streams what a batch did.
    pub(crate) fn publish(
        &mut self,
        engine: &Engine,
        now: TimeMs,
        notices: &[Notice],
        faults: &SharedFaults,
    ) {
        let mut positions: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut accounts: BTreeSet<&str> = BTreeSet::new();
        let mut trades: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for notice in notices {
            match notice {
                Notice::Order(order) => {
                    let data = render::order(engine, order);
                    self.private(
                        &order.account,
                        [Topic::Order, Topic::OrderLinear],
                        data,
                        now,
                        faults,
                    );
                }
                Notice::Fill(fill) => {
                    let data = render::fill(engine, fill);
                    self.private(
                        &fill.account,
                        [Topic::Execution, Topic::ExecutionLinear],
                        data,
                        now,
                        faults,
                    );
                }
                Notice::Position { account, symbol } => {
                    positions.insert((account, symbol));
                }
                Notice::Wallet { account } => {
                    accounts.insert(account);
                }
                Notice::Trade(trade) => {
                    trades
                        .entry(&trade.symbol)
                        .or_default()
                        .push(trade_value(trade, engine));
                }
                Notice::Book { symbol } => {
                    for depth in DEPTHS {
                        if let Some(stream) = self.depths.get_mut(&(symbol.clone(), depth)) {
                            stream.touch();
                        }
                    }
                }
            }
        }
        for (account, symbol) in positions {
            let Some(held) = engine.account(account) else {
                continue;
            };
            accounts.insert(account);
            let position = held.positions.get(symbol).cloned().unwrap_or_default();
            let data = render::position(engine, symbol, &position);
            self.private(
                account,
                [Topic::Position, Topic::PositionLinear],
                data,
                now,
                faults,
            );
        }
        for account in accounts {
            let Some(held) = engine.account(account) else {
                continue;
            };
            let data = render::wallet(engine, held);
            self.private(account, [Topic::Wallet, Topic::Wallet], data, now, faults);
        }
        for (symbol, data) in trades {
            let topic = Topic::Trades {
                symbol: symbol.to_owned(),
            };
            let name = topic.text();
            let text =
                json!({ "topic": name, "type": "snapshot", "ts": now, "data": data }).to_string();
            self.send(&topic, None, &text, now, faults);
        }
        self.tick(engine, now, faults);
    }

    /// Sends what is due by time: book deltas, tickers, events held back.
    pub(crate) fn tick(&mut self, engine: &Engine, now: TimeMs, faults: &SharedFaults) {
        self.tick_books(engine, now, faults);
        self.tick_tickers(engine, now, faults);
        let late: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| {
                client
                    .held
                    .as_ref()
                    .is_some_and(|(_, since)| now >= since.saturating_add(HOLD_MS))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let held = self
                .clients
                .get_mut(&id)
                .and_then(|client| client.held.take());
            if let Some((text, _)) = held {
                self.reply(id, text);
            }
        }
    }

    fn tick_books(&mut self, engine: &Engine, now: TimeMs, faults: &SharedFaults) {
        let mut due = Vec::new();
        for ((symbol, depth), stream) in &mut self.depths {
            let Some(market) = engine.market(symbol) else {
                continue;
            };
            let seq = engine.cross_seq();
            let topic = Topic::Book {
                depth: *depth,
                symbol: symbol.clone(),
            };
            if let Some(text) = stream.delta(market, now, seq) {
                due.push((topic, text, true));
            } else if let Some(text) = stream.repeat(market, now, seq) {
                due.push((topic, text, false));
            }
        }
        for (topic, text, is_delta) in due {
            let name = topic.text();
            let skipped = is_delta
                && faults
                    .with(|faults| {
                        faults.take(&[&name], |kind| {
                            matches!(kind, Kind::SkipDelta {}).then_some(())
                        })
                    })
                    .is_some();
            if !skipped {
                self.send(&topic, None, &text, now, faults);
            }
        }
    }

    fn tick_tickers(&mut self, engine: &Engine, now: TimeMs, faults: &SharedFaults) {
        let mut due = Vec::new();
        for (symbol, ticker) in &mut self.tickers {
            if now < ticker.sent_ms.saturating_add(TICKER_MS) {
                continue;
            }
            let Some(market) = engine.market(symbol) else {
                continue;
            };
            let data = render::ticker(market, now);
            ticker.sent_ms = now;
            let changed = changed_fields(&ticker.last, &data);
            if let Some(changed) = changed {
                let text = ticker_message(symbol, "delta", &changed, now, engine.cross_seq());
                due.push((
                    Topic::Ticker {
                        symbol: symbol.clone(),
                    },
                    text,
                ));
                ticker.last = data;
            }
        }
        for (topic, text) in due {
            self.send(&topic, None, &text, now, faults);
        }
    }

    /// Sends one item of a private stream, under both names it may have been subscribed as.
    fn private(
        &mut self,
        account: &str,
        topics: [Topic; 2],
        data: Value,
        now: TimeMs,
        faults: &SharedFaults,
    ) {
        let [all, linear] = topics;
        let same = all == linear;
        self.private_one(account, &all, &data, now, faults);
        if !same {
            self.private_one(account, &linear, &data, now, faults);
        }
    }

    fn private_one(
        &mut self,
        account: &str,
        topic: &Topic,
        data: &Value,
        now: TimeMs,
        faults: &SharedFaults,
    ) {
        let listened = self.clients.values().any(|client| {
            client.account.as_deref() == Some(account) && client.topics.contains(topic)
        });
        if !listened {
            return;
        }
        self.next_message = self.next_message.saturating_add(1);
        let text = json!({
            "id": format!("{}_{}_{now}", account, self.next_message),
            "topic": topic.text(),
            "creationTime": now,
            "data": [data],
        })
        .to_string();
        self.send(topic, Some(account), &text, now, faults);
    }
}

fn trade_value(trade: &PublicTrade, engine: &Engine) -> Value {
    let (price, qty) = match engine.market(&trade.symbol) {
        Some(market) => (
            market.instrument.price_text(trade.price),
            market.instrument.qty_text(trade.qty),
        ),
        None => (
            crate::decimal::text(trade.price),
            crate::decimal::text(trade.qty),
        ),
    };
    json!({
        "T": trade.time_ms,
        "s": trade.symbol,
        "S": trade.side.text(),
        "v": qty,
        "p": price,
        "L": trade.direction.text(),
        "i": trade.trade_id,
        "BT": false,
        "RPI": false,
        "seq": trade.cross_seq,
    })
}

pub(super) fn ticker_message(
    symbol: &str,
    kind: &str,
    data: &Value,
    now: TimeMs,
    seq: u64,
) -> String {
    json!({
        "topic": format!("tickers.{symbol}"),
        "type": kind,
        "data": data,
        "cs": seq,
        "ts": now,
    })
    .to_string()
}

/// The fields that differ, with the symbol; `None` when none does.
fn changed_fields(old: &Value, new: &Value) -> Option<Value> {
    let (old, new) = (old.as_object()?, new.as_object()?);
    let mut changed: serde_json::Map<String, Value> = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if changed.is_empty() {
        return None;
    }
    if let Some(symbol) = new.get("symbol") {
        changed.insert("symbol".to_owned(), symbol.clone());
    }
    Some(Value::Object(changed))
}
