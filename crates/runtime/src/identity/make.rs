//! Makes the identities of a whole deployment.
//!
//! ```text
//!  <folder>/            0700
//!    ca.key             signs certificates   ┐ needed only to make more identities;
//!    epoch-1.root       derives link keys    ┘ no service may ever hold them
//!    ca.pem  nkeys.toml public
//!    nats/              server.pem  server.key  ca.pem
//!    <principal>/       see the module above; `provisioner` and `monitor` have no links
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nkeys::KeyPair as NKey;
use portcullis_domain::{Hash, PrincipalName};
use portcullis_wire::principal::Role;
use portcullis_wire::{EpochRoot, Signer};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use zeroize::Zeroizing;

use super::{IdentityToml, LinkToml, LinksToml, TrustKeyToml, TrustToml};
use crate::nats_config::{MONITOR, PROVISIONER, Roster, links, principals};
use crate::{config, file};

/// The epoch of the first link keys.
const FIRST_EPOCH: u32 = 1;
/// How long certificates are valid, in days.
const CA_DAYS: u64 = 5 * 365;
const LEAF_DAYS: u64 = 365;
const DAY: Duration = Duration::from_secs(86_400);
/// What the server may be called when its deployment says nothing else.
pub const SERVER_NAMES: &[&str] = &["localhost", "127.0.0.1", "::1", "nats"];

