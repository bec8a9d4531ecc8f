//! Keys are exchanged and taken away while the real stack trades: nothing restarts, nothing is
//! refused that should not be, and who is revoked is out.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

#[expect(dead_code, reason = "other tests spoil bundles with the rest of it")]
#[path = "../src/bundle.rs"]
mod bundle;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/load.rs"]
mod load;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use load::Load;
use portcullis_runtime::{Client, Identity};
use portcullis_wire::Text;
use portcullis_wire::messages::Kill;
use portcullis_wire::principal::{Operator, Strategy};
use portcullis_wire::subjects::KILL;
use serde_json::Value;
use support::{Stack, root, wait_for};

const SERVICES: [&str; 6] = [
    "market-data",
    "audit",
    "signer",
    "risk-guard",
    "execution",
    "brain",
];
const BUY: [&str; 5] = ["order", "buy", "XRPUSDT", "--quantity", "20"];
const PATIENCE: Duration = Duration::from_secs(20);
/// The load, below what the venue takes in a second.
const PROPOSALS: u64 = 70;
const PER_SECOND: u64 = 8;

fn pids(stack: &Stack) -> BTreeMap<&'static str, u32> {
    let pid = |name: &&'static str| (*name, stack.pid(name).expect("it runs"));
    SERVICES.iter().chain(&["nats-server"]).map(pid).collect()
}

/// The sum of every line of a metric, over all services.
fn total(stack: &Stack, metric: &str) -> u64 {
    let of = |name: &&str| stack.health(name, "/metrics").expect("metrics").body;
    let lines: Vec<String> = SERVICES.iter().map(of).collect();
    let numbers = lines
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| {
            let rest = line.strip_prefix(metric)?;
            rest.rsplit(' ').next()?.parse::<u64>().ok()
        });
    numbers.sum()
}

fn keys(stack: &Stack, arguments: &[&str]) -> (i32, Value) {
    let mut all = vec!["keys"];
    all.extend(arguments);
    stack.portcullis(&all)
}

fn changed(stack: &Stack, arguments: &[&str]) -> Value {
    let (code, value) = keys(stack, arguments);
    assert_eq!(code, 0, "{arguments:?}: {value:#}");
    assert_eq!(value["event"], "done", "{value:#}");
    value
}

fn trades(stack: &Stack, when: &str) {
    let (code, value) = stack.portcullis(&BUY);
    assert_eq!(code, 0, "an order {when}: {value:#}");
}

/// The audit log keeps every refused envelope as a violation.
fn violations(stack: &Stack) -> u64 {
    let (code, report) = stack.portcullis(&["audit", "verify"]);
    assert_eq!(code, 0, "{report:#}");
    report["violations"].as_u64().expect("a number")
}

#[test]
fn keys_change_under_load_without_a_restart_and_who_is_revoked_is_out() {
    let stack = Stack::start(&root().join("config"), &[]);
    let before = pids(&stack);
    let secrets = bundle::secrets(&stack.folder().join("identity"));
    trades(&stack, "before anything");

    everybodys_link_keys_change_under_load(&stack);
    brain_gets_everything_new(&stack);
    an_emergency_drops_the_earlier_keys_at_once(&stack);
    the_trader_is_out_and_the_others_go_on(&stack);
    the_operators_earlier_key_still_stops_everything(&stack);

    assert_eq!(pids(&stack), before, "nothing was restarted");
    let (code, doctor) = keys(&stack, &["doctor"]);
    assert_eq!(code, 0, "{doctor:#}");
    nobody_tells(&stack, &secrets);
}

