//! Random networks, ways to train them, data and calls. After each call, an engine's results and state must equal the
//! reference's, to the bit.

use crate::data::{Dataset, Inputs, Mixed, Split, Targets};
use crate::embedding::{Block, Embedding};
use crate::engine::{DeviceId, Engine, Evaluation, Flow, Report, Session, Span};
use crate::groups::Parametrization;
use crate::ops::{Activation, Learned, Loss, Nonlinearity, Optimizer};
use crate::random::{Random, Stream};
use crate::reference::Reference;
use crate::spec::{Head, Normalization, Spec};
use crate::state::{Matrix, Parameters, State};
use crate::training::Training;
use crate::weighting::ClassWeights;
use crate::{Error, Mlp, Result};

/// What a round of calls came to. An error says what differs.
type Played = std::result::Result<(), String>;

/// Plays a round: a network of up to ten layers, a way to train it, data, and a handful of calls, all drawn from the seed.
/// What an engine refuses to train with is replaced once by something simpler. `talk` is told what is played.
///
/// # Errors
/// What differs from the reference, or why the engine refuses.
pub fn random(engine: &dyn Engine, device: &DeviceId, seed: u32, talk: &mut dyn FnMut(&str)) -> Played {
    let mut dice = Dice(Random::new(seed, Stream::Augmentation, 78));
    let mut spec = network(&mut dice);
    let mut training = training(&mut dice, &spec).map_err(said)?;
    let bytes = dice.rarely(2);
    let batch = [1, 1 + dice.below(8), 1 + dice.below(60), 1 + dice.below(300)][dice.below(4)];
    // As many as can be trained in a short time.
    let affordable = (2_000_000 / spec.parameters()).clamp(5, 300);
    let samples = 1 + dice.below(affordable);
    let mut ours = engine.open(device, &spec, &training);
    if matches!(ours, Err(Error::Unsupported { .. })) && spec.input.embedding.take().is_some() {
        talk("  without an embedding");
        ours = engine.open(device, &spec, &training);
    }
    if let Err(Error::Unsupported { what, .. }) = &ours {
        talk(&format!("  without {what}"));
        training.optimizer = Optimizer::AdamW { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1 };
        ours = engine.open(device, &spec, &training);
    }
    let activations: Vec<String> = spec.layers.iter().map(|layer| layer.nonlinearity().to_string()).collect();
    let inputs = if bytes { "bytes" } else { "reals" };
    let what = format!("{} {} {}", spec.widths(), activations.join(" "), spec.head);
    talk(&format!("  {what}, {samples} samples of {inputs}, batch {batch}, {training:?}"));
    let theirs = Reference.open(device, &spec, &training).map_err(said)?;
    let ours = ours.map_err(said)?;
    Round { dice, spec, training, bytes, batch, samples, ours, theirs }.calls(talk)
}

#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` passes")]
fn said(error: Error) -> String {
    error.to_string()
}

struct Dice(Random);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0.below(n as u64) as usize
    }

    /// True one time in `n`.
    fn rarely(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A number from 1 to `most`. Small numbers are as frequent as large ones.
    fn size(&mut self, most: usize) -> usize {
        let most = [8, 40, most][self.below(3)].min(most);
        1 + self.below(most)
    }

    fn uniform(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.0.uniform(-1.0, 1.0)).collect()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

struct Round {
    dice: Dice,
    spec: Spec,
    training: Training,
    bytes: bool,
    /// The usual batch size.
    batch: usize,
    /// Samples of the training data.
    samples: usize,
    ours: Box<dyn Session>,
    theirs: Box<dyn Session>,
}

/// The steps of a span.
struct Steps {
    order: Vec<u32>,
    batch_size: usize,
    rates: Vec<f32>,
    decay: Vec<f32>,
    dropout: Vec<f32>,
}

impl Steps {
    fn span(&self, first_step: u64) -> Span<'_> {
        let Self { order, batch_size, rates, decay, dropout } = self;
        Span { first_step, order, batch_size: *batch_size, learning_rate: rates, decay, dropout }
    }
}

