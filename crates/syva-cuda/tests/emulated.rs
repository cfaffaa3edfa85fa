//! Tests the CUDA engine without a card. The host code is unchanged. The kernels are compiled for the CPU, from the
//! same sources as the PTX, and an emulated driver library runs them (`tests/emulator`).
//!
//! Each scenario runs in its own process, because a process loads the driver once, and environment variables configure
//! it. If the emulator cannot be built, the tests are visibly counted as ignored. It needs Linux on x86-64 and a C++
//! compiler.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use syva_core::conformance::{
    Case, activations, cases, learned_cases, loss_cases, losses, operands, optimizer_cases, regularised_cases, rules,
    run, same_state,
};
use syva_core::data::{Dataset, Inputs, Split, Targets, Task, digits};
use syva_core::ops::Learned;
use syva_core::random::permutation;
use syva_core::reference::Reference;
use syva_core::trainer::{Event, Flow, Progress};
use syva_core::{
    Activation, DeviceId, Engine, Epoch, Error, Matrix, Mlp, Normalization, Session, Span, Spec, State, Trainer,
    Training, threads,
};
use syva_cuda::CudaEngine;

#[path = "emulated/random.rs"]
mod random;
#[path = "emulated/rounded.rs"]
mod rounded;

use rounded::PRECISION;

type Outcome = Result<(), Failed>;
type Setting = (&'static str, &'static str);
type Scenario = (&'static str, &'static [Setting], fn() -> Outcome);

/// Cards with many processors get small tiles. Cards with one processor get large tiles.
const SMALL: Setting = ("EMULATED_PROCESSORS", "1000");
const LARGE: Setting = ("EMULATED_PROCESSORS", "1");
const REVERSE: Setting = ("EMULATED_ORDER", "reverse");
const SHUFFLED: Setting = ("EMULATED_ORDER", "20261125");
const TURING: Setting = ("EMULATED_CAPABILITY", "7");

