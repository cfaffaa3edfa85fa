//! Tables that are wrong: each fault is named, with the place and what to do about it.

mod common;

use common::Place;

const QUICK: &str = "--hidden 4 --epochs 1 --quiet";

/// 60 rows: a number, a text, and a class, with one row replaced.
fn table(row: usize, wrong: &str) -> String {
    let rows = (0..60).map(|i| {
        if i + 1 == row {
            wrong.to_string()
        } else {
            format!("{}.5,{},{}", i * 7 % 60, ["red", "blue"][i / 3 % 2], ["no", "yes"][i % 2])
        }
    });
    format!("size,colour,sold\n{}\n", rows.collect::<Vec<_>>().join("\n"))
}

fn train(place: &Place, content: impl AsRef<[u8]>, flags: &str, code: i32, says: &[&str]) {
    place.write("t.csv", content);
    place.run(&format!("train --data t.csv --target sold {QUICK} --out run {flags}")).fails(code, says);
    assert!(!place.path("run").exists());
}

#[test]
fn wrong_rows_and_cells_are_named_with_a_remedy() {
    let place = Place::new();
    train(
        &place,
        table(50, "1,red"),
        "",
        1,
        &["t.csv", "row 50 (line 51)", "2 cells", "should be 3", "correct the row"],
    );
    let unclosed = ["row 50 (line 51), column 'colour'", "the quote that opens in line 51 is not closed", "close it"];
    train(&place, table(50, "1,\"red,no"), "", 1, &unclosed);
    let mixed = ["row 50 (line 51), column 'size'", "'big' is not a number", "--missing 'big'", "--categorical 'size'"];
    train(&place, table(50, "big,red,no"), "", 1, &mixed);
    for infinite in ["inf", "-Infinity", "1e999"] {
        let says = ["row 50 (line 51), column 'size'", infinite, "not a finite number", "leave the cell empty"];
        train(&place, table(50, &format!("{infinite},red,no")), "", 1, &says);
    }
    let latin = table(50, "1,ros\u{e9},no").chars().map(|c| c as u8).collect::<Vec<u8>>();
    let says = ["row 50 (line 51), column 'colour'", "byte 0xe9", "--encoding windows-1252"];
    train(&place, latin, "", 1, &says);
    train(
        &place,
        table(0, "").replace("colour", "size"),
        "",
        1,
        &["columns 1 and 2 are both named 'size'", "rename one"],
    );
    train(&place, "size,colour,sold\n", "", 1, &["t.csv", "a header and no rows", "name a file with data"]);
    train(&place, "", "", 1, &["t.csv", "it is empty"]);
    train(&place, "size,colour,sold\n1,red,no\n", "", 1, &["1 row cannot be trained on", "more rows"]);
    train(
        &place,
        "size,colour,sold\n1,red,no\n2,red,yes\n",
        "",
        2,
        &["0.2 of 2 rows leaves a part empty", "more rows"],
    );
    // Missing, in whichever form.
    place.write("t.csv", table(50, "NaN,,no"));
    place.run(&format!("train --data t.csv --target sold {QUICK} --out run")).succeeds();
}