impl Round {
    fn calls(mut self, talk: &mut dyn FnMut(&str)) -> Played {
        self.load(Split::Train, self.samples)?;
        let samples = 1 + self.dice.below(self.samples);
        self.load(Split::Validation, samples)?;
        self.set_state()?;
        for call in 0..4 + self.dice.below(6) {
            let which = self.dice.below(16);
            let name = match which {
                0..=4 => "train",
                5..=10 => "evaluate_then_train",
                11 => "evaluate",
                12 => "predict",
                13 => "gradient",
                14 => "set_state",
                _ => "load",
            };
            talk(&format!("  {call}: {name}"));
            match which {
                0..=4 => self.train()?,
                5..=10 => self.turn()?,
                11 => {
                    let split = self.split();
                    let wanted = self.theirs.evaluate(split).map_err(said)?;
                    same_evaluation(name, &wanted, &self.ours.evaluate(split).map_err(said)?)?;
                }
                12 => self.predict()?,
                13 => self.gradient()?,
                14 => self.set_state()?,
                _ => {
                    self.samples = 1 + self.dice.below(self.samples + 20);
                    self.load(Split::Train, self.samples)?;
                }
            }
            let wanted = self.theirs.state().map_err(said)?;
            same_state(name, &wanted, &self.ours.state().map_err(said)?)?;
            // Nothing can be learned from numbers that are not finite.
            let all = wanted.layers.iter().chain(wanted.slots.iter().flat_map(|slot| &slot.layers));
            let embedded = wanted.embedding.iter().chain(wanted.slots.iter().flat_map(|slot| &slot.embedding));
            let all = all.flat_map(Parameters::parts).map(|(_, values)| values).chain(embedded.map(Vec::as_slice));
            if !all.flatten().all(|w| w.abs() < 1e9) {
                self.set_state()?;
            }
        }
        Ok(())
    }

    fn split(&mut self) -> Split {
        self.dice.pick(&[Split::Train, Split::Validation])
    }

    fn load(&mut self, split: Split, samples: usize) -> Played {
        let data = data(&mut self.dice, &self.spec, self.bytes, samples).map_err(said)?;
        self.theirs.load(split, &data).map_err(said)?;
        self.ours.load(split, &data).map_err(said)
    }

    /// Other weights, at any step, with fresh slots or other ones; or what the session has itself.
    fn set_state(&mut self) -> Played {
        let seed = self.dice.below(1000) as u32;
        let fresh = State::initial(&self.spec, &Training::default().seed(seed)).map_err(said)?;
        let mut state = State { step: self.dice.below(1000) as u64, slots: Vec::new(), ..fresh };
        match self.dice.below(3) {
            0 => {
                state = state.with_slots(&self.training);
                for slot in state.slots.iter_mut().flat_map(|slot| &mut slot.layers) {
                    // Mean squares are not negative.
                    let mut draw = || self.dice.0.uniform(0.0, 0.1);
                    let values = slot.weight.values_mut().iter_mut().chain(&mut slot.bias).chain(&mut slot.gain);
                    values.for_each(|value| *value = draw());
                }
                for value in state.slots.iter_mut().flat_map(|slot| &mut slot.embedding).flatten() {
                    *value = self.dice.0.uniform(0.0, 0.1);
                }
            }
            1 if self.theirs.state().is_ok() => state = self.ours.state().map_err(said)?,
            _ => {}
        }
        self.theirs.set_state(&state).map_err(said)?;
        self.ours.set_state(&state).map_err(said)
    }

