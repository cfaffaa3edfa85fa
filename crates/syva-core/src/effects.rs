//! What the columns of a table do for a network: how much worse it is without one (permutation importance, Breiman 2001),
//! and what it predicts on average when one has a given value (partial dependence, Friedman 2001).
//!
//! Both change the encoded inputs of a column, all of them together, so no row is encoded twice.

use std::ops::Range;

use serde::Serialize;

use crate::data::{Dataset, Targets};
use crate::engine::Session;
use crate::names::unknown;
use crate::predictions::{first_largest, probabilities};
use crate::random::{Random, Stream, shuffled};
use crate::regression::{Decoder, ValueScores};
use crate::schema::{Encoding, Feature, NumberEncoding, Scaler, Schema, Target, sorted_quantile};
use crate::spec::{Head, Spec};
use crate::state::Matrix;
use crate::{Error, Result};

/// The number of rows that are predicted at a time.
const BLOCK: usize = 1024;
/// The most values of a number at which a dependence is computed.
const POINTS: usize = 20;

/// How important each column is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Importances {
    /// The score that drops.
    pub score: Score,
    /// Its value for the data as it is.
    pub value: f64,
    /// The columns, in the order of the schema.
    pub columns: Vec<Importance>,
}

/// The score whose drop is the importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// The share of samples whose class is right.
    Accuracy,
    /// The share of labels that are right.
    LabelAccuracy,
    /// R²; of several targets, their mean.
    R2,
}

impl Score {
    /// Its name for readers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::LabelAccuracy => "label accuracy",
            Self::R2 => "R²",
        }
    }
}

/// How much a score drops when the cells of a column are shuffled among the rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Importance {
    /// The column.
    pub column: String,
    /// The mean of the drops.
    pub mean: f64,
    /// Their standard deviation (divided by n, as in scikit-learn).
    pub deviation: f64,
    /// The interval that holds 95 % of them: their quantiles at 2.5 % and 97.5 %.
    pub interval: [f64; 2],
    /// The drop at each repetition.
    pub drops: Vec<f64>,
}

impl Importance {
    fn new(column: &str, drops: Vec<f64>) -> Self {
        let n = drops.len() as f64;
        let mean = drops.iter().sum::<f64>() / n;
        let variance = drops.iter().map(|drop| (drop - mean) * (drop - mean)).sum::<f64>() / n;
        let mut sorted = drops.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let interval = [0.025, 0.975].map(|p| sorted_quantile(&sorted, p));
        Self { column: column.into(), mean, deviation: variance.sqrt(), interval, drops }
    }
}

/// The permutation importance of every column, as `sklearn.inspection.permutation_importance` defines it: the score of the
/// data minus the score with the column's cells shuffled, `repeats` times with different orders. The orders follow from the
/// seed, so the same call gives the same numbers.
///
/// # Errors
/// If the network was not trained on a table, the data does not fit it, there are no repetitions, or the score is undefined
/// because all targets are the same.
pub fn importance(
    session: &mut dyn Session,
    spec: &Spec,
    data: &Dataset,
    repeats: usize,
    seed: u32,
) -> Result<Importances> {
    data.check(spec)?;
    let schema = schema_of(spec)?;
    if repeats == 0 {
        return Err(Error::setting("repeats", "a column must be shuffled at least once", "give 1 or more, such as 10"));
    }
    let features = data.features();
    let (score, value) = judge(session, spec, data, |_, _| ())?;
    let mut columns = Vec::with_capacity(schema.features.len());
    for (place, (feature, inputs)) in inputs_of(schema).enumerate() {
        let mut drops = Vec::with_capacity(repeats);
        for repeat in 0..repeats {
            let substream = (place as u64) << 32 | repeat as u64;
            let order = shuffled(&mut Random::new(seed, Stream::Importance, substream), data.samples());
            let (_, shuffled) = judge(session, spec, data, |sample, row| {
                let from = order[sample] as usize;
                let other = data.inputs().rows(from..from + 1, features);
                row[inputs.clone()].copy_from_slice(&other[inputs.clone()]);
            })?;
            drops.push(value - shuffled);
        }
        columns.push(Importance::new(&feature.column, drops));
    }
    Ok(Importances { score, value, columns })
}

