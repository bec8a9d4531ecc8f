//! Use it as it is meant to be used: what a stolen bundle can do, plainly.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use audit::verify::read_unsealed;
use portcullis_domain::{Order, OrderStatus, Side, StrategyId};
use portcullis_wire::messages::{ExecutionStatus, PermitTaken, SignRequest, SignResponse};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{
    EXECUTION_STATUS, ORDER, PERMIT, PERMIT_TAKEN, PROPOSAL, SIGN, SIGNATURE,
};
use portcullis_wire::{Text, order_id};

use super::heartbeat::beating;
use super::ways::{Scene, made_up_order, plain_permit, wallet};
use crate::outcome::{Outcome, Refused};
use crate::stage::proposal;
use crate::stolen::now;

/// How long an answer on the bus may take.
const SOON: Duration = Duration::from_secs(5);

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    match scene.thief.role {
        Some(Role::Strategy) => propose(scene),
        Some(Role::Brain) => order(scene),
        Some(Role::RiskGuard) => permit(scene),
        Some(Role::Execution) => read_the_account(scene),
        Some(Role::Signer) => {
            let refused = answer_wrongly(scene)?;
            Ok(Outcome::allowed(
                "withhold signatures or give false ones: nothing trades then",
                "with the real signer stopped, the venue rejected the order",
                vec![refused],
            ))
        }
        Some(Role::Audit) => hear_facts(scene),
        Some(Role::MarketData) => super::loosen::shift(scene, 30),
        Some(Role::Operator) => hear_positions(scene),
        None => ask(scene),
    }
}

fn propose(scene: &mut Scene<'_>) -> Result<Outcome> {
    let wanted = proposal(Side::Buy, "10")?;
    let mark = scene.stage.mark()?;
    let sealed = scene.thief.seal(&PROPOSAL, Some("sample"), &wanted)?;
    scene.thief.send(&sealed)?;
    let id = order_id(StrategyId::new("sample")?, sealed.id);
    let (_, report) = scene.stage.reported(mark, "a proposal", id)?;
    ensure!(
        scene.stage.at_exchange(id)?.is_some(),
        "a proposal within the budget did not become an order: {report:?}"
    );
    Ok(Outcome::allowed(
        "propose within this strategy's budget, instruments and rate",
        "a proposal of 10 XRPUSDT was decided by brain, permitted by risk-guard, and traded",
        Vec::new(),
    ))
}

fn order(scene: &mut Scene<'_>) -> Result<Outcome> {
    let order = made_up_order(scene.stage, "10")?;
    let mark = scene.stage.mark()?;
    let sealed = scene.thief.seal(&ORDER, None, &order)?;
    scene.thief.send(&sealed)?;
    scene.took("brain");
    let (_, report) = scene
        .stage
        .reported(mark, "an order without a proposal", order.id)?;
    ensure!(
        scene.stage.at_exchange(order.id)?.is_some(),
        "risk-guard's permit did not suffice: {report:?}"
    );
    Ok(Outcome::allowed(
        "order in any strategy's name, without a proposal, within risk-guard's limits of size, price, \
         position and rate",
        "an order of 10 XRPUSDT that nobody had proposed was permitted and traded; audit's log has its \
         verdict and permit, and no decision",
        Vec::new(),
    ))
}

/// In the place of the real risk-guard, which is stopped: heartbeats, and a permit without a look.
fn permit(scene: &mut Scene<'_>) -> Result<Outcome> {
    scene.make_honest()?;
    let mark = scene.stage.mark()?;
    let order = permit_in_its_place(scene, scene.stage.policy_hash)?;
    let (_, report) = scene.stage.reported(mark, "an unjudged order", order.id)?;
    ensure!(
        scene.stage.at_exchange(order.id)?.is_some(),
        "the thief's permit did not suffice: {report:?}"
    );
    Ok(Outcome::allowed(
        "permit what brain ordered without judging it, up to execution's compiled-in limits; withhold \
         permits and heartbeats, which stops trading",
        "with the real risk-guard stopped, an order of brain's was traded on the thief's permit; \
         audit's log has its permit, and no verdict",
        Vec::new(),
    ))
}

/// With the real risk-guard stopped: takes the next order of brain's and permits it under a policy.
pub fn permit_in_its_place(
    scene: &mut Scene<'_>,
    policy: portcullis_domain::Hash,
) -> Result<Order> {
    let subject = ORDER.row.pattern;
    scene.thief.listen(subject)?;
    let _beating = beating(scene)?;
    scene.stage.freeze("risk-guard")?;
    scene.took("risk-guard");
    scene.thief.forget();
    let mark = scene.stage.mark()?;
    let id = scene.stage.propose(Side::Buy, "10")?;
    let found = scene.thief.hear(SOON, |heard| {
        let (_, order) = read_unsealed::<Order>(&heard.bytes).ok()?;
        (heard.subject == subject && order.id == id).then(|| (order, heard.bytes.clone()))
    })?;
    let (order, frame) = found.context("brain's order")?;
    scene.thief.begin();
    let permit = plain_permit(frame, policy);
    let sealed = scene.thief.seal(&PERMIT, None, &permit)?;
    scene.thief.send(&sealed)?;
    // The heartbeats go on until execution has said what became of it.
    scene.stage.reported(mark, "what became of it", id)?;
    Ok(order)
}

