//! The generated configuration: word for word, and in the rules that must hold for any roster.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::path::{Path, PathBuf};

use portcullis_domain::{Hash, PrincipalName, StrategyId, Symbol};
use portcullis_runtime::nats_config::{
    Credentials, MONITOR, NatsConfigError, NatsSettings, OperatorId, PROVISIONER, PublicIdentity,
    Roster, certificate_pin, development_roster, facts_streams, links, nats_config, principals,
};
use portcullis_wire::Realm;

fn settings() -> NatsSettings {
    NatsSettings {
        listen: ([0, 0, 0, 0], 4222).into(),
        http: Some(([127, 0, 0, 1], 8222).into()),
        store_dir: "/data".into(),
        tls_certificate: "/etc/nats/tls/server.pem".into(),
        tls_key: "/etc/nats/tls/server.key".into(),
        tls_ca: "/etc/nats/tls/ca.pem".into(),
        pid_file: None,
        log_file: None,
    }
}

/// The same keys in every run; their seeds are known to everybody.
fn keys(roster: &Roster) -> Credentials {
    let fixed = [PROVISIONER, MONITOR].map(|name| PrincipalName::new(name).unwrap());
    let names = principals(roster).into_iter().chain(fixed);
    names
        .zip(1_u8..)
        .map(|(name, number)| (name, vec![identity(number)]))
        .collect()
}

fn identity(number: u8) -> PublicIdentity {
    let key = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, [number; 32]).unwrap();
    PublicIdentity {
        nkey: key.public_key(),
        certificate_pin: Hash([number; 32]),
    }
}

fn generated(roster: &Roster) -> String {
    nats_config(roster, &keys(roster), &settings()).unwrap()
}

#[test]
fn the_configuration_of_the_development_roster_is_the_one_on_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nats/development.golden.conf");
    let generated = generated(&development_roster());
    if std::env::var_os("PORTCULLIS_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let on_file = std::fs::read_to_string(&path).unwrap();
    let differing = on_file
        .lines()
        .zip(generated.lines())
        .find(|(old, new)| old != new);
    assert!(
        on_file == generated,
        "the table of subjects, or how it is rendered, changed: {differing:?}; review the change \
         with PORTCULLIS_UPDATE_GOLDEN=1 cargo nextest run -p portcullis-runtime the_configuration"
    );
}

#[test]
fn the_server_accepts_it() {
    // Every test that starts a server shows the same; this one names the reason when it does not.
    let server = portcullis_testkit::bus::BusServer::start_bare(larger_roster());
    assert!(server.log().contains("Server is ready"));
}

fn larger_roster() -> Roster {
    let strategies = (0..12).map(|n| StrategyId::new(&format!("strategy-{n}")).unwrap());
    let operators = ["alice", "bob", "carol"].map(|name| OperatorId::new(name).unwrap());
    let symbols = ["BTCUSDT", "ETHUSDT", "1000PEPEUSDT"].map(|name| Symbol::new(name).unwrap());
    let realm = Realm::new("staging").unwrap();
    Roster::new(
        realm,
        strategies.collect(),
        operators.into(),
        symbols.into(),
    )
    .unwrap()
}

#[test]
fn nothing_is_allowed_by_a_wildcard_but_inboxes_and_acknowledgements() {
    for roster in [development_roster(), larger_roster()] {
        let text = generated(&roster);
        let subjects = text.split('"').skip(1).step_by(2);
        let wild: Vec<_> = subjects
            .filter(|s| s.contains('*') || s.contains('>'))
            .collect();
        assert!(!wild.is_empty());
        for subject in wild {
            let inbox = subject
                .strip_prefix("_INBOX.")
                .and_then(|rest| rest.strip_suffix(".>"));
            let own_inbox = inbox.is_some_and(|name| PrincipalName::new(name).is_ok());
            let acknowledgement = facts_streams(&roster).iter().any(|stream| {
                let name = &stream.name;
                subject == format!("$JS.ACK.{name}.audit.>")
                    || subject == format!("$JS.ACK.*.*.{name}.audit.>")
            });
            assert!(own_inbox || acknowledgement || subject == ">", "{subject}");
        }
        for line in text.lines().filter(|line| line.contains("\">\"")) {
            assert!(!line.contains("allow"), "{line}");
        }
        for word in [
            "no_auth_user",
            "allow_responses",
            "password",
            "token",
            "leafnodes",
            "websocket",
        ] {
            assert!(!text.contains(word), "{word}");
        }
        assert!(text.contains("sync_interval: always"));
        assert!(text.contains("handshake_first: true") && text.contains("verify: true"));
    }
}

#[test]
fn every_user_has_both_halves_of_its_permissions() {
    let text = generated(&larger_roster());
    let users = text.matches("nkey: U").count();
    assert_eq!(users, principals(&larger_roster()).len() + 2);
    for half in ["        publish: {", "        subscribe: {"] {
        assert_eq!(
            text.lines().filter(|line| line.starts_with(half)).count(),
            users,
            "{half}"
        );
    }
    let accounts = text.matches("default_permissions: $NOTHING").count();
    assert_eq!(
        accounts, users,
        "one account for each user, each denying by default"
    );
}

