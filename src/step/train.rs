//! `train`: fine-tuning. The loop is `train::trainer`. What can be wrong with the arguments is in
//! `check`, how they become settings in `bind`, checkpoints and events in `control`, the outputs in
//! `outcome`.

mod bind;
mod check;
mod control;
mod memory;
mod method;
mod outcome;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::check::CheckCx;
use super::metric::build;
use super::precision::{Memory, Precision};
use super::predictions::{kind_of, known_names};
use super::run::{Event, Inputs, Quick, RunCx, StepError, Stop};
use super::shape::{LabelShape, Shape};
use super::value::{Value, port};
use super::{Output, Step};
use crate::base::{Code, suggest};
use crate::data::{Targets, Tokens};
use crate::model::{Model, ModelError};
use crate::schema::{Map, Or, Pick, Port, PortType, Quantity, Share, Unit};
use crate::task::assemble::{self, Assembled};
use crate::task::embed::PairLoss;
use crate::task::labels::{ModelLabels, Reconciled, align};
use crate::task::{LossOptions, Network};
use crate::train::evaluate::Scored;
use crate::train::masking::Masking;
use crate::train::method::{self as methods, Methods};
use crate::train::metrics::PickMetric;
use crate::train::{Ending, Optimizers, Schedules, ValidationSet, trainer};
use crate::{params, variants};
use control::Bridge;
use outcome::Finish;

/// Epochs or updates.
type Length = Quantity<3>;

params! {
    /// The validation with the best value; the first of equals.
    pub struct Best {
        /// What is looked at: a metric, or `loss`.
        metric: Or<LossWord, PickMetric>, main;
    }
}

params! {
    /// After some validations without an improvement.
    pub struct Patience {
        /// How many validations in a row are waited for an improvement.
        validations: usize = 3, in (1, 1_000_000), main;
        /// What is looked at: a metric, or `loss`.
        metric: Or<LossWord, PickMetric> = Or::First(LossWord::Loss);
        /// How much counts as an improvement.
        min_delta: f64 = 0.0, in (0.0, 1e9);
    }
}

variants! {
    /// the loss
    pub enum LossWord {
        /// The mean loss of the validation rows; smaller is better.
        Loss = "loss",
    }
}

variants! {
    /// which parameters are kept
    pub enum KeepRule {
        /// Those after the last update.
        Last = "last",
        /// Those of the best validation.
        Best(Best) = "best",
    }
}

variants! {
    /// when a run ends early
    pub enum StopRule {
        /// When it has not got better for a while.
        Patience(Patience) = "patience",
    }
}

variants! {
    /// weights by frequency
    pub enum WeightRule {
        /// rows / (classes · rows of the class): every class weighs the same as a whole.
        Balanced = "balanced",
    }
}

params! {
    /// Tokens are hidden, and guessed from those around them.
    pub struct MaskedTokens {
        /// The share of the tokens that are to be guessed. Of these 80 % are masked, 10 % replaced by any
        /// token, and 10 % left as they are.
        share: Share = Share(Masking::USUAL.0), main, in (0.001, 0.999);
        /// Whether a word is hidden with all its pieces.
        whole_words: bool = Masking::USUAL.1;
    }
}

params! {
    /// A text is nearer to its partner than to all other texts of the batch.
    pub struct InBatchNegatives {
        /// The factor on cosines before the softmax; 1 / temperature.
        scale: f64 = PairLoss::SCALE, main, in (0.01, 10_000.0);
    }
}

params! {
    /// The cosine of two texts is their score.
    pub struct CosineScores {
        /// The score of texts that mean the same: scores are divided by it, and cosines are compared with
        /// what comes out. 5 for STS-B.
        highest: f64 = 1.0, main, in (1e-6, 1e9);
    }
}

params! {
    /// The cosines of pairs are in the order of their scores, whatever these are.
    pub struct CosentOrder {
        /// The factor on the differences of cosines.
        scale: f64 = PairLoss::SCALE, main, in (0.01, 10_000.0);
    }
}

variants! {
    /// what is to become small
    pub enum LossRule {
        /// Tokens are hidden, and guessed from those around them: `masked_language_model`.
        Masked(MaskedTokens) = "masked",
        /// A text is nearer to its partner than to all other texts of the batch: cross entropy over
        /// cosines. For `embedding` on pairs, with or without a column `negative`; labels are not read.
        InBatchNegatives(InBatchNegatives) = "in_batch_negatives",
        /// The cosine of two texts is their score: mean squared error. For `embedding` on pairs with
        /// numbers as labels.
        Cosine(CosineScores) = "cosine",
        /// The cosines of pairs are in the order of their scores. For `embedding` on pairs with numbers as
        /// labels, of which it is the usual loss.
        Cosent(CosentOrder) = "cosent",
    }
}

