//! The same run gives the same bits: the SHA-256 of the weights after three epochs of the chapter's training is pinned,
//! and reached on 1 to 4 threads and in every instruction set.
//!
//! Has its own main, so that tests that need the real MNIST (SYVA_MNIST_DIR) or a processor's instruction set are marked
//! as ignored where it is absent, visibly and counted.

use libtest_mimic::{Arguments, Failed, Trial};
use syva::prelude::*;
use syva_cpu::isa::Isa;

/// The chapter's training with seed 1, three epochs, on MNIST.
const MNIST: &str = "3802db0a67d448ac5b068c120d91b60fd98ca8131009007de186313ae9cae53c";
/// The same on the digits that are at hand everywhere, one epoch.
const DIGITS: &str = "b784013708ea4c5741ea915d2be23646b03e5f6d804b8d74f4b6f962cf4bc76f";
/// The same on the first 2000 samples of `digits`, one epoch: short enough for scalar code.
const FEW_DIGITS: &str = "ebefc5f451a0d8b87c767748a624ac036a59874348c33564062efd278f6ec530";

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let no_mnist = std::env::var_os("SYVA_MNIST_DIR").is_none_or(|dir| dir.is_empty());
    for isa in Isa::ALL {
        let missing = isa.available().is_err();
        let note = if missing { " (needs a processor that has it)" } else { "" };
        let few = move || check(&few_digits()?, 1, isa, 2, FEW_DIGITS);
        trials.push(Trial::test(format!("2000 digits, {isa}{note}"), few).with_ignored_flag(missing));
        if isa == Isa::Scalar {
            continue;
        }
        let all = move || check(&digits()?, 1, isa, 3, DIGITS);
        trials.push(Trial::test(format!("all digits, {isa}{note}"), all).with_ignored_flag(missing));
        let note = if no_mnist { " (needs SYVA_MNIST_DIR)" } else { note };
        for threads in 1..=4 {
            let mnist = move || check(&mnist()?, 3, isa, threads, MNIST);
            let name = format!("mnist, three epochs, {isa}, {threads} threads{note}");
            trials.push(Trial::test(name, mnist).with_ignored_flag(missing || no_mnist));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn mnist() -> Result<Task> {
    syva::data::source::open(Source::Mnist, None, &mut |_| ())
}

fn digits() -> Result<Task> {
    syva::data::source::open(Source::Digits, None, &mut |_| ())
}

fn few_digits() -> Result<Task> {
    use syva::data::digits::{SEED, draw};
    let part = |first, count| {
        let (pixels, labels) = draw(SEED, first, count);
        let labels = labels.into_iter().map(u32::from).collect();
        Dataset::new(Inputs::U8(pixels.into()), 784, Targets::Classes { labels, classes: 10 })
    };
    let task = Task::new("few digits", part(0, 2000)?, part(60_000, 500)?);
    Ok(Task { shape: vec![28, 28], normalization: Normalization::pixels(0.1307, 0.3081), ..task })
}

fn check(task: &Task, epochs: u64, isa: Isa, threads: usize, pinned: &str) -> Result<(), Failed> {
    let engine = CpuEngine::new()?.with_isa(isa)?.oversubscribed(threads)?;
    let spec = task.network(&[256, 128], Sigmoid);
    let training = Training { epochs, ..Training::default() };
    let mut trainer = Trainer::new(&engine, &"cpu".parse()?, &spec, task, &training)?;
    trainer.fit(|_| ())?;
    let digest = trainer.model()?.state.digest();
    if digest == pinned { Ok(()) } else { Err(format!("{digest} instead of {pinned}").into()) }
}
