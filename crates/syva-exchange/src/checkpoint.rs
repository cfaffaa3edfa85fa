//! The tensors in a file of weights: safetensors, or what `torch.save` writes.
//!
//! `torch.save` writes a ZIP archive, without compression:
//!
//! ```text
//! NAME/data.pkl     a pickle: names, shapes, and which storage each tensor is a view of
//! NAME/data/0, …    the storages: numbers, one after the other
//! NAME/byteorder    "little" or "big"
//! ```

mod pickle;

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use safetensors::Dtype;
use syva_core::arithmetic::half;
use syva_core::recognise::recognise;
use syva_core::{Error, Result};
use zip::{CompressionMethod, ZipArchive};

pub(crate) use self::pickle::Element;
use self::pickle::{MOST_BYTES, Pickle, Value};

const DAMAGED: &str = "the file is damaged or cut off: save or copy it again";
const NAME_WEIGHTS: &str = "name a file of weights: .safetensors, or what torch.save(model.state_dict(), …) writes";

/// Where programs put a state dict in a larger checkpoint, in the order in which it is looked for.
const INSIDE: [&str; 7] = ["state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights"];

/// The tensors of a file.
pub(crate) struct Checkpoint<'a> {
    /// In the order of the file, if it has one, and otherwise by name.
    pub tensors: Vec<Tensor<'a>>,
    /// Whether that is the order in which the program made them.
    pub ordered: bool,
    /// Where in a larger checkpoint the tensors were found.
    pub inside: Option<String>,
    /// Sentences about what may be wrong.
    pub notes: Vec<String>,
}

/// A tensor: a view of numbers in a file.
pub(crate) struct Tensor<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub element: Element,
    storage: &'a [u8],
    big_endian: bool,
    /// In elements.
    offset: usize,
    strides: Vec<usize>,
}

impl<'a> Checkpoint<'a> {
    /// Reads the bytes of a file, which messages call `path`.
    pub fn read(bytes: &'a [u8], path: &Path) -> Result<Self> {
        if bytes.starts_with(b"PK") {
            return archive(bytes, path);
        }
        let refuse = |problem: String, remedy: &str| Err(Error::file(path, "header", problem, remedy));
        if bytes.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") {
            let remedy = "save it as one: torch.save(weights, FILE, _use_new_zipfile_serialization=True), with PyTorch 1.6 or later";
            return refuse("this is a PyTorch checkpoint of the old kind, which is no ZIP archive".into(), remedy);
        }
        if bytes.get(8) != Some(&b'{') {
            let found = recognise(bytes).map_or_else(|| "no file of weights".into(), |format| format.name);
            return refuse(format!("this is {found}"), NAME_WEIGHTS);
        }
        let (found, _) = match syva_core::read_safetensors(bytes) {
            Ok(found) => found,
            Err(problem) => return refuse(problem, DAMAGED),
        };
        let mut tensors = Vec::new();
        for (name, view) in found.iter() {
            let shape = view.shape().to_vec();
            let element = match view.dtype() {
                Dtype::F64 => Element::F64,
                Dtype::F32 => Element::F32,
                Dtype::F16 => Element::F16,
                Dtype::BF16 => Element::Bf16,
                other => Element::Other { bytes: other.bitsize().div_ceil(8) },
            };
            let strides = contiguous(&shape);
            tensors.push(Tensor {
                name: name.into(),
                shape,
                element,
                storage: view.data(),
                big_endian: false,
                offset: 0,
                strides,
            });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { tensors, ordered: false, inside: None, notes: Vec::new() })
    }
}

/// The distances between elements that lie one after the other, for a shape that is known to fit in memory.
fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides: Vec<usize> = Vec::with_capacity(shape.len());
    let mut distance = 1usize;
    for &size in shape.iter().rev() {
        strides.push(distance);
        distance = distance.saturating_mul(size);
    }
    strides.reverse();
    strides
}

