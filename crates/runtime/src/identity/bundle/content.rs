//! What stands in a bundle, as TOML. Every secret is a [`SecretText`], which clears itself.

use std::collections::BTreeMap;

use portcullis_domain::{Hash, PrincipalName, Span, Timestamp};
use portcullis_wire::{Epoch, Link, LinkKey, Realm, Verifying};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Bundle, BundleLink, SigningSeed, Transport, Trusted};
use crate::secret;

/// A text that is a secret.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub(crate) struct SecretText(pub String);

impl SecretText {
    pub(crate) fn hex(bytes: &[u8; 32]) -> Self {
        Self(Hash(*bytes).to_string())
    }

    pub(crate) fn bytes(&self) -> Option<Zeroizing<[u8; 32]>> {
        secret::parse_hex_key(&self.0)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    realm: Realm,
    name: PrincipalName,
    made_at: Timestamp,
    epoch_life: Span,
    ca: String,
    transport: Vec<TransportContent>,
    #[serde(default)]
    signing: Vec<SigningContent>,
    #[serde(default)]
    link: Vec<LinkContent>,
    #[serde(default)]
    trust: Vec<TrustContent>,
    #[serde(default)]
    secret: BTreeMap<String, SecretText>,
}

/// A transport as it stands in a file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransportContent {
    from: Timestamp,
    certificate_from: Timestamp,
    certificate_until: Timestamp,
    certificate: SecretText,
    key: SecretText,
    nkey_seed: SecretText,
}

/// A signing seed as it stands in a file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SigningContent {
    from: Timestamp,
    seed: SecretText,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkContent {
    source: PrincipalName,
    audience: PrincipalName,
    epoch: u32,
    seals_from: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    retires_at: Option<Timestamp>,
    made_at: Timestamp,
    key: SecretText,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustContent {
    name: PrincipalName,
    ed25519: Hash,
    from: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

impl From<&Transport> for TransportContent {
    fn from(of: &Transport) -> Self {
        Self {
            from: of.from,
            certificate_from: of.certificate_from,
            certificate_until: of.certificate_until,
            certificate: SecretText(of.certificate.clone()),
            key: SecretText(of.key.clone()),
            nkey_seed: SecretText(of.nkey_seed.clone()),
        }
    }
}

impl From<&TransportContent> for Transport {
    fn from(of: &TransportContent) -> Self {
        Self {
            from: of.from,
            certificate_from: of.certificate_from,
            certificate_until: of.certificate_until,
            certificate: of.certificate.0.clone(),
            key: of.key.0.clone(),
            nkey_seed: of.nkey_seed.0.clone(),
        }
    }
}

impl From<&SigningSeed> for SigningContent {
    fn from(of: &SigningSeed) -> Self {
        Self {
            from: of.from,
            seed: SecretText::hex(&of.seed),
        }
    }
}

impl SigningContent {
    pub(crate) fn seed(&self) -> Option<SigningSeed> {
        Some(SigningSeed {
            from: self.from,
            seed: *self.seed.bytes()?,
        })
    }
}

impl Content {
    pub(super) fn of(bundle: &Bundle) -> Self {
        let link = |held: &BundleLink| LinkContent {
            source: held.link.source,
            audience: held.link.audience,
            epoch: held.epoch.number,
            seals_from: held.epoch.seals_from,
            retires_at: held.epoch.retires_at,
            made_at: held.made_at,
            key: SecretText::hex(held.key.expose()),
        };
        let trust = |trusted: &Trusted| TrustContent {
            name: trusted.name,
            ed25519: Hash(trusted.key.to_bytes()),
            from: trusted.from,
            until: trusted.until,
        };
        let secret =
            |(name, secret): (&String, &Zeroizing<_>)| (name.clone(), SecretText::hex(secret));
        Self {
            realm: bundle.realm,
            name: bundle.name,
            made_at: bundle.made_at,
            epoch_life: bundle.epoch_life,
            ca: String::from_utf8_lossy(&bundle.ca).into_owned(),
            transport: bundle.transports.iter().map(Into::into).collect(),
            signing: bundle.signing.iter().map(Into::into).collect(),
            link: bundle.links.iter().map(link).collect(),
            trust: bundle.trust.iter().map(trust).collect(),
            secret: bundle.secrets.iter().map(secret).collect(),
        }
    }

    pub(super) fn bundle(self) -> Option<Bundle> {
        let mut bundle = Bundle {
            realm: self.realm,
            name: self.name,
            made_at: self.made_at,
            epoch_life: self.epoch_life,
            ca: self.ca.into_bytes(),
            transports: self.transport.iter().map(Into::into).collect(),
            signing: Vec::with_capacity(self.signing.len()),
            links: Vec::with_capacity(self.link.len()),
            trust: Vec::with_capacity(self.trust.len()),
            secrets: BTreeMap::new(),
        };
        for signing in &self.signing {
            bundle.signing.push(signing.seed()?);
        }
        for held in &self.link {
            bundle.links.push(BundleLink {
                link: Link {
                    source: held.source,
                    audience: held.audience,
                },
                epoch: Epoch {
                    number: held.epoch,
                    seals_from: held.seals_from,
                    retires_at: held.retires_at,
                },
                made_at: held.made_at,
                key: LinkKey::from_bytes(*held.key.bytes()?),
            });
        }
        for trusted in &self.trust {
            bundle.trust.push(Trusted {
                name: trusted.name,
                key: Verifying::from_bytes(&trusted.ed25519.0).ok()?,
                from: trusted.from,
                until: trusted.until,
            });
        }
        for (name, secret) in &self.secret {
            bundle.secrets.insert(name.clone(), secret.bytes()?);
        }
        Some(bundle)
    }
}