/// The scenarios: a name, the emulated driver's settings, and the test.
const SCENARIOS: [Scenario; 62] = [
    ("conforms, threads in order", &[("EMULATED_ORDER", "forward")], conforms),
    ("conforms, threads in reverse order, the other stream first", &[REVERSE, ("EMULATED_AHEAD", "1")], conforms),
    ("conforms, threads shuffled", &[SHUFFLED], conforms),
    ("conforms, many processors, so small tiles", &[SMALL], conforms),
    ("conforms, one processor, so large tiles", &[LARGE], conforms),
    ("conforms as one kernel", &[PERSISTENT, ("EMULATED_ORDER", "forward")], conforms),
    ("conforms as one kernel, in reverse order", &[PERSISTENT, REVERSE], conforms),
    ("conforms as one kernel, shuffled", &[PERSISTENT, SHUFFLED], conforms),
    ("conforms as one kernel, on one processor", &[PERSISTENT, LARGE], conforms),
    ("conforms on a cluster", &[CLUSTER, ("EMULATED_ORDER", "forward")], conforms),
    ("conforms on a cluster, in reverse order", &[CLUSTER, REVERSE], conforms),
    ("conforms on a cluster, shuffled", &[CLUSTER, SHUFFLED], conforms),
    ("conforms on a cluster of eight", &[CLUSTER, ("EMULATED_CLUSTER", "8")], conforms),
    ("has the rules and losses of the reference", &[SMALL], tables),
    ("multiplies and adds with one rounding, small tiles", &[SMALL], rounds_once),
    ("multiplies and adds with one rounding, large tiles", &[LARGE], rounds_once),
    ("spans of every length come to the same bits", &[], spans),
    ("spans of every length as one kernel", &[PERSISTENT], spans),
    ("spans of every length on a cluster", &[CLUSTER], spans),
    ("the chapter's network on digits comes to the pinned bits", &[], chapter),
    ("the chapter's network as one kernel", &[PERSISTENT, ("EMULATED_PROCESSORS", "132")], chapter),
    ("the chapter's network on a cluster", &[CLUSTER], chapter),
    ("methods are tried on the way, and the fastest is kept", &[SMALL], methods),
    ("random networks, cards and calls, in reverse order", &[REVERSE], random::calls),
    ("random networks, cards and calls, shuffled", &[SHUFFLED, ("SYVA_RANDOM_SEED", "1000")], random::calls),
    ("sessions of several threads share a card", &[], shared),
    ("a session is handed from thread to thread", &[], handed_on),
    ("a card that refuses a method goes on with another", &[SMALL, ("EMULATED_REFUSE", "1")], refused),
    ("a method that there is not is said", &[("SYVA_CUDA", "fast")], no_method),
    ("a method that cannot be is said", &[CLUSTER, ("EMULATED_CLUSTER", "0")], no_cluster),
    ("tf32: steps are as computed plainly", &[(PRECISION, "tf32"), LARGE], rounded::steps),
    ("bf16: steps are as computed plainly", &[(PRECISION, "bf16"), LARGE], rounded::steps),
    ("tf32: so are steps of any shape", &[(PRECISION, "tf32"), SMALL, SHUFFLED], rounded::shapes),
    ("bf16: so are steps of any shape", &[(PRECISION, "bf16"), SMALL, SHUFFLED], rounded::shapes),
    ("tf32: and in large tiles", &[(PRECISION, "tf32"), LARGE, REVERSE], rounded::shapes),
    ("bf16: and in large tiles", &[(PRECISION, "bf16"), LARGE, REVERSE], rounded::shapes),
    ("tf32: the kit finds it close", &[(PRECISION, "tf32"), SMALL], rounded::close),
    ("bf16: the kit finds it close", &[(PRECISION, "bf16"), SMALL], rounded::close),
    ("tf32: the chapter's network learns as with f32", &[(PRECISION, "tf32")], rounded::trains),
    ("bf16: the chapter's network learns as with f32", &[(PRECISION, "bf16")], rounded::trains),
    ("tf32: stored gradients are the same", &[(PRECISION, "tf32"), SMALL], rounded::stores),
    ("bf16: stored gradients are the same", &[(PRECISION, "bf16"), LARGE], rounded::stores),
    ("a card too old for tf32 is said", &[TURING, ("EMULATED_CAPABILITY_MINOR", "5")], rounded::too_old),
    ("data larger than the card is streamed", &[("EMULATED_MEMORY", "2000000")], streams),
    ("a profile tells what each launch took", &[SMALL], profiles),
    ("a profile of more than plain gradient descent", &[SMALL], profiles_more),
    ("steps that a method does not know are said", &[PERSISTENT], not_plain),
    ("a rule's training tells what the reference's tells, the host first", &[], trains_more),
    ("a rule's training tells what the reference's tells, the card first", &[("EMULATED_AHEAD", "1")], trains_more),
    ("a training stops before the first step that is not finite", &[], halts),
    ("it stops as one kernel", &[PERSISTENT], halts),
    ("it stops on a cluster", &[CLUSTER], halts),
    ("a training tells what the reference's tells, the host first", &[], trains),
    ("a training tells what the reference's tells, the card first", &[("EMULATED_AHEAD", "1")], trains),
    ("a training tells what the reference's tells, on a full card", &[("EMULATED_MEMORY", FULL)], trains),
    (
        "steps are begun before the evaluation is heard of",
        &[("EMULATED_AHEAD", "1"), ("EMULATED_FAIL", "40")],
        begins_ahead,
    ),
    (
        "where there is no room, the evaluation is heard of first",
        &[("EMULATED_AHEAD", "1"), ("EMULATED_FAIL", "40"), ("EMULATED_MEMORY", FULL)],
        waits,
    ),
    ("what does not fit is said", &[("EMULATED_MEMORY", "3000000")], does_not_fit),
    ("a card that is lost is said", &[("EMULATED_FAIL", "40")], is_lost),
    ("a card that is lost in one kernel is said", &[PERSISTENT, ("EMULATED_FAIL", "1")], is_lost),
    ("an old driver is said", &[("EMULATED_DRIVER", "12020")], is_old),
    ("no card is said", &[("EMULATED_CARDS", "0")], no_card),
];
const PERSISTENT: Setting = ("SYVA_CUDA", "persistent");
const CLUSTER: Setting = ("SYVA_CUDA", "cluster");

/// The memory of a card that has room for the training in [`trains`], but not for a copy of its weights.
const FULL: &str = "2500000";

/// The environment variable that names the scenario of a process.
const SCENARIO: &str = "SYVA_EMULATED_SCENARIO";

