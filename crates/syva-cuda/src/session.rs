//! The engine's session. Weights and data stay on the card, and a span of steps runs there without the host.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use syva_core::data::{Dataset, Inputs, Split};
use syva_core::engine::{Flow, Judged, one_after_the_other};
use syva_core::ops::{Dropout, Judging};
use syva_core::reference::{check_prediction, loaded, no_gradient, read_outputs};
use syva_core::{
    Breakdown, Error, Evaluation, Factors, Groups, Matrix, Parameters, Part, Precision, Report, Result, Session, Span,
    Spec, State, Weighting,
};

use crate::card::{Card, human};
use crate::kernels::{Data, Queue, Stored, Varying};
use crate::loaded::{Loaded, Place, Window};
use crate::memory::{
    LayerMemory, Network, Passes, Progress, Samples, SpanMemory, Weights, Workspace, address, fetch, get, like_weights,
    row_stride, upload,
};
use crate::method::{self, Methods};
use crate::plan::{PAD, Plan, Way, padded};
use crate::profile;
use crate::step::{Goal, Pass, Recorded, judge};

/// Memory that the activations of an evaluation may take, roughly.
const EVALUATION_BYTES: usize = 256 << 20;
/// The most samples per batch of an evaluation.
const MOST_EVALUATED: usize = 8192;

/// A session on a card. After an error it has no weights until the next `set_state`: the card may hold anything then.
pub(crate) struct CudaSession {
    spec: Spec,
    precision: Precision,
    card: Arc<Card>,
    network: Network,
    /// Steps that the weights have taken. `None` while there are no weights.
    step: Option<u64>,
    train: Option<Loaded>,
    validation: Option<Loaded>,
    /// What is computed of the outputs.
    judging: Judging,
    /// How the network is trained.
    settings: syva_core::Training,
    groups: Groups,
    /// What the training data weighs.
    weighting: Weighting,
    training: Option<Training>,
    evaluation: Option<(Workspace, SpanMemory)>,
    /// Memory for a copy of the evaluated weights, which can be fetched while steps change the weights themselves.
    judged: Option<Weights>,
}

/// What a training keeps from span to span.
struct Training {
    plan: Plan,
    /// Room for exactly one batch: its capacity is the batch size.
    work: Workspace,
    span: SpanMemory,
    methods: Methods,
    recorded: Option<Recorded>,
}

/// All that a span needs to begin before the host has seen the results of the evaluation before it.
struct Ahead {
    /// Steps that the weights have taken.
    before: u64,
    evaluation: (Workspace, SpanMemory),
    training: Training,
    /// Memory for a copy of the weights that are evaluated.
    weights: Weights,
}

impl CudaSession {
    pub(crate) fn new(
        spec: &Spec,
        training: &syva_core::Training,
        card: Arc<Card>,
        precision: Precision,
    ) -> Result<Self> {
        let judging = training.check(spec)?;
        training.validate()?;
        let groups = Groups::new(spec, training);
        // The update that computes the first layer's initial sums needs inputs that are not changed at random. It also knows no
        // gains.
        let learns = spec.layers.iter().any(|layer| layer.gains() > 0);
        let plain = groups.are_plain_descent() && !training.perturbs_inputs() && !learns;
        let stores = training.stores_gradients() || !plain;
        let (needed, free) = (Weights::bytes(spec, training, stores), card.free()?);
        if needed > free {
            let (needed, free) = (human(needed), human(free));
            let what = format!("a network whose weights need {needed} of the card's memory, of which {free} are free,");
            return Err(Error::Unsupported { what, remedy: "use narrower layers, or --device cpu".into() });
        }
        // A forced method that cannot be used is reported before anything begins.
        let plain = !stores && training.dropout == 0.0;
        method::check(spec, plain, &Plan::new(spec, 1, card.processors, precision), &card)?;
        let network = Network::new(spec, training, stores, &card)?;
        Ok(Self {
            spec: spec.clone(),
            precision,
            card,
            network,
            step: None,
            train: None,
            validation: None,
            judging,
            settings: training.clone(),
            groups,
            weighting: Weighting::default(),
            training: None,
            evaluation: None,
            judged: None,
        })
    }

    fn plan(&self, batch: usize) -> Plan {
        Plan::new(&self.spec, batch, self.card.processors, self.precision)
    }

    fn drops(&self) -> bool {
        self.settings.dropout > 0.0
    }