/// The mean prediction over a data set when a column is set to each of some values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dependence {
    /// The column.
    pub column: String,
    /// What is predicted: classes or labels, of which probabilities are averaged, or numbers.
    pub outputs: Vec<String>,
    /// The values of the column.
    pub points: DependencePoints,
    /// For each value, the mean of each output.
    pub means: Vec<Vec<f64>>,
}

/// The values that a column is set to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum DependencePoints {
    /// Numbers, ascending: all that occur if there are at most 20, otherwise 20 quantiles from 5 % to 95 %, to six digits.
    Numbers(Vec<f64>),
    /// Categories.
    Categories(Vec<String>),
}

/// The partial dependence of a network's predictions on a column, as in `sklearn.inspection.partial_dependence` with
/// `method="brute"`.
///
/// # Errors
/// If the network was not trained on a table, the data does not fit it, it reads no such column, or the column has dates.
pub fn dependence(session: &mut dyn Session, spec: &Spec, data: &Dataset, column: &str) -> Result<Dependence> {
    data.check(spec)?;
    let schema = schema_of(spec)?;
    let Some((feature, inputs)) = inputs_of(schema).find(|(feature, _)| feature.column == column) else {
        let names: Vec<&str> = schema.features.iter().map(|feature| feature.column.as_str()).collect();
        return Err(unknown("column", column, &names));
    };
    let (points, encoded) = match &feature.encoding {
        Encoding::Number(number) => {
            let values = numbers_of(number, data, inputs.start);
            let encode = |&x: &f64| {
                let mut to = vec![0.0; inputs.len()];
                number.write(x, &mut to);
                to
            };
            let encoded = values.iter().map(encode).collect();
            (DependencePoints::Numbers(values), encoded)
        }
        Encoding::Binary { values, levels } => {
            let encoded = levels[..2].iter().map(|&level| vec![level as f32]).collect();
            (DependencePoints::Categories(values.to_vec()), encoded)
        }
        Encoding::Category { values, missing, levels } => {
            let names = values.iter().cloned().chain(missing.then(|| "(missing)".to_string())).collect();
            let level = |input: usize, on: usize| match levels.get(input) {
                Some(levels) => levels[usize::from(input == on)] as f32,
                None => f32::from(u8::from(input == on)),
            };
            let encode = |on: usize| (0..inputs.len()).map(|input| level(input, on)).collect();
            let encoded: Vec<Vec<f32>> = (0..inputs.len()).map(encode).collect();
            (DependencePoints::Categories(names), encoded)
        }
        Encoding::Date { .. } => {
            let problem = format!("'{column}' is a date, whose parts cannot be set one by one");
            return Err(Error::setting("column", problem, "name a column of numbers or categories"));
        }
    };
    let decode = Decoder::of(spec);
    let predicted = |outputs: &[f32]| {
        if is_values(spec) { decode.values(outputs) } else { probabilities(spec.head, outputs) }
    };
    let mut means = Vec::with_capacity(encoded.len());
    for to in &encoded {
        let mut sums: Vec<f64> = Vec::new();
        let set = |_: usize, row: &mut [f32]| row[inputs.clone()].copy_from_slice(to);
        predict(session, spec, data, set, |_, outputs| {
            let found = predicted(outputs);
            sums.resize(found.len(), 0.0);
            sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
        })?;
        means.push(sums.into_iter().map(|sum| sum / data.samples() as f64).collect());
    }
    let outputs = match &schema.target {
        Target::Classes { classes, .. } => classes.clone(),
        Target::Values { .. } | Target::Labels { .. } => {
            schema.target.columns().into_iter().map(String::from).collect()
        }
    };
    Ok(Dependence { column: column.into(), outputs, points, means })
}

fn schema_of(spec: &Spec) -> Result<&Schema> {
    spec.schema.as_deref().ok_or_else(|| {
        Error::mismatch("this network was not trained on a table, so it reads no columns", "name another model")
    })
}

/// Each column that is read, and the places of its inputs.
fn inputs_of(schema: &Schema) -> impl Iterator<Item = (&Feature, Range<usize>)> {
    schema.features.iter().scan(0, |at, feature| {
        let first = *at;
        *at += feature.encoding.inputs();
        Some((feature, first..*at))
    })
}

