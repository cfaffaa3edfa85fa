//! Compares predictors with the reference, bit by bit: random networks of every kind, any number of samples and
//! threads, and each instruction set of this processor.

use std::sync::Arc;

use syva_core::data::{Inputs, Mixed};
use syva_core::random::{Random, Stream};
use syva_core::reference::Reference;
use syva_core::{
    Activation, Block, Embedding, Engine, Head, Init, Matrix, Mlp, Model, Normalization, Parameters, Session, Spec,
    State, Training,
};
use syva_cpu::isa::Isa;
use syva_cpu::{CpuEngine, Predictor};

/// The outputs by the definition.
fn reference(model: &Model, inputs: &Inputs) -> Matrix {
    outputs(&Reference, model, inputs)
}

/// The outputs of a session.
fn outputs(engine: &dyn Engine, model: &Model, inputs: &Inputs) -> Matrix {
    let mut session = model.open(engine, &engine.name().parse().unwrap(), &Training::default()).unwrap();
    let mut outputs = Matrix::zeros(inputs.len() / model.spec.input.features, model.spec.outputs());
    session.predict(inputs, &mut outputs).unwrap();
    outputs
}

fn same(what: &str, wanted: &[f32], found: &[f32]) {
    let differs = wanted.iter().zip(found).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(wanted.len(), found.len(), "{what}");
    assert_eq!(differs, None, "{what}: {:?}", differs.map(|i| (wanted[i], found[i])));
}

fn drawn(random: &mut Random, below: u64) -> usize {
    random.below(below) as usize
}

/// A model with random widths, activations, head and normalisation. Its weights sometimes cause sums that vanish, or
/// negative zeros.
fn any_model(random: &mut Random, seed: u32) -> Model {
    let widest = [3, 20, 70, 300][drawn(random, 4)];
    let features = [1, 2, 4, 31, 33, 513, 784, 1100][drawn(random, 8)].min(1 + widest * 8);
    let hidden: Vec<usize> = (0..drawn(random, 4)).map(|_| 1 + drawn(random, widest as u64)).collect();
    let activation = Activation::ALL[drawn(random, Activation::ALL.len() as u64)];
    let mlp = Mlp::new(features).hidden(&hidden, activation);
    let most = [2, 10, 60][drawn(random, 3)];
    let classes = 2 + drawn(random, most);
    let mut spec = match drawn(random, 4) {
        0 => mlp.values(classes - 1),
        1 => mlp.binary(),
        2 => mlp.classes(classes),
        _ => Spec { head: Head::LogSoftmax, ..mlp.classes(classes) },
    };
    // Mixed activations.
    let hidden = spec.layers.len() - 1;
    for layer in &mut spec.layers[..hidden] {
        if random.below(3) == 0 {
            layer.activation = Activation::ALL[drawn(random, Activation::ALL.len() as u64)];
        }
    }
    let mut each = |low, high| (0..features).map(|_| random.uniform(low, high)).collect::<Vec<f32>>();
    spec.input.normalization = match seed % 4 {
        0 => Normalization::None,
        1 => Normalization::pixels(0.1307, 0.3081),
        2 => Normalization::PerFeature { scale: each(-2.0, 2.0), shift: each(-1.0, 1.0) },
        _ => Normalization::PerFeature { scale: vec![0.0; features], shift: vec![-0.0; features] },
    };
    let mut state = State::initial(&spec, &Training::default().seed(seed).init(Init::HE_UNIFORM)).unwrap();
    for Parameters { weight, bias, .. } in &mut state.layers {
        for bias in bias.iter_mut() {
            *bias = if random.below(2) == 0 { -0.0 } else { random.uniform(-0.5, 0.5) };
        }
        if random.below(4) == 0 {
            weight.values_mut().iter_mut().for_each(|w| *w = if random.below(2) == 0 { -0.0 } else { *w });
        }
    }
    Model::new(spec, state)
}

fn any_inputs(random: &mut Random, rows: usize, features: usize) -> Inputs {
    let zeros = [0, 50, 90][drawn(random, 3)];
    let value = |random: &mut Random| match random.below(100) {
        n if n < zeros => [0.0, -0.0][(n % 2) as usize],
        n if n % 17 == 0 => 1e-40,
        _ => random.uniform(-3.0, 255.0),
    };
    (0..rows * features).map(|_| value(random)).collect::<Vec<f32>>().into()
}

