//! Parquet: flat columns of all types and codecs.
//!
//! The crate that decodes promises errors for damaged files, but it has many decoders, and each of them may have an
//! arithmetic overflow or an index out of range that nobody has met. A panic of a decoder is therefore caught and
//! becomes an error of the file.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use syva_core::table::{ReadOptions, Table};
use syva_core::{Error, Result, threads};

use crate::builder::{Builder, finish};
use crate::half::half;
use crate::panics::caught;
use crate::parquet_pages::{Pages, check_footer};

/// Values of a part, over all columns.
const PART: usize = 1 << 20;

const AGAIN: &str = "the file is damaged or cut off: write or download it again";

/// What the values of a column mean.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meaning {
    /// `false` and `true`.
    Truth,
    Number,
    Unsigned,
    Half,
    /// With this many decimals.
    Decimal(i32),
    Date,
    /// A time of day, in this many per second.
    Time(i64),
    /// A date with a time, in this many per second.
    Timestamp(i64),
    Text,
    Uuid,
}

/// A file that several threads read at once. A [`File`] has one position, which its clones share.
struct Shared {
    file: Arc<Mutex<File>>,
    length: u64,
}

/// A place in a shared file, to read from.
pub(crate) struct At {
    file: Arc<Mutex<File>>,
    position: u64,
}

impl At {
    pub fn new(file: &Arc<Mutex<File>>, position: u64) -> Self {
        Self { file: Arc::clone(file), position }
    }
}

impl Read for At {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.position))?;
        let read = file.read(bytes)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Length for Shared {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Shared {
    type T = BufReader<At>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(At::new(&self.file, start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // Before memory is set aside for them.
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!("bytes {start} to {start} + {length} lie beyond the file's end")));
        }
        let mut bytes = vec![0; length];
        At::new(&self.file, start).read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// A Parquet file that is read from its first row to its last.
pub(crate) struct Rows {
    path: PathBuf,
    reader: SerializedFileReader<Shared>,
    file: Arc<Mutex<File>>,
    pub names: Vec<String>,
    meanings: Vec<Meaning>,
    builders: Vec<Builder>,
    options: ReadOptions,
    /// The next row group.
    group: usize,
    /// The columns of the group that is being read, and its rows that are left.
    columns: Vec<Mutex<ColumnReader>>,
    left: usize,
    before: usize,
}

impl Rows {
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let file = Arc::new(Mutex::new(file));
        let shared = Shared { file: Arc::clone(&file), length };
        let reader = guarded(path, "metadata", || {
            check_footer(&file, length)?;
            SerializedFileReader::new(shared)
        })?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let (mut names, mut meanings) = (Vec::new(), Vec::new());
        for column in schema.columns() {
            let name = column.path().string();
            let refuse = |problem: &str, remedy: &str| Error::file(path, format!("column '{name}'"), problem, remedy);
            if column.max_rep_level() > 0 || column.path().parts().len() != 1 {
                return Err(refuse(
                    "it is nested",
                    "write lists and records as columns of their own, or leave them out",
                ));
            }
            let found = meaning(column).map_err(|problem| {
                refuse(&format!("it holds {problem}"), "convert it to numbers or texts, or leave it out")
            })?;
            names.push(name);
            meanings.push(found);
        }
        if names.is_empty() {
            return Err(Error::file(path, "schema", "there are no columns", "write the table again"));
        }
        let builders = meanings.iter().zip(&names).map(|(meaning, name)| meaning.builder(options, name)).collect();
        Ok(Self {
            path: path.into(),
            reader,
            file,
            names,
            meanings,
            builders,
            options: options.clone(),
            group: 0,
            columns: Vec::new(),
            left: 0,
            before: 0,
        })
    }

    /// All rows as one table.
    pub fn all(mut self) -> Result<Table> {
        while self.more(PART)? > 0 {}
        self.finish()
    }

    /// The next part, `None` at the end.
    pub fn next(&mut self) -> Result<Option<Table>> {
        let part = (PART / self.names.len()).max(1);
        let rows = self.more(part)?;
        if rows == 0 {
            return if self.before == 0 { self.finish().map(Some) } else { Ok(None) };
        }
        let table = self.finish()?;
        self.before += rows;
        Ok(Some(table))
    }

    fn finish(&mut self) -> Result<Table> {
        let table = finish(&self.path, &self.names, &mut self.builders, &self.options, self.before)?;
        if table.rows() == 0 {
            return Err(Error::file(&self.path, "the whole file", "it has no rows", "name a file with data"));
        }
        Ok(table)
    }

    /// Adds up to so many rows to the builders, of one row group. Returns how many; 0 at the end.
    fn more(&mut self, most: usize) -> Result<usize> {
        while self.left == 0 {
            if self.group == self.reader.num_row_groups() {
                return Ok(0);
            }
            let (reader, file, index) = (&self.reader, &self.file, self.group);
            let place = format!("row group {}", index + 1);
            (self.columns, self.left) = guarded(&self.path, &place, || {
                let group = reader.get_row_group(index)?;
                let rows = usize::try_from(group.metadata().num_rows())
                    .map_err(|_| ParquetError::General("its number of rows is negative".into()))?;
                let columns = 0..group.metadata().num_columns();
                let columns = columns.map(|index| {
                    let column = group.metadata().column(index);
                    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
                    if start < 0 || column.compressed_size() < 0 {
                        return Err(ParquetError::General("a column begins or ends before the file".into()));
                    }
                    let pages = Pages::new(group.get_column_page_reader(index)?, Arc::clone(file), column);
                    Ok(Mutex::new(get_column_reader(column.column_descr_ptr(), Box::new(pages))))
                });
                Ok((columns.collect::<parquet::errors::Result<Vec<_>>>()?, rows))
            })?;
            if self.columns.len() != self.names.len() {
                let problem = format!("it has {} columns of {}", self.columns.len(), self.names.len());
                return Err(Error::file(&self.path, place, problem, AGAIN));
            }
            self.group += 1;
        }
        let rows = self.left.min(most);
        let failed = Mutex::new(None);
        let work =
            |(column, ((reader, builder), meaning)): (usize, ((&Mutex<ColumnReader>, &mut Builder), &Meaning))| {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                let place = format!("row group {}, column '{}'", self.group, self.names[column]);
                if let Err(error) = guarded(&self.path, &place, || read(&mut reader, rows, *meaning, builder)) {
                    // Of several columns, the first one counts.
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed.as_ref().is_none_or(|(other, _)| column < *other) {
                        *failed = Some((column, error));
                    }
                }
            };
        let columns = self.columns.iter().zip(&mut self.builders).zip(&self.meanings).enumerate();
        threads::share(threads::cores(), columns, work);
        if let Some((_, error)) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        self.left -= rows;
        Ok(rows)
    }
}

