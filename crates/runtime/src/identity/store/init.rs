//! Makes the identities of a deployment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nkeys::KeyPair as NKey;
use portcullis_domain::{Hash, PrincipalName, Timestamp};
use portcullis_wire::principal::Role;
use portcullis_wire::{Signer, Verifying};
use zeroize::Zeroizing;

use super::facts::{CertificateFacts, EpochFacts, Facts, KeyFacts, PrincipalFacts};
use super::state::{ROOTS_FILE, State};
use super::{Made, Options, REALM_KEY_FILE, Store, StoreError, write_error};
use crate::identity::bundle::{
    BUNDLE_KEY_FILE, Bundle, SecretText, SigningSeed, Transport, Trusted,
};
use crate::identity::certificates::{self, Authority, Leaf};
use crate::identity::is_production;
use crate::identity::key_file::looks_like_key;
use crate::nats_config::{MONITOR, PROVISIONER, Roster, principals};
use crate::{Clock, file};

/// The number of the first epoch.
const FIRST_EPOCH: u32 = 1;

impl Store {
    /// Makes every identity of a roster, for a server that is called any of `server_names` (DNS names
    /// or IP addresses).
    ///
    /// # Errors
    /// [`StoreError`]; existing identities and keys are never written to.
    pub fn init(
        folder: &Path,
        roster: &Roster,
        server_names: &[&str],
        options: &Options<'_>,
    ) -> Result<Made, StoreError> {
        if folder.exists() {
            return Err(StoreError::Exists(folder.into()));
        }
        let given = [options.realm_key, options.bundle_keys];
        if given.into_iter().flatten().any(looks_like_key) {
            return Err(StoreError::KeyInsteadOfPath);
        }
        if is_production(roster.realm()) {
            let beside = |what| Err(StoreError::KeyBeside(roster.realm(), what));
            if options.realm_key.is_none() {
                return beside("the realm's key");
            }
            if options.bundle_keys.is_none() {
                return beside("the key of each bundle");
            }
        }
        // Everything or nothing: half a set of identities helps nobody.
        let mut partial = folder.as_os_str().to_owned();
        partial.push(format!(".partial-{}", std::process::id()));
        let partial = PathBuf::from(partial);
        file::make_directory(&partial).map_err(write_error(folder))?;
        let made = fill(&partial, roster, server_names, options)?;
        std::fs::rename(&partial, folder).map_err(write_error(folder))?;
        Ok(made)
    }
}

fn fill(
    folder: &Path,
    roster: &Roster,
    server_names: &[&str],
    options: &Options<'_>,
) -> Result<Made, StoreError> {
    let now = Clock::system().now();
    let realm = roster.realm();
    let (authority, ca_pem, authority_key, authority_until) =
        certificates::new_authority(realm, now)?;
    let server_names: Vec<_> = server_names.iter().map(|name| (*name).to_owned()).collect();
    let server = authority.server(&server_names, now)?;
    create(&folder.join("ca.pem"), ca_pem.as_bytes())?;
    let nats = folder.join("nats");
    directory(&nats)?;
    create(&nats.join("ca.pem"), ca_pem.as_bytes())?;
    create(&nats.join("server.pem"), server.pem.as_bytes())?;
    create(&nats.join("server.key"), server.key_pem.as_bytes())?;

    let mut bundles = Vec::new();
    let mut principal = Vec::new();
    let fixed = [PROVISIONER, MONITOR].map(fixed_name);
    for name in principals(roster).into_iter().chain(fixed) {
        let (facts, bundle) = new_principal(roster, name, &authority, &ca_pem, options, now)?;
        principal.push(facts);
        bundles.push(bundle);
    }
    let facts = Facts {
        realm,
        made_at: now,
        epoch_life: options.epoch_life,
        unfinished: false,
        server_names,
        strategies: roster.strategies().to_vec(),
        operators: roster.operators().to_vec(),
        symbols: roster.symbols().to_vec(),
        authority_until,
        server: certificate_facts(&server),
        epoch: vec![EpochFacts {
            number: FIRST_EPOCH,
            made_at: now,
            seals_from: now,
            earlier_until: now,
            emergency: false,
            only: None,
        }],
        principal,
    };
    let mut state = State {
        authority_key: SecretText((*authority_key).clone()),
        facts,
        roots: BTreeMap::from([(FIRST_EPOCH.to_string(), SecretText::hex(&*random32()?))]),
        bundle_keys: BTreeMap::new(),
        next: BTreeMap::new(),
        pending: None,
    };
    for mut bundle in bundles {
        let key = random32()?;
        let own = folder.join(bundle.name.as_str());
        directory(&own)?;
        bundle.links = state.links_of(bundle.name, now);
        bundle.trust = state.trust(now);
        let key_path = match options.bundle_keys {
            Some(keys) => {
                directory(keys)?;
                keys.join(format!("{}.key", bundle.name))
            }
            None => own.join(BUNDLE_KEY_FILE),
        };
        create(&key_path, hex_line(&key).as_bytes())?;
        let name = bundle.name;
        bundle
            .seal(&own, &key)
            .map_err(|cause| StoreError::Bundle { name, cause })?;
        state.bundle_keys.insert(name, SecretText::hex(&key));
    }
    let realm_key = random32()?;
    let beside = folder.join(REALM_KEY_FILE);
    create(
        options.realm_key.unwrap_or(&beside),
        hex_line(&realm_key).as_bytes(),
    )?;
    debug_assert!(!folder.join(ROOTS_FILE).exists());
    state.write(folder, &realm_key)?;
    state.write_facts(folder)?;
    Ok(Made {
        nkeys: state.facts.credentials(now),
    })
}

