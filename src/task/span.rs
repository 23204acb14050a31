//! A part of a text as the answer to a question: cross entropy over its tokens, for the first and for
//! the last. Source: Devlin et al., "BERT" (2018), section 4.2.

use candle_core::Tensor;

use super::{
    Logits, LossOptions, Outputs, Prediction, RowLoss, Task, choice_loss, log_sum_exp, misfit,
    no_options, sum_of_units,
};
use crate::data::{Form, Labels, Targets};
use crate::model::{Backbone, HeadKind, Pass, Result};

pub struct Answer;

head! {
    /// Finds the answer to a question in a context: scores every token as its first and as its last.
    Answer: HeadKind::Span
}

impl Task for Answer {
    fn name(&self) -> &'static str {
        "question_answering"
    }

    fn class_suffix(&self) -> &'static str {
        "ForQuestionAnswering"
    }

    fn outputs(&self) -> Outputs {
        Outputs::Answers
    }

    fn forms(&self) -> &'static [Form] {
        &[Form::Questions]
    }

    fn output_count(&self, _: &Labels, _: &dyn Backbone) -> Result<usize> {
        Ok(2)
    }

    fn fixed_outputs(&self, _: &dyn Backbone) -> Option<usize> {
        Some(2)
    }

    fn targets(&self, targets: &Targets, _: &Labels) -> Result<Targets> {
        match targets {
            Targets::Spans(_) => Ok(targets.clone()),
            other => Err(misfit(self, other)),
        }
    }

    fn check_options(&self, options: &LossOptions, _: usize) -> Result<()> {
        no_options(self, options)
    }

    /// The first token and the last are an element each, so that the loss is their mean.
    fn denominator(&self, targets: &Targets, _: &LossOptions) -> f64 {
        let Targets::Spans(spans) = targets else { return 0.0 };
        spans.iter().flatten().filter(|place| **place >= 0).count() as f64
    }

    fn loss(
        &self,
        logits: &Tensor,
        starts: &[usize],
        targets: &Targets,
        _: &LossOptions,
        denominator: f64,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Targets::Spans(spans) = targets else { return Err(misfit(self, targets)) };
        let places = spans.as_flattened();
        choice_loss(logits, starts, places, denominator, pass)
    }

    fn row_losses(&self, logits: &Logits, targets: &Targets) -> Vec<RowLoss> {
        let Targets::Spans(spans) = targets else { return Vec::new() };
        let of_row = |(row, span): (&[f32], &[i64; 2])| {
            let column = |column: usize| row.iter().skip(column).step_by(2);
            let end = |(at, place): (usize, &i64)| {
                let own = usize::try_from(*place).ok().and_then(|place| column(at).nth(place))?;
                Some(log_sum_exp(column(at)) - f64::from(*own))
            };
            sum_of_units(span.iter().enumerate().map(end))
        };
        logits.each().zip(spans).map(of_row).collect()
    }

    /// The answer is read off the logits together with the text.
    fn predict(&self, _: &Logits) -> Prediction {
        Prediction::default()
    }
}