/// Calls a decoder. Its errors and its panics become errors of the file.
fn guarded<T>(path: &Path, place: &str, call: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    match caught(call) {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(Error::file(path, place, error.to_string(), AGAIN)),
        None => Err(Error::file(path, place, "the decoder gave up on its content", AGAIN)),
    }
}

/// What a column's values mean, or why they are refused.
fn meaning(column: &ColumnDescriptor) -> Result<Meaning, &'static str> {
    let per_second = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => 1000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => 1_000_000_000,
    };
    let (converted, logical) = (column.converted_type(), column.logical_type_ref());
    let decimal = converted == ConvertedType::DECIMAL || matches!(logical, Some(LogicalType::Decimal(_)));
    let scale = match logical {
        Some(LogicalType::Decimal(decimal)) => decimal.scale,
        _ => column.type_scale(),
    };
    Ok(match (column.physical_type(), logical, converted) {
        (Type::BOOLEAN, ..) => Meaning::Truth,
        (Type::FLOAT | Type::DOUBLE, ..) => Meaning::Number,
        (Type::INT96, ..) => Meaning::Timestamp(1_000_000_000),
        (Type::INT32 | Type::INT64 | Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY, ..) if decimal => {
            Meaning::Decimal(scale)
        }
        (Type::INT32 | Type::INT64, Some(LogicalType::Time(time)), _) => Meaning::Time(per_second(&time.unit)),
        (Type::INT64, Some(LogicalType::Timestamp(time)), _) => Meaning::Timestamp(per_second(&time.unit)),
        (Type::INT32, Some(LogicalType::Date), _) | (Type::INT32, _, ConvertedType::DATE) => Meaning::Date,
        (Type::INT32 | Type::INT64, Some(LogicalType::Integer(integer)), _) if !integer.is_signed => Meaning::Unsigned,
        (Type::INT32 | Type::INT64, _, converted) => match converted {
            ConvertedType::TIME_MILLIS => Meaning::Time(1000),
            ConvertedType::TIME_MICROS => Meaning::Time(1_000_000),
            ConvertedType::TIMESTAMP_MILLIS => Meaning::Timestamp(1000),
            ConvertedType::TIMESTAMP_MICROS => Meaning::Timestamp(1_000_000),
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
                Meaning::Unsigned
            }
            _ => Meaning::Number,
        },
        (_, Some(LogicalType::Variant(_) | LogicalType::Geometry(_) | LogicalType::Geography(_)), _) => {
            return Err("shapes or values of varying types");
        }
        (_, _, ConvertedType::BSON) | (_, Some(LogicalType::Bson), _) => return Err("BSON documents"),
        (Type::BYTE_ARRAY, ..) => Meaning::Text,
        (Type::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Float16), _) => Meaning::Half,
        (Type::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid), _) => Meaning::Uuid,
        (Type::FIXED_LEN_BYTE_ARRAY, _, ConvertedType::INTERVAL) => return Err("intervals of time"),
        (Type::FIXED_LEN_BYTE_ARRAY, ..) => return Err("bytes without a meaning"),
    })
}

