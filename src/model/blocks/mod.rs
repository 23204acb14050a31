//! What encoders of text share: their embeddings, the layer that norms behind its residual connections,
//! and the way through the layers. A family's file says what its parameters are called, and what it
//! does otherwise. Heads are in `heads`.

mod attending;
mod embeddings;
mod post_norm;
mod read;

use std::rc::Rc;

use candle_core::Tensor;

use super::heads::{Base, Vocabulary};
use super::{
    Backbone, Compute, Declaration, HeadKind, Input, Memory, OutputHead, Pass, Read, Result,
    TextInput,
};
use crate::nn::{Parameters, Precision};

pub(super) use attending::{Attending, positions};
pub(super) use embeddings::{Embeddings, Positions};
pub(super) use post_norm::{BERT_NAMES, Names, PostNorm, Scores};
pub(super) use read::{
    BERT_DEFAULTS, Defaults, Modules, activation, check_heads, check_size, encoder, padding,
    refuse, whole,
};

/// Places of dropout, part of every result: 0 for the embeddings, then three in each layer, then those
/// of the head.
pub(super) const EMBEDDINGS_SITE: u32 = 0;
pub(super) const SITES_PER_LAYER: u32 = 3;

/// The first place of dropout behind `layers` layers.
pub(super) fn site_behind(layers: usize) -> u32 {
    SITES_PER_LAYER * layers as u32 + 1
}

/// Embeddings and equal layers.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    pub embeddings: Embeddings,
    pub layer: PostNorm,
    pub layers: usize,
    /// What layers are numbered behind: `bert.encoder.layer`.
    pub module: &'static str,
}

impl Encoder {
    /// Counts positions from behind a padding's, which stands at that of its own number.
    pub fn count_positions_from(&mut self, padding: u32) -> Result<()> {
        if let Some(positions) = self.embeddings.positions {
            self.embeddings.positions = Some(Positions::new(positions.count, Some(padding))?);
        }
        Ok(())
    }

    pub fn module_of(&self, number: usize) -> String {
        format!("{}.{number}", self.module)
    }

    /// The first place of a head's dropout.
    pub fn head_site(&self) -> u32 {
        site_behind(self.layers)
    }

    /// What heads are made with.
    pub fn head_base(&self, outputs: usize) -> Base {
        Base {
            outputs,
            hidden: self.layer.hidden,
            site: site_behind(self.layers),
            deviation: self.layer.deviation,
            depth: self.layers + 1,
        }
    }

    /// A head that scores the vocabulary; its names are the family's.
    pub fn vocabulary_head(&self, tied: bool) -> Vocabulary {
        Vocabulary {
            class: "",
            transform: "",
            transform_bias: true,
            activation: self.layer.activation,
            norm: "",
            norm_bias: true,
            eps: self.layer.eps,
            weight: self.embeddings.words,
            tied,
            bias: None,
            copies: &[],
            hidden: self.layer.hidden,
            width: self.embeddings.width,
            vocabulary: self.embeddings.vocabulary,
            deviation: self.layer.deviation,
            depth: self.layers + 1,
        }
    }

    /// The parameters of all layers.
    fn layer_declarations(&self) -> Vec<Declaration> {
        let of = |number| self.layer.declarations(&self.module_of(number), number + 1);
        (0..self.layers).flat_map(of).collect()
    }
}

/// A family of embeddings and layers that norm behind their residual connections. What is provided here
/// is BERT's way.
pub(super) trait TextEncoder: Clone + Send + Sync + 'static {
    fn encoder(&self) -> &Encoder;

    /// The module under which checkpoints of a whole model hold the backbone.
    fn prefix(&self) -> &'static str;

    /// The parameters of the layers.
    fn layer_declarations(&self) -> Vec<Declaration> {
        self.encoder().layer_declarations()
    }

    /// Parameters that are of no layer and not in [`Embeddings::declarations`].
    fn other_declarations(&self) -> Vec<Declaration> {
        Vec::new()
    }

    /// How often [`Self::layer`] is called.
    fn depth(&self) -> usize {
        self.encoder().layers
    }

    /// What the first layer reads, `[tokens, hidden]`.
    fn enter(&self, parameters: &Parameters, text: &TextInput, pass: &Pass) -> Result<Tensor> {
        self.encoder().embeddings.forward(parameters, text, pass)
    }

    /// One layer; `read` says which rows are needed of its outputs.
    fn layer(
        &self,
        number: usize,
        parameters: &Parameters,
        x: &Tensor,
        text: &TextInput,
        read: Read,
        pass: &Pass,
    ) -> Result<Tensor> {
        let encoder = self.encoder();
        let module = encoder.module_of(number);
        let attending = Attending::new(text, read);
        encoder.layer.forward((&module, number), parameters, x, &attending, Scores::default(), pass)
    }

    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>>;
}

