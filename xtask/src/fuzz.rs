//! Every reader of foreign bytes is fed for a few seconds: first what is committed in `fuzz/corpus`,
//! then what libFuzzer makes of it.
//!
//! The coverage comes from flags of the stable compiler, so that neither a nightly toolchain nor
//! `cargo fuzz` is needed. `docs/fuzzing.md` says how to go on from here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::counts::Counts;
use crate::workspace::Workspace;

const MANIFEST: &str = "fuzz/Cargo.toml";
const CORPUS: &str = "fuzz/corpus";
/// What cargo-fuzz gives the compiler too, but for the address sanitizer, which is nightly's.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing";
/// At most this many inputs and seconds a target; one input may take 10 s and 1 GiB.
const BOUNDS: [&str; 5] = [
    "-seed=1",
    "-runs=20000",
    "-max_total_time=6",
    "-timeout=10",
    "-rss_limit_mb=1024",
];
/// How much of what a failed target said is printed.
const LINES_SHOWN: usize = 16;

#[derive(Deserialize)]
struct Manifest {
    bin: Vec<Bin>,
}

#[derive(Deserialize)]
struct Bin {
    name: String,
}

/// Where everything of the short run is.
struct Places {
    /// The binaries with their coverage.
    binaries: PathBuf,
    /// What libFuzzer found on its way, what failed, and what it said.
    run: PathBuf,
}

/// Builds all targets and runs each over its corpus and a bounded number of inputs.
pub fn check_workspace(workspace: &Workspace) -> Result<Counts> {
    let targets = targets(&workspace.read(MANIFEST)?)?;
    let corpora = corpora(&workspace.root.join(CORPUS))?;
    ensure!(
        targets == corpora,
        "the targets in {MANIFEST} ({}) and the folders with seeds in {CORPUS} ({}) are not the same; \
         docs/fuzzing.md says how to write seeds",
        targets.join(", "),
        corpora.join(", ")
    );
    let places = build(workspace)?;
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(Counts::default());
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..at_once.min(targets.len()) {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ended = run(workspace, &places, target);
                    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                    *counts += Counts::one(ended.is_ok());
                    match ended {
                        Ok(done) => println!("   {target:<17} {done}"),
                        Err(error) => println!("   {target:<17} FAILED: {error:#}"),
                    }
                }
            });
        }
    });
    let counts = *counts.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(counts)
}

/// The names of all targets, in order.
fn targets(manifest: &str) -> Result<Vec<String>> {
    let manifest: Manifest =
        toml::from_str(manifest).with_context(|| format!("read {MANIFEST}"))?;
    let mut names: Vec<String> = manifest.bin.into_iter().map(|bin| bin.name).collect();
    names.sort();
    ensure!(!names.is_empty(), "{MANIFEST} names no target");
    Ok(names)
}

/// The names of all folders with at least one seed, in order.
fn corpora(folder: &Path) -> Result<Vec<String>> {
    let list = |path: &Path| fs::read_dir(path).with_context(|| format!("list {}", path.display()));
    let mut names = Vec::new();
    for corpus in list(folder)? {
        let corpus = corpus.context("list the corpora")?;
        if list(&corpus.path())?.next().is_some() {
            names.push(corpus.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn build(workspace: &Workspace) -> Result<Places> {
    let host = host(workspace)?;
    let folder = workspace.target.join("fuzz");
    let status = workspace
        .command("cargo")?
        .args(["build", "--locked", "--bins", "--manifest-path", MANIFEST])
        // With a target named, build scripts and macros are built without the coverage.
        .args(["--target", &host, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("start cargo build")?;
    ensure!(
        status.success(),
        "the fuzz targets do not compile; if only their lock file is behind, \
         run: cargo update --workspace --manifest-path {MANIFEST}"
    );
    Ok(Places {
        binaries: folder.join(host).join("debug"),
        run: folder.join("run"),
    })
}

fn host(workspace: &Workspace) -> Result<String> {
    let output = workspace
        .command("rustc")?
        .arg("-vV")
        .output()
        .context("start rustc")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

/// Runs one target; says how it ended, or why that is no success.
fn run(workspace: &Workspace, places: &Places, target: &str) -> Result<String> {
    let folder = places.run.join(target);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    let (found, failed) = (folder.join("found"), folder.join("failed"));
    for place in [&found, &failed] {
        fs::create_dir_all(place).with_context(|| format!("make {}", place.display()))?;
    }
    let binary = places.binaries.join(target);
    let log = folder.join("log");
    let output = fs::File::create(&log).with_context(|| format!("make {}", log.display()))?;
    let status = workspace
        .command(&binary.to_string_lossy())?
        // New inputs go to the first folder.
        .args([&found, &workspace.root.join(CORPUS).join(target)])
        .args(BOUNDS)
        .arg(format!("-artifact_prefix={}/", failed.display()))
        // What failed stands in the message; the rest would only hide it.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .status()
        .with_context(|| format!("start {}", binary.display()))?;
    let said = fs::read(&log).with_context(|| format!("read {}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    if status.success() {
        return done(&said).with_context(|| format!("see {}", log.display()));
    }
    let lines: Vec<&str> = said.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(LINES_SHOWN)) {
        println!("   {target} | {line}");
    }
    let input = fs::read_dir(&failed).ok().and_then(|mut list| list.next());
    match input {
        Some(Ok(input)) => bail!(
            "it does not hold for {input}; again: {binary} {input}",
            input = input.path().display(),
            binary = binary.display(),
        ),
        Some(Err(_)) | None => bail!("{status}, and kept no input; see {}", log.display()),
    }
}

/// What a run that ended well says of itself: it must have coverage, and have fed something.
fn done(said: &str) -> Result<String> {
    ensure!(
        said.contains("inline 8-bit counters"),
        "it was built without coverage"
    );
    let done = said.lines().rev().find_map(|line| {
        let (number, rest) = line.strip_prefix('#')?.split_once("\tDONE")?;
        let number: u64 = number.parse().ok().filter(|number| *number > 1)?;
        let covered = rest.split_once("cov: ")?.1.split(' ').next()?;
        Some(format!("{number} inputs, {covered} places reached"))
    });
    done.context("it does not say that it fed anything")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_found_in_the_manifest() {
        let manifest = "[package]\nname = \"x\"\n[[bin]]\nname = \"b\"\n[[bin]]\nname = \"a\"\n";
        assert_eq!(targets(manifest).unwrap(), ["a", "b"]);
        assert!(targets("[package]\nname = \"x\"\n").is_err());
    }

    const SAID: &str = "INFO: Loaded 1 modules   (12338 inline 8-bit counters): 12338\n\
        #2\tINITED cov: 5 ft: 6 corp: 1/1b exec/s: 0 rss: 28Mb\n\
        #20000\tDONE   cov: 604 ft: 836 corp: 54/9717b lim: 940 exec/s: 20000 rss: 28Mb\n\
        Done 20000 runs in 1 second(s)\n";

    #[test]
    fn a_run_that_ended_well_says_how_much_it_fed() {
        assert_eq!(done(SAID).unwrap(), "20000 inputs, 604 places reached");
    }

    #[test]
    fn a_run_without_coverage_or_without_inputs_is_no_success() {
        for (from, to) in [
            ("inline 8-bit counters", "counters"),
            ("\tDONE", "\tREDUCE"),
            ("#20000", "#0"),
        ] {
            assert!(done(&SAID.replace(from, to)).is_err(), "{from}");
        }
    }
}
