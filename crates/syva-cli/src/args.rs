//! The command line, as clap reads it.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use syva::data::source::Source;
use syva::data::{Dataset, Task};
use syva::{DeviceId, Engine, EngineOptions, Result};

use crate::images::ImageArgs;
use crate::settings::{Fixed, Settings};
use crate::tables::{DataArg, Names, ReadArgs};
use crate::values::{at_least_one, flag, number, seconds};

/// Trains deep fully connected networks: fast, and to the same bits on every machine.
#[derive(Debug, Parser)]
#[command(name = "syva", version, propagate_version = true, max_term_width = 110, after_help = CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a network; without flags the 784-256-128-10 network on MNIST for 100 epochs
    Train(TrainArgs),
    /// Continue a run that was stopped, or add epochs to a finished run
    Resume(ResumeArgs),
    /// Follow a run in the terminal while it trains elsewhere
    Top(TopArgs),
    /// Evaluate a model or a run on validation or test data
    Eval(EvalArgs),
    /// Find a learning rate to begin with, by training with rates that rise until the loss explodes
    LrFind(LrFindArgs),
    /// Time epochs, and show how the time of a step is spent
    Bench(BenchArgs),
    /// Classify images with the probabilities of the classes, or predict the rows of a table
    Predict(PredictArgs),
    /// Answer with predictions over HTTP, as JSON
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    /// Make a model of a network's weights as PyTorch stores them
    Import(ImportArgs),
    /// Write a model for other programs: as ONNX, or as PyTorch code
    Export(ExportArgs),
    /// Draw curves, confusion matrix, weights, misread images or the network, as PNG or SVG
    Plot(PlotArgs),
    /// Show what a small network computes for one sample, unit by unit: forward, the loss, and backward
    Explain(ExplainArgs),
    /// Count and draw the linear regions of a network whose activations are linear in pieces, such as ReLU
    Regions(RegionsArgs),
    /// Compare runs in one HTML file
    Report(ReportFileArgs),
    /// Show a network's layers, parameters, memory and work
    Summary(SummaryArgs),
    /// Inspect, export or download data
    Data(DataArgs),
    /// List the devices of this machine, and check them
    Devices(DevicesArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        #[arg(ignore_case = true)]
        shell: Shell,
    },
}

/// Said below the flags of what trains.
const LINES: &str = "Prints a line per epoch, or for every tenth epoch if there are more than 20; RUN/metrics.jsonl has \
                     all of them. Ctrl-C, or q in the dashboard, stops the training and saves it (exit code 130). \
                     Other signals, such as TERM, HUP and USR1, do the same (exit code 128 plus the signal's number).";

/// Said below the commands.
const CODES: &str = "Exit codes: 0 success; 1 failure; 2 wrong usage (a flag, a settings file, the environment); 130 \
                     training stopped by Ctrl-C or q, and saved; 128 + n training stopped by signal n, and saved.";

/// `syva train`
#[derive(Args, Clone, Debug)]
#[command(after_help = LINES)]
pub struct TrainArgs {
    /// Read settings from a TOML file, named like the flags from --data to --out; flags take precedence
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Repeat a run: use its settings and data, but not its folder; flags and --config take precedence
    #[arg(long, value_name = "RUN")]
    pub like: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
    /// Cross-validation: divide the training data into so many parts, and train a network for each, which is judged by that
    /// part and trained on the others
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub folds: Option<usize>,
    /// Make one model of the networks of all folds, whose predictions are averaged
    #[arg(long, requires = "folds")]
    pub bag: bool,
    /// Replace the run in --out if there is one
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub time: TimeArgs,
    #[command(flatten)]
    pub checkpoint: CheckpointArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `syva lr-find`
#[derive(Args, Debug)]
pub struct LrFindArgs {
    /// Read settings from a TOML file, as `syva train` does; flags take precedence
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Use the settings and the data of a run; flags and --config take precedence
    #[arg(long, value_name = "RUN")]
    pub like: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
    /// Learning rate of the first step
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = number::<f32>, default_value_t = 1e-6)]
    pub from: f32,
    /// Learning rate of the last step, if the loss does not explode before
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = number::<f32>, default_value_t = 100.0)]
    pub to: f32,
    /// Number of steps
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, default_value_t = 500)]
    pub steps: usize,
    /// Also draw the loss by learning rate, to a .png or .svg file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `syva resume`
