//! Dropout. Whether a unit is dropped is a function of its address alone: seed, place in the
//! network, update, the row's place in the whole update, position, unit. So it does not depend on
//! how an update is cut into micro-batches, nor on threads.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

use super::tensor::{Slice, by_dtype};
use crate::base::random::{Purpose, philox, philox_lanes, split};
use crate::nn::Real;
use crate::nn::parallel::{for_rows, rows_per_piece, written};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{each_with, simd};

/// Where a row of a concatenated batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenPlace {
    /// The place of its sequence in the whole update, not in the micro-batch.
    pub row: u32,
    /// Its place in the sequence.
    pub position: u32,
}

/// One use of dropout in one update.
#[derive(Debug, Clone, PartialEq)]
pub struct DropoutAt {
    /// The share that is dropped, in [0, 1); taken as a multiple of 2^-16.
    pub p: f64,
    pub seed: u64,
    /// A number of its own for every place in the network that drops.
    pub site: u32,
    pub update: u64,
    /// One for every row of the tensor (for attention: of the queries).
    pub rows: Arc<[TokenPlace]>,
}

impl DropoutAt {
    /// Fails if `p` is out of range or if there is not one place for each of `rows` rows.
    pub(crate) fn dropper(&self, rows: usize) -> Result<Dropper> {
        if !(0.0..1.0).contains(&self.p) {
            bail!("a share of {} cannot be dropped: it lies in [0, 1)", self.p)
        }
        if self.rows.len() != rows {
            bail!("dropout: {} places for {rows} rows", self.rows.len())
        }
        let dropped = ((self.p * 65_536.0).round() as u32).min(65_535);
        let update = split(self.update);
        let counter = [self.site, update[0], update[1], Purpose::Dropout as u32];
        let [k0, k1, ..] = philox(counter, split(self.seed));
        Ok(Dropper { key: [k0, k1], dropped, scale: 65_536.0 / f64::from(65_536 - dropped) })
    }
}

/// The draws of one [`DropoutAt`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropper {
    key: [u32; 2],
    /// A unit is dropped if its 16 bits are below this.
    dropped: u32,
    scale: f64,
}

/// What a row of units belongs to: a token, or a token as a query of one head (then the units are
/// the positions of the keys).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Row {
    Hidden(TokenPlace),
    Query(TokenPlace, usize),
}

impl Row {
    fn words(self) -> [u32; 3] {
        match self {
            Row::Hidden(place) => [place.position, place.row, 0],
            Row::Query(place, head) => [place.position, place.row, head as u32 + 1],
        }
    }
}

/// Blocks that are computed side by side. Units are numbered so that a vector of this width holds
/// one half-word of each: unit u takes half (u / 8) % 2 of word (u / 16) % 4 of block
/// u / 64 · 8 + u % 8.
const LANES: usize = 8;
pub(super) const UNITS: usize = LANES * 8;

impl Dropper {
    /// Sets `factors[i]` to 0 or to the scale, for the units of one row from `first` on, a multiple of
    /// [`UNITS`].
    #[inline(always)]
    pub fn factors<T: Real>(&self, row: Row, first: usize, factors: &mut [T]) {
        for (group, factors) in (first / UNITS..).zip(factors.chunks_mut(UNITS)) {
            factors.copy_from_slice(&self.group(row, group)[..factors.len()]);
        }
    }

    #[inline(always)]
    fn group<T: Real>(&self, row: Row, group: usize) -> [T; UNITS] {
        let [position, place, head] = row.words();
        let scale = T::of(self.scale);
        let first = (group * LANES) as u32;
        let counter = [
            std::array::from_fn(|lane| first + lane as u32),
            [position; LANES],
            [place; LANES],
            [head; LANES],
        ];
        let words = philox_lanes::<LANES>(counter, self.key);
        let mut drawn = [T::ZERO; UNITS];
        for (word, lanes) in words.iter().enumerate() {
            for lane in 0..LANES {
                let (low, high) = (lanes[lane] & 0xFFFF, lanes[lane] >> 16);
                let factor = |bits| if bits < self.dropped { T::ZERO } else { scale };
                drawn[word * 2 * LANES + lane] = factor(low);
                drawn[(word * 2 + 1) * LANES + lane] = factor(high);
            }
        }
        drawn
    }

    /// Multiplies units of one row, from `first` on, with their factors.
    #[inline(always)]
    pub fn scale<T: Real>(&self, row: Row, first: usize, units: &mut [T]) {
        for (group, units) in (first / UNITS..).zip(units.chunks_mut(UNITS)) {
            let factors = self.group::<T>(row, group);
            each_with(units, &factors, |unit, factor| unit * factor);
        }
    }

    /// One factor, computed by itself: what references use.
    pub fn factor(&self, row: Row, unit: usize) -> f64 {
        let [position, place, head] = row.words();
        let block = unit / UNITS * LANES + unit % LANES;
        let words = philox([block as u32, position, place, head], self.key);
        let word = words[unit / 16 % 4];
        let bits = word >> (unit / 8 % 2 * 16) & 0xFFFF;
        if bits < self.dropped { 0.0 } else { self.scale }
    }
}

/// `x` `[rows, units]`. Drops units and scales up what is kept.
pub fn dropout(tape: &Tape, x: &Tensor, at: &DropoutAt) -> Result<Tensor> {
    let (rows, units) = x.dims2()?;
    let op = Dropout { dropper: at.dropper(rows)?, rows: at.rows.clone() };
    let y = by_dtype!(x, T => {
        let values = Slice::<T>::new(x)?;
        Tensor::from_vec(op.apply::<T>(values.get(), units), x.shape(), x.device())?
    });
    if tape.needs(&[x], []) {
        let x = x.id();
        tape.record(&y, move |dy, gradients| {
            let dx = by_dtype!(dy, T => Gradient::new(op.apply::<T>(dy.get()?, units)));
            gradients.add(x, dx)
        });
    }
    Ok(y)
}

