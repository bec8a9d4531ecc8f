//! A limit on how often something may happen.

use alloc::collections::VecDeque;

use crate::{Span, Timestamp};

/// At most so many events in any second, counted exactly; memory of that many times.
#[derive(Clone, Debug)]
pub struct RateLimit {
    per_second: usize,
    // The last `per_second` events, oldest first.
    events: VecDeque<Timestamp>,
}

impl RateLimit {
    /// At most `per_second` events in any second; zero lets nothing pass.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let per_second = usize::try_from(per_second).unwrap_or(usize::MAX);
        Self {
            per_second,
            events: VecDeque::new(),
        }
    }

    /// Whether one more event fits now. A clock that runs backwards makes room for nothing.
    #[must_use]
    pub fn has_room(&self, now: Timestamp) -> bool {
        if self.events.len() < self.per_second {
            return true;
        }
        self.events
            .front()
            .is_some_and(|oldest| now.since(*oldest) >= Span::from_secs(1))
    }

    /// Counts an event if it fits, and says whether it did.
    pub fn take(&mut self, now: Timestamp) -> bool {
        if !self.has_room(now) {
            return false;
        }
        if self.events.len() >= self.per_second {
            self.events.pop_front();
        }
        self.events.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_no_second_have_more_than_its_number() {
        let mut limit = RateLimit::new(2);
        let cases = [
            (0, true),
            (900_000, true),
            (950_000, false),
            (999_999, false),
            (1_000_000, true),
            (1_800_000, false),
            (1_900_000, true),
        ];
        for (at, expected) in cases {
            assert_eq!(limit.take(Timestamp(at)), expected, "at {at} µs");
        }
    }

    #[test]
    fn a_clock_that_runs_backwards_makes_no_room() {
        let mut limit = RateLimit::new(1);
        assert!(limit.take(Timestamp(5_000_000)));
        assert!(!limit.take(Timestamp(1_000_000)));
    }

    #[test]
    fn a_limit_of_zero_lets_nothing_pass() {
        assert!(!RateLimit::new(0).take(Timestamp(1)));
    }
}