#[derive(Args, Debug)]
#[command(after_help = LINES)]
pub struct ResumeArgs {
    /// The run's folder, such as runs/mnist-001
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Train to this many epochs in total, which may be more than before [default: the run's own]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>)]
    pub epochs: Option<u64>,
    /// When to end before the last epoch, as in `syva train`; never trains a stopped run further
    /// [default: the run's own]
    #[arg(long, value_name = "RULE", value_parser = flag::<syva::Stop>)]
    pub stop: Option<syva::Stop>,
    /// Which weights become the model: last, or best (those of the epoch with the lowest validation loss, or
    /// best:metric=val_acc) [default: the run's own]
    #[arg(long, value_name = "WHICH", value_parser = flag::<syva::run::Keep>)]
    pub keep: Option<syva::run::Keep>,
    /// Folder with the data, if it has moved
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Device: auto, or one that `syva devices` lists [default: the run's own]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// CPU threads; the result does not depend on their number [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub threads: Option<usize>,
    /// Compute exactly on a GPU whose own arithmetic is not exact; a run that began with it keeps it
    #[arg(long)]
    pub exact: bool,
    /// Precision of the factors of products: f32 (exact), or tf32 or bf16 (NVIDIA only, not exact)
    /// [default: the run's own]
    #[arg(long, value_name = "NAME", value_parser = flag::<syva::Precision>)]
    pub precision: Option<syva::Precision>,
    #[command(flatten)]
    pub fixed: Fixed,
    #[command(flatten)]
    pub time: TimeArgs,
    #[command(flatten)]
    pub checkpoint: CheckpointArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// How long a process trains.
#[derive(Args, Clone, Copy, Debug)]
pub struct TimeArgs {
    /// Stop and save after this time, such as 90s, 10m or 1.5h, counted from the start of the training in this process;
    /// `syva resume` goes on (exit code 0)
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    pub limit: Option<std::time::Duration>,
}

/// When a training run is saved.
#[derive(Args, Clone, Copy, Debug)]
pub struct CheckpointArgs {
    /// Seconds between checkpoints, the most that a crash can cost; 0 saves about ten times a second
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>, default_value_t = 10)]
    pub checkpoint_seconds: u64,
}

/// What a training leaves beside its curves.
#[derive(Args, Clone, Copy, Debug)]
pub struct LogArgs {
    /// Do not log to TensorBoard (RUN/tensorboard)
    #[arg(long)]
    pub no_tensorboard: bool,
    /// Epochs between histograms of weights and gradients in the TensorBoard log; 0 for none
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>, default_value_t = 10)]
    pub histograms: u64,
}

/// How a training is shown.
#[derive(Args, Clone, Copy, Debug)]
pub struct ReportArgs {
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Print a JSON object per line: one per epoch, then one for the run
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    /// Show a full-screen dashboard with live curves; q stops the training and saves it
    #[arg(long, conflicts_with_all = ["quiet", "json"])]
    pub tui: bool,
}

/// `syva top`
#[derive(Args, Debug)]
pub struct TopArgs {
    /// The run's folder, such as runs/mnist-001; if it does not exist yet, wait for it
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
}

/// `syva eval`
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// A model file or a run's folder
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Data: auto, mnist, fashion-mnist or digits; a folder of images; or files of a table, all of whose rows are then judged
    /// [default: the run's own, or auto]
    #[arg(long, value_name = "NAME|FOLDER|FILE", value_parser = flag::<DataArg>)]
    pub data: Option<DataArg>,
    /// Folder with the files of MNIST or Fashion-MNIST
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Part of the data to evaluate on: training, validation or test samples [default: val; test for a run whose
    /// validation samples are a part of its training data]
    #[arg(long, ignore_case = true, value_enum)]
    pub split: Option<SplitArg>,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten, next_help_heading = "Tables")]
    pub read: ReadArgs,
    /// How much the score drops when a column of the table is shuffled among the rows
    #[arg(long)]
    pub importance: bool,
    /// How often each column is shuffled [default: 10]
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "importance", value_parser = at_least_one::<usize>)]
    pub repeats: Option<usize>,
    /// Seed of the orders in which cells are shuffled [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "importance", value_parser = number::<u32>)]
    pub seed: Option<u32>,
    /// Probability from which a sample counts as the second of two classes: a number, or the best one for the validation
    /// samples by f1, youden, or cost:fp=1,fn=5 (what false positives and false negatives cost)
    #[arg(long, value_name = "HOW", allow_negative_numbers = true, value_parser = flag::<syva::Criterion>)]
    pub threshold: Option<syva::Criterion>,
    /// Fit a temperature to the validation samples, by which the logits are divided, so that probabilities are honest
    #[arg(long)]
    pub temperature: bool,
    /// Also write the probabilities to a CSV file, one line per sample
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A part of the data.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SplitArg {
    /// The training samples.
    Train,
    /// The validation samples.
    Val,
    /// The data's own test samples.
    Test,
}

