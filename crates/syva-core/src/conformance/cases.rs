//! The networks and data that the kit runs.

use crate::Mlp;
use crate::data::{Dataset, Inputs, Targets};
use crate::groups::{Factors, Parametrization};
use crate::ops::Activation::{
    Elu, Gelu, GeluTanh, HardSigmoid, HardSwish, Identity, LeakyRelu, Mish, Relu, Selu, Sigmoid, Silu, Softplus, Tanh,
};
use crate::ops::{Activation, Nonlinearity};
use crate::random::{Random, Stream};
use crate::schedule::Schedule;
use crate::spec::{Head, Normalization, Spec};
use crate::training::Training;

/// A network, the way to train it, and its data.
#[derive(Clone, Debug)]
pub struct Case {
    /// A description, for messages.
    pub name: String,
    /// The network.
    pub spec: Spec,
    /// The way to train it: the seed of weights and order, the samples per batch, the optimiser.
    pub training: Training,
    /// Training data.
    pub train: Dataset,
    /// Validation data, of another size.
    pub validation: Dataset,
}

/// Kinds of inputs that the cases cycle through.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Bytes 0 … 255, mostly zero, with MNIST's normalisation.
    Pixels,
    /// Reals with exact zeros of both signs, not normalised.
    Reals,
    /// Reals, with a scale and a shift for each feature.
    PerFeature,
}

/// Every case of the kit.
#[must_use]
pub fn cases() -> Vec<Case> {
    let shapes: [(&[usize], Activation); 10] = [
        (&[1, 1], Identity),
        (&[2, 3, 2], Relu),
        (&[3, 7, 10], Tanh),
        (&[10, 17, 63, 3], Sigmoid),
        (&[63, 10, 1, 2], Relu),
        (&[255, 63, 7], Sigmoid),
        (&[784, 17, 10], Sigmoid),
        (&[17, 255, 10], Tanh),
        (&[7, 3, 784, 2], Relu),
        (&[784, 63, 17, 10], Relu),
    ];
    let mut cases = Vec::new();
    for (i, &(widths, activation)) in shapes.iter().enumerate() {
        for (j, batch_size) in [1, 3, 96, 128].into_iter().enumerate() {
            let kind = [Kind::Pixels, Kind::Reals, Kind::PerFeature][(i + j) % 3];
            let head = match (widths[widths.len() - 1], (i + j) % 3) {
                (1, 0) => Head::Binary,
                (1, _) | (_, 0) => Head::Regression,
                (_, 1) => Head::LogSoftmax,
                _ => Head::Logits,
            };
            let hidden = vec![activation; widths.len() - 2];
            cases.push(case(widths, &hidden, head, kind, batch_size, (i * 10 + j) as u32));
        }
    }
    for (i, &(widths, hidden, head, kind, batch_size)) in LARGE.iter().chain(&OTHERS).chain(&BLOCKS).enumerate() {
        cases.push(case(widths, hidden, head, kind, batch_size, (1000 + i) as u32));
    }
    cases
}

