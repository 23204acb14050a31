//! Texts as vectors that are near where texts are alike: pairs with scores, or pairs of which each is
//! right and those of other rows are not.
//! Sources: Reimers, Gurevych, "Sentence-BERT" (2019), section 3; Henderson et al., "Efficient Natural
//! Language Response Suggestion" (2017), section 4.4; Su, "CoSENT" (2022).

use candle_core::Tensor;

use super::{
    HeadRequest, Logits, LossOptions, Outputs, Prediction, RowLoss, Task, log_sum_exp, misfit,
    no_options,
};
use crate::data::{Form, Labels, Targets};
use crate::model::{Backbone, HeadKind, ModelError, Pass, Path, Pooling, Result};
use crate::nn::ops::{loss, similarity};
use crate::{params, variants};

pub struct Embed;

variants! {
    /// how the tokens of a text become one vector
    pub enum Pool {
        /// Their mean.
        Mean = "mean",
        /// The first of them.
        Cls = "cls",
    }
}

params! {
    /// One vector a text, which is near those of similar texts.
    pub struct Request {
        /// How the tokens of a text become one vector; left out, as the folder's `1_Pooling` says, else
        /// their mean.
        pooling: Option<Pool>;
    }
}

impl HeadRequest for Request {
    fn task(&self) -> &'static dyn Task {
        &Embed
    }

    fn kind(&self) -> HeadKind {
        self.kind_beside(None)
    }

    fn kind_beside(&self, stored: Option<Pooling>) -> HeadKind {
        HeadKind::Embedding(match self.pooling {
            Some(Pool::Mean) => Pooling::Mean,
            Some(Pool::Cls) => Pooling::Cls,
            None => stored.unwrap_or(Pooling::Mean),
        })
    }

    fn is_new(&self) -> bool {
        false
    }
}

/// What vectors of pairs learn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PairLoss {
    /// A text is nearer to its partner than to all other texts of the batch: cross entropy over cosines
    /// times `scale`.
    InBatch { scale: f64 },
    /// The cosine of a pair is its score divided by `highest`: mean squared error.
    Cosine { highest: f64 },
    /// Pairs are in the order of their scores.
    Cosent { scale: f64 },
}

impl PairLoss {
    /// The factor on cosines that sentence-transformers takes.
    pub const SCALE: f64 = 20.0;

    /// The loss that is usual for targets: order for scores, else the others of the batch.
    fn of(options: &LossOptions, targets: &Targets) -> PairLoss {
        options.pairs.unwrap_or(match targets {
            Targets::Value(_) => PairLoss::Cosent { scale: Self::SCALE },
            _ => PairLoss::InBatch { scale: Self::SCALE },
        })
    }
}

/// Rows of a validation that are each other's negatives, or in order, in the order of the table.
const GROUP: usize = 32;

