//! What the way of an order takes at the least: bare messages over the same hops, with the same disk
//! syncs side by side, many orders at once as the services have them.
//!
//! ```text
//!  proposal ─▶ order ─▶ permit ─┬▶ fact ─▶ sync ─▶ receipt ───┬▶ done
//!                               ├▶ sign ─▶ sync ─▶ signature ─┤
//!                               ╰▶ own sync ──────────────────╯
//! ```

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use portcullis_domain::EnvelopeId;
use portcullis_runtime::{Client, Inbox};
use portcullis_testkit::bus::BusServer;
use portcullis_wire::Sealed;
use portcullis_wire::principal::{Audit, Brain, Execution, Principal, RiskGuard, Signer, Strategy};
use portcullis_wire::subjects::{
    ORDER, PERMIT, PERMIT_TAKEN, PROPOSAL, RECEIPT, Row, SIGN, SIGNATURE, Subject,
};
use tokio::sync::{mpsc, oneshot};

use crate::path::Timed;

/// The sizes of the frames on the way, as they really are (see the golden vectors).
const ORDER_BYTES: usize = 700;
const PERMIT_BYTES: usize = 1_100;
const FACT_BYTES: usize = 1_400;
const ANSWER_BYTES: usize = 500;
/// What the signer syncs of each.
const SIGNED_BYTES: usize = 128;
/// The most that wait at one place.
const QUEUE: usize = 4_096;
/// How long the last one may take.
const PATIENCE: Duration = Duration::from_secs(60);

type Disk = mpsc::Sender<oneshot::Sender<()>>;

/// One participant: its connection.
async fn join<P: Principal>(server: &BusServer, name: &str) -> Result<Client<P>> {
    Ok(Client::<P>::connect(&server.identity(name), &server.url()).await?)
}

fn message<P, M>(subject: &Subject<P, M>, bytes: usize) -> Sealed {
    Sealed {
        subject: subject.row.pattern.replace('*', "sample"),
        id: EnvelopeId([0; 16]),
        seq: 0,
        frame: vec![0x5a; bytes],
    }
}

/// A file that grows by synced groups of records, on a thread of its own as the services have it.
fn disk(scratch: &Path, name: &str, bytes: usize) -> Result<Disk> {
    const LENGTH: usize = 8 << 20;
    let path = scratch.join(format!("bare-{name}-{}", std::process::id()));
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    file.write_all_at(&vec![0; LENGTH], 0)?;
    file.sync_all()?;
    let (asks, mut queue) = mpsc::channel::<oneshot::Sender<()>>(QUEUE);
    std::thread::spawn(move || {
        let mut at = 0;
        while let Some(first) = queue.blocking_recv() {
            // Whatever waits by now shares the sync.
            let mut group = vec![first];
            while let Ok(next) = queue.try_recv() {
                group.push(next);
            }
            let records = vec![0x5a; bytes.saturating_mul(group.len())];
            if at + records.len() > LENGTH {
                at = 0;
            }
            let written = file
                .write_all_at(&records, at as u64)
                .and_then(|()| file.sync_data());
            at += records.len();
            if written.is_err() {
                return;
            }
            for done in group {
                let _ = done.send(());
            }
        }
    });
    Ok(asks)
}

/// Asks for a sync; it is done when the answer comes.
async fn sync(disk: &Disk) -> Result<oneshot::Receiver<()>> {
    let (done, waits) = oneshot::channel();
    disk.send(done).await.context("a disk")?;
    Ok(waits)
}

