//! Compares the engine with rounded factors with a plain computation, which rounds factors as documented and does
//! everything else in f64 or by the reference.
//!
//! Bits cannot be compared. The engine adds in f32, in an order of its own, so that sums differ in their last places.
//! Such a sum may then be rounded as a factor of the next product. If it lies close to a rounding boundary, that factor
//! differs by a whole rounding step. All this is small beside the effect of a wrong index, which mixes unrelated
//! values.

use libtest_mimic::Failed;
use syva_core::conformance::{Case, cases, learned_cases, measure, same_state, smooth};
use syva_core::data::{Dataset, Inputs, Split, Targets};
use syva_core::ops::Reads;
use syva_core::random::{Random, Stream, permutation};
use syva_core::reference::{Network, mean, read_outputs};
use syva_core::{
    Activation, Engine, Matrix, Mlp, Normalization, Parameters, Precision, Span, Spec, State, Training, Weighting,
};
use syva_cuda::CudaEngine;

use super::{Outcome, card, digits_case, open, said};

/// The environment variable with the precision of a scenario.
pub const PRECISION: &str = "SYVA_EMULATED_PRECISION";

fn precision() -> Result<Precision, Failed> {
    Ok(std::env::var(PRECISION)?.parse()?)
}

fn engine() -> Result<CudaEngine, Failed> {
    Ok(CudaEngine::new().precision(precision()?))
}

/// Rounds to the nearest number with the precision's bits of mantissa. Ties go away from zero for tf32, to even for
/// bf16.
fn rounded(precision: Precision, value: f32) -> f64 {
    let x = f64::from(value);
    if x == 0.0 || precision == Precision::F32 {
        return x;
    }
    let place = 2.0_f64.powi(x.abs().log2().floor().max(-126.0) as i32 - precision.mantissa_bits());
    let places = x / place;
    place * if precision == Precision::Tf32 { places.round() } else { places.round_ties_even() }
}

/// A plain implementation of a network whose products have rounded factors.
struct Plain {
    spec: Spec,
    state: State,
    precision: Precision,
}

impl Plain {
    fn new(case: &Case, precision: Precision) -> Result<Self, Failed> {
        Ok(Self { spec: case.spec.clone(), state: State::initial(&case.spec, &case.training)?, precision })
    }

    /// The precision to which the factors of a layer's products are rounded.
    fn of(&self, l: usize) -> Precision {
        let small_head = l > 0 && l + 1 == self.spec.layers.len() && self.spec.layers[l].units <= 32;
        if small_head { Precision::F32 } else { self.precision }
    }

    fn rounded(&self, l: usize, values: &[f32]) -> Vec<f64> {
        values.iter().map(|&value| rounded(self.of(l), value)).collect()
    }

    /// The scaled inputs, which the first layer multiplies.
    fn scaled(&self, x: &[f32]) -> Vec<f32> {
        let features = self.spec.input.features;
        x.iter().enumerate().map(|(i, x)| x * self.spec.input.normalization.of(i % features).0).collect()
    }

    fn shift(&self, l: usize, k: usize) -> f64 {
        if l == 0 { f64::from(self.spec.input.normalization.of(k).1) } else { 0.0 }
    }

    /// The activations of every layer for raw inputs.
    fn forward(&self, x: &[f32]) -> Vec<Vec<f32>> {
        let mut below = self.scaled(x);
        let mut h = Vec::new();
        for (l, Parameters { weight, bias, .. }) in self.state.layers.iter().enumerate() {
            let (a, w) = (self.rounded(l, &below), self.rounded(l, weight.values()));
            let fan_in = weight.columns();
            below = Vec::new();
            for a in a.chunks(fan_in) {
                for (j, w_j) in w.chunks(fan_in).enumerate() {
                    let shifted = weight.row(j).iter().enumerate().map(|(k, w)| self.shift(l, k) * f64::from(*w));
                    let products = a.iter().zip(w_j).map(|(a, w)| a * w);
                    let z = f64::from(bias[j]) + shifted.sum::<f64>() + products.sum::<f64>();
                    below.push(self.spec.layers[l].activation.forward(z as f32));
                }
            }
            h.push(below.clone());
        }
        h
    }

