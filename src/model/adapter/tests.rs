//! Which modules adapters sit on, and what is trained beside them.

use super::*;
use crate::model::{Config, HeadKind, architecture, architectures, head};

fn config(family: &str) -> Config {
    let text = format!(
        r#"{{"model_type": "{family}", "vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 9}}"#
    );
    Config::parse(text.as_bytes()).unwrap()
}

fn rank() -> Rank {
    Rank { rank: 4, alpha: 8.0, dropout: 0.0, stabilized: false, decomposed: false }
}

fn request(form: Form, targets: Targets) -> AdapterRequest {
    AdapterRequest { form, targets, saved: Vec::new() }
}

fn resolved(request: &AdapterRequest) -> std::result::Result<AdapterConfig, Misfit> {
    let config = config("bert");
    let family = architecture(&config).unwrap();
    let backbone = family.build(&config).unwrap();
    let head = head(backbone.as_ref(), &config, HeadKind::Sequence, 3).unwrap();
    let declared = backbone.declarations();
    let mut names = declared.clone();
    names.extend(head.declarations());
    let all = modules(names.iter().map(|one| one.name.as_str()));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let trained = always_trained(head.as_ref(), []);
    request.resolve(&family.adaptable(), &linear_modules(&declared), &all, trained)
}

/// What peft wraps in such a BERT under the same targets.
#[test]
fn targets_are_matched_as_peft_matches_them() {
    let named =
        |names: &[&str]| Targets::Named(names.iter().map(|name| name.to_string()).collect());
    let count = |targets: Targets| {
        resolved(&request(Form::LowRank(rank()), targets)).map(|found| found.modules.len())
    };
    assert_eq!(count(Targets::Usual), Ok(4));
    assert_eq!(count(Targets::AllLinear), Ok(12));
    // The last part alone, and with a part before it: both `attention.output.dense` and
    // `output.dense` end so.
    assert_eq!(count(named(&["dense"])), Ok(6));
    assert_eq!(count(named(&["output.dense"])), Ok(4));
    assert_eq!(count(named(&["bert.encoder.layer.1.attention.self.key"])), Ok(1));
    let misfit = count(named(&["key", "quary"])).unwrap_err();
    assert_eq!((misfit.place, misfit.nearest.as_deref()), (Some(1), Some("query")));
    assert!(count(named(&["uery"])).is_err());
    // The classifier is trained as a whole.
    assert!(count(named(&["classifier"])).is_err());
}

#[test]
fn what_is_trained_as_a_whole() {
    let usual = resolved(&request(Form::LowRank(rank()), Targets::Usual)).unwrap();
    assert_eq!(usual.saved, ["classifier"]);
    let saved = vec!["pooler.dense".to_string(), "layer.1".to_string()];
    let more = AdapterRequest { saved, ..request(Form::LowRank(rank()), Targets::Usual) };
    let more = resolved(&more).unwrap();
    assert_eq!(more.saved, ["bert.encoder.layer.1", "bert.pooler.dense", "classifier"]);
    // A module that trains as a whole needs no adapter.
    assert_eq!(more.modules.len(), 2);
    assert!(more.saves("classifier.bias") && !more.saves("classifier2.bias"));
    let wrong = AdapterRequest {
        saved: vec!["puler".into()],
        ..request(Form::LowRank(rank()), Targets::Usual)
    };
    assert_eq!(resolved(&wrong).unwrap_err().nearest.as_deref(), Some("pooler"));
    let head = head_of_roberta_like();
    assert_eq!(always_trained(&head, ["lm.dense.weight"]), ["classifier", "lm.dense"]);
}

struct Dense;

impl OutputHead for Dense {
    fn class(&self) -> &'static str {
        "Dense"
    }
    fn declarations(&self) -> Vec<Declaration> {
        Vec::new()
    }
    fn output_names(&self) -> &'static [&'static str] {
        &["classifier.out_proj.weight", "classifier.out_proj.bias"]
    }
    fn read(&self) -> crate::model::Read {
        crate::model::Read::First
    }
    fn forward(
        &self,
        _: &Parameters,
        hidden_states: &Tensor,
        _: &crate::model::Input,
        _: &crate::model::Pass,
    ) -> Result<Tensor> {
        Ok(hidden_states.clone())
    }
}

fn head_of_roberta_like() -> Dense {
    Dense
}

#[test]
fn scaling_is_of_inputs_where_the_family_says_so() {
    let ia3 = resolved(&request(Form::Scaling { inputs: Vec::new() }, Targets::Usual)).unwrap();
    let Form::Scaling { inputs } = &ia3.form else { panic!("a scaling") };
    assert_eq!((ia3.modules.len(), inputs.len()), (8, 4));
    assert!(inputs.iter().all(|module| module.ends_with("output.dense")));
}

/// Every target that a family names is one of its linear modules.
#[test]
fn every_family_says_where_adapters_sit() {
    for family in architectures() {
        let config = config(family.model_type());
        let Ok(backbone) = family.build(&config) else { continue };
        let declared = backbone.declarations();
        let linear = linear_modules(&declared);
        let Adaptable { low_rank, scaled_outputs, scaled_inputs } = family.adaptable();
        assert!(!low_rank.is_empty(), "{}", family.model_type());
        for target in low_rank.iter().chain(scaled_outputs).chain(scaled_inputs) {
            let found = linear.iter().any(|module| is_meant(module, target));
            assert!(found, "{}: `{target}`", family.model_type());
        }
    }
}

#[test]
fn the_scale_is_over_the_rank_or_its_root() {
    assert_eq!(rank().scale(), 2.0);
    assert_eq!(Rank { stabilized: true, ..rank() }.scale(), 4.0);
}
