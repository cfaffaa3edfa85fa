//! What makes a network's inputs and targets of a table's rows, fitted once to the training part of the table.
//!
//! A [`Schema`] is a part of the [`Spec`](crate::Spec), and so of every model file. Whoever predicts encodes rows with the
//! schema that the network was trained with. It stores names, never codes: columns are found by their names, and categories
//! by theirs. All its arithmetic is in f64, with operations that give the same bits everywhere, and is rounded once.

mod dates;
mod fit;
mod kinds;
mod quantiles;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::arithmetic::Number;
use crate::data::{Inputs, Mixed, Targets};
use crate::spec::names;
use crate::table::{Column, MISSING, Table, Values, number_text};
use crate::{Error, Result, memory};

pub use self::dates::{DateFormat, DatePart};
pub use self::fit::{Fitted, TableOptions};
pub(crate) use self::fit::{FoundOut, classes_of};
pub use self::kinds::{Kind, LeftOut, Profile, profile};
pub use self::quantiles::Quantiles;
pub(crate) use self::quantiles::sorted_quantile;

/// How a table's rows become inputs and targets.
///
/// ```
/// use syva_core::schema::{Schema, TableOptions};
/// use syva_core::table::{Column, Table, Values};
/// let table = Table::new(vec![
///     Column::new("size", Values::Numbers(vec![1.0, 3.0, 5.0, 7.0])),
///     Column::new("colour", Values::texts([Some("red"), Some("blue"), Some("green"), Some("red")])),
///     Column::new("kind", Values::texts([Some("a"), Some("b"), Some("a"), Some("b")])),
/// ])?;
/// let options = TableOptions { target: vec!["kind".into()], ..TableOptions::default() };
/// let schema = Schema::fit(&table, &table, &options)?.schema;
/// assert_eq!(schema.input_names(), ["size", "colour=blue", "colour=green", "colour=red"]);
/// let encoded = schema.encode(&table)?;
/// assert_eq!(encoded.inputs.rows(1..2, 4)[..], [-0.4472136, 1.0, 0.0, 0.0]); // the second row
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// The columns that are read, in the order of their inputs.
    pub features: Vec<Feature>,
    /// What is predicted.
    pub target: Target,
}

/// A column that is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// Its name.
    pub column: String,
    /// What becomes of its cells.
    #[serde(flatten)]
    pub encoding: Encoding,
}

/// What becomes of the cells of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Encoding {
    /// A number: one input, and another if values were missing in the training data.
    Number(NumberEncoding),
    /// One of two texts: one input.
    Binary {
        /// The texts.
        values: [String; 2],
        /// The input for the first, for the second, and for any other or none.
        levels: [f64; 3],
    },
    /// One of several texts: an input for each, of which at most one is on.
    Category {
        /// The texts. A text that is none of them turns no input on.
        values: Vec<String>,
        /// Whether a missing text is a category of its own, the last.
        missing: bool,
        /// For each input, its value when it is off, and when it is on. Empty for 0 and 1.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        levels: Vec<[f64; 2]>,
    },
    /// A date or a time: a number for each of its parts.
    Date {
        /// How it is written.
        format: DateFormat,
        /// The parts.
        parts: Vec<(DatePart, NumberEncoding)>,
    },
}

/// How a number becomes an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberEncoding {
    /// What stands for a missing number: the median of the training data.
    pub median: f64,
    /// How it is scaled.
    pub scaler: Scaler,
    /// For a column with missing values in the training data: an input that says whether the value is missing, by its
    /// value if it is not, and if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator: Option<[f64; 2]>,
}

/// How a number is scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaler {
    /// `(x − centre) · factor`, and then, if it is to be clipped smoothly, `y / √(1 + (y/3)²)`, which stays within ±3.
    Affine {
        /// The number that becomes 0.
        centre: f64,
        /// The factor.
        factor: f64,
        /// Whether large values are clipped.
        #[serde(default)]
        clip: bool,
    },
    /// The normal quantile of its rank.
    Quantiles(Quantiles),
}

