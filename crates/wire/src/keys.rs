//! Directional link keys, one for each (source, audience) pair and epoch.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit};
use portcullis_domain::{IdError, Label, PrincipalName, Span, Timestamp};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::signed::{Signer, Verifying};

/// The name of a deployment (`dev`, `staging`, `prod` …): keys of one open nothing of another.
pub type Realm = Label<16>;

/// The salt of every derivation, so that the root serves no other protocol.
const SALT: &[u8] = b"portcullis/epoch-root/v1";
/// What the derived key is for.
const PURPOSE: &[u8] = b"portcullis/seal/hmac-sha256/v1";
/// What the key derived from that one is for. The texts that tags cover begin otherwise, so the two
/// uses of the link key never meet.
const BODY_PURPOSE: &[u8] = b"portcullis/body/aes-256-gcm/v1";

/// How long after a later epoch began to seal messages of the earlier one are still no surprise: what
/// was on its way, and a clock or a reload that is a little late.
const EPOCH_GRACE: Span = Span::from_secs(5);

/// The secret of an epoch from which all link keys are derived. Only the tool that makes identities
/// ever holds it; no service does.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EpochRoot(pub [u8; 32]);

/// Who seals for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Who seals.
    pub source: PrincipalName,
    /// Who verifies.
    pub audience: PrincipalName,
}

/// The HMAC-SHA256 key of a link in one epoch.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LinkKey([u8; 32]);

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(…)")
    }
}

impl LinkKey {
    /// From the bytes of a key file.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a key file.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key that encrypts what only the link's audience may read: HKDF-Expand-SHA256 (RFC 5869)
    /// of this key with a purpose of its own.
    fn body_key(&self) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        // A key of 32 bytes is long enough, and so many bytes are few enough: it cannot fail.
        let expanded = Hkdf::<Sha256>::from_prk(&self.0)
            .map(|prk| prk.expand(BODY_PURPOSE, key.as_mut_slice()));
        debug_assert!(matches!(expanded, Ok(Ok(()))));
        key
    }
}

/// An epoch of a link, and when its key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Its number; a later epoch has a larger one.
    pub number: u32,
    /// From when on it seals. It verifies from the moment it is held: others may be a little ahead.
    pub seals_from: Timestamp,
    /// From when on nothing that it sealed counts any more; `None` while no later one is planned.
    pub retires_at: Option<Timestamp>,
}

impl Epoch {
    /// An epoch that always seals and never ends.
    #[must_use]
    pub const fn lasting(number: u32) -> Self {
        Self {
            number,
            seals_from: Timestamp(0),
            retires_at: None,
        }
    }

    /// Whether what it sealed counts at a moment.
    #[must_use]
    pub fn counts_at(&self, moment: Timestamp) -> bool {
        self.retires_at.is_none_or(|retires_at| moment < retires_at)
    }

    fn seals_at(&self, moment: Timestamp) -> bool {
        self.seals_from <= moment && self.counts_at(moment)
    }
}

