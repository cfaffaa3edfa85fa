//! `syva explain`: what a small network computes for one sample, unit by unit: forward, the loss, and backward.
//!
//! The numbers are those of the reference engine, so they are those of all engines, to the last bit.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::{Value, json};
use syva::arithmetic::Number;
use syva::data::{Inputs, Targets};
use syva::ops::Learned;
use syva::reference::Network;
use syva::run::read_config;
use syva::{Activation, Error, Head, Model, Predictor, Result, Training, Weighting, check_finite};

use crate::args::{ExplainArgs, List, SplitArg};
use crate::data::Talk;
use crate::{eval, output};

/// The most weights of a network that is explained in words.
const MOST_WEIGHTS: usize = 2_000;

pub fn explain(args: &ExplainArgs) -> Result<()> {
    let path = &args.model;
    let model = eval::load(path)?.model;
    if !model.members.is_empty() {
        let problem = format!("it is a committee of {} networks", model.members.len() + 1);
        return Err(Error::file(path, "the model", problem, "give a model of one network"));
    }
    if !args.json && model.spec.parameters() > MOST_WEIGHTS {
        let problem = format!("it has {} weights and biases, too many to be read", model.spec.parameters());
        return Err(Error::file(
            path,
            "the model",
            problem,
            format!("give one with {MOST_WEIGHTS} at most, or --json"),
        ));
    }
    let (inputs, own) = sample(args, &model)?;
    let targets = match &args.target {
        Some(text) => Some(target(text, &model)?),
        None => own,
    };
    let training = if path.join("config.toml").is_file() { read_config(path)?.training } else { Training::default() };
    let found = Explained::new(&model, &training, &inputs, targets)?;
    if args.json {
        output::json(found.json());
    } else {
        output::line(found.text()?.trim_end());
    }
    Ok(())
}

/// The inputs of the sample that is meant, and its targets if the data has them.
fn sample(args: &ExplainArgs, model: &Model) -> Result<(Vec<f32>, Option<Targets>)> {
    let features = model.spec.input.features;
    if let Some(List(values)) = &args.input {
        if model.spec.schema.is_some() {
            let problem = "the network reads rows of a table, which are first encoded";
            return Err(Error::setting("input", problem, "give --sample, the number of a row of its data"));
        }
        if values.len() != features {
            let problem = format!("it has {}, and the network {features}", output::count(values.len() as u64, "value"));
            return Err(Error::setting("input", problem, "give one value per input, separated by commas"));
        }
        check_finite(values, features)?;
        return Ok((values.clone(), None));
    }
    let number = args.sample.unwrap_or(0);
    if !args.model.join("config.toml").is_file() && args.data.is_none() && model.spec.schema.is_some() {
        let problem = "a model file does not say where its table is";
        return Err(Error::file(&args.model, "the model", problem, "give the folder of its run"));
    }
    let talk = if args.json { Talk::Notices } else { Talk::All };
    let task = eval::task_for(&args.model, args.data, args.data_dir.as_deref(), None, talk)?;
    let data = args.split.unwrap_or(SplitArg::Val).of(&task);
    data.check(&model.spec)?;
    if number >= data.samples() {
        let problem = format!("there is no sample {number}");
        return Err(Error::setting("sample", problem, format!("give a number up to {}", data.samples() - 1)));
    }
    let targets = match data.targets() {
        Targets::Classes { labels, classes } => {
            Targets::Classes { labels: vec![labels[number]].into(), classes: *classes }
        }
        Targets::Values { values, outputs } => {
            Targets::Values { values: values[number * outputs..][..*outputs].into(), outputs: *outputs }
        }
    };
    let inputs: Cow<[f32]> = data.inputs().rows(number..number + 1, features);
    Ok((inputs.into_owned(), Some(targets)))
}

