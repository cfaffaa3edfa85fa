//! A training step on the CPU: its regions, each shared out as tasks to the team.
//!
//! ```text
//! gather     s = scale·x, its lists of non-zeros where the data is sparse; start = bias + Σ shift·w
//! layer 0    h_0 = a(start + s·W_0ᵀ)                   tasks: tiles, dense or by lists
//! the rest   h_l = a(bias + h_(l−1)·W_lᵀ), l = 1 …     tasks: rows of the batch, through all layers there and back;
//!            loss, predictions, d of the outputs         or, where the weights are too large for a core's cache,
//!            d_(l−1) = (d_l·W_l) ⊙ a', l = last … 1      a region a line, tasks: tiles
//! update     W_lᵀ −= lr·h_(l−1)ᵀ·d_l, bias likewise     tasks: tiles of all layers, the first layer's first
//! ```

use std::ops::Range;

use syva_core::Spec;
use syva_core::data::Targets;

use crate::buffer::{Panels, Shared, View, WIDTH};
use crate::kernels::{Finish, Init, Kernels, Place, Product, Scaling, SparseProduct};
use crate::loss::{self, JUDGED, LossRows, RowTargets};
use crate::memory::{Batch, Weights, Workspace};
use crate::profile::{Part, Stopwatch};
use crate::sparse::{BLOCK, BlockLists, Listing, PIECE};
use crate::team::Team;
use crate::update::Update;

/// Rows of a dense tile: a panel of weights is read once for so many.
const TILE: usize = 64;
/// Samples of a task of the sparse first layer.
const SPARSE_ROWS: usize = 32;
/// Panels of units of a task of the sparse first layer: what a list is walked once for, in registers.
pub(crate) const SLICE: usize = 4;
/// Weights, bytes of W and Wᵀ, that stay in a core's own cache while rows pass through.
const CACHED: usize = 512 << 10;

/// The network's shape, the kernels and the team: what runs regions on weights and workspaces.
pub(crate) struct Runner {
    pub(crate) spec: Spec,
    pub(crate) kernels: Kernels,
    pub(crate) team: Team,
    pub(crate) stopwatch: Stopwatch,
}

/// What a pass is to do with the outputs.
#[derive(Clone, Copy)]
pub(crate) enum Goal<'a> {
    /// Nothing: they are wanted themselves.
    Predict,
    /// Losses and predictions.
    Judge(&'a Targets),
    /// These, and the gradients by all z.
    Train(&'a Targets),
}

impl<'a> Goal<'a> {
    fn targets(self) -> Option<&'a Targets> {
        match self {
            Self::Predict => None,
            Self::Judge(targets) | Self::Train(targets) => Some(targets),
        }
    }

    fn trains(self) -> bool {
        matches!(self, Self::Train(_))
    }
}

