//! The portable GPU engine against the reference, on each adapter of this machine.

use std::time::Instant;
use syva_core::Engine;
use syva_core::conformance::{cases, run};
use syva_wgpu::WgpuEngine;

fn main() {
    let engine = WgpuEngine::new();
    let t = Instant::now();
    for info in engine.devices() {
        println!("{info:?} {:?}", t.elapsed());
    }
    let exact = WgpuEngine::new().exact(true);
    for info in exact.devices() {
        println!("{info:?} {:?}", t.elapsed());
        for case in cases() {
            let t = Instant::now();
            let r = run(&exact, &info.id, &case);
            println!("{r:?} {} {:?}", case.name, t.elapsed());
        }
    }
}
