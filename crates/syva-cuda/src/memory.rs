//! The buffers on the card: weights, activations, data, and the values that host and card exchange for a span.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DeviceRepr, ValidAsZeroBits};
use syva_core::data::{Dataset, Inputs, Targets};
use syva_core::ops::{Reads, SCALARS, SLOTS};
use syva_core::reference::BLOCK;
use syva_core::{AVERAGE, Activation, Matrix, Parameters, Part, Result, Slot, Spec, State, Training};

use crate::card::Card;
use crate::kernels::{
    Address, Data, Dropped, Layer, LearnedLayer, Outcome, Perturbed, Stored, StoredKernels, Tensor, Update, Varying,
};
use crate::plan::{self, padded};

/// The address of a buffer. The buffer must live until the stream of every launch that uses it has been waited for.
pub(crate) fn address<T>(buffer: &CudaSlice<T>, stream: &Arc<CudaStream>) -> Address {
    buffer.device_ptr(stream).0
}

/// A network: its weights, its normalization, and what its updates need.
pub(crate) struct Network {
    pub(crate) weights: Weights,
    scale: CudaSlice<f32>,
    shift: CudaSlice<f32>,
    /// Counts finished tiles of the first layer's update: one counter per column of tiles. All are 0 between steps.
    pub(crate) tickets: CudaSlice<u32>,
    /// What an update by stored gradients needs. `None` if the products' own kernels update the weights.
    stored: Option<StoredUpdate>,
}

/// All that a step changes: the weights as Wᵀ, padded to whole tiles, the biases, the gains, and what the training remembers
/// of them.
pub(crate) struct Weights {
    layers: Vec<LayerMemory>,
    /// By the names of [`Training::slots`].
    slots: Vec<(&'static str, Vec<LayerMemory>)>,
}

/// A layer's weights, biases and gains, or numbers of their shape.
pub(crate) struct LayerMemory {
    weight: CudaSlice<f32>,
    bias: CudaSlice<f32>,
    /// `None` unless the activation is learned.
    gain: Option<CudaSlice<f32>>,
    /// The first layer's initial sums, bias + Σ shift·w. `None` where nothing is computed from them.
    start: Option<CudaSlice<f32>>,
}

impl LayerMemory {
    /// The address of a part, or 0 if the layer has none.
    fn address_of(&self, part: Part, stream: &Arc<CudaStream>) -> Address {
        match part {
            Part::Weights => address(&self.weight, stream),
            Part::Biases => address(&self.bias, stream),
            Part::Gains => self.gain.as_ref().map_or(0, |gain| address(gain, stream)),
        }
    }
}

/// The gradients of a step, and how they update the weights.
struct StoredUpdate {
    gradient: Vec<LayerMemory>,
    tensors: CudaSlice<Tensor>,
    /// Sums of squares, one per unit.
    sums: CudaSlice<f32>,
    factor: CudaSlice<f32>,
    /// The kernels' argument without addresses, and their blocks.
    update: (Update, Blocks),
}

/// The blocks of launches for all that is learned: of parts of it, and of columns of weights.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Blocks {
    pub(crate) parts: usize,
    pub(crate) columns: usize,
}

/// Numbers of the shape of all that is learned. With `start`, also room for the first layer's initial sums.
pub(crate) fn like_weights(spec: &Spec, start: bool, what: &str, card: &Card) -> Result<Vec<LayerMemory>> {
    let layer = |l: usize| -> Result<LayerMemory> {
        let stride = padded(spec.layers[l].units);
        Ok(LayerMemory {
            weight: card.zeros(padded(spec.fan_in(l)) * stride, what)?,
            bias: card.zeros(stride, what)?,
            gain: if spec.layers[l].gains() > 0 { Some(card.zeros(stride, what)?) } else { None },
            start: if start && l == 0 { Some(card.zeros(stride, what)?) } else { None },
        })
    };
    (0..spec.layers.len()).map(layer).collect()
}

