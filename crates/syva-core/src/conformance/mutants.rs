//! Engines that are wrong on purpose. The kit must reject them.

use crate::Result;
use crate::arithmetic::Number;
use crate::data::{Dataset, Inputs, Split};
use crate::engine::{DeviceId, DeviceInfo, Engine, Evaluation, Flow, Judged, Report, Session, Span};
use crate::groups::{Factors, Parametrization};
use crate::ops::{Loss, Optimizer};
use crate::reference::{BLOCK, Network, ReferenceSession};
use crate::spec::Spec;
use crate::state::{Matrix, Parameters, State};
use crate::training::Training;
use crate::weighting::{ClassWeights, Weighting};

/// A fault of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Ascends the gradient instead of descending it.
    FlippedSign,
    /// Updates a layer's weights before its input gradient is computed from them.
    UpdateBeforeInputGradient,
    /// Leaves a NaN in one weight.
    NotANumber,
    /// Sums over the batch in descending order.
    SwappedOrder,
    /// Sums over the batch in one chain, as version 1 of the contract did.
    OneChain,
    /// Adds the blocks of a batch one after the other, not as a tree.
    BlocksInSequence,
    /// Leaves the last prediction unwritten.
    UnwrittenOutput,
    /// Begins a span before the callback has run, and gives the callback the state after the span.
    JudgedTooLate,
    /// Begins a span before the callback has run, and does not undo it.
    NotTakenBack,
    /// Gives the inspected gradient with the other sign.
    FlippedGradient,
    /// Multiplies and adds in f64, then rounds to f32, so that predictions are rounded twice. In a network with one
    /// input, only [`operands`](super::operands) shows that.
    RoundedTwice,
    /// Trains with the head's own loss. Only [`loss_cases`](super::loss_cases) show that and the next one.
    OtherLoss,
    /// Gives all samples the same weight.
    NoWeights,
    /// Ignores a setting of the training: the one at this place in [`IGNORED`].
    Ignores(usize),
    /// Ignores what schedules make of the weight decay and of dropout.
    NoFactors,
}

/// Makes a setting what it is by default.
type Reset = fn(&mut Training);

/// Settings that an engine could ignore: their names, and what makes each of them the default. Only trainings that have the
/// setting show it.
pub const IGNORED: &[(&str, Reset)] = &[
    ("optimizer", |t| t.optimizer = Optimizer::SGD),
    ("dropout", |t| t.dropout = 0.0),
    ("seed of dropout", |t| t.seed += u32::from(t.dropout > 0.0)),
    ("input_dropout", |t| t.input_dropout = 0.0),
    ("input_noise", |t| t.input_noise = 0.0),
    ("l1", |t| t.l1 = 0.0),
    ("l2", |t| t.l2 = 0.0),
    ("clip_norm", |t| t.clip_norm = 0.0),
    ("clip_value", |t| t.clip_value = 0.0),
    ("max_norm", |t| t.max_norm = 0.0),
    ("ema", |t| t.ema = 0.0),
    ("lr_factors", |t| t.lr_factors = Factors::default()),
    ("decay_factors", |t| t.decay_factors = Factors::default()),
    ("parametrization", |t| t.parametrization = Parametrization::Standard),
];

/// One mutant for each [`Fault`] that a case can show. The kit must reject each of them on some case.
#[must_use]
pub fn mutants() -> Vec<Mutant> {
    use Fault::{
        BlocksInSequence, FlippedGradient, FlippedSign, JudgedTooLate, NotANumber, NotTakenBack, OneChain,
        SwappedOrder, UnwrittenOutput, UpdateBeforeInputGradient,
    };
    let steps = [FlippedSign, UpdateBeforeInputGradient, NotANumber, UnwrittenOutput];
    let sums = [SwappedOrder, OneChain, BlocksInSequence];
    steps.into_iter().chain(sums).chain([JudgedTooLate, NotTakenBack, FlippedGradient]).map(Mutant).collect()
}

/// The reference with a [`Fault`].
#[derive(Clone, Copy, Debug)]
pub struct Mutant(pub Fault);

