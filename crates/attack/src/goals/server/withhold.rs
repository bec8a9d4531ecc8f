//! What the server keeps back, and who notices.

use super::*;

/// One thing that a decision needs, kept back, and the order that must not go out without it.
type Withheld = (
    &'static str,
    &'static str,
    String,
    fn(&mut Stage, crate::stage::Mark, &str, OrderId) -> Result<Refused>,
);

pub(super) fn delay(team: &mut Team<'_>) -> Result<Outcome> {
    keep_back(team, "brain", &["account: STRATEGY_TRADER,", PROPOSALS])?;
    team.server()?.tap(TRADER)?.listen(PROPOSALS)?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    let late = team.stage.propose(Side::Buy, "10")?;
    let caught = team.server()?.tap(TRADER)?.catch(PROPOSALS)?;
    std::thread::sleep(OVER);
    let way = "deliver a proposal after its time";
    let mut refused = vec![slip(team, "brain", way, PROPOSALS, &caught, &["EXPIRED"])?];
    ensure!(
        team.stage.at_exchange(late)?.is_none(),
        "{way}: it was traded"
    );
    let_pass(team)?;

    let permits = PERMIT.row.pattern;
    keep_back(team, "execution", &["account: RISK_GUARD,", permits])?;
    team.server()?.tap("risk-guard")?.listen(permits)?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    let late = team.stage.propose(Side::Buy, "10")?;
    let caught = team.server()?.tap("risk-guard")?.catch(permits)?;
    std::thread::sleep(OVER);
    let way = "deliver a permit after its time";
    refused.push(slip(
        team,
        "execution",
        way,
        permits,
        &caught,
        &["EXPIRED"],
    )?);
    ensure!(
        team.stage.at_exchange(late)?.is_none(),
        "{way}: it was traded"
    );
    let_pass(team)?;

    let (beats, status) = (HEARTBEAT.row.pattern, EXECUTION_STATUS.row.pattern);
    let withheld: [Withheld; 6] = [
        (
            "execution",
            "RISK_GUARD",
            beats.into(),
            |stage, mark, way, id| stage.gated(mark, way, id, Reason::GuardSilent),
        ),
        (
            "signer",
            "RISK_GUARD",
            beats.into(),
            |stage, mark, way, id| stage.unsigned(mark, way, Some(id), Reason::GuardSilent),
        ),
        (
            "brain",
            "RISK_GUARD",
            beats.into(),
            |stage, mark, way, id| stage.decided(mark, way, id, Reason::GuardSilent),
        ),
        (
            "risk-guard",
            "EXECUTION",
            status.into(),
            |stage, mark, way, id| stage.judged(mark, way, id, Reason::PositionUnknown),
        ),
        (
            "risk-guard",
            "MARKET_DATA",
            book_subject(),
            |stage, mark, way, id| stage.judged(mark, way, id, Reason::StaleMarketData),
        ),
        (
            "execution",
            "MARKET_DATA",
            book_subject(),
            |stage, mark, way, id| stage.gated(mark, way, id, Reason::StaleMarketData),
        ),
    ];
    for (reader, account, subject, refusal) in withheld {
        let account = format!("account: {account},");
        let quoted = format!("\"{subject}\"");
        keep_back(team, reader, &[&account, &quoted])?;
        std::thread::sleep(Duration::from_millis(1_300));
        let mark = team.stage.mark()?;
        let id = team.stage.propose(Side::Buy, "10")?;
        let way = format!("keep {subject} from {reader}");
        refused.push(refusal(team.stage, mark, &way, id)?);
        ensure!(
            team.stage.at_exchange(id)?.is_none(),
            "{way}: the order was sent"
        );
        let_pass(team)?;
    }
    Ok(Outcome::blocked(refused))
}

/// Lies to a source that the stream has its facts, while nobody got them.
fn swallow(team: &mut Team<'_>, source: &str, subject: &str) -> Result<()> {
    let account = source.to_ascii_uppercase().replace('-', "_");
    let quoted = format!("\"{subject}\"");
    let server = team.server()?;
    server.keep_from("audit", &[&format!("account: {account},"), &quoted])?;
    server.keep_from(source, &["account: STORE,", &quoted])?;
    server.tap(source)?.listen(subject)?;
    rejoin(team.stage)?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    Ok(())
}