fn is_values(spec: &Spec) -> bool {
    spec.classes() == 0 && spec.head != Head::MultiLabel
}

/// The values at which the dependence on a number is computed, from its inputs.
fn numbers_of(number: &NumberEncoding, data: &Dataset, input: usize) -> Vec<f64> {
    let features = data.features();
    let is_missing = |sample: usize| {
        number.indicator.is_some_and(|[_, missing]| data.inputs().get(sample * features + input + 1) == missing as f32)
    };
    let inputs = (0..data.samples()).filter(|&sample| !is_missing(sample));
    let mut values: Vec<f64> = inputs
        .map(|sample| number.scaler.undo(f64::from(data.inputs().get(sample * features + input))))
        // An input has no more digits.
        .map(|x| format!("{x:.5e}").parse().unwrap_or(x))
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    let mut distinct = values.clone();
    distinct.dedup();
    if distinct.len() > POINTS {
        let share = |point: usize| 0.05 + 0.9 * point as f64 / (POINTS - 1) as f64;
        distinct = (0..POINTS).map(|point| sorted_quantile(&values, share(point))).collect();
        distinct.dedup();
    }
    distinct
}

/// Predicts all samples. `change` may change the inputs of a sample, and `each` takes its outputs.
fn predict(
    session: &mut dyn Session,
    spec: &Spec,
    data: &Dataset,
    mut change: impl FnMut(usize, &mut [f32]),
    mut each: impl FnMut(usize, &[f32]),
) -> Result<()> {
    let features = data.features();
    for first in (0..data.samples()).step_by(BLOCK) {
        let rows = BLOCK.min(data.samples() - first);
        let mut inputs = data.inputs().rows(first..first + rows, features).into_owned();
        inputs.chunks_exact_mut(features).enumerate().for_each(|(row, inputs)| change(first + row, inputs));
        let mut outputs = Matrix::zeros(rows, spec.outputs());
        session.predict(&inputs.into(), &mut outputs)?;
        (0..rows).for_each(|row| each(first + row, outputs.row(row)));
    }
    Ok(())
}

/// The score of a network for changed inputs.
fn judge(
    session: &mut dyn Session,
    spec: &Spec,
    data: &Dataset,
    change: impl FnMut(usize, &mut [f32]),
) -> Result<(Score, f64)> {
    let samples = data.samples();
    match data.targets() {
        Targets::Classes { labels, .. } => {
            let mut right = 0u64;
            predict(session, spec, data, change, |sample, outputs| {
                let guess = first_largest(&probabilities(spec.head, outputs));
                right += u64::from(guess == labels[sample] as usize);
            })?;
            Ok((Score::Accuracy, right as f64 / samples as f64))
        }
        Targets::Values { values, outputs: count } if is_values(spec) => {
            let decode = Decoder::of(spec);
            let (mut truth, mut guess) = (vec![Vec::new(); *count], vec![Vec::new(); *count]);
            predict(session, spec, data, change, |sample, outputs| {
                for (k, predicted) in decode.values(outputs).into_iter().enumerate() {
                    truth[k].push(decode.value(k, f64::from(values[sample * count + k])));
                    guess[k].push(predicted);
                }
            })?;
            let mut sum = 0.0;
            for (truth, guess) in truth.iter().zip(&guess) {
                sum += ValueScores::of(truth, guess)?.r2.ok_or_else(|| {
                    let problem = "R² is undefined, because the true numbers are all the same";
                    Error::mismatch(problem, "judge other rows")
                })?;
            }
            Ok((Score::R2, sum / *count as f64))
        }
        Targets::Values { values, outputs: count } => {
            let mut right = 0u64;
            predict(session, spec, data, change, |sample, outputs| {
                let truth = &values[sample * count..][..*count];
                let found = probabilities(spec.head, outputs);
                right += found.iter().zip(truth).filter(|(p, truth)| (**p > 0.5) == (**truth > 0.5)).count() as u64;
            })?;
            Ok((Score::LabelAccuracy, right as f64 / (samples * count) as f64))
        }
    }
}

