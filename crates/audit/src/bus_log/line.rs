//! One line of the server's log.
//!
//! ```text
//!  [7683] 2026/11/22 07:44:03.546578 [ERR] 127.0.0.1:37888 - cid:15 - "v1:rust:claim" - "BRAIN/nkey:U…"
//!                                          - Publish Violation - Subject "cmd.execution.execute"
//! ```
//!
//! Much of it the client chose: its name, the subject, the queue. The server writes these as quoted
//! strings with every quote and control character escaped, so they are skipped as such and never
//! searched for anything. Who the client is comes last of these strings, from the server's own
//! configuration; what comes before it is a claim. What follows the subject (the subscription's number)
//! the server does not escape, and is not read.

use std::collections::BTreeMap;

use audit_core::{BusClient, BusDenial, BusEvent, BusSaid};
use portcullis_domain::{Hash, PrincipalName, StrategyId, Timestamp};
use portcullis_runtime::nats_config::{MONITOR, PROVISIONER, account};
use portcullis_wire::Text;
use portcullis_wire::principal::Role;

/// A public user key: 56 characters of base32, of which the first says what it is.
const NKEY_LENGTH: usize = 56;
/// The longest network address: IPv6 with a port, in brackets.
const ADDRESS_LENGTH_MAX: usize = 64;
/// Where a text was cut off.
const CUT: char = '…';

/// Which principal has which account in the server's configuration.
#[derive(Clone, Debug, Default)]
pub struct Accounts(BTreeMap<String, PrincipalName>);

impl Accounts {
    /// The accounts of all services and of these strategies.
    pub fn new<'a>(strategies: impl IntoIterator<Item = &'a StrategyId>) -> Self {
        let services = Role::SERVICES
            .iter()
            .filter_map(|role| PrincipalName::new(role.name()).ok());
        let strategies = strategies
            .into_iter()
            .filter_map(|id| PrincipalName::new(&format!("strategy-{id}")).ok());
        let mut accounts: BTreeMap<_, _> = services
            .chain(strategies)
            .map(|name| (account(&name), name))
            .collect();
        for (account, name) in [("STORE", PROVISIONER), ("SYS", MONITOR)] {
            if let Ok(name) = PrincipalName::new(name) {
                accounts.insert(account.to_owned(), name);
            }
        }
        Self(accounts)
    }

    /// Whose account this is. One that is not known (an operator's, another strategy's) gives the name
    /// that it was most likely made from; the key beside it is exact.
    fn principal(&self, account: &str) -> Option<PrincipalName> {
        let known = self.0.get(account).copied();
        known.or_else(|| PrincipalName::new(&account.to_ascii_lowercase().replace('_', "-")).ok())
    }
}

/// When a line was written; `None` when it is no line of the server's log.
pub fn time(line: &str) -> Option<Timestamp> {
    Head::read(line).map(|head| head.at)
}

/// What a line says; `None` when it is nothing to record.
pub fn read(line: &str, accounts: &Accounts) -> Option<BusSaid> {
    let Head { at, level, rest } = Head::read(line)?;
    let Some((from, mut rest)) = client(rest) else {
        return server(level, rest).map(|(event, config)| BusSaid::Server { event, config, at });
    };
    let mut last = None;
    // Claim and identity, the identity alone, or neither.
    for _ in 0..2 {
        let Some((text, after)) = quoted(rest) else {
            break;
        };
        let Some(after) = after.strip_prefix(" - ") else {
            break;
        };
        (last, rest) = (Some(text), after);
    }
    let who = last.map_or(BusClient::Stranger, |text| identity(text, accounts));
    let denial = denial(rest).or_else(|| {
        let unknown = || (BusDenial::Other, fitting(rest), None);
        (level == Level::Error).then(unknown)
    });
    let (what, subject, claimed) = denial?;
    Some(BusSaid::Denied {
        who: match (who, claimed) {
            (BusClient::Stranger, Some(nkey)) => BusClient::Claimed { nkey },
            (who, _) => who,
        },
        what,
        subject,
        from: Text::lossy(from),
        at,
    })
}

/// A line that is longer than any that the server writes.
pub fn overlong(line: &str) -> Option<BusSaid> {
    let at = Head::read(line)?.at;
    Some(BusSaid::Denied {
        who: BusClient::Stranger,
        what: BusDenial::Other,
        subject: fitting("a line longer than any that is read"),
        from: Text::lossy(""),
        at,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Info,
    Warning,
    Error,
}

/// What every line begins with.
struct Head<'a> {
    at: Timestamp,
    level: Level,
    rest: &'a str,
}

impl<'a> Head<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (process, rest) = line.strip_prefix('[')?.split_once("] ")?;
        if process.is_empty() || !process.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (date, rest) = rest.split_once(' ')?;
        let (clock, rest) = rest.split_once(' ')?;
        let (level, rest) = rest.split_once("] ").or_else(|| {
            // A line without a text.
            rest.strip_suffix(']').map(|level| (level, ""))
        })?;
        let level = match level {
            "[INF" => Level::Info,
            "[WRN" => Level::Warning,
            "[ERR" | "[FTL" => Level::Error,
            _ => return None,
        };
        Some(Self {
            at: timestamp(date, clock)?,
            level,
            rest,
        })
    }
}

