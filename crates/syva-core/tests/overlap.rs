//! An engine that begins the next epoch before anybody has heard of the last must not be told from one that does not:
//! the same events, states and errors, wherever the training stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use syva_core::data::{Dataset, Inputs, Split, Targets, Task};
use syva_core::engine::Judged;
use syva_core::random::{Random, Stream};
use syva_core::reference::Reference;
use syva_core::trainer::{Event, Flow, Progress};
use syva_core::{
    Activation, DeviceId, DeviceInfo, Engine, Epoch, Error, Evaluation, Matrix, Parameters, Report, Result, Session,
    Span, Spec, State, Trainer, Training,
};

/// The reference, but a span that follows a judgement is taken before `judged` hears of it, and taken back if need be.
struct Ahead {
    begun: Arc<AtomicUsize>,
}

struct AheadSession {
    inner: Box<dyn Session>,
    begun: Arc<AtomicUsize>,
}

impl Engine for Ahead {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn devices(&self) -> Vec<DeviceInfo> {
        Reference.devices()
    }

    fn open(&self, device: &DeviceId, spec: &Spec, training: &Training) -> Result<Box<dyn Session>> {
        Ok(Box::new(AheadSession { inner: Reference.open(device, spec, training)?, begun: self.begun.clone() }))
    }
}

impl Session for AheadSession {
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()> {
        self.inner.load(split, data)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.inner.set_state(state)
    }

    fn state(&mut self) -> Result<State> {
        self.inner.state()
    }

    fn train(&mut self, span: &Span<'_>) -> Result<Report> {
        self.inner.train(span)
    }

    fn gradient(&mut self, samples: &[u32]) -> Result<Vec<Parameters>> {
        self.inner.gradient(samples)
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
        let report = self.train(span);
        self.begun.fetch_add(1, Ordering::Relaxed);
        let flow = judged(evaluation, &mut || Ok(before.clone()));
        if matches!(flow, Ok(Flow::Continue)) {
            return report.map(Some);
        }
        self.set_state(&before)?;
        flow.map(|_| None)
    }

    fn predict(&mut self, inputs: &Inputs, outputs: &mut Matrix) -> Result<()> {
        self.inner.predict(inputs, outputs)
    }
}

/// An event without its times; steps one by one, since the clock says where spans end.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Step(u64),
    Epoch(Epoch),
    Inspection(u64, State),
    Checkpoint(State, Progress, Option<State>),
}

fn tell(event: &Event<'_>, told: &mut Vec<Told>) {
    match *event {
        Event::Steps { losses, .. } => told.extend(losses.iter().map(|loss| Told::Step(loss.to_bits()))),
        Event::Epoch(epoch) => told.push(Told::Epoch(Epoch { train_seconds: 0.0, eval_seconds: 0.0, ..epoch.clone() })),
        Event::Inspection { epoch, state, .. } => told.push(Told::Inspection(epoch, state.clone())),
        Event::Checkpoint { state, progress, best } => {
            let mut progress = Progress { train_seconds: 0.0, ..progress.clone() };
            for epoch in &mut progress.history {
                (epoch.train_seconds, epoch.eval_seconds) = (0.0, 0.0);
            }
            told.push(Told::Checkpoint(state.clone(), progress, best.cloned()));
        }
    }
}

const EPOCHS: u64 = 7;
fn training() -> Training {
    Training { epochs: EPOCHS, batch_size: 8, learning_rate: 0.3, seed: 5, ..Training::default() }
}

/// Points in the plane, of which those right of a parabola are class 1.
fn task() -> Task {
    let draw = |part: u64| {
        let mut random = Random::new(3, Stream::Augmentation, part);
        let inputs: Vec<f32> = (0..180).map(|_| random.uniform(-1.0, 1.0)).collect();
        let labels: Vec<u32> = inputs.chunks(2).map(|point| u32::from(point[0] > point[1] * point[1] - 0.3)).collect();
        Dataset::new(Inputs::F32(inputs.into()), 2, Targets::Classes { labels: labels.into(), classes: 2 }).unwrap()
    };
    Task::new("parabola", draw(0), draw(1))
}

fn reference() -> DeviceId {
    "reference".parse().unwrap()
}

/// All that a training tells, until it has told of an epoch at which it is stopped; and where it can be resumed.
fn train(engine: &dyn Engine, inspect: u64, stop: Option<u64>, from: Option<(State, Progress)>) -> Vec<Told> {
    let task = task();
    let spec = task.network(&[6], Activation::Tanh);
    let trainer = match from {
        None => Trainer::new(engine, &reference(), &spec, &task, &training()),
        Some((state, progress)) => Trainer::resume(engine, &reference(), &spec, &task, &training(), &state, progress),
    };
    let mut trainer = trainer.unwrap().inspect_every(inspect).checkpoint_every(Duration::MAX);
    let mut told = Vec::new();
    let flow = trainer.run(&mut |event| {
        tell(event, &mut told);
        let stops = matches!(event, Event::Epoch(epoch) if Some(epoch.epoch) == stop);
        Ok(if stops { Flow::Stop } else { Flow::Continue })
    });
    let stopped = stop.is_some_and(|epoch| epoch < EPOCHS);
    assert_eq!(flow.unwrap(), if stopped { Flow::Stop } else { Flow::Continue });
    told
}