    /// Whether steps are no more than plain gradient descent.
    fn is_plain(&self) -> bool {
        self.network.gradient().is_none() && !self.drops()
    }

    fn weights_step(&self) -> Result<u64> {
        self.step.ok_or_else(|| Error::mismatch("the session has no weights", "call set_state first"))
    }

    /// The kernels of steps, with the buffers that they work on.
    ///
    /// # Safety
    /// The buffers passed in must live until the stream has been waited for.
    unsafe fn pass<'a>(
        &'a self,
        plan: &'a Plan,
        (work, span): (&Workspace, &SpanMemory),
        data: (Data, Stored),
        batch: usize,
        goal: Goal<'a>,
    ) -> Pass<'a> {
        let (card, stream) = (&*self.card, &self.card.stream);
        let (network, last) = (&self.network, self.spec.layers.len() - 1);
        let layers = |of: &[LayerMemory]| (0..=last).map(|l| Network::layer(&self.spec, of, work, l, card)).collect();
        let weights = match goal {
            Goal::Train | Goal::Gradient(_) => network.weights.trained(),
            Goal::Judge | Goal::Predict => network.weights.predicting(),
        };
        let gradient = match goal {
            Goal::Train => network.gradient(),
            Goal::Gradient(to) => Some(to),
            Goal::Judge | Goal::Predict => None,
        };
        let varying = span.of_steps(card).map_or(0, |(_, varying)| varying);
        let dropped = if matches!(goal, Goal::Train) && self.drops() { 0..last } else { 0..0 };
        Pass {
            card,
            // SAFETY: `memory.rs` makes buffers of the sizes that `plan.rs` states. The caller promises that the
            // buffers live long enough, and the session keeps its weights until it has waited for the stream.
            queue: unsafe { Queue::new(stream) },
            plan,
            layers: layers(weights),
            gradients: gradient.map(layers).unwrap_or_default(),
            learned: (0..=last).map(|l| Network::learned(&self.spec, (weights, gradient), work, l, card)).collect(),
            first: Network::first_layer(&self.spec, weights, card),
            perturbed: Network::perturbed(&self.spec, work, varying, &self.settings, card),
            update: network.update(span, card).filter(|_| matches!(goal, Goal::Train)),
            dropped: dropped
                .map(|l| Network::dropped(&self.spec, work, l, (varying, self.settings.seed), card))
                .collect(),
            data,
            outcome: span.outcome(card),
            judge: judge(&self.spec, self.judging, goal, span.factors.as_ref().map_or(0, |it| address(it, stream))),
            progress: address(&span.progress, stream),
            learning_rates: address(&span.learning_rates, stream),
            tickets: address(&self.network.tickets, stream),
            batch,
            goal,
        }
    }

    /// Makes room for a span. A recorded graph remains valid as long as no buffer moves.
    fn prepare(&mut self, span: &Span<'_>) -> Result<Training> {
        self.card.enter()?;
        let (samples, steps) = (span.order.len(), span.steps());
        let batch = self.batch(span)?;
        let mut training = if let Some(kept) = self.training.take().filter(|kept| kept.work.capacity == batch) {
            kept
        } else {
            let plan = self.plan(batch);
            let passes = Passes::Random { drops: self.drops(), perturbs: self.settings.perturbs_inputs() };
            Training {
                methods: Methods::new(&self.spec, self.is_plain(), &plan, &self.card)?,
                plan,
                work: Workspace::new(&self.spec, batch, passes, &self.card)?,
                span: self.span_memory(samples, steps)?,
                recorded: None,
            }
        };
        if !training.span.holds(samples, steps) {
            training.recorded = None;
            training.span = self.span_memory(samples, steps)?;
        }
        self.put_span(span, batch, &mut training.span)?;
        Ok(training)
    }

    fn span_memory(&self, samples: usize, steps: usize) -> Result<SpanMemory> {
        let tensors = (!self.is_plain()).then_some(Part::ALL.len() * self.spec.layers.len());
        SpanMemory::new(samples, steps, !self.weighting.is_even(), tensors, &self.card)
    }

    /// Puts on the card what the steps of a span need.
    fn put_span(&self, span: &Span<'_>, batch: usize, memory: &mut SpanMemory) -> Result<()> {
        let (samples, steps) = (span.order.len(), span.steps());
        memory.begin(&Progress { steps: steps as u32, batch: batch as u32, samples: samples as u32 }, &self.card)?;
        upload(span.order, &mut memory.order, &self.card)?;
        if self.is_plain() && self.settings.lr_factors == Factors::default() {
            upload(span.learning_rate, &mut memory.learning_rates, &self.card)?;
        } else {
            let (rates, scalars, varying) = self.of_steps(span);
            upload(&rates, &mut memory.learning_rates, &self.card)?;
            memory.put_steps(&scalars, &varying, &self.card)?;
        }
        if let Some(to) = &mut memory.factors {
            let of = |(samples, _)| self.weighting.factors::<f32>(self.judging, self.spec.outputs(), samples);
            let factors: Vec<f32> = span.batches().filter_map(of).flatten().collect();
            upload(&factors, to, &self.card)?;
        }
        Ok(())
    }

    /// The learning rate of each step, as plain gradient descent takes it. Otherwise also the rule's scalars for each layer's
    /// weights, biases and gains, and what else differs from step to step.
    fn of_steps(&self, span: &Span<'_>) -> (Vec<f32>, Vec<f32>, Vec<Varying>) {
        let (mut rates, mut scalars, mut varying) = (Vec::new(), Vec::new(), Vec::new());
        let plain = self.is_plain();
        for (step, (_, of_step)) in (span.first_step..).zip(span.batches()) {
            let of = self.groups.scalars(step, &of_step);
            // The third scalar is the step, downwards.
            rates.push(-of.of(0, Part::Weights)[2]);
            if plain {
                continue;
            }
            for l in 0..self.spec.layers.len() {
                scalars.extend(Part::ALL.into_iter().flat_map(|part| of.of(l, part)));
            }
            // Dropout with probability 0 multiplies by 1.
            let dropout = |of: Option<Dropout>| of.map_or((0, 1.0), |dropout| (dropout.threshold, dropout.scale));
            let random = self.settings.perturbation_in(step, &of_step);
            let ((threshold, scale), (input_threshold, input_scale)) = (dropout(random.hidden), dropout(random.inputs));
            varying.push(Varying {
                threshold,
                scale,
                input_threshold,
                input_scale,
                step: [step as u32, (step >> 32) as u32],
                share: self.settings.average_share(step),
            });
        }
        (rates, scalars, varying)
    }

    /// Computes the first layer's initial sums, from weights that a step's update has not computed them from.
    fn start(&self, of: &[LayerMemory]) -> Result<()> {
        let layer = Network::first_layer(&self.spec, of, &self.card);
        // Sums of shifts are f32 in all kernels, so any of them will do. This one is loaded for the steps anyway.
        let kernels = self.card.layers(Way::of(1, 1, usize::MAX, self.precision))?;
        // SAFETY: the weights live as long as the session, which waits for the stream before it drops them.
        let queue = unsafe { Queue::new(&self.card.stream) };
        let started = kernels.start(&queue, &layer, &self.network.normalization(&self.card));
        started.map_err(|error| self.card.failure(error))
    }

    /// The same for the average of the weights, before it predicts.
    fn start_average(&self) -> Result<()> {
        self.network.weights.average().map_or(Ok(()), |average| self.start(average))
    }

    /// The batch size that room is made for. It stays the same for a span that consists of a smaller last batch only.
    ///
    /// A span may take samples more than once, so a batch can be larger than the data set.
    fn batch(&self, span: &Span<'_>) -> Result<usize> {
        let samples = loaded(self.train.as_ref())?.data.samples();
        Ok(span.batch_size.min(samples.max(span.order.len())))
    }

    /// Checks that a span can be trained now. Returns the steps taken before it.
    fn check(&self, span: &Span<'_>) -> Result<u64> {
        let Loaded { data, place } = loaded(self.train.as_ref())?;
        let before = self.weights_step()?;
        span.check(data.samples(), before)?;
        let batch = self.batch(span)?;
        if let Place::Streamed(windows) = place
            && windows[0].rows < batch
        {
            let problem = format!("a batch of {batch} samples does not fit on the card beside the network");
            return Err(Error::resource("batch-size", problem, format!("use {} or less", windows[0].rows)));
        }
        Ok(before)
    }

    /// Puts the steps of a span on the stream. The weights count as unknown until the steps are known to have
    /// succeeded.
    fn launch(&mut self, training: Training, span: &Span<'_>) -> Result<()> {
        self.launch_by(training, |session, training, loaded| match &mut loaded.place {
            Place::Resident(samples) => session.train_resident(training, samples, span.steps()),
            Place::Streamed(windows) => session.train_streamed(training, &loaded.data, windows, span),
        })
    }

    fn launch_by<T>(
        &mut self,
        mut training: Training,
        launch: impl FnOnce(&Self, &mut Training, &mut Loaded) -> Result<T>,
    ) -> Result<T> {
        let mut loaded = self.train.take().expect("was checked");
        self.step = None;
        let launched = launch(self, &mut training, &mut loaded);
        self.train = Some(loaded);
        self.training = Some(training);
        launched
    }

    /// Waits for the steps that were launched, and makes their report.
    fn collect(&mut self, launched: Result<()>, span: &Span<'_>, before: u64) -> Result<Report> {
        let training = self.training.as_ref().expect("was launched");
        let fetched = launched.and_then(|()| training.span.fetch(span.order.len(), &self.card.stream, &self.card));
        let (losses, guesses, halted) = fetched?;
        let taken = span.steps().min(halted as usize);
        let first_non_finite = (taken < span.steps()).then_some(taken);
        let mut report = Report { tally: self.spec.tally(), first_non_finite, ..Report::default() };
        let targets = loaded(self.train.as_ref())?.data.targets();
        let rows = losses.chunks(span.batch_size).zip(guesses.chunks(span.batch_size));
        for ((losses, guesses), (samples, _)) in rows.zip(span.batches()).take(taken) {
            report.losses.push(self.weighting.mean(losses, samples));
            if report.tally.classes() > 0 {
                let pairs = samples.iter().zip(guesses).map(|(&sample, &guess)| (sample as usize, guess as usize));
                report.hits.push(report.tally.count(targets, pairs));
            }
        }
        self.step = Some(before + taken as u64);
        Ok(report)
    }

    /// Room to evaluate and to train at once, with a copy of the weights. `None` if data passes through windows, if
    /// memory is scarce, or if anything else fails: the plain path then meets the same failure and reports it.
    fn room_ahead(&mut self, split: Split, span: &Span<'_>) -> Option<Ahead> {
        // Taken out of `self`, so that its memory is freed if there is no room.
        let kept = self.judged.take();
        let before = self.check(span).ok()?;
        let Loaded { data, place: Place::Resident(_) } = self.data_set(split).as_ref()? else { return None };
        let samples = data.samples();
        let resident = matches!(self.train.as_ref()?.place, Place::Resident(_));
        if !resident || span.order.is_empty() {
            return None;
        }
        let weights = match kept {
            Some(weights) => weights,
            None if Weights::bytes(&self.spec, &self.settings, false) <= self.card.free().ok()? / 4 => {
                Weights::new(&self.spec, &self.settings, &self.card).ok()?
            }
            None => return None,
        };
        let evaluation = self.evaluation_memory(samples).ok()?;
        // This sends the span's order to the card. It has to happen before anything is launched, because a copy from
        // memory that is not page-locked may wait for the stream.
        let training = self.prepare(span).ok()?;
        Some(Ahead { before, evaluation, training, weights })
    }

    /// Undoes the steps of a span: puts the copied weights back.
    fn take_back(&mut self, weights: &Weights, before: u64) -> Result<()> {
        self.step = None;
        self.network.weights.copy_from(weights, &self.card)?;
        self.card.stream.synchronize().map_err(|error| self.card.failure(error))?;
        self.step = Some(before);
        Ok(())
    }

    /// A resident data set, in the order of a span.
    fn in_order(&self, samples: &Samples, span: &SpanMemory) -> (Data, Stored) {
        let (data, stored) = samples.data(self.network.normalization(&self.card), &self.card);
        (Data { order: address(&span.order, &self.card.stream), ..data }, stored)
    }

    /// Runs all steps of a span on a resident data set.
    fn train_resident(&self, training: &mut Training, samples: &Samples, steps: usize) -> Result<()> {
        let Training { plan, work, span, methods, recorded } = training;
        let data = self.in_order(samples, span);
        // SAFETY: the session keeps the training and the samples, and waits for the stream before it drops any of them.
        // The graph refers to the present buffers, and is dropped before any of them: see `prepare` and `load`.
        let pass = unsafe { self.pass(plan, (work, span), data, work.capacity, Goal::Train) };
        methods.take(steps, (&self.spec, plan, &self.card), &mut |method, steps| pass.take(method, steps, recorded))
    }

    /// Runs all steps of a span on data that passes through the card's windows. While steps run on one window, the
    /// other is filled.
    fn train_streamed(
        &self,
        training: &mut Training,
        data: &Dataset,
        windows: &mut [Window; 2],
        span: &Span<'_>,
    ) -> Result<()> {
        let batch = training.work.capacity;
        let each = windows[0].rows / batch;
        for (turn, first) in (0..span.steps()).step_by(each).enumerate() {
            let steps = first..span.steps().min(first + each);
            let order = &span.order[first * batch..span.order.len().min(steps.end * batch)];
            let samples = order.iter().map(|&sample| sample as usize);
            let samples = windows[turn % 2].fill(data, samples, self.network.normalization(&self.card), &self.card)?;
            training.span.set_window(first as u32, &self.card)?;
            let Training { plan, work, span, .. } = &*training;
            // SAFETY: the session keeps the training and the windows, and waits for the stream before it drops any of
            // them.
            let pass = unsafe { self.pass(plan, (work, span), samples, work.capacity, Goal::Train) };
            pass.launch(steps.start as u32..steps.end as u32)?;
            windows[turn % 2].leave(&self.card)?;
        }
        Ok(())
    }

    /// Room for evaluations and predictions, in batches that fit the card's free memory.
    fn evaluation_memory(&mut self, samples: usize) -> Result<(Workspace, SpanMemory)> {
        self.card.enter()?;
        // A sample needs its activations and the last layer's gradient.
        let values: usize = self.spec.layers.iter().map(|layer| padded(layer.units)).sum();
        let row = 4 * (values + padded(self.spec.outputs()));
        let most = samples.min(MOST_EVALUATED);
        let kept = self.evaluation.take().filter(|(work, span)| {
            (work.capacity >= most || work.capacity >= EVALUATION_BYTES / row) && span.holds(samples, 1)
        });
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let batch = most.min((EVALUATION_BYTES.min(self.card.free()? / 4) / row).max(PAD));
        let work = Workspace::new(&self.spec, batch, Passes::Forward, &self.card)?;
        Ok((work, SpanMemory::new(samples, 1, false, None, &self.card)?))
    }

    fn data_set(&mut self, split: Split) -> &mut Option<Loaded> {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
        }
    }

    /// Puts the evaluation of a data set on the stream. Returns the data set.
    fn launch_evaluation(&mut self, split: Split, (work, mut span): (Workspace, SpanMemory)) -> Result<Dataset> {
        let mut loaded = self.data_set(split).take().expect("was there when room was made for it");
        let launched = self.judge_all(&mut loaded, &work, &mut span);
        let data = loaded.data.clone();
        *self.data_set(split) = Some(loaded);
        self.evaluation = Some((work, span));
        launched.map(|()| data)
    }

    /// Waits on a stream for the evaluation that was launched, and returns its results.
    fn collect_evaluation(&self, data: &Dataset, stream: &Arc<CudaStream>) -> Result<Evaluation> {
        let (_, span) = self.evaluation.as_ref().expect("was launched");
        let (losses, guesses, _) = span.fetch(data.samples(), stream, &self.card)?;
        let mut confusion = self.spec.confusion();
        confusion.tally(data.targets(), guesses.iter().enumerate().map(|(sample, &guess)| (sample, guess as usize)));
        let weighting = Weighting::of_evaluation(data);
        Ok(Evaluation { loss: weighting.add(0.0, &losses, 0) / weighting.total(data.samples()), confusion })
    }

    /// Puts the evaluation of all samples on the stream, in the order in which they are stored.
    fn judge_all(&self, loaded: &mut Loaded, work: &Workspace, span: &mut SpanMemory) -> Result<()> {
        let samples = loaded.data.samples();
        let resident = matches!(loaded.place, Place::Resident(_));
        let batch = match &loaded.place {
            Place::Streamed(windows) => work.capacity.min(windows[0].rows),
            Place::Resident(_) => work.capacity,
        };
        self.start_average()?;
        let steps = samples.div_ceil(batch);
        let progress = Progress { steps: steps as u32, batch: batch as u32, samples: samples as u32 };
        span.begin(&progress, &self.card)?;
        let plan = self.plan(batch);
        let each = if resident { steps } else { 1 };
        for (turn, first) in (0..steps).step_by(each).enumerate() {
            let last = steps.min(first + each);
            let seen = match &mut loaded.place {
                Place::Resident(samples) => samples.data(self.network.normalization(&self.card), &self.card),
                Place::Streamed(windows) => {
                    let rows = first * batch..samples.min(last * batch);
                    let normalization = self.network.normalization(&self.card);
                    let seen = windows[turn % 2].fill(&loaded.data, rows, normalization, &self.card)?;
                    span.set_window(first as u32, &self.card)?;
                    seen
                }
            };
            // SAFETY: the session keeps all of these buffers, and waits for the stream before it drops any of them.
            let pass = unsafe { self.pass(&plan, (work, span), seen, batch, Goal::Judge) };
            pass.launch(first as u32..last as u32)?;
            if let Place::Streamed(windows) = &loaded.place {
                windows[turn % 2].leave(&self.card)?;
            }
        }
        Ok(())
    }
}

