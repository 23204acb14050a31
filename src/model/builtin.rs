//! Models that are part of the program: their configs and tokenizers. Their tensors are drawn by
//! the first `train`.

/// An embedded model folder without weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    pub name: &'static str,
    /// One line: what it is.
    pub about: &'static str,
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
            config: include_bytes!(concat!("builtin/", $name, "/config.json")),
            tokenizer: include_bytes!(concat!("builtin/", $name, "/tokenizer.json")),
            tokenizer_config: include_bytes!(concat!("builtin/", $name, "/tokenizer_config.json")),
        }
    };
}

/// The table of embedded models.
pub const BUILTINS: &[Builtin] =
    &[embedded!("seedling", "a small BERT of two layers, trained from scratch in the run")];

pub fn builtin(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Config, architecture};

    #[test]
    fn every_embedded_model_can_be_built() {
        for builtin in BUILTINS {
            let config = Config::parse(builtin.config).unwrap();
            let backbone = architecture(&config).unwrap().build(&config).unwrap();
            assert!(backbone.head(crate::model::HeadKind::Sequence, 6).is_some());
            assert!(!builtin.tokenizer.is_empty() && !builtin.tokenizer_config.is_empty());
        }
    }
}
