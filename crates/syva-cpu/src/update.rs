//! The update of a layer: the weight gradient, which is never stored, and the optimiser's step, one tile of weights at
//! a time.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use syva_core::ops::{Rule, SCALARS, SLOTS};
use syva_core::reference::BLOCK;
use syva_core::{Part as Of, Spec};

use crate::buffer::{HALF, Panels, Shared, View};
use crate::kernels::{self, Applied, Factor, Finish, Fold, Init, Kernels, Place, Product, Scaling, SparseProduct};
use crate::memory::Batch;
use crate::profile::{Part, Stopwatch};
use crate::scratch::{Scratch, Space};
use crate::sparse::ListBy;
use crate::step::{SLICE, part, slice_of};
use crate::tree::{Places, blocks, places};

/// Features per task of the first layer, when it works by lists.
const PIECE: usize = 96;
/// Features that a task takes at a time, when it works densely: one or two panels.
const DENSE: usize = 32;
/// Samples that a task of another layer takes at a time, if there are more than twice as many: their rows of d stay in the
/// core's own cache for all of the task's features. A power of two of whole blocks.
const DEEP: usize = 512;
/// Samples of a batch whose update takes little more time than reading and writing the weights.
const FEW: usize = 8;

/// The update of one layer: rule 3 and the optimiser (rule 8).
pub(crate) struct Update<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) stopwatch: &'a Stopwatch,
    pub(crate) part: Part,
    pub(crate) rows: usize,
    pub(crate) change: Change<'a>,
    pub(crate) grid: Grid,
    pub(crate) x: X<'a>,
    pub(crate) d: &'a Panels,
    /// Rows of Wᵀ in memory.
    pub(crate) height: usize,
    pub(crate) w: Shared<'a, f32>,
    pub(crate) bias: Shared<'a, f32>,
    /// The gains, and the terms of their gradients, if there are any.
    pub(crate) gain: Option<(Shared<'a, f32>, &'a Panels)>,
}

/// What a gradient does to its weight.
#[derive(Clone, Copy)]
pub(crate) enum Change<'a> {
    /// Plain gradient descent, at these learning rates of weights, biases and gains. It is part of the product.
    Descend([f32; 3]),
    /// An optimiser's rule, with the scalars of weights, biases and gains. The gradients of a tile go to scratch memory first.
    Apply { rule: Rule, scalars: [&'a [f32; SCALARS]; 3], slots: [Option<SlotOf<'a>>; SLOTS] },
    /// The weight becomes its gradient.
    Replace,
}

/// What an optimiser remembers of a layer's weights, biases and gains, which it lies like.
#[derive(Clone, Copy)]
pub(crate) struct SlotOf<'a> {
    pub(crate) w: Shared<'a, f32>,
    pub(crate) bias: Shared<'a, f32>,
    pub(crate) gain: Shared<'a, f32>,
}

/// The inputs of a layer.
#[derive(Clone, Copy)]
pub(crate) enum X<'a> {
    /// The raw inputs of the first layer, which are still to be scaled (rule 5).
    Raw(&'a First<'a>),
    /// The activations below any other layer.
    Hidden(&'a Panels),
}

/// What only the first layer's update needs.
pub(crate) struct First<'a> {
    pub(crate) batch: Batch<'a>,
    pub(crate) scale: &'a [f32],
    pub(crate) shift: &'a [f32],
    /// The version of the weights.
    pub(crate) version: u64,
    /// The layer's initial sums for the next step. They are computed by the task that finishes a slice last.
    pub(crate) start: Shared<'a, f32>,
    /// The number of tasks of each slice that are not done yet.
    pub(crate) left: &'a [AtomicUsize],
}

/// The tasks of a layer's update. Each task updates the weights from some features to some units.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    fan_in: usize,
    units: usize,
    /// Features per task.
    features: usize,
    /// Columns per panel.
    width: usize,
}

