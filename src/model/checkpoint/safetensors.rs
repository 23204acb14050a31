//! `model.safetensors`: reading with conversion to f32, and writing.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

use ::safetensors::tensor::{Dtype, SafeTensors, TensorView};
use rayon::prelude::*;

use super::{Stored, StoredTensors};
use crate::model::error::{ModelError, Result};

/// Reads every tensor; f16, bf16 and f64 become f32. Fails on damage, naming it.
pub fn read(bytes: &[u8]) -> Result<StoredTensors> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| ModelError::new(format!("the safetensors file is damaged: {error}")))?;
    file.tensors()
        .into_par_iter()
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

/// Names and shapes of a file, from the header alone.
pub fn probe(path: &Path) -> Result<BTreeMap<String, Vec<usize>>> {
    let io = |error: std::io::Error| ModelError::io(path, &error);
    probe_read(std::fs::File::open(path).map_err(io)?, io)
}

/// Names and shapes, from the header alone, of what is read.
pub fn probe_read(
    mut file: impl Read,
    io: impl Fn(std::io::Error) -> ModelError,
) -> Result<BTreeMap<String, Vec<usize>>> {
    const LONGEST_HEADER: u64 = 100_000_000;
    let damaged = |what: &str| ModelError::new(format!("the safetensors file is damaged: {what}"));
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| damaged("it is shorter than its header"))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER {
        return Err(damaged("its header is too long"));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(io)?;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|_| damaged("its header cannot be read"))?;
    let shape = |info: &serde_json::Value| -> Vec<usize> {
        let sizes = info.get("shape").and_then(serde_json::Value::as_array);
        sizes
            .into_iter()
            .flatten()
            .filter_map(|size| size.as_u64())
            .map(|size| size as usize)
            .collect()
    };
    Ok(header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, info)| (name, shape(&info)))
        .collect())
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

/// What the numbers of a file are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Written {
    #[default]
    F32,
    /// Rounded to the nearest, half the size.
    Bf16,
}

impl Written {
    /// The name that PyTorch has for it.
    pub fn name(self) -> &'static str {
        match self {
            Written::F32 => "float32",
            Written::Bf16 => "bfloat16",
        }
    }

    fn dtype(self) -> Dtype {
        match self {
            Written::F32 => Dtype::F32,
            Written::Bf16 => Dtype::BF16,
        }
    }

    fn bytes(self, values: &[f32]) -> Cow<'_, [u8]> {
        let rounded = |value: &f32| half::bf16::from_f32(*value).to_le_bytes();
        match self {
            Written::F32 => bytes_of(values),
            Written::Bf16 => Cow::Owned(values.iter().flat_map(rounded).collect()),
        }
    }
}

/// The bytes of a safetensors file of f32 tensors with PyTorch's mark. The order of the tensors is
/// by name, so that equal tensors make equal bytes.
pub fn serialize(tensors: &[(&str, &[usize], &[f32])], written: Written) -> Result<Vec<u8>> {
    let failed = |error| ModelError::new(format!("the tensors cannot be written: {error}"));
    let bytes: Vec<Cow<[u8]>> =
        tensors.iter().map(|(_, _, values)| written.bytes(values)).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            let view = TensorView::new(written.dtype(), shape.to_vec(), bytes).map_err(failed)?;
            Ok((*name, view))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    ::safetensors::tensor::serialize(views, Some(metadata)).map_err(failed)
}

/// Values as they stand in a file. Its order of bytes is that of most processors: then nothing is
/// copied.
pub fn bytes_of(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(values))
    } else {
        Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
}
