//! Compares every optimiser's rule and every loss with the reference's, on many values.
//!
//! A network with one input makes z = fma(x, w[j], bias[j]). Its targets choose the gradients, and its state what an
//! optimiser remembers.

use super::same_state;
use super::triples::Nasty;
use crate::data::{Dataset, Inputs, Split, Targets};
use crate::engine::{DeviceId, Engine, Session, Span};
use crate::ops::{Loss, Rule};
use crate::random::{Random, Stream};
use crate::reference::Reference;
use crate::spec::{Head, Spec};
use crate::state::State;
use crate::training::Training;
use crate::{Error, Mlp, Optimizer, Result};

/// Units of the network for rules.
const WIDTH: usize = 500;
/// Steps for each kind of values.
const STEPS: usize = 12;

/// Runs every rule on an engine that claims to be exact: some 10⁵ weights for each. Rules that the engine refuses are left
/// out, and counted: returns their number. `Err` names the first number that differs from the reference's.
pub fn rules(engine: &dyn Engine, device: &DeviceId) -> std::result::Result<usize, String> {
    let texts = [
        "sgd",
        "sgd:weight_decay=0.3",
        "sgd:momentum=0.9,dampening=0.2,nesterov=0",
        "adam:weight_decay=0.01",
        "amsgrad",
        "nadam",
        "rmsprop",
        "rmsprop:momentum=0.9",
        "rmsprop:centered=1",
        "rmsprop:momentum=0.9,centered=1",
        "adagrad",
        "lion:weight_decay=0.1",
        "muon",
    ];
    let optimizers: Vec<Optimizer> = texts
        .iter()
        .map(|text| text.parse().map_err(|error: Error| error.to_string()))
        .collect::<std::result::Result<_, _>>()?;
    if let Some(rule) = Rule::ALL.iter().find(|&&rule| optimizers.iter().all(|optimizer| optimizer.rule() != rule)) {
        return Err(format!("the kit has no optimiser for {rule:?}"));
    }
    let mut refused = 0;
    for optimizer in optimizers {
        let training = Training::default().optimizer(optimizer);
        let spec = Mlp::new(1).values(WIDTH);
        if matches!(engine.open(device, &spec, &training), Err(Error::Unsupported { .. })) {
            refused += 1;
            continue;
        }
        same(engine, device, &spec, &training, false).map_err(|difference| format!("{optimizer}: {difference}"))?;
    }
    Ok(refused)
}

/// Runs every loss with every head that it fits on an engine that claims to be exact: some 10⁵ outputs for each. `Err`
/// names the first number that differs from the reference's.
pub fn losses(engine: &dyn Engine, device: &DeviceId) -> std::result::Result<(), String> {
    let mlp = || Mlp::new(1);
    let log_softmax = Spec { head: Head::LogSoftmax, ..mlp().classes(9) };
    let heads = [
        mlp().values(40),
        mlp().counts(40),
        mlp().gaussian(20),
        mlp().binary(),
        mlp().labels(40),
        mlp().classes(9),
        log_softmax,
    ];
    let parameters = ["huber:delta=0.3", "smooth-l1:beta=0.3", "quantile:q=0.9", "binary-cross-entropy:pos_weight=3"];
    for loss in Loss::names().chain(parameters).chain(["cross-entropy:smoothing=0.2"]) {
        let loss: Loss = loss.parse().map_err(|error: Error| error.to_string())?;
        for spec in heads.iter().filter(|spec| loss.judging(spec.head).is_ok()) {
            let training = Training::default().loss(loss);
            same(engine, device, spec, &training, true)
                .map_err(|difference| format!("{loss}, {}: {difference}", spec.head))?;
        }
    }
    Ok(())
}

/// A value that a sum or a square leaves finite. Outputs must not be so large that e^z is infinite.
fn tame(value: f32, most: f32) -> f32 {
    match value.is_finite() {
        true if value.abs() < most => value,
        true => value % most,
        false => 1.0,
    }
}

/// Takes single steps from drawn states.
fn same(
    engine: &dyn Engine,
    device: &DeviceId,
    spec: &Spec,
    training: &Training,
    of_loss: bool,
) -> std::result::Result<(), String> {
    let fail = |error: Error| error.to_string();
    let open = |engine: &dyn Engine| engine.open(device, spec, training);
    let (mut theirs, mut ours) = (open(&Reference).map_err(fail)?, open(engine).map_err(fail)?);
    let mut state = State::initial(spec, training).map_err(fail)?;
    for (kind, nasty) in Nasty::ALL.into_iter().map(Some).chain([None]).enumerate() {
        let mut random = Random::new(kind as u32, Stream::Augmentation, 0);
        let mut value = |most: f32| match nasty {
            Some(nasty) => tame(nasty.triple::<f32>(&mut random)[random.below(3) as usize], most),
            // What networks see.
            None => random.uniform(-9.0, 9.0),
        };
        for step in 0..if of_loss { 20 * STEPS } else { STEPS } {
            let place = format!("values of kind {kind}, step {step}");
            let layer = &mut state.layers[0];
            layer.weight.values_mut().iter_mut().chain(&mut layer.bias).for_each(|w| *w = value(40.0));
            for slot in &mut state.slots {
                let is_square = slot.name.contains("sq") || slot.name == "sum";
                // A square is 0 or more, and above that of the mean.
                let draw = |value: f32| {
                    if is_square { value.abs() + f32::from(u8::from(slot.name == "square_avg")) } else { value }
                };
                let most = if slot.name == "grad_avg" { 0.5 } else { 1e4 };
                let layer = &mut slot.layers[0];
                layer
                    .weight
                    .values_mut()
                    .iter_mut()
                    .chain(&mut layer.bias)
                    .for_each(|s| *s = draw(tame(value(most), most)));
            }
            let inputs = Inputs::F32(vec![if step % 2 == 0 { 1.0 } else { value(1.0) }].into());
            let targets = match spec.classes() {
                0 => {
                    let target = |value: f32| match spec.head {
                        Head::Poisson => value.abs().floor(),
                        Head::MultiLabel => f32::from(u8::from(value > 0.0)),
                        _ => value,
                    };
                    Targets::Values {
                        values: (0..spec.targets()).map(|_| target(value(1e4))).collect(),
                        outputs: spec.targets(),
                    }
                }
                classes => Targets::Classes { labels: vec![step as u32 % classes as u32].into(), classes },
            };
            let data = Dataset::new(inputs, 1, targets).map_err(fail)?;
            state.step = step as u64;
            let take = |session: &mut dyn Session| -> Result<_> {
                session.load(Split::Train, &data)?;
                session.set_state(&state)?;
                let span = Span {
                    first_step: step as u64,
                    order: &[0],
                    batch_size: 1,
                    learning_rate: &[0.1],
                    ..Span::default()
                };
                let report = session.train(&span)?;
                Ok((report, session.state()?))
            };
            let (wanted, found) = (take(theirs.as_mut()).map_err(fail)?, take(ours.as_mut()).map_err(fail)?);
            let bits = |losses: &[f64]| losses.iter().map(|loss| loss.to_bits()).collect::<Vec<_>>();
            if bits(&wanted.0.losses) != bits(&found.0.losses) {
                return Err(format!("{place}: losses {:?} instead of {:?}", found.0.losses, wanted.0.losses));
            }
            if wanted.1.is_finite() {
                same_state(&place, &wanted.1, &found.1)?;
            } else if !of_loss {
                return Err(format!("{place}: the kit's values are not finite"));
            }
        }
    }
    Ok(())
}
