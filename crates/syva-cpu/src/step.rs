//! A training step on the CPU: its phases, as tiles for the team.
//!
//! ```text
//! gather    s = scale·x, start = bias + Σ shift·w      tasks: rows of the batch; columns of the first layer
//! forward   h_l = a(start + x·Wᵀ), layer by layer      tasks: tiles
//! loss      losses, predictions, d of the outputs      tasks: rows of the batch; transposes Wᵀ → W for what follows
//! backward  layer by layer from the last:              tasks: tiles of both
//!             d_(l−1) = (d_l·W) ⊙ a'                     from the transposed copy, so weights before the update,
//!             Wᵀ −= lr·xᵀ·d_l, bias likewise             while these are updated
//! ```

use syva_core::arithmetic::{Real, SoftmaxRow, binary_cross_entropy};
use syva_core::data::Targets;
use syva_core::{Activation, Head, Spec};

use crate::buffer::{Buffer, PAD, Shared};
use crate::kernels::{Finish, Kernels, Product, SparseProduct};
use crate::memory::{Batch, Weights, Workspace};
use crate::sparse::{PIECES, SparseColumns, SparseRows, piece};
use crate::team::Team;

/// Rows and columns of a tile: small enough for two threads to share the smallest layer of the chapter's network,
/// large enough that its 16 to 64 KiB of operands are read many times from the L1 or L2 cache.
const TILE_ROWS: usize = 32;
const TILE_COLUMNS: usize = 64;
/// Samples, and units, of a tile of the sparse first layer: a list is walked once for all its units.
const SPARSE_ROWS: usize = 8;
const SPARSE_COLUMNS: usize = 256;

/// A grid of tiles over a `[rows, columns]` output; columns are padded.
#[derive(Clone, Copy)]
struct Grid {
    rows: usize,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
}

struct Tile {
    row: usize,
    rows: usize,
    column: usize,
    columns: usize,
}

impl Grid {
    fn new(rows: usize, columns: usize, tile_rows: usize) -> Self {
        Self { rows, columns: columns.next_multiple_of(PAD), tile_rows, tile_columns: TILE_COLUMNS }
    }

    fn across(&self) -> usize {
        self.columns.div_ceil(self.tile_columns)
    }

    fn len(&self) -> usize {
        self.rows.div_ceil(self.tile_rows) * self.across()
    }

    fn tile(&self, task: usize) -> Tile {
        let (row, column) = (task / self.across() * self.tile_rows, task % self.across() * self.tile_columns);
        let rows = self.tile_rows.min(self.rows - row);
        Tile { row, rows, column, columns: self.tile_columns.min(self.columns - column) }
    }
}

/// The network's shape, the kernels and the team: what runs phases on weights and workspaces.
pub(crate) struct Runner {
    pub(crate) spec: Spec,
    pub(crate) kernels: Kernels,
    pub(crate) team: Team,
}

impl Runner {
    /// Outputs of the batch: gather, then forward layer by layer.
    /// With `training`, also what [`Self::backward`] needs of the inputs.
    pub(crate) fn forward(&mut self, weights: &Weights, work: &mut Workspace, batch: Batch<'_>, training: bool) {
        self.gather(weights, work, batch, training);
        match batch.sparse() {
            Some(sparse) => self.forward_sparse(weights, work, batch, sparse),
            None => self.forward_layer(weights, work, 0, batch.len()),
        }
        for l in 1..self.spec.layers.len() {
            self.forward_layer(weights, work, l, batch.len());
        }
    }

