//! `syva predict` for a table: the same rows, with what is predicted of each in further columns.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use syva::schema::{Schema, Target};
use syva::table::{Column, Table, Values};
use syva::tables::ParquetWriter;
use syva::text::grouped;
use syva::{Decoder, Error, Head, Matrix, Model, Result, Session, Spec, Training, first_largest, probabilities};

use crate::args::PredictArgs;
use crate::{output, tables};

/// Predicts every row of the files.
pub fn predict(args: &PredictArgs, file: &Path, model: &Model, schema: &Schema) -> Result<ExitCode> {
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
    let (engine, device) = args.on.engine()?;
    let mut session = model.open(engine.as_ref(), &device, &Training::default())?;
    let names: Vec<String> = args.files.iter().map(|file| file.display().to_string()).collect();
    let files = syva::tables::files(&names)?;
    let options = tables::options_for(schema, &args.read, &args.model);
    let mut predicting = Predicting {
        spec: &model.spec,
        schema,
        session: session.as_mut(),
        file,
        unseen: BTreeMap::new(),
        rows: 0,
        columns: None,
        format: Format::of(args)?,
    };
    let mut all = |to: &mut dyn Write| -> Result<()> {
        for path in &files {
            for part in syva::tables::parts(path, &options)? {
                let part = part?;
                let bytes = predicting.part(&part).map_err(|error| match error {
                    Error::Mismatch { problem, remedy } => Error::file(path, "the table", problem, remedy),
                    other => other,
                })?;
                to.write_all(&bytes).map_err(Error::io("write", args.out.as_deref().unwrap_or(Path::new("-"))))?;
            }
        }
        to.write_all(&predicting.end()?).map_err(Error::io("write", args.out.as_deref().unwrap_or(Path::new("-"))))
    };
    super::write_out(args.out.as_deref(), &["csv", "parquet"], &mut all)?;
    for (column, (cells, example)) in &predicting.unseen {
        let (have, cells) = (if *cells == 1 { "has" } else { "have" }, output::count(*cells as u64, "cell"));
        output::note(format_args!(
            "syva: column '{column}': {cells} {have} a text {}, such as '{example}'",
            predicting.schema.why_unseen(column)
        ));
    }
    if let Some(out) = &args.out {
        output::note(format_args!("syva: wrote {} rows to {}", grouped(predicting.rows as u64), out.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is known while the parts of a table come.
struct Predicting<'a> {
    spec: &'a Spec,
    schema: &'a Schema,
    session: &'a mut dyn Session,
    /// The model's file.
    file: &'a Path,
    /// Texts that turn no input on, by column: how many cells, and one of them.
    unseen: BTreeMap<String, (usize, String)>,
    rows: usize,
    /// The columns of the first part.
    columns: Option<Vec<String>>,
    format: Format,
}

/// How rows are written.
enum Format {
    Csv,
    Json,
    /// From the first part on.
    Parquet(Option<Box<ParquetWriter>>),
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
            "parquet" => Self::Parquet(None),
            _ if args.json => Self::Json,
            _ => Self::Csv,
        })
    }
}

