//! Whether somebody on the loopback interface answers, and which ports there are free.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 4_096;
/// The longest body that is read whole.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// What a health server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, on one line.
    pub body: String,
}

impl Answer {
    /// Whether all is well.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.status == 200
    }
}

/// Asks `http://127.0.0.1:port/path`.
pub async fn ask(port: u16, path: &str) -> io::Result<Answer> {
    let text = exchange(port, path, ANSWER_BYTES_MAX).await?;
    read_answer(&text).ok_or_else(no_answer)
}

/// The whole body of the answer to a question that somebody answers well.
///
/// # Errors
/// When nobody answers in time, or with anything else.
pub async fn fetch(port: u16, path: &str) -> io::Result<String> {
    let text = exchange(port, path, BODY_BYTES_MAX).await?;
    let answer = read_answer(&text).ok_or_else(no_answer)?;
    if !answer.is_good() {
        let problem = format!("it answers {}: {}", answer.status, answer.body);
        return Err(io::Error::other(problem));
    }
    let (_, body) = text.split_once("\r\n\r\n").ok_or_else(no_answer)?;
    Ok(body.to_owned())
}

async fn exchange(port: u16, path: &str, bytes_max: u64) -> io::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        // By version 1.0 nobody sends a body in pieces.
        let request =
            format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(bytes_max).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer")
}

fn read_answer(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let plain = body
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c });
    Some(Answer {
        status,
        body: plain.take(200).collect(),
    })
}

/// The port in a file that a service writes once it listens; `None` until then.
#[must_use]
pub fn port_in(path: &Path) -> Option<u16> {
    std::fs::read_to_string(path)
        .ok()?
        .trim()
        .parse()
        .ok()
        .filter(|port| *port != 0)
}

/// Ports that are free now, all different: those wished for where they are, else what the operating
/// system chooses.
pub fn free_ports<const N: usize>(wished: [Option<u16>; N]) -> io::Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for (port, wish) in ports.iter_mut().zip(wished) {
        let at = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = wish
            .and_then(|wish| at(wish).ok())
            .map_or_else(|| at(0), Ok)?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Whether nobody has this port.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_status_and_one_line_of_the_body() {
        let answer = read_answer("HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\nno\nbooks\r\n");
        assert_eq!(
            answer,
            Some(Answer {
                status: 503,
                body: "no books".into()
            })
        );
        assert_eq!(read_answer("SSH-2.0-x\r\n\r\n"), None);
    }

    #[test]
    fn a_port_that_is_taken_is_not_given_out_and_a_free_one_is_kept() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let [first, second] = free_ports([Some(port), None]).unwrap();
        assert!(first != port && first != second && !is_free(port));
        drop(taken);
        assert!(is_free(port));
    }

    #[tokio::test]
    async fn nobody_at_the_port_is_an_error_and_not_a_wait() {
        let [port] = free_ports([None]).unwrap();
        let cause = ask(port, "/readyz").await.unwrap_err();
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn somebody_who_never_answers_is_not_waited_for_forever() {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = silent.local_addr().unwrap().port();
        let cause = ask(port, "/readyz").await.unwrap_err();
        assert_eq!(cause.kind(), io::ErrorKind::TimedOut);
    }
}
