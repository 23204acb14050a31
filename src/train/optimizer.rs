//! Optimizers: how a parameter changes with its gradient. Each is one entry of a table. Rates over
//! time are in `schedule`; which parameters are decayed is declared by the model.

use crate::nn::ops::adamw;
use crate::schema::{Entry, Family};
use crate::{entry, params};

/// The circumstances of one parameter's update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct At {
    /// The rate of this parameter in this update: peak · λ(k) · layer-wise decay.
    pub learning_rate: f64,
    /// Whether weight decay applies to the parameter.
    pub decayed: bool,
    /// The number of the update, from 1.
    pub update: u64,
    /// The factor on the gradient that clipping asks for; 1 where it asks for none.
    pub clip: f64,
}

/// An optimizer with its arguments; the moving averages are kept by the trainer.
pub trait Optimizer: Send + Sync {
    /// The peak rate.
    fn learning_rate(&self) -> f64;
    /// How many buffers of the parameter's size it keeps, first filled with 0.
    fn buffers(&self) -> usize;
    /// Changes the parameter in place. All slices are of one length; the result does not depend on
    /// the number of threads.
    fn step(&self, parameter: &mut [f32], gradient: &[f32], buffers: &mut [&mut [f32]], at: &At);

    /// An empty list of updates to catch up with. The default catches up step by step.
    fn missed(&self) -> Box<dyn Missed + '_> {
        Box::new(StepByStep { optimizer: self, updates: Vec::new() })
    }
}

/// Updates in which parts of a parameter had no gradient, and that these parts have yet to get.
pub trait Missed: Send + Sync {
    fn push(&mut self, at: &At);
    /// Makes the bits of [`Optimizer::step`] with a gradient of zero and each update from `first` on.
    fn replay(&self, first: usize, parameter: &mut [f32], buffers: &mut [&mut [f32]]);
}

struct StepByStep<'a, O: ?Sized> {
    optimizer: &'a O,
    updates: Vec<At>,
}

impl<O: Optimizer + ?Sized> Missed for StepByStep<'_, O> {
    fn push(&mut self, at: &At) {
        self.updates.push(*at);
    }

    fn replay(&self, first: usize, parameter: &mut [f32], buffers: &mut [&mut [f32]]) {
        let gradient = vec![0.0; parameter.len()];
        for at in &self.updates[first..] {
            self.optimizer.step(parameter, &gradient, buffers, at);
        }
    }
}

/// The set of optimizers.
pub struct Optimizers;

impl Family for Optimizers {
    type Item = dyn Optimizer;
    const WHAT: &'static str = "an optimizer";

    fn table() -> &'static [Entry<dyn Optimizer>] {
        &[entry!("adamw", AdamW => dyn Optimizer), entry!("sgd", Sgd => dyn Optimizer)]
    }
}

params! {
    /// Adam with decoupled weight decay, as in PyTorch. Source: Loshchilov, Hutter, "Decoupled
    /// Weight Decay Regularization" (2017).
    pub struct AdamW {
        /// The peak rate.
        learning_rate: f64 = 5e-5, in (0.0, 10.0), main;
        /// λ: each update takes the share rate · λ off the decayed parameters (not biases, not
        /// layer norms).
        weight_decay: f64 = 0.0, in (0.0, 10.0);
        /// β₁: how slowly the average of the gradients changes.
        beta1: f64 = 0.9, in (0.0, 0.999999);
        /// β₂: how slowly the average of their squares changes.
        beta2: f64 = 0.999, in (0.0, 0.999999);
        /// Added to the root of the average square.
        eps: f64 = 1e-8, in (0.0, 1.0);
    }
}

impl Optimizer for AdamW {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn buffers(&self) -> usize {
        2
    }

    fn step(&self, parameter: &mut [f32], gradient: &[f32], buffers: &mut [&mut [f32]], at: &At) {
        let [first, second] = buffers else { return };
        adamw::adamw_step(parameter, first, second, gradient, &self.at(at));
    }

    fn missed(&self) -> Box<dyn Missed + '_> {
        Box::new(MissedByAdamW { optimizer: self, updates: Vec::new() })
    }
}

impl AdamW {
    fn at(&self, at: &At) -> adamw::AdamW {
        adamw::AdamW {
            learning_rate: at.learning_rate,
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            weight_decay: if at.decayed { self.weight_decay } else { 0.0 },
            step: at.update,
            gradient_factor: at.clip,
        }
    }
}

