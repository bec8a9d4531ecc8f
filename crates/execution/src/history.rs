//! What the journal holds: changes of state, together with the facts that announce them, in one
//! entry each, so that a crash never keeps one without the other.

use std::collections::VecDeque;
use std::path::Path;

use execution_core::Record;
use portcullis_domain::EnvelopeId;
use portcullis_runtime::journal::RECORD_LENGTH_MAX;
use portcullis_wire::codec::{self, CodecError};
use portcullis_wire::{Sealed, Text};
use serde::{Deserialize, Serialize};

/// How much of a journal record an entry fills before the next one is begun.
const ENTRY_LENGTH_AIM: usize = 48 * 1_024;
/// The room that is kept for a record; none is longer: the longest enclose one order, or a few
/// strategies or fills.
const RECORD_ROOM: usize = 1_024;
/// The format of the journal that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// Why a journal says nothing to this version.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// An entry is none that this version knows.
    #[error("an entry that this version does not understand")]
    Entry(#[from] CodecError),
    /// It was written by another version.
    #[error("the journal has format {0}, and this version reads format {FORMAT} alone")]
    Format(u32),
}

impl HistoryError {
    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self, path: &Path) -> String {
        match self {
            Self::Entry(_) => format!(
                "start the version that wrote {}, or restore it from a backup",
                path.display()
            ),
            Self::Format(_) => format!("start the version that wrote {}", path.display()),
        }
    }
}

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
    /// The first entry.
    Begun {
        /// How everything after it is written.
        format: u32,
        /// How many facts came before, which the stream has.
        facts: u64,
    },
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

/// Encodes the beginning of a journal without history.
///
/// # Errors
/// [`CodecError`], never in practice.
pub fn encode_beginning() -> Result<Vec<u8>, CodecError> {
    codec::encode(&Entry::Begun {
        format: FORMAT,
        facts: 0,
    })
}

/// Encodes a whole journal: the state as records, and the facts that the stream may lack, of which the
/// first has the number `facts`.
///
/// # Errors
/// [`CodecError`] when a record does not encode.
pub fn encode_whole(
    state: &[Record],
    facts: u64,
    unacknowledged: &[Sealed],
) -> Result<Vec<Vec<u8>>, CodecError> {
    let begun = Entry::Begun {
        format: FORMAT,
        facts,
    };
    let mut entries = vec![codec::encode(&begun)?];
    entries.extend(encode_step(state, unacknowledged)?);
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
    /// How many bytes its entries take.
    pub length: u64,
    acknowledged: u64,
}

