//! The reference engine: the arithmetic contract as a program. Scalar, one thread, written to be read.
//!
//! [`Network`] is generic over f32 and f64. In f32 it **is** the definition of every bit that any exact engine
//! computes. In f64 its gradients are compared with central differences, which checks the mathematics.
//!
//! Symbols: `x` are inputs, `s = scale·x`, `w[j,k]` weights, `z` pre-activations, `h` activations, `d` is the gradient
//! of the loss by `z`, and `g` that by `w`. `b` runs over the batch, `j` over a layer's units, `k` over its inputs.
#![allow(clippy::needless_range_loop, reason = "indices are the contract's own language")]

use std::ops::Range;

use crate::arithmetic::{Real, SoftmaxRow, binary_cross_entropy};
use crate::data::{Dataset, Split, Targets};
use crate::engine::{DeviceId, DeviceInfo, Engine, Evaluation, Report, Session, Span};
use crate::metrics::Confusion;
use crate::ops::{Reads, SLOTS, binary_gradient, softmax_gradient};
use crate::spec::{Head, Spec};
use crate::state::{Matrix, Parameters, Slot, State, check_finite};
use crate::{Error, Result};

/// A network's weights in `T`, and the parts of a training step as methods.
///
/// ```
/// use syva_core::{Activation::Relu, Mlp, State, reference::Network};
/// let spec = Mlp::new(2).hidden(&[3], Relu).values(1);
/// let network = Network::<f64>::new(&spec, &State::initial(&spec, 1)?);
/// let h = network.forward(&[0.5, -1.0]); // one sample: the hidden activations, then the output
/// assert_eq!((h[0].len(), h[1].len()), (3, 1));
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Network<T> {
    spec: Spec,
    step: u64,
    /// `weight[l]` are the weights `[units, fan_in]` of layer l.
    weight: Vec<Vec<T>>,
    bias: Vec<Vec<T>>,
    /// What the optimiser remembers of each layer's weights and biases.
    slots: Vec<[Tensors<T>; SLOTS]>,
    /// The scale of each feature.
    scale: Vec<T>,
    /// The shift of each feature.
    shift: Vec<T>,
}

/// Samples per block of a sum over the batch (rule 3).
pub const BLOCK: usize = 128;

/// The weights and biases of a layer, or numbers of their shape.
type Tensors<T> = (Vec<T>, Vec<T>);

/// What a batch left on its way through the layers.
#[derive(Clone, Debug)]
pub struct Pass<T> {
    /// The pre-activations of each layer, `[batch, units]`.
    pub z: Vec<Vec<T>>,
    /// The activations of each layer, `[batch, units]`. Those of the last layer are its z.
    pub h: Vec<Vec<T>>,
}

/// The losses of a batch, their gradient, and the predictions.
#[derive(Clone, Debug)]
pub struct Judgement<T> {
    /// The loss of each sample.
    pub losses: Vec<T>,
    /// The gradient of the mean loss by the outputs z, `[batch, outputs]`.
    pub d: Vec<T>,
    /// The predicted class of each sample; empty for regression.
    pub guesses: Vec<usize>,
}

impl<T: Real> Network<T> {
    /// A network with the weights of `state`, whose shape must be the spec's.
    #[must_use]
    pub fn new(spec: &Spec, state: &State) -> Self {
        let state = &state.clone().with_slots(spec);
        let real = |values: &[f32]| values.iter().map(|&v| T::from_f64(f64::from(v))).collect::<Vec<T>>();
        let (scale, shift): (Vec<f32>, Vec<f32>) =
            (0..spec.input.features).map(|k| spec.input.normalization.of(k)).unzip();
        Self {
            spec: spec.clone(),
            step: state.step,
            weight: state.layers.iter().map(|p| real(p.weight.values())).collect(),
            bias: state.layers.iter().map(|p| real(&p.bias)).collect(),
            slots: (0..spec.layers.len())
                .map(|l| {
                    std::array::from_fn(|n| {
                        let of = |parameters: &Parameters| (real(parameters.weight.values()), real(&parameters.bias));
                        state.slots.get(n).map_or_else(Default::default, |slot| of(&slot.layers[l]))
                    })
                })
                .collect(),
            scale: real(&scale),
            shift: real(&shift),
        }
    }

