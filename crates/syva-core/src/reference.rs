//! The reference engine: the arithmetic contract as a program. Scalar, one thread, written to be read.
//!
//! [`Network`] is generic over f32 and f64. In f32 it **is** the definition of every bit that any exact engine
//! computes. In f64 its gradients are compared with central differences, which checks the mathematics.
//!
//! Symbols: `x` are inputs, `s = scale·x`, `w[j,k]` weights, `z` pre-activations, `h` activations, `d` is the gradient
//! of the loss by `z`, and `g` that by `w`. `b` runs over the batch, `j` over a layer's units, `k` over its inputs.
#![allow(clippy::needless_range_loop, reason = "indices are the contract's own language")]

use std::borrow::Cow;
use std::ops::Range;

use crate::arithmetic::{Real, SoftmaxRow};
use crate::data::{Dataset, Inputs, Split, Targets};
use crate::engine::{DeviceId, DeviceInfo, Engine, Evaluation, Rates, Report, Session, Span};
use crate::groups::{Groups, Part};
use crate::ops::{
    INPUTS, Judging, Muon, Perturbation, Reads, Rule, SCALARS, SLOTS, add_gaussian, averaged, clipped, dropped,
    gaussian_mean_slope, gaussian_variance_slope, labels_guess, norm_factor, penalised, renorm_factor,
    smoothed_cross_entropy, softmax_gradient, variance,
};
use crate::spec::{Head, Layer, Spec};
use crate::state::{Matrix, Parameters, Slot, State};
use crate::training::{AVERAGE, Training};
use crate::weighting::Weighting;
use crate::{Error, Result};

/// A network's weights in `T`, and the parts of a training step as methods.
///
/// ```
/// use syva_core::{Activation::Relu, Mlp, State, Training, reference::Network};
/// let spec = Mlp::new(2).hidden(&[3], Relu).values(1);
/// let training = Training::default();
/// let network = Network::<f64>::new(&spec, &training, &State::initial(&spec, &training)?);
/// let h = network.forward(&[0.5, -1.0]); // one sample: the hidden activations, then the output
/// assert_eq!((h[0].len(), h[1].len()), (3, 1));
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Network<T> {
    spec: Spec,
    training: Training,
    judging: Judging,
    groups: Groups,
    step: u64,
    /// `weight[l]` are the weights `[units, fan_in]` of layer l.
    weight: Vec<Vec<T>>,
    bias: Vec<Vec<T>>,
    /// The gains of each layer's activation, if it is learned.
    gain: Vec<Vec<T>>,
    /// What the optimiser remembers of each layer.
    slots: Vec<[Tensors<T>; SLOTS]>,
    /// The tensors of the embedding, and what the optimiser remembers of each.
    embedding: Vec<Vec<T>>,
    embedding_slots: Vec<[Vec<T>; SLOTS]>,
    /// The moving average of each layer, if there is one.
    average: Vec<Tensors<T>>,
    /// The scale of each feature.
    scale: Vec<T>,
    /// The shift of each feature.
    shift: Vec<T>,
}

/// Samples per block of a sum over the batch (rule 3).
pub const BLOCK: usize = 128;

/// The weights, biases and gains of a layer ([`Part`]), or numbers of their shape.
pub type Tensors<T> = [Vec<T>; 3];

/// The gradients of a step. Empty if the loss is not finite.
#[derive(Clone, Debug, Default)]
pub struct Gradients<T> {
    /// Those of each layer.
    pub layers: Vec<Tensors<T>>,
    /// Those of the tensors of the embedding.
    pub embedding: Vec<Vec<T>>,
}

/// What a batch left on its way through the layers.
#[derive(Clone, Debug)]
pub struct Pass<T> {
    /// The pre-activations of each layer, `[batch, units]`.
    pub z: Vec<Vec<T>>,
    /// The activations of each layer, `[batch, units]`. Those of the last layer are its z.
    pub h: Vec<Vec<T>>,
    /// What the activations of each hidden layer were multiplied by on their way into the next one: 0 where dropout took
    /// them out. Empty without dropout.
    pub factors: Vec<Vec<T>>,
    /// The inputs of the first layer: the normalised inputs after what a step did to them, or their embedding. Empty if it
    /// reads raw inputs.
    pub inputs: Vec<T>,
    /// The embedding before its factors. Empty without one.
    pub embedded: Vec<T>,
}

/// The losses of a batch, their gradient, and the predictions.
#[derive(Clone, Debug)]
pub struct Judgement<T> {
    /// The loss of each sample.
    pub losses: Vec<T>,
    /// The gradient of the mean loss by the outputs z, `[batch, outputs]`.
    pub d: Vec<T>,
    /// The predicted class of each sample, or for multi-label its [`labels_guess`]; empty for other values.
    pub guesses: Vec<usize>,
}

impl<T: Real> Network<T> {
    /// A network with the weights of `state`, whose shape must be the spec's. A loss that does not fit the head counts as
    /// the head's own.
    #[must_use]
    pub fn new(spec: &Spec, training: &Training, state: &State) -> Self {
        let state = &state.clone().with_slots(training);
        let real = |values: &[f32]| values.iter().map(|&v| T::from_f64(f64::from(v))).collect::<Vec<T>>();
        let tensors = |p: &Parameters| [real(p.weight.values()), real(&p.bias), real(&p.gain)];
        // The average follows what the optimiser remembers.
        let remembered = training.optimizer.rule().slots().len();
        let (scale, shift): (Vec<f32>, Vec<f32>) =
            (0..spec.input.features).map(|k| spec.input.normalization.of(k)).unzip();
        Self {
            spec: spec.clone(),
            training: training.clone(),
            judging: training.loss.judging(spec.head).unwrap_or(Judging::own(spec.head)),
            groups: Groups::new(spec, training),
            step: state.step,
            weight: state.layers.iter().map(|p| real(p.weight.values())).collect(),
            bias: state.layers.iter().map(|p| real(&p.bias)).collect(),
            gain: state.layers.iter().map(|p| real(&p.gain)).collect(),
            slots: (0..spec.layers.len())
                .map(|l| {
                    let of = |slot: &Slot| tensors(&slot.layers[l]);
                    std::array::from_fn(|n| state.slots.get(n).filter(|_| n < remembered).map(of).unwrap_or_default())
                })
                .collect(),
            embedding: state.embedding.iter().map(|tensor| real(tensor)).collect(),
            embedding_slots: (0..state.embedding.len())
                .map(|t| {
                    let of = |slot: &Slot| real(&slot.embedding[t]);
                    std::array::from_fn(|n| state.slots.get(n).filter(|_| n < remembered).map(of).unwrap_or_default())
                })
                .collect(),
            average: match state.slots.get(remembered) {
                Some(average) => average.layers.iter().map(tensors).collect(),
                None => Vec::new(),
            },
            scale: real(&scale),
            shift: real(&shift),
        }
    }

