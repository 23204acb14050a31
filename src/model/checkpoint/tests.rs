//! Reading checkpoints: names, shapes, damage.

use super::*;
use crate::model::{Init, Kind};

fn declaration(name: &str, shape: &[usize]) -> Declaration {
    Declaration {
        name: name.into(),
        shape: shape.to_vec(),
        init: Init::Zeros,
        kind: Kind::Weight,
        depth: 0,
    }
}

fn stored(names: &[&str]) -> StoredTensors {
    let tensor = || Stored { shape: vec![2], values: Some(vec![1.0, 2.0]) };
    names.iter().map(|name| (name.to_string(), tensor())).collect()
}

#[test]
fn old_names_and_a_bare_backbone_are_understood() {
    let declared =
        [declaration("bert.a.LayerNorm.weight", &[2]), declaration("bert.a.LayerNorm.bias", &[2])];
    for names in [
        ["bert.a.LayerNorm.weight", "bert.a.LayerNorm.bias"],
        ["bert.a.LayerNorm.gamma", "bert.a.LayerNorm.beta"],
        ["a.LayerNorm.gamma", "a.LayerNorm.beta"],
        ["a.LayerNorm.weight", "a.LayerNorm.bias"],
    ] {
        let assigned = assign(&declared, stored(&names), "bert", &[]).unwrap();
        assert_eq!((assigned.tensors.len(), assigned.missing.len()), (2, 0), "{names:?}");
        assert!(assigned.unexpected.is_empty());
    }
}

#[test]
fn missing_and_unexpected_tensors_are_told_apart() {
    let declared = [declaration("bert.a", &[2]), declaration("bert.b", &[2])];
    let files = stored(&["bert.a", "cls.c", "bert.position_ids"]);
    let assigned = assign(&declared, files, "bert", &["position_ids"]).unwrap();
    assert_eq!(assigned.missing, ["bert.b"]);
    assert_eq!(assigned.unexpected, ["cls.c"]);
}

#[test]
fn other_shapes_integers_and_double_names_are_errors() {
    let error = assign(&[declaration("a", &[3])], stored(&["a"]), "bert", &[]).unwrap_err();
    assert!(error.message.contains("[2]") && error.message.contains("[3]"), "{error}");
    let integers = BTreeMap::from([("a".to_string(), Stored { shape: vec![2], values: None })]);
    assert!(assign(&[declaration("a", &[2])], integers, "bert", &[]).is_err());
    let twice = stored(&["bert.a", "a"]);
    assert!(assign(&[declaration("bert.a", &[2])], twice, "bert", &[]).is_err());
}

/// Truncations and flipped bytes of a safetensors file give errors or other values, never a panic.
#[test]
fn damaged_safetensors_do_not_panic() {
    let whole = serialize_tensors(&[("a", &[2, 2], &[1.0, 2.0, 3.0, 4.0])], Written::F32).unwrap();
    assert_eq!(safetensors::read(&whole).unwrap()["a"].shape, [2, 2]);
    for length in 0..whole.len() {
        assert!(safetensors::read(&whole[..length]).is_err());
    }
    for place in 0..whole.len() {
        for value in [0, 1, 0x22, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[place] = value;
            let _ = safetensors::read(&damaged); // whatever it says, it returns
        }
    }
}

#[test]
fn half_precision_becomes_f32() {
    use ::safetensors::tensor::{Dtype, TensorView};
    let halves: Vec<u8> =
        [1.5f32, -0.25].iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
    let brains: Vec<u8> =
        [1.5f32, -0.25].iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
    let views = [
        ("f16", TensorView::new(Dtype::F16, vec![2], &halves).unwrap()),
        ("bf16", TensorView::new(Dtype::BF16, vec![2], &brains).unwrap()),
    ];
    let bytes = ::safetensors::tensor::serialize(views, None).unwrap();
    let read = safetensors::read(&bytes).unwrap();
    assert_eq!(read["f16"].values.as_deref(), Some(&[1.5, -0.25][..]));
    assert_eq!(read["bf16"].values.as_deref(), Some(&[1.5, -0.25][..]));
}

#[test]
fn shards_lie_beside_their_index() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    file("one.safetensors", &serialize_tensors(&[("a", &[1], &[1.0])], Written::F32).unwrap());
    file("two.safetensors", &serialize_tensors(&[("b", &[1], &[2.0])], Written::F32).unwrap());
    let index = |map: &str| file("model.safetensors.index.json", map.as_bytes());
    index(r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#);
    let read = read_weights(folder.path()).unwrap();
    assert_eq!(read.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(weight_files(folder.path()).unwrap().len(), 3);
    for wrong in [
        r#"{"weight_map": {"a": "../one.safetensors"}}"#,
        r#"{"weight_map": {"a": "three.safetensors"}}"#,
        r#"{"weight_map": {"a": "one.safetensors", "c": "one.safetensors"}}"#,
        r#"{"weight_map": 1}"#,
        "{",
    ] {
        index(wrong);
        assert!(read_weights(folder.path()).is_err(), "{wrong}");
    }
}