    /// The weights, rounded to f32.
    #[must_use]
    pub fn state(&self) -> State {
        let layers = (0..self.weight.len()).map(|l| self.parameters(l, &self.weight[l], &self.bias[l])).collect();
        let slot = |(n, name): (usize, &&str)| {
            let layers = self.slots.iter().enumerate().map(|(l, slots)| self.parameters(l, &slots[n].0, &slots[n].1));
            Slot { name: (*name).into(), layers: layers.collect() }
        };
        let slots = self.spec.optimizer.rule().slots().iter().enumerate().map(slot).collect();
        State { step: self.step, layers, slots }
    }

    /// The weights and biases of layer l, or numbers of their shape, rounded to f32.
    fn parameters(&self, l: usize, weight: &[T], bias: &[T]) -> Parameters {
        let narrow = |values: &[T]| values.iter().map(|&v| v.to_f64() as f32).collect::<Vec<f32>>();
        let mut rounded = Matrix::zeros(self.spec.layers[l].units, self.spec.fan_in(l));
        rounded.values_mut().copy_from_slice(&narrow(weight));
        Parameters { weight: rounded, bias: narrow(bias) }
    }

    /// The weights `[units, fan_in]` and biases of a layer, to be read or changed.
    pub fn layer_mut(&mut self, l: usize) -> (&mut [T], &mut [T]) {
        (&mut self.weight[l], &mut self.bias[l])
    }

    /// The activations of every layer for raw inputs `[batch, features]` (rules 2 and 5). The last entry is the output
    /// z.
    #[must_use]
    pub fn forward(&self, x: &[T]) -> Vec<Vec<T>> {
        self.pass(x).h
    }

    /// Like [`Network::forward`], but keeps the pre-activations too.
    #[must_use]
    pub fn pass(&self, x: &[T]) -> Pass<T> {
        let mut pass = Pass { z: Vec::new(), h: Vec::new() };
        for (l, layer) in self.spec.layers.iter().enumerate() {
            let z = if l == 0 { self.first_layer(x) } else { self.linear(l, &pass.h[l - 1]) };
            pass.h.push(z.iter().map(|&z| layer.activation.forward(z)).collect());
            pass.z.push(z);
        }
        pass
    }

    /// Rule 5: the first layer normalises its inputs, and passes over those that are 0.
    fn first_layer(&self, x: &[T]) -> Vec<T> {
        let (features, units) = (self.spec.input.features, self.spec.layers[0].units);
        let mut z = Vec::with_capacity(x.len() / features * units);
        for x in x.chunks(features) {
            for j in 0..units {
                let w = &self.weight[0][j * features..][..features];
                let mut sum = self.bias[0][j];
                for k in 0..features {
                    sum = self.shift[k].fma(w[k], sum);
                }
                for k in 0..features {
                    if x[k] != T::ZERO {
                        sum = (x[k] * self.scale[k]).fma(w[k], sum);
                    }
                }
                // Passing over a zero can only change the sign of a zero sum, and + 0 makes that sign positive.
                z.push(sum + T::ZERO);
            }
        }
        z
    }

    /// Rule 2: `z[b,j]` starts at the bias and runs over k in ascending order.
    fn linear(&self, l: usize, x: &[T]) -> Vec<T> {
        let (fan_in, units) = (self.spec.fan_in(l), self.spec.layers[l].units);
        let mut z = Vec::with_capacity(x.len() / fan_in * units);
        for x in x.chunks(fan_in) {
            for j in 0..units {
                let w = &self.weight[l][j * fan_in..][..fan_in];
                let mut sum = self.bias[l][j];
                for k in 0..fan_in {
                    sum = x[k].fma(w[k], sum);
                }
                z.push(sum);
            }
        }
        z
    }