/// The target that a flag gives: a class by its name or number, or values.
fn target(text: &str, model: &Model) -> Result<Targets> {
    let spec = &model.spec;
    let refuse = |problem: String, remedy: String| Err(Error::setting("target", problem, remedy));
    let classes = spec.classes();
    if classes > 0 {
        let named = spec.named_classes().and_then(|names| names.iter().position(|name| name == text));
        return match named.or_else(|| text.parse().ok().filter(|&class: &usize| class < classes)) {
            Some(class) => Ok(Targets::Classes { labels: vec![class as u32].into(), classes }),
            None => {
                refuse(format!("there is no class '{text}'"), format!("give one of 0 to {}, or a name", classes - 1))
            }
        };
    }
    // What is no list is not as long as it is to be.
    let values = text.parse::<List<f32>>().map_or_else(|_| Vec::new(), |List(values)| values);
    let outputs = if spec.head == Head::Gaussian { spec.outputs() / 2 } else { spec.outputs() };
    if values.len() != outputs || values.iter().any(|value| !value.is_finite()) {
        return refuse(
            format!("'{text}' is not a target"),
            format!("give {}", output::count(outputs as u64, "number")),
        );
    }
    Ok(Targets::Values { values: values.into(), outputs })
}

/// A sample's way through a network, forward and backward.
struct Explained<'a> {
    model: &'a Model,
    inputs: &'a [f32],
    /// What the first layer reads: normalised inputs, or their embedding.
    first: Vec<f32>,
    z: Vec<Vec<f32>>,
    h: Vec<Vec<f32>>,
    judged: Option<Judged>,
}

/// The loss, and its derivatives.
struct Judged {
    targets: Targets,
    loss: f64,
    /// By the weights, biases and gains of each layer. A bias's is that by its unit's pre-activation.
    gradients: Vec<[Vec<f32>; 3]>,
}

impl<'a> Explained<'a> {
    fn new(model: &'a Model, training: &Training, inputs: &'a [f32], targets: Option<Targets>) -> Result<Self> {
        let spec = &model.spec;
        let network = Network::<f32>::new(spec, &training.for_evaluation(), &model.state);
        let pass = network.pass(inputs);
        let first = if spec.input.embedding.is_some() {
            pass.inputs
        } else {
            inputs.iter().enumerate().map(|(k, &x)| spec.input.normalization.apply(k, x)).collect()
        };
        let judge = |targets: Targets| {
            let (judged, gradients) = network.gradients(inputs, &targets, &[0], &Weighting::default());
            let loss = f64::from(judged.losses[0]);
            if !loss.is_finite() {
                let problem = format!("the loss of this sample is {loss}");
                return Err(Error::mismatch(problem, "give other inputs, or a model with smaller weights"));
            }
            Ok(Judged { targets, loss, gradients })
        };
        let judged = targets.map(judge).transpose()?;
        Ok(Self { model, inputs, first, z: pass.z, h: pass.h, judged })
    }

    fn json(&self) -> Value {
        let spec = &self.model.spec;
        let layer = |l: usize| {
            let parameters = &self.model.state.layers[l];
            let rows = |values: &[f32]| values.chunks(spec.fan_in(l)).map(<[f32]>::to_vec).collect::<Vec<_>>();
            let mut layer = json!({
                "activation": spec.layers[l].nonlinearity().to_string(),
                "weights": rows(parameters.weight.values()),
                "biases": parameters.bias,
                "pre_activations": self.z[l],
                "activations": self.h[l],
            });
            if !parameters.gain.is_empty() {
                layer["gains"] = json!(parameters.gain);
            }
            if let Some(judged) = &self.judged {
                let [weights, biases, gains] = &judged.gradients[l];
                layer["gradient"] = json!({ "weights": rows(weights), "biases": biases, "pre_activations": biases });
                if !gains.is_empty() {
                    layer["gradient"]["gains"] = json!(gains);
                }
            }
            layer
        };
        let mut all = json!({
            "inputs": self.inputs,
            "first_layer_inputs": self.first,
            "layers": (0..spec.layers.len()).map(layer).collect::<Vec<_>>(),
        });
        if let Some(judged) = &self.judged {
            all["loss"] = json!(judged.loss);
            all["target"] = match &judged.targets {
                Targets::Classes { labels, .. } => json!(labels[0]),
                Targets::Values { values, .. } => json!(values.to_vec()),
            };
        }
        all
    }

