//! `syva predict` for a table: the same rows, with what is predicted of each in further columns.
//!
//! The table passes through in parts. One thread reads and parses, as many as there are cores encode, predict and format
//! parts beside each other, and the calling thread writes them in order. Only so many parts are under way at a time, so that
//! memory does not grow with the table.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use syva::data::Inputs;
use syva::schema::{Schema, Target};
use syva::table::{Column, ReadOptions, Table, Values};
use syva::tables::{ParquetWriter, Part, Parts, write_cell, write_number, write_row};
use syva::text::grouped;
use syva::{
    Decoder, Error, Head, Matrix, Model, Predictor, Result, Session, Spec, Training, at_temperature, first_largest,
    probabilities, threads,
};

use crate::Code;
use crate::args::PredictArgs;
use crate::{output, tables};

/// Predicts every row of the files.
pub fn predict(args: &PredictArgs, file: &Path, model: &Model, schema: &Schema) -> Result<Code> {
    if args.as_is || args.frame || args.show {
        let setting = if args.as_is {
            "as-is"
        } else if args.frame {
            "frame"
        } else {
            "show"
        };
        return Err(Error::setting(setting, "this model reads rows of a table, not images", "leave it out"));
    }
    check_decision(args, &model.spec, schema)?;
    let (network, workers) = Network::open(args, model)?;
    let names: Vec<String> = args.files.iter().map(|file| file.display().to_string()).collect();
    let files = syva::tables::files(&names)?;
    let format = Format::of(args)?;
    let added = added(&model.spec, schema);
    let options = tables::options_for(schema, &args.read, &args.model);
    // Only Parquet has to know what the other columns hold.
    let only = match format {
        Format::Csv | Format::Json => schema.features.iter().map(|feature| feature.column.clone()).collect(),
        Format::Parquet => Vec::new(),
    };
    let (threshold, temperature) = (args.threshold, args.temperature);
    let predicting = Predicting { spec: &model.spec, schema, network, file, added, format, threshold, temperature };
    let mut written = Written { columns: None, unseen: BTreeMap::new(), rows: 0, parquet: None };
    let mut all = |to: &mut dyn Write| -> Result<()> {
        let mut write = |bytes: &[u8]| {
            to.write_all(bytes).map_err(Error::io("write", args.out.as_deref().unwrap_or(Path::new("-"))))
        };
        let reading = Reading { files: files.iter(), options: &options, only: &only, parts: None, rows: 0 };
        in_order(workers, reading, |given| predicting.part(given), |done| write(&written.next(&predicting, done)?))?;
        write(&written.end()?)
    };
    super::write_out(args.out.as_deref(), &["csv", "parquet"], &mut all)?;
    for (column, (cells, example)) in &written.unseen {
        let (have, cells) = (if *cells == 1 { "has" } else { "have" }, output::count(*cells as u64, "cell"));
        output::note(format_args!(
            "syva: column '{column}': {cells} {have} a text {}, such as '{example}'",
            predicting.schema.why_unseen(column)
        ));
    }
    if let Some(out) = &args.out {
        output::note(format_args!("syva: wrote {} rows to {}", grouped(written.rows as u64), out.display()));
    }
    Ok(0)
}

/// Checks that a threshold and a temperature are possible, and that the model has what they are for.
fn check_decision(args: &PredictArgs, spec: &Spec, schema: &Schema) -> Result<()> {
    if let Some(threshold) = args.threshold {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(Error::setting("threshold", format!("{threshold} is no probability"), "give one from 0 to 1"));
        }
        let has_two = matches!(schema.target, Target::Classes { .. }) && spec.classes() == 2;
        if !has_two && !matches!(schema.target, Target::Labels { .. }) {
            return Err(Error::setting("threshold", "this model does not predict one of two classes", "leave it out"));
        }
    }
    if let Some(temperature) = args.temperature {
        if !(temperature.is_finite() && temperature > 0.0) {
            let problem = format!("{temperature} is no temperature");
            return Err(Error::setting("temperature", problem, "give a number above 0"));
        }
        if !matches!(schema.target, Target::Classes { .. }) {
            return Err(Error::setting("temperature", "this model does not predict classes", "leave it out"));
        }
    }
    Ok(())
}

