//! From the proposal to the venue request, through five services over TLS, against bare messages over
//! the same hops plus the same disk syncs side by side; and what the services take of memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use portcullis_domain::{Side, StrategyId, Symbol, TimeInForce};
use portcullis_runtime::Client;
use portcullis_wire::messages::{Proposal, Size};
use portcullis_wire::order_id;
use portcullis_wire::principal::Strategy;
use portcullis_wire::subjects::{BOOK, PROPOSAL};

use crate::bare;
use crate::figure::{Aim, Figure, percentile};
use crate::stack::Stack;

/// Orders a second, and for how many seconds.
const RATES: [(u64, u64); 4] = [(40, 10), (100, 10), (250, 8), (1_000, 8)];
/// A side is kept for so long, so that no order meets one of ours that is still on its way.
const SIDE_MILLIS: u64 = 1_000;
const RESTING: usize = 10_000;
const RESTING_PER_SECOND: u64 = 250;
const MEGABYTES_MAX: f64 = 40.0;

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
        for (per_second, seconds) in RATES {
            let orders = usize::try_from(per_second * seconds)?;
            let bare = runtime.block_on(bare::run(scratch, orders, per_second))?;
            let sent =
                runtime.block_on(propose(&identity, &stack.bus(), orders, per_second, false))?;
            let ours = arrivals(&stack, &sent)?;
            figures.append(&mut compare(per_second, sent.len(), ours, bare));
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

/// How long orders took and how many of them came, against the bare way at the same rate.
fn compare(per_second: u64, sent: usize, mut ours: Timed, mut bare: Timed) -> Vec<Figure> {
    let note = format!("{} of {sent} orders at {per_second}/s", ours.micros.len());
    let times = [(50, 1.3), (99, 2.0)].map(|(percent, aim)| {
        Figure::new(
            format!("proposal to venue request, p{percent} ({note})"),
            percentile(&mut ours.micros, percent),
            "us",
            Some((
                "bare messages + concurrent syncs",
                percentile(&mut bare.micros, percent),
            )),
            Aim::RatioAtMost(aim),
        )
    });
    let carried = Figure::new(
        format!("  carried of {per_second} orders/s"),
        ours.per_second(),
        "/s",
        Some(("the same of the bare way", bare.per_second())),
        Aim::RatioAtLeast(0.95),
    );
    times.into_iter().chain([carried]).collect()
}

/// How long each took that came, and how long it was from the first to the last to come.
pub struct Timed {
    pub micros: Vec<f64>,
    pub span: Duration,
}

impl Timed {
    fn per_second(&self) -> f64 {
        let intervals = self.micros.len().saturating_sub(1);
        intervals as f64 / self.span.as_secs_f64().max(1e-9)
    }
}

/// The repository's settings with the limits that so many orders need.
fn settings(folder: &Path) -> Result<PathBuf> {
    let target = crate::stack::settings_with_slow_breakers(folder, &[]);
    for entry in std::fs::read_dir(&target)? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        // The most that each takes: the signer signs 1,000 orders a second and no more.
        let is_signer = path.file_name().is_some_and(|name| name == "signer.toml");
        let per_second = if is_signer { "1000" } else { "2000" };
        let raised = text.lines().map(|line| raised(line, per_second));
        let raised = raised.collect::<Vec<_>>().join("\n");
        std::fs::write(path, raised)?;
    }
    Ok(target)
}

/// One line of the settings, far above what the orders need where it is one of the limits that they meet.
fn raised(line: &str, per_second: &str) -> String {
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
        "same_order_ms" => "1",
        key if key.ends_with("_per_second_max") => per_second,
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
                let turn = if rest { 1 } else { usize::try_from(per_second * SIDE_MILLIS / 1_000)? };
                let side = if sent.len() / turn % 2 == 0 { Side::Buy } else { Side::Sell };
                let quantity = 5 + sent.len() % 7;
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

/// How long it took from each proposal to its request at the exchange.
fn arrivals(stack: &Stack, sent: &[(String, u64)]) -> Result<Timed> {
    let requests = stack.exchange("/admin/requests");
    let at = requests
        .get("firstAtMicros")
        .and_then(serde_json::Value::as_object);
    let at = at.context("arrivals")?;
    let arrived: Vec<(u64, u64)> = sent
        .iter()
        .filter_map(|(order, sent_at)| Some((*sent_at, at.get(order)?.as_u64()?)))
        .collect();
    let times = arrived.iter().map(|(_, at)| *at);
    let first = times.clone().min().with_context(|| {
        let (_, status) = stack.portcullis(&["status"]);
        format!("no order arrived: {status}")
    })?;
    let last = times.max().unwrap_or(first);
    Ok(Timed {
        micros: arrived
            .iter()
            .map(|(sent_at, at)| *at as f64 - *sent_at as f64)
            .collect(),
        span: Duration::from_micros(last.saturating_sub(first)),
    })
}
