//! Seals messages: one header, one body, one tag for each addressee.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use hmac::Mac;
use portcullis_domain::{EnvelopeId, PrincipalName, Timestamp};

use crate::author;
use crate::codec::{self, CodecError};
use crate::confidential::{self, ContentKey};
use crate::frame::{BODY_LENGTH_MAX, Frame, Header, SEALS_MAX, covered};
use crate::keys::{KeyRing, Keyed, Link, Realm};
use crate::messages::Message;
use crate::principal::Principal;
use crate::subjects::{Protection, Subject};

/// Why a message could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The body does not encode, or is too long.
    #[error("encode the body of {kind}")]
    Body {
        /// The kind of message.
        kind: &'static str,
        /// What is wrong with it.
        #[source]
        cause: CodecError,
    },
    /// The name in the subject does not fit the subject.
    #[error("subject {0} needs exactly one name")]
    Name(&'static str),
    /// No key is held for anybody who may read it.
    #[error("no link key for any reader of {0}")]
    NoAddressee(&'static str),
    /// It is for its addressees' eyes only, and there is no key to encrypt it with.
    #[error("no content key for {0}")]
    NoContentKey(&'static str),
    /// Its readers want its author's signature, and there is no key to sign it with.
    #[error("no signing key for {0}")]
    NoSigningKey(&'static str),
    /// Header or frame would be larger than the format allows.
    #[error("frame for {0} would be too large")]
    TooLarge(&'static str),
}

/// What the sealing core cannot know by itself.
#[derive(Clone, Debug)]
pub struct Context {
    /// The present.
    pub now: Timestamp,
    /// A fresh, unguessable id.
    pub id: EnvelopeId,
    /// What all messages of one proposal share.
    pub correlation: EnvelopeId,
    /// The message that caused this one.
    pub causation: Option<EnvelopeId>,
    /// W3C trace context, or empty.
    pub traceparent: String,
    /// A fresh random key, for a message that only its addressees may read.
    pub content_key: Option<ContentKey>,
}

impl Context {
    /// The context of a message that nothing caused.
    #[must_use]
    pub const fn first(now: Timestamp, id: EnvelopeId) -> Self {
        Self {
            now,
            id,
            correlation: id,
            causation: None,
            traceparent: String::new(),
            content_key: None,
        }
    }

    /// The context of a message that another one caused.
    #[must_use]
    pub fn caused_by(now: Timestamp, id: EnvelopeId, cause: &Header) -> Self {
        Self {
            now,
            id,
            correlation: cause.correlation,
            causation: Some(cause.id),
            traceparent: cause.traceparent.clone(),
            content_key: None,
        }
    }
}

/// A sealed message, ready to be sent.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Where it goes.
    pub subject: String,
    /// Its id.
    pub id: EnvelopeId,
    /// Its place in its channel.
    pub seq: u64,
    /// The bytes.
    pub frame: Vec<u8>,
}

/// Seals the messages of one principal and counts its channels.
#[derive(Debug)]
pub struct Sealer {
    realm: Realm,
    source: PrincipalName,
    boot: u64,
    ring: KeyRing,
    next: BTreeMap<String, u64>,
    /// Who reads a subject, worked out once for each.
    readers: BTreeMap<String, Vec<Link>>,
}

/// The most subjects whose readers are remembered.
const SUBJECTS_MAX: usize = 1_024;

impl Sealer {
    /// `boot` must be larger than at every earlier start, and be on disk before the first send.
    #[must_use]
    pub fn new(realm: Realm, source: PrincipalName, boot: u64, ring: KeyRing) -> Self {
        Self {
            realm,
            source,
            boot,
            ring,
            next: BTreeMap::new(),
            readers: BTreeMap::new(),
        }
    }

    /// Goes on with other keys: channels and their places stay as they are.
    pub fn set_ring(&mut self, ring: KeyRing) {
        self.ring = ring;
        self.readers.clear();
    }

    /// Seals a message for everybody whose key is held and whose role may read the subject. `name`
    /// fills the one variable place of the subject, where it has one.
    ///
    /// # Errors
    /// [`SealError`]; nothing is counted then.
    pub fn seal<P: Principal, M: Message>(
        &mut self,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
        context: Context,
    ) -> Result<Sealed, SealError> {
        let row = subject.row;
        let concrete = row.concrete(name).ok_or(SealError::Name(row.pattern))?;
        let body = codec::encode(message).map_err(|cause| SealError::Body {
            kind: M::KIND,
            cause,
        })?;
        let room = match row.protection {
            Protection::Sealed => BODY_LENGTH_MAX,
            Protection::Signed => BODY_LENGTH_MAX.saturating_sub(author::OVERHEAD),
            Protection::Confidential => {
                BODY_LENGTH_MAX.saturating_sub(confidential::overhead(SEALS_MAX))
            }
        };
        if body.len() > room {
            let cause = CodecError::TooLong {
                length: body.len(),
                limit: room,
            };
            return Err(SealError::Body {
                kind: M::KIND,
                cause,
            });
        }
        if !self.readers.contains_key(&concrete) {
            if self.readers.len() >= SUBJECTS_MAX {
                self.readers.clear();
            }
            let ours = self.ring.links().filter(|link| link.source == self.source);
            let links = ours
                .filter(|link| row.may_read(&link.audience, &concrete))
                .copied();
            self.readers.insert(concrete.clone(), links.collect());
        }
        let links = self
            .readers
            .get(&concrete)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let keys: Vec<(PrincipalName, &Keyed)> = links
            .iter()
            .filter_map(|link| Some((link.audience, self.ring.sealing(link, context.now)?)))
            .collect();
        if keys.is_empty() {
            return Err(SealError::NoAddressee(row.pattern));
        }
        let channel = row.channel(&concrete);
        let seq = self.next.get(channel).copied().unwrap_or(1);
        let header = Header {
            realm: self.realm,
            kind: M::KIND.into(),
            subject: concrete.clone(),
            source: self.source,
            audience: keys.iter().map(|(audience, _)| *audience).collect(),
            id: context.id,
            boot: self.boot,
            seq,
            issued_at: context.now,
            expires_at: context.now.plus(row.lifetime),
            correlation: context.correlation,
            causation: context.causation,
            traceparent: context.traceparent,
        };
        let header = header
            .write()
            .map_err(|_| SealError::TooLarge(row.pattern))?;
        let too_large = |_| SealError::TooLarge(row.pattern);
        let body = match row.protection {
            Protection::Sealed => body,
            Protection::Signed => {
                let author = self.ring.author();
                let author = author.ok_or(SealError::NoSigningKey(row.pattern))?;
                author::close(&body, &header, author).map_err(too_large)?
            }
            Protection::Confidential => {
                let key = context.content_key.as_ref();
                let key = key.ok_or(SealError::NoContentKey(row.pattern))?;
                confidential::close(&body, key, &header, context.id, &keys).map_err(too_large)?
            }
        };
        let seals: Vec<(&str, [u8; 32])> = keys
            .iter()
            .map(|(_, key)| {
                let tag = covered(&key.mac, &header, &body).finalize().into_bytes();
                (key.id.as_str(), tag.into())
            })
            .collect();
        let frame =
            Frame::write(&header, &body, &seals).map_err(|_| SealError::TooLarge(row.pattern))?;
        match self.next.get_mut(channel) {
            Some(next) => *next = seq.saturating_add(1),
            None => {
                self.next.insert(channel.into(), seq.saturating_add(1));
            }
        }
        Ok(Sealed {
            subject: concrete,
            id: context.id,
            seq,
            frame,
        })
    }
}
