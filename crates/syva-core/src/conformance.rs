//! The conformance kit: holds any engine against the reference, bit by bit.
//!
//! An engine's tests call [`run`] for each of [`cases`]: awkward widths and batches, every activation, head, kind of
//! input and normalisation, ragged last batches. A case trains one step at a time, then the same steps in one span,
//! then evaluates, goes on from there or stops, predicts into poisoned memory, and compares every number by its bits.
//! [`mutants`] are engines that are wrong on purpose, each in one way that is easy to commit; a kit that passes one of
//! them is broken.

use crate::data::{Dataset, Inputs, Split, Targets};
use crate::engine::{DeviceId, DeviceInfo, Engine, Evaluation, Flow, Judged, Precision, Report, Session, Span};
use crate::random::{Random, Stream, permutation};
use crate::reference::{Network, Reference, ReferenceSession, mean};
use crate::spec::{Activation, Head, Normalization, Spec};
use crate::state::{Matrix, State};
use crate::{Error, Mlp, Result};

/// A network, data, and how to train it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is, for messages.
    pub name: String,
    /// The network.
    pub spec: Spec,
    /// Training data.
    pub train: Dataset,
    /// Validation data, of another size.
    pub validation: Dataset,
    /// Samples a batch.
    pub batch_size: usize,
    /// Seed of weights and order.
    pub seed: u32,
}

/// Kinds of inputs that the cases cycle through.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Mostly zero, 0 … 255, with MNIST's normalisation.
    Pixels,
    /// Reals with exact zeros of both signs, not normalised.
    Reals,
    /// Reals, a scale and shift for each feature.
    PerFeature,
}

/// Every case of the kit.
#[must_use]
pub fn cases() -> Vec<Case> {
    use Activation::{Identity, Relu, Sigmoid, Tanh};
    let shapes: [(&[usize], Activation); 10] = [
        (&[1, 1], Identity),
        (&[2, 3, 2], Relu),
        (&[3, 7, 10], Tanh),
        (&[10, 17, 63, 3], Sigmoid),
        (&[63, 10, 1, 2], Relu),
        (&[255, 63, 7], Sigmoid),
        (&[784, 17, 10], Sigmoid),
        (&[17, 255, 10], Tanh),
        (&[7, 3, 784, 2], Relu),
        (&[784, 63, 17, 10], Relu),
    ];
    let mut cases = Vec::new();
    for (i, &(widths, activation)) in shapes.iter().enumerate() {
        for (j, batch_size) in [1, 3, 96, 128].into_iter().enumerate() {
            let kind = [Kind::Pixels, Kind::Reals, Kind::PerFeature][(i + j) % 3];
            let head = match (widths[widths.len() - 1], (i + j) % 3) {
                (1, 0) => Head::Binary,
                (1, _) | (_, 0) => Head::Regression,
                (_, 1) => Head::LogSoftmax,
                _ => Head::Logits,
            };
            cases.push(case(widths, activation, head, kind, batch_size, (i * 10 + j) as u32));
        }
    }
    // Batches and weights larger than what engines work on at a time.
    let large: [(&[usize], Activation, Head, Kind, usize); 3] = [
        (&[784, 40, 10], Sigmoid, Head::Logits, Kind::Pixels, 300),
        (&[600, 5, 3], Tanh, Head::Regression, Kind::Reals, 530),
        (&[17, 300, 260, 10], Relu, Head::LogSoftmax, Kind::PerFeature, 70),
    ];
    for (i, (widths, activation, head, kind, batch_size)) in large.into_iter().enumerate() {
        cases.push(case(widths, activation, head, kind, batch_size, (1000 + i) as u32));
    }
    cases
}