    /// The weights, rounded to f32.
    #[must_use]
    pub fn state(&self) -> State {
        let layer = |l: usize| self.parameters(l, [&self.weight[l], &self.bias[l], &self.gain[l]]);
        let layers = (0..self.weight.len()).map(layer).collect();
        let slot = |(n, name): (usize, &str)| {
            let of = |l: usize| if name == AVERAGE { &self.average[l] } else { &self.slots[l][n] };
            let layers = (0..self.weight.len()).map(|l| self.parameters(l, of(l).each_ref())).collect();
            let narrow = |values: &Vec<T>| values.iter().map(|&v| v.to_f64() as f32).collect();
            // There is no average of an embedding.
            let of = |t: usize| if name == AVERAGE { Vec::new() } else { narrow(&self.embedding_slots[t][n]) };
            Slot { name: name.into(), embedding: (0..self.embedding.len()).map(of).collect(), layers }
        };
        let slots = self.training.slots().into_iter().enumerate().map(slot).collect();
        let narrow = |values: &Vec<T>| values.iter().map(|&v| v.to_f64() as f32).collect();
        State { step: self.step, embedding: self.embedding.iter().map(narrow).collect(), layers, slots }
    }

    /// The network that predicts: with the average of the weights, if there is one.
    #[must_use]
    pub fn for_prediction(&self) -> Self {
        let mut network = self.clone();
        for (l, [weight, bias, gain]) in self.average.iter().cloned().enumerate() {
            (network.weight[l], network.bias[l], network.gain[l]) = (weight, bias, gain);
        }
        network
    }

    /// What is learned of layer l, or numbers of its shape, rounded to f32.
    fn parameters(&self, l: usize, [weight, bias, gain]: [&Vec<T>; 3]) -> Parameters {
        let narrow = |values: &[T]| values.iter().map(|&v| v.to_f64() as f32).collect::<Vec<f32>>();
        let mut rounded = Matrix::zeros(self.spec.layers[l].units, self.spec.fan_in(l));
        rounded.values_mut().copy_from_slice(&narrow(weight));
        Parameters { weight: rounded, bias: narrow(bias), gain: narrow(gain) }
    }

    /// The weights `[units, fan_in]`, biases and gains of a layer, to be read or changed.
    pub fn layer_mut(&mut self, l: usize) -> [&mut [T]; 3] {
        [&mut self.weight[l], &mut self.bias[l], &mut self.gain[l]]
    }

    /// The tensors of the embedding, to be read or changed.
    pub fn embedding_mut(&mut self) -> &mut [Vec<T>] {
        &mut self.embedding
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
        self.pass_with(x, &Perturbation::default())
    }

    /// Like [`Network::pass`], with what is random in a step (rule 9).
    #[must_use]
    pub fn pass_with(&self, x: &[T], perturbation: &Perturbation) -> Pass<T> {
        let (inputs, embedded) = match &self.spec.input.embedding {
            // Rule 11.
            Some(embedding) => embedding.inputs(&self.embedding, x, (&self.scale, &self.shift)),
            None if perturbation.changes_inputs() => (self.perturbed(x, perturbation), Vec::new()),
            None => (Vec::new(), Vec::new()),
        };
        let mut pass = Pass { z: Vec::new(), h: Vec::new(), factors: Vec::new(), inputs, embedded };
        for (l, layer) in self.spec.layers.iter().enumerate() {
            let z = match l {
                0 if pass.inputs.is_empty() => self.first_layer(x),
                0 => self.linear(l, &pass.inputs),
                _ => self.linear(l, &pass.below(l)),
            };
            let gain = |i: usize| if layer.learned.has_gains() { self.gain[l][i % layer.units] } else { T::ONE };
            let h_of = |(i, &z): (usize, &T)| layer.learned.forward(z, layer.activation.forward(z), gain(i));
            pass.h.push(z.iter().enumerate().map(h_of).collect());
            if let Some(dropout) = perturbation.hidden.filter(|_| l + 1 < self.spec.layers.len()) {
                let factor = |i| dropout.factor(l, i / layer.units, i % layer.units);
                pass.factors.push((0..z.len()).map(|i| T::from_f64(f64::from(factor(i)))).collect());
            }
            pass.z.push(z);
        }
        pass
    }

