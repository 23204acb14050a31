//! Attention in all its forms beside its reference.

use super::*;
use crate::nn::ops::check::{Check, assert_close, flat, silent, tensor};
use crate::nn::ops::dropout::tests::{at, places};
use crate::nn::{Offsets, Weight};
use candle_core::DType;

fn spec(queries: &[usize], keys: &[usize], heads: usize, mask: AttentionMask) -> AttentionSpec {
    AttentionSpec {
        heads,
        query_offsets: Offsets::from_lengths(queries.iter().copied()).unwrap(),
        key_offsets: Offsets::from_lengths(keys.iter().copied()).unwrap(),
        positions: None,
        scale: 0.3,
        mask,
        relative: Relative::Nothing,
        padding: None,
        dropout: None,
    }
}

fn check(name: &str, spec: &AttentionSpec, head_dim: usize) {
    let hidden = spec.heads * head_dim;
    let (queries, keys) = (spec.query_offsets.tokens(), spec.key_offsets.tokens());
    Check::new(name).input(&[queries, hidden]).input(&[keys, hidden]).input(&[keys, hidden]).run(
        |t, x, _| attention(t, &x[0], &x[1], &x[2], spec),
        |x, _| reference(&x[0], &x[1], &x[2], spec),
    );
}

#[test]
fn attention_agrees_with_its_reference() {
    use AttentionMask::{Causal, Full};
    check("one token", &spec(&[1], &[1], 1, Full), 1);
    check("full", &spec(&[17, 1, 30], &[17, 1, 30], 3, Full), 5);
    check("causal", &spec(&[17, 1, 30], &[17, 1, 30], 2, Causal), 8);
    check("first tokens", &spec(&[1, 1, 1], &[17, 5, 30], 2, Full), 4);
    check("last tokens", &spec(&[1, 2, 3], &[17, 5, 3], 2, Causal), 4);
    check("cross", &spec(&[9, 2], &[3, 33], 2, Full), 4);
    check("two blocks of queries", &spec(&[129, 3], &[257, 3], 1, Full), 3);
    check("long", &spec(&[257], &[257], 1, Causal), 2);
}

#[test]
fn dropped_attention_agrees_with_its_reference() {
    let mut spec = spec(&[70, 9], &[70, 9], 2, AttentionMask::Full);
    spec.dropout = Some(at(0.25, 4, places(11, &[70, 9])));
    check("dropout", &spec, 4);
    spec.mask = AttentionMask::Causal;
    check("causal dropout", &spec, 4);
}

/// Queries of all tokens, of the first of each sequence, and of some.
fn asked(lengths: &[usize]) -> [Vec<Vec<u32>>; 3] {
    let all = |length: &usize| (0..*length as u32).collect::<Vec<_>>();
    [
        lengths.iter().map(all).collect(),
        lengths.iter().map(|_| vec![0]).collect(),
        lengths.iter().map(|length| vec![*length as u32 / 3, *length as u32 - 1]).collect(),
    ]
}

/// Checks `relative`, made of the tables, with queries at these positions.
fn check_relative(
    name: &str,
    (lengths, mask, dropped): (&[usize], AttentionMask, bool),
    tables: &[&[usize]],
    relative: impl Fn(&[Tensor], &[Weight]) -> Relative + Sync,
) {
    let (heads, head_dim) = (2, 4);
    for positions in asked(lengths) {
        let counts: Vec<usize> = positions.iter().map(Vec::len).collect();
        let mut spec = spec(&counts, lengths, heads, mask);
        spec.positions = Some(positions.concat().into());
        let (queries, keys) = (spec.query_offsets.tokens(), spec.key_offsets.tokens());
        if dropped {
            spec.dropout = Some(at(0.25, 4, places(11, &counts)));
        }
        let mut check = Check::new(&format!("{name}, {queries} queries"));
        for rows in [queries, keys, keys] {
            check = check.input(&[rows, heads * head_dim]);
        }
        for table in tables {
            check = match table[1] == heads {
                true => check.weight(table),
                false => check.input(table),
            };
        }
        let spec = |x: &[Tensor], w: &[Weight]| {
            let mut spec = spec.clone();
            spec.relative = relative(&x[3..], w);
            spec
        };
        check.run(
            |t, x, w| attention(t, &x[0], &x[1], &x[2], &spec(x, w)),
            |x, w| reference(&x[0], &x[1], &x[2], &spec(x, w)),
        );
    }
}

