//! Readers of tables: CSV and other delimited text, Parquet, NumPy's arrays, and safetensors. [`images`] reads sets of images.
//!
//! [`read`] reads files as one [`Table`], and [`parts`] reads a large one part by part. What a file is follows from its
//! content, and how a text is written (delimiter, header, decimal sign, encoding, missing values) from its beginning,
//! unless the [`ReadOptions`] say it.
//!
//! ```
//! use syva_core::table::ReadOptions;
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("penguins.csv");
//! std::fs::write(&path, "species;mass\nAdelie;3,75\nGentoo;NA\n")?;
//! let (table, options) = syva_data::read(&[path], &ReadOptions::default())?;
//! assert_eq!((table.rows(), options.delimiter, options.decimal), (2, Some(';'), Some(',')));
//! assert_eq!(table.column("mass")?.cell(0).as_deref(), Some("3.75"));
//! assert_eq!(table.column("mass")?.cell(1), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod arguments;
#[cfg_attr(not(any(feature = "npz", feature = "parquet")), allow(dead_code, reason = "tensors have no texts"))]
mod builder;
mod cells;
mod csv;
mod dialect;
mod half;
#[cfg(feature = "images")]
pub mod images;
mod input;
#[cfg(feature = "npz")]
mod numpy;
mod panics;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
mod parquet_pages;
#[cfg(feature = "parquet")]
mod parquet_writer;
mod rows;
mod safetensors;
mod text;
#[cfg(feature = "parquet")]
mod thrift;

use std::path::{Path, PathBuf};

use syva_core::table::{ReadOptions, Table};
use syva_core::{Error, Result};

pub use arguments::files;
pub use csv::{Part, write_cell, write_number, write_row};
use input::Input;
pub use panics::catches_panics;
#[cfg(feature = "parquet")]
pub use parquet_writer::ParquetWriter;

/// Reads the files as one table, whose columns are in the order of the first file. `-` is standard input.
///
/// Returns it with the options as found out from the first file. For text files, everything is filled in, so that the
/// same files are read in the same way again. Names in the options that a file lacks are ignored, because a table to
/// predict may lack the targets.
///
/// A column has numbers if all its cells that are not missing are numbers, and texts otherwise. If at least 95 % of them
/// are numbers, and at least 20, the first other one is an error, unless [`ReadOptions::texts`] names the column.
///
/// # Errors
/// [`Error::Io`] if a file cannot be read; [`Error::File`] with row, line and column if its content is not a table;
/// [`Error::Setting`] if an option makes no sense.
pub fn read(paths: &[PathBuf], options: &ReadOptions) -> Result<(Table, ReadOptions)> {
    let mut inputs = Vec::with_capacity(paths.len());
    for path in paths {
        inputs.push((path, input::open(path, options)?));
    }
    if inputs.iter().all(|(_, input)| matches!(input, Input::Text(_))) {
        let texts = inputs.into_iter().filter_map(|(path, input)| match input {
            Input::Text(text) => Some((path, text)),
            _ => None,
        });
        return text::read(texts.collect(), options);
    }
    let (mut table, mut found) = (Table::default(), options.clone());
    for (i, (path, input)) in inputs.into_iter().enumerate() {
        let next = match input {
            Input::Text(text) => {
                let (next, options) = text::read(vec![(path, text)], &found)?;
                found = options;
                next
            }
            Input::Parquet => read_parquet(path, options)?,
            Input::Numpy => read_numpy(path, options)?,
            Input::Safetensors => safetensors::Rows::open(path, options)?.all()?,
        };
        if i > 0 {
            let names = |table: &Table| table.columns().iter().map(|column| column.name.clone()).collect::<Vec<_>>();
            text::match_columns(&names(&table), &names(&next), &paths[0], path)?;
        }
        table.append(next).map_err(|error| in_file(path, error))?;
    }
    Ok((table, found))
}