struct MissedByAdamW<'a> {
    optimizer: &'a AdamW,
    updates: Vec<adamw::Coefficients>,
}

impl Missed for MissedByAdamW<'_> {
    fn push(&mut self, at: &At) {
        self.updates.push(self.optimizer.at(at).coefficients());
    }

    fn replay(&self, first: usize, parameter: &mut [f32], buffers: &mut [&mut [f32]]) {
        let [m, v] = buffers else { return };
        adamw::adamw_replay(parameter, m, v, &self.updates[first..]);
    }
}

params! {
    /// Stochastic gradient descent with momentum, as in PyTorch.
    pub struct Sgd {
        /// The peak rate.
        learning_rate: f64 = 0.01, in (0.0, 1000.0), main;
        /// The share of the last step that is kept.
        momentum: f64 = 0.9, in (0.0, 0.999999);
        /// Added to the gradient of the decayed parameters: this share of the parameter.
        weight_decay: f64 = 0.0, in (0.0, 10.0);
    }
}

impl Optimizer for Sgd {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn buffers(&self) -> usize {
        1
    }

    fn step(&self, parameter: &mut [f32], gradient: &[f32], buffers: &mut [&mut [f32]], at: &At) {
        let [velocity] = buffers else { return };
        let decay = if at.decayed { self.weight_decay as f32 } else { 0.0 };
        let (rate, momentum, clip) =
            (at.learning_rate as f32, self.momentum as f32, at.clip as f32);
        for ((value, gradient), velocity) in
            parameter.iter_mut().zip(gradient).zip(velocity.iter_mut())
        {
            *velocity = momentum * *velocity + gradient * clip + decay * *value;
            *value -= rate * *velocity;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: At = At { learning_rate: 0.1, decayed: true, update: 1, clip: 1.0 };

    /// By hand: in the first update m/(1−β₁) = g and √(v/(1−β₂)) = |g|, so the step is the rate.
    #[test]
    fn the_first_step_of_adamw_is_the_rate() {
        let adamw =
            AdamW { learning_rate: 0.1, weight_decay: 0.5, beta1: 0.9, beta2: 0.999, eps: 0.0 };
        for (decayed, shrunk) in [(true, 0.95), (false, 1.0)] {
            let mut parameter = [2.0f32, -3.0];
            let (mut first, mut second) = ([0.0; 2], [0.0; 2]);
            let mut buffers = [&mut first[..], &mut second[..]];
            adamw.step(&mut parameter, &[4.0, -0.5], &mut buffers, &At { decayed, ..AT });
            for (found, wanted) in parameter.iter().zip([2.0 * shrunk - 0.1, -3.0 * shrunk + 0.1]) {
                assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
            }
        }
    }

    #[test]
    fn adamw_catches_up_as_step_by_step() {
        let adamw =
            AdamW { learning_rate: 0.1, weight_decay: 0.5, beta1: 0.9, beta2: 0.999, eps: 1e-8 };
        for decayed in [true, false] {
            let by_steps = StepByStep { optimizer: &adamw, updates: Vec::new() };
            let [one, other] =
                [Box::new(by_steps), adamw.missed()].map(|mut missed: Box<dyn Missed>| {
                    for update in 1..=20 {
                        let learning_rate = 0.1 / update as f64;
                        missed.push(&At { learning_rate, decayed, update, clip: 0.5 });
                    }
                    let [mut values, mut m, mut v] =
                        [[1.0f32, -2.0, 0.0], [0.1, -0.2, 0.3], [0.5; 3]];
                    missed.replay(7, &mut values, &mut [&mut m[..], &mut v[..]]);
                    [values, m, v].map(|values| values.map(f32::to_bits))
                });
            assert_eq!(one, other);
        }
    }

    /// By hand: v = 1, then 0.5 + 1.
    #[test]
    fn sgd_keeps_its_momentum() {
        let sgd = Sgd { learning_rate: 0.1, momentum: 0.5, weight_decay: 0.0 };
        let mut parameter = [0.0f32];
        let mut velocity = [0.0];
        for _ in 0..2 {
            sgd.step(&mut parameter, &[2.0], &mut [&mut velocity[..]], &At { clip: 0.5, ..AT });
        }
        assert!((parameter[0] + 0.25).abs() < 1e-6);
    }
}