impl Grid {
    /// Divides a layer into tasks. The fewer samples there are, the more features a task has, so that no task is too
    /// small. In the first layer, a task has all features if that still makes enough tasks for the threads.
    pub(crate) fn new(spec: &Spec, l: usize, batch: &Batch<'_>, threads: usize, width: usize) -> Self {
        let (fan_in, units) = (spec.fan_in(l), spec.layers[l].units);
        let slices = units.div_ceil(SLICE);
        let dense = match batch.samples.len() {
            // As many features for each block of d as leave enough tasks.
            samples if l > 0 && samples > 2 * DEEP => (fan_in * slices / (4 * threads) / DENSE).clamp(1, 4) * DENSE,
            samples => DENSE * (BLOCK / samples).clamp(1, 8),
        };
        // For few samples, one task per thread will do: the step is over before another one could help.
        let each = if batch.samples.len() <= FEW { 1 } else { 8 };
        let features = match l {
            0 if threads == 1 || units >= each * threads * SLICE => fan_in,
            0 if batch.by_feature => PIECE,
            _ => dense,
        };
        Self { fan_in, units, features, width }
    }

    /// Tasks per slice of units.
    pub(crate) fn down(&self) -> usize {
        self.fan_in.div_ceil(self.features)
    }

    pub(crate) fn tasks(&self) -> usize {
        self.down() * self.units.div_ceil(SLICE)
    }

    /// The features, the slice of units, and the panels of units of a task.
    fn get(&self, task: usize) -> (Range<usize>, usize, Range<usize>) {
        let slice = task / self.down();
        (
            part(task % self.down(), self.features, self.fan_in),
            slice,
            slice_of(self.units.div_ceil(self.width), slice, self.width),
        )
    }
}

/// Cuts a range into parts of `size`. The last part may be smaller.
fn parts(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size).map(move |start| start..end.min(start + size))
}

impl<'a> Update<'a> {
    /// Updates the weights from some features to some units. The task of the first features also updates the units'
    /// biases.
    pub(crate) fn run(&self, task: usize, scratch: &mut Scratch) {
        let (features, slice, panels) = self.grid.get(task);
        match self.x {
            X::Raw(first) => {
                self.stopwatch.time(self.part, || {
                    self.renew_bias_gradients(first, slice, panels.clone(), scratch);
                    if features.start == 0 {
                        self.update_rows(panels.clone(), &mut scratch.sums);
                    }
                });
                // A task that has all features works through them in order. So if the update is part of its products, it
                // can compute the next initial sums there too.
                let within = matches!(self.change, Change::Descend(_)) && features.len() == self.grid.fan_in;
                let start = within.then(|| self.begin(first, &panels));
                if first.batch.by_feature {
                    for features in parts(features, PIECE) {
                        self.run_by_lists(first, features, panels.clone(), start, scratch);
                    }
                } else {
                    // A single sample is one row in memory, however many panels it fills.
                    let size = if self.rows == 1 { features.len() } else { DENSE };
                    for features in parts(features, size) {
                        self.run_first(first, features, panels.clone(), start, scratch);
                    }
                }
                // Gradients need no initial sums.
                let wanted = !within && !matches!(self.change, Change::Replace);
                if wanted && first.left[slice].fetch_sub(1, Ordering::AcqRel) == 1 {
                    self.start(first, panels);
                }
            }
            X::Hidden(h) => self.stopwatch.time(self.part, || {
                if features.start == 0 {
                    self.update_rows(panels.clone(), &mut scratch.sums);
                }
                let width = self.grid.width;
                if self.rows == 1 {
                    let x = scratch.inputs.of(features.end);
                    h.copy_row(0, x);
                    let sums = &mut scratch.sums;
                    panels.for_each(|panel| self.run_dense(&x[features.start..], features.clone(), panel, None, sums));
                    return;
                }
                if self.rows > BLOCK {
                    self.run_groups(h, &features, &panels, &mut scratch.sums);
                    return;
                }
                for features in parts(features, width) {
                    let x = &h.as_slice()[h.at(features.start / width)..];
                    let sums = &mut scratch.sums;
                    panels.clone().for_each(|panel| self.run_dense(x, features.clone(), panel, None, sums));
                }
            }),
        }
    }

