//! Luck, all of it drawn from one seed.
//!
//! The state is a number that can be written down, so a world that was saved and loaded goes on
//! exactly as it would have.

use serde::{Deserialize, Serialize};

/// A source of random numbers that is the same for the same seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// The source for `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn draw<T>(&mut self, from: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        let mut source = fastrand::Rng::with_seed(self.state);
        let drawn = from(&mut source);
        self.state = source.get_seed();
        drawn
    }

    /// A number below `bound`, or 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            0
        } else {
            self.draw(|source| source.usize(..bound))
        }
    }

    /// Whether something with this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.draw(fastrand::Rng::f64) < probability
    }

    /// A number from 0 up to 1.
    pub fn fraction(&mut self) -> f64 {
        self.draw(fastrand::Rng::f64)
    }

    /// A fresh version 4 UUID.
    pub fn uuid(&mut self) -> String {
        let bytes = self.draw(|source| source.u128(..).to_be_bytes());
        uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string()
    }

    /// Text of `length` letters and digits, for keys.
    pub fn text(&mut self, length: usize) -> String {
        self.draw(|source| (0..length).map(|_| source.alphanumeric()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_ids() {
        let mut one = Chance::new(7);
        let mut other = Chance::new(7);
        assert_eq!(one.uuid(), other.uuid());
        assert_ne!(one.uuid(), Chance::new(8).uuid());
    }
}