/// [`dropout`] of candle's primitives: a product with [`mask`].
pub fn reference(x: &Tensor, at: &DropoutAt) -> Result<Tensor> {
    let (rows, units) = x.dims2()?;
    let dropper = at.dropper(rows)?;
    let factors: Vec<f64> = at
        .rows
        .iter()
        .flat_map(|place| (0..units).map(|unit| dropper.factor(Row::Hidden(*place), unit)))
        .collect();
    x * Tensor::from_vec(factors, (rows, units), x.device())?.to_dtype(x.dtype())?
}

/// Drops units of `values`, rows of this many units, and scales up what is kept.
pub(super) fn scale_rows<T: Real>(values: &mut [T], units: usize, at: &DropoutAt) -> Result<()> {
    let dropper = at.dropper(values.len() / units.max(1))?;
    for_rows(values, units, rows_per_piece(units), |first, values| {
        simd(
            #[inline(always)]
            || {
                for (row, values) in values.chunks_exact_mut(units.max(1)).enumerate() {
                    dropper.scale(Row::Hidden(at.rows[first + row]), 0, values);
                }
            },
        );
    });
    Ok(())
}

struct Dropout {
    dropper: Dropper,
    rows: Arc<[TokenPlace]>,
}

impl Dropout {
    fn apply<T: Real>(&self, x: &[T], units: usize) -> Vec<T> {
        written(x.len(), |out| {
            for_rows(out, units, rows_per_piece(units), |first, out| {
                simd(
                    #[inline(always)]
                    || {
                        for (row, out) in out.chunks_exact_mut(units.max(1)).enumerate() {
                            let row = first + row;
                            self.dropper.factors(Row::Hidden(self.rows[row]), 0, out);
                            each_with(out, &x[row * units..][..units], |out, x| out * x);
                        }
                    },
                );
            });
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, flat, silent, tensor};
    use candle_core::{DType, Device};

    /// Places of `lengths.len()` sequences, of which the first is number `first` of the update.
    pub fn places(first: u32, lengths: &[usize]) -> Arc<[TokenPlace]> {
        let sequences = lengths.iter().zip(first..);
        sequences
            .flat_map(|(&length, row)| {
                (0..length as u32).map(move |position| TokenPlace { row, position })
            })
            .collect()
    }

    pub fn at(p: f64, site: u32, rows: Arc<[TokenPlace]>) -> DropoutAt {
        DropoutAt { p, seed: 42, site, update: 3, rows }
    }

    #[test]
    fn dropout_agrees_with_its_reference() {
        for (lengths, units) in [(vec![1], 1), (vec![3, 14], 64), (vec![200, 57], 131)] {
            let at = at(0.1, 5, places(0, &lengths));
            Check::new("dropout")
                .input(&[lengths.iter().sum(), units])
                .run(|t, x, _| dropout(t, &x[0], &at), |x, _| reference(&x[0], &at));
        }
    }

    /// Binomial: the standard deviation of the kept share is √(p(1 − p)/n).
    #[test]
    fn the_kept_share_is_right_and_differs_by_address() {
        let ones = Tensor::ones((512, 384), DType::F32, &Device::Cpu).unwrap();
        let rows = places(0, &[512]);
        let mut seen = Vec::new();
        for (p, site) in [(0.1, 0), (0.1, 1), (0.5, 0), (0.9, 0)] {
            let values = flat(&dropout(&silent(), &ones, &at(p, site, rows.clone())).unwrap());
            let n = values.len() as f64;
            let kept = values.iter().filter(|value| **value != 0.0).count() as f64 / n;
            let deviation = (p * (1.0 - p) / n).sqrt();
            assert!((kept - (1.0 - p)).abs() < 4.0 * deviation, "{p}: kept {kept}");
            let scale = values.iter().copied().fold(0.0, f64::max);
            assert!((scale - 1.0 / (1.0 - p)).abs() < 1e-3, "{scale}");
            assert!(!seen.contains(&values));
            seen.push(values);
        }
    }

    #[test]
    fn micro_batches_drop_what_the_whole_update_drops() {
        let lengths: Vec<usize> = (0..32).map(|row| row % 7 + 1).collect();
        let x = tensor(&[lengths.iter().sum(), 40], 1);
        let whole = flat(&dropout(&silent(), &x, &at(0.3, 2, places(0, &lengths))).unwrap());
        let mut parts = Vec::new();
        let mut start = 0;
        for (batch, lengths) in lengths.chunks(8).enumerate() {
            let tokens = lengths.iter().sum();
            let part = x.narrow(0, start, tokens).unwrap();
            let at = at(0.3, 2, places(batch as u32 * 8, lengths));
            parts.extend(flat(&dropout(&silent(), &part, &at).unwrap()));
            start += tokens;
        }
        assert_eq!(whole, parts);
    }

    #[test]
    fn nothing_is_dropped_at_zero_and_wrong_shares_are_errors() {
        let x = tensor(&[3, 5], 1);
        assert_eq!(flat(&dropout(&silent(), &x, &at(0.0, 0, places(0, &[3]))).unwrap()), flat(&x));
        for p in [1.0, -0.1, f64::NAN] {
            assert!(dropout(&silent(), &x, &at(p, 0, places(0, &[3]))).is_err());
        }
        assert!(dropout(&silent(), &x, &at(0.1, 0, places(0, &[4]))).is_err());
    }
}
