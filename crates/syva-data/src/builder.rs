//! Columns that grow, for formats that know what their columns are.

use std::collections::HashMap;
use std::path::Path;

use foldhash::fast::RandomState;
use syva_core::table::{Column, MISSING, ReadOptions, Table, Texts, Values, number_text};
use syva_core::{Error, Result};

use crate::cells::{Missing, number};

/// A column that grows.
#[derive(Debug)]
pub(crate) enum Builder {
    Numbers(Vec<f64>),
    Texts { places: HashMap<String, u32, RandomState>, vocabulary: Vec<String>, codes: Vec<u32> },
}

impl Builder {
    pub fn texts() -> Self {
        Self::Texts { places: HashMap::default(), vocabulary: Vec::new(), codes: Vec::new() }
    }

    /// Adds a number; NaN is missing. In a column of texts, it is one, too.
    pub fn number(&mut self, value: f64) {
        match self {
            Self::Numbers(values) => values.push(value),
            Self::Texts { .. } => self.text(&number_text(value)),
        }
    }

    /// Adds a text; an empty one is missing, as it is in a text file. In a column of numbers, it is missing.
    pub fn text(&mut self, text: &str) {
        match self {
            Self::Texts { .. } if text.is_empty() => self.missing(),
            Self::Texts { places, vocabulary, codes } => {
                let code = places.get(text).copied().unwrap_or_else(|| {
                    let code = vocabulary.len() as u32;
                    places.insert(text.to_string(), code);
                    vocabulary.push(text.to_string());
                    code
                });
                codes.push(code);
            }
            Self::Numbers(_) => self.missing(),
        }
    }

    /// Adds a missing value.
    pub fn missing(&mut self) {
        match self {
            Self::Numbers(values) => values.push(f64::NAN),
            Self::Texts { codes, .. } => codes.push(MISSING),
        }
    }

    /// The values so far, after which it begins anew.
    fn take(&mut self) -> Result<Values> {
        match self {
            Self::Numbers(values) => Ok(Values::Numbers(std::mem::take(values))),
            Self::Texts { places, vocabulary, codes } => {
                places.clear();
                Texts::new(std::mem::take(vocabulary), std::mem::take(codes)).map(Values::Texts)
            }
        }
    }
}

/// The table of what was built so far, with the kinds and missing values that the options ask for. `before` rows came
/// before it.
pub(crate) fn finish(
    path: &Path,
    names: &[String],
    builders: &mut [Builder],
    options: &ReadOptions,
    before: usize,
) -> Result<Table> {
    let missing = options.missing.as_ref().map(|texts| Missing::new(texts, b'.'));
    let mut columns = Vec::with_capacity(names.len());
    for (name, builder) in names.iter().zip(builders) {
        let values = asked(builder.take()?, name, options, missing.as_ref()).map_err(|(row, problem, remedy)| {
            Error::file(path, format!("row {}, column '{name}'", before + row + 1), problem, remedy)
        })?;
        columns.push(Column::new(name.clone(), values));
    }
    Ok(Table::new(columns).map_err(|error| crate::in_file(path, error))?.after(before))
}

/// A column as the options ask for it, or the row that does not fit, with problem and remedy.
fn asked(
    values: Values,
    name: &String,
    options: &ReadOptions,
    missing: Option<&Missing>,
) -> Result<Values, (usize, String, String)> {
    match values {
        Values::Numbers(mut values) => {
            if let Some(missing) = missing.filter(|missing| missing.numbers) {
                for value in &mut values {
                    if missing.contains(&number_text(*value)) {
                        *value = f64::NAN;
                    }
                }
            }
            if options.texts.contains(name) {
                let texts: Vec<Option<String>> =
                    values.iter().map(|&value| (!value.is_nan()).then(|| number_text(value))).collect();
                return Ok(Values::texts(texts.iter().map(Option::as_deref)));
            }
            if let Some(row) = values.iter().position(|value| value.is_infinite()) {
                let problem = format!("{} is not a finite number", values[row]);
                return Err((row, problem, "give a finite one, or none at all (null, NaN)".into()));
            }
            Ok(Values::Numbers(values))
        }
        Values::Texts(texts) => {
            let texts = match missing {
                Some(missing) if texts.vocabulary().iter().any(|text| missing.contains(text)) => {
                    let cells =
                        (0..texts.codes().len()).map(|row| texts.get(row).filter(|text| !missing.contains(text)));
                    cells.collect()
                }
                _ => texts,
            };
            if !options.numbers.contains(name) {
                return Ok(Values::Texts(texts));
            }
            let numbers: Vec<Option<f64>> = texts.vocabulary().iter().map(|text| numeric(text)).collect();
            let mut values = Vec::with_capacity(texts.codes().len());
            for (row, &code) in texts.codes().iter().enumerate() {
                match numbers.get(code as usize) {
                    // A missing one.
                    None => values.push(f64::NAN),
                    Some(Some(value)) => values.push(*value),
                    Some(None) => {
                        let text: String = texts.vocabulary()[code as usize].chars().take(40).collect();
                        let problem = format!("'{text}' is not a finite number, as this column's cells should be");
                        let remedy =
                            format!("correct it, or give --missing '{text}' if it means that nothing is known");
                        return Err((row, problem, remedy));
                    }
                }
            }
            Ok(Values::Numbers(values))
        }
    }
}

/// A finite number; truth values count as 0 and 1.
fn numeric(text: &str) -> Option<f64> {
    match text {
        "false" => Some(0.0),
        "true" => Some(1.0),
        _ => number(text, b'.').filter(|value| value.is_finite()),
    }
}