    /// Takes one step. Returns its loss.
    fn step(&mut self, x: &[f32], targets: &Targets, samples: &[u32], learning_rate: f64) -> f64 {
        let h = self.forward(x);
        let last = h.len() - 1;
        let network = Network::<f32>::new(&self.spec, &Training::default(), &self.state);
        let judged = network.judge(&h[last], targets, samples, &Weighting::default());
        let mut d = judged.d;
        let before = self.state.clone();
        for l in (0..=last).rev() {
            let below = if l == 0 { self.scaled(x) } else { h[l - 1].clone() };
            self.descend(l, &d, &below, learning_rate);
            if l > 0 {
                let weight = &before.layers[l].weight;
                let (fan_in, units) = (weight.columns(), weight.rows());
                let (d_of, w) = (self.rounded(l, &d), self.rounded(l, weight.values()));
                let activation = self.spec.layers[l - 1].activation;
                d = Vec::new();
                for (b, d_b) in d_of.chunks(units).enumerate() {
                    for k in 0..fan_in {
                        let dx: f64 = d_b.iter().enumerate().map(|(j, d)| d * w[j * fan_in + k]).sum();
                        // By `of_h`, all derivatives read h.
                        d.push(activation.backward(below[b * fan_in + k], dx as f32));
                    }
                }
            }
        }
        self.state.step += 1;
        mean(&judged.losses)
    }

    /// Updates a layer's weights from `d` and its inputs, and its biases from a `d` that is not rounded.
    fn descend(&mut self, l: usize, d: &[f32], below: &[f32], learning_rate: f64) {
        let (d_of, a) = (self.rounded(l, d), self.rounded(l, below));
        let shifts: Vec<f64> = (0..self.spec.fan_in(l)).map(|k| self.shift(l, k)).collect();
        let Parameters { weight, bias, .. } = &mut self.state.layers[l];
        let (fan_in, units) = (weight.columns(), weight.rows());
        for (j, bias) in bias.iter_mut().enumerate() {
            let total: f64 = d.iter().skip(j).step_by(units).map(|d| f64::from(*d)).sum();
            for (k, w) in weight.row_mut(j).iter_mut().enumerate() {
                let products = d_of.iter().skip(j).step_by(units).zip(a.iter().skip(k).step_by(fan_in));
                let g = products.map(|(d, a)| d * a).sum::<f64>() + shifts[k] * total;
                *w = (f64::from(*w) - learning_rate * g) as f32;
            }
            *bias = (f64::from(*bias) - learning_rate * total) as f32;
        }
    }
}

/// The larger of two differences. NaN counts as the largest.
fn further(a: f64, b: f64) -> f64 {
    if a.is_nan() || b <= a { a } else { b }
}

/// The largest difference of two vectors, as a share of the largest number of the first.
fn apart(wanted: impl IntoIterator<Item = f64>, found: impl IntoIterator<Item = f64>) -> f64 {
    let (mut difference, mut largest) = (0.0_f64, f64::MIN_POSITIVE);
    for (w, f) in wanted.into_iter().zip(found) {
        difference = further(difference, (w - f).abs());
        largest = largest.max(w.abs());
    }
    difference / largest
}

/// The changes of a step in a layer: those of the weights, then those of the biases.
fn changes(before: &Parameters, after: &Parameters) -> [Vec<f64>; 2] {
    let change = |before: &[f32], after: &[f32]| {
        before.iter().zip(after).map(|(b, a)| f64::from(*a) - f64::from(*b)).collect::<Vec<f64>>()
    };
    [change(before.weight.values(), after.weight.values()), change(&before.bias, &after.bias)]
}

fn raw(data: &Dataset, samples: impl Iterator<Item = usize>) -> Vec<f32> {
    let features = data.features();
    samples.flat_map(|sample| sample * features..(sample + 1) * features).map(|i| data.inputs().get(i)).collect()
}