impl Scaler {
    /// The scaled value.
    #[must_use]
    pub fn apply(&self, x: f64) -> f64 {
        match self {
            Self::Affine { centre, factor, clip } => {
                let y = (x - centre) * factor;
                if *clip { smooth_clip(y) } else { y }
            }
            Self::Quantiles(quantiles) => quantiles.to_normal(x),
        }
    }
}

/// `y / √(1 + (y/3)²)`: nearly y if it is small, and never beyond ±3.
pub(crate) fn smooth_clip(y: f64) -> f64 {
    let third = y / 3.0;
    // The square of a huge number is infinite, and the quotient would then be 0.
    if third.abs() > 1e100 { 3.0 * third.signum() } else { y / (1.0 + third * third).sqrt() }
}

/// How the columns of numbers are scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// To mean 0 and standard deviation 1 (`sklearn.preprocessing.StandardScaler`).
    #[default]
    Standard,
    /// By median and quartiles, clipped smoothly to ±3, inputs of categories too (RealMLP, arXiv 2407.04491).
    Robust,
    /// To a normal distribution, by rank (`sklearn.preprocessing.QuantileTransformer`).
    Quantile,
    /// Not at all.
    None,
}

names!(Scaling, "scaling", Standard = "standard", Robust = "robust", Quantile = "quantile", None = "none");

/// What is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Target {
    /// One of several classes.
    Classes {
        /// The column.
        column: String,
        /// The names, in the order of the labels.
        classes: Vec<String>,
    },
    /// Numbers.
    Values {
        /// The columns, in the order of the outputs.
        columns: Vec<ValueTarget>,
    },
    /// Any number of labels.
    Labels {
        /// The columns, each with 1 where its label is.
        columns: Vec<String>,
    },
}

/// A column of numbers that is predicted. A network learns `(t(y) − mean) / std`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueTarget {
    /// Its name.
    pub column: String,
    /// t.
    #[serde(default, skip_serializing_if = "Transform::is_none")]
    pub transform: Transform,
    /// The mean of t(y) over the training data, or 0.
    pub mean: f64,
    /// The standard deviation of t(y) over the training data, or 1.
    pub std: f64,
    /// The range that predictions are held to: the least and the largest value of the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

/// What a target goes through before it is standardised.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transform {
    /// Nothing.
    #[default]
    None,
    /// The natural logarithm.
    Log,
    /// The normal quantile of its rank.
    Quantiles(Quantiles),
}

impl Transform {
    fn is_none(&self) -> bool {
        *self == Self::None
    }

    fn apply(&self, y: f64) -> f64 {
        match self {
            Self::None => y,
            Self::Log => Number::log(y),
            Self::Quantiles(quantiles) => quantiles.to_normal(y),
        }
    }

    fn undo(&self, y: f64) -> f64 {
        match self {
            Self::None => y,
            Self::Log => Number::exp(y),
            Self::Quantiles(quantiles) => quantiles.from_normal(y),
        }
    }
}

/// The name of a [`Transform`], for settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetTransform {
    /// Targets are standardised only.
    #[default]
    None,
    /// The natural logarithm of the target. All values must be above 0.
    Log,
    /// To a normal distribution, by rank.
    Quantile,
}

names!(TargetTransform, "target-transform", None = "none", Log = "log", Quantile = "quantile");

/// What kind of target it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// Classes.
    Classification,
    /// Numbers.
    Regression,
    /// Labels, of which any number can be on.
    MultiLabel,
}

names!(TaskKind, "task", Classification = "classification", Regression = "regression", MultiLabel = "multi-label");

impl ValueTarget {
    /// What the network learns for the value y.
    #[must_use]
    pub fn encode(&self, y: f64) -> f64 {
        (self.transform.apply(y) - self.mean) / self.std
    }

    /// The value that an output means.
    #[must_use]
    pub fn decode(&self, output: f64) -> f64 {
        self.transform.undo(output * self.std + self.mean)
    }

