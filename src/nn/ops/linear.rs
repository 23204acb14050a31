//! y = x Wᵀ + b.

use std::cell::OnceCell;

use candle_core::{DType, Result, Tensor, bail};

use super::dropout::{self, DropoutAt, Row};
use super::tensor::{Slice, by_dtype};
use crate::nn::layer::LowRank;
use crate::nn::parallel::{ELEMENTS_PER_PIECE, for_rows, sum_rows, written};
use crate::nn::product::bf16::{self, Factor, Panels, Rows};
use crate::nn::product::{Matrix, Onto, product};
use crate::nn::tape::{Gradient, Precision, Tape};
use crate::nn::vector::{each, each_with, simd};
use crate::nn::weight::Orientation;
use crate::nn::{Linear, Real, Weight};

/// A layer, and how its low-rank adapter drops what it reads.
pub type Use<'a> = (&'a Linear, Option<DropoutAt>);

/// `x` `[rows, in]`; returns `[rows, out]`. Of adapters the low-rank ones without a magnitude are
/// known here; the others are made of this and of operations in `adapter`.
///
/// Computes no gradient for a frozen weight. The gradient of the bias sums chunks of 256 rows, in
/// order.
pub fn linear(tape: &Tape, x: &Tensor, layer: &Linear) -> Result<Tensor> {
    let [y] = linears(tape, x, [(layer, None)])?;
    Ok(y)
}

/// Several layers of one input, whose gradient is summed over them in their order. The input is kept
/// only where a weight that is multiplied with it trains.
pub fn linears<const N: usize>(tape: &Tape, x: &Tensor, layers: [Use; N]) -> Result<[Tensor; N]> {
    let (_, inputs) = x.dims2()?;
    for (layer, _) in &layers {
        check(inputs, layer)?;
    }
    let source = Source::new(tape.precision(), x)?;
    let own = layers.map(|(layer, dropout)| (layer.clone(), dropout));
    let mut outputs = Vec::with_capacity(N);
    let mut inner = Vec::with_capacity(N);
    for (layer, dropout) in &own {
        let (output, between) = source.adapted(tape.precision(), layer, dropout.as_ref())?;
        outputs.push(output);
        inner.push(between);
    }
    if tape.needs(&[x], own.iter().flat_map(|(layer, _)| layer.weights())) {
        let x = tape.tracks(x).then(|| x.id());
        let source = source.kept(own.iter().any(|(layer, _)| reads_input(layer)))?;
        tape.record_all(&outputs.iter().collect::<Vec<_>>(), move |all, gradients| {
            let mut dx = None;
            for ((dy, (layer, dropout)), inner) in all.iter().zip(&own).zip(&inner) {
                let Some(dy) = dy else { continue };
                source.weight_gradients(dy, &layer.weight, layer.bias.as_ref())?;
                if x.is_some() {
                    dx = Some(source.input_gradient(dy, &layer.weight, dx)?);
                }
                if let (Some(low_rank), Some(inner)) = (layer.low_rank(), inner) {
                    let dropout = dropout.as_ref();
                    dx = source.low_rank_backward(dy, low_rank, inner, dropout, x.is_some(), dx)?;
                }
            }
            match (x, dx) {
                (Some(x), Some(dx)) => gradients.add(x, dx),
                _ => Ok(()),
            }
        });
    }
    outputs.try_into().or_else(|_| bail!("as many outputs as layers"))
}

/// Whether the backward needs what the layer read.
fn reads_input(layer: &Linear) -> bool {
    let down = layer.low_rank().is_some_and(|low_rank| low_rank.down.is_trainable());
    down || layer.weight.is_trainable()
}

/// Fails if a layer does not take `inputs` columns or its bias does not fit; returns its outputs.
pub(super) fn check(inputs: usize, layer: &Linear) -> Result<usize> {
    let (outputs, expected) = layer.weight.dims2()?;
    if inputs != expected {
        bail!("linear: x has {inputs} columns, the weight takes {expected}")
    }
    if let Some(bias) = &layer.bias
        && bias.dims() != [outputs]
    {
        bail!("linear: a bias of shape {:?} for {outputs} outputs", bias.dims())
    }
    if let Some(LowRank { down, up, .. }) = layer.low_rank() {
        let (rank, columns) = down.dims2()?;
        if columns != inputs || up.dims() != [outputs, rank] {
            bail!(
                "linear: an adapter of {:?} and {:?} on a weight of {:?}",
                down.dims(),
                up.dims(),
                layer.weight.dims()
            )
        }
    }
    Ok(outputs)
}

