//! A training step on the CPU: its regions, each divided into tasks for the team.
//!
//! ```text
//! layer 0    h_0 = a(start + s·W_0ᵀ), s = scale·x       tasks: rows of the batch by slices of units, dense or by lists
//! the rest   h_l = a(bias + h_(l−1)·W_lᵀ), l = 1 …     tasks: rows of the batch, forward and back through all layers;
//!            loss, predictions, d of the outputs         if the weights are too large for a core's cache,
//!            d_(l−1) = (d_l·W_l) ⊙ a', l = last … 1      one region per product instead, tasks: tiles
//! update     W_lᵀ −= lr·h_(l−1)ᵀ·d_l, bias likewise,    tasks: tiles of all layers
//!            start = bias + Σ shift·w for the next step
//! ```
//!
//! Each task of layer 0 scales the inputs that it needs from their raw form. Some inputs are scaled twice or more. But
//! values that one core writes and another reads have to travel between their caches, and that takes longer.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use syva_core::data::Targets;
use syva_core::ops::{Dropout, INPUTS, Judging, Perturbation, Reads, Rule, SLOTS};
use syva_core::{Groups, Layer, Part as Of, Rates, Spec, Training};

use crate::buffer::{HALF, Panels, Shared, View, computed};
use crate::embedding::{self, Places};
use crate::isa::Isa;
use crate::kernels::{Block, Factor, Finish, Init, Kernels, Learn, Place, Product, Regularise, Scaling, SparseProduct};
use crate::loss::{self, Factors, JUDGED, LossRows, RowTargets};
use crate::memory::{Batch, Weights, Workspace};
use crate::muon::Room;
use crate::profile::{Part, Stopwatch};
use crate::scratch::{self, Scratch, Space};
use crate::sparse::{COLUMNS, ListBy};
use crate::team::Team;
use crate::update::{Change, First, Grid, SlotOf, Update, X, start};

/// The most rows of a dense tile. A panel of weights is read once for this many rows.
const TILE: usize = 64;
/// Units per task of the first layer. The task scales or lists its inputs once for all of them.
pub(crate) const SLICE: usize = 128;
/// The most bytes of W and Wᵀ that stay in a core's own cache while rows pass through.
const CACHED: usize = 512 << 10;

/// The most bytes of panels of weights that stay there while large blocks of rows pass through.
const PANELS: usize = 256 << 10;

/// Runs the regions of a step on weights and workspaces. Holds the network's shape, how it is trained, the kernels and
/// the team.
pub(crate) struct Runner {
    pub(crate) spec: Spec,
    pub(crate) training: Training,
    pub(crate) groups: Groups,
    pub(crate) judging: Judging,
    pub(crate) kernels: Kernels,
    pub(crate) team: Team,
    pub(crate) stopwatch: Stopwatch,
    /// The scratch memory of each thread.
    scratch: Vec<Mutex<Scratch>>,
    /// How the last update divided each layer, and its tasks as pairs of layer and number.
    updates: (Vec<Grid>, Vec<(usize, usize)>),
    /// Room for Muon, by layer.
    pub(crate) rooms: Vec<Option<Room>>,
    /// For each slice of the first layer, the number of tasks of its update that are not done yet.
    left: Vec<AtomicUsize>,
}

/// What becomes of the weights.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    /// The optimiser changes them, at these rates.
    Train(&'a Rates),
    /// They become their gradients.
    Gradient,
}

/// What a pass computes.
#[derive(Clone, Copy)]
pub(crate) enum Goal<'a> {
    /// Only the outputs.
    Predict,
    /// Losses and predictions.
    Judge(&'a Targets),
    /// Losses, predictions, and the gradients by all z, with what is random in the step.
    Train(&'a Targets, Perturbation),
}

impl<'a> Goal<'a> {
    fn targets(self) -> Option<&'a Targets> {
        match self {
            Self::Predict => None,
            Self::Judge(targets) | Self::Train(targets, _) => Some(targets),
        }
    }

    fn trains(self) -> bool {
        matches!(self, Self::Train(..))
    }

    fn perturbation(self) -> Perturbation {
        match self {
            Self::Predict | Self::Judge(_) => Perturbation::default(),
            Self::Train(_, perturbation) => perturbation,
        }
    }
}

