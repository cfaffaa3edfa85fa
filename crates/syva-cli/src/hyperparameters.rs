//! The settings of a run by name. Reports, TensorBoard, the dashboard and JSON all show this one list.

use serde_json::{Map, Value, json};
use syva::run::RunConfig;
use syva::text::grouped;
use syva::{Normalization, Spec};

use crate::settings::Settings;

/// A setting of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its name as in JSON and TensorBoard: `learning_rate`.
    pub name: &'static str,
    /// A text, a number or a boolean.
    pub value: Value,
    /// Whether `syva resume` can change it, so that a run may have had several values of it.
    pub changes: bool,
}

impl Setting {
    /// The name for people: `learning rate`.
    pub fn label(&self) -> String {
        self.name.replace('_', " ").replace("sha256", "SHA-256")
    }

    /// The value for people.
    pub fn text(&self) -> String {
        match &self.value {
            Value::String(text) => text.clone(),
            Value::Bool(true) => "yes".into(),
            Value::Bool(false) => "no".into(),
            Value::Number(number) if self.name == "parameters" => grouped(number.as_u64().unwrap_or(0)),
            // Of every setting with a fraction, 0 switches it off.
            Value::Number(number) if number.is_f64() && number.as_f64() == Some(0.0) => "off".into(),
            value => value.to_string(),
        }
    }
}

/// All settings of a run, the most important ones first.
pub fn of(config: &RunConfig) -> Vec<Setting> {
    let (training, network) = (&config.training, &config.network);
    let fixed = |name, value| Setting { name, value, changes: false };
    let changing = |name, value| Setting { name, value, changes: true };
    // By way of their text, in which an f32 is as short as it was written: 0.01 rather than 0.009999999776.
    let text = serde_json::to_string(training).unwrap_or_default();
    let values: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    let of_training = |&name: &&'static str| {
        let value = values.get(name).cloned().unwrap_or_default();
        Setting { name, value, changes: name == "epochs" || name == "stop" }
    };
    let mut settings = vec![
        fixed("data", json!(config.data.source)),
        fixed("validation", json!(config.data.validation.to_string())),
        fixed("network", json!(network.widths())),
        fixed("hidden", json!(hidden(network))),
        fixed("activation", json!(activations(network))),
        fixed("parameters", json!(network.parameters())),
        fixed("head", json!(network.head.to_string())),
        fixed("normalization", json!(normalization(&network.input.normalization))),
    ];
    if let Some(from) = &config.init_from {
        settings.push(fixed("init_from", json!(from.file)));
        settings.push(fixed("init_from_sha256", json!(from.digest)));
    }
    settings.extend(Settings::TRAINING.iter().map(of_training));
    settings.extend([
        changing("keep", json!(config.keep.to_string())),
        changing("device", json!(config.device)),
        changing("exact", json!(config.exact)),
        changing("precision", json!(config.precision.to_string())),
        fixed("syva", json!(config.syva)),
        fixed("data_sha256", json!(config.data.digest)),
    ]);
    settings
}

/// All settings as a JSON object.
pub fn json(config: &RunConfig) -> Map<String, Value> {
    of(config).into_iter().map(|setting| (setting.name.to_string(), setting.value)).collect()
}

/// The widths of the hidden layers as `--hidden` takes them: `256,128`, or `none`.
fn hidden(network: &Spec) -> String {
    let (_, hidden) = network.layers.split_last().unwrap_or((&network.layers[0], &[]));
    let widths: Vec<String> = hidden.iter().map(|layer| layer.units.to_string()).collect();
    if widths.is_empty() { "none".into() } else { widths.join(",") }
}

/// The activation of the hidden layers: one name, or one for each layer if they differ, or `none` without hidden
/// layers.
fn activations(network: &Spec) -> String {
    let (_, hidden) = network.layers.split_last().unwrap_or((&network.layers[0], &[]));
    match hidden {
        [] => "none".into(),
        [first, rest @ ..] if rest.iter().all(|layer| layer.nonlinearity() == first.nonlinearity()) => {
            first.nonlinearity().to_string()
        }
        all => all.iter().map(|layer| layer.nonlinearity().to_string()).collect::<Vec<_>>().join("-"),
    }
}

/// How inputs are normalised, as a formula.
fn normalization(normalization: &Normalization) -> String {
    let range = |values: &[f32]| {
        let (low, high) = values
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
        format!("{low} … {high}")
    };
    match normalization {
        Normalization::None => "none".into(),
        Normalization::Uniform { scale, shift } => format!("x · {scale} + {shift}").replace("+ -", "− "),
        Normalization::PerFeature { scale, shift } => {
            format!("per feature: scales {}, shifts {}", range(scale), range(shift))
        }
    }
}

#[cfg(test)]
mod tests {
    use syva::Activation::{Relu, Sigmoid, Tanh};
    use syva::run::{DataConfig, Keep};
    use syva::{Mlp, Training};

