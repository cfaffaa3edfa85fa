//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use syva::{DeviceId, Engine, EngineOptions, Result};

use crate::settings::{Fixed, Settings};
use crate::values::{at_least_one, number};

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
    /// Continue a run that was stopped, or add epochs to one that is done
    Resume(ResumeArgs),
    /// Follow a run in the terminal while it trains elsewhere
    Top(TopArgs),
    /// Evaluate a model or a run on validation data
    Eval(EvalArgs),
    /// Time epochs, and show where the time of a step goes
    Bench(BenchArgs),
    /// Read images: class and probabilities of each
    Predict(PredictArgs),
    /// Draw curves, confusion matrix, weights, misread images or the network, as PNG or SVG
    Plot(PlotArgs),
    /// Report runs, side by side, in one HTML file
    Report(ReportFileArgs),
    /// Show a network's layers, parameters, memory and work
    Summary(SummaryArgs),
    /// Look at, export or download data
    Data(DataArgs),
    /// List what this machine can train on
    Devices(DevicesArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        #[arg(ignore_case = true)]
        shell: Shell,
    },
}

/// Said below the flags of what trains.
const LINES: &str = "Prints a line per epoch, or for every tenth where there are more than 20; RUN/metrics.jsonl has \
                     them all. Ctrl-C, and q in the dashboard, stop the training and save it: exit code 130. Other \
                     signals (TERM, HUP, USR1, …) do the same: 128 and the signal's number.";

/// Said below the commands.
const CODES: &str = "Exit codes: 0 done; 1 failed; 2 wrong usage (a flag, a settings file, the environment); 130 a \
                     training was stopped by Ctrl-C or q and saved, or 128 + n by signal n.";

/// `syva train`
#[derive(Args, Debug)]
#[command(after_help = LINES)]
pub struct TrainArgs {
    /// Settings from a TOML file, with the names of the flags from --data to --out; flags win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Repeat a run: its settings (data too, but not its folder) where neither flags nor --config have others
    #[arg(long, value_name = "RUN")]
    pub like: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
    /// Replace the run in --out if there is one
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub checkpoint: CheckpointArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `syva resume`
#[derive(Args, Debug)]
#[command(after_help = LINES)]
pub struct ResumeArgs {
    /// The run's folder, such as runs/mnist-001
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Train to this many epochs in all [default: what the run was begun with]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>)]
    pub epochs: Option<u64>,
    /// Which weights become the model: last, or best (of the epoch with the lowest validation loss)
    /// [default: as the run has it]
    #[arg(long, value_name = "WHICH")]
    pub keep: Option<syva::run::Keep>,
    /// Folder with the MNIST files, if they have moved
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Device: auto, or one that `syva devices` lists [default: the run's own]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// CPU threads; the results do not depend on it [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub threads: Option<usize>,
    /// Compute exactly on a GPU that rounds otherwise; a run that began so goes on so
    #[arg(long)]
    pub exact: bool,
    /// Round the factors of products, on an NVIDIA card: f32 (to nothing), tf32 or bf16 [default: the run's own]
    #[arg(long, value_name = "NAME")]
    pub precision: Option<syva::Precision>,
    #[command(flatten)]
    pub fixed: Fixed,
    #[command(flatten)]
    pub checkpoint: CheckpointArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub report: ReportArgs,
}

/// When a training is saved.
#[derive(Args, Clone, Copy, Debug)]
pub struct CheckpointArgs {
    /// Seconds between checkpoints: what a crash can cost; 0 saves as often as it can (about ten times a second)
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>, default_value_t = 10)]
    pub checkpoint_seconds: u64,
}

/// What a training leaves beside its curves.
#[derive(Args, Clone, Copy, Debug)]
pub struct LogArgs {
    /// Write no log for TensorBoard (RUN/tensorboard)
    #[arg(long)]
    pub no_tensorboard: bool,
    /// Epochs between two histograms of weights and gradients in that log; 0 for none
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
    /// Show live curves and settings in the whole terminal; q stops and saves
    #[arg(long, conflicts_with_all = ["quiet", "json"])]
    pub tui: bool,
}

/// `syva top`
#[derive(Args, Debug)]
pub struct TopArgs {
    /// The run's folder, such as runs/mnist-001; one that is not there yet is waited for
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
}