impl Task for Embed {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn class_suffix(&self) -> &'static str {
        "Model"
    }

    fn outputs(&self) -> Outputs {
        Outputs::Vectors
    }

    fn forms(&self) -> &'static [Form] {
        &[Form::Separate]
    }

    fn output_count(&self, _: &Labels, backbone: &dyn Backbone) -> Result<usize> {
        Ok(backbone.hidden_size())
    }

    fn fixed_outputs(&self, backbone: &dyn Backbone) -> Option<usize> {
        Some(backbone.hidden_size())
    }

    /// Numbers are scores. Where a row has none, class k means that its text number k + 1 is the partner
    /// of the first: class 0, always.
    fn targets(&self, targets: &Targets, labels: &Labels) -> Result<Targets> {
        match targets {
            Targets::Value(_) => Ok(targets.clone()),
            Targets::Class(_) if !are_scores(labels) => Ok(Targets::None),
            Targets::Class(_) => targets
                .as_values(labels)
                .map(Targets::Value)
                .map_err(|error| ModelError::new(error.to_string())),
            _ => Ok(Targets::None),
        }
    }

    fn check_options(&self, options: &LossOptions, _: usize) -> Result<()> {
        no_options(self, options)
    }

    fn denominator(&self, targets: &Targets, _: &LossOptions) -> f64 {
        match targets {
            Targets::Value(scores) => scores.iter().filter(|score| !score.is_nan()).count() as f64,
            other => other.rows().unwrap_or(0) as f64,
        }
    }

    fn loss(
        &self,
        logits: &Tensor,
        starts: &[usize],
        targets: &Targets,
        options: &LossOptions,
        denominator: f64,
        pass: &Pass,
    ) -> Result<Tensor> {
        let rows = Rows::new(starts)?;
        let fused = pass.path() == Path::Fused;
        let tape = pass.tape();
        let unit = match fused {
            true => similarity::normalize(tape, logits)?,
            false => similarity::normalize_reference(logits)?,
        };
        let rule = PairLoss::of(options, targets);
        if let PairLoss::InBatch { scale } = rule {
            let Rows { first, others, right, .. } = &rows;
            return Ok(match fused {
                true => {
                    let all = similarity::all_products(tape, &unit, first, others, scale)?;
                    loss::cross_entropy(tape, &all, right, None, 0.0, denominator)?
                }
                false => {
                    let all = similarity::all_products_reference(&unit, first, others, scale)?;
                    loss::cross_entropy_reference(&all, right, None, 0.0, denominator)?
                }
            });
        }
        let Targets::Value(scores) = targets else { return Err(misfit(self, targets)) };
        let (first, second, scores) = rows.scored(scores);
        if scores.is_empty() {
            // Nothing is supervised here, but the loss belongs to the graph all the same.
            return Ok(unit.sum_all()?.affine(0.0, 0.0)?);
        }
        let cosines = match fused {
            true => similarity::pair_products(tape, &unit, &first, &second)?,
            false => similarity::pair_products_reference(&unit, &first, &second)?,
        };
        Ok(match (rule, fused) {
            (PairLoss::Cosent { scale }, _) => {
                // The mean over the batches of an update, each by its rows.
                let factor = scores.len() as f64 / denominator;
                match fused {
                    true => similarity::cosent(tape, &cosines, &scores, scale, factor)?,
                    false => similarity::cosent_reference(&cosines, &scores, scale, factor)?,
                }
            }
            (PairLoss::Cosine { highest }, true) => {
                loss::mse(tape, &cosines, &shares(&scores, highest), denominator)?
            }
            (PairLoss::Cosine { highest }, false) => {
                loss::mse_reference(&cosines, &shares(&scores, highest), denominator)?
            }
            (PairLoss::InBatch { .. }, _) => return Err(misfit(self, targets)),
        })
    }

    fn row_losses(&self, logits: &Logits, targets: &Targets) -> Vec<RowLoss> {
        self.losses_under(logits, targets, &LossOptions::default())
    }

    fn losses_under(
        &self,
        logits: &Logits,
        targets: &Targets,
        options: &LossOptions,
    ) -> Vec<RowLoss> {
        let vectors = Vectors::new(logits);
        let rule = PairLoss::of(options, targets);
        let mut losses = vec![RowLoss { sum: 0.0, elements: 0 }; logits.rows()];
        let all: Vec<usize> = (0..logits.rows()).filter(|row| vectors.texts(*row) > 1).collect();
        let scored = |row: &usize| match targets {
            Targets::Value(scores) => scores.get(*row).is_some_and(|score| !score.is_nan()),
            Targets::None => false,
            _ => true,
        };
        let all: Vec<usize> = all.into_iter().filter(scored).collect();
        let scores = |rows: &[usize]| -> Vec<f32> {
            let Targets::Value(scores) = targets else { return Vec::new() };
            rows.iter().filter_map(|row| scores.get(*row).copied()).collect()
        };
        for rows in all.chunks(GROUP) {
            let of_rows: Vec<f64> = match rule {
                PairLoss::InBatch { scale } => vectors.in_batch(rows, scale),
                PairLoss::Cosine { highest } => {
                    let wanted = shares(&scores(rows), highest);
                    let off = |(row, wanted): (&usize, &f32)| {
                        (vectors.cosine(*row, 0, *row, 1) - f64::from(*wanted)).powi(2)
                    };
                    rows.iter().zip(&wanted).map(off).collect()
                }
                PairLoss::Cosent { scale } => {
                    let cosines: Vec<f64> =
                        rows.iter().map(|row| vectors.cosine(*row, 0, *row, 1)).collect();
                    let (value, _) = similarity::ordered(&cosines, &scores(rows), scale);
                    vec![value; rows.len()]
                }
            };
            for (row, sum) in rows.iter().zip(of_rows) {
                losses[*row] = RowLoss { sum, elements: 1 };
            }
        }
        losses
    }

    fn predict(&self, _: &Logits) -> Prediction {
        Prediction::default()
    }
}

/// Whether labels are scores of pairs: numbers.
pub fn are_scores(labels: &Labels) -> bool {
    match labels {
        Labels::Values => true,
        Labels::Classes { names, .. } => names.iter().all(|name| name.parse::<f64>().is_ok()),
        _ => false,
    }
}

fn shares(scores: &[f32], highest: f64) -> Vec<f32> {
    scores.iter().map(|score| (f64::from(*score) / highest) as f32).collect()
}

