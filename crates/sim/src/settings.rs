//! What a run is made of, as far as the seed does not decide it.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_domain::{
    Bps, Hash, Instrument, Price, Quantity, RiskProfile, Span, StrategyId, Symbol, Usd,
};
use portcullis_testkit::policies;
use portcullis_wire::Text;
use portcullis_wire::messages::{InstrumentPolicy, RiskPolicy};
use rust_decimal::Decimal;

use crate::planted::Bug;
use crate::sure;
use crate::world::MS;

/// The digest of the policy; what it is a digest of does not matter here.
pub const POLICY: Hash = Hash([7; 32]);
/// The secret of the venue key that may trade.
pub const TRADING_SECRET: &[u8] = b"the-simulated-trading-secret";
/// The secret of the venue key that may only read.
pub const READING_SECRET: &[u8] = b"the-simulated-reading-secret";
/// Audit's chain key.
pub const CHAIN_KEY: [u8; 32] = [0x2c; 32];
/// The strategies that brain and risk-guard know.
pub const STRATEGIES: [&str; 2] = ["sample", "other"];

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Decides everything else.
    pub seed: u64,
    /// Whether anything goes wrong by itself.
    pub faults: bool,
    /// Whether the whole story is kept, not only its end.
    pub keep_story: bool,
    /// Which bug is planted.
    pub bug: Option<Bug>,
}

impl Options {
    /// A run with all faults that the seed chooses.
    #[must_use]
    pub const fn seed(seed: u64) -> Self {
        Self {
            seed,
            faults: true,
            keep_story: false,
            bug: None,
        }
    }
}

/// One instrument as market and venue have it: prices in ticks, quantities in steps.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    pub symbol: &'static str,
    pub tick_places: u32,
    pub step_places: u32,
    pub mid_ticks: i64,
}

/// The instruments.
pub const LISTINGS: [Listing; 2] = [
    Listing {
        symbol: "BTCUSDT",
        tick_places: 1,
        step_places: 3,
        mid_ticks: 600_000,
    },
    Listing {
        symbol: "XRPUSDT",
        tick_places: 4,
        step_places: 0,
        mid_ticks: 5_000,
    },
];

impl Listing {
    pub fn symbol(&self) -> Symbol {
        sure(Symbol::new(self.symbol), "a symbol")
    }

    pub fn price(&self, ticks: i64) -> Price {
        sure(
            Price::new(Decimal::new(ticks, self.tick_places).normalize()),
            "a price",
        )
    }

    pub fn quantity(&self, steps: i64) -> Quantity {
        sure(
            Quantity::new(Decimal::new(steps, self.step_places).normalize()),
            "a quantity",
        )
    }

    /// So many units of `10^-places`; `None` unless it is a whole number of them.
    pub fn units(value: Decimal, places: u32) -> Option<i64> {
        let scaled = value.checked_mul(Decimal::from(10_i64.checked_pow(places)?))?;
        (scaled.fract() == Decimal::ZERO)
            .then(|| i64::try_from(scaled).ok())
            .flatten()
    }
}

fn usd(whole: u64) -> Usd {
    sure(Usd::new(Decimal::from(whole)), "an amount")
}

/// The policy that brain, risk-guard and execution run.
pub fn policy(daily_loss_max: u64, breakers: bool) -> RiskPolicy {
    let instruments = LISTINGS.iter().map(|listing| InstrumentPolicy {
        order_notional_max: usd(2_000),
        position_notional_max: usd(8_000),
        collar: sure(Bps::new(300), "a collar"),
        ..policies::wide(Instrument {
            symbol: listing.symbol(),
            tick_size: listing.price(1),
            quantity_step: listing.quantity(1),
            quantity_min: listing.quantity(1),
            quantity_max: listing.quantity(1_000_000),
            notional_min: usd(5),
        })
    });
    let policy = RiskPolicy {
        orders_open_max: 60,
        daily_loss_max: usd(daily_loss_max),
        breakers: if breakers {
            policies::breakers()
        } else {
            policies::deaf_breakers()
        },
        ..policies::policy(instruments.collect())
    };
    assert_eq!(policy.problems(), Vec::<String>::new());
    policy
}

pub fn strategies() -> BTreeSet<StrategyId> {
    STRATEGIES
        .iter()
        .map(|name| sure(StrategyId::new(name), "a strategy"))
        .collect()
}

/// What the brain's registry says.
pub fn registry() -> BTreeMap<StrategyId, brain_core::Strategy> {
    let strategy = |profile| brain_core::Strategy {
        instruments: LISTINGS.iter().map(Listing::symbol).collect(),
        order_notional_max: usd(1_500),
        position_notional_max: usd(5_000),
        proposals_per_second_max: 50,
        profile,
    };
    let profiles = [RiskProfile::Moderate, RiskProfile::Aggressive];
    strategies()
        .into_iter()
        .zip(profiles)
        .map(|(id, profile)| (id, strategy(profile)))
        .collect()
}

pub fn execution_settings(daily_loss_max: u64) -> execution_core::Settings {
    execution_core::Settings {
        policy_hash: POLICY,
        daily_loss_max: usd(daily_loss_max),
        book_age_max: Span::from_millis(1_000),
        foreign_orders: execution_core::ForeignOrders::Report,
    }
}

/// After so many microseconds without a fact a service says that it lives: ten times as often as a real
/// one, as a run is over within a minute; the limit of silence is three of these, as in reality.
pub const QUIET_MAX: u64 = 2_000 * MS;

pub fn audit_settings() -> audit_core::Settings {
    audit_core::Settings {
        held_facts_max: 256,
        held_bytes_max: 1 << 20,
        hole_timeout: Span::from_millis(5_000),
        silence_timeout: Span(3 * QUIET_MAX),
        checkpoint_interval: Span::from_millis(1_000),
        violations_each_second: 50,
    }
}

pub fn trading_key() -> Text {
    Text::lossy("SIMTRADE")
}

pub fn reading_key() -> Text {
    Text::lossy("SIMREAD")
}