/// The distance of a case from the plain computation, for its outputs and for a step, each as a share of its largest
/// number. The step is so large that the last places of the weights do not matter. It has fewer samples than a step
/// before it. That one leaves values behind that must not matter either: in rows beyond the batch, and in the padding.
fn one_step(case: &Case, plain: Precision) -> Result<f64, Failed> {
    const LEARNING_RATES: [f32; 2] = [0.5, 64.0];
    let mut session = open(&engine()?, case)?;
    let mut plain = Plain::new(case, plain)?;
    let before = plain.state.clone();

    let rows = case.validation.samples().min(40);
    let inputs = raw(&case.validation, 0..rows);
    let mut outputs = Matrix::zeros(rows, case.spec.outputs());
    session.predict(&inputs.clone().into(), &mut outputs)?;
    let mut wanted = plain.forward(&inputs).pop().expect("there are layers");
    for z in wanted.chunks_mut(case.spec.outputs()) {
        read_outputs(case.spec.head, z);
    }
    let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
    let mut worst = apart(wide(&wanted), wide(outputs.values()));

    let order = permutation(case.training.seed, 0, case.train.samples());
    let order = &order[..case.training.batch_size + case.training.batch_size.div_ceil(2)];
    let span = Span {
        first_step: 0,
        order,
        batch_size: case.training.batch_size,
        learning_rate: &LEARNING_RATES,
        ..Span::default()
    };
    let losses = session.train(&span)?.losses;
    for ((samples, rate), loss) in span.batches().zip(losses) {
        let x = raw(&case.train, samples.iter().map(|&sample| sample as usize));
        let wanted = plain.step(&x, case.train.targets(), samples, f64::from(rate.learning_rate));
        worst = further(worst, apart([wanted], [loss]));
    }
    for ((before, wanted), found) in before.layers.iter().zip(&plain.state.layers).zip(&session.state()?.layers) {
        for (wanted, found) in changes(before, wanted).into_iter().zip(changes(before, found)) {
            worst = further(worst, apart(wanted, found));
        }
    }
    Ok(worst)
}

/// The largest distance of a case: half of a rounding of a factor to bf16.
const CLOSE: f64 = 1.0 / 512.0;

/// Half of the cases must be nearer than this. This is so near that factors which are not rounded, or rounded
/// differently, are detected.
const HALF: f64 = 1.0 / 8192.0;

/// Compares one step of each case with the plain computation.
fn check(cases: impl IntoIterator<Item = Case>) -> Outcome {
    let (mut all, mut unrounded) = (Vec::new(), Vec::new());
    for case in cases {
        let worst = one_step(&case, precision()?)?;
        if worst.is_nan() || worst > CLOSE {
            return Err(format!("{} (seed {}): off by {worst:.1e}", case.name, case.training.seed).into());
        }
        all.push(worst);
        unrounded.push(one_step(&case, Precision::F32)?);
    }
    let [all, unrounded] = [all, unrounded].map(|mut values| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    });
    println!("half of the cases are off by {all:.1e} or less; from what is not rounded, by {unrounded:.1e} or more");
    if all <= HALF && HALF <= unrounded {
        return Ok(());
    }
    Err(format!("half of the cases are off by {all:.1e}, from what is not rounded by {unrounded:.1e}").into())
}

/// Whether all derivatives read h, which is all that [`Plain`] keeps.
fn of_h(case: &Case) -> bool {
    case.spec.layers.iter().all(|layer| layer.activation.reads() == Reads::H)
}

/// One step of every case of the kit, but for those whose derivatives read z.
pub fn steps() -> Outcome {
    check(cases().into_iter().filter(of_h))
}

/// Networks, batches and data of all sizes.
pub fn shapes() -> Outcome {
    check((0..12).map(random_case).collect::<Result<Vec<_>, _>>()?)
}

/// The check of `syva devices --check`.
pub fn close() -> Outcome {
    let (engine, mut most) = (engine()?, 0.0_f64);
    // What is rounded is soon far away with an optimiser that divides by small means.
    let learned = learned_cases().into_iter().filter(|case| case.training.optimizer == Training::default().optimizer);
    for case in cases().into_iter().chain(learned) {
        let deviation = measure(&engine, &card(), &case, precision()?)?;
        if smooth(&case) {
            most = most.max(deviation.share);
        }
    }
    println!("off by {most:.1e} of what training changed, at most");
    Ok(())
}

