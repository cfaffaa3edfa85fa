//! Syvä's core.
#![forbid(unsafe_code)]

pub mod data;
mod error;
pub mod random;

pub use error::{Error, Result};