/// Builds one case: data for two whole batches and a ragged one, drawn from `seed`.
fn case(widths: &[usize], activation: Activation, head: Head, kind: Kind, batch_size: usize, seed: u32) -> Case {
    let (features, outputs) = (widths[0], widths[widths.len() - 1]);
    let mlp = Mlp::new(features).hidden(&widths[1..widths.len() - 1], activation);
    let normalization = match kind {
        Kind::Pixels => Normalization::pixels(0.1307, 0.3081),
        Kind::Reals => Normalization::None,
        Kind::PerFeature => {
            let mut random = Random::new(seed, Stream::Augmentation, 2);
            let mut draw = || (0..features).map(|_| random.uniform(-1.0, 1.0)).collect();
            Normalization::PerFeature { scale: draw(), shift: draw() }
        }
    };
    let spec = match head {
        Head::Regression => mlp.values(outputs),
        Head::Binary => mlp.binary(),
        Head::Logits => mlp.classes(outputs),
        Head::LogSoftmax => Spec { head, ..mlp.classes(outputs) },
    };
    let spec = spec.normalized(normalization);
    let data = |samples, part| dataset(&spec, kind, samples, &mut Random::new(seed, Stream::Augmentation, part));
    let ragged = batch_size.div_ceil(2);
    Case {
        name: format!("{} {activation} {head} {kind:?} batch {batch_size} seed {seed}", spec.widths()),
        train: data(2 * batch_size + ragged, 0),
        validation: data(batch_size + 5, 1),
        spec,
        batch_size,
        seed,
    }
}

fn dataset(spec: &Spec, kind: Kind, samples: usize, random: &mut Random) -> Dataset {
    let count = samples * spec.input.features;
    let inputs = match kind {
        Kind::Pixels => {
            let mut pixel = || if random.below(5) == 0 { random.below(256) as u8 } else { 0 };
            Inputs::U8((0..count).map(|_| pixel()).collect::<Vec<_>>().into())
        }
        Kind::Reals | Kind::PerFeature => {
            let mut real = || match random.below(6) {
                0 => 0.0,
                1 => -0.0,
                _ => random.uniform(-2.0, 2.0),
            };
            Inputs::F32((0..count).map(|_| real()).collect::<Vec<_>>().into())
        }
    };
    let targets = match spec.classes() {
        0 => Targets::Values {
            values: (0..samples * spec.outputs()).map(|_| random.uniform(-1.0, 1.0)).collect(),
            outputs: spec.outputs(),
        },
        classes => {
            Targets::Classes { labels: (0..samples).map(|_| random.below(classes as u64) as u32).collect(), classes }
        }
    };
    Dataset::new(inputs, spec.input.features, targets).expect("the kit's data is well formed")
}

/// Runs a case on a device and on the reference. `Err` names the first number that differs.
pub fn run(engine: &dyn Engine, device: &DeviceId, case: &Case) -> std::result::Result<(), String> {
    let fail = |error: Error| format!("{}: {error}", case.name);
    let open = |engine: &dyn Engine| -> Result<Box<dyn Session>> {
        let mut session = engine.open(device, &case.spec)?;
        session.load(Split::Train, &case.train)?;
        session.load(Split::Validation, &case.validation)?;
        session.set_state(&State::initial(&case.spec, case.seed)?)?;
        Ok(session)
    };
    let mut reference = open(&Reference).map_err(fail)?;
    let mut single = open(engine).map_err(fail)?;
    let order = permutation(case.seed, 0, case.train.samples());
    let rates: Vec<f32> = order.chunks(case.batch_size).enumerate().map(|(i, _)| 0.1 / (i as f32 + 1.0)).collect();

    // One step at a time: the state and the report after each.
    for (step, samples) in order.chunks(case.batch_size).enumerate() {
        let span = Span {
            first_step: step as u64,
            order: samples,
            batch_size: case.batch_size,
            learning_rate: &rates[step..=step],
        };
        let wanted = reference.train(&span).map_err(fail)?;
        let found = single.train(&span).map_err(fail)?;
        let place = format!("{}: step {step}", case.name);
        same_report(&place, &wanted, &found)?;
        same_state(&place, &reference.state().map_err(fail)?, &single.state().map_err(fail)?)?;
    }

    // All steps in one span, on a fresh session; then the same session is used again from another state.
    let mut whole = open(engine).map_err(fail)?;
    let span = Span { first_step: 0, order: &order, batch_size: case.batch_size, learning_rate: &rates };
    for round in 1..=2 {
        whole.set_state(&State::initial(&case.spec, case.seed).map_err(fail)?).map_err(fail)?;
        whole.train(&span).map_err(fail)?;
        let place = format!("{}: one span, round {round}", case.name);
        same_state(&place, &reference.state().map_err(fail)?, &whole.state().map_err(fail)?)?;
    }

    for split in [Split::Train, Split::Validation] {
        let wanted = reference.evaluate(split).map_err(fail)?;
        let found = whole.evaluate(split).map_err(fail)?;
        same_evaluation(&format!("{}: evaluate {split:?}", case.name), &wanted, &found)?;
    }
    same_turns(case, &span, reference.as_mut(), whole.as_mut())?;
    same_predictions(case, reference.as_mut(), whole.as_mut()).map_err(|error| format!("{}: {error}", case.name))
}

