//! Compares each kernel of each instruction set with a plain loop, bit by bit, over awkward shapes, between guard
//! words.
//!
//! Outputs lie in memory that is filled with a NaN that no computation produces. After the call, every word that is not
//! an output must still hold it. The tests have their own main, so that those of an instruction set that this processor
//! lacks are counted as ignored.

use libtest_mimic::{Arguments, Failed, Trial};
use syva_core::Activation;
use syva_core::arithmetic::Number;
use syva_core::data::Mixed;
use syva_core::ops::{Reads, Rule, SCALARS, SLOTS};
use syva_core::random::{Random, Stream};
use syva_cpu::buffer::{Shared, View};
use syva_cpu::isa::Isa;
use syva_cpu::kernels::{Applied, Block, Factor, Finish, Fold, Init, Kernels, Place, Product, Scaling, SparseProduct};
use syva_cpu::memory::{Samples, Source};
use syva_cpu::sparse::{COLUMNS, ListBy, Lists};

type Test = fn(&Kernels, &mut Random) -> Result<(), Failed>;

const TESTS: [(&str, Test); 8] = [
    ("product", product),
    ("sparse product", sparse_product),
    ("start of the next step", start),
    ("lists", lists),
    ("scale", scale),
    ("transpose", transpose),
    ("activations and derivatives", elementwise),
    ("optimisers' rules", rules),
];