/// Reads what `torch.save` wrote.
fn archive<'a>(bytes: &'a [u8], path: &Path) -> Result<Checkpoint<'a>> {
    let refuse = |place: &str, problem: String, remedy: &str| Error::file(path, place, problem, remedy);
    let bad = |error: zip::result::ZipError| refuse("archive", error.to_string(), DAMAGED);
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(bad)?;
    // Names have the folder's name before them, which is that of the file as it was saved.
    let mut members: HashMap<String, (&[u8], u32)> = HashMap::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(bad)?;
        let full = member.name().map_err(bad)?.into_owned();
        let Some((_, name)) = full.split_once('/') else { continue };
        if member.encrypted() || member.compression() != CompressionMethod::Stored {
            let problem = "it is compressed or encrypted, as torch.save never writes";
            return Err(refuse(&format!("'{full:.80}'"), problem.into(), "save it again with torch.save"));
        }
        let place = member.data_start().and_then(|start| {
            let start = usize::try_from(start).ok()?;
            bytes.get(start..start.checked_add(usize::try_from(member.size()).ok()?)?)
        });
        let Some(content) = place else {
            return Err(refuse(&format!("'{full:.80}'"), "it ends beyond the file".into(), DAMAGED));
        };
        members.insert(name.into(), (content, member.crc32()));
    }
    let Some(&(program, checksum)) = members.get("data.pkl") else {
        let found = recognise(bytes).map_or_else(|| "a ZIP archive".into(), |format| format.name);
        if members.keys().any(|name| name.starts_with("code/")) {
            let remedy = "save only the weights: torch.save(model.state_dict(), \"weights.pt\")";
            return Err(refuse("archive", "this is a TorchScript program".into(), remedy));
        }
        return Err(refuse("archive", format!("this is {found} without the data.pkl of torch.save"), NAME_WEIGHTS));
    };
    if program.len() as u64 > MOST_BYTES {
        let problem = format!("it has {} bytes, more than the {MOST_BYTES} of any state dict", program.len());
        return Err(refuse("data.pkl", problem, "save only the weights: torch.save(model.state_dict(), FILE)"));
    }
    let mut notes = Vec::new();
    if crc(program) != checksum {
        return Err(refuse("data.pkl", "its checksum does not fit".into(), DAMAGED));
    }
    let big_endian = match members.get("byteorder") {
        Some((b"big", _)) => true,
        Some((b"little", _)) | None => false,
        Some(_) => return Err(refuse("byteorder", "it is neither little nor big".into(), DAMAGED)),
    };
    let pickle = Pickle::read(program).map_err(|(problem, remedy)| refuse("data.pkl", problem, remedy))?;
    let (found, inside) = state_dict(&pickle).map_err(|problem| {
        let remedy = "save only the weights: torch.save(model.state_dict(), \"weights.pt\")";
        refuse("data.pkl", problem, remedy)
    })?;
    let mut tensors: Vec<Tensor<'_>> = Vec::new();
    let mut places: HashMap<Rc<str>, usize> = HashMap::new();
    let mut doubtful = Vec::new();
    for (name, view) in found {
        let key = &view.storage.key;
        let fail = |problem: String| refuse(&format!("'{name:.80}'"), problem, DAMAGED);
        let Some(&(storage, checksum)) = members.get(&format!("data/{key}")) else {
            return Err(fail(format!("its numbers, data/{key:.20}, are not in the archive")));
        };
        if view
            .storage
            .count
            .checked_mul(view.storage.element.bytes() as u64)
            .is_none_or(|size| size > storage.len() as u64)
        {
            return Err(fail(format!("data/{key:.20} has fewer numbers than the pickle says")));
        }
        if crc(storage) != checksum && !doubtful.contains(key) {
            doubtful.push(Rc::clone(key));
        }
        let sizes = |of: &[u64]| of.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>();
        let (Some(shape), Some(strides), Ok(offset)) =
            (sizes(&view.shape), sizes(&view.strides), usize::try_from(view.offset))
        else {
            return Err(fail("its size does not fit in memory".into()));
        };
        if !fits(&shape, &strides, offset, view.storage.count as usize) {
            return Err(fail(format!("its shape {shape:?} does not fit in data/{key:.20}")));
        }
        let element = view.storage.element;
        let tensor = Tensor { name: name.to_string(), shape, element, storage, big_endian, offset, strides };
        // Of two values of one key, a dict has the later one.
        if let Some(&place) = places.get(&name) {
            tensors[place] = tensor;
        } else {
            places.insert(name, tensors.len());
            tensors.push(tensor);
        }
    }
    if !doubtful.is_empty() {
        let count = doubtful.len();
        notes.push(format!(
            "the checksums of {count} of the file's arrays do not fit: it is damaged, or was saved without checksums"
        ));
    }
    Ok(Checkpoint { tensors, ordered: true, inside, notes })
}

