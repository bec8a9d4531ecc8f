//! Writes the configuration.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use portcullis_domain::PrincipalName;
use portcullis_wire::FRAME_LENGTH_MAX;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{Delivery, TABLE};

use super::{
    ECHO, FACTS_BYTES_MAX, FACTS_CONSUMER, FACTS_STREAM, MONITOR, NatsConfigError, NatsSettings,
    PROVISIONER, Roster, STORE_API, account, fact_subjects, principals, receives, subjects_of,
};

/// What one account shares and what its one user may do.
#[derive(Default)]
struct Account {
    publish: Vec<String>,
    subscribe: Vec<String>,
    exports: Vec<String>,
    imports: Vec<String>,
}

pub(super) fn config(
    roster: &Roster,
    nkeys: &BTreeMap<PrincipalName, String>,
    settings: &NatsSettings,
) -> Result<String, NatsConfigError> {
    let mut out = String::with_capacity(64 << 10);
    server(&mut out, settings)?;
    out.push_str("accounts {\n");
    system(&mut out, &key(nkeys, MONITOR)?);
    store(&mut out, roster, &key(nkeys, PROVISIONER)?);
    for name in principals(roster) {
        let nkey = key(nkeys, name.as_str())?;
        let Account {
            publish,
            subscribe,
            exports,
            imports,
        } = account_of(&name, roster);
        let limit = if Role::of(&name).is_some_and(Role::is_plural) {
            16
        } else {
            4
        };
        line(&mut out, &format!("\n  {} {{", account(&name)));
        line(
            &mut out,
            &format!(
                "    limits: {{ max_connections: {limit}, max_subscriptions: 256, max_payload: \
             {FRAME_LENGTH_MAX} }}"
            ),
        );
        line(&mut out, "    default_permissions: $NOTHING");
        user(&mut out, &nkey, &publish, &subscribe);
        list(&mut out, "exports", &exports);
        list(&mut out, "imports", &imports);
        line(&mut out, "  }");
    }
    out.push_str("}\n");
    Ok(out)
}

/// What the table says about one principal.
fn account_of(name: &PrincipalName, roster: &Roster) -> Account {
    let everybody = principals(roster);
    let mut own = Account::default();
    for row in TABLE {
        for subject in subjects_of(row, roster) {
            if row.may_publish(name, &subject) {
                let readers: Vec<_> = everybody
                    .iter()
                    .filter(|reader| receives(row, reader, &subject))
                    .map(account)
                    .collect();
                let readers = readers.join(", ");
                own.exports.push(format!(
                    "{{ stream: \"{subject}\", accounts: [{readers}] }}"
                ));
                if row.delivery == Delivery::Stream {
                    own.imports.push(format!(
                        "{{ service: {{ account: STORE, subject: \"{subject}\" }} }}"
                    ));
                }
                own.publish.push(subject.clone());
            }
            if receives(row, name, &subject) {
                for publisher in everybody
                    .iter()
                    .filter(|other| row.may_publish(other, &subject))
                {
                    let publisher = account(publisher);
                    own.imports.push(format!(
                        "{{ stream: {{ account: {publisher}, subject: \"{subject}\" }} }}"
                    ));
                }
                own.subscribe.push(subject);
            }
        }
    }
    own.publish.push(format!("{ECHO}.{name}"));
    own.subscribe.push(format!("{ECHO}.{name}"));
    let is_audit = Role::of(name) == Some(Role::Audit);
    if is_audit {
        for (there, here) in consumer_interface() {
            own.imports.push(if there == here {
                format!("{{ service: {{ account: STORE, subject: \"{there}\" }} }}")
            } else {
                format!("{{ service: {{ account: STORE, subject: \"{there}\" }}, to: \"{here}\" }}")
            });
            own.publish.push(here);
        }
    }
    // Only who waits for an answer has a place for it.
    if is_audit || own.imports.iter().any(|import| import.contains("STORE")) {
        own.subscribe.push(format!("_INBOX.{name}.>"));
    }
    own
}

/// What reading facts needs: the subject in STORE and what the reader calls it. The two forms of an
/// acknowledgement are those of one server and of a cluster; stream and consumer are fixed in both.
fn consumer_interface() -> [(String, String); 4] {
    let consumer = format!("{FACTS_STREAM}.{FACTS_CONSUMER}");
    let api = |call: &str| {
        (
            format!("$JS.API.CONSUMER.{call}.{consumer}"),
            format!("{STORE_API}.CONSUMER.{call}.{consumer}"),
        )
    };
    let same = |subject: String| (subject.clone(), subject);
    [
        api("INFO"),
        api("MSG.NEXT"),
        same(format!("$JS.ACK.{consumer}.>")),
        same(format!("$JS.ACK.*.*.{consumer}.>")),
    ]
}

