//! A bundle with the bus server: its keys reach whom the table would not let them reach.

use super::*;

/// A proposal of the sample strategy, to be changed by hand.
fn wanted(team: &mut Team<'_>) -> Result<Craft> {
    // Refused for its size, should it ever be opened.
    let large = proposal(Side::Buy, "1000000")?;
    let sealed = team
        .thief("strategy")?
        .seal(&PROPOSAL, Some("sample"), &large)?;
    Craft::of(&sealed)
}

fn refused_by_brain(team: &mut Team<'_>, way: &str, craft: &Craft, code: &str) -> Result<Refused> {
    let key = team.key("strategy", "strategy-sample", "brain")?;
    let frame = craft.seal([&key])?;
    let subject = craft.header.subject.clone();
    slip(team, "brain", way, &subject, &frame, &[code])
}

pub(super) fn as_another_strategy(team: &mut Team<'_>) -> Result<Outcome> {
    let craft = wanted(team)?;
    let trader = PrincipalName::new("strategy-trader")?;
    let own = "cmd.brain.propose.sample";
    let subject = "cmd.brain.propose.trader";
    let way = "propose on another strategy's subject";
    let on_its = craft.with(|craft| craft.header.subject = subject.into());
    let mut refused = vec![refused_by_brain(team, way, &on_its, "WRONG_SUBJECT")?];
    let way = "propose in another strategy's name";
    let as_it = craft.with(|craft| craft.header.source = trader);
    ensure!(as_it.header.subject == own, "on its own subject");
    refused.push(refused_by_brain(team, way, &as_it, "WRONG_SUBJECT")?);
    Ok(Outcome::blocked(refused))
}

pub(super) fn misaddressed(team: &mut Team<'_>) -> Result<Outcome> {
    let craft = wanted(team)?;
    let way = "send what is addressed to somebody else";
    let risk_guard = PrincipalName::new("risk-guard")?;
    let other = craft.with(|craft| craft.header.audience = vec![risk_guard]);
    let mut refused = vec![refused_by_brain(team, way, &other, "WRONG_ADDRESSEE")?];
    let way = "send what is said to be another kind of message";
    let other = craft.with(|craft| craft.header.kind = "order".into());
    refused.push(refused_by_brain(team, way, &other, "WRONG_SUBJECT")?);
    let way = "send a body in another spelling";
    let other = craft.with(|craft| craft.body.push(0xc0));
    refused.push(refused_by_brain(team, way, &other, "MALFORMED_BODY")?);
    let way = "seal with a key of an epoch that does not exist";
    let key = team.key("strategy", "strategy-sample", "brain")?;
    let id = KeyId::new(key.link, 4_000);
    let frame = craft.seal_under([(id, key.key.clone())])?;
    let subject = craft.header.subject.clone();
    refused.push(slip(
        team,
        "brain",
        way,
        &subject,
        &frame,
        &["UNKNOWN_KEY"],
    )?);
    Ok(Outcome::blocked(refused))
}

pub(super) fn twice_in_one_place(team: &mut Team<'_>) -> Result<Outcome> {
    let craft = wanted(team)?;
    let key = team.key("strategy", "strategy-sample", "brain")?;
    let first = craft.seal([&key])?;
    let subject = craft.header.subject.clone();
    team.server()?.tap("brain")?.say(&subject, &first)?;
    let way = "say something else in a place that was taken";
    let id = portcullis_runtime::envelope_id()?;
    let other = craft.with(|craft| craft.header.id = id);
    let mut refused = vec![refused_by_brain(team, way, &other, "REPLAY")?];
    let way = "say something else under an id that was taken";
    let other = craft.with(|craft| craft.header.seq = craft.header.seq.saturating_add(1));
    refused.push(refused_by_brain(team, way, &other, "REPLAY")?);
    let way = "speak as an earlier start";
    let other = craft.fresh(1)?.with(|craft| craft.header.boot = 1);
    refused.push(refused_by_brain(team, way, &other, "REPLAY")?);
    Ok(Outcome::blocked(refused))
}

