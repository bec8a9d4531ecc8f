//! What trips each kind of breaker, and for how long.

use portcullis_domain::{BreakerKind, Span};

/// The figures of one kind. Any one of the three trips it.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// So many failures within the window.
    pub failures: u32,
    /// Over which outcomes count.
    pub window: Span,
    /// So many failures in a row.
    pub consecutive: Option<u32>,
    /// So many failures of a hundred outcomes, once there are [`Figures::failures`] outcomes. A larger
    /// smallest sample would never be reached before the count trips it.
    pub percent: Option<u32>,
    /// How long it stays open the first time.
    pub recovery: Span,
    /// Whether what surely reduces a position passes while it is open.
    pub spares_reducing: bool,
    /// Whether probes are let through only when persons say so.
    pub waits_for_persons: bool,
    /// So many good outcomes in a row close a half-open one.
    pub probes: u32,
}

const fn minutes(minutes: u64) -> Span {
    Span::from_secs(minutes.saturating_mul(60))
}

/// The figures of a kind.
pub const fn of(kind: BreakerKind) -> Figures {
    match kind {
        BreakerKind::HsmFailure => Figures {
            failures: 3,
            window: minutes(10),
            consecutive: Some(2),
            percent: None,
            recovery: minutes(60),
            spares_reducing: false,
            waits_for_persons: true,
            probes: 3,
        },
        BreakerKind::SystemError => Figures {
            failures: 10,
            window: minutes(20),
            consecutive: Some(5),
            percent: Some(40),
            recovery: minutes(30),
            spares_reducing: false,
            waits_for_persons: false,
            probes: 3,
        },
        BreakerKind::Network => Figures {
            failures: 3,
            window: minutes(5),
            consecutive: Some(2),
            percent: Some(60),
            recovery: minutes(15),
            spares_reducing: true,
            waits_for_persons: false,
            probes: 3,
        },
        BreakerKind::ConfirmationTimeout => Figures {
            failures: 5,
            window: minutes(30),
            consecutive: Some(3),
            percent: Some(50),
            recovery: minutes(60),
            spares_reducing: true,
            waits_for_persons: false,
            probes: 3,
        },
        BreakerKind::TradeFailure => Figures {
            failures: 5,
            window: minutes(10),
            consecutive: Some(3),
            percent: Some(80),
            recovery: minutes(30),
            spares_reducing: true,
            waits_for_persons: false,
            probes: 3,
        },
        // One sample a minute, so a run of failures is the count itself.
        BreakerKind::MarketVolatility => Figures {
            failures: 10,
            window: minutes(30),
            consecutive: None,
            percent: None,
            recovery: minutes(60),
            spares_reducing: true,
            waits_for_persons: false,
            probes: 10,
        },
        BreakerKind::Slippage => Figures {
            failures: 8,
            window: minutes(15),
            consecutive: Some(4),
            percent: Some(70),
            recovery: minutes(45),
            spares_reducing: true,
            waits_for_persons: false,
            probes: 3,
        },
    }
}
