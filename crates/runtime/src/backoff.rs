//! Waiting between attempts to connect.

use std::time::Duration;

/// Doubles the wait from attempt to attempt, and takes a random part off, so that many clients that
/// lost the venue together do not come back together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts with `first` and grows to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// Starts over: the last attempt was a success.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long to wait before the next attempt: between half of the current step and all of it.
    pub fn wait(&mut self) -> Duration {
        let step = self.next.min(self.longest);
        self.next = step.saturating_mul(2).min(self.longest);
        let half = step / 2;
        half.saturating_add(half.saturating_mul(u32::from(jitter())) / u32::from(u8::MAX))
    }
}

/// A random byte, for waits. Without a random source one wait is as good as another.
#[must_use]
pub fn jitter() -> u8 {
    let mut byte = [u8::MAX];
    match getrandom::fill(&mut byte) {
        Ok(()) => byte[0],
        Err(_) => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        for step in [100, 200, 300, 300] {
            let wait = backoff.wait();
            let all = Duration::from_millis(step);
            assert!(
                wait >= all / 2 && wait <= all,
                "{wait:?} for a step of {all:?}"
            );
        }
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(100));
    }
}
