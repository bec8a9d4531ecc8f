//! The audit log: durable entries against raw group commits of the same bytes, and verifying against
//! SHA-256 of the same bytes.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use audit::log::Log;
use audit::verify;
use audit_core::{Chain, ChainKey, Draft, Kind};
use portcullis_domain::PrincipalName;
use portcullis_testkit::World;
use portcullis_testkit::seals::{NOW, order};
use portcullis_wire::messages::PermitTaken;
use portcullis_wire::subjects::PERMIT_TAKEN;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::figure::{Aim, Figure, percentile};

/// Entries that one sync makes durable, as under a load of some thousand facts a second.
const GROUP: usize = 64;
const GROUPS: usize = 200;
const ROUNDS: usize = 5;
const SEGMENT_BYTES: u64 = 32 << 20;

/// Measured in the current folder's target, which is on a disk; a temporary folder may be memory.
pub fn run(scratch: &Path) -> Result<Vec<Figure>> {
    let mut world = World::new(NOW);
    let permit = world.permit(NOW, &order(1, NOW)).frame;
    let taken = PermitTaken {
        order: order(1, NOW).id,
        permit,
    };
    let source = PrincipalName::new("execution")?;
    let frames: Vec<_> = (0..GROUP * GROUPS)
        .map(|_| world.seal(NOW, &PERMIT_TAKEN, None, &taken))
        .collect();
    let key = ChainKey::from_bytes(&[7; 32])?;

    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    let mut log_folder = None;
    for _ in 0..ROUNDS {
        let folder = TempDir::new_in(scratch)?;
        let opened = Log::open(folder.path(), SEGMENT_BYTES, &key, None)?;
        let (mut log, mut chain) = (opened.log, opened.chain);
        let mut bytes = 0;
        let begun = Instant::now();
        for (group, sealed) in frames.chunks(GROUP).enumerate() {
            let drafts: Vec<Draft<'_>> = sealed
                .iter()
                .enumerate()
                .map(|(index, sealed)| Draft {
                    received_at: NOW,
                    kind: Kind::Fact,
                    subject: &sealed.subject,
                    source: &source,
                    boot: NOW.0,
                    seq: (group * GROUP + index + 1) as u64,
                    id: sealed.id,
                    content: &sealed.frame,
                })
                .collect();
            bytes = append(&mut log, &mut chain, &drafts)?;
        }
        ours.push(per_second(begun));
        drop(log);

        // The bare thing: the same number of bytes in the same groups, into a file that is
        // zero-filled beforehand in the same way.
        let path = folder.path().join("raw");
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(&path)?;
        let zeroes = vec![0; 1 << 20];
        for _ in 0..(bytes * GROUPS).div_ceil(zeroes.len()) {
            file.write_all(&zeroes)?;
        }
        file.sync_all()?;
        let group = vec![0x5a; bytes];
        let begun = Instant::now();
        for number in 0..GROUPS {
            file.write_all_at(&group, (number * bytes) as u64)?;
            file.sync_data()?;
        }
        raw.push(per_second(begun));
        log_folder = Some(folder);
    }
    let folder = log_folder.context("a log")?;

    let options = verify::Options {
        chain_key: Some(key),
        ..verify::Options::default()
    };
    let mut verified = Vec::new();
    let mut bare = Vec::new();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        bytes = verify::verify(folder.path(), &options)?.bytes;
        verified.push(begun.elapsed().as_secs_f64());
        let content = vec![0x5a; usize::try_from(bytes)?];
        let begun = Instant::now();
        std::hint::black_box(Sha256::digest(&content));
        bare.push(begun.elapsed().as_secs_f64());
    }
    let rate = |times: &mut [f64]| bytes as f64 / percentile(times, 50) / 1e6;
    Ok(vec![
        Figure::new(
            format!("audit, durable entries ({GROUP} a sync)"),
            percentile(&mut ours, 50),
            "/s",
            Some((
                "raw write + fdatasync, same bytes",
                percentile(&mut raw, 50),
            )),
            Aim::RatioAtLeast(0.7),
        ),
        Figure::new(
            "audit verify, with MACs",
            rate(&mut verified),
            "MB/s",
            Some(("SHA-256 of the same bytes", rate(&mut bare))),
            Aim::RatioAtLeast(0.5),
        ),
    ])
}

fn append(log: &mut Log, chain: &mut Chain, drafts: &[Draft<'_>]) -> Result<usize> {
    let mut records = Vec::new();
    for draft in drafts {
        chain.append(draft, &mut records)?;
    }
    let length = records.len();
    log.append(&mut records)?;
    Ok(length)
}

fn per_second(begun: Instant) -> f64 {
    (GROUP * GROUPS) as f64 / begun.elapsed().as_secs_f64()
}
