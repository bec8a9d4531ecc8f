//! The limits that each identity has on the server, and who gets no further than the door.

use std::fs;
use std::io::Read;

use crate::common::number_of;
use crate::raw::{RawConnection, handshake, tls_config};
use portcullis_runtime::nats_config::{PROVISIONER, development_roster};
use portcullis_testkit::bus::BusServer;

/// What the server says to a login until it closes the connection or answers a ping.
fn login(server: &BusServer, connect: &str) -> String {
    let config = tls_config(server, "brain", &rustls::version::TLS13);
    let mut stream = handshake(server, config).unwrap();
    let lines = format!("CONNECT {connect}\r\nPING\r\n");
    std::io::Write::write_all(&mut stream, lines.as_bytes()).unwrap();
    let mut said = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => said.extend(&buffer[..length]),
        }
        if said.windows(4).any(|part| part == b"PONG") {
            break;
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn a_certificate_alone_admits_nobody() {
    let server = BusServer::start_bare(development_roster());
    for connect in [
        r#"{"verbose":false}"#,
        r#"{"verbose":false,"user":"brain","pass":"brain"}"#,
        r#"{"verbose":false,"auth_token":"brain"}"#,
        r#"{"verbose":false,"jwt":"eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.e30.AA"}"#,
    ] {
        let said = login(&server, connect);
        assert!(
            said.contains("-ERR 'Authorization Violation'"),
            "{connect}: {said}"
        );
        assert!(!said.contains("PONG"), "{connect}: {said}");
    }
    let nkey = server.nkey("brain").to_owned();
    let unsigned = format!(r#"{{"verbose":false,"nkey":"{nkey}","sig":"AAAA"}}"#);
    assert!(login(&server, &unsigned).contains("Authorization Violation"));
    assert!(
        RawConnection::connect(&server, "brain")
            .say("")
            .errors
            .is_empty()
    );
}

#[test]
fn nobody_has_more_connections_than_the_account_allows() {
    let server = BusServer::start_bare(development_roster());
    for (name, limit) in [("brain", 4), ("strategy-sample", 16), (PROVISIONER, 2)] {
        let mut held: Vec<_> = (0..limit)
            .map(|_| RawConnection::connect(&server, name))
            .collect();
        let refused = RawConnection::try_connect(&server, name).err();
        let refused = refused.unwrap_or_else(|| panic!("{name} has one more than {limit}"));
        assert!(
            refused.contains("maximum account active connections"),
            "{name}: {refused}"
        );
        // The others are not harmed, and neither is anybody else.
        assert!(held.iter_mut().all(|raw| raw.say("").errors.is_empty()));
        assert!(
            RawConnection::connect(&server, "signer")
                .say("")
                .errors
                .is_empty()
        );
    }
}

#[test]
fn nobody_has_more_subscriptions_than_the_account_allows() {
    let server = BusServer::start_bare(development_roster());
    let mut brain = RawConnection::connect(&server, "brain");
    let many: String = (0..256)
        .map(|sid| format!("SUB _INBOX.brain.{sid} {sid}\r\n"))
        .collect();
    assert_eq!(brain.say(&many).errors, Vec::<String>::new());
    let answer = brain.say("SUB echo.brain 999\r\nPUB echo.brain 4\r\nmark\r\n");
    assert_eq!(answer.errors, ["-ERR 'maximum subscriptions exceeded'"]);
    assert_eq!(answer.messages, [], "it was subscribed all the same");
    // With room again it is what it was.
    let answer = brain.say("UNSUB 7\r\nSUB echo.brain 999\r\nPUB echo.brain 4\r\nmark\r\n");
    assert_eq!(answer.errors, Vec::<String>::new());
    let message = answer.messages.into_iter().next();
    let message = message.unwrap_or_else(|| crate::common::until_message(&mut brain));
    assert_eq!(message.payload, b"mark");
}

/// Even with the provisioner's identity nobody makes a stream without an end, or a second consumer.
#[test]
fn the_store_holds_so_many_streams_of_a_stated_size_with_one_consumer_each() {
    let server = BusServer::start_bare(development_roster());
    let mut provisioner = RawConnection::connect(&server, PROVISIONER);
    provisioner.say("SUB _INBOX.provisioner.> 1\r\n");
    let mut ask = |subject: &str, body: &str| -> serde_json::Value {
        let mut answer = provisioner.publish(subject, "_INBOX.provisioner.x", body);
        assert_eq!(answer.errors, Vec::<String>::new(), "{subject}");
        let message = answer.messages.pop();
        let message = message.unwrap_or_else(|| crate::common::until_message(&mut provisioner));
        serde_json::from_slice(&message.payload).unwrap()
    };
    let create = "$JS.API.STREAM.CREATE.FACTS_BRAIN";
    let endless = r#"{"name":"FACTS_BRAIN","subjects":["evt.brain.notice"],"storage":"file"}"#;
    let answer = ask(create, endless);
    assert_eq!(number_of(&answer, "/error/err_code"), 10_113, "{answer}");
    let in_memory = r#"{"name":"FACTS_BRAIN","subjects":["evt.brain.notice"],"storage":"memory","max_bytes":1024}"#;
    let answer = ask(create, in_memory);
    assert_eq!(number_of(&answer, "/error/err_code"), 10_028, "{answer}");
    let too_large = r#"{"name":"FACTS_BRAIN","subjects":["evt.brain.notice"],"storage":"file","max_bytes":4294967297}"#;
    let answer = ask(create, too_large);
    assert_ne!(number_of(&answer, "/error/err_code"), 0, "{answer}");
    let info = ask("$JS.API.INFO", "");
    assert_eq!(number_of(&info, "/limits/max_streams"), 5, "{info}");
    assert_eq!(number_of(&info, "/limits/max_consumers"), 1, "{info}");
    assert_eq!(number_of(&info, "/streams"), 0, "{info}");
}

/// It has no authentication.
#[test]
fn monitoring_listens_on_loopback_or_not_at_all() {
    let server = BusServer::start_bare(development_roster());
    let text = fs::read_to_string(server.configuration()).unwrap();
    assert!(!text.contains("\nhttp"), "nobody asked for it");
    assert!(!server.log().contains("monitor"), "{}", server.log());
}