impl Session for CudaSession {
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()> {
        data.check(&self.spec)?;
        self.card.enter()?;
        if split == Split::Train {
            // A recorded graph refers to the old data.
            self.training = None;
            self.weighting = Weighting::of_training(&self.settings.class_weights, data);
        }
        *self.data_set(split) = None;
        *self.data_set(split) = Some(Loaded::new(data, &self.card)?);
        Ok(())
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        state.check(&self.spec)?;
        state.check_slots(&self.settings)?;
        self.step = None;
        self.network.weights.set(&state.clone().with_slots(&self.settings), &self.card)?;
        self.start(self.network.weights.trained())?;
        self.card.stream.synchronize().map_err(|error| self.card.failure(error))?;
        self.step = Some(state.step);
        Ok(())
    }

    fn state(&mut self) -> Result<State> {
        self.network.weights.get(&self.spec, self.weights_step()?, &self.card.stream, &self.card)
    }

    fn train(&mut self, span: &Span<'_>) -> Result<Report> {
        let before = self.check(span)?;
        if span.order.is_empty() {
            return Ok(Report { tally: self.spec.tally(), ..Report::default() });
        }
        let training = self.prepare(span)?;
        let launched = self.launch(training, span);
        self.collect(launched, span, before)
    }

    fn profile(&mut self, span: &Span<'_>) -> Result<(Report, Breakdown)> {
        let before = self.check(span)?;
        if span.order.is_empty() || matches!(loaded(self.train.as_ref())?.place, Place::Streamed(_)) {
            return Ok((self.train(span)?, Breakdown::default()));
        }
        let training = self.prepare(span)?;
        let launched = self.launch_by(training, |session, training, loaded| {
            let Place::Resident(samples) = &loaded.place else { unreachable!("was looked at just now") };
            let Training { plan, work, span: memory, .. } = training;
            let data = session.in_order(samples, memory);
            // SAFETY: the session keeps the training and the samples, and waits for the stream before it drops any of
            // them.
            let pass = unsafe { session.pass(plan, (work, memory), data, work.capacity, Goal::Train) };
            profile::take(&pass, &session.spec, (span.steps() as u32, span.order.len()))
        });
        let (launched, breakdown) = match launched {
            Ok(breakdown) => (Ok(()), breakdown),
            Err(error) => (Err(error), Breakdown::default()),
        };
        Ok((self.collect(launched, span, before)?, breakdown))
    }