impl Scaler {
    /// The number that was scaled, as far as the scaled value still tells.
    fn undo(&self, y: f64) -> f64 {
        match self {
            Self::Affine { factor, .. } if *factor == 0.0 => 0.0,
            Self::Affine { centre, factor, clip } => {
                let third = y / 3.0;
                // y / √(1 − (y/3)²) undoes the smooth clipping; what is at the edge has no end.
                let y = if *clip { y / (1.0 - third * third).max(1e-12).sqrt() } else { y };
                y / factor + centre
            }
            Self::Quantiles(quantiles) => quantiles.from_normal(y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Task, tabular};
    use crate::engine::Engine;
    use crate::reference::Reference;
    use crate::schema::{Scaling, TableOptions};
    use crate::table::{Column, Table, Values};
    use crate::{Activation, State, Training};

    /// A linear network whose weights are given for the inputs in their order, and the rows of a table. `bias` is that of
    /// the last output.
    fn linear(columns: Vec<Column>, weights: &[f32], bias: f32, scaling: Scaling) -> (Box<dyn Session>, Spec, Dataset) {
        let table = Table::new(columns).unwrap();
        let options = TableOptions { target: vec!["y".into()], scaling, standardise: false, ..TableOptions::default() };
        let schema = Schema::fit(&table, &table, &options).unwrap().schema;
        let data = tabular::dataset(&schema, &table, None).unwrap();
        let task = Task { schema: Some(schema.into()), ..Task::new("t", data.clone(), data.clone()) };
        let spec = task.network(&[], Activation::Identity);
        let mut state = State::initial(&spec, &Training::default()).unwrap();
        let layer = &mut state.layers[0];
        layer.weight.values_mut().copy_from_slice(weights);
        layer.bias.fill(0.0);
        *layer.bias.last_mut().unwrap() = bias;
        let mut session = Reference.open(&"reference".parse().unwrap(), &spec, &Training::default()).unwrap();
        session.set_state(&state).unwrap();
        (session, spec, data)
    }

    fn numbers(name: &str, values: &[f64]) -> Column {
        Column::new(name, Values::Numbers(values.to_vec()))
    }

    fn texts(name: &str, values: &[&str]) -> Column {
        Column::new(name, Values::texts(values.iter().map(|text| Some(*text))))
    }

    /// y = x exactly. With x shuffled, the sum of the squared errors is on average twice that around the mean, so R² drops
    /// by 2 on average. Each single drop is one of those that the orders of four rows allow.
    #[test]
    fn importance_of_numbers_is_that_worked_out_by_hand() {
        let x = [1.0, 2.0, 4.0, 9.0];
        let columns = || vec![numbers("x", &x), numbers("noise", &[3.0, 1.0, 2.5, 7.0]), numbers("y", &x)];
        let (mut session, spec, data) = linear(columns(), &[1.0, 0.0], 0.0, Scaling::None);
        let found = importance(session.as_mut(), &spec, &data, 400, 1).unwrap();
        assert_eq!((found.score, found.value), (Score::R2, 1.0));
        let [of_x, of_noise] = &found.columns[..] else { panic!("{found:?}") };
        assert_eq!((of_x.column.as_str(), of_noise.column.as_str()), ("x", "noise"));
        assert_eq!((of_noise.mean, of_noise.deviation, of_noise.interval), (0.0, 0.0, [0.0, 0.0]));
        assert!((of_x.mean - 2.0).abs() < 0.15, "{}", of_x.mean);
        // Around the mean of 4 the sum of squares is 38. Swapping 1 and 2 costs 2, and reversing all 2·(64 + 4).
        let has = |drop: f64| of_x.drops.iter().any(|found| (found - drop).abs() < 1e-12);
        assert!(has(0.0) && has(2.0 / 38.0) && has(136.0 / 38.0), "{:?}", &of_x.drops[..20]);
        let most = of_x.drops.iter().fold(0.0, |most: f64, drop| most.max(*drop));
        assert!((most - 136.0 / 38.0).abs() < 1e-12, "{most}");
        assert_eq!(importance(session.as_mut(), &spec, &data, 400, 1).unwrap(), found);
        assert_ne!(importance(session.as_mut(), &spec, &data, 400, 2).unwrap(), found);
        assert!(importance(session.as_mut(), &spec, &data, 0, 1).is_err());
    }

    /// The class is the colour. All inputs of the colour are shuffled together: half of the rows keep the right one.
    #[test]
    fn a_category_is_one_column() {
        let colours = ["red", "green", "blue", "red", "green", "blue"];
        let columns =
            vec![texts("colour", &colours), numbers("size", &[1.0, 3.0, 2.0, 2.5, 1.5, 3.5]), texts("y", &colours)];
        // Inputs: size, blue, green, red. Classes: blue, green, red.
        let weights = [0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 9.0];
        let (mut session, spec, data) = linear(columns, &weights, 0.0, Scaling::Standard);
        let found = importance(session.as_mut(), &spec, &data, 300, 1).unwrap();
        assert_eq!((found.score, found.value, found.columns.len()), (Score::Accuracy, 1.0, 2));
        let [size, colour] = &found.columns[..] else { panic!("{found:?}") };
        assert_eq!((size.column.as_str(), size.mean), ("size", 0.0));
        // A row gets the cell of any of the six, of which two are right.
        assert!((colour.mean - 4.0 / 6.0).abs() < 0.04, "{}", colour.mean);
        let mean = colour.drops.iter().sum::<f64>() / 300.0;
        let variance = colour.drops.iter().map(|drop| (drop - mean).powi(2)).sum::<f64>() / 300.0;
        assert!((colour.deviation - variance.sqrt()).abs() < 1e-15);
        assert!(colour.interval[0] >= 0.0 && colour.interval[1] == 1.0, "{:?}", colour.interval);
    }

    /// y = 2x + 10 for red, 2x for blue.
    #[test]
    fn dependence_is_the_mean_prediction() {
        for scaling in [Scaling::None, Scaling::Standard, Scaling::Robust, Scaling::Quantile] {
            let x = [0.5, 1.5, 2.0, 4.0];
            let colours = ["red", "blue", "green", "red"];
            let columns = vec![numbers("x", &x), texts("colour", &colours), numbers("y", &[1.0, 2.0, 3.0, 5.0])];
            let (mut session, spec, data) = linear(columns, &[2.0, 0.0, 1.0, 10.0], 0.5, scaling);
            let found = dependence(session.as_mut(), &spec, &data, "x").unwrap();
            let DependencePoints::Numbers(points) = &found.points else { panic!("{found:?}") };
            let near = |a: f64, b: f64| (a - b).abs() < 1e-5 * b.abs().max(1.0);
            let all_near = points.len() == 4 && points.iter().zip(x).all(|(point, x)| near(*point, x));
            assert!(all_near || scaling == Scaling::Quantile, "{scaling}: {points:?}");
            if scaling == Scaling::None {
                // The mean of the colours' effects is (10 + 0 + 1 + 10) / 4.
                let wanted = x.map(|x| 2.0 * x + 0.5 + 5.25);
                assert!(found.means.iter().zip(wanted).all(|(found, wanted)| near(found[0], wanted)), "{found:?}");
                let found = dependence(session.as_mut(), &spec, &data, "colour").unwrap();
                let names = ["blue", "green", "red"].map(String::from).to_vec();
                assert_eq!((found.points, found.outputs), (DependencePoints::Categories(names), vec!["y".into()]));
                assert_eq!(found.means, [[4.5], [5.5], [14.5]]);
                let error = dependence(session.as_mut(), &spec, &data, "color").unwrap_err().to_string();
                assert!(error.contains("did you mean 'colour'"), "{error}");
            }
        }
    }

    #[test]
    fn many_numbers_become_twenty_quantiles() {
        let x: Vec<f64> = (0..101).map(|i| f64::from(i * 37 % 101)).collect();
        let y: Vec<f64> = x.iter().map(|x| x * 0.5 + 0.25).collect();
        let (mut session, spec, data) = linear(vec![numbers("x", &x), numbers("y", &y)], &[0.5], 0.0, Scaling::None);
        let found = dependence(session.as_mut(), &spec, &data, "x").unwrap();
        let DependencePoints::Numbers(points) = found.points else { panic!("{found:?}") };
        assert_eq!((points.len(), points[0], points[19]), (20, 5.0, 95.0));
    }
}
