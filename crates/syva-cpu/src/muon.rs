//! Muon's Newton-Schulz iteration (rule 8): a few products that make a matrix of gradients orthogonal.
//!
//! All of them are products of panels, so that nothing has to be transposed between them: with Y of no more columns than
//! rows, A = YᵀY reads Y by columns, and A and bA + cA² are symmetric to the bit.

use syva_core::ops::Muon;

use crate::buffer::{Panels, Shared};
use crate::kernels::{Factor, Finish, Kernels, Product, Regularise};
use crate::step::part;
use crate::team::Team;

/// Rows of a task.
const ROWS: usize = 64;

/// Room for the iteration on the weights of one layer.
pub(crate) struct Room {
    /// Y, `[tall, wide]`.
    pub(crate) y: Panels,
    /// Products with Y.
    next: Panels,
    /// A, `[wide, wide]`.
    a: Panels,
    /// A², then bA + cA².
    b: Panels,
    tall: usize,
    wide: usize,
}

impl Room {
    /// For a matrix `[fan_in, units]`, in panels of `width` columns.
    pub(crate) fn new(fan_in: usize, units: usize, width: usize) -> Self {
        let (tall, wide) = (fan_in.max(units), fan_in.min(units));
        let panels = |rows| Panels::new(rows, wide, width);
        Self { y: panels(tall), next: panels(tall), a: panels(wide), b: panels(wide), tall, wide }
    }

    /// Makes Y, whose norm is 1 at most, nearly orthogonal.
    pub(crate) fn iterate(&mut self, muon: &Muon, kernels: &Kernels, team: &mut Team) {
        let Self { y, next, a, b, tall, wide } = self;
        for _ in 0..muon.steps {
            square_of_columns(y, a, (*tall, *wide), kernels, team);
            product(a, a, b, (*wide, *wide), kernels, team);
            elementwise(b, a, team, &|b, a| kernels.regularise(Regularise::Combine(b, a)));
            product(y, b, next, (*tall, *wide), kernels, team);
            elementwise(next, y, team, &|next, y| kernels.regularise(Regularise::Advance(next, y)));
            std::mem::swap(y, next);
        }
    }
}

/// A = YᵀY.
fn square_of_columns(y: &Panels, a: &mut Panels, (tall, wide): (usize, usize), kernels: &Kernels, team: &mut Team) {
    let (count, width) = (y.count(), kernels.width());
    let (height, to) = (a.rows, a.shared());
    team.share(count * count, tall * wide * wide, &|_, task| {
        let (i, j) = (task / count, task % count);
        let product = Product {
            rows: width.min(wide - i * width),
            columns: y.computed(j),
            depth: tall,
            a: Factor::Columns((&y.as_slice()[y.at(i)..]).into()),
            b: &y.as_slice()[y.at(j)..],
            init: None,
            earlier: &[],
            c: to,
            c_at: (j * height + i * width) * width,
            finish: Finish::Store,
        };
        // SAFETY: only this task uses the tile.
        unsafe { kernels.product(&product) };
    });
}

/// `c = a·b`, with `rows` rows and as many terms as columns.
fn product(a: &Panels, b: &Panels, c: &mut Panels, (rows, wide): (usize, usize), kernels: &Kernels, team: &mut Team) {
    let (width, blocks) = (kernels.width(), rows.div_ceil(ROWS));
    let (height, count, to) = (c.rows, c.count(), c.shared());
    team.share(blocks * count, rows * wide * wide, &|_, task| {
        let (rows, j) = (part(task / count, ROWS, rows), task % count);
        let product = Product {
            rows: rows.len(),
            columns: b.computed(j),
            depth: wide,
            a: Factor::Rows { values: (&a.as_slice()[rows.start * width..]).into(), panel: a.at(1) },
            b: &b.as_slice()[b.at(j)..],
            init: None,
            earlier: &[],
            c: to,
            c_at: (j * height + rows.start) * width,
            finish: Finish::Store,
        };
        // SAFETY: only this task uses the tile.
        unsafe { kernels.product(&product) };
    });
}

/// Passes over two matrices of the same shape, panel by panel.
fn elementwise(to: &mut Panels, from: &Panels, team: &mut Team, pass: &(dyn Fn(&mut [f32], &[f32]) + Sync)) {
    let (count, each, size) = (to.count(), to.at(1), to.as_slice().len());
    let shared: Shared<'_, f32> = to.shared();
    team.share(count, 2 * size, &|_, panel| {
        // SAFETY: only this task uses the panel.
        let to = unsafe { shared.part(panel * each, each) };
        pass(to, &from.as_slice()[panel * each..][..each]);
    });
}
