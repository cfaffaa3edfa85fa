//! IDX files, good and bad. Each bad one must be refused with its place, the problem and a remedy.

use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use syva_core::Error;
use syva_core::data::idx::{Array, Elements, Images, read_array, read_images, read_labels, write_images, write_labels};
use tempfile::TempDir;

/// Two images of 2×3, written out by hand from the format's description.
const IMAGES: &[u8] = b"\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x03\x00\x01\x02\x03\x04\x05\xfa\xfb\xfc\xfd\xfe\xff";
/// Four labels.
const LABELS: &[u8] = b"\0\0\x08\x01\0\0\0\x04\x07\x02\x01\x00";

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn file(content: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, content).unwrap();
    (dir, path)
}

/// The place of the error that reading these bytes as images gives; its problem must contain `problem`.
fn refused(content: &[u8], problem: &str) -> String {
    let (_dir, path) = file(content);
    judge(read_images(&path).map(drop), &path, problem)
}

fn refused_labels(content: &[u8], problem: &str) -> String {
    let (_dir, path) = file(content);
    judge(read_labels(&path).map(drop), &path, problem)
}

fn judge(result: Result<(), Error>, path: &Path, wanted: &str) -> String {
    match result {
        Err(Error::File { path: named, place, problem, remedy }) => {
            assert_eq!(named, path);
            assert!(problem.contains(wanted), "{problem:?} does not say {wanted:?}");
            assert!(!remedy.is_empty());
            place
        }
        other => panic!("wanted Error::File with {wanted:?}, not {other:?}"),
    }
}

#[test]
fn good_files_are_read_plain_and_packed() {
    for content in [IMAGES.to_vec(), gzip(IMAGES)] {
        let (_dir, path) = file(&content);
        let images = read_images(&path).unwrap();
        assert_eq!((images.count, images.rows, images.columns), (2, 2, 3));
        assert_eq!(images.pixels, [0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255]);
    }
    for content in [LABELS.to_vec(), gzip(LABELS)] {
        let (_dir, path) = file(&content);
        assert_eq!(read_labels(&path).unwrap(), [7, 2, 1, 0]);
    }
}

#[test]
fn a_gzip_file_may_have_several_members() {
    let (_dir, path) = file(&[gzip(&IMAGES[..19]), gzip(&IMAGES[19..])].concat());
    assert_eq!(read_images(&path).unwrap().pixels, IMAGES[16..]);
}

/// Longer than one piece, and packed so well that the first allocation does not suffice.
#[test]
fn large_well_packed_content_is_read_whole() {
    let images = Images { count: 1000, rows: 30, columns: 40, pixels: vec![9; 1_200_000] };
    let (dir, path) = file(b"");
    write_images(&path, &images).unwrap();
    let packed = dir.path().join("packed");
    fs::write(&packed, gzip(&fs::read(&path).unwrap())).unwrap();
    assert!(fs::metadata(&packed).unwrap().len() < 5000);
    assert_eq!(read_images(&packed).unwrap(), images);
}

#[test]
fn writing_gives_the_bytes_of_the_format_and_replaces_a_file() {
    let (_dir, path) = file(b"old");
    let images = Images { count: 2, rows: 2, columns: 3, pixels: IMAGES[16..].to_vec() };
    write_images(&path, &images).unwrap();
    assert_eq!(fs::read(&path).unwrap(), IMAGES);
    write_labels(&path, &[7, 2, 1, 0]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), LABELS);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a scratch file is left");
}