impl SplitArg {
    /// As the flag has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }

    /// That part.
    pub fn of(self, task: &Task) -> &Dataset {
        match self {
            Self::Train => &task.train,
            Self::Val => &task.validation,
            Self::Test => task.test.as_ref().unwrap_or(&task.validation),
        }
    }
}

/// `syva bench`
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command")]
pub struct BenchArgs {
    /// Data: auto, mnist, fashion-mnist or digits [default: auto]
    #[arg(long, value_name = "NAME", value_parser = flag::<syva::data::source::Source>)]
    pub data: Option<Source>,
    /// Folder with the files of MNIST or Fashion-MNIST
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Widths of the hidden layers, such as 300,100, or none [default: 256,128]
    #[arg(long, value_name = "WIDTHS", allow_negative_numbers = true, value_parser = flag::<crate::settings::Hidden>)]
    pub hidden: Option<crate::settings::Hidden>,
    /// Activation of the hidden layers [default: sigmoid]
    #[arg(long, value_name = "NAME", value_parser = flag::<syva::Nonlinearity>)]
    pub activation: Option<syva::Nonlinearity>,
    /// Optimiser [default: sgd]
    #[arg(long, value_name = "NAME", value_parser = flag::<syva::Optimizer>)]
    pub optimizer: Option<syva::Optimizer>,
    /// Probability of dropout of hidden units [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = number::<f32>)]
    pub dropout: Option<f32>,
    /// Learning rate [default: 0.01]
    #[arg(long, visible_alias = "learning-rate", value_name = "RATE", allow_negative_numbers = true, value_parser = number::<f32>)]
    pub lr: Option<f32>,
    /// Samples per step [default: 128]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub batch_size: Option<usize>,
    /// Seed of the initial weights and of the order of the samples [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u32>)]
    pub seed: Option<u32>,
    /// Epochs to time; one more is profiled
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>, default_value_t = 5)]
    pub epochs: u64,
    /// Epochs to run before timing starts
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>, default_value_t = 1)]
    pub warmup: u64,
    /// Device [default: all except reference and software GPUs]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub threads: Option<usize>,
    /// Compute exactly on a GPU whose own arithmetic is not exact; slower, and no effect on exact devices
    #[arg(long)]
    pub exact: bool,
    /// Precision of the factors of products: f32 (exact), or tf32 or bf16 (NVIDIA only, not exact) [default: f32]
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true, value_parser = flag::<syva::Precision>)]
    pub precision: syva::Precision,
    /// Also train 100 epochs on each device, and report the total time and the final accuracy
    #[arg(long)]
    pub table: bool,
    /// Time steps of twenty shapes instead: widths 16 to 2048, 1 to 8 hidden layers, batches of 1 to 4096
    #[arg(long, conflicts_with_all = ["table", "hidden", "activation", "optimizer", "lr", "batch_size", "seed", "epochs", "warmup"])]
    pub sweep: bool,
    /// Also write the report to a file
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `syva predict`
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command")]
pub struct PredictArgs {
    /// A model file or a run's folder
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// PNG, JPEG, WebP, GIF, TIFF, BMP or PNM pictures, folders of them, or IDX files of images (gzipped or not); for a model
    /// that was trained on a table, files with its columns, in any order; - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Write the predictions to this file: the rows of a table with them (.csv or .parquet), or a row for each picture (.csv)
    /// [default: standard output, as CSV for a table and a folder]
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Tables")]
    pub read: ReadArgs,
    /// Predict the second of two classes from this probability on, and a label likewise, as `syva eval --threshold` finds it
    /// [default: the more probable class]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = number::<f64>)]
    pub threshold: Option<f64>,
    /// Divide all logits by this temperature, as `syva eval --temperature` finds it, so that probabilities are honest
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = number::<f64>)]
    pub temperature: Option<f64>,
    /// Use images as they are (light on dark, as in MNIST), scaled to the network's size, instead of finding the digit
    /// in them
    #[arg(long)]
    pub as_is: bool,
    /// Find a figure in each picture, as is done for MNIST's digits, also for a model whose classes have names (such as
    /// EMNIST's letters); pictures are otherwise stretched to the size that such a model reads
    #[arg(long, conflicts_with = "as_is")]
    pub frame: bool,
    /// Also print the image that the network sees
    #[arg(long, conflicts_with = "json")]
    pub show: bool,
    #[command(flatten)]
    pub on: DeviceArgs,
    /// Print a JSON object per image
    #[arg(long)]
    pub json: bool,
}

