//! `pytorch_model.bin` in both of its forms: the zip archive, and the older stream of several
//! pickles followed by the storages. What a pickle may hold is in `pickle`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};

use super::pickle::{Element, Object, Pickle, StorageRef, TensorRef};
use super::{Stored, StoredTensors};
use crate::model::error::{ModelError, Result};

/// The number that starts the older form, as the bytes of a Python integer.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const LEGACY_PROTOCOL: i64 = 1001;

/// Reads every tensor of a `pytorch_model.bin`.
pub fn read(bytes: &[u8]) -> Result<StoredTensors> {
    if bytes.starts_with(b"PK\x03\x04") { read_zip(bytes) } else { read_stream(bytes) }
}

fn read_zip(bytes: &[u8]) -> Result<StoredTensors> {
    let unreadable = |error: zip::result::ZipError| {
        ModelError::new(format!("the zip archive is damaged: {error}"))
    };
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(unreadable)?;
    let names = archive.file_names().map(|name| Ok(name.map_err(unreadable)?.into_owned()));
    let names = names.collect::<Result<BTreeSet<String>>>()?;
    let Some(pickle_name) = names.iter().find(|name| name.ends_with("/data.pkl")) else {
        return Err(ModelError::new("the zip archive holds no `data.pkl`, so it is no checkpoint"));
    };
    let folder = pickle_name.trim_end_matches("data.pkl").to_string();
    let mut entry = |name: &str| -> Result<Vec<u8>> {
        let mut file = archive.by_name(name).map_err(unreadable)?;
        // The size in the archive's directory may lie: never more than the file itself has.
        let mut content = Vec::new();
        (&mut file)
            .take(bytes.len() as u64 + 1)
            .read_to_end(&mut content)
            .map_err(|error| ModelError::new(format!("`{name}` in the archive: {error}")))?;
        if content.len() > bytes.len() {
            return Err(ModelError::new(format!(
                "`{name}` in the archive is larger than the file"
            )));
        }
        Ok(content)
    };
    let byte_order = format!("{folder}byteorder");
    if names.contains(&byte_order) && entry(&byte_order)? == b"big" {
        return Err(ModelError::new("the checkpoint was written on a big-endian machine"));
    }
    let pickle = Pickle::read(&entry(pickle_name)?)?;
    let tensors = state_dict(&pickle)?;
    let mut storages = BTreeMap::new();
    for (_, tensor) in &tensors {
        let key = &tensor.storage.key;
        if !storages.contains_key(key) {
            let name = format!("{folder}data/{key}");
            if !names.contains(&name) {
                return Err(ModelError::new(format!("the archive holds no storage `{name}`")));
            }
            storages.insert(key.clone(), entry(&name)?);
        }
    }
    tensors
        .into_iter()
        .map(|(name, tensor)| {
            let bytes = storages.get(&tensor.storage.key).map(Vec::as_slice).unwrap_or_default();
            view(&name, &tensor, bytes).map(|stored| (name, stored))
        })
        .collect()
}

