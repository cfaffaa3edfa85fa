//! The trainer's promises: stopping, resuming and the listener change no bit; divergence is caught.

use syva::prelude::*;
use syva::random::{Random, Stream};
use syva::reference::{Network, Reference};
use syva::trainer::{Event, Flow, Progress};
use syva::{DeviceId, Isa, Weighting};

/// Two noisy rings of 300 points: class 0 inside, class 1 outside.
fn rings() -> Task {
    let draw = |part: u64| {
        let mut random = Random::new(3, Stream::Augmentation, part);
        let (mut inputs, mut labels) = (Vec::new(), Vec::new());
        while labels.len() < 300 {
            let (x, y) = (random.uniform(-1.0, 1.0), random.uniform(-1.0, 1.0));
            let radius = x * x + y * y;
            if radius < 0.3 || (0.5..1.0).contains(&radius) {
                inputs.extend([x, y]);
                labels.push(u32::from(radius > 0.4));
            }
        }
        Dataset::new(Inputs::F32(inputs.into()), 2, Targets::Classes { labels: labels.into(), classes: 2 }).unwrap()
    };
    Task::new("rings", draw(0), draw(1))
}

fn device(name: &str) -> DeviceId {
    name.parse().unwrap()
}

fn training() -> Training {
    Training { epochs: 30, batch_size: 32, learning_rate: 0.3, ..Training::default() }
}

/// Epochs without their timings, and the digest at the end.
type Course = (Vec<(u64, u64, u64, Option<f64>)>, String);

fn course(epochs: &[Epoch], digest: String) -> Course {
    let bits = |epoch: &Epoch| (epoch.epoch, epoch.train_loss.to_bits(), epoch.val_loss.to_bits(), epoch.train_acc);
    (epochs.iter().map(bits).collect(), digest)
}

#[test]
fn the_engines_agree_on_a_whole_training_and_it_learns() {
    let task = rings();
    let mut courses = Vec::new();
    for head in [Head::Logits, Head::LogSoftmax] {
        let spec = Spec { head, ..task.network(&[16, 8], Tanh) };
        let mut epochs = Vec::new();
        let mut trainer = Trainer::new(&Reference, &device("reference"), &spec, &task, &training()).unwrap();
        let last = trainer.fit(|epoch| epochs.push(epoch.clone())).unwrap();
        assert!(last.val_acc.unwrap() > 0.95, "{last}");
        courses.push(course(&epochs, trainer.model().unwrap().state.digest()));
        for threads in 1..=3 {
            let engine = CpuEngine::new().unwrap().oversubscribed(threads).unwrap();
            let mut epochs = Vec::new();
            let mut trainer = Trainer::new(&engine, &device("cpu"), &spec, &task, &training()).unwrap();
            trainer.fit(|epoch| epochs.push(epoch.clone())).unwrap();
            courses.push(course(&epochs, trainer.model().unwrap().state.digest()));
        }
    }
    assert!(courses.iter().all(|course| *course == courses[0]));
}

#[test]
fn an_update_by_several_batches_is_that_by_one_of_all_their_samples() {
    let task = rings();
    let spec = task.network(&[16], Tanh);
    let digest = |batch_size, accumulate| {
        let training = Training { epochs: 2, batch_size, accumulate, ..training() };
        let mut trainer = Trainer::new(&CpuEngine::new().unwrap(), &device("cpu"), &spec, &task, &training).unwrap();
        trainer.fit(|_| ()).unwrap();
        (trainer.steps_per_epoch(), trainer.model().unwrap().state.digest())
    };
    assert_eq!(digest(32, 3), digest(96, 1));
    assert_ne!(digest(32, 3), digest(32, 1));
}

