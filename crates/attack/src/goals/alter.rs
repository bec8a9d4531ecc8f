//! Alter price, side or quantity on the way.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use audit::verify::read_unsealed;
use portcullis_domain::{Bps, Order, Reason, Side};
use portcullis_wire::messages::{
    Permit, PermitTaken, SignAction, SignRequest, SignResponse, Verdict,
};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{ORDER, PERMIT, PROPOSAL, SIGN, SIGNATURE};
use portcullis_wire::{Frame, codec};

use super::ways::{Scene, forged_order, made_up_order, permit_around, plain_permit, tick};
use crate::outcome::{Outcome, Refused};
use crate::stage::proposal;
use crate::venue;
use crate::wire::Heard;

/// Finds the order inside what was heard.
type OrderIn = fn(&Heard) -> Option<Vec<u8>>;

/// What is altered.
#[derive(Clone, Copy)]
enum Part {
    Price,
    Side,
    Quantity,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Price => "price",
            Self::Side => "side",
            Self::Quantity => "quantity",
        }
    }

    fn alter(self, order: &Order) -> Result<Order> {
        let mut altered = order.clone();
        match self {
            Self::Price => {
                altered.limit_price = tick(order.limit_price.raised(Bps::new(100)?)?)?;
            }
            Self::Side => {
                altered.side = match order.side {
                    Side::Buy => Side::Sell,
                    Side::Sell => Side::Buy,
                };
            }
            Self::Quantity => altered.quantity = "999".parse()?,
        }
        Ok(altered)
    }
}

pub fn price(scene: &mut Scene<'_>) -> Result<Outcome> {
    attempt(scene, Part::Price)
}

pub fn side(scene: &mut Scene<'_>) -> Result<Outcome> {
    attempt(scene, Part::Side)
}

pub fn quantity(scene: &mut Scene<'_>) -> Result<Outcome> {
    attempt(scene, Part::Quantity)
}

fn attempt(scene: &mut Scene<'_>, part: Part) -> Result<Outcome> {
    let what = part.name();
    // Whoever hears no order has only one of its own making.
    let order = match captured_order(scene)? {
        Some(order) => order,
        None => forged_order(scene.stage, "10")?.frame,
    };
    let altered = with_other_body(&order, &part.alter(&read_unsealed::<Order>(&order)?.1)?)?;
    let mut refused = Vec::new();
    let execute = PERMIT.row.pattern;
    if !scene.thief.may_publish(execute) {
        let way = format!("send execution a permit around an order with another {what}");
        let permit = permit_around(scene.stage, altered.clone())?;
        refused.push(scene.knock(&way, execute, &permit.frame)?);
    }
    let evaluate = ORDER.row.pattern;
    if !scene.thief.may_publish(evaluate) {
        let way = format!("send risk-guard brain's order with another {what}");
        refused.push(scene.knock(&way, evaluate, &altered)?);
    }
    match scene.thief.role {
        Some(Role::Strategy) => refused.push(through_brain(scene, what, &altered)?),
        Some(Role::Brain) => refused.push(after_the_judgement(scene, part)?),
        Some(Role::RiskGuard) => refused.push(inside_a_permit(scene, what, altered)?),
        Some(Role::Execution) => refused.extend(behind_the_permit(scene, part)?),
        Some(Role::Signer | Role::Audit | Role::MarketData | Role::Operator) | None => {}
    }
    Ok(Outcome::blocked(refused))
}

