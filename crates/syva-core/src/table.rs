//! Tables: named columns of numbers or texts, as files hold them, before a [`Schema`](crate::schema::Schema) makes inputs and
//! targets of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::nearest;
use crate::{Error, Result};

/// A table in memory, column by column.
///
/// ```
/// use syva_core::table::{Column, Table, Values};
/// let table = Table::new(vec![
///     Column::new("age", Values::Numbers(vec![39.0, f64::NAN])),
///     Column::new("sex", Values::texts([Some("f"), None])),
/// ])?;
/// assert_eq!((table.rows(), table.columns().len()), (2, 2));
/// assert_eq!(table.column("sex")?.cell(0).as_deref(), Some("f"));
/// assert_eq!(table.column("age")?.cell(1), None); // missing
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
    rows: usize,
    first: usize,
    /// What messages call the rows, if they were selected from others.
    numbers: Option<Vec<u32>>,
}

/// A named column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name in the header.
    pub name: String,
    /// Its cells, one per row.
    pub values: Values,
}

/// The cells of a column.
#[derive(Clone, Debug)]
pub enum Values {
    /// Finite numbers. A missing one is NaN.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Texts),
}

/// Texts, each stored once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    vocabulary: Vec<String>,
    codes: Vec<u32>,
}

/// The code of a missing text.
pub const MISSING: u32 = u32::MAX;

impl Texts {
    /// Texts by their places in a vocabulary, whose entries differ. A missing text has the code [`MISSING`].
    pub fn new(vocabulary: Vec<String>, codes: Vec<u32>) -> Result<Self> {
        match codes.iter().position(|&code| code != MISSING && code as usize >= vocabulary.len()) {
            Some(row) => {
                let problem = format!("code {} of row {row} is beyond the {} texts", codes[row], vocabulary.len());
                Err(Error::mismatch(problem, "give codes below the number of texts"))
            }
            None => Ok(Self { vocabulary, codes }),
        }
    }

    /// The texts that occur (and perhaps others), in the order in which they first do.
    #[must_use]
    pub fn vocabulary(&self) -> &[String] {
        &self.vocabulary
    }

    /// For each row, the place of its text in the vocabulary, or [`MISSING`].
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// The text of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        let code = self.codes[row];
        (code != MISSING).then(|| self.vocabulary[code as usize].as_str())
    }

    /// Adds the rows of others.
    fn append(&mut self, other: Self) {
        let mut places: HashMap<String, u32> = self.vocabulary.iter().cloned().zip(0u32..).collect();
        let mut map = Vec::with_capacity(other.vocabulary.len());
        for text in other.vocabulary {
            let next = self.vocabulary.len() as u32;
            let code = *places.entry(text).or_insert_with_key(|text| {
                self.vocabulary.push(text.clone());
                next
            });
            map.push(code);
        }
        self.codes.extend(other.codes.iter().map(|&code| if code == MISSING { code } else { map[code as usize] }));
    }
}

impl<'a> FromIterator<Option<&'a str>> for Texts {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(cells: I) -> Self {
        let (mut texts, mut places) = (Self::default(), HashMap::<&str, u32>::new());
        for cell in cells {
            let code = match cell {
                Some(text) => *places.entry(text).or_insert_with(|| {
                    texts.vocabulary.push(text.to_string());
                    texts.vocabulary.len() as u32 - 1
                }),
                None => MISSING,
            };
            texts.codes.push(code);
        }
        texts
    }
}

/// Missing numbers are equal.
impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Numbers(a), Self::Numbers(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan())
            }
            (Self::Texts(a), Self::Texts(b)) => a == b,
            _ => false,
        }
    }
}

