//! What execution's shell makes of its journal when it starts, and how it begins it anew.

use std::collections::{BTreeSet, VecDeque};

use execution_core::{Execution, Kept, Record};
use portcullis_wire::{Sealed, codec};

use crate::cast::Who;
use crate::faults::Point;
use crate::journal::{Entry, in_force};
use crate::planted::Bug;
use crate::sure;
use crate::world::{CHAOS_UNTIL, Event, MS, World};

/// What the journal says.
#[derive(Debug, Default)]
pub struct History {
    pub records: Vec<Record>,
    /// The facts that the stream may lack, with their numbers.
    pub unacknowledged: VecDeque<(u64, Sealed)>,
    /// The number of the next fact.
    pub facts: u64,
}

impl History {
    pub fn read(entries: &[Entry]) -> Self {
        let mut history = Self::default();
        for entry in entries {
            history.records.extend(entry.records());
            match entry {
                Entry::Step { facts, .. } => history.follow(facts),
                Entry::Begun { first, facts, .. } => {
                    history.facts = *first;
                    history.follow(facts);
                }
                Entry::Acknowledged { before } => {
                    let known = |(number, _): &(u64, Sealed)| number < before;
                    while history.unacknowledged.front().is_some_and(known) {
                        history.unacknowledged.pop_front();
                    }
                }
            }
        }
        history
    }

    fn follow(&mut self, facts: &[Sealed]) {
        let numbered = (self.facts..).zip(facts.iter().cloned());
        self.unacknowledged.extend(numbered);
        self.facts += facts.len() as u64;
    }
}

/// Which facts the stream may lack, with copies of them while the journal is to be begun anew.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    waiting: VecDeque<(u64, Option<Sealed>)>,
    arrived: BTreeSet<u64>,
    copying: bool,
}

