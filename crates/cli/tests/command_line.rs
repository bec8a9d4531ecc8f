//! The command as a process: what it prints, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use portcullis_testkit::bundle;
use serde_json::Value;

fn portcullis(here: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(line.split_whitespace())
        .current_dir(here)
        .env_remove("PORTCULLIS_BUS")
        .env_remove("PORTCULLIS_NATS_SERVER")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder with the settings that are shipped.
fn checkout() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("config")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/risk-policy.toml");
    fs::copy(shipped, root.path().join("config/risk-policy.toml")).unwrap();
    root
}

#[test]
fn every_verb_teaches_with_examples_and_exit_codes() {
    let here = tempfile::tempdir().unwrap();
    let verbs = [
        "",
        "dev init",
        "dev up",
        "status",
        "order",
        "order buy",
        "orders",
        "kill",
    ];
    let more = [
        "limits",
        "limits set",
        "breakers",
        "breakers open",
        "breakers close",
        "halt",
        "halt lift",
        "release",
        "posture raise",
        "approve",
        "explain",
        "audit verify",
        "audit tail",
        "keys init",
        "keys show",
        "keys rotate",
        "keys revoke",
        "keys apply",
        "keys doctor",
    ];
    for verb in verbs.iter().chain(&more) {
        let help = portcullis(here.path(), &format!("{verb} --help"));
        assert_eq!(help.status.code(), Some(0), "{verb}");
        assert!(
            stdout(&help).contains("EXAMPLES"),
            "{verb}: {}",
            stdout(&help)
        );
    }
    for verb in [
        "limits set",
        "breakers open",
        "breakers close",
        "halt",
        "halt lift",
        "release",
        "posture raise",
        "approve",
    ] {
        let help = stdout(&portcullis(here.path(), &format!("{verb} --help")));
        let ends = "8 it awaits the approval of a second person";
        assert!(help.contains(ends), "{verb}: {help}");
        assert!(help.contains("--operator <NAME>"), "{verb}: {help}");
    }
    let help = stdout(&portcullis(here.path(), "dev --help"));
    assert!(
        !help.contains("run-child"),
        "what only `up` uses is not taught: {help}"
    );
}

#[test]
fn nothing_at_all_shows_the_help_and_is_wrong_use() {
    let here = tempfile::tempdir().unwrap();
    let output = portcullis(here.path(), "");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("./scripts/up"));
}

