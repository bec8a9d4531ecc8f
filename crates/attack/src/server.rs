//! The bus server, taken over: its process, its key and its configuration.
//!
//! ```text
//!  nats.conf ──▶ a user with all rights in every account ──▶ reload ──▶ hear and say anything
//!            ──▶ imports left out                        ──▶ reload ──▶ keep anything back
//! ```
//!
//! It is the real server that does all this: nothing of it is simulated. Whoever is the server needs
//! no bundle to see every message, and has no key to seal one.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use audit::verify::OwnedEntry;
use audit_core::{BusEvent, Own};
use portcullis_runtime::envelope_id;

use crate::stage::{Mark, PATIENCE, Stage};
use crate::wire::{Heard, Login, Said, Wire, poll};

/// How many captured messages of an account are kept.
const HEARD_MAX: usize = 16_384;

/// A connection into one account, with every right there.
pub struct Tap {
    wire: Wire,
    heard: VecDeque<Heard>,
}

impl Tap {
    /// Publishes as if it came from the account's own principal, or were delivered to it.
    ///
    /// # Errors
    /// When the connection ends, or the server refuses.
    pub fn say(&mut self, subject: &str, bytes: &[u8]) -> Result<()> {
        let said = self.wire.publish(subject, "", bytes)?;
        self.keep(said)
    }

