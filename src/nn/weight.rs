//! A weight: its tensor, whether it trains, and the buffer that its gradient is added to.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Result, Tensor, Var, bail};

use super::Real;
use super::ops::tensor::Slice;
use super::product::bf16::Panels;

/// A tensor that an operation reads and, unless it is frozen, computes a gradient for. Clones share
/// values, gradient and the frozen flag. Dereferences to the tensor that reference paths use.
#[derive(Clone)]
pub struct Weight(Arc<Inner>);

struct Inner {
    /// None where the values are another's, and never change.
    var: Option<Var>,
    /// The same storage, outside of every graph.
    detached: Tensor,
    trainable: AtomicBool,
    gradient: Mutex<Buffer>,
    /// The values in bf16, by [`Orientation`], until they change.
    panels: Mutex<[Option<Arc<Panels>>; 2]>,
}

/// How a matrix is a right factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orientation {
    /// As it is: the inner dimension is its rows.
    Plain,
    Transposed,
}

/// The gradient of one weight, summed since the last [`Weight::zero_grad`].
pub enum Buffer {
    F32(Gradient<f32>),
    F64(Gradient<f64>),
}

pub struct Gradient<T> {
    values: Vec<T>,
    state: State,
}

/// What the values of a buffer are.
enum State {
    /// All are zero, nothing was added.
    Empty,
    /// Left from before: the next contribution overwrites them.
    Stale,
    /// A sum of contributions to any element.
    Summed,
    /// A sum of contributions to these rows alone, each named once, in order; all others are zero.
    Rows(Vec<u32>),
}

impl Weight {
    /// Copies `tensor` into a weight of its own. f32 or f64.
    pub fn new(tensor: &Tensor, trainable: bool) -> Result<Self> {
        let var = Var::from_tensor(&tensor.contiguous()?)?;
        let detached = var.as_detached_tensor();
        let gradient = match var.dtype() {
            DType::F32 => Buffer::F32(Gradient::empty()),
            DType::F64 => Buffer::F64(Gradient::empty()),
            other => bail!("a weight is f32 or f64, found {other:?}"),
        };
        Ok(Self(Arc::new(Inner {
            var: Some(var),
            detached,
            trainable: AtomicBool::new(trainable),
            gradient: Mutex::new(gradient),
            panels: Mutex::default(),
        })))
    }

    /// A weight that shares the values of `tensor`: it never trains and never changes. f32.
    pub fn fixed(tensor: &Tensor) -> Result<Self> {
        let detached = tensor.contiguous()?.detach();
        if detached.dtype() != DType::F32 {
            bail!("a fixed weight is f32, found {:?}", detached.dtype())
        }
        Ok(Self(Arc::new(Inner {
            var: None,
            detached,
            trainable: AtomicBool::new(false),
            gradient: Mutex::new(Buffer::F32(Gradient::empty())),
            panels: Mutex::default(),
        })))
    }

    /// What reference paths read: the variable if it trains, else its values outside of the graph.
    pub fn tensor(&self) -> &Tensor {
        match &self.0.var {
            Some(var) if self.is_trainable() => var.as_tensor(),
            _ => &self.0.detached,
        }
    }

    pub fn is_trainable(&self) -> bool {
        self.0.trainable.load(Ordering::Relaxed)
    }

    /// The values, outside of every graph, sharing their storage.
    pub fn values(&self) -> &Tensor {
        &self.0.detached
    }

    /// Freezes the weight or thaws it, for every clone. A fixed weight stays frozen.
    pub fn set_trainable(&self, trainable: bool) {
        self.0.trainable.store(trainable && self.0.var.is_some(), Ordering::Relaxed);
    }

    /// Replaces the values. The shape and dtype stay.
    pub fn set(&self, values: &Tensor) -> Result<()> {
        *self.lock_panels() = Default::default();
        self.var()?.set(values)
    }

    /// The values of a matrix, rounded to bf16 for products: once for all products between two
    /// updates. f32 only.
    pub(crate) fn panels(&self, orientation: Orientation) -> Result<Arc<Panels>> {
        let mut panels = self.lock_panels();
        let slot = &mut panels[orientation as usize];
        if let Some(panels) = slot {
            return Ok(panels.clone());
        }
        let (_, columns) = self.dims2()?;
        let values = Slice::<f32>::new(&self.0.detached)?;
        let made = match orientation {
            Orientation::Plain => Panels::new(values.get(), columns),
            Orientation::Transposed => Panels::transposed(values.get(), columns),
        };
        Ok(slot.insert(Arc::new(made)).clone())
    }

