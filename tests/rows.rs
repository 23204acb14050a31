//! Rows of token ids made in a test, as a source of examples.

use ftrun::data::Targets;
use ftrun::model::{Input, Result, TextInput};
use ftrun::nn::{Offsets, TokenPlace};
use ftrun::train::Examples;

#[derive(Clone)]
pub struct Rows {
    pub input_ids: Vec<Vec<u32>>,
    /// Empty: no types are given.
    pub token_type_ids: Vec<Vec<u32>>,
    pub targets: Targets,
}

impl Rows {
    /// The same rows in another order.
    pub fn permuted(&self, order: &[usize]) -> Rows {
        let pick = |rows: &[Vec<u32>]| -> Vec<Vec<u32>> {
            order.iter().filter_map(|row| rows.get(*row).cloned()).collect()
        };
        Rows {
            input_ids: pick(&self.input_ids),
            token_type_ids: pick(&self.token_type_ids),
            targets: self.targets.take(order),
        }
    }

    pub fn all(&self) -> Vec<usize> {
        (0..self.input_ids.len()).collect()
    }
}

impl Examples for Rows {
    fn rows(&self) -> usize {
        self.input_ids.len()
    }

    fn cost(&self, row: usize) -> usize {
        self.input_ids[row].len()
    }

    fn input(&self, rows: &[usize], first_place: u32) -> Result<Input> {
        let flat = |from: &[Vec<u32>]| rows.iter().flat_map(|row| from[*row].clone()).collect();
        let places = rows.iter().zip(first_place..).flat_map(|(row, place)| {
            let length = self.input_ids[*row].len() as u32;
            (0..length).map(move |position| TokenPlace { row: place, position })
        });
        Ok(Input::Text(TextInput {
            input_ids: flat(&self.input_ids),
            token_type_ids: (!self.token_type_ids.is_empty()).then(|| flat(&self.token_type_ids)),
            offsets: Offsets::from_lengths(rows.iter().map(|row| self.input_ids[*row].len()))?,
            places: places.collect(),
        }))
    }

    fn targets(&self, rows: &[usize]) -> Targets {
        self.targets.take(rows)
    }

    fn name(&self, row: usize) -> String {
        format!("row-{row}")
    }
}