/// How far an engine that is not exact was from the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// The largest difference of a weight or bias, in last places of the largest number of its matrix or vector: a
    /// number near 0 is the difference of larger ones, and no nearer to its true value than they.
    pub ulp: f64,
    /// The same difference as a share of the most that training changed in that matrix or vector; at most.
    pub share: f64,
    /// Steps that were taken.
    pub steps: usize,
}

/// Differences beyond this, in [`Deviation::ulp`], come from a defect, not from other roundings: 2⁻¹² of the largest.
pub const CLOSE: f64 = 4096.0;

/// The same for an engine that rounds factors to a [`Precision`], in [`Deviation::share`]: eight of its roundings (tf32:
/// 2⁻⁸, bf16: 2⁻⁵). A rounding changes a gradient by a share of it, and so what training changes, whatever the weights are.
#[must_use]
pub fn close_share(precision: Precision) -> f64 {
    8.0 * precision.roundoff()
}

/// The same for cases that are not [`smooth`]: 2⁻⁵ of the largest.
const CLOSE_WITH_KINKS: f64 = 524_288.0;

/// With rounded factors: as far as if nothing had been trained.
const CLOSE_SHARE_WITH_KINKS: f64 = 1.0;

/// Whether a case's gradient is continuous. With ReLU it is not: where a sum comes out a last place above or below 0, a
/// sample counts or does not, and two engines that are both right may part by much more than their roundings.
#[must_use]
pub fn smooth(case: &Case) -> bool {
    case.spec.layers.iter().all(|layer| layer.activation != Activation::Relu)
}

/// Rounds over a case's training data for [`measure`].
const ROUNDS: u64 = 4;

/// Runs a case on a device that only claims to be close, its factors rounded to `precision`, and on the reference: some
/// dozen steps, then an evaluation. `Err` says what is not even close: a weight, bias or loss that is not finite, or further
/// away than [`CLOSE`] (where the case is not [`smooth`], 2⁻⁵ of the largest); with a precision other than f32, further
/// than [`close_share`] (where it is not smooth, as far as if nothing had been trained).
pub fn measure(
    engine: &dyn Engine,
    device: &DeviceId,
    case: &Case,
    precision: Precision,
) -> std::result::Result<Deviation, String> {
    let fail = |error: Error| format!("{}: {error}", case.name);
    let initial = State::initial(&case.spec, case.seed).map_err(fail)?;
    let train = |engine: &dyn Engine| -> Result<(State, Evaluation)> {
        let mut session = engine.open(device, &case.spec)?;
        session.load(Split::Train, &case.train)?;
        session.load(Split::Validation, &case.validation)?;
        session.set_state(&initial)?;
        let mut first_step = 0;
        for round in 0..ROUNDS {
            let order = permutation(case.seed, round, case.train.samples());
            let learning_rate = vec![0.05; order.len().div_ceil(case.batch_size)];
            let span = Span { first_step, order: &order, batch_size: case.batch_size, learning_rate: &learning_rate };
            session.train(&span)?;
            first_step += span.steps() as u64;
        }
        Ok((session.state()?, session.evaluate(Split::Validation)?))
    };
    let (wanted, wanted_evaluation) = train(&Reference).map_err(fail)?;
    let (found, found_evaluation) = train(engine).map_err(fail)?;
    if wanted.step != found.step {
        return Err(format!("{}: at step {} instead of {}", case.name, found.step, wanted.step));
    }
    let mut deviation = Deviation { ulp: 0.0, share: 0.0, steps: wanted.step as usize };
    for (l, ((w, f), i)) in wanted.layers.iter().zip(&found.layers).zip(&initial.layers).enumerate() {
        let weights = (w.weight.values(), f.weight.values(), i.weight.values());
        for (what, (wanted, found, initial)) in [("weight", weights), ("bias", (&w.bias, &f.bias, &i.bias))] {
            let this = apart(wanted, found, initial);
            let close = match precision {
                Precision::F32 => this.ulp <= if smooth(case) { CLOSE } else { CLOSE_WITH_KINKS },
                _ if smooth(case) => this.share <= close_share(precision),
                _ => this.share < CLOSE_SHARE_WITH_KINKS,
            };
            if !close {
                let (ulp, share) = (this.ulp, 100.0 * this.share);
                return Err(format!(
                    "{}: layer {l} {what} is {ulp:.0} last places away, {share:.3} % of what training changed",
                    case.name
                ));
            }
            (deviation.ulp, deviation.share) = (deviation.ulp.max(this.ulp), deviation.share.max(this.share));
        }
    }
    let (w, f) = (wanted_evaluation.loss, found_evaluation.loss);
    let (apart, allowed) = ((w - f).abs(), f64::max(1e-3, 4.0 * precision.roundoff()));
    if apart.is_nan() || apart > allowed * (1.0 + w.abs()) {
        return Err(format!("{}: the validation loss is {f} instead of {w}", case.name));
    }
    Ok(deviation)
}

