//! Trainings.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use syva::Epoch;
use syva::data::tabular::Tables;
use syva::trainer::{Event, Flow};
use syva_cli::embedded::{Folder, Job, Outcome, Request};

use crate::errors::raised;
use crate::model::Model;
use crate::settings::settings;
use crate::table::Table;
use crate::words::in_python;

/// How often Python is asked whether a signal has come.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// What a training came to.
#[pyclass(frozen, get_all, module = "syva._native")]
pub struct Trained {
    /// The network with the weights that are kept.
    model: Py<Model>,
    /// A list for each number that epochs have; None where a network has no such number.
    history: Py<PyDict>,
    /// Sentences about what was found out of a table.
    notes: Vec<String>,
    /// The run folder.
    folder: Option<PathBuf>,
    /// The number of the epoch whose weights are kept, if these are the best ones.
    best_epoch: Option<u64>,
    /// The digest of the data.
    data_digest: String,
    /// What stopped the training before its end: an exception of the listener or of a signal handler.
    error: Option<Py<PyAny>>,
    /// Whether it was stopped before its end.
    interrupted: bool,
}

/// Trains a network as `syva train` does with flags of these names. Tables in memory take the place of the data that the
/// settings name: the rows that train, and perhaps rows of their own for validation and for testing.
///
/// The listener is called with an epoch's numbers after each epoch, and with the network as it then is if `inspected`. It stops
/// the training if it returns True. An exception from it, or a signal, stops the training as well; what was trained until then
/// is returned with it.
#[pyfunction]
#[pyo3(signature = (given, *, table=None, validation=None, test=None, start=None, folder=false, force=false, tensorboard=true, inspected=false, begin=None, listener=None))]
#[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools, reason = "they have names in Python")]
pub fn train(
    py: Python<'_>,
    given: &Bound<'_, PyDict>,
    table: Option<&Table>,
    validation: Option<&Table>,
    test: Option<&Table>,
    start: Option<&Model>,
    folder: bool,
    force: bool,
    tensorboard: bool,
    inspected: bool,
    begin: Option<Py<PyAny>>,
    listener: Option<Py<PyAny>>,
) -> PyResult<Trained> {
    let of = |table: Option<&Table>| table.map(Table::take).transpose();
    let (validation, test) = (of(validation)?, of(test)?);
    let tables = of(table)?.map(|train| Tables { train, validation, test });
    let settings = settings(given)?;
    let threads = settings.threads;
    let start = start.map(|model| model.model().clone());
    let folder = folder.then_some(Folder { force, tensorboard });
    let request = Request { settings, tables, start, folder, inspected };
    let mut heard = Ok(());
    let outcome = py.detach(|| {
        let job = Job::new(request)?;
        if let Some(begin) = begin {
            let said = Python::attach(|py| begin.call1(py, (describe(py, &job)?,)).map(drop));
            if said.is_err() {
                heard = said;
                return Ok(None);
            }
        }
        let (mut asked, mut last) = (Instant::now(), None);
        let spec = job.config().network.clone();
        job.train(&mut |event| {
            // What there is to hear: an epoch, and if the network is asked for, it as well.
            let heard_of = match event {
                Event::Epoch(epoch) if inspected => {
                    last = Some(Epoch::clone(epoch));
                    None
                }
                Event::Epoch(epoch) => Some((Epoch::clone(epoch), None)),
                Event::Inspection { state, .. } => {
                    let model = syva::Model::new(spec.clone(), (*state).clone().for_prediction());
                    last.take().map(|epoch| (epoch, Some(model)))
                }
                Event::Steps { .. } | Event::Checkpoint { .. } => None,
            };
            let is_due = asked.elapsed() >= SIGNALS_EVERY;
            if !is_due && (heard_of.is_none() || listener.is_none()) {
                return Ok(Flow::Continue);
            }
            let answer = Python::attach(|py| {
                if is_due {
                    asked = Instant::now();
                    py.check_signals()?;
                }
                let (Some((epoch, model)), Some(listener)) = (heard_of, &listener) else { return Ok(false) };
                let model = model.map(|model| Model::new(model, threads)).transpose()?;
                let answer = listener.call1(py, (numbers(py, &epoch)?, model))?;
                Ok(answer.extract::<bool>(py).unwrap_or(false))
            });
            Ok(match answer {
                Ok(false) => Flow::Continue,
                Ok(true) => Flow::Stop,
                Err(error) => {
                    heard = Err(error);
                    Flow::Stop
                }
            })
        })
        .map(Some)
    });
    let Some(outcome) = outcome.map_err(raised)? else {
        return Err(heard.expect_err("only an error leaves no outcome"));
    };
    let Outcome { model, config, progress, notes, folder, interrupted } = outcome;
    let best_epoch = progress.best.map(|(epoch, _)| epoch).filter(|_| config.keep != syva::Keep::Last);
    Ok(Trained {
        model: Py::new(py, Model::new(model, threads)?)?,
        history: columns(py, &progress.history)?.unbind(),
        notes: said(&notes),
        folder,
        best_epoch,
        data_digest: config.data.digest,
        error: heard.err().map(|error| error.into_value(py).into_any()),
        interrupted,
    })
}