/// Puts weights, biases and gains on the card.
fn put(to: &mut [LayerMemory], layers: &[Parameters], card: &Card) -> Result<()> {
    for (memory, Parameters { weight, bias, gain }) in to.iter_mut().zip(layers) {
        let (units, fan_in, stride) = (weight.rows(), weight.columns(), padded(weight.rows()));
        let mut transposed = vec![0.0; fan_in * stride];
        for (j, row) in (0..units).map(|j| (j, weight.row(j))) {
            row.iter().enumerate().for_each(|(k, w)| transposed[k * stride + j] = *w);
        }
        upload(&transposed, &mut memory.weight, card)?;
        upload(bias, &mut memory.bias, card)?;
        memory.gain.as_mut().map_or(Ok(()), |memory| upload(gain, memory, card))?;
    }
    Ok(())
}

/// Fetches weights, biases and gains. Waits for the stream.
pub(crate) fn get(from: &[LayerMemory], spec: &Spec, stream: &Arc<CudaStream>, card: &Card) -> Result<Vec<Parameters>> {
    let mut layers = Vec::with_capacity(from.len());
    for (l, memory) in from.iter().enumerate() {
        let (units, fan_in) = (spec.layers[l].units, spec.fan_in(l));
        let stride = padded(units);
        let transposed = fetch(&memory.weight, 0..fan_in * stride, stream, card)?;
        let mut weight = Matrix::zeros(units, fan_in);
        for j in 0..units {
            let row = weight.row_mut(j).iter_mut().enumerate();
            row.for_each(|(k, w)| *w = transposed[k * stride + j]);
        }
        let fetched = |memory| fetch(memory, 0..units, stream, card);
        let gain = memory.gain.as_ref().map_or(Ok(Vec::new()), fetched)?;
        layers.push(Parameters { weight, bias: fetched(&memory.bias)?, gain });
    }
    Ok(layers)
}

impl Weights {
    pub(crate) fn new(spec: &Spec, training: &Training, card: &Card) -> Result<Self> {
        let slot = |name| Ok((name, like_weights(spec, name == AVERAGE, "what the optimizer remembers", card)?));
        Ok(Self {
            layers: like_weights(spec, true, "weights", card)?,
            slots: training.slots().into_iter().map(slot).collect::<Result<_>>()?,
        })
    }

    /// Bytes that the weights of a network take on the card, with what the training remembers of them, and with `stores`
    /// their gradients.
    pub(crate) fn bytes(spec: &Spec, training: &Training, stores: bool) -> usize {
        let rows = |l: usize| padded(spec.fan_in(l)) + 2 + usize::from(spec.layers[l].gains() > 0);
        let layer = |l: usize| rows(l) * padded(spec.layers[l].units) * 4;
        (1 + training.slots().len() + usize::from(stores)) * (0..spec.layers.len()).map(layer).sum::<usize>()
    }

    /// Puts weights, biases, gains and slots on the card. The state has the training's slots.
    pub(crate) fn set(&mut self, state: &State, card: &Card) -> Result<()> {
        put(&mut self.layers, &state.layers, card)?;
        self.slots.iter_mut().zip(&state.slots).try_for_each(|((_, to), from)| put(to, &from.layers, card))
    }

    /// Copies weights of the same training, on the card.
    pub(crate) fn copy_from(&mut self, other: &Self, card: &Card) -> Result<()> {
        let slots = self.slots.iter_mut().zip(&other.slots).flat_map(|((_, to), (_, from))| to.iter_mut().zip(from));
        for (to, from) in self.layers.iter_mut().zip(&other.layers).chain(slots) {
            let both = [(&from.weight, &mut to.weight), (&from.bias, &mut to.bias)];
            let start = from.start.as_ref().zip(to.start.as_mut());
            for (from, to) in both.into_iter().chain(from.gain.as_ref().zip(to.gain.as_mut())).chain(start) {
                card.stream.memcpy_dtod(from, to).map_err(|error| card.failure(error))?;
            }
        }
        Ok(())
    }

    /// Fetches weights, biases, gains and slots. Waits for the stream.
    pub(crate) fn get(&self, spec: &Spec, step: u64, stream: &Arc<CudaStream>, card: &Card) -> Result<State> {
        let slot = |(name, of): &(&str, Vec<LayerMemory>)| {
            Ok(Slot { name: (*name).into(), embedding: Vec::new(), layers: get(of, spec, stream, card)? })
        };
        let layers = get(&self.layers, spec, stream, card)?;
        Ok(State { step, embedding: Vec::new(), layers, slots: self.slots.iter().map(slot).collect::<Result<_>>()? })
    }