#[test]
fn windows_agree_with_their_reference() {
    for reach in [0, 3, 100] {
        let mask = AttentionMask::Window(reach);
        let nothing = |_: &[Tensor], _: &[Weight]| Relative::Nothing;
        check_relative("window", (&[17, 1, 300], mask, false), &[], nothing);
        check_relative("dropped window", (&[300, 9], mask, true), &[], nothing);
    }
}

/// Padding that sees and padding that does not.
#[test]
fn padding_agrees_with_its_reference() {
    for (asks, mask) in [
        (true, AttentionMask::Full),
        (false, AttentionMask::Full),
        (true, AttentionMask::Window(100)),
        (false, AttentionMask::Window(2)),
    ] {
        for dropped in [false, true] {
            let mut spec = spec(&[17, 3, 140], &[17, 3, 140], 2, mask);
            spec.padding = Some(Padding { seen: [5, 3, 77].into(), asks });
            spec.dropout = dropped.then(|| at(0.25, 4, places(11, &[17, 3, 140])));
            check(&format!("padding {asks} {mask:?} {dropped}"), &spec, 4);
        }
    }
}

#[test]
fn biases_agree_with_their_reference() {
    use AttentionMask::{Causal, Full, Window};
    for (mask, dropped) in [(Full, false), (Causal, true), (Window(7), false)] {
        let lengths = [17, 1, 140, 2, 3, 4, 5, 6, 7, 8];
        let rows = Distances::new(140, |distance| (distance + 3).clamp(0, 6) as u32);
        check_relative("bias", (&lengths, mask, dropped), &[&[8, 2]], |_, w| Relative::Bias {
            table: w[0].clone(),
            rows: rows.clone(),
        });
    }
}

#[test]
fn disentangled_attention_agrees_with_its_reference() {
    use AttentionMask::{Full, Window};
    for (mask, dropped) in [(Full, false), (Full, true), (Window(7), false)] {
        for (with_keys, with_queries) in [(true, true), (true, false), (false, true)] {
            let lengths = [17, 1, 140, 2, 3, 4, 5, 6, 7, 8];
            let rows = Distances::new(140, |distance| (9 - distance).clamp(0, 11) as u32);
            let tables: &[&[usize]] = &[&[13, 8], &[12, 8]];
            let used = &tables[..usize::from(with_keys) + usize::from(with_queries)];
            check_relative("disentangled", (&lengths, mask, dropped), used, |x, _| {
                let mut tables = x.iter().cloned();
                Relative::Disentangled {
                    keys: if with_keys { tables.next() } else { None },
                    queries: if with_queries { tables.next() } else { None },
                    rows: rows.clone(),
                }
            });
        }
    }
}

#[test]
fn micro_batches_compute_what_the_whole_update_computes() {
    let lengths: Vec<usize> = (0..32).map(|row| row % 7 + 1).collect();
    let tokens: usize = lengths.iter().sum();
    let [q, k, v] = [1, 2, 3].map(|tag| tensor(&[tokens, 6], tag));
    let run = |first: usize, start: usize, lengths: &[usize]| {
        let mut spec = spec(lengths, lengths, 2, AttentionMask::Full);
        spec.dropout = Some(at(0.2, 1, places(first as u32, lengths)));
        let count = spec.key_offsets.tokens();
        let [q, k, v] = [&q, &k, &v].map(|x| x.narrow(0, start, count).unwrap());
        flat(&attention(&silent(), &q, &k, &v, &spec).unwrap())
    };
    let mut parts = Vec::new();
    let mut start = 0;
    for (batch, lengths) in lengths.chunks(8).enumerate() {
        parts.extend(run(batch * 8, start, lengths));
        start += lengths.iter().sum::<usize>();
    }
    assert_eq!(run(0, 0, &lengths), parts);
}

