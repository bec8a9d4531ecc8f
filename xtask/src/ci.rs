//! Everything that a change must pass, step by step.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::counts::{self, Counts};
use crate::finding::Finding;
use crate::workspace::Workspace;
use crate::{arch, fuzz, shell, tidy};

/// One thing that a change must pass.
struct Step {
    name: &'static str,
    /// One line for the heading.
    what: &'static str,
    /// The step without which this one cannot run.
    after: Option<&'static str>,
    run: fn(&Workspace) -> Result<Counts>,
}

/// In the order in which they run: what is quick to say comes before what is slow to build.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        what: "every source is formatted",
        after: None,
        run: formatted,
    },
    Step {
        name: "arch",
        what: "crates depend on what arch.toml allows, and cores are pure",
        after: None,
        run: |workspace| Ok(print_findings(&arch::check_workspace(workspace)?)),
    },
    Step {
        name: "tidy",
        what: "nothing is committed that should not be",
        after: None,
        run: |workspace| Ok(print_findings(&tidy::check_workspace(workspace)?)),
    },
    Step {
        name: "shell",
        what: "shell scripts pass shellcheck",
        after: None,
        run: |workspace| Ok(print_findings(&shell::check_workspace(workspace)?)),
    },
    Step {
        name: "clippy",
        what: "no warning, with the lints that guard money",
        after: None,
        run: clippy,
    },
    Step {
        name: "build",
        what: "everything and its tests compile",
        after: None,
        run: compile,
    },
    Step {
        name: "subjects",
        what: "the bus's accounts and permissions are what the subject table says",
        after: Some("build"),
        run: subjects,
    },
    Step {
        name: "tests",
        what: "tests of every crate",
        after: Some("build"),
        run: nextest,
    },
    Step {
        name: "examples",
        what: "examples in the documentation",
        after: Some("build"),
        run: doc_tests,
    },
    Step {
        name: "fuzz",
        what: "every reader of foreign bytes, fed for a few seconds",
        after: None,
        run: fuzz::check_workspace,
    },
    Step {
        name: "compose",
        what: "the containers, with a real engine where one can be started",
        after: Some("build"),
        run: compose,
    },
];

/// How a step ended.
struct Ended {
    name: &'static str,
    time: Duration,
    counts: Counts,
    /// Why it counts as failed although no test of it did.
    trouble: Option<String>,
}

impl Ended {
    fn passed(&self) -> bool {
        self.counts.failed == 0
    }
}

/// The names that `cargo xtask ci` accepts.
pub fn step_names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs the named steps, or all of them, and says whether everything passed.
pub fn run(workspace: &Workspace, names: &[String]) -> Result<bool> {
    let chosen: Vec<&Step> = STEPS
        .iter()
        .filter(|step| names.is_empty() || names.iter().any(|name| name == step.name))
        .collect();
    ensure!(!chosen.is_empty(), "no step of that name");

    let mut ended: Vec<Ended> = Vec::new();
    for step in &chosen {
        println!("\n── {}: {}", step.name, step.what);
        let blocked = step.after.filter(|name| {
            ended
                .iter()
                .any(|earlier| earlier.name == *name && !earlier.passed())
        });
        let end = match blocked {
            Some(name) => not_run(step.name, name),
            None => run_step(step, workspace),
        };
        println!("   {}", describe(&end));
        ended.push(end);
    }

    println!("\n── summary");
    let mut total = Counts::default();
    for end in &ended {
        println!("   {:<9} {}", end.name, describe(end));
        total += end.counts;
    }
    if chosen.len() < STEPS.len() {
        println!(
            "   only {} of {} steps were asked for",
            chosen.len(),
            STEPS.len()
        );
    }
    println!("{}", total.summary());
    Ok(total.failed == 0)
}

fn run_step(step: &Step, workspace: &Workspace) -> Ended {
    let start = Instant::now();
    let (counts, trouble) = match (step.run)(workspace) {
        Ok(counts) => (counts, None),
        Err(error) => (Counts::one(false), Some(format!("{error:#}"))),
    };
    Ended {
        name: step.name,
        time: start.elapsed(),
        counts,
        trouble,
    }
}

/// What was never tried is no success.
fn not_run(name: &'static str, earlier: &str) -> Ended {
    let trouble = Some(format!("not run, because {earlier} failed"));
    Ended {
        name,
        time: Duration::ZERO,
        counts: Counts::one(false),
        trouble,
    }
}