/// Cases for every rule of an optimiser: batches of one sample, of a few, of one list and of several blocks, inputs of
/// every kind, and one weight per layer or many.
#[must_use]
pub fn optimizer_cases() -> Vec<Case> {
    const SHAPES: [Shape; 6] = [
        (&[100, 40, 33, 10], &[Tanh, Silu], Head::Logits, Kind::Pixels, 128),
        (&[17, 140, 3], &[Sigmoid], Head::Regression, Kind::PerFeature, 5),
        (&[70, 33, 17, 1], &[Relu, Tanh], Head::Binary, Kind::Reals, 1),
        (&[300, 20, 4], &[Sigmoid], Head::LogSoftmax, Kind::Pixels, 300),
        (&[3, 2], &[], Head::Logits, Kind::PerFeature, 20),
        (&[9, 33, 3], &[Tanh], Head::Regression, Kind::Reals, 1030),
    ];
    const OPTIMIZERS: [&str; 14] = [
        "sgd:weight_decay=0.05",
        "sgd:momentum=0.9,dampening=0.3",
        "sgd:momentum=0.8,nesterov=true,weight_decay=0.01",
        "adam",
        "adam:beta1=0.8,beta2=0.9,eps=1e-4,weight_decay=0.05",
        "adamw:weight_decay=0.3",
        "amsgrad:beta2=0.5",
        "nadam:weight_decay=0.02",
        "radam:beta2=0.9",
        "rmsprop:weight_decay=0.01",
        "rmsprop:momentum=0.9",
        "rmsprop:centered=true,eps=1e-3",
        "rmsprop:momentum=0.5,centered=true,eps=1e-3",
        "adagrad:lr_decay=0.1,initial=0.2",
    ];
    let mut cases = Vec::new();
    for (i, text) in OPTIMIZERS.into_iter().chain(["lion:weight_decay=0.1", "muon:nesterov=false", "muon"]).enumerate()
    {
        for (j, &(widths, hidden, head, kind, batch_size)) in SHAPES.iter().enumerate() {
            // The last shape is large, and has a path of its own for any rule.
            if j < 5 && (i + j) % 2 == 0 || j == 5 && i % 5 == 3 {
                let mut case = case(widths, hidden, head, kind, batch_size, (2000 + 10 * i + j) as u32);
                case.training.optimizer = text.parse().expect("the kit's optimisers are well formed");
                case.name = format!("{} {text}", case.name);
                cases.push(case);
            }
        }
    }
    // Layers that are wider than they are deep, and deeper than they are wide, for Muon.
    for (text, batch_size) in [("muon:momentum=0.5", 30), ("muon:weight_decay=0,steps=3", 200)] {
        let mut case = case(&[9, 20, 70, 40, 3], &[Tanh, Silu, Tanh], Head::Logits, Kind::Reals, batch_size, 2900);
        case.training.optimizer = text.parse().expect("the kit's optimisers are well formed");
        case.name = format!("{} {text}", case.name);
        cases.push(case);
    }
    cases
}

/// Cases for every loss, with and without weights of samples and of classes: batches of one sample, of a few, and of more
/// than engines judge at a time, and few or many outputs.
#[must_use]
pub fn loss_cases() -> Vec<Case> {
    const LOSSES: [(Head, &str, &str, bool); 18] = [
        (Head::Regression, "auto", "none", true),
        (Head::Regression, "mae", "none", false),
        (Head::Regression, "huber:delta=0.3", "none", false),
        (Head::Regression, "smooth-l1:beta=0.4", "none", true),
        (Head::Regression, "quantile:q=0.9", "none", false),
        (Head::Poisson, "auto", "none", false),
        (Head::Poisson, "poisson", "none", true),
        (Head::Gaussian, "auto", "none", false),
        (Head::Gaussian, "gaussian", "none", true),
        (Head::Binary, "auto", "3,0.5", false),
        (Head::Binary, "binary-cross-entropy:pos_weight=2.5", "balanced", true),
        (Head::MultiLabel, "auto", "none", false),
        (Head::MultiLabel, "binary-cross-entropy:pos_weight=0.3", "none", true),
        (Head::Logits, "auto", "none", true),
        (Head::Logits, "cross-entropy", "balanced", false),
        (Head::Logits, "cross-entropy:smoothing=0.1", "none", false),
        (Head::LogSoftmax, "auto", "balanced", true),
        (Head::LogSoftmax, "cross-entropy:smoothing=0.3", "balanced", true),
    ];
    let mut cases = Vec::new();
    for (i, (head, loss, class_weights, weighted)) in LOSSES.into_iter().enumerate() {
        let last = if head == Head::Binary { [1; 3] } else { [6, 40, 2] };
        // With one sample per batch, a weight of 0 makes the whole batch weigh nothing.
        let shapes: [(&[usize], Kind, usize); 3] = [
            (&[9, 20, last[0]], Kind::Reals, 5),
            (&[30, last[1]], Kind::Pixels, 70),
            (&[5, 3, last[2]], Kind::PerFeature, 1),
        ];
        for (j, (widths, kind, batch_size)) in shapes.into_iter().enumerate() {
            let seed = (3000 + 10 * i + j) as u32;
            let mut case = case(widths, &[Tanh][..widths.len() - 2], head, kind, batch_size, seed);
            case.training.loss = loss.parse().expect("the kit's losses are well formed");
            case.training.class_weights = class_weights.parse().expect("the kit's weights are well formed");
            if weighted {
                case.train = weigh(case.train, seed);
                case.validation = weigh(case.validation, seed + 1);
            }
            let weights = if weighted { ", weighted" } else { "" };
            case.name = format!("{} loss {loss}, classes weigh {class_weights}{weights}", case.name);
            cases.push(case);
        }
    }
    cases
}

