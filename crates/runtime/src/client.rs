//! A principal on the bus: seals, sends, listens and opens. Strategies and operators are only this;
//! a [`crate::Service`] is this and more.

mod reload;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use portcullis_domain::{EnvelopeId, Hash, Order, PrincipalName, Span, Timestamp};
use portcullis_wire::messages::{Message, Notice, Permit};
use portcullis_wire::principal::{Principal, Role};
use portcullis_wire::subjects::{Protection, Row, Subject};
use portcullis_wire::{
    ContentKey, Context, Header, Received, Refusal, Sealed, Sealer, Text, Verified, Verifier,
};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::bus::{self, Bus, BusError, Inbox, Raw};
use crate::identity::{IdentityError, Trust};
use crate::random::Random;
use crate::service::StartError;
use crate::shutdown::{Ending, Faults, Shutdown};
use crate::{Clock, Identity, Telemetry};

/// The most refusals a second that are logged and reported; all of them are counted.
const REFUSALS_A_SECOND: u32 = 10;

/// How often the use of an outdated epoch is reported, for each source; all uses are counted.
const OUTDATED_REPORTED_EVERY: Span = Span::from_secs(60);

type Report = Box<dyn Fn(Notice) + Send + Sync>;

/// A principal on the bus. Clones share everything.
pub struct Client<P> {
    shared: Arc<Shared>,
    principal: PhantomData<fn() -> P>,
}

struct Shared {
    bus: Bus,
    clock: Clock,
    /// Exchanged while the process runs; see [`reload`].
    identity: watch::Sender<Arc<Identity>>,
    trust: watch::Sender<Trust>,
    telemetry: Telemetry,
    faults: Faults,
    boot: u64,
    sealing: Mutex<Sealing>,
    verifier: Mutex<Verifier>,
    refusals: Mutex<RateLimit>,
    /// When the use of an outdated epoch was last reported.
    outdated: Mutex<BTreeMap<PrincipalName, Timestamp>>,
    report: OnceLock<Report>,
}

pub(crate) struct Sealing {
    sealer: Sealer,
    random: Random,
}

/// A client that does not keep the connection alive.
pub(crate) struct WeakClient<P> {
    shared: Weak<Shared>,
    principal: PhantomData<fn() -> P>,
}

impl<P> WeakClient<P> {
    pub(crate) fn upgrade(&self) -> Option<Client<P>> {
        Some(Client {
            shared: self.shared.upgrade()?,
            principal: PhantomData,
        })
    }
}

impl<P> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            principal: PhantomData,
        }
    }
}

impl<P> std::fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.shared.identity.borrow().name)
            .finish_non_exhaustive()
    }
}

impl<P: Principal> Client<P> {
    /// Connects a principal that keeps no state: a strategy or an operator. Its boot number is the
    /// time.
    ///
    /// # Errors
    /// [`StartError`] when the identity is unusable or the bus does not admit it.
    pub async fn connect(identity_folder: &Path, bus_url: &str) -> Result<Self, StartError> {
        Self::connect_with(identity_folder, None, bus_url).await
    }

