//! From the proposal to the venue request, through five services over TLS, against bare messages over
//! the same hops plus the same disk syncs side by side; and what the services take of memory.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use portcullis_domain::{EnvelopeId, Side, StrategyId, Symbol, TimeInForce};
use portcullis_runtime::{Client, Raw};
use portcullis_testkit::bus::BusServer;
use portcullis_wire::messages::{Proposal, Size};
use portcullis_wire::principal::{Audit, Brain, Execution, Principal, RiskGuard, Signer, Strategy};
use portcullis_wire::subjects::{
    BOOK, ORDER, PERMIT, PERMIT_TAKEN, PROPOSAL, RECEIPT, SIGN, SIGNATURE, Subject,
};
use portcullis_wire::{Sealed, order_id};
use tokio::sync::{mpsc, oneshot};

use crate::figure::{Aim, Figure, percentile};
use crate::stack::Stack;

const ORDERS: usize = 400;
const PER_SECOND: u64 = 40;
const RESTING: usize = 10_000;
const RESTING_PER_SECOND: u64 = 250;
const MEGABYTES_MAX: f64 = 40.0;

/// The sizes of the frames on the way, as they really are (see the golden vectors).
const ORDER_BYTES: usize = 700;
const PERMIT_BYTES: usize = 1_100;
const FACT_BYTES: usize = 1_400;
const ANSWER_BYTES: usize = 500;

pub fn run(scratch: &Path, memory: bool) -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let folder = tempfile::TempDir::new_in(scratch)?;
    let config = settings(folder.path())?;
    let stack = Stack::start(
        &config,
        &[
            "--exchange-argument=--order-rate-per-second=1000",
            "--exchange-argument=--query-rate-per-second=1000",
            "--exchange-argument=--address-rate-per-5s=1000000",
            "--exchange-argument=--open-orders-max=50000",
        ],
    );
    let identity = stack.folder().join("identity/strategy-sample");
    let mut figures = Vec::new();
    if !memory {
        let mut before = runtime.block_on(bare(scratch))?;
        let sent = runtime.block_on(propose(&identity, &stack.bus(), ORDERS, PER_SECOND, false))?;
        let mut ours = arrivals(&stack, &sent)?;
        let mut bare = runtime.block_on(bare(scratch))?;
        bare.append(&mut before);
        let note = format!("{} orders at {PER_SECOND}/s", ours.len());
        for (percent, aim) in [(50, 1.3), (99, 2.0)] {
            figures.push(Figure::new(
                format!("proposal to venue request, p{percent} ({note})"),
                percentile(&mut ours, percent),
                "us",
                Some((
                    "bare messages + concurrent syncs",
                    percentile(&mut bare, percent),
                )),
                Aim::RatioAtMost(aim),
            ));
        }
    } else {
        runtime.block_on(propose(
            &identity,
            &stack.bus(),
            RESTING,
            RESTING_PER_SECOND,
            true,
        ))?;
        let (_, status) = stack.portcullis(&["status"]);
        let open = status
            .get("orders_open")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_default();
        for service in [
            "brain",
            "risk-guard",
            "execution",
            "signer",
            "audit",
            "market-data",
        ] {
            let pid = stack.pid(service).context("a process id")?;
            figures.push(Figure::new(
                format!("resident memory of {service}, {open} orders open"),
                resident_megabytes(pid)?,
                "MB",
                None,
                Aim::ValueAtMost(MEGABYTES_MAX),
            ));
        }
    }
    Ok(figures)
}

/// The repository's settings with the limits that so many orders need.
fn settings(folder: &Path) -> Result<PathBuf> {
    let target = crate::stack::settings_with_slow_breakers(folder, &[]);
    for entry in std::fs::read_dir(&target)? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let raised = text.lines().map(raised).collect::<Vec<_>>().join("\n");
        std::fs::write(path, raised)?;
    }
    Ok(target)
}