fn main() {
    let arguments = Arguments::from_args();
    let seed = std::env::var("SYVA_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut trials = Vec::new();
    for isa in Isa::ALL {
        for (name, test) in TESTS {
            let missing = isa.available().is_err();
            let note = if missing { " (needs a processor that has it)" } else { "" };
            let run = move || {
                test(&Kernels::new(isa)?, &mut Random::new(seed, Stream::Augmentation, 0))
                    .map_err(|failed| format!("seed {seed}: {}", failed.message().unwrap_or_default()).into())
            };
            trials.push(Trial::test(format!("{isa}, {name}, seed {seed}{note}"), run).with_ignored_flag(missing));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// A NaN that no computation produces.
const GUARD: u32 = 0x7fed_cba9;

/// Guard words before and behind an output.
const MARGIN: usize = 40;

fn guarded(words: usize) -> Vec<f32> {
    vec![f32::from_bits(GUARD); MARGIN + words + MARGIN]
}

/// Checks that two slices hold the same bits, including the guards.
fn same(place: &str, found: &[f32], wanted: &[f32]) -> Result<(), Failed> {
    match found.iter().zip(wanted).position(|(f, w)| f.to_bits() != w.to_bits()) {
        None if found.len() == wanted.len() => Ok(()),
        None => Err(format!("{place}: {} words instead of {}", found.len(), wanted.len()).into()),
        Some(at) => Err(format!("{place}: word {at} is {:?} instead of {:?}", found[at], wanted[at]).into()),
    }
}

fn draw(random: &mut Random, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.uniform(-1.0, 1.0)).collect()
}

/// The value that a kernel leaves for `sum` in row i, column j, if `old` was there before.
fn finished(finish: &Finish<'_>, sum: f32, i: usize, j: usize, old: f32) -> f32 {
    match *finish {
        Finish::Store => sum,
        Finish::StorePositiveZero => sum + 0.0,
        Finish::Fold(fold) => fold.shift[i].fma(fold.bias_gradient[j], sum) + 0.0,
        Finish::Descend { learning_rate, fold } => {
            let gradient = fold.map_or(sum, |fold| fold.shift[i].fma(fold.bias_gradient[j], sum) + 0.0);
            (-learning_rate).fma(gradient, old)
        }
    }
}

/// Every epilogue.
fn finishes<'a>(shift: &'a [f32], bias: &'a [f32]) -> [Finish<'a>; 5] {
    let descend = |fold| Finish::Descend { learning_rate: 0.3, fold };
    let fold = Fold { shift, bias_gradient: bias, start: None };
    [Finish::Store, Finish::StorePositiveZero, descend(None), descend(Some(fold)), Finish::Fold(fold)]
}

fn product(kernels: &Kernels, random: &mut Random) -> Result<(), Failed> {
    let width = kernels.width();
    for rows in [1, 2, 3, 5, 7, 8, 9, 13, 16, 31, 64, 70] {
        // The last two are of several blocks of terms.
        for depth in [0_usize, 1, 2, 31, 32, 33, 70, 257, 600] {
            for columns in [16, width] {
                for by_rows in [true, false] {
                    // a by rows, panel after panel, and a transposed, as the weight gradient reads it.
                    let (row, term, panel) =
                        if by_rows { (width, 1, rows * width + 16) } else { (1, width, width * width) };
                    if !by_rows && rows > width && depth > 1 || rows > 16 && depth > 70 && columns < width {
                        continue;
                    }
                    let at = |i: usize, p: usize| p / width * panel + p % width * term + i * row;
                    let a = draw(random, depth.div_ceil(width) * panel + rows * row);
                    let (b, init) = (draw(random, depth * width), draw(random, columns));
                    let (shift, bias) = (draw(random, rows), draw(random, columns));
                    let given = [draw(random, rows * width), draw(random, rows * width)];
                    let inits = [None, Some(&init[..]), None, None, None];
                    for (n, (finish, init)) in finishes(&shift, &bias).into_iter().zip(inits).enumerate() {
                        // Sums of earlier blocks: none, the place of the outputs, or one or two others.
                        let others = &given[..[1, 0, 0, 2, 1][n]];
                        let in_place = n == 0;
                        let mut found = guarded(rows * width);
                        if in_place || matches!(finish, Finish::Descend { .. }) {
                            for i in 0..rows {
                                found[MARGIN + i * width..][..columns].copy_from_slice(&draw(random, columns));
                            }
                        }
                        let mut wanted = found.clone();
                        for i in 0..rows {
                            for j in 0..columns {
                                let mut sum = init.map_or(0.0, |init| init[j]);
                                for p in 0..depth {
                                    let a = a[at(i, p)];
                                    sum = a.fma(b[p * width + j], sum);
                                }
                                let to = MARGIN + i * width + j;
                                let here = in_place.then_some(wanted[to]);
                                let others = others.iter().map(|sums| sums[i * width + j]);
                                sum = here.into_iter().chain(others).fold(sum, |sum, earlier| earlier + sum);
                                wanted[to] = finished(&finish, sum, i, j, wanted[to]);
                            }
                        }
                        let values = View::from(&a[..]);
                        let c = Shared::new(&mut found);
                        let mut earlier: Vec<_> = in_place.then(|| c.view(MARGIN)).into_iter().collect();
                        earlier.extend(others.iter().map(|sums| View::from(&sums[..])));
                        let product = Product {
                            rows,
                            columns,
                            depth,
                            a: if by_rows { Factor::Rows { values, panel } } else { Factor::Columns(values) },
                            b: &b,
                            init,
                            earlier: &earlier,
                            c,
                            c_at: MARGIN,
                            finish,
                        };
                        // SAFETY: nothing else refers to c while the kernel runs.
                        unsafe { kernels.product(&product) };
                        same(&format!("{rows} by {columns}, depth {depth}"), &found, &wanted)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// A matrix in which four of five values are zero.
fn mostly_zero(random: &mut Random, count: usize) -> Vec<f32> {
    (0..count).map(|_| if random.below(5) == 0 { random.uniform(-1.0, 1.0) } else { 0.0 }).collect()
}

/// Lists a whole matrix.
fn listed(kernels: &Kernels, x: &[f32], features: usize, scale: &[f32]) -> [Lists; 2] {
    let samples = Samples::From { first: 0, count: x.len() / features };
    let block = Block { features, first: 0, scale, samples, next: None };
    [ListBy::Sample, ListBy::Feature].map(|by| {
        let mut lists = Lists::default();
        kernels.list(Source::Floats(x), &block, by, &mut lists);
        lists
    })
}

fn sparse_product(kernels: &Kernels, random: &mut Random) -> Result<(), Failed> {
    let width = kernels.width();
    for rows in [1, 2, 3, 16, 33] {
        for depth in [1, 17, 96] {
            for columns in [16_usize, 32, 48, 80, 96, 128, 144] {
                let a = mostly_zero(random, rows * depth);
                let [lists, _] = listed(kernels, &a, depth, &vec![1.0; depth]);
                let across = columns.div_ceil(width);
                let (b_panel, c_panel) = (depth * width + 48, rows * width + 16);
                let (b, init) = (draw(random, across * b_panel), draw(random, columns));
                let (shift, bias) = (draw(random, rows), draw(random, columns));
                for (n, finish) in finishes(&shift, &bias).into_iter().enumerate() {
                    // All rows, or all but the first pair.
                    let first = if rows > 2 { n % 2 * 2 } else { 0 };
                    let at = |i: usize, j: usize| MARGIN + j / width * c_panel + i * width + j % width;
                    let mut found = guarded(across * c_panel);
                    for i in 0..rows - first {
                        (0..columns).for_each(|j| found[at(i, j)] = random.uniform(-1.0, 1.0));
                    }
                    let (starts, mut wanted) = (found.clone(), found.clone());
                    // Sums of earlier blocks: none, the place of the outputs, or one or two others.
                    let mut given = [starts.clone(), starts.clone()];
                    (0..given[0].len())
                        .for_each(|i| given.iter_mut().for_each(|sums| sums[i] = random.uniform(-1.0, 1.0)));
                    let others = [1, 0, 0, 2, 1][n];
                    for i in 0..rows - first {
                        for j in 0..columns {
                            let mut sum = [0.0, init[j], starts[at(i, j)], 0.0, 0.0][n];
                            for p in 0..depth {
                                let b = b[j / width * b_panel + p * width + j % width];
                                sum = a[(first + i) * depth + p].fma(b, sum);
                            }
                            let here = (n == 0).then_some(&starts);
                            for earlier in here.into_iter().chain(&given[..others]) {
                                sum += earlier[at(i, j)];
                            }
                            wanted[at(i, j)] = finished(&finish, sum, i, j, starts[at(i, j)]);
                        }
                    }
                    let c = Place { values: Shared::new(&mut found), at: MARGIN, panel: c_panel };
                    let init = [Init::Zero, Init::Row(&init), Init::Sums(c), Init::Zero, Init::Zero][n];
                    let mut earlier = if n == 0 { vec![c] } else { Vec::new() };
                    for sums in &mut given[..others] {
                        earlier.push(Place { values: Shared::new(sums), ..c });
                    }
                    let rows = (first, rows - first);
                    let earlier = &earlier[..];
                    let product = SparseProduct { a: &lists, rows, columns, b: &b, b_panel, init, earlier, c, finish };
                    // SAFETY: nothing else refers to c while the kernel runs.
                    unsafe { kernels.sparse_product(&product) };
                    // The sign of a zero sum may differ if zeros were passed over. Rule 5 settles it with `+ 0`.
                    let settle =
                        |values: &[f32]| values.iter().map(|&v| if v == 0.0 { 0.0 } else { v }).collect::<Vec<_>>();
                    same(&format!("{rows:?} by {columns}, depth {depth}"), &settle(&found), &settle(&wanted))?;
                }
            }
        }
    }
    Ok(())
}

/// The initial sums that an update leaves for the next step: one sum per column over the new weights, row after row,
/// dense and by lists.
fn start(kernels: &Kernels, random: &mut Random) -> Result<(), Failed> {
    let width = kernels.width();
    for rows in [1, 2, 3, 8, 13, 16] {
        for columns in [16, width] {
            let depth = 5;
            // Rows of x, and the same rows as the first columns of a panel.
            let x = draw(random, depth * rows);
            let mut panel = draw(random, depth * width);
            panel.chunks_exact_mut(width).zip(x.chunks_exact(rows)).for_each(|(to, x)| to[..rows].copy_from_slice(x));
            let (d, shift, bias_gradient) = (draw(random, depth * width), draw(random, rows), draw(random, columns));
            let (weights, bias) = (draw(random, rows * width), draw(random, columns));
            let mut wanted = guarded(columns);
            wanted[MARGIN..MARGIN + columns].copy_from_slice(&bias);
            let mut found = [wanted.clone(), wanted.clone()];
            for i in 0..rows {
                for j in 0..columns {
                    let sum = (0..depth).fold(0.0, |sum, p| x[p * rows + i].fma(d[p * width + j], sum));
                    let gradient = shift[i].fma(bias_gradient[j], sum) + 0.0;
                    let w = (-0.3_f32).fma(gradient, weights[i * width + j]);
                    wanted[MARGIN + j] = shift[i].fma(w, wanted[MARGIN + j]);
                }
            }
            for (by_lists, found) in found.iter_mut().enumerate() {
                let mut w = weights.clone();
                let start = Some(Shared::new(&mut found[MARGIN..MARGIN + columns]));
                let fold = Some(Fold { shift: &shift, bias_gradient: &bias_gradient, start });
                let finish = Finish::Descend { learning_rate: 0.3, fold };
                let c = Shared::new(&mut w);
                // SAFETY: nothing else refers to the weights or the start.
                unsafe {
                    if by_lists == 1 {
                        let [_, lists] = listed(kernels, &x, rows, &vec![1.0; rows]);
                        let c = Place { values: c, at: 0, panel: 0 };
                        kernels.sparse_product(&SparseProduct {
                            a: &lists,
                            rows: (0, rows),
                            columns,
                            b: &d,
                            b_panel: 0,
                            init: Init::Zero,
                            earlier: &[],
                            c,
                            finish,
                        });
                    } else {
                        kernels.product(&Product {
                            rows,
                            columns,
                            depth,
                            a: Factor::Columns(View::from(&panel[..])),
                            b: &d,
                            init: None,
                            earlier: &[],
                            c,
                            c_at: 0,
                            finish,
                        });
                    }
                }
                same(&format!("{rows} by {columns}, by lists: {by_lists}"), found, &wanted)?;
            }
        }
    }
    Ok(())
}

fn lists(kernels: &Kernels, random: &mut Random) -> Result<(), Failed> {
    for samples in [1, 2, 7, 16, 33, 127, COLUMNS] {
        for features in [1, 5, 16, 50, COLUMNS] {
            let x = mostly_zero(random, samples * features);
            let scale = draw(random, features);
            let [by_sample, by_feature] = listed(kernels, &x, features, &scale);
            let value = |b: usize, k: usize| x[b * features + k] * scale[k];
            check_lists(&by_sample, samples, features, &value)?;
            check_lists(&by_feature, features, samples, &|k, b| value(b, k))?;
        }
    }
    Ok(())
}

/// Compares each pair's list with the values of its two rows.
fn check_lists(lists: &Lists, rows: usize, columns: usize, value: &dyn Fn(usize, usize) -> f32) -> Result<(), Failed> {
    for pair in 0..rows.div_ceil(2) {
        let both = |j| [0, 1].map(|i| if 2 * pair + i < rows { value(2 * pair + i, j) } else { 0.0 });
        let wanted: Vec<_> = (0..columns).map(|j| (both(j), j as u32)).filter(|(v, _)| *v != [0.0; 2]).collect();
        let ([even, odd], numbers) = lists.pair(pair);
        let found: Vec<_> = numbers.iter().enumerate().map(|(n, &j)| ([even[n], odd[n]], j)).collect();
        if lists.rows() != rows || found != wanted {
            return Err(format!("{rows} by {columns}, pair {pair}: {found:?} instead of {wanted:?}").into());
        }
    }
    Ok(())
}

fn scale(kernels: &Kernels, random: &mut Random) -> Result<(), Failed> {
    let width = kernels.width();
    for (features, first, count) in [(1, 0, 1), (32, 0, 32), (50, 32, 18), (784, 64, 32), (784, 3, 100)] {
        let bytes: Vec<u8> = (0..9 * features).map(|_| random.below(256) as u8).collect();
        let floats = draw(random, 9 * features);
        let (scale, order) = (draw(random, count), [8, 0, 3, 3, 5]);
        let samples = Samples::These(&order);
        let x = |source: Source<'_>, at: usize| match source {
            Source::Bytes(x) => f32::from(x[at]),
            Source::Floats(x) => x[at],
            Source::Mixed(x) => x.get(at / features, at % features),
        };
        // The first features are numbers, the others are categories of one column.
        let numbers = features.div_ceil(2);
        let codes = (0..9).map(|i| if features > numbers { (i * 7) % (features - numbers) as u32 } else { 0 });
        let (categories, codes) =
            if features > numbers { (vec![features - numbers], codes.collect()) } else { (Vec::new(), Vec::new()) };
        let mixed = Mixed::new(numbers, draw(random, 9 * numbers), &categories, codes).unwrap();
        let panel = (order.len() + 1) * width;
        for source in [Source::Bytes(&bytes), Source::Floats(&floats), Source::Mixed(&mixed)] {
            let mut found = guarded(count.div_ceil(width) * panel);
            let mut wanted = found.clone();
            for (i, &sample) in order.iter().enumerate() {
                for k in 0..count {
                    let scaled = x(source, sample as usize * features + first + k) * scale[k];
                    // The zeros of categories that are off have no sign.
                    let scaled = if matches!(source, Source::Mixed(_)) { scaled + 0.0 } else { scaled };
                    wanted[MARGIN + k / width * panel + i * width + k % width] = scaled;
                }
                // The values in the last panel's other columns do not matter.
                for k in count..count.next_multiple_of(width) {
                    let at = MARGIN + k / width * panel + i * width + k % width;
                    (wanted[at], found[at]) = (0.0, 0.0);
                }
            }
            let block = Block { features, first, scale: &scale, samples, next: Some(samples) };
            let s = &mut found[MARGIN..MARGIN + count.div_ceil(width) * panel];
            kernels.scale(source, &mut Scaling { block, s, panel });
            same(&format!("{count} of {features} features"), &found, &wanted)?;
        }
    }
    Ok(())
}

fn transpose(kernels: &Kernels, random: &mut Random) -> Result<(), Failed> {
    let width = kernels.width();
    let from = draw(random, width * width);
    let mut found = guarded(width * width);
    let mut wanted = found.clone();
    for i in 0..width {
        (0..width).for_each(|j| wanted[MARGIN + j * width + i] = from[i * width + j]);
    }
    kernels.transpose(&from, &mut found[MARGIN..MARGIN + width * width]);
    same(&format!("{width} by {width}"), &found, &wanted)
}

fn rules(kernels: &Kernels, random: &mut Random) -> Result<(), Failed> {
    for &rule in Rule::ALL {
        for len in [0, 1, 3, 15, 16, 33, 100] {
            let place = format!("{rule:?} of {len}");
            let mut scalars: [f32; SCALARS] = std::array::from_fn(|_| random.uniform(0.0, 1.0));
            scalars[2] = -scalars[2];
            let gradient = draw(random, len);
            let inside = MARGIN..MARGIN + len;
            let mut found = vec![guarded(len); 1 + SLOTS];
            for (n, values) in found.iter_mut().enumerate().take(1 + rule.slots().len()) {
                // Squares are not negative, and no smaller than the square of a mean.
                let low = if n == 0 { -1.0 } else { 0.5 };
                (0..len).for_each(|i| values[MARGIN + i] = random.uniform(low, 1.0));
            }
            let mut wanted = found.clone();
            for i in 0..len {
                let old = |n: usize| if n < rule.slots().len() { wanted[1 + n][MARGIN + i] } else { 0.0 };
                let (w, slots) = rule.apply(scalars, gradient[i], wanted[0][MARGIN + i], std::array::from_fn(old));
                wanted[0][MARGIN + i] = w;
                for (n, slot) in slots.into_iter().enumerate().take(rule.slots().len()) {
                    wanted[1 + n][MARGIN + i] = slot;
                }
            }
            let [weight, a, b, c] = &mut found[..] else { return Err("four arrays".into()) };
            let mut left = rule.slots().len();
            let slots = [a, b, c].map(|slot| {
                left = left.wrapping_sub(1);
                if left < SLOTS { &mut slot[inside.clone()] } else { &mut [][..] }
            });
            let weight = &mut weight[inside.clone()];
            kernels.apply(&mut Applied { rule, scalars: &scalars, gradient: &gradient, weight, slots });
            for (n, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                same(&format!("{place}, array {n}"), found, wanted)?;
            }
        }
    }
    Ok(())
}

fn elementwise(kernels: &Kernels, random: &mut Random) -> Result<(), Failed> {
    for &activation in Activation::ALL {
        for len in [0, 1, 3, 15, 16, 33, 100] {
            let z: Vec<f32> = (0..len).map(|_| random.uniform(-20.0, 20.0)).collect();
            let gradient = draw(random, len);
            let mut found = guarded(len);
            let mut wanted = found.clone();
            let inside = MARGIN..MARGIN + len;
            found[inside.clone()].copy_from_slice(&z);
            (0..len).for_each(|i| wanted[MARGIN + i] = activation.forward(z[i]));
            kernels.forward(activation, &mut found[inside.clone()]);
            same(&format!("{activation} of {len}"), &found, &wanted)?;
            let read = match activation.reads() {
                Reads::H => found[inside.clone()].to_vec(),
                Reads::Z => z.clone(),
            };
            found[inside.clone()].copy_from_slice(&gradient);
            (0..len).for_each(|i| wanted[MARGIN + i] = activation.backward(read[i], gradient[i]));
            kernels.backward(activation, &read, &mut found[inside]);
            same(&format!("derivative of {activation} of {len}"), &found, &wanted)?;
        }
    }
    Ok(())
}
