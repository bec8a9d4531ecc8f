//! Removes one check after another and watches the attack suite notice.
//!
//! ```text
//!  tracked files ──▶ target/mutants/src, every check of the list removable ──▶ one build
//!                          │
//!  for each of the list:   ╰──▶ the real stack with that check gone ──▶ its cells: at least one red
//! ```
//!
//! The switch that removes a check exists in the copy alone. Nothing of the product has one.

mod list;
mod page;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::attack::PROGRAM;
use crate::workspace::Workspace;
use list::{Entry, List};

/// The variable that says which checks are gone, by name, with commas between them.
const VARIABLE: &str = "PORTCULLIS_MUTANT";
/// How long the cells of one entry may take in all.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the attack suite says about one cell.
#[derive(Clone, Debug, Deserialize)]
struct Cell {
    attacker: String,
    goal: String,
    outcome: String,
    /// Of a red one: what was seen.
    #[serde(default)]
    evidence: String,
}

impl Cell {
    fn is_red(&self) -> bool {
        self.outcome == "broken"
    }

    fn name(&self) -> String {
        format!("{}/{}", self.attacker, self.goal)
    }
}

/// What became of one entry of the list.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    /// Its name.
    name: String,
    /// What it takes away, in words.
    check: String,
    /// Where that stands.
    files: Vec<String>,
    /// The cells that turned red, each with what was seen.
    red: BTreeMap<String, String>,
    /// The cells that stayed as they were.
    unchanged: Vec<String>,
    /// What stands behind the check, if something does.
    behind: Vec<String>,
    /// Why it could not be judged.
    problem: Option<String>,
}

impl Outcome {
    fn is_killed(&self) -> bool {
        self.problem.is_none() && !self.red.is_empty()
    }
}

/// Where everything of a run is.
struct Place {
    source: PathBuf,
    target: PathBuf,
    runs: PathBuf,
    nats_server: PathBuf,
}

impl Place {
    fn of(workspace: &Workspace) -> Self {
        let all = workspace.target.join("mutants");
        let pinned = workspace.root.join(".tools/bin/nats-server");
        Self {
            source: all.join("src"),
            target: all.join("target"),
            runs: all.join("runs"),
            nats_server: std::env::var_os("PORTCULLIS_NATS_SERVER").map_or(pinned, PathBuf::from),
        }
    }
}

/// Runs the list, or only the entries named; whether every one turned a cell red that is not red
/// while nothing is removed.
pub fn run(workspace: &Workspace, only: &[String], json: bool) -> Result<bool> {
    let list = List::load(&workspace.root)?;
    let entries = list.entries(only)?;
    let place = Place::of(workspace);
    ensure!(
        place.nats_server.exists(),
        "there is no {}: run ./scripts/tools test",
        place.nats_server.display()
    );
    source::copy(workspace, &list, &place.source)?;
    if !build(workspace, &place)? {
        println!("mutants: the copy does not build: a text of the list does not fit any more");
        return Ok(false);
    }

    let cells: BTreeSet<&str> = entries
        .iter()
        .flat_map(|entry| entry.cells.iter().map(String::as_str))
        .collect();
    let untouched = attack(&place, "nothing", &[], &cells)?;
    let mut green = true;
    for cell in &cells {
        let seen = untouched.get(*cell);
        if seen.is_none_or(Cell::is_red) {
            green = false;
            let detail = seen.map_or("no outcome", |seen| seen.evidence.as_str());
            println!("mutants: {cell} is red although nothing is removed: {detail}");
        }
    }
    ensure!(green, "nothing is learnt from cells that are red already");

    let mut outcomes = Vec::new();
    for entry in &entries {
        let outcome = judge(&place, &list, entry);
        if json {
            println!("{}", serde_json::to_string(&outcome)?);
        } else {
            say(&outcome);
        }
        outcomes.push(outcome);
    }
    if only.is_empty() {
        page::write(&workspace.root, &list, &outcomes)?;
    }
    let alive = outcomes.iter().filter(|one| !one.is_killed()).count();
    if !json {
        println!(
            "mutants: {} of {} turned a cell red",
            outcomes.len().saturating_sub(alive),
            outcomes.len()
        );
    }
    Ok(alive == 0)
}

