//! How long a network's regions take, part by part: `cargo run --release -p syva-regions --example speed -- MODEL`. Without
//! a model, the network 2-100-100-1 is drawn at random.

use std::time::Instant;

use syva_core::{Activation::Relu, Mlp, Model, Result, State, Training};
use syva_regions::{Network, Slice, Subdivision};

fn main() -> Result<()> {
    let model = if let Some(path) = std::env::args().nth(1) {
        Model::from_bytes(&std::fs::read(&path).expect("a model file"), path)?
    } else {
        let spec = Mlp::new(2).hidden(&[100, 100], Relu).values(1);
        Model::new(spec.clone(), State::initial(&spec, &Training::default())?)
    };
    let network = Network::new(&model, Slice::Inputs)?;
    let bounds = vec![[-1.5, 1.5]; network.dimensions()];
    for _ in 0..5 {
        let begin = Instant::now();
        let regions = Subdivision::new(&network, &bounds)?;
        let cut = begin.elapsed();
        let begin = Instant::now();
        let linear = regions.linear_regions();
        let joined = begin.elapsed();
        let counts = regions.counts();
        println!(
            "{} activation regions in {:.1} ms, {} linear regions in {:.1} ms; margin {:.1e}, {} exact",
            counts.regions,
            1e3 * cut.as_secs_f64(),
            linear.count,
            1e3 * joined.as_secs_f64(),
            regions.certificate().margin,
            regions.certificate().exact
        );
    }
    Ok(())
}
