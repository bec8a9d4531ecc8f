//! The whole stack as a user starts it: `portcullis dev up` with the real binaries, in a folder that
//! goes away with the test.

use std::ffi::OsString;
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
    setup: Setup,
}

/// How a stack is started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The folder with the settings.
    pub config: PathBuf,
    /// Further arguments of `portcullis dev up`.
    pub arguments: Vec<String>,
    /// What `portcullis` is started through; it has to replace itself by it.
    pub through: Vec<OsString>,
    /// Variables of the environment, for all of it.
    pub environment: Vec<(&'static str, &'static str)>,
}

/// The answer of an HTTP server.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder with the binaries that were built with this test.
pub fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("this program's own path");
    // A test lies in <target>/<profile>/deps, a program in <target>/<profile>.
    let mut folder = test.parent().expect("a folder").to_owned();
    if folder.ends_with("deps") {
        folder.pop();
    }
    assert!(
        folder.join("portcullis").exists() && folder.join("execution").exists(),
        "the services are not built in {}: run `cargo build --workspace --bins` first",
        folder.display()
    );
    folder
}

/// A port of the loopback interface that nobody listens on.
pub fn free_port() -> u16 {
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
        let setup = Setup {
            config: config.to_owned(),
            arguments: arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
            ..Setup::default()
        };
        Self::start_in(TempDir::new().expect("a folder"), setup)
    }

    /// Starts a stack from the folder `stack` in this one and waits until it may trade.
    pub fn start_in(folder: TempDir, setup: Setup) -> Self {
        let binaries = binaries();
        let admin = free_port();
        let child = Self::up(&binaries, folder.path(), admin, &setup);
        let stack = Self {
            child,
            folder,
            binaries,
            admin,
            setup,
        };
        stack.wait_until_trading(Duration::from_secs(60));
        stack
    }

    /// Starts it again from its folder, after it was stopped. Waits for nothing.
    pub fn start_again(&mut self) {
        let running = matches!(self.child.try_wait(), Ok(None));
        assert!(!running, "the stack was stopped before");
        self.child = Self::up(&self.binaries, self.folder.path(), self.admin, &self.setup);
    }

    fn up(binaries: &Path, folder: &Path, admin: u16, setup: &Setup) -> Child {
        let log = std::fs::File::create(folder.join("up.log")).expect("a log");
        let mut line = setup.through.clone();
        line.push(binaries.join("portcullis").into());
        Command::new(line.remove(0))
            .args(line)
            .args(["dev", "up", "--headless", "--no-strategy", "--dir"])
            .arg(folder.join("stack"))
            .arg("--config")
            .arg(&setup.config)
            .arg("--nats-server")
            .arg(nats_server())
            .arg(format!("--exchange-argument=--admin=127.0.0.1:{admin}"))
            .args(&setup.arguments)
            .envs(setup.environment.iter().copied())
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
        format!("tls://127.0.0.1:{}", self.port("nats"))
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

    /// The same, where the exchange may be away.
    pub fn try_exchange(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&http(self.admin, "GET", path, "")?.body).ok()
    }

    /// Asks the exchange for a fault.
    pub fn fault(&self, fault: &Value) {
        let answer = http(self.admin, "POST", "/admin/faults", &fault.to_string());
        let answer = answer.expect("the exchange answers");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// What a service answers on its health port, if it answers.
    pub fn health(&self, name: &str, path: &str) -> Option<Answer> {
        let file = self.folder().join(format!("run/{name}.health"));
        let port = std::fs::read_to_string(file).ok()?;
        http(port.trim().parse().ok()?, "GET", path, "")
    }

    /// The port of `nats` or `exchange`.
    pub fn port(&self, name: &str) -> u16 {
        let ports = std::fs::read_to_string(self.folder().join("run/ports.toml")).expect("ports");
        let found = ports
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} = ")));
        found.and_then(|port| port.parse().ok()).expect("a port")
    }

    /// The log of a service, from the first start of the stack on.
    pub fn log_of(&self, name: &str) -> String {
        let path = self.folder().join(format!("log/{name}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// The folder of audit's log.
    pub fn audit_log(&self) -> PathBuf {
        self.folder().join("state/audit/log")
    }

    /// The process id of the supervisor.
    pub fn supervisor(&self) -> u32 {
        self.child.id()
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
            let said = self.log();
            assert!(!said.contains("\nerror: "), "it does not start:\n{said}");
        }
        panic!("not trading after {deadline:?}: {last}\n{}", self.log());
    }

    /// Waits for a condition on the status.
    pub fn wait_for_status(&self, what: &str, met: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, Duration::from_secs(60), || {
            let status = self.portcullis(&["status"]).1;
            met(&status).then_some(status)
        })
    }

    /// The process id of a part of the stack.
    pub fn pid(&self, name: &str) -> Option<u32> {
        let path = self.folder().join(format!("run/{name}.pid"));
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    /// `kill -9` of a part that runs; `false` when it does not.
    pub fn kill(&self, name: &str) -> bool {
        let Some(pid) = self.pid(name) else {
            return false;
        };
        // Another process may have the number by now: that one has nothing to do with this folder.
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = self.folder();
        if !String::from_utf8_lossy(&line).contains(&*ours.to_string_lossy()) {
            return false;
        }
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
        killed.expect("run kill").success()
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
        let _ = self.end("-TERM");
    }

    /// As Ctrl-C does; gives back the exit code.
    pub fn interrupt(&mut self) -> Option<i32> {
        self.end("-INT")
    }

    fn end(&mut self, signal: &str) -> Option<i32> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return status.code();
        }
        let _ = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        None
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

/// One HTTP request to the loopback interface; `None` when nobody answers.
pub fn http(port: u16, method: &str, path: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let body = body.to_owned();
    Some(Answer { status, body })
}

/// The settings of the repository in `folder/config`, each text replaced in the file that it names.
pub fn settings(folder: &Path, replacements: &[(&str, &str, &str)]) -> PathBuf {
    let target = folder.join("config");
    std::fs::create_dir(&target).expect("a folder for settings");
    let files = std::fs::read_dir(root().join("config")).expect("the settings");
    for file in files {
        let path = file.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        let mut text = std::fs::read_to_string(&path).expect("settings");
        for (_, from, to) in replacements.iter().filter(|(file, ..)| *file == name) {
            assert!(text.contains(from), "{name} says {from:?}");
            text = text.replace(from, to);
        }
        std::fs::write(target.join(&*name), text).expect("write settings");
    }
    target
}

/// As [`settings`], with circuit breakers that take a thousand failures in a second to trip: for tests that take
/// away what orders need, and then look at something else than the hour for which nothing passes.
pub fn settings_with_slow_breakers(folder: &Path, replacements: &[(&str, &str, &str)]) -> PathBuf {
    let target = settings(folder, replacements);
    let path = target.join("risk-policy.toml");
    let policy = std::fs::read_to_string(&path).expect("the policy");
    let mut slow = 0;
    let mut is_breaker = false;
    let mut text = String::new();
    for line in policy.lines() {
        if line.starts_with('[') {
            is_breaker = line.starts_with("[breakers.");
        }
        let line = match line.split(" = ").next() {
            Some("consecutive" | "percent") if is_breaker => continue,
            Some("failures") if is_breaker => {
                slow += 1;
                "failures = 1000"
            }
            Some("window_s") if is_breaker => "window_s = 1",
            _ => line,
        };
        text.push_str(line);
        text.push('\n');
    }
    assert_eq!(slow, 7, "every breaker is slow");
    std::fs::write(path, text).expect("write the policy");
    target
}

/// Where the bus's binary is.
pub fn nats_server() -> PathBuf {
    let path = std::env::var_os("PORTCULLIS_NATS_SERVER")
        .map_or_else(|| root().join(".tools/bin/nats-server"), PathBuf::from);
    assert!(
        path.exists(),
        "no nats-server at {}: run ./scripts/tools test",
        path.display()
    );
    path
}