    /// A span. It usually has as many steps as the last one. Sometimes it has one step, or more than can be recorded at
    /// once. Factors of decay and dropout are for each step, or none.
    fn steps(&mut self) -> Steps {
        let dice = &mut self.dice;
        let batch_size = if dice.rarely(6) { 1 + dice.below(2 * self.samples) } else { self.batch };
        let affordable = (4_000_000 / self.spec.parameters()).clamp(70, 1000);
        let most = [batch_size, self.samples, batch_size * 100][dice.below(3)].clamp(1, affordable);
        let count = if dice.rarely(3) { most } else { 1 + dice.below(most) };
        let order: Vec<u32> = (0..count).map(|_| dice.below(self.samples) as u32).collect();
        let steps = order.len().div_ceil(batch_size);
        let mut rates: Vec<f32> = (0..steps).map(|_| dice.0.uniform(0.001, 0.1)).collect();
        if dice.rarely(12) {
            let wild = dice.below(steps);
            rates[wild] = 1e30;
        }
        let mut factors = || -> Vec<f32> {
            let steps = if dice.rarely(3) { steps } else { 0 };
            (0..steps).map(|_| if dice.rarely(4) { 0.0 } else { dice.0.uniform(0.0, 1.0) }).collect()
        };
        let (decay, dropout) = (factors(), factors());
        Steps { order, batch_size, rates, decay, dropout }
    }

    fn train(&mut self) -> Played {
        let steps = self.steps();
        let span = steps.span(self.theirs.state().map_err(said)?.step);
        let wanted = self.theirs.train(&span).map_err(said)?;
        same_report("train", &wanted, &self.ours.train(&span).map_err(said)?)
    }

    fn turn(&mut self) -> Played {
        let steps = self.steps();
        let split = self.split();
        let flow = self.dice.pick(&[Some(Flow::Continue), Some(Flow::Continue), Some(Flow::Stop), None]);
        let looks = self.dice.rarely(2);
        let before = self.theirs.state().map_err(said)?;
        let span = steps.span(before.step);
        let unwanted = || Error::mismatch("nobody wants the span", "leave it");
        let [wanted, found] = [&mut self.theirs, &mut self.ours].map(|session| {
            let mut heard = None;
            let taken = session.evaluate_then_train(split, &span, &mut |evaluation, state| {
                heard = Some((evaluation, if looks { Some(state()?) } else { None }));
                flow.ok_or_else(unwanted)
            });
            (heard, taken.map_err(said))
        });
        match (&wanted.1, &found.1) {
            (Ok(Some(wanted)), Ok(Some(found))) => same_report("evaluate_then_train", wanted, found)?,
            (Ok(None), Ok(None)) => {}
            (Err(wanted), Err(found)) if wanted == found => {}
            (wanted, found) => return Err(format!("{found:?} instead of {wanted:?}")),
        }
        let (Some(wanted), Some(found)) = (wanted.0, found.0) else { return Err("nothing was judged".into()) };
        same_evaluation("evaluate_then_train", &wanted.0, &found.0)?;
        match (wanted.1, found.1) {
            (Some(wanted), Some(_)) if wanted.step != before.step => Err("another step was judged".into()),
            (Some(wanted), Some(found)) => same_state("what was judged", &wanted, &found),
            _ => Ok(()),
        }
    }

    fn predict(&mut self) -> Played {
        let rows = 1 + self.dice.below(200);
        let bytes = self.dice.rarely(4);
        let inputs = inputs(&mut self.dice, &self.spec, bytes, rows).map_err(said)?;
        let [mut wanted, mut found] = [(); 2].map(|()| Matrix::zeros(rows, self.spec.outputs()));
        self.theirs.predict(&inputs, &mut wanted).map_err(said)?;
        self.ours.predict(&inputs, &mut found).map_err(said)?;
        same("a prediction", wanted.values(), found.values())
    }

    fn gradient(&mut self) -> Played {
        let count = 1 + self.dice.below(self.samples);
        let samples: Vec<u32> = (0..count).map(|_| self.dice.below(self.samples) as u32).collect();
        match (self.theirs.gradient(&samples), self.ours.gradient(&samples)) {
            (Ok(wanted), Ok(found)) => same_layers("gradient", &wanted, &found),
            (Err(wanted), Err(found)) if wanted.to_string() == found.to_string() => Ok(()),
            (wanted, found) => Err(format!("gradient: {:?} instead of {:?}", found.err(), wanted.err())),
        }
    }
}

