//! Compares every activation and its derivative with the reference's, on many values.
//!
//! A layer with one input makes z = fma(x, w[j], bias[j]). An output layer that is the unit matrix shows h = a(z). A step
//! shows the derivative: its gradient by z reaches the biases.

use super::triples::Nasty;
use super::{same_bits, same_state};
use crate::data::{Dataset, Inputs, Split, Targets};
use crate::engine::{DeviceId, Engine, Session, Span};
use crate::random::{Random, Stream};
use crate::reference::Reference;
use crate::state::{Matrix, State};
use crate::training::Training;
use crate::{Activation, Error, Mlp, Result};

/// Units per network.
const WIDTH: usize = 32;
/// Samples per prediction.
const SAMPLES: usize = 256;
/// How often values of each kind are drawn.
const ROUNDS: u32 = 1;

/// Runs every activation, with and without its default parameter, on an engine that claims to be exact: some 10⁵
/// values for each. `Err` names the first number that differs from the reference's.
pub fn activations(engine: &dyn Engine, device: &DeviceId) -> std::result::Result<(), String> {
    let others = [Activation::LeakyRelu(0.3), Activation::Elu(1.7), Activation::Softplus(2.5)];
    for &activation in Activation::ALL.iter().chain(&others) {
        same(engine, device, activation).map_err(|difference| format!("{activation}: {difference}"))?;
    }
    Ok(())
}

fn same(engine: &dyn Engine, device: &DeviceId, activation: Activation) -> std::result::Result<(), String> {
    let fail = |error: Error| error.to_string();
    let spec = Mlp::new(1).hidden(&[WIDTH], activation).values(WIDTH);
    let open = |engine: &dyn Engine| engine.open(device, &spec, &Training::default());
    let (mut theirs, mut ours) = (open(&Reference).map_err(fail)?, open(engine).map_err(fail)?);
    let mut state = State::initial(&spec, &Training::default()).map_err(fail)?;
    for (i, row) in (0..WIDTH).map(|i| (i, i)) {
        state.layers[1].weight.row_mut(row).fill(0.0);
        state.layers[1].weight.row_mut(row)[i] = 1.0;
        state.layers[1].bias[i] = 0.0;
    }
    for round in 0..ROUNDS {
        for (kind, nasty) in Nasty::ALL.into_iter().map(Some).chain([None]).enumerate() {
            let seed = round * 16 + kind as u32;
            let mut random = Random::new(seed, Stream::Augmentation, 0);
            // Powers of such values must stay finite, and so must the sums in which they meet.
            let tame = |value: f32| if value.abs() < 1e4 { value } else { value % 100.0 };
            let tame = |value: f32| if value.is_finite() { tame(value) } else { 1.0 };
            let mut triple = || match nasty {
                Some(nasty) => nasty.triple::<f32>(&mut random).map(tame),
                // What networks see.
                None => [1.0; 3].map(|one: f32| one * random.uniform(-9.0, 9.0)),
            };
            let triples: Vec<[f32; 3]> = (0..SAMPLES).map(|_| triple()).collect();
            state.layers[0].weight.values_mut().iter_mut().zip(&triples).for_each(|(w, triple)| *w = triple[1]);
            state.layers[0].bias.iter_mut().zip(&triples).for_each(|(bias, triple)| *bias = triple[2]);
            let x: Vec<f32> = triples.iter().map(|triple| triple[0]).collect();
            let place = format!("values of kind {kind}, seed {seed}");
            let outputs = |session: &mut dyn Session| -> Result<Matrix> {
                session.set_state(&state)?;
                let mut outputs = Matrix::zeros(SAMPLES, WIDTH);
                session.predict(&x.clone().into(), &mut outputs)?;
                Ok(outputs)
            };
            let (wanted, found) = (outputs(theirs.as_mut()).map_err(fail)?, outputs(ours.as_mut()).map_err(fail)?);
            same_bits(&place, wanted.values(), found.values())?;
            // Few samples at a time, so that a wrong derivative is not lost in a sum.
            let targets = Targets::Values { values: vec![0.25; SAMPLES * WIDTH].into(), outputs: WIDTH };
            let data = Dataset::new(Inputs::F32(x.clone().into()), 1, targets).map_err(fail)?;
            for session in [&mut theirs, &mut ours] {
                session.load(Split::Train, &data).map_err(fail)?;
            }
            let order: Vec<u32> = (0..SAMPLES as u32).collect();
            for samples in order.chunks(8).step_by(8) {
                let step = |session: &mut dyn Session| -> Result<State> {
                    session.set_state(&state)?;
                    let span =
                        Span { first_step: 0, order: samples, batch_size: 8, learning_rate: &[1.0], ..Span::default() };
                    session.train(&span)?;
                    session.state()
                };
                let (wanted, found) = (step(theirs.as_mut()).map_err(fail)?, step(ours.as_mut()).map_err(fail)?);
                if wanted.is_finite() {
                    same_state(&format!("derivative, {place}"), &wanted, &found)?;
                }
            }
        }
    }
    Ok(())
}
