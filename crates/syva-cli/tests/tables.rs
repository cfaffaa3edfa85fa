//! Tables: from a file to a trained model, its scores, and its predictions; and files and flags that make no sense.

mod common;

use std::fmt::Write;

use common::Place;

/// What settles quickly.
const QUICK: &str = "--epochs 40 --hidden 32 --dropout 0 --batch-size 32 --device cpu --quiet";

/// A table of flowers: two numbers, a colour that is sometimes missing, a number of the row, and the kind.
fn flowers(rows: usize) -> String {
    let mut text = "id,height,width,colour,kind\n".to_string();
    for i in 0..rows {
        let kind = i * 7 % 3;
        let height = 1.0 + kind as f64 + (i * 37 % 100) as f64 / 150.0;
        let width = 2.5 - kind as f64 * 0.5 + (i * 53 % 100) as f64 / 300.0;
        let colour = if i % 11 == 0 { "" } else { ["red", "blue", "red", "\"pale, blue\""][(kind + i % 2) % 4] };
        let _ = writeln!(text, "{i},{height},{width},{colour},{}", ["daisy", "tulip", "rose"][kind]);
    }
    text
}

/// A table of houses: an area, a street, and a price that they make.
fn houses(rows: usize) -> String {
    let mut text = "area;street;price\n".to_string();
    for i in 0..rows {
        let (area, street) = (40 + i * 29 % 97, i % 4);
        let price = 1000 * area + 20_000 * street;
        let _ = writeln!(text, "{area},5;{};{price}", ["Aleksi", "Bulevardi", "Esplanadi", "Mannerheim"][street]);
    }
    text
}

