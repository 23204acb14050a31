//! The differentiable operations of the engine, on candle tensors in the main memory.
//!
//! A batch of sequences is concatenated without padding: `hidden_states` is `[tokens, hidden]`, and
//! [`Offsets`] says where each sequence starts. Only attention reads the offsets.
//!
//! Every operation in [`ops`] is fused, with a backward written by hand, and has a slow `reference`
//! beside it that is made of candle's own differentiable primitives.
//!
//! Weights are [`Weight`]s. The backward of a fused operation adds a weight's gradient in place to
//! the weight's own buffer; a reference path leaves it in candle's `GradStore`, from where
//! [`Parameters::accumulate`] adds it to the same buffers. Frozen weights cost nothing.
//!
//! Reductions have a fixed order: results do not depend on the number of threads.
//! Architectures are in `model`, heads and the choice of a loss in `task`, optimizers in `train`.

mod layer;
pub mod ops;
mod parallel;
pub mod product;
mod ragged;
mod real;
mod store;
pub mod tape;
mod vector;
mod weight;

pub use layer::{Adapter, Linear, LowRank, Norm, Scaling, Side};
pub use ops::activation::Activation;
pub use ops::attention::{AttentionMask, AttentionSpec, Distances, Padding, Relative};
pub use ops::dropout::{DropoutAt, TokenPlace};
pub use ops::rotary::Rotation;
pub use ragged::Offsets;
pub use real::Real;
pub use store::{Parameter, Parameters};
pub use tape::{Precision, Tape};
pub use weight::Weight;