fn network(dice: &mut Dice) -> Spec {
    let depth = if dice.rarely(3) { 1 + dice.below(10) } else { 1 + dice.below(4) };
    let features = dice.size(200);
    let widest = if depth > 4 { 70 } else { 200 };
    let mut mlp = Mlp::new(features);
    // A network with gains is never trained by plain gradient descent alone, for which GPUs have more methods.
    let learns = dice.rarely(2);
    for _ in 1..depth {
        let activation = dice.pick(Activation::ALL);
        let learned = match activation {
            _ if !learns => Learned::Nothing,
            Activation::LeakyRelu(_) if dice.rarely(2) => Learned::Slope,
            Activation::Identity => Learned::Nothing,
            _ => dice.pick(&[Learned::Nothing, Learned::Blend]),
        };
        mlp = mlp.hidden(&[dice.size(widest)], Nonlinearity { activation, learned });
    }
    let outputs = if dice.rarely(6) { 1 + dice.below(300) } else { dice.pick(&[1, 2, 3, 10, 31, 32, 33, 64, 70]) };
    let spec = match dice.below(7) {
        0 => mlp.values(outputs),
        1 => mlp.binary(),
        2 => mlp.classes(outputs.max(2)),
        3 => mlp.counts(outputs),
        4 => mlp.gaussian(outputs.div_ceil(2)),
        5 => mlp.labels(outputs),
        _ => Spec { head: Head::LogSoftmax, ..mlp.classes(outputs.max(2)) },
    };
    let embedding = dice.rarely(4).then(|| embedding(dice, features));
    let categories = embedding.as_ref().map_or(0, |(_, categories)| *categories);
    // Categories are not normalised.
    let of_features = |dice: &mut Dice, plain: f32| {
        let mut values = dice.uniform(features);
        values[features - categories..].fill(plain);
        values
    };
    let mut spec = spec.normalized(match dice.below(4) {
        0 => Normalization::None,
        1 if categories == 0 => Normalization::pixels(0.1307, 0.3081),
        2 => Normalization::PerFeature { scale: of_features(dice, 1.0), shift: vec![0.0; features] },
        _ => Normalization::PerFeature { scale: of_features(dice, 1.0), shift: of_features(dice, 0.0) },
    });
    spec.input.embedding = embedding.map(|(embedding, _)| embedding);
    spec
}

/// An embedding of so many features, and how many of the last ones are categories.
fn embedding(dice: &mut Dice, features: usize) -> (Embedding, usize) {
    let categories = dice.below(features);
    let (mut blocks, mut rest) = (Vec::new(), features - categories);
    while rest > 0 {
        let count = 1 + dice.below(rest);
        blocks.push(match dice.below(4) {
            0 => Block::Plain { features: count },
            1 => Block::Piecewise { features: count, bins: dice.size(40), outputs: 2 + dice.below(5) },
            _ => Block::Periodic { features: count, frequencies: dice.size(40), outputs: 2 + dice.below(5) },
        });
        rest -= count;
    }
    rest = categories;
    while rest > 0 {
        let count = 1 + dice.below(rest);
        blocks.push(Block::Category { features: count, size: dice.size(20) });
        rest -= count;
    }
    (Embedding { blocks, scaled: dice.rarely(2) }, categories)
}

/// The numbers of categories of an embedding whose other features come first.
fn categories_of(embedding: &Embedding) -> Vec<usize> {
    let categories = |block: &Block| if let Block::Category { features, .. } = block { Some(*features) } else { None };
    embedding.blocks.iter().filter_map(categories).collect()
}

/// Some numbers, and the codes of categories that make up the other features.
fn mixed(dice: &mut Dice, spec: &Spec, samples: usize) -> Result<Mixed> {
    let features = spec.input.features;
    let mut categories = spec.input.embedding.as_ref().map(categories_of).unwrap_or_default();
    let mut count = features - categories.iter().sum::<usize>();
    // Now and then they are others than the network embeds.
    if categories.is_empty() || dice.rarely(3) {
        count = dice.below(features + 1);
        categories.clear();
        let mut rest = features - count;
        while rest > 0 {
            categories.push(1 + dice.below(rest));
            rest -= categories[categories.len() - 1];
        }
    }
    let code = |dice: &mut Dice, categories: usize| match dice.below(categories + 1) {
        code if code == categories => Mixed::NONE,
        code => code as u32,
    };
    let columns = 0..samples * categories.len();
    let codes = columns.map(|i| code(dice, categories[i % categories.len()])).collect();
    Mixed::new(count, dice.uniform(samples * count), &categories, codes)
}