    /// What the first layer's sums start at, the bias plus `Σ_k shift_k·w[j,k]`; and its inputs: `s = scale·x` row by
    /// row, or for training on sparse data the lists of the batch's non-zeros by feature.
    fn gather(&mut self, weights: &Weights, work: &mut Workspace, batch: Batch<'_>, training: bool) {
        let kernels = self.kernels;
        let (rows, stride) = (batch.len(), work.scaled.stride);
        let features = weights.scale.len();
        let w = &weights.transposed[0];
        let start_tasks = w.stride.div_ceil(TILE_COLUMNS);
        let (scaled, start, columns) = (work.scaled.shared(), work.start.shared(), Shared::new(&mut work.columns));
        let input_tasks = match batch.sparse() {
            None => rows.div_ceil(TILE_ROWS),
            Some(_) if training => PIECES,
            Some(_) => 0,
        };
        self.team.run(input_tasks + start_tasks, &|task| match batch.sparse() {
            Some(sparse) if task < input_tasks => {
                let (first, count) = piece(task, features);
                // SAFETY: the piece belongs to this task alone.
                let columns = unsafe { &mut columns.part(task, 1)[0] };
                columns.collect(first, count, (0..rows).map(|b| sparse.part(batch.sample(b), task)));
            }
            None if task < input_tasks => {
                for b in task * TILE_ROWS..rows.min((task + 1) * TILE_ROWS) {
                    // SAFETY: row b belongs to this task alone.
                    let s = unsafe { scaled.part(b * stride, features) };
                    batch.scaled(&kernels, b, &weights.scale, s);
                }
            }
            _ => {
                let j = (task - input_tasks) * TILE_COLUMNS;
                let product = Product {
                    rows: 1,
                    columns: TILE_COLUMNS.min(w.stride - j),
                    depth: w.rows,
                    a: &weights.shift,
                    a_row: 0,
                    a_depth: 1,
                    b: &w.as_slice()[j..],
                    b_stride: w.stride,
                    init: Some(&weights.bias[0].as_slice()[j..]),
                    c: start,
                    c_at: j,
                    c_stride: 0,
                    finish: Finish::Store,
                };
                // SAFETY: these columns of `start` belong to this task alone.
                unsafe { kernels.product(&product) };
            }
        });
    }

    /// The first layer on lists of non-zeros: a list is walked once for a whole row of outputs.
    fn forward_sparse(&mut self, weights: &Weights, work: &mut Workspace, batch: Batch<'_>, sparse: &SparseRows) {
        let kernels = self.kernels;
        let activation = self.spec.layers[0].activation;
        let w = &weights.transposed[0];
        let start = &work.start;
        let h_stride = work.h[0].stride;
        let h = work.h[0].shared();
        let grid = Grid { rows: batch.len(), columns: w.stride, tile_rows: SPARSE_ROWS, tile_columns: SPARSE_COLUMNS };
        self.team.run(grid.len(), &|task| {
            let tile = grid.tile(task);
            for b in tile.row..tile.row + tile.rows {
                let product = SparseProduct {
                    columns: tile.columns,
                    a: sparse.row(batch.sample(b)),
                    b: &w.as_slice()[tile.column..],
                    b_stride: w.stride,
                    init: Some(&start.as_slice()[tile.column..]),
                    c: h,
                    c_at: b * h_stride + tile.column,
                    finish: Finish::StorePositiveZero,
                };
                // SAFETY: the tile belongs to this task alone; h is read only after the kernel is done with it.
                let h = unsafe {
                    kernels.sparse_product(&product);
                    h.part(b * h_stride + tile.column, tile.columns)
                };
                kernels.activate(activation, h);
            }
        });
    }

    fn forward_layer(&mut self, weights: &Weights, work: &mut Workspace, l: usize, rows: usize) {
        let kernels = self.kernels;
        let activation = self.spec.layers[l].activation;
        let w = &weights.transposed[l];
        let (below, here) = work.h.split_at_mut(l);
        let (x, init, finish) = if l == 0 {
            (&work.scaled, &work.start, Finish::StorePositiveZero)
        } else {
            (&below[l - 1], &weights.bias[l], Finish::Store)
        };
        let h_stride = here[0].stride;
        let h = here[0].shared();
        let grid = Grid::new(rows, w.stride, TILE_ROWS);
        self.team.run(grid.len(), &|task| {
            let tile = grid.tile(task);
            let product = Product {
                rows: tile.rows,
                columns: tile.columns,
                depth: w.rows,
                a: &x.as_slice()[tile.row * x.stride..],
                a_row: x.stride,
                a_depth: 1,
                b: &w.as_slice()[tile.column..],
                b_stride: w.stride,
                init: Some(&init.as_slice()[tile.column..]),
                c: h,
                c_at: tile.row * h_stride + tile.column,
                c_stride: h_stride,
                finish,
            };
            // SAFETY: the tile belongs to this task alone.
            unsafe { kernels.product(&product) };
            for row in tile.row..tile.row + tile.rows {
                // SAFETY: as above; the kernel is done with it.
                let h = unsafe { h.part(row * h_stride + tile.column, tile.columns) };
                kernels.activate(activation, h);
            }
        });
    }

