//! What trips each kind of breaker, as the policy says, and what follows from its kind.

use portcullis_domain::{BreakerKind, Span};
use portcullis_wire::messages::{BreakerPolicy, BreakersPolicy};

/// So many probes in a row close a half-open breaker.
const PROBES: u32 = 3;
/// So many calm minutes in a row close the one over volatility.
const CALM_MINUTES: u32 = 10;

/// The figures of one kind. Any one of count, run and share trips it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// So many failures within the window.
    pub failures: u32,
    /// Over which outcomes count.
    pub window: Span,
    /// So many failures in a row.
    pub consecutive: Option<u32>,
    /// So many failures of a hundred outcomes, once there are [`Figures::failures`] outcomes.
    pub percent: Option<u32>,
    /// How long it stays open the first time.
    pub recovery: Span,
    /// Whether what surely reduces a position passes while it is open.
    pub spares_reducing: bool,
    /// Whether probes are let through only when persons say so.
    pub waits_for_persons: bool,
    /// Whether samples decide about a half-open one, and not orders.
    pub is_sampled: bool,
    /// So many good outcomes in a row close a half-open one.
    pub probes: u32,
}

/// The figures of every kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table(BreakersPolicy);

impl Table {
    /// What the policy says.
    pub const fn new(policy: BreakersPolicy) -> Self {
        Self(policy)
    }

    /// The figures of a kind.
    pub fn of(&self, kind: BreakerKind) -> Figures {
        let policies = &self.0;
        match kind {
            // Without a signer or our own parts nothing can be closed either.
            BreakerKind::HsmFailure => Figures {
                spares_reducing: false,
                waits_for_persons: true,
                ..figures(&policies.hsm_failure)
            },
            BreakerKind::SystemError => Figures {
                spares_reducing: false,
                ..figures(&policies.system_error)
            },
            BreakerKind::Network => figures(&policies.network),
            BreakerKind::ConfirmationTimeout => figures(&policies.confirmation_timeout),
            BreakerKind::TradeFailure => figures(&policies.trade_failure),
            BreakerKind::MarketVolatility => Figures {
                is_sampled: true,
                probes: CALM_MINUTES,
                ..figures(&policies.market_volatility)
            },
            BreakerKind::Slippage => figures(&policies.slippage),
        }
    }
}

fn figures(policy: &BreakerPolicy) -> Figures {
    Figures {
        failures: policy.failures,
        window: Span::from_secs(policy.window_s),
        consecutive: policy.consecutive,
        percent: policy.percent,
        recovery: Span::from_secs(policy.recovery_s),
        spares_reducing: true,
        waits_for_persons: false,
        is_sampled: false,
        probes: PROBES,
    }
}
