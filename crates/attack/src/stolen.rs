//! What a thief has: the whole bundle of one principal, copied away, and what can be made of it.
//!
//! ```text
//!  bundle ──▶ NKey + certificate ──▶ a connection of its own beside the real one
//!         ──▶ link keys          ──▶ a sealer with a boot number above the real one's
//!         ──▶ signing seed       ──▶ signatures (audit, operators)
//! ```

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portcullis_domain::{PrincipalName, Timestamp};
use portcullis_runtime::identity::Bundle;
use portcullis_runtime::nats_config::{development_roster, links};
use portcullis_runtime::{Clock, Identity, envelope_id};
use portcullis_wire::messages::Message;
use portcullis_wire::principal::{Principal, Role};
use portcullis_wire::subjects::{Subject, TABLE};
use portcullis_wire::{
    ContentKey, Context, Epoch, Header, KeyRing, LinkKey, Realm, Sealed, Sealer, Signer, Verifier,
};

use crate::wire::{Heard, Login, Said, Wire, poll};

/// How many captured messages a thief keeps.
const HEARD_MAX: usize = 4_096;

/// Somebody with a stolen bundle.
pub struct Thief {
    /// Whose bundle it is.
    pub name: PrincipalName,
    /// Its role; none for the provisioner and the monitor.
    pub role: Option<Role>,
    /// Link keys, trusted keys and the signing seed.
    pub identity: Identity,
    /// The connection that was made with it.
    pub wire: Wire,
    /// The boot number that it seals with.
    pub boot: u64,
    sealer: Sealer,
    heard: VecDeque<Heard>,
}

/// The transport part of a bundle.
pub struct Transport {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
    seed: String,
}

impl Transport {
    /// Reads it from an identity folder.
    ///
    /// # Errors
    /// When it is not one.
    pub fn read(folder: &Path) -> Result<Self> {
        let bundle = Bundle::open(folder).context("open the stolen bundle")?;
        Ok(Self {
            ca: bundle.ca_pem().to_vec(),
            certificate: bundle.certificate_pem().to_vec(),
            key: bundle.key_pem().to_vec(),
            seed: bundle.nkey_seed().to_owned(),
        })
    }

    /// Makes a connection with it.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn connect(&self, port: u16) -> Result<Wire> {
        self.connect_trusting(port, &self.ca)
    }

    /// The same, believing another certificate authority.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn connect_trusting(&self, port: u16, ca: &[u8]) -> Result<Wire> {
        let login = Login {
            ca,
            certificate: &self.certificate,
            key: &self.key,
            seed: &self.seed,
        };
        Wire::connect(port, &login)
    }

    /// The certificate authority in it.
    #[must_use]
    pub fn ca(&self) -> &[u8] {
        &self.ca
    }
}

impl Thief {
    /// Opens a copied bundle and joins the bus with it.
    ///
    /// # Errors
    /// When the bundle is none, or the server does not take it.
    pub fn with(folder: &Path, port: u16) -> Result<Self> {
        let mut identity = Identity::load(folder).context("open the stolen bundle")?;
        // A thief's clock says what it likes: every key seals at any time.
        let bundle = Bundle::open(folder)?;
        let mut ring = bundle.ring();
        for held in bundle.links() {
            ring.insert(held.link, Epoch::lasting(held.epoch.number), &held.key);
        }
        identity.ring = ring;
        let wire = Transport::read(folder)?.connect(port)?;
        let boot = now().0;
        let sealer = Sealer::new(identity.realm, identity.name, boot, identity.ring.clone());
        Ok(Self {
            name: identity.name,
            role: Role::of(&identity.name),
            identity,
            wire,
            boot,
            sealer,
            heard: VecDeque::new(),
        })
    }

    /// Whether the table lets it publish on a subject.
    #[must_use]
    pub fn may_publish(&self, subject: &str) -> bool {
        TABLE.iter().any(|row| row.may_publish(&self.name, subject))
    }

    /// Whether the table delivers a subject to it.
    #[must_use]
    pub fn may_hear(&self, subject: &str) -> bool {
        let reads = |row: &&portcullis_wire::subjects::Row| {
            let subscribes = self
                .role
                .is_some_and(|role| row.subscribers.contains(&role));
            subscribes && row.matches(subject) && row.may_read(&self.name, subject)
        };
        TABLE.iter().any(reads)
    }

    /// Begins a start of its own, above every earlier one, as the real one's restart would.
    pub fn begin(&mut self) {
        self.boot = now().0.max(self.boot.saturating_add(1));
        self.sealer = self.fresh_sealer(self.identity.realm);
    }

    /// A sealer of this start in a realm.
    fn fresh_sealer(&self, realm: Realm) -> Sealer {
        Sealer::new(realm, self.name, self.boot, self.identity.ring.clone())
    }

