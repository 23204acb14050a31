//! The engine's operations one by one, forward and backward, in the shapes of a six-layer MiniLM on
//! a batch of 32 sentences, each beside its floor: what the same work takes at the processor's rate
//! of multiplications, or at the memory's rate of copying, both measured here first.
//!
//!     cargo bench --bench ops                      # all
//!     cargo bench --bench ops -- 'linear.*bf16'    # some
//!
//! criterion keeps the last run under `target/criterion` and says what became slower since then.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use criterion::Criterion;
use ftrun::nn::ops::adamw::{AdamW, adamw_step, sum_of_squares};
use ftrun::nn::ops::{attention, embedding, feed_forward, layer_norm, linear, loss};
use ftrun::nn::product::bf16::{self, Factor, Panels, Rows};
use ftrun::nn::product::{Matrix, Onto, product};
use ftrun::nn::tape::Gradient;
use ftrun::nn::{
    Activation, AttentionMask, AttentionSpec, DropoutAt, Linear, Norm, Offsets, Precision,
    Relative, Tape, TokenPlace, Weight,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HIDDEN: usize = 384;
const INNER: usize = 1536;
const HEADS: usize = 12;
const VOCABULARY: usize = 30_522;
/// Of all weights but the word embeddings.
const DENSE_WEIGHTS: usize = 11_000_000;

/// What an operation cannot do without, forward and backward together.
#[derive(Clone, Copy)]
enum Work {
    /// Multiplications and additions.
    Flop(Precision, f64),
    /// Bytes that are read or written at least once.
    Bytes(f64),
}

struct Rates {
    f32_flops: f64,
    bf16_flops: Option<f64>,
    bytes: f64,
}

impl Rates {
    /// The best of several large products and copies.
    fn measure() -> Self {
        let values = numbers(1024 * 1024);
        let mut out = vec![0.0; 1024 * 1024];
        let square = |values| Matrix::new(values, 1024, 1024);
        let flop = 2.0 * 1024f64.powi(3);
        let f32_flops =
            flop / best(|| product(&mut out, square(&values), square(&values), 1.0, Onto::Nothing));
        let bf16_flops = Precision::Bf16.is_available().then(|| {
            let (rows, panels) = (Rows::new(&values, 1024), Panels::new(&values, 1024));
            flop / best(|| bf16::product(&mut out, Factor::Rows(&rows), &panels, Onto::Nothing))
        });
        let from = vec![1f32; 1 << 25];
        let mut to = vec![0f32; 1 << 25];
        let half = from.len() / 2;
        let copied = best(|| {
            let (first, second) = to.split_at_mut(half);
            rayon::join(
                || first.copy_from_slice(&from[..half]),
                || second.copy_from_slice(&from[half..]),
            );
            black_box(&to);
        });
        Self { f32_flops, bf16_flops, bytes: 8.0 * from.len() as f64 / copied }
    }

    fn floor(&self, work: Work) -> f64 {
        match work {
            Work::Flop(Precision::F32, flop) => flop / self.f32_flops,
            Work::Flop(Precision::Bf16, flop) => flop / self.bf16_flops.unwrap_or(self.f32_flops),
            Work::Bytes(bytes) => bytes / self.bytes,
        }
    }
}

fn best(mut f: impl FnMut()) -> f64 {
    let times = (0..12).map(|_| {
        let begun = Instant::now();
        f();
        begun.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect()
}

fn tensor(shape: &[usize]) -> Tensor {
    Tensor::from_vec(numbers(shape.iter().product()), shape, &Device::Cpu).expect("a tensor")
}

fn weight(shape: &[usize]) -> Weight {
    Weight::new(&tensor(shape), true).expect("a weight")
}

struct Bench {
    criterion: Criterion,
    rates: Rates,
}

impl Bench {
    fn time(&mut self, name: &str, work: Work, mut f: impl FnMut()) {
        let floor = self.rates.floor(work);
        let mut seconds = None;
        self.criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let begun = Instant::now();
                (0..times).for_each(|_| f());
                let elapsed = begun.elapsed();
                seconds = Some(elapsed.as_secs_f64() / times as f64);
                elapsed
            });
        });
        // None where the name was filtered out.
        if let Some(seconds) = seconds {
            println!(
                "{name:<44} {:8.3} ms, floor {:8.3} ms, {:5.1} times its floor",
                seconds * 1e3,
                floor * 1e3,
                seconds / floor
            );
        }
    }

    /// Forward and backward of an operation on the tape.
    fn op(
        &mut self,
        name: &str,
        precision: Precision,
        work: Work,
        inputs: &[&Tensor],
        f: impl Fn(&Tape) -> Tensor,
    ) {
        self.time(name, work, || {
            let tape = Tape::recording(precision);
            inputs.iter().for_each(|input| tape.watch(input));
            let y = f(&tape);
            let dy = Gradient::new(vec![0.01f32; y.elem_count()]);
            black_box(tape.backward(&y, dy).expect("a backward"));
        });
    }
}