impl Runner {
    pub(crate) fn new(spec: &Spec, training: &Training, isa: Isa, threads: usize) -> syva_core::Result<Self> {
        let (team, kernels) = (Team::new(threads)?, Kernels::new(isa)?);
        Ok(Self {
            spec: spec.clone(),
            training: training.clone(),
            groups: Groups::new(spec, training),
            judging: training.check(spec)?,
            kernels,
            scratch: scratch::of_each(team.threads(), spec, kernels.width()),
            team,
            stopwatch: Stopwatch::new(spec.layers.len()),
            updates: Default::default(),
            rooms: Vec::new(),
            left: (0..spec.layers[0].units.div_ceil(SLICE)).map(|_| AtomicUsize::new(0)).collect(),
        })
    }

    /// Passes a batch through the network, and computes what the goal says.
    pub(crate) fn pass(&mut self, weights: &mut Weights, work: &mut Workspace, batch: Batch<'_>, goal: Goal<'_>) {
        let embeds = self.spec.input.embedding.is_some();
        let perturbs_inputs = goal.perturbation().changes_inputs();
        let forms_inputs = embeds || perturbs_inputs;
        if !forms_inputs {
            self.renew_start(weights);
        }
        let Self { spec, judging, kernels, team, stopwatch, scratch, .. } = self;
        let rows = batch.samples.len();
        let pass = Pass::new((spec, *judging, kernels, stopwatch), weights, work, batch, goal);
        let (layers, width) = (spec.layers.len(), kernels.width());

        if forms_inputs {
            let tiles = Tiles::new(rows, (1, 1), 1, team.threads());
            team.share(tiles.count(), rows * spec.fan_in(0) * 64, &|thread, task| {
                let rows = tiles.get(task).0;
                if embeds {
                    pass.embed(rows);
                } else {
                    pass.perturb(rows, &mut scratch::own(scratch, thread));
                }
            });
            let tiles = Tiles::new(rows, (spec.layers[0].units, spec.fan_in(0)), width, team.threads());
            team.share(tiles.count(), rows * weights_of(spec, 0), &|_, task| {
                let (rows, panel) = tiles.get(task);
                pass.forward_tile(0, rows, panel);
            });
        }
        let tiles = Tiles::new(rows, (spec.layers[0].units, spec.input.features), SLICE, team.threads());
        let tasks = if forms_inputs { 0 } else { tiles.count() };
        let density = if batch.by_sample { 5 } else { 1 };
        team.share(tasks, rows * weights_of(spec, 0) / density, &|thread, task| {
            let (rows, slice) = tiles.get(task);
            pass.first_tile(rows, slice, &mut scratch::own(scratch, thread));
        });

        let rest: usize = (1..layers).map(|l| weights_of(spec, l)).sum();
        let products = if goal.trains() { 2 } else { 1 };
        if rest * 2 * size_of::<f32>() <= CACHED {
            let tiles = Tiles::new(rows, (1, 1), 1, team.threads());
            team.share(tiles.count(), rows * rest * products, &|thread, task| {
                let (rows, _) = tiles.get(task);
                let scratch = &mut scratch::own(scratch, thread);
                for l in 1..layers {
                    (0..panels(spec, l, width)).for_each(|panel| pass.forward_tile(l, rows.clone(), panel));
                }
                pass.judge(rows.clone(), &mut scratch.outputs);
                if goal.trains() {
                    for l in (1..layers).rev() {
                        (0..panels(spec, l - 1, width))
                            .for_each(|panel| pass.gradient_tile(l, rows.clone(), panel, scratch));
                    }
                }
            });
            if embeds && goal.trains() {
                pass.share_input_gradients(team, scratch);
            }
            return;
        }
        for l in 1..layers {
            let tiles = Tiles::new(rows, (spec.layers[l].units, spec.fan_in(l)), width, team.threads());
            team.share(tiles.count(), rows * weights_of(spec, l), &|_, task| {
                let (rows, panel) = tiles.get(task);
                pass.forward_tile(l, rows, panel);
            });
        }
        team.share(rows.div_ceil(TILE), rows * spec.outputs() * 64, &|thread, task| {
            pass.judge(part(task, TILE, rows), &mut scratch::own(scratch, thread).outputs);
        });
        if goal.trains() {
            for l in (1..layers).rev() {
                let tiles = Tiles::new(rows, (spec.fan_in(l), spec.layers[l].units), width, team.threads());
                team.share(tiles.count(), rows * weights_of(spec, l), &|thread, task| {
                    let (rows, panel) = tiles.get(task);
                    pass.gradient_tile(l, rows, panel, &mut scratch::own(scratch, thread));
                });
            }
            if embeds {
                pass.share_input_gradients(team, scratch);
            }
        }
    }

