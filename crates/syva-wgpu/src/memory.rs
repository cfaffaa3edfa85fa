//! The buffers on the device: weights, data sets, and the workspace of a block of rows.
//!
//! An adapter limits the size of a buffer. So that each piece fits, weights are cut into parts by units, data sets are
//! cut by samples, and a batch passes through the network in blocks of rows. What a batch sums up over its samples waits on the device, too.

use syva_core::data::{Dataset, Inputs, Targets};
use syva_core::ops::Reads;
use syva_core::reference::BLOCK;
use syva_core::{Error, Matrix, Parameters, Result, Slot, Spec, State, Training};

use crate::gpu::Gpu;
use crate::shader::Tensor;
use crate::step::WORDS;

/// The most rows per block.
const ROWS: usize = 4096;

/// Blocks whose parameters are uploaded together.
pub(crate) const BLOCKS: usize = 64;

/// A part of a layer: some of its units.
pub(crate) struct Part {
    pub(crate) units: usize,
    /// `[units, fan_in]`
    pub(crate) weight: wgpu::Buffer,
    /// The gradient, if it is stored `[units, fan_in]`; otherwise an empty buffer of the least size.
    pub(crate) gradient: wgpu::Buffer,
    /// What the training remembers of each weight, each `[units, fan_in]`.
    pub(crate) slots: Vec<wgpu::Buffer>,
    /// Sums of the weight gradient over some of the samples, `[places, units, fan_in]` (see `kernels/tree.wgsl`). An empty
    /// buffer of the least size if a batch is one chain.
    pub(crate) sums: wgpu::Buffer,
    /// The part's parameters for the kernels: `Layer` in `kernels/layer.wgsl`.
    pub(crate) layer: wgpu::Buffer,
}

pub(crate) struct Layer {
    pub(crate) parts: Vec<Part>,
    pub(crate) bias: OfUnits,
    /// The gains, if the activation is learned.
    pub(crate) gains: Option<OfUnits>,
}

/// The biases of a layer, or its gains.
pub(crate) struct OfUnits {
    /// `[units]`
    pub(crate) values: wgpu::Buffer,
    /// What the training remembers of each value, each `[units]`.
    pub(crate) slots: Vec<wgpu::Buffer>,
    /// Sums of the gradient over some of the samples, `[places, units]`. The first row becomes the gradient.
    pub(crate) sums: wgpu::Buffer,
}

impl Layer {
    /// The biases, and the gains if there are any.
    pub(crate) fn of_units(&self) -> impl Iterator<Item = (Tensor, &OfUnits)> {
        let gains = self.gains.as_ref().map(|gains| (Tensor::Gains, gains));
        std::iter::once((Tensor::Biases, &self.bias)).chain(gains)
    }
}

pub(crate) struct Weights {
    pub(crate) layers: Vec<Layer>,
    /// The first layer's initial sums.
    pub(crate) start: wgpu::Buffer,
    /// The sums of squares of each unit's gradients, and the factor that follows from them. Empty buffers of the least size
    /// if gradients are not clipped by norm.
    pub(crate) squares: wgpu::Buffer,
    pub(crate) factor: wgpu::Buffer,
    pub(crate) step: u64,
    /// What the training remembers, by [`Training::slots`].
    pub(crate) slots: Vec<&'static str>,
    /// Whether there is room for gradients.
    stores: bool,
    /// The number of places that there is room for in the sums. One of biases is always there.
    places: usize,
}

/// Refuses widths for which not even one row fits into a buffer, nor a number for each unit if gradients are clipped by norm.
pub(crate) fn check_widths(gpu: &Gpu, spec: &Spec, training: &Training) -> Result<()> {
    let widest = (spec.layers.iter().map(|layer| layer.units)).chain([spec.input.features]).max().unwrap_or(0);
    // Even the smallest tiles have 16 rows or more, and each row of tiles needs one row of groups.
    let tiles = 16 * gpu.limits.max_compute_workgroups_per_dimension as usize;
    let fits = (gpu.largest as usize / 4).min(tiles);
    if widest > fits {
        let what = format!("a layer of {widest} units or features on {} ({fits} at most)", gpu.name);
        return Err(Error::Unsupported { what, remedy: "use narrower layers, or --device cpu".into() });
    }
    let units: usize = spec.layers.iter().map(|layer| layer.units).sum();
    if training.clip_norm > 0.0 && units > gpu.largest as usize / 4 {
        let what = format!("clip-norm with {units} units on {} ({} at most)", gpu.name, gpu.largest / 4);
        return Err(Error::Unsupported { what, remedy: "use narrower layers, or --device cpu".into() });
    }
    Ok(())
}

