//! What `eval` and `plot` say of tables beyond the scores: thresholds, temperatures, importance and dependence of columns.

mod common;

use std::fmt::Write;

use common::Place;
use serde_json::Value;

const QUICK: &str = "--epochs 20 --hidden 16 --dropout 0 --batch-size 32 --device cpu --quiet";

/// Whether a loan is paid back: by the income, and a little by the town. The age has nothing to do with it.
fn loans(rows: usize) -> String {
    let mut text = "income,age,town,paid\n".to_string();
    for i in 0..rows {
        let (income, age, town) = (i * 37 % 101, 20 + i * 53 % 47, i * 7 % 3);
        let luck = i * 71 % 60;
        let paid = if income + 10 * town + luck > 110 { "yes" } else { "no" };
        let _ = writeln!(text, "{income},{age},{},{paid}", ["Espoo", "Turku", "Vaasa"][town]);
    }
    text
}

/// A trained run on loans.
fn trained() -> Place {
    let place = Place::new();
    place.write("loans.csv", loans(400));
    place
        .run(&format!("train --data loans.csv --target paid --test 0.25 --validation 0.2 {QUICK} --out run"))
        .succeeds();
    place
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn importance_is_that_of_whole_columns_and_always_the_same() {
    let place = trained();
    let judged = place.run("eval run --importance --json").succeeds().json()[0].clone();
    let found = &judged["importance"];
    assert_eq!((&found["score"], &found["value"]), (&"accuracy".into(), &judged["accuracy"]));
    let columns = found["columns"].as_array().unwrap();
    let of = |name: &str| columns.iter().find(|column| column["column"] == name).unwrap();
    assert_eq!(columns.len(), 3, "{found}");
    assert_eq!(of("town")["drops"].as_array().unwrap().len(), 10);
    assert!(number(&of("income")["mean"]) > 0.15, "{found}");
    assert!(number(&of("age")["mean"]).abs() < 0.06, "{found}");
    let [low, high] = [0, 1].map(|end| number(&of("income")["interval"][end]));
    assert!(low < number(&of("income")["mean"]) && number(&of("income")["mean"]) < high);
    assert_eq!(place.run("eval run --importance --json --threads 1").succeeds().json()[0]["importance"], *found);
    let other =
        place.run("eval run --importance --json --seed 2 --repeats 3").succeeds().json()[0]["importance"].clone();
    assert_ne!(other["columns"][0]["drops"], of("income")["drops"]);
    assert_eq!(other["columns"][0]["drops"].as_array().unwrap().len(), 3);
    // The most important column comes first.
    let text = place.run("eval run --importance").succeeds().stdout;
    let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("importance:")).collect();
    assert!(table[0].contains("accuracy") && table[0].contains("(10 times)"), "{text}");
    assert!(table[2].trim_start().starts_with("income"), "{text}");
    place.run("eval run --repeats 3").fails(2, &["--importance"]);
    place.run("eval run --importance --repeats 0").fails(2, &["give 1 or more"]);
}

/// No threshold has a higher F1 on the validation samples than the chosen one.
#[test]
fn threshold_is_the_best_for_validation_samples() {
    let place = trained();
    place.run("eval run --split val --predictions val.csv").succeeds();
    let text = place.read("val.csv");
    let rows: Vec<(f64, bool)> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>())
        .map(|cells| (cells[4].parse().unwrap(), cells[1] == "1"))
        .collect();
    let f1 = |threshold: f64| {
        let count = |guess: bool, truth: bool| {
            rows.iter().filter(|row| (row.0 >= threshold) == guess && row.1 == truth).count()
        };
        2.0 * count(true, true) as f64 / (2 * count(true, true) + count(true, false) + count(false, true)) as f64
    };
    let best = rows.iter().map(|row| f1(row.0)).fold(0.0, f64::max);
    let found = place.run("eval run --split val --threshold f1 --json").succeeds().json()[0]["threshold"].clone();
    assert_eq!((number(&found["f1"]), f1(number(&found["threshold"]))), (best, best));
    assert_eq!((&found["chosen_on"], &found["positive_class"]), (&rows.len().into(), &"yes".into()));
    // It is the same when other rows are judged, whether those of the run or of a file.
    for judged in ["", "--split train", "--data loans.csv"] {
        let other = place.run(&format!("eval run {judged} --threshold f1 --json")).succeeds().json()[0].clone();
        assert_eq!(other["threshold"]["threshold"], found["threshold"], "{judged}");
        let all = ["true", "false"]
            .map(|right| ["positives", "negatives"].map(|kind| number(&other["threshold"][format!("{right}_{kind}")])));
        assert_eq!(all.iter().flatten().sum::<f64>(), number(&other["samples"]));
    }
    let careful = place.run("eval run --threshold cost:fp=9,fn=1 --json").succeeds().json()[0]["threshold"].clone();
    let eager = place.run("eval run --threshold cost:fp=1,fn=9 --json").succeeds().json()[0]["threshold"].clone();
    assert!(number(&careful["threshold"]) > number(&eager["threshold"]), "{careful} {eager}");
    // A number needs no validation samples.
    let text = place.run("eval run/model.safetensors --data loans.csv --threshold 0.3").succeeds().stdout;
    assert!(text.contains("threshold           0.3000 for 'yes'\n"), "{text}");
    place.run("eval run/model.safetensors --data loans.csv --threshold f1").fails(2, &["name the run's folder"]);
    place.run("eval run --threshold f2").fails(2, &["cost:fp=1,fn=5"]);
    // Predictions by a threshold are those that it was scored by.
    let threshold = number(&careful["threshold"]);
    let said = place.run(&format!("predict run loans.csv --threshold {threshold}")).succeeds().stdout;
    let predicted = said.lines().filter(|line| line.contains(",yes,0.") || line.contains(",yes,1,")).count();
    let scored = place.run(&format!("eval run --data loans.csv --threshold {threshold} --json")).succeeds().json()[0]
        ["threshold"]
        .clone();
    let expected = number(&scored["true_positives"]) + number(&scored["false_positives"]);
    assert_eq!(predicted as f64, expected, "{scored}");
    place.run("predict run loans.csv --threshold 1.5").fails(2, &["from 0 to 1"]);
    place.run("predict run loans.csv --temperature 0").fails(2, &["above 0"]);
    place.run("plot run --what residuals").fails(1, &["does not predict numbers"]);
}

