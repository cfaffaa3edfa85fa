//! Whether an engine's multiplication and addition are rounded once, on the operands where that is hardest.
//!
//! A layer with one input is `fma(x, w[j], bias[j])`, so triples are put into its weights, biases and inputs, and the
//! outputs are what the engine makes of them.

use super::triples::Nasty;
use super::{Case, run_from, same_bits};
use crate::data::{Dataset, Inputs, Targets};
use crate::engine::{DeviceId, Engine};
use crate::random::{Random, Stream};
use crate::reference::Reference;
use crate::spec::{Activation, Spec};
use crate::state::{Matrix, State};
use crate::{Error, Mlp, Result};

/// Triples at a time: each input meets each weight.
const TRIPLES: usize = 128;

/// Times that [`TRIPLES`] of each kind are drawn.
const ROUNDS: u32 = 2;

/// x, w, bias, and what `x · w + bias` is: a subnormal number that some processors' and libraries' `fmaf` rounds twice
/// (issue 1262 of compiler-builtins).
const ROUNDED_ONCE: [u32; 4] = [0x9a80_0010, 0x197f_ffe0, 0x003c_37fb, 0x003c_37fb];

/// Runs multiplications and additions that are hard to round through an engine that claims to be exact, in its first
/// layer, in another, and in steps of a training whose numbers are as small as numbers get. `Err` names the first number
/// that differs from the reference's. Sums that are not finite are not compared.
pub fn operands(engine: &dyn Engine, device: &DeviceId) -> std::result::Result<(), String> {
    let [x, w, bias, wanted] = ROUNDED_ONCE.map(f32::from_bits);
    for hidden in [false, true] {
        let layer = if hidden { "another" } else { "the first" };
        let place = format!("{x:e} · {w:e} + {bias:e} in {layer} layer");
        let found = sums(engine, device, hidden, &[[x, w, bias]]).map_err(|error| format!("{place}: {error}"))?;
        same_bits(&place, &[wanted], found.values())?;
        for (kind, nasty) in Nasty::ALL.into_iter().enumerate() {
            for round in 0..ROUNDS {
                let seed = round * 8 + kind as u32;
                let place = format!("{nasty:?} operands in {layer} layer, seed {seed}");
                same_sums(engine, device, hidden, nasty, seed).map_err(|error| format!("{place}, {error}"))?;
            }
        }
    }
    let fail = |error: Error| format!("steps on tiny numbers: {error}");
    let (case, initial) = tiny().map_err(fail)?;
    run_from(engine, device, &case, &initial)
}

/// Compares what comes of triples with what the reference makes of them.
fn same_sums(
    engine: &dyn Engine,
    device: &DeviceId,
    hidden: bool,
    nasty: Nasty,
    seed: u32,
) -> std::result::Result<(), String> {
    let mut random = Random::new(seed, Stream::Augmentation, 0);
    // An engine is owed finite numbers.
    let finite = |value: f32| if value.is_finite() { value } else { 1.0 };
    let triples: Vec<_> = (0..TRIPLES).map(|_| nasty.triple::<f32>(&mut random).map(finite)).collect();
    let fail = |error: Error| error.to_string();
    let wanted = sums(&Reference, device, hidden, &triples).map_err(fail)?;
    let found = sums(engine, device, hidden, &triples).map_err(fail)?;
    for (row, [x, ..]) in triples.iter().enumerate() {
        for (j, [_, w, bias]) in triples.iter().enumerate() {
            let (wanted, found) = (wanted.row(row)[j], found.row(row)[j]);
            if wanted.is_finite() && wanted.to_bits() != found.to_bits() {
                return Err(format!("{x:e} · {w:e} + {bias:e} is {wanted:e}, not {found:e}"));
            }
        }
    }
    Ok(())
}

/// `x[i] · w[j] + bias[j]` for triples (x, w, bias), `[i, j]`; in the second layer, if `hidden`.
fn sums(engine: &dyn Engine, device: &DeviceId, hidden: bool, triples: &[[f32; 3]]) -> Result<Matrix> {
    let mlp = if hidden { Mlp::new(1).hidden(&[1], Activation::Identity) } else { Mlp::new(1) };
    let spec = mlp.values(triples.len());
    let column = |i: usize| triples.iter().map(|triple| triple[i]).collect::<Vec<f32>>();
    let mut state = State::initial(&spec, 1)?;
    // 1 · x + 0 is x.
    state.layers[0].weight.values_mut()[0] = 1.0;
    state.layers[0].bias[0] = 0.0;
    let last = state.layers.len() - 1;
    state.layers[last].weight.values_mut().copy_from_slice(&column(1));
    state.layers[last].bias = column(2);
    let mut session = engine.open(device, &spec)?;
    session.set_state(&state)?;
    let mut outputs = Matrix::zeros(triples.len(), triples.len());
    session.predict(&Matrix::new(triples.len(), 1, column(0))?, &mut outputs)?;
    Ok(outputs)
}

/// A network whose weights, inputs and targets are so small that most of its products and gradients are subnormal.
fn tiny() -> Result<(Case, State)> {
    let spec: Spec = Mlp::new(13).hidden(&[35], Activation::Identity).hidden(&[6], Activation::Tanh).values(34);
    let mut initial = State::initial(&spec, 77)?;
    // 2⁻⁶⁵ by 2⁻⁶⁵ in the first layer; then factors of about 1, so that the sums stay where they are.
    let small = f32::from_bits((127 - 65) << 23);
    for parameters in &mut initial.layers {
        parameters.bias.iter_mut().for_each(|bias| *bias *= small * small);
    }
    initial.layers[0].weight.values_mut().iter_mut().for_each(|w| *w *= small);
    let mut random = Random::new(77, Stream::Augmentation, 0);
    let mut data = |samples: usize| {
        let mut draw = |count, factor: f32| (0..count).map(|_| random.uniform(-1.0, 1.0) * factor).collect::<Vec<_>>();
        let inputs = Inputs::F32(draw(samples * 13, small).into());
        let values = draw(samples * 34, small * small).into();
        Dataset::new(inputs, 13, Targets::Values { values, outputs: 34 })
    };
    let name = format!("{} on tiny numbers", spec.widths());
    let case = Case { name, train: data(50)?, validation: data(23)?, spec, batch_size: 20, seed: 77 };
    Ok((case, initial))
}
