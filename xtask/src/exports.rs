//! Exported models in ONNX Runtime and as PyTorch code, for `cargo xtask verify`: each activation, head, scaling and transform on
//! a small table, real tables (`SYVA_TABLES_DIR`) also with the networks of `--preset tabular`, and images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use syva::Activation;

use crate::python::{said, sh};

/// Compares exported models with what `syva predict` says.
pub struct Exports<'a> {
    /// The program.
    pub syva: &'a Path,
    /// An interpreter that has PyTorch, ONNX Runtime and pandas.
    pub python: &'a Path,
    /// The program in Python that compares.
    pub script: PathBuf,
    /// A folder to work in.
    pub work: PathBuf,
    /// What is to be compared: one program in Python does it at the end, because importing PyTorch takes seconds.
    pub comparisons: Vec<Value>,
}

/// A small network, and few epochs.
const SMALL: &str = "--epochs 3 --hidden 32,16";

/// Real tables, and networks on them.
const TABLES: [(&str, &str); 16] = [
    ("auto.csv", "--target mpg --activation gelu"),
    ("ames.csv.gz", "--target Sale_Price --target-transform log --scaling quantile --activation silu"),
    ("adult.csv.gz", "--target income --activation relu --scaling standard"),
    ("california.parquet", "--target MedHouseVal --head gaussian --activation tanh"),
    ("telescope.tsv", "--target Class --head binary --activation selu"),
    ("bank.csv", "--target y --activation parametric-mish"),
    ("credit.csv", "--target Status --activation prelu --head log-softmax"),
    ("concrete.csv", "--target compressive_strength --target-transform quantile --activation elu"),
    ("letter.csv.gz", "--target lettr --activation hard-swish"),
    ("satellite.npz", "--target y --activation softplus:beta=2"),
    ("soybean.csv", "--target Class --activation gelu-tanh"),
    ("votes.csv", "--target Class --scaling none --activation sigmoid"),
    ("pima.csv", "--target diabetes --scaling quantile --activation hard-sigmoid"),
    ("spam.parquet", "--target type"),
    ("hitters.csv", "--target Salary,Hits --task regression"),
    ("diamonds.parquet", "--target price --target-transform log --loss mae"),
];

/// Tables on which the networks are those of `--preset tabular`: numbers and their cosines, categories only, many classes, and
/// targets that are transformed.
const WITH_PRESET: [(&str, &str); 6] = [
    ("auto.csv", "--target mpg"),
    ("ames.csv.gz", "--target Sale_Price --target-transform log"),
    ("concrete.csv", "--target compressive_strength --target-transform quantile"),
    ("letter.csv.gz", "--target lettr"),
    ("soybean.csv", "--target Class"),
    ("spam.parquet", "--target type"),
];