/// How far the numbers of a matrix are from those that are wanted, training having begun with `initial`. NaN where there
/// is one.
fn apart(wanted: &[f32], found: &[f32], initial: &[f32]) -> Deviation {
    let difference = largest_difference(wanted, found);
    let largest = wanted.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let place = f64::from(largest.next_up()) - f64::from(largest);
    let share = if difference == 0.0 { 0.0 } else { difference / largest_difference(wanted, initial) };
    Deviation { ulp: difference / place, share, steps: 0 }
}

/// The largest difference of two numbers at the same place; NaN where there is one.
fn largest_difference(wanted: &[f32], found: &[f32]) -> f64 {
    let pairs = wanted.iter().zip(found).map(|(w, f)| (f64::from(*w) - f64::from(*f)).abs());
    if wanted.len() == found.len() {
        pairs.fold(0.0, |worst, this| if worst.is_nan() || this <= worst { worst } else { this })
    } else {
        f64::NAN
    }
}

/// Judges and trains in one call, from one state to the next: when told to stop, when told to go on, and when that fails.
fn same_turns(
    case: &Case,
    span: &Span<'_>,
    reference: &mut dyn Session,
    session: &mut dyn Session,
) -> std::result::Result<(), String> {
    let fail = |error: Error| format!("{}: {error}", case.name);
    let failure = || Error::mismatch("nobody wants the span", "leave it");
    for (turn, flow) in [Ok(Flow::Stop), Ok(Flow::Continue), Err(())].into_iter().enumerate() {
        let place = format!("{}: turn {turn}", case.name);
        let before = reference.state().map_err(fail)?;
        let span = Span { first_step: before.step, ..*span };
        let wanted = reference.evaluate(Split::Validation).map_err(fail)?;
        let mut judged = None;
        let found = session.evaluate_then_train(Split::Validation, &span, &mut |evaluation, state| {
            judged = Some((evaluation, state()?));
            flow.map_err(|()| failure())
        });
        let (evaluation, state) = judged.ok_or_else(|| format!("{place}: nothing was judged"))?;
        same_evaluation(&place, &wanted, &evaluation)?;
        same_state(&format!("{place}, judged"), &before, &state)?;
        match (flow, found) {
            (Ok(Flow::Continue), Ok(Some(found))) => {
                same_report(&place, &reference.train(&span).map_err(fail)?, &found)?;
            }
            (Ok(Flow::Stop), Ok(None)) => {}
            (Err(()), Err(error)) if error.to_string() == failure().to_string() => {}
            (_, found) => return Err(format!("{place}: {found:?} when told {flow:?}")),
        }
        same_state(&place, &reference.state().map_err(fail)?, &session.state().map_err(fail)?)?;
    }
    Ok(())
}

