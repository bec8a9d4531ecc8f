//! Whether a request that failed is sent again, and after how long: one table for every kind of
//! request and every class of error. It decides and nothing else; whoever asks does the waiting.
//!
//! ```text
//!              | final class | RATE_LIMITED        | CLOCK_SKEW          | NETWORK_ERROR, UNKNOWN
//!  placement   | never       | never               | never               | never: it is asked about
//!  cancel      | never       | venue's word or 1 s | at once, then 1 s   | 1 s, for ever
//!  query       | never       | venue's word or 2^n | at once, then never | n x 1 s, 3 tries
//!  account     | never       | venue's word or 2^n | at once, then never | n x 1 s, 5 tries
//!  login       | longest     | venue's word or 2^n | at once, then 2^n   | 2^n x 5 s, for ever
//! ```
//!
//! An order lives two seconds: a placement that is repeated is too late or twice, so it is never. A
//! cancel is put off for longer than a second only where the venue itself says for how long: orders may be
//! open meanwhile. (Execution's core repeats cancels by itself each second; here they only learn whether to
//! try again at once.) A login is tried
//! for ever, as its key may be exchanged while this process runs.

use portcullis_domain::Span;

use crate::bybit::VenueError;

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It may add risk.
    Placement,
    /// It takes risk away.
    Cancel,
    /// It asks about one order.
    Query,
    /// It reads a part of the whole account, or sets what the venue does about it.
    Account,
    /// It opens the private stream.
    Login,
}

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Placement,
        Self::Cancel,
        Self::Query,
        Self::Account,
        Self::Login,
    ];

    /// Whether one that waits to be sent again still is, once the kill switch is pulled: what takes
    /// risk away, and what tells that it is away. The account is read again when the core asks.
    #[must_use]
    pub const fn outlives_kill(self) -> bool {
        match self {
            Self::Cancel | Self::Query | Self::Login => true,
            Self::Placement | Self::Account => false,
        }
    }

    /// How often it is sent at most.
    const fn tries_max(self) -> u32 {
        match self {
            Self::Placement => 1,
            Self::Query => 3,
            Self::Account => 5,
            Self::Cancel | Self::Login => u32::MAX,
        }
    }
}

/// How long the waits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The first wait after the network failed; it doubles.
    pub network: Span,
    /// The longest of these.
    pub network_max: Span,
    /// The first wait after too many requests, where the venue does not say how long; it doubles.
    pub rate_limit: Span,
    /// The longest of these.
    pub rate_limit_max: Span,
    /// The longest wait that the venue's own word can demand.
    pub reset_max: Span,
    /// What each wait of a query is longer than the one before.
    pub query: Span,
    /// The longest of these.
    pub query_max: Span,
    /// Every wait of a cancel.
    pub cancel: Span,
}

impl Pace {
    /// The pace towards a real venue.
    pub const VENUE: Self = Self {
        network: Span::from_secs(5),
        network_max: Span::from_secs(60),
        rate_limit: Span::from_secs(1),
        rate_limit_max: Span::from_secs(60),
        reset_max: Span::from_secs(600),
        query: Span::from_secs(1),
        query_max: Span::from_secs(10),
        cancel: Span::from_secs(1),
    };

    /// How long to wait before a request is sent again that was sent `tries` times and failed with
    /// `class`; `None` when it is not. `reset` is how long the venue itself wants to hear nothing.
    /// `jitter` is a random byte: it takes up to half off a wait, so that many who lost the venue
    /// together do not come back together. Nothing is taken off the venue's own word.
    ///
    /// After [`VenueError::ClockSkew`] the venue's time is measured before anything else.
    #[must_use]
    pub fn again(
        &self,
        kind: Kind,
        class: VenueError,
        tries: u32,
        reset: Option<Span>,
        jitter: u8,
    ) -> Option<Span> {
        if tries >= kind.tries_max() {
            return None;
        }
        let jittered = |wait| Some(less(wait, jitter));
        match (kind, class) {
            (Kind::Placement, _) => None,
            (
                Kind::Cancel | Kind::Query | Kind::Account,
                VenueError::InsufficientFunds
                | VenueError::SlippageExceeded
                | VenueError::Invalid
                | VenueError::Authentication
                | VenueError::Duplicate
                | VenueError::NotFound,
            ) => None,
            (
                Kind::Login,
                VenueError::InsufficientFunds
                | VenueError::SlippageExceeded
                | VenueError::Invalid
                | VenueError::Authentication
                | VenueError::Duplicate
                | VenueError::NotFound,
            ) => jittered(self.network_max),
            (_, VenueError::RateLimited) => match reset {
                Some(reset) => Some(reset.min(self.reset_max)),
                None if kind == Kind::Cancel => jittered(self.cancel),
                None => jittered(doubled(self.rate_limit, tries, self.rate_limit_max)),
            },
            (_, VenueError::ClockSkew) if tries <= 1 => Some(Span(0)),
            (Kind::Query | Kind::Account, VenueError::ClockSkew) => None,
            (Kind::Cancel, VenueError::ClockSkew | VenueError::Network | VenueError::Unknown) => {
                jittered(self.cancel)
            }
            (Kind::Query | Kind::Account, VenueError::Network | VenueError::Unknown) => {
                let wait = Span(self.query.0.saturating_mul(u64::from(tries)));
                jittered(wait.min(self.query_max))
            }
            (Kind::Login, VenueError::ClockSkew | VenueError::Network | VenueError::Unknown) => {
                jittered(doubled(self.network, tries, self.network_max))
            }
        }
    }
}

