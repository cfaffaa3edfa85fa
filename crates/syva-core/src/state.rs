//! The state of a training: the weights and biases, what the optimiser remembers of them, and the number of steps that
//! they have taken.

use sha2::{Digest, Sha256};

use crate::data::Dataset;
use crate::embedding::Embedding;
use crate::groups::Part;
use crate::random::{Random, Stream};
use crate::spec::{Layer, Spec};
use crate::training::{AVERAGE, Training};
use crate::{Error, Result};

/// A row-major matrix of f32.
///
/// ```
/// let m = syva_core::Matrix::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(m.row(1), [4.0, 5.0, 6.0]);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// Takes `rows · columns` values, row after row.
    pub fn new(rows: usize, columns: usize, values: Vec<f32>) -> Result<Self> {
        if rows.checked_mul(columns) != Some(values.len()) {
            let problem = format!("{} values do not fill a {rows} by {columns} matrix", values.len());
            return Err(Error::mismatch(problem, "give rows times columns values"));
        }
        Ok(Self { rows, columns, values })
    }

    /// All zeros.
    #[must_use]
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// A row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// A row, mutable.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.columns..][..self.columns]
    }

    /// All values, row after row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, mutable.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

/// Checks that inputs `[samples, columns]` are finite numbers. A network cannot detect others: ReLU, for example, turns
/// NaN into 0, and the network then gives a confident answer that means nothing.
///
/// ```
/// let error = syva_core::check_finite(&[1.0, 2.0, 3.0, f32::NAN], 2).unwrap_err();
/// assert_eq!(error.to_string(), "sample 1, feature 1 (both counted from 0): NaN is not finite; remove or fill in such values");
/// ```
pub fn check_finite(values: &[f32], columns: usize) -> Result<()> {
    // First a check of all values at once, because a loop without an early exit becomes SIMD code.
    if values.iter().fold(true, |finite, value| finite & value.is_finite()) {
        return Ok(());
    }
    let place = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
    let (sample, feature) = (place / columns.max(1), place % columns.max(1));
    let problem = format!("sample {sample}, feature {feature} (both counted from 0): {} is not finite", values[place]);
    Err(Error::mismatch(problem, "remove or fill in such values"))
}

/// What is learned of one layer, in PyTorch's layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// `[units, fan_in]`.
    pub weight: Matrix,
    /// `[units]`.
    pub bias: Vec<f32>,
    /// `[units]`, or empty: the gain of each unit, if the layer's activation is [`Learned`](crate::ops::Learned).
    pub gain: Vec<f32>,
}

impl Parameters {
    /// A layer without gains.
    #[must_use]
    pub fn new(weight: Matrix, bias: Vec<f32>) -> Self {
        Self { weight, bias, gain: Vec::new() }
    }

    /// Its tensors in the order in which they are hashed and stored: what they are, and their values, row after row.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &[f32])> {
        let all = [(Part::Weights, &self.weight.values[..]), (Part::Biases, &self.bias), (Part::Gains, &self.gain)];
        all.into_iter().filter(|(_, values)| !values.is_empty())
    }

    /// The same shapes, filled with one value.
    fn filled(&self, value: f32) -> Self {
        Self {
            weight: Matrix { values: vec![value; self.weight.values.len()], ..self.weight },
            bias: vec![value; self.bias.len()],
            gain: vec![value; self.gain.len()],
        }
    }
}

/// What an optimiser remembers of every weight and bias, such as the mean of its gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// PyTorch's name for it, such as `exp_avg`.
    pub name: String,
    /// One entry per tensor of the embedding.
    pub embedding: Vec<Vec<f32>>,
    /// One entry per linear layer, shaped like its weights and biases.
    pub layers: Vec<Parameters>,
}

/// Everything that training changes. Engines receive it and return it, and are compared by it.
///
/// ```
/// use syva_core::{Activation::Sigmoid, Mlp, State, Training};
/// let spec = Mlp::new(784).hidden(&[256, 128], Sigmoid).classes(10);
/// let state = State::initial(&spec, &Training::default())?;
/// assert_eq!((state.layers[0].weight.rows(), state.layers[0].weight.columns()), (256, 784));
/// assert_eq!(state.digest(), State::initial(&spec, &Training::default().seed(1))?.digest());
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Steps taken since the initial weights.
    pub step: u64,
    /// What the embedding of the inputs has learned: one entry per [`Tensor`](crate::Tensor). Empty without an embedding.
    pub embedding: Vec<Vec<f32>>,
    /// One entry per linear layer.
    pub layers: Vec<Parameters>,
    /// What the optimiser remembers, in the order of [`Rule::slots`](crate::ops::Rule::slots). Empty if it remembers
    /// nothing, and in a model, which only predicts. A training that begins with a model begins with fresh slots.
    pub slots: Vec<Slot>,
}

