//! Named sets of data.

use std::path::PathBuf;

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods};
use pyo3::prelude::*;
use syva::data::source::{Source, open};
use syva::data::{Dataset, Inputs, Targets};

use crate::errors::raised;

/// Images `[samples, height, width]` as bytes, and their labels `[samples]`.
type Part<'py> = (Bound<'py, PyArrayDyn<u8>>, Bound<'py, PyArray1<i64>>);

/// The training and the test part of a named set of images, as they are stored.
#[pyfunction]
#[pyo3(signature = (name, folder=None))]
pub fn images<'py>(py: Python<'py>, name: &str, folder: Option<PathBuf>) -> PyResult<(Part<'py>, Part<'py>)> {
    let source: Source = name.parse().map_err(raised)?;
    let task = py.detach(|| open(source, folder.as_deref(), &mut |_| {})).map_err(raised)?;
    let part = |data: &Dataset| {
        let samples = data.samples();
        let values: Vec<u8> = match data.inputs() {
            Inputs::U8(bytes) => bytes.to_vec(),
            other => (0..other.len()).map(|k| other.get(k) as u8).collect(),
        };
        let labels = match data.targets() {
            Targets::Classes { labels, .. } => labels.iter().map(|&label| i64::from(label)).collect(),
            Targets::Values { .. } => Vec::new(),
        };
        let shape: Vec<usize> = [&[samples], &task.shape[..]].concat();
        Ok::<_, PyErr>((PyArray1::from_vec(py, values).reshape(shape)?, PyArray1::from_vec(py, labels)))
    };
    Ok((part(&task.train)?, part(&task.validation)?))
}