/// Cases for what holds weights and activations back: dropout, penalties, clipping, the largest norm, the average, each alone
/// and all together, with an optimiser and without.
#[must_use]
pub fn regularised_cases() -> Vec<Case> {
    const SHAPES: [Shape; 5] = [
        (&[100, 40, 33, 10], &[Relu, Silu], Head::Logits, Kind::Pixels, 128),
        (&[17, 140, 3], &[Sigmoid], Head::Regression, Kind::PerFeature, 5),
        (&[70, 33, 17, 1], &[Gelu, Tanh], Head::Binary, Kind::Reals, 1),
        (&[300, 20, 4], &[LeakyRelu(0.1)], Head::LogSoftmax, Kind::Pixels, 300),
        (&[9, 37, 20, 3], &[Relu, Relu], Head::Regression, Kind::Reals, 70),
    ];
    type Change = fn(&mut Training);
    const CHANGES: [(&str, Change); 17] = [
        ("dropout", |t| t.dropout = 0.3),
        ("l1 and l2", |t| (t.l1, t.l2) = (0.01, 0.02)),
        ("clip-norm", |t| t.clip_norm = 0.05),
        ("clip-norm above all", |t| t.clip_norm = 1e9),
        ("clip-value", |t| t.clip_value = 0.003),
        ("max-norm", |t| t.max_norm = 0.5),
        ("ema", |t| t.ema = 0.8),
        ("all", |t| (t.dropout, t.l1, t.l2, t.clip_norm, t.max_norm, t.ema) = (0.5, 1e-3, 1e-3, 0.1, 0.4, 0.9)),
        ("dropout that takes nearly all", |t| (t.dropout, t.clip_value) = (0.97, 0.1)),
        ("lr-factors", |t| {
            t.lr_factors = Factors { biases: 0.1, gains: 3.0, first: 2.0, last: 0.5, ..Factors::default() }
        }),
        ("decay-factors, ema", |t| {
            (t.decay_factors, t.ema) = (Factors { biases: 0.0, first: 2.0, ..Factors::default() }, 0.5);
        }),
        ("ntk", |t| t.parametrization = Parametrization::Ntk),
        ("input-dropout", |t| t.input_dropout = 0.2),
        ("input-noise", |t| t.input_noise = 0.5),
        ("muon, clip-norm, max-norm, ema", |t| {
            t.optimizer = "muon:nesterov=false,steps=2,adjust=original".parse().expect("well formed");
            (t.clip_norm, t.max_norm, t.ema) = (0.1, 0.5, 0.9);
        }),
        ("input-dropout and noise, dropout, clip-norm", |t| {
            (t.input_dropout, t.input_noise, t.dropout, t.clip_norm) = (0.3, 0.2, 0.4, 0.1);
        }),
        ("schedules", |t| {
            t.dropout = 0.4;
            t.decay_schedule = Schedule::Exponential { gamma: 0.5, warmup: 0.0 };
            t.dropout_schedule = Schedule::FlatCos { epochs: 1.0, warmup: 0.0 };
        }),
    ];
    let mut cases = Vec::new();
    for (i, (what, change)) in CHANGES.into_iter().enumerate() {
        for (j, &(widths, hidden, head, kind, batch_size)) in SHAPES.iter().enumerate() {
            let optimizer = ["sgd", "adam", "sgd:momentum=0.9,weight_decay=0.01"][(i + j) % 3];
            if what == "all" || (i + j) % 2 == 0 {
                let mut case = case(widths, hidden, head, kind, batch_size, (3000 + 10 * i + j) as u32);
                case.training.optimizer = optimizer.parse().expect("the kit's optimisers are well formed");
                change(&mut case.training);
                case.name = format!("{} {optimizer} {what}", case.name);
                cases.push(case);
            }
        }
    }
    cases
}

