//! What stands in a sealed bundle: for tests that spoil it, and for tests that look for its secrets
//! where they must not be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use portcullis_runtime::sealed_file::SealedFile;
use portcullis_runtime::secret::read_hex_key;
use toml::{Table, Value};

const KIND: SealedFile = SealedFile {
    magic: b"PORTCULLIS-IDENT",
    version: 1,
};

/// The text of a bundle whose key lies beside it.
///
/// # Panics
/// When it does not open.
#[must_use]
pub fn content(folder: &Path) -> Table {
    let sealed = fs::read(folder.join("bundle.sealed")).expect("a bundle");
    let key = read_hex_key(&folder.join("bundle.key")).expect("the key of the bundle");
    let lead = lead(&sealed).len();
    let opened = KIND
        .open(&key, lead, &[], &sealed)
        .expect("open the bundle");
    let text = String::from_utf8(opened.to_vec()).expect("text");
    text.parse().expect("TOML")
}

/// Changes the text of a bundle and seals it again under its own key.
///
/// # Panics
/// When it does not open, or cannot be written.
pub fn change(folder: &Path, change: impl FnOnce(&mut Table)) {
    let mut text = content(folder);
    change(&mut text);
    let path = folder.join("bundle.sealed");
    let sealed = fs::read(&path).expect("a bundle");
    let key = read_hex_key(&folder.join("bundle.key")).expect("the key of the bundle");
    let text = text.to_string().into_bytes();
    let bytes = KIND.seal(&key, lead(&sealed), &[], text.into());
    fs::write(&path, bytes.expect("seal the bundle")).expect("write the bundle");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("close the bundle");
}

/// Puts a part of another's bundle into this one: `ca`, `nkey_seed`, `certificate`, `link`, …
///
/// # Panics
/// When there is no such part.
pub fn take(folder: &Path, from: &Path, parts: &[&str]) {
    let other = content(from);
    change(folder, |mine| {
        for part in parts {
            if let Some(value) = other.get(*part) {
                mine.insert((*part).to_owned(), value.clone());
                continue;
            }
            let theirs = transport(&other)
                .get(*part)
                .expect("a part of that name")
                .clone();
            let transports = mine.get_mut("transport").and_then(Value::as_array_mut);
            for transport in transports.expect("transports") {
                let table = transport.as_table_mut().expect("a table");
                table.insert((*part).to_owned(), theirs.clone());
            }
        }
    });
}

fn transport(text: &Table) -> &Table {
    let transports = text.get("transport").and_then(Value::as_array);
    let first = transports.and_then(|all| all.first());
    first.and_then(Value::as_table).expect("a transport")
}

/// Magic, version, then realm and name with their lengths: the last two are the lead.
fn lead(sealed: &[u8]) -> &[u8] {
    let after = KIND.after_version(sealed).expect("a sealed bundle");
    let realm = 1 + usize::from(after[0]);
    let name = 1 + usize::from(after[realm]);
    &after[..realm + name]
}

/// Every secret below a folder of identities or of the exchange: what a thief would look for, with the
/// file that it is from. The lines of a private key count one by one; a bundle counts where its key
/// lies beside it.
#[must_use]
pub fn secrets(below: &Path) -> Vec<(PathBuf, String)> {
    let mut secrets = Vec::new();
    for path in files(below) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == "bundle.sealed" && path.with_file_name("bundle.key").exists() {
            let mut found = Vec::new();
            collect(
                &Value::Table(content(path.parent().unwrap_or(below))),
                "",
                &mut found,
            );
            secrets.extend(found.into_iter().map(|secret| (path.clone(), secret)));
        } else if name.ends_with(".key") || name.ends_with(".secret") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            secrets.extend(lines(&text).map(|line| (path.clone(), line)));
        }
    }
    secrets
}

fn collect(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                let under_secret = key == "secret";
                collect(value, if under_secret { "secret" } else { name }, found);
            }
        }
        Value::Array(array) => array.iter().for_each(|value| collect(value, key, found)),
        Value::String(text) if matches!(key, "key" | "seed" | "nkey_seed" | "secret") => {
            found.extend(lines(text));
        }
        _ => {}
    }
}

/// The last line of a PEM file may be so short that it is found by chance.
fn lines(text: &str) -> impl Iterator<Item = String> + '_ {
    let secret = |line: &&str| line.len() >= 16 && !line.starts_with("-----");
    text.lines()
        .map(str::trim)
        .filter(secret)
        .map(str::to_owned)
}

fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
