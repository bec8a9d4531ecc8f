//! What a service does not start with: one line says what is wrong, one what to do about it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::bundle;
use crate::support::{Stack, binaries, nats_server, root};

/// Nobody listens there: whoever gets as far as the bus would wait for it.
const NO_BUS: &str = "tls://127.0.0.1:1";

/// Development identities in `folder/name`.
fn identities(folder: &Path, name: &str) -> PathBuf {
    let made = folder.join(name);
    let output = Command::new(binaries().join("portcullis"))
        .args(["dev", "init", "--config"])
        .arg(root().join("config"))
        .arg("--dir")
        .arg(&made)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    made
}

/// One service, with everything as it should be unless a test changes it.
struct Service {
    name: &'static str,
    config: PathBuf,
    policy: PathBuf,
    identity: PathBuf,
    state: PathBuf,
    bus: String,
}

impl Service {
    fn of(made: &Path, name: &'static str, bus: &str) -> Self {
        Self {
            name,
            config: root().join(format!("config/{name}.toml")),
            policy: root().join("config/risk-policy.toml"),
            identity: made.join("identity").join(name),
            state: made.join("state").join(name),
            bus: bus.into(),
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        // It ends by itself; a service that started after all must not hang the test.
        command.arg("60").arg(binaries().join(self.name));
        command.arg("--config").arg(&self.config);
        command.arg("--identity").arg(&self.identity);
        command.arg("--state").arg(&self.state);
        command.args(["--bus", &self.bus]).args(arguments);
        if matches!(self.name, "brain" | "risk-guard" | "execution") {
            command.arg("--policy").arg(&self.policy);
        }
        if self.name == "execution" {
            command.args(["--venue-rest", "http://127.0.0.1:1"]);
            command.args(["--venue-stream", "ws://127.0.0.1:1"]);
        }
        command.output().unwrap()
    }

    /// Runs it and asserts how it ends: with this exit code, and these words for people.
    fn refuses(&self, arguments: &[&str], exit: i32, problem: &str, next_step: &str) {
        let output = self.run(arguments);
        assert_refused(self.name, &output, exit, problem, next_step);
    }
}

fn assert_refused(name: &str, output: &Output, exit: i32, problem: &str, next_step: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    let error = said.lines().rfind(|line| line.starts_with("error: "));
    let step = said.lines().rfind(|line| line.starts_with("next step: "));
    let (error, step) = (error.unwrap_or_default(), step.unwrap_or_default());
    assert!(
        error.contains(problem),
        "{name}: no {problem:?} in:\n{said}"
    );
    assert!(
        step.contains(next_step),
        "{name}: no {next_step:?} in:\n{said}"
    );
    assert_eq!(output.status.code(), Some(exit), "{name}:\n{said}");
}

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

const SERVICES: [&str; 6] = [
    "signer",
    "execution",
    "brain",
    "audit",
    "risk-guard",
    "market-data",
];

#[test]
fn a_secret_that_is_missing_or_open_to_others_is_named_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let made = identities(folder.path(), "stack");
    let mut cases: Vec<(&'static str, &str)> = Vec::new();
    for service in SERVICES {
        cases.extend([(service, "bundle.sealed"), (service, "bundle.key")]);
    }
    for (name, secret) in cases {
        let service = Service::of(&made, name, NO_BUS);
        let path = service.identity.join(secret);
        let shown = path.display();

        permit(&path, 0o644);
        let open = format!("secret {shown} is open to others (mode 0644)");
        service.refuses(&[], 2, &open, &format!("chmod 600 {shown}"));
        permit(&path, 0o600);

        let aside = path.with_extension("aside");
        std::fs::rename(&path, &aside).unwrap();
        let missing = format!("secret {shown} is missing");
        let put = format!("put the secret into {shown} (mode 0600, owned by the service)");
        service.refuses(&[], 2, &missing, &put);
        std::fs::rename(&aside, &path).unwrap();
    }
    let service = Service::of(&made, "brain", NO_BUS);
    permit(&service.identity, 0o755);
    let shown = service.identity.display();
    let open = format!("identity folder {shown} is open to others");
    service.refuses(&[], 2, &open, &format!("chmod 700 {shown}"));
}

#[test]
fn an_unknown_key_in_the_settings_is_named_with_its_line() {
    let folder = TempDir::new().unwrap();
    let made = identities(folder.path(), "stack");
    for name in SERVICES {
        let mut service = Service::of(&made, name, NO_BUS);
        let text = std::fs::read_to_string(&service.config).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with('#'), "{name} begins with a comment");
        service.config = folder.path().join(format!("{name}.toml"));
        std::fs::write(&service.config, format!("{first}\nsurprise = 1\n{rest}")).unwrap();
        let shown = service.config.display().to_string();
        let problem = format!("{shown}:2: unknown field `surprise`, expected ");
        service.refuses(&[], 2, &problem, &format!("correct {shown}"));
    }
}

