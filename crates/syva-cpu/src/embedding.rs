//! The learned embedding of a batch's inputs on the CPU: its outputs, and the update of what it has learned (rule 11).

use std::ops::Range;

use syva_core::ops::{SCALARS, SLOTS};
use syva_core::reference::BLOCK;
use syva_core::{Block, Embedding, Numbers, Placed, StepScalars, Training};

use crate::buffer::{Panels, Shared};
use crate::kernels::{Applied, Embed, Kernels, Number, NumberGradient, ROWS};
use crate::memory::{Batch, Source, Weights, Workspace};
use crate::team::Team;

/// Copies the raw values of a feature of some rows of a batch.
fn column(batch: &Batch<'_>, rows: Range<usize>, (feature, features): (usize, usize), to: &mut [f32]) {
    let at = |row: usize| batch.samples.get(row) * features + feature;
    match batch.source {
        Source::Bytes(x) => rows.zip(to).for_each(|(row, to)| *to = f32::from(x[at(row)])),
        Source::Floats(x) => rows.zip(to).for_each(|(row, to)| *to = x[at(row)]),
        Source::Mixed(x) => {
            let (first, numbers) = (x.first(), x.first()[0]);
            if feature < numbers {
                let at = |row: usize| batch.samples.get(row) * numbers + feature;
                return rows.zip(to).for_each(|(row, to)| *to = x.numbers()[at(row)]);
            }
            let (column, columns) = (first.partition_point(|&first| first <= feature) - 1, first.len() - 1);
            let code = (feature - first[column]) as u32;
            let at = |row: usize| batch.samples.get(row) * columns + column;
            rows.zip(to).for_each(|(row, to)| *to = f32::from(u8::from(x.codes()[at(row)] == code)));
        }
    }
}

/// The category of a sample, of a block of features, if the data is stored by codes of just this block.
fn code<'a>(batch: &Batch<'a>, features: &Range<usize>) -> Option<impl Fn(usize) -> Option<usize> + 'a> {
    let Source::Mixed(x) = batch.source else { return None };
    let place = x.first().windows(2).position(|ends| (ends[0]..ends[1]) == *features)?;
    let (columns, samples) = (x.first().len() - 1, batch.samples);
    Some(move |row: usize| match x.codes()[samples.get(row) * columns + place] {
        syva_core::data::Mixed::NONE => None,
        code => Some(code as usize),
    })
}

/// Calls `with` with each category of a row that is on, and its value.
fn categories(
    batch: &Batch<'_>,
    row: usize,
    (features, all): (&Range<usize>, usize),
    mut with: impl FnMut(usize, f32),
) {
    let sample = batch.samples.get(row);
    let mut pass = |feature: usize, value: f32| {
        if value != 0.0 {
            with(feature - features.start, value);
        }
    };
    match batch.source {
        Source::Bytes(x) => features.clone().for_each(|k| pass(k, f32::from(x[sample * all + k]))),
        Source::Floats(x) => features.clone().for_each(|k| pass(k, x[sample * all + k])),
        Source::Mixed(x) => features.clone().for_each(|k| pass(k, x.get(sample, k))),
    }
}

/// The tensors that a number's block begins with.
fn number<'a>(tensors: &'a [Vec<f32>], placed: &Placed, numbers: Numbers, f: usize) -> Number<'a> {
    let Numbers { wave, functions: m, outputs } = numbers;
    let (p, [w, b, mix, offset]) = (outputs - 1, [0, 1, 2, 3].map(|n| &tensors[placed.tensor + n]));
    Number {
        wave,
        w: &w[f * m..][..m],
        b: &b[f * m..][..m],
        mix: &mix[f * m * p..][..m * p],
        offset: &offset[f * p..][..p],
    }
}