    /// Updates what the embedding has learned, if there is one, from a batch that has passed.
    pub(crate) fn update_embedding(
        &mut self,
        weights: &mut Weights,
        work: &Workspace,
        batch: &Batch<'_>,
        rates: &Rates,
    ) {
        let Self { spec, training, groups, kernels, team, stopwatch, .. } = self;
        if let Some(embedding) = &spec.input.embedding {
            let scalars = groups.scalars(weights.step, rates);
            stopwatch.time(Part::Embedding, || {
                embedding::update((embedding, training, kernels), team, weights, work, batch, &scalars);
            });
        }
    }

    /// Computes the first layer's initial sums, if the weights were set after the last update computed them.
    fn renew_start(&mut self, weights: &mut Weights) {
        let Self { spec, kernels, team, stopwatch, .. } = self;
        if std::mem::take(&mut weights.start_is_stale) {
            let (w, sums) = (&weights.transposed[0], weights.start.shared());
            team.share(w.count(), weights_of(spec, 0), &|_, panel| {
                let (at, columns) = (panel * kernels.width(), w.computed(panel));
                let bias = &weights.bias[0].as_slice()[at..];
                // SAFETY: only this task uses this panel of the sums.
                let sums = unsafe { sums.part(at, columns) };
                stopwatch.time(Part::Forward(0), || {
                    start(kernels, &weights.shift, &w.as_slice()[w.at(panel)..], bias, sums);
                });
            });
        }
    }

    /// Computes the gradients of a batch that has passed, into weights that are made if there are none.
    pub(crate) fn gradient<'a>(
        &mut self,
        room: &'a mut Option<Weights>,
        weights: &mut Weights,
        work: &Workspace,
        batch: Batch<'_>,
        random: Perturbation,
    ) -> &'a mut Weights {
        let gradient = room.get_or_insert_with(|| Weights::new(&self.spec, self.kernels.width()));
        // Threads keep values by the version that they are of.
        gradient.version = weights.version;
        self.update(gradient, work, batch, random, Step::Gradient);
        weights.version = gradient.version;
        gradient
    }

    /// Updates all weights and biases by their gradients, or replaces them by these. `random` is what the batch's pass had.
    pub(crate) fn update(
        &mut self,
        weights: &mut Weights,
        work: &Workspace,
        batch: Batch<'_>,
        random: Perturbation,
        step: Step<'_>,
    ) {
        let Self { spec, training, groups, kernels, team, stopwatch, scratch, updates, left, .. } = self;
        let scalars = match step {
            Step::Train(rates) => Some(groups.scalars(weights.step, rates)),
            Step::Gradient => None,
        };
        let change = |l, slots| match (&scalars, training.optimizer.rule()) {
            (None, _) => Change::Replace,
            // The third scalar is the step, downwards.
            (Some(scalars), Rule::Descent) => Change::Descend(Of::ALL.map(|part| -scalars.of(l, part)[2])),
            (Some(scalars), rule) => {
                let scalars = Of::ALL.map(|part| scalars.of(l, part));
                Change::Apply { rule, scalars, slots }
            }
        };
        let forms_inputs = spec.input.embedding.is_some() || random.changes_inputs();
        let rows = batch.samples.len();
        weights.version += 1;
        let terms = (0..spec.layers.len()).map(|l| weights_of(spec, l)).sum::<usize>() * rows;
        let threads = if team.alone(terms) { 1 } else { team.threads() };
        let grids = || (0..spec.layers.len()).map(|l| Grid::new(spec, l, &batch, threads, kernels.width()));
        let (kept, tasks) = updates;
        if !grids().eq(kept.iter().copied()) {
            *kept = grids().collect();
            *tasks = merged(&kept.iter().map(Grid::tasks).collect::<Vec<_>>());
        }
        let first = First {
            batch,
            scale: &weights.scale,
            shift: &weights.shift,
            version: weights.version,
            start: weights.start.shared(),
            left,
        };
        let mut slots: Vec<[Option<SlotOf<'_>>; SLOTS]> = vec![[None; SLOTS]; spec.layers.len()];
        for (n, slot) in weights.slots.iter_mut().enumerate() {
            let all = slot.transposed.iter_mut().zip(&mut slot.bias).zip(&mut slot.gain);
            for (l, ((w, bias), gain)) in all.enumerate() {
                slots[l][n] = Some(SlotOf { w: w.shared(), bias: bias.shared(), gain: gain.shared() });
            }
        }
        let layers: Vec<Update<'_>> = (weights.transposed.iter_mut())
            .zip(&mut weights.bias)
            .zip(&mut weights.gain)
            .enumerate()
            .map(|(l, ((w, bias), gain))| Update {
                kernels,
                stopwatch,
                part: Part::Update(l),
                rows,
                change: change(l, slots[l]),
                grid: kept[l],
                x: match l {
                    0 if forms_inputs => X::Hidden(&work.inputs),
                    0 => X::Raw(&first),
                    _ => X::Hidden(&work.h[l - 1]),
                },
                d: &work.d[l],
                height: w.rows,
                w: w.shared(),
                bias: bias.shared(),
                gain: (spec.layers[l].gains() > 0).then(|| (gain.shared(), &work.terms[l])),
            })
            .collect();
        for left in left.iter() {
            left.store(layers[0].grid.down(), Ordering::Relaxed);
        }
        team.share(tasks.len(), terms, &|thread, task| {
            let (l, task) = tasks[task];
            layers[l].run(task, &mut scratch::own(scratch, thread));
        });
        weights.step += 1;
        weights.start_is_stale |= forms_inputs;
        // Products by lists count their own.
        let parts = [(Part::Forward(0), batch.by_sample), (Part::Update(0), batch.by_feature)];
        let parts = parts.into_iter().filter(|(_, by_lists)| !by_lists).map(|(part, _)| (0, part));
        let rest =
            (1..spec.layers.len()).flat_map(|l| [Part::Forward, Part::Gradient, Part::Update].map(|part| (l, part(l))));
        parts.chain(rest).for_each(|(l, part)| stopwatch.count(part, || rows * weights_of(spec, l)));
    }
}

