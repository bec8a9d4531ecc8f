//! Place an order that nobody permitted.

use anyhow::Result;
use portcullis_domain::{OrderId, Reason};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{PERMIT, SIGN};

use super::ways::{
    Scene, forged_order, forged_permit, forged_request, made_up_order, permit_around, plain_permit,
};
use crate::outcome::{Outcome, Refused};
use crate::stage::SYMBOL;
use crate::venue;

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    let order = forged_order(scene.stage, "10")?;
    let permit = permit_around(scene.stage, order.frame.clone())?;
    let request = forged_request(permit.frame.clone())?;
    let mut refused = scene.knock_all(&[
        ("send a made-up order to risk-guard", &order),
        ("send a made-up permit to execution", &permit),
        ("ask the signer", &request),
    ])?;
    if let Some(by_carrier) = scene.inject(PERMIT.row.pattern, "execution", &permit.frame)? {
        refused.push(by_carrier);
    }
    match scene.thief.role {
        Some(Role::RiskGuard) => refused.push(unsealed_by_brain(scene, "10")?),
        Some(Role::Execution) => {
            refused.extend(unpermitted(scene, "10")?);
            refused.push(unsigned_at_the_venue(scene)?);
        }
        Some(
            Role::Strategy
            | Role::Brain
            | Role::Signer
            | Role::Audit
            | Role::MarketData
            | Role::Operator,
        )
        | None => {}
    }
    Ok(Outcome::blocked(refused))
}

/// Risk-guard's own seal around an order of its own: brain's seal for execution is missing, because
/// risk-guard holds only the key with which brain seals for risk-guard.
pub fn unsealed_by_brain(scene: &mut Scene<'_>, quantity: &str) -> Result<Refused> {
    let order = made_up_order(scene.stage, quantity)?;
    let brain = portcullis_domain::PrincipalName::new("brain")?;
    let subject = &portcullis_wire::subjects::ORDER;
    let order = scene.thief.seal_as(brain, subject, None, &order)?.frame;
    let policy = scene.stage.policy_hash;
    let permit = scene
        .thief
        .seal(&PERMIT, None, &plain_permit(order, policy))?;
    scene.took("risk-guard");
    let mark = scene.stage.mark()?;
    scene.thief.send(&permit)?;
    let way = "permit an order that it made up itself";
    let codes = ["NO_SEAL"];
    scene
        .stage
        .refused_by(mark, way, "execution", &permit.frame, &codes)
}

/// A request to the signer around a permit that risk-guard never sealed for it.
pub fn unpermitted(scene: &mut Scene<'_>, quantity: &str) -> Result<Vec<Refused>> {
    let permit = forged_permit(scene.stage, quantity)?.frame;
    let (_, mut request) = audit::verify::read_unsealed::<portcullis_wire::messages::SignRequest>(
        &forged_request(permit.clone())?.frame,
    )?;
    let order = made_up_order(scene.stage, quantity)?;
    request.payload = venue::body_of(&order).into_bytes();
    let sealed = scene.thief.seal(&SIGN, None, &request)?;
    scene.took("execution");
    let mark = scene.stage.mark()?;
    scene.thief.send(&sealed)?;
    let way = "ask the signer for an order without a permit";
    let stage = &mut scene.stage;
    Ok(vec![
        stage.refused_by(mark, way, "signer", &permit, &["BAD_SEAL"])?,
        stage.unsigned(mark, way, None, Reason::OrderSeal)?,
    ])
}

/// Straight to the venue, with a key of its own.
fn unsigned_at_the_venue(scene: &mut Scene<'_>) -> Result<Refused> {
    let order = made_up_order(scene.stage, "10")?;
    let mark = scene.stage.mark()?;
    let port = scene.stage.stack.port("exchange");
    let body = venue::body_of(&order);
    let answer = venue::post_order(port, &body, "a-key-of-its-own", "00", venue::now_ms())?;
    let way = format!("send {SYMBOL} to the venue with a key of its own");
    let code = venue::refusal(&answer, &way)?;
    let id: OrderId = order.id;
    anyhow::ensure!(
        scene.stage.at_exchange(id)?.is_none(),
        "{way}: it was placed"
    );
    Ok(scene.stage.refused_by_venue(mark, &way, &code))
}