/// One line of the settings, far above what the orders need where it is one of the limits that they meet.
fn raised(line: &str) -> String {
    let Some((key, _)) = line.split_once(" = ") else {
        return line.to_owned();
    };
    let value = match key {
        "orders_open_max" | "orders_pending_max" | "orders_remembered_max" => "20000",
        "position_notional_max" | "gross_exposure_max" | "net_exposure_max" | "exposure_max" => {
            "\"1000000\""
        }
        "leverage_max" | "concentration_max" => "1000000",
        "requests_per_5s" => "100000",
        "repeated_fills_max" => "10000",
        key if key.ends_with("_per_second_max") => "1000",
        _ => return line.to_owned(),
    };
    format!("{key} = {value}")
}

fn resident_megabytes(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("VmRSS")?;
    let kilobytes: f64 = line
        .split_whitespace()
        .nth(1)
        .context("a number")?
        .parse()?;
    Ok(kilobytes / 1024.0)
}

/// Proposes and answers with the order ids and when each proposal was handed to the bus, in
/// microseconds since the epoch.
async fn propose(
    identity: &Path,
    bus: &str,
    count: usize,
    per_second: u64,
    rest: bool,
) -> Result<Vec<(String, u64)>> {
    let client = Client::<Strategy>::connect(identity, bus).await?;
    let strategy = StrategyId::new("sample")?;
    let mut books = client.listen(&[(BOOK.row, Some("XRPUSDT"))], 64).await?;
    let mut turns = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
    let mut best = None;
    let mut sent = Vec::with_capacity(count);
    while sent.len() < count {
        tokio::select! {
            Some(raw) = books.recv() => {
                if let Some(book) = client.open(&BOOK, &raw).and_then(|received| received.fresh()) {
                    let book = book.message();
                    best = book.best_for(Side::Buy).zip(book.best_for(Side::Sell));
                }
            }
            _ = turns.tick() => {
                let Some((ask, bid)) = best else { continue };
                // An order that crosses must not meet one of ours that is still on its way: a side is kept for
                // a while. And no two in a row are the same, which would be taken for a mistake.
                let turn = if rest { 1 } else { 40 };
                let side = if sent.len() / turn % 2 == 0 { Side::Buy } else { Side::Sell };
                let quantity = 5 + sent.len() % 5;
                let distance = portcullis_domain::Bps::new(80)?;
                let away = if side == Side::Buy { bid.lowered(distance)? } else { ask.raised(distance)? };
                let proposal = Proposal {
                    symbol: Symbol::new("XRPUSDT")?,
                    side,
                    size: Size::Quantity(quantity.to_string().parse()?),
                    limit_price: rest.then_some(away),
                    time_in_force: if rest {
                        TimeInForce::GoodTillCancel
                    } else {
                        TimeInForce::ImmediateOrCancel
                    },
                    reduce_only: false,
                };
                let now = client.now().0;
                let sealed = client.publish(&PROPOSAL, Some(strategy.as_str()), &proposal, None, None)?;
                sent.push((order_id(strategy, sealed.id).to_string(), now));
            }
        }
    }
    client.flush().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.close().await;
    Ok(sent)
}

/// Microseconds from each proposal to its request at the exchange.
fn arrivals(stack: &Stack, sent: &[(String, u64)]) -> Result<Vec<f64>> {
    let requests = stack.exchange("/admin/requests");
    let at = requests
        .get("firstAtMicros")
        .and_then(serde_json::Value::as_object);
    let at = at.context("arrivals")?;
    let ours: Vec<f64> = sent
        .iter()
        .filter_map(|(order, sent_at)| Some(at.get(order)?.as_u64()? as f64 - *sent_at as f64))
        .collect();
    anyhow::ensure!(
        ours.len() * 10 >= sent.len() * 9,
        "only {} orders arrived: {}",
        ours.len(),
        stack.portcullis(&["status"]).1
    );
    Ok(ours)
}

/// One participant of the bare way: its connection.
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

