//! Verifies a log from its files alone: no service, no bus, and only the keys that are given.
//!
//! ```text
//!  chain          every entry follows the one before it              always
//!  order          each source's facts are whole, or the gap is named  always
//!  envelopes      entries say what the envelopes in them say          always
//!  MACs           nobody without the chain key wrote an entry         with the chain key
//!  checkpoints    each states the log's own hash                      always
//!  signatures     each checkpoint is signed with the key that the     with audit's public key
//!                 log names there, the last one with a given one
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::slice;
use std::time::Duration;

use audit_core::{ChainKey, Entry, Kind, Own, Positions};
use portcullis_domain::{EnvelopeId, Hash, PrincipalName, Timestamp};
use portcullis_wire::messages::{Checkpoint, Message};
use portcullis_wire::{FRAME_LENGTH_MAX, FrameError, Header, Placed, Signed, Verifying, codec};
use serde::Serialize;

use crate::log::{LogError, Problem, Stated, Walker};

/// Why a log does not verify, with the entry, the file and the byte.
pub type VerifyError = LogError;

/// What to verify a log with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Audit's chain key; without it the MACs are not checked.
    pub chain_key: Option<ChainKey>,
    /// Audit's public keys; without one the checkpoints' signatures are not checked. The last
    /// checkpoint must be signed with one of them, and each earlier one with the key that the log
    /// names there, for which the last one vouches.
    pub audit_keys: Vec<Verifying>,
    /// How long a writer that is at work may take to finish a write. Zero for a log that nobody
    /// writes; anything unfinished is an error then, and otherwise after this time.
    pub patience: Duration,
}

/// One start of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Who.
    pub source: PrincipalName,
    /// Which start.
    pub boot: u64,
    /// The last place that is recorded or named as missing.
    pub last: u64,
    /// How many facts are named as missing and did not come late.
    pub missing: u64,
}

/// Facts that neither the bus nor the stream brought in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapReport {
    /// The number of the entry that names them.
    pub entry: u64,
    /// Whose.
    pub source: PrincipalName,
    /// Of which start.
    pub boot: u64,
    /// The first that was missing.
    pub from: u64,
    /// The last that was missing.
    pub to: u64,
}

/// What a verified log holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many entries.
    pub entries: u64,
    /// How many bytes they have, with their hashes.
    pub bytes: u64,
    /// The hash of the last one.
    pub head: Hash,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// The last one.
    pub last_checkpoint: Option<Checkpoint>,
    /// Whether the MACs were checked.
    pub macs_checked: bool,
    /// Whether the checkpoints' signatures were checked.
    pub signatures_checked: bool,
    /// How many gaps are recorded.
    pub gaps: u64,
    /// The first gaps, at most [`Report::GAPS_LISTED_MAX`].
    pub gaps_listed: Vec<GapReport>,
    /// How many violations are recorded, one by one or in a count.
    pub violations: u64,
    /// How many denials of the bus server are recorded, one by one or in a count.
    pub bus_denied: u64,
    /// How many entries there are on each subject.
    pub subjects: BTreeMap<String, u64>,
    /// Every start of every source.
    pub sources: Vec<SourceReport>,
}

impl Report {
    /// The most gaps that are listed.
    pub const GAPS_LISTED_MAX: usize = 1_000;
}