    /// A layer's units. All units are counted through from the first layer on, as in textbooks: the weights of the first
    /// output of a 2-2-1 network are w3,1 and w3,2.
    fn units(&self, l: usize) -> Vec<Unit> {
        let spec = &self.model.spec;
        let before: usize = spec.layers[..l].iter().map(|layer| layer.units).sum();
        let is_last = l + 1 == spec.layers.len();
        (1..=spec.layers[l].units)
            .map(|unit| Unit {
                number: before + unit,
                name: if is_last { format!("y{unit}") } else { format!("h{}", before + unit) },
            })
            .collect()
    }

    /// What goes into a layer: names and values.
    fn below(&self, l: usize) -> (Vec<Unit>, &[f32]) {
        if l > 0 {
            return (self.units(l - 1), &self.h[l - 1]);
        }
        let letter = if self.model.spec.input.embedding.is_some() { 'e' } else { 'x' };
        let units = (1..=self.first.len()).map(|number| Unit { number, name: format!("{letter}{number}") });
        (units.collect(), &self.first)
    }

    fn text(&self) -> Result<String> {
        let (spec, mut text) = (&self.model.spec, String::new());
        // Writing to a string cannot fail.
        let mut say = |line: String| {
            let _ = writeln!(text, "{line}");
        };
        say(spec.widths());
        say("\ninputs".into());
        let names = spec.schema.as_ref().map(|schema| schema.input_names());
        for (k, &x) in self.inputs.iter().enumerate() {
            let name = names.as_ref().and_then(|names| names.get(k));
            let name = name.map_or(String::new(), |name| format!("  ({})", output::short(name)));
            let normalised = match &spec.input.embedding {
                None if self.first[k].to_bits() != x.to_bits() => format!(", normalised {}", self.first[k]),
                _ => String::new(),
            };
            say(format!("  x{} = {x}{normalised}{name}", k + 1));
        }
        if spec.input.embedding.is_some() {
            say("\nwhat the embedding makes of them".into());
            for (Unit { name, .. }, value) in self.below(0).0.iter().zip(&self.first) {
                say(format!("  {name} = {value}"));
            }
        }
        for (l, (layer, parameters)) in spec.layers.iter().zip(&self.model.state.layers).enumerate() {
            let ((below, values), is_last) = (self.below(l), l + 1 == spec.layers.len());
            let function = layer.nonlinearity().to_string();
            say(if is_last { "\noutput layer".to_string() } else { format!("\nhidden layer {}: {function}", l + 1) });
            for (unit, Unit { number, name }) in self.units(l).iter().enumerate() {
                let terms = below.iter().map(|input| format!("w{number},{} · {}", input.number, input.name));
                let formula = terms.chain([format!("b{number}")]).collect::<Vec<_>>().join(" + ");
                let weights = parameters.weight.row(unit).iter().zip(values);
                let products = weights.map(|(weight, value)| format!("{} · {}", bracketed(*weight), bracketed(*value)));
                let numbers = products.chain([bracketed(parameters.bias[unit])]).collect::<Vec<_>>().join(" + ");
                let (z, h) = (self.z[l][unit], self.h[l][unit]);
                if layer.activation == Activation::Identity {
                    say(format!("  {name} = {formula}"));
                    say(format!("     = {numbers} = {h}"));
                } else {
                    say(format!("  z{number} = {formula}"));
                    say(format!("     = {numbers} = {z}"));
                    let gain = match layer.learned {
                        Learned::Nothing => String::new(),
                        Learned::Slope | Learned::Blend => format!(", gain {}", parameters.gain[unit]),
                    };
                    say(format!("  {name} = {function}(z{number}{gain}) = {h}"));
                }
            }
        }
        say(String::new());
        say(self.prediction()?);
        if let Some(judged) = &self.judged {
            self.backward(judged, &mut say);
        }
        Ok(text)
    }

