//! Compares the portable GPU engine with the reference, on the adapters of this machine. The integer arithmetic must
//! agree bit by bit, and so must the adapter's own arithmetic if it is exact. If it is close, it must agree nearly.
//!
//! The tests have their own main, so that without an adapter all of them are visibly counted as ignored. Each test has
//! a time limit.

use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use syva_core::arithmetic::Number;
use syva_core::conformance::{
    self, CLOSE, Case, activations, cases, learned_cases, loss_cases, losses, measure, optimizer_cases, random,
    regularised_cases, rules, run, smooth,
};
use syva_core::data::{Dataset, Inputs, Split, Targets};
use syva_core::{Activation, DeviceId, Engine, Error, Mlp, Precision, Span, State, Training};
use syva_wgpu::{Function, WgpuEngine, operands};

/// The engine. All tests share its devices, because integer arithmetic takes long to compile.
fn engine() -> WgpuEngine {
    static ENGINE: LazyLock<WgpuEngine> = LazyLock::new(WgpuEngine::new);
    ENGINE.clone()
}

type Outcome = Result<(), Failed>;
type Test = (&'static str, fn(&DeviceId) -> Outcome);

fn main() {
    let arguments = Arguments::from_args();
    let devices = engine().devices();
    let missing = devices.is_empty();
    let note = if missing { " (needs a graphics adapter: Vulkan, Metal or DX12)" } else { "" };
    let device = devices.first().map_or(DeviceId { engine: "gpu".into(), index: 0 }, |info| info.id.clone());
    for info in &devices {
        println!("{}: {}, {}", info.id, info.name, info.detail);
    }
    let tests: [Test; 14] = [
        ("exact: conforms to the reference", exact),
        ("exact: conforms with every optimiser", optimises),
        ("exact: conforms with what holds weights back", holds_back),
        ("exact: conforms with learned activations", learns),
        ("exact: conforms with everything cut into small buffers", exact_in_pieces),
        ("exact: has the activations of the reference", activates),
        ("exact: has the rules and losses of the reference", tables),
        ("exact: plays random rounds as the reference does", plays),
        ("as it is: conforms, exactly or closely", as_it_is),
        ("the integer arithmetic is the host's", integers),
        ("the functions in integer arithmetic are the contract's", functions),
        ("a loss that is not finite stops the updates", not_finite),
        ("what cannot run is refused", refuses),
        ("sessions of one thread and of several share a device", shared),
    ];
    let mut trials = vec![Trial::test("a device that is not there is refused", absent)];
    for (name, test) in tests {
        let device = device.clone();
        let name = format!("{name}{note}");
        trials.push(Trial::test(name, move || within(1200, move || test(&device))).with_ignored_flag(missing));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Fails after a number of seconds. A driver that hangs is left hanging.
fn within(seconds: u64, test: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || done.send(test()));
    match wait.recv_timeout(Duration::from_secs(seconds)) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("still not done after {seconds} s").into()),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("panicked".into()),
    }
}

/// Runs the cases that the engine does not refuse for their optimiser, and says how many.
fn run_all(engine: &WgpuEngine, device: &DeviceId, cases: &[Case]) -> Outcome {
    let known: Vec<&Case> = cases.iter().filter(|case| case.training.optimizer.muon().is_none()).collect();
    known.iter().try_for_each(|case| run(engine, device, case))?;
    println!("{} of {} cases", known.len(), cases.len());
    Ok(())
}

fn exact(device: &DeviceId) -> Outcome {
    let engine = engine().exact(true);
    run_all(&engine, device, &[cases(), loss_cases()].concat())?;
    Ok(conformance::operands(&engine, device)?)
}

fn optimises(device: &DeviceId) -> Outcome {
    run_all(&engine().exact(true), device, &optimizer_cases())
}

fn holds_back(device: &DeviceId) -> Outcome {
    run_all(&engine().exact(true), device, &regularised_cases())
}

/// The kit's cases for learned activations without the largest network, for which integer arithmetic takes long.
fn small_learned_cases() -> Vec<Case> {
    let mut all = learned_cases();
    all.retain(|case| case.spec.parameters() < 20_000);
    all
}

fn learns(device: &DeviceId) -> Outcome {
    run_all(&engine().exact(true), device, &small_learned_cases())
}

fn activates(device: &DeviceId) -> Outcome {
    Ok(activations(&engine().exact(true), device)?)
}

/// One rule is refused: Muon's.
fn tables(device: &DeviceId) -> Outcome {
    let engine = engine().exact(true);
    losses(&engine, device)?;
    match rules(&engine, device)? {
        1 => Ok(()),
        refused => Err(format!("{refused} rules are refused").into()),
    }
}