/// `2026/11/22` and `07:44:03.546578`, in UTC.
fn timestamp(date: &str, clock: &str) -> Option<Timestamp> {
    let number = |text: &str, digits: usize, most: u64| {
        let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        let value: u64 = plain.then(|| text.parse().ok())??;
        (value <= most).then_some(value)
    };
    let mut parts = date.split('/');
    let year = number(parts.next()?, 4, 9_999)?;
    let month = number(parts.next()?, 2, 12)?;
    let day = number(parts.next()?, 2, 31)?;
    let (clock, micros) = clock.split_once('.')?;
    let mut times = clock.split(':');
    let hour = number(times.next()?, 2, 23)?;
    let minute = number(times.next()?, 2, 59)?;
    let second = number(times.next()?, 2, 60)?;
    let micros = number(micros, 6, 999_999)?;
    if parts.next().is_some() || times.next().is_some() || month == 0 || day == 0 || year < 1970 {
        return None;
    }
    // Days since 1970, with years that begin in March
    // (howardhinnant.github.io/date_algorithms.html, days_from_civil).
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        (365 * year + year / 4 - year / 100 + year / 400 + day_of_year).checked_sub(719_468)?;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Timestamp(seconds * 1_000_000 + micros))
}

/// The network address of the client that a line is about, and what follows. A line about the server
/// itself has none.
fn client(rest: &str) -> Option<(&str, &str)> {
    let (address, after) = rest.split_once(" - cid:")?;
    let is_address = address.len() <= ADDRESS_LENGTH_MAX
        && address.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'[' | b']' | b'%' | b'-')
        });
    let (number, after) = after.split_once(" - ")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_address && is_number).then_some((address, after))
}

/// A quoted string at the beginning, without its quotes and with its escapes, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut bytes = inner.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next()?;
            }
            b'"' => return Some((inner.get(..at)?, inner.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

/// `ACCOUNT/nkey:KEY`, as the server has it from its configuration.
fn identity(text: &str, accounts: &Accounts) -> BusClient {
    let known = || {
        let (account, key) = text.split_once("/nkey:")?;
        let (name, nkey) = (accounts.principal(account)?, nkey(key)?);
        Some(BusClient::Principal { name, nkey })
    };
    known().unwrap_or(BusClient::Stranger)
}

fn nkey(text: &str) -> Option<Text> {
    let is_key = text.len() == NKEY_LENGTH
        && text.starts_with('U')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7'));
    is_key.then(|| Text::lossy(text))
}

/// What was denied, on which subject, and the key that was named with it.
fn denial(said: &str) -> Option<(BusDenial, Text, Option<Text>)> {
    let plain = |what| Some((what, fitting(said), None));
    if let Some(rest) = said.strip_prefix("Publish Violation - Subject ") {
        let (subject, _) = quoted(rest)?;
        return Some((BusDenial::Publish, fitting(subject), None));
    }
    if let Some(rest) = said.strip_prefix("Subscription Violation - Subject ") {
        let (subject, rest) = quoted(rest)?;
        let queue = rest.strip_prefix(", Queue: ").and_then(quoted);
        // Neither has a space of its own; permissions are written the same way.
        let both = queue.map_or_else(
            || subject.to_owned(),
            |(queue, _)| format!("{subject} {queue}"),
        );
        return Some((BusDenial::Subscribe, fitting(&both), None));
    }
    if let Some(rest) = said.strip_prefix("authentication error") {
        let claim = rest.strip_prefix(" - ").unwrap_or_default();
        let named = claim.strip_prefix("Nkey ").and_then(quoted);
        let named = named.and_then(|(key, _)| nkey(key));
        return Some((BusDenial::Login, fitting(claim), named));
    }
    if let Some(rest) = said.strip_prefix("TLS handshake error: ") {
        return Some((BusDenial::Handshake, fitting(rest), None));
    }
    if said.starts_with("Slow Consumer Detected") {
        return plain(BusDenial::SlowConsumer);
    }
    let begins = |beginnings: &[&str]| beginnings.iter().any(|text| said.starts_with(text));
    if begins(&["maximum connections", "maximum account active connections"]) {
        plain(BusDenial::Connections)
    } else if begins(&["maximum subscriptions"]) {
        plain(BusDenial::Subscriptions)
    } else if begins(&["maximum payload"]) {
        plain(BusDenial::Payload)
    } else if begins(&["maximum control line", "Client parser ERROR", "process"]) {
        plain(BusDenial::Protocol)
    } else {
        None
    }
}

/// What a line says about the server itself.
fn server(level: Level, said: &str) -> Option<(BusEvent, Option<Hash>)> {
    let config = || {
        let (_, digest) = said.rsplit_once(" (sha256:")?;
        Hash::from_hex(digest.strip_suffix(')')?).ok()
    };
    match level {
        Level::Info if said.starts_with("Using configuration file: ") => {
            Some((BusEvent::Started, config()))
        }
        Level::Info if said.starts_with("Reloaded server configuration") => {
            Some((BusEvent::Reloaded, config()))
        }
        Level::Info if said == "Initiating Shutdown..." => Some((BusEvent::Stopped, None)),
        Level::Error if said.starts_with("Failed to reload server configuration") => {
            Some((BusEvent::ReloadRefused, None))
        }
        Level::Info | Level::Warning | Level::Error => None,
    }
}

/// The beginning of a text, with a sign where it was cut off.
fn fitting(text: &str) -> Text {
    if text.len() <= Text::LENGTH_MAX {
        return Text::lossy(text);
    }
    let most = Text::LENGTH_MAX - CUT.len_utf8();
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
    let kept = text.get(..end.unwrap_or_default()).unwrap_or_default();
    Text::lossy(&format!("{kept}{CUT}"))
}

#[cfg(test)]
mod tests;
