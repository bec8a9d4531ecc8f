//! The frame on the wire and the header inside it.
//!
//! ```text
//! frame  = [ version, header: bin, body: bin, seals: [ [key_id, tag: bin(32)], … ] ]
//! header = [ realm, kind, subject, source, audience…, id, boot, seq,
//!            issued_at, expires_at, correlation, causation, traceparent ]
//! tag    = HMAC-SHA256(K, "portcullis/seal/v1\0" ‖ u64be(len header) ‖ header
//!                                                ‖ u64be(len body)   ‖ body)
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use hmac::{Hmac, Mac};
use portcullis_domain::{EnvelopeId, PrincipalName, Timestamp};
use sha2::Sha256;

use crate::keys::Realm;
use crate::pack::{self, Malformed, Reader};

/// The version of the frame format.
pub const VERSION: u64 = 1;
/// The longest frame, in bytes; the server's `max_payload` is the same.
pub const FRAME_LENGTH_MAX: usize = 65_536;
/// The most seals on a frame.
pub const SEALS_MAX: usize = 32;
/// The longest header, in bytes.
pub(crate) const HEADER_LENGTH_MAX: usize = 2_048;
/// The longest body, in bytes, so that header and seals always fit beside it.
pub(crate) const BODY_LENGTH_MAX: usize = 57_344;
const KEY_ID_LENGTH_MAX: usize = 80;
const SUBJECT_LENGTH_MAX: usize = 96;
const KIND_LENGTH_MAX: usize = 31;
/// A W3C trace context `traceparent` has 55 characters.
const TRACEPARENT_LENGTH: usize = 55;

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`FRAME_LENGTH_MAX`].
    #[error("frame is longer than {FRAME_LENGTH_MAX} bytes")]
    TooLong,
    /// Not four parts of the expected forms.
    #[error("frame is malformed")]
    Malformed,
    /// Another version of the format.
    #[error("frame has version {0}, this is version {VERSION}")]
    Version(u64),
}

/// A frame taken apart: header and body are still unread.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// The header's bytes.
    pub header: &'a [u8],
    /// The body's bytes.
    pub body: &'a [u8],
    /// Key id and tag, one for each addressee.
    pub seals: Vec<(&'a str, [u8; 32])>,
}

impl<'a> Frame<'a> {
    /// Takes a frame apart.
    ///
    /// # Errors
    /// [`FrameError`] when it is too long, malformed or of another version.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        if bytes.len() > FRAME_LENGTH_MAX {
            return Err(FrameError::TooLong);
        }
        let mut reader = Reader(bytes);
        Self::read(&mut reader)
            .map_err(|_| FrameError::Malformed)
            .and_then(|(version, frame)| {
                if version == VERSION {
                    Ok(frame)
                } else {
                    Err(FrameError::Version(version))
                }
            })
    }

    fn read(reader: &mut Reader<'a>) -> Result<(u64, Self), Malformed> {
        if reader.array()? != 4 {
            return Err(Malformed);
        }
        let version = reader.uint()?;
        let (header, body) = (reader.bin()?, reader.bin()?);
        let count = reader.array()?;
        if header.len() > HEADER_LENGTH_MAX || body.len() > BODY_LENGTH_MAX || count > SEALS_MAX {
            return Err(Malformed);
        }
        let mut seals = Vec::with_capacity(count);
        for _ in 0..count {
            if reader.array()? != 2 {
                return Err(Malformed);
            }
            let key_id = reader.str()?;
            if key_id.len() > KEY_ID_LENGTH_MAX {
                return Err(Malformed);
            }
            seals.push((key_id, reader.bin_exact()?));
        }
        reader.end()?;
        Ok((
            version,
            Self {
                header,
                body,
                seals,
            },
        ))
    }

    pub(crate) fn write(
        header: &[u8],
        body: &[u8],
        seals: &[(&str, [u8; 32])],
    ) -> Result<Vec<u8>, Malformed> {
        if header.len() > HEADER_LENGTH_MAX
            || body.len() > BODY_LENGTH_MAX
            || seals.len() > SEALS_MAX
        {
            return Err(Malformed);
        }
        let seals_length = seals.len().saturating_mul(128);
        let length = header
            .len()
            .saturating_add(body.len())
            .saturating_add(seals_length);
        let mut out = Vec::with_capacity(length.saturating_add(16));
        pack::put_array(&mut out, 4)?;
        pack::put_uint(&mut out, VERSION);
        pack::put_bin(&mut out, header)?;
        pack::put_bin(&mut out, body)?;
        pack::put_array(&mut out, seals.len())?;
        for (key_id, tag) in seals {
            pack::put_array(&mut out, 2)?;
            pack::put_str(&mut out, key_id)?;
            pack::put_bin(&mut out, tag)?;
        }
        if out.len() > FRAME_LENGTH_MAX {
            Err(Malformed)
        } else {
            Ok(out)
        }
    }
}

/// Reads the header of a frame and finds its body, with no key and no look at any seal: for reading
/// a record that was verified when it was made. What it returns is **not verified**.
///
/// # Errors
/// [`FrameError`] when the bytes are not a frame with a header.
pub fn inspect(bytes: &[u8]) -> Result<(Header, &[u8]), FrameError> {
    let frame = Frame::parse(bytes)?;
    let header = Header::read(frame.header).map_err(|_| FrameError::Malformed)?;
    Ok((header, frame.body))
}