fn main() {
    let criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let rates = Rates::measure();
    println!(
        "{} threads; products of 1024 x 1024: f32 {:.0} GFLOP/s, bf16 {}; copying {:.1} GB/s read and written",
        rayon::current_num_threads(),
        rates.f32_flops / 1e9,
        rates.bf16_flops.map_or("not here".into(), |rate| format!("{:.0} GFLOP/s", rate / 1e9)),
        rates.bytes / 1e9
    );
    let mut bench = Bench { criterion, rates };
    let mut precisions = vec![("f32", Precision::F32)];
    if Precision::Bf16.is_available() {
        precisions.push(("bf16", Precision::Bf16));
    }
    for (name, precision) in precisions {
        products(&mut bench, name, precision);
        layers(&mut bench, name, precision);
    }
    elementwise(&mut bench);
    optimizer(&mut bench);
    bench.criterion.final_summary();
}

/// The products of one linear layer, 1024 tokens: conversion and rearranging included.
fn products(bench: &mut Bench, name: &str, precision: Precision) {
    let (tokens, inputs, outputs) = (1024, HIDDEN, INNER);
    let work = Work::Flop(precision, 2.0 * (tokens * inputs * outputs) as f64);
    let (x, dy) = (numbers(tokens * inputs), numbers(tokens * outputs));
    let w = numbers(inputs * outputs);
    let mut y = vec![0.0; tokens * outputs];
    let mut dx = vec![0.0; tokens * inputs];
    let mut dw = vec![0.0; inputs * outputs];
    let case = |what: &str| format!("product {name} {what} {tokens}x{inputs}x{outputs}");
    match precision {
        Precision::F32 => {
            let x = Matrix::new(&x, tokens, inputs);
            let dy = Matrix::new(&dy, tokens, outputs);
            let w = Matrix::new(&w, outputs, inputs);
            let nothing = Onto::Nothing;
            bench.time(&case("forward"), work, || {
                product(&mut y, x, w.transposed(), 1.0, nothing);
            });
            bench.time(&case("dX"), work, || product(&mut dx, dy, w, 1.0, nothing));
            bench.time(&case("dW"), work, || product(&mut dw, dy.transposed(), x, 1.0, nothing));
        }
        Precision::Bf16 => {
            bench.time(&case("forward"), work, || {
                let (x, w) = (Rows::new(&x, inputs), Panels::transposed(&w, inputs));
                bf16::product(&mut y, Factor::Rows(&x), &w, Onto::Nothing);
            });
            bench.time(&case("dX"), work, || {
                let (dy, w) = (Rows::new(&dy, outputs), Panels::new(&w, inputs));
                bf16::product(&mut dx, Factor::Rows(&dy), &w, Onto::Nothing);
            });
            bench.time(&case("dW"), work, || {
                let (dy, x) = (Panels::new(&dy, outputs), Panels::new(&x, inputs));
                bf16::product(&mut dw, Factor::Transposed(&dy), &x, Onto::Nothing);
            });
        }
    }
}

/// A batch of sentences.
struct Batch {
    offsets: Offsets,
    places: Arc<[TokenPlace]>,
}

impl Batch {
    fn new(lengths: &[usize]) -> Self {
        let offsets = Offsets::from_lengths(lengths.iter().copied()).expect("lengths");
        let places = lengths
            .iter()
            .zip(0..)
            .flat_map(|(&length, row)| {
                (0..length as u32).map(move |position| TokenPlace { row, position })
            })
            .collect();
        Self { offsets, places }
    }

    /// 32 sentences of 6 to 41 tokens, 23.5 on average.
    fn sentences() -> Self {
        Self::new(&(0..32).map(|row| 6 + row * 37 % 36).collect::<Vec<_>>())
    }

    fn tokens(&self) -> usize {
        self.offsets.tokens()
    }

    fn dropout(&self, site: u32) -> DropoutAt {
        DropoutAt { p: 0.1, seed: 1, site, update: 1, rows: self.places.clone() }
    }
}

