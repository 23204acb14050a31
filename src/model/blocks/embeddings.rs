//! The sum of tables of embeddings, its norm and its dropout.

use candle_core::Tensor;

use super::EMBEDDINGS_SITE;
use crate::model::heads::{norm, table};
use crate::model::pass::{Drop, Pass, Places};
use crate::model::{Declaration, ModelError, Result, TextInput};
use crate::nn::Parameters;
use crate::nn::ops::embedding::Lookup;

#[derive(Debug, Clone)]
pub(in crate::model) struct Embeddings {
    /// `bert.embeddings`
    pub module: &'static str,
    /// The name of the tokens' table: `bert.embeddings.word_embeddings.weight`.
    pub words: &'static str,
    /// The name of the norm: `bert.embeddings.LayerNorm`.
    pub norm: &'static str,
    pub norm_bias: bool,
    pub vocabulary: usize,
    /// Columns of the tables.
    pub width: usize,
    /// Columns of the norm.
    pub normed: usize,
    /// Where positions have a table.
    pub positions: Option<Positions>,
    /// 0 where types have no table.
    pub token_types: usize,
    /// The token that only fills rows up: its row gets no gradient.
    pub padding: Option<u32>,
    pub dropout: f64,
    pub eps: f64,
    /// Of new values.
    pub deviation: f64,
}

/// A table of positions.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Positions {
    pub count: usize,
    /// The token that is not counted and stands at the position of its own number; all others stand
    /// behind it. Source: fairseq, `make_positions`.
    pub padding: Option<u32>,
}

impl Positions {
    /// Fails if `max_position_embeddings`, `count`, leaves none behind the padding's.
    pub fn new(count: usize, padding: Option<u32>) -> Result<Self> {
        let positions = Self { count, padding };
        match positions.longest() {
            0 => Err(ModelError::new(format!(
                "the config's `max_position_embeddings` is {count}; {} of them are not for tokens",
                padding.unwrap_or(0) + 1
            ))),
            _ => Ok(positions),
        }
    }

    fn longest(&self) -> usize {
        self.count.saturating_sub(self.padding.map_or(0, |padding| padding as usize + 1))
    }

    fn of(&self, text: &TextInput) -> Vec<u32> {
        let Some(padding) = self.padding else { return super::positions(&text.offsets).to_vec() };
        let numbered = text.offsets.ranges().flat_map(|range| {
            let mut last = padding;
            text.input_ids[range].iter().map(move |id| match *id == padding {
                true => padding,
                false => {
                    last += 1;
                    last
                }
            })
        });
        numbered.collect()
    }
}

impl Embeddings {
    pub fn declarations(&self) -> Vec<Declaration> {
        let of = |name: String, rows| table(name, [rows, self.width], self.deviation);
        let own = |name: &str| format!("{}.{name}.weight", self.module);
        let mut all = vec![of(self.words.to_string(), self.vocabulary)];
        all.extend(self.positions.map(|positions| of(own("position_embeddings"), positions.count)));
        if self.token_types > 0 {
            all.push(of(own("token_type_embeddings"), self.token_types));
        }
        all.extend(norm(self.norm, self.normed, self.norm_bias, 0));
        all
    }

    pub fn max_length(&self) -> Option<usize> {
        self.positions.map(|positions| positions.longest())
    }

    /// `[tokens, normed]`
    pub fn forward(
        &self,
        parameters: &Parameters,
        text: &TextInput,
        pass: &Pass,
    ) -> Result<Tensor> {
        let sum = self.sum(parameters, text, pass)?;
        let normed = pass.layer_norm(&sum, &parameters.norm(self.norm, self.eps)?)?;
        self.drop(&normed, text, pass)
    }

    /// `[tokens, width]`
    pub fn sum(&self, parameters: &Parameters, text: &TextInput, pass: &Pass) -> Result<Tensor> {
        let longest = text.offsets.longest();
        if let Some(most) = self.max_length()
            && longest > most
        {
            return Err(ModelError::new(format!(
                "a row of {longest} tokens is longer than the model's {most} positions"
            ))
            .help(format!("`max_length = {most}` in `tokenize` cuts it")));
        }
        let own = |name: &str| parameters.get(&format!("{}.{name}.weight", self.module));
        let words = parameters.get(self.words)?;
        let mut lookups =
            vec![Lookup { padding: self.padding, ..Lookup::new(&words, &text.input_ids) }];
        let (types, positions);
        let (type_ids, position_ids);
        if self.token_types > 0 {
            types = own("token_type_embeddings")?;
            type_ids = match &text.token_type_ids {
                Some(ids) if self.token_types > 1 => ids.clone(),
                // A model of one type does not tell texts apart.
                _ => vec![0; text.input_ids.len()].into(),
            };
            lookups.push(Lookup::new(&types, &type_ids));
        }
        if let Some(places) = &self.positions {
            positions = own("position_embeddings")?;
            position_ids = places.of(text);
            let padding = places.padding;
            lookups.push(Lookup { padding, ..Lookup::new(&positions, &position_ids) });
        }
        pass.noise(&pass.embedding(&lookups)?, text)
    }

    pub fn drop(&self, x: &Tensor, text: &TextInput, pass: &Pass) -> Result<Tensor> {
        pass.dropout(x, &Drop { p: self.dropout, site: EMBEDDINGS_SITE, places: Places::All(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Offsets;

    fn positions(padding: Option<u32>, ids: &[u32], lengths: &[usize]) -> Vec<u32> {
        let offsets = Offsets::from_lengths(lengths.iter().copied()).unwrap();
        let text = TextInput::new(ids.into(), offsets, [].into());
        Positions { count: 10, padding }.of(&text)
    }

    /// The second as transformers' `create_position_ids_from_input_ids` numbers them.
    #[test]
    fn positions_start_anew_in_every_row() {
        assert_eq!(positions(None, &[0, 5, 2, 0, 6], &[3, 2]), [0, 1, 2, 0, 1]);
        assert_eq!(positions(Some(1), &[0, 5, 1, 2, 0, 6], &[4, 2]), [2, 3, 1, 4, 2, 3]);
    }
}