    /// Rule 9: the normalised inputs after what a step does to them.
    fn perturbed(&self, x: &[T], perturbation: &Perturbation) -> Vec<T> {
        let features = self.spec.input.features;
        let real = |value: f32| T::from_f64(f64::from(value));
        let change = |(i, &x): (usize, &T)| {
            let (row, k) = (i / features, i % features);
            let mut value = x * self.scale[k] + self.shift[k];
            if let Some(noise) = perturbation.noise {
                value = value + real(noise.of(row, k));
            }
            match perturbation.inputs {
                Some(dropout) => dropped(value, real(dropout.factor(INPUTS, row, k))),
                None => value,
            }
        };
        x.iter().enumerate().map(change).collect()
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
    pub fn judge(&self, z: &[T], targets: &Targets, samples: &[u32], weighting: &Weighting) -> Judgement<T> {
        let outputs = self.spec.outputs();
        let judging = self.judging;
        let [p, q] = judging.parameters(outputs).map(T::from_f64);
        let terms = T::from_f64(judging.terms(outputs) as f64);
        let factors = weighting
            .factors(judging, outputs, samples)
            .unwrap_or_else(|| vec![judging.factor(samples.len(), outputs); samples.len()]);
        let mut judged = Judgement {
            losses: Vec::new(),
            d: Vec::with_capacity(z.len()),
            guesses: Vec::with_capacity(samples.len()),
        };
        for ((z, &sample), mean) in z.chunks(outputs).zip(samples).zip(factors) {
            let sample = sample as usize;
            // The target values of the sample, or its label as the only one.
            let (label, t): (usize, Vec<T>) = match targets {
                Targets::Values { values, outputs } => {
                    let of_sample = &values[sample * outputs..][..*outputs];
                    (0, of_sample.iter().map(|&t| T::from_f64(f64::from(t))).collect())
                }
                Targets::Classes { labels, .. } => {
                    (labels[sample] as usize, vec![T::from_f64(f64::from(labels[sample]))])
                }
            };
            match judging {
                Judging::Each(distance, _) => {
                    let mut sum = T::ZERO;
                    for (&z, &t) in z.iter().zip(&t) {
                        sum = distance.add(sum, z, t, p);
                        judged.d.push(distance.slope(z, t, p) * mean);
                    }
                    judged.losses.push(sum / terms);
                }
                Judging::Gaussian => {
                    let mut sum = T::ZERO;
                    for (pair, &t) in z.chunks(2).zip(&t) {
                        sum = add_gaussian(sum, pair[0], pair[1], t);
                        judged.d.push(gaussian_mean_slope(pair[0], pair[1], t) * mean);
                        judged.d.push(gaussian_variance_slope(pair[0], pair[1], t) * mean);
                    }
                    judged.losses.push(sum / terms);
                }
                Judging::Classes { smoothing } => {
                    let mut e = vec![T::ZERO; outputs];
                    let row = SoftmaxRow::<T>::new(z, &mut e);
                    judged.losses.push(if smoothing == 0.0 {
                        row.cross_entropy(z[label])
                    } else {
                        let mut rest = T::ZERO;
                        for &z in z {
                            rest = rest + (z - row.max);
                        }
                        smoothed_cross_entropy(row.sum, z[label], row.max, rest, p, q)
                    });
                    for (j, &e) in e.iter().enumerate() {
                        let y = if j == label { p + q } else { q };
                        judged.d.push(softmax_gradient(e, row.sum, y, mean));
                    }
                    judged.guesses.push(row.argmax);
                }
            }
            match self.spec.head {
                Head::Binary => judged.guesses.push(usize::from(z[0] > T::ZERO)),
                Head::MultiLabel => {
                    let count =
                        |label: T| z.iter().zip(&t).filter(|&(&z, &t)| z > T::ZERO && t == label).count() as u32;
                    judged.guesses.push(labels_guess(count(T::ONE), count(T::ZERO)) as usize);
                }
                Head::Regression | Head::Poisson | Head::Gaussian | Head::Logits | Head::LogSoftmax => {}
            }
        }
        judged
    }

    /// Rule 3 (and rule 5 for the first layer): the gradients of a layer's weights and biases, from its `d` and its
    /// inputs.
    #[must_use]
    pub fn weight_gradient(&self, l: usize, d: &[T], x: &[T]) -> (Vec<T>, Vec<T>) {
        self.weight_gradient_of(l, d, x, l == 0)
    }

    /// Like [`Network::weight_gradient`]. Inputs of the first layer that are not raw are those of any other layer.
    fn weight_gradient_of(&self, l: usize, d: &[T], x: &[T], is_raw: bool) -> (Vec<T>, Vec<T>) {
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
                    match is_raw {
                        true if x == T::ZERO => g,
                        true => d.fma(x * self.scale[k], g),
                        false => d.fma(x, g),
                    }
                });
                gw.push(if is_raw { self.shift[k].fma(gb[j], g) + T::ZERO } else { g });
            }
        }
        (gw, gb)
    }

    /// Rule 4: the gradient by what goes into layer l.
    fn product_back(&self, l: usize, d: &[T]) -> Vec<T> {
        let (fan_in, units) = (self.spec.fan_in(l), self.spec.layers[l].units);
        let mut dx = Vec::with_capacity(d.len() / units * fan_in);
        for d in d.chunks(units) {
            for k in 0..fan_in {
                let mut sum = T::ZERO;
                for j in 0..units {
                    sum = d[j].fma(self.weight[l][j * fan_in + k], sum);
                }
                dx.push(sum);
            }
        }
        dx
    }

    /// Rule 4: the gradients by the z and by the gains of the layer below layer l. Without gains, the latter is empty.
    #[must_use]
    pub fn input_gradient(&self, l: usize, d: &[T], pass: &Pass<T>) -> (Vec<T>, Vec<T>) {
        let fan_in = self.spec.fan_in(l);
        let Layer { activation, learned, .. } = self.spec.layers[l - 1];
        let z = &pass.z[l - 1];
        let mut dx = self.product_back(l, d);
        if let Some(factors) = pass.factors.get(l - 1) {
            dx.iter_mut().zip(factors).for_each(|(dx, &factor)| *dx = dropped(*dx, factor));
        }
        if !learned.has_gains() {
            let read = if activation.reads() == Reads::H { &pass.h[l - 1] } else { z };
            dx.iter_mut().zip(read).for_each(|(dx, &read)| *dx = activation.backward(read, *dx));
            return (dx, Vec::new());
        }
        // The gradient by a gain is a sum over the batch, as that by a bias is.
        let mut terms = Vec::with_capacity(z.len());
        for (i, (dx, &z)) in dx.iter_mut().zip(z).enumerate() {
            let f = activation.forward(z);
            let df = activation.backward(if activation.reads() == Reads::H { f } else { z }, *dx);
            let (by_z, by_gain) = learned.backward((z, f), (*dx, df), self.gain[l - 1][i % fan_in]);
            *dx = by_z;
            terms.push(by_gain);
        }
        let sum = |k: usize| sum_over_batch(0..z.len() / fan_in, &|sum, b| sum + terms[b * fan_in + k]);
        (dx, (0..fan_in).map(sum).collect())
    }

    /// Rule 8: the optimiser's rule, on every weight, bias and gain of one layer.
    pub fn update(&mut self, l: usize, gradient: &Tensors<T>, rates: &Rates) {
        let rule = self.training.optimizer.rule();
        let scalars = self.groups.scalars(self.step, rates);
        let [a, b, c] = &mut self.slots[l];
        let slots = a.iter_mut().zip(b).zip(c).map(|((a, b), c)| [a, b, c]);
        let values = [&mut self.weight[l], &mut self.bias[l], &mut self.gain[l]];
        for (((part, values), gradient), slots) in Part::ALL.into_iter().zip(values).zip(gradient).zip(slots) {
            let real = |scalars: [f32; SCALARS]| scalars.map(|scalar| T::from_f64(f64::from(scalar)));
            let orthogonal = scalars.orthogonal(l).filter(|_| part == Part::Weights);
            if let Some((scalars, (muon, _))) = orthogonal.zip(self.training.optimizer.muon()) {
                let units = self.spec.layers[l].units;
                let direction = orthogonalised(&muon, units, gradient, &mut slots[0][..]);
                for (w, g) in values.iter_mut().zip(direction) {
                    (*w, _) = Rule::Decay.apply(real(scalars), g, *w, [T::ZERO; SLOTS]);
                }
                continue;
            }
            let scalars = real(*scalars.of(l, part));
            for (i, (w, &g)) in values.iter_mut().zip(gradient).enumerate() {
                let before = slots.each_ref().map(|slot| slot.get(i).copied().unwrap_or(T::ZERO));
                let (new, after) = rule.apply(scalars, g, *w, before);
                *w = new;
                for n in 0..rule.slots().len() {
                    slots[n][i] = after[n];
                }
            }
        }
    }

    /// Rule 8: the optimiser's rule, on all that the embedding has learned.
    fn update_embedding(&mut self, gradients: &[Vec<T>], rates: &Rates) {
        let rule = self.training.optimizer.rule();
        let scalars = self.groups.scalars(self.step, rates);
        for (t, gradient) in gradients.iter().enumerate() {
            let scalars = scalars.of_embedding(t).map(|scalar| T::from_f64(f64::from(scalar)));
            let slots = &mut self.embedding_slots[t];
            for (i, (w, &g)) in self.embedding[t].iter_mut().zip(gradient).enumerate() {
                let before = slots.each_ref().map(|slot| slot.get(i).copied().unwrap_or(T::ZERO));
                let (new, after) = rule.apply(scalars, g, *w, before);
                *w = new;
                for n in 0..rule.slots().len() {
                    slots[n][i] = after[n];
                }
            }
        }
    }

    /// The losses of a batch of `samples` with raw inputs `x`, and the gradients of their mean by the weights and biases
    /// of each layer. If the loss is not finite, there are no gradients.
    #[must_use]
    pub fn gradients(
        &self,
        x: &[T],
        targets: &Targets,
        samples: &[u32],
        weighting: &Weighting,
    ) -> (Judgement<T>, Vec<Tensors<T>>) {
        let (judged, Gradients { layers, .. }) =
            self.gradients_with(x, targets, samples, weighting, &Perturbation::default());
        (judged, layers)
    }

    /// Like [`Network::gradients`], with what is random in a step.
    #[must_use]
    pub fn gradients_with(
        &self,
        x: &[T],
        targets: &Targets,
        samples: &[u32],
        weighting: &Weighting,
        perturbation: &Perturbation,
    ) -> (Judgement<T>, Gradients<T>) {
        let pass = self.pass_with(x, perturbation);
        let last = pass.h.len() - 1;
        let judged = self.judge(&pass.h[last], targets, samples, weighting);
        let mut gradients = Vec::new();
        if !weighting.mean(&judged.losses, samples).is_finite() {
            return (judged, Gradients::default());
        }
        let (mut d, mut by_gain) = (judged.d.clone(), Vec::new());
        for l in (0..=last).rev() {
            let (gw, gb) = match l {
                0 if pass.inputs.is_empty() => self.weight_gradient(l, &d, x),
                0 => self.weight_gradient_of(l, &d, &pass.inputs, false),
                _ => self.weight_gradient(l, &d, &pass.below(l)),
            };
            gradients.push([gw, gb, by_gain]);
            by_gain = Vec::new();
            if l > 0 {
                (d, by_gain) = self.input_gradient(l, &d, &pass);
            }
        }
        gradients.reverse();
        let embedding = match &self.spec.input.embedding {
            Some(embedding) => {
                let (d, normalization) = (self.product_back(0, &d), (&self.scale[..], &self.shift[..]));
                embedding.backward(&self.embedding, x, normalization, &pass.embedded, &d)
            }
            None => Vec::new(),
        };
        (judged, Gradients { layers: gradients, embedding })
    }

    /// One whole step on the batch of `samples` with raw inputs `x`: forward, loss, all gradients, then all updates. If
    /// the loss is not finite, nothing is updated.
    pub fn train_step(
        &mut self,
        x: &[T],
        targets: &Targets,
        samples: &[u32],
        weighting: &Weighting,
        rates: &Rates,
    ) -> Judgement<T> {
        let (judged, mut gradients) =
            self.gradients_with(x, targets, samples, weighting, &self.training.perturbation_in(self.step, rates));
        if !gradients.layers.is_empty() {
            self.hold_back(&mut gradients.layers);
            for (l, gradient) in gradients.layers.iter().enumerate() {
                self.update(l, gradient, rates);
            }
            self.update_embedding(&gradients.embedding, rates);
            self.hold_weights();
            self.step += 1;
        }
        judged
    }

    /// Rule 9: adds the penalties to the gradients of a step, and clips them.
    fn hold_back(&self, gradients: &mut [Tensors<T>]) {
        let Training { l1, l2, clip_norm, clip_value, .. } = self.training;
        let real = |value: f32| T::from_f64(f64::from(value));
        if l1 > 0.0 || l2 > 0.0 {
            for ([gw, ..], w) in gradients.iter_mut().zip(&self.weight) {
                gw.iter_mut().zip(w).for_each(|(g, &w)| *g = penalised(*g, w, real(l1), real(l2)));
            }
        }
        let all = |gradients: &mut [Tensors<T>], change: &dyn Fn(T) -> T| {
            gradients.iter_mut().flatten().flatten().for_each(|g| *g = change(*g));
        };
        if clip_value > 0.0 {
            all(gradients, &|g| clipped(g, real(clip_value)));
        }
        if clip_norm > 0.0 {
            let mut units = Vec::new();
            for [gw, gb, gg] in gradients.iter() {
                for (j, row) in gw.chunks(gw.len() / gb.len()).enumerate() {
                    let sum = gb[j].fma(gb[j], squares(row));
                    units.push(gg.get(j).map_or(sum, |&gain| gain.fma(gain, sum)));
                }
            }
            let factor = norm_factor(tree(0..units.len(), &|unit| units[unit]).square_root(), real(clip_norm));
            all(gradients, &|g| g * factor);
        }
    }

    /// Rule 9: scales the weights of units down to the largest norm, and moves the average.
    fn hold_weights(&mut self) {
        let real = |value: f32| T::from_f64(f64::from(value));
        let (bound, share) = (real(self.training.max_norm), real(self.training.average_share(self.step)));
        for (l, weight) in self.weight.iter_mut().enumerate() {
            if self.training.max_norm > 0.0 {
                for row in weight.chunks_mut(self.spec.fan_in(l)) {
                    let factor = renorm_factor(squares(row).square_root(), bound);
                    for w in row {
                        *w = *w * factor;
                    }
                }
            }
            if let Some(average) = self.average.get_mut(l) {
                let now = weight.iter().chain(&self.bias[l]).chain(&self.gain[l]);
                average.iter_mut().flatten().zip(now).for_each(|(average, &w)| *average = averaged(*average, w, share));
            }
        }
    }
}

