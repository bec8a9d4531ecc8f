//! Flood.

use anyhow::{Context as _, Result, ensure};
use audit_core::{BusDenial, Own as AuditOwn};
use portcullis_domain::Side;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{BOOK, KILL, ORDER, PERMIT, PROPOSAL, RECEIPT, SIGN, SIGNATURE};

use super::ways::Scene;
use crate::outcome::{Outcome, Refused};
use crate::stage::SYMBOL;

/// Messages that are no frames, as fast as the bus takes them.
const COUNT: usize = 3_000;
/// So many honest orders may be tried until one goes through.
const ORDERS: usize = 4;
/// Publications that the bus denies, each of which it has to answer and to log.
const DENIED: usize = 400;

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    scene.make_honest()?;
    let Some((subject, reader)) = own_subject(scene)? else {
        return Ok(Outcome::blocked(vec![denied(scene)?]));
    };
    let way = format!("send {COUNT} messages that are no frames on {subject}");
    let garbage = vec![0xc1; 512];
    let mark = scene.stage.mark()?;
    for _ in 0..COUNT {
        scene.thief.wire.throw(&subject, &garbage)?;
    }
    // Beside it an honest order goes its way. Whoever floods in the name of a service on that way
    // crowds out that service's own messages: an order of that moment may expire, the next one goes.
    beside(scene)?;
    scene.thief.publish(&subject, &garbage)?;
    let codes = ["MALFORMED_FRAME"];
    let refused = scene
        .stage
        .refused_by(mark, &way, reader, &garbage, &codes)?;
    scene.stage.stack.wait_until_trading(crate::stage::PATIENCE);
    Ok(Outcome::blocked(vec![refused]))
}

fn own_subject(scene: &Scene<'_>) -> Result<Option<(String, &'static str)>> {
    let plain = |pattern: &'static str, reader| Some((pattern.to_owned(), reader));
    Ok(match scene.thief.role {
        Some(Role::Strategy) => {
            let own = PROPOSAL.row.concrete(Some("sample"));
            Some((own.context("a subject")?, "brain"))
        }
        Some(Role::Brain) => plain(ORDER.row.pattern, "risk-guard"),
        Some(Role::RiskGuard) => plain(PERMIT.row.pattern, "execution"),
        Some(Role::Execution) => plain(SIGN.row.pattern, "signer"),
        Some(Role::Signer) => plain(SIGNATURE.row.pattern, "execution"),
        Some(Role::Audit) => plain(RECEIPT.row.pattern, "execution"),
        Some(Role::MarketData) => {
            let own = BOOK.row.concrete(Some(SYMBOL));
            Some((own.context("a subject")?, "brain"))
        }
        Some(Role::Operator) => plain(KILL.row.pattern, "signer"),
        None => None,
    })
}

/// An honest order, tried again where it expires.
fn beside(scene: &mut Scene<'_>) -> Result<()> {
    let mut last = Ok(());
    for _ in 0..ORDERS {
        match scene.stage.trade(Side::Sell, "10") {
            Ok(_) => return Ok(()),
            Err(error) => last = Err(error),
        }
    }
    last.context("beside a flood")
}

/// Whoever may send nothing can only be denied, many times.
fn denied(scene: &mut Scene<'_>) -> Result<Refused> {
    let way = format!("publish {DENIED} times where it may not");
    let (name, subject) = (scene.thief.name, PROPOSAL.row.concrete(Some("sample")));
    let subject = subject.context("a subject")?;
    let mark = scene.stage.mark()?;
    for _ in 0..DENIED {
        scene.thief.wire.throw(&subject, b"no frame")?;
    }
    let said = scene.thief.wire.say(b"")?;
    ensure!(
        said.errors.len() >= DENIED,
        "the bus denied {} times",
        said.errors.len()
    );
    let refused_ms = mark.ms();
    beside(scene)?;
    let what = BusDenial::Publish;
    let first = scene
        .stage
        .denied_by_bus(mark, refused_ms, &way, name, what, &subject)?;
    scene.stage.recorded(mark, "the rest is counted", |entry| {
        matches!(entry.own()?, AuditOwn::BusSuppressed { .. }).then_some(())
    })?;
    Ok(first)
}
