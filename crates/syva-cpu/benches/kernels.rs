//! Measures single kernels at the shapes of the chapter's network (784-256-128-10, batch 128), for each instruction set
//! of this processor: `cargo bench -p syva-cpu`. Throughput is in multiply-adds, or in values for element-wise passes.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use syva_core::Activation::Sigmoid;
use syva_core::random::{Random, Stream};
use syva_cpu::buffer::{Shared, View, WIDTH};
use syva_cpu::isa::Isa;
use syva_cpu::kernels::{Block, Finish, Init, Kernels, Place, Product, Scaling, SparseProduct};
use syva_cpu::memory::{Samples, Source};
use syva_cpu::sparse::{ListBy, Lists};

const BATCH: usize = 128;
const FEATURES: usize = 784;
/// Features that are listed.
const PIECE: usize = 96;
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

/// The first layer's products: forward for a panel of units, and the update for a panel of features.
fn dense(criterion: &mut Criterion) {
    let (x, weights) = (draw(FEATURES.div_ceil(WIDTH) * WIDTH * BATCH), draw(FEATURES * WIDTH));
    let (d, bias) = (draw(BATCH * WIDTH), draw(WIDTH));
    let mut h = vec![0.0; BATCH * WIDTH];
    each_isa(criterion, "forward, 128 samples, 784 to 32", BATCH * FEATURES * WIDTH, &mut |kernels| {
        let product = Product {
            rows: BATCH,
            columns: WIDTH,
            depth: FEATURES,
            a: View::from(&x[..]),
            a_row: WIDTH,
            a_depth: 1,
            a_panel: BATCH * WIDTH,
            b: &weights,
            init: Some(&bias),
            c: Shared::new(&mut h),
            c_at: 0,
            finish: Finish::Store,
        };
        // SAFETY: nothing else refers to h.
        unsafe { kernels.product(&product) };
    });
    let mut w = draw(WIDTH * WIDTH);
    each_isa(criterion, "update, 128 samples, 32 to 32", BATCH * WIDTH * WIDTH, &mut |kernels| {
        let product = Product {
            rows: WIDTH,
            columns: WIDTH,
            depth: BATCH,
            a: View::from(&x[..]),
            a_row: 1,
            a_depth: WIDTH,
            a_panel: WIDTH * WIDTH,
            b: &d,
            init: None,
            c: Shared::new(&mut w),
            c_at: 0,
            finish: DESCEND,
        };
        // SAFETY: nothing else refers to w.
        unsafe { kernels.product(&product) };
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
        each_isa(criterion, &format!("lists of 128 by 96 pixels, {by:?}"), BATCH * PIECE, &mut |kernels| {
            kernels.list(Source::Bytes(&pixels), &block, by, lists);
        });
    }
    let mut s = vec![0.0; BATCH * PIECE];
    each_isa(criterion, "scaling of 128 by 96 pixels", BATCH * PIECE, &mut |kernels| {
        kernels.scale(Source::Bytes(&pixels), &mut Scaling { block, s: &mut s, panel: BATCH * WIDTH });
    });
    let b = draw(4 * BATCH * WIDTH);
    let mut values = vec![0.0; 4 * BATCH * WIDTH];
    let cases = [("forward", &by_sample, BATCH, Finish::Store), ("update", &by_feature, PIECE, DESCEND)];
    for (name, lists, rows, finish) in cases {
        // Counted as the multiply-adds of a dense product.
        each_isa(criterion, &format!("{name} by lists, 128 by 96, 128 units"), BATCH * PIECE * 128, &mut |kernels| {
            let product = SparseProduct {
                a: lists,
                rows: (0, rows),
                columns: 128,
                b: &b,
                b_panel: BATCH * WIDTH,
                init: Init::Zero,
                c: Place { values: Shared::new(&mut values), at: 0, panel: BATCH * WIDTH },
                finish,
            };
            // SAFETY: nothing else refers to the values.
            unsafe { kernels.sparse_product(&product) };
        });
    }
}

fn passes(criterion: &mut Criterion) {
    let z = draw(BATCH * WIDTH);
    let mut h = z.clone();
    each_isa(criterion, "sigmoid of 4096 values", z.len(), &mut |kernels| {
        h.copy_from_slice(&z);
        kernels.activate(Sigmoid, &mut h);
    });
    let mut transposed = vec![0.0; WIDTH * WIDTH];
    each_isa(criterion, "transpose of 32 by 32", WIDTH * WIDTH, &mut |kernels| kernels.transpose(&z, &mut transposed));
}

criterion_group!(benches, dense, sparse, passes);
criterion_main!(benches);
