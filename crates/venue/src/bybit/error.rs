//! What the venue's error codes mean for an order.

use portcullis_domain::Reason;

/// A class of errors: what execution does next depends on it alone. What is sent again and when is
/// in [`crate::retry`]. There is no class for a transaction that expired and has to be made anew: that
/// belongs to chains, whose venues will bring it.
///
/// Source of the codes: the venue's API reference, v5, `error` and `enum#rejectreason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum VenueError {
    /// The account lacks the money or the margin.
    #[error("the account lacks funds")]
    InsufficientFunds,
    /// The price would pass the venue's or the order's limit.
    #[error("the price would pass a limit")]
    SlippageExceeded,
    /// The venue does not accept such a request; sending it again changes nothing.
    #[error("the venue does not accept such a request")]
    Invalid,
    /// The key, its rights, its address or the signature.
    #[error("the venue does not accept the key or the signature")]
    Authentication,
    /// The time stamp is outside the receive window.
    #[error("the time stamp is outside the receive window")]
    ClockSkew,
    /// An order of that client order id exists already: query it.
    #[error("an order of that client order id exists already")]
    Duplicate,
    /// Too many requests; nothing was done.
    #[error("too many requests")]
    RateLimited,
    /// The venue could not be reached or is in trouble, and says so for a request that changes
    /// nothing.
    #[error("the venue is in trouble")]
    Network,
    /// It may or may not have happened: query it, never send it again.
    #[error("it may or may not have happened")]
    Unknown,
    /// There is no open order of that id: it never came, or it is over already. Only a query tells
    /// which.
    #[error("there is no open order of that id")]
    NotFound,
}

impl VenueError {
    /// Every class.
    pub const ALL: &[Self] = &[
        Self::InsufficientFunds,
        Self::SlippageExceeded,
        Self::Invalid,
        Self::Authentication,
        Self::ClockSkew,
        Self::Duplicate,
        Self::RateLimited,
        Self::Network,
        Self::Unknown,
        Self::NotFound,
    ];

    /// The class of a `retCode`; `None` for 0, which is no error. A code that is not listed here
    /// establishes nothing, so it is [`VenueError::Unknown`].
    #[must_use]
    pub const fn of_code(code: i64) -> Option<Self> {
        Some(match code {
            0 => return None,
            110_004 | 110_006 | 110_007 | 110_012 | 110_014 | 110_044 | 110_045 | 110_052
            | 110_053 | 170_033 | 170_131 => Self::InsufficientFunds,
            30_208 | 30_209 | 110_003 | 170_193 | 170_194 | 170_371 | 170_372 => {
                Self::SlippageExceeded
            }
            10_001 | 110_017 | 110_020 | 110_021 | 110_092 | 110_093 | 110_094 | 110_103
            | 170_121 | 170_124 | 170_130 | 170_134 | 170_136 | 170_137 | 170_140 => Self::Invalid,
            10_003 | 10_004 | 10_005 | 10_007 | 10_008 | 10_009 | 10_010 | 10_027 | 10_028
            | 10_029 => Self::Authentication,
            -1 | 10_002 => Self::ClockSkew,
            110_072 | 170_141 => Self::Duplicate,
            10_006 | 10_018 | 10_429 | 20_003 | 170_005 | 170_222 => Self::RateLimited,
            10_016 | 10_019 | 170_032 => Self::Network,
            110_001 | 110_008 | 110_010 | 170_213 => Self::NotFound,
            // 10000, 10014, 170007, 170146, 170147 among them: the venue itself does not know.
            _ => Self::Unknown,
        })
    }

    /// The class of an HTTP status other than 200, where the body says nothing better.
    #[must_use]
    pub const fn of_http(status: u16) -> Option<Self> {
        match status {
            200 => None,
            401 => Some(Self::Authentication),
            // The venue answers 403 when an address sends too much.
            403 | 429 => Some(Self::RateLimited),
            500..=599 => Some(Self::Network),
            _ => Some(Self::Unknown),
        }
    }

    /// The class of the `rejectReason` that an order ended with; `None` where it names no error.
    #[must_use]
    pub fn of_reject_reason(reason: &str) -> Option<Self> {
        match reason {
            "" | "EC_NoError" | "EC_PerCancelRequest" => None,
            "EC_NoImmediateQtyToFill"
            | "EC_CancelForNoFullFill"
            | "EC_NoEnoughQtyToFill"
            | "EC_PostOnlyWillTakeLiquidity"
            | "EC_ReachMarketPriceLimit"
            | "EC_ReachRiskPriceLimit" => Some(Self::SlippageExceeded),
            "EC_OrderNotExist" => Some(Self::NotFound),
            "EC_DuplicatedClOrdID" => Some(Self::Duplicate),
            _ => Some(Self::Invalid),
        }
    }

