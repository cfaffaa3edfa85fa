//! IDX, the format of MNIST's four files: reading (gzip or not) and writing. [`read_array`] reads any file of the format.
//!
//! A reader trusts no length. The header says how many bytes follow; a plain file's size is held against that before
//! anything is allocated, and of a gzip stream at most that many bytes and one more are ever unpacked, into memory that
//! grows with what really comes. Whether a file is compressed is seen from its first two bytes, not from its name.

use crate::files::write_atomically;
use crate::recognise::{BEGIN, Family, Format, recognise};
use crate::{Error, Result, memory};
use flate2::bufread::MultiGzDecoder;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

// An IDX file, all numbers big-endian:
//
//     offset  bytes  images                          labels
//     0       2      0                               0
//     2       1      element type: 08 = u8           the same (09 = i8, 0b = i16, 0c = i32, 0d = f32, 0e = f64)
//     3       1      number of dimensions: 3         1
//     4       4      count                           count
//     8       4      rows                            the labels, one byte each
//     12      4      columns
//     16      …      pixels, [count, rows, columns], row-major, 0 = background, 255 = ink
//
// Source: the page that published MNIST, yann.lecun.com/exdb/mnist, "FILE FORMATS FOR THE MNIST DATABASE".
const LABELS_MAGIC: [u8; 4] = [0, 0, 0x08, 1];
const IMAGES_MAGIC: [u8; 4] = [0, 0, 0x08, 3];

/// RFC 1952, section 2.3.1: ID1, ID2.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes unpacked between two calls of the observer (which hashes): small enough to be still in the L2 cache then.
const CHUNK: u64 = 256 << 10;

const FETCH_AGAIN: &str = "the file is damaged: download or export it again";

/// The content of an IDX file of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Number of images.
    pub count: usize,
    /// Pixel rows of an image.
    pub rows: usize,
    /// Pixel columns of an image.
    pub columns: usize,
    /// Pixels, row-major `[count, rows, columns]`, 0 = background, 255 = ink.
    pub pixels: Vec<u8>,
}

/// Reads an IDX file of images, compressed with gzip or not.
///
/// # Errors
/// [`Error::Io`] if the file is missing or cannot be read; [`Error::File`] if its content is anything but one complete
/// IDX file of u8 images (empty, cut off, too long, damaged gzip, labels, an HTML page, …).
///
/// ```
/// use syva_core::data::idx::{Images, read_images, write_images};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("two-images-idx3-ubyte");
/// let images = Images { count: 2, rows: 1, columns: 3, pixels: vec![0, 128, 255, 1, 2, 3] };
/// write_images(&path, &images)?;
/// assert_eq!(read_images(&path)?, images);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_images(path: impl AsRef<Path>) -> Result<Images> {
    let ([count, rows, columns], pixels) = read(path.as_ref(), Kind::Images, None, &mut |_| ())?;
    Ok(Images { count, rows, columns, pixels })
}

/// Reads images from the content of an IDX file that is in memory; `name` is what errors call it.
///
/// # Errors
/// [`Error::File`] as for [`read_images`].
pub fn parse_images(name: &Path, content: Vec<u8>) -> Result<Images> {
    let input = Input::of(name, content);
    let ([count, rows, columns], pixels) = read_all(input, Kind::Images, None, &mut |_| ())?;
    Ok(Images { count, rows, columns, pixels })
}

/// Reads an IDX file of labels, one byte a sample, compressed with gzip or not.
///
/// # Errors
/// As for [`read_images`]. The range of the labels is not checked: the format does not know the classes.
///
/// ```
/// use syva_core::data::idx::{read_labels, write_labels};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("three-labels-idx1-ubyte");
/// write_labels(&path, &[7, 2, 1])?;
/// assert_eq!(read_labels(&path)?, [7, 2, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    Ok(read(path.as_ref(), Kind::Labels, None, &mut |_| ())?.1)
}

/// The content of an IDX file of any shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The dimensions, of which the first counts the samples. Each is 1 or more.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub elements: Elements,
}

