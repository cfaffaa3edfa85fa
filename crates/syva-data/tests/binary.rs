//! Parquet and NumPy files, as pyarrow and NumPy write them (`golden/make.py`), and damaged ones.
#![cfg(all(feature = "npz", feature = "parquet"))]

use std::path::{Path, PathBuf};

use syva_core::Result;
use syva_core::table::{Column, ReadOptions, Table, Values};

const NONE: f64 = f64::NAN;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read_with(name: &str, options: &ReadOptions) -> Result<Table> {
    let path = golden(name);
    let whole = syva_data::read(std::slice::from_ref(&path), options);
    let parts = syva_data::parts(&path, options)
        .and_then(|parts| parts.map(|part| Ok(part?.table)).collect::<Result<Vec<_>>>());
    match (&whole, parts) {
        (Ok((whole, _)), Ok(parts)) => {
            let mut joined = Table::default();
            for part in parts {
                assert_eq!(part.row_number(0), joined.rows() + 1);
                joined.append(part).unwrap();
            }
            assert_eq!(joined.columns(), whole.columns());
        }
        (Err(whole), Err(parts)) => assert_eq!(whole.to_string(), parts.to_string()),
        (whole, parts) => panic!("{name}: {whole:?}, in parts {parts:?}"),
    }
    whole.map(|(table, _)| table)
}

#[track_caller]
fn read(name: &str) -> Table {
    read_with(name, &ReadOptions::default()).unwrap()
}

