//! y = x Wᵀ + b.

use std::cell::OnceCell;

use candle_core::{DType, Result, Tensor, bail};

use super::tensor::{Slice, by_dtype};
use crate::nn::parallel::{sum_rows, written};
use crate::nn::product::bf16::{self, Factor, Panels, Rows};
use crate::nn::product::{Matrix, Onto, product};
use crate::nn::tape::{Gradient, Precision, Tape};
use crate::nn::vector::{each_with, simd};
use crate::nn::weight::Orientation;
use crate::nn::{Linear, Real, Weight};

/// `x` `[rows, in]`; returns `[rows, out]`.
///
/// Computes no gradient for a frozen weight. The gradient of the bias sums chunks of 256 rows, in
/// order.
pub fn linear(tape: &Tape, x: &Tensor, layer: &Linear) -> Result<Tensor> {
    let [y] = linears(tape, x, [layer])?;
    Ok(y)
}

/// Several layers of one input, whose gradient is summed over them in their order.
pub fn linears<const N: usize>(
    tape: &Tape,
    x: &Tensor,
    layers: [&Linear; N],
) -> Result<[Tensor; N]> {
    let (_, inputs) = x.dims2()?;
    for layer in layers {
        check(inputs, layer)?;
    }
    let source = Source::new(tape.precision(), x)?;
    let outputs: Vec<Tensor> =
        layers.iter().map(|layer| source.forward(layer)).collect::<Result<_>>()?;
    if tape.needs(&[x], layers.iter().flat_map(|layer| layer.weights())) {
        let x = tape.tracks(x).then(|| x.id());
        let own = layers.map(Linear::clone);
        tape.record_all(&outputs.iter().collect::<Vec<_>>(), move |all, gradients| {
            let mut dx = None;
            for (dy, layer) in all.iter().zip(&own) {
                let Some(dy) = dy else { continue };
                source.weight_gradients(dy, layer)?;
                if x.is_some() {
                    dx = Some(source.input_gradient(dy, &layer.weight, dx)?);
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
    Ok(outputs)
}

/// [`linear`] of candle's primitives.
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

    fn rows(&self) -> Result<usize> {
        match &self.form {
            Form::Exact(x) => x.dim(0),
            Form::Rounded(rows) => Ok(rows.rows()),
        }
    }

    /// x Wᵀ + b, `[rows, out]`.
    pub fn forward(&self, Linear { weight, bias }: &Linear) -> Result<Tensor> {
        let (outputs, inputs) = weight.dims2()?;
        let rows = self.rows()?;
        match &self.form {
            Form::Exact(x) => by_dtype!(x, T => {
                let x_values = Slice::<T>::new(x)?;
                let weight = Slice::<T>::new(weight)?;
                let bias = bias.as_ref().map(|bias| Slice::<T>::new(bias)).transpose()?;
                let out = written(rows * outputs, |out| {
                    let onto = bias.as_ref().map_or(Onto::Nothing, |bias| Onto::Bias(bias.get()));
                    let weight = Matrix::new(weight.get(), outputs, inputs).transposed();
                    let x = Matrix::new(x_values.get(), rows, inputs);
                    product(out, x, weight, <T as Real>::ONE, onto);
                });
                Tensor::from_vec(out, (rows, outputs), x.device())
            }),
            Form::Rounded(x) => {
                let panels = weight.panels(Orientation::Transposed)?;
                let bias = bias.as_ref().map(|bias| Slice::<f32>::new(bias)).transpose()?;
                let out = written(rows * outputs, |out| {
                    let onto = bias.as_ref().map_or(Onto::Nothing, |bias| Onto::Bias(bias.get()));
                    bf16::product(out, Factor::Rows(x), &panels, onto);
                });
                Tensor::from_vec(out, (rows, outputs), weight.device())
            }
        }
    }

    /// Adds to the gradients of a weight and a bias that train: dyᵀ x and the sum of dy over rows.
    pub fn weight_gradients(&self, dy: &Gradient, layer: &Linear) -> Result<()> {
        let Linear { weight, bias } = layer;
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
            Form::Exact(_) => by_dtype!(dy, T => {
                let weight = Slice::<T>::new(weight)?;
                let dy = Matrix::new(dy.get::<T>()?, rows, outputs);
                let weight = Matrix::new(weight.get(), outputs, inputs);
                let multiply = |out: &mut [T]| product(out, dy, weight, <T as Real>::ONE, Onto::sum(is_first));
                added::<T>(sum, rows * inputs, multiply)
            }),
            Form::Rounded(_) => {
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
