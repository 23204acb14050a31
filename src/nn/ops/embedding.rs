//! Rows of a table of embeddings. The backward touches only the rows that occur.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::take_rows::gather;
use super::tensor::{Slice, by_dtype, output, read};
use crate::nn::vector::each_with;
use crate::nn::{Real, Weight};

/// `weight` `[vocabulary, hidden]`, `ids` `[n]`; returns `[n, hidden]`. Fails on an id that is not
/// in the vocabulary.
pub fn embedding(weight: &Weight, ids: &[u32]) -> Result<Tensor> {
    check_ids(weight, ids)?;
    weight.tensor().apply_op1(Embedding { weight: weight.clone(), ids: ids.to_vec() })
}

/// [`embedding`] of candle's primitives.
pub fn reference(weight: &Tensor, ids: &[u32]) -> Result<Tensor> {
    check_ids(weight, ids)?;
    weight.index_select(&Tensor::from_slice(ids, ids.len(), weight.device())?, 0)
}

fn check_ids(weight: &Tensor, ids: &[u32]) -> Result<()> {
    let (vocabulary, _) = weight.dims2()?;
    match ids.iter().find(|id| **id as usize >= vocabulary) {
        Some(id) => bail!("id {id} is not in a vocabulary of {vocabulary}"),
        None => Ok(()),
    }
}

struct Embedding {
    weight: Weight,
    ids: Vec<u32>,
}

impl Embedding {
    /// In the order of the ids, so that sums do not depend on threads.
    fn backward<T: Real>(&self, gradient: &Tensor) -> Result<()> {
        let (_, columns) = gradient.dims2()?;
        let gradient = Slice::<T>::new(gradient)?;
        self.weight.contribute_rows::<T>(&self.ids, |sum| {
            for (from, &id) in gradient.get().chunks_exact(columns.max(1)).zip(&self.ids) {
                let to = &mut sum[id as usize * columns..][..columns];
                each_with(to, from, |to, from| to + from);
            }
        })
    }
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, weight: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let columns = layout.dims()[1];
        by_dtype!(weight, T => {
            output(gather::<T>(read(weight, layout)?, columns, &self.ids), (self.ids.len(), columns))
        })
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        by_dtype!(gradient, T => self.backward::<T>(&gradient))?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, tensor};

    #[test]
    fn embedding_agrees_with_its_reference() {
        for ids in [vec![4], vec![0, 16, 3, 3, 3, 9]] {
            Check::new("embedding")
                .weight(&[17, 5])
                .run(|_, w| embedding(&w[0], &ids), |_, w| reference(&w[0], &ids));
        }
    }

    #[test]
    fn an_unknown_id_is_an_error() {
        let weight = Weight::new(&tensor(&[3, 2], 0), true).unwrap();
        assert!(embedding(&weight, &[3]).unwrap_err().to_string().contains("vocabulary of 3"));
    }
}