fn layers(bench: &mut Bench, name: &str, precision: Precision) {
    let batch = Batch::sentences();
    let tokens = batch.tokens();
    let x = tensor(&[tokens, HIDDEN]);
    let layer = |to: usize, from: usize| Linear::new(&weight(&[to, from]), Some(&weight(&[to])));
    let square = layer(HIDDEN, HIDDEN);
    // Forward, and twice as much backward.
    let flop = |columns: usize| Work::Flop(precision, 6.0 * (tokens * HIDDEN * columns) as f64);
    bench.op(&format!("linear {name} 384 to 384"), precision, flop(HIDDEN), &[&x], |tape| {
        linear::linear(tape, &x, &square).expect("linear")
    });
    let (up, down) = (layer(INNER, HIDDEN), layer(HIDDEN, INNER));
    let case = format!("feed-forward {name} 384 to 1536, gelu");
    bench.op(&case, precision, flop(2 * INNER), &[&x], |tape| {
        feed_forward::feed_forward(tape, &x, &up, Activation::Gelu, &down).expect("feed-forward")
    });
}

fn elementwise(bench: &mut Bench) {
    for (what, batch) in [("32 sentences", Batch::sentences()), ("8 x 512", Batch::new(&[512; 8]))]
    {
        let tokens = batch.tokens();
        let [q, k, v] = [0; 3].map(|_| tensor(&[tokens, HIDDEN]));
        let spec = AttentionSpec {
            heads: HEADS,
            query_offsets: batch.offsets.clone(),
            key_offsets: batch.offsets.clone(),
            scale: 1.0 / ((HIDDEN / HEADS) as f64).sqrt(),
            positions: None,
            mask: AttentionMask::Full,
            relative: Relative::Nothing,
            padding: None,
            dropout: Some(batch.dropout(1)),
        };
        // Two products forward, five backward, of which one computes the scores again.
        let pairs: usize = batch.offsets.ranges().map(|range| range.len().pow(2)).sum();
        let work = Work::Flop(Precision::F32, 7.0 * 2.0 * (pairs * HIDDEN) as f64);
        let case = format!("attention f32 {what}, dropout");
        bench.op(&case, Precision::F32, work, &[&q, &k, &v], |tape| {
            attention::attention(tape, &q, &k, &v, &spec).expect("attention")
        });
    }
    let batch = Batch::sentences();
    let tokens = batch.tokens();
    let (x, residual) = (tensor(&[tokens, HIDDEN]), tensor(&[tokens, HIDDEN]));
    let (scale, shift) = (weight(&[HIDDEN]), weight(&[HIDDEN]));
    let at = batch.dropout(2);
    // Forward reads two and writes one; backward reads three and writes two.
    let bytes = Work::Bytes(8.0 * 4.0 * (tokens * HIDDEN) as f64);
    bench.op("dropout, add, norm f32", Precision::F32, bytes, &[&x, &residual], |tape| {
        let norm = Norm::new(&scale, Some(&shift), 1e-12);
        layer_norm::dropout_add_layer_norm(tape, &x, &residual, Some(&at), &norm).expect("a norm")
    });
    let table = weight(&[VOCABULARY, HIDDEN]);
    let ids: Vec<u32> = (0..tokens).map(|i| (i * 7919 % VOCABULARY) as u32).collect();
    let bytes = Work::Bytes(5.0 * 4.0 * (tokens * HIDDEN) as f64);
    bench.op("embedding f32", Precision::F32, bytes, &[], |tape| {
        table.zero_grad();
        embedding::embedding(tape, &[embedding::Lookup::new(&table, &ids)]).expect("an embedding")
    });
    let (rows, classes) = (512, VOCABULARY);
    let logits = tensor(&[rows, classes]);
    let targets: Vec<i64> = (0..rows).map(|row| (row * 7919 % classes) as i64).collect();
    let bytes = Work::Bytes(2.0 * 4.0 * (rows * classes) as f64);
    bench.op("cross entropy f32 512 x 30522", Precision::F32, bytes, &[&logits], |tape| {
        loss::cross_entropy(tape, &logits, &targets, None, 0.0, rows as f64).expect("a loss")
    });
}

fn optimizer(bench: &mut Bench) {
    let gradient = vec![0.1f32; DENSE_WEIGHTS];
    let [mut values, mut m, mut v] = [0; 3].map(|_| vec![0.1f32; DENSE_WEIGHTS]);
    let by = AdamW {
        learning_rate: 1e-4,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.01,
        step: 3,
        gradient_factor: 0.5,
    };
    let bytes = |times: f64| Work::Bytes(times * 4.0 * DENSE_WEIGHTS as f64);
    bench.time("adamw, 11 M weights", bytes(7.0), || {
        adamw_step(&mut values, &mut m, &mut v, &gradient, &by);
    });
    bench.time("norm of gradients, 11 M weights", bytes(1.0), || {
        black_box(sum_of_squares(&gradient));
    });
}
