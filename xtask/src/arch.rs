//! Compares what the crates depend on with what arch.toml allows.
//!
//!   cargo metadata ──▶ edges ──┐
//!   arch.toml ─────────────────┼──▶ findings
//!   manifests, Cargo.lock ─────┘

mod manifests;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::cores;
use crate::finding::Finding;
use crate::walls;
use crate::workspace::{Kind, Workspace};

const FILE: &str = "arch.toml";

/// What arch.toml says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arch {
    #[serde(default)]
    crates: BTreeMap<String, CrateRule>,
    #[serde(default)]
    dependencies: BTreeMap<String, DependencyRule>,
    #[serde(default)]
    banned: BTreeMap<String, Banned>,
    /// Exceptions of `cargo xtask tidy`.
    #[serde(default)]
    pub tidy: TidyRules,
}

/// Exceptions of `cargo xtask tidy`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TidyRules {
    /// Files that may be long, each with its reason.
    #[serde(default)]
    pub long_files: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CrateRule {
    #[serde(default)]
    uses: BTreeSet<String>,
    #[serde(default)]
    tests_use: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DependencyRule {
    why: String,
    #[serde(default)]
    crates: BTreeSet<String>,
    #[serde(default)]
    tests: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Banned {
    why: String,
}

impl Arch {
    /// Reads the text of arch.toml.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).with_context(|| format!("read {FILE}"))
    }

    /// Reads arch.toml from the workspace.
    pub fn load(workspace: &Workspace) -> Result<Self> {
        Self::parse(&workspace.read(FILE)?)
    }
}

/// What one package depends on, by package name.
#[derive(Debug, Default)]
struct Uses {
    folder: String,
    /// Normal and build dependencies.
    product: BTreeSet<String>,
    /// What only the tests depend on.
    tests: BTreeSet<String>,
}

type Packages = BTreeMap<String, Uses>;

/// Every architecture check over the real workspace.
pub fn check_workspace(workspace: &Workspace) -> Result<Vec<Finding>> {
    let arch = Arch::load(workspace)?;
    let packages = collect(workspace)?;
    let mut findings = check_crates(&arch, &packages);
    findings.extend(check_dependencies(&arch, &packages));
    findings.extend(check_walls(&packages));
    findings.extend(check_banned(&arch, &workspace.read("Cargo.lock")?)?);

    let mut used = BTreeSet::new();
    for uses in packages.values() {
        let path = format!("{}/Cargo.toml", uses.folder);
        findings.extend(manifests::check_member(&path, &workspace.read(&path)?)?);
        used.extend(uses.product.iter().chain(&uses.tests).cloned());
    }
    findings.extend(manifests::check_root(
        &workspace.read("Cargo.toml")?,
        &used,
    )?);

    for shared in walls::SHARED_CORES {
        if !packages.values().any(|uses| uses.folder == *shared) {
            findings.push(Finding::file(
                *shared,
                "this core is not a package of the workspace",
            ));
        }
    }
    for uses in packages
        .values()
        .filter(|uses| walls::is_core(&uses.folder))
    {
        let sources = workspace.rust_sources(&format!("{}/src/", uses.folder))?;
        findings.extend(cores::check_core(&uses.folder, &sources));
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

fn collect(workspace: &Workspace) -> Result<Packages> {
    let mut packages = Packages::new();
    for package in &workspace.packages {
        let mut uses = Uses {
            folder: workspace.folder(package)?,
            ..Uses::default()
        };
        for dependency in &package.dependencies {
            let set = match dependency.kind {
                Some(Kind::Dev) => &mut uses.tests,
                None | Some(Kind::Build) => &mut uses.product,
            };
            set.insert(dependency.name.clone());
        }
        uses.tests = uses.tests.difference(&uses.product).cloned().collect();
        packages.insert(package.name.clone(), uses);
    }
    Ok(packages)
}

/// Dependencies between the crates of the workspace.
fn check_crates(arch: &Arch, packages: &Packages) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in arch
        .crates
        .keys()
        .filter(|name| !packages.contains_key(*name))
    {
        let problem = format!("[crates.{name}] names no package of the workspace; remove it");
        findings.push(Finding::file(FILE, problem));
    }
    for (name, uses) in packages {
        let Some(rule) = arch.crates.get(name) else {
            let problem = format!("the package {name} has no [crates.{name}]; add it");
            findings.push(Finding::file(FILE, problem));
            continue;
        };
        let sides = [
            ("uses", &uses.product, &rule.uses),
            ("tests_use", &uses.tests, &rule.tests_use),
        ];
        for (key, real, allowed) in sides {
            for extra in real
                .difference(allowed)
                .filter(|used| packages.contains_key(*used))
            {
                let problem = format!(
                    "{name} depends on {extra}, which {key} of [crates.{name}] in {FILE} does not \
                     allow; do without it, or add it there if the layers permit"
                );
                findings.push(Finding::file(
                    format!("{}/Cargo.toml", uses.folder),
                    problem,
                ));
            }
            for idle in allowed.difference(real) {
                let problem = format!(
                    "{key} of [crates.{name}] lists {idle}, which {name} does not depend on so; \
                     remove it"
                );
                findings.push(Finding::file(FILE, problem));
            }
        }
    }
    findings
}

/// Dependencies on other people's code.
fn check_dependencies(arch: &Arch, packages: &Packages) -> Vec<Finding> {
    let mut findings = Vec::new();
    let none = BTreeSet::new();
    for (package, uses) in packages {
        for (key, real) in [("crates", &uses.product), ("tests", &uses.tests)] {
            for dependency in real.iter().filter(|name| !packages.contains_key(*name)) {
                let allowed = match (arch.dependencies.get(dependency), key) {
                    (Some(rule), "crates") => &rule.crates,
                    (Some(rule), _) => &rule.tests,
                    (None, _) => &none,
                };
                if !allowed.contains(package) {
                    let problem = format!(
                        "{package} depends on {dependency}, but `{key}` of \
                         [dependencies.{dependency}] in {FILE} does not list it; do without it, \
                         or add it there"
                    );
                    findings.push(Finding::file(
                        format!("{}/Cargo.toml", uses.folder),
                        problem,
                    ));
                }
            }
        }
    }
    for (dependency, rule) in &arch.dependencies {
        findings.extend(check_why(&format!("dependencies.{dependency}"), &rule.why));
        if rule.crates.is_empty() && rule.tests.is_empty() {
            let problem = format!("[dependencies.{dependency}] is for nobody; remove it");
            findings.push(Finding::file(FILE, problem));
        }
        for (key, listed) in [("crates", &rule.crates), ("tests", &rule.tests)] {
            for package in listed {
                let used = packages.get(package).is_some_and(|uses| {
                    let real = if key == "crates" {
                        &uses.product
                    } else {
                        &uses.tests
                    };
                    real.contains(dependency)
                });
                if !used {
                    let problem = format!(
                        "`{key}` of [dependencies.{dependency}] lists {package}, which does not \
                         depend on it so; remove it"
                    );
                    findings.push(Finding::file(FILE, problem));
                }
            }
        }
    }
    findings
}

/// The rules that arch.toml cannot change.
fn check_walls(packages: &Packages) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, uses) in packages {
        let manifest = format!("{}/Cargo.toml", uses.folder);
        for wall in walls::WALLS
            .iter()
            .filter(|wall| !wall.product.contains(&name.as_str()))
        {
            let seen = uses.product.contains(wall.package)
                || (!wall.any_test && uses.tests.contains(wall.package));
            if seen {
                let problem = format!("{name} must not depend on {}: {}", wall.package, wall.why);
                findings.push(Finding::file(&manifest, problem));
            }
        }
        if walls::is_core(&uses.folder) {
            for banned in walls::NOT_IN_CORES
                .iter()
                .filter(|b| uses.product.contains(**b))
            {
                let problem = format!(
                    "{name} is a core and must not depend on {banned}: a core has no clock, no \
                     input or output and no chance"
                );
                findings.push(Finding::file(&manifest, problem));
            }
        }
        if walls::APART.contains(&name.as_str()) {
            for ours in uses
                .product
                .iter()
                .filter(|used| packages.contains_key(*used))
            {
                let problem = format!(
                    "{name} must not depend on {ours}: sharing code with what it tests would \
                     prove nothing"
                );
                findings.push(Finding::file(&manifest, problem));
            }
        }
    }
    findings
}

/// Packages that must not be anywhere below us.
fn check_banned(arch: &Arch, lock: &str) -> Result<Vec<Finding>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
    }
    let lock: Lock = toml::from_str(lock).context("read Cargo.lock")?;
    let names: BTreeSet<&str> = lock
        .package
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut findings = Vec::new();
    for (name, rule) in &arch.banned {
        findings.extend(check_why(&format!("banned.{name}"), &rule.why));
        if names.contains(name.as_str()) {
            let problem = format!(
                "{name} is banned ({}); `cargo tree --invert {name}` says what brought it",
                rule.why
            );
            findings.push(Finding::file("Cargo.lock", problem));
        }
    }
    Ok(findings)
}

fn check_why(section: &str, why: &str) -> Option<Finding> {
    if why.trim().is_empty() || why.contains('\n') {
        let problem = format!("`why` of [{section}] must give the reason in one line");
        return Some(Finding::file(FILE, problem));
    }
    None
}

#[cfg(test)]
mod tests;
