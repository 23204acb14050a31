//! Elementwise functions, by the names that transformers' `hidden_act` uses.

use candle_core::{Result, Tensor};

use super::tensor::{Slice, by_dtype};
use crate::nn::Real;
use crate::nn::parallel::{map, map2};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{each_with, simd};

/// An elementwise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x·Φ(x), with the error function.
    Gelu,
    /// ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
    GeluTanh,
    Relu,
    /// x·σ(x).
    Silu,
    Tanh,
    Identity,
}

/// Every name in `hidden_act` that is known, with what it means.
const NAMES: &[(&str, Activation)] = &[
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
    ("linear", Activation::Identity),
];

impl Activation {
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation)
    }

    /// The names that [`Self::parse`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}

/// The function of every element of `x`, of any shape.
pub fn activation(tape: &Tape, x: &Tensor, function: Activation) -> Result<Tensor> {
    if function == Activation::Identity {
        return Ok(x.clone());
    }
    let y = by_dtype!(x, T => {
        let values = Slice::<T>::new(x)?;
        let out = map::<T>(values.get(), |x, out| forward(function, x, out));
        Tensor::from_vec(out, x.shape(), x.device())?
    });
    if tape.needs(&[x], []) {
        let x = x.clone();
        tape.record(&y, move |dy, gradients| {
            let dx = by_dtype!(x, T => {
                let values = Slice::<T>::new(&x)?;
                Gradient::new(map2(values.get(), dy.get::<T>()?, |x, dy, out| {
                    out.copy_from_slice(dy);
                    backward(function, x, out);
                }))
            });
            gradients.add(x.id(), dx)
        });
    }
    Ok(y)
}

/// [`activation`] of candle's primitives.
pub fn reference(x: &Tensor, function: Activation) -> Result<Tensor> {
    match function {
        // `Tensor::gelu_erf` has a less exact slope.
        Activation::Gelu => (x * 0.5)? * ((x * SQRT_HALF)?.erf()? + 1.0)?,
        Activation::GeluTanh => {
            let inner = ((x + ((x * x)? * x)?.affine(0.044715, 0.0)?)? * SQRT_2_OVER_PI)?;
            (x * 0.5)? * (inner.tanh()? + 1.0)?
        }
        Activation::Relu => x.relu(),
        Activation::Silu => x / (x.neg()?.exp()? + 1.0)?,
        Activation::Tanh => x.tanh(),
        Activation::Identity => Ok(x.clone()),
    }
}

const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
const SQRT_HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// 1/√(2π).
const NORMAL_PEAK: f64 = 0.398_942_280_401_432_7;

/// `out = f(x)`, vectorised.
#[inline(always)]
pub(crate) fn forward<T: Real>(function: Activation, x: &[T], out: &mut [T]) {
    simd(
        #[inline(always)]
        || match function {
            Activation::Gelu => each_with(out, x, |_, x| gelu(x)),
            Activation::GeluTanh => each_with(out, x, |_, x| gelu_tanh(x)),
            Activation::Relu => each_with(out, x, |_, x| if x < T::ZERO { T::ZERO } else { x }),
            Activation::Silu => each_with(out, x, |_, x| x / (T::ONE + (-x).exp())),
            Activation::Tanh => each_with(out, x, |_, x| x.tanh()),
            Activation::Identity => out.copy_from_slice(x),
        },
    );
}

/// `gradient *= f′(x)`, vectorised.
#[inline(always)]
pub(crate) fn backward<T: Real>(function: Activation, x: &[T], gradient: &mut [T]) {
    simd(
        #[inline(always)]
        || match function {
            Activation::Gelu => each_with(gradient, x, |g, x| g * gelu_slope(x)),
            Activation::GeluTanh => each_with(gradient, x, |g, x| g * gelu_tanh_slope(x)),
            Activation::Relu => {
                each_with(gradient, x, |g, x| if x > T::ZERO { g } else { T::ZERO })
            }
            Activation::Silu => each_with(gradient, x, |g, x| {
                let sigmoid = T::ONE / (T::ONE + (-x).exp());
                g * (sigmoid * (T::ONE + x * (T::ONE - sigmoid)))
            }),
            Activation::Tanh => each_with(gradient, x, |g, x| {
                let y = x.tanh();
                g * (T::ONE - y * y)
            }),
            Activation::Identity => {}
        },
    );
}

#[inline(always)]
fn gelu<T: Real>(x: T) -> T {
    T::of(0.5) * x * (T::ONE + (x * T::of(SQRT_HALF)).erf())
}

/// Φ(x) + x·φ(x).
#[inline(always)]
fn gelu_slope<T: Real>(x: T) -> T {
    let cumulative = T::of(0.5) * (T::ONE + (x * T::of(SQRT_HALF)).erf());
    cumulative + x * T::of(NORMAL_PEAK) * (T::of(-0.5) * x * x).exp()
}

#[inline(always)]
fn gelu_tanh<T: Real>(x: T) -> T {
    let inner = T::of(SQRT_2_OVER_PI) * (x + T::of(0.044715) * x * x * x);
    T::of(0.5) * x * (T::ONE + inner.tanh())
}

#[inline(always)]
fn gelu_tanh_slope<T: Real>(x: T) -> T {
    let inner = T::of(SQRT_2_OVER_PI) * (x + T::of(0.044715) * x * x * x);
    let tanh = inner.tanh();
    let inner_slope = T::of(SQRT_2_OVER_PI) * (T::ONE + T::of(3.0 * 0.044715) * x * x);
    T::of(0.5) * (T::ONE + tanh) + T::of(0.5) * x * (T::ONE - tanh * tanh) * inner_slope
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::Check;

    #[test]
    fn activations_agree_with_their_references() {
        for (name, function) in NAMES {
            for shape in [[1, 1], [17, 33], [1, 40_001]] {
                if *function != Activation::Identity {
                    Check::new(name).input(&shape).run(
                        |t, x, _| activation(t, &x[0], *function),
                        |x, _| reference(&x[0], *function),
                    );
                }
            }
        }
        assert_eq!(Activation::parse("gelu_new"), Some(Activation::GeluTanh));
        assert_eq!(Activation::parse("galu"), None);
    }
}
