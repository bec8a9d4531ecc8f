//! Loosen a limit.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use audit::verify::OwnedEntry;
use portcullis_domain::{Bps, Hash, Order, Reason, Side};
use portcullis_wire::messages::{ExecutionStatus, Heartbeat, Notice, Position};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{BOOK, EXECUTION_STATUS, HEARTBEAT, ORDER};

use super::intended::permit_in_its_place;
use super::ways::{Scene, armed, book_around, made_up_order};
use crate::outcome::Outcome;
use crate::puppet::Puppet;
use crate::stage::{Mark, PATIENCE, SYMBOL, Stage, fact};
use crate::stolen::forge;
use crate::wire::poll;

/// A policy that nobody runs.
const OTHER_POLICY: Hash = Hash([0x5a; 32]);

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    match scene.thief.role {
        Some(Role::MarketData) => return shift(scene, 150),
        Some(Role::Execution) => return lie_about_positions(scene),
        Some(
            Role::Strategy
            | Role::Brain
            | Role::RiskGuard
            | Role::Signer
            | Role::Audit
            | Role::Operator,
        )
        | None => {}
    }
    let mid = scene.stage.mid()?.raised(Bps::new(500)?)?;
    let book = forge("market-data", &BOOK, Some(SYMBOL), &book_around(mid)?)?;
    let status = forge("execution", &EXECUTION_STATUS, None, &flat(scene))?;
    let other = Heartbeat {
        policy: OTHER_POLICY,
        ..armed(scene.stage)
    };
    let beat = forge("risk-guard", &HEARTBEAT, None, &other)?;
    let mut refused = scene.knock_all(&[
        ("publish a book at other prices", &book),
        ("publish another account of positions", &status),
        ("announce another policy", &beat),
    ])?;
    if scene.thief.role == Some(Role::Brain) {
        let mut order: Order = made_up_order(scene.stage, "10")?;
        order.policy = OTHER_POLICY;
        let sealed = scene.thief.seal(&ORDER, None, &order)?;
        scene.took("brain");
        let mark = scene.stage.mark()?;
        scene.thief.send(&sealed)?;
        let way = "order under another policy";
        let stage = &mut scene.stage;
        refused.push(stage.judged(mark, way, order.id, Reason::PolicyMismatch)?);
    }
    if scene.thief.role == Some(Role::RiskGuard) {
        scene.make_honest()?;
        let mark = scene.stage.mark()?;
        let order = permit_in_its_place(scene, OTHER_POLICY)?;
        let way = "permit under another policy";
        let stage = &mut scene.stage;
        refused.push(stage.gated(mark, way, order.id, Reason::PolicyMismatch)?);
    }
    Ok(Outcome::blocked(refused))
}

/// Books at other prices, until an honest order follows them.
pub fn shift(scene: &mut Scene<'_>, basis_points: u32) -> Result<Outcome> {
    scene.make_honest()?;
    let honest = scene.stage.mid()?;
    let shifted = honest.raised(Bps::new(basis_points)?)?;
    let book = book_around(shifted)?;
    let mark = scene.stage.mark()?;
    scene.took("market-data");
    let puppet = scene.stage.steal("market-data")?;
    let _publishing = Puppet::start(puppet, Duration::from_millis(50), move |thief| {
        let sealed = thief.seal(&BOOK, Some(SYMBOL), &book)?;
        thief.send(&sealed)
    });
    // The real one's books come from an earlier start now, and everybody says so.
    let subject = format!("data.bybit.{SYMBOL}.book");
    let seen = replayed(
        scene.stage,
        mark,
        "the real books are refused",
        "brain",
        &subject,
    )?;
    let way = "the real service's own books";
    let refused = scene
        .stage
        .seen(mark, &seen, way, "replay window at brain", "REPLAY");
    let mark = scene.stage.mark()?;
    let id = scene.stage.propose(Side::Buy, "10")?;
    scene
        .stage
        .reported(mark, "an order that follows the book", id)?;
    let order = scene
        .stage
        .at_exchange(id)?
        .context("an order at the exchange")?;
    let price: portcullis_domain::Price = order
        .get("price")
        .and_then(serde_json::Value::as_str)
        .context("a price")?
        .parse()?;
    ensure!(
        price >= shifted,
        "{price} does not follow the book to {shifted}"
    );
    Ok(Outcome::allowed(
        "move prices within what looks like a book, and with them collars, sizes by value and losses \
         that are not realised; execution's compiled-in limits stay",
        "an honest order's limit price followed the thief's book; the real service's books were \
         refused on record from then on",
        vec![refused.and_seen_by("brain")],
    ))
}

