//! Shows what a limit of volatility would have cost in a recorded market.
//!
//! ```text
//!  bars ──▶ one volatility a minute ──▶ quantiles
//!                   ╰──▶ a breaker for each limit ──▶ trips, hours stopped
//! ```

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use portcullis_domain::{CLOSES, annualised};

use self::bars::Bar;
use self::breaker::Breaker;

mod bars;
mod breaker;

/// The limits that are tried, in basis points.
const LIMITS: [u32; 3] = [5_000, 10_000, 15_000];
/// The quantiles that are shown, in percent.
const QUANTILES: [usize; 3] = [50, 90, 99];

/// What one limit would have done.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    limit: u32,
    /// Minutes whose volatility was above it or unknown.
    failures: usize,
    trips: usize,
    /// Openings out of the half-open state.
    reopenings: usize,
    /// Minutes in which the breaker was not closed.
    stopped: usize,
    /// The same, and those above the limit while it was closed: no order would have passed.
    denied: usize,
}

/// Reads the bars and prints the study.
pub fn run(file: &Path, json: bool) -> Result<bool> {
    let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let bars = bars::read(&bytes).with_context(|| format!("read bars of {}", file.display()))?;
    let samples = samples(&bars)?;
    let mut known: Vec<u32> = samples.iter().copied().flatten().collect();
    known.sort_unstable();
    let most = *known.last().context(
        "there are not 31 bars of consecutive minutes anywhere, so there is no volatility",
    )?;
    let quantiles: Vec<(usize, u32)> = QUANTILES
        .iter()
        .filter_map(|percent| Some((*percent, quantile(&known, *percent)?)))
        .collect();
    let outcomes: Vec<Outcome> = LIMITS.iter().map(|limit| play(&samples, *limit)).collect();
    if json {
        print_json(&samples, &quantiles, most, &outcomes);
    } else {
        print_text(&samples, &quantiles, most, &outcomes);
    }
    Ok(true)
}

/// The volatility of every minute from the 31st on, in basis points; `None` where a bar is missing.
fn samples(bars: &[Bar]) -> Result<Vec<Option<u32>>> {
    let mut samples = Vec::new();
    let mut window = VecDeque::new();
    let mut minute = bars.first().map_or(0, |bar| bar.minute);
    for bar in bars {
        while minute <= bar.minute {
            window.push_back((minute == bar.minute).then_some(bar.close));
            if window.len() > CLOSES {
                window.pop_front();
            }
            if window.len() == CLOSES {
                let closes: Option<Vec<_>> = window.iter().copied().collect();
                samples.push(match closes {
                    None => None,
                    Some(closes) => {
                        let sigma = annualised(&closes).context("work out a volatility")?;
                        Some(
                            sigma
                                .to_string()
                                .parse()
                                .context("a volatility in whole bps")?,
                        )
                    }
                });
            }
            minute += 1;
        }
    }
    Ok(samples)
}

/// The smallest value that at least so many percent of the sorted values do not exceed.
fn quantile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

/// Plays the samples to a breaker with this limit.
fn play(samples: &[Option<u32>], limit: u32) -> Outcome {
    let mut breaker = Breaker::default();
    let mut outcome = Outcome {
        limit,
        failures: 0,
        trips: 0,
        reopenings: 0,
        stopped: 0,
        denied: 0,
    };
    for (minute, sample) in samples.iter().enumerate() {
        // What is not known counts as too much, and what is exactly at the limit does not.
        let failed = sample.is_none_or(|sigma| sigma > limit);
        outcome.failures += usize::from(failed);
        let change = breaker.sample(minute, failed);
        outcome.trips += usize::from(change == Some(breaker::Change::Tripped));
        outcome.reopenings += usize::from(change == Some(breaker::Change::Reopened));
        outcome.stopped += usize::from(!breaker.is_closed());
        outcome.denied += usize::from(!breaker.is_closed() || failed);
    }
    outcome
}

