//! `portcullis keys doctor`: everything that is wrong with the keys of a realm, with what to do.

mod bundles;
mod files;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portcullis_runtime::identity::is_production;
use portcullis_runtime::identity::store::{Facts, Inventory, Store, StoreError};
use serde_json::json;

use super::server;
use crate::exit::{End, Outcome};
use crate::feed::now;
use crate::folder::Folder;
use crate::output::{Output, Tone, rfc3339};

const EXAMPLES: &str = "\
EXAMPLES
  portcullis keys doctor
  portcullis keys doctor --dir /srv/portcullis --bundle-keys /media/bundle-keys \\
      --realm-key /media/realm-key/roots.key
  portcullis keys doctor --json | jq -r '.findings[].next_step'

It reads files only and changes nothing. What it has no key for it names and leaves out.

EXIT CODES
  0 nothing is wrong   1 something is: a service would not start, or not be understood
  8 nothing is wrong yet, and something soon will be";

/// Look for everything that is wrong with the keys
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    /// File with the realm key, which opens the roots [default: roots.key beside them]
    #[arg(
        long,
        value_name = "FILE",
        env = "PORTCULLIS_REALM_KEY",
        hide_env_values = true
    )]
    realm_key: Option<PathBuf>,
    /// Folder with the bundle keys [default: each beside its bundle]
    #[arg(long, value_name = "FOLDER")]
    bundle_keys: Option<PathBuf>,
}

const SCHEMA: &str = "portcullis.keys-doctor/1";

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    level: Level,
    what: String,
    next_step: String,
}

/// How bad it is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Somebody does not start because of it, or is not understood, or a secret lies open.
    Error,
    /// It works, and will not for ever.
    Warning,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
struct Findings {
    found: BTreeSet<Finding>,
    left_out: Vec<String>,
}

impl Findings {
    fn error(&mut self, what: impl Into<String>, next_step: impl Into<String>) {
        self.add(Level::Error, what.into(), next_step.into());
    }

    fn warning(&mut self, what: impl Into<String>, next_step: impl Into<String>) {
        self.add(Level::Warning, what.into(), next_step.into());
    }

    fn add(&mut self, level: Level, what: String, next_step: String) {
        self.found.insert(Finding {
            level,
            what,
            next_step,
        });
    }
}

/// Looks at everything.
///
/// # Errors
/// When there is no realm at all.
pub fn run(doctor: &Doctor, dir: Option<&Path>, output: &Output) -> Outcome {
    let folder = Folder::find(dir)?;
    let findings = look(doctor, &folder);
    Ok(report(&findings, &folder, output))
}

fn look(doctor: &Doctor, folder: &Folder) -> Findings {
    let mut findings = Findings::default();
    let identities = folder.identities();
    let open = files::look(&identities, &mut findings);
    if let Some(keys) = &doctor.bundle_keys {
        files::look(keys, &mut findings);
    }
    let inventory = match Inventory::read(&identities) {
        Ok(inventory) => inventory,
        Err(cause) => {
            let next_step = cause.next_step();
            let cause = anyhow::Error::from(cause);
            findings.error(
                format!("the facts of the realm are not readable: {cause:#}"),
                next_step,
            );
            return findings;
        }
    };
    let has_config = server::read(folder).is_some();
    for found in &inventory.findings {
        // Where the bus's configuration is at hand, it is looked at itself.
        let looked_at = has_config && found.next_step.starts_with("render the server's");
        if looked_at {
            continue;
        }
        if found.refused {
            findings.error(found.what.clone(), found.next_step.clone());
        } else {
            findings.warning(found.what.clone(), found.next_step.clone());
        }
    }
    let facts = &inventory.facts;
    clock(facts, &mut findings);
    roots(doctor, folder, facts, &mut findings);
    bundles::look(doctor, folder, &inventory, &open, &mut findings);
    server_config(folder, facts, &mut findings);
    findings
}

/// A clock that is behind makes every key one of the future.
fn clock(facts: &Facts, findings: &mut Findings) {
    let present = now();
    let newest = facts.epoch.iter().map(|epoch| epoch.made_at).max();
    let last = newest.unwrap_or(facts.made_at).max(facts.made_at);
    if present < last {
        findings.error(
            format!(
                "this machine's clock says {}, and the newest keys were made at {}",
                rfc3339(present),
                rfc3339(last)
            ),
            "set the clock: keys are used from moments that lie in its future",
        );
    }
    let begun = facts.epoch.iter().any(|epoch| epoch.seals_from <= present);
    if !begun && present >= last {
        findings.warning(
            "no epoch seals yet",
            "wait until the newest one does: portcullis keys show says when",
        );
    }
}