/// What the header of a frame says about its place, read as [`inspect`] does and as little verified,
/// but without making a copy of anything: for following a long record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// The subject it was first sent on.
    pub subject: &'a str,
    /// Who sealed it.
    pub source: &'a str,
    /// Its id.
    pub id: EnvelopeId,
    /// Which start of the source it comes from.
    pub boot: u64,
    /// Its place in the source's channel.
    pub seq: u64,
}

impl<'a> Placed<'a> {
    /// Reads the place from a frame; what comes after it is not looked at.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes do not begin as a frame with a header.
    pub fn inspect(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let malformed = |_| FrameError::Malformed;
        let mut reader = Reader(bytes);
        let parts = reader.array().map_err(malformed)?;
        let version = reader.uint().map_err(malformed)?;
        if parts != 4 || version != VERSION {
            return Err(FrameError::Version(version));
        }
        Self::read(reader.bin().map_err(malformed)?).map_err(malformed)
    }

    fn read(header: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(header);
        if reader.array()? != 13 {
            return Err(Malformed);
        }
        // Realm and kind.
        let _ = (reader.str()?, reader.str()?);
        let (subject, source) = (reader.str()?, reader.str()?);
        for _ in 0..reader.array()? {
            reader.str()?;
        }
        let id = EnvelopeId(reader.bin_exact()?);
        Ok(Self {
            subject,
            source,
            id,
            boot: reader.uint()?,
            seq: reader.uint()?,
        })
    }
}

/// Feeds a keyed MAC with what a tag covers: the exact bytes, with their lengths.
pub(crate) fn covered(keyed: &Hmac<Sha256>, header: &[u8], body: &[u8]) -> Hmac<Sha256> {
    let mut mac = keyed.clone();
    mac.update(b"portcullis/seal/v1\0");
    for part in [header, body] {
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part);
    }
    mac
}

/// What an envelope says about its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The deployment it belongs to.
    pub realm: Realm,
    /// The kind of message in the body.
    pub kind: String,
    /// The subject it is first sent on.
    pub subject: String,
    /// Who sealed it.
    pub source: PrincipalName,
    /// Who may open it.
    pub audience: Vec<PrincipalName>,
    /// Its id, unguessable.
    pub id: EnvelopeId,
    /// Which start of the source it comes from: rises with every start.
    pub boot: u64,
    /// Its place in the source's channel, gapless from 1.
    pub seq: u64,
    /// When it was sealed.
    pub issued_at: Timestamp,
    /// When it stops being valid.
    pub expires_at: Timestamp,
    /// What all messages of one proposal share.
    pub correlation: EnvelopeId,
    /// The message that caused this one.
    pub causation: Option<EnvelopeId>,
    /// W3C trace context, or empty.
    pub traceparent: String,
}

impl Header {
    pub(crate) fn write(&self) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::with_capacity(256);
        pack::put_array(&mut out, 13)?;
        pack::put_str(&mut out, self.realm.as_str())?;
        pack::put_str(&mut out, &self.kind)?;
        pack::put_str(&mut out, &self.subject)?;
        pack::put_str(&mut out, self.source.as_str())?;
        pack::put_array(&mut out, self.audience.len())?;
        for audience in &self.audience {
            pack::put_str(&mut out, audience.as_str())?;
        }
        pack::put_bin(&mut out, &self.id.0)?;
        pack::put_uint(&mut out, self.boot);
        pack::put_uint(&mut out, self.seq);
        pack::put_uint(&mut out, self.issued_at.0);
        pack::put_uint(&mut out, self.expires_at.0);
        pack::put_bin(&mut out, &self.correlation.0)?;
        match &self.causation {
            Some(id) => pack::put_bin(&mut out, &id.0)?,
            None => pack::put_nil(&mut out),
        }
        pack::put_str(&mut out, &self.traceparent)?;
        Ok(out)
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        if reader.array()? != 13 {
            return Err(Malformed);
        }
        let name = |text: &str| PrincipalName::new(text).map_err(|_| Malformed);
        let realm = Realm::new(reader.str()?).map_err(|_| Malformed)?;
        let kind = bounded(reader.str()?, KIND_LENGTH_MAX)?;
        let subject = bounded(reader.str()?, SUBJECT_LENGTH_MAX)?;
        let source = name(reader.str()?)?;
        let count = reader.array()?;
        if count > SEALS_MAX {
            return Err(Malformed);
        }
        let audience = (0..count)
            .map(|_| name(reader.str()?))
            .collect::<Result<_, _>>()?;
        let header = Self {
            realm,
            kind: kind.into(),
            subject: subject.into(),
            source,
            audience,
            id: EnvelopeId(reader.bin_exact()?),
            boot: reader.uint()?,
            seq: reader.uint()?,
            issued_at: Timestamp(reader.uint()?),
            expires_at: Timestamp(reader.uint()?),
            correlation: EnvelopeId(reader.bin_exact()?),
            causation: reader.bin_or_nil()?.map(EnvelopeId),
            traceparent: traceparent(reader.str()?)?.into(),
        };
        reader.end()?;
        Ok(header)
    }
}

fn bounded(text: &str, length_max: usize) -> Result<&str, Malformed> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let fits = !text.is_empty() && text.len() <= length_max && text.bytes().all(plain);
    if fits { Ok(text) } else { Err(Malformed) }
}

fn traceparent(text: &str) -> Result<&str, Malformed> {
    let plain = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    let fits = text.is_empty() || (text.len() == TRACEPARENT_LENGTH && text.bytes().all(plain));
    if fits { Ok(text) } else { Err(Malformed) }
}
