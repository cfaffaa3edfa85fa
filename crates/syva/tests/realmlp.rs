//! Compares the presets for tables with pytabkit's RealMLP: the inputs that they make of a table, and the first steps from the
//! same initial parameters. `golden/realmlp.py` made the numbers.

use serde_json::Value;
use syva::data::tabular::dataset;
use syva::data::{Split, Targets};
use syva::reference::Reference;
use syva::schema::{Schema, TableOptions};
use syva::table::{Column, Table, Values};
use syva::{
    CpuEngine, Embedding, Engine, Matrix, Mlp, Nonlinearity, Parametrization, Schedule, Span, Spec, State, Training,
};

/// The numbers of a list.
fn wide(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/realmlp.json")).unwrap()
}

fn table(case: &Value) -> Table {
    let column = |name: &str, cells: &Value| {
        let cells = cells.as_array().unwrap();
        let values = if cells[0].is_string() {
            Values::texts(cells.iter().map(Value::as_str))
        } else {
            Values::Numbers(cells.iter().map(|cell| cell.as_f64().unwrap()).collect())
        };
        Column::new(name, values)
    };
    let features = case["columns"].as_object().unwrap().iter().map(|(name, cells)| column(name, cells));
    Table::new(features.chain([column("target", &case["target"])]).collect()).unwrap()
}

/// The network, the inputs and targets, of a case.
fn prepared(case: &Value) -> (Spec, syva::data::Dataset) {
    let name = case["name"].as_str().unwrap();
    let (small, classes) = (name.contains("-s-"), name.ends_with("class"));
    let options = TableOptions {
        target: vec!["target".into()],
        scaling: "robust".parse().unwrap(),
        clamp: !small,
        embedding: if small { "none" } else { "periodic" }.parse().unwrap(),
        embed_above: (!small).then_some(8),
        input_factors: true,
        ..TableOptions::default()
    };
    let table = table(case);
    let fitted = Schema::fit(&table, &table, &options).unwrap();
    let data = dataset(&fitted.schema, &table, None).unwrap();
    let activation = match (classes, small) {
        (true, true) => "selu",
        (true, false) => "parametric-selu",
        (false, true) => "mish",
        (false, false) => "parametric-mish",
    };
    let mlp = Mlp::new(fitted.schema.inputs()).normalized(fitted.normalization);
    let mlp = mlp.hidden(&[5, 4], activation.parse::<Nonlinearity>().unwrap());
    let mut spec = match data.targets() {
        Targets::Classes { classes, .. } => mlp.classes(*classes),
        Targets::Values { outputs, .. } => mlp.values(*outputs),
    };
    spec.input.embedding = fitted.embedding;
    (spec, data)
}

fn training(case: &Value) -> Training {
    let name = case["name"].as_str().unwrap();
    let (small, classes) = (name.contains("-s-"), name.ends_with("class"));
    let decay = if small { "0" } else { "0.02" };
    let mut training = Training {
        parametrization: Parametrization::Ntk,
        lr_factors: if small { "biases=0.1,scales=6" } else { "biases=0.1,gains=0.1,numbers=0.1,scales=6" }
            .parse()
            .unwrap(),
        ..Training::default().optimizer(format!("adamw:beta2=0.95,weight_decay={decay}").parse().unwrap())
    };
    if !small {
        training.decay_factors = "biases=0,gains=0.1,numbers=0.1,scales=6".parse().unwrap();
    }
    if classes {
        training.loss = "cross-entropy:smoothing=0.1".parse().unwrap();
    }
    training
}

/// pytabkit's parameters as a state of ours.
fn state(spec: &Spec, tensors: &Value) -> State {
    let mut tensors = tensors.as_array().unwrap().iter().map(|tensor| {
        (tensor["name"].as_str().unwrap().to_string(), wide(&tensor["values"]).iter().map(|&v| v as f32).collect())
    });
    let mut next = |part: &str| -> Vec<f32> {
        let (name, values) = tensors.next().unwrap();
        assert!(name.ends_with(part), "{name} instead of {part}");
        values
    };
    let mut state = State::initial(spec, &Training::default()).unwrap();
    let embedding: &Embedding = spec.input.embedding.as_ref().unwrap();
    // Where our inputs of the first layer are among theirs.
    let inputs: Vec<usize> = if embedding.tensors().len() > 1 {
        state.embedding[0] = next("weight_1");
        state.embedding[2] = next("weight_2");
        state.embedding[1] = next("bias_1");
        state.embedding[3] = next("bias_2");
        // Theirs begin with the vector of missing categories.
        state.embedding[4] = next("emb")[8..].to_vec();
        // Their order: mixes of both numbers, both numbers, the flag, three categories, the vector.
        [0, 1, 2, 6, 3, 4, 5, 7].into_iter().chain(8..20).collect()
    } else {
        (0..16).collect()
    };
    // The flag has the other sign there.
    let flag = inputs.iter().position(|&input| input == if inputs.len() == 20 { 8 } else { 2 }).unwrap();
    let scales = state.embedding.len() - 1;
    let factors = next("scale");
    state.embedding[scales] = inputs.iter().map(|&input| factors[input]).collect();
    for l in 0..3 {
        let (fan_in, units) = (spec.fan_in(l), spec.layers[l].units);
        let weight: Vec<f64> = next("weight").into_iter().map(f64::from).collect();
        let mut matrix = Matrix::zeros(units, fan_in);
        for j in 0..units {
            for (k, w) in matrix.row_mut(j).iter_mut().enumerate() {
                let theirs = if l == 0 { inputs[k] } else { k };
                let sign = if l == 0 && k == flag { -1.0 } else { 1.0 };
                *w = (sign * weight[theirs * units + j] / (fan_in as f64).sqrt()) as f32;
            }
        }
        state.layers[l].weight = matrix;
        state.layers[l].bias = next("bias");
        if spec.layers[l].gains() > 0 {
            state.layers[l].gain = next("weight");
        }
    }
    state
}