impl<T: Real> Pass<T> {
    /// What goes into layer l, above the first: the activations below, with dropout.
    fn below(&self, l: usize) -> Cow<'_, [T]> {
        match self.factors.get(l - 1) {
            Some(factors) => self.h[l - 1].iter().zip(factors).map(|(&h, &factor)| dropped(h, factor)).collect(),
            None => Cow::Borrowed(&self.h[l - 1]),
        }
    }
}

/// Rule 8: Muon's step for the weights `[units, fan_in]` of a layer, from their gradient and momentum, which it renews.
fn orthogonalised<T: Real>(muon: &Muon, units: usize, gradient: &[T], buffer: &mut [T]) -> Vec<T> {
    let (fan_in, momentum) = (gradient.len() / units, T::from_f64(f64::from(muon.momentum)));
    let mut x = Vec::with_capacity(gradient.len());
    for (&g, buffer) in gradient.iter().zip(buffer) {
        let (new, direction) = Muon::direct(muon.nesterov, momentum, g, *buffer);
        *buffer = new;
        x.push(direction);
    }
    let rows: Vec<T> = x.chunks(fan_in).map(squares).collect();
    let norm = tree(0..units, &|unit| rows[unit]).square_root();
    let least = T::from_f64(f64::from(Muon::LEAST_NORM));
    // Y has no more columns than rows: [fan_in, units] or [units, fan_in].
    let (tall, wide) = (units.max(fan_in), units.min(fan_in));
    let at = |p: usize, i: usize| if units <= fan_in { i * fan_in + p } else { p * fan_in + i };
    let mut y: Vec<T> = vec![T::ZERO; x.len()];
    for p in 0..tall {
        for i in 0..wide {
            y[p * wide + i] = x[at(p, i)] / norm.larger(least);
        }
    }
    let sum = |count: usize, term: &dyn Fn(usize) -> (T, T)| {
        (0..count).fold(T::ZERO, |sum, k| {
            let (a, b) = term(k);
            a.fma(b, sum)
        })
    };
    let square = |of: &dyn Fn(usize, usize) -> T| -> Vec<T> {
        (0..wide * wide).map(|place| of(place / wide, place % wide)).collect()
    };
    for _ in 0..muon.steps {
        let a = square(&|i, j| sum(tall, &|p| (y[p * wide + i], y[p * wide + j])));
        let b = square(&|i, j| Muon::combine(a[i * wide + j], sum(wide, &|k| (a[i * wide + k], a[k * wide + j]))));
        let next = |place: usize| {
            let (p, j) = (place / wide, place % wide);
            Muon::advance(y[place], sum(wide, &|k| (y[p * wide + k], b[k * wide + j])))
        };
        y = (0..y.len()).map(next).collect();
    }
    for p in 0..tall {
        for i in 0..wide {
            x[at(p, i)] = y[p * wide + i];
        }
    }
    x
}

