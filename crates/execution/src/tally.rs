//! How requests to the venue and to the signer went since the process started.

use std::sync::atomic::{AtomicU64, Ordering};

use execution_core::Requests;
use portcullis_venue::bybit::{VenueError, reply};
use portcullis_wire::messages::Tally;

use crate::bybit::{MeasureError, SendError};

/// Passed and failed, of one kind of request.
#[derive(Debug, Default)]
pub struct Count {
    passed: AtomicU64,
    failed: AtomicU64,
}

impl Count {
    pub fn add(&self, passed: bool) {
        let number = if passed { &self.passed } else { &self.failed };
        number.fetch_add(1, Ordering::Relaxed);
    }

    fn tally(&self) -> Tally {
        Tally {
            passed: self.passed.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// Both kinds.
#[derive(Debug, Default)]
pub struct Counts {
    pub network: Count,
    pub signer: Count,
}

impl Counts {
    pub fn requests(&self) -> Requests {
        Requests {
            network: self.network.tally(),
            signer: self.signer.tally(),
        }
    }
}

/// Why a request that was sent has no answer to read.
#[derive(Debug)]
pub enum Unanswered {
    Send(SendError),
    Status(u16, VenueError),
    Malformed(reply::Malformed),
}

impl Unanswered {
    /// Whether the venue said something all the same: a refusal by HTTP status does, a server error
    /// does not.
    pub const fn is_word_of_venue(&self) -> bool {
        match self {
            Self::Status(status, _) => *status < 500,
            Self::Send(_) | Self::Malformed(_) => false,
        }
    }
}

/// Whether the venue answered when asked for its time, be it too late to measure by.
pub const fn is_time(measured: &Result<(), MeasureError>) -> bool {
    match measured {
        Ok(()) | Err(MeasureError::TooSlow | MeasureError::Refused(_)) => true,
        Err(MeasureError::Unreadable(status)) => *status != 200 && *status < 500,
        Err(MeasureError::Send(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bybit::Unknown;

    fn silence() -> SendError {
        SendError::Unknown(Unknown::TooLong)
    }

    #[test]
    fn a_refusal_is_an_answer_and_silence_or_a_server_error_is_none() {
        let malformed = reply::Malformed::TooLong(1);
        let status = |status| Unanswered::Status(status, VenueError::Unknown);
        let cases = [
            (status(400), true),
            (status(403), true),
            (status(429), true),
            (status(500), false),
            (status(503), false),
            (Unanswered::Send(silence()), false),
            (Unanswered::Malformed(malformed), false),
        ];
        for (unanswered, expected) in cases {
            assert_eq!(unanswered.is_word_of_venue(), expected, "{unanswered:?}");
        }
    }

    #[test]
    fn the_venues_time_is_an_answer_however_late() {
        let cases = [
            (Ok(()), true),
            (Err(MeasureError::TooSlow), true),
            (Err(MeasureError::Refused(VenueError::RateLimited)), true),
            (Err(MeasureError::Unreadable(403)), true),
            (Err(MeasureError::Unreadable(200)), false),
            (Err(MeasureError::Unreadable(503)), false),
            (Err(MeasureError::Send(silence())), false),
        ];
        for (measured, expected) in cases {
            assert_eq!(is_time(&measured), expected, "{measured:?}");
        }
    }

    #[test]
    fn both_kinds_are_counted_apart() {
        let counts = Counts::default();
        for passed in [true, false, true] {
            counts.network.add(passed);
        }
        counts.signer.add(false);
        let Requests { network, signer } = counts.requests();
        assert_eq!((network.passed, network.failed), (2, 1));
        assert_eq!((signer.passed, signer.failed), (0, 1));
    }
}
