//! Lines of nats-server 2.15.1, as they were written; only keys and the names of clients are shorter.

use audit_core::{BusClient, BusDenial, BusEvent, BusSaid};
use portcullis_domain::{Hash, StrategyId, Timestamp};
use portcullis_wire::Text;

use super::*;

const HEAD: &str = "[7683] 2026/11/22 07:44:03.546578 ";
/// 2026-11-22 07:44:03.546578 UTC.
const AT: Timestamp = Timestamp(1_795_333_443_546_578);
const KEY: &str = "UBNFZ3H4AFJSTPRFKVWLBHTGBWVPEJH6AXOIW6QTSFXJFRMHQVOAQG2A";
const OTHER: &str = "UBVWHFKORERGOWITRDLYBSCTGYKCWIIJNVBKHPPOW7R5R2VQPOSE4MW3";

fn accounts() -> Accounts {
    Accounts::new(&[StrategyId::new("mean_rev").unwrap()])
}

fn said(rest: &str) -> Option<BusSaid> {
    read(&format!("{HEAD}{rest}"), &accounts())
}

fn principal(name: &str) -> BusClient {
    BusClient::Principal {
        name: name.parse().unwrap(),
        nkey: Text::lossy(KEY),
    }
}

/// Who was denied what, on which subject.
fn denied(rest: &str) -> (BusClient, BusDenial, String) {
    match said(rest) {
        Some(BusSaid::Denied {
            who,
            what,
            subject,
            from,
            at,
        }) => {
            assert_eq!((from.as_str(), at), ("127.0.0.1:37888", AT), "{rest}");
            (who, what, subject.as_str().to_owned())
        }
        other => panic!("{rest}: {other:?}"),
    }
}

#[test]
fn what_the_server_denies_is_read_with_who_and_what() {
    let brain = format!("[ERR] 127.0.0.1:37888 - cid:15 - \"v1:raw\" - \"BRAIN/nkey:{KEY}\" - ");
    let bare = "[ERR] 127.0.0.1:37888 - cid:15 - ";
    let named = |key: &str| BusClient::Claimed {
        nkey: Text::lossy(key),
    };
    let (me, stranger) = (principal("brain"), BusClient::Stranger);
    let cases = [
        (
            format!("{brain}Publish Violation - Subject \"cmd.execution.execute\""),
            (me.clone(), BusDenial::Publish, "cmd.execution.execute"),
        ),
        (
            format!("{brain}Subscription Violation - Subject \">\", SID 7"),
            (me.clone(), BusDenial::Subscribe, ">"),
        ),
        (
            format!("{brain}Subscription Violation - Subject \"foo\", Queue: \"bar\", SID 8"),
            (me.clone(), BusDenial::Subscribe, "foo bar"),
        ),
        (
            format!("{brain}maximum payload exceeded: 999999999 vs 65536"),
            (
                me.clone(),
                BusDenial::Payload,
                "maximum payload exceeded: 999999999 vs 65536",
            ),
        ),
        (
            format!("{brain}maximum control line exceeded"),
            (
                me.clone(),
                BusDenial::Protocol,
                "maximum control line exceeded",
            ),
        ),
        (
            format!("{brain}processSub Parse Error: \"foo q,\\\", SID 9\""),
            (
                me.clone(),
                BusDenial::Protocol,
                "processSub Parse Error: \"foo q,\\\", SID 9\"",
            ),
        ),
        (
            format!(
                "{brain}Client parser ERROR, state=0, i=0: proto='\"GARBAGE \\\"\\x1b[31m\"...'"
            ),
            (
                me.clone(),
                BusDenial::Protocol,
                "Client parser ERROR, state=0, i=0: proto='\"GARBAGE \\\"\\x1b[31m\"...'",
            ),
        ),
        (
            format!("{brain}maximum subscriptions exceeded"),
            (
                me.clone(),
                BusDenial::Subscriptions,
                "maximum subscriptions exceeded",
            ),
        ),
        (
            brain.replace("ERR", "INF") + "Slow Consumer Detected: MaxPending of 8388608 Exceeded",
            (
                me.clone(),
                BusDenial::SlowConsumer,
                "Slow Consumer Detected: MaxPending of 8388608 Exceeded",
            ),
        ),
        (
            format!("{brain}Something of a later version"),
            (me.clone(), BusDenial::Other, "Something of a later version"),
        ),
        (
            format!("{bare}maximum account active connections exceeded"),
            (
                stranger.clone(),
                BusDenial::Connections,
                "maximum account active connections exceeded",
            ),
        ),
        (
            format!("{bare}maximum connections exceeded"),
            (
                stranger.clone(),
                BusDenial::Connections,
                "maximum connections exceeded",
            ),
        ),
        (
            format!("{bare}authentication error - Nkey \"{OTHER}\""),
            (named(OTHER), BusDenial::Login, &format!("Nkey \"{OTHER}\"")),
        ),
        (
            format!("{bare}authentication error"),
            (stranger.clone(), BusDenial::Login, ""),
        ),
        (
            format!("{bare}authentication error - User \"x\""),
            (stranger.clone(), BusDenial::Login, "User \"x\""),
        ),
        (
            format!("{bare}authentication error - Nkey \"U\\\"\\n\\x1bX\""),
            (
                stranger.clone(),
                BusDenial::Login,
                "Nkey \"U\\\"\\n\\x1bX\"",
            ),
        ),
        (
            format!("{bare}TLS handshake error: tls: client didn't provide a certificate"),
            (
                stranger.clone(),
                BusDenial::Handshake,
                "tls: client didn't provide a certificate",
            ),
        ),
        (
            format!(
                "{bare}TLS handshake error: tls: failed to verify certificate: x509: certificate \
                 signed by unknown authority (CN=evil\\\"x SHA-256: 1e3b)"
            ),
            (
                stranger,
                BusDenial::Handshake,
                "tls: failed to verify certificate: x509: certificate signed by unknown authority \
                 (CN=evil\\\"x SHA-256: 1e3b)",
            ),
        ),
    ];
    for (line, (who, what, subject)) in cases {
        assert_eq!(denied(&line), (who, what, subject.to_owned()), "{line}");
    }
}

