//! The inner loops of a product: some rows of the left matrix times one panel of the right one.
//!
//! A tile of the result stays in registers while the loop runs over the inner dimension; each step
//! multiplies one element of every row with vectors of the panel. The sum over the inner dimension has
//! one order, whatever the tile's size: results do not depend on how rows are cut.

use pulp::{Arch, Simd, WithSimd};

/// Vectors that a panel is wide.
const VECTORS: usize = 3;

/// What the result starts from.
#[derive(Clone, Copy)]
pub enum Start {
    Zero,
    /// What stands there.
    Out,
    /// One value for each column of the strip.
    Bias(*const f32),
}

/// `rows` × `columns` of the result. `E` is an element of the inner loop: an f32, or two bf16.
#[derive(Clone, Copy)]
pub struct Strip<E> {
    pub left: *const E,
    /// From one row of `left` to the next, and from one step of the inner dimension to the next.
    pub left_row: usize,
    pub left_step: usize,
    pub rows: usize,
    /// Whole vectors can be read at each step, also where fewer columns are wanted.
    pub panel: *const E,
    pub panel_step: usize,
    /// At most the kernel's width.
    pub columns: usize,
    pub steps: usize,
    pub out: *mut f32,
    pub out_row: usize,
    pub scale: f32,
    pub start: Start,
}

/// A processor's way to compute strips.
pub trait Kernel: Sync {
    type Element: Copy + Send + Sync;

    /// Columns of a panel.
    fn width(&self) -> usize;

    /// # Safety
    /// What the strip describes lies within memory that is readable, and writable for `out`; nothing
    /// else uses that part of `out` meanwhile.
    unsafe fn run(&self, strip: &Strip<Self::Element>);
}

/// AVX-512, AVX2, NEON or plain code, as the processor has it.
#[derive(Clone, Copy, Default)]
pub struct Float(Arch);

/// Elements of one vector.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

impl Float {
    /// Elements of one vector.
    pub fn lanes(&self) -> usize {
        self.0.dispatch(Lanes)
    }
}

impl Kernel for Float {
    type Element = f32;

    fn width(&self) -> usize {
        VECTORS * self.lanes()
    }

    unsafe fn run(&self, strip: &Strip<f32>) {
        let rows = if self.0.dispatch(HasManyRegisters) { 8 } else { 4 };
        match strip.columns.div_ceil(self.lanes()) {
            1 => self.rows::<1>(strip, rows),
            2 => self.rows::<2>(strip, rows),
            _ => self.rows::<VECTORS>(strip, rows),
        }
    }
}

impl Float {
    fn rows<const V: usize>(&self, strip: &Strip<f32>, most: usize) {
        let mut row = 0;
        while row < strip.rows {
            row += match (strip.rows - row).min(most) {
                8.. => self.tile::<8, V>(strip, row),
                4.. => self.tile::<4, V>(strip, row),
                2.. => self.tile::<2, V>(strip, row),
                _ => self.tile::<1, V>(strip, row),
            };
        }
    }

    /// A function of its own for each size of tile: among others, the compiler does not keep the sums
    /// in registers.
    #[inline(never)]
    fn tile<const R: usize, const V: usize>(&self, strip: &Strip<f32>, row: usize) -> usize {
        self.0.dispatch(Tile::<R, V> { strip, row });
        R
    }
}

/// Whether the sums of eight rows and one step's vectors fit the registers.
struct HasManyRegisters;

impl WithSimd for HasManyRegisters {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        S::REGISTER_COUNT >= 32
    }
}

struct Tile<'a, const R: usize, const V: usize> {
    strip: &'a Strip<f32>,
    row: usize,
}

impl<const R: usize, const V: usize> WithSimd for Tile<'_, R, V> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: as `Kernel::run` was promised.
        unsafe { tile::<S, R, V>(simd, self.strip, self.row) }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const V: usize>(simd: S, strip: &Strip<f32>, row: usize) {
    let lanes = S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    // SAFETY: the caller promises that these rows and all steps can be read, and these rows written.
    unsafe {
        let mut left = strip.left.add(row * strip.left_row);
        let mut panel = strip.panel;
        for _ in 0..strip.steps {
            let mut right = [simd.splat_f32s(0.0); V];
            for (v, right) in right.iter_mut().enumerate() {
                *right = panel.add(v * lanes).cast::<S::f32s>().read_unaligned();
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let left = simd.splat_f32s(*left.add(r * strip.left_row));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = simd.mul_add_f32s(left, right, *sum);
                }
            }
            left = left.wrapping_add(strip.left_step);
            panel = panel.wrapping_add(strip.panel_step);
        }
        // What follows goes through memory; without this the loop above would, too.
        let sums = std::hint::black_box(sums);
        let scale = simd.splat_f32s(strip.scale);
        for (r, sums) in sums.iter().enumerate() {
            let out = strip.out.add((row + r) * strip.out_row);
            for (v, sum) in sums.iter().enumerate() {
                let value = simd.mul_f32s(*sum, scale);
                let first = v * lanes;
                if first + lanes <= strip.columns {
                    let out = out.add(first).cast::<S::f32s>();
                    let value = match strip.start {
                        Start::Zero => value,
                        Start::Out => simd.add_f32s(value, out.read_unaligned()),
                        Start::Bias(bias) => {
                            let bias = bias.add(first).cast::<S::f32s>().read_unaligned();
                            simd.add_f32s(value, bias)
                        }
                    };
                    out.write_unaligned(value);
                } else {
                    let values = (&raw const value).cast::<f32>();
                    finish(strip.start, values, first, strip.columns, out);
                }
            }
        }
    }
}

/// The columns from `first` that do not fill a vector.
///
/// # Safety
/// `values` holds `columns - first` values, and `out` a row of `columns`.
#[inline(always)]
pub unsafe fn finish(
    start: Start,
    values: *const f32,
    first: usize,
    columns: usize,
    out: *mut f32,
) {
    for column in first..columns {
        // SAFETY: promised by the caller.
        unsafe {
            let before = match start {
                Start::Zero => 0.0,
                Start::Out => *out.add(column),
                Start::Bias(bias) => *bias.add(column),
            };
            *out.add(column) = *values.add(column - first) + before;
        }
    }
}
