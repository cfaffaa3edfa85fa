//! The formats of files: their numbers, and what files of earlier formats look like. They open for ever.
//!
//! Format 1: the network held the initial weights' distribution and the optimiser, which belong to the training.
//! Format 2: the network and the training stand side by side.

use serde::{Deserialize, Deserializer};

use crate::init::Init;
use crate::ops::Optimizer;
use crate::schedule::Schedule;
use crate::spec::{Head, Input, Layer, Spec};
use crate::training::Training;

/// The format of the files that are written now: model files, checkpoints and `config.toml`.
pub(crate) const FORMAT: u32 = 2;

/// The first entry of a file. It is read before the others, because they cannot be understood without it.
#[derive(Debug, Deserialize)]
pub(crate) struct Version {
    /// Configurations of format 1 do not say it.
    #[serde(default = "first")]
    pub(crate) format: u32,
}

fn first() -> u32 {
    1
}

/// Reads a value, and the places of what is not known of it, such as `network.layers.0.colour`. They may be why it
/// cannot be read.
pub(crate) fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> (Result<T, D::Error>, Vec<String>) {
    let mut unknown = Vec::new();
    let value = serde_ignored::deserialize(from, |place| unknown.push(place.to_string().replace(".?", "")));
    (value, unknown)
}

/// The network of format 1.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec1 {
    input: Input,
    layers: Vec<Layer>,
    head: Head,
    init: Init,
    optimizer: Optimizer,
}

/// The settings of a training of format 1.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Training1 {
    epochs: u64,
    batch_size: usize,
    learning_rate: f32,
    seed: u32,
    schedule: Option<Schedule>,
}

impl Spec1 {
    /// The network and the training as they are today.
    pub(crate) fn split(self, training: Training1) -> (Spec, Training) {
        let Self { input, layers, head, init, optimizer } = self;
        let Training1 { epochs, batch_size, learning_rate, seed, schedule } = training;
        let schedule = schedule.unwrap_or(Schedule::CONSTANT);
        let training =
            Training { epochs, batch_size, learning_rate, seed, init, optimizer, schedule, ..Training::default() };
        (Spec { input, layers, head, schema: None, class_names: Vec::new() }, training)
    }

    /// The network of a model, which needs no training.
    pub(crate) fn network(self) -> Spec {
        Spec { input: self.input, layers: self.layers, head: self.head, schema: None, class_names: Vec::new() }
    }
}