/// All inputs, written out.
fn written_out(inputs: &Inputs, features: usize) -> Vec<f32> {
    inputs.rows(0..inputs.len() / features, features).into_owned()
}

fn isas() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.available().is_ok()).collect()
}

#[test]
fn any_network_predicts_to_the_reference_s_bits() {
    for seed in 0..160 {
        let mut random = Random::new(seed, Stream::Augmentation, 1);
        let model = any_model(&mut random, seed);
        let predictor = Predictor::new(&model).unwrap();
        assert_eq!(predictor.model(), model, "seed {seed}");
        let rows = [0, 1, 2, 3, 15, 16, 17, 67, 300][drawn(&mut random, 9)];
        let inputs = any_inputs(&mut random, rows, model.spec.input.features);
        let wanted = reference(&model, &inputs);
        let what = format!("seed {seed}: {rows} samples for {:?}", model.spec.widths());
        same(&what, wanted.values(), predictor.predict(&inputs).unwrap().values());
        for isa in isas() {
            let predictor = Predictor::new(&model).unwrap().with_isa(isa).unwrap();
            // Filled with NaN, so that values that are not written show.
            let mut outputs = vec![f32::NAN; wanted.values().len()];
            let inputs = written_out(&inputs, model.spec.input.features);
            predictor.predict_into(&inputs, &mut outputs).unwrap();
            same(&format!("{what}, {isa}"), wanted.values(), &outputs);
        }
    }
}

/// Numbers and codes give the same as the inputs that they stand for, and so do bytes: one sample and many, of one network
/// and of several, in a predictor and in a session.
#[test]
fn codes_predict_as_what_they_stand_for() {
    let categories = [3, 40, 2];
    let (count, features) = (5, 50);
    let numbers = Block::Periodic { features: count, frequencies: 4, outputs: 3 };
    let blocks = [numbers]
        .into_iter()
        .chain(categories.map(|features| Block::Category { features, size: 4 }))
        .collect::<Vec<Block>>();
    let raw = Mlp::new(features).hidden(&[40, 20], Activation::Mish).classes(3);
    let mut embedded = raw.clone();
    embedded.input.embedding = Some(Embedding { blocks, scaled: true });
    let isas = isas();
    for (n, spec) in [raw, embedded].into_iter().enumerate() {
        let of = |seed| Model::new(spec.clone(), State::initial(&spec, &Training::default().seed(seed)).unwrap());
        for model in [of(1), Model::of_several([of(1), of(2)]).unwrap()] {
            for rows in [1, 3, 40, 700] {
                let mut random = Random::new(rows as u32, Stream::Augmentation, 4);
                let x = (0..rows * count).map(|_| random.uniform(-2.0, 2.0)).collect();
                let code = |random: &mut Random, categories: usize| match drawn(random, categories as u64 + 1) {
                    code if code == categories => Mixed::NONE,
                    code => code as u32,
                };
                let codes = (0..3 * rows).map(|i| code(&mut random, categories[i % 3])).collect();
                let mixed = Inputs::from(Mixed::new(count, x, &categories, codes).unwrap());
                let bytes =
                    Inputs::from((0..rows * features).map(|_| drawn(&mut random, 3) as u8).collect::<Vec<u8>>());
                for inputs in [mixed, bytes] {
                    let what = format!("network {n}, {rows} samples");
                    let written = Inputs::from(written_out(&inputs, features));
                    let wanted = reference(&model, &written);
                    same(&what, wanted.values(), reference(&model, &inputs).values());
                    for &isa in &isas {
                        let engine = CpuEngine::new().unwrap().with_isa(isa).unwrap();
                        same(&what, wanted.values(), outputs(&engine, &model, &inputs).values());
                        let predictor = Predictor::new(&model).unwrap().with_isa(isa).unwrap();
                        same(&what, wanted.values(), predictor.predict(&inputs).unwrap().values());
                    }
                }
            }
        }
    }
}

/// A thousand samples, in blocks of several threads, give the same as each sample alone.
#[test]
fn many_samples_are_as_one_and_one() {
    let mut random = Random::new(3, Stream::Augmentation, 2);
    let spec = Mlp::new(784).hidden(&[64, 33], Activation::Sigmoid).classes(10);
    let model = Model::new(spec.clone(), State::initial(&spec, &Training::default()).unwrap());
    let inputs = any_inputs(&mut random, 1000, 784);
    let predictor = Predictor::new(&model).unwrap();
    let wanted: Vec<f32> = (0..1000)
        .flat_map(|row| {
            let mut outputs = [0.0; 10];
            predictor.predict_into(&inputs.rows(row..row + 1, 784), &mut outputs).unwrap();
            outputs
        })
        .collect();
    for threads in [1, 2, 3, 8] {
        let predictor = Predictor::new(&model).unwrap().with_threads(threads);
        same(&format!("{threads} threads"), &wanted, predictor.predict(&inputs).unwrap().values());
    }
}

