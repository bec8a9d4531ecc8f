//! Delay beyond expiry.

use anyhow::Result;
use portcullis_domain::Span;

use super::ways::{How, Own, Scene, forged_heartbeat};
use crate::outcome::Outcome;
use crate::stolen::now;

/// Longer than anything but facts lives.
const HELD_BACK: Span = Span::from_secs(70);

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    let at = portcullis_domain::Timestamp(now().0.saturating_sub(HELD_BACK.0));
    let Some(Own { first, reader, .. }) = scene.own(How::At(at))? else {
        let beat = forged_heartbeat(scene.stage)?;
        let refused = scene.knock_all(&[("hold a heartbeat back", &beat)])?;
        return Ok(Outcome::blocked(refused));
    };
    let mark = scene.stage.mark()?;
    scene.thief.send(&first)?;
    let way = format!("send {} 70 s after it was sealed", first.subject);
    let refused = scene
        .stage
        .refused_by(mark, &way, reader, &first.frame, &["EXPIRED"])?;
    Ok(Outcome::blocked(vec![refused]))
}
