//! What was seen lately: a bounded memory of ids.

use alloc::collections::{BTreeSet, VecDeque};
use core::fmt;

use crate::{Span, Timestamp};

/// The memory has no room for another id: whether it comes again could not be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentFull;

impl fmt::Display for RecentFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more ids than can be remembered")
    }
}

impl core::error::Error for RecentFull {}

/// Ids and when they were seen. What is older than `keep` is forgotten; what is younger never is,
/// so that a full memory refuses instead.
#[derive(Clone, Debug)]
pub struct Recent<K> {
    keep: Span,
    capacity: usize,
    seen: BTreeSet<K>,
    order: VecDeque<(Timestamp, K)>,
}

impl<K: Copy + Ord> Recent<K> {
    /// Remembers each id for `keep`, at most `capacity` of them.
    #[must_use]
    pub const fn new(keep: Span, capacity: usize) -> Self {
        Self {
            keep,
            capacity,
            seen: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Whether an id was seen within the last `keep`, or longer ago and nothing came since.
    #[must_use]
    pub fn contains(&self, id: &K) -> bool {
        self.seen.contains(id)
    }

    /// Whether another id can be remembered, once what is old enough is forgotten.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.seen.len() < self.capacity
    }

    /// Forgets what is old enough.
    pub fn forget(&mut self, now: Timestamp) {
        while let Some((at, id)) = self.order.front() {
            if now.since(*at) <= self.keep {
                break;
            }
            self.seen.remove(id);
            self.order.pop_front();
        }
    }

    /// Remembers an id; one that is known keeps its first time.
    ///
    /// # Errors
    /// [`RecentFull`] when there is no room, even after forgetting what is old enough.
    pub fn remember(&mut self, id: K, now: Timestamp) -> Result<(), RecentFull> {
        self.forget(now);
        if self.seen.contains(&id) {
            return Ok(());
        }
        if self.seen.len() >= self.capacity {
            return Err(RecentFull);
        }
        self.seen.insert(id);
        self.order.push_back((now, id));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_for_its_span_and_forgets_after_it() {
        let mut recent = Recent::new(Span(10), 4);
        recent.remember(1_u8, Timestamp(100)).unwrap();
        recent.forget(Timestamp(110));
        assert!(recent.contains(&1));
        recent.forget(Timestamp(111));
        assert!(!recent.contains(&1));
    }

    #[test]
    fn a_full_memory_refuses_rather_than_forget_what_is_young() {
        let mut recent = Recent::new(Span(10), 2);
        recent.remember(1_u8, Timestamp(100)).unwrap();
        recent.remember(2, Timestamp(101)).unwrap();
        assert_eq!(recent.remember(3, Timestamp(102)), Err(RecentFull));
        assert!(recent.contains(&1) && recent.contains(&2));
        assert_eq!(
            recent.remember(2, Timestamp(102)),
            Ok(()),
            "known ids need no room"
        );
        assert_eq!(recent.remember(3, Timestamp(111)), Ok(()));
        assert!(!recent.contains(&1));
    }
}