    fn gradient(&mut self, samples: &[u32]) -> Result<Vec<Parameters>> {
        let step = self.weights_step()?;
        let span = Span {
            first_step: step,
            order: samples,
            batch_size: samples.len(),
            learning_rate: &[0.0],
            ..Span::default()
        };
        self.check(&span)?;
        self.card.enter()?;
        let batch = samples.len();
        let gradient = like_weights(&self.spec, false, "gradients", &self.card)?;
        let plan = self.plan(batch);
        let work = Workspace::new(&self.spec, batch, Passes::Backward, &self.card)?;
        let mut memory = self.span_memory(batch, 1)?;
        self.put_span(&span, batch, &mut memory)?;
        let mut loaded = self.train.take().expect("was checked");
        let data = match &mut loaded.place {
            Place::Resident(samples) => Ok(self.in_order(samples, &memory)),
            Place::Streamed(windows) => {
                let order = samples.iter().map(|&sample| sample as usize);
                windows[0].fill(&loaded.data, order, self.network.normalization(&self.card), &self.card)
            }
        };
        let launched = data.and_then(|data| {
            // SAFETY: all buffers live until the gradients have been fetched, which waits for the stream. If the fetch
            // fails, they are freed on the same stream, after the work that uses them.
            let pass = unsafe { self.pass(&plan, (&work, &memory), data, batch, Goal::Gradient(&gradient)) };
            pass.launch(0..1)
        });
        if let Place::Streamed(windows) = &loaded.place {
            windows[0].leave(&self.card)?;
        }
        self.train = Some(loaded);
        launched?;
        let (_, _, halted) = memory.fetch(batch, &self.card.stream, &self.card)?;
        if halted == 0 {
            return Err(no_gradient());
        }
        get(&gradient, &self.spec, &self.card.stream, &self.card)
    }

