//! Reorder.

use anyhow::Result;
use portcullis_wire::principal::Role;

use super::ways::{How, Own, Scene, forged_heartbeat};
use crate::outcome::Outcome;
use crate::stolen::now;

/// More than the window is wide.
const COUNT: usize = 1_100;

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    if scene.thief.role == Some(Role::Operator) {
        let why = "its one message is the kill command, which counts in any order: stopping once more \
                   is the safe direction";
        return Ok(Outcome::NotApplicable { why: why.into() });
    }
    scene.thief.begin();
    let Some(own) = scene.own_many(How::At(now()), COUNT)? else {
        let beat = forged_heartbeat(scene.stage)?;
        let refused = scene.knock_all(&[("send heartbeats in another order", &beat)])?;
        return Ok(Outcome::blocked(refused));
    };
    let Own {
        first,
        last,
        reader,
    } = own;
    let service = scene.service();
    if !service.is_empty() {
        scene.took(service);
    }
    scene.thief.send(&last)?;
    let mark = scene.stage.mark()?;
    scene.thief.send(&first)?;
    let way = format!(
        "send the first of {COUNT} messages on {} after the last",
        first.subject
    );
    let refused = scene
        .stage
        .refused_by(mark, &way, reader, &first.frame, &["REPLAY"])?;
    Ok(Outcome::blocked(vec![refused]))
}
