//! Chance that can be repeated.

use std::ops::Range;

/// Seeds to run: those that `NOVA_CHAOS_SEED` names (`7`, or `300..900`), many with `NOVA_TEST_FULL`, else some.
///
/// # Panics
/// When what is named is no seed.
pub fn named_or(some: Range<u64>, many: Range<u64>) -> Range<u64> {
    let seed = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text:?} is no seed"));
    match std::env::var("NOVA_CHAOS_SEED") {
        Ok(named) => match named.split_once("..") {
            Some((first, end)) => seed(first)..seed(end),
            None => seed(&named)..seed(&named) + 1,
        },
        Err(_) if std::env::var_os("NOVA_TEST_FULL").is_some() => many,
        Err(_) => some,
    }
}

/// A splitmix64 sequence: the same seed, the same numbers.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// A sequence from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own that follows from this one.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.number())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, and without, `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number().checked_rem(end).unwrap_or(0)
    }

    /// A number in a range, both ends included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut left, mut right) = (Seed::new(7), Seed::new(7));
        assert_eq!(left.fork().number(), right.fork().number());
        assert!((0..1_000).all(|_| (3..=9).contains(&left.between(3, 9))));
    }
}
