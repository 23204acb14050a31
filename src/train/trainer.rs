//! The one training loop. It knows updates, gradients, validation and checkpoints; what is learned
//! is the network's, from what the source's, how the optimizer's and the schedule's. Resuming is
//! exact: a run that was stopped and goes on makes the same bits as one that was not.

use std::time::Instant;

use crate::data::Targets;
use crate::model::{Compute, Declaration, Dropping, Input, ModelError, Pass, Result};
use crate::nn::Parameters;
use crate::task::{LossOptions, Network};

use super::checkpoint::{Best, LogRow, Snapshot, State, Validation};
use super::course::{BatchSize, Budget, Course};
use super::deferred::Deferred;
use super::evaluate;
use super::keep::{Keep, Measure, StopEarly};
use super::metrics;
use super::optimizer::{At, Optimizer};
use super::schedule::{Extent, Schedule};
use super::source::Examples;
use super::values;

/// How to train.
pub struct Settings {
    pub optimizer: Box<dyn Optimizer>,
    pub schedule: Box<dyn Schedule>,
    pub budget: Budget,
    pub batch: BatchSize,
    /// Batches of an update.
    pub gradient_accumulation: usize,
    /// Whether rows of embeddings are updated only when they are read; the bits are the same.
    pub defer_rows: bool,
    /// The largest L2 norm that all gradients together may have.
    pub max_grad_norm: Option<f64>,
    pub loss: LossOptions,
    /// α of the noise on embeddings.
    pub neftune: Option<f64>,
    /// The factor on the rate from each layer to the one below; 1 for none.
    pub layer_decay: f64,
    pub validate_every: Budget,
    pub keep: Keep,
    pub stop_early: Option<StopEarly>,
    pub checkpoint_every: Option<Budget>,
    pub seed: u64,
    pub compute: Compute,
}

/// Something that happened, for progress and logs.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Started {
        updates: u64,
        first: u64,
        rows: usize,
    },
    Updated {
        updates: u64,
        row: LogRow,
        rows: usize,
        tokens: usize,
        /// What the optimizer took, with the norm of the gradients and what was deferred.
        optimizer_seconds: f64,
    },
    Validating {
        rows: usize,
    },
    Validated {
        update: u64,
        epoch: f64,
        loss: f64,
        score: Option<f64>,
    },
    StoppedEarly {
        update: u64,
    },
}

/// The world around a training run.
pub trait Control {
    fn event(&mut self, _event: &Event) {}

    /// Asked after every update; true ends the run with a checkpoint.
    fn stop_requested(&mut self) -> bool {
        false
    }

    /// Where checkpoints go. What is written is read back by [`State::from_bytes`].
    fn checkpoint(&mut self, _snapshot: &Snapshot) -> Result<()> {
        Ok(())
    }
}

/// A [`Control`] that does nothing.
pub struct Unattended;

impl Control for Unattended {}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The update whose parameters `keep` chose.
    pub kept_update: u64,
    /// The parameters that `keep` chose, if they are not the last, in the order of the store; nothing
    /// for those that do not train.
    pub kept: Option<Vec<Vec<f32>>>,
    pub log: Vec<LogRow>,
    pub validations: Vec<Validation>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    Finished(Trained),
    /// On request, after this update; the checkpoint was handed over.
    Stopped {
        update: u64,
    },
}

/// The rows to validate on, and how metrics read what a network makes of them.
#[derive(Clone, Copy)]
pub struct ValidationSet<'a> {
    pub examples: &'a dyn Examples,
    pub read: &'a dyn Fn(&evaluate::Scored) -> Result<metrics::Scored>,
}