/// The elements of an [`Array`].
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Type 08.
    U8(Vec<u8>),
    /// Type 09.
    I8(Vec<i8>),
    /// Type 0b.
    I16(Vec<i16>),
    /// Type 0c.
    I32(Vec<i32>),
    /// Type 0d.
    F32(Vec<f32>),
    /// Type 0e.
    F64(Vec<f64>),
}

impl Elements {
    /// The bytes of an element of this type, if there is such a type.
    fn size(kind: u8) -> Option<usize> {
        match kind {
            0x08 | 0x09 => Some(1),
            0x0b => Some(2),
            0x0c | 0x0d => Some(4),
            0x0e => Some(8),
            _ => None,
        }
    }

    /// From big-endian bytes.
    fn of(kind: u8, bytes: Vec<u8>) -> Self {
        fn each<const N: usize, T>(bytes: &[u8], element: impl Fn([u8; N]) -> T) -> Vec<T> {
            bytes.as_chunks::<N>().0.iter().map(|&bytes| element(bytes)).collect()
        }
        match kind {
            0x09 => Self::I8(each(&bytes, i8::from_be_bytes)),
            0x0b => Self::I16(each(&bytes, i16::from_be_bytes)),
            0x0c => Self::I32(each(&bytes, i32::from_be_bytes)),
            0x0d => Self::F32(each(&bytes, f32::from_be_bytes)),
            0x0e => Self::F64(each(&bytes, f64::from_be_bytes)),
            _ => Self::U8(bytes),
        }
    }

    /// The elements as f32. Those of more than 24 bits are rounded.
    #[must_use]
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::U8(values) => values.into_iter().map(f32::from).collect(),
            Self::I8(values) => values.into_iter().map(f32::from).collect(),
            Self::I16(values) => values.into_iter().map(f32::from).collect(),
            Self::I32(values) => values.into_iter().map(|value| value as f32).collect(),
            Self::F32(values) => values,
            Self::F64(values) => values.into_iter().map(|value| value as f32).collect(),
        }
    }
}

/// The most dimensions of an array.
const MAX_DIMENSIONS: usize = 8;

/// Reads an IDX file of any element type and of up to 8 dimensions, compressed with gzip or not.
///
/// # Errors
/// As for [`read_images`], and [`Error::Resource`] if there is not enough memory.
///
/// ```
/// use syva_core::data::idx::{Array, Elements, read_array};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("two-labels-idx1-short");
/// std::fs::write(&path, [0, 0, 0x0b, 1, 0, 0, 0, 2, 0, 1, 0xff, 0xfe])?;
/// assert_eq!(read_array(&path)?, Array { shape: vec![2], elements: Elements::I16(vec![1, -2]) });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_array(path: impl AsRef<Path>) -> Result<Array> {
    let path = path.as_ref();
    let mut input = Input::open(path)?;
    let mut header = Vec::with_capacity(16);
    input.read(&mut header, 4)?;
    let size = match header[..] {
        [0, 0, kind, dimensions] if dimensions > 0 => Elements::size(kind),
        _ => None,
    };
    let Some(size) = size else {
        if header.is_empty() {
            return Err(Error::file(path, "byte 0", "the file is empty", FETCH_AGAIN));
        }
        let _ = input.read(&mut header, BEGIN as u64);
        let problem = format!("an IDX file was expected, but this is {}", name_of(&header));
        return Err(Error::file(path, "byte 0", problem, "give an IDX file (its first two bytes are 0)"));
    };
    let (kind, dimensions) = (header[2], usize::from(header[3]));
    if dimensions > MAX_DIMENSIONS {
        let problem = format!("it has {dimensions} dimensions, more than {MAX_DIMENSIONS}");
        return Err(Error::file(path, "byte 3", problem, "give an array of fewer dimensions"));
    }
    input.read(&mut header, 4 * dimensions as u64)?;
    if header.len() < 4 + 4 * dimensions {
        return Err(Error::file(path, format!("byte {}", header.len()), "the header is cut off", FETCH_AGAIN));
    }
    let shape: Vec<usize> = header[4..].as_chunks::<4>().0.iter().map(|&d| u32::from_be_bytes(d) as usize).collect();
    let promise = format!("an array {shape:?} of {size}-byte elements");
    let promised = shape.iter().try_fold(size, |product, &d| product.checked_mul(d));
    let promised = promised.filter(|&promised| promised > 0 && isize::try_from(promised + header.len()).is_ok());
    let Some(promised) = promised else {
        let problem = format!("the header promises {promise}, which is nothing, or more than can be addressed");
        return Err(Error::file(path, "byte 4", problem, FETCH_AGAIN));
    };
    let bytes = read_body(&mut input, &header, promised, &promise, &mut |_| ())?;
    if kind != 0x08 {
        memory::ask(promised as u64, &path.display().to_string(), "end other programs, or raise the limit")?;
    }
    Ok(Array { shape, elements: Elements::of(kind, bytes) })
}