impl Exports<'_> {
    /// Runs all comparisons.
    pub fn all(&mut self) -> Result<()> {
        if self.work.exists() {
            fs::remove_dir_all(&self.work)?;
        }
        fs::create_dir_all(&self.work)?;
        let table = self.work.join("made.csv");
        fs::write(&table, made_table())?;
        let activations: Vec<String> =
            Activation::ALL.iter().filter(|&&a| a != Activation::Identity).map(ToString::to_string).collect();
        for name in activations.iter().map(String::as_str).chain(["prelu", "parametric-selu"]) {
            let plain = "--recipe tabular-plain --target kind --ignore price,warm,dry";
            self.table(&table, &format!("{plain} --activation {name} {SMALL}"))?;
        }
        for flags in [
            "--recipe tabular-plain --target warm --ignore kind,price,dry --head binary --scaling none",
            "--recipe tabular-plain --target warm,dry --ignore kind,price --scaling quantile",
            "--recipe tabular-plain --target price --ignore kind,warm,dry --head gaussian --scaling standard",
            "--target price --ignore kind,warm,dry --head poisson",
            "--target kind --ignore price,warm,dry --embed-above 2",
            "--target price --ignore kind,warm,dry --target-transform log",
            "--target price --ignore kind,warm,dry --embedding piecewise:bins=5",
            "--target price --ignore kind,warm,dry --target-transform quantile",
        ] {
            self.table(&table, &format!("{flags} {SMALL}"))?;
        }
        match std::env::var_os("SYVA_TABLES_DIR") {
            None => println!("skipped: real tables (SYVA_TABLES_DIR does not name their folder)"),
            Some(folder) => {
                for (name, flags) in TABLES {
                    self.table(&Path::new(&folder).join(name), &format!("{flags} {SMALL}"))?;
                }
                for (name, flags) in WITH_PRESET {
                    self.table(&Path::new(&folder).join(name), &format!("{flags} --preset tabular --epochs 2"))?;
                }
            }
        }
        let idx = self.work.join("idx");
        sh(Command::new(self.syva).args(["data", "export", "--data", "digits", "--out"]).arg(&idx))?;
        self.images("--data digits", &idx.join("t10k-images-idx3-ubyte"))?;
        match std::env::var_os("SYVA_MNIST_DIR") {
            None => println!("skipped: MNIST (SYVA_MNIST_DIR does not name its folder)"),
            Some(mnist) => {
                let names = ["t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz"];
                let Some(images) = names.iter().map(|name| Path::new(&mnist).join(name)).find(|path| path.exists())
                else {
                    bail!("{} has no test images", mnist.display());
                };
                self.images("--data mnist --activation relu", &images)?;
            }
        }
        let comparisons = self.work.join("comparisons.json");
        fs::write(&comparisons, serde_json::to_string(&self.comparisons)?)?;
        sh(Command::new(self.python).arg(&self.script).arg(&comparisons))
    }

    /// Trains a network on a table for a few epochs, to compare what it predicts for the table's rows.
    fn table(&mut self, table: &Path, flags: &str) -> Result<()> {
        let (run, predictions) = self.next(".csv")?;
        let train = "--quiet --no-tensorboard --out";
        let mut command = Command::new(self.syva);
        command.arg("train").arg("--data").arg(table).args(flags.split(' ')).args(train.split(' ')).arg(&run);
        said(&mut command).with_context(|| flags.to_string())?;
        said(Command::new(self.syva).arg("predict").arg(&run).arg(table).arg("--out").arg(&predictions))?;
        let name = table.file_name().unwrap_or_default().display();
        self.export(&format!("{name} {flags}"), &run, &json!({ "table": predictions }))
    }

    fn images(&mut self, flags: &str, images: &Path) -> Result<()> {
        let (run, predictions) = self.next(".jsonl")?;
        let train = "--epochs 1 --quiet --no-tensorboard --out";
        said(Command::new(self.syva).arg("train").args(flags.split(' ')).args(train.split(' ')).arg(&run))?;
        let predict =
            Command::new(self.syva).arg("predict").arg(&run).arg(images).args(["--as-is", "--json"]).output()?;
        fs::write(&predictions, predict.stdout)?;
        self.export(flags, &run, &json!({ "images": images, "predictions": predictions }))
    }

    /// A folder for the next network's run, and a file for its predictions.
    fn next(&self, ending: &str) -> Result<(PathBuf, PathBuf)> {
        let folder = self.work.join(self.comparisons.len().to_string());
        fs::create_dir(&folder)?;
        Ok((folder.join("run"), folder.join(format!("predictions{ending}"))))
    }

    /// Exports a run in every form.
    fn export(&mut self, what: &str, run: &Path, data: &Value) -> Result<()> {
        let file = |name: &str| run.with_file_name(name);
        for (name, flags) in [("exact.onnx", &[][..]), ("fast.onnx", &["--fast"]), ("network.py", &[])] {
            said(Command::new(self.syva).arg("export").arg(run).args(flags).arg("--out").arg(file(name)))
                .with_context(|| what.to_string())?;
        }
        let weights = run.join("model.safetensors");
        let onnx = [file("exact.onnx"), file("fast.onnx")];
        self.comparisons.push(json!({
            "what": what, "data": data, "onnx": onnx, "pytorch": file("network.py"), "weights": weights,
        }));
        Ok(())
    }
}

/// A table that has all kinds of columns, with gaps, and all kinds of targets.
fn made_table() -> String {
    let mut text = "size,street,heating,built,kind,price,warm,dry\n".to_string();
    for i in 0..240_usize {
        let (size, street, heating) = (i * 37 % 101, i * 7 % 4, i * 13 % 3);
        let built = format!("20{:02}-{:02}-{:02} {:02}:30", i % 20, i % 12 + 1, i % 28 + 1, i % 24);
        let gap = |every: usize, cell: String| if i % every == 0 { String::new() } else { cell };
        let street_name = ["Aleksi", "\"Bulevardi, south\"", "Esplanadi", "Ännän katu"][street];
        text += &format!(
            "{},{},{},{},{},{},{},{}\n",
            gap(13, format!("{size}.25")),
            gap(17, street_name.into()),
            if heating == 2 { "gas" } else { "wood" },
            gap(11, built),
            ["house", "flat", "tent"][(size + street) % 3],
            1 + size * 3 + street * 20,
            u8::from(size > 50),
            if street > 1 { "yes" } else { "no" }
        );
    }
    text
}
