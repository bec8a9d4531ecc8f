//! How far each start of each source is recorded, and what of it is missing.

use alloc::collections::BTreeMap;

use portcullis_domain::PrincipalName;

use crate::entry::{Entry, Kind};
use crate::own::Own;

/// How a place relates to what is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No place at all: places count from 1 and end before 2^64 - 1.
    Invalid,
    /// The one that is due.
    Next,
    /// One or more are missing before it.
    Ahead,
    /// Recorded as missing, and here it is.
    Missing,
    /// Recorded.
    Past,
}

/// One start of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    next: u64,
    /// First and last of each range that is recorded as missing.
    missing: BTreeMap<u64, u64>,
}

impl Default for Position {
    fn default() -> Self {
        Self {
            next: 1,
            missing: BTreeMap::new(),
        }
    }
}

impl Position {
    /// The place that is due.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The ranges that are still missing, first and last.
    pub fn missing(&self) -> impl Iterator<Item = (u64, u64)> {
        self.missing.iter().map(|(from, to)| (*from, *to))
    }

    /// How a place relates to what is recorded.
    #[must_use]
    pub fn place(&self, seq: u64) -> Place {
        if seq == 0 || seq == u64::MAX {
            return Place::Invalid;
        }
        if seq >= self.next {
            return if seq == self.next {
                Place::Next
            } else {
                Place::Ahead
            };
        }
        let range = self.missing.range(..=seq).next_back();
        if range.is_some_and(|(_, to)| seq <= *to) {
            Place::Missing
        } else {
            Place::Past
        }
    }

    /// Records a place that is due or missing; says whether it was one of these.
    pub fn record(&mut self, seq: u64) -> bool {
        match self.place(seq) {
            Place::Next => {
                self.next = seq.saturating_add(1);
                true
            }
            Place::Missing => {
                self.fill(seq);
                true
            }
            Place::Invalid | Place::Ahead | Place::Past => false,
        }
    }

    fn fill(&mut self, seq: u64) {
        let Some((from, to)) = self.missing.range(..=seq).next_back() else {
            return;
        };
        let (from, to) = (*from, *to);
        self.missing.remove(&from);
        if from < seq {
            self.missing.insert(from, seq.saturating_sub(1));
        }
        if seq < to {
            self.missing.insert(seq.saturating_add(1), to);
        }
    }

    /// Records that everything from the due place to `to` is missing; says whether the range was
    /// one that begins at the due place.
    pub fn skip(&mut self, from: u64, to: u64) -> bool {
        if from != self.next || to < from || to >= u64::MAX.saturating_sub(1) {
            return false;
        }
        self.missing.insert(from, to);
        self.next = to.saturating_add(1);
        true
    }

    /// Gives up the oldest missing ranges beyond `most`.
    pub(crate) fn keep_missing(&mut self, most: usize) {
        while self.missing.len() > most {
            self.missing.pop_first();
        }
    }
}

/// An entry does not follow from the entries of its source before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// A place that is neither due nor recorded as missing.
    #[error("fact {seq} of {origin}, start {boot}, is not the one that is due ({due})")]
    Fact {
        /// Whose.
        origin: PrincipalName,
        /// Of which start.
        boot: u64,
        /// The place that it has.
        seq: u64,
        /// The place that is due.
        due: u64,
    },
    /// A gap that does not begin at the place that is due.
    #[error("gap {from} to {to} of {origin}, start {boot}, does not begin where it should ({due})")]
    Gap {
        /// Whose.
        origin: PrincipalName,
        /// Of which start.
        boot: u64,
        /// The first that it says is missing.
        from: u64,
        /// The last.
        to: u64,
        /// The place that is due.
        due: u64,
    },
    /// An entry of audit's own that is none.
    #[error("it is no entry of audit's own, though it says so")]
    Own,
}

/// Every start of every source.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    lines: BTreeMap<(PrincipalName, u64), Position>,
}

impl Positions {
    /// Takes the next entry of the log; gives audit's own words where it holds some.
    ///
    /// # Errors
    /// [`Misplaced`] when it does not follow from those before it.
    pub fn observe(&mut self, entry: &Entry<'_>) -> Result<Option<Own>, Misplaced> {
        let own = match entry.kind {
            Kind::Fact => None,
            Kind::Own => {
                let own = Own::read(entry.content).map_err(|_| Misplaced::Own)?;
                if own.subject() != entry.subject {
                    return Err(Misplaced::Own);
                }
                Some(own)
            }
        };
        let position = self.line(entry.source, entry.boot);
        if !position.record(entry.seq) {
            let (boot, seq, due) = (entry.boot, entry.seq, position.next);
            return Err(Misplaced::Fact {
                origin: entry.source,
                boot,
                seq,
                due,
            });
        }
        if let Some(Own::Gap {
            source,
            boot,
            from,
            to,
        }) = &own
        {
            let position = self.line(*source, *boot);
            if !position.skip(*from, *to) {
                let (origin, due) = (*source, position.next);
                return Err(Misplaced::Gap {
                    origin,
                    boot: *boot,
                    from: *from,
                    to: *to,
                    due,
                });
            }
        }
        Ok(own)
    }

    /// Every start of every source, by name and number.
    pub fn iter(&self) -> impl Iterator<Item = (PrincipalName, u64, &Position)> {
        self.lines
            .iter()
            .map(|((source, boot), position)| (*source, *boot, position))
    }

    fn line(&mut self, source: PrincipalName, boot: u64) -> &mut Position {
        self.lines.entry((source, boot)).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn a_place_is_due_ahead_missing_or_past() {
        let mut position = Position::default();
        assert!(position.record(1));
        assert!(position.skip(2, 5));
        assert!(position.record(6));
        let cases = [
            (0, Place::Invalid),
            (1, Place::Past),
            (2, Place::Missing),
            (5, Place::Missing),
            (6, Place::Past),
            (7, Place::Next),
            (8, Place::Ahead),
            (u64::MAX, Place::Invalid),
        ];
        for (seq, place) in cases {
            assert_eq!(position.place(seq), place, "{seq}");
        }
        assert!(position.record(4));
        assert_eq!(position.missing().collect::<Vec<_>>(), vec![(2, 3), (5, 5)]);
        assert!(!position.record(4), "a second time");
        assert!(position.record(5) && position.record(2) && position.record(3));
        assert_eq!(position.missing().count(), 0);
        assert_eq!(position.next(), 7);
    }

    #[test]
    fn a_gap_begins_at_the_due_place_and_ends_before_the_last_number() {
        let mut position = Position::default();
        for (from, to) in [(2, 3), (1, 0), (1, u64::MAX), (1, u64::MAX - 1)] {
            assert!(!position.skip(from, to), "{from} to {to}");
        }
        assert!(position.skip(1, u64::MAX - 2));
        assert_eq!(position.place(u64::MAX - 1), Place::Next);
    }
}
