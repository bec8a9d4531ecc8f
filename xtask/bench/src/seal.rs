//! Sealing and verifying an order, against bare HMAC-SHA256 over the same bytes.

use std::hint::black_box;

use anyhow::{Context as _, Result};
use hmac::{Hmac, KeyInit as _, Mac as _};
use portcullis_domain::{EnvelopeId, PrincipalName};
use portcullis_testkit::World;
use portcullis_testkit::seals::{NOW, order};
use portcullis_wire::subjects::ORDER;
use portcullis_wire::{Context, Frame, Sealer, Verifier};
use sha2::Sha256;

use crate::figure::{Aim, Figure, median_ns};

const ROUNDS: usize = 200;
const CALLS: usize = 500;

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
            "verify an order",
            verify,
            "ns",
            Some(("HMAC-SHA256 of the same bytes", bare_one)),
            Aim::RatioAtMost(1.5),
        ),
    ])
}
