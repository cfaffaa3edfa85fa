//! Tables from files: what flags say of them, and how they are opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use syva::data::source::Source;
use syva::data::tabular::{self, TableConfig, Tables};
use syva::data::{Dataset, Task, Validation};
use syva::names::unknown;
use syva::run::read_config;
use syva::schema::{Kind, Profile, Schema, TableOptions, profile};
use syva::table::{ReadOptions, Table};
use syva::text::{grouped, number};
use syva::{Error, Result};

use crate::data::{Talk, absolute};
use crate::output;

/// What `--data` names: a set that has a name, a place with images, or files of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataArg {
    /// A named set.
    Named(Source),
    /// A folder, or an IDX file.
    Images(PathBuf),
    /// Files, or patterns of files' names.
    Table(Names),
}

impl FromStr for DataArg {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if let Ok(source) = text.parse() {
            return Ok(Self::Named(source));
        }
        if syva::tables::images::is_place(Path::new(text)) {
            return Ok(Self::Images(text.into()));
        }
        // A name without any mark of a path is a name, unless there is such a file.
        let is_path = text == "-" || text.contains(['.', '/', '\\', '*', '?']) || Path::new(text).exists();
        if !is_path {
            let names: Vec<&str> = Source::NAMES.iter().map(|(name, _)| *name).collect();
            return Err(match unknown("data", text, &names) {
                Error::Setting { setting, problem, remedy } => Error::Setting {
                    setting,
                    problem,
                    remedy: format!("{remedy}, or the file of a table, or a folder of images"),
                },
                other => other,
            });
        }
        // A file's own name may have a comma.
        Ok(Self::Table(if Path::new(text).exists() { Names(vec![text.into()]) } else { text.parse()? }))
    }
}

impl Default for DataArg {
    fn default() -> Self {
        Self::Named(Source::Auto)
    }
}

/// A list of names: of columns, of files. On the command line commas separate them, and a name that has one is in double
/// quotes; in a file it can be an array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl FromStr for Names {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let mut names = vec![String::new()];
        let mut quoted = false;
        for sign in text.chars() {
            match (sign, quoted, names.last_mut()) {
                ('"', ..) => quoted = !quoted,
                (',', false, _) => names.push(String::new()),
                (_, _, Some(name)) => name.push(sign),
                (_, _, None) => {}
            }
        }
        let names: Vec<String> = names.into_iter().map(|name| name.trim().to_string()).collect();
        if quoted {
            let problem = format!("in '{text}' a double quote is not closed");
            return Err(Error::setting("names", problem, "write names with commas as \"income, net\""));
        }
        if names.iter().any(String::is_empty) {
            let problem = format!("'{text}' has an empty name");
            return Err(Error::setting("names", problem, "write names separated by commas, such as age,income"));
        }
        Ok(Self(names))
    }
}

/// A list of texts in a settings file: an array, or one text with commas.
pub fn list_from_file<'de, D: Deserializer<'de>, T: From<Names> + FromStr<Err = Error>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::Array(values) => {
            let names = values.into_iter().map(|value| match value {
                toml::Value::String(text) => text,
                other => other.to_string(),
            });
            Ok(Some(T::from(Names(names.collect()))))
        }
        toml::Value::String(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
        other => other.to_string().parse().map(Some).map_err(serde::de::Error::custom),
    }
}

impl From<Names> for DataArg {
    fn from(names: Names) -> Self {
        Self::Table(names)
    }
}

/// The rows that are set aside: a part of the others, or files of their own.
#[derive(Clone, Debug, PartialEq)]
pub enum PartArg {
    /// A part.
    Part(Validation),
    /// Files.
    Files(Names),
}