    /// The losses, their gradient by z, and the predictions, from outputs z and the targets of these samples (rules 6
    /// and 7).
    #[must_use]
    pub fn judge(&self, z: &[T], targets: &Targets, samples: &[u32]) -> Judgement<T> {
        let outputs = self.spec.outputs();
        let count = |n: usize| T::from_f64(n as f64);
        let mut judged = Judgement {
            losses: Vec::new(),
            d: Vec::with_capacity(z.len()),
            guesses: Vec::with_capacity(samples.len()),
        };
        for (z, &sample) in z.chunks(outputs).zip(samples) {
            let sample = sample as usize;
            match (targets, self.spec.head) {
                (Targets::Values { values, .. }, _) => {
                    let mean = T::TWO / count(samples.len() * outputs);
                    let mut sum = T::ZERO;
                    for (&z, &t) in z.iter().zip(&values[sample * outputs..]) {
                        let error = z - T::from_f64(f64::from(t));
                        sum = error.fma(error, sum);
                        judged.d.push(error * mean);
                    }
                    judged.losses.push(sum / count(outputs));
                }
                (Targets::Classes { labels, .. }, Head::Binary) => {
                    let y = count(labels[sample] as usize);
                    judged.losses.push(binary_cross_entropy(z[0], y));
                    judged.d.push(binary_gradient(z[0], y, T::ONE / count(samples.len())));
                    judged.guesses.push(usize::from(z[0] > T::ZERO));
                }
                (Targets::Classes { labels, .. }, _) => {
                    let label = labels[sample] as usize;
                    let mean = T::ONE / count(samples.len());
                    let mut e = vec![T::ZERO; outputs];
                    let row = SoftmaxRow::<T>::new(z, &mut e);
                    judged.losses.push(row.cross_entropy(z[label]));
                    for (j, &e) in e.iter().enumerate() {
                        let y = if j == label { T::ONE } else { T::ZERO };
                        judged.d.push(softmax_gradient(e, row.sum, y, mean));
                    }
                    judged.guesses.push(row.argmax);
                }
            }
        }
        judged
    }

    /// Rule 3 (and rule 5 for the first layer): the gradients of a layer's weights and biases, from its `d` and its
    /// inputs.
    #[must_use]
    pub fn weight_gradient(&self, l: usize, d: &[T], x: &[T]) -> (Vec<T>, Vec<T>) {
        let (fan_in, units) = (self.spec.fan_in(l), self.spec.layers[l].units);
        let batch = x.len() / fan_in;
        let (mut gw, mut gb) = (Vec::with_capacity(units * fan_in), Vec::with_capacity(units));
        for j in 0..units {
            gb.push(sum_over_batch(0..batch, &|sum, b| sum + d[b * units + j]));
        }
        for j in 0..units {
            for k in 0..fan_in {
                let g = sum_over_batch(0..batch, &|g, b| {
                    let (d, x) = (d[b * units + j], x[b * fan_in + k]);
                    match l {
                        0 if x == T::ZERO => g,
                        0 => d.fma(x * self.scale[k], g),
                        _ => d.fma(x, g),
                    }
                });
                gw.push(if l == 0 { self.shift[k].fma(gb[j], g) + T::ZERO } else { g });
            }
        }
        (gw, gb)
    }

    /// Rule 4: the gradient by the z of the layer below layer l.
    #[must_use]
    pub fn input_gradient(&self, l: usize, d: &[T], pass: &Pass<T>) -> Vec<T> {
        let (fan_in, units) = (self.spec.fan_in(l), self.spec.layers[l].units);
        let activation = self.spec.layers[l - 1].activation;
        let read = match activation.reads() {
            Reads::H => &pass.h[l - 1],
            Reads::Z => &pass.z[l - 1],
        };
        let mut dx = Vec::with_capacity(read.len());
        for (d, read) in d.chunks(units).zip(read.chunks(fan_in)) {
            for k in 0..fan_in {
                let mut sum = T::ZERO;
                for j in 0..units {
                    sum = d[j].fma(self.weight[l][j * fan_in + k], sum);
                }
                dx.push(activation.backward(read[k], sum));
            }
        }
        dx
    }

