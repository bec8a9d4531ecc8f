//! The settings.

use std::path::Path;

use portcullis_domain::Symbol;
use portcullis_runtime::config::{self, Problems};
use portcullis_runtime::venue_link::PlainText;
use portcullis_runtime::{ConfigError, ServiceArgs};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::http::Uri;

/// Where the public stream of linear perpetuals is, below the address of the streams.
const PATH: &str = "/v5/public/linear";
/// The most instruments of one service.
const SYMBOLS_MAX: usize = 50;

/// Publishes the venue's order books and trades on the bus.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "market-data", version)]
pub struct Arguments {
    /// What every service takes.
    #[command(flatten)]
    pub service: ServiceArgs,

    /// Address of the venue's streams, in place of the one in the settings
    #[arg(long, value_name = "URL")]
    pub venue_stream: Option<String>,
}

/// The file as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    venue: RawVenue,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVenue {
    stream: String,
    plain_text: PlainText,
    symbols: Vec<String>,
    depth: u32,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the venue's public stream is.
    pub stream: StreamAddress,
    /// Which instruments are published; at least one, no two the same.
    pub symbols: Vec<Symbol>,
    /// How deep the books are that the venue sends.
    pub depth: Depth,
}

/// The depths that the venue streams for linear perpetuals and that are of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// 50 levels a side, each 20 ms.
    Fifty,
    /// 200 levels a side, each 100 ms.
    TwoHundred,
    /// 500 levels a side, each 100 ms.
    FiveHundred,
}

impl Depth {
    /// How many levels a side.
    #[must_use]
    pub const fn levels(self) -> u32 {
        match self {
            Self::Fifty => 50,
            Self::TwoHundred => 200,
            Self::FiveHundred => 500,
        }
    }

    fn of(levels: u32) -> Result<Self, &'static str> {
        [Self::Fifty, Self::TwoHundred, Self::FiveHundred]
            .into_iter()
            .find(|depth| depth.levels() == levels)
            .ok_or("must be 50, 200 or 500")
    }
}

/// The checked address of the public stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAddress(String);

impl StreamAddress {
    /// Checks the address of the venue's streams: scheme, host and port. Without TLS it must lead to
    /// where plain text is allowed: whoever sits in between could invent the books.
    ///
    /// # Errors
    /// What would be right.
    pub fn new(text: &str, plain: PlainText) -> Result<Self, &'static str> {
        const FORM: &str = "must be an address such as wss://stream.bybit.com";
        let uri: Uri = text.parse().map_err(|_| FORM)?;
        let host = uri.host().ok_or(FORM)?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !is_bare || text.contains(['@', '#']) {
            return Err(FORM);
        }
        match uri.scheme_str() {
            Some("wss") => {}
            Some("ws") if plain.may_reach(host) => {}
            Some("ws") => {
                return Err(
                    "leads off this machine without TLS: use wss://, or set plain_text \
                            to \"anywhere\" for a simulated exchange on a private network",
                );
            }
            Some(_) | None => return Err(FORM),
        }
        Ok(Self(format!("{}{PATH}", text.trim_end_matches('/'))))
    }

    /// The address of the stream, path included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is reached by TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.starts_with("wss:")
    }
}

impl Config {
    /// Reads and checks everything that the arguments name.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem at once.
    pub fn load(arguments: &Arguments) -> Result<Self, ConfigError> {
        let path = &arguments.service.config;
        Self::check(path, config::load(path)?, arguments.venue_stream.as_deref())
    }

    fn check(path: &Path, raw: RawConfig, stream: Option<&str>) -> Result<Self, ConfigError> {
        let mut problems = Problems::new();
        let venue = raw.venue;
        let (key, text) = match stream {
            Some(text) => ("--venue-stream", text),
            None => ("venue.stream", venue.stream.as_str()),
        };
        let stream = problems.take(key, StreamAddress::new(text, venue.plain_text));
        let depth = problems.take("venue.depth", Depth::of(venue.depth));
        let symbols = symbols(&venue.symbols, &mut problems);
        let checked = stream.zip(depth);
        let config = checked.map(|(stream, depth)| Self {
            stream,
            symbols,
            depth,
        });
        problems.into_result(path, config)
    }
}

