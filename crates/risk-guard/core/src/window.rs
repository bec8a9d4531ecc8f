//! How often something happened lately.

use alloc::collections::VecDeque;

use portcullis_domain::{Span, Timestamp};

/// The times of what happened within a span, at most so many: more is not told apart from that many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    span: Span,
    most: usize,
    times: VecDeque<Timestamp>,
}

impl Window {
    /// Nothing happened yet.
    pub fn new(span: Span, most: u64) -> Self {
        Self {
            span,
            most: usize::try_from(most).unwrap_or(usize::MAX),
            times: VecDeque::new(),
        }
    }

    /// How often it happened within the span before now; its beginning lies outside.
    pub fn count(&mut self, now: Timestamp) -> u64 {
        while self
            .times
            .front()
            .is_some_and(|at| now.since(*at) >= self.span)
        {
            self.times.pop_front();
        }
        u64::try_from(self.times.len()).unwrap_or(u64::MAX)
    }

    /// It happened.
    pub fn note(&mut self, now: Timestamp) {
        if self.times.len() >= self.most {
            self.times.pop_front();
        }
        self.times.push_back(now);
    }

    /// As if nothing had happened.
    pub fn clear(&mut self) {
        self.times.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_lies_within_its_span() {
        let mut window = Window::new(Span(10), 3);
        for at in [0, 5, 9] {
            window.note(Timestamp(at));
        }
        let cases = [(9, 3), (10, 2), (14, 2), (15, 1), (19, 0)];
        for (now, expected) in cases {
            assert_eq!(window.count(Timestamp(now)), expected, "at {now}");
        }
    }

    #[test]
    fn a_full_window_stays_full() {
        let mut window = Window::new(Span(10), 2);
        for at in [1, 2, 3] {
            window.note(Timestamp(at));
        }
        assert_eq!(window.count(Timestamp(3)), 2);
        window.clear();
        assert_eq!(window.count(Timestamp(3)), 0);
    }
}
