//! What a restarted audit learns from its log.

use alloc::collections::BTreeMap;

use portcullis_domain::{Hash, PrincipalName};

use crate::bus::BusPlace;
use crate::entry::{Entry, Kind};
use crate::line::{LINES_MAX, Line, MISSING_MAX, Recent, Recorded, Source};
use crate::own::Own;
use crate::position::{Misplaced, Positions};
use crate::silence::{Silence, is_last};

/// Why a log cannot be continued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The log already has entries of this start of audit or of a later one.
    #[error("log has entries of audit's start {found}, this is start {boot}")]
    Boot {
        /// The newest start in the log.
        found: u64,
        /// This start.
        boot: u64,
    },
}

/// Follows the log from its first entry.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    positions: Positions,
    lines: BTreeMap<(PrincipalName, u64), Line>,
    /// How many gaps are recorded.
    pub(crate) gaps: u64,
    /// How many violations are recorded, one by one or in a count.
    pub(crate) violations: u64,
    /// How many denials of the bus server are recorded, one by one or in a count.
    pub(crate) bus_denied: u64,
    /// How far the bus server's log is recorded.
    pub(crate) bus_place: Option<BusPlace>,
    /// With which key the last checkpoints were signed.
    pub(crate) key: Option<Hash>,
    /// Who has spoken, and who has said that it ends.
    pub(crate) silence: Silence,
}

impl Recovery {
    /// Takes the next entry.
    ///
    /// # Errors
    /// [`Misplaced`] when it does not follow from those before it.
    pub fn observe(&mut self, entry: &Entry<'_>, hash: Hash) -> Result<(), Misplaced> {
        let own = self.positions.observe(entry)?;
        if let Some(own) = &own {
            self.bus_denied = self.bus_denied.saturating_add(own.bus_denied());
            self.bus_place = own.bus_place().or(self.bus_place);
        }
        match own {
            None | Some(Own::Started { .. } | Own::Silence { .. }) => {}
            Some(Own::Key { key }) => self.key = Some(key),
            Some(Own::Gap { .. }) => self.gaps = self.gaps.saturating_add(1),
            Some(Own::Violation { .. }) => self.violations = self.violations.saturating_add(1),
            Some(Own::Suppressed { count, .. }) => {
                self.violations = self.violations.saturating_add(count);
            }
            Some(
                Own::BusDenied { .. }
                | Own::BusSuppressed { .. }
                | Own::BusServer { .. }
                | Own::BusLog { .. },
            ) => {}
        }
        if entry.kind == Kind::Fact {
            self.silence
                .remember(entry.source, entry.boot, is_last(entry));
            let line = self.lines.entry((entry.source, entry.boot)).or_default();
            let recorded = Recorded {
                index: entry.index,
                received_at: entry.received_at,
                previous: entry.previous,
                hash,
            };
            // A receipt may have been lost with the process: both paths count as seen, so that
            // whichever brings the fact again is answered.
            line.remember(
                entry.seq,
                Recent {
                    recorded,
                    live: true,
                    stream: true,
                },
            );
        }
        Ok(())
    }

    /// How far every start of every source is recorded.
    #[must_use]
    pub const fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The key that checkpoints are signed with after the last entry; `None` while no entry says it.
    #[must_use]
    pub const fn key(&self) -> Option<Hash> {
        self.key
    }

    /// The sources as they were when the last entry was written.
    pub(crate) fn into_sources(
        mut self,
        me: PrincipalName,
        boot: u64,
    ) -> Result<BTreeMap<PrincipalName, Source>, RecoveryError> {
        let mut sources: BTreeMap<PrincipalName, Source> = BTreeMap::new();
        for (name, line_boot, position) in self.positions.iter() {
            if name == me {
                if line_boot >= boot {
                    return Err(RecoveryError::Boot {
                        found: line_boot,
                        boot,
                    });
                }
                continue;
            }
            let mut line = self.lines.remove(&(name, line_boot)).unwrap_or_default();
            line.position = position.clone();
            line.position.keep_missing(MISSING_MAX);
            let source = sources.entry(name).or_default();
            source.lines.insert(line_boot, line);
            while source.lines.len() > LINES_MAX {
                source.forgotten = source.lines.pop_first().map(|(forgotten, _)| forgotten);
            }
        }
        Ok(sources)
    }
}