/// Embeds some rows of a batch, at most [`ROWS`]. Calls `store` with each output, the values of the rows before its factor,
/// and the factor.
pub(crate) fn embed_rows(
    (embedding, kernels): (&Embedding, &Kernels),
    weights: &Weights,
    batch: &Batch<'_>,
    rows: Range<usize>,
    mut store: impl FnMut(usize, &[f32], Option<f32>),
) {
    let all = weights.scale.len();
    let factors = embedding.scales().map(|place| &weights.embedding[place]);
    let mut store = |output: usize, values: &[f32]| store(output, values, factors.map(|factors| factors[output]));
    let mut x = [0.0; ROWS];
    let x = &mut x[..rows.len()];
    let normalised = |k: usize, x: &mut [f32]| {
        column(batch, rows.clone(), (k, all), x);
        let (scale, shift) = (weights.scale[k], weights.shift[k]);
        for x in x {
            *x = *x * scale + shift;
        }
    };
    for placed in embedding.placed() {
        let (features, outputs) = (placed.features.clone(), placed.outputs.clone());
        match placed.block {
            Block::Plain { .. } => {
                for (k, output) in features.zip(outputs) {
                    normalised(k, x);
                    store(output, x);
                }
            }
            Block::Periodic { .. } | Block::Piecewise { .. } => {
                let Some(numbers) = placed.block.numbers() else { continue };
                let each = numbers.outputs;
                let mut room = vec![0.0; rows.len() * (each - 1)];
                for (f, k) in features.enumerate() {
                    normalised(k, x);
                    let number = number(&weights.embedding, &placed, numbers, f);
                    kernels.embed(Embed::Forward { number, x, to: &mut room });
                    let first = outputs.start + f * each;
                    room.chunks_exact(rows.len()).enumerate().for_each(|(o, values)| store(first + o, values));
                    store(first + each - 1, x);
                }
            }
            Block::Category { size, .. } => {
                let vectors = &weights.embedding[placed.tensor];
                let mut sums = vec![0.0; rows.len() * size];
                let code = code(batch, &features);
                for (r, row) in rows.clone().enumerate() {
                    let mut add = |category: usize, value: f32| {
                        for (i, &v) in vectors[category * size..][..size].iter().enumerate() {
                            let sum = &mut sums[i * rows.len() + r];
                            *sum = syva_core::arithmetic::Number::fma(value, v, *sum);
                        }
                    };
                    match &code {
                        Some(code) => code(row).into_iter().for_each(|category| add(category, 1.0)),
                        None => categories(batch, row, (&features, all), add),
                    }
                }
                for (sums, output) in sums.chunks_exact_mut(rows.len()).zip(outputs) {
                    // Passing over a zero can only change the sign of a zero sum.
                    for sum in &mut *sums {
                        *sum += 0.0;
                    }
                    store(output, sums);
                }
            }
        }
    }
}

/// Where the outputs of some rows go, in panels.
pub(crate) struct Places<'a> {
    /// After their factors.
    pub(crate) inputs: Shared<'a, f32>,
    /// Before them. Of no values if nobody needs them.
    pub(crate) embedded: Shared<'a, f32>,
    /// Rows per panel.
    pub(crate) height: usize,
}

impl Places<'_> {
    /// Stores an output of some rows.
    ///
    /// # Safety
    /// Only the calling task uses these rows.
    pub(crate) unsafe fn store(
        &self,
        width: usize,
        (output, first): (usize, usize),
        values: &[f32],
        factor: Option<f32>,
    ) {
        let at = |r: usize| (output / width * self.height + first + r) * width + output % width;
        for (r, &value) in values.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                self.inputs.part(at(r), 1)[0] = factor.map_or(value, |factor| value * factor);
                if self.embedded.len() > 0 {
                    self.embedded.part(at(r), 1)[0] = value;
                }
            }
        }
    }
}

/// A tensor with what the optimiser remembers of it.
struct Learned<'a> {
    values: Shared<'a, f32>,
    slots: [Option<Shared<'a, f32>>; SLOTS],
}