impl<T: TextEncoder> Backbone for T {
    fn prefix(&self) -> &'static str {
        TextEncoder::prefix(self)
    }

    fn declarations(&self) -> Vec<Declaration> {
        let mut all = self.encoder().embeddings.declarations();
        all.extend(self.other_declarations());
        all.extend(self.layer_declarations());
        all
    }

    fn buffers(&self) -> &'static [&'static str] {
        &["embeddings.position_ids", "embeddings.token_type_ids"]
    }

    fn hidden_size(&self) -> usize {
        self.encoder().layer.hidden
    }

    fn max_length(&self) -> Option<usize> {
        self.encoder().embeddings.max_length()
    }

    fn vocabulary(&self) -> Option<usize> {
        Some(self.encoder().embeddings.vocabulary)
    }

    fn layers(&self) -> usize {
        self.encoder().layers
    }

    fn rows_read<'a>(&self, input: &'a Input) -> Vec<(&'static str, &'a [u32])> {
        let Input::Text(text) = input;
        vec![(self.encoder().embeddings.words, &text.input_ids)]
    }

    fn forward(
        &self,
        parameters: &Parameters,
        input: &Input,
        read: Read,
        pass: &Pass,
    ) -> Result<Tensor> {
        let Input::Text(text) = input;
        let x = self.enter(parameters, text, pass)?;
        through((self, parameters, text), self.depth(), x, read, pass, T::layer)
    }

    fn pass_bytes(&self, tokens: usize, compute: &Compute) -> Option<u64> {
        let PostNorm { hidden, inner, heads, .. } = self.encoder().layer;
        let sizes = Sizes { hidden, inner, heads, depth: self.depth(), gates: 0 };
        Some(sizes.pass_bytes(tokens, compute))
    }

    fn head(&self, kind: HeadKind, outputs: usize) -> Option<Box<dyn OutputHead>> {
        TextEncoder::head(self, kind, outputs)
    }
}

/// A layer of a family: its number, the parameters, its input, the batch, the rows that are read.
pub(super) type Layer<T> =
    fn(&T, usize, &Parameters, &Tensor, &TextInput, Read, &Pass) -> Result<Tensor>;

/// The way through `depth` layers, each a block that may be computed again; the last computes the rows
/// that `read` names alone.
pub(super) fn through<T: Clone + 'static>(
    (family, parameters, text): (&T, &Parameters, &TextInput),
    depth: usize,
    mut x: Tensor,
    read: Read,
    pass: &Pass,
    layer: Layer<T>,
) -> Result<Tensor> {
    // What a block that is computed again needs of its own.
    let own =
        pass.checkpoints().then(|| Rc::new((family.clone(), parameters.clone(), text.clone())));
    for number in 0..depth {
        let read = if number + 1 == depth { read } else { Read::All };
        x = match own.clone() {
            None => layer(family, number, parameters, &x, text, read, pass)?,
            Some(own) => pass.checkpoint(&x, move |pass, x| {
                let (family, parameters, text) = &*own;
                layer(family, number, parameters, x, text, read, pass)
            })?,
        };
    }
    Ok(x)
}

/// What the memory of a pass depends on.
pub(super) struct Sizes {
    pub hidden: usize,
    pub inner: usize,
    pub heads: usize,
    pub depth: usize,
    /// Vectors of the inner size that a feed-forward has besides what it multiplies: 1 for a gate.
    pub gates: usize,
}

impl Sizes {
    /// See [`Backbone::pass_bytes`].
    pub fn pass_bytes(&self, tokens: usize, compute: &Compute) -> u64 {
        let Self { hidden, inner, heads, depth, gates } = *self;
        // f32 elements that a layer keeps for each token. Exactly: its input, queries, keys and
        // values, the context, what the two norms read, the first norm's output, and the inner values
        // before and after the activation. In bf16 the factors of products take half, and the two
        // inputs of linear layers that norms read too are there in both forms.
        let layer = match compute.precision {
            Precision::F32 => 8 * hidden + (2 + gates) * inner,
            Precision::Bf16 => 8 * hidden + hidden / 2 + (1 + gates) * inner,
        } + 2 * heads;
        // The gradients that flow, and those of the inner values with what they are products of.
        let backward = 5 * hidden + (3 + gates) * inner;
        let kept = match compute.memory {
            Memory::Normal => depth * layer,
            Memory::Low => layer + depth * hidden,
        };
        4 * (tokens * (kept + backward)) as u64
    }
}
