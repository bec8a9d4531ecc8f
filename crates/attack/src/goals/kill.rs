//! Mute a kill, and resume after it. The kill itself is sent once, between the two, with the
//! stolen bundle of the operator.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use audit::verify::read_unsealed;
use portcullis_domain::{KillState, Order, OrderId, Reason, Side, StrategyId};
use portcullis_wire::messages::Notice;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{HEARTBEAT, KILL, ORDER, PERMIT, PROPOSAL};
use portcullis_wire::{Signer, order_id};

use super::alter::{ask, request_for};
use super::heartbeat::beating;
use super::ways::{
    Scene, forged_heartbeat, forged_order, forged_permit, forged_request, kill_of, made_up_order,
    plain_permit,
};
use crate::outcome::{Outcome, Refused};
use crate::stage::{Stage, proposal};
use crate::stolen::forge;
use crate::venue;

/// How often brain is asked for an order that it seals in spite of the kill.
const PROPOSALS_MAX: usize = 20;

/// Before the kill: whatever may keep it from those who latch it.
pub fn mute(scene: &mut Scene<'_>) -> Result<Outcome> {
    let refused = match scene.thief.role {
        Some(Role::Operator) => vec![take_the_place(scene)?],
        Some(Role::RiskGuard) => {
            // It says armed, whatever comes, until the suite is over.
            let puppet = beating(scene)?;
            scene.stage.puppets.push(puppet);
            bury(scene)?
        }
        Some(
            Role::Strategy
            | Role::Brain
            | Role::Execution
            | Role::Signer
            | Role::Audit
            | Role::MarketData,
        )
        | None => bury(scene)?,
    };
    Ok(Outcome::blocked(refused))
}

/// A kill command of its own making on the operators' subject, with a boot number beyond all others:
/// an honest one would be an old one after it.
fn bury(scene: &mut Scene<'_>) -> Result<Vec<Refused>> {
    let signed = Signer::from_seed(&[0x33; 32]).sign(&kill_of(&scene.thief, "nothing")?)?;
    let sealed = forge("operator-dev", &KILL, None, &signed)?;
    scene.knock_all(&[("take the operator's place on the kill subject", &sealed)])
}

/// The same with the operator's own keys, but a signature that does not count, so that it stops
/// nothing.
fn take_the_place(scene: &mut Scene<'_>) -> Result<Refused> {
    let kill = kill_of(&scene.thief, "nothing")?;
    let signed = Signer::from_seed(&[0x33; 32]).sign(&kill)?;
    let boot = std::mem::replace(&mut scene.thief.boot, u64::MAX - 1);
    scene.thief.begin();
    let sealed = scene.thief.seal(&KILL, None, &signed)?;
    scene.thief.boot = boot;
    let mark = scene.stage.mark()?;
    scene.thief.send(&sealed)?;
    let way = "send a kill that does not count, from a start beyond every other";
    let codes = ["BAD_SIGNATURE"];
    scene
        .stage
        .refused_by(mark, way, "signer", &sealed.frame, &codes)
}

/// The kill: sent with the stolen bundle of the operator, and latched by all three.
///
/// # Errors
/// When one of them does not, or audit's log does not say so.
pub fn pull(stage: &mut Stage) -> Result<u64> {
    let mut operator = stage.steal("operator-dev")?;
    let signing = operator.identity.signing.as_ref();
    let kill = kill_of(&operator, "the end of the suite")?;
    let signed = signing
        .context("the operator's signing seed")?
        .sign(&kill)?;
    let sealed = operator.seal(&KILL, None, &signed)?;
    let mark = stage.mark()?;
    operator.send(&sealed)?;
    for service in ["risk-guard", "execution", "signer"] {
        let subject = format!("evt.{service}.notice");
        stage.recorded(mark, &format!("{service} latches"), |entry| {
            let notice: Notice = crate::stage::fact(entry, &subject)?;
            let pulled = KillState::Triggered;
            matches!(notice, Notice::KillSwitch { state, .. } if state == pulled).then_some(())
        })?;
    }
    let ms = mark.ms();
    let orders = stage.exchange_orders()?;
    let ids = orders.iter().filter_map(|order| order.get("orderLinkId"));
    let ids = ids.filter_map(|id| Some(id.as_str()?.to_owned()));
    stage.killed_at = Some(ids.collect());
    Ok(ms)
}

