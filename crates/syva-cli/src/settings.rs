//! The settings of a training: from flags, from a TOML file of the same names, from the defaults; flags win.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde::Deserialize;
use syva::data::Task;
use syva::data::source::Source;
use syva::run::Keep;
use syva::{Activation, Error, Head, Init, Optimizer, Precision, Result, Spec, Training};

/// What can be set, none of it yet resolved.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Data: auto, mnist or digits [default: auto]
    #[arg(long, value_name = "NAME")]
    #[serde(default, deserialize_with = "from_str")]
    pub data: Option<Source>,
    /// Folder with the MNIST files [default: $SYVA_MNIST_DIR, then the cache folder]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Widths of the hidden layers; or none [default: 256,128]
    #[arg(long, value_name = "WIDTHS", allow_negative_numbers = true)]
    pub hidden: Option<Hidden>,
    /// Activation of the hidden layers: sigmoid, relu, tanh or identity [default: sigmoid]
    #[arg(long, value_name = "NAME")]
    pub activation: Option<Activation>,
    /// Output and loss: logits (cross-entropy) or log-softmax (NLL); the bits are the same [default: logits]
    #[arg(long, value_name = "NAME")]
    pub head: Option<Head>,
    /// Initial weights: pytorch, xavier-uniform, xavier-normal, he-uniform, he-normal, zeros, constant:VALUE
    /// [default: pytorch]
    #[arg(long, value_name = "NAME")]
    pub init: Option<Init>,
    /// Optimiser: sgd [default: sgd]
    #[arg(long, value_name = "NAME")]
    pub optimizer: Option<Optimizer>,
    /// Learning rate [default: 0.01]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub lr: Option<f32>,
    /// Samples a step [default: 128]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub batch_size: Option<usize>,
    /// Passes over the training data [default: 100]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub epochs: Option<u64>,
    /// Seed of the initial weights and of the order of the samples [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u32>,
    /// Which weights become the model: last, or best (of the epoch with the lowest validation loss) [default: last]
    #[arg(long, value_name = "WHICH")]
    pub keep: Option<Keep>,
    /// Device: auto, or one that `syva devices` lists [default: auto]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// CPU threads; the results do not depend on it [default: one a core]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// Compute exactly on a GPU that rounds otherwise: slower there, and without effect where all is exact already
    #[arg(long, action = clap::ArgAction::SetTrue)]
    pub exact: Option<bool>,
    /// Round the factors of products, on an NVIDIA card: f32 (to nothing: exact), tf32 or bf16 (tensor cores, for
    /// wide networks; not to the same bits) [default: f32]
    #[arg(long, value_name = "NAME")]
    pub precision: Option<Precision>,
    /// Folder of the run [default: the first free of runs/DATA-001, -002, …]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Bytes of a file of settings: far more than anyone writes.
const MAX_BYTES: u64 = 1 << 20;

impl Settings {
    /// These settings, and for what they leave open those of a TOML file.
    pub fn or_from_file(self, path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(self) };
        let file = Self::from_file(path)?;
        Ok(Self {
            data: self.data.or(file.data),
            data_dir: self.data_dir.or(file.data_dir),
            hidden: self.hidden.or(file.hidden),
            activation: self.activation.or(file.activation),
            head: self.head.or(file.head),
            init: self.init.or(file.init),
            optimizer: self.optimizer.or(file.optimizer),
            lr: self.lr.or(file.lr),
            batch_size: self.batch_size.or(file.batch_size),
            epochs: self.epochs.or(file.epochs),
            seed: self.seed.or(file.seed),
            keep: self.keep.or(file.keep),
            device: self.device.or(file.device),
            threads: self.threads.or(file.threads),
            // A flag that is not given is `false`.
            exact: self.exact.filter(|&given| given).or(file.exact),
            precision: self.precision.or(file.precision),
            out: self.out.or(file.out),
        })
    }

    /// The settings of a TOML file.
    fn from_file(path: &Path) -> Result<Self> {
        let mut text = String::new();
        // A pipe may come from `<(…)`, and a device has no end: only what is read tells how much there is.
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        read.map_err(Error::io("read", path))?;
        if text.len() as u64 > MAX_BYTES {
            let problem = format!("more than the {MAX_BYTES} bytes that settings can have");
            return Err(Error::file(path, "its size", problem, "is it the right file?"));
        }
        let file: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            let remedy = if text.contains("[training]") {
                "this looks like a run's own config.toml: `syva resume RUN` goes on with a run; to repeat it with a change, give \
                 its values as flags"
            } else {
                "write one `name = value` a line, with the names that `syva train --help` lists from --data to --out"
            };
            Error::file(path, format!("line {line}"), error.message(), remedy)
        })?;
        // What a flag says is checked where it is read; what the file says, here, where the file is known.
        file.training().map_err(|error| match error {
            Error::Setting { setting, problem, remedy } => Error::file(path, setting, problem, remedy),
            other => other,
        })?;
        for (name, folder) in [("data-dir", &file.data_dir), ("out", &file.out)] {
            if folder.as_ref().is_some_and(|folder| folder.as_os_str().is_empty()) {
                return Err(Error::file(path, name, "an empty name is no folder", "name one, or leave the line out"));
            }
        }
        Ok(file)
    }

    /// How to train: what is set, else the chapter's defaults.
    pub fn training(&self) -> Result<Training> {
        let default = Training::default();
        let training = Training {
            epochs: self.epochs.unwrap_or(default.epochs),
            batch_size: self.batch_size.unwrap_or(default.batch_size),
            learning_rate: self.lr.unwrap_or(default.learning_rate),
            seed: self.seed.unwrap_or(default.seed),
        };
        training.validate()?;
        Ok(training)
    }

    /// The network for a task: what is set, else the chapter's.
    pub fn network(&self, task: &Task) -> Result<Spec> {
        let hidden = self.hidden.clone().unwrap_or(Hidden(vec![256, 128]));
        let mut spec = task.network(&hidden.0, self.activation.unwrap_or(Activation::Sigmoid));
        spec.init = self.init.unwrap_or(Init::Pytorch);
        spec.optimizer = self.optimizer.unwrap_or(Optimizer::Sgd);
        spec.head = self.head.unwrap_or(spec.head);
        spec.validate()?;
        // All else about the network is the task's own.
        if let Err(Error::Mismatch { problem, .. }) = task.train.check(&spec) {
            let remedy = "leave it out, or use logits or log-softmax for classes";
            return Err(Error::setting("head", problem, remedy));
        }
        Ok(spec)
    }
}

/// Reads a name through `FromStr`.
fn from_str<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Source>, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Widths of hidden layers: `256,128` or `none`; in a file also an array.
#[derive(Clone, Debug, PartialEq)]
pub struct Hidden(pub Vec<usize>);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => text,
            toml::Value::Array(widths) if widths.is_empty() => "none".into(),
            toml::Value::Array(widths) => widths.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Hidden {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let widths: std::result::Result<Vec<usize>, _> = text.split(',').map(|width| width.trim().parse()).collect();
        match widths {
            Ok(widths) if widths.iter().all(|&width| width > 0) => Ok(Self(widths)),
            _ => {
                let problem = format!("'{text}' is no list of widths");
                Err(Error::setting("hidden", problem, "write positive numbers with commas, as 256,128; or none"))
            }
        }
    }
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.pad(if widths.is_empty() { "none".into() } else { widths.join(",") }.as_str())
    }
}
