//! Delete or rewrite the stream.

use anyhow::{Context as _, Result, ensure};
use portcullis_runtime::nats_config::facts_stream_of;
use portcullis_wire::principal::Role;

use super::ways::Scene;
use crate::outcome::Outcome;

/// What the server would do for somebody with the right to ask it.
const REQUESTS: &[(&str, &str)] = &[
    ("purge the stream", "STREAM.PURGE.*"),
    ("delete the stream", "STREAM.DELETE.*"),
    ("change the stream's limits", "STREAM.UPDATE.*"),
    ("delete one fact", "STREAM.MSG.DELETE.*"),
    ("delete audit's consumer", "CONSUMER.DELETE.*.audit"),
];

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    let before = scene.stage.facts_in_stream()?;
    let mut refused = Vec::new();
    let of_execution = |request: &str| {
        let stream = facts_stream_of(Role::Execution);
        format!("$JS.API.{}", request.replace('*', &stream))
    };
    for (way, request) in REQUESTS {
        refused.push(scene.knock(way, &of_execution(request), b"{}")?);
    }
    // The server would ask itself, if it published an answer there.
    let target = of_execution("STREAM.PURGE.*");
    if let Some(injected) = scene.inject(&target, "", b"{ }")? {
        refused.push(injected);
    }
    let after = scene.stage.facts_in_stream()?;
    ensure!(
        after >= before,
        "the stream had {before} facts and has {after}"
    );
    if scene.thief.role == Some(Role::Audit) {
        let evidence = super::rewrite::history(scene).context("rewrite a copy of the log")?;
        let what = "rewrite its own log, with its chain key, in the place of the real one; whoever kept a \
                    signed checkpoint of before can show it, and the stream still has the facts";
        return Ok(Outcome::allowed(what, evidence, refused));
    }
    Ok(Outcome::blocked(refused))
}
