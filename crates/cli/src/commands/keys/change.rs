//! `portcullis keys rotate`, `revoke` and `apply`: new keys while everything runs, and no keys at all.

use std::path::{Path, PathBuf};

use portcullis_domain::{PrincipalName, Span};
use portcullis_runtime::identity::store::{Changed, Facts, Rotation, Store, StoreError};
use portcullis_wire::principal::Role;
use serde_json::json;

use super::effect::LocalStack;
use super::report::{epoch_words, key_step, left_words, names, next_step, say_how, say_next};
use super::server;
use crate::commands::dev::Step;
use crate::confirm::confirm;
use crate::exit::{End, Failure, OrFail as _, Outcome};
use crate::feed::{any_operator, now};
use crate::folder::Folder;
use crate::output::{Output, clock_time, rfc3339};

const ROTATE_EXAMPLES: &str = "\
EXAMPLES
  portcullis keys rotate                       new link keys for everybody; nothing stops
  portcullis keys rotate --yes --json          the same from a timer
  portcullis keys rotate brain                 everything of one principal anew: NKey, certificate,
                                               link keys and the key of its bundle
  portcullis keys rotate brain --bundle-keys /media/bundle-keys --realm-key /media/realm/roots.key
                                               the same where no bundle key lies beside its bundle
  portcullis keys rotate nats                  a new certificate for the bus's server
  portcullis keys rotate --emergency           the present link keys count no more, at once
  portcullis keys rotate signer --overlap-minutes 0 --lead-seconds 5
                                               after a theft: its earlier keys end in five seconds

The new keys are handed out first and used --lead-seconds later; the earlier ones count for
--overlap-minutes more. docs/keys.md has the runbook.

EXIT CODES
  0 done, and seen in use where the stack runs here   1 failed; run it again, it carries on
  3 not confirmed   7 changed, but not seen in use in time
  8 partly done: a bundle could not be renewed, or somebody was not seen using the new keys";

const REVOKE_EXAMPLES: &str = "\
EXAMPLES
  portcullis keys revoke strategy-trader       its connection ends, and nobody believes its keys
  portcullis keys revoke operator-alice --yes

It cannot be taken back: who comes back comes back under another name. A service that is revoked is
gone from the order path, and without it nothing trades: `portcullis keys rotate NAME` gives it keys
that no thief has.

EXIT CODES
  0 done, and its connection is gone where the stack runs here   1 failed; run it again, it carries on
  3 not confirmed   7 changed, but the connection still stands
  8 revoked, and the bundle of somebody else could not be renewed";

const APPLY_EXAMPLES: &str = "\
EXAMPLES
  portcullis keys apply                        after the overlap of a rotated NKey has ended

`rotate` and `revoke` do it themselves; `portcullis dev up` does it when an overlap ends.";

/// Make new keys while everything runs: everybody's link keys, or one principal's everything
#[derive(Debug, clap::Args)]
#[command(after_help = ROTATE_EXAMPLES)]
pub struct Rotate {
    /// Whose; everybody's link keys without a name
    name: Option<PrincipalName>,
    /// Drop the earlier keys at once, because somebody else may have them
    #[arg(long, conflicts_with_all = ["overlap_minutes", "lead_seconds"])]
    emergency: bool,
    /// How long the earlier keys count once the new ones are used
    #[arg(long, value_name = "MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=10_080))]
    overlap_minutes: u64,
    /// How long everybody may take to read the new keys before they are used
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    lead_seconds: u64,
    /// Folder that gets the new bundle key of NAME [default: beside its bundle, where it lies there]
    #[arg(long, value_name = "FOLDER", requires = "name")]
    bundle_keys: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// Take every right away from a principal, now
#[derive(Debug, clap::Args)]
#[command(after_help = REVOKE_EXAMPLES)]
pub struct Revoke {
    /// Whose
    name: PrincipalName,
    #[command(flatten)]
    how: How,
}

/// Write the bus's configuration with the keys that count now, and reload it where it runs here
#[derive(Debug, clap::Args)]
#[command(after_help = APPLY_EXAMPLES)]
pub struct Apply {}

#[derive(Debug, clap::Args)]
struct How {
    /// File with the realm key, which opens the roots [default: roots.key beside them]
    #[arg(
        long,
        value_name = "FILE",
        env = "PORTCULLIS_REALM_KEY",
        hide_env_values = true
    )]
    realm_key: Option<PathBuf>,
    /// Ask nothing
    #[arg(long)]
    yes: bool,
}

/// The forms of the JSON lines.
const ROTATE_SCHEMA: &str = "portcullis.keys-rotate/1";
const REVOKE_SCHEMA: &str = "portcullis.keys-revoke/1";
const APPLY_SCHEMA: &str = "portcullis.keys-apply/1";