impl Meaning {
    fn builder(self, options: &ReadOptions, name: &String) -> Builder {
        match self {
            Self::Number | Self::Unsigned | Self::Half | Self::Decimal(_) => Builder::Numbers(Vec::new()),
            Self::Truth if options.numbers.contains(name) => Builder::Numbers(Vec::new()),
            _ => Builder::texts(),
        }
    }

    fn integer(self, value: i64, unsigned: u64, builder: &mut Builder) {
        match self {
            Self::Unsigned => builder.number(unsigned as f64),
            Self::Decimal(scale) => builder.number(decimal(i128::from(value), scale)),
            Self::Date => builder.text(&date(value)),
            Self::Time(per_second) => builder.text(&time(value, per_second)),
            Self::Timestamp(per_second) => builder.text(&timestamp(i128::from(value), per_second)),
            _ => builder.number(value as f64),
        }
    }

    fn bytes(self, bytes: &[u8], builder: &mut Builder) -> parquet::errors::Result<()> {
        let bad = |problem: &str| Err(ParquetError::General(problem.into()));
        match self {
            Self::Half => match bytes.try_into() {
                Ok(bytes) => builder.number(half(u16::from_le_bytes(bytes))),
                Err(_) => return bad("a number of 16 bits has another length"),
            },
            Self::Decimal(_) if bytes.is_empty() || bytes.len() > 16 => {
                return bad("a decimal number has no bytes, or more than 16");
            }
            Self::Decimal(scale) => {
                let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
                let unscaled = bytes.iter().fold(sign, |value: i128, &byte| value << 8 | i128::from(byte));
                builder.number(decimal(unscaled, scale));
            }
            Self::Uuid => {
                let Ok(bytes) = bytes.try_into().map(u128::from_be_bytes) else {
                    return bad("a UUID has another length than 16 bytes");
                };
                let digits = format!("{bytes:032x}");
                let groups = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
                builder.text(&groups.join("-"));
            }
            _ => match std::str::from_utf8(bytes) {
                Ok(text) => builder.text(text),
                Err(_) => return bad("there are bytes that are no UTF-8 text"),
            },
        }
        Ok(())
    }
}

/// Adds a truth value, as a number to a column of numbers.
fn push_truth(value: bool, builder: &mut Builder) {
    match builder {
        Builder::Numbers(_) => builder.number(f64::from(value)),
        Builder::Texts { .. } => builder.text(if value { "true" } else { "false" }),
    }
}

