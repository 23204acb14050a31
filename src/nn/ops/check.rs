//! The one check of every operation: fused = reference, fused = central finite differences, frozen
//! weights change nothing else, and one thread computes the same bits as two.

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::base::random::{Purpose, Stream};
use crate::nn::Weight;
use crate::nn::tape::{Gradient, Precision, Tape};

/// `count` numbers from the standard normal distribution, a function of `tag`.
pub fn numbers(count: usize, tag: u64) -> Vec<f32> {
    let stream = Stream::new(2026, Purpose::Sample);
    (0..count).map(|element| stream.normal(tag, element as u64) as f32).collect()
}

/// Runs `f` where rayon has this many threads.
pub fn in_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

pub fn tensor(shape: &[usize], tag: u64) -> Tensor {
    Tensor::from_vec(numbers(shape.iter().product(), tag), shape, &Device::Cpu).unwrap()
}

pub fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// ‖a − b‖ / ‖b‖ is at most `tolerance`, with an absolute floor for what is zero.
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let size = norm(&mut expected.iter().copied());
    let allowed = tolerance * size.max(1e-2 * (expected.len() as f64).sqrt());
    assert!(difference <= allowed, "{what}: differs by {difference:e}, size {size:e}");
}

/// A tape for values alone.
pub fn silent() -> Tape {
    Tape::silent(Precision::F32)
}

/// The fused form, or the reference, which leaves its graph to candle.
enum Forward<'a> {
    Fused(&'a Fused<'a>),
    Reference(&'a Reference<'a>),
}

type Fused<'a> = dyn Fn(&Tape, &[Tensor], &[Weight]) -> Result<Tensor> + Sync + 'a;
type Reference<'a> = dyn Fn(&[Tensor], &[Weight]) -> Result<Tensor> + Sync + 'a;

pub struct Check {
    name: String,
    inputs: Vec<Tensor>,
    weights: Vec<Tensor>,
    differences: bool,
}

/// The result and the gradients of inputs and weights.
#[derive(Debug, PartialEq)]
struct Outcome {
    value: Vec<f64>,
    inputs: Vec<Option<Vec<f64>>>,
    weights: Vec<Option<Vec<f64>>>,
}

impl Check {
    pub fn new(name: &str) -> Self {
        let name = name.to_string();
        Self { name, inputs: Vec::new(), weights: Vec::new(), differences: true }
    }

    /// For operations that take no gradient of a part on purpose.
    pub fn without_differences(mut self) -> Self {
        self.differences = false;
        self
    }

    pub fn input(mut self, shape: &[usize]) -> Self {
        let tag = (self.inputs.len() + self.weights.len()) as u64;
        self.inputs.push(tensor(shape, tag));
        self
    }

    pub fn weight(mut self, shape: &[usize]) -> Self {
        let tag = (self.inputs.len() + self.weights.len()) as u64;
        self.weights.push(tensor(shape, tag));
        self
    }

    pub fn run(
        self,
        fused: impl Fn(&Tape, &[Tensor], &[Weight]) -> Result<Tensor> + Sync,
        reference: impl Fn(&[Tensor], &[Weight]) -> Result<Tensor> + Sync,
    ) {
        let name = &self.name;
        let (fused, reference) = (Forward::Fused(&fused), Forward::Reference(&reference));
        let all = vec![true; self.weights.len()];
        let found = self.outcome(DType::F32, &fused, &all, true);
        compare(
            &format!("{name}, f32"),
            &found,
            &self.outcome(DType::F32, &reference, &all, true),
            2e-5,
        );
        let exact = self.outcome(DType::F64, &fused, &all, true);
        compare(
            &format!("{name}, f64"),
            &exact,
            &self.outcome(DType::F64, &reference, &all, true),
            1e-9,
        );
        if self.differences {
            self.finite_differences(&fused, &exact);
        }
        for threads in [1, 2] {
            let again = in_threads(threads, || self.outcome(DType::F32, &fused, &all, true));
            assert!(again == found, "{name}: {threads} threads give other bits");
        }
        for frozen in 0..self.weights.len() {
            let trainable: Vec<bool> = (0..all.len()).map(|place| place != frozen).collect();
            let again = self.outcome(DType::F32, &fused, &trainable, true);
            assert_eq!(again.weights[frozen], None, "{name}: a frozen weight got a gradient");
            assert!(again.inputs == found.inputs, "{name}: freezing changed the inputs' gradients");
            for place in (0..all.len()).filter(|place| *place != frozen) {
                assert!(again.weights[place] == found.weights[place], "{name}: freezing {frozen}");
            }
        }
        // The first layer of a model: what comes in is outside of the graph.
        if !self.weights.is_empty() {
            let again = self.outcome(DType::F32, &fused, &all, false);
            assert!(again.weights == found.weights, "{name}: inputs outside of the graph");
        }
    }