/// Samples whose quantiles are taken, at most.
const QUANTILES: u64 = 1 << 16;

impl State {
    /// The weights and slots with which a training begins. Layer k draws from substream k of the stream `Init`: first the
    /// weights, row after row, then the biases.
    pub fn initial(spec: &Spec, training: &Training) -> Result<Self> {
        if training.begins_with_data() {
            let problem = "these initial weights depend on the training data";
            return Err(Error::setting("init", problem, "use State::initial_on, which takes the data"));
        }
        Self::drawn(spec, training)
    }

    /// Like [`State::initial`], for initialisations that depend on the training data, too. The bins of
    /// [piecewise](crate::Block::Piecewise) embeddings are those between quantiles of the data.
    pub fn initial_on(spec: &Spec, training: &Training, data: &Dataset) -> Result<Self> {
        let mut state = Self::drawn(spec, training)?;
        let embedding = spec.input.embedding.as_ref().filter(|embedding| embedding.begins_with_data());
        if embedding.is_some() || training.begins_with_data() {
            data.check(spec)?;
        }
        if let Some(embedding) = embedding {
            let (inputs, features, samples) = (data.inputs(), spec.input.features, data.samples() as u64);
            let rows = samples.min(QUANTILES);
            // Spread over all of the data.
            let column =
                |k: usize| (0..rows).map(|row| inputs.get((row * samples / rows) as usize * features + k)).collect();
            embedding.fit_to_data(&mut state.embedding, &spec.input.normalization, column);
        }
        if training.begins_with_data() {
            crate::init::fit_to_data(spec, training, data, &mut state);
        }
        Ok(state)
    }

    /// The initial weights, before they are fitted to data.
    fn drawn(spec: &Spec, training: &Training) -> Result<Self> {
        spec.validate()?;
        training.init.check(spec)?;
        training.bias_init.validate()?;
        let layers = (0..spec.layers.len())
            .map(|k| {
                let (fan_in, units) = (spec.fan_in(k), spec.layers[k].units);
                let mut random = Random::new(training.seed, Stream::Init, k as u64);
                let weight = training.init.weights(units, fan_in, spec.layers[k].activation, &mut random);
                let bias = training.bias_init.biases(training.init, units, fan_in, &mut random);
                let zero = training.zero_last && k + 1 == spec.layers.len();
                let (weight, bias) =
                    if zero { (vec![0.0; weight.len()], vec![0.0; bias.len()]) } else { (weight, bias) };
                let gain = vec![spec.layers[k].learned.initial(spec.layers[k].activation); spec.layers[k].gains()];
                Parameters { weight: Matrix { rows: units, columns: fan_in, values: weight }, bias, gain }
            })
            .collect();
        let embedding = match &spec.input.embedding {
            Some(embedding) => embedding.initial(f64::from(training.frequency_spread), training.seed),
            None => Vec::new(),
        };
        Ok(Self { step: 0, embedding, layers, slots: Vec::new() }.with_slots(training))
    }

    /// The same state with fresh slots for the training's optimiser, if it has none.
    #[must_use]
    pub fn with_slots(mut self, training: &Training) -> Self {
        if self.slots.is_empty() {
            let value = training.optimizer.initial_slot();
            let slot = |name: &str| Slot {
                name: name.into(),
                embedding: match name {
                    AVERAGE => self.embedding.clone(),
                    _ => self.embedding.iter().map(|tensor| vec![value; tensor.len()]).collect(),
                },
                layers: match name {
                    AVERAGE => self.layers.clone(),
                    _ => self.layers.iter().map(|layer| layer.filled(value)).collect(),
                },
            };
            self.slots = training.slots().into_iter().map(slot).collect();
        }
        self
    }

    /// The weights and biases that predict, as a model holds them: the average if there is one.
    #[must_use]
    pub fn for_prediction(self) -> Self {
        let average = self.slots.into_iter().find(|slot| slot.name == AVERAGE);
        let (embedding, layers) = match average {
            Some(average) => (average.embedding, average.layers),
            None => (self.embedding, self.layers),
        };
        Self { step: self.step, embedding, layers, slots: Vec::new() }
    }

    /// Checks that the shapes are the spec's.
    pub fn check(&self, spec: &Spec) -> Result<()> {
        check_layers("the state", &self.embedding, &self.layers, spec)?;
        self.slots.iter().try_for_each(|slot| check_layers(&slot.name, &slot.embedding, &slot.layers, spec))
    }

