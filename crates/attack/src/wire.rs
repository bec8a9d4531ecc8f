//! Speaks the bus protocol by hand: the client library would never do what an attacker does.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// What is needed to log in.
pub struct Login<'a> {
    /// The certificate authority that the server is checked against.
    pub ca: &'a [u8],
    /// The client's certificate.
    pub certificate: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
    /// The seed of the NKey.
    pub seed: &'a str,
}

/// A connection to the server as one principal.
pub struct Wire {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
    sid: u64,
}

/// A message that the server delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The subject it came on.
    pub subject: String,
    /// The subject for an answer, or empty.
    pub reply: String,
    /// The bytes without their headers.
    pub bytes: Vec<u8>,
}

/// What the server said up to its answer to a ping.
#[derive(Debug, Default)]
pub struct Said {
    /// Its errors.
    pub errors: Vec<String>,
    /// What it delivered.
    pub heard: Vec<Heard>,
}

impl Said {
    /// The error with which a subject was denied, if it was.
    #[must_use]
    pub fn denial(&self, subject: &str) -> Option<&str> {
        let named = format!("\"{subject}\"");
        let denies = |error: &&String| {
            error.contains("Permissions Violation") && error.contains(named.as_str())
        };
        self.errors.iter().find(denies).map(String::as_str)
    }
}

impl Wire {
    /// Logs in.
    ///
    /// # Errors
    /// When the server does not take the connection, the certificate or the key.
    pub fn connect(port: u16, login: &Login<'_>) -> Result<Self> {
        let stream = handshake(port, login)?;
        let mut wire = Self {
            stream,
            received: Vec::new(),
            sid: 0,
        };
        let info = wire.line().context("read the server's greeting")?;
        let info = info.strip_prefix("INFO ").context("a greeting")?;
        let info: serde_json::Value = serde_json::from_str(info)?;
        let nonce = info.get("nonce").and_then(serde_json::Value::as_str);
        let key = nkeys::KeyPair::from_seed(login.seed.trim()).context("read the stolen seed")?;
        let signature = key.sign(nonce.context("a nonce")?.as_bytes())?;
        let connect = serde_json::json!({
            "verbose": false, "pedantic": false, "tls_required": true, "headers": true,
            "no_responders": true, "lang": "raw", "version": "1", "protocol": 1,
            "nkey": key.public_key(), "sig": base64url(&signature),
        });
        let said = wire.say(format!("CONNECT {connect}\r\n").as_bytes())?;
        ensure!(said.errors.is_empty(), "log in: {:?}", said.errors);
        Ok(wire)
    }

    /// Sends protocol lines, and gives back what came until the server had seen all of them.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn say(&mut self, lines: &[u8]) -> Result<Said> {
        self.send(lines)?;
        self.send(b"PING\r\n")?;
        let mut said = Said::default();
        loop {
            let line = match self.line() {
                Ok(line) => line,
                // It says why before it hangs up.
                Err(_) if !said.errors.is_empty() => return Ok(said),
                Err(error) => return Err(error).context("hear the server's answer"),
            };
            match line.split(' ').next().unwrap_or_default() {
                "PONG" => return Ok(said),
                "PING" => self.send(b"PONG\r\n")?,
                "-ERR" => said.errors.push(line),
                "MSG" => said.heard.push(self.message(&line, false)?),
                "HMSG" => said.heard.push(self.message(&line, true)?),
                _ => {}
            }
        }
    }

    /// Publishes, with a subject for the answer where there is one.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn publish(&mut self, subject: &str, reply: &str, bytes: &[u8]) -> Result<Said> {
        self.say(&publication(subject, reply, bytes))
    }

    /// Publishes and does not wait for what the server says.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn throw(&mut self, subject: &str, bytes: &[u8]) -> Result<()> {
        Ok(self.send(&publication(subject, "", bytes))?)
    }

    /// Listens on a subject.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn listen(&mut self, subject: &str) -> Result<Said> {
        self.sid = self.sid.saturating_add(1);
        let sid = self.sid;
        self.say(format!("SUB {subject} {sid}\r\n").as_bytes())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            let end = self.received.windows(2).position(|pair| pair == b"\r\n");
            if let Some(at) = end {
                let line: Vec<u8> = self.received.drain(..at + 2).take(at).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.more()?;
        }
    }

    fn message(&mut self, line: &str, headed: bool) -> Result<Heard> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |from_end: usize| -> Result<usize> {
            let at = words.len().checked_sub(from_end);
            let word = at.and_then(|at| words.get(at)).context("a length")?;
            Ok(word.parse()?)
        };
        let length = number(1)?;
        let headers = if headed { number(2)? } else { 0 };
        // MSG subject sid [reply] length, HMSG subject sid [reply] headers length
        let with_reply = words.len() == if headed { 6 } else { 5 };
        let reply = words.get(3).filter(|_| with_reply);
        while self.received.len() < length.saturating_add(2) {
            self.more()?;
        }
        let bytes = self.received.drain(..length + 2);
        Ok(Heard {
            subject: words.get(1).copied().unwrap_or_default().to_owned(),
            reply: reply.copied().unwrap_or_default().to_owned(),
            bytes: bytes.take(length).skip(headers).collect(),
        })
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16_384];
        let read = self.stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.received
            .extend_from_slice(buffer.get(..read).unwrap_or_default());
        Ok(())
    }
}

/// Asks until something is so, or the time is over.
///
/// # Errors
/// What the asking says.
pub fn poll<T>(
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask()? {
            return Ok(Some(found));
        }
        if begun.elapsed() >= patience {
            return Ok(None);
        }
        std::thread::park_timeout(Duration::from_millis(3));
    }
}

fn publication(subject: &str, reply: &str, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len();
    let mut line = if reply.is_empty() {
        format!("PUB {subject} {length}\r\n").into_bytes()
    } else {
        format!("PUB {subject} {reply} {length}\r\n").into_bytes()
    };
    line.extend_from_slice(bytes);
    line.extend_from_slice(b"\r\n");
    line
}

fn handshake(port: u16, login: &Login<'_>) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(login.ca)?)?;
    let certificate = CertificateDer::from_pem_slice(login.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(login.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?;
    let name = ServerName::try_from("127.0.0.1")?;
    let mut connection = ClientConnection::new(Arc::new(config), name)?;
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut socket)
            .context("shake hands with the bus")?;
    }
    Ok(StreamOwned::new(connection, socket))
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut bits: u32 = 0;
        for place in 0..3 {
            bits = (bits << 8) | u32::from(chunk.get(place).copied().unwrap_or(0));
        }
        for place in 0..=chunk.len() {
            let digit = (bits >> (18 - 6 * place)) & 63;
            let digit = usize::try_from(digit).ok().and_then(|at| DIGITS.get(at));
            text.push(char::from(digit.copied().unwrap_or(b'A')));
        }
    }
    text
}
