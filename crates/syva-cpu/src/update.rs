//! The update of a layer: its weight gradient, never stored, and the optimiser's step, a tile of weights at a time.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use syva_core::Spec;
use syva_core::arithmetic::Real;

use crate::buffer::{Panels, Shared, View, WIDTH};
use crate::kernels::{Block, Finish, Init, Kernels, Place, Product, Scaling, SparseProduct};
use crate::memory::Batch;
use crate::profile::{Part, Stopwatch};
use crate::scratch::{BiasGradients, Scratch};
use crate::sparse::ListBy;
use crate::step::{SLICE, part};

/// Features of a task of the first layer by lists,
const PIECE: usize = 3 * WIDTH;
/// and samples that it lists at a time.
const BLOCK: usize = 128;

/// Rule 3 and SGD for one layer.
pub(crate) struct Update<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) stopwatch: &'a Stopwatch,
    pub(crate) part: Part,
    pub(crate) rows: usize,
    pub(crate) learning_rate: f32,
    pub(crate) grid: Grid,
    pub(crate) x: X<'a>,
    pub(crate) d: &'a Panels,
    /// Rows of Wᵀ, in memory.
    pub(crate) height: usize,
    pub(crate) w: Shared<'a, f32>,
    pub(crate) bias: Shared<'a, f32>,
}

/// The inputs of a layer.
#[derive(Clone, Copy)]
pub(crate) enum X<'a> {
    /// Of the first one: to be scaled (rule 5).
    Raw(&'a First<'a>),
    /// Of another.
    Hidden(&'a Panels),
}

/// What only the first layer has.
pub(crate) struct First<'a> {
    pub(crate) batch: Batch<'a>,
    pub(crate) scale: &'a [f32],
    pub(crate) shift: &'a [f32],
    /// Of the weights.
    pub(crate) version: u64,
    /// What its sums start at in the next step,
    pub(crate) start: Shared<'a, f32>,
    /// computed by whoever does the last of these tasks of a slice.
    pub(crate) left: &'a [AtomicUsize],
}

/// The tasks of a layer: some features' weights to some units.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    fan_in: usize,
    units: usize,
    /// Features of a task.
    features: usize,
}

impl Grid {
    pub(crate) fn of(spec: &Spec, l: usize, sparse: bool) -> Self {
        let features = if sparse && l == 0 { PIECE } else { WIDTH };
        Self { fan_in: spec.fan_in(l), units: spec.layers[l].units, features }
    }

    /// Tasks of a slice of units.
    pub(crate) fn down(&self) -> usize {
        self.fan_in.div_ceil(self.features)
    }

    fn panels(&self) -> usize {
        self.units.div_ceil(WIDTH)
    }

    pub(crate) fn tasks(&self) -> usize {
        self.down() * self.panels().div_ceil(SLICE)
    }

    /// Features, slice of units, and panels of units of a task.
    fn get(&self, task: usize) -> (Range<usize>, usize, Range<usize>) {
        let slice = task / self.down();
        (part(task % self.down(), self.features, self.fan_in), slice, part(slice, SLICE, self.panels()))
    }
}

