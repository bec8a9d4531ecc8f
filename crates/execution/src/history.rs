//! What the journal holds: changes of state, together with the facts that announce them, in one
//! entry each, so that a crash never keeps one without the other.

use std::collections::VecDeque;

use execution_core::Record;
use portcullis_domain::EnvelopeId;
use portcullis_runtime::journal::RECORD_LENGTH_MAX;
use portcullis_wire::codec::{self, CodecError};
use portcullis_wire::{Sealed, Text};
use serde::{Deserialize, Serialize};

/// How much of a journal record an entry fills before the next one is begun.
const ENTRY_LENGTH_AIM: usize = 48 * 1_024;
/// The room that is kept for a record; none is longer: the longest enclose one order, or a few
/// strategies.
const RECORD_ROOM: usize = 512;

/// A sealed fact, byte for byte, to be sent again should the process end before the stream has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactFrame {
    subject: Text,
    id: EnvelopeId,
    seq: u64,
    #[serde(with = "serde_bytes")]
    frame: Vec<u8>,
}

/// One entry of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// One step: what it changed and what it announces.
    Step {
        /// What it changed.
        records: Vec<Record>,
        /// What it announces.
        facts: Vec<FactFrame>,
    },
    /// The stream has all facts before this number, counted from 0 over the whole journal.
    Acknowledged {
        /// The number of the first one that it may lack.
        before: u64,
    },
}

impl From<&Sealed> for FactFrame {
    fn from(sealed: &Sealed) -> Self {
        Self {
            subject: Text::lossy(&sealed.subject),
            id: sealed.id,
            seq: sealed.seq,
            frame: sealed.frame.clone(),
        }
    }
}

impl From<FactFrame> for Sealed {
    fn from(fact: FactFrame) -> Self {
        Self {
            subject: fact.subject.as_str().into(),
            id: fact.id,
            seq: fact.seq,
            frame: fact.frame,
        }
    }
}

/// Encodes one step as journal entries: one, unless it announces more than an entry holds.
///
/// # Errors
/// [`CodecError`] when a record does not encode.
pub fn encode_step(records: &[Record], facts: &[Sealed]) -> Result<Vec<Vec<u8>>, CodecError> {
    let mut entries = Vec::with_capacity(1);
    let mut open = (Vec::new(), Vec::new());
    let mut length = 0_usize;
    let flush = |open: &mut (Vec<Record>, Vec<FactFrame>)| {
        let (records, facts) = std::mem::take(open);
        codec::encode(&Entry::Step { records, facts })
    };
    for record in records {
        length = length.saturating_add(RECORD_ROOM);
        if length > ENTRY_LENGTH_AIM {
            entries.push(flush(&mut open)?);
            length = RECORD_ROOM;
        }
        open.0.push(record.clone());
    }
    for fact in facts {
        let added = fact.frame.len().saturating_add(256);
        length = length.saturating_add(added);
        if length > ENTRY_LENGTH_AIM && !(open.0.is_empty() && open.1.is_empty()) {
            entries.push(flush(&mut open)?);
            length = added;
        }
        open.1.push(fact.into());
    }
    if !open.0.is_empty() || !open.1.is_empty() {
        entries.push(flush(&mut open)?);
    }
    Ok(entries)
}

/// Encodes how far the stream has acknowledged.
///
/// # Errors
/// [`CodecError`], never in practice.
pub fn encode_acknowledged(before: u64) -> Result<Vec<u8>, CodecError> {
    codec::encode(&Entry::Acknowledged { before })
}

/// What the journal says after a restart.
#[derive(Debug, Default)]
pub struct History {
    /// Every change of state, in order.
    pub records: Vec<Record>,
    /// The facts that the stream may lack, in order, with their numbers.
    pub unacknowledged: VecDeque<(u64, Sealed)>,
    /// How many facts the journal holds.
    pub facts: u64,
    acknowledged: u64,
}

impl History {
    /// Reads the journal's entries.
    ///
    /// # Errors
    /// [`CodecError`] for an entry that this version does not understand.
    pub fn read(entries: &[Vec<u8>]) -> Result<Self, CodecError> {
        let mut history = Self::default();
        for bytes in entries {
            match codec::decode(bytes, RECORD_LENGTH_MAX)? {
                Entry::Step { records, facts } => {
                    history.records.extend(records);
                    for fact in facts {
                        history
                            .unacknowledged
                            .push_back((history.facts, fact.into()));
                        history.facts = history.facts.saturating_add(1);
                    }
                }
                Entry::Acknowledged { before } => {
                    history.acknowledged = history.acknowledged.max(before);
                    let known = |(number, _): &(u64, Sealed)| *number < history.acknowledged;
                    while history.unacknowledged.front().is_some_and(known) {
                        history.unacknowledged.pop_front();
                    }
                }
            }
        }
        Ok(history)
    }
}

/// Turns the place through which the stream has this start's facts into the number before which it
/// has every fact of the journal.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    /// Places and numbers of this start's facts that are not acknowledged, in order.
    sealed: VecDeque<(u64, u64)>,
}