/// A file that grows by synced records, on a thread of its own as the services have it.
fn disk(scratch: &Path, name: &str, bytes: usize) -> Result<mpsc::Sender<oneshot::Sender<()>>> {
    let path = scratch.join(format!("bare-{name}-{}", std::process::id()));
    let file: File = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    file.write_all_at(&vec![0; 8 << 20], 0)?;
    file.sync_all()?;
    let (asks, mut queue) = mpsc::channel::<oneshot::Sender<()>>(64);
    std::thread::spawn(move || {
        let record = vec![0x5a; bytes];
        let mut at = 0;
        while let Some(done) = queue.blocking_recv() {
            let written = file
                .write_all_at(&record, at)
                .and_then(|()| file.sync_data());
            at = (at + bytes as u64) % (7 << 20);
            if written.is_err() || done.send(()).is_err() {
                return;
            }
        }
    });
    Ok(asks)
}

async fn synced(disk: &mpsc::Sender<oneshot::Sender<()>>) {
    let (done, waits) = oneshot::channel();
    if disk.send(done).await.is_ok() {
        let _ = waits.await;
    }
}

/// Passes every message on, after a sync where there is a disk.
async fn relay<P: Principal>(
    client: Client<P>,
    row: &'static portcullis_wire::subjects::Row,
    disk: Option<mpsc::Sender<oneshot::Sender<()>>>,
    answer: Sealed,
) -> Result<()> {
    let name = row.pattern.contains('*').then_some("sample");
    let mut inbox = client.listen(&[(row, name)], 64).await?;
    tokio::spawn(async move {
        while inbox.recv().await.is_some() {
            if let Some(disk) = &disk {
                synced(disk).await;
            }
            if client.send(answer.clone()).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Microseconds of bare messages over the same hops, with the same syncs side by side.
async fn bare(scratch: &Path) -> Result<Vec<f64>> {
    let server = BusServer::start().await;
    let strategy: Client<Strategy> = join(&server, "strategy-sample").await?;
    relay::<Brain>(
        join(&server, "brain").await?,
        PROPOSAL.row,
        None,
        message(&ORDER, ORDER_BYTES),
    )
    .await?;
    let permit = message(&PERMIT, PERMIT_BYTES);
    relay::<RiskGuard>(join(&server, "risk-guard").await?, ORDER.row, None, permit).await?;
    let signed = message(&SIGNATURE, ANSWER_BYTES);
    let signer_disk = disk(scratch, "signer", 128)?;
    relay::<Signer>(
        join(&server, "signer").await?,
        SIGN.row,
        Some(signer_disk),
        signed,
    )
    .await?;
    let receipt = message(&RECEIPT, ANSWER_BYTES);
    let audit_disk = disk(scratch, "audit", FACT_BYTES)?;
    relay::<Audit>(
        join(&server, "audit").await?,
        PERMIT_TAKEN.row,
        Some(audit_disk),
        receipt,
    )
    .await?;

    let execution: Client<Execution> = join(&server, "execution").await?;
    let own_disk = disk(scratch, "execution", FACT_BYTES)?;
    let mut permits = execution.listen(&[(PERMIT.row, None)], 64).await?;
    let mut answers = execution
        .listen(&[(SIGNATURE.row, None), (RECEIPT.row, None)], 64)
        .await?;
    let execution = Arc::new(execution);
    let mut turns = tokio::time::interval(Duration::from_micros(1_000_000 / PER_SECOND));
    let mut times = Vec::with_capacity(ORDERS);
    for _ in 0..ORDERS / 2 {
        turns.tick().await;
        let begun = Instant::now();
        strategy.send(message(&PROPOSAL, ANSWER_BYTES))?;
        let _: Raw = permits.recv().await.context("a permit")?;
        execution.send(message(&PERMIT_TAKEN, FACT_BYTES))?;
        execution.send(message(&SIGN, FACT_BYTES))?;
        let both = async {
            let _ = answers.recv().await;
            let _ = answers.recv().await;
        };
        tokio::join!(synced(&own_disk), both);
        times.push(micros(begun));
    }
    Ok(times)
}

fn micros(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}