impl Values {
    /// Texts from cells, of which `None` are missing.
    pub fn texts<'a>(cells: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        Self::Texts(cells.into_iter().collect())
    }

    /// Number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Texts(texts) => texts.codes.len(),
        }
    }

    /// Whether there are no cells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the cell of a row is missing.
    #[must_use]
    pub fn is_missing(&self, row: usize) -> bool {
        match self {
            Self::Numbers(values) => values[row].is_nan(),
            Self::Texts(texts) => texts.codes[row] == MISSING,
        }
    }

    /// The number of missing cells.
    #[must_use]
    pub fn missing(&self) -> usize {
        (0..self.len()).filter(|&row| self.is_missing(row)).count()
    }

    fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numbers(values) => Self::Numbers(rows.iter().map(|&row| values[row]).collect()),
            Self::Texts(texts) => Self::Texts(Texts {
                vocabulary: if rows.is_empty() { Vec::new() } else { texts.vocabulary.clone() },
                codes: rows.iter().map(|&row| texts.codes[row]).collect(),
            }),
        }
    }
}

impl Column {
    /// A column.
    pub fn new(name: impl Into<String>, values: Values) -> Self {
        Self { name: name.into(), values }
    }

    /// The cell of a row as text: a number as briefly as it can be written (`1`, not `1.0`). `None` if it is missing.
    #[must_use]
    pub fn cell(&self, row: usize) -> Option<Cow<'_, str>> {
        match &self.values {
            Values::Numbers(values) => (!values[row].is_nan()).then(|| Cow::Owned(number_text(values[row]))),
            Values::Texts(texts) => texts.get(row).map(Cow::Borrowed),
        }
    }
}

/// A number as the text of a category: as briefly as it can be written. −0 is 0.
#[must_use]
pub fn number_text(value: f64) -> String {
    brief(value).to_string()
}

/// A number that is written as briefly as it can be, without a text of its own. −0 is 0.
pub fn brief(value: f64) -> impl fmt::Display {
    value + 0.0
}

impl Table {
    /// A table of these columns, which must be equally long and have different names.
    pub fn new(columns: Vec<Column>) -> Result<Self> {
        let rows = columns.first().map_or(0, |column| column.values.len());
        let mut names = HashMap::new();
        for (i, column) in columns.iter().enumerate() {
            if column.values.len() != rows {
                let (name, len) = (&column.name, column.values.len());
                let problem = format!("column '{name}' has {len} rows, and '{}' has {rows}", columns[0].name);
                return Err(Error::mismatch(problem, "give each column as many"));
            }
            if let Some(before) = names.insert(column.name.as_str(), i) {
                let problem = format!("columns {} and {} are both named '{}'", before + 1, i + 1, column.name);
                return Err(Error::mismatch(problem, "rename one of them"));
            }
            if let Values::Numbers(values) = &column.values
                && let Some(row) = values.iter().position(|value| value.is_infinite())
            {
                let problem = format!("row {} of column '{}' is {}", row + 1, column.name, values[row]);
                return Err(Error::mismatch(problem, "give a finite number, or leave the cell empty"));
            }
        }
        Ok(Self { columns, rows, first: 0, numbers: None })
    }

    /// The same table as a part of a larger one, of which this many rows come before. Messages count from there.
    #[must_use]
    pub fn after(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What messages call a row: its number from 1, in the whole table that this one is a part of or was selected from.
    #[must_use]
    pub fn row_number(&self, row: usize) -> usize {
        self.numbers.as_ref().map_or(self.first + row + 1, |numbers| numbers[row] as usize)
    }

    /// The columns in order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns, to keep.
    #[must_use]
    pub fn into_columns(self) -> Vec<Column> {
        self.columns
    }

    /// The place of a column. If there is none of this name, the error offers the nearest.
    pub fn find(&self, name: &str) -> Result<usize> {
        if let Some(place) = self.columns.iter().position(|column| column.name == name) {
            return Ok(place);
        }
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        // A list of names is split at commas.
        let whole = names.iter().copied().find(|known| known.split(',').any(|part| part.trim() == name));
        let offer = match whole.or_else(|| nearest(name, &names)) {
            Some(near) if near.contains(',') => {
                format!("did you mean '{near}'? write a name with a comma in double quotes: '\"{near}\"'")
            }
            Some(near) => format!("did you mean '{near}'?"),
            None if names.len() <= 12 => format!("the columns are {}", names.join(", ")),
            None => format!("the {} columns begin with {}", names.len(), names[..8].join(", ")),
        };
        Err(Error::mismatch(format!("there is no column '{name}'"), offer))
    }

    /// The column of this name. If there is none, the error offers the nearest.
    pub fn column(&self, name: &str) -> Result<&Column> {
        Ok(&self.columns[self.find(name)?])
    }

    /// The rows with these indices, in this order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|c| Column::new(c.name.clone(), c.values.select(rows))).collect();
        let numbers = rows.iter().map(|&row| self.row_number(row) as u32).collect();
        Self { columns, rows: rows.len(), first: 0, numbers: Some(numbers) }
    }

