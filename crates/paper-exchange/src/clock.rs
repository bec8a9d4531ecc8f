//! The exchange's clock, which a fault can skew.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, as the venue writes times.
pub(crate) type TimeMs = i64;

/// Server time plus the skew that a fault asks for.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    skew_ms: AtomicI64,
}

impl Clock {
    /// Now, in milliseconds since the Unix epoch, skew included.
    pub(crate) fn now_ms(&self) -> TimeMs {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        now.saturating_add(self.skew_ms.load(Ordering::Relaxed))
    }

    /// Now by the machine's clock, in microseconds since the Unix epoch, for measurements.
    pub(crate) fn machine_now_us() -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// Moves the server time; 0 sets it right again.
    pub(crate) fn skew(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}
