//! The CPU engine against the reference, bit by bit: every instruction set of this processor, 1 to 4 threads.

use syva_core::conformance::{cases, run};
use syva_core::{DeviceId, Engine};
use syva_cpu::CpuEngine;
use syva_cpu::isa::Isa;

fn device() -> DeviceId {
    DeviceId { engine: "cpu".into(), index: 0 }
}

/// Runs every case whose number leaves `part` modulo `parts`, so that the parts run as tests of their own.
fn conforms(isa: Isa, threads: usize, (part, parts): (usize, usize)) {
    let Ok(engine) = CpuEngine::new().and_then(|engine| engine.with_isa(isa)) else {
        // Said aloud; the instruction sets that were tested are named by `tested_instruction_sets`.
        eprintln!("SKIPPED: this processor has no {isa}");
        return;
    };
    let engine = engine.with_threads(threads).unwrap();
    for case in cases().iter().skip(part).step_by(parts) {
        run(&engine, &device(), case).unwrap_or_else(|difference| panic!("{isa}, {threads} threads: {difference}"));
    }
}

#[test]
fn avx512_conforms_on_one_thread() {
    conforms(Isa::Avx512, 1, (0, 1));
}

#[test]
fn avx512_conforms_on_two_to_four_threads() {
    for threads in 2..=4 {
        conforms(Isa::Avx512, threads, (threads - 2, 3));
    }
}

#[test]
fn avx2_conforms() {
    conforms(Isa::Avx2, 1, (0, 2));
    conforms(Isa::Avx2, 3, (1, 2));
}

#[test]
fn scalar_conforms() {
    conforms(Isa::Scalar, 2, (0, 1));
}

#[test]
fn an_engine_that_cannot_says_so_at_open() {
    let engine = CpuEngine::new().unwrap();
    let spec = syva_core::Mlp::new(2).classes(2);
    let other = DeviceId { engine: "cpu".into(), index: 1 };
    assert!(engine.open(&other, &spec).err().unwrap().to_string().contains("use cpu"));
    assert!(engine.with_threads(0).is_err());
    assert!(
        engine.open(&device(), &syva_core::Mlp::new(2).hidden(&[0], syva_core::Activation::Relu).classes(2)).is_err()
    );
}