/// The tasks of a product. Each is some rows by a part of the columns. There are enough of them for all threads to
/// finish at about the same time.
struct Tiles {
    rows: usize,
    /// Rows per tile.
    block: usize,
    /// The number of parts of the columns.
    across: usize,
    /// Parts of the columns that one block of rows after the other is multiplied with.
    group: usize,
}

impl Tiles {
    /// Tiles of `size` columns each, of a matrix with `depth` rows.
    fn new(rows: usize, (columns, depth): (usize, usize), size: usize, threads: usize) -> Self {
        let across = columns.div_ceil(size);
        let block = (rows * across).div_ceil(4 * threads).next_multiple_of(8).min(TILE);
        Self { rows, block, across, group: together(size * depth).min(across) }
    }

    fn count(&self) -> usize {
        self.blocks() * self.across
    }

    /// The rows and the part of the columns of a task. Group after group, each block of rows meets all parts of the group,
    /// which stay in the core's own cache meanwhile. So the matrix is read from memory once, and the rows once for each
    /// group.
    fn get(&self, task: usize) -> (Range<usize>, usize) {
        let first = task / (self.group * self.blocks()) * self.group;
        let (task, group) = (task - first * self.blocks(), self.group.min(self.across - first));
        (part(task / group, self.block, self.rows), first + task % group)
    }

    /// The number of blocks of rows.
    fn blocks(&self) -> usize {
        self.rows.div_ceil(self.block)
    }
}

/// How many panels of this many values stay in a core's own cache together.
pub(crate) fn together(values: usize) -> usize {
    (PANELS / (values * size_of::<f32>()).max(1)).max(1)
}

/// Merges the tasks of several kinds, 0..count of each, into one order. In this order, each thread's share of all tasks
/// contains the same share of each kind.
fn merged(counts: &[usize]) -> Vec<(usize, usize)> {
    let mut tasks: Vec<_> = (counts.iter().enumerate())
        .flat_map(|(kind, &count)| (0..count).map(move |task| ((2 * task + 1) as f32 / count as f32, kind, task)))
        .collect();
    tasks.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    tasks.into_iter().map(|(_, kind, task)| (kind, task)).collect()
}

/// The n-th part of `0..len`, cut into parts of `size`. The last part may be smaller.
pub(crate) fn part(n: usize, size: usize, len: usize) -> Range<usize> {
    n * size..len.min((n + 1) * size)
}

fn weights_of(spec: &Spec, l: usize) -> usize {
    spec.fan_in(l) * spec.layers[l].units
}

/// The number of panels of a layer's units.
fn panels(spec: &Spec, l: usize, width: usize) -> usize {
    spec.layers[l].units.div_ceil(width)
}

/// The panels of a slice of the first layer's units.
pub(crate) fn slice_of(panels: usize, slice: usize, width: usize) -> Range<usize> {
    part(slice, SLICE / width, panels)
}