/// Predicts 1, then 7 samples into memory poisoned with NaN.
fn same_predictions(
    case: &Case,
    reference: &mut dyn Session,
    session: &mut dyn Session,
) -> std::result::Result<(), String> {
    let features = case.spec.input.features;
    let poison = |rows| {
        let outputs = case.spec.outputs();
        Matrix::new(rows, outputs, vec![f32::from_bits(0x7fc0_dead); rows * outputs])
    };
    for rows in [1, 7] {
        let rows = rows.min(case.validation.samples());
        let values = (0..rows * features).map(|i| case.validation.inputs().get(i)).collect();
        let compute = |session: &mut dyn Session| -> Result<Matrix> {
            let inputs = Matrix::new(rows, features, Vec::clone(&values))?;
            let mut outputs = poison(rows)?;
            session.predict(&inputs, &mut outputs)?;
            Ok(outputs)
        };
        let wanted = compute(reference).map_err(|error| error.to_string())?;
        let found = compute(session).map_err(|error| error.to_string())?;
        same_bits(&format!("prediction of {rows}"), wanted.values(), found.values())?;
    }
    Ok(())
}

/// `Ok` when all bits agree and no value is NaN.
fn same_bits(place: &str, wanted: &[f32], found: &[f32]) -> std::result::Result<(), String> {
    if wanted.len() != found.len() {
        return Err(format!("{place}: {} values instead of {}", found.len(), wanted.len()));
    }
    for (i, (w, f)) in wanted.iter().zip(found).enumerate() {
        if w.to_bits() != f.to_bits() || f.is_nan() {
            return Err(format!(
                "{place}, value {i}: {f:?} ({:#x}) instead of {w:?} ({:#x})",
                f.to_bits(),
                w.to_bits()
            ));
        }
    }
    Ok(())
}

/// `Ok` when two states are equal to the bit.
pub fn same_state(place: &str, wanted: &State, found: &State) -> std::result::Result<(), String> {
    if wanted.step != found.step || wanted.layers.len() != found.layers.len() {
        return Err(format!("{place}: at step {} instead of {}", found.step, wanted.step));
    }
    for (l, (w, f)) in wanted.layers.iter().zip(&found.layers).enumerate() {
        same_bits(&format!("{place}, layer {l} weight"), w.weight.values(), f.weight.values())?;
        same_bits(&format!("{place}, layer {l} bias"), &w.bias, &f.bias)?;
    }
    Ok(())
}

fn same_report(place: &str, wanted: &Report, found: &Report) -> std::result::Result<(), String> {
    let bits = |report: &Report| report.losses.iter().map(|loss| loss.to_bits()).collect::<Vec<_>>();
    if bits(wanted) != bits(found) || wanted.losses.iter().any(|loss| loss.is_nan()) {
        return Err(format!("{place}: losses {:?} instead of {:?}", found.losses, wanted.losses));
    }
    let rest = |report: &Report| (report.hits.clone(), report.confusion.clone(), report.first_non_finite);
    if rest(wanted) != rest(found) {
        return Err(format!("{place}: {found:?} instead of {wanted:?}"));
    }
    Ok(())
}

fn same_evaluation(place: &str, wanted: &Evaluation, found: &Evaluation) -> std::result::Result<(), String> {
    if wanted.loss.to_bits() != found.loss.to_bits() || found.loss.is_nan() {
        return Err(format!("{place}: loss {:?} instead of {:?}", found.loss, wanted.loss));
    }
    if wanted.confusion != found.confusion {
        return Err(format!("{place}: {:?} instead of {:?}", found.confusion, wanted.confusion));
    }
    Ok(())
}