#[test]
fn temperature_lowers_the_loss_of_the_samples_it_was_fitted_to() {
    let place = trained();
    let found = place.run("eval run --split val --temperature --json").succeeds().json()[0].clone();
    let (before, after) = (&found["temperature"]["log_loss_before"], &found["temperature"]["log_loss"]);
    assert_eq!(*before, found["log_loss"]);
    assert!(number(after) <= number(before), "{found}");
    let test = place.run("eval run --temperature --json").succeeds().json()[0].clone();
    assert_eq!(test["temperature"]["temperature"], found["temperature"]["temperature"]);
    let text = place.run("eval run --temperature").succeeds().stdout;
    assert!(text.contains("temperature         ") && text.contains("calibration error 0."), "{text}");
    // Honest probabilities have the log-loss that was promised.
    let temperature = number(&found["temperature"]["temperature"]);
    let judged = place.run("eval run --data loans.csv --temperature --json").succeeds().json()[0].clone();
    let said = place.run(&format!("predict run loans.csv --temperature {temperature}")).succeeds().stdout;
    let text = place.read("loans.csv");
    let losses: Vec<f64> = said
        .lines()
        .zip(text.lines())
        .skip(1)
        .map(|(line, given)| {
            let cells: Vec<&str> = line.split(',').collect();
            let place = cells.len() - if given.ends_with("yes") { 1 } else { 2 };
            -cells[place].parse::<f64>().unwrap().ln()
        })
        .collect();
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    assert!((mean - number(&judged["temperature"]["log_loss"])).abs() < 1e-5, "{mean} {judged}");
}

#[test]
fn numbers_have_pictures_and_quantiles_a_coverage() {
    let place = Place::new();
    let mut text = "area,street,price\n".to_string();
    for i in 0..300 {
        let (area, street) = (40 + i * 29 % 97, i % 4);
        let price = 1000 * area + 9000 * street + i * 61 % 20_000;
        let _ = writeln!(text, "{area},{},{price}", ["Aleksi", "Bulevardi", "Esplanadi", "Mannerheim"][street]);
    }
    place.write("houses.csv", text);
    let train = format!("train --data houses.csv --target price {QUICK}");
    place.run(&format!("{train} --loss quantile:q=0.9 --out high")).succeeds();
    let judged = place.run("eval high --split train --json").succeeds().json()[0]["quantiles"]["price"].clone();
    assert_eq!(judged["quantile"], 0.9);
    assert!((number(&judged["coverage"]) - 0.9).abs() < 0.08, "{judged}");
    let said = place.run("eval high").succeeds().stdout;
    assert!(said.contains("quantile 0.9 of price:"), "{said}");
    place.run("eval high --threshold f1").fails(2, &["one of several classes"]);
    place.run("eval high --threshold 0.5").fails(2, &["one of two classes"]);
    place.run("eval high --temperature").fails(2, &["one of several classes"]);
    for flags in
        ["--what predicted", "--what residuals", "--what importance", "--dependence area", "--dependence street"]
    {
        let made = place.run(&format!("plot high {flags}")).succeeds().stdout;
        let png = std::fs::read(place.path(made.trim())).unwrap();
        assert_eq!(png[1..4], *b"PNG", "{flags}");
    }
    place.run("plot high --dependence street -o street.svg").succeeds();
    let svg = place.read("street.svg");
    assert!(["Aleksi", "Mannerheim", "mean predicted price by street"].iter().all(|text| svg.contains(text)), "{svg}");
    place.run("plot high --dependence aera").fails(2, &["did you mean 'area'"]);
    place.run("plot high --dependence area --what curves").fails(2, &["--what"]);
    place.run("plot high --dependence area --smooth 0.5").fails(2, &["no effect on --dependence"]);
    place.run("report high -o page.html").succeeds();
    let page = place.read("page.html");
    for part in ["true against predicted", "residuals", "importance of columns"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_network_of_images_has_no_columns() {
    let place = Place::new();
    place.run("train --data digits --epochs 1 --hidden 8 --quiet --out digits").succeeds();
    place.run("eval digits --importance").fails(1, &["not trained on a table"]);
    place.run("plot digits --dependence area").fails(1, &["not trained on a table"]);
    place.run("eval digits --threshold youden").fails(2, &["for two classes, and these are 10"]);
    place.run("eval digits --temperature").succeeds();
}
