//! Sealing and verifying orders and permits, against bare HMAC-SHA256 over the same bytes, and the
//! replay window under the load of a busy second.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use portcullis_domain::{EnvelopeId, PrincipalName};
use portcullis_testkit::World;
use portcullis_testkit::seals::{NOW, order};
use portcullis_wire::subjects::ORDER;
use portcullis_wire::{Context, Frame, Received, Sealer, Verifier};
use sha2::Sha256;

use crate::figure::{Aim, Figure, median_ns, percentile};

const ROUNDS: usize = 200;
const CALLS: usize = 500;
/// The messages of a busy second.
const A_SECOND: usize = 10_000;
/// What checking them may take of that second, in microseconds.
const SHARE_MAX_US: f64 = 50_000.0;

pub fn run() -> Result<Vec<Figure>> {
    let world = World::new(NOW);
    let brain = PrincipalName::new("brain").context("a name")?;
    let guard = PrincipalName::new("risk-guard").context("a name")?;
    let order = order(1, NOW);

    let mut sealer = Sealer::new(world.realm(), brain, 1, world.ring(brain));
    let mut number = 0_u128;
    let mut next = || {
        number = number.wrapping_add(1);
        let context = Context::first(NOW, EnvelopeId(number.to_be_bytes()));
        sealer.seal(&ORDER, None, &order, context)
    };
    let sealed = next()?;
    let frame = Frame::parse(&sealed.frame)?;
    let covered = [frame.header, frame.body].concat();
    let seals = frame.seals.len();

    // The bare thing: as many HMACs over the same bytes, with the key schedule done beforehand.
    let keyed = Hmac::<Sha256>::new_from_slice(&[7; 32]).context("a key")?;
    let one_hmac = || {
        let mut mac = keyed.clone();
        mac.update(black_box(&covered));
        black_box(mac.finalize());
    };
    let bare_one = median_ns(ROUNDS, CALLS, one_hmac);
    let bare_all = median_ns(ROUNDS, CALLS, || (0..seals).for_each(|_| one_hmac()));
    let seal = median_ns(ROUNDS, CALLS, || {
        black_box(next().is_ok());
    });

    // Verifying takes a fresh frame each time: a duplicate would be answered earlier.
    let mut sealer = Sealer::new(world.realm(), brain, 2, world.ring(brain));
    let mut frames = (0..ROUNDS.saturating_mul(CALLS)).map(|number| {
        let id = EnvelopeId((number as u128).wrapping_add(1 << 100).to_be_bytes());
        sealer.seal(&ORDER, None, &order, Context::first(NOW, id))
    });
    let batch: Vec<_> = frames.by_ref().collect::<Result<_, _>>()?;
    let mut verifier = Verifier::new(world.realm(), guard, NOW, world.ring(guard));
    let mut batch = batch.iter();
    let verify = median_ns(ROUNDS, CALLS, || {
        if let Some(sealed) = batch.next() {
            black_box(
                verifier
                    .open(&ORDER, &sealed.subject, &sealed.frame, NOW)
                    .is_ok(),
            );
        }
    });
    let bytes = covered.len();
    Ok(vec![
        Figure::new(
            format!("seal an order ({seals} seals, {bytes} bytes covered)"),
            seal,
            "ns",
            Some((
                &format!("{seals} x HMAC-SHA256 of the same bytes"),
                bare_all,
            )),
            Aim::RatioAtMost(1.5),
        ),
        Figure::new(
            format!("verify an order of {seals} seals, as one reader"),
            verify,
            "ns",
            Some(("HMAC-SHA256 of the same bytes", bare_one)),
            Aim::RatioAtMost(1.5),
        ),
        permit(bare_one)?,
        busy_second("10,000 fresh messages, window kept", false)?,
        busy_second("10,000 replays refused, window kept", true)?,
    ])
}

/// What execution does for a permit: its seal, and the brain's seal on the order inside it.
fn permit(bare: f64) -> Result<Figure> {
    let mut world = World::new(NOW);
    let permits: Vec<_> = (0..ROUNDS.saturating_mul(CALLS) / 10)
        .map(|number| world.permit(NOW, &order(number as u64, NOW)))
        .collect();
    let mut permits = permits.iter();
    let execution = PrincipalName::new("execution").context("a name")?;
    let mut verifier = Verifier::new(world.realm(), execution, NOW, world.ring(execution));
    let open = median_ns(ROUNDS / 10, CALLS, || {
        if let Some(sealed) = permits.next() {
            black_box(verifier.open_permit(&sealed.frame, NOW).is_ok());
        }
    });
    Ok(Figure::new(
        "open a permit and the order inside it",
        open,
        "ns",
        Some(("2 x HMAC-SHA256 of the order's bytes", bare * 2.0)),
        Aim::RatioAtMost(1.5),
    ))
}

/// Ten thousand messages of one source through one window, as one second brings them at that rate:
/// each fresh, or each an old one that comes back.
fn busy_second(name: &str, replayed: bool) -> Result<Figure> {
    let world = World::new(NOW);
    let brain = PrincipalName::new("brain").context("a name")?;
    let guard = PrincipalName::new("risk-guard").context("a name")?;
    let order = order(1, NOW);
    let mut times = Vec::with_capacity(20);
    for boot in 1..=20 {
        let mut sealer = Sealer::new(world.realm(), brain, boot, world.ring(brain));
        let batch: Vec<_> = (0..A_SECOND)
            .map(|number| {
                let id = EnvelopeId((number as u128).wrapping_add(1 << 100).to_be_bytes());
                sealer.seal(&ORDER, None, &order, Context::first(NOW, id))
            })
            .collect::<Result<_, _>>()?;
        let mut verifier = Verifier::new(world.realm(), guard, NOW, world.ring(guard));
        let mut pass = |refused: bool| {
            let wrong = batch.iter().filter(|sealed| {
                let opened = verifier.open(&ORDER, &sealed.subject, &sealed.frame, NOW);
                matches!(opened, Ok(Received::Fresh(_))) == refused
            });
            wrong.count()
        };
        if replayed {
            ensure!(pass(false) == 0, "a fresh message was refused");
        }
        let begun = Instant::now();
        let wrong = pass(replayed);
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        ensure!(
            wrong == 0,
            "the window mistook {wrong} of {A_SECOND} messages"
        );
    }
    Ok(Figure::new(
        name,
        percentile(&mut times, 50),
        "us",
        None,
        Aim::ValueAtMost(SHARE_MAX_US),
    ))
}