/// `syva serve`
#[cfg(feature = "serve")]
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// A model file or a run's folder
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Port; 0 for any that is free, which is printed
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u16>, default_value_t = 8000)]
    pub port: u16,
    /// Address of this machine at which it can be reached: 127.0.0.1 from this machine alone, 0.0.0.0 from all
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: String,
    /// Threads that answer [default: one per core]
    #[arg(long, value_name = "N", value_parser = at_least_one::<usize>)]
    pub threads: Option<usize>,
}

/// `syva export`
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// A model file or a run's folder
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The file to write: .onnx for the network with what is done to its inputs and outputs, .py for PyTorch code that loads
    /// the model file
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// Of an .onnx file: with ONNX's own matrix products, which are 20 to 30 times as fast and differ by up to some 10⁻⁶,
    /// instead of the same bits as `syva predict`
    #[arg(long)]
    pub fast: bool,
}

/// `syva import`
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// Weights: a .safetensors file, or what torch.save writes for a state dict or a checkpoint that has one (.pt, .pth)
    #[arg(value_name = "WEIGHTS")]
    pub weights: PathBuf,
    /// Activation of the hidden layers, as for `train`
    #[arg(long, value_name = "NAME", value_parser = flag::<syva::Nonlinearity>)]
    pub activation: syva::Nonlinearity,
    /// What the outputs are: logits, log-softmax, binary, regression, poisson, gaussian or multi-label [default: regression
    /// for one output, logits for several]
    #[arg(long, value_name = "NAME", value_parser = flag::<syva::Head>)]
    pub head: Option<syva::Head>,
    /// Names of the classes or labels, in the order of the outputs
    #[arg(long, value_name = "NAMES", value_parser = flag::<Names>)]
    pub classes: Option<Names>,
    /// Names of the columns that the inputs are, in their order [default: x1, x2, … if others are named]
    #[arg(long, value_name = "COLUMNS", value_parser = flag::<Names>)]
    pub columns: Option<Names>,
    /// Names of the columns that the outputs predict
    #[arg(long, value_name = "COLUMNS", value_parser = flag::<Names>)]
    pub target: Option<Names>,
    /// Height and width, such as 28x28, if the inputs are images, whose pixels are 0 to 255
    #[arg(long, value_name = "HxW", value_parser = flag::<crate::import::Sides>)]
    pub image: Option<crate::import::Sides>,
    /// Mean that was subtracted from pixels of 0 to 1 for the training, such as 0.1307
    #[arg(long, value_name = "MEAN", allow_negative_numbers = true, value_parser = number::<f64>, requires = "image")]
    pub mean: Option<f64>,
    /// Standard deviation by which they were then divided, such as 0.3081
    #[arg(long, value_name = "STD", allow_negative_numbers = true, value_parser = number::<f64>, requires = "image")]
    pub std: Option<f64>,
    /// The model file to write, .safetensors
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
}