impl Learned<'_> {
    /// Applies the rule to a part of the tensor.
    ///
    /// # Safety
    /// Only the calling task uses this part.
    unsafe fn apply(
        &self,
        (kernels, training): (&Kernels, &Training),
        scalars: &[f32; SCALARS],
        at: usize,
        gradient: &[f32],
    ) {
        // SAFETY: the caller's promise.
        let (weight, slots) = unsafe {
            let slots = self.slots.each_ref().map(|slot| match slot {
                Some(slot) => slot.part(at, gradient.len()),
                None => &mut [][..],
            });
            (self.values.part(at, gradient.len()), slots)
        };
        kernels.apply(&mut Applied { rule: training.optimizer.rule(), scalars, gradient, weight, slots });
    }
}

/// A sum over a batch: blocks of samples are chains, and their sums are a tree (rule 3). `add` adds the terms of a block.
fn summed(rows: usize, len: usize, mut add: impl FnMut(Range<usize>, &mut [f32])) -> Vec<f32> {
    let mut waiting: Vec<Vec<f32>> = Vec::new();
    let join = |waiting: &mut Vec<Vec<f32>>| {
        if let (Some(newer), Some(older)) = (waiting.pop(), waiting.last_mut()) {
            older.iter_mut().zip(newer).for_each(|(older, newer)| *older += newer);
        }
    };
    for block in 0..rows.div_ceil(BLOCK) {
        let mut sums = vec![0.0; len];
        add(block * BLOCK..rows.min((block + 1) * BLOCK), &mut sums);
        waiting.push(sums);
        (0..block.trailing_ones()).for_each(|_| join(&mut waiting));
    }
    while waiting.len() > 1 {
        join(&mut waiting);
    }
    waiting.pop().unwrap_or_else(|| vec![0.0; len])
}

/// A part of the update.
enum Task {
    /// A number: its block, how it is embedded, and its place in the block.
    Number(Placed, Numbers, usize),
    /// A column of categories.
    Category(Placed),
    /// The factors of a panel of outputs.
    Factors(usize),
}

