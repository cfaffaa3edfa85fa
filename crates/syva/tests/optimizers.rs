//! Compares training with PyTorch's, over twenty steps: every optimiser, with and without weight decay, and every
//! activation; and the rates of schedules. `golden/optimizers.py` made the numbers.

mod common;

use common::{CLOSE, apart, numbers, state, wide};
use serde_json::Value;
use syva::data::{Dataset, Inputs, Split, Targets};
use syva::reference::Reference;
use syva::{CpuEngine, Engine, Epoch, Mlp, Parameters, Schedule, Span, Spec, Training};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/optimizers.json")).unwrap()
}

/// The network of the goldens, with an activation.
fn spec(golden: &Value, case: &Value) -> Spec {
    let widths: Vec<usize> = numbers(&golden["layers"]).into_iter().map(|width| width as usize).collect();
    let activation: syva::Nonlinearity = case["activation"].as_str().unwrap_or("tanh").parse().unwrap();
    Mlp::new(widths[0]).hidden(&widths[1..widths.len() - 1], activation).classes(widths[widths.len() - 1])
}

/// Trains a case on an engine. Returns the distances of the losses and of the weights from PyTorch's.
fn distances(engine: &dyn Engine, golden: &Value, case: &Value) -> (f64, f64) {
    let spec = spec(golden, case);
    let scale = case["scale"].as_f64().unwrap_or(1.0) as f32;
    let inputs: Vec<f32> = numbers(&golden["inputs"]).into_iter().map(|x| x * scale).collect();
    let labels: Vec<u32> = numbers(&golden["labels"]).into_iter().map(|label| label as u32).collect();
    let samples = labels.len();
    let targets = Targets::Classes { labels: labels.into(), classes: spec.outputs() };
    let data = Dataset::new(Inputs::F32(inputs.into()), spec.input.features, targets).unwrap();
    let steps = golden["steps"].as_u64().unwrap() as usize;
    let order: Vec<u32> = (0..steps).flat_map(|_| 0..samples as u32).collect();
    let rates = vec![case["lr"].as_f64().unwrap() as f32; steps];

    let mut training = Training::default().optimizer(case["optimizer"].as_str().unwrap().parse().unwrap());
    let bound = || case["bound"].as_f64().unwrap() as f32;
    match case["clip"].as_str() {
        Some("norm") => training.clip_norm = bound(),
        Some("value") => training.clip_value = bound(),
        _ => training.ema = case["ema"].as_f64().unwrap_or(0.0) as f32,
    }
    let text = |key: &str| case[key].as_str();
    training.lr_factors = text("lr_factors").map_or(training.lr_factors, |text| text.parse().unwrap());
    training.decay_factors = text("decay_factors").map_or(training.decay_factors, |text| text.parse().unwrap());
    training.parametrization = text("parametrization").map_or(training.parametrization, |text| text.parse().unwrap());
    let schedule: Option<Schedule> = text("decay_schedule").map(|text| text.parse().unwrap());
    // The steps are the epochs of schedules.
    let decay: Vec<f32> =
        schedule.iter().flat_map(|decay| (0..steps as u64).map(|step| decay.rate(1.0, step, 1))).collect();
    let mut session = engine.open(&engine.devices()[0].id, &spec, &training).unwrap();
    session.load(Split::Train, &data).unwrap();
    session.set_state(&state(&spec, &numbers(&golden["weights"]))).unwrap();
    let span = Span {
        first_step: 0,
        order: &order,
        batch_size: samples,
        learning_rate: &rates,
        decay: &decay,
        ..Span::default()
    };
    let report = session.train(&span).unwrap();
    let trained = session.state().unwrap();
    let flat = |layers: &[Parameters]| -> Vec<f64> {
        let all = layers.iter().flat_map(|layer| layer.parts().flat_map(|(_, values)| values));
        all.map(|&w| f64::from(w)).collect()
    };
    let mut weights = apart(&wide(&case["weights"]), &flat(&trained.layers));
    if training.ema > 0.0 {
        weights = weights.max(apart(&wide(&case["average"]), &flat(&trained.for_prediction().layers)));
    }
    (apart(&wide(&case["losses"]), &report.losses), weights)
}

