//! Vectors of texts. Of pairs, a row each: `id`, `label` (the score, where it is known), `predicted` (the
//! cosine of the two) and `loss`; without scores `rank`, from 1: the place of the second text among the
//! others of all rows, by their cosines with the first. Of single texts: `id` and `vector`.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::{Made, means, some, truth, unlabelled};
use crate::base::Code;
use crate::data::{ColumnData, Parts, Table, Targets};
use crate::step::run::StepError;
use crate::task::embed::{Vectors, product};
use crate::train::metrics::{Ranking, Scored, Values};

pub(super) fn table(made: &Made) -> Result<Table, StepError> {
    let vectors = Vectors::new(&made.logits);
    let rows = made.logits.rows();
    let mut columns = vec![("id".to_string(), ColumnData::Text(some(made.ids.clone())))];
    let pairs = rows > 0 && (0..rows).all(|row| vectors.texts(row) > 1);
    if !pairs || made.losses.is_empty() {
        // The first text's, as the model gives it.
        let first = |row| made.logits.row(row).iter().take(made.logits.outputs).copied().collect();
        let all = (0..rows).map(|row| Some(first(row))).collect();
        columns.push(("vector".to_string(), ColumnData::Floats32(all)));
    }
    if pairs {
        let scored = matches!(made.targets, Targets::Value(_));
        if let Some(truth) = truth(made.targets, made.labels).filter(|_| scored) {
            columns.push(("label".to_string(), truth));
        }
        let cosines = (0..rows).map(|row| Some(vectors.cosine(row, 0, row, 1))).collect();
        columns.push(("predicted".to_string(), ColumnData::Float(cosines)));
        if matches!(made.targets, Targets::Class(_)) {
            let ranks = ranks(&vectors, rows, made.parts).into_iter().map(|rank| Some(rank as i64));
            columns.push(("rank".to_string(), ColumnData::Int(ranks.collect())));
        }
        columns.extend(means(made.losses).map(|losses| ("loss".to_string(), losses)));
    }
    Ok(Table::from_columns(columns)?)
}

/// Whether a table was made here.
pub(super) fn made(table: &Table) -> bool {
    !table.has("logits") && (table.has("rank") || table.has("vector") || is_scored(table))
}

fn is_scored(table: &Table) -> bool {
    table.has("label") && matches!(table.column("predicted"), Ok(ColumnData::Float(_)))
}

pub(super) fn scored(table: &Table) -> Result<Scored, StepError> {
    let unfit =
        |error: crate::train::metrics::ScoredError| StepError::new(Code::E0701, error.to_string());
    if table.has("rank") {
        let ColumnData::Int(ranks) = table.column("rank")? else {
            return Err(StepError::internal("the column `rank` holds no numbers"));
        };
        let rank = |rank: i64| vec![u32::try_from(rank).unwrap_or(u32::MAX)];
        let ranks = ranks.into_iter().flatten().map(rank).collect();
        return Ranking::new(ranks).map(Scored::Ranking).map_err(unfit);
    }
    if !is_scored(table) {
        return Err(unlabelled());
    }
    let (Targets::Value(truth), ColumnData::Float(cosines)) =
        (table.targets()?, table.column("predicted")?)
    else {
        return Err(unlabelled());
    };
    let known = truth.into_iter().zip(cosines).filter(|(score, _)| !score.is_nan());
    let (truth, cosines): (Vec<f64>, Vec<f64>) =
        known.map(|(score, cosine)| (f64::from(score), cosine.unwrap_or(f64::NAN))).unzip();
    Values::new(truth, cosines).map(Scored::Values).map_err(unfit)
}

