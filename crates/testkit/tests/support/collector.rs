//! A collector of traces: OTLP as protobuf over HTTP, into a list. On request it goes deaf: it takes
//! connections and what they send, and never answers again.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use prost::Message as _;

/// The longest request that is read.
const REQUEST_LENGTH_MAX: usize = 16 << 20;

/// A span as the collector got it.
#[derive(Clone, Debug)]
pub struct Span {
    /// Who sent it.
    pub service: String,
    /// What it is called.
    pub name: String,
    /// Its trace.
    pub trace: Vec<u8>,
    /// Its own id.
    pub id: Vec<u8>,
    /// The id of the span that caused it; empty for none.
    pub parent: Vec<u8>,
}

/// A collector that runs until the test ends.
#[derive(Clone)]
pub struct Collector(Arc<Inner>);

struct Inner {
    port: u16,
    spans: Mutex<Vec<Span>>,
    deaf: AtomicBool,
    unanswered: AtomicUsize,
}

impl Collector {
    /// Listens on a port of the loopback interface that the system chooses.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let collector = Self(Arc::new(Inner {
            port,
            spans: Mutex::default(),
            deaf: AtomicBool::new(false),
            unanswered: AtomicUsize::new(0),
        }));
        let this = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let this = this.clone();
                std::thread::spawn(move || this.serve(&stream));
            }
        });
        collector
    }

    /// Its address, for `--otlp`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }

    /// What came so far.
    pub fn spans(&self) -> Vec<Span> {
        self.0.spans.lock().expect("the spans").clone()
    }

    /// From here on nothing is answered.
    pub fn go_deaf(&self) {
        self.0.deaf.store(true, Ordering::SeqCst);
    }

    /// How many requests came that were not answered.
    pub fn unanswered(&self) -> usize {
        self.0.unanswered.load(Ordering::SeqCst)
    }

    /// Requests of one connection, until it ends.
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).ok()? == 0 {
                    return None;
                }
            }
            let head = head.to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .and_then(|length| length.trim().parse().ok())
                .filter(|length| *length <= REQUEST_LENGTH_MAX)?;
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            if self.0.deaf.load(Ordering::SeqCst) {
                self.0.unanswered.fetch_add(1, Ordering::SeqCst);
                // Reading on keeps the connection open without a word.
                let _ = reader.read_to_end(&mut Vec::new());
                return None;
            }
            let known = head.starts_with("post /v1/traces ") && self.take(&body).is_some();
            let status = if known { "200 OK" } else { "400 Bad Request" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).ok()?;
        }
    }

    fn take(&self, body: &[u8]) -> Option<()> {
        let request = ExportTraceServiceRequest::decode(body).ok()?;
        let mut spans = self.0.spans.lock().expect("the spans");
        for resource in request.resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let name = attributes
                .into_iter()
                .find(|pair| pair.key == "service.name");
            let service = match name.and_then(|pair| pair.value?.value) {
                Some(AnyValue::StringValue(name)) => name,
                _ => String::new(),
            };
            let scopes = resource.scope_spans.into_iter();
            spans.extend(scopes.flat_map(|scope| scope.spans).map(|span| Span {
                service: service.clone(),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
            }));
        }
        Some(())
    }
}