#[track_caller]
fn says(name: &str, words: &[&str]) {
    let said = read_with(name, &ReadOptions::default()).unwrap_err().to_string();
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

fn numbers(name: &str, values: &[f64]) -> Column {
    Column::new(name, Values::Numbers(values.to_vec()))
}

fn texts(name: &str, cells: &[&str]) -> Column {
    Column::new(name, Values::texts(cells.iter().map(|cell| (!cell.is_empty()).then_some(*cell))))
}

#[test]
fn parquet_types_are_numbers_or_texts() {
    let expected = [
        texts("truth", &["true", "", "false"]),
        numbers("i8", &[-1.0, 2.0, NONE]),
        numbers("i64", &[-(2f64.powi(40)), 2f64.powi(53), NONE]),
        numbers("u8", &[255.0, 0.0, NONE]),
        numbers("u32", &[4_294_967_295.0, 0.0, NONE]),
        numbers("u64", &[2f64.powi(63), 0.0, NONE]),
        numbers("f16", &[0.5, -2.0, NONE]),
        numbers("f32", &[0.25, NONE, NONE]),
        numbers("f64", &[0.1, NONE, -1e300]),
        texts("text", &["ä", "", "b"]),
        texts("large", &["x", "", ""]),
        texts("dictionary", &["r", "g", "r"]),
        numbers("decimal", &[123.45, NONE, -0.01]),
        numbers("wide", &[12_345_678_901_234_567_890.5, NONE, -0.5]),
        texts("date", &["2024-05-01", "", "1969-12-31"]),
        texts("time", &["01:02:03.5", "", "00:00:00"]),
        texts("ms", &["2024-05-01T12:00:00", "", "2024-05-01T12:00:00"]),
        texts("ns", &["2024-05-01T12:00:00", "", "2024-05-01T12:00:00"]),
        texts("uuid", &["80000000-0000-0000-0000-000000000005", "", "00000000-0000-0000-0000-000000000000"]),
    ];
    let table = read("types.parquet");
    for (found, expected) in table.columns().iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(table.columns().len(), expected.len());
    assert_eq!(read("int96.parquet").columns(), [texts("int96", &["2024-05-01T12:00:00", ""])]);
}

#[test]
fn parquet_codecs_encodings_and_row_groups_are_read() {
    let x: Vec<f64> = (0..40).map(f64::from).collect();
    let s: Vec<String> = (0..40).map(|i| format!("t{}", i % 3)).collect();
    let s: Vec<&str> = s.iter().map(String::as_str).collect();
    for codec in ["snappy", "gzip", "brotli", "lz4", "zstd", "none"] {
        let table = read(&format!("{codec}.parquet"));
        assert_eq!(table.columns(), [numbers("x", &x), texts("s", &s)], "{codec}");
    }
    for encoding in ["delta_binary_packed", "byte_stream_split"] {
        assert_eq!(read(&format!("{encoding}.parquet")).columns(), [numbers("x", &x)], "{encoding}");
    }
    let v2 = read("v2.parquet");
    assert_eq!(v2.columns(), [numbers("x", &[1.5, NONE].repeat(20)), texts("s", &["left", "leg"].repeat(20))]);
}

#[test]
fn options_change_kinds_and_missing_values() {
    let options = ReadOptions {
        texts: vec!["i8".into()],
        numbers: vec!["truth".into()],
        missing: Some(vec!["ä".into(), "255".into()]),
        ..Default::default()
    };
    let table = read_with("types.parquet", &options).unwrap();
    assert_eq!(table.column("i8").unwrap(), &texts("i8", &["-1", "2", ""]));
    assert_eq!(table.column("truth").unwrap(), &numbers("truth", &[1.0, NONE, 0.0]));
    assert_eq!(table.column("text").unwrap(), &texts("text", &["", "", "b"]));
    assert_eq!(table.column("u8").unwrap(), &numbers("u8", &[NONE, 0.0, NONE]));
    let options = ReadOptions { numbers: vec!["text".into()], ..Default::default() };
    let said = read_with("types.parquet", &options).unwrap_err().to_string();
    assert!(said.contains("row 1, column 'text'") && said.contains("'ä' is not a finite number"), "{said}");
}

#[test]
fn arrays_are_columns() {
    let matrix = [numbers("column_1", &[0.0, 0.5, 1.0]), numbers("column_2", &[0.25, 0.75, 1.25])];
    for name in ["matrix.npy", "fortran.npy", "big-endian.npy"] {
        assert_eq!(read(name).columns(), matrix, "{name}");
    }
    assert_eq!(read("vector.npy").columns(), [numbers("column_1", &[-3.0, 4.0])]);
    let expected = [
        numbers("X_1", &[0.0, 0.5, 1.0]),
        numbers("X_2", &[0.25, 0.75, 1.25]),
        texts("y", &["no", "yes", ""]),
        texts("b", &["p", "qq", ""]),
        numbers("t", &[1.0, 0.0, 1.0]),
        numbers("u", &[1.0, 2f64.powi(64), 0.0]),
        numbers("h", &[0.5, NONE, -1.0]),
    ];
    assert_eq!(read("plain.npz").columns(), expected);
    assert_eq!(read("packed.npz").columns(), expected);
}

#[test]
fn what_is_no_table_is_refused_by_name() {
    says("nested.parquet", &["column 'l", "nested"]);
    says("record.parquet", &["column 'r.x'", "nested"]);
    says("infinite.parquet", &["row 2, column 'x'", "inf is not a finite number"]);
    says("empty.parquet", &["it has no rows"]);
    says("cube.npy", &["3 dimensions"]);
    says("complex.npy", &["complex numbers"]);
    says("records.npy", &["records", "an array of its own"]);
    says("objects.npy", &["Python objects", "run code"]);
    says("ragged.npz", &["array 'b' has 3 rows, and 'a' has 2"]);
}

#[test]
fn text_and_other_formats_join() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("t.csv");
    std::fs::write(&text, "s,x\nt9,0.5\n").unwrap();
    let (table, found) = syva_data::read(&[golden("none.parquet"), text.clone()], &ReadOptions::default()).unwrap();
    assert_eq!((table.rows(), found.delimiter), (41, Some(',')));
    assert_eq!(table.columns()[1].cell(40).as_deref(), Some("t9"));
    let said = syva_data::read(&[golden("vector.npy"), text], &ReadOptions::default()).unwrap_err().to_string();
    assert!(said.contains("t.csv (columns): there is no column 'column_1'"), "{said}");
}

#[test]
fn cut_files_are_refused() {
    let names = [
        "types.parquet",
        "snappy.parquet",
        "gzip.parquet",
        "zstd.parquet",
        "lz4.parquet",
        "brotli.parquet",
        "v2.parquet",
        "delta_binary_packed.parquet",
        "matrix.npy",
        "fortran.npy",
        "plain.npz",
        "packed.npz",
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut");
    for name in names {
        let bytes = std::fs::read(golden(name)).unwrap();
        for length in (0..bytes.len()).step_by(1 + bytes.len() / 150) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let whole = syva_data::read(std::slice::from_ref(&path), &ReadOptions::default());
            let parts = syva_data::parts(&path, &ReadOptions::default())
                .and_then(|parts| parts.map(|part| Ok(part?.table)).collect::<Result<Vec<_>>>());
            assert!(whole.is_err() && parts.is_err(), "{name} cut to {length} bytes");
        }
    }
}