/// The pass of a batch through the network.
struct Pass<'a> {
    spec: &'a Spec,
    judging: Judging,
    kernels: &'a Kernels,
    stopwatch: &'a Stopwatch,
    weights: &'a Weights,
    batch: Batch<'a>,
    goal: Goal<'a>,
    /// Rows per panel of the workspace.
    height: usize,
    h: Vec<Shared<'a, f32>>,
    inputs: Shared<'a, f32>,
    embedded: Shared<'a, f32>,
    by_inputs: Shared<'a, f32>,
    z: Vec<Shared<'a, f32>>,
    terms: Vec<Shared<'a, f32>>,
    d: Vec<Shared<'a, f32>>,
    factors: Vec<Shared<'a, f32>>,
    losses: Shared<'a, f32>,
    guesses: Shared<'a, u32>,
    /// The factor M of each sample, if they differ.
    means: Option<&'a [f32]>,
}

/// Computes the outputs of a batch, and leaves them in the workspace's last layer. Runs on the calling thread alone.
pub(crate) fn predict(
    (spec, kernels, stopwatch): (&Spec, &Kernels, &Stopwatch),
    weights: &Weights,
    work: &mut Workspace,
    batch: Batch<'_>,
    scratch: &mut Scratch,
) {
    let rows = batch.samples.len();
    // Nothing is judged.
    let network = (spec, Judging::own(spec.head), kernels, stopwatch);
    let pass = Pass::new(network, weights, work, batch, Goal::Predict);
    let embeds = spec.input.embedding.is_some();
    for rows in (0..rows.div_ceil(TILE)).map(|tile| part(tile, TILE, rows)) {
        if embeds {
            pass.embed(rows.clone());
        } else {
            (0..spec.layers[0].units.div_ceil(SLICE)).for_each(|slice| pass.first_tile(rows.clone(), slice, scratch));
        }
        for l in usize::from(!embeds)..spec.layers.len() {
            (0..panels(spec, l, kernels.width())).for_each(|panel| pass.forward_tile(l, rows.clone(), panel));
        }
    }
}

impl<'a> Pass<'a> {
    fn new(
        (spec, judging, kernels, stopwatch): (&'a Spec, Judging, &'a Kernels, &'a Stopwatch),
        weights: &'a Weights,
        work: &'a mut Workspace,
        batch: Batch<'a>,
        goal: Goal<'a>,
    ) -> Self {
        let Workspace { height, h, inputs, embedded, by_inputs, z, terms, d, factors, losses, guesses, means, .. } =
            work;
        Self {
            spec,
            judging,
            kernels,
            stopwatch,
            weights,
            batch,
            goal,
            height: *height,
            h: h.iter_mut().map(Panels::shared).collect(),
            inputs: inputs.shared(),
            embedded: embedded.shared(),
            by_inputs: by_inputs.shared(),
            z: z.iter_mut().map(Panels::shared).collect(),
            terms: terms.iter_mut().map(Panels::shared).collect(),
            d: d.iter_mut().map(Panels::shared).collect(),
            factors: factors.iter_mut().map(Panels::shared).collect(),
            losses: Shared::new(losses),
            guesses: Shared::new(guesses),
            means: means.as_deref(),
        }
    }
}

impl Pass<'_> {
    /// The index at which a row of a panel starts, in any matrix of the workspace.
    fn at(&self, panel: usize, row: usize) -> usize {
        (panel * self.height + row) * self.kernels.width()
    }

    /// Rule 5: computes some panels of h_0 for some rows.
    fn first_tile(&self, rows: Range<usize>, slice: usize, scratch: &mut Scratch) {
        let width = self.kernels.width();
        let panels = slice_of(panels(self.spec, 0, width), slice, width);
        if self.batch.by_sample {
            self.first_by_lists(rows.clone(), panels.clone(), scratch);
        } else {
            self.first_dense(rows.clone(), panels.clone(), scratch);
        }
        self.stopwatch.time(Part::Forward(0), || panels.for_each(|panel| self.activate(0, rows.clone(), panel)));
    }

