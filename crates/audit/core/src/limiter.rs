//! How many violations are recorded one by one.

use alloc::vec::Vec;

use portcullis_domain::{Span, Timestamp};

const SECOND: Span = Span::from_secs(1);

/// At most so many a second; the rest are counted.
#[derive(Clone, Debug)]
pub struct Limiter {
    each_second: u32,
    since: Timestamp,
    taken: u32,
    suppressed: u64,
    suppressed_since: Timestamp,
    /// Acknowledgements that wait for the entry that states the count.
    tokens: Vec<u64>,
}

/// What was not recorded one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    pub count: u64,
    pub since: Timestamp,
    pub tokens: Vec<u64>,
}

impl Limiter {
    pub const fn new(each_second: u32) -> Self {
        Self {
            each_second,
            since: Timestamp(0),
            taken: 0,
            suppressed: 0,
            suppressed_since: Timestamp(0),
            tokens: Vec::new(),
        }
    }

    /// Whether the next one may be recorded by itself; if not, it is counted.
    pub fn admit(&mut self, now: Timestamp, token: Option<u64>) -> bool {
        if now.since(self.since) >= SECOND {
            self.since = now;
            self.taken = 0;
        }
        if self.taken < self.each_second {
            self.taken = self.taken.saturating_add(1);
            return true;
        }
        if self.suppressed == 0 {
            self.suppressed_since = now;
        }
        self.suppressed = self.suppressed.saturating_add(1);
        self.tokens.extend(token);
        false
    }

    /// What was suppressed for a second or longer, to be stated in one entry.
    pub fn overdue(&mut self, now: Timestamp) -> Option<Suppressed> {
        if now.since(self.suppressed_since) < SECOND {
            return None;
        }
        self.flush()
    }

    /// What was suppressed so far, to be stated before anything else is.
    pub fn flush(&mut self) -> Option<Suppressed> {
        if self.suppressed == 0 {
            return None;
        }
        let count = core::mem::take(&mut self.suppressed);
        let tokens = core::mem::take(&mut self.tokens);
        Some(Suppressed {
            count,
            since: self.suppressed_since,
            tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_so_many_a_second_the_rest_is_counted() {
        let mut limiter = Limiter::new(2);
        let at = |millis: u64| Timestamp::from_millis(5_000 + millis);
        assert!(limiter.admit(at(0), None) && limiter.admit(at(1), Some(1)));
        assert!(!limiter.admit(at(2), Some(2)) && !limiter.admit(at(999), None));
        assert_eq!(limiter.overdue(at(1_001)), None);
        assert!(limiter.admit(at(1_000), None), "the next second");
        let stated = Suppressed {
            count: 2,
            since: at(2),
            tokens: alloc::vec![2],
        };
        assert_eq!(limiter.overdue(at(1_002)), Some(stated));
        assert_eq!(limiter.overdue(at(9_999)), None);
        assert_eq!(limiter.flush(), None, "all of it is stated");
    }
}
