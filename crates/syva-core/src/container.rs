//! The container of model files: [safetensors](https://github.com/huggingface/safetensors), format 0.
//!
//! ```text
//! 8 bytes   length n of the header, little-endian
//! n bytes   JSON: "__metadata__": { name: text, … }, then for each tensor its dtype, shape, first and last byte; padded
//!           with spaces to a multiple of 8
//! the rest  the tensors, one after the other
//! ```
//!
//! The `safetensors` crate reads files, but does not write them here, because it keeps metadata in a hash map, whose
//! order differs from process to process, and equal models must give equal bytes. The crate also does not detect
//! duplicate names, and if a file has several faults, it reports an arbitrary one. So [`read`] checks the header first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use safetensors::{Dtype, SafeTensors};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The header's entry for metadata, which is not a tensor.
const METADATA: &str = "__metadata__";
/// The longest header that this program and the `safetensors` crate read.
const MAX_HEADER: usize = 100_000_000;

/// A tensor to be written.
pub(crate) struct Entry<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Values<'a>,
}

/// The numbers of a tensor.
pub(crate) enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl Values<'_> {
    fn bytes(&self) -> usize {
        match self {
            Self::F32(values) => size_of_val(*values),
            Self::F64(values) => size_of_val(*values),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::F32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        }
    }
}

/// What the header says about a tensor. The order of the fields is that of the `safetensors` crate.
#[derive(Serialize, Deserialize)]
struct Place {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The bytes of a file with this metadata and these tensors, in the order that the format requires: wider numbers
/// first, then by name. `None` if the header would be longer than any reader accepts.
pub(crate) fn write(metadata: &BTreeMap<&str, String>, mut entries: Vec<Entry<'_>>) -> Option<Vec<u8>> {
    entries.sort_by(|a, b| {
        let narrow = |entry: &Entry<'_>| matches!(entry.values, Values::F32(_));
        narrow(a).cmp(&narrow(b)).then_with(|| a.name.cmp(&b.name))
    });
    let mut header = format!("{{{}:{}", json(METADATA), json(metadata));
    let mut offset = 0;
    for entry in &entries {
        let end = offset + entry.values.bytes();
        let dtype = if matches!(entry.values, Values::F64(_)) { Dtype::F64 } else { Dtype::F32 };
        let place = Place { dtype, shape: entry.shape.clone(), data_offsets: (offset, end) };
        header += &format!(",{}:{}", json(&entry.name), json(&place));
        offset = end;
    }
    header.push('}');
    let padded = header.len().next_multiple_of(8);
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    if padded > MAX_HEADER {
        return None;
    }
    let mut bytes = Vec::with_capacity(8 + padded + offset);
    bytes.extend((padded as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    for entry in &entries {
        entry.values.write(&mut bytes);
    }
    Some(bytes)
}

/// Serialises a value for which this cannot fail: strings, and maps and structs of strings and integers.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The tensors and the metadata in the bytes of a file, or a description of what is wrong with them. The same bytes
/// always give the same description.
pub fn read(bytes: &[u8]) -> Result<(SafeTensors<'_>, BTreeMap<String, String>), String> {
    check_header(bytes)?;
    let say = |error: safetensors::SafeTensorError| error.to_string();
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(say)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(say)?;
    Ok((tensors, metadata.metadata().clone().unwrap_or_default().into_iter().collect()))
}

/// Rejects duplicate names, and tensors that overlap or leave gaps, in the order in which they are stored. All other
/// faults are left to the `safetensors` crate.
fn check_header(bytes: &[u8]) -> Result<(), String> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(()) };
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|&length| length <= MAX_HEADER);
    let Some(header) = length.and_then(|length| rest.get(..length)) else { return Ok(()) };
    let Ok(header) = serde_json::from_slice::<Header>(header) else { return Ok(()) };
    if let Some(name) = header.twice {
        return Err(format!("the name '{name}' occurs twice in it"));
    }
    let mut end = 0;
    for ((from, to), name) in &header.places {
        if *from != end || to < from {
            return Err(format!("tensor '{name}' lies at bytes {from} to {to}, but the one before it ends at {end}"));
        }
        end = *to;
    }
    Ok(())
}

