//! Says what a file is, by its first bytes, so that an error can name what was given instead of what was wanted.
//!
//! [`recognise`] goes through the signatures of `KNOWN`, then through the formats that take more than a comparison
//! (containers with brands, archives told apart by what they hold, text). It is for error messages: nothing is parsed,
//! nothing is trusted, and a wrong guess costs a misleading word at most.

/// How many of a file's first bytes [`recognise`] looks at; fewer do no harm.
pub const BEGIN: usize = 512;

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// With its article: "a PNG picture", "an ONNX model".
    pub name: String,
    /// What kind of thing that is, for a remedy.
    pub family: Family,
}

/// What kind of thing a file is, as far as a remedy depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A picture made of pixels.
    Picture,
    /// A picture or page made of shapes and text: PDF, SVG, PostScript.
    Document,
    /// A film or a sound.
    Film,
    /// IDX, the format of MNIST's files.
    Idx,
    /// Other arrays and tables.
    Table,
    /// A neural network in the format of some program.
    Network,
    /// Something packed, which has to be unpacked first.
    Packed,
    /// What stands in for a file that has not come: a Git LFS pointer, a server's page.
    StandIn,
    /// Text.
    Text,
    /// A program or a library.
    Program,
}

use Family::{Document, Film, Idx, Network, Packed, Picture, Program, StandIn, Table, Text};

/// Signatures: where they stand, the bytes, what has them. Longer ones come before those that they begin with.
#[rustfmt::skip]
const KNOWN: &[(usize, &[u8], &str, Family)] = &[
    (0, &[0, 0, 0x08, 3], "an IDX file of images", Idx),
    (0, &[0, 0, 0x08, 1], "an IDX file of labels", Idx),
    (0, b"\x89PNG", "a PNG picture", Picture),
    (0, b"\xff\xd8\xff", "a JPEG picture", Picture),
    (0, b"GIF8", "a GIF picture", Picture),
    (0, b"BM", "a BMP picture", Picture),
    (0, b"II*\0", "a TIFF picture", Picture),
    (0, b"MM\0*", "a TIFF picture", Picture),
    (0, b"II+\0", "a BigTIFF picture", Picture),
    (0, b"MM\0+", "a BigTIFF picture", Picture),
    (0, b"\xff\x0a", "a JPEG XL picture", Picture),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", Picture),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", Picture),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", Picture),
    (0, b"\0\0\x01\0", "an icon (ICO)", Picture),
    (0, b"8BPS", "a Photoshop picture", Picture),
    (0, b"gimp xcf", "a GIMP picture", Picture),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture", Picture),
    (0, b"#?RADIANCE", "a Radiance HDR picture", Picture),
    (0, b"DDS ", "a DDS picture", Picture),
    (0, b"qoif", "a QOI picture", Picture),
    (0, b"farbfeld", "a farbfeld picture", Picture),
    (128, b"DICM", "a DICOM picture", Picture),
    (0, b"SIMPLE  =", "a FITS picture", Picture),
    (0, b"%PDF", "a PDF document", Document),
    (0, b"%!PS", "a PostScript document", Document),
    (0, b"AT&TFORM", "a DjVu document", Document),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM film", Film),
    (0, b"OggS", "an Ogg film or sound", Film),
    (0, b"ID3", "an MP3 sound", Film),
    (0, b"\x93NUMPY", "a NumPy array", Table),
    (0, b"PAR1", "a Parquet table", Table),
    (0, b"ARROW1", "an Arrow table", Table),
    (0, b"FEA1", "a Feather table", Table),
    (0, b"SQLite format 3\0", "an SQLite database", Table),
    (0, b"MATLAB 5.0 MAT-file", "a MATLAB file", Table),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (as Keras writes)", Network),
    (4, b"TFL3", "a TensorFlow Lite model", Network),
    (0, b"GGUF", "a GGUF model", Network),
    // The number that torch.save began with before it wrote ZIP archives.
    (0, b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", "a PyTorch checkpoint (of before version 1.6)", Network),
    (0, b"\x80\x02", "a Python pickle", Network),
    (0, b"\x80\x03", "a Python pickle", Network),
    (0, b"\x80\x04\x95", "a Python pickle", Network),
    (0, b"\x80\x05\x95", "a Python pickle", Network),
    (0, b"\x1f\x8b", "a gzip file", Packed),
    (0, b"BZh", "a bzip2 file", Packed),
    (0, b"\xfd7zXZ", "an xz file", Packed),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", Packed),
    (0, b"\x04\x22\x4d\x18", "an LZ4 file", Packed),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", Packed),
    (0, b"Rar!\x1a\x07", "a RAR archive", Packed),
    (257, b"ustar", "a tar archive", Packed),
    (0, b"version https://git-lfs", "a Git LFS pointer", StandIn),
    (0, b"\x7fELF", "a program or library (ELF)", Program),
    (0, b"MZ", "a program or library of Windows", Program),
];

