//! Goes on with other keys while the process runs: when the bundle's file changes, on SIGHUP, and
//! when a key that is held already begins or ceases to count.
//!
//! ```text
//!  bundle.sealed ──▶ load ──▶ rings of sealer and verifier        (wire chooses the epoch by time)
//!                        ├──▶ trust ──▶ whoever watches it
//!                        └──▶ NKey, certificate ──▶ new connection, only if they changed
//! ```
//!
//! What cannot be loaded changes nothing.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use portcullis_domain::{PrincipalName, Span, Timestamp};
use portcullis_wire::principal::Role;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::Shared;
use crate::Identity;
use crate::identity::{AGE_WARNING_PERCENT, Age, BUNDLE_FILE, IdentityError, Stamp};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after one that failed a change that time alone has brought is tried again.
const RETRY_AFTER: Span = Span::from_secs(60);
/// How often keys near the end of their life are warned of.
const WARN_EVERY: Span = Span::from_secs(86_400);

/// Keeps the keys of a client those of its bundle, for as long as there is the client.
pub(super) fn watch(shared: &Arc<Shared>, role: Role) -> io::Result<()> {
    // An operator's command ends with its terminal, which sends the same signal.
    let hangups = match role {
        Role::Operator => None,
        Role::Brain
        | Role::RiskGuard
        | Role::Execution
        | Role::Signer
        | Role::Audit
        | Role::MarketData
        | Role::Strategy => Some(signal(SignalKind::hangup())?),
    };
    let reports = Role::SERVICES.contains(&role);
    tokio::spawn(keep(Arc::downgrade(shared), hangups, reports));
    Ok(())
}

async fn keep(shared: Weak<Shared>, mut hangups: Option<Signal>, reports: bool) {
    let Some(source) = shared
        .upgrade()
        .map(|shared| shared.identity.borrow().source.clone())
    else {
        return;
    };
    let path = source.folder.join(BUNDLE_FILE);
    // As it was before it was read: between that and now the connection was made, which takes as
    // long as the server needs to start.
    let mut seen = source.stamp;
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A key and its bundle are two files and may come in either order: what failed is tried again.
    let (mut retry_at, mut failed) = (Timestamp(0), false);
    let (mut warned, mut unheard) = (BTreeMap::new(), Vec::new());
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            () = hangup(&mut hangups) => true,
        };
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let now = shared.clock.now();
        let stamp = Stamp::of(&path);
        let next_change = shared.identity.borrow().next_change;
        let changes = next_change.is_some_and(|at| at <= now);
        let due = (failed || changes) && retry_at <= now;
        if asked || due || stamp != seen {
            // What changes while it is read has another stamp again.
            seen = stamp;
            failed = shared.reload().await.is_err();
            if failed {
                retry_at = now.plus(RETRY_AFTER);
            }
        }
        shared.measure_ages(now);
        if !reports || shared.report.get().is_some() {
            shared.warn_of_unheard(&mut unheard);
            shared.warn_of_ages(now, &mut warned);
        }
    }
}

async fn hangup(hangups: &mut Option<Signal>) {
    match hangups {
        Some(hangups) => {
            if hangups.recv().await.is_none() {
                pending::<()>().await;
            }
        }
        None => pending().await,
    }
}

impl Shared {
    /// Reads the identity again and goes on with it.
    pub(super) async fn reload(&self) -> Result<(), IdentityError> {
        match self.load().await {
            Ok(identity) => {
                metrics::counter!("portcullis_identity_reloads_total").increment(1);
                self.warn_if_too_old(&identity);
                self.go_on_with(identity).await;
                Ok(())
            }
            Err(error) => {
                metrics::counter!("portcullis_identity_reload_failures_total").increment(1);
                let next_step = error.next_step();
                tracing::error!(%error, next_step, "keys were not reloaded: the earlier ones stay");
                self.warn(&format!("keys were not reloaded: {error}; {next_step}"));
                Err(error)
            }
        }
    }