fn symbols(texts: &[String], problems: &mut Problems) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    if texts.is_empty() || texts.len() > SYMBOLS_MAX {
        problems.add(
            "venue.symbols",
            format!("must name 1 to {SYMBOLS_MAX} instruments"),
        );
    }
    for text in texts.iter().take(SYMBOLS_MAX) {
        // The venue writes capital letters and digits, and a dot would add a place to a subject.
        let is_plain = text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        match Symbol::new(text) {
            Ok(symbol) if is_plain && !symbols.contains(&symbol) => symbols.push(symbol),
            Ok(symbol) if is_plain => {
                problems.add("venue.symbols", format!("names {symbol} twice"));
            }
            Ok(_) | Err(_) => problems.add(
                "venue.symbols",
                format!("has {text:?}, which is no instrument such as BTCUSDT"),
            ),
        }
    }
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[venue]\nstream = \"ws://127.0.0.1:1\"\nplain_text = \"loopback\"\n\
                        symbols = [\"BTCUSDT\", \"XRPUSDT\"]\ndepth = 50\n";

    fn check(text: &str, stream: Option<&str>) -> Result<Config, String> {
        let path = Path::new("market-data.toml");
        let raw = config::parse(path, text).map_err(|error| error.to_string())?;
        Config::check(path, raw, stream).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_good_settings_and_takes_the_address_of_the_command_line() {
        let config = check(GOOD, None).unwrap();
        assert_eq!(config.symbols.len(), 2);
        assert_eq!(config.depth, Depth::Fifty);
        assert_eq!(config.stream.as_str(), "ws://127.0.0.1:1/v5/public/linear");
        let config = check(GOOD, Some("wss://stream.bybit.com")).unwrap();
        assert_eq!(
            config.stream.as_str(),
            "wss://stream.bybit.com/v5/public/linear"
        );
        assert!(config.stream.is_encrypted());
    }

    #[test]
    fn names_every_problem_at_once() {
        let bad = "[venue]\nstream = \"http://x\"\nplain_text = \"anywhere\"\nsymbols = [\"btc\", \"A\", \"A\", \"A.B\"]\n\
                   depth = 1\n";
        let error = check(bad, None).unwrap_err();
        for part in [
            "venue.stream must be an address",
            "venue.depth must be 50, 200 or 500",
            "has \"btc\"",
            "names A twice",
            "has \"A.B\"",
        ] {
            assert!(error.contains(part), "{part:?} not in {error}");
        }
    }

    #[test]
    fn refuses_an_unknown_key_with_its_line() {
        let error = check(&format!("{GOOD}fast = true\n"), None).unwrap_err();
        assert!(
            error.contains("market-data.toml:6") && error.contains("fast"),
            "{error}"
        );
    }

    #[test]
    fn plain_text_leads_nowhere_but_here_unless_it_is_allowed() {
        let address = "ws://paper-exchange:8080";
        assert!(StreamAddress::new(address, PlainText::Anywhere).is_ok());
        let refused = StreamAddress::new(address, PlainText::Loopback).unwrap_err();
        assert!(refused.contains("without TLS"), "{refused}");
        assert!(StreamAddress::new("ws://[::1]:1/", PlainText::Loopback).is_ok());
        for bad in [
            "",
            "x",
            "wss://u@host",
            "https://host",
            "wss://h/?a=b",
            "wss://h/v5",
            "wss:",
        ] {
            assert!(
                StreamAddress::new(bad, PlainText::Anywhere).is_err(),
                "{bad:?}"
            );
        }
    }
}