#[test]
fn writing_refuses_what_could_not_be_read_back() {
    let (_dir, path) = file(b"old");
    for (count, rows, columns, length) in [(2, 2, 3, 11), (0, 2, 3, 0), (usize::MAX, 2, 1, 2)] {
        let images = Images { count, rows, columns, pixels: vec![0; length] };
        assert!(matches!(write_images(&path, &images), Err(Error::Mismatch { .. })), "{count}×{rows}×{columns}");
    }
    assert!(matches!(write_labels(&path, &[]), Err(Error::Mismatch { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[cfg(unix)]
#[test]
fn a_written_file_can_be_read_by_others_as_the_umask_allows() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, path) = file(b"");
    let made = dir.path().join("made");
    write_labels(&made, &[1]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&made), mode(&path));
}

#[test]
fn a_truncated_header_is_refused_at_its_end() {
    for length in 1..16 {
        assert_eq!(refused(&IMAGES[..length], "header is cut off"), format!("byte {length}"));
        assert_eq!(refused(&gzip(&IMAGES[..length]), "header is cut off"), format!("byte {length}"));
    }
    assert_eq!(refused_labels(&LABELS[..7], "header is cut off: 7 of its 8 bytes"), "byte 7");
}

#[test]
fn truncated_data_is_refused_at_its_end() {
    for length in 16..IMAGES.len() {
        let problem = format!("2 images of 2×3, 28 bytes in all, but the content ends after {length}");
        assert_eq!(refused(&IMAGES[..length], &problem), format!("byte {length}"));
        assert_eq!(refused(&gzip(&IMAGES[..length]), &problem), format!("byte {length}"));
    }
    assert_eq!(refused_labels(&LABELS[..10], "4 labels, 12 bytes in all, but the content ends after 10"), "byte 10");
}

#[test]
fn trailing_bytes_are_refused_where_they_begin() {
    let long = [IMAGES, b"xyz"].concat();
    assert_eq!(refused(&long, "but there are 3 more"), "byte 28");
    assert_eq!(refused(&gzip(&long), "but there are more"), "byte 28");
    // After the gzip stream, not in it.
    assert_eq!(refused(&[&gzip(IMAGES)[..], b"xyz"].concat(), "gzip stream"), "byte 28 of the unpacked content");
}

#[test]
fn other_files_are_called_by_their_name() {
    let cases: [(&[u8], &str); 12] = [
        (LABELS, "an IDX file of labels"),
        (b"<!DOCTYPE html><html>404</html>", "HTML"),
        (b"<?xml version='1.0'?><Error/>", "XML"),
        (b"\x89PNG\r\n\x1a\n0123456789", "PNG"),
        (b"\xff\xd8\xff\xe00123456789012345", "JPEG"),
        (b"PK\x03\x040123456789012345", "ZIP"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"\0\0\x0d\x030123456789012345", "f32 elements with 3 dimensions"),
        (b"\0\0\x08\x020123456789012345", "u8 elements with 2 dimensions"),
        (b"hello, I am no data set", "begins with 68 65 6c 6c"),
        (b"<", "HTML"),
        (b"\x01", "begins with 01"),
    ];
    for (content, name) in cases {
        assert_eq!(refused(content, name), "byte 0");
        assert_eq!(refused(&gzip(content), name), "byte 0");
    }
    assert_eq!(refused(&gzip(&gzip(IMAGES)), "packed twice"), "byte 0");
    assert_eq!(refused_labels(IMAGES, "labels was expected, but this is an IDX file of images"), "byte 0");
}

#[test]
fn zero_counts_are_refused_where_they_stand() {
    for (index, name) in ["count", "number of rows", "number of columns"].into_iter().enumerate() {
        let mut content = IMAGES.to_vec();
        content[7 + 4 * index] = 0;
        assert_eq!(refused(&content, &format!("the {name} is 0")), format!("byte {}", 4 + 4 * index));
    }
    assert_eq!(refused_labels(b"\0\0\x08\x01\0\0\0\0", "the count is 0"), "byte 4");
}

/// Headers that promise the moon must cost neither memory nor time.
#[test]
fn huge_counts_are_refused_without_allocating() {
    let header = |dimensions: [u32; 3]| {
        let mut content = IMAGES[..4].to_vec();
        content.extend(dimensions.map(u32::to_be_bytes).as_flattened());
        content.extend([0; 12]);
        content
    };
    let overflow = header([u32::MAX; 3]);
    assert_eq!(refused(&overflow, "more than can be addressed"), "byte 4");
    assert_eq!(refused(&gzip(&overflow), "more than can be addressed"), "byte 4");
    // 2⁶² bytes: addressable, so the content has to give it the lie.
    let exabytes = header([1 << 31, 1 << 31, 1]);
    assert_eq!(refused(&exabytes, "the content ends after 28"), "byte 28");
    assert_eq!(refused(&gzip(&exabytes), "the content ends after 28"), "byte 28");
}

/// 64 MiB of zeros behind a header that promises 12 bytes, and a stream that is cut off at its end: whoever unpacks it
/// comes upon that, whoever stops after 13 bytes does not.
#[test]
fn a_gzip_bomb_is_not_unpacked() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&IMAGES[..16]).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..64).for_each(|_| encoder.write_all(&zeros).unwrap());
    let bomb = encoder.finish().unwrap();
    assert_eq!(refused(&bomb[..bomb.len() - 100], "but there are more"), "byte 28");
}

