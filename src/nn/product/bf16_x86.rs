//! AVX512-BF16: rounding, rearranging, and the inner loop over pairs.

use std::arch::x86_64::*;

use super::bf16::{Rows, WIDTH};
use super::drive::transpose;
use super::strip::{Kernel, Start, Strip, finish};

pub fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16")
}

/// Proof that the processor can do what this module does.
pub struct Dot(());

impl Dot {
    /// Panics on a processor without AVX512-BF16.
    pub fn new() -> Self {
        assert!(is_available(), "this processor has no products of bf16");
        Self(())
    }
}

const LANES: usize = 16;

impl Kernel for Dot {
    type Element = u32;

    fn width(&self) -> usize {
        WIDTH
    }

    unsafe fn run(&self, strip: &Strip<u32>) {
        // SAFETY: the processor was asked when `self` was made; the rest is promised by the caller.
        unsafe {
            match strip.columns.div_ceil(LANES) {
                1 => rows::<1>(strip),
                2 => rows::<2>(strip),
                _ => rows::<3>(strip),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn rows<const V: usize>(strip: &Strip<u32>) {
    let mut row = 0;
    // SAFETY: `row` and the rows behind it are rows of the strip.
    unsafe {
        while row + 8 <= strip.rows {
            tile::<8, V>(strip, row);
            row += 8;
        }
        if row + 4 <= strip.rows {
            tile::<4, V>(strip, row);
            row += 4;
        }
        if row + 2 <= strip.rows {
            tile::<2, V>(strip, row);
            row += 2;
        }
        if row < strip.rows {
            tile::<1, V>(strip, row);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn tile<const R: usize, const V: usize>(strip: &Strip<u32>, row: usize) {
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    // SAFETY: the caller promises that these rows and all steps can be read, and these rows written.
    unsafe {
        let mut left = strip.left.add(row * strip.left_row);
        let mut panel = strip.panel;
        for _ in 0..strip.steps {
            let mut right = [_mm512_setzero_si512(); V];
            for (v, right) in right.iter_mut().enumerate() {
                *right = _mm512_loadu_si512(panel.add(v * LANES).cast());
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let left = _mm512_set1_epi32((*left.add(r * strip.left_row)).cast_signed());
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = _mm512_dpbf16_ps(*sum, pairs(left), pairs(right));
                }
            }
            left = left.wrapping_add(strip.left_step);
            panel = panel.wrapping_add(strip.panel_step);
        }
        // What follows goes through memory; without this the loop above would, too.
        let sums = std::hint::black_box(sums);
        let scale = _mm512_set1_ps(strip.scale);
        for (r, sums) in sums.iter().enumerate() {
            let out = strip.out.add((row + r) * strip.out_row);
            for (v, sum) in sums.iter().enumerate() {
                let value = _mm512_mul_ps(*sum, scale);
                let first = v * LANES;
                if first + LANES <= strip.columns {
                    let value = match strip.start {
                        Start::Zero => value,
                        Start::Out => _mm512_add_ps(value, _mm512_loadu_ps(out.add(first))),
                        Start::Bias(bias) => _mm512_add_ps(value, _mm512_loadu_ps(bias.add(first))),
                    };
                    _mm512_storeu_ps(out.add(first), value);
                } else {
                    finish(strip.start, (&raw const value).cast(), first, strip.columns, out);
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn pairs(words: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of any value.
    unsafe { std::mem::transmute(words) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn words(pairs: __m512bh) -> __m512i {
    // SAFETY: both are 64 bytes of any value.
    unsafe { std::mem::transmute(pairs) }
}

/// The first `count` lanes, at most 16.
fn first(count: usize) -> __mmask16 {
    if count >= LANES { u16::MAX } else { (1 << count) - 1 }
}

/// Rounds a row; its neighbours become pairs.
pub fn round(values: &[f32], out: &mut [u32]) {
    let _proof = Dot::new();
    // SAFETY: the processor can.
    unsafe { round_row(values, out) };
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn round_row(values: &[f32], out: &mut [u32]) {
    assert_eq!(out.len(), values.len().div_ceil(2));
    for (values, out) in values.chunks(2 * LANES).zip(out.chunks_mut(LANES)) {
        let (low, high) = (first(values.len()), first(values.len().saturating_sub(LANES)));
        // SAFETY: masked lanes are not accessed.
        unsafe {
            let from = values.as_ptr();
            let low = _mm512_maskz_loadu_ps(low, from);
            let high = _mm512_maskz_loadu_ps(high, from.wrapping_add(LANES));
            let rounded = words(_mm512_cvtne2ps_pbh(high, low));
            _mm512_mask_storeu_epi32(out.as_mut_ptr().cast(), first(out.len()), rounded);
        }
    }
}

/// The values of a row of pairs.
pub fn widen(from: &[u32], out: &mut [f32]) {
    assert_eq!(from.len(), out.len().div_ceil(2));
    for (pair, out) in from.iter().zip(out.chunks_mut(2)) {
        for (value, bits) in out.iter_mut().zip([pair << 16, pair & 0xFFFF_0000]) {
            *value = f32::from_bits(bits);
        }
    }
}

/// A panel of the columns from `start`, of neighbouring rows.
pub fn pair_rows(values: &[f32], rows: usize, columns: usize, start: usize, out: &mut [u32]) {
    assert!(values.len() == rows * columns && start < columns);
    let _proof = Dot::new();
    // SAFETY: the processor can; the loads stay within rows and columns.
    unsafe {
        interleave(rows, columns, start, out, |row, column, lanes| {
            let mask = first(lanes);
            let load = |row: usize| {
                let mask = if row < rows { mask } else { 0 };
                _mm512_maskz_loadu_ps(mask, values.as_ptr().wrapping_add(row * columns + column))
            };
            words(_mm512_cvtne2ps_pbh(load(row + 1), load(row)))
        });
    }
}

/// [`pair_rows`] of a matrix that is rounded.
pub fn pair_rounded(from: &Rows, start: usize, out: &mut [u32]) {
    assert!(start < from.columns);
    let step = from.columns.div_ceil(2) * 2;
    let _proof = Dot::new();
    // SAFETY: the processor can; the loads stay within rows and columns.
    unsafe {
        interleave(from.rows, from.columns, start, out, |row, column, lanes| {
            let mask = first(lanes);
            let load = |row: usize| {
                let mask = if row < from.rows { mask } else { 0 };
                let values = from.values.as_ptr().cast::<i16>();
                _mm256_maskz_loadu_epi16(mask, values.wrapping_add(row * step + column))
            };
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load(row)), load(row + 1))
        });
    }
}

/// Calls `load(row, column, lanes)` for a vector with up to 16 values of `row` in its lower half and
/// of the next row in its upper half, and writes them as pairs.
///
/// # Safety
/// The processor has AVX512-BF16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn interleave(
    rows: usize,
    columns: usize,
    start: usize,
    out: &mut [u32],
    load: impl Fn(usize, usize, usize) -> __m512i,
) {
    assert_eq!(out.len(), rows.div_ceil(2) * WIDTH);
    let mut order = [0u16; 2 * LANES];
    for lane in 0..LANES {
        order[2 * lane] = lane as u16;
        order[2 * lane + 1] = (LANES + lane) as u16;
    }
    // SAFETY: 64 bytes are read, and each vector of a panel is written once.
    unsafe {
        let order = _mm512_loadu_si512(order.as_ptr().cast());
        for (pair, out) in out.chunks_exact_mut(WIDTH).enumerate() {
            for (vector, out) in out.chunks_exact_mut(LANES).enumerate() {
                let column = start + vector * LANES;
                let lanes = columns.saturating_sub(column).min(LANES);
                let halves = load(2 * pair, column, lanes);
                let paired = _mm512_permutexvar_epi16(order, halves);
                _mm512_storeu_si512(out.as_mut_ptr().cast(), paired);
            }
        }
    }
}

/// A panel of the rows from `start`, as its columns: neighbours in a row are pairs.
pub fn pair_columns(values: &[f32], rows: usize, columns: usize, start: usize, out: &mut [u32]) {
    assert!(values.len() == rows * columns && start < rows);
    assert_eq!(out.len(), columns.div_ceil(2) * WIDTH);
    let _proof = Dot::new();
    let width = WIDTH.min(rows - start);
    if width < WIDTH {
        out.fill(0);
    }
    // Blocks of the inner dimension, so that what is written stays in the first cache.
    let mut rounded = [[0u32; PAIRS_PER_BLOCK]; WIDTH];
    for (block, out) in out.chunks_mut(PAIRS_PER_BLOCK * WIDTH).enumerate() {
        let pairs = out.len() / WIDTH;
        let from = block * PAIRS_PER_BLOCK * 2;
        let count = (columns - from).min(2 * pairs);
        for (place, rounded) in rounded[..width].iter_mut().enumerate() {
            let row = &values[(start + place) * columns + from..][..count];
            // SAFETY: the processor can.
            unsafe { round_row(row, &mut rounded[..pairs]) };
        }
        transpose(width, |place| &rounded[place][..pairs], out, WIDTH);
    }
}

/// Pairs of a column that are written at a time.
const PAIRS_PER_BLOCK: usize = 64;
