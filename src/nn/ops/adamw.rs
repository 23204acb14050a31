//! One AdamW update of one weight, in f32 as PyTorch computes it, in one pass over memory.
//! Source: Loshchilov, Hutter, "Decoupled weight decay regularization" (2019); PyTorch, `adamw.py`.

use rayon::prelude::*;

use crate::nn::parallel::sum_f64;
use crate::nn::vector::simd;

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

/// Changes `values` and the moving averages `m` and `v` of the gradient and its square. All four have
/// one length. Each element is computed by itself: threads change nothing.
pub fn adamw_step(values: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32], by: &AdamW) {
    let count = values.len();
    assert!(m.len() == count && v.len() == count && gradient.len() == count);
    // Powers by f64, as Python computes them; each is rounded to f32 where it meets a tensor.
    let correction1 = 1.0 - by.beta1.powf(by.step as f64);
    let correction2 = (1.0 - by.beta2.powf(by.step as f64)).sqrt();
    let kept = (1.0 - by.learning_rate * by.weight_decay) as f32;
    let (new1, beta2, new2) = ((1.0 - by.beta1) as f32, by.beta2 as f32, (1.0 - by.beta2) as f32);
    let step_size = (by.learning_rate / correction1) as f32;
    let correction2 = correction2 as f32;
    let (eps, factor) = (by.eps as f32, by.gradient_factor as f32);
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
                    let gradient = gradient * factor;
                    *m += new1 * (gradient - *m);
                    *v = *v * beta2 + new2 * gradient * gradient;
                    let denominator = v.sqrt() / correction2 + eps;
                    *value = *value * kept - step_size * (*m / denominator);
                }
            },
        );
    });
}

/// Σ x² in f64, in an order that depends on the length alone.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    sum_f64(values, |piece| {
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
    })
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
    }
}
