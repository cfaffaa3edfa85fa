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
//!
//! A training with dropout makes its factors before `forward`, which applies them to h, as `backward` does to the sums. If an
//! activation is learned, `forward` leaves z, and `backward` the gradient by h. A kernel follows each of them, and `bias` sums
//! the terms of the gains' gradients. If more happens than plain gradient descent, `bias` and `update` store gradients, and
//! after the last block of a batch there follow
//!
//! ```text
//! squares    Σ g² of each unit, and norm: their tree           if gradients are clipped by norm
//! rule       the optimiser's rule                              weights, biases and gains of each layer
//! renorm     w · c, to the largest norm of a unit's weights    if there is one
//! average    moves towards the weights                         if there is one
//! ```

use std::sync::Arc;

use syva_core::ops::{Judging, Reads};
use syva_core::{AVERAGE, Activation, Normalization, Spec, Training};

use crate::gpu::{Gpu, Pipeline};
use crate::memory::{Loaded, OfUnits, Part, Samples, Weights, Workspace};
use crate::shader::{Flavour, Held, Keeps, Kernel, Perturbs, Tensor, Tile};

/// What a pass computes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Only the outputs.
    Predict,
    /// Losses and guesses.
    Judge,
    /// Losses and guesses, and gradients without dropout, which are stored.
    Gradient,
    /// Losses and guesses, and an update.
    Train,
}

impl Goal {
    pub(crate) fn goes_back(self) -> bool {
        matches!(self, Self::Gradient | Self::Train)
    }
}

/// Words of a block's parameters.
pub(crate) const WORDS: usize = 20;

/// What differs from step to step.
#[derive(Clone, Copy, Default)]
pub(crate) struct Varying {
    /// Its number among those whose scalars are uploaded.
    pub(crate) number: usize,
    /// Of plain gradient descent.
    pub(crate) learning_rate: f32,
    /// Dropout of hidden layers: the threshold and the scale.
    pub(crate) hidden: (u32, f32),
    /// Dropout of inputs, likewise.
    pub(crate) inputs: (u32, f32),
    /// The number of the step in the training, in two words, and the seed.
    pub(crate) step: [u32; 2],
    pub(crate) seed: u32,
    /// Of the distance by which the average moves.
    pub(crate) share: f32,
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
    pub(crate) varying: Varying,
}

