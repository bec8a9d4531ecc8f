//! Speaks the bus protocol by hand, to try what the client library would never do.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use portcullis_runtime::identity::Bundle;
use portcullis_testkit::bus::BusServer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned, SupportedProtocolVersion};

pub struct RawConnection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
}

/// What the server said up to its answer to a ping.
#[derive(Debug, Default)]
pub struct Answer {
    pub errors: Vec<String>,
    pub messages: Vec<Message>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub subject: String,
    pub payload: Vec<u8>,
}

impl RawConnection {
    /// Logs in as a principal.
    pub fn connect(server: &BusServer, name: &str) -> Self {
        Self::connect_with(server, name, name)
    }

    /// As [`Self::connect`]; what the server says when it turns the login down.
    pub fn try_connect(server: &BusServer, name: &str) -> Result<Self, String> {
        Self::log_in(server, name, name)
    }

    /// Logs in as a principal with the certificate of another.
    pub fn connect_with(server: &BusServer, name: &str, certificate_of: &str) -> Self {
        Self::log_in(server, name, certificate_of).unwrap()
    }

    fn log_in(server: &BusServer, name: &str, certificate_of: &str) -> Result<Self, String> {
        let config = tls_config(server, certificate_of, &rustls::version::TLS13);
        let mut raw = Self {
            stream: handshake(server, config).unwrap(),
            received: Vec::new(),
        };
        let info = raw.line().unwrap();
        let info: serde_json::Value =
            serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
        let bundle = Bundle::open(&server.identity(name)).unwrap();
        let key = nkeys::KeyPair::from_seed(bundle.nkey_seed()).unwrap();
        let signature = base64url(
            &key.sign(info["nonce"].as_str().unwrap().as_bytes())
                .unwrap(),
        );
        let connect = serde_json::json!({
            "verbose": false, "pedantic": false, "tls_required": true, "headers": true,
            "no_responders": true, "lang": "raw", "version": "1", "protocol": 1,
            "nkey": key.public_key(), "sig": signature,
        });
        raw.send(format!("CONNECT {connect}\r\nPING\r\n").as_bytes());
        loop {
            let line = raw.line().map_err(|error| error.to_string())?;
            if line.starts_with("-ERR") {
                return Err(line);
            }
            if line == "PONG" {
                return Ok(raw);
            }
        }
    }

    /// Sends protocol lines, and returns what came until the server had seen all of them.
    pub fn say(&mut self, lines: &str) -> Answer {
        self.send(format!("{lines}PING\r\n").as_bytes());
        let mut answer = Answer::default();
        loop {
            let line = self.line().unwrap();
            match line.split(' ').next().unwrap() {
                "PONG" => return answer,
                "PING" => self.send(b"PONG\r\n"),
                "-ERR" => answer.errors.push(line),
                "MSG" => answer.messages.push(self.message(&line, 0)),
                "HMSG" => {
                    let headers = line.rsplit(' ').nth(1).unwrap().parse().unwrap();
                    answer.messages.push(self.message(&line, headers));
                }
                _ => {}
            }
        }
    }

    /// Publishes, with a subject for the answer if there is one.
    pub fn publish(&mut self, subject: &str, reply: &str, payload: &str) -> Answer {
        self.say(&format!(
            "PUB {subject} {reply} {}\r\n{payload}\r\n",
            payload.len()
        ))
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// The next line without its end.
    pub fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.received.drain(..at + 2).take(at).collect();
                return Ok(String::from_utf8(line).unwrap());
            }
            self.more()?;
        }
    }

    /// The next line, if the connection has one or may still have one.
    pub fn try_line(&mut self) -> Option<String> {
        self.line().ok()
    }

    fn message(&mut self, line: &str, headers: usize) -> Message {
        let subject = line.split(' ').nth(1).unwrap().to_owned();
        let length: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        while self.received.len() < length + 2 {
            self.more().unwrap();
        }
        let payload = self
            .received
            .drain(..length + 2)
            .take(length)
            .skip(headers)
            .collect();
        Message { subject, payload }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4_096];
        let read = self.stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.received.extend(&buffer[..read]);
        Ok(())
    }
}

/// The TLS configuration of a principal, for one version of the protocol.
pub fn tls_config(
    server: &BusServer,
    name: &str,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let bundle = Bundle::open(&server.identity(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(bundle.ca_pem()).unwrap())
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(bundle.certificate_pem()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(bundle.key_pem()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap()
}

/// Shakes hands and reads the first byte, since a refused certificate shows only then.
pub fn handshake(
    server: &BusServer,
    config: ClientConfig,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", server.port()))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(bits);
        for place in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}