/// Notes in Python's words.
fn said(notes: &[String]) -> Vec<String> {
    notes.iter().map(|note| in_python(note)).collect()
}

/// What is known when a training begins.
fn describe<'py>(py: Python<'py>, job: &Job) -> PyResult<Bound<'py, PyDict>> {
    let config = job.config();
    let known = PyDict::new(py);
    let [train, validation] = job.samples();
    known.set_item("data", &config.data.source)?;
    known.set_item("network", config.network.widths())?;
    known.set_item("train_samples", train)?;
    known.set_item("validation_samples", validation)?;
    known.set_item("epochs", config.training.epochs)?;
    known.set_item("batch_size", config.training.batch_size)?;
    known.set_item("lr", config.training.learning_rate)?;
    known.set_item("seed", config.training.seed)?;
    known.set_item("device", &config.device)?;
    known.set_item("notes", said(job.notes()))?;
    Ok(known)
}

type Number = fn(&Epoch) -> Option<f64>;

/// The numbers of an epoch beside its own, by the names of `metrics.jsonl`.
const NUMBERS: [(&str, Number); 9] = [
    ("train_loss", |epoch| Some(epoch.train_loss)),
    ("train_acc", |epoch| epoch.train_acc),
    ("val_loss", |epoch| Some(epoch.val_loss)),
    ("val_acc", |epoch| epoch.val_acc),
    ("train_balanced_acc", |epoch| epoch.train_balanced_acc),
    ("val_balanced_acc", |epoch| epoch.val_balanced_acc),
    ("learning_rate", |epoch| Some(f64::from(epoch.learning_rate))),
    ("train_seconds", |epoch| Some(epoch.train_seconds)),
    ("eval_seconds", |epoch| Some(epoch.eval_seconds)),
];

fn numbers<'py>(py: Python<'py>, epoch: &Epoch) -> PyResult<Bound<'py, PyDict>> {
    let numbers = PyDict::new(py);
    numbers.set_item("epoch", epoch.epoch)?;
    for (name, of) in &NUMBERS {
        numbers.set_item(name, of(epoch))?;
    }
    Ok(numbers)
}

fn columns<'py>(py: Python<'py>, epochs: &[Epoch]) -> PyResult<Bound<'py, PyDict>> {
    let columns = PyDict::new(py);
    columns.set_item("epoch", PyList::new(py, epochs.iter().map(|epoch| epoch.epoch))?)?;
    for (name, of) in &NUMBERS {
        columns.set_item(name, PyList::new(py, epochs.iter().map(of))?)?;
    }
    Ok(columns)
}
