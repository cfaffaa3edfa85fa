//! Delimited text: whole files on several threads, or part by part.
//!
//! The text is cut into pieces at ends of rows. Each piece is parsed on its own: cells of a column of numbers become
//! numbers at once, others become codes of a vocabulary that refers to the text. What a column is follows from all of its
//! cells, whatever the pieces are: if a column turns out to be texts only later, it is parsed a second time. The results
//! of the pieces are then joined in order, so that they do not depend on the number of threads.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use syva_core::table::{Column, MISSING, ReadOptions, Table, Texts, Values};
use syva_core::text::grouped;
use syva_core::{Error, Result, threads};

use crate::cells::{self, number, plain_number};
use crate::csv::{self, Part};
use crate::dialect::{Dialect, SAMPLE};
use crate::input::{STEP, Text};
use crate::rows::Fault;

/// Bytes of a piece that is parsed at once.
const PIECE: usize = 1 << 20;
/// Bytes of text of a part.
const PART: usize = 8 << 20;
/// The longest row of a part. A quote that is never closed would make the rest of a file one cell.
const LONGEST: usize = 256 << 20;

/// A text in memory that begins with a row of data.
struct Source<'a> {
    path: &'a Path,
    content: &'a [u8],
    /// Where the first row of data begins.
    start: usize,
    /// For each cell of a row, the place of its column in the table.
    columns: Vec<usize>,
    /// Rows and lines before the content.
    before: (usize, usize),
}

/// What a column is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Numbers; others may follow unless this is known.
    Numbers { known: bool },
    /// Texts; they must not nearly all be numbers unless this is known.
    Texts { known: bool },
    /// Not at all: in a second pass, or because nobody asks for it.
    Skip,
}

/// A column of a piece.
enum Cells<'a> {
    Numbers { values: Vec<f64>, missing: usize, others: usize, first_other: usize, first_infinite: Option<usize> },
    Texts { places: HashMap<Cow<'a, str>, u32, RandomState>, vocabulary: Vec<Cow<'a, str>>, codes: Vec<u32> },
    Skip,
}

/// Something wrong in a piece.
struct Wrong {
    /// The byte of the source where the row begins.
    at: usize,
    row: usize,
    cell: Option<usize>,
    problem: String,
    remedy: String,
}

struct Parsed<'a> {
    rows: usize,
    columns: Vec<Cells<'a>>,
}

type Outcome<'a> = std::result::Result<Parsed<'a>, Wrong>;

impl<'a> Cells<'a> {
    fn new(plan: Plan, rows: usize) -> Self {
        match plan {
            Plan::Numbers { .. } => Self::Numbers {
                values: Vec::with_capacity(rows),
                missing: 0,
                others: 0,
                first_other: 0,
                first_infinite: None,
            },
            Plan::Texts { .. } => {
                Self::Texts { places: HashMap::default(), vocabulary: Vec::new(), codes: Vec::with_capacity(rows) }
            }
            Plan::Skip => Self::Skip,
        }
    }

    fn push(&mut self, cell: Cow<'a, str>, dialect: &Dialect) {
        match self {
            Self::Numbers { values, missing, others, first_other, first_infinite } => {
                let value = match number(&cell, dialect.decimal) {
                    Some(_) if dialect.missing.numbers && dialect.missing.contains(&cell) => None,
                    value => value,
                };
                match value {
                    Some(value) if value.is_infinite() => {
                        first_infinite.get_or_insert(values.len());
                        values.push(value);
                    }
                    Some(value) => values.push(value),
                    None => {
                        if dialect.missing.contains(&cell) {
                            *missing += 1;
                        } else {
                            if *others == 0 {
                                *first_other = values.len();
                            }
                            *others += 1;
                        }
                        values.push(f64::NAN);
                    }
                }
            }
            Self::Texts { places, vocabulary, codes } => {
                let code = match places.get(cell.as_ref()) {
                    Some(&code) => code,
                    None if dialect.missing.contains(&cell) => {
                        places.insert(cell, MISSING);
                        MISSING
                    }
                    None => {
                        let code = vocabulary.len() as u32;
                        vocabulary.push(cell.clone());
                        places.insert(cell, code);
                        code
                    }
                };
                codes.push(code);
            }
            Self::Skip => {}
        }
    }
}