fn main() {
    if let Ok(name) = std::env::var(SCENARIO) {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.0 == name).expect("a scenario of this name");
        if let Err(failed) = scenario.2() {
            eprintln!("{}", failed.message().unwrap_or("failed"));
            std::process::exit(1);
        }
        return;
    }
    let arguments = Arguments::from_args();
    let built = if arguments.list { Err("listing".into()) } else { build() };
    let mut trials = Vec::new();
    for (name, settings, _) in SCENARIOS {
        let (title, folder) = match &built {
            Ok(folder) => (name.to_string(), folder.clone()),
            Err(reason) => (format!("{name} ({reason})"), PathBuf::new()),
        };
        let trial = Trial::test(title, move || in_process(name, settings, &folder));
        trials.push(trial.with_ignored_flag(built.is_err()));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Builds the emulated driver's library. The error says why it cannot be built.
fn build() -> Result<PathBuf, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("needs Linux on x86-64".into());
    }
    #[cfg(target_arch = "x86_64")]
    if !is_x86_feature_detected!("fma") {
        return Err("needs a processor with fused multiply-add".into());
    }
    let compiler = std::env::var("CXX").unwrap_or("c++".into());
    if Command::new(&compiler).arg("--version").output().is_err() {
        return Err("needs a C++ compiler".into());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulator");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulator");
    let flags = "-std=c++17 -O2 -mfma -ffp-contract=off -fPIC -fvisibility=hidden -Wall -Werror -Wno-unknown-pragmas";
    let compile = |file: &str, object: &Path, more: &str| -> Result<(), String> {
        let mut command = Command::new(&compiler);
        command.args(flags.split(' ')).args(more.split_whitespace()).arg("-c").arg(source.join(file));
        let output = command.arg("-o").arg(object).output().map_err(|error| error.to_string())?;
        // A mistake in the sources must not look like a machine without a compiler.
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    let mut parts = vec![("driver.cpp", "driver.o".to_string(), String::new())];
    let mut kernels = |object: &str, more: &str| parts.push(("kernels.cpp", object.into(), more.into()));
    kernels("head.o", "");
    kernels("stored.o", "-DSTORED");
    for tile in [16, 64, 128] {
        kernels(&format!("layers_{tile}.o"), &format!("-DTILE={tile}"));
    }
    kernels("persistent.o", "-DWHOLE_CARD -DTILE=16 -DTOGETHER");
    kernels("cluster.o", "-DONE_CLUSTER -DTILE=32 -DTOGETHER");
    for (precision, define) in [("tf32", "-DTF32"), ("bf16", "-DBF16")] {
        for tile in [64, 128] {
            kernels(&format!("layers_{precision}_{tile}.o"), &format!("-DTILE={tile} {define}"));
        }
    }
    let failed = Mutex::new(None);
    threads::share(threads::cores(), parts.iter(), |(file, object, more)| {
        if let Err(error) = compile(file, &folder.join(object), more) {
            *failed.lock().expect("no other thread panics") = Some(error);
        }
    });
    if let Some(error) = failed.into_inner().expect("no thread has panicked") {
        return Err(error);
    }
    let objects = parts.iter().map(|(_, object, _)| folder.join(object));
    let library = folder.join("libcuda.so");
    let linked = Command::new(&compiler).arg("-shared").args(objects).arg("-o").arg(library).status();
    assert!(linked.is_ok_and(|status| status.success()), "the emulator does not link");
    Ok(folder)
}