    /// Rule 8: the optimiser's rule, on every weight and bias of one layer.
    pub fn update(&mut self, l: usize, (gw, gb): &Tensors<T>, learning_rate: f32) {
        let rule = self.spec.optimizer.rule();
        let scalars =
            self.spec.optimizer.scalars(self.step, learning_rate).map(|scalar| T::from_f64(f64::from(scalar)));
        let apply = |w: &mut [T], g: &[T], slots: [&mut [T]; SLOTS]| {
            for (i, (w, &g)) in w.iter_mut().zip(g).enumerate() {
                let of = |slot: &&mut [T]| slot.get(i).copied().unwrap_or(T::ZERO);
                let after = rule.apply(scalars, g, *w, slots.each_ref().map(of));
                *w = after.0;
                for (n, value) in after.1.into_iter().enumerate().take(rule.slots().len()) {
                    slots[n][i] = value;
                }
            }
        };
        let [a, b, c] = &mut self.slots[l];
        apply(&mut self.weight[l], gw, [&mut a.0, &mut b.0, &mut c.0]);
        apply(&mut self.bias[l], gb, [&mut a.1, &mut b.1, &mut c.1]);
    }

    /// The losses of a batch of `samples` with raw inputs `x`, and the gradients of their mean by the weights and biases
    /// of each layer. If the loss is not finite, there are no gradients.
    #[must_use]
    pub fn gradients(&self, x: &[T], targets: &Targets, samples: &[u32]) -> (Judgement<T>, Vec<Tensors<T>>) {
        let pass = self.pass(x);
        let last = pass.h.len() - 1;
        let judged = self.judge(&pass.h[last], targets, samples);
        let mut gradients = Vec::new();
        if !mean(&judged.losses).is_finite() {
            return (judged, gradients);
        }
        let mut d = judged.d.clone();
        for l in (0..=last).rev() {
            gradients.push(self.weight_gradient(l, &d, if l == 0 { x } else { &pass.h[l - 1] }));
            if l > 0 {
                d = self.input_gradient(l, &d, &pass);
            }
        }
        gradients.reverse();
        (judged, gradients)
    }

    /// One whole step on the batch of `samples` with raw inputs `x`: forward, loss, all gradients, then all updates. If
    /// the loss is not finite, nothing is updated.
    pub fn train_step(&mut self, x: &[T], targets: &Targets, samples: &[u32], learning_rate: f32) -> Judgement<T> {
        let (judged, gradients) = self.gradients(x, targets, samples);
        if !gradients.is_empty() {
            for (l, gradient) in gradients.iter().enumerate() {
                self.update(l, gradient, learning_rate);
            }
            self.step += 1;
        }
        judged
    }
}

/// Rule 3: a sum over samples of a batch. `add` adds the term of one sample. Each block of samples is one chain from 0. The
/// first blocks, as many as the largest power of two below their number, and the rest are summed alike, and then added.
fn sum_over_batch<T: Real>(samples: Range<usize>, add: &impl Fn(T, usize) -> T) -> T {
    let blocks = samples.len().div_ceil(BLOCK);
    if blocks <= 1 {
        return samples.fold(T::ZERO, add);
    }
    let middle = samples.start + blocks.next_power_of_two() / 2 * BLOCK;
    sum_over_batch(samples.start..middle, add) + sum_over_batch(middle..samples.end, add)
}

/// The mean of the losses of a batch, summed in f64 in the order of the samples (rule 7).
#[must_use]
pub fn mean<T: Real>(losses: &[T]) -> f64 {
    losses.iter().map(|loss| loss.to_f64()).sum::<f64>() / losses.len() as f64
}

