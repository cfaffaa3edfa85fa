//! NumPy's arrays: one (NPY), or an archive of them with equally many rows (NPZ).
//!
//! Formats: NEP 1 and `numpy.lib.format` for arrays; an archive is a ZIP of them. Pickled arrays are refused, because
//! reading a pickle can run code.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use syva_core::table::{ReadOptions, Table};
use syva_core::{Error, Result};
use zip::{CompressionMethod, ZipArchive};

use crate::builder::{Builder, finish};
use crate::half::half;

/// Bytes of a part, over all arrays.
const PART: usize = 8 << 20;
/// The longest header of an array.
const HEADER: usize = 1 << 16;

const AGAIN: &str = "the file is damaged or cut off: write or download it again";

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Element {
    kind: Kind,
    /// Bytes.
    size: usize,
    big: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Bool,
    Signed,
    Unsigned,
    Float,
    /// Characters of four bytes.
    Unicode,
    /// Texts of bytes.
    Bytes,
}

/// An array that is read from its first row to its last.
struct Array {
    /// Its name in the archive.
    name: String,
    stream: CrcReader<Box<dyn Read + Send>>,
    /// Of the archive.
    checksum: Option<u32>,
    element: Element,
    rows: usize,
    /// The columns of a matrix.
    columns: Option<usize>,
    /// All elements of a matrix that is stored column by column.
    by_column: Option<Vec<u8>>,
}

/// The arrays of a file, row by row.
pub(crate) struct Rows {
    path: PathBuf,
    arrays: Vec<Array>,
    pub names: Vec<String>,
    builders: Vec<Builder>,
    options: ReadOptions,
    count: usize,
    before: usize,
}

impl Rows {
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        let open = || File::open(path).map_err(Error::io("read", path));
        let mut file = open()?;
        let mut magic = [0; 2];
        file.read_exact(&mut magic).map_err(Error::io("read", path))?;
        file.rewind().map_err(Error::io("read", path))?;
        let mut arrays = Vec::new();
        let archive = magic == *b"PK";
        if archive {
            let bad = |error: zip::result::ZipError| Error::file(path, "archive", error.to_string(), AGAIN);
            let stored = file.metadata().map_err(Error::io("read", path))?.len();
            let mut archive = ZipArchive::new(BufReader::new(file)).map_err(bad)?;
            for index in 0..archive.len() {
                let member = archive.by_index_raw(index).map_err(bad)?;
                let full = member.name().map_err(bad)?.into_owned();
                let name = full.strip_suffix(".npy").unwrap_or(&full).to_string();
                let refuse = |problem: &str, remedy: &str| Err(Error::file(path, format!("'{full}'"), problem, remedy));
                if member.encrypted() {
                    return refuse("it is encrypted", "write the archive without a password");
                }
                if member.is_dir() || name == full {
                    return refuse("it is not a NumPy array", "write the archive with numpy.savez");
                }
                let Some(start) = member.data_start() else { return refuse("it has no data", AGAIN) };
                let (packed, promised) = (member.compressed_size().min(stored), member.size());
                let checksum = Some(member.crc32());
                let method = member.compression();
                drop(member);
                let mut file = open()?;
                file.seek(SeekFrom::Start(start)).map_err(Error::io("read", path))?;
                let content = BufReader::new(file).take(packed);
                let (stream, most): (Box<dyn Read + Send>, u64) = match method {
                    CompressionMethod::Stored => (Box::new(content), packed),
                    // Deflate packs 1032 bytes into one at most.
                    CompressionMethod::Deflated => {
                        (Box::new(DeflateDecoder::new(content)), promised.min(packed.saturating_mul(1032)))
                    }
                    other => return refuse(&format!("it is packed with {other}"), "write it with numpy.savez"),
                };
                arrays.push(Array::open(path, name, stream, most, checksum)?);
            }
        } else {
            let most = file.metadata().map_err(Error::io("read", path))?.len();
            arrays.push(Array::open(path, String::new(), Box::new(BufReader::new(file)), most, None)?);
        }
        let Some(first) = arrays.first() else {
            return Err(Error::file(path, "archive", "it holds no arrays", "name a file with data"));
        };
        let rows = first.rows;
        if let Some(other) = arrays.iter().find(|array| array.rows != rows) {
            let problem = format!("array '{}' has {} rows, and '{}' has {rows}", other.name, other.rows, first.name);
            return Err(Error::file(path, "archive", problem, "write arrays with equally many"));
        }
        if rows == 0 {
            return Err(Error::file(path, "the whole file", "it has no rows", "name a file with data"));
        }
        let (mut names, mut builders) = (Vec::new(), Vec::new());
        for array in &arrays {
            for column in 0..array.width() {
                names.push(match (archive, array.columns) {
                    (true, None) => array.name.clone(),
                    (true, Some(_)) => format!("{}_{}", array.name, column + 1),
                    (false, _) => format!("column_{}", column + 1),
                });
                builders.push(if array.element.is_text() { Builder::texts() } else { Builder::Numbers(Vec::new()) });
            }
        }
        Ok(Self { path: path.into(), arrays, names, builders, options: options.clone(), count: rows, before: 0 })
    }

    /// All rows as one table.
    pub fn all(mut self) -> Result<Table> {
        let mut read = 0;
        while read < self.count {
            read += self.more(read)?;
        }
        finish(&self.path, &self.names, &mut self.builders, &self.options, 0)
    }

    /// The next part, `None` at the end.
    pub fn next(&mut self) -> Result<Option<Table>> {
        if self.before == self.count {
            return Ok(None);
        }
        let rows = self.more(self.before)?;
        let table = finish(&self.path, &self.names, &mut self.builders, &self.options, self.before)?;
        self.before += rows;
        Ok(Some(table))
    }

    /// Adds rows to the builders, of which so many were read before. Returns how many.
    fn more(&mut self, before: usize) -> Result<usize> {
        let width: usize = self.arrays.iter().map(Array::row_bytes).sum();
        let rows = (PART / width.max(1)).clamp(1, self.count - before);
        let mut builders = self.builders.iter_mut();
        for array in &mut self.arrays {
            let own: Vec<&mut Builder> = builders.by_ref().take(array.width()).collect();
            array.read(&self.path, before, rows, own)?;
        }
        Ok(rows)
    }
}

