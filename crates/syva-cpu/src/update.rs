//! The update of a layer: its weight gradient, never stored, and the optimiser's step, a tile of weights at a time.

use std::ops::Range;

use syva_core::arithmetic::Real;

use crate::buffer::{Panels, Shared, View, WIDTH};
use crate::kernels::{Finish, Init, Kernels, Place, Product, SparseProduct};
use crate::sparse::{BLOCK, BlockLists, PIECE};
use crate::step::{SLICE, part};

/// Panels of units of a task of a dense update.
const UPDATE_PANELS: usize = 4;

/// Rule 3 (with rule 5 where `shift` is given) and SGD for one layer.
pub(crate) struct Update<'a> {
    pub(crate) kernels: &'a Kernels,
    pub(crate) rows: usize,
    pub(crate) learning_rate: f32,
    pub(crate) fan_in: usize,
    pub(crate) units: usize,
    pub(crate) x: &'a Panels,
    pub(crate) d: &'a Panels,
    pub(crate) shift: Option<&'a [f32]>,
    pub(crate) lists: Option<&'a [BlockLists]>,
    /// Rows of Wᵀ, in memory.
    pub(crate) height: usize,
    pub(crate) w: Shared<'a, f32>,
    /// Rows of W, in memory; 0 where there is none.
    pub(crate) plain_height: usize,
    pub(crate) plain: Shared<'a, f32>,
    pub(crate) bias: Shared<'a, f32>,
}

impl Update<'_> {
    /// Features and panels of units of a task.
    fn task_size(&self) -> (usize, usize) {
        if self.lists.is_some() { (PIECE, SLICE) } else { (WIDTH, UPDATE_PANELS) }
    }

    fn panels(&self) -> usize {
        self.units.div_ceil(WIDTH)
    }

    pub(crate) fn tasks(&self) -> usize {
        let (features, panels) = self.task_size();
        self.fan_in.div_ceil(features) * self.panels().div_ceil(panels)
    }

    /// Updates some features' weights to some units; with the first features also these units' biases.
    pub(crate) fn run(&self, task: usize) {
        let (features, panels) = self.task_size();
        let down = self.fan_in.div_ceil(features);
        let features = part(task % down, features, self.fan_in);
        let panels = part(task / down, panels, self.panels());
        let mut bias_gradient = [0.0; UPDATE_PANELS * WIDTH];
        if features.start == 0 || self.shift.is_some() {
            for (panel, sums) in panels.clone().zip(bias_gradient.chunks_exact_mut(WIDTH)) {
                self.sum(panel, sums);
            }
        }
        if features.start == 0 {
            // SAFETY: the bias of these units belongs to this task alone.
            let bias = unsafe { self.bias.part(panels.start * WIDTH, panels.len() * WIDTH) };
            for (bias, gradient) in bias.iter_mut().zip(bias_gradient) {
                *bias = (-self.learning_rate).fma(gradient, *bias);
            }
        }
        match self.lists {
            Some(lists) => self.run_sparse(features, panels, lists, &bias_gradient),
            None => panels.zip(bias_gradient.chunks_exact(WIDTH)).for_each(|(panel, bias_gradient)| {
                self.run_dense(features.clone(), panel, bias_gradient);
            }),
        }
    }

    /// `Σ_b d[b,j]` of a panel of units as a product with ones: fma(1, d, g) is g + d.
    fn sum(&self, panel: usize, sums: &mut [f32]) {
        let product = Product {
            rows: 1,
            columns: self.d.width(panel),
            depth: self.rows,
            a: View::from(&[1.0][..]),
            a_row: 0,
            a_depth: 0,
            a_panel: 0,
            b: &self.d.as_slice()[self.d.at(panel)..],
            init: None,
            c: Shared::new(sums),
            c_at: 0,
            finish: Finish::Store,
        };
        // SAFETY: the sums are borrowed by this call alone.
        unsafe { self.kernels.product(&product) };
    }

    fn run_dense(&self, features: Range<usize>, panel: usize, bias_gradient: &[f32]) {
        let fold = self.shift.map(|shift| (&shift[features.clone()], bias_gradient));
        let at = panel * WIDTH * self.height + features.start * WIDTH;
        let product = Product {
            rows: features.len(),
            columns: self.d.width(panel),
            depth: self.rows,
            a: View::from(&self.x.as_slice()[self.x.at(features.start / WIDTH)..]),
            a_row: 1,
            a_depth: WIDTH,
            a_panel: WIDTH * WIDTH,
            b: &self.d.as_slice()[self.d.at(panel)..],
            init: None,
            c: self.w,
            c_at: at,
            finish: Finish::Descend { learning_rate: self.learning_rate, fold },
        };
        // SAFETY: the tile of Wᵀ, and so of W, belongs to this task alone; x and d are other buffers.
        unsafe {
            self.kernels.product(&product);
            if self.plain_height > 0 {
                let plain_at = features.start * self.plain_height + panel * WIDTH * WIDTH;
                let plain = self.plain.part(plain_at, WIDTH * WIDTH);
                self.kernels.transpose(self.w.part(at, WIDTH * WIDTH), plain);
            }
        }
    }

    /// Block of samples by block, the sums so far in a scratch, the last one's straight into the weights.
    fn run_sparse(&self, features: Range<usize>, panels: Range<usize>, lists: &[BlockLists], bias_gradient: &[f32]) {
        let columns = panels.clone().map(|panel| self.d.width(panel)).sum();
        let (pieces, piece) = (self.fan_in.div_ceil(PIECE), features.start / PIECE);
        let blocks = self.rows.div_ceil(BLOCK);
        let mut scratch = vec![0.0; if blocks > 1 { SLICE * PIECE * WIDTH } else { 0 }];
        let sums = Place { values: Shared::new(&mut scratch), at: 0, panel: PIECE * WIDTH };
        let w = Place {
            values: self.w,
            at: (panels.start * self.height + features.start) * WIDTH,
            panel: self.height * WIDTH,
        };
        for block in 0..blocks {
            let fold = self.shift.map(|shift| (&shift[features.clone()], bias_gradient));
            let descend = Finish::Descend { learning_rate: self.learning_rate, fold };
            let (c, finish) = if block + 1 == blocks { (w, descend) } else { (sums, Finish::Store) };
            let product = SparseProduct {
                a: &lists[block * pieces + piece].by_feature,
                rows: (0, features.len()),
                columns,
                b: &self.d.as_slice()[self.d.at(panels.start) + block * BLOCK * WIDTH..],
                b_panel: self.d.at(1),
                init: if block == 0 { Init::Zero } else { Init::Sums(sums) },
                c,
                finish,
            };
            // SAFETY: the tile of Wᵀ belongs to this task alone, and the scratch to this call; d is another buffer.
            unsafe { self.kernels.sparse_product(&product) };
        }
    }
}