struct MutantSession {
    fault: Fault,
    spec: Spec,
    training: Training,
    train: Option<Dataset>,
    inner: ReferenceSession,
}

impl Engine for Mutant {
    fn name(&self) -> &'static str {
        "mutant"
    }

    fn devices(&self) -> Vec<DeviceInfo> {
        Vec::new()
    }

    fn open(&self, _device: &DeviceId, spec: &Spec, training: &Training) -> Result<Box<dyn Session>> {
        let (spec, mut training) = (spec.clone(), training.clone());
        match self.0 {
            Fault::OtherLoss => training.loss = Loss::Auto,
            Fault::NoWeights => training.class_weights = ClassWeights::None,
            Fault::Ignores(setting) => IGNORED[setting].1(&mut training),
            _ => {}
        }
        let inner = ReferenceSession::new(&spec, &training)?;
        Ok(Box::new(MutantSession { fault: self.0, spec, training, train: None, inner }))
    }
}

impl Session for MutantSession {
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()> {
        if self.fault == Fault::NoWeights {
            let even = Dataset::new(data.inputs().clone(), data.features(), data.targets().clone())?;
            return self.inner.load(split, &even);
        }
        if split == Split::Train {
            self.train = Some(data.clone());
        }
        self.inner.load(split, data)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.inner.set_state(state)
    }

    fn state(&mut self) -> Result<State> {
        let mut state = self.inner.state()?;
        if self.fault == Fault::NotANumber {
            state.layers[0].weight.values_mut()[0] = f32::NAN;
        }
        Ok(state)
    }

    fn train(&mut self, span: &Span<'_>) -> Result<Report> {
        match self.fault {
            Fault::FlippedSign => {
                let learning_rate: Vec<f32> = span.learning_rate.iter().map(|rate| -rate).collect();
                self.inner.train(&Span { learning_rate: &learning_rate, ..*span })
            }
            Fault::NoFactors => self.inner.train(&Span { decay: &[], dropout: &[], ..*span }),
            Fault::SwappedOrder => {
                let order: Vec<u32> =
                    span.order.chunks(span.batch_size).flat_map(|b| b.iter().rev().copied()).collect();
                self.inner.train(&Span { order: &order, ..*span })
            }
            Fault::UpdateBeforeInputGradient | Fault::OneChain | Fault::BlocksInSequence => {
                self.train_layer_by_layer(span)
            }
            _ => self.inner.train(span),
        }
    }

    fn gradient(&mut self, samples: &[u32]) -> Result<Vec<Parameters>> {
        let mut gradient = self.inner.gradient(samples)?;
        if self.fault == Fault::FlippedGradient {
            gradient.iter_mut().flat_map(|layer| &mut layer.bias).for_each(|value| *value = -*value);
        }
        Ok(gradient)
    }

    fn evaluate(&mut self, split: Split) -> Result<Evaluation> {
        self.inner.evaluate(split)
    }

    fn evaluate_then_train(
        &mut self,
        split: Split,
        span: &Span<'_>,
        judged: &mut Judged<'_>,
    ) -> Result<Option<Report>> {
        let (evaluation, before) = (self.evaluate(split)?, self.state()?);
        let report = self.train(span)?;
        let fetched = if self.fault == Fault::JudgedTooLate { self.state()? } else { before.clone() };
        let flow = judged(evaluation, &mut || Ok(fetched.clone()));
        if !matches!(flow, Ok(Flow::Continue)) && self.fault != Fault::NotTakenBack {
            self.set_state(&before)?;
        }
        Ok((flow? == Flow::Continue).then_some(report))
    }

