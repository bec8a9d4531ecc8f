//! Execution's bundle with brain's, risk-guard's and the signer's: whoever may ask for signatures.

use super::*;
use crate::goals::ways::plain_permit;

/// A request of execution's stolen keys to the signer; what it refuses is on record.
fn request(
    team: &mut Team<'_>,
    permit: &[u8],
    order: &Order,
    change: &str,
) -> Result<(Mark, Sealed)> {
    let payload = venue::body_of(order);
    let payload = match change {
        "bytes" => payload.replace("\"qty\":\"", "\"qty\":\"9"),
        _ => payload,
    };
    let timestamp_ms = match change {
        "time" => venue::now_ms().saturating_sub(20_000),
        _ => venue::now_ms(),
    };
    let request = SignRequest {
        action: SignAction::Place {
            permit: permit.to_vec(),
        },
        timestamp_ms,
        payload: payload.into_bytes(),
    };
    let sealed = team.thief("execution")?.seal(&SIGN, None, &request)?;
    team.took("execution");
    let mark = team.stage.mark()?;
    team.thief("execution")?.send(&sealed)?;
    Ok((mark, sealed))
}

pub(super) fn without_a_permit(team: &mut Team<'_>) -> Result<Outcome> {
    let order = made_up_order(team.stage, "10")?;
    let sealed = team.thief("brain")?.seal(&ORDER, None, &order)?;
    team.took("brain");
    // Execution holds the key under which risk-guard seals for it, and no other of risk-guard's.
    let guard = PrincipalName::new("risk-guard")?;
    let permit = plain_permit(sealed.frame, team.stage.policy_hash);
    let permit = team
        .thief("execution")?
        .seal_as(guard, &PERMIT, None, &permit)?;
    let (mark, _) = request(team, &permit.frame, &order, "")?;
    let way = "ask the signer for brain's order with a permit that execution sealed itself";
    let refused = vec![
        team.stage
            .refused_by(mark, way, "signer", &permit.frame, &["NO_SEAL"])?,
        team.stage.unsigned(mark, way, None, Reason::OrderSeal)?,
    ];
    team.make_honest()?;
    Ok(Outcome::blocked(refused))
}

pub(super) fn without_the_brain(team: &mut Team<'_>) -> Result<Outcome> {
    let order = made_up_order(team.stage, "10")?;
    let brain = PrincipalName::new("brain")?;
    let sealed = team
        .thief("execution")?
        .seal_as(brain, &ORDER, None, &order)?;
    let policy = team.stage.policy_hash;
    let permit = permit_around(team, sealed.frame, policy)?;
    let (mark, _) = request(team, &permit.frame, &order, "")?;
    let way = "ask the signer for an order that brain never sealed for it";
    let refused = vec![
        team.stage
            .refused_by(mark, way, "signer", &permit.frame, &["NO_SEAL"])?,
        team.stage.unsigned(mark, way, None, Reason::OrderSeal)?,
    ];
    team.make_honest()?;
    Ok(Outcome::blocked(refused))
}

/// An order of the honest brain, as risk-guard's stolen bundle hears it.
fn brains_order(team: &mut Team<'_>) -> Result<(Order, Vec<u8>)> {
    let subject = ORDER.row.pattern;
    team.thief("risk-guard")?.listen(subject)?;
    team.thief("risk-guard")?.forget();
    // With the real one stopped, nobody but the thief permits it.
    team.stage.freeze("risk-guard")?;
    team.took("risk-guard");
    team.stage.propose(Side::Buy, "10")?;
    let heard = team
        .thief("risk-guard")?
        .hear(Duration::from_secs(5), |heard| {
            let (_, order) = read_unsealed::<Order>(&heard.bytes).ok()?;
            (heard.subject == subject).then(|| (order, heard.bytes.clone()))
        })?;
    let found = heard.context("an order of brain")?;
    team.stage.thaw("risk-guard")?;
    Ok(found)
}

pub(super) fn other_bytes(team: &mut Team<'_>) -> Result<Outcome> {
    let mut refused = Vec::new();
    let (order, frame) = brains_order(team)?;
    let policy = team.stage.policy_hash;
    let permit = permit_around(team, frame, policy)?;
    for (change, way, why) in [
        (
            "bytes",
            "get other bytes signed for a permitted order",
            Reason::BytesDiffer,
        ),
        (
            "time",
            "get a permitted order signed for another time",
            Reason::ClockSkew,
        ),
    ] {
        let (mark, _) = request(team, &permit.frame, &order, change)?;
        refused.push(team.stage.unsigned(mark, way, Some(order.id), why)?);
    }
    let day = venue::now_ms().saturating_add(86_400_000);
    let login = SignRequest {
        action: SignAction::StreamLogin { expires_ms: day },
        timestamp_ms: venue::now_ms(),
        payload: format!("GET/realtime{day}").into_bytes(),
    };
    let sealed = team.thief("execution")?.seal(&SIGN, None, &login)?;
    let mark = team.stage.mark()?;
    team.thief("execution")?.send(&sealed)?;
    let way = "get a login signed that lasts a day, asked for at the present time";
    refused.push(team.stage.unsigned(mark, way, None, Reason::ClockSkew)?);
    team.make_honest()?;
    Ok(Outcome::blocked(refused))
}