/// The sum of squares, one after the other.
fn squares<T: Real>(values: &[T]) -> T {
    values.iter().fold(T::ZERO, |sum, &value| value.fma(value, sum))
}

/// Rule 3: a sum over samples of a batch. `add` adds the term of one sample. Each block of samples is one chain from 0, and
/// the blocks' sums are a tree.
pub(crate) fn sum_over_batch<T: Real>(samples: Range<usize>, add: &impl Fn(T, usize) -> T) -> T {
    let block = |i: usize| samples.start + i * BLOCK..samples.end.min(samples.start + (i + 1) * BLOCK);
    tree(0..samples.len().div_ceil(BLOCK).max(1), &|i| block(i).fold(T::ZERO, add))
}

/// The sum of numbered terms as a binary tree: the sum of the first ones, as many as the largest power of two below their
/// number, and the sum of the rest. There is at least one.
pub fn tree<T: Real>(terms: Range<usize>, term: &impl Fn(usize) -> T) -> T {
    if terms.len() == 1 {
        return term(terms.start);
    }
    let middle = terms.start + terms.len().next_power_of_two() / 2;
    tree(terms.start..middle, term) + tree(middle..terms.end, term)
}

/// The mean of the losses of a batch whose samples weigh the same, summed in f64 in the order of the samples (rule 7).
#[must_use]
pub fn mean<T: Real>(losses: &[T]) -> f64 {
    losses.iter().map(|loss| loss.to_f64()).sum::<f64>() / losses.len() as f64
}

