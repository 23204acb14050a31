//! Heads that families share: one linear layer over tokens, and the scores of a vocabulary.
//! What their parameters are called is the family's.

use candle_core::Tensor;

use super::pass::{Drop, Pass, Places};
use super::{Declaration, Init, Input, Kind, OutputHead, Read, Result};
use crate::nn::{Activation, Linear, Parameters};

/// `{module}.weight` `[to, from]` and `{module}.bias` `[to]`, as new layers are drawn.
pub(super) fn dense(
    module: &str,
    [to, from]: [usize; 2],
    deviation: f64,
    depth: usize,
) -> [Declaration; 2] {
    let part = |part: &str, shape, init, kind| Declaration {
        name: format!("{module}.{part}"),
        shape,
        init,
        kind,
        depth,
    };
    [
        part("weight", vec![to, from], Init::Normal(deviation), Kind::Weight),
        part("bias", vec![to], Init::Zeros, Kind::Bias),
    ]
}

/// `{module}.weight` and `{module}.bias` `[hidden]` of a layer norm.
pub(super) fn norm(module: &str, hidden: usize, depth: usize) -> [Declaration; 2] {
    [("weight", Init::Ones), ("bias", Init::Zeros)].map(|(part, init)| Declaration {
        name: format!("{module}.{part}"),
        shape: vec![hidden],
        init,
        kind: Kind::Norm,
        depth,
    })
}

/// Dropout and one linear layer over every token: tags, and the ends of answers.
pub(super) struct PerToken {
    pub class: &'static str,
    /// `classifier`
    pub module: &'static str,
    /// Its weight and bias.
    pub output_names: &'static [&'static str],
    pub outputs: usize,
    pub hidden: usize,
    pub dropout: f64,
    /// The place of the dropout in the network.
    pub site: u32,
    pub deviation: f64,
    pub depth: usize,
}

impl OutputHead for PerToken {
    fn class(&self) -> &'static str {
        self.class
    }

    fn declarations(&self) -> Vec<Declaration> {
        dense(self.module, [self.outputs, self.hidden], self.deviation, self.depth).into()
    }

    fn output_names(&self) -> &'static [&'static str] {
        self.output_names
    }

    fn read(&self) -> Read {
        Read::All
    }

    fn forward(
        &self,
        parameters: &Parameters,
        hidden_states: &Tensor,
        input: &Input,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Input::Text(text) = input;
        let dropping = Drop { p: self.dropout, site: self.site, places: Places::All(text) };
        let kept = pass.dropout(hidden_states, &dropping)?;
        pass.linear(&kept, &parameters.linear(self.module)?, dropping.places)
    }
}

/// Scores of every word of a vocabulary for the selected tokens: linear, activation, layer norm, and
/// the table of embeddings as the last layer's weight.
pub(super) struct Vocabulary {
    pub class: &'static str,
    pub transform: &'static str,
    pub activation: Activation,
    pub norm: &'static str,
    pub eps: f64,
    /// The name of the last layer's weight, `[vocabulary, width]`.
    pub weight: &'static str,
    /// Whether the weight is the table of embeddings; else it is the head's own.
    pub tied: bool,
    pub bias: &'static str,
    /// Ends of names under which checkpoints store the last layer once more.
    pub copies: &'static [&'static str],
    pub hidden: usize,
    /// The width of the embeddings.
    pub width: usize,
    pub vocabulary: usize,
    pub deviation: f64,
    pub depth: usize,
}

impl OutputHead for Vocabulary {
    fn class(&self) -> &'static str {
        self.class
    }

    fn declarations(&self) -> Vec<Declaration> {
        let mut all = Vec::new();
        all.extend(dense(self.transform, [self.width, self.hidden], self.deviation, self.depth));
        all.extend(norm(self.norm, self.width, self.depth));
        let [mut weight, mut bias] =
            dense("", [self.vocabulary, self.width], self.deviation, self.depth);
        if !self.tied {
            weight.name = self.weight.to_string();
            all.push(weight);
        }
        bias.name = self.bias.to_string();
        all.push(bias);
        all
    }

    fn output_names(&self) -> &'static [&'static str] {
        &[]
    }

    fn buffers(&self) -> &'static [&'static str] {
        self.copies
    }

    fn whole_tables(&self) -> Vec<&str> {
        if self.tied { vec![self.weight] } else { Vec::new() }
    }

    fn read(&self) -> Read {
        Read::Selected
    }

    fn forward(
        &self,
        parameters: &Parameters,
        hidden_states: &Tensor,
        input: &Input,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Input::Text(text) = input;
        let places = Places::Selected(text);
        let x = pass.linear(hidden_states, &parameters.linear(self.transform)?, places)?;
        let x = pass.activation(&x, self.activation)?;
        let of_norm = |part: &str| parameters.get(&format!("{}.{part}", self.norm));
        let x = pass.layer_norm(&x, &of_norm("weight")?, &of_norm("bias")?, self.eps)?;
        let last = Linear::new(&parameters.get(self.weight)?, Some(&parameters.get(self.bias)?));
        pass.linear(&x, &last, places)
    }
}