impl Weights {
    /// With `stores`, with room for the gradients of a step.
    pub(crate) fn new(gpu: &Gpu, spec: &Spec, training: &Training, stores: bool) -> Self {
        let units: usize = if training.clip_norm > 0.0 { spec.layers.iter().map(|layer| layer.units).sum() } else { 0 };
        let mut weights = Self {
            layers: Vec::new(),
            start: gpu.storage(4 * spec.layers[0].units as u64),
            squares: gpu.storage(4 * units as u64),
            factor: gpu.storage(0),
            step: 0,
            slots: training.slots(),
            stores: false,
            places: 0,
        };
        weights.cut(gpu, spec, 1);
        if stores {
            weights.with_gradients(gpu, spec);
        }
        weights
    }

    /// Makes room for weights in parts that are so small that each may have this many places for sums.
    fn cut(&mut self, gpu: &Gpu, spec: &Spec, places: usize) {
        self.layers = (0..spec.layers.len()).map(|l| Layer::new(gpu, spec, l, self.slots.len(), places)).collect();
        self.places = 0;
        if std::mem::take(&mut self.stores) {
            self.with_gradients(gpu, spec);
        }
    }

    /// Makes room for the gradients of a step.
    pub(crate) fn with_gradients(&mut self, gpu: &Gpu, spec: &Spec) {
        if std::mem::replace(&mut self.stores, true) {
            return;
        }
        for (l, layer) in self.layers.iter_mut().enumerate() {
            for part in &mut layer.parts {
                part.gradient = gpu.storage(4 * (part.units * spec.fan_in(l)) as u64);
            }
        }
    }

    /// Puts weights, biases, gains and slots on the device. The state has the training's slots.
    pub(crate) fn set(&mut self, gpu: &Gpu, state: &State) {
        type Of<'a, From> = &'a dyn Fn(&From) -> &wgpu::Buffer;
        let put = |l: usize, from: &Parameters, weight: Of<'_, Part>, of_units: Of<'_, OfUnits>| {
            let mut rest = from.weight.values();
            for part in &self.layers[l].parts {
                let (these, others) = rest.split_at(part.units * from.weight.columns());
                gpu.queue.write_buffer(weight(part), 0, bytemuck::cast_slice(these));
                rest = others;
            }
            for (tensor, to) in self.layers[l].of_units() {
                let values = if tensor == Tensor::Gains { &from.gain } else { &from.bias };
                gpu.queue.write_buffer(of_units(to), 0, bytemuck::cast_slice(values));
            }
        };
        for l in 0..self.layers.len() {
            put(l, &state.layers[l], &|part| &part.weight, &|of| &of.values);
            for (n, slot) in state.slots.iter().enumerate() {
                put(l, &slot.layers[l], &|part| &part.slots[n], &|of| &of.slots[n]);
            }
        }
        self.step = state.step;
    }

    /// Fetches weights, biases, gains and slots.
    pub(crate) fn get(&self, gpu: &Gpu, spec: &Spec) -> Result<State> {
        let layers = self.fetch(gpu, spec, &|part| &part.weight, &|of| &of.values)?;
        let slot = |(n, name): (usize, &&'static str)| {
            let layers = self.fetch(gpu, spec, &|part| &part.slots[n], &|of| &of.slots[n])?;
            Ok(Slot { name: (*name).into(), embedding: Vec::new(), layers })
        };
        let slots = self.slots.iter().enumerate().map(slot).collect::<Result<_>>()?;
        Ok(State { step: self.step, embedding: Vec::new(), layers, slots })
    }