/// The names in the header, and the positions of the tensors.
#[derive(Default)]
struct Header {
    places: Vec<((usize, usize), String)>,
    /// The first duplicate name, of a tensor or in the metadata.
    twice: Option<String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                let mut names = BTreeSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == METADATA {
                        map.next_value::<Unique>()?.0
                    } else {
                        header.places.push((map.next_value::<Place>()?.data_offsets, name.clone()));
                        None
                    };
                    let known = (!names.insert(name.clone())).then_some(name);
                    header.twice = header.twice.or(twice).or(known);
                }
                header.places.sort();
                Ok(header)
            }
        }
        deserializer.deserialize_map(Names)
    }
}

/// The first duplicate name in a map of strings.
struct Unique(Option<String>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let (mut names, mut twice) = (BTreeSet::new(), None);
                while let Some((name, _)) = map.next_entry::<String, String>()? {
                    let known = (!names.insert(name.clone())).then_some(name);
                    twice = twice.or(known);
                }
                Ok(Unique(twice))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
    }

    #[test]
    fn what_is_written_is_what_the_crate_writes() {
        let (weights, history) = ([1.0_f32, -2.5, 3.0, 0.0, 7.0, 9.0], [0.1_f64, 0.2]);
        let entry = |name: &str, shape: &[usize], values| Entry { name: name.into(), shape: shape.into(), values };
        let entries = vec![
            entry("fc2.weight", &[1, 2], Values::F32(&weights[..2])),
            entry("fc10.weight", &[4], Values::F32(&weights[2..])),
            entry("history", &[2, 1], Values::F64(&history)),
        ];
        let text = "a \"description\"\nwith \u{e4} and \u{1}";
        let ours = write(&BTreeMap::from([("syva", text.to_string())]), entries).unwrap();
        let raw = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let bytes = [raw(&weights[..2]), raw(&weights[2..]), history.iter().flat_map(|v| v.to_le_bytes()).collect()];
        let view = |dtype, shape: &[usize], i: usize| {
            safetensors::tensor::TensorView::new(dtype, shape.to_vec(), &bytes[i]).unwrap()
        };
        let views = [
            ("fc2.weight", view(Dtype::F32, &[1, 2], 0)),
            ("fc10.weight", view(Dtype::F32, &[4], 1)),
            ("history", view(Dtype::F64, &[2, 1], 2)),
        ];
        let metadata = std::collections::HashMap::from([("syva".to_string(), text.to_string())]);
        let theirs = safetensors::serialize(views, Some(metadata)).unwrap();
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs));
        assert_eq!(ours, theirs);
        assert_eq!(read(&ours).unwrap().1["syva"], text);
    }

    #[test]
    fn names_that_stand_twice_and_overlaps_are_told_in_the_same_words_each_time() {
        let tensor = |name: &str, from: usize, to: usize| {
            format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{from},{to}]}}"#)
        };
        for (header, says) in [
            (format!("{{{},{}}}", tensor("a", 0, 4), tensor("a", 4, 8)), "the name 'a' occurs twice in it"),
            (
                format!(r#"{{"__metadata__":{{"k":"1","k":"2"}},{},{}}}"#, tensor("a", 0, 4), tensor("b", 4, 8)),
                "the name 'k' occurs twice in it",
            ),
            (
                format!("{{{},{},{}}}", tensor("c", 0, 4), tensor("b", 0, 4), tensor("a", 4, 8)),
                "tensor 'c' lies at bytes 0 to 4, but the one before it ends at 4",
            ),
            (
                format!("{{{},{}}}", tensor("b", 6, 8), tensor("a", 0, 4)),
                "tensor 'b' lies at bytes 6 to 8, but the one before it ends at 4",
            ),
        ] {
            for _ in 0..20 {
                assert_eq!(read(&file(&header, 8)).err().as_deref(), Some(says));
            }
        }
    }
}