/// A way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Climbs instead of descending.
    FlippedSign,
    /// Updates a layer's weights before its input gradient is taken from them.
    UpdateBeforeInputGradient,
    /// Leaves one weight NaN.
    NotANumber,
    /// Sums over the batch in descending order.
    SwappedOrder,
    /// Leaves the last prediction unwritten.
    UnwrittenOutput,
    /// Begins a span before the state was judged, and hands out the state after it.
    JudgedTooLate,
    /// Begins a span before the state was judged, and does not take it back.
    NotTakenBack,
}

/// One wrong engine for each [`Fault`]. The kit must reject each on some case.
#[must_use]
pub fn mutants() -> Vec<Mutant> {
    use Fault::{
        FlippedSign, JudgedTooLate, NotANumber, NotTakenBack, SwappedOrder, UnwrittenOutput, UpdateBeforeInputGradient,
    };
    let steps = [FlippedSign, UpdateBeforeInputGradient, NotANumber, SwappedOrder, UnwrittenOutput];
    steps.into_iter().chain([JudgedTooLate, NotTakenBack]).map(Mutant).collect()
}

/// The reference with a [`Fault`].
#[derive(Clone, Copy, Debug)]
pub struct Mutant(pub Fault);

struct MutantSession {
    fault: Fault,
    spec: Spec,
    train: Option<Dataset>,
    inner: ReferenceSession,
}

impl Engine for Mutant {
    fn name(&self) -> &'static str {
        "mutant"
    }

    fn devices(&self) -> Vec<DeviceInfo> {
        Vec::new()
    }

    fn open(&self, _device: &DeviceId, spec: &Spec) -> Result<Box<dyn Session>> {
        let inner = ReferenceSession::new(spec)?;
        Ok(Box::new(MutantSession { fault: self.0, spec: spec.clone(), train: None, inner }))
    }
}

impl Session for MutantSession {
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()> {
        if split == Split::Train {
            self.train = Some(data.clone());
        }
        self.inner.load(split, data)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.inner.set_state(state)
    }

    fn state(&mut self) -> Result<State> {
        let mut state = self.inner.state()?;
        if self.fault == Fault::NotANumber {
            state.layers[0].weight.values_mut()[0] = f32::NAN;
        }
        Ok(state)
    }

    fn train(&mut self, span: &Span<'_>) -> Result<Report> {
        match self.fault {
            Fault::FlippedSign => {
                let learning_rate: Vec<f32> = span.learning_rate.iter().map(|rate| -rate).collect();
                self.inner.train(&Span { learning_rate: &learning_rate, ..*span })
            }
            Fault::SwappedOrder => {
                let order: Vec<u32> =
                    span.order.chunks(span.batch_size).flat_map(|b| b.iter().rev().copied()).collect();
                self.inner.train(&Span { order: &order, ..*span })
            }
            Fault::UpdateBeforeInputGradient => self.train_updating_early(span),
            _ => self.inner.train(span),
        }
    }

    fn evaluate(&mut self, split: Split) -> Result<Evaluation> {
        self.inner.evaluate(split)
    }

    fn evaluate_then_train(
        &mut self,
        split: Split,
        span: &Span<'_>,
        judged: &mut Judged<'_>,
    ) -> Result<Option<Report>> {
        let (evaluation, before) = (self.evaluate(split)?, self.state()?);
        let report = self.train(span)?;
        let fetched = if self.fault == Fault::JudgedTooLate { self.state()? } else { before.clone() };
        let flow = judged(evaluation, &mut || Ok(fetched.clone()));
        if !matches!(flow, Ok(Flow::Continue)) && self.fault != Fault::NotTakenBack {
            self.set_state(&before)?;
        }
        Ok((flow? == Flow::Continue).then_some(report))
    }

    fn predict(&mut self, inputs: &Matrix, outputs: &mut Matrix) -> Result<()> {
        let last = outputs.values().last().copied();
        self.inner.predict(inputs, outputs)?;
        if let (Fault::UnwrittenOutput, Some(old), Some(new)) = (self.fault, last, outputs.values_mut().last_mut()) {
            *new = old;
        }
        Ok(())
    }
}