/// Verifies the log in a folder, from its first entry to its last.
///
/// # Errors
/// [`VerifyError`], at the first entry that does not hold.
pub fn verify(folder: &Path, options: &Options) -> Result<Report, VerifyError> {
    let mut stated = match Stated::open(folder, options.patience) {
        Err(error) if Walker::new(folder, None, Duration::ZERO)?.is_empty() => {
            drop(error);
            return Err(LogError::Empty(folder.into()));
        }
        other => other?,
    };
    let mut walker = Walker::new(folder, options.chain_key.clone(), options.patience)?;
    let mut tally = Tally::default();
    let given = &options.audit_keys;
    let mut named: Option<Verifying> = None;
    while let Some((entry, hash)) = walker.next()? {
        let number = entry.index;
        if let Err(problem) = tally.take(&entry) {
            return Err(walker.damaged(number, problem));
        }
        if let Some(key) = key_named(&entry) {
            named = Some(key.map_err(|problem| walker.damaged(number, problem))?);
        }
        stated.compare(number, hash, |signed| match &named {
            _ if given.is_empty() => Ok(()),
            Some(key) => signed_by(signed, slice::from_ref(key)),
            None => signed_by(signed, given),
        })?;
    }
    let size = walker.size();
    match walker.end() {
        None => return Err(LogError::Empty(folder.into())),
        Some(end) if end.torn > 0 => {
            return Err(walker.damaged(size, Problem::Unfinished(end.torn)));
        }
        Some(_) => {}
    }
    stated.beyond(size)?;
    // The log names its keys itself: only a key from elsewhere says that it is audit's log.
    if let Some((last, signed)) = stated.last()
        && !given.is_empty()
        && signed_by(signed, given).is_err()
    {
        return Err(stated.damaged(last.size, Problem::CheckpointKey));
    }
    let sources = tally.positions.iter().map(|(source, boot, position)| {
        let missing = position
            .missing()
            .map(|(from, to)| to.saturating_sub(from).saturating_add(1));
        let missing = missing.fold(0, u64::saturating_add);
        SourceReport {
            source,
            boot,
            last: position.next().saturating_sub(1),
            missing,
        }
    });
    Ok(Report {
        entries: size,
        bytes: walker.bytes(),
        head: walker.head(),
        checkpoints: stated.count(),
        last_checkpoint: stated.last().map(|(checkpoint, _)| *checkpoint),
        macs_checked: options.chain_key.is_some(),
        signatures_checked: !given.is_empty(),
        gaps: tally.gaps,
        sources: sources.collect(),
        gaps_listed: tally.gaps_listed,
        violations: tally.violations,
        bus_denied: tally.bus_denied,
        subjects: tally.subjects,
    })
}

/// The key that an entry of audit's own names for the checkpoints from here on.
fn key_named(entry: &Entry<'_>) -> Option<Result<Verifying, Problem>> {
    if entry.kind != Kind::Own {
        return None;
    }
    let Ok(Own::Key { key }) = Own::read(entry.content) else {
        return None;
    };
    Some(Verifying::from_bytes(&key.0).map_err(|_| Problem::Key))
}

fn signed_by(signed: &Signed<Checkpoint>, keys: &[Verifying]) -> Result<(), Problem> {
    let is_signed = keys.iter().any(|key| signed.verify(key).is_ok());
    is_signed.then_some(()).ok_or(Problem::CheckpointSignature)
}

#[derive(Default)]
struct Tally {
    positions: Positions,
    subjects: BTreeMap<String, u64>,
    gaps: u64,
    gaps_listed: Vec<GapReport>,
    violations: u64,
    bus_denied: u64,
}

impl Tally {
    fn take(&mut self, entry: &Entry<'_>) -> Result<(), Problem> {
        let own = self.positions.observe(entry).map_err(Problem::Misplaced)?;
        let denied = own.as_ref().map_or(0, Own::bus_denied);
        self.bus_denied = self.bus_denied.saturating_add(denied);
        match own {
            None => {
                if !Placed::inspect(entry.content).is_ok_and(|placed| says_the_same(entry, &placed))
                {
                    return Err(Problem::Envelope);
                }
            }
            Some(Own::Started { .. } | Own::Key { .. } | Own::Silence { .. }) => {}
            Some(Own::Gap {
                source,
                boot,
                from,
                to,
            }) => {
                self.gaps = self.gaps.saturating_add(1);
                if self.gaps_listed.len() < Report::GAPS_LISTED_MAX {
                    self.gaps_listed.push(GapReport {
                        entry: entry.index,
                        source,
                        boot,
                        from,
                        to,
                    });
                }
            }
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
        match self.subjects.get_mut(entry.subject) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                self.subjects.insert(entry.subject.into(), 1);
            }
        }
        Ok(())
    }
}