    /// The prediction that an output means: the value, held to the range.
    #[must_use]
    pub fn predict(&self, output: f64) -> f64 {
        let value = self.decode(output);
        // NaN stays NaN.
        self.range.map_or(value, |[least, most]| {
            if value < least {
                least
            } else if value > most {
                most
            } else {
                value
            }
        })
    }
}

impl Target {
    /// The columns that it is in.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Self::Classes { column, .. } => vec![column],
            Self::Values { columns } => columns.iter().map(|target| target.column.as_str()).collect(),
            Self::Labels { columns } => columns.iter().map(String::as_str).collect(),
        }
    }
}

/// The rows of a table as inputs.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The inputs of all rows.
    pub inputs: Inputs,
    /// For each column with texts that turn no input on (see [`Schema::why_unseen`]): its name, how many cells have such a text, and one of
    /// them.
    pub unseen: Vec<(String, usize, String)>,
}

impl Encoding {
    /// The number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        match self {
            Self::Number(number) => number.inputs(),
            Self::Binary { .. } => 1,
            Self::Category { values, missing, .. } => values.len() + usize::from(*missing),
            Self::Date { parts, .. } => parts.iter().map(|(_, number)| number.inputs()).sum(),
        }
    }
}

impl NumberEncoding {
    fn inputs(&self) -> usize {
        1 + usize::from(self.indicator.is_some())
    }

    /// Writes the inputs of one value, which is NaN if it is missing.
    pub(crate) fn write(&self, x: f64, to: &mut [f32]) {
        let missing = x.is_nan();
        to[0] = self.scaler.apply(if missing { self.median } else { x }) as f32;
        if let Some(levels) = self.indicator {
            to[1] = levels[usize::from(missing)] as f32;
        }
    }
}

/// The most categories of a column. Rarer ones turn no input on.
const MOST_CATEGORIES: usize = 256;

