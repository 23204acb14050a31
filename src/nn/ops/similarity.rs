//! How alike vectors are: rows of length 1, their products, and the loss that wants them in order.

use candle_core::{Result, Tensor, WithDType, bail};

use super::tensor::{Slice, by_dtype};
use crate::nn::Real;
use crate::nn::parallel::{for_rows, rows_per_piece, written};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{dot, each_with, each_with2, simd};

/// A shorter vector is divided by this instead of by its length.
const SHORTEST: f64 = 1e-12;

/// `x` `[rows, columns]`; returns every row divided by its length.
pub fn normalize(tape: &Tape, x: &Tensor) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    let width = columns.max(1);
    let y = by_dtype!(x, T => {
        let values = Slice::<T>::new(x)?;
        let values = values.get();
        let y = written(rows * columns, |y| {
            for_rows(y, columns, rows_per_piece(columns), |start, y| {
                for (row, y) in y.chunks_exact_mut(width).enumerate() {
                    let x = &values[(start + row) * columns..][..columns];
                    simd(#[inline(always)] || {
                        let factor = T::of(1.0 / length(x));
                        each_with(y, x, |_, x| x * factor);
                    });
                }
            });
        });
        Tensor::from_vec(y, (rows, columns), x.device())?
    });
    if tape.needs(&[x], []) {
        let (x, unit) = (x.clone(), y.clone());
        tape.record(&y, move |dy, gradients| {
            let id = x.id();
            let dx = by_dtype!(dy, T => {
                let dy = dy.get::<T>()?;
                let (x, unit) = (Slice::<T>::new(&x)?, Slice::<T>::new(&unit)?);
                let (x, unit) = (x.get(), unit.get());
                // dx = (dy − y (y·dy)) / |x|
                let dx = written(rows * columns, |dx| {
                    for_rows(dx, columns, rows_per_piece(columns), |start, dx| {
                        for (row, dx) in dx.chunks_exact_mut(width).enumerate() {
                            let at = (start + row) * columns..(start + row + 1) * columns;
                            let (x, y, dy) = (&x[at.clone()], &unit[at.clone()], &dy[at]);
                            simd(#[inline(always)] || {
                                let factor = T::of(1.0 / length(x));
                                let along = dot(y, dy);
                                each_with2(dx, y, dy, |_, y, dy| (dy - y * along) * factor);
                            });
                        }
                    });
                });
                Gradient::new(dx)
            });
            gradients.add(id, dx)
        });
    }
    Ok(y)
}

#[inline(always)]
fn length<T: Real>(x: &[T]) -> f64 {
    dot(x, x).to_f64().sqrt().max(SHORTEST)
}

/// [`normalize`] of candle's primitives.
pub fn normalize_reference(x: &Tensor) -> Result<Tensor> {
    x.broadcast_div(&x.sqr()?.sum_keepdim(1)?.sqrt()?)
}

/// Products of the rows of `x` `[rows, columns]` that stand beside each other in `left` and `right`;
/// returns `[pairs]`. Fails on a row that is not there.
pub fn pair_products(tape: &Tape, x: &Tensor, left: &[usize], right: &[usize]) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    check_rows(rows, &[left, right])?;
    if left.len() != right.len() {
        bail!("products: {} rows beside {}", left.len(), right.len())
    }
    let y = by_dtype!(x, T => {
        let values = Slice::<T>::new(x)?;
        let row = |row: usize| &values.get()[row * columns..][..columns];
        let products = left.iter().zip(right).map(|(a, b)| dot(row(*a), row(*b)));
        Tensor::from_vec(products.collect::<Vec<T>>(), left.len(), x.device())?
    });
    if tape.needs(&[x], []) {
        let (x, left, right) = (x.clone(), left.to_vec(), right.to_vec());
        tape.record(&y, move |dy, gradients| {
            let id = x.id();
            let dx = by_dtype!(dy, T => {
                let dy = dy.get::<T>()?;
                let values = Slice::<T>::new(&x)?;
                let row = |row: usize| &values.get()[row * columns..][..columns];
                let mut dx = vec![<T as Real>::ZERO; rows * columns];
                for ((a, b), &dy) in left.iter().zip(&right).zip(dy) {
                    each_with(&mut dx[a * columns..][..columns], row(*b), |sum, x| sum + x * dy);
                    each_with(&mut dx[b * columns..][..columns], row(*a), |sum, x| sum + x * dy);
                }
                Gradient::new(dx)
            });
            gradients.add(id, dx)
        });
    }
    Ok(y)
}