fn print_text(
    samples: &[Option<u32>],
    quantiles: &[(usize, u32)],
    most: u32,
    outcomes: &[Outcome],
) {
    println!(
        "{} minutes, {} of them without a volatility",
        samples.len(),
        samples.iter().filter(|sample| sample.is_none()).count()
    );
    for (percent, sigma) in quantiles {
        println!("{percent} % of the minutes: at most {}", percent_of(*sigma));
    }
    println!("the most: {}\n", percent_of(most));
    println!(
        "| limit | minutes above | share | trips | reopenings | hours stopped | hours in which no order passed |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for of in outcomes {
        println!(
            "| {} % | {} | {} | {} | {} | {} | {} |",
            of.limit / 100,
            of.failures,
            percent_of(share(of.failures, samples.len())),
            of.trips,
            of.reopenings,
            hours(of.stopped),
            hours(of.denied),
        );
    }
}

fn print_json(
    samples: &[Option<u32>],
    quantiles: &[(usize, u32)],
    most: u32,
    outcomes: &[Outcome],
) {
    let quantiles: serde_json::Map<String, serde_json::Value> = quantiles
        .iter()
        .map(|(percent, sigma)| (format!("p{percent}_bps"), (*sigma).into()))
        .collect();
    println!(
        "{}",
        serde_json::json!({
            "schema": "portcullis.volatility.quantiles.1",
            "minutes": samples.len(),
            "minutes_unknown": samples.iter().filter(|sample| sample.is_none()).count(),
            "quantiles": quantiles,
            "max_bps": most,
        })
    );
    for of in outcomes {
        println!(
            "{}",
            serde_json::json!({
                "schema": "portcullis.volatility.limit.1",
                "limit_bps": of.limit,
                "minutes_above": of.failures,
                "trips": of.trips,
                "reopenings": of.reopenings,
                "minutes_stopped": of.stopped,
                "minutes_denied": of.denied,
            })
        );
    }
}

/// A part of a whole in basis points, rounded to the nearest.
fn share(part: usize, whole: usize) -> u32 {
    let doubled = (part * 20_000).checked_div(whole).unwrap_or(0);
    u32::try_from(doubled.div_ceil(2)).unwrap_or(u32::MAX)
}

fn percent_of(bps: u32) -> String {
    format!("{}.{:02} %", bps / 100, bps % 100)
}

fn hours(minutes: usize) -> String {
    let tenths = (minutes + 3) / 6;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Refuses what would otherwise be read as something else.
fn ensure_later(minute: u64, last: Option<u64>, line: usize) -> Result<()> {
    ensure!(
        last.is_none_or(|last| minute > last),
        "line {line}: the bar is not later than the one before"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(minutes: impl IntoIterator<Item = u64>) -> Vec<Bar> {
        let close = "100".parse().unwrap();
        let bar = |minute| Bar { minute, close };
        minutes.into_iter().map(bar).collect()
    }

    #[test]
    fn a_missing_minute_leaves_thirty_one_without_a_volatility() {
        let samples = samples(&bars((0..100).filter(|minute| *minute != 50))).unwrap();
        assert_eq!(samples.len(), 70);
        let unknown: Vec<usize> = (0..70).filter(|i| samples[*i].is_none()).collect();
        assert_eq!(unknown, (20..51).collect::<Vec<_>>());
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let sorted: Vec<u32> = (1..=10).collect();
        assert_eq!(quantile(&sorted, 50), Some(5));
        assert_eq!(quantile(&sorted, 99), Some(10));
        assert_eq!(quantile(&[], 50), None);
    }

    #[test]
    fn a_limit_is_inclusive_and_the_unknown_is_beyond_it() {
        let at_limit = [Some(5_000); 200];
        assert_eq!(play(&at_limit, 5_000).failures, 0);
        let of = play(&[None; 9], 5_000);
        assert_eq!((of.failures, of.trips, of.stopped, of.denied), (9, 0, 0, 9));
        let of = play(&[Some(5_001); 10], 5_000);
        assert_eq!(
            (of.failures, of.trips, of.stopped, of.denied),
            (10, 1, 1, 10)
        );
    }

    #[test]
    fn numbers_are_shown_rounded_to_the_nearest() {
        assert_eq!(percent_of(share(1, 3)), "33.33 %");
        assert_eq!(percent_of(share(2, 3)), "66.67 %");
        assert_eq!((hours(62), hours(63)), ("1.0".into(), "1.1".into()));
    }
}
