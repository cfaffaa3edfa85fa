//! `cargo xtask verify`: what we write, read by the programs that it is for: TensorBoard, scikit-learn, torchmetrics.
//!
//! Makes a virtual environment in target/verify and installs them there, trains for a few seconds, and lets the Python
//! programs of `xtask/verify` ask and compare.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use prost::Message;

/// What the virtual environment holds. Not pinned: it is the newest that people will use.
const PACKAGES: [&str; 6] = ["tensorboard>=2.21", "pillow", "scikit-learn", "torch", "torchmetrics", "setuptools<81"];

pub fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let work = root.join("target/verify");
    let logs = work.join("logs");
    if logs.exists() {
        fs::remove_dir_all(&logs).with_context(|| format!("cannot remove {}", logs.display()))?;
    }
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let python = python(&work)?;
    let script = |name: &str| root.join("xtask/verify").join(name);

    let cargo = || Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    let build = ["build", "--release", "-p", "syva-cli", "-p", "syva-tensorboard", "--bins", "--examples"];
    sh(cargo().args(build).current_dir(&root))?;
    let syva = root.join("target/release/syva");

    println!("== TensorBoard");
    fs::write(logs.join("messages.bin"), crate::proto::compile()?.encode_to_vec())?;
    sh(Command::new(root.join("target/release/examples/everything")).arg(logs.join("everything")))?;
    let run = logs.join("run");
    let train = ["train", "--data", "digits", "--epochs", "12", "--lr", "0.1", "--quiet", "--out"];
    sh(Command::new(&syva).args(train).arg(&run))?;
    sh(Command::new(&python).arg(script("tensorboard_check.py")).arg(&logs))?;

    println!("== scores");
    let (table, report) = (work.join("predictions.csv"), work.join("eval.json"));
    let eval = Command::new(&syva).arg("eval").arg(&run).arg("--json").arg("--predictions").arg(&table).output()?;
    if !eval.status.success() {
        bail!("syva eval failed: {}", String::from_utf8_lossy(&eval.stderr));
    }
    fs::write(&report, eval.stdout)?;
    sh(Command::new(&python).arg(script("scores.py")).arg(table).arg(report))
}

/// The virtual environment's interpreter, made and filled if need be.
fn python(work: &Path) -> Result<PathBuf> {
    let venv = work.join("venv");
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if !python.exists() {
        sh(Command::new(if cfg!(windows) { "python" } else { "python3" }).args(["-m", "venv"]).arg(&venv))?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    sh(Command::new(&python).args(pip).args(PACKAGES))?;
    Ok(python)
}

/// Runs a program to its end; it must succeed.
fn sh(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} failed ({status})", command.get_program().display());
    }
    Ok(())
}