impl Runner {
    /// A batch through the network: outputs, and what else the goal wants.
    pub(crate) fn pass(&mut self, weights: &mut Weights, work: &mut Workspace, batch: Batch<'_>, goal: Goal<'_>) {
        self.gather(weights, work, batch, goal.trains());
        let Self { spec, kernels, team, stopwatch } = self;
        let rows = batch.samples.len();
        let weights = &*weights;
        let Workspace { scaled, lists, h, d, losses, guesses, .. } = work;
        let pass = Pass {
            spec,
            kernels,
            stopwatch,
            weights,
            batch,
            goal,
            height: scaled.rows,
            scaled,
            lists,
            h: h.iter_mut().map(Panels::shared).collect(),
            d: d.iter_mut().map(Panels::shared).collect(),
            losses: Shared::new(losses),
            guesses: Shared::new(guesses),
        };
        let layers = spec.layers.len();
        let units = |l: usize| spec.layers[l].units.div_ceil(WIDTH);

        let slices = units(0).div_ceil(SLICE);
        if batch.sparse {
            let blocks = rows.div_ceil(SPARSE_ROWS);
            team.share(blocks * slices, rows * weights_of(spec, 0) / 5, &|task| {
                pass.sparse_tile(part(task % blocks, SPARSE_ROWS, rows), task / blocks);
            });
        } else {
            let tiles = Tiles { rows, panels: units(0) };
            team.share(tiles.count(), rows * weights_of(spec, 0), &|task| {
                let (rows, panel) = tiles.get(task);
                pass.forward_tile(0, rows, panel);
            });
        }

        let rest: usize = (1..layers).map(|l| weights_of(spec, l)).sum();
        let products = if goal.trains() { 2 } else { 1 };
        if rest * 2 * size_of::<f32>() <= CACHED {
            let block = rows.div_ceil(4 * team.threads()).next_multiple_of(8).min(TILE);
            team.share(rows.div_ceil(block), rows * rest * products, &|task| {
                let rows = part(task, block, rows);
                for l in 1..layers {
                    (0..units(l)).for_each(|panel| pass.forward_tile(l, rows.clone(), panel));
                }
                pass.judge(rows.clone());
                if goal.trains() {
                    for l in (1..layers).rev() {
                        (0..units(l - 1)).for_each(|panel| pass.gradient_tile(l, rows.clone(), panel));
                    }
                }
            });
            return;
        }
        for l in 1..layers {
            let tiles = Tiles { rows, panels: units(l) };
            team.share(tiles.count(), rows * weights_of(spec, l), &|task| {
                let (rows, panel) = tiles.get(task);
                pass.forward_tile(l, rows, panel);
            });
        }
        team.share(rows.div_ceil(TILE), rows * spec.outputs() * 64, &|task| pass.judge(part(task, TILE, rows)));
        if goal.trains() {
            for l in (1..layers).rev() {
                let tiles = Tiles { rows, panels: units(l - 1) };
                team.share(tiles.count(), rows * weights_of(spec, l), &|task| {
                    let (rows, panel) = tiles.get(task);
                    pass.gradient_tile(l, rows, panel);
                });
            }
        }
    }

    /// The inputs of the first layer, `s = scale·x`, and where the data is sparse their lists; and what its sums start
    /// at, where the weights have changed.
    fn gather(&mut self, weights: &mut Weights, work: &mut Workspace, batch: Batch<'_>, training: bool) {
        let Self { kernels, team, stopwatch, .. } = self;
        let Weights { transposed, bias, start, start_is_stale, scale: scales, shift, .. } = weights;
        let features = scales.len();
        let samples = batch.samples.len();
        let (pieces, blocks) = (features.div_ceil(PIECE), samples.div_ceil(BLOCK));
        let w = &transposed[0];
        let rows = work.scaled.rows;
        let (scaled, start, lists) = (work.scaled.shared(), start.shared(), Shared::new(&mut work.lists));
        let fill = |task: usize| {
            let (piece, block) = (task % pieces, part(task / pieces, BLOCK, samples));
            let columns = part(piece, PIECE, features);
            let (next, samples) = (batch.next.map(|next| next.from(block.start)), batch.samples.part(&block));
            if batch.sparse {
                let scale = &scales[columns.clone()];
                let listing = Listing { features, first: columns.start, scale, samples, next };
                // SAFETY: these lists belong to this task alone.
                let BlockLists { by_sample, by_feature } = unsafe { &mut lists.part(task, 1)[0] };
                kernels.list(batch.source, &listing, by_sample, training.then_some(by_feature));
                return;
            }
            for first in columns.clone().step_by(WIDTH) {
                let scale = &scales[first..columns.end.min(first + WIDTH)];
                // SAFETY: these rows of this panel belong to this task alone.
                let s = unsafe { scaled.part(first * rows + block.start * WIDTH, block.len() * WIDTH) };
                kernels.scale(batch.source, &mut Scaling { features, first, scale, samples, next, s });
            }
        };
        let begin = |panel: usize| {
            let product = Product {
                rows: 1,
                columns: w.width(panel),
                depth: features,
                a: View::from(&shift[..]),
                a_row: 0,
                a_depth: 1,
                a_panel: WIDTH,
                b: &w.as_slice()[w.at(panel)..],
                init: Some(&bias[0].as_slice()[panel * WIDTH..]),
                c: start,
                c_at: panel * WIDTH,
                finish: Finish::Store,
            };
            // SAFETY: this panel of `start` belongs to this task alone.
            unsafe { kernels.product(&product) };
        };
        let starts = if std::mem::take(start_is_stale) { w.count() } else { 0 };
        let tasks = merged(&[pieces * blocks, starts]);
        team.share(tasks.len(), (samples + starts * WIDTH) * features, &|task| {
            stopwatch.time(Part::Gather, || match tasks[task] {
                (0, task) => fill(task),
                (_, panel) => begin(panel),
            });
        });
    }

