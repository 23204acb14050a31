//! Heads that families share: linear layers over the first token or over every token, and the scores of
//! a vocabulary. What their parameters are called is the family's.

use candle_core::Tensor;

use super::pass::{Drop, Pass, Places};
use super::{Declaration, Init, Input, Kind, OutputHead, Read, Result};
use crate::nn::{Activation, Linear, Parameters};

/// `{module}.weight` `[to, from]`, as new layers are drawn.
pub(super) fn weight(
    module: &str,
    [to, from]: [usize; 2],
    deviation: f64,
    depth: usize,
) -> Declaration {
    Declaration {
        name: format!("{module}.weight"),
        shape: vec![to, from],
        init: Init::Normal(deviation),
        kind: Kind::Weight,
        depth,
    }
}

/// [`weight`] and `{module}.bias` `[to]`.
pub(super) fn dense(
    module: &str,
    [to, from]: [usize; 2],
    deviation: f64,
    depth: usize,
) -> [Declaration; 2] {
    let bias = Declaration {
        name: format!("{module}.bias"),
        shape: vec![to],
        init: Init::Zeros,
        kind: Kind::Bias,
        depth,
    };
    [weight(module, [to, from], deviation, depth), bias]
}

/// `{module}.weight` `[hidden]` of a layer norm and, where it has one, its `{module}.bias`.
pub(super) fn norm(module: &str, hidden: usize, bias: bool, depth: usize) -> Vec<Declaration> {
    let part = |(part, init)| Declaration {
        name: format!("{module}.{part}"),
        shape: vec![hidden],
        init,
        kind: Kind::Norm,
        depth,
    };
    let parts = [("weight", Init::Ones), ("bias", Init::Zeros)];
    parts.into_iter().take(1 + usize::from(bias)).map(part).collect()
}

/// A table of embeddings `[rows, columns]` by its whole name.
pub(super) fn table(name: String, [rows, columns]: [usize; 2], deviation: f64) -> Declaration {
    Declaration {
        name,
        shape: vec![rows, columns],
        init: Init::Normal(deviation),
        kind: Kind::Embedding,
        depth: 0,
    }
}

/// What every head is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base {
    pub outputs: usize,
    pub hidden: usize,
    /// The first place of the head's dropout in the network.
    pub site: u32,
    /// Of new weights.
    pub deviation: f64,
    pub depth: usize,
}

/// Dropout, linear, activation, dropout, linear, on the first token of every sequence.
pub(super) struct FirstToken {
    pub class: &'static str,
    /// The first layer's module.
    pub pooler: &'static str,
    pub activation: Activation,
    pub dropout_before: f64,
    pub dropout: f64,
    /// The last layer's module.
    pub last: &'static str,
    /// Its weight and bias.
    pub output_names: &'static [&'static str],
    pub base: Base,
}

impl OutputHead for FirstToken {
    fn class(&self) -> &'static str {
        self.class
    }

    fn declarations(&self) -> Vec<Declaration> {
        let Base { outputs, hidden, deviation, depth, .. } = self.base;
        let mut all = Vec::new();
        all.extend(dense(self.pooler, [hidden, hidden], deviation, depth));
        all.extend(dense(self.last, [outputs, hidden], deviation, depth));
        all
    }

    fn output_names(&self) -> &'static [&'static str] {
        self.output_names
    }

    fn read(&self) -> Read {
        Read::First
    }

    fn forward(
        &self,
        parameters: &Parameters,
        hidden_states: &Tensor,
        input: &Input,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Input::Text(text) = input;
        let (site, places) = (self.base.site, Places::First(text));
        let drop = |x: &Tensor, p, site| pass.dropout(x, &Drop { p, site, places });
        let x = drop(hidden_states, self.dropout_before, site + 1)?;
        let x = pass.linear(&x, &parameters.linear(self.pooler)?, places)?;
        let x = pass.activation(&x, self.activation)?;
        let x = drop(&x, self.dropout, site)?;
        pass.linear(&x, &parameters.linear(self.last)?, places)
    }
}

/// Dropout and one linear layer over every token: tags, and the ends of answers.
pub(super) struct PerToken {
    class: &'static str,
    module: &'static str,
    /// Its weight and bias.
    output_names: &'static [&'static str],
    dropout: f64,
    base: Base,
}

impl PerToken {
    pub fn tags(class: &'static str, dropout: f64, base: Base) -> Self {
        let output_names = &["classifier.weight", "classifier.bias"];
        Self { class, module: "classifier", output_names, dropout, base }
    }

    pub fn spans(class: &'static str, dropout: f64, base: Base) -> Self {
        let output_names = &["qa_outputs.weight", "qa_outputs.bias"];
        Self { class, module: "qa_outputs", output_names, dropout, base }
    }
}

impl OutputHead for PerToken {
    fn class(&self) -> &'static str {
        self.class
    }

    fn declarations(&self) -> Vec<Declaration> {
        let Base { outputs, hidden, deviation, depth, .. } = self.base;
        dense(self.module, [outputs, hidden], deviation, depth).into()
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
        let places = Places::All(text);
        let dropping = Drop { p: self.dropout, site: self.base.site, places };
        let kept = pass.dropout(hidden_states, &dropping)?;
        pass.linear(&kept, &parameters.linear(self.module)?, places)
    }
}

/// Scores of every word of a vocabulary for the selected tokens: linear, activation, layer norm, and
/// the table of embeddings as the last layer's weight.
pub(super) struct Vocabulary {
    pub class: &'static str,
    pub transform: &'static str,
    pub transform_bias: bool,
    pub activation: Activation,
    pub norm: &'static str,
    pub norm_bias: bool,
    pub eps: f64,
    /// The name of the last layer's weight, `[vocabulary, width]`.
    pub weight: &'static str,
    /// Whether the weight is the table of embeddings; else it is the head's own.
    pub tied: bool,
    pub bias: Option<&'static str>,
    /// Ends of names under which checkpoints store the last layer once more, or what nothing reads.
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
        let (deviation, depth) = (self.deviation, self.depth);
        let [first, first_bias] =
            dense(self.transform, [self.width, self.hidden], deviation, depth);
        let mut all = vec![first];
        all.extend(self.transform_bias.then_some(first_bias));
        all.extend(norm(self.norm, self.width, self.norm_bias, depth));
        let [last, last_bias] = dense("", [self.vocabulary, self.width], deviation, depth);
        if !self.tied {
            all.push(Declaration { name: self.weight.to_string(), ..last });
        }
        all.extend(self.bias.map(|name| Declaration { name: name.to_string(), ..last_bias }));
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
        let x = pass.layer_norm(&x, &parameters.norm(self.norm, self.eps)?)?;
        let bias = self.bias.map(|name| parameters.get(name)).transpose()?;
        let last = Linear::new(&parameters.get(self.weight)?, bias.as_ref());
        pass.linear(&x, &last, places)
    }
}
