//! y = x Wᵀ + b.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::tensor::{Slice, anchor, by_dtype, output, read};
use crate::nn::parallel::{sum_rows, written};
use crate::nn::product::{Matrix, Onto, product};
use crate::nn::vector::{each_with, simd};
use crate::nn::{Real, Weight};

/// `x` `[rows, in]`, `weight` `[out, in]`, `bias` `[out]`; returns `[rows, out]`.
///
/// Computes no gradient for a frozen weight. The gradient of the bias sums chunks of 256 rows, in
/// order.
pub fn linear(x: &Tensor, weight: &Weight, bias: Option<&Weight>) -> Result<Tensor> {
    check(x.dim(1)?, weight, bias)?;
    let op = Linear { weight: weight.clone(), bias: bias.cloned() };
    let anchor = anchor(x, std::iter::once(weight).chain(bias));
    x.contiguous()?.apply_op2(&anchor, op)
}

/// Fails if `weight` does not take `inputs` columns or `bias` does not fit it; returns its outputs.
pub(super) fn check(inputs: usize, weight: &Weight, bias: Option<&Weight>) -> Result<usize> {
    let (outputs, expected) = weight.dims2()?;
    if inputs != expected {
        bail!("linear: x has {inputs} columns, the weight takes {expected}")
    }
    if let Some(bias) = bias
        && bias.dims() != [outputs]
    {
        bail!("linear: a bias of shape {:?} for {outputs} outputs", bias.dims())
    }
    Ok(outputs)
}

/// [`linear`] of candle's primitives.
pub fn reference(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let product = x.matmul(&weight.t()?)?;
    bias.map_or(Ok(product.clone()), |bias| product.broadcast_add(bias))
}

/// x Wᵀ + b of `[rows, in]`, as `[rows, out]`.
pub(super) fn forward<T: Real>(
    x: &[T],
    rows: usize,
    weight: &Weight,
    bias: Option<&Weight>,
) -> Result<Vec<T>> {
    let (outputs, inputs) = weight.dims2()?;
    let weight = Slice::<T>::new(weight)?;
    let bias = bias.map(|bias| Slice::<T>::new(bias)).transpose()?;
    Ok(written(rows * outputs, |out| {
        let onto = bias.as_ref().map_or(Onto::Nothing, |bias| Onto::Bias(bias.get()));
        let weight = Matrix::new(weight.get(), outputs, inputs).transposed();
        product(out, Matrix::new(x, rows, inputs), weight, T::ONE, onto);
    }))
}

/// Adds to the gradients of a weight and a bias that train: dyᵀ x and the sum of dy over rows.
pub(super) fn weight_gradients<T: Real>(
    x: &[T],
    dy: &[T],
    rows: usize,
    weight: &Weight,
    bias: Option<&Weight>,
) -> Result<()> {
    let (outputs, inputs) = weight.dims2()?;
    if let Some(bias) = bias
        && bias.is_trainable()
    {
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
        })?;
    }
    if weight.is_trainable() {
        let (x, dy) = (Matrix::new(x, rows, inputs), Matrix::new(dy, rows, outputs));
        weight.contribute::<T>(|sum, is_first| {
            product(sum, dy.transposed(), x, T::ONE, Onto::sum(is_first));
        })?;
    }
    Ok(())
}

/// dy W, `[rows, in]`.
pub(super) fn input_gradient<T: Real>(dy: &[T], rows: usize, weight: &Weight) -> Result<Vec<T>> {
    let (outputs, inputs) = weight.dims2()?;
    let weight = Slice::<T>::new(weight)?;
    let (dy, weight) = (Matrix::new(dy, rows, outputs), Matrix::new(weight.get(), outputs, inputs));
    Ok(written(rows * inputs, |out| product(out, dy, weight, T::ONE, Onto::Nothing)))
}

struct Linear {
    weight: Weight,
    bias: Option<Weight>,
}

impl Linear {
    fn backward<T: Real>(&self, x: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (rows, _) = x.dims2()?;
        let (x_values, dy) = (Slice::<T>::new(x)?, Slice::<T>::new(gradient)?);
        weight_gradients(x_values.get(), dy.get(), rows, &self.weight, self.bias.as_ref())?;
        if !x.track_op() {
            return Ok(None);
        }
        let dx = input_gradient(dy.get(), rows, &self.weight)?;
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = (layout.dims()[0], self.weight.dim(0)?);
        by_dtype!(x, T => {
            output(forward::<T>(read(x, layout)?, shape.0, &self.weight, self.bias.as_ref())?, shape)
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let dx = by_dtype!(x, T => self.backward::<T>(x, &gradient))?;
        Ok((dx, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::Check;

    #[test]
    fn linear_agrees_with_its_reference() {
        for (rows, inputs, outputs) in [(1, 1, 1), (1, 17, 5), (17, 33, 3), (257, 8, 19)] {
            Check::new(&format!("linear {rows}x{inputs}x{outputs}"))
                .input(&[rows, inputs])
                .weight(&[outputs, inputs])
                .weight(&[outputs])
                .run(
                    |x, w| linear(&x[0], &w[0], Some(&w[1])),
                    |x, w| reference(&x[0], &w[0], Some(&w[1])),
                );
            Check::new("linear without bias")
                .input(&[rows, inputs])
                .weight(&[outputs, inputs])
                .run(|x, w| linear(&x[0], &w[0], None), |x, w| reference(&x[0], &w[0], None));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let device = &candle_core::Device::Cpu;
        let zeros =
            |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, device).unwrap();
        let weight = |shape: &[usize]| Weight::new(&zeros(shape), true).unwrap();
        assert!(linear(&zeros(&[2, 3]), &weight(&[5, 4]), None).is_err());
        assert!(linear(&zeros(&[2, 3]), &weight(&[5, 3]), Some(&weight(&[4]))).is_err());
    }
}
