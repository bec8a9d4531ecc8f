//! Opens envelopes. The order of the checks is part of the contract: nothing but the frame is
//! parsed before the MAC holds.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use hmac::Mac;
use portcullis_domain::{EnvelopeId, PrincipalName, Span, Timestamp};

use crate::author;
use crate::codec;
use crate::confidential;
use crate::frame::{BODY_LENGTH_MAX, Frame, FrameError, Header, covered};
use crate::keys::{Epoch, KeyId, KeyRing, Link, Realm};
use crate::messages::{Message, Permit};
use crate::principal::{Principal, Role};
use crate::subjects::{Delivery, KILL, ORDER, PERMIT, Protection, Subject};
use crate::window::{Novelty, Window};

/// How far ahead of ours a sender's clock may be.
pub const SKEW_MAX: Span = Span::from_secs(2);

/// The most (source, channel) pairs that a verifier keeps a window for.
const WINDOWS_MAX: usize = 512;

/// Why an envelope was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a frame, or too large for one.
    #[error("not a frame: {0}")]
    Frame(FrameError),
    /// No seal for this reader by anybody who may publish that subject.
    #[error("no seal for this reader from a publisher of the subject")]
    NoSeal,
    /// A seal whose key is not held: unknown, revoked or of another realm.
    #[error("sealed with a key that is not held")]
    UnknownKey,
    /// The tag does not fit the bytes: tampered with, or made without the key.
    #[error("seal does not fit the bytes")]
    BadSeal,
    /// Sealed with a key whose time is over.
    #[error("sealed with a retired key")]
    RetiredKey,
    /// The header is not one, although its seal holds.
    #[error("header is malformed")]
    Header,
    /// Sealed in another deployment.
    #[error("belongs to another realm")]
    Realm,
    /// Sealed for another subject or kind than it came as.
    #[error("sealed for another subject")]
    Subject,
    /// This reader is not among its addressees.
    #[error("addressed to somebody else")]
    Addressee,
    /// Its lifetime is over, or longer than the subject allows.
    #[error("expired")]
    Expired,
    /// Sealed too far in the future.
    #[error("sealed in the future")]
    Future,
    /// Of a start that lies after it: a boot number never runs ahead of its source's clock.
    #[error("of a start of its source in the future")]
    Boot,
    /// Sealed before this reader started.
    #[error("sealed before this service started")]
    BeforeBoot,
    /// A fact of a start of its source before the newest one seen.
    #[error("of an earlier start of its source")]
    EarlierStart,
    /// An old place in its channel, or a known id with other bytes.
    #[error("replayed")]
    Replay,
    /// The author's signature is missing, or not one of a key that is trusted.
    #[error("not signed by its author")]
    Author,
    /// The body is not encrypted for this reader, or not with these keys.
    #[error("body does not decrypt")]
    Ciphertext,
    /// The body is not such a message.
    #[error("body is not such a message")]
    Body,
    /// More sources than a reader keeps track of.
    #[error("too many sources")]
    TooManySources,
}