/// Trains `parameters`, those of the network in their order, in place. `resume`: the state of a
/// stopped run with the same settings and data.
///
/// Fails where a loss or a gradient is not finite, naming the update and its rows.
pub fn train(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    validation: Option<ValidationSet<'_>>,
    settings: &Settings,
    resume: Option<State>,
    control: &mut dyn Control,
) -> Result<Ending> {
    if examples.rows() == 0 {
        return Err(ModelError::new("there are no rows to learn from"));
    }
    settings.loss_fits(network)?;
    let mut course =
        Course::new(examples, settings.batch, settings.gradient_accumulation, settings.seed);
    let extent = Extent {
        total: course.total(settings.budget),
        per_epoch: course.updates_of(0),
        learning_rate: settings.optimizer.learning_rate(),
    };
    let buffers = settings.optimizer.buffers();
    let mut state = match resume {
        Some(mut state) => {
            state.restore(parameters, buffers)?;
            state
        }
        None => State::new(parameters, buffers),
    };
    let mut deferred = Deferred::new(parameters, settings.optimizer.as_ref());
    let rates = layer_rates(&network.declarations(), settings.layer_decay);
    let started =
        Event::Started { updates: extent.total, first: state.update, rows: examples.rows() };
    control.event(&started);
    while state.update < extent.total && !state.stopped_early {
        let group = course.group(state.update);
        let step = Step { network, examples, settings, update: state.update };
        let mut optimizer_seconds = 0.0;
        let done = step.gradients(parameters, &group, &mut |input| {
            let begun = Instant::now();
            if settings.defer_rows {
                deferred.read(&network.rows_read(input), &mut state.buffers)?;
            }
            optimizer_seconds += begun.elapsed().as_secs_f64();
            Ok(())
        })?;
        let learning_rate = extent.learning_rate * settings.schedule.factor(state.update, &extent);
        let optimizing = Instant::now();
        let grad_norm = parameters.global_norm();
        if !grad_norm.is_finite() {
            let rows: Vec<usize> = group.iter().flatten().copied().collect();
            return Err(step.not_finite("gradient's norm", grad_norm, &rows));
        }
        let clip = match settings.max_grad_norm {
            Some(most) => (most / (grad_norm + 1e-6)).min(1.0),
            None => 1.0,
        };
        let update = state.update + 1;
        for (place, (parameter, rate)) in parameters.iter().zip(&rates).enumerate() {
            let at =
                At { learning_rate: learning_rate * rate, decayed: parameter.decay, update, clip };
            deferred.step(place, &mut state.buffers[place], &at)?;
        }
        optimizer_seconds += optimizing.elapsed().as_secs_f64();
        state.update += 1;
        let epoch = course.epochs_after(state.update);
        let row = LogRow { update: state.update, epoch, loss: done.loss, learning_rate, grad_norm };
        state.log.push(row.clone());
        let rows = group.iter().map(Vec::len).sum();
        control.event(&Event::Updated {
            updates: extent.total,
            row,
            rows,
            tokens: done.tokens,
            optimizer_seconds,
        });

        let last = state.update == extent.total;
        if let Some(set) = validation
            && (last || due(settings.validate_every, &mut course, state.update))
        {
            deferred.settle(&mut state.buffers)?;
            let validated =
                validate(network, parameters, &set, settings, &mut state, epoch, control)?;
            control.event(&validated);
            if settings.stop_early.as_ref().is_some_and(|rule| rule.stops(&state.validations)) {
                state.stopped_early = true;
                control.event(&Event::StoppedEarly { update: state.update });
            }
        }
        let over = last || state.stopped_early;
        let stop = !over && control.stop_requested();
        let save =
            settings.checkpoint_every.is_some_and(|every| due(every, &mut course, state.update));
        if !over && (stop || save) {
            deferred.settle(&mut state.buffers)?;
            control.checkpoint(&Snapshot { state: &state, parameters })?;
        }
        if stop {
            return Ok(Ending::Stopped { update: state.update });
        }
    }
    deferred.settle(&mut state.buffers)?;
    let State { update, best, log, validations, .. } = state;
    let (kept_update, kept) = match best {
        Some(Best { update: kept, values, .. }) if kept != update => (kept, Some(values)),
        _ => (update, None),
    };
    Ok(Ending::Finished(Trained { kept_update, kept, log, validations }))
}

impl Settings {
    fn loss_fits(&self, network: &Network) -> Result<()> {
        network.task().check_options(&self.loss, network.outputs())
    }
}

/// One update's gradients.
struct Step<'a> {
    network: &'a Network,
    examples: &'a dyn Examples,
    settings: &'a Settings,
    update: u64,
}

struct Gradients {
    loss: f64,
    tokens: usize,
}