    /// What steps change.
    pub(crate) fn trained(&self) -> &[LayerMemory] {
        &self.layers
    }

    /// What predicts: the average, if there is one.
    pub(crate) fn predicting(&self) -> &[LayerMemory] {
        self.average().unwrap_or(&self.layers)
    }

    pub(crate) fn average(&self) -> Option<&[LayerMemory]> {
        self.slots.iter().find(|(name, _)| *name == AVERAGE).map(|(_, average)| &average[..])
    }
}

impl StoredUpdate {
    fn new(spec: &Spec, training: &Training, weights: &Weights, card: &Card) -> Result<Self> {
        let gradient = like_weights(spec, false, "gradients", card)?;
        let rule = training.optimizer.rule();
        let (mut tensors, mut blocks, mut units) = (Vec::new(), Blocks::default(), 0);
        for l in 0..spec.layers.len() {
            for part in Part::ALL {
                let (rows, part_units) = match part {
                    Part::Weights => (spec.fan_in(l), spec.layers[l].units),
                    Part::Biases => (1, spec.layers[l].units),
                    Part::Gains => (1, spec.layers[l].gains()),
                };
                let at = |of_layers: &[LayerMemory]| of_layers[l].address_of(part, &card.stream);
                let mut slots = [0; SLOTS];
                for (to, (_, slot)) in slots.iter_mut().zip(&weights.slots[..rule.slots().len()]) {
                    *to = at(slot);
                }
                tensors.push(Tensor {
                    values: at(&weights.layers),
                    gradient: at(&gradient),
                    slots,
                    average: weights.average().map_or(0, at),
                    rows: rows as u32,
                    units: part_units as u32,
                    stride: padded(spec.layers[l].units) as u32,
                    block: blocks.parts as u32,
                    wide: blocks.columns as u32,
                    unit: units as u32,
                });
                let (parts, columns) = StoredKernels::blocks(rows, part_units);
                blocks.parts += parts;
                // Biases and gains come with the weights of their columns.
                blocks.columns += if part == Part::Weights { columns } else { 0 };
            }
            units += spec.layers[l].units;
        }
        let tensors = card.copy(&tensors, "addresses")?;
        let (sums, factor) = (card.zeros(units, "sums of gradients")?, card.zeros(1, "sums of gradients")?);
        let update = Update {
            count: (Part::ALL.len() * spec.layers.len()) as u32,
            units: units as u32,
            rule: rule.index() as u32,
            slots: rule.slots().len() as u32,
            l1: training.l1,
            l2: training.l2,
            clip_value: training.clip_value,
            clip_norm: training.clip_norm,
            max_norm: training.max_norm,
            ..Update::default()
        };
        Ok(Self { gradient, tensors, sums, factor, update: (update, blocks) })
    }
}

impl Network {
    /// With `stores`, also with what an update by stored gradients needs.
    pub(crate) fn new(spec: &Spec, training: &Training, stores: bool, card: &Card) -> Result<Self> {
        let (mut scale, mut shift) = (vec![0.0; padded(spec.input.features)], vec![0.0; padded(spec.input.features)]);
        for k in 0..spec.input.features {
            (scale[k], shift[k]) = spec.input.normalization.of(k);
        }
        let weights = Weights::new(spec, training, card)?;
        Ok(Self {
            stored: if stores { Some(StoredUpdate::new(spec, training, &weights, card)?) } else { None },
            weights,
            scale: card.copy(&scale, "scales")?,
            shift: card.copy(&shift, "shifts")?,
            tickets: card.zeros(padded(spec.layers[0].units), "counters")?,
        })
    }

    /// Where the gradients of a step are stored, if its update needs that.
    pub(crate) fn gradient(&self) -> Option<&[LayerMemory]> {
        self.stored.as_ref().map(|stored| &stored.gradient[..])
    }

    /// The update by stored gradients, with what the host computes for each step of a span.
    pub(crate) fn update(&self, span: &SpanMemory, card: &Card) -> Option<(Update, Blocks)> {
        let StoredUpdate { tensors, sums, factor, update: (update, blocks), .. } = self.stored.as_ref()?;
        let (scalars, varying) = span.of_steps(card)?;
        let stream = &card.stream;
        let (tensors, sums, factor) = (address(tensors, stream), address(sums, stream), address(factor, stream));
        Some((Update { tensors, scalars, varying, sums, factor, ..*update }, *blocks))
    }

