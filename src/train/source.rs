//! What the trainer learns from: rows that it can ask for by number. It sees neither text nor
//! files; what an input holds is between the source and the model.

use crate::data::Targets;
use crate::model::{Dropping, Input, Result};

/// Rows to learn from or to score.
pub trait Examples: Sync {
    fn rows(&self) -> usize;

    /// The amount of work of a row, in tokens.
    fn cost(&self, row: usize) -> usize;

    /// The inputs of these rows. `first_place`: the place of the first of them among the rows of
    /// the whole update, by which dropout is drawn. What examples themselves draw, such as masked
    /// tokens, they draw anew in every update; without one, it is the same each time.
    fn input(&self, rows: &[usize], first_place: u32, update: Option<Dropping>) -> Result<Input>;

    /// The targets of these rows in the same update.
    fn targets(&self, rows: &[usize], update: Option<Dropping>) -> Targets;

    /// What messages call a row.
    fn name(&self, row: usize) -> String;
}