    fn evaluate(&mut self, split: Split) -> Result<Evaluation> {
        self.weights_step()?;
        let samples = loaded(self.data_set(split).as_ref())?.data.samples();
        let room = self.evaluation_memory(samples)?;
        let data = self.launch_evaluation(split, room)?;
        self.collect_evaluation(&data, &self.card.stream)
    }

    /// The card goes from the evaluation to the steps without the host, and copies the weights in between. The host
    /// fetches the evaluation's results and the copied weights while the steps run.
    fn evaluate_then_train(
        &mut self,
        split: Split,
        span: &Span<'_>,
        judged: &mut Judged<'_>,
    ) -> Result<Option<Report>> {
        let Some(Ahead { before, evaluation, training, mut weights }) = self.room_ahead(split, span) else {
            return one_after_the_other(self, split, span, judged);
        };
        let card = self.card.clone();
        let data = self.launch_evaluation(split, evaluation)?;
        weights.copy_from(&self.network.weights, &card)?;
        // From here on, work on `copies` sees the evaluation and the copied weights, and waits for nothing that is
        // launched later.
        card.copies.join(&card.stream).map_err(|error| card.failure(error))?;
        let launched = self.launch(training, span);
        let flow = self
            .collect_evaluation(&data, &card.copies)
            .and_then(|evaluation| judged(evaluation, &mut || weights.get(&self.spec, before, &card.copies, &card)));
        let report = self.collect(launched, span, before);
        let taken_back = if matches!(flow, Ok(Flow::Continue)) { Ok(()) } else { self.take_back(&weights, before) };
        self.judged = Some(weights);
        match flow? {
            Flow::Continue => report.map(Some),
            Flow::Stop => taken_back.map(|()| None),
        }
    }

