//! Logs on a real disk: made, torn, damaged, forged, and read again.

mod disk;
mod forgery;
mod keys;
mod recovery;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};

use audit_core::{Chain, ChainKey, Draft, Kind};
use portcullis_domain::{Hash, Timestamp};
use portcullis_testkit::seals::{NOW, World};
use portcullis_wire::messages::{Checkpoint, Notice};
use portcullis_wire::subjects::BRAIN_NOTICE;
use portcullis_wire::{Header, Text, codec, inspect};
use tempfile::TempDir;

use crate::log::{Log, LogError, Opened, Problem};
use crate::verify::{Options, Report, verify};

/// Small, so that a byte-for-byte test is quick.
const SEGMENT: u64 = 8_192;

fn key() -> ChainKey {
    ChainKey::from_bytes(&[1; 32]).unwrap()
}

/// A log of sealed facts in a folder of its own.
struct Rig {
    folder: TempDir,
    world: World,
    log: Log,
    chain: Chain,
    /// The hash of every entry.
    hashes: Vec<Hash>,
}

impl Rig {
    fn new() -> Self {
        Self::with_segments(SEGMENT)
    }

    fn with_segments(segment_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let Opened { log, chain, .. } =
            Log::open(folder.path(), segment_bytes, &key(), None).unwrap();
        Self {
            folder,
            world: World::new(NOW),
            log,
            chain,
            hashes: Vec::new(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn frames(&mut self, count: usize) -> Vec<(Header, Vec<u8>)> {
        let frames = (0..count).map(|number| {
            let detail = Text::lossy(&format!("notice {number}"));
            let sealed = self
                .world
                .seal(NOW, &BRAIN_NOTICE, None, &Notice::Warning { detail });
            (inspect(&sealed.frame).unwrap().0, sealed.frame)
        });
        frames.collect()
    }

    /// Appends so many facts as one group.
    fn append(&mut self, count: usize) {
        let mut records = self.records(count);
        self.log.append(&mut records).unwrap();
    }

    /// The records of so many facts, not yet appended.
    fn records(&mut self, count: usize) -> Vec<u8> {
        let mut records = Vec::new();
        for (header, frame) in self.frames(count) {
            let draft = draft(&header, &frame);
            self.hashes
                .push(self.chain.append(&draft, &mut records).unwrap().hash);
        }
        records
    }

    /// Signs a checkpoint over all entries, as audit does.
    fn checkpoint(&mut self) {
        let checkpoint = Checkpoint {
            size: self.chain.size(),
            head: self.chain.head(),
            at: Timestamp(NOW.0),
        };
        let signed = self.world.signed("audit", &checkpoint);
        self.log
            .append_checkpoint(&codec::encode(&signed).unwrap())
            .unwrap();
    }

    fn options(&self) -> Options {
        let audit_keys = vec![self.world.verifying("audit")];
        Options {
            chain_key: Some(key()),
            audit_keys,
            ..Options::default()
        }
    }

    fn verify(&self) -> Result<Report, LogError> {
        verify(self.path(), &self.options())
    }

    fn segment(&self, first: u64) -> PathBuf {
        self.path().join(format!("segment-{first:020}.log"))
    }

    /// Opens the log again, as a new process does.
    fn reopen(&self) -> Result<Opened, LogError> {
        let public = self.world.verifying("audit");
        Log::open(self.path(), SEGMENT, &key(), Some(&public))
    }
}

fn draft<'a>(header: &'a Header, frame: &'a [u8]) -> Draft<'a> {
    Draft {
        received_at: NOW,
        kind: Kind::Fact,
        subject: &header.subject,
        source: &header.source,
        boot: header.boot,
        seq: header.seq,
        id: header.id,
        content: frame,
    }
}

/// Where each record begins, and where the last one ends.
fn offsets(segment: &[u8]) -> Vec<usize> {
    let mut offsets = vec![0];
    let mut at = 0;
    loop {
        let length = u32::from_be_bytes(segment[at..at + 4].try_into().unwrap());
        if length == 0 {
            return offsets;
        }
        at += 8 + usize::try_from(length).unwrap();
        offsets.push(at);
    }
}

/// Writes the checksums that fit the records, as a forger would.
fn fix_checksums(segment: &mut [u8]) {
    let all = offsets(segment);
    for pair in all.windows(2) {
        let length: [u8; 4] = segment[pair[0]..pair[0] + 4].try_into().unwrap();
        let payload = &segment[pair[0] + 8..pair[1]];
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), payload);
        segment[pair[0] + 4..pair[0] + 8].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The entry and the problem of an error about a damaged log.
#[track_caller]
fn place(result: Result<impl std::fmt::Debug, LogError>) -> (u64, Problem) {
    match result {
        Err(LogError::Damaged { entry, problem, .. }) => (entry, problem),
        other => panic!("not refused for damage: {other:?}"),
    }
}

#[test]
fn a_whole_log_verifies_and_says_what_it_holds() {
    let mut rig = Rig::new();
    rig.append(3);
    rig.checkpoint();
    rig.append(2);
    let report = rig.verify().unwrap();
    assert_eq!(
        (report.entries, report.checkpoints, report.head),
        (5, 1, rig.hashes[4])
    );
    assert_eq!(report.last_checkpoint.unwrap().size, 3);
    assert!(report.macs_checked && report.signatures_checked);
    assert_eq!(report.subjects["evt.brain.notice"], 5);
    let [source] = report.sources.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!(
        (source.source.as_str(), source.last, source.missing),
        ("brain", 5, 0)
    );
    assert_eq!((report.gaps, report.violations), (0, 0));
}

#[test]
fn a_log_goes_on_in_the_next_segment_when_one_is_full() {
    let mut rig = Rig::new();
    for _ in 0..6 {
        rig.append(10);
    }
    rig.checkpoint();
    let report = rig.verify().unwrap();
    assert_eq!(report.entries, 60);
    let names: Vec<_> = fs::read_dir(rig.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("segment-"))
        .collect();
    assert!(names.len() >= 3, "{names:?}");
    let opened = rig.reopen().unwrap();
    assert_eq!(
        (opened.log.size(), opened.chain.head(), opened.cut),
        (60, rig.hashes[59], 0)
    );
}

#[test]
fn the_entries_can_be_read_without_any_key() {
    let mut rig = Rig::new();
    rig.append(2);
    let entries: Vec<_> = crate::verify::entries(rig.path())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        (entries.len(), entries[1].index, entries[1].hash),
        (2, 1, rig.hashes[1])
    );
    let (header, read) = crate::verify::read_unsealed::<Notice>(&entries[1].content).unwrap();
    assert_eq!(
        read,
        Notice::Warning {
            detail: Text::lossy("notice 1")
        }
    );
    assert_eq!(
        (header.source, header.seq),
        (entries[1].source, entries[1].seq)
    );
    let other = crate::verify::read_unsealed::<Checkpointed>(&entries[1].content).unwrap_err();
    assert_eq!(other.to_string(), "frame holds a notice, not a checkpoint");
}

type Checkpointed = portcullis_wire::Signed<Checkpoint>;

#[test]
fn a_folder_without_a_log_is_said_to_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let error = verify(folder.path(), &Options::default()).unwrap_err();
    assert!(matches!(error, LogError::Empty(_)), "{error:?}");
    assert!(
        error.next_step().contains("segment files"),
        "{}",
        error.next_step()
    );
}

#[test]
fn a_fact_that_an_entry_misnames_is_found() {
    let mut rig = Rig::new();
    let (header, frame) = rig.frames(1).remove(0);
    let other = Header {
        seq: 1,
        subject: "evt.brain.decision.sample".into(),
        ..header
    };
    rig.log
        .append_group(&mut rig.chain, &[draft(&other, &frame)])
        .unwrap();
    assert_eq!(place(rig.verify()), (0, Problem::Envelope));
}

#[test]
fn a_fact_out_of_its_place_is_found_by_verify_and_at_the_start() {
    let mut rig = Rig::new();
    let frames = rig.frames(3);
    let drafts = [
        draft(&frames[0].0, &frames[0].1),
        draft(&frames[2].0, &frames[2].1),
    ];
    rig.log.append_group(&mut rig.chain, &drafts).unwrap();
    for found in [place(rig.verify()), place(rig.reopen())] {
        assert_eq!(found.0, 1);
        assert!(matches!(found.1, Problem::Misplaced(_)), "{found:?}");
    }
}
