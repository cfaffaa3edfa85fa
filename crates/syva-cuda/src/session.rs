//! The engine's session: weights and data stay on the card, a span of steps runs there without the host.

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaGraph};
use syva_core::data::{Dataset, Split};
use syva_core::reference::{check_prediction, loaded, mean, read_outputs};
use syva_core::{Confusion, Error, Evaluation, Matrix, Precision, Report, Result, Session, Span, Spec, State};

use crate::card::Card;
use crate::kernels::{Data, Queue, Stored};
use crate::memory::{Network, Progress, Samples, SpanMemory, Workspace, address, fetch, upload};
use crate::plan::{PAD, Plan, Way, padded};
use crate::step::{Goal, Pass, judge};

/// Steps that are recorded as one graph: a launch of it costs the host as much as a launch of one kernel.
const RECORDED: usize = 32;
/// Activations of an evaluation take about this much memory.
const EVALUATION_BYTES: usize = 256 << 20;
/// And so many samples at most.
const MOST_EVALUATED: usize = 8192;
/// Samples that come in at a time where the data does not fit on the card.
const WINDOW_BYTES: usize = 64 << 20;

/// A session that has lost its card must not be used: what is on the card may be anything.
pub(crate) struct CudaSession {
    spec: Spec,
    precision: Precision,
    card: Arc<Card>,
    network: Network,
    /// Steps that the weights have taken; none before there are weights.
    step: Option<u64>,
    train: Option<Loaded>,
    validation: Option<Loaded>,
    training: Option<Training>,
    evaluation: Option<(Workspace, SpanMemory)>,
}

/// A data set: all of it on the card, or for what does not fit two windows that it passes through in turn.
struct Loaded {
    data: Dataset,
    place: Place,
}

enum Place {
    Resident(Samples),
    Streamed(Box<[Window; 2]>),
}

struct Window {
    samples: Samples,
    rows: usize,
    /// Recorded when the samples have come in, and when the steps on them are done.
    filled: CudaEvent,
    done: CudaEvent,
}

/// What a training keeps from span to span.
struct Training {
    plan: Plan,
    /// Its capacity is the batch.
    work: Workspace,
    span: SpanMemory,
    recorded: Option<CudaGraph>,
}

impl CudaSession {
    pub(crate) fn new(spec: &Spec, card: Arc<Card>, precision: Precision) -> Result<Self> {
        let (needed, free) = (Network::bytes(spec), card.free()?);
        if needed > free {
            let what = format!("a network whose weights take {} MiB, of {} MiB free,", needed >> 20, free >> 20);
            return Err(Error::Unsupported { what, remedy: "use narrower layers, or --device cpu".into() });
        }
        let network = Network::new(spec, &card)?;
        Ok(Self {
            spec: spec.clone(),
            precision,
            card,
            network,
            step: None,
            train: None,
            validation: None,
            training: None,
            evaluation: None,
        })
    }

    fn plan(&self, batch: usize) -> Plan {
        Plan::new(&self.spec, batch, self.card.processors, self.precision)
    }

    fn weights_step(&self) -> Result<u64> {
        self.step.ok_or_else(|| Error::mismatch("the session has no weights", "call set_state first"))
    }

