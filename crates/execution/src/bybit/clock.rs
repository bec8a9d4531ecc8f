//! What time it is at the venue.
//!
//! The venue refuses a request whose time stamp is more than the receive window behind its own clock
//! or a second ahead of it. So the distance between the two clocks is measured from
//! `GET /v5/market/time`, taking the middle of the round trip as the moment of the answer, and a time
//! that cannot be established is not given out.

use std::sync::{Arc, Mutex, PoisonError};

use portcullis_domain::{Span, Timestamp};
use portcullis_venue::bybit::VenueError;
use portcullis_venue::bybit::reply::{self, ServerTime};
use thiserror::Error;

use super::rest::{RestClient, SendError};

/// The venue's clock, in its API reference under `market/time`.
const PATH: &str = "/v5/market/time";

/// What counts as knowing the time.
#[derive(Clone, Copy, Debug)]
pub struct ClockSettings {
    /// How often the distance is measured.
    pub interval: Span,
    /// How old a measurement may be.
    pub age_max: Span,
    /// How far the clocks may be apart: beyond it, one of them is wrong, and which one is for people
    /// to find out.
    pub offset_max: Span,
    /// The longest round trip that measures anything; half of it is the error.
    pub round_trip_max: Span,
}

impl Default for ClockSettings {
    fn default() -> Self {
        Self {
            interval: Span::from_secs(30),
            age_max: Span::from_secs(300),
            offset_max: Span::from_secs(2),
            round_trip_max: Span::from_secs(1),
        }
    }
}

/// Why the time was not measured.
#[derive(Debug, Error)]
pub enum MeasureError {
    /// No answer.
    #[error("ask the venue for its time")]
    Send(#[source] SendError),
    /// An answer that is not a time.
    #[error("read the venue's time from an answer with HTTP status {0}")]
    Unreadable(u16),
    /// The venue did not say it.
    #[error("the venue refused to tell its time: {0}")]
    Refused(VenueError),
    /// The round trip was too long to measure anything, or this machine's clock went backwards.
    #[error("the round trip was too long to measure the venue's time")]
    TooSlow,
}

/// The venue's clock; clones share it.
#[derive(Clone, Debug)]
pub struct VenueClock {
    settings: ClockSettings,
    measured: Arc<Mutex<State>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    last: Option<Measurement>,
    /// The venue says that the last time given out was wrong.
    is_doubted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Measurement {
    at: Timestamp,
    /// Venue minus here, in microseconds.
    offset_us: i64,
}

impl VenueClock {
    /// A clock that does not know the time yet.
    #[must_use]
    pub fn new(settings: ClockSettings) -> Self {
        Self {
            settings,
            measured: Arc::default(),
        }
    }

    /// The venue's time in milliseconds since the epoch; `None` when it is not known: never measured,
    /// measured too long ago, too far from this machine's, or doubted by the venue.
    #[must_use]
    pub fn venue_now_ms(&self, now: Timestamp) -> Option<u64> {
        let state = self.state();
        let measured = state.last.filter(|_| !state.is_doubted)?;
        // A measurement from the future means that this machine's clock was set back.
        let is_fresh = measured.at <= now && now.since(measured.at) <= self.settings.age_max;
        let is_near = measured.offset_us.unsigned_abs() <= self.settings.offset_max.0;
        if !is_fresh || !is_near {
            return None;
        }
        Some(Timestamp(now.0.checked_add_signed(measured.offset_us)?).as_millis())
    }

    /// The venue's clock minus this machine's, in microseconds; `None` before the first measurement.
    #[must_use]
    pub fn offset_us(&self) -> Option<i64> {
        self.state().last.map(|measured| measured.offset_us)
    }

    /// Whether it should be measured now.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        let state = self.state();
        state.is_doubted
            || state.last.is_none_or(|measured| {
                now < measured.at || now.since(measured.at) >= self.settings.interval
            })
    }

    /// The venue refused a time stamp: give out no time before the next measurement.
    pub fn doubt(&self) {
        self.with(|state| state.is_doubted = true);
    }

