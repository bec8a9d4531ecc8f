//! Who is let in.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::raw::{RawConnection, handshake, tls_config};
use portcullis_runtime::identity::make;
use portcullis_runtime::nats_config::development_roster;
use portcullis_runtime::{Client, ConnectError, StartError};
use portcullis_testkit::bundle;
use portcullis_testkit::bus::BusServer;
use portcullis_wire::principal::Brain;

/// A copy of brain's identity in which some parts come from elsewhere.
fn mixed(server: &BusServer, name: &str, other: &Path, parts: &[&str]) -> PathBuf {
    let mixed = server.folder().join(name);
    fs::DirBuilder::new().mode(0o700).create(&mixed).unwrap();
    for file in ["bundle.sealed", "bundle.key"] {
        fs::copy(server.identity("brain").join(file), mixed.join(file)).unwrap();
    }
    bundle::take(&mixed, other, parts);
    mixed
}

async fn refusal(server: &BusServer, identity: &Path) -> String {
    let url = server.url();
    let outcome = Client::<Brain>::connect(identity, &url);
    let outcome = tokio::time::timeout(Duration::from_secs(20), outcome)
        .await
        .unwrap();
    let error = outcome.unwrap_err();
    assert!(
        matches!(error, StartError::Connect(ConnectError::Refused { .. })),
        "{error:?}"
    );
    let mut chain = String::new();
    let mut link: Option<&dyn Error> = Some(&error);
    while let Some(cause) = link {
        chain.push_str(&cause.to_string());
        chain.push('|');
        link = cause.source();
    }
    chain
}

fn foreign_identities(server: &BusServer) -> PathBuf {
    let foreign = server.folder().join("foreign");
    make::make(&foreign, &development_roster()).unwrap();
    foreign
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_server_does_not_know_is_refused_at_once() {
    let server = BusServer::start_bare(development_roster());
    let foreign = foreign_identities(&server);
    let identity = mixed(
        &server,
        "wrong-nkey",
        &foreign.join("brain"),
        &["nkey_seed"],
    );
    let chain = refusal(&server, &identity).await;
    assert!(chain.contains("authorization violation"), "{chain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_of_another_authority_is_refused() {
    let server = BusServer::start_bare(development_roster());
    let foreign = foreign_identities(&server);
    let identity = mixed(
        &server,
        "wrong-cert",
        &foreign.join("brain"),
        &["certificate", "key"],
    );
    let chain = refusal(&server, &identity).await;
    assert!(chain.to_lowercase().contains("alert"), "{chain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_authority_is_not_talked_to() {
    let server = BusServer::start_bare(development_roster());
    let foreign = foreign_identities(&server);
    let identity = mixed(&server, "wrong-ca", &foreign.join("brain"), &["ca"]);
    let chain = refusal(&server, &identity).await;
    assert!(chain.contains("invalid peer certificate"), "{chain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_of_another_role_is_refused_before_anything_is_sent() {
    let server = BusServer::start_bare(development_roster());
    let error = Client::<Brain>::connect(&server.identity("execution"), &server.url()).await;
    let StartError::Identity(error) = error.unwrap_err() else {
        panic!("another error")
    };
    assert!(
        error
            .to_string()
            .contains("is the identity of execution, and brain needs its own")
    );
}

#[test]
fn without_a_certificate_nobody_gets_past_the_handshake() {
    let server = BusServer::start_bare(development_roster());
    let mut config = tls_config(&server, "brain", &rustls::version::TLS13);
    config.client_auth_cert_resolver = std::sync::Arc::new(NoCertificate);
    let outcome = handshake(&server, config).and_then(|mut stream| stream.read(&mut [0; 1]));
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn without_tls_the_server_does_not_even_say_who_it_is() {
    let server = BusServer::start_bare(development_roster());
    let mut socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut said = Vec::new();
    // Whether it closes or resets is up to the system.
    let _ = socket.read_to_end(&mut said);
    assert!(
        !said.windows(4).any(|part| part == b"INFO"),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn tls_1_2_is_refused() {
    let server = BusServer::start_bare(development_roster());
    let config = tls_config(&server, "brain", &rustls::version::TLS12);
    let error = handshake(&server, config).err().unwrap().to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
}

#[test]
fn a_message_longer_than_a_frame_is_refused_and_ends_the_connection() {
    let server = BusServer::start_bare(development_roster());
    let mut raw = RawConnection::connect(&server, "brain");
    let payload = "x".repeat(65_536);
    assert!(
        raw.publish("cmd.risk-guard.evaluate", "", &payload)
            .errors
            .is_empty()
    );
    raw.send(b"PUB cmd.risk-guard.evaluate 65537\r\n");
    let line = raw.line().unwrap();
    assert_eq!(line, "-ERR 'Maximum Payload Violation'");
}