/// [`linear`] of candle's primitives, without an adapter.
pub fn reference(x: &Tensor, layer: &Linear) -> Result<Tensor> {
    let product = x.matmul(&layer.weight.t()?)?;
    match &layer.bias {
        Some(bias) => product.broadcast_add(bias),
        None => Ok(product),
    }
}

/// What linear layers read, in the form that products take it; kept for the backward.
pub(super) struct Source {
    form: Form,
    /// For the gradients of weights.
    panels: OnceCell<Panels>,
}

enum Form {
    Exact(Tensor),
    Rounded(Rows),
    /// Only gradients of inputs are still asked for.
    Gone {
        rows: usize,
        precision: Precision,
    },
}

/// What a product is added to.
enum Start<'a> {
    Bias(Option<&'a Weight>),
    Sum(Gradient),
}

impl Source {
    /// `x` `[rows, in]`.
    pub fn new(precision: Precision, x: &Tensor) -> Result<Self> {
        if precision == Precision::Bf16 && x.dtype() == DType::F32 {
            let values = Slice::<f32>::new(x)?;
            return Ok(Self::rounded(Rows::new(values.get(), x.dim(1)?)));
        }
        Ok(Self { form: Form::Exact(x.clone()), panels: OnceCell::new() })
    }

    pub fn rounded(rows: Rows) -> Self {
        Self { form: Form::Rounded(rows), panels: OnceCell::new() }
    }

    /// The same for the backward: without the values unless weights need them.
    pub fn kept(self, by_weights: bool) -> Result<Self> {
        if by_weights {
            return Ok(self);
        }
        let precision = match &self.form {
            Form::Rounded(_) => Precision::Bf16,
            Form::Exact(_) | Form::Gone { .. } => Precision::F32,
        };
        let form = Form::Gone { rows: self.rows()?, precision };
        Ok(Self { form, panels: OnceCell::new() })
    }

    fn rows(&self) -> Result<usize> {
        match &self.form {
            Form::Exact(x) => x.dim(0),
            Form::Rounded(rows) => Ok(rows.rows()),
            Form::Gone { rows, .. } => Ok(*rows),
        }
    }

    /// x Wᵀ + b, `[rows, out]`.
    pub fn forward(&self, layer: &Linear) -> Result<Tensor> {
        let product = self.times(&layer.weight, Start::Bias(layer.bias.as_ref()))?;
        product.into_tensor((self.rows()?, layer.weight.dim(0)?), layer.weight.device())
    }

    /// [`Self::forward`] and what a low-rank adapter adds to it, with what that adapter keeps:
    /// s · dropout(x) Aᵀ, `[rows, rank]`.
    fn adapted(
        &self,
        precision: Precision,
        layer: &Linear,
        dropout: Option<&DropoutAt>,
    ) -> Result<(Tensor, Option<Source>)> {
        let Some(LowRank { down, up, scale, .. }) = layer.low_rank() else {
            return Ok((self.forward(layer)?, None));
        };
        let shape = (self.rows()?, layer.weight.dim(0)?);
        let sum = self.times(&layer.weight, Start::Bias(layer.bias.as_ref()))?;
        let inner = match dropout {
            Some(at) => self.dropped(at)?.times(down, Start::Bias(None))?,
            None => self.times(down, Start::Bias(None))?,
        };
        let inner = scaled(inner, *scale)?;
        let inner = inner.into_tensor((shape.0, down.dim(0)?), down.device())?;
        let inner = Source::new(precision, &inner)?;
        let sum = inner.times(up, Start::Sum(sum))?;
        let inner = inner.kept(up.is_trainable())?;
        Ok((sum.into_tensor(shape, layer.weight.device())?, Some(inner)))
    }