/// Does `work` for all items on so many threads, and `finish` with the results in order on the calling thread. Ends at the
/// first error. Items are taken as they are needed, on a thread of their own.
fn in_order<T: Send, U: Send>(
    workers: usize,
    items: impl Iterator<Item = Result<T>> + Send,
    work: impl Fn(T) -> Result<U> + Sync,
    mut finish: impl FnMut(U) -> Result<()>,
) -> Result<()> {
    type Waiting<T, U> = (T, SyncSender<Result<U>>);
    std::thread::scope(|scope| {
        let (order, results) = sync_channel::<Receiver<Result<U>>>(workers);
        let (give, given) = sync_channel::<Waiting<T, U>>(1);
        scope.spawn(move || {
            for item in items {
                let (done, result) = sync_channel(1);
                // Nobody listens any more after an error.
                let is_over = order.send(result).is_err()
                    || match item {
                        Ok(item) => give.send((item, done)).is_err(),
                        Err(error) => done.send(Err(error)).is_err(),
                    };
                if is_over {
                    break;
                }
            }
        });
        let given = std::sync::Arc::new(Mutex::new(given));
        for _ in 0..workers {
            let (given, work) = (given.clone(), &work);
            scope.spawn(move || {
                loop {
                    // A statement of its own, so that the lock is not held during the work.
                    let next = given.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((item, done)) = next else { break };
                    let _ = done.send(work(item));
                }
            });
        }
        drop(given);
        for result in results {
            // A worker that has panicked says so when its thread is joined.
            let Ok(result) = result.recv() else { break };
            finish(result?)?;
        }
        Ok(())
    })
}

/// What predicts.
enum Network {
    /// The processor, for all threads at once.
    Processor(Box<Predictor>),
    /// Another device, for one thread at a time.
    Device(Mutex<Box<dyn Session>>),
}

impl Network {
    /// The network, and how many threads may use it.
    fn open(args: &PredictArgs, model: &Model) -> Result<(Self, usize)> {
        let (engine, device) = args.on.engine()?;
        let workers = args.on.threads.unwrap_or(usize::MAX).clamp(1, threads::cores());
        Ok(if device.engine == "cpu" {
            (Self::Processor(Predictor::new(model)?.with_threads(1).into()), workers)
        } else {
            (Self::Device(Mutex::new(model.open(engine.as_ref(), &device, &Training::default())?)), workers)
        })
    }

    fn predict(&self, inputs: &Inputs, spec: &Spec) -> Result<Matrix> {
        match self {
            Self::Processor(predictor) => predictor.predict(inputs),
            Self::Device(session) => {
                let mut outputs = Matrix::zeros(inputs.len() / spec.input.features, spec.outputs());
                session.lock().unwrap_or_else(PoisonError::into_inner).predict(inputs, &mut outputs)?;
                Ok(outputs)
            }
        }
    }
}

/// The parts of all files.
struct Reading<'a> {
    files: std::slice::Iter<'a, PathBuf>,
    options: &'a ReadOptions,
    /// The columns to parse; all if there are none.
    only: &'a [String],
    parts: Option<(&'a Path, Parts)>,
    /// Rows so far.
    rows: usize,
}

/// A part that is to be predicted.
struct Given<'a> {
    path: &'a Path,
    part: Part,
    /// The rows of all files before it.
    before: usize,
}

impl<'a> Iterator for Reading<'a> {
    type Item = Result<Given<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((path, parts)) = &mut self.parts
                && let Some(part) = parts.next()
            {
                return Some(part.map(|part| {
                    let before = self.rows;
                    self.rows += part.table.rows();
                    Given { path, part, before }
                }));
            }
            let path = self.files.next()?;
            match syva::tables::parts(path, self.options) {
                Ok(parts) => self.parts = Some((path, parts.only(self.only.to_vec()))),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// What all parts have in common.
struct Predicting<'a> {
    spec: &'a Spec,
    schema: &'a Schema,
    network: Network,
    /// The model's file.
    file: &'a Path,
    /// The names of the columns that are added.
    added: Vec<String>,
    format: Format,
    /// The probability from which on the second of two classes, or a label, is predicted.
    threshold: Option<f64>,
    temperature: Option<f64>,
}

/// A part that is predicted.
struct Done<'a> {
    path: &'a Path,
    /// The columns of its file.
    columns: Vec<String>,
    rows: usize,
    unseen: Vec<(String, usize, String)>,
    rest: Formatted,
}

