//! A recording in the format of Bybit's public order-book history (`ob500`): one JSON message a line,
//! a snapshot first, then deltas.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The name tells the instrument; the supervisor makes up the markets that a recording lacks.
const NAME: &str = "2024-12-01_XRPUSDT_ob500.data";

/// A recording in `folder`: a real one, where `PORTCULLIS_OB500` names one, else one that is made up
/// in the same format.
pub fn recording(folder: &Path) -> PathBuf {
    if let Some(real) = std::env::var_os("PORTCULLIS_OB500") {
        let target = folder.join(format!("{NAME}.zip"));
        std::fs::copy(&real, &target).expect("copy the recording that PORTCULLIS_OB500 names");
        return target;
    }
    let target = folder.join(NAME);
    std::fs::write(&target, made_up(200)).expect("write a recording");
    target
}

/// A market that swings by a few ticks, with 50 levels a side.
fn made_up(messages: u64) -> String {
    let mut text = String::new();
    let begun_ms = 1_733_011_200_000_u64;
    // In ticks of 0.0001.
    let middle = |message: u64| {
        let phase = message % 40;
        19_400 + if phase < 20 { phase } else { 40 - phase }
    };
    let side = |best: u64, down: bool, quantity: u64| {
        let levels = (0..50_u64).map(|depth| {
            let ticks = if down { best - depth } else { best + depth };
            format!(
                "[\"{}.{:04}\",\"{}\"]",
                ticks / 10_000,
                ticks % 10_000,
                quantity + depth * 10
            )
        });
        levels.collect::<Vec<_>>().join(",")
    };
    for message in 0..messages {
        let (kind, at) = if message == 0 {
            ("snapshot", 0)
        } else {
            ("delta", message)
        };
        let best = middle(at);
        let quantity = 500 + at % 300;
        let (mut bids, mut asks) = (
            side(best - 1, true, quantity),
            side(best + 1, false, quantity),
        );
        if message > 0 {
            // What the last message had on the wrong side of the new middle goes.
            let before = middle(at - 1);
            let gone =
                |ticks: u64| format!(",[\"{}.{:04}\",\"0\"]", ticks / 10_000, ticks % 10_000);
            if best > before {
                let _ = write!(asks, "{}{}", gone(before + 1), gone(best));
                bids = bids.replace(&gone(best), "");
            } else {
                let _ = write!(bids, "{}{}", gone(before - 1), gone(best));
                asks = asks.replace(&gone(best), "");
            }
        }
        let _ = writeln!(
            text,
            "{{\"topic\":\"orderbook.500.XRPUSDT\",\"type\":\"{kind}\",\"ts\":{ts},\"data\":\
             {{\"s\":\"XRPUSDT\",\"b\":[{bids}],\"a\":[{asks}],\"u\":{u},\"seq\":{seq}}},\"cts\":{ts}}}",
            ts = begun_ms + at * 100,
            u = at + 1,
            seq = 1_000 + at,
        );
    }
    text
}