    /// What an error proves about the order whose placement it answers: why the venue certainly did
    /// not take it, or `None` where it may have.
    #[must_use]
    pub const fn refusal_of_order(self) -> Option<Reason> {
        match self {
            Self::InsufficientFunds => Some(Reason::InsufficientFunds),
            Self::SlippageExceeded | Self::Invalid | Self::NotFound => Some(Reason::VenueRejected),
            Self::Authentication => Some(Reason::VenueAuthentication),
            Self::ClockSkew => Some(Reason::ClockSkew),
            Self::RateLimited => Some(Reason::VenueRateLimit),
            // A duplicate is one that the venue has, and a venue in trouble may have taken it: the
            // order is asked about, like everything unclear.
            Self::Duplicate | Self::Network | Self::Unknown => None,
        }
    }

    /// The stable code that logs and metrics use.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InsufficientFunds => "INSUFFICIENT_FUNDS",
            Self::SlippageExceeded => "SLIPPAGE_EXCEEDED",
            Self::Invalid => "INVALID_INSTRUCTION",
            Self::Authentication => "AUTH",
            Self::ClockSkew => "CLOCK_SKEW",
            Self::Duplicate => "DUPLICATE",
            Self::RateLimited => "RATE_LIMITED",
            Self::Network => "NETWORK_ERROR",
            Self::Unknown => "UNKNOWN",
            Self::NotFound => "NOT_FOUND",
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn codes_have_their_classes_and_what_is_not_listed_is_in_doubt() {
        let cases = [
            (0, None),
            (110_007, Some(VenueError::InsufficientFunds)),
            (110_003, Some(VenueError::SlippageExceeded)),
            (10_001, Some(VenueError::Invalid)),
            (10_004, Some(VenueError::Authentication)),
            (10_002, Some(VenueError::ClockSkew)),
            (110_072, Some(VenueError::Duplicate)),
            (10_006, Some(VenueError::RateLimited)),
            (10_016, Some(VenueError::Network)),
            (10_000, Some(VenueError::Unknown)),
            (170_146, Some(VenueError::Unknown)),
            (170_147, Some(VenueError::Unknown)),
            (110_001, Some(VenueError::NotFound)),
            (987_654, Some(VenueError::Unknown)),
            (i64::MIN, Some(VenueError::Unknown)),
        ];
        for (code, class) in cases {
            assert_eq!(VenueError::of_code(code), class, "{code}");
        }
    }

    #[test]
    fn classes_have_their_words() {
        let words: Vec<&str> = VenueError::ALL.iter().map(|class| class.code()).collect();
        assert_eq!(
            words,
            [
                "INSUFFICIENT_FUNDS",
                "SLIPPAGE_EXCEEDED",
                "INVALID_INSTRUCTION",
                "AUTH",
                "CLOCK_SKEW",
                "DUPLICATE",
                "RATE_LIMITED",
                "NETWORK_ERROR",
                "UNKNOWN",
                "NOT_FOUND",
            ]
        );
    }

    #[test]
    fn only_an_error_that_proves_it_refuses_an_order() {
        let doubtful = [
            VenueError::Duplicate,
            VenueError::Network,
            VenueError::Unknown,
        ];
        for class in VenueError::ALL {
            let refusal = class.refusal_of_order();
            assert_eq!(refusal.is_none(), doubtful.contains(class), "{class:?}");
        }
        let reasons = [
            (VenueError::InsufficientFunds, Reason::InsufficientFunds),
            (VenueError::NotFound, Reason::VenueRejected),
            (VenueError::RateLimited, Reason::VenueRateLimit),
            (VenueError::ClockSkew, Reason::ClockSkew),
        ];
        for (class, reason) in reasons {
            assert_eq!(class.refusal_of_order(), Some(reason), "{class:?}");
        }
    }

    #[test]
    fn a_server_error_on_placing_is_never_a_rejection() {
        for status in [500, 502, 503, 504] {
            let refusal = VenueError::of_http(status).map(VenueError::refusal_of_order);
            assert_eq!(refusal, Some(None), "{status}");
        }
        assert_eq!(VenueError::of_http(403), Some(VenueError::RateLimited));
        assert_eq!(VenueError::of_http(200), None);
    }
}
