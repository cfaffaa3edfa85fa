//! Tensors of a safetensors file as a table, by the rules of [NumPy's archives](crate::numpy): a tensor of one dimension is a
//! column, one of two dimensions several, and all have equally many rows.
//!
//! ```text
//! u64 n     little-endian, the length of the header
//! n bytes   JSON: for each tensor its dtype, shape, first and last byte
//! …         the values, little-endian, row-major
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use syva_core::table::{ReadOptions, Table};
use syva_core::{Error, Result};

use crate::builder::{Builder, finish};
use crate::half::half;

/// Bytes of a part, over all tensors.
const PART: usize = 8 << 20;
/// The longest header. Only few tensors are columns of a table.
const HEADER: u64 = 1 << 20;

const AGAIN: &str = "the file is damaged or cut off: write or download it again";

/// A tensor that is read from its first row to its last.
struct Tensor {
    name: String,
    stream: BufReader<File>,
    dtype: Dtype,
    /// The columns of a matrix.
    columns: Option<usize>,
}

/// The tensors of a file, row by row.
pub(crate) struct Rows {
    path: PathBuf,
    tensors: Vec<Tensor>,
    names: Vec<String>,
    builders: Vec<Builder>,
    options: ReadOptions,
    count: usize,
    before: usize,
}

impl Rows {
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::io("read", path))?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let refuse = |place: &str, problem: String, remedy: &str| Err(Error::file(path, place, problem, remedy));
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| Error::file(path, "header", "it is cut off", AGAIN))?;
        let length = u64::from_le_bytes(length);
        if length > HEADER || length > size - 8 {
            return refuse("header", format!("it promises {length} bytes, more than it can have"), AGAIN);
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(Error::io("read", path))?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| Error::file(path, "header", format!("it is not that of safetensors ({error})"), AGAIN))?;
        let data = 8 + length;
        if data + metadata.data_len() as u64 != size {
            let problem = format!("it promises {} bytes of values, and there are {}", metadata.data_len(), size - data);
            return refuse("header", problem, AGAIN);
        }
        if metadata.metadata().as_ref().is_some_and(|notes| notes.contains_key("syva")) {
            let problem = "it is a model of syva's, not data".into();
            return refuse(
                "header",
                problem,
                "name the model first, and the data with --data: syva eval MODEL --data FILE",
            );
        }
        // In the order of their names, which is that of no program's choice.
        let infos: BTreeMap<String, &TensorInfo> = metadata.tensors().into_iter().collect();
        let mut tensors = Vec::new();
        let mut rows: Option<(usize, String)> = None;
        for (name, info) in infos {
            let place = format!("tensor '{name}'");
            if width(info.dtype).is_none() {
                return refuse(&place, format!("it holds {:?}", info.dtype), "convert it to floats or integers");
            }
            let (own, columns) = match info.shape[..] {
                [own] => (own, None),
                [own, columns] if columns > 0 => (own, Some(columns)),
                _ => {
                    let problem = format!("its shape is {:?}", info.shape);
                    let remedy = "write tensors of one dimension (rows) or two (rows, columns): a network reads images flattened";
                    return refuse(&place, problem, remedy);
                }
            };
            match &rows {
                Some((rows, first)) if *rows != own => {
                    let problem = format!("it has {own} rows, and '{first}' has {rows}");
                    return refuse(&place, problem, "write tensors with equally many");
                }
                _ => rows = Some((own, name.clone())),
            }
            let mut stream = File::open(path).map_err(Error::io("read", path))?;
            let start = data + info.data_offsets.0 as u64;
            stream.seek(SeekFrom::Start(start)).map_err(Error::io("read", path))?;
            tensors.push(Tensor { name, stream: BufReader::new(stream), dtype: info.dtype, columns });
        }
        let count = rows.map_or(0, |(rows, _)| rows);
        if count == 0 {
            return refuse("header", "it has no rows".into(), "name a file with data");
        }
        let names: Vec<String> = tensors
            .iter()
            .flat_map(|tensor| match tensor.columns {
                None => vec![tensor.name.clone()],
                Some(columns) => (1..=columns).map(|column| format!("{}_{column}", tensor.name)).collect(),
            })
            .collect();
        let builders = names.iter().map(|_| Builder::Numbers(Vec::new())).collect();
        Ok(Self { path: path.into(), tensors, names, builders, options: options.clone(), count, before: 0 })
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
        let bytes: usize = self.tensors.iter().map(Tensor::row_bytes).sum();
        let rows = (PART / bytes.max(1)).clamp(1, self.count - before);
        let mut builders = self.builders.iter_mut();
        for tensor in &mut self.tensors {
            let columns = tensor.columns.unwrap_or(1);
            let mut own: Vec<&mut Builder> = builders.by_ref().take(columns).collect();
            let mut values = vec![0; rows * tensor.row_bytes()];
            tensor.stream.read_exact(&mut values).map_err(Error::io("read", &self.path))?;
            let size = tensor.row_bytes() / columns;
            for row in values.chunks_exact(columns * size) {
                for (cell, builder) in row.chunks_exact(size).zip(&mut own) {
                    builder.number(number(tensor.dtype, cell));
                }
            }
        }
        Ok(rows)
    }
}

impl Tensor {
    fn row_bytes(&self) -> usize {
        self.columns.unwrap_or(1) * width(self.dtype).unwrap_or(1)
    }
}

/// The bytes of an element, `None` if it is not a number that a table can have.
fn width(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::BOOL | Dtype::U8 | Dtype::I8 => Some(1),
        Dtype::U16 | Dtype::I16 | Dtype::F16 | Dtype::BF16 => Some(2),
        Dtype::U32 | Dtype::I32 | Dtype::F32 => Some(4),
        Dtype::U64 | Dtype::I64 | Dtype::F64 => Some(8),
        _ => None,
    }
}

/// An element as f64. Integers of more than 53 bits are rounded.
fn number(dtype: Dtype, bytes: &[u8]) -> f64 {
    let bits = bytes.iter().rev().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    match dtype {
        Dtype::BOOL => f64::from(u8::from(bits != 0)),
        Dtype::I8 => f64::from(bits as i8),
        Dtype::I16 => f64::from(bits as i16),
        Dtype::I32 => f64::from(bits as i32),
        Dtype::I64 => bits as i64 as f64,
        Dtype::F16 => half(bits as u16),
        Dtype::BF16 => f64::from(f32::from_bits((bits as u32) << 16)),
        Dtype::F32 => f64::from(f32::from_bits(bits as u32)),
        Dtype::F64 => f64::from_bits(bits),
        _ => bits as f64,
    }
}
