//! The program on the real MNIST and Fashion-MNIST.
//!
//! This has its own main, so that its tests are visibly marked and counted as ignored if SYVA_MNIST_DIR names no
//! folder, or SYVA_FASHION_MNIST_DIR none and Debian's package `dataset-fashion-mnist` is not installed.

mod common;

use std::path::PathBuf;

use common::{Place, Ran};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

fn main() {
    let missing = std::env::var_os("SYVA_MNIST_DIR").is_none_or(|dir| dir.is_empty());
    let note = if missing { " (needs SYVA_MNIST_DIR)" } else { "" };
    let found = Trial::test(format!("mnist is found where it is named{note}"), is_found_where_it_is_named);
    let note = if fashion().is_none() { " (needs SYVA_FASHION_MNIST_DIR)" } else { "" };
    let trains =
        Trial::test(format!("fashion-mnist is trained on, with its classes' names{note}"), fashion_is_trained_on);
    let trials = vec![found.with_ignored_flag(missing), trains.with_ignored_flag(fashion().is_none())];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn fashion() -> Option<PathBuf> {
    let named = std::env::var_os("SYVA_FASHION_MNIST_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    named.or_else(|| Some("/usr/share/datasets/fashion-mnist".into()).filter(|dir: &PathBuf| dir.is_dir()))
}

fn fashion_is_trained_on() -> Result<(), Failed> {
    let dir = fashion().ok_or("there is none")?;
    let place = Place::new();
    let syva = |line: &str| {
        Ran::new(place.syva(line.split(' ')).env("SYVA_FASHION_MNIST_DIR", &dir).output().unwrap()).succeeds()
    };
    let info = syva("data info --data fashion-mnist").stdout;
    assert!(info.contains("0.2860   0.3530") && info.contains("Sneaker, Bag, Ankle boot"), "{info}");
    syva("train --data fashion-mnist --hidden none --batch-size 256 --epochs 2 --lr 0.05 --quiet --out run");
    let scores: Value = serde_json::from_str(&syva("eval run --json").stdout).unwrap();
    assert_eq!(scores["classes"][9], "Ankle boot");
    // A linear model; 81 % after two epochs.
    assert!(scores["accuracy"].as_f64().unwrap() > 0.78, "{scores}");
    syva("plot run --what misread");
    // The folder can be named with a flag, and a run finds it again.
    let by_flag = place.syva(["data", "info", "--data", "fashion-mnist", "--data-dir"]).arg(&dir).output()?;
    assert_eq!(Ran::new(by_flag).succeeds().stdout, info);
    let ran = Ran::new(place.syva(["train", "--data", "mnist", "--data-dir"]).arg(&dir).output()?);
    ran.fails(1, &["it is a file of Fashion-MNIST, not of MNIST; train on it with --data fashion-mnist"]);
    syva("resume run --epochs 3 --quiet");
    Ok(())
}

fn is_found_where_it_is_named() -> Result<(), Failed> {
    let dir = std::env::var_os("SYVA_MNIST_DIR").ok_or("SYVA_MNIST_DIR is not set")?;
    let place = Place::new();
    let by_variable = Ran::new(place.syva(["data", "info"]).env("SYVA_MNIST_DIR", &dir).output()?).succeeds();
    let by_flag = Ran::new(place.syva(["data", "info", "--data-dir"]).arg(&dir).output()?).succeeds();
    assert!(by_flag.stdout.starts_with("mnist  784 features"), "{}", by_flag.stdout);
    assert_eq!(by_flag.stdout, by_variable.stdout);
    assert_eq!(by_flag.stderr, "");
    // As a folder of IDX files it is any set of images.
    let by_folder = Ran::new(place.syva(["data", "info", "--data"]).arg(&dir).output()?).succeeds();
    let samples = |text: &str| text.lines().filter(|line| line.contains("0.13")).collect::<Vec<_>>().join("\n");
    assert_eq!(samples(&by_folder.stdout).lines().count(), 2);
    assert_eq!(samples(&by_folder.stdout), samples(&by_flag.stdout));
    Ok(())
}