    /// As [`Self::connect`], with the key of the identity's bundle in this file if one is given.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_with(
        identity_folder: &Path,
        identity_key: Option<&Path>,
        bus_url: &str,
    ) -> Result<Self, StartError> {
        let identity = load_identity::<P>(identity_folder, identity_key)?;
        let boot = Clock::system().now().0;
        Self::start(
            identity,
            bus_url,
            boot,
            Telemetry::without_export(),
            Faults::new(),
        )
        .await
    }

    pub(crate) async fn start(
        identity: Identity,
        bus_url: &str,
        boot: u64,
        telemetry: Telemetry,
        faults: Faults,
    ) -> Result<Self, StartError> {
        let clock = Clock::system();
        let started_at = clock.now();
        let bus = Bus::connect(&identity, bus_url, &faults).await?;
        bus::check(&bus, &identity).await.map_err(BusError::from)?;
        let (realm, name) = (identity.realm, identity.name);
        let sealer = Sealer::new(realm, name, boot, identity.ring.clone());
        let verifier = Verifier::new(realm, name, started_at, identity.ring.clone());
        let shared = Shared {
            bus,
            clock,
            trust: watch::Sender::new(identity.trust.clone()),
            identity: watch::Sender::new(Arc::new(identity)),
            telemetry,
            faults,
            boot,
            sealing: Mutex::new(Sealing {
                sealer,
                random: Random::new(),
            }),
            verifier: Mutex::new(verifier),
            refusals: Mutex::new(RateLimit::default()),
            outdated: Mutex::new(BTreeMap::new()),
            report: OnceLock::new(),
        };
        let shared = Arc::new(shared);
        reload::watch(&shared, P::ROLE).map_err(StartError::Signals)?;
        Ok(Self {
            shared,
            principal: PhantomData,
        })
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Who this is, with the keys of the present: not to be kept, because keys are exchanged.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.shared.identity.borrow())
    }

    /// Whose signatures count, and every change of it.
    #[must_use]
    pub fn trust(&self) -> watch::Receiver<Trust> {
        self.shared.trust.subscribe()
    }

    /// Reads the identity again and goes on with its keys, at once. It happens by itself when the
    /// bundle's file changes, within a second, and, except for an operator, on SIGHUP.
    ///
    /// # Errors
    /// [`IdentityError`]: the keys stay as they were. It is logged, counted and put on record.
    pub async fn reload(&self) -> Result<(), IdentityError> {
        self.shared.reload().await
    }

    /// Metrics and traces.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.shared.telemetry
    }

    /// The number of this start.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.shared.boot
    }

    /// Whether the connection stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.bus.is_connected()
    }

    /// Resolves when this has to end: for a client, only when the bus denied a subscription.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shared.faults.shutdown()
    }

    /// Listens on several subjects, with a lane for each. What the reader does not take in time,
    /// beyond `capacity` messages of a subject, is dropped, the newest first, and counted in
    /// `portcullis_bus_dropped_total`. Of commands it is also put on record.
    ///
    /// # Errors
    /// [`BusError`] when a name does not fit its subject, the connection does not stand, or the bus
    /// denies the subscription.
    pub async fn listen(
        &self,
        subjects: &[(&'static Row, Option<&str>)],
        capacity: usize,
    ) -> Result<Inbox, BusError> {
        let reporter = Arc::downgrade(&self.shared);
        let warn = Box::new(move |notice| {
            if let Some(shared) = reporter.upgrade()
                && let Some(report) = shared.report.get()
            {
                report(notice);
            }
        });
        let listening = bus::listen(
            &self.shared.bus,
            self.shared.clock,
            subjects,
            capacity,
            warn,
        );
        let mut shutdown = self.shutdown();
        tokio::select! {
            biased;
            inbox = listening => inbox,
            // Whoever may not listen may not even ask whether it does.
            fault = async {
                match shutdown.wait().await {
                    Ending::Fault(fault) => fault,
                    Ending::Asked => std::future::pending().await,
                }
            } => Err(BusError::Denied(fault)),
        }
    }

    /// Opens a message. A refused one is counted, logged and, in a service, put on record; the
    /// caller has nothing left to do about it.
    pub fn open<Q: Principal, M: Message>(
        &self,
        subject: &Subject<Q, M>,
        raw: &Raw,
    ) -> Option<Received<M>> {
        let opened = self
            .verifier()
            .open(subject, &raw.subject, &raw.bytes, self.now());
        if let Ok(Received::Fresh(opened) | Received::Duplicate(opened)) = &opened {
            self.note_epoch(opened);
        }
        opened
            .map_err(|refusal| self.refuse(refusal, &raw.subject, &raw.bytes))
            .ok()
    }

    /// Opens a permit and the order inside it, whether it came on the bus or inside a request to
    /// sign. `subject` is where it came, for the record. Refusals as in [`Self::open`].
    pub fn open_permit(
        &self,
        bytes: &[u8],
        subject: &str,
    ) -> Option<(Received<Permit>, Received<Order>)> {
        let opened = self.verifier().open_permit(bytes, self.now());
        if let Ok((permit, order)) = &opened {
            let (Received::Fresh(permit) | Received::Duplicate(permit)) = permit;
            let (Received::Fresh(order) | Received::Duplicate(order)) = order;
            self.note_epoch(permit);
            self.note_epoch(order);
        }
        opened
            .map_err(|refusal| self.refuse(refusal, subject, bytes))
            .ok()
    }

    /// Opens a fact for the record: neither its age nor its place counts.
    ///
    /// # Errors
    /// [`Refusal`], which the caller puts on record itself.
    pub fn open_fact<Q: Principal, M: Message>(
        &self,
        subject: &Subject<Q, M>,
        raw: &Raw,
    ) -> Result<Verified<M>, Refusal> {
        let opened = self.verifier().open_fact(subject, &raw.subject, &raw.bytes);
        opened.inspect(|opened| self.note_epoch(opened))
    }

    /// Counts a message that was sealed with an epoch that a later one has taken the place of: its
    /// source has not reloaded, or somebody uses an old copy of its keys.
    fn note_epoch<M: Message>(&self, opened: &Verified<M>) {
        if !opened.is_outdated() {
            return;
        }
        let source = opened.source();
        metrics::counter!("portcullis_outdated_epoch_total", "source" => source.to_string())
            .increment(1);
        let now = self.now();
        let due = {
            let mut reported = self
                .shared
                .outdated
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let last = reported.get(&source).copied();
            let due = last.is_none_or(|last| now.since(last) >= OUTDATED_REPORTED_EVERY);
            if due {
                reported.insert(source, now);
            }
            due
        };
        if due {
            let epoch = opened.epoch();
            tracing::warn!(%source, epoch, "sealed with an outdated epoch");
            self.shared.warn(&format!(
                "{source} seals with epoch {epoch}, which a later one has taken the place of"
            ));
        }
    }

    /// Counts a refused message, logs it and puts it on record. Those who open envelopes through
    /// this type need not call it.
    pub fn refuse(&self, refusal: Refusal, subject: &str, bytes: &[u8]) {
        let code = refusal.code();
        let violation = if refusal.is_violation() {
            "true"
        } else {
            "false"
        };
        metrics::counter!(
            "portcullis_refused_envelopes_total", "code" => code, "violation" => violation
        )
        .increment(1);
        let second = self.now().0 / 1_000_000;
        let within = self
            .shared
            .refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(second);
        if !within {
            return;
        }
        let frame = Hash(Sha256::digest(bytes).into());
        tracing::warn!(subject, code, violation, %frame, length = bytes.len(), "refused a message");
        if let Some(report) = self.shared.report.get() {
            let (subject, code) = (Text::lossy(subject), Text::lossy(code));
            report(Notice::Violation {
                subject,
                code,
                frame,
            });
        }
    }

    /// Seals a message. `name` fills the variable place of the subject, `cause` is the message that
    /// this one answers or continues, `traceparent` is taken from the cause if not given.
    ///
    /// # Errors
    /// [`BusError::Seal`]; nothing is counted then. A sealed message that is not sent leaves a gap
    /// that audit notices.
    pub fn seal<M: Message>(
        &self,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
        cause: Option<&Header>,
        traceparent: Option<String>,
    ) -> Result<Sealed, BusError> {
        let mut sealing = self.sealing();
        sealing.seal(self.now(), subject, name, message, cause, traceparent)
    }

    /// Sends a sealed message once, now, to whoever listens. Nothing is kept for later.
    ///
    /// # Errors
    /// [`BusError`] when the connection does not stand or takes no more.
    pub fn send(&self, sealed: Sealed) -> Result<(), BusError> {
        let sent = self
            .shared
            .bus
            .send(sealed.subject, Bytes::from(sealed.frame));
        if sent.is_err() {
            metrics::counter!("portcullis_bus_unsent_total").increment(1);
        }
        sent
    }

    /// Seals and sends; the answer is what was sent.
    ///
    /// # Errors
    /// As [`Self::seal`] and [`Self::send`].
    pub fn publish<M: Message>(
        &self,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
        cause: Option<&Header>,
        traceparent: Option<String>,
    ) -> Result<Sealed, BusError> {
        if !self.is_connected() {
            // Checked before a place in the channel is used up.
            return Err(BusError::Disconnected);
        }
        let sealed = self.seal(subject, name, message, cause, traceparent)?;
        self.send(sealed.clone())?;
        Ok(sealed)
    }

    /// Waits until everything that was sent has left this process.
    ///
    /// # Errors
    /// [`BusError`] when the connection does not stand.
    pub async fn flush(&self) -> Result<(), BusError> {
        self.shared.bus.flush().await
    }

    /// Ends the connection in order.
    pub async fn close(&self) {
        self.shared.bus.close().await;
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.shared.bus
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    pub(crate) fn downgrade(&self) -> WeakClient<P> {
        WeakClient {
            shared: Arc::downgrade(&self.shared),
            principal: PhantomData,
        }
    }

    pub(crate) fn report_refusals_to(&self, report: Report) {
        // It is set once, at the start.
        let _ = self.shared.report.set(report);
    }

    pub(crate) fn sealing(&self) -> MutexGuard<'_, Sealing> {
        self.shared.sealing()
    }

    fn verifier(&self) -> MutexGuard<'_, Verifier> {
        self.shared.verifier()
    }
}

