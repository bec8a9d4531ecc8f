//! When something is asked of the venue: once at a time, and after a failure not at once again.

use portcullis_domain::{Span, Timestamp};

/// The first wait after a request that failed; it doubles from failure to failure.
const RETRY_FIRST: Span = Span::from_secs(1);
/// The longest wait after a request that failed.
const RETRY_LONGEST: Span = Span::from_secs(16);

/// When one thing is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asking {
    /// Whether an answer, or word that there is none, is still to come.
    is_under_way: bool,
    next: Option<Timestamp>,
    failures: u32,
}

impl Asking {
    /// Asks at this moment, or as soon as the request that is under way has ended.
    pub const fn ask_at(&mut self, at: Timestamp) {
        self.next = Some(at);
    }

    /// Whether to ask now. The caller then asks.
    pub fn is_due(&mut self, now: Timestamp) -> bool {
        let is_due = !self.is_under_way && self.next.is_some_and(|next| now >= next);
        if is_due {
            self.is_under_way = true;
            self.next = None;
        }
        is_due
    }

    /// The answer came, and is good.
    pub const fn answered(&mut self) {
        self.is_under_way = false;
        self.failures = 0;
    }

    /// There is no answer, or none that is of use. Whether it is the first such in a row.
    pub fn failed(&mut self, now: Timestamp) -> bool {
        let factor = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let wait = Span(RETRY_FIRST.0.saturating_mul(factor)).min(RETRY_LONGEST);
        let is_first = self.failures == 0;
        self.is_under_way = false;
        self.failures = self.failures.saturating_add(1);
        self.next = Some(now.plus(wait));
        is_first
    }
}