    /// Fetches stored gradients.
    pub(crate) fn gradients(&self, gpu: &Gpu, spec: &Spec) -> Result<Vec<Parameters>> {
        self.fetch(gpu, spec, &|part| &part.gradient, &|of| &of.sums)
    }

    /// Fetches numbers of the shape of weights, biases and gains.
    fn fetch(
        &self,
        gpu: &Gpu,
        spec: &Spec,
        weight: &dyn Fn(&Part) -> &wgpu::Buffer,
        of_units: &dyn Fn(&OfUnits) -> &wgpu::Buffer,
    ) -> Result<Vec<Parameters>> {
        let mut wanted = Vec::new();
        for (l, layer) in self.layers.iter().enumerate() {
            wanted.extend(layer.parts.iter().map(|part| (weight(part), part.units * spec.fan_in(l))));
            wanted.extend(layer.of_units().map(|(_, of)| (of_units(of), spec.layers[l].units)));
        }
        let mut read = gpu.read(&wanted)?.into_iter().map(|words| words.into_iter().map(f32::from_bits));
        let mut layers = Vec::new();
        for (l, layer) in self.layers.iter().enumerate() {
            let weight = read.by_ref().take(layer.parts.len()).flatten().collect();
            let weight = Matrix::new(spec.layers[l].units, spec.fan_in(l), weight)?;
            let bias = read.next().into_iter().flatten().collect();
            let gain = layer.gains.iter().filter_map(|_| read.next()).flatten().collect();
            layers.push(Parameters { weight, bias, gain });
        }
        Ok(layers)
    }

    /// Gives up the room for sums, after its allocation has failed.
    pub(crate) fn without_sums(&mut self, gpu: &Gpu, spec: &Spec) {
        if self.places > 0 {
            self.make_room(gpu, spec, 0);
        }
    }

    /// Makes room for the sums over a batch. If they do not fit into buffers, the weights are cut into smaller parts; then
    /// it returns true.
    pub(crate) fn with_sums(&mut self, gpu: &Gpu, spec: &Spec, places: usize) -> Result<bool> {
        if places <= self.places {
            return Ok(false);
        }
        let most = gpu.largest as usize / 4 / places;
        let widest = (0..spec.layers.len()).map(|l| spec.fan_in(l).max(spec.layers[l].units)).max().unwrap_or(0);
        if widest > most {
            let what = format!("a layer of {widest} units or features with such a batch on {}", gpu.name);
            return Err(Error::Unsupported { what, remedy: "lower --batch-size, or use --device cpu".into() });
        }
        let fits = |(l, layer): (usize, &Layer)| layer.parts.iter().all(|part| part.units * spec.fan_in(l) <= most);
        let cut = !self.layers.iter().enumerate().all(fits);
        if cut {
            let state = self.get(gpu, spec)?;
            self.cut(gpu, spec, places);
            self.set(gpu, &state);
        }
        self.make_room(gpu, spec, places);
        Ok(cut)
    }

    fn make_room(&mut self, gpu: &Gpu, spec: &Spec, places: usize) {
        for (l, layer) in self.layers.iter_mut().enumerate() {
            for part in &mut layer.parts {
                part.sums = gpu.storage(4 * (places * part.units * spec.fan_in(l)) as u64);
            }
            for of in std::iter::once(&mut layer.bias).chain(&mut layer.gains) {
                of.sums = gpu.storage(4 * (places.max(1) * spec.layers[l].units) as u64);
            }
        }
        self.places = places;
    }
}

/// The number of places for sums that wait (rule 3), for batches of `batch` samples in blocks of `rows` rows. A chain that
/// goes on in the next block needs one more.
pub(crate) fn places(batch: usize, rows: usize) -> usize {
    let waiting = batch.div_ceil(BLOCK).max(1).ilog2() as usize;
    waiting + usize::from(rows < batch && !rows.is_multiple_of(BLOCK))
}