    /// Losses and predictions of the batch; with `training`, also d of the outputs, and W from Wᵀ for [`Self::backward`].
    pub(crate) fn judge(
        &mut self,
        weights: &mut Weights,
        work: &mut Workspace,
        batch: Batch<'_>,
        targets: &Targets,
        training: bool,
    ) {
        let head = self.spec.head;
        let outputs = self.spec.outputs();
        let rows = batch.len();
        let row_tasks = rows.div_ceil(TILE_ROWS);
        let z = &work.h[work.h.len() - 1];
        let top = work.d.len() - 1;
        let d_stride = work.d[top].stride;
        let (d, losses, guesses) =
            (work.d[top].shared(), Shared::new(&mut work.losses), Shared::new(&mut work.guesses));
        let transposes = if training { Transposes::new(weights) } else { Transposes::none() };
        self.team.run(row_tasks + transposes.len(), &|task| {
            if task >= row_tasks {
                transposes.run(task - row_tasks);
                return;
            }
            let mut row = vec![0.0; outputs];
            for b in task * TILE_ROWS..rows.min((task + 1) * TILE_ROWS) {
                // SAFETY: sample b belongs to this task alone.
                let (d, loss, guess) = unsafe {
                    let d = if training { d.part(b * d_stride, outputs) } else { &mut row[..] };
                    (d, &mut losses.part(b, 1)[0], &mut guesses.part(b, 1)[0])
                };
                (*loss, *guess) = judge_sample(head, z.row(b), targets, batch.sample(b), rows, d);
            }
        });
    }

    /// From d of the outputs: all input gradients and all updates, in one pass from the last layer to the first.
    pub(crate) fn backward(
        &mut self,
        weights: &mut Weights,
        work: &mut Workspace,
        batch: Batch<'_>,
        learning_rate: f32,
    ) {
        for l in (0..self.spec.layers.len()).rev() {
            self.backward_layer(weights, work, l, batch, learning_rate);
        }
        weights.step += 1;
    }

    fn backward_layer(
        &mut self,
        weights: &mut Weights,
        work: &mut Workspace,
        l: usize,
        batch: Batch<'_>,
        learning_rate: f32,
    ) {
        let kernels = self.kernels;
        let rows = batch.len();
        let (d_below, d_here) = work.d.split_at_mut(l);
        let d = &d_here[0];
        let x = if l == 0 { &work.scaled } else { &work.h[l - 1] };
        let update = Update {
            d,
            x,
            rows,
            learning_rate,
            shift: (l == 0).then_some(&weights.shift[..]),
            columns: (l == 0 && batch.sparse().is_some()).then_some(&work.columns[..]),
            stride: weights.transposed[l].stride,
            grid: Grid::new(weights.transposed[l].rows, weights.transposed[l].stride, 2 * TILE_ROWS),
            w: weights.transposed[l].shared(),
            bias: weights.bias[l].shared(),
        };
        let gradient = (l > 0).then(|| InputGradient {
            activation: self.spec.layers[l - 1].activation,
            d,
            h: x,
            w: &weights.plain[l],
            stride: x.stride,
            grid: Grid::new(rows, x.stride, TILE_ROWS),
            below: d_below[l - 1].shared(),
        });
        let gradient_tasks = gradient.as_ref().map_or(0, |gradient| gradient.grid.len());
        self.team.run(gradient_tasks + update.len(), &|task| match &gradient {
            Some(gradient) if task < gradient_tasks => gradient.run(&kernels, task),
            _ => update.run(&kernels, task - gradient_tasks),
        });
    }
}

/// Rule 4 for one layer: `d_(l−1) = (d_l·W) ⊙ a'(h_(l−1))`.
struct InputGradient<'a> {
    activation: Activation,
    d: &'a Buffer,
    h: &'a Buffer,
    w: &'a Buffer,
    stride: usize,
    grid: Grid,
    below: Shared<'a, f32>,
}