impl Schema {
    /// The number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.features.iter().map(|feature| feature.encoding.inputs()).sum()
    }

    /// The names of the inputs: those of the columns, with the category, the part of the date, or "missing".
    #[must_use]
    pub fn input_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let number = |names: &mut Vec<String>, name: String, encoding: &NumberEncoding| {
            let missing = encoding.indicator.map(|_| format!("{name} missing"));
            names.extend([name].into_iter().chain(missing));
        };
        for Feature { column, encoding } in &self.features {
            match encoding {
                Encoding::Number(encoding) => number(&mut names, column.clone(), encoding),
                Encoding::Binary { values: [_, second], .. } => names.push(format!("{column}={second}")),
                Encoding::Category { values, missing, .. } => {
                    names.extend(values.iter().map(|value| format!("{column}={value}")));
                    names.extend(missing.then(|| format!("{column} missing")));
                }
                Encoding::Date { parts, .. } => {
                    for (part, encoding) in parts {
                        number(&mut names, format!("{column} {part}"), encoding);
                    }
                }
            }
        }
        names
    }

    /// The columns that a reader must take as texts, whatever they look like: those of categories, dates and classes.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self
            .features
            .iter()
            .filter(|feature| !matches!(feature.encoding, Encoding::Number(_)))
            .map(|feature| feature.column.clone())
            .collect();
        if let Target::Classes { column, .. } = &self.target {
            texts.push(column.clone());
        }
        texts
    }

    /// The columns that a reader must take as numbers.
    #[must_use]
    pub fn numbers(&self) -> Vec<String> {
        let is_number = |feature: &&Feature| matches!(feature.encoding, Encoding::Number(_));
        self.features.iter().filter(is_number).map(|feature| feature.column.clone()).collect()
    }

    /// What is said of a text of this column that turns no input on: that it is a text …
    #[must_use]
    pub fn why_unseen(&self, column: &str) -> &'static str {
        let is_full = |feature: &Feature| match &feature.encoding {
            Encoding::Category { values, .. } => feature.column == column && values.len() == MOST_CATEGORIES,
            _ => false,
        };
        if self.features.iter().any(is_full) {
            "that the training data did not have, or that was too rare there"
        } else {
            "that the training data did not have"
        }
    }

    /// The inputs of a table's rows. Columns are found by their names, in any order, and others are not looked at.
    ///
    /// # Errors
    /// If a column is missing, or a cell of a column of numbers is a text.
    pub fn encode(&self, table: &Table) -> Result<Encoded> {
        // The features that end in categories by codes alone.
        let is_coded = |feature: &Feature| match &feature.encoding {
            Encoding::Category { levels, .. } => levels.is_empty(),
            Encoding::Number(_) | Encoding::Binary { .. } | Encoding::Date { .. } => false,
        };
        let coded = self.features.iter().rev().take_while(|feature| is_coded(feature)).count();
        let (written, coded) = self.features.split_at(self.features.len() - coded);
        let width: usize = written.iter().map(|feature| feature.encoding.inputs()).sum();
        let bytes = 4 * (table.rows() as u64).saturating_mul((width + coded.len()) as u64);
        memory::ask(bytes, &format!("the inputs of {} rows", table.rows()), "give fewer rows at a time")?;
        let mut numbers = vec![0.0; table.rows() * width];
        let mut codes = vec![Mixed::NONE; table.rows() * coded.len()];
        let mut unseen = Vec::new();
        let mut at = 0;
        for Feature { column, encoding } in written {
            unseen.extend(encode_column(table, read_column(table, column)?, encoding, &mut numbers, (at, width))?);
            at += encoding.inputs();
        }
        for (n, Feature { column, encoding }) in coded.iter().enumerate() {
            let column = read_column(table, column)?;
            let to = codes.iter_mut().skip(n).step_by(coded.len());
            let Encoding::Category { values, missing, .. } = encoding else { continue };
            let places = Places::of(column, values);
            let mut found = Unseen::default();
            for (row, to) in to.enumerate() {
                let of_missing = (*missing && column.values.is_missing(row)).then_some(values.len());
                if let Some(place) = places.get(row, &mut found).or(of_missing) {
                    *to = place as u32;
                }
            }
            unseen.extend(found.found(column));
        }
        if coded.is_empty() {
            return Ok(Encoded { inputs: Inputs::F32(numbers.into()), unseen });
        }
        let categories: Vec<usize> = coded.iter().map(|feature| feature.encoding.inputs()).collect();
        Ok(Encoded { inputs: Inputs::Mixed(Mixed::new(width, numbers, &categories, codes)?.into()), unseen })
    }

    /// Whether each column is one of numbers, so that [`Schema::encode_numbers`] can do without a table.
    #[must_use]
    pub fn is_all_numbers(&self) -> bool {
        self.features.iter().all(|feature| matches!(feature.encoding, Encoding::Number(_)))
    }

    /// The inputs of rows of numbers, row after row, with a number for each feature, or NaN if it is missing: as
    /// [`Schema::encode`] makes them of a table, for less work a row. Messages count the rows from `first` on.
    ///
    /// # Errors
    /// If a column is not one of numbers, the rows are not whole, or a number is infinite.
    ///
    /// ```
    /// use syva_core::schema::{Schema, TableOptions};
    /// use syva_core::table::{Column, Table, Values};
    /// let column = |name, values: &[f64]| Column::new(name, Values::Numbers(values.to_vec()));
    /// let table = Table::new(vec![column("x", &[1.0, 2.0, 3.5]), column("y", &[0.5, 0.1, 0.2])])?;
    /// let options = TableOptions { target: vec!["y".into()], ..TableOptions::default() };
    /// let schema = Schema::fit(&table, &table, &options)?.schema;
    /// let inputs = schema.encode_numbers(&[1.0, 2.0, 3.5], 0)?;
    /// assert_eq!((0..3).map(|row| schema.encode(&table).unwrap().inputs.get(row)).collect::<Vec<_>>(), inputs);
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    pub fn encode_numbers(&self, numbers: &[f64], first: usize) -> Result<Vec<f32>> {
        let width = self.features.len().max(1);
        if !numbers.len().is_multiple_of(width) {
            let problem = format!("{} numbers are not whole rows of {width}", numbers.len());
            return Err(Error::mismatch(problem, "give a number for each column"));
        }
        if let Some(place) = numbers.iter().position(|number| number.is_infinite()) {
            let (row, name) = (first + place / width + 1, &self.features[place % width].column);
            let problem = format!("row {row} of column '{name}' is {}", numbers[place]);
            return Err(Error::mismatch(problem, "give a finite number, or leave the cell empty"));
        }
        let encoding = |feature: &Feature| {
            let Encoding::Number(encoding) = &feature.encoding else {
                let problem = format!("column '{}' is not one of numbers", feature.column);
                return Err(Error::mismatch(problem, "give a table"));
            };
            Ok(encoding.clone())
        };
        let encodings = self.features.iter().map(encoding).collect::<Result<Vec<_>>>()?;
        let mut inputs = vec![0.0; numbers.len() / width * self.inputs()];
        let mut rest = &mut inputs[..];
        for row in numbers.chunks_exact(width) {
            for (encoding, &number) in encodings.iter().zip(row) {
                let (to, others) = rest.split_at_mut(encoding.inputs());
                encoding.write(number, to);
                rest = others;
            }
        }
        Ok(inputs)
    }

    /// The targets of a table's rows.
    ///
    /// # Errors
    /// If a column is missing, or a cell is missing or cannot be encoded: a class that the training data did not have, a
    /// value that has no logarithm.
    pub fn targets(&self, table: &Table) -> Result<Targets> {
        let refuse = |column: &Column, row: usize, problem: &str, remedy: &str| {
            let cell = column.cell(row).map_or("missing".to_string(), |text| format!("'{text}'"));
            let (name, row) = (&column.name, table.row_number(row));
            Err(Error::mismatch(format!("row {row} of the target '{name}' is {cell}{problem}"), remedy))
        };
        match &self.target {
            Target::Classes { column, classes } => {
                let column = table.column(column)?;
                let places = Places::of(column, classes);
                let mut labels = Vec::with_capacity(table.rows());
                for row in 0..table.rows() {
                    match places.get(row, &mut Unseen::default()) {
                        Some(place) => labels.push(place as u32),
                        None => {
                            return refuse(column, row, ", none of the classes", "correct it, or leave the row out");
                        }
                    }
                }
                Ok(Targets::Classes { labels: labels.into(), classes: classes.len() })
            }
            Target::Values { columns } => {
                let mut values = vec![0.0; table.rows() * columns.len()];
                for (k, target) in columns.iter().enumerate() {
                    let column = table.column(&target.column)?;
                    for (row, to) in values.iter_mut().skip(k).step_by(columns.len()).enumerate() {
                        let y = number_of(column, row);
                        let encoded = target.encode(y) as f32;
                        if !encoded.is_finite() {
                            let problem = match target.transform {
                                Transform::Log if y <= 0.0 => ", which has no logarithm",
                                _ => ", which is not a number that can be predicted",
                            };
                            return refuse(column, row, problem, "correct it, or leave the row out");
                        }
                        *to = encoded;
                    }
                }
                Ok(Targets::Values { values: values.into(), outputs: columns.len() })
            }
            Target::Labels { columns } => {
                let mut values = vec![0.0; table.rows() * columns.len()];
                for (k, name) in columns.iter().enumerate() {
                    let column = table.column(name)?;
                    for (row, to) in values.iter_mut().skip(k).step_by(columns.len()).enumerate() {
                        match column.cell(row).as_deref().and_then(truth) {
                            Some(is_on) => *to = f32::from(is_on),
                            None => {
                                return refuse(column, row, ", neither 0 nor 1", "correct it, or leave the row out");
                            }
                        }
                    }
                }
                Ok(Targets::Values { values: values.into(), outputs: columns.len() })
            }
        }
    }

    /// The names of the classes, if there are any.
    #[must_use]
    pub fn classes(&self) -> Option<&[String]> {
        if let Target::Classes { classes, .. } = &self.target { Some(classes) } else { None }
    }

    /// Checks what a file may have wrong: no inputs, levels that do not fit, numbers that are not finite.
    pub fn validate(&self) -> Result<()> {
        let refuse = |problem: String| Err(Error::setting("schema", problem, "take an undamaged copy of the file"));
        let number = |number: &NumberEncoding| {
            let scaler = match &number.scaler {
                Scaler::Affine { centre, factor, .. } => centre.is_finite() && factor.is_finite(),
                Scaler::Quantiles(quantiles) => quantiles.is_valid(),
            };
            scaler
                && number.median.is_finite()
                && number.indicator.is_none_or(|levels| levels.iter().all(|x| x.is_finite()))
        };
        for Feature { column, encoding } in &self.features {
            let valid = match encoding {
                Encoding::Number(encoding) => number(encoding),
                Encoding::Binary { levels, .. } => levels.iter().all(|x| x.is_finite()),
                Encoding::Category { levels, .. } => {
                    let fits = levels.is_empty() || levels.len() == encoding.inputs();
                    fits && levels.iter().flatten().all(|x| x.is_finite())
                }
                Encoding::Date { parts, .. } => parts.iter().all(|(_, encoding)| number(encoding)),
            };
            if !valid {
                return refuse(format!("the encoding of column '{column}' is not valid"));
            }
        }
        if let Target::Values { columns } = &self.target {
            for ValueTarget { column, transform, mean, std, range } in columns {
                if range.is_some_and(|[least, most]| least.is_nan() || most.is_nan() || least > most) {
                    return refuse(format!("the range of the target '{column}' is not valid"));
                }
                let quantiles =
                    if let Transform::Quantiles(quantiles) = transform { quantiles.is_valid() } else { true };
                if !(quantiles && mean.is_finite() && *std > 0.0 && std.is_finite()) {
                    return refuse(format!("the target '{column}' has a mean of {mean} and a deviation of {std}"));
                }
            }
        }
        Ok(())
    }
}