impl Predicting<'_> {
    /// The rows of a part, with their predictions, as the bytes of the file.
    fn part(&mut self, table: &Table) -> Result<Vec<u8>> {
        let encoded = self.schema.encode(table)?;
        for (column, count, example) in encoded.unseen {
            let (all, _) = self.unseen.entry(column).or_insert((0, example));
            *all += count;
        }
        let mut outputs = Matrix::zeros(table.rows(), self.spec.outputs());
        if table.rows() > 0 {
            let inputs = encoded.inputs.rows(0..table.rows(), self.schema.inputs()).into_owned();
            self.session.predict(&Matrix::new(table.rows(), self.schema.inputs(), inputs)?, &mut outputs)?;
        }
        let names: Vec<String> = table.columns().iter().map(|column| column.name.clone()).collect();
        let added = self.added();
        let mut text = String::new();
        match &self.columns {
            None => {
                if let Some(name) = names.iter().find(|name| added.contains(name)) {
                    let problem = format!("the table already has a column '{name}'");
                    return Err(Error::mismatch(problem, "rename it, so that the prediction can have this name"));
                }
                if matches!(self.format, Format::Csv) {
                    write_row(&mut text, names.iter().chain(&added).map(String::as_str));
                }
                self.columns = Some(names);
            }
            Some(before) if *before != names => {
                let problem =
                    format!("its columns are {}, and those before were {}", names.join(", "), before.join(", "));
                return Err(Error::mismatch(problem, "predict files of different columns one by one"));
            }
            Some(_) => {}
        }
        let mut predicted = Vec::new();
        for row in 0..table.rows() {
            if outputs.row(row).iter().any(|value| !value.is_finite()) {
                let problem = "its outputs are not finite, because its weights are too large";
                return Err(Error::file(
                    self.file,
                    "the model",
                    problem,
                    "train it again with a smaller learning rate",
                ));
            }
            let found = self.found(outputs.row(row));
            match self.format {
                Format::Csv => {
                    let cells = table.columns().iter().map(|column| column.cell(row));
                    let found: Vec<String> = found.into_iter().map(Found::text).collect();
                    write_cells(&mut text, cells, &found);
                }
                Format::Json => {
                    let found = added.iter().cloned().zip(found.into_iter().map(Found::json));
                    let mut object: serde_json::Map<String, serde_json::Value> = found.collect();
                    object.insert("row".into(), (self.rows + row + 1).into());
                    text += &serde_json::Value::Object(object).to_string();
                    text.push('\n');
                }
                Format::Parquet(_) => predicted.push(found),
            }
        }
        self.rows += table.rows();
        let Format::Parquet(writer) = &mut self.format else { return Ok(text.into_bytes()) };
        let has_classes = matches!(self.schema.target, Target::Classes { .. });
        let table = with_predictions(table, added, &predicted, has_classes)?;
        let writer = match writer {
            Some(writer) => writer,
            None => writer.insert(Box::new(ParquetWriter::new(&table)?)),
        };
        writer.part(&table)
    }

    /// The end of the file.
    fn end(&mut self) -> Result<Vec<u8>> {
        match &mut self.format {
            Format::Parquet(writer) => writer.take().map_or_else(|| Ok(Vec::new()), |writer| writer.finish()),
            Format::Csv | Format::Json => Ok(Vec::new()),
        }
    }

    /// The names of the columns that are added.
    fn added(&self) -> Vec<String> {
        match &self.schema.target {
            Target::Classes { classes, .. } => {
                let probabilities = classes.iter().map(|class| format!("probability:{class}"));
                ["prediction".to_string()].into_iter().chain(probabilities).collect()
            }
            Target::Labels { columns } => columns
                .iter()
                .flat_map(|label| [format!("prediction:{label}"), format!("probability:{label}")])
                .collect(),
            Target::Values { columns } => {
                let each = |what: &str| match &columns[..] {
                    [_] => vec![what.to_string()],
                    _ => columns.iter().map(|target| format!("{what}:{}", target.column)).collect(),
                };
                let mut names = each("prediction");
                if self.spec.head == Head::Gaussian {
                    names.extend(each("deviation"));
                }
                names
            }
        }
    }

    /// What is added to a row.
    fn found(&self, outputs: &[f32]) -> Vec<Found> {
        match &self.schema.target {
            Target::Classes { classes, .. } => {
                let probabilities = probabilities(self.spec.head, outputs);
                let class = classes[first_largest(&probabilities)].clone();
                [Found::Text(class)].into_iter().chain(probabilities.into_iter().map(Found::Number)).collect()
            }
            Target::Labels { .. } => probabilities(self.spec.head, outputs)
                .into_iter()
                .flat_map(|p| [Found::Number(f64::from(u8::from(p > 0.5))), Found::Number(p)])
                .collect(),
            Target::Values { .. } => {
                let decode = Decoder::of(self.spec);
                let deviations = decode.deviations(outputs).unwrap_or_default();
                decode.values(outputs).into_iter().chain(deviations).map(Found::Number).collect()
            }
        }
    }
}

/// A predicted cell.
enum Found {
    Text(String),
    Number(f64),
}

impl Found {
    /// Numbers come from f32 and need no more digits.
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => (number as f32).to_string(),
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
fn with_predictions(table: &Table, names: Vec<String>, rows: &[Vec<Found>], has_classes: bool) -> Result<Table> {
    let column = |(place, name): (usize, String)| {
        let cells = || rows.iter().map(|row| &row[place]);
        let values = if has_classes && place == 0 {
            Values::texts(cells().map(|cell| match cell {
                Found::Text(text) => Some(text.as_str()),
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
        Column::new(name, values)
    };
    Table::new(table.columns().iter().cloned().chain(names.into_iter().enumerate().map(column)).collect())
}

pub fn write_row<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (i, cell) in cells.enumerate() {
        if i > 0 {
            text.push(',');
        }
        write_cell(text, cell);
    }
    text.push('\n');
}

fn write_cells<'a>(
    text: &mut String,
    cells: impl Iterator<Item = Option<std::borrow::Cow<'a, str>>>,
    added: &[String],
) {
    let mut first = true;
    for cell in cells {
        if !std::mem::take(&mut first) {
            text.push(',');
        }
        write_cell(text, cell.as_deref().unwrap_or_default());
    }
    for cell in added {
        if !std::mem::take(&mut first) {
            text.push(',');
        }
        write_cell(text, cell);
    }
    text.push('\n');
}

/// A cell of a CSV file, in quotes if it has to be.
fn write_cell(text: &mut String, cell: &str) {
    let plain = !cell.contains([',', '"', '\n', '\r']) && cell.trim() == cell;
    if plain {
        text.push_str(cell);
    } else {
        text.push('"');
        text.push_str(&cell.replace('"', "\"\""));
        text.push('"');
    }
}