impl FromStr for PartArg {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text.parse() {
            Ok(part) => Ok(Self::Part(part)),
            Err(_) if Path::new(text).exists() => Ok(Self::Files(Names(vec![text.into()]))),
            // Numbers have a point, too.
            Err(_) if !text.starts_with(|c: char| c.is_ascii_digit()) && text.contains(['.', '/', '\\', '*']) => {
                Ok(Self::Files(text.parse()?))
            }
            Err(error) => Err(error),
        }
    }
}

/// A single character, by itself or by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub char);

impl FromStr for Mark {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let mut characters = text.chars();
        match (text, characters.next(), characters.next()) {
            ("tab" | "\\t", ..) => Ok(Self('\t')),
            ("comma", ..) => Ok(Self(',')),
            ("semicolon", ..) => Ok(Self(';')),
            ("blank" | "space", ..) => Ok(Self(' ')),
            (_, Some(one), None) if one.is_ascii() && !one.is_ascii_alphanumeric() && one != '"' => Ok(Self(one)),
            _ => {
                let problem = format!("'{text}' is no character that separates");
                Err(Error::setting("delimiter", problem, "give one such as , or ; or tab"))
            }
        }
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct YesNo(pub bool);

impl FromStr for YesNo {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(Self(true)),
            "no" | "false" => Ok(Self(false)),
            _ => Err(Error::setting("header", format!("'{text}' is neither yes nor no"), "write yes or no")),
        }
    }
}

/// How a file of a table is read, as far as flags say it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ReadArgs {
    /// What separates the cells of a table's rows: a character, or tab [default: found out]
    #[arg(long, value_name = "CHARACTER", value_parser = crate::values::flag::<Mark>)]
    pub delimiter: Option<Mark>,
    /// Whether the first row of a table has the names of its columns: yes or no [default: found out]
    #[arg(long, value_name = "YES|NO", value_parser = crate::values::flag::<YesNo>)]
    pub header: Option<YesNo>,
    /// What separates the fraction of numbers: . or , [default: found out]
    #[arg(long, value_name = "CHARACTER", value_parser = crate::values::flag::<Mark>)]
    pub decimal: Option<Mark>,
    /// Encoding of a table's text, such as windows-1252 [default: utf-8, or as its first bytes say]
    #[arg(long, value_name = "NAME")]
    pub encoding: Option<String>,
    /// Texts that mean that a value is missing, beside empty cells [default: ?, NA, NaN, null and the like]
    #[arg(long, value_name = "TEXTS", value_parser = crate::values::flag::<Names>)]
    pub missing: Option<Names>,
}

impl ReadArgs {
    /// The options.
    pub fn options(&self) -> ReadOptions {
        ReadOptions {
            delimiter: self.delimiter.map(|mark| mark.0),
            header: self.header.map(|header| header.0),
            decimal: self.decimal.map(|mark| mark.0),
            encoding: self.encoding.clone(),
            missing: self.missing.clone().map(|names| names.0),
            ..ReadOptions::default()
        }
    }
}

/// What a table is called: by the name of its first file, without what says its format.
pub fn name_of(files: &[PathBuf]) -> String {
    let name = files.first().and_then(|file| file.file_name()).map(|name| name.to_string_lossy().into_owned());
    let name = name.filter(|name| name != "-").unwrap_or_else(|| "table".into());
    let mut stem = name.as_str();
    while let Some((before, ending)) = stem.rsplit_once('.') {
        if before.is_empty()
            || !matches!(
                ending,
                "gz" | "zst" | "csv" | "tsv" | "txt" | "data" | "parquet" | "npz" | "npy" | "safetensors"
            )
        {
            break;
        }
        stem = before;
    }
    // The name becomes that of a folder.
    let fits = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let plain: String = stem.chars().map(fits).collect();
    if plain.trim_matches(['-', '.']).is_empty() { "table".into() } else { plain }
}

/// The files that a list names, as absolute paths.
pub fn files(names: &Names) -> Result<Vec<PathBuf>> {
    let found = syva::tables::files(&names.0)?;
    found
        .into_iter()
        .map(|file| if file.as_os_str() == "-" { Ok(file) } else { Ok(absolute(Some(file))?.unwrap_or_default()) })
        .collect()
}

