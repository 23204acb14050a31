//! Convolution over the tokens of each sequence, as products with unfolded rows: those of a token and
//! its neighbours side by side. What lies outside of a sequence is zero.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::linear::bias_gradient;
use super::tensor::{Slice, by_dtype};
use crate::nn::parallel::{for_rows, rows_per_piece, written};
use crate::nn::product::{Columns, Matrix, Onto};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::{Linear, Offsets, Real};

/// `x` `[tokens, in]`, the layer's weight `[out, in / groups, kernel]` with an odd kernel; returns
/// `[tokens, out]`. Each of the groups of outputs reads its own group of inputs.
pub fn convolution(
    tape: &Tape,
    x: &Tensor,
    layer: &Linear,
    offsets: &Offsets,
    groups: usize,
) -> Result<Tensor> {
    let sizes = Sizes::new(x, layer, offsets, groups)?;
    let y = by_dtype!(x, T => {
        let (values, weight) = (Slice::<T>::new(x)?, Slice::<T>::new(&layer.weight)?);
        let bias = layer.bias.as_ref().map(|bias| Slice::<T>::new(bias)).transpose()?;
        let (weight, bias) = (weight.get(), bias.as_ref().map(Slice::get));
        let unfolded = sizes.unfold(values.get(), offsets);
        let out = written(sizes.tokens * sizes.outputs, |out| {
            let out = Columns::new(out, sizes.outputs);
            sizes.each_group(|group| {
                let onto = bias.map_or(Onto::Nothing, |bias| Onto::Bias(&bias[sizes.out(group)]));
                let columns = out.part(0, sizes.tokens, group * sizes.group_out(), sizes.group_out());
                let left = sizes.columns(&unfolded, group, sizes.group_in());
                // SAFETY: no other group writes to these columns.
                unsafe { sizes.product(&columns, left, sizes.weight(weight, group).transposed(), onto) };
            });
        });
        Tensor::from_vec(out, (sizes.tokens, sizes.outputs), x.device())?
    });
    if tape.needs(&[x], layer.weights()) {
        let (x, tracked) = (x.clone(), tape.tracks(x));
        let (layer, offsets) = (layer.clone(), offsets.clone());
        tape.record(&y, move |dy, gradients| {
            let dx = by_dtype!(dy, T => {
                let dx = backward::<T>(&sizes, &x, &layer, &offsets, dy.get()?, tracked)?;
                dx.map(Gradient::new)
            });
            match dx {
                Some(dx) => gradients.add(x.id(), dx),
                None => Ok(()),
            }
        });
    }
    Ok(y)
}

/// [`convolution`] of candle's primitives.
pub fn reference(x: &Tensor, layer: &Linear, offsets: &Offsets, groups: usize) -> Result<Tensor> {
    let sizes = Sizes::new(x, layer, offsets, groups)?;
    let half = sizes.kernel / 2;
    let mut outputs = Vec::new();
    for range in offsets.ranges() {
        let rows = x.narrow(0, range.start, range.len())?.pad_with_zeros(0, half, half)?;
        let mut of_groups = Vec::new();
        for group in 0..groups {
            let weight = layer.weight.narrow(0, group * sizes.group_out(), sizes.group_out())?;
            let columns = sizes.inputs / groups;
            let inputs = rows.narrow(1, group * columns, columns)?;
            let mut sum: Option<Tensor> = None;
            for step in 0..sizes.kernel {
                let rows = inputs.narrow(0, step, range.len())?.contiguous()?;
                let product = rows.matmul(&weight.narrow(2, step, 1)?.squeeze(2)?.t()?)?;
                sum = Some(match sum {
                    None => product,
                    Some(sum) => (sum + product)?,
                });
            }
            of_groups.extend(sum);
        }
        outputs.push(Tensor::cat(&of_groups, 1)?);
    }
    let y = Tensor::cat(&outputs, 0)?;
    match &layer.bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    tokens: usize,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    groups: usize,
}

