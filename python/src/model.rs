//! Trained networks, and predictions with them.

use std::path::PathBuf;

use numpy::{Element, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use syva::data::Inputs;
use syva::files::write_atomically;
use syva::memory;
use syva::run::Reached;
use syva::schema::{Schema, Target};
use syva::table::{Column, Table as Columns, Values};
use syva::{Decoder, Error, Head, Layer, Matrix, Nonlinearity, Parameters, Spec, State, probabilities};

use crate::errors::raised;
use crate::table::{Table, columns};

/// The rows of an array that are predicted together.
const BLOCK: usize = 4096;
/// Fewer numbers than this are predicted with the interpreter's lock.
const ALONE: usize = 1 << 14;

/// Memory of fewer bytes than this is not asked for.
const ASKED: u64 = 1 << 20;

/// The weights, the biases and the activation of a layer.
type Given<'py> = (PyReadonlyArray2<'py, f32>, PyReadonlyArray1<'py, f32>, String);

/// A network with its weights, and with the columns that its inputs are made of. It never changes.
#[pyclass(frozen, module = "syva._native")]
pub struct Model {
    model: syva::Model,
    predictor: syva::Predictor,
}

impl Model {
    /// A model that predicts on so many threads, at most one per core.
    pub fn new(model: syva::Model, threads: Option<usize>) -> PyResult<Self> {
        let predictor = syva::Predictor::new(&model).map_err(raised)?;
        let predictor = match threads {
            Some(threads) => predictor.with_threads(threads.min(syva::threads::cores())),
            None => predictor,
        };
        Ok(Self { model, predictor })
    }

    pub fn model(&self) -> &syva::Model {
        &self.model
    }

    fn schema(&self) -> Option<&Schema> {
        self.model.spec.schema.as_deref()
    }

    /// The outputs for rows of a table.
    fn of_table(&self, table: &Columns) -> syva::Result<Matrix> {
        let Some(schema) = self.schema() else {
            let problem = "the model does not name its inputs";
            return Err(Error::mismatch(problem, "give an array with a column for each of its inputs"));
        };
        self.ask(table.rows(), 0)?;
        self.predictor.predict(&schema.encode(table)?.inputs)
    }

    /// Asks for the memory of so many rows' outputs, of what they mean as float64, and of further bytes a row.
    fn ask(&self, rows: usize, further: usize) -> syva::Result<()> {
        let each = further + (4 * (1 + self.model.members.len()) + 8) * self.model.spec.outputs().max(2);
        let bytes = (rows as u64).saturating_mul(each as u64);
        // A few rows take less time than the question.
        if bytes < ASKED {
            return Ok(());
        }
        memory::ask(bytes, &format!("the predictions of {rows} rows"), "predict fewer rows at a time")
    }

    /// The outputs for rows of numbers, whose columns have these names, or are those that the model names.
    fn of_numbers<T: Element + Copy + Into<f64>>(
        &self,
        py: Python<'_>,
        names: Option<&Names>,
        matrix: &PyReadonlyArray2<'_, T>,
    ) -> syva::Result<Matrix> {
        let view = matrix.as_array();
        let (rows, width) = view.dim();
        let wanted = match (names, self.schema()) {
            (Some(names), _) => names.names.len(),
            (None, Some(schema)) => schema.features.len(),
            (None, None) => self.model.spec.input.features,
        };
        if width != wanted {
            let problem = format!("{width} columns, and the model reads {wanted}");
            return Err(Error::mismatch(problem, "give a column for each"));
        }
        // Without columns, all inputs are made at once.
        self.ask(rows, if self.schema().is_none() { 4 * width } else { 0 })?;
        let Some(schema) = self.schema() else {
            let inputs: Vec<f32> = view.iter().map(|&value| value.into() as f32).collect();
            return self.predictor.predict(&Inputs::F32(inputs.into()));
        };
        if schema.is_all_numbers() {
            let mut outputs = Matrix::zeros(rows, self.model.spec.outputs());
            let each = outputs.columns();
            let mut numbers = Vec::with_capacity(rows.min(BLOCK) * schema.features.len());
            for (first, to) in (0..rows).step_by(BLOCK).zip(outputs.values_mut().chunks_mut(BLOCK * each)) {
                numbers.clear();
                for row in first..rows.min(first + BLOCK) {
                    let row = view.row(row);
                    match names {
                        Some(names) => numbers.extend(names.places.iter().map(|&place| row[place].into())),
                        None => numbers.extend(row.iter().map(|&value| value.into())),
                    }
                }
                let mut predict = || self.predictor.predict_into(&schema.encode_numbers(&numbers, first)?, to);
                // For few rows, letting others work takes longer than the work.
                if numbers.len() < ALONE { predict() } else { py.detach(predict) }?;
            }
            return Ok(outputs);
        }
        let of_schema: Vec<String> = schema.features.iter().map(|feature| feature.column.clone()).collect();
        let names = names.map_or(&of_schema, |names| &names.names);
        let cells = columns(matrix)?.into_iter().map(Values::Numbers);
        let columns = names.iter().zip(cells).map(|(name, values)| Column::new(name.as_str(), values));
        self.of_table(&Columns::new(columns.collect())?)
    }

    /// The outputs for rows, and a row of what they mean for each.
    fn outputs_of(&self, py: Python<'_>, names: Option<&Names>, rows: &Bound<'_, PyAny>) -> PyResult<Matrix> {
        let outputs = if let Ok(table) = rows.cast::<Table>() {
            let table = table.get();
            py.detach(|| table.read(|table| self.of_table(table)))?
        } else if let Ok(matrix) = rows.extract::<PyReadonlyArray2<'_, f64>>() {
            self.of_numbers(py, names, &matrix)
        } else if let Ok(matrix) = rows.extract::<PyReadonlyArray2<'_, f32>>() {
            self.of_numbers(py, names, &matrix)
        } else {
            return Err(PyTypeError::new_err("a matrix has two dimensions and numbers of float32 or float64"));
        };
        let outputs = outputs.map_err(raised)?;
        if outputs.values().iter().all(|value| value.is_finite()) {
            return Ok(outputs);
        }
        let problem = "the outputs of the model are not finite, because its weights are too large";
        Err(raised(Error::mismatch(problem, "train it again with a smaller learning rate")))
    }
}