/// Parses a piece of a source.
fn parse<'a>(source: &Source<'a>, piece: Range<usize>, plans: &[Plan], dialect: &Dialect) -> Outcome<'a> {
    let bytes = &source.content[piece.clone()];
    let text = std::str::from_utf8(bytes).map_err(|error| not_text(source, &piece, error.valid_up_to(), dialect))?;
    if let Some(zero) = memchr::memchr(0, bytes) {
        let (row, at, cell) = place(source, &piece, zero, dialect);
        let problem = "there is a NUL byte, which no text has".to_string();
        let remedy = "if the file is UTF-16, give --encoding utf-16le or utf-16be; if it is damaged, get it again";
        return Err(Wrong { at, row, cell: Some(cell), problem, remedy: remedy.into() });
    }
    let syntax = dialect.syntax;
    let width = source.columns.len();
    // A row has a byte per cell at least, except the last one, which may lack its end.
    let expected_rows = (memchr::memchr_iter(syntax.line_end, bytes).count() + 1).min(bytes.len() / width.max(1) + 1);
    let mut columns: Vec<Cells> = source.columns.iter().map(|&c| Cells::new(plans[c], expected_rows)).collect();
    let (mut rows, mut at) = (0, syntax.skip_empty_lines(bytes, 0));
    while at < bytes.len() {
        let begin = at;
        let mut cell = 0;
        loop {
            // Most cells of columns of numbers are plain ones, and end where their digits do.
            if let Some(Cells::Numbers { values, .. }) = columns.get_mut(cell)
                && !dialect.missing.numbers
                && let Some((value, end)) = plain_number(text, at, dialect.decimal)
                && let Some((last, next)) = syntax.after_blanks(bytes, end)
            {
                values.push(value);
                (cell, at) = (cell + 1, next);
                if last {
                    break;
                }
                continue;
            }
            let (content, last, next) =
                syntax.cell(text, at).map_err(|fault| broken(source, &piece, fault, rows, begin, cell, dialect))?;
            if let Some(column) = columns.get_mut(cell) {
                column.push(content, dialect);
            }
            (cell, at) = (cell + 1, next);
            if last {
                break;
            }
        }
        if cell != width {
            let problem = format!("there are {cell} cells, and there should be {width}");
            let remedy =
                "correct the row; quote cells that hold the delimiter, or give another --delimiter".to_string();
            return Err(Wrong { at: piece.start + begin, row: rows, cell: None, problem, remedy });
        }
        rows += 1;
        at = syntax.skip_empty_lines(bytes, at);
    }
    // In the order of the table's columns.
    let mut ordered: Vec<Cells> = plans.iter().map(|_| Cells::Skip).collect();
    for (column, &place) in columns.into_iter().zip(&source.columns) {
        ordered[place] = column;
    }
    Ok(Parsed { rows, columns: ordered })
}

/// The row, its beginning and the cell in which a byte of a piece lies.
fn place(source: &Source, piece: &Range<usize>, byte: usize, dialect: &Dialect) -> (usize, usize, usize) {
    let before = &source.content[piece.start..piece.start + byte];
    let text = String::from_utf8_lossy(before);
    // What comes before the byte is valid, so that the text has the same bytes.
    let (mut row, mut at) = (0, dialect.syntax.skip_empty_lines(before, 0));
    loop {
        let begin = at;
        let mut cell = 0;
        loop {
            match dialect.syntax.cell(&text, at) {
                Ok((_, _, next)) if next >= text.len() => {
                    // The cell ends with the text: the byte belongs to it, unless a separator is the last character.
                    let last = text.as_bytes().last().copied();
                    if last == Some(dialect.syntax.line_end) && next > at {
                        return (row + 1, piece.start + next, 0);
                    }
                    let separated = last == Some(dialect.syntax.delimiter) && next > at;
                    return (row, piece.start + begin, cell + usize::from(separated));
                }
                Ok((_, true, next)) => {
                    at = next;
                    break;
                }
                Ok((_, false, next)) => {
                    (cell, at) = (cell + 1, next);
                }
                Err(_) => return (row, piece.start + begin, cell),
            }
        }
        row += 1;
        at = dialect.syntax.skip_empty_lines(before, at);
    }
}