fn read_stream(bytes: &[u8]) -> Result<StoredTensors> {
    let foreign = || {
        ModelError::new("the file is neither a PyTorch zip archive nor the older PyTorch format")
            .help("write it again with `model.save_pretrained(folder)` in a current transformers")
    };
    let mut rest = bytes;
    let next = |rest: &mut &[u8]| -> Result<Pickle> {
        let pickle = Pickle::read(rest)?;
        *rest = &rest[pickle.length..];
        Ok(pickle)
    };
    let magic = next(&mut rest).map_err(|_| foreign())?;
    if *magic.root() != Object::Long(LEGACY_MAGIC.to_vec()) {
        return Err(foreign());
    }
    if *next(&mut rest)?.root() != Object::Int(LEGACY_PROTOCOL) {
        return Err(ModelError::new("the older PyTorch format, of an unknown version"));
    }
    let system = next(&mut rest)?;
    for (name, value) in system.entries(system.root()) {
        if name == "little_endian" && *system.get(value) == Object::Bool(false) {
            return Err(ModelError::new("the checkpoint was written on a big-endian machine"));
        }
    }
    let pickle = next(&mut rest)?;
    let tensors = state_dict(&pickle)?;
    let keys = next(&mut rest)?;
    let Object::List(order) = keys.root() else {
        return Err(ModelError::new("the list of storages is missing"));
    };
    let known: BTreeMap<&str, &StorageRef> =
        tensors.iter().map(|(_, tensor)| (tensor.storage.key.as_str(), &tensor.storage)).collect();
    let mut storages: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for key in order {
        let storage = match keys.get(*key) {
            Object::Text(key) => known.get(key.as_str()),
            _ => None,
        };
        let Some(storage) = storage else {
            return Err(ModelError::new("a storage that belongs to no tensor of the state"));
        };
        // Each storage: the number of its elements, then these.
        let truncated = || ModelError::new(format!("the file ends inside storage {}", storage.key));
        let (count, after) = rest.split_first_chunk::<8>().ok_or_else(truncated)?;
        if usize::try_from(i64::from_le_bytes(*count)).ok() != Some(storage.elements) {
            return Err(ModelError::new(format!(
                "storage {} has {} elements where {} were announced",
                storage.key,
                i64::from_le_bytes(*count),
                storage.elements
            )));
        }
        let length = storage.elements.checked_mul(storage.element.bytes()).ok_or_else(truncated)?;
        let (data, after) = after.split_at_checked(length).ok_or_else(truncated)?;
        storages.insert(&storage.key, data);
        rest = after;
    }
    tensors
        .iter()
        .map(|(name, tensor)| {
            let bytes = storages.get(tensor.storage.key.as_str()).copied().ok_or_else(|| {
                ModelError::new(format!("tensor `{name}`: its storage is not in the file"))
            })?;
            view(name, tensor, bytes).map(|stored| (name.clone(), stored))
        })
        .collect()
}

/// The named tensors of a pickle: the state itself, or what lies in it under `state_dict`.
fn state_dict(pickle: &Pickle) -> Result<Vec<(String, TensorRef)>> {
    let mut entries = pickle.entries(pickle.root());
    if let Some((_, inner)) = entries.iter().find(|(name, _)| name == "state_dict") {
        entries = pickle.entries(pickle.get(*inner));
    }
    let tensors: Vec<(String, TensorRef)> = entries
        .into_iter()
        .filter_map(|(name, id)| match pickle.get(id) {
            Object::Tensor(tensor) => Some((name, tensor.clone())),
            _ => None,
        })
        .collect();
    if tensors.is_empty() {
        return Err(ModelError::new("the file holds no named tensors"));
    }
    Ok(tensors)
}