/// An error of a table is one of its file.
fn in_file(path: &Path, error: Error) -> Error {
    match error {
        Error::Mismatch { problem, remedy } => Error::file(path, "columns", problem, remedy),
        other => other,
    }
}

#[cfg(feature = "parquet")]
fn read_parquet(path: &Path, options: &ReadOptions) -> Result<Table> {
    parquet::Rows::open(path, options)?.all()
}

#[cfg(feature = "npz")]
fn read_numpy(path: &Path, options: &ReadOptions) -> Result<Table> {
    numpy::Rows::open(path, options)?.all()
}

#[cfg(not(feature = "parquet"))]
fn read_parquet(path: &Path, _: &ReadOptions) -> Result<Table> {
    Err(left_out(path, "Parquet"))
}

#[cfg(not(feature = "npz"))]
fn read_numpy(path: &Path, _: &ReadOptions) -> Result<Table> {
    Err(left_out(path, "NPY and NPZ"))
}

#[cfg(not(all(feature = "npz", feature = "parquet")))]
fn left_out(path: &Path, format: &str) -> Error {
    let what = format!("{format} ({})", path.display());
    Error::Unsupported { what, remedy: "convert it to CSV, or build with all features".into() }
}

/// A table part by part: see [`parts`].
pub struct Parts {
    kind: Kind,
    done: bool,
}

enum Kind {
    Text(Box<text::Parts>),
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::Rows>),
    #[cfg(feature = "npz")]
    Numpy(Box<numpy::Rows>),
    Safetensors(Box<safetensors::Rows>),
}

/// Reads a file part by part, in the order of its rows, with memory for about 8 MiB of text at a time. Each part counts
/// its rows from those before. What is a number and what a text follows from the options, and otherwise from the first
/// part. `-` is standard input.
///
/// ```
/// use syva_core::table::ReadOptions;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("points.csv");
/// std::fs::write(&path, "x,y\n1,2\n3,4\n")?;
/// let rows: usize = syva_data::parts(&path, &ReadOptions::default())?.map(|part| part.map(|part| part.table.rows())).sum::<Result<_, _>>()?;
/// assert_eq!(rows, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As for [`read`], when the file is opened or in the part where they occur. Nothing follows an error.
pub fn parts(path: &Path, options: &ReadOptions) -> Result<Parts> {
    let kind = match input::open(path, options)? {
        Input::Text(text) => Kind::Text(Box::new(text::Parts::new(path, text, options))),
        #[cfg(feature = "parquet")]
        Input::Parquet => Kind::Parquet(Box::new(parquet::Rows::open(path, options)?)),
        #[cfg(feature = "npz")]
        Input::Numpy => Kind::Numpy(Box::new(numpy::Rows::open(path, options)?)),
        Input::Safetensors => Kind::Safetensors(Box::new(safetensors::Rows::open(path, options)?)),
        #[cfg(not(feature = "parquet"))]
        Input::Parquet => return Err(left_out(path, "Parquet")),
        #[cfg(not(feature = "npz"))]
        Input::Numpy => return Err(left_out(path, "NPY and NPZ")),
    };
    Ok(Parts { kind, done: false })
}

impl Parts {
    /// Takes only these columns of a text into the tables, so that nothing is said about what others hold. If it lacks one of
    /// them, and in other formats, the tables have all columns.
    #[must_use]
    pub fn only(mut self, columns: Vec<String>) -> Self {
        if let Kind::Text(parts) = &mut self.kind {
            parts.only(columns);
        }
        self
    }
}

impl Iterator for Parts {
    type Item = Result<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = match &mut self.kind {
            Kind::Text(parts) => parts.next(),
            #[cfg(feature = "parquet")]
            Kind::Parquet(rows) => rows.next().map(|table| table.map(Part::from)),
            #[cfg(feature = "npz")]
            Kind::Numpy(rows) => rows.next().map(|table| table.map(Part::from)),
            Kind::Safetensors(rows) => rows.next().map(|table| table.map(Part::from)),
        };
        self.done = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}
