//! What two can do that one of them cannot, and what they cannot do even so.

mod brain;
mod guard;
mod server;
mod signing;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use audit::verify::read_unsealed;
use audit_core::fact_digest;
use portcullis_domain::{Bps, Hash, Order, OrderId, Price, PrincipalName, Reason, Side, Span};
use portcullis_wire::messages::{
    Kill, Notice, PermitTaken, Proposal, Receipt, SignAction, SignRequest, SignResponse,
    SignatureRecord, Size,
};
use portcullis_wire::subjects::{
    BOOK, HEARTBEAT, KILL, ORDER, PERMIT, PERMIT_TAKEN, PROPOSAL, RECEIPT, SIGN, SIGNATURE,
};
use portcullis_wire::{KeyId, Realm, Refusal, Sealed, Signer, Text};

use super::Phase;
use super::server::{keep_back, let_pass, slip};
use super::ways::{
    armed, book_around, forged_heartbeat, made_up_order, made_up_receipt, plain_permit, tick,
};
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
    cell(
        BRAIN_STRATEGY,
        "limit",
        Phase::Trading,
        brain::beyond_a_budget,
    ),
    cell(
        BRAIN_STRATEGY,
        "flood",
        Phase::Trading,
        brain::faster_than_allowed,
    ),
    cell(BRAIN_GUARD, "place", Phase::Trading, guard::unproposed),
    cell(
        BRAIN_GUARD,
        "limit",
        Phase::Trading,
        guard::above_the_policy,
    ),
    cell(
        BRAIN_GUARD,
        "permit",
        Phase::Trading,
        guard::permitted_twice,
    ),
    cell(
        BRAIN_GUARD,
        "receipt",
        Phase::Trading,
        guard::without_a_receipt,
    ),
    cell(
        BRAIN_GUARD,
        "heartbeat",
        Phase::Trading,
        guard::without_a_heartbeat,
    ),
    cell(
        BRAIN_GUARD,
        "loosen",
        Phase::Trading,
        guard::under_another_policy,
    ),
    cell(BRAIN_GUARD, "resume", Phase::Killed, guard::after_the_kill),
    cell(
        BRAIN_EXECUTION,
        "place",
        Phase::Trading,
        signing::without_a_permit,
    ),
    cell(
        GUARD_EXECUTION,
        "place",
        Phase::Trading,
        signing::without_the_brain,
    ),
    cell(
        GUARD_EXECUTION,
        "sign",
        Phase::Trading,
        signing::other_bytes,
    ),
    cell(
        GUARD_EXECUTION,
        "heartbeat",
        Phase::Trading,
        signing::signed_without_a_heartbeat,
    ),
    cell(
        GUARD_EXECUTION,
        "loosen",
        Phase::Trading,
        signing::signed_under_another_policy,
    ),
    cell(
        EXECUTION_SIGNER,
        "place",
        Phase::Trading,
        signing::without_the_venues_key,
    ),
    cell(
        MARKET_BRAIN,
        "limit",
        Phase::Trading,
        brain::far_from_the_market,
    ),
    cell(
        STRATEGY_SERVER,
        "place",
        Phase::Trading,
        server::as_another_strategy,
    ),
    cell(
        STRATEGY_SERVER,
        "price",
        Phase::Trading,
        server::misaddressed,
    ),
    cell(
        STRATEGY_SERVER,
        "permit",
        Phase::Trading,
        server::twice_in_one_place,
    ),
    cell(
        STRATEGY_SERVER,
        "delay",
        Phase::Trading,
        server::out_of_its_time,
    ),
    cell(
        EXECUTION_SERVER,
        "heartbeat",
        Phase::Trading,
        server::anothers_heartbeat,
    ),
    cell(
        EXECUTION_SERVER,
        "receipt",
        Phase::Trading,
        server::self_made_receipt,
    ),
    cell(
        EXECUTION_SERVER,
        "mute",
        Phase::Trading,
        server::kill_of_nobody,
    ),
    cell(
        OPERATOR_SERVER,
        "place",
        Phase::Trading,
        server::permit_of_an_operator,
    ),
    cell(
        OPERATOR_SERVER,
        "realm",
        Phase::Trading,
        server::kill_of_elsewhere,
    ),
    cell(
        AUDIT_SERVER,
        "receipt",
        Phase::Trading,
        server::receipt_for_something_else,
    ),
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
        .seal(&PERMIT, None, &plain_permit(order, policy))?;
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
    ensure!(
        team.stage.at_exchange(order.id)?.is_none(),
        "{way}: the order was sent"
    );
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
    Ok(stage
        .seen(mark, &entry, way, service, code)
        .and_seen_by(service))
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
