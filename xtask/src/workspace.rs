//! The workspace as cargo and git see it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// Where everything is, and which packages there are.
pub struct Workspace {
    /// The folder of the root manifest.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
    /// Every package of the workspace.
    pub packages: Vec<Package>,
}

/// One package of the workspace.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// As in its manifest.
    pub name: String,
    /// Absolute, as cargo says it.
    pub manifest_path: PathBuf,
    /// Everything it depends on, of every kind and for every target.
    pub dependencies: Vec<Dependency>,
}

/// One dependency of one package.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    /// The package's name, whatever the manifest renames it to.
    pub name: String,
    /// Absent for a normal dependency.
    pub kind: Option<Kind>,
}

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Only the package's tests see it.
    Dev,
    /// Only its build script sees it.
    Build,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub fn load() -> Result<Self> {
        let output = Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .output()
            .context("start cargo metadata")?;
        if !output.status.success() {
            bail!(
                "cargo metadata failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("read what cargo metadata said")?;
        ensure!(
            !metadata.packages.is_empty(),
            "cargo metadata names no package"
        );
        Ok(Self {
            root: metadata.workspace_root,
            target: metadata.target_directory,
            packages: metadata.packages,
        })
    }

    /// Every file that git tracks or would track, relative to the root, in order.
    pub fn files(&self) -> Result<Vec<String>> {
        let output = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(&self.root)
            .output()
            .context("start git ls-files")?;
        if !output.status.success() {
            bail!(
                "git ls-files failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let mut files = Vec::new();
        for name in output
            .stdout
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
        {
            let name = std::str::from_utf8(name).context("a file name is not UTF-8")?;
            files.push(name.to_owned());
        }
        files.sort();
        files.dedup();
        // Git still lists what was deleted and not yet committed.
        files.retain(|file| self.root.join(file).symlink_metadata().is_ok());
        ensure!(
            !files.is_empty(),
            "git ls-files names no file in {}",
            self.root.display()
        );
        Ok(files)
    }

    /// Reads a file as text.
    pub fn read(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(self.root.join(path)).with_context(|| format!("read {path}"))
    }

    /// Every Rust source below a folder, by its path relative to the root.
    pub fn rust_sources(&self, folder: &str) -> Result<BTreeMap<String, String>> {
        let mut sources = BTreeMap::new();
        for path in self.files()? {
            if path.starts_with(folder) && path.ends_with(".rs") {
                let text = self.read(&path)?;
                sources.insert(path, text);
            }
        }
        Ok(sources)
    }

    /// A package's folder relative to the root, with `/` between its parts.
    pub fn folder(&self, package: &Package) -> Result<String> {
        let folder = package.manifest_path.parent().unwrap_or(Path::new(""));
        let relative = folder
            .strip_prefix(&self.root)
            .with_context(|| format!("{} lies outside the workspace", package.name))?;
        Ok(relative.to_string_lossy().replace('\\', "/"))
    }

    /// A command that runs in the root and finds the tools that `./scripts/tools test` installed.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut paths = vec![self.root.join(".tools").join("bin")];
        paths.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        let path = std::env::join_paths(paths).context("put .tools/bin on the PATH")?;
        let mut command = Command::new(program);
        command.current_dir(&self.root).env("PATH", path);
        Ok(command)
    }
}
