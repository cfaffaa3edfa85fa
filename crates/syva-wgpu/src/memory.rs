//! The buffers on the device: weights, data sets, and the workspace of a block of rows.
//!
//! An adapter limits the size of a buffer. So that each piece fits, weights are cut into parts by units, data sets are
//! cut by samples, and a batch passes through the network in blocks of rows. What a batch sums up over its samples waits on the device, too.

use syva_core::data::{Dataset, Inputs, Targets};
use syva_core::ops::Reads;
use syva_core::reference::BLOCK;
use syva_core::{Error, Matrix, Parameters, Result, Spec, State};

use crate::gpu::Gpu;

/// The most rows per block.
const ROWS: usize = 4096;

/// Blocks whose parameters are uploaded together.
pub(crate) const BLOCKS: usize = 64;

/// A part of a layer: some of its units.
pub(crate) struct Part {
    pub(crate) units: usize,
    /// `[units, fan_in]`
    pub(crate) weight: wgpu::Buffer,
    /// Sums of the weight gradient over some of the samples, `[places, units, fan_in]` (see `kernels/tree.wgsl`). An empty
    /// buffer of the least size if a batch is one chain.
    pub(crate) sums: wgpu::Buffer,
    /// The part's parameters for the kernels: `Layer` in `kernels/layer.wgsl`.
    pub(crate) layer: wgpu::Buffer,
}

pub(crate) struct Layer {
    pub(crate) parts: Vec<Part>,
    pub(crate) bias: wgpu::Buffer,
    /// Sums of the bias gradient over some of the samples, `[places, units]`. The first row becomes D.
    pub(crate) bias_sums: wgpu::Buffer,
}

pub(crate) struct Weights {
    pub(crate) layers: Vec<Layer>,
    /// The first layer's initial sums.
    pub(crate) start: wgpu::Buffer,
    pub(crate) step: u64,
    /// The number of places that there is room for in the sums. One of biases is always there.
    places: usize,
}

/// Refuses widths for which not even one row fits into a buffer.
pub(crate) fn check_widths(gpu: &Gpu, spec: &Spec) -> Result<()> {
    let widest = (spec.layers.iter().map(|layer| layer.units)).chain([spec.input.features]).max().unwrap_or(0);
    // Even the smallest tiles have 16 rows or more, and each row of tiles needs one row of groups.
    let tiles = 16 * gpu.limits.max_compute_workgroups_per_dimension as usize;
    let fits = (gpu.largest as usize / 4).min(tiles);
    if widest > fits {
        let what = format!("a layer of {widest} units or features on {} ({fits} at most)", gpu.name);
        return Err(Error::Unsupported { what, remedy: "use narrower layers, or --device cpu".into() });
    }
    Ok(())
}

impl Weights {
    pub(crate) fn new(gpu: &Gpu, spec: &Spec) -> Self {
        Self::cut(gpu, spec, 1)
    }

    /// Weights in parts that are so small that each may have this many places for sums.
    fn cut(gpu: &Gpu, spec: &Spec, places: usize) -> Self {
        let layers = (0..spec.layers.len()).map(|l| Layer::new(gpu, spec, l, places)).collect();
        let start = gpu.storage(4 * spec.layers[0].units as u64);
        Self { layers, start, step: 0, places: 0 }
    }

    pub(crate) fn set(&mut self, gpu: &Gpu, state: &State) {
        for (layer, parameters) in self.layers.iter().zip(&state.layers) {
            let mut rest = parameters.weight.values();
            for part in &layer.parts {
                let (these, others) = rest.split_at(part.units * parameters.weight.columns());
                gpu.queue.write_buffer(&part.weight, 0, bytemuck::cast_slice(these));
                rest = others;
            }
            gpu.queue.write_buffer(&layer.bias, 0, bytemuck::cast_slice(&parameters.bias));
        }
        self.step = state.step;
    }