#[test]
fn wrong_use_ends_with_2_and_says_what_would_be_right() {
    let here = tempfile::tempdir().unwrap();
    let cases = [
        ("kill", "--reason"),
        ("order buy XRPUSDT", "--quantity"),
        (
            "order buy XRPUSDT --quantity 1 --notional 1",
            "cannot be used with",
        ),
        ("order buy XRPUSDT --quantity -1", "--quantity"),
        ("order hold XRPUSDT --quantity 1", "unrecognized subcommand"),
        ("dev up --feed live", "replay:FILE"),
        ("dev up --for 0", "1..=604800"),
        ("audit verify --audit-key zz", "hexadecimal"),
        ("sell", "unrecognized subcommand"),
        ("halt all", "--reason"),
        ("halt sample --reason x", "strategy:STRATEGY"),
        ("halt all --reason x --for 10", "give 30s, 10m or 2h"),
        ("limits set notional all 5 --reason x", "order_notional"),
        ("breakers close network --reason x", "network:VENUE"),
        ("approve 1234567 --reason x", "8 to 64 hexadecimal digits"),
        ("explain order-1", "8 to 32 hexadecimal digits"),
    ];
    for (line, expected) in cases {
        let output = portcullis(here.path(), line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(
            stderr(&output).contains(expected),
            "{line}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "", "{line}");
    }
}

#[test]
fn without_a_stack_every_verb_says_how_to_get_one() {
    let here = tempfile::tempdir().unwrap();
    for verb in [
        "status",
        "orders",
        "order buy XRPUSDT --quantity 1",
        "kill --reason x",
        "limits",
        "limits set leverage all 2 --reason x",
        "breakers",
        "breakers open hsm_failure --reason x",
        "halt all --reason x",
        "halt lift all --reason x",
        "release sample --reason x",
        "posture raise --reason x",
        "approve 12345678 --reason x --yes",
        "explain 12345678",
    ] {
        let output = portcullis(here.path(), verb);
        assert_eq!(output.status.code(), Some(2), "{verb}");
        let said = stderr(&output);
        assert!(
            said.contains("error: no .portcullis folder here or above"),
            "{verb}: {said}"
        );
        assert!(
            said.contains("next step: start the stack with ./scripts/up"),
            "{verb}: {said}"
        );
    }
}

/// A realm with two operators: the command cannot know which of them is typing.
#[test]
fn who_has_several_operators_says_as_which_and_who_has_one_need_not() {
    let root = checkout();
    let made = portcullis(
        root.path(),
        "keys init --dir .portcullis --realm staging --operator alice --operator bob",
    );
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    // A bus that nobody answers at, so that what is said next is about the bus.
    for verb in [
        "kill --reason x",
        "status",
        "orders",
        "limits",
        "breakers",
        "halt all --reason x",
        "halt lift all --reason x",
        "approve 12345678 --reason x",
    ] {
        let verb = format!("--bus tls://127.0.0.1:1 {verb}");
        let unsaid = portcullis(root.path(), &verb);
        assert_eq!(unsaid.status.code(), Some(2), "{verb}: {}", stderr(&unsaid));
        let said = stderr(&unsaid);
        assert!(
            said.contains("several operators")
                && said.contains("--operator operator-alice or --operator operator-bob"),
            "{verb}: {said}"
        );
        let nobody = portcullis(root.path(), &format!("{verb} --operator carol"));
        assert_eq!(nobody.status.code(), Some(2), "{verb}");
        assert!(
            stderr(&nobody).contains("no identity of operator-carol"),
            "{verb}: {}",
            stderr(&nobody)
        );
        let help = stdout(&portcullis(root.path(), &format!("{verb} --help")));
        assert!(help.contains("--operator <NAME>"), "{verb}: {help}");
    }
    let kill = "--bus tls://127.0.0.1:1 kill --reason x";
    for asked in ["bob", "operator-bob"] {
        let said = portcullis(root.path(), &format!("{kill} --operator {asked}"));
        assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
        let unreachable = "the bus at tls://127.0.0.1:1 does not answer";
        assert!(stderr(&said).contains(unreachable), "{}", stderr(&said));
    }
    // Of one who was revoked the folder may be left, and no bundle.
    fs::remove_file(
        root.path()
            .join(".portcullis/identity/operator-alice/bundle.sealed"),
    )
    .unwrap();
    let said = portcullis(root.path(), kill);
    assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
}

#[test]
fn an_error_for_a_script_is_one_json_object() {
    let here = tempfile::tempdir().unwrap();
    let output = portcullis(here.path(), "status --json");
    let value: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(value["schema"], "portcullis.error/1");
    assert_eq!(value["exit_code"], 2);
    assert!(
        value["next_step"]
            .as_str()
            .unwrap()
            .contains("./scripts/up")
    );
}

#[test]
fn init_makes_identities_once_beside_the_settings() {
    let root = checkout();
    let output = portcullis(root.path(), "dev init --json");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let value: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(value["realm"], "dev");
    assert!(
        root.path()
            .join(".portcullis/identity/operator-dev/bundle.sealed")
            .is_file()
    );

    let before = fs::read(root.path().join(".portcullis/identity/realm.toml")).unwrap();
    let again = portcullis(root.path(), "dev init");
    assert_eq!(again.status.code(), Some(2));
    assert!(
        stderr(&again).contains("holds development identities already"),
        "{}",
        stderr(&again)
    );
    let after = fs::read(root.path().join(".portcullis/identity/realm.toml")).unwrap();
    assert_eq!(before, after);
}

#[test]
fn init_without_settings_says_what_is_missing() {
    let here = tempfile::tempdir().unwrap();
    let output = portcullis(here.path(), "dev init");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("with a risk-policy.toml"),
        "{}",
        stderr(&output)
    );
    assert!(!here.path().join(".portcullis").exists());
}

#[test]
fn a_stack_that_is_not_running_is_told_from_one_that_is_not_there() {
    let root = checkout();
    portcullis(root.path(), "dev init");
    let output = portcullis(root.path(), "status");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("nothing has been started"),
        "{}",
        stderr(&output)
    );
    // A port where nobody listens, as after a stop.
    let ports = "nats = 1\nnats_monitor = 2\nexchange = 3\n";
    fs::write(root.path().join(".portcullis/run/ports.toml"), ports).unwrap();
    let output = portcullis(root.path(), "kill --reason drill");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("tls://127.0.0.1:1 does not answer"),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("Execution also stops by itself"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn no_secret_is_ever_printed() {
    let root = checkout();
    let outputs = [
        portcullis(root.path(), "dev init"),
        portcullis(root.path(), "dev init"),
        portcullis(root.path(), "audit verify"),
        portcullis(root.path(), "status --json"),
    ];
    let said: String = outputs
        .iter()
        .map(|output| stdout(output) + &stderr(output))
        .collect();
    let folder = root.path().join(".portcullis");
    let mut secrets = bundle::secrets(&folder.join("identity"));
    secrets.extend(bundle::secrets(&folder.join("exchange")));
    assert!(secrets.len() > 100, "{}", secrets.len());
    for (path, secret) in secrets {
        assert!(!said.contains(&secret), "{}", path.display());
    }
}

#[test]
fn a_log_that_is_not_there_is_an_error_and_not_a_verified_one() {
    let root = checkout();
    portcullis(root.path(), "dev init");
    let output = portcullis(root.path(), "audit verify --json");
    assert_eq!(output.status.code(), Some(1));
    let value: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(
        value["error"].as_str().unwrap().starts_with("verify "),
        "{value}"
    );
}
