//! Rows of tables of embeddings. The backward touches only the rows that occur.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::tensor::{Slice, by_dtype};
use crate::nn::parallel::{for_rows, rows_per_piece, written};
use crate::nn::tape::{Gradient, Tape};
use crate::nn::vector::{each_with, simd};
use crate::nn::{Real, Weight};

/// Some rows of a table.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// `[vocabulary, hidden]`
    pub table: &'a Weight,
    /// `[n]`
    pub ids: &'a [u32],
    /// The row that gets no gradient, as PyTorch's `padding_idx`.
    pub padding: Option<u32>,
}

impl<'a> Lookup<'a> {
    pub fn new(table: &'a Weight, ids: &'a [u32]) -> Self {
        Self { table, ids, padding: None }
    }
}

/// The sum over lookups, in their order; returns `[n, hidden]`. Fails without lookups, if their
/// shapes differ, and on an id that is not in the vocabulary.
pub fn embedding(tape: &Tape, lookups: &[Lookup]) -> Result<Tensor> {
    let [first, others @ ..] = lookups else { bail!("embedding: no tables") };
    let (count, first) = (first.ids.len(), first.table);
    let hidden = first.dims2()?.1;
    for Lookup { table, ids, .. } in lookups {
        check_ids(table, ids)?;
        if ids.len() != count || table.dims2()?.1 != hidden {
            bail!("embedding: tables of different shapes")
        }
    }
    let y = by_dtype!(first, T => {
        let tables = lookups.iter().map(|lookup| Slice::<T>::new(lookup.table));
        let tables = tables.collect::<Result<Vec<_>>>()?;
        // Held as slices: the guards of candle's storage do not go to other threads.
        let tables: Vec<&[T]> = tables.iter().map(Slice::get).collect();
        let out = written(count * hidden, |out| {
            for_rows(out, hidden, rows_per_piece(hidden), |start, out| {
                let row_of = |table: usize, row: usize| {
                    &tables[table][lookups[table].ids[row] as usize * hidden..][..hidden]
                };
                simd(
                    #[inline(always)]
                    || {
                        for (row, out) in out.chunks_exact_mut(hidden.max(1)).enumerate() {
                            out.copy_from_slice(row_of(0, start + row));
                            for table in 1..=others.len() {
                                each_with(out, row_of(table, start + row), |sum, x| sum + x);
                            }
                        }
                    },
                );
            });
        });
        Tensor::from_vec(out, (count, hidden), first.device())?
    });
    if tape.needs(&[], lookups.iter().map(|lookup| lookup.table)) {
        let trained = lookups.iter().filter(|lookup| lookup.table.is_trainable());
        let trained: Vec<(Weight, Vec<u32>, Option<u32>)> = trained
            .map(|Lookup { table, ids, padding }| ((*table).clone(), ids.to_vec(), *padding))
            .collect();
        tape.record(&y, move |dy, _| {
            trained.par_iter().try_for_each(|(table, ids, padding)| {
                by_dtype!(dy, T => add_rows::<T>(table, ids, *padding, &dy))
            })
        });
    }
    Ok(y)
}

/// [`embedding`] of candle's primitives, for one table.
pub fn reference(Lookup { table, ids, padding }: Lookup) -> Result<Tensor> {
    check_ids(table, ids)?;
    let rows = table.index_select(&Tensor::from_slice(ids, ids.len(), table.device())?, 0)?;
    let Some(padding) = padding else { return Ok(rows) };
    let kept: Vec<f64> = ids.iter().map(|id| f64::from(*id != padding)).collect();
    let kept = Tensor::from_vec(kept, (ids.len(), 1), table.device())?.to_dtype(rows.dtype())?;
    rows.broadcast_mul(&kept)? + rows.detach().broadcast_mul(&kept.affine(-1.0, 1.0)?)?
}

fn check_ids(weight: &Tensor, ids: &[u32]) -> Result<()> {
    let (vocabulary, _) = weight.dims2()?;
    match ids.iter().find(|id| **id as usize >= vocabulary) {
        Some(id) => bail!("id {id} is not in a vocabulary of {vocabulary}"),
        None => Ok(()),
    }
}

/// In the order of the ids, so that sums do not depend on threads.
fn add_rows<T: Real>(
    weight: &Weight,
    ids: &[u32],
    padding: Option<u32>,
    dy: &Gradient,
) -> Result<()> {
    let (_, columns) = weight.dims2()?;
    let dy = dy.get::<T>()?;
    weight.contribute_rows::<T>(ids, |sum| {
        simd(
            #[inline(always)]
            || {
                for (from, &id) in dy.chunks_exact(columns.max(1)).zip(ids) {
                    if Some(id) == padding {
                        continue;
                    }
                    let to = &mut sum[id as usize * columns..][..columns];
                    each_with(to, from, |to, from| to + from);
                }
            },
        );
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ops::check::{Check, silent, tensor};

    #[test]
    fn embedding_agrees_with_its_reference() {
        for ids in [vec![4], vec![0, 16, 3, 3, 3, 9]] {
            let kinds: Vec<u32> = ids.iter().map(|id| id % 2).collect();
            Check::new("embedding").weight(&[17, 5]).run(
                |t, _, w| embedding(t, &[Lookup::new(&w[0], &ids)]),
                |_, w| reference(Lookup::new(&w[0], &ids)),
            );
            Check::new("embeddings").weight(&[17, 5]).weight(&[2, 5]).run(
                |t, _, w| embedding(t, &[Lookup::new(&w[0], &ids), Lookup::new(&w[1], &kinds)]),
                |_, w| {
                    reference(Lookup::new(&w[0], &ids))? + reference(Lookup::new(&w[1], &kinds))?
                },
            );
        }
    }

    #[test]
    fn padding_gets_no_gradient() {
        let weight = Weight::new(&tensor(&[4, 1], 0), true).unwrap();
        let tape = Tape::recording(crate::nn::Precision::F32);
        let lookup = Lookup { padding: Some(3), ..Lookup::new(&weight, &[3, 1, 1]) };
        let y = embedding(&tape, &[lookup]).unwrap();
        tape.backward(&y, Gradient::new(vec![1f32, 2.0, 3.0])).unwrap();
        let found = weight.gradient().unwrap().unwrap().flatten_all().unwrap();
        assert_eq!(found.to_vec1::<f32>().unwrap(), [0.0, 5.0, 0.0, 0.0]);
        let found = reference(lookup).unwrap().sum_all().unwrap().backward().unwrap();
        let found = found.get(weight.tensor()).unwrap().flatten_all().unwrap();
        assert_eq!(found.to_vec1::<f32>().unwrap(), [0.0, 2.0, 0.0, 0.0]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let weight = Weight::new(&tensor(&[3, 2], 0), true).unwrap();
        let run = |ids: &[&[u32]]| {
            let lookups: Vec<_> = ids.iter().map(|ids| Lookup::new(&weight, ids)).collect();
            embedding(&silent(), &lookups)
        };
        assert!(run(&[&[3]]).unwrap_err().to_string().contains("vocabulary of 3"));
        assert!(run(&[&[1], &[1, 2]]).is_err());
        assert!(run(&[]).is_err());
    }
}