pub(super) fn out_of_its_time(team: &mut Team<'_>) -> Result<Outcome> {
    let craft = wanted(team)?;
    let way = "seal a proposal that lives for an hour";
    let long = craft.with(|craft| {
        craft.header.expires_at = craft.header.issued_at.plus(Span::from_secs(3_600));
    });
    let mut refused = vec![refused_by_brain(team, way, &long, "EXPIRED")?];
    let way = "seal a proposal for an hour from now";
    let later = craft.with(|craft| {
        craft.header.issued_at = craft.header.issued_at.plus(Span::from_secs(3_600));
        craft.header.expires_at = craft.header.expires_at.plus(Span::from_secs(3_600));
    });
    refused.push(refused_by_brain(team, way, &later, "SEALED_IN_FUTURE")?);
    let way = "send a proposal of yesterday";
    let past = craft.with(|craft| {
        craft.header.issued_at = craft.header.issued_at.minus(Span::from_secs(86_400));
        craft.header.expires_at = craft.header.expires_at.minus(Span::from_secs(86_400));
    });
    refused.push(refused_by_brain(team, way, &past, "EXPIRED")?);
    Ok(Outcome::blocked(refused))
}

pub(super) fn anothers_heartbeat(team: &mut Team<'_>) -> Result<Outcome> {
    let key = team.key("execution", "execution", "signer")?;
    let beat = Craft::of(&forged_heartbeat(team.stage)?)?;
    let subject = HEARTBEAT.row.pattern;
    let codes = ["NO_SEAL"];
    let frame = beat.seal([&key])?;
    let way = "hand the signer a heartbeat under execution's key, in risk-guard's name";
    let mut refused = vec![slip(team, "signer", way, subject, &frame, &codes)?];
    let own = PrincipalName::new("execution")?;
    let frame = beat
        .fresh(1)?
        .with(|beat| beat.header.source = own)
        .seal([&key])?;
    let way = "hand the signer a heartbeat under execution's key, in its own name";
    refused.push(slip(team, "signer", way, subject, &frame, &codes)?);

    // A key between two is known to both: only the signature says that risk-guard made it.
    let key = team.key("execution", "risk-guard", "execution")?;
    let tap = team.server()?.tap("risk-guard")?;
    tap.listen(subject)?;
    tap.forget();
    let caught = Craft::read(&tap.catch(subject)?)?;
    let frame = caught.fresh(1)?.seal([&key])?;
    let way = "hand execution a heartbeat under the key that it shares with risk-guard";
    refused.push(slip(
        team,
        "execution",
        way,
        subject,
        &frame,
        &[Refusal::Author.code()],
    )?);
    Ok(Outcome::blocked(refused))
}

pub(super) fn self_made_receipt(team: &mut Team<'_>) -> Result<Outcome> {
    // A key between two is known to both: only the signature says that audit made it.
    let subject = RECEIPT.row.pattern;
    let (mark, id, taken) = without_receipt(team)?;
    let receipt = Receipt {
        fact: fact_digest(&taken),
        order: id,
        ..made_up_receipt(id)
    };
    let signed = Signer::from_seed(&[0x77; 32]).sign(&receipt)?;
    let audit = PrincipalName::new("audit")?;
    let sealed = team
        .thief("execution")?
        .seal_as(audit, &RECEIPT, None, &signed)?;
    team.server()?
        .tap("execution")?
        .say(subject, &sealed.frame)?;
    let way = "give execution a receipt under its own key for audit";
    let code = "BAD_SIGNATURE";
    let refused = complained(team.stage, mark, way, "execution", code, |notice| {
        warns(notice, "receipt whose signature is not audit's")
    })?;
    let unsent = team.stage.gated(mark, way, id, Reason::NoReceipt)?;
    ensure!(
        team.stage.at_exchange(id)?.is_none(),
        "{way}: the order was sent"
    );
    team.took("audit");
    let_pass(team)?;
    team.make_honest()?;
    Ok(Outcome::blocked(vec![refused, unsent]))
}

/// A kill command that its reader's own keys seal.
fn kill_under(
    team: &mut Team<'_>,
    reader: &str,
    kill: &Kill,
    seed: &[u8; 32],
) -> Result<(Mark, Vec<u8>)> {
    let signed = Signer::from_seed(seed).sign(kill)?;
    let operator = PrincipalName::new("operator-dev")?;
    let sealed = team
        .thief(reader)?
        .seal_as(operator, &KILL, None, &signed)?;
    let mark = team.stage.mark()?;
    let heard_as = "ops.kill.operator-dev";
    team.server()?.tap(reader)?.say(heard_as, &sealed.frame)?;
    Ok((mark, sealed.frame))
}

pub(super) fn kill_of_nobody(team: &mut Team<'_>) -> Result<Outcome> {
    let kill = Kill {
        realm: Realm::new("dev")?,
        operator: PrincipalName::new("operator-dev")?,
        reason: Text::lossy("nobody said so"),
        at: now(),
    };
    let (mark, _) = kill_under(team, "execution", &kill, &[0x77; 32])?;
    let way = "pull execution's switch in an operator's name";
    let code = "BAD_SIGNATURE";
    let refused = complained(team.stage, mark, way, "execution", code, |notice| {
        warns(notice, "kill command of operator-dev refused")
    })?;
    let status = team.stage.stack.portcullis(&["status"]).1;
    ensure!(
        status.get("standing").and_then(serde_json::Value::as_str) == Some("trading"),
        "{way}: {status}"
    );
    Ok(Outcome::blocked(vec![refused]))
}