/// A column that the network reads.
fn read_column<'a>(table: &'a Table, name: &str) -> Result<&'a Column> {
    table.column(name).map_err(|error| match error {
        Error::Mismatch { problem, remedy } => Error::mismatch(format!("{problem}, which the network reads"), remedy),
        other => other,
    })
}

/// Writes the inputs of a column, from the place `at` of each row of `columns` on.
fn encode_column(
    table: &Table,
    column: &Column,
    encoding: &Encoding,
    inputs: &mut [f32],
    (at, columns): (usize, usize),
) -> Result<Option<(String, usize, String)>> {
    let width = encoding.inputs();
    let rows = inputs.chunks_exact_mut(columns.max(1)).map(|row| &mut row[at..at + width]);
    match encoding {
        Encoding::Number(number) => {
            match &column.values {
                Values::Numbers(values) => values.iter().zip(rows).for_each(|(&x, row)| number.write(x, row)),
                Values::Texts(texts) => {
                    // The same text is read once.
                    let read = |text: &String| text.trim().parse().ok().filter(|x: &f64| x.is_finite());
                    let values: Vec<Option<f64>> = texts.vocabulary().iter().map(read).collect();
                    for (row, (&code, to)) in texts.codes().iter().zip(rows).enumerate() {
                        let x = if code == MISSING { Some(f64::NAN) } else { values[code as usize] };
                        let Some(x) = x else {
                            let text = texts.get(row).unwrap_or_default();
                            let (name, row) = (&column.name, table.row_number(row));
                            let problem = format!("row {row} of column '{name}' is '{text}', which is not a number");
                            return Err(Error::mismatch(problem, "correct the cell, or leave it empty"));
                        };
                        number.write(x, to);
                    }
                }
            }
            Ok(None)
        }
        Encoding::Binary { values, levels } => {
            let places = Places::of(column, values);
            let mut unseen = Unseen::default();
            for (row, to) in rows.enumerate() {
                let place = places.get(row, &mut unseen);
                to[0] = levels[place.unwrap_or(2)] as f32;
            }
            Ok(unseen.found(column))
        }
        Encoding::Category { values, missing, levels } => {
            let places = Places::of(column, values);
            let mut unseen = Unseen::default();
            let off: Vec<f32> = levels.iter().map(|&[off, _]| off as f32).collect();
            for (row, to) in rows.enumerate() {
                if !off.is_empty() {
                    to.copy_from_slice(&off);
                }
                let of_missing = (*missing && column.values.is_missing(row)).then_some(values.len());
                if let Some(place) = places.get(row, &mut unseen).or(of_missing) {
                    to[place] = levels.get(place).map_or(1.0, |&[_, on]| on as f32);
                }
            }
            Ok(unseen.found(column))
        }
        Encoding::Date { format, parts } => {
            for (row, to) in rows.enumerate() {
                let cell = column.cell(row);
                let date = match &cell {
                    Some(text) => Some(format.read(text).ok_or_else(|| {
                        let (name, row) = (&column.name, table.row_number(row));
                        let problem =
                            format!("row {row} of column '{name}' is '{text}', which is not a date like {format}");
                        Error::mismatch(problem, "correct the cell, or leave it empty")
                    })?),
                    None => None,
                };
                let mut at = 0;
                for (part, number) in parts {
                    number.write(date.map_or(f64::NAN, |date| part.of(date)), &mut to[at..at + number.inputs()]);
                    at += number.inputs();
                }
            }
            Ok(None)
        }
    }
}

