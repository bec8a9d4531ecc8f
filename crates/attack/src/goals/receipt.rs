//! Forge a receipt.

use std::time::Duration;

use anyhow::{Context as _, Result};
use audit::verify::read_unsealed;
use audit_core::fact_digest;
use portcullis_domain::{OrderId, Side};
use portcullis_wire::messages::{PermitTaken, Receipt};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{PERMIT_TAKEN, RECEIPT};

use super::ways::{Scene, forged_receipt};
use crate::outcome::Outcome;
use crate::wire::poll;

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    if scene.thief.role == Some(Role::Audit) {
        return unrecorded(scene);
    }
    let receipt = forged_receipt(OrderId([9; 16]))?;
    let refused = scene.knock_all(&[("send execution a receipt", &receipt)])?;
    Ok(Outcome::blocked(refused))
}

/// Audit is who gives receipts. With the real one stopped, the thief gives one for a fact that stands
/// in no log yet.
fn unrecorded(scene: &mut Scene<'_>) -> Result<Outcome> {
    scene.make_honest()?;
    let subject = PERMIT_TAKEN.row.pattern;
    scene.thief.listen(subject)?;
    scene.thief.forget();
    scene.stage.freeze("audit")?;
    scene.took("audit");
    let order = scene.stage.propose(Side::Buy, "10")?;
    let fact = scene.thief.hear(Duration::from_secs(5), |heard| {
        let (header, taken) = read_unsealed::<PermitTaken>(&heard.bytes).ok()?;
        let wanted = heard.subject == subject && taken.order == order;
        wanted.then(|| (header, heard.bytes.clone()))
    })?;
    let (header, frame) = fact.context("the fact that execution took the permit")?;
    let receipt = Receipt {
        fact: fact_digest(&frame),
        order,
        index: 1,
        entry: portcullis_domain::Hash([0x22; 32]),
    };
    let signing = scene.thief.identity.signing.as_ref();
    let signed = signing.context("audit's signing seed")?.sign(&receipt)?;
    let sealed = scene.thief.answer(&header, &RECEIPT, None, &signed)?;
    scene.thief.send(&sealed)?;
    let placed = poll(Duration::from_secs(3), || scene.stage.at_exchange(order))?;
    placed.context("the order was not sent: audit's receipts do not suffice")?;
    // The stream kept the fact: the real audit records it late.
    scene.make_honest()?;
    Ok(Outcome::allowed(
        "give a receipt for a fact that is in no log yet, so that an order that was permitted is sent \
         before it is on record; the stream still has the fact, and the real audit records it",
        "with the real audit stopped, an order was sent on the thief's receipt; when audit came back \
         it recorded the permit from the stream",
        Vec::new(),
    ))
}