impl EpochRoot {
    /// Derives the key of a link: HKDF-SHA256 (RFC 5869) over the root, with the info
    /// `lp(purpose) ‖ lp(realm) ‖ lp(u32be(epoch)) ‖ lp(source) ‖ lp(audience)`, where
    /// `lp(x) = u16be(len x) ‖ x`.
    #[must_use]
    pub fn link_key(&self, realm: Realm, epoch: u32, link: Link) -> LinkKey {
        let mut info = Vec::with_capacity(160);
        let mut lengthed = |part: &[u8]| {
            // Every part is a constant or a label of at most 32 bytes.
            info.extend(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
            info.extend(part);
        };
        lengthed(PURPOSE);
        lengthed(realm.as_str().as_bytes());
        lengthed(&epoch.to_be_bytes());
        lengthed(link.source.as_str().as_bytes());
        lengthed(link.audience.as_str().as_bytes());
        let mut key = LinkKey([0; 32]);
        // 32 bytes are far below HKDF's limit of 255 blocks, the only way this fails; an all-zero
        // key would then open nothing that a real one sealed.
        let expanded = Hkdf::<Sha256>::new(Some(SALT), &self.0).expand(&info, &mut key.0);
        debug_assert!(expanded.is_ok());
        key
    }
}

/// The name of a key in a frame: `source>audience/epoch`. A hint for finding the key, trusted for
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// The name of a link's key.
    #[must_use]
    pub fn new(link: Link, epoch: u32) -> Self {
        Self(format!("{}>{}/{epoch}", link.source, link.audience))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a key id from a frame.
    ///
    /// # Errors
    /// [`IdError`] when it does not name a link and an epoch.
    pub fn parse(text: &str) -> Result<(Link, u32), IdError> {
        let (source, rest) = text.split_once('>').ok_or(IdError::Character)?;
        let (audience, epoch) = rest.split_once('/').ok_or(IdError::Character)?;
        let link = Link {
            source: PrincipalName::new(source)?,
            audience: PrincipalName::new(audience)?,
        };
        let digits = epoch.bytes().all(|b| b.is_ascii_digit());
        let canonical = digits && (epoch == "0" || !epoch.starts_with('0'));
        let epoch = epoch
            .parse()
            .ok()
            .filter(|_| canonical)
            .ok_or(IdError::Character)?;
        Ok((link, epoch))
    }
}

/// A key that is ready to use: its two padded blocks are hashed once, not for every message.
#[derive(Clone)]
pub(crate) struct Keyed {
    pub id: KeyId,
    pub epoch: Epoch,
    pub mac: Hmac<Sha256>,
    /// For what only the audience may read.
    pub body_key: Zeroizing<[u8; 32]>,
}

/// The keys that one principal holds: of its links, its own to sign with, and others' public ones.
#[derive(Clone, Default)]
pub struct KeyRing {
    keys: BTreeMap<Link, Vec<Keyed>>,
    author: Option<Arc<Signer>>,
    authors: BTreeMap<PrincipalName, Vec<Verifying>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

impl KeyRing {
    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key. Of the epochs of a link that seal at a moment the latest does; every epoch that
    /// is held and not retired verifies.
    pub fn insert(&mut self, link: Link, epoch: Epoch, key: &LinkKey) {
        // HMAC takes keys of any length.
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&key.0) else {
            return;
        };
        let keyed = Keyed {
            id: KeyId::new(link, epoch.number),
            epoch,
            mac,
            body_key: key.body_key(),
        };
        let epochs = self.keys.entry(link).or_default();
        epochs.retain(|held| held.epoch.number != epoch.number);
        epochs.push(keyed);
        epochs.sort_by_key(|held| held.epoch.number);
    }

    /// What this principal signs with, where its messages are signed.
    pub fn sign_with(&mut self, author: Signer) {
        self.author = Some(Arc::new(author));
    }

    /// Adds a key that an author signs with; while one is exchanged there are two.
    pub fn trust(&mut self, author: PrincipalName, key: Verifying) {
        self.authors.entry(author).or_default().push(key);
    }

    pub(crate) fn author(&self) -> Option<&Signer> {
        self.author.as_deref()
    }

    pub(crate) fn keys_of(&self, author: &PrincipalName) -> &[Verifying] {
        self.authors.get(author).map_or(&[], Vec::as_slice)
    }

    /// Every link that a key is held for.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.keys.keys()
    }

    /// Every epoch of every link, in order.
    pub fn epochs(&self) -> impl Iterator<Item = (&Link, &Epoch)> {
        self.keys
            .iter()
            .flat_map(|(link, held)| held.iter().map(move |keyed| (link, &keyed.epoch)))
    }

    /// The key that seals at a moment.
    pub(crate) fn sealing(&self, link: &Link, moment: Timestamp) -> Option<&Keyed> {
        let held = self.keys.get(link)?;
        held.iter().rev().find(|keyed| keyed.epoch.seals_at(moment))
    }

