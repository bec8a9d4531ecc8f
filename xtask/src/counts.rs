//! Counts of tests, read from what the test runners write for machines.

use std::ops::AddAssign;

use anyhow::{Context as _, Result, ensure};

/// How many tests, or steps, ended in which way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Ran and held.
    pub passed: u64,
    /// Ran and did not hold, or could not run.
    pub failed: u64,
    /// Did not run.
    pub skipped: u64,
}

impl Counts {
    /// One step that is no collection of tests.
    pub fn one(passed: bool) -> Self {
        Self {
            passed: u64::from(passed),
            failed: u64::from(!passed),
            skipped: 0,
        }
    }

    /// The line that a run ends with.
    pub fn summary(&self) -> String {
        let skipped = match self.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        };
        format!("{} passed, {} failed{skipped}", self.passed, self.failed)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Reads nextest's JUnit report: the totals in its outermost element.
///
/// A time-out counts among the failures there. Ignored tests are left out, and tidy refuses them.
pub fn junit(report: &str) -> Result<Counts> {
    let start = report
        .find("<testsuites ")
        .context("the report has no <testsuites>")?;
    let element = report
        .get(start..)
        .and_then(|rest| rest.split('>').next())
        .unwrap_or_default();
    let total = |name: &str| -> Result<u64> {
        let key = format!(" {name}=\"");
        let value = element
            .split(&key)
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let value = value.with_context(|| format!("the report does not count its {name}"))?;
        value
            .parse()
            .with_context(|| format!("the report counts {value} {name}"))
    };
    let tests = total("tests")?;
    let failed = total("failures")? + total("errors")?;
    ensure!(
        failed <= tests,
        "the report counts {failed} failures in {tests} tests"
    );
    Ok(Counts {
        passed: tests - failed,
        failed,
        skipped: 0,
    })
}

/// Adds up the `test result:` lines of `cargo test`, one for each crate.
pub fn libtest(output: &str) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut seen = false;
    for line in output
        .lines()
        .filter_map(|line| line.trim().strip_prefix("test result: "))
    {
        seen = true;
        // "ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s"
        let (_, numbers) = line
            .split_once(". ")
            .context("a test result without its numbers")?;
        for part in numbers.split("; ") {
            match part.split_once(' ') {
                Some((number, "passed")) => counts.passed += number.parse::<u64>()?,
                Some((number, "failed")) => counts.failed += number.parse::<u64>()?,
                Some((number, "ignored")) => counts.skipped += number.parse::<u64>()?,
                _ => {}
            }
        }
    }
    ensure!(seen, "cargo test printed no test result");
    Ok(counts)
}

/// Reads the last line of a script of ours: `N passed, N failed`, perhaps `, N skipped`.
pub fn plain(output: &str) -> Result<Counts> {
    let line = output
        .lines()
        .rev()
        .find(|line| line.contains(" passed, "))
        .context("the script counted nothing")?;
    let mut counts = Counts::default();
    for part in line.trim().split(", ") {
        let (number, word) = part.split_once(' ').context("a count without its word")?;
        let number = number
            .parse()
            .with_context(|| format!("the script counts {number}"))?;
        match word {
            "passed" => counts.passed = number,
            "failed" => counts.failed = number,
            "skipped" => counts.skipped = number,
            _ => anyhow::bail!("the script counts {word}"),
        }
    }
    ensure!(
        counts.passed + counts.failed + counts.skipped > 0,
        "the script ran nothing"
    );
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_scripts_own_count_and_refuses_an_empty_one() {
        let counts = plain("x\n17 passed, 1 failed, 2 skipped\n").unwrap();
        assert_eq!((counts.passed, counts.failed, counts.skipped), (17, 1, 2));
        assert!(plain("all is well").is_err());
        assert!(plain("0 passed, 0 failed").is_err());
        assert!(plain("many passed, 0 failed").is_err());
    }

    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="12" failures="2" errors="1" uuid="x" time="0.1">
    <testsuite name="xtask" tests="5" disabled="0" errors="0" failures="0">"#;

    #[test]
    fn adds_failures_and_errors_of_a_report() {
        assert_eq!(
            junit(REPORT).unwrap(),
            Counts {
                passed: 9,
                failed: 3,
                skipped: 0
            }
        );
    }

    #[test]
    fn refuses_a_report_that_does_not_add_up() {
        for bad in [
            "",
            "<testsuite tests=\"5\">",
            "<testsuites name=\"x\">",
            "<testsuites tests=\"many\" failures=\"0\" errors=\"0\">",
            "<testsuites tests=\"1\" failures=\"2\" errors=\"0\">",
        ] {
            assert!(junit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn adds_up_the_results_of_several_crates() {
        let output = "running 2 tests\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
            test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s\n";
        assert_eq!(
            libtest(output).unwrap(),
            Counts {
                passed: 5,
                failed: 1,
                skipped: 1
            }
        );
    }

    #[test]
    fn refuses_output_without_a_result() {
        assert!(libtest("error: could not compile").is_err());
    }

    #[test]
    fn the_summary_names_skipped_tests_only_if_there_are_any() {
        assert_eq!(
            Counts {
                passed: 3,
                failed: 0,
                skipped: 0
            }
            .summary(),
            "3 passed, 0 failed"
        );
        let counts = Counts {
            passed: 3,
            failed: 1,
            skipped: 2,
        };
        assert_eq!(counts.summary(), "3 passed, 1 failed, 2 skipped");
    }
}