/// Where the texts of a batch are among its vectors.
struct Rows {
    /// The first text of each row.
    first: Vec<usize>,
    /// The second.
    second: Vec<usize>,
    /// All texts but the first of every row.
    others: Vec<usize>,
    /// The place of each row's second text in `others`.
    right: Vec<i64>,
}

impl Rows {
    /// Fails where a row has no partner.
    fn new(starts: &[usize]) -> Result<Self> {
        let mut rows =
            Rows { first: Vec::new(), second: Vec::new(), others: Vec::new(), right: Vec::new() };
        for row in starts.windows(2) {
            if row[1] - row[0] < 2 {
                return Err(ModelError::new("embeddings learn from pairs, and a row has one text")
                    .help("`separate = true` of `tokenize`, with the columns `text` and `text_pair`, makes pairs"));
            }
            rows.first.push(row[0]);
            rows.second.push(row[0] + 1);
            rows.right.push(rows.others.len() as i64);
            rows.others.extend(row[0] + 1..row[1]);
        }
        Ok(rows)
    }

    /// The pairs that have a score.
    fn scored(&self, scores: &[f32]) -> (Vec<usize>, Vec<usize>, Vec<f32>) {
        let pairs = self.first.iter().zip(&self.second).zip(scores);
        let known = pairs.filter(|(_, score)| !score.is_nan());
        let mut found = (Vec::new(), Vec::new(), Vec::new());
        for ((first, second), score) in known {
            found.0.push(*first);
            found.1.push(*second);
            found.2.push(*score);
        }
        found
    }
}

/// The inner product of two vectors of one width, summed in lanes.
pub fn product(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| f64::from(*a) * f64::from(*b));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

/// Vectors of length 1 of the texts of rows.
pub struct Vectors<'a> {
    values: Vec<f32>,
    width: usize,
    starts: &'a [usize],
}

impl<'a> Vectors<'a> {
    pub fn new(logits: &Logits<'a>) -> Self {
        let width = logits.outputs.max(1);
        let mut values = logits.values.to_vec();
        for vector in values.chunks_exact_mut(width) {
            let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length.max(1e-12)) as f32);
        }
        Self { values, width, starts: logits.starts }
    }

    /// How many texts a row has.
    pub fn texts(&self, row: usize) -> usize {
        match (self.starts.get(row), self.starts.get(row + 1)) {
            (Some(start), Some(end)) => end - start,
            _ => 0,
        }
    }

    /// The vector of a text of a row.
    pub fn vector(&self, row: usize, text: usize) -> &[f32] {
        let at = self.starts.get(row).map_or(0, |start| start + text);
        self.values.get(at * self.width..(at + 1) * self.width).unwrap_or_default()
    }

    /// Of two texts, each a row and a number in it.
    pub fn cosine(&self, row: usize, text: usize, other: usize, of_other: usize) -> f64 {
        product(self.vector(row, text), self.vector(other, of_other))
    }

    /// The cross entropy of every row among the texts of all of these.
    fn in_batch(&self, rows: &[usize], scale: f64) -> Vec<f64> {
        let others: Vec<(usize, usize)> = rows
            .iter()
            .flat_map(|row| (1..self.texts(*row)).map(move |text| (*row, text)))
            .collect();
        let of_row = |row: &usize| {
            let scores: Vec<f32> = others
                .iter()
                .map(|(other, text)| (scale * self.cosine(*row, 0, *other, *text)) as f32)
                .collect();
            log_sum_exp(scores.iter()) - scale * self.cosine(*row, 0, *row, 1)
        };
        rows.iter().map(of_row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: two pairs at right angles to each other; a text and its partner are the same.
    #[test]
    fn losses_of_validation_rows_by_hand() {
        let values = [1.0, 0.0, 2.0, 0.0, 0.0, 3.0, 0.0, 1.0];
        let logits = Logits { values: &values, outputs: 2, starts: &[0, 2, 4] };
        let of = |targets: &Targets, pairs| {
            let options = LossOptions { pairs: Some(pairs), ..LossOptions::default() };
            let losses = Embed.losses_under(&logits, targets, &options);
            losses.iter().map(|loss| loss.sum).collect::<Vec<_>>()
        };
        let right = Targets::Class(vec![0, 0]);
        for loss in of(&right, PairLoss::InBatch { scale: 1.0 }) {
            assert!((loss - (1.0 + (-1f64).exp()).ln()).abs() < 1e-6, "{loss}");
        }
        let scores = Targets::Value(vec![5.0, 2.5]);
        assert_eq!(of(&scores, PairLoss::Cosine { highest: 5.0 }), [0.0, 0.25]);
        for loss in of(&scores, PairLoss::Cosent { scale: 20.0 }) {
            assert!((loss - 2f64.ln()).abs() < 1e-12, "{loss}");
        }
    }
}
