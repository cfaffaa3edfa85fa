//! The arithmetic contract in the words of ONNX: sums in its order, and functions as the operations that it defines them by.
//!
//! A sum is a chain of `fma`s, which ONNX does not have. A product of two numbers of 32 bits is exact in 64 bits, so
//! multiplying and adding in 64 bits and rounding to 32 is an `fma`, unless the sum in 64 bits happens to be half-way between
//! two numbers of 32 bits (one in 2²⁹ of them). The loop over a layer's inputs is ONNX's `Scan`.

use std::collections::HashMap;

use syva_core::arithmetic::Number;
use syva_core::ops::{Learned, Nonlinearity, Operation, Recording, Symbol, log_probability};
use syva_core::{Block, Embedding, Model, Normalization, Parameters};

use super::graph::{Graph, Kind, int, ints};

/// Powers of two from 2^−`POWERS` to 2^`POWERS`. What a function needs is within them.
const POWERS: i64 = 126;

/// The network's layers over inputs `[N, features]`: its outputs `[N, outputs]` before its head.
pub(super) fn network(graph: &mut Graph, model: &Model, inputs: &str) -> String {
    let normalization = &model.spec.input.normalization;
    let mut x = match &model.spec.input.embedding {
        Some(embedding) => embedded(graph, embedding, model, inputs),
        None => super::scaled(graph, normalization, inputs.into()),
    };
    let is_raw = model.spec.input.embedding.is_none();
    for (l, (layer, parameters)) in model.spec.layers.iter().zip(&model.state.layers).enumerate() {
        let Parameters { weight, bias, gain } = parameters;
        let [units, fan_in] = [weight.rows(), weight.columns()];
        let transposed: Vec<f32> = (0..fan_in * units).map(|i| weight.row(i % units)[i / units]).collect();
        let w = graph.floats(&format!("fc{}.weight", l + 1), &[fan_in, units], &transposed);
        let start = if l == 0 && is_raw { shifted(normalization, parameters) } else { bias.clone() };
        let b = graph.floats(&format!("fc{}.bias", l + 1), &[1, units], &start);
        let z = chain(graph, &x, &w, &b, 1);
        let Nonlinearity { activation, learned } = layer.nonlinearity();
        x = if learned == Learned::Nothing {
            function(graph, [&z], |[z]| activation.forward(z))
        } else {
            let gain = graph.floats(&format!("act{}.weight", l + 1), &[gain.len()], gain);
            function(graph, [&z, &gain], |[z, p]| learned.forward(z, activation.forward(z), p))
        };
    }
    x
}

/// What the sums of the first layer begin with: biases, to which the shifts are added (rule 5).
fn shifted(normalization: &Normalization, Parameters { weight, bias, .. }: &Parameters) -> Vec<f32> {
    let with = |(row, &b): (usize, &f32)| {
        weight.row(row).iter().enumerate().fold(b, |sum, (k, &w)| normalization.of(k).1.fma(w, sum))
    };
    bias.iter().enumerate().map(with).collect()
}

