//! What a request asks: rows of a table by the names of their columns, or plain inputs.

use serde_json::{Map, Value};
use syva::Spec;
use syva::data::Inputs;
use syva::names::nearest;
use syva::schema::{Encoding, Schema};
use syva::table::{Column, Table, Values, number_text};

/// The rows of a request as a network reads them.
#[derive(Debug)]
pub struct Rows {
    /// The inputs of all rows.
    pub inputs: Inputs,
    /// Sentences about texts that turn no input on.
    pub notes: Vec<String>,
}

/// What is wrong with a request.
#[derive(Debug)]
pub struct Bad {
    pub message: String,
    /// From 1.
    pub row: Option<usize>,
    pub column: Option<String>,
}

impl Bad {
    pub fn of(message: impl Into<String>) -> Self {
        Self { message: message.into(), row: None, column: None }
    }

    fn at(row: usize, column: &str, problem: &str) -> Self {
        let row = row + 1;
        Self {
            message: format!("row {row}, column '{column}': {problem}"),
            row: Some(row),
            column: Some(column.into()),
        }
    }
}

/// Reads the body of a request: an object or a list of objects for a network on a table, also as `rows` of an object; for others
/// lists of numbers as `inputs` of an object.
pub fn read(body: &[u8], spec: &Spec, most_rows: usize) -> Result<Rows, Bad> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| Bad::of(format!("the body is no JSON: {error}")))?;
    let few = |count: usize| match count {
        0 => Err(Bad::of("there are no rows")),
        count if count > most_rows => {
            Err(Bad::of(format!("{count} rows are more than {most_rows}; send them in parts")))
        }
        _ => Ok(()),
    };
    let Some(schema) = &spec.schema else {
        let inputs = match value {
            Value::Object(mut object) => object.remove("inputs").unwrap_or_default(),
            other => other,
        };
        let Value::Array(rows) = inputs else {
            return Err(Bad::of("give {\"inputs\": [[…], …]}, a list of numbers for each row"));
        };
        // A single row may stand by itself.
        let rows = if rows.first().is_some_and(Value::is_number) { vec![Value::Array(rows)] } else { rows };
        few(rows.len())?;
        return numbers(&rows, spec);
    };
    let rows = match value {
        Value::Object(mut object) => match object.remove("rows") {
            Some(Value::Array(rows)) => rows,
            Some(other) => {
                object.insert("rows".into(), other);
                vec![Value::Object(object)]
            }
            None => vec![Value::Object(object)],
        },
        Value::Array(rows) => rows,
        _ => return Err(Bad::of("give rows as a list of objects, {\"column\": value, …} for each")),
    };
    few(rows.len())?;
    let mut objects = Vec::with_capacity(rows.len());
    for (row, value) in rows.into_iter().enumerate() {
        let Value::Object(object) = value else {
            let message = format!("row {} is no object {{\"column\": value, …}}", row + 1);
            return Err(Bad { row: Some(row + 1), ..Bad::of(message) });
        };
        objects.push(object);
    }
    encoded(schema, &objects)
}

/// Plain inputs, nested or not.
fn numbers(rows: &[Value], spec: &Spec) -> Result<Rows, Bad> {
    fn flatten(value: &Value, depth: usize, to: &mut Vec<f32>) -> Result<(), String> {
        match value {
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or(f64::NAN) as f32;
                if !number.is_finite() {
                    return Err("a number is beyond 32-bit floats".into());
                }
                to.push(number);
                Ok(())
            }
            Value::Array(values) if depth < 4 => values.iter().try_for_each(|value| flatten(value, depth + 1, to)),
            other => Err(format!("{} is not a number", shown(other))),
        }
    }
    let features = spec.input.features;
    let mut inputs = Vec::new();
    for (row, values) in rows.iter().enumerate() {
        let bad = |problem: String| Bad { row: Some(row + 1), ..Bad::of(format!("row {}: {problem}", row + 1)) };
        let before = inputs.len();
        flatten(values, 0, &mut inputs).map_err(bad)?;
        let count = inputs.len() - before;
        if count != features {
            return Err(bad(format!("it has {count} numbers, and the network reads {features}")));
        }
    }
    Ok(Rows { inputs: inputs.into(), notes: Vec::new() })
}