/// Turns the outputs z into what the network returns, in place: log-probabilities if the head is log-softmax, otherwise
/// z itself.
pub fn read_outputs<T: Real>(head: Head, z: &mut [T]) {
    if head == Head::LogSoftmax {
        let mut e = vec![T::ZERO; z.len()];
        let row = SoftmaxRow::<T>::new(z, &mut e);
        for z in z {
            *z = row.log_probability(*z);
        }
    }
}

/// The engine `reference`: [`Network<f32>`] behind the interface of an engine. It is slow, and right by definition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Engine for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn devices(&self) -> Vec<DeviceInfo> {
        vec![DeviceInfo {
            id: DeviceId { engine: "reference".into(), index: 0 },
            name: "the definition".into(),
            detail: "scalar, 1 thread; slow".into(),
            exact: true,
        }]
    }

    fn open(&self, _device: &DeviceId, spec: &Spec) -> Result<Box<dyn Session>> {
        Ok(Box::new(ReferenceSession::new(spec)?))
    }
}

/// A session of the reference engine.
#[derive(Clone, Debug)]
pub struct ReferenceSession {
    spec: Spec,
    network: Option<Network<f32>>,
    train: Option<Dataset>,
    validation: Option<Dataset>,
}

impl ReferenceSession {
    /// Opens a session for this network.
    pub fn new(spec: &Spec) -> Result<Self> {
        spec.validate()?;
        Ok(Self { spec: spec.clone(), network: None, train: None, validation: None })
    }

    fn network(&self) -> Result<&Network<f32>> {
        self.network.as_ref().ok_or_else(|| Error::mismatch("the session has no weights", "call set_state first"))
    }
}

/// The data of a split, in an engine's own form. An error if it was never loaded. For engines.
pub fn loaded<T>(data: Option<&T>) -> Result<&T> {
    data.ok_or_else(|| Error::mismatch("the session has no such data", "call load first"))
}

/// The error for a gradient at weights whose loss is not finite. For engines.
#[must_use]
pub fn no_gradient() -> Error {
    Error::mismatch("the loss is not finite, so it has no gradient", "use an earlier state")
}

/// The raw inputs `[samples, features]` of these samples.
fn gather(data: &Dataset, samples: &[u32]) -> Vec<f32> {
    let row = |&sample: &u32| sample as usize * data.features()..(sample as usize + 1) * data.features();
    samples.iter().flat_map(row).map(|index| data.inputs().get(index)).collect()
}

/// The samples of a batch, each with its predicted class.
fn predictions<'a>(samples: &'a [u32], guesses: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    samples.iter().map(|&sample| sample as usize).zip(guesses.iter().copied())
}

impl Session for ReferenceSession {
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()> {
        data.check(&self.spec)?;
        match split {
            Split::Train => self.train = Some(data.clone()),
            Split::Validation => self.validation = Some(data.clone()),
        }
        Ok(())
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        state.check(&self.spec)?;
        self.network = Some(Network::new(&self.spec, state));
        Ok(())
    }

    fn state(&mut self) -> Result<State> {
        Ok(self.network()?.state())
    }

    fn train(&mut self, span: &Span<'_>) -> Result<Report> {
        let data = loaded(self.train.as_ref())?.clone();
        span.check(data.samples(), self.network()?.step)?;
        let mut report = Report { confusion: Confusion::new(self.spec.classes()), ..Report::default() };
        for (step, (samples, learning_rate)) in span.batches().enumerate() {
            let Some(network) = self.network.as_mut() else { break };
            let judged = network.train_step(&gather(&data, samples), data.targets(), samples, learning_rate);
            let loss = mean(&judged.losses);
            if !loss.is_finite() {
                report.first_non_finite = Some(step);
                break;
            }
            report.losses.push(loss);
            if self.spec.classes() > 0 {
                let hits = report.confusion.tally(data.targets(), predictions(samples, &judged.guesses));
                report.hits.push(hits);
            }
        }
        Ok(report)
    }

