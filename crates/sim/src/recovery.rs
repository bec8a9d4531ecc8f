//! What execution's shell makes of its journal when it starts.

use execution_core::{Kept, Record};
use portcullis_wire::codec;

use crate::journal::Entry;
use crate::planted::Bug;
use crate::sure;
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

    /// What a shell records that takes each start for the first of the day.
    pub(crate) fn day_begun_again(&mut self, records: &[Record]) -> Option<Record> {
        let mut day = None;
        let mut baseline = portcullis_domain::Usd::ZERO;
        for record in records {
            match record {
                Record::DayBegan {
                    day: began, chain, ..
                } => day = Some((*began, *chain)),
                Record::Equity { equity, .. } => baseline = *equity,
                _ => {}
            }
        }
        // As if the journal had been begun anew: a second beginning of a day the core would refuse.
        let (number, chain) = day?;
        let record = Record::Kept(Kept::Day {
            number,
            baseline,
            peak: baseline,
            limit: None,
            chain,
        });
        let records = vec![sure(codec::encode(&record), "a record")];
        self.execution_disk.entries.push(Entry::Step {
            records,
            facts: Vec::new(),
        });
        Some(record)
    }
}
