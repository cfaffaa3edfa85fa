//! Settings from keyword arguments.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyString, PyTuple};
use syva_cli::embedded::Settings;

use crate::errors::raised;

/// The settings of a dictionary, in which None means that nothing is said.
pub fn settings(given: &Bound<'_, PyDict>) -> PyResult<Settings> {
    let mut pairs = Vec::new();
    for (name, value) in given {
        if !value.is_none() {
            let name: String = name.extract()?;
            pairs.push((name.clone(), toml_value(&name, &value)?));
        }
    }
    Settings::named(pairs).map_err(raised)
}

fn is_list(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>()
}

/// A value as a settings file would have it.
fn toml_value(name: &str, value: &Bound<'_, PyAny>) -> PyResult<toml::Value> {
    if let Ok(yes) = value.extract::<bool>() {
        return Ok(toml::Value::Boolean(yes));
    }
    if value.is_instance_of::<PyString>() {
        return Ok(toml::Value::String(value.extract()?));
    }
    if is_list(value) {
        let item = |item: PyResult<Bound<'_, PyAny>>| {
            let item = item?;
            if is_list(&item) {
                return Err(PyValueError::new_err(format!("{name}: a list has a list in it; give numbers or texts")));
            }
            toml_value(name, &item)
        };
        return Ok(toml::Value::Array(value.try_iter()?.map(item).collect::<PyResult<_>>()?));
    }
    if let Ok(whole) = value.extract::<i64>() {
        return Ok(toml::Value::Integer(whole));
    }
    if value.is_instance_of::<PyInt>() {
        return Err(PyOverflowError::new_err(format!("{name}: {value} is out of range; give a smaller number")));
    }
    if let Ok(number) = value.extract::<f64>() {
        return Ok(toml::Value::Float(number));
    }
    // Paths.
    if let Ok(text) = value.call_method0("__fspath__") {
        return Ok(toml::Value::String(text.extract()?));
    }
    let kind = value.get_type().name()?;
    Err(PyTypeError::new_err(format!("{name}: a {kind} is not a setting; give a number, a text, or a list of them")))
}
