//! Compares training with PyTorch's, over twenty steps: every loss on every head that it fits, with weights of samples and of
//! classes. `golden/losses.py` made the numbers.

mod common;

use common::{CLOSE, apart, numbers, state, wide};
use serde_json::Value;
use syva::data::{Dataset, Inputs, Split, Targets};
use syva::reference::Reference;
use syva::{Activation, CpuEngine, Engine, Head, Matrix, Mlp, Predictor, Span, Spec, Training};

fn text<'a>(case: &'a Value, key: &str) -> Option<&'a str> {
    case[key].as_str()
}

/// The network of a case, its data and its training.
fn case(golden: &Value, case: &Value) -> (Spec, Dataset, Training) {
    let hidden: Vec<usize> = numbers(&golden["hidden"]).into_iter().map(|width| width as usize).collect();
    let inputs = numbers(&golden["inputs"]);
    let samples = inputs.len() / hidden[0];
    let targets = numbers(&case["targets"]);
    let each = targets.len() / samples;
    let head: Head = text(case, "head").unwrap().parse().unwrap();
    let mlp = Mlp::new(hidden[0]).hidden(&hidden[1..], Activation::Tanh);
    let spec = match head {
        Head::Regression => mlp.values(each),
        Head::Poisson => mlp.counts(each),
        Head::Gaussian => mlp.gaussian(each),
        Head::Binary => mlp.binary(),
        Head::MultiLabel => mlp.labels(each),
        Head::Logits | Head::LogSoftmax => Spec { head, ..mlp.classes(3) },
    };
    let targets = match spec.classes() {
        0 => Targets::Values { values: targets.into(), outputs: each },
        classes => Targets::Classes { labels: targets.into_iter().map(|label| label as u32).collect(), classes },
    };
    let mut data = Dataset::new(Inputs::F32(inputs.into()), hidden[0], targets).unwrap();
    if case["weighted"].as_bool().unwrap() {
        data = data.with_weights(numbers(&golden["sample_weights"])).unwrap();
    }
    let training = Training::default()
        .loss(text(case, "loss").unwrap().parse().unwrap())
        .class_weights(text(case, "class_weights").unwrap_or("none").parse().unwrap());
    (spec, data, training)
}

#[test]
fn every_loss_trains_as_in_pytorch() {
    let golden: Value = serde_json::from_str(include_str!("golden/losses.json")).unwrap();
    let (steps, rate) = (golden["steps"].as_u64().unwrap() as usize, golden["lr"].as_f64().unwrap() as f32);
    let engines: [&dyn Engine; 2] = [&Reference, &CpuEngine::new().unwrap()];
    let cases = golden["cases"].as_array().unwrap();
    let mut worst = 0.0_f64;
    for wanted in cases {
        let (spec, data, training) = case(&golden, wanted);
        let samples = data.samples();
        for engine in engines {
            let mut session = engine.open(&engine.devices()[0].id, &spec, &training).unwrap();
            session.load(Split::Train, &data).unwrap();
            session.set_state(&state(&spec, &numbers(&wanted["initial"]))).unwrap();
            let order: Vec<u32> = (0..steps).flat_map(|_| 0..samples as u32).collect();
            let rates = vec![rate; steps];
            let span =
                Span { first_step: 0, order: &order, batch_size: samples, learning_rate: &rates, ..Span::default() };
            let report = session.train(&span).unwrap();
            let trained = session.state().unwrap();
            let inputs = Inputs::from(numbers(&golden["inputs"]));
            let mut outputs = Matrix::zeros(samples, spec.outputs());
            session.predict(&inputs, &mut outputs).unwrap();
            let model = syva::Model::new(spec.clone(), trained.clone());
            let file = model.to_bytes().unwrap();
            assert_eq!(syva::Model::from_bytes(&file, "m.safetensors").unwrap(), model, "{}", spec.head);
            let same = Predictor::new(&model).unwrap().predict(&inputs).unwrap();
            assert_eq!(same.values(), outputs.values(), "{}", spec.head);
            let one = Predictor::new(&model).unwrap().predict(&inputs.rows(0..1, 5).into_owned().into());
            assert_eq!(one.unwrap().values(), outputs.row(0), "{}", spec.head);

            let flat = trained.layers.iter().flat_map(|layer| layer.weight.values().iter().chain(&layer.bias));
            let weights: Vec<f64> = flat.map(|&w| f64::from(w)).collect();
            let predictions: Vec<f64> = outputs.values().iter().map(|&z| f64::from(z)).collect();
            let found = [("losses", &report.losses), ("weights", &weights), ("predictions", &predictions)];
            let distances = found.map(|(name, found)| apart(&wide(&wanted[name]), found));
            let name = format!("{} {} on {}", wanted["loss"], wanted["head"], engine.name());
            assert!(distances.iter().all(|&apart| apart <= CLOSE), "{name}: {distances:?}");
            worst = distances.into_iter().fold(worst, f64::max);
        }
    }
    println!("{} cases, losses, weights and predictions within {worst:.1e} of PyTorch's", cases.len());
}