    /// The raw inputs of some rows.
    fn block(&self, rows: &Range<usize>, features: Range<usize>) -> Block<'_> {
        Block {
            features: self.spec.input.features,
            first: features.start,
            scale: &self.weights.scale[features],
            samples: self.batch.samples.part(rows),
            next: self.batch.next.map(|next| next.from(rows.start)),
        }
    }

    fn first_dense(&self, rows: Range<usize>, panels: Range<usize>, scratch: &mut Scratch) {
        let (features, width) = (self.spec.input.features, self.kernels.width());
        // The panels are an odd number of cache lines apart. Otherwise they would compete for the same places in the
        // cache.
        let apart = (rows.len() | 1) * width;
        let inputs = scratch.inputs.of(features.div_ceil(width) * apart);
        self.stopwatch.time(Part::Gather, || {
            let block = self.block(&rows, 0..features);
            self.kernels.scale(self.batch.source, &mut Scaling { block, s: inputs, panel: apart });
        });
        self.stopwatch.time(Part::Forward(0), || {
            let w = &self.weights.transposed[0];
            for panel in panels {
                let product = Product {
                    rows: rows.len(),
                    columns: w.computed(panel),
                    depth: features,
                    a: Factor::Rows { values: View::from(&*inputs), panel: apart },
                    b: &w.as_slice()[w.at(panel)..],
                    init: Some(&self.weights.start.as_slice()[panel * width..]),
                    earlier: &[],
                    c: self.h[0],
                    c_at: self.at(panel, rows.start),
                    finish: Finish::StorePositiveZero,
                };
                // SAFETY: only this task uses the tile.
                unsafe { self.kernels.product(&product) };
            }
        });
    }

    /// The first layer's product by lists, one piece of features after the other.
    fn first_by_lists(&self, rows: Range<usize>, panels: Range<usize>, scratch: &mut Scratch) {
        let (features, width) = (self.spec.input.features, self.kernels.width());
        let w = &self.weights.transposed[0];
        let units = panels.clone().map(|panel| w.computed(panel)).sum();
        let c = Place { values: self.h[0], at: self.at(panels.start, rows.start), panel: self.at(1, 0) };
        let pieces = features.div_ceil(COLUMNS);
        let size = features.div_ceil(pieces).next_multiple_of(HALF);
        for columns in (0..pieces).map(|piece| part(piece, size, features)) {
            let block = self.block(&rows, columns.clone());
            let lists = &mut scratch.lists;
            self.stopwatch.time(Part::Gather, || {
                self.kernels.list(self.batch.source, &block, ListBy::Sample, lists);
            });
            let product = SparseProduct {
                a: lists,
                rows: (0, rows.len()),
                columns: units,
                b: &w.as_slice()[w.at(panels.start) + columns.start * width..],
                b_panel: w.at(1),
                init: match columns.start {
                    0 => Init::Row(&self.weights.start.as_slice()[panels.start * width..]),
                    _ => Init::Sums(c),
                },
                earlier: &[],
                c,
                finish: if columns.end == features { Finish::StorePositiveZero } else { Finish::Store },
            };
            // SAFETY: only this task uses the tile.
            self.stopwatch.time(Part::Forward(0), || unsafe { self.kernels.sparse_product(&product) });
            self.stopwatch.count(Part::Forward(0), || 2 * lists.entries() * units);
        }
    }

    /// Rule 11: the embedding of the inputs of some rows.
    fn embed(&self, rows: Range<usize>) {
        let Some(embedding) = &self.spec.input.embedding else { return };
        let places = Places { inputs: self.inputs, embedded: self.embedded, height: self.height };
        self.stopwatch.time(Part::Embedding, || {
            let store = |output: usize, values: &[f32], factor: Option<f32>| {
                // SAFETY: only this task uses the rows.
                unsafe { places.store(self.kernels.width(), (output, rows.start), values, factor) };
            };
            embedding::embed_rows((embedding, self.kernels), self.weights, &self.batch, rows.clone(), store);
        });
    }

    /// The gradients by the outputs of the embedding, `d_0·W_0`, as tasks for the team.
    fn share_input_gradients(&self, team: &mut Team, scratch: &[Mutex<Scratch>]) {
        let (rows, fan_in) = (self.batch.samples.len(), self.spec.fan_in(0));
        let tiles = Tiles::new(rows, (fan_in, self.spec.layers[0].units), self.kernels.width(), team.threads());
        team.share(tiles.count(), rows * weights_of(self.spec, 0), &|thread, task| {
            let (rows, panel) = tiles.get(task);
            let scratch = &mut scratch::own(scratch, thread);
            self.stopwatch.time(Part::Embedding, || {
                let product = self.input_product(0, &rows, panel, self.by_inputs, scratch);
                // SAFETY: only this task uses the tile, and a region before computed the rows of d_0.
                unsafe { self.kernels.product(&product) };
            });
        });
    }

    /// The product `d_l·W_l` of one panel for some rows.
    fn input_product<'a>(
        &'a self,
        l: usize,
        rows: &Range<usize>,
        panel: usize,
        to: Shared<'a, f32>,
        scratch: &'a mut Scratch,
    ) -> Product<'a> {
        let width = self.kernels.width();
        Product {
            rows: rows.len(),
            columns: computed(self.spec.fan_in(l), panel, width),
            depth: self.spec.layers[l].units,
            a: Factor::Rows { values: self.d[l].view(rows.start * width), panel: self.at(1, 0) },
            b: scratch.plain.panel(self.kernels, self.weights, l, panel),
            init: None,
            earlier: &[],
            c: to,
            c_at: self.at(panel, rows.start),
            finish: Finish::Store,
        }
    }

    /// Rule 9: the normalised inputs of some rows, after what is random in the step.
    fn perturb(&self, rows: Range<usize>, scratch: &mut Scratch) {
        let Perturbation { inputs: dropout, noise, .. } = self.goal.perturbation();
        let (features, width) = (self.spec.input.features, self.kernels.width());
        let apart = rows.len() * width;
        let (scaled, factors) = (scratch.inputs.of(features.div_ceil(width) * apart), scratch.sums.of(apart));
        self.stopwatch.time(Part::Gather, || {
            let block = self.block(&rows, 0..features);
            self.kernels.scale(self.batch.source, &mut Scaling { block, s: scaled, panel: apart });
            for (panel, scaled) in scaled.chunks_exact(apart).enumerate() {
                let (first, row) = (panel * width, rows.start);
                // SAFETY: only this task uses the rows.
                let inputs = unsafe { self.inputs.part(self.at(panel, row), apart) };
                inputs.copy_from_slice(scaled);
                let shift = &self.weights.shift[first..features.min(first + width)];
                self.kernels.regularise(Regularise::Disturb { inputs, shift, noise, row, feature: first, width });
                if let Some(dropout) = dropout {
                    let (layer, unit) = (INPUTS, first);
                    self.kernels.regularise(Regularise::Factors { dropout, layer, row, unit, width, factors });
                    self.kernels.regularise(Regularise::Drop(inputs, factors));
                }
            }
        });
    }

    /// Rule 2: computes one panel of h_l for some rows. Layer 0 has inputs that are no longer raw.
    fn forward_tile(&self, l: usize, rows: Range<usize>, panel: usize) {
        self.stopwatch.time(Part::Forward(l), || {
            let (w, width) = (&self.weights.transposed[l], self.kernels.width());
            let below = if l == 0 { self.inputs } else { self.h[l - 1] };
            let product = Product {
                rows: rows.len(),
                columns: w.computed(panel),
                depth: self.spec.fan_in(l),
                a: Factor::Rows { values: below.view(rows.start * width), panel: self.at(1, 0) },
                b: &w.as_slice()[w.at(panel)..],
                init: Some(&self.weights.bias[l].as_slice()[panel * width..]),
                earlier: &[],
                c: self.h[l],
                c_at: self.at(panel, rows.start),
                finish: Finish::Store,
            };
            // SAFETY: only this task uses the tile. It has computed the rows of the layer below itself, or runs in a
            // region after they were computed.
            unsafe { self.kernels.product(&product) };
            self.activate(l, rows, panel);
        });
    }

    fn activate(&self, l: usize, rows: Range<usize>, panel: usize) {
        let Layer { activation, learned, .. } = self.spec.layers[l];
        let (at, len) = (self.at(panel, rows.start), rows.len() * self.kernels.width());
        // SAFETY: only this task uses the tile, and the kernel is done with it.
        let h = unsafe { self.h[l].part(at, len) };
        // SAFETY: as above.
        let keep = |h: &[f32]| unsafe { self.z[l].part(at, len) }.copy_from_slice(h);
        if learned.has_gains() || self.goal.trains() && activation.reads() == Reads::Z {
            keep(h);
        }
        self.kernels.forward(activation, h);
        if learned.has_gains() {
            let gains = self.gains(l, panel);
            // SAFETY: as above.
            let z = unsafe { self.z[l].part(at, len) };
            self.kernels.learn(Learn::Forward { learned, gains, z, h });
        }
        if let Some(dropout) = self.dropout(l) {
            if activation.reads() == Reads::H && !learned.has_gains() {
                keep(h);
            }
            // SAFETY: as above.
            let factors = unsafe { self.factors[l].part(at, len) };
            let (row, width) = (rows.start, self.kernels.width());
            let unit = panel * width;
            self.kernels.regularise(Regularise::Factors { dropout, layer: l, row, unit, width, factors });
            self.kernels.regularise(Regularise::Drop(h, factors));
        }
    }

    /// The gains of a panel.
    fn gains(&self, l: usize, panel: usize) -> &[f32] {
        let width = self.kernels.width();
        &self.weights.gain[l].as_slice()[panel * width..][..width]
    }

    /// Dropout after a layer.
    fn dropout(&self, l: usize) -> Option<Dropout> {
        self.goal.perturbation().hidden.filter(|_| l + 1 < self.spec.layers.len())
    }

    /// Computes losses and predictions of some rows, and d of their outputs. Does nothing if the goal is only to
    /// predict.
    fn judge(&self, rows: Range<usize>, space: &mut Space) {
        let Some(targets) = self.goal.targets() else { return };
        self.stopwatch.time(Part::Loss, || {
            let last = self.spec.layers.len() - 1;
            let outputs = self.spec.outputs();
            let stride = loss::stride(outputs);
            let space = space.of(JUDGED * stride);
            let copy = |matrix: Shared<'_, f32>, row: usize, f: &mut dyn FnMut(usize, &mut [f32])| {
                let width = self.kernels.width();
                for panel in 0..outputs.div_ceil(width) {
                    let first = panel * width;
                    // SAFETY: only this task uses the rows.
                    f(first, unsafe { matrix.part(self.at(panel, row), width.min(outputs - first)) });
                }
            };
            for rows in rows.clone().step_by(JUDGED).map(|first| first..rows.end.min(first + JUDGED)) {
                let z = &mut space[..rows.len() * stride];
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
                    Targets::Values { values: all, outputs: each } => {
                        samples().for_each(|b| values.extend_from_slice(&all[b * each..(b + 1) * each]));
                        RowTargets::Values(&values)
                    }
                };
                // SAFETY: only this task uses the rows.
                let (losses, guesses) =
                    unsafe { (self.losses.part(rows.start, rows.len()), self.guesses.part(rows.start, rows.len())) };
                let factors = match self.means {
                    None => Factors::Even(self.judging.factor(self.batch.samples.len(), outputs)),
                    Some(means) => Factors::Each(&means[rows.clone()]),
                };
                let (judging, head) = (self.judging, self.spec.head);
                let mut judged = LossRows { judging, head, outputs, factors, z, targets, losses, guesses };
                self.kernels.judge(&mut judged);
                if self.goal.trains() {
                    for (row, z) in rows.clone().zip(z.chunks_exact(stride)) {
                        copy(self.d[last], row, &mut |at, d| d.copy_from_slice(&z[at..at + d.len()]));
                    }
                }
            }
        });
    }

    /// Rule 4: computes one panel of d_(l−1) for some rows, `(d_l·W) ⊙ a'(z_(l−1))`.
    fn gradient_tile(&self, l: usize, rows: Range<usize>, panel: usize, scratch: &mut Scratch) {
        self.stopwatch.time(Part::Gradient(l), || {
            let (at, width) = (self.at(panel, rows.start), self.kernels.width());
            let product = self.input_product(l, &rows, panel, self.d[l - 1], scratch);
            let Layer { activation, learned, .. } = self.spec.layers[l - 1];
            let dropout = self.dropout(l - 1);
            let read = match activation.reads() {
                Reads::H if dropout.is_none() && !learned.has_gains() => self.h[l - 1],
                _ => self.z[l - 1],
            };
            // SAFETY: only this task uses the tile. It has computed the rows of d_l itself, or runs in a region after
            // they were computed. Nothing writes to h and z in the meantime.
            let (read, gradient) = unsafe {
                self.kernels.product(&product);
                (read.part(at, rows.len() * width), self.d[l - 1].part(at, rows.len() * width))
            };
            if dropout.is_some() {
                // SAFETY: as for h and z.
                let factors = unsafe { self.factors[l - 1].part(at, rows.len() * width) };
                self.kernels.regularise(Regularise::Drop(gradient, factors));
            }
            if learned.has_gains() {
                let (z, gains) = (&*read, self.gains(l - 1, panel));
                // SAFETY: only this task uses the tile.
                let terms = unsafe { self.terms[l - 1].part(at, rows.len() * width) };
                terms.copy_from_slice(z);
                self.kernels.forward(activation, terms);
                let df = scratch.sums.of(gradient.len());
                df.copy_from_slice(gradient);
                self.kernels.backward(activation, if activation.reads() == Reads::H { &*terms } else { z }, df);
                self.kernels.learn(Learn::Backward { learned, gains, z, terms, df, gradient });
                return;
            }
            self.kernels.backward(activation, read, gradient);
        });
    }
}