    /// Checks that the slots, if there are any, are those of the training's optimiser.
    pub fn check_slots(&self, training: &Training) -> Result<()> {
        let found: Vec<&str> = self.slots.iter().map(|slot| slot.name.as_str()).collect();
        let wanted = training.slots();
        if !found.is_empty() && found != wanted {
            let said = |names: &[&str]| if names.is_empty() { "nothing".into() } else { names.join(", ") };
            let problem = format!(
                "the state's optimiser remembers {}, and {} remembers {}",
                said(&found),
                training.optimizer,
                said(&wanted)
            );
            return Err(Error::mismatch(problem, "use the optimizer that the training began with"));
        }
        Ok(())
    }

    /// The SHA-256 of all weights, biases and gains, in hexadecimal. They are hashed as little-endian f32, layer after
    /// layer, in this order. If the digests of two runs are equal, the runs agree to the bit.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        self.hash(&mut hash);
        hex(&hash.finalize())
    }

    /// Adds the bytes that [`State::digest`] hashes.
    pub(crate) fn hash(&self, hash: &mut Sha256) {
        hash_layers(&self.embedding, &self.layers, hash);
    }

    /// Whether every value is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        let finite = |p: &Parameters| p.parts().all(|(_, values)| values.iter().all(|value| value.is_finite()));
        let finite_tensors = |tensors: &[Vec<f32>]| tensors.iter().flatten().all(|value| value.is_finite());
        finite_tensors(&self.embedding)
            && self.slots.iter().all(|slot| finite_tensors(&slot.embedding))
            && self.layers.iter().chain(self.slots.iter().flat_map(|slot| &slot.layers)).all(finite)
    }
}

/// Adds the bytes of all weights and biases, in the order of [`State::digest`].
pub(crate) fn hash_layers(embedding: &[Vec<f32>], layers: &[Parameters], hash: &mut Sha256) {
    let parts = layers.iter().flat_map(|layer| layer.parts().map(|(_, values)| values));
    for values in embedding.iter().map(Vec::as_slice).chain(parts) {
        // In pieces, so that a wide layer's bytes are not all in memory at the same time as its numbers.
        for values in values.chunks(1 << 14) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            hash.update(bytes);
        }
    }
}