    /// Computes `Σ_b d[b,j]` of a panel of units into `to`, of gradients `d`. Sums of some of the samples wait in `waiting`.
    fn sum(&self, d: &Panels, panel: usize, to: &mut [f32], waiting: &mut [f32], finish: Finish<'_>) {
        let (columns, width) = (d.computed(panel), self.grid.width);
        let (to, waiting) = (Shared::new(&mut to[..columns]), Shared::new(waiting));
        for block in blocks(0..self.rows, self.rows) {
            let mut room = None;
            let product = Product {
                rows: 1,
                columns,
                depth: block.samples.len(),
                // fma(1, d, sum) is sum + d. Each panel of the row of ones is the same one.
                a: Factor::Rows { values: View::from(&[1.0; 2 * HALF][..]), panel: 0 },
                b: &d.as_slice()[d.at(panel) + block.samples.start * width..],
                init: None,
                earlier: block.earlier(&mut room, |place| waiting.view(place * width)),
                c: if block.last { to } else { waiting },
                c_at: if block.last { 0 } else { block.place() * width },
                finish: if block.last { finish } else { Finish::Store },
            };
            // SAFETY: the outputs and what waits are borrowed by this call alone.
            unsafe { self.kernels.product(&product) };
        }
    }

    /// The values that wait while the sums of a panel are computed, `each` at a time.
    fn waiting(&self, each: usize) -> usize {
        places(self.rows.div_ceil(BLOCK)) * each
    }

    /// Updates the biases and the gains of some panels by their gradients.
    fn update_rows(&self, panels: Range<usize>, sums: &mut Space) {
        self.update_row(Of::Biases, (self.bias, self.d), panels.clone(), sums);
        if let Some(gain) = self.gain {
            self.update_row(Of::Gains, gain, panels, sums);
        }
    }

    /// Updates what has one value per unit, of some panels, by gradients that are sums over the batch.
    fn update_row(&self, of: Of, (values, d): (Shared<'a, f32>, &Panels), panels: Range<usize>, sums: &mut Space) {
        let width = self.grid.width;
        let (gradient, waiting) = sums.of(width + self.waiting(width)).split_at_mut(width);
        for panel in panels {
            let (at, columns) = (panel * width, d.computed(panel));
            // SAFETY: only this task uses the values of these units.
            let values = unsafe { values.part(at, width) };
            match &self.change {
                Change::Apply { rule, scalars, slots } => {
                    self.sum(d, panel, gradient, waiting, Finish::Store);
                    let row = |slot: SlotOf<'a>| if of == Of::Gains { slot.gain } else { slot.bias };
                    let part = |slot: Option<SlotOf<'a>>| {
                        // SAFETY: as above.
                        slot.map_or(&mut [][..], |slot| unsafe { row(slot).part(at, columns) })
                    };
                    let (gradient, weight) = (&gradient[..columns], &mut values[..columns]);
                    let scalars = scalars[of as usize];
                    self.kernels.apply(&mut Applied { rule: *rule, scalars, gradient, weight, slots: slots.map(part) });
                }
                Change::Descend(rates) => {
                    let finish = Finish::Descend { learning_rate: rates[of as usize], fold: None };
                    self.sum(d, panel, values, waiting, finish);
                }
                Change::Replace => self.sum(d, panel, values, waiting, Finish::Store),
            }
        }
    }