impl Acknowledgements {
    /// Of what is said again after a restart there is no copy.
    pub fn new<'a>(unacknowledged: impl Iterator<Item = &'a (u64, Sealed)>) -> Self {
        Self {
            waiting: unacknowledged.map(|(number, _)| (*number, None)).collect(),
            ..Self::default()
        }
    }

    pub fn journaled(&mut self, numbered: &[(u64, Sealed)]) {
        let copying = self.copying;
        let copy = |(number, sealed): &(u64, Sealed)| (*number, copying.then(|| sealed.clone()));
        self.waiting.extend(numbered.iter().map(copy));
    }

    /// The stream has these.
    pub fn arrived(&mut self, numbers: impl Iterator<Item = u64>) {
        self.arrived.extend(numbers);
    }

    /// Before which number the stream has all of them, if that is news.
    pub fn reached(&mut self) -> Option<u64> {
        let mut reached = None;
        while let Some((number, _)) = self
            .waiting
            .pop_front_if(|(number, _)| self.arrived.remove(number))
        {
            reached = Some(number + 1);
        }
        reached
    }

    /// All facts that the stream may lack, once there is a copy of each.
    fn copies(&mut self) -> Option<Vec<Sealed>> {
        let copies = self.waiting.iter().map(|(_, copy)| copy.clone());
        let copies: Option<Vec<Sealed>> = copies.collect();
        self.copying = copies.is_none();
        copies
    }
}

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
        self.drop_replaced(torn.is_some());
        self.execution_disk.synced = self.execution_disk.entries.len();
        self.oracle.watch.synced = self.execution_disk.synced;
    }

    /// Of what was not synced a part is lost, and the journal begun anew with it or not. How many
    /// entries are.
    pub(crate) fn crash_journal(&mut self) -> usize {
        let begun = |entries: &[Entry]| {
            let begun = entries
                .iter()
                .filter(|entry| matches!(entry, Entry::Begun { .. }));
            begun.count()
        };
        let before = begun(&self.execution_disk.entries);
        let (lost, torn) = crate::journal::crash(&mut self.execution_disk, &mut self.random);
        self.execution_torn = torn;
        if begun(&self.execution_disk.entries) < before {
            self.trace
                .count("restart from the journal before it was begun anew");
        }
        lost
    }

    /// What was before a journal begun anew is no longer on disk; only the oracle remembers it.
    fn drop_replaced(&mut self, torn: bool) {
        let entries = &mut self.execution_disk.entries;
        let replaced = entries.len() - in_force(entries).len();
        let records = entries.drain(..replaced);
        let records: Vec<Record> = records.flat_map(|entry| made(&entry)).collect();
        self.execution_replaced.extend(records);
        if matches!(entries.first(), Some(Entry::Begun { .. })) {
            self.trace.count("restart from a journal begun anew");
            if torn {
                self.trace.count("torn entry after a journal begun anew");
            }
        }
    }

    /// The oracle follows each record as it was made, also those that a snapshot stands for now.
    pub(crate) fn follow_history(&mut self) {
        let records = self.execution_replaced.iter();
        records.for_each(|record| self.oracle.record(record));
        let entries = self.execution_disk.entries.iter();
        let records: Vec<Record> = entries.flat_map(made).collect();
        records.iter().for_each(|record| self.oracle.record(record));
    }

    /// The journal has grown too long, and the seed decides what that is.
    pub(crate) fn want_journal_anew(&mut self) {
        if self.now < CHAOS_UNTIL {
            let after = self.random.between(500, 8_000) * MS;
            self.schedule(after, Event::Anew);
        }
        if let Some(life) = self.execution.as_mut() {
            life.wants_anew = true;
        }
    }

    /// Begins the journal anew with the state as it is, once every fact that the stream may lack is
    /// known.
    pub(crate) fn begin_journal_anew(&mut self) {
        let who = Who::Execution;
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        if !life.wants_anew {
            return;
        }
        let copies = match self.options.bug {
            Some(Bug::ForgetsFactsAnew) => Some(Vec::new()),
            _ => life.acknowledgements.copies(),
        };
        let Some(facts) = copies else {
            return;
        };
        life.wants_anew = false;
        if self.crash_point(who, Point::BeforeAnew) {
            return;
        }
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        let encode = |record: &Record| sure(codec::encode(record), "a record");
        let records = life.core.snapshot().iter().map(encode).collect();
        let first = life.facts - facts.len() as u64;
        self.trace.count("journal begun anew");
        if !facts.is_empty() {
            self.trace
                .count("journal begun anew with facts that the stream lacks");
        }
        if !life.core.is_idle() {
            self.trace.count("journal begun anew with orders under way");
        }
        self.say(format_args!("execution begins its journal anew"));
        self.check_anew(first, first + facts.len() as u64);
        self.execution_disk.entries.push(Entry::Begun {
            first,
            records,
            facts,
        });
        self.compare_with_replay();
        // It may be in its place by then, or not.
        if self.crash_point(who, Point::Anew) {
            return;
        }
        self.sync_later(who);
    }

    /// What waits for the stream is in the journal that is begun anew.
    fn check_anew(&mut self, first: u64, next: u64) {
        let outbox = &self.seat(Who::Execution).outbox;
        let mut waiting = outbox.iter().filter_map(|fact| fact.number);
        if let Some(number) = waiting.find(|number| !(first..next).contains(number)) {
            self.violated(format!(
                "a journal begun anew lacks fact {number}, which the stream lacks too"
            ));
        }
    }

    /// A journal begun anew is on disk now: the one before it is gone.
    pub(crate) fn journal_replaced(&mut self, before: usize) -> bool {
        let synced = self.execution_disk.synced;
        let entries = self.execution_disk.entries.get(before..synced);
        let mut entries = entries.unwrap_or_default().iter();
        entries.any(|entry| matches!(entry, Entry::Begun { .. }))
            && self.crash_point(Who::Execution, Point::AfterAnew)
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

/// The records of an entry that were made by a step.
fn made(entry: &Entry) -> Vec<Record> {
    match entry {
        Entry::Step { .. } => entry.records().collect(),
        Entry::Acknowledged { .. } | Entry::Begun { .. } => Vec::new(),
    }
}