#[test]
fn a_claimed_name_is_never_taken_for_who_somebody_is() {
    let end = "Publish Violation - Subject \"a\"";
    let escaped = end.replace('"', "\\\"");
    let identity = format!("\"STRATEGY_SAMPLE/nkey:{KEY}\"");
    let claims = [
        String::new(),
        "\"v1:raw\" - ".to_owned(),
        format!("\"EXECUTION/nkey:{OTHER}\" - "),
        format!("\"v1:raw:\\\" - \\\"EXECUTION/nkey:{OTHER}\\\" - {escaped}\" - "),
        format!("\"v1:raw:x\\n{HEAD}[ERR] 1.2.3.4:5 - cid:1 - \\\"\" - "),
        "\"\\\\\" - ".to_owned(),
    ];
    for claim in claims {
        let line = format!("[ERR] 127.0.0.1:37888 - cid:15 - {claim}{identity} - {end}");
        let expected = (
            principal("strategy-sample"),
            BusDenial::Publish,
            "a".to_owned(),
        );
        assert_eq!(denied(&line), expected, "{line}");
    }
}

#[test]
fn an_account_is_its_principals() {
    let cases = [
        ("BRAIN", "brain"),
        ("RISK_GUARD", "risk-guard"),
        ("STORE", "provisioner"),
        ("SYS", "monitor"),
        // Known from the settings, since its name cannot be told from its account.
        ("STRATEGY_MEAN_REV", "strategy-mean_rev"),
        ("STRATEGY_SAMPLE", "strategy-sample"),
        ("OPERATOR_DEV", "operator-dev"),
    ];
    for (account, name) in cases {
        let line = format!(
            "[ERR] 127.0.0.1:37888 - cid:1 - \"{account}/nkey:{KEY}\" - Publish Violation - Subject \"a\""
        );
        assert_eq!(denied(&line).0, principal(name), "{account}");
    }
    for identity in [
        "BRAIN",
        "BRAIN/nkey:U",
        "BRAIN/user:x",
        "a b/nkey:",
        &format!("É/nkey:{KEY}"),
    ] {
        let line = format!(
            "[ERR] 127.0.0.1:37888 - cid:1 - \"{identity}\" - Publish Violation - Subject \"a\""
        );
        assert_eq!(denied(&line).0, BusClient::Stranger, "{identity}");
    }
}