fn not_text(source: &Source, piece: &Range<usize>, byte: usize, dialect: &Dialect) -> Wrong {
    let (row, at, cell) = place(source, piece, byte, dialect);
    let found = source.content[piece.start + byte];
    Wrong {
        at,
        row,
        cell: Some(cell),
        problem: format!("byte {found:#04x} does not belong to a text in the file's encoding"),
        remedy: "name the encoding, for example --encoding windows-1252".into(),
    }
}

fn broken(
    source: &Source,
    piece: &Range<usize>,
    fault: Fault,
    row: usize,
    begin: usize,
    cell: usize,
    dialect: &Dialect,
) -> Wrong {
    let at = piece.start + begin;
    let (problem, remedy) = match fault {
        Fault::Unclosed(quote) => {
            let line = source.before.1 + 1 + lines(&source.content[..piece.start + quote], dialect);
            let problem = format!("the quote that opens in line {line} is not closed");
            (problem, "close it; double quotes that belong to the text".to_string())
        }
        Fault::AfterQuote(quote) => {
            let rest = String::from_utf8_lossy(&source.content[piece.start + quote + 1..piece.end]);
            let rest: String = rest.chars().take(12).take_while(|sign| !sign.is_control()).collect();
            let problem = format!("'{rest}' follows the closing quote of a cell");
            (problem, "double quotes that belong to the text".to_string())
        }
    };
    Wrong { at, row, cell: Some(cell), problem, remedy }
}

fn lines(bytes: &[u8], dialect: &Dialect) -> usize {
    memchr::memchr_iter(dialect.syntax.line_end, bytes).count()
}

/// The names of the columns, and where the first row of data begins.
fn names(path: &Path, content: &[u8], dialect: &Dialect, whole: bool) -> Result<(Vec<String>, usize)> {
    let source = Source { path, content, start: 0, columns: Vec::new(), before: (0, 0) };
    let start = dialect.syntax.skip_empty_lines(content, 0);
    // Up to the end of the first row.
    let piece = 0..dialect.syntax.split(&content[start..], 1).first().map_or(content.len(), |row| start + row.end);
    let fail = |wrong: Wrong| error(&source, wrong, None, &[], dialect);
    let text = std::str::from_utf8(&content[piece.clone()])
        .map_err(|error| fail(not_text(&source, &piece, error.valid_up_to(), dialect)))?;
    if start >= content.len() {
        let problem = if whole { "it has empty lines only" } else { "it begins with empty lines only" };
        return Err(Error::file(path, "the whole file", problem, "write or download it again"));
    }
    let (cells, next) = dialect.syntax.row(text, start).map_err(|fault| {
        let (mut cell, mut at) = (0, start);
        while let Ok((_, _, next)) = dialect.syntax.cell(text, at) {
            (cell, at) = (cell + 1, next);
        }
        fail(broken(&source, &piece, fault, 0, start, cell, dialect))
    })?;
    let made = |place: usize| format!("column_{}", place + 1);
    if !dialect.header {
        return Ok(((0..cells.len()).map(made).collect(), start));
    }
    let name = |(place, cell): (usize, Cow<str>)| if cell.trim().is_empty() { made(place) } else { cell.into_owned() };
    let names: Vec<String> = cells.into_iter().enumerate().map(name).collect();
    let mut places = HashMap::new();
    for (place, name) in names.iter().enumerate() {
        if let Some(before) = places.insert(name, place) {
            let problem = format!("columns {} and {} are both named '{name}'", before + 1, place + 1);
            let place = format!("header (line {})", 1 + lines(&content[..start], dialect));
            return Err(Error::file(path, place, problem, "rename one of them"));
        }
    }
    Ok((names, next))
}