    /// What the outputs mean.
    fn prediction(&self) -> Result<String> {
        let inputs: Inputs = self.inputs.to_vec().into();
        let predictor = Predictor::new(self.model)?;
        if self.model.spec.classes() > 0 {
            let answers = predictor.classify(&inputs)?;
            let probabilities = answers[0].ranked().map(|(name, p)| format!("{}: {p:.6}", output::short(name)));
            return Ok(format!("probabilities: {}", probabilities.collect::<Vec<_>>().join(", ")));
        }
        let values = predictor.predict(&inputs)?.row(0).iter().map(ToString::to_string).collect::<Vec<_>>();
        Ok(format!("prediction: {}", values.join(", ")))
    }

    fn backward(&self, judged: &Judged, say: &mut dyn FnMut(String)) {
        let spec = &self.model.spec;
        let target = match &judged.targets {
            Targets::Classes { labels, .. } => match spec.named_classes() {
                Some(names) => output::short(&names[labels[0] as usize]),
                None => labels[0].to_string(),
            },
            Targets::Values { values, .. } => values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        say(format!("\nloss L for the target {target}: {}", judged.loss));
        say("\nderivatives of L, from the outputs back to the inputs".into());
        for l in (0..spec.layers.len()).rev() {
            let [weights, biases, gains] = &judged.gradients[l];
            let is_last = l + 1 == spec.layers.len();
            let (below, values) = self.below(l);
            say(if is_last { "output layer".to_string() } else { format!("hidden layer {}", l + 1) });
            for (unit, Unit { number, name }) in self.units(l).iter().enumerate() {
                let d = biases[unit];
                let z =
                    if spec.layers[l].activation == Activation::Identity { name.clone() } else { format!("z{number}") };
                if !is_last {
                    let (by_h, formula) = self.by_activation(judged, l, unit);
                    say(format!("  ∂L/∂{name} = {formula} = {by_h}"));
                    if z != *name {
                        let function = spec.layers[l].nonlinearity();
                        say(format!("  ∂L/∂{z} = ∂L/∂{name} · {function}′({z}) = {d}"));
                    }
                }
                say(format!("  ∂L/∂b{number} = ∂L/∂{z} = {d}"));
                for ((input, value), gradient) in below.iter().zip(values).zip(&weights[unit * below.len()..]) {
                    let (index, name, factors) =
                        (input.number, &input.name, [bracketed(d), bracketed(*value)].join(" · "));
                    say(format!("  ∂L/∂w{number},{index} = ∂L/∂{z} · {name} = {factors} = {gradient}"));
                }
                if let Some(gain) = gains.get(unit) {
                    say(format!("  ∂L/∂gain{number} = {gain}"));
                }
            }
        }
    }

    /// The derivative by a hidden unit's activation, and its formula: through all units of the next layer (rule 4 of the
    /// contract).
    fn by_activation(&self, judged: &Judged, l: usize, unit: usize) -> (f32, String) {
        let (weight, above) = (&self.model.state.layers[l + 1].weight, self.units(l + 1));
        let number = self.units(l)[unit].number;
        let is_last = l + 2 == self.model.spec.layers.len();
        let mut sum = 0f32;
        let mut terms = Vec::new();
        for (j, next) in above.iter().enumerate() {
            sum = judged.gradients[l + 1][1][j].fma(weight.row(j)[unit], sum);
            let z = if is_last { next.name.clone() } else { format!("z{}", next.number) };
            terms.push(format!("w{},{number} · ∂L/∂{z}", next.number));
        }
        (sum, terms.join(" + "))
    }
}

/// A unit or an input, with the number that its weights have.
struct Unit {
    number: usize,
    name: String,
}

/// A factor: in brackets if it is negative.
fn bracketed(value: f32) -> String {
    if value.is_sign_negative() { format!("({value})") } else { value.to_string() }
}
