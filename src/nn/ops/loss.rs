//! Losses. Each is a sum over the rows given, divided by a denominator that the caller computes over
//! the *whole* update, so that cutting an update into micro-batches changes nothing. The gradient is
//! computed together with the value.

use candle_core::{D, Result, Tensor, WithDType, bail};

use rayon::prelude::*;

use super::tensor::{Slice, by_dtype};
use crate::nn::Real;
use crate::nn::parallel::written;
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{self, each, each_with, simd};

/// A target that is not supervised.
pub const IGNORED: i64 = -100;

/// `logits` `[n, classes]`, `targets` `[n]`: a class, or −100 for what is not supervised. Returns a
/// scalar: Σ over rows of (1 − ε)·w_y·(−log p_y) + ε/C·Σ_c w_c·(−log p_c), over `denominator`, with
/// ε `label_smoothing` and w `class_weights` (1 without).
///
/// With the denominator Σ w_y over supervised rows this is PyTorch's `CrossEntropyLoss`. Fails on a
/// target that is no class and on a denominator that is not positive.
pub fn cross_entropy(
    tape: &Tape,
    logits: &Tensor,
    targets: &[i64],
    class_weights: Option<&[f32]>,
    label_smoothing: f64,
    denominator: f64,
) -> Result<Tensor> {
    let (rows, classes) = check_classes(logits, targets, class_weights, denominator)?;
    let share = label_smoothing / classes as f64;
    let weight = |class: usize| class_weights.map_or(1.0, |weights| f64::from(weights[class]));
    let share_of_all: f64 = (0..classes).map(|class| share * weight(class)).sum();
    by_dtype!(logits, T => {
        let slice = Slice::<T>::new(logits)?;
        let of_row = |logits: &[T], target: usize, gradient: &mut [T]| {
            let (total, log_sum) = simd(
                #[inline(always)]
                || {
                    let most = vector::max(logits);
                    each_with(gradient, logits, |_, x| (x - most).exp());
                    let sum = vector::sum(gradient, |x| x);
                    let own = (1.0 - label_smoothing) * weight(target);
                    let total = share_of_all + own;
                    let factor = T::of(total / (sum.to_f64() * denominator));
                    each(gradient, |x| x * factor);
                    gradient[target] -= T::of(own / denominator);
                    (total, most.to_f64() + sum.to_f64().ln())
                },
            );
            // Σ_c wanted_c · (log_sum − x_c)
            let own = total - share_of_all;
            let mut loss = total * log_sum - own * logits[target].to_f64();
            if share > 0.0 {
                for (class, (gradient, logit)) in gradient.iter_mut().zip(logits).enumerate() {
                    let wanted = share * weight(class);
                    loss -= wanted * logit.to_f64();
                    *gradient -= T::of(wanted / denominator);
                }
            }
            loss
        };
        let values = slice.get();
        let logits_of = |row: usize| &values[row * classes..][..classes];
        let mut losses = vec![0.0f64; rows];
        let gradient = written(rows * classes, |gradient| {
            gradient
                .par_chunks_mut(classes)
                .zip(&mut losses)
                .enumerate()
                .for_each(|(row, (gradient, loss))| match usize::try_from(targets[row]) {
                    Ok(target) => *loss = of_row(logits_of(row), target, gradient),
                    Err(_) => gradient.fill(T::ZERO),
                });
        });
        // In the order of the rows, whatever thread computed them.
        let sum: f64 = losses.iter().sum();
        scalar(tape, logits, T::of(sum / denominator), gradient)
    })
}