pub(super) fn signed_without_a_heartbeat(team: &mut Team<'_>) -> Result<Outcome> {
    let (order, frame) = brains_order(team)?;
    let policy = team.stage.policy_hash;
    let permit = permit_around(team, frame, policy)?;
    let mut beat = armed(team.stage);
    beat.kill = portcullis_domain::KillState::Triggered;
    // The real one says armed four times a second: the thief speaks right after it.
    team.stage.freeze("risk-guard")?;
    let sealed = team.thief("risk-guard")?.seal(&HEARTBEAT, None, &beat)?;
    team.thief("risk-guard")?.send(&sealed)?;
    let way = "get an order signed while risk-guard's switch is pulled";
    let (mark, _) = request(team, &permit.frame, &order, "")?;
    let why = Reason::KillSwitch;
    let mut refused = vec![team.stage.unsigned(mark, way, Some(order.id), why)?];
    team.make_honest()?;

    let (order, frame) = brains_order(team)?;
    team.stage.freeze("risk-guard")?;
    let permit = permit_around(team, frame, policy)?;
    std::thread::sleep(Duration::from_millis(1_200));
    let way = "get an order signed while risk-guard stands still";
    let (mark, _) = request(team, &permit.frame, &order, "")?;
    let why = Reason::GuardSilent;
    refused.push(team.stage.unsigned(mark, way, Some(order.id), why)?);
    team.make_honest()?;
    Ok(Outcome::blocked(refused))
}

pub(super) fn signed_under_another_policy(team: &mut Team<'_>) -> Result<Outcome> {
    let (order, frame) = brains_order(team)?;
    let permit = permit_around(team, frame, Hash([7; 32]))?;
    let (mark, _) = request(team, &permit.frame, &order, "")?;
    let way = "get an order signed that was permitted under another policy";
    let refused = team
        .stage
        .unsigned(mark, way, Some(order.id), Reason::PolicyMismatch)?;
    team.make_honest()?;
    Ok(Outcome::blocked(vec![refused]))
}

/// The signer's bundle holds both keys under which an order and a permit are sealed for it: whoever
/// reads under a key can also seal under it. Alone it has no way to hand the signer anything.
pub(super) fn without_the_venues_key(team: &mut Team<'_>) -> Result<Outcome> {
    // Below the market, so that it fills nothing: a fill of an order that is not its own has execution
    // pull its switch, and the other cells need a stack that trades.
    let mut order = made_up_order(team.stage, "20")?;
    order.limit_price = tick(order.limit_price.lowered(Bps::new(100)?)?)?;
    let (brain, guard) = (
        PrincipalName::new("brain")?,
        PrincipalName::new("risk-guard")?,
    );
    let sealed = team.thief("signer")?.seal_as(brain, &ORDER, None, &order)?;
    let permit = plain_permit(sealed.frame, team.stage.policy_hash);
    let permit = team
        .thief("signer")?
        .seal_as(guard, &PERMIT, None, &permit)?;
    let mark = team.stage.mark()?;
    let body = venue::body_of(&order);
    let port = team.stage.stack.port("exchange");
    let answer = venue::post_order(port, &body, "a-key-of-its-own", "00", venue::now_ms())?;
    let way = "send an order to the venue without a signature of the signer";
    let code = venue::refusal(&answer, way)?;
    let refused = team.stage.refused_by_venue(mark, way, &code);

    let answers = SIGNATURE.row.pattern;
    team.thief("execution")?.listen(answers)?;
    team.thief("execution")?.forget();
    let (mark, sealed) = request(team, &permit.frame, &order, "")?;
    let (_, asked) = read_unsealed::<SignRequest>(&sealed.frame)?;
    let signed = team
        .thief("execution")?
        .hear(Duration::from_secs(5), |heard| {
            let (header, answer) = read_unsealed::<SignResponse>(&heard.bytes).ok()?;
            (header.causation == Some(sealed.id)).then_some(answer)
        })?;
    let Some(SignResponse::Signed { api_key, signature }) = signed else {
        bail!("the signer answered {signed:?}");
    };
    team.stage.excused.insert(order.id.to_string());
    let (api_key, signature) = (api_key.as_str(), signature.as_str());
    let answer = venue::post_order(port, &body, api_key, signature, asked.timestamp_ms)?;
    let at_exchange = sent(team.stage, order.id).with_context(|| answer.to_string())?;
    let (entry, ()) = team
        .stage
        .recorded(mark, "the signature on record", |entry| {
            fact::<SignatureRecord>(entry, "evt.signer.signature")
                .filter(|record| record.order == Some(order.id))
                .map(drop)
        })?;
    team.took("signer");
    team.make_honest()?;
    Ok(Outcome::allowed(
        "place any order: with the signer's link keys it seals what the signer wants to see, with \
         execution's it asks for the signature and reaches the venue. The signature is on record with \
         no permit before it; should it fill, execution finds a fill that is not its own and pulls its \
         switch",
        format!(
            "entry {} of audit's log has the signature; the exchange: {at_exchange}",
            entry.index
        ),
        vec![refused],
    ))
}