/// Passes every message on, after a sync where there is a disk, in order.
async fn relay<P: Principal>(
    client: Client<P>,
    row: &'static Row,
    disk: Option<Disk>,
    answer: Sealed,
) -> Result<()> {
    let name = row.pattern.contains('*').then_some("sample");
    let mut inbox = client.listen(&[(row, name)], QUEUE).await?;
    let (waiting, mut synced) = mpsc::channel::<Option<oneshot::Receiver<()>>>(QUEUE);
    tokio::spawn(async move {
        while inbox.recv().await.is_some() {
            let waits = match &disk {
                Some(disk) => sync(disk).await.ok(),
                None => None,
            };
            if waiting.send(waits).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(waits) = synced.recv().await {
            if let Some(waits) = waits {
                let _ = waits.await;
            }
            if client.send(answer.clone()).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// When each of so many messages came, in order.
fn moments(mut inbox: Inbox, count: usize) -> tokio::task::JoinHandle<Vec<Instant>> {
    tokio::spawn(async move {
        let mut moments = Vec::with_capacity(count);
        while moments.len() < count && inbox.recv().await.is_some() {
            moments.push(Instant::now());
        }
        moments
    })
}

/// So many orders at this rate, each timed from its proposal until all three answers are there.
pub async fn run(scratch: &Path, orders: usize, per_second: u64) -> Result<Timed> {
    let server = BusServer::start().await;
    let strategy: Client<Strategy> = join(&server, "strategy-sample").await?;
    let brain = join::<Brain>(&server, "brain").await?;
    relay(brain, PROPOSAL.row, None, message(&ORDER, ORDER_BYTES)).await?;
    let guard = join::<RiskGuard>(&server, "risk-guard").await?;
    relay(guard, ORDER.row, None, message(&PERMIT, PERMIT_BYTES)).await?;
    let signer = join::<Signer>(&server, "signer").await?;
    let signed = message(&SIGNATURE, ANSWER_BYTES);
    let signers = disk(scratch, "signer", SIGNED_BYTES)?;
    relay(signer, SIGN.row, Some(signers), signed).await?;
    let audit = join::<Audit>(&server, "audit").await?;
    let receipt = message(&RECEIPT, ANSWER_BYTES);
    let audits = disk(scratch, "audit", FACT_BYTES)?;
    relay(audit, PERMIT_TAKEN.row, Some(audits), receipt).await?;

    let execution: Client<Execution> = join(&server, "execution").await?;
    let mut permits = execution.listen(&[(PERMIT.row, None)], QUEUE).await?;
    let listen = async |row| execution.listen(&[(row, None)], QUEUE).await;
    let signatures = moments(listen(SIGNATURE.row).await?, orders);
    let receipts = moments(listen(RECEIPT.row).await?, orders);
    let own_disk = disk(scratch, "execution", FACT_BYTES)?;
    let (waiting, mut waits) = mpsc::channel::<oneshot::Receiver<()>>(QUEUE);
    let own = tokio::spawn(async move {
        let mut moments = Vec::with_capacity(orders);
        while let Some(waits) = waits.recv().await {
            let _ = waits.await;
            moments.push(Instant::now());
        }
        moments
    });
    let taking = tokio::spawn(async move {
        for _ in 0..orders {
            permits.recv().await.context("a permit")?;
            execution.send(message(&PERMIT_TAKEN, FACT_BYTES))?;
            execution.send(message(&SIGN, FACT_BYTES))?;
            waiting.send(sync(&own_disk).await?).await?;
        }
        // The connection has to outlive the last answer.
        anyhow::Ok(execution)
    });

    let mut turns = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
    let mut begun = Vec::with_capacity(orders);
    for _ in 0..orders {
        turns.tick().await;
        begun.push(Instant::now());
        strategy.send(message(&PROPOSAL, ANSWER_BYTES))?;
    }
    let all = async {
        let _execution = taking.await??;
        anyhow::Ok([signatures.await?, receipts.await?, own.await?])
    };
    let answers = tokio::time::timeout(PATIENCE, all).await??;
    timed(&begun, &answers)
}

fn timed(begun: &[Instant], [signatures, receipts, own]: &[Vec<Instant>; 3]) -> Result<Timed> {
    let answers = signatures.iter().zip(receipts).zip(own);
    let done: Vec<Instant> = answers
        .map(|((signature, receipt), own)| *signature.max(receipt).max(own))
        .collect();
    anyhow::ensure!(done.len() == begun.len(), "{} came back", done.len());
    let span = done.iter().max().zip(done.iter().min());
    Ok(Timed {
        micros: begun
            .iter()
            .zip(&done)
            .map(|(begun, done)| (*done - *begun).as_secs_f64() * 1e6)
            .collect(),
        span: span.map_or(Duration::ZERO, |(last, first)| *last - *first),
    })
}