impl Sizes {
    fn new(x: &Tensor, layer: &Linear, offsets: &Offsets, groups: usize) -> Result<Self> {
        let (tokens, inputs) = x.dims2()?;
        let (outputs, of_group, kernel) = layer.weight.dims3()?;
        let fits = groups > 0 && of_group * groups == inputs && outputs.is_multiple_of(groups);
        let bias = layer.bias.as_ref().is_none_or(|bias| bias.dims() == [outputs]);
        if !fits || !bias || kernel % 2 == 0 || offsets.tokens() != tokens || tokens == 0 {
            bail!(
                "convolution: a weight of shape {:?} in {groups} groups for {tokens} rows of {inputs}",
                layer.weight.dims()
            )
        }
        Ok(Self { tokens, inputs, outputs, kernel, groups })
    }

    /// Columns of an unfolded row.
    fn width(&self) -> usize {
        self.inputs * self.kernel
    }

    /// Those of them that one group reads.
    fn group_in(&self) -> usize {
        self.width() / self.groups
    }

    fn group_out(&self) -> usize {
        self.outputs / self.groups
    }

    fn out(&self, group: usize) -> std::ops::Range<usize> {
        group * self.group_out()..(group + 1) * self.group_out()
    }

    /// A group's weight, `[group_out, group_in]`.
    fn weight<'a, T: Real>(&self, weight: &'a [T], group: usize) -> Matrix<'a, T> {
        let size = self.group_out() * self.group_in();
        Matrix::new(&weight[group * size..][..size], self.group_out(), self.group_in())
    }

    /// A group's columns of a matrix of all tokens.
    fn columns<'a, T: Real>(&self, x: &'a [T], group: usize, columns: usize) -> Matrix<'a, T> {
        Matrix::strided(&x[group * columns..], self.tokens, columns, columns * self.groups)
    }

    fn each_group(&self, f: impl Fn(usize) + Sync + Send) {
        (0..self.groups).into_par_iter().for_each(f);
    }

    /// Threads share a product where there is one alone.
    ///
    /// # Safety
    /// No other thread uses the elements of `out` meanwhile.
    unsafe fn product<T: Real>(
        &self,
        out: &Columns<T>,
        left: Matrix<T>,
        right: Matrix<T>,
        onto: Onto<T>,
    ) {
        // SAFETY: promised by the caller.
        unsafe { T::multiply(out, left, right, T::ONE, onto, self.groups == 1) };
    }

    /// The sequence's range for every token.
    fn ranges(&self, offsets: &Offsets) -> Vec<(usize, usize)> {
        offsets.ranges().flat_map(|range| vec![(range.start, range.end); range.len()]).collect()
    }

    /// `[tokens, in · kernel]`: each input's values at the token and its neighbours.
    fn unfold<T: Real>(&self, x: &[T], offsets: &Offsets) -> Vec<T> {
        let (kernel, half, inputs) = (self.kernel, self.kernel / 2, self.inputs);
        let ranges = self.ranges(offsets);
        written(self.tokens * self.width(), |out| {
            for_rows(out, self.width(), rows_per_piece(self.width()), |first, out| {
                for (row, out) in out.chunks_exact_mut(self.width()).enumerate() {
                    let (start, end) = ranges[first + row];
                    for step in 0..kernel {
                        let from = (first + row + step).wrapping_sub(half);
                        let inside = (start..end).contains(&from);
                        for input in 0..inputs {
                            let value = if inside { x[from * inputs + input] } else { T::ZERO };
                            out[input * kernel + step] = value;
                        }
                    }
                }
            });
        })
    }

    /// The way back of [`Self::unfold`].
    fn fold<T: Real>(&self, unfolded: &[T], offsets: &Offsets) -> Vec<T> {
        let (kernel, half, width) = (self.kernel, self.kernel / 2, self.width());
        let ranges = self.ranges(offsets);
        let mut x = vec![T::ZERO; self.tokens * self.inputs];
        for_rows(&mut x, self.inputs, rows_per_piece(width), |first, x| {
            for (row, x) in x.chunks_exact_mut(self.inputs).enumerate() {
                let (start, end) = ranges[first + row];
                for step in 0..kernel {
                    let to = (first + row + half).wrapping_sub(step);
                    if (start..end).contains(&to) {
                        for (input, x) in x.iter_mut().enumerate() {
                            *x += unfolded[to * width + input * kernel + step];
                        }
                    }
                }
            }
        });
        x
    }
}

