//! One operation per file: the fused form, named like its file, and its `reference`.
//!
//! All take the tape that they record their way back on, and return contiguous f32 tensors (f64 for checks) in the main memory, and fail on
//! shapes that do not fit. An operation's gradient with respect to a tensor that is outside of the
//! graph is not computed.

pub mod activation;
pub mod adamw;
pub mod adapter;
pub mod add;
pub mod attention;
pub mod convolution;
pub mod dropout;
pub mod embedding;
pub mod feed_forward;
pub mod gated;
pub mod layer_norm;
pub mod linear;
pub mod loss;
pub mod mean_rows;
pub mod noise;
pub mod rotary;
pub mod similarity;
pub mod split;
pub mod take_rows;
pub(crate) mod tensor;
pub mod zero_rows;

pub use adamw::{sum_of_squares, sum_of_squares_in_rows};

#[cfg(test)]
pub(crate) mod check;
