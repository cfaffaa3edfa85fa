//! Records: the frames of an event file's events, by which a reader tells a whole event from a torn one.
//!
//! ```text
//! 8 bytes   length n of the event, little-endian
//! 4 bytes   masked CRC-32C of these 8 bytes
//! n bytes   the event, a protocol buffer
//! 4 bytes   masked CRC-32C of these n bytes
//! ```
//!
//! A masked checksum is rotated right by 15 bits, and 0xa282ead8 is added to it, because checksums of data that
//! contains checksums are weak. (The format is TFRecord; the constants are those of TensorFlow's `record_writer`.)

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use prost::Message;

use crate::proto::Event;
use crate::{Error, Result};

const HEADER: usize = 12;
const FOOTER: usize = 4;

/// The greatest length of an event in bytes. A greater length is damage, even if its checksum is right.
const MAX_LENGTH: u64 = 1 << 30;

/// The masked checksum of a part of a record.
///
/// ```
/// // CRC-32C of "123456789" is e3069283. (RFC 3720 names the polynomial; the check value is Rocksoft's.)
/// let crc: u32 = 0xe306_9283;
/// let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
/// assert_eq!(syva_tensorboard::record::masked_crc(b"123456789"), masked);
/// ```
#[must_use]
pub fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Appends an event as a record.
pub fn append(event: &Event, to: &mut Vec<u8>) {
    let length = (event.encoded_len() as u64).to_le_bytes();
    to.extend(length);
    to.extend(masked_crc(&length).to_le_bytes());
    let begin = to.len();
    // This cannot fail, because a Vec always makes room.
    let _ = event.encode(to);
    to.extend(masked_crc(&to[begin..]).to_le_bytes());
}

/// Whether a file of this name holds events. Like TensorBoard, this looks for `tfevents` in the name.
#[must_use]
pub fn is_event_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains("tfevents"))
}

/// Reads an event file that may still grow. Between reads at its end the file is not open, so that any number of files
/// can be followed.
///
/// ```
/// use syva_tensorboard::{EventReader, Writer};
/// let folder = tempfile::tempdir()?;
/// let mut writer = Writer::create(folder.path())?;
/// let mut reader = EventReader::new(writer.path());
/// while reader.next_event()?.is_some() {}
/// writer.scalar("loss", 1, 0.5)?;
/// assert_eq!(reader.next_event()?, None); // not there yet
/// writer.flush()?;
/// assert_eq!(reader.next_event()?.map(|event| event.step), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    /// Closed at the end of the file.
    file: Option<File>,
    /// The buffer's offset in the file.
    offset: u64,
    buffer: Vec<u8>,
    /// Bytes of the buffer that belong to events already returned.
    used: usize,
}

impl EventReader {
    /// A reader at the beginning of a file. Nothing is read until [`EventReader::next_event`].
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_path_buf(), file: None, offset: 0, buffer: Vec::new(), used: 0 }
    }

    /// The next whole event, or `None` if there is none yet. In that case, call again when the file has grown. An
    /// incomplete record at the end is neither an event nor an error: it is left by a writer that is still at work, or
    /// that was killed.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at a record whose checksums are wrong. Further calls return the same error.
    /// [`Error::Io`] if the file can no longer be read. A further call tries again.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        if !self.fill(HEADER)? {
            return Ok(None);
        }
        let header = &self.buffer[self.used..self.used + HEADER];
        let (length, crc) = header.split_at(8);
        if masked_crc(length).to_le_bytes() != crc {
            return Err(self.corrupt("the checksum of a record's length is wrong"));
        }
        let length = length.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
        if length > MAX_LENGTH {
            return Err(self.corrupt(format!("a record of {length} bytes is too long")));
        }
        let length = length as usize;
        if !self.fill(HEADER + length + FOOTER)? {
            return Ok(None);
        }
        let record = &self.buffer[self.used + HEADER..self.used + HEADER + length + FOOTER];
        let (data, crc) = record.split_at(length);
        if masked_crc(data).to_le_bytes() != crc {
            return Err(self.corrupt("the checksum of a record is wrong"));
        }
        let event = Event::decode(data).map_err(|error| self.corrupt(format!("this is not an event: {error}")))?;
        self.used += HEADER + length + FOOTER;
        Ok(Some(event))
    }

    /// Reads until the buffer has `wanted` unused bytes. Returns false if the file has fewer.
    fn fill(&mut self, wanted: usize) -> Result<bool> {
        if self.buffer.len() - self.used >= wanted {
            return Ok(true);
        }
        self.buffer.drain(..self.used);
        self.offset += self.used as u64;
        self.used = 0;
        let have = self.offset + self.buffer.len() as u64;
        let mut file =
            self.file.take().map_or_else(|| File::open(&self.path), Ok).map_err(Error::io("read", &self.path))?;
        file.seek(SeekFrom::Start(have)).map_err(Error::io("read", &self.path))?;
        // Read large pieces, but never take more memory than the file has bytes.
        let missing = (wanted - self.buffer.len()).max(1 << 18) as u64;
        file.by_ref().take(missing).read_to_end(&mut self.buffer).map_err(Error::io("read", &self.path))?;
        let is_enough = self.buffer.len() >= wanted;
        self.file = is_enough.then_some(file);
        Ok(is_enough)
    }

    fn corrupt(&self, problem: impl Into<String>) -> Error {
        Error::Corrupt { path: self.path.clone(), offset: self.offset + self.used as u64, problem: problem.into() }
    }
}
