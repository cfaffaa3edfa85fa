//! The update of a step whose gradients are stored, because more happens to them than the optimiser's rule, or to the weights
//! afterwards (rule 9): penalties, clipping, the largest norm, the average.

use syva_core::arithmetic::Number;
use syva_core::ops::{Muon, Rule, SLOTS, norm_factor, renorm_factor};
use syva_core::reference::tree;
use syva_core::{Part as Of, Rates, Spec, Training};

use crate::buffer::{Panels, Shared};
use crate::kernels::{Applied, Kernels, Regularise};
use crate::memory::Weights;
use crate::muon::Room;
use crate::step::Runner;
use crate::team::Team;
use crate::update::SlotOf;

/// Values that a task works on at a time, so that they stay in the core's own cache from pass to pass.
const CHUNK: usize = 1024;

/// The weights, gradients and all that belongs to them of one layer.
struct Layer<'a> {
    fan_in: usize,
    units: usize,
    /// Values from one panel to the next.
    panel: usize,
    has_gains: bool,
    w: SlotOf<'a>,
    gradient: SlotOf<'a>,
    slots: [Option<SlotOf<'a>>; SLOTS],
    average: Option<SlotOf<'a>>,
    /// The sum of the squares of each unit's gradients.
    squares: Shared<'a, f32>,
}

/// The same part of weights, gradients and so on: some rows of a panel, or its biases.
struct Part<'a> {
    w: &'a mut [f32],
    gradient: &'a mut [f32],
    slots: [&'a mut [f32]; SLOTS],
    average: &'a mut [f32],
}

impl<'a> Layer<'a> {
    /// The weights of a panel, some rows at a time.
    ///
    /// # Safety
    /// Only the calling task uses the panel, and only one part at a time.
    unsafe fn parts(&self, panel: usize, width: usize) -> impl Iterator<Item = Part<'a>> {
        let (from, len) = (panel * self.panel, self.fan_in * width);
        (0..len).step_by(CHUNK).map(move |at| {
            // SAFETY: the caller's promise.
            unsafe { self.part(|of| of.w, from + at, CHUNK.min(len - at)) }
        })
    }

    /// The biases of a panel.
    ///
    /// # Safety
    /// As for [`Layer::parts`].
    unsafe fn biases(&self, panel: usize, width: usize) -> Part<'a> {
        // SAFETY: the caller's promise.
        unsafe { self.part(|of| of.bias, panel * width, width) }
    }

    /// The gains of a panel, if there are any.
    ///
    /// # Safety
    /// As for [`Layer::parts`].
    unsafe fn gains(&self, panel: usize, width: usize) -> Option<Part<'a>> {
        // SAFETY: the caller's promise.
        self.has_gains.then(|| unsafe { self.part(|of| of.gain, panel * width, width) })
    }

    /// # Safety
    /// As for [`Layer::parts`].
    unsafe fn part(&self, of: impl Fn(SlotOf<'a>) -> Shared<'a, f32>, at: usize, len: usize) -> Part<'a> {
        // SAFETY: the caller's promise.
        unsafe {
            let part = |slot: Option<SlotOf<'a>>| slot.map_or(&mut [][..], |slot| of(slot).part(at, len));
            Part {
                w: of(self.w).part(at, len),
                gradient: of(self.gradient).part(at, len),
                slots: self.slots.map(part),
                average: part(self.average),
            }
        }
    }
}

impl Layer<'_> {
    /// Makes Muon's directions of the layer's weights of their gradients and momentum, and makes them orthogonal. They take
    /// the place of the gradients, which are scaled by a factor before.
    fn orthogonalise(&self, muon: &Muon, factor: f32, room: &mut Room, kernels: &Kernels, team: &mut Team) {
        let (width, panels) = (kernels.width(), self.units.div_ceil(kernels.width()));
        let size = 8 * self.units * self.fan_in;
        team.share(panels, size, &|_, panel| {
            // SAFETY: only this task uses the panel and its sums, one part at a time.
            let (sums, parts) = unsafe { (self.squares.part(panel * width, width), self.parts(panel, width)) };
            sums.fill(0.0);
            for Part { gradient, slots: [buffer, ..], .. } in parts {
                if factor != 1.0 {
                    kernels.regularise(Regularise::Scale(gradient, factor));
                }
                kernels.regularise(Regularise::Direct { muon: *muon, gradient, buffer });
                kernels.regularise(Regularise::Squares(gradient, sums));
            }
        });
        // SAFETY: the region is over.
        let sums = unsafe { self.squares.part(0, self.units) };
        let norm = tree(0..self.units, &|unit| sums[unit]).sqrt().larger(Muon::LEAST_NORM);
        // SAFETY: as above.
        let gradient = unsafe { self.gradient.w.part(0, self.gradient.w.len()) };
        let y_panel = room.y.at(1);
        // Of each direction, its place among the gradients and in Y.
        let places = || {
            (0..self.units).flat_map(move |j| {
                (0..self.fan_in).map(move |k| {
                    let (row, column) = if self.units <= self.fan_in { (k, j) } else { (j, k) };
                    let in_y = column / width * y_panel + row * width + column % width;
                    (j / width * self.panel + k * width + j % width, in_y)
                })
            })
        };
        let y = room.y.as_mut_slice();
        places().for_each(|(at, in_y)| y[in_y] = gradient[at] / norm);
        room.iterate(muon, kernels, team);
        let y = room.y.as_slice();
        places().for_each(|(at, in_y)| gradient[at] = y[in_y]);
    }
}