/// The frame of an order of brain's, from where this thief hears it.
pub fn captured_order(scene: &mut Scene<'_>) -> Result<Option<Vec<u8>>> {
    if let Some(order) = &scene.order {
        return Ok(Some(order.clone()));
    }
    let (subject, order_in): (_, OrderIn) = match scene.thief.role {
        Some(Role::Strategy) => ("evt.risk-guard.verdict.sample", in_verdict),
        Some(Role::Brain | Role::Operator) => ("evt.risk-guard.verdict.trader", in_verdict),
        Some(Role::RiskGuard) => (ORDER.row.pattern, |heard| Some(heard.bytes.clone())),
        Some(Role::Execution) => (PERMIT.row.pattern, |heard| in_permit(&heard.bytes)),
        Some(Role::Signer) => (SIGN.row.pattern, |heard| {
            in_permit(&permit_in_request(heard)?)
        }),
        Some(Role::Audit) => ("evt.execution.permit", |heard| {
            in_permit(&permit_in_fact(heard)?)
        }),
        Some(Role::MarketData) | None => return Ok(None),
    };
    scene.make_honest()?;
    let said = scene.thief.listen(subject)?;
    ensure!(
        said.errors.is_empty(),
        "listen on {subject}: {:?}",
        said.errors
    );
    scene.thief.forget();
    if scene.thief.role == Some(Role::Strategy) {
        let own = scene
            .thief
            .seal(&PROPOSAL, Some("sample"), &proposal(Side::Buy, "10")?)?;
        scene.thief.send(&own)?;
    } else {
        scene.stage.trade(Side::Buy, "10")?;
    }
    let mut permit = None;
    let order = scene.thief.hear(Duration::from_secs(5), |heard| {
        if heard.subject != subject {
            return None;
        }
        permit = match subject {
            "evt.execution.permit" => permit_in_fact(heard),
            _ if subject == PERMIT.row.pattern => Some(heard.bytes.clone()),
            _ if subject == SIGN.row.pattern => permit_in_request(heard),
            _ => None,
        };
        order_in(heard)
    })?;
    scene.order = Some(order.context("an order on the way")?);
    scene.permit = permit;
    Ok(scene.order.clone())
}

fn in_verdict(heard: &Heard) -> Option<Vec<u8>> {
    let (_, verdict) = read_unsealed::<Verdict>(&heard.bytes).ok()?;
    Some(verdict.order_frame)
}

fn in_permit(permit: &[u8]) -> Option<Vec<u8>> {
    Some(read_unsealed::<Permit>(permit).ok()?.1.order)
}

fn permit_in_fact(heard: &Heard) -> Option<Vec<u8>> {
    Some(read_unsealed::<PermitTaken>(&heard.bytes).ok()?.1.permit)
}

fn permit_in_request(heard: &Heard) -> Option<Vec<u8>> {
    match read_unsealed::<SignRequest>(&heard.bytes).ok()?.1.action {
        SignAction::Place { permit } => Some(permit),
        _ => None,
    }
}

/// The one way of a strategy's bytes: brain refuses them.
fn through_brain(scene: &mut Scene<'_>, what: &str, altered: &[u8]) -> Result<Refused> {
    let way = format!("send brain its own order with another {what}");
    let mark = scene.stage.mark()?;
    scene.thief.publish("cmd.brain.propose.sample", altered)?;
    scene
        .stage
        .refused_by(mark, &way, "brain", altered, &["NO_SEAL"])
}

/// Brain seals the same order again, with something else in it.
fn after_the_judgement(scene: &mut Scene<'_>, part: Part) -> Result<Refused> {
    let order = made_up_order(scene.stage, "10")?;
    let mark = scene.stage.mark()?;
    let sealed = scene.thief.seal(&ORDER, None, &order)?;
    scene.thief.send(&sealed)?;
    scene.took("brain");
    scene
        .stage
        .reported(mark, "an order of brain's own", order.id)?;
    let altered = part.alter(&order)?;
    let sealed = scene.thief.seal(&ORDER, None, &altered)?;
    let mark = scene.stage.mark()?;
    scene.thief.send(&sealed)?;
    let way = format!("order the same again with another {}", part.name());
    scene
        .stage
        .judged(mark, &way, order.id, Reason::DuplicateOrder)
}

/// Risk-guard's true seal around brain's order with something else in it.
fn inside_a_permit(scene: &mut Scene<'_>, what: &str, order: Vec<u8>) -> Result<Refused> {
    let policy = scene.stage.policy_hash;
    let sealed = scene
        .thief
        .seal(&PERMIT, None, &plain_permit(order, policy))?;
    scene.took("risk-guard");
    let mark = scene.stage.mark()?;
    scene.thief.send(&sealed)?;
    let way = format!("permit brain's order with another {what}");
    let codes = ["BAD_SEAL"];
    scene
        .stage
        .refused_by(mark, &way, "execution", &sealed.frame, &codes)
}