/// [`cross_entropy`] of candle's primitives.
pub fn cross_entropy_reference(
    logits: &Tensor,
    targets: &[i64],
    class_weights: Option<&[f32]>,
    label_smoothing: f64,
    denominator: f64,
) -> Result<Tensor> {
    let (rows, classes) = check_classes(logits, targets, class_weights, denominator)?;
    let mut wanted = vec![0.0; rows * classes];
    for (wanted, &target) in wanted.chunks_exact_mut(classes).zip(targets) {
        let Ok(target) = usize::try_from(target) else { continue };
        for (class, wanted) in wanted.iter_mut().enumerate() {
            let weight = class_weights.map_or(1.0, |weights| f64::from(weights[class]));
            let hit = if class == target { 1.0 - label_smoothing } else { 0.0 };
            *wanted = weight * (hit + label_smoothing / classes as f64);
        }
    }
    let wanted = Tensor::from_vec(wanted, (rows, classes), logits.device())?;
    // Shifting by a constant changes neither the value nor the gradient.
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let log_p = shifted.broadcast_sub(&log_sum)?;
    (log_p * wanted.to_dtype(logits.dtype())?)?.sum_all()?.affine(-1.0 / denominator, 0.0)
}

/// Cross entropy over the units of a row: `logits` `[units, columns]`, `starts` `[rows + 1]` says
/// where the units of each row start, `targets` `[rows, columns]` which of the row's units is meant in
/// each column, or −100. Returns a scalar: Σ over rows and columns of −log softmax(units)_target, over
/// `denominator`.
///
/// Answers have two columns, first and last token; choices have one. Fails on a target that is no
/// unit of its row and on a denominator that is not positive.
pub fn segment_cross_entropy(
    tape: &Tape,
    logits: &Tensor,
    starts: &[usize],
    targets: &[i64],
    denominator: f64,
) -> Result<Tensor> {
    let columns = check_segments(logits, starts, targets, denominator)?;
    by_dtype!(logits, T => {
        let slice = Slice::<T>::new(logits)?;
        let values = slice.get();
        let mut gradient = vec![<T as Real>::ZERO; values.len()];
        let mut sum = 0.0;
        for (row, units) in starts.windows(2).enumerate() {
            for column in 0..columns {
                let Ok(target) = usize::try_from(targets[row * columns + column]) else { continue };
                let places = (units[0]..units[1]).map(|unit| unit * columns + column);
                let logit = |place: usize| values[place].to_f64();
                let most = places.clone().map(logit).fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = places.clone().map(|place| (logit(place) - most).exp()).sum();
                let own = (units[0] + target) * columns + column;
                sum += most + total.ln() - logit(own);
                for place in places {
                    let hit = if place == own { 1.0 } else { 0.0 };
                    let p = (logit(place) - most).exp() / total;
                    gradient[place] = T::of((p - hit) / denominator);
                }
            }
        }
        scalar(tape, logits, T::of(sum / denominator), gradient)
    })
}

/// [`segment_cross_entropy`] of candle's primitives.
pub fn segment_cross_entropy_reference(
    logits: &Tensor,
    starts: &[usize],
    targets: &[i64],
    denominator: f64,
) -> Result<Tensor> {
    let columns = check_segments(logits, starts, targets, denominator)?;
    let mut sum = logits.narrow(0, 0, 1)?.narrow(1, 0, 1)?.affine(0.0, 0.0)?.sum_all()?;
    for (row, units) in starts.windows(2).enumerate() {
        for column in 0..columns {
            let Ok(target) = usize::try_from(targets[row * columns + column]) else { continue };
            let own = logits.narrow(0, units[0], units[1] - units[0])?.narrow(1, column, 1)?;
            let shifted = own.broadcast_sub(&own.max_keepdim(0)?.detach())?;
            let log_sum = shifted.exp()?.sum_all()?.log()?;
            sum = (sum + (log_sum - shifted.narrow(0, target, 1)?.sum_all()?)?)?;
        }
    }
    sum.affine(1.0 / denominator, 0.0)
}

