//! The CUDA engine against the reference, bit by bit, on the cards of this machine. Ignored, visibly and counted, where
//! there is none.

use libtest_mimic::{Arguments, Trial};
use syva_core::Engine;
use syva_core::conformance::{cases, run};
use syva_cuda::CudaEngine;

fn main() {
    let arguments = Arguments::from_args();
    let engine = CudaEngine::new();
    let mut trials: Vec<Trial> = Vec::new();
    for info in engine.devices() {
        let name = format!("{} ({}) conforms to the reference", info.id, info.name);
        trials.push(Trial::test(name, move || {
            let engine = CudaEngine::new();
            cases().iter().try_for_each(|case| Ok(run(&engine, &info.id, case)?))
        }));
    }
    if let Some(reason) = engine.absence() {
        let name = format!("a card conforms to the reference (needs a card: {reason})");
        trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
