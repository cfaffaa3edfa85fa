//! Random networks, data, cards and calls. After each call, the session's results and state must equal the reference's,
//! to the bit.
//!
//! Each seed is a round: a network of up to nine layers, a way to train it, data, a card (its processors, its memory, the stream that goes
//! ahead), possibly a forced method of taking steps, and a handful of calls. By default there are a few rounds. The
//! environment variables [`FIRST`] and [`ROUNDS`] set the first seed and the number of rounds. If a round fails, its
//! seed is the last one printed.

use libtest_mimic::Failed;
use syva_core::data::{Dataset, Inputs, Split, Targets};
use syva_core::random::{Random, Stream};
use syva_core::reference::Reference;
use syva_core::trainer::Flow;
use syva_core::{
    Activation, ClassWeights, Engine, Error, Evaluation, Head, Loss, Matrix, Mlp, Normalization, Optimizer, Parameters,
    Parametrization, Report, Session, Span, Spec, State, Training,
};
use syva_cuda::CudaEngine;

use super::{Outcome, card};

/// The environment variable with the first seed.
const FIRST: &str = "SYVA_EMULATED_SEED";
/// The environment variable with the number of rounds.
const ROUNDS: &str = "SYVA_EMULATED_ROUNDS";

pub fn calls() -> Outcome {
    let number = |name, otherwise| std::env::var(name).map_or(Ok(otherwise), |text| text.parse::<u32>());
    let (first, rounds) = (number(FIRST, 0)?, number(ROUNDS, 24)?);
    for seed in first..first + rounds {
        eprintln!("{FIRST}={seed}");
        if let Some(round) = Round::new(seed)? {
            round.play()?;
        }
    }
    Ok(())
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
    /// Whether the card is so small that it may refuse.
    scarce: bool,
    ours: Box<dyn Session>,
    theirs: Box<dyn Session>,
}

