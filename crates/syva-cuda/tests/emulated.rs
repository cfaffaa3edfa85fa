//! The CUDA engine without a card: host code as it is, kernels compiled for the CPU from the sources that the PTX is made
//! of, and a driver's library that runs them (`tests/emulator`).
//!
//! Each scenario runs in a process of its own, for the driver is loaded once in a process and told by its environment how
//! to behave. Ignored, visibly and counted, where the emulator cannot be built: it wants Linux on x86-64 and a C++
//! compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};
use syva_core::conformance::{Case, cases, run, same_state};
use syva_core::data::{Dataset, Inputs, Split, Targets, digits};
use syva_core::random::permutation;
use syva_core::reference::Reference;
use syva_core::{Activation, DeviceId, Engine, Mlp, Normalization, Session, Span, State};
use syva_cuda::CudaEngine;

#[path = "emulated/rounded.rs"]
mod rounded;

use rounded::PRECISION;

type Outcome = Result<(), Failed>;
type Setting = (&'static str, &'static str);
type Scenario = (&'static str, &'static [Setting], fn() -> Outcome);

/// Cards with many processors get small tiles, those with one large ones.
const SMALL: Setting = ("EMULATED_PROCESSORS", "1000");
const LARGE: Setting = ("EMULATED_PROCESSORS", "1");
const REVERSE: Setting = ("EMULATED_ORDER", "reverse");
const SHUFFLED: Setting = ("EMULATED_ORDER", "20261125");
const TURING: Setting = ("EMULATED_CAPABILITY", "7");

/// What is tried: a name, the emulated driver's settings, and what must hold.
const SCENARIOS: [Scenario; 24] = [
    ("conforms, threads in order", &[("EMULATED_ORDER", "forward")], conforms),
    ("conforms, threads in reverse order", &[REVERSE], conforms),
    ("conforms, threads shuffled", &[SHUFFLED], conforms),
    ("conforms, many processors, so small tiles", &[SMALL], conforms),
    ("conforms, one processor, so large tiles", &[LARGE], conforms),
    ("spans of every length come to the same bits", &[], spans),
    ("the chapter's network on digits comes to the pinned bits", &[], chapter),
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
    ("a card too old for tf32 is said", &[TURING, ("EMULATED_CAPABILITY_MINOR", "5")], rounded::too_old),
    ("data larger than the card is streamed", &[("EMULATED_MEMORY", "2000000")], streams),
    ("a training stops before the first step that is not finite", &[], halts),
    ("what does not fit is said", &[("EMULATED_MEMORY", "3000000")], does_not_fit),
    ("a card that is lost is said", &[("EMULATED_FAIL", "40")], is_lost),
    ("an old driver is said", &[("EMULATED_DRIVER", "12020")], is_old),
    ("no card is said", &[("EMULATED_CARDS", "0")], no_card),
];

/// Names the scenario that a process is to run.
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

/// Builds the emulated driver's library; the error says why it cannot be.
fn build() -> Result<PathBuf, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("needs Linux on x86-64".into());
    }
    let compiler = std::env::var("CXX").unwrap_or("c++".into());
    if Command::new(&compiler).arg("--version").output().is_err() {
        return Err("needs a C++ compiler".into());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulator");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulator");
    let flags = "-std=c++17 -O2 -mfma -ffp-contract=off -fPIC -fvisibility=hidden -Wall -Werror -Wno-unknown-pragmas";
    let compile = |file: &str, object: &str, more: &str| -> Result<PathBuf, String> {
        let object = folder.join(object);
        let mut command = Command::new(&compiler);
        command.args(flags.split(' ')).args(more.split_whitespace()).arg("-c").arg(source.join(file));
        let output = command.arg("-o").arg(&object).output().map_err(|error| error.to_string())?;
        // A mistake in the sources must not look like a machine without a compiler.
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(object)
    };
    let mut objects = vec![compile("driver.cpp", "driver.o", "")?, compile("kernels.cpp", "head.o", "")?];
    for tile in [16, 64, 128] {
        objects.push(compile("kernels.cpp", &format!("layers_{tile}.o"), &format!("-DTILE={tile}"))?);
    }
    for (precision, define) in [("tf32", "-DTF32"), ("bf16", "-DBF16")] {
        for tile in [64, 128] {
            let object = format!("layers_{precision}_{tile}.o");
            objects.push(compile("kernels.cpp", &object, &format!("-DTILE={tile} {define}"))?);
        }
    }
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
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

fn card() -> DeviceId {
    DeviceId { engine: "cuda".into(), index: 0 }
}

/// All cases in the orders of threads that most tell; of the rest, which differ only in their tiles, every third.
fn conforms() -> Outcome {
    let engine = CudaEngine::new();
    let step = if std::env::var_os("EMULATED_ORDER").is_some() { 1 } else { 3 };
    for case in cases().iter().step_by(step) {
        run(&engine, &card(), case)?;
    }
    Ok(())
}

fn open(engine: &dyn Engine, case: &Case) -> Result<Box<dyn Session>, Failed> {
    let mut session = engine.open(&card(), &case.spec)?;
    session.load(Split::Train, &case.train)?;
    session.load(Split::Validation, &case.validation)?;
    session.set_state(&State::initial(&case.spec, case.seed)?)?;
    Ok(session)
}

/// Real digits, few of them.
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
        batch_size,
        seed: 1,
    })
}

