//! Metrics of tagged words: entities, and words. What an entity is, is in `data::tagging`; the
//! values are those of seqeval 1.2.2.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use crate::data::tagging::{Entity, Scheme, detect, entities, foreign, strict_entities};
use crate::{params, variants};

use super::label::Ratio;
use super::scored::LabelCounts;
use super::{Direction, Kind, Metric, Outcome, Sample, Scored, ScoredError, Table};

/// A tag for every word of every sentence. Sentences are the rows.
#[derive(Debug)]
pub struct Tags {
    labels: Vec<String>,
    truth: Vec<Vec<String>>,
    predicted: Vec<Vec<String>>,
    /// Words whose tag is right, of every sentence.
    right: Vec<u32>,
    lenient: OnceLock<Counted>,
    strict: [OnceLock<Counted>; 4],
    detected: OnceLock<Option<Scheme>>,
}

type Counted = Result<EntityCounts, String>;

/// Entities of every sentence and type.
#[derive(Debug)]
struct EntityCounts {
    kinds: Vec<String>,
    /// (sentence, place of the type in `kinds`, counts), by sentence.
    cells: Vec<(u32, u32, LabelCounts)>,
}

impl Tags {
    /// `truth`, `predicted`: names of tags, `[sentences][words]`. A word that was not reached has an
    /// empty prediction, which is wrong and outside every entity.
    pub fn new(truth: Vec<Vec<String>>, predicted: Vec<Vec<String>>) -> Result<Self, ScoredError> {
        if predicted.len() != truth.len() {
            let (found, expected) = (predicted.len(), truth.len());
            return Err(ScoredError::Length { what: "predicted", found, expected });
        }
        for (row, (truth, predicted)) in truth.iter().zip(&predicted).enumerate() {
            if truth.len() != predicted.len() {
                let (found, expected) = (predicted.len(), truth.len());
                return Err(ScoredError::RowLength {
                    what: "predicted tags",
                    row,
                    found,
                    expected,
                });
            }
        }
        let right = truth
            .iter()
            .zip(&predicted)
            .map(|(truth, predicted)| {
                truth.iter().zip(predicted).map(|(one, two)| u32::from(one == two)).sum()
            })
            .collect();
        let names = truth.iter().chain(&predicted).flatten().filter(|name| !name.is_empty());
        let labels: BTreeSet<&String> = names.collect();
        let labels = labels.into_iter().cloned().collect();
        Ok(Self {
            labels,
            truth,
            predicted,
            right,
            lenient: OnceLock::new(),
            strict: [const { OnceLock::new() }; 4],
            detected: OnceLock::new(),
        })
    }

    /// The names of all tags, sorted.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// `[sentences][words]`
    pub fn truth(&self) -> &[Vec<String>] {
        &self.truth
    }

    /// `[sentences][words]`
    pub fn predicted(&self) -> &[Vec<String>] {
        &self.predicted
    }

    /// Share of the words whose tag is right.
    pub(super) fn accuracy(&self, sample: &Sample) -> Outcome {
        let (mut right, mut words) = (0u64, 0u64);
        for ((weight, count), truth) in sample.weights().iter().zip(&self.right).zip(&self.truth) {
            right += u64::from(*weight) * u64::from(*count);
            words += u64::from(*weight) * truth.len() as u64;
        }
        match words {
            0 => Outcome::Undefined("there are no words".to_string()),
            words => Outcome::Value(right as f64 / words as f64),
        }
    }

    fn counts(&self, mode: &EntityMode) -> Result<&EntityCounts, &String> {
        let EntityMode::Strict(strict) = mode else {
            return self.lenient.get_or_init(|| self.count(None)).as_ref();
        };
        let scheme = match &strict.scheme {
            Some(scheme) => Some(scheme.scheme()),
            None => *self.detected.get_or_init(|| {
                detect(self.truth.iter().map(Vec::as_slice)).map(|(scheme, _)| scheme)
            }),
        };
        match scheme.and_then(|scheme| Scheme::ALL.iter().position(|one| *one == scheme)) {
            Some(at) => self.strict[at].get_or_init(|| self.count(scheme)).as_ref(),
            // Without a scheme there is no entity to be strict with: the lenient reading says why.
            None => self.lenient.get_or_init(|| self.count(None)).as_ref(),
        }
    }

    fn count(&self, scheme: Option<Scheme>) -> Counted {
        let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
        let mut cells: Vec<(u32, String, LabelCounts)> = Vec::new();
        for (row, (truth, predicted)) in self.truth.iter().zip(&self.predicted).enumerate() {
            let (truth, predicted) = (read(truth, scheme)?, read(predicted, scheme)?);
            let mut of_row: BTreeMap<&str, LabelCounts> = BTreeMap::new();
            for entity in &truth {
                let counts = of_row.entry(entity.kind).or_default();
                counts.truth += 1;
                // Both lists are in the order of the sentence.
                counts.both += u64::from(predicted.binary_search(entity).is_ok());
            }
            for entity in &predicted {
                of_row.entry(entity.kind).or_default().predicted += 1;
            }
            for (kind, counts) in of_row {
                // As seqeval calls entities without a type.
                let kind = if kind.is_empty() { "_" } else { kind };
                kinds.entry(kind.to_string()).or_default();
                cells.push((row as u32, kind.to_string(), counts));
            }
        }
        for (place, number) in kinds.values_mut().enumerate() {
            *number = place as u32;
        }
        let cells = cells.into_iter().map(|(row, kind, counts)| (row, kinds[&kind], counts));
        let cells = cells.collect();
        Ok(EntityCounts { kinds: kinds.into_keys().collect(), cells })
    }
}