impl LossRule {
    /// What vectors of pairs learn from, if it is about these.
    fn pairs(&self) -> Option<PairLoss> {
        Some(match self {
            LossRule::Masked(_) => return None,
            LossRule::InBatchNegatives(rule) => PairLoss::InBatch { scale: rule.scale },
            LossRule::Cosine(rule) => PairLoss::Cosine { highest: rule.highest },
            LossRule::Cosent(rule) => PairLoss::Cosent { scale: rule.scale },
        })
    }
}

params! {
    /// Fine-tunes a model.
    ///
    /// The loss of an update is the mean over all its rows, however many batches it is accumulated
    /// from. Rows come in an order of their own in every epoch. The result depends on the arguments,
    /// the inputs and the seed alone, and a run that was interrupted continues where it was.
    pub struct Train {
        /// The model to start from; a head without values is drawn from `seed`.
        model: Port<port::AModel>;
        /// The rows to learn from.
        data: Port<port::SomeTokens>;
        /// The rows of every validation.
        validate: Option<Port<port::SomeTokens>>;
        /// What is to become small, where a head can learn in more than one way; else the head's own.
        loss: Option<LossRule>;
        /// What is trained: everything, a part, or an adapter beside a model that stays as it is.
        method: Pick<Methods> = methods::usual();
        /// How parameters change with their gradients.
        optimizer: Option<Pick<Optimizers>>;
        /// How the learning rate changes over the run.
        schedule: Option<Pick<Schedules>>;
        /// How long the run is.
        budget: Length = Length::new(3.0, Unit::Epochs), in (0.0, 1e12);
        /// Rows of a batch, or the tokens that it is filled up to. 32, as processors are busier
        /// with it than with the 8 that transformers takes, and results are about the same.
        batch: Quantity<12> = Quantity::new(32.0, Unit::Rows), in (1.0, 1e9);
        /// Batches whose gradients make one update.
        gradient_accumulation: usize = 1, in (1, 1_000_000);
        /// The largest norm that all gradients together may have; larger ones are scaled down to it.
        max_grad_norm: Option<f64> = Some(1.0), in (1e-9, 1e12);
        /// Noise on the embeddings of the rows that are learned from (NEFTune): uniform in ±α/√(L · d)
        /// for a row of L tokens and embeddings of size d. The number is α, usually 5.
        neftune: Option<f64>, in (1e-6, 1e6);
        /// The share of the target that is spread over all classes.
        label_smoothing: f64 = 0.0, in (0.0, 0.999);
        /// The weight of each class in the loss: in the order of the labels, by name, or `balanced`.
        class_weights: Option<Or<WeightRule, Or<Vec<f64>, Map<f64>>>>;
        /// Metrics of every validation. Without it those usual for the head.
        metrics: Vec<PickMetric> = Vec::new(), free;
        /// How often it is validated; at the end in any case.
        validate_every: Length = Length::new(1.0, Unit::Epochs), in (1e-6, 1e12);
        /// Which parameters are the result.
        keep: KeepRule = KeepRule::Last;
        /// When a run ends before its budget.
        stop_early: Option<StopRule>;
        /// Parameters that stay as they are: patterns of names such as `"bert.embeddings.*"`.
        freeze: Vec<String> = Vec::new();
        /// The factor on the learning rate from each layer to the one below.
        layer_decay: f64 = 1.0, in (0.01, 1.0);
        /// How often the state is written, so that an interrupted run can continue.
        checkpoint_every: Length = Length::new(500.0, Unit::Updates), in (1e-6, 1e12), free;
        /// What matrix products are computed in.
        precision: Precision = Precision::F32, free;
        /// What is kept for the backward pass; the result is the same.
        memory: Memory = Memory::Normal, free;
        /// Of the order of rows, of dropout, and of the first values of new parameters.
        seed: Option<usize>;
    }
}

/// The validations of a run by the number of their update, as tables of predictions.
const VALIDATIONS: &str = "validations";