fn build(workspace: &Workspace, place: &Place) -> Result<bool> {
    let status = workspace
        .command("cargo")?
        .current_dir(&place.source)
        .args(["build", "--locked", "--workspace", "--bins"])
        .args(["--exclude", "xtask", "--exclude", "bench", "--target-dir"])
        .arg(&place.target)
        .status()
        .context("start cargo build for the copy")?;
    Ok(status.success())
}

fn judge(place: &Place, list: &List, entry: &Entry) -> Outcome {
    let cells = entry.cells.iter().map(String::as_str).collect();
    let mut outcome = Outcome {
        name: entry.name.clone(),
        check: entry.check.clone(),
        files: list.files_of(entry),
        red: BTreeMap::new(),
        unchanged: Vec::new(),
        behind: entry.behind.clone(),
        problem: None,
    };
    match attack(place, &entry.name, &entry.removes, &cells) {
        Ok(seen) => {
            for name in &entry.cells {
                match seen.get(name) {
                    Some(cell) if cell.is_red() => {
                        outcome.red.insert(name.clone(), cell.evidence.clone());
                    }
                    Some(_) => outcome.unchanged.push(name.clone()),
                    None => outcome.problem = Some(format!("{name} has no outcome")),
                }
            }
        }
        Err(error) => outcome.problem = Some(format!("{error:#}")),
    }
    outcome
}

/// Plays cells against a stack of its own that lacks the checks of these names.
fn attack(
    place: &Place,
    run: &str,
    without: &[String],
    cells: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Cell>> {
    fs::create_dir_all(&place.runs).context("make a folder for the runs")?;
    let (said, log) = (
        place.runs.join(format!("{run}.json")),
        place.runs.join(format!("{run}.log")),
    );
    let open =
        |path: &Path| File::create(path).with_context(|| format!("write {}", path.display()));
    let mut command = Command::new(place.target.join("debug").join(PROGRAM));
    command
        .current_dir(&place.source)
        .arg("--json")
        .args(cells.iter().flat_map(|cell| ["--cell", cell]))
        .env("PORTCULLIS_NATS_SERVER", &place.nats_server)
        .env_remove(VARIABLE)
        .stdout(open(&said)?)
        .stderr(open(&log)?);
    if !without.is_empty() {
        command.env(VARIABLE, without.join(","));
    }
    let mut child = command
        .spawn()
        .with_context(|| format!("start {PROGRAM} for {run}"))?;
    // A run with every cell takes as much longer.
    let patience = PATIENCE.saturating_mul(u32::try_from(cells.len() / 4).unwrap_or(1).max(1));
    let begun = Instant::now();
    while child.try_wait().context("look after the attack")?.is_none() {
        if begun.elapsed() > patience {
            // The supervisor of its stack ends with it.
            child.kill().context("end the attack")?;
            child.wait().context("see the attack end")?;
            bail!("{run} did not end within {} s", patience.as_secs());
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let text = fs::read_to_string(&said).context("read what the attack said")?;
    let mut seen = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        if let Ok(cell) = serde_json::from_str::<Cell>(line) {
            seen.insert(cell.name(), cell);
        }
    }
    ensure!(
        !seen.is_empty(),
        "no cell was played; see {}",
        log.display()
    );
    Ok(seen)
}

fn say(outcome: &Outcome) {
    let Outcome { name, check, .. } = outcome;
    match (&outcome.problem, outcome.red.first_key_value()) {
        (Some(problem), _) => println!("  ?  {name}: {problem}"),
        (None, Some((cell, seen))) => println!("  ok {name}: {cell} turned red: {seen}"),
        (None, None) => println!(
            "  !! {name}: no cell turned red without the check that {check} ({})",
            outcome.unchanged.join(", ")
        ),
    }
}