fn server(out: &mut String, settings: &NatsSettings) -> Result<(), NatsConfigError> {
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
    line(out, "logtime_utc: true");
    line(out, "");
    line(out, &format!("max_payload: {FRAME_LENGTH_MAX}"));
    line(out, "max_control_line: 4096");
    // Counted before anybody is admitted: a low number would let strangers keep an operator out.
    line(out, "max_connections: 4096");
    line(out, "max_subscriptions: 256");
    line(out, "max_pending: 8388608");
    line(out, "write_deadline: \"5s\"");
    line(out, "ping_interval: \"10s\"");
    line(out, "ping_max: 2");
    line(out, "lame_duck_duration: \"30s\"");
    line(out, "lame_duck_grace_period: \"5s\"");
    line(out, "");
    line(
        out,
        "# Certificates admit to the network; who somebody is, the NKey says.",
    );
    line(out, "tls {");
    line(out, &format!("  cert_file: {}", quoted(tls_certificate)?));
    line(out, &format!("  key_file: {}", quoted(tls_key)?));
    line(out, &format!("  ca_file: {}", quoted(tls_ca)?));
    line(out, "  verify: true");
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
fn system(out: &mut String, nkey: &str) {
    line(out, "  SYS {");
    line(out, "    default_permissions: $NOTHING");
    let publish =
        ["STATSZ", "VARZ", "JSZ", "HEALTHZ"].map(|what| format!("$SYS.REQ.SERVER.PING.{what}"));
    user(out, nkey, &publish, &[format!("_INBOX.{MONITOR}.>")]);
    line(out, "  }");
}

/// The account that owns the stream. No service logs in here.
fn store(out: &mut String, roster: &Roster, nkey: &str) {
    line(out, "\n  STORE {");
    line(
        out,
        &format!(
            "    jetstream {{ max_mem: 0, max_file: {FACTS_BYTES_MAX}, max_streams: 1, max_consumers: 1, \
         max_bytes_required: true }}"
        ),
    );
    line(
        out,
        &format!(
            "    limits: {{ max_connections: 2, max_subscriptions: 16, max_payload: {FRAME_LENGTH_MAX} }}"
        ),
    );
    line(out, "    default_permissions: $NOTHING");
    let publish = [
        "$JS.API.INFO".to_owned(),
        format!("$JS.API.STREAM.INFO.{FACTS_STREAM}"),
        format!("$JS.API.STREAM.CREATE.{FACTS_STREAM}"),
        format!("$JS.API.CONSUMER.INFO.{FACTS_STREAM}.{FACTS_CONSUMER}"),
        format!("$JS.API.CONSUMER.CREATE.{FACTS_STREAM}.{FACTS_CONSUMER}"),
    ];
    user(out, nkey, &publish, &[format!("_INBOX.{PROVISIONER}.>")]);
    let everybody = principals(roster);
    let mut exports = Vec::new();
    for subject in fact_subjects(roster) {
        let publishers = everybody
            .iter()
            .filter(|name| TABLE.iter().any(|row| row.may_publish(name, &subject)));
        let publishers: Vec<_> = publishers.map(account).collect();
        exports.push(format!(
            "{{ service: \"{subject}\", accounts: [{}] }}",
            publishers.join(", ")
        ));
    }
    let audit = account_name(Role::Audit);
    for (there, _) in consumer_interface() {
        let many = if there.contains("MSG.NEXT") {
            ", response_type: stream"
        } else {
            ""
        };
        exports.push(format!(
            "{{ service: \"{there}\"{many}, accounts: [{audit}] }}"
        ));
    }
    list(out, "exports", &exports);
    line(out, "  }");
}

fn account_name(role: Role) -> String {
    role.name().to_ascii_uppercase().replace('-', "_")
}

/// Both halves are always written: without one of them the server allows everything there.
fn user(out: &mut String, nkey: &str, publish: &[String], subscribe: &[String]) {
    line(out, "    users: [ {");
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
    line(out, "    } ]");
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

fn key(nkeys: &BTreeMap<PrincipalName, String>, name: &str) -> Result<String, NatsConfigError> {
    let name = PrincipalName::new(name).unwrap_or_else(|_| unreachable!("{name} is a name"));
    let key = nkeys.get(&name).ok_or(NatsConfigError::NoKey(name))?;
    // It is written bare, so it must be nothing but a key.
    let is_key = key.starts_with('U') && nkeys::KeyPair::from_public_key(key).is_ok();
    if is_key {
        Ok(key.clone())
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