fn says_the_same(entry: &Entry<'_>, placed: &Placed<'_>) -> bool {
    entry.subject == placed.subject
        && entry.source.as_str() == placed.source
        && entry.boot == placed.boot
        && entry.seq == placed.seq
        && entry.id == placed.id
}

/// An entry of a log, with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedEntry {
    /// Its number, from 0.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
    /// When it was received, by audit's clock.
    pub received_at: Timestamp,
    /// What it holds.
    pub kind: Kind,
    /// The subject it came on; `audit.…` for audit's own.
    pub subject: String,
    /// Who sealed it.
    pub source: PrincipalName,
    /// Which start of the source it comes from.
    pub boot: u64,
    /// Its place among all facts of that start, from 1.
    pub seq: u64,
    /// The envelope's id; zeroes for audit's own.
    pub id: EnvelopeId,
    /// The sealed frame, or audit's own words.
    pub content: Vec<u8>,
}

impl OwnedEntry {
    /// What audit itself says; `None` for a fact.
    #[must_use]
    pub fn own(&self) -> Option<Own> {
        match self.kind {
            Kind::Own => Own::read(&self.content).ok(),
            Kind::Fact => None,
        }
    }
}

/// The entries of a log, with the chain checked on the way (nothing else: that is [`verify`]). Ends
/// after the first error.
///
/// # Errors
/// [`VerifyError`] when the folder cannot be read.
pub fn entries(folder: &Path) -> Result<Entries, VerifyError> {
    let walker = Walker::new(folder, None, Duration::from_secs(1))?;
    Ok(Entries {
        walker: Some(walker),
    })
}

/// See [`entries`].
#[derive(Debug)]
pub struct Entries {
    walker: Option<Walker>,
}

impl Iterator for Entries {
    type Item = Result<OwnedEntry, VerifyError>;

    fn next(&mut self) -> Option<Self::Item> {
        let walker = self.walker.as_mut()?;
        let next = walker.next().map(|next| {
            next.map(|(entry, hash)| OwnedEntry {
                index: entry.index,
                hash,
                received_at: entry.received_at,
                kind: entry.kind,
                subject: entry.subject.into(),
                source: entry.source,
                boot: entry.boot,
                seq: entry.seq,
                id: entry.id,
                content: entry.content.into(),
            })
        });
        if !matches!(next, Ok(Some(_))) {
            self.walker = None;
        }
        next.transpose()
    }
}

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not a frame.
    #[error("read a frame")]
    Frame(#[source] FrameError),
    /// It holds another kind of message.
    #[error("frame holds a {found}, not a {wanted}")]
    Kind {
        /// What it says it holds.
        found: String,
        /// What it was read as.
        wanted: &'static str,
    },
    /// Its body is not such a message.
    #[error("read the body of a {0}")]
    Body(&'static str, #[source] codec::CodecError),
}

/// Reads the message in a recorded frame **without any look at its seals**: audit verified them when
/// it recorded the frame, and the chain vouches for the bytes since. Never for a frame that just
/// came.
///
/// # Errors
/// [`ReadError`] when it is no frame with such a message.
pub fn read_unsealed<M: Message>(frame: &[u8]) -> Result<(Header, M), ReadError> {
    let (header, body) = portcullis_wire::inspect(frame).map_err(ReadError::Frame)?;
    if header.kind != M::KIND {
        return Err(ReadError::Kind {
            found: header.kind,
            wanted: M::KIND,
        });
    }
    let message = codec::decode(body, FRAME_LENGTH_MAX);
    message
        .map(|message| (header, message))
        .map_err(|cause| ReadError::Body(M::KIND, cause))
}
