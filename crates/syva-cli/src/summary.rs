//! `syva summary`: a network in figures.

use syva::budget::{Budget, funnel, uniform};
use syva::{Error, Mlp, Result, Summary, Training};

use crate::args::SummaryArgs;
use crate::{eval, output};

pub fn summary(args: &SummaryArgs) -> Result<()> {
    if args.batch_size == 0 {
        return Err(Error::setting("batch-size", "a batch cannot have 0 samples", "give 1 or more"));
    }
    let spec = if let Some(path) = &args.model {
        eval::load(path)?.model.spec
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
    let summary = Summary::new(&spec, &Training { batch_size: args.batch_size, ..Training::default() });
    if args.json {
        output::json(serde_json::json!({ "network": spec.widths(), "summary": summary }));
    } else {
        output::line(format_args!("{}\n{summary}", spec.widths()));
    }
    Ok(())
}
