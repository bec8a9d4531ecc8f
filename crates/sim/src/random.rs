//! Where all chance comes from: one seed.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). Small,
/// the same everywhere and for ever; nothing here needs to be unguessable.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Everything that follows is decided by `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        let count = high.saturating_sub(low).saturating_add(1);
        low.saturating_add(self.next() % count)
    }

    /// A signed number from `-most` to `most`.
    pub const fn around(&mut self, most: u32) -> i64 {
        let most = most as i64;
        self.between(0, (most * 2).unsigned_abs()) as i64 - most
    }

    /// Yes, so many times in a thousand.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        self.next() % 1_000 < per_mille
    }

    /// One of these.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let index = self.between(0, of.len() as u64 - 1);
        crate::sure(
            of.get(index as usize).copied().ok_or("nothing to pick"),
            "pick",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_numbers_of_the_published_generator() {
        // The first outputs of SplitMix64 for the seed 1234567, as its authors' C code prints them.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn stays_within_its_bounds() {
        let mut random = Random::new(1);
        for _ in 0..1_000 {
            assert!((3..=5).contains(&random.between(3, 5)));
            assert!((-2..=2).contains(&random.around(2)));
        }
        assert!(!random.chance(0));
        assert!(random.chance(1_000));
    }
}