#[test]
fn a_hostile_subject_stays_one_bounded_text() {
    let subject = |text: &str| {
        denied(&format!(
            "[ERR] 127.0.0.1:37888 - cid:1 - \"BRAIN/nkey:{KEY}\" - Publish Violation - Subject \"{text}\""
        ))
        .2
    };
    // Carriage return, escape, quote, backslash, a byte that is no character, and one that is.
    let hostile = r#"a\rb\x1b[31m\"q\\u\xffé\x00\v"#;
    assert_eq!(subject(hostile), hostile);
    assert_eq!(
        subject(r#"\" - Publish Violation - Subject \"b"#),
        r#"\" - Publish Violation - Subject \"b"#
    );
    let long = subject(&"a".repeat(16_000));
    assert_eq!(long, format!("{}…", "a".repeat(197)));
    let wide = subject(&"é".repeat(16_000));
    assert_eq!(wide, format!("{}…", "é".repeat(98)));
    // Unescaped control characters come from no server, and make no second line.
    assert_eq!(subject("a\u{1b}[2K\r\u{85}b"), "a [2K  b");
    // The subscription's number is not escaped by the server, and not read.
    let line = format!(
        "[ERR] 127.0.0.1:37888 - cid:1 - \"BRAIN/nkey:{KEY}\" - Subscription Violation - Subject \
         \"foo\", Queue: \"s\\\"i\\x1bd\", SID 9\u{fffd}é\", Queue: \"x\u{1b}[31m"
    );
    assert_eq!(denied(&line).2, "foo s\\\"i\\x1bd");
}

#[test]
fn a_denial_in_an_unknown_form_is_recorded_as_it_stands() {
    for end in [
        "Publish Violation - Subject cmd.x",
        "Publish Violation - Subject \"cmd.x",
        "Publish Violation - Subject \"cmd.x\\",
        "\"v1:raw\"",
    ] {
        let (_, what, subject) = denied(&format!("[ERR] 127.0.0.1:37888 - cid:1 - {end}"));
        assert_eq!((what, subject.as_str()), (BusDenial::Other, end));
    }
}

#[test]
fn what_happens_to_the_server_is_read_with_its_configuration() {
    let digest = "defb7bb08db0f3862b6278fa6f8c05c74130ac651108bd42d28d696dee9faad6";
    let config = Hash::from_hex(digest).unwrap();
    let cases = [
        (
            format!("[INF] Using configuration file: nats.conf (sha256:{digest})"),
            BusEvent::Started,
            Some(config),
        ),
        (
            format!("[INF] Reloaded server configuration (sha256:{digest})"),
            BusEvent::Reloaded,
            Some(config),
        ),
        (
            "[ERR] Failed to reload server configuration: nats.conf:13:1: interface".to_owned(),
            BusEvent::ReloadRefused,
            None,
        ),
        (
            "[INF] Initiating Shutdown...".to_owned(),
            BusEvent::Stopped,
            None,
        ),
    ];
    for (line, event, config) in cases {
        let expected = BusSaid::Server {
            event,
            config,
            at: AT,
        };
        assert_eq!(said(&line), Some(expected), "{line}");
    }
}

#[test]
fn other_lines_are_nothing_to_record() {
    let brain = format!("127.0.0.1:37888 - cid:15 - \"v1:raw\" - \"BRAIN/nkey:{KEY}\" - ");
    let cases = [
        "[INF] Server is ready".to_owned(),
        "[INF] ".to_owned(),
        "[INF] Reloaded: authorization nkey users".to_owned(),
        "[WRN] Clients that are not using \"TLS Handshake First\" option will fail to connect"
            .to_owned(),
        "[INF] Rotated log, backup saved as \"/x/nats.log.2026.11.22.07.44.03.546578000\""
            .to_owned(),
        format!(
            "[WRN] {brain}Producer was stalled for a total of 6ms - Account:BRAIN - nkey:{KEY}"
        ),
        "[TRC] 127.0.0.1:37888 - cid:15 - Publish Violation - Subject \"a\"".to_owned(),
    ];
    for line in cases {
        assert_eq!(said(&line), None, "{line}");
    }
    let denial = format!("[ERR] {brain}Publish Violation - Subject \"a\"");
    assert!(said(&denial).is_some());
    for head in [
        "",
        "[] 2026/11/22 07:44:03.546578 ",
        "[x] 2026/11/22 07:44:03.546578 ",
        "[7] 2026/13/22 07:44:03.546578 ",
        "[7] 2026/11/22 24:44:03.546578 ",
        "[7] 2026/11/22 07:44:03.54657 ",
        "[7] 2026/11/22 07:44:03 ",
        "[7] 1969/11/22 07:44:03.546578 ",
        "[7] +026/11/22 07:44:03.546578 ",
    ] {
        let line = format!("{head}{denial}");
        assert_eq!(read(&line, &accounts()), None, "{line}");
    }
}

#[test]
fn the_servers_time_is_read_to_the_microsecond() {
    let cases = [
        ("1970/01/01 00:00:00.000000", 0),
        ("1972/02/29 23:59:59.999999", 68_255_999_999_999),
        ("2000/02/29 00:00:00.000001", 951_782_400_000_001),
        ("2000/03/01 00:00:00.000000", 951_868_800_000_000),
        ("2026/11/22 07:44:03.546578", AT.0),
    ];
    for (text, micros) in cases {
        let at = time(&format!("[1] {text} [INF] x"));
        assert_eq!(at, Some(Timestamp(micros)), "{text}");
    }
}