    pub(crate) fn get(&self, gpu: &Gpu, spec: &Spec) -> Result<State> {
        let mut wanted = Vec::new();
        for (l, layer) in self.layers.iter().enumerate() {
            wanted.extend(layer.parts.iter().map(|part| (&part.weight, part.units * spec.fan_in(l))));
            wanted.push((&layer.bias, spec.layers[l].units));
        }
        let mut read = gpu.read(&wanted)?.into_iter().map(|words| words.into_iter().map(f32::from_bits));
        let mut layers = Vec::new();
        for (l, layer) in self.layers.iter().enumerate() {
            let weight = read.by_ref().take(layer.parts.len()).flatten().collect();
            let bias = read.next().into_iter().flatten().collect();
            layers.push(Parameters::new(Matrix::new(spec.layers[l].units, spec.fan_in(l), weight)?, bias));
        }
        Ok(State { step: self.step, layers, slots: Vec::new() })
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
            *self = Self::cut(gpu, spec, places);
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
            layer.bias_sums = gpu.storage(4 * (places.max(1) * spec.layers[l].units) as u64);
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
    fn new(gpu: &Gpu, spec: &Spec, l: usize, places: usize) -> Self {
        let (fan_in, units) = (spec.fan_in(l), spec.layers[l].units);
        let most = (gpu.largest as usize / 4 / fan_in / places).max(1);
        let parts = (0..units).step_by(most).map(|unit| {
            let these = most.min(units - unit);
            let (opens, closes) = (unit == 0, unit + these == units);
            let words = [fan_in, units, unit, these, usize::from(opens), usize::from(closes)].map(|n| n as u32);
            Part {
                units: these,
                weight: gpu.storage(4 * (these * fan_in) as u64),
                sums: gpu.storage(0),
                layer: gpu.uniform(&words),
            }
        });
        let of_units = || gpu.storage(4 * units as u64);
        Self { parts: parts.collect(), bias: of_units(), bias_sums: of_units() }
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
            Inputs::F32(_) => 4 * features,
        };
        let most = (gpu.largest as usize / bytes_each.max(4 * targets_each)).max(1);
        let parts = (0..data.samples()).step_by(most).map(|first| {
            let samples = most.min(data.samples() - first);
            let these = first * features..(first + samples) * features;
            let inputs = match data.inputs() {
                Inputs::F32(values) => gpu.filled(bytemuck::cast_slice(&values[these])),
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
    /// Pre-activations of each layer whose derivative reads them, otherwise empty buffers of the least size.
    pub(crate) z: Vec<wgpu::Buffer>,
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
    /// fewer of both if they do not fit. With `weighted`, also for a factor of each sample. Blocks also have no more than `most` rows, or 64 if that is more, so that a
    /// dispatch is worth its cost.
    pub(crate) fn new(gpu: &Gpu, spec: &Spec, (rows, samples): (usize, usize), weighted: bool, most: usize) -> Self {
        let wanted = (rows, samples);
        let widest = (spec.layers.iter().map(|layer| layer.units)).chain([spec.input.features]).max().unwrap_or(1);
        let rows = rows.min(ROWS).min(most.max(64)).min(gpu.largest as usize / 4 / widest).max(1);
        // Whole chains (rule 3), if possible: a chain that goes on in the next block takes more time.
        let rows = if rows < wanted.0 && rows > BLOCK { rows / BLOCK * BLOCK } else { rows };
        let samples = samples.min(gpu.largest as usize / 4).max(rows);
        let matrix = |columns: usize| gpu.storage(4 * (rows * columns) as u64);
        let layers = || spec.layers.iter().map(|layer| matrix(layer.units)).collect();
        let z = (spec.layers.iter())
            .map(|layer| if layer.activation.reads() == Reads::Z { matrix(layer.units) } else { gpu.storage(0) });
        let of_samples = || gpu.storage(4 * samples as u64);
        let stride = 32_usize.next_multiple_of(gpu.limits.min_uniform_buffer_offset_alignment as usize);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        Self {
            wanted,
            rows,
            samples,
            s: matrix(spec.input.features),
            targets: matrix(spec.outputs()),
            h: layers(),
            z: z.collect(),
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