fn roots(doctor: &Doctor, folder: &Folder, facts: &Facts, findings: &mut Findings) {
    let identities = folder.identities();
    let beside = identities.join("roots.key");
    if is_production(facts.realm) {
        if beside.exists() {
            findings.error(
                format!("{} lies beside the roots that it opens", beside.display()),
                "move it to a place of its own and give --realm-key",
            );
        }
        if doctor.realm_key.is_none() {
            let left_out = "the roots: no --realm-key was given";
            findings.left_out.push(left_out.to_owned());
            return;
        }
    }
    match Store::open(&identities, doctor.realm_key.as_deref()) {
        Ok(_) => {}
        Err(StoreError::InUse(_)) => findings
            .left_out
            .push("the roots: another command is changing them".to_owned()),
        Err(cause) => {
            let next_step = cause.next_step();
            let cause = anyhow::Error::from(cause);
            findings.error(format!("the roots do not open: {cause:#}"), next_step);
        }
    }
}

/// Who is admitted against who should be.
fn server_config(folder: &Folder, facts: &Facts, findings: &mut Findings) {
    let path = server::file(folder);
    let Some(text) = server::read(folder) else {
        let left_out = format!("the bus's configuration: there is no {}", path.display());
        findings.left_out.push(left_out);
        return;
    };
    let next_step = "portcullis keys apply, and reload the bus where it runs";
    let counting: BTreeSet<String> = server::nkeys(facts).collect();
    let admitted: BTreeSet<&str> = server::admitted(&text).collect();
    for nkey in &admitted {
        if !counting.contains(*nkey) {
            let owner = facts
                .principal
                .iter()
                .find(|held| held.nkey.iter().any(|key| key.public == *nkey));
            let whose = owner.map_or_else(
                || "which no bundle has".to_owned(),
                |held| format!("which {} must not use any more", held.name),
            );
            findings.error(
                format!("{} admits the NKey {nkey}, {whose}", path.display()),
                next_step,
            );
        }
    }
    for principal in facts
        .principal
        .iter()
        .filter(|held| held.revoked_at.is_none())
    {
        let present = principal.nkey.iter().filter(|key| key.counts_at(now()));
        for key in present {
            if !admitted.contains(key.public.as_str()) {
                let name = principal.name;
                findings.error(
                    format!("{} does not admit {name} with its NKey", path.display()),
                    next_step,
                );
            }
        }
    }
}

fn report(findings: &Findings, folder: &Folder, output: &Output) -> End {
    let of = |level: Level| {
        findings
            .found
            .iter()
            .filter(|found| found.level == level)
            .count()
    };
    let (errors, warnings) = (of(Level::Error), of(Level::Warning));
    for Finding {
        level,
        what,
        next_step,
    } in &findings.found
    {
        let tone = match level {
            Level::Error => Tone::Bad,
            Level::Warning => Tone::Attention,
        };
        let head = output.paint(tone, &format!("{:<8}", level.word()));
        output.line(&format!("{head} {what}  ->  {next_step}"));
    }
    for left_out in &findings.left_out {
        let head = output.paint(Tone::Quiet, &format!("{:<8}", "left out"));
        output.line(&format!("{head} {left_out}"));
    }
    let place = folder.identities();
    let text = match (errors, warnings) {
        (0, 0) => output.paint(
            Tone::Good,
            &format!("nothing is wrong in {}", place.display()),
        ),
        (errors, warnings) => format!(
            "{errors} errors, {warnings} warnings in {}",
            place.display()
        ),
    };
    output.line(&text);
    output.object(
        SCHEMA,
        json!({
            "folder": folder.path(),
            "errors": errors,
            "warnings": warnings,
            "findings": findings.found.iter().map(|found| json!({
                "level": found.level.word(), "what": found.what, "next_step": found.next_step,
            })).collect::<Vec<_>>(),
            "left_out": findings.left_out,
        }),
    );
    match (errors, warnings) {
        (0, 0) => End::Done,
        (0, _) => End::Partial,
        _ => End::Failed,
    }
}