    /// A layer as the kernels see it, with weights and the activations of `work`.
    pub(crate) fn layer(spec: &Spec, of: &[LayerMemory], work: &Workspace, l: usize, card: &Card) -> Layer {
        let memory = &of[l];
        let stream = &card.stream;
        let inputs = work.inputs.as_ref().filter(|_| l == 0).map_or(0, |inputs| address(inputs, stream));
        let below = |buffers: &[CudaSlice<f32>]| if l > 0 { address(&buffers[l - 1], stream) } else { inputs };
        let start = memory.start.as_ref().filter(|_| inputs == 0).unwrap_or(&memory.bias);
        let d = |l: usize| work.d[l].as_ref().map_or(0, |d| address(d, stream));
        let z = |l: usize| work.z[l].as_ref().map_or(0, |z| address(z, stream));
        // What is learned of an activation comes after the kernel's own end, and so does the derivative with dropout.
        let own = |l: usize| spec.layers[l].gains() == 0;
        let activation = if own(l) { spec.layers[l].activation } else { Activation::Identity };
        let fused_below = l > 0 && own(l - 1) && !work.drops;
        let activation_below = if fused_below { spec.layers[l - 1].activation } else { Activation::Identity };
        Layer {
            below: below(&work.h),
            weight: address(&memory.weight, stream),
            bias: address(&memory.bias, stream),
            start: address(start, stream),
            h: if own(l) { address(work.whole[l].as_ref().unwrap_or(&work.h[l]), stream) } else { work.z_of(l, card) },
            z: if own(l) { z(l) } else { 0 },
            read_below: match activation_below.reads() {
                Reads::H => below(&work.h),
                Reads::Z => z(l - 1),
            },
            d: d(l),
            d_below: if l > 0 { d(l - 1) } else { 0 },
            waiting: work.waiting.get(l).map_or(0, |waiting| address(waiting, stream)),
            fan_in: spec.fan_in(l) as u32,
            units: spec.layers[l].units as u32,
            below_stride: padded(spec.fan_in(l)) as u32,
            stride: padded(spec.layers[l].units) as u32,
            activation: activation.index() as u32,
            activation_below: activation_below.index() as u32,
            parameter: activation.parameter() as f32,
            parameter_below: activation_below.parameter() as f32,
        }
    }

    /// The first layer as far as its initial sums need it.
    pub(crate) fn first_layer(spec: &Spec, of: &[LayerMemory], card: &Card) -> Layer {
        Layer {
            weight: address(&of[0].weight, &card.stream),
            bias: address(&of[0].bias, &card.stream),
            start: of[0].start.as_ref().map_or(0, |start| address(start, &card.stream)),
            fan_in: spec.input.features as u32,
            units: spec.layers[0].units as u32,
            stride: padded(spec.layers[0].units) as u32,
            ..Layer::default()
        }
    }

    /// Hidden layer l with dropout as the kernels see it. `varying` is what the host computes for each step.
    pub(crate) fn dropped(
        spec: &Spec,
        work: &Workspace,
        l: usize,
        (varying, seed): (Address, u32),
        card: &Card,
    ) -> Dropped {
        let stream = &card.stream;
        let h = address(&work.h[l], stream);
        // The derivative of what is learned comes afterwards.
        let activation = if spec.layers[l].gains() == 0 { spec.layers[l].activation } else { Activation::Identity };
        let from = work.whole[l].as_ref().map_or(h, |whole| address(whole, stream));
        Dropped {
            from,
            to: h,
            read: work.z[l].as_ref().map_or(from, |z| address(z, stream)),
            d: work.d[l].as_ref().map_or(0, |d| address(d, stream)),
            varying,
            seed,
            layer: l as u32,
            units: spec.layers[l].units as u32,
            stride: padded(spec.layers[l].units) as u32,
            activation: activation.index() as u32,
            parameter: activation.parameter() as f32,
        }
    }