/// Batches so large that the sums of an update wait between blocks of samples.
#[test]
fn the_engines_agree_on_batches_of_thousands() {
    let mut random = Random::new(5, Stream::Augmentation, 0);
    let mut draw = |samples: usize| {
        let inputs: Vec<f32> = (0..3 * samples).map(|_| random.uniform(-1.0, 1.0)).collect();
        let labels: Vec<u32> = inputs.chunks(3).map(|x| u32::from(x[0] * x[1] > x[2])).collect();
        Dataset::new(Inputs::F32(inputs.into()), 3, Targets::Classes { labels: labels.into(), classes: 2 }).unwrap()
    };
    let task = Task::new("thousands", draw(1700), draw(10));
    // Ragged panels of features, and more than one slice of units.
    let spec = task.network(&[37, 140], Tanh);
    let training = Training { epochs: 2, batch_size: 1600, learning_rate: 0.3, ..Training::default() };
    let digest = |engine: &dyn Engine, name: &str| {
        let mut trainer = Trainer::new(engine, &device(name), &spec, &task, &training).unwrap();
        trainer.fit(|_| ()).unwrap();
        trainer.model().unwrap().state.digest()
    };
    let wanted = digest(&Reference, "reference");
    for isa in Isa::ALL.into_iter().filter_map(|isa| isa.available().ok()) {
        for threads in 1..=3 {
            let engine = CpuEngine::new().unwrap().with_isa(isa).unwrap().oversubscribed(threads).unwrap();
            assert_eq!(digest(&engine, "cpu"), wanted, "{isa}, {threads} threads");
        }
    }
}

