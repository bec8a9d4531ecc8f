//! Read what is another link's.

use anyhow::Result;

use super::ways::Scene;
use crate::outcome::Outcome;

/// What is worth hearing, most telling first: everything, positions, permits, requests to sign,
/// another's proposals.
const SUBJECTS: &[&str] = &[
    ">",
    "evt.execution.status",
    "cmd.execution.execute",
    "cmd.signer.sign",
    "cmd.brain.propose.trader",
    "_INBOX.audit.>",
];

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    let mut refused = Vec::new();
    for subject in SUBJECTS {
        let own = *subject == "_INBOX.audit.>" && scene.service() == "audit";
        if own || scene.thief.may_hear(subject) {
            continue;
        }
        refused.push(scene.eavesdrop(&format!("listen on {subject}"), subject)?);
    }
    Ok(Outcome::blocked(refused))
}