/// `syva report`
#[derive(Args, Debug)]
pub struct ReportFileArgs {
    /// Runs, or folders of runs such as `runs`
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// Folder with the files of MNIST or Fashion-MNIST
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Output file, .html [default: RUN/report.html, or report.html for several runs]
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `syva explain`
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// A model file or a run's folder
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The inputs, such as 0,1
    #[arg(long, value_name = "VALUES", allow_hyphen_values = true, conflicts_with = "sample", value_parser = flag::<List<f32>>)]
    pub input: Option<List<f32>>,
    /// Instead of inputs: the number of a sample of the data, counted from 0 [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub sample: Option<usize>,
    /// The target: a class by its name or number, or values [default: the sample's own; without one, there is no loss]
    #[arg(long, value_name = "TARGET", allow_hyphen_values = true)]
    pub target: Option<String>,
    /// Data with the samples: auto, mnist, fashion-mnist or digits [default: the run's own, or auto]
    #[arg(long, value_name = "NAME", conflicts_with = "input", value_parser = flag::<Source>)]
    pub data: Option<Source>,
    /// Folder with the files of MNIST or Fashion-MNIST
    #[arg(long, value_name = "DIR", conflicts_with = "input")]
    pub data_dir: Option<PathBuf>,
    /// Part of the data that the samples are of: training, validation or test samples [default: val]
    #[arg(long, ignore_case = true, value_enum, conflicts_with = "input")]
    pub split: Option<SplitArg>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `syva regions`
#[derive(Args, Debug)]
pub struct RegionsArgs {
    /// A model file or a run's folder
    #[arg(value_name = "MODEL", required_unless_present = "bounds", conflicts_with = "bounds")]
    pub model: Option<PathBuf>,
    /// Without a model: how many regions ReLU networks of these widths can have (inputs, then hidden layers, such as 2,50,50)
    #[arg(long, value_name = "WIDTHS", value_parser = flag::<List<usize>>)]
    pub bounds: Option<List<usize>>,
    /// Where to look: X0,X1 for one input or a line, X0,X1,Y0,Y1 for two inputs or a plane [default: where the run's data
    /// is; -1 to 1 for a model file; 0 to 1 on a line; -0.5 to 1.5 on a plane]
    #[arg(long = "box", value_name = "RANGES", allow_hyphen_values = true, conflicts_with = "bounds", value_parser = flag::<List<f64>>)]
    pub bounding_box: Option<List<f64>>,
    /// On the line through two samples, which are numbered from 0
    #[arg(long, value_name = "A,B", conflicts_with_all = ["plane", "bounds"], value_parser = flag::<List<usize>>)]
    pub line: Option<List<usize>>,
    /// In the plane through three samples
    #[arg(long, value_name = "A,B,C", conflicts_with = "bounds", value_parser = flag::<List<usize>>)]
    pub plane: Option<List<usize>>,
    /// Data with the samples: auto, mnist, fashion-mnist or digits [default: the run's own, or auto]
    #[arg(long, value_name = "NAME", conflicts_with = "bounds", value_parser = flag::<Source>)]
    pub data: Option<Source>,
    /// Folder with the files of MNIST or Fashion-MNIST
    #[arg(long, value_name = "DIR", conflicts_with = "bounds")]
    pub data_dir: Option<PathBuf>,
    /// Part of the data that the samples are of: training, validation or test samples [default: val]
    #[arg(long, ignore_case = true, value_enum, conflicts_with = "bounds")]
    pub split: Option<SplitArg>,
    /// Train the run again, and count before the first epoch, after the first, after every N-th, and after the last
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with = "bounds", value_parser = at_least_one::<u64>)]
    pub every: Option<u64>,
    /// Also draw them: a .png or .svg file
    #[arg(long, short, value_name = "FILE", conflicts_with = "bounds")]
    pub out: Option<PathBuf>,
    /// Colours
    #[arg(long, ignore_case = true, value_enum, default_value = "light")]
    pub theme: ThemeArg,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Numbers that are separated by commas.
#[derive(Clone, Debug, PartialEq)]
pub struct List<T>(pub Vec<T>);

impl<T: FromStr> FromStr for List<T> {
    type Err = syva::Error;
    fn from_str(text: &str) -> Result<Self> {
        let numbers: std::result::Result<Vec<T>, _> = text.split(',').map(|number| number.trim().parse()).collect();
        let problem =
            || syva::Error::setting("", format!("'{text}' is not a list of numbers"), "separate numbers by commas");
        numbers.map(Self).map_err(|_| problem())
    }
}

