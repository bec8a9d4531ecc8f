//! The circuit breakers: which there are, what each of them watches, and in what state one is.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{StrategyId, Symbol, Venue};

/// What a circuit breaker watches; the more urgent first, which decides only the reason that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerKind {
    /// The signer does not answer, or its HSM fails.
    HsmFailure,
    /// Our own parts fail: a disk, a receipt, a clock.
    SystemError,
    /// The venue cannot be reached.
    Network,
    /// The venue does not confirm orders in time.
    ConfirmationTimeout,
    /// The venue refuses orders.
    TradeFailure,
    /// The market moves more than its limit.
    MarketVolatility,
    /// Orders would slip more than their profile allows.
    Slippage,
}

impl BreakerKind {
    /// All seven.
    pub const ALL: &[Self] = &[
        Self::HsmFailure,
        Self::SystemError,
        Self::Network,
        Self::ConfirmationTimeout,
        Self::TradeFailure,
        Self::MarketVolatility,
        Self::Slippage,
    ];

    /// The name that scripts and people use.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::HsmFailure => "hsm_failure",
            Self::SystemError => "system_error",
            Self::Network => "network",
            Self::ConfirmationTimeout => "confirmation_timeout",
            Self::TradeFailure => "trade_failure",
            Self::MarketVolatility => "market_volatility",
            Self::Slippage => "slippage",
        }
    }
}

/// What a breaker is about. Each kind has its own sort of scope, see [`BreakerKey::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerScope {
    /// Everything.
    Global,
    /// One venue.
    Venue(Venue),
    /// One strategy at one venue.
    Strategy(Venue, StrategyId),
    /// One instrument.
    Instrument(Symbol),
}

/// One circuit breaker. Written as `network:bybit`, `slippage:bybit/sample`,
/// `market_volatility:BTCUSDT` or `hsm_failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct BreakerKey {
    kind: BreakerKind,
    scope: BreakerScope,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    kind: BreakerKind,
    scope: BreakerScope,
}

/// Why a text or a pair is no breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBreaker;

impl fmt::Display for NoBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "is no circuit breaker: name it as hsm_failure, system_error, network:VENUE, \
             market_volatility:INSTRUMENT, or trade_failure, slippage or confirmation_timeout with \
             :VENUE/STRATEGY",
        )
    }
}

impl core::error::Error for NoBreaker {}

impl BreakerKey {
    /// The breaker of a kind for a scope.
    ///
    /// # Errors
    /// [`NoBreaker`] when that kind has another sort of scope.
    pub const fn new(kind: BreakerKind, scope: BreakerScope) -> Result<Self, NoBreaker> {
        let fits = match kind {
            BreakerKind::HsmFailure | BreakerKind::SystemError => {
                matches!(scope, BreakerScope::Global)
            }
            BreakerKind::Network => matches!(scope, BreakerScope::Venue(_)),
            BreakerKind::MarketVolatility => matches!(scope, BreakerScope::Instrument(_)),
            BreakerKind::ConfirmationTimeout
            | BreakerKind::TradeFailure
            | BreakerKind::Slippage => matches!(scope, BreakerScope::Strategy(..)),
        };
        if fits {
            Ok(Self { kind, scope })
        } else {
            Err(NoBreaker)
        }
    }

    /// The breaker over the HSM.
    #[must_use]
    pub const fn hsm() -> Self {
        Self {
            kind: BreakerKind::HsmFailure,
            scope: BreakerScope::Global,
        }
    }

    /// The breaker over our own parts.
    #[must_use]
    pub const fn system() -> Self {
        Self {
            kind: BreakerKind::SystemError,
            scope: BreakerScope::Global,
        }
    }

    /// The breaker over the way to a venue.
    #[must_use]
    pub const fn network(venue: Venue) -> Self {
        Self {
            kind: BreakerKind::Network,
            scope: BreakerScope::Venue(venue),
        }
    }

    /// The breaker over the volatility of an instrument.
    #[must_use]
    pub const fn volatility(symbol: Symbol) -> Self {
        Self {
            kind: BreakerKind::MarketVolatility,
            scope: BreakerScope::Instrument(symbol),
        }
    }

    /// The breaker over what the venue refuses a strategy.
    #[must_use]
    pub const fn trade(venue: Venue, strategy: StrategyId) -> Self {
        Self {
            kind: BreakerKind::TradeFailure,
            scope: BreakerScope::Strategy(venue, strategy),
        }
    }