#[test]
fn a_training_stopped_anywhere_goes_on_to_the_same_bits() {
    let task = rings();
    let spec = task.network(&[16], Sigmoid);
    let engine = CpuEngine::new().unwrap().with_threads(1).unwrap();
    let run_until = |stop_after: usize, from: Option<(State, Progress)>, epochs: &mut Vec<Epoch>| {
        let mut trainer = match from {
            None => Trainer::new(&engine, &device("cpu"), &spec, &task, &training()),
            Some((state, progress)) => {
                Trainer::resume(&engine, &device("cpu"), &spec, &task, &training(), &state, progress)
            }
        }
        .unwrap();
        let mut saved = None;
        let mut spans = 0;
        let flow = trainer.run(&mut |event| {
            match event {
                Event::Steps { .. } => spans += 1,
                Event::Inspection { .. } => {}
                Event::Epoch(epoch) => epochs.push(Epoch::clone(epoch)),
                Event::Checkpoint { state, progress, .. } => {
                    saved = Some((State::clone(state), Progress::clone(progress)));
                }
            }
            Ok(if spans >= stop_after { Flow::Stop } else { Flow::Continue })
        });
        (flow.unwrap(), saved.unwrap())
    };
    let mut whole = Vec::new();
    let (_, (state, _)) = run_until(usize::MAX, None, &mut whole);
    let whole = course(&whole, state.digest());

    // Spans are as long as the clock likes, so where the stops fall differs from run to run: the point.
    let mut pieces = Vec::new();
    let mut at = None;
    loop {
        let (flow, saved) = run_until(3, at, &mut pieces);
        at = Some(saved);
        if flow == Flow::Continue {
            break;
        }
    }
    assert_eq!(course(&pieces, at.unwrap().0.digest()), whole);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_training_and_is_located() {
    let task = rings();
    let spec = task.network(&[16], Relu);
    let training = Training { learning_rate: 1e30, ..training() };
    for (engine, name) in [(&CpuEngine::new().unwrap() as &dyn Engine, "cpu"), (&Reference, "reference")] {
        let mut trainer = Trainer::new(engine, &device(name), &spec, &task, &training).unwrap();
        match trainer.fit(|_| ()) {
            Err(Error::NonFinite { epoch: 1, step, suggestion, .. }) => {
                assert!(step > 1 && step < 10, "step {step}");
                assert_eq!(suggestion, 0.1);
            }
            other => panic!("{other:?}"),
        }
        // The step was not taken: the weights are those it began with.
        assert!(trainer.model().unwrap().state.step < 10);
    }
}

#[test]
fn a_batch_larger_than_the_data_is_one_step_an_epoch() {
    let task = rings();
    let training = Training { batch_size: usize::MAX, epochs: 3, ..training() };
    let spec = task.network(&[4], Tanh);
    let mut trainer = Trainer::new(&CpuEngine::new().unwrap(), &device("cpu"), &spec, &task, &training).unwrap();
    assert_eq!(trainer.steps_per_epoch(), 1);
    trainer.fit(|_| ()).unwrap();
    assert_eq!(trainer.model().unwrap().state.step, 3);
}

#[test]
fn values_can_be_learned_too() {
    let inputs: Vec<f32> = (0..200).map(|i| i as f32 / 100.0 - 1.0).collect();
    let values = inputs.iter().map(|x| x * x).collect();
    let data = Dataset::new(Inputs::F32(inputs.into()), 1, Targets::Values { values, outputs: 1 }).unwrap();
    let task = Task::new("parabola", data.clone(), data);
    let training = Training { epochs: 200, batch_size: 10, learning_rate: 0.1, seed: 2, ..Training::default() };
    let spec = task.network(&[16], Tanh);
    let mut trainer = Trainer::new(&CpuEngine::new().unwrap(), &device("cpu"), &spec, &task, &training).unwrap();
    let last = trainer.fit(|_| ()).unwrap();
    assert!(last.val_loss < 1e-3 && last.val_acc.is_none(), "{last}");
}

#[test]
fn looking_into_a_network_changes_no_bit() {
    let task = rings();
    let spec = task.network(&[16, 8], Sigmoid);
    let course = |every: u64| {
        let engine = CpuEngine::new().unwrap();
        let mut trainer =
            Trainer::new(&engine, &device("cpu"), &spec, &task, &training()).unwrap().inspect_every(every);
        let mut inspected = Vec::new();
        let flow = trainer.run(&mut |event| {
            if let Event::Inspection { epoch, state, gradient } = event {
                assert!(gradient.len() == 3 && gradient[0].weight.values().iter().any(|value| *value != 0.0));
                assert!(state.is_finite());
                inspected.push(*epoch);
            }
            Ok(Flow::Continue)
        });
        assert_eq!(flow.unwrap(), Flow::Continue);
        (trainer.model().unwrap().state.digest(), inspected)
    };
    let (digest, inspected) = course(2);
    assert_eq!(course(0), (digest, Vec::new()));
    let wanted: Vec<u64> =
        (1..=training().epochs).filter(|&e| e == 1 || e % 2 == 0 || e == training().epochs).collect();
    assert_eq!(inspected, wanted);
}

#[test]
fn a_session_tells_the_gradient_and_stays_as_it_was() {
    let task = rings();
    let spec = task.network(&[16, 8], Sigmoid);
    let state = State::initial(&spec, &Training::default().seed(3)).unwrap();
    let samples: Vec<u32> = (0..20).collect();

    // In f64 by the definition: what a step at rate 1 takes away.
    let mut network = Network::<f64>::new(&spec, &Training::default(), &state);
    let features = task.train.features();
    let x: Vec<f64> = (0..20 * features).map(|i| f64::from(task.train.inputs().get(i))).collect();
    let parts =
        |network: &mut Network<f64>| (0..3).map(|l| network.layer_mut(l).map(|part| part.to_vec())).collect::<Vec<_>>();
    let before = parts(&mut network);
    network.train_step(&x, task.train.targets(), &samples, &Weighting::default(), &1.0.into());

    let (cpu, reference) = (CpuEngine::new().unwrap(), Reference);
    let mut found = Vec::new();
    for (engine, name) in [(&cpu as &dyn Engine, "cpu"), (&reference, "reference")] {
        let mut session = engine.open(&device(name), &spec, &Training::default()).unwrap();
        session.load(Split::Train, &task.train).unwrap();
        session.set_state(&state).unwrap();
        found.push(session.gradient(&samples).unwrap());
        assert_eq!(session.state().unwrap(), state);
    }
    assert_eq!(found[0], found[1]);
    for (l, [weights, biases, _]) in before.iter().enumerate() {
        let [weights_after, biases_after, _] = network.layer_mut(l);
        let pairs = weights.iter().zip(weights_after).zip(found[0][l].weight.values());
        for ((before, after), found) in pairs.chain(biases.iter().zip(biases_after).zip(&found[0][l].bias)) {
            let wanted = before - *after;
            assert!((f64::from(*found) - wanted).abs() <= 1e-5 * wanted.abs() + 1e-8, "{found} is not {wanted}");
        }
    }
}
