//! Updates one call at a time.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use syva::data::tabular::Tables;
use syva_cli::embedded::{Job, Learner as Inner, Request};

use crate::errors::raised;
use crate::model::Model;
use crate::settings::settings;
use crate::table::Table;

/// A network that learns from one table after another, each once, with what its optimiser remembers of those before. What
/// columns are, and how they are scaled, is found out of the first table.
#[pyclass(frozen, module = "syva._native")]
pub struct Learner {
    inner: Mutex<Inner>,
    threads: Option<usize>,
}

#[pymethods]
impl Learner {
    /// Sets the network up for a table, and does not yet train it. The second table has at least one row. If there is a
    /// model to begin with, the network is its, and so is what columns are.
    #[new]
    #[pyo3(signature = (given, table, validation, start=None))]
    fn new(
        py: Python<'_>,
        given: &Bound<'_, PyDict>,
        table: &Table,
        validation: &Table,
        start: Option<&Model>,
    ) -> PyResult<Self> {
        let tables = Tables { train: table.take()?, validation: Some(validation.take()?), test: None };
        let settings = settings(given)?;
        let threads = settings.threads;
        let start = start.map(|model| model.model().clone());
        let request = Request { settings, tables: Some(tables), start, ..Request::default() };
        let inner = py.detach(|| Job::new(request)?.learner()).map_err(raised)?;
        Ok(Self { inner: Mutex::new(inner), threads })
    }

    /// Takes the rows of a table once, in batches. Returns the mean loss of the batches.
    fn learn(&self, py: Python<'_>, table: &Table) -> PyResult<f64> {
        let table = table.take()?;
        py.detach(|| self.lock().learn(&table)).map_err(raised)
    }

    /// The network with its weights as they are now.
    fn model(&self) -> PyResult<Model> {
        Model::new(self.lock().model(), self.threads)
    }
}

impl Learner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
