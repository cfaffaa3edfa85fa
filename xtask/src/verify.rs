//! `cargo xtask verify`: checks that TensorBoard, PyTorch, ONNX Runtime, scikit-learn and torchmetrics read what Syvä writes,
//! and agree with it.
//!
//! Makes a virtual environment with them in target/verify, trains for a few seconds, and lets the Python programs of
//! `xtask/verify` read and compare the results.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use prost::Message;
use serde_json::Value;

use crate::exports::Exports;
use crate::python::{said, sh, venv};

/// The packages of the virtual environment.
const PACKAGES: &str = include_str!("../verify/requirements.txt");

pub fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let work = root.join("target/verify");
    let logs = work.join("logs");
    if logs.exists() {
        fs::remove_dir_all(&logs).with_context(|| format!("cannot remove {}", logs.display()))?;
    }
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let packages: Vec<&str> = PACKAGES.lines().filter(|line| !line.starts_with('#')).collect();
    let python = venv(&work.join("venv"), &packages)?;
    let script = |name: &str| root.join("xtask/verify").join(name);

    let cargo = || Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    // As this program was built. For CI that is as its tests were, and most is there.
    let (build, built) = if cfg!(debug_assertions) {
        ("build --workspace --bins --examples", "target/debug")
    } else {
        ("build --release -p syva-cli -p syva-tensorboard --bins --examples", "target/release")
    };
    let built = root.join(built);
    sh(cargo().args(build.split(' ')).current_dir(&root))?;
    let syva = built.join("syva");

    println!("== TensorBoard");
    fs::write(logs.join("messages.bin"), crate::proto::compile()?.encode_to_vec())?;
    sh(Command::new(built.join("examples/everything")).arg(logs.join("example/everything")))?;
    let run = logs.join("runs/run");
    let train = ["train", "--data", "digits", "--epochs", "12", "--lr", "0.1", "--quiet", "--out"];
    sh(Command::new(&syva).args(train).arg(&run))?;
    let resumed = logs.join("resumed/run");
    let train = "train --data digits --hidden 16 --lr 0.1 --init he-normal --head log-softmax --seed 3 --epochs 2 --quiet --out";
    sh(Command::new(&syva).args(train.split(' ')).arg(&resumed))?;
    sh(Command::new(&syva).arg("resume").arg(&resumed).args(["--epochs", "4", "--keep", "best", "--quiet"]))?;
    sh(Command::new(&python).arg(script("tensorboard_check.py")).arg(&logs))?;

    println!("== PyTorch");
    // Syvä reads PyTorch's event files.
    let pytorch = work.join("pytorch");
    if pytorch.exists() {
        fs::remove_dir_all(&pytorch)?;
    }
    sh(Command::new(&python).arg(script("pytorch_log.py")).arg(&pytorch))?;
    for (metric, wanted) in [
        ("loss", ["Loss_train_vs_val_train", "Loss_train_vs_val_val"]),
        ("acc", ["Accuracy_train_vs_val_train", "Accuracy_train_vs_val_val"]),
    ] {
        let picture = work.join(format!("{metric}.svg"));
        sh(Command::new(&syva).arg("plot").arg(&pytorch).args(["--metric", metric, "--out"]).arg(&picture))?;
        let svg = fs::read_to_string(&picture)?;
        if let Some(missing) = wanted.iter().find(|name| !svg.contains(**name)) {
            bail!("{} does not show {missing} of PyTorch's log", picture.display());
        }
    }
    // PyTorch reads Syvä's models.
    match std::env::var_os("SYVA_MNIST_DIR") {
        None => println!("skipped: a model in PyTorch (SYVA_MNIST_DIR does not name MNIST's folder)"),
        Some(mnist) => {
            let run = logs.join("mnist");
            sh(Command::new(&syva).args(["train", "--data", "mnist", "--epochs", "3", "--quiet", "--out"]).arg(&run))?;
            let ours: Value = serde_json::from_str(&said(Command::new(&syva).arg("eval").arg(&run).arg("--json"))?)?;
            let check = root.join("crates/syva/tests/pytorch/check_model.py");
            let model = run.join("model.safetensors");
            let theirs = said(Command::new(&python).arg(check).arg(model).arg(mnist))?;
            print!("{theirs}");
            let loss = theirs.split("mean loss ").nth(1).and_then(|loss| loss.trim().parse::<f64>().ok());
            match (loss, ours["loss"].as_f64()) {
                (Some(theirs), Some(ours)) if (theirs - ours).abs() <= 2e-6 => {}
                found => bail!("PyTorch's loss and ours differ: {found:?}"),
            }
        }
    }

    println!("== scores");
    // Also for a network that gives all classes the same probability.
    let equal = logs.join("equal");
    let train = "train --data digits --hidden none --init zeros --lr 1e-30 --epochs 1 --quiet --out";
    sh(Command::new(&syva).args(train.split(' ')).arg(&equal))?;
    for run in [run, equal] {
        let (table, report) = (work.join("predictions.csv"), work.join("eval.json"));
        let eval = said(Command::new(&syva).arg("eval").arg(&run).arg("--json").arg("--predictions").arg(&table))?;
        fs::write(&report, eval)?;
        sh(Command::new(&python).arg(script("scores.py")).arg(table).arg(report))?;
    }

    println!("== exported models in ONNX Runtime and PyTorch");
    let (script, work) = (script("exchange.py"), work.join("exports"));
    Exports { syva: &syva, python: &python, script, work, comparisons: Vec::new() }.all()
}
