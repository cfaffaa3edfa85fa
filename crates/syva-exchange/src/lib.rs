//! Syvä's models from and for other programs: [weights of PyTorch](import()) become models, and models become
//! [ONNX files](onnx()) and [PyTorch code](pytorch()).
//!
//! Nothing here computes with a network. What a model means to another program is said in that program's own words, and is
//! checked with the program itself (`cargo xtask verify`).
#![forbid(unsafe_code)]

mod checkpoint;
mod import;
mod onnx;
mod pytorch;

use syva_core::{Error, Model};

pub use self::import::{ImportOptions, Imported, import};
pub use self::onnx::{onnx, onnx_fast};
pub use self::pytorch::pytorch;

/// The error for a model of several networks, which other programs have no form for.
fn several(model: &Model) -> Error {
    let problem = format!("the model is {} networks, whose predictions are averaged", 1 + model.members.len());
    Error::mismatch(problem, "export the networks of its folds one by one")
}
