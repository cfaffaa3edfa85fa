//! Tables from NumPy's arrays.

use std::sync::Mutex;

use numpy::{Element, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use syva::memory;
use syva::table::{Column, Table as Columns, Texts, Values};

use crate::errors::raised;

/// Named columns of numbers or texts. A training takes them, after which the table is empty.
#[pyclass(frozen, module = "syva._native")]
pub struct Table(Mutex<Option<Columns>>);

/// A column as Python has it: an array of numbers, in which NaN is missing, or the texts that occur and for each row the
/// place of its text, which is below 0 if it is missing.
#[derive(FromPyObject)]
pub enum Cells<'py> {
    #[pyo3(transparent)]
    Numbers(PyReadonlyArray1<'py, f64>),
    Texts(Vec<String>, PyReadonlyArray1<'py, i64>),
}

#[pymethods]
impl Table {
    /// Columns by their names.
    #[new]
    fn new(columns: Vec<(String, Cells<'_>)>) -> PyResult<Self> {
        ask(columns.iter().map(|(_, cells)| cells.bytes()).sum()).map_err(raised)?;
        let column = |(name, cells): (String, Cells<'_>)| {
            let values = match cells {
                Cells::Numbers(numbers) => Values::Numbers(numbers.as_array().to_vec()),
                Cells::Texts(texts, places) => {
                    let code = |&place: &i64| u32::try_from(place).unwrap_or(syva::table::MISSING);
                    let codes = places.as_array().iter().map(code).collect();
                    Values::Texts(Texts::new(texts, codes).map_err(raised)?)
                }
            };
            Ok(Column::new(name, values))
        };
        let columns = columns.into_iter().map(column).collect::<PyResult<_>>()?;
        Ok(Self::of(Columns::new(columns).map_err(raised)?))
    }

    /// The columns of a matrix of float32 or float64, by these names, and further columns.
    #[staticmethod]
    #[pyo3(signature = (names, matrix, others=Vec::new()))]
    fn of_matrix(names: Vec<String>, matrix: &Bound<'_, PyAny>, others: Vec<(String, Cells<'_>)>) -> PyResult<Self> {
        let columns = if let Ok(matrix) = matrix.extract::<PyReadonlyArray2<'_, f64>>() {
            columns(&matrix).map_err(raised)?
        } else if let Ok(matrix) = matrix.extract::<PyReadonlyArray2<'_, f32>>() {
            columns(&matrix).map_err(raised)?
        } else {
            return Err(PyTypeError::new_err("a matrix has two dimensions and numbers of float32 or float64"));
        };
        if names.len() != columns.len() {
            let problem = format!("{} names for {} columns; give one for each", names.len(), columns.len());
            return Err(PyValueError::new_err(problem));
        }
        let columns = names.into_iter().zip(columns).map(|(name, values)| Column::new(name, Values::Numbers(values)));
        let others = Self::new(others)?.take()?.into_columns();
        Ok(Self::of(Columns::new(columns.chain(others).collect()).map_err(raised)?))
    }

    /// The number of rows.
    fn __len__(&self) -> PyResult<usize> {
        self.read(Columns::rows)
    }
}

impl Cells<'_> {
    /// The bytes of a copy.
    fn bytes(&self) -> u64 {
        match self {
            Self::Numbers(numbers) => 8 * numbers.as_array().len() as u64,
            Self::Texts(_, places) => 4 * places.as_array().len() as u64,
        }
    }
}

/// Asks for the memory of a table.
fn ask(bytes: u64) -> syva::Result<()> {
    memory::ask(bytes, "the columns of the table", "give fewer rows or columns, or end other programs")
}

impl Table {
    fn of(columns: Columns) -> Self {
        Self(Mutex::new(Some(columns)))
    }

    /// The table, which is then empty.
    pub fn take(&self) -> PyResult<Columns> {
        self.0.lock().ok().and_then(|mut table| table.take()).ok_or_else(gone)
    }

    /// What a function finds in the table.
    pub fn read<T>(&self, find: impl FnOnce(&Columns) -> T) -> PyResult<T> {
        self.0.lock().ok().and_then(|table| table.as_ref().map(find)).ok_or_else(gone)
    }
}

fn gone() -> PyErr {
    PyValueError::new_err("a training has taken this table; make another")
}

/// Rows that are gathered together, so that memory is read in its order.
const BLOCK: usize = 64;

/// The columns of a matrix.
pub fn columns<T: Element + Copy + Into<f64>>(matrix: &PyReadonlyArray2<'_, T>) -> syva::Result<Vec<Vec<f64>>> {
    let matrix = matrix.as_array();
    let (rows, width) = matrix.dim();
    ask(8 * matrix.len() as u64)?;
    let mut columns: Vec<Vec<f64>> = (0..width).map(|_| Vec::with_capacity(rows)).collect();
    for first in (0..rows).step_by(BLOCK) {
        for (k, column) in columns.iter_mut().enumerate() {
            column.extend((first..rows.min(first + BLOCK)).map(|row| matrix[[row, k]].into()));
        }
    }
    Ok(columns)
}
