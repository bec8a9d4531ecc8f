//! Starting and stopping: what is refused, in which words, with which exit code.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use support::Home;

/// Exit code and standard error of a start that must fail.
fn failure(home: &Home, args: &[&str]) -> (Option<i32>, String) {
    let output = home.command(args).stderr(Stdio::piped()).output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn wrong_arguments_exit_2_and_say_what_is_right() {
    let home = Home::new();
    let good = ["--generate", "BTCUSDT"];
    let cases: [(&[&str], &str); 9] = [
        (&[], "no market: give --generate SYMBOL or --replay FILE"),
        (&["--generate", "btc"], "a symbol looks like BTCUSDT"),
        (
            &["--generate", "BTCUSDT", "--generate", "BTCUSDT"],
            "more than one market",
        ),
        (
            &["--replay", "/nowhere.data"],
            "open the recording /nowhere.data",
        ),
        (
            &["--generate", "BTCUSDT", "--speed", "0"],
            "--speed \"0\" must be a decimal",
        ),
        (
            &["--generate", "BTCUSDT", "--taker-fee", "1"],
            "--taker-fee",
        ),
        (
            &["--generate", "BTCUSDT", "--interval-ms", "0"],
            "--interval-ms",
        ),
        (&["--generate", "BTCUSDT", "--frobnicate"], "--frobnicate"),
        (
            &["--generate", "BTCUSDT", "--instruments", "/nowhere.toml"],
            "/nowhere.toml",
        ),
    ];
    for (args, words) in cases {
        let (code, error) = failure(&home, args);
        assert_eq!(code, Some(2), "{args:?}: {error}");
        assert!(error.contains(words), "{args:?}: {error}");
    }
    std::fs::remove_file(home.path("desk.secret")).unwrap();
    let (code, error) = failure(&home, &good);
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("desk.secret") && error.contains("chmod 600"),
        "{error}"
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    let home = Home::new();
    let (code, error) = failure(&home, &["--generate", "btc", "--maker-fee", "x"]);
    assert_eq!(code, Some(2));
    assert!(
        error.contains("a symbol looks like") && error.contains("--maker-fee"),
        "{error}"
    );
}

#[test]
fn a_secret_that_others_can_read_is_refused_and_never_shown() {
    let home = Home::new();
    let secret = home.path("desk.secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, error) = failure(&home, &["--generate", "BTCUSDT"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("run `chmod 600"), "{error}");
    assert!(!error.contains(support::SECRET), "{error}");
}

#[test]
fn addresses_that_others_can_reach_are_refused() {
    let home = Home::new();
    let run = |listen: &str, admin: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_paper-exchange"))
            .args([
                "--generate",
                "BTCUSDT",
                "--listen",
                listen,
                "--admin",
                admin,
                "--accounts",
            ])
            .arg(home.path("accounts.toml"))
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, error) = run("0.0.0.0:0", "127.0.0.1:0");
    assert_eq!(code, Some(2));
    assert!(error.contains("say --allow-remote"), "{error}");
    let (code, error) = run("127.0.0.1:0", "0.0.0.0:0");
    assert_eq!(code, Some(2));
    assert!(
        error.contains("--admin 0.0.0.0:0 must be a loopback address"),
        "{error}"
    );
}

#[test]
fn a_taken_port_exits_1_and_says_what_to_do() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_paper-exchange"))
        .args(["--generate", "BTCUSDT", "--listen", &address, "--accounts"])
        .arg(home.path("accounts.toml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("listen on {address}")), "{error}");
    assert!(
        error.contains("stop what uses it or choose another"),
        "{error}"
    );
}

#[test]
fn sigterm_ends_it_with_code_0_although_sockets_are_open() {
    let home = Home::new();
    let mut exchange = home.start(&["--generate", "BTCUSDT"]);
    let mut socket = exchange.private_socket(&["order"]);
    exchange.signal(15);
    assert_eq!(exchange.wait().code(), Some(0), "{}", exchange.log());
    assert!(socket.try_next().is_err());
    for line in exchange.log().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
        assert!(!line.contains(support::SECRET));
    }
}

#[test]
fn an_unwritable_state_directory_exits_1() {
    let home = Home::new();
    let file = home.path("file");
    std::fs::write(&file, "").unwrap();
    let state = file.join("state");
    let args = ["--generate", "BTCUSDT", "--state", state.to_str().unwrap()];
    let (code, error) = failure(&home, &args);
    assert_eq!(code, Some(1));
    assert!(error.contains("create the state directory"), "{error}");
}

#[test]
fn a_recording_that_breaks_later_stops_the_exchange_and_names_the_line() {
    let home = Home::new();
    let path = home.still_book();
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("not a message\n");
    std::fs::write(&path, text).unwrap();
    let (code, error) = failure(&home, &["--replay", path.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(error.contains("still.data line 2"), "{error}");
}
