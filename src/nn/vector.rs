//! Loops over slices that the compiler turns into vector instructions.
//!
//! All are inlined into their caller, so that inside of [`simd`] they use the widest vectors that the
//! processor has. They loop with `for`: `Iterator::for_each` is a function of its own, which would be
//! compiled for the processor that the build targets.

use super::Real;

/// Runs `f` compiled for the widest vectors that the processor has. `f` and what it calls must be
/// inlined for that.
#[inline(always)]
pub fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// `out = f(out)`.
#[inline(always)]
pub fn each<T: Real>(out: &mut [T], f: impl Fn(T) -> T) {
    for out in out {
        *out = f(*out);
    }
}

/// `out = f(out, x)`, as far as both go.
#[inline(always)]
pub fn each_with<T: Real>(out: &mut [T], x: &[T], f: impl Fn(T, T) -> T) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = f(*out, x);
    }
}

/// `out = f(out, x, y)`, as far as all go.
#[inline(always)]
pub fn each_with2<T: Real>(out: &mut [T], x: &[T], y: &[T], f: impl Fn(T, T, T) -> T) {
    for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
        *out = f(*out, x, y);
    }
}

/// Partial sums that are kept side by side, so that a sum vectorises.
pub const LANES: usize = 16;

/// Σ f(x), in an order that depends on the length alone.
#[inline(always)]
pub fn sum<T: Real>(values: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            lanes[lane] += f(chunk[lane]);
        }
    }
    each_with(&mut lanes, chunks.remainder(), |lane, x| lane + f(x));
    fold(lanes)
}

/// Σ x·y, in an order that depends on the length alone.
#[inline(always)]
pub fn dot<T: Real>(left: &[T], right: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (mut left, mut right) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    for (left, right) in (&mut left).zip(&mut right) {
        for lane in 0..LANES {
            lanes[lane] += left[lane] * right[lane];
        }
    }
    each_with2(&mut lanes, left.remainder(), right.remainder(), |lane, x, y| lane + x * y);
    fold(lanes)
}

/// The greatest value; NaN if there is one.
#[inline(always)]
pub fn max<T: Real>(values: &[T]) -> T {
    let mut lanes = [T::NEGATIVE_INFINITY; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            lanes[lane] = chunk[lane].greater(lanes[lane]);
        }
    }
    each_with(&mut lanes, chunks.remainder(), |lane, x| x.greater(lane));
    let mut most = T::NEGATIVE_INFINITY;
    for lane in lanes {
        most = lane.greater(most);
    }
    most
}

#[inline(always)]
fn fold<T: Real>(mut lanes: [T; LANES]) -> T {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            let other = lanes[lane + width];
            lanes[lane] += other;
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_by_hand() {
        for count in [0usize, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
            let exact: usize = (0..count).sum();
            assert_eq!(sum(&values, |x| x), exact as f32);
            assert_eq!(dot(&values, &vec![2.0; count]), 2.0 * exact as f32);
            let last = values.last().copied().unwrap_or(f32::NEG_INFINITY);
            assert_eq!(max(&values), last);
        }
        assert!(max(&[1.0, f32::NAN, 2.0]).is_nan());
        assert!(max(&[f32::NAN, 1.0]).is_nan());
    }
}
