//! The update of a layer: the weight gradient, which is never stored, and the optimiser's step, one tile of weights at
//! a time.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use syva_core::Spec;

use crate::buffer::{HALF, Panels, Shared, View};
use crate::kernels::{Block, Factor, Finish, Fold, Init, Kernels, Place, Product, Scaling, SparseProduct};
use crate::memory::Batch;
use crate::profile::{Part, Stopwatch};
use crate::scratch::{BiasGradients, Scratch};
use crate::sparse::ListBy;
use crate::step::{SLICE, part, slice_of};

/// Features per task of the first layer, when it works by lists.
const PIECE: usize = 96;
/// Features that a task takes at a time, when it works densely: one or two panels.
const DENSE: usize = 32;
/// Samples that a task of another layer takes at a time, if there are more than twice as many: their rows of d stay in the
/// core's own cache for all of the task's features.
const DEEP: usize = 512;
/// Samples of a batch whose update takes little more time than reading and writing the weights.
const FEW: usize = 8;
/// Samples that such a task lists at a time.
const BLOCK: usize = 128;

/// The update of one layer: rule 3 and SGD (rule 8).
pub(crate) struct Update<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) stopwatch: &'a Stopwatch,
    pub(crate) part: Part,
    pub(crate) rows: usize,
    pub(crate) learning_rate: f32,
    pub(crate) grid: Grid,
    pub(crate) x: X<'a>,
    pub(crate) d: &'a Panels,
    /// Rows of Wᵀ in memory.
    pub(crate) height: usize,
    pub(crate) w: Shared<'a, f32>,
    pub(crate) bias: Shared<'a, f32>,
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
                    self.renew_bias_gradients(first, slice, panels.clone(), &mut scratch.bias_gradients);
                    if features.start == 0 {
                        self.update_bias(panels.clone());
                    }
                });
                // A task that has all features works through them in order, so it can compute the next initial sums.
                let whole = features.len() == self.grid.fan_in;
                let start = whole.then(|| self.begin(first, &panels));
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
                if !whole && first.left[slice].fetch_sub(1, Ordering::AcqRel) == 1 {
                    self.start(first, panels);
                }
            }
            X::Hidden(h) => self.stopwatch.time(self.part, || {
                if features.start == 0 {
                    self.update_bias(panels.clone());
                }
                let width = self.grid.width;
                if self.rows == 1 {
                    let x = scratch.inputs.of(features.end);
                    h.copy_row(0, x);
                    panels.for_each(|panel| self.run_dense(&x[features.start..], features.clone(), panel, None));
                    return;
                }
                if self.rows > 2 * DEEP {
                    let room = features.len().div_ceil(width) * panels.len() * width * width;
                    self.run_deep(h, &features, &panels, scratch.sums.of(room));
                    return;
                }
                for features in parts(features, width) {
                    let x = &h.as_slice()[h.at(features.start / width)..];
                    panels.clone().for_each(|panel| self.run_dense(x, features.clone(), panel, None));
                }
            }),
        }
    }

    /// Computes `Σ_b d[b,j]` of a panel of units into `to`.
    fn sum(&self, panel: usize, to: &mut [f32], finish: Finish<'_>) {
        let d = &self.d.as_slice()[self.d.at(panel)..];
        sum(self.kernels, self.rows, None, d, None, &mut to[..self.d.computed(panel)], finish);
    }

    /// Updates the biases of some panels by their gradients.
    fn update_bias(&self, panels: Range<usize>) {
        for panel in panels {
            // SAFETY: only this task uses the biases of these units.
            let bias = unsafe { self.bias.part(panel * self.grid.width, self.grid.width) };
            self.sum(panel, bias, Finish::Descend { learning_rate: self.learning_rate, fold: None });
        }
    }

    /// Computes the bias gradients of a slice, unless this thread already has them.
    fn renew_bias_gradients(&self, first: &First<'_>, slice: usize, panels: Range<usize>, kept: &mut BiasGradients) {
        let of = Some((first.version, slice));
        if kept.of != of {
            kept.of = None;
            for (panel, gradients) in panels.zip(kept.values.chunks_exact_mut(self.grid.width)) {
                self.sum(panel, gradients, Finish::Store);
            }
            kept.of = of;
        }
    }

    /// The raw inputs of some samples.
    fn block<'b>(&self, first: &'b First<'_>, features: &Range<usize>, samples: Range<usize>) -> Block<'b> {
        Block {
            features: self.grid.fan_in,
            first: features.start,
            scale: &first.scale[features.clone()],
            samples: first.batch.samples.part(&samples),
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
            let block = self.block(first, &features, 0..self.rows);
            self.kernels.scale(first.batch.source, &mut Scaling { block, s: x, panel: apart });
        });
        let (size, apart) = if self.rows == 1 { (features.len(), x.len()) } else { (width, apart) };
        self.stopwatch.time(self.part, || {
            for (features, x) in parts(features, size).zip(x.chunks_exact(apart)) {
                let shift = &first.shift[features.clone()];
                let gradients = scratch.bias_gradients.values.chunks_exact(width);
                for (n, (panel, bias_gradient)) in panels.clone().zip(gradients).enumerate() {
                    let start = start.map(|start| start.from(n * width));
                    self.run_dense(x, features.clone(), panel, Some(Fold { shift, bias_gradient, start }));
                }
            }
        });
    }

    /// Updates a tile of Wᵀ from one panel of inputs, `[batch, width]`.
    fn run_dense(&self, x: &[f32], features: Range<usize>, panel: usize, fold: Option<Fold<'_>>) {
        let product = Product {
            rows: features.len(),
            columns: self.d.computed(panel),
            depth: self.rows,
            a: Factor::Columns(View::from(x)),
            b: &self.d.as_slice()[self.d.at(panel)..],
            init: None,
            sums: None,
            c: self.w,
            c_at: (panel * self.height + features.start) * self.grid.width,
            finish: Finish::Descend { learning_rate: self.learning_rate, fold },
        };
        // SAFETY: only this task uses the tile of Wᵀ; x and d are other buffers.
        unsafe { self.kernels.product(&product) };
    }

    /// Updates the weights from some features to some panels of units, one block of samples after the other. The sums wait
    /// in `sums`, `[panels of features, panels of units, width, width]`.
    fn run_deep(&self, h: &Panels, features: &Range<usize>, panels: &Range<usize>, sums: &mut [f32]) {
        let width = self.grid.width;
        let sums = Shared::new(sums);
        for samples in parts(0..self.rows, DEEP) {
            for (down, features) in parts(features.clone(), width).enumerate() {
                for (across, panel) in panels.clone().enumerate() {
                    let waiting = (down * panels.len() + across) * width * width;
                    let (c, c_at, finish) = if samples.end == self.rows {
                        let at = (panel * self.height + features.start) * width;
                        (self.w, at, Finish::Descend { learning_rate: self.learning_rate, fold: None })
                    } else {
                        (sums, waiting, Finish::Store)
                    };
                    let product = Product {
                        rows: features.len(),
                        columns: self.d.computed(panel),
                        depth: samples.len(),
                        a: Factor::Columns(View::from(
                            &h.as_slice()[h.at(features.start / width) + samples.start * width..],
                        )),
                        b: &self.d.as_slice()[self.d.at(panel) + samples.start * width..],
                        init: None,
                        sums: (samples.start > 0).then(|| sums.view(waiting)),
                        c,
                        c_at,
                        finish,
                    };
                    // SAFETY: only this task uses the tile of Wᵀ, and only this thread uses the sums; h and d are other
                    // buffers.
                    unsafe { self.kernels.product(&product) };
                }
            }
        }
    }

    /// Updates a tile of the first layer by lists, one block of samples after the other. The sums are kept in scratch
    /// memory. Those of the last block go directly into the weights.
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
        let blocks = self.rows.div_ceil(BLOCK);
        let sums = scratch.sums.of(if blocks > 1 { SLICE * PIECE } else { 0 });
        let sums = Place { values: Shared::new(sums), at: 0, panel: PIECE * width };
        let w = Place {
            values: self.w,
            at: (panels.start * self.height + features.start) * width,
            panel: self.height * width,
        };
        let fold = Fold { shift: &first.shift[features.clone()], bias_gradient: &scratch.bias_gradients.values, start };
        let descend = Finish::Descend { learning_rate: self.learning_rate, fold: Some(fold) };
        for block in 0..blocks {
            let samples = self.block(first, &features, part(block, BLOCK, self.rows));
            let lists = &mut scratch.lists;
            self.stopwatch.time(Part::Gather, || {
                self.kernels.list(first.batch.source, &samples, ListBy::Feature, lists);
            });
            let (c, finish) = if block + 1 == blocks { (w, descend) } else { (sums, Finish::Store) };
            let product = SparseProduct {
                a: lists,
                rows: (0, features.len()),
                columns,
                b: &self.d.as_slice()[self.d.at(panels.start) + block * BLOCK * width..],
                b_panel: self.d.at(1),
                init: if block == 0 { Init::Zero } else { Init::Sums(sums) },
                c,
                finish,
            };
            // SAFETY: only this task uses the tile of Wᵀ, and only this thread uses the sums; d is another buffer.
            self.stopwatch.time(self.part, || unsafe { self.kernels.sparse_product(&product) });
            self.stopwatch.count(self.part, || 2 * lists.entries() * columns);
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
    sum(kernels, shift.len(), Some(shift), w, Some(bias), sums, Finish::Store);
}

/// Computes 16 or 32 sums down a panel: `init + Σ_p a_p·b[p,j]`. If they are not given, `init` is all zeros and `a` is
/// all ones: fma(1, b, sum) is sum + b.
fn sum(
    kernels: &Kernels,
    depth: usize,
    a: Option<&[f32]>,
    b: &[f32],
    init: Option<&[f32]>,
    to: &mut [f32],
    finish: Finish<'_>,
) {
    // Without `a`, each panel of its row is the same one.
    let (values, panel) = a.map_or((&[1.0; 2 * HALF][..], 0), |a| (a, kernels.width()));
    let product = Product {
        rows: 1,
        columns: to.len(),
        depth,
        a: Factor::Rows { values: View::from(values), panel },
        b,
        init,
        sums: None,
        c: Shared::new(to),
        c_at: 0,
        finish,
    };
    // SAFETY: the outputs are borrowed by this call alone.
    unsafe { kernels.product(&product) };
}