/// The chapter's network on 2000 digits: after 16 steps, the result is close to that of f32.
pub fn trains() -> Outcome {
    let case = digits_case(&[256, 128], 2000, 128)?;
    let train = |engine: &dyn Engine| -> Result<(State, f64), Failed> {
        let mut session = open(engine, &case)?;
        let order = permutation(1, 0, 2000);
        let span = Span { first_step: 0, order: &order, batch_size: 128, learning_rate: &[0.1; 16], ..Span::default() };
        session.train(&span)?;
        Ok((session.state()?, session.evaluate(Split::Validation)?.loss))
    };
    let initial = State::initial(&case.spec, &case.training)?;
    let ((wanted, wanted_loss), (found, found_loss)) = (train(&CudaEngine::new())?, train(&engine()?)?);
    let numbers = |state: &State| -> Vec<f64> {
        let all = state.layers.iter().flat_map(|layer| layer.weight.values().iter().chain(&layer.bias));
        all.map(|&value| f64::from(value)).collect()
    };
    let norm = |a: &State, b: &[f64]| numbers(a).iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let (apart, wanted_numbers) = (norm(&found, &numbers(&wanted)), numbers(&wanted));
    let relative = apart / norm(&wanted, &vec![0.0; wanted_numbers.len()]);
    let share = apart / norm(&initial, &wanted_numbers);
    println!(
        "weights differ by {relative:.1e}, {share:.1e} of what training changed; val loss {found_loss:.6} instead of {wanted_loss:.6}"
    );
    let roundoff = precision()?.roundoff();
    if apart > 0.0 && share <= roundoff && (found_loss - wanted_loss).abs() <= roundoff {
        return Ok(());
    }
    Err(format!("a share of {share:.1e}, loss {found_loss} instead of {wanted_loss}").into())
}

/// Cards without tf32 refuse it, and still work in f32.
pub fn too_old() -> Outcome {
    let spec = Mlp::new(2).classes(2);
    let rounding = CudaEngine::new().precision(Precision::Tf32);
    said(
        rounding.open(&card(), &spec, &Training::default()).err(),
        "tf32 (sm_80 or later) on cuda (sm_75) is not supported",
    )?;
    let detail = &rounding.devices()[0].detail;
    if !detail.contains("too old for tf32") {
        return Err(format!("it is listed as: {detail}").into());
    }
    CudaEngine::new().open(&card(), &spec, &Training::default())?;
    Ok(())
}

fn random_case(seed: u32) -> Result<Case, Failed> {
    let mut random = Random::new(seed, Stream::Augmentation, 77);
    let mut below = |n: usize| random.below(n as u64) as usize;
    let features = 1 + below(300);
    let hidden: Vec<usize> = (0..below(3)).map(|_| 1 + below(200)).collect();
    let (outputs, batch_size, bytes) = (1 + below(60), 1 + below(200), below(2) == 0);
    let samples = batch_size * 2 + below(20);
    let mut uniform = |n: usize| (0..n).map(|_| random.uniform(-1.0, 1.0)).collect::<Vec<f32>>();
    let mut data = |samples: usize| -> Result<Dataset, Failed> {
        let values = uniform(samples * features);
        let inputs = if bytes {
            Inputs::U8(values.iter().map(|v| (v * 255.0).max(0.0) as u8).collect::<Vec<_>>().into())
        } else {
            Inputs::F32(values.into())
        };
        Ok(Dataset::new(inputs, features, Targets::Values { values: uniform(samples * outputs).into(), outputs })?)
    };
    let (train, validation) = (data(samples)?, data(1 + samples / 2)?);
    let spec = Mlp::new(features).hidden(&hidden, Activation::Tanh).values(outputs);
    let spec = if bytes { spec.normalized(Normalization::pixels(0.25, 0.3)) } else { spec };
    let name = format!("{} {}, batch {batch_size}", spec.widths(), if bytes { "bytes" } else { "reals" });
    let training = Training { batch_size, seed, ..Training::default() };
    Ok(Case { name, spec, training, train, validation })
}

/// A bound on the norm that is never reached changes nothing, but its gradients are stored: by kernels of their own, with the
/// same factors rounded in the same way.
pub fn stores() -> Outcome {
    for (widths, samples, batch) in [(&[40, 30][..], 300, 96), (&[140], 290, 140), (&[], 100, 7)] {
        let mut case = digits_case(widths, samples, batch)?;
        let train = |case: &Case| -> Result<State, Failed> {
            let mut session = open(&engine()?, case)?;
            let (order, rates) = (permutation(1, 0, samples), vec![0.1; samples.div_ceil(batch)]);
            let span =
                Span { first_step: 0, order: &order, batch_size: batch, learning_rate: &rates, ..Span::default() };
            session.train(&span)?;
            Ok(session.state()?)
        };
        let wanted = train(&case)?;
        case.training.clip_norm = 1e9;
        same_state(&format!("{widths:?}, batch {batch}"), &wanted, &train(&case)?)?;
    }
    Ok(())
}