/// Adds this many rows of a column.
fn read(
    reader: &mut ColumnReader,
    rows: usize,
    meaning: Meaning,
    builder: &mut Builder,
) -> parquet::errors::Result<()> {
    match reader {
        ColumnReader::BoolColumnReader(reader) => each(reader, rows, builder, |value, builder| {
            push_truth(*value, builder);
            Ok(())
        }),
        ColumnReader::Int32ColumnReader(reader) => each(reader, rows, builder, |&value, builder| {
            meaning.integer(i64::from(value), u64::from(value as u32), builder);
            Ok(())
        }),
        ColumnReader::Int64ColumnReader(reader) => each(reader, rows, builder, |&value, builder| {
            meaning.integer(value, value as u64, builder);
            Ok(())
        }),
        ColumnReader::Int96ColumnReader(reader) => each(reader, rows, builder, |value, builder| {
            // Nanoseconds of the day, and the day by the Julian calendar's count, which 1970 began on 2440588 of.
            let &[low, high, day] = value.data() else {
                return Err(ParquetError::General("a time of 96 bits has another length".into()));
            };
            let nanoseconds = i128::from(u64::from(high) << 32 | u64::from(low));
            let days = i128::from(day as i32) - 2_440_588;
            builder.text(&timestamp(days * 86_400_000_000_000 + nanoseconds, 1_000_000_000));
            Ok(())
        }),
        ColumnReader::FloatColumnReader(reader) => each(reader, rows, builder, |&value, builder| {
            builder.number(f64::from(value));
            Ok(())
        }),
        ColumnReader::DoubleColumnReader(reader) => each(reader, rows, builder, |&value, builder| {
            builder.number(value);
            Ok(())
        }),
        ColumnReader::ByteArrayColumnReader(reader) => {
            each(reader, rows, builder, |value, builder| meaning.bytes(value.data(), builder))
        }
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            each(reader, rows, builder, |value, builder| meaning.bytes(value.data(), builder))
        }
    }
}

fn each<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    mut rows: usize,
    builder: &mut Builder,
    mut push: impl FnMut(&T::T, &mut Builder) -> parquet::errors::Result<()>,
) -> parquet::errors::Result<()> {
    // Few at a time: a promise of many rows costs nothing before they come.
    const STEP: usize = 1 << 13;
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    while rows > 0 {
        levels.clear();
        values.clear();
        let (records, count, _) = reader.read_records(rows.min(STEP), Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Err(ParquetError::General(format!("{rows} of its rows are lacking")));
        }
        let values = values.get(..count).unwrap_or(&values);
        if levels.is_empty() {
            // A column that may not be null has no levels.
            if values.len() != records {
                return Err(ParquetError::General("it has another number of values than of rows".into()));
            }
            values.iter().try_for_each(|value| push(value, builder))?;
        } else {
            let mut values = values.iter();
            if levels.len() != records {
                return Err(ParquetError::General("it has another number of levels than of rows".into()));
            }
            for &level in &levels {
                match level {
                    0 => builder.missing(),
                    _ => match values.next() {
                        Some(value) => push(value, builder)?,
                        None => return Err(ParquetError::General("it has fewer values than promised".into())),
                    },
                }
            }
        }
        rows -= records;
    }
    Ok(())
}

/// `unscaled · 10^-scale`, rounded once.
fn decimal(unscaled: i128, scale: i32) -> f64 {
    if scale == 0 {
        return unscaled as f64;
    }
    // The nearest number to the decimal text; the text is always a number.
    format!("{unscaled}e{}", -i64::from(scale)).parse().unwrap_or(f64::NAN)
}

/// A day, counted from 1970-01-01, as `2024-05-01`.
fn date(days: i64) -> String {
    // Years begin in March here, so that a leap day is their last one. 400 years (an era) have 146,097 days. Source:
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

/// A time of day as `12:00:00`, with decimals if there are any.
fn time(value: i64, per_second: i64) -> String {
    let (seconds, fraction) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    let text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction == 0 {
        return text;
    }
    let decimals = per_second.ilog10() as usize;
    let fraction = format!("{fraction:0decimals$}");
    format!("{text}.{}", fraction.trim_end_matches('0'))
}

/// A moment, counted from 1970-01-01, as `2024-05-01T12:00:00`.
fn timestamp(value: i128, per_second: i64) -> String {
    let day = i128::from(per_second) * 86_400;
    format!("{}T{}", date(value.div_euclid(day) as i64), time(value.rem_euclid(day) as i64, per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_iso_texts() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_844, "2024-05-01"),
            (19_782, "2024-02-29"),
            (11_016, "2000-02-29"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
            (-719_162, "0001-01-01"),
        ] {
            assert_eq!(date(days), text);
        }
        assert_eq!(timestamp(1_714_564_800_000, 1000), "2024-05-01T12:00:00");
        assert_eq!(timestamp(1_714_564_800_120_000, 1_000_000), "2024-05-01T12:00:00.12");
        assert_eq!(timestamp(-1, 1_000_000_000), "1969-12-31T23:59:59.999999999");
    }

    #[test]
    fn decimals_are_the_nearest_numbers() {
        assert_eq!([decimal(12_345, 2), decimal(-1, 3), decimal(7, 0), decimal(7, -2)], [123.45, -0.001, 7.0, 700.0]);
    }
}