impl Block {
    pub(crate) fn words(self) -> [u32; WORDS] {
        let Varying { number, learning_rate, hidden, inputs, step, seed, share } = self.varying;
        [
            self.rows as u32,
            self.at as u32,
            self.sample.unwrap_or(0) as u32,
            u32::from(self.sample.is_none()),
            u32::from(self.last),
            self.mean.to_bits(),
            (-learning_rate).to_bits(),
            self.before as u32,
            number as u32,
            hidden.0,
            hidden.1.to_bits(),
            step[0],
            step[1],
            seed,
            inputs.0,
            inputs.1.to_bits(),
            share.to_bits(),
            0,
            0,
            0,
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
    /// Dispatched only for a batch's last block: the update by stored gradients.
    last: Vec<Bound>,
    /// The cost per row, in the adapter's own multiply-adds.
    pub(crate) work: u64,
}

impl Plan {
    pub(crate) fn record(&self, gpu: &Gpu, pass: &mut wgpu::ComputePass<'_>, offset: u32, block: Block) {
        let start = if block.before == 0 { &self.start[..] } else { &[] };
        let last = if block.last { &self.last[..] } else { &[] };
        for bound in self.gather.iter().chain(start).chain(&self.rest).chain(last) {
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
    pub(crate) training: &'a Training,
    /// What the optimiser's rule needs for each step `[steps, layers, 3 parts, SCALARS]`. `None` if gradients are
    /// not stored.
    pub(crate) scalars: Option<&'a wgpu::Buffer>,
}

impl Planner<'_> {
    /// The plan for rows of a data set.
    pub(crate) fn of_data(&self, data: &Loaded, goal: Goal) -> Plan {
        let gather = data.parts.iter().map(|part| self.gather(part, data.bytes(), goal)).collect();
        self.plan(gather, goal)
    }

    /// The plan for rows of floats.
    pub(crate) fn of_samples(&self, samples: &Samples, goal: Goal) -> Plan {
        self.plan(vec![self.gather(samples, false, goal)], goal)
    }

    fn plan(&self, gather: Vec<Bound>, goal: Goal) -> Plan {
        let layers = self.spec.layers.len();
        let mut rest: Vec<Bound> = Vec::new();
        for l in 0..layers {
            rest.extend(self.drops(l, goal).then(|| self.factors(l)));
            rest.extend(self.forward(l, goal));
        }
        if goal != Goal::Predict {
            rest.push(self.loss(goal));
        }
        if goal.goes_back() {
            for l in (0..layers).rev() {
                rest.push(self.bias(l, goal));
                if l > 0 {
                    rest.extend(self.backward(l, goal));
                }
                rest.extend(self.update(l, goal));
            }
        }
        let last = match self.scalars {
            Some(scalars) if goal == Goal::Train => self.apply(scalars),
            _ => Vec::new(),
        };
        let products = |l: usize| if goal.goes_back() { 2 + u64::from(l > 0) } else { 1 };
        let weights = |l: usize| (self.spec.fan_in(l) * self.spec.layers[l].units) as u64;
        let work = (0..layers).map(|l| products(l) * weights(l)).sum::<u64>() * self.flavour.cost();
        Plan { gather, start: if self.has_start(goal) { self.start(goal) } else { Vec::new() }, rest, last, work }
    }

    /// Whether layer l has dropout.
    fn drops(&self, l: usize, goal: Goal) -> bool {
        goal == Goal::Train && self.training.dropout > 0.0 && l + 1 < self.spec.layers.len()
    }

    /// Whether gradients are only stored.
    fn stores(&self, goal: Goal) -> bool {
        goal == Goal::Gradient || self.scalars.is_some()
    }

    /// The slot with the average, if that is what the goal needs.
    fn average(&self, goal: Goal) -> Option<usize> {
        let slot = self.weights.slots.iter().position(|name| *name == AVERAGE);
        slot.filter(|_| !goal.goes_back())
    }

    fn weight<'p>(&self, part: &'p Part, goal: Goal) -> &'p wgpu::Buffer {
        self.average(goal).map_or(&part.weight, |slot| &part.slots[slot])
    }

    /// Biases or gains.
    fn values<'p>(&self, of: &'p OfUnits, goal: Goal) -> &'p wgpu::Buffer {
        self.average(goal).map_or(&of.values, |slot| &of.slots[slot])
    }

    /// The update of a step, from stored gradients.
    fn apply(&self, scalars: &wgpu::Buffer) -> Vec<Bound> {
        let Weights { layers, squares, factor, .. } = self.weights;
        let Training { l1, l2, clip_value, clip_norm, max_norm, ema, optimizer, .. } = *self.training;
        let (held, clips, rule) = (Held { l1, l2, clip_value }, clip_norm > 0.0, optimizer.rule());
        let (stopped, slots) = (&self.work.stopped, rule.slots().len());
        let groups = |values: usize| values.div_ceil(64);
        let each = |l: usize| layers[l].parts.iter().map(move |part| (l, &layers[l], part));
        let parts = || (0..layers.len()).flat_map(each);
        let mut bounds = Vec::new();
        if clips {
            bounds.extend(parts().map(|(_, layer, part)| {
                let mut buffers = vec![&part.layer, &part.gradient, &part.weight, &layer.bias.sums, squares];
                buffers.extend(layer.gains.as_ref().map(|gains| &gains.sums));
                let kernel = Kernel::Squares { held, gains: layer.gains.is_some() };
                self.bound(kernel, &buffers, groups(part.units), Down::One)
            }));
            bounds.push(self.bound(
                Kernel::Norm { bound: clip_norm },
                &[self.whole(layers.len() - 1), squares, factor],
                1,
                Down::One,
            ));
        }
        let rule = |tensor, values: usize, of: [&wgpu::Buffer; 3], of_slots: &[wgpu::Buffer]| {
            let mut buffers = vec![of[0], of[1], of[2], scalars, stopped];
            buffers.extend(clips.then_some(factor));
            buffers.extend(&of_slots[..slots]);
            self.bound(Kernel::Rule { rule, held, clips, tensor }, &buffers, groups(values), Down::One)
        };
        for (l, _, part) in parts() {
            let buffers = [&part.layer, &part.gradient, &part.weight];
            bounds.push(rule(Tensor::Weights, part.units * self.spec.fan_in(l), buffers, &part.slots));
        }
        for (l, layer) in layers.iter().enumerate() {
            for (tensor, of) in layer.of_units() {
                let buffers = [self.whole(l), &of.sums, &of.values];
                bounds.push(rule(tensor, self.spec.layers[l].units, buffers, &of.slots));
            }
        }
        if max_norm > 0.0 {
            bounds.extend(parts().map(|(_, _, part)| {
                let buffers = [&part.layer, &part.weight, stopped];
                self.bound(Kernel::Renorm { bound: max_norm }, &buffers, groups(part.units), Down::One)
            }));
        }
        if ema > 0.0 {
            let average = |tensor, values, of: &wgpu::Buffer, w: &wgpu::Buffer, to: &[wgpu::Buffer]| {
                self.bound(Kernel::Average(tensor), &[of, w, &to[slots], stopped], groups(values), Down::One)
            };
            for (l, _, part) in parts() {
                let values = part.units * self.spec.fan_in(l);
                bounds.push(average(Tensor::Weights, values, &part.layer, &part.weight, &part.slots));
            }
            for (l, layer) in layers.iter().enumerate() {
                for (tensor, of) in layer.of_units() {
                    let values = self.spec.layers[l].units;
                    bounds.push(average(tensor, values, self.whole(l), &of.values, &of.slots));
                }
            }
        }
        bounds
    }

    /// The factors of dropout for layer l.
    fn factors(&self, l: usize) -> Bound {
        let across = self.spec.layers[l].units.div_ceil(256);
        self.bound(Kernel::Factors, &[self.whole(l), &self.work.dropout[l]], across, Down::Rows(1))
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

    fn gather(&self, samples: &Samples, bytes: bool, goal: Goal) -> Bound {
        let Workspace { order, s, targets, .. } = self.work;
        let perturbs = self.perturbs(goal);
        let mut buffers = vec![&samples.part, order, &samples.inputs, &samples.targets, self.scale, s, targets];
        buffers.extend(perturbs.is_some().then_some(self.shift));
        let across = self.spec.input.features.div_ceil(64).min(64);
        self.bound(Kernel::Gather { bytes, perturbs }, &buffers, across, Down::Rows(1))
    }

    /// What a step does to its inputs at random. The first layer then takes them as any other layer does, without scale and
    /// shift.
    fn perturbs(&self, goal: Goal) -> Option<Perturbs> {
        let Training { input_noise, input_dropout, .. } = *self.training;
        let perturbs = Perturbs { deviation: input_noise, drops: input_dropout > 0.0 };
        (goal == Goal::Train && self.training.perturbs_inputs()).then_some(perturbs)
    }

    /// Whether layer l takes raw inputs.
    fn is_raw(&self, l: usize, goal: Goal) -> bool {
        l == 0 && self.perturbs(goal).is_none()
    }

    /// Whether the first layer has initial sums of its own.
    fn has_start(&self, goal: Goal) -> bool {
        self.shifts() && self.is_raw(0, goal)
    }

    fn start(&self, goal: Goal) -> Vec<Bound> {
        let Weights { layers, start, .. } = self.weights;
        let bias = self.values(&layers[0].bias, goal);
        let parts = layers[0].parts.iter().map(|part| {
            let buffers = [&part.layer, self.weight(part, goal), bias, self.shift, start];
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
        let starts = if l == 0 && self.has_start(goal) { &self.weights.start } else { self.values(&layer.bias, goal) };
        // What is learned of an activation, and dropout after it, has a kernel of its own, which follows.
        let learned = layer.gains.as_ref();
        let drops = self.drops(l, goal) && learned.is_none();
        let activation = if learned.is_none() { self.spec.layers[l].activation } else { Activation::Identity };
        let to = if learned.is_none() { &self.work.h[l] } else { &self.work.z[l] };
        let (keeps, kept) = match activation.reads() {
            Reads::Z if goal.goes_back() => (Keeps::Z, Some(&self.work.z[l])),
            Reads::H if drops => (Keeps::H, Some(&self.work.whole[l])),
            Reads::Z | Reads::H => (Keeps::Nothing, None),
        };
        let kernel = Kernel::Forward { first: self.is_raw(l, goal), activation, keeps, drops };
        let parts = layer.parts.iter().map(|part| {
            let mut buffers = vec![&part.layer, x, self.weight(part, goal), starts, to];
            buffers.extend(kept);
            buffers.extend(drops.then_some(&self.work.dropout[l]));
            self.bound(kernel, &buffers, part.units.div_ceil(columns), Down::Rows(rows))
        });
        parts.chain(learned.map(|gains| self.learn(l, gains, goal))).collect()
    }

    /// The activations of layer l, if its activation is learned.
    fn learn(&self, l: usize, gains: &OfUnits, goal: Goal) -> Bound {
        let (layer, drops, Workspace { z, h, dropout, .. }) = (&self.spec.layers[l], self.drops(l, goal), self.work);
        let mut buffers = vec![self.whole(l), self.values(gains, goal), &z[l], &h[l]];
        buffers.extend(drops.then_some(&dropout[l]));
        let kernel = Kernel::Learn { activation: layer.nonlinearity(), drops };
        self.bound(kernel, &buffers, layer.units.div_ceil(64), Down::Rows(1))
    }

    /// The gradients by the z and by the gains of layer l, whose activation is learned. The terms of the latter take the places
    /// of z.
    fn learn_gradient(&self, l: usize, gains: &OfUnits) -> [Bound; 2] {
        let (layer, Workspace { z, d, stopped, .. }) = (&self.spec.layers[l], self.work);
        let (buffers, kernel) =
            ([self.whole(l), &gains.values, &z[l], &d[l]], Kernel::LearnGradient(layer.nonlinearity()));
        let terms = self.bound(kernel, &buffers, layer.units.div_ceil(64), Down::Rows(1));
        let buffers = [self.whole(l), &z[l], &gains.sums, &gains.values, stopped];
        [terms, self.bound(Kernel::Bias { stores: true }, &buffers, layer.units.div_ceil(64), Down::One)]
    }

    /// The parameters for kernels that work on a whole layer. They read only fields that are the same in all parts.
    fn whole(&self, l: usize) -> &wgpu::Buffer {
        &self.weights.layers[l].parts[0].layer
    }

    fn loss(&self, goal: Goal) -> Bound {
        let last = self.spec.layers.len() - 1;
        let Workspace { targets, h, d, losses, guesses, stopped, factors, .. } = self.work;
        let mut buffers = vec![self.whole(last), &h[last], targets, &d[last], losses, guesses, stopped];
        let weighted = self.weighted && goal.goes_back();
        if weighted {
            buffers.push(factors);
        }
        let (judging, head, outputs) = (self.judging, self.spec.head, self.spec.outputs());
        self.bound(Kernel::Loss { judging, head, outputs, weighted }, &buffers, 1, Down::RowsAcross(64))
    }

    fn bias(&self, l: usize, goal: Goal) -> Bound {
        let layer = &self.weights.layers[l];
        let buffers = [self.whole(l), &self.work.d[l], &layer.bias.sums, &layer.bias.values, &self.work.stopped];
        let kernel = Kernel::Bias { stores: self.stores(goal) };
        self.bound(kernel, &buffers, self.spec.layers[l].units.div_ceil(64), Down::One)
    }

    fn backward(&self, l: usize, goal: Goal) -> Vec<Bound> {
        let (rows, columns) = self.tile();
        let Workspace { h, z, whole, dropout, d, .. } = self.work;
        let learned = self.weights.layers[l - 1].gains.as_ref();
        let activation = if learned.is_none() { self.spec.layers[l - 1].activation } else { Activation::Identity };
        let drops = self.drops(l - 1, goal);
        let read = match activation.reads() {
            Reads::H if drops && learned.is_none() => &whole[l - 1],
            Reads::H => &h[l - 1],
            Reads::Z => &z[l - 1],
        };
        let kernel = Kernel::Backward { activation, drops };
        let parts = self.weights.layers[l].parts.iter().map(|part| {
            let mut buffers = vec![&part.layer, &d[l], &part.weight, read, &d[l - 1]];
            buffers.extend(drops.then_some(&dropout[l - 1]));
            self.bound(kernel, &buffers, self.spec.fan_in(l).div_ceil(columns), Down::Rows(rows))
        });
        parts.chain(learned.into_iter().flat_map(|gains| self.learn_gradient(l - 1, gains))).collect()
    }

    fn update(&self, l: usize, goal: Goal) -> Vec<Bound> {
        let (rows, columns) = self.tile();
        let Workspace { s, h, d, stopped, .. } = self.work;
        let layer = &self.weights.layers[l];
        let x = if l == 0 { s } else { &h[l - 1] };
        let parts = layer.parts.iter().map(|part| {
            let renewed = if self.stores(goal) { &part.gradient } else { &part.weight };
            let mut buffers = vec![&part.layer, &d[l], x, renewed, &part.sums, stopped];
            if self.is_raw(l, goal) {
                buffers.extend([self.shift, &layer.bias.sums]);
            }
            let (across, down) = (self.spec.fan_in(l).div_ceil(columns), part.units.div_ceil(rows));
            let kernel = Kernel::Update { first: self.is_raw(l, goal), stores: self.stores(goal) };
            self.bound(kernel, &buffers, across, Down::These(down))
        });
        parts.collect()
    }
}
