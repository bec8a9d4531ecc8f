//! Signs of life on record: so that the silence of a service, which is how facts that were swallowed
//! look from audit, is no ordinary state.
//!
//! ```text
//!  nothing put on record for 20 s ──▶ Notice::Alive ──▶ outbox ──▶ stream ──▶ audit
//!                                     audit: nothing for 60 s ──▶ entry and alert
//! ```

use std::sync::Arc;
use std::time::Duration;

use portcullis_wire::messages::Notice;
use portcullis_wire::principal::Role;

use crate::service::{Service, ServiceRole};

/// A service that had nothing to put on record for so long says that it lives. Audit takes a source
/// for silent after 60 s (`silence_timeout_ms`): three signs of life, so that neither one that is late
/// nor a reconnect is an alarm. Facts that somebody keeps back are noticed that late at most; more often
/// would only make the log longer.
pub(crate) const QUIET_MAX: Duration = Duration::from_secs(20);
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

impl<P: ServiceRole> Service<P> {
    /// Whether a [`Notice::Alive`] is due; says so once each time. For a service that keeps its facts
    /// in a journal; for all others it is sent by itself.
    #[must_use]
    pub fn is_sign_of_life_due(&self) -> bool {
        self.shared.outbox.is_silent_for(QUIET_MAX)
    }

    /// Puts a sign of life on record whenever nothing else was for a while, until the service ends.
    pub(crate) fn show_life(&self) {
        // Audit records no facts of its own making. Execution's places in the record must be in its
        // journal, from which a restart says again what may not have arrived: it says this one itself.
        if P::NOTICE.is_none() || P::ROLE == Role::Execution {
            return;
        }
        let (client, shared) = (self.client.downgrade(), Arc::downgrade(&self.shared));
        let mut shutdown = self.shutdown();
        tokio::spawn(async move {
            let mut looks = tokio::time::interval(LOOK);
            loop {
                tokio::select! {
                    biased;
                    _ = shutdown.wait() => return,
                    _ = looks.tick() => {}
                }
                let (Some(client), Some(shared)) = (client.upgrade(), shared.upgrade()) else {
                    return;
                };
                let service = Self { client, shared };
                if service.is_sign_of_life_due() {
                    service.notice(Notice::Alive);
                }
            }
        });
    }
}
