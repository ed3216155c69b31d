//! A small generator of reproducible choices: the same seed makes the same run on every machine and version.

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Seed {
    /// Starts from a number.
    pub fn new(seed: u64) -> Self {
        Seed(seed)
    }

    /// An independent stream for a named part, so that one more choice in one place moves nothing in another.
    pub fn fork(&self, name: &str, number: u64) -> Self {
        // FNV-1a: any mixing will do, as long as it never changes.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.bytes().chain(number.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Seed(self.0 ^ hash)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }

    /// True with probability `percent` / 100.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Puts the elements in a random order.
    pub fn shuffle<T>(&mut self, elements: &mut [T]) {
        for last in (1..elements.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            elements.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let mut one = Seed::new(7).fork("burst", 3);
        let mut two = Seed::new(7).fork("burst", 3);
        assert_eq!(
            (0..9).map(|_| one.next_u64()).collect::<Vec<_>>(),
            (0..9).map(|_| two.next_u64()).collect::<Vec<_>>()
        );
    }

    #[test]
    fn parts_choose_independently() {
        assert_ne!(Seed::new(7).fork("burst", 3).next_u64(), Seed::new(7).fork("burst", 4).next_u64());
    }
}
