//! Finds out from the beginning of a text file how it is written: delimiter, line ends, decimal sign, header.

use std::borrow::Cow;
use std::collections::HashSet;

use syva_core::table::ReadOptions;
use syva_core::{Error, Result};

use crate::cells::{MISSING, Missing, number};
use crate::rows::Syntax;

/// How much of a file is looked at, unless its lines are long.
pub(crate) const SAMPLE: usize = 64 << 10;

/// The delimiters that are tried, the most frequent one first.
const DELIMITERS: [u8; 4] = *b",;\t|";

/// How a text file is written.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    pub syntax: Syntax,
    pub decimal: u8,
    pub header: bool,
    pub missing: Missing,
    /// For each column, whether the beginning of the file has a text in it.
    pub texts: Vec<bool>,
}

type Row<'a> = Vec<Cow<'a, str>>;

impl Dialect {
    /// Of a file that begins like this. `whole` says that nothing follows. What the options say is taken from there.
    pub fn of(begin: &str, whole: bool, options: &ReadOptions) -> Result<Self> {
        let line_end = if begin.contains('\n') || !begin.contains('\r') { b'\n' } else { b'\r' };
        let decimal = match options.decimal {
            None => None,
            Some(sign @ ('.' | ',')) => Some(sign as u8),
            Some(sign) => {
                let problem = format!("'{sign}' cannot separate the decimals of a number");
                return Err(Error::setting("--decimal", problem, "give . or ,"));
            }
        };
        let (delimiter, rows) = match options.delimiter {
            Some(delimiter) => {
                let delimiter = ascii(delimiter)?;
                (delimiter, rows(begin, whole, Syntax { delimiter, line_end }))
            }
            None => find_delimiter(begin, whole, line_end, decimal),
        };
        let syntax = Syntax { delimiter, line_end };
        let decimal = decimal.unwrap_or_else(|| if delimiter == b',' { b'.' } else { find_decimal(&rows) });
        let missing = match &options.missing {
            Some(texts) => Missing::new(texts, decimal),
            None => Missing::new(MISSING, decimal),
        };
        let header = options.header.unwrap_or_else(|| has_header(&rows, decimal, &missing));
        let mut texts = vec![false; rows.first().map_or(0, Vec::len)];
        for row in &rows[usize::from(header).min(rows.len())..] {
            for (text, cell) in texts.iter_mut().zip(row) {
                *text |= !missing.contains(cell) && number(cell, decimal).is_none();
            }
        }
        Ok(Self { syntax, decimal, header, missing, texts })
    }
}

fn ascii(delimiter: char) -> Result<u8> {
    if delimiter.is_ascii() && !delimiter.is_ascii_alphanumeric() && !matches!(delimiter, '"' | '\n' | '\r' | '\0') {
        return Ok(delimiter as u8);
    }
    let problem = format!("{delimiter:?} cannot separate cells");
    Err(Error::setting("--delimiter", problem, "give another sign, such as , ; | or a tab"))
}

/// The rows of a sample as far as they are sound. The last one of a sample that goes on is left out, because it may be
/// cut.
fn rows(begin: &str, whole: bool, syntax: Syntax) -> Vec<Row<'_>> {
    let (mut rows, mut at) = (Vec::new(), syntax.skip_empty_lines(begin.as_bytes(), 0));
    while at < begin.len() {
        let Ok((cells, next)) = syntax.row(begin, at) else {
            if rows.is_empty() {
                rows.push(sound_cells(begin, at, syntax));
            }
            break;
        };
        if !whole && next == begin.len() && !rows.is_empty() {
            break;
        }
        rows.push(cells);
        at = syntax.skip_empty_lines(begin.as_bytes(), next);
    }
    rows
}

/// The cells before a fault, and the cell that has it, so that its row is still known to be split.
fn sound_cells(begin: &str, mut at: usize, syntax: Syntax) -> Row<'_> {
    let mut cells = Vec::new();
    while let Ok((cell, _, next)) = syntax.cell(begin, at) {
        cells.push(cell);
        at = next;
    }
    cells.push(Cow::Borrowed(""));
    cells
}