fn in_process(name: &str, settings: &[(&str, &str)], folder: &Path) -> Outcome {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(SCENARIO, name).env("LD_LIBRARY_PATH", folder).envs(settings.iter().copied());
    let output = command.output()?;
    if output.status.success() {
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            println!("{name}: {line}");
        }
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

fn card() -> DeviceId {
    DeviceId { engine: "cuda".into(), index: 0 }
}

/// Runs all cases for the orders of threads that reveal most. The other settings differ only in their tiles, and run
/// every third case. The methods that run a span as one kernel are for plain gradient descent on networks with hidden
/// layers and few outputs, which are most of the cases that they try.
fn conforms() -> Outcome {
    let engine = CudaEngine::new();
    let step = if std::env::var_os("EMULATED_ORDER").is_some() { 1 } else { 3 };
    let (mut ran, mut tried) = (0, 0);
    let plain = [cases(), loss_cases()].concat();
    let mut more = [optimizer_cases(), regularised_cases(), learned_cases()].concat();
    more.retain(|case| std::env::var_os("SYVA_CUDA").is_none() && case.training.optimizer.muon().is_none());
    for case in plain.iter().chain(&more).step_by(step) {
        tried += 1;
        match run(&engine, &card(), case) {
            Err(said) if said.contains("SYVA_CUDA") => {}
            done => {
                done?;
                ran += 1;
            }
        }
    }
    if std::env::var_os("EMULATED_ORDER").is_none() {
        activations(&engine, &card())?;
    }
    println!("{ran} of {tried} cases");
    let all = std::env::var_os("SYVA_CUDA").is_none();
    if ran == tried || !all && ran * 2 > tried { Ok(()) } else { Err(format!("{ran} of {tried} cases ran").into()) }
}

fn open(engine: &dyn Engine, case: &Case) -> Result<Box<dyn Session>, Failed> {
    let mut session = engine.open(&card(), &case.spec, &case.training)?;
    session.load(Split::Train, &case.train)?;
    session.load(Split::Validation, &case.validation)?;
    session.set_state(&State::initial(&case.spec, &case.training)?)?;
    Ok(session)
}

fn rounds_once() -> Outcome {
    Ok(operands(&CudaEngine::new(), &card())?)
}

/// One rule is refused: Muon's.
fn tables() -> Outcome {
    losses(&CudaEngine::new(), &card())?;
    match rules(&CudaEngine::new(), &card())? {
        1 => Ok(()),
        refused => Err(format!("{refused} rules are refused").into()),
    }
}

/// A few of the drawn digits.
fn few_digits(first: u64, count: usize) -> Result<Dataset, Failed> {
    let (pixels, labels) = digits::draw(digits::SEED, first, count);
    let labels = labels.into_iter().map(u32::from).collect();
    Ok(Dataset::new(Inputs::U8(pixels.into()), 784, Targets::Classes { labels, classes: 10 })?)
}

fn digits_case(hidden: &[usize], samples: usize, batch_size: usize) -> Result<Case, Failed> {
    let spec = Mlp::image(28, 28).hidden(hidden, Activation::Sigmoid).classes(10);
    Ok(Case {
        name: "digits".into(),
        spec: spec.normalized(Normalization::pixels(0.1307, 0.3081)),
        train: few_digits(0, samples)?,
        validation: few_digits(60_000, 100)?,
        training: Training { batch_size, ..Training::default() },
    })
}

/// Recorded steps, steps beyond them, and a smaller last batch, in spans that grow, shrink and change their batch size.
fn spans() -> Outcome {
    let case = digits_case(&[24, 17], 700, 5)?;
    let (mut ours, mut theirs) = (open(&CudaEngine::new(), &case)?, open(&Reference, &case)?);
    let mut step = 0;
    for (round, (samples, batch_size)) in
        [(3, 5), (700, 5), (698, 5), (350, 5), (64, 64), (7, 1000), (700, 2)].iter().enumerate()
    {
        let order = permutation(7, round as u64, *samples);
        let steps = samples.div_ceil(*batch_size);
        let rates = vec![0.05; steps];
        let span =
            Span { first_step: step, order: &order, batch_size: *batch_size, learning_rate: &rates, ..Span::default() };
        let (found, wanted) = (ours.train(&span)?, theirs.train(&span)?);
        if found != wanted {
            return Err(format!("span {round}: another report").into());
        }
        same_state(&format!("span {round}"), &theirs.state()?, &ours.state()?)?;
        step += steps as u64;
    }
    Ok(())
}

/// The digest is the one of `crates/syva/tests/same_bits.rs`.
fn chapter() -> Outcome {
    const FEW_DIGITS: &str = "ebefc5f451a0d8b87c767748a624ac036a59874348c33564062efd278f6ec530";
    let case = digits_case(&[256, 128], 2000, 128)?;
    let mut session = open(&CudaEngine::new(), &case)?;
    let order = permutation(1, 0, 2000);
    let span = Span { first_step: 0, order: &order, batch_size: 128, learning_rate: &[0.01; 16], ..Span::default() };
    session.train(&span)?;
    let digest = session.state()?.digest();
    if digest == FEW_DIGITS { Ok(()) } else { Err(format!("{digest} instead of {FEW_DIGITS}").into()) }
}

fn streams() -> Outcome {
    let case = digits_case(&[8], 1500, 20)?;
    let (mut ours, mut theirs) = (open(&CudaEngine::new(), &case)?, open(&Reference, &case)?);
    let order = permutation(3, 0, 1500);
    let span = Span { first_step: 0, order: &order, batch_size: 20, learning_rate: &[0.05; 75], ..Span::default() };
    let (found, wanted) = (ours.train(&span)?, theirs.train(&span)?);
    if found != wanted {
        return Err("another report".into());
    }
    same_state("streamed", &theirs.state()?, &ours.state()?)?;
    for split in [Split::Train, Split::Validation] {
        if ours.evaluate(split)? != theirs.evaluate(split)? {
            return Err(format!("another evaluation of {split:?}").into());
        }
    }
    let pixels: Vec<f32> = (0..1500 * 784).map(|i| case.train.inputs().get(i)).collect();
    let (pixels, mut wanted, mut found) = (pixels.into(), Matrix::zeros(1500, 10), Matrix::zeros(1500, 10));
    theirs.predict(&pixels, &mut wanted)?;
    ours.predict(&pixels, &mut found)?;
    if wanted.values() != found.values() {
        return Err("another prediction".into());
    }
    let refused = ours.train(&Span {
        first_step: 75,
        order: &order,
        batch_size: 250,
        learning_rate: &[0.1; 6],
        ..Span::default()
    });
    said(refused.err(), "batch of 250 samples does not fit")
}

/// Runs spans that are long enough for one trial, for all other trials, and for none. Returns the kernels of the last
/// span.
fn spans_with_trials() -> Result<String, Failed> {
    let log = tempfile::NamedTempFile::new()?;
    // SAFETY: the process has only one thread so far, and the driver is loaded below.
    unsafe { std::env::set_var("EMULATED_LOG", log.path()) };
    let case = digits_case(&[24, 17], 840, 2)?;
    let (mut ours, mut theirs) = (open(&CudaEngine::new(), &case)?, open(&Reference, &case)?);
    let mut step = 0;
    for steps in [70, 420, 30, 70] {
        let order = permutation(7, step, 2 * steps);
        let rates = vec![0.05; steps];
        let span = Span { first_step: step, order: &order, batch_size: 2, learning_rate: &rates, ..Span::default() };
        std::fs::write(log.path(), "")?;
        let found = match steps {
            70 => Some(ours.train(&span)?),
            _ => ours.evaluate_then_train(Split::Validation, &span, &mut |_, _| Ok(Flow::Continue))?,
        };
        if found != Some(theirs.train(&span)?) {
            return Err(format!("step {step}: another report").into());
        }
        same_state(&format!("step {step}"), &theirs.state()?, &ours.state()?)?;
        step += steps as u64;
    }
    Ok(std::fs::read_to_string(log.path())?)
}

/// On the emulated card all launches take the same time, so a single kernel is fastest.
fn methods() -> Outcome {
    let ran = spans_with_trials()?;
    if ran == "persistent\nadvance\n" { Ok(()) } else { Err(format!("not one kernel, but {ran}").into()) }
}

fn refused() -> Outcome {
    let ran = spans_with_trials()?;
    if !ran.contains("persistent") && ran.contains("forward_16") { Ok(()) } else { Err(ran.into()) }
}

fn no_cluster() -> Outcome {
    let case = digits_case(&[24, 17], 350, 5)?;
    said(
        CudaEngine::new().open(&card(), &case.spec, &case.training).err(),
        "SYVA_CUDA=cluster with this network on this card",
    )
}

/// A profile differs only in its times, which are those of the emulated card: one microsecond per launch.
fn profiles() -> Outcome {
    let case = digits_case(&[24, 17], 700, 5)?;
    let (mut ours, mut theirs) = (open(&CudaEngine::new(), &case)?, open(&Reference, &case)?);
    let order = permutation(7, 0, 700);
    let span = Span { first_step: 0, order: &order, batch_size: 5, learning_rate: &[0.05; 140], ..Span::default() };
    let (report, breakdown) = ours.profile(&span)?;
    if report != theirs.train(&span)? {
        return Err("another report".into());
    }
    same_state("profiled", &theirs.state()?, &ours.state()?)?;
    let parts: Vec<String> =
        breakdown.parts.iter().map(|part| format!("{}: {:.0}", part.name, part.seconds * 1e6)).collect();
    let names = ["forward 1", "forward 2", "forward 3, loss, input gradient 3", "input gradient 2", "update 1, 2, 3"];
    let multiply_adds = 700 * (2 * 784 * 24 + 3 * 24 * 17 + 3 * 17 * 10);
    if parts == names.map(|name| format!("{name}: 140")) && breakdown.multiply_adds() == multiply_adds {
        return Ok(());
    }
    Err(format!("{parts:?}, {} multiply-adds", breakdown.multiply_adds()).into())
}

/// Dropout, a learned activation, every part of an update by stored gradients, and the first layer's initial sums.
fn profiles_more() -> Outcome {
    let mut case = digits_case(&[24, 17], 700, 5)?;
    case.spec.layers[0].learned = Learned::Blend;
    case.training = more(case.training)?;
    let (mut ours, mut theirs) = (open(&CudaEngine::new(), &case)?, open(&Reference, &case)?);
    let order = permutation(7, 0, 700);
    let span = Span { first_step: 0, order: &order, batch_size: 5, learning_rate: &[0.01; 140], ..Span::default() };
    let (report, breakdown) = ours.profile(&span)?;
    if report != theirs.train(&span)? {
        return Err("another report".into());
    }
    same_state("profiled", &theirs.state()?, &ours.state()?)?;
    let parts: Vec<String> =
        breakdown.parts.iter().map(|part| format!("{}: {:.0}", part.name, part.seconds * 1e6)).collect();
    let wanted = [
        "inputs: 140",
        "forward 1: 140",
        "learned activation 1: 140",
        "dropout 1: 140",
        "forward 2: 140",
        "dropout 2: 140",
        "forward 3, loss, input gradient 3: 140",
        "dropout gradient 2: 140",
        "input gradient 2: 140",
        "dropout gradient 1: 140",
        "learned activation gradient 1: 140",
        "weight gradient 1, 2, 3: 140",
        // The units' sums, and their tree.
        "gradient norm: 280",
        "optimizer: 140",
        "largest norm: 140",
        "initial sums: 140",
    ];
    let multiply_adds = 700 * (2 * 784 * 24 + 3 * 24 * 17 + 3 * 17 * 10);
    if parts == wanted && breakdown.multiply_adds() == multiply_adds {
        return Ok(());
    }
    Err(format!("{parts:?}, {} multiply-adds", breakdown.multiply_adds()).into())
}

/// A training with all that plain gradient descent has not.
fn more(training: Training) -> Result<Training, Failed> {
    let (dropout, input_noise, l2, clip_norm, max_norm, ema) = (0.2, 0.1, 1e-3, 1.0, 2.0, 0.9);
    Ok(Training { dropout, input_noise, l2, clip_norm, max_norm, ema, ..training.optimizer("amsgrad".parse()?) })
}

fn not_plain() -> Outcome {
    let case = digits_case(&[24, 17], 350, 5)?;
    let open = |training: &Training| CudaEngine::new().open(&card(), &case.spec, training);
    open(&case.training)?;
    for training in [
        Training { dropout: 0.1, ..case.training.clone() },
        Training { clip_value: 0.1, ..case.training.clone() },
        case.training.clone().optimizer("adam".parse()?),
    ] {
        said(open(&training).err(), "SYVA_CUDA=persistent with more than plain gradient descent on this card")?;
    }
    let mut spec = case.spec.clone();
    spec.layers[0].learned = Learned::Blend;
    let refused = CudaEngine::new().open(&card(), &spec, &case.training).err();
    said(refused, "SYVA_CUDA=persistent with more than plain gradient descent on this card")
}

fn no_method() -> Outcome {
    let spec = Mlp::new(2).classes(2);
    said(
        CudaEngine::new().open(&card(), &spec, &Training::default()).err(),
        "SYVA_CUDA: no method is called 'fast'; use graph,",
    )
}

/// Several threads open sessions of one engine. Each of them records and replays its own steps.
fn shared() -> Outcome {
    let engine = CudaEngine::new();
    let train = |engine: &dyn Engine, seed| -> Result<State, Failed> {
        let mut case = digits_case(&[2], 32, 1)?;
        case.training.seed = seed;
        let mut session = open(engine, &case)?;
        for epoch in 0..4 {
            let order = permutation(seed, epoch, 32);
            let span = Span {
                first_step: 32 * epoch,
                order: &order,
                batch_size: 1,
                learning_rate: &[0.05; 32],
                ..Span::default()
            };
            session.train(&span)?;
            // This makes the session forget its recorded graph.
            session.load(Split::Train, &case.train)?;
        }
        Ok(session.state()?)
    };
    let engine = &engine;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || train(engine, seed))).collect();
        for (seed, thread) in threads.into_iter().enumerate() {
            let found = thread.join().map_err(|_| "a thread panicked")??;
            same_state(&format!("thread {seed}"), &train(&Reference, seed as u32)?, &found)?;
        }
        Ok(())
    })
}

