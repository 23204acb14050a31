//! Counter-based randomness: Philox 4x32-10. Every draw is addressed; there is no state.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).

/// What a stream is drawn for. The numbers are part of every result: never reuse or change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Purpose {
    /// The order of the rows of an epoch.
    DataOrder = 1,
    /// Which units are dropped.
    Dropout = 2,
    /// First values of new parameters.
    Init = 3,
    /// Which rows go to which part.
    Split = 4,
    /// Which rows are drawn.
    Sample = 5,
    /// Resampled rows of an interval.
    Bootstrap = 6,
    /// Which tokens are masked, and by what.
    Masking = 7,
    /// Tokens drawn while a text is generated.
    Generation = 8,
    /// Which settings a search tries.
    Search = 9,
    /// How texts are changed.
    Augment = 12,
    /// Noise on embeddings.
    Noise = 13,
}

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// One block of Philox 4x32-10: 128 random bits, a function of `counter` and `key` alone.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [[a], [b], [c], [d]] = philox_lanes(counter.map(|word| [word]), key);
    [a, b, c, d]
}

/// `N` blocks at once, word by word: `counter[i][lane]`. The loops over lanes vectorise.
#[inline(always)]
pub fn philox_lanes<const N: usize>(counter: [[u32; N]; 4], key: [u32; 2]) -> [[u32; N]; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        for lane in 0..N {
            let even = u64::from(c0[lane]) * u64::from(MULTIPLIERS[0]);
            let odd = u64::from(c2[lane]) * u64::from(MULTIPLIERS[1]);
            c0[lane] = (odd >> 32) as u32 ^ c1[lane] ^ k0;
            c1[lane] = odd as u32;
            c2[lane] = (even >> 32) as u32 ^ c3[lane] ^ k1;
            c3[lane] = even as u32;
        }
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// All draws of one seed for one purpose, addressed by `update` (the number of an update, an epoch
/// or a tensor, below 2^48) and `element` (a place within it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream {
    pub seed: u64,
    pub purpose: Purpose,
}

impl Stream {
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { seed, purpose }
    }

    /// The 128 bits at an address.
    pub fn bits(&self, update: u64, element: u64) -> [u32; 4] {
        let tag = (u32::from(self.purpose as u16) << 16) | ((update >> 32) as u32 & 0xFFFF);
        philox([element as u32, (element >> 32) as u32, update as u32, tag], split(self.seed))
    }

    pub fn uniform_u32(&self, update: u64, element: u64) -> u32 {
        self.bits(update, element)[0]
    }

    pub fn uniform_u64(&self, update: u64, element: u64) -> u64 {
        let [low, high, ..] = self.bits(update, element);
        (u64::from(high) << 32) | u64::from(low)
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    pub fn uniform_f32(&self, update: u64, element: u64) -> f32 {
        (self.uniform_u32(update, element) >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    pub fn uniform_f64(&self, update: u64, element: u64) -> f64 {
        unit_f64(self.uniform_u64(update, element))
    }

    /// From the standard normal distribution (Box–Muller).
    pub fn normal(&self, update: u64, element: u64) -> f64 {
        let [a, b, c, d] = self.bits(update, element);
        // In (0, 1], so that the logarithm is finite.
        let radius = 1.0 - unit_f64((u64::from(b) << 32) | u64::from(a));
        let angle = unit_f64((u64::from(d) << 32) | u64::from(c));
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// A whole number in `0..bound`. The bias is below `bound` / 2^64. `bound` 0 gives 0.
    pub fn below(&self, bound: u64, update: u64, element: u64) -> u64 {
        let wide = u128::from(self.uniform_u64(update, element)) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// An order of `0..count`: a function of seed, purpose, `epoch` and `count` alone
    /// (Fisher–Yates).
    pub fn permutation(&self, count: u32, epoch: u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count).collect();
        for last in (1..count).rev() {
            let other = self.below(u64::from(last) + 1, epoch, u64::from(last));
            order.swap(last as usize, other as usize);
        }
        order
    }
}

/// A 64-bit number as the two words of a key.
pub fn split(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

fn unit_f64(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors of Random123's `kat_vectors` for philox4x32-10.
    #[test]
    fn philox_gives_the_published_answers() {
        let ones = u32::MAX;
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([ones; 4], [ones; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox(counter, key), expected);
        }
    }

    #[test]
    fn lanes_equal_single_blocks() {
        let counter: [[u32; 5]; 4] =
            std::array::from_fn(|word| std::array::from_fn(|lane| (word * 1000 + lane * 7) as u32));
        let lanes = philox_lanes(counter, [3, 4]);
        for lane in 0..5 {
            let single = philox(counter.map(|word| word[lane]), [3, 4]);
            assert_eq!(lanes.map(|word| word[lane]), single);
        }
    }

    #[test]
    fn a_permutation_holds_every_number_once_and_depends_on_seed_and_epoch() {
        let stream = Stream::new(7, Purpose::DataOrder);
        for count in [0, 1, 2, 17, 1000] {
            let mut order = stream.permutation(count, 3);
            order.sort_unstable();
            assert_eq!(order, (0..count).collect::<Vec<_>>());
        }
        let order = stream.permutation(100, 0);
        assert_eq!(order, stream.permutation(100, 0));
        assert_ne!(order, stream.permutation(100, 1));
        assert_ne!(order, Stream::new(8, Purpose::DataOrder).permutation(100, 0));
        assert_ne!(order, Stream::new(7, Purpose::Split).permutation(100, 0));
    }

    /// Every first place is equally likely: chi-square with 9 degrees of freedom, 99.9 % at 27.9.
    #[test]
    fn permutations_are_fair() {
        let mut counts = [0.0f64; 10];
        for epoch in 0..5000 {
            let first = Stream::new(1, Purpose::DataOrder).permutation(10, epoch)[0];
            counts[first as usize] += 1.0;
        }
        let chi_square: f64 = counts.iter().map(|count| (count - 500.0).powi(2) / 500.0).sum();
        assert!(chi_square < 27.9, "{chi_square}");
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let stream = Stream::new(42, Purpose::Init);
        let n = 40_000;
        let draws: Vec<f64> = (0..n).map(|element| stream.normal(0, element)).collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / n as f64;
        // Four standard errors: 1/sqrt(n) and sqrt(2/n).
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.0283, "{variance}");
    }

    #[test]
    fn bounds_are_kept() {
        let stream = Stream::new(0, Purpose::Sample);
        for element in 0..1000 {
            assert!(stream.below(3, 0, element) < 3);
            assert!((0.0..1.0).contains(&stream.uniform_f32(0, element)));
            assert!((0.0..1.0).contains(&stream.uniform_f64(0, element)));
        }
        assert_eq!(stream.below(0, 0, 0), 0);
    }
}
