//! Who listens to what: bounded queues to every socket, and the messages of all streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::depth::DepthStream;
use super::topic::{DEPTHS, Topic};
use crate::clock::TimeMs;
use crate::engine::order::PublicTrade;
use crate::engine::{Engine, Notice};
use crate::exchange::SharedFaults;
use crate::faults::Kind;
use crate::render;

/// Messages that may wait for one socket; one that lags further is cut.
pub(crate) const QUEUE_MAX: usize = 2_048;

/// Most sockets at once.
const CLIENTS_MAX: usize = 500;

/// Most topics one socket may subscribe to.
const TOPICS_MAX: usize = 256;

/// How long a reordered event is held back when none follows, in milliseconds.
const HOLD_MS: i64 = 200;

/// Ticker push frequency, in milliseconds.
const TICKER_MS: i64 = 100;

/// What a socket's task and the hub share.
#[derive(Debug, Default)]
pub(crate) struct SocketFlags {
    silent: AtomicBool,
    cut: AtomicBool,
    woken: Notify,
}

impl SocketFlags {
    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }

    /// Resolves once the hub has cut the socket.
    pub(crate) async fn until_cut(&self) {
        while !self.cut.load(Ordering::Acquire) {
            self.woken.notified().await;
        }
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.woken.notify_one();
    }
}

struct Client {
    path: &'static str,
    account: Option<String>,
    queue: mpsc::Sender<String>,
    flags: Arc<SocketFlags>,
    topics: BTreeSet<Topic>,
    /// An event held back by a fault, and since when.
    held: Option<(String, TimeMs)>,
}

struct Ticker {
    last: Value,
    sent_ms: TimeMs,
}

/// All sockets and streams.
#[derive(Default)]
pub(crate) struct Hub {
    next_client: u64,
    next_message: u64,
    clients: BTreeMap<u64, Client>,
    depths: BTreeMap<(String, usize), DepthStream>,
    tickers: BTreeMap<String, Ticker>,
}

impl Hub {
    /// Takes in a socket; answers its number, or `None` when there are too many.
    pub(crate) fn connect(
        &mut self,
        path: &'static str,
        queue: mpsc::Sender<String>,
        flags: Arc<SocketFlags>,
    ) -> Option<u64> {
        if self.clients.len() >= CLIENTS_MAX {
            return None;
        }
        self.next_client = self.next_client.saturating_add(1);
        let client = Client {
            path,
            account: None,
            queue,
            flags,
            topics: BTreeSet::new(),
            held: None,
        };
        self.clients.insert(self.next_client, client);
        Some(self.next_client)
    }

    pub(crate) fn disconnect(&mut self, client: u64) {
        self.clients.remove(&client);
    }

    /// Sockets connected now.
    pub(crate) fn connected(&self) -> usize {
        self.clients.len()
    }

    /// Cuts every socket, at shutdown.
    pub(crate) fn cut_all(&mut self) {
        for client in self.clients.values() {
            client.flags.cut();
        }
        self.clients.clear();
    }

