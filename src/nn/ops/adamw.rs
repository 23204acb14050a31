//! One AdamW update of one weight, in f32 as PyTorch computes it, in one pass over memory.
//! Source: Loshchilov, Hutter, "Decoupled weight decay regularization" (2019); PyTorch, `adamw.py`.

use rayon::prelude::*;

use crate::nn::parallel::sum_f64;
use crate::nn::vector::{each, simd};

/// The settings of one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// The number of this update, counted from 1.
    pub step: u64,
    /// What the gradient is multiplied with first: the factor of clipping.
    pub gradient_factor: f64,
}

const ELEMENTS_PER_PIECE: usize = 32_768;

/// The numbers of one update that every element meets, rounded to f32 where PyTorch rounds them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    kept: f32,
    new1: f32,
    beta2: f32,
    new2: f32,
    step_size: f32,
    correction2: f32,
    eps: f32,
    factor: f32,
    /// 2³⁰ · step_size / eps, see `is_lost`.
    reach: f32,
}

impl AdamW {
    /// Powers by f64, as Python computes them; each is rounded to f32 where it meets a tensor.
    pub fn coefficients(&self) -> Coefficients {
        let correction1 = 1.0 - self.beta1.powf(self.step as f64);
        let correction2 = (1.0 - self.beta2.powf(self.step as f64)).sqrt();
        let (step_size, eps) = ((self.learning_rate / correction1) as f32, self.eps as f32);
        Coefficients {
            kept: (1.0 - self.learning_rate * self.weight_decay) as f32,
            new1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            new2: (1.0 - self.beta2) as f32,
            step_size,
            correction2: correction2 as f32,
            eps,
            factor: self.gradient_factor as f32,
            reach: (f64::from(step_size.abs()) / f64::from(eps) * f64::from(1 << 30)) as f32,
        }
    }
}

impl Coefficients {
    #[inline(always)]
    fn average(&self, m: &mut f32, v: &mut f32, gradient: f32) {
        let gradient = gradient * self.factor;
        *m += self.new1 * (gradient - *m);
        *v = *v * self.beta2 + self.new2 * gradient * gradient;
    }

    #[inline(always)]
    fn descend(&self, decayed: f32, m: f32, v: f32) -> f32 {
        let denominator = v.sqrt() / self.correction2 + self.eps;
        decayed - self.step_size * (m / denominator)
    }

    /// Whether `descend` would change nothing: the denominator is at least eps, so what it subtracts
    /// is less than 2⁻²⁹ of the value, and less than 2⁻²⁶ is rounded away.
    #[inline(always)]
    fn is_lost(&self, decayed: f32, m: f32) -> bool {
        m.abs() * self.reach < decayed.abs()
    }
}

/// Changes `values` and the moving averages `m` and `v` of the gradient and its square. All four have
/// one length. Each element is computed by itself: threads change nothing.
pub fn adamw_step(values: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32], by: &AdamW) {
    let count = values.len();
    assert!(m.len() == count && v.len() == count && gradient.len() == count);
    let by = by.coefficients();
    let pieces = values
        .par_chunks_mut(ELEMENTS_PER_PIECE)
        .zip(m.par_chunks_mut(ELEMENTS_PER_PIECE))
        .zip(v.par_chunks_mut(ELEMENTS_PER_PIECE))
        .zip(gradient.par_chunks(ELEMENTS_PER_PIECE));
    pieces.for_each(|(((values, m), v), gradient)| {
        simd(
            #[inline(always)]
            || {
                let elements = values.iter_mut().zip(m).zip(v).zip(gradient);
                for (((value, m), v), &gradient) in elements {
                    by.average(m, v, gradient);
                    *value = by.descend(*value * by.kept, *m, *v);
                }
            },
        );
    });
}

/// The bits that [`adamw_step`] makes with a gradient of zero and each of `missed` in turn. For
/// slices that fit the first cache; `v` is never negative.
pub fn adamw_replay(values: &mut [f32], m: &mut [f32], v: &mut [f32], missed: &[Coefficients]) {
    assert!(m.len() == values.len() && v.len() == values.len());
    simd(
        #[inline(always)]
        || {
            let mut averages = 0;
            for (m, v) in m.iter().zip(v.iter()) {
                averages |= m.to_bits() | v.to_bits();
            }
            for by in missed {
                if averages == 0 && by.eps > 0.0 {
                    if by.kept != 1.0 {
                        each(values, |value| value * by.kept);
                    }
                    continue;
                }
                let mut all_lost = true;
                for ((value, m), v) in values.iter_mut().zip(m.iter_mut()).zip(v.iter_mut()) {
                    *value *= by.kept;
                    by.average(m, v, 0.0);
                    all_lost &= by.is_lost(*value, *m);
                }
                if !all_lost {
                    for ((value, m), v) in values.iter_mut().zip(m.iter()).zip(v.iter()) {
                        *value = by.descend(*value, *m, *v);
                    }
                }
            }
        },
    );
}

/// Σ x² in f64, in an order that depends on the length alone.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    sum_f64(values, squares)
}

/// Σ x² in f64 over these rows of a matrix of `columns`, in an order that depends on them alone.
pub fn sum_of_squares_in_rows(values: &[f32], columns: usize, rows: &[u32]) -> f64 {
    let row = |row: &u32| squares(&values[*row as usize * columns..][..columns]);
    sum_f64(rows, |rows| rows.iter().map(row).sum())
}