/// The embedding of the inputs (rule 11).
fn embedded(graph: &mut Graph, embedding: &Embedding, model: &Model, inputs: &str) -> String {
    let learned = &model.state.embedding;
    let x = super::normalised(graph, &model.spec.input.normalization, embedding.features(), inputs.into());
    let mut parts = Vec::new();
    for placed in embedding.placed() {
        let of = |n: usize| &learned[placed.tensor + n][..];
        let [first, end] = [placed.features.start, placed.features.end].map(|k| k as i64);
        let [first, end, axis] = [first, end, 1].map(|value| graph.integers("slice", &[1], &[value]));
        let own = graph.op("Slice", &[&x, &first, &end, &axis]);
        let features = placed.features.len();
        parts.push(match (placed.block, placed.block.numbers()) {
            (Block::Category { size, .. }, _) => {
                // At most one input is not 0, so the sum has no order.
                let vectors = graph.floats("embedding.vectors", &[features, size], of(0));
                graph.op("MatMul", &[&own, &vectors])
            }
            (_, Some(numbers)) => {
                let (m, n) = (numbers.functions, numbers.outputs - 1);
                let last = graph.integers("axis", &[1], &[2]);
                let number = graph.op("Unsqueeze", &[&own, &last]);
                let w = graph.floats("embedding.w", &[features, m], of(0));
                let b = graph.floats("embedding.b", &[features, m], of(1));
                let waves = function(graph, [&number, &w, &b], |[x, w, b]| numbers.wave.of(x, w, b).0);
                let transposed: Vec<f32> = (0..m * features * n)
                    .map(|i| of(2)[(i / n % features * m + i / n / features) * n + i % n])
                    .collect();
                let mixes = graph.floats("embedding.weight", &[m, features, n], &transposed);
                let offsets = graph.floats("embedding.bias", &[1, features, n], of(3));
                let mixed = chain(graph, &waves, &mixes, &offsets, 2);
                let all = graph.op_with("Concat", &[&mixed, &number], vec![int("axis", 2)]);
                graph.op_with("Flatten", &[&all], vec![int("axis", 1)])
            }
            (_, None) => own,
        });
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let embedded = graph.op_with("Concat", &parts, vec![int("axis", 1)]);
    super::factored(graph, embedding, learned, embedded)
}

/// The log-probabilities of logits `[N, classes]`.
pub(super) fn log_softmax(graph: &mut Graph, z: &str, classes: usize) -> String {
    let axis = graph.integers("axis", &[1], &[1]);
    let max = graph.op("ReduceMax", &[z, &axis]);
    let e = function(graph, [z, &max], |[z, max]| (z - max).exp());
    let (ones, zero) =
        (graph.floats("ones", &[classes, 1], &vec![1.0; classes]), graph.floats("zero", &[1, 1], &[0.0]));
    let sum = chain(graph, &e, &ones, &zero, 1);
    function(graph, [&sum, z, &max], |[sum, z, max]| log_probability(sum, z, max))
}

/// The sums of `x · w` over the last axis of x, one after the other, beginning with `start`: `[N, K]` · `[K, units]` with
/// `axis` 1, or `[N, features, K]` · `[K, features, units]` with `axis` 2.
pub(super) fn chain(graph: &mut Graph, x: &str, w: &str, start: &str, axis: i64) -> String {
    let [x, w, start] = [x, w, start].map(|value| graph.cast(value, Kind::Double));
    // As many rows as x has.
    let samples = graph.op_with("Shape", &[&x], vec![int("start", 0), int("end", 1)]);
    let ones = graph.integers("ones", &[axis as usize], &vec![1; axis as usize]);
    let sizes = graph.op_with("Concat", &[&samples, &ones], vec![int("axis", 0)]);
    let start = graph.op("Expand", &[&start, &sizes]);
    let body = graph.body(|body| {
        let [sum, x, w] = ["sum", "x", "w"].map(|name| body.argument(name, Kind::Double));
        let last = body.integers("axis", &[1], &[-1]);
        let x = body.op("Unsqueeze", &[&x, &last]);
        let product = body.op("Mul", &[&x, &w]);
        let sum = body.op("Add", &[&sum, &product]);
        let rounded = body.cast(&sum, Kind::Float);
        let sum = body.cast(&rounded, Kind::Double);
        body.result(&sum, Kind::Double);
    });
    let attributes = vec![body, int("num_scan_inputs", 2), ints("scan_input_axes", vec![axis, 0])];
    let sum = graph.op_with("Scan", &[&start, &x, &w], attributes);
    graph.cast(&sum, Kind::Float)
}

/// A function of values, element by element: each of its operations is one of ONNX, or a few.
pub(super) fn function<const N: usize>(
    graph: &mut Graph,
    parameters: [&str; N],
    body: impl FnOnce([Symbol; N]) -> Symbol,
) -> String {
    let Recording { operations, results: [result] } = Recording::of(|symbols| [body(symbols)]);
    let known = parameters.iter().enumerate().map(|(n, &name)| (Symbol::Parameter(n), name.into())).collect();
    let mut writer = Writer { graph, known, doubles: HashMap::new() };
    for (number, operation) in &operations {
        let value = writer.operation(operation);
        writer.known.insert(Symbol::Result(*number), value);
    }
    writer.value(result)
}

/// Writes the operations of a function.
struct Writer<'a> {
    graph: &'a mut Graph,
    /// Values by what they are.
    known: HashMap<Symbol, String>,
    /// The same in 64 bits.
    doubles: HashMap<Symbol, String>,
}

