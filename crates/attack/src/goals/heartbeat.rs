//! Forge a heartbeat.

use std::time::Duration;

use anyhow::{Result, ensure};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::HEARTBEAT;

use super::ways::{Scene, armed, forged_heartbeat};
use crate::outcome::Outcome;
use crate::puppet::Puppet;

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    if scene.thief.role == Some(Role::RiskGuard) {
        return alive(scene);
    }
    let beat = forged_heartbeat(scene.stage)?;
    let refused = scene.knock_all(&[("say that risk-guard lives", &beat)])?;
    Ok(Outcome::blocked(refused))
}

/// Risk-guard is who gives heartbeats: with the real one stopped, the thief's go on.
fn alive(scene: &mut Scene<'_>) -> Result<Outcome> {
    scene.make_honest()?;
    let _beating = beating(scene)?;
    scene.stage.freeze("risk-guard")?;
    scene.took("risk-guard");
    // Longer than execution's licence lasts.
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(1_500) {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let account = scene.stage.account()?;
    ensure!(
        account.may_trade,
        "execution does not take the heartbeats: {:?}",
        account.reason
    );
    Ok(Outcome::allowed(
        "say that risk-guard lives while it does not",
        "with the real risk-guard stopped for 1.5 s, execution would still send",
        Vec::new(),
    ))
}

/// Heartbeats of a second thief with the same bundle, until it is dropped.
pub fn beating(scene: &Scene<'_>) -> Result<Puppet> {
    let thief = scene.stage.steal("risk-guard")?;
    let beat = armed(scene.stage);
    Ok(Puppet::start(
        thief,
        Duration::from_millis(200),
        move |thief| {
            let sealed = thief.seal(&HEARTBEAT, None, &beat)?;
            thief.send(&sealed)
        },
    ))
}