/// Writes images as an uncompressed IDX file, replacing an existing file atomically.
///
/// # Errors
/// [`Error::Mismatch`] if `pixels` is not `count · rows · columns` long, a dimension is 0 or one does not fit into
/// 32 bits; [`Error::Io`] if the file cannot be written (an existing one is then as it was).
pub fn write_images(path: impl AsRef<Path>, images: &Images) -> Result<()> {
    let dimensions = [images.count, images.rows, images.columns];
    let promised = dimensions.iter().try_fold(1usize, |product, &d| product.checked_mul(d));
    if promised != Some(images.pixels.len()) {
        return Err(Error::mismatch(
            format!(
                "{} pixels do not fill {} images of {}×{}",
                images.pixels.len(),
                dimensions[0],
                dimensions[1],
                dimensions[2]
            ),
            "give count · rows · columns pixels",
        ));
    }
    write(path.as_ref(), IMAGES_MAGIC, &dimensions, &images.pixels)
}

/// Writes labels, one byte a sample, as an uncompressed IDX file, replacing an existing file atomically.
///
/// # Errors
/// As for [`write_images`].
pub fn write_labels(path: impl AsRef<Path>, labels: &[u8]) -> Result<()> {
    write(path.as_ref(), LABELS_MAGIC, &[labels.len()], labels)
}

fn write(path: &Path, magic: [u8; 4], dimensions: &[usize], data: &[u8]) -> Result<()> {
    let mut header = magic.to_vec();
    for &dimension in dimensions {
        let stored = u32::try_from(dimension).ok().filter(|&d| d > 0).ok_or_else(|| {
            let problem = format!("an IDX file cannot have a dimension of {dimension}");
            Error::mismatch(problem, format!("each must be 1 to {}", u32::MAX))
        })?;
        header.extend(stored.to_be_bytes());
    }
    write_atomically(path, |writer| {
        writer.write_all(&header)?;
        writer.write_all(data)
    })
}

/// What an IDX file should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Images,
    Labels,
}

impl Kind {
    fn magic(self) -> [u8; 4] {
        match self {
            Self::Images => IMAGES_MAGIC,
            Self::Labels => LABELS_MAGIC,
        }
    }

    fn header_bytes(self) -> usize {
        4 + 4 * usize::from(self.magic()[3])
    }

    fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Labels => "labels",
        }
    }

    /// "60000 images of 28×28", "60000 labels".
    fn describe(self, [count, rows, columns]: [usize; 3]) -> String {
        match self {
            Self::Images => format!("{count} images of {rows}×{columns}"),
            Self::Labels => format!("{count} labels"),
        }
    }
}

/// Reads a file of the given kind: its dimensions (labels have 1 row and 1 column) and its data.
///
/// With `expected`, other dimensions are an error before any data is read. `observe` is given the whole uncompressed
/// content, header included, in order and in pieces.
pub(super) fn read(
    path: &Path,
    kind: Kind,
    expected: Option<[usize; 3]>,
    observe: &mut dyn FnMut(&[u8]),
) -> Result<([usize; 3], Vec<u8>)> {
    read_all(Input::open(path)?, kind, expected, observe)
}