/// The delimiter that gives nearly all rows the same number of cells, more than one.
fn find_delimiter(begin: &str, whole: bool, line_end: u8, decimal: Option<u8>) -> (u8, Vec<Row<'_>>) {
    let mut best: Option<(Fit, u8, Vec<Row>)> = None;
    let mut fallback: Option<(usize, u8, Vec<Row>)> = None;
    for delimiter in DELIMITERS {
        if delimiter == b',' && decimal == Some(b',') {
            continue;
        }
        let rows = rows(begin, whole, Syntax { delimiter, line_end });
        let first = rows.first().map_or(0, Vec::len);
        if first < 2 {
            continue;
        }
        if let Some(fit) = Fit::of(&rows, delimiter) {
            if best.as_ref().is_none_or(|(other, ..)| fit > *other) {
                best = Some((fit, delimiter, rows));
            }
        } else if fallback.as_ref().is_none_or(|(cells, ..)| first > *cells)
            && rows.iter().filter(|row| row.len() > 1).count() * 2 > rows.len()
        {
            // Rows of different lengths: an error will say which.
            fallback = Some((first, delimiter, rows));
        }
    }
    match (best, fallback) {
        (Some((_, delimiter, rows)), _) | (None, Some((_, delimiter, rows))) => (delimiter, rows),
        (None, None) => {
            // A single column has no delimiter. A comma would cut texts, so a sign is taken that does not occur.
            let delimiter = DELIMITERS.into_iter().find(|&sign| !begin.as_bytes().contains(&sign)).unwrap_or(b',');
            (delimiter, rows(begin, whole, Syntax { delimiter, line_end }))
        }
    }
}

/// How well a delimiter fits, by what is compared first.
#[derive(PartialEq, PartialOrd)]
struct Fit {
    /// No cell has a quote that belongs to it, as it has if the delimiter lies within quotes.
    quotes: bool,
    /// The commas are those of numbers.
    decimals: bool,
    /// The part of the rows that have the same number of cells.
    rows: f64,
    cells: usize,
}

impl Fit {
    fn of(rows: &[Row], delimiter: u8) -> Option<Self> {
        let mut counts = std::collections::HashMap::<usize, usize>::new();
        for row in rows {
            *counts.entry(row.len()).or_default() += 1;
        }
        let (&cells, &count) = counts.iter().max_by_key(|(cells, count)| (**count, **cells))?;
        let part = count as f64 / rows.len() as f64;
        if cells < 2 || part < 0.9 {
            return None;
        }
        let mut commas = rows.iter().flatten().filter(|cell| cell.contains(',')).peekable();
        let decimals = delimiter != b',' && commas.peek().is_some() && commas.all(|cell| has_decimals(cell, ','));
        let quotes = !rows.iter().flatten().any(|cell| cell.starts_with('"') || cell.ends_with('"'));
        Some(Self { quotes, decimals, rows: part, cells })
    }
}

/// `-?\d+,\d+` for a comma.
fn has_decimals(cell: &str, sign: char) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    unsigned.split_once(sign).is_some_and(|(whole, fraction)| digits(whole) && digits(fraction))
}

/// A comma, if numbers have commas and none has a point. `1,234,567` is not such a number.
fn find_decimal(rows: &[Row]) -> u8 {
    let thousands = |cell: &str| {
        let mut groups = cell.split(',');
        cell.matches(',').count() > 1
            && groups.all(|group| (1..=3).contains(&group.len()) && number(group, b'.').is_some())
    };
    let (mut commas, mut points) = (false, false);
    for cell in rows.iter().flatten() {
        commas |= has_decimals(cell, ',');
        points |= has_decimals(cell, '.') || thousands(cell);
    }
    if commas && !points { b',' } else { b'.' }
}

