//! One figure: what was measured, against the bare thing beside it, in the same run.

use serde::Serialize;

/// What is good: a ratio at most, or at least.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// The value is at most so many times the bare thing.
    RatioAtMost(f64),
    /// The value is at least so many times the bare thing.
    RatioAtLeast(f64),
    /// The value itself is at most this.
    ValueAtMost(f64),
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// How much.
    pub value: f64,
    /// In what.
    pub unit: &'static str,
    /// What it is compared with.
    pub bare_name: String,
    /// How much that takes; `None` where nothing bare exists.
    pub bare: Option<f64>,
    /// `value / bare`.
    pub ratio: Option<f64>,
    /// What is aimed for.
    pub aim: Aim,
    /// Whether it was met.
    pub met: bool,
}

impl Figure {
    /// Works out the ratio and whether the aim is met.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        bare: Option<(&str, f64)>,
        aim: Aim,
    ) -> Self {
        let ratio = bare.map(|(_, bare)| value / bare);
        let met = match aim {
            Aim::RatioAtMost(most) => ratio.is_some_and(|ratio| ratio <= most),
            Aim::RatioAtLeast(least) => ratio.is_some_and(|ratio| ratio >= least),
            Aim::ValueAtMost(most) => value <= most,
        };
        Self {
            name: name.into(),
            value,
            unit,
            bare_name: bare.map_or("-", |(name, _)| name).into(),
            bare: bare.map(|(_, bare)| bare),
            ratio,
            aim,
            met,
        }
    }

    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let bare = self.bare.map_or("-".into(), |bare| format!("{bare:.3}"));
        let ratio = self
            .ratio
            .map_or("-".into(), |ratio| format!("{ratio:.2} x"));
        let aim = match self.aim {
            Aim::RatioAtMost(most) => format!("<= {most} x"),
            Aim::RatioAtLeast(least) => format!(">= {least} x"),
            Aim::ValueAtMost(most) => format!("<= {most} {}", self.unit),
        };
        let met = if self.met { "met" } else { "NOT MET" };
        format!(
            "{:<44} {:>11.3} {:<6} | {:<38} {:>11} | {:>8} | {:<12} {met}",
            self.name, self.value, self.unit, self.bare_name, bare, ratio, aim
        )
    }
}

/// Nanoseconds that one call takes: the median of many rounds, so that a neighbour on the machine
/// does not count.
#[must_use]
pub fn median_ns(rounds: usize, calls: usize, mut call: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..rounds.max(1))
        .map(|_| {
            let begun = std::time::Instant::now();
            for _ in 0..calls {
                call();
            }
            begun.elapsed().as_secs_f64() * 1e9 / calls as f64
        })
        .collect();
    percentile(&mut times, 50)
}

/// A percentile of measurements; zero of none.
#[must_use]
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = values
        .len()
        .saturating_sub(1)
        .saturating_mul(percent)
        .div_ceil(100);
    values.get(index).copied().unwrap_or_default()
}