impl Layer {
    fn new(gpu: &Gpu, spec: &Spec, l: usize, slots: usize, places: usize) -> Self {
        let (fan_in, units) = (spec.fan_in(l), spec.layers[l].units);
        let most = (gpu.largest as usize / 4 / fan_in / places).max(1);
        let parts = (0..units).step_by(most).map(|unit| {
            let these = most.min(units - unit);
            let (opens, closes) = (unit == 0, unit + these == units);
            let before: usize = spec.layers[..l].iter().map(|layer| layer.units).sum();
            let (opens, closes) = (usize::from(opens), usize::from(closes));
            let words = [fan_in, units, unit, these, opens, closes, l, spec.layers.len(), before].map(|n| n as u32);
            let of_weights = || gpu.storage(4 * (these * fan_in) as u64);
            Part {
                units: these,
                weight: of_weights(),
                gradient: gpu.storage(0),
                slots: (0..slots).map(|_| of_weights()).collect(),
                sums: gpu.storage(0),
                layer: gpu.uniform(&words),
            }
        });
        let of_units = || OfUnits {
            values: gpu.storage(4 * units as u64),
            slots: (0..slots).map(|_| gpu.storage(4 * units as u64)).collect(),
            sums: gpu.storage(4 * units as u64),
        };
        let parts = parts.collect();
        Self { parts, bias: of_units(), gains: (spec.layers[l].gains() > 0).then(of_units) }
    }
}

/// A part of a data set: some of its samples.
pub(crate) struct Samples {
    pub(crate) inputs: wgpu::Buffer,
    pub(crate) targets: wgpu::Buffer,
    /// The part's parameters for the kernels: `Part` in `kernels/gather.wgsl`.
    pub(crate) part: wgpu::Buffer,
}

/// A data set on the device. The host keeps it, too, because it needs the labels.
pub(crate) struct Loaded {
    pub(crate) data: Dataset,
    pub(crate) parts: Vec<Samples>,
}

impl Loaded {
    pub(crate) fn new(gpu: &Gpu, data: &Dataset) -> Self {
        let features = data.features();
        let (targets, targets_each): (&[u32], usize) = match data.targets() {
            Targets::Classes { labels, .. } => (labels, 1),
            Targets::Values { values, outputs } => (bytemuck::cast_slice(values), *outputs),
        };
        let bytes_each = match data.inputs() {
            Inputs::U8(_) => features,
            Inputs::F32(_) | Inputs::Mixed(_) => 4 * features,
        };
        let most = (gpu.largest as usize / bytes_each.max(4 * targets_each)).max(1);
        let parts = (0..data.samples()).step_by(most).map(|first| {
            let samples = most.min(data.samples() - first);
            let these = first * features..(first + samples) * features;
            let inputs = match data.inputs() {
                Inputs::F32(_) | Inputs::Mixed(_) => {
                    let rows = data.inputs().rows(first..first + samples, features);
                    gpu.filled(bytemuck::cast_slice(&rows))
                }
                Inputs::U8(values) => {
                    let buffer = gpu.storage(these.len() as u64);
                    // Only whole words can be written.
                    let (whole, rest) = values[these.clone()].split_at(these.len() / 4 * 4);
                    gpu.queue.write_buffer(&buffer, 0, whole);
                    if !rest.is_empty() {
                        let mut last = [0; 4];
                        last[..rest.len()].copy_from_slice(rest);
                        gpu.queue.write_buffer(&buffer, whole.len() as u64, &last);
                    }
                    buffer
                }
            };
            Samples {
                inputs,
                targets: gpu.filled(&targets[first * targets_each..(first + samples) * targets_each]),
                part: gpu.uniform(&[first, samples, features, targets_each].map(|n| n as u32)),
            }
        });
        Self { parts: parts.collect(), data: data.clone() }
    }

    /// Whether the inputs are bytes.
    pub(crate) fn bytes(&self) -> bool {
        matches!(self.data.inputs(), Inputs::U8(_))
    }
}

