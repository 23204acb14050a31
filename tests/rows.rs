//! Rows of token ids made in a test, as a source of examples.

use ftrun::data::Targets;
use ftrun::model::{Attended, Dropping, Input, Result, Selected, TextInput};
use ftrun::nn::{Offsets, TokenPlace};
use ftrun::train::Examples;

#[derive(Clone, Default)]
pub struct Rows {
    pub input_ids: Vec<Vec<u32>>,
    /// Empty: no types are given.
    pub token_type_ids: Vec<Vec<u32>>,
    pub targets: Targets,
    /// The tokens of each row that are scored; empty: all are.
    pub selected: Vec<Vec<usize>>,
    /// The tokens of each row that attention sees; empty: it sees all.
    pub attended: Vec<usize>,
    /// How many rows follow each other as one; 0 for one.
    pub choices: usize,
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
            ..Rows::default()
        }
    }

    /// The sequences of these rows.
    fn sequences(&self, rows: &[usize]) -> Vec<usize> {
        let choices = self.choices.max(1);
        rows.iter().flat_map(|row| row * choices..(row + 1) * choices).collect()
    }

    pub fn all(&self) -> Vec<usize> {
        (0..self.rows()).collect()
    }
}

impl Examples for Rows {
    fn rows(&self) -> usize {
        self.input_ids.len() / self.choices.max(1)
    }

    fn cost(&self, row: usize) -> usize {
        self.sequences(&[row]).iter().map(|sequence| self.input_ids[*sequence].len()).sum()
    }

    fn input(&self, rows: &[usize], first_place: u32, _: Option<Dropping>) -> Result<Input> {
        let sequences = self.sequences(rows);
        let flat =
            |from: &[Vec<u32>]| sequences.iter().flat_map(|row| from[*row].clone()).collect();
        let places = rows.iter().zip(first_place..).flat_map(|(row, place)| {
            (0..self.cost(*row) as u32).map(move |position| TokenPlace { row: place, position })
        });
        let lengths = sequences.iter().map(|row| self.input_ids[*row].len());
        let offsets = Offsets::from_lengths(lengths)?;
        let starts = offsets.starts();
        let selected = (!self.selected.is_empty()).then(|| {
            let own = |row: &usize| self.selected[*row].len();
            let ends = sequences.iter().scan(0, |end, row| {
                *end += own(row);
                Some(*end)
            });
            Selected {
                starts: std::iter::once(0).chain(ends).collect(),
                tokens: sequences
                    .iter()
                    .zip(&starts)
                    .flat_map(|(row, start)| {
                        self.selected[*row].iter().map(move |place| start + *place as u32)
                    })
                    .collect(),
            }
        });
        let attended = match self.attended.is_empty() {
            true => None,
            false => {
                let seen = sequences.iter().map(|row| self.attended[*row]);
                let tokens = sequences.iter().zip(&starts).flat_map(|(row, start)| {
                    (0..self.attended[*row] as u32).map(move |place| start + place)
                });
                Some(Attended { tokens: tokens.collect(), offsets: Offsets::from_lengths(seen)? })
            }
        };
        let together = (self.choices > 0)
            .then(|| Offsets::from_lengths(rows.iter().map(|_| self.choices)))
            .transpose()?;
        Ok(Input::Text(TextInput {
            token_type_ids: (!self.token_type_ids.is_empty()).then(|| flat(&self.token_type_ids)),
            rows: together,
            selected,
            attended,
            ..TextInput::new(flat(&self.input_ids), offsets, places.collect())
        }))
    }

    fn targets(&self, rows: &[usize], _: Option<Dropping>) -> Targets {
        self.targets.take(rows)
    }

    fn name(&self, row: usize) -> String {
        format!("row-{row}")
    }
}
