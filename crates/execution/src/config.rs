//! Settings of execution. There is no limit among them: limits are compiled in, or come with the
//! risk policy, which can only tighten them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use execution_core::{ForeignOrders, hard_limits};
use portcullis_domain::{Hash, Span, Symbol};
use portcullis_runtime::config::{self, Problems};
use portcullis_runtime::venue_link::PlainText;
use portcullis_runtime::{ConfigError, ServiceArgs, policy};
use portcullis_venue::bybit::CANCEL_ON_DISCONNECT_S;
use portcullis_wire::messages::RiskPolicy;
use serde::Deserialize;

use crate::bybit::{BudgetSettings, ClockSettings, Endpoint, Timeouts};

/// Gets permitted orders done, exactly once, and enforces its own compiled-in daily loss.
///
/// `execution --hard-limits` shows the limits that are compiled in, and their digest.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "execution", version)]
pub struct Arguments {
    #[command(flatten)]
    pub service: ServiceArgs,

    /// The risk policy that brain, risk-guard and execution must agree on (TOML)
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,

    /// Address of the venue's REST API, such as https://api.bybit.com
    #[arg(long, value_name = "URL")]
    pub venue_rest: String,

    /// Address of the venue's streams, such as wss://stream.bybit.com
    #[arg(long, value_name = "URL")]
    pub venue_stream: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    venue: RawVenue,
    journal: RawJournal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVenue {
    connect_timeout_ms: u64,
    request_timeout_ms: u64,
    plain_text: PlainText,
    clock_offset_max_ms: u64,
    requests_per_5s: usize,
    cancel_reserve: usize,
    disconnect_cancel_s: u16,
    foreign_orders: RawForeignOrders,
}

/// See [`ForeignOrders`].
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawForeignOrders {
    Report,
    Cancel,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJournal {
    requests_in_flight_max: usize,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub policy: RiskPolicy,
    pub policy_hash: Hash,
    pub rest: Endpoint,
    pub stream: Endpoint,
    pub timeouts: Timeouts,
    pub clock: ClockSettings,
    pub budget: BudgetSettings,
    /// After how many seconds without the private stream the venue itself cancels everything; `None`
    /// where it does not offer that.
    pub disconnect_cancel_s: Option<u16>,
    pub requests_in_flight_max: usize,
    pub foreign_orders: ForeignOrders,
}

impl Config {
    /// Reads and checks everything that the arguments name.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem at once.
    pub fn load(arguments: &Arguments) -> Result<Self, ConfigError> {
        let (policy, policy_hash) = policy::load(&arguments.policy)?;
        let path: &Path = &arguments.service.config;
        let raw: RawConfig = config::load(path)?;
        let compiled = hard_limits::digest();
        if policy.hard_limits != compiled {
            let mut problems = Problems::new();
            problems.add(
                "hard_limits",
                format_args!(
                    "is {}, and the limits compiled into this binary have {compiled}: start the binary \
                     that the policy is for, or have the owners of both agree on the policy",
                    policy.hard_limits
                ),
            );
            return problems.into_result(&arguments.policy, None);
        }
        let mut problems = Problems::new();
        let mut millis = |key: &str, value: u64, max: u64| {
            if value == 0 || value > max {
                problems.add(key, format_args!("must be 1 to {max}"));
            }
            Duration::from_millis(value)
        };
        let timeouts = Timeouts {
            connect: millis(
                "venue.connect_timeout_ms",
                raw.venue.connect_timeout_ms,
                10_000,
            ),
            total: millis(
                "venue.request_timeout_ms",
                raw.venue.request_timeout_ms,
                10_000,
            ),
        };
        millis(
            "venue.clock_offset_max_ms",
            raw.venue.clock_offset_max_ms,
            2_000,
        );
        if raw.venue.cancel_reserve == 0 || raw.venue.cancel_reserve >= raw.venue.requests_per_5s {
            problems.add(
                "venue.cancel_reserve",
                "must be above 0 and below venue.requests_per_5s",
            );
        }
        let disconnect_cancel_s =
            Some(raw.venue.disconnect_cancel_s).filter(|after_s| *after_s > 0);
        if disconnect_cancel_s.is_some_and(|after_s| !CANCEL_ON_DISCONNECT_S.contains(&after_s)) {
            problems.add(
                "venue.disconnect_cancel_s",
                "must be 3 to 300, or 0 where the venue does not offer it",
            );
        }
        let requests_in_flight_max = raw.journal.requests_in_flight_max;
        if requests_in_flight_max == 0 || requests_in_flight_max > 10_000 {
            problems.add("journal.requests_in_flight_max", "must be 1 to 10000");
        }
        let plain = raw.venue.plain_text;
        let rest = problems.take("--venue-rest", Endpoint::rest(&arguments.venue_rest, plain));
        let stream = problems.take(
            "--venue-stream",
            Endpoint::stream(&arguments.venue_stream, plain),
        );
        let config = rest.zip(stream).map(|(rest, stream)| Self {
            policy,
            policy_hash,
            rest,
            stream,
            timeouts,
            clock: ClockSettings {
                offset_max: Span::from_millis(raw.venue.clock_offset_max_ms),
                ..ClockSettings::default()
            },
            budget: BudgetSettings {
                address_per_5s: raw.venue.requests_per_5s,
                cancel_reserve: raw.venue.cancel_reserve,
            },
            disconnect_cancel_s,
            requests_in_flight_max,
            foreign_orders: match raw.venue.foreign_orders {
                RawForeignOrders::Report => ForeignOrders::Report,
                RawForeignOrders::Cancel => ForeignOrders::Cancel,
            },
        });
        problems.into_result(path, config)
    }

    /// The instruments that may be traded.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.policy
            .instruments
            .iter()
            .map(|entry| entry.instrument.symbol)
    }
}
