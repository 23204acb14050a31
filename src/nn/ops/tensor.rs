//! Between candle's tensors and the slices that kernels work on.

use std::ops::Deref;

use candle_core::{Result, Storage, Tensor, bail};

use crate::nn::Real;
use crate::nn::tape::Gradient;

/// Runs the expression with `$t` standing for the element type of a tensor or gradient.
macro_rules! by_dtype {
    ($tensor:expr, $t:ident => $body:expr) => {
        match {
            use $crate::nn::ops::tensor::HasDType;
            $tensor.element()
        } {
            candle_core::DType::F32 => {
                type $t = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $t = f64;
                $body
            }
            other => candle_core::bail!("operations take f32 or f64, found {other:?}"),
        }
    };
}
pub(crate) use by_dtype;

pub trait HasDType {
    fn element(&self) -> candle_core::DType;
}

impl HasDType for Tensor {
    fn element(&self) -> candle_core::DType {
        self.dtype()
    }
}

impl HasDType for Gradient {
    fn element(&self) -> candle_core::DType {
        self.dtype()
    }
}

/// The values of a contiguous tensor, locked for reading.
pub struct Slice<'a, T> {
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    start: usize,
    end: usize,
    element: std::marker::PhantomData<T>,
}

impl<'a, T: Real> Slice<'a, T> {
    pub fn new(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("an operation takes contiguous tensors, found {layout:?}")
        };
        match &*storage {
            Storage::Cpu(values) => values.as_slice::<T>()?,
            _ => bail!("operations work in the main memory"),
        };
        Ok(Self { storage: Box::new(storage), start, end, element: std::marker::PhantomData })
    }

    pub fn get(&self) -> &[T] {
        match &**self.storage {
            Storage::Cpu(values) => {
                values.as_slice::<T>().map_or(&[], |values| &values[self.start..self.end])
            }
            _ => &[],
        }
    }
}