/// Why identities could not be made. What was made until then is in a folder beside, named
/// `.partial`, and can be deleted.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// There are identities already.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// A file could not be written.
    #[error("write identities to {path}")]
    Write {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A certificate could not be made.
    #[error("make certificates")]
    Certificate(#[from] rcgen::Error),
    /// An NKey could not be made.
    #[error("make NKeys: {0}")]
    NKey(String),
    /// The operating system has no randomness to give.
    #[error("make keys")]
    Random(#[source] getrandom::Error),
    /// A file's content could not be written as TOML.
    #[error("write TOML")]
    Toml(#[from] toml::ser::Error),
}

impl MakeError {
    /// What a person can do about it.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self {
            Self::Exists(path) => format!(
                "use the identities in {}, or move them away first: services with old and new ones \
                 do not understand each other",
                path.display()
            ),
            Self::Write { path, .. } => format!("make {} writable", path.display()),
            Self::Certificate(_) | Self::NKey(_) | Self::Random(_) | Self::Toml(_) => {
                "try again".into()
            }
        }
    }
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// The public NKey of every principal, of the provisioner and of the monitor.
    pub nkeys: BTreeMap<PrincipalName, String>,
}

/// Makes every identity of a roster, for a server called any of [`SERVER_NAMES`].
///
/// # Errors
/// [`MakeError`]; an existing folder is never written to.
pub fn make(folder: &Path, roster: &Roster) -> Result<Made, MakeError> {
    make_for(folder, roster, SERVER_NAMES)
}

/// As [`make`], for a server that is called any of `server_names` (DNS names or IP addresses).
///
/// # Errors
/// [`MakeError`].
pub fn make_for(folder: &Path, roster: &Roster, server_names: &[&str]) -> Result<Made, MakeError> {
    let write_error = |cause| MakeError::Write {
        path: folder.into(),
        cause,
    };
    if folder.exists() {
        return Err(MakeError::Exists(folder.into()));
    }
    // Everything or nothing: half a set of identities helps nobody.
    let mut partial = folder.as_os_str().to_owned();
    partial.push(format!(".partial-{}", std::process::id()));
    let partial = PathBuf::from(partial);
    file::make_directory(&partial).map_err(write_error)?;
    let made = fill(&partial, roster, server_names)?;
    std::fs::rename(&partial, folder).map_err(write_error)?;
    Ok(made)
}

/// The public NKeys of a set of identities, for the server's configuration.
///
/// # Errors
/// [`config::ConfigError`] when there is no such set.
pub fn public_nkeys(folder: &Path) -> Result<BTreeMap<PrincipalName, String>, config::ConfigError> {
    config::load(&folder.join("nkeys.toml"))
}

fn fill(folder: &Path, roster: &Roster, server_names: &[&str]) -> Result<Made, MakeError> {
    let write = |path: &Path, bytes: &[u8]| {
        file::create(path, bytes).map_err(|cause| MakeError::Write {
            path: path.into(),
            cause,
        })
    };
    let directory = |path: &Path| {
        file::make_directory(path).map_err(|cause| MakeError::Write {
            path: path.into(),
            cause,
        })
    };
    let authority = authority(roster)?;
    let ca_pem = authority.pem();
    let root = EpochRoot(*random32()?);
    write(&folder.join("ca.pem"), ca_pem.as_bytes())?;
    write(
        &folder.join("ca.key"),
        authority.key().serialize_pem().as_bytes(),
    )?;
    write(
        &folder.join(format!("epoch-{FIRST_EPOCH}.root")),
        hex_line(&root.0).as_bytes(),
    )?;

    let server = folder.join("nats");
    directory(&server)?;
    let names = server_names.iter().map(|name| (*name).to_owned()).collect();
    let (certificate, key) = leaf(
        &authority,
        "nats",
        names,
        ExtendedKeyUsagePurpose::ServerAuth,
    )?;
    write(&server.join("ca.pem"), ca_pem.as_bytes())?;
    write(&server.join("server.pem"), certificate.as_bytes())?;
    write(&server.join("server.key"), key.as_bytes())?;

    let on_bus = principals(roster);
    let mut seeds = BTreeMap::new();
    let mut trusted = Vec::new();
    for name in &on_bus {
        if matches!(Role::of(name), Some(Role::Audit | Role::Operator)) {
            let seed = random32()?;
            let ed25519 = Hash(Signer::from_seed(&seed).verifying().to_bytes());
            trusted.push(TrustKeyToml {
                name: *name,
                ed25519,
            });
            seeds.insert(*name, seed);
        }
    }
    let trust = toml::to_string(&TrustToml { key: trusted })?;

    let links = links(roster);
    let mut nkeys = BTreeMap::new();
    for name in on_bus
        .iter()
        .copied()
        .chain([PROVISIONER, MONITOR].map(fixed_name))
    {
        let own = folder.join(name.as_str());
        directory(&own)?;
        let identity = toml::to_string(&IdentityToml {
            realm: roster.realm(),
            name,
        })?;
        let mut held = LinksToml::default();
        for link in links
            .iter()
            .filter(|link| link.source == name || link.audience == name)
        {
            let key = root.link_key(roster.realm(), FIRST_EPOCH, *link);
            let (source, audience) = (link.source, link.audience);
            let key = Hash(*key.expose()).to_string();
            held.link.push(LinkToml {
                source,
                audience,
                epoch: FIRST_EPOCH,
                key,
            });
        }
        let (certificate, key) = leaf(
            &authority,
            name.as_str(),
            Vec::new(),
            ExtendedKeyUsagePurpose::ClientAuth,
        )?;
        let nkey = NKey::new_user();
        let seed = nkey
            .seed()
            .map_err(|error| MakeError::NKey(error.to_string()))?;
        let seed = Zeroizing::new(format!("{seed}\n"));
        let held = Zeroizing::new(toml::to_string(&held)?);
        let files: [(&str, &[u8]); 7] = [
            ("identity.toml", identity.as_bytes()),
            ("ca.pem", ca_pem.as_bytes()),
            ("client.pem", certificate.as_bytes()),
            ("client.key", key.as_bytes()),
            ("nkey.seed", seed.as_bytes()),
            ("links.toml", held.as_bytes()),
            ("trust.toml", trust.as_bytes()),
        ];
        for (file, bytes) in files {
            write(&own.join(file), bytes)?;
        }
        if let Some(seed) = seeds.get(&name) {
            write(&own.join("signing.seed"), hex_line(seed).as_bytes())?;
        }
        nkeys.insert(name, nkey.public_key());
    }
    write(
        &folder.join("nkeys.toml"),
        toml::to_string(&nkeys)?.as_bytes(),
    )?;
    Ok(Made { nkeys })
}

/// A name that is written in this crate and therefore is one.
fn fixed_name(name: &str) -> PrincipalName {
    PrincipalName::new(name).unwrap_or_else(|_| unreachable!("{name} is a name"))
}

fn authority(roster: &Roster) -> Result<CertifiedIssuer<'static, KeyPair>, MakeError> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Portcullis {}", roster.realm()));
    valid_for(&mut params, CA_DAYS);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn leaf(
    authority: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    alternative_names: Vec<String>,
    purpose: ExtendedKeyUsagePurpose,
) -> Result<(String, Zeroizing<String>), MakeError> {
    let mut params = CertificateParams::new(alternative_names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    valid_for(&mut params, LEAF_DAYS);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
}

fn valid_for(params: &mut CertificateParams, days: u64) {
    let now = SystemTime::now();
    let length = DAY.saturating_mul(u32::try_from(days).unwrap_or(u32::MAX));
    // An hour back, for clocks that differ.
    let begin = now.checked_sub(Duration::from_secs(3_600)).unwrap_or(now);
    params.not_before = begin.into();
    params.not_after = now.checked_add(length).unwrap_or(now).into();
}

fn random32() -> Result<Zeroizing<[u8; 32]>, MakeError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(MakeError::Random)?;
    Ok(bytes)
}

fn hex_line(bytes: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n", Hash(*bytes)))
}