impl MutantSession {
    /// A step in the wrong order: each layer is updated first, its input gradient taken afterwards.
    fn train_updating_early(&mut self, span: &Span<'_>) -> Result<Report> {
        let data = self.train.clone().expect("loaded");
        let before = self.inner.state()?;
        let report = self.inner.train(span)?;
        let mut network = Network::<f32>::new(&self.spec, &before);
        for (samples, learning_rate) in span.batches() {
            let features = data.features();
            let row = |&sample: &u32| sample as usize * features..(sample as usize + 1) * features;
            let x: Vec<f32> = samples.iter().flat_map(row).map(|i| data.inputs().get(i)).collect();
            let h = network.forward(&x);
            let judged = network.judge(&h[h.len() - 1], data.targets(), samples);
            debug_assert!(mean(&judged.losses).is_finite());
            let mut d = judged.d;
            for l in (0..h.len()).rev() {
                let gradient = network.weight_gradient(l, &d, if l == 0 { &x } else { &h[l - 1] });
                network.update(l, &gradient, learning_rate);
                if l > 0 {
                    d = network.input_gradient(l, &d, &h[l - 1]);
                }
            }
        }
        let wrong = State { step: before.step + span.steps() as u64, ..network.state() };
        self.inner.set_state(&wrong)?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceId {
        DeviceId { engine: "reference".into(), index: 0 }
    }

    #[test]
    fn the_reference_conforms_to_itself() {
        for case in cases().iter().filter(|case| case.spec.parameters() < 20_000) {
            run(&Reference, &device(), case).unwrap();
        }
    }

    #[test]
    fn what_is_close_is_told_from_what_is_wrong() {
        for case in cases().iter().filter(|case| case.batch_size == 96 && case.spec.parameters() < 20_000) {
            let of = |engine: &dyn Engine| measure(engine, &device(), case, Precision::F32);
            assert_eq!(of(&Reference).unwrap().ulp, 0.0);
            assert!(of(&Mutant(Fault::NotANumber)).is_err());
            // Another order of the same sums is what close means.
            assert!(of(&Mutant(Fault::SwappedOrder)).is_ok());
            let alive = case.spec.layers[0].activation != Activation::Relu || case.spec.layers[0].units > 10;
            if alive {
                assert!(of(&Mutant(Fault::FlippedSign)).is_err(), "{}", case.name);
            }
            // What is rounded is granted more, but not that.
            let rounded = |engine: &dyn Engine| measure(engine, &device(), case, Precision::Bf16);
            assert_eq!(rounded(&Reference).unwrap().share, 0.0);
            assert!(rounded(&Mutant(Fault::NotANumber)).is_err());
            assert!(!alive || rounded(&Mutant(Fault::FlippedSign)).is_err(), "{}", case.name);
        }
        let ulp = |wanted: &[f32], found: &[f32]| apart(wanted, found, &[0.0, 0.0]).ulp;
        assert!(ulp(&[1.0, 2.0], &[f32::NAN, 2.0]).is_nan() && ulp(&[1.0], &[]).is_nan());
        assert_eq!(ulp(&[-2.0, 1.0], &[-2.0, 1.0_f32.next_up()]), 0.5);
        assert_eq!(apart(&[4.0, 1.0], &[4.0, 1.5], &[2.0, 1.0]).share, 0.25);
        assert_eq!(apart(&[4.0, 1.0], &[4.0, 1.0], &[4.0, 1.0]).share, 0.0);
    }

    #[test]
    fn every_mutant_is_rejected_wherever_its_fault_can_show() {
        for mutant in mutants() {
            for case in cases().iter().filter(|case| case.spec.parameters() < 20_000) {
                let can_show = match mutant.0 {
                    // A sum of one or two terms has only one order, and a handful of sums may agree by chance.
                    Fault::SwappedOrder => case.batch_size > 3 && case.spec.parameters() > 20,
                    Fault::UpdateBeforeInputGradient => case.spec.layers.len() > 1,
                    _ => true,
                };
                // A network whose ReLUs are all dead has no gradient to get wrong.
                let alive = case.spec.layers[0].activation != Activation::Relu || case.spec.layers[0].units > 10;
                if can_show && alive {
                    assert!(run(&mutant, &device(), case).is_err(), "{:?} passed {}", mutant.0, case.name);
                }
            }
        }
    }
}
