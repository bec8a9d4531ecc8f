//! Envelopes of which the thief chooses every part: the library seals nothing that its table of
//! subjects does not know, so frames are written and sealed by hand here.

use anyhow::{Context as _, Result};
use hmac::{Hmac, KeyInit as _, Mac as _};
use portcullis_domain::EnvelopeId;
use portcullis_runtime::envelope_id;
use portcullis_runtime::identity::BundleLink;
use portcullis_wire::{Frame, Header, KeyId, LinkKey, Sealed, VERSION, inspect};
use sha2::Sha256;

/// An envelope that is not sealed yet.
#[derive(Clone, Debug)]
pub struct Craft {
    /// What it says about its message.
    pub header: Header,
    /// The message.
    pub body: Vec<u8>,
}

impl Craft {
    /// From an envelope that is as it should be.
    ///
    /// # Errors
    /// When it is not.
    pub fn of(sealed: &Sealed) -> Result<Self> {
        Self::read(&sealed.frame)
    }

    /// From the bytes of one.
    ///
    /// # Errors
    /// When they are none.
    pub fn read(frame: &[u8]) -> Result<Self> {
        let (header, body) = inspect(frame)?;
        let body = body.to_vec();
        Ok(Self { header, body })
    }

    /// The same envelope with a part changed.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    /// Under an id of its own, at another place of its channel.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn fresh(&self, places_on: u64) -> Result<Self> {
        let id = envelope_id()?;
        Ok(self.with(|craft| {
            craft.header.id = id;
            craft.header.correlation = id;
            craft.header.seq = craft.header.seq.saturating_add(places_on);
        }))
    }

    /// Seals it with these keys, whoever they belong to.
    ///
    /// # Errors
    /// When a part is longer than the format has room for.
    pub fn seal<'a>(&self, keys: impl IntoIterator<Item = &'a BundleLink>) -> Result<Vec<u8>> {
        let keys = keys.into_iter();
        self.seal_under(
            keys.map(|held| (KeyId::new(held.link, held.epoch.number), held.key.clone())),
        )
    }

    /// Puts the seals of another envelope under it.
    ///
    /// # Errors
    /// When that is none, or a part is longer than the format has room for.
    pub fn under(&self, original: &[u8]) -> Result<Vec<u8>> {
        let seals = Frame::parse(original)?.seals;
        let seals = seals.iter().map(|(id, tag)| ((*id).to_owned(), *tag));
        self.write(&self.header()?, seals.collect())
    }

    /// Seals it with keys under names of one's own choice.
    ///
    /// # Errors
    /// When a part is longer than the format has room for.
    pub fn seal_under(&self, keys: impl IntoIterator<Item = (KeyId, LinkKey)>) -> Result<Vec<u8>> {
        let header = self.header()?;
        let mut seals = Vec::new();
        for (id, key) in keys {
            let mut mac = Hmac::<Sha256>::new_from_slice(key.expose())?;
            mac.update(b"portcullis/seal/v1\0");
            for part in [header.as_slice(), self.body.as_slice()] {
                mac.update(&u64::try_from(part.len())?.to_be_bytes());
                mac.update(part);
            }
            let tag: [u8; 32] = mac.finalize().into_bytes().into();
            seals.push((id.as_str().to_owned(), tag));
        }
        self.write(&header, seals)
    }

    fn write(&self, header: &[u8], seals: Vec<(String, [u8; 32])>) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        array(&mut out, 4)?;
        number(&mut out, VERSION);
        bytes(&mut out, header)?;
        bytes(&mut out, &self.body)?;
        array(&mut out, seals.len())?;
        for (id, tag) in seals {
            array(&mut out, 2)?;
            text(&mut out, &id)?;
            bytes(&mut out, &tag)?;
        }
        Ok(out)
    }

    fn header(&self) -> Result<Vec<u8>> {
        let Header {
            realm,
            kind,
            subject,
            source,
            audience,
            id: EnvelopeId(id),
            boot,
            seq,
            issued_at,
            expires_at,
            correlation: EnvelopeId(correlation),
            causation,
            traceparent,
        } = &self.header;
        let mut out = Vec::new();
        array(&mut out, 13)?;
        for part in [realm.as_str(), kind, subject, source.as_str()] {
            text(&mut out, part)?;
        }
        array(&mut out, audience.len())?;
        for name in audience {
            text(&mut out, name.as_str())?;
        }
        bytes(&mut out, id)?;
        for part in [*boot, *seq, issued_at.0, expires_at.0] {
            number(&mut out, part);
        }
        bytes(&mut out, correlation)?;
        match causation {
            Some(EnvelopeId(id)) => bytes(&mut out, id)?,
            None => out.push(0xc0),
        }
        text(&mut out, traceparent)?;
        Ok(out)
    }
}