impl Element {
    /// From NumPy's description, or what it describes instead.
    fn of(description: &str) -> Result<Self, String> {
        let mut signs = description.chars();
        let (order, kind) = (signs.next(), signs.next());
        let rest = signs.as_str();
        let Some((order, kind)) = order.zip(kind).filter(|(order, _)| matches!(order, '<' | '>' | '|' | '=')) else {
            return Err(format!("elements of the type '{description}'"));
        };
        let size = rest.parse::<usize>().ok();
        let (kind, size) = match (kind, size) {
            ('b', Some(1)) => (Kind::Bool, 1),
            ('i', Some(size @ (1 | 2 | 4 | 8))) => (Kind::Signed, size),
            ('u', Some(size @ (1 | 2 | 4 | 8))) => (Kind::Unsigned, size),
            ('f', Some(size @ (2 | 4 | 8))) => (Kind::Float, size),
            ('U', Some(length @ 1..=0xff_ffff)) => (Kind::Unicode, 4 * length),
            ('S' | 'a', Some(size @ 1..=0xff_ffff)) => (Kind::Bytes, size),
            ('c', _) => return Err("complex numbers".into()),
            ('M' | 'm', _) => return Err("dates or times".into()),
            _ => return Err(format!("elements of the type '{description}'")),
        };
        Ok(Self { kind, size, big: order == '>' })
    }

    fn is_text(self) -> bool {
        matches!(self.kind, Kind::Unicode | Kind::Bytes)
    }

