//! Opens a file or standard input, says what it is by its first bytes, and gives its text as UTF-8, whatever it is packed
//! with and encoded in.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use flate2::bufread::MultiGzDecoder;
use syva_core::recognise::{BEGIN, Family, Format, recognise};
use syva_core::table::ReadOptions;
use syva_core::{Error, Result, memory, threads};

/// How much is read from a stream at once.
pub(crate) const STEP: usize = 1 << 20;

/// So much text is unpacked before it is asked whether there is memory for more.
const ASKED: usize = 64 << 20;

const NAME_A_TABLE: &str = "name a table: CSV or other delimited text, Parquet, NPY, NPZ or safetensors";

/// What a path holds.
pub(crate) enum Input {
    /// Text, as a stream.
    Text(Text),
    /// A Parquet file.
    Parquet,
    /// A NumPy array, or an archive of them.
    Numpy,
    /// A file of tensors.
    Safetensors,
}

/// Text as a stream of UTF-8, except that a byte 0xFF stands where the encoding allows none.
pub(crate) struct Text {
    stream: Box<dyn BufRead + Send>,
    /// For another encoding than UTF-8.
    decoder: Option<Decoder>,
    pub encoding: &'static Encoding,
    /// The size of the file, if it is neither packed nor converted.
    size: Option<usize>,
    /// Bytes of the mark at its beginning.
    skipped: usize,
    /// What it is packed with.
    packed: Option<&'static str>,
}

/// Whether a path means standard input.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens a path, and recognises what it is.
pub(crate) fn open(path: &Path, options: &ReadOptions) -> Result<Input> {
    let encoding = match &options.encoding {
        None => UTF_8,
        Some(label) => Encoding::for_label(label.as_bytes()).ok_or_else(|| {
            let problem = format!("there is no encoding '{label}'");
            Error::setting("--encoding", problem, "give a name that browsers know, such as utf-8 or windows-1252")
        })?,
    };
    let (stream, mut size): (Box<dyn Read + Send>, _) = if is_standard(path) {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let data = file.metadata().map_err(Error::io("read", path))?;
        if data.is_dir() {
            return Err(Error::io("read", path)(io::ErrorKind::IsADirectory.into()));
        }
        (Box::new(file), data.is_file().then_some(data.len() as usize))
    };
    let (begin, mut stream) = peek(stream, path)?;
    let mut begin = begin;
    let mut packed = None;
    if begin.starts_with(&[0x1f, 0x8b]) {
        packed = Some("gzip");
        let unpacked = MultiGzDecoder::new(stream);
        (begin, stream) = peek(Box::new(unpacked), path).map_err(|error| damaged(error, path, "gzip"))?;
    } else if begin.starts_with(b"\x28\xb5\x2f\xfd") {
        packed = Some("zstd");
        let unpacked = zstd::stream::read::Decoder::with_buffer(stream).map_err(Error::io("unpack", path))?;
        (begin, stream) = peek(Box::new(unpacked), path).map_err(|error| damaged(error, path, "zstd"))?;
    }
    if begin.is_empty() {
        return Err(Error::file(path, "the whole file", "it is empty", "write or download it again"));
    }
    // A mark at the beginning says more than a setting.
    let encoding = if begin.starts_with(b"\xff\xfe") {
        UTF_16LE
    } else if begin.starts_with(b"\xfe\xff") {
        UTF_16BE
    } else if begin.starts_with(b"\xef\xbb\xbf") {
        UTF_8
    } else {
        encoding
    };
    let marked = begin.starts_with(b"\xff\xfe") || begin.starts_with(b"\xfe\xff");
    if !marked && let Some(input) = recognised(path, &begin, packed)? {
        return Ok(input);
    }
    let decoder = (encoding != UTF_8).then(|| encoding.new_decoder_with_bom_removal());
    let skipped = if begin.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    if skipped > 0 {
        stream.read_exact(&mut [0; 3]).map_err(Error::io("read", path))?;
    }
    if packed.is_some() || decoder.is_some() {
        size = None;
    }
    Ok(Input::Text(Text { stream, decoder, encoding, size, skipped, packed }))
}

/// The first bytes of a stream, and the stream with them.
fn peek(mut stream: Box<dyn Read + Send>, path: &Path) -> Result<(Vec<u8>, Box<dyn BufRead + Send>)> {
    let mut begin = Vec::new();
    (&mut stream).take(BEGIN as u64).read_to_end(&mut begin).map_err(Error::io("read", path))?;
    let whole = io::Cursor::new(begin.clone()).chain(stream);
    Ok((begin, Box::new(BufReader::with_capacity(64 << 10, whole))))
}

/// An error of a decoder is one of the file's content.
fn damaged(error: Error, path: &Path, packing: &str) -> Error {
    match error {
        Error::Io { source, .. } => {
            let problem = format!("its {packing} stream is damaged or cut off ({source})");
            Error::file(path, "packed content", problem, "download or pack it again")
        }
        other => other,
    }
}

