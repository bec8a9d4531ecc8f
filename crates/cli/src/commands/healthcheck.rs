//! `portcullis healthcheck`: whether a service answers. It stands in for a shell where there is none.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::exit::{End, Failure, Outcome};
use crate::output::Output;

const EXAMPLES: &str = "\
EXAMPLES
  portcullis healthcheck 127.0.0.1:9000                   does it do its work?
  portcullis healthcheck 127.0.0.1:9000 --path /healthz   is it alive?
  portcullis healthcheck 127.0.0.1:9000 --path /metrics   its metrics

EXIT CODES
  0 it says that all is well   1 it does not answer, or says that it is not";

/// Ask a service how it is, over HTTP; for a container without a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Healthcheck {
    /// Where the service answers
    #[arg(value_name = "ADDR")]
    address: SocketAddr,
    /// What to ask for
    #[arg(long, default_value = "/readyz", value_parser = path)]
    path: String,
    /// How long the answer may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout_ms: u64,
}

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// It becomes a part of the request, so nothing in it may end a line.
fn path(text: &str) -> Result<String, &'static str> {
    let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path {
        Ok(text.to_owned())
    } else {
        Err("must be a path such as /readyz")
    }
}

/// Asks, and shows what was said.
///
/// # Errors
/// When nobody answers in time, or the answer is not that all is well.
pub fn run(healthcheck: &Healthcheck, output: &Output) -> Outcome {
    let Healthcheck { address, path, .. } = healthcheck;
    let next_step = "look whether the service runs, and at its log; of a local stack the health \
                     ports stand in .portcullis/run/ports.toml and the logs in .portcullis/log";
    let answer = ask(
        *address,
        path,
        Duration::from_millis(healthcheck.timeout_ms),
    );
    let answer = answer.map_err(|cause| {
        Failure::caused(
            End::Failed,
            format!("ask {address}{path}"),
            cause,
            next_step,
        )
    })?;
    match read_answer(&answer) {
        Some((200, body)) => {
            output.line(body.trim_end());
            Ok(End::Done)
        }
        Some((status, body)) => {
            let problem = format!("{address}{path} says {status}: {}", body.trim_end());
            Err(Failure::new(End::Failed, problem, next_step))
        }
        None => {
            let problem = format!("{address}{path} answers something that is not HTTP");
            Err(Failure::new(
                End::Failed,
                problem,
                "check the address: is it a health server?",
            ))
        }
    }
}

/// Reads until the other side closes or the time is over, however slowly it speaks.
fn ask(address: SocketAddr, path: &str, patience: Duration) -> io::Result<String> {
    let deadline = Instant::now() + patience;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_write_timeout(Some(patience))?;
    // In one write, so that it travels as one packet.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    let mut part = [0; 4_096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        }
        stream.get_ref().set_read_timeout(Some(left))?;
        let read = stream.read(&mut part)?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
        answer.extend_from_slice(part.get(..read).unwrap_or_default());
    }
}

fn read_answer(text: &str) -> Option<(u16, &str)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some((status, body))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn check(server: impl FnOnce(TcpStream) + Send + 'static, timeout_ms: u64) -> Outcome {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || server(listener.accept().unwrap().0));
        let healthcheck = Healthcheck {
            address,
            path: "/readyz".into(),
            timeout_ms,
        };
        let outcome = run(&healthcheck, &Output::of(true, false, false));
        server.join().unwrap();
        outcome
    }

    fn answers(text: &'static str) -> impl FnOnce(TcpStream) {
        move |mut stream| {
            let mut request = [0; 256];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn only_the_status_200_is_well() {
        let good = check(answers("HTTP/1.1 200 OK\r\n\r\nready\n"), 5_000);
        assert_eq!(good.unwrap(), End::Done);
        let bad = check(
            answers("HTTP/1.1 503 Service Unavailable\r\n\r\nno books\n"),
            5_000,
        );
        assert!(bad.unwrap_err().to_string().ends_with("says 503: no books"));
        let strange = check(answers("SSH-2.0-x\r\n\r\n"), 5_000);
        assert!(strange.unwrap_err().to_string().contains("not HTTP"));
    }

    #[test]
    fn who_never_ends_its_answer_is_not_waited_for() {
        let failure = check(
            |mut stream| {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                // Until the other side has given up.
                let _ = stream.read_to_end(&mut Vec::new());
            },
            100,
        );
        assert_eq!(failure.unwrap_err().end, End::Failed);
    }

    #[test]
    fn nobody_at_the_port_is_a_failure() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let healthcheck = Healthcheck {
            address,
            path: "/readyz".into(),
            timeout_ms: 1_000,
        };
        let failure = run(&healthcheck, &Output::of(true, false, false)).unwrap_err();
        assert!(failure.to_string().contains("refused"), "{failure}");
    }

    #[test]
    fn a_path_cannot_add_a_line_to_the_request() {
        assert!(path("/metrics").is_ok());
        for bad in ["", "readyz", "/a b", "/a\r\nHost: x"] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }
}