    /// The kernels of steps, with what they work on.
    ///
    /// # Safety
    /// What is handed over is kept until the stream has been waited for.
    unsafe fn pass<'a>(
        &'a self,
        plan: &'a Plan,
        (work, span): (&Workspace, &SpanMemory),
        data: (Data, Stored),
        batch: usize,
        goal: Goal,
    ) -> Pass<'a> {
        let (card, stream) = (&*self.card, &self.card.stream);
        let layer = |l| self.network.layer(&self.spec, work, l, card);
        Pass {
            card,
            // SAFETY: `memory.rs` makes buffers as large as the plan has them; the rest is what the caller promises, and
            // the session keeps its weights until it has waited for the stream.
            queue: unsafe { Queue::new(stream) },
            plan,
            layers: (0..self.spec.layers.len()).map(layer).collect(),
            data,
            outcome: span.outcome(card),
            judge: judge(&self.spec, goal),
            progress: address(&span.progress, stream),
            learning_rates: address(&span.learning_rates, stream),
            tickets: address(&self.network.tickets, stream),
            batch,
            goal,
        }
    }

    /// Makes room for a span; a recorded graph holds as long as nothing moves.
    fn prepare(&mut self, span: &Span<'_>) -> Result<Training> {
        let (samples, steps) = (span.order.len(), span.steps());
        let batch = span.batch_size.min(samples);
        let mut training = if let Some(kept) = self.training.take().filter(|kept| kept.work.capacity == batch) {
            kept
        } else {
            Training {
                plan: self.plan(batch),
                work: Workspace::new(&self.spec, batch, true, &self.card)?,
                span: SpanMemory::new(samples, steps, &self.card)?,
                recorded: None,
            }
        };
        if !training.span.holds(samples, steps) {
            training.recorded = None;
            training.span = SpanMemory::new(samples, steps, &self.card)?;
        }
        let memory = &mut training.span;
        memory.begin(&Progress { steps: steps as u32, batch: batch as u32, samples: samples as u32 }, &self.card)?;
        upload(span.order, &mut memory.order, &self.card)?;
        upload(span.learning_rate, &mut memory.learning_rates, &self.card)?;
        Ok(training)
    }

    /// All steps of a span, on data that is on the card.
    fn train_resident(&self, training: &mut Training, samples: &Samples, steps: usize) -> Result<()> {
        let (data, stored) = samples.data(self.network.normalization(&self.card), &self.card);
        let data = Data { order: address(&training.span.order, &self.card.stream), ..data };
        let Training { plan, work, span, recorded, .. } = training;
        // SAFETY: the session keeps the training and the samples, and waits for the stream before it lets go of any.
        let pass = unsafe { self.pass(plan, (work, span), (data, stored), work.capacity, Goal::Train) };
        let graphs = steps / RECORDED;
        if graphs > 0 {
            if recorded.is_none() {
                // It refers to the buffers of now, and is dropped before any of them: see `prepare` and `load`.
                *recorded = Some(pass.record(RECORDED)?);
            }
            let graph = recorded.as_ref().expect("was recorded just now");
            for _ in 0..graphs {
                graph.launch().map_err(|error| self.card.failure(error))?;
            }
        }
        pass.launch(0..(steps % RECORDED) as u32)
    }

    /// All steps of a span, on data that passes through the card's windows: while the steps of one are taken, the next is
    /// filled.
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
            let samples = self.fill(&mut windows[turn % 2], data, order.iter().map(|&sample| sample as usize))?;
            training.span.set_window(first as u32, &self.card)?;
            let Training { plan, work, span, .. } = &*training;
            // SAFETY: the session keeps training and windows, and waits for the stream before it lets go of any.
            let pass = unsafe { self.pass(plan, (work, span), samples, work.capacity, Goal::Train) };
            pass.launch(steps.start as u32..steps.end as u32)?;
            windows[turn % 2].done.record(&self.card.stream).map_err(|error| self.card.failure(error))?;
        }
        Ok(())
    }

    /// Fills a window as soon as the steps on what it held are done; what is launched next waits until it is full.
    fn fill(
        &self,
        window: &mut Window,
        data: &Dataset,
        samples: impl Iterator<Item = usize>,
    ) -> Result<(Data, Stored)> {
        let card = &*self.card;
        card.copies.wait(&window.done).map_err(|error| card.failure(error))?;
        window.samples.put(data, samples, card, &card.copies)?;
        let filled = window.filled.record(&card.copies).and_then(|()| card.stream.wait(&window.filled));
        filled.map_err(|error| card.failure(error))?;
        Ok(window.samples.data(self.network.normalization(card), card))
    }

    /// Room for evaluations and predictions, in batches that the card has memory for.
    fn evaluation_memory(&mut self, samples: usize) -> Result<(Workspace, SpanMemory)> {
        let row: usize = self.spec.layers.iter().map(|layer| 4 * padded(layer.units)).sum();
        let most = samples.min(MOST_EVALUATED);
        let kept = self.evaluation.take().filter(|(work, span)| {
            (work.capacity >= most || work.capacity >= EVALUATION_BYTES / row) && span.holds(samples, 1)
        });
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let batch = most.min((EVALUATION_BYTES.min(self.card.free()? / 4) / row).max(PAD));
        Ok((Workspace::new(&self.spec, batch, false, &self.card)?, SpanMemory::new(samples, 1, &self.card)?))
    }

    /// Judges all samples, in the order they lie in.
    fn judge_all(&self, loaded: &mut Loaded, work: &Workspace, span: &mut SpanMemory) -> Result<()> {
        let samples = loaded.data.samples();
        let resident = matches!(loaded.place, Place::Resident(_));
        let batch = match &loaded.place {
            Place::Streamed(windows) => work.capacity.min(windows[0].rows),
            Place::Resident(_) => work.capacity,
        };
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
                    let seen = self.fill(&mut windows[turn % 2], &loaded.data, rows)?;
                    span.set_window(first as u32, &self.card)?;
                    seen
                }
            };
            // SAFETY: the session keeps all of it, and waits for the stream before it lets go of any.
            let pass = unsafe { self.pass(&plan, (work, span), seen, batch, Goal::Judge) };
            pass.launch(first as u32..last as u32)?;
            if let Place::Streamed(windows) = &loaded.place {
                windows[turn % 2].done.record(&self.card.stream).map_err(|error| self.card.failure(error))?;
            }
        }
        Ok(())
    }

    /// Whether the whole data set fits on the card, with room left to work; else windows for it.
    fn place(&self, data: &Dataset) -> Result<Place> {
        let (bytes, free) = (data.samples() * Samples::bytes_each(data), self.card.free()?);
        if bytes < free / 4 * 3 {
            let mut samples = Samples::room_for(data.samples(), data, &self.card)?;
            samples.put(data, 0..data.samples(), &self.card, &self.card.stream)?;
            return Ok(Place::Resident(samples));
        }
        let rows = (WINDOW_BYTES.min(free / 8) / Samples::bytes_each(data)).clamp(1, data.samples());
        let window = || -> Result<Window> {
            let event = || self.card.stream.context().new_event(None).map_err(|error| self.card.failure(error));
            let samples = Samples::room_for(rows, data, &self.card)?;
            Ok(Window { samples, rows, filled: event()?, done: event()? })
        };
        let windows = Box::new([window()?, window()?]);
        // Memory is cleared on the stream of the work, and filled on the other.
        self.card.stream.synchronize().map_err(|error| self.card.failure(error))?;
        Ok(Place::Streamed(windows))
    }
}