/// Cases for learned activations: each kind, next to others, under all that happens to gradients and weights.
#[must_use]
pub fn learned_cases() -> Vec<Case> {
    type Shape = (&'static [usize], &'static [&'static str], Head, Kind, usize);
    const SHAPES: [Shape; 6] = [
        (&[100, 40, 33, 10], &["prelu", "parametric-silu"], Head::Logits, Kind::Pixels, 128),
        (&[17, 140, 3], &["parametric-gelu"], Head::Regression, Kind::PerFeature, 5),
        (&[70, 33, 17, 1], &["parametric-tanh", "prelu:init=-0.5"], Head::Binary, Kind::Reals, 1),
        (&[300, 20, 4], &["prelu"], Head::LogSoftmax, Kind::Pixels, 300),
        (&[9, 37, 20, 3], &["relu", "parametric-elu"], Head::Regression, Kind::Reals, 70),
        // Too large for a core's cache.
        (&[30, 700, 300, 5], &["parametric-mish", "prelu"], Head::Logits, Kind::Reals, 40),
    ];
    type Change = fn(&mut Training);
    const CHANGES: [(&str, Change); 4] = [
        ("sgd", |_| ()),
        ("adamw", |t| t.optimizer = "adamw:weight_decay=0.1".parse().expect("well formed")),
        ("dropout, clip-norm, ema", |t| (t.dropout, t.clip_norm, t.ema) = (0.3, 0.05, 0.8)),
        ("adam, lr-factors, clip-value", |t| {
            t.optimizer = "adam".parse().expect("well formed");
            t.lr_factors = Factors { gains: 0.1, ..Factors::default() };
            t.clip_value = 0.01;
        }),
    ];
    let mut cases = Vec::new();
    for (i, (what, change)) in CHANGES.into_iter().enumerate() {
        for (j, &(widths, hidden, head, kind, batch_size)) in SHAPES.iter().enumerate() {
            if j == 5 && i != 1 {
                continue;
            }
            let hidden: Vec<Nonlinearity> = hidden.iter().map(|text| text.parse().expect("well formed")).collect();
            let mut case = case(widths, &hidden, head, kind, batch_size, (4000 + 10 * i + j) as u32);
            change(&mut case.training);
            case.name = format!("{} {what}", case.name);
            cases.push(case);
        }
    }
    cases
}

/// The data with weights, some of which are 0.
fn weigh(data: Dataset, seed: u32) -> Dataset {
    let mut random = Random::new(seed, Stream::Augmentation, 3);
    let samples = data.samples();
    let mut weight = |sample: usize| if sample > 0 && random.below(3) == 0 { 0.0 } else { random.uniform(0.1, 3.0) };
    let weights: Vec<f32> = (0..samples).map(&mut weight).collect();
    data.with_weights(weights).expect("the first sample has a weight")
}

/// Widths, activations of the hidden layers, head, kind of inputs, samples per batch.
type Shape = (&'static [usize], &'static [Activation], Head, Kind, usize);

/// Batches and weights that are larger than what engines work on at a time.
const LARGE: [Shape; 3] = [
    (&[784, 40, 10], &[Sigmoid], Head::Logits, Kind::Pixels, 300),
    (&[600, 5, 3], &[Tanh], Head::Regression, Kind::Reals, 530),
    (&[17, 300, 260, 10], &[Relu, Relu], Head::LogSoftmax, Kind::PerFeature, 70),
];

/// Batches of several blocks (rule 3): two, three, five and eight of them, some with a last block of one sample, and last
/// batches of two, three and four blocks.
const BLOCKS: [Shape; 9] = [
    (&[60, 20, 10], &[Sigmoid], Head::Logits, Kind::Pixels, 129),
    (&[9, 17, 3], &[Tanh], Head::Regression, Kind::PerFeature, 256),
    (&[40, 33, 5], &[Relu], Head::LogSoftmax, Kind::Reals, 257),
    (&[33, 20, 9, 1], &[Tanh, Silu], Head::Binary, Kind::PerFeature, 300),
    (&[100, 12, 4], &[Sigmoid], Head::Logits, Kind::Pixels, 640),
    (&[7, 5, 17, 3, 2], &[Relu, Tanh, Gelu], Head::Regression, Kind::Reals, 640),
    (&[20, 3], &[], Head::LogSoftmax, Kind::PerFeature, 1000),
    (&[50, 10, 10], &[Tanh], Head::LogSoftmax, Kind::Pixels, 1000),
    (&[5, 33, 40, 3], &[Sigmoid, Softplus(1.5)], Head::Regression, Kind::PerFeature, 1400),
];

/// Cases that the grid of [`cases`] leaves out.
const OTHERS: [Shape; 17] = [
    // Outputs that fill several panels or tiles, with and without a hidden layer.
    (&[64, 33], &[], Head::Logits, Kind::Pixels, 40),
    (&[9, 20, 33], &[Relu], Head::LogSoftmax, Kind::Reals, 70),
    (&[20, 40, 100], &[Tanh], Head::LogSoftmax, Kind::PerFeature, 30),
    (&[50, 17, 300], &[Sigmoid], Head::Logits, Kind::Reals, 9),
    (&[30, 12, 300], &[Relu], Head::Regression, Kind::PerFeature, 33),
    // One logit, from each kind of input, with and without hidden layers.
    (&[5, 1], &[], Head::Binary, Kind::Reals, 3),
    (&[70, 1], &[], Head::Binary, Kind::PerFeature, 128),
    (&[300, 20, 9, 1], &[Sigmoid, Sigmoid], Head::Binary, Kind::Pixels, 96),
    (&[33, 40, 1], &[Relu], Head::Binary, Kind::Reals, 5),
    (&[17, 10, 33, 5, 1], &[Tanh, Relu, Sigmoid], Head::Binary, Kind::PerFeature, 64),
    // A different activation in each layer.
    (&[40, 24, 17, 33, 9, 5], &[Tanh, Relu, Sigmoid, Identity], Head::Logits, Kind::Pixels, 50),
    (&[12, 33, 20, 70, 4], &[Relu, Identity, Tanh], Head::Regression, Kind::Reals, 20),
    (&[25, 16, 32, 16, 100], &[Sigmoid, Relu, Tanh], Head::LogSoftmax, Kind::PerFeature, 17),
    // The other activations: those whose derivative reads z beside those whose derivative reads h.
    (&[30, 20, 33, 12, 17, 4], &[Gelu, LeakyRelu(0.2), Silu, Elu(1.5)], Head::Logits, Kind::Pixels, 40),
    (&[9, 40, 16, 33, 3], &[Mish, Selu, Softplus(2.0)], Head::Regression, Kind::PerFeature, 70),
    (&[70, 17, 20, 33, 1], &[HardSwish, GeluTanh, HardSigmoid], Head::Binary, Kind::Reals, 21),
    (&[100, 48, 10], &[Silu], Head::LogSoftmax, Kind::Pixels, 128),
];

/// Builds one case. Its data, drawn from `seed`, makes two whole batches and a smaller one.
fn case<A>(widths: &[usize], hidden: &[A], head: Head, kind: Kind, batch_size: usize, seed: u32) -> Case
where
    A: Into<Nonlinearity> + Copy,
{
    let hidden: Vec<Nonlinearity> = hidden.iter().map(|&activation| activation.into()).collect();
    let (features, outputs) = (widths[0], widths[widths.len() - 1]);
    let layers = widths[1..].iter().zip(&hidden);
    let mlp = layers.fold(Mlp::new(features), |mlp, (&units, &activation)| mlp.hidden(&[units], activation));
    let normalization = match kind {
        Kind::Pixels => Normalization::pixels(0.1307, 0.3081),
        Kind::Reals => Normalization::None,
        Kind::PerFeature => {
            let mut random = Random::new(seed, Stream::Augmentation, 2);
            let mut draw = || (0..features).map(|_| random.uniform(-1.0, 1.0)).collect();
            Normalization::PerFeature { scale: draw(), shift: draw() }
        }
    };
    let spec = match head {
        Head::Regression => mlp.values(outputs),
        Head::Poisson => mlp.counts(outputs),
        Head::Gaussian => mlp.gaussian(outputs / 2),
        Head::Binary => mlp.binary(),
        Head::MultiLabel => mlp.labels(outputs),
        Head::Logits => mlp.classes(outputs),
        Head::LogSoftmax => Spec { head, ..mlp.classes(outputs) },
    };
    let spec = spec.normalized(normalization);
    let data = |samples, part| dataset(&spec, kind, samples, &mut Random::new(seed, Stream::Augmentation, part));
    let ragged = batch_size.div_ceil(2);
    Case {
        name: format!("{} {} {head} {kind:?} batch {batch_size} seed {seed}", spec.widths(), names(&hidden)),
        train: data(2 * batch_size + ragged, 0),
        validation: data(batch_size + 5, 1),
        training: Training { batch_size, seed, ..Training::default() },
        spec,
    }
}

/// The names of the hidden layers' activations, or one name if all are the same.
fn names(hidden: &[Nonlinearity]) -> String {
    let mut names: Vec<String> = hidden.iter().map(ToString::to_string).collect();
    names.dedup();
    if names.is_empty() { "linear".into() } else { names.join("-") }
}

/// A target value that a head can have.
fn target(head: Head, random: &mut Random) -> f32 {
    match head {
        Head::Poisson => random.below(6) as f32,
        Head::MultiLabel => random.below(2) as f32,
        Head::Regression | Head::Gaussian | Head::Binary | Head::Logits | Head::LogSoftmax => random.uniform(-1.0, 1.0),
    }
}

fn dataset(spec: &Spec, kind: Kind, samples: usize, random: &mut Random) -> Dataset {
    let count = samples * spec.input.features;
    let inputs = match kind {
        Kind::Pixels => {
            let mut pixel = || if random.below(5) == 0 { random.below(256) as u8 } else { 0 };
            Inputs::U8((0..count).map(|_| pixel()).collect::<Vec<_>>().into())
        }
        Kind::Reals | Kind::PerFeature => {
            let mut real = || match random.below(6) {
                0 => 0.0,
                1 => -0.0,
                _ => random.uniform(-2.0, 2.0),
            };
            Inputs::F32((0..count).map(|_| real()).collect::<Vec<_>>().into())
        }
    };
    let targets = match spec.classes() {
        0 => Targets::Values {
            values: (0..samples * spec.targets()).map(|_| target(spec.head, random)).collect(),
            outputs: spec.targets(),
        },
        classes => {
            Targets::Classes { labels: (0..samples).map(|_| random.below(classes as u64) as u32).collect(), classes }
        }
    };
    Dataset::new(inputs, spec.input.features, targets).expect("the kit's data is well formed")
}