/// After the kill: whatever may make it trade again.
pub fn resume(scene: &mut Scene<'_>) -> Result<Outcome> {
    let refused = match scene.thief.role {
        Some(Role::Strategy) => vec![propose(scene)?],
        Some(Role::Brain) => vec![order(scene)?],
        Some(Role::RiskGuard) => vec![permit(scene)?],
        Some(Role::Execution) => vec![sign(scene)?],
        Some(Role::Operator) => vec![scene.knock("command to resume", "ops.resume", b"{}")?],
        Some(Role::Signer | Role::Audit | Role::MarketData) | None => {
            let beat = forged_heartbeat(scene.stage)?;
            let order = forged_order(scene.stage, "10")?;
            let permit = forged_permit(scene.stage, "10")?;
            let request = forged_request(permit.frame.clone())?;
            scene.knock_all(&[
                ("say that risk-guard is armed", &beat),
                ("send risk-guard an order", &order),
                ("send execution a permit", &permit),
                ("ask the signer", &request),
            ])?
        }
    };
    Ok(Outcome::blocked(refused))
}

fn propose(scene: &mut Scene<'_>) -> Result<Refused> {
    let wanted = proposal(Side::Buy, "10")?;
    let sealed = scene.thief.seal(&PROPOSAL, Some("sample"), &wanted)?;
    let mark = scene.stage.mark()?;
    scene.thief.send(&sealed)?;
    let id = order_id(StrategyId::new("sample")?, sealed.id);
    // A forged heartbeat may have told brain that all is well: then risk-guard refuses.
    let way = "propose after the kill";
    if scene.stage.puppets.is_empty() {
        return scene.stage.decided(mark, way, id, Reason::KillSwitch);
    }
    scene.stage.judged(mark, way, id, Reason::KillSwitch)
}

fn order(scene: &mut Scene<'_>) -> Result<Refused> {
    let order = made_up_order(scene.stage, "10")?;
    let sealed = scene.thief.seal(&ORDER, None, &order)?;
    let mark = scene.stage.mark()?;
    scene.thief.send(&sealed)?;
    let way = "order after the kill";
    scene.stage.judged(mark, way, order.id, Reason::KillSwitch)
}

/// An order that brain seals because the thief says that all is well. The real guard says four times a
/// second that it is not, so a proposal may meet either.
fn order_in_spite(scene: &mut Scene<'_>) -> Result<(OrderId, Vec<u8>)> {
    for _ in 0..PROPOSALS_MAX {
        let beat = super::ways::armed(scene.stage);
        let beat = scene.thief.seal(&HEARTBEAT, None, &beat)?;
        scene.thief.send(&beat)?;
        scene.thief.forget();
        let id = scene.stage.propose(Side::Buy, "10")?;
        let frame = scene.thief.hear(Duration::from_millis(500), |heard| {
            let (_, order) = read_unsealed::<Order>(&heard.bytes).ok()?;
            (order.id == id).then(|| heard.bytes.clone())
        })?;
        if let Some(frame) = frame {
            return Ok((id, frame));
        }
    }
    bail!("brain does not order although it hears that all is well")
}

/// Armed heartbeats, so that brain goes on ordering, and a permit for what it orders.
fn permit(scene: &mut Scene<'_>) -> Result<Refused> {
    let subject = ORDER.row.pattern;
    scene.thief.listen(subject)?;
    if scene.stage.puppets.is_empty() {
        let puppet = beating(scene)?;
        scene.stage.puppets.push(puppet);
    }
    let (id, order) = order_in_spite(scene)?;
    let policy = scene.stage.policy_hash;
    let sealed = scene
        .thief
        .seal(&PERMIT, None, &plain_permit(order, policy))?;
    let mark = scene.stage.mark()?;
    scene.thief.send(&sealed)?;
    let way = "say armed, and permit an order after the kill";
    scene.stage.gated(mark, way, id, Reason::KillSwitch)
}

fn sign(scene: &mut Scene<'_>) -> Result<Refused> {
    let permit = forged_permit(scene.stage, "10")?.frame;
    let order = made_up_order(scene.stage, "10")?;
    let request = request_for(&permit, &venue::body_of(&order));
    let mark = scene.stage.mark()?;
    ask(scene, &request)?;
    let way = "ask the signer after the kill";
    let refused = scene.stage.unsigned(mark, way, None, Reason::KillSwitch)?;
    ensure!(
        scene.stage.at_exchange(order.id)?.is_none(),
        "{way}: it was placed"
    );
    Ok(refused)
}