impl Step for Train {
    const NAME: &'static str = "train";
    const VERSION: u32 = 5;
    const OUTPUTS: &'static [Output] = &[
        Output {
            name: "model",
            ty: PortType::Model,
            doc: "The model that `keep` chose, else the last.",
        },
        Output { name: "last", ty: PortType::Model, doc: "The model after the last update." },
        Output {
            name: "validation",
            ty: PortType::Scores,
            doc: "The metrics of the model that `keep` chose, on the rows of `validate`.",
        },
        Output {
            name: "log",
            ty: PortType::Log,
            doc: "One row an update: `update`, `epoch`, `loss`, `learning_rate`, `grad_norm`; in the rows of validations `validation_loss` and the metrics.",
        },
        Output {
            name: VALIDATIONS,
            ty: PortType::Tables,
            doc: "The predictions of every validation, as `eval` makes them, under `update_N`.",
        },
    ];
    const REPORT: &'static [&'static str] =
        &["rows", "unsupervised", "updates", "epochs", "loss", "kept_update", "trained_parameters"];
    const EXAMPLE: &'static str = "train tuned {\n  model     = encoder\n  data      = tokens.train\n  validate  = tokens.validation\n  optimizer = adamw(learning_rate = 5e-5, weight_decay = 0.01)\n  schedule  = linear(warmup = 6%)\n  budget    = 3 epochs\n}";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        self.check_arguments(cx);
        self.precision.check(cx);
        let model = cx.shape(&self.model);
        let tokens = cx.shape(&self.data);
        let validation = self.validate.as_ref().and_then(|port| cx.shape(port));
        let Some(mut model) = model else { return Vec::new() };
        let Some(head) = model.head.clone() else {
            let diag = cx
                .diag(
                    Code::E0503,
                    "model",
                    format!("the model `{}` has no head to train", model.name),
                )
                .also(cx.origin(&self.model), "read here")
                .help("`head = sequence_classification` in `load-model` gives it one");
            cx.push(diag);
            return Vec::new();
        };
        if let Some(tokens) = &tokens {
            self.check_tokens(cx, "data", &model, tokens);
            // A new head has the labels of the data.
            if known_names(&model.labels).is_none() && model.labels != LabelShape::Values {
                model.labels = tokens.labels.clone();
            }
        }
        if let Some(validation) = &validation {
            self.check_tokens(cx, "validate", &model, validation);
        }
        // Vectors are of no labels; whether there are scores is the data's to say.
        let labels = match &self.loss {
            Some(LossRule::InBatchNegatives(_)) => LabelShape::Absent,
            _ => model.labels.clone(),
        };
        let kind = kind_of(&head, &labels);
        self.check_loss_rule(cx, &head, &labels);
        if let Some(kind) = kind {
            self.check_metrics(cx, &head, kind, &labels);
            self.check_loss(cx, &head, &labels);
        }
        self.check_freeze(cx, &model);
        self.check_method(cx, &model);
        let adapts = self.method.build().and_then(|method| method.adapter()).is_some();
        model.on_trained = adapts && model.trained;
        model.trained = true;
        model.undrawn = false;
        let mut made = vec![("model", Shape::Model(model.clone())), ("last", Shape::Model(model))];
        if self.validate.is_some() {
            let names = kind.and_then(|kind| build(&self.metrics, kind).ok());
            let names = names.unwrap_or_default().iter().map(|metric| metric.name()).collect();
            made.push(("validation", Shape::Scores(names)));
            made.push((VALIDATIONS, Shape::Tables(Vec::new())));
        }
        made.push(("log", Shape::Log));
        made
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let mut model = self.base(&self.model, cx)?;
        let tokens = cx.input(&self.data)?;
        let validation = self.validate.as_ref().map(|port| cx.input(port)).transpose()?;
        for (argument, tokens) in [("data", Some(&tokens)), ("validate", validation.as_ref())] {
            if let Some(tokens) = tokens {
                fits_tokenizer(&model, tokens, argument)?;
            }
        }
        if let Some(validation) = &validation {
            self.report_shared(&tokens, validation, cx);
        }
        let seed = self.seed();
        let adapter = self.method()?.adapter();
        let unfit = |error: ModelError| StepError {
            help: error.help,
            ..StepError::new(Code::E0502, error.message).argument("data")
        };
        let prepared =
            assemble::prepare(&model, &tokens.labels, adapter.as_ref()).map_err(unfit)?;
        let frozen = self.frozen(&prepared.network)?;
        let assembled = prepared.draw(&model, seed, &frozen).map_err(unfit)?;
        let Assembled { network, parameters, labels, .. } = &assembled;
        if adapter.is_none() {
            // They have become parameters; the rest of the model is needed to the end.
            model = Arc::new(Model { tensors: Vec::new(), ..Arc::unwrap_or_clone(model) });
        }
        if let Some(note) = &labels.note {
            cx.control.event(Event::Note { message: note.clone() });
        }
        let names = output_names(network, labels);
        let targets = self.targets(network, &tokens, labels)?;
        let loss = LossOptions {
            class_weights: self.class_weights(&names, &targets)?,
            label_smoothing: self.label_smoothing,
            pairs: self.loss.as_ref().and_then(LossRule::pairs),
        };
        let unsupervised = targets.unsupervised();
        if let Some(message) = unseen(&names, &targets) {
            cx.control.event(Event::Warning { message });
        }
        if let Some(tokens) = validation.as_ref().filter(|tokens| tokens.rows() == 0) {
            let of = tokens.report.rows;
            let message = format!("there are no rows to validate on (of {of} none is left)");
            cx.control.event(Event::Warning { message });
        }
        let examples = self.examples(network, &model, &tokens, targets)?;
        let validated = match &validation {
            None => None,
            Some(tokens) => {
                let known = known_labels(network, labels);
                let aligned = align(known, &tokens.labels, network.task().name())?;
                Some((tokens, self.targets(network, tokens, &aligned)?))
            }
        };
        let validation_examples = validated
            .as_ref()
            .map(|(tokens, targets)| self.examples(network, &model, tokens, targets.clone()))
            .transpose()?;
        let finish = Finish { model: &model, tokens: &tokens, unsupervised, assembled: &assembled };
        let read = |scored: &Scored| match &validated {
            Some((tokens, _)) => finish.read(tokens, scored),
            None => Err(ModelError::new("there are no rows to validate on")),
        };
        let set =
            validation_examples.as_ref().map(|examples| ValidationSet { examples, read: &read });
        let compute = self.precision.start(cx, &self.memory)?;
        let settings = self.settings(loss, cx.quick.map(|quick| quick.updates), compute)?;

        let path = cx.scratch.join("checkpoint");
        let resume = control::resume(&path, cx)?;
        let mut control = Bridge { cx, path, stop: None };
        let ending =
            trainer::train(network, parameters, &examples, set, &settings, resume, &mut control);
        let stop = control.stop;
        let trained = match ending? {
            Ending::Finished(trained) => trained,
            Ending::Stopped { .. } => {
                return Err(StepError::stopped(stop.unwrap_or(Stop::Checkpoint)));
            }
        };
        finish.outputs(
            self,
            trained,
            validated.as_ref().map(|(tokens, targets)| (*tokens, targets)),
        )
    }

    fn identity(&self) -> Option<(&'static str, String)> {
        Some(self.precision.identity())
    }

    fn memory(&self, inputs: &dyn Inputs, quick: Option<Quick>) -> Option<u64> {
        self.peak_memory(inputs, quick)
    }

    fn derive(
        &self,
        output: &str,
        stored: &dyn Fn(&str) -> Result<Value, StepError>,
    ) -> Result<Option<Value>, StepError> {
        if self.validate.is_none() || !["validation", "log"].contains(&output) {
            return Ok(None);
        }
        let Value::Tables(validations) = stored(VALIDATIONS)? else {
            return Err(StepError::internal("the stored validations are no tables"));
        };
        if output == "log" {
            let Value::Log(log) = stored("log")? else {
                return Err(StepError::internal("the stored log is no table"));
            };
            return Ok(Some(Value::Log(Arc::new(self.with_series(&log, &validations)?))));
        }
        let Value::Report(report) = stored("report")? else {
            return Err(StepError::internal("the stored report is no report"));
        };
        let kept = report.get("kept_update").copied().unwrap_or_default() as u64;
        let table = validations
            .get(&outcome::validation_name(kept))
            .or_else(|| validations.values().last());
        match table {
            Some(table) => Ok(Some(Value::Scores(Arc::new(self.scores(table)?)))),
            None => Ok(None),
        }
    }
}