    pub(crate) fn find(&self, link: &Link, epoch: u32) -> Option<&Keyed> {
        let held = self.keys.get(link)?;
        held.iter().find(|keyed| keyed.epoch.number == epoch)
    }

    /// Whether a message sealed at a moment should have been sealed with a later epoch than it was.
    pub(crate) fn is_outdated(&self, link: &Link, epoch: u32, sealed_at: Timestamp) -> bool {
        let newest = self.sealing(link, sealed_at).map(|keyed| keyed.epoch);
        newest.is_some_and(|newest| {
            newest.number > epoch && newest.seals_from.plus(EPOCH_GRACE) <= sealed_at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(source: &str, audience: &str) -> Link {
        Link {
            source: PrincipalName::new(source).unwrap(),
            audience: PrincipalName::new(audience).unwrap(),
        }
    }

    #[test]
    fn every_part_of_a_link_changes_its_key() {
        let root = EpochRoot([7; 32]);
        let dev = Realm::new("dev").unwrap();
        let base = root.link_key(dev, 1, link("brain", "execution"));
        let others = [
            root.link_key(Realm::new("prod").unwrap(), 1, link("brain", "execution")),
            root.link_key(dev, 2, link("brain", "execution")),
            root.link_key(dev, 1, link("execution", "brain")),
            root.link_key(dev, 1, link("brain", "signer")),
            EpochRoot([8; 32]).link_key(dev, 1, link("brain", "execution")),
        ];
        for other in others {
            assert_ne!(base.expose(), other.expose());
        }
    }

    #[test]
    fn key_ids_have_one_spelling() {
        let id = KeyId::new(link("brain", "execution"), 12);
        assert_eq!(id.as_str(), "brain>execution/12");
        assert_eq!(
            KeyId::parse(id.as_str()),
            Ok((link("brain", "execution"), 12))
        );
        for bad in [
            "brain>execution/012",
            "brain>execution/+1",
            "brain/1",
            "a>b",
            "a b>c/1",
            ">b/1",
        ] {
            assert!(KeyId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_never_prints_itself() {
        let key = LinkKey::from_bytes([9; 32]);
        assert_eq!(format!("{key:?}"), "LinkKey(…)");
    }

    #[test]
    fn the_latest_epoch_that_has_begun_seals_and_a_retired_one_does_not() {
        let (root, link) = (EpochRoot([7; 32]), link("brain", "execution"));
        let realm = Realm::new("dev").unwrap();
        let mut ring = KeyRing::new();
        let epochs = [(1, 0, Some(200)), (2, 100, Some(300)), (3, 1_000, None)];
        for (number, from, until) in epochs {
            let epoch = Epoch {
                number,
                seals_from: Timestamp(from),
                retires_at: until.map(Timestamp),
            };
            ring.insert(link, epoch, &root.link_key(realm, number, link));
        }
        let sealing = |at| {
            ring.sealing(&link, Timestamp(at))
                .map(|key| key.epoch.number)
        };
        assert_eq!(sealing(99), Some(1));
        assert_eq!(sealing(100), Some(2));
        assert_eq!(sealing(299), Some(2));
        assert_eq!(sealing(300), None);
        assert_eq!(sealing(1_000), Some(3));
        assert!(ring.find(&link, 3).is_some(), "verifies before it seals");
        let grace = EPOCH_GRACE.0;
        assert!(!ring.is_outdated(&link, 2, Timestamp(1_000 + grace - 1)));
        assert!(ring.is_outdated(&link, 2, Timestamp(1_000 + grace)));
        assert!(!ring.is_outdated(&link, 3, Timestamp(1_000 + grace)));
    }

    #[test]
    fn the_key_for_bodies_is_another_one() {
        let key = LinkKey::from_bytes([9; 32]);
        assert_ne!(key.body_key().as_slice(), key.expose());
        assert_ne!(
            key.body_key().as_slice(),
            LinkKey::from_bytes([8; 32]).body_key().as_slice()
        );
    }
}