/// `syva plot`
#[derive(Args, Debug)]
pub struct PlotArgs {
    /// Runs, folders of runs such as `runs`, or folders of TensorBoard event files from other programs; for plots of a
    /// model also model files
    #[arg(value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// What to draw
    #[arg(long, ignore_case = true, value_enum, default_value = "curves")]
    pub what: PlotWhat,
    /// Draw the mean prediction when this column of the table is set to each of some values (partial dependence)
    #[arg(long, value_name = "COLUMN", conflicts_with = "what")]
    pub dependence: Option<String>,
    /// Curves to draw [default: the loss for several runs; for one run loss and accuracy, in one chart, or in two with
    /// --from or --to]
    #[arg(long, ignore_case = true, value_enum)]
    pub metric: Option<MetricArg>,
    /// Tag of the curves to draw from event files, instead of --metric
    #[arg(long, value_name = "TAG", conflicts_with = "metric")]
    pub tag: Option<String>,
    /// First epoch (or step) shown
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>)]
    pub from: Option<u64>,
    /// Last epoch (or step) shown
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>)]
    pub to: Option<u64>,
    /// Smooth the curves like TensorBoard's slider, from 0 (not at all) to just below 1; the raw curves are shown pale
    /// [default: 0]
    #[arg(long, value_name = "WEIGHT", allow_negative_numbers = true, value_parser = number::<f64>)]
    pub smooth: Option<f64>,
    /// Widths of the hidden layers, for a network without a run
    #[arg(long, value_name = "WIDTHS", allow_negative_numbers = true, conflicts_with = "runs", value_parser = flag::<crate::settings::Hidden>)]
    pub hidden: Option<crate::settings::Hidden>,
    /// Input features, for a network without a run [default: 784]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, conflicts_with = "runs")]
    pub inputs: Option<usize>,
    /// Outputs, for a network without a run [default: 10]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, conflicts_with = "runs")]
    pub outputs: Option<usize>,
    /// Maximum number of images in the plot [default: 48 misread images, 50 units]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one::<usize>)]
    pub count: Option<usize>,
    /// Folder with the files of MNIST or Fashion-MNIST
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Colours
    #[arg(long, ignore_case = true, value_enum, default_value = "light")]
    pub theme: ThemeArg,
    /// Output file, .png or .svg [default: RUN/plots/WHAT.png, or WHAT.png]
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What can be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlotWhat {
    /// Loss and accuracy over epochs
    Curves,
    /// Confusion matrix: true against predicted classes
    Confusion,
    /// Weights of the first layer as images
    Weights,
    /// Misread images, the most confident errors first
    Misread,
    /// Accuracy against confidence
    Reliability,
    /// Diagram of the network
    Network,
    /// True against predicted numbers
    Predicted,
    /// True minus predicted numbers, against predicted ones
    Residuals,
    /// How much the score drops when a column of the table is shuffled
    Importance,
    /// The mean prediction by the values of a column
    #[value(skip)]
    Dependence,
}

/// Which curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetricArg {
    /// The loss.
    Loss,
    /// The accuracy.
    Acc,
}

/// Colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThemeArg {
    /// Dark on white.
    Light,
    /// Light on near-black.
    Dark,
}

/// `syva summary`
#[derive(Args, Debug)]
pub struct SummaryArgs {
    /// A model file or a run's folder; without it, the network that the flags describe
    #[arg(value_name = "MODEL", conflicts_with_all = ["hidden", "inputs", "outputs", "activation", "uniform", "funnel"])]
    pub model: Option<PathBuf>,
    /// Input features
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, default_value_t = 784)]
    pub inputs: usize,
    /// Widths of the hidden layers, such as 256,128, or none
    #[arg(long, value_name = "WIDTHS", allow_negative_numbers = true, default_value = "256,128", value_parser = flag::<crate::settings::Hidden>)]
    pub hidden: crate::settings::Hidden,
    /// Outputs
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, default_value_t = 10)]
    pub outputs: usize,
    /// Activation of the hidden layers, as for `train`
    #[arg(long, value_name = "NAME", default_value = "sigmoid", value_parser = flag::<syva::Nonlinearity>)]
    pub activation: syva::Nonlinearity,
    /// Spend a budget (--neurons or --parameters) on this many hidden layers of equal width
    #[arg(
        long,
        value_name = "K",
        allow_negative_numbers = true, value_parser = number::<usize>,
        conflicts_with = "hidden",
        requires = "budget",
        group = "shape"
    )]
    pub uniform: Option<usize>,
    /// Spend a budget (--neurons or --parameters) on this many hidden layers that narrow in equal steps
    #[arg(
        long,
        value_name = "K",
        allow_negative_numbers = true, value_parser = number::<usize>,
        conflicts_with = "hidden",
        requires = "budget",
        group = "shape"
    )]
    pub funnel: Option<usize>,
    /// The budget for --uniform or --funnel: at most this many hidden neurons
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, group = "budget", requires = "shape")]
    pub neurons: Option<usize>,
    /// The budget for --uniform or --funnel: at most this many weights and biases
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, group = "budget", requires = "shape")]
    pub parameters: Option<usize>,
    /// Samples per step [default: the run's, or 128]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub batch_size: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `syva data`