impl InputGradient<'_> {
    fn run(&self, kernels: &Kernels, task: usize) {
        let tile = self.grid.tile(task);
        let product = Product {
            rows: tile.rows,
            columns: tile.columns,
            depth: self.w.rows,
            a: &self.d.as_slice()[tile.row * self.d.stride..],
            a_row: self.d.stride,
            a_depth: 1,
            b: &self.w.as_slice()[tile.column..],
            b_stride: self.w.stride,
            init: None,
            c: self.below,
            c_at: tile.row * self.stride + tile.column,
            c_stride: self.stride,
            finish: Finish::Store,
        };
        // SAFETY: the tile belongs to this task alone.
        unsafe { kernels.product(&product) };
        for row in tile.row..tile.row + tile.rows {
            let at = row * self.stride + tile.column;
            // SAFETY: as above; the kernel is done with it.
            let gradient = unsafe { self.below.part(at, tile.columns) };
            kernels.derive(self.activation, &self.h.as_slice()[at..at + tile.columns], gradient);
        }
    }
}

/// Rule 3 (with rule 5 where `shift` is given) and SGD for one layer, on a tile of Wᵀ: from all inputs, or for the first
/// layer on sparse data from the lists of its non-zeros, a piece of features a tile. Tiles of the first row of tiles
/// also update the bias of their columns.
struct Update<'a> {
    d: &'a Buffer,
    x: &'a Buffer,
    rows: usize,
    learning_rate: f32,
    shift: Option<&'a [f32]>,
    columns: Option<&'a [SparseColumns]>,
    stride: usize,
    grid: Grid,
    w: Shared<'a, f32>,
    bias: Shared<'a, f32>,
}

impl Update<'_> {
    /// Number of tasks.
    fn len(&self) -> usize {
        if self.columns.is_some() { PIECES * self.grid.across() } else { self.grid.len() }
    }

    /// The tile of a task.
    fn tile(&self, task: usize) -> Tile {
        if self.columns.is_none() {
            return self.grid.tile(task);
        }
        let (row, rows) = piece(task / self.grid.across(), self.grid.rows);
        Tile { row, rows, ..self.grid.tile(task % self.grid.across()) }
    }

    fn run(&self, kernels: &Kernels, task: usize) {
        let tile = self.tile(task);
        let first = task < self.grid.across();
        let mut bias_gradient = [0.0; TILE_COLUMNS];
        if first || self.shift.is_some() {
            self.sum(kernels, &tile, &mut bias_gradient);
        }
        if first {
            // SAFETY: the bias of these columns belongs to this task alone.
            let bias = unsafe { self.bias.part(tile.column, tile.columns) };
            for (bias, gradient) in bias.iter_mut().zip(bias_gradient) {
                *bias = (-self.learning_rate).fma(gradient, *bias);
            }
        }
        match self.columns {
            Some(columns) => self.run_sparse(kernels, &tile, &columns[task / self.grid.across()], &bias_gradient),
            None => self.run_dense(kernels, &tile, &bias_gradient),
        }
    }

    /// `Σ_b d[b,j]` as a product with ones: fma(1, d, g) is g + d.
    fn sum(&self, kernels: &Kernels, tile: &Tile, sums: &mut [f32]) {
        let product = Product {
            rows: 1,
            columns: tile.columns,
            depth: self.rows,
            a: &[1.0],
            a_row: 0,
            a_depth: 0,
            b: &self.d.as_slice()[tile.column..],
            b_stride: self.d.stride,
            init: None,
            c: Shared::new(sums),
            c_at: 0,
            c_stride: 0,
            finish: Finish::Store,
        };
        // SAFETY: the sums are borrowed by this call alone.
        unsafe { kernels.product(&product) };
    }

    fn run_dense(&self, kernels: &Kernels, tile: &Tile, bias_gradient: &[f32]) {
        let fold = self.shift.map(|shift| (&shift[tile.row..], bias_gradient));
        let product = Product {
            rows: tile.rows,
            columns: tile.columns,
            depth: self.rows,
            a: &self.x.as_slice()[tile.row..],
            a_row: 1,
            a_depth: self.x.stride,
            b: &self.d.as_slice()[tile.column..],
            b_stride: self.d.stride,
            init: None,
            c: self.w,
            c_at: tile.row * self.stride + tile.column,
            c_stride: self.stride,
            finish: Finish::Descend { learning_rate: self.learning_rate, fold },
        };
        // SAFETY: the tile of Wᵀ belongs to this task alone; x and d are other buffers.
        unsafe { kernels.product(&product) };
    }

    fn run_sparse(&self, kernels: &Kernels, tile: &Tile, columns: &SparseColumns, bias_gradient: &[f32]) {
        for feature in tile.row..tile.row + tile.rows {
            let fold = self.shift.map(|shift| (&shift[feature..], bias_gradient));
            let product = SparseProduct {
                columns: tile.columns,
                a: columns.column(feature),
                b: &self.d.as_slice()[tile.column..],
                b_stride: self.d.stride,
                init: None,
                c: self.w,
                c_at: feature * self.stride + tile.column,
                finish: Finish::Descend { learning_rate: self.learning_rate, fold },
            };
            // SAFETY: the tile of Wᵀ belongs to this task alone; d is another buffer.
            unsafe { kernels.sparse_product(&product) };
        }
    }
}

