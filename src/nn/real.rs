//! The two element types of the operations: f32 for work, f64 for checking gradients against finite
//! differences. The f32 functions have no branches, so that loops over them vectorise.

use candle_core::{CpuStorage, Result, WithDType, bail};

use super::product::{self, Columns, Matrix, Onto};
use super::weight::{Buffer, Gradient};

/// An element of a tensor, with what the kernels need of it.
pub trait Real: WithDType + Copy + Default + std::ops::Neg<Output = Self> + std::iter::Sum {
    const ZERO: Self;
    const ONE: Self;
    const NEGATIVE_INFINITY: Self;

    fn of(value: f64) -> Self;
    fn exp(self) -> Self;
    fn sqrt(self) -> Self;
    fn erf(self) -> Self;
    fn tanh(self) -> Self;
    fn greater(self, other: Self) -> Self;

    fn gradient(buffer: &mut Buffer) -> Result<&mut Gradient<Self>>;

    /// The elements of a storage of this type.
    fn take(storage: CpuStorage) -> Result<Vec<Self>>;

    /// `out = scale · left × right`, with what `onto` adds.
    ///
    /// # Safety
    /// No other thread uses the elements of `out` meanwhile.
    unsafe fn multiply(
        out: &Columns<Self>,
        left: Matrix<Self>,
        right: Matrix<Self>,
        scale: Self,
        onto: Onto<Self>,
        parallel: bool,
    );
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NEGATIVE_INFINITY: Self = f32::NEG_INFINITY;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    /// Within 2 units in the last place; 0 below −87.3, infinite above 88.37. NaN stays.
    #[inline(always)]
    fn exp(self) -> Self {
        // e^x = 2^n · e^r with |r| ≤ ln 2 / 2. Cephes, expf.
        let x = if self > 88.7 { 88.7 } else { self };
        let x = if x < -87.3 { -87.3 } else { x };
        // Adding 1.5 · 2^23 rounds to a whole number, which then stands in the low bits.
        let shifted = x * std::f32::consts::LOG2_E + 12_582_912.0;
        let n = shifted - 12_582_912.0;
        let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
        let mut p = 1.987_569_1e-4;
        p = p * r + 1.398_199_9e-3;
        p = p * r + 8.333_452e-3;
        p = p * r + 4.166_579_6e-2;
        p = p * r + 1.666_666_5e-1;
        p = p * r + 0.5;
        let value = p * r * r + r + 1.0;
        let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3F80_0000));
        let value = value * power;
        select(self < -87.3, 0.0, value)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }

    /// Within 3 units in the last place. Two polynomials of N. Juffa, for |x| below and above 0.93.
    #[inline(always)]
    fn erf(self) -> Self {
        let t = f32::abs(self);
        let s = self * self;
        let far =
            (-1.728_534_7e-5 * t + 3.831_971_3e-4) * s + (-3.883_964_4e-3 * t + 2.425_462_2e-2);
        let far = far * t + -1.067_778_8e-1;
        let far = far * t + -6.348_467e-1;
        let far = far * t + -1.287_175_1e-1;
        let far = 1.0 - Real::exp(far * t - t);
        let mut near = -5.967_617e-4;
        near = near * s + 4.991_194e-3;
        near = near * s + -2.676_813_5e-2;
        near = near * s + 1.128_199_25e-1;
        near = near * s + -3.761_253_4e-1;
        near = near * s + 1.283_791_7e-1;
        select(t > 0.927_734_4, far.copysign(self), near * self + self)
    }

    /// Within 4 units in the last place. A rational approximation (Eigen, `generic_fast_tanh_float`).
    #[inline(always)]
    fn tanh(self) -> Self {
        let x = if self > 7.905_311 { 7.905_311 } else { self };
        let x = if x < -7.905_311 { -7.905_311 } else { x };
        let s = x * x;
        let mut p = -2.760_768_5e-16;
        p = p * s + 2.000_188e-13;
        p = p * s + -8.604_672e-11;
        p = p * s + 5.122_297_3e-8;
        p = p * s + 1.485_722_4e-5;
        p = p * s + 6.372_619e-4;
        p = p * s + 4.893_524_6e-3;
        let mut q = 1.198_258_4e-6;
        q = q * s + 1.185_347e-4;
        q = q * s + 2.268_434_7e-3;
        q = q * s + 4.893_525e-3;
        x * p / q
    }

    /// NaN if either is, unlike with `f32::max`.
    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }

    fn gradient(buffer: &mut Buffer) -> Result<&mut Gradient<Self>> {
        match buffer {
            Buffer::F32(gradient) => Ok(gradient),
            Buffer::F64(_) => bail!("an f32 gradient for an f64 weight"),
        }
    }

    fn take(storage: CpuStorage) -> Result<Vec<Self>> {
        match storage {
            CpuStorage::F32(values) => Ok(values),
            _ => bail!("elements of another type than f32"),
        }
    }

    unsafe fn multiply(
        out: &Columns<Self>,
        left: Matrix<Self>,
        right: Matrix<Self>,
        scale: Self,
        onto: Onto<Self>,
        parallel: bool,
    ) {
        // SAFETY: promised by the caller.
        unsafe { product::multiply_f32(out, left, right, scale, onto, parallel) };
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NEGATIVE_INFINITY: Self = f64::NEG_INFINITY;

    fn of(value: f64) -> Self {
        value
    }

    fn exp(self) -> Self {
        f64::exp(self)
    }

    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }

    fn erf(self) -> Self {
        candle_core::cpu::erf::erf_f64(self)
    }

    fn tanh(self) -> Self {
        f64::tanh(self)
    }

    fn greater(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }

    fn gradient(buffer: &mut Buffer) -> Result<&mut Gradient<Self>> {
        match buffer {
            Buffer::F64(gradient) => Ok(gradient),
            Buffer::F32(_) => bail!("an f64 gradient for an f32 weight"),
        }
    }

    fn take(storage: CpuStorage) -> Result<Vec<Self>> {
        match storage {
            CpuStorage::F64(values) => Ok(values),
            _ => bail!("elements of another type than f64"),
        }
    }

    unsafe fn multiply(
        out: &Columns<Self>,
        left: Matrix<Self>,
        right: Matrix<Self>,
        scale: Self,
        onto: Onto<Self>,
        _parallel: bool,
    ) {
        // SAFETY: promised by the caller.
        unsafe { product::multiply_f64(out, left, right, scale, onto) };
    }
}

