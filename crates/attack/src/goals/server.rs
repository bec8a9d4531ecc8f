//! What the bus server can do once it is taken: everything passes through it, and it seals nothing.

mod alter;
mod withhold;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use audit::verify::read_unsealed;
use audit_core::Own;
use portcullis_domain::{Order, OrderId, Reason, Side, StrategyId, Symbol};
use portcullis_runtime::envelope_id;
use portcullis_runtime::identity::{Bundle, make};
use portcullis_runtime::nats_config::{OperatorId, Roster};
use portcullis_wire::messages::{Permit, SignRequest};
use portcullis_wire::subjects::{
    EXECUTION_STATUS, HEARTBEAT, KILL, ORDER, PERMIT, PERMIT_TAKEN, RECEIPT, SIGN, SIGNED,
};
use portcullis_wire::{Context, Realm, Sealed, Sealer, codec, inspect, order_id};

use super::Phase;
use super::ways::{
    book_around, forged_heartbeat, forged_order, forged_permit, forged_receipt, forged_request,
    made_up_order,
};
use crate::craft::Craft;
use crate::outcome::{Outcome, Refused};
use crate::stage::{SYMBOL, Stage, book_subject, proposal};
use crate::stolen::{forge, now};
use crate::team::{SERVER, Team, TeamCell, rejoin};
use crate::wire::poll;

