//! Writes CSV: cells are separated by commas, rows by line feeds, and quotes are where they have to be.

use std::io::Write;

use memchr::memchr3;
use syva_core::table::{Table, Values, brief};

use crate::cells::number;
use crate::rows::Syntax;

/// A part of a table: see [`parts`](crate::parts).
#[derive(Debug)]
pub struct Part {
    /// Its rows.
    pub table: Table,
    text: Option<Text>,
}

/// The text that a part was read from.
#[derive(Debug)]
pub(crate) struct Text {
    pub content: String,
    /// Where the first row begins.
    pub start: usize,
    pub syntax: Syntax,
    /// The decimal sign.
    pub decimal: u8,
    /// The names of all columns.
    pub names: Vec<String>,
}

impl Part {
    pub(crate) fn of_text(table: Table, text: Text) -> Self {
        Self { table, text: Some(text) }
    }

    /// The names of the file's columns. Those of the table are among them ([`Parts::only`](crate::Parts::only)).
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match &self.text {
            Some(text) => text.names.iter().map(String::as_str).collect(),
            None => self.table.columns().iter().map(|column| column.name.as_str()).collect(),
        }
    }

    /// Writes the rows as CSV, with the cells of all of the file's columns. Those of a text are written as they are in the
    /// file: `1.50` stays `1.50`. Only a decimal comma becomes a point, because commas separate cells. `rest` continues each row, whose number in the part it gets, and need not end the line.
    ///
    /// ```
    /// use syva_core::table::ReadOptions;
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("prices.csv");
    /// std::fs::write(&path, "price;town\n1,50;Turku\nNA;\"Oulu; \"\n")?;
    /// let mut csv = Vec::new();
    /// for part in syva_data::parts(&path, &ReadOptions::default())? {
    ///     part?.write(&mut csv, |row, to| to.extend(format!(",{row}").bytes()));
    /// }
    /// assert_eq!(String::from_utf8(csv)?, "1.50,Turku,0\nNA,\"Oulu; \",1\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write(&self, to: &mut Vec<u8>, mut rest: impl FnMut(usize, &mut Vec<u8>)) {
        match &self.text {
            Some(text) => text.write(&self.table, to, rest),
            None => {
                for row in 0..self.table.rows() {
                    for (i, column) in self.table.columns().iter().enumerate() {
                        if i > 0 {
                            to.push(b',');
                        }
                        match &column.values {
                            Values::Numbers(numbers) if numbers[row].is_nan() => {}
                            Values::Numbers(numbers) => write_number(to, brief(numbers[row])),
                            Values::Texts(texts) => write_cell(to, texts.get(row).unwrap_or_default()),
                        }
                    }
                    rest(row, to);
                    to.push(b'\n');
                }
            }
        }
    }
}

impl From<Table> for Part {
    fn from(table: Table) -> Self {
        Self { table, text: None }
    }
}

impl Text {
    fn write(&self, table: &Table, to: &mut Vec<u8>, mut rest: impl FnMut(usize, &mut Vec<u8>)) {
        let is_text = |name: &String| {
            table.columns().iter().any(|column| column.name == *name && matches!(column.values, Values::Texts(_)))
        };
        // The columns whose cells may be numbers with a decimal comma.
        let commas: Vec<bool> = self.names.iter().map(|name| self.decimal == b',' && !is_text(name)).collect();
        // It was parsed, so that its rows are whole.
        let (bytes, syntax) = (self.content.as_bytes(), self.syntax);
        to.reserve(bytes.len());
        let mut at = syntax.skip_empty_lines(bytes, self.start);
        for row in 0.. {
            if at >= bytes.len() {
                return;
            }
            if let Some(end) = plain_row(bytes, at, syntax) {
                to.extend_from_slice(&bytes[at..end]);
                at = end;
            } else {
                let mut columns = commas.iter().enumerate();
                while let Ok((cell, last, next)) = syntax.cell(&self.content, at) {
                    let (place, comma) = columns.next().unwrap_or((commas.len(), &false));
                    if place > 0 {
                        to.push(b',');
                    }
                    if *comma && cell.contains(',') && number(&cell, b',').is_some() {
                        to.extend(cell.bytes().map(|byte| if byte == b',' { b'.' } else { byte }));
                    } else {
                        write_cell(to, &cell);
                    }
                    at = next;
                    if last {
                        break;
                    }
                }
            }
            rest(row, to);
            to.push(b'\n');
            at = syntax.skip_empty_lines(bytes, at);
        }
    }
}