/// The inputs that a schema makes of rows.
fn encoded(schema: &Schema, rows: &[Map<String, Value>]) -> Result<Rows, Bad> {
    let mut columns = Vec::with_capacity(schema.features.len());
    for feature in &schema.features {
        let name = &feature.column;
        let cell = |row: usize| rows[row].get(name).ok_or_else(|| missing(row, name, &rows[row]));
        let values = match &feature.encoding {
            Encoding::Number(_) => {
                let number = |row| number_of(cell(row)?).map_err(|problem| Bad::at(row, name, &problem));
                Values::Numbers((0..rows.len()).map(number).collect::<Result<_, _>>()?)
            }
            Encoding::Binary { values, .. } => texts(rows.len(), name, cell, values)?,
            Encoding::Category { values, .. } => texts(rows.len(), name, cell, values)?,
            Encoding::Date { format, .. } => {
                let cells = texts_of(rows.len(), name, cell, &[])?;
                for (row, text) in cells.iter().enumerate() {
                    if let Some(text) = text
                        && format.read(text).is_none()
                    {
                        return Err(Bad::at(row, name, &format!("'{text:.40}' is not a date like {format}")));
                    }
                }
                Values::texts(cells.iter().map(Option::as_deref))
            }
        };
        columns.push(Column::new(name.clone(), values));
    }
    let said = |error: syva::Error| Bad::of(error.to_string());
    let table = Table::new(columns).map_err(said)?;
    let encoded = schema.encode(&table).map_err(said)?;
    let notes = encoded.unseen.into_iter().map(|(column, count, example)| {
        let rows = if count == 1 { "a row has".to_string() } else { format!("{count} rows have") };
        format!("column '{column}': {rows} a text {}, such as '{example:.40}'", schema.why_unseen(&column))
    });
    Ok(Rows { inputs: encoded.inputs, notes: notes.collect() })
}

fn missing(row: usize, column: &str, there: &Map<String, Value>) -> Bad {
    let names: Vec<&str> = there.keys().map(String::as_str).collect();
    let offer = match nearest(column, &names) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "give null if its value is missing".into(),
    };
    Bad::at(row, column, &format!("it is not there, and the network reads it; {offer}"))
}

/// A number, NaN if it is missing.
fn number_of(value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::Null => return Ok(f64::NAN),
        Value::String(text) if text.trim().is_empty() => return Ok(f64::NAN),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|number| number.is_finite()).ok_or_else(|| format!("{} is not a number", shown(value)))
}

fn texts<'a>(
    rows: usize,
    name: &str,
    cell: impl Fn(usize) -> Result<&'a Value, Bad>,
    values: &[String],
) -> Result<Values, Bad> {
    Ok(Values::texts(texts_of(rows, name, cell, values)?.iter().map(Option::as_deref)))
}

/// Texts as a table has them. A truth value is the text that says it among those that are known.
fn texts_of<'a>(
    rows: usize,
    name: &str,
    cell: impl Fn(usize) -> Result<&'a Value, Bad>,
    values: &[String],
) -> Result<Vec<Option<String>>, Bad> {
    let text = |row: usize| -> Result<Option<String>, Bad> {
        let value = cell(row)?;
        match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Value::Number(number) => Ok(number.as_f64().map(number_text)),
            Value::Bool(truth) => {
                let said = truth.to_string();
                let known = values.iter().find(|value| value.eq_ignore_ascii_case(&said));
                Ok(Some(known.cloned().unwrap_or(said)))
            }
            Value::Array(_) | Value::Object(_) => Err(Bad::at(row, name, &format!("{} is no text", shown(value)))),
        }
    };
    (0..rows).map(text).collect()
}

/// A value in a message.
fn shown(value: &Value) -> String {
    format!("{:.40}", value.to_string())
}