/// An array of as many rows as the outputs have, whose columns a function finds.
fn array<'py>(
    py: Python<'py>,
    outputs: &Matrix,
    find: impl Fn(&[f32]) -> Vec<f64>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let rows = outputs.rows();
    let width = find(&vec![0.0; outputs.columns()]).len();
    let mut values = Vec::with_capacity(rows * width);
    values.extend((0..rows).flat_map(|row| find(outputs.row(row))));
    PyArray1::from_vec(py, values).reshape([rows, width])
}

/// The columns of an array by their names, and where among them those are that a model reads.
#[pyclass(frozen, module = "syva._native")]
pub struct Names {
    names: Vec<String>,
    places: Vec<usize>,
}

#[pymethods]
impl Model {
    /// The model in the bytes of a file.
    #[staticmethod]
    #[pyo3(signature = (bytes, threads=None))]
    fn from_bytes(bytes: &[u8], threads: Option<usize>) -> PyResult<Self> {
        Self::new(syva::Model::from_bytes(bytes, "the model's bytes").map_err(raised)?, threads)
    }

    /// A network of layers with weights `[units, inputs]`, biases `[units]` and activations. The last layer has no activation
    /// but the head.
    #[staticmethod]
    #[pyo3(signature = (layers, head, classes=None))]
    fn of_layers(layers: Vec<Given<'_>>, head: &str, classes: Option<Vec<String>>) -> PyResult<Self> {
        let (mut parameters, mut described, mut inputs) = (Vec::new(), Vec::new(), 0);
        for (k, (weight, bias, activation)) in layers.iter().enumerate() {
            let (units, fan_in) = weight.as_array().dim();
            inputs = if k == 0 { fan_in } else { inputs };
            let values = weight.as_array().iter().copied().collect();
            let bias = bias.as_array().to_vec();
            parameters.push(Parameters::new(Matrix::new(units, fan_in, values).map_err(raised)?, bias));
            let activation: Nonlinearity = activation.parse().map_err(raised)?;
            described.push(Layer { learned: activation.learned, ..Layer::new(units, activation.activation) });
        }
        let Some(last) = described.last() else {
            return Err(raised(Error::mismatch("a network has at least one layer", "give its layers")));
        };
        let mlp = syva::Mlp::new(inputs);
        let head: Head = head.parse().map_err(raised)?;
        let outputs = last.units;
        let spec = match head {
            Head::Logits | Head::LogSoftmax => mlp.classes(outputs),
            Head::Binary => mlp.classes(2),
            _ => mlp.values(outputs),
        };
        let spec = Spec { head, layers: described, class_names: classes.unwrap_or_default(), ..spec };
        let state = State { step: 0, embedding: Vec::new(), layers: parameters, slots: Vec::new() };
        Self::new(syva::Model::new(spec, state), None)
    }