fn new_principal(
    roster: &Roster,
    name: PrincipalName,
    authority: &Authority,
    ca_pem: &str,
    options: &Options<'_>,
    now: Timestamp,
) -> Result<(PrincipalFacts, Bundle), StoreError> {
    let leaf = authority.client(name.as_str(), now)?;
    let (transport, nkey) = new_transport(&leaf, now)?;
    let signing = match Role::of(&name) {
        Some(Role::Audit | Role::Operator | Role::RiskGuard) => Some(SigningSeed {
            from: now,
            seed: *random32()?,
        }),
        Some(_) | None => None,
    };
    let mut secrets = BTreeMap::new();
    let own_secret = match Role::of(&name) {
        Some(Role::Audit) => Some("chain"),
        Some(Role::Signer) => Some("venue"),
        Some(_) | None => None,
    };
    if let Some(own) = own_secret {
        secrets.insert(own.to_owned(), random32()?);
    }
    let facts = PrincipalFacts {
        name,
        revoked_at: None,
        nkey: vec![key_facts(nkey, now)],
        signing: signing.iter().map(signing_facts).collect(),
        certificate: vec![certificate_facts(&leaf)],
    };
    let bundle = Bundle {
        realm: roster.realm(),
        name,
        made_at: now,
        epoch_life: options.epoch_life,
        ca: ca_pem.into(),
        transports: vec![transport],
        signing: signing.into_iter().collect(),
        links: Vec::new(),
        trust: Vec::new(),
        secrets,
    };
    Ok((facts, bundle))
}

/// A certificate and a new NKey, with the NKey's public half.
pub(super) fn new_transport(
    leaf: &Leaf,
    from: Timestamp,
) -> Result<(Transport, String), StoreError> {
    let nkey = NKey::new_user();
    let nkey_seed = nkey
        .seed()
        .map_err(|error| StoreError::NKey(error.to_string()))?;
    let transport = Transport {
        from,
        certificate_from: leaf.from,
        certificate_until: leaf.until,
        certificate: leaf.pem.clone(),
        key: (*leaf.key_pem).clone(),
        nkey_seed,
    };
    Ok((transport, nkey.public_key()))
}

pub(super) const fn key_facts<T>(public: T, from: Timestamp) -> KeyFacts<T> {
    KeyFacts {
        public,
        from,
        until: None,
    }
}

pub(super) fn signing_facts(signing: &SigningSeed) -> KeyFacts<Hash> {
    let public = Signer::from_seed(&signing.seed).verifying().to_bytes();
    key_facts(Hash(public), signing.from)
}

pub(super) fn certificate_facts(leaf: &Leaf) -> CertificateFacts {
    CertificateFacts {
        serial: leaf.serial.clone(),
        pin: leaf.pin,
        from: leaf.from,
        until: leaf.until,
        replaced_at: None,
    }
}

impl State {
    /// Whose signatures count at a moment.
    pub(super) fn trust(&self, now: Timestamp) -> Vec<Trusted> {
        let valid = self.facts.principal.iter();
        let valid = valid.filter(|held| held.revoked_at.is_none());
        valid
            .flat_map(|held| held.signing.iter().map(move |key| (held.name, key)))
            .filter(|(_, key)| key.counts_at(now))
            .filter_map(|(name, key)| {
                Some(Trusted {
                    name,
                    key: Verifying::from_bytes(&key.public.0).ok()?,
                    from: key.from,
                    until: key.until,
                })
            })
            .collect()
    }
}

/// A name that is written in this crate and therefore is one.
pub(super) fn fixed_name(name: &str) -> PrincipalName {
    PrincipalName::new(name).unwrap_or_else(|_| unreachable!("{name} is a name"))
}

fn create(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    file::create(path, bytes).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::AlreadyExists => StoreError::Exists(path.into()),
        _ => write_error(path)(cause),
    })
}

fn directory(path: &Path) -> Result<(), StoreError> {
    file::make_directory(path).map_err(write_error(path))
}

pub(super) fn random32() -> Result<Zeroizing<[u8; 32]>, StoreError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(StoreError::Random)?;
    Ok(bytes)
}

pub(super) fn hex_line(bytes: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n", Hash(*bytes)))
}