/// `logits`, `targets` `[n, classes]`, targets in [0, 1] or NaN where nothing is known, row by row.
/// Returns a scalar, over what is known:
/// Σ (max(x, 0) − x·y + ln(1 + e^−|x|)) / `denominator`.
pub fn bce_with_logits(
    tape: &Tape,
    logits: &Tensor,
    targets: &[f32],
    denominator: f64,
) -> Result<Tensor> {
    check_values(logits, targets, denominator)?;
    elementwise(tape, logits, targets, denominator, |x, y| {
        if y.is_nan() {
            return (0.0, 0.0);
        }
        let value = x.max(0.0) - x * y + (-x.abs()).exp().ln_1p();
        (value, 1.0 / (1.0 + (-x).exp()) - y)
    })
}

/// [`bce_with_logits`] of candle's primitives.
pub fn bce_with_logits_reference(
    logits: &Tensor,
    targets: &[f32],
    denominator: f64,
) -> Result<Tensor> {
    check_values(logits, targets, denominator)?;
    let known: Vec<f32> =
        targets.iter().map(|target| f32::from(u8::from(!target.is_nan()))).collect();
    let zeros: Vec<f32> =
        targets.iter().map(|target| if target.is_nan() { 0.0 } else { *target }).collect();
    let (known, targets) = (like(logits, &known)?, like(logits, &zeros)?);
    let softplus = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    let value = ((logits.relu()? - (logits * targets)?)? + softplus)?;
    (value * known)?.sum_all()? / denominator
}

/// `predictions` and `targets` of one length. Returns a scalar: Σ (x − y)² / `denominator`.
pub fn mse(tape: &Tape, predictions: &Tensor, targets: &[f32], denominator: f64) -> Result<Tensor> {
    check_values(predictions, targets, denominator)?;
    elementwise(tape, predictions, targets, denominator, |x, y| ((x - y) * (x - y), 2.0 * (x - y)))
}

/// [`mse`] of candle's primitives.
pub fn mse_reference(predictions: &Tensor, targets: &[f32], denominator: f64) -> Result<Tensor> {
    check_values(predictions, targets, denominator)?;
    (predictions - like(predictions, targets)?)?.sqr()?.sum_all()? / denominator
}

fn check_classes(
    logits: &Tensor,
    targets: &[i64],
    class_weights: Option<&[f32]>,
    denominator: f64,
) -> Result<(usize, usize)> {
    let (rows, classes) = logits.dims2()?;
    if classes == 0 {
        bail!("cross entropy: no classes")
    }
    if targets.len() != rows {
        bail!("cross entropy: {} targets for {rows} rows", targets.len())
    }
    let known = |target: i64| usize::try_from(target).is_ok_and(|target| target < classes);
    if let Some(target) = targets.iter().find(|target| **target != IGNORED && !known(**target)) {
        bail!("cross entropy: target {target} is not one of {classes} classes")
    }
    if let Some(weights) = class_weights
        && weights.len() != classes
    {
        bail!("cross entropy: {} class weights for {classes} classes", weights.len())
    }
    check_denominator(denominator)?;
    Ok((rows, classes))
}

/// The number of columns.
fn check_segments(
    logits: &Tensor,
    starts: &[usize],
    targets: &[i64],
    denominator: f64,
) -> Result<usize> {
    let (units, columns) = logits.dims2()?;
    let rows = starts.len().saturating_sub(1);
    if !starts.is_sorted() || starts.last().is_none_or(|end| *end > units) {
        bail!("cross entropy: rows of {:?} units for {units}", starts.last())
    }
    if targets.len() != rows * columns {
        bail!("cross entropy: {} targets for {rows} rows of {columns} columns", targets.len())
    }
    for (row, own) in targets.chunks_exact(columns.max(1)).enumerate() {
        let length = starts[row + 1] - starts[row];
        let known = |target: i64| usize::try_from(target).is_ok_and(|target| target < length);
        if let Some(target) = own.iter().find(|target| **target != IGNORED && !known(**target)) {
            bail!("cross entropy: target {target} is not one of {length} units of row {row}")
        }
    }
    check_denominator(denominator)?;
    Ok(columns)
}