/// Everything that the update of a step changes, layer by layer.
fn layers<'a>(
    spec: &Spec,
    weights: &'a mut Weights,
    gradient: &'a mut Weights,
    width: usize,
    mut squares: &'a mut [f32],
) -> Vec<Layer<'a>> {
    let each = |weights: &'a mut Vec<Panels>, biases: &'a mut Vec<Panels>, gains: &'a mut Vec<Panels>| {
        let all = weights.iter_mut().zip(biases).zip(gains);
        all.map(|((w, b), g)| SlotOf { w: w.shared(), bias: b.shared(), gain: g.shared() }).collect::<Vec<_>>()
    };
    let panels: Vec<usize> = weights.transposed.iter().map(|w| w.at(1)).collect();
    let w = each(&mut weights.transposed, &mut weights.bias, &mut weights.gain);
    let gradient = each(&mut gradient.transposed, &mut gradient.bias, &mut gradient.gain);
    let average = weights.average.as_deref_mut();
    let average = average.map(|average| each(&mut average.transposed, &mut average.bias, &mut average.gain));
    let slots = weights.slots.iter_mut().map(|slot| each(&mut slot.transposed, &mut slot.bias, &mut slot.gain));
    let slots: Vec<_> = slots.collect();
    let layer = |l: usize| {
        let (sums, rest) = std::mem::take(&mut squares).split_at_mut(spec.layers[l].units.next_multiple_of(width));
        squares = rest;
        Layer {
            fan_in: spec.fan_in(l),
            units: spec.layers[l].units,
            panel: panels[l],
            has_gains: spec.layers[l].gains() > 0,
            w: w[l],
            gradient: gradient[l],
            slots: std::array::from_fn(|n| slots.get(n).map(|slot| slot[l])),
            average: average.as_ref().map(|average| average[l]),
            squares: Shared::new(sums),
        }
    };
    (0..spec.layers.len()).map(layer).collect()
}

