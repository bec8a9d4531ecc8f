//! What the day's loss, and that of the last 24 hours, are measured from.

use alloc::collections::VecDeque;
use alloc::string::ToString;

use portcullis_domain::{AmountError, Hash, Span, Timestamp, Usd};
use sha2::{Digest, Sha256};

/// How far the rolling loss looks back.
const ROLLING: Span = Span::from_secs(24 * 60 * 60);
/// How often the equity is sampled for it.
pub const SAMPLE_EVERY: Span = Span::from_secs(15 * 60);
/// What the hash over the beginnings of days is for.
const CHAIN: &[u8] = b"portcullis/day/v1\0";

/// The marks of the day in force.
#[derive(Clone, Debug)]
pub struct Day {
    pub number: u64,
    /// The equity that the day's loss is measured from.
    pub baseline: Usd,
    /// The highest equity on record since the day began.
    pub peak: Usd,
    /// The tightest limit that was in force today; `None` until one is on record.
    pub limit: Option<Usd>,
    /// SHA-256 over the beginning of this day and of all before it.
    pub chain: Hash,
    /// The equity every quarter of an hour; the first is the youngest that is a day old.
    samples: VecDeque<(Timestamp, Usd)>,
}

impl Default for Day {
    fn default() -> Self {
        Self {
            number: 0,
            baseline: Usd::ZERO,
            peak: Usd::ZERO,
            limit: None,
            chain: Hash([0; 32]),
            samples: VecDeque::new(),
        }
    }
}

impl Day {
    /// The hash that a day beginning so would have.
    pub fn next_chain(&self, number: u64, baseline: Usd) -> Hash {
        let hash = Sha256::new()
            .chain_update(CHAIN)
            .chain_update(self.chain.0)
            .chain_update(number.to_be_bytes())
            .chain_update(baseline.to_string());
        Hash(hash.finalize().into())
    }

    pub fn begin(&mut self, number: u64, baseline: Usd, chain: Hash) {
        self.number = number;
        self.baseline = baseline;
        self.peak = baseline;
        self.limit = None;
        self.chain = chain;
    }

    pub fn tighten(&mut self, limit: Usd) {
        self.limit = Some(self.limit.map_or(limit, |seen| seen.min(limit)));
    }

    pub fn sample(&mut self, at: Timestamp, equity: Usd) {
        self.samples.push_back((at, equity));
        let is_old = |sample: Option<&(Timestamp, Usd)>| {
            sample.is_some_and(|(sampled_at, _)| at.since(*sampled_at) >= ROLLING)
        };
        while is_old(self.samples.get(1)) {
            self.samples.pop_front();
        }
    }

    /// Whether another sample is due.
    pub fn wants_sample(&self, now: Timestamp) -> bool {
        let last = self.samples.back();
        last.is_none_or(|(at, _)| now.since(*at) >= SAMPLE_EVERY)
    }

    pub fn samples(&self) -> impl Iterator<Item = (Timestamp, Usd)> {
        self.samples.iter().copied()
    }

    /// The loss of the day at such an equity: above zero is a loss.
    pub fn loss(&self, equity: Usd) -> Result<Usd, AmountError> {
        self.baseline.minus(equity)
    }

    /// The loss since a day ago, or since the first sample.
    pub fn loss_rolling(&self, equity: Usd) -> Result<Usd, AmountError> {
        let (_, before) = self
            .samples
            .front()
            .copied()
            .unwrap_or((Timestamp(0), self.baseline));
        before.minus(equity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> Usd {
        text.parse().unwrap()
    }

    #[test]
    fn the_rolling_loss_is_measured_from_a_day_ago() {
        let quarter = |number: u64| Timestamp(number * SAMPLE_EVERY.0);
        let mut day = Day::default();
        day.begin(1, usd("100"), Hash([1; 32]));
        assert_eq!(day.loss_rolling(usd("90")), Ok(usd("10")));
        // Two days, in which the equity falls by one each quarter of an hour.
        for number in 0..=192 {
            day.sample(quarter(number), usd(&(1_000 - number).to_string()));
        }
        assert_eq!(day.loss_rolling(usd("808")), Ok(usd("96")));
        assert!(day.samples.len() <= 97, "{}", day.samples.len());
        assert!(!day.wants_sample(quarter(193).minus(Span(1))));
        assert!(day.wants_sample(quarter(193)));
    }

    #[test]
    fn a_limit_that_was_seen_only_tightens_until_the_next_day() {
        let mut day = Day::default();
        for (limit, seen) in [("500", "500"), ("800", "500"), ("300", "300")] {
            day.tighten(usd(limit));
            assert_eq!(day.limit, Some(usd(seen)), "{limit}");
        }
        day.begin(2, usd("0"), Hash([0; 32]));
        assert_eq!(day.limit, None);
    }

    #[test]
    fn the_chain_tells_days_baselines_and_histories_apart() {
        let mut day = Day::default();
        let first = day.next_chain(1, usd("5"));
        assert_ne!(day.next_chain(2, usd("5")), first);
        assert_ne!(day.next_chain(1, usd("6")), first);
        day.begin(1, usd("5"), first);
        let second = day.next_chain(2, usd("5"));
        day.chain = Hash([9; 32]);
        assert_ne!(day.next_chain(2, usd("5")), second);
    }
}
