//! Delete or rewrite the stream.

use anyhow::{Context as _, Result, ensure};
use portcullis_wire::principal::Role;

use super::ways::Scene;
use crate::outcome::Outcome;

/// What the server would do for somebody with the right to ask it.
const REQUESTS: &[(&str, &str)] = &[
    ("purge the stream", "$JS.API.STREAM.PURGE.FACTS"),
    ("delete the stream", "$JS.API.STREAM.DELETE.FACTS"),
    ("change the stream's limits", "$JS.API.STREAM.UPDATE.FACTS"),
    ("delete one fact", "$JS.API.STREAM.MSG.DELETE.FACTS"),
    ("delete audit's consumer", "$JS.API.CONSUMER.DELETE.FACTS.audit"),
];

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    let before = scene.stage.facts_in_stream()?;
    let mut refused = Vec::new();
    for (way, request) in REQUESTS {
        refused.push(scene.knock(way, request, b"{}")?);
    }
    // The server would ask itself, if it published an answer there.
    let (target, bytes) = ("$JS.API.STREAM.PURGE.FACTS", b"{ }".as_slice());
    if let Some(injected) = scene.inject(target, "", bytes)? {
        refused.push(injected);
    }
    let after = scene.stage.facts_in_stream()?;
    ensure!(after >= before, "the stream had {before} facts and has {after}");
    if scene.thief.role == Some(Role::Audit) {
        let evidence = super::rewrite::history(scene).context("rewrite a copy of the log")?;
        let what = "rewrite its own log, with its chain key, in the place of the real one; whoever kept a \
                    signed checkpoint of before can show it, and the stream still has the facts";
        return Ok(Outcome::allowed(what, evidence, refused));
    }
    Ok(Outcome::blocked(refused))
}