impl Refusal {
    /// The stable code that logs, metrics and audit use.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Frame(FrameError::TooLong) => "OVERSIZED",
            Self::Frame(FrameError::Malformed) => "MALFORMED_FRAME",
            Self::Frame(FrameError::Version(_)) => "UNKNOWN_VERSION",
            Self::NoSeal => "NO_SEAL",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::BadSeal => "BAD_SEAL",
            Self::RetiredKey => "RETIRED_KEY",
            Self::Header => "MALFORMED_HEADER",
            Self::Realm => "WRONG_REALM",
            Self::Subject => "WRONG_SUBJECT",
            Self::Addressee => "WRONG_ADDRESSEE",
            Self::Expired => "EXPIRED",
            Self::Future => "SEALED_IN_FUTURE",
            Self::Boot => "BOOT_IN_FUTURE",
            Self::BeforeBoot => "SEALED_BEFORE_BOOT",
            Self::EarlierStart => "EARLIER_START",
            Self::Replay => "REPLAY",
            Self::Author => "BAD_AUTHOR_SIGNATURE",
            Self::Ciphertext => "UNDECRYPTABLE_BODY",
            Self::Body => "MALFORMED_BODY",
            Self::TooManySources => "TOO_MANY_SOURCES",
        }
    }

    /// Whether an honest system never produces it, so that it is a security violation rather than
    /// weather (late delivery, a restart).
    #[must_use]
    pub const fn is_violation(self) -> bool {
        match self {
            Self::Expired | Self::BeforeBoot | Self::EarlierStart => false,
            Self::Frame(_)
            | Self::NoSeal
            | Self::UnknownKey
            | Self::BadSeal
            | Self::RetiredKey
            | Self::Header
            | Self::Realm
            | Self::Subject
            | Self::Addressee
            | Self::Future
            | Self::Boot
            | Self::Replay
            | Self::Author
            | Self::Ciphertext
            | Self::Body
            | Self::TooManySources => true,
        }
    }
}

/// A message whose envelope held in every respect. Only this crate builds one.
#[derive(Clone, Debug)]
pub struct Verified<M> {
    header: Header,
    message: M,
    frame: Vec<u8>,
    epoch: u32,
    outdated: bool,
}

impl<M> Verified<M> {
    /// The epoch of the key that sealed it for this reader.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether its source should have sealed it with a later epoch, and some seconds ago already:
    /// the source lags behind a rotation, or somebody uses an old copy of its keys.
    #[must_use]
    pub const fn is_outdated(&self) -> bool {
        self.outdated
    }

    /// The message.
    #[must_use]
    pub const fn message(&self) -> &M {
        &self.message
    }

    /// What its envelope said.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Who sealed it.
    #[must_use]
    pub const fn source(&self) -> PrincipalName {
        self.header.source
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> EnvelopeId {
        self.header.id
    }

    /// The exact bytes, for enclosing and for the record.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// What its envelope said, the message, and the exact bytes.
    #[must_use]
    pub fn into_parts(self) -> (Header, M, Vec<u8>) {
        (self.header, self.message, self.frame)
    }
}

/// A verified message, and whether it came before.
#[derive(Clone, Debug)]
pub enum Received<M> {
    /// For the first time.
    Fresh(Verified<M>),
    /// Again, byte for byte: to be answered with the stored result, never acted on again. A kill
    /// command is one whatever its place, and pulls the latch again.
    Duplicate(Verified<M>),
}

impl<M> Received<M> {
    /// The message if it came for the first time.
    #[must_use]
    pub fn fresh(self) -> Option<Verified<M>> {
        match self {
            Self::Fresh(verified) => Some(verified),
            Self::Duplicate(_) => None,
        }
    }

    /// The message, whether or not it came before.
    #[must_use]
    pub fn either(self) -> Verified<M> {
        match self {
            Self::Fresh(verified) | Self::Duplicate(verified) => verified,
        }
    }
}

/// A frame whose seal holds and whose header fits its subject, its source and its reader.
struct Authentic<'a> {
    header: Header,
    tag: [u8; 32],
    link: Link,
    epoch: Epoch,
    frame: Frame<'a>,
}

impl Authentic<'_> {
    fn counts_at(&self, moment: Timestamp) -> bool {
        self.epoch.counts_at(moment)
    }
}

/// Whether a start of the source is named that comes after the message. Readers go on with the newest
/// start that they have seen: one far ahead, made with stolen keys, would shut out every honest start
/// that follows, for longer than the keys are worth anything.
fn is_boot_ahead(header: &Header) -> bool {
    header.boot > header.issued_at.plus(SKEW_MAX).0
}

/// Opens the envelopes that are meant for one principal.
pub struct Verifier {
    realm: Realm,
    me: PrincipalName,
    started_at: Timestamp,
    ring: KeyRing,
    /// By source and channel.
    windows: BTreeMap<PrincipalName, BTreeMap<String, Window>>,
    windows_open: usize,
}