/// Whether the first row names the columns. It does if it differs from the rows below: a text above numbers, or, where
/// all is text, texts that do not occur again.
fn has_header(rows: &[Row], decimal: u8, missing: &Missing) -> bool {
    let Some((first, below)) = rows.split_first() else { return true };
    if first.iter().any(|cell| number(cell, decimal).is_some()) {
        return false;
    }
    let above_numbers = |(column, name): (usize, &Cow<str>)| {
        let cells = || below.iter().filter_map(|row| row.get(column)).filter(|cell| !missing.contains(cell));
        let numbers = cells().filter(|cell| number(cell, decimal).is_some()).count();
        // A cell that is wrong further down must not turn the names into a row.
        !missing.contains(name) && 2 * numbers > cells().count()
    };
    if first.iter().enumerate().any(above_numbers) {
        return true;
    }
    let different: HashSet<&str> = first.iter().map(AsRef::as_ref).collect();
    let again = |(column, name): (usize, &Cow<str>)| below.iter().any(|row| row.get(column) == Some(name));
    different.len() == first.len() && !different.contains("") && !first.iter().enumerate().any(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(text: &str, delimiter: char, decimal: char, header: bool) {
        let found = Dialect::of(text, true, &ReadOptions::default()).unwrap();
        let said = (char::from(found.syntax.delimiter), char::from(found.decimal), found.header);
        assert_eq!(said, (delimiter, decimal, header), "{text}");
    }

    #[test]
    fn delimiters_are_found() {
        is("a,b\n1,2\n", ',', '.', true);
        is("a;b\n1;2\n", ';', '.', true);
        is("a\tb\n1\t2\n", '\t', '.', true);
        is("a|b\n1|2\n", '|', '.', true);
        is("\"a;x\",\"b;y\"\n\"1;1\",\"2;2\"\n", ',', '.', true);
        is("name,note\nx,\"p; q\"\ny,\"r; s\"\n", ',', '.', true);
        is("id;text\n1;a, b\n2;c, d\n", ';', '.', true);
        is("a\n1\n2\n", ',', '.', true);
        is("text\nhello, world\nyes\n", ';', '.', true);
        // Rows of different lengths are still split, so that an error can name the row.
        is("a,b,c\n1,2\n", ',', '.', true);
    }

    #[test]
    fn decimal_commas_are_found() {
        is("a;b\n1,5;2\n", ';', ',', true);
        is("a;b\n1,5;2,5\n-3,5;4,5\n", ';', ',', true);
        is("1,5\t2,5\n1,0\t3,5\n", '\t', ',', false);
        is("a;b\n1,5;2.5\n", ';', '.', true);
        is("a;b\n1,234,567;x\n1,5;y\n", ';', '.', true);
        is("a,b\n\"1,5\",2\n", ',', '.', true);
    }

    #[test]
    fn headers_are_found() {
        is("1,2\n3,4\n", ',', '.', false);
        is("x,2\ny,4\n", ',', '.', false);
        is("a,2020\nx,1\n", ',', '.', false);
        is(",a,b\n0,1,2\n", ',', '.', true);
        is("a,a\n1,2\n", ',', '.', true);
        is("y,n,y\nn,y,y\n", ',', '.', false);
        is("party,vote,word\nd,n,q\nr,y,q\n", ',', '.', true);
        is("d,n,q\nr,y,q\n", ',', '.', false);
        is("?,b,c\n1,b,c\n", ',', '.', false);
        is("a,b\n", ',', '.', true);
        is("a,b\n?,x\n1,y\n", ',', '.', true);
        is("a,b\n1,b\n2,c\noops,d\n", ',', '.', true);
        is("a,b\nx,b\n2,c\noops,d\n", ',', '.', false);
    }

    #[test]
    fn what_the_options_say_is_taken() {
        let options =
            ReadOptions { delimiter: Some(':'), decimal: Some(','), header: Some(true), ..Default::default() };
        let found = Dialect::of("1:2\n3,5:x\n", true, &options).unwrap();
        assert!(found.header && found.syntax.delimiter == b':' && found.decimal == b',');
        assert_eq!(found.texts, [false, true]);
        for (delimiter, decimal) in [(Some('x'), None), (Some('"'), None), (Some('…'), None), (None, Some(';'))] {
            let options = ReadOptions { delimiter, decimal, ..Default::default() };
            assert!(matches!(Dialect::of("a", true, &options), Err(Error::Setting { .. })));
        }
    }
}