impl Round {
    /// `None` if the card is too small for the network.
    fn new(seed: u32) -> Result<Option<Self>, Failed> {
        let mut dice = Dice(Random::new(seed, Stream::Augmentation, 78));
        let spec = network(&mut dice);
        let training = training(&mut dice, &spec)?;
        let bytes = dice.rarely(2);
        let batch = [1, 1 + dice.below(8), 1 + dice.below(60), 1 + dice.below(300)][dice.below(4)];
        // As many as can be trained in a short time.
        let affordable = (2_000_000 / spec.parameters()).clamp(5, 300);
        let samples = 1 + dice.below(affordable);
        let scarce = dice.rarely(6);
        let memory = if scarce { 1_500_000 + dice.below(4_000_000) } else { 1 << 30 };
        let method = dice.pick(&["", "", "graph", "persistent", "cluster"]);
        let settings = [
            ("EMULATED_PROCESSORS", dice.pick(&[1, 4, 132, 1000])),
            ("EMULATED_AHEAD", dice.below(2)),
            ("EMULATED_CLUSTER", dice.pick(&[16, 16, 8, 0])),
            ("EMULATED_REFUSE", usize::from(method.is_empty() && dice.rarely(4))),
            ("EMULATED_MEMORY", memory),
        ];
        // SAFETY: the process has one thread.
        unsafe {
            for (name, value) in settings {
                std::env::set_var(name, value.to_string());
            }
            std::env::set_var("SYVA_CUDA", method);
            if method.is_empty() {
                std::env::remove_var("SYVA_CUDA");
            }
        }
        eprintln!(
            "  {} {} {training:?} {}, {samples} samples, batch {batch}, {settings:?} {method}",
            spec.widths(),
            spec.head,
            if bytes { "bytes" } else { "reals" }
        );
        let theirs = Reference.open(&card(), &spec, &training)?;
        let ours = match CudaEngine::new().open(&card(), &spec, &training) {
            Err(error) if error.to_string().contains("SYVA_CUDA") => {
                eprintln!("  {error}");
                // SAFETY: as above.
                unsafe { std::env::remove_var("SYVA_CUDA") };
                CudaEngine::new().open(&card(), &spec, &training)
            }
            opened => opened,
        };
        match ours {
            Ok(ours) => Ok(Some(Self { dice, spec, training, bytes, batch, samples, scarce, ours, theirs })),
            Err(error) if scarce && error.to_string().contains("the card's memory") => {
                eprintln!("  {error}");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn play(mut self) -> Outcome {
        match self.calls() {
            // A small card may refuse if it gives the reason.
            Err(failed)
                if self.scarce
                    && failed
                        .message()
                        .is_some_and(|said| said.contains("the card's memory") || said.contains("fit on the card")) =>
            {
                eprintln!("  {}", failed.message().unwrap_or_default());
                Ok(())
            }
            done => done,
        }
    }

    fn calls(&mut self) -> Outcome {
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
            eprintln!("  {call}: {name}");
            match which {
                0..=4 => self.train()?,
                5..=10 => self.turn()?,
                11 => {
                    let split = self.split();
                    same_evaluation(&self.theirs.evaluate(split)?, &self.ours.evaluate(split)?)?;
                }
                12 => self.predict()?,
                13 => self.gradient()?,
                14 => self.set_state()?,
                _ => {
                    self.samples = 1 + self.dice.below(self.samples + 20);
                    self.load(Split::Train, self.samples)?;
                }
            }
            let wanted = self.theirs.state()?;
            same_states(&wanted, &self.ours.state()?)?;
            // Nothing can be learned from numbers that are not finite.
            let all = wanted.layers.iter().chain(wanted.slots.iter().flat_map(|slot| &slot.layers));
            if !all.flat_map(|layer| layer.weight.values().iter().chain(&layer.bias)).all(|w| w.abs() < 1e9) {
                self.set_state()?;
            }
        }
        Ok(())
    }

    fn split(&mut self) -> Split {
        self.dice.pick(&[Split::Train, Split::Validation])
    }

    fn load(&mut self, split: Split, samples: usize) -> Outcome {
        let data = data(&mut self.dice, &self.spec, self.bytes, samples)?;
        self.theirs.load(split, &data)?;
        self.ours.load(split, &data)?;
        Ok(())
    }

    /// Other weights, at any step, with fresh slots or other ones; or what the session has itself.
    fn set_state(&mut self) -> Outcome {
        let seed = self.dice.below(1000) as u32;
        let fresh = State { slots: Vec::new(), ..State::initial(&self.spec, &Training::default().seed(seed))? };
        let mut state = State { step: self.dice.below(1000) as u64, ..fresh };
        match self.dice.below(3) {
            0 => {
                state = state.with_slots(&self.training);
                for slot in state.slots.iter_mut().flat_map(|slot| &mut slot.layers) {
                    // Mean squares are not negative.
                    let mut draw = || self.dice.0.uniform(0.0, 0.1);
                    slot.weight.values_mut().iter_mut().chain(&mut slot.bias).for_each(|value| *value = draw());
                }
            }
            1 if self.theirs.state().is_ok() => state = self.ours.state()?,
            _ => {}
        }
        self.theirs.set_state(&state)?;
        self.ours.set_state(&state)?;
        Ok(())
    }

    /// Factors of decay or dropout for each step of a span, or none.
    fn factors(&mut self, steps: usize) -> Vec<f32> {
        let steps = if self.dice.rarely(3) { steps } else { 0 };
        (0..steps).map(|_| if self.dice.rarely(4) { 0.0 } else { self.dice.0.uniform(0.0, 1.0) }).collect()
    }

    /// The order, batch size and learning rates of a span. It usually has as many steps as the last one. Sometimes it
    /// has one step, or more than can be recorded at once.
    fn span(&mut self) -> (Vec<u32>, usize, Vec<f32>) {
        let dice = &mut self.dice;
        let batch = if dice.rarely(6) { 1 + dice.below(2 * self.samples) } else { self.batch };
        let affordable = (4_000_000 / self.spec.parameters()).clamp(70, 1000);
        let most = [batch, self.samples, batch * 100][dice.below(3)].clamp(1, affordable);
        let count = if dice.rarely(3) { most } else { 1 + dice.below(most) };
        let order: Vec<u32> = (0..count).map(|_| dice.below(self.samples) as u32).collect();
        let steps = order.len().div_ceil(batch);
        let mut rates: Vec<f32> = (0..steps).map(|_| dice.0.uniform(0.001, 0.1)).collect();
        if dice.rarely(12) {
            let wild = dice.below(steps);
            rates[wild] = 1e30;
        }
        (order, batch, rates)
    }

    fn train(&mut self) -> Outcome {
        let (order, batch_size, rates) = self.span();
        let first_step = self.theirs.state()?.step;
        let (decay, dropout) = (self.factors(rates.len()), self.factors(rates.len()));
        let span =
            Span { first_step, order: &order, batch_size, learning_rate: &rates, decay: &decay, dropout: &dropout };
        same_report(&self.theirs.train(&span)?, &self.ours.train(&span)?)
    }

    fn turn(&mut self) -> Outcome {
        let (order, batch_size, rates) = self.span();
        let split = self.split();
        let flow = self.dice.pick(&[Some(Flow::Continue), Some(Flow::Continue), Some(Flow::Stop), None]);
        let looks = self.dice.rarely(2);
        let before = self.theirs.state()?;
        let span =
            Span { first_step: before.step, order: &order, batch_size, learning_rate: &rates, ..Span::default() };
        let unwanted = || Error::mismatch("nobody wants the span", "leave it");
        let [wanted, found] = [&mut self.theirs, &mut self.ours].map(|session| {
            let mut heard = None;
            let taken = session.evaluate_then_train(split, &span, &mut |evaluation, state| {
                heard = Some((evaluation, if looks { Some(state()?) } else { None }));
                flow.ok_or_else(unwanted)
            });
            (heard, taken.map_err(|error| error.to_string()))
        });
        match (&wanted.1, &found.1) {
            (Ok(Some(wanted)), Ok(Some(found))) => same_report(wanted, found)?,
            (Ok(None), Ok(None)) => {}
            (Err(wanted), Err(found)) if wanted == found => {}
            (wanted, found) => return Err(format!("{found:?} instead of {wanted:?}").into()),
        }
        let (Some(wanted), Some(found)) = (wanted.0, found.0) else { return Err("nothing was judged".into()) };
        same_evaluation(&wanted.0, &found.0)?;
        if let (Some(wanted), Some(found)) = (wanted.1, found.1) {
            same_states(&wanted, &found)?;
            if wanted.step != before.step {
                return Err("another step was judged".into());
            }
        }
        Ok(())
    }

    fn predict(&mut self) -> Outcome {
        let (rows, features) = (1 + self.dice.below(200), self.spec.input.features);
        let inputs = Matrix::new(rows, features, self.dice.uniform(rows * features))?;
        let [mut wanted, mut found] = [(); 2].map(|()| Matrix::zeros(rows, self.spec.outputs()));
        self.theirs.predict(&inputs, &mut wanted)?;
        self.ours.predict(&inputs, &mut found)?;
        same("a prediction", wanted.values(), found.values())
    }

    fn gradient(&mut self) -> Outcome {
        let samples: Vec<u32> =
            (0..=self.dice.below(self.samples)).map(|_| self.dice.below(self.samples) as u32).collect();
        match (self.theirs.gradient(&samples), self.ours.gradient(&samples)) {
            (Ok(wanted), Ok(found)) => same_layers(&wanted, &found),
            (Err(wanted), Err(found)) if wanted.to_string() == found.to_string() => Ok(()),
            (wanted, found) => Err(format!("{:?} instead of {:?}", found.err(), wanted.err()).into()),
        }
    }
}

fn network(dice: &mut Dice) -> Spec {
    let depth = if dice.rarely(3) { 1 + dice.below(9) } else { 1 + dice.below(4) };
    let features = dice.size(200);
    let widest = if depth > 4 { 70 } else { 200 };
    let mut mlp = Mlp::new(features);
    for _ in 1..depth {
        let activation = dice.pick(&[
            Activation::Identity,
            Activation::Relu,
            Activation::Sigmoid,
            Activation::Tanh,
            Activation::Silu,
            Activation::LeakyRelu(0.2),
        ]);
        mlp = mlp.hidden(&[dice.size(widest)], activation);
    }
    let outputs = dice.pick(&[1, 2, 3, 10, 31, 32, 33, 64, 70]);
    let spec = match dice.below(7) {
        0 => mlp.values(outputs),
        1 => mlp.binary(),
        2 => mlp.classes(outputs.max(2)),
        3 => mlp.counts(outputs),
        4 => mlp.gaussian(outputs.div_ceil(2)),
        5 => mlp.labels(outputs),
        _ => Spec { head: Head::LogSoftmax, ..mlp.classes(outputs.max(2)) },
    };
    spec.normalized(match dice.below(4) {
        0 => Normalization::None,
        1 => Normalization::pixels(0.1307, 0.3081),
        2 => Normalization::PerFeature { scale: dice.uniform(features), shift: vec![0.0; features] },
        _ => Normalization::PerFeature { scale: dice.uniform(features), shift: dice.uniform(features) },
    })
}

fn data(dice: &mut Dice, spec: &Spec, bytes: bool, samples: usize) -> Result<Dataset, Failed> {
    let (features, outputs) = (spec.input.features, spec.targets());
    let inputs = dice.uniform(samples * features);
    let inputs = if bytes {
        Inputs::U8(inputs.iter().map(|x| (x * 255.0).max(0.0) as u8).collect::<Vec<_>>().into())
    } else {
        Inputs::F32(inputs.into())
    };
    let targets = match spec.classes() {
        0 => {
            let mut values = dice.uniform(samples * outputs);
            match spec.head {
                Head::Poisson => values.iter_mut().for_each(|t| *t = (4.0 * t.abs()).round()),
                Head::MultiLabel => values.iter_mut().for_each(|t| *t = f32::from(u8::from(*t > 0.0))),
                _ => {}
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
    Ok(data.with_weights(weights)?)
}

/// A loss that fits the network, with its defaults, or one with a parameter of its own.
fn training(dice: &mut Dice, spec: &Spec) -> Result<Training, Failed> {
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
    let optimizer = match dice.pick(&Optimizer::names().filter(|name| *name != "muon").collect::<Vec<_>>()) {
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
    let mut set = |values: &[f32]| if dice.rarely(3) { dice.pick(values) } else { 0.0 };
    let (clip_norm, clip_value) = (set(&[0.01, 1.0, 1e6]), set(&[0.01, 1.0]));
    let training = Training {
        dropout: set(&[0.1, 0.5, 0.97]),
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
        lr_factors: dice.pick(&["none", "none", "biases=0.5", "first=2,last=2"]).parse()?,
        decay_factors: dice.pick(&["none", "none", "biases=0"]).parse()?,
        parametrization: if dice.rarely(4) { Parametrization::Ntk } else { Parametrization::Standard },
        ..training
    })
}

/// Checks that two slices have the same bits. All NaNs count as equal.
fn same(what: &str, wanted: &[f32], found: &[f32]) -> Outcome {
    let differ = |(w, f): (&f32, &f32)| w.to_bits() != f.to_bits() && !(w.is_nan() && f.is_nan());
    match wanted.iter().zip(found).position(differ) {
        None if wanted.len() == found.len() => Ok(()),
        None => Err(format!("{what}: {} values instead of {}", found.len(), wanted.len()).into()),
        Some(i) => Err(format!("{what}, value {i}: {:?} instead of {:?}", found[i], wanted[i]).into()),
    }
}

fn same_layers(wanted: &[Parameters], found: &[Parameters]) -> Outcome {
    for (l, (wanted, found)) in wanted.iter().zip(found).enumerate() {
        same(&format!("layer {l} weight"), wanted.weight.values(), found.weight.values())?;
        same(&format!("layer {l} bias"), &wanted.bias, &found.bias)?;
    }
    Ok(())
}

fn same_states(wanted: &State, found: &State) -> Outcome {
    same_layers(&wanted.layers, &found.layers)?;
    let names = |state: &State| state.slots.iter().map(|slot| slot.name.clone()).collect::<Vec<_>>();
    if (names(wanted), wanted.step) != (names(found), found.step) {
        return Err(format!(
            "{:?} at step {} instead of {:?} at {}",
            names(found),
            found.step,
            names(wanted),
            wanted.step
        )
        .into());
    }
    for (wanted, found) in wanted.slots.iter().zip(&found.slots) {
        same_layers(&wanted.layers, &found.layers)
            .map_err(|failed| format!("{}: {}", wanted.name, failed.message().unwrap_or_default()))?;
    }
    Ok(())
}

fn same_report(wanted: &Report, found: &Report) -> Outcome {
    if wanted == found { Ok(()) } else { Err(format!("{found:?}\ninstead of {wanted:?}").into()) }
}

fn same_evaluation(wanted: &Evaluation, found: &Evaluation) -> Outcome {
    let same_loss = wanted.loss.to_bits() == found.loss.to_bits() || wanted.loss.is_nan() && found.loss.is_nan();
    if same_loss && wanted.confusion == found.confusion {
        return Ok(());
    }
    Err(format!("{found:?}\ninstead of {wanted:?}").into())
}
