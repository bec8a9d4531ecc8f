//! The command line, and the configuration that passed every check.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use rust_decimal::Decimal;
use serde::Deserialize;

use crate::accounts::Accounts;
use crate::decimal;
use crate::engine::Rules;
use crate::feed::replay::Replay;
use crate::instrument::{Instrument, symbol_is_valid};
use crate::limits::Allowances;

const EXAMPLES: &str = "\
EXAMPLES
  Make an account, then trade on a generated market:
    head -c 24 /dev/urandom | base64 > desk.secret && chmod 600 desk.secret
    cat > accounts.toml <<END
    [[account]]
    id = \"desk\"
    api_key = \"PAPERDESK\"
    secret_file = \"desk.secret\"
    balance = \"100000\"
    END
    paper-exchange --accounts accounts.toml --generate BTCUSDT --seed 7 --state state

  Replay a recorded day, ten times as fast, again and again:
    paper-exchange --accounts accounts.toml --replay 2024-12-01_XRPUSDT_ob500.data.zip \\
      --speed 10 --loop

  Break something (see the admin endpoint's GET /admin/faults):
    curl -X POST http://127.0.0.1:8091/admin/faults \\
      -d '{\"kind\":\"drop_response\",\"scope\":\"/v5/order/create\",\"count\":1}'

  Pay 500 USDT into an account, or settle funding, without a trade:
    curl -X POST http://127.0.0.1:8091/admin/movements \\
      -d '{\"account\":\"desk\",\"kind\":\"transfer\",\"amount\":\"500\"}'
    curl -X POST http://127.0.0.1:8091/admin/movements \\
      -d '{\"account\":\"desk\",\"kind\":\"funding\",\"symbol\":\"BTCUSDT\",\"amount\":\"-1.25\"}'

FAULTS
  delay {delay_ms}, drop_response, error_before {status}, error_after {status}, forbidden,
  too_many_requests, silent_socket, cut_socket, duplicate_event, reorder_event, skip_delta,
  partial_fill {share}, reject_order, clock_skew {skew_ms}. Each has a scope (a path or a
  stream's topic, a trailing * stands for any rest) and a count.

EXIT CODES
  0 stopped by a signal   1 could not go on   2 wrong arguments or configuration";

/// A simulated exchange that speaks Bybit v5 (REST and WebSocket) for USDT perpetuals.
///
/// It needs accounts and at least one market, generated or replayed. Nothing here is real money,
/// and nothing leaves this machine.
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub struct Args {
    /// Address for REST and WebSocket; port 0 lets the system choose one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,
    /// Allow --listen on an address that others can reach (for containers).
    #[arg(long)]
    pub allow_remote: bool,
    /// Write the port of --listen to this file once it is open, in one step.
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// Address for faults and reads of tests; loopback only, closed unless given.
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// Write the port of --admin to this file once it is open, in one step.
    #[arg(long, value_name = "FILE", requires = "admin")]
    pub admin_port_file: Option<PathBuf>,
    /// TOML file with [[account]] tables: id, api_key, secret_file (mode 0600), balance (USDT).
    #[arg(long, value_name = "FILE")]
    pub accounts: PathBuf,
    /// Keep orders, fills and positions in this directory; without it they end with the process.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Generate a market for this symbol, for example BTCUSDT; may be given more than once.
    #[arg(long, value_name = "SYMBOL")]
    pub generate: Vec<String>,
    /// Seed of the generated markets; the same seed gives the same market.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Milliseconds between two steps of a generated market, 1 to 60000.
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub interval_ms: u64,
    /// Replay a public ob500 file, plain or zip; may be given more than once.
    ///
    /// Such a file has books alone: a small trade is printed at the touch about once a second.
    #[arg(long, value_name = "FILE")]
    pub replay: Vec<PathBuf>,
    /// Play recordings this many times faster, 0.01 to 10000.
    #[arg(long, value_name = "FACTOR", default_value = "1")]
    pub speed: String,
    /// Begin a recording again when it ends.
    #[arg(long = "loop")]
    pub looped: bool,
    /// TOML file with [[instrument]] tables that add to or replace the built-in ones.
    #[arg(long, value_name = "FILE")]
    pub instruments: Option<PathBuf>,
    /// Fee of resting orders, as a ratio.
    #[arg(long, value_name = "RATIO", default_value = "0.0002")]
    pub maker_fee: String,
    /// Fee of taking orders, as a ratio.
    #[arg(long, value_name = "RATIO", default_value = "0.00055")]
    pub taker_fee: String,
    /// Order requests per account, endpoint and second.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub order_rate_per_second: u32,
    /// Private queries per account, endpoint and second.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub query_rate_per_second: u32,
    /// Requests per address and five seconds; more are answered with HTTP 403.
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub address_rate_per_5s: u32,
    /// Open orders an account may have of one symbol.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub open_orders_max: u32,
}

/// A market and where its data comes from.
#[derive(Debug)]
pub(crate) enum Feed {
    Generate(Instrument),
    Replay(Replay),
}

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) port_file: Option<PathBuf>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) admin_port_file: Option<PathBuf>,
    pub(crate) accounts: Accounts,
    pub(crate) state: Option<PathBuf>,
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) feeds: Vec<Feed>,
    pub(crate) seed: u64,
    pub(crate) interval: Duration,
    pub(crate) rules: Rules,
    pub(crate) allowances: Allowances,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInstruments {
    #[serde(default)]
    instrument: Vec<Instrument>,
}

