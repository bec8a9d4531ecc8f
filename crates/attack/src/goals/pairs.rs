//! What two can do that one of them cannot, and what they cannot do even so.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use audit::verify::read_unsealed;
use audit_core::fact_digest;
use portcullis_domain::{Bps, Hash, Order, OrderId, Price, PrincipalName, Reason, Side, Span};
use portcullis_wire::messages::{
    Kill, Notice, Permit, PermitTaken, Proposal, Receipt, SignAction, SignRequest, SignResponse,
    SignatureRecord, Size,
};
use portcullis_wire::subjects::{
    BOOK, HEARTBEAT, KILL, ORDER, PERMIT, PERMIT_TAKEN, PROPOSAL, RECEIPT, SIGN, SIGNATURE,
};
use portcullis_wire::{KeyId, Realm, Refusal, Sealed, Signer, Text};

use super::Phase;
use super::server::{keep_back, let_pass, slip};
use super::ways::{armed, book_around, forged_heartbeat, made_up_order, made_up_receipt, tick};
use crate::craft::Craft;
use crate::outcome::{Outcome, Refused};
use crate::puppet::Puppet;
use crate::stage::{Mark, SYMBOL, Stage, fact, proposal};
use crate::stolen::now;
use crate::team::{Team, TeamCell};
use crate::venue;
use crate::wire::poll;

