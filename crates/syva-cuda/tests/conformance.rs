//! Compares the CUDA engine with the reference on the cards of this machine: bit by bit, or nearly if factors are
//! rounded. Without a card, the tests are visibly counted as ignored. `SYVA_CUDA` chooses the method that runs steps.

use libtest_mimic::{Arguments, Trial};
use syva_core::conformance::{
    cases, learned_cases, loss_cases, measure, operands, optimizer_cases, regularised_cases, run,
};
use syva_core::{Engine, Precision};
use syva_cuda::CudaEngine;

fn main() {
    let arguments = Arguments::from_args();
    let engine = CudaEngine::new();
    let mut trials: Vec<Trial> = Vec::new();
    for info in engine.devices() {
        let name = format!("{} ({}) conforms to the reference", info.id, info.name);
        trials.push(Trial::test(name, move || {
            let engine = CudaEngine::new();
            let (mut ran, mut cases) = (0, [cases(), loss_cases()].concat());
            // The methods that it may force know only plain gradient descent.
            if std::env::var_os("SYVA_CUDA").is_none() {
                cases.extend([optimizer_cases(), regularised_cases(), learned_cases()].concat());
                cases.retain(|case| case.training.optimizer.muon().is_none());
            }
            for case in &cases {
                match run(&engine, &info.id, case) {
                    // SYVA_CUDA may force a method that does not work for every network.
                    Err(said) if said.contains("SYVA_CUDA") => {}
                    done => {
                        done?;
                        ran += 1;
                    }
                }
            }
            println!("{ran} of {} cases", cases.len());
            match operands(&engine, &info.id) {
                Err(said) if said.contains("SYVA_CUDA") => {}
                done => done?,
            }
            if 2 * ran > cases.len() { Ok(()) } else { Err(format!("{ran} of {} cases ran", cases.len()).into()) }
        }));
    }
    // With rounded factors there is only one method.
    let forced = std::env::var("SYVA_CUDA").is_ok_and(|method| method != "graph");
    for precision in [Precision::Tf32, Precision::Bf16] {
        let engine = CudaEngine::new().precision(precision);
        for info in engine.devices() {
            let name = format!("{} ({}) is close with {precision}", info.id, info.name);
            let cannot = forced || info.detail.contains("too old");
            let trial = Trial::test(name, move || {
                let engine = CudaEngine::new().precision(precision);
                Ok(cases().iter().try_for_each(|case| measure(&engine, &info.id, case, precision).map(|_| ()))?)
            });
            trials.push(trial.with_ignored_flag(cannot));
        }
    }
    if let Some(reason) = engine.absence() {
        let name = format!("a card conforms to the reference (needs a card: {reason})");
        trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