/// `syva eval`
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// A model file or a run's folder
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Data: auto, mnist or digits [default: the run's own, or auto]
    #[arg(long, value_name = "NAME")]
    pub data: Option<syva::data::source::Source>,
    /// Folder with the MNIST files
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Which part of the data
    #[arg(long, ignore_case = true, value_enum, default_value = "val")]
    pub split: SplitArg,
    #[command(flatten)]
    pub on: DeviceArgs,
    /// Also write the probabilities to a CSV file, a line per sample
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
}

impl SplitArg {
    /// As the flag has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
        }
    }
}

/// `syva bench`
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Data: auto, mnist or digits [default: auto]
    #[arg(long, value_name = "NAME")]
    pub data: Option<syva::data::source::Source>,
    /// Folder with the MNIST files
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Widths of the hidden layers; or none [default: 256,128]
    #[arg(long, value_name = "WIDTHS", allow_negative_numbers = true)]
    pub hidden: Option<crate::settings::Hidden>,
    /// Activation of the hidden layers [default: sigmoid]
    #[arg(long, value_name = "NAME")]
    pub activation: Option<syva::Activation>,
    /// Learning rate [default: 0.01]
    #[arg(long, visible_alias = "learning-rate", value_name = "RATE", allow_negative_numbers = true, value_parser = number::<f32>)]
    pub lr: Option<f32>,
    /// Samples per step [default: 128]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub batch_size: Option<usize>,
    /// Seed of the initial weights and of the order of the samples [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u32>)]
    pub seed: Option<u32>,
    /// Epochs that are timed; one more is taken apart
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>, default_value_t = 5)]
    pub epochs: u64,
    /// Epochs before these
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>, default_value_t = 1)]
    pub warmup: u64,
    /// Device [default: all but reference and software GPUs]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub threads: Option<usize>,
    /// Compute exactly on a GPU that rounds otherwise: slower there, and without effect where all is exact already
    #[arg(long)]
    pub exact: bool,
    /// Round the factors of products, on an NVIDIA card: f32 (to nothing), tf32 or bf16 [default: f32]
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    pub precision: syva::Precision,
    /// Also train 100 epochs on each device, for the whole time and the final accuracy
    #[arg(long)]
    pub table: bool,
    /// Also write the report to a file
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `syva predict`
#[derive(Args, Debug)]
pub struct PredictArgs {
    /// A model file or a run's folder
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// PNG, JPEG, WebP, GIF, TIFF, BMP or PNM pictures, or IDX files of images (gzipped or not); - is standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Take images as they are (scaled to the network's size), instead of looking for the digit in them
    #[arg(long)]
    pub as_is: bool,
    /// Print what the network sees
    #[arg(long)]
    pub show: bool,
    #[command(flatten)]
    pub on: DeviceArgs,
    /// Print a JSON object per image
    #[arg(long)]
    pub json: bool,
}

