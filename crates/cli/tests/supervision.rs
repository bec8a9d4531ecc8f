//! `portcullis dev up` with the real bus and services that only pretend: what it does when they
//! crash, refuse to start, or lose their supervisor.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic, in its helpers too"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const SERVICES: [&str; 6] = [
    "market-data",
    "audit",
    "signer",
    "risk-guard",
    "execution",
    "brain",
];

/// A program that takes the arguments of a service or of the exchange, and answers that it is well.
const PRETENDER: &str = r#"#!/usr/bin/env python3
import http.server, os, sys

arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))

class Well(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass

port = int(arguments.get("--listen", "127.0.0.1:0").split(":")[1])
server = http.server.HTTPServer(("127.0.0.1", port), Well)
if "--health-port-file" in arguments:
    path = arguments["--health-port-file"]
    with open(path + ".new", "w") as file:
        file.write(str(server.server_port))
    os.rename(path + ".new", path)
server.serve_forever()
"#;

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
        fs::create_dir(root.path().join("config")).unwrap();
        fs::copy(
            shipped.join("risk-policy.toml"),
            root.path().join("config/risk-policy.toml"),
        )
        .unwrap();
        fs::create_dir(root.path().join("bin")).unwrap();
        let world = Self { root };
        for name in SERVICES.iter().chain(&["paper-exchange"]) {
            world.program(name, PRETENDER);
        }
        world
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.root.path().join("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join(".portcullis")
    }

    fn command(&self, more: &[&str]) -> Command {
        let nats = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
        assert!(
            nats.is_file(),
            "{} is missing: run ./scripts/tools run",
            nats.display()
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command
            .args([
                "dev",
                "up",
                "--json",
                "--headless",
                "--no-strategy",
                "--binaries",
                "bin",
            ])
            .args(more)
            .env("PORTCULLIS_NATS_SERVER", nats)
            .current_dir(self.root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn up(&self, more: &[&str]) -> Stack {
        let mut child = self.command(more).spawn().unwrap();
        let events = events(child.stdout.take().unwrap());
        Stack { child, events }
    }

    fn pid(&self, name: &str) -> Option<Pid> {
        let text =
            fs::read_to_string(self.folder().join("run").join(format!("{name}.pid"))).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    /// Everybody who runs, by the pid files.
    fn pids(&self) -> Vec<Pid> {
        let names = SERVICES.iter().chain(&["paper-exchange", "nats-server"]);
        names.filter_map(|name| self.pid(name)).collect()
    }
}

/// A supervisor that is stopped when the test ends, however it ends.
struct Stack {
    child: Child,
    events: mpsc::Receiver<Value>,
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Its children get their death signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn events(stdout: ChildStdout) -> mpsc::Receiver<Value> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
            if sender.send(value).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Stack {
    fn wait_for(&self, what: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) if what(&event) => return event,
                Ok(event) => seen.push(event),
                Err(cause) => panic!("{cause} after {seen:#?}"),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        eventually(deadline, || self.child.try_wait().unwrap()).code()
    }
}

/// Asks again and again; the answer comes from somewhere that cannot be waited on.
fn eventually<T>(deadline: Instant, mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it did not happen in time");
        thread::yield_now();
    }
}

fn is_event(value: &Value, event: &str) -> bool {
    value["event"] == event
}

fn is_gone(pid: Pid) -> bool {
    // A child of a killed supervisor may stay a zombie where nobody reaps: that runs no more.
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok();
    let zombie = state.and_then(|stat| {
        stat.rsplit_once(") ")
            .map(|(_, rest)| rest.starts_with('Z'))
    });
    test_kill_process(pid).is_err() || zombie == Some(true)
}

#[test]
fn a_crashed_service_is_started_again_and_said_so_and_a_stop_leaves_nobody() {
    let world = World::new();
    let mut stack = world.up(&[]);
    let ready = stack.wait_for(|event| is_event(event, "ready"));
    for name in SERVICES {
        assert!(ready["ports"]["health"][name].as_u64().is_some(), "{ready}");
    }
    let ports = fs::read_to_string(world.folder().join("run/ports.toml")).unwrap();
    assert!(
        ports.contains(&format!("nats = {}", ready["ports"]["nats"])),
        "{ports}"
    );

    let before = world.pid("brain").unwrap();
    kill_process(before, Signal::KILL).unwrap();
    let said = stack.wait_for(|event| is_event(event, "process"));
    assert_eq!(said["text"], "brain ended (signal 9); again in 200 ms");
    let deadline = Instant::now() + PATIENCE;
    eventually(deadline, || world.pid("brain").filter(|pid| *pid != before));

    let everybody = world.pids();
    assert_eq!(everybody.len(), 8);
    stack.signal(Signal::TERM);
    let stopped = stack.wait_for(|event| is_event(event, "stopped"));
    assert_eq!(stopped["killed"], Value::Array(vec![]));
    assert_eq!(stack.exit_code(), Some(0));
    for pid in everybody {
        assert!(is_gone(pid), "{pid:?}");
    }
    assert_eq!(world.pids(), [], "pid files of processes that are gone");
}

#[test]
fn a_service_with_a_wrong_configuration_stops_everything_and_its_error_is_shown() {
    let world = World::new();
    let refusal = "#!/bin/sh\necho '{\"level\":\"ERROR\"}' >&2\n\
                   echo 'error: config/signer.toml:3: unknown key' >&2\n\
                   echo 'next step: correct config/signer.toml' >&2\nexit 2\n";
    world.program("signer", refusal);
    let mut stack = world.up(&[]);
    let error = stack.wait_for(|event| event["schema"] == "portcullis.error/1");
    let text = error["error"].as_str().unwrap();
    assert!(text.starts_with("signer ended (exit code 2)"), "{text}");
    assert!(
        text.contains("unknown key") && text.contains("correct config/signer.toml"),
        "{text}"
    );
    assert!(
        !text.contains("level"),
        "the log for machines is not for people: {text}"
    );
    assert_eq!(stack.exit_code(), Some(1));
    assert_eq!(world.pids(), []);
}

#[test]
fn nobody_outlives_a_supervisor_that_is_killed_and_the_next_start_goes_on() {
    let world = World::new();
    let mut stack = world.up(&[]);
    stack.wait_for(|event| is_event(event, "ready"));
    let everybody = world.pids();
    stack.signal(Signal::KILL);
    stack.exit_code();
    let deadline = Instant::now() + PATIENCE;
    for pid in everybody {
        eventually(deadline, || is_gone(pid).then_some(()));
    }
    let mut stack = world.up(&["--for", "1"]);
    let step = stack.wait_for(|event| event["step"] == "development identities");
    assert_eq!(step["result"], "skipped", "the identities stay");
    stack.wait_for(|event| is_event(event, "stopped"));
    assert_eq!(stack.exit_code(), Some(0));
}

#[test]
fn a_second_stack_from_the_same_folder_is_refused_and_one_from_another_is_not() {
    let world = World::new();
    let stack = world.up(&[]);
    stack.wait_for(|event| is_event(event, "ready"));
    let refused = world.command(&[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("a stack already runs from"), "{said}");
    assert!(said.contains("next step:"), "{said}");
    let mut other = world.up(&["--dir", "other", "--for", "1"]);
    other.wait_for(|event| is_event(event, "ready"));
    assert_eq!(other.exit_code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() {
    let world = World::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for option in ["--nats-port", "--exchange-port"] {
        let refused = world.command(&[option, &port]).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            said.contains(&format!("port {port} is taken by another program")),
            "{said}"
        );
        assert!(said.contains(option), "{said}");
    }
}

#[test]
fn what_is_not_built_is_named_before_anything_starts() {
    let world = World::new();
    fs::remove_file(world.root.path().join("bin/execution")).unwrap();
    let refused = world.command(&[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("not built: execution"), "{said}");
    assert!(!world.folder().exists());
}