    /// Takes the step: all weights and biases down their gradients.
    pub(crate) fn update(&mut self, weights: &mut Weights, work: &Workspace, batch: Batch<'_>, learning_rate: f32) {
        let Self { spec, kernels, team, stopwatch } = self;
        let rows = batch.samples.len();
        let layers: Vec<Update<'_>> = (weights.transposed.iter_mut())
            .zip(&mut weights.plain)
            .zip(&mut weights.bias)
            .enumerate()
            .map(|(l, ((w, plain), bias))| Update {
                kernels,
                rows,
                learning_rate,
                fan_in: spec.fan_in(l),
                units: spec.layers[l].units,
                x: if l == 0 { &work.scaled } else { &work.h[l - 1] },
                d: &work.d[l],
                shift: (l == 0).then_some(&weights.shift[..]),
                lists: (l == 0 && batch.sparse).then_some(&work.lists[..]),
                height: w.rows,
                w: w.shared(),
                plain_height: plain.rows,
                plain: plain.shared(),
                bias: bias.shared(),
            })
            .collect();
        let tasks = merged(&layers.iter().map(Update::tasks).collect::<Vec<_>>());
        let terms = (0..layers.len()).map(|l| weights_of(spec, l)).sum::<usize>() * rows;
        team.share(tasks.len(), terms, &|task| {
            let (l, task) = tasks[task];
            stopwatch.time(Part::Update(l), || layers[l].run(task));
        });
        weights.step += 1;
        weights.start_is_stale = true;
        stopwatch.count(|| {
            let listed = |lists: &BlockLists| 2 * lists.by_sample.entries() * spec.layers[0].units;
            let first = if batch.sparse {
                work.lists[..lists_of(rows, spec)].iter().map(listed).sum()
            } else {
                rows * weights_of(spec, 0)
            };
            2 * first + 3 * rows * (1..spec.layers.len()).map(|l| weights_of(spec, l)).sum::<usize>()
        });
    }
}

/// The tiles of a product of a layer: [`TILE`] rows by a panel.
struct Tiles {
    rows: usize,
    panels: usize,
}

impl Tiles {
    fn count(&self) -> usize {
        self.rows.div_ceil(TILE) * self.panels
    }

    /// In an order in which the larger factor of the product is read once: the rows, or the weights.
    fn get(&self, task: usize) -> (Range<usize>, usize) {
        let blocks = self.rows.div_ceil(TILE);
        let (block, panel) = if self.rows > self.panels * WIDTH {
            (task / self.panels, task % self.panels)
        } else {
            (task % blocks, task / blocks)
        };
        (part(block, TILE, self.rows), panel)
    }
}

/// The tasks of several kinds, 0..count of each, in one order: so that each thread's share, a part of all, holds the same
/// part of each kind.
fn merged(counts: &[usize]) -> Vec<(usize, usize)> {
    let mut tasks: Vec<_> = (counts.iter().enumerate())
        .flat_map(|(kind, &count)| (0..count).map(move |task| ((2 * task + 1) as f32 / count as f32, kind, task)))
        .collect();
    tasks.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    tasks.into_iter().map(|(_, kind, task)| (kind, task)).collect()
}

/// The n-th part of `0..len` in parts of `size`; the last may be smaller.
pub(crate) fn part(n: usize, size: usize, len: usize) -> Range<usize> {
    n * size..len.min((n + 1) * size)
}