/// Checks that layers have the spec's shapes.
fn check_layers(what: &str, embedding: &[Vec<f32>], layers: &[Parameters], spec: &Spec) -> Result<()> {
    let refuse = |problem: String| Err(Error::mismatch(problem, "use the state of this network"));
    let tensors = spec.input.embedding.iter().flat_map(Embedding::tensors);
    let wanted: Vec<usize> = tensors.map(|tensor| tensor.len()).collect();
    let found: Vec<usize> = embedding.iter().map(Vec::len).collect();
    if found != wanted {
        return refuse(format!("{what}: the embedding has tensors of {found:?} values, the network of {wanted:?}"));
    }
    if layers.len() != spec.layers.len() {
        return refuse(format!("{what} has {} layers, the network {} layers", layers.len(), spec.layers.len()));
    }
    for (k, parameters) in layers.iter().enumerate() {
        let found = (parameters.weight.rows, parameters.weight.columns, parameters.bias.len(), parameters.gain.len());
        let Layer { units, .. } = spec.layers[k];
        let wanted = (units, spec.fan_in(k), units, spec.layers[k].gains());
        if found != wanted {
            let layer = k + 1;
            return refuse(format!(
                "{what}: layer {layer} has (units, fan_in, biases, gains) {found:?}, the network {wanted:?}"
            ));
        }
    }
    Ok(())
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Inputs, Targets};
    use crate::{Activation, Block, Init, Mlp, Normalization};

    #[test]
    fn bins_of_numbers_are_those_between_their_quantiles() {
        let (block, features) = (Block::Piecewise { features: 2, bins: 4, outputs: 3 }, 2);
        let mut spec = Mlp::new(features).hidden(&[3], Activation::Relu).values(1);
        spec.input.normalization = Normalization::PerFeature { scale: vec![2.0, 1.0], shift: vec![1.0, 0.0] };
        spec.input.embedding = Some(Embedding { blocks: vec![block], scaled: false });
        // The first is 0, 1, … 8 in another order, and the second is the same in six of nine rows.
        let values = [3, 0, 8, 5, 1, 7, 2, 6, 4].iter().enumerate();
        let inputs =
            values.flat_map(|(row, &x)| [x as f32, if row < 6 { 2.0 } else { row as f32 }]).collect::<Vec<f32>>();
        let targets = Targets::Values { values: vec![0.0; 9].into(), outputs: 1 };
        let data = Dataset::new(Inputs::F32(inputs.into()), features, targets).unwrap();
        let state = State::initial_on(&spec, &Training::default(), &data).unwrap();
        let (slopes, places) = (&state.embedding[0], &state.embedding[1]);
        // 2x + 1 has the quantiles 1, 5, 9, 13, 17.
        assert_eq!(slopes[..4], [0.25; 4]);
        assert_eq!(places[..4], [-0.25, -1.25, -2.25, -3.25]);
        // Those of the other are 2, 2, 2, 6, 8.
        assert_eq!(slopes[4..], [0.0, 0.0, 0.25, 0.5]);
        assert_eq!(places[4..], [0.0, 0.0, -0.5, -3.0]);
    }

    fn moments(init: Init) -> (f64, f64, f64) {
        let spec = Mlp::new(400).hidden(&[300], Activation::Relu).classes(10);
        let state = State::initial(&spec, &Training::default().seed(3).init(init)).unwrap();
        let values = state.layers[0].weight.values();
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| f64::from(v) - mean).map(|d| d * d).sum::<f64>() / n;
        (mean, variance, f64::from(values.iter().fold(0.0, |m: f32, v| m.max(v.abs()))))
    }

    #[test]
    fn initial_weights_have_the_moments_of_their_distribution() {
        for (init, variance, bound) in [
            // (init, variance, largest magnitude)
            (Init::Pytorch, 1.0 / 1200.0, (1.0_f64 / 400.0).sqrt()),
            (Init::XAVIER_UNIFORM, 2.0 / 700.0, (6.0_f64 / 700.0).sqrt()),
            (Init::HE_UNIFORM, 2.0 / 400.0, (6.0_f64 / 400.0).sqrt()),
            (Init::XAVIER_NORMAL, 2.0 / 700.0, f64::INFINITY),
            (Init::HE_NORMAL, 2.0 / 400.0, f64::INFINITY),
        ] {
            let (mean, found, largest) = moments(init);
            // 120,000 draws: the mean's standard deviation is sd/346, the variance's about 0.4 %.
            assert!(mean.abs() < 4.0 * f64::sqrt(variance) / 346.0, "{init}: mean {mean}");
            assert!((found / variance - 1.0).abs() < 0.02, "{init}: variance {found}, wanted {variance}");
            assert!(largest <= bound * (1.0 + 1e-6), "{init}: {largest} beyond {bound}");
        }
        assert_eq!(moments(Init::Zeros), (0.0, 0.0, 0.0));
        assert_eq!(moments(Init::Constant { value: 0.25 }), (0.25, 0.0, 0.25));
    }

    /// The initial weights are part of what "the same bits" means.
    #[test]
    fn initial_weights_are_pinned() {
        let spec = Mlp::new(784).hidden(&[256, 128], Activation::Sigmoid).classes(10);
        let digest = |init: &str| {
            let training = Training::default().init(init.parse().unwrap());
            State::initial(&spec, &training).unwrap().digest()[..16].to_string()
        };
        for (init, wanted) in [
            ("pytorch", "a739d8d433e085d7"),
            ("he-normal", "082c371dbc239e4a"),
            ("he-uniform", "f409e1fba524cd57"),
            ("xavier-uniform", "b2ba9cc5caefc841"),
            ("xavier-normal", "5a9536d19550fe98"),
            ("lecun-normal:gain=tanh", "962f71385de4793d"),
            ("truncated-normal", "1191c1d7c3863ed7"),
            ("orthogonal", "e5c261464be40ac3"),
            ("sparse", "5e7e996deec33716"),
        ] {
            assert_eq!(digest(init), wanted, "{init}");
        }
        let biases = Training { bias_init: "pytorch".parse().unwrap(), ..Training::default() };
        assert_eq!(State::initial(&spec, &biases).unwrap(), State::initial(&spec, &Training::default()).unwrap());
        let biases = Training { bias_init: "constant:0.1".parse().unwrap(), ..Training::default() };
        let state = State::initial(&spec, &biases).unwrap();
        assert!(state.layers.iter().all(|layer| layer.bias.iter().all(|&bias| bias == 0.1)));
    }

    #[test]
    fn a_state_of_another_shape_is_refused() {
        let spec = Mlp::new(4).hidden(&[3], Activation::Relu).classes(2);
        let other = Mlp::new(4).hidden(&[5], Activation::Relu).classes(2);
        let error = State::initial(&other, &Training::default()).unwrap().check(&spec).unwrap_err();
        assert!(error.to_string().contains("layer 1"), "{error}");
    }
}