/// The rank of every row's second text for its first, among the different texts that are second or
/// later in any row. Other texts that are right for an equal first text are no competitors; of equal
/// cosines the wrong text comes first, so that a model that finds everything alike finds nothing.
fn ranks(vectors: &Vectors, rows: usize, parts: &Parts) -> Vec<usize> {
    // The number of each text, and where each different one is found first.
    let mut place = 0;
    let mut numbers: Vec<Vec<usize>> = Vec::with_capacity(rows);
    for row in 0..rows {
        let all = place..place + vectors.texts(row);
        place = all.end;
        numbers.push(match parts {
            Parts::Texts(known) => known.texts.get(all.clone()).unwrap_or_default().to_vec(),
            _ => all.collect(),
        });
    }
    let mut documents: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let mut right: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (row, numbers) in numbers.iter().enumerate() {
        for (text, number) in numbers.iter().enumerate().skip(1) {
            documents.entry(*number).or_insert((row, text));
        }
        if let [first, second, ..] = numbers.as_slice() {
            right.entry(*first).or_default().insert(*second);
        }
    }
    let documents: Vec<(usize, &[f32])> = documents
        .into_iter()
        .map(|(number, (row, text))| (number, vectors.vector(row, text)))
        .collect();
    let rank = |row: usize| {
        let [first, second, ..] = numbers[row].as_slice() else { return 1 };
        let (text, own) = (vectors.vector(row, 0), vectors.cosine(row, 0, row, 1));
        let right = right.get(first);
        let is_wrong =
            |number: &usize| number != second && !right.is_some_and(|right| right.contains(number));
        let ahead = documents
            .iter()
            .filter(|(number, other)| product(text, other) >= own && is_wrong(number));
        1 + ahead.count()
    };
    (0..rows).into_par_iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Labels, SeparateTexts};
    use crate::step::value::Predictions;
    use crate::task::Logits;

    /// Four rows of two texts; the texts of rows 0 and 1 are equal, and so are the partners of 2 and 3.
    fn made<'a>(values: &'a [f32], targets: &'a Targets, parts: &'a Parts) -> Made<'a> {
        Made {
            head: "embedding",
            labels: &Labels::Values,
            ids: ["a", "b", "c", "d"].map(String::from).into(),
            parts,
            targets,
            logits: Logits { values, outputs: 2, starts: &[0, 2, 4, 6, 8] },
            losses: &[],
            answers: &crate::step::predictions::AnswerRule::USUAL,
        }
    }

    /// By hand: a text is alike its partner in the rows 0 to 2; the last one is nearer to the partners
    /// of the rows 0 and 1, and at right angles to its own.
    #[test]
    fn ranks_are_among_different_texts() {
        let values = [
            1.0, 0.0, 1.0, 0.1, //
            1.0, 0.0, 1.0, 0.2, //
            0.0, 1.0, 0.0, 2.0, //
            1.0, 0.0, 0.0, 2.0,
        ];
        let parts = Parts::Texts(SeparateTexts { texts: vec![0, 1, 0, 2, 3, 4, 5, 4] });
        let targets = Targets::Class(vec![0; 4]);
        let predictions = Predictions::new(&made(&values, &targets, &parts)).expect("predictions");
        let Scored::Ranking(ranking) = predictions.scored().expect("scored") else {
            panic!("ranks")
        };
        assert_eq!(ranking.ranks(), [[1], [1], [1], [3]]);
        assert_eq!(super::super::head_of(&predictions.table), "embedding");
        // What finds everything alike finds nothing: each has one competitor less than texts.
        let alike = [1.0; 16];
        let predictions = Predictions::new(&made(&alike, &targets, &parts)).expect("predictions");
        let Scored::Ranking(ranking) = predictions.scored().expect("scored") else {
            panic!("ranks")
        };
        assert_eq!(ranking.ranks(), [[2], [2], [3], [3]]);
    }

    #[test]
    fn scores_are_compared_with_cosines() {
        let values =
            [1.0, 0.0, 2.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
        let parts = Parts::Texts(SeparateTexts { texts: (0..8).collect() });
        let targets = Targets::Value(vec![5.0, 1.0, 3.0, f32::NAN]);
        let predictions = Predictions::new(&made(&values, &targets, &parts)).expect("predictions");
        let Scored::Values(values) = predictions.scored().expect("scored") else {
            panic!("values")
        };
        assert_eq!(values.truth(), [5.0, 1.0, 3.0]);
        for (found, cosine) in values.predicted().iter().zip([1.0, 0.0, 0.5f64.sqrt()]) {
            assert!((found - cosine).abs() < 1e-6, "{found} {cosine}");
        }
        assert_eq!(super::super::head_of(&predictions.table), "embedding");
    }
}