    /// Publishes and waits for nothing.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn throw(&mut self, subject: &str, bytes: &[u8]) -> Result<()> {
        self.wire.throw(subject, bytes)
    }

    /// Asks something of the server or of JetStream, in this account.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&mut self, subject: &str, bytes: &[u8]) -> Result<serde_json::Value> {
        let inbox = format!("_INBOX.taken.{}", envelope_id()?);
        self.listen(&inbox)?;
        let said = self.wire.publish(subject, &inbox, bytes)?;
        self.keep(said)?;
        let answer = self.hear(PATIENCE, |heard| {
            (heard.subject == inbox).then(|| heard.bytes.clone())
        })?;
        Ok(serde_json::from_slice(
            &answer.with_context(|| format!("ask {subject}"))?,
        )?)
    }

    /// Copies what passes on a subject from here on.
    ///
    /// # Errors
    /// When the connection ends, or the server refuses.
    pub fn listen(&mut self, subject: &str) -> Result<()> {
        let said = self.wire.listen(subject)?;
        self.keep(said)
    }

    /// The first copied message, or the next that comes, of which `wanted` makes something.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn hear<T>(
        &mut self,
        patience: Duration,
        mut wanted: impl FnMut(&Heard) -> Option<T>,
    ) -> Result<Option<T>> {
        poll(patience, || {
            let said = self.wire.say(b"")?;
            self.keep(said)?;
            while let Some(heard) = self.heard.pop_front() {
                if let Some(found) = wanted(&heard) {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    /// The next message on a subject.
    ///
    /// # Errors
    /// When none comes.
    pub fn catch(&mut self, subject: &str) -> Result<Vec<u8>> {
        let caught = self.hear(PATIENCE, |heard| {
            (heard.subject == subject).then(|| heard.bytes.clone())
        })?;
        caught.with_context(|| format!("nothing passed on {subject}"))
    }

    /// Forgets what was copied.
    pub fn forget(&mut self) {
        self.heard.clear();
    }

    fn keep(&mut self, said: Said) -> Result<()> {
        ensure!(
            said.errors.is_empty(),
            "the taken server said {:?}",
            said.errors
        );
        self.heard.extend(said.heard);
        while self.heard.len() > HEARD_MAX {
            self.heard.pop_front();
        }
        Ok(())
    }
}

/// The server.
pub struct Server {
    file: PathBuf,
    honest: String,
    port: u16,
    monitor: u16,
    process: u32,
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
    seeds: BTreeMap<String, String>,
    taps: BTreeMap<String, Tap>,
    /// Imports that are left out: the account that lacks them, and what their lines hold.
    cut: Vec<(String, Vec<String>)>,
}

impl Server {
    /// Takes the server of a stack over.
    ///
    /// # Errors
    /// When its configuration does not look as it should, or it does not take another.
    pub fn take(stage: &Stage) -> Result<Self> {
        let folder = stage.stack.folder();
        let file = folder.join("nats/nats.conf");
        let honest = std::fs::read_to_string(&file).context("read the server's configuration")?;
        let material = folder.join("identity/nats");
        let read = |name: &str| std::fs::read(material.join(name)).context("read the server's key");
        let mut seeds = BTreeMap::new();
        for account in accounts(&honest) {
            let mut seed = [0; 32];
            for half in seed.chunks_exact_mut(16) {
                half.copy_from_slice(&envelope_id()?.0);
            }
            let key = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, seed)?;
            seeds.insert(account, key.seed()?);
        }
        let mut server = Self {
            file,
            honest,
            port: stage.stack.port("nats"),
            monitor: stage.stack.port("nats_monitor"),
            process: stage
                .stack
                .pid("nats-server")
                .context("the server's process")?,
            ca: read("ca.pem")?,
            certificate: read("server.pem")?,
            key: read("server.key")?,
            seeds,
            taps: BTreeMap::new(),
            cut: Vec::new(),
        };
        server.reload()?;
        Ok(server)
    }

    /// A connection into the account of a principal.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn tap(&mut self, principal: &str) -> Result<&mut Tap> {
        let account = account(principal);
        if !self.taps.contains_key(&account) {
            let seed = self.seeds.get(&account);
            let login = Login {
                ca: &self.ca,
                certificate: &self.certificate,
                key: &self.key,
                seed: seed.with_context(|| format!("there is no account {account}"))?,
            };
            let wire = Wire::connect(self.port, &login)?;
            let heard = VecDeque::new();
            self.taps.insert(account.clone(), Tap { wire, heard });
        }
        self.taps.get_mut(&account).context("a connection")
    }

    /// Keeps from a principal what its imports with all of these texts would bring, such as the
    /// account that it comes from and its subject. Nothing else changes for anybody.
    ///
    /// # Errors
    /// When there is no such import, or the server does not take it.
    pub fn keep_from(&mut self, principal: &str, imports: &[&str]) -> Result<()> {
        let texts = imports.iter().map(|text| (*text).to_owned()).collect();
        self.cut.push((account(principal), texts));
        self.reload()
    }

    /// Lets everything pass again.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn let_pass(&mut self) -> Result<()> {
        self.cut.clear();
        self.reload()
    }

    /// Gives the server back as it was.
    ///
    /// # Errors
    /// When it does not take its own configuration.
    pub fn give_back(mut self) -> Result<()> {
        self.taps.clear();
        let honest = self.honest.clone();
        self.load(&honest)
    }

    /// The entry in which audit says that the server took another configuration.
    ///
    /// # Errors
    /// When there is none.
    pub fn noticed(stage: &mut Stage, mark: Mark) -> Result<std::sync::Arc<OwnedEntry>> {
        let (entry, ()) = stage.recorded(
            mark,
            "the server took another configuration",
            |entry| match entry.own()? {
                Own::BusServer { event, .. } => (event == BusEvent::Reloaded).then_some(()),
                _ => None,
            },
        )?;
        Ok(entry)
    }

    fn reload(&mut self) -> Result<()> {
        let text = evil(&self.honest, &self.seeds, &self.cut)?;
        self.load(&text)
    }

    /// Has the server take a configuration, and waits until it has.
    fn load(&mut self, text: &str) -> Result<()> {
        let before = self.loaded_at()?;
        std::fs::write(&self.file, text).context("write the server's configuration")?;
        let process = self.process.to_string();
        // The server's clock tells the time in seconds at least; a second reload within one would
        // look like none, so the time of loading is asked with its fractions.
        let sent = Command::new("kill").args(["-HUP", &process]).status()?;
        ensure!(sent.success(), "tell the server to reload");
        let loaded = poll(PATIENCE, || Ok((self.loaded_at()? != before).then_some(())))?;
        loaded.context("the server does not take the configuration; its log says why")
    }

    fn loaded_at(&self) -> Result<String> {
        let answer = crate::stack::http(self.monitor, "GET", "/varz", "");
        let answer = answer.context("ask the server how it is")?;
        let varz: serde_json::Value = serde_json::from_str(&answer.body)?;
        let loaded = varz
            .get("config_load_time")
            .and_then(serde_json::Value::as_str);
        Ok(loaded
            .context("when the server loaded its configuration")?
            .to_owned())
    }
}

/// The account of a principal; STORE is nobody's.
fn account(principal: &str) -> String {
    principal.to_ascii_uppercase().replace('-', "_")
}

/// The name of an account whose block a line opens.
fn opens(line: &str) -> Option<&str> {
    let name = line.strip_prefix("  ")?.strip_suffix(" {")?;
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

fn accounts(text: &str) -> Vec<String> {
    text.lines().filter_map(opens).map(str::to_owned).collect()
}

/// The configuration with a user of all rights in every account, no certificate asked for, and some
/// imports left out.
fn evil(
    honest: &str,
    seeds: &BTreeMap<String, String>,
    cut: &[(String, Vec<String>)],
) -> Result<String> {
    let mut out = String::with_capacity(honest.len().saturating_mul(2));
    let mut here = "";
    let mut importing = false;
    let mut left_out = vec![false; cut.len()];
    let mut pinned = false;
    for line in honest.lines() {
        // Whoever is the server says who needs a certificate.
        if line.trim_start().starts_with("pinned_certs") {
            pinned = !line.contains(']');
            continue;
        }
        if pinned {
            pinned = !line.contains(']');
            continue;
        }
        here = opens(line).unwrap_or(here);
        importing = (importing || line.trim() == "imports: [") && line.trim() != "]";
        let gone = cut
            .iter()
            .zip(&mut left_out)
            .any(|((account, texts), left_out)| {
                let fits =
                    importing && account == here && texts.iter().all(|text| line.contains(text));
                *left_out |= fits;
                fits
            });
        if gone {
            continue;
        }
        let line = line.replace("verify: true", "verify: false");
        let line = more_room(&line, "max_connections: ");
        match (line.split_once("users: ["), seeds.get(here)) {
            (Some((before, after)), Some(seed)) => {
                let key = nkeys::KeyPair::from_seed(seed)?.public_key();
                out.push_str(before);
                out.push_str("users: [\n");
                out.push_str(&format!(
                    "      {{ nkey: {key}, permissions: {{ publish: \">\", subscribe: \">\" }} }}\n"
                ));
                out.push_str(after);
            }
            _ => out.push_str(&line),
        }
        out.push('\n');
    }
    for ((account, texts), left_out) in cut.iter().zip(left_out) {
        ensure!(left_out, "{account} imports nothing with {texts:?}");
    }
    Ok(out)
}

/// The same line with a higher number after this word.
fn more_room(line: &str, word: &str) -> String {
    match line.split_once(word) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}{word}8192{rest}")
        }
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HONEST: &str = "tls {\n  verify: true\n}\naccounts {\n  STORE {\n    limits: { max_connections: 2, \
        max_payload: 9 }\n    users: [ {\n    } ]\n  }\n\n  BRAIN {\n    users: [\n    {\n    }\n    ]\n    \
        exports: [\n      { stream: \"x.y\", accounts: [AUDIT] }\n    ]\n    imports: [\n      \
        { stream: { account: AUDIT, subject: \"x.y\" } }\n      \
        { stream: { account: AUDIT, subject: \"x.z\" } }\n    ]\n  }\n}\n";

    fn taken(cut: &[(&str, &[&str])]) -> Result<String> {
        let seed = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, [7; 32]);
        let seed = seed.unwrap().seed().unwrap();
        let seeds = accounts(HONEST)
            .into_iter()
            .map(|name| (name, seed.clone()))
            .collect();
        let cut: Vec<_> = cut
            .iter()
            .map(|(name, texts)| {
                let texts = texts.iter().map(|text| (*text).to_owned()).collect();
                ((*name).to_owned(), texts)
            })
            .collect();
        evil(HONEST, &seeds, &cut)
    }

    #[test]
    fn every_account_gets_a_user_of_all_rights_and_nobody_needs_a_certificate() {
        assert_eq!(accounts(HONEST), ["STORE", "BRAIN"]);
        let text = taken(&[]).unwrap();
        assert_eq!(text.matches("publish: \">\", subscribe: \">\"").count(), 2);
        assert!(text.contains("verify: false") && !text.contains("verify: true"));
        assert!(text.contains("max_connections: 8192, max_payload: 9"));
    }

    #[test]
    fn only_the_named_import_is_left_out() {
        let text = taken(&[("BRAIN", &["AUDIT", "\"x.y\""])]).unwrap();
        assert_eq!(text.matches("x.y").count(), 1, "the export stays: {text}");
        assert!(text.contains("x.z"));
        assert!(taken(&[("BRAIN", &["nothing"])]).is_err());
    }
}