#[test]
fn columns_that_say_nothing_are_left_out_with_a_word_or_refused() {
    let place = Place::new();
    let replaced = |from: &str, to: &str| table(0, "").replace(from, to);
    for (content, says) in [
        (replaced(",red,", ",,").replace(",blue,", ",,"), "column 'colour' has no values: left out"),
        (replaced(",red,", ",blue,"), "column 'colour' is the same in all rows: left out"),
    ] {
        place.write("t.csv", content);
        let said = place.run("train --data t.csv --target sold --hidden 4 --epochs 1 --out run --force").succeeds();
        assert!(said.stdout.contains(says) || said.stderr.contains(says), "{}{}", said.stdout, said.stderr);
    }
    std::fs::remove_dir_all(place.path("run")).unwrap();
    let same = "5,,no\n5,,yes\n".repeat(30);
    let says = [
        "no column is left to learn from",
        "column 'colour' has no values",
        "column 'size' is the same in all rows",
        "--categorical",
    ];
    train(&place, format!("size,colour,sold\n{same}"), "", 1, &says);
    train(&place, replaced(",no", ",").replace(",yes", ","), "", 2, &["target: column 'sold' has no value in any row"]);
    train(&place, replaced(",no", ",yes"), "", 2, &["'sold' has only one class, 'yes'", "differs between rows"]);
    // A comma belongs to a name in double quotes.
    place.write("t.csv", replaced("sold", "\"sold, 90 days\""));
    let target = ["train", "--data", "t.csv", "--hidden", "4", "--epochs", "1", "--out", "comma", "--target"];
    let ran = |name: &str| common::Ran::new(place.syva(target.iter().chain(&[name])).output().unwrap());
    ran("sold, 90 days").fails(2, &["there is no column 'sold'", "did you mean 'sold, 90 days'?", "in double quotes"]);
    ran("\"sold, 90 days").fails(2, &["--target", "a double quote is not closed"]);
    ran("\"sold, 90 days\"").succeeds();
    // Numbers as some programs export them.
    let rows = (0..60).map(|i| format!("{i}.5;{}.{:03},25\n", i % 9 + 1, i * 7)).collect::<Vec<_>>().concat();
    place.write("t.csv", format!("size;price\n{rows}"));
    let says = ["'price'", "too many for classes", "look like numbers, such as '1.000,25'", "separators of thousands"];
    place.run(&format!("train --data t.csv --target price {QUICK} --out run")).fails(2, &says);
    let said = place.run("data info --data t.csv").succeeds();
    assert!(said.stdout.contains("column 'price' is read as texts that look like numbers"), "{}", said.stdout);
    let says = ["there is no column 'sold'", "did you mean 'solt'?"];
    train(&place, replaced("sold", "solt"), "", 2, &says);
    // A name that is lacking is made.
    place.write("t.csv", replaced("size,colour", "size,"));
    let said = place.run("data info --data t.csv --target sold").succeeds();
    assert!(said.stdout.contains("column_2"), "{}", said.stdout);
}

#[test]
fn a_million_categories_are_an_input_each_for_the_most_frequent_only() {
    let place = Place::new();
    let rows = (0..1_000_000)
        .map(|i| format!("user{},{}\n", i / 2 + i % 2 * 7, ["no", "yes"][i % 2]))
        .collect::<Vec<_>>()
        .concat();
    place.write("t.csv", format!("user,sold\n{rows}"));
    let flags = "--categorical user --preset tabular-plain --batch-size 8192";
    place.run(&format!("train --data t.csv --target sold {QUICK} {flags} --out run")).succeeds();
    place.write("new.csv", "user\nuser9\nnobody\n");
    let said = place.run("predict run new.csv").succeeds();
    let rare = "column 'user': 2 cells have a text that the training data did not have, or that was too rare there, such as 'user9'";
    assert!(said.stderr.contains(rare), "{}", said.stderr);
    assert!(std::fs::metadata(place.path("run/model.safetensors")).unwrap().len() < 1 << 20);
    let says = ["'user' has", "too many for classes", "name another column"];
    place.run(&format!("train --data t.csv --target user {QUICK} --out other")).fails(2, &says);
}