    /// Adds an element to a column. `false` if it is no text in UTF-8 or UTF-32.
    fn push(self, bytes: &[u8], builder: &mut Builder) -> bool {
        match self.kind {
            Kind::Bytes => {
                let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                let text = std::str::from_utf8(&bytes[..end]);
                text.inspect(|text| builder.text(text)).is_ok()
            }
            Kind::Unicode => {
                let characters = bytes.chunks_exact(4).map(|bytes| {
                    let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
                    if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
                });
                let text: Option<String> = characters.map(char::from_u32).collect();
                text.as_deref().inspect(|text| builder.text(text.trim_end_matches('\0'))).is_some()
            }
            Kind::Bool => {
                builder.number(f64::from(u8::from(bytes[0] != 0)));
                true
            }
            Kind::Signed | Kind::Unsigned | Kind::Float => {
                builder.number(self.number(bytes));
                true
            }
        }
    }

    fn number(self, bytes: &[u8]) -> f64 {
        let join = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
        let bits = if self.big { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) };
        match (self.kind, self.size) {
            (Kind::Float, 2) => half(bits as u16),
            (Kind::Float, 4) => f64::from(f32::from_bits(bits as u32)),
            (Kind::Float, _) => f64::from_bits(bits),
            (Kind::Signed, size) => {
                let above = 64 - 8 * size as u32;
                ((bits << above) as i64 >> above) as f64
            }
            _ => bits as f64,
        }
    }
}