/// Adds the penalties to gradients and clips them by value, and sums their squares for their norm.
fn hold_back(
    training: &Training,
    layers: &[Layer<'_>],
    (tasks, work): (&[(usize, usize)], usize),
    kernels: &Kernels,
    team: &mut Team,
) {
    let Training { l1, l2, clip_norm, clip_value, .. } = *training;
    let width = kernels.width();
    if l1 > 0.0 || l2 > 0.0 || clip_value > 0.0 || clip_norm > 0.0 {
        team.share(tasks.len(), work, &|_, task| {
            let (layer, panel) = (&layers[tasks[task].0], tasks[task].1);
            // SAFETY: only this task uses the panel and its sums, one part at a time.
            let (sums, parts, biases, gains) = unsafe {
                let sums = layer.squares.part(panel * width, width);
                (sums, layer.parts(panel, width), layer.biases(panel, width), layer.gains(panel, width))
            };
            let mut clip = |gradient: &mut [f32]| {
                if clip_value > 0.0 {
                    kernels.regularise(Regularise::Clip(gradient, clip_value));
                }
                if clip_norm > 0.0 {
                    kernels.regularise(Regularise::Squares(gradient, sums));
                }
            };
            for Part { w, gradient, .. } in parts {
                if l1 > 0.0 || l2 > 0.0 {
                    kernels.regularise(Regularise::Penalise { gradient, weight: w, l1, l2 });
                }
                clip(gradient);
            }
            clip(biases.gradient);
            if let Some(gains) = gains {
                clip(gains.gradient);
            }
        });
    }
}

/// The norm of all gradients, from the sum of squares of each unit.
fn norm(layers: &[Layer<'_>]) -> f32 {
    // SAFETY: the region that computed the sums is over.
    let units: Vec<f32> =
        layers.iter().flat_map(|layer| unsafe { layer.squares.part(0, layer.units) }.to_vec()).collect();
    tree(0..units.len(), &|unit| units[unit]).sqrt()
}

impl Runner {
    /// Updates all weights and biases by stored gradients, which are used up.
    pub(crate) fn update_stored(&mut self, weights: &mut Weights, gradient: &mut Weights, rates: &Rates) {
        let Self { spec, training, groups, kernels, team, rooms, .. } = self;
        let width = kernels.width();
        let scalars = groups.scalars(weights.step, rates);
        let share = training.average_share(weights.step);
        let rule = training.optimizer.rule();
        // A sum for each column of each panel.
        let mut squares = vec![0.0; spec.layers.iter().map(|layer| layer.units.next_multiple_of(width)).sum()];
        let layers = layers(spec, weights, gradient, width, &mut squares);
        let tasks: Vec<(usize, usize)> =
            (0..layers.len()).flat_map(|l| (0..layers[l].units.div_ceil(width)).map(move |panel| (l, panel))).collect();
        // Some operations for each parameter.
        let work = 8 * spec.parameters();

        let Training { clip_norm, max_norm, .. } = *training;
        hold_back(training, &layers, (&tasks, work), kernels, team);
        let factor = if clip_norm > 0.0 { norm_factor(norm(&layers), clip_norm) } else { 1.0 };
        let orthogonal: Vec<_> = (0..layers.len()).map(|l| scalars.orthogonal(l)).collect();
        if let Some((muon, _)) = training.optimizer.muon() {
            rooms.resize_with(layers.len(), || None);
            for (l, layer) in layers.iter().enumerate().filter(|&(l, _)| orthogonal[l].is_some()) {
                let room = rooms[l].get_or_insert_with(|| Room::new(layer.fan_in, layer.units, width));
                layer.orthogonalise(&muon, factor, room, kernels, team);
            }
        }
        team.share(tasks.len(), work, &|_, task| {
            let (l, panel) = tasks[task];
            let layer = &layers[l];
            let step = |part: &mut Part<'_>, of: Of| {
                if let Some(scalars) = orthogonal[l].as_ref().filter(|_| of == Of::Weights) {
                    let (gradient, weight) = (&*part.gradient, &mut *part.w);
                    let slots = [(); SLOTS].map(|()| &mut [][..]);
                    kernels.apply(&mut Applied { rule: Rule::Decay, scalars, gradient, weight, slots });
                    return;
                }
                if factor != 1.0 {
                    kernels.regularise(Regularise::Scale(part.gradient, factor));
                }
                let slots = part.slots.each_mut().map(|slot| &mut **slot);
                let (gradient, weight) = (&*part.gradient, &mut *part.w);
                kernels.apply(&mut Applied { rule, scalars: scalars.of(l, of), gradient, weight, slots });
            };
            let average = |part: &mut Part<'_>| {
                if !part.average.is_empty() {
                    kernels.regularise(Regularise::Average(part.average, part.w, share));
                }
            };
            // SAFETY: only this task uses the panel, one part at a time.
            let parts = || unsafe { layer.parts(panel, width) };
            if max_norm > 0.0 {
                // SAFETY: only this task uses the panel's sums. Those of the gradients have served their purpose.
                let sums = unsafe { layer.squares.part(panel * width, width) };
                sums.fill(0.0);
                for mut part in parts() {
                    step(&mut part, Of::Weights);
                    kernels.regularise(Regularise::Squares(part.w, sums));
                }
                for sum in sums.iter_mut() {
                    *sum = renorm_factor(sum.sqrt(), max_norm);
                }
                for mut part in parts() {
                    kernels.regularise(Regularise::ScaleColumns(part.w, sums));
                    average(&mut part);
                }
            } else {
                for mut part in parts() {
                    step(&mut part, Of::Weights);
                    average(&mut part);
                }
            }
            // SAFETY: only this task uses the panel's biases and gains.
            let (biases, gains) = unsafe { (layer.biases(panel, width), layer.gains(panel, width)) };
            for (mut part, of) in std::iter::once((biases, Of::Biases)).chain(gains.map(|gains| (gains, Of::Gains))) {
                step(&mut part, of);
                average(&mut part);
            }
        });
        weights.step += 1;
        weights.start_is_stale = true;
        if let Some(average) = &mut weights.average {
            average.start_is_stale = true;
            average.version += 1;
        }
    }
}