pub(super) fn permit_of_an_operator(team: &mut Team<'_>) -> Result<Outcome> {
    let key = team.key("operator", "operator-dev", "execution")?;
    let permit = super::super::ways::forged_permit(team.stage, "10")?;
    let subject = PERMIT.row.pattern;
    let frame = Craft::of(&permit)?.seal([&key])?;
    let way = "hand execution a permit under an operator's key";
    let refused = slip(team, "execution", way, subject, &frame, &["NO_SEAL"])?;
    Ok(Outcome::blocked(vec![refused]))
}

pub(super) fn kill_of_elsewhere(team: &mut Team<'_>) -> Result<Outcome> {
    let (thief, _) = team.with("operator")?;
    let kill = |realm: &str, operator: &str| -> Result<Kill> {
        Ok(Kill {
            realm: Realm::new(realm)?,
            operator: PrincipalName::new(operator)?,
            reason: Text::lossy("meant for another"),
            at: now(),
        })
    };
    let signing = thief.identity.signing.as_ref();
    let signing = signing.context("the operator's signing seed")?;
    let elsewhere = signing.sign(&kill("staging", "operator-dev")?)?;
    let another = signing.sign(&kill("dev", "operator-else")?)?;
    let mut refused = Vec::new();
    for (way, code, words, signed) in [
        (
            "use a kill that was signed for staging",
            "WRONG_REALM",
            "signed for realm staging",
            elsewhere,
        ),
        (
            "use a kill that another operator signed",
            "WRONG_OPERATOR",
            "signed as operator-else",
            another,
        ),
    ] {
        let mark = team.stage.mark()?;
        let sealed = team.thief("operator")?.seal(&KILL, None, &signed)?;
        team.thief("operator")?.send(&sealed)?;
        for service in ["risk-guard", "execution", "signer"] {
            let found = complained(
                team.stage,
                mark,
                way,
                service,
                code,
                |notice| match notice {
                    Notice::Violation { code: said, .. } => said.as_str() == code,
                    other => warns(other, words),
                },
            )?;
            refused.push(found);
        }
        // Execution puts one refused kill a second on record.
        std::thread::sleep(Duration::from_millis(1_100));
    }
    let status = team.stage.stack.portcullis(&["status"]).1;
    ensure!(
        status.get("standing").and_then(serde_json::Value::as_str) == Some("trading"),
        "somebody obeyed: {status}"
    );
    Ok(Outcome::blocked(refused))
}

pub(super) fn receipt_for_something_else(team: &mut Team<'_>) -> Result<Outcome> {
    let subject = RECEIPT.row.pattern;
    let (mark, id, taken) = without_receipt(team)?;
    let (header, _) = read_unsealed::<PermitTaken>(&taken)?;
    let receipt = made_up_receipt(id);
    let thief = team.thief("audit")?;
    let signing = thief.identity.signing.as_ref();
    let signed = signing.context("audit's signing seed")?.sign(&receipt)?;
    let sealed = thief.answer(&header, &RECEIPT, None, &signed)?;
    team.server()?
        .tap("execution")?
        .say(subject, &sealed.frame)?;
    team.took("audit");
    let way = "give a receipt that names another fact";
    let refused = team.stage.gated(mark, way, id, Reason::NoReceipt)?;
    ensure!(
        team.stage.at_exchange(id)?.is_none(),
        "{way}: the order was sent"
    );
    let_pass(team)?;
    team.make_honest()?;
    Ok(Outcome::blocked(vec![refused]))
}

/// An order whose permit execution has put on record while audit's receipts are kept back: when, which,
/// and the fact that a receipt has to be about.
fn without_receipt(team: &mut Team<'_>) -> Result<(Mark, OrderId, Vec<u8>)> {
    let facts = PERMIT_TAKEN.row.pattern;
    keep_back(team, "execution", &["account: AUDIT,", RECEIPT.row.pattern])?;
    team.server()?.tap("execution")?.listen(facts)?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    let mark = team.stage.mark()?;
    let id = team.stage.propose(Side::Buy, "10")?;
    let taken = team.server()?.tap("execution")?.catch(facts)?;
    Ok((mark, id, taken))
}
