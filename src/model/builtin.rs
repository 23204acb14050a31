//! Models that are part of the program: folders in Hugging Face layout, each with a card that says
//! what it learned from.

use crate::base::{Digest, Hasher};

/// An embedded model folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    pub name: &'static str,
    /// One line: what it is.
    pub about: &'static str,
    /// `model.safetensors`
    pub weights: &'static [u8],
    /// `config.json`
    pub config: &'static [u8],
    /// `tokenizer.json`
    pub tokenizer: &'static [u8],
    /// `tokenizer_config.json`
    pub tokenizer_config: &'static [u8],
}

macro_rules! embedded {
    ($name:literal, $about:literal) => {
        Builtin {
            name: $name,
            about: $about,
            weights: include_bytes!(concat!("builtin/", $name, "/model.safetensors")),
            config: include_bytes!(concat!("builtin/", $name, "/config.json")),
            tokenizer: include_bytes!(concat!("builtin/", $name, "/tokenizer.json")),
            tokenizer_config: include_bytes!(concat!("builtin/", $name, "/tokenizer_config.json")),
        }
    };
}

/// The table of embedded models.
pub const BUILTINS: &[Builtin] = &[embedded!("seedling", "a small English BERT of two layers")];

impl Builtin {
    /// Over the content of its files.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new("builtin 1");
        for file in [self.weights, self.config, self.tokenizer, self.tokenizer_config] {
            hasher.bytes(file);
        }
        hasher.finish()
    }
}

pub fn builtin(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Config, HeadChoice, HeadKind, Model};

    #[test]
    fn every_embedded_model_can_be_built() {
        for builtin in BUILTINS {
            let config = Config::parse(builtin.config).unwrap();
            let head = HeadChoice {
                task: "masked_language_model".to_string(),
                kind: HeadKind::MaskedToken,
                new: false,
                outputs: None,
            };
            let (model, report) = Model::from_bytes(builtin.weights, config, Some(&head)).unwrap();
            assert_eq!(report.missing, Vec::<String>::new());
            assert_eq!(report.unexpected, Vec::<String>::new());
            assert!(model.undrawn.is_empty());
            assert!(!builtin.tokenizer.is_empty() && !builtin.tokenizer_config.is_empty());
            let bytes = builtin.weights.len() + builtin.tokenizer.len();
            assert!(bytes <= 4_000_000, "{}: {bytes} bytes", builtin.name);
        }
    }
}