/// The buffers that a block of rows passes through.
pub(crate) struct Workspace {
    /// The rows and samples that were asked for.
    pub(crate) wanted: (usize, usize),
    /// Rows per block, as many as fit.
    pub(crate) rows: usize,
    /// Samples between two synchronisations.
    pub(crate) samples: usize,
    /// Scaled inputs `[rows, features]`.
    pub(crate) s: wgpu::Buffer,
    /// Labels `[rows]`, or values `[rows, outputs]`.
    pub(crate) targets: wgpu::Buffer,
    /// Activations of each layer `[rows, units]`.
    pub(crate) h: Vec<wgpu::Buffer>,
    /// Pre-activations of each layer whose derivative reads them or whose activation is learned, otherwise empty buffers of
    /// the least size.
    pub(crate) z: Vec<wgpu::Buffer>,
    /// With dropout, the activations without it, of each hidden layer whose derivative reads them, otherwise empty buffers of
    /// the least size.
    pub(crate) whole: Vec<wgpu::Buffer>,
    /// With dropout, the factors of each hidden layer `[rows, units]`, otherwise empty buffers of the least size.
    pub(crate) dropout: Vec<wgpu::Buffer>,
    /// Gradients of each layer `[rows, units]`.
    pub(crate) d: Vec<wgpu::Buffer>,
    /// Indices of samples `[samples]`.
    pub(crate) order: wgpu::Buffer,
    /// Losses `[samples]`.
    pub(crate) losses: wgpu::Buffer,
    /// Predicted classes `[samples]`, or what else is guessed.
    pub(crate) guesses: wgpu::Buffer,
    /// The factor M of each sample of a span `[samples]`, if they differ; otherwise an empty buffer of the least size.
    pub(crate) factors: wgpu::Buffer,
    /// Not 0 once a loss was not finite.
    pub(crate) stopped: wgpu::Buffer,
    /// Parameters of [`BLOCKS`] blocks, `stride` bytes apart.
    pub(crate) steps: wgpu::Buffer,
    pub(crate) stride: usize,
}

impl Workspace {
    /// Makes room for blocks of up to `rows` rows, and for `samples` samples between two synchronisations. There are
    /// fewer of both if they do not fit. With `weighted`, also for a factor of each sample; with `drops`, also for dropout. Blocks
    /// also have no more than `most` rows, or 64 if that is more, so that a dispatch is worth its cost.
    pub(crate) fn new(
        gpu: &Gpu,
        spec: &Spec,
        (rows, samples): (usize, usize),
        (weighted, drops): (bool, bool),
        most: usize,
    ) -> Self {
        let wanted = (rows, samples);
        let widest = (spec.layers.iter().map(|layer| layer.units)).chain([spec.input.features]).max().unwrap_or(1);
        let rows = rows.min(ROWS).min(most.max(64)).min(gpu.largest as usize / 4 / widest).max(1);
        // Whole chains (rule 3), if possible: a chain that goes on in the next block takes more time.
        let rows = if rows < wanted.0 && rows > BLOCK { rows / BLOCK * BLOCK } else { rows };
        let samples = samples.min(gpu.largest as usize / 4).max(rows);
        let matrix = |columns: usize| gpu.storage(4 * (rows * columns) as u64);
        let layers = || spec.layers.iter().map(|layer| matrix(layer.units)).collect();
        let if_needed = |l: usize, needed: bool| if needed { matrix(spec.layers[l].units) } else { gpu.storage(0) };
        let (all, last) = (0..spec.layers.len(), spec.layers.len() - 1);
        let reads_z = |l: usize| spec.layers[l].gains() > 0 || spec.layers[l].activation.reads() == Reads::Z;
        let of_samples = || gpu.storage(4 * samples as u64);
        let stride = (4 * WORDS).next_multiple_of(gpu.limits.min_uniform_buffer_offset_alignment as usize);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        Self {
            wanted,
            rows,
            samples,
            s: matrix(spec.input.features),
            targets: matrix(spec.outputs()),
            h: layers(),
            z: all.clone().map(|l| if_needed(l, reads_z(l))).collect(),
            whole: all.clone().map(|l| if_needed(l, drops && l < last && !reads_z(l))).collect(),
            dropout: all.map(|l| if_needed(l, drops && l < last)).collect(),
            d: layers(),
            order: of_samples(),
            losses: of_samples(),
            guesses: of_samples(),
            factors: if weighted { of_samples() } else { gpu.storage(0) },
            stopped: gpu.filled(&[0]),
            steps: gpu.buffer((BLOCKS * stride) as u64, usage),
            stride,
        }
    }
}