#[test]
fn inputs_are_those_of_pytabkit() {
    for case in
        golden()["cases"].as_array().unwrap().iter().filter(|case| case["name"].as_str().unwrap().contains("-s-"))
    {
        let (spec, data) = prepared(case);
        let features = spec.input.features;
        let mut rows: Vec<Vec<f32>> = data
            .inputs()
            .rows(0..data.samples(), features)
            .chunks(features)
            .map(|row| row.iter().enumerate().map(|(k, &x)| spec.input.normalization.apply(k, x)).collect())
            .collect();
        rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let wanted = case["prepared"].as_array().unwrap();
        assert_eq!(rows.len(), wanted.len());
        for (row, wanted) in rows.iter().zip(wanted) {
            for (k, (&found, wanted)) in row.iter().zip(wide(wanted)).enumerate() {
                // The flag has the other sign there.
                let wanted = if k == 2 { -wanted } else { wanted };
                assert!((f64::from(found) - wanted).abs() < 1e-6, "{}, input {k}: {found}, {wanted}", case["name"]);
            }
        }
    }
}

#[test]
fn first_steps_are_those_of_pytabkit() {
    let golden = golden();
    let epochs = golden["epochs"].as_u64().unwrap();
    let cpu = CpuEngine::new().unwrap();
    // With an output layer of zeros and targets of mean 0, the gradient of the output's bias is 0 but for rounding, and Adam
    // divides it by its own size: so the steps of this case are those of rounding errors.
    let is_stable = |case: &&Value| case["name"] != "td-s-regr";
    for case in golden["cases"].as_array().unwrap().iter().filter(is_stable) {
        for engine in [&cpu as &dyn Engine, &Reference] {
            let ((spec, data), training) = (prepared(case), training(case));
            let small = case["name"].as_str().unwrap().contains("-s-");
            let schedule: Schedule = format!("coslog4:epochs={epochs}").parse().unwrap();
            let flat: Schedule = format!("flat-cos:epochs={epochs}").parse().unwrap();
            let (base, steps) = (rate(case), epochs - 1);
            let rates: Vec<f32> = (0..steps).map(|step| schedule.rate(base, step, 1)).collect();
            let decay: Vec<f32> = (0..steps).map(|step| if small { 1.0 } else { flat.rate(1.0, step, 1) }).collect();
            let order: Vec<u32> = (0..steps).flat_map(|_| 0..data.samples() as u32).collect();
            let mut session = engine.open(&engine.devices()[0].id, &spec, &training).unwrap();
            session.load(Split::Train, &data).unwrap();
            session.set_state(&state(&spec, &case["before"])).unwrap();
            let span = Span {
                first_step: 0,
                order: &order,
                batch_size: data.samples(),
                learning_rate: &rates,
                decay: &decay,
                ..Span::default()
            };
            let report = session.train(&span).unwrap();
            for (step, (found, wanted)) in report.losses.iter().zip(wide(&case["losses"])).enumerate() {
                assert!((found - wanted).abs() < 1e-5, "{}, step {step}: {found}, {wanted}", case["name"]);
            }
            let (found, wanted) = (session.state().unwrap(), state(&spec, &case["after"]));
            let close = |what: &str, found: &[f32], wanted: &[f32]| {
                assert_eq!(found.len(), wanted.len());
                for (i, (f, w)) in found.iter().zip(wanted).enumerate() {
                    assert!((f - w).abs() < 2e-4, "{}, {what}, value {i}: {f}, {w}", case["name"]);
                }
            };
            for (t, (f, w)) in found.embedding.iter().zip(&wanted.embedding).enumerate() {
                close(&format!("tensor {t}"), f, w);
            }
            for (l, (f, w)) in found.layers.iter().zip(&wanted.layers).enumerate() {
                f.parts().zip(w.parts()).for_each(|((part, f), (_, w))| close(&format!("layer {l}, {part:?}"), f, w));
            }
        }
    }
}

fn rate(case: &Value) -> f32 {
    match case["name"].as_str().unwrap() {
        "td-regr" => 0.2,
        "td-s-regr" => 0.07,
        _ => 0.04,
    }
}
