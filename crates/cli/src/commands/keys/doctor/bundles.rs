//! Whether every bundle opens, is whose it should be, and fits all others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use nkeys::KeyPair as NKey;
use portcullis_domain::PrincipalName;
use portcullis_runtime::identity::store::Inventory;
use portcullis_runtime::identity::{Bundle, is_production};
use portcullis_wire::Link;

use super::super::show::links_of;
use super::{Doctor, Findings};
use crate::folder::Folder;

/// The sealed file and its key, as they are called beside each other.
const BUNDLE: &str = "bundle.sealed";
const KEY: &str = "bundle.key";

pub(super) fn look(
    doctor: &Doctor,
    folder: &Folder,
    inventory: &Inventory,
    open: &BTreeSet<PathBuf>,
    findings: &mut Findings,
) {
    let facts = &inventory.facts;
    let is_production = is_production(facts.realm);
    let mut bundles = BTreeMap::new();
    for principal in &facts.principal {
        let (name, own) = (principal.name, folder.identity(principal.name.as_str()));
        if is_production && own.join(KEY).exists() {
            findings.error(
                format!(
                    "{} lies beside the bundle that it opens",
                    own.join(KEY).display()
                ),
                format!("move it to the secret store of {name}"),
            );
        }
        let key = doctor
            .bundle_keys
            .as_ref()
            .map(|keys| keys.join(format!("{name}.key")));
        if principal.revoked_at.is_some() {
            revoked(name, &own, key.as_deref(), findings);
            continue;
        }
        if let Some(bundle) = opened(name, &own, key, is_production, open, findings) {
            if bundle.name != name || bundle.realm != facts.realm {
                findings.error(
                    format!(
                        "{} is the bundle of {} in realm {}",
                        own.join(BUNDLE).display(),
                        bundle.name,
                        bundle.realm
                    ),
                    format!("put the bundle of {name} in its place, from a copy"),
                );
                continue;
            }
            let nkey = NKey::from_seed(bundle.nkey_seed()).map(|key| key.public_key());
            let known = nkey.is_ok_and(|nkey| principal.nkey.iter().any(|key| key.public == nkey));
            if !known {
                findings.error(
                    format!("the bundle of {name} has an NKey that the realm does not know"),
                    format!("bring the bundle of {name} back from a copy of the same time"),
                );
            }
            bundles.insert(name, bundle);
        }
    }
    strangers(doctor, folder, inventory, findings);
    links(inventory, &bundles, findings);
}

fn opened(
    name: PrincipalName,
    own: &Path,
    key: Option<PathBuf>,
    is_production: bool,
    open: &BTreeSet<PathBuf>,
    findings: &mut Findings,
) -> Option<Bundle> {
    let sealed = own.join(BUNDLE);
    if !sealed.exists() {
        findings.error(
            format!("{} is missing", sealed.display()),
            format!("bring it back from a copy; or revoke {name}: portcullis keys revoke {name}"),
        );
        return None;
    }
    let key_file = key.clone().unwrap_or_else(|| own.join(KEY));
    if key.is_none() && is_production {
        let left_out = format!("the bundle of {name}: no --bundle-keys was given");
        findings.left_out.push(left_out);
        return None;
    }
    if !key_file.exists() {
        findings.error(
            format!("{} is missing", key_file.display()),
            "bring it back from a copy, or name the folder of the keys: --bundle-keys",
        );
        return None;
    }
    if [own, &sealed, &key_file]
        .iter()
        .any(|path| open.contains(*path))
    {
        // Named already, and nobody would open it like that.
        return None;
    }
    match Bundle::open_with(own, Some(&key_file)) {
        Ok(bundle) => Some(bundle),
        Err(cause) => {
            let next_step = cause.next_step();
            let cause = anyhow::Error::from(cause);
            findings.error(
                format!("the bundle of {name} does not open: {cause:#}"),
                next_step,
            );
            None
        }
    }
}

/// Whoever was revoked has nothing any more.
fn revoked(name: PrincipalName, own: &Path, key: Option<&Path>, findings: &mut Findings) {
    for path in [own.join(BUNDLE), own.join(KEY)]
        .iter()
        .map(PathBuf::as_path)
        .chain(key)
    {
        if path.exists() {
            findings.warning(
                format!("{name} is revoked, and {} is still there", path.display()),
                format!("rm {}", path.display()),
            );
        }
    }
}

/// Bundles and keys of somebody whom the realm does not know.
fn strangers(doctor: &Doctor, folder: &Folder, inventory: &Inventory, findings: &mut Findings) {
    let known = |name: &str| {
        let mut all = inventory.facts.principal.iter();
        name == "nats" || all.any(|held| held.name.as_str() == name)
    };
    let entries = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten();
        entries.filter_map(Result::ok).map(|entry| entry.path())
    };
    let folders = entries(&folder.identities()).filter(|path| path.is_dir());
    let keys = doctor.bundle_keys.iter().flat_map(|keys| entries(keys));
    for path in folders.chain(keys) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let partial = path.to_string_lossy().contains(".partial-");
        if !known(&name) && !partial {
            findings.warning(
                format!("{} belongs to nobody of this realm", path.display()),
                format!("rm -r {}", path.display()),
            );
        }
    }
}

/// The keys of a link by the numbers of their epochs.
type Epochs<'a> = BTreeMap<u32, &'a [u8; 32]>;

/// Both ends of a link have to hold the same keys.
fn links(
    inventory: &Inventory,
    bundles: &BTreeMap<PrincipalName, Bundle>,
    findings: &mut Findings,
) {
    let wanted: BTreeSet<Link> = links_of(inventory).into_iter().collect();
    let mut held: BTreeMap<PrincipalName, BTreeMap<Link, Epochs<'_>>> = BTreeMap::new();
    for (name, bundle) in bundles {
        let of_name = held.entry(*name).or_default();
        for link in bundle.links() {
            let epochs = of_name.entry(link.link).or_default();
            epochs.insert(link.epoch.number, link.key.expose());
        }
        for link in of_name.keys().filter(|link| !wanted.contains(link)) {
            findings.error(
                format!(
                    "the bundle of {name} holds keys of {} > {}, a link that there is not",
                    link.source, link.audience
                ),
                "portcullis keys rotate",
            );
        }
    }
    for link in &wanted {
        let end = |name: PrincipalName| held.get(&name).map(|of_name| of_name.get(link));
        let (Some(at_source), Some(at_audience)) = (end(link.source), end(link.audience)) else {
            // One end could not be opened, which is said.
            continue;
        };
        if at_source == at_audience && at_source.is_some() {
            continue;
        }
        findings.error(
            format!(
                "the ends of {} > {} are out of step: {} has {}, {} has {}",
                link.source,
                link.audience,
                link.source,
                words(at_source),
                link.audience,
                words(at_audience)
            ),
            "portcullis keys rotate",
        );
    }
}

fn words(epochs: Option<&Epochs<'_>>) -> String {
    match epochs {
        None => "no key".to_owned(),
        Some(epochs) => {
            let numbers: Vec<String> = epochs.keys().map(ToString::to_string).collect();
            format!("epoch {}", numbers.join(", "))
        }
    }
}
