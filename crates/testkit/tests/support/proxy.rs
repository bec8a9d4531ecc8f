//! A wire between a service and what it talks to, which a test cuts.
//!
//! ```text
//!  service ──▶ proxy ──▶ bus or exchange
//!          ◀── (cut here, also in the middle of an answer)
//! ```

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_domain::Timestamp;

/// How often a wire that passes nothing on looks whether it is whole again.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Wires that run until the test ends.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    port: u16,
    target: u16,
    /// Both ends of every connection, by its number.
    connections: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
    numbers: AtomicU64,
    /// So many answers more are cut in their middle.
    answers_to_cut: AtomicU64,
    /// Nothing passes, and nobody is told.
    silent: AtomicBool,
    /// When each order's request to place it came by; more than once would be wrong.
    placed: Mutex<Vec<(String, Timestamp)>>,
}

impl Proxy {
    /// Passes on what comes to a port of its own to another port of the loopback interface.
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let proxy = Self(Arc::new(Inner {
            port,
            target,
            connections: Mutex::default(),
            numbers: AtomicU64::new(0),
            answers_to_cut: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            placed: Mutex::default(),
        }));
        let this = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Whoever is not there refuses the connection, and so does the wire.
                let _ = this.connect(client);
            }
        });
        proxy
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Cuts every connection that there is; gives back how many those were.
    pub fn cut(&self) -> usize {
        let connections = std::mem::take(&mut *self.0.connections.lock().expect("connections"));
        for end in connections.values().flatten() {
            let _ = end.shutdown(Shutdown::Both);
        }
        connections.len()
    }

    /// Cuts the connections of the next answers after the first half of what comes.
    pub fn cut_answers(&self, count: u64) {
        self.0.answers_to_cut.store(count, Ordering::SeqCst);
    }

    /// How many answers are still to be cut.
    pub fn answers_to_cut(&self) -> u64 {
        self.0.answers_to_cut.load(Ordering::SeqCst)
    }

    /// Holds back whatever comes from here on, or lets it pass again, late.
    pub fn silence(&self, silent: bool) {
        self.0.silent.store(silent, Ordering::SeqCst);
    }

    /// Every request to place an order that came by, with the order's id and the time.
    pub fn placed(&self) -> Vec<(String, Timestamp)> {
        self.0.placed.lock().expect("the requests").clone()
    }

    /// How many of them there were.
    pub fn placed_count(&self) -> usize {
        self.0.placed.lock().expect("the requests").len()
    }

    fn connect(&self, client: TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.0.target))?;
        for end in [&client, &server] {
            end.set_nodelay(true)?;
        }
        let number = self.0.numbers.fetch_add(1, Ordering::SeqCst);
        let ends = [client.try_clone()?, server.try_clone()?];
        let mut connections = self.0.connections.lock().expect("connections");
        connections.insert(number, ends);
        drop(connections);
        let there = (client.try_clone()?, server.try_clone()?);
        for (from, to, answers) in [(there.0, there.1, false), (server, client, true)] {
            let this = self.clone();
            std::thread::spawn(move || {
                this.pass(&from, &to, answers);
                let mut connections = this.0.connections.lock().expect("connections");
                connections.remove(&number);
            });
        }
        Ok(())
    }

    /// Passes on until one side ends.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream, answers: bool) {
        let mut chunk = vec![0; 1 << 16];
        let mut requests = Requests::default();
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            while self.0.silent.load(Ordering::SeqCst) {
                std::thread::park_timeout(LOOK_EVERY);
            }
            if !answers {
                self.note(&mut requests, &chunk[..length]);
            }
            let cuts = &self.0.answers_to_cut;
            let take_one = |left: u64| left.checked_sub(1);
            let is_cut = answers
                && length > 1
                && cuts
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one)
                    .is_ok();
            let passed = if is_cut { length / 2 } else { length };
            if to.write_all(&chunk[..passed]).is_err() || is_cut {
                break;
            }
        }
        for end in [from, to] {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn note(&self, requests: &mut Requests, bytes: &[u8]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("a time after 1970").as_micros();
        let now = Timestamp(now.try_into().expect("a time"));
        let orders = requests.take(bytes).into_iter().map(|order| (order, now));
        self.0.placed.lock().expect("the requests").extend(orders);
    }
}

/// Finds the requests to place an order in what a client sends.
#[derive(Default)]
struct Requests(String);

impl Requests {
    const PLACE: &str = "POST /v5/order/create ";
    const LINK: &str = "\"orderLinkId\":\"";

    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.push_str(&String::from_utf8_lossy(bytes));
        let mut orders = Vec::new();
        while let Some(begun) = self.0.find(Self::PLACE) {
            let after = &self.0[begun..];
            let link = after
                .find(Self::LINK)
                .map(|at| &after[at + Self::LINK.len()..]);
            let Some((order, rest)) = link.and_then(|link| link.split_once('"')) else {
                // The rest of it is on its way.
                return orders;
            };
            orders.push(order.to_owned());
            self.0 = rest.to_owned();
        }
        // The beginning of the next one may be at the end.
        let keep = self.0.len().saturating_sub(Self::PLACE.len());
        self.0 = self.0.split_off(self.0.ceil_char_boundary(keep));
        orders
    }
}

#[test]
fn a_wire_sees_each_order_that_is_placed_however_the_bytes_come() {
    let text = "POST /v5/order/cancel HTTP/1.1\r\n\r\n{\"orderLinkId\":\"x\"}\
                POST /v5/order/create HTTP/1.1\r\n\r\n{\"a\":1,\"orderLinkId\":\"one\"}\
                POST /v5/order/create HTTP/1.1\r\n\r\n{\"orderLinkId\":\"two\"}GET /";
    for step in [1, 7, 50, text.len()] {
        let mut requests = Requests::default();
        let seen: Vec<String> = text
            .as_bytes()
            .chunks(step)
            .flat_map(|bytes| requests.take(bytes))
            .collect();
        assert_eq!(seen, ["one", "two"], "{step} bytes at a time");
    }
}