/// What is said of a Parquet file whose bytes at `at` are replaced.
fn changed(name: &str, at: usize, from: &[u8], to: &[u8]) -> String {
    let mut bytes = std::fs::read(golden(name)).unwrap();
    assert_eq!(&bytes[at..at + from.len()], from, "{name}");
    let length = bytes.len() - 8;
    let footer = u32::from_le_bytes(bytes[length..length + 4].try_into().unwrap());
    if at > length - footer as usize {
        let footer = footer + (to.len() - from.len()) as u32;
        bytes[length..length + 4].copy_from_slice(&footer.to_le_bytes());
    }
    bytes.splice(at..at + from.len(), to.iter().copied());
    let file = tempfile::Builder::new().suffix(name).tempfile().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    syva_data::read(&[file.path().to_path_buf()], &ReadOptions::default()).unwrap_err().to_string()
}

#[test]
fn promises_of_parquet_are_checked_before_memory_is_set_aside() {
    // 2^31 - 1, as Thrift writes it.
    let huge = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    for (place, from, problem) in [
        (7, &[0x80, 0x02][..], "row group 1, column 'x'): Parquet error: a page of 71 bytes promises 2147483647"),
        (14, &[0x20], "row group 1, column 'x'): Parquet error: a dictionary of 128 bytes promises 2147483647 values"),
        (725, &[0x04], "metadata): Parquet error: its columns promise more columns in them than there are"),
    ] {
        let said = changed("snappy.parquet", place, from, &huge);
        assert!(said.contains(problem), "{said}");
    }
    // A list of 2^28 - 1 columns.
    let said = changed("snappy.parquet", 713, &[0x3c], &[0xfc, 0xff, 0xff, 0xff, 0x7f]);
    assert!(said.contains("its metadata promise a list of 268435455 elements, more than they have bytes"), "{said}");
    // This one makes the decoder panic.
    let said = changed("byte_stream_split.parquet", 55, &[0x02], &[0x20]);
    assert!(
        said.contains("row group 1, column 'x'): the decoder gave up on its content; the file is damaged"),
        "{said}"
    );
}

#[test]
fn safetensors_are_tables_by_the_rules_of_npz() {
    let table = read("types.safetensors");
    let expected = [
        numbers("f16", &[0.5, -2.0, 65504.0]),
        numbers("f32", &[0.25, -1.0, 3.0]),
        numbers("f64", &[0.1, 1e300, -1.0]),
        numbers("i16", &[-32768.0, 0.0, 5.0]),
        numbers("i64", &[-(2f64.powi(40)), 2f64.powi(53), 0.0]),
        numbers("i8", &[-128.0, 127.0, 0.0]),
        numbers("matrix_1", &[0.0, 2.0, 4.0]),
        numbers("matrix_2", &[1.0, 3.0, 5.0]),
        numbers("truth", &[1.0, 0.0, 1.0]),
        numbers("u64", &[2f64.powi(63), 1.0, 2.0]),
    ];
    assert_eq!(table.columns(), expected);
}

/// A safetensors file with this header and so many bytes of values.
fn tensors(header: &str, values: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".safetensors").tempfile().unwrap();
    let content = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), values].concat();
    std::fs::write(file.path(), content).unwrap();
    file
}

#[test]
fn bad_safetensors_are_refused() {
    let tensor = |dtype: &str, shape: &str, end: usize| {
        format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    let read = |file: &tempfile::NamedTempFile| syva_data::read(&[file.path().to_path_buf()], &ReadOptions::default());
    let says = |header: &str, bytes: usize, says: &str| {
        let said = read(&tensors(header, &vec![0; bytes])).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    };
    // 1.0 and -2.0.
    let (table, _) = read(&tensors(&tensor("BF16", "[2]", 4), &[0x80, 0x3f, 0, 0xc0])).unwrap();
    assert_eq!(table.columns(), [numbers("x", &[1.0, -2.0])]);
    says(&tensor("F32", "[2]", 8), 7, "promises 8 bytes of values, and there are 7");
    says(&tensor("F32", "[2]", 4), 4, "not that of safetensors");
    says(&tensor("F32", "[4294967296,4294967296]", 8), 8, "not that of safetensors");
    says(&tensor("F32", "[2,1,1]", 8), 8, "its shape is [2, 1, 1]");
    says(&tensor("F32", "[0]", 0), 0, "it has no rows");
    says(&tensor("F8_E4M3", "[1]", 1), 1, "it holds F8_E4M3");
    says(
        r#"{"__metadata__":{"syva":"x"},"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
        1,
        "a model of syva's",
    );
    says(
        r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
        3,
        "it has 2 rows, and 'x' has 1",
    );
    let file = tensors("{\"x\"", &[]);
    let mut content = std::fs::read(file.path()).unwrap();
    content[..8].copy_from_slice(&0x00ff_ffffu64.to_le_bytes());
    std::fs::write(file.path(), content).unwrap();
    assert!(read(&file).unwrap_err().to_string().contains("more than it can have"));
}
