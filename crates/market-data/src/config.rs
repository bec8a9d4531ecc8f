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

/// Publishes the venue's order books, trades and closes on the bus.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "market-data", version)]
pub struct Arguments {
    /// What every service takes.
    #[command(flatten)]
    pub service: ServiceArgs,

    /// Address of the venue's streams, in place of the one in the settings
    #[arg(long, value_name = "URL")]
    pub venue_stream: Option<String>,

    /// Address of the venue's REST interface, in place of the one in the settings
    #[arg(long, value_name = "URL")]
    pub venue_rest: Option<String>,
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
    rest: String,
    plain_text: PlainText,
    symbols: Vec<String>,
    depth: u32,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the venue's public stream is.
    pub stream: StreamAddress,
    /// Where the venue's REST interface is.
    pub rest: RestAddress,
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
        let base = base(text, plain, ["wss", "ws"]).map_err(|wrong| match wrong {
            Wrong::Form => "must be an address such as wss://stream.bybit.com",
            Wrong::PlainText => {
                "leads off this machine without TLS: use wss://, or set plain_text to \"anywhere\" \
                 for a simulated exchange on a private network"
            }
        })?;
        Ok(Self(format!("{base}{PATH}")))
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

/// The checked address of the REST interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestAddress(String);

impl RestAddress {
    /// Checks the address: scheme, host and port. Without TLS it must lead to where plain text is
    /// allowed: whoever sits in between could invent the history.
    ///
    /// # Errors
    /// What would be right.
    pub fn new(text: &str, plain: PlainText) -> Result<Self, &'static str> {
        let base = base(text, plain, ["https", "http"]).map_err(|wrong| match wrong {
            Wrong::Form => "must be an address such as https://api.bybit.com",
            Wrong::PlainText => {
                "leads off this machine without TLS: use https://, or set plain_text to \
                 \"anywhere\" for a simulated exchange on a private network"
            }
        })?;
        Ok(Self(base.to_owned()))
    }

    /// The address of one request.
    #[must_use]
    pub fn request(&self, path: &str, query: &str) -> String {
        format!("{}{path}?{query}", self.0)
    }

    /// Whether it is reached by TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.starts_with("https:")
    }
}

/// What is wrong with an address.
enum Wrong {
    /// It is not scheme, host and port.
    Form,
    /// It leads to where plain text is not allowed.
    PlainText,
}

/// An address of scheme, host and port and nothing else, without a slash at its end.
fn base<'a>(text: &'a str, plain: PlainText, schemes: [&str; 2]) -> Result<&'a str, Wrong> {
    let uri: Uri = text.parse().map_err(|_| Wrong::Form)?;
    let host = uri.host().ok_or(Wrong::Form)?;
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    if !is_bare || text.contains(['@', '#', '?']) {
        return Err(Wrong::Form);
    }
    let [encrypted, unencrypted] = schemes;
    match uri.scheme_str() {
        Some(scheme) if scheme == encrypted => Ok(text.trim_end_matches('/')),
        Some(scheme) if scheme == unencrypted && plain.may_reach(host) => {
            Ok(text.trim_end_matches('/'))
        }
        Some(scheme) if scheme == unencrypted => Err(Wrong::PlainText),
        Some(_) | None => Err(Wrong::Form),
    }
}

impl Config {
    /// Reads and checks everything that the arguments name.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem at once.
    pub fn load(arguments: &Arguments) -> Result<Self, ConfigError> {
        let path = &arguments.service.config;
        let stream = arguments.venue_stream.as_deref();
        let rest = arguments.venue_rest.as_deref();
        Self::check(path, config::load(path)?, stream, rest)
    }