fn inputs(dice: &mut Dice, spec: &Spec, bytes: bool, samples: usize) -> Result<Inputs> {
    let inputs = dice.uniform(samples * spec.input.features);
    Ok(if bytes {
        inputs.iter().map(|x| (x * 255.0).max(0.0) as u8).collect::<Vec<_>>().into()
    } else if dice.rarely(3) {
        mixed(dice, spec, samples)?.into()
    } else {
        inputs.into()
    })
}

fn data(dice: &mut Dice, spec: &Spec, bytes: bool, samples: usize) -> Result<Dataset> {
    let (features, outputs) = (spec.input.features, spec.targets());
    let inputs = inputs(dice, spec, bytes, samples)?;
    let targets = match spec.classes() {
        0 => {
            let mut values = dice.uniform(samples * outputs);
            match spec.head {
                Head::Poisson => values.iter_mut().for_each(|t| *t = (4.0 * t.abs()).round()),
                Head::MultiLabel => values.iter_mut().for_each(|t| *t = f32::from(u8::from(*t > 0.0))),
                Head::Regression | Head::Gaussian | Head::Binary | Head::Logits | Head::LogSoftmax => {}
            }
            Targets::Values { values: values.into(), outputs }
        }
        classes => Targets::Classes { labels: (0..samples).map(|_| dice.below(classes) as u32).collect(), classes },
    };
    let data = Dataset::new(inputs, features, targets)?;
    if !dice.rarely(3) {
        return Ok(data);
    }
    let weights: Vec<f32> = (0..samples).map(|i| if i == 0 { 1.0 } else { dice.pick(&[0.0, 0.5, 1.0, 3.0]) }).collect();
    data.with_weights(weights)
}

/// A training with a loss that fits the network, an optimiser, and what holds it back.
fn training(dice: &mut Dice, spec: &Spec) -> Result<Training> {
    let loss = match dice.pick(Loss::fitting(spec.head)) {
        "cross-entropy" => "cross-entropy:smoothing=0.1",
        "binary-cross-entropy" => "binary-cross-entropy:pos_weight=3",
        "huber" => "huber:delta=0.4",
        loss => loss,
    };
    let balanced = spec.classes() > 0 && dice.rarely(3);
    let class_weights = if balanced { ClassWeights::Balanced } else { ClassWeights::None };
    let plain = Training::default().loss(loss.parse()?).class_weights(class_weights);
    // Half the rounds are plain gradient descent, for which there are more methods.
    if dice.rarely(2) {
        return Ok(plain);
    }
    let optimizer = match dice.pick(&Optimizer::names().collect::<Vec<_>>()) {
        "sgd" => dice.pick(&[
            "sgd",
            "sgd:weight_decay=0.05",
            "sgd:momentum=0.9,dampening=0.2",
            "sgd:momentum=0.8,nesterov=1",
        ]),
        "rmsprop" => dice.pick(&[
            "rmsprop:weight_decay=0.01",
            "rmsprop:momentum=0.9",
            "rmsprop:centered=1,eps=1e-3",
            "rmsprop:centered=1,eps=1e-3,momentum=0.5",
        ]),
        name => name,
    };
    // Nothing of this goes with an embedding.
    let embeds = spec.input.embedding.is_some();
    let optimizer = if embeds && optimizer.contains("muon") { "nadam" } else { optimizer };
    let dropout = embeds && dice.rarely(2);
    let mut set = |values: &[f32]| if !embeds && dice.rarely(3) { dice.pick(values) } else { 0.0 };
    let (clip_norm, clip_value) = (set(&[0.01, 1.0, 1e6]), set(&[0.01, 1.0]));
    let training = Training {
        dropout: if dropout { 0.3 } else { set(&[0.1, 0.5, 0.97]) },
        input_dropout: set(&[0.1, 0.5]),
        input_noise: set(&[0.01, 1.0]),
        l1: set(&[1e-3]),
        l2: set(&[1e-2]),
        clip_norm,
        clip_value: if clip_norm > 0.0 { 0.0 } else { clip_value },
        max_norm: set(&[0.1, 1.0]),
        ema: set(&[0.5, 0.99]),
        seed: dice.below(1000) as u32,
        ..plain.optimizer(optimizer.parse()?)
    };
    Ok(Training {
        lr_factors: dice
            .pick(&["none", "none", "biases=0.5,gains=2", "first=2,last=2", "numbers=0.1,categories=2,scales=6"])
            .parse()?,
        decay_factors: dice.pick(&["none", "none", "biases=0"]).parse()?,
        parametrization: if dice.rarely(4) { Parametrization::Ntk } else { Parametrization::Standard },
        ..training
    })
}