    /// Measures the distance. `now` reads this machine's clock.
    ///
    /// # Errors
    /// [`MeasureError`] when nothing was learnt; an older measurement then still counts.
    pub async fn measure(
        &self,
        client: &RestClient,
        now: impl Fn() -> Timestamp,
    ) -> Result<(), MeasureError> {
        let sent_at = now();
        let reply = client.read(PATH, None).await.map_err(MeasureError::Send)?;
        let received_at = now();
        let answer = reply::read::<ServerTime>(&reply.body)
            .ok()
            .filter(|_| reply.http_status == 200);
        let answer = answer.ok_or(MeasureError::Unreadable(reply.http_status))?;
        let venue_time = answer
            .outcome
            .map_err(|refused| MeasureError::Refused(refused.class))?;
        if self.record(sent_at, venue_time.now, received_at) {
            Ok(())
        } else {
            Err(MeasureError::TooSlow)
        }
    }

    /// Takes in one measurement; `false` when it is worth nothing.
    fn record(&self, sent_at: Timestamp, venue_time: Timestamp, received_at: Timestamp) -> bool {
        let round_trip = received_at.since(sent_at);
        if received_at < sent_at || round_trip > self.settings.round_trip_max {
            return false;
        }
        let middle = sent_at.plus(Span(round_trip.0 / 2));
        let Some(offset_us) = venue_time.0.checked_signed_diff(middle.0) else {
            return false;
        };
        let last = Some(Measurement {
            at: received_at,
            offset_us,
        });
        self.with(|state| {
            *state = State {
                last,
                is_doubted: false,
            }
        });
        true
    }

    fn state(&self) -> State {
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.measured.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn clock() -> VenueClock {
        VenueClock::new(ClockSettings::default())
    }

    fn after(millis: u64) -> Timestamp {
        START.plus(Span::from_millis(millis))
    }

    #[test]
    fn knows_no_time_before_the_first_measurement() {
        assert_eq!(clock().venue_now_ms(START), None);
        assert!(clock().is_due(START));
    }

    #[test]
    fn takes_the_middle_of_the_round_trip() {
        let clock = clock();
        // Sent at 0, received at 100 ms; the venue read 550 ms at what was 50 ms here.
        assert!(clock.record(START, after(550), after(100)));
        assert_eq!(clock.offset_us(), Some(500_000));
        assert_eq!(clock.venue_now_ms(after(200)), Some(after(700).as_millis()));
        assert!(!clock.is_due(after(200)));
        assert!(clock.is_due(after(30_100)));
    }

    #[test]
    fn gives_out_no_time_that_is_old_far_off_or_doubted() {
        let old = clock();
        assert!(old.record(START, START, START));
        assert!(old.venue_now_ms(after(300_000)).is_some());
        assert_eq!(
            old.venue_now_ms(after(300_001)),
            None,
            "older than five minutes"
        );
        assert_eq!(
            old.venue_now_ms(START.minus(Span(1))),
            None,
            "this clock was set back"
        );

        let far = clock();
        assert!(far.record(START, after(2_001), START));
        assert_eq!(far.venue_now_ms(START), None, "more than two seconds ahead");
        assert!(far.record(after(3_000), after(1_000), after(3_000)));
        assert_eq!(
            far.venue_now_ms(after(3_000)),
            Some(after(1_000).as_millis())
        );

        let doubted = clock();
        assert!(doubted.record(START, START, START));
        doubted.doubt();
        assert_eq!(
            doubted.venue_now_ms(START),
            None,
            "the venue refused the last one"
        );
        assert!(doubted.is_due(START));
        assert!(doubted.record(after(1), after(1), after(1)));
        assert!(doubted.venue_now_ms(after(1)).is_some());
    }

    #[test]
    fn a_slow_round_trip_or_a_clock_set_back_measures_nothing() {
        let clock = clock();
        assert!(
            !clock.record(START, after(600), after(1_001)),
            "half a second of error"
        );
        assert!(
            !clock.record(after(10), after(10), START),
            "received before it was sent"
        );
        assert_eq!(clock.offset_us(), None);
    }
}