fn everybodys_link_keys_change_under_load(stack: &Stack) {
    let refused_before = total(stack, "portcullis_refused_envelopes_total");
    let load = Load::start(
        &stack.folder().join("identity/strategy-sample"),
        &stack.bus(),
        PROPOSALS,
        PER_SECOND,
    );
    wait_for("proposals", PATIENCE, || (load.sent() > 8).then_some(()));
    let done = changed(stack, &["rotate", "--yes", "--lead-seconds", "3"]);
    assert_eq!(done["epoch"], 2, "{done:#}");
    assert_eq!(done["not_seen"], serde_json::json!([]), "{done:#}");
    assert!(load.sent() < PROPOSALS, "the load outlasts the rotation");
    assert_eq!(load.finish(), PROPOSALS);
    let refused = total(stack, "portcullis_refused_envelopes_total") - refused_before;
    assert_eq!(refused, 0, "envelopes were refused during a rotation");
    let outdated = total(stack, "portcullis_outdated_epoch_total");
    assert_eq!(outdated, 0, "somebody went on with the earlier epoch");
    trades(stack, "after a rotation");
    assert_eq!(violations(stack), 0);
}

fn brain_gets_everything_new(stack: &Stack) {
    let shown = keys(stack, &["show", "brain"]).1;
    let earlier = shown["nkeys"][0]["public"]
        .as_str()
        .expect("an NKey")
        .to_owned();
    assert!(connected(stack).contains(&earlier));
    let done = changed(
        stack,
        &[
            "rotate",
            "brain",
            "--yes",
            "--lead-seconds",
            "2",
            "--overlap-minutes",
            "0",
        ],
    );
    assert_eq!(done["principal"], "brain");
    let shown = keys(stack, &["show", "brain"]).1;
    let newest = shown["nkeys"]
        .as_array()
        .expect("NKeys")
        .last()
        .expect("one");
    let newest = newest["public"].as_str().expect("an NKey").to_owned();
    assert_ne!(newest, earlier);
    wait_for(
        "brain joins with its new NKey",
        Duration::from_secs(20),
        || connected(stack).contains(&newest).then_some(()),
    );
    // The stack's own supervisor takes the earlier NKey out of the bus's configuration.
    let config = stack.folder().join("nats/nats.conf");
    wait_for("the earlier NKey is no longer admitted", PATIENCE, || {
        let text = std::fs::read_to_string(&config).expect("the configuration");
        (text.contains(&newest) && !text.contains(&earlier)).then_some(())
    });
    let (code, doctor) = keys(stack, &["doctor"]);
    assert_eq!(code, 0, "{doctor:#}");
    stack.wait_until_trading(PATIENCE);
    trades(stack, "after brain got new keys");
}

fn connected(stack: &Stack) -> String {
    support::http(stack.port("nats_monitor"), "GET", "/connz?auth=true", "")
        .expect("the bus answers")
        .body
}

fn an_emergency_drops_the_earlier_keys_at_once(stack: &Stack) {
    let done = changed(stack, &["rotate", "--emergency", "--yes"]);
    assert_eq!(done["emergency"], true);
    assert_eq!(done["used_from"], done["earlier_until"], "{done:#}");
    let epoch = done["epoch"].as_u64().expect("a number");
    for name in SERVICES {
        let text = bundle::content(&stack.folder().join("identity").join(name));
        let links = text["link"].as_array().expect("links");
        for link in links {
            let number = link["epoch"].as_integer().expect("a number");
            assert_eq!(
                u64::try_from(number),
                Ok(epoch),
                "{name}: {}",
                link["audience"]
            );
        }
    }
    stack.wait_until_trading(PATIENCE);
    trades(stack, "after an emergency");
}

