//! Tests of reading and laying out whole programs. What single parts do is tested beside them.

mod documentation;
mod faults;
mod layout;
mod random;
mod values;

use super::ast::Ast;
use super::parse;
use crate::base::{Diag, SourceId};

/// The program of the language's documentation.
const SENTIMENT: &str = r##"ftp 1

## Sentiment baseline.
param learning_rate: float  = 5e-5     in 1e-7 .. 1e-2
param training:      budget = 3 epochs in 1 epoch .. 20 epochs
secret token = env("HF_TOKEN")
seed 17

load-data reviews {
  source  = { train = files("data/train.tsv"), test = files("data/dev.tsv") }
  columns = { text = "sentence", label = "label" }
}

load-model encoder {
  source = hub("sentence-transformers/all-MiniLM-L6-v2")  # or folder("models/minilm")
  head   = sequence_classification
}

prepare cleaned {
  data = reviews
  do   = [filter(.length > 3 and not .label == "x"), derive({ n = words(.text) }), rename({ text = ."#1 String" })]
}

tokenize tokens {
  data       = cleaned
  tokenizer  = encoder
  max_length = 128
  overflow   = truncate
}

train tuned {
  model     = encoder
  data      = tokens.train
  optimizer = adamw(learning_rate = learning_rate, weight_decay = 0.01)
  schedule  = linear(warmup = 6%)
  batch     = 4_096 tokens
  budget    = training
  metrics   = [accuracy, f1(average = macro)]  # of every validation
  keep      = best(accuracy)
}

eval predicted { model = tuned, data = tokens.test }
save release { model = tuned, to = "out/sentiment" }
"##;

fn read(text: &str) -> (Ast, Vec<Diag>) {
    parse(SourceId(0), text)
}

/// A program without faults.
fn read_all(text: &str) -> Ast {
    let (ast, diags) = read(text);
    assert!(diags.is_empty(), "{text}\n{diags:#?}");
    ast
}

/// Every diagnostic as `line code` in the order of the text.
fn faults(text: &str) -> Vec<String> {
    let (_, diags) = read(text);
    diags
        .iter()
        .map(|diag| {
            let line = text[..diag.span().start].matches('\n').count() + 1;
            format!("{line} {}", diag.code)
        })
        .collect()
}

fn applied(text: &str, diag: &Diag) -> Option<String> {
    let fix = diag.fix.as_ref()?;
    let mut mended = text.to_string();
    mended.replace_range(fix.span.start..fix.span.end, &fix.replacement);
    Some(mended)
}