/// Without a branch: of an `if`, the compiler may compute either side only where it is needed, and
/// then does not vectorise.
#[inline(always)]
fn select(condition: bool, yes: f32, no: f32) -> f32 {
    let mask = u32::from(condition).wrapping_neg();
    f32::from_bits((yes.to_bits() & mask) | (no.to_bits() & !mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, f: fn(f32) -> f32, truth: fn(f64) -> f64, relative: f64, absolute: f64) {
        for step in -120_000..=120_000 {
            let x = step as f32 * 1e-3;
            let (found, expected) = (f64::from(f(x)), truth(f64::from(x)));
            if expected.abs() > 2.4e38 || (expected != 0.0 && expected.abs() < 2e-38) {
                continue;
            }
            let error = (found - expected).abs();
            assert!(
                error <= relative * expected.abs() + absolute,
                "{name}({x}): {found}, not {expected}"
            );
        }
        assert!(f(f32::NAN).is_nan(), "{name}");
    }

    #[test]
    fn approximations_are_near_the_truth() {
        check("exp", <f32 as Real>::exp, f64::exp, 1.5e-7, 0.0);
        check("erf", <f32 as Real>::erf, candle_core::cpu::erf::erf_f64, 2e-7, 0.0);
        check("tanh", <f32 as Real>::tanh, f64::tanh, 4e-7, 1e-7);
        assert_eq!(<f32 as Real>::exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(<f32 as Real>::exp(0.0), 1.0);
        assert_eq!(<f32 as Real>::tanh(0.0), 0.0);
    }
}
