#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod graph;
mod hparams;
mod log;
mod pr_curve;
pub mod record;
mod summary;
mod writer;

/// TensorBoard's own messages, generated from `proto/*.proto` by `cargo xtask proto`. Use them for what the rest of
/// this crate does not cover.
#[allow(missing_docs, clippy::pedantic)]
pub mod proto {
    #[rustfmt::skip]
    mod tensorboard;
    pub use tensorboard::*;
    /// Hyperparameters.
    #[rustfmt::skip]
    #[path = "tensorboard.hparams.rs"]
    pub mod hparams;
}

pub use error::{Error, Result};
pub use graph::Node;
pub use hparams::{Domain, Experiment, HParam, HParamValue, Metric};
pub use log::{Log, Point, Run};
pub use pr_curve::PrCurve;
pub use proto::hparams::Status;
pub use record::{EventReader, is_event_file};
pub use summary::{Image, Value};
pub use writer::{Chart, Writer};