    fn check(
        path: &Path,
        raw: RawConfig,
        stream: Option<&str>,
        rest: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Problems::new();
        let venue = raw.venue;
        let (key, text) = match stream {
            Some(text) => ("--venue-stream", text),
            None => ("venue.stream", venue.stream.as_str()),
        };
        let stream = problems.take(key, StreamAddress::new(text, venue.plain_text));
        let (key, text) = match rest {
            Some(text) => ("--venue-rest", text),
            None => ("venue.rest", venue.rest.as_str()),
        };
        let rest = problems.take(key, RestAddress::new(text, venue.plain_text));
        let depth = problems.take("venue.depth", Depth::of(venue.depth));
        let symbols = symbols(&venue.symbols, &mut problems);
        let checked = stream.zip(rest).zip(depth);
        let config = checked.map(|((stream, rest), depth)| Self {
            stream,
            rest,
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

    const GOOD: &str = "[venue]\nstream = \"ws://127.0.0.1:1\"\nrest = \"http://127.0.0.1:2/\"\n\
                        plain_text = \"loopback\"\nsymbols = [\"BTCUSDT\", \"XRPUSDT\"]\ndepth = 50\n";

    fn check(text: &str, stream: Option<&str>, rest: Option<&str>) -> Result<Config, String> {
        let path = Path::new("market-data.toml");
        let raw = config::parse(path, text).map_err(|error| error.to_string())?;
        Config::check(path, raw, stream, rest).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_good_settings_and_takes_the_address_of_the_command_line() {
        let config = check(GOOD, None, None).unwrap();
        assert_eq!(config.symbols.len(), 2);
        assert_eq!(config.depth, Depth::Fifty);
        assert_eq!(config.stream.as_str(), "ws://127.0.0.1:1/v5/public/linear");
        assert_eq!(config.rest.request("/x", "y"), "http://127.0.0.1:2/x?y");
        assert!(!config.rest.is_encrypted());
        let config = check(
            GOOD,
            Some("wss://stream.bybit.com"),
            Some("https://api.bybit.com"),
        )
        .unwrap();
        assert_eq!(
            config.stream.as_str(),
            "wss://stream.bybit.com/v5/public/linear"
        );
        assert!(config.stream.is_encrypted());
        assert_eq!(
            config.rest.request("/v5/market/time", "a=b"),
            "https://api.bybit.com/v5/market/time?a=b"
        );
        assert!(config.rest.is_encrypted());
    }

    #[test]
    fn names_every_problem_at_once() {
        let bad = "[venue]\nstream = \"http://x\"\nrest = \"ws://x\"\nplain_text = \"anywhere\"\nsymbols = [\"btc\", \"A\", \"A\", \"A.B\"]\n\
                   depth = 1\n";
        let error = check(bad, None, None).unwrap_err();
        for part in [
            "venue.stream must be an address",
            "venue.rest must be an address",
            "venue.depth must be 50, 200 or 500",
            "has \"btc\"",
            "names A twice",
            "has \"A.B\"",
        ] {
            assert!(error.contains(part), "{part:?} not in {error}");
        }
    }

    #[test]
    fn an_address_of_the_command_line_is_checked_and_named_like_that_of_the_file() {
        let error = check(GOOD, Some("ws://10.0.0.1"), Some("http://10.0.0.1")).unwrap_err();
        for part in ["--venue-stream leads off", "--venue-rest leads off"] {
            assert!(error.contains(part), "{part:?} not in {error}");
        }
        let without = GOOD.replace("rest = \"http://127.0.0.1:2/\"\n", "");
        let error = check(&without, None, Some("http://127.0.0.1:2")).unwrap_err();
        assert!(error.contains("missing field `rest`"), "{error}");
    }

    #[test]
    fn refuses_an_unknown_key_with_its_line() {
        let error = check(&format!("{GOOD}fast = true\n"), None, None).unwrap_err();
        assert!(
            error.contains("market-data.toml:7") && error.contains("fast"),
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
        let address = "http://paper-exchange:8080";
        assert!(RestAddress::new(address, PlainText::Anywhere).is_ok());
        let refused = RestAddress::new(address, PlainText::Loopback).unwrap_err();
        assert!(refused.contains("without TLS"), "{refused}");
        assert!(RestAddress::new("http://[::1]:1/", PlainText::Loopback).is_ok());
        for bad in [
            "",
            "x",
            "https://u:p@host",
            "https://u@host",
            "wss://host",
            "https://h/?a=b",
            "https://h/?",
            "https://h/#a",
            "https://h/v5",
            "https:",
            "file:///etc/passwd",
        ] {
            assert!(
                RestAddress::new(bad, PlainText::Anywhere).is_err(),
                "{bad:?}"
            );
        }
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