#[derive(Args, Debug)]
pub struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DataCommand,
}

/// `syva data …`
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Show the number of samples per class, mean, standard deviation and digest; of a table, what its columns are
    Info(InfoArgs),
    /// Write a picture of labelled examples
    Grid {
        #[command(flatten)]
        source: SourceArgs,
        /// The PNG file
        #[arg(long, short, value_name = "FILE", default_value = "grid.png")]
        out: PathBuf,
        /// Part of the data to draw: training samples, or validation samples, which are the test samples
        #[arg(long, ignore_case = true, value_enum, default_value = "train")]
        split: SplitArg,
        /// Rows of examples; a row has one example of each class
        #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, default_value_t = 8)]
        rows: usize,
    },
    /// Write the data as IDX files, MNIST's format
    Export {
        #[command(flatten)]
        source: SourceArgs,
        /// Output folder; existing files are not replaced
        #[arg(long, short, value_name = "DIR")]
        out: PathBuf,
    },
    /// Download MNIST or Fashion-MNIST to the cache folder, or to --out
    Download {
        /// The set: mnist or fashion-mnist
        #[arg(value_name = "NAME", default_value = "mnist", value_parser = flag::<syva::data::source::Source>)]
        source: Source,
        /// Output folder [default: the cache folder]
        #[arg(long, short, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// `syva data info`
#[derive(Args, Debug)]
pub struct InfoArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Columns that are to be predicted
    #[arg(long, value_name = "COLUMNS", value_parser = flag::<Names>)]
    pub target: Option<Names>,
    #[command(flatten, next_help_heading = "Tables")]
    pub read: ReadArgs,
    /// Print one JSON object (tables only)
    #[arg(long)]
    pub json: bool,
}

/// Which data.
#[derive(Args, Debug)]
pub struct SourceArgs {
    /// Data: auto, mnist, fashion-mnist, digits, a folder of images (pictures, IDX or CIFAR files), or the file of a table
    #[arg(long, value_name = "NAME|FOLDER|FILE", default_value = "auto", value_parser = flag::<DataArg>)]
    pub data: DataArg,
    /// Folder with the files of MNIST or Fashion-MNIST
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Images")]
    pub images: ImageArgs,
}

/// What a network runs on.
#[derive(Args, Debug)]
pub struct DeviceArgs {
    /// Device: auto, or one that `syva devices` lists [default: auto]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// CPU threads; the result does not depend on their number [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub threads: Option<usize>,
    /// Compute exactly on a GPU whose own arithmetic is not exact; slower, and no effect on exact devices
    #[arg(long)]
    pub exact: bool,
    /// Precision of the factors of products: f32 (exact), or tf32 or bf16 (NVIDIA only, not exact) [default: f32]
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true, value_parser = flag::<syva::Precision>)]
    pub precision: syva::Precision,
}

impl DeviceArgs {
    /// The engine and the device that are meant.
    pub fn engine(&self) -> Result<(Box<dyn Engine>, DeviceId)> {
        let options = EngineOptions { threads: self.threads, exact: self.exact, precision: self.precision };
        syva::engine(self.device.as_deref().unwrap_or("auto"), options)
    }
}

/// `syva devices`
#[derive(Args, Debug)]
pub struct DevicesArgs {
    /// Only this device [default: all]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Compare each device with the reference: exact (every bit is equal), close (rounded differently) or failed. Takes
    /// about 10 seconds per device
    #[arg(long)]
    pub check: bool,
    /// Time limit of a check in seconds, per device; the case in progress is finished
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = at_least_one::<u64>)]
    pub check_seconds: u64,
    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub threads: Option<usize>,
    /// Show devices at this precision of the factors of products: f32 (all devices), tf32 or bf16 (NVIDIA only)
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true, value_parser = flag::<syva::Precision>)]
    pub precision: syva::Precision,
}