/// The first wait, doubled for every try after the first.
fn doubled(first: Span, tries: u32, max: Span) -> Span {
    let factor = 1_u64.checked_shl(tries.saturating_sub(1));
    Span(first.0.saturating_mul(factor.unwrap_or(u64::MAX))).min(max)
}

/// A wait with up to half of it taken off.
fn less(wait: Span, jitter: u8) -> Span {
    let half = wait.0.checked_div(2).unwrap_or_default();
    let part = half
        .saturating_mul(u64::from(jitter))
        .checked_div(u64::from(u8::MAX))
        .unwrap_or_default();
    Span(wait.0.saturating_sub(part))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    const FINAL: [VenueError; 6] = [
        VenueError::InsufficientFunds,
        VenueError::SlippageExceeded,
        VenueError::Invalid,
        VenueError::Authentication,
        VenueError::Duplicate,
        VenueError::NotFound,
    ];

    /// The waits in milliseconds before the second try, the third, and so on; `None` ends them.
    fn waits(kind: Kind, class: VenueError, count: u32) -> Vec<Option<u64>> {
        let wait = |tries| Pace::VENUE.again(kind, class, tries, None, 0);
        (1..=count)
            .map(|tries| wait(tries).map(Span::as_millis))
            .collect()
    }

    #[test]
    fn a_placement_is_never_sent_again() {
        for class in VenueError::ALL {
            for tries in [0, 1, 2, 1_000] {
                let reset = Some(Span(1));
                let again = Pace::VENUE.again(Kind::Placement, *class, tries, reset, 7);
                assert_eq!(again, None, "{class:?}");
            }
        }
    }

    #[test]
    fn what_is_final_is_not_repeated_and_a_login_waits_the_longest_for_another_key() {
        for class in FINAL {
            for kind in [Kind::Cancel, Kind::Query, Kind::Account] {
                assert_eq!(waits(kind, class, 1), [None], "{kind:?} {class:?}");
            }
            assert_eq!(waits(Kind::Login, class, 2), [Some(60_000); 2], "{class:?}");
        }
    }

    #[test]
    fn every_kind_waits_as_the_table_says() {
        use VenueError::{ClockSkew, Network, RateLimited, Unknown};
        let second = Some(1_000);
        let cases: &[(Kind, VenueError, &[Option<u64>])] = &[
            (Kind::Cancel, Network, &[second; 20]),
            (Kind::Cancel, Unknown, &[second; 20]),
            (Kind::Cancel, RateLimited, &[second; 20]),
            (Kind::Cancel, ClockSkew, &[Some(0), second, second]),
            (Kind::Query, Network, &[second, Some(2_000), None]),
            (Kind::Query, Unknown, &[second, Some(2_000), None]),
            (Kind::Query, RateLimited, &[second, Some(2_000), None]),
            (Kind::Query, ClockSkew, &[Some(0), None]),
            (
                Kind::Account,
                Network,
                &[second, Some(2_000), Some(3_000), Some(4_000), None],
            ),
            (
                Kind::Account,
                RateLimited,
                &[second, Some(2_000), Some(4_000), Some(8_000), None],
            ),
            (Kind::Account, ClockSkew, &[Some(0), None]),
            (
                Kind::Login,
                Network,
                &[
                    Some(5_000),
                    Some(10_000),
                    Some(20_000),
                    Some(40_000),
                    Some(60_000),
                ],
            ),
            (
                Kind::Login,
                ClockSkew,
                &[Some(0), Some(10_000), Some(20_000)],
            ),
            (
                Kind::Login,
                RateLimited,
                &[second, Some(2_000), Some(4_000)],
            ),
        ];
        for (kind, class, expected) in cases {
            let count = u32::try_from(expected.len()).unwrap_or(0);
            assert_eq!(waits(*kind, *class, count), *expected, "{kind:?} {class:?}");
        }
    }

    #[test]
    fn the_venues_own_word_counts_as_it_is_up_to_a_bound() {
        let again = |kind, reset| {
            let reset = Some(Span::from_secs(reset));
            Pace::VENUE.again(kind, VenueError::RateLimited, 1, reset, u8::MAX)
        };
        for kind in [Kind::Cancel, Kind::Query, Kind::Account, Kind::Login] {
            assert_eq!(again(kind, 3), Some(Span::from_secs(3)), "{kind:?}");
            assert_eq!(again(kind, 9_999), Some(Span::from_secs(600)), "{kind:?}");
        }
    }

    #[test]
    fn jitter_takes_up_to_half_off_and_no_wait_overflows() {
        let again = |tries, jitter| {
            Pace::VENUE.again(Kind::Login, VenueError::Network, tries, None, jitter)
        };
        assert_eq!(again(1, 0), Some(Span::from_secs(5)));
        assert_eq!(again(1, u8::MAX), Some(Span::from_millis(2_500)));
        for tries in [0, 63, 64, 65, u32::MAX - 1] {
            let wait = again(tries, 128).map(|wait| wait.0);
            assert!(wait.is_some_and(|wait| wait <= 60_000_000), "{tries}");
        }
    }

    #[test]
    fn a_kill_ends_waiting_for_all_but_what_takes_risk_away_or_sees_it() {
        for (kind, outlives) in [
            (Kind::Placement, false),
            (Kind::Cancel, true),
            (Kind::Query, true),
            (Kind::Account, false),
            (Kind::Login, true),
        ] {
            assert_eq!(kind.outlives_kill(), outlives, "{kind:?}");
        }
    }
}
