//! Checks that an engine rounds multiply-adds once, on the operands for which that is hardest.
//!
//! A layer with one input is `fma(x, w[j], bias[j])`. So triples are put into its inputs, weights and biases, and the
//! outputs are the engine's results.

use super::triples::Nasty;
use super::{Case, run_from, same_bits};
use crate::data::{Dataset, Inputs, Targets};
use crate::engine::{DeviceId, Engine, Session};
use crate::ops::Activation;
use crate::random::{Random, Stream};
use crate::reference::Reference;
use crate::spec::Spec;
use crate::state::{Matrix, Parameters, State};
use crate::training::Training;
use crate::{Error, Mlp, Result};

/// The number of triples at a time. Each input is combined with each weight.
const TRIPLES: usize = 128;

/// How many times [`TRIPLES`] triples of each kind are drawn.
const ROUNDS: u32 = 2;

/// x, w, bias, and the right value of `x · w + bias`: a subnormal number that the `fmaf` of some processors and
/// libraries rounds twice (issue 1262 of compiler-builtins).
const ROUNDED_ONCE: [u32; 4] = [0x9a80_0010, 0x197f_ffe0, 0x003c_37fb, 0x003c_37fb];

/// Runs multiply-adds that are hard to round through an engine that claims to be exact: in its first layer, in another
/// layer, and in training steps on the smallest numbers that there are. `Err` names the first number that differs from
/// the reference's. Sums that are not finite are not compared.
pub fn operands(engine: &dyn Engine, device: &DeviceId) -> std::result::Result<(), String> {
    for hidden in [false, true] {
        let layer = if hidden { "another" } else { "the first" };
        same_sums(engine, device, hidden).map_err(|difference| format!("in {layer} layer, {difference}"))?;
    }
    let fail = |error: Error| format!("steps on tiny numbers: {error}");
    let (case, initial) = tiny().map_err(fail)?;
    run_from(engine, device, &case, &initial)
}

/// Compares an engine's results for triples with the right ones, or with the reference's.
fn same_sums(engine: &dyn Engine, device: &DeviceId, hidden: bool) -> std::result::Result<(), String> {
    let fail = |error: Error| error.to_string();
    let mut ours = Sums::open(engine, device, hidden).map_err(fail)?;
    let mut theirs = Sums::open(&Reference, device, hidden).map_err(fail)?;

    let [x, w, bias, wanted] = ROUNDED_ONCE.map(f32::from_bits);
    let found = ours.of(&[[x, w, bias]; TRIPLES]).map_err(fail)?;
    same_bits(&format!("{x:e} · {w:e} + {bias:e}"), &vec![wanted; TRIPLES * TRIPLES], found.values())?;

    for (kind, nasty) in Nasty::ALL.into_iter().enumerate() {
        for round in 0..ROUNDS {
            let seed = round * 8 + kind as u32;
            let mut random = Random::new(seed, Stream::Augmentation, 0);
            // The contract covers finite numbers only.
            let finite = |value: f32| if value.is_finite() { value } else { 1.0 };
            let triples = [(); TRIPLES].map(|()| nasty.triple::<f32>(&mut random).map(finite));
            let (wanted, found) = (theirs.of(&triples).map_err(fail)?, ours.of(&triples).map_err(fail)?);
            for (i, (wanted, found)) in wanted.values().iter().zip(found.values()).enumerate() {
                if wanted.is_finite() && wanted.to_bits() != found.to_bits() {
                    let ([x, ..], [_, w, bias]) = (triples[i / TRIPLES], triples[i % TRIPLES]);
                    let sum = format!("{x:e} · {w:e} + {bias:e}");
                    return Err(format!("{nasty:?}, seed {seed}: {sum} is {wanted:e}, not {found:e}"));
                }
            }
        }
    }
    Ok(())
}

/// A session on a network that computes sums.
struct Sums {
    session: Box<dyn Session>,
    state: State,
}

impl Sums {
    /// Opens a session whose sums are those of the first layer, or those of the second if `hidden`.
    fn open(engine: &dyn Engine, device: &DeviceId, hidden: bool) -> Result<Self> {
        let mlp = if hidden { Mlp::new(1).hidden(&[1], Activation::Identity) } else { Mlp::new(1) };
        let spec = mlp.values(TRIPLES);
        let mut state = State::initial(&spec, &Training::default())?;
        // 1 · x + 0 is x.
        state.layers[0].weight.values_mut()[0] = 1.0;
        state.layers[0].bias[0] = 0.0;
        Ok(Self { session: engine.open(device, &spec, &Training::default())?, state })
    }

    /// `x[i] · w[j] + bias[j]` for triples (x, w, bias), `[i, j]`.
    fn of(&mut self, triples: &[[f32; 3]; TRIPLES]) -> Result<Matrix> {
        let last = self.state.layers.len() - 1;
        let Parameters { weight, bias, .. } = &mut self.state.layers[last];
        weight.values_mut().copy_from_slice(&triples.map(|triple| triple[1]));
        bias.copy_from_slice(&triples.map(|triple| triple[2]));
        self.session.set_state(&self.state)?;
        let inputs = triples.iter().map(|triple| triple[0]).collect::<Vec<f32>>().into();
        let mut outputs = Matrix::zeros(TRIPLES, TRIPLES);
        self.session.predict(&inputs, &mut outputs)?;
        Ok(outputs)
    }
}

/// A network whose last layer begins with subnormal weights, and whose targets are so small that the gradients are at the
/// border of the subnormal numbers: terms of their sums are subnormal, but the sums and the weights after an update are
/// not, so that the order of the sums shows. (A sum of which every step is subnormal has the same bits in any order,
/// because all its steps are rounded to multiples of the same number.)
fn tiny() -> Result<(Case, State)> {
    let spec: Spec = Mlp::new(13).hidden(&[35], Activation::Tanh).hidden(&[20], Activation::Identity).values(34);
    let training = Training { batch_size: 20, seed: 77, ..Training::default() };
    let mut initial = State::initial(&spec, &training)?;
    // 2⁻¹²⁸ and 2⁻¹¹².
    let (tiny, small) = (f32::from_bits(1 << 21), f32::from_bits(15 << 23));
    let last = initial.layers.last_mut().expect("a network has layers");
    last.weight.values_mut().iter_mut().chain(&mut last.bias).for_each(|value| *value *= tiny);
    let mut random = Random::new(77, Stream::Augmentation, 0);
    let mut data = |samples: usize| {
        let mut draw = |count, factor: f32| (0..count).map(|_| random.uniform(-1.0, 1.0) * factor).collect::<Vec<_>>();
        let inputs = Inputs::F32(draw(samples * 13, 1.0).into());
        let values = draw(samples * 34, small).into();
        Dataset::new(inputs, 13, Targets::Values { values, outputs: 34 })
    };
    let name = format!("{} on tiny numbers", spec.widths());
    let case = Case { name, train: data(50)?, validation: data(23)?, spec, training };
    Ok((case, initial))
}