impl History {
    /// Reads the journal's entries.
    ///
    /// # Errors
    /// [`HistoryError`] for an entry or a journal that this version does not understand.
    pub fn read(entries: &[Vec<u8>]) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        for (at, bytes) in entries.iter().enumerate() {
            history.length = history.length.saturating_add(length(bytes));
            let entry = codec::decode(bytes, RECORD_LENGTH_MAX)?;
            if at == 0 && !matches!(entry, Entry::Begun { .. }) {
                return Err(HistoryError::Format(0));
            }
            match entry {
                Entry::Begun { format, .. } if format != FORMAT => {
                    return Err(HistoryError::Format(format));
                }
                Entry::Begun { facts, .. } => {
                    history.facts = facts;
                    history.acknowledged = facts;
                }
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

/// How many bytes an entry counts for.
pub fn length(entry: &[u8]) -> u64 {
    u64::try_from(entry.len()).unwrap_or(u64::MAX)
}

/// Turns the place through which the stream has this start's facts into the number before which it
/// has every fact of the journal.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    /// This start's facts that are not acknowledged, in order.
    waiting: VecDeque<Waiting>,
    /// Whether copies of new ones are kept, for a journal that is to be begun anew.
    copying: bool,
}

#[derive(Debug)]
struct Waiting {
    /// Its place among this start's facts.
    seq: u64,
    /// Its number in the journal.
    number: u64,
    copy: Option<Sealed>,
}

impl Acknowledgements {
    /// A fact was journaled under a number.
    pub fn journaled(&mut self, sealed: &Sealed, number: u64) {
        self.waiting.push_back(Waiting {
            seq: sealed.seq,
            number,
            copy: self.copying.then(|| sealed.clone()),
        });
    }

    /// From now on copies are kept; answers all facts that are not acknowledged once there is a copy
    /// of each, and then stops keeping them.
    pub fn copies(&mut self) -> Option<Vec<Sealed>> {
        self.copying = true;
        let copies = self.waiting.iter().map(|waiting| waiting.copy.clone());
        let copies: Option<Vec<Sealed>> = copies.collect();
        if copies.is_some() {
            self.copying = false;
        }
        copies
    }

    /// The stream has everything through this place; answers how far that reaches in the journal,
    /// if it reaches further than before.
    pub fn through(&mut self, seq: u64) -> Option<u64> {
        let mut reached = None;
        while let Some(waiting) = self.waiting.pop_front_if(|waiting| waiting.seq <= seq) {
            reached = Some(waiting.number.saturating_add(1));
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use execution_core::{Kept, KeptState, Record};
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

    /// A journal with these entries.
    fn read(entries: &[Vec<u8>]) -> History {
        let whole = [vec![encode_beginning().unwrap()], entries.to_vec()].concat();
        History::read(&whole).unwrap()
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
            strategies: Vec::new(),
        };
        let records = vec![record(1), equity];
        let entries = encode_step(&records, &[fact(10), fact(20)]).unwrap();
        assert_eq!(entries.len(), 1);
        let history = read(&entries);
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
        let history = read(&entries);
        assert_eq!((history.records, history.facts), (records, 200));
    }

    #[test]
    fn only_what_the_stream_may_lack_is_sent_again() {
        let mut entries = encode_step(&[], &[fact(1), fact(2), fact(3)]).unwrap();
        entries.push(encode_acknowledged(2).unwrap());
        let history = read(&entries);
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
            acknowledgements.journaled(&Sealed { seq, ..fact(1) }, number);
        }
        assert_eq!(acknowledgements.through(0), None);
        assert_eq!(acknowledgements.through(3), Some(42));
        assert_eq!(acknowledgements.through(5), Some(43));
        assert_eq!(acknowledgements.through(5), None);
        assert_eq!(acknowledgements.through(6), Some(44));
    }

    #[test]
    fn the_longest_parts_of_a_snapshot_fit_the_room_of_a_record() {
        use portcullis_domain::{Timestamp, VenueExecutionId, VenueOrderId};
        let longest = "x".repeat(40);
        let order = portcullis_domain::Order {
            id: OrderId([0xff; 16]),
            strategy: "a-name-of-20-letters".parse().unwrap(),
            venue: portcullis_domain::Venue::Bybit,
            symbol: "A-SYMBOL-OF-20-CHARS".parse().unwrap(),
            side: portcullis_domain::Side::Sell,
            quantity: "999999999999999.123456789012".parse().unwrap(),
            limit_price: "999999999999999.123456789012".parse().unwrap(),
            time_in_force: portcullis_domain::TimeInForce::ImmediateOrCancel,
            reduce_only: false,
            profile: portcullis_domain::RiskProfile::Conservative,
            policy: portcullis_domain::Hash([0xff; 32]),
            created_at: Timestamp(u64::MAX),
        };
        let parts = [
            Kept::Order {
                order,
                accepted_at: Timestamp(u64::MAX),
                expires_at: Timestamp(u64::MAX),
                venue_order: Some(VenueOrderId::new(&longest).unwrap()),
                filled: "999999999999999.123456789012".parse().unwrap(),
                state: KeptState::InDoubt {
                    settled_at: Timestamp(u64::MAX),
                },
            },
            Kept::Executions(vec![
                VenueExecutionId::new(&longest).unwrap();
                Kept::EXECUTIONS_MAX
            ]),
        ];
        for part in parts {
            let length = codec::encode(&Record::Kept(part)).unwrap().len();
            assert!(length <= RECORD_ROOM, "{length}");
        }
    }

    #[test]
    fn the_longest_equity_fits_the_room_of_a_record() {
        let equity: Usd = "-999999999999999.123456789012".parse().unwrap();
        let strategy = "a-name-of-20-letters".parse().unwrap();
        let record = Record::Equity {
            equity,
            strategies: vec![(strategy, equity); Record::STRATEGIES_MAX],
        };
        assert!(codec::encode(&record).unwrap().len() <= RECORD_ROOM);
    }

    #[test]
    fn a_journal_of_another_version_is_an_error_that_says_so() {
        let unknown = History::read(&[vec![0xc0]]).unwrap_err();
        assert!(matches!(unknown, HistoryError::Entry(_)), "{unknown}");
        let nameless = encode_step(&[record(1)], &[]).unwrap();
        let error = History::read(&nameless).unwrap_err();
        assert!(matches!(error, HistoryError::Format(0)), "{error}");
        let later = codec::encode(&Entry::Begun {
            format: FORMAT + 1,
            facts: 0,
        });
        let error = History::read(&[later.unwrap()]).unwrap_err();
        let step = error.next_step(Path::new("/state/journal"));
        assert_eq!(step, "start the version that wrote /state/journal");
    }

    #[test]
    fn a_journal_begun_anew_has_the_state_and_what_the_stream_may_lack() {
        let state = vec![record(1), record(2)];
        let entries = encode_whole(&state, 40, &[fact(1), fact(2)]).unwrap();
        let mut history = History::read(&entries).unwrap();
        assert_eq!((&history.records, history.facts), (&state, 42));
        let numbers = |history: &History| -> Vec<u64> {
            let facts = history.unacknowledged.iter();
            facts.map(|(number, _)| *number).collect()
        };
        assert_eq!(numbers(&history), [40, 41]);
        // What came before is known to be acknowledged, and goes on being counted.
        let more = [
            entries,
            encode_step(&[record(3)], &[fact(3)]).unwrap(),
            vec![encode_acknowledged(41).unwrap()],
        ];
        history = History::read(&more.concat()).unwrap();
        assert_eq!((history.records.len(), history.facts), (3, 43));
        assert_eq!(numbers(&history), [41, 42]);
    }

    #[test]
    fn copies_are_complete_once_what_came_before_is_acknowledged() {
        let mut acknowledgements = Acknowledgements::default();
        let sealed = |seq| Sealed { seq, ..fact(1) };
        acknowledgements.journaled(&sealed(1), 1);
        assert!(acknowledgements.copies().is_none(), "1 has no copy");
        acknowledgements.journaled(&sealed(2), 2);
        assert!(acknowledgements.copies().is_none());
        acknowledgements.through(1);
        let copies = acknowledgements.copies().unwrap();
        assert_eq!(copies.iter().map(|fact| fact.seq).collect::<Vec<_>>(), [2]);
        acknowledgements.journaled(&sealed(3), 3);
        assert!(acknowledgements.copies().is_none(), "no longer kept");
    }
}