/// What is not text, or not a table.
fn recognised(path: &Path, begin: &[u8], packed: Option<&str>) -> Result<Option<Input>> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    let promised = match ending.as_str() {
        "parquet" | "pq" => Some("Parquet table"),
        "npy" | "npz" => Some("NumPy array"),
        "safetensors" => Some("safetensors file"),
        _ => None,
    };
    let refuse = |found: &str, remedy: &str| {
        let packing = packed.map_or(String::new(), |packing| format!(" packed with {packing}"));
        let promise = promised.map_or(String::new(), |promised| format!(", not the {promised} that its name promises"));
        Err(Error::file(path, "beginning", format!("it is {found}{packing}{promise}"), remedy))
    };
    let Some(Format { name, family }) = recognise(begin) else {
        return if promised.is_some() { refuse("of an unknown format", NAME_A_TABLE) } else { Ok(None) };
    };
    let table = match name.as_str() {
        "a Parquet table" => Some(Input::Parquet),
        "a NumPy array" | "an archive of NumPy arrays (npz)" => Some(Input::Numpy),
        "a safetensors file" => Some(Input::Safetensors),
        _ => None,
    };
    if let Some(table) = table {
        if packed.is_some() {
            return refuse(&name, "unpack it first");
        }
        if is_standard(path) {
            return refuse(&name, "name it as a file; standard input takes text only");
        }
        return Ok(Some(table));
    }
    match family {
        Family::Text if name.contains("JSON") && looks_like_json(begin) => {
            refuse(&name, "convert it to CSV or Parquet, for example with pandas")
        }
        Family::Text if promised.is_some() => refuse(&name, "export it again, or name it .csv if it is delimited text"),
        Family::Text => Ok(None),
        // Some programs write names of columns as `<DATE>,<OPEN>`.
        Family::StandIn if [&b">,<"[..], b">;<", b">\t<", b">|<"].iter().any(|sign| holds(begin, sign)) => Ok(None),
        Family::StandIn if name.contains("LFS") => refuse(&name, "run `git lfs pull` to get the file itself"),
        Family::StandIn => refuse(&name, "open it to see what it says, and download the table again"),
        Family::Packed => refuse(&name, "unpack it first; gzip and zstd around text are unpacked as they are read"),
        Family::Idx => refuse(
            &name,
            "images are no table: put it into a folder beside its labels, and give the folder with --data",
        ),
        Family::Document if name.contains("office") => refuse(&name, "save the sheet as CSV there"),
        Family::Network if name.contains("pickle") || name.contains("PyTorch") => {
            refuse(&name, "such files can run code when they are read: save the table as CSV, Parquet or NPZ")
        }
        Family::Table => refuse(&name, "convert it to CSV or Parquet"),
        _ => refuse(&name, NAME_A_TABLE),
    }
}

/// The bytes of a large file from a position on, read by all cores: most of the time goes into new pages of memory. `None`
/// if the file is small, or has changed meanwhile.
fn read_at_once(path: &Path, start: usize, size: usize) -> io::Result<Option<Vec<u8>>> {
    const BLOCK: usize = 4 << 20;
    let length = size.saturating_sub(start);
    if length < 2 * BLOCK {
        return Ok(None);
    }
    let mut text = vec![0; length];
    let failed = Mutex::new(None);
    threads::share(threads::cores(), text.chunks_mut(BLOCK).enumerate(), |(i, block)| {
        let read = |block: &mut [u8]| -> io::Result<()> {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start((start + i * BLOCK) as u64))?;
            file.read_exact(block)
        };
        if let Err(error) = read(block) {
            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    });
    let changed = std::fs::metadata(path)?.len() != size as u64;
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        None if !changed => Ok(Some(text)),
        _ => Ok(None),
    }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|found| found == wanted)
}

/// Names of columns may be in brackets, too.
fn looks_like_json(begin: &[u8]) -> bool {
    let mut signs = begin.iter().filter(|byte| !byte.is_ascii_whitespace());
    matches!(
        (signs.next(), signs.next()),
        (Some(b'{' | b'['), Some(b'{' | b'[' | b'"' | b']' | b'}' | b'0'..=b'9' | b'-'))
    )
}

impl Text {
    /// Adds more of the text, about a mebibyte of it. `false` at its end.
    pub fn more(&mut self, path: &Path, text: &mut Vec<u8>) -> Result<bool> {
        self.read(text).map_err(|error| self.error(path, error))
    }

    /// All of the text.
    pub fn all(mut self, path: &Path) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let ask = |bytes: usize| {
            let what = format!("{}: {} of text", path.display(), memory::readable(bytes as u64));
            memory::ask(bytes as u64, &what, "give a table of fewer rows or columns, or end other programs")
        };
        if let Some(size) = self.size {
            ask(size)?;
            if let Some(text) = read_at_once(path, self.skipped, size).map_err(Error::io("read", path))? {
                return Ok(text);
            }
            self.stream.read_to_end(&mut text).map_err(Error::io("read", path))?;
            return Ok(text);
        }
        // A small file can unpack to any length.
        let mut asked = ASKED;
        while self.more(path, &mut text)? {
            if text.len() > asked {
                asked = 2 * text.len();
                ask(asked)?;
            }
        }
        Ok(text)
    }

    fn error(&self, path: &Path, error: io::Error) -> Error {
        let error = Error::io("read", path)(error);
        match self.packed {
            Some(packing) => damaged(error, path, packing),
            None => error,
        }
    }

    fn read(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let Some(decoder) = &mut self.decoder else {
            return Ok((&mut self.stream).take(STEP as u64).read_to_end(text)? > 0);
        };
        let before = text.len();
        let mut out = [0; 8 << 10];
        while text.len() < before + STEP {
            let bytes = match self.stream.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            let last = bytes.is_empty();
            let mut used = 0;
            loop {
                let (result, read, written) =
                    decoder.decode_to_utf8_without_replacement(&bytes[used..], &mut out, last);
                used += read;
                text.extend_from_slice(&out[..written]);
                match result {
                    DecoderResult::InputEmpty => break,
                    DecoderResult::OutputFull => {}
                    DecoderResult::Malformed(..) => text.push(0xff),
                }
            }
            self.stream.consume(used);
            if last {
                // A decoder must not be used after its end.
                self.decoder = None;
                break;
            }
        }
        Ok(text.len() > before)
    }
}
