//! Updates of embeddings, row by row. A row that no input reads is left behind, and gets the updates
//! that it missed when it is read, with the bits of the dense way: its gradient was zero in all of
//! them. Tied parameters are stepped as a whole: their other name may be read in every row.

use rayon::prelude::*;

use crate::model::Result;
use crate::nn::{Parameter, Parameters};

use super::optimizer::{At, Missed, Optimizer};

/// Steps every parameter of a run, those that are read by rows only where they have a gradient.
pub struct Deferred<'a> {
    parameters: &'a Parameters,
    optimizer: &'a dyn Optimizer,
    /// By the place of the parameter; none for those that are stepped as a whole.
    tables: Vec<Option<Table<'a>>>,
}

/// A parameter that is read by rows.
struct Table<'a> {
    columns: usize,
    /// The updates since all rows were current.
    missed: Box<dyn Missed + 'a>,
    updates: usize,
    /// How many of `updates` each row has got.
    current: Vec<usize>,
}

impl<'a> Deferred<'a> {
    pub fn new(parameters: &'a Parameters, optimizer: &'a dyn Optimizer) -> Self {
        let tables = parameters.iter().map(|_| None).collect();
        Self { parameters, optimizer, tables }
    }

    /// Makes the rows current that are about to be read, by the names of their tables. From the first
    /// time on, what is read of such a table without this is read after [`Self::settle`] alone.
    pub fn read(&mut self, rows: &[(&str, &[u32])], buffers: &mut [Vec<Vec<f32>>]) -> Result<()> {
        for (name, rows) in rows {
            let place = self.parameters.place(name)?;
            let parameter = &self.parameters.as_slice()[place];
            if self.tables[place].is_none() && self.defers(place, parameter) {
                self.tables[place] = Some(Table::new(parameter, self.optimizer.missed()));
            }
            let Some(table) = &mut self.tables[place] else { continue };
            let behind = table.behind(rows.iter().copied());
            if !behind.is_empty() {
                let buffers = &mut buffers[place];
                parameter.weight.change(|values| table.replay(&behind, values, buffers))?;
            }
        }
        Ok(())
    }

    /// One update of the parameter at this place; none if it has no gradient.
    pub fn step(&mut self, place: usize, buffers: &mut [Vec<f32>], at: &At) -> Result<()> {
        let (optimizer, table) = (self.optimizer, &mut self.tables[place]);
        let weight = &self.parameters.as_slice()[place].weight;
        weight.update(|values, gradient, rows| match (&mut *table, rows) {
            (Some(table), Some(rows)) => {
                table.step(optimizer, rows, values, gradient, buffers, at);
            }
            (table, _) => {
                if let Some(table) = table {
                    table.settle(optimizer, values, buffers);
                }
                let mut buffers: Vec<_> = buffers.iter_mut().map(Vec::as_mut_slice).collect();
                optimizer.step(values, gradient, &mut buffers, at);
            }
        })?;
        Ok(())
    }

    /// Makes all rows current.
    pub fn settle(&mut self, buffers: &mut [Vec<Vec<f32>>]) -> Result<()> {
        for ((table, parameter), buffers) in
            self.tables.iter_mut().zip(self.parameters).zip(buffers)
        {
            let Some(table) = table else { continue };
            parameter.weight.change(|values| table.settle(self.optimizer, values, buffers))?;
        }
        Ok(())
    }

    fn defers(&self, place: usize, parameter: &Parameter) -> bool {
        let is_tied = parameter.tied_with.is_some()
            || self.parameters.iter().any(|other| other.tied_with == Some(place));
        !is_tied && parameter.weight.is_trainable()
    }
}

impl<'a> Table<'a> {
    fn new(parameter: &Parameter, missed: Box<dyn Missed + 'a>) -> Self {
        let columns = parameter.weight.columns().max(1);
        let current = vec![0; parameter.weight.elem_count() / columns];
        Self { columns, missed, updates: 0, current }
    }

    /// Those of the rows that are not current, each once, in order. A row that is not in the table is
    /// left for the forward to complain about.
    fn behind(&self, rows: impl Iterator<Item = u32>) -> Vec<u32> {
        let is_behind =
            |row: &u32| self.current.get(*row as usize).is_some_and(|got| *got < self.updates);
        let mut behind: Vec<u32> = rows.filter(is_behind).collect();
        behind.sort_unstable();
        behind.dedup();
        behind
    }

    fn replay(&mut self, rows: &[u32], values: &mut [f32], buffers: &mut [Vec<f32>]) {
        let (missed, current) = (&self.missed, &self.current);
        each_row(rows, self.columns, values, buffers, |row, values, buffers| {
            missed.replay(current[row], values, buffers);
        });
        self.set_current(rows);
    }

    fn step(
        &mut self,
        optimizer: &dyn Optimizer,
        rows: &[u32],
        values: &mut [f32],
        gradient: &[f32],
        buffers: &mut [Vec<f32>],
        at: &At,
    ) {
        debug_assert!(self.behind(rows.iter().copied()).is_empty(), "rows were not announced");
        let columns = self.columns;
        each_row(rows, columns, values, buffers, |row, values, buffers| {
            optimizer.step(values, &gradient[row * columns..][..columns], buffers, at);
        });
        self.missed.push(at);
        self.updates += 1;
        self.set_current(rows);
    }