    /// The model in a file, or of a run.
    #[staticmethod]
    #[pyo3(signature = (path, threads=None))]
    fn load(path: PathBuf, threads: Option<usize>) -> PyResult<Self> {
        let model = if path.join("config.toml").is_file() {
            Reached::of(&path).map(|reached| reached.model)
        } else {
            syva::Model::load(if path.is_dir() { path.join("model.safetensors") } else { path })
        };
        Self::new(model.map_err(raised)?, threads)
    }

    /// The bytes of the model's file. Equal models have equal bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.model.to_bytes().map_err(raised)?))
    }

    /// Writes the model's file, atomically.
    fn save(&self, path: PathBuf) -> PyResult<()> {
        self.model.save(path).map_err(raised)
    }

    /// Writes what another program reads: ONNX (.onnx), or PyTorch code (.py) that loads the model's file of this name.
    #[pyo3(signature = (path, file=""))]
    fn export(&self, py: Python<'_>, path: PathBuf, file: &str) -> PyResult<()> {
        let bytes = match path.extension().and_then(|ending| ending.to_str()) {
            Some("onnx") => py.detach(|| syva::exchange::onnx(&self.model)),
            Some("py") => syva::exchange::pytorch(&self.model, file).map(String::into_bytes),
            _ => {
                let problem = format!("{} ends with neither .onnx nor .py", path.display());
                Err(Error::setting("path", problem, "give one of these endings"))
            }
        };
        let bytes = bytes.map_err(raised)?;
        write_atomically(&path, |to| to.write_all(&bytes)).map_err(raised)
    }

    /// Finds the columns that the model reads among these names.
    fn bind(&self, names: Vec<String>) -> PyResult<Names> {
        let place = |wanted: &str| {
            names.iter().position(|name| name == wanted).ok_or_else(|| {
                raised(Error::mismatch(format!("there is no column '{wanted}'"), "give the columns of the training"))
            })
        };
        let places = match self.schema() {
            Some(schema) => schema.features.iter().map(|feature| place(&feature.column)).collect::<PyResult<_>>()?,
            None => (0..names.len()).collect(),
        };
        Ok(Names { names, places })
    }

    /// What the outputs mean for each row of an array or a table: the probabilities of classes or labels, or predicted
    /// numbers.
    #[pyo3(signature = (rows, names=None))]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        rows: &Bound<'py, PyAny>,
        names: Option<&Names>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let (spec, outputs) = (&self.model.spec, self.outputs_of(py, names, rows)?);
        let labels = matches!(self.schema().map(|schema| &schema.target), Some(Target::Labels { .. }));
        if labels || spec.head == Head::MultiLabel || spec.classes() > 0 {
            return array(py, &outputs, |outputs| probabilities(spec.head, outputs));
        }
        let decoder = Decoder::of(spec);
        array(py, &outputs, |outputs| decoder.values(outputs))
    }

    /// The standard deviations that a model with the head gaussian predicts beside its numbers; None for others.
    #[pyo3(signature = (rows, names=None))]
    fn deviations<'py>(
        &self,
        py: Python<'py>,
        rows: &Bound<'py, PyAny>,
        names: Option<&Names>,
    ) -> PyResult<Option<Bound<'py, PyArray2<f64>>>> {
        if self.model.spec.head != Head::Gaussian {
            return Ok(None);
        }
        let outputs = self.outputs_of(py, names, rows)?;
        let decoder = Decoder::of(&self.model.spec);
        array(py, &outputs, |outputs| decoder.deviations(outputs).unwrap_or_default()).map(Some)
    }

    /// The scores of what `predict` says, given what is true `[rows, columns]`: the places of classes, labels of 0 or 1, or
    /// numbers. As JSON.
    fn scores(
        &self,
        py: Python<'_>,
        predicted: PyReadonlyArray2<'_, f64>,
        truth: PyReadonlyArray2<'_, f64>,
    ) -> PyResult<String> {
        let matrix = |of: &PyReadonlyArray2<'_, f64>| {
            let of = of.as_array();
            (of.ncols(), of.iter().copied().collect::<Vec<_>>())
        };
        let ((width, predicted), (columns, truth)) = (matrix(&predicted), matrix(&truth));
        let scores = || syva_cli::embedded::scores(&self.model.spec, &(width, &predicted), &(columns, &truth));
        Ok(py.detach(scores).map_err(raised)?.to_string())
    }

    /// The outputs of the network for each row, as they are.
    #[pyo3(signature = (rows, names=None))]
    fn outputs<'py>(
        &self,
        py: Python<'py>,
        rows: &Bound<'py, PyAny>,
        names: Option<&Names>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let outputs = self.outputs_of(py, names, rows)?;
        array(py, &outputs, |outputs| outputs.iter().map(|&output| output.into()).collect())
    }

    /// classes, labels or numbers.
    #[getter]
    fn task(&self) -> &'static str {
        match self.schema().map(|schema| &schema.target) {
            Some(Target::Labels { .. }) => "labels",
            _ if self.model.spec.head == Head::MultiLabel => "labels",
            _ if self.model.spec.classes() > 0 => "classes",
            _ => "numbers",
        }
    }

    /// The names of the classes, in the order of the outputs; None if it predicts none.
    #[getter]
    fn classes(&self) -> Option<Vec<String>> {
        let names = syva::ClassNames::of(&self.model.spec).ok()?;
        Some((0..names.classes()).map(|class| names.name(class).to_string()).collect())
    }

    /// The columns that are predicted.
    #[getter]
    fn targets(&self) -> Vec<String> {
        self.schema().map(|schema| schema.target.columns().into_iter().map(String::from).collect()).unwrap_or_default()
    }

    /// The columns that the inputs are made of, and whether each is one of numbers. None if the model names none.
    #[getter]
    fn columns(&self) -> Option<Vec<(String, bool)>> {
        let schema = self.schema()?;
        let is_number = |feature: &syva::schema::Feature| matches!(feature.encoding, syva::schema::Encoding::Number(_));
        Some(schema.features.iter().map(|feature| (feature.column.clone(), is_number(feature))).collect())
    }

    /// The number of inputs of the network.
    #[getter]
    fn inputs(&self) -> usize {
        self.model.spec.input.features
    }

    /// The widths of the network, such as 784-256-128-10.
    #[getter]
    fn widths(&self) -> String {
        self.model.spec.widths()
    }

    /// The number of weights, biases and gains.
    #[getter]
    fn parameters(&self) -> usize {
        self.model.spec.parameters()
    }

    /// The SHA-256 of the weights.
    #[getter]
    fn digest(&self) -> String {
        self.model.digest()
    }

    /// Each layer: its activation, and its weights `[units, inputs]` and biases `[units]`.
    #[getter]
    #[allow(clippy::type_complexity, reason = "Python unpacks it")]
    fn layers<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Vec<(String, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>)>> {
        let layers = self.model.spec.layers.iter().zip(&self.model.state.layers);
        layers
            .map(|(layer, parameters)| {
                let weight = &parameters.weight;
                let array = PyArray1::from_slice(py, weight.values()).reshape([weight.rows(), weight.columns()])?;
                Ok((layer.nonlinearity().to_string(), array, PyArray1::from_slice(py, &parameters.bias)))
            })
            .collect()
    }

    /// The head: what the outputs mean.
    #[getter]
    fn head(&self) -> String {
        self.model.spec.head.to_string()
    }
}
