//! Between candle's tensors and the slices that kernels work on.

use std::ops::Deref;

use candle_core::{CpuStorage, Layout, Result, Shape, Storage, Tensor, bail};

use crate::nn::{Real, Weight};

/// Runs the expression with `$t` standing for the element type of a tensor or storage.
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

impl HasDType for CpuStorage {
    fn element(&self) -> candle_core::DType {
        candle_core::backend::BackendStorage::dtype(self)
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

/// The values under a contiguous layout.
pub fn read<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => bail!("an operation takes contiguous tensors, found {layout:?}"),
    }
}

pub fn output<T: Real>(values: Vec<T>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((T::to_cpu_storage_owned(values), shape.into()))
}

/// What an operation on `x` takes as a second input so that candle records it in the graph although
/// its weights are not inputs: a weight that trains, or `x` itself. Its gradient is `None`.
pub fn anchor<'a>(x: &Tensor, weights: impl IntoIterator<Item = &'a Weight>) -> Tensor {
    let mut weights = weights.into_iter().map(Weight::tensor);
    weights.find(|weight| weight.track_op()).unwrap_or(x).clone()
}