    /// Seals as the principal whose keys these are.
    ///
    /// # Errors
    /// When there is no key for any reader.
    pub fn seal<P: Principal, M: Message>(
        &mut self,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
    ) -> Result<Sealed> {
        self.seal_at(now(), subject, name, message)
    }

    /// The same at another moment.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_at<P: Principal, M: Message>(
        &mut self,
        at: Timestamp,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
    ) -> Result<Sealed> {
        Ok(self.sealer.seal(subject, name, message, context(at)?)?)
    }

    /// The same as the answer to another message.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn answer<P: Principal, M: Message>(
        &mut self,
        cause: &Header,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
    ) -> Result<Sealed> {
        let mut context = context(now())?;
        context.causation = Some(cause.id);
        context.correlation = cause.correlation;
        Ok(self.sealer.seal(subject, name, message, context)?)
    }

    /// The same with the stolen keys, in the name of another realm.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_in_realm<P: Principal, M: Message>(
        &self,
        realm: Realm,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
    ) -> Result<Sealed> {
        let mut sealer = self.fresh_sealer(realm);
        Ok(sealer.seal(subject, name, message, context(now())?)?)
    }

    /// Seals as somebody else, with whatever stolen keys of that source there are.
    ///
    /// # Errors
    /// When there are none.
    pub fn seal_as<P: Principal, M: Message>(
        &self,
        source: PrincipalName,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
    ) -> Result<Sealed> {
        let ring = self.identity.ring.clone();
        let mut sealer = Sealer::new(self.identity.realm, source, self.boot, ring);
        Ok(sealer.seal(subject, name, message, context(now())?)?)
    }

    /// Publishes and gives back what the server said.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn publish(&mut self, subject: &str, bytes: &[u8]) -> Result<Said> {
        self.publish_for_reply(subject, "", bytes)
    }

    /// The same, naming a subject for an answer: where the server would publish it, unchecked.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn publish_for_reply(&mut self, subject: &str, reply: &str, bytes: &[u8]) -> Result<Said> {
        let mut said = self.wire.publish(subject, reply, bytes)?;
        self.keep(&mut said);
        Ok(said)
    }

    /// Sends a sealed message that the bus takes.
    ///
    /// # Errors
    /// When the bus denies it, or the connection ends.
    pub fn send(&mut self, sealed: &Sealed) -> Result<()> {
        let said = self.publish(&sealed.subject, &sealed.frame)?;
        ensure!(
            said.errors.is_empty(),
            "{}: {:?}",
            sealed.subject,
            said.errors
        );
        Ok(())
    }

    /// Listens on a subject.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn listen(&mut self, subject: &str) -> Result<Said> {
        let mut said = self.wire.listen(subject)?;
        self.keep(&mut said);
        Ok(said)
    }

    /// The first captured message, or the next that comes, of which `wanted` makes something.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn hear<T>(
        &mut self,
        patience: Duration,
        mut wanted: impl FnMut(&Heard) -> Option<T>,
    ) -> Result<Option<T>> {
        poll(patience, || {
            let mut said = self.wire.say(b"")?;
            self.keep(&mut said);
            while let Some(heard) = self.heard.pop_front() {
                if let Some(found) = wanted(&heard) {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    /// Forgets what it captured.
    pub fn forget(&mut self) {
        self.heard.clear();
    }

    fn keep(&mut self, said: &mut Said) {
        self.heard.extend(said.heard.drain(..));
        while self.heard.len() > HEARD_MAX {
            self.heard.pop_front();
        }
    }

    /// A verifier that reads as this principal does.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        let ring = self.identity.ring.clone();
        Verifier::new(self.identity.realm, self.name, Timestamp(0), ring)
    }
}

/// Seals as anybody, with keys that were made up.
///
/// # Errors
/// When the message does not encode.
pub fn forge<P: Principal, M: Message>(
    source: &str,
    subject: &Subject<P, M>,
    name: Option<&str>,
    message: &M,
) -> Result<Sealed> {
    let mut ring = KeyRing::new();
    for link in links(&development_roster()) {
        ring.insert(link, Epoch::lasting(1), &LinkKey::from_bytes([0x66; 32]));
    }
    ring.sign_with(Signer::from_seed(&[0x44; 32]));
    let source = PrincipalName::new(source)?;
    let mut sealer = Sealer::new(Realm::new("dev")?, source, now().0, ring);
    Ok(sealer.seal(subject, name, message, context(now())?)?)
}

/// The present.
#[must_use]
pub fn now() -> Timestamp {
    Clock::system().now()
}

fn context(at: Timestamp) -> Result<Context> {
    let mut context = Context::first(at, envelope_id()?);
    let mut secret = [0; 32];
    for half in secret.chunks_exact_mut(16) {
        half.copy_from_slice(&envelope_id()?.0);
    }
    context.content_key = Some(ContentKey::from_random(secret));
    Ok(context)
}
