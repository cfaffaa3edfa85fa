//! What a Parquet file promises, checked before memory is set aside for it.
//!
//! The decoder sets aside what a header of a page promises (its unpacked size, up to 2 GiB, and room for each value of its
//! dictionary), and what the footer promises (elements of lists, children of columns). So both are read here first.

use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::{Arc, Mutex};

use flate2::read::MultiGzDecoder;
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use syva_core::{Error, memory};

use crate::parquet::At;
use crate::thrift;

/// The type of a page that the decoder passes over.
const INDEX_PAGE: i64 = 1;
/// A packed page may unpack to so many bytes before it is unpacked once to count them.
const UNCOUNTED: u64 = 1 << 30;

/// The pages of a column in a row group.
pub(crate) struct Pages {
    inner: Box<dyn PageReader>,
    file: Arc<Mutex<File>>,
    /// Where the next header begins, and the bytes of the column from there on.
    position: u64,
    left: u64,
    codec: Compression,
    /// The least bytes of a value in a dictionary.
    value_bytes: usize,
    /// Whether it may have missing values.
    has_levels: bool,
    has_dictionary: bool,
}

/// What the header of a page promises.
#[derive(Debug, Default, PartialEq)]
struct Header {
    kind: i64,
    unpacked: i64,
    packed: i64,
    /// Bytes at the beginning of a page that are not packed, and whether the others are.
    levels: i64,
    is_plain: bool,
}

impl Header {
    /// Reads a header that has so many bytes at most, and returns how many it has.
    fn read(bytes: impl Read, most: u64) -> Result<(Self, u64)> {
        let mut header = Self::default();
        let length = thrift::read(bytes, most, &mut |path, value| match path {
            [1] => header.kind = value,
            [2] => header.unpacked = value,
            [3] => header.packed = value,
            // Of pages of the second version.
            [8, 5 | 6] => header.levels = header.levels.saturating_add(value),
            [8, 7] => header.is_plain = value == 0,
            _ => {}
        })?;
        Ok((header, length))
    }
}

/// Checks the footer of a file of so many bytes. What is wrong with it otherwise, the decoder finds.
pub(crate) fn check_footer(file: &Arc<Mutex<File>>, size: u64) -> Result<()> {
    let mut end = [0; 8];
    let Some(start) = size.checked_sub(8) else { return Ok(()) };
    At::new(file, start).read_exact(&mut end)?;
    let length = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    let Some(start) = start.checked_sub(length).filter(|_| end.ends_with(b"PAR1")) else { return Ok(()) };
    let mut children = 0u64;
    thrift::read(BufReader::new(At::new(file, start)), length, &mut |path, value| {
        if let [2, 5] = path {
            children = children.saturating_add(value.try_into().unwrap_or(u64::MAX));
        }
    })?;
    if children > length { Err(bad("its columns promise more columns in them than there are")) } else { Ok(()) }
}

impl Pages {
    /// The pages of a column that starts at `start`, as `inner` decodes them.
    pub fn new(inner: Box<dyn PageReader>, file: Arc<Mutex<File>>, column: &ColumnChunkMetaData) -> Self {
        let (position, left) = column.byte_range();
        let value_bytes = match column.column_type() {
            Type::BOOLEAN => 1,
            Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::FIXED_LEN_BYTE_ARRAY => column.column_descr().type_length().max(1) as usize,
        };
        let has_levels = column.column_descr().max_def_level() > 0;
        Self {
            inner,
            file,
            position,
            left,
            codec: column.compression(),
            value_bytes,
            has_levels,
            has_dictionary: false,
        }
    }

    /// Reads the header of the page that the decoder reads next, and checks what it promises.
    fn check(&mut self) -> Result<()> {
        while self.left > 0 {
            let at = At::new(&self.file, self.position);
            let (header, length) = Header::read(BufReader::new(at), self.left)?;
            let packed = u64::try_from(header.packed).map_err(|_| bad("a page has a negative size"))?;
            let start = self.position + length;
            self.left = match self.left.checked_sub(length + packed) {
                Some(left) => left,
                None => return Err(bad("a page ends beyond its column")),
            };
            self.position = start + packed;
            if header.kind != INDEX_PAGE {
                return self.fits(&header, start, packed);
            }
        }
        Ok(())
    }