/// A table as it was opened: the task, and what makes it again.
pub struct Opened {
    pub task: Task,
    pub config: TableConfig,
    /// Sentences about what was found out.
    pub notes: Vec<String>,
}

/// Opens the files, fits a schema, and says what was found out.
pub fn open(mut config: TableConfig, validation: Option<Validation>, talk: Talk) -> Result<Opened> {
    let columns = &config.columns;
    let texts = columns.categorical.iter().chain(&columns.group).cloned();
    let mut options = config.read.clone();
    options.texts.extend(texts);
    options.texts.sort();
    options.texts.dedup();
    options.numbers.extend(columns.numeric.iter().cloned());
    options.numbers.sort();
    options.numbers.dedup();
    let (train, found) = syva::tables::read(&config.files, &options)?;
    // What is read with it must be of the same kinds.
    let mut others = found.clone();
    for column in train.columns() {
        match column.values {
            syva::table::Values::Texts(_) => others.texts.push(column.name.clone()),
            syva::table::Values::Numbers(_) => others.numbers.push(column.name.clone()),
        }
    }
    let read = |files: &[PathBuf]| -> Result<Option<Table>> {
        if files.is_empty() { Ok(None) } else { Ok(Some(syva::tables::read(files, &others)?.0)) }
    };
    let tables = Tables { validation: read(&config.validation_files)?, test: read(&config.test_files)?, train };
    config.read = found;
    let rows = tables.train.rows();
    let name = name_of(&config.files);
    let (task, notes) = tabular::task(&name, tables, &config, validation)?;
    if talk != Talk::Nothing {
        if let Some(schema) = &task.schema {
            let columns = output::count(schema.features.len() as u64, "column");
            let inputs = output::count(schema.inputs() as u64, "input");
            output::note(format_args!(
                "syva: {name}: {} rows; {inputs} from {columns}; {}",
                grouped(rows as u64),
                Goal(schema)
            ));
        }
        for note in &notes {
            output::note(format_args!("syva: {note}"));
        }
    }
    Ok(Opened { task, config, notes })
}

/// The task in words.
struct Goal<'a>(&'a Schema);

impl fmt::Display for Goal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use syva::schema::Target;
        match &self.0.target {
            Target::Classes { column, classes } => {
                let shown: Vec<&str> = classes.iter().take(6).map(String::as_str).collect();
                let more = if classes.len() > shown.len() { ", …" } else { "" };
                write!(f, "'{column}' is one of {} classes ({}{more})", classes.len(), shown.join(", "))
            }
            Target::Values { columns } => {
                let names: Vec<String> = columns.iter().map(|target| format!("'{}'", target.column)).collect();
                let is = if names.len() == 1 { "is a number" } else { "are numbers" };
                write!(f, "{} {is}", names.join(", "))
            }
            Target::Labels { columns } => write!(f, "{} labels: {}", columns.len(), columns.join(", ")),
        }
    }
}

/// The rows of a table as samples of a network that was trained with this schema.
pub fn dataset(schema: &Schema, names: &Names, read: &ReadArgs, weight: Option<&str>, model: &Path) -> Result<Dataset> {
    let options = options_for(schema, read, model);
    let files = syva::tables::files(&names.0)?;
    let (table, _) = syva::tables::read(&files, &options)?;
    tabular::dataset(schema, &table, weight).map_err(|error| match (error, files.first()) {
        // Several files have the same columns.
        (Error::Mismatch { problem, remedy }, Some(file)) => Error::file(file, "the table", problem, remedy),
        (other, _) => other,
    })
}