    /// Divides the table into parts: the rows with these indices, each in its order. One column after the other is divided
    /// and freed, so that this takes hardly more memory than the table has.
    #[must_use]
    pub(crate) fn divide<const N: usize>(self, parts: [&[usize]; N]) -> [Self; N] {
        let mut tables = parts.map(|rows| Self {
            columns: Vec::with_capacity(self.columns.len()),
            rows: rows.len(),
            first: 0,
            numbers: Some(rows.iter().map(|&row| self.row_number(row) as u32).collect()),
        });
        for column in self.columns {
            for (table, rows) in tables.iter_mut().zip(parts) {
                table.columns.push(Column::new(column.name.clone(), column.values.select(rows)));
            }
        }
        tables
    }

    /// Adds the rows of another table, which has the same columns in any order. A column without any value fits both
    /// kinds.
    pub fn append(&mut self, other: Self) -> Result<()> {
        if self.columns.is_empty() {
            *self = other;
            return Ok(());
        }
        if other.columns.len() != self.columns.len() {
            let problem = format!("{} columns follow {}", other.columns.len(), self.columns.len());
            return Err(Error::mismatch(problem, "give tables of the same columns"));
        }
        let mut places = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let place = other.find(&column.name)?;
            let (a, b) = (&column.values, &other.columns[place].values);
            let alike =
                matches!((a, b), (Values::Numbers(_), Values::Numbers(_)) | (Values::Texts(_), Values::Texts(_)));
            if !alike && a.missing() < a.len() && b.missing() < b.len() {
                let kind = |values: &Values| if matches!(values, Values::Numbers(_)) { "numbers" } else { "texts" };
                let problem = format!("column '{}' has {}, and then {}", column.name, kind(a), kind(b));
                return Err(Error::mismatch(problem, "give columns of one kind"));
            }
            places.push(place);
        }
        let mut theirs: Vec<Option<Values>> = other.columns.into_iter().map(|column| Some(column.values)).collect();
        for (column, place) in self.columns.iter_mut().zip(places) {
            let Some(values) = theirs[place].take() else { continue };
            match (&mut column.values, values) {
                (Values::Numbers(a), Values::Numbers(b)) => a.extend(b),
                (Values::Texts(a), Values::Texts(b)) => a.append(b),
                (Values::Numbers(a), Values::Texts(b)) if b.codes.iter().all(|&code| code == MISSING) => {
                    a.extend(b.codes.iter().map(|_| f64::NAN));
                }
                (Values::Texts(a), Values::Numbers(b)) => a.codes.extend(b.iter().map(|_| MISSING)),
                (a, Values::Texts(b)) => {
                    // Everything before is missing.
                    let codes = vec![MISSING; a.len()];
                    let mut texts = Texts { vocabulary: Vec::new(), codes };
                    texts.append(b);
                    *a = Values::Texts(texts);
                }
            }
        }
        // Rows that come from several tables are counted anew.
        self.numbers = None;
        self.rows += other.rows;
        Ok(())
    }
}