    /// The epilogue of the product that computes the gradient.
    fn finish<'b>(&self, fold: Option<Fold<'b>>) -> Finish<'b> {
        match (self.change, fold) {
            (Change::Descend([learning_rate, ..]), fold) => Finish::Descend { learning_rate, fold },
            (_, Some(fold)) => Finish::Fold(fold),
            (_, None) => Finish::Store,
        }
    }

    /// Where the product that computes the gradient leaves its outputs, which are for the weights at `at`: there, or in
    /// scratch memory.
    fn outputs<'b>(&self, at: usize, scratch: &'b mut [f32]) -> (Shared<'b, f32>, usize)
    where
        'a: 'b,
    {
        match self.change {
            Change::Apply { .. } => (Shared::new(scratch), 0),
            _ => (self.w, at),
        }
    }

    /// Applies the rule to the weights at `at`, some rows of a panel, if the gradient is in scratch memory.
    fn apply(&self, at: usize, columns: usize, gradient: &[f32]) {
        let Change::Apply { rule, scalars, slots } = &self.change else { return };
        let width = self.grid.width;
        // Rows are contiguous, unless some columns of the panel are not computed.
        let each = if columns == width { gradient.len().max(1) } else { width };
        for (row, gradient) in gradient.chunks(each).enumerate() {
            let (at, len) = (at + row * each, if columns == width { gradient.len() } else { columns });
            // SAFETY: only this task uses the tile of Wᵀ, and what is remembered of it.
            let (weight, slots) = unsafe {
                let slots = slots.map(|slot| slot.map_or(&mut [][..], |slot| slot.w.part(at, len)));
                (self.w.part(at, len), slots)
            };
            self.kernels.apply(&mut Applied {
                rule: *rule,
                scalars: scalars[0],
                gradient: &gradient[..len],
                weight,
                slots,
            });
        }
    }

    /// Computes the bias gradients of a slice, unless this thread already has them.
    fn renew_bias_gradients(&self, first: &First<'_>, slice: usize, panels: Range<usize>, scratch: &mut Scratch) {
        let Scratch { bias_gradients: kept, sums, .. } = scratch;
        let of = Some((first.version, slice));
        if kept.of != of {
            kept.of = None;
            let waiting = sums.of(self.waiting(self.grid.width));
            for (panel, gradients) in panels.zip(kept.values.chunks_exact_mut(self.grid.width)) {
                self.sum(self.d, panel, gradients, waiting, Finish::Store);
            }
            kept.of = of;
        }
    }

    /// The raw inputs of some samples.
    fn inputs<'b>(&self, first: &'b First<'_>, features: &Range<usize>, samples: &Range<usize>) -> kernels::Block<'b> {
        kernels::Block {
            features: self.grid.fan_in,
            first: features.start,
            scale: &first.scale[features.clone()],
            samples: first.batch.samples.part(samples),
            next: None,
        }
    }

    /// Updates a tile of the first layer by dense products.
    fn run_first(
        &self,
        first: &First<'_>,
        features: Range<usize>,
        panels: Range<usize>,
        start: Option<Shared<'a, f32>>,
        scratch: &mut Scratch,
    ) {
        let width = self.grid.width;
        let apart = self.rows * width;
        let x = scratch.inputs.of(features.len().div_ceil(width) * apart);
        self.stopwatch.time(Part::Gather, || {
            let block = self.inputs(first, &features, &(0..self.rows));
            self.kernels.scale(first.batch.source, &mut Scaling { block, s: x, panel: apart });
        });
        let (size, apart) = if self.rows == 1 { (features.len(), x.len()) } else { (width, apart) };
        self.stopwatch.time(self.part, || {
            for (features, x) in parts(features, size).zip(x.chunks_exact(apart)) {
                let shift = &first.shift[features.clone()];
                let gradients = scratch.bias_gradients.values.chunks_exact(width);
                for (n, (panel, bias_gradient)) in panels.clone().zip(gradients).enumerate() {
                    let start = start.map(|start| start.from(n * width));
                    let (fold, sums) = (Some(Fold { shift, bias_gradient, start }), &mut scratch.sums);
                    if self.rows > BLOCK {
                        let places = self.places();
                        let sums = sums.of(self.waiting(places.apart));
                        self.run_blocks((x, &features), panel, fold, 0..self.rows, (places, sums));
                    } else {
                        self.run_dense(x, features.clone(), panel, fold, sums);
                    }
                }
            }
        });
    }

    /// Updates a tile of Wᵀ from one panel of inputs, `[batch, width]`, of one block of samples at most.
    fn run_dense(&self, x: &[f32], features: Range<usize>, panel: usize, fold: Option<Fold<'_>>, sums: &mut Space) {
        let (rows, width) = (features.len(), self.grid.width);
        let applies = matches!(self.change, Change::Apply { .. });
        if applies && rows > width {
            // A single sample. The gradients of all its features would not stay in the cache.
            for part in parts(features.clone(), width) {
                let at = part.start - features.start;
                let fold = fold.map(|fold| Fold { shift: &fold.shift[at..], ..fold });
                self.run_dense(&x[at..], part, panel, fold, sums);
            }
            return;
        }
        let gradient = sums.of(if applies { rows * width } else { 0 });
        let at = (panel * self.height + features.start) * width;
        let (c, c_at) = self.outputs(at, gradient);
        let product = Product {
            rows: features.len(),
            columns: self.d.computed(panel),
            depth: self.rows,
            a: Factor::Columns(View::from(x)),
            b: &self.d.as_slice()[self.d.at(panel)..],
            init: None,
            earlier: &[],
            c,
            c_at,
            finish: self.finish(fold),
        };
        // SAFETY: only this task uses the tile of Wᵀ and the scratch memory; x and d are other buffers.
        unsafe { self.kernels.product(&product) };
        self.apply(at, self.d.computed(panel), gradient);
    }

    /// Where the sums of a tile wait, if all blocks of the batch are one group.
    fn places(&self) -> Places {
        let blocks = self.rows.div_ceil(BLOCK).next_power_of_two();
        Places { blocks, of_group: 0, of_tile: 0, apart: self.grid.width * self.grid.width }
    }

    /// Updates the weights from some features to some panels of units. There are several blocks of samples. If there are
    /// many, each group of blocks is done for all tiles before the next one.
    fn run_groups(&self, h: &Panels, features: &Range<usize>, panels: &Range<usize>, sums: &mut Space) {
        let width = self.grid.width;
        let mut at = self.places();
        let (mut of_groups, mut samples_each) = (0, self.rows);
        let tiles = features.len().div_ceil(width) * panels.len();
        if self.rows > 2 * DEEP {
            (at.blocks, samples_each) = (DEEP / BLOCK, DEEP);
            of_groups = places(self.rows.div_ceil(DEEP));
        }
        let of_group = places(at.blocks);
        let sums = sums.of((of_group + tiles * of_groups) * at.apart);
        for samples in parts(0..self.rows, samples_each) {
            at.of_tile = of_group * at.apart;
            for features in parts(features.clone(), width) {
                let x = &h.as_slice()[h.at(features.start / width)..];
                for panel in panels.clone() {
                    self.run_blocks((x, &features), panel, None, samples.clone(), (at, sums));
                    at.of_tile += of_groups * at.apart;
                }
            }
        }
    }

    /// Adds some blocks of samples to a tile of weight gradients, from one panel of inputs, `[batch, width]`. After the
    /// batch's last block, the tile of Wᵀ is updated.
    fn run_blocks(
        &self,
        (x, features): (&[f32], &Range<usize>),
        panel: usize,
        fold: Option<Fold<'_>>,
        samples: Range<usize>,
        (places, sums): (Places, &mut [f32]),
    ) {
        let width = self.grid.width;
        let applies = matches!(self.change, Change::Apply { .. });
        let at = (panel * self.height + features.start) * width;
        let sums = Shared::new(sums);
        for block in blocks(samples, self.rows) {
            let (c, c_at) = match block.last {
                false => (sums, places.after(&block)),
                // The sums that wait are added before the gradient takes the place of one.
                true if applies => (sums, places.of_group),
                true => (self.w, at),
            };
            let mut room = None;
            let product = Product {
                rows: features.len(),
                columns: self.d.computed(panel),
                depth: block.samples.len(),
                a: Factor::Columns(View::from(&x[block.samples.start * width..])),
                b: &self.d.as_slice()[self.d.at(panel) + block.samples.start * width..],
                init: None,
                earlier: block.earlier(&mut room, |place| sums.view(places.of(&block, place))),
                c,
                c_at,
                finish: if block.last { self.finish(fold) } else { Finish::Store },
            };
            // SAFETY: only this task uses the tile of Wᵀ, and only this thread uses the sums; x and d are other buffers.
            unsafe { self.kernels.product(&product) };
            if block.last && applies {
                // SAFETY: only this thread uses the sums, and the kernel is done with them.
                let gradient = unsafe { sums.part(places.of_group, features.len() * width) };
                self.apply(at, self.d.computed(panel), gradient);
            }
        }
    }

    /// Updates a tile of the first layer by lists, one block of samples after the other. Sums wait in scratch memory. Those
    /// of the last block go directly into the weights.
    fn run_by_lists(
        &self,
        first: &First<'_>,
        features: Range<usize>,
        panels: Range<usize>,
        start: Option<Shared<'a, f32>>,
        scratch: &mut Scratch,
    ) {
        let width = self.grid.width;
        let columns = panels.clone().map(|panel| self.d.computed(panel)).sum();
        let applies = matches!(self.change, Change::Apply { .. });
        let each = SLICE * PIECE;
        let sums = scratch.sums.of(self.waiting(each).max(if applies { each } else { 0 }));
        let sums = Place { values: Shared::new(sums), at: 0, panel: PIECE * width };
        let waiting = |place: usize| Place { at: place * each, ..sums };
        let w = Place {
            values: self.w,
            at: (panels.start * self.height + features.start) * width,
            panel: self.height * width,
        };
        let fold = Fold { shift: &first.shift[features.clone()], bias_gradient: &scratch.bias_gradients.values, start };
        let last = self.finish(Some(fold));
        for block in blocks(0..self.rows, self.rows) {
            let inputs = self.inputs(first, &features, &block.samples);
            let lists = &mut scratch.lists;
            self.stopwatch.time(Part::Gather, || {
                self.kernels.list(first.batch.source, &inputs, ListBy::Feature, lists);
            });
            let (c, finish) = match block.last {
                false => (waiting(block.place()), Finish::Store),
                // The sums that wait are added before the gradient takes the place of one.
                true if applies => (sums, last),
                true => (w, last),
            };
            let mut room = None;
            let product = SparseProduct {
                a: lists,
                rows: (0, features.len()),
                columns,
                b: &self.d.as_slice()[self.d.at(panels.start) + block.samples.start * width..],
                b_panel: self.d.at(1),
                init: Init::Zero,
                earlier: block.earlier(&mut room, waiting),
                c,
                finish,
            };
            // SAFETY: only this task uses the tile of Wᵀ, and only this thread uses the sums; d is another buffer.
            self.stopwatch.time(self.part, || unsafe { self.kernels.sparse_product(&product) });
            self.stopwatch.count(self.part, || 2 * lists.entries() * columns);
        }
        if applies {
            self.stopwatch.time(self.part, || {
                for (n, panel) in panels.enumerate() {
                    let at = (panel * self.height + features.start) * width;
                    // SAFETY: only this thread uses the sums, and the kernel is done with them.
                    let gradient = unsafe { sums.values.part(n * sums.panel, features.len() * width) };
                    self.apply(at, self.d.computed(panel), gradient);
                }
            });
        }
    }

    /// The place for the next initial sums of some panels of the first layer, filled with their biases.
    fn begin(&self, first: &First<'a>, panels: &Range<usize>) -> Shared<'a, f32> {
        let (at, len) = (panels.start * self.grid.width, panels.len() * self.grid.width);
        // SAFETY: only this task uses the biases of these units and their initial sums.
        let (bias, start) = unsafe { (self.bias.part(at, len), first.start.part(at, len)) };
        start.copy_from_slice(bias);
        Shared::new(start)
    }

    /// Computes the next initial sums of some panels of the first layer, after their weights and biases are updated.
    fn start(&self, first: &First<'_>, panels: Range<usize>) {
        self.stopwatch.time(Part::Forward(0), || {
            let size = self.height * self.grid.width;
            for panel in panels {
                let (at, columns) = (panel * self.grid.width, self.d.computed(panel));
                // SAFETY: all other tasks of these panels are done, and nothing else uses the panels before the region
                // ends.
                let (w, bias, sums) = unsafe {
                    let w = self.w.part(panel * size, size);
                    (w, self.bias.part(at, columns), first.start.part(at, columns))
                };
                start(self.kernels, first.shift, w, bias, sums);
            }
        });
    }
}

/// Computes `bias + Σ_k shift_k·w[j,k]` of a panel of units.
pub(crate) fn start(kernels: &Kernels, shift: &[f32], w: &[f32], bias: &[f32], sums: &mut [f32]) {
    let product = Product {
        rows: 1,
        columns: sums.len(),
        depth: shift.len(),
        a: Factor::Rows { values: View::from(shift), panel: kernels.width() },
        b: w,
        init: Some(bias),
        earlier: &[],
        c: Shared::new(sums),
        c_at: 0,
        finish: Finish::Store,
    };
    // SAFETY: the outputs are borrowed by this call alone.
    unsafe { kernels.product(&product) };
}
