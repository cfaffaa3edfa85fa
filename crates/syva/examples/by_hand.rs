//! A deep network calculated by hand, and by Syvä: two inputs, two hidden layers of three ReLU units, a linear output.
//!
//! ```text
//! h1 … h3 = relu(W1 · x + b1)        h4 … h6 = relu(W2 · h + b2)        y = W3 · h + b3
//! ```
//!
//! Prints every h with the sum it comes from, then what the CPU engine makes of the same weights: the same number.
//!
//! `cargo run --release -p syva --example by_hand`

use syva::prelude::*;
use syva::reference::Network;
use syva::{Parameters, predict};

fn main() -> Result<()> {
    let layer = |units, fan_in, weight: &[f32], bias: &[f32]| -> Result<Parameters> {
        Ok(Parameters::new(Matrix::new(units, fan_in, weight.to_vec())?, bias.to_vec()))
    };
    let layers = vec![
        layer(3, 2, &[0.5, -1.0, 1.5, 0.25, -0.75, 0.5], &[0.1, -0.2, 0.3])?,
        layer(3, 3, &[1.0, 0.5, -0.5, -1.0, 0.75, 0.25, 0.5, -0.5, 1.0], &[0.0, 0.1, -0.3])?,
        layer(1, 3, &[2.0, -1.0, 0.5], &[0.05])?,
    ];
    let spec = Mlp::new(2).hidden(&[3, 3], Relu).values(1);
    let state = State { step: 0, embedding: Vec::new(), layers, slots: Vec::new() };
    let x = [2.0, 0.5];

    println!("x = {x:?}");
    let h = Network::<f32>::new(&spec, &Training::default(), &state).forward(&x);
    let mut input = x.to_vec();
    let mut unit = 1;
    for (l, parameters) in state.layers.iter().enumerate() {
        for (j, &value) in h[l].iter().enumerate() {
            let terms: Vec<String> =
                parameters.weight.row(j).iter().zip(&input).map(|(w, x)| format!("{w} · {x}")).collect();
            let sum = format!("{} + {}", terms.join(" + "), parameters.bias[j]);
            if l + 1 < h.len() {
                println!("h{unit} = relu({sum}) = {value}");
            } else {
                println!("y  = {sum} = {value}");
            }
            unit += 1;
        }
        input.clone_from(&h[l]);
    }
    let y = predict(&Model::new(spec, state), &x.to_vec().into())?;
    println!("the CPU engine says y = {}", y.row(0)[0]);
    assert_eq!(y.row(0)[0].to_bits(), h[2][0].to_bits());
    Ok(())
}