#[test]
fn a_table_is_learned_judged_and_predicted() {
    let place = Place::new();
    place.write("flowers.csv", flowers(400));
    let said = place.run(&format!("train --data flowers.csv --target kind --test 0.2 {QUICK} --out run")).succeeds();
    assert_eq!(said.stderr, "");
    let info = place.run("data info --data flowers.csv --target kind").succeeds().stdout;
    assert!(info.contains("id      left out: numbers the rows"), "{info}");
    let judged = place.run("eval run --json").succeeds().json();
    assert!(judged[0]["accuracy"].as_f64().unwrap() > 0.97, "{}", judged[0]);
    assert_eq!((judged[0]["samples"].as_u64(), judged[0]["split"].as_str()), (Some(80), Some("test")));
    assert_eq!(judged[0]["classes"], serde_json::json!(["daisy", "rose", "tulip"]));
    let text = place.run("eval run").succeeds().stdout;
    assert!(text.contains("       daisy    1.0000") || text.contains("       daisy    0."), "{text}");

    // The model file alone predicts, columns come in any order, and rows keep theirs.
    place.write("new.csv", "colour\twidth\tid\theight\nred\t2.60\t9\t1.2\n\"pale, blue\"\t1.6\t7\t3.4\n");
    std::fs::rename(place.path("run/model.safetensors"), place.path("model.safetensors")).unwrap();
    let rows = place.run("predict model.safetensors new.csv").succeeds().stdout;
    let lines: Vec<&str> = rows.lines().collect();
    let header = "colour,width,id,height,prediction,probability:daisy,probability:rose,probability:tulip";
    assert_eq!(lines[0], header);
    assert!(lines[1].starts_with("red,2.60,9,1.2,daisy,0.") && lines.len() == 3, "{rows}");
    assert!(lines[2].starts_with("\"pale, blue\",1.6,7,3.4,rose,"), "{rows}");
    let sum: f64 = lines[1].split(',').skip(5).map(|p| p.parse::<f64>().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6);
    // To a file, the same; from standard input, the same.
    place.run("predict model.safetensors new.csv -o out.csv").succeeds();
    assert_eq!(place.read("out.csv"), rows);
    assert_eq!(place.sh("$SYVA predict model.safetensors - < new.csv").succeeds().stdout, rows);
    // To Parquet too, which says the same when it is read again.
    place.run("predict model.safetensors new.csv -o out.parquet").succeeds();
    let kinds = |file: &str| {
        let found = place.run(&format!("data info --data {file} --json")).succeeds().json()[0]["columns"].clone();
        let columns: Vec<_> = found.as_array().unwrap().clone();
        columns.into_iter().map(|column| (column["column"].clone(), column["kind"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(kinds("out.parquet"), kinds("out.csv"));
    place.run("predict model.safetensors new.csv -o out.parquet --json").fails(2, &["holds no JSON"]);
    place.run("predict model.safetensors new.csv -o out.txt").fails(2, &[".csv or .parquet"]);
    let json = place.run("predict model.safetensors new.csv --json").succeeds().json();
    assert_eq!((json[1]["row"].as_u64(), json[1]["prediction"].as_str()), (Some(2), Some("rose")));
    // All its rows are judged.
    let judged = place.run("eval model.safetensors --data flowers.csv --json").succeeds().json();
    assert_eq!(judged[0]["samples"], 400);
}

#[test]
fn numbers_are_predicted_in_their_own_units() {
    let place = Place::new();
    place.write("houses.csv", houses(300));
    for transform in ["none", "log", "quantile"] {
        let flags = format!("{QUICK} --target-transform {transform} --out {transform}");
        place.run(&format!("train --data houses.csv --target price {flags}")).succeeds();
        let scores = place.run(&format!("eval {transform} --json")).succeeds().json()[0]["targets"]["price"].clone();
        assert!(scores["r2"].as_f64().unwrap() > 0.98, "{transform}: {scores}");
        assert!(scores["rmse"].as_f64().unwrap() > 50.0, "in euros, not in deviations: {scores}");
        let rows = place.run(&format!("predict {transform} houses.csv")).succeeds().stdout;
        let line: Vec<&str> = rows.lines().nth(2).unwrap().split(',').collect();
        assert_eq!(line[..3], ["69.5", "Bulevardi", "89000"]);
        assert!((line[3].parse::<f64>().unwrap() - 89_000.0).abs() < 6000.0, "{transform}: {line:?}");
    }
    let text = place.run("eval none").succeeds().stdout;
    assert!(text.contains("RMSE") && text.contains("price"), "{text}");
    // A network of mean and variance says how sure it is.
    place.run("train --data houses.csv --target price --head gaussian --epochs 20 --quiet --out sure").succeeds();
    let rows = place.run("predict sure houses.csv").succeeds().stdout;
    assert!(rows.starts_with("area,street,price,prediction,deviation\n"), "{rows}");
}

#[test]
fn several_targets_are_several_numbers_or_labels() {
    let place = Place::new();
    let mut text = "x,y,a,b,warm,dry\n".to_string();
    for i in 0..200 {
        let (x, y) = (f64::from(i * 17 % 50) / 10.0 + 0.05, f64::from(i * 31 % 70) / 10.0 + 0.05);
        let _ =
            writeln!(text, "{x},{y},{},{},{},{}", x + y, x - y, i32::from(x > 2.5), if y > 3.5 { "yes" } else { "no" });
    }
    place.write("t.csv", text);
    place.run(&format!("train --data t.csv --target a,b --ignore warm,dry {QUICK} --out values")).succeeds();
    let scores = place.run("eval values --json").succeeds().json();
    assert!(scores[0]["targets"]["b"]["r2"].as_f64().unwrap() > 0.95, "{}", scores[0]);
    let rows = place.run("predict values t.csv").succeeds().stdout;
    assert!(rows.starts_with("x,y,a,b,warm,dry,prediction:a,prediction:b\n"), "{rows}");
    place.run(&format!("train --data t.csv --target warm,dry --ignore a,b {QUICK} --out labels")).succeeds();
    let scores = place.run("eval labels --json").succeeds().json();
    for score in ["auroc", "average_precision"] {
        let of_labels = scores[0][score].as_array().unwrap();
        assert_eq!(of_labels.len(), scores[0]["labels"].as_array().unwrap().len(), "{}", scores[0]);
        assert!(of_labels.iter().all(|score| score.as_f64().unwrap() > 0.9), "{}", scores[0]);
    }
    assert!(scores[0]["label_accuracy"].as_f64().unwrap() > 0.9, "{}", scores[0]);
    let rows = place.run("predict labels t.csv").succeeds().stdout;
    let header = "x,y,a,b,warm,dry,prediction:warm,probability:warm,prediction:dry,probability:dry\n";
    assert!(rows.starts_with(header), "{rows}");
}

#[test]
fn a_run_on_a_table_goes_on_and_is_repeated_to_the_same_bits() {
    let place = Place::new();
    place.write("flowers.csv", flowers(300));
    // The first epochs of a schedule over more epochs would be others.
    let constant = "--schedule constant --decay-schedule constant --dropout-schedule constant";
    let train = format!("train --data flowers.csv --target kind --hidden 16 {constant} --json");
    let whole = place.run(&format!("{train} --epochs 6 --out whole")).succeeds().digest();
    place.run(&format!("{train} --epochs 3 --out half")).succeeds();
    assert_eq!(place.run("resume half --epochs 6 --json").succeeds().digest(), whole);
    assert_eq!(place.run("train --like whole --epochs 6 --out again --json").succeeds().digest(), whole);
    assert_eq!(place.run(&format!("{train} --epochs 6 --threads 1 --out one")).succeeds().digest(), whole);
    // Other data is refused.
    place.write("flowers.csv", flowers(301));
    place.run("resume half --epochs 9").fails(1, &["is not the data of the run", "restore the old data"]);
    place.run("eval whole").fails(1, &["is not the data of the run"]);
    std::fs::remove_file(place.path("flowers.csv")).unwrap();
    place.run("eval whole").fails(1, &["flowers.csv"]);
    place.run("report whole").succeeds();
}

#[test]
fn rows_are_set_aside_as_they_are_asked_for() {
    let place = Place::new();
    place.write("train.csv", flowers(200));
    place.write("more.csv", flowers(90));
    place.write("test.csv", flowers(60));
    let samples = |out: &str| {
        let of = |split: &str| {
            place.run(&format!("eval {out} --split {split} --json")).succeeds().json()[0]["samples"].as_u64().unwrap()
        };
        ["train", "val", "test"].map(of)
    };
    let train = format!("train --target kind {QUICK}");
    place.run(&format!("{train} --data train.csv --validation more.csv --test test.csv --out files")).succeeds();
    assert_eq!(samples("files"), [200, 90, 60]);
    place.run(&format!("{train} --data train.csv --validation 50 --test 0.1 --out parts")).succeeds();
    assert_eq!(samples("parts"), [130, 50, 20]);
    place.run(&format!("{train} --data train.csv,more.csv --split-by id --out time")).succeeds();
    assert_eq!(samples("time")[1], 30);
    place.run(&format!("{train} --data *r*.csv --group colour --out groups")).succeeds();
    place.run(&format!("{train} --data train.csv --test test.csv --validation test --out test")).succeeds();
    assert_eq!(samples("test")[..2], [200, 60]);
    // A settings file says the same.
    place.write(
        "settings.toml",
        "data = [\"train.csv\", \"more.csv\"]\ntarget = \"kind\"\nignore = [\"colour\"]\nepochs = 2\nhidden = [8]\n",
    );
    place.run("train --config settings.toml --quiet --out file").succeeds();
    assert_eq!(samples("file")[..2], [260, 30]);
}

/// A file of several parts comes out row by row as it was, with the same predictions as its rows have alone.
#[test]
fn large_tables_pass_through_in_order() {
    let place = Place::new();
    place.write("flowers.csv", flowers(200));
    place.run(&format!("train --data flowers.csv --target kind {QUICK} --out run")).succeeds();
    let rows = 40_000;
    // The first column numbers the rows, and none but the network's columns has to be of one kind.
    let note = |row: usize| if row < 39_000 { "7".repeat(12 + 600 * (row % 2)) } else { format!("text {row}") };
    let cells =
        |row: usize| format!("{row}.50,{}.500,2.0,{},{}", 1 + row % 3, ["red", "blue", "NA"][row % 3], note(row));
    let mut csv = "n,height,width,colour,note\n".to_string();
    (0..rows).for_each(|row| csv += &format!("{}\n", cells(row)));
    assert!(csv.len() > 12 << 20, "two parts");
    place.write("large.csv", &csv);
    place.write("small.csv", csv.lines().take(7).collect::<Vec<_>>().join("\n"));
    let small = place.run("predict run small.csv").succeeds().stdout;
    let of_small: Vec<&str> =
        small.lines().skip(1).enumerate().map(|(row, line)| line.strip_prefix(&cells(row)).unwrap()).collect();
    for threads in [1, 3] {
        let said = place.run(&format!("predict run large.csv -o out.csv --threads {threads}")).succeeds();
        assert!(said.stderr.contains("wrote 40,000 rows"), "{}", said.stderr);
        let text = place.read("out.csv");
        assert_eq!(text.lines().count(), rows + 1);
        for (row, line) in text.lines().skip(1).enumerate() {
            let rest = line.strip_prefix(&cells(row)).unwrap_or_else(|| panic!("row {row}: {line}"));
            assert_eq!(rest, of_small[row % 6]);
        }
    }
    // A bad row is named wherever it is, and nothing is left of the file.
    std::fs::remove_file(place.path("out.csv")).unwrap();
    place.write("bad.csv", csv + "0,tall,2.0,red,\n");
    let place_of_it = ["bad.csv", "row 40001 (line 40002), column 'height'", "'tall' is not a number"];
    place.run("predict run bad.csv -o out.csv").fails(1, &place_of_it);
    assert!(!place.path("out.csv").exists());
}

#[test]
fn what_is_new_at_predict_time_is_told_or_named() {
    let place = Place::new();
    place.write("flowers.csv", flowers(200));
    place.run(&format!("train --data flowers.csv --target kind {QUICK} --out run")).succeeds();
    place.write("unseen.csv", "height,width,colour\n1,2,black\n1,2,red\n,,white\n");
    let said = place.run("predict run unseen.csv").succeeds();
    assert!(
        said.stderr
            .contains("column 'colour': 2 cells have a text that the training data did not have, such as 'black'"),
        "{}",
        said.stderr
    );
    assert_eq!(said.stdout.lines().count(), 4);
    place.write("missing.csv", "height,colour\n1,red\n");
    place.run("predict run missing.csv").fails(1, &["missing.csv", "no column 'width', which the network reads"]);
    place.write("renamed.csv", "height,widht,colour\n1,2,red\n");
    place.run("predict run renamed.csv").fails(1, &["no column 'width'", "did you mean 'widht'?"]);
    place.write("retyped.csv", "height,width,colour\n1,2,red\n1,wide,red\n");
    place.run("predict run retyped.csv -o out.csv").fails(1, &["retyped.csv", "row 2", "width", "wide"]);
    assert!(!place.path("out.csv").exists());
    place.write("taken.csv", "height,width,colour,prediction\n1,2,red,3\n");
    place.run("predict run taken.csv").fails(1, &["already has a column 'prediction'"]);
    place.run("predict run flowers.csv --show").fails(2, &["show: this model reads rows of a table"]);
    place.run("predict run flowers.csv -o out.png").fails(2, &["out.png", ".csv"]);
    place.run("predict run flowers.csv -o run/config.toml").fails(2, &["a run's own file"]);
    place.write("none.csv", "height,width,colour\n");
    place.run("predict run none.csv").fails(1, &["none.csv"]);
    place.run("eval run --data unseen.csv").fails(1, &["no column 'kind'"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::new();
    place.write("flowers.csv", flowers(60));
    place.write("one.csv", "x,y\n1.5,a\n");
    place.write("same.csv", "x,y\n1.5,a\n2.5,a\n3.5,a\n");
    place.write("ragged.csv", "x,y\n1.5,a\n2.5\n3.5,b\n");
    place.write("empty.csv", "x,y\n");
    let train = |flags: &str| place.run(&format!("train --epochs 1 --out run {flags}"));
    train("--data flowers.csv").fails(2, &["target: no column is named; name the one to predict"]);
    train("--data flowers.csv --target knid").fails(2, &["target: there is no column 'knid'", "did you mean 'kind'?"]);
    train("--data flowers.csv --target kind --ignore kind").fails(2, &["ignore: column 'kind' is in target, too"]);
    train("--data flowers.csv --target kind --numeric colour").fails(1, &["colour"]);
    train("--data flowers.csv --target kind --task regression").fails(1, &["kind", "daisy", "not a number"]);
    train("--data flowers.csv --target id --task classification").fails(2, &["too many for classes"]);
    train("--data flowers.csv --target kind --weight colour").fails(1, &["column 'colour' has texts, not weights"]);
    train("--data flowers.csv --target kind --ignore id,height,width,colour")
        .fails(1, &["no column is left to learn from"]);
    train("--data one.csv --target y").fails(1, &["1 row cannot be trained on"]);
    train("--data same.csv --target y").fails(2, &["'y' has only one class, 'a'"]);
    train("--data ragged.csv --target y").fails(1, &["ragged.csv", "row 2 (line 3)"]);
    train("--data empty.csv --target y").fails(1, &["empty.csv"]);
    train("--data absent.csv --target y").fails(1, &["cannot read absent.csv: there is no such file"]);
    train("--data iris").fails(2, &["unknown name", "or the file of a table"]);
    train("--data digits --target y").fails(2, &["target: this is for tables, and --data names none"]);
    train("--data digits --recipe tabular").fails(2, &["recipe: tabular is for tables"]);
    train("--data flowers.csv --target kind --data-dir x").fails(2, &["data-dir"]);
    train("--data flowers.csv --target kind --head regression").fails(2, &["head: the data has 3 classes"]);
    train("--data flowers.csv --target kind --validation 100")
        .fails(2, &["validation: 100 of 60 rows leaves a part empty"]);
    train("--data flowers.csv --target kind --header maybe").fails(2, &["neither yes nor no"]);
    train("--data flowers.csv --target kind --delimiter ab").fails(2, &["no character that separates"]);
    assert!(!place.path("run").exists());
    place.finished("digits");
    place.run("eval digits --data flowers.csv").fails(2, &["data: this model was not trained on a table"]);
    place.run("predict digits flowers.csv").fails(1, &["flowers.csv"]);
    place.run("predict digits x.png -o y.csv").fails(1, &["cannot read x.png", "so nothing is written"]);
    assert!(!place.path("y.csv").exists());
}

/// A decoder that panics is not told from a damaged file.
#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let place = Place::new();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../syva-data/tests/golden/byte_stream_split.parquet");
    let mut bytes = std::fs::read(golden).unwrap();
    bytes[55] = 0x20;
    place.write("t.parquet", bytes);
    place.run("train --data t.parquet --target x --out run").fails(1, &["t.parquet", "the file is damaged"]);
}

#[test]
fn folds_are_judged_in_turn_and_become_one_model() {
    let place = Place::new();
    place.write("flowers.csv", flowers(200));
    let train = "train --data flowers.csv --target kind --test 0.2:seed=3 --hidden 8 --quiet --epochs 3 --folds 3 --bag --out all";
    let said = place.run(train).succeeds();
    let lines: Vec<&str> = said.stdout.lines().filter(|line| line.starts_with(['1', '2', '3', 'm', 'd'])).collect();
    assert_eq!(lines.len(), 6, "{}", said.stdout);
    assert!(
        lines[3].starts_with("mean") && lines[5].starts_with("model  all/model.safetensors (3 networks"),
        "{lines:?}"
    );
    // Each row of the training data validates once, and the test rows are the same for all.
    let samples = |fold: usize, split: &str| {
        let judged = place.run(&format!("eval all/fold-{fold} --split {split} --json")).succeeds().json();
        judged[0]["samples"].as_u64().unwrap()
    };
    assert_eq!((1..=3).map(|fold| samples(fold, "val")).sum::<u64>(), 160);
    assert_eq!(samples(2, "test"), 40);
    // The model predicts the mean of what its networks predict.
    place.write("new.csv", "id,height,width,colour\n1,2.2,1.8,red\n");
    let share = |model: &str| -> f64 {
        let rows = place.run(&format!("predict {model} new.csv --json")).succeeds().json();
        rows[0]["probability:daisy"].as_f64().unwrap()
    };
    let mean = (1..=3).map(|fold| share(&format!("all/fold-{fold}"))).sum::<f64>() / 3.0;
    assert!((share("all") - mean).abs() < 1e-6);
    place.run("eval all").fails(2, &["data: this model was trained on a table", "--data"]);
    let judged = place.run("eval all --data flowers.csv --json").succeeds().json();
    assert_eq!(judged[0]["samples"].as_u64(), Some(200));

    // What is there is not trained again, and nothing is lost by accident.
    place.run(train).fails(2, &["all already has a model"]);
    std::fs::remove_file(place.path("all/model.safetensors")).unwrap();
    let again = place.run(train).succeeds();
    assert!(again.stderr.contains("fold 3 of 3 is already trained"), "{}", again.stderr);
    assert!(place.path("all/model.safetensors").exists());
    for (flags, says) in [
        ("--folds 1", "1 folds are no cross-validation"),
        ("--folds 3 --validation test", "each part of the training data validates in its turn"),
        ("--folds 300", "300 folds of 200 rows leave some empty"),
    ] {
        let said = format!("train --data flowers.csv --target kind --hidden 8 --quiet --epochs 1 {flags} --out no");
        place.run(&said).fails(2, &[says]);
    }
}
