//! Measures the time of predictions: `cargo bench -p syva-cpu --bench predictor`.
//!
//! Each figure is the least of many times, because other work of the machine can only add to a time. With the widths of
//! a network, an instruction set and a number as arguments (`784-256-128-10 avx2 1000`), it predicts one sample that
//! many times and prints nothing, so that `valgrind --tool=callgrind` can count instructions.

use std::hint::black_box;
use std::time::Instant;

use syva_core::random::{Random, Stream};
use syva_core::{Activation::Sigmoid, Mlp, Model, State, Training};
use syva_cpu::Predictor;
use syva_cpu::isa::Isa;

/// The number of rounds. The calls of a round are timed together.
const ROUNDS: usize = 400;

/// The two networks, with the calls of a round.
const NETWORKS: [(&[usize], usize); 2] = [(&[4, 16, 16, 3], 2000), (&[784, 256, 128, 10], 100)];

fn model(widths: &[usize]) -> Model {
    let (outputs, before) = widths.split_last().expect("widths");
    let spec = Mlp::new(before[0]).hidden(&before[1..], Sigmoid).classes(*outputs);
    Model::new(spec.clone(), State::initial(&spec, &Training::default()).expect("a network"))
}

/// Samples with a given share of non-zeros: one fifth, as in pictures of digits, or all.
fn samples(count: usize, features: usize, share: f32) -> Vec<f32> {
    let mut random = Random::new(1, Stream::Augmentation, 0);
    (0..count * features).map(|_| if random.unit() < share { 1.0 + 254.0 * random.unit() } else { 0.0 }).collect()
}

/// The least seconds per call.
fn least(calls: usize, mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let begin = Instant::now();
        (0..calls).for_each(|_| call());
        begin.elapsed().as_secs_f64() / calls as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [widths, isa, calls] = &arguments[..] {
        let widths: Vec<usize> = widths.split('-').map(|width| width.parse().expect("a width")).collect();
        let predictor = Predictor::new(&model(&widths)).and_then(|it| it.with_isa(isa.parse()?)).expect("a predictor");
        let (inputs, mut outputs) = (samples(1, widths[0], 1.0), vec![0.0; widths[widths.len() - 1]]);
        for _ in 0..calls.parse().expect("a number") {
            predictor.predict_into(black_box(&inputs), &mut outputs).expect("a prediction");
        }
        return;
    }
    for (widths, calls) in NETWORKS {
        let (model, name) = (model(widths), widths.iter().map(ToString::to_string).collect::<Vec<_>>().join("-"));
        let outputs = widths[widths.len() - 1];
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available().is_ok()) {
            let predictor = Predictor::new(&model).and_then(|it| it.with_isa(isa)).expect("a predictor");
            for share in [1.0, 0.2] {
                let inputs = samples(1, widths[0], share);
                let mut room = vec![0.0; outputs];
                let seconds = least(calls, || predictor.predict_into(black_box(&inputs), &mut room).expect("outputs"));
                let share = 100.0 * share;
                println!("{name} {isa}: one sample, {share} % not zero: {:.3} µs", 1e6 * seconds);
            }
            let predictor = predictor.with_threads(1);
            let (inputs, mut room) = (samples(1000, widths[0], 0.2), vec![0.0; 1000 * outputs]);
            let seconds = least(1, || predictor.predict_into(black_box(&inputs), &mut room).expect("outputs"));
            println!("{name} {isa}: 1000 samples together, one thread: {:.3} µs each", 1e3 * seconds);
        }
        let inputs = samples(1, widths[0], 0.2).into();
        let predictor = Predictor::new(&model).expect("a predictor");
        let seconds = least(calls, || drop(predictor.classify(black_box(&inputs)).expect("an answer")));
        println!("{name}: one sample with names and probabilities: {:.3} µs", 1e6 * seconds);
        let seconds = least(calls.div_ceil(20), || drop(Predictor::new(black_box(&model)).expect("a predictor")));
        println!("{name}: making a predictor: {:.1} µs", 1e6 * seconds);
    }
}