/// An error with its place. `row` counts in the source.
fn error(source: &Source, wrong: Wrong, rows_before: Option<usize>, names: &[String], dialect: &Dialect) -> Error {
    let line = source.before.1 + 1 + lines(&source.content[..wrong.at.min(source.content.len())], dialect);
    let place = match rows_before {
        Some(rows) => format!("row {} (line {line})", source.before.0 + rows + wrong.row + 1),
        None if dialect.header => format!("header (line {line})"),
        None => format!("row {} (line {line})", source.before.0 + wrong.row + 1),
    };
    let column = match wrong.cell {
        Some(cell) => match source.columns.get(cell).and_then(|&column| names.get(column)) {
            Some(name) => format!(", column '{name}'"),
            None => format!(", column {}", cell + 1),
        },
        None => String::new(),
    };
    Error::file(source.path, place + &column, wrong.problem, wrong.remedy)
}

/// Reads the sources as one table.
fn table(sources: &[Source], names: &[String], plans: &mut [Plan], dialect: &Dialect) -> Result<Loose> {
    let mut pieces = Vec::new();
    for (i, source) in sources.iter().enumerate() {
        let content = &source.content[source.start..];
        let mut end = 0;
        for piece in dialect.syntax.split(content, PIECE) {
            end = piece.end;
            pieces.push((i, source.start + piece.start..source.start + piece.end));
        }
        if end < content.len() {
            pieces.push((i, source.start + end..source.content.len()));
        }
    }
    let mut parsed = parse_all(sources, &pieces, names, plans, dialect)?;
    if kinds(sources, &pieces, &parsed, names, plans, dialect)? {
        // Texts where numbers were expected: these columns once more.
        let again: Vec<Plan> = plans
            .iter()
            .enumerate()
            .map(|(c, &plan)| {
                let numbers = |piece: &Parsed| matches!(piece.columns[c], Cells::Numbers { .. });
                let wrong = matches!(plan, Plan::Texts { .. }) && parsed.iter().any(numbers);
                if wrong { plan } else { Plan::Skip }
            })
            .collect();
        let second = parse_all(sources, &pieces, names, &again, dialect)?;
        for (piece, second) in parsed.iter_mut().zip(second) {
            for (column, second) in piece.columns.iter_mut().zip(second.columns) {
                if !matches!(second, Cells::Skip) {
                    *column = second;
                }
            }
        }
    }
    join(parsed, plans)
}

/// Parses all pieces. Of several errors, the first one in the files counts.
fn parse_all<'a>(
    sources: &[Source<'a>],
    pieces: &[(usize, Range<usize>)],
    names: &[String],
    plans: &[Plan],
    dialect: &Dialect,
) -> Result<Vec<Parsed<'a>>> {
    let outcomes: Vec<Mutex<Option<Outcome>>> = pieces.iter().map(|_| Mutex::new(None)).collect();
    let work = |((source, piece), outcome): (&(usize, Range<usize>), &Mutex<Option<Outcome<'a>>>)| {
        let parsed = parse(&sources[*source], piece.clone(), plans, dialect);
        *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(parsed);
    };
    threads::share(threads::cores().min(pieces.len()), pieces.iter().zip(&outcomes), work);
    let mut parsed = Vec::with_capacity(pieces.len());
    let mut rows = vec![0; sources.len()];
    for ((source, _), outcome) in pieces.iter().zip(outcomes) {
        match outcome.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Ok(piece)) => {
                rows[*source] += piece.rows;
                parsed.push(piece);
            }
            Some(Err(wrong)) => return Err(error(&sources[*source], wrong, Some(rows[*source]), names, dialect)),
            None => {}
        }
    }
    Ok(parsed)
}