/// [`pair_products`] of candle's primitives.
pub fn pair_products_reference(x: &Tensor, left: &[usize], right: &[usize]) -> Result<Tensor> {
    (rows_of(x, left)? * rows_of(x, right)?)?.sum(1)
}

/// Products of every row of `x` `[rows, columns]` in `left` with every one in `right`, times `scale`;
/// returns `[left, right]`. Fails on a row that is not there.
pub fn all_products(
    tape: &Tape,
    x: &Tensor,
    left: &[usize],
    right: &[usize],
    scale: f64,
) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    check_rows(rows, &[left, right])?;
    let y = by_dtype!(x, T => {
        let values = Slice::<T>::new(x)?;
        let values = values.get();
        let row = |row: usize| &values[row * columns..][..columns];
        let factor = T::of(scale);
        let y = written(left.len() * right.len(), |y| {
            for_rows(y, right.len(), 1, |start, y| {
                for (place, y) in y.chunks_exact_mut(right.len().max(1)).enumerate() {
                    let own = row(left[start + place]);
                    simd(#[inline(always)] || {
                        for (y, other) in y.iter_mut().zip(right) {
                            *y = dot(own, row(*other)) * factor;
                        }
                    });
                }
            });
        });
        Tensor::from_vec(y, (left.len(), right.len()), x.device())?
    });
    if tape.needs(&[x], []) {
        let (x, left, right) = (x.clone(), left.to_vec(), right.to_vec());
        tape.record(&y, move |dy, gradients| {
            let id = x.id();
            let dx = by_dtype!(dy, T => {
                let dy = dy.get::<T>()?;
                let values = Slice::<T>::new(&x)?;
                let values = values.get();
                // For each row the places that it has on either side, so that rows can be summed by
                // themselves, each in a fixed order.
                let mut places = vec![(Vec::new(), Vec::new()); rows];
                left.iter().enumerate().for_each(|(at, row)| places[*row].0.push(at));
                right.iter().enumerate().for_each(|(at, row)| places[*row].1.push(at));
                let mut dx = vec![<T as Real>::ZERO; rows * columns];
                for_rows(&mut dx, columns, 1, |start, dx| {
                    for (row, dx) in dx.chunks_exact_mut(columns.max(1)).enumerate() {
                        let (as_left, as_right) = &places[start + row];
                        let mut add = |other: usize, dy: T| {
                            let factor = T::of(scale) * dy;
                            let other = &values[other * columns..][..columns];
                            simd(#[inline(always)] || {
                                each_with(dx, other, |sum, x| sum + x * factor);
                            });
                        };
                        for at in as_left {
                            for (place, other) in right.iter().enumerate() {
                                add(*other, dy[at * right.len() + place]);
                            }
                        }
                        for at in as_right {
                            for (place, other) in left.iter().enumerate() {
                                add(*other, dy[place * right.len() + at]);
                            }
                        }
                    }
                });
                Gradient::new(dx)
            });
            gradients.add(id, dx)
        });
    }
    Ok(y)
}

/// [`all_products`] of candle's primitives.
pub fn all_products_reference(
    x: &Tensor,
    left: &[usize],
    right: &[usize],
    scale: f64,
) -> Result<Tensor> {
    rows_of(x, left)?.matmul(&rows_of(x, right)?.t()?)?.affine(scale, 0.0)
}

/// `cosines` and `scores` of one length. Returns a scalar:
/// ln(1 + Σ over pairs with a lower score i and a higher one j of e^(scale·(cosine_i − cosine_j))),
/// times `factor`. Source: Su, "CoSENT" (2022), as sentence-transformers has it.
pub fn cosent(
    tape: &Tape,
    cosines: &Tensor,
    scores: &[f32],
    scale: f64,
    factor: f64,
) -> Result<Tensor> {
    check_scores(cosines, scores)?;
    by_dtype!(cosines, T => {
        let slice = Slice::<T>::new(cosines)?;
        let wide: Vec<f64> = slice.get().iter().map(|cosine| cosine.to_f64()).collect();
        let (value, gradient) = ordered(&wide, scores, scale);
        let loss = Tensor::from_vec(vec![T::of(value * factor)], (), cosines.device())?;
        if tape.needs(&[cosines], []) {
            let id = cosines.id();
            tape.record(&loss, move |by, gradients| {
                let by = by.get::<T>()?.first().map_or(1.0, |by| by.to_f64());
                let scaled = gradient.iter().map(|slope| T::of(slope * factor * by));
                gradients.add(id, Gradient::new(scaled.collect::<Vec<T>>()))
            });
        }
        Ok(loss)
    })
}

