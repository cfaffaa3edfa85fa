//! Compares the CPU engine with the reference, bit by bit, for every instruction set and 1 to 4 threads.
//!
//! The tests have their own main, so that those of an instruction set that this processor lacks are visibly counted as
//! ignored instead of passing.

use libtest_mimic::{Arguments, Failed, Trial};
use syva_core::conformance::{
    activations, cases, learned_cases, loss_cases, losses, operands, optimizer_cases, random, regularised_cases, rules,
    run,
};
use syva_core::{DeviceId, Engine, Training};
use syva_cpu::CpuEngine;
use syva_cpu::isa::Isa;
use syva_cpu::sparse::InputKernel::{self, Auto, Dense, Sparse};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = vec![Trial::test("an engine that cannot says so at open", says_so_at_open)];
    for isa in Isa::ALL {
        for (kernel, threads) in [(Dense, 1), (Sparse, 1), (Auto, 2), (Dense, 2), (Sparse, 3), (Auto, 4)] {
            let missing = isa.available().is_err();
            let note = if missing { " (needs a processor that has it)" } else { "" };
            let name = format!("{isa}, {kernel:?}, {threads} threads conforms to the reference{note}");
            trials.push(Trial::test(name, move || conforms(isa, kernel, threads)).with_ignored_flag(missing));
        }
        let missing = isa.available().is_err();
        let note = if missing { " (needs a processor that has it)" } else { "" };
        let name = format!("{isa} multiplies and adds with one rounding{note}");
        trials.push(Trial::test(name, move || rounds_once(isa)).with_ignored_flag(missing));
        let name = format!("{isa} has the activations, losses and rules of the reference{note}");
        trials.push(Trial::test(name, move || activates(isa)).with_ignored_flag(missing));
        let name = format!("{isa} plays random rounds as the reference does{note}");
        trials.push(Trial::test(name, move || plays(isa)).with_ignored_flag(missing));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn device() -> DeviceId {
    DeviceId { engine: "cpu".into(), index: 0 }
}

/// Runs all cases on one thread, and a third of them on each larger team of threads.
fn conforms(isa: Isa, kernel: InputKernel, threads: usize) -> Result<(), Failed> {
    let engine = CpuEngine::new()?.with_isa(isa)?.oversubscribed(threads)?.with_inputs(kernel);
    let (skip, step) = if threads == 1 { (0, 1) } else { (threads - 2, 3) };
    let more = [optimizer_cases(), regularised_cases(), loss_cases(), learned_cases()].concat();
    for case in cases().iter().chain(&more).skip(skip).step_by(step) {
        run(&engine, &device(), case)?;
    }
    Ok(())
}

/// Tests with lists of inputs, and without.
fn rounds_once(isa: Isa) -> Result<(), Failed> {
    for kernel in [Dense, Sparse] {
        operands(&CpuEngine::new()?.with_isa(isa)?.with_threads(2)?.with_inputs(kernel), &device())?;
    }
    Ok(())
}

fn activates(isa: Isa) -> Result<(), Failed> {
    let engine = CpuEngine::new()?.with_isa(isa)?.with_threads(2)?;
    activations(&engine, &device())?;
    losses(&engine, &device())?;
    match rules(&engine, &device())? {
        0 => Ok(()),
        refused => Err(format!("{refused} rules are refused").into()),
    }
}

/// Random rounds, on 1 to 4 threads. By default there are a few. The environment variables say where to begin and how many.
fn plays(isa: Isa) -> Result<(), Failed> {
    let number = |name, otherwise| std::env::var(name).map_or(Ok(otherwise), |text| text.parse::<u32>());
    let (first, rounds) = (number("SYVA_RANDOM_SEED", 0)?, number("SYVA_RANDOM_ROUNDS", 40)?);
    for seed in first..first + rounds {
        let (threads, kernel) = (1 + seed as usize % 4, [Dense, Sparse, Auto][seed as usize % 3]);
        let engine = CpuEngine::new()?.with_isa(isa)?.oversubscribed(threads)?.with_inputs(kernel);
        let mut said = format!("SYVA_RANDOM_SEED={seed}, {isa}, {threads} threads, {kernel:?}");
        let played = random(&engine, &device(), seed, &mut |line| said = format!("{said}\n{line}"));
        played.map_err(|failed| format!("{said}\n{failed}"))?;
    }
    Ok(())
}

fn says_so_at_open() -> Result<(), Failed> {
    let engine = CpuEngine::new()?;
    let spec = syva_core::Mlp::new(2).classes(2);
    let other = DeviceId { engine: "cpu".into(), index: 1 };
    let refused = engine
        .open(&other, &spec, &Training::default())
        .err()
        .is_some_and(|error| error.to_string().contains("use cpu"));
    let hollow = syva_core::Mlp::new(2).hidden(&[0], syva_core::Activation::Relu).classes(2);
    let all =
        refused && engine.with_threads(0).is_err() && engine.open(&device(), &hollow, &Training::default()).is_err();
    // It also refuses inputs that are not finite, which a network could not detect.
    let mut session = engine.open(&device(), &spec, &Training::default())?;
    session.set_state(&syva_core::State::initial(&spec, &Training::default())?)?;
    let nothing = vec![0.0, f32::NAN].into();
    let all = all && session.predict(&nothing, &mut syva_core::Matrix::zeros(1, 2)).is_err();
    if all { Ok(()) } else { Err("something that cannot run was accepted".into()) }
}