fn squares(piece: &[f32]) -> f64 {
    simd(
        #[inline(always)]
        || {
            let mut lanes = [0.0f64; 16];
            let mut chunks = piece.chunks_exact(16);
            for chunk in &mut chunks {
                for (lane, &x) in lanes.iter_mut().zip(chunk) {
                    *lane += f64::from(x) * f64::from(x);
                }
            }
            for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
                *lane += f64::from(x) * f64::from(x);
            }
            lanes.iter().sum::<f64>()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{in_threads, numbers};

    const BY: AdamW = AdamW {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 1,
        gradient_factor: 0.5,
    };

    /// By hand: in the first update m = 0.1 g and v = 0.001 g², so the step is lr·sign(g).
    #[test]
    fn the_first_update_by_hand() {
        let (mut values, mut m, mut v) = ([1.0f32, -2.0], [0.0; 2], [0.0; 2]);
        adamw_step(&mut values, &mut m, &mut v, &[4.0, -6.0], &BY);
        assert!((values[0] - (0.999 - 0.01)).abs() < 1e-6, "{values:?}");
        assert!((values[1] - (-1.998 + 0.01)).abs() < 1e-6, "{values:?}");
        assert!((m[0] - 0.2).abs() < 1e-6 && (v[0] - 0.004).abs() < 1e-7);
    }

    /// Against the formulas in f64, over 20 updates.
    #[test]
    fn many_updates_agree_with_f64() {
        let count = 70_001;
        let mut values = numbers(count, 0);
        let (mut m, mut v) = (vec![0.0; count], vec![0.0; count]);
        let (mut value64, mut m64, mut v64) = (f64::from(values[count - 1]), 0.0f64, 0.0f64);
        for step in 1..=20 {
            let gradient = numbers(count, step);
            adamw_step(&mut values, &mut m, &mut v, &gradient, &AdamW { step, ..BY });
            let g = f64::from(gradient[count - 1]) * 0.5;
            value64 *= 1.0 - 1e-3;
            m64 = 0.9 * m64 + 0.1 * g;
            v64 = 0.999 * v64 + 0.001 * g * g;
            let denominator = v64.sqrt() / (1.0 - 0.999f64.powi(step as i32)).sqrt() + 1e-8;
            value64 -= 1e-2 / (1.0 - 0.9f64.powi(step as i32)) * m64 / denominator;
        }
        assert!((f64::from(values[count - 1]) - value64).abs() < 1e-5);
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|x| if x.is_nan() { f32::NAN } else { *x }.to_bits()).collect()
    }

    /// Any values and averages; values as they are in training; values that were never updated.
    #[test]
    fn a_replay_makes_the_bits_of_steps_without_a_gradient() {
        let any = |place: usize| f32::from_bits((place as u32).wrapping_mul(2_654_435_761));
        let mut lost = 0;
        for (count, updates) in [(0, 3), (1, 1), (17, 7), (100, 0), (100, 2500), (384, 300)] {
            let usual = numbers(count, 1);
            let (small, gradient) = (vec![0.0; count], numbers(count, 2));
            let starts: [[Vec<f32>; 3]; 3] = [
                [5, 70_000, 900_000].map(|at| (at..at + count).map(any).collect()),
                [&usual, &gradient, &usual].map(|values| values.iter().map(|x| x * 1e-3).collect()),
                [usual, small.clone(), small],
            ];
            for start in &starts {
                for (weight_decay, eps) in [(0.01, 1e-8), (0.0, 1e-8), (0.01, 0.0)] {
                    let by = |step: u64| {
                        let learning_rate = 1e-4 * (1.0 + step as f64 / 700.0);
                        AdamW { learning_rate, weight_decay, eps, step, ..BY }
                    };
                    let [values, m, v] = start.clone();
                    let v = v.iter().map(|x| if x.is_nan() { 1.0 } else { x.abs() }).collect();
                    let (mut one, mut other) = ([values, m, v], Default::default());
                    one.clone_into(&mut other);
                    let [values, m, v] = &mut one;
                    for step in 1..=updates {
                        adamw_step(values, m, v, &vec![0.0; count], &by(step));
                    }
                    let missed: Vec<_> =
                        (1..=updates).map(|step| by(step).coefficients()).collect();
                    let [values, m, v] = &mut other;
                    adamw_replay(values, m, v, &missed);
                    let last = missed.last();
                    let is_lost =
                        |(value, m): (&f32, &f32)| last.is_some_and(|by| by.is_lost(*value, *m));
                    lost += usize::from(count > 0 && values.iter().zip(&*m).all(is_lost));
                    assert_eq!(one.each_ref().map(|x| bits(x)), other.each_ref().map(|x| bits(x)));
                }
            }
        }
        assert!(lost > 0, "no case left the descent out");
    }

    #[test]
    fn threads_change_nothing() {
        let gradient = numbers(100_003, 3);
        let run = || {
            let mut values = numbers(100_003, 1);
            let (mut m, mut v) = (vec![0.1; 100_003], vec![0.2; 100_003]);
            adamw_step(&mut values, &mut m, &mut v, &gradient, &BY);
            (values, m, v, sum_of_squares(&gradient).to_bits())
        };
        assert!(in_threads(1, run) == in_threads(3, run));
    }

    #[test]
    fn sum_of_squares_by_hand() {
        assert_eq!(sum_of_squares(&[]), 0.0);
        assert_eq!(sum_of_squares(&vec![3.0; 40_000]), 360_000.0);
        assert!(sum_of_squares(&[1.0, f32::NAN]).is_nan());
        assert_eq!(sum_of_squares_in_rows(&[1.0, 2.0, 9.0, 9.0, 3.0, 4.0], 2, &[0, 2]), 30.0);
    }
}