const fn cell(
    attacker: &'static str,
    goal: &'static str,
    phase: Phase,
    attempt: fn(&mut Team<'_>) -> Result<Outcome>,
) -> TeamCell {
    TeamCell {
        attacker,
        goal,
        phase,
        attempt,
    }
}

const BRAIN_STRATEGY: &str = "brain+strategy";
const BRAIN_GUARD: &str = "brain+risk-guard";
const BRAIN_EXECUTION: &str = "brain+execution";
const GUARD_EXECUTION: &str = "risk-guard+execution";
const EXECUTION_SIGNER: &str = "execution+signer";
const MARKET_BRAIN: &str = "market-data+brain";
const STRATEGY_SERVER: &str = "strategy+nats-server";
const EXECUTION_SERVER: &str = "execution+nats-server";
const OPERATOR_SERVER: &str = "operator+nats-server";
const AUDIT_SERVER: &str = "audit+nats-server";

/// What is tried with two at once.
pub const CELLS: &[TeamCell] = &[
    cell(BRAIN_STRATEGY, "limit", Phase::Trading, beyond_a_budget),
    cell(BRAIN_STRATEGY, "flood", Phase::Trading, faster_than_allowed),
    cell(BRAIN_GUARD, "place", Phase::Trading, unproposed),
    cell(BRAIN_GUARD, "limit", Phase::Trading, above_the_policy),
    cell(BRAIN_GUARD, "permit", Phase::Trading, permitted_twice),
    cell(BRAIN_GUARD, "receipt", Phase::Trading, without_a_receipt),
    cell(BRAIN_GUARD, "heartbeat", Phase::Trading, without_a_heartbeat),
    cell(BRAIN_GUARD, "loosen", Phase::Trading, under_another_policy),
    cell(BRAIN_GUARD, "resume", Phase::Killed, after_the_kill),
    cell(BRAIN_EXECUTION, "place", Phase::Trading, without_a_permit),
    cell(GUARD_EXECUTION, "place", Phase::Trading, without_the_brain),
    cell(GUARD_EXECUTION, "sign", Phase::Trading, other_bytes),
    cell(GUARD_EXECUTION, "heartbeat", Phase::Trading, signed_without_a_heartbeat),
    cell(GUARD_EXECUTION, "loosen", Phase::Trading, signed_under_another_policy),
    cell(EXECUTION_SIGNER, "place", Phase::Trading, without_the_venues_key),
    cell(MARKET_BRAIN, "limit", Phase::Trading, far_from_the_market),
    cell(STRATEGY_SERVER, "place", Phase::Trading, as_another_strategy),
    cell(STRATEGY_SERVER, "price", Phase::Trading, misaddressed),
    cell(STRATEGY_SERVER, "permit", Phase::Trading, twice_in_one_place),
    cell(STRATEGY_SERVER, "delay", Phase::Trading, out_of_its_time),
    cell(EXECUTION_SERVER, "heartbeat", Phase::Trading, anothers_heartbeat),
    cell(EXECUTION_SERVER, "receipt", Phase::Trading, self_made_receipt),
    cell(EXECUTION_SERVER, "mute", Phase::Trading, kill_of_nobody),
    cell(OPERATOR_SERVER, "place", Phase::Trading, permit_of_an_operator),
    cell(OPERATOR_SERVER, "realm", Phase::Trading, kill_of_elsewhere),
    cell(AUDIT_SERVER, "receipt", Phase::Trading, receipt_for_something_else),
];

/// A permit that risk-guard's stolen keys seal around an order that brain's stolen keys seal.
fn permit_of(team: &mut Team<'_>, order: &Order, policy: Hash) -> Result<Sealed> {
    let sealed = team.thief("brain")?.seal(&ORDER, None, order)?;
    team.took("brain");
    permit_around(team, sealed.frame, policy)
}

fn permit_around(team: &mut Team<'_>, order: Vec<u8>, policy: Hash) -> Result<Sealed> {
    let sealed = team
        .thief("risk-guard")?
        .seal(&PERMIT, None, &Permit { order, policy })?;
    team.took("risk-guard");
    Ok(sealed)
}

/// Execution's own report says why it did not send an order.
fn gated(
    team: &mut Team<'_>,
    way: &str,
    order: &Order,
    permit: &Sealed,
    why: Reason,
) -> Result<Refused> {
    let mark = team.stage.mark()?;
    team.thief("risk-guard")?.send(permit)?;
    let refused = team.stage.gated(mark, way, order.id, why)?;
    ensure!(team.stage.at_exchange(order.id)?.is_none(), "{way}: the order was sent");
    Ok(refused)
}

/// A notice of a service in which it says what it refused.
fn complained(
    stage: &mut Stage,
    mark: Mark,
    way: &str,
    service: &str,
    code: &str,
    is_it: impl Fn(&Notice) -> bool,
) -> Result<Refused> {
    let subject = format!("evt.{service}.notice");
    let (entry, ()) = stage.recorded(mark, &format!("{way}: {code} by {service}"), |entry| {
        let notice = fact::<Notice>(entry, &subject)?;
        is_it(&notice).then_some(())
    })?;
    Ok(stage.seen(mark, &entry, way, service, code).and_seen_by(service))
}

fn warns(notice: &Notice, words: &str) -> bool {
    matches!(notice, Notice::Warning { detail } if detail.as_str().contains(words))
}

/// An order worth so many USDT at its limit price.
fn order_worth(stage: &mut Stage, usd: &str) -> Result<Order> {
    let mut order = made_up_order(stage, "1")?;
    let worth: portcullis_domain::Usd = usd.parse()?;
    let units = worth.quantity_at(order.limit_price)?.to_string();
    let whole = units.split('.').next().unwrap_or(&units);
    order.quantity = whole.parse()?;
    Ok(order)
}

fn sent(stage: &Stage, id: OrderId) -> Result<serde_json::Value> {
    let found = poll(Duration::from_secs(5), || stage.at_exchange(id))?;
    found.context("the order was not sent")
}

/// A proposal of the stolen strategy at the middle of the book, so that it fills nothing; gives back
/// its order's id.
fn propose(team: &mut Team<'_>, usd: &str, limit_price: Option<Price>) -> Result<OrderId> {
    let wanted = Proposal {
        size: Size::Notional(usd.parse()?),
        limit_price,
        ..proposal(Side::Buy, "1")?
    };
    let sealed = team.thief("strategy")?.seal(&PROPOSAL, Some("sample"), &wanted)?;
    team.thief("strategy")?.wire.throw(&sealed.subject, &sealed.frame)?;
    Ok(portcullis_wire::order_id("sample".parse()?, sealed.id))
}

/// An order with brain's own keys, sent without waiting for anything.
fn order(team: &mut Team<'_>, order: &Order) -> Result<()> {
    let sealed = team.thief("brain")?.seal(&ORDER, None, order)?;
    team.took("brain");
    team.thief("brain")?.wire.throw(&sealed.subject, &sealed.frame)
}

/// Changes one thing of an order that would pass.
type Change = fn(&mut Order) -> Result<()>;

fn beyond_a_budget(team: &mut Team<'_>) -> Result<Outcome> {
    let mut refused = Vec::new();
    // The strategy's budget: 1,000 an order, 5,000 in all, 1 % of slippage.
    let mid = tick(team.stage.mid()?)?;
    let far = tick(mid.raised(Bps::new(190)?)?)?;
    for (way, usd, price, why) in [
        ("propose beyond the strategy's budget", "1500", mid, Reason::BudgetExceeded),
        ("propose beyond the strategy's slippage", "100", far, Reason::PriceCollar),
    ] {
        let mark = team.stage.mark()?;
        let id = propose(team, usd, Some(price))?;
        refused.push(team.stage.decided(mark, way, id, why)?);
    }
    let mark = team.stage.mark()?;
    let mut last = OrderId([0; 16]);
    for _ in 0..6 {
        last = propose(team, "950", Some(mid))?;
    }
    let way = "propose more at once than the strategy's position may become";
    refused.push(team.stage.decided(mark, way, last, Reason::BudgetExceeded)?);

    // Brain's own keys know no budget.
    let large = order_worth(team.stage, "4000")?;
    order(team, &large)?;
    let at_exchange = sent(team.stage, large.id)?;
    refused.extend(beyond_risk_guard(team)?);
    team.make_honest()?;
    Ok(Outcome::allowed(
        "order within risk-guard's limits in any strategy's name, as brain can alone: the strategy's \
         bundle adds nothing, and its budget binds brain no more",
        format!("an order worth about 4,000 USDT of a strategy with a budget of 1,000: {at_exchange}"),
        refused,
    ))
}

/// One rule of risk-guard after the other, each broken by an order of brain's own.
fn beyond_risk_guard(team: &mut Team<'_>) -> Result<Vec<Refused>> {
    let ways: [(&str, Change, Reason); 7] = [
        (
            "order an instrument that is not listed",
            |order| {
                order.symbol = "DOGEUSDT".parse()?;
                Ok(())
            },
            Reason::InstrumentNotAllowed,
        ),
        (
            "order a quantity between the venue's steps",
            |order| {
                order.quantity = "20.5".parse()?;
                Ok(())
            },
            Reason::VenueFilters,
        ),
        (
            "order beyond the price collar",
            |order| {
                order.limit_price = tick(order.limit_price.raised(Bps::new(500)?)?)?;
                Ok(())
            },
            Reason::PriceCollar,
        ),
        (
            "order above the largest order",
            |order| {
                order.quantity = "2000000".parse()?;
                Ok(())
            },
            Reason::OrderNotional,
        ),
        (
            "order to reduce what does not become less",
            |order| {
                order.reduce_only = true;
                Ok(())
            },
            Reason::NotReducing,
        ),
        (
            "order under another policy",
            |order| {
                order.policy = Hash([7; 32]);
                Ok(())
            },
            Reason::PolicyMismatch,
        ),
        (
            "order what was made ten seconds ago",
            |order| {
                order.created_at = order.created_at.minus(Span::from_secs(10));
                Ok(())
            },
            Reason::Expired,
        ),
    ];
    let mut refused = Vec::new();
    for (way, change, why) in ways {
        let mut other = made_up_order(team.stage, "20")?;
        change(&mut other)?;
        let mark = team.stage.mark()?;
        order(team, &other)?;
        refused.push(team.stage.judged(mark, way, other.id, why)?);
    }

    let mut nobodys = made_up_order(team.stage, "20")?;
    nobodys.strategy = "nobody".parse()?;
    let mark = team.stage.mark()?;
    order(team, &nobodys)?;
    let (way, why) = ("order for a strategy that is none", Reason::UnknownStrategy);
    refused.push(complained(team.stage, mark, way, "risk-guard", why.code(), |notice| {
        matches!(notice, Notice::Refused { reason: Reason::UnknownStrategy, .. })
    })?);

    // 25,000 in all, 5,000 an order: at the middle of the book nothing fills, but while they are on
    // their way they count.
    let mut many = Vec::new();
    for _ in 0..7 {
        many.push(order_worth(team.stage, "4900")?);
    }
    let mark = team.stage.mark()?;
    for one in &mut many {
        one.created_at = now();
        order(team, one)?;
    }
    let last = many.last().context("the last order")?.id;
    let way = "order more at once than the position may become";
    refused.push(team.stage.judged(mark, way, last, Reason::PositionNotional)?);
    Ok(refused)
}

fn faster_than_allowed(team: &mut Team<'_>) -> Result<Outcome> {
    let mid = tick(team.stage.mid()?)?;
    let mark = team.stage.mark()?;
    let mut ids = Vec::new();
    // The rate is 50 a second, and as many refusals are answered one by one.
    for _ in 0..70 {
        ids.push(propose(team, "20", Some(mid))?);
    }
    let last = ids.last().copied().context("the last proposal")?;
    let way = "propose faster than the strategy's rate";
    let mut refused = vec![team.stage.decided(mark, way, last, Reason::RateLimit)?];

    // Risk-guard permits 100 a second. What was on its way before counts for two seconds.
    std::thread::sleep(Duration::from_millis(3_000));
    let template = made_up_order(team.stage, "20")?;
    let mut last = template.id;
    let mark = team.stage.mark()?;
    for _ in 0..130 {
        last = OrderId(portcullis_runtime::envelope_id()?.0);
        let one = Order {
            id: last,
            created_at: now(),
            ..template.clone()
        };
        order(team, &one)?;
    }
    let way = "order faster than risk-guard permits, with brain's keys";
    refused.push(team.stage.judged(mark, way, last, Reason::RateLimit)?);
    team.make_honest()?;
    let (_, ms) = team.stage.trade(Side::Buy, "10")?;
    Ok(Outcome::allowed(
        "use up the rates of its strategy and of risk-guard, which bind every strategy together",
        format!("an honest order afterwards was traded in {ms} ms"),
        refused,
    ))
}

fn unproposed(team: &mut Team<'_>) -> Result<Outcome> {
    let order = made_up_order(team.stage, "10")?;
    let policy = team.stage.policy_hash;
    let permit = permit_of(team, &order, policy)?;
    team.thief("risk-guard")?.send(&permit)?;
    let at_exchange = sent(team.stage, order.id)?;
    team.make_honest()?;
    Ok(Outcome::allowed(
        "place orders that nobody proposed, up to execution's compiled-in limits: the two who decide \
         are the thief. Each has its permit on record before it leaves",
        format!("an order made of two bundles: {at_exchange}"),
        Vec::new(),
    ))
}

fn above_the_policy(team: &mut Team<'_>) -> Result<Outcome> {
    let policy = team.stage.policy_hash;
    let order = order_worth(team.stage, "50500")?;
    let permit = permit_of(team, &order, policy)?;
    let way = "permit an order above the compiled-in 50,000 USD";
    let refused = gated(team, way, &order, &permit, Reason::HardLimit)?;

    let order = order_worth(team.stage, "7000")?;
    team.stage.excused.insert(order.id.to_string());
    let permit = permit_of(team, &order, policy)?;
    team.thief("risk-guard")?.send(&permit)?;
    let at_exchange = sent(team.stage, order.id)?;
    team.make_honest()?;
    Ok(Outcome::allowed(
        "pass risk-guard's limits, up to the 50,000 USD an order and 2,000 USD of loss a day that are \
         compiled into execution",
        format!("an order above the policy's 5,000 USDT: {at_exchange}"),
        vec![refused],
    ))
}

fn permitted_twice(team: &mut Team<'_>) -> Result<Outcome> {
    let order = made_up_order(team.stage, "10")?;
    let policy = team.stage.policy_hash;
    let permit = permit_of(team, &order, policy)?;
    team.thief("risk-guard")?.send(&permit)?;
    sent(team.stage, order.id)?;
    let again = permit_of(team, &order, policy)?;
    let mark = team.stage.mark()?;
    team.thief("risk-guard")?.send(&again)?;
    let way = "permit the same order again, in envelopes of its own";
    let code = Reason::DuplicateOrder.code();
    let refused = complained(team.stage, mark, way, "execution", code, |notice| {
        matches!(notice, Notice::Refused { reason: Reason::DuplicateOrder, .. })
    })?;
    team.make_honest()?;
    Ok(Outcome::blocked(vec![refused]))
}

fn without_a_receipt(team: &mut Team<'_>) -> Result<Outcome> {
    let order = made_up_order(team.stage, "10")?;
    let policy = team.stage.policy_hash;
    let permit = permit_of(team, &order, policy)?;
    team.stage.freeze("audit")?;
    let mark = team.stage.mark()?;
    team.thief("risk-guard")?.send(&permit)?;
    // Longer than the order lives.
    std::thread::sleep(Duration::from_millis(2_500));
    team.stage.thaw("audit")?;
    let way = "place an order while audit stands still";
    let refused = team.stage.gated(mark, way, order.id, Reason::NoReceipt)?;
    ensure!(team.stage.at_exchange(order.id)?.is_none(), "{way}: the order was sent");
    team.took("audit");
    team.make_honest()?;
    Ok(Outcome::blocked(vec![refused]))
}

fn without_a_heartbeat(team: &mut Team<'_>) -> Result<Outcome> {
    team.stage.freeze("risk-guard")?;
    team.took("risk-guard");
    std::thread::sleep(Duration::from_millis(1_300));
    let order = made_up_order(team.stage, "10")?;
    let policy = team.stage.policy_hash;
    let permit = permit_of(team, &order, policy)?;
    let way = "place an order while risk-guard stands still";
    let mut refused = vec![gated(team, way, &order, &permit, Reason::GuardSilent)?];

    // Its heartbeats can be made as well, but they say what it holds.
    let mut beat = armed(team.stage);
    beat.kill = portcullis_domain::KillState::Triggered;
    let sealed = team.thief("risk-guard")?.seal(&HEARTBEAT, None, &beat)?;
    team.thief("risk-guard")?.send(&sealed)?;
    let order = made_up_order(team.stage, "10")?;
    let permit = permit_of(team, &order, policy)?;
    let way = "place an order while risk-guard's switch is pulled";
    refused.push(gated(team, way, &order, &permit, Reason::KillSwitch)?);

    beat.kill = portcullis_domain::KillState::Armed;
    beat.policy = Hash([7; 32]);
    let sealed = team.thief("risk-guard")?.seal(&HEARTBEAT, None, &beat)?;
    team.thief("risk-guard")?.send(&sealed)?;
    let order = made_up_order(team.stage, "10")?;
    let permit = permit_of(team, &order, policy)?;
    let way = "place an order while risk-guard says that it runs another policy";
    refused.push(gated(team, way, &order, &permit, Reason::PolicyMismatch)?);
    team.make_honest()?;
    Ok(Outcome::blocked(refused))
}

fn under_another_policy(team: &mut Team<'_>) -> Result<Outcome> {
    let (ours, other) = (team.stage.policy_hash, Hash([7; 32]));
    let mut refused = Vec::new();
    let order = made_up_order(team.stage, "10")?;
    let permit = permit_of(team, &order, other)?;
    let way = "permit an order under another policy";
    refused.push(gated(team, way, &order, &permit, Reason::PolicyMismatch)?);
    let mut order = made_up_order(team.stage, "10")?;
    order.policy = other;
    let permit = permit_of(team, &order, ours)?;
    let way = "permit an order that was made under another policy";
    refused.push(gated(team, way, &order, &permit, Reason::PolicyMismatch)?);
    team.make_honest()?;
    Ok(Outcome::blocked(refused))
}

fn after_the_kill(team: &mut Team<'_>) -> Result<Outcome> {
    let beat = armed(team.stage);
    let sealed = team.thief("risk-guard")?.seal(&HEARTBEAT, None, &beat)?;
    team.thief("risk-guard")?.send(&sealed)?;
    let order = made_up_order(team.stage, "10")?;
    let policy = team.stage.policy_hash;
    let permit = permit_of(team, &order, policy)?;
    let way = "permit an order after the kill, with a heartbeat that says armed";
    let refused = gated(team, way, &order, &permit, Reason::KillSwitch)?;
    Ok(Outcome::blocked(vec![refused]))
}

/// A request of execution's stolen keys to the signer; what it refuses is on record.
fn request(team: &mut Team<'_>, permit: &[u8], order: &Order, change: &str) -> Result<(Mark, Sealed)> {
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

fn without_a_permit(team: &mut Team<'_>) -> Result<Outcome> {
    let order = made_up_order(team.stage, "10")?;
    let sealed = team.thief("brain")?.seal(&ORDER, None, &order)?;
    team.took("brain");
    // Execution holds the key under which risk-guard seals for it, and no other of risk-guard's.
    let guard = PrincipalName::new("risk-guard")?;
    let permit = Permit {
        order: sealed.frame,
        policy: team.stage.policy_hash,
    };
    let permit = team.thief("execution")?.seal_as(guard, &PERMIT, None, &permit)?;
    let (mark, _) = request(team, &permit.frame, &order, "")?;
    let way = "ask the signer for brain's order with a permit that execution sealed itself";
    let refused = vec![
        team.stage.refused_by(mark, way, "signer", &permit.frame, &["NO_SEAL"])?,
        team.stage.unsigned(mark, way, None, Reason::OrderSeal)?,
    ];
    team.make_honest()?;
    Ok(Outcome::blocked(refused))
}

fn without_the_brain(team: &mut Team<'_>) -> Result<Outcome> {
    let order = made_up_order(team.stage, "10")?;
    let brain = PrincipalName::new("brain")?;
    let sealed = team.thief("execution")?.seal_as(brain, &ORDER, None, &order)?;
    let policy = team.stage.policy_hash;
    let permit = permit_around(team, sealed.frame, policy)?;
    let (mark, _) = request(team, &permit.frame, &order, "")?;
    let way = "ask the signer for an order that brain never sealed for it";
    let refused = vec![
        team.stage.refused_by(mark, way, "signer", &permit.frame, &["NO_SEAL"])?,
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
    let heard = team.thief("risk-guard")?.hear(Duration::from_secs(5), |heard| {
        let (_, order) = read_unsealed::<Order>(&heard.bytes).ok()?;
        (heard.subject == subject).then(|| (order, heard.bytes.clone()))
    })?;
    let found = heard.context("an order of brain")?;
    team.stage.thaw("risk-guard")?;
    Ok(found)
}

fn other_bytes(team: &mut Team<'_>) -> Result<Outcome> {
    let mut refused = Vec::new();
    let (order, frame) = brains_order(team)?;
    let policy = team.stage.policy_hash;
    let permit = permit_around(team, frame, policy)?;
    for (change, way, why) in [
        ("bytes", "get other bytes signed for a permitted order", Reason::BytesDiffer),
        ("time", "get a permitted order signed for another time", Reason::ClockSkew),
    ] {
        let (mark, _) = request(team, &permit.frame, &order, change)?;
        refused.push(team.stage.unsigned(mark, way, Some(order.id), why)?);
    }
    team.make_honest()?;
    Ok(Outcome::blocked(refused))
}

fn signed_without_a_heartbeat(team: &mut Team<'_>) -> Result<Outcome> {
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

fn signed_under_another_policy(team: &mut Team<'_>) -> Result<Outcome> {
    let (order, frame) = brains_order(team)?;
    let permit = permit_around(team, frame, Hash([7; 32]))?;
    let (mark, _) = request(team, &permit.frame, &order, "")?;
    let way = "get an order signed that was permitted under another policy";
    let refused = team.stage.unsigned(mark, way, Some(order.id), Reason::PolicyMismatch)?;
    team.make_honest()?;
    Ok(Outcome::blocked(vec![refused]))
}

/// The signer's bundle holds both keys under which an order and a permit are sealed for it: whoever
/// reads under a key can also seal under it. Alone it has no way to hand the signer anything.
fn without_the_venues_key(team: &mut Team<'_>) -> Result<Outcome> {
    // Below the market, so that it fills nothing: a fill of an order that is not its own has execution
    // pull its switch, and the other cells need a stack that trades.
    let mut order = made_up_order(team.stage, "20")?;
    order.limit_price = tick(order.limit_price.lowered(Bps::new(100)?)?)?;
    let (brain, guard) = (PrincipalName::new("brain")?, PrincipalName::new("risk-guard")?);
    let sealed = team.thief("signer")?.seal_as(brain, &ORDER, None, &order)?;
    let permit = Permit {
        order: sealed.frame,
        policy: team.stage.policy_hash,
    };
    let permit = team.thief("signer")?.seal_as(guard, &PERMIT, None, &permit)?;
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
    let signed = team.thief("execution")?.hear(Duration::from_secs(5), |heard| {
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
    let (entry, ()) = team.stage.recorded(mark, "the signature on record", |entry| {
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
        format!("entry {} of audit's log has the signature; the exchange: {at_exchange}", entry.index),
        vec![refused],
    ))
}

fn far_from_the_market(team: &mut Team<'_>) -> Result<Outcome> {
    let honest = team.stage.mid()?;
    let dear = tick(honest.raised(Bps::new(500)?)?)?;
    let mut order = made_up_order(team.stage, "10")?;
    order.limit_price = dear;
    let sealed = team.thief("brain")?.seal(&ORDER, None, &order)?;
    team.took("brain");
    let mark = team.stage.mark()?;
    team.thief("brain")?.send(&sealed)?;
    let way = "order 5 % beyond an honest book";
    let refused = team.stage.judged(mark, way, order.id, Reason::PriceCollar)?;

    team.stage.freeze("market-data")?;
    team.took("market-data");
    let book = book_around(dear)?;
    let liar = team.stage.steal("market-data")?;
    let liar = Puppet::start(liar, Duration::from_millis(100), move |thief| {
        let sealed = thief.seal(&BOOK, Some(SYMBOL), &book)?;
        thief.send(&sealed)
    });
    std::thread::sleep(Duration::from_millis(500));
    order.id = OrderId(portcullis_runtime::envelope_id()?.0);
    order.created_at = now();
    let sealed = team.thief("brain")?.seal(&ORDER, None, &order)?;
    team.thief("brain")?.send(&sealed)?;
    let at_exchange = sent(team.stage, order.id);
    drop(liar);
    let at_exchange = at_exchange?;
    team.make_honest()?;
    Ok(Outcome::allowed(
        "move the collar with the book: order far from the market, within the limits of value and of \
         the day's loss. The venue still fills at the best price that rests",
        format!("with the middle said to be 5 % higher: {at_exchange}"),
        vec![refused],
    ))
}

/// A proposal of the sample strategy, to be changed by hand.
fn wanted(team: &mut Team<'_>) -> Result<Craft> {
    // Refused for its size, should it ever be opened.
    let large = proposal(Side::Buy, "1000000")?;
    let sealed = team.thief("strategy")?.seal(&PROPOSAL, Some("sample"), &large)?;
    Craft::of(&sealed)
}

fn refused_by_brain(team: &mut Team<'_>, way: &str, craft: &Craft, code: &str) -> Result<Refused> {
    let key = team.key("strategy", "strategy-sample", "brain")?;
    let frame = craft.seal([&key])?;
    let subject = craft.header.subject.clone();
    slip(team, "brain", way, &subject, &frame, &[code])
}

fn as_another_strategy(team: &mut Team<'_>) -> Result<Outcome> {
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

fn misaddressed(team: &mut Team<'_>) -> Result<Outcome> {
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
    refused.push(slip(team, "brain", way, &subject, &frame, &["UNKNOWN_KEY"])?);
    Ok(Outcome::blocked(refused))
}

fn twice_in_one_place(team: &mut Team<'_>) -> Result<Outcome> {
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

fn out_of_its_time(team: &mut Team<'_>) -> Result<Outcome> {
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

fn anothers_heartbeat(team: &mut Team<'_>) -> Result<Outcome> {
    let key = team.key("execution", "execution", "signer")?;
    let beat = Craft::of(&forged_heartbeat(team.stage)?)?;
    let subject = HEARTBEAT.row.pattern;
    let codes = ["NO_SEAL"];
    let frame = beat.seal([&key])?;
    let way = "hand the signer a heartbeat under execution's key, in risk-guard's name";
    let mut refused = vec![slip(team, "signer", way, subject, &frame, &codes)?];
    let own = PrincipalName::new("execution")?;
    let frame = beat.fresh(1)?.with(|beat| beat.header.source = own).seal([&key])?;
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
    refused.push(slip(team, "execution", way, subject, &frame, &[Refusal::Author.code()])?);
    Ok(Outcome::blocked(refused))
}

fn self_made_receipt(team: &mut Team<'_>) -> Result<Outcome> {
    // A key between two is known to both: only the signature says that audit made it.
    let subject = RECEIPT.row.pattern;
    keep_back(team, "execution", &["account: AUDIT,", subject])?;
    team.server()?.tap("execution")?.listen(PERMIT_TAKEN.row.pattern)?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    let mark = team.stage.mark()?;
    let id = team.stage.propose(Side::Buy, "10")?;
    let taken = team.server()?.tap("execution")?.catch(PERMIT_TAKEN.row.pattern)?;
    let receipt = Receipt {
        fact: fact_digest(&taken),
        order: id,
        ..made_up_receipt(id)
    };
    let signed = Signer::from_seed(&[0x77; 32]).sign(&receipt)?;
    let audit = PrincipalName::new("audit")?;
    let sealed = team.thief("execution")?.seal_as(audit, &RECEIPT, None, &signed)?;
    team.server()?.tap("execution")?.say(subject, &sealed.frame)?;
    let way = "give execution a receipt under its own key for audit";
    let code = "BAD_SIGNATURE";
    let refused = complained(team.stage, mark, way, "execution", code, |notice| {
        warns(notice, "receipt whose signature is not audit's")
    })?;
    let unsent = team.stage.gated(mark, way, id, Reason::NoReceipt)?;
    ensure!(team.stage.at_exchange(id)?.is_none(), "{way}: the order was sent");
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
    let sealed = team.thief(reader)?.seal_as(operator, &KILL, None, &signed)?;
    let mark = team.stage.mark()?;
    let heard_as = "ops.kill.operator-dev";
    team.server()?.tap(reader)?.say(heard_as, &sealed.frame)?;
    Ok((mark, sealed.frame))
}

fn kill_of_nobody(team: &mut Team<'_>) -> Result<Outcome> {
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

fn permit_of_an_operator(team: &mut Team<'_>) -> Result<Outcome> {
    let key = team.key("operator", "operator-dev", "execution")?;
    let permit = super::ways::forged_permit(team.stage, "10")?;
    let subject = PERMIT.row.pattern;
    let frame = Craft::of(&permit)?.seal([&key])?;
    let way = "hand execution a permit under an operator's key";
    let refused = slip(team, "execution", way, subject, &frame, &["NO_SEAL"])?;
    Ok(Outcome::blocked(vec![refused]))
}

fn kill_of_elsewhere(team: &mut Team<'_>) -> Result<Outcome> {
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
        ("use a kill that was signed for staging", "WRONG_REALM", "signed for realm staging", elsewhere),
        ("use a kill that another operator signed", "WRONG_OPERATOR", "signed as operator-else", another),
    ] {
        let mark = team.stage.mark()?;
        let sealed = team.thief("operator")?.seal(&KILL, None, &signed)?;
        team.thief("operator")?.send(&sealed)?;
        for service in ["risk-guard", "execution", "signer"] {
            let found = complained(team.stage, mark, way, service, code, |notice| match notice {
                Notice::Violation { code: said, .. } => said.as_str() == code,
                other => warns(other, words),
            })?;
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

fn receipt_for_something_else(team: &mut Team<'_>) -> Result<Outcome> {
    let subject = RECEIPT.row.pattern;
    keep_back(team, "execution", &["account: AUDIT,", subject])?;
    team.server()?.tap("execution")?.listen(PERMIT_TAKEN.row.pattern)?;
    team.stage.stack.wait_until_trading(Duration::from_secs(60));
    let mark = team.stage.mark()?;
    let id = team.stage.propose(Side::Buy, "10")?;
    let taken = team.server()?.tap("execution")?.catch(PERMIT_TAKEN.row.pattern)?;
    let (header, _) = read_unsealed::<PermitTaken>(&taken)?;
    let receipt = made_up_receipt(id);
    let thief = team.thief("audit")?;
    let signing = thief.identity.signing.as_ref();
    let signed = signing.context("audit's signing seed")?.sign(&receipt)?;
    let sealed = thief.answer(&header, &RECEIPT, None, &signed)?;
    team.server()?.tap("execution")?.say(subject, &sealed.frame)?;
    team.took("audit");
    let way = "give a receipt that names another fact";
    let refused = team.stage.gated(mark, way, id, Reason::NoReceipt)?;
    ensure!(team.stage.at_exchange(id)?.is_none(), "{way}: the order was sent");
    let_pass(team)?;
    team.make_honest()?;
    Ok(Outcome::blocked(vec![refused]))
}