fn weights_of(spec: &Spec, l: usize) -> usize {
    spec.fan_in(l) * spec.layers[l].units
}

/// Number of lists of a batch.
fn lists_of(rows: usize, spec: &Spec) -> usize {
    rows.div_ceil(BLOCK) * spec.input.features.div_ceil(PIECE)
}

/// A batch on its way through the network.
struct Pass<'a> {
    spec: &'a Spec,
    kernels: &'a Kernels,
    stopwatch: &'a Stopwatch,
    weights: &'a Weights,
    batch: Batch<'a>,
    goal: Goal<'a>,
    /// Rows that the workspace's panels have.
    height: usize,
    scaled: &'a Panels,
    lists: &'a [BlockLists],
    h: Vec<Shared<'a, f32>>,
    d: Vec<Shared<'a, f32>>,
    losses: Shared<'a, f32>,
    guesses: Shared<'a, u32>,
}

impl Pass<'_> {
    /// Where a row of a panel starts, in any matrix of the workspace.
    fn at(&self, panel: usize, row: usize) -> usize {
        (panel * self.height + row) * WIDTH
    }

    /// Rules 2 and 5: one panel of h_l for some rows.
    fn forward_tile(&self, l: usize, rows: Range<usize>, panel: usize) {
        self.stopwatch.time(Part::Forward(l), || {
            let w = &self.weights.transposed[l];
            let (a, init, finish) = if l == 0 {
                (
                    View::from(&self.scaled.as_slice()[rows.start * WIDTH..]),
                    &self.weights.start,
                    Finish::StorePositiveZero,
                )
            } else {
                (self.h[l - 1].view(rows.start * WIDTH), &self.weights.bias[l], Finish::Store)
            };
            let product = Product {
                rows: rows.len(),
                columns: w.width(panel),
                depth: self.spec.fan_in(l),
                a,
                a_row: WIDTH,
                a_depth: 1,
                a_panel: self.at(1, 0),
                b: &w.as_slice()[w.at(panel)..],
                init: Some(&init.as_slice()[panel * WIDTH..]),
                c: self.h[l],
                c_at: self.at(panel, rows.start),
                finish,
            };
            // SAFETY: the tile belongs to this task alone, which has computed the rows below itself, or which runs in
            // a region after they were computed.
            unsafe { self.kernels.product(&product) };
            self.activate(l, rows, panel);
        });
    }

    fn activate(&self, l: usize, rows: Range<usize>, panel: usize) {
        // SAFETY: the tile belongs to this task alone; the kernel is done with it.
        let h = unsafe { self.h[l].part(self.at(panel, rows.start), rows.len() * WIDTH) };
        self.kernels.activate(self.spec.layers[l].activation, h);
    }

    /// Rule 5 by lists: some panels of h_0 for some rows of one block, piece of features by piece.
    fn sparse_tile(&self, rows: Range<usize>, slice: usize) {
        self.stopwatch.time(Part::Forward(0), || {
            let w = &self.weights.transposed[0];
            let panels = slice * SLICE..w.count().min((slice + 1) * SLICE);
            let columns = panels.clone().map(|panel| w.width(panel)).sum();
            let c = Place { values: self.h[0], at: self.at(panels.start, rows.start), panel: self.at(1, 0) };
            let pieces = self.spec.fan_in(0).div_ceil(PIECE);
            for piece in 0..pieces {
                let product = SparseProduct {
                    a: &self.lists[rows.start / BLOCK * pieces + piece].by_sample,
                    rows: (rows.start % BLOCK, rows.len()),
                    columns,
                    b: &w.as_slice()[w.at(panels.start) + piece * PIECE * WIDTH..],
                    b_panel: w.at(1),
                    init: match piece {
                        0 => Init::Row(&self.weights.start.as_slice()[panels.start * WIDTH..]),
                        _ => Init::Sums(c),
                    },
                    c,
                    finish: if piece + 1 == pieces { Finish::StorePositiveZero } else { Finish::Store },
                };
                // SAFETY: the tile belongs to this task alone.
                unsafe { self.kernels.sparse_product(&product) };
            }
            panels.for_each(|panel| self.activate(0, rows.clone(), panel));
        });
    }

    /// Losses and predictions of some rows, and d of their outputs; nothing where they are only predicted.
    fn judge(&self, rows: Range<usize>) {
        let Some(targets) = self.goal.targets() else { return };
        self.stopwatch.time(Part::Loss, || {
            let last = self.spec.layers.len() - 1;
            let outputs = self.spec.outputs();
            let stride = loss::stride(outputs);
            let mut z = vec![0.0; JUDGED * stride];
            let copy = |matrix: Shared<'_, f32>, row: usize, f: &mut dyn FnMut(usize, &mut [f32])| {
                for panel in 0..outputs.div_ceil(WIDTH) {
                    let width = WIDTH.min(outputs - panel * WIDTH);
                    // SAFETY: the rows belong to this task alone.
                    f(panel * WIDTH, unsafe { matrix.part(self.at(panel, row), width) });
                }
            };
            for rows in rows.clone().step_by(JUDGED).map(|first| first..rows.end.min(first + JUDGED)) {
                let z = &mut z[..rows.len() * stride];
                for (row, z) in rows.clone().zip(z.chunks_exact_mut(stride)) {
                    copy(self.h[last], row, &mut |at, h| z[at..at + h.len()].copy_from_slice(h));
                }
                let samples = || rows.clone().map(|row| self.batch.samples.get(row));
                let (mut labels, mut values) = ([0; JUDGED], Vec::new());
                let targets = match targets {
                    Targets::Classes { labels: all, .. } => {
                        labels.iter_mut().zip(samples()).for_each(|(label, sample)| *label = all[sample]);
                        RowTargets::Labels(&labels)
                    }
                    Targets::Values { values: all, .. } => {
                        samples().for_each(|b| values.extend_from_slice(&all[b * outputs..(b + 1) * outputs]));
                        RowTargets::Values(&values)
                    }
                };
                // SAFETY: the rows belong to this task alone.
                let (losses, guesses) =
                    unsafe { (self.losses.part(rows.start, rows.len()), self.guesses.part(rows.start, rows.len())) };
                let batch = self.batch.samples.len();
                let mut judged = LossRows { head: self.spec.head, outputs, batch, z, targets, losses, guesses };
                self.kernels.judge(&mut judged);
                if self.goal.trains() {
                    for (row, z) in rows.clone().zip(z.chunks_exact(stride)) {
                        copy(self.d[last], row, &mut |at, d| d.copy_from_slice(&z[at..at + d.len()]));
                    }
                }
            }
        });
    }

    /// Rule 4: one panel of d_(l−1) for some rows, `(d_l·W) ⊙ a'(h_(l−1))`.
    fn gradient_tile(&self, l: usize, rows: Range<usize>, panel: usize) {
        self.stopwatch.time(Part::Gradient(l), || {
            let w = &self.weights.plain[l];
            let at = self.at(panel, rows.start);
            let product = Product {
                rows: rows.len(),
                columns: w.width(panel),
                depth: self.spec.layers[l].units,
                a: self.d[l].view(rows.start * WIDTH),
                a_row: WIDTH,
                a_depth: 1,
                a_panel: self.at(1, 0),
                b: &w.as_slice()[w.at(panel)..],
                init: None,
                c: self.d[l - 1],
                c_at: at,
                finish: Finish::Store,
            };
            // SAFETY: the tile belongs to this task alone, which has computed the rows of d_l itself, or which runs in
            // a region after they were computed; h is not written to meanwhile.
            let (h, gradient) = unsafe {
                self.kernels.product(&product);
                (self.h[l - 1].part(at, rows.len() * WIDTH), self.d[l - 1].part(at, rows.len() * WIDTH))
            };
            self.kernels.derive(self.spec.layers[l - 1].activation, h, gradient);
        });
    }
}