    fn predict(&mut self, inputs: &Inputs, outputs: &mut Matrix) -> Result<()> {
        if self.fault == Fault::RoundedTwice {
            let network = Network::<f64>::new(&self.spec, &self.training, &self.inner.state()?);
            let x: Vec<f64> = (0..inputs.len()).map(|i| f64::from(inputs.get(i))).collect();
            let z = network.forward(&x).pop().expect("a network has layers");
            outputs.values_mut().iter_mut().zip(z).for_each(|(output, z)| *output = z as f32);
            return Ok(());
        }
        let last = outputs.values().last().copied();
        self.inner.predict(inputs, outputs)?;
        if let (Fault::UnwrittenOutput, Some(old), Some(new)) = (self.fault, last, outputs.values_mut().last_mut()) {
            *new = old;
        }
        Ok(())
    }
}

impl MutantSession {
    /// Takes steps layer by layer: each layer is updated as soon as its gradients are known, or, for one fault, before its
    /// input gradient is computed.
    fn train_layer_by_layer(&mut self, span: &Span<'_>) -> Result<Report> {
        let data = self.train.clone().expect("loaded");
        let before = self.inner.state()?;
        let report = self.inner.train(span)?;
        let weighting = Weighting::of_training(&self.training.class_weights, &data);
        let mut network = Network::<f32>::new(&self.spec, &self.training, &before);
        for (samples, rates) in span.batches() {
            let features = data.features();
            let row = |&sample: &u32| sample as usize * features..(sample as usize + 1) * features;
            let x: Vec<f32> = samples.iter().flat_map(row).map(|i| data.inputs().get(i)).collect();
            let pass = network.pass(&x);
            let judged = network.judge(&pass.h[pass.h.len() - 1], data.targets(), samples, &weighting);
            let (mut d, mut by_gain) = (judged.d, Vec::new());
            for l in (0..pass.h.len()).rev() {
                let below = if l == 0 { &x } else { &pass.h[l - 1] };
                let (gw, gb) = match self.fault {
                    Fault::OneChain => self.weight_gradient(l, &d, below, one_chain),
                    Fault::BlocksInSequence => self.weight_gradient(l, &d, below, in_sequence),
                    _ => network.weight_gradient(l, &d, below),
                };
                let gradient = [gw, gb, std::mem::take(&mut by_gain)];
                let early = self.fault == Fault::UpdateBeforeInputGradient;
                if early {
                    network.update(l, &gradient, &rates);
                }
                if l > 0 {
                    (d, by_gain) = network.input_gradient(l, &d, &pass);
                }
                if !early {
                    network.update(l, &gradient, &rates);
                }
            }
        }
        let wrong = State { step: before.step + span.steps() as u64, ..network.state() };
        self.inner.set_state(&wrong)?;
        Ok(report)
    }

    /// A layer's gradients, with another sum over the batch.
    fn weight_gradient(&self, l: usize, d: &[f32], x: &[f32], sum: Sum) -> (Vec<f32>, Vec<f32>) {
        let (fan_in, units) = (self.spec.fan_in(l), self.spec.layers[l].units);
        let batch = x.len() / fan_in;
        let bias: Vec<f32> = (0..units).map(|j| sum(batch, &|sum, b| sum + d[b * units + j])).collect();
        let weight = |i: usize| {
            let (j, k) = (i / fan_in, i % fan_in);
            let (scale, shift) = if l == 0 { self.spec.input.normalization.of(k) } else { (1.0, 0.0) };
            let g = sum(batch, &|g, b| d[b * units + j].fma(x[b * fan_in + k] * scale, g));
            if l == 0 { shift.fma(bias[j], g) + 0.0 } else { g }
        };
        ((0..units * fan_in).map(weight).collect(), bias)
    }
}

/// A sum over the samples of a batch, from a function that adds the term of one sample.
type Sum = fn(usize, &dyn Fn(f32, usize) -> f32) -> f32;

fn one_chain(batch: usize, add: &dyn Fn(f32, usize) -> f32) -> f32 {
    (0..batch).fold(0.0, add)
}

fn in_sequence(batch: usize, add: &dyn Fn(f32, usize) -> f32) -> f32 {
    let block = |first: usize| (first..batch.min(first + BLOCK)).fold(0.0, add);
    (0..batch).step_by(BLOCK).map(block).reduce(|sum, block| sum + block).unwrap_or(0.0)
}