impl Step<'_> {
    /// The mean loss over the supervised elements of the whole update, with its gradients left in
    /// `parameters`. Each input is shown to `announce` before the network reads it.
    fn gradients(
        &self,
        parameters: &Parameters,
        group: &[Vec<usize>],
        announce: &mut dyn FnMut(&Input) -> Result<()>,
    ) -> Result<Gradients> {
        let options = &self.settings.loss;
        let dropping = Dropping { seed: self.settings.seed, update: self.update };
        let targets = |rows: &Vec<usize>| self.examples.targets(rows, Some(dropping));
        let targets: Vec<Targets> = group.iter().map(targets).collect();
        let task = self.network.task();
        let denominator: f64 =
            targets.iter().map(|targets| task.denominator(targets, options)).sum();
        parameters.zero_grad();
        let (mut loss, mut tokens, mut place) = (0.0, 0, 0u32);
        if denominator > 0.0 {
            for (rows, targets) in group.iter().zip(&targets) {
                let pass = Pass::training(self.settings.compute, Some(dropping))
                    .with_neftune(self.settings.neftune);
                let input = self.examples.input(rows, place, Some(dropping))?;
                place += rows.len() as u32;
                tokens += input.tokens();
                announce(&input)?;
                let forward = self.network.forward(
                    parameters,
                    &input,
                    targets,
                    options,
                    denominator,
                    &pass,
                )?;
                let batch_loss = f64::from(forward.loss.to_vec0::<f32>()?);
                if !batch_loss.is_finite() {
                    return Err(self.not_finite("loss", batch_loss, rows));
                }
                loss += batch_loss;
                pass.backward(&forward.loss, parameters)?;
            }
        }
        Ok(Gradients { loss, tokens })
    }

    fn not_finite(&self, what: &str, found: f64, rows: &[usize]) -> ModelError {
        let mut names: Vec<String> = rows.iter().map(|row| self.examples.name(*row)).collect();
        let more = names.len().saturating_sub(32);
        names.truncate(32);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        ModelError::new(format!(
            "update {}: the {what} is {found}, in the rows {}{more}",
            self.update + 1,
            names.join(", ")
        ))
        .help("a smaller learning rate, a longer warmup or a smaller `max_grad_norm` may keep it finite")
    }
}

/// The factor on each parameter's rate.
fn layer_rates(declarations: &[Declaration], layer_decay: f64) -> Vec<f64> {
    let top = declarations.iter().map(|declaration| declaration.depth).max().unwrap_or(0);
    declarations
        .iter()
        .map(|declaration| layer_decay.powi((top - declaration.depth) as i32))
        .collect()
}

/// Whether something that is done every so often is due after `update` updates.
fn due(every: Budget, course: &mut Course<'_>, update: u64) -> bool {
    match every {
        Budget::Updates(every) => update.is_multiple_of(every.max(1)),
        Budget::Epochs(every) => {
            let whole = |epochs: f64| (epochs / every + 1e-9).floor();
            whole(course.epochs_after(update)) > whole(course.epochs_after(update - 1))
        }
    }
}

fn validate(
    network: &Network,
    parameters: &Parameters,
    set: &ValidationSet<'_>,
    settings: &Settings,
    state: &mut State,
    epoch: f64,
    control: &mut dyn Control,
) -> Result<Event> {
    control.event(&Event::Validating { rows: set.examples.rows() });
    let (examples, options, compute) = (set.examples, &settings.loss, settings.compute);
    let scored =
        evaluate::score_under(network, parameters, examples, options, compute, &mut |_| true)?;
    let scored = scored.ok_or_else(|| ModelError::new("the validation was ended"))?;
    let loss = scored.mean_loss();
    let update = state.update;
    let measured = |measure: &Measure| measure.value(&scored, set.read);
    let score = match &settings.keep {
        Keep::Last => None,
        Keep::Best(measure) => measured(measure)?,
    };
    let stop_score = match &settings.stop_early {
        None => None,
        Some(rule) => measured(&rule.measure)?,
    };
    if let (Keep::Best(measure), Some(score)) = (&settings.keep, score)
        && state.best.as_ref().is_none_or(|best| measure.better(score, best.score, 0.0))
    {
        state.best = Some(Best { update, score, values: values::trained(parameters)? });
    }
    state.validations.push(Validation {
        update,
        epoch,
        loss,
        score: stop_score,
        logits: scored.logits,
        losses: scored.losses,
    });
    Ok(Event::Validated { update, epoch, loss, score: score.or(stop_score) })
}
