//! The writer's own thread.

use std::time::Duration;

use super::*;
use crate::log::{Progress, Writer};

/// Waits until the writer says that so many entries are on disk, or that it failed.
async fn until(progress: &mut tokio::sync::watch::Receiver<Progress>, size: u64) -> Progress {
    let reached = |progress: &Progress| match progress {
        Progress::Durable(durable) => *durable >= size,
        Progress::Failed(_) => true,
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), progress.wait_for(reached)).await;
    (*waited.unwrap().unwrap()).clone()
}

#[tokio::test]
async fn what_is_said_to_be_on_disk_is_there() {
    let mut rig = Rig::with_segments(1 << 20);
    let folder = rig.path().to_owned();
    let groups: Vec<_> = (1..40).map(|count| rig.records(count)).collect();
    let Rig {
        folder: kept,
        world,
        log,
        chain,
        ..
    } = rig;
    let writer = Writer::start(log).unwrap();
    let mut progress = writer.progress();
    for group in groups {
        writer.append(group).await.unwrap();
    }
    let (size, head) = (chain.size(), chain.head());
    let signed = world.signed(
        "audit",
        &Checkpoint {
            size,
            head,
            at: NOW,
        },
    );
    writer
        .append_checkpoint(codec::encode(&signed).unwrap())
        .await
        .unwrap();
    let said = until(&mut progress, size).await;
    assert!(
        matches!(said, Progress::Durable(durable) if durable == size),
        "{said:?}"
    );
    drop(writer);
    let options = Options {
        chain_key: Some(key()),
        ..Options::default()
    };
    let report = verify(&folder, &options).unwrap();
    assert_eq!(
        (report.entries, report.head, report.checkpoints),
        (size, head, 1)
    );
    drop(kept);
}

#[tokio::test]
async fn a_log_that_is_being_written_verifies_at_any_time() {
    let mut rig = Rig::with_segments(64 << 10);
    let folder = rig.path().to_owned();
    let groups: Vec<_> = (0..200).map(|_| rig.records(5)).collect();
    let Rig {
        folder: kept, log, ..
    } = rig;
    let writer = Writer::start(log).unwrap();
    let mut progress = writer.progress();
    let reader = std::thread::spawn(move || {
        let options = Options {
            chain_key: Some(key()),
            patience: Duration::from_secs(20),
            ..Options::default()
        };
        let mut seen = Vec::new();
        while seen.last().is_none_or(|entries| *entries < 1_000) {
            seen.push(verify(&folder, &options).unwrap().entries);
        }
        seen
    });
    for group in groups {
        writer.append(group).await.unwrap();
    }
    until(&mut progress, 1_000).await;
    let seen = reader.join().unwrap();
    assert!(seen.is_sorted(), "{seen:?}");
    drop(kept);
}

#[tokio::test]
async fn a_disk_that_fails_stops_the_writer_and_is_named() {
    let mut rig = Rig::new();
    let fits = rig.records(2);
    let mut malformed = rig.records(1);
    malformed.pop();
    let Rig {
        folder: kept, log, ..
    } = rig;
    let writer = Writer::start(log).unwrap();
    let mut progress = writer.progress();
    writer.append(fits).await.unwrap();
    until(&mut progress, 2).await;
    writer.append(malformed).await.unwrap();
    let said = until(&mut progress, 3).await;
    let Progress::Failed(error) = said else {
        panic!("{said:?}")
    };
    assert!(matches!(*error, LogError::Record(_)), "{error}");
    assert!(writer.append(vec![0; 8]).await.is_err());
    drop(kept);
}
