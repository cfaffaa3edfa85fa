//! `cargo xtask python`: builds the Python package's wheel, and tests it as people will have it: installed.
//!
//! 1. In an empty environment, with NumPy alone: it trains, the command runs, and importing takes how long.
//! 2. Beside scikit-learn, pandas, Polars, Arrow and PyTorch: its tests, its doctests, its types, and what
//!    packaging tools say of it.
//! 3. The notebooks: up to date, and run in both of their forms on few epochs.
//! 4. Beside the oldest scikit-learn that is supported: the tests of the estimators.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;

use crate::python::{said, sh, venv};

#[derive(ClapArgs)]
pub struct Args {
    /// Build the wheel as it is published, which takes twice as long, and check its size.
    #[arg(long)]
    publish: bool,
}

/// What the tests need beside the wheel.
const PACKAGES: &str = include_str!("../../python/tests/requirements.txt");

/// The oldest scikit-learn that the estimators work with, and what it needs.
const OLDEST: [&str; 5] = ["scikit-learn==1.6.*", "numpy", "pandas", "polars", "pytest"];

/// The most bytes that a published wheel may have.
const MOST_BYTES: u64 = 12_000_000;

pub fn run(args: &Args) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let (work, source) = (root.join("target/python"), root.join("python"));
    let wheels = work.join("wheels");
    if wheels.exists() {
        fs::remove_dir_all(&wheels).with_context(|| format!("cannot remove {}", wheels.display()))?;
    }
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;

    println!("== the wheel");
    let builder = venv(&work.join("build"), &["maturin>=1.14,<2"])?;
    // As this program was built. For CI that is as its tests were, and most is there.
    let profile = match (args.publish, cfg!(debug_assertions)) {
        (true, _) => "wheel",
        (false, true) => "dev",
        (false, false) => "release",
    };
    let build = ["-m", "maturin", "build", "--quiet", "--profile", profile, "--out"];
    sh(Command::new(&builder).args(build).arg(&wheels).current_dir(&source))?;
    let wheel = only_file(&wheels)?;
    let bytes = fs::metadata(&wheel)?.len();
    println!("{}: {:.1} MB", wheel.file_name().unwrap_or_default().display(), bytes as f64 / 1e6);
    if args.publish && bytes > MOST_BYTES {
        bail!("the wheel has {bytes} bytes, more than {MOST_BYTES}");
    }

    println!("== in an empty environment");
    let empty = work.join("empty");
    if empty.exists() {
        fs::remove_dir_all(&empty)?;
    }
    let python = venv(&empty, &[&wheel.display().to_string()])?;
    let trains = "import syva; print(syva.train('digits', epochs=1))";
    println!("{}", said(Command::new(&python).args(["-c", trains]).current_dir(&work))?.trim());
    let command = python.with_file_name(if cfg!(windows) { "syva.exe" } else { "syva" });
    println!("{}", said(Command::new(command).arg("--version"))?.trim());
    let imports =
        "import time, numpy; t = time.perf_counter(); import syva; print(f'{1e3 * (time.perf_counter() - t):.1f}')";
    let mut times = Vec::new();
    for _ in 0..5 {
        let text = said(Command::new(&python).args(["-c", imports]).current_dir(&work))?;
        times.push(text.trim().parse::<f64>().with_context(|| format!("'{text}' is no time"))?);
    }
    times.sort_by(f64::total_cmp);
    println!("importing syva after NumPy: {} ms", times[2]);

    println!("== beside scikit-learn, pandas, Polars, Arrow and PyTorch");
    let packages: Vec<&str> = PACKAGES.lines().filter(|line| !line.starts_with('#')).collect();
    let python = venv(&root.join("target/verify/venv"), &packages)?;
    install(&python, &wheel)?;
    let module = |words: &[&str]| {
        let mut command = Command::new(&python);
        // Not where the sources are, so that the installed package is imported.
        command.arg("-m").args(words).current_dir(&work);
        command
    };
    let tests = source.join("tests");
    sh(module(&["pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-rs"]).arg(&tests))?;
    sh(&mut module(&[
        "pytest",
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "--doctest-modules",
        "--pyargs",
        "syva",
    ]))?;
    sh(&mut module(&["mypy.stubtest", "syva._native"]))?;
    sh(module(&["mypy"]).arg(source.join("syva")).arg("--config-file").arg(source.join("pyproject.toml")))?;
    sh(module(&["ruff", "check", "--quiet"]).arg(&source))?;
    sh(module(&["ruff", "format", "--check", "--quiet"]).arg(&source))?;
    sh(module(&["abi3audit", "--strict"]).arg(&wheel))?;
    if cfg!(target_os = "linux") {
        println!("{}", said(module(&["auditwheel", "show"]).arg(&wheel))?.trim());
    }
    sh(module(&["twine", "check", "--strict"]).arg(&wheel))?;

    println!("== notebooks");
    let notebooks = source.join("tools/notebooks.py");
    sh(Command::new(&python).arg(&notebooks).arg("--check").current_dir(&work))?;
    sh(Command::new(&python).arg(&notebooks).arg("--run").current_dir(&work))?;

    println!("== beside the oldest scikit-learn");
    let python = venv(&work.join("oldest"), &OLDEST)?;
    install(&python, &wheel)?;
    let words = ["-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-rs"];
    sh(Command::new(&python).args(words).arg(tests.join("test_estimators.py")).current_dir(&work))?;
    println!("the Python package is all right");
    Ok(())
}

/// Installs a wheel in place of another of the same version.
fn install(python: &Path, wheel: &Path) -> Result<()> {
    let words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--force-reinstall", "--no-deps"];
    sh(Command::new(python).args(words).arg(wheel))
}

/// The only file in a folder.
fn only_file(folder: &Path) -> Result<PathBuf> {
    let files: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    match &files[..] {
        [one] => Ok(one.clone()),
        _ => bail!("{} has {} files, and one was expected", folder.display(), files.len()),
    }
}