/// The value of [`cosent`] with a factor of 1, and its gradient.
pub fn ordered(cosines: &[f64], scores: &[f32], scale: f64) -> (f64, Vec<f64>) {
    let pairs = || {
        pairs_in_order(scores)
            .map(|(low, high)| (low, high, scale * (cosines[low] - cosines[high])))
    };
    // The 1 is e^0.
    let most = pairs().map(|(.., power)| power).fold(0.0, f64::max);
    let total = pairs().map(|(.., power)| (power - most).exp()).sum::<f64>() + (-most).exp();
    let mut gradient = vec![0.0; cosines.len()];
    for (low, high, power) in pairs() {
        let slope = scale * (power - most).exp() / total;
        gradient[low] += slope;
        gradient[high] -= slope;
    }
    (most + total.ln(), gradient)
}

/// The pairs of places of which the first has the lower score.
fn pairs_in_order(scores: &[f32]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let all = scores.iter().enumerate();
    all.flat_map(move |(low, score)| {
        let higher = scores.iter().enumerate().filter(move |(_, other)| score < *other);
        higher.map(move |(high, _)| (low, high))
    })
}

/// [`cosent`] of candle's primitives.
pub fn cosent_reference(
    cosines: &Tensor,
    scores: &[f32],
    scale: f64,
    factor: f64,
) -> Result<Tensor> {
    check_scores(cosines, scores)?;
    let (low, high): (Vec<usize>, Vec<usize>) = pairs_in_order(scores).unzip();
    let own = cosines.unsqueeze(1)?;
    let nothing = own.narrow(0, 0, 1)?.affine(0.0, 0.0)?;
    let powers = match low.is_empty() {
        true => nothing,
        false => {
            let differences = (rows_of(&own, &low)? - rows_of(&own, &high)?)?.affine(scale, 0.0)?;
            Tensor::cat(&[nothing, differences], 0)?
        }
    };
    let most = powers.max_keepdim(0)?.detach();
    let total = powers.broadcast_sub(&most)?.exp()?.sum_keepdim(0)?;
    (total.log()? + most)?.sum_all()?.affine(factor, 0.0)
}

fn rows_of(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let rows: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
    x.index_select(&Tensor::from_slice(&rows, rows.len(), x.device())?, 0)
}

fn check_rows(rows: usize, lists: &[&[usize]]) -> Result<()> {
    match lists.iter().flat_map(|list| list.iter()).find(|row| **row >= rows) {
        Some(row) => bail!("products: row {row} of {rows}"),
        None => Ok(()),
    }
}

