//! The feed-forward part of a transformer's block: linear, activation, linear, as one operation. What
//! lies between is never part of candle's graph, which would add its gradients to zeros.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::activation::{self, Activation};
use super::linear::{self, input_gradient, weight_gradients};
use super::tensor::{Slice, anchor, by_dtype, output, read};
use crate::nn::parallel::{ELEMENTS_PER_PIECE, for_rows, map};
use crate::nn::{Real, Weight};

/// A weight `[out, in]` and a bias `[out]`.
pub type Dense<'a> = (&'a Weight, &'a Weight);

/// `x` `[rows, hidden]`; `up` to `[rows, inner]`, `function` of every element, `down` to
/// `[rows, hidden]`. Computes no gradient for a frozen weight.
pub fn feed_forward(x: &Tensor, up: Dense, function: Activation, down: Dense) -> Result<Tensor> {
    let inner = linear::check(x.dims2()?.1, up.0, Some(up.1))?;
    linear::check(inner, down.0, Some(down.1))?;
    let own = |dense: Dense| (dense.0.clone(), dense.1.clone());
    let op = FeedForward { up: own(up), function, down: own(down), inner: Mutex::new(None) };
    let anchor = anchor(x, [up.0, up.1, down.0, down.1]);
    x.contiguous()?.apply_op2(&anchor, op)
}

/// [`feed_forward`] of candle's primitives.
pub fn reference(x: &Tensor, up: Dense, function: Activation, down: Dense) -> Result<Tensor> {
    let inner = linear::reference(x, up.0, Some(up.1.tensor()))?;
    linear::reference(&activation::reference(&inner, function)?, down.0, Some(down.1.tensor()))
}

struct FeedForward {
    up: (Weight, Weight),
    function: Activation,
    down: (Weight, Weight),
    /// Before and after the activation, from the forward to the backward.
    inner: Mutex<Option<[CpuStorage; 2]>>,
}

impl FeedForward {
    fn forward<T: Real>(&self, x: &[T], rows: usize) -> Result<Vec<T>> {
        let before = linear::forward(x, rows, &self.up.0, Some(&self.up.1))?;
        let after = map(&before, |x, out| activation::forward(self.function, x, out));
        let out = linear::forward(&after, rows, &self.down.0, Some(&self.down.1))?;
        *self.lock() = Some([before, after].map(T::to_cpu_storage_owned));
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (rows, _) = x.dims2()?;
        // Kept: a graph may be walked twice.
        let inner = self.lock();
        let Some([before, after]) = &*inner else { bail!("feed-forward: no forward was run") };
        let (before, after) = (before.as_slice::<T>()?, after.as_slice::<T>()?);
        let (x_values, dy) = (Slice::<T>::new(x)?, Slice::<T>::new(gradient)?);
        weight_gradients(after, dy.get(), rows, &self.down.0, Some(&self.down.1))?;
        let up_trains = self.up.0.is_trainable() || self.up.1.is_trainable();
        if !up_trains && !x.track_op() {
            return Ok(None);
        }
        let mut inner_gradient = input_gradient(dy.get(), rows, &self.down.0)?;
        for_rows(&mut inner_gradient, 1, ELEMENTS_PER_PIECE, |start, gradient| {
            let before = &before[start..start + gradient.len()];
            activation::backward(self.function, before, gradient);
        });
        weight_gradients(x_values.get(), &inner_gradient, rows, &self.up.0, Some(&self.up.1))?;
        if !x.track_op() {
            return Ok(None);
        }
        let dx = input_gradient(&inner_gradient, rows, &self.up.0)?;
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<[CpuStorage; 2]>> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl CustomOp2 for FeedForward {
    fn name(&self) -> &'static str {
        "feed-forward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = (layout.dims()[0], self.down.0.dim(0)?);
        by_dtype!(x, T => output(self.forward::<T>(read(x, layout)?, shape.0)?, shape))
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
    use crate::nn::ops::check::{Check, tensor};

    #[test]
    fn feed_forward_agrees_with_its_reference() {
        for (rows, hidden, inner) in [(1, 3, 5), (17, 8, 31), (257, 5, 12)] {
            for function in [Activation::Gelu, Activation::Silu, Activation::Identity] {
                Check::new(&format!("feed_forward {rows}x{hidden}x{inner} {function:?}"))
                    .input(&[rows, hidden])
                    .weight(&[inner, hidden])
                    .weight(&[inner])
                    .weight(&[hidden, inner])
                    .weight(&[hidden])
                    .run(
                        |x, w| feed_forward(&x[0], (&w[0], &w[1]), function, (&w[2], &w[3])),
                        |x, w| reference(&x[0], (&w[0], &w[1]), function, (&w[2], &w[3])),
                    );
            }
        }
    }

    /// The two linear operations with the activation between them compute the same bits.
    #[test]
    fn feed_forward_equals_its_parts() {
        let weight = |shape: &[usize], tag| Weight::new(&tensor(shape, tag), true).unwrap();
        let (up, up_bias) = (weight(&[33, 17], 1), weight(&[33], 2));
        let (down, down_bias) = (weight(&[17, 33], 3), weight(&[17], 4));
        let x = tensor(&[70, 17], 5);
        let whole = feed_forward(&x, (&up, &up_bias), Activation::Gelu, (&down, &down_bias));
        let inner = linear::linear(&x, &up, Some(&up_bias)).unwrap();
        let inner = activation::activation(&inner, Activation::Gelu).unwrap();
        let parts = linear::linear(&inner, &down, Some(&down_bias)).unwrap();
        let values = |x: Tensor| x.to_vec2::<f32>().unwrap();
        assert_eq!(values(whole.unwrap()), values(parts));
    }
}