fn crc(bytes: &[u8]) -> u32 {
    let mut reader = flate2::CrcReader::new(bytes);
    let mut buffer = [0; 1 << 13];
    while reader.read(&mut buffer).is_ok_and(|count| count > 0) {}
    reader.crc().sum()
}

/// Whether a view lies within a storage of so many elements, and has no more elements than it.
fn fits(shape: &[usize], strides: &[usize], offset: usize, count: usize) -> bool {
    if shape.len() != strides.len() {
        return false;
    }
    let elements = shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size));
    match elements {
        Some(0) => true,
        Some(elements) if elements <= count => {
            let last = shape
                .iter()
                .zip(strides)
                .try_fold(offset, |last, (&size, &stride)| last.checked_add((size - 1).checked_mul(stride)?));
            last.is_some_and(|last| last < count)
        }
        _ => false,
    }
}

type Found = (Vec<(Rc<str>, Rc<pickle::Tensor>)>, Option<String>);

/// The tensors of the state dict that a pickle is, or has in it, and what it is called there.
fn state_dict(pickle: &Pickle) -> Result<Found, String> {
    let Some(entries) = pickle.entries(&pickle.value) else {
        let problem = match &pickle.value {
            Value::Tensor(_) => "it is a single tensor, not the dict of a network's weights",
            _ => "it is not the dict of a network's weights",
        };
        return Err(problem.into());
    };
    let tensors = |entries: &[(Rc<str>, Value)]| -> Vec<(Rc<str>, Rc<pickle::Tensor>)> {
        let of = |(name, value): &(Rc<str>, Value)| match value {
            Value::Tensor(tensor) => Some((Rc::clone(name), Rc::clone(tensor))),
            _ => None,
        };
        entries.iter().filter_map(of).collect()
    };
    let own = tensors(&entries);
    if own.iter().any(|(name, _)| name.ends_with("weight")) {
        return Ok((own, None));
    }
    let inner: Vec<(Rc<str>, _)> = entries
        .iter()
        .filter_map(|(name, value)| Some((Rc::clone(name), tensors(&pickle.entries(value)?))))
        .filter(|(_, tensors)| !tensors.is_empty())
        .collect();
    let known = INSIDE.iter().find_map(|wanted| inner.iter().find(|(name, _)| &**name == *wanted));
    let chosen = known.or(if let [one] = &inner[..] { Some(one) } else { None });
    if let Some((name, tensors)) = chosen {
        return Ok((tensors.clone(), Some(name.to_string())));
    }
    let names: Vec<&str> = entries.iter().map(|(name, _)| &**name).take(12).collect();
    Err(format!(
        "no state dict is in it; it has {}",
        if names.is_empty() { "nothing".into() } else { names.join(", ") }
    ))
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other { bytes } => bytes,
        }
    }

    /// Whether it is a type of real numbers.
    pub fn is_real(self) -> bool {
        !matches!(self, Self::Other { .. })
    }
}

impl Tensor<'_> {
    /// Its values, row after row, and how many of them were rounded to fit in 32 bits.
    pub fn values(&self) -> (Vec<f32>, usize) {
        let count = self.shape.iter().product();
        let (mut values, mut rounded) = (Vec::with_capacity(count), 0);
        let mut place = vec![0; self.shape.len()];
        for _ in 0..count {
            let at: usize = self.offset + place.iter().zip(&self.strides).map(|(k, stride)| k * stride).sum::<usize>();
            let exact = self.number(at);
            let value = exact as f32;
            rounded += usize::from(f64::from(value) != exact && !exact.is_nan());
            values.push(value);
            for (k, &size) in place.iter_mut().zip(&self.shape).rev() {
                *k += 1;
                if *k < size {
                    break;
                }
                *k = 0;
            }
        }
        (values, rounded)
    }

    fn number(&self, at: usize) -> f64 {
        let size = self.element.bytes();
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&self.storage[at * size..(at + 1) * size]);
        if self.big_endian {
            bytes[..size].reverse();
        }
        let bits = u64::from_le_bytes(bytes);
        match self.element {
            Element::F64 => f64::from_bits(bits),
            Element::F32 => f32::from_bits(bits as u32).into(),
            Element::Bf16 => f32::from_bits((bits as u32) << 16).into(),
            Element::F16 => half(bits as u16),
            Element::Other { .. } => f64::NAN,
        }
    }
}
