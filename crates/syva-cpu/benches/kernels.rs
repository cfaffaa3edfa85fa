//! Measures single kernels at the shapes of the chapter's network (784-256-128-10, batch 128), for each instruction set
//! of this processor: `cargo bench -p syva-cpu`. Throughput is in multiply-adds, or in values for element-wise passes.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use syva_core::Activation::Sigmoid;
use syva_core::random::{Random, Stream};
use syva_cpu::buffer::{Shared, View};
use syva_cpu::isa::Isa;
use syva_cpu::kernels::{Block, Factor, Finish, Init, Kernels, Place, Product, Scaling, SparseProduct};
use syva_cpu::memory::{Samples, Source};
use syva_cpu::sparse::{ListBy, Lists};

const BATCH: usize = 128;
const FEATURES: usize = 784;
/// Features that are listed.
const PIECE: usize = 96;
/// Units and features of the dense products: one panel or two.
const UNITS: usize = 32;
const DESCEND: Finish<'_> = Finish::Descend { learning_rate: 0.01, fold: None };

fn draw(count: usize) -> Vec<f32> {
    let mut random = Random::new(1, Stream::Augmentation, 0);
    (0..count).map(|_| random.uniform(-1.0, 1.0)).collect()
}

/// Pixels of which a fifth are not zero, arranged in strokes.
fn pixels(samples: usize) -> Vec<u8> {
    let mut random = Random::new(2, Stream::Augmentation, 0);
    let mut pixels = vec![0; samples * FEATURES];
    for _ in 0..samples * FEATURES / 5 / 8 {
        let at = random.below((pixels.len() - 8) as u64) as usize;
        pixels[at..at + 8].fill(random.below(255) as u8 + 1);
    }
    pixels
}

/// Runs a benchmark for each instruction set.
fn each_isa(criterion: &mut Criterion, name: &str, work: usize, run: &mut dyn FnMut(&Kernels)) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(work as u64));
    for isa in Isa::ALL.into_iter().filter_map(|isa| isa.available().ok()) {
        let Ok(kernels) = Kernels::new(isa) else { continue };
        group.bench_function(BenchmarkId::from_parameter(isa), |bencher| bencher.iter(|| run(&kernels)));
    }
    group.finish();
}

/// The first layer's products: forward for some units, and the update of their weights from some features.
fn dense(criterion: &mut Criterion) {
    let (x, weights) = (draw(FEATURES.div_ceil(UNITS) * UNITS * BATCH), draw(FEATURES * UNITS));
    let (d, bias) = (draw(BATCH * UNITS), draw(UNITS));
    let mut h = vec![0.0; BATCH * UNITS];
    let values = View::from(&x[..]);
    each_isa(criterion, "forward, 128 samples, 784 to 32", BATCH * FEATURES * UNITS, &mut |kernels| {
        let width = kernels.width();
        for unit in (0..UNITS).step_by(width) {
            let product = Product {
                rows: BATCH,
                columns: width,
                depth: FEATURES,
                a: Factor::Rows { values, panel: BATCH * width },
                b: &weights[unit * FEATURES..],
                init: Some(&bias[unit..]),
                earlier: &[],
                c: Shared::new(&mut h),
                c_at: unit * BATCH,
                finish: Finish::Store,
            };
            // SAFETY: nothing else refers to h.
            unsafe { kernels.product(&product) };
        }
    });
    let mut w = draw(UNITS * UNITS);
    each_isa(criterion, "update, 128 samples, 32 to 32", BATCH * UNITS * UNITS, &mut |kernels| {
        let width = kernels.width();
        for unit in (0..UNITS).step_by(width) {
            for feature in (0..UNITS).step_by(width) {
                let product = Product {
                    rows: width,
                    columns: width,
                    depth: BATCH,
                    a: Factor::Columns(View::from(&x[feature * BATCH..])),
                    b: &d[unit * BATCH..],
                    init: None,
                    earlier: &[],
                    c: Shared::new(&mut w),
                    c_at: unit * UNITS + feature * width,
                    finish: DESCEND,
                };
                // SAFETY: nothing else refers to w.
                unsafe { kernels.product(&product) };
            }
        }
    });
}

/// A piece of features: its lists, and its products with 128 units, forward and in the update.
fn sparse(criterion: &mut Criterion) {
    let pixels = pixels(BATCH);
    let scale = vec![0.012; PIECE];
    let samples = Samples::From { first: 0, count: BATCH };
    let block = Block { features: FEATURES, first: 0, scale: &scale, samples, next: None };
    let (mut by_sample, mut by_feature) = (Lists::default(), Lists::default());
    for (by, lists) in [(ListBy::Sample, &mut by_sample), (ListBy::Feature, &mut by_feature)] {
        // Also where only the products are asked for.
        if let Ok(kernels) = Kernels::new(Isa::Scalar) {
            kernels.list(Source::Bytes(&pixels), &block, by, lists);
        }
        each_isa(criterion, &format!("lists of 128 by 96 pixels, {by:?}"), BATCH * PIECE, &mut |kernels| {
            kernels.list(Source::Bytes(&pixels), &block, by, lists);
        });
    }
    let mut s = vec![0.0; BATCH * PIECE.next_multiple_of(UNITS)];
    each_isa(criterion, "scaling of 128 by 96 pixels", BATCH * PIECE, &mut |kernels| {
        kernels.scale(Source::Bytes(&pixels), &mut Scaling { block, s: &mut s, panel: BATCH * kernels.width() });
    });
    let b = draw(BATCH * 128);
    let mut values = vec![0.0; BATCH * 128];
    let cases = [("forward", &by_sample, BATCH, Finish::Store), ("update", &by_feature, PIECE, DESCEND)];
    for (name, lists, rows, finish) in cases {
        // Counted as the multiply-adds of a dense product.
        each_isa(criterion, &format!("{name} by lists, 128 by 96, 128 units"), BATCH * PIECE * 128, &mut |kernels| {
            let product = SparseProduct {
                a: lists,
                rows: (0, rows),
                columns: 128,
                b: &b,
                b_panel: BATCH * kernels.width(),
                init: Init::Zero,
                earlier: &[],
                c: Place { values: Shared::new(&mut values), at: 0, panel: BATCH * kernels.width() },
                finish,
            };
            // SAFETY: nothing else refers to the values.
            unsafe { kernels.sparse_product(&product) };
        });
    }
}

fn passes(criterion: &mut Criterion) {
    let z = draw(BATCH * UNITS);
    let mut h = z.clone();
    each_isa(criterion, "sigmoid of 4096 values", z.len(), &mut |kernels| {
        h.copy_from_slice(&z);
        kernels.forward(Sigmoid, &mut h);
    });
    let mut transposed = vec![0.0; UNITS * UNITS];
    each_isa(criterion, "transpose of a panel's square", UNITS * UNITS, &mut |kernels| {
        kernels.transpose(&z, &mut transposed);
    });
}

criterion_group!(benches, dense, sparse, passes);
criterion_main!(benches);