/// Decides what each column is. Whether a column has to be parsed again.
fn kinds(
    sources: &[Source],
    pieces: &[(usize, Range<usize>)],
    parsed: &[Parsed],
    names: &[String],
    plans: &mut [Plan],
    dialect: &Dialect,
) -> Result<bool> {
    let mut again = false;
    for (c, plan) in plans.iter_mut().enumerate() {
        // Numbers, other texts, the first of them, the first infinite number: places as piece and row.
        let (mut numbers, mut others, mut first, mut infinite) = (0, 0, None, None);
        for (p, piece) in parsed.iter().enumerate() {
            match &piece.columns[c] {
                Cells::Numbers { values, missing, others: more, first_other, first_infinite } => {
                    numbers += values.len() - missing - more;
                    others += more;
                    first = first.or((*more > 0).then_some((p, *first_other)));
                    infinite = infinite.or(first_infinite.map(|row| (p, row)));
                }
                Cells::Texts { vocabulary, codes, .. } if *plan == (Plan::Texts { known: false }) => {
                    let numeric: Vec<bool> =
                        vocabulary.iter().map(|text| number(text, dialect.decimal).is_some()).collect();
                    for (row, &code) in codes.iter().enumerate().filter(|(_, code)| **code != MISSING) {
                        if numeric[code as usize] {
                            numbers += 1;
                        } else {
                            others += 1;
                            first = first.or(Some((p, row)));
                        }
                    }
                }
                _ => {}
            }
        }
        let fail = |(p, row): (usize, usize), say: &dyn Fn(&str) -> (String, String)| {
            let (s, piece) = &pieces[p];
            let source = &sources[*s];
            let before = parsed[..p].iter().zip(pieces).filter(|(_, (other, _))| other == s).map(|(p, _)| p.rows).sum();
            let cell = source.columns.iter().position(|&column| column == c);
            let (at, text) = find(source, piece, row, cell.unwrap_or_default(), dialect);
            let (problem, remedy) = say(&text);
            error(source, Wrong { at, row, cell, problem, remedy }, Some(before), names, dialect)
        };
        let name = &names[c];
        match *plan {
            Plan::Numbers { known } if others > 0 => {
                if known && let Some(first) = first {
                    return Err(fail(first, &|text| {
                        let problem = format!("'{text}' is not a number, as this column's cells are");
                        let remedy = format!(
                            "correct it, give --missing '{text}' if it means that nothing is known, or \
                             --categorical '{name}' if the column's values are categories"
                        );
                        (problem, remedy)
                    }));
                }
                *plan = Plan::Texts { known: false };
                again = true;
            }
            Plan::Numbers { .. } => {
                if let Some(infinite) = infinite {
                    return Err(fail(infinite, &|text| {
                        let problem = format!("'{text}' is not a finite number");
                        (problem, format!("give a finite one, leave the cell empty, or give --missing '{text}'"))
                    }));
                }
            }
            Plan::Texts { .. } | Plan::Skip => {}
        }
        if *plan == (Plan::Texts { known: false })
            && numbers >= 20
            && numbers >= 19 * others
            && let Some(first) = first
        {
            return Err(fail(first, &|text| {
                let total = grouped((numbers + others) as u64);
                let problem = format!(
                    "'{text}' is not a number, but {} of this column's {total} cells are",
                    grouped(numbers as u64)
                );
                let remedy = format!(
                    "correct it, give --missing '{text}' if it means that nothing is known, or \
                     --categorical '{name}' if the column's values are categories"
                );
                (problem, remedy)
            }));
        }
    }
    Ok(again)
}

/// Where a row of a piece begins, and the text of one of its cells.
fn find(source: &Source, piece: &Range<usize>, row: usize, cell: usize, dialect: &Dialect) -> (usize, String) {
    let text = String::from_utf8_lossy(&source.content[piece.clone()]);
    let mut at = dialect.syntax.skip_empty_lines(text.as_bytes(), 0);
    for i in 0..=row {
        let Ok((cells, next)) = dialect.syntax.row(&text, at) else { break };
        if i == row {
            let text: String = cells.get(cell).map_or(String::new(), |cell| cell.chars().take(40).collect());
            return (piece.start + at, text);
        }
        at = dialect.syntax.skip_empty_lines(text.as_bytes(), next);
    }
    (piece.start + at, String::new())
}

/// A table whose columns of numbers are still in pieces. It no longer needs the text, whose memory can be freed before
/// these are copied.
struct Loose {
    rows: usize,
    columns: Vec<LooseColumn>,
}

enum LooseColumn {
    Numbers(Vec<Vec<f64>>),
    Texts(Texts),
}

