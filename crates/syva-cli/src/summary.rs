//! `syva summary`: a network in figures.

use syva::budget::{Budget, funnel, uniform};
use syva::run::read_config;
use syva::{Error, Mlp, Result, Summary, Training};

use crate::args::SummaryArgs;
use crate::{eval, output};

pub fn summary(args: &SummaryArgs) -> Result<()> {
    if args.batch_size == Some(0) {
        return Err(Error::setting("batch-size", "a batch cannot have 0 samples", "give 1 or more"));
    }
    let mut training = Training { batch_size: args.batch_size.unwrap_or(128), ..Training::default() };
    let mut digest = None;
    let spec = if let Some(path) = &args.model {
        // A run says itself how it is trained.
        if path.join("config.toml").is_file() {
            training = read_config(path)?.training;
            training.batch_size = args.batch_size.unwrap_or(training.batch_size);
        }
        let model = eval::load(path)?.model;
        digest = Some(model.digest());
        model.spec
    } else {
        let budget = args.neurons.map(Budget::Neurons).or(args.parameters.map(Budget::Parameters));
        let hidden = match (args.uniform, args.funnel, budget) {
            (Some(depth), _, Some(budget)) => uniform(args.inputs, args.outputs, depth, budget)?,
            (_, Some(depth), Some(budget)) => funnel(args.inputs, args.outputs, depth, budget)?,
            _ => args.hidden.0.clone(),
        };
        let mlp = Mlp::new(args.inputs).hidden(&hidden, args.activation);
        // A single output is a value, because it cannot tell classes apart.
        if args.outputs == 1 { mlp.values(1) } else { mlp.classes(args.outputs) }
    };
    spec.validate()?;
    let summary = Summary::new(&spec, &training);
    if args.json {
        output::json(serde_json::json!({
            "network": spec.widths(), "sha256_of_weights": digest, "summary": summary
        }));
    } else {
        output::line(format_args!("{}\n{summary}", spec.widths()));
        if let Some(digest) = digest {
            output::line(format_args!("SHA-256 of the weights: {digest}"));
        }
    }
    Ok(())
}
