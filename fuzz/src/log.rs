//! A small audit log with its checkpoints, sealed and signed with known keys.

use std::path::Path;

use audit::log::{Log, Opened};
use audit::verify::Options;
use audit_core::{ChainKey, Draft, Kind};
use portcullis_domain::Hash;
use portcullis_testkit::seals::{NOW, World};
use portcullis_wire::messages::{Checkpoint, Notice};
use portcullis_wire::subjects::BRAIN_NOTICE;
use portcullis_wire::{Text, codec, inspect};

use crate::scratch;

/// Room for all entries, and quick to read.
pub const SEGMENT_BYTES: u64 = 4_096;
/// The file of the one segment.
pub const SEGMENT: &str = "segment-00000000000000000000.log";
/// The file of the checkpoints.
pub const CHECKPOINTS: &str = "checkpoints.log";
/// How many entries the log has.
pub const ENTRIES: usize = 6;
/// After how many entries there is a checkpoint.
pub const STATED: [usize; 2] = [2, 4];

/// The log, as it is on disk.
pub struct Made {
    pub segment: Vec<u8>,
    pub checkpoints: Vec<u8>,
    /// The hash of every entry.
    pub hashes: Vec<Hash>,
}

/// The key of the chain.
pub fn chain_key() -> ChainKey {
    ChainKey::from_bytes(&[1; 32]).expect("a key")
}

/// What the log is verified with.
pub fn options(world: &World) -> Options {
    Options {
        chain_key: Some(chain_key()),
        audit_keys: vec![world.verifying("audit")],
        ..Options::default()
    }
}

/// Opens a log as the service does.
pub fn open(folder: &Path, world: &World) -> Result<Opened, audit::log::LogError> {
    let public = world.verifying("audit");
    Log::open(folder, SEGMENT_BYTES, &chain_key(), Some(&public))
}

/// Makes the log; the same bytes every time.
pub fn make(world: &mut World) -> Made {
    let folder = scratch();
    let opened = open(folder.path(), world).expect("a new log");
    let (mut log, mut chain) = (opened.log, opened.chain);
    let mut hashes = Vec::new();
    for number in 1..=ENTRIES {
        let detail = Text::lossy(&format!("notice {number}"));
        let sealed = world.seal(NOW, &BRAIN_NOTICE, None, &Notice::Warning { detail });
        let (header, _) = inspect(&sealed.frame).expect("a frame");
        let draft = Draft {
            received_at: NOW,
            kind: Kind::Fact,
            subject: &header.subject,
            source: &header.source,
            boot: header.boot,
            seq: header.seq,
            id: header.id,
            content: &sealed.frame,
        };
        log.append_group(&mut chain, &[draft]).expect("an entry");
        hashes.push(chain.head());
        if STATED.contains(&number) {
            let checkpoint = Checkpoint {
                size: chain.size(),
                head: chain.head(),
                at: NOW,
            };
            let signed = world.signed("audit", &checkpoint);
            let signed = codec::encode(&signed).expect("a checkpoint");
            log.append_checkpoint(&signed).expect("a checkpoint");
        }
    }
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect("a file of the log");
    Made {
        segment: read(SEGMENT),
        checkpoints: read(CHECKPOINTS),
        hashes,
    }
}