/// Joins the columns of texts, and leaves those out that were not read.
fn join(parsed: Vec<Parsed>, plans: &[Plan]) -> Result<Loose> {
    let rows = parsed.iter().map(|piece| piece.rows).sum();
    let read = || plans.iter().map(|&plan| plan != Plan::Skip);
    let mut columns: Vec<Vec<Cells>> = read().filter(|&read| read).map(|_| Vec::with_capacity(parsed.len())).collect();
    for piece in parsed {
        let cells = piece.columns.into_iter().zip(read()).filter_map(|(cells, read)| read.then_some(cells));
        columns.iter_mut().zip(cells).for_each(|(column, cells)| column.push(cells));
    }
    let columns = each_column(columns, |pieces| {
        if pieces.iter().any(|piece| matches!(piece, Cells::Texts { .. })) {
            return join_texts(pieces, rows).map(LooseColumn::Texts);
        }
        let numbers = pieces.into_iter().filter_map(|piece| match piece {
            Cells::Numbers { values, .. } => Some(values),
            _ => None,
        });
        Ok(LooseColumn::Numbers(numbers.collect()))
    })?;
    Ok(Loose { rows, columns })
}

impl Loose {
    /// Joins the columns of numbers.
    fn table<'a>(self, names: impl Iterator<Item = &'a String>) -> Result<Table> {
        let values = each_column(self.columns, |column| {
            Ok(match column {
                LooseColumn::Texts(texts) => Values::Texts(texts),
                LooseColumn::Numbers(pieces) => {
                    let mut all = Vec::with_capacity(self.rows);
                    for piece in pieces {
                        all.extend_from_slice(&piece);
                    }
                    Values::Numbers(all)
                }
            })
        })?;
        Table::new(names.zip(values).map(|(name, values)| Column::new(name.clone(), values)).collect())
    }
}