impl Acknowledgements {
    /// A fact was journaled under a number.
    pub fn journaled(&mut self, seq: u64, number: u64) {
        self.sealed.push_back((seq, number));
    }

    /// The stream has everything through this place; answers how far that reaches in the journal,
    /// if it reaches further than before.
    pub fn through(&mut self, seq: u64) -> Option<u64> {
        let mut reached = None;
        while let Some((_, number)) = self.sealed.pop_front_if(|(sealed, _)| *sealed <= seq) {
            reached = Some(number.saturating_add(1));
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use execution_core::Record;
    use portcullis_domain::{OrderId, OrderStatus, Usd};

    use super::*;

    fn fact(length: usize) -> Sealed {
        Sealed {
            subject: "evt.execution.notice".into(),
            id: EnvelopeId([1; 16]),
            seq: 7,
            frame: vec![9; length],
        }
    }

    fn record(number: u8) -> Record {
        Record::Ended {
            order: OrderId([number; 16]),
            status: OrderStatus::Filled,
        }
    }

    #[test]
    fn a_step_and_its_facts_are_one_entry_and_come_back() {
        let equity = Record::Equity {
            equity: Usd::ZERO,
            strategies: Some(Vec::new()),
        };
        let records = vec![record(1), equity];
        let entries = encode_step(&records, &[fact(10), fact(20)]).unwrap();
        assert_eq!(entries.len(), 1);
        let history = History::read(&entries).unwrap();
        assert_eq!(history.records, records);
        let lengths: Vec<_> = history
            .unacknowledged
            .iter()
            .map(|(number, fact)| (*number, fact.frame.len()))
            .collect();
        assert_eq!(lengths, [(0, 10), (1, 20)]);
    }

    #[test]
    fn a_step_that_is_too_large_is_cut_into_entries_that_the_journal_takes() {
        let records: Vec<_> = (0..200).map(record).collect();
        let facts: Vec<_> = (0..200).map(|_| fact(3_000)).collect();
        let entries = encode_step(&records, &facts).unwrap();
        assert!(entries.len() > 10);
        assert!(entries.iter().all(|entry| entry.len() <= RECORD_LENGTH_MAX));
        let history = History::read(&entries).unwrap();
        assert_eq!((history.records, history.facts), (records, 200));
    }

    #[test]
    fn only_what_the_stream_may_lack_is_sent_again() {
        let mut entries = encode_step(&[], &[fact(1), fact(2), fact(3)]).unwrap();
        entries.push(encode_acknowledged(2).unwrap());
        let history = History::read(&entries).unwrap();
        let numbers: Vec<_> = history
            .unacknowledged
            .iter()
            .map(|(number, _)| *number)
            .collect();
        assert_eq!(numbers, [2]);
    }

    #[test]
    fn acknowledgements_of_places_reach_as_far_in_the_journal() {
        let mut acknowledgements = Acknowledgements::default();
        // Places 2 and 5 were notices that the journal does not hold.
        for (seq, number) in [(1, 40), (3, 41), (4, 42), (6, 43)] {
            acknowledgements.journaled(seq, number);
        }
        assert_eq!(acknowledgements.through(0), None);
        assert_eq!(acknowledgements.through(3), Some(42));
        assert_eq!(acknowledgements.through(5), Some(43));
        assert_eq!(acknowledgements.through(5), None);
        assert_eq!(acknowledgements.through(6), Some(44));
    }

    #[test]
    fn an_equity_without_strategies_is_read_as_an_earlier_version_wrote_it() {
        // {"step": {"records": [{"equity": {"equity": "-1.5"}}], "facts": []}}
        let mut entry = vec![0x81, 0xa4];
        entry.extend(b"step");
        entry.extend([0x82, 0xa7]);
        entry.extend(b"records");
        entry.extend([0x91, 0x81, 0xa6]);
        entry.extend(b"equity");
        entry.extend([0x81, 0xa6]);
        entry.extend(b"equity");
        entry.push(0xa4);
        entry.extend(b"-1.5");
        entry.push(0xa5);
        entry.extend(b"facts");
        entry.push(0x90);
        let history = History::read(&[entry]).unwrap();
        let expected = Record::Equity {
            equity: "-1.5".parse().unwrap(),
            strategies: None,
        };
        assert_eq!(history.records, [expected]);
    }

    #[test]
    fn the_longest_equity_fits_the_room_of_a_record() {
        let equity: Usd = "-999999999999999.123456789012".parse().unwrap();
        let strategy = "a-name-of-20-letters".parse().unwrap();
        let record = Record::Equity {
            equity,
            strategies: Some(vec![(strategy, equity); Record::STRATEGIES_MAX]),
        };
        assert!(codec::encode(&record).unwrap().len() <= RECORD_ROOM);
    }

    #[test]
    fn an_entry_of_another_version_is_an_error() {
        assert!(History::read(&[vec![0xc0]]).is_err());
    }
}