/// Adds to the gradients of weight and bias; returns that of x where it is wanted.
fn backward<T: Real>(
    sizes: &Sizes,
    x: &Tensor,
    layer: &Linear,
    offsets: &Offsets,
    dy: &[T],
    wanted: bool,
) -> Result<Option<Vec<T>>> {
    if let Some(bias) = &layer.bias
        && bias.is_trainable()
    {
        bias_gradient::<T>(dy, sizes.tokens, sizes.outputs, bias)?;
    }
    let dy = |group| sizes.columns(dy, group, sizes.group_out());
    if layer.weight.is_trainable() {
        let values = Slice::<T>::new(x)?;
        let unfolded = sizes.unfold(values.get(), offsets);
        layer.weight.contribute::<T>(|sum, is_first| {
            let sum = Columns::new(sum, sizes.group_in());
            sizes.each_group(|group| {
                let rows = sum.part(sizes.out(group).start, sizes.group_out(), 0, sizes.group_in());
                let right = sizes.columns(&unfolded, group, sizes.group_in());
                let onto = Onto::sum(is_first);
                // SAFETY: no other group writes to these rows.
                unsafe { sizes.product(&rows, dy(group).transposed(), right, onto) };
            });
        })?;
    }
    if !wanted {
        return Ok(None);
    }
    let weight = Slice::<T>::new(&layer.weight)?;
    let weight = weight.get();
    let unfolded = written(sizes.tokens * sizes.width(), |out| {
        let out = Columns::new(out, sizes.width());
        sizes.each_group(|group| {
            let columns = out.part(0, sizes.tokens, group * sizes.group_in(), sizes.group_in());
            let right = sizes.weight(weight, group);
            // SAFETY: no other group writes to these columns.
            unsafe { sizes.product(&columns, dy(group), right, Onto::Nothing) };
        });
    });
    Ok(Some(sizes.fold(&unfolded, offsets)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Weight;
    use crate::nn::ops::check::{Check, silent, tensor};

    #[test]
    fn convolution_agrees_with_its_reference() {
        for (lengths, inputs, outputs, kernel, groups) in
            [(vec![1], 2, 3, 1, 1), (vec![7, 1, 9, 2], 6, 4, 3, 2), (vec![130, 4], 5, 5, 5, 1)]
        {
            let offsets = Offsets::from_lengths(lengths.iter().copied()).unwrap();
            Check::new(&format!("convolution {inputs} {outputs} {kernel} {groups}"))
                .input(&[offsets.tokens(), inputs])
                .weight(&[outputs, inputs / groups, kernel])
                .weight(&[outputs])
                .run(
                    |t, x, w| {
                        let layer = Linear::new(&w[0], Some(&w[1]));
                        convolution(t, &x[0], &layer, &offsets, groups)
                    },
                    |x, w| reference(&x[0], &Linear::new(&w[0], Some(&w[1])), &offsets, groups),
                );
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let offsets = Offsets::from_lengths([2, 3]).unwrap();
        let run = |shape: &[usize], groups| {
            let layer = Linear::new(&Weight::new(&tensor(shape, 1), true).unwrap(), None);
            convolution(&silent(), &tensor(&[5, 4], 0), &layer, &offsets, groups)
        };
        assert!(run(&[4, 2, 3], 2).is_ok());
        assert!(run(&[4, 2, 3], 1).is_err());
        assert!(run(&[4, 4, 2], 1).is_err());
        assert!(run(&[3, 2, 3], 2).is_err());
    }
}