/// Columns are independent, so each is one thread's work.
fn each_column<T: Send, U: Send>(columns: Vec<T>, work: impl Fn(T) -> Result<U> + Sync) -> Result<Vec<U>> {
    let done: Vec<Mutex<Option<Result<U>>>> = columns.iter().map(|_| Mutex::new(None)).collect();
    threads::share(threads::cores(), columns.into_iter().zip(&done), |(column, done)| {
        *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(work(column));
    });
    done.into_iter().filter_map(|done| done.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

fn join_texts(pieces: Vec<Cells>, rows: usize) -> Result<Texts> {
    let (mut all, mut codes_of_all) = (Vec::<String>::new(), Vec::with_capacity(rows));
    let mut places = HashMap::<Cow<str>, u32, RandomState>::default();
    let mut map = Vec::new();
    for piece in pieces {
        let Cells::Texts { vocabulary, codes, .. } = piece else { continue };
        map.clear();
        for text in vocabulary {
            let next = all.len() as u32;
            map.push(*places.entry(text).or_insert_with_key(|text| {
                all.push(text.to_string());
                next
            }));
        }
        codes_of_all.extend(codes.iter().map(|&code| if code == MISSING { code } else { map[code as usize] }));
    }
    Texts::new(all, codes_of_all)
}

/// What the columns are read as, from the options and the beginning of the file.
fn plans(names: &[String], dialect: &Dialect, options: &ReadOptions) -> Result<Vec<Plan>> {
    let plan = |(name, &text): (&String, &bool)| match (options.texts.contains(name), options.numbers.contains(name)) {
        (true, true) => {
            let problem = format!("column '{name}' cannot have numbers and categories");
            Err(Error::setting("--categorical", problem, "name it for one of them"))
        }
        (true, false) => Ok(Plan::Texts { known: true }),
        (false, true) => Ok(Plan::Numbers { known: true }),
        (false, false) if text => Ok(Plan::Texts { known: false }),
        (false, false) => Ok(Plan::Numbers { known: false }),
    };
    // The sample may have been too short to hold a row.
    let texts = dialect.texts.iter().chain(std::iter::repeat(&false));
    names.iter().zip(texts).map(plan).collect()
}

/// Whether a value is not missing.
fn has_values(values: &Values) -> bool {
    (0..values.len()).any(|row| !values.is_missing(row))
}

/// The options with everything that was found out.
fn found(options: &ReadOptions, dialect: &Dialect, encoding: &str, table: &Table) -> ReadOptions {
    let mut found = options.clone();
    found.delimiter.get_or_insert(char::from(dialect.syntax.delimiter));
    found.header.get_or_insert(dialect.header);
    found.decimal.get_or_insert(char::from(dialect.decimal));
    found.encoding.get_or_insert_with(|| encoding.to_ascii_lowercase());
    found.missing.get_or_insert_with(|| cells::MISSING.iter().map(ToString::to_string).collect());
    for column in table.columns() {
        let (list, other) = match &column.values {
            Values::Texts(_) => (&mut found.texts, &mut found.numbers),
            Values::Numbers(_) => (&mut found.numbers, &mut found.texts),
        };
        // A column without any value may get either.
        if !list.contains(&column.name) && !other.contains(&column.name) && has_values(&column.values) {
            list.push(column.name.clone());
        }
    }
    found
}

/// The beginning of a content as text, and whether that is all of it: [`SAMPLE`] bytes, or some lines if they are longer.
fn beginning(content: &[u8]) -> (Cow<'_, str>, bool) {
    const LINES: usize = 12;
    const LONGEST: usize = 4 << 20;
    let most = &content[..content.len().min(LONGEST)];
    let end = memchr::memchr2_iter(b'\n', b'\r', most).nth(LINES).unwrap_or(most.len());
    let begin = &content[..end.max(SAMPLE).min(content.len())];
    let text = match std::str::from_utf8(begin) {
        Ok(text) => text.into(),
        // A character that is cut where the sample ends.
        Err(error) if error.error_len().is_none() => String::from_utf8_lossy(&begin[..error.valid_up_to()]),
        // Other bytes do not change what separates the cells; an error will name them.
        Err(_) => String::from_utf8_lossy(begin),
    };
    (text, begin.len() == content.len())
}

/// Reads whole files as one table.
pub(crate) fn read(files: Vec<(&PathBuf, Text)>, options: &ReadOptions) -> Result<(Table, ReadOptions)> {
    let mut contents = Vec::with_capacity(files.len());
    let mut encoding = "utf-8";
    for (i, (path, text)) in files.into_iter().enumerate() {
        if i == 0 {
            encoding = text.encoding.name();
        }
        contents.push((path, text.all(path)?));
    }
    let Some((_, first)) = contents.first() else { return Ok((Table::default(), options.clone())) };
    let (begin, whole) = beginning(first);
    let dialect = Dialect::of(&begin, whole, options)?;
    drop(begin);
    let mut all: Vec<String> = Vec::new();
    let mut sources = Vec::with_capacity(contents.len());
    for (i, (path, content)) in contents.iter().enumerate() {
        let (names, start) = names(path, content, &dialect, true)?;
        let columns = if i == 0 {
            all = names;
            (0..all.len()).collect()
        } else {
            match_columns(&all, &names, contents[0].0, path)?
        };
        let before = (0, 0);
        if dialect.syntax.skip_empty_lines(content, start) >= content.len() && dialect.header {
            return Err(no_rows(path));
        }
        sources.push(Source { path, content, start, columns, before });
    }
    let mut plans = plans(&all, &dialect, options)?;
    let loose = table(&sources, &all, &mut plans, &dialect)?;
    drop(sources);
    drop(contents);
    let table = loose.table(all.iter())?;
    let found = found(options, &dialect, encoding, &table);
    Ok((table, found))
}

fn no_rows(path: &Path) -> Error {
    Error::file(path, "the whole file", "it has a header and no rows", "name a file with data")
}

/// For each name of another file, its place among those of the first.
pub(crate) fn match_columns(first: &[String], names: &[String], first_path: &Path, path: &Path) -> Result<Vec<usize>> {
    let differ = |problem: String| {
        Err(Error::file(path, "columns", problem, format!("give files with the columns of {}", first_path.display())))
    };
    if let Some(lacking) = first.iter().find(|name| !names.contains(name)) {
        return differ(format!("there is no column '{lacking}'"));
    }
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        match first.iter().position(|other| other == name) {
            Some(place) => places.push(place),
            None => return differ(format!("column '{name}' is additional")),
        }
    }
    Ok(places)
}

/// A text part by part.
pub(crate) struct Parts {
    path: PathBuf,
    text: Text,
    options: ReadOptions,
    /// The columns that are asked for; all if there are none.
    only: Vec<String>,
    /// What is read and not yet parsed.
    pending: Vec<u8>,
    ended: bool,
    state: Option<State>,
}

/// What the first part says about the others.
struct State {
    dialect: Dialect,
    names: Vec<String>,
    plans: Vec<Plan>,
    /// Rows and lines so far.
    before: (usize, usize),
}

impl Parts {
    pub fn new(path: &Path, text: Text, options: &ReadOptions) -> Self {
        let (path, options) = (path.into(), options.clone());
        Self { path, text, options, only: Vec::new(), pending: Vec::new(), ended: false, state: None }
    }

    /// Leaves out all other columns, if the text has these.
    pub fn only(&mut self, columns: Vec<String>) {
        self.only = columns;
    }

    /// Fills the buffer up to a size, or with all that is left.
    fn fill(&mut self, size: usize) -> Result<()> {
        while !self.ended && self.pending.len() < size {
            self.ended = !self.text.more(&self.path, &mut self.pending)?;
        }
        Ok(())
    }

    /// The next part, `None` at the end.
    pub fn next(&mut self) -> Result<Option<Part>> {
        let mut size = PART;
        self.fill(size)?;
        let (mut state, start) = match self.state.take() {
            Some(state) => (state, 0),
            None => self.begin()?,
        };
        // Up to the last row that is complete.
        let end = loop {
            if self.ended {
                break self.pending.len();
            }
            match state.dialect.syntax.split(&self.pending[start..], usize::MAX / 2).last() {
                Some(rows) => break start + rows.end,
                None if size >= LONGEST => {
                    let place = format!("row {} (line {})", state.before.0 + 1, state.before.1 + 1);
                    let problem = format!("there is no end of this row in {} MiB", LONGEST >> 20);
                    return Err(Error::file(&self.path, place, problem, "close the quotes that are open"));
                }
                None => size *= 2,
            }
            self.fill(size)?;
        };
        let content = &self.pending[..end];
        if state.dialect.syntax.skip_empty_lines(content, start) >= content.len() && self.ended {
            return if state.before.0 == 0 { Err(no_rows(&self.path)) } else { Ok(None) };
        }
        let columns = (0..state.names.len()).collect();
        let source = Source { path: &self.path, content, start, columns, before: state.before };
        let loose = table(&[source], &state.names, &mut state.plans, &state.dialect)?;
        let is_read = |(name, &plan)| (plan != Plan::Skip).then_some(name);
        let table = loose.table(state.names.iter().zip(&state.plans).filter_map(is_read))?;
        for (plan, column) in state.plans.iter_mut().filter(|plan| **plan != Plan::Skip).zip(table.columns()) {
            // From here on, the kind is known. Without any value, it is still to be found out.
            *plan = match &column.values {
                Values::Texts(_) => Plan::Texts { known: true },
                Values::Numbers(_) => Plan::Numbers { known: has_values(&column.values) || plan.is_known() },
            };
        }
        let rows = state.before.0;
        state.before = (rows + table.rows(), state.before.1 + lines(content, &state.dialect));
        // What is left is little.
        let mut left = Vec::with_capacity(PART + 2 * STEP);
        left.extend(self.pending.drain(end..));
        // It was parsed, so that it is UTF-8.
        let content = String::from_utf8(std::mem::replace(&mut self.pending, left))
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        let (Dialect { syntax, decimal, .. }, names) = (&state.dialect, state.names.clone());
        let text = csv::Text { content, start, syntax: *syntax, decimal: *decimal, names };
        self.state = Some(state);
        Ok(Some(Part::of_text(table.after(rows), text)))
    }

    fn begin(&mut self) -> Result<(State, usize)> {
        let (begin, whole) = beginning(&self.pending);
        let dialect = Dialect::of(&begin, whole && self.ended, &self.options)?;
        let (names, start) = names(&self.path, &self.pending, &dialect, self.ended)?;
        let mut plans = plans(&names, &dialect, &self.options)?;
        if self.only.iter().all(|name| names.contains(name)) && !self.only.is_empty() {
            let is_left_out = |name: &String| !self.only.contains(name);
            plans.iter_mut().zip(&names).filter(|(_, name)| is_left_out(name)).for_each(|(plan, _)| *plan = Plan::Skip);
        }
        Ok((State { dialect, names, plans, before: (0, 0) }, start))
    }
}

impl Plan {
    fn is_known(self) -> bool {
        matches!(self, Self::Numbers { known: true } | Self::Texts { known: true })
    }
}