    fn predict(&mut self, inputs: &Inputs, outputs: &mut Matrix) -> Result<()> {
        check_prediction(&self.spec, inputs, outputs)?;
        self.weights_step()?;
        let (rows, features) = (outputs.rows(), self.spec.input.features);
        if rows == 0 {
            return Ok(());
        }
        self.start_average()?;
        let (work, mut span) = self.evaluation_memory(rows)?;
        let room = self.card.free()? / 2 / (4 * row_stride(features));
        let batch = work.capacity.min(room.max(1));
        let plan = self.plan(batch);
        let mut samples = Samples::inputs_only(batch, features, &self.card)?;
        let stride = padded(self.spec.outputs());
        for first in (0..rows).step_by(batch) {
            let count = batch.min(rows - first);
            samples.put_inputs(&inputs.rows(first..first + count, features), features, &self.card)?;
            span.begin(&Progress { steps: 1, batch: batch as u32, samples: count as u32 }, &self.card)?;
            let seen = samples.data(self.network.normalization(&self.card), &self.card);
            // SAFETY: all buffers live until the outputs have been fetched, which waits for the stream. If the fetch
            // fails, they are freed on the same stream, after the work that uses them.
            let pass = unsafe { self.pass(&plan, (&work, &span), seen, batch, Goal::Predict) };
            pass.launch(0..1)?;
            let z = fetch(work.outputs(), 0..count * stride, &self.card.stream, &self.card)?;
            for (row, z) in z.chunks(stride).enumerate() {
                let to = outputs.row_mut(first + row);
                to.copy_from_slice(&z[..self.spec.outputs()]);
                read_outputs(self.spec.head, to);
            }
        }
        self.evaluation = Some((work, span));
        Ok(())
    }
}

impl Drop for CudaSession {
    fn drop(&mut self) {
        // No buffer may be freed while it is in use. Errors are ignored: a lost card uses no buffers.
        let _ = self.card.stream.synchronize();
        let _ = self.card.copies.synchronize();
        // The graph refers to buffers of the other fields, so it is dropped first.
        self.training = None;
    }
}
