//! What the tests against PyTorch share: numbers and weights from their files, and how far they are from ours.

use serde_json::Value;
use syva::{Layer, Matrix, Parameters, Spec, State};

/// The largest difference, as a share of the largest number beside it.
pub const CLOSE: f64 = 1e-5;

/// The numbers of a list.
pub fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

/// The same in binary64.
pub fn wide(value: &Value) -> Vec<f64> {
    numbers(value).into_iter().map(f64::from).collect()
}

/// The state with the weights and biases of a flat list, and fresh gains.
pub fn state(spec: &Spec, flat: &[f32]) -> State {
    let mut rest = flat;
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count);
        rest = left;
        taken.to_vec()
    };
    let layer = |l: usize| {
        let (fan_in, units) = (spec.fan_in(l), spec.layers[l].units);
        let Layer { activation, learned, .. } = spec.layers[l];
        let gain = vec![learned.initial(activation); spec.layers[l].gains()];
        let weight = Matrix::new(units, fan_in, take(units * fan_in)).unwrap();
        Parameters { gain, ..Parameters::new(weight, take(units)) }
    };
    State { step: 0, embedding: Vec::new(), layers: (0..spec.layers.len()).map(layer).collect(), slots: Vec::new() }
}

/// The largest difference of two lists, as a share of the largest number of the first.
pub fn apart(wanted: &[f64], found: &[f64]) -> f64 {
    assert_eq!(wanted.len(), found.len());
    let largest = wanted.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let further = |worst: f64, (w, f): (&f64, &f64)| if (w - f).abs() <= worst { worst } else { (w - f).abs() };
    wanted.iter().zip(found).fold(0.0, further) / largest
}