fn check_values(values: &Tensor, targets: &[f32], denominator: f64) -> Result<()> {
    if values.elem_count() != targets.len() {
        bail!("loss: {} targets for {} values", targets.len(), values.elem_count())
    }
    check_denominator(denominator)
}

fn check_denominator(denominator: f64) -> Result<()> {
    if !(denominator > 0.0 && denominator.is_finite()) {
        bail!("loss: a denominator of {denominator}: nothing is supervised")
    }
    Ok(())
}

fn like(tensor: &Tensor, values: &[f32]) -> Result<Tensor> {
    Tensor::from_slice(values, tensor.shape(), tensor.device())?.to_dtype(tensor.dtype())
}

/// Σ f(x, y).0 / denominator, whose gradient is f(x, y).1 / denominator.
fn elementwise(
    tape: &Tape,
    values: &Tensor,
    targets: &[f32],
    denominator: f64,
    f: impl Fn(f64, f64) -> (f64, f64),
) -> Result<Tensor> {
    by_dtype!(values, T => {
        let slice = Slice::<T>::new(values)?;
        let mut sum = 0.0;
        let mut gradient = Vec::with_capacity(targets.len());
        for (value, &target) in slice.get().iter().zip(targets) {
            let (value, slope) = f(value.to_f64(), f64::from(target));
            sum += value;
            gradient.push(T::of(slope / denominator));
        }
        scalar(tape, values, T::of(sum / denominator), gradient)
    })
}

