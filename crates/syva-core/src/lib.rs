//! Syvä's core: the description of networks, the arithmetic that defines every bit of their training, the reference
//! engine, data, the trainer, and model files. It contains no engine but the reference, and no `unsafe`.
//!
//! The path through it: a [`Spec`] and a [`data::Task`] go to an [`Engine`], whose [`Session`] the trainer drives span
//! by span. `ARCHITECTURE.md` describes each part of this path; `docs/ARITHMETIC.md` is the contract.
#![forbid(unsafe_code)]

mod answer;
pub mod arithmetic;
pub mod budget;
mod builder;
mod calibration;
#[cfg(feature = "files")]
mod clearing;
mod committee;
mod compat;
pub mod conformance;
mod container;
pub mod data;
pub mod diagnosis;
pub mod effects;
mod embedding;
pub mod engine;
mod error;
#[cfg(feature = "files")]
pub mod files;
mod groups;
mod init;
pub mod memory;
mod metrics;
mod model;
pub mod names;
pub mod ops;
mod overfitting;
mod predictions;
pub mod random;
mod rate_test;
pub mod recognise;
pub mod reference;
mod regression;
#[cfg(feature = "files")]
pub mod run;
mod schedule;
pub mod schema;
mod spec;
mod state;
mod stopping;
mod summary;
pub mod table;
pub mod text;
pub mod threads;
pub mod trainer;
mod training;
mod weighting;

pub use answer::{Answer, ClassNames};
pub use builder::{Mlp, Sequential};
pub use calibration::{Criterion, ThresholdScores, at_temperature};
pub use committee::averaged_outputs;
#[doc(hidden)]
pub use container::read as read_safetensors;
pub use diagnosis::{Activity, Diagnosis};
pub use embedding::{Block, Embedding, Learnt, NumberEmbedding, Numbers, Placed, Tensor, Wave};
pub use engine::{
    Breakdown, DeviceId, DeviceInfo, Engine, Evaluation, Precision, Rates, Report, Session, Span, StepPart,
};
pub use error::{Error, Result};
pub use groups::{Factors, Groups, Parametrization, Part, Scale, StepScalars};
pub use init::{BiasInit, Gain, Init};
pub use metrics::{ClassificationReport, Confusion, Scores, Tally};
pub use model::Model;
pub use ops::{Activation, Loss, Nonlinearity, Optimizer};
pub use overfitting::Overfitting;
pub use predictions::{Predictions, ReliabilityBin, first_largest, probabilities};
pub use rate_test::{RateRange, RateTest};
pub use regression::{Decoder, PredictedValues, QuantileScores, ValueScores};
pub use schedule::Schedule;
pub use spec::{Head, ImageShape, Input, Layer, Normalization, Spec};
pub use state::{Matrix, Parameters, Slot, State, check_finite};
pub use stopping::{Keep, Metric, Stop, Ties};
pub use summary::Summary;
pub use trainer::{Epoch, Trainer};
pub use training::{AVERAGE, Training};
pub use weighting::{ClassWeights, Weighting};