/// The copies W of Wᵀ, in blocks of [`TILE_COLUMNS`] units, for all layers but the first.
struct Transposes<'a> {
    layers: Vec<(&'a Buffer, Shared<'a, f32>, usize)>,
    /// Number of the first task of each layer; then the number of tasks.
    first: Vec<usize>,
}

impl<'a> Transposes<'a> {
    fn none() -> Self {
        Self { layers: Vec::new(), first: vec![0] }
    }

    fn new(weights: &'a mut Weights) -> Self {
        let mut transposes = Self::none();
        for (from, to) in weights.transposed.iter().zip(&mut weights.plain).skip(1) {
            let stride = to.stride;
            transposes.layers.push((from, to.shared(), stride));
            transposes.first.push(transposes.len() + from.columns.div_ceil(PAD));
        }
        transposes
    }

    fn len(&self) -> usize {
        self.first[self.first.len() - 1]
    }

    /// Copies 16 columns of Wᵀ to 16 rows of W.
    fn run(&self, task: usize) {
        let layer = self.first.partition_point(|&first| first <= task) - 1;
        let (from, to, stride) = &self.layers[layer];
        let j = (task - self.first[layer]) * PAD;
        let width = PAD.min(from.columns - j);
        // SAFETY: rows j … j + width of W belong to this task alone.
        let to = unsafe { to.part(j * stride, width * stride) };
        for (k, row) in from.as_slice().chunks(from.stride).enumerate() {
            for (i, &w) in row[j..j + width].iter().enumerate() {
                to[i * stride + k] = w;
            }
        }
    }
}

/// Loss and prediction of one sample, and d, the gradient of the batch's mean loss by its outputs z (rules 6 and 8).
fn judge_sample(head: Head, z: &[f32], targets: &Targets, sample: usize, batch: usize, d: &mut [f32]) -> (f32, u32) {
    match targets {
        Targets::Values { values, outputs } => {
            let mean = 2.0 / (batch * outputs) as f32;
            let mut sum = 0.0;
            for ((d, &z), &t) in d.iter_mut().zip(z).zip(&values[sample * outputs..]) {
                let error = z - t;
                sum = error.fma(error, sum);
                *d = error * mean;
            }
            (sum / *outputs as f32, 0)
        }
        Targets::Classes { labels, .. } if head == Head::Binary => {
            let y = labels[sample] as f32;
            d[0] = (z[0].sigmoid() - y) * (1.0 / batch as f32);
            (binary_cross_entropy(z[0], y), u32::from(z[0] > 0.0))
        }
        Targets::Classes { labels, .. } => {
            let label = labels[sample] as usize;
            let mean = 1.0 / batch as f32;
            let row = SoftmaxRow::new(z, d);
            for (j, d) in d.iter_mut().enumerate() {
                *d = (*d / row.sum - if j == label { 1.0 } else { 0.0 }) * mean;
            }
            (row.cross_entropy(z[label]), row.argmax as u32)
        }
    }
}