/// A scalar that depends on `x` with this gradient.
fn scalar<T: Real>(tape: &Tape, x: &Tensor, value: T, mut gradient: Vec<T>) -> Result<Tensor> {
    let loss = Tensor::from_vec(vec![value], (), x.device())?;
    if tape.needs(&[x], []) {
        let x = x.id();
        tape.record(&loss, move |by, gradients| {
            if let [by] = by.get::<T>()?
                && *by != T::ONE
            {
                gradient.iter_mut().for_each(|gradient| *gradient *= *by);
            }
            gradients.add(x, Gradient::new(gradient))
        });
    }
    Ok(loss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, flat, silent, tensor};

    fn targets(rows: usize, classes: usize) -> Vec<i64> {
        (0..rows)
            .map(|row| if row % 5 == 3 { IGNORED } else { (row * 7 % classes) as i64 })
            .collect()
    }

    #[test]
    fn cross_entropy_agrees_with_its_reference() {
        for (rows, classes) in [(1, 2), (17, 3), (257, 33)] {
            let targets = targets(rows, classes);
            let weights: Vec<f32> = (0..classes).map(|class| 0.5 + class as f32).collect();
            for weights in [None, Some(&weights[..])] {
                for smoothing in [0.0, 0.1] {
                    Check::new("cross_entropy").input(&[rows, classes]).run(
                        |t, x, _| cross_entropy(t, &x[0], &targets, weights, smoothing, 3.5),
                        |x, _| cross_entropy_reference(&x[0], &targets, weights, smoothing, 3.5),
                    );
                }
            }
        }
    }

    #[test]
    fn elementwise_losses_agree_with_their_references() {
        for (rows, classes) in [(1, 1), (17, 5), (257, 3)] {
            let targets: Vec<f32> = (0..rows * classes).map(|i| (i % 3) as f32 / 2.0).collect();
            Check::new("bce_with_logits").input(&[rows, classes]).run(
                |t, x, _| bce_with_logits(t, &x[0], &targets, 2.5),
                |x, _| bce_with_logits_reference(&x[0], &targets, 2.5),
            );
            Check::new("mse").input(&[rows * classes]).run(
                |t, x, _| mse(t, &x[0], &targets, 2.5),
                |x, _| mse_reference(&x[0], &targets, 2.5),
            );
        }
    }

    /// By hand: two classes with logits (0, ln 3) have p = (1/4, 3/4).
    #[test]
    fn cross_entropy_by_hand() {
        let logits = Tensor::new(&[[0.0, 3f64.ln()]], &candle_core::Device::Cpu).unwrap();
        let value = |target, weights: Option<&[f32]>, smoothing| {
            let loss =
                cross_entropy(&silent(), &logits, &[target], weights, smoothing, 1.0).unwrap();
            loss.to_scalar::<f64>().unwrap()
        };
        let (ln4, ln43) = (4f64.ln(), (4f64 / 3.0).ln());
        assert!((value(0, None, 0.0) - ln4).abs() < 1e-12);
        assert!((value(1, Some(&[1.0, 2.0]), 0.0) - 2.0 * ln43).abs() < 1e-12);
        let smoothed = 0.8 * 2.0 * ln43 + 0.1 * (ln4 + 2.0 * ln43);
        assert!((value(1, Some(&[1.0, 2.0]), 0.2) - smoothed).abs() < 1e-12);
        assert_eq!(value(IGNORED, None, 0.0), 0.0);
    }

    #[test]
    fn large_logits_do_not_overflow_and_nan_stays() {
        let loss = |values: [f32; 2]| {
            let logits = Tensor::new(&[values], &candle_core::Device::Cpu).unwrap();
            let loss = cross_entropy(&silent(), &logits, &[0], None, 0.0, 1.0).unwrap();
            (
                flat(&loss)[0],
                flat(&bce_with_logits(&silent(), &logits, &[1.0, 0.0], 1.0).unwrap())[0],
            )
        };
        assert_eq!(loss([-1e4, 1e4]), (2e4, 2e4));
        let (ce, bce) = loss([f32::NAN, 0.0]);
        assert!(ce.is_nan() && bce.is_nan());
    }

    /// By hand: equal logits of n units have the loss ln n; an ignored column has none.
    #[test]
    fn rows_choose_among_their_units() {
        let starts = [0, 3, 4, 9];
        let targets = [2, 0, 0, IGNORED, 4, 1];
        Check::new("segment_cross_entropy").input(&[9, 2]).run(
            |t, x, _| segment_cross_entropy(t, &x[0], &starts, &targets, 3.0),
            |x, _| segment_cross_entropy_reference(&x[0], &starts, &targets, 3.0),
        );
        let zeros = Tensor::zeros((9, 2), candle_core::DType::F32, &candle_core::Device::Cpu);
        let loss = segment_cross_entropy(&silent(), &zeros.unwrap(), &starts, &targets, 1.0);
        let wanted = 2.0 * 3f64.ln() + 2.0 * 5f64.ln();
        assert!((flat(&loss.unwrap())[0] - wanted).abs() < 1e-6);
        let x = tensor(&[9, 2], 0);
        let fails = |starts: &[usize], targets: &[i64]| {
            segment_cross_entropy(&silent(), &x, starts, targets, 1.0).is_err()
        };
        assert!(
            fails(&starts, &[3, 0, 0, 0, 0, 0]) && fails(&starts, &[0]) && fails(&[0, 10], &[0, 0])
        );
    }

    #[test]
    fn wrong_targets_are_errors() {
        let logits = tensor(&[2, 3], 0);
        assert!(cross_entropy(&silent(), &logits, &[0], None, 0.0, 1.0).is_err());
        assert!(cross_entropy(&silent(), &logits, &[0, 3], None, 0.0, 1.0).is_err());
        assert!(cross_entropy(&silent(), &logits, &[0, -1], None, 0.0, 1.0).is_err());
        assert!(cross_entropy(&silent(), &logits, &[0, 1], Some(&[1.0]), 0.0, 1.0).is_err());
        assert!(cross_entropy(&silent(), &logits, &[0, 1], None, 0.0, 0.0).is_err());
        assert!(mse(&silent(), &logits, &[0.0], 1.0).is_err());
    }
}