/// A session runs each call in another thread, which has no context at first, and is dropped in yet another.
fn handed_on() -> Outcome {
    type Call = fn(&mut dyn Session, u64) -> syva_core::Result<()>;
    let train: Call = |session, step| {
        let order = permutation(step as u32, 0, 200);
        session
            .train(&Span {
                first_step: step,
                order: &order,
                batch_size: 2,
                learning_rate: &[0.05; 100],
                ..Span::default()
            })
            .map(|_| ())
    };
    let larger: Call = |session, step| {
        let order = permutation(step as u32, 0, 200);
        let mut judged = |_, _: &mut dyn FnMut() -> syva_core::Result<State>| Ok(Flow::Continue);
        let span =
            Span { first_step: step, order: &order, batch_size: 4, learning_rate: &[0.05; 50], ..Span::default() };
        session.evaluate_then_train(Split::Validation, &span, &mut judged).map(|_| ())
    };
    let predict: Call = |session, _| session.predict(&vec![0.0_f32; 300 * 784].into(), &mut Matrix::zeros(300, 10));
    let evaluate: Call = |session, _| session.evaluate(Split::Train).map(|_| ());
    let load: Call = |session, _| {
        let (pixels, labels) = digits::draw(digits::SEED, 0, 200);
        let labels = labels.into_iter().map(u32::from).collect();
        session.load(
            Split::Train,
            &Dataset::new(Inputs::U8(pixels.into()), 784, Targets::Classes { labels, classes: 10 })?,
        )
    };
    let read: Call = |session, _| {
        let state = session.state()?;
        session.set_state(&state)
    };
    let gradient: Call = |session, _| session.gradient(&[1, 2, 3]).map(|_| ());
    let calls = [train, evaluate, train, load, larger, predict, read, train, gradient, predict, load, train];

    let engine = CudaEngine::new();
    let case = digits_case(&[12], 200, 2)?;
    let (mut ours, mut theirs) = (open(&engine, &case)?, open(&Reference, &case)?);
    for (number, call) in calls.into_iter().enumerate() {
        let step = theirs.state()?.step;
        call(theirs.as_mut(), step)?;
        let called = std::thread::spawn(move || call(ours.as_mut(), step).map(|()| ours));
        ours = called.join().map_err(|_| "a thread panicked")?.map_err(|error| format!("call {number}: {error}"))?;
    }
    same_state("handed on", &theirs.state()?, &ours.state()?)?;
    std::thread::spawn(move || drop(ours)).join().map_err(|_| "a thread panicked")?;
    // If dropping it had failed, the next call would report that.
    open(&engine, &case)?.train(&Span {
        first_step: 0,
        order: &[0],
        batch_size: 1,
        learning_rate: &[0.1],
        ..Span::default()
    })?;
    Ok(())
}