fn read_the_account(scene: &mut Scene<'_>) -> Result<Outcome> {
    scene.make_honest()?;
    let subject = SIGNATURE.row.pattern;
    scene.thief.listen(subject)?;
    scene.thief.forget();
    let request = scene.thief.seal(&SIGN, None, &wallet()?)?;
    scene.thief.send(&request)?;
    scene.took("execution");
    let signed = scene.thief.hear(SOON, |heard| {
        let (header, answer) = read_unsealed::<SignResponse>(&heard.bytes).ok()?;
        let ours = heard.subject == subject && header.causation == Some(request.id);
        (ours && matches!(answer, SignResponse::Signed { .. })).then_some(())
    })?;
    signed.context("the signer signs a look at the balance")?;
    Ok(Outcome::allowed(
        "read the account, cancel orders, send late or not at all; have what risk-guard permitted signed \
         and send it itself, past execution's own gate and before audit's receipt",
        "the signer signed a request for the balance; where a permit is reused, the first use was the \
         thief's own, and the venue took it",
        Vec::new(),
    ))
}

/// In the place of the real signer, which is stopped: an answer without the venue's key.
pub fn answer_wrongly(scene: &mut Scene<'_>) -> Result<Refused> {
    scene.make_honest()?;
    let subject = SIGN.row.pattern;
    scene.thief.listen(subject)?;
    scene.stage.freeze("signer")?;
    scene.took("signer");
    scene.thief.forget();
    let mark = scene.stage.mark()?;
    let id = scene.stage.propose(Side::Buy, "10")?;
    let request = scene.thief.hear(SOON, |heard| {
        let (header, request) = read_unsealed::<SignRequest>(&heard.bytes).ok()?;
        let payload = String::from_utf8_lossy(&request.payload).into_owned();
        payload.contains(&id.to_string()).then_some(header)
    })?;
    let request = request.context("execution's request")?;
    scene.thief.begin();
    let answer = SignResponse::Signed {
        api_key: Text::lossy("a-key-of-its-own"),
        signature: Text::lossy(&"0".repeat(64)),
    };
    let sealed = scene.thief.answer(&request, &SIGNATURE, None, &answer)?;
    scene.thief.send(&sealed)?;
    let way = "answer with a signature of its own making";
    let (entry, report) = scene.stage.reported(mark, way, id)?;
    ensure!(
        report.status == OrderStatus::Rejected && scene.stage.at_exchange(id)?.is_none(),
        "{way}: {report:?}"
    );
    let code = report.reason.map_or("REJECTED", |reason| reason.code());
    let refused = scene.stage.seen(mark, &entry, way, "the venue", code);
    scene.make_honest()?;
    Ok(refused.and_seen_by("the venue").and_seen_by("execution"))
}

fn hear_facts(scene: &mut Scene<'_>) -> Result<Outcome> {
    scene.thief.listen(PERMIT_TAKEN.row.pattern)?;
    scene.thief.forget();
    scene.stage.trade(Side::Sell, "10")?;
    let heard = scene.thief.hear(SOON, |heard| {
        read_unsealed::<PermitTaken>(&heard.bytes).ok().map(|_| ())
    })?;
    heard.context("a fact")?;
    Ok(Outcome::allowed(
        "read every fact: proposals, orders, permits, fills; withhold receipts, which stops trading",
        "it heard the fact of a permit, with the sealed order inside",
        Vec::new(),
    ))
}

fn hear_positions(scene: &mut Scene<'_>) -> Result<Outcome> {
    let subject = EXECUTION_STATUS.row.pattern;
    scene.thief.listen(subject)?;
    let mut verifier = scene.thief.verifier();
    let status: Option<ExecutionStatus> = scene.thief.hear(SOON, |heard| {
        let opened = verifier.open(&EXECUTION_STATUS, &heard.subject, &heard.bytes, now());
        Some(opened.ok()?.either().message().clone())
    })?;
    status.context("execution's account")?;
    Ok(Outcome::allowed(
        "see positions and open orders, and stop everything",
        "it opened execution's encrypted account; the kill at the end of this suite is sent with this \
         bundle",
        Vec::new(),
    ))
}

/// The provisioner and the monitor: a question to the server that they may ask.
fn ask(scene: &mut Scene<'_>) -> Result<Outcome> {
    let name = scene.thief.name;
    let (question, what, evidence) = if name.as_str() == "provisioner" {
        (
            "$JS.API.STREAM.INFO.FACTS_EXECUTION",
            "see how large the stream is, and create it where it is missing",
            "the server told it the state of the stream",
        )
    } else {
        (
            "$SYS.REQ.SERVER.PING.VARZ",
            "see the server's counters",
            "the server told it its counters",
        )
    };
    scene.thief.listen(&format!("_INBOX.{name}.>"))?;
    scene.thief.forget();
    let inbox = format!("_INBOX.{name}.attack");
    let said = scene.thief.publish_for_reply(question, &inbox, b"")?;
    ensure!(said.errors.is_empty(), "{question}: {:?}", said.errors);
    let answer = scene
        .thief
        .hear(SOON, |heard| (heard.subject == inbox).then_some(()))?;
    answer.with_context(|| format!("an answer to {question}"))?;
    Ok(Outcome::allowed(what, evidence, Vec::new()))
}
