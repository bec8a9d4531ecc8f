//! Drop facts unnoticed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use audit_core::Own as AuditOwn;
use portcullis_domain::{Side, StrategyId};
use portcullis_runtime::nats_config::facts_stream_of;
use portcullis_wire::messages::Notice;
use portcullis_wire::principal::{Principal, Role};
use portcullis_wire::subjects::{
    BRAIN_NOTICE, EXECUTION_NOTICE, MARKET_DATA_NOTICE, PROPOSAL, RISK_GUARD_NOTICE, SIGNER_NOTICE,
    Subject,
};
use portcullis_wire::{Text, order_id};

use super::ways::Scene;
use crate::outcome::{Outcome, Refused};
use crate::stage::proposal;
use crate::stolen::Thief;

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    match scene.thief.role {
        Some(Role::Brain) => leave_out(scene, &BRAIN_NOTICE),
        Some(Role::RiskGuard) => leave_out(scene, &RISK_GUARD_NOTICE),
        Some(Role::Execution) => leave_out(scene, &EXECUTION_NOTICE),
        Some(Role::Signer) => leave_out(scene, &SIGNER_NOTICE),
        Some(Role::MarketData) => leave_out(scene, &MARKET_DATA_NOTICE),
        Some(Role::Audit) => take_away(scene),
        Some(Role::Strategy | Role::Operator) | None => {
            let stream = facts_stream_of(Role::Brain);
            let ways = [
                (
                    "take facts from the stream",
                    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.audit"),
                ),
                (
                    "acknowledge facts for audit",
                    format!("$JS.ACK.{stream}.audit.1.1.1.1.1"),
                ),
                ("send a fact as brain", "evt.brain.notice".to_owned()),
            ];
            let mut refused = Vec::new();
            for (way, subject) in ways {
                refused.push(scene.knock(way, &subject, b"{}")?);
            }
            Ok(Outcome::blocked(refused))
        }
    }
}

/// Seals three facts and sends the first and the third.
fn leave_out<P: Principal>(scene: &mut Scene<'_>, subject: &Subject<P, Notice>) -> Result<Outcome> {
    scene.thief.begin();
    let mut sealed = Vec::new();
    for number in 1..=3 {
        let detail = Text::lossy(&format!("made up, number {number}"));
        sealed.push(
            scene
                .thief
                .seal(subject, None, &Notice::Warning { detail })?,
        );
    }
    let mark = scene.stage.mark()?;
    for (number, fact) in sealed.iter().enumerate() {
        if number != 1 {
            scene.thief.send(fact)?;
        }
    }
    let way = "leave one fact of three out";
    let refused = gap(scene, mark, way, scene.thief.boot)?;
    Ok(Outcome::blocked(vec![refused]))
}

fn gap(scene: &mut Scene<'_>, mark: crate::stage::Mark, way: &str, boot: u64) -> Result<Refused> {
    let name = scene.thief.name;
    let (entry, ()) = scene
        .stage
        .recorded(mark, way, |entry| match entry.own()? {
            AuditOwn::Gap {
                source, boot: of, ..
            } => (source == name && of == boot).then_some(()),
            _ => None,
        })?;
    Ok(scene
        .stage
        .seen(mark, &entry, way, "places of audit", "GAP")
        .and_seen_by("audit"))
}

/// While audit is gone, the thief takes facts from the stream in its name and acknowledges them.
fn take_away(scene: &mut Scene<'_>) -> Result<Outcome> {
    scene.make_honest()?;
    scene.thief.listen("_INBOX.audit.>")?;
    let mut strategy = scene.stage.steal("strategy-sample")?;
    // Waiting before the real one asks again.
    let ask = br#"{"batch":200,"expires":4000000000}"#;
    // The consumer of brain's facts, as audit may ask it.
    let stream = facts_stream_of(Role::Brain);
    let next = format!("JS.STORE.API.CONSUMER.MSG.NEXT.{stream}.audit");
    let said = scene
        .thief
        .publish_for_reply(&next, "_INBOX.audit.attack", ask)?;
    ensure!(said.errors.is_empty(), "{:?}", said.errors);
    let mark = scene.stage.mark()?;
    scene.stage.stack.kill_and_wait("audit");
    let (mut taken, begun) = (0_u32, Instant::now());
    // Refused proposals make facts of brain's.
    while begun.elapsed() < Duration::from_millis(700) {
        propose_too_much(&mut strategy)?;
        let heard = scene.thief.hear(Duration::from_millis(50), |heard| {
            heard
                .reply
                .starts_with("$JS.ACK.")
                .then(|| heard.reply.clone())
        })?;
        if let Some(acknowledge) = heard {
            scene.thief.publish(&acknowledge, b"+ACK")?;
            taken = taken.saturating_add(1);
        }
    }
    ensure!(taken > 0, "the thief got no fact");
    scene.stage.works("audit")?;
    scene
        .stage
        .stack
        .wait_until_trading(Duration::from_secs(60));
    propose_too_much(&mut strategy)?;
    let way = "take facts from the stream while audit is gone";
    let (entry, ()) = scene
        .stage
        .recorded(mark, way, |entry| match entry.own()? {
            AuditOwn::Gap { source, .. } => (source.as_str() == "brain").then_some(()),
            _ => None,
        })?;
    let refused = scene
        .stage
        .seen(mark, &entry, way, "places of audit", "GAP");
    Ok(Outcome::blocked(vec![refused.and_seen_by("audit")]))
}

fn propose_too_much(strategy: &mut Thief) -> Result<()> {
    let sealed = strategy.seal(&PROPOSAL, Some("sample"), &proposal(Side::Buy, "1000000")?)?;
    strategy.send(&sealed)?;
    let _ = order_id(StrategyId::new("sample").context("a strategy")?, sealed.id);
    Ok(())
}