#[test]
fn damaged_gzip_is_refused() {
    let packed = gzip(IMAGES);
    for length in 2..packed.len() {
        refused(&packed[..length], "gzip stream");
    }
    // The checksum's first byte: all content is right, and yet not what was packed.
    let mut wrong_sum = packed.clone();
    wrong_sum[packed.len() - 8] ^= 1;
    assert_eq!(refused(&wrong_sum, "gzip stream is damaged"), "byte 28 of the unpacked content");
    let mut wrong_length = packed.clone();
    wrong_length[packed.len() - 4] ^= 1;
    refused(&wrong_length, "gzip stream is damaged");
    let mut wrong_block = packed;
    wrong_block[10] = 0xff;
    refused(&wrong_block, "gzip stream is damaged");
}

#[test]
fn empty_files_folders_and_missing_files_are_refused() {
    assert_eq!(refused(b"", "the file is empty"), "byte 0");
    assert_eq!(refused(&gzip(b""), "the gzip stream holds no bytes"), "byte 0");
    let (dir, path) = file(b"");
    assert_eq!(judge(read_images(dir.path()).map(drop), dir.path(), "folder"), "folder");
    fs::remove_file(&path).unwrap();
    let missing = read_labels(&path);
    assert!(
        matches!(missing, Err(Error::Io { ref source, .. }) if source.kind() == ErrorKind::NotFound),
        "{missing:?}"
    );
}

/// Every single-byte change of a header or a packed file gives an answer, not a panic.
#[test]
fn no_changed_byte_causes_a_panic() {
    for content in [IMAGES.to_vec(), gzip(IMAGES)] {
        for index in 0..content.len() {
            for flip in [1, 0x80, 0xff] {
                let mut changed = content.clone();
                changed[index] ^= flip;
                let (_dir, path) = file(&changed);
                let _ = read_images(&path);
            }
        }
    }
}

/// Every element type, with values whose bytes were worked out by hand.
#[test]
fn arrays_of_every_element_type_and_shape_are_read() {
    let cases: [(&[u8], Vec<usize>, Elements); 6] = [
        (b"\0\0\x08\x02\0\0\0\x01\0\0\0\x02\x07\xff", vec![1, 2], Elements::U8(vec![7, 255])),
        (b"\0\0\x09\x01\0\0\0\x02\x7f\x80", vec![2], Elements::I8(vec![127, -128])),
        (b"\0\0\x0b\x01\0\0\0\x02\x01\x00\xff\xff", vec![2], Elements::I16(vec![256, -1])),
        (b"\0\0\x0c\x01\0\0\0\x01\x00\x01\x00\x00", vec![1], Elements::I32(vec![65536])),
        (b"\0\0\x0d\x04\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x01\xbf\x80\0\0", vec![1; 4], Elements::F32(vec![-1.0])),
        (b"\0\0\x0e\x01\0\0\0\x01\x3f\xe0\0\0\0\0\0\0", vec![1], Elements::F64(vec![0.5])),
    ];
    for (content, shape, elements) in cases {
        for content in [content.to_vec(), gzip(content)] {
            let (_dir, path) = file(&content);
            assert_eq!(read_array(&path).unwrap(), Array { shape: shape.clone(), elements: elements.clone() });
        }
    }
}

#[test]
fn bad_arrays_are_refused() {
    let says = |content: &[u8], problem: &str| {
        let (_dir, path) = file(content);
        judge(read_array(&path).map(drop), &path, problem)
    };
    assert_eq!(says(b"", "empty"), "byte 0");
    assert_eq!(says(b"\0\0\x0a\x01\0\0\0\x01\x01", "expected"), "byte 0");
    assert_eq!(says(b"\0\0\x08\0", "expected"), "byte 0");
    says(b"<html>", "an IDX file was expected");
    assert_eq!(says(b"\0\0\x08\x09", "9 dimensions"), "byte 3");
    assert_eq!(says(b"\0\0\x08\x02\0\0\0\x02\0", "cut off"), "byte 9");
    assert_eq!(says(b"\0\0\x08\x01\0\0\0\0", "nothing"), "byte 4");
    let huge = [&b"\0\0\x0e\x08"[..], &[0xff; 32]].concat();
    assert_eq!(says(&huge, "more than can be addressed"), "byte 4");
    assert_eq!(says(b"\0\0\x0b\x01\0\0\0\x02\x01\x00\xff", "ends after 11"), "byte 11");
    assert_eq!(says(b"\0\0\x0b\x01\0\0\0\x01\x01\x00\xff", "1 more"), "byte 10");
    // A packed file promises a terabyte: no memory is taken for it.
    says(&gzip(b"\0\0\x08\x02\0\x10\0\0\0\x10\0\0\x01"), "ends after 13");
}
