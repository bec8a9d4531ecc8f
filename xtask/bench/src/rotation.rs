//! Keys rotate while orders travel from brain to risk-guard over the real bus: what it costs, and
//! whether anything is lost, or anything of an old key is still taken.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use portcullis_domain::Span;
use portcullis_runtime::identity::store::{Rotation, Store};
use portcullis_runtime::nats_config::development_roster;
use portcullis_runtime::{Client, Inbox};
use portcullis_testkit::bus::BusServer;
use portcullis_testkit::seals::order;
use portcullis_wire::principal::{Brain, Principal, RiskGuard};
use portcullis_wire::subjects::ORDER;

use crate::figure::{Aim, Figure, percentile};

const MESSAGES: usize = 6_000;
/// A thousand messages a second.
const PACE: Duration = Duration::from_millis(1);
/// After a second, keys are rotated; two seconds later the new ones seal, and one later the old ones
/// are over.
const ROTATE_AT: usize = 1_000;
const LEAD: Span = Span::from_secs(2);
const OVERLAP: Span = Span::from_secs(1);
const STOLEN: u64 = 1_000;

pub fn run() -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

async fn join<P: Principal>(folder: &Path, server: &BusServer) -> Result<Client<P>> {
    Ok(Client::connect(folder, &server.url()).await?)
}

/// The microseconds of each message, in order.
async fn receive(guard: Client<RiskGuard>, mut inbox: Inbox) -> Vec<f64> {
    let mut times = Vec::with_capacity(MESSAGES);
    while times.len() < MESSAGES {
        let next = tokio::time::timeout(Duration::from_secs(5), inbox.recv()).await;
        let Ok(Some(raw)) = next else { break };
        if let Some(fresh) = guard.open(&ORDER, &raw).and_then(|opened| opened.fresh()) {
            let took = guard.now().since(fresh.header().issued_at);
            times.push(u32::try_from(took.0).map_or(f64::MAX, f64::from));
        }
    }
    times
}

async fn measure() -> Result<Vec<Figure>> {
    let server = BusServer::start_bare(development_roster());
    let brain: Client<Brain> = join(&server.identity("brain"), &server).await?;
    let guard: Client<RiskGuard> = join(&server.identity("risk-guard"), &server).await?;
    let stolen = copy_of(&server.identity("brain"), &server.folder().join("stolen"))?;
    let inbox = guard.listen(&[(ORDER.row, None)], 8_192).await?;
    let receiving = tokio::spawn(receive(guard.clone(), inbox));
    let mut pace = tokio::time::interval(PACE);
    for number in 0..MESSAGES {
        pace.tick().await;
        if number == ROTATE_AT {
            let folder = server.folder().join("identity");
            let rhythm = Rotation {
                emergency: false,
                lead: LEAD,
                overlap: OVERLAP,
            };
            tokio::task::block_in_place(|| Store::open(&folder, None)?.rotate(rhythm))?;
        }
        let order = order(u64::try_from(number)?, brain.now());
        brain.publish(&ORDER, None, &order, None, None)?;
    }
    let mut times = receiving.await?;
    let lost = MESSAGES.saturating_sub(times.len());
    let mut during = times.split_off(ROTATE_AT.min(times.len()));
    let (before, during) = (percentile(&mut times, 99), percentile(&mut during, 99));

    let taken = with_the_old_key(&server, &guard, &stolen).await?;
    let count = |count: usize| u32::try_from(count).map_or(f64::MAX, f64::from);
    Ok(vec![
        Figure::new(
            format!("lost or refused of {MESSAGES} while keys rotate"),
            count(lost),
            "",
            None,
            Aim::ValueAtMost(0.0),
        ),
        Figure::new(
            format!("taken of {STOLEN} with a retired key"),
            count(taken),
            "",
            None,
            Aim::ValueAtMost(0.0),
        ),
        Figure::new(
            "p99 of a message while keys rotate, 1,000 /s",
            during,
            "us",
            Some(("the same before", before)),
            Aim::RatioAtMost(2.0),
        ),
    ])
}

/// How many messages count that a copy of the brain's earlier keys seals, now that they are retired.
async fn with_the_old_key(
    server: &BusServer,
    guard: &Client<RiskGuard>,
    stolen: &Path,
) -> Result<usize> {
    let thief: Client<Brain> = join(stolen, server).await?;
    let mut inbox = guard.listen(&[(ORDER.row, None)], 8_192).await?;
    let begun = Instant::now();
    let (mut sent, mut came, mut taken) = (0_u64, 0_u64, 0_usize);
    while came < STOLEN && begun.elapsed() < Duration::from_secs(20) {
        if sent < STOLEN {
            let order = order(1_000_000_u64.saturating_add(sent), thief.now());
            // Whoever sees its keys retired seals nothing any more; then nothing came of it either.
            if thief.publish(&ORDER, None, &order, None, None).is_err() {
                came = came.saturating_add(1);
            }
            sent = sent.saturating_add(1);
        }
        while let Some(raw) = inbox.try_recv() {
            came = came.saturating_add(1);
            let fresh = guard.open(&ORDER, &raw).and_then(|opened| opened.fresh());
            taken = taken.saturating_add(usize::from(fresh.is_some()));
        }
        tokio::task::yield_now().await;
    }
    anyhow::ensure!(came == STOLEN, "only {came} of {STOLEN} arrived");
    Ok(taken)
}

fn copy_of(folder: &Path, copy: &Path) -> Result<PathBuf> {
    fs::DirBuilder::new().mode(0o700).create(copy)?;
    for file in ["bundle.sealed", "bundle.key"] {
        fs::copy(folder.join(file), copy.join(file)).with_context(|| format!("copy {file}"))?;
    }
    Ok(copy.to_owned())
}