impl Verifier {
    /// `started_at` is when this service started: what was sealed earlier is refused.
    #[must_use]
    pub fn new(realm: Realm, me: PrincipalName, started_at: Timestamp, ring: KeyRing) -> Self {
        Self {
            realm,
            me,
            started_at,
            ring,
            windows: BTreeMap::new(),
            windows_open: 0,
        }
    }

    /// Goes on with other keys: what was seen before stays seen.
    pub fn set_ring(&mut self, ring: KeyRing) {
        self.ring = ring;
    }

    /// Opens a message that arrived on `arrived_on`.
    ///
    /// # Errors
    /// [`Refusal`], the first that applies.
    pub fn open<P: Principal, M: Message>(
        &mut self,
        subject: &Subject<P, M>,
        arrived_on: &str,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<Received<M>, Refusal> {
        let sealed = self.authenticate(subject, arrived_on, bytes)?;
        let row = subject.row;
        if !sealed.counts_at(now) {
            return Err(Refusal::RetiredKey);
        }
        let header = &sealed.header;
        if header.expires_at.since(header.issued_at) > row.lifetime || now >= header.expires_at {
            return Err(Refusal::Expired);
        }
        if header.issued_at > now.plus(SKEW_MAX) {
            return Err(Refusal::Future);
        }
        if header.issued_at < self.started_at {
            return Err(Refusal::BeforeBoot);
        }
        // A kill command is obeyed whatever its place, so that no place can keep one out.
        if row.pattern != KILL.row.pattern && is_boot_ahead(header) {
            return Err(Refusal::Boot);
        }
        // Before it takes a place: whoever has the link's key but not the author's could otherwise
        // shut every later message out with one that names a start far ahead.
        let tag = sealed.tag;
        let verified = self.read(sealed, row.protection, bytes)?;
        let header = &verified.header;
        let window = self.window(header, row.channel(&header.subject))?;
        let novelty = window.record(header.boot, header.seq, header.id, tag);
        match novelty {
            Novelty::Fresh => Ok(Received::Fresh(verified)),
            Novelty::Duplicate => Ok(Received::Duplicate(verified)),
            // To stop once more is harmless, to be kept from stopping is not: whoever has a copy of
            // an operator's keys could otherwise shut that operator out with one message of a boot
            // that no honest start ever reaches.
            Novelty::EarlierStart | Novelty::Replay if row.pattern == KILL.row.pattern => {
                Ok(Received::Duplicate(verified))
            }
            // A source says the facts again that its earlier start may not have got out.
            Novelty::EarlierStart if row.delivery == Delivery::Stream => Err(Refusal::EarlierStart),
            Novelty::EarlierStart | Novelty::Replay => Err(Refusal::Replay),
        }
    }

    /// Opens a permit and the brain's order inside it. The order is verified against the subject
    /// that orders are first sent on; its own times and sequence still count.
    ///
    /// # Errors
    /// [`Refusal`] of the permit, or of the order inside it.
    pub fn open_permit(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<(Received<Permit>, Received<portcullis_domain::Order>), Refusal> {
        let permit = self.open(&PERMIT, PERMIT.row.pattern, bytes, now)?;
        let (Received::Fresh(verified) | Received::Duplicate(verified)) = &permit;
        let order = self.open(&ORDER, ORDER.row.pattern, &verified.message.order, now)?;
        Ok((permit, order))
    }

    /// Opens a fact for the record: seal, subject and body must hold, but its age and its place do
    /// not count, because the record takes facts late and again; the recorder keeps count itself,
    /// and refuses a fact that was sealed in the future.
    ///
    /// # Errors
    /// [`Refusal`], the first that applies.
    pub fn open_fact<P: Principal, M: Message>(
        &self,
        subject: &Subject<P, M>,
        arrived_on: &str,
        bytes: &[u8],
    ) -> Result<Verified<M>, Refusal> {
        let sealed = self.authenticate(subject, arrived_on, bytes)?;
        // What an epoch sealed in its time stays a fact when that time is over.
        if !sealed.counts_at(sealed.header.issued_at) {
            return Err(Refusal::RetiredKey);
        }
        if is_boot_ahead(&sealed.header) {
            return Err(Refusal::Boot);
        }
        self.read(sealed, subject.row.protection, bytes)
    }

    fn read<M: Message>(
        &self,
        sealed: Authentic<'_>,
        protection: Protection,
        bytes: &[u8],
    ) -> Result<Verified<M>, Refusal> {
        let Authentic {
            header,
            frame,
            link,
            epoch,
            ..
        } = sealed;
        let message = match protection {
            Protection::Sealed => codec::decode(frame.body, BODY_LENGTH_MAX),
            Protection::Signed => {
                let keys = self.ring.keys_of(&header.source);
                let body = author::open(frame.body, frame.header, keys);
                codec::decode(body.map_err(|_| Refusal::Author)?, BODY_LENGTH_MAX)
            }
            Protection::Confidential => {
                let key = self.ring.find(&link, epoch.number);
                let key = key.ok_or(Refusal::UnknownKey)?;
                let body = confidential::open(frame.body, frame.header, header.id, &self.me, key);
                codec::decode(&body.map_err(|_| Refusal::Ciphertext)?, BODY_LENGTH_MAX)
            }
        };
        Ok(Verified {
            message: message.map_err(|_| Refusal::Body)?,
            outdated: self.ring.is_outdated(&link, epoch.number, header.issued_at),
            epoch: epoch.number,
            header,
            frame: bytes.into(),
        })
    }

    fn authenticate<'a, P: Principal, M: Message>(
        &self,
        subject: &Subject<P, M>,
        arrived_on: &str,
        bytes: &'a [u8],
    ) -> Result<Authentic<'a>, Refusal> {
        let row = subject.row;
        let frame = Frame::parse(bytes).map_err(Refusal::Frame)?;
        let (link, epoch, tag) = frame
            .seals
            .iter()
            .find_map(|(key_id, tag)| {
                let (link, epoch) = KeyId::parse(key_id).ok()?;
                let expected =
                    link.audience == self.me && Role::of(&link.source) == Some(row.publisher);
                expected.then_some((link, epoch, *tag))
            })
            .ok_or(Refusal::NoSeal)?;
        let Link { source, .. } = link;
        let key = self.ring.find(&link, epoch).ok_or(Refusal::UnknownKey)?;
        covered(&key.mac, frame.header, frame.body)
            .verify_slice(&tag)
            .map_err(|_| Refusal::BadSeal)?;
        let header = Header::read(frame.header).map_err(|_| Refusal::Header)?;
        if header.realm != self.realm {
            return Err(Refusal::Realm);
        }
        if header.subject != arrived_on || !row.matches(arrived_on) || header.kind != M::KIND {
            return Err(Refusal::Subject);
        }
        if header.source != source || !row.may_publish(&source, arrived_on) {
            return Err(Refusal::Subject);
        }
        if !header.audience.contains(&self.me) {
            return Err(Refusal::Addressee);
        }
        Ok(Authentic {
            header,
            tag,
            link,
            epoch: key.epoch,
            frame,
        })
    }

    fn window(&mut self, header: &Header, channel: &str) -> Result<&mut Window, Refusal> {
        let channels = self.windows.entry(header.source).or_default();
        if !channels.contains_key(channel) {
            if self.windows_open >= WINDOWS_MAX {
                return Err(Refusal::TooManySources);
            }
            self.windows_open = self.windows_open.saturating_add(1);
            channels.insert(channel.into(), Window::new(header.boot));
        }
        channels.get_mut(channel).ok_or(Refusal::TooManySources)
    }
}