/// The learning rate is too large. The reference knows at which step the loss is no longer finite.
fn halts() -> Outcome {
    for samples in [64, 700] {
        let mut case = digits_case(&[16], samples, 5)?;
        case.spec.layers[0].activation = Activation::Identity;
        let (mut ours, mut theirs) = (open(&CudaEngine::new(), &case)?, open(&Reference, &case)?);
        let order = permutation(3, 0, samples);
        let mut rates = vec![0.01; samples.div_ceil(5)];
        rates[8] = 1e30;
        let span = Span { first_step: 0, order: &order, batch_size: 5, learning_rate: &rates, ..Span::default() };
        let (found, wanted) = (ours.train(&span)?, theirs.train(&span)?);
        if found != wanted || wanted.first_non_finite.is_none() {
            return Err(format!("{:?} instead of {:?}", found.first_non_finite, wanted.first_non_finite).into());
        }
        same_state("halted", &theirs.state()?, &ours.state()?)?;
    }
    Ok(())
}

fn trains() -> Outcome {
    trains_as(Learned::Nothing, &Training::default())
}

fn trains_more() -> Outcome {
    trains_as(Learned::Blend, &more(Training::default())?)
}

/// Trainings that run to their end, that are stopped after an epoch and resumed, and whose validation loss is not
/// finite.
fn trains_as(learned: Learned, how: &Training) -> Outcome {
    let training = &Training { epochs: 4, batch_size: 5, learning_rate: 0.1, ..how.clone() };
    let mut case = digits_case(&[16], 300, 5)?;
    case.spec.layers[0].learned = learned;
    let spec = &case.spec;
    let task = Task::new("digits", case.train, case.validation);
    let wanted = course(&Reference, spec, &task, training, None, &None)?;
    for stop in [None, Some(1), Some(2), Some(3)] {
        let (found, at) = course(&CudaEngine::new(), spec, &task, training, stop, &None)?;
        same_course(&found, &course(&Reference, spec, &task, training, stop, &None)?.0)?;
        let (rest, _) = course(&CudaEngine::new(), spec, &task, training, None, &at)?;
        let told: Vec<String> = found.into_iter().chain(rest).filter(|told| !told.starts_with("saved")).collect();
        let wanted: Vec<String> = wanted.0.iter().filter(|told| !told.starts_with("saved")).cloned().collect();
        same_course(&told, &wanted)?;
    }
    let values = |value: f32| {
        let inputs = Inputs::F32((0..90).map(|i| i as f32 / 90.0).collect::<Vec<_>>().into());
        Dataset::new(inputs, 1, Targets::Values { values: vec![value; 90].into(), outputs: 1 })
    };
    let task = Task::new("squares beyond f32", values(0.5)?, values(1e30)?);
    let spec = task.network(&[6], Activation::Tanh);
    let [found, wanted] = [&CudaEngine::new() as &dyn Engine, &Reference].map(|engine| {
        let error = course(engine, &spec, &task, training, None, &None).err();
        error.and_then(|failed| failed.message().map(str::to_string))
    });
    if found == wanted && found.as_ref().is_some_and(|error| error.contains("epoch 1")) {
        return Ok(());
    }
    Err(format!("{found:?} instead of {wanted:?}").into())
}