/// Checks that two slices have the same bits. All NaNs count as equal.
fn same(what: &str, wanted: &[f32], found: &[f32]) -> Played {
    let differ = |(w, f): (&f32, &f32)| w.to_bits() != f.to_bits() && !(w.is_nan() && f.is_nan());
    match wanted.iter().zip(found).position(differ) {
        None if wanted.len() == found.len() => Ok(()),
        None => Err(format!("{what}: {} values instead of {}", found.len(), wanted.len())),
        Some(i) => Err(format!("{what}, value {i}: {:?} instead of {:?}", found[i], wanted[i])),
    }
}

fn same_layers(what: &str, wanted: &[Parameters], found: &[Parameters]) -> Played {
    if wanted.len() != found.len() {
        return Err(format!("{what}: {} layers instead of {}", found.len(), wanted.len()));
    }
    for (l, (wanted, found)) in wanted.iter().zip(found).enumerate() {
        if wanted.parts().count() != found.parts().count() {
            return Err(format!("{what}: layer {l} has other parts"));
        }
        for ((part, wanted), (_, found)) in wanted.parts().zip(found.parts()) {
            same(&format!("{what}: {part:?} of layer {l}"), wanted, found)?;
        }
    }
    Ok(())
}

fn same_tensors(what: &str, wanted: &[Vec<f32>], found: &[Vec<f32>]) -> Played {
    if wanted.len() != found.len() {
        return Err(format!("{what}: {} tensors of the embedding instead of {}", found.len(), wanted.len()));
    }
    let mut tensors = wanted.iter().zip(found).enumerate();
    tensors.try_for_each(|(t, (wanted, found))| same(&format!("{what}: tensor {t} of the embedding"), wanted, found))
}

fn same_state(what: &str, wanted: &State, found: &State) -> Played {
    same_layers(what, &wanted.layers, &found.layers)?;
    same_tensors(what, &wanted.embedding, &found.embedding)?;
    let names = |state: &State| state.slots.iter().map(|slot| slot.name.clone()).collect::<Vec<_>>();
    if (names(wanted), wanted.step) != (names(found), found.step) {
        let (wanted, found) = ((names(wanted), wanted.step), (names(found), found.step));
        return Err(format!("{what}: slots and step {found:?} instead of {wanted:?}"));
    }
    let mut slots = wanted.slots.iter().zip(&found.slots);
    slots.try_for_each(|(w, f)| {
        let what = format!("{what}, {}", w.name);
        same_layers(&what, &w.layers, &f.layers)?;
        same_tensors(&what, &w.embedding, &f.embedding)
    })
}

fn same_report(what: &str, wanted: &Report, found: &Report) -> Played {
    if wanted == found { Ok(()) } else { Err(format!("{what}: {found:?}\ninstead of {wanted:?}")) }
}

fn same_evaluation(what: &str, wanted: &Evaluation, found: &Evaluation) -> Played {
    let same_loss = wanted.loss.to_bits() == found.loss.to_bits() || wanted.loss.is_nan() && found.loss.is_nan();
    if same_loss && wanted.confusion == found.confusion {
        return Ok(());
    }
    Err(format!("{what}: {found:?}\ninstead of {wanted:?}"))
}
