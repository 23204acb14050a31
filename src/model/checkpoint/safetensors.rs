//! `model.safetensors`: reading with conversion to f32, and writing.

use std::collections::HashMap;

use ::safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::{Stored, StoredTensors};
use crate::model::error::{ModelError, Result};

/// Reads every tensor; f16, bf16 and f64 become f32. Fails on damage, naming it.
pub fn read(bytes: &[u8]) -> Result<StoredTensors> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| ModelError::new(format!("the safetensors file is damaged: {error}")))?;
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            let values = floats(&view);
            let count = view.shape().iter().try_fold(1usize, |all, size| all.checked_mul(*size));
            if values.as_ref().is_some_and(|values| Some(values.len()) != count) {
                return Err(ModelError::new(format!("tensor `{name}` has a size that cannot be")));
            }
            Ok((name, Stored { shape: view.shape().to_vec(), values }))
        })
        .collect()
}

fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    fn decode<const N: usize>(bytes: &[u8], one: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        let (chunks, _) = bytes.as_chunks::<N>();
        chunks.iter().map(|chunk| one(*chunk)).collect()
    }
    match view.dtype() {
        Dtype::F32 => Some(decode(view.data(), f32::from_le_bytes)),
        Dtype::F64 => Some(decode(view.data(), |bytes| f64::from_le_bytes(bytes) as f32)),
        Dtype::F16 => Some(decode(view.data(), |bytes| half::f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Some(decode(view.data(), |bytes| half::bf16::from_le_bytes(bytes).to_f32())),
        _ => None,
    }
}

/// The bytes of a safetensors file of f32 tensors with PyTorch's mark. The order of the tensors is
/// by name, so that equal tensors make equal bytes.
pub fn serialize(tensors: &[(&str, &[usize], &[f32])]) -> Result<Vec<u8>> {
    let failed = |error| ModelError::new(format!("the tensors cannot be written: {error}"));
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(failed)?;
            Ok((*name, view))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    ::safetensors::tensor::serialize(views, Some(metadata)).map_err(failed)
}
