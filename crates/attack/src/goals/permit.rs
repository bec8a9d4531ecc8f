//! Reuse a permit.

use anyhow::{Context as _, Result, ensure};
use portcullis_domain::{OrderId, Reason};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{ORDER, PERMIT};

use super::alter::{captured_order, fresh_permit, request_for, signature_for};
use super::ways::{Scene, forged_permit, forged_request, made_up_order, plain_permit};
use crate::outcome::{Outcome, Refused};
use crate::venue;

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    captured_order(scene)?;
    let permit = match &scene.permit {
        Some(captured) => captured.clone(),
        None => forged_permit(scene.stage, "10")?.frame,
    };
    let mut refused = Vec::new();
    let execute = PERMIT.row.pattern;
    if !scene.thief.may_publish(execute) {
        refused.push(scene.knock("send execution a permit again", execute, &permit)?);
    }
    let request = forged_request(permit)?;
    refused.extend(scene.knock_all(&[("have the signer sign a permit again", &request)])?);
    match scene.thief.role {
        Some(Role::Brain) => refused.push(order_again(scene)?),
        Some(Role::RiskGuard) => refused.push(permit_again(scene)?),
        Some(Role::Execution) => refused.extend(sign_again(scene)?),
        Some(Role::Strategy | Role::Signer | Role::Audit | Role::MarketData | Role::Operator)
        | None => {}
    }
    Ok(Outcome::blocked(refused))
}

/// Brain gets its permits by ordering: the same order once more.
fn order_again(scene: &mut Scene<'_>) -> Result<Refused> {
    let order = made_up_order(scene.stage, "10")?;
    let mark = scene.stage.mark()?;
    let first = scene.thief.seal(&ORDER, None, &order)?;
    scene.thief.send(&first)?;
    scene.took("brain");
    scene
        .stage
        .reported(mark, "an order of brain's own", order.id)?;
    let second = scene.thief.seal(&ORDER, None, &order)?;
    let mark = scene.stage.mark()?;
    scene.thief.send(&second)?;
    let way = "order once more what was permitted once";
    let refused = scene
        .stage
        .judged(mark, way, order.id, Reason::DuplicateOrder)?;
    sent_once(scene, order.id)?;
    Ok(refused)
}

/// A second permit of its own around an order that execution took before.
fn permit_again(scene: &mut Scene<'_>) -> Result<Refused> {
    let order = captured_order(scene)?.context("an order of brain's")?;
    let (header, message) = audit::verify::read_unsealed::<portcullis_domain::Order>(&order)?;
    while crate::stolen::now() < header.expires_at {
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    let policy = scene.stage.policy_hash;
    let sealed = scene
        .thief
        .seal(&PERMIT, None, &plain_permit(order, policy))?;
    scene.took("risk-guard");
    let mark = scene.stage.mark()?;
    scene.thief.send(&sealed)?;
    let way = "permit once more what was ordered once";
    let codes = ["EXPIRED"];
    let refused = scene
        .stage
        .refused_by(mark, way, "execution", &sealed.frame, &codes)?;
    sent_once(scene, message.id)?;
    Ok(refused)
}

/// A second signature for the same permit, and the first one twice.
fn sign_again(scene: &mut Scene<'_>) -> Result<Vec<Refused>> {
    scene.make_honest()?;
    let (order, permit) = fresh_permit(scene)?;
    let body = venue::body_of(&order);
    let request = request_for(&permit, &body);
    let (api_key, signature) = signature_for(scene, &request)?;
    let port = scene.stage.stack.port("exchange");
    let place = || venue::post_order(port, &body, &api_key, &signature, request.timestamp_ms);
    let answer = place()?;
    ensure!(
        venue::refusal(&answer, "the permitted order").is_err(),
        "the venue refused what was permitted: {answer}"
    );
    let way = "send the signed request a second time";
    let mark = scene.stage.mark()?;
    let code = venue::refusal(&place()?, way)?;
    let mut refused = vec![scene.stage.refused_by_venue(mark, way, &code)];

    let way = "have the same permit signed with another time stamp";
    let mut again = request.clone();
    again.timestamp_ms = again.timestamp_ms.saturating_add(1);
    let mark = scene.stage.mark()?;
    super::alter::ask(scene, &again)?;
    let stage = &mut scene.stage;
    refused.push(stage.unsigned(mark, way, Some(order.id), Reason::DuplicateOrder)?);
    Ok(refused)
}

fn sent_once(scene: &Scene<'_>, id: OrderId) -> Result<()> {
    let requests = scene.stage.stack.exchange("/admin/requests");
    let count = requests.pointer(&format!("/createRequests/{id}"));
    let count = count.and_then(serde_json::Value::as_u64).unwrap_or(0);
    ensure!(count <= 1, "order {id} was sent {count} times");
    Ok(())
}