fn ahead() -> Ahead {
    Ahead { begun: Arc::new(AtomicUsize::new(0)) }
}

#[test]
fn what_is_told_is_the_same_wherever_the_training_stops() {
    for inspect in [0, 3] {
        let whole = train(&Reference, inspect, None, None);
        for stop in (1..=EPOCHS).map(Some).chain([None]) {
            let engine = ahead();
            let told = train(&engine, inspect, stop, None);
            assert_eq!(told, train(&Reference, inspect, stop, None), "stop at {stop:?}, inspect every {inspect}");
            // After the last epoch no other follows; an inspection wants the state as it is.
            let watched = |epoch: u64| epoch == EPOCHS || inspect > 0 && (epoch == 1 || epoch.is_multiple_of(inspect));
            let turns = (1..=stop.unwrap_or(EPOCHS)).filter(|&epoch| !watched(epoch)).count();
            assert_eq!(engine.begun.load(Ordering::Relaxed), turns);

            // What was told up to the stop, and after it, is what a training tells that is not stopped.
            let Some(Told::Checkpoint(state, progress, _)) = told.last() else { panic!("no checkpoint at the end") };
            let rest = train(&engine, inspect, None, Some((state.clone(), progress.clone())));
            let told: Vec<Told> = told.iter().chain(&rest).filter(|told| !is_checkpoint(told)).cloned().collect();
            let wanted: Vec<Told> = whole.iter().filter(|told| !is_checkpoint(told)).cloned().collect();
            assert_eq!(told, wanted, "stop at {stop:?}, inspect every {inspect}");
        }
    }
}

fn is_checkpoint(told: &Told) -> bool {
    matches!(told, Told::Checkpoint(..))
}

