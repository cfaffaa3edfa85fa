//! Errors as Python raises them: the text is that of the program with keywords in place of flags, the type is the one that Python's users expect.

use std::io::ErrorKind;

use pyo3::PyErr;
use pyo3::exceptions::{
    PyConnectionError, PyFileExistsError, PyFileNotFoundError, PyFloatingPointError, PyMemoryError, PyOSError,
    PyPermissionError, PyRuntimeError, PyValueError,
};
use syva::Error;

use crate::words::in_python;

/// The exception for an error.
pub fn raised(error: Error) -> PyErr {
    let text = in_python(&error.to_string());
    match error {
        Error::Io { source, .. } => match source.kind() {
            ErrorKind::NotFound => PyFileNotFoundError::new_err(text),
            ErrorKind::PermissionDenied => PyPermissionError::new_err(text),
            ErrorKind::AlreadyExists => PyFileExistsError::new_err(text),
            _ => PyOSError::new_err(text),
        },
        Error::File { .. } | Error::Setting { .. } | Error::Mismatch { .. } | Error::Unsupported { .. } => {
            PyValueError::new_err(text)
        }
        Error::Resource { resource, .. } if resource == "memory" => PyMemoryError::new_err(text),
        Error::Network { .. } => PyConnectionError::new_err(text),
        Error::NonFinite { .. } => PyFloatingPointError::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}