/// Updates all that the embedding has learned, from the gradient by its outputs that a pass has left.
pub(crate) fn update(
    (embedding, training, kernels): (&Embedding, &Training, &Kernels),
    team: &mut Team,
    weights: &mut Weights,
    work: &Workspace,
    batch: &Batch<'_>,
    scalars: &StepScalars<'_>,
) {
    let (rows, width) = (batch.samples.len(), kernels.width());
    let mut tasks = Vec::new();
    for placed in embedding.placed() {
        match placed.block {
            Block::Plain { .. } => {}
            Block::Periodic { features, .. } | Block::Piecewise { features, .. } => {
                let Some(numbers) = placed.block.numbers() else { continue };
                tasks.extend((0..features).map(|f| Task::Number(placed.clone(), numbers, f)));
            }
            Block::Category { .. } => tasks.push(Task::Category(placed)),
        }
    }
    let scales = embedding.scales();
    if scales.is_some() {
        tasks.extend((0..embedding.outputs().div_ceil(width)).map(Task::Factors));
    }
    // What gradients are computed from, while it is updated.
    let before = weights.embedding.clone();
    let factors = scales.map(|place| &before[place][..]);
    let (scale, shift) = (&weights.scale, &weights.shift);
    let mut slots: Vec<[Option<Shared<'_, f32>>; SLOTS]> = vec![[None; SLOTS]; before.len()];
    for (n, slot) in weights.slots.iter_mut().enumerate() {
        for (t, tensor) in slot.embedding.iter_mut().enumerate() {
            slots[t][n] = Some(Shared::new(tensor));
        }
    }
    let tensors = weights.embedding.iter_mut().zip(slots);
    let learned: Vec<Learned<'_>> =
        tensors.map(|(values, slots)| Learned { values: Shared::new(values), slots }).collect();
    let apply = |tensor: usize, at: usize, gradient: &[f32]| {
        // SAFETY: each part of a tensor belongs to one task.
        unsafe { learned[tensor].apply((kernels, training), scalars.of_embedding(tensor), at, gradient) };
    };
    // The gradient by an output of a row, before its factor.
    let d = |row: usize, output: usize| {
        let d = at(&work.by_inputs, row, output, width);
        factors.map_or(d, |factors| d * factors[output])
    };
    let terms = rows * (embedding.parameters() + 64 * embedding.outputs());
    team.share(tasks.len(), terms, &|_, task| match &tasks[task] {
        Task::Number(placed, numbers, f) => {
            let Numbers { functions: m, outputs, .. } = *numbers;
            let (p, k, first) = (outputs - 1, placed.features.start + f, placed.outputs.start + f * outputs);
            let mut x = vec![0.0; BLOCK.min(rows)];
            let mut of_rows = vec![0.0; BLOCK.min(rows) * p];
            let number = number(&before, placed, *numbers, *f);
            let gradient = summed(rows, 2 * m + m * p + p, |samples, sums| {
                let x = &mut x[..samples.len()];
                column(batch, samples.clone(), (k, scale.len()), x);
                for x in &mut *x {
                    *x = *x * scale[k] + shift[k];
                }
                let of_rows = &mut of_rows[..samples.len() * p];
                for (row, to) in samples.zip(of_rows.chunks_exact_mut(p)) {
                    to.iter_mut().zip(first..).for_each(|(to, output)| *to = d(row, output));
                }
                let (w, rest) = sums.split_at_mut(m);
                let (b, rest) = rest.split_at_mut(m);
                let (mix, offset) = rest.split_at_mut(m * p);
                kernels.embed(Embed::Backward { number, x, d: of_rows, to: NumberGradient { w, b, mix, offset } });
            });
            apply(placed.tensor, f * m, &gradient[..m]);
            apply(placed.tensor + 1, f * m, &gradient[m..2 * m]);
            let by_mix = &gradient[2 * m..];
            let mix: Vec<f32> = (0..m * p).map(|i| by_mix[i % p * m + i / p]).collect();
            apply(placed.tensor + 2, f * m * p, &mix);
            apply(placed.tensor + 3, f * p, &by_mix[m * p..]);
        }
        Task::Category(placed) => {
            let Block::Category { features, size } = placed.block else { return };
            let code = code(batch, &placed.features);
            let gradient = summed(rows, features * size, |samples, sums| {
                for row in samples {
                    let mut add = |category: usize, value: f32| {
                        for (sum, output) in sums[category * size..][..size].iter_mut().zip(placed.outputs.clone()) {
                            *sum = syva_core::arithmetic::Number::fma(value, d(row, output), *sum);
                        }
                    };
                    match &code {
                        Some(code) => code(row).into_iter().for_each(|category| add(category, 1.0)),
                        None => categories(batch, row, (&placed.features, scale.len()), add),
                    }
                }
            });
            apply(placed.tensor, 0, &gradient);
        }
        Task::Factors(panel) => {
            let Some(tensor) = scales else { return };
            let count = width.min(embedding.outputs() - panel * width);
            let part = |panels: &'_ Panels, samples: &Range<usize>| {
                let from = panels.at(*panel) + samples.start * width;
                from..from + samples.len() * width
            };
            let gradient = summed(rows, width, |samples, to| {
                let (d, e) = (&work.by_inputs, &work.embedded);
                let (a, b) = (&d.as_slice()[part(d, &samples)], &e.as_slice()[part(e, &samples)]);
                kernels.embed(Embed::Products { a, b, to });
            });
            apply(tensor, panel * width, &gradient[..count]);
        }
    });
}

/// A value of a matrix.
#[inline(always)]
fn at(panels: &Panels, row: usize, column: usize, width: usize) -> f32 {
    panels.as_slice()[panels.at(column / width) + row * width + column % width]
}
