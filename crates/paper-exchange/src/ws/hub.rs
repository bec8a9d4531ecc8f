//! Who listens to what: bounded queues to every socket, and the messages of all streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use super::depth::DepthStream;
use super::publish::ticker_message;
use super::topic::Topic;
use crate::clock::TimeMs;
use crate::engine::Engine;
use crate::exchange::SharedFaults;
use crate::faults::Kind;
use crate::render;

/// Messages that may wait for one socket; one that lags further is cut.
pub(crate) const QUEUE_MAX: usize = 2_048;

/// Most sockets at once.
const CLIENTS_MAX: usize = 500;

/// Most topics one socket may subscribe to.
const TOPICS_MAX: usize = 256;

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

pub(super) struct Client {
    path: &'static str,
    pub(super) account: Option<String>,
    queue: mpsc::Sender<String>,
    flags: Arc<SocketFlags>,
    pub(super) topics: BTreeSet<Topic>,
    /// An event held back by a fault, and since when.
    pub(super) held: Option<(String, TimeMs)>,
}

pub(super) struct Ticker {
    pub(super) last: Value,
    pub(super) sent_ms: TimeMs,
}

/// All sockets and streams.
#[derive(Default)]
pub(crate) struct Hub {
    next_client: u64,
    pub(super) next_message: u64,
    pub(super) clients: BTreeMap<u64, Client>,
    pub(super) depths: BTreeMap<(String, usize), DepthStream>,
    pub(super) tickers: BTreeMap<String, Ticker>,
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

    /// Who a private socket has logged in as.
    pub(crate) fn account_of(&self, client: u64) -> Option<&str> {
        self.clients.get(&client)?.account.as_deref()
    }

    /// Whether a socket of an account watches for its loss.
    pub(crate) fn watches(&self, account: &str) -> bool {
        self.clients.values().any(|client| {
            client.account.as_deref() == Some(account) && client.topics.contains(&Topic::Protection)
        })
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

    /// Sends a message to everybody it concerns, with the faults that wait for it.
    pub(super) fn send(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_a_socket_that_lags_too_far_behind_and_no_other() {
        let mut hub = Hub::default();
        let (slow, _unread) = mpsc::channel(QUEUE_MAX);
        let (quick, mut read) = mpsc::channel(QUEUE_MAX);
        let flags = [
            Arc::new(SocketFlags::default()),
            Arc::new(SocketFlags::default()),
        ];
        let topic = [Topic::Trades {
            symbol: "BTCUSDT".to_owned(),
        }];
        for (queue, flags) in [slow, quick].into_iter().zip(&flags) {
            let id = hub
                .connect("/v5/public/linear", queue, Arc::clone(flags))
                .unwrap();
            assert!(hub.subscribe(id, &topic));
        }
        let faults = SharedFaults::default();
        for index in 0..=QUEUE_MAX {
            assert_eq!(hub.connected(), 2, "cut after {index}");
            hub.send(&topic[0], None, "{}", 0, &faults);
            assert_eq!(read.try_recv().as_deref(), Ok("{}"));
        }
        assert_eq!(hub.connected(), 1);
        assert!(flags[0].cut.load(Ordering::Acquire));
        assert!(!flags[1].cut.load(Ordering::Acquire));
    }

    #[test]
    fn refuses_more_sockets_and_topics_than_the_bounds() {
        let mut hub = Hub::default();
        let (queue, _kept) = mpsc::channel(1);
        for _ in 0..CLIENTS_MAX {
            assert!(
                hub.connect("/v5/private", queue.clone(), Arc::default())
                    .is_some()
            );
        }
        assert_eq!(
            hub.connect("/v5/private", queue.clone(), Arc::default()),
            None
        );
        let many: Vec<Topic> = (0..=TOPICS_MAX)
            .map(|index| Topic::Trades {
                symbol: format!("X{index}"),
            })
            .collect();
        assert!(!hub.subscribe(1, &many));
        assert!(hub.subscribe(1, &many[..TOPICS_MAX]));
        assert!(!hub.subscribe(1, &many[TOPICS_MAX..]));
    }
}
