//! Another language reads the vectors and makes them.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{folder, golden, hex, unhex, vectors};

#[test]
fn python_reads_the_same_bytes_and_makes_the_same_bytes() {
    let python = std::env::var_os("PORTCULLIS_TEST_PYTHON").map_or_else(
        || folder().join("../../../.tools/venv/bin/python"),
        PathBuf::from,
    );
    assert!(
        python.exists(),
        "no Python for the tests at {}: run ./scripts/tools test",
        python.display()
    );
    let mut child = Command::new(python)
        .arg(folder().join("reference/check.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let vectors = vectors();
    let input = golden(&vectors).to_string();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the reference refused a vector");
    let text = String::from_utf8(output.stdout).unwrap();
    let frames: Vec<&str> = text.lines().collect();
    assert_eq!(frames.len(), vectors.len());
    for (vector, frame) in vectors.iter().zip(frames) {
        assert_eq!(frame, hex(&vector.sealed.frame), "{}", vector.name);
        assert!((vector.opens)(&unhex(frame)), "{}", vector.name);
    }
}