    /// True if a backward has added to the gradient since [`Self::zero_grad`].
    pub fn has_gradient(&self) -> bool {
        match &*self.buffer() {
            Buffer::F32(gradient) => gradient.is_set(),
            Buffer::F64(gradient) => gradient.is_set(),
        }
    }

    /// A copy of the gradient, or `None` if nothing was added to it.
    pub fn gradient(&self) -> Result<Option<Tensor>> {
        let values = match &*self.buffer() {
            Buffer::F32(gradient) if gradient.is_set() => {
                Tensor::from_slice(&gradient.values, self.shape(), self.device())?
            }
            Buffer::F64(gradient) if gradient.is_set() => {
                Tensor::from_slice(&gradient.values, self.shape(), self.device())?
            }
            _ => return Ok(None),
        };
        Ok(Some(values))
    }

    pub fn zero_grad(&self) {
        let columns = self.columns();
        match &mut *self.buffer() {
            Buffer::F32(gradient) => gradient.clear(columns),
            Buffer::F64(gradient) => gradient.clear(columns),
        }
    }

    /// Adds a gradient that a reference path computed.
    pub fn add_gradient(&self, gradient: &Tensor) -> Result<()> {
        if gradient.shape() != self.shape() {
            bail!("a gradient of shape {:?} for a weight of {:?}", gradient.shape(), self.shape())
        }
        match self.dtype() {
            DType::F64 => self.add_values::<f64>(gradient),
            _ => self.add_values::<f32>(gradient),
        }
    }

    /// Calls `update(values, gradient, rows)` with the first two as flat slices. `rows`: the only ones
    /// whose gradient is not zero, in order, where that is known. Does nothing without a gradient or
    /// if the weight is frozen. f32 only.
    pub fn update(&self, mut update: impl FnMut(&mut [f32], &[f32], Option<&[u32]>)) -> Result<()> {
        let buffer = self.buffer();
        let Buffer::F32(gradient) = &*buffer else { bail!("only f32 weights are updated") };
        if !gradient.is_set() || !self.is_trainable() {
            return Ok(());
        }
        self.change(|values| update(values, &gradient.values, gradient.rows()))
    }

    /// Calls `change(values)`, with or without a gradient. f32 only.
    pub fn change(&self, change: impl FnMut(&mut [f32])) -> Result<()> {
        *self.lock_panels() = Default::default();
        self.var()?.inplace_op1(&Change(Mutex::new(change)))
    }

    /// Calls `read(gradient, rows)`, as [`Self::update`]; `None` if nothing was added to the gradient.
    /// f32 only.
    pub fn with_gradient<R>(&self, read: impl FnOnce(&[f32], Option<&[u32]>) -> R) -> Option<R> {
        match &*self.buffer() {
            Buffer::F32(gradient) if gradient.is_set() => {
                Some(read(&gradient.values, gradient.rows()))
            }
            _ => None,
        }
    }

    /// Calls `add(gradient, is_first)`: all of `gradient` is to be overwritten if `is_first`, else
    /// added to. For the backwards of operations.
    pub(crate) fn contribute<T: Real>(&self, add: impl FnOnce(&mut [T], bool)) -> Result<()> {
        let count = self.elem_count();
        let mut buffer = self.buffer();
        let gradient = T::gradient(&mut buffer)?;
        let is_first = !gradient.is_set();
        gradient.reserve(count);
        add(&mut gradient.values, is_first);
        gradient.state = State::Summed;
        Ok(())
    }

    /// Calls `add(gradient)`, which adds to these rows alone. Every other row keeps its value.
    pub(crate) fn contribute_rows<T: Real>(
        &self,
        rows: &[u32],
        add: impl FnOnce(&mut [T]),
    ) -> Result<()> {
        let count = self.elem_count();
        let mut buffer = self.buffer();
        let gradient = T::gradient(&mut buffer)?;
        gradient.reserve(count);
        if matches!(gradient.state, State::Stale) {
            gradient.values.fill(T::ZERO);
            gradient.state = State::Empty;
        }
        add(&mut gradient.values);
        if matches!(gradient.state, State::Empty | State::Stale) {
            gradient.state = State::Rows(Vec::new());
        }
        if let State::Rows(known) = &mut gradient.state {
            known.extend_from_slice(rows);
            known.sort_unstable();
            known.dedup();
        }
        Ok(())
    }

    fn add_values<T: Real>(&self, gradient: &Tensor) -> Result<()> {
        let added = gradient.flatten_all()?.to_vec1::<T>()?;
        self.contribute::<T>(|sum, is_first| {
            if is_first {
                sum.copy_from_slice(&added);
            } else {
                sum.iter_mut().zip(&added).for_each(|(sum, &value)| *sum += value);
            }
        })
    }