impl Session for CudaSession {
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()> {
        data.check(&self.spec)?;
        if split == Split::Train {
            // A graph refers to the data it was recorded on.
            self.training = None;
            self.train = None;
            self.train = Some(Loaded { data: data.clone(), place: self.place(data)? });
        } else {
            self.validation = None;
            self.validation = Some(Loaded { data: data.clone(), place: self.place(data)? });
        }
        Ok(())
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        state.check(&self.spec)?;
        self.step = None;
        self.network.set(state, &self.card)?;
        let work = Workspace::new(&self.spec, 1, false, &self.card)?;
        let layer = self.network.layer(&self.spec, &work, 0, &self.card);
        // Sums of shifts are f32 in every way: any will do that the steps have as well.
        let kernels = self.card.layers(Way::of(1, 1, usize::MAX, self.precision))?;
        // SAFETY: the weights live as long as the session, the workspace until the stream has been waited for below.
        let queue = unsafe { Queue::new(&self.card.stream) };
        let started = kernels.start(&queue, &layer, &self.network.normalization(&self.card));
        started.and_then(|()| self.card.stream.synchronize()).map_err(|error| self.card.failure(error))?;
        self.step = Some(state.step);
        Ok(())
    }

    fn state(&mut self) -> Result<State> {
        self.network.get(&self.spec, self.weights_step()?, &self.card)
    }