/// Rotates.
///
/// # Errors
/// When nothing could be changed, or it is unknown whether it arrived.
pub async fn rotate(rotate: &Rotate, dir: Option<&Path>, output: &Output) -> Outcome {
    let folder = Folder::find(dir)?;
    confirm(&rotate.question(&folder), rotate.how.yes, output)?;
    let mut store = rotate.how.open(&folder)?;
    if let Some(keys) = &rotate.bundle_keys {
        store = store.with_bundle_keys(keys).map_err(failure)?;
    }
    let connection = Connection::of(&folder, rotate.name).await?;
    let step = Step::of(output, ROTATE_SCHEMA, "new keys in every bundle");
    let rotation = rotate.rotation();
    let changed = match rotate.name {
        None => store.rotate(rotation),
        Some(name) => store.rotate_principal_as(name, rotation),
    };
    let changed = match changed {
        Ok(changed) if changed.left.is_empty() => {
            step.succeeded(&epoch_words(&changed));
            changed
        }
        Ok(changed) => {
            step.skipped(&left_words(&changed));
            changed
        }
        Err(cause) => return Err(step.failed(failure(cause))),
    };
    drop(store);
    say_how(&changed, output);
    let wrote = changed.server && server::write_again(&folder)?;
    let missing = match LocalStack::find(&folder) {
        Some(stack) => {
            if changed.server {
                stack.reload()?;
            }
            see_rotation(rotate, &changed, &stack, &connection, output).await?
        }
        None => Vec::new(),
    };
    let mut next = next_step(&folder, &changed, wrote);
    if let (Some(keys), Some(name)) = (&rotate.bundle_keys, rotate.name)
        && changed.left.is_empty()
        && name.as_str() != "nats"
    {
        let key = keys.join(format!("{name}.key"));
        next.insert(0, key_step(&key, name));
    }
    say_next(&next, output);
    output.object(
        ROTATE_SCHEMA,
        json!({
            "event": "done",
            "principal": rotate.name.map(|name| name.to_string()),
            "epoch": changed.epoch,
            "used_from": rfc3339(changed.used_from),
            "earlier_until": rfc3339(changed.earlier_until),
            "emergency": rotate.emergency,
            "carried_on": changed.carried_on,
            "after_another": changed.after_another,
            "not_renewed": names(&changed),
            "not_seen": missing,
            "next_steps": next,
        }),
    );
    Ok(if missing.is_empty() && changed.left.is_empty() {
        End::Done
    } else {
        End::Partial
    })
}

/// Revokes.
///
/// # Errors
/// When nothing could be changed, or the connection still stands.
pub async fn revoke(revoke: &Revoke, dir: Option<&Path>, output: &Output) -> Outcome {
    let (folder, name) = (Folder::find(dir)?, revoke.name);
    confirm(&revoke_question(name), revoke.how.yes, output)?;
    let mut store = revoke.how.open(&folder)?;
    let connection = Connection::of(&folder, Some(name)).await?;
    let step = Step::of(
        output,
        REVOKE_SCHEMA,
        format!("take the keys of {name} away"),
    );
    let changed = match store.revoke(name) {
        Ok(changed) => {
            step.succeeded("its bundle is deleted");
            changed
        }
        Err(cause) => return Err(step.failed(failure(cause))),
    };
    drop(store);
    say_how(&changed, output);
    let wrote = server::write_again(&folder)?;
    if let Some(stack) = LocalStack::find(&folder) {
        stack.reload()?;
        let step = Step::of(output, REVOKE_SCHEMA, format!("no connection of {name}"));
        let gone = stack
            .wait_for_login(&connection.nkeys, false, now(), &step)
            .await;
        match gone {
            Ok(()) if connection.was_there => step.succeeded("the bus dropped it"),
            Ok(()) => step.succeeded("there was none"),
            Err(failure) => return Err(step.failed(failure)),
        }
    }
    let next = next_step(&folder, &changed, wrote);
    say_next(&next, output);
    output.object(
        REVOKE_SCHEMA,
        json!({
            "event": "done",
            "principal": name.to_string(),
            "was_connected": connection.was_there,
            "not_renewed": names(&changed),
            "next_steps": next,
        }),
    );
    Ok(if changed.left.is_empty() {
        End::Done
    } else {
        End::Partial
    })
}

/// Writes the bus's configuration again.
///
/// # Errors
/// When there is none, or it cannot be written.
pub fn apply(_: &Apply, dir: Option<&Path>, output: &Output) -> Outcome {
    let folder = Folder::find(dir)?;
    if !server::write_again(&folder)? {
        return Err(Failure::new(
            End::Usage,
            format!("there is no {}", server::file(&folder).display()),
            "start the stack once (./scripts/up), or make the realm with portcullis keys init",
        ));
    }
    let stack = LocalStack::find(&folder);
    if let Some(stack) = &stack {
        stack.reload()?;
    }
    let path = server::file(&folder);
    let reloaded = stack.is_some();
    output.line(&format!("wrote {}", path.display()));
    if reloaded {
        output.line("reloaded the bus");
    } else {
        output.line("next step: reload the bus where it runs: send nats-server SIGHUP");
    }
    output.object(APPLY_SCHEMA, json!({ "file": path, "reloaded": reloaded }));
    Ok(End::Done)
}

