//! What a [`Schema`] does to the columns of a table, in the words of ONNX, and what undoes it in predictions.

use syva_core::arithmetic::Number;
use syva_core::schema::{Encoding, Feature, NumberEncoding, Quantiles, Scaler, Schema, Transform, ValueTarget};

use super::graph::{Graph, Kind, Size, floats, int, ints, texts};

/// Adds an input for each column, and returns what the network reads: `[N, inputs]`.
pub(super) fn inputs(graph: &mut Graph, schema: &Schema) -> String {
    let mut parts = Vec::new();
    // Inputs before all else, so that they have their own names.
    let mut named = Vec::new();
    for feature in &schema.features {
        let kind = match feature.encoding {
            Encoding::Number(_) | Encoding::Date { .. } => Kind::Double,
            Encoding::Binary { .. } | Encoding::Category { .. } => Kind::Text,
        };
        let column = |name: String| graph.input(&name, kind, &[Size::Samples, Size::Of(1)]);
        named.push(names(feature).into_iter().map(column).collect::<Vec<_>>());
    }
    for (Feature { encoding, .. }, names) in schema.features.iter().zip(&named) {
        match encoding {
            Encoding::Number(encoding) => parts.extend(number(graph, &names[0], encoding)),
            Encoding::Date { parts: dates, .. } => {
                for ((_, encoding), name) in dates.iter().zip(names) {
                    parts.extend(number(graph, name, encoding));
                }
            }
            Encoding::Binary { values, levels } => {
                let [first, second, other] = levels.map(|level| level as f32);
                let attributes = vec![
                    texts("keys_strings", &[&values[0], &values[1]]),
                    floats("values_floats", &[first, second]),
                    super::graph::float("default_float", other),
                ];
                parts.push(graph.op_with("LabelEncoder", &[&names[0]], attributes));
            }
            Encoding::Category { values, missing, levels } => {
                parts.push(category(graph, &names[0], values, *missing, levels));
            }
        }
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    graph.op_with("Concat", &parts, vec![int("axis", 1)])
}

/// The names of the inputs that are a column: its own, or those of a date's parts.
pub(super) fn names(feature: &Feature) -> Vec<String> {
    match &feature.encoding {
        Encoding::Date { parts, .. } => parts.iter().map(|(part, _)| format!("{} {part}", feature.column)).collect(),
        Encoding::Number(_) | Encoding::Binary { .. } | Encoding::Category { .. } => vec![feature.column.clone()],
    }
}

/// The inputs of a number: the scaled value, and whether it is missing.
fn number(graph: &mut Graph, x: &str, encoding: &NumberEncoding) -> Vec<String> {
    let missing = graph.op("IsNaN", &[x]);
    let median = graph.double(encoding.median);
    let filled = graph.op("Where", &[&missing, &median, x]);
    let scaled = match &encoding.scaler {
        Scaler::Affine { centre, factor, clip } => {
            let (centre, factor) = (graph.double(*centre), graph.double(*factor));
            let centred = graph.op("Sub", &[&filled, &centre]);
            let scaled = graph.op("Mul", &[&centred, &factor]);
            if *clip { smooth_clip(graph, &scaled) } else { scaled }
        }
        Scaler::Quantiles(quantiles) => {
            let rank = rank(graph, quantiles, &filled);
            normal_quantile(graph, &rank)
        }
    };
    let mut parts = vec![graph.cast(&scaled, Kind::Float)];
    if let Some([there, absent]) = encoding.indicator {
        let (there, absent) = (graph.float(there as f32), graph.float(absent as f32));
        parts.push(graph.op("Where", &[&missing, &absent, &there]));
    }
    parts
}

/// y / √(1 + (y/3)²).
fn smooth_clip(graph: &mut Graph, y: &str) -> String {
    // The square of a huge number is infinite, and the quotient would then be 0.
    let (least, most) = (graph.double(-1e100), graph.double(1e100));
    let y = graph.op("Clip", &[y, &least, &most]);
    let (three, one) = (graph.double(3.0), graph.double(1.0));
    let third = graph.op("Div", &[&y, &three]);
    let square = graph.op("Mul", &[&third, &third]);
    let sum = graph.op("Add", &[&square, &one]);
    let root = graph.op("Sqrt", &[&sum]);
    graph.op("Div", &[&y, &root])
}

/// An input for each category, of which at most one is on.
fn category(graph: &mut Graph, x: &str, values: &[String], missing: bool, levels: &[[f64; 2]]) -> String {
    let mut keys: Vec<&str> = values.iter().map(String::as_str).collect();
    if missing {
        // ONNX has no missing texts, so an empty one stands for them.
        keys.push("");
    }
    let width = keys.len();
    let places: Vec<i64> = (0..width as i64).collect();
    let attributes =
        vec![texts("keys_strings", &keys), ints("values_int64s", places.clone()), int("default_int64", -1)];
    let place = graph.op_with("LabelEncoder", &[x], attributes);
    let places = graph.integers("places", &[1, width], &places);
    let is_on = graph.op("Equal", &[&place, &places]);
    if levels.is_empty() {
        return graph.cast(&is_on, Kind::Float);
    }
    let of = |k: usize| levels.iter().map(|level| level[k] as f32).collect::<Vec<_>>();
    let (off, on) = (graph.floats("off", &[1, width], &of(0)), graph.floats("on", &[1, width], &of(1)));
    graph.op("Where", &[&is_on, &on, &off])
}

/// The share of a distribution that is below x, from 0 to 1, as [`Quantiles::to_normal`] defines it.
fn rank(graph: &mut Graph, quantiles: &Quantiles, x: &str) -> String {
    let q = quantiles.values();
    let last = q.len() - 1;
    let knots = graph.doubles("quantiles", &[q.len()], q);
    let axis = graph.integers("axis", &[1], &[1]);
    let count = |graph: &mut Graph, compare: &str| {
        let is = graph.op(compare, &[&knots, x]);
        let one = graph.cast(&is, Kind::Int64);
        graph.op("ReduceSum", &[&one, &axis])
    };
    let (low, high) = (count(graph, "Less"), count(graph, "LessOrEqual"));
    // x is itself a quantile, or several: the middle of their places.
    let (low_place, high_place) = (graph.cast(&low, Kind::Double), graph.cast(&high, Kind::Double));
    let (one, half) = (graph.double(1.0), graph.double(0.5));
    let sum = graph.op("Add", &[&low_place, &high_place]);
    let sum = graph.op("Sub", &[&sum, &one]);
    let on = graph.op("Mul", &[&sum, &half]);
    // Between two quantiles: the share of the way.
    let [first, first_above, last_above] = [0, 1, last as i64].map(|place| graph.integers("place", &[], &[place]));
    let above = graph.op("Max", &[&low, &first_above]);
    let above = graph.op("Min", &[&above, &last_above]);
    let below = graph.op("Sub", &[&above, &first_above]);
    let below = graph.op("Max", &[&below, &first]);
    let (a, b) = (graph.op("Gather", &[&knots, &below]), graph.op("Gather", &[&knots, &above]));
    let (done, way) = (graph.op("Sub", &[x, &a]), graph.op("Sub", &[&b, &a]));
    let share = graph.op("Div", &[&done, &way]);
    let below = graph.cast(&below, Kind::Double);
    let between = graph.op("Add", &[&below, &share]);
    let is_between = graph.op("Equal", &[&low, &high]);
    let place = graph.op("Where", &[&is_between, &between, &on]);
    let count = graph.double(last as f64);
    let rank = graph.op("Div", &[&place, &count]);
    // At the ends. If all quantiles are the same, the middle of their places is right for x among them.
    if q[0] == q[last] {
        let (least, most) = (graph.double(q[0]), graph.double(q[last]));
        let (is_below, is_above) = (graph.op("Less", &[x, &least]), graph.op("Greater", &[x, &most]));
        return ends(graph, &rank, &is_below, &is_above);
    }
    let (least, most) = (graph.double(q[0]), graph.double(q[last]));
    let (is_below, is_above) = (graph.op("LessOrEqual", &[x, &least]), graph.op("GreaterOrEqual", &[x, &most]));
    ends(graph, &rank, &is_below, &is_above)
}

/// A rank, or 0, or 1.
fn ends(graph: &mut Graph, rank: &str, is_below: &str, is_above: &str) -> String {
    let (zero, one) = (graph.double(0.0), graph.double(1.0));
    let rank = graph.op("Where", &[is_below, &zero, rank]);
    graph.op("Where", &[is_above, &one, &rank])
}

fn polynomial(graph: &mut Graph, coefficients: &[f64], x: &str) -> String {
    let mut sum = graph.double(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        let product = graph.op("Mul", &[&sum, x]);
        let coefficient = graph.double(coefficient);
        sum = graph.op("Add", &[&product, &coefficient]);
    }
    sum
}

fn ratio(graph: &mut Graph, above: &[f64], below: &[f64], x: &str) -> String {
    let (above, below) = (polynomial(graph, above, x), polynomial(graph, below, x));
    graph.op("Div", &[&above, &below])
}

/// The normal quantile of a probability, by the algorithm of [`Quantiles`].
fn normal_quantile(graph: &mut Graph, p: &str) -> String {
    let [a, b, c, d] = Quantiles::NORMAL;
    let (least, most) = (graph.double(Quantiles::EDGE), graph.double(1.0 - Quantiles::EDGE));
    let p = graph.op("Clip", &[p, &least, &most]);
    let (half, one) = (graph.double(0.5), graph.double(1.0));
    let q = graph.op("Sub", &[&p, &half]);
    // Near the middle.
    let square = graph.op("Mul", &[&q, &q]);
    let edge = graph.double(0.180_625);
    let r = graph.op("Sub", &[&edge, &square]);
    let near = ratio(graph, &a, &b, &r);
    let near = graph.op("Mul", &[&q, &near]);
    // Farther out.
    let other = graph.op("Sub", &[&one, &p]);
    let tail = graph.op("Min", &[&p, &other]);
    let log = graph.op("Log", &[&tail]);
    let log = graph.op("Neg", &[&log]);
    let root = graph.op("Sqrt", &[&log]);
    let shift = graph.double(1.6);
    let r = graph.op("Sub", &[&root, &shift]);
    let far = ratio(graph, &c, &d, &r);
    let sign = graph.op("Sign", &[&q]);
    let far = graph.op("Mul", &[&sign, &far]);
    let distance = graph.op("Abs", &[&q]);
    let limit = graph.double(0.425);
    let is_near = graph.op("LessOrEqual", &[&distance, &limit]);
    graph.op("Where", &[&is_near, &near, &far])
}

/// Values in the units of their targets.
pub(super) fn undone(graph: &mut Graph, targets: &[ValueTarget], values: String) -> String {
    if targets.is_empty() {
        return values;
    }
    let values = graph.cast(&values, Kind::Double);
    let of = |get: fn(&ValueTarget) -> f64| targets.iter().map(get).collect::<Vec<_>>();
    let std = graph.doubles("target.std", &[targets.len()], &of(|target| target.std));
    let mean = graph.doubles("target.mean", &[targets.len()], &of(|target| target.mean));
    let scaled = graph.op("Mul", &[&values, &std]);
    let shifted = graph.op("Add", &[&scaled, &mean]);
    let mut parts = Vec::new();
    for (k, target) in targets.iter().enumerate() {
        let place = graph.integers("target", &[1], &[k as i64]);
        let value = graph.op_with("Gather", &[&shifted, &place], vec![int("axis", 1)]);
        let value = match &target.transform {
            Transform::None => value,
            Transform::Log => graph.op("Exp", &[&value]),
            Transform::Quantiles(quantiles) => from_normal(graph, quantiles, &value),
        };
        parts.push(match target.range {
            Some([least, most]) => {
                let (least, most) = (graph.double(least), graph.double(most));
                graph.op("Clip", &[&value, &least, &most])
            }
            None => value,
        });
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let all = graph.op_with("Concat", &parts, vec![int("axis", 1)]);
    graph.cast(&all, Kind::Float)
}

/// The number whose rank has the normal quantile z.
fn from_normal(graph: &mut Graph, quantiles: &Quantiles, z: &str) -> String {
    let q = quantiles.values();
    let last = q.len() - 1;
    let knots = graph.doubles("quantiles", &[q.len()], q);
    let root = graph.double(std::f64::consts::FRAC_1_SQRT_2);
    let scaled = graph.op("Mul", &[z, &root]);
    let erf = erf(graph, &scaled);
    let (zero, one, half) = (graph.double(0.0), graph.double(1.0), graph.double(0.5));
    let twice = graph.op("Add", &[&erf, &one]);
    let p = graph.op("Mul", &[&twice, &half]);
    let count = graph.double(last as f64);
    let place = graph.op("Mul", &[&p, &count]);
    let floor = graph.op("Floor", &[&place]);
    let most = graph.double((last - 1) as f64);
    let below = graph.op("Clip", &[&floor, &zero, &most]);
    let share = graph.op("Sub", &[&place, &below]);
    let share = graph.op("Clip", &[&share, &zero, &one]);
    let below = graph.cast(&below, Kind::Int64);
    let next = graph.integers("next", &[], &[1]);
    let above = graph.op("Add", &[&below, &next]);
    let (a, b) = (graph.op("Gather", &[&knots, &below]), graph.op("Gather", &[&knots, &above]));
    let way = graph.op("Sub", &[&b, &a]);
    let done = graph.op("Mul", &[&way, &share]);
    graph.op("Add", &[&a, &done])
}

/// The error function in 64 bits, which ONNX Runtime does not have: the polynomials of [`Number::erf`].
fn erf(graph: &mut Graph, x: &str) -> String {
    let distance = graph.op("Abs", &[x]);
    let square = graph.op("Mul", &[x, x]);
    let near = polynomial(graph, f64::ERF_SERIES, &square);
    let near = graph.op("Mul", &[&near, x]);
    let near = graph.op("Add", &[&near, x]);
    let limit = graph.double(f64::ERF_LIMIT);
    let distance = graph.op("Min", &[&distance, &limit]);
    let far = polynomial(graph, f64::ERF_REST, &distance);
    let far = graph.op("Neg", &[&far]);
    let far = graph.op("Exp", &[&far]);
    let one = graph.double(1.0);
    let far = graph.op("Sub", &[&one, &far]);
    let sign = graph.op("Sign", &[x]);
    let far = graph.op("Mul", &[&far, &sign]);
    let is_far = graph.op("Greater", &[&distance, &one]);
    graph.op("Where", &[&is_far, &far, &near])
}