/// The rows of a part, formatted.
enum Formatted {
    /// As bytes of the file.
    Bytes(Vec<u8>),
    /// As a table, for Parquet.
    Table(Table),
}

/// What is known of the parts that were written.
struct Written {
    /// The columns of the first part.
    columns: Option<Vec<String>>,
    /// Texts that turn no input on, by column: how many cells, and one of them.
    unseen: BTreeMap<String, (usize, String)>,
    rows: usize,
    /// From the first part on.
    parquet: Option<Box<ParquetWriter>>,
}

impl Written {
    /// The bytes of the next part in the file.
    fn next(&mut self, predicting: &Predicting<'_>, done: Done<'_>) -> Result<Vec<u8>> {
        let mut header = Vec::new();
        match &self.columns {
            None => {
                if let Some(name) = done.columns.iter().find(|name| predicting.added.contains(name)) {
                    let problem = format!("the table already has a column '{name}'");
                    let remedy = "rename it, so that the prediction can have this name";
                    return Err(Error::file(done.path, "the table", problem, remedy));
                }
                if matches!(predicting.format, Format::Csv) {
                    write_row(&mut header, done.columns.iter().chain(&predicting.added).map(String::as_str));
                }
                self.columns = Some(done.columns);
            }
            Some(before) if *before != done.columns => {
                let (columns, before) = (done.columns.join(", "), before.join(", "));
                let problem = format!("its columns are {columns}, and those before were {before}");
                return Err(Error::file(
                    done.path,
                    "the table",
                    problem,
                    "predict files of different columns one by one",
                ));
            }
            Some(_) => {}
        }
        for (column, count, example) in done.unseen {
            let (all, _) = self.unseen.entry(column).or_insert((0, example));
            *all += count;
        }
        self.rows += done.rows;
        match done.rest {
            Formatted::Bytes(bytes) if header.is_empty() => Ok(bytes),
            Formatted::Bytes(bytes) => Ok([header, bytes].concat()),
            Formatted::Table(table) => {
                let writer = match &mut self.parquet {
                    Some(writer) => writer,
                    None => self.parquet.insert(Box::new(ParquetWriter::new(&table)?)),
                };
                writer.part(&table).map_err(|error| in_table(done.path, error))
            }
        }
    }

    /// The end of the file.
    fn end(&mut self) -> Result<Vec<u8>> {
        self.parquet.take().map_or_else(|| Ok(Vec::new()), |writer| writer.finish())
    }
}

/// An error of a part is one of its file.
fn in_table(path: &Path, error: Error) -> Error {
    match error {
        Error::Mismatch { problem, remedy } => Error::file(path, "the table", problem, remedy),
        other => other,
    }
}

/// How rows are written.
#[derive(Clone, Copy)]
enum Format {
    Csv,
    Json,
    Parquet,
}

impl Format {
    fn of(args: &PredictArgs) -> Result<Self> {
        let ending = match &args.out {
            Some(out) => {
                output::check_out("out", out)?;
                output::check_ending("out", out, &["csv", "parquet"])?
            }
            None => "csv",
        };
        Ok(match ending {
            "parquet" if args.json => {
                let problem = "a .parquet file holds no JSON";
                return Err(Error::setting("json", problem, "leave it out, or leave --out out"));
            }
            "parquet" => Self::Parquet,
            _ if args.json => Self::Json,
            _ => Self::Csv,
        })
    }
}