/// A service that may not have all its subscriptions would be deaf on some.
#[test]
fn a_large_roster_leaves_room_for_every_subscription() {
    let strategies = (0..200).map(|n| StrategyId::new(&format!("strategy-{n}")).unwrap());
    let roster = Roster::new(
        Realm::new("staging").unwrap(),
        strategies.collect(),
        vec![OperatorId::new("alice").unwrap()],
        vec![Symbol::new("BTCUSDT").unwrap()],
    )
    .unwrap();
    let mut credentials = keys(&development_roster());
    for name in principals(&roster) {
        credentials
            .entry(name)
            .or_insert_with(|| vec![identity(250)]);
    }
    let text = nats_config(&roster, &credentials, &settings()).unwrap();
    let limit = |text: &str| -> usize {
        let rest = text.split("max_subscriptions: ").nth(1).unwrap();
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse().unwrap()
    };
    let audit = text.split("\n  AUDIT {").nth(1).unwrap();
    // Four kinds of facts about each strategy.
    assert!(limit(audit) > 800, "{}", limit(audit));
    assert!(
        limit(&text) >= limit(audit),
        "the server's own limit is lower"
    );
}

#[test]
fn a_principal_has_a_user_for_each_of_its_keys_and_none_when_it_is_revoked() {
    let roster = development_roster();
    let brain = PrincipalName::new("brain").unwrap();
    let mut credentials = keys(&roster);
    let users = |credentials: &Credentials| {
        let text = nats_config(&roster, credentials, &settings()).unwrap();
        let brains = text.split("\n  BRAIN {").nth(1).unwrap();
        let brains = brains.split("\n  }").next().unwrap();
        let pins = text.split("pinned_certs: [").nth(1).unwrap();
        let pins = pins.split(']').next().unwrap().matches('"').count() / 2;
        (brains.matches("nkey: U").count(), pins)
    };
    let everybody = principals(&roster).len() + 2;
    assert_eq!(users(&credentials), (1, everybody));
    let own = credentials.get_mut(&brain).unwrap();
    own.push(identity(200));
    assert_eq!(users(&credentials), (2, everybody + 1));
    credentials.insert(brain, Vec::new());
    assert_eq!(users(&credentials), (0, everybody - 1));
}

/// With what another implementation says of the same certificate: `openssl x509 -pubkey -noout |
/// openssl pkey -pubin -outform DER | sha256sum`.
#[test]
fn a_pin_is_the_digest_of_the_public_key_as_the_certificate_has_it() {
    let pem = include_bytes!("certificates/pinned.pem");
    let pin = certificate_pin(pem).unwrap().to_string();
    assert_eq!(pin, include_str!("certificates/pinned.sha256").trim());
    assert_eq!(certificate_pin(b"no certificate"), None);
}

#[test]
fn what_is_no_key_or_breaks_out_or_opens_monitoring_is_refused() {
    let roster = development_roster();
    let brain = PrincipalName::new("brain").unwrap();
    let mut without = keys(&roster);
    without.remove(&brain);
    let error = nats_config(&roster, &without, &settings()).unwrap_err();
    assert!(
        matches!(error, NatsConfigError::NoKey(name) if name == brain),
        "{error}"
    );
    let account = nkeys::KeyPair::new_account().public_key();
    for bad in ["", "U", "UABC }", &account] {
        let mut keys = keys(&roster);
        let mut one = identity(1);
        one.nkey = bad.into();
        keys.insert(brain, vec![identity(200), one]);
        let error = nats_config(&roster, &keys, &settings()).unwrap_err();
        assert!(
            matches!(error, NatsConfigError::Key(name) if name == brain),
            "{bad:?}: {error}"
        );
    }
    for bad in ["0.0.0.0:8222", "10.0.0.1:8222", "[::]:8222"] {
        let settings = NatsSettings {
            http: Some(bad.parse().unwrap()),
            ..settings()
        };
        let error = nats_config(&roster, &keys(&roster), &settings).unwrap_err();
        assert!(
            matches!(error, NatsConfigError::Monitoring(_)),
            "{bad:?}: {error}"
        );
    }
    for bad in ["/a\"b", "/a\nb", "/$HOME", "/a\\b"] {
        let settings = NatsSettings {
            store_dir: PathBuf::from(bad),
            ..settings()
        };
        let error = nats_config(&roster, &keys(&roster), &settings).unwrap_err();
        assert!(
            matches!(error, NatsConfigError::Path(_)),
            "{bad:?}: {error}"
        );
    }
}

#[test]
fn links_are_those_that_the_table_needs() {
    let links: Vec<String> = links(&development_roster())
        .iter()
        .map(|link| format!("{}>{}", link.source, link.audience))
        .collect();
    for needed in [
        "strategy-sample>brain",
        "brain>risk-guard",
        "brain>execution",
        "brain>signer",
        "risk-guard>execution",
        "risk-guard>signer",
        "execution>signer",
        "signer>execution",
        "audit>execution",
        "execution>audit",
        "operator-dev>signer",
        "execution>strategy-trader",
    ] {
        assert!(links.iter().any(|link| link == needed), "{needed}");
    }
    for forbidden in [
        "brain>brain",
        "strategy-sample>execution",
        "execution>market-data",
    ] {
        assert!(!links.iter().any(|link| link == forbidden), "{forbidden}");
    }
    assert!(
        !links
            .iter()
            .any(|link| link.contains(PROVISIONER) || link.contains(MONITOR))
    );
}