/// How a file of a table is read. What is `None` is found out from the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ReadOptions {
    /// What separates the cells of a row: `,`, `;`, a tab, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Whether the first row has the columns' names. Without one, columns are named `column_1`, `column_2`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// What separates the integer part of a number from its fraction: `.` or `,`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<char>,
    /// The encoding, by a name that browsers know, such as `utf-8` or `windows-1252`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The texts that mean that a value is missing, beside an empty cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<String>>,
    /// Columns that are read as texts, even if all of them are numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// Columns that are read as numbers, so that a text in them is an error.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(name: &str, values: Values) -> Table {
        Table::new(vec![Column::new(name, values)]).unwrap()
    }

    #[test]
    fn rows_follow_each_other_and_texts_keep_their_names() {
        let mut table = two("a", Values::texts([Some("x"), None, Some("y")]));
        table.append(two("a", Values::texts([Some("y"), Some("z"), Some("x")]))).unwrap();
        assert_eq!(table, two("a", Values::texts([Some("x"), None, Some("y"), Some("y"), Some("z"), Some("x")])));
        table.append(two("a", Values::Numbers(vec![f64::NAN]))).unwrap();
        assert_eq!((table.rows(), table.columns()[0].values.missing()), (7, 2));
        let mut missing = two("a", Values::Numbers(vec![f64::NAN; 2]));
        missing.append(two("a", Values::texts([Some("q")]))).unwrap();
        assert_eq!(missing, two("a", Values::texts([None, None, Some("q")])));
        let error = two("a", Values::Numbers(vec![1.0])).append(missing).unwrap_err().to_string();
        assert!(error.contains("column 'a' has numbers, and then texts"), "{error}");
        let error = table.append(two("b", Values::Numbers(vec![]))).unwrap_err().to_string();
        assert!(error.contains("no column 'a'"), "{error}");
    }

    #[test]
    fn parts_are_the_rows_that_they_were_selected_from() {
        let columns = vec![
            Column::new("a", Values::Numbers(vec![1.0, f64::NAN, 3.0, 4.0])),
            Column::new("b", Values::texts([Some("x"), None, Some("y"), Some("x")])),
        ];
        let table = Table::new(columns).unwrap().after(10);
        let (first, second) = ([3, 0], [1]);
        let wanted = [table.select(&first), table.select(&second), table.select(&[])];
        let found = table.divide([&first, &second, &[]]);
        assert_eq!(found, wanted);
        assert_eq!((found[0].row_number(0), found[1].row_number(0), found[2].rows()), (14, 12, 0));
    }

    #[test]
    fn bad_tables_are_refused() {
        let says = |columns: Vec<Column>| Table::new(columns).unwrap_err().to_string();
        let numbers = |name: &str, values: Vec<f64>| Column::new(name, Values::Numbers(values));
        assert!(says(vec![numbers("a", vec![1.0]), numbers("b", vec![])]).contains("'b' has 0 rows, and 'a' has 1"));
        assert!(says(vec![numbers("a", vec![]), numbers("a", vec![])]).contains("columns 1 and 2 are both named 'a'"));
        assert!(says(vec![numbers("a", vec![0.0, f64::INFINITY])]).contains("row 2 of column 'a' is inf"));
        assert!(Texts::new(vec!["a".into()], vec![0, 1]).is_err());
        let table = Table::new(vec![numbers("income", vec![]), numbers("age", vec![])]).unwrap();
        let said = Table::new(vec![Column::new("a, b", Values::Numbers(vec![1.0]))]).unwrap().find("b").unwrap_err();
        assert!(
            said.to_string().contains("did you mean 'a, b'? write a name with a comma in double quotes: '\"a, b\"'")
        );
        assert!(table.column("incme").unwrap_err().to_string().contains("did you mean 'income'?"));
        assert!(table.column("zzzzzz").unwrap_err().to_string().contains("the columns are income, age"));
    }

    #[test]
    fn numbers_have_brief_texts() {
        for (value, text) in [(1.0, "1"), (-0.0, "0"), (0.1, "0.1"), (1e15, "1000000000000000")] {
            assert_eq!(number_text(value), text);
        }
    }
}