    /// With keys that are too old nothing starts in production, but what runs goes on: a revocation
    /// must arrive there too.
    fn warn_if_too_old(&self, identity: &Identity) {
        if let Err(error) = identity.check_age(self.clock.now()) {
            let next_step = error.next_step();
            tracing::warn!(%error, next_step, "keys reloaded, with some that are too old");
            self.warn(&format!("keys reloaded, but {error}; {next_step}"));
        }
    }

    async fn load(&self) -> Result<Identity, IdentityError> {
        let before = Arc::clone(&self.identity.borrow());
        let source = before.source.clone();
        let path = source.folder.join(BUNDLE_FILE);
        let unreadable = |problem: String| IdentityError::Value { path, problem };
        let loading = move || Identity::read(&source.folder, source.key.as_deref());
        let identity = match tokio::task::spawn_blocking(loading).await {
            Ok(loaded) => loaded?,
            Err(error) => return Err(unreadable(format!("was not read to its end: {error}"))),
        };
        if (identity.realm, identity.name) == (before.realm, before.name) {
            Ok(identity)
        } else {
            let Identity { realm, name, .. } = identity;
            Err(unreadable(format!("is now of {name} in realm {realm}")))
        }
    }

    async fn go_on_with(&self, mut identity: Identity) {
        let before = Arc::clone(&self.identity.borrow());
        let reconnect = identity.take_over(&before);
        // Verified with first: nothing that this process seals may be ahead of what it opens.
        self.verifier().set_ring(identity.ring.clone());
        self.sealing().sealer.set_ring(identity.ring.clone());
        let trust = identity.trust.clone();
        let operators = trust.operators.keys().copied();
        self.bus.operators().trust(operators);
        self.identity.send_replace(Arc::new(identity));
        self.trust.send_if_modified(|current| {
            let changed = *current != trust;
            if changed {
                *current = trust;
            }
            changed
        });
        tracing::info!(reconnect, "keys reloaded");
        // Where the connection is lost it is being made anew, with the keys of the present.
        if reconnect
            && self.bus.is_connected()
            && let Err(error) = self.bus.reconnect().await
        {
            tracing::warn!(%error, "the connection is not made anew yet");
        }
    }

    /// Puts on record, once for each time, that the bus lets nobody hear an operator whose keys count.
    fn warn_of_unheard(&self, known: &mut Vec<PrincipalName>) {
        let unheard = self.bus.operators().unheard();
        for operator in unheard.iter().filter(|name| !known.contains(name)) {
            self.warn(&format!(
                "the bus lets nobody hear {operator}: who was revoked there has to be revoked in \
                 the bundles, who was not has to be admitted again"
            ));
        }
        *known = unheard;
    }

    fn measure_ages(&self, now: Timestamp) {
        let identity = self.identity.borrow();
        let left = identity.certificate_age.until.since(now).0 / 1_000_000;
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        metrics::gauge!("portcullis_certificate_expires_seconds").set(f64::from(left));
        if let Some(age) = identity.epoch_age {
            metrics::gauge!("portcullis_epoch_age_ratio").set(ratio(age, now));
        }
    }

    fn warn_of_ages(&self, now: Timestamp, warned: &mut BTreeMap<&'static str, Timestamp>) {
        let ages: Vec<_> = self.identity.borrow().ages().collect();
        for age in ages {
            let percent = age.percent(now);
            let last = warned.get(age.what).copied();
            let due = last.is_none_or(|last| now.since(last) >= WARN_EVERY);
            if percent < AGE_WARNING_PERCENT || !due {
                continue;
            }
            warned.insert(age.what, now);
            let what = age.what;
            tracing::warn!(what, percent, "keys are near the end of their life");
            self.warn(&format!(
                "{what} is at {percent} % of its life: exchange it with portcullis keys rotate"
            ));
        }
    }
}

#[expect(
    clippy::float_arithmetic,
    reason = "a gauge is a float, and this one is no money"
)]
fn ratio(age: Age, now: Timestamp) -> f64 {
    let thousandths = u32::try_from(age.part(now, 1_000)).unwrap_or(u32::MAX);
    f64::from(thousandths) / 1_000.0
}