/// Names a file by its first bytes ([`BEGIN`] are enough); `None` where they are nothing that is known.
///
/// ```
/// use syva_core::recognise::{Family, recognise};
/// let format = recognise(b"\x89PNG\r\n\x1a\n").unwrap();
/// assert_eq!((format.name.as_str(), format.family), ("a PNG picture", Family::Picture));
/// assert_eq!(recognise(&[7, 7, 7]), None);
/// ```
#[must_use]
pub fn recognise(begin: &[u8]) -> Option<Format> {
    let begin = &begin[..begin.len().min(BEGIN)];
    let format = |name: &str, family| Some(Format { name: name.into(), family });
    // Two or three letters may as well be the first word of a text.
    let plain = begin.len() > 16 && text(begin).is_some();
    let known = KNOWN.iter().find(|(at, magic, ..)| {
        begin.get(*at..).is_some_and(|rest| rest.starts_with(magic)) && !(plain && magic.len() < 4)
    });
    if let Some((_, _, name, family)) = known {
        return format(name, *family);
    }
    idx(begin)
        .map(|name| Format { name, family: Idx })
        .or_else(|| boxed(begin).or_else(|| riff(begin)).and_then(|(name, family)| format(name, family)))
        .or_else(|| zip(begin).and_then(|(name, family)| format(name, family)))
        .or_else(|| model(begin).and_then(|name| format(name, Network)))
        .or_else(|| text(begin).and_then(|(name, family)| format(name, family)))
}

/// IDX files with other elements or dimensions than MNIST's.
fn idx(begin: &[u8]) -> Option<String> {
    let &[0, 0, kind, dimensions, ..] = begin else { return None };
    if dimensions == 0 {
        return None;
    }
    let element = match kind {
        0x08 => "u8",
        0x09 => "i8",
        0x0b => "i16",
        0x0c => "i32",
        0x0d => "f32",
        0x0e => "f64",
        _ => return None,
    };
    Some(format!("an IDX file of {element} elements with {dimensions} dimensions"))
}

/// Files made of boxes (ISO 14496-12): a length, "ftyp", the brand, a version, the brands that it is compatible with.
fn boxed(begin: &[u8]) -> Option<(&'static str, Family)> {
    if begin.get(4..8)? != b"ftyp" {
        return None;
    }
    let length = u32::from_be_bytes(begin.get(..4)?.try_into().ok()?) as usize;
    let brands: Vec<&[u8]> = begin.get(8..length.min(begin.len()))?.chunks_exact(4).collect();
    let has = |wanted: &[&[u8]]| brands.iter().any(|brand| wanted.contains(brand));
    Some(if has(&[b"avif", b"avis"]) {
        ("an AVIF picture", Picture)
    } else if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        ("a HEIC picture (as telephones take)", Picture)
    } else if has(&[b"crx "]) {
        ("a raw photo of a camera (CR3)", Picture)
    } else {
        ("an MP4 or QuickTime film", Film)
    })
}

/// RIFF files: "RIFF", a length, what they hold.
fn riff(begin: &[u8]) -> Option<(&'static str, Family)> {
    if !begin.starts_with(b"RIFF") {
        return None;
    }
    match begin.get(8..12)? {
        b"WEBP" => Some(("a WebP picture", Picture)),
        b"WAVE" => Some(("a WAV sound", Film)),
        b"AVI " => Some(("an AVI film", Film)),
        _ => None,
    }
}

/// ZIP archives, told apart by the name of their first file (at byte 30 of its header, its length at byte 26).
fn zip(begin: &[u8]) -> Option<(&'static str, Family)> {
    if !begin.starts_with(b"PK\x03\x04") {
        return None;
    }
    let length = begin.get(26..28).map_or(0, |bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])));
    let name = String::from_utf8_lossy(begin.get(30..(30 + length).min(begin.len())).unwrap_or_default());
    Some(if name.ends_with("/data.pkl") || name.ends_with("/.format_version") || name.ends_with("/byteorder") {
        ("a PyTorch checkpoint", Network)
    } else if name.ends_with(".npy") {
        ("an archive of NumPy arrays (npz)", Table)
    } else if name.ends_with(".weights.h5") || name == "metadata.json" || name == "config.json" {
        ("a Keras model", Network)
    } else if name == "[Content_Types].xml" || name == "mimetype" {
        ("a document of an office program", Document)
    } else {
        ("a ZIP archive", Packed)
    })
}

/// Models whose files have no signature.
fn model(begin: &[u8]) -> Option<&'static str> {
    // safetensors: the header's length in 8 bytes, then the header, JSON.
    if begin.len() > 9 && begin[5..8] == [0, 0, 0] && begin[8..10] == *b"{\"" {
        return Some("a safetensors file");
    }
    // ONNX is a protocol buffer: field 1, the version of the format (3 to 13 today), then most often field 2, the name of
    // the program that wrote it, and else field 7, the graph.
    match begin {
        [0x08, 3..=40, 0x12, length @ 1..=64, name @ ..]
            if name.iter().take(usize::from(*length)).all(|byte| byte.is_ascii_graphic() || *byte == b' ') =>
        {
            Some("an ONNX model")
        }
        [0x08, 3..=40, 0x3a, ..] => Some("an ONNX model"),
        _ => None,
    }
}