fn the_trader_is_out_and_the_others_go_on(stack: &Stack) {
    let identities = stack.folder().join("identity");
    let stolen = tempfile::tempdir().expect("a folder");
    let copy = copy_of(&identities.join("strategy-trader"), stolen.path());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bus = stack.bus();
    // The thief is on the bus already when the keys are taken away.
    let thief = runtime
        .block_on(Client::<Strategy>::connect(&copy, &bus))
        .expect("join the bus");
    assert!(thief.is_connected());

    let done = changed(stack, &["revoke", "strategy-trader", "--yes"]);
    assert_eq!(done["was_connected"], true, "{done:#}");
    wait_for("the bus drops the thief", PATIENCE, || {
        (!thief.is_connected()).then_some(())
    });
    // With everything that was stolen the thief does not come back: the bus says to its face that it
    // knows neither certificate nor NKey, and a client that keeps trying is never let in.
    let refusals = || {
        stack
            .log_of("nats-server")
            .matches("certificate not pinned")
            .count()
    };
    let before = refusals();
    let again = runtime.block_on(async {
        let again = Client::<Strategy>::connect(&copy, &bus);
        tokio::time::timeout(Duration::from_secs(3), again).await
    });
    assert!(!matches!(again, Ok(Ok(_))), "a revoked identity was let in");
    assert!(refusals() > before, "the bus did not refuse it");
    assert!(!thief.is_connected());
    let (code, value) = stack.portcullis(&BUY);
    assert_ne!(code, 0, "a revoked trader ordered: {value:#}");

    let fills = || {
        let fills = stack.exchange("/admin/executions");
        fills["executions"].as_array().map_or(0, Vec::len)
    };
    let before = fills();
    let load = Load::start(&identities.join("strategy-sample"), &bus, 16, PER_SECOND);
    assert_eq!(load.finish(), 16);
    wait_for("fills of the other strategy", PATIENCE, || {
        (fills() > before).then_some(())
    });
}

/// The machine of an operator may have the new keys later than the services: until the overlap ends
/// a command with the earlier ones must stop them.
fn the_operators_earlier_key_still_stops_everything(stack: &Stack) {
    let folder = tempfile::tempdir().expect("a folder");
    let identity = stack.folder().join("identity/operator-dev");
    let earlier = copy_of(&identity, folder.path());
    changed(
        stack,
        &["rotate", "operator-dev", "--yes", "--lead-seconds", "1"],
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bus = stack.bus();
    let operator = Client::<Operator>::connect(&earlier, &bus);
    let operator = runtime.block_on(operator).expect("join the bus");
    let held = operator.identity();
    let signer = held.signing.as_ref().expect("a key to sign with");
    let present = Identity::load(&identity).expect("the operator's identity");
    let newest = present.signing.expect("a key to sign with").verifying();
    assert_ne!(signer.verifying(), newest);
    let command = Kill {
        realm: held.realm,
        operator: held.name,
        reason: Text::lossy("drill"),
        at: operator.now(),
    };
    let signed = signer.sign(&command).expect("sign the command");
    let sent = operator.publish(&KILL, None, &signed, None, None);
    sent.expect("send the command");
    runtime.block_on(operator.flush()).expect("it has left");
    for name in ["risk-guard", "execution", "signer"] {
        let latch = stack.folder().join("state").join(name).join("latch.toml");
        wait_for(&format!("{name} to stop"), PATIENCE, || {
            let text = std::fs::read_to_string(&latch).ok()?;
            text.contains("operator-dev").then_some(())
        });
    }
}

fn copy_of(identity: &Path, to: &Path) -> PathBuf {
    let target = to.join("stolen");
    let mut copy = std::process::Command::new("cp");
    let copied = copy.arg("-a").arg(identity).arg(&target).status();
    assert!(copied.expect("run cp").success());
    target
}

/// Neither the keys from before nor those that were made meanwhile are in any log.
fn nobody_tells(stack: &Stack, before: &[(PathBuf, String)]) {
    let mut secrets = before.to_vec();
    secrets.extend(bundle::secrets(&stack.folder().join("identity")));
    let mut logs = stack.log();
    for name in SERVICES.iter().chain(&["nats-server", "paper-exchange"]) {
        logs.push_str(&stack.log_of(name));
    }
    assert!(logs.len() > 1_000);
    for (path, secret) in secrets {
        assert!(
            !logs.contains(&secret),
            "a log tells what is in {}",
            path.display()
        );
    }
}