    /// Layer l as the kernels of learned activations see it, if its activation is. `gradient` is where gradients go.
    pub(crate) fn learned(
        spec: &Spec,
        (of, gradient): (&[LayerMemory], Option<&[LayerMemory]>),
        work: &Workspace,
        l: usize,
        card: &Card,
    ) -> Option<LearnedLayer> {
        let (layer, stream) = (&spec.layers[l], &card.stream);
        let gains = of[l].gain.as_ref()?;
        let gradient = gradient.map_or(0, |gradient| gradient[l].address_of(Part::Gains, stream));
        Some(LearnedLayer {
            z: work.z_of(l, card),
            h: address(&work.h[l], stream),
            d: work.d[l].as_ref().map_or(0, |d| address(d, stream)),
            gains: address(gains, stream),
            gradient,
            sums: work.gain_sums.as_ref().map_or(gradient, |sums| address(sums, stream)),
            units: layer.units as u32,
            stride: padded(layer.units) as u32,
            activation: layer.activation.index() as u32,
            learned: layer.learned as u32,
            parameter: layer.activation.parameter() as f32,
            reads_z: u32::from(layer.activation.reads() == Reads::Z),
        })
    }

    /// The inputs of steps that change them at random, as the kernels see them.
    pub(crate) fn perturbed(
        spec: &Spec,
        work: &Workspace,
        varying: Address,
        training: &Training,
        card: &Card,
    ) -> Option<Perturbed> {
        Some(Perturbed {
            to: address(work.inputs.as_ref()?, &card.stream),
            varying,
            seed: training.seed,
            features: spec.input.features as u32,
            stride: padded(spec.input.features) as u32,
            deviation: training.input_noise,
            drops: u32::from(training.input_dropout > 0.0),
        })
    }

    /// The kernels' view of scale and shift, without data yet.
    pub(crate) fn normalization(&self, card: &Card) -> Data {
        let (scale, shift) = (address(&self.scale, &card.stream), address(&self.shift, &card.stream));
        Data { scale, shift, ..Data::default() }
    }
}

/// Activations and their gradients, for batches of up to `capacity` samples.
pub(crate) struct Workspace {
    pub(crate) capacity: usize,
    /// Whether there is dropout between the layers.
    drops: bool,
    /// The normalised inputs of steps that change them at random.
    inputs: Option<CudaSlice<f32>>,
    h: Vec<CudaSlice<f32>>,
    /// With dropout, the activations without it, of each hidden layer whose derivative reads them.
    whole: Vec<Option<CudaSlice<f32>>>,
    /// The pre-activations of each layer whose derivative reads them, or whose activation is learned. `None` without
    /// training.
    z: Vec<Option<CudaSlice<f32>>>,
    /// Sums of the terms of gains' gradients over the blocks of a batch, for one layer after the other. `None` for batches
    /// of one block.
    gain_sums: Option<CudaSlice<f32>>,
    /// The gradient of each layer. Without training, only the last layer has one.
    d: Vec<Option<CudaSlice<f32>>>,
    /// Sums over some of a batch, which wait for others (rule 3): several matrices like each layer's weights. Empty for
    /// batches of one block.
    waiting: Vec<CudaSlice<f32>>,
}

/// What passes through a workspace.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Passes {
    /// Outputs and losses.
    Forward,
    /// Gradients too.
    Backward,
    /// Gradients, of steps that are random: with dropout of hidden layers, and with inputs that are changed.
    Random { drops: bool, perturbs: bool },
}