fn same(list: &str) {
    let golden = golden();
    let cases = golden[list].as_array().unwrap();
    let engines: [&dyn Engine; 2] = [&Reference, &CpuEngine::new().unwrap()];
    let mut worst = (0.0_f64, 0.0_f64);
    for case in cases {
        for engine in engines {
            let (losses, weights) = distances(engine, &golden, case);
            let name = format!("{} {} on {}", case["optimizer"], case["activation"], engine.name());
            assert!(losses <= CLOSE && weights <= CLOSE, "{name}: losses differ by {losses:e}, weights by {weights:e}");
            worst = (worst.0.max(losses), worst.1.max(weights));
        }
    }
    println!(
        "{list}: {} cases, losses within {:.1e}, weights within {:.1e} of PyTorch's",
        cases.len(),
        worst.0,
        worst.1
    );
}

#[test]
fn every_optimiser_trains_as_in_pytorch() {
    same("optimizers");
}

#[test]
fn gains_and_groups_train_as_in_pytorch() {
    same("learned");
}

#[test]
fn gradients_are_clipped_as_in_pytorch() {
    same("clipping");
}

#[test]
fn weights_are_averaged_as_in_pytorch() {
    same("averaging");
}

#[test]
fn every_schedule_has_the_rates_of_pytorch() {
    let golden = golden();
    // PyTorch's cosine rises again after its end. Its steps are our epochs.
    for (name, schedule, steps) in [
        ("step", "step:every=7,gamma=0.5", 30),
        ("exponential", "exponential:gamma=0.9", 30),
        ("polynomial", "polynomial:power=2,epochs=20", 30),
        ("cosine", "cosine:min=0.01,epochs=20", 21),
        ("cosine-restarts", "cosine-restarts:first=5,factor=2,min=0.001", 30),
        ("multi-step", "multi-step:at=5/12/20,gamma=0.3", 30),
        ("one-cycle", "one-cycle:max=0.1,epochs=30", 30),
        ("one-cycle-three-phase", "one-cycle:max=0.1,epochs=30,three_phase=true", 30),
        ("one-cycle-linear", "one-cycle:max=0.1,epochs=30,anneal=linear", 30),
    ] {
        let schedule: Schedule = schedule.parse().unwrap();
        for (step, wanted) in numbers(&golden["schedules"][name]).into_iter().enumerate().take(steps) {
            let found = schedule.rate(0.1, step as u64, 1);
            assert!((found - wanted).abs() <= 1e-6 * wanted + 1e-9, "{name}, step {step}: {found} instead of {wanted}");
        }
    }
}

#[test]
fn a_plateau_lowers_the_rate_as_in_pytorch() {
    let golden = golden();
    let losses = golden["plateau"]["losses"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap());
    let epochs: Vec<Epoch> = (1..)
        .zip(losses)
        .map(|(epoch, val_loss)| Epoch {
            epoch,
            train_loss: 1.0,
            train_acc: None,
            val_loss,
            val_acc: Some(1.0 - val_loss),
            train_balanced_acc: None,
            val_balanced_acc: None,
            learning_rate: 0.1,
            train_seconds: 0.0,
            eval_seconds: 0.0,
        })
        .collect();
    let cases = golden["plateau"].as_object().unwrap().iter().filter(|(name, _)| *name != "losses");
    let mut count = 0;
    for (text, rates) in cases {
        let schedule: Schedule = text.parse().unwrap();
        for (epoch, wanted) in numbers(rates).into_iter().enumerate() {
            let found = schedule.rate_after(&epochs[..epoch], 0.1, epoch as u64, 1);
            assert!((found - wanted).abs() <= 1e-6 * wanted, "{text}, epoch {epoch}: {found} instead of {wanted}");
            count += 1;
        }
    }
    assert_eq!(count, 4 * epochs.len());
}

#[test]
fn every_activation_trains_as_in_pytorch() {
    same("activations");
}