/// Threads ask two networks of different widths in turns, as the workers of a server do.
#[test]
fn threads_share_a_predictor() {
    let models: Vec<Model> = (0..2)
        .map(|i| {
            let spec = Mlp::new(4).hidden(&[[16, 70], [5, 200]][i], Activation::Tanh).classes(3);
            Model::new(spec.clone(), State::initial(&spec, &Training::default().seed(i as u32)).unwrap())
        })
        .collect();
    let predictors: Vec<Arc<Predictor>> = models.iter().map(|model| Arc::new(Predictor::new(model).unwrap())).collect();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (models, predictors) = (models.clone(), predictors.clone());
            std::thread::spawn(move || {
                let mut random = Random::new(thread, Stream::Augmentation, 3);
                for call in 0..200 {
                    let which = call % 2;
                    let rows = 1 + drawn(&mut random, 20);
                    let inputs = any_inputs(&mut random, rows, 4);
                    let found = predictors[which].predict(&inputs).unwrap();
                    let what = format!("thread {thread}, call {call}");
                    same(&what, reference(&models[which], &inputs).values(), found.values());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// A predictor is `Send` and `Sync`, and a session can move between threads.
#[test]
fn what_servers_hold_can_be_held() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Predictor>();
    shared::<Box<dyn Engine>>();
    sent::<Box<dyn Session>>();
    sent::<syva_core::Trainer>();
}

#[test]
fn inputs_that_are_no_numbers_are_refused() {
    let spec = Mlp::new(3).hidden(&[4], Activation::Relu).classes(2);
    let model = Model::new(spec.clone(), State::initial(&spec, &Training::default()).unwrap());
    let predictor = Predictor::new(&model).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in 0..60 {
            let mut values = vec![1.0; 60];
            values[at] = bad;
            let place = format!("sample {}, feature {} (both counted from 0): {bad} is not finite", at / 3, at % 3);
            let inputs = Inputs::from(values.clone());
            for error in [
                predictor.predict(&inputs).unwrap_err(),
                predictor.classify(&inputs).unwrap_err(),
                predictor.predict_into(&values, &mut [0.0; 40]).unwrap_err(),
            ] {
                assert!(error.to_string().starts_with(&place), "{error}");
            }
        }
    }
    // Inputs that do not fit are refused.
    assert!(predictor.predict(&vec![0.0_f32; 4].into()).is_err());
    let other = Mixed::new(1, vec![0.0], &[3], vec![0]).unwrap();
    let error = predictor.predict(&other.into()).unwrap_err().to_string();
    assert!(error.starts_with("the inputs have 4 features, not 3"), "{error}");
    for (inputs, outputs) in [(3, 1), (3, 3), (4, 2), (0, 2)] {
        assert!(predictor.predict_into(&vec![0.0; inputs], &mut vec![0.0; outputs]).is_err(), "{inputs}, {outputs}");
    }
    predictor.predict_into(&[], &mut []).unwrap();
}

#[test]
fn models_that_cannot_answer_are_refused() {
    let spec = Mlp::new(3).hidden(&[4], Activation::Relu).classes(2);
    let model = Model::new(spec.clone(), State::initial(&spec, &Training::default()).unwrap());
    let refused = |edit: &dyn Fn(&mut Model)| {
        let mut model = model.clone();
        edit(&mut model);
        Predictor::new(&model).err().expect("is refused").to_string()
    };
    let scales = |scale| Normalization::PerFeature { scale: vec![1.0, scale, 1.0], shift: vec![0.0; 3] };
    for bad in [f32::NAN, f32::INFINITY] {
        assert!(refused(&|model| model.spec.input.normalization = scales(bad)).contains("feature 1 is not finite"));
        assert!(refused(&|model| model.state.layers[1].bias[1] = bad).contains("a weight of the model is not finite"));
    }
    assert!(refused(&|model| model.spec.input.features = 4).contains("layer 1 has"));
    assert!(Predictor::new(&model).unwrap().with_names(["one"]).is_err());
}