    fn settle(
        &mut self,
        optimizer: &'a dyn Optimizer,
        values: &mut [f32],
        buffers: &mut [Vec<f32>],
    ) {
        if self.updates > 0 {
            let behind = self.behind(0..self.current.len() as u32);
            self.replay(&behind, values, buffers);
            self.current.fill(0);
            self.updates = 0;
            self.missed = optimizer.missed();
        }
    }

    fn set_current(&mut self, rows: &[u32]) {
        for row in rows {
            self.current[*row as usize] = self.updates;
        }
    }
}

/// Calls `f(row, values, buffers)` for each of the rows, which are in order, in parallel.
fn each_row(
    rows: &[u32],
    columns: usize,
    values: &mut [f32],
    buffers: &mut [Vec<f32>],
    f: impl Fn(usize, &mut [f32], &mut [&mut [f32]]) + Sync + Send,
) {
    let mut values = take_rows(rows, columns, values);
    let mut buffers: Vec<_> =
        buffers.iter_mut().map(|buffer| take_rows(rows, columns, buffer)).collect();
    let mut parts = Vec::with_capacity(rows.len());
    for row in rows {
        let of_row: Vec<&mut [f32]> = buffers.iter_mut().filter_map(Iterator::next).collect();
        parts.extend(values.next().map(|values| (*row as usize, values, of_row)));
    }
    parts.into_par_iter().for_each(|(row, values, mut buffers)| f(row, values, &mut buffers));
}

fn take_rows<'a>(
    rows: &[u32],
    columns: usize,
    values: &'a mut [f32],
) -> impl Iterator<Item = &'a mut [f32]> {
    let mut all = values.chunks_exact_mut(columns);
    let mut next = 0;
    rows.iter().filter_map(move |row| {
        let skipped = *row as usize - std::mem::replace(&mut next, *row as usize + 1);
        all.nth(skipped)
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::schema::Pick;
    use crate::train::{Optimizers, values};

    const ROWS: usize = 7;
    const COLUMNS: usize = 5;

    fn parameters() -> Parameters {
        let count = (ROWS * COLUMNS) as f64;
        let table = Tensor::arange(0.0, count, &Device::Cpu).unwrap();
        let table = table.reshape((ROWS, COLUMNS)).unwrap().to_dtype(DType::F32).unwrap();
        let mut parameters = Parameters::new();
        parameters.add("table", &table, true).unwrap();
        parameters
    }

    fn optimizer(name: &str) -> Box<dyn Optimizer> {
        Pick::<Optimizers>::default_of(name).unwrap().build().unwrap()
    }

    /// Rows that come once, again, together, not at all, and a gradient of every row in between.
    #[test]
    fn rows_make_the_bits_of_the_whole() {
        const UPDATES: [&[u32]; 8] = [&[2], &[5, 2, 2], &[], &[0], &[6, 5], &[], &[2], &[1, 0]];
        const OF_EVERY_ROW: usize = 5;
        let run = |name: &str, defers: bool| {
            let (parameters, optimizer) = (parameters(), optimizer(name));
            let weight = parameters.get("table").unwrap();
            let mut deferred = Deferred::new(&parameters, optimizer.as_ref());
            let mut buffers = vec![vec![vec![0.0; ROWS * COLUMNS]; optimizer.buffers()]];
            for (update, rows) in UPDATES.iter().enumerate() {
                if defers {
                    deferred.read(&[("table", rows)], &mut buffers).unwrap();
                }
                parameters.zero_grad();
                let add = |sum: &mut [f32]| {
                    for row in rows.iter() {
                        let sum = &mut sum[*row as usize * COLUMNS..][..COLUMNS];
                        sum.iter_mut().for_each(|sum| *sum += 0.1 * (update + 1) as f32);
                    }
                };
                weight.contribute_rows(rows, add).unwrap();
                if update == OF_EVERY_ROW {
                    weight.add_gradient(&weight.ones_like().unwrap()).unwrap();
                }
                let at = At {
                    learning_rate: 0.1 / (update + 1) as f64,
                    decayed: true,
                    update: update as u64 + 1,
                    clip: 0.5,
                };
                deferred.step(0, &mut buffers[0], &at).unwrap();
            }
            assert_eq!(deferred.tables[0].is_some(), defers);
            deferred.settle(&mut buffers).unwrap();
            (values::copy(&parameters).unwrap(), buffers)
        };
        for name in ["adamw", "sgd"] {
            assert_eq!(run(name, true), run(name, false), "{name}");
        }
    }

    #[test]
    fn tied_and_frozen_tables_are_not_deferred() {
        let deferred_names = |parameters: &Parameters| {
            let adamw = optimizer("adamw");
            let mut deferred = Deferred::new(parameters, adamw.as_ref());
            for name in parameters.iter().map(|parameter| parameter.name.as_str()) {
                deferred.read(&[(name, &[0])], &mut []).unwrap();
            }
            deferred.tables.iter().map(Option::is_some).collect::<Vec<_>>()
        };
        let mut parameters = parameters();
        assert_eq!(deferred_names(&parameters), [true]);
        parameters.get("table").unwrap().set_trainable(false);
        assert_eq!(deferred_names(&parameters), [false]);
        parameters.get("table").unwrap().set_trainable(true);
        parameters.tie("decoder", "table").unwrap();
        assert_eq!(deferred_names(&parameters), [false, false]);
    }
}