impl Rotate {
    fn rotation(&self) -> Rotation {
        if self.emergency {
            return Rotation::emergency();
        }
        Rotation {
            emergency: false,
            lead: Span::from_secs(self.lead_seconds),
            overlap: Span::from_secs(self.overlap_minutes.saturating_mul(60)),
        }
    }

    fn question(&self, folder: &Folder) -> String {
        let what = match self.name {
            None => "Make new link keys for everybody".to_owned(),
            Some(name) => format!("Make new keys for {name}"),
        };
        let when = if self.emergency {
            "and drop the present ones AT ONCE: what is on its way is refused".to_owned()
        } else {
            format!(
                "used in {} s, the present ones count {} min more",
                self.lead_seconds, self.overlap_minutes
            )
        };
        format!("{what} in {}, {when}?", folder.path().display())
    }
}

fn revoke_question(name: PrincipalName) -> String {
    let is_service = Role::of(&name).is_some_and(|role| !role.is_plural());
    let warning = if is_service {
        " It is a service: without it nothing trades, and `keys rotate` would give it new keys."
    } else {
        ""
    };
    format!("Take every right from {name}, for good?{warning}")
}

impl How {
    fn open(&self, folder: &Folder) -> Result<Store, Failure> {
        Store::open(&folder.identities(), self.realm_key.as_deref()).map_err(failure)
    }
}

/// What the bus knew of a principal before the change.
#[derive(Default)]
struct Connection {
    nkeys: Vec<String>,
    was_there: bool,
}

impl Connection {
    async fn of(folder: &Folder, name: Option<PrincipalName>) -> Result<Self, Failure> {
        let Some(name) = name else {
            return Ok(Self::default());
        };
        let nkeys = nkeys_of(folder, name)?;
        let was_there = match LocalStack::find(folder) {
            Some(stack) => {
                let connected = stack.connected().await?;
                nkeys.iter().any(|nkey| connected.contains(nkey))
            }
            None => false,
        };
        Ok(Self { nkeys, was_there })
    }
}

fn nkeys_of(folder: &Folder, name: PrincipalName) -> Result<Vec<String>, Failure> {
    let facts = Facts::read(&folder.identities());
    let facts = facts.or_fail("read the realm", "name the folder of a realm: --dir FOLDER")?;
    let keys = facts.principal(name).map(|held| held.nkey.iter());
    Ok(keys
        .into_iter()
        .flatten()
        .map(|key| key.public.clone())
        .collect())
}

/// Waits until the running stack uses what was made. Gives back who was not seen using it.
async fn see_rotation(
    rotate: &Rotate,
    changed: &Changed,
    stack: &LocalStack,
    before: &Connection,
    output: &Output,
) -> Result<Vec<&'static str>, Failure> {
    let from = changed.used_from;
    if from > now() {
        let at = clock_time(from);
        output.line(&format!("  the new keys are used from {at} UTC on"));
    }
    let is_left = |name: &str| changed.left.iter().any(|left| left.name.as_str() == name);
    if let Some(name) = rotate.name
        && before.was_there
        && !is_left(name.as_str())
    {
        let nkeys = nkeys_of(stack.folder(), name)?;
        let newest: Vec<_> = nkeys
            .into_iter()
            .filter(|key| !before.nkeys.contains(key))
            .collect();
        let step = Step::of(
            output,
            ROTATE_SCHEMA,
            format!("{name} joins with its new NKey"),
        );
        match stack.wait_for_login(&newest, true, from, &step).await {
            Ok(()) => step.succeeded(""),
            Err(failure) => return Err(step.failed(failure)),
        }
    }
    let Some(epoch) = changed.epoch else {
        return Ok(Vec::new());
    };
    let mut services = stack.services();
    if let Some(name) = rotate.name
        && name.as_str() != any_operator(stack.folder())
    {
        // Nobody else's link to the operator who listens has changed.
        services.retain(|service| *service == name.as_str());
    }
    services.retain(|service| !is_left(service));
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let step = Step::of(output, ROTATE_SCHEMA, format!("epoch {epoch} in use"));
    let missing = stack.wait_for_epoch(epoch, &services, from, &step).await?;
    if missing.is_empty() {
        step.succeeded(&format!("heard from {}", services.join(", ")));
    } else {
        step.skipped(&format!("not heard from {}", missing.join(", ")));
    }
    Ok(missing)
}

fn failure(cause: StoreError) -> Failure {
    let end = match &cause {
        StoreError::Unknown(_)
        | StoreError::Revoked(_)
        | StoreError::Missing(_)
        | StoreError::KeyBeside(..)
        | StoreError::KeyInsteadOfPath
        | StoreError::BundleKeysNeeded(_)
        | StoreError::RealmKey(_) => End::Usage,
        _ => End::Failed,
    };
    let next_step = match &cause {
        StoreError::KeyBeside(..) => {
            "name places outside of the identities: --realm-key FILE, and --bundle-keys FOLDER where \
             it is given"
                .to_owned()
        },
        other => other.next_step(),
    };
    Failure::caused(end, "change the keys of the realm", cause, next_step)
}