/// Turns the outputs z into what the network returns, in place: log-probabilities, rates, or means and variances if that is
/// the head, otherwise z itself.
pub fn read_outputs<T: Real>(head: Head, z: &mut [T]) {
    match head {
        Head::LogSoftmax => {
            let mut e = vec![T::ZERO; z.len()];
            let row = SoftmaxRow::<T>::new(z, &mut e);
            for z in z {
                *z = row.log_probability(*z);
            }
        }
        Head::Poisson => z.iter_mut().for_each(|z| *z = z.exp()),
        Head::Gaussian => z.iter_mut().skip(1).step_by(2).for_each(|z| *z = variance(*z)),
        Head::Regression | Head::Binary | Head::MultiLabel | Head::Logits => {}
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

    fn open(&self, _device: &DeviceId, spec: &Spec, training: &Training) -> Result<Box<dyn Session>> {
        Ok(Box::new(ReferenceSession::new(spec, training)?))
    }
}

/// A session of the reference engine.
#[derive(Clone, Debug)]
pub struct ReferenceSession {
    spec: Spec,
    training: Training,
    network: Option<Network<f32>>,
    train: Option<Dataset>,
    validation: Option<Dataset>,
    /// What the training data weighs.
    weighting: Weighting,
}

impl ReferenceSession {
    /// Opens a session for this network and this way to train it.
    pub fn new(spec: &Spec, training: &Training) -> Result<Self> {
        spec.validate()?;
        training.validate()?;
        training.check(spec)?;
        let (spec, training, weighting) = (spec.clone(), training.clone(), Weighting::default());
        Ok(Self { spec, training, network: None, train: None, validation: None, weighting })
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
    let row = |sample: usize| data.inputs().rows(sample..sample + 1, data.features()).into_owned();
    samples.iter().flat_map(|&sample| row(sample as usize)).collect()
}

/// The samples of a batch, each with its predicted class.
fn predictions<'a>(samples: &'a [u32], guesses: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    samples.iter().map(|&sample| sample as usize).zip(guesses.iter().copied())
}

impl Session for ReferenceSession {
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()> {
        data.check(&self.spec)?;
        match split {
            Split::Train => {
                self.weighting = Weighting::of_training(&self.training.class_weights, data);
                self.train = Some(data.clone());
            }
            Split::Validation => self.validation = Some(data.clone()),
        }
        Ok(())
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        state.check(&self.spec)?;
        state.check_slots(&self.training)?;
        self.network = Some(Network::new(&self.spec, &self.training, state));
        Ok(())
    }

    fn state(&mut self) -> Result<State> {
        Ok(self.network()?.state())
    }

    fn train(&mut self, span: &Span<'_>) -> Result<Report> {
        let data = loaded(self.train.as_ref())?.clone();
        span.check(data.samples(), self.network()?.step)?;
        let mut report = Report { tally: self.spec.tally(), ..Report::default() };
        for (step, (samples, rates)) in span.batches().enumerate() {
            let Some(network) = self.network.as_mut() else { break };
            let x = gather(&data, samples);
            let judged = network.train_step(&x, data.targets(), samples, &self.weighting, &rates);
            let loss = self.weighting.mean(&judged.losses, samples);
            if !loss.is_finite() {
                report.first_non_finite = Some(step);
                break;
            }
            report.losses.push(loss);
            if report.tally.classes() > 0 {
                let hits = report.tally.count(data.targets(), predictions(samples, &judged.guesses));
                report.hits.push(hits);
            }
        }
        Ok(report)
    }

    fn gradient(&mut self, samples: &[u32]) -> Result<Vec<Parameters>> {
        let data = loaded(self.train.as_ref())?;
        let network = self.network()?;
        let (_, gradients) = network.gradients(&gather(data, samples), data.targets(), samples, &self.weighting);
        if gradients.is_empty() {
            return Err(no_gradient());
        }
        Ok(gradients.iter().enumerate().map(|(l, gradient)| network.parameters(l, gradient.each_ref())).collect())
    }

    fn evaluate(&mut self, split: Split) -> Result<Evaluation> {
        let data = match split {
            Split::Train => loaded(self.train.as_ref())?,
            Split::Validation => loaded(self.validation.as_ref())?,
        };
        let network = self.network()?.for_prediction();
        let weighting = Weighting::of_evaluation(data);
        let mut confusion = self.spec.confusion();
        let mut losses = Vec::with_capacity(data.samples());
        let all: Vec<u32> = (0..data.samples() as u32).collect();
        for samples in all.chunks(256) {
            let z = network.forward(&gather(data, samples)).pop().unwrap_or_default();
            let judged = network.judge(&z, data.targets(), samples, &weighting);
            losses.extend(judged.losses);
            confusion.tally(data.targets(), predictions(samples, &judged.guesses));
        }
        Ok(Evaluation { loss: weighting.mean(&losses, &all), confusion })
    }

    fn predict(&mut self, inputs: &Inputs, outputs: &mut Matrix) -> Result<()> {
        check_prediction(&self.spec, inputs, outputs)?;
        let network = self.network()?.for_prediction();
        let features = self.spec.input.features;
        for first in (0..outputs.rows()).step_by(256) {
            let samples = first..outputs.rows().min(first + 256);
            let z = network.forward(&inputs.rows(samples.clone(), features)).pop().unwrap_or_default();
            for (row, z) in samples.zip(z.chunks_exact(outputs.columns())) {
                let to = outputs.row_mut(row);
                to.copy_from_slice(z);
                read_outputs(self.spec.head, to);
            }
        }
        Ok(())
    }
}

/// Checks a prediction's inputs, which must be finite, and the shapes of inputs and outputs. For engines.
pub fn check_prediction(spec: &Spec, inputs: &Inputs, outputs: &Matrix) -> Result<()> {
    inputs.check(spec.input.features)?;
    let (found, wanted) = ((outputs.rows(), outputs.columns()), (inputs.len() / spec.input.features, spec.outputs()));
    if found != wanted {
        return Err(Error::mismatch(format!("an output matrix of {found:?}, not {wanted:?}"), "make it that size"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::{Block, Embedding};
    use crate::groups::Parametrization;
    use crate::ops::{Dropout, Loss, Noise, Nonlinearity, Optimizer};
    use crate::random::{Random, Stream};
    use crate::weighting::ClassWeights;
    use crate::{Activation, Mlp, Normalization};

    /// Compares every derivative of the mean loss, by central differences in f64, with backpropagation's.
    fn check_gradients(spec: &Spec, training: &Training, seed: u32, perturbation: Perturbation) {
        let training = training.clone().seed(seed);
        let state = State::initial(spec, &training).unwrap();
        let mut network = Network::<f64>::new(spec, &training, &state);
        let mut random = Random::new(seed, Stream::Augmentation, 0);
        let batch = 5;
        let x: Vec<f64> = (0..batch * spec.input.features)
            .map(|i| if i % 4 == 0 { 0.0 } else { f64::from(random.uniform(-1.0, 1.0)) })
            .collect();
        let targets = match spec.classes() {
            0 => {
                let mut target = || match spec.head {
                    Head::Poisson => random.below(5) as f32,
                    Head::MultiLabel => random.below(2) as f32,
                    _ => random.uniform(-1.0, 1.0),
                };
                let values = (0..batch * spec.targets()).map(|_| target()).collect();
                Targets::Values { values, outputs: spec.targets() }
            }
            classes => {
                Targets::Classes { labels: (0..batch).map(|_| random.below(classes as u64) as u32).collect(), classes }
            }
        };
        let inputs = Inputs::F32(x.iter().map(|&x| x as f32).collect::<Vec<_>>().into());
        let mut data = Dataset::new(inputs, spec.input.features, targets.clone()).unwrap();
        data.check(spec).unwrap();
        if seed.is_multiple_of(2) {
            data = data.with_weights([0.5, 2.0, 0.0, 1.0, 0.25]).unwrap();
        }
        let weighting = Weighting::of_training(&training.class_weights, &data);
        let samples: Vec<u32> = (0..batch as u32).collect();
        let loss = |network: &Network<f64>| {
            let h = network.pass_with(&x, &perturbation).h;
            weighting.mean(&network.judge(&h[h.len() - 1], &targets, &samples, &weighting).losses, &samples)
        };
        let (_, gradients) = network.gradients_with(&x, &targets, &samples, &weighting, &perturbation);
        let epsilon = 1e-5;
        for l in 0..spec.layers.len() {
            for i in 0..network.layer_mut(l).iter().map(|part| part.len()).sum() {
                let nudge = |network: &mut Network<f64>, by: f64| {
                    let value = network.layer_mut(l).into_iter().flatten().nth(i);
                    *value.expect("it is one of the layer's") += by;
                };
                nudge(&mut network, epsilon);
                let above = loss(&network);
                nudge(&mut network, -2.0 * epsilon);
                let below = loss(&network);
                nudge(&mut network, epsilon);
                let numeric = (above - below) / (2.0 * epsilon);
                let analytic = gradients.layers[l].iter().flatten().copied().nth(i).unwrap_or(f64::NAN);
                assert!(
                    (numeric - analytic).abs() <= 1e-8 * (1.0 + analytic.abs()),
                    "{spec:?} {} seed {seed}: layer {l}, parameter {i}: central difference {numeric}, backward {analytic}",
                    training.loss
                );
            }
        }
        for (t, tensor) in gradients.embedding.iter().enumerate() {
            for (i, &analytic) in tensor.iter().enumerate() {
                let mut nudged = |by: f64| {
                    network.embedding_mut()[t][i] += by;
                    loss(&network)
                };
                let (above, below) = (nudged(epsilon), nudged(-2.0 * epsilon));
                nudged(epsilon);
                let numeric = (above - below) / (2.0 * epsilon);
                assert!(
                    (numeric - analytic).abs() <= 1e-8 * (1.0 + analytic.abs()),
                    "{spec:?} seed {seed}: tensor {t}, value {i}: central difference {numeric}, backward {analytic}"
                );
            }
        }
    }

    #[test]
    fn gradients_of_embeddings_match_central_differences() {
        let blocks = vec![
            Block::Periodic { features: 1, frequencies: 3, outputs: 3 },
            Block::Piecewise { features: 1, bins: 3, outputs: 3 },
            Block::Category { features: 2, size: 3 },
        ];
        for scaled in [false, true] {
            let mut spec = Mlp::new(4).hidden(&[5, 4], Activation::Tanh).classes(3);
            spec.input.normalization =
                Normalization::PerFeature { scale: vec![0.5, 2.0, 1.0, 1.0], shift: vec![0.25, -0.5, 0.0, 0.0] };
            spec.input.embedding = Some(Embedding { blocks: blocks.clone(), scaled });
            let training = Training { frequency_spread: 0.7, ..Training::default() };
            for seed in 0..6 {
                check_gradients(&spec, &training, seed, Perturbation::default());
            }
        }
    }

    #[test]
    fn gradients_match_central_differences_for_every_activation_and_head() {
        let normalization =
            Normalization::PerFeature { scale: vec![0.5, 2.0, 1.0, -1.5], shift: vec![0.25, 0.0, -0.5, 1.0] };
        let plain = Activation::ALL.iter().map(|&activation| Nonlinearity::from(activation));
        let learned = ["prelu", "parametric-silu", "parametric-tanh", "parametric-elu"];
        for activation in plain.chain(learned.map(|text| text.parse().unwrap())) {
            for seed in 1..4 {
                for depth in 0..4 {
                    let mlp = || Mlp::new(4).hidden(&[6, 5, 3][..depth], activation).normalized(normalization.clone());
                    let training = Training::default();
                    let dropout = Dropout::new(0.3, seed, 7);
                    let random = match depth {
                        3 => Perturbation {
                            hidden: Some(dropout),
                            inputs: Some(dropout),
                            noise: Some(Noise::new(0.5, seed, 7)),
                        },
                        2 => Perturbation { hidden: Some(dropout), ..Perturbation::default() },
                        _ => Perturbation::default(),
                    };
                    check_gradients(&mlp().classes(3), &training, seed, random);
                    check_gradients(&mlp().binary(), &training, seed, Perturbation::default());
                    check_gradients(&mlp().values(2), &training, seed, Perturbation::default());
                }
            }
        }
    }

    #[test]
    fn gradients_match_central_differences_for_every_loss_and_weights() {
        let mlp = || Mlp::new(4).hidden(&[6], Activation::Tanh);
        let log_softmax = Spec { head: Head::LogSoftmax, ..mlp().classes(3) };
        let heads = [
            mlp().values(2),
            mlp().counts(2),
            mlp().gaussian(2),
            mlp().binary(),
            mlp().labels(3),
            mlp().classes(3),
            log_softmax,
        ];
        let parameters =
            ["huber:delta=0.3", "smooth-l1:beta=0.3", "quantile:q=0.9", "binary-cross-entropy:pos_weight=3"];
        let mut checked = 0;
        for loss in Loss::names().chain(parameters).chain(["cross-entropy:smoothing=0.2"]) {
            let loss: Loss = loss.parse().unwrap();
            for spec in heads.iter().filter(|spec| loss.judging(spec.head).is_ok()) {
                for seed in 1..7 {
                    let weights = ClassWeights::Given([3.0, 0.5, 1.5][..spec.classes()].to_vec());
                    let weights = if seed % 3 == 0 && spec.classes() > 0 { weights } else { ClassWeights::None };
                    check_gradients(
                        spec,
                        &Training::default().loss(loss).class_weights(weights),
                        seed,
                        Perturbation::default(),
                    );
                    checked += 1;
                }
            }
        }
        // Seven with the head's own, and each loss with each head that it fits.
        assert_eq!(checked, 6 * (7 + 5 + 1 + 1 + 2 + 2 + 3 + 2 + 2));
    }

    /// The last of three samples weighs nothing, or all three do.
    #[test]
    fn weights_are_shares_of_the_batch() {
        let spec = Mlp::new(2).hidden(&[3], Activation::Tanh).values(1);
        let training = Training::default();
        let inputs = Inputs::F32(vec![0.5, -1.0, 2.0, 0.25, -0.75, 1.5].into());
        let values = Targets::Values { values: vec![1.0, -2.0, 0.5].into(), outputs: 1 };
        let data = Dataset::new(inputs, 2, values).unwrap();
        let run = |data: &Dataset, samples: &[u32]| {
            let mut session = ReferenceSession::new(&spec, &training).unwrap();
            session.load(Split::Train, data).unwrap();
            session.load(Split::Validation, data).unwrap();
            session.set_state(&State::initial(&spec, &training).unwrap()).unwrap();
            let before = session.evaluate(Split::Validation).unwrap().loss;
            let span = Span { first_step: 0, order: samples, batch_size: 3, learning_rate: &[0.1], ..Span::default() };
            let report = session.train(&span).unwrap();
            (before, report.losses[0], session.state().unwrap().digest())
        };
        let weigh = |weights: [f32; 3]| data.clone().with_weights(weights).unwrap();
        let all = run(&data, &[0, 1, 2]);
        assert_eq!(run(&weigh([1.0; 3]), &[0, 1, 2]), all);
        assert_eq!(run(&weigh([4.0; 3]), &[0, 1, 2]), all);
        let two = run(&weigh([1.0, 1.0, 0.0]), &[0, 1, 2]);
        assert_eq!((two.1, &two.2), (run(&data, &[0, 1]).1, &run(&data, &[0, 1]).2));
        let nothing = run(&weigh([0.0, 1.0, 0.0]), &[0, 2]);
        assert_eq!(nothing.1, 0.0);
        assert_eq!(nothing.2, {
            let mut untrained = State::initial(&spec, &training).unwrap();
            untrained.step = 1;
            untrained.digest()
        });
    }

    #[test]
    fn what_holds_back_does_what_it_says() {
        let spec = Mlp::new(4).hidden(&[6, 5], Activation::Tanh).values(2);
        let targets = Targets::Values { values: vec![1.0; 6].into(), outputs: 2 };
        let x: Vec<f64> = (0..12).map(|i| (f64::from(i) - 6.0) * 0.3).collect();
        let step = |change: &dyn Fn(&mut Training)| {
            let mut training = Training::default();
            change(&mut training);
            let mut network = Network::<f64>::new(&spec, &training, &State::initial(&spec, &training).unwrap());
            let before = network.clone();
            network.train_step(&x, &targets, &[0, 1, 2], &Weighting::default(), &1.0.into());
            (before, network)
        };
        let moved = |(before, after): &(Network<f64>, Network<f64>)| -> Vec<f64> {
            let flat = |network: &Network<f64>| [network.weight.concat(), network.bias.concat()].concat();
            flat(before).iter().zip(flat(after)).map(|(before, after)| before - after).collect()
        };
        let length = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let plain = moved(&step(&|_| ()));
        assert!(length(&plain) > 0.5);
        assert!((length(&moved(&step(&|t| t.clip_norm = 0.25))) - 0.25).abs() < 1e-6);
        assert_eq!(moved(&step(&|t| t.clip_norm = 100.0)), plain);
        let largest = moved(&step(&|t| t.clip_value = 0.125)).iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        assert!((largest - 0.125).abs() < 1e-12);
        // Penalties are on weights, not on biases.
        let (before, after) = step(&|t| (t.l1, t.l2) = (0.25, 0.5));
        let (_, plain_after) = step(&|_| ());
        for (l, weight) in before.weight.iter().enumerate() {
            for (i, w) in weight.iter().enumerate() {
                let wanted = plain_after.weight[l][i] - 0.25 * w.signum() - 0.5 * w;
                assert!((after.weight[l][i] - wanted).abs() < 1e-12);
            }
        }
        assert_eq!(after.bias, plain_after.bias);
        let (_, held) = step(&|t| t.max_norm = 0.5);
        for (l, weight) in held.weight.iter().enumerate() {
            assert!(weight.chunks(spec.fan_in(l)).all(|row| length(row) < 0.5 + 1e-6));
        }
        let (_, averaged) = step(&|t| t.ema = 0.9);
        assert_eq!(averaged.for_prediction().weight, plain_after.weight);
    }

    /// A network whose weights are W/√fan_in, with W updated by the optimiser's own rule, next to one that is trained with
    /// `parametrization = ntk`.
    #[test]
    fn ntk_moves_weights_as_weights_of_variance_1_would() {
        let spec = Mlp::new(4).hidden(&[7, 5], Activation::Tanh).values(2);
        let targets = Targets::Values { values: vec![1.0, -2.0, 0.5, 0.25, 3.0, -1.0].into(), outputs: 2 };
        let x: Vec<f64> = (0..12).map(|i| (f64::from(i) - 6.0) * 0.3).collect();
        let (samples, weighting) = ([0, 1, 2], Weighting::default());
        let optimizers = [
            "sgd:weight_decay=0.1",
            "sgd:momentum=0.9,weight_decay=0.1",
            "adam:weight_decay=0.1,eps=1e-3",
            "adamw:weight_decay=0.1,eps=1e-3",
            "amsgrad:eps=1e-3",
            "nadam:eps=1e-3,weight_decay=0.1",
            "radam:beta2=0.6,eps=1e-3,weight_decay=0.1",
            "rmsprop:centered=true,momentum=0.5,eps=1e-2",
            "adagrad:eps=1e-3",
            "lion:weight_decay=0.1",
        ];
        for text in optimizers {
            let optimizer: Optimizer = text.parse().unwrap();
            let plain = Training::default().optimizer(optimizer).seed(3);
            let ntk = Training { parametrization: Parametrization::Ntk, ..plain.clone() };
            let state = State::initial(&spec, &plain).unwrap();
            let mut found = Network::<f64>::new(&spec, &ntk, &state);
            let mut wanted = Network::<f64>::new(&spec, &plain, &state);
            for _ in 0..12 {
                found.train_step(&x, &targets, &samples, &weighting, &0.02.into());
                let (_, mut gradients) = wanted.gradients(&x, &targets, &samples, &weighting);
                let root = |l: usize| (spec.fan_in(l) as f64).sqrt();
                for (l, gradient) in gradients.iter_mut().enumerate() {
                    gradient[0].iter_mut().for_each(|g| *g /= root(l));
                    wanted.weight[l].iter_mut().for_each(|w| *w *= root(l));
                    wanted.update(l, gradient, &0.02.into());
                    wanted.weight[l].iter_mut().for_each(|w| *w /= root(l));
                }
                wanted.step += 1;
            }
            for (found, wanted) in found.weight.concat().iter().zip(wanted.weight.concat()) {
                // The scalars are rounded to f32.
                assert!((found - wanted).abs() < 1e-6, "{text}: {found} instead of {wanted}");
            }
            assert_ne!(found.weight, Network::<f64>::new(&spec, &ntk, &state).weight);
        }
    }

    /// The singular values come near 1 (Jordan et al.: between 0.7 and 1.2), so that XᵀX comes near the unit matrix.
    #[test]
    fn muon_makes_matrices_nearly_orthogonal() {
        let mut random = Random::new(4, Stream::Augmentation, 0);
        for (units, fan_in) in [(5, 12), (12, 5), (7, 7)] {
            let gradient: Vec<f64> = (0..units * fan_in).map(|_| f64::from(random.uniform(-1.0, 1.0))).collect();
            let muon = Muon { momentum: 0.9, nesterov: true, steps: 5 };
            let mut buffer = vec![0.0; gradient.len()];
            let x = orthogonalised(&muon, units, &gradient, &mut buffer);
            let (count, of) = if units <= fan_in { (units, (fan_in, 1)) } else { (fan_in, (1, fan_in)) };
            let length = units * fan_in / count;
            let dot = |i: usize, j: usize| -> f64 {
                (0..length).map(|k| x[i * of.0 + k * of.1] * x[j * of.0 + k * of.1]).sum()
            };
            let trace: f64 = (0..count).map(|i| dot(i, i)).sum();
            assert!((0.6..1.3).contains(&(trace / count as f64)), "{units}x{fan_in}: {trace}");
            for (i, j) in (0..count).flat_map(|i| (0..i).map(move |j| (i, j))) {
                assert!(dot(i, j).abs() < 0.35, "{units}x{fan_in}: rows {i} and {j}: {}", dot(i, j));
            }
            assert!(buffer.iter().zip(&gradient).all(|(b, g)| (b - 0.1 * g).abs() < 1e-7));
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
            let (training, even) = (Training::default().seed(9), Weighting::default());
            let mut network = Network::<f32>::new(spec, &training, &State::initial(spec, &training).unwrap());
            let losses: Vec<_> =
                (0..20).map(|_| network.train_step(&x, &targets, &[0, 1, 2], &even, &0.5.into()).losses).collect();
            (losses, network.state().digest())
        };
        assert_eq!(run(&logits), run(&log_softmax));
    }
}
