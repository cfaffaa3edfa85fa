//! The native module of the Python package `syva`: what needs the engine, and nothing else. The package around it is plain
//! Python.
//!
//! | Python | here |
//! |---|---|
//! | the command `syva` | [`run_cli`] |
//! | columns from arrays and frames | [`table::Table`] |
//! | a training, with its listener | [`training::train`] |
//! | updates one call at a time (`partial_fit`) | [`learner::Learner`] |
//! | a trained network | [`model::Model`] |
//! | its linear regions | [`regions::regions`] |

#![allow(clippy::needless_pass_by_value, reason = "what comes from Python is made for the call")]

mod data;
mod errors;
mod learner;
mod model;
mod regions;
mod settings;
mod table;
mod training;
mod words;

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command line of the program `syva`, whose first word is the program's name. Returns the exit code.
#[pyfunction]
fn run_cli(py: Python<'_>, words: Vec<OsString>) -> u8 {
    py.detach(|| syva_cli::main(words))
}

/// The cores that this process may use.
#[pyfunction]
fn cores() -> usize {
    syva::threads::cores()
}

/// The devices that this build can use here: their names, what they are, and how they are used.
#[pyfunction]
fn devices(py: Python<'_>) -> PyResult<Vec<(String, String, String)>> {
    let engines = py.detach(|| syva::engines(syva::EngineOptions::default())).map_err(errors::raised)?;
    let all = engines.iter().flat_map(|engine| engine.devices());
    Ok(all.map(|info| (info.id.to_string(), info.name, info.detail)).collect())
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::data::images;
    #[pymodule_export]
    use super::learner::Learner;
    #[pymodule_export]
    use super::model::{Model, Names};
    #[pymodule_export]
    use super::regions::{region_bounds, regions};
    #[pymodule_export]
    use super::table::Table;
    #[pymodule_export]
    use super::training::{Trained, train};
    #[pymodule_export]
    use super::{cores, devices, run_cli};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // A decoder's panic over a damaged file becomes an error.
        syva_cli::report_only_own_panics();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
