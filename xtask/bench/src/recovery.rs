//! How long execution takes from a journal of 100,000 orders on disk to a core that is ready, against
//! reading the same bytes plainly.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use execution::history::{History, encode_acknowledged, encode_step};
use execution_core::{Execution, Record, Requests, Settings};
use portcullis_domain::{
    EnvelopeId, Fill, Hash, KillState, OrderStatus, Span, Timestamp, VenueExecutionId, VenueOrderId,
};
use portcullis_runtime::Journal;
use portcullis_testkit::seals::{self, NOW};
use portcullis_wire::Sealed;

use crate::figure::{Aim, Figure, percentile};

const ORDERS: u64 = 100_000;
const ROUNDS: usize = 3;
/// The sizes of the frames that the journal keeps, as they really are (see the golden vectors).
const PERMIT_TAKEN_BYTES: usize = 1_400;
const REPORT_BYTES: usize = 500;
/// The stream acknowledges so many facts at once.
const ACKNOWLEDGED_EVERY: u64 = 64;
/// The journal takes so many orders at once, so that its queue does not fill.
const GROUP: u64 = 100;

pub fn run(scratch: &Path) -> Result<Vec<Figure>> {
    let folder = tempfile::TempDir::new_in(scratch)?;
    let path = folder.path().join("journal");
    write(&path)?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        bytes = std::fs::read(&path)?.len();
        bare.push(millis(begun));
        let begun = Instant::now();
        let core = ready(&path)?;
        ours.push(millis(begun));
        let status = core.status(NOW, Requests::default())?;
        ensure!(
            (status.fills, status.orders_open) == (ORDERS, 0),
            "{} fills, {} open",
            status.fills,
            status.orders_open
        );
    }
    let megabytes = bytes / 1_000_000;
    Ok(vec![Figure::new(
        format!("a core ready from {ORDERS} orders, {megabytes} MB of journal"),
        percentile(&mut ours, 50),
        "ms",
        Some(("reading the same bytes", percentile(&mut bare, 50))),
        Aim::ValueAtMost(2_000.0),
    )])
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn empty() -> Result<Execution> {
    let settings = Settings {
        policy_hash: Hash([7; 32]),
        daily_loss_max: "2000".parse()?,
        book_age_max: Span::from_secs(2),
    };
    Ok(Execution::new(settings, KillState::Armed, NOW))
}

/// What execution does at its start, up to the first thing that it would do.
fn ready(path: &Path) -> Result<Execution> {
    let (_journal, entries) = Journal::open(path)?;
    let history = History::read(&entries)?;
    let mut core = empty()?;
    for record in &history.records {
        core.replay(record)?;
    }
    let resumed = core.resume(NOW)?;
    ensure!(resumed.effects.is_empty(), "nothing was in flight");
    Ok(core)
}

/// The journal of orders that each were accepted, sent, opened, filled and so ended, with the facts
/// that execution announced of them.
fn write(path: &Path) -> Result<()> {
    let (journal, _) = Journal::open(path)?;
    let mut facts = 0;
    let mut number = 0;
    while number < ORDERS {
        let mut entries = Vec::new();
        for _ in 0..GROUP {
            number += 1;
            let at = NOW.plus(Span::from_millis(number));
            for (record, facts) in life(number, at)? {
                entries.extend(encode_step(&record, &facts)?);
            }
            facts += 4;
            if number % (ACKNOWLEDGED_EVERY / 4) == 0 {
                entries.push(encode_acknowledged(facts)?);
            }
        }
        journal
            .append(entries)
            .wait()
            .context("write the journal")?;
    }
    Ok(())
}

type Steps = Vec<(Vec<Record>, Vec<Sealed>)>;

/// The steps of one order, each with what it changed and what it announced.
fn life(number: u64, at: Timestamp) -> Result<Steps> {
    let order = seals::order(number, at);
    let id = order.id;
    let venue_order = VenueOrderId::new(&format!("00000000-0000-4000-8000-{number:012}"))?;
    let fill = Fill {
        execution: VenueExecutionId::new(&format!("10000000-0000-4000-8000-{number:012}"))?,
        order: id,
        venue_order,
        symbol: order.symbol,
        side: if number.is_multiple_of(2) {
            portcullis_domain::Side::Buy
        } else {
            portcullis_domain::Side::Sell
        },
        price: order.limit_price,
        quantity: order.quantity,
        fee: "0.00275".parse()?,
        venue_time: at,
    };
    let accepted = Record::Accepted {
        order,
        expires_at: at.plus(Span::from_secs(2)),
        at,
    };
    let sent = Record::Sent {
        order: id,
        timestamp_ms: at.as_millis(),
    };
    let ended = Record::Ended {
        order: id,
        status: OrderStatus::Filled,
    };
    let report = || fact("evt.execution.report.sample", REPORT_BYTES);
    Ok(vec![
        (
            vec![accepted],
            vec![fact("evt.execution.permit", PERMIT_TAKEN_BYTES)],
        ),
        (vec![sent], Vec::new()),
        (
            vec![Record::Opened {
                order: id,
                venue_order,
            }],
            vec![report()],
        ),
        (
            vec![Record::Filled(fill), ended],
            vec![fact("evt.execution.fill.sample", REPORT_BYTES), report()],
        ),
    ])
}

fn fact(subject: &str, bytes: usize) -> Sealed {
    Sealed {
        subject: subject.into(),
        id: EnvelopeId([0; 16]),
        seq: 0,
        frame: vec![0x5a; bytes],
    }
}