    /// Notes who a private socket belongs to.
    pub(crate) fn authenticate(&mut self, client: u64, account: &str) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.account = Some(account.to_owned());
        }
    }

    /// Whether a private socket has logged in.
    pub(crate) fn is_authenticated(&self, client: u64) -> bool {
        self.clients
            .get(&client)
            .is_some_and(|client| client.account.is_some())
    }

    /// Sends a reply to one socket, in its place among the stream's messages.
    pub(crate) fn reply(&mut self, client: u64, text: String) {
        let lagging = self
            .clients
            .get(&client)
            .is_some_and(|client| !offer(client, text));
        if lagging {
            self.drop_client(client);
        }
    }

    /// Adds topics; answers whether all fitted.
    pub(crate) fn subscribe(&mut self, client: u64, topics: &[Topic]) -> bool {
        let Some(client) = self.clients.get_mut(&client) else {
            return false;
        };
        let new = topics
            .iter()
            .filter(|topic| !client.topics.contains(topic))
            .count();
        if client.topics.len().saturating_add(new) > TOPICS_MAX {
            return false;
        }
        client.topics.extend(topics.iter().cloned());
        true
    }

    pub(crate) fn unsubscribe(&mut self, client: u64, topics: &[Topic]) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.topics.retain(|topic| !topics.contains(topic));
        }
    }

    /// Sends the first message of topics that begin with a snapshot.
    pub(crate) fn snapshots(
        &mut self,
        engine: &Engine,
        now: TimeMs,
        client: u64,
        topics: &[Topic],
    ) {
        for topic in topics {
            let Some(market) = topic.symbol().and_then(|symbol| engine.market(symbol)) else {
                continue;
            };
            let text = match topic {
                Topic::Book { depth, symbol } => self
                    .depths
                    .entry((symbol.clone(), *depth))
                    .or_insert_with(|| DepthStream::new(*depth))
                    .snapshot(market, now, engine.cross_seq()),
                Topic::Ticker { symbol } => {
                    let data = render::ticker(market, now);
                    let text = ticker_message(symbol, "snapshot", &data, now, engine.cross_seq());
                    self.tickers.entry(symbol.clone()).or_insert(Ticker {
                        last: data,
                        sent_ms: now,
                    });
                    text
                }
                _ => continue,
            };
            self.reply(client, text);
        }
    }

    /// Cuts or silences sockets that are connected already, as faults demand.
    pub(crate) fn apply_socket_faults(&mut self, faults: &SharedFaults) {
        let ids: Vec<u64> = self.clients.keys().copied().collect();
        for id in ids {
            self.socket_fault(id, faults);
        }
    }

    /// Lets silent sockets speak again.
    pub(crate) fn unsilence(&mut self) {
        for client in self.clients.values() {
            client.flags.silent.store(false, Ordering::Release);
        }
    }

    fn socket_fault(&mut self, id: u64, faults: &SharedFaults) {
        let Some(client) = self.clients.get(&id) else {
            return;
        };
        let path = client.path;
        let cut = faults.with(|faults| {
            faults.take(&[path], |kind| {
                matches!(kind, Kind::CutSocket {}).then_some(())
            })
        });
        if cut.is_some() {
            self.drop_client(id);
            return;
        }
        if !client.flags.is_silent() {
            let silent = faults.with(|faults| {
                faults.take(&[path], |kind| {
                    matches!(kind, Kind::SilentSocket {}).then_some(())
                })
            });
            if silent.is_some() {
                client.flags.silent.store(true, Ordering::Release);
            }
        }
    }

    fn drop_client(&mut self, id: u64) {
        if let Some(client) = self.clients.remove(&id) {
            client.flags.cut();
        }
    }

    /// Tells the streams what a batch did.
    pub(crate) fn publish(
        &mut self,
        engine: &Engine,
        now: TimeMs,
        notices: &[Notice],
        faults: &SharedFaults,
    ) {
        let mut positions: BTreeSet<(&str, &str)> = BTreeSet::new();
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
        let mut accounts: BTreeSet<&str> = BTreeSet::new();
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

    /// Sends a message to everybody it concerns, with the faults that wait for it.
    fn send(
        &mut self,
        topic: &Topic,
        account: Option<&str>,
        text: &str,
        now: TimeMs,
        faults: &SharedFaults,
    ) {
        let name = topic.text();
        let concerned: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| client.topics.contains(topic))
            .filter(|(_, client)| account.is_none() || client.account.as_deref() == account)
            .map(|(id, _)| *id)
            .collect();
        for id in concerned {
            self.socket_fault(id, faults);
            let Some(client) = self.clients.get_mut(&id) else {
                continue;
            };
            let scopes = [name.as_str(), client.path];
            let twice = faults.with(|faults| {
                faults.take(&scopes, |kind| {
                    matches!(kind, Kind::DuplicateEvent {}).then_some(())
                })
            });
            let later = faults.with(|faults| {
                faults.take(&scopes, |kind| {
                    matches!(kind, Kind::ReorderEvent {}).then_some(())
                })
            });
            if later.is_some() && client.held.is_none() {
                client.held = Some((text.to_owned(), now));
                continue;
            }
            let mut sent = offer(client, text.to_owned());
            if twice.is_some() {
                sent = sent && offer(client, text.to_owned());
            }
            if let Some((held, _)) = client.held.take() {
                sent = sent && offer(client, held);
            }
            if !sent {
                tracing::warn!(client = id, "a socket lags too far behind and is cut");
                self.drop_client(id);
            }
        }
    }
}

/// Puts a message into a socket's queue; `false` when it is full. A silent socket swallows it.
fn offer(client: &Client, text: String) -> bool {
    client.flags.is_silent() || client.queue.try_send(text).is_ok()
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

fn ticker_message(symbol: &str, kind: &str, data: &Value, now: TimeMs, seq: u64) -> String {
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