/// The number in a cell, or NaN.
fn number_of(column: &Column, row: usize) -> f64 {
    match &column.values {
        Values::Numbers(values) => values[row],
        Values::Texts(texts) => texts.get(row).and_then(|text| text.trim().parse().ok()).unwrap_or(f64::NAN),
    }
}

/// What a text says of a label.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" | "t" | "yes" | "y" => Some(true),
        "0" | "0.0" | "false" | "f" | "no" | "n" => Some(false),
        _ => None,
    }
}

/// For each cell of a column, its place among some texts.
enum Places<'a> {
    /// By the code of the cell.
    Texts { codes: &'a [u32], places: Vec<Option<usize>> },
    /// By the text of the number.
    Numbers { values: &'a [f64], places: HashMap<&'a str, usize> },
}

/// Cells whose text is none of those that are known.
#[derive(Default)]
struct Unseen {
    count: usize,
    first: Option<usize>,
}

impl Unseen {
    /// The column, the number of such cells, and the text of one.
    fn found(&self, column: &Column) -> Option<(String, usize, String)> {
        let text = column.cell(self.first?)?.into_owned();
        Some((column.name.clone(), self.count, text))
    }
}

impl<'a> Places<'a> {
    fn of(column: &'a Column, values: &'a [String]) -> Self {
        let known: HashMap<&str, usize> =
            values.iter().enumerate().map(|(place, text)| (text.as_str(), place)).collect();
        match &column.values {
            Values::Texts(texts) => Self::Texts {
                codes: texts.codes(),
                places: texts.vocabulary().iter().map(|text| known.get(text.as_str()).copied()).collect(),
            },
            Values::Numbers(values) => Self::Numbers { values, places: known },
        }
    }

    /// The place of a row's cell. `None` if it is missing, or if its text is not known, which is then counted.
    fn get(&self, row: usize, unseen: &mut Unseen) -> Option<usize> {
        let place = match self {
            Self::Texts { codes, .. } if codes[row] == MISSING => return None,
            Self::Texts { codes, places } => places[codes[row] as usize],
            Self::Numbers { values, .. } if values[row].is_nan() => return None,
            Self::Numbers { values, places } => places.get(number_text(values[row]).as_str()).copied(),
        };
        if place.is_none() {
            unseen.count += 1;
            unseen.first.get_or_insert(row);
        }
        place
    }
}