/// The point from which a training can be resumed.
type Place = Option<(State, Progress)>;

/// The events of a training without their times, until it is stopped after an epoch. Steps are listed one by one,
/// because where spans end depends on the clock.
fn course(
    engine: &dyn Engine,
    spec: &Spec,
    task: &Task,
    training: &Training,
    stop: Option<u64>,
    from: &Place,
) -> Result<(Vec<String>, Place), Failed> {
    let trainer = match from {
        None => Trainer::new(engine, &card(), spec, task, training),
        Some((state, progress)) => Trainer::resume(engine, &card(), spec, task, training, state, progress.clone()),
    };
    let (mut told, mut place) = (Vec::new(), None);
    trainer?.checkpoint_every(Duration::MAX).run(&mut |event| {
        match *event {
            Event::Steps { losses, .. } => told.extend(losses.iter().map(|loss| format!("loss {:x}", loss.to_bits()))),
            Event::Epoch(epoch) => {
                told.push(format!("{:?}", Epoch { train_seconds: 0.0, eval_seconds: 0.0, ..epoch.clone() }));
            }
            Event::Inspection { .. } => {}
            Event::Checkpoint { state, progress, best } => {
                let mut progress = Progress { train_seconds: 0.0, ..progress.clone() };
                for epoch in &mut progress.history {
                    (epoch.train_seconds, epoch.eval_seconds) = (0.0, 0.0);
                }
                told.push(format!("saved {}, {progress:?}, best {:?}", state.digest(), best.map(State::digest)));
                place = Some((state.clone(), progress));
            }
        }
        let stops = matches!(event, Event::Epoch(epoch) if Some(epoch.epoch) == stop);
        Ok(if stops { Flow::Stop } else { Flow::Continue })
    })?;
    Ok((told, place))
}

