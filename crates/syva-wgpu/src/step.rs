//! The way of a block of rows through the network, as dispatches of kernels.
//!
//! ```text
//! gather     s = scale·x and the targets of these rows        from each part of the data set
//! start      bias + Σ shift·w of the first layer               once per step, if there is a shift
//! forward    h_l = a(start + h_(l−1)·W_lᵀ)                     each layer
//! loss       losses, guesses, d of the outputs
//! bias       D_l, and the update of the biases                 each layer, the last first
//! backward   d_(l−1) = (d_l·W_l) ⊙ a'                          before W_l is updated
//! update     W_l −= lr·d_lᵀ·h_(l−1)
//! ```

use std::sync::Arc;

use syva_core::ops::{Judging, Reads};
use syva_core::{Normalization, Spec};

use crate::gpu::{Gpu, Pipeline};
use crate::memory::{Loaded, Samples, Weights, Workspace};
use crate::shader::{Flavour, Kernel, Tile};

/// What a pass computes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Only the outputs.
    Predict,
    /// Losses and guesses.
    Judge,
    /// Losses and guesses, and an update.
    Train,
}

/// A block's parameters, as the kernels read them.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) rows: usize,
    /// Index of its first row in the order, the losses and the guesses.
    pub(crate) at: usize,
    /// The sample of its first row. `None` if the order says which samples the rows are.
    pub(crate) sample: Option<usize>,
    /// Rows of its batch before it.
    pub(crate) before: usize,
    /// Whether it is the last block of its batch.
    pub(crate) last: bool,
    pub(crate) mean: f32,
    pub(crate) learning_rate: f32,
}

impl Block {
    pub(crate) fn words(self) -> [u32; 8] {
        [
            self.rows as u32,
            self.at as u32,
            self.sample.unwrap_or(0) as u32,
            u32::from(self.sample.is_none()),
            u32::from(self.last),
            self.mean.to_bits(),
            (-self.learning_rate).to_bits(),
            self.before as u32,
        ]
    }
}

/// A kernel with its buffers and the shape of its dispatch: `across` groups by the groups of `down`.
struct Bound {
    pipeline: Arc<Pipeline>,
    group: wgpu::BindGroup,
    across: usize,
    down: Down,
}

/// The number of groups downwards.
#[derive(Clone, Copy)]
enum Down {
    /// One group.
    One,
    /// One group per this many rows of the block.
    Rows(usize),
    /// This many groups.
    These(usize),
    /// One group per this many rows of the block, but counted across instead of downwards.
    RowsAcross(usize),
}

impl Bound {
    fn record(&self, gpu: &Gpu, pass: &mut wgpu::ComputePass<'_>, offset: u32, rows: usize) {
        let most = gpu.limits.max_compute_workgroups_per_dimension as usize;
        let (across, down) = match self.down {
            Down::One => (self.across, 1),
            Down::Rows(size) => (self.across, rows.div_ceil(size)),
            Down::These(down) => (self.across, down),
            Down::RowsAcross(size) => (rows.div_ceil(size), 1),
        };
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.group, &[offset]);
        pass.dispatch_workgroups(across.min(most) as u32, down.min(most) as u32, 1);
    }
}

/// All dispatches of a block, in order.
pub(crate) struct Plan {
    gather: Vec<Bound>,
    /// Dispatched only for a batch's first block.
    start: Vec<Bound>,
    rest: Vec<Bound>,
    /// The cost per row, in the adapter's own multiply-adds.
    pub(crate) work: u64,
}

impl Plan {
    pub(crate) fn record(&self, gpu: &Gpu, pass: &mut wgpu::ComputePass<'_>, offset: u32, block: Block) {
        let start = if block.before == 0 { &self.start[..] } else { &[] };
        for bound in self.gather.iter().chain(start).chain(&self.rest) {
            bound.record(gpu, pass, offset, block.rows);
        }
    }
}

/// Binds kernels to buffers.
pub(crate) struct Planner<'a> {
    pub(crate) gpu: &'a Gpu,
    pub(crate) spec: &'a Spec,
    pub(crate) judging: Judging,
    /// Whether the samples of the training data weigh differently.
    pub(crate) weighted: bool,
    pub(crate) flavour: Flavour,
    pub(crate) scale: &'a wgpu::Buffer,
    pub(crate) shift: &'a wgpu::Buffer,
    pub(crate) weights: &'a Weights,
    pub(crate) work: &'a Workspace,
}