    fn gradient(&mut self, samples: &[u32]) -> Result<Vec<Parameters>> {
        let data = loaded(self.train.as_ref())?;
        let network = self.network()?;
        let (_, gradients) = network.gradients(&gather(data, samples), data.targets(), samples);
        if gradients.is_empty() {
            return Err(no_gradient());
        }
        Ok(gradients.iter().enumerate().map(|(l, (weight, bias))| network.parameters(l, weight, bias)).collect())
    }

    fn evaluate(&mut self, split: Split) -> Result<Evaluation> {
        let data = match split {
            Split::Train => loaded(self.train.as_ref())?,
            Split::Validation => loaded(self.validation.as_ref())?,
        };
        let network = self.network()?;
        let mut confusion = Confusion::new(self.spec.classes());
        let mut losses = Vec::with_capacity(data.samples());
        let all: Vec<u32> = (0..data.samples() as u32).collect();
        for samples in all.chunks(256) {
            let z = network.forward(&gather(data, samples)).pop().unwrap_or_default();
            let judged = network.judge(&z, data.targets(), samples);
            losses.extend(judged.losses);
            confusion.tally(data.targets(), predictions(samples, &judged.guesses));
        }
        Ok(Evaluation { loss: mean(&losses), confusion })
    }

    fn predict(&mut self, inputs: &Matrix, outputs: &mut Matrix) -> Result<()> {
        check_prediction(&self.spec, inputs, outputs)?;
        if inputs.rows() == 0 {
            return Ok(());
        }
        let z = self.network()?.forward(inputs.values()).pop().unwrap_or_default();
        outputs.values_mut().copy_from_slice(&z);
        for row in 0..outputs.rows() {
            read_outputs(self.spec.head, outputs.row_mut(row));
        }
        Ok(())
    }
}