/// Random rounds, every third with small buffers. By default there are a few. The environment variables say where to begin
/// and how many.
fn plays(device: &DeviceId) -> Outcome {
    let number = |name, otherwise| std::env::var(name).map_or(Ok(otherwise), |text| text.parse::<u32>());
    let (first, rounds) = (number("SYVA_RANDOM_SEED", 0)?, number("SYVA_RANDOM_ROUNDS", 6)?);
    for seed in first..first + rounds {
        let engine = engine().exact(true);
        let engine = if seed % 3 == 2 { engine.with_buffers_of(256 << 10) } else { engine };
        let mut said = format!("SYVA_RANDOM_SEED={seed}");
        let played = random(&engine, device, seed, &mut |line| said = format!("{said}\n{line}"));
        played.map_err(|failed| format!("{said}\n{failed}"))?;
    }
    println!("{rounds} rounds");
    Ok(())
}

/// Buffers of 16 KiB cut layers and data sets into several parts, and batches into several blocks of few rows. Chains go on
/// from block to block, and sums wait for each other.
fn exact_in_pieces(device: &DeviceId) -> Outcome {
    let engine = engine().exact(true).with_buffers_of(16 << 10);
    let small =
        |case: &Case, sizes: &[usize]| case.spec.parameters() < 20_000 && sizes.contains(&case.training.batch_size);
    let mut all = [cases(), loss_cases()].concat();
    all.retain(|case| small(case, &[3, 70, 96, 257, 640]));
    // Of every optimiser, of all that holds back, and of learned activations, a batch of a few blocks or of several.
    let mut more = [optimizer_cases(), regularised_cases(), learned_cases()].concat();
    more.retain(|case| small(case, &[5, 70, 300]));
    all.extend(more.into_iter().step_by(2));
    run_all(&engine, device, &all)
}

fn as_it_is(device: &DeviceId) -> Outcome {
    let engine = engine();
    let info = engine.devices().into_iter().find(|info| info.id == *device).ok_or("no such device")?;
    let mut furthest = 0.0_f64;
    for case in &[cases(), small_learned_cases()].concat() {
        if info.exact {
            run(&engine, device, case)?;
        } else {
            let deviation = measure(&engine, device, case, Precision::F32)?;
            furthest = furthest.max(if smooth(case) { deviation.ulp } else { 0.0 });
        }
    }
    if info.exact {
        run_all(&engine, device, &[loss_cases(), optimizer_cases(), regularised_cases()].concat())?;
        conformance::operands(&engine, device)?;
    }
    println!("{}: {} last places at most (allowed: {CLOSE})", info.id, furthest);
    Ok(())
}

/// Compares a function on the device with the host's, over triples of operands. All NaNs count as equal.
fn compare(device: &DeviceId, function: Function, seed: u32, count: usize, right: fn(f32, f32, f32) -> f32) -> Outcome {
    println!("{function:?}: {count} triples, seed {seed}");
    let same = compare_over(device, function, &operands(seed, count), right);
    same.map_err(|failed| format!("{} (seed {seed})", failed.message().unwrap_or_default()).into())
}

/// The same over given operands.
fn compare_over(
    device: &DeviceId,
    function: Function,
    operands: &[[u32; 3]],
    right: fn(f32, f32, f32) -> f32,
) -> Outcome {
    let engine = engine();
    for operands in operands.chunks(1 << 20) {
        let found = engine.soft(device, function, operands)?;
        for (&[a, b, c], found) in operands.iter().zip(found) {
            let right = right(f32::from_bits(a), f32::from_bits(b), f32::from_bits(c));
            if right.to_bits() != found && !(right.is_nan() && f32::from_bits(found).is_nan()) {
                let problem =
                    format!("{function:?} of {a:#x}, {b:#x}, {c:#x}: {found:#x} instead of {:#x}", right.to_bits());
                return Err(problem.into());
            }
        }
    }
    Ok(())
}

/// Squares of numbers in the middle between two neighbours, rounded, and the numbers next to them: no roots are nearer to a
/// tie. Also squares of few bits, whose roots are exact.
fn near_ties() -> Vec<[u32; 3]> {
    let squares = (0..1 << 17).flat_map(|i| {
        let middle = 1.0 + f64::from(2 * (i * 127 % (1 << 23)) + 1) * 2.0_f64.powi(-24);
        let exact = 1.0 + f64::from(i % 4096) / 4096.0;
        let scale = 4.0_f64.powi(i % 100 - 50);
        let square = (middle * middle * scale) as f32;
        [square, square.next_up(), square.next_down(), (2.0 * square), (exact * exact * scale) as f32]
    });
    squares.map(|square| [square.to_bits(), 0, 0]).collect()
}

fn integers(device: &DeviceId) -> Outcome {
    compare(device, Function::Fma, 11, 4 << 20, Number::fma)?;
    compare(device, Function::Add, 12, 1 << 20, |a, b, _| a + b)?;
    compare(device, Function::Sub, 13, 1 << 20, |a, b, _| a - b)?;
    compare(device, Function::Mul, 14, 1 << 20, |a, b, _| a * b)?;
    compare(device, Function::Div, 15, 1 << 20, |a, b, _| a / b)?;
    compare(device, Function::SquareRoot, 17, 1 << 20, |a, _, _| a.square_root())?;
    compare_over(device, Function::SquareRoot, &near_ties(), |a, _, _| a.square_root())?;
    compare(device, Function::Above, 16, 1 << 20, |a, b, _| f32::from(u8::from(a > b)))
}

