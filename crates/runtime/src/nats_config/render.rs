//! Writes the configuration.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use portcullis_domain::PrincipalName;
use portcullis_wire::FRAME_LENGTH_MAX;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::TABLE;

use super::account::consumer_interface;
use super::{
    Account, Credentials, FACTS_BYTES_MAX, MONITOR, NatsConfigError, NatsSettings, PROVISIONER,
    Roster, account, facts_streams, principals,
};

pub(super) fn config(
    roster: &Roster,
    credentials: &Credentials,
    settings: &NatsSettings,
) -> Result<String, NatsConfigError> {
    let mut out = String::with_capacity(64 << 10);
    let accounts: Vec<_> = principals(roster)
        .into_iter()
        .map(|name| (name, Account::of(&name, roster)))
        .collect();
    let most = accounts.iter().map(|(_, account)| subscriptions(account));
    server(&mut out, credentials, settings, most.max().unwrap_or(0))?;
    out.push_str("accounts {\n");
    system(&mut out, &keys(credentials, MONITOR)?);
    store(&mut out, roster, credentials)?;
    for (name, own) in accounts {
        let nkeys = keys(credentials, name.as_str())?;
        let subscriptions = subscriptions(&own);
        let Account {
            publish,
            subscribe,
            exports,
            imports,
        } = own;
        let limit = if Role::of(&name).is_some_and(Role::is_plural) {
            16
        } else {
            4
        };
        line(&mut out, &format!("\n  {} {{", account(&name)));
        line(
            &mut out,
            &format!(
                "    limits: {{ max_connections: {limit}, max_subscriptions: {subscriptions}, \
                 max_payload: {FRAME_LENGTH_MAX} }}"
            ),
        );
        line(&mut out, "    default_permissions: $NOTHING");
        users(&mut out, &nkeys, &publish, &subscribe);
        list(&mut out, "exports", &exports);
        list(&mut out, "imports", &imports);
        line(&mut out, "  }");
    }
    out.push_str("}\n");
    Ok(out)
}

/// How many subscriptions a connection may have: a service that needed more than its limit would be
/// deaf on the rest.
fn subscriptions(account: &Account) -> usize {
    account.subscribe.len().saturating_mul(2).max(256)
}

fn server(
    out: &mut String,
    credentials: &Credentials,
    settings: &NatsSettings,
    subscriptions: usize,
) -> Result<(), NatsConfigError> {
    let NatsSettings {
        listen,
        http,
        store_dir,
        tls_certificate,
        tls_key,
        tls_ca,
        ..
    } = settings;
    line(
        out,
        "# The bus of Portcullis. Generated from the table of subjects: do not edit.",
    );
    line(out, "");
    line(
        out,
        "NOTHING: { publish: { deny: \">\" }, subscribe: { deny: \">\" } }",
    );
    line(out, "");
    line(out, "server_name: portcullis");
    line(out, &format!("listen: \"{}\"", address(*listen)));
    if let Some(http) = http {
        if !http.ip().is_loopback() {
            return Err(NatsConfigError::Monitoring(*http));
        }
        // It has no authentication.
        line(out, &format!("http: \"{}\"", address(*http)));
    }
    for (key, path) in [
        ("pid_file", &settings.pid_file),
        ("log_file", &settings.log_file),
    ] {
        if let Some(path) = path {
            line(out, &format!("{key}: {}", quoted(path)?));
        }
    }
    if settings.log_file.is_some() {
        // Whoever is denied writes into it: it must fill no disk, and leave audit time to read it.
        line(out, "logfile_size_limit: 32MB");
        line(out, "logfile_max_num: 8");
    }
    line(out, "logtime_utc: true");
    line(out, "");
    line(out, &format!("max_payload: {FRAME_LENGTH_MAX}"));
    line(out, "max_control_line: 4096");
    // Counted before anybody is admitted: a low number would let strangers keep an operator out.
    line(out, "max_connections: 4096");
    line(out, &format!("max_subscriptions: {subscriptions}"));
    line(out, "max_pending: 8388608");
    line(out, "write_deadline: \"5s\"");
    line(out, "ping_interval: \"10s\"");
    line(out, "ping_max: 2");
    line(out, "lame_duck_duration: \"30s\"");
    line(out, "lame_duck_grace_period: \"5s\"");
    line(out, "");
    line(
        out,
        "# Only these certificates admit to the network; who somebody is, the NKey says.",
    );
    line(out, "tls {");
    line(out, &format!("  cert_file: {}", quoted(tls_certificate)?));
    line(out, &format!("  key_file: {}", quoted(tls_key)?));
    line(out, &format!("  ca_file: {}", quoted(tls_ca)?));
    line(out, "  verify: true");
    line(out, "  pinned_certs: [");
    let pins = credentials
        .values()
        .flatten()
        .map(|identity| identity.certificate_pin);
    for pin in pins.collect::<BTreeSet<_>>() {
        line(out, &format!("    \"{pin}\""));
    }
    line(out, "  ]");
    line(out, "  min_version: \"1.3\"");
    line(out, "  handshake_first: true");
    line(out, "  timeout: 2");
    line(out, "}");
    line(out, "authorization { timeout: 2 }");
    line(out, "");
    line(out, "jetstream {");
    line(out, &format!("  store_dir: {}", quoted(store_dir)?));
    line(out, "  max_memory_store: 64MB");
    line(out, &format!("  max_file_store: {FACTS_BYTES_MAX}"));
    line(out, "  # On disk before it is acknowledged.");
    line(out, "  sync_interval: always");
    line(out, "  strict: true");
    line(
        out,
        "  limits { max_ack_pending: 1000, max_request_batch: 256, duplicate_window: \"10m\" }",
    );
    line(out, "}");
    line(out, "");
    line(out, "system_account: SYS");
    Ok(())
}

