//! Makes the certificates of a realm.

use std::time::{Duration, SystemTime};

use portcullis_domain::{Hash, Span, Timestamp};
use portcullis_wire::Realm;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::store::StoreError;

const DAY: Span = Span::from_secs(86_400);
const AUTHORITY_LIFE: Span = Span(5 * 365 * DAY.0);
const LEAF_LIFE: Span = Span(365 * DAY.0);
/// Back from the present, for clocks that differ.
const BEGINS_BEFORE: Span = Span::from_secs(3_600);

/// A certificate with its key.
pub(super) struct Leaf {
    pub pem: String,
    pub key_pem: Zeroizing<String>,
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of its public key (DER SubjectPublicKeyInfo), by which a server can pin it.
    pub pin: Hash,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// Who signs the certificates of a realm.
pub(super) struct Authority(Issuer<'static, KeyPair>);

/// A new authority: itself, its certificate, its key and when it ends.
pub(super) fn new_authority(
    realm: Realm,
    now: Timestamp,
) -> Result<(Authority, String, Zeroizing<String>, Timestamp), StoreError> {
    let key = KeyPair::generate()?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    let mut params = authority_params(realm);
    let until = valid_for(&mut params, now, AUTHORITY_LIFE);
    let pem = params.self_signed(&key)?.pem();
    Ok((Authority(Issuer::new(params, key)), pem, key_pem, until))
}

impl Authority {
    /// The authority whose key this is.
    pub(super) fn from_key(realm: Realm, key_pem: &str) -> Result<Self, StoreError> {
        let key = KeyPair::from_pem(key_pem)?;
        Ok(Self(Issuer::new(authority_params(realm), key)))
    }

    /// The certificate of a principal.
    pub(super) fn client(&self, name: &str, now: Timestamp) -> Result<Leaf, StoreError> {
        self.leaf(name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth, now)
    }

    /// The certificate of the server, which may be called any of these names.
    pub(super) fn server(&self, names: &[String], now: Timestamp) -> Result<Leaf, StoreError> {
        let purpose = ExtendedKeyUsagePurpose::ServerAuth;
        self.leaf("nats", names.to_vec(), purpose, now)
    }

    fn leaf(
        &self,
        name: &str,
        alternative_names: Vec<String>,
        purpose: ExtendedKeyUsagePurpose,
        now: Timestamp,
    ) -> Result<Leaf, StoreError> {
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).map_err(StoreError::Random)?;
        // Positive and of full length in DER (RFC 5280, 4.1.2.2).
        serial[0] = serial[0] & 0x7f | 0x40;
        let mut params = CertificateParams::new(alternative_names)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let until = valid_for(&mut params, now, LEAF_LIFE);
        let key = KeyPair::generate()?;
        let pem = params.signed_by(&key, &self.0)?.pem();
        Ok(Leaf {
            pem,
            key_pem: Zeroizing::new(key.serialize_pem()),
            serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
            pin: Hash(Sha256::digest(key.subject_public_key_info()).into()),
            from: now,
            until,
        })
    }
}

fn authority_params(realm: Realm) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Portcullis {realm}"));
    params
}

/// Sets the dates, in whole seconds, and says when it ends.
fn valid_for(params: &mut CertificateParams, now: Timestamp, life: Span) -> Timestamp {
    let date = |moment: Timestamp| {
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(moment.0 / 1_000_000))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let until = Timestamp(now.plus(life).0 / 1_000_000 * 1_000_000);
    params.not_before = date(now.minus(BEGINS_BEFORE)).into();
    params.not_after = date(until).into();
    until
}