/// What PyTorch does: sequences padded to one length, padded keys masked with −∞.
#[test]
fn padding_changes_nothing() {
    let (lengths, heads, head_dim) = ([5, 9, 2], 2, 4);
    let (hidden, longest) = (heads * head_dim, 9);
    let spec = spec(&lengths, &lengths, heads, AttentionMask::Full);
    let [q, k, v] = [1, 2, 3].map(|tag| tensor(&[16, hidden], tag));
    let found = flat(&attention(&silent(), &q, &k, &v, &spec).unwrap());
    let mut expected = Vec::new();
    for range in spec.key_offsets.ranges() {
        let padded = |x: &Tensor| {
            let rows = x.narrow(0, range.start, range.len()).unwrap();
            let padding = tensor(&[longest - range.len() + 1, hidden], 9);
            let all = Tensor::cat(&[&rows, &padding], 0).unwrap();
            all.reshape((longest + 1, heads, head_dim)).unwrap().transpose(0, 1).unwrap()
        };
        let [q, k, v] = [&q, &k, &v].map(|x| padded(x).contiguous().unwrap());
        let mask: Vec<f32> = (0..=longest)
            .map(|key| if key < range.len() { 0.0 } else { f32::NEG_INFINITY })
            .collect();
        let mask = Tensor::new(mask, q.device()).unwrap();
        let scores = (q.matmul(&k.t().unwrap()).unwrap() * 0.3).unwrap();
        let exp = scores.broadcast_add(&mask).unwrap().exp().unwrap();
        let p = exp.broadcast_div(&exp.sum_keepdim(2).unwrap()).unwrap();
        let context = p.matmul(&v).unwrap().transpose(0, 1).unwrap();
        let context = context.narrow(0, 0, range.len()).unwrap();
        expected.extend(flat(&context));
    }
    assert_close("padding", &found, &expected, 1e-6);
}

/// A large score must neither overflow nor lose the others.
#[test]
fn large_scores_do_not_overflow() {
    let spec = spec(&[3], &[3], 1, AttentionMask::Full);
    let [q, k, v] = [1, 2, 3].map(|tag| (tensor(&[3, 2], tag) * 1e4).unwrap());
    let found = attention(&silent(), &q, &k, &v, &spec).unwrap();
    assert!(flat(&found).iter().all(|value| value.is_finite()));
    let expected = reference(
        &q.to_dtype(DType::F64).unwrap(),
        &k.to_dtype(DType::F64).unwrap(),
        &v.to_dtype(DType::F64).unwrap(),
        &spec,
    );
    assert_close("large", &flat(&found), &flat(&expected.unwrap()), 1e-5);
}

#[test]
fn what_does_not_fit_is_an_error() {
    use AttentionMask::{Causal, Full};
    let run = |spec: &AttentionSpec| {
        let x = tensor(&[6, 4], 0);
        attention(&silent(), &x, &x, &x, spec)
    };
    assert!(run(&spec(&[6], &[6], 2, Full)).is_ok());
    assert!(run(&spec(&[6], &[6], 3, Full)).is_err());
    assert!(run(&spec(&[5], &[6], 2, Full)).is_err());
    assert!(run(&spec(&[2, 4], &[6], 2, Full)).is_err());
    assert!(run(&spec(&[4, 2], &[2, 4], 2, Causal)).is_err());
    let mut placed = spec(&[6], &[6], 2, AttentionMask::Window(2));
    placed.positions = Some((0..5).collect());
    assert!(run(&placed).is_err());
    placed.positions = Some((0..6).collect());
    assert!(run(&placed).is_ok());
    // The last query is too far behind the keys.
    placed.positions = Some([0, 1, 2, 3, 4, 9].into());
    assert!(run(&placed).is_err());
    let mut far = spec(&[6], &[6], 2, Full);
    let table = Weight::new(&tensor(&[4, 2], 1), true).unwrap();
    let bias = |rows| Relative::Bias { table: table.clone(), rows };
    far.relative = bias(Distances::new(6, |distance| distance.unsigned_abs().min(3) as u32));
    assert!(run(&far).is_ok());
    far.relative = bias(Distances::new(5, |distance| distance.unsigned_abs().min(3) as u32));
    assert!(run(&far).is_err());
    far.relative = bias(Distances::new(6, |distance| distance.unsigned_abs() as u32));
    assert!(run(&far).is_err());
}