/// Whoever is unrestricted in the system account can kick, reload and purge.
fn system(out: &mut String, nkeys: &[String]) {
    line(out, "  SYS {");
    line(out, "    default_permissions: $NOTHING");
    let publish =
        ["STATSZ", "VARZ", "JSZ", "HEALTHZ"].map(|what| format!("$SYS.REQ.SERVER.PING.{what}"));
    users(out, nkeys, &publish, &[format!("_INBOX.{MONITOR}.>")]);
    line(out, "  }");
}

/// The account that owns the streams. No service logs in here.
fn store(
    out: &mut String,
    roster: &Roster,
    credentials: &Credentials,
) -> Result<(), NatsConfigError> {
    let streams = facts_streams(roster);
    line(out, "\n  STORE {");
    // The server counts consumers for each stream.
    line(
        out,
        &format!(
            "    jetstream {{ max_mem: 0, max_file: {FACTS_BYTES_MAX}, max_streams: {}, \
             max_consumers: 1, max_bytes_required: true }}",
            streams.len()
        ),
    );
    line(
        out,
        &format!(
            "    limits: {{ max_connections: 2, max_subscriptions: 16, max_payload: {FRAME_LENGTH_MAX} }}"
        ),
    );
    line(out, "    default_permissions: $NOTHING");
    let provisioner = name_of(PROVISIONER);
    let own = Account::of_provisioner(&provisioner, roster);
    users(
        out,
        &keys(credentials, PROVISIONER)?,
        &own.publish,
        &own.subscribe,
    );
    let everybody = principals(roster);
    let mut exports = Vec::new();
    for stream in &streams {
        for subject in &stream.subjects {
            let publishers = everybody
                .iter()
                .filter(|name| TABLE.iter().any(|row| row.may_publish(name, subject)));
            let publishers: Vec<_> = publishers.map(account).collect();
            exports.push(format!(
                "{{ service: \"{subject}\", accounts: [{}] }}",
                publishers.join(", ")
            ));
        }
    }
    let audit = account(&name_of(Role::Audit.name()));
    for stream in &streams {
        for (there, _) in consumer_interface(&stream.name) {
            let many = if there.contains("MSG.NEXT") {
                ", response_type: stream"
            } else {
                ""
            };
            exports.push(format!(
                "{{ service: \"{there}\"{many}, accounts: [{audit}] }}"
            ));
        }
    }
    list(out, "exports", &exports);
    line(out, "  }");
    Ok(())
}

fn name_of(name: &str) -> PrincipalName {
    PrincipalName::new(name).unwrap_or_else(|_| unreachable!("{name} is a name"))
}

/// One user for each key: while a key is exchanged, the old one and the new one are the same
/// principal; whoever is revoked has none. Both halves of the permissions are always written:
/// without one of them the server allows everything there.
fn users(out: &mut String, nkeys: &[String], publish: &[String], subscribe: &[String]) {
    line(out, "    users: [");
    for nkey in nkeys {
        line(out, "    {");
        line(out, &format!("      nkey: {nkey}"));
        line(out, "      allowed_connection_types: [\"STANDARD\"]");
        line(out, "      permissions: {");
        for (half, subjects) in [("publish", publish), ("subscribe", subscribe)] {
            if subjects.is_empty() {
                line(out, &format!("        {half}: {{ deny: \">\" }}"));
                continue;
            }
            line(out, &format!("        {half}: {{ allow: ["));
            for subject in subjects {
                line(out, &format!("          \"{subject}\""));
            }
            line(out, "        ] }");
        }
        line(out, "      }");
        line(out, "    }");
    }
    line(out, "    ]");
}

fn list(out: &mut String, what: &str, entries: &[String]) {
    if entries.is_empty() {
        return;
    }
    line(out, &format!("    {what}: ["));
    for entry in entries {
        line(out, &format!("      {entry}"));
    }
    line(out, "    ]");
}

fn keys(credentials: &Credentials, name: &str) -> Result<Vec<String>, NatsConfigError> {
    let name = name_of(name);
    let identities = credentials.get(&name).ok_or(NatsConfigError::NoKey(name))?;
    let keys: Vec<_> = identities
        .iter()
        .map(|identity| identity.nkey.clone())
        .collect();
    // They are written bare, so they must be nothing but keys.
    let are_keys = keys
        .iter()
        .all(|key| key.starts_with('U') && nkeys::KeyPair::from_public_key(key).is_ok());
    if are_keys {
        Ok(keys)
    } else {
        Err(NatsConfigError::Key(name))
    }
}

/// Port -1 is the server's word for a port of the system's choice.
fn address(address: SocketAddr) -> String {
    match address.port() {
        0 => format!("{}:-1", address.ip()),
        _ => address.to_string(),
    }
}

fn quoted(path: &Path) -> Result<String, NatsConfigError> {
    let text = path.to_str().filter(|text| {
        !text
            .chars()
            .any(|c| c.is_control() || matches!(c, '"' | '\\' | '$'))
    });
    text.map(|text| format!("\"{text}\""))
        .ok_or_else(|| NatsConfigError::Path(path.into()))
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}
