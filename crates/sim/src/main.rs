//! `cargo xtask sim`: runs seeds, plants bugs, tells the story of one seed.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks on standard output, and of its progress on the other"
)]
#![expect(
    clippy::float_arithmetic,
    reason = "seeds a second, for people to look at"
)]

use std::io::{IsTerminal as _, stderr};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use portcullis_sim::{Bug, Coverage, Found, Options, Seeds, Tally, Violation, find, run};
use serde_json::json;

/// How many seeds are run if nobody says.
const SEEDS: u64 = 500;
/// Within so many seeds a planted bug must be found.
const PLANTED_SEEDS: u64 = 2_000;
/// How often the progress is told: on a terminal, and elsewhere.
const PROGRESS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(10)];
/// How many violations are told in a line each, after the first one's whole story.
const SHOWN: usize = 20;

/// Every core in one thread, from one seed, while everything around them goes wrong.
#[derive(Parser)]
#[command(name = "sim")]
struct Arguments {
    /// How many seeds; 500, or with --planted at most 2000 for each bug
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Go on after a violation
    #[arg(long)]
    keep_going: bool,
    /// Print how often what occurred
    #[arg(long)]
    coverage: bool,
    /// Only this seed, with its whole story
    #[arg(long, conflicts_with_all = ["seeds", "from", "planted"])]
    seed: Option<u64>,
    /// With this bug planted
    #[arg(long, value_parser = bug, requires = "seed")]
    bug: Option<Bug>,
    /// Plant one bug after another
    #[arg(long)]
    planted: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn bug(name: &str) -> Result<Bug, String> {
    let names = || Bug::ALL.map(Bug::name).join(", ");
    Bug::named(name).ok_or_else(|| format!("there is no such bug; there are {}", names()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let passed = match (arguments.seed, arguments.planted) {
        (Some(seed), _) => one(&arguments, seed),
        (None, true) => planted(&arguments, arguments.seeds.unwrap_or(PLANTED_SEEDS)),
        (None, false) => seeds(&arguments, arguments.seeds.unwrap_or(SEEDS)),
    };
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Tells now and then how far it is; on a terminal in one line that is written over.
struct Progress {
    started: Instant,
    told: Mutex<Instant>,
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        let started = Instant::now();
        Self {
            started,
            told: Mutex::new(started),
            terminal: stderr().is_terminal(),
        }
    }

    fn tell(&self, line: impl FnOnce() -> String) {
        let Ok(mut told) = self.told.lock() else {
            return;
        };
        let [often, seldom] = PROGRESS;
        if told.elapsed() < if self.terminal { often } else { seldom } {
            return;
        }
        *told = Instant::now();
        if self.terminal {
            eprint!("\r\x1b[K{}", line());
        } else {
            eprintln!("{}", line());
        }
    }

    fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

fn seeds(arguments: &Arguments, count: u64) -> bool {
    let progress = Progress::new();
    let seeds = Seeds {
        from: arguments.from,
        count,
        keep_going: arguments.keep_going,
    };
    let tally = seeds.run(|done, failed| {
        progress.tell(|| {
            let rate = done as f64 / progress.seconds();
            format!("{done} of {count} seeds, {failed} failed, {rate:.1} a second")
        });
    });
    progress.end();
    let seconds = progress.seconds();
    if arguments.json {
        tell_json(arguments, &tally, seconds);
    } else {
        tell(arguments, &tally, count, seconds);
    }
    tally.violations.is_empty()
}

fn tell(arguments: &Arguments, tally: &Tally, count: u64, seconds: f64) {
    if arguments.coverage {
        print_coverage(&tally.coverage);
    }
    if let Some((first, rest)) = tally.violations.split_first() {
        println!("{first}");
        for violation in rest.iter().take(SHOWN) {
            println!("seed {}: {}", violation.seed, shortened(&violation.what));
        }
        if rest.len() > SHOWN {
            println!("and {} more", rest.len() - SHOWN);
        }
    }
    let (run, failed) = (tally.run, tally.violations.len());
    let rate = run as f64 / seconds;
    let (passed, events) = (run - failed as u64, tally.events);
    println!(
        "{passed} seeds passed, {failed} failed, {events} events, {seconds:.1} s, {rate:.1} a second"
    );
    if run < count {
        println!("stopped at the first violation; with --keep-going it goes on to all {count}");
    }
}

fn tell_json(arguments: &Arguments, tally: &Tally, seconds: f64) {
    for violation in &tally.violations {
        println!("{}", violation_json(violation));
    }
    let mut summary = json!({
        "seeds": tally.run,
        "from": arguments.from,
        "violations": tally.violations.len(),
        "events": tally.events,
        "seconds": seconds,
        "seeds_per_second": tally.run as f64 / seconds,
    });
    if arguments.coverage
        && let Some(summary) = summary.as_object_mut()
    {
        summary.insert("coverage".to_owned(), json!(tally.coverage));
    }
    println!("{summary}");
}

fn violation_json(violation: &Violation) -> serde_json::Value {
    json!({
        "seed": violation.seed,
        "bug": violation.bug.map(Bug::name),
        "violation": violation.what,
        "trace_hash": format!("{:016x}", violation.trace_hash),
        "again": violation.command(),
        "story": violation.story,
    })
}

fn one(arguments: &Arguments, seed: u64) -> bool {
    let options = Options {
        keep_story: true,
        bug: arguments.bug,
        ..Options::seed(seed)
    };
    match run(options) {
        Ok(report) if arguments.json => println!(
            "{}",
            json!({
                "seed": seed,
                "events": report.events,
                "trace_hash": format!("{:016x}", report.trace_hash),
                "coverage": report.coverage,
                "story": report.story,
            })
        ),
        Ok(report) => {
            for line in &report.story {
                println!("{line}");
            }
            if arguments.coverage {
                print_coverage(&report.coverage);
            }
            let (events, hash) = (report.events, report.trace_hash);
            println!("seed {seed} passed, {events} events, trace {hash:016x}");
        }
        Err(violation) if arguments.json => {
            println!("{}", violation_json(&violation));
            return false;
        }
        Err(violation) => {
            for line in &violation.story {
                println!("{line}");
            }
            let hash = violation.trace_hash;
            println!("seed {seed} failed: {}, trace {hash:016x}", violation.what);
            return false;
        }
    }
    true
}

fn planted(arguments: &Arguments, seeds: u64) -> bool {
    let progress = Progress::new();
    let width = Bug::ALL
        .iter()
        .map(|bug| bug.name().len())
        .max()
        .unwrap_or(0);
    if !arguments.json {
        println!(
            "{:width$}  {:>5}  {:>5}  the oracle said",
            "bug", "seed", "seeds"
        );
    }
    let mut missed = 0;
    for bug in Bug::ALL {
        progress.tell(|| format!("{} is planted", bug.name()));
        let found = find(bug, arguments.from, seeds);
        progress.end();
        missed += u64::from(found.is_err());
        let name = bug.name();
        match found {
            Ok(Found {
                seed, seeds, what, ..
            }) if arguments.json => println!(
                "{}",
                json!({ "bug": name, "found": true, "seed": seed, "seeds": seeds, "violation": what })
            ),
            Err(other) if arguments.json => println!(
                "{}",
                json!({ "bug": name, "found": false, "seeds": seeds, "violation": other })
            ),
            Ok(Found {
                seed, seeds, what, ..
            }) => {
                println!("{name:width$}  {seed:>5}  {seeds:>5}  {}", shortened(&what));
            }
            Err(other) => {
                let other = other.unwrap_or_else(|| "nothing".to_owned());
                let other = shortened(&other);
                println!("{name:width$}  NOT FOUND in {seeds}; it said: {other}");
            }
        }
    }
    let (found, seconds) = (Bug::ALL.len() as u64 - missed, progress.seconds());
    if !arguments.json {
        println!("{found} of {} bugs found, {seconds:.1} s", Bug::ALL.len());
    }
    missed == 0
}

fn print_coverage(coverage: &Coverage) {
    for (what, times) in coverage {
        println!("{times:>9} {what}");
    }
}

/// The first line, and not much more than fits a screen.
fn shortened(what: &str) -> String {
    let line = what.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(120).collect();
    if short.len() < what.len() {
        short.push('…');
    }
    short
}
