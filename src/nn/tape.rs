//! The record of a forward pass, and the way back over it.
//!
//! Each operation leaves a closure that turns the gradient of its output into those of its inputs and
//! adds the weights' to their own buffers. On the way back the closures run in reverse and are dropped
//! one by one, and with them the activations that they kept. Unlike candle's own graph, a gradient is
//! summed in place, and an operation may have several outputs.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use candle_core::{CpuStorage, DType, Device, Result, Tensor, TensorId, bail};

use super::parallel::{ELEMENTS_PER_PIECE, for_rows};
use super::vector::{each_with, simd};
use super::{Real, Weight};

/// The numbers that matrix products of weights are computed with. Everything else is f32: weights,
/// their gradients and moments, norms, softmax, losses and all sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    #[default]
    F32,
    /// Factors are rounded to bf16; sums are f32.
    Bf16,
}

impl Precision {
    /// Whether this processor has products of this precision.
    pub fn is_available(self) -> bool {
        match self {
            Precision::F32 => true,
            Precision::Bf16 => super::product::bf16::is_available(),
        }
    }
}

/// The record of one forward pass. Clones share it.
#[derive(Clone, Default)]
pub struct Tape {
    recording: bool,
    precision: Precision,
    entries: Rc<RefCell<Vec<Entry>>>,
    /// Tensors that have a gradient.
    tracked: Rc<RefCell<HashSet<TensorId>>>,
}

struct Entry {
    outputs: Vec<TensorId>,
    backward: Box<Backward>,
}

type Backward = dyn FnOnce(Vec<Option<Gradient>>, &mut Gradients) -> Result<()>;

impl Tape {
    pub fn recording(precision: Precision) -> Self {
        Self { recording: true, precision, ..Self::default() }
    }

    /// For passes without a way back: nothing is kept.
    pub fn silent(precision: Precision) -> Self {
        Self { precision, ..Self::default() }
    }

    pub fn precision(&self) -> Precision {
        self.precision
    }

    pub fn is_recording(&self) -> bool {
        self.recording
    }

    /// Makes `x` a tensor whose gradient is wanted.
    pub fn watch(&self, x: &Tensor) {
        self.tracked.borrow_mut().insert(x.id());
    }

    pub(crate) fn tracks(&self, x: &Tensor) -> bool {
        self.tracked.borrow().contains(&x.id())
    }

    /// Whether an operation on these has to be recorded.
    pub(crate) fn needs<'a>(
        &self,
        inputs: &[&Tensor],
        weights: impl IntoIterator<Item = &'a Weight>,
    ) -> bool {
        let trains = |weight: &Weight| weight.is_trainable();
        self.recording
            && (inputs.iter().any(|input| self.tracks(input)) || weights.into_iter().any(trains))
    }

    /// Records how the gradient of `output` goes on.
    pub(crate) fn record(
        &self,
        output: &Tensor,
        backward: impl FnOnce(Gradient, &mut Gradients) -> Result<()> + 'static,
    ) {
        self.record_all(&[output], |mut of, gradients| match of.pop().flatten() {
            Some(gradient) => backward(gradient, gradients),
            None => Ok(()),
        });
    }

    /// Records how the gradients of several outputs of one operation go on; those that nothing
    /// depends on are `None`, but not all are.
    pub(crate) fn record_all(
        &self,
        outputs: &[&Tensor],
        backward: impl FnOnce(Vec<Option<Gradient>>, &mut Gradients) -> Result<()> + 'static,
    ) {
        outputs.iter().for_each(|output| self.watch(output));
        let outputs = outputs.iter().map(|output| output.id()).collect();
        self.entries.borrow_mut().push(Entry { outputs, backward: Box::new(backward) });
    }

    /// Goes back from `output` with its gradient; the record is empty afterwards. Weights have got
    /// their gradients then, and watched tensors have theirs in the result.
    pub fn backward(&self, output: &Tensor, gradient: Gradient) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        gradients.add(output.id(), gradient)?;
        loop {
            let Some(Entry { outputs, backward }) = self.entries.borrow_mut().pop() else { break };
            let of: Vec<_> = outputs.iter().map(|output| gradients.0.remove(output)).collect();
            if of.iter().any(Option::is_some) {
                backward(of, &mut gradients)?;
            }
        }
        Ok(gradients)
    }

    /// Goes back from a loss.
    pub fn backward_from_loss(&self, loss: &Tensor) -> Result<Gradients> {
        if loss.elem_count() != 1 {
            bail!("a loss is one number, found {:?}", loss.dims())
        }
        let one = match loss.dtype() {
            DType::F64 => Gradient::new(vec![1f64]),
            _ => Gradient::new(vec![1f32]),
        };
        self.backward(loss, one)
    }

    /// `f(x)` without keeping what happens inside: on the way back it is computed once more. `f` must
    /// compute the same each time.
    pub fn checkpoint(
        &self,
        x: &Tensor,
        f: impl Fn(&Tape, &Tensor) -> Result<Tensor> + 'static,
    ) -> Result<Tensor> {
        let y = f(&Tape::silent(self.precision), x)?;
        if self.recording {
            let (x, tracked, precision) = (x.clone(), self.tracks(x), self.precision);
            self.record(&y, move |dy, gradients| {
                let inner = Tape::recording(precision);
                if tracked {
                    inner.watch(&x);
                }
                let y = f(&inner, &x)?;
                let mut found = inner.backward(&y, dy)?;
                match found.take(&x) {
                    Some(dx) => gradients.add(x.id(), dx),
                    None => Ok(()),
                }
            });
        }
        Ok(y)
    }
}