fn read_all(
    mut input: Input,
    kind: Kind,
    expected: Option<[usize; 3]>,
    observe: &mut dyn FnMut(&[u8]),
) -> Result<([usize; 3], Vec<u8>)> {
    let path = input.path;
    let header = read_header(&mut input, kind)?;
    let dimensions = parse_dimensions(path, kind, &header)?;
    if let Some(expected) = expected.filter(|&e| e != dimensions) {
        let problem = format!("it holds {} where {} belong", kind.describe(dimensions), kind.describe(expected));
        return Err(Error::file(path, "bytes 4 to the header's end", problem, "use the file of the right data set"));
    }
    // Fits: parse_dimensions has checked the product.
    let promised = dimensions.iter().product::<usize>();
    let data = read_body(&mut input, &header, promised, &kind.describe(dimensions), observe)?;
    Ok((dimensions, data))
}

/// What follows the header: so many bytes and no more. `promise` is what the header promises, in words.
fn read_body(
    input: &mut Input,
    header: &[u8],
    promised: usize,
    promise: &str,
    observe: &mut dyn FnMut(&[u8]),
) -> Result<Vec<u8>> {
    let path = input.path;
    let total = (header.len() + promised) as u64;
    if let Some(length) = input.plain_bytes.filter(|&length| length != total) {
        return Err(wrong_length(path, promise, total, Some(length)));
    }
    observe(header);

    // The first allocation is in proportion to bytes that are really there (MNIST packs to a fifth); content that
    // packs better grows it as it comes.
    let mut data = Vec::new();
    let start = promised.min(usize::try_from(input.stored_bytes).unwrap_or(usize::MAX).saturating_mul(8));
    data.try_reserve_exact(start).map_err(|_| {
        let problem = format!("its {promised} bytes do not fit into memory");
        Error::file(path, "header", problem, "use a machine with more memory")
    })?;
    while data.len() < promised {
        let before = data.len();
        input.read(&mut data, CHUNK.min((promised - before) as u64))?;
        if data.len() == before {
            return Err(wrong_length(path, promise, total, Some(input.offset)));
        }
        observe(&data[before..]);
    }
    // One byte more: there must be none. This is also what makes the gzip decoder compare the stream's checksum.
    let mut rest = Vec::new();
    input.read(&mut rest, 1)?;
    if !rest.is_empty() {
        return Err(wrong_length(path, promise, total, None));
    }
    Ok(data)
}

/// The header's bytes, once they are known to be those of a file of this kind.
fn read_header(input: &mut Input, kind: Kind) -> Result<Vec<u8>> {
    let mut header = Vec::with_capacity(16);
    input.read(&mut header, kind.header_bytes() as u64)?;
    let path = input.path;
    if header.is_empty() {
        let problem = if input.plain_bytes.is_some() { "the file is empty" } else { "the gzip stream holds no bytes" };
        return Err(Error::file(path, "byte 0", problem, FETCH_AGAIN));
    }
    let magic = kind.magic();
    // A short file is "cut off" only as far as it is right.
    if header.iter().zip(magic).any(|(&found, wanted)| found != wanted) {
        let mut begin = header;
        // What is packed or damaged behind the header is no matter here.
        let _ = input.read(&mut begin, BEGIN as u64);
        let what = name_of(&begin);
        let problem = format!("an IDX file of {} was expected, but this is {what}", kind.name());
        let remedy = format!("give the IDX file of {} (its first bytes are {})", kind.name(), hex(&magic));
        return Err(Error::file(path, "byte 0", problem, remedy));
    }
    if header.len() < kind.header_bytes() {
        let problem = format!("the header is cut off: {} of its {} bytes are there", header.len(), kind.header_bytes());
        return Err(Error::file(path, format!("byte {}", header.len()), problem, FETCH_AGAIN));
    }
    Ok(header)
}

/// The dimensions a complete header gives, all positive and with a product (plus the header) that fits into memory's
/// address range.
fn parse_dimensions(path: &Path, kind: Kind, header: &[u8]) -> Result<[usize; 3]> {
    let mut dimensions = [1; 3];
    let mut total = Some(1usize);
    for (index, (dimension, bytes)) in dimensions.iter_mut().zip(header[4..].chunks_exact(4)).enumerate() {
        let stored = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if stored == 0 {
            let what = ["count", "number of rows", "number of columns"][index];
            let place = format!("byte {}", 4 + 4 * index);
            return Err(Error::file(path, place, format!("the {what} is 0"), FETCH_AGAIN));
        }
        let stored = usize::try_from(stored).ok();
        total = total.zip(stored).and_then(|(total, stored)| total.checked_mul(stored));
        *dimension = stored.unwrap_or(usize::MAX);
    }
    match total.and_then(|total| total.checked_add(header.len())) {
        // A Vec holds at most isize::MAX bytes.
        Some(total) if isize::try_from(total).is_ok() => Ok(dimensions),
        _ => {
            let problem = format!("the header promises {}, more than can be addressed", kind.describe(dimensions));
            Err(Error::file(path, "byte 4", problem, FETCH_AGAIN))
        }
    }
}