#[test]
fn a_policy_for_other_limits_is_refused() {
    let folder = TempDir::new().unwrap();
    let made = identities(folder.path(), "stack");
    let mut service = Service::of(&made, "execution", NO_BUS);
    let shown = Command::new(binaries().join("execution"))
        .arg("--hard-limits")
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let digest = shown
        .lines()
        .last()
        .and_then(|line| line.strip_prefix("sha256 "));
    let digest = digest.expect("a digest after the limits");
    assert!(shown.contains("DAILY_LOSS_MAX_USD"), "{shown}");
    let policy = std::fs::read_to_string(&service.policy).unwrap();
    assert!(
        policy.contains(digest),
        "the shipped policy is for this binary"
    );
    service.policy = folder.path().join("risk-policy.toml");
    let other = "0".repeat(64);
    std::fs::write(&service.policy, policy.replace(digest, &other)).unwrap();
    let problem =
        format!("hard_limits is {other}, and the limits compiled into this binary have {digest}");
    let shown = service.policy.display().to_string();
    service.refuses(&[], 2, &problem, &format!("correct {shown}"));
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for option in ["--nats-port", "--exchange-port"] {
        let output = Command::new(binaries().join("portcullis"))
            .args(["dev", "up", "--headless", "--no-strategy", "--for", "1"])
            .arg("--dir")
            .arg(folder.path().join("stack"))
            .arg("--config")
            .arg(root().join("config"))
            .arg("--nats-server")
            .arg(nats_server())
            .args([option, &port.to_string()])
            .output()
            .unwrap();
        let problem = format!("port {port} is taken by another program");
        let step = format!("choose another with {option}, or leave it out for a free one");
        assert_refused("dev up", &output, 1, &problem, &step);
    }
    let made = folder.path().join("stack");
    let address = format!("127.0.0.1:{port}");
    for name in SERVICES {
        let service = Service::of(&made, name, NO_BUS);
        let problem = format!("listen for health checks on {address}: Address already in use");
        let step = format!("free {address}, or give --health another address");
        service.refuses(&["--health", &address], 2, &problem, &step);
    }
}

/// A copy of a service's identity, to be spoiled.
fn copy_of(service: &mut Service, folder: &Path) {
    let target = folder.join("copy");
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(&service.identity).arg(&target);
    assert!(copy.status().unwrap().success());
    service.identity = target;
    service.state = folder.join("state");
}

pub fn the_wrong_identity_is_not_admitted(stack: &Stack) {
    let others = TempDir::new().unwrap();
    let foreign = identities(others.path(), "foreign");
    let not_admitted = format!("is not admitted to the bus at {}", stack.bus());
    let check = "check that identity and server belong to the same deployment";
    // What is put into a copy of the brain's identity, and where it is from.
    let ours = stack.folder().join("identity");
    let theirs = foreign.join("identity");
    let unknown = theirs.join("brain");
    let strategy = ours.join("strategy-sample");
    let denied = "check what the bus lets one do: the bus did not tell brain what it may do";
    let compare = "generate the server's configuration anew with this version and this roster";
    let cases = [
        (
            &unknown,
            ["nkey_seed"].as_slice(),
            2,
            not_admitted.as_str(),
            check,
        ),
        (&unknown, &["ca"], 2, &not_admitted, check),
        (&unknown, &["certificate", "key"], 2, &not_admitted, check),
        (&strategy, &["nkey_seed"], 1, denied, compare),
    ];
    for (from, parts, exit, problem, step) in cases {
        let folder = TempDir::new().unwrap();
        let mut service = Service::of(&stack.folder(), "brain", &stack.bus());
        copy_of(&mut service, folder.path());
        bundle::take(&service.identity, from, parts);
        let what = format!("{parts:?} of {}", from.display());
        assert_refused(&what, &service.run(&[]), exit, problem, step);
    }
    // The identity of somebody else altogether.
    let folder = TempDir::new().unwrap();
    let mut service = Service::of(&stack.folder(), "execution", &stack.bus());
    service.identity = ours.join("brain");
    service.state = folder.path().join("state");
    let problem = "is the identity of brain, and execution needs its own";
    service.refuses(
        &[],
        2,
        problem,
        "give --identity the folder that is named like the service",
    );
}

pub fn an_unusable_api_key_is_refused(stack: &Stack) {
    let folder = TempDir::new().unwrap();
    let mut service = Service::of(&stack.folder(), "signer", &stack.bus());
    copy_of(&mut service, folder.path());
    let sealed = service.identity.join("venue.sealed");
    let shown = sealed.display().to_string();
    permit(&sealed, 0o644);
    let open = format!("secret {shown} is open to others (mode 0644)");
    service.refuses(&[], 2, &open, &format!("chmod 600 {shown}"));
    permit(&sealed, 0o600);
    bundle::change(&service.identity, |text| {
        let secrets = text.get_mut("secret").unwrap().as_table_mut().unwrap();
        secrets.insert("venue".into(), "5b".repeat(32).into());
    });
    let another = format!("{shown} does not open: it was sealed with another key");
    service.refuses(&[], 2, &another, "and its key from one backup");
    bundle::change(&service.identity, |text| {
        text.remove("secret").unwrap();
    });
    let missing = "the signer's identity holds no secret `venue`";
    service.refuses(&[], 2, missing, "make the identities anew");
}
