//! The whole stack as a user starts it: `portcullis dev up` with the real binaries, in a folder that
//! goes away with the test.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A running stack; dropping it stops everything.
pub struct Stack {
    child: Child,
    folder: TempDir,
    binaries: PathBuf,
    admin: u16,
}

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn binaries() -> PathBuf {
    // The test binary lies in <target>/<profile>/deps.
    let test = std::env::current_exe().expect("this test's own path");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("a target folder")
        .to_owned();
    assert!(
        folder.join("portcullis").exists() && folder.join("execution").exists(),
        "the services are not built in {}: run `cargo build --workspace --bins` first",
        folder.display()
    );
    folder
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Polls until something is there; fails with `what` after the deadline.
pub fn wait_for<T>(what: &str, deadline: Duration, mut poll: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(
            begun.elapsed() < deadline,
            "waited {deadline:?} in vain: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

impl Stack {
    /// Starts a stack and waits until it may trade.
    pub fn start(config: &Path, arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let binaries = binaries();
        let admin = free_port();
        let child = Self::up(&binaries, folder.path(), config, admin, arguments);
        let stack = Self {
            child,
            folder,
            binaries,
            admin,
        };
        stack.wait_until_trading(Duration::from_secs(60));
        stack
    }

    fn up(binaries: &Path, folder: &Path, config: &Path, admin: u16, arguments: &[&str]) -> Child {
        let log = std::fs::File::create(folder.join("up.log")).expect("a log");
        Command::new(binaries.join("portcullis"))
            .args(["dev", "up", "--headless", "--no-strategy", "--dir"])
            .arg(folder.join("stack"))
            .arg("--config")
            .arg(config)
            .arg("--nats-server")
            .arg(nats_server())
            .arg(format!("--exchange-argument=--admin=127.0.0.1:{admin}"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("start portcullis dev up")
    }

    /// The development folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("stack")
    }

    /// The address of the bus.
    pub fn bus(&self) -> String {
        let ports = std::fs::read_to_string(self.folder().join("run/ports.toml")).expect("ports");
        let line = ports
            .lines()
            .find(|line| line.starts_with("nats = "))
            .expect("a port");
        format!("tls://127.0.0.1:{}", line.trim_start_matches("nats = "))
    }

    /// What `portcullis VERB --json` says, and its exit code.
    pub fn portcullis(&self, arguments: &[&str]) -> (i32, Value) {
        let output = Command::new(self.binaries.join("portcullis"))
            .arg("--dir")
            .arg(self.folder())
            .arg("--json")
            .args(arguments)
            .output()
            .expect("run portcullis");
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or("null");
        let value = serde_json::from_str(last)
            .or_else(|_| serde_json::from_str(&text))
            .unwrap_or(Value::Null);
        (output.status.code().unwrap_or(-1), value)
    }

    /// What the exchange's admin endpoint says.
    pub fn exchange(&self, path: &str) -> Value {
        self.try_exchange(path).expect("the exchange answers")
    }

    fn try_exchange(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.admin)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// Waits until new orders would be sent.
    pub fn wait_until_trading(&self, deadline: Duration) {
        let mut last = Value::Null;
        let begun = Instant::now();
        while begun.elapsed() < deadline {
            last = self.portcullis(&["status"]).1;
            if last["standing"] == "trading" {
                return;
            }
        }
        panic!("not trading after {deadline:?}: {last}\n{}", self.log());
    }

    /// The process id of a part of the stack.
    pub fn pid(&self, name: &str) -> Option<u32> {
        let path = self.folder().join(format!("run/{name}.pid"));
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    /// `kill -9`, then waits until the supervisor has started it again.
    pub fn kill_and_wait(&self, name: &str) {
        let before = self.pid(name).expect("a process id");
        let killed = Command::new("kill")
            .args(["-9", &before.to_string()])
            .status();
        assert!(killed.expect("run kill").success(), "kill -9 {name}");
        wait_for(
            &format!("{name} starts again"),
            Duration::from_secs(30),
            || self.pid(name).filter(|pid| *pid != before),
        );
    }

    /// What the supervisor said.
    pub fn log(&self) -> String {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        read(self.folder.path().join("up.log"))
    }

    /// Asks the stack to stop and waits for it.
    pub fn stop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        let _ = self.child.kill();
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- the supervisor said:\n{}", self.log());
            let logs = std::fs::read_dir(self.folder().join("log"));
            for log in logs.into_iter().flatten().flatten() {
                let text = std::fs::read_to_string(log.path()).unwrap_or_default();
                let lines: Vec<&str> = text
                    .lines()
                    .filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""))
                    .collect();
                let tail = lines.iter().rev().take(8).rev();
                eprintln!("--- {}:", log.path().display());
                tail.for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

fn nats_server() -> PathBuf {
    let path = std::env::var_os("PORTCULLIS_NATS_SERVER")
        .map_or_else(|| root().join(".tools/bin/nats-server"), PathBuf::from);
    assert!(
        path.exists(),
        "no nats-server at {}: run ./scripts/tools test",
        path.display()
    );
    path
}