    /// Checks the size to which the page that begins at `start` unpacks.
    fn fits(&self, header: &Header, start: u64, packed: u64) -> Result<()> {
        let unpacked = u64::try_from(header.unpacked).map_err(|_| bad("a page has a negative size"))?;
        // The most bytes that one byte unpacks to.
        let most = match self.codec {
            Compression::UNCOMPRESSED | Compression::LZO => return Ok(()),
            // A copy of 64 bytes takes 3.
            Compression::SNAPPY => 22,
            Compression::LZ4 | Compression::LZ4_RAW => 255,
            Compression::GZIP(_) => 1032,
            // A block of 128 KiB takes 4.
            Compression::ZSTD(_) => 1 << 15,
            // A meta-block of 16 MiB takes some bytes.
            Compression::BROTLI(_) => 1 << 22,
        };
        let levels = u64::try_from(header.levels).map_err(|_| bad("a page has a negative size"))?;
        if header.is_plain {
            return Ok(());
        }
        if unpacked > levels.saturating_add(packed.saturating_mul(most)) {
            return Err(bad(&format!("a page of {packed} bytes promises {unpacked}, more than they unpack to")));
        }
        memory::ask(unpacked, "the values of a page", "").map_err(|error| match error {
            Error::Resource { problem, .. } => bad(&format!("{problem}; write smaller row groups")),
            other => bad(&other.to_string()),
        })?;
        // This decoder alone unpacks whatever comes, and then compares.
        if matches!(self.codec, Compression::GZIP(_)) && packed.saturating_mul(most) > UNCOUNTED {
            let content = BufReader::new(At::new(&self.file, start + levels)).take(packed.saturating_sub(levels));
            let limit = unpacked.saturating_sub(levels) + 1;
            let count = std::io::copy(&mut MultiGzDecoder::new(content).take(limit), &mut std::io::sink())?;
            if count == limit {
                return Err(bad("a page unpacks to more bytes than it promises"));
            }
        }
        Ok(())
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.check()?;
        let page = self.inner.get_next_page()?;
        match &page {
            Some(Page::DictionaryPage { buf, num_values, .. }) => {
                if u64::from(*num_values) * self.value_bytes as u64 > buf.len() as u64 {
                    let problem = format!("a dictionary of {} bytes promises {num_values} values", buf.len());
                    return Err(bad(&problem));
                }
                self.has_dictionary = true;
            }
            Some(page) => match page.encoding() {
                Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY if !self.has_dictionary => {
                    return Err(bad("a page refers to a dictionary, and there is none"));
                }
                encoding @ (Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY) => {
                    let mut values =
                        values(page, self.has_levels).ok_or_else(|| bad("the levels of a page are cut off"))?;
                    // Lengths of texts; before them, those of what they share with the text before.
                    for _ in 0..=u8::from(encoding == Encoding::DELTA_BYTE_ARRAY) {
                        values = after_deltas(values, page.num_values()).ok_or_else(|| {
                            bad("a page promises more texts than it has values, or its lengths are cut off")
                        })?;
                    }
                }
                _ => {}
            },
            None => {}
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.check()?;
        self.inner.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

fn bad(problem: &str) -> ParquetError {
    ParquetError::General(problem.into())
}

/// The bytes of a page of a flat column after those that say which values are missing.
fn values(page: &Page, has_levels: bool) -> Option<&[u8]> {
    let bytes = page.buffer();
    match page {
        Page::DataPage { num_values, def_level_encoding, .. } if has_levels => {
            if *def_level_encoding == Encoding::RLE {
                let (length, rest) = bytes.split_first_chunk()?;
                return rest.get(u32::from_le_bytes(*length) as usize..);
            }
            // A bit for each value.
            bytes.get(num_values.div_ceil(8) as usize..)
        }
        Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
            bytes.get(def_levels_byte_len.checked_add(*rep_levels_byte_len)? as usize..)
        }
        _ => Some(bytes),
    }
}

/// What follows numbers that are packed as DELTA_BINARY_PACKED, `None` if they are cut off or more than `most`.
///
/// ```text
/// header      values of a block, mini-blocks of a block, count of numbers, first number
/// block       least difference, a width for each mini-block, mini-blocks: for each number so many bits
/// ```
fn after_deltas(mut bytes: &[u8], most: u32) -> Option<&[u8]> {
    let [block, parts, count] = [varint(&mut bytes)?, varint(&mut bytes)?, varint(&mut bytes)?];
    varint(&mut bytes)?;
    if count > u64::from(most) || parts == 0 || parts > block {
        return None;
    }
    let of_part = block / parts;
    // The first number has no difference.
    let mut left = count.saturating_sub(1);
    while left > 0 {
        varint(&mut bytes)?;
        let (widths, rest) = bytes.split_at_checked(usize::try_from(parts).ok()?)?;
        bytes = rest;
        for &width in widths {
            if left == 0 {
                break;
            }
            let length = u64::from(width).checked_mul(of_part)? / 8;
            bytes = bytes.get(usize::try_from(length).ok()?..)?;
            left = left.saturating_sub(of_part);
        }
    }
    Some(bytes)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_lengths_end_where_their_blocks_do() {
        // 130 numbers in blocks of 128 in 4 parts; differences of 0 bits, but of 1 bit in the third part.
        let blocks =
            [&[0x80, 1, 4, 0x82, 1, 0][..], &[0, 0, 0, 1, 0], &[0xff; 4], &[0, 2, 9, 9, 9], &[0xee; 8], b"after"];
        let bytes = blocks.concat();
        assert_eq!(after_deltas(&bytes, 130), Some(&b"after"[..]));
        assert_eq!(after_deltas(&bytes, 129), None, "more numbers than values");
        assert_eq!(after_deltas(&bytes[..bytes.len() - 6], 130), None, "cut off");
        assert_eq!(after_deltas(&[0x80, 1, 4, 1, 6, 7], 1), Some(&[7][..]), "one number has no block");
        assert_eq!(after_deltas(&[0x80, 1, 0, 1, 6, 7], 1), None, "no parts");
    }
}