impl Workspace {
    pub(crate) fn new(spec: &Spec, capacity: usize, passes: Passes, card: &Card) -> Result<Self> {
        let last = spec.layers.len() - 1;
        let training = passes != Passes::Forward;
        let (drops, perturbs) = match passes {
            Passes::Random { drops, perturbs } => (drops, perturbs),
            Passes::Forward | Passes::Backward => (false, false),
        };
        let values = padded(capacity) * padded(spec.input.features);
        let inputs =
            if perturbs { Some(card.zeros(values, &format!("inputs of batches of {capacity}"))?) } else { None };
        let matrix = |l: usize| {
            card.zeros(
                padded(capacity) * padded(spec.layers[l].units),
                &format!("activations of batches of {capacity}"),
            )
        };
        let h = (0..=last).map(matrix).collect::<Result<_>>()?;
        let d = (0..=last).map(|l| if training || l == last { matrix(l).map(Some) } else { Ok(None) });
        let reads = |layer: &syva_core::Layer| layer.gains() > 0 || layer.activation.reads() == Reads::Z;
        let reads_z = |l: usize| training && reads(&spec.layers[l]);
        let z = (0..=last).map(|l| if reads_z(l) { matrix(l).map(Some) } else { Ok(None) });
        let keeps_whole = |l: usize| drops && l < last && !reads_z(l);
        let whole = (0..=last).map(|l| if keeps_whole(l) { matrix(l).map(Some) } else { Ok(None) });
        let places = if training { plan::places(capacity) } else { 0 };
        let waits = |l: usize| {
            let what = format!("gradients of batches of {capacity}");
            card.zeros(places * padded(spec.fan_in(l)) * padded(spec.layers[l].units), &what)
        };
        let waiting = (0..=last).filter(|_| places > 0).map(waits).collect::<Result<_>>()?;
        let learned = spec.layers.iter().filter(|layer| layer.gains() > 0).map(|layer| padded(layer.units)).max();
        let blocks = capacity.div_ceil(BLOCK);
        let gain_sums = learned.filter(|_| training && blocks > 1);
        let gain_sums = gain_sums.map(|stride| card.zeros(blocks * stride, "sums of gradients")).transpose()?;
        let (d, z) = (d.collect::<Result<_>>()?, z.collect::<Result<_>>()?);
        Ok(Self { capacity, drops, inputs, h, whole: whole.collect::<Result<_>>()?, d, z, gain_sums, waiting })
    }

    /// Where the product of a layer whose activation is learned leaves z. Without training, that is where h comes to be.
    fn z_of(&self, l: usize, card: &Card) -> Address {
        address(self.z[l].as_ref().unwrap_or(&self.h[l]), &card.stream)
    }

    /// Outputs of the last layer: one padded row per sample.
    pub(crate) fn outputs(&self) -> &CudaSlice<f32> {
        &self.h[self.h.len() - 1]
    }
}

/// Some samples on the card: a whole data set, or a window of it.
pub(crate) struct Samples {
    inputs: InputMemory,
    labels: Option<CudaSlice<u32>>,
    values: Option<CudaSlice<f32>>,
    stride: usize,
}

enum InputMemory {
    U8(CudaSlice<u8>),
    F32(CudaSlice<f32>),
}

/// Values per stored row. Rows begin at a multiple of four values, so that four can be read at once.
pub(crate) fn row_stride(features: usize) -> usize {
    features.next_multiple_of(4)
}

/// Extra values after the last row, because kernels read inputs in whole tiles.
const SLACK: usize = 128;

impl Samples {
    /// Room for `rows` samples like those of `data`.
    pub(crate) fn room_for(rows: usize, data: &Dataset, card: &Card) -> Result<Self> {
        let stride = row_stride(data.features());
        let what = format!("{rows} samples");
        let inputs = match data.inputs() {
            Inputs::U8(_) => InputMemory::U8(card.zeros(rows * stride + SLACK, &what)?),
            Inputs::F32(_) | Inputs::Mixed(_) => InputMemory::F32(card.zeros(rows * stride + SLACK, &what)?),
        };
        let (labels, values) = match data.targets() {
            Targets::Classes { .. } => (Some(card.zeros(rows, &what)?), None),
            Targets::Values { outputs, .. } => (None, Some(card.zeros(rows * outputs, &what)?)),
        };
        Ok(Self { inputs, labels, values, stride })
    }

    /// Room for raw inputs without targets.
    pub(crate) fn inputs_only(rows: usize, features: usize, card: &Card) -> Result<Self> {
        let stride = row_stride(features);
        let inputs = InputMemory::F32(card.zeros(rows * stride + SLACK, &format!("{rows} samples"))?);
        Ok(Self { inputs, labels: None, values: None, stride })
    }

    /// Bytes per sample of `data`.
    pub(crate) fn bytes_each(data: &Dataset) -> usize {
        let stride = row_stride(data.features());
        let inputs = if matches!(data.inputs(), Inputs::U8(_)) { stride } else { 4 * stride };
        let targets = match data.targets() {
            Targets::Classes { .. } => 4,
            Targets::Values { outputs, .. } => 4 * outputs,
        };
        inputs + targets
    }