fn functions(device: &DeviceId) -> Outcome {
    compare(device, Function::Exp, 21, 1 << 19, |a, _, _| Number::exp(a))?;
    compare(device, Function::Log, 22, 1 << 19, |a, _, _| Number::log(a))?;
    compare(device, Function::Log1p, 23, 1 << 19, |a, _, _| Number::log_1p(a.abs()))?;
    compare(device, Function::Sigmoid, 24, 1 << 19, |a, _, _| Number::sigmoid(a))?;
    compare(device, Function::Tanh, 25, 1 << 19, |a, _, _| Number::tanh(a))
}

fn not_finite(device: &DeviceId) -> Outcome {
    let spec = Mlp::new(1).values(1);
    let data = Dataset::new(
        Inputs::F32(vec![1.0, 1e30, 1.0].into()),
        1,
        Targets::Values { values: vec![0.5, 0.5, 0.5].into(), outputs: 1 },
    )?;
    for exact in [false, true] {
        let mut session = engine().exact(exact).open(device, &spec, &Training::default())?;
        session.load(Split::Train, &data)?;
        session.set_state(&State::initial(&spec, &Training::default())?)?;
        let span =
            |first_step, order| Span { first_step, order, batch_size: 1, learning_rate: &[0.1; 3], ..Span::default() };
        let one = Span { learning_rate: &[0.1], ..span(0, &[0]) };
        session.train(&one)?;
        let before = session.state()?;
        // The loss of sample 1 is infinite, so there is no update from it, nor from sample 2.
        let report = session.train(&Span { learning_rate: &[0.1; 2], ..span(1, &[1, 2]) })?;
        let after = session.state()?;
        if report.first_non_finite != Some(0) || !report.losses.is_empty() || after != before || after.step != 1 {
            return Err(format!("{report:?}, {after:?} after {before:?}").into());
        }
        // The session can go on from there.
        if session.train(&Span { learning_rate: &[0.1], ..span(1, &[2]) })?.losses.len() != 1 {
            return Err("it does not go on".into());
        }
    }
    Ok(())
}

fn refuses(device: &DeviceId) -> Outcome {
    let hollow = Mlp::new(2).hidden(&[0], Activation::Relu).classes(2);
    let wide = Mlp::new(2).hidden(&[5000], Activation::Relu).classes(2);
    let narrow = engine().with_buffers_of(8 << 10);
    match narrow.open(device, &wide, &Training::default()).err() {
        Some(Error::Unsupported { what, .. }) if what.contains("5000") => {}
        other => return Err(format!("{other:?}").into()),
    }
    let spec = Mlp::new(2).classes(2);
    let mut session = narrow.open(device, &spec, &Training::default())?;
    let data = Dataset::new(
        Inputs::U8(vec![0; 12_000].into()),
        2,
        Targets::Classes { labels: vec![0; 6000].into(), classes: 2 },
    )?;
    session.load(Split::Train, &data)?;
    let muon = Training::default().optimizer("muon".parse()?);
    match narrow.open(device, &spec, &muon).err() {
        Some(Error::Unsupported { what, .. }) if what.contains("muon") => {}
        other => return Err(format!("{other:?}").into()),
    }
    let unset = session.evaluate(Split::Train).is_err() && session.state().is_err();
    session.set_state(&State::initial(&spec, &Training::default())?)?;
    let order: Vec<u32> = (0..6000).collect();
    let batch = Span { first_step: 0, order: &order, batch_size: 6000, learning_rate: &[0.1], ..Span::default() };
    let too_large = session.train(&batch).err().is_some_and(|error| error.to_string().contains("6000"));
    if unset && too_large && engine().open(device, &hollow, &Training::default()).is_err() {
        return Ok(());
    }
    Err("something that cannot run was accepted".into())
}

fn absent() -> Outcome {
    let engine = engine();
    let spec = Mlp::new(2).classes(2);
    for (name, index) in [("gpu", 99), ("cpu", 0)] {
        let device = DeviceId { engine: name.into(), index };
        match engine.open(&device, &spec, &Training::default()).err() {
            Some(Error::Unsupported { .. }) => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}

fn shared(device: &DeviceId) -> Outcome {
    let engine = engine();
    let specs = [Mlp::new(3).values(1), Mlp::new(3).values(2)];
    let mut sessions = Vec::new();
    for spec in &specs {
        let mut session = engine.open(device, spec, &Training::default())?;
        session.set_state(&State::initial(spec, &Training::default())?)?;
        sessions.push(session);
    }
    for (session, spec) in sessions.iter_mut().zip(&specs) {
        if session.state()? != State::initial(spec, &Training::default())? {
            return Err("one session changed the other's weights".into());
        }
    }
    // Threads read results at the same time.
    let small: Vec<Case> = cases().into_iter().filter(|case| case.spec.parameters() < 1000).take(4).collect();
    let exact = engine.exact(true);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| run_all(&exact, device, &small))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("panicked".into())))
    })
}