    fn outcome(
        &self,
        dtype: DType,
        forward: &Forward,
        trainable: &[bool],
        tracked: bool,
    ) -> Outcome {
        let vars: Vec<Var> = self
            .inputs
            .iter()
            .map(|input| Var::from_tensor(&input.to_dtype(dtype).unwrap()).unwrap())
            .collect();
        let weights: Vec<Weight> = self
            .weights
            .iter()
            .zip(trainable)
            .map(|(weight, &trainable)| {
                Weight::new(&weight.to_dtype(dtype).unwrap(), trainable).unwrap()
            })
            .collect();
        let (value, inputs) = match forward {
            Forward::Fused(forward) => {
                let tape = Tape::recording(Precision::F32);
                let inputs: Vec<Tensor> = vars.iter().map(Var::as_detached_tensor).collect();
                if tracked {
                    inputs.iter().for_each(|input| tape.watch(input));
                }
                let value = forward(&tape, &inputs, &weights).unwrap();
                let root = factors(&value).flatten_all().unwrap();
                let root = match dtype {
                    DType::F32 => Gradient::new(root.to_vec1::<f32>().unwrap()),
                    _ => Gradient::new(root.to_vec1::<f64>().unwrap()),
                };
                let mut found = tape.backward(&value, root).unwrap();
                let wide = |gradient: Gradient| match gradient.dtype() {
                    DType::F32 => {
                        gradient.get::<f32>().unwrap().iter().map(|x| f64::from(*x)).collect()
                    }
                    _ => gradient.get::<f64>().unwrap().to_vec(),
                };
                let of = |input: &Tensor| found.take(input).map(wide);
                (value, inputs.iter().map(of).collect())
            }
            Forward::Reference(forward) => {
                let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
                let value = forward(&inputs, &weights).unwrap();
                let found = loss(&value).backward().unwrap();
                for weight in &weights {
                    if let Some(gradient) = found.get(weight.tensor()) {
                        weight.add_gradient(gradient).unwrap();
                    }
                }
                (value, vars.iter().map(|var| found.get(var).map(flat)).collect())
            }
        };
        Outcome {
            value: flat(&value),
            inputs,
            weights: weights.iter().map(|w| w.gradient().unwrap().as_ref().map(flat)).collect(),
        }
    }

    /// In f64: (L(x + h) − L(x − h)) / 2h for up to 12 elements of every input and weight.
    fn finite_differences(&self, forward: &Forward, exact: &Outcome) {
        let h = 1e-5;
        let groups = [(&self.inputs, &exact.inputs), (&self.weights, &exact.weights)];
        for (group, (tensors, gradients)) in groups.iter().enumerate() {
            for place in 0..tensors.len() {
                let Some(gradient) = &gradients[place] else { continue };
                let step = (gradient.len() / 12).max(1);
                for element in (0..gradient.len()).step_by(step) {
                    let moved = |h: f64| {
                        let mut all = [self.inputs.clone(), self.weights.clone()].map(|list| {
                            list.iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect::<Vec<_>>()
                        });
                        let mut values = flat(&all[group][place]);
                        values[element] += h;
                        let shape = all[group][place].shape().clone();
                        all[group][place] = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
                        let [inputs, weights] = all;
                        let weights: Vec<Weight> =
                            weights.iter().map(|w| Weight::new(w, false).unwrap()).collect();
                        let value = match forward {
                            Forward::Fused(forward) => forward(&silent(), &inputs, &weights),
                            Forward::Reference(forward) => forward(&inputs, &weights),
                        };
                        loss(&value.unwrap()).to_scalar::<f64>().unwrap()
                    };
                    let difference = (moved(h) - moved(-h)) / (2.0 * h);
                    let error = (difference - gradient[element]).abs();
                    assert!(
                        error < 1e-6 * (1.0 + difference.abs()),
                        "{}: element {element} of {place} in group {group}: {} by hand, {difference} by differences",
                        self.name,
                        gradient[element]
                    );
                }
            }
        }
    }
}

/// Σ y·r with r random, so that every element of the result has a gradient of its own.
fn loss(value: &Tensor) -> Tensor {
    (value * factors(value)).unwrap().sum_all().unwrap()
}

/// r
fn factors(value: &Tensor) -> Tensor {
    tensor(value.dims(), 77).to_dtype(value.dtype()).unwrap()
}

fn compare(name: &str, found: &Outcome, expected: &Outcome, tolerance: f64) {
    assert_close(&format!("{name}: value"), &found.value, &expected.value, tolerance);
    let groups =
        [("input", &found.inputs, &expected.inputs), ("weight", &found.weights, &expected.weights)];
    for (what, found, expected) in groups {
        for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
            let (found, expected) = (found.as_deref().unwrap(), expected.as_deref().unwrap());
            let what = format!("{name}: gradient of {what} {place}");
            assert_close(&what, found, expected, tolerance);
        }
    }
}