    /// Copies samples of `data` to the card, from row 0 on.
    pub(crate) fn put(
        &mut self,
        data: &Dataset,
        samples: impl Iterator<Item = usize>,
        card: &Card,
        stream: &Arc<CudaStream>,
    ) -> Result<()> {
        let samples: Vec<usize> = samples.collect();
        let (features, stride) = (data.features(), self.stride);
        let put = match (&mut self.inputs, data.inputs()) {
            (InputMemory::U8(to), Inputs::U8(from)) => {
                stream.memcpy_htod(&*rows_of(from, &samples, features, stride), to)
            }
            (InputMemory::F32(to), Inputs::F32(from)) => {
                stream.memcpy_htod(&*rows_of(from, &samples, features, stride), to)
            }
            (InputMemory::F32(to), Inputs::Mixed(from)) => {
                let mut rows = vec![0.0; samples.len() * stride];
                for (&sample, row) in samples.iter().zip(rows.chunks_exact_mut(stride)) {
                    from.copy_row(sample, &mut row[..features]);
                }
                stream.memcpy_htod(&rows, to)
            }
            _ => unreachable!("the room was made for this data"),
        };
        put.map_err(|error| card.failure(error))?;
        let put = match (&mut self.labels, &mut self.values, data.targets()) {
            (Some(to), _, Targets::Classes { labels, .. }) => stream.memcpy_htod(&*rows_of(labels, &samples, 1, 1), to),
            (_, Some(to), Targets::Values { values, outputs }) => {
                stream.memcpy_htod(&*rows_of(values, &samples, *outputs, *outputs), to)
            }
            _ => unreachable!("the room was made for this data"),
        };
        put.map_err(|error| card.failure(error))
    }

    /// Copies raw inputs to the card, from row 0 on.
    pub(crate) fn put_inputs(&mut self, rows: &[f32], features: usize, card: &Card) -> Result<()> {
        let InputMemory::F32(to) = &mut self.inputs else { unreachable!("made by inputs_only") };
        let samples: Vec<usize> = (0..rows.len() / features).collect();
        let put = card.stream.memcpy_htod(&*rows_of(rows, &samples, features, self.stride), to);
        put.map_err(|error| card.failure(error))
    }

    /// The kernels' view of the samples, in the order in which they are stored.
    pub(crate) fn data(&self, normalization: Data, card: &Card) -> (Data, Stored) {
        let stream = &card.stream;
        let (inputs, stored) = match &self.inputs {
            InputMemory::U8(inputs) => (address(inputs, stream), Stored::U8),
            InputMemory::F32(inputs) => (address(inputs, stream), Stored::F32),
        };
        let labels = self.labels.as_ref().map_or(0, |labels| address(labels, stream));
        let values = self.values.as_ref().map_or(0, |values| address(values, stream));
        (Data { inputs, labels, values, stride: self.stride as u32, ..normalization }, stored)
    }
}

/// Rows of `width` values, each padded with zeros to `stride`. Borrows them if they are stored like that already.
fn rows_of<'a, T: Copy + Default>(from: &'a [T], rows: &[usize], width: usize, stride: usize) -> Cow<'a, [T]> {
    if width == stride && rows.iter().enumerate().all(|(place, &row)| place + rows[0] == row) {
        let first = rows.first().map_or(0, |row| row * width);
        return Cow::Borrowed(&from[first..first + rows.len() * width]);
    }
    let mut to = vec![T::default(); rows.len() * stride];
    for (to, &row) in to.chunks_mut(stride).zip(rows) {
        to[..width].copy_from_slice(&from[row * width..][..width]);
    }
    Cow::Owned(to)
}

/// The size of a span. `SpanMemory::begin` writes it to the fields of `Progress` in `kernels/network.cuh`.
pub(crate) struct Progress {
    pub(crate) steps: u32,
    pub(crate) batch: u32,
    pub(crate) samples: u32,
}

/// The values that host and card exchange for a span.
pub(crate) struct SpanMemory {
    pub(crate) progress: CudaSlice<u32>,
    pub(crate) order: CudaSlice<u32>,
    pub(crate) learning_rates: CudaSlice<f32>,
    /// The factor M of each sample, if they differ.
    pub(crate) factors: Option<CudaSlice<f32>>,
    /// What an update by stored gradients, and dropout, need for each step: the rule's scalars for each layer's parts
    /// `[steps, layers, 3, SCALARS]`, and what else differs.
    of_steps: Option<(CudaSlice<f32>, CudaSlice<Varying>)>,
    losses: CudaSlice<f32>,
    guesses: CudaSlice<u32>,
}