fn same_course(found: &[String], wanted: &[String]) -> Outcome {
    if let Some((found, wanted)) = found.iter().zip(wanted).find(|(found, wanted)| found != wanted) {
        return Err(format!("{found}\ninstead of\n{wanted}").into());
    }
    if found.len() == wanted.len() { Ok(()) } else { Err("more or less is told".into()) }
}

/// Loses the card during the steps that follow an evaluation. Returns whether the evaluation was reported first. That
/// shows when the steps were launched, because a synchronisation makes the card do all the work that it has been given.
fn heard_before_the_loss() -> Result<bool, Failed> {
    let case = digits_case(&[16], 300, 5)?;
    let mut session = open(&CudaEngine::new(), &case)?;
    let order = permutation(3, 0, 300);
    let span = Span { first_step: 0, order: &order, batch_size: 5, learning_rate: &[0.05; 60], ..Span::default() };
    let mut heard = false;
    let taken = session.evaluate_then_train(Split::Validation, &span, &mut |_, _| {
        heard = true;
        Ok(Flow::Continue)
    });
    said(taken.err(), "go on from the last checkpoint")?;
    // The session must not take what is on the card for weights.
    said(session.state().err(), "no weights")?;
    Ok(heard)
}

fn begins_ahead() -> Outcome {
    if heard_before_the_loss()? { Err("the steps were launched after all".into()) } else { Ok(()) }
}

fn waits() -> Outcome {
    if heard_before_the_loss()? { Ok(()) } else { Err("the steps were launched before".into()) }
}

/// Checks that there was an error, and that its message contains these words.
fn said(error: Option<Error>, words: &str) -> Outcome {
    match error.map(|error| error.to_string()) {
        Some(message) if message.contains(words) => Ok(()),
        other => Err(format!("{other:?} does not say '{words}'").into()),
    }
}

fn does_not_fit() -> Outcome {
    let engine = CudaEngine::new();
    let large = Mlp::new(784).hidden(&[2000], Activation::Relu).classes(10);
    said(engine.open(&card(), &large, &Training::default()).err(), "of the card's memory, of which")?;
    let case = digits_case(&[200], 1000, 1000)?;
    let order = permutation(3, 0, 1000);
    let span = Span { first_step: 0, order: &order, batch_size: 1000, learning_rate: &[0.05], ..Span::default() };
    said(open(&engine, &case)?.train(&span).err(), "activations of batches of 1000 need")
}

fn is_lost() -> Outcome {
    let case = digits_case(&[16], 700, 5)?;
    let mut session = open(&CudaEngine::new(), &case)?;
    let order = permutation(3, 0, 700);
    let span = Span { first_step: 0, order: &order, batch_size: 5, learning_rate: &[0.05; 140], ..Span::default() };
    said(session.train(&span).err(), "go on from the last checkpoint")?;
    // The session must not take what is on the card for weights.
    said(session.state().err(), "no weights")
}

fn is_old() -> Outcome {
    let engine = CudaEngine::new();
    if engine.absence().is_none_or(|reason| !reason.contains("12.4 is needed")) || !engine.devices().is_empty() {
        return Err(format!("{:?}", engine.absence()).into());
    }
    said(engine.open(&card(), &Mlp::new(2).classes(2), &Training::default()).err(), "update it to 550 or later")
}

fn no_card() -> Outcome {
    let engine = CudaEngine::new();
    if engine.absence().is_none_or(|reason| !reason.contains("no card")) || !engine.devices().is_empty() {
        return Err(format!("{:?}", engine.absence()).into());
    }
    said(engine.open(&card(), &Mlp::new(2).classes(2), &Training::default()).err(), "syva devices")
}