/// The end of a row that is CSV as it is: without quotes, and without characters that would need some.
fn plain_row(bytes: &[u8], at: usize, syntax: Syntax) -> Option<usize> {
    if syntax.delimiter != b',' {
        return None;
    }
    let end = memchr3(syntax.line_end, b'"', b'\r', &bytes[at..]).map_or(bytes.len(), |found| at + found);
    match bytes.get(end) {
        None => Some(end),
        Some(&byte) if byte == syntax.line_end => Some(end),
        Some(b'\r') if bytes.get(end + 1) == Some(&syntax.line_end) => Some(end),
        Some(_) => None,
    }
}

/// Writes a row of a CSV file.
pub fn write_row<'a>(to: &mut Vec<u8>, cells: impl IntoIterator<Item = &'a str>) {
    for (i, cell) in cells.into_iter().enumerate() {
        if i > 0 {
            to.push(b',');
        }
        write_cell(to, cell);
    }
    to.push(b'\n');
}

/// Writes a cell of a CSV file, in quotes if it has to be.
pub fn write_cell(to: &mut Vec<u8>, cell: &str) {
    let plain = !cell.contains([',', '"', '\n', '\r']) && cell.trim() == cell;
    if plain {
        to.extend_from_slice(cell.as_bytes());
    } else {
        to.push(b'"');
        to.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
        to.push(b'"');
    }
}

/// Writes a number into a cell.
pub fn write_number(to: &mut Vec<u8>, number: impl std::fmt::Display) {
    // A vector takes whatever is written.
    let _ = write!(to, "{number}");
}

#[cfg(test)]
mod tests {
    use syva_core::table::ReadOptions;

    use super::*;

    /// What a file is written as, with each row's number behind it.
    fn written(content: &str, only: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        std::fs::write(&path, content).unwrap();
        let mut to = Vec::new();
        let parts = crate::parts(&path, &ReadOptions::default()).unwrap();
        for part in parts.only(only.iter().map(ToString::to_string).collect()) {
            part.unwrap().write(&mut to, |row, to| write_number(to, format_args!(",{row}")));
        }
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn cells_are_written_as_they_are_in_the_file() {
        let csv = "a,b,c\n1.50,NA,x\n-0,?,\r\n\n  \n+1e0,007,\"y\"\n 1 ,\"p,q\", z \n2,\"\"\"\",5\" disk\n3,\"\n\",\rw";
        let expected = "1.50,NA,x,0\n-0,?,,1\n+1e0,007,y,2\n1,\"p,q\",z,3\n2,\"\"\"\",\"5\"\" disk\",4\n3,\"\n\",w,5\n";
        assert_eq!(written(csv, &["a", "b", "c"]), expected);
        // Columns that nobody asks for are there, too.
        assert_eq!(written(csv, &["a"]), expected);
        assert_eq!(written("a,b\r1.0,\"x\"\r\r2.0, y\r", &["b"]), "1.0,x,0\n2.0, y,1\n");
    }

    #[test]
    fn other_delimiters_become_commas_and_decimal_commas_points() {
        // A category is a text, whatever it looks like.
        let csv = "a;b;c\n1,50;x,y;0,10\n2,0;7,5;z\n-,5;z;q,r\n";
        assert_eq!(written(csv, &["a", "b"]), "1.50,\"x,y\",0.10,0\n2.0,\"7,5\",z,1\n-.5,z,\"q,r\",2\n");
        assert_eq!(written("a\tb\n1.50\t\n2.0\tz\n", &["a"]), "1.50,,0\n2.0,z,1\n");
    }
}