/// `syva report`
#[derive(Args, Debug)]
pub struct ReportFileArgs {
    /// Runs, or folders of runs such as `runs`
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// Folder with the MNIST files
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The file [default: RUN/report.html, or report.html for several runs]
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `syva plot`
#[derive(Args, Debug)]
pub struct PlotArgs {
    /// Runs, folders of runs such as `runs`, or folders with event files (PyTorch's, say); for pictures of a model also
    /// model files
    #[arg(value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// What to draw
    #[arg(long, ignore_case = true, value_enum, default_value = "curves")]
    pub what: PlotWhat,
    /// Which curves; for one run loss and accuracy, over one another, or with --from or --to one above the other; for
    /// several runs loss
    #[arg(long, ignore_case = true, value_enum)]
    pub metric: Option<MetricArg>,
    /// A curve by its tag in event files, instead of --metric
    #[arg(long, value_name = "TAG", conflicts_with = "metric")]
    pub tag: Option<String>,
    /// First epoch (or step) shown
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>)]
    pub from: Option<u64>,
    /// Last epoch (or step) shown
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>)]
    pub to: Option<u64>,
    /// Smooth curves as TensorBoard's slider does: 0 (not at all) to less than 1; pale behind them, as they are
    #[arg(long, value_name = "WEIGHT", allow_negative_numbers = true, value_parser = number::<f64>, default_value_t = 0.0)]
    pub smooth: f64,
    /// Widths of the hidden layers, for a network without a run
    #[arg(long, value_name = "WIDTHS", allow_negative_numbers = true, conflicts_with = "runs")]
    pub hidden: Option<crate::settings::Hidden>,
    /// Input features, for a network without a run
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, default_value_t = 784)]
    pub inputs: usize,
    /// Outputs, for a network without a run
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, default_value_t = 10)]
    pub outputs: usize,
    /// Images of a grid at most [default: 48 misread, 50 units]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub count: Option<usize>,
    /// Folder with the MNIST files
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Colours
    #[arg(long, ignore_case = true, value_enum, default_value = "light")]
    pub theme: ThemeArg,
    /// The file, .png or .svg [default: RUN/plots/WHAT.png, or WHAT.png]
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What can be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlotWhat {
    /// Loss and accuracy over epochs
    Curves,
    /// True against predicted classes
    Confusion,
    /// Weights of the first layer as images
    Weights,
    /// Images that were misread, the surest first
    Misread,
    /// Accuracy over confidence
    Reliability,
    /// The network's units and arrows
    Network,
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
    /// Widths of the hidden layers, such as 256,128; or none
    #[arg(long, value_name = "WIDTHS", allow_negative_numbers = true, default_value = "256,128")]
    pub hidden: crate::settings::Hidden,
    /// Outputs
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, default_value_t = 10)]
    pub outputs: usize,
    /// Activation of the hidden layers: sigmoid, relu, tanh or identity
    #[arg(long, value_name = "NAME", default_value = "sigmoid")]
    pub activation: syva::Activation,
    /// Spend a budget on this many hidden layers of equal width
    #[arg(
        long,
        value_name = "K",
        allow_negative_numbers = true, value_parser = number::<usize>,
        conflicts_with = "hidden",
        requires = "budget",
        group = "shape"
    )]
    pub uniform: Option<usize>,
    /// Spend a budget on this many hidden layers that narrow in equal steps
    #[arg(
        long,
        value_name = "K",
        allow_negative_numbers = true, value_parser = number::<usize>,
        conflicts_with = "hidden",
        requires = "budget",
        group = "shape"
    )]
    pub funnel: Option<usize>,
    /// The budget: at most this many hidden neurons
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, group = "budget", requires = "shape")]
    pub neurons: Option<usize>,
    /// The budget: at most this many weights and biases
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, group = "budget", requires = "shape")]
    pub parameters: Option<usize>,
    /// Samples per step
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, default_value_t = 128)]
    pub batch_size: usize,
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
    /// Count samples and classes; mean, standard deviation, digest
    Info(SourceArgs),
    /// Write a picture of labelled examples
    Grid {
        #[command(flatten)]
        source: SourceArgs,
        /// The PNG file
        #[arg(long, short, value_name = "FILE", default_value = "grid.png")]
        out: PathBuf,
        /// Which part of the data
        #[arg(long, ignore_case = true, value_enum, default_value = "train")]
        split: SplitArg,
        /// Examples down (ten across: one of each class)
        #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, default_value_t = 8)]
        rows: usize,
    },
    /// Write the data as IDX files, MNIST's format
    Export {
        #[command(flatten)]
        source: SourceArgs,
        /// The folder; files that exist are not replaced
        #[arg(long, short, value_name = "DIR")]
        out: PathBuf,
    },
    /// Fetch MNIST into the cache folder (or --out)
    Download {
        /// The folder
        #[arg(long, short, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Which data.
#[derive(Args, Debug)]
pub struct SourceArgs {
    /// Data: auto, mnist or digits
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub data: syva::data::source::Source,
    /// Folder with the MNIST files
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// What a network runs on.
#[derive(Args, Debug)]
pub struct DeviceArgs {
    /// Device: auto, or one that `syva devices` lists [default: auto]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// CPU threads; the results do not depend on it [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub threads: Option<usize>,
    /// Compute exactly on a GPU that rounds otherwise: slower there, and without effect where all is exact already
    #[arg(long)]
    pub exact: bool,
    /// Round the factors of products, on an NVIDIA card: f32 (to nothing), tf32 or bf16 [default: f32]
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
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
    /// Hold each device against the reference: exact (to the bit), close (other roundings), or failed. Takes some 10
    /// seconds per device
    #[arg(long)]
    pub check: bool,
    /// No new case of a check begins after so many seconds, for each device
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = at_least_one)]
    pub check_seconds: u64,
    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    pub threads: Option<usize>,
    /// Only devices that can round the factors of products so, and as they then are: f32 (all), tf32 or bf16
    #[arg(long, value_name = "NAME", default_value_t, hide_default_value = true)]
    pub precision: syva::Precision,
}
