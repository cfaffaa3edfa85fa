//! `syva bench`: its figures are consistent, and it trains what `syva train` trains. Speed is never tested.

mod common;

use common::{Place, SMALL};
use serde_json::Value;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn the_figures_belong_together_and_the_losses_are_those_of_train() {
    let place = Place::new();
    let args = ["bench", "--epochs", "2", "--json", "--markdown", "report.md"];
    let ran = common::Ran::new(place.syva(args.into_iter().chain(SMALL)).output().unwrap()).succeeds();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let device = &report["devices"][0];
    assert_eq!(device["device"], "cpu");

    let times: Vec<f64> = device["epoch_seconds"].as_array().unwrap().iter().map(number).collect();
    assert_eq!(times.len(), 2);
    let median = number(&device["median_epoch_seconds"]);
    assert!(
        times.iter().all(|&time| time > 0.0) && (times[0].min(times[1])..=times[0].max(times[1])).contains(&median)
    );
    // 784 to 10, forward and weight gradient. All of it is done if inputs are read dense, less if zeros are skipped.
    let dense = 2.0 * 7840.0 * 60_000.0;
    assert_eq!(number(&device["dense_multiply_adds"]), dense);
    assert!((number(&device["dense_flops"]) * median / (2.0 * dense) - 1.0).abs() < 1e-9);
    assert!(number(&device["peak_flops"]) > 0.0);
    let parts = device["breakdown"]["parts"].as_array().unwrap();
    let busy: f64 = parts.iter().map(|part| number(&part["seconds"])).sum();
    let all = number(&device["breakdown"]["seconds"]) * number(&device["breakdown"]["threads"]);
    assert!((busy + number(&device["breakdown"]["waiting_seconds"]) - all).abs() < 1e-6 * all);
    assert!(parts.iter().all(|part| number(&part["seconds"]) > 0.0), "{parts:?}");

    let train = place.syva(["train", "--epochs", "3", "--json", "--out", "run"].into_iter().chain(SMALL));
    let trained = common::Ran::new({ train }.output().unwrap()).succeeds();
    let epochs = trained.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let losses: Vec<f64> = epochs.filter_map(|epoch| epoch["train_loss"].as_f64()).take(3).collect();
    let timed: Vec<f64> = device["train_loss"].as_array().unwrap().iter().map(number).collect();
    assert_eq!(timed.len(), 3);
    for (timed, trained) in timed.iter().zip(losses) {
        assert!((timed / trained - 1.0).abs() < 1e-12, "{timed} instead of {trained}");
    }

    let markdown = place.read("report.md");
    assert!(markdown.contains("| waiting |") && markdown.contains("## Devices") && !markdown.contains("(chapter)"));
    for table in markdown.split("\n\n").filter(|block| block.starts_with('|')) {
        let columns = |line: &str| line.matches('|').count();
        assert!(table.lines().all(|line| columns(line) == columns(table.lines().next().unwrap())), "{table}");
    }
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let place = Place::new();
    for (flags, says) in [
        ("--epochs 0", "epochs: 0 epochs cannot be timed"),
        ("--batch-size 0", "batch-size: a batch cannot have 0 samples"),
        ("--device abacus", "device: there is no device 'abacus' here"),
        ("--threads 0", "threads: 0 threads cannot work"),
        ("--hidden 0", "positive numbers separated by commas"),
    ] {
        place.run(&format!("bench --data digits {flags}")).fails(2, &[says]);
    }
    let diverged = "bench --data digits --hidden 16 --activation relu --lr 1e30 --epochs 1";
    place.run(diverged).fails(1, &["is not finite", "lower --lr"]);
    place
        .run("bench --data digits --hidden none --batch-size 4096 --epochs 1 --markdown no/such/folder/x.md")
        .fails(1, &["no/such/folder"]);
}

#[test]
fn a_sweep_times_twenty_shapes_and_its_figures_agree() {
    let place = Place::new();
    let ran = place.run("bench --sweep --data digits --device cpu --json --markdown sweep.md").succeeds();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let device = &report["devices"][0];
    assert!(number(&device["peak_flops"]) > 0.0 && number(&device["bandwidth"]) > 0.0);
    let shapes = device["shapes"].as_array().unwrap();
    assert_eq!(shapes.len(), 20);
    for shape in shapes {
        let widths = shape["hidden"].as_array().unwrap().iter().map(number);
        let widths: Vec<f64> = [784.0].into_iter().chain(widths).chain([10.0]).collect();
        let weights: f64 = widths.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let (batch, step) = (number(&shape["batch_size"]), number(&shape["step_seconds"]));
        // The first layer has no input gradient.
        let dense = 2.0 * batch * (3.0 * weights - widths[0] * widths[1]);
        assert!((number(&shape["dense_flops"]) * step / dense - 1.0).abs() < 1e-9, "{shape}");
        assert!((number(&shape["samples_per_second"]) * step / batch - 1.0).abs() < 1e-9, "{shape}");
        // A fifth of the pixels is not zero, so less is computed.
        assert!((0.0..=1.0).contains(&(number(&shape["flops"]) / number(&shape["dense_flops"]))), "{shape}");
    }
    let table = place.read("sweep.md");
    assert_eq!(table.lines().filter(|line| line.starts_with("| ") && line.contains(" µs | ")).count(), 20, "{table}");
    place.run("bench --sweep --hidden 16").fails(2, &["cannot be used with"]);
}