    /// The breaker over what a strategy's orders would slip.
    #[must_use]
    pub const fn slippage(venue: Venue, strategy: StrategyId) -> Self {
        Self {
            kind: BreakerKind::Slippage,
            scope: BreakerScope::Strategy(venue, strategy),
        }
    }

    /// The breaker over late confirmations of a strategy's orders.
    #[must_use]
    pub const fn confirmation(venue: Venue, strategy: StrategyId) -> Self {
        Self {
            kind: BreakerKind::ConfirmationTimeout,
            scope: BreakerScope::Strategy(venue, strategy),
        }
    }

    /// What it watches.
    #[must_use]
    pub const fn kind(self) -> BreakerKind {
        self.kind
    }

    /// What it is about.
    #[must_use]
    pub const fn scope(self) -> BreakerScope {
        self.scope
    }
}

impl TryFrom<Unchecked> for BreakerKey {
    type Error = NoBreaker;

    fn try_from(unchecked: Unchecked) -> Result<Self, NoBreaker> {
        Self::new(unchecked.kind, unchecked.scope)
    }
}

impl From<BreakerKey> for Unchecked {
    fn from(key: BreakerKey) -> Self {
        Self {
            kind: key.kind,
            scope: key.scope,
        }
    }
}

impl fmt::Display for BreakerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.code())?;
        match self.scope {
            BreakerScope::Global => Ok(()),
            BreakerScope::Venue(venue) => write!(f, ":{venue}"),
            BreakerScope::Strategy(venue, strategy) => write!(f, ":{venue}/{strategy}"),
            BreakerScope::Instrument(symbol) => write!(f, ":{symbol}"),
        }
    }
}

impl FromStr for BreakerKey {
    type Err = NoBreaker;

    fn from_str(text: &str) -> Result<Self, NoBreaker> {
        let (name, scope) = text
            .split_once(':')
            .map_or((text, None), |(name, scope)| (name, Some(scope)));
        let kind = BreakerKind::ALL.iter().find(|kind| kind.code() == name);
        let kind = *kind.ok_or(NoBreaker)?;
        let venue = |text: &str| text.parse::<Venue>().map_err(|_| NoBreaker);
        let scope = match (kind, scope) {
            (BreakerKind::HsmFailure | BreakerKind::SystemError, None) => BreakerScope::Global,
            (BreakerKind::Network, Some(text)) => BreakerScope::Venue(venue(text)?),
            (BreakerKind::MarketVolatility, Some(text)) => {
                BreakerScope::Instrument(Symbol::new(text).map_err(|_| NoBreaker)?)
            }
            (
                BreakerKind::ConfirmationTimeout
                | BreakerKind::TradeFailure
                | BreakerKind::Slippage,
                Some(text),
            ) => {
                let (first, strategy) = text.split_once('/').ok_or(NoBreaker)?;
                let strategy = StrategyId::new(strategy).map_err(|_| NoBreaker)?;
                BreakerScope::Strategy(venue(first)?, strategy)
            }
            (_, Some(_) | None) => return Err(NoBreaker),
        };
        Self::new(kind, scope)
    }
}

/// The state of one breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BreakerState {
    /// All is well: orders pass.
    Closed,
    /// Nothing new passes until the recovery time is over.
    Open,
    /// A few small probes pass, one after the other.
    HalfOpen,
    /// Opened by hand: it does not recover by itself.
    ForcedOpen,
}

impl BreakerState {
    /// The name that scripts and people use.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Open => "OPEN",
            Self::HalfOpen => "HALF_OPEN",
            Self::ForcedOpen => "FORCED_OPEN",
        }
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_breaker_is_written_and_read_the_same() {
        for text in [
            "hsm_failure",
            "system_error",
            "network:bybit",
            "market_volatility:BTCUSDT",
            "trade_failure:bybit/sample",
            "slippage:bybit/sample",
            "confirmation_timeout:bybit/sample",
        ] {
            assert_eq!(text.parse::<BreakerKey>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_breaker_is_refused() {
        for text in [
            "",
            "hsm",
            "hsm_failure:bybit",
            "network",
            "network:nowhere",
            "network:bybit/sample",
            "market_volatility",
            "market_volatility:a b",
            "slippage:bybit",
            "slippage:bybit/",
            "slippage:sample/bybit",
        ] {
            assert_eq!(text.parse::<BreakerKey>(), Err(NoBreaker), "{text:?}");
        }
        let global = BreakerScope::Global;
        assert!(BreakerKey::new(BreakerKind::Network, global).is_err());
    }
}