/// Checks a prediction's inputs, which must be finite, and the shapes of inputs and outputs. For engines.
pub fn check_prediction(spec: &Spec, inputs: &Matrix, outputs: &Matrix) -> Result<()> {
    if inputs.columns() != spec.input.features {
        let problem = format!("{} values per sample for a network of {}", inputs.columns(), spec.input.features);
        return Err(Error::mismatch(problem, "give rows of as many values as the network reads"));
    }
    if (outputs.rows(), outputs.columns()) != (inputs.rows(), spec.outputs()) {
        let (found, wanted) = ((outputs.rows(), outputs.columns()), (inputs.rows(), spec.outputs()));
        return Err(Error::mismatch(format!("an output matrix of {found:?}, not {wanted:?}"), "make it that size"));
    }
    check_finite(inputs.values(), inputs.columns())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Random, Stream};
    use crate::{Activation, Mlp, Normalization};

    /// Compares every derivative of the mean loss, by central differences in f64, with backpropagation's.
    fn check_gradients(spec: &Spec, seed: u32) {
        let state = State::initial(spec, seed).unwrap();
        let mut network = Network::<f64>::new(spec, &state);
        let mut random = Random::new(seed, Stream::Augmentation, 0);
        let batch = 5;
        let x: Vec<f64> = (0..batch * spec.input.features)
            .map(|i| if i % 4 == 0 { 0.0 } else { f64::from(random.uniform(-1.0, 1.0)) })
            .collect();
        let targets = match spec.classes() {
            0 => Targets::Values {
                values: (0..batch * spec.outputs()).map(|_| random.uniform(-1.0, 1.0)).collect(),
                outputs: spec.outputs(),
            },
            classes => {
                Targets::Classes { labels: (0..batch).map(|_| random.below(classes as u64) as u32).collect(), classes }
            }
        };
        let samples: Vec<u32> = (0..batch as u32).collect();
        let loss = |network: &Network<f64>| {
            let h = network.forward(&x);
            mean(&network.judge(&h[h.len() - 1], &targets, &samples).losses)
        };
        let (_, gradients) = network.gradients(&x, &targets, &samples);
        let epsilon = 1e-5;
        for l in 0..spec.layers.len() {
            for i in 0..network.weight[l].len() + network.bias[l].len() {
                let nudge = |network: &mut Network<f64>, by: f64| {
                    let (w, b) = network.layer_mut(l);
                    if i < w.len() { w[i] += by } else { b[i - w.len()] += by }
                };
                nudge(&mut network, epsilon);
                let above = loss(&network);
                nudge(&mut network, -2.0 * epsilon);
                let below = loss(&network);
                nudge(&mut network, epsilon);
                let numeric = (above - below) / (2.0 * epsilon);
                let (weights, biases) = &gradients[l];
                let analytic = weights.iter().chain(biases).copied().nth(i).unwrap_or(f64::NAN);
                assert!(
                    (numeric - analytic).abs() <= 1e-8 * (1.0 + analytic.abs()),
                    "{spec:?} seed {seed}: layer {l}, parameter {i}: central difference {numeric}, backward {analytic}"
                );
            }
        }
    }

    #[test]
    fn gradients_match_central_differences_for_every_activation_and_head() {
        let normalization =
            Normalization::PerFeature { scale: vec![0.5, 2.0, 1.0, -1.5], shift: vec![0.25, 0.0, -0.5, 1.0] };
        for &activation in Activation::ALL {
            for seed in 1..4 {
                for depth in 0..4 {
                    let mlp = || Mlp::new(4).hidden(&[6, 5, 3][..depth], activation).normalized(normalization.clone());
                    check_gradients(&mlp().classes(3), seed);
                    check_gradients(&mlp().binary(), seed);
                    check_gradients(&mlp().values(2), seed);
                }
            }
        }
    }

    #[test]
    fn sums_over_a_batch_are_what_a_binary_counter_of_blocks_gives() {
        let mut random = Random::new(1, Stream::Augmentation, 0);
        let terms: Vec<f32> = (0..20 * BLOCK).map(|_| random.uniform(-1.0, 1.0)).collect();
        let sum = |range: Range<usize>| terms[range].iter().fold(0.0, |sum, term| sum + term);
        for batch in (0..terms.len()).step_by(43).chain([BLOCK, 2 * BLOCK, 3 * BLOCK]) {
            let mut waiting = Vec::new();
            for first in (0..batch).step_by(BLOCK) {
                waiting.push(sum(first..batch.min(first + BLOCK)));
                for _ in 0..(first / BLOCK).trailing_ones() {
                    let newer = waiting.pop().unwrap();
                    let older = waiting.pop().unwrap();
                    waiting.push(older + newer);
                }
            }
            let counted = waiting.into_iter().rev().reduce(|newer, older| older + newer).unwrap_or(0.0);
            assert_eq!(sum_over_batch(0..batch, &|sum: f32, b| sum + terms[b]).to_bits(), counted.to_bits(), "{batch}");
        }
        // Five blocks, the last one of a single sample.
        let [a, b, c, d] = [0, 1, 2, 3].map(|block| sum(block * BLOCK..(block + 1) * BLOCK));
        let tree = ((a + b) + (c + d)) + terms[4 * BLOCK];
        assert_eq!(sum_over_batch(0..4 * BLOCK + 1, &|sum: f32, b| sum + terms[b]), tree);
        assert_ne!(tree, sum(0..4 * BLOCK + 1));
    }

    #[test]
    fn log_softmax_with_nll_trains_to_the_same_bits_as_cross_entropy() {
        let logits = Mlp::new(4).hidden(&[6], Activation::Sigmoid).classes(3);
        let log_softmax = Spec { head: Head::LogSoftmax, ..logits.clone() };
        let targets = Targets::Classes { labels: vec![0, 2, 1].into(), classes: 3 };
        let x: Vec<f32> = (0..12).map(|i| (i as f32 - 6.0) * 0.3).collect();
        let run = |spec: &Spec| {
            let mut network = Network::<f32>::new(spec, &State::initial(spec, 9).unwrap());
            let losses: Vec<_> = (0..20).map(|_| network.train_step(&x, &targets, &[0, 1, 2], 0.5).losses).collect();
            (losses, network.state().digest())
        };
        assert_eq!(run(&logits), run(&log_softmax));
    }
}