/// Answers the next fact on a subject as the stream would.
fn acknowledge(team: &mut Team<'_>, source: &str, subject: &str) -> Result<()> {
    let stream = portcullis_runtime::nats_config::facts_streams(
        &portcullis_runtime::nats_config::development_roster(),
    );
    let own = stream
        .iter()
        .find(|stream| stream.subjects.iter().any(|one| one == subject));
    let name = own.context("a stream of that subject")?.name.clone();
    let tap = team.server()?.tap(source)?;
    let reply = tap.hear(Duration::from_secs(5), |heard| {
        (heard.subject == subject && !heard.reply.is_empty()).then(|| heard.reply.clone())
    })?;
    let answer = serde_json::json!({ "stream": name, "seq": 1 });
    let reply = reply.with_context(|| format!("no fact on {subject}"))?;
    tap.say(&reply, answer.to_string().as_bytes())
}

pub(super) fn drop_facts(team: &mut Team<'_>) -> Result<Outcome> {
    let subject = SIGNED.row.pattern;
    swallow(team, "signer", subject)?;
    let mark = team.stage.mark()?;
    let id = team.stage.propose(Side::Buy, "10")?;
    acknowledge(team, "signer", subject)?;
    team.stage
        .reported(mark, "an order whose signature is kept off the record", id)?;
    let hidden = team
        .stage
        .shows(mark, |entry| (entry.subject == subject).then_some(()))?;
    ensure!(hidden.is_none(), "audit recorded what was kept back");
    let_pass(team)?;
    let mark_later = team.stage.mark()?;
    team.stage.trade(Side::Buy, "10")?;
    let way = "swallow a fact and tell its source that the stream has it";
    let (entry, ()) = team
        .stage
        .recorded(mark_later, way, |entry| match entry.own()? {
            Own::Gap { source, .. } => (source.as_str() == "signer").then_some(()),
            _ => None,
        })?;
    let gap = team
        .stage
        .seen(mark, &entry, way, "audit", "GAP")
        .and_seen_by("audit");
    Ok(Outcome::allowed(
        "hide facts of a service for as long as it hides everything that this service says after \
         them: the next one that passes shows the gap, and after a minute without any audit says \
         that the service is silent. A permit that audit has not got gives no receipt, and so no \
         order",
        "a signature was kept off the record until the signer's next fact",
        vec![gap],
    ))
}

pub(super) fn mute(team: &mut Team<'_>) -> Result<Outcome> {
    for service in ["risk-guard", "execution", "signer"] {
        team.server()?
            .keep_from(service, &["account: OPERATOR_DEV,", KILL.row.pattern])?;
    }
    rejoin(team.stage)?;
    let (exit, said) = team
        .stage
        .stack
        .portcullis(&["kill", "--reason", "muted", "--yes"]);
    ensure!(
        exit != 0,
        "the kill command says that it was obeyed: {said}"
    );
    let (id, ms) = team.stage.trade(Side::Buy, "10")?;
    let_pass(team)?;
    let silenced = silence(team)?;
    Ok(Outcome::allowed(
        "keep a kill command back while heartbeats pass: the operator is told that nobody obeyed, \
         and stops the processes",
        format!(
            "`portcullis kill` ended with {exit}; order {id} was still traded, in {ms} ms. Without \
             heartbeats execution cancelled what was open after {silenced} ms by itself"
        ),
        Vec::new(),
    ))
}

/// Keeps risk-guard's heartbeats from execution while an order rests; how long until it is cancelled.
fn silence(team: &mut Team<'_>) -> Result<u64> {
    let mid = team.stage.mid()?;
    let low = super::super::ways::tick(mid.lowered(portcullis_domain::Bps::new(800)?)?)?;
    let wanted = portcullis_wire::messages::Proposal {
        limit_price: Some(low),
        time_in_force: portcullis_domain::TimeInForce::GoodTillCancel,
        ..proposal(Side::Buy, "20")?
    };
    let mark = team.stage.mark()?;
    team.stage.trader.begin();
    let name = Some("trader");
    let sealed = team
        .stage
        .trader
        .seal(&portcullis_wire::subjects::PROPOSAL, name, &wanted)?;
    team.stage.trader.send(&sealed)?;
    let id = order_id(StrategyId::new("trader")?, sealed.id);
    let rests = poll(Duration::from_secs(5), || team.stage.at_exchange(id))?;
    rests.context("the order does not rest")?;
    let beats = format!("\"{}\"", HEARTBEAT.row.pattern);
    let begun = now();
    keep_back(team, "execution", &["account: RISK_GUARD,", &beats])?;
    let (_, report) = team
        .stage
        .reported(mark, "what rests without heartbeats", id)?;
    ensure!(
        report.status == portcullis_domain::OrderStatus::Cancelled,
        "without heartbeats the order ended as {report:?}"
    );
    let ms = now().since(begun).0 / 1_000;
    let_pass(team)?;
    Ok(ms)
}