impl Writer<'_> {
    fn value(&mut self, symbol: Symbol) -> String {
        if let Symbol::Constant(bits) = symbol {
            let constant = || self.graph.float(f32::from_bits(bits));
            return self.known.entry(symbol).or_insert_with(constant).clone();
        }
        self.known[&symbol].clone()
    }

    fn double(&mut self, symbol: Symbol) -> String {
        if let Some(known) = self.doubles.get(&symbol) {
            return known.clone();
        }
        let value = self.value(symbol);
        let double = self.graph.cast(&value, Kind::Double);
        self.doubles.insert(symbol, double.clone());
        double
    }

    fn operation(&mut self, Operation { name, operands }: &Operation) -> String {
        if *name == "div" && operands[0] == Symbol::ONE {
            // ONNX Runtime turns (1 / x) · y into y / x, which rounds once.
            let (minus_one, x) = (self.value(-Symbol::ONE), self.value(operands[1]));
            let quotient = self.graph.op("Div", &[&minus_one, &x]);
            return self.graph.op("Neg", &[&quotient]);
        }
        if *name == "fused" {
            let [a, b, c] = [0, 1, 2].map(|n| self.double(operands[n]));
            let product = self.graph.op("Mul", &[&a, &b]);
            let sum = self.graph.op("Add", &[&product, &c]);
            return self.graph.cast(&sum, Kind::Float);
        }
        let values: Vec<String> = operands.iter().map(|&operand| self.value(operand)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let graph = &mut *self.graph;
        match (*name, &values[..]) {
            ("add", _) => graph.op("Add", &values),
            ("sub", _) => graph.op("Sub", &values),
            ("mul", _) => graph.op("Mul", &values),
            ("div", _) => graph.op("Div", &values),
            ("neg", _) => graph.op("Neg", &values),
            ("square_root", _) => graph.op("Sqrt", &values),
            ("magnitude", _) => graph.op("Abs", &values),
            ("above", _) => graph.op("Greater", &values),
            ("equals", _) => graph.op("Equal", &values),
            ("select", [no, yes, which]) => graph.op("Where", &[which, yes, no]),
            ("with_sign_of", [x, sign]) => {
                let (size, zero) = (graph.op("Abs", &[x]), graph.float(0.0));
                let (negative, is_below) = (graph.op("Neg", &[&size]), graph.op("Less", &[sign, &zero]));
                graph.op("Where", &[&is_below, &negative, &size])
            }
            ("whole", [rounded]) => whole(graph, rounded),
            ("power_low", [rounded]) => {
                let low = half_of(graph, rounded);
                power(graph, &low)
            }
            ("power_high", [rounded]) => {
                let (low, n) = (half_of(graph, rounded), whole(graph, rounded));
                let high = graph.op("Sub", &[&n, &low]);
                power(graph, &high)
            }
            ("mantissa_of", [x]) => split(graph, x).0,
            ("exponent_of", [x]) => split(graph, x).1,
            (name, _) => unreachable!("{name} is none of Number's operations"),
        }
    }
}

/// n of x = n + `ROUNDER`.
fn whole(graph: &mut Graph, rounded: &str) -> String {
    let rounder = graph.float(f32::ROUNDER);
    graph.op("Sub", &[rounded, &rounder])
}

/// ⌊n/2⌋.
fn half_of(graph: &mut Graph, rounded: &str) -> String {
    let (n, half) = (whole(graph, rounded), graph.float(0.5));
    let n = graph.op("Mul", &[&n, &half]);
    graph.op("Floor", &[&n])
}

/// 2ⁿ for a whole n. It is looked up, because `Pow` need not be exact.
fn power(graph: &mut Graph, n: &str) -> String {
    let powers: Vec<f32> = (-POWERS..=POWERS).map(|n| (n as f64).exp2() as f32).collect();
    let powers = graph.floats("powers", &[powers.len()], &powers);
    let places = graph.cast(n, Kind::Int64);
    let [first, least, most] = [POWERS, 0, 2 * POWERS].map(|value| graph.integers("place", &[], &[value]));
    let place = graph.op("Add", &[&places, &first]);
    // NaN is no place.
    let place = graph.op("Clip", &[&place, &least, &most]);
    graph.op("Gather", &[&powers, &place])
}

/// (m, e) with x = m · 2^e and m in [√½, √2), for a normal number above 0.
fn split(graph: &mut Graph, x: &str) -> (String, String) {
    let [half, one, least] = [0.5, 1.0, std::f32::consts::FRAC_1_SQRT_2].map(|value| graph.float(value));
    let log_2_e = graph.float(f32::LOG2_E);
    // The logarithm need not be exact, so e may be too large or too small by 1.
    let log = graph.op("Log", &[x]);
    let log = graph.op("Mul", &[&log, &log_2_e]);
    let log = graph.op("Add", &[&log, &half]);
    let e = graph.op("Floor", &[&log]);
    let n = graph.op("Neg", &[&e]);
    let low = graph.op("Mul", &[&n, &half]);
    let low = graph.op("Floor", &[&low]);
    let high = graph.op("Sub", &[&n, &low]);
    let (low, high) = (power(graph, &low), power(graph, &high));
    let m = graph.op("Mul", &[x, &low]);
    let m = graph.op("Mul", &[&m, &high]);
    let is_small = graph.op("Less", &[&m, &least]);
    let (twice, before) = (graph.op("Add", &[&m, &m]), graph.op("Sub", &[&e, &one]));
    let m = graph.op("Where", &[&is_small, &twice, &m]);
    let e = graph.op("Where", &[&is_small, &before, &e]);
    let most = graph.op("Add", &[&least, &least]);
    let is_large = graph.op("LessOrEqual", &[&most, &m]);
    let (halved, after) = (graph.op("Mul", &[&m, &half]), graph.op("Add", &[&e, &one]));
    (graph.op("Where", &[&is_large, &halved, &m]), graph.op("Where", &[&is_large, &after, &e]))
}