/// The same faults in rows to predict and to judge, in every format and from standard input.
#[test]
fn rows_that_do_not_fit_the_model_are_named() {
    let place = Place::new();
    place.write("t.csv", table(0, ""));
    place.run(&format!("train --data t.csv --target sold {QUICK} --out run")).succeeds();
    let both = |content: &[u8], name: &str, says: &[&str]| {
        place.write(name, content);
        place.run(&format!("predict run {name} -o out.csv")).fails(1, &[&[name], says].concat());
        place.run(&format!("eval run --data {name}")).fails(1, &[&[name], says].concat());
        assert!(!place.path("out.csv").exists());
    };
    both(b"colour,sold\nred,no\n", "lacks.csv", &["no column 'size'"]);
    both(b"sise,colour,sold\n1,red,no\n", "renamed.csv", &["no column 'size'", "did you mean 'sise'?"]);
    let retyped = ["row 2", "column 'size'", "'big' is not a number"];
    both(b"size,colour,sold\n1,red,no\nbig,red,yes\n", "retyped.csv", &retyped);
    both(b"size,colour,sold\n1,red,no\n2,red\n", "ragged.csv", &["row 2 (line 3)", "2 cells"]);
    both(b"size,colour,sold\n1,\"red,no\n", "quote.csv", &["row 1 (line 2)", "not closed"]);
    both(b"size,colour,sold\n1,red,no\ninf,red,no\n", "inf.csv", &["row 2", "column 'size'", "not a finite number"]);
    both(b"size,colour,sold\n1,ros\xe9,no\n", "latin.csv", &["row 1", "column 'colour'", "0xe9"]);
    both(b"size,colour,sold\n", "none.csv", &["no rows"]);
    both(b"\x89PNG\r\n\x1a\n0000", "picture.csv", &["a PNG picture", "name a table"]);
    place.write("pipe.csv", "size,colour\n1,red\nbig,red\n");
    #[cfg(unix)]
    place.sh("$SYVA predict run - < pipe.csv").fails(1, &["standard input", "row 2", "column 'size'", "'big'"]);
    // Another order, other columns besides, and other line ends are fine.
    place.write("order.csv", "note,colour,size\r\nx,red,7.5\r\n");
    place.write("plain.csv", "size,colour\n7.5,red\n");
    let last = |name: &str| {
        let said = place.run(&format!("predict run {name}")).succeeds().stdout;
        said.lines().nth(1).unwrap().rsplit(',').take(3).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(last("order.csv"), last("plain.csv"));
}

/// What is missing in the rows to predict is what was missing in the training, without a word.
#[test]
fn missing_values_are_written_as_in_the_training() {
    let place = Place::new();
    let rows = (0..60)
        .map(|i| if i % 5 == 0 { "-,-,no\n".into() } else { format!("{i}.5,c{},yes\n", i % 3) })
        .collect::<Vec<_>>()
        .concat();
    place.write("t.csv", format!("size,colour,sold\n{rows}"));
    place.run(&format!("train --data t.csv --target sold --missing - {QUICK} --folds 2 --bag --out run")).succeeds();
    place.write("new.csv", "size,colour,sold\n-,-,no\n1.5,c1,yes\n");
    place.write("empty.csv", "size,colour,sold\n,,no\n1.5,c1,yes\n");
    for model in ["run", "run/model.safetensors", "run/fold-2", "run/fold-2/model.safetensors"] {
        let [dashed, empty] =
            ["new.csv", "empty.csv"].map(|file| place.run(&format!("predict {model} {file}")).succeeds());
        // The cells themselves stay as they are.
        let without = dashed.stdout.replace("\n-,-,", "\n,,");
        assert_eq!((without, dashed.stderr), (empty.stdout, String::new()), "{model}");
        place.run(&format!("eval {model} --data new.csv")).succeeds();
    }
    place
        .run("predict run new.csv --missing x")
        .fails(1, &["new.csv (row 1 (line 2), column 'size')", "'-' is not a number"]);
}

#[test]
fn files_that_are_no_model_are_named() {
    let place = Place::new();
    place.write("t.csv", table(0, ""));
    let golden = |name: &str| {
        let path = format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    };
    place.write("evil.pt", golden("syva-exchange/tests/torch/evil.pt"));
    place.write("weights.safetensors", golden("syva-exchange/tests/torch/sequential.safetensors"));
    place.write("t.parquet", golden("syva-data/tests/golden/snappy.parquet"));
    for command in ["predict", "eval", "export", "serve"] {
        let (data, more) = match command {
            "predict" => ("t.csv", ""),
            "eval" => ("--data t.csv", ""),
            "export" => ("-o m.onnx", ""),
            _ => ("", "--port 0"),
        };
        let run = |file: &str| place.run(&format!("{command} {file} {data} {more}"));
        run("t.csv").fails(1, &["t.csv", "this is a text file", "name a model file"]);
        run("t.parquet").fails(1, &["t.parquet", "this is a Parquet table", "name a model file"]);
        run("evil.pt").fails(1, &["evil.pt", "this is a PyTorch checkpoint", "`syva import`"]);
        run("weights.safetensors").fails(1, &["weights.safetensors", "no entry 'syva'", "`syva import`"]);
    }
    // Nor does anything run its code.
    place.run("import evil.pt --activation relu -o m.safetensors").fails(1, &["evil.pt", "posix.system"]);
    let pickle = ["evil.pt", "run code"];
    place.run("train --data evil.pt --target x").fails(1, &pickle);
    assert!(!place.path("m.safetensors").exists());
}
