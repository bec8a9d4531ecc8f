//! Calls that are made again when they fail, as the table in [`portcullis_venue::retry`] says.

use std::time::Duration;

use portcullis_domain::{Reason, Span, Timestamp};
use portcullis_runtime::{BusError, jitter, tracing};
use portcullis_venue::bybit::{Action, VenueError, reply};
use portcullis_venue::retry::{Kind, Pace};
use portcullis_wire::messages::SignAction;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::bybit::SendError;
use crate::tally::Unanswered;
use crate::venue::Venue;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the venue's time is not known")]
    Clock,
    #[error("the request budget is used up")]
    Budget(Timestamp),
    #[error("there is no such endpoint")]
    Endpoint,
    #[error("ask the signer")]
    Bus(#[source] BusError),
    #[error("the signer did not answer")]
    Silent,
    #[error("the signer refused: {0}")]
    Refused(Reason),
    #[error("send the request")]
    Send(#[source] SendError),
    #[error("the venue answered with HTTP status {0}")]
    Status(u16, VenueError),
    #[error("the venue's answer is unreadable")]
    Malformed(#[source] reply::Malformed),
    #[error("the venue refused: {0} ({1})")]
    Venue(VenueError, String),
    #[error("no answer in the time that a query has")]
    Late,
    #[error("the venue's list does not end")]
    Endless,
    #[error("the venue's amounts cannot be reckoned with")]
    Amount,
    #[error("the account changes faster than it can be read")]
    Unstable,
}

impl CallError {
    /// The class of the error, and how long the venue wants to hear nothing; `None` where asking
    /// again changes nothing.
    fn class(&self, now: Timestamp) -> Option<(VenueError, Option<Span>)> {
        let class = match self {
            Self::Clock => VenueError::ClockSkew,
            Self::Budget(until) => return Some((VenueError::RateLimited, Some(until.since(now)))),
            Self::Bus(_) | Self::Silent | Self::Send(SendError::NotSent(_)) => VenueError::Network,
            Self::Send(SendError::Unknown(_)) | Self::Malformed(_) => VenueError::Unknown,
            Self::Status(_, class) | Self::Venue(class, _) => *class,
            Self::Refused(_)
            | Self::Endpoint
            | Self::Late
            | Self::Amount
            | Self::Endless
            | Self::Unstable => return None,
        };
        Some((class, None))
    }
}

impl From<Unanswered> for CallError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Send(error) => Self::Send(error),
            Unanswered::Status(status, error) => Self::Status(status, error),
            Unanswered::Malformed(error) => Self::Malformed(error),
        }
    }
}

impl Venue {
    /// As [`Venue::call`], again and again as the table of retries says.
    pub(crate) async fn call_again<T: DeserializeOwned>(
        &self,
        kind: Kind,
        action: &Action<'_>,
        sign: SignAction,
    ) -> Result<T, CallError> {
        self.call_within(kind, Duration::MAX, action, sign).await
    }

    /// As [`Venue::call_again`], as long as no wait is longer than `patience`. Where it is the core that asks again,
    /// that is nothing: only a wrong clock is set right and the request sent once more.
    async fn call_within<T: DeserializeOwned>(
        &self,
        kind: Kind,
        patience: Duration,
        action: &Action<'_>,
        sign: SignAction,
    ) -> Result<T, CallError> {
        let mut tries = 0_u32;
        loop {
            let error = match self.call(action, sign.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            tries = tries.saturating_add(1);
            let Some((class, reset)) = error.class(self.now()) else {
                return Err(error);
            };
            let Some(wait) = Pace::VENUE.again(kind, class, tries, reset, jitter()) else {
                return Err(error);
            };
            let wait = Duration::from_micros(wait.0);
            if wait > patience || !waited(kind, wait, self.kill_switch()).await {
                return Err(error);
            }
            if class == VenueError::ClockSkew {
                self.keep_time().await;
            }
            tracing::debug!(action = action.name(), tries, error = %error, "ask again");
        }
    }

    /// Sends a cancel. The core asks for it again each second while it has to, so that it is repeated
    /// here only when it is repeated at once.
    pub(crate) async fn cancel<T: DeserializeOwned>(
        &self,
        action: &Action<'_>,
        sign: SignAction,
    ) -> Result<T, CallError> {
        self.call_within(Kind::Cancel, Duration::ZERO, action, sign)
            .await
    }
}

/// Waits before a request is sent again; `false` when the kill switch ends the waiting.
async fn waited(kind: Kind, wait: Duration, mut killed: watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        Ok(_) = killed.wait_for(|killed| *killed && !kind.outlives_kill()) => false,
        () = tokio::time::sleep(wait) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bybit::Unknown;

    #[test]
    fn every_failure_has_its_class_or_is_not_tried_again() {
        let now = Timestamp::from_millis(10_000);
        let until = Timestamp::from_millis(12_500);
        let class = |error: CallError| error.class(now);
        let only = |class| Some((class, None));
        assert_eq!(class(CallError::Clock), only(VenueError::ClockSkew));
        assert_eq!(class(CallError::Silent), only(VenueError::Network));
        let late = CallError::Send(SendError::Unknown(Unknown::TooLong));
        assert_eq!(class(late), only(VenueError::Unknown));
        let busy = CallError::Status(429, VenueError::RateLimited);
        assert_eq!(class(busy), only(VenueError::RateLimited));
        let reset = Some((VenueError::RateLimited, Some(Span::from_millis(2_500))));
        assert_eq!(class(CallError::Budget(until)), reset);
        let refused = CallError::Venue(VenueError::NotFound, String::new());
        assert_eq!(class(refused), only(VenueError::NotFound));
        for ended in [
            CallError::Refused(Reason::ClockSkew),
            CallError::Amount,
            CallError::Unstable,
            CallError::Endless,
            CallError::Late,
        ] {
            assert_eq!(class(ended), None);
        }
    }

    #[tokio::test]
    async fn a_kill_ends_waiting_to_read_the_account_and_no_waiting_to_cancel() {
        let switch = watch::Sender::new(false);
        let hour = Duration::from_secs(3_600);
        let account = waited(Kind::Account, hour, switch.subscribe());
        let (went_on, ()) = tokio::join!(account, async {
            switch.send_replace(true);
        });
        assert!(!went_on);
        // Killed already counts as well.
        assert!(!waited(Kind::Account, hour, switch.subscribe()).await);
        for kind in [Kind::Cancel, Kind::Query, Kind::Login] {
            let moment = Duration::from_millis(1);
            assert!(waited(kind, moment, switch.subscribe()).await, "{kind:?}");
        }
    }
}
