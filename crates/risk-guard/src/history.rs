//! What risk-guard wrote down: breakers, halts, limits and posture, so that a restart loosens nothing.

use portcullis_domain::{KillCause, Timestamp};
use portcullis_runtime::journal::Kept;
use portcullis_runtime::{
    Clock, Durable, Journal, JournalError, Latch, Standing, StateDir, tracing,
};
use portcullis_wire::codec::{self, CodecError};
use portcullis_wire::{FRAME_LENGTH_MAX, Text};
use risk_guard_core::{Record, RiskGuard};

/// The file in the state folder.
const FILE: &str = "risk.journal";

/// What is said, and latched, when a part of the file is gone.
const INCOMPLETE: &str = "the journal of breakers, halts and limits is not whole";

/// Why the history cannot be gone on from. The service does not start then, and permits nothing.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be used.
    #[error("open the journal of breakers, halts and limits")]
    Journal(#[from] JournalError),
    /// A part of it is gone, and the disk does not keep the latch for that.
    #[error("latch the kill switch, as {INCOMPLETE}")]
    Latch(#[source] std::io::Error),
    /// A record is none.
    #[error("read record {at} of the journal of breakers, halts and limits")]
    Record {
        /// Which, from 0.
        at: usize,
        /// What is wrong with it.
        #[source]
        cause: CodecError,
    },
}

/// Open for appending.
pub struct History {
    journal: Journal,
}

impl History {
    /// Reads everything into the core, and writes down that it was read. A file that is gone although
    /// the service ran before latches the kill switch: nobody knows what was halted.
    ///
    /// # Errors
    /// [`HistoryError`]: the service must not start.
    pub fn open(
        state: &StateDir,
        latch: &Latch,
        clock: Clock,
        now: Timestamp,
        core: &mut RiskGuard,
    ) -> Result<Self, HistoryError> {
        let before = state.has_run_before() && state.join(FILE).exists();
        let Kept {
            journal,
            records,
            lost: _,
            torn,
        } = Journal::keep(state, FILE, latch)?;
        // Nobody else keeps what it held, so a part that cannot be read may have been a halt.
        if torn > 0 || (before && records.is_empty()) {
            tracing::error!(torn, "{INCOMPLETE}");
            latch
                .trigger(KillCause::Inconsistent, INCOMPLETE)
                .map_err(HistoryError::Latch)?;
        }
        let mut earlier = None;
        for (at, bytes) in records.iter().enumerate() {
            let record: Record = codec::decode(bytes, FRAME_LENGTH_MAX)
                .map_err(|cause| HistoryError::Record { at, cause })?;
            if let Record::Started { machine, offset_us } = &record {
                earlier = Some(Standing {
                    machine: machine.as_str().to_owned(),
                    offset_us: *offset_us,
                });
            }
            core.restore(&record);
        }
        let standing = clock.standing();
        let proven = earlier.is_some_and(|earlier| standing.continues(&earlier));
        let mut anew = core.restored(now, proven);
        tracing::info!(
            records = records.len(),
            proven,
            "what was halted and opened is known"
        );
        let history = Self { journal };
        anew.push(Record::Started {
            machine: Text::lossy(&standing.machine),
            offset_us: standing.offset_us,
        });
        history.append(&anew)?.wait()?;
        Ok(history)
    }

    /// Writes records. They reach the disk by themselves; who must know waits for the result.
    ///
    /// # Errors
    /// [`JournalError`] when a record does not fit or nothing can be written any more.
    pub fn append(&self, records: &[Record]) -> Result<Durable, JournalError> {
        let mut encoded = Vec::with_capacity(records.len());
        for record in records {
            // What cannot be encoded would be nothing when it is read.
            encoded.push(codec::encode(record).map_err(|_| JournalError::Length(0))?);
        }
        Ok(self.journal.append(encoded))
    }
}