/// The entities of a sentence, or why its tags name none.
fn read(tags: &[String], scheme: Option<Scheme>) -> Result<Vec<Entity<'_>>, String> {
    match scheme {
        None => match foreign(tags) {
            None => Ok(entities(tags)),
            Some(tag) => Err(format!(
                "the tag `{tag}` is of no form that names entities, such as `B-PER`; `accuracy` \
                 scores any tags"
            )),
        },
        Some(scheme) => strict_entities(tags, scheme)
            .map_err(|tag| format!("the tag `{tag}` is not one of {}", scheme.name())),
    }
}

impl EntityCounts {
    /// The counts of every type that occurs in the sample.
    fn of<'a>(&'a self, sample: &Sample) -> Vec<(&'a str, LabelCounts)> {
        let mut all = vec![LabelCounts::default(); self.kinds.len()];
        for (row, kind, counts) in &self.cells {
            let weight = u64::from(sample.weights()[*row as usize]);
            let sum = &mut all[*kind as usize];
            sum.both += weight * counts.both;
            sum.predicted += weight * counts.predicted;
            sum.truth += weight * counts.truth;
        }
        let named = self.kinds.iter().map(String::as_str).zip(all);
        named.filter(|(_, counts)| counts.truth + counts.predicted > 0).collect()
    }
}

variants! {
    /// a scheme of tags
    pub enum EntityScheme {
        /// `B` only where an entity follows another one of its type.
        Iob1 = "iob1",
        /// Every entity begins with `B`.
        Iob2 = "iob2",
        /// `B I E`, and `S` for a single word.
        Iobes = "iobes",
        /// `B I L`, and `U` for a single word.
        Bilou = "bilou",
    }
}

impl EntityScheme {
    fn scheme(&self) -> Scheme {
        match self {
            EntityScheme::Iob1 => Scheme::Iob1,
            EntityScheme::Iob2 => Scheme::Iob2,
            EntityScheme::Iobes => Scheme::Iobes,
            EntityScheme::Bilou => Scheme::Bilou,
        }
    }
}

params! {
    /// Entities that follow a scheme to the letter.
    pub struct Strict {
        /// The scheme. Left out, that of the true tags.
        scheme: Option<EntityScheme>, main;
    }
}

variants! {
    /// which tags make an entity
    pub enum EntityMode {
        /// As conlleval: an entity goes on until its type changes or another one begins, and `I`
        /// may begin one.
        Default = "default",
        /// Only whole entities of a scheme; others are none at all.
        Strict(Strict) = "strict",
    }
}

impl EntityMode {
    fn suffix(&self) -> String {
        match self {
            EntityMode::Default => String::new(),
            EntityMode::Strict(Strict { scheme: None }) => "_strict".to_string(),
            EntityMode::Strict(Strict { scheme: Some(scheme) }) => {
                format!("_strict_{}", scheme.scheme().name().to_lowercase())
            }
        }
    }
}

variants! {
    /// how the values of the types become one
    pub enum EntityAverage {
        /// One ratio over the entities of all types.
        Micro = "micro",
        /// The plain mean over the types.
        Macro = "macro",
        /// The mean over the types, weighted by their true entities.
        Weighted = "weighted",
        /// No average: a table with a row per type.
        None = "none",
    }
}

impl EntityAverage {
    fn suffix(&self) -> &'static str {
        match self {
            EntityAverage::Micro => "",
            EntityAverage::Macro => "_macro",
            EntityAverage::Weighted => "_weighted",
            EntityAverage::None => "_per_type",
        }
    }
}