impl Shared {
    fn sealing(&self) -> MutexGuard<'_, Sealing> {
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verifier(&self) -> MutexGuard<'_, Verifier> {
        self.verifier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something that an operator should look at on record, in a service.
    fn warn(&self, detail: &str) {
        if let Some(report) = self.report.get() {
            report(Notice::Warning {
                detail: Text::lossy(detail),
            });
        }
    }
}

impl Sealing {
    pub(crate) fn seal<P: Principal, M: Message>(
        &mut self,
        now: Timestamp,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
        cause: Option<&Header>,
        traceparent: Option<String>,
    ) -> Result<Sealed, BusError> {
        let id = EnvelopeId(self.random.bytes16().map_err(BusError::Random)?);
        let mut context = match cause {
            Some(cause) => Context::caused_by(now, id, cause),
            None => Context::first(now, id),
        };
        if subject.row.protection == Protection::Confidential {
            let key = self.random.bytes32().map_err(BusError::Random)?;
            context.content_key = Some(ContentKey::from_random(key));
        }
        if let Some(traceparent) = traceparent {
            context.traceparent = traceparent;
        }
        Ok(self.sealer.seal(subject, name, message, context)?)
    }
}

/// Loads an identity and makes sure that it is one of this role.
pub(crate) fn load_identity<P: Principal>(
    folder: &Path,
    key: Option<&Path>,
) -> Result<Identity, StartError> {
    let identity = Identity::load_with(folder, key)?;
    if Role::of(&identity.name) == Some(P::ROLE) {
        return Ok(identity);
    }
    let folder = folder.into();
    Err(IdentityError::Role {
        folder,
        name: identity.name,
        role: P::ROLE,
    }
    .into())
}

/// Lets a bounded number through each second.
#[derive(Debug, Default)]
struct RateLimit {
    second: u64,
    admitted: u32,
}

impl RateLimit {
    fn admit(&mut self, second: u64) -> bool {
        if second != self.second {
            *self = Self {
                second,
                admitted: 0,
            };
        }
        let within = self.admitted < REFUSALS_A_SECOND;
        self.admitted = self.admitted.saturating_add(u32::from(within));
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_reported_ten_times_a_second_and_no_more() {
        let mut limit = RateLimit::default();
        let first = (0..100).filter(|_| limit.admit(7)).count();
        let next = (0..100).filter(|_| limit.admit(8)).count();
        assert_eq!((first, next), (10, 10));
    }
}
