//! Starts the real binary, and speaks HTTP and WebSocket with it over loopback.

#![expect(dead_code, reason = "each test file uses its own part of this")]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// The account that most tests trade with.
pub const KEY: &str = "KEYDESK";
/// Its secret, made for tests.
pub const SECRET: &str = "desk-secret-for-tests-0123456789";
/// A second account.
pub const OTHER_KEY: &str = "KEYOTHER";
/// Its secret, made for tests.
pub const OTHER_SECRET: &str = "other-secret-for-tests-0123456789";

const DEADLINE: Duration = Duration::from_secs(20);

/// A directory with accounts, secrets and, if asked for, state.
pub struct Home {
    pub directory: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Self { directory };
        for (name, secret) in [("desk", SECRET), ("other", OTHER_SECRET)] {
            let path = home.path(&format!("{name}.secret"));
            std::fs::write(&path, format!("{secret}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let accounts = [("desk", KEY), ("other", OTHER_KEY)]
            .map(|(name, key)| {
                format!(
                    "[[account]]\nid = \"{name}\"\napi_key = \"{key}\"\n\
                     secret_file = \"{name}.secret\"\nbalance = \"100000\"\n"
                )
            })
            .concat();
        std::fs::write(home.path("accounts.toml"), accounts).unwrap();
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A recording of one book that stays as it is: bids at 1.9999 and below, asks from 2.0001.
    pub fn still_book(&self) -> PathBuf {
        let side = |sign: i64| -> Vec<Value> {
            let price = |ticks: i64| format!("{}.{:04}", ticks / 10_000, ticks % 10_000);
            (1..=60)
                .map(|index| json!([price(20_000 + sign * index), "1000"]))
                .collect()
        };
        let line = json!({
            "topic": "orderbook.500.XRPUSDT", "type": "snapshot", "ts": 1_733_011_200_691_u64,
            "data": {"s": "XRPUSDT", "b": side(-1), "a": side(1), "u": 1, "seq": 1},
            "cts": 1_733_011_200_589_u64,
        });
        let path = self.path("still.data");
        std::fs::write(&path, format!("{line}\n")).unwrap();
        path
    }

    /// The command with accounts and ports of the system's choice.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paper-exchange"));
        command
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .arg("--port-file")
            .arg(self.path("port"))
            .arg("--admin-port-file")
            .arg(self.path("admin-port"))
            .arg("--accounts")
            .arg(self.path("accounts.toml"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // Limits that no test meets by accident.
        for limit in [
            "--order-rate-per-second",
            "--query-rate-per-second",
            "--address-rate-per-5s",
        ] {
            if !args.contains(&limit) {
                command.args([limit, "1000000"]);
            }
        }
        command
    }

    /// Starts an exchange and waits until it is healthy.
    pub fn start(&self, args: &[&str]) -> Exchange {
        self.spawn(self.command(args))
    }

    /// Starts an exchange on the still book.
    pub fn start_still(&self, args: &[&str]) -> Exchange {
        let book = self.still_book();
        let mut all = vec!["--replay", book.to_str().unwrap()];
        all.extend(args);
        self.start(&all)
    }

    pub fn spawn(&self, mut command: Command) -> Exchange {
        for name in ["port", "admin-port"] {
            let _ = std::fs::remove_file(self.path(name));
        }
        let log = std::fs::File::create(self.path("log")).unwrap();
        let child = command.stderr(log).spawn().unwrap();
        let mut exchange = Exchange {
            child,
            port: 0,
            admin: 0,
            log: self.path("log"),
        };
        exchange.port = exchange.wait_for_port(&self.path("port"));
        exchange.admin = exchange.wait_for_port(&self.path("admin-port"));
        exchange.until("a healthy exchange", |exchange| {
            exchange
                .http("GET", exchange.port, "/healthz", &[], "")
                .is_ok_and(|reply| reply.status == 200)
        });
        exchange
    }
}

/// A running exchange, killed by its own pid at the end.
pub struct Exchange {
    pub child: Child,
    pub port: u16,
    pub admin: u16,
    log: PathBuf,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is something; `None` when there is nothing in time.
pub fn wait_for<T>(patience: Duration, mut poll: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        match poll() {
            None if begun.elapsed() < patience => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            found => return found,
        }
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|cause| panic!("{cause}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn code(&self) -> i64 {
        self.json()["retCode"].as_i64().unwrap()
    }

    /// `result` of an answer that must have succeeded.
    pub fn result(&self) -> Value {
        assert_eq!(self.code(), 0, "{}", self.body);
        self.json()["result"].clone()
    }
}

pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}

pub fn sign(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Signed headers of a request.
pub fn signed(key: &str, secret: &str, timestamp: i64, payload: &str) -> Vec<(String, String)> {
    let signature = sign(secret, &format!("{timestamp}{key}5000{payload}"));
    [
        ("X-BAPI-API-KEY", key.to_owned()),
        ("X-BAPI-TIMESTAMP", timestamp.to_string()),
        ("X-BAPI-RECV-WINDOW", "5000".to_owned()),
        ("X-BAPI-SIGN", signature),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

impl Exchange {
    /// Polls until `probe` holds; panics with the log when it does not in time.
    pub fn until(&mut self, what: &str, mut probe: impl FnMut(&Self) -> bool) {
        let held = wait_for(DEADLINE, || {
            if probe(self) {
                return Some(());
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "no {what}: {ended:?}; log: {}", self.log());
            None
        });
        assert!(held.is_some(), "no {what} in time; log: {}", self.log());
    }

    fn wait_for_port(&mut self, path: &Path) -> u16 {
        self.until("port file", |_| path.exists());
        std::fs::read_to_string(path)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// One request on a connection of its own.
    pub fn http(
        &self,
        method: &str,
        port: u16,
        target: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> std::io::Result<Reply> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text
            .split_once("\r\n\r\n")
            .ok_or_else(|| std::io::Error::other("closed without an answer"))?;
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(Reply {
            status,
            headers,
            body: body.to_owned(),
        })
    }

    pub fn public(&self, target: &str) -> Reply {
        self.http("GET", self.port, target, &[], "").unwrap()
    }

    pub fn try_post(&self, key: (&str, &str), path: &str, body: &Value) -> std::io::Result<Reply> {
        let body = body.to_string();
        let headers = signed(key.0, key.1, now_ms(), &body);
        self.http("POST", self.port, path, &headers, &body)
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.try_post((KEY, SECRET), path, body).unwrap()
    }

    pub fn get_as(&self, key: (&str, &str), path: &str, query: &str) -> Reply {
        let headers = signed(key.0, key.1, now_ms(), query);
        let target = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        };
        self.http("GET", self.port, &target, &headers, "").unwrap()
    }

    pub fn get(&self, path: &str, query: &str) -> Reply {
        self.get_as((KEY, SECRET), path, query)
    }

    pub fn create(&self, link_id: &str, side: &str, qty: &str, price: &str) -> Reply {
        self.post("/v5/order/create", &order(link_id, side, qty, price))
    }

    pub fn fault(&self, fault: &Value) -> u64 {
        let reply = self
            .http("POST", self.admin, "/admin/faults", &[], &fault.to_string())
            .unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["id"].as_u64().unwrap()
    }

    pub fn admin(&self, path: &str) -> Value {
        self.http("GET", self.admin, path, &[], "").unwrap().json()
    }

    pub fn socket(&self, path: &str) -> Socket {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let url = format!("ws://127.0.0.1:{}{path}", self.port);
        let (socket, _) = tungstenite::client(url, stream).unwrap();
        Socket { socket }
    }

    /// A private socket that has logged in.
    pub fn private_socket(&self, topics: &[&str]) -> Socket {
        let mut socket = self.socket("/v5/private");
        let reply = socket.login(KEY, SECRET, now_ms() + 5_000);
        assert_eq!(reply["success"], true, "{reply}");
        let reply = socket.ask(&json!({"op": "subscribe", "args": topics, "req_id": "s"}));
        assert_eq!(reply["success"], true, "{reply}");
        socket
    }

    pub fn signal(&self, signal: i32) {
        let status = Command::new("kill")
            .args([format!("-{signal}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        let ended = wait_for(DEADLINE, || self.child.try_wait().unwrap());
        ended.unwrap_or_else(|| panic!("still running; log: {}", self.log()))
    }
}

/// A limit order of XRPUSDT.
pub fn order(link_id: &str, side: &str, qty: &str, price: &str) -> Value {
    json!({
        "category": "linear", "symbol": "XRPUSDT", "side": side, "orderType": "Limit",
        "qty": qty, "price": price, "timeInForce": "GTC", "orderLinkId": link_id,
    })
}

/// A WebSocket client.
pub struct Socket {
    socket: WebSocket<TcpStream>,
}

impl Socket {
    pub fn send(&mut self, message: &Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .unwrap();
    }

    /// The next JSON message, or why there is none.
    pub fn try_next(&mut self) -> Result<Value, tungstenite::Error> {
        loop {
            match self.socket.read()? {
                Message::Text(text) => return Ok(serde_json::from_str(text.as_str()).unwrap()),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    pub fn next(&mut self) -> Value {
        self.try_next().unwrap()
    }

    /// Sends and answers the next message.
    pub fn ask(&mut self, message: &Value) -> Value {
        self.send(message);
        self.next()
    }

    pub fn login(&mut self, key: &str, secret: &str, expires: i64) -> Value {
        let signature = sign(secret, &format!("GET/realtime{expires}"));
        self.ask(&json!({"op": "auth", "args": [key, expires, signature]}))
    }

    /// The first item of the next message of a topic; other topics are passed over.
    pub fn next_of(&mut self, topic: &str) -> Value {
        loop {
            let message = self.next();
            if message["topic"] == topic {
                let data = &message["data"];
                return if data.is_array() {
                    data[0].clone()
                } else {
                    message
                };
            }
        }
    }

    /// The next message if one comes in time.
    pub fn next_within(&mut self, duration: Duration) -> Option<Value> {
        self.socket
            .get_mut()
            .set_read_timeout(Some(duration))
            .unwrap();
        let message = match self.try_next() {
            Ok(message) => Some(message),
            Err(tungstenite::Error::Io(_)) => None,
            Err(other) => panic!("{other}"),
        };
        self.socket
            .get_mut()
            .set_read_timeout(Some(DEADLINE))
            .unwrap();
        message
    }

    /// Whether nothing arrives for so long.
    pub fn is_quiet_for(&mut self, duration: Duration) -> bool {
        self.socket
            .get_mut()
            .set_read_timeout(Some(duration))
            .unwrap();
        let quiet = match self.socket.read() {
            Err(tungstenite::Error::Io(cause)) => {
                matches!(
                    cause.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                )
            }
            Ok(_) | Err(_) => false,
        };
        self.socket
            .get_mut()
            .set_read_timeout(Some(DEADLINE))
            .unwrap();
        quiet
    }
}