// The forms of MessagePack that an envelope is made of, each in its shortest spelling.

fn array(out: &mut Vec<u8>, length: usize) -> Result<()> {
    match u16::try_from(length).context("an array that is too long")? {
        short @ 0..=15 => out.push(0x90 | u8::try_from(short)?),
        long => {
            out.push(0xdc);
            out.extend(long.to_be_bytes());
        }
    }
    Ok(())
}

fn number(out: &mut Vec<u8>, value: u64) {
    let (tag, width) = match value {
        0..=0x7f => (None, 1),
        0x80..=0xff => (Some(0xcc), 1),
        0x100..=0xffff => (Some(0xcd), 2),
        0x1_0000..=0xffff_ffff => (Some(0xce), 4),
        0x1_0000_0000.. => (Some(0xcf), 8),
    };
    out.extend(tag);
    out.extend(value.to_be_bytes().iter().skip(8 - width));
}

fn text(out: &mut Vec<u8>, text: &str) -> Result<()> {
    match u8::try_from(text.len()).context("a text that is too long")? {
        short @ 0..=31 => out.push(0xa0 | short),
        long => out.extend([0xd9, long]),
    }
    out.extend(text.as_bytes());
    Ok(())
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    match u16::try_from(bytes.len()).context("bytes that are too many")? {
        short @ 0..=0xff => out.extend([0xc4, u8::try_from(short)?]),
        long => {
            out.push(0xc5);
            out.extend(long.to_be_bytes());
        }
    }
    out.extend(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use portcullis_domain::{KillState, PrincipalName, Timestamp};
    use portcullis_wire::messages::Heartbeat;
    use portcullis_wire::subjects::HEARTBEAT;
    use portcullis_wire::{Epoch, KeyRing, Link, Realm, Refusal, Sealer, Signer, Verifier};

    use super::*;

    fn link() -> Link {
        Link {
            source: PrincipalName::new("risk-guard").unwrap(),
            audience: PrincipalName::new("execution").unwrap(),
        }
    }

    fn ring() -> KeyRing {
        let mut ring = KeyRing::new();
        ring.insert(link(), Epoch::lasting(1), &LinkKey::from_bytes([7; 32]));
        let author = Signer::from_seed(&[9; 32]);
        ring.trust(link().source, author.verifying());
        ring.sign_with(author);
        ring
    }

    fn honest() -> Sealed {
        let realm = Realm::new("dev").unwrap();
        let beat = Heartbeat {
            kill: KillState::Armed,
            policy: portcullis_domain::Hash([7; 32]),
            posture: portcullis_domain::Posture::Normal,
        };
        let now = Timestamp(1_790_000_000_000_000);
        let context = portcullis_wire::Context::first(now, envelope_id().unwrap());
        let mut sealer = Sealer::new(realm, link().source, 7, ring());
        sealer.seal(&HEARTBEAT, None, &beat, context).unwrap()
    }

    #[test]
    fn what_is_written_by_hand_is_byte_for_byte_what_the_library_writes() {
        let sealed = honest();
        let craft = Craft::of(&sealed).unwrap();
        let key = (KeyId::new(link(), 1), LinkKey::from_bytes([7; 32]));
        assert_eq!(craft.seal_under([key]).unwrap(), sealed.frame);
    }

    #[test]
    fn a_changed_part_is_sealed_all_the_same() {
        let sealed = honest();
        let craft = Craft::of(&sealed).unwrap();
        let other = craft.with(|craft| craft.header.realm = Realm::new("prod").unwrap());
        let key = (KeyId::new(link(), 1), LinkKey::from_bytes([7; 32]));
        let frame = other.seal_under([key]).unwrap();
        let started = craft.header.issued_at;
        let realm = Realm::new("dev").unwrap();
        let mut reader = Verifier::new(realm, link().audience, started, ring());
        let opened = reader.open(&HEARTBEAT, &sealed.subject, &frame, started);
        assert_eq!(opened.err(), Some(Refusal::Realm));
    }
}