fn describe(end: &Ended) -> String {
    let result = if end.passed() { "ok" } else { "FAILED" };
    let tests = match end.counts {
        Counts {
            passed: 0,
            failed: 1,
            ..
        }
        | Counts {
            passed: 1,
            failed: 0,
            skipped: 0,
        } => String::new(),
        counts => format!("  {}", counts.summary()),
    };
    let trouble = end
        .trouble
        .as_ref()
        .map_or(String::new(), |trouble| format!("  {trouble}"));
    format!(
        "{result:<6} {:>7.1} s{tests}{trouble}",
        end.time.as_secs_f64()
    )
}

fn print_findings(findings: &[Finding]) -> Counts {
    for finding in findings {
        println!("{finding}");
    }
    Counts::one(findings.is_empty())
}

/// Runs cargo with its output going to the terminal.
fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<Counts> {
    let status = workspace
        .command("cargo")?
        .args(arguments)
        .status()
        .with_context(|| format!("start cargo {}", arguments.join(" ")))?;
    Ok(Counts::one(status.success()))
}

fn formatted(workspace: &Workspace) -> Result<Counts> {
    cargo(workspace, &["fmt", "--all", "--", "--check"])
}

fn clippy(workspace: &Workspace) -> Result<Counts> {
    cargo(
        workspace,
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    )
}

const NEXTEST: [&str; 5] = ["nextest", "run", "--workspace", "--profile", "ci"];

/// The binaries too: tests of the whole stack start them.
fn compile(workspace: &Workspace) -> Result<Counts> {
    let built = cargo(workspace, &["build", "--workspace", "--bins", "--tests"])?;
    if built.failed > 0 {
        return Ok(built);
    }
    cargo(workspace, &[NEXTEST.as_slice(), &["--no-run"]].concat())
}

/// The generator's tests: they compare with nats/development.golden.conf, and the real server accepts
/// what is generated.
fn subjects(workspace: &Workspace) -> Result<Counts> {
    let arguments = [
        "nextest",
        "run",
        "-p",
        "portcullis-runtime",
        "--test",
        "nats_config",
    ];
    cargo(workspace, &arguments)
}

/// Prints what the script prints and counts what it counts.
fn compose(workspace: &Workspace) -> Result<Counts> {
    let output = workspace
        .command("bash")?
        .arg("scripts/test-compose")
        .stderr(Stdio::inherit())
        .output()
        .context("start scripts/test-compose")?;
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    let counts = counts::plain(&said)?;
    ensure!(
        output.status.success() == (counts.failed == 0),
        "the script's exit status does not agree with its results ({})",
        counts.summary()
    );
    Ok(counts)
}

fn nextest(workspace: &Workspace) -> Result<Counts> {
    let report = workspace
        .target
        .join("nextest")
        .join("ci")
        .join("junit.xml");
    // An old report must not speak for this run.
    if report.exists() {
        std::fs::remove_file(&report).context("remove the last run's report")?;
    }
    let ran = cargo(workspace, &NEXTEST)?;
    let report = std::fs::read_to_string(&report)
        .context("cargo nextest wrote no report, so nothing is known to have passed")?;
    let counts = counts::junit(&report)?;
    ensure!(
        counts.passed + counts.failed > 0,
        "cargo nextest ran no test"
    );
    ensure!(
        (ran.failed == 0) == (counts.failed == 0),
        "cargo nextest's exit status does not agree with its report ({})",
        counts.summary()
    );
    Ok(counts)
}

fn doc_tests(workspace: &Workspace) -> Result<Counts> {
    let output = workspace
        .command("cargo")?
        .args(["test", "--workspace", "--doc", "--no-fail-fast"])
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo test --doc")?;
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    let counts = counts::libtest(&said)?;
    ensure!(
        output.status.success() == (counts.failed == 0),
        "cargo test's exit status does not agree with its results ({})",
        counts.summary()
    );
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_waits_only_for_an_earlier_one() {
        for (at, step) in STEPS.iter().enumerate() {
            if let Some(after) = step.after {
                assert!(
                    STEPS[..at].iter().any(|earlier| earlier.name == after),
                    "{}",
                    step.name
                );
            }
        }
    }

    #[test]
    fn a_step_that_did_not_run_counts_as_failed_and_says_why() {
        let end = not_run("tests", "build");
        assert!(!end.passed());
        assert!(describe(&end).contains("FAILED"));
        assert!(describe(&end).contains("not run, because build failed"));
    }

    #[test]
    fn the_description_counts_tests_one_by_one() {
        let counts = Counts {
            passed: 40,
            failed: 2,
            skipped: 0,
        };
        let end = Ended {
            name: "tests",
            time: Duration::from_secs(3),
            counts,
            trouble: None,
        };
        assert_eq!(describe(&end), "FAILED     3.0 s  40 passed, 2 failed");
    }
}
