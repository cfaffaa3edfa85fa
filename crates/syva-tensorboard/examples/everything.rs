//! Writes a log that contains something of every kind to the given folder:
//!
//! ```sh
//! cargo run -p syva-tensorboard --example everything -- runs/everything
//! tensorboard --logdir runs
//! ```
//!
//! `cargo xtask verify` checks what TensorBoard reads from it.

use syva_tensorboard::{
    Chart, Domain, Experiment, HParam, Image, Metric, Node, PrCurve, Result, Status, Value, Writer,
};

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).unwrap_or("runs/everything".into());
    let mut writer = Writer::create(&folder)?;
    let hparam = |name: &str, domain| HParam { name: name.into(), domain: Some(domain), description: String::new() };
    writer.experiment(&Experiment {
        hparams: vec![
            hparam("lr", Domain::Interval(0.001, 1.0)),
            hparam("activation", Domain::Discrete(vec!["relu".into(), "sigmoid".into()])),
            hparam("shuffle", Domain::Discrete(vec![true.into(), false.into()])),
        ],
        metrics: vec![Metric { tag: "hparam/loss".into(), display_name: "final loss".into(), training: Some(false) }],
    })?;
    writer.session_start(&[("lr", 0.25.into()), ("activation", "relu".into()), ("shuffle", true.into())], "")?;
    writer.text("notes/markdown", 0, "**bold** and `code`, ääkköset too")?;
    writer.graph(&[
        Node::new("x", "Input").shape(&[128, 4]),
        Node::new("fc1/weight", "Parameter").shape(&[3, 4]),
        Node::new("fc1/linear", "Linear").input("x").input("fc1/weight").shape(&[128, 3]).note("activation", "relu"),
    ])?;
    writer.layout(&[(
        "curves",
        vec![
            Chart::Lines { title: "thirds".into(), tags: vec!["scalar/.*".into()] },
            Chart::Band { title: "band".into(), tags: ["scalar/third", "scalar/low", "scalar/high"].map(Into::into) },
        ],
    )])?;
    for step in 0..20u64 {
        let third = step as f64 / 3.0;
        writer.scalar("scalar/third", step, third)?;
        writer.log(
            step,
            [
                Value::scalar("scalar/low", third - 1.0),
                Value::scalar("scalar/high", third + 1.0).described("high", "the upper edge"),
            ],
        )?;
        writer.scalars("group/two", step, &[("train", third), ("val", -third)])?;
        // TensorBoard accepts values that are not finite.
        writer.scalar("scalar/strange", step, if step == 7 { f64::NAN } else { f64::INFINITY })?;
    }
    for step in [0, 5] {
        let values: Vec<f32> = (0..1000).map(|i| (i % 100) as f32 / 100.0 + step as f32).collect();
        writer.histogram("histogram", step, &values)?;
        let rgb = (0..6 * 4 * 3).map(|i| (i * 3 + step) as u8).collect();
        writer.image("image/rgb", step, &Image::rgb(6, 4, rgb))?;
        writer.image("image/gray", step, &Image::gray(5, 5, (0..25).map(|i| i * 10).collect()))?;
        let guesses = (0..500u32).map(|i| (f64::from(i * 37 % 500) / 499.0, i % 3 != 0));
        writer.pr_curve("pr", step, &PrCurve::new(guesses, 101))?;
    }
    writer.scalar("hparam/loss", 19, 0.125)?;
    writer.session_end(Status::Success)?;
    writer.flush()
}