impl<'a> Predicting<'a> {
    /// Predicts and formats the rows of a part.
    fn part(&self, given: Given<'a>) -> Result<Done<'a>> {
        let Given { path, part, before } = given;
        let (rows, columns) = (part.table.rows(), part.names().into_iter().map(String::from).collect());
        let encoded = self.schema.encode(&part.table).map_err(|error| in_table(path, error))?;
        let outputs = self.network.predict(&encoded.inputs, self.spec)?;
        if outputs.values().iter().any(|value| !value.is_finite()) {
            let problem = "its outputs are not finite, because its weights are too large";
            return Err(Error::file(self.file, "the model", problem, "train it again with a smaller learning rate"));
        }
        let decode = Decoder::of(self.spec);
        let found = |row: usize| self.found(decode, outputs.row(row));
        let mut bytes = Vec::new();
        let rest = match self.format {
            Format::Csv => {
                part.write(&mut bytes, |row, to| {
                    for cell in found(row) {
                        to.push(b',');
                        cell.write(to);
                    }
                });
                Formatted::Bytes(bytes)
            }
            Format::Json => {
                for row in 0..rows {
                    let found = self.added.iter().cloned().zip(found(row).into_iter().map(Found::json));
                    let mut object: serde_json::Map<String, serde_json::Value> = found.collect();
                    object.insert("row".into(), (before + row + 1).into());
                    bytes.extend_from_slice(serde_json::Value::Object(object).to_string().as_bytes());
                    bytes.push(b'\n');
                }
                Formatted::Bytes(bytes)
            }
            Format::Parquet => {
                let predicted: Vec<Vec<Found<'_>>> = (0..rows).map(found).collect();
                let has_classes = matches!(self.schema.target, Target::Classes { .. });
                let table = with_predictions(part.table, &self.added, &predicted, has_classes);
                Formatted::Table(table.map_err(|error| in_table(path, error))?)
            }
        };
        Ok(Done { path, columns, rows, unseen: encoded.unseen, rest })
    }

    /// What is added to a row.
    fn found(&self, decode: Decoder<'_>, outputs: &[f32]) -> Vec<Found<'a>> {
        match &self.schema.target {
            Target::Classes { classes, .. } => {
                let mut probabilities = probabilities(self.spec.head, outputs);
                if let Some(temperature) = self.temperature {
                    at_temperature(&mut probabilities, temperature);
                }
                let class = match self.threshold {
                    Some(threshold) => &classes[usize::from(probabilities[1] >= threshold)],
                    None => &classes[first_largest(&probabilities)],
                };
                [Found::Text(class)].into_iter().chain(probabilities.into_iter().map(Found::Number)).collect()
            }
            Target::Labels { .. } => probabilities(self.spec.head, outputs)
                .into_iter()
                .flat_map(|p| {
                    let has = self.threshold.map_or(p > 0.5, |threshold| p >= threshold);
                    [Found::Number(f64::from(u8::from(has))), Found::Number(p)]
                })
                .collect(),
            Target::Values { .. } => {
                let deviations = decode.deviations(outputs).unwrap_or_default();
                decode.values(outputs).into_iter().chain(deviations).map(Found::Number).collect()
            }
        }
    }
}

/// The names of the columns that are added.
fn added(spec: &Spec, schema: &Schema) -> Vec<String> {
    match &schema.target {
        Target::Classes { classes, .. } => {
            let probabilities = classes.iter().map(|class| format!("probability:{class}"));
            ["prediction".to_string()].into_iter().chain(probabilities).collect()
        }
        Target::Labels { columns } => {
            columns.iter().flat_map(|label| [format!("prediction:{label}"), format!("probability:{label}")]).collect()
        }
        Target::Values { columns } => {
            let each = |what: &str| match &columns[..] {
                [_] => vec![what.to_string()],
                _ => columns.iter().map(|target| format!("{what}:{}", target.column)).collect(),
            };
            let mut names = each("prediction");
            if spec.head == Head::Gaussian {
                names.extend(each("deviation"));
            }
            names
        }
    }
}

/// A predicted cell.
enum Found<'a> {
    Text(&'a str),
    Number(f64),
}

impl Found<'_> {
    /// Numbers come from f32 and need no more digits.
    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_cell(to, text),
            Self::Number(number) => write_number(to, *number as f32),
        }
    }

    fn json(self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.into(),
        }
    }
}

/// A table with further columns: numbers, but the first is the name of a class if there are classes.
fn with_predictions(table: Table, names: &[String], rows: &[Vec<Found<'_>>], has_classes: bool) -> Result<Table> {
    let column = |(place, name): (usize, &String)| {
        let cells = || rows.iter().map(|row| &row[place]);
        let values = if has_classes && place == 0 {
            Values::texts(cells().map(|cell| match cell {
                Found::Text(text) => Some(*text),
                Found::Number(_) => None,
            }))
        } else {
            Values::Numbers(
                cells()
                    .map(|cell| match cell {
                        Found::Number(number) => *number,
                        Found::Text(_) => f64::NAN,
                    })
                    .collect(),
            )
        };
        Column::new(name.as_str(), values)
    };
    Table::new(table.into_columns().into_iter().chain(names.iter().enumerate().map(column)).collect())
}