    /// The gradients of a low-rank adapter's weights, and `dx` with its part of the input's gradient
    /// where that is wanted.
    fn low_rank_backward(
        &self,
        dy: &Gradient,
        LowRank { down, up, scale, .. }: &LowRank,
        inner: &Source,
        dropout: Option<&DropoutAt>,
        is_wanted: bool,
        dx: Option<Gradient>,
    ) -> Result<Option<Gradient>> {
        inner.weight_gradients(dy, up, None)?;
        if !is_wanted && !down.is_trainable() {
            return Ok(dx);
        }
        let dinner = scaled(inner.input_gradient(dy, up, None)?, *scale)?;
        let Some(at) = dropout else {
            self.weight_gradients(&dinner, down, None)?;
            return match is_wanted {
                true => self.input_gradient(&dinner, down, dx).map(Some),
                false => Ok(dx),
            };
        };
        if down.is_trainable() {
            self.dropped(at)?.weight_gradients(&dinner, down, None)?;
        }
        if !is_wanted {
            return Ok(dx);
        }
        let dropped = self.input_gradient(&dinner, down, None)?;
        let mut dropped = by_dtype!(dropped, T => {
            let mut values = dropped.into_values::<T>()?;
            dropout::scale_rows(&mut values, down.columns(), at)?;
            Gradient::new(values)
        });
        if let Some(dx) = &dx {
            dropped.add(dx)?;
        }
        Ok(Some(dropped))
    }

    /// What is left of x by dropout.
    fn dropped(&self, at: &DropoutAt) -> Result<Self> {
        match &self.form {
            Form::Exact(x) => by_dtype!(x, T => {
                let mut values = Slice::<T>::new(x)?.get().to_vec();
                dropout::scale_rows(&mut values, x.dim(1)?, at)?;
                let form = Form::Exact(Tensor::from_vec(values, x.shape(), x.device())?);
                Ok(Self { form, panels: OnceCell::new() })
            }),
            Form::Rounded(rows) => {
                let dropper = at.dropper(rows.rows())?;
                let dropped = Rows::made(rows.rows(), rows.columns(), |row, out| {
                    rows.read(row, out);
                    dropper.scale(Row::Hidden(at.rows[row]), 0, out);
                });
                Ok(Self::rounded(dropped))
            }
            Form::Gone { .. } => bail!("linear: the input was not kept"),
        }
    }

    /// x Wᵀ with what it is added to, `[rows, out]`.
    fn times(&self, weight: &Weight, start: Start) -> Result<Gradient> {
        let (outputs, inputs) = weight.dims2()?;
        let rows = self.rows()?;
        match &self.form {
            Form::Exact(x) => by_dtype!(x, T => {
                let x_values = Slice::<T>::new(x)?;
                let values = Slice::<T>::new(weight)?;
                let right = Matrix::new(values.get(), outputs, inputs).transposed();
                let left = Matrix::new(x_values.get(), rows, inputs);
                started::<T>(start, rows * outputs, |out, onto| {
                    product(out, left, right, <T as Real>::ONE, onto);
                })
            }),
            Form::Rounded(x) => {
                let panels = weight.panels(Orientation::Transposed)?;
                started::<f32>(start, rows * outputs, |out, onto| {
                    bf16::product(out, Factor::Rows(x), &panels, onto);
                })
            }
            Form::Gone { .. } => bail!("linear: the input was not kept"),
        }
    }

    /// Adds to the gradients of a weight and a bias that train: dyᵀ x and the sum of dy over rows.
    pub fn weight_gradients(
        &self,
        dy: &Gradient,
        weight: &Weight,
        bias: Option<&Weight>,
    ) -> Result<()> {
        let (outputs, inputs) = weight.dims2()?;
        let rows = self.rows()?;
        if let Some(bias) = bias
            && bias.is_trainable()
        {
            by_dtype!(dy, T => bias_gradient::<T>(dy.get()?, rows, outputs, bias))?;
        }
        if !weight.is_trainable() {
            return Ok(());
        }
        match &self.form {
            Form::Exact(x) => by_dtype!(x, T => {
                let values = Slice::<T>::new(x)?;
                let x = Matrix::new(values.get(), rows, inputs);
                let dy = Matrix::new(dy.get::<T>()?, rows, outputs);
                weight.contribute::<T>(|sum, is_first| {
                    product(sum, dy.transposed(), x, <T as Real>::ONE, Onto::sum(is_first));
                })
            }),
            Form::Rounded(x) => {
                let x = self.panels.get_or_init(|| Panels::of_rows(x));
                let dy = Panels::new(dy.get()?, outputs);
                weight.contribute::<f32>(|sum, is_first| {
                    bf16::product(sum, Factor::Transposed(&dy), x, Onto::sum(is_first));
                })
            }
            Form::Gone { .. } => bail!("linear: the input was not kept"),
        }
    }