/// The content has `length` bytes where the header promises `total`; `None`: more, it is not known how many.
fn wrong_length(path: &Path, promise: &str, total: u64, length: Option<u64>) -> Error {
    let promise = format!("the header promises {promise}, {total} bytes in all");
    let (place, problem) = match length {
        Some(length) if length < total => (length, format!("{promise}, but the content ends after {length}")),
        Some(length) => (total, format!("{promise}, but there are {} more", length - total)),
        None => (total, format!("{promise}, but there are more")),
    };
    Error::file(path, format!("byte {place}"), problem, FETCH_AGAIN)
}

/// Names what a file is by its first bytes, for an error message.
fn name_of(begin: &[u8]) -> String {
    match recognise(begin) {
        _ if begin.starts_with(&GZIP_MAGIC) => "gzip within gzip (packed twice)".into(),
        Some(Format { name, family: Family::Packed }) => format!("{name} (unpack it)"),
        Some(Format { name, family: Family::Text }) => {
            format!("{name} (it begins with {})", hex(&begin[..begin.len().min(4)]))
        }
        Some(Format { name, .. }) if name.contains("Git LFS") => format!("{name} (fetch the file itself)"),
        Some(Format { name, .. }) => name,
        None => format!("something else (it begins with {})", hex(&begin[..begin.len().min(4)])),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// An open file, unpacked as it is read if it is gzip.
struct Input<'a> {
    path: &'a Path,
    reader: Box<dyn Read>,
    /// Size on the disk.
    stored_bytes: u64,
    /// Size of the content, where it is known beforehand: that of an uncompressed regular file.
    plain_bytes: Option<u64>,
    /// Bytes of (uncompressed) content read so far.
    offset: u64,
}

impl<'a> Input<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
        if metadata.is_dir() {
            return Err(Error::file(path, "folder", "this is a folder, not an IDX file", "name the file within it"));
        }
        let file = File::open(path).map_err(Error::io("read", path))?;
        let mut reader = BufReader::with_capacity(64 << 10, file);
        let gzip = reader.fill_buf().map_err(Error::io("read", path))?.starts_with(&GZIP_MAGIC);
        Ok(Self {
            path,
            // A gzip file may have several members (RFC 1952, section 2.2), as gunzip and zcat know.
            reader: if gzip { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) },
            stored_bytes: metadata.len(),
            plain_bytes: (!gzip && metadata.is_file()).then_some(metadata.len()),
            offset: 0,
        })
    }

    /// What is in memory, called `path`.
    fn of(path: &'a Path, content: Vec<u8>) -> Self {
        let (stored_bytes, gzip) = (content.len() as u64, content.starts_with(&GZIP_MAGIC));
        let reader = io::Cursor::new(content);
        Self {
            path,
            reader: if gzip { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) },
            stored_bytes,
            plain_bytes: (!gzip).then_some(stored_bytes),
            offset: 0,
        }
    }

    /// Appends the next `limit` bytes of content; fewer only at its end.
    fn read(&mut self, buffer: &mut Vec<u8>, limit: u64) -> Result<()> {
        let before = buffer.len();
        let result = self.reader.by_ref().take(limit).read_to_end(buffer);
        self.offset += (buffer.len() - before) as u64;
        result.map(drop).map_err(|error| {
            let problem = match error.kind() {
                io::ErrorKind::UnexpectedEof => "the gzip stream is cut off".to_string(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    format!("the gzip stream is damaged ({error})")
                }
                _ => return Error::io("read", self.path)(error),
            };
            Error::file(self.path, format!("byte {} of the unpacked content", self.offset), problem, FETCH_AGAIN)
        })
    }
}