/// What the outputs are called; none for values.
fn output_names(network: &Network, labels: &Reconciled) -> Vec<String> {
    match network.task().outputs().named() {
        false => Vec::new(),
        true if labels.names.is_empty() => {
            (0..network.outputs()).map(|output| format!("LABEL_{output}")).collect()
        }
        true => labels.names.clone(),
    }
}

fn known_labels<'a>(network: &Network, labels: &'a Reconciled) -> ModelLabels<'a> {
    match network.task().outputs().named() {
        false => ModelLabels::New,
        true => ModelLabels::Named(&labels.names),
    }
}

fn fits_tokenizer(model: &Model, tokens: &Tokens, argument: &str) -> Result<(), StepError> {
    match &model.tokenizer {
        Some(own) if own.digest() != tokens.tokenizer => {
            let message = "the tokens were made with another tokenizer than the model's";
            Err(StepError::new(Code::E0507, message)
                .argument(argument)
                .help("`tokenizer` of `tokenize` names the step that loads the model"))
        }
        _ => Ok(()),
    }
}

/// What is said of classes that no row to learn from has.
fn unseen(names: &[String], targets: &Targets) -> Option<String> {
    let Targets::Class(classes) = targets else { return None };
    let seen: BTreeSet<i64> = classes.iter().copied().collect();
    let unseen = (0i64..).zip(names).filter(|(class, _)| !seen.contains(class));
    let unseen: Vec<&str> = unseen.map(|(_, name)| name.as_str()).collect();
    let shown = suggest::list(unseen.iter().copied());
    (!unseen.is_empty() && !classes.is_empty())
        .then(|| format!("no row to learn from has the label {shown}, which so cannot be learned"))
}
