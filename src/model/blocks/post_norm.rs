//! The encoder layer that norms behind its residual connections: attention, then feed-forward. Source:
//! Vaswani et al., "Attention is all you need" (2017), section 3.1.

use candle_core::Tensor;

use super::{Attending, SITES_PER_LAYER};
use crate::model::heads::{dense, norm};
use crate::model::pass::{Attend, Drop, Pass, Places};
use crate::model::{Declaration, Result};
use crate::nn::{Activation, AttentionMask, Parameters, Relative};

/// Places of dropout within a layer.
const ATTENTION_SITE: u32 = 1;
const ATTENTION_OUTPUT_SITE: u32 = 2;
const OUTPUT_SITE: u32 = 3;

#[derive(Debug, Clone)]
pub(in crate::model) struct PostNorm {
    pub hidden: usize,
    pub heads: usize,
    pub inner: usize,
    pub activation: Activation,
    /// Of the probabilities.
    pub attention_dropout: f64,
    /// Of the attention's output.
    pub dropout: f64,
    /// Of the feed-forward's output.
    pub output_dropout: f64,
    pub eps: f64,
    /// Of new weights.
    pub deviation: f64,
    pub names: Names,
}

/// What a layer's modules are called.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Names {
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub output_norm: &'static str,
}

/// BERT's, which most families have kept.
pub(in crate::model) const BERT_NAMES: Names = Names {
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    output_norm: "output.LayerNorm",
};

/// How scores are computed, besides products of queries and keys.
pub(in crate::model) struct Scores {
    /// None means 1/√(head size).
    pub scale: Option<f64>,
    pub relative: Relative,
    /// Whether padding sees what others see, where it is there.
    pub padding_asks: bool,
}

impl Default for Scores {
    fn default() -> Self {
        Self { scale: None, relative: Relative::Nothing, padding_asks: true }
    }
}

impl PostNorm {
    pub fn declarations(&self, module: &str, depth: usize) -> Vec<Declaration> {
        let names = &self.names;
        let mut all = Vec::new();
        let linear = |all: &mut Vec<Declaration>, name: &str, to, from| {
            all.extend(dense(&format!("{module}.{name}"), [to, from], self.deviation, depth));
        };
        let norm = |name: &str| norm(&format!("{module}.{name}"), self.hidden, true, depth);
        for name in [names.query, names.key, names.value, names.attention_output] {
            linear(&mut all, name, self.hidden, self.hidden);
        }
        all.extend(norm(names.attention_norm));
        linear(&mut all, names.up, self.inner, self.hidden);
        linear(&mut all, names.down, self.hidden, self.inner);
        all.extend(norm(names.output_norm));
        all
    }

    /// `x` `[tokens, hidden]`; returns the rows that are read. The layer's parameters are under `module`;
    /// `number` says where it drops.
    pub fn forward(
        &self,
        (module, number): (&str, usize),
        parameters: &Parameters,
        x: &Tensor,
        attending: &Attending,
        scores: Scores,
        pass: &Pass,
    ) -> Result<Tensor> {
        let names = &self.names;
        let own = |name: &str| parameters.linear(&format!("{module}.{name}"));
        let site = SITES_PER_LAYER * number as u32;
        let all = Places::All(attending.text());
        let [wq, wk, wv] = [&own(names.query)?, &own(names.key)?, &own(names.value)?];
        let asking = attending.queries(x, pass)?;
        let [query, key, value] = match attending.all_ask() {
            true => pass.linears(x, [wq, wk, wv], all)?,
            false => {
                let query = pass.linear(&asking, wq, attending.asking)?;
                let [key, value] = pass.linears(x, [wk, wv], all)?;
                [query, key, value]
            }
        };
        let context = pass.attention(
            [&query, &key, &value],
            &Attend {
                heads: self.heads,
                scale: scores.scale,
                offsets: [&attending.query_offsets, attending.key_offsets],
                positions: &attending.positions,
                mask: AttentionMask::Full,
                relative: scores.relative,
                padding: attending.padding(scores.padding_asks)?,
                dropping: Drop {
                    p: self.attention_dropout,
                    site: site + ATTENTION_SITE,
                    places: attending.asking,
                },
            },
        )?;
        let ([context, residual], places) = attending.read([context, asking], pass)?;
        let add_norm = |x: &Tensor, residual: &Tensor, p: f64, site: u32, name: &str| {
            let norm = parameters.norm(&format!("{module}.{name}"), self.eps)?;
            pass.dropout_add_layer_norm(x, residual, &Drop { p, site, places }, &norm)
        };
        let attended = pass.linear(&context, &own(names.attention_output)?, places)?;
        let attended = add_norm(
            &attended,
            &residual,
            self.dropout,
            site + ATTENTION_OUTPUT_SITE,
            names.attention_norm,
        )?;
        let (up, down) = (own(names.up)?, own(names.down)?);
        let output = pass.feed_forward(&attended, &up, self.activation, &down, places)?;
        add_norm(&output, &attended, self.output_dropout, site + OUTPUT_SITE, names.output_norm)
    }
}