#[test]
fn checkpoints_between_are_those_of_a_training_that_waits() {
    let task = task();
    let spec = task.network(&[6], Activation::Tanh);
    let saved = |engine: &dyn Engine| {
        let mut told = Vec::new();
        let trainer = Trainer::new(engine, &reference(), &spec, &task, &training()).unwrap();
        trainer
            .checkpoint_every(Duration::ZERO)
            .run(&mut |event| {
                tell(event, &mut told);
                Ok(Flow::Continue)
            })
            .unwrap();
        told.into_iter()
            .filter_map(|told| match told {
                Told::Checkpoint(state, progress, _) => Some((state, progress)),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let (ours, theirs) = (saved(&ahead()), saved(&Reference));
    // Where spans end is the clock's affair, so not every place may be there in both.
    let place = |(state, progress): &(State, Progress)| (state.step, progress.epoch);
    let other = |one| theirs.iter().find(|other| place(other) == place(one));
    let both: Vec<_> = ours.iter().filter_map(|one| Some((one, other(one)?))).collect();
    assert!(both.len() > EPOCHS as usize / 2);
    for (one, other) in both {
        assert_eq!(one, other);
    }
}

/// How a training ends that fails: the error, what was told before, and where the weights stand.
fn fails(
    engine: &dyn Engine,
    task: &Task,
    listener: &dyn Fn(&Event<'_>) -> Result<Flow>,
) -> (String, Vec<Told>, State) {
    let spec = task.network(&[6], Activation::Tanh);
    let mut trainer = Trainer::new(engine, &reference(), &spec, task, &training()).unwrap();
    let mut told = Vec::new();
    let error = trainer.run(&mut |event| {
        tell(event, &mut told);
        listener(event)
    });
    (error.unwrap_err().to_string(), told, trainer.model().unwrap().state)
}

#[test]
fn a_validation_loss_that_is_not_finite_ends_the_training_after_its_epoch() {
    let values = |value: f32| {
        let inputs = Inputs::F32((0..90).map(|i| i as f32 / 90.0).collect::<Vec<_>>().into());
        Dataset::new(inputs, 1, Targets::Values { values: vec![value; 90].into(), outputs: 1 }).unwrap()
    };
    let task = Task::new("squares beyond f32", values(0.5), values(1e30));
    let engine = ahead();
    let found = fails(&engine, &task, &|_| Ok(Flow::Continue));
    assert_eq!(engine.begun.load(Ordering::Relaxed), 1);
    assert_eq!(found, fails(&Reference, &task, &|_| Ok(Flow::Continue)));
    assert!(found.0.contains("epoch 1") && !found.1.iter().any(|told| matches!(told, Told::Epoch(_))), "{}", found.0);
    assert_eq!(found.2.step, 12);
}

#[test]
fn a_listener_that_fails_at_an_epoch_leaves_the_weights_of_that_epoch() {
    let full = |event: &Event<'_>| match event {
        Event::Epoch(epoch) if epoch.epoch == 3 => Err(Error::mismatch("no space left on the disk", "make some")),
        _ => Ok(Flow::Continue),
    };
    let found = fails(&ahead(), &task(), &full);
    assert_eq!(found, fails(&Reference, &task(), &full));
    assert!(found.0.contains("no space left") && found.2.step == 36, "{}", found.0);
}

/// All that a training with these settings tells, until an epoch at which it is cut, and from where it was cut.
fn told_by(
    engine: &dyn Engine,
    training: &Training,
    inspect: u64,
    cut: Option<u64>,
    from: Option<(State, Progress)>,
) -> Vec<Told> {
    let task = task();
    let spec = task.network(&[6], Activation::Tanh);
    let trainer = match from {
        None => Trainer::new(engine, &reference(), &spec, &task, training),
        Some((state, progress)) => Trainer::resume(engine, &reference(), &spec, &task, training, &state, progress),
    };
    let mut trainer = trainer.unwrap().inspect_every(inspect).checkpoint_every(Duration::MAX);
    let mut told = Vec::new();
    let cuts = |event: &Event<'_>| matches!(event, Event::Epoch(epoch) if Some(epoch.epoch) == cut);
    let run = trainer.run(&mut |event| {
        tell(event, &mut told);
        Ok(if cuts(event) { Flow::Stop } else { Flow::Continue })
    });
    run.unwrap();
    told
}

#[test]
fn a_training_that_ends_or_slows_by_its_results_does_so_however_it_is_cut() {
    let plateau = "plateau:patience=0,factor=0.5,threshold=0.2";
    for (stop, schedule) in
        [("patience:2,metric=val_acc", "constant"), ("never", plateau), ("patience:4,metric=val_acc", plateau)]
    {
        let (stop, schedule) = (stop.parse().unwrap(), schedule.parse().unwrap());
        let training = Training { epochs: 30, stop, schedule, ..training() };
        for inspect in [0, 4] {
            let whole = told_by(&Reference, &training, inspect, None, None);
            assert_eq!(told_by(&ahead(), &training, inspect, None, None), whole, "{training:?}");
            let epochs = |told: &[Told]| -> Vec<Epoch> {
                told.iter()
                    .filter_map(|told| if let Told::Epoch(epoch) = told { Some(epoch.clone()) } else { None })
                    .collect()
            };
            let all = epochs(&whole);
            let last = all.last().unwrap().epoch;
            assert_eq!(last < 30, training.stop != syva_core::Stop::Never, "{last} epochs of {training:?}");
            assert_eq!(training.stop.ends(&all), last < 30);
            let slows = all[0].learning_rate > all[all.len() - 1].learning_rate;
            assert_eq!(slows, training.schedule != syva_core::Schedule::CONSTANT, "{training:?}");
            // The state is that of the last epoch, which is also inspected.
            let Some(Told::Checkpoint(state, progress, _)) = whole.last() else { panic!("no checkpoint at the end") };
            assert_eq!((state.step, progress.epoch), (12 * last, last));
            let inspected = whole.iter().any(|told| matches!(told, Told::Inspection(epoch, _) if *epoch == last));
            assert_eq!(inspected, inspect > 0);
            for cut in 1..=last {
                let told = told_by(&ahead(), &training, inspect, Some(cut), None);
                let Some(Told::Checkpoint(state, progress, _)) = told.last() else {
                    panic!("no checkpoint at the end")
                };
                let rest = told_by(&ahead(), &training, inspect, None, Some((state.clone(), progress.clone())));
                let told: Vec<Told> = told.iter().chain(&rest).filter(|told| !is_checkpoint(told)).cloned().collect();
                let wanted: Vec<Told> = whole.iter().filter(|told| !is_checkpoint(told)).cloned().collect();
                assert_eq!(told, wanted, "cut at {cut}, {training:?}");
            }
        }
    }
}

#[test]
fn a_span_has_at_most_so_many_steps() {
    let task = task();
    let spec = task.network(&[6], Activation::Tanh);
    let trained = |most: Option<usize>| {
        let mut trainer = Trainer::new(&Reference, &reference(), &spec, &task, &training()).unwrap();
        if let Some(most) = most {
            trainer = trainer.span_steps(most);
        }
        let mut longest = 0;
        let run = trainer.run(&mut |event| {
            if let Event::Steps { losses, .. } = event {
                longest = losses.len().max(longest);
            }
            Ok(Flow::Continue)
        });
        run.unwrap();
        (longest, trainer.model().unwrap().state.digest())
    };
    let (longest, digest) = trained(None);
    assert!(longest > 3, "the test shows nothing: {longest}");
    assert_eq!(trained(Some(3)), (3, digest.clone()));
    assert_eq!(trained(Some(0)), (1, digest));
}
