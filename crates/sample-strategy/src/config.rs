//! The settings: what is traded, how much, and how far from the average.

use std::collections::BTreeMap;
use std::path::Path;

use portcullis_domain::{Bps, Quantity, Symbol};
use portcullis_runtime::config::{self, ConfigError, Problems};
use serde::Deserialize;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    instrument: Vec<RawInstrument>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInstrument {
    symbol: Symbol,
    quantity: Quantity,
    position_max: Quantity,
    threshold_bps: Bps,
    skew_bps: Bps,
    average_books: u32,
    in_flight_max: u32,
}

/// What is traded of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The size of one order.
    pub quantity: Quantity,
    /// The largest position, long or short, with all open orders filled.
    pub position_max: Quantity,
    /// How far the middle of the book must be from the average.
    pub threshold: Bps,
    /// How far the average is moved against a full position, so that it is traded away sooner.
    pub skew: Bps,
    /// Over about how many books the average goes.
    pub average_books: u32,
    /// The most orders that may be under way at once.
    pub in_flight_max: usize,
}

/// Reads the settings.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn load(path: &Path) -> Result<BTreeMap<Symbol, Settings>, ConfigError> {
    check(path, config::load(path)?)
}

fn check(path: &Path, raw: RawConfig) -> Result<BTreeMap<Symbol, Settings>, ConfigError> {
    let mut problems = Problems::new();
    let mut instruments = BTreeMap::new();
    if raw.instrument.is_empty() {
        problems.add("instrument", "is missing: list at least one [[instrument]]");
    }
    for raw in raw.instrument {
        let key = |name: &str| format!("instrument.{}.{name}", raw.symbol);
        if raw.position_max < raw.quantity {
            problems.add(
                key("position_max"),
                "is less than one order: nothing could be traded",
            );
        }
        if raw.threshold_bps.get() > 1_000 || raw.skew_bps.get() > 1_000 {
            problems.add(
                key("threshold_bps, skew_bps"),
                "may be 1000 at most, which is 10 %",
            );
        }
        if !(1..=10_000).contains(&raw.average_books) {
            problems.add(key("average_books"), "must lie between 1 and 10000");
        }
        if !(1..=100).contains(&raw.in_flight_max) {
            problems.add(key("in_flight_max"), "must lie between 1 and 100");
        }
        let settings = Settings {
            quantity: raw.quantity,
            position_max: raw.position_max,
            threshold: raw.threshold_bps,
            skew: raw.skew_bps,
            average_books: raw.average_books,
            in_flight_max: usize::try_from(raw.in_flight_max).unwrap_or(usize::MAX),
        };
        if instruments.insert(raw.symbol, settings).is_some() {
            problems.add(key("symbol"), "is listed twice");
        }
    }
    problems.into_result(path, Some(instruments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<Symbol, Settings>, String> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("s.toml");
        std::fs::write(&path, text).unwrap();
        load(&path).map_err(|problem| problem.to_string())
    }

    const GOOD: &str = "[[instrument]]\nsymbol = \"XRPUSDT\"\nquantity = \"10\"\n\
                        position_max = \"100\"\nthreshold_bps = 3\nskew_bps = 5\n\
                        average_books = 50\nin_flight_max = 1\n";

    #[test]
    fn names_everything_that_is_wrong_at_once() {
        assert_eq!(read(GOOD).unwrap().len(), 1);
        let bad = GOOD
            .replace("position_max = \"100\"", "position_max = \"5\"")
            .replace("average_books = 50", "average_books = 0")
            .replace("in_flight_max = 1", "in_flight_max = 101");
        let problems = read(&bad).unwrap_err();
        for expected in ["position_max", "average_books", "in_flight_max"] {
            assert!(problems.contains(expected), "{problems}");
        }
        assert!(read("").unwrap_err().contains("instrument"));
        assert!(
            read(&format!("{GOOD}{GOOD}"))
                .unwrap_err()
                .contains("is listed twice")
        );
        let unknown = read(&format!("{GOOD}leverage = 3\n")).unwrap_err();
        assert!(unknown.contains("leverage"), "{unknown}");
    }

    #[test]
    fn the_settings_that_are_shipped_are_sound() {
        let shipped =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/sample-strategy.toml");
        assert!(!load(&shipped).unwrap().is_empty());
    }
}
