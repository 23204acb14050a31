//! Metrics of retrieval: at which ranks the right documents of a query are found.

use crate::params;

use super::scored::{check_finite, check_length};
use super::{Direction, Kind, Metric, Outcome, Sample, Scored, ScoredError};

/// The ranks of the right documents of every query.
#[derive(Debug)]
pub struct Ranking {
    /// `[queries][right documents]`, rising, from 1.
    ranks: Vec<Vec<u32>>,
}

impl Ranking {
    /// `ranks`: for every query the ranks of its right documents among all, counted from 1.
    pub fn new(mut ranks: Vec<Vec<u32>>) -> Result<Self, ScoredError> {
        for (row, of_query) in ranks.iter_mut().enumerate() {
            of_query.sort_unstable();
            let repeated = of_query.windows(2).any(|pair| pair[0] == pair[1]);
            if of_query.first().is_none_or(|rank| *rank == 0) || repeated {
                return Err(ScoredError::Ranks { row });
            }
        }
        Ok(Self { ranks })
    }

    /// Ranks from similarities.
    ///
    /// `scores`: row-major `[queries, documents]`; `right`: for every query the places of its right
    /// documents, at least one. Of equal scores the wrong documents come first, so that a model
    /// that finds everything alike finds nothing.
    pub fn of_scores(
        scores: &[f64],
        documents: usize,
        right: &[Vec<usize>],
    ) -> Result<Self, ScoredError> {
        check_length("scores", scores.len(), documents * right.len())?;
        check_finite("a score", scores, documents)?;
        let mut ranks = Vec::with_capacity(right.len());
        for (row, (scores, right)) in scores.chunks(documents.max(1)).zip(right).enumerate() {
            if let Some(&class) = right.iter().find(|place| **place >= documents) {
                return Err(ScoredError::Class { row, class, classes: documents });
            }
            let mut order: Vec<usize> = (0..documents).collect();
            order.sort_by(|a, b| {
                let wrong_first = right.contains(a).cmp(&right.contains(b));
                scores[*b].total_cmp(&scores[*a]).then(wrong_first).then(a.cmp(b))
            });
            let found = order.iter().enumerate().filter(|(_, place)| right.contains(place));
            ranks.push(found.map(|(rank, _)| rank as u32 + 1).collect());
        }
        Self::new(ranks)
    }

    pub fn ranks(&self) -> &[Vec<u32>] {
        &self.ranks
    }
}

macro_rules! of_ranking {
    ($($(#[doc = $doc:expr])* $metric:ident { $(#[doc = $k_doc:expr])* $k:ident: $ty:ty $(= $default:expr)? $(, $flag:ident $(($low:expr, $high:expr))?)*; }
        |$self:ident| $name:expr, |$ranks:ident| $value:expr;)*) => {$(
        params! {
            $(#[doc = $doc])*
            pub struct $metric {
                $(#[doc = $k_doc])*
                $k: $ty $(= $default)? $(, $flag $(($low, $high))?)*;
            }
        }

        impl Metric for $metric {
            fn name(&$self) -> String {
                $name
            }

            fn fits(&self) -> &'static [Kind] {
                &[Kind::Ranking]
            }

            fn direction(&self) -> Direction {
                Direction::LargerIsBetter
            }

            fn compute(&$self, sample: &Sample) -> Outcome {
                match sample.scored() {
                    Scored::Ranking(ranking) => Outcome::Value(
                        sample.mean(ranking.ranks.iter().map(|$ranks: &Vec<u32>| $value)),
                    ),
                    other => Outcome::misfit(other.kind()),
                }
            }
        }
    )*};
}

of_ranking! {
    /// Share of a query's right documents among the first `k`, averaged over the queries.
    RecallAt {
        /// How many documents are looked at.
        k: usize = 10, in (1.0, 1e6), main;
    }
    |self| format!("recall_at_{}", self.k),
    |ranks| within(ranks, self.k).count() as f64 / ranks.len() as f64;

    /// Mean of 1 / rank of the first right document.
    ReciprocalRank {
        /// A first right document behind this rank counts 0; left out, all documents are looked at.
        k: Option<usize>, in (1.0, 1e6), main;
    }
    |self| self.k.map_or("mrr".to_string(), |k| format!("mrr_at_{k}")),
    |ranks| within(ranks, self.k.unwrap_or(usize::MAX)).next().map_or(0.0, |rank| 1.0 / rank);

    /// Discounted gain of the right documents among the first `k`, by the largest possible one.
    /// Source: Järvelin and Kekäläinen 2002.
    NdcgAt {
        /// How many documents are looked at.
        k: usize = 10, in (1.0, 1e6), main;
    }
    |self| format!("ndcg_at_{}", self.k),
    |ranks| {
        let gain = |rank: f64| 1.0 / (rank + 1.0).log2();
        let best: f64 = (1..=ranks.len().min(self.k)).map(|rank| gain(rank as f64)).sum();
        within(ranks, self.k).map(gain).sum::<f64>() / best
    };
}

fn within(ranks: &[u32], k: usize) -> impl Iterator<Item = f64> {
    ranks.iter().filter(move |rank| **rank as usize <= k).map(|rank| f64::from(*rank))
}