/// How rows are read for a model: what is missing is so by the texts that were so in its training, unless others are given.
pub fn options_for(schema: &Schema, read: &ReadArgs, model: &Path) -> ReadOptions {
    let given = read.options();
    let folder = if model.is_dir() { Some(model) } else { model.parent() };
    let of_run = || {
        // One model of several networks lies beside their runs.
        let folder = folder?;
        let config = [folder.to_path_buf(), folder.join("fold-1")].iter().find_map(|run| read_config(run).ok())?;
        config.data.table?.read.missing
    };
    let missing = given.missing.clone().or_else(of_run);
    ReadOptions { texts: schema.texts(), numbers: schema.numbers(), missing, ..given }
}

/// Opens the table of a run again. Its files may have moved, but its digest says whether they are the same.
pub fn open_of_run(run: &Path, config: &TableConfig, validation: Validation) -> Result<Task> {
    let problem = match &config.files[..] {
        [] => Some("the table was in the memory of another program"),
        files if files.iter().any(|file| file.as_os_str() == "-") => Some("the table was read from standard input"),
        _ => None,
    };
    if let Some(problem) = problem {
        return Err(Error::file(
            run.join("config.toml"),
            "data.table",
            problem,
            "name a file with --data, in a new run",
        ));
    }
    Ok(open(config.clone(), Some(validation), Talk::Nothing)?.task)
}

/// Prints what the columns of a table are.
pub fn info(names: &Names, target: Names, read: &ReadArgs, json: bool) -> Result<()> {
    let files = syva::tables::files(&names.0)?;
    let (table, found) = syva::tables::read(&files, &read.options())?;
    let options = TableOptions { target: target.0, ..TableOptions::default() };
    let profiles = profile(&table, &options)?;
    if json {
        output::json(serde_json::json!({
            "files": files, "rows": table.rows(), "read": found, "columns": profiles,
        }));
        return Ok(());
    }
    let kind = |found: &Profile| match found.kind {
        Kind::Number if found.may_be_category() => "number, or category".to_string(),
        Kind::Number => "number".into(),
        Kind::Category => "category".into(),
        Kind::Date(format) => format!("date, like {format}"),
        Kind::Target => "target".into(),
        Kind::Weight => "weight".into(),
        Kind::Group => "group".into(),
        Kind::LeftOut(reason) => format!("left out: {}", reason.reason()),
    };
    let rows: Vec<[String; 6]> = profiles
        .iter()
        .map(|found| {
            let more = if found.distinct > Profile::MOST { "> " } else { "" };
            [
                output::short(&found.column),
                kind(found),
                if found.missing > 0 { grouped(found.missing as u64) } else { "-".into() },
                format!("{more}{}", grouped(found.distinct.min(Profile::MOST) as u64)),
                found.range.map_or("-".into(), |(low, high)| format!("{} … {}", number(low), number(high))),
                found.example.as_deref().map_or("-".into(), output::short),
            ]
        })
        .collect();
    let heading = ["column", "kind", "missing", "distinct", "range", "example"];
    let width = |k: usize| rows.iter().map(|row| row[k].chars().count()).chain([heading[k].len()]).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |cells: [&str; 6]| {
        let [name, kind, missing, distinct, range, example] = cells;
        let [a, b, c, d, e, _] = widths;
        format!("{name:<a$}  {kind:<b$}  {missing:>c$}  {distinct:>d$}  {range:<e$}  {example}").trim_end().to_string()
    };
    let mut text = format!(
        "{}: {} rows, {}\n",
        name_of(&files),
        grouped(table.rows() as u64),
        output::count(rows.len() as u64, "column")
    );
    text += &format!("{}\n", line(heading));
    for row in &rows {
        text += &format!("{}\n", line(std::array::from_fn(|k| row[k].as_str())));
    }
    if profiles.iter().any(Profile::may_be_category) {
        text += "few whole numbers are taken as numbers; --categorical NAME makes them categories\n";
    }
    for doubt in profiles.iter().filter_map(|found| found.doubt.as_deref()) {
        text += &format!("{doubt}\n");
    }
    output::print(&text);
    Ok(())
}