    fn train(&mut self, span: &Span<'_>) -> Result<Report> {
        let Loaded { data, place } = loaded(self.train.as_ref())?;
        let before = self.weights_step()?;
        span.check(data.samples(), before)?;
        let batch = span.batch_size.min(span.order.len());
        if let Place::Streamed(windows) = place
            && windows[0].rows < batch
        {
            let problem = format!("a batch of {batch} samples does not fit the card beside the network");
            return Err(Error::setting("batch-size", problem, format!("use {} or less", windows[0].rows)));
        }
        let mut report = Report { confusion: Confusion::new(self.spec.classes()), ..Report::default() };
        if span.order.is_empty() {
            return Ok(report);
        }
        let mut training = self.prepare(span)?;
        let mut loaded = self.train.take().expect("was there just now");
        // Until all has gone well, nobody knows what the weights are.
        self.step = None;
        let launched = match &mut loaded.place {
            Place::Resident(samples) => self.train_resident(&mut training, samples, span.steps()),
            Place::Streamed(windows) => self.train_streamed(&mut training, &loaded.data, windows, span),
        };
        let targets = loaded.data.targets().clone();
        self.train = Some(loaded);
        let fetched = launched.and_then(|()| training.span.fetch(span.order.len(), &self.card));
        self.training = Some(training);
        let (losses, guesses, halted) = fetched?;

        let taken = span.steps().min(halted as usize);
        report.first_non_finite = (taken < span.steps()).then_some(taken);
        let rows = losses.chunks(span.batch_size).zip(guesses.chunks(span.batch_size));
        for ((losses, guesses), (samples, _)) in rows.zip(span.batches()).take(taken) {
            report.losses.push(mean(losses));
            if self.spec.classes() > 0 {
                let pairs = samples.iter().zip(guesses).map(|(&sample, &guess)| (sample as usize, guess as usize));
                report.hits.push(report.confusion.tally(&targets, pairs));
            }
        }
        self.step = Some(before + taken as u64);
        Ok(report)
    }

    fn evaluate(&mut self, split: Split) -> Result<Evaluation> {
        self.weights_step()?;
        let place = match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
        };
        let samples = loaded(place.as_ref())?.data.samples();
        let (work, mut span) = self.evaluation_memory(samples)?;
        let place = match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
        };
        let mut loaded = place.take().expect("was there just now");
        let launched = self.judge_all(&mut loaded, &work, &mut span);
        let fetched = launched.and_then(|()| span.fetch(samples, &self.card));
        self.evaluation = Some((work, span));
        let mut confusion = Confusion::new(self.spec.classes());
        if let Ok((_, guesses, _)) = &fetched {
            let pairs = guesses.iter().enumerate().map(|(sample, &guess)| (sample, guess as usize));
            confusion.tally(loaded.data.targets(), pairs);
        }
        match split {
            Split::Train => self.train = Some(loaded),
            Split::Validation => self.validation = Some(loaded),
        }
        Ok(Evaluation { loss: mean(&fetched?.0), confusion })
    }

    fn predict(&mut self, inputs: &Matrix, outputs: &mut Matrix) -> Result<()> {
        check_prediction(&self.spec, inputs, outputs)?;
        self.weights_step()?;
        let (rows, features) = (inputs.rows(), inputs.columns());
        if rows == 0 {
            return Ok(());
        }
        let (work, mut span) = self.evaluation_memory(rows)?;
        let batch = work.capacity;
        let plan = self.plan(batch);
        let mut samples = Samples::inputs_only(batch, features, &self.card)?;
        let stride = padded(self.spec.outputs());
        for first in (0..rows).step_by(batch) {
            let count = batch.min(rows - first);
            samples.put_inputs(&inputs.values()[first * features..][..count * features], features, &self.card)?;
            span.begin(&Progress { steps: 1, batch: batch as u32, samples: count as u32 }, &self.card)?;
            let seen = samples.data(self.network.normalization(&self.card), &self.card);
            // SAFETY: all of it lives until the outputs have been fetched, which waits for the stream; where that fails,
            // buffers are freed on the same stream, after what is on it.
            let pass = unsafe { self.pass(&plan, (&work, &span), seen, batch, Goal::Predict) };
            pass.launch(0..1)?;
            let z = fetch(work.outputs(), 0..count * stride, &self.card)?;
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
        // Nothing may be freed that is still in use; a card that is lost uses nothing.
        let _ = self.card.stream.synchronize();
        let _ = self.card.copies.synchronize();
        // The graph refers to buffers of the fields that are dropped after it.
        self.training = None;
    }
}