    fn var(&self) -> Result<&Var> {
        match &self.0.var {
            Some(var) => Ok(var),
            None => bail!("a fixed weight does not change"),
        }
    }

    fn lock_panels(&self) -> MutexGuard<'_, [Option<Arc<Panels>>; 2]> {
        self.0.panels.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The size of the last dimension.
    pub fn columns(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }

    /// A panic while a gradient is added leaves a partial sum; the run ends with that panic.
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.0.gradient.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Deref for Weight {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        self.tensor()
    }
}

impl std::fmt::Debug for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Weight({:?}, trainable: {})", self.shape(), self.is_trainable())
    }
}

impl<T: Real> Gradient<T> {
    /// Memory is taken when the first contribution comes.
    fn empty() -> Self {
        Self { values: Vec::new(), state: State::Empty }
    }

    fn is_set(&self) -> bool {
        matches!(self.state, State::Summed | State::Rows(_))
    }

    fn rows(&self) -> Option<&[u32]> {
        match &self.state {
            State::Rows(rows) => Some(rows),
            _ => None,
        }
    }

    fn reserve(&mut self, count: usize) {
        if self.values.len() != count {
            self.values = vec![T::ZERO; count];
        }
    }

    fn clear(&mut self, columns: usize) {
        self.state = match std::mem::replace(&mut self.state, State::Empty) {
            State::Empty => State::Empty,
            State::Stale | State::Summed => State::Stale,
            State::Rows(rows) => {
                for row in rows {
                    let start = row as usize * columns;
                    self.values[start..start + columns].fill(T::ZERO);
                }
                State::Empty
            }
        };
    }
}

struct Change<F>(Mutex<F>);

impl<F: FnMut(&mut [f32])> InplaceOp1 for Change<F> {
    fn name(&self) -> &'static str {
        "change-weight"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("only contiguous f32 weights are changed")
        };
        let mut change = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        (*change)(&mut values[start..end]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn weight() -> Weight {
        let values = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        Weight::new(&values, true).unwrap()
    }

    fn gradient(weight: &Weight) -> Option<Vec<Vec<f32>>> {
        weight.gradient().unwrap().map(|gradient| gradient.to_vec2().unwrap())
    }

    #[test]
    fn contributions_are_summed_and_forgotten() {
        let weight = weight();
        let ones = weight.tensor().ones_like().unwrap();
        assert_eq!(gradient(&weight), None);
        for _ in 0..2 {
            weight.add_gradient(&ones).unwrap();
            weight.add_gradient(&ones).unwrap();
            assert_eq!(gradient(&weight), Some(vec![vec![2.0, 2.0], vec![2.0, 2.0]]));
            weight.zero_grad();
            assert_eq!(gradient(&weight), None);
        }
        let add_to_last = |values: &mut [f32]| values[2..].iter_mut().for_each(|v| *v += 5.0);
        for _ in 0..2 {
            weight.contribute_rows::<f32>(&[1, 1], add_to_last).unwrap();
            assert_eq!(weight.with_gradient(|_, rows| rows == Some(&[1])), Some(true));
            assert_eq!(gradient(&weight), Some(vec![vec![0.0, 0.0], vec![5.0, 5.0]]));
            weight.zero_grad();
        }
        weight.contribute_rows::<f32>(&[1], add_to_last).unwrap();
        weight.add_gradient(&ones).unwrap();
        assert_eq!(gradient(&weight), Some(vec![vec![1.0, 1.0], vec![6.0, 6.0]]));
        assert_eq!(weight.with_gradient(|_, rows| rows.is_none()), Some(true));
    }

    #[test]
    fn updates_change_the_values_that_every_clone_reads() {
        let weight = weight();
        let clone = weight.clone();
        let descend = |values: &mut [f32], gradient: &[f32], _: Option<&[u32]>| {
            values.iter_mut().zip(gradient).for_each(|(value, gradient)| *value -= gradient);
        };
        weight.update(descend).unwrap();
        assert_eq!(clone.to_vec2::<f32>().unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
        weight.add_gradient(&weight.tensor().ones_like().unwrap()).unwrap();
        weight.update(descend).unwrap();
        assert_eq!(clone.to_vec2::<f32>().unwrap(), [[0.0, 1.0], [2.0, 3.0]]);
        clone.set_trainable(false);
        assert!(!weight.is_trainable() && !weight.tensor().track_op());
        weight.update(descend).unwrap();
        assert_eq!(clone.to_vec2::<f32>().unwrap(), [[0.0, 1.0], [2.0, 3.0]]);
    }
}
