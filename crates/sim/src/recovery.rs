//! What execution's shell makes of its journal when it starts.

use execution_core::{Execution, Kept, Record};

use crate::journal::Entry;
use crate::planted::Bug;
use crate::world::World;

impl World {
    /// The last entry may be torn: then it is as if it had never been written.
    pub(crate) fn recover_journal(&mut self) {
        let torn = self.execution_torn.take();
        let taken = torn.as_ref().and_then(|torn| {
            if self.has(Bug::TakesTornTail) {
                Entry::read_believing(&torn.bytes)
            } else {
                Entry::read(&torn.bytes)
            }
        });
        if torn.is_some() {
            self.trace.count("fault: torn write");
        }
        self.check_journal(torn.as_ref().map(|torn| (torn, taken.as_ref())));
        self.execution_disk.entries.extend(taken);
        self.execution_disk.synced = self.execution_disk.entries.len();
        self.oracle.watch.synced = self.execution_disk.synced;
    }

    /// What a shell replays that begins the journal anew at each start, and the day with it: the state
    /// as it was, but for the day's baseline. A second beginning of a day the core would refuse.
    pub(crate) fn day_begun_again(&self, fresh: &Execution, records: &[Record]) -> Vec<Record> {
        let mut core = fresh.clone();
        for record in records {
            if core.replay(record).is_err() {
                return records.to_vec();
            }
        }
        let mut state = core.snapshot();
        let recorded = state.iter().find_map(|record| match record {
            Record::Kept(Kept::Ledger { equity, .. }) => Some(*equity),
            _ => None,
        });
        for record in &mut state {
            if let (Record::Kept(Kept::Day { baseline, peak, .. }), Some(equity)) =
                (record, recorded)
            {
                *baseline = equity;
                *peak = equity;
            }
        }
        state
    }
}
