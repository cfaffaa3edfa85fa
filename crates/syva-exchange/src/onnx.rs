//! Writes a network as an ONNX file, from raw inputs to named classes or values in the target's units.
//!
//! ```text
//! columns ─► [columns.rs] ─► inputs [N, features] ─► normalisation ─► layers ─► head ─► prediction, probabilities
//! ```
//!
//! The network computes in 32-bit floats: step by step as Syvä does ([contract.rs](contract)), or by ONNX's own products and
//! functions. What is in 64 bits in Syvä (the scaling of columns, probabilities, and what undoes the scaling of targets) is in
//! 64 bits here, too.

mod columns;
mod contract;
mod graph;
mod messages;

use std::collections::HashSet;

use prost::Message;
use syva_core::arithmetic::Number;
use syva_core::ops::{Learned, variance};
use syva_core::schema::{Encoding, Schema, Target, ValueTarget};
use syva_core::{
    Activation, Block, Embedding, Error, Head, Model, Nonlinearity, Normalization, Numbers, Parameters, Result, Wave,
};

use self::graph::{Graph, Kind, ML, Size, float, int, text};
use self::messages::{ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// The version of ONNX's operators: the first that has Gelu. ONNX Runtime knows it from 1.17 on.
const OPSET: i64 = 20;
/// The version of the operators of `ai.onnx.ml`.
const ML_OPSET: i64 = 3;
/// The version of the format that came with these operators.
const IR: i64 = 9;
/// The longest message of protocol buffers.
const MOST_BYTES: usize = (1 << 31) - 1;

const PREDICTION: &str = "prediction";
const PROBABILITIES: &str = "probabilities";
const DEVIATION: &str = "deviation";

/// The bytes of an ONNX file of a model, which computes what Syvä computes, to the bit.
///
/// Its sums and functions are those of the arithmetic contract, operation by operation. The exception is rare: an `fma` is a
/// product and a sum in 64 bits here, whose rounding to 32 bits differs once in about 10⁹ times, in the last bit.
///
/// Inputs are `input` `[N, features]` (an image `[N, height, width]`), 32-bit floats as the data has them; or, for a network
/// on a table, one `[N, 1]` per column, named like it: 64-bit floats (NaN if a value is missing), texts (empty if it is
/// missing), and for dates their parts, as in [`Schema::input_names`].
///
/// Outputs are `prediction` (`[N]` names of classes, or their numbers if they have no names; `[N, targets]` values in the
/// target's units; `[N, labels]` 0 or 1), `probabilities` `[N, classes]` for classes and labels, and `deviation` `[N, targets]`
/// of a network that predicts deviations. The metadata has the names of classes and targets, and the model's digest.
///
/// # Errors
/// [`Error::Mismatch`] if the file would be larger than 2 GiB, or a column has the name of an output.
///
/// ```
/// use syva_core::{Activation::Relu, Mlp, Model, State, Training};
/// let spec = Mlp::new(4).hidden(&[16], Relu).classes(3);
/// let model = Model::new(spec.clone(), State::initial(&spec, &Training::default())?);
/// let bytes = syva_exchange::onnx(&model)?;
/// assert!(syva_core::recognise::recognise(&bytes).is_some_and(|format| format.name == "an ONNX model"));
/// # Ok::<(), syva_core::Error>(())
/// ```
pub fn onnx(model: &Model) -> Result<Vec<u8>> {
    file(model, Arithmetic::Contract)
}

/// The same as [`onnx()`], with ONNX's own matrix products and functions: 20 to 30 times as fast. They round in other places,
/// so probabilities differ by up to some 10⁻⁶.
///
/// # Errors
/// As of [`onnx()`], and [`Error::Mismatch`] for an activation that ONNX does not have.
///
/// ```
/// use syva_core::{Activation::Relu, Mlp, Model, State, Training};
/// let spec = Mlp::new(4).hidden(&[16], Relu).classes(3);
/// let model = Model::new(spec.clone(), State::initial(&spec, &Training::default())?);
/// assert_ne!(syva_exchange::onnx_fast(&model)?, syva_exchange::onnx(&model)?);
/// # Ok::<(), syva_core::Error>(())
/// ```
pub fn onnx_fast(model: &Model) -> Result<Vec<u8>> {
    file(model, Arithmetic::Native)
}

/// How the network's arithmetic is written.
#[derive(Clone, Copy, PartialEq)]
enum Arithmetic {
    /// As ONNX's own products and functions.
    Native,
    /// As the contract's operations, in its order.
    Contract,
}

/// The bytes of a file.
fn file(model: &Model, arithmetic: Arithmetic) -> Result<Vec<u8>> {
    let Model { spec, state, members } = model;
    if !members.is_empty() {
        return Err(crate::several(model));
    }
    spec.validate()?;
    state.check(spec)?;
    let mut graph = Graph::default();
    for name in [PREDICTION, PROBABILITIES, DEVIATION] {
        graph.reserve(name);
    }
    let inputs = match &spec.schema {
        Some(schema) => {
            check_names(schema)?;
            columns::inputs(&mut graph, schema)
        }
        None => raw_input(&mut graph, spec.input.features, &spec.input.shape),
    };
    let outputs = match arithmetic {
        Arithmetic::Native => network(&mut graph, model, inputs)?,
        Arithmetic::Contract => contract::network(&mut graph, model, &inputs),
    };
    head(&mut graph, model, &outputs, arithmetic);
    let graph = graph.finish(&spec.widths());
    let opset = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
    let message = ModelProto {
        ir_version: Some(IR),
        producer_name: Some("syva".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        doc_string: Some(format!("A deep fully connected network, {}, {}", spec.widths(), spec.head)),
        graph: Some(graph),
        opset_import: vec![opset("", OPSET), opset(ML, ML_OPSET)],
        metadata_props: metadata(model, arithmetic),
    };
    let length = message.encoded_len();
    if length > MOST_BYTES {
        let problem =
            format!("the ONNX file would have {length} bytes, more than the {MOST_BYTES} that readers accept");
        return Err(Error::mismatch(problem, "use a narrower network"));
    }
    Ok(message.encode_to_vec())
}

/// Columns must not have the names of outputs, or of each other's parts.
fn check_names(schema: &Schema) -> Result<()> {
    let mut taken = HashSet::from([PREDICTION, PROBABILITIES, DEVIATION].map(String::from));
    for name in schema.features.iter().flat_map(columns::names) {
        if !taken.insert(name.clone()) {
            let problem = format!("a column is called '{name}', as an output of the ONNX file or another input is");
            return Err(Error::mismatch(problem, "train again with another name for the column"));
        }
    }
    Ok(())
}

/// The input of a network that is not on a table.
fn raw_input(graph: &mut Graph, features: usize, shape: &[usize]) -> String {
    if shape.len() < 2 {
        return graph.input("input", Kind::Float, &[Size::Samples, Size::Of(features)]);
    }
    let sizes: Vec<Size> = [Size::Samples].into_iter().chain(shape.iter().map(|&size| Size::Of(size))).collect();
    let image = graph.input("input", Kind::Float, &sizes);
    graph.op_with("Flatten", &[&image], vec![int("axis", 1)])
}

/// The network's layers over inputs `[N, features]`: its outputs `[N, outputs]` before its head. What is before the first layer
/// belongs here.
fn network(graph: &mut Graph, model: &Model, inputs: String) -> Result<String> {
    let normalization = &model.spec.input.normalization;
    let mut x = match &model.spec.input.embedding {
        Some(embedding) => embedded(graph, embedding, model, inputs),
        None => scaled(graph, normalization, inputs),
    };
    let is_raw = model.spec.input.embedding.is_none();
    for (l, (layer, parameters)) in model.spec.layers.iter().zip(&model.state.layers).enumerate() {
        let Parameters { weight, bias, gain } = parameters;
        let w = graph.floats(&format!("fc{}.weight", l + 1), &[weight.rows(), weight.columns()], weight.values());
        let bias = if l == 0 && is_raw { shifted(normalization, parameters) } else { bias.clone() };
        let b = graph.floats(&format!("fc{}.bias", l + 1), &[bias.len()], &bias);
        let z = graph.op_with("Gemm", &[&x, &w, &b], vec![int("transB", 1)]);
        let gain = (!gain.is_empty()).then(|| graph.floats(&format!("act{}.weight", l + 1), &[gain.len()], gain));
        x = activated(graph, layer.nonlinearity(), &z, gain.as_deref())?;
    }
    Ok(x)
}

/// The functions of one kind that numbers are embedded by, of all blocks: `wave(x' · w + b) · mixes`.
struct Waves {
    wave: Wave,
    /// `[features, functions]`
    w: Vec<f32>,
    b: Vec<f32>,
    /// `[functions, outputs]`
    mixes: Vec<f32>,
    /// The functions so far.
    at: usize,
}

impl Waves {
    fn of(wave: Wave, embedding: &Embedding) -> Self {
        let functions =
            |block: &Block| block.numbers().filter(|n| n.wave == wave).map(|n| block.features() * n.functions);
        let count: usize = embedding.blocks.iter().filter_map(functions).sum();
        let (w, mixes) = (vec![0.0; embedding.features() * count], vec![0.0; count * embedding.outputs()]);
        Self { wave, w, b: vec![0.0; count], mixes, at: 0 }
    }

    /// Adds them to the outputs.
    fn add(self, graph: &mut Graph, x: &str, embedded: String, (features, outputs): (usize, usize)) -> String {
        let count = self.b.len();
        if count == 0 {
            return embedded;
        }
        let [w, b] = match self.wave {
            Wave::Cosine => ["embedding.frequency", "embedding.phase"],
            Wave::Ramp => ["embedding.slope", "embedding.place"],
        };
        let (w, b) = (graph.floats(w, &[features, count], &self.w), graph.floats(b, &[count], &self.b));
        let angle = graph.op("Gemm", &[x, &w, &b]);
        let found = match self.wave {
            Wave::Cosine => graph.op("Cos", &[&angle]),
            Wave::Ramp => {
                let (zero, one) = (graph.float(0.0), graph.float(1.0));
                graph.op("Clip", &[&angle, &zero, &one])
            }
        };
        let mixes = graph.floats("embedding.weight", &[count, outputs], &self.mixes);
        graph.op("Gemm", &[&found, &mixes, &embedded])
    }
}

/// The embedding of the inputs, as products: of the inputs themselves, and of the functions of all numbers.
fn embedded(graph: &mut Graph, embedding: &Embedding, model: &Model, inputs: String) -> String {
    let (features, outputs, learned) = (embedding.features(), embedding.outputs(), &model.state.embedding);
    let mut linear = vec![0.0; features * outputs];
    let mut offsets = vec![0.0; outputs];
    let mut waves = [Wave::Cosine, Wave::Ramp].map(|wave| Waves::of(wave, embedding));
    for placed in embedding.placed() {
        let of = |n: usize| &learned[placed.tensor + n];
        match placed.block {
            Block::Plain { .. } => {
                placed.features.zip(placed.outputs).for_each(|(k, o)| linear[k * outputs + o] = 1.0);
            }
            Block::Periodic { .. } | Block::Piecewise { .. } => {
                let Some(Numbers { wave, functions: m, outputs: each }) = placed.block.numbers() else { continue };
                let Some(waves) = waves.iter_mut().find(|waves| waves.wave == wave) else { continue };
                let count = waves.b.len();
                for (f, k) in placed.features.enumerate() {
                    let first = placed.outputs.start + f * each;
                    for i in 0..m {
                        let w = of(0)[f * m + i];
                        waves.w[k * count + waves.at] = match wave {
                            Wave::Cosine => (2.0 * std::f64::consts::PI * f64::from(w)) as f32,
                            Wave::Ramp => w,
                        };
                        waves.b[waves.at] = of(1)[f * m + i];
                        for o in 0..each - 1 {
                            waves.mixes[waves.at * outputs + first + o] = of(2)[(f * m + i) * (each - 1) + o];
                        }
                        waves.at += 1;
                    }
                    offsets[first..first + each - 1].copy_from_slice(&of(3)[f * (each - 1)..][..each - 1]);
                    linear[k * outputs + first + each - 1] = 1.0;
                }
            }
            Block::Category { size, .. } => {
                for (f, k) in placed.features.enumerate() {
                    linear[k * outputs + placed.outputs.start..][..size].copy_from_slice(&of(0)[f * size..][..size]);
                }
            }
        }
    }
    let x = normalised(graph, &model.spec.input.normalization, features, inputs);
    let linear = graph.floats("embedding.linear", &[features, outputs], &linear);
    let offsets = graph.floats("embedding.bias", &[outputs], &offsets);
    let mut embedded = graph.op("Gemm", &[&x, &linear, &offsets]);
    for waves in waves {
        embedded = waves.add(graph, &x, embedded, (features, outputs));
    }
    factored(graph, embedding, learned, embedded)
}

/// The outputs of an embedding, times their factors.
fn factored(graph: &mut Graph, embedding: &Embedding, learned: &[Vec<f32>], embedded: String) -> String {
    let Some(place) = embedding.scales() else { return embedded };
    let factors = graph.floats("factors.weight", &[embedding.outputs()], &learned[place]);
    graph.op("Mul", &[&embedded, &factors])
}

/// `scale · x + shift`.
fn normalised(graph: &mut Graph, normalization: &Normalization, features: usize, x: String) -> String {
    let x = scaled(graph, normalization, x);
    if *normalization == Normalization::None {
        return x;
    }
    let shift: Vec<f32> = (0..features).map(|k| normalization.of(k).1).collect();
    let shift = graph.floats("shift", &[features], &shift);
    graph.op("Add", &[&x, &shift])
}

/// The first half of the normalisation `scale · x + shift`, as Syvä's engines compute it: inputs that are 0 stay 0.
fn scaled(graph: &mut Graph, normalization: &Normalization, x: String) -> String {
    let scale = match normalization {
        Normalization::None => return x,
        Normalization::Uniform { scale, .. } => graph.floats("scale", &[], &[*scale]),
        Normalization::PerFeature { scale, .. } => graph.floats("scale", &[scale.len()], scale),
    };
    graph.op("Mul", &[&x, &scale])
}

/// The other half: the biases of the first layer, with what the shifts add to them.
fn shifted(normalization: &Normalization, Parameters { weight, bias, .. }: &Parameters) -> Vec<f32> {
    let shift = |k: usize| f64::from(normalization.of(k).1);
    let with = |(row, &b): (usize, &f32)| {
        let sum = weight.row(row).iter().enumerate().fold(f64::from(b), |sum, (k, &w)| sum + shift(k) * f64::from(w));
        sum as f32
    };
    bias.iter().enumerate().map(with).collect()
}

/// The activation of z, with the gains of what of it is learned.
fn activated(
    graph: &mut Graph,
    Nonlinearity { activation, learned }: Nonlinearity,
    z: &str,
    gain: Option<&str>,
) -> Result<String> {
    if let (Learned::Slope, Some(gain)) = (learned, gain) {
        return Ok(graph.op("PRelu", &[z, gain]));
    }
    // SELU's constants, and those of hard sigmoid.
    let (alpha, gamma, sixth) = (1.673_263_2, 1.050_701, 1.0 / 6.0);
    let f = match activation {
        Activation::Identity => z.into(),
        Activation::Relu => graph.op("Relu", &[z]),
        Activation::Sigmoid => graph.op("Sigmoid", &[z]),
        Activation::Tanh => graph.op("Tanh", &[z]),
        Activation::LeakyRelu(slope) => graph.op_with("LeakyRelu", &[z], vec![float("alpha", slope as f32)]),
        Activation::Elu(alpha) => graph.op_with("Elu", &[z], vec![float("alpha", alpha as f32)]),
        Activation::Selu => graph.op_with("Selu", &[z], vec![float("alpha", alpha), float("gamma", gamma)]),
        Activation::Gelu => graph.op("Gelu", &[z]),
        Activation::GeluTanh => graph.op_with("Gelu", &[z], vec![text("approximate", "tanh")]),
        Activation::Silu => {
            let gate = graph.op("Sigmoid", &[z]);
            graph.op("Mul", &[z, &gate])
        }
        Activation::Mish => graph.op("Mish", &[z]),
        Activation::Softplus(1.0) => graph.op("Softplus", &[z]),
        Activation::Softplus(beta) => {
            let beta = graph.float(beta as f32);
            let scaled = graph.op("Mul", &[z, &beta]);
            let soft = graph.op("Softplus", &[&scaled]);
            graph.op("Div", &[&soft, &beta])
        }
        Activation::HardSwish => graph.op("HardSwish", &[z]),
        Activation::HardSigmoid => graph.op_with("HardSigmoid", &[z], vec![float("alpha", sixth), float("beta", 0.5)]),
        other => return Err(Error::mismatch(format!("{other} cannot be said in ONNX"), "use another activation")),
    };
    let (Learned::Blend, Some(gain)) = (learned, gain) else { return Ok(f) };
    let bend = graph.op("Sub", &[&f, z]);
    let scaled = graph.op("Mul", &[&bend, gain]);
    Ok(graph.op("Add", &[z, &scaled]))
}

/// What the outputs mean. As in Syvä, it is computed in 64 bits.
fn head(graph: &mut Graph, model: &Model, z: &str, arithmetic: Arithmetic) {
    let spec = &model.spec;
    let (classes, targets) = (spec.classes(), spec.targets());
    let sizes = |count| [Size::Samples, Size::Of(count)];
    match spec.head {
        Head::Binary | Head::Logits | Head::LogSoftmax => {
            let z = match (spec.head, arithmetic) {
                (Head::LogSoftmax, Arithmetic::Contract) => contract::log_softmax(graph, z, classes),
                _ => z.to_string(),
            };
            let z = graph.cast(&z, Kind::Double);
            let logits = if spec.head == Head::Binary {
                // The logit of class 1 against 0 for class 0.
                let zero = graph.op("Sub", &[&z, &z]);
                graph.op_with("Concat", &[&zero, &z], vec![int("axis", 1)])
            } else {
                z
            };
            let probabilities = graph.op_with("Softmax", &[&logits], vec![int("axis", 1)]);
            let class = graph.op_with("ArgMax", &[&probabilities], vec![int("axis", 1), int("keepdims", 0)]);
            match spec.schema.as_deref().and_then(Schema::classes) {
                Some(names) => {
                    let names = graph.texts("classes", names);
                    let name = graph.op("Gather", &[&names, &class]);
                    graph.output(PREDICTION, &name, Kind::Text, &[Size::Samples]);
                }
                None => graph.output(PREDICTION, &class, Kind::Int64, &[Size::Samples]),
            }
            let probabilities = graph.cast(&probabilities, Kind::Float);
            graph.output(PROBABILITIES, &probabilities, Kind::Float, &sizes(classes));
        }
        Head::MultiLabel => {
            let z = graph.cast(z, Kind::Double);
            let probabilities = graph.op("Sigmoid", &[&z]);
            let half = graph.double(0.5);
            let on = graph.op("Greater", &[&probabilities, &half]);
            let prediction = graph.cast(&on, Kind::Int64);
            graph.output(PREDICTION, &prediction, Kind::Int64, &sizes(targets));
            let probabilities = graph.cast(&probabilities, Kind::Float);
            graph.output(PROBABILITIES, &probabilities, Kind::Float, &sizes(targets));
        }
        Head::Regression | Head::Poisson | Head::Gaussian => {
            let columns = match spec.schema.as_deref().map(|schema| &schema.target) {
                Some(Target::Values { columns }) => &columns[..],
                _ => &[],
            };
            let values = match (spec.head, arithmetic) {
                (Head::Poisson, Arithmetic::Native) => graph.op("Exp", &[z]),
                (Head::Poisson, Arithmetic::Contract) => contract::function(graph, [z], |[z]| z.exp()),
                (Head::Gaussian, _) => every_second(graph, z, 0),
                _ => z.to_string(),
            };
            let values = columns::undone(graph, columns, values);
            graph.output(PREDICTION, &values, Kind::Float, &sizes(targets));
            if spec.head == Head::Gaussian {
                let z = every_second(graph, z, 1);
                let variance = match arithmetic {
                    Arithmetic::Native => {
                        let (soft, least) = (graph.op("Softplus", &[&z]), graph.float(1e-6));
                        graph.op("Add", &[&soft, &least])
                    }
                    Arithmetic::Contract => contract::function(graph, [&z], |[z]| variance(z)),
                };
                let deviations = deviations(graph, columns, &variance);
                graph.output(DEVIATION, &deviations, Kind::Float, &sizes(targets));
            }
        }
    }
}

/// Every second column, from this one on.
fn every_second(graph: &mut Graph, z: &str, first: i64) -> String {
    let [start, end, axis, step] = [first, i64::MAX, 1, 2].map(|value| graph.integers("slice", &[1], &[value]));
    graph.op("Slice", &[z, &start, &end, &axis, &step])
}

/// The standard deviations of variances, in the units of the targets.
fn deviations(graph: &mut Graph, columns: &[ValueTarget], variance: &str) -> String {
    let variance = graph.cast(variance, Kind::Double);
    let mut deviation = graph.op("Sqrt", &[&variance]);
    if !columns.is_empty() {
        let scales: Vec<f64> = columns.iter().map(|target| target.std).collect();
        let scales = graph.doubles("target.std", &[scales.len()], &scales);
        deviation = graph.op("Mul", &[&deviation, &scales]);
    }
    graph.cast(&deviation, Kind::Float)
}

/// What people and programs may want to know of a file.
fn metadata(model: &Model, arithmetic: Arithmetic) -> Vec<StringStringEntryProto> {
    let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
    let arithmetic = match arithmetic {
        Arithmetic::Contract => "exact",
        Arithmetic::Native => "fast",
    };
    let mut entries = vec![
        entry("sha256_of_weights", model.digest()),
        entry("head", model.spec.head.to_string()),
        entry("arithmetic", arithmetic.into()),
    ];
    if let Some(schema) = &model.spec.schema {
        if let Some(classes) = schema.classes() {
            entries.push(entry("classes", serde_json::json!(classes).to_string()));
        }
        entries.push(entry("targets", serde_json::json!(schema.target.columns()).to_string()));
        let columns = schema.features.iter().map(|feature| {
            let kind = match &feature.encoding {
                Encoding::Number(_) => "number",
                Encoding::Binary { .. } | Encoding::Category { .. } => "category",
                Encoding::Date { .. } => "date",
            };
            serde_json::json!({ "column": feature.column, "kind": kind })
        });
        entries.push(entry("columns", serde_json::Value::Array(columns.collect()).to_string()));
    }
    entries
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use syva_core::schema::{Schema, TableOptions};
    use syva_core::table::{Column, Table, Values};
    use syva_core::{Input, Mlp, Spec, State, Training};

    use super::messages::{GraphProto, TensorProto, ValueInfoProto};
    use super::*;

    fn model(column: &str) -> Model {
        let table = Table::new(vec![
            Column::new("size", Values::Numbers(vec![1.0, f64::NAN, 5.0, 7.5])),
            Column::new(column, Values::texts([Some("red"), Some("blue"), Some("green"), None])),
            Column::new("built", Values::texts([Some("2020-01-01"), Some("2021-02-03"), Some("1999-12-31"), None])),
            Column::new("kind", Values::texts([Some("a"), Some("b"), Some("a"), Some("b")])),
        ]);
        let table = table.unwrap();
        let options = TableOptions { target: vec!["kind".into()], ..TableOptions::default() };
        let schema = Schema::fit(&table, &table, &options).unwrap().schema;
        let mut spec = Mlp::new(schema.inputs()).hidden(&[3], Activation::Mish).classes(2);
        spec.schema = Some(schema.into());
        Model::new(spec.clone(), State::initial(&spec, &Training::default()).unwrap())
    }

    /// What ONNX Runtime computes with such files is compared by `cargo xtask verify`.
    #[test]
    fn a_file_names_columns_classes_and_weights() {
        let model = model("colour");
        let bytes = onnx(&model).unwrap();
        assert_eq!(onnx(&model).unwrap(), bytes);
        let file = ModelProto::decode(&bytes[..]).unwrap();
        let graph = file.graph.unwrap();
        let kinds: Vec<(String, i32)> = graph
            .input
            .iter()
            .map(|input| {
                (input.name.clone().unwrap(), input.r#type.clone().unwrap().tensor_type.unwrap().elem_type.unwrap())
            })
            .collect();
        let of = |name: &str| kinds.iter().find(|(other, _)| other == name).map(|&(_, kind)| kind);
        assert_eq!((of("size"), of("colour"), of("built elapsed")), (Some(11), Some(8), Some(11)), "{kinds:?}");
        let outputs: Vec<&str> = graph.output.iter().map(ValueInfoProto::name).collect();
        assert_eq!(outputs, ["prediction", "probabilities"]);
        let weight = graph.initializer.iter().find(|tensor| tensor.name() == "fc2.weight").unwrap();
        assert_eq!(weight.dims, [3, 2]);
        assert_eq!(weight.raw_data().len(), 4 * 6);
        let metadata = |key: &str| file.metadata_props.iter().find(|entry| entry.key() == key).unwrap().value();
        assert_eq!(metadata("classes"), r#"["a","b"]"#);
        assert_eq!(metadata("sha256_of_weights"), model.digest());
        assert_eq!(metadata("arithmetic"), "exact");
        for bytes in [bytes, onnx_fast(&model).unwrap()] {
            let graph = ModelProto::decode(&bytes[..]).unwrap().graph.unwrap();
            check_names_once(&graph, &mut HashSet::new());
        }
    }

    /// Every value is made before it is used, and once, also in the bodies of loops.
    fn check_names_once(graph: &GraphProto, made: &mut HashSet<String>) {
        let given = graph.input.iter().map(ValueInfoProto::name).chain(graph.initializer.iter().map(TensorProto::name));
        for name in given {
            assert!(made.insert(name.to_string()), "{name}");
        }
        for node in &graph.node {
            assert!(node.input.iter().all(|input| made.contains(input)), "{node:?}");
            node.attribute
                .iter()
                .filter_map(|attribute| attribute.g.as_ref())
                .for_each(|body| check_names_once(body, made));
            assert!(node.output.iter().all(|output| made.insert(output.clone())), "{node:?}");
        }
        assert!(graph.output.iter().all(|output| made.contains(output.name())));
    }

    /// An operation of [`Number`] that cannot be written would panic here.
    #[test]
    fn every_function_can_be_written_exactly() {
        let check = |spec: Spec| {
            let model = Model::new(spec.clone(), State::initial(&spec, &Training::default()).unwrap());
            let graph = ModelProto::decode(&onnx(&model).unwrap()[..]).unwrap().graph.unwrap();
            check_names_once(&graph, &mut HashSet::new());
            graph.node.len()
        };
        let activations = Activation::ALL.iter().map(ToString::to_string);
        for name in activations.chain(["prelu", "parametric-mish"].map(String::from)) {
            let Nonlinearity { activation, learned } = name.parse().unwrap();
            let mut spec = Mlp::new(4).hidden(&[3], activation).classes(2);
            spec.layers[0].learned = learned;
            check(spec);
        }
        let layers = check(Mlp::new(4).hidden(&[3], Activation::Relu).values(2));
        for head in [Head::Poisson, Head::Gaussian, Head::LogSoftmax] {
            assert!(check(Spec { head, ..Mlp::new(4).hidden(&[3], Activation::Relu).values(2) }) > layers, "{head}");
        }
        let blocks = vec![
            Block::Periodic { features: 2, frequencies: 3, outputs: 4 },
            Block::Plain { features: 1 },
            Block::Piecewise { features: 1, bins: 3, outputs: 2 },
            Block::Category { features: 5, size: 2 },
        ];
        let embedding = Embedding { blocks, scaled: true };
        let mut spec = Mlp::new(embedding.outputs()).hidden(&[3], Activation::Relu).values(1);
        spec.input = Input { features: embedding.features(), embedding: Some(embedding), ..spec.input };
        check(spec);
    }

    #[test]
    fn columns_named_like_outputs_are_refused_and_others_are_not_in_the_way() {
        let error = onnx(&model("prediction")).unwrap_err().to_string();
        assert!(error.contains("a column is called 'prediction'"), "{error}");
        let file = ModelProto::decode(&onnx(&model("fc1.weight")).unwrap()[..]).unwrap();
        let graph = file.graph.unwrap();
        assert!(graph.initializer.iter().all(|tensor| tensor.name() != "fc1.weight"));
    }
}
