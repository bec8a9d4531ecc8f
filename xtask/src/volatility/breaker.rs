//! The breaker of market volatility as the policy describes it, minute by minute.

use std::collections::VecDeque;

/// So many failures within the window trip it.
const FAILURES: usize = 10;
/// The window in minutes; what happened exactly so long ago is outside.
const WINDOW: usize = 30;
/// How long it stays open at first, in minutes.
const OPEN: usize = 60;
/// How many times as long it may stay open after failures in the half-open state.
const OPEN_TIMES_MAX: usize = 4;
/// So many good minutes one after another close it.
const GOOD: usize = 10;

/// What a sample did to the breaker, where that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was closed and opened.
    Tripped,
    /// It was half-open and opened again, for twice as long.
    Reopened,
}

#[derive(Debug)]
enum State {
    Closed { failures: VecDeque<usize> },
    Open { until: usize, times: usize },
    HalfOpen { good: usize, times: usize },
}

/// One breaker; closed at first.
#[derive(Debug)]
pub struct Breaker(State);

impl Default for Breaker {
    fn default() -> Self {
        Self(State::Closed {
            failures: VecDeque::new(),
        })
    }
}

impl Breaker {
    /// Whether orders pass.
    pub const fn is_closed(&self) -> bool {
        matches!(self.0, State::Closed { .. })
    }

    /// Takes the next minute's sample.
    pub fn sample(&mut self, minute: usize, failed: bool) -> Option<Change> {
        if let State::Open { until, times } = self.0
            && minute >= until
        {
            self.0 = State::HalfOpen { good: 0, times };
        }
        match &mut self.0 {
            State::Closed { failures } => {
                while failures.front().is_some_and(|of| of + WINDOW <= minute) {
                    failures.pop_front();
                }
                if failed {
                    failures.push_back(minute);
                }
                if failures.len() < FAILURES {
                    return None;
                }
                self.0 = State::Open {
                    until: minute + OPEN,
                    times: 1,
                };
                Some(Change::Tripped)
            }
            State::Open { .. } => None,
            State::HalfOpen { times, .. } if failed => {
                let times = (*times * 2).min(OPEN_TIMES_MAX);
                self.0 = State::Open {
                    until: minute + OPEN * times,
                    times,
                };
                Some(Change::Reopened)
            }
            State::HalfOpen { good, .. } => {
                *good += 1;
                if *good >= GOOD {
                    *self = Self::default();
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `failed` for every minute and gives back the changes and the minutes not closed.
    fn play(minutes: usize, failed: impl Fn(usize) -> bool) -> (Vec<(usize, Change)>, usize) {
        let mut breaker = Breaker::default();
        let mut changes = Vec::new();
        let mut stopped = 0;
        for minute in 0..minutes {
            changes.extend(
                breaker
                    .sample(minute, failed(minute))
                    .map(|change| (minute, change)),
            );
            stopped += usize::from(!breaker.is_closed());
        }
        (changes, stopped)
    }

    #[test]
    fn the_tenth_failure_within_the_window_trips() {
        assert_eq!(play(1_000, |minute| minute < 9), (vec![], 0));
        // 60 minutes open, and 9 until the tenth good one has closed it.
        let expected = (vec![(9, Change::Tripped)], 69);
        assert_eq!(play(1_000, |minute| minute < 10), expected);
    }

    #[test]
    fn what_is_exactly_as_old_as_the_window_no_longer_counts() {
        let spread = |last| move |minute: usize| minute < 9 || minute == last;
        assert_eq!(play(100, spread(29)).0, [(29, Change::Tripped)]);
        assert_eq!(play(100, spread(30)).0, []);
    }

    #[test]
    fn each_failure_while_half_open_doubles_the_wait_up_to_four_times() {
        let (changes, _) = play(700, |_| true);
        let expected = [
            (9, Change::Tripped),
            (69, Change::Reopened),
            (189, Change::Reopened),
            (429, Change::Reopened),
            (669, Change::Reopened),
        ];
        assert_eq!(changes, expected);
    }
}