impl Config {
    /// Checks everything.
    ///
    /// # Errors
    /// All problems at once, each with what would be right.
    pub fn check(args: Args) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        if !args.listen.ip().is_loopback() && !args.allow_remote {
            problems.push(format!(
                "--listen {} can be reached by others; use 127.0.0.1, or say --allow-remote",
                args.listen
            ));
        }
        if let Some(admin) = args.admin.filter(|admin| !is_loopback(admin.ip())) {
            problems.push(format!(
                "--admin {admin} must be a loopback address, such as 127.0.0.1"
            ));
        }
        let accounts = keep(&mut problems, Accounts::read(&args.accounts).map_err(chain));
        let known = keep(&mut problems, read_instruments(args.instruments.as_deref()));
        let known = known.unwrap_or_default();
        let speed = ratio(&mut problems, "--speed", &args.speed, "0.01", "10000");
        let maker_fee = ratio(&mut problems, "--maker-fee", &args.maker_fee, "0", "0.1");
        let taker_fee = ratio(&mut problems, "--taker-fee", &args.taker_fee, "0", "0.1");
        let mut feeds = Vec::new();
        for symbol in &args.generate {
            if symbol_is_valid(symbol) {
                feeds.push(Feed::Generate(find(&known, symbol)));
            } else {
                problems.push(format!("--generate {symbol}: a symbol looks like BTCUSDT"));
            }
        }
        for path in &args.replay {
            let replay = Replay::probe(path, speed, args.looped).map_err(chain);
            feeds.extend(keep(&mut problems, replay).map(Feed::Replay));
        }
        if args.generate.is_empty() && args.replay.is_empty() {
            problems.push("no market: give --generate SYMBOL or --replay FILE".to_owned());
        }
        let instruments: Vec<Instrument> = feeds
            .iter()
            .map(|feed| match feed {
                Feed::Generate(instrument) => instrument.clone(),
                Feed::Replay(replay) => find(&known, replay.symbol()),
            })
            .collect();
        let mut symbols = BTreeSet::new();
        for instrument in &instruments {
            if !symbols.insert(&instrument.symbol) {
                problems.push(format!("{} has more than one market", instrument.symbol));
            }
        }
        let Some(accounts) = accounts.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Self {
            listen: args.listen,
            port_file: args.port_file,
            admin: args.admin,
            admin_port_file: args.admin_port_file,
            accounts,
            state: args.state,
            instruments,
            feeds,
            seed: args.seed,
            interval: Duration::from_millis(args.interval_ms),
            rules: Rules {
                maker_fee,
                taker_fee,
                market_cap_ratio: Decimal::new(5, 2),
                open_orders_max: usize::try_from(args.open_orders_max).unwrap_or(usize::MAX),
            },
            allowances: Allowances {
                orders_per_second: args.order_rate_per_second,
                queries_per_second: args.query_rate_per_second,
                address_per_5s: args.address_rate_per_5s,
            },
        })
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback()
}

/// The value, or the problem noted.
fn keep<T>(problems: &mut Vec<String>, result: Result<T, String>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

/// A bounded ratio, or a harmless one with the problem noted.
fn ratio(problems: &mut Vec<String>, name: &str, text: &str, min: &str, max: &str) -> Decimal {
    let bound = |text| decimal::parse(text).unwrap_or_default();
    let value = decimal::parse(text).filter(|value| (bound(min)..=bound(max)).contains(value));
    value.unwrap_or_else(|| {
        problems.push(format!(
            "{name} {text:?} must be a decimal from {min} to {max}"
        ));
        Decimal::ONE
    })
}

fn find(known: &[Instrument], symbol: &str) -> Instrument {
    let found = known.iter().find(|instrument| instrument.symbol == symbol);
    found
        .cloned()
        .unwrap_or_else(|| Instrument::built_in(symbol))
}

fn read_instruments(path: Option<&Path>) -> Result<Vec<Instrument>, String> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(path)
        .map_err(|cause| format!("read {}: {cause}", path.display()))?;
    let raw: RawInstruments =
        toml::from_str(&text).map_err(|cause| format!("{}: {cause}", path.display()))?;
    for instrument in &raw.instrument {
        if let Some(problem) = instrument.problem() {
            return Err(format!(
                "{}: {}: {problem}",
                path.display(),
                instrument.symbol
            ));
        }
    }
    Ok(raw.instrument)
}

/// An error and its causes on one line.
pub(crate) fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
