//! Grades the exchange with clients that nobody here wrote: pybit and ccxt, pinned with hashes in
//! `clients/requirements.txt`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use support::{Home, KEY, SECRET, wait_for};

fn python() -> PathBuf {
    let python = std::env::var_os("PORTCULLIS_TEST_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/venv/bin/python"),
        PathBuf::from,
    );
    assert!(
        python.exists(),
        "no Python with the pinned clients at {}; run ./scripts/tools, or point \
         PORTCULLIS_TEST_PYTHON at an interpreter that has \
         crates/paper-exchange/tests/clients/requirements.txt installed",
        python.display()
    );
    python
}

fn grade(name: &str, symbol: &str) {
    let python = python();
    let home = Home::new();
    let exchange = home.start(&["--generate", symbol, "--seed", "11"]);
    let settings = json!({
        "http": format!("http://127.0.0.1:{}", exchange.port),
        "ws": format!("ws://127.0.0.1:{}", exchange.port),
        "api_key": KEY,
        "api_secret": SECRET,
        "symbol": symbol,
        "balance": "100000",
    });
    let (said, error) = (home.path("said"), home.path("error"));
    let mut client = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/clients/{name}_client.py")))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(File::create(&said).unwrap())
        .stderr(File::create(&error).unwrap())
        .spawn()
        .unwrap();
    client
        .stdin
        .take()
        .unwrap()
        .write_all(settings.to_string().as_bytes())
        .unwrap();
    let status = wait_for(Duration::from_secs(90), || client.try_wait().unwrap());
    if status.is_none() {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let (said, error) = (read(&said), read(&error));
    assert!(
        status.is_some_and(|status| status.success()),
        "{name} with {symbol}: {status:?} {said}{error}{}",
        exchange.log()
    );
    assert_eq!(said.trim(), format!("{name}: all checks passed"), "{error}");
}

#[test]
fn pybit_trades_queries_and_listens() {
    grade("pybit", "BTCUSDT");
}

#[test]
fn ccxt_trades_and_queries() {
    grade("ccxt", "XRPUSDT");
}