fn flat(scene: &Scene<'_>) -> ExecutionStatus {
    ExecutionStatus {
        kill: portcullis_domain::KillState::Armed,
        may_trade: true,
        reason: None,
        policy: scene.stage.policy_hash,
        day: 20_000,
        loss: portcullis_domain::Usd::ZERO,
        loss_rolling: portcullis_domain::Usd::ZERO,
        loss_max: portcullis_domain::Usd::ZERO,
        hard_limits: scene.stage.policy_hash,
        orders_unconfirmed: 0,
        halts: Vec::new(),
        kill_confirmed_ms: None,
        exposures: Vec::new(),
        positions: Vec::new(),
        orders: Vec::new(),
        orders_open: 0,
        orders_unknown: 0,
        fills: 0,
        equity: Some(portcullis_domain::Usd::ZERO),
        drawdown: portcullis_domain::Usd::ZERO,
        losses: vec![],
        network: Default::default(),
        signer: Default::default(),
    }
}

/// Execution is who says what the positions are.
fn lie_about_positions(scene: &mut Scene<'_>) -> Result<Outcome> {
    scene.make_honest()?;
    let mut lie = flat(scene);
    lie.positions = vec![Position {
        symbol: portcullis_domain::Symbol::new(SYMBOL)?,
        position: "123456".parse().ok().context("a position")?,
        average_price: None,
        mark: None,
    }];
    let mark = scene.stage.mark()?;
    scene.took("execution");
    let puppet = scene.stage.steal("execution")?;
    let _lying = Puppet::start(puppet, Duration::from_millis(100), move |thief| {
        let sealed = thief.seal(&EXECUTION_STATUS, None, &lie)?;
        thief.send(&sealed)
    });
    let subject = EXECUTION_STATUS.row.pattern;
    let seen = replayed(
        scene.stage,
        mark,
        "the real account is refused",
        "risk-guard",
        subject,
    )?;
    let way = "the real service's own account";
    let refused = scene
        .stage
        .seen(mark, &seen, way, "replay window at risk-guard", "REPLAY");
    let believed = poll(PATIENCE, || {
        let status = scene.stage.stack.portcullis(&["status"]).1;
        Ok(status.to_string().contains("123456").then_some(()))
    })?;
    believed.context("an operator sees the lie")?;
    Ok(Outcome::allowed(
        "report false positions and losses, so that honest services go on ordering within each order's \
         own limits",
        "operators and risk-guard took the thief's account; the real service's account was refused on \
         record from then on",
        vec![refused.and_seen_by("risk-guard")],
    ))
}

/// The entry in which a service refuses the real publisher of a subject, whose start the thief has
/// overtaken.
fn replayed(
    stage: &mut Stage,
    mark: Mark,
    what: &str,
    service: &str,
    subject: &str,
) -> Result<Arc<OwnedEntry>> {
    let notices = format!("evt.{service}.notice");
    let (seen, ()) = stage.recorded(mark, what, |entry| {
        let Notice::Violation {
            subject: on, code, ..
        } = fact(entry, &notices)?
        else {
            return None;
        };
        (on.as_str() == subject && code.as_str() == "REPLAY").then_some(())
    })?;
    Ok(seen)
}
