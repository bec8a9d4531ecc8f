//! Replay of the venue's public `ob500` files: one JSON message a line, a snapshot and then
//! deltas, plain or in a zip archive.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rust_decimal::Decimal;
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::mpsc;

use super::Step;
use crate::decimal;
use crate::engine::book::{BookUpdate, Level};
use crate::instrument::symbol_is_valid;

/// Longest line, in bytes.
const LINE_MAX: u64 = 1024 * 1024;

/// Longest wait between two lines, before speed counts.
const GAP_MAX_MS: i64 = 60_000;

/// Wait before a loop begins again, before speed counts.
const LOOP_GAP_MS: i64 = 100;

/// Steps read ahead.
const READ_AHEAD: usize = 64;

/// Why a recording cannot be played.
#[derive(Debug, Error)]
pub(crate) enum ReplayError {
    #[error("open the recording {}", .0.display())]
    Open(PathBuf, #[source] io::Error),
    #[error("open the recording {} as a zip archive", .0.display())]
    Zip(PathBuf, #[source] zip::result::ZipError),
    #[error("read {} at line {line}", .path.display())]
    Read {
        path: PathBuf,
        line: u64,
        #[source]
        cause: io::Error,
    },
    #[error("{} line {line}: {problem}; an ob500 file has one message of topic orderbook.500.SYMBOL a line, a snapshot first", .path.display())]
    Line {
        path: PathBuf,
        line: u64,
        problem: String,
    },
}

/// A recording that was looked into.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    path: PathBuf,
    symbol: String,
    /// How many times faster than it was recorded.
    speed: Decimal,
    looped: bool,
}

#[derive(Debug, Deserialize)]
struct Message {
    topic: String,
    #[serde(rename = "type")]
    kind: String,
    ts: i64,
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    s: String,
    b: Vec<(String, String)>,
    a: Vec<(String, String)>,
}

struct Line {
    ts: i64,
    symbol: String,
    update: BookUpdate,
}

impl Replay {
    /// Looks into a recording: its first line must be a snapshot of a known shape.
    pub(crate) fn probe(path: &Path, speed: Decimal, looped: bool) -> Result<Self, ReplayError> {
        let mut first = None;
        read_lines(path, |line| {
            first = Some(line.symbol);
            false
        })?;
        let symbol = first.ok_or_else(|| ReplayError::Line {
            path: path.to_owned(),
            line: 1,
            problem: "the recording is empty".to_owned(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            symbol,
            speed,
            looped,
        })
    }

    pub(crate) fn symbol(&self) -> &str {
        &self.symbol
    }

    /// Starts a thread that reads ahead; the channel ends where the recording does.
    pub(crate) fn start(self) -> mpsc::Receiver<Result<Step, ReplayError>> {
        let (steps, receiver) = mpsc::channel(READ_AHEAD);
        // A thread that cannot start drops the sender, which ends the channel.
        let started = std::thread::Builder::new()
            .name(format!("replay {}", self.symbol))
            .spawn(move || self.read(&steps));
        if let Err(error) = started {
            tracing::error!(%error, "start the thread that reads the recording");
        }
        receiver
    }

    fn read(&self, steps: &mpsc::Sender<Result<Step, ReplayError>>) {
        let mut first = true;
        loop {
            let mut last_ts = None;
            let mut wanted = true;
            let result = read_lines(&self.path, |line| {
                let gap_ms = match last_ts {
                    Some(last) => line.ts.saturating_sub(last).clamp(0, GAP_MAX_MS),
                    None if first => 0,
                    None => LOOP_GAP_MS,
                };
                last_ts = Some(line.ts);
                first = false;
                let step = Step {
                    wait: self.scaled(gap_ms),
                    update: line.update,
                    trades: Vec::new(),
                };
                wanted = steps.blocking_send(Ok(step)).is_ok();
                wanted
            });
            if let Err(error) = result {
                // Nobody listens when the exchange has stopped already.
                let _ = steps.blocking_send(Err(error));
                return;
            }
            if !wanted || !self.looped {
                return;
            }
        }
    }

    fn scaled(&self, gap_ms: i64) -> Duration {
        let micros = Decimal::from(gap_ms.saturating_mul(1_000)).checked_div(self.speed);
        let micros = micros.and_then(|micros| u64::try_from(micros.trunc()).ok());
        Duration::from_micros(micros.unwrap_or(0))
    }
}

/// Reads a recording line by line until `each` answers `false`.
fn read_lines(path: &Path, mut each: impl FnMut(Line) -> bool) -> Result<(), ReplayError> {
    let open = |cause| ReplayError::Open(path.to_owned(), cause);
    let file = File::open(path).map_err(open)?;
    if path.extension().is_some_and(|extension| extension == "zip") {
        let fail = |cause| ReplayError::Zip(path.to_owned(), cause);
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(fail)?;
        let entry = archive.by_index(0).map_err(fail)?;
        return read_from(path, BufReader::new(entry), &mut each);
    }
    read_from(path, BufReader::new(file), &mut each)
}

fn read_from(
    path: &Path,
    mut source: impl BufRead,
    each: &mut impl FnMut(Line) -> bool,
) -> Result<(), ReplayError> {
    let mut symbol: Option<String> = None;
    for number in 1.. {
        let mut bytes = Vec::new();
        let read = source.by_ref().take(LINE_MAX).read_until(b'\n', &mut bytes);
        let read = read.map_err(|cause| ReplayError::Read {
            path: path.to_owned(),
            line: number,
            cause,
        })?;
        if read == 0 {
            break;
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let line = parse(&bytes, symbol.as_deref()).map_err(|problem| ReplayError::Line {
            path: path.to_owned(),
            line: number,
            problem,
        })?;
        symbol.get_or_insert_with(|| line.symbol.clone());
        if !each(line) {
            break;
        }
    }
    Ok(())
}

fn parse(bytes: &[u8], expected: Option<&str>) -> Result<Line, String> {
    let message: Message =
        serde_json::from_slice(bytes).map_err(|cause| format!("not a book message: {cause}"))?;
    let symbol = message.data.s;
    if !symbol_is_valid(&symbol) || !message.topic.ends_with(&symbol) {
        return Err("topic and symbol do not fit".to_owned());
    }
    if expected.is_some_and(|expected| expected != symbol) {
        return Err(format!("symbol changes to {symbol}"));
    }
    let snapshot = match message.kind.as_str() {
        "snapshot" => true,
        "delta" if expected.is_some() => false,
        "delta" => return Err("a delta before the first snapshot".to_owned()),
        _ => return Err("type is neither snapshot nor delta".to_owned()),
    };
    let update = BookUpdate {
        snapshot,
        bids: levels(&message.data.b)?,
        asks: levels(&message.data.a)?,
    };
    Ok(Line {
        ts: message.ts,
        symbol,
        update,
    })
}

fn levels(raw: &[(String, String)]) -> Result<Vec<Level>, String> {
    raw.iter()
        .map(|(price, qty)| {
            match (
                decimal::parse(price).filter(|price| !price.is_zero()),
                decimal::parse(qty),
            ) {
                (Some(price), Some(qty)) => Ok((price, qty)),
                _ => Err("a price or quantity is not a plain decimal".to_owned()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const SNAPSHOT: &str = r#"{"topic":"orderbook.500.XRPUSDT","type":"snapshot","ts":1000,"data":{"s":"XRPUSDT","b":[["1.9","10"]],"a":[["2.0","5"]],"u":1,"seq":1},"cts":990}"#;
    const DELTA: &str = r#"{"topic":"orderbook.500.XRPUSDT","type":"delta","ts":1250,"data":{"s":"XRPUSDT","b":[["1.9","0"]],"a":[],"u":2,"seq":2},"cts":1240}"#;

    fn recording(lines: &[&str]) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".data").tempfile().unwrap();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        file
    }

    fn all(replay: Replay) -> Vec<Result<Step, ReplayError>> {
        let mut receiver = replay.start();
        std::iter::from_fn(|| receiver.blocking_recv()).collect()
    }

    #[test]
    fn plays_snapshot_and_deltas_with_their_time_steps_scaled() {
        let file = recording(&[SNAPSHOT, DELTA]);
        let replay = Replay::probe(file.path(), Decimal::from(10), false).unwrap();
        assert_eq!(replay.symbol(), "XRPUSDT");
        let steps: Vec<Step> = all(replay).into_iter().map(Result::unwrap).collect();
        assert_eq!(steps.len(), 2);
        assert!(steps[0].update.snapshot);
        assert_eq!(steps[1].wait, Duration::from_millis(25));
        assert_eq!(
            steps[1].update.bids,
            vec![(Decimal::new(19, 1), Decimal::ZERO)]
        );
    }

    #[test]
    fn reads_a_deflated_zip_like_the_plain_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("day.zip");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated);
        archive.start_file("day.data", options).unwrap();
        writeln!(archive, "{SNAPSHOT}\n{DELTA}").unwrap();
        archive.finish().unwrap();
        let replay = Replay::probe(&path, Decimal::ONE, false).unwrap();
        assert_eq!(all(replay).len(), 2);
    }

    #[test]
    fn names_the_line_that_is_wrong() {
        for (lines, problem) in [
            (&[DELTA][..], "a delta before the first snapshot"),
            (&["{}"][..], "not a book message"),
            (
                &[
                    r#"{"topic":"orderbook.500.XRPUSDT","type":"snapshot","ts":1,"data":{"s":"XRPUSDT","b":[["-1","1"]],"a":[]}}"#,
                ][..],
                "not a plain decimal",
            ),
            (&[][..], "the recording is empty"),
        ] {
            let file = recording(lines);
            let error = Replay::probe(file.path(), Decimal::ONE, false).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert!(error.to_string().contains("line 1"), "{error}");
        }
    }
}