    /// `sum` + dy W, `[rows, in]`.
    pub fn input_gradient(
        &self,
        dy: &Gradient,
        weight: &Weight,
        sum: Option<Gradient>,
    ) -> Result<Gradient> {
        let (outputs, inputs) = weight.dims2()?;
        let rows = self.rows()?;
        let is_first = sum.is_none();
        match &self.form {
            Form::Exact(_) | Form::Gone { precision: Precision::F32, .. } => by_dtype!(dy, T => {
                let weight = Slice::<T>::new(weight)?;
                let dy = Matrix::new(dy.get::<T>()?, rows, outputs);
                let weight = Matrix::new(weight.get(), outputs, inputs);
                let multiply = |out: &mut [T]| product(out, dy, weight, <T as Real>::ONE, Onto::sum(is_first));
                added::<T>(sum, rows * inputs, multiply)
            }),
            Form::Rounded(_) | Form::Gone { precision: Precision::Bf16, .. } => {
                let panels = weight.panels(Orientation::Plain)?;
                let dy = Rows::new(dy.get()?, outputs);
                added(sum, rows * inputs, |out: &mut [f32]| {
                    bf16::product(out, Factor::Rows(&dy), &panels, Onto::sum(is_first));
                })
            }
        }
    }
}

/// Lets `write` change a sum, or write all of a new one.
fn added<T: Real>(
    sum: Option<Gradient>,
    count: usize,
    write: impl FnOnce(&mut [T]),
) -> Result<Gradient> {
    let values = match sum {
        None => written(count, write),
        Some(sum) => {
            let mut values = sum.into_values()?;
            write(&mut values);
            values
        }
    };
    Ok(Gradient::new(values))
}

/// Lets `write` make a result from what it starts with.
fn started<T: Real>(
    start: Start,
    count: usize,
    write: impl FnOnce(&mut [T], Onto<T>),
) -> Result<Gradient> {
    match start {
        Start::Sum(sum) => {
            let mut values = sum.into_values()?;
            write(&mut values, Onto::Itself);
            Ok(Gradient::new(values))
        }
        Start::Bias(None) => Ok(Gradient::new(written(count, |out| write(out, Onto::Nothing)))),
        Start::Bias(Some(bias)) => {
            let bias = Slice::<T>::new(bias)?;
            Ok(Gradient::new(written(count, |out| write(out, Onto::Bias(bias.get())))))
        }
    }
}

fn scaled(values: Gradient, scale: f64) -> Result<Gradient> {
    by_dtype!(values, T => {
        let mut values = values.into_values::<T>()?;
        for_rows(&mut values, 1, ELEMENTS_PER_PIECE, |_, values| {
            simd(#[inline(always)] || each(values, |value| value * T::of(scale)));
        });
        Ok(Gradient::new(values))
    })
}

/// Adds the sum of `dy` over its rows to the gradient of a bias.
pub(super) fn bias_gradient<T: Real>(
    dy: &[T],
    rows: usize,
    outputs: usize,
    bias: &Weight,
) -> Result<()> {
    bias.contribute::<T>(|sum, is_first| {
        sum_rows(rows, outputs, sum, is_first, |range, sums| {
            simd(
                #[inline(always)]
                || {
                    for row in range {
                        let dy = &dy[row * outputs..][..outputs];
                        each_with(sums, dy, |sum, value| sum + value);
                    }
                },
            );
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, silent};

    #[test]
    fn linear_agrees_with_its_reference() {
        for (rows, inputs, outputs) in [(1, 1, 1), (1, 17, 5), (17, 33, 3), (257, 8, 19)] {
            Check::new(&format!("linear {rows}x{inputs}x{outputs}"))
                .input(&[rows, inputs])
                .weight(&[outputs, inputs])
                .weight(&[outputs])
                .run(
                    |t, x, w| linear(t, &x[0], &Linear::new(&w[0], Some(&w[1]))),
                    |x, w| reference(&x[0], &Linear::new(&w[0], Some(&w[1]))),
                );
            Check::new("linear without bias")
                .input(&[rows, inputs])
                .weight(&[outputs, inputs])
                .run(
                    |t, x, w| linear(t, &x[0], &Linear::new(&w[0], None)),
                    |x, w| reference(&x[0], &Linear::new(&w[0], None)),
                );
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let device = &candle_core::Device::Cpu;
        let zeros =
            |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, device).unwrap();
        let weight = |shape: &[usize]| Weight::new(&zeros(shape), true).unwrap();
        let layers = [
            Linear::new(&weight(&[5, 4]), None),
            Linear::new(&weight(&[5, 3]), Some(&weight(&[4]))),
        ];
        for layer in layers {
            assert!(linear(&silent(), &zeros(&[2, 3]), &layer).is_err(), "{layer:?}");
        }
    }
}