impl SpanMemory {
    /// Index in `progress` of the first step that did not count.
    const HALTED: usize = 4;
    /// Index in `progress` of the first step of the window.
    const WINDOW: usize = 5;

    /// `tensors` is the number of all layers' parts, if each step has scalars for them.
    pub(crate) fn new(
        samples: usize,
        steps: usize,
        weighted: bool,
        tensors: Option<usize>,
        card: &Card,
    ) -> Result<Self> {
        let what = "what the optimizer does in each step";
        let of_steps = |tensors: usize| -> Result<_> {
            Ok((card.zeros(steps * tensors * SCALARS, what)?, card.zeros(steps, what)?))
        };
        Ok(Self {
            of_steps: tensors.map(of_steps).transpose()?,
            factors: if weighted { Some(card.zeros(samples, "weights of the samples")?) } else { None },
            progress: card.zeros(7, "counters")?,
            order: card.zeros(samples, "the order of the samples")?,
            learning_rates: card.zeros(steps, "learning rates")?,
            losses: card.zeros(samples, "losses")?,
            guesses: card.zeros(samples, "predictions")?,
        })
    }

    pub(crate) fn holds(&self, samples: usize, steps: usize) -> bool {
        self.order.len() >= samples && self.learning_rates.len() >= steps
    }

    pub(crate) fn begin(&mut self, progress: &Progress, card: &Card) -> Result<()> {
        let Progress { steps, batch, samples } = *progress;
        upload(&[0, steps, batch, samples, u32::MAX, 0, 0], &mut self.progress, card)
    }

    /// Sets the step at which the window's samples begin, for all later work on the stream.
    pub(crate) fn set_window(&mut self, step: u32, card: &Card) -> Result<()> {
        let mut window = self.progress.slice_mut(Self::WINDOW..=Self::WINDOW);
        card.stream.memcpy_htod(&[step], &mut window).map_err(|error| card.failure(error))
    }

    /// Puts what each step needs on the card.
    pub(crate) fn put_steps(&mut self, scalars: &[f32], varying: &[Varying], card: &Card) -> Result<()> {
        let Some((to_scalars, to_varying)) = &mut self.of_steps else { return Ok(()) };
        upload(scalars, to_scalars, card)?;
        upload(varying, to_varying, card)
    }

    /// The addresses of the scalars and of what else differs from step to step.
    pub(crate) fn of_steps(&self, card: &Card) -> Option<(Address, Address)> {
        let (scalars, varying) = self.of_steps.as_ref()?;
        Some((address(scalars, &card.stream), address(varying, &card.stream)))
    }

    pub(crate) fn outcome(&self, card: &Card) -> Outcome {
        Outcome { losses: address(&self.losses, &card.stream), guesses: address(&self.guesses, &card.stream) }
    }

    /// Fetches the losses, the guesses, and the first step that did not count. Waits for the stream.
    pub(crate) fn fetch(
        &self,
        samples: usize,
        stream: &Arc<CudaStream>,
        card: &Card,
    ) -> Result<(Vec<f32>, Vec<u32>, u32)> {
        let losses = fetch(&self.losses, 0..samples, stream, card)?;
        let guesses = fetch(&self.guesses, 0..samples, stream, card)?;
        Ok((losses, guesses, fetch(&self.progress, Self::HALTED..Self::HALTED + 1, stream, card)?[0]))
    }
}

/// Copies values to the beginning of a buffer on the card.
pub(crate) fn upload<T: DeviceRepr>(values: &[T], to: &mut CudaSlice<T>, card: &Card) -> Result<()> {
    card.stream.memcpy_htod(values, to).map_err(|error| card.failure(error))
}

/// Copies values to the host, and waits for the stream. The stream must be the one on which the values are written, or
/// must wait for it.
pub(crate) fn fetch<T: DeviceRepr + ValidAsZeroBits + Default + Clone>(
    from: &CudaSlice<T>,
    range: Range<usize>,
    stream: &Arc<CudaStream>,
    card: &Card,
) -> Result<Vec<T>> {
    let mut values = vec![T::default(); range.len()];
    let copied = stream.memcpy_dtoh(&from.slice(range), &mut values);
    copied.and_then(|()| stream.synchronize()).map_err(|error| card.failure(error))?;
    Ok(values)
}