    use super::*;

    fn config(network: Spec) -> RunConfig {
        let data = DataConfig {
            source: "mnist".into(),
            dir: None,
            validation: "test".parse().unwrap(),
            table: None,
            images: None,
            digest: "d1".into(),
        };
        let training = Training { learning_rate: 0.1, ..Training::default() };
        let (exact, precision, keep) = (false, syva::Precision::F32, Keep::Last);
        RunConfig {
            syva: "1".into(),
            contract: 2,
            device: "cpu".into(),
            exact,
            precision,
            keep,
            init_from: None,
            training,
            data,
            network,
        }
    }

    /// All that config.toml says about the training is in the list, so that any change of it shows.
    #[test]
    fn each_change_of_a_setting_shows() {
        type Change = fn(&mut RunConfig);
        let base = config(Mlp::new(784).hidden(&[16], Sigmoid).classes(10));
        let changes: [(&str, Change); 30] = [
            ("data", |c| c.data.source = "digits".into()),
            ("validation", |c| c.data.validation = "0.1".parse().unwrap()),
            ("data_sha256", |c| c.data.digest = "d2".into()),
            ("network", |c| c.network.layers[0].units = 17),
            ("activation", |c| c.network.layers[0].activation = Tanh),
            ("head", |c| c.network.head = syva::Head::LogSoftmax),
            ("init", |c| c.training.init = syva::Init::HE_NORMAL),
            ("bias_init", |c| c.training.bias_init = "zeros".parse().unwrap()),
            ("normalization", |c| c.network.input.normalization = Normalization::pixels(0.1307, 0.3081)),
            ("batch_size", |c| c.training.batch_size = 7),
            ("learning_rate", |c| c.training.learning_rate = 0.2),
            ("seed", |c| c.training.seed = 7),
            ("schedule", |c| c.training.schedule = syva::Schedule::Constant { warmup: 1.0 }),
            ("stop", |c| c.training.stop = "patience:5".parse().unwrap()),
            ("optimizer", |c| c.training.optimizer = "adam".parse().unwrap()),
            ("loss", |c| c.training.loss = "cross-entropy:smoothing=0.1".parse().unwrap()),
            ("class_weights", |c| c.training.class_weights = syva::ClassWeights::Balanced),
            ("dropout", |c| c.training.dropout = 0.5),
            ("l1", |c| c.training.l1 = 0.5),
            ("l2", |c| c.training.l2 = 0.5),
            ("clip_norm", |c| c.training.clip_norm = 0.5),
            ("clip_value", |c| c.training.clip_value = 0.5),
            ("max_norm", |c| c.training.max_norm = 0.5),
            ("ema", |c| c.training.ema = 0.5),
            ("epochs", |c| c.training.epochs = 7),
            ("keep", |c| c.keep = "best".parse().unwrap()),
            ("device", |c| c.device = "reference".into()),
            ("exact", |c| c.exact = true),
            ("precision", |c| c.precision = syva::Precision::Tf32),
            ("syva", |c| c.syva = "2".into()),
        ];
        for (name, change) in changes {
            let mut changed = base.clone();
            change(&mut changed);
            let (before, after) = (json(&base), json(&changed));
            assert_ne!(before[name], after[name], "{name}");
        }
    }

    #[test]
    fn each_field_of_a_training_is_a_setting() {
        let Ok(Value::Object(fields)) = serde_json::to_value(Training::default()) else { panic!("no fields") };
        let mut settings = Settings::TRAINING.to_vec();
        settings.sort_unstable();
        assert_eq!(fields.keys().map(String::as_str).collect::<Vec<_>>(), settings);
    }

    #[test]
    fn values_are_for_people() {
        let said = |network, name: &str| {
            let found = of(&config(network)).into_iter().find(|setting| setting.name == name);
            found.map(|setting| (setting.label(), setting.text())).unwrap()
        };
        let mlp = || Mlp::new(784).hidden(&[3], Relu);
        assert_eq!(said(mlp().classes(10), "learning_rate"), ("learning rate".into(), "0.1".into()));
        assert_eq!(said(mlp().hidden(&[4], Tanh).classes(10), "activation").1, "relu-tanh");
        assert_eq!(said(mlp().hidden(&[4], Tanh).classes(10), "hidden").1, "3,4");
        assert_eq!(said(mlp().classes(10), "parameters").1, "2,395");
        assert_eq!(said(mlp().classes(10), "clip_norm"), ("clip norm".into(), "off".into()));
        assert_eq!(said(Mlp::new(784).classes(10), "hidden").1, "none");
        assert_eq!(said(Mlp::new(784).classes(10), "activation").1, "none");
        let pixels = mlp().classes(10).normalized(Normalization::pixels(0.1307, 0.3081));
        assert_eq!(said(pixels, "normalization").1, "x · 0.012728233 − 0.42421293");
    }
}
