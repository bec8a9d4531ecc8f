//! Replay across a restart.

use anyhow::Result;
use portcullis_wire::principal::Role;

use super::ways::{How, Own, Scene, forged_heartbeat};
use crate::outcome::Outcome;
use crate::stolen::now;

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    if scene.thief.role == Some(Role::Operator) {
        let why = "its one message is the kill command, and a latch that was pulled stays pulled across \
                   restarts: a replay changes nothing";
        return Ok(Outcome::NotApplicable { why: why.into() });
    }
    scene.make_honest()?;
    scene.thief.begin();
    let Some(Own { first, reader, .. }) = scene.own(How::At(now()))? else {
        let beat = forged_heartbeat(scene.stage)?;
        let refused = scene.knock_all(&[("replay a heartbeat", &beat)])?;
        return Ok(Outcome::blocked(refused));
    };
    let service = scene.service();
    if !service.is_empty() {
        scene.took(service);
    }
    scene.thief.send(&first)?;
    // Its memory of what it has seen is gone with it.
    scene.stage.restart(reader)?;
    let mark = scene.stage.mark()?;
    scene.thief.send(&first)?;
    let way = format!(
        "send again on {} what {reader} took before its restart",
        first.subject
    );
    let codes = ["EXPIRED", "SEALED_BEFORE_BOOT"];
    let refused = scene
        .stage
        .refused_by(mark, &way, reader, &first.frame, &codes)?;
    Ok(Outcome::blocked(vec![refused]))
}