impl Planner<'_> {
    /// The plan for rows of a data set.
    pub(crate) fn of_data(&self, data: &Loaded, goal: Goal) -> Plan {
        let gather = data.parts.iter().map(|part| self.gather(part, data.bytes())).collect();
        self.plan(gather, goal)
    }

    /// The plan for rows of floats.
    pub(crate) fn of_samples(&self, samples: &Samples, goal: Goal) -> Plan {
        self.plan(vec![self.gather(samples, false)], goal)
    }

    fn plan(&self, gather: Vec<Bound>, goal: Goal) -> Plan {
        let layers = self.spec.layers.len();
        let mut rest: Vec<Bound> = (0..layers).flat_map(|l| self.forward(l, goal)).collect();
        if goal != Goal::Predict {
            rest.push(self.loss(goal));
        }
        if goal == Goal::Train {
            for l in (0..layers).rev() {
                rest.push(self.bias(l));
                if l > 0 {
                    rest.extend(self.backward(l));
                }
                rest.extend(self.update(l));
            }
        }
        let products = |l: usize| if goal == Goal::Train { 2 + u64::from(l > 0) } else { 1 };
        let weights = |l: usize| (self.spec.fan_in(l) * self.spec.layers[l].units) as u64;
        let work = (0..layers).map(|l| products(l) * weights(l)).sum::<u64>() * self.flavour.cost();
        Plan { gather, start: if self.shifts() { self.start() } else { Vec::new() }, rest, work }
    }

    fn bound(&self, kernel: Kernel, buffers: &[&wgpu::Buffer], across: usize, down: Down) -> Bound {
        let pipeline = self.gpu.pipeline(kernel, self.flavour);
        let group = self.gpu.bind(&pipeline, Some(&self.work.steps), buffers);
        Bound { pipeline, group, across, down }
    }

    /// Whether any input is shifted.
    fn shifts(&self) -> bool {
        match &self.spec.input.normalization {
            Normalization::None => false,
            Normalization::Uniform { shift, .. } => *shift != 0.0,
            Normalization::PerFeature { shift, .. } => shift.iter().any(|shift| *shift != 0.0),
        }
    }

    fn gather(&self, samples: &Samples, bytes: bool) -> Bound {
        let Workspace { order, s, targets, .. } = self.work;
        let buffers = [&samples.part, order, &samples.inputs, &samples.targets, self.scale, s, targets];
        let across = self.spec.input.features.div_ceil(64).min(64);
        self.bound(Kernel::Gather { bytes }, &buffers, across, Down::Rows(1))
    }

    fn start(&self) -> Vec<Bound> {
        let Weights { layers, start, .. } = self.weights;
        let parts = layers[0].parts.iter().map(|part| {
            let buffers = [&part.layer, &part.weight, &layers[0].bias, self.shift, start];
            self.bound(Kernel::Start, &buffers, part.units.div_ceil(64), Down::One)
        });
        parts.collect()
    }

    fn tile(&self) -> (usize, usize) {
        Tile::of(self.flavour, self.gpu.software).size()
    }

    fn forward(&self, l: usize, goal: Goal) -> Vec<Bound> {
        let (rows, columns) = self.tile();
        let layer = &self.weights.layers[l];
        let x = if l == 0 { &self.work.s } else { &self.work.h[l - 1] };
        let starts = if l == 0 && self.shifts() { &self.weights.start } else { &layer.bias };
        let activation = self.spec.layers[l].activation;
        let keeps_z = goal == Goal::Train && activation.reads() == Reads::Z;
        let kernel = Kernel::Forward { first: l == 0, activation, keeps_z };
        let parts = layer.parts.iter().map(|part| {
            let mut buffers = vec![&part.layer, x, &part.weight, starts, &self.work.h[l]];
            if keeps_z {
                buffers.push(&self.work.z[l]);
            }
            self.bound(kernel, &buffers, part.units.div_ceil(columns), Down::Rows(rows))
        });
        parts.collect()
    }

    /// The parameters for kernels that work on a whole layer. They read only fields that are the same in all parts.
    fn whole(&self, l: usize) -> &wgpu::Buffer {
        &self.weights.layers[l].parts[0].layer
    }

    fn loss(&self, goal: Goal) -> Bound {
        let last = self.spec.layers.len() - 1;
        let Workspace { targets, h, d, losses, guesses, stopped, factors, .. } = self.work;
        let mut buffers = vec![self.whole(last), &h[last], targets, &d[last], losses, guesses, stopped];
        let weighted = self.weighted && goal == Goal::Train;
        if weighted {
            buffers.push(factors);
        }
        let (judging, head, outputs) = (self.judging, self.spec.head, self.spec.outputs());
        self.bound(Kernel::Loss { judging, head, outputs, weighted }, &buffers, 1, Down::RowsAcross(64))
    }

    fn bias(&self, l: usize) -> Bound {
        let layer = &self.weights.layers[l];
        let buffers = [self.whole(l), &self.work.d[l], &layer.bias_sums, &layer.bias, &self.work.stopped];
        self.bound(Kernel::Bias, &buffers, self.spec.layers[l].units.div_ceil(64), Down::One)
    }

    fn backward(&self, l: usize) -> Vec<Bound> {
        let (rows, columns) = self.tile();
        let Workspace { h, z, d, .. } = self.work;
        let activation = self.spec.layers[l - 1].activation;
        let read = match activation.reads() {
            Reads::H => &h[l - 1],
            Reads::Z => &z[l - 1],
        };
        let kernel = Kernel::Backward(activation);
        let parts = self.weights.layers[l].parts.iter().map(|part| {
            let buffers = [&part.layer, &d[l], &part.weight, read, &d[l - 1]];
            self.bound(kernel, &buffers, self.spec.fan_in(l).div_ceil(columns), Down::Rows(rows))
        });
        parts.collect()
    }

    fn update(&self, l: usize) -> Vec<Bound> {
        let (rows, columns) = self.tile();
        let Workspace { s, h, d, stopped, .. } = self.work;
        let layer = &self.weights.layers[l];
        let x = if l == 0 { s } else { &h[l - 1] };
        let parts = layer.parts.iter().map(|part| {
            let mut buffers = vec![&part.layer, &d[l], x, &part.weight, &part.sums, stopped];
            if l == 0 {
                buffers.extend([self.shift, &layer.bias_sums]);
            }
            let (across, down) = (self.spec.fan_in(l).div_ceil(columns), part.units.div_ceil(rows));
            self.bound(Kernel::Update { first: l == 0 }, &buffers, across, Down::These(down))
        });
        parts.collect()
    }
}
