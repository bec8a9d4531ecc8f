//! Exceed a limit.

use anyhow::Result;
use portcullis_domain::{Bps, Reason, Side, StrategyId};
use portcullis_wire::order_id;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{ORDER, PROPOSAL};

use super::place::{unpermitted, unsealed_by_brain};
use super::ways::{Scene, forged_order, made_up_order, permit_around, tick};
use crate::outcome::{Outcome, Refused};
use crate::stage::proposal;

/// Above every limit that there is.
const LARGE: &str = "2500000";
/// As many units as an order may have, and worth more than it may be.
const WORTH_TOO_MUCH: &str = "20000";

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    let order = forged_order(scene.stage, LARGE)?;
    let permit = permit_around(scene.stage, order.frame.clone())?;
    let mut refused = scene.knock_all(&[
        ("send risk-guard an order above the limits", &order),
        ("send execution a permit above the limits", &permit),
    ])?;
    match scene.thief.role {
        Some(Role::Strategy) => refused.push(beyond_the_budget(scene)?),
        Some(Role::Brain) => refused.extend(beyond_risk_guard(scene)?),
        Some(Role::RiskGuard) => refused.push(unsealed_by_brain(scene, LARGE)?),
        Some(Role::Execution) => refused.extend(unpermitted(scene, LARGE)?),
        Some(Role::Signer | Role::Audit | Role::MarketData | Role::Operator) | None => {}
    }
    Ok(Outcome::blocked(refused))
}

fn beyond_the_budget(scene: &mut Scene<'_>) -> Result<Refused> {
    let large = proposal(Side::Buy, LARGE)?;
    let sealed = scene.thief.seal(&PROPOSAL, Some("sample"), &large)?;
    let mark = scene.stage.mark()?;
    scene.thief.send(&sealed)?;
    let id = order_id(StrategyId::new("sample")?, sealed.id);
    let way = "propose beyond its budget";
    scene.stage.decided(mark, way, id, Reason::BudgetExceeded)
}

fn beyond_risk_guard(scene: &mut Scene<'_>) -> Result<Vec<Refused>> {
    let mut refused = Vec::new();
    let large = made_up_order(scene.stage, LARGE)?;
    let worth = made_up_order(scene.stage, WORTH_TOO_MUCH)?;
    let mut dear = made_up_order(scene.stage, "10")?;
    dear.limit_price = tick(dear.limit_price.raised(Bps::new(500)?)?)?;
    let ways = [
        (
            "order more units than the largest order has",
            large,
            Reason::OrderQuantity,
        ),
        (
            "order above the value of the largest order",
            worth,
            Reason::OrderNotional,
        ),
        ("order beyond the price collar", dear, Reason::PriceCollar),
    ];
    for (way, order, why) in ways {
        let sealed = scene.thief.seal(&ORDER, None, &order)?;
        scene.took("brain");
        let mark = scene.stage.mark()?;
        scene.thief.send(&sealed)?;
        refused.push(scene.stage.judged(mark, way, order.id, why)?);
    }
    Ok(refused)
}