/// A permit that counts, and other bytes than its order's: at the signer, and with the true signature
/// at the venue.
fn behind_the_permit(scene: &mut Scene<'_>, part: Part) -> Result<Vec<Refused>> {
    scene.make_honest()?;
    let what = part.name();
    let taken = scene.stage.mark()?;
    let (order, permit) = fresh_permit(scene)?;
    let altered = part.alter(&order)?;

    let way = format!("ask for a signature over another {what} than permitted");
    let request = request_for(&permit, &venue::body_of(&altered));
    let mark = scene.stage.mark()?;
    ask(scene, &request)?;
    let stage = &mut scene.stage;
    let mut refused = vec![stage.unsigned(mark, &way, Some(order.id), Reason::BytesDiffer)?];

    let way = format!("send another {what} with the signature of the permitted order");
    let request = request_for(&permit, &venue::body_of(&order));
    let (api_key, signature) = signature_for(scene, &request)?;
    let mark = scene.stage.mark()?;
    let port = scene.stage.stack.port("exchange");
    let body = venue::body_of(&altered);
    let answer = venue::post_order(port, &body, &api_key, &signature, request.timestamp_ms)?;
    let code = venue::refusal(&answer, &way)?;
    ensure!(
        scene.stage.at_exchange(order.id)?.is_none(),
        "{way}: it was placed"
    );
    refused.push(scene.stage.refused_by_venue(mark, &way, &code));
    // The real execution waits for its signature in vain; a restart before that would be a doubt.
    scene
        .stage
        .reported(taken, "the order without a signature", order.id)?;
    Ok(refused)
}

/// The next permit that risk-guard gives, before the real execution has asked for its signature: that
/// one stands still.
pub fn fresh_permit(scene: &mut Scene<'_>) -> Result<(Order, Vec<u8>)> {
    let subject = PERMIT.row.pattern;
    scene.thief.listen(subject)?;
    scene.thief.listen(SIGNATURE.row.pattern)?;
    scene.thief.forget();
    // From the first message with the thief's boot number on the signer takes the real one's for old.
    scene.thief.begin();
    ask(scene, &super::ways::wallet()?)?;
    scene.took("execution");
    let id = scene.stage.propose(Side::Buy, "10")?;
    let found = scene.thief.hear(Duration::from_secs(5), |heard| {
        let (_, permit) = read_unsealed::<Permit>(&heard.bytes).ok()?;
        let order = read_unsealed::<Order>(&permit.order).ok()?.1;
        // At risk-guard's worst price: the signer signs no other.
        let order = permit.tighten(&order).ok()?;
        (heard.subject == subject && order.id == id).then(|| (order, heard.bytes.clone()))
    })?;
    found.context("a permit")
}

/// A request to place what a permit permits, with these bytes.
#[must_use]
pub fn request_for(permit: &[u8], body: &str) -> SignRequest {
    SignRequest {
        action: SignAction::Place {
            permit: permit.to_vec(),
        },
        timestamp_ms: venue::now_ms(),
        payload: body.as_bytes().to_vec(),
    }
}

/// Asks the signer; gives back the request's id.
pub fn ask(scene: &mut Scene<'_>, request: &SignRequest) -> Result<portcullis_domain::EnvelopeId> {
    let sealed = scene.thief.seal(&SIGN, None, request)?;
    scene.thief.send(&sealed)?;
    Ok(sealed.id)
}

/// The signer's signature for a request that it signs.
pub fn signature_for(scene: &mut Scene<'_>, request: &SignRequest) -> Result<(String, String)> {
    let id = ask(scene, request)?;
    let signed = scene.thief.hear(Duration::from_secs(5), |heard| {
        let (header, answer) = read_unsealed::<SignResponse>(&heard.bytes).ok()?;
        (header.causation == Some(id)).then_some(answer)
    })?;
    match signed.context("the signer's answer")? {
        SignResponse::Signed { api_key, signature } => {
            Ok((api_key.as_str().into(), signature.as_str().into()))
        }
        SignResponse::Refused { reason } => anyhow::bail!("the signer refused: {reason:?}"),
    }
}

/// The same header and seals around another body.
fn with_other_body(frame: &[u8], order: &Order) -> Result<Vec<u8>> {
    let parsed = Frame::parse(frame)?;
    let body = codec::encode(order)?;
    let mut out = vec![0x94, 0x01];
    for part in [parsed.header, &body] {
        let length = u16::try_from(part.len())?.to_be_bytes();
        match length {
            [0, short] => out.extend([0xc4, short]),
            [high, low] => out.extend([0xc5, high, low]),
        }
        out.extend_from_slice(part);
    }
    out.push(0x90 | u8::try_from(parsed.seals.len())?);
    for (key_id, tag) in &parsed.seals {
        out.push(0x92);
        match u8::try_from(key_id.len())? {
            short @ 0..=31 => out.push(0xa0 | short),
            long => out.extend([0xd9, long]),
        }
        out.extend_from_slice(key_id.as_bytes());
        out.extend([0xc4, 32]);
        out.extend_from_slice(tag);
    }
    Frame::parse(&out).context("an altered frame is still a frame")?;
    Ok(out)
}