/// The gradient of one tensor: its elements in order, in memory of its own.
#[derive(Debug, Clone)]
pub struct Gradient(CpuStorage);

impl Gradient {
    pub fn new<T: Real>(values: Vec<T>) -> Self {
        Self(T::to_cpu_storage_owned(values))
    }

    pub fn dtype(&self) -> DType {
        candle_core::backend::BackendStorage::dtype(&self.0)
    }

    /// Fails if the elements are of another type.
    pub fn get<T: Real>(&self) -> Result<&[T]> {
        self.0.as_slice::<T>()
    }

    /// The elements themselves. Fails if they are of another type.
    pub(crate) fn into_values<T: Real>(self) -> Result<Vec<T>> {
        T::take(self.0)
    }

    /// The elements as a tensor of this shape.
    pub(crate) fn into_tensor(self, shape: (usize, usize), device: &Device) -> Result<Tensor> {
        match self.0 {
            CpuStorage::F64(values) => Tensor::from_vec(values, shape, device),
            other => Tensor::from_vec(f32::take(other)?, shape, device),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        match (&mut self.0, &other.0) {
            (CpuStorage::F32(sum), CpuStorage::F32(added)) => add(sum, added),
            (CpuStorage::F64(sum), CpuStorage::F64(added)) => add(sum, added),
            _ => bail!("gradients of {:?} and {:?} of one tensor", self.dtype(), other.dtype()),
        }
        Ok(())
    }
}

fn add<T: Real>(sum: &mut [T], added: &[T]) {
    assert_eq!(sum.len(), added.len());
    for_rows(sum, 1, ELEMENTS_PER_PIECE, |start, sum| {
        let added = &added[start..start + sum.len()];
        simd(
            #[inline(always)]
            || each_with(sum, added, |sum, added| sum + added),
        );
    });
}

/// Gradients of tensors on the way back.
#[derive(Debug, Default)]
pub struct Gradients(HashMap<TensorId, Gradient>);

impl Gradients {
    /// Adds to the gradient of the tensor with this id. An operation that needs no more of its input
    /// keeps no more of it.
    pub(crate) fn add(&mut self, x: TensorId, gradient: Gradient) -> Result<()> {
        match self.0.entry(x) {
            std::collections::hash_map::Entry::Occupied(mut sum) => sum.get_mut().add(&gradient),
            std::collections::hash_map::Entry::Vacant(empty) => {
                empty.insert(gradient);
                Ok(())
            }
        }
    }

    /// The gradient of a watched tensor, if anything depended on it.
    pub fn take(&mut self, x: &Tensor) -> Option<Gradient> {
        self.0.remove(&x.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::activation::activation;
    use crate::nn::ops::check::tensor;
    use crate::nn::ops::linear::linear;
    use crate::nn::{Activation, Linear};

    fn weight(tag: u64) -> Weight {
        Weight::new(&tensor(&[6, 6], tag), true).unwrap()
    }

    fn flow(tape: &Tape, x: &Tensor, weights: &[Weight; 2]) -> Result<Tensor> {
        let [first, second] = [0, 1].map(|place| Linear::new(&weights[place], None));
        let y = linear(tape, x, &first)?;
        let y = activation(tape, &y, Activation::Gelu)?;
        linear(tape, &y, &second)
    }

    /// Computing again on the way back changes no bit.
    #[test]
    fn a_checkpoint_has_the_same_gradients() {
        let x = tensor(&[9, 6], 1);
        let run = |checkpointed: bool| {
            let weights = [weight(2), weight(3)];
            let tape = Tape::recording(Precision::F32);
            tape.watch(&x);
            let inner = weights.clone();
            let y = match checkpointed {
                true => tape.checkpoint(&x, move |tape, x| flow(tape, x, &inner)).unwrap(),
                false => flow(&tape, &x, &weights).unwrap(),
            };
            let kept = tape.entries.borrow().len();
            let mut found = tape.backward(&y, Gradient::new(vec![1f32; 54])).unwrap();
            let dx = found.take(&x).unwrap().get::<f32>().unwrap().to_vec();
            let gradients =
                weights.map(|weight| weight.gradient().unwrap().unwrap().to_vec2::<f32>().unwrap());
            (dx, gradients, kept)
        };
        let (plain, again) = (run(false), run(true));
        assert_eq!((plain.2, again.2), (3, 1));
        assert_eq!((plain.0, plain.1), (again.0, again.1));
    }

    #[test]
    fn a_silent_tape_keeps_nothing() {
        let tape = Tape::silent(Precision::F32);
        flow(&tape, &tensor(&[3, 6], 1), &[weight(2), weight(3)]).unwrap();
        assert!(tape.entries.borrow().is_empty());
    }
}
