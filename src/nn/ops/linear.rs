//! y = x Wᵀ + b.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::tensor::{Slice, anchor, by_dtype, output, read};
use crate::nn::parallel::{sum_rows, written};
use crate::nn::product::{Matrix, product};
use crate::nn::vector::{each_with, simd};
use crate::nn::{Real, Weight};

/// `x` `[rows, in]`, `weight` `[out, in]`, `bias` `[out]`; returns `[rows, out]`.
///
/// Computes no gradient for a frozen weight. The gradient of the bias sums chunks of 256 rows, in
/// order.
pub fn linear(x: &Tensor, weight: &Weight, bias: Option<&Weight>) -> Result<Tensor> {
    let (_, inputs) = x.dims2()?;
    let (outputs, expected) = weight.dims2()?;
    if inputs != expected {
        bail!("linear: x has {inputs} columns, the weight takes {expected}")
    }
    if let Some(bias) = bias
        && bias.dims() != [outputs]
    {
        bail!("linear: a bias of shape {:?} for {outputs} outputs", bias.dims())
    }
    let op = Linear { weight: weight.clone(), bias: bias.cloned() };
    let anchor = anchor(x, std::iter::once(weight).chain(bias));
    x.contiguous()?.apply_op2(&anchor, op)
}

/// [`linear`] of candle's primitives.
pub fn reference(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let product = x.matmul(&weight.t()?)?;
    bias.map_or(Ok(product.clone()), |bias| product.broadcast_add(bias))
}

struct Linear {
    weight: Weight,
    bias: Option<Weight>,
}

impl Linear {
    fn forward<T: Real>(&self, x: &[T]) -> Result<Vec<T>> {
        let (outputs, inputs) = self.weight.dims2()?;
        let rows = x.len() / inputs.max(1);
        let weight = Slice::<T>::new(&self.weight)?;
        let bias = self.bias.as_deref().map(Slice::<T>::new).transpose()?;
        Ok(written(rows * outputs, |out| {
            if let Some(bias) = &bias {
                let bias = bias.get();
                out.chunks_exact_mut(outputs.max(1)).for_each(|row| row.copy_from_slice(bias));
            }
            let weight = Matrix::new(weight.get(), outputs, inputs).transposed();
            product(out, outputs, Matrix::new(x, rows, inputs), weight, T::ONE, bias.is_some());
        }))
    }

    fn backward<T: Real>(&self, x: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (outputs, inputs) = self.weight.dims2()?;
        let (rows, _) = gradient.dims2()?;
        let gradient_slice = Slice::<T>::new(gradient)?;
        let gradient = gradient_slice.get();
        let dy = Matrix::new(gradient, rows, outputs);
        if let Some(bias) = &self.bias
            && bias.is_trainable()
        {
            bias.contribute::<T>(|sum, is_first| {
                sum_rows(rows, outputs, sum, is_first, |range, sums| {
                    simd(
                        #[inline(always)]
                        || {
                            for row in range {
                                each_with(
                                    sums,
                                    &gradient[row * outputs..][..outputs],
                                    |sum, value| sum + value,
                                );
                            }
                        },
                    );
                });
            })?;
        }
        if self.weight.is_trainable() {
            let x = Slice::<T>::new(x)?;
            let x = Matrix::new(x.get(), rows, inputs);
            self.weight.contribute::<T>(|sum, is_first| {
                product(sum, inputs, dy.transposed(), x, T::ONE, !is_first);
            })?;
        }
        if !x.track_op() {
            return Ok(None);
        }
        let weight = Slice::<T>::new(&self.weight)?;
        let weight = Matrix::new(weight.get(), outputs, inputs);
        let dx = written(rows * inputs, |out| product(out, inputs, dy, weight, T::ONE, false));
        Tensor::from_vec(dx, (rows, inputs), x.device()).map(Some)
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
        by_dtype!(x, T => output(self.forward::<T>(read(x, layout)?)?, shape))
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
