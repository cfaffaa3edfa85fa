//! Writes tables as Parquet, part by part.

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use syva_core::table::{MISSING, Table, Values};
use syva_core::{Error, Result};

/// Makes a Parquet file of the parts of a table: a row group for each, compressed with Snappy. Numbers are doubles, texts
/// are strings, and what is missing is null.
///
/// ```
/// use syva_core::table::{Column, ReadOptions, Table, Values};
/// use syva_data::ParquetWriter;
/// let table = Table::new(vec![
///     Column::new("age", Values::Numbers(vec![39.5, f64::NAN])),
///     Column::new("town", Values::texts([Some("Åbo"), None])),
/// ])?;
/// let mut writer = ParquetWriter::new(&table)?;
/// let mut file = writer.part(&table)?;
/// file.extend(writer.part(&table)?);
/// file.extend(writer.finish()?);
/// let path = tempfile::tempdir()?.keep().join("people.parquet");
/// std::fs::write(&path, file)?;
/// let (read, _) = syva_data::read(&[path], &ReadOptions::default())?;
/// assert_eq!((read.rows(), read.column("town")?.cell(2).as_deref(), read.column("age")?.cell(3)), (4, Some("Åbo"), None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ParquetWriter {
    inner: SerializedFileWriter<Vec<u8>>,
    /// The name of each column, and whether it has texts.
    columns: Vec<(String, bool)>,
}

impl ParquetWriter {
    /// For a table with these columns, whose rows are not written yet.
    pub fn new(table: &Table) -> Result<Self> {
        let columns = columns_of(table);
        let field = |(name, is_text): &(String, bool)| {
            let physical = if *is_text { Physical::BYTE_ARRAY } else { Physical::DOUBLE };
            let field = Type::primitive_type_builder(name, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(is_text.then_some(LogicalType::String));
            Ok(Arc::new(field.build()?))
        };
        let build = || {
            let fields = columns.iter().map(field).collect::<std::result::Result<Vec<_>, ParquetError>>()?;
            let schema = Type::group_type_builder("schema").with_fields(fields).build()?;
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            SerializedFileWriter::new(Vec::new(), schema.into(), properties.into())
        };
        let inner = build().map_err(|error| refused(&error))?;
        Ok(Self { inner, columns })
    }

    /// The next bytes of the file, after the rows of a part.
    ///
    /// # Errors
    /// If its columns are not those of the first part, or not of the same kinds.
    pub fn part(&mut self, table: &Table) -> Result<Vec<u8>> {
        if columns_of(table) != self.columns {
            let problem = "its columns are not those of the rows before, or have texts where those had numbers";
            return Err(Error::mismatch(problem, "write CSV, or write the files one by one"));
        }
        if table.rows() > 0 {
            self.write(table).map_err(|error| refused(&error))?;
        }
        Ok(std::mem::take(self.inner.inner_mut()))
    }

    /// The last bytes of the file.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.inner.into_inner().map_err(|error| refused(&error))
    }

    fn write(&mut self, table: &Table) -> std::result::Result<(), ParquetError> {
        let mut group = self.inner.next_row_group()?;
        for column in table.columns() {
            let Some(mut writer) = group.next_column()? else { break };
            // 1 for a value, 0 for null.
            let is_there = |row: usize| i16::from(!column.values.is_missing(row));
            let levels: Vec<i16> = (0..column.values.len()).map(is_there).collect();
            match &column.values {
                Values::Numbers(numbers) => {
                    let numbers: Vec<f64> = numbers.iter().copied().filter(|x| !x.is_nan()).collect();
                    writer.typed::<DoubleType>().write_batch(&numbers, Some(&levels), None)?;
                }
                Values::Texts(texts) => {
                    let known: Vec<ByteArray> = texts.vocabulary().iter().map(|text| text.as_str().into()).collect();
                    let codes = texts.codes().iter().filter(|code| **code != MISSING);
                    let cells: Vec<ByteArray> = codes.map(|&code| known[code as usize].clone()).collect();
                    writer.typed::<ByteArrayType>().write_batch(&cells, Some(&levels), None)?;
                }
            }
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }
}

fn columns_of(table: &Table) -> Vec<(String, bool)> {
    let column = |column: &syva_core::table::Column| (column.name.clone(), matches!(column.values, Values::Texts(_)));
    table.columns().iter().map(column).collect()
}

fn refused(error: &ParquetError) -> Error {
    Error::mismatch(format!("Parquet cannot hold this table: {error}"), "write CSV instead")
}