/// Recorded steps, steps beyond them, a ragged end; spans that grow, shrink and change their batch.
fn spans() -> Outcome {
    let case = digits_case(&[24, 17], 700, 5)?;
    let (mut ours, mut theirs) = (open(&CudaEngine::new(), &case)?, open(&Reference, &case)?);
    let mut step = 0;
    for (round, (samples, batch_size)) in
        [(3, 5), (700, 5), (698, 5), (350, 5), (64, 64), (7, 1000), (700, 5)].iter().enumerate()
    {
        let order = permutation(7, round as u64, *samples);
        let steps = samples.div_ceil(*batch_size);
        let rates = vec![0.05; steps];
        let span = Span { first_step: step, order: &order, batch_size: *batch_size, learning_rate: &rates };
        let (found, wanted) = (ours.train(&span)?, theirs.train(&span)?);
        if found != wanted {
            return Err(format!("span {round}: another report").into());
        }
        same_state(&format!("span {round}"), &theirs.state()?, &ours.state()?)?;
        step += steps as u64;
    }
    Ok(())
}

/// The digest is that of `crates/syva/tests/same_bits.rs`.
fn chapter() -> Outcome {
    const FEW_DIGITS: &str = "ebefc5f451a0d8b87c767748a624ac036a59874348c33564062efd278f6ec530";
    let case = digits_case(&[256, 128], 2000, 128)?;
    let mut session = open(&CudaEngine::new(), &case)?;
    let order = permutation(1, 0, 2000);
    let span = Span { first_step: 0, order: &order, batch_size: 128, learning_rate: &[0.01; 16] };
    session.train(&span)?;
    let digest = session.state()?.digest();
    if digest == FEW_DIGITS { Ok(()) } else { Err(format!("{digest} instead of {FEW_DIGITS}").into()) }
}

fn streams() -> Outcome {
    let case = digits_case(&[8], 1500, 20)?;
    let (mut ours, mut theirs) = (open(&CudaEngine::new(), &case)?, open(&Reference, &case)?);
    let order = permutation(3, 0, 1500);
    let span = Span { first_step: 0, order: &order, batch_size: 20, learning_rate: &[0.05; 75] };
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
    let refused = ours.train(&Span { first_step: 75, order: &order, batch_size: 250, learning_rate: &[0.1; 6] });
    said(refused.err(), "batch of 250 samples does not fit")
}

/// A rate that overshoots: the reference knows at which step.
fn halts() -> Outcome {
    for samples in [64, 700] {
        let mut case = digits_case(&[16], samples, 5)?;
        case.spec.layers[0].activation = Activation::Identity;
        let (mut ours, mut theirs) = (open(&CudaEngine::new(), &case)?, open(&Reference, &case)?);
        let order = permutation(3, 0, samples);
        let mut rates = vec![0.01; samples.div_ceil(5)];
        rates[8] = 1e30;
        let span = Span { first_step: 0, order: &order, batch_size: 5, learning_rate: &rates };
        let (found, wanted) = (ours.train(&span)?, theirs.train(&span)?);
        if found != wanted || wanted.first_non_finite.is_none() {
            return Err(format!("{:?} instead of {:?}", found.first_non_finite, wanted.first_non_finite).into());
        }
        if ours.state()?.step != theirs.state()?.step {
            return Err("another number of steps".into());
        }
    }
    Ok(())
}

/// Whether an error came, and says so.
fn said(error: Option<syva_core::Error>, words: &str) -> Outcome {
    match error.map(|error| error.to_string()) {
        Some(message) if message.contains(words) => Ok(()),
        other => Err(format!("{other:?} does not say '{words}'").into()),
    }
}

fn does_not_fit() -> Outcome {
    let engine = CudaEngine::new();
    let large = Mlp::new(784).hidden(&[2000], Activation::Relu).classes(10);
    said(engine.open(&card(), &large).err(), "MiB free")?;
    let case = digits_case(&[200], 1000, 1000)?;
    let order = permutation(3, 0, 1000);
    let span = Span { first_step: 0, order: &order, batch_size: 1000, learning_rate: &[0.05] };
    said(open(&engine, &case)?.train(&span).err(), "activations of batches of 1000 need")
}

fn is_lost() -> Outcome {
    let case = digits_case(&[16], 700, 5)?;
    let mut session = open(&CudaEngine::new(), &case)?;
    let order = permutation(3, 0, 700);
    let span = Span { first_step: 0, order: &order, batch_size: 5, learning_rate: &[0.05; 140] };
    said(session.train(&span).err(), "go on from the last checkpoint")?;
    // Nothing that is on the card may be taken for weights.
    said(session.state().err(), "no weights")
}

fn is_old() -> Outcome {
    let engine = CudaEngine::new();
    if engine.absence().is_none_or(|reason| !reason.contains("12.4 is needed")) || !engine.devices().is_empty() {
        return Err(format!("{:?}", engine.absence()).into());
    }
    said(engine.open(&card(), &Mlp::new(2).classes(2)).err(), "update it to 550 or later")
}

fn no_card() -> Outcome {
    let engine = CudaEngine::new();
    if engine.absence().is_none_or(|reason| !reason.contains("no card")) || !engine.devices().is_empty() {
        return Err(format!("{:?}", engine.absence()).into());
    }
    said(engine.open(&card(), &Mlp::new(2).classes(2)).err(), "syva devices")
}