macro_rules! entity_ratios {
    ($($(#[doc = $doc:expr])* $metric:ident = $ratio:expr;)*) => {$(
        params! {
            $(#[doc = $doc])*
            pub struct $metric {
                /// How the values of the types become one.
                average: EntityAverage = EntityAverage::Micro;
                /// Which tags make an entity.
                mode: EntityMode = EntityMode::Default;
            }
        }

        impl Metric for $metric {
            fn name(&self) -> String {
                let (average, mode) = (self.average.suffix(), self.mode.suffix());
                format!("entity_{}{average}{mode}", $ratio.name())
            }

            fn fits(&self) -> &'static [Kind] {
                &[Kind::Tags]
            }

            fn direction(&self) -> Direction {
                match self.average {
                    EntityAverage::None => Direction::None,
                    _ => Direction::LargerIsBetter,
                }
            }

            fn compute(&self, sample: &Sample) -> Outcome {
                with_counts(&self.mode, sample, |kinds| match &self.average {
                    EntityAverage::None => Outcome::Table(Table {
                        corner: "type".to_string(),
                        columns: vec![$ratio.name().to_string(), "support".to_string()],
                        rows: kinds
                            .iter()
                            .map(|(kind, counts)| {
                                let value = of_kind($ratio, kind, *counts, sample);
                                (kind.to_string(), vec![value, counts.truth as f64])
                            })
                            .collect(),
                    }),
                    average => averaged($ratio, average, kinds, sample),
                })
            }
        }
    )*};
}

entity_ratios! {
    /// Share of the predicted entities that are true ones: same words, same type.
    EntityPrecision = Ratio::Precision;
    /// Share of the true entities that are predicted: same words, same type.
    EntityRecall = Ratio::Recall;
    /// Harmonic mean of the precision and the recall of entities, as seqeval computes it.
    EntityF1 = Ratio::F1;
}

params! {
    /// Precision, recall and F1 of the entities of every type, and their averages.
    pub struct EntityReport {
        /// Which tags make an entity.
        mode: EntityMode = EntityMode::Default;
    }
}

impl Metric for EntityReport {
    fn name(&self) -> String {
        format!("entity_report{}", self.mode.suffix())
    }

    fn fits(&self) -> &'static [Kind] {
        &[Kind::Tags]
    }

    fn direction(&self) -> Direction {
        Direction::None
    }

    fn compute(&self, sample: &Sample) -> Outcome {
        const RATIOS: [Ratio; 3] = [Ratio::Precision, Ratio::Recall, Ratio::F1];
        with_counts(&self.mode, sample, |kinds| {
            let support: u64 = kinds.iter().map(|(_, counts)| counts.truth).sum();
            let mut rows = Vec::with_capacity(kinds.len() + 3);
            for (kind, counts) in kinds {
                let mut cells = RATIOS.map(|ratio| of_kind(ratio, kind, *counts, sample)).to_vec();
                cells.push(counts.truth as f64);
                rows.push((kind.to_string(), cells));
            }
            for (name, average) in [
                ("micro average", EntityAverage::Micro),
                ("macro average", EntityAverage::Macro),
                ("weighted average", EntityAverage::Weighted),
            ] {
                let values = RATIOS.map(|ratio| averaged(ratio, &average, kinds, sample).value());
                let Some(mut cells) = values.into_iter().collect::<Option<Vec<f64>>>() else {
                    continue;
                };
                cells.push(support as f64);
                rows.push((name.to_string(), cells));
            }
            let columns = RATIOS.map(|ratio| ratio.name()).into_iter().chain(["support"]);
            Outcome::Table(Table {
                corner: "type".to_string(),
                columns: columns.map(str::to_string).collect(),
                rows,
            })
        })
    }
}

fn with_counts(
    mode: &EntityMode,
    sample: &Sample,
    compute: impl FnOnce(&[(&str, LabelCounts)]) -> Outcome,
) -> Outcome {
    match sample.scored() {
        Scored::Tags(tags) => match tags.counts(mode) {
            Ok(counts) => compute(&counts.of(sample)),
            Err(reason) => Outcome::Undefined(reason.clone()),
        },
        other => Outcome::misfit(other.kind()),
    }
}

fn of_kind(ratio: Ratio, kind: &str, counts: LabelCounts, sample: &Sample) -> f64 {
    ratio.value(counts, sample, || match ratio {
        Ratio::Precision => format!("no entity of the type `{kind}` is predicted"),
        _ => format!("there is no true entity of the type `{kind}`"),
    })
}

fn averaged(
    ratio: Ratio,
    average: &EntityAverage,
    kinds: &[(&str, LabelCounts)],
    sample: &Sample,
) -> Outcome {
    let values = || kinds.iter().map(|(kind, counts)| of_kind(ratio, kind, *counts, sample));
    match average {
        EntityAverage::Macro if kinds.is_empty() => {
            Outcome::Undefined("there is no entity, neither true nor predicted".to_string())
        }
        EntityAverage::Macro => Outcome::Value(values().sum::<f64>() / kinds.len() as f64),
        EntityAverage::Weighted => {
            let support: u64 = kinds.iter().map(|(_, counts)| counts.truth).sum();
            if support == 0 {
                sample.warn(|| format!("there is no true entity: {} is set to 0", ratio.name()));
                return Outcome::Value(0.0);
            }
            let weighted = values().zip(kinds).map(|(value, (_, of))| value * of.truth as f64);
            Outcome::Value(weighted.sum::<f64>() / support as f64)
        }
        EntityAverage::Micro | EntityAverage::None => {
            let all = kinds.iter().fold(LabelCounts::default(), |sum, (_, counts)| LabelCounts {
                both: sum.both + counts.both,
                predicted: sum.predicted + counts.predicted,
                truth: sum.truth + counts.truth,
            });
            Outcome::Value(ratio.value(all, sample, || match ratio {
                Ratio::Precision => "no entity is predicted".to_string(),
                _ => "there is no true entity".to_string(),
            }))
        }
    }
}