/// Text, by how it begins.
fn text(begin: &[u8]) -> Option<(&'static str, Family)> {
    let trimmed = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin).trim_ascii_start();
    let starts =
        |word: &str| trimmed.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()));
    let mentions = |word: &[u8]| trimmed.windows(word.len()).any(|found| found.eq_ignore_ascii_case(word));
    if starts("<") {
        // An SVG may begin as any XML does; a page of HTML may have one within it.
        let svg = starts("<svg") || mentions(b"<svg") && !mentions(b"<html");
        return Some(if svg {
            ("an SVG drawing", Document)
        } else {
            ("an HTML or XML page (a server's error or login page?)", StandIn)
        });
    }
    if let [b'P', kind @ b'1'..=b'7', space, ..] = begin
        && space.is_ascii_whitespace()
    {
        return Some((if *kind == b'7' { "a PAM picture" } else { "a PNM picture" }, Picture));
    }
    // A character may be cut where the bytes end.
    let whole = match std::str::from_utf8(begin) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            std::str::from_utf8(&begin[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if whole.is_empty() || whole.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    Some(if starts("{") || starts("[") { ("a JSON file", Text) } else { ("a text file", Text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(begin: &[u8], name: &str, family: Family) {
        let found = recognise(begin).unwrap_or_else(|| panic!("{name} is not recognised"));
        assert!(found.name.contains(name), "{} for {name}", found.name);
        assert_eq!(found.family, family, "{name}");
    }

    /// The beginnings of real files.
    #[test]
    fn files_of_many_programs_are_named() {
        is(
            b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0b\0\x17\0sd/data.pklFB\x13\0ZZZ",
            "PyTorch",
            Network,
        );
        is(
            b"PK\x03\x04\x2d\0\0\0\0\0\0\0\x21\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x05\0\x14\0x.npy\x01\0\x10",
            "npz",
            Table,
        );
        is(b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0a.txt", "a ZIP archive", Packed);
        is(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "before version 1.6", Network);
        is(b"\x08\x09\x12\x07pytorch\x1a\x062.15.0:\x94\xe0\x1a\n", "ONNX", Network);
        is(b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0", "HDF5", Network);
        is(b"\x58\x01\0\0\0\0\0\0{\"__metadata__\":{", "safetensors", Network);
        is(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 438000\n", "Git LFS", StandIn);
        is(b"\n<!DOCTYPE html><html>404", "HTML", StandIn);
        is(b"<?xml version='1.0'?><Error/>", "XML", StandIn);
        is(b"<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "SVG", Document);
        is(b"%PDF-1.7\n", "PDF", Document);
        is(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\0", "HEIC", Picture);
        is(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf\0\0\0\0", "AVIF", Picture);
        is(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\0", "MP4", Film);
        is(b"RIFF\x24\0\0\0WEBPVP8 ", "WebP", Picture);
        is(b"GIF89a\x1c\0", "GIF", Picture);
        is(b"II*\0\x08\0\0\0", "TIFF", Picture);
        is(b"P5 28 28 255\n", "PNM", Picture);
        is(b"\x93NUMPY\x01\0v\0{'descr': '|u1'", "NumPy", Table);
        is(b"\0\0\x0d\x03\0\0\0\x05", "f32 elements with 3 dimensions", Idx);
        is(b"\0\0\x08\x02\0\0\0\x05", "u8 elements with 2 dimensions", Idx);
        is(b"\0\0\x08\x03\0\0\0\x05", "an IDX file of images", Idx);
        is(b"label,pixel0,pixel1\n5,0,0\n", "a text file", Text);
        is("ääni, ein Käse\n".as_bytes(), "a text file", Text);
        is(b"{\"epoch\": 1}\n", "JSON", Text);
        is(b"BMW, Mazda, Tata and others\n", "a text file", Text);
    }

    /// Signatures at the end of a table may hide behind shorter ones before them.
    #[test]
    fn no_signature_hides_another() {
        for (at, magic, name, _) in KNOWN {
            let mut begin = vec![1; *at];
            begin.extend_from_slice(magic);
            assert_eq!(&recognise(&begin).unwrap().name, name);
        }
    }

    #[test]
    fn any_bytes_are_answered() {
        assert_eq!(recognise(b""), None);
        assert_eq!(recognise(&[0; 600]), None);
        assert_eq!(recognise(&[1, 2, 3, 0xff, 0xfe]), None);
        // Every length of every beginning: nothing is read beyond its end.
        for begin in [
            &b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\0\0ab"[..],
            b"\0\0\xff\xffftypheic\0\0",
            b"RIFF\0\0\0\0WEBP",
            b"\x08\x09\x12\xffa",
        ] {
            (0..=begin.len()).for_each(|length| drop(recognise(&begin[..length])));
        }
    }
}
