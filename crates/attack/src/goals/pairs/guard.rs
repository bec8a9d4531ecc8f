//! Brain's bundle with risk-guard's: the two who decide.

use super::*;

pub(super) fn unproposed(team: &mut Team<'_>) -> Result<Outcome> {
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

pub(super) fn above_the_policy(team: &mut Team<'_>) -> Result<Outcome> {
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

pub(super) fn permitted_twice(team: &mut Team<'_>) -> Result<Outcome> {
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
        matches!(
            notice,
            Notice::Refused {
                reason: Reason::DuplicateOrder,
                ..
            }
        )
    })?;
    team.make_honest()?;
    Ok(Outcome::blocked(vec![refused]))
}

pub(super) fn without_a_receipt(team: &mut Team<'_>) -> Result<Outcome> {
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
    ensure!(
        team.stage.at_exchange(order.id)?.is_none(),
        "{way}: the order was sent"
    );
    team.took("audit");
    team.make_honest()?;
    Ok(Outcome::blocked(vec![refused]))
}

pub(super) fn without_a_heartbeat(team: &mut Team<'_>) -> Result<Outcome> {
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

pub(super) fn under_another_policy(team: &mut Team<'_>) -> Result<Outcome> {
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

pub(super) fn after_the_kill(team: &mut Team<'_>) -> Result<Outcome> {
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
