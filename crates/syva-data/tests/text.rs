//! Text files from outside: how they are written, what their columns are, and what is said of wrong ones.

use std::io::Write;
use std::path::PathBuf;

use syva_core::Result;
use syva_core::table::{Column, ReadOptions, Table, Values};
use tempfile::TempDir;

/// A file with this content.
fn file(content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn read_with(content: impl AsRef<[u8]>, options: &ReadOptions) -> Result<(Table, ReadOptions)> {
    let (_folder, path) = file(content);
    syva_data::read(&[path], options)
}

#[track_caller]
fn read(content: impl AsRef<[u8]>) -> Table {
    read_with(content, &ReadOptions::default()).unwrap().0
}

/// The error of a text as a whole; in parts, it is the same.
#[track_caller]
fn says_with(content: impl AsRef<[u8]>, options: &ReadOptions) -> String {
    let (_folder, path) = file(content);
    let whole = syva_data::read(std::slice::from_ref(&path), options).unwrap_err().to_string();
    let parts = syva_data::parts(&path, options)
        .and_then(|parts| parts.map(|part| Ok(part?.table)).collect::<Result<Vec<_>>>());
    assert_eq!(parts.unwrap_err().to_string(), whole);
    whole.replace(&path.display().to_string(), "FILE")
}

#[track_caller]
fn says(content: impl AsRef<[u8]>, words: &[&str]) {
    let said = says_with(content, &ReadOptions::default());
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

fn numbers(name: &str, values: &[f64]) -> Column {
    Column::new(name, Values::Numbers(values.to_vec()))
}

fn texts(name: &str, cells: &[&str]) -> Column {
    Column::new(name, Values::texts(cells.iter().map(|cell| (!cell.is_empty()).then_some(*cell))))
}

const NONE: f64 = f64::NAN;

#[test]
fn columns_are_numbers_or_texts() {
    let table = read("n,t, e ,m\r\n1, x,,1\r\n?,\"a, \"\"b\"\"\n\",,x\r\n\r\n-2.5e1,NA,,2\r\n");
    let expected = [
        numbers("n", &[1.0, NONE, -25.0]),
        texts("t", &["x", "a, \"b\"\n", ""]),
        numbers("e", &[NONE; 3]),
        texts("m", &["1", "x", "2"]),
    ];
    assert_eq!(table.columns(), expected);
}

#[test]
fn what_was_found_out_reads_the_file_again() {
    let content = "a;b;c\n1,5;x;\n2,5;NA;\n";
    let (table, found) = read_with(content, &ReadOptions::default()).unwrap();
    assert_eq!((found.delimiter, found.header, found.decimal), (Some(';'), Some(true), Some(',')));
    assert_eq!((found.encoding.as_deref(), found.missing.as_ref().map(Vec::len)), (Some("utf-8"), Some(13)));
    assert_eq!((found.numbers.clone(), found.texts.clone()), (vec!["a".to_string()], vec!["b".to_string()]));
    assert_eq!(read_with(content, &found).unwrap(), (table, found));
}

#[test]
fn options_are_taken() {
    let options = ReadOptions {
        missing: Some(vec!["-999".into(), "unknown".into()]),
        texts: vec!["zip".into(), "not there".into()],
        header: Some(true),
        ..Default::default()
    };
    let (table, _) = read_with("zip,x,y\n01234,-999,NA\n1,unknown,b\n-999,3,unknown\n", &options).unwrap();
    let expected = [texts("zip", &["01234", "1", ""]), numbers("x", &[NONE, NONE, 3.0]), texts("y", &["NA", "b", ""])];
    assert_eq!(table.columns(), expected);
    let options = ReadOptions { header: Some(false), ..Default::default() };
    let (table, _) = read_with("a\n1\n", &options).unwrap();
    assert_eq!(table.columns(), [texts("column_1", &["a", "1"])]);
    let options = ReadOptions { decimal: Some(','), delimiter: Some(','), ..Default::default() };
    let (table, _) = read_with("a,b\n\"1,5\",\"2,25\"\n", &options).unwrap();
    assert_eq!(table.columns(), [numbers("a", &[1.5]), numbers("b", &[2.25])]);
    let options = ReadOptions { texts: vec!["a".into()], numbers: vec!["a".into()], ..Default::default() };
    assert!(says_with("a\n1\n", &options).contains("column 'a' cannot have numbers and categories"));
}

#[test]
fn names_are_made_where_there_are_none() {
    assert_eq!(read("1,2\n3,4\n").columns(), [numbers("column_1", &[1.0, 3.0]), numbers("column_2", &[2.0, 4.0])]);
    let table = read(",a,\n0,1,x\n1,2,y\n");
    assert_eq!(table.columns().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["column_1", "a", "column_3"]);
}

#[test]
fn encodings_and_marks_are_understood() {
    let expected = [texts("ä", &["ö", "€"]), numbers("n", &[1.0, 2.0])];
    let text = "ä,n\nö,1\n€,2\n";
    assert_eq!(read(format!("\u{feff}{text}")).columns(), expected);
    let wide = |unit: fn(u16) -> [u8; 2]| format!("\u{feff}{text}").encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    for bytes in [wide(u16::to_le_bytes), wide(u16::to_be_bytes)] {
        let (table, found) = read_with(&bytes, &ReadOptions::default()).unwrap();
        assert_eq!(table.columns(), expected);
        assert!(found.encoding.as_ref().is_some_and(|name| name.starts_with("utf-16")));
        assert_eq!(read_with(&bytes, &found).unwrap().0.columns(), expected);
    }
    let latin = b"\xe4,n\n\xf6,1\n\x80,2\n";
    let windows = ReadOptions { encoding: Some("windows-1252".into()), ..Default::default() };
    assert_eq!(read_with(latin, &windows).unwrap().0.columns(), expected);
    says(latin, &["header (line 1), column 1", "0xe4", "--encoding windows-1252"]);
    says(b"a,b\n1,x\n2,\xf6\n", &["row 2 (line 3), column 'b'", "0xf6", "--encoding windows-1252"]);
    says(b"a,b\n1,x\n\xf6,2\n", &["row 2 (line 3), column 'a'", "0xf6"]);
    let unknown = ReadOptions { encoding: Some("klingon".into()), ..Default::default() };
    assert!(says_with("a\n1\n", &unknown).contains("--encoding: there is no encoding 'klingon'"));
    let japanese = ReadOptions { encoding: Some("shift_jis".into()), ..Default::default() };
    assert!(says_with(b"a,b\n1,x\n2,\x80\xff\n", &japanese).contains("row 2 (line 3), column 'b'"));
}

#[test]
fn wrong_rows_are_named() {
    says("a,b,c\n1,2,3\n\n4,5\n", &["row 2 (line 4)", "there are 2 cells, and there should be 3"]);
    says("a,b\n1,2\n3,4,5\n6,7\n", &["row 2 (line 3)", "there are 3 cells, and there should be 2"]);
    says("a,b\n1,2\n3,\"4\n5,6\n", &["row 2 (line 3), column 'b'", "the quote that opens in line 3 is not closed"]);
    says("a,b\n1,\"x\"y\n", &["row 1 (line 2), column 'b'", "'y' follows the closing quote"]);
    says("a,b,a\n1,2,3\n", &["header (line 1)", "columns 1 and 3 are both named 'a'"]);
    says("a,\n1,\0\n", &["row 1 (line 2), column 'column_2'", "NUL", "utf-16le"]);
    says("a,\"b\n1,2\n", &["row 1 (line 1), column 2", "the quote that opens in line 1 is not closed"]);
    says("", &["it is empty"]);
    says("\n \n", &["empty lines only"]);
    says("a,b\n", &["a header and no rows"]);
}

#[test]
fn columns_of_almost_only_numbers_are_doubted() {
    let column = |other: &str, count: usize| {
        (0..count).fold("x,y\n".to_string(), |text, i| text + &format!("{i},1\n")) + other + ",1\n"
    };
    says(
        column("low", 30),
        &["row 31 (line 32), column 'x'", "'low' is not a number, but 30 of this column's 31 cells are"],
    );
    says(column("low", 30), &["--missing 'low'", "--categorical 'x'"]);
    says(column("1,234", 1).replace("1,234", "\"1,234\"") + &column("9", 40)[4..], &["'1,234' is not a number"]);
    // Fewer than 20, or less than 95 %.
    assert!(matches!(read(column("low", 19)).columns()[0].values, Values::Texts(_)));
    assert!(matches!(read(column("low", 30) + "a,1\nb,1\n").columns()[0].values, Values::Texts(_)));
    let options = ReadOptions { texts: vec!["x".into()], ..Default::default() };
    assert!(matches!(read_with(column("low", 30), &options).unwrap().0.columns()[0].values, Values::Texts(_)));
    let options = ReadOptions { numbers: vec!["x".into()], ..Default::default() };
    let said = says_with(column("low", 3), &options);
    assert!(said.contains("row 4 (line 5), column 'x'") && said.contains("'low' is not a number, as"), "{said}");
    // The other text may come before the numbers, too.
    says("x\nlow\n".to_string() + &column("9", 40)[4..].replace(",1", ""), &["row 1 (line 2), column 'x'", "'low'"]);
    for text in ["inf", "-Infinity", "1e999"] {
        says(column(text, 3), &["row 4 (line 5), column 'x'", text, "not a finite number"]);
    }
    assert_eq!(read("x,y\ninf,1\nlow,2\n").columns()[0], texts("x", &["inf", "low"]));
}

/// A column that turns into texts late is read as texts from its beginning, whatever the pieces are.
#[test]
fn kinds_follow_from_all_cells() {
    let rows = 300_000;
    let mut content = String::from("a,b,c\n");
    for i in 0..rows {
        let late = if i >= rows / 2 { "x".to_string() + &(i % 7).to_string() } else { (i % 10).to_string() };
        content += &format!("{i},{late},k{}\n", i % 1000);
    }
    assert!(content.len() > 3 << 20, "several pieces");
    let table = read(&content);
    let [a, b, c] = table.columns() else { panic!("three columns") };
    assert!(matches!(&a.values, Values::Numbers(values) if values.iter().enumerate().all(|(i, v)| *v == i as f64)));
    for row in [0, 9, rows / 2 - 1, rows / 2, rows - 1] {
        let expected = if row >= rows / 2 { format!("x{}", row % 7) } else { (row % 10).to_string() };
        assert_eq!(b.cell(row).as_deref(), Some(expected.as_str()));
        assert_eq!(c.cell(row).as_deref(), Some(format!("k{}", row % 1000).as_str()));
    }
    let Values::Texts(texts) = &c.values else { panic!("texts") };
    let expected: Vec<String> = (0..1000).map(|i| format!("k{i}")).collect();
    assert_eq!(texts.vocabulary(), expected, "in the order in which they first occur");
    // A wrong row late in the file is counted through all pieces.
    content += "1,2\n";
    says(&content, &[&format!("row {} (line {})", rows + 1, rows + 2), "2 cells"]);
}

#[test]
fn a_million_different_texts_fit() {
    let content = (0..1_000_000).fold(String::from("id,n\n"), |text, i| text + &format!("user{i},{i}\n"));
    let table = read(content);
    let Values::Texts(texts) = &table.columns()[0].values else { panic!("texts") };
    assert_eq!((texts.vocabulary().len(), texts.get(999_999)), (1_000_000, Some("user999999")));
}

#[test]
fn packed_files_are_unpacked_whatever_their_name_is() {
    let text = b"a,b\n1,x\n2,y\n".repeat(200);
    let text = [&text[..], b"z,z\n"].concat();
    let plain = read(&text);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&text).unwrap();
    let gz = gz.finish().unwrap();
    let zst = zstd::encode_all(&text[..], 3).unwrap();
    assert_eq!(read(&gz), plain);
    assert_eq!(read(&zst), plain);
    says(&gz[..gz.len() - 9], &["gzip stream is damaged or cut off"]);
    says(&gz[..20], &["gzip stream is damaged or cut off"]);
    says(&zst[..zst.len() - 3], &["zstd stream is damaged or cut off"]);
    let mut bad = zst.clone();
    bad[12] ^= 0xff;
    assert!(read_with(&bad, &ReadOptions::default()).is_err());
    let mut twice = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    twice.write_all(&gz).unwrap();
    says(twice.finish().unwrap(), &["it is a gzip file packed with gzip", "unpack it first"]);
}

#[test]
fn what_is_no_table_is_named() {
    for (content, words) in [
        (&b"\x89PNG\r\n\x1a\n0000"[..], &["a PNG picture", "name a table"][..]),
        (b"<!DOCTYPE html><html><body>404</body></html>", &["HTML", "download the table again"]),
        (b"{\"a\": [1, 2]}\n", &["JSON", "convert it to CSV"]),
        (b"[{\"a\": 1}]\n", &["JSON"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 43\n", &["Git LFS", "git lfs pull"]),
        (b"\x80\x04\x95\x10\0\0\0\0\0\0\0]\x94.", &["pickle", "run code"]),
        (b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0a.txt", &["ZIP", "unpack it"]),
        (
            b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\x13\0\0\0[Content_Types].xml",
            &["office", "save the sheet as CSV"],
        ),
        (
            b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0b\0\x17\0sd/data.pklFB\x13\0ZZZ",
            &["PyTorch", "run code"],
        ),
        (b"\0\0\x08\x03\0\0\0\x05\0\0\0\x1c\0\0\0\x1c", &["IDX", "images"]),
        (b"ARROW1\0\0", &["Arrow", "convert it"]),
    ] {
        says(content, words);
    }
    // These begin like other things, and are tables.
    assert_eq!(read("<DATE>,<OPEN>\n2024,1.5\n2025,2.5\n").rows(), 2);
    assert_eq!(read("[id],[n]\n1,2\n").rows(), 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    std::fs::write(&path, "a,b\n1,2\n").unwrap();
    let said = syva_data::read(&[path], &ReadOptions::default()).unwrap_err().to_string();
    assert!(said.contains("a text file, not the Parquet table that its name promises"), "{said}");
    let said = syva_data::read(&[folder.path().join("no.csv")], &ReadOptions::default()).unwrap_err().to_string();
    assert!(said.contains("there is no such file"), "{said}");
    let said = syva_data::read(&[folder.path().to_path_buf()], &ReadOptions::default()).unwrap_err().to_string();
    assert!(said.contains("it is a folder"), "{said}");
}

fn several(contents: &[&str]) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..contents.len()).map(|i| folder.path().join(format!("{i}.csv"))).collect();
    for (path, content) in paths.iter().zip(contents) {
        std::fs::write(path, content).unwrap();
    }
    (folder, paths)
}

#[test]
fn several_files_are_one_table() {
    let (_folder, paths) = several(&["a,b\n1,2\n", "b,a\n3,x\n4,\n"]);
    let (table, _) = syva_data::read(&paths, &ReadOptions::default()).unwrap();
    // What the column is follows from all files.
    assert_eq!(table.columns(), [texts("a", &["1", "x", ""]), numbers("b", &[2.0, 3.0, 4.0])]);
    let said = |contents: &[&str]| {
        let (_folder, paths) = several(contents);
        syva_data::read(&paths, &ReadOptions::default()).unwrap_err().to_string()
    };
    assert!(said(&["a,b\n1,2\n", "a,c\n1,2\n"]).contains("1.csv (columns): there is no column 'b'"));
    assert!(said(&["a,b\n1,2\n", "a,b,c\n1,2,3\n"]).contains("1.csv (columns): column 'c' is additional"));
    let ragged = said(&["a,b\n1,2\n", "b,a\n3,4\n5\n"]);
    assert!(ragged.contains("1.csv (row 2 (line 3))"), "{ragged}");
    let infinite = said(&["a,b\n1,2\n", "b,a\n3,4\n5,inf\n"]);
    assert!(infinite.contains("1.csv (row 2 (line 3), column 'a')"), "{infinite}");
}

#[test]
fn parts_are_the_whole() {
    let rows = 900_000;
    let mut content = String::from("n,t,late\n");
    for i in 0..rows {
        let late = if i > rows / 2 { "5" } else { "" };
        content += &format!("{i},\"a text, {}\n\",{late}\n", i % 50);
    }
    assert!(content.len() > 16 << 20, "several parts");
    let (_folder, path) = file(&content);
    let (whole, found) = syva_data::read(std::slice::from_ref(&path), &ReadOptions::default()).unwrap();
    for options in [ReadOptions::default(), found] {
        let mut joined = Table::default();
        let (mut count, mut expected) = (0, 1);
        for part in syva_data::parts(&path, &options).unwrap() {
            let part = part.unwrap().table;
            assert_eq!(part.row_number(0), expected);
            expected += part.rows();
            count += 1;
            joined.append(part).unwrap();
        }
        assert!(count >= 2);
        assert_eq!(joined.columns(), whole.columns());
    }
    // A part that contradicts the first one is named with row and line, and with what to do.
    content += "1,2,3\nx,2,3\n";
    let (_folder, path) = file(&content);
    let parts: Result<Vec<syva_data::Part>> = syva_data::parts(&path, &ReadOptions::default()).unwrap().collect();
    let said = parts.unwrap_err().to_string();
    // Each of the rows has two lines.
    let place = format!("row {} (line {}), column 'n'", rows + 2, 2 * rows + 3);
    assert!(said.contains(&place) && said.contains("--categorical 'n'"), "{said}");
}

/// Random tables, written in random ways, come back as they were.
#[test]
fn random_tables_come_back() {
    let seed = 11u64;
    let mut state = seed;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for round in 0..400 {
        let (columns, rows) = (2 + random(4), 3 + random(30));
        let delimiter = [",", ";", "\t", "|"][random(4)];
        let end = ["\n", "\r\n", "\r"][random(3)];
        let numeric: Vec<bool> = (0..columns).map(|c| c == 0 || random(2) == 0).collect();
        let mut content = (0..columns).map(|c| format!("name{c}")).collect::<Vec<_>>().join(delimiter) + end;
        let mut cells = vec![Vec::new(); columns];
        for _ in 0..rows {
            let mut row = Vec::new();
            for (c, cells) in cells.iter_mut().enumerate() {
                let missing = c > 0 && random(6) == 0;
                let cell = match (missing, numeric[c]) {
                    (true, _) => String::new(),
                    (_, true) => format!("{}", random(100_000) as f64 / 64.0),
                    _ => ["red", "a;b", "x,y", "say \"hi\"", "p|q", "ta\tb", "ü"][random(7)].to_string(),
                };
                cells.push(cell.clone());
                let quoted = cell.contains(['"', ',', ';', '|', '\t']) || random(5) == 0;
                let written = if quoted { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell };
                row.push(if random(5) == 0 { format!(" {written} ") } else { written });
            }
            content += &(row.join(delimiter) + end);
        }
        let options = ReadOptions {
            delimiter: Some(delimiter.chars().next().unwrap()),
            header: Some(true),
            decimal: Some('.'),
            ..Default::default()
        };
        let table =
            read_with(&content, &options).unwrap_or_else(|error| panic!("seed {seed}, round {round}: {error}")).0;
        for (column, cells) in table.columns().iter().zip(&cells) {
            for (row, cell) in cells.iter().enumerate() {
                let found = column.cell(row).unwrap_or_default();
                assert_eq!(found, cell.as_str(), "seed {seed}, round {round}, row {row}: {content:?}");
            }
        }
    }
}

/// Any bytes give a table or an error.
#[test]
fn damaged_texts_never_panic() {
    let seed = 5u64;
    let mut state = seed;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let tokens: [&[u8]; 16] = [
        b"1",
        b",",
        b"\n",
        b"\r",
        b"\"",
        b"\"\"",
        b" ",
        b"\t",
        b";",
        b"x",
        b"\xff",
        b"\xc3",
        b"\xc3\xa4",
        b"\0",
        b"1.5",
        b"NA",
    ];
    for round in 0..3000 {
        let content: Vec<u8> = (0..random(40)).flat_map(|_| tokens[random(tokens.len())].to_vec()).collect();
        let (_folder, path) = file(&content);
        let whole = syva_data::read(std::slice::from_ref(&path), &ReadOptions::default());
        let parts = syva_data::parts(&path, &ReadOptions::default())
            .and_then(|parts| parts.map(|part| Ok(part?.table)).collect::<Result<Vec<_>>>());
        match (whole, parts) {
            (Ok((whole, _)), Ok(parts)) => assert_eq!(parts, [whole], "seed {seed}, round {round}: {content:?}"),
            (Err(whole), Err(parts)) => assert_eq!(whole.to_string(), parts.to_string(), "seed {seed}, round {round}"),
            (whole, parts) => panic!("seed {seed}, round {round}: {content:?} gives {whole:?} and {parts:?}"),
        }
    }
}

/// A header that is longer than the sample, over rows that are too.
#[test]
fn wide_tables_are_read() {
    let columns = 20_000;
    let header: Vec<String> = (0..columns).map(|i| format!("gene_{i}")).collect();
    let row: Vec<String> = (0..columns).map(|i| format!("{}", f64::from(i) / 8.0)).collect();
    let table = read(format!("{}\n{}\n{}\n", header.join(";"), row.join(";"), row.join(";")));
    assert_eq!((table.rows(), table.columns().len()), (2, 20_000));
    assert_eq!(table.columns()[19_999], numbers("gene_19999", &[19_999.0 / 8.0; 2]));
    let decimals: Vec<String> = row.iter().map(|cell| cell.replace('.', ",")).collect();
    let table = read(format!("{}\n", decimals.join("\t")));
    assert_eq!(table.columns()[19_999], numbers("column_20000", &[19_999.0 / 8.0]));
}

/// The test runs its own program again, which then reads what it is given.
#[test]
fn standard_input_is_read() {
    const CHILD: &str = "SYVA_DATA_TEST_READS";
    if let Ok(how) = std::env::var(CHILD) {
        let rows: Result<usize> = match how.as_str() {
            "whole" => syva_data::read(&["-".into()], &ReadOptions::default()).map(|(table, _)| table.rows()),
            _ => syva_data::parts("-".as_ref(), &ReadOptions::default())
                .and_then(|mut parts| parts.try_fold(0, |rows, part| part.map(|part| rows + part.table.rows()))),
        };
        match rows {
            Ok(rows) => println!("{rows} rows"),
            Err(error) => println!("{error}"),
        }
        return;
    }
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(b"a,b\n1,2\n3,4\n").unwrap();
    let gz = gz.finish().unwrap();
    for (content, words) in [
        (&b"a,b\n1,2\n3,4\n"[..], "2 rows"),
        (&gz, "2 rows"),
        (b"a,b\n1,2\n3\n", "standard input (row 2 (line 3))"),
        (b"PAR1\0\0\0\0PAR1", "name it as a file"),
    ] {
        for how in ["whole", "parts"] {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "standard_input_is_read", "--nocapture"])
                .env(CHILD, how)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(content).unwrap();
            let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
            assert!(said.contains(words), "{how}: {said}");
        }
    }
}