impl Array {
    /// Reads the header of an array, whose stream has so many bytes at most.
    fn open(path: &Path, name: String, stream: Box<dyn Read + Send>, most: u64, checksum: Option<u32>) -> Result<Self> {
        let mut stream = CrcReader::new(stream);
        let place = if name.is_empty() { "header".to_string() } else { format!("array '{name}'") };
        let fail = |problem: String, remedy: &str| Error::file(path, &place, problem, remedy);
        let cut = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => fail("it is cut off".into(), AGAIN),
            _ => fail(format!("it cannot be read ({error})"), AGAIN),
        };
        let mut begin = [0; 8];
        stream.read_exact(&mut begin).map_err(cut)?;
        if !begin.starts_with(b"\x93NUMPY") {
            return Err(fail("it is not a NumPy array".into(), AGAIN));
        }
        let mut length = [0; 4];
        let bytes = if begin[6] == 1 { 2 } else { 4 };
        stream.read_exact(&mut length[..bytes]).map_err(cut)?;
        let length = u32::from_le_bytes(length) as usize;
        if begin[6] == 0 || begin[6] > 3 || length > HEADER {
            return Err(fail("its header is of an unknown version, or too long".into(), AGAIN));
        }
        let mut header = vec![0; length];
        stream.read_exact(&mut header).map_err(cut)?;
        let header = String::from_utf8(header).map_err(|_| fail("its header is not text".into(), AGAIN))?;
        let Some((description, by_column, shape)) = parse_header(&header) else {
            return Err(fail("its header is not one of NumPy's".into(), AGAIN));
        };
        let Some(description) = description else {
            return Err(fail("it has records".into(), "write each field as an array of its own"));
        };
        if description.contains('O') {
            let remedy = "such arrays are pickled, and reading a pickle can run code: convert it first, for example with \
                          `.astype(str)` or `.astype(float)`";
            return Err(fail("it holds Python objects".into(), remedy));
        }
        let element = Element::of(&description).map_err(|found| {
            fail(format!("it holds {found}"), "convert it to floats, integers or strings, or leave it out")
        })?;
        let (rows, columns) = match shape[..] {
            [rows] => (rows, None),
            [rows, columns] => (rows, Some(columns)),
            _ => {
                let problem = format!("it has {} dimensions", shape.len());
                return Err(fail(problem, "write arrays of one dimension (rows) or two (rows, columns)"));
            }
        };
        let promised = [columns.unwrap_or(1), element.size].iter().try_fold(rows, |all, &n| all.checked_mul(n));
        let Some(promised) = promised.filter(|&promised| promised as u64 <= most) else {
            let problem = format!("its shape {shape:?} promises more than the file's bytes hold");
            return Err(fail(problem, AGAIN));
        };
        if columns == Some(0) {
            return Err(fail("it has no columns".into(), "leave it out"));
        }
        let mut array = Self { name, stream, checksum, element, rows, columns, by_column: None };
        if by_column && columns.is_some_and(|columns| columns > 1) {
            array.by_column = Some(array.bytes(path, promised)?);
        }
        Ok(array)
    }

    fn width(&self) -> usize {
        self.columns.unwrap_or(1)
    }

    fn row_bytes(&self) -> usize {
        self.width() * self.element.size
    }

    fn fail(&self, path: &Path, problem: &str) -> Error {
        let place = if self.name.is_empty() { "data".into() } else { format!("array '{}'", self.name) };
        Error::file(path, place, problem, AGAIN)
    }

    fn no_text(&self, path: &Path, row: usize) -> Error {
        let place = format!("row {}, array '{}'", row + 1, self.name);
        let remedy = "write it as a Unicode array (`.astype(str)`)";
        Error::file(path, place, "a text has bytes that are no characters", remedy)
    }

    fn bytes(&mut self, path: &Path, count: usize) -> Result<Vec<u8>> {
        // Memory grows with what comes.
        let mut bytes = Vec::new();
        match (&mut self.stream).take(count as u64).read_to_end(&mut bytes) {
            Err(error) => Err(self.fail(path, &format!("it cannot be read ({error})"))),
            Ok(read) if read < count => Err(self.fail(path, "it is cut off")),
            Ok(_) => Ok(bytes),
        }
    }

    /// Adds rows to the array's columns.
    fn read(&mut self, path: &Path, before: usize, rows: usize, mut columns: Vec<&mut Builder>) -> Result<()> {
        let (size, width) = (self.element.size, self.width());
        if let Some(all) = &self.by_column {
            for (column, builder) in columns.iter_mut().enumerate() {
                for row in 0..rows {
                    let at = (column * self.rows + before + row) * size;
                    if !self.element.push(&all[at..at + size], builder) {
                        return Err(self.no_text(path, before + row));
                    }
                }
            }
        } else {
            let bytes = self.bytes(path, rows * width * size)?;
            for (row, cells) in bytes.chunks_exact(width * size).enumerate() {
                for (cell, builder) in cells.chunks_exact(size).zip(&mut columns) {
                    if !self.element.push(cell, builder) {
                        return Err(self.no_text(path, before + row));
                    }
                }
            }
        }
        if before + rows == self.rows {
            self.end(path)?;
        }
        Ok(())
    }

    /// After the last row, nothing may follow.
    fn end(&mut self, path: &Path) -> Result<()> {
        match self.stream.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(self.fail(path, "more follows than its shape says")),
            Err(error) => return Err(self.fail(path, &format!("it cannot be read ({error})"))),
        }
        match self.checksum {
            Some(checksum) if checksum != self.stream.crc().sum() => {
                Err(self.fail(path, "its content does not fit its checksum"))
            }
            _ => Ok(()),
        }
    }
}

/// Of the header, a Python dictionary: the elements' type (`None` for records), whether columns come one after the other,
/// and the shape.
fn parse_header(header: &str) -> Option<(Option<String>, bool, Vec<usize>)> {
    let inside = header.trim().strip_prefix('{')?.strip_suffix('}')?;
    let value = |key: &str| {
        let keys = [format!("'{key}':"), format!("\"{key}\":")];
        keys.iter().find_map(|key| inside.split_once(key.as_str())).map(|(_, rest)| rest.trim_start())
    };
    let description = value("descr")?;
    let description = match description.chars().next()? {
        quote @ ('\'' | '"') => Some(description[1..].split_once(quote)?.0.to_string()),
        '[' => None,
        _ => return None,
    };
    let order = value("fortran_order")?;
    let by_column = order.starts_with("True");
    if !by_column && !order.starts_with("False") {
        return None;
    }
    let shape = value("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let parts = shape.split(',').map(str::trim).filter(|part| !part.is_empty());
    let shape = parts.map(|part| part.trim_end_matches('L').parse().ok()).collect::<Option<Vec<usize>>>()?;
    Some((description, by_column, shape))
}