impl Update<'_> {
    /// Updates some features' weights to some units; with the first features also these units' biases.
    pub(crate) fn run(&self, task: usize, scratch: &mut Scratch) {
        let (features, slice, panels) = self.grid.get(task);
        match self.x {
            X::Raw(first) => {
                self.renew_bias_gradients(first, slice, panels.clone(), &mut scratch.bias_gradients);
                if features.start == 0 {
                    self.descend(panels.clone(), &scratch.bias_gradients.values);
                }
                if first.batch.sparse {
                    self.run_by_lists(first, features, panels.clone(), scratch);
                } else {
                    self.run_first(first, features, panels.clone(), scratch);
                }
                if first.left[slice].fetch_sub(1, Ordering::AcqRel) == 1 {
                    self.start(first, panels);
                }
            }
            X::Hidden(h) => self.stopwatch.time(self.part, || {
                if features.start == 0 {
                    let mut sums = [0.0; SLICE * WIDTH];
                    self.sum(panels.clone(), &mut sums);
                    self.descend(panels.clone(), &sums);
                }
                let x = &h.as_slice()[h.at(features.start / WIDTH)..];
                panels.for_each(|panel| self.run_dense(x, features.clone(), panel, None));
            }),
        }
    }

    /// `Σ_b d[b,j]` of some panels of units as products with ones: fma(1, d, g) is g + d.
    fn sum(&self, panels: Range<usize>, sums: &mut [f32]) {
        for (panel, sums) in panels.zip(sums.chunks_exact_mut(WIDTH)) {
            let columns = self.d.width(panel);
            sum(self.kernels, self.rows, None, &self.d.as_slice()[self.d.at(panel)..], None, &mut sums[..columns]);
        }
    }

    /// Bias gradients of a slice, unless this thread has them.
    fn renew_bias_gradients(&self, first: &First<'_>, slice: usize, panels: Range<usize>, kept: &mut BiasGradients) {
        let of = Some((first.version, slice));
        if kept.of != of {
            kept.of = None;
            self.stopwatch.time(self.part, || self.sum(panels, &mut kept.values));
            kept.of = of;
        }
    }

    /// Biases down their gradients.
    fn descend(&self, panels: Range<usize>, gradients: &[f32]) {
        // SAFETY: the bias of these units belongs to this task alone.
        let bias = unsafe { self.bias.part(panels.start * WIDTH, panels.len() * WIDTH) };
        for (bias, &gradient) in bias.iter_mut().zip(gradients) {
            *bias = (-self.learning_rate).fma(gradient, *bias);
        }
    }

    /// Raw inputs of some samples.
    fn block<'b>(&self, first: &'b First<'_>, features: &Range<usize>, samples: Range<usize>) -> Block<'b> {
        Block {
            features: self.grid.fan_in,
            first: features.start,
            scale: &first.scale[features.clone()],
            samples: first.batch.samples.part(&samples),
            next: None,
        }
    }

    /// The first layer's tile, dense.
    fn run_first(&self, first: &First<'_>, features: Range<usize>, panels: Range<usize>, scratch: &mut Scratch) {
        let x = scratch.inputs.of(self.rows * WIDTH);
        self.stopwatch.time(Part::Gather, || {
            let block = self.block(first, &features, 0..self.rows);
            self.kernels.scale(first.batch.source, &mut Scaling { block, s: x, panel: self.rows * WIDTH });
        });
        self.stopwatch.time(self.part, || {
            let gradients = scratch.bias_gradients.values.chunks_exact(WIDTH);
            for (panel, gradients) in panels.zip(gradients) {
                self.run_dense(x, features.clone(), panel, Some((&first.shift[features.clone()], gradients)));
            }
        });
    }

    /// A tile of Wᵀ from one panel of inputs, `[batch, 32]`.
    fn run_dense(&self, x: &[f32], features: Range<usize>, panel: usize, fold: Option<(&[f32], &[f32])>) {
        let product = Product {
            rows: features.len(),
            columns: self.d.width(panel),
            depth: self.rows,
            a: View::from(x),
            a_row: 1,
            a_depth: WIDTH,
            a_panel: WIDTH * WIDTH,
            b: &self.d.as_slice()[self.d.at(panel)..],
            init: None,
            c: self.w,
            c_at: (panel * self.height + features.start) * WIDTH,
            finish: Finish::Descend { learning_rate: self.learning_rate, fold },
        };
        // SAFETY: the tile of Wᵀ belongs to this task alone; x and d are other buffers.
        unsafe { self.kernels.product(&product) };
    }

    /// The first layer's tile by lists. Block of samples by block, the sums so far in a scratch, the last one's straight
    /// into the weights.
    fn run_by_lists(&self, first: &First<'_>, features: Range<usize>, panels: Range<usize>, scratch: &mut Scratch) {
        let columns = panels.clone().map(|panel| self.d.width(panel)).sum();
        let blocks = self.rows.div_ceil(BLOCK);
        let sums = scratch.sums.of(if blocks > 1 { SLICE * PIECE * WIDTH } else { 0 });
        let sums = Place { values: Shared::new(sums), at: 0, panel: PIECE * WIDTH };
        let w = Place {
            values: self.w,
            at: (panels.start * self.height + features.start) * WIDTH,
            panel: self.height * WIDTH,
        };
        let fold = Some((&first.shift[features.clone()], &scratch.bias_gradients.values[..]));
        let descend = Finish::Descend { learning_rate: self.learning_rate, fold };
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
                b: &self.d.as_slice()[self.d.at(panels.start) + block * BLOCK * WIDTH..],
                b_panel: self.d.at(1),
                init: if block == 0 { Init::Zero } else { Init::Sums(sums) },
                c,
                finish,
            };
            // SAFETY: the tile of Wᵀ belongs to this task alone, and the sums to this thread; d is another buffer.
            self.stopwatch.time(self.part, || unsafe { self.kernels.sparse_product(&product) });
            self.stopwatch.count(|| 2 * lists.entries() * columns);
        }
    }

    /// What the sums of some panels of the first layer start at, once their weights and biases are updated.
    fn start(&self, first: &First<'_>, panels: Range<usize>) {
        self.stopwatch.time(Part::Forward(0), || {
            for panel in panels {
                let (at, columns) = (panel * WIDTH, self.d.width(panel));
                // SAFETY: all tasks of these panels but this one are done, and no other looks at them before the region
                // ends.
                let (w, bias, sums) = unsafe {
                    let w = self.w.part(panel * self.height * WIDTH, self.height * WIDTH);
                    (w, self.bias.part(at, columns), first.start.part(at, columns))
                };
                start(self.kernels, first.shift, w, bias, sums);
            }
        });
    }
}

/// `bias + Σ_k shift_k·w[j,k]` of a panel of units.
pub(crate) fn start(kernels: &Kernels, shift: &[f32], w: &[f32], bias: &[f32], sums: &mut [f32]) {
    sum(kernels, shift.len(), Some(shift), w, Some(bias), sums);
}

/// Sums down a panel, 16 or 32 of them: `init + Σ_p a_p·b[p,j]`, where a is all ones and init all zeros if not given.
fn sum(kernels: &Kernels, depth: usize, a: Option<&[f32]>, b: &[f32], init: Option<&[f32]>, sums: &mut [f32]) {
    let step = usize::from(a.is_some());
    let product = Product {
        rows: 1,
        columns: sums.len(),
        depth,
        a: View::from(a.unwrap_or(&[1.0])),
        a_row: 0,
        a_depth: step,
        a_panel: step * WIDTH,
        b,
        init,
        c: Shared::new(sums),
        c_at: 0,
        finish: Finish::Store,
    };
    // SAFETY: the sums are borrowed by this call alone.
    unsafe { kernels.product(&product) };
}
