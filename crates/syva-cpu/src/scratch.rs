//! The scratch memory of one thread: space for the inputs of its tasks, and values that it has computed from the
//! weights.

use std::sync::{Mutex, MutexGuard, PoisonError};

use syva_core::Spec;

use crate::buffer::{HALF, Panels};
use crate::kernels::Kernels;
use crate::memory::Weights;
use crate::sparse::Lists;
use crate::step::{SLICE, together};

/// Bytes of W that a thread keeps transposed. More would drive other data out of its core's cache.
const KEPT: usize = 256 << 10;

/// The scratch memory of one thread. Nothing here passes from thread to thread.
pub(crate) struct Scratch {
    /// Scaled inputs, in panels.
    pub(crate) inputs: Space,
    /// The non-zeros of the scaled inputs.
    pub(crate) lists: Lists,
    /// Weight gradients, summed over some of the samples.
    pub(crate) sums: Space,
    /// Outputs of some samples.
    pub(crate) outputs: Space,
    pub(crate) bias_gradients: BiasGradients,
    pub(crate) plain: Plain,
}

impl Scratch {
    pub(crate) fn new(spec: &Spec, width: usize) -> Self {
        Self {
            inputs: Space::default(),
            lists: Lists::default(),
            sums: Space::default(),
            outputs: Space::default(),
            bias_gradients: BiasGradients { of: None, values: [0.0; SLICE] },
            plain: Plain::new(spec, width),
        }
    }
}

/// Makes the scratch memory of each thread of a team.
pub(crate) fn of_each(threads: usize, spec: &Spec, width: usize) -> Vec<Mutex<Scratch>> {
    (0..threads).map(|_| Mutex::new(Scratch::new(spec, width))).collect()
}

/// Locks the scratch memory of a thread. This never waits, because no other thread asks for it. If an earlier task has
/// panicked, a later one will not take its leftovers for its own values.
pub(crate) fn own(scratch: &[Mutex<Scratch>], thread: usize) -> MutexGuard<'_, Scratch> {
    scratch[thread].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that grows as needed. It begins at the start of a cache line.
pub(crate) struct Space(Panels);

impl Default for Space {
    fn default() -> Self {
        Self(Panels::new(0, HALF, HALF))
    }
}

impl Space {
    /// The number of values that there is room for.
    pub(crate) fn len(&self) -> usize {
        self.0.as_slice().len()
    }

    /// Room for `len` values. Their content is arbitrary.
    pub(crate) fn of(&mut self, len: usize) -> &mut [f32] {
        if self.0.as_slice().len() < len {
            self.0 = Panels::new(len.div_ceil(HALF), HALF, HALF);
        }
        &mut self.0.as_mut_slice()[..len]
    }
}

/// The bias gradients of some units of the first layer, which many tasks need.
pub(crate) struct BiasGradients {
    /// The version of the weights, and the slice of units. `None` if there are no values.
    pub(crate) of: Option<(u64, usize)>,
    pub(crate) values: [f32; SLICE],
}

/// Panels of W `[units, fan_in]`. They are transposed from Wᵀ when they are first needed after an update. If W is
/// small, the panels of all layers are kept whose input gradients are needed; otherwise as many as a block of rows meets.
pub(crate) struct Plain {
    kept: Vec<(Option<(u64, usize)>, Space)>,
    /// The number of each layer's first panel.
    first: Vec<usize>,
}

impl Plain {
    fn new(spec: &Spec, width: usize) -> Self {
        let (mut first, mut panels, mut bytes, mut most) = (Vec::new(), 0, 0, 1);
        for l in 0..spec.layers.len() {
            first.push(panels);
            // Nobody needs the gradient by raw inputs.
            if l == 0 && spec.input.embedding.is_none() {
                continue;
            }
            panels += spec.fan_in(l).div_ceil(width);
            bytes += spec.fan_in(l) * spec.layers[l].units * size_of::<f32>();
            most = most.max(together(spec.layers[l].units * width));
        }
        let kept = if bytes <= KEPT { panels } else { most.min(panels) };
        Self { kept: (0..kept).map(|_| (None, Space::default())).collect(), first }
    }

    /// A panel of W of a layer, but not of a first layer that reads raw inputs: `[units, width]`, with units rounded up to whole panels.
    pub(crate) fn panel(&mut self, kernels: &Kernels, weights: &Weights, l: usize, panel: usize) -> &[f32] {
        let w = &weights.transposed[l];
        let number = self.first[l] + panel;
        let at = number % self.kept.len();
        let (of, space) = &mut self.kept[at];
        let square = kernels.width() * kernels.width();
        let values = space.of(w.count() * square);
        if *of != Some((weights.version, number)) {
            *of = None;
            for (units, block) in values.chunks_exact_mut(square).enumerate() {
                kernels.transpose(&w.as_slice()[w.at(units) + panel * square..], block);
            }
            *of = Some((weights.version, number));
        }
        values
    }
}