fn check_scores(cosines: &Tensor, scores: &[f32]) -> Result<()> {
    if cosines.dims1()? != scores.len() || scores.is_empty() {
        bail!("cosent: {} scores for {:?} cosines", scores.len(), cosines.dims())
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, flat, silent, tensor};
    use crate::nn::ops::loss;

    #[test]
    fn rows_of_length_one_agree_with_their_reference() {
        for shape in [[1, 1], [3, 5], [40, 33]] {
            Check::new("normalize")
                .input(&shape)
                .run(|t, x, _| normalize(t, &x[0]), |x, _| normalize_reference(&x[0]));
        }
        let zero = Tensor::zeros((1, 3), candle_core::DType::F32, &candle_core::Device::Cpu);
        assert_eq!(flat(&normalize(&silent(), &zero.unwrap()).unwrap()), [0.0; 3]);
    }

    #[test]
    fn products_agree_with_their_references() {
        let (left, right) = ([0, 2, 4, 2], [1, 3, 0, 2]);
        Check::new("pair_products").input(&[5, 7]).run(
            |t, x, _| pair_products(t, &x[0], &left, &right),
            |x, _| pair_products_reference(&x[0], &left, &right),
        );
        let (left, right) = ([0, 2, 4], [1, 3, 0, 2, 5]);
        Check::new("all_products").input(&[6, 33]).run(
            |t, x, _| all_products(t, &x[0], &left, &right, 3.0),
            |x, _| all_products_reference(&x[0], &left, &right, 3.0),
        );
        let x = tensor(&[2, 3], 0);
        assert!(pair_products(&silent(), &x, &[2], &[0]).is_err());
        assert!(pair_products(&silent(), &x, &[1, 0], &[0]).is_err());
        assert!(all_products(&silent(), &x, &[0], &[2], 1.0).is_err());
    }

    #[test]
    fn cosent_agrees_with_its_reference_and_with_values_by_hand() {
        let scores = [0.5, 3.0, 1.0, 3.0, 0.5];
        Check::new("cosent").input(&[5]).run(
            |t, x, _| cosent(t, &x[0], &scores, 2.0, 1.5),
            |x, _| cosent_reference(&x[0], &scores, 2.0, 1.5),
        );
        let x = tensor(&[2], 0);
        // Equal scores have no order; two that are far apart in the right one cost nothing.
        assert_eq!(flat(&cosent(&silent(), &x, &[1.0, 1.0], 20.0, 1.0).unwrap()), [0.0]);
        assert!(ordered(&[-1.0, 1.0], &[0.0, 1.0], 20.0).0 < 1e-17);
        assert!((ordered(&[0.25, 0.25], &[0.0, 1.0], 20.0).0 - 2f64.ln()).abs() < 1e-12);
        assert!(cosent(&silent(), &x, &[1.0], 20.0, 1.0).is_err());
    }

    /// Numbers of PyTorch 2.15 in 64 bits, from the formulas of sentence-transformers 5: cosine scores
    /// times 20 and `CrossEntropyLoss`; `MSELoss` of `cosine_similarity`; `CoSENTLoss`. The vectors are
    /// sin(1 + 3·row + 7·column) of 4 columns, rows 0 to 2 texts, 3 to 5 their partners, 6 to 8 negatives.
    #[test]
    fn losses_and_gradients_are_those_of_pytorch() {
        let values = (0..36).map(|at| f64::from(1 + 3 * (at / 4) + 7 * (at % 4)).sin()).collect();
        let x = Tensor::from_vec::<_, f64>(values, (9, 4), &candle_core::Device::Cpu).unwrap();
        let (texts, partners, others) = ([0, 1, 2], [3, 4, 5], [3, 4, 5, 6, 7, 8]);
        let scores = [0.2, 0.9, 0.4];
        type Loss<'a> = &'a dyn Fn(&Tape, &Tensor) -> Result<Tensor>;
        let in_batch: Loss = &|tape, unit| {
            let products = all_products(tape, unit, &texts, &others, 20.0)?;
            loss::cross_entropy(tape, &products, &[0, 1, 2], None, 0.0, 3.0)
        };
        let cosine: Loss = &|tape, unit| {
            loss::mse(tape, &pair_products(tape, unit, &texts, &partners)?, &scores, 3.0)
        };
        let in_order: Loss = &|tape, unit| {
            cosent(tape, &pair_products(tape, unit, &texts, &partners)?, &scores, 20.0, 1.0)
        };
        // The value, the norm of the gradient, and Σ place · gradient.
        let cases = [
            ("in batch", in_batch, [37.321475810181674, 8.29651625059799, 18.31018197828074]),
            ("cosine", cosine, [2.1209686917319392, 0.607062975524528, -0.29581170598432327]),
            ("cosent", in_order, [1.4030049472183954, 5.183257823951995, -34.314763733993324]),
        ];
        for (name, loss, expected) in cases {
            let tape = Tape::recording(crate::nn::tape::Precision::F32);
            tape.watch(&x);
            let value = loss(&tape, &normalize(&tape, &x).unwrap()).unwrap();
            let gradient = tape.backward_from_loss(&value).unwrap().take(&x).unwrap();
            let gradient = gradient.get::<f64>().unwrap();
            let norm = gradient.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
            let weighted = gradient.iter().zip(0..).map(|(slope, at)| slope * f64::from(at)).sum();
            let found: [f64; 3] = [flat(&value)[0], norm, weighted];
            for (found, expected) in found.iter().zip(expected) {
                // Scores are given in 32 bits.
                let off = (found - expected).abs() / expected.abs();
                assert!(off < 1e-6, "{name}: {found} and {expected}");
            }
        }
    }
}