const fn cell(
    goal: &'static str,
    phase: Phase,
    attempt: fn(&mut Team<'_>) -> Result<Outcome>,
) -> TeamCell {
    TeamCell {
        attacker: SERVER,
        goal,
        phase,
        attempt,
    }
}

/// What is tried with the server alone.
pub const CELLS: &[TeamCell] = &[
    cell("place", Phase::Trading, place),
    cell("limit", Phase::Trading, limit),
    cell("price", Phase::Trading, alter::price),
    cell("side", Phase::Trading, alter::side),
    cell("quantity", Phase::Trading, alter::quantity),
    cell("permit", Phase::Trading, permit),
    cell("sign", Phase::Trading, sign),
    cell("read", Phase::Trading, read),
    cell("receipt", Phase::Trading, receipt),
    cell("heartbeat", Phase::Trading, heartbeat),
    cell("loosen", Phase::Trading, loosen),
    cell("delay", Phase::Trading, withhold::delay),
    cell("realm", Phase::Trading, realm),
    cell("reorder", Phase::Trading, reorder),
    cell("restart", Phase::Trading, restart),
    cell("drop", Phase::Trading, withhold::drop_facts),
    cell("flood", Phase::Trading, flood),
    cell("mute", Phase::Trading, withhold::mute),
    cell("resume", Phase::Killed, resume),
    cell("erase", Phase::Killed, erase),
];

const TRADER: &str = "strategy-trader";
const PROPOSALS: &str = "cmd.brain.propose.trader";
/// Longer than a proposal, an order or a permit lives.
const OVER: Duration = Duration::from_millis(2_200);

/// Has a service receive bytes as if they came from where they should.
///
/// # Errors
/// When it does not refuse them with one of these codes, on record.
pub fn slip(
    team: &mut Team<'_>,
    reader: &str,
    way: &str,
    subject: &str,
    frame: &[u8],
    codes: &[&str],
) -> Result<Refused> {
    // A service puts ten refusals a second on record and counts the rest.
    std::thread::sleep(Duration::from_millis(120));
    let mark = team.stage.mark()?;
    team.server()?.tap(reader)?.say(subject, frame)?;
    team.stage.refused_by(mark, way, reader, frame, codes)
}

/// Keeps something from somebody while the rest goes on.
///
/// # Errors
/// When the server does not take it.
pub fn keep_back(team: &mut Team<'_>, from: &str, imports: &[&str]) -> Result<()> {
    team.server()?.keep_from(from, imports)?;
    rejoin(team.stage)
}

/// Lets everything pass again, and waits until the stack trades.
///
/// # Errors
/// When it does not.
pub fn let_pass(team: &mut Team<'_>) -> Result<()> {
    team.server()?.let_pass()?;
    rejoin(team.stage)?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    Ok(())
}

fn forged(source: &str, sealed: &Sealed) -> (String, String, Vec<u8>) {
    (source.into(), sealed.subject.clone(), sealed.frame.clone())
}

fn place(team: &mut Team<'_>) -> Result<Outcome> {
    let stage = &mut *team.stage;
    let order = forged_order(stage, "10")?;
    let permit = forged_permit(stage, "10")?;
    let request = forged_request(permit.frame.clone())?;
    let name = Some("trader");
    let wanted = forge(
        TRADER,
        &portcullis_wire::subjects::PROPOSAL,
        name,
        &proposal(Side::Buy, "10")?,
    )?;
    let all = [
        forged("brain", &wanted),
        forged("risk-guard", &order),
        forged("execution", &permit),
        forged("signer", &request),
    ];
    let mut refused = Vec::new();
    for (reader, subject, frame) in &all {
        let way = format!("hand {reader} a forged {subject}");
        refused.push(slip(team, reader, &way, subject, frame, &["BAD_SEAL"])?);
    }
    Ok(Outcome::blocked(refused))
}

fn limit(team: &mut Team<'_>) -> Result<Outcome> {
    let permit = forged_permit(team.stage, "2500000")?;
    let way = "hand execution a forged permit for 2,500,000 XRP";
    let refused = slip(
        team,
        "execution",
        way,
        &permit.subject,
        &permit.frame,
        &["BAD_SEAL"],
    )?;
    Ok(Outcome::blocked(vec![refused]))
}

/// How often an order is at the exchange.
fn placed(stage: &Stage, id: OrderId) -> Result<usize> {
    let id = id.to_string();
    let orders = stage.exchange_orders()?;
    let same = |order: &&serde_json::Value| {
        order.get("orderLinkId").and_then(serde_json::Value::as_str) == Some(id.as_str())
    };
    Ok(orders.iter().filter(same).count())
}

/// How many permits of an order execution has on record.
fn taken(stage: &mut Stage, id: OrderId) -> Result<usize> {
    stage.tail.follow()?;
    let facts = stage.tail.from(0).iter();
    let of_it = |entry: &&std::sync::Arc<audit::verify::OwnedEntry>| {
        crate::stage::fact::<portcullis_wire::messages::PermitTaken>(
            entry,
            PERMIT_TAKEN.row.pattern,
        )
        .is_some_and(|taken| taken.order == id)
    };
    Ok(facts.filter(of_it).count())
}

fn permit(team: &mut Team<'_>) -> Result<Outcome> {
    let (orders, permits) = (ORDER.row.pattern, PERMIT.row.pattern);
    team.server()?.tap("brain")?.listen(orders)?;
    team.server()?.tap("risk-guard")?.listen(permits)?;
    team.server()?.tap("brain")?.forget();
    team.server()?.tap("risk-guard")?.forget();
    let (id, _) = team.stage.trade(Side::Buy, "10")?;
    let order = team.server()?.tap("brain")?.catch(orders)?;
    let permit = team.server()?.tap("risk-guard")?.catch(permits)?;
    // At once: the same bytes again do nothing, and nothing is said about them.
    for _ in 0..10 {
        team.server()?.tap("risk-guard")?.say(orders, &order)?;
        team.server()?.tap("execution")?.say(permits, &permit)?;
    }
    std::thread::sleep(OVER);
    let mut refused = Vec::new();
    for (reader, subject, frame) in [
        ("risk-guard", orders, &order),
        ("execution", permits, &permit),
    ] {
        let way = format!("say {subject} again after its time");
        refused.push(slip(team, reader, &way, subject, frame, &["EXPIRED"])?);
    }
    let times = placed(team.stage, id)?;
    ensure!(times == 1, "order {id} is {times} times at the exchange");
    let taken = taken(team.stage, id)?;
    ensure!(taken == 1, "execution took {taken} permits for order {id}");
    Ok(Outcome::blocked(refused))
}

fn sign(team: &mut Team<'_>) -> Result<Outcome> {
    let subject = SIGN.row.pattern;
    keep_back(team, "signer", &["account: EXECUTION,", subject])?;
    team.server()?.tap("execution")?.listen(subject)?;
    team.stage.propose(Side::Buy, "10")?;
    let caught = team
        .server()?
        .tap("execution")?
        .hear(Duration::from_secs(5), |heard| {
            let (_, request) = read_unsealed::<SignRequest>(&heard.bytes).ok()?;
            let places = matches!(
                request.action,
                portcullis_wire::messages::SignAction::Place { .. }
            );
            (places && heard.subject == subject).then(|| heard.bytes.clone())
        })?;
    let caught = caught.context("no request for a signature passed")?;
    let (_, mut request) = read_unsealed::<SignRequest>(&caught)?;
    let text = String::from_utf8(request.payload)?;
    request.payload = text
        .replace("\"qty\":\"10\"", "\"qty\":\"90\"")
        .into_bytes();
    let body = codec::encode(&request)?;
    let frame = Craft::read(&caught)?
        .with(|craft| craft.body = body)
        .under(&caught)?;
    let way = "change the bytes to sign on their way to the signer";
    let refused = slip(team, "signer", way, subject, &frame, &["BAD_SEAL"])?;
    let_pass(team)?;
    Ok(Outcome::blocked(vec![refused]))
}

fn read(team: &mut Team<'_>) -> Result<Outcome> {
    let status = EXECUTION_STATUS.row.pattern;
    team.server()?.tap("execution")?.listen(status)?;
    team.server()?.tap("brain")?.listen(ORDER.row.pattern)?;
    team.stage.trade(Side::Buy, "10")?;
    let order = team.server()?.tap("brain")?.catch(ORDER.row.pattern)?;
    let (_, order) = read_unsealed::<Order>(&order)?;
    let account = team.server()?.tap("execution")?.catch(status)?;
    let (_, body) = inspect(&account)?;
    for word in [SYMBOL, "positions", "exposures", "loss"] {
        let shown = body
            .windows(word.len())
            .any(|window| window == word.as_bytes());
        ensure!(
            !shown,
            "execution's account shows {word:?} to whoever runs the bus"
        );
    }
    Ok(Outcome::allowed(
        "read orders, permits, fills and market data as they pass, and change none of them; \
         execution's account, with positions and losses, is encrypted for its readers",
        format!(
            "read an order to {} {} {}, and found no word of the account in {} encrypted bytes",
            order.side,
            order.quantity,
            order.symbol,
            body.len()
        ),
        Vec::new(),
    ))
}

fn receipt(team: &mut Team<'_>) -> Result<Outcome> {
    let receipt = forged_receipt(OrderId([9; 16]))?;
    let way = "hand execution a forged receipt";
    let subject = RECEIPT.row.pattern;
    let mut refused = vec![slip(
        team,
        "execution",
        way,
        subject,
        &receipt.frame,
        &["BAD_SEAL"],
    )?];
    keep_back(team, "execution", &["account: AUDIT,", subject])?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    let mark = team.stage.mark()?;
    let id = team.stage.propose(Side::Buy, "10")?;
    let way = "keep audit's receipt back";
    refused.push(team.stage.gated(mark, way, id, Reason::NoReceipt)?);
    ensure!(
        team.stage.at_exchange(id)?.is_none(),
        "{way}: the order was sent"
    );
    let_pass(team)?;
    Ok(Outcome::blocked(refused))
}

fn heartbeat(team: &mut Team<'_>) -> Result<Outcome> {
    let beat = forged_heartbeat(team.stage)?;
    let mut refused = Vec::new();
    for reader in ["execution", "signer", "brain"] {
        let way = format!("hand {reader} a forged heartbeat");
        refused.push(slip(
            team,
            reader,
            &way,
            &beat.subject,
            &beat.frame,
            &["BAD_SEAL"],
        )?);
    }
    Ok(Outcome::blocked(refused))
}

/// What loosens a limit without touching it: accounts and prices that are not so.
fn loosen(team: &mut Team<'_>) -> Result<Outcome> {
    let mid = team.stage.mid()?;
    let book = book_around(mid.raised(portcullis_domain::Bps::new(5_000)?)?)?;
    let book = forge(
        "market-data",
        &portcullis_wire::subjects::BOOK,
        Some(SYMBOL),
        &book,
    )?;
    let mut refused = Vec::new();
    for reader in ["risk-guard", "execution", "brain"] {
        let way = format!("tell {reader} another price");
        refused.push(slip(
            team,
            reader,
            &way,
            &book.subject,
            &book.frame,
            &["BAD_SEAL"],
        )?);
    }
    // The last account of execution under another header: an old one as if it were new.
    let status = EXECUTION_STATUS.row.pattern;
    team.server()?.tap("execution")?.listen(status)?;
    let caught = team.server()?.tap("execution")?.catch(status)?;
    let later = Craft::read(&caught)?.fresh(1_000)?.with(|craft| {
        craft.header.issued_at = now();
        craft.header.expires_at = now().plus(EXECUTION_STATUS.row.lifetime);
    });
    let way = "show risk-guard an old account as a new one";
    let frame = later.under(&caught)?;
    refused.push(slip(
        team,
        "risk-guard",
        way,
        status,
        &frame,
        &["BAD_SEAL"],
    )?);
    Ok(Outcome::blocked(refused))
}

/// The keys of a brain in another deployment, with the same names.
fn realm(team: &mut Team<'_>) -> Result<Outcome> {
    let folder = team.stage.loot().join("of-the-server");
    if !folder.exists() {
        let strategies = [StrategyId::new("sample")?, StrategyId::new("trader")?];
        let roster = Roster::new(
            Realm::new("staging")?,
            strategies.to_vec(),
            vec![OperatorId::new("dev")?],
            vec![Symbol::new("BTCUSDT")?, Symbol::new("XRPUSDT")?],
        )?;
        make::make(&folder, &roster)?;
    }
    let bundle = Bundle::open(&folder.join("brain"))?;
    let order = made_up_order(team.stage, "10")?;
    let mut refused = Vec::new();
    for realm in [bundle.realm, Realm::new("dev")?] {
        let mut sealer = Sealer::new(realm, bundle.name, now().0, bundle.ring());
        let sealed = sealer.seal(&ORDER, None, &order, Context::first(now(), envelope_id()?))?;
        let way = format!("hand risk-guard an order that staging's brain sealed, named {realm}");
        let (subject, frame) = (&sealed.subject, &sealed.frame);
        refused.push(slip(
            team,
            "risk-guard",
            &way,
            subject,
            frame,
            &["BAD_SEAL"],
        )?);
    }
    Ok(Outcome::blocked(refused))
}

fn reorder(team: &mut Team<'_>) -> Result<Outcome> {
    keep_back(team, "brain", &["account: STRATEGY_TRADER,", PROPOSALS])?;
    team.server()?.tap(TRADER)?.listen(PROPOSALS)?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    let mark = team.stage.mark()?;
    let mut sent = Vec::new();
    // Two of the same within milliseconds would be taken for a mistake of the trader's.
    for quantity in ["10", "11"] {
        let wanted = proposal(Side::Buy, quantity)?;
        let name = Some("trader");
        let sealed = team
            .stage
            .trader
            .seal(&portcullis_wire::subjects::PROPOSAL, name, &wanted)?;
        team.stage.trader.send(&sealed)?;
        sent.push((sealed.id, team.server()?.tap(TRADER)?.catch(PROPOSALS)?));
    }
    sent.reverse();
    let mut ids = Vec::new();
    for (id, frame) in &sent {
        team.server()?.tap("brain")?.say(PROPOSALS, frame)?;
        // The first one again between the two: it counts once.
        team.server()?.tap("brain")?.say(PROPOSALS, frame)?;
        ids.push(order_id(StrategyId::new("trader")?, *id));
    }
    for id in &ids {
        let way = "a proposal out of its order";
        team.stage.recorded(mark, way, |entry| {
            crate::stage::fact::<portcullis_wire::messages::Decision>(entry, "evt.brain.decision.")
                .filter(|decision| decision.order == *id)
                .map(drop)
        })?;
        team.stage.reported(mark, way, *id)?;
        let times = placed(team.stage, *id)?;
        ensure!(times == 1, "order {id} is {times} times at the exchange");
    }
    let_pass(team)?;
    Ok(Outcome::allowed(
        "change the order of messages within the two seconds that they live; none counts twice",
        "two proposals were delivered the wrong way round and twice each: two orders",
        Vec::new(),
    ))
}

fn restart(team: &mut Team<'_>) -> Result<Outcome> {
    let subject = HEARTBEAT.row.pattern;
    let tap = team.server()?.tap("risk-guard")?;
    tap.listen(subject)?;
    tap.forget();
    let caught = tap.catch(subject)?;
    team.stage.restart("execution")?;
    let way = "say a heartbeat of before its start to execution";
    let refused = slip(
        team,
        "execution",
        way,
        subject,
        &caught,
        &["SEALED_BEFORE_BOOT"],
    )?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    Ok(Outcome::blocked(vec![refused]))
}

fn flood(team: &mut Team<'_>) -> Result<Outcome> {
    let subject = ORDER.row.pattern;
    let mark = team.stage.mark()?;
    let first = b"not an envelope, the first".to_vec();
    let tap = team.server()?.tap("risk-guard")?;
    tap.throw(subject, &first)?;
    for number in 0..20_000_u32 {
        tap.throw(subject, format!("not an envelope, {number}").as_bytes())?;
    }
    tap.say(subject, b"not an envelope, the last")?;
    let way = "flood risk-guard's inbox with 20,000 messages";
    let refused = team
        .stage
        .refused_by(mark, way, "risk-guard", &first, &["MALFORMED_FRAME"])?;
    let honest = poll(Duration::from_secs(10), || {
        Ok(team.stage.trade(Side::Buy, "10").ok())
    })?;
    let (_, ms) = honest.context("nothing was traded within 10 s after the flood")?;
    Ok(Outcome::allowed(
        "drown a service's inbox, as it can keep anything back; it is the server that would be \
         limited, by limits of its own",
        format!("an honest order right after the flood was at the exchange in {ms} ms"),
        vec![refused],
    ))
}

fn resume(team: &mut Team<'_>) -> Result<Outcome> {
    let beat = forged_heartbeat(team.stage)?;
    let permit = forged_permit(team.stage, "10")?;
    let mut refused = Vec::new();
    for (reader, sealed) in [
        ("execution", &beat),
        ("signer", &beat),
        ("execution", &permit),
    ] {
        let way = format!("hand {reader} a forged {} after the kill", sealed.subject);
        let (subject, frame) = (&sealed.subject, &sealed.frame);
        refused.push(slip(team, reader, &way, subject, frame, &["BAD_SEAL"])?);
    }
    Ok(Outcome::blocked(refused))
}

/// Last of all: the streams are gone afterwards.
fn erase(team: &mut Team<'_>) -> Result<Outcome> {
    let streams = portcullis_runtime::nats_config::facts_streams(
        &portcullis_runtime::nats_config::development_roster(),
    );
    let before = team.stage.check_log()?;
    let store = team.server()?.tap("store")?;
    let mut kept = Vec::new();
    for stream in &streams {
        let name = &stream.name;
        for call in ["STREAM.PURGE", "STREAM.MSG.DELETE"] {
            let answer = store.ask(&format!("$JS.API.{call}.{name}"), br#"{"seq":1}"#)?;
            ensure!(answer.get("error").is_some(), "{call} of {name}: {answer}");
            kept.push(format!("{call} of {name}"));
        }
        let answer = store.ask(&format!("$JS.API.STREAM.DELETE.{name}"), b"")?;
        ensure!(answer.get("error").is_none(), "delete {name}: {answer}");
    }
    let after = team.stage.check_log()?;
    ensure!(
        after.entries >= before.entries,
        "audit's log became shorter"
    );
    Ok(Outcome::allowed(
        "delete the streams, as it can delete its own files; what audit recorded stays, and the log \
         holds with its chain",
        format!(
            "{} refused by the server even so; then the streams were deleted, and {} entries of \
             audit's log still held",
            kept.join(", "),
            after.entries
        ),
        Vec::new(),
    ))
}