/// The tensor's values in row order, out of its storage's bytes.
fn view(name: &str, tensor: &TensorRef, bytes: &[u8]) -> Result<Stored> {
    let beyond = || ModelError::new(format!("tensor `{name}` reaches beyond its storage"));
    let wrong = || ModelError::new(format!("tensor `{name}`: its shape and stride do not fit"));
    if tensor.shape.len() != tensor.stride.len() {
        return Err(wrong());
    }
    let width = tensor.storage.element.bytes();
    let available = bytes.len() / width;
    let mut count = 1usize;
    let mut last = tensor.offset;
    for (size, stride) in tensor.shape.iter().zip(&tensor.stride) {
        count = count.checked_mul(*size).ok_or_else(wrong)?;
        let reach = size.saturating_sub(1).checked_mul(*stride).ok_or_else(beyond)?;
        last = last.checked_add(reach).ok_or_else(beyond)?;
    }
    if count == 0 {
        return Ok(Stored { shape: tensor.shape.clone(), values: Some(Vec::new()) });
    }
    // A view of stride 0 could name far more elements than the file has.
    if last >= available || count > available {
        return Err(beyond());
    }
    let Some(decode) = decoder(tensor.storage.element) else {
        return Ok(Stored { shape: tensor.shape.clone(), values: None });
    };
    let mut values = Vec::with_capacity(count);
    let mut index = vec![0usize; tensor.shape.len()];
    for _ in 0..count {
        let place: usize =
            index.iter().zip(&tensor.stride).map(|(index, stride)| index * stride).sum();
        let start = (tensor.offset + place) * width;
        values.push(decode(&bytes[start..start + width]));
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < tensor.shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Ok(Stored { shape: tensor.shape.clone(), values: Some(values) })
}

/// How an element's bytes become an f32; `None` for integers, which are no weights.
fn decoder(element: Element) -> Option<fn(&[u8]) -> f32> {
    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        array
    }
    match element {
        Element::F64 => Some(|bytes| f64::from_le_bytes(array(bytes)) as f32),
        Element::F32 => Some(|bytes| f32::from_le_bytes(array(bytes))),
        Element::F16 => Some(|bytes| half::f16::from_le_bytes(array(bytes)).to_f32()),
        Element::BF16 => Some(|bytes| half::bf16::from_le_bytes(array(bytes)).to_f32()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], stride: &[usize], offset: usize) -> TensorRef {
        let storage = StorageRef { key: "0".to_string(), element: Element::F32, elements: 6 };
        TensorRef { storage, offset, shape: shape.to_vec(), stride: stride.to_vec() }
    }

    #[test]
    fn views_follow_their_strides_and_stay_inside() {
        let bytes: Vec<u8> = (0..6).flat_map(|number| (number as f32).to_le_bytes()).collect();
        let transposed = view("t", &tensor(&[3, 2], &[1, 3], 0), &bytes).unwrap();
        assert_eq!(transposed.values.unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        for outside in [
            tensor(&[3, 2], &[2, 1], 1),
            tensor(&[7], &[1], 0),
            tensor(&[1 << 40], &[0], 0),
            tensor(&[usize::MAX, 2], &[1, 1], 0),
            tensor(&[2], &[usize::MAX], 1),
            tensor(&[1], &[1], usize::MAX),
        ] {
            assert!(view("t", &outside, &bytes).is_err());
        }
    }

    #[test]
    fn other_files_are_named_as_such() {
        for bytes in [&b"hello world"[..], b"", b"PK\x03\x04zzzz", b"\x80\x02K\x01."] {
            assert!(read(bytes).is_err());
        }
    }

    /// Both fixtures hold what PyTorch 2.15 wrote of one dictionary: `b.weight` a transposed f32
    /// `[3, 2]` of 0 to 5, `c` in f16 and again as `tied`, `d` three integers.
    #[test]
    fn files_of_pytorch_are_read_in_both_forms() {
        let zip = include_bytes!("fixtures/zip.bin");
        let stream = include_bytes!("fixtures/stream.bin");
        for bytes in [&zip[..], &stream[..]] {
            let tensors = read(bytes).unwrap();
            assert_eq!(tensors.keys().collect::<Vec<_>>(), ["b.weight", "c", "d", "tied"]);
            assert_eq!(tensors["b.weight"].shape, [3, 2]);
            let transposed = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0];
            assert_eq!(tensors["b.weight"].values.as_deref(), Some(&transposed[..]));
            assert_eq!(tensors["c"].values.as_deref(), Some(&[1.5, -0.25][..]));
            assert_eq!(tensors["tied"], tensors["c"]);
            assert_eq!(tensors["d"], Stored { shape: vec![3], values: None });
            for length in (0..bytes.len() - 1).step_by(7) {
                assert!(read(&bytes[..length]).is_err(), "cut at {length}");
            }
            for place in 0..bytes.len() {
                let mut damaged = bytes.to_vec();
                damaged[place] ^= 0x5a;
                let _ = read(&damaged); // whatever it says, it returns
            }
        }
    }
}
