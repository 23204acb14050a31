//! Methods: which parameters learn. Each is one entry of a table. An adapter that a method puts on the
//! model is resolved and computed by `model::adapter`; freezing by name comes on top of any method.

use crate::model::AdapterRequest;
use crate::model::adapter::{Form, Rank, Targets};
use crate::schema::{Entry, Family, Or, Params, Pick};
use crate::{entry, params, variants};

/// What a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    pub head: bool,
    /// A module that is trained as a whole beside an adapter.
    pub saved: bool,
    /// The adapter itself.
    pub adapter: bool,
}

/// A way to fine-tune.
pub trait Method: Send + Sync {
    /// Whether a parameter learns.
    fn trains(&self, name: &str, part: Part) -> bool;

    /// What it puts on the model.
    fn adapter(&self) -> Option<AdapterRequest> {
        None
    }
}

/// The set of methods.
pub struct Methods;

impl Family for Methods {
    type Item = dyn Method;
    const WHAT: &'static str = "what is trained";

    fn table() -> &'static [Entry<dyn Method>] {
        &[
            entry!("full", Full => dyn Method),
            entry!("head_only", HeadOnly => dyn Method),
            entry!("bitfit", Bitfit => dyn Method),
            Entry {
                name: "lora",
                doc: || {
                    "Low-rank matrices beside frozen ones: y = Wx + α/rank · BAx. Source: Hu et al., \
                     \"LoRA: Low-Rank Adaptation of Large Language Models\" (2021)."
                        .to_string()
                },
                decl: LowRank::decl,
                build: |args| low_rank(args, false, false),
            },
            Entry {
                name: "rslora",
                doc: || {
                    "LoRA with α/√rank, whose steps do not shrink with the rank. Source: \
                     Kalajdzievski, \"A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA\" \
                     (2023)."
                        .to_string()
                },
                decl: LowRank::decl,
                build: |args| low_rank(args, true, false),
            },
            Entry {
                name: "dora",
                doc: || {
                    "LoRA for the direction of each row of a matrix, and a magnitude for its length. \
                     Source: Liu et al., \"DoRA: Weight-Decomposed Low-Rank Adaptation\" (2024)."
                        .to_string()
                },
                decl: LowRank::decl,
                build: |args| low_rank(args, false, true),
            },
            entry!("ia3", Ia3 => dyn Method),
        ]
    }
}

/// The method of a program that names none.
pub fn usual() -> Pick<Methods> {
    Pick::plain("full")
}

params! {
    /// Every parameter that is not frozen.
    pub struct Full {}
}

impl Method for Full {
    fn trains(&self, _: &str, _: Part) -> bool {
        true
    }
}

params! {
    /// The head alone.
    pub struct HeadOnly {}
}

impl Method for HeadOnly {
    fn trains(&self, _: &str, part: Part) -> bool {
        part.head
    }
}

params! {
    /// Biases and the head. Source: Ben-Zaken, Goldberg, Ravfogel, "BitFit" (2021).
    pub struct Bitfit {}
}

impl Method for Bitfit {
    fn trains(&self, name: &str, part: Part) -> bool {
        part.head || name.ends_with("bias")
    }
}

variants! {
    /// some modules
    pub enum Modules {
        /// Every linear module of the backbone.
        AllLinear = "all_linear",
    }
}

/// The ends of names of modules, or a word for some.
type Named = Or<Modules, Vec<String>>;

fn targets(of: &Option<Named>) -> Targets {
    match of {
        None => Targets::Usual,
        Some(Or::First(Modules::AllLinear)) => Targets::AllLinear,
        Some(Or::Second(names)) => Targets::Named(names.clone()),
    }
}

params! {
    /// A low-rank adapter. Defaults are peft's.
    pub struct LowRank {
        /// The rank of what is added.
        rank: usize = 8, in (1, 4_096), main;
        /// α: what is added is multiplied by α/rank; `rslora` divides by √rank.
        alpha: f64 = 8.0, in (1e-6, 1e6);
        /// The share of the input that what is added does not see.
        dropout: f64 = 0.0, in (0.0, 0.99);
        /// Ends of the names of linear modules, or `all_linear`. Without it queries and values of
        /// attention, or what peft takes for the architecture.
        targets: Option<Named>;
        /// Ends of the names of modules that are trained as a whole and saved with the adapter. A
        /// classifier and all that is drawn anew always are.
        modules_to_save: Vec<String> = Vec::new();
    }
}

/// A [`LowRank`] in one of its forms.
struct Decomposition {
    args: LowRank,
    stabilized: bool,
    decomposed: bool,
}

fn low_rank(
    args: &crate::schema::Args,
    stabilized: bool,
    decomposed: bool,
) -> Option<Box<dyn Method>> {
    let args = LowRank::from_args(args)?;
    Some(Box::new(Decomposition { args, stabilized, decomposed }))
}

impl Method for Decomposition {
    fn trains(&self, _: &str, part: Part) -> bool {
        part.adapter || part.saved
    }

    fn adapter(&self) -> Option<AdapterRequest> {
        let LowRank { rank, alpha, dropout, targets: named, modules_to_save } = &self.args;
        Some(AdapterRequest {
            form: Form::LowRank(Rank {
                rank: *rank,
                alpha: *alpha,
                dropout: *dropout,
                stabilized: self.stabilized,
                decomposed: self.decomposed,
            }),
            targets: targets(named),
            saved: modules_to_save.clone(),
        })
    }
}

params! {
    /// A factor on each output of keys and values, and on each input of feed-forward modules.
    /// Source: Liu et al., "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than
    /// In-Context Learning" (2022).
    pub struct Ia3 {
        /// Ends of the names of linear modules, or `all_linear`. Without it what peft takes for the
        /// architecture.
        targets: Option<Named>;
        /// Which of them have factors on their inputs. Without it what peft takes.
        feedforward: Option<Vec<String>>;
        /// As in `lora`.
        modules_to_save: Vec<String> = Vec::new();
    }
}

impl Method for Ia3 {
    fn trains(&self, _: &str, part: Part) -> bool {
        part.adapter || part.saved
    }

    fn adapter(&self) -> Option<AdapterRequest> {
        Some(AdapterRequest {
            form: Form::Scaling { inputs: self.feedforward.clone().unwrap_or_default() },
            targets: targets(&self.targets),
            saved: self.modules_to_save.clone(),
        })
    }
}
